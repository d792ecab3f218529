"""What a tensor runtime needs of an open NVIDIA GPU: memory without waits, channels that take methods, waits that tell why.

Nothing here waits but `wait`, `read` and `write` of VRAM (which go through the host), and a submission whose ring is full.
An error of any channel ends a wait: `ChannelDead` with the Xid. Made by OpenNvGpu.raw."""

from __future__ import annotations

import struct
from types import ModuleType
from typing import TYPE_CHECKING, Final

from base.errors import UsageError, WaitTimeout
from base.poll import poll
from nvdriver import pushbuffer

if TYPE_CHECKING:
    from nvdriver.channel import Channel
    from nvdriver.memory import Memory
    from nvdriver.opengpu import OpenNvGpu

_U64: Final = struct.Struct("<Q")
SOON_S: Final = 0.1  # after so long it is asked whether the GPU is still there


class NvRawMemory:
    """Memory at an address of the GPU. `size`: what was asked for."""

    def __init__(self, raw: NvRaw, memory: Memory, size: int) -> None:
        self._raw = raw
        self._memory: Memory | None = memory
        self.size = size
        self.gpu_va = memory.gpu_va

    @property
    def freed(self) -> bool:
        return self._memory is None

    def read(self, offset: int, size: int) -> bytes:
        """As it is now: whoever wants the end of some work waits for it first."""
        held = self._held()
        if held.cpu is not None:
            return held.cpu[offset : offset + size]
        return self._raw.gpu._read_vram(self.gpu_va + offset, size)

    def write(self, offset: int, data: bytes) -> None:
        held = self._held()
        if held.cpu is not None:
            held.cpu[offset : offset + len(data)] = data
        else:
            self._raw.gpu._write_vram(self.gpu_va + offset, data)

    def free(self) -> None:
        """Whoever uses it must be done. UsageError the second time."""
        memory, self._memory = self._held(), None
        self._raw.gpu.bench.memory.free(memory)

    def _held(self) -> Memory:
        self._raw.gpu.require_open("using memory")
        if self._memory is None:
            raise UsageError("using memory", expected="memory in use", seen="it was freed", where=self._raw.gpu.name)
        return self._memory


class NvRaw:
    """The GPU as a runtime has it."""

    def __init__(self, gpu: OpenNvGpu) -> None:
        self.gpu = gpu

    @property
    def packets(self) -> ModuleType:
        """Builders of methods (nvdriver/pushbuffer.py)."""
        return pushbuffer

    @property
    def on_host(self) -> bool:
        """Copies go through memory that an engine reads and writes."""
        return True

    def alloc(self, size: int, *, where: str = "vram", cpu: bool = False) -> NvRawMemory:
        """`cpu`: this process sees VRAM through BAR1, too. Raises OutOfMemory, RmError."""
        self.gpu.require_open(f"allocating {size} bytes")
        memory = self.gpu.bench.memory.alloc(size, in_vram=where == "vram", cpu=cpu or where == "host")
        return NvRawMemory(self, memory, size)

    def copy_channel(self, engine: int = 0) -> Channel:
        return self.gpu.channel(engine)

    def compute_channel(self) -> Channel:
        return self.gpu.channel(None)

    def submit(self, channel: Channel, methods: bytes) -> int:
        """The value of the channel that is reached when they are done. Raises ChannelDead, DeviceLost, WaitTimeout."""
        self.gpu.require_open("submitting work")
        return channel.submit(methods)

    def wait(self, memory: NvRawMemory, offset: int, value: int, timeout_s: float) -> int:
        """Until 64 bits there are `value` or more; what they are. Raises ChannelDead, DeviceLost, WaitTimeout."""
        try:
            return self._poll(memory, offset, value, min(timeout_s, SOON_S))
        except WaitTimeout:
            self.gpu.require_there()
            if timeout_s <= SOON_S:
                raise
        return self._poll(memory, offset, value, timeout_s - SOON_S)

    def _poll(self, memory: NvRawMemory, offset: int, value: int, timeout_s: float) -> int:
        def read() -> int:
            seen = int(_U64.unpack(memory.read(offset, 8))[0])
            if seen < value:
                self.gpu.require_sound()
            return seen

        return poll(
            self.gpu.clock, read, lambda seen: seen >= value, doing=f"waiting for work of {self.gpu.name}",
            expected=f"{value} or more at {memory.gpu_va + offset:#x}", timeout_s=timeout_s, where=self.gpu.name,
            next_step="gpumend probe: Xids of the kernel log, GSP; then a new channel, or a reset",
        )  # fmt: skip

    def renew(self) -> tuple[str, ...]:
        """After ChannelDead: new channels in place of the dead ones; their engines."""
        return self.gpu.recover()
