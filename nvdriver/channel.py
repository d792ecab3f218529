"""A channel: a ring of pushbuffers that one engine works off, with the value by which we know how far it is.

Bring-up: channel group, (context share), ring and USERD in video memory, error notifier and pushbuffer in host memory,
channel, engine object, UVM, schedule, token. Each submission ends in a release of the next value with the time. What ends
a channel shows in its error notifier: no wait goes on after that. Source: nvidia-rm.md sections 5 and 9; order of
registration and scheduling: kernel_channel.c kchannelIsSchedulable of open-gpu-kernel-modules 580.105.08; a copy
channel's group as nv_gpu_ops.c makes it. x86 keeps the order of stores (pcibus.driverfiles); other hosts are not known."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from base.clock import Clock
from base.errors import DeviceLost, GpumendError, Unavailable, UsageError, WaitTimeout
from base.poll import poll
from nvdriver import abi, pushbuffer
from nvdriver.gpuclasses import Classes
from nvdriver.memory import Memory, MemoryMap
from nvdriver.rm import CpuMapping, RmGpu
from nvdriver.status import ChannelDead, RmError
from nvdriver.uvm import Uvm

ENTRIES: Final = 1024
PUSH_BYTES: Final = 1 << 20
WINDOW_BYTES: Final = 64 << 20  # of addresses, for what UVM maps for a channel of graphics and compute
WAIT_S: Final = 5.0
SOON_S: Final = 0.1  # after so long without an answer it is asked whether the GPU is still there
_USERD_AT: Final = 8 * ENTRIES
_GP_PUT: Final = 0x8C
_TIME, _NOTIFY = 0x80, 0x90  # of the usermode page
_RECORD: Final = struct.Struct("<QQ")
_NOTIFIER: Final = struct.Struct("<QIHH")  # NvNotification: time, info32, info16, status
_ASYNC: Final = 1  # NV_CTXSHARE_ALLOCATION_FLAGS_SUBCONTEXT
_ALL_ONES: Final = (1 << 64) - 1
_FAULT_TYPES: Final = (
    "no page directory", "page directory size", "no page", "beyond the limit", "unbound instance", "privilege", "read-only",
    "write-only", "pitch", "work creation", "aperture", "compression", "kind", "region", "poisoned", "atomic",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine of the GPU: `type` as RM numbers them; `copy`: which copy engine, None: graphics and compute."""

    type: int
    copy: int | None

    def __str__(self) -> str:
        return "compute" if self.copy is None else f"CE{self.copy}"


COMPUTE: Final = Engine(abi.ENGINE_GRAPHICS, None)


def copy_engine(index: int) -> Engine:
    """NV2080_ENGINE_TYPE_COPY: ten of them, the others further on."""
    near = index < abi.NEAR_COPIES
    return Engine(abi.ENGINE_COPY0 + index if near else abi.ENGINE_COPY10 + index - abi.NEAR_COPIES, index)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the channels of one open GPU share."""

    gpu: RmGpu
    uvm: Uvm
    uuid: bytes
    memory: MemoryMap
    va_space: int
    classes: Classes
    doorbell: CpuMapping
    clock: Clock

    def is_lost(self) -> bool:
        """Whether the usermode page reads all ones: its timer never does."""
        return int.from_bytes(self.doorbell[_TIME : _TIME + 8], "little") == _ALL_ONES

    def timer_ns(self) -> int:
        """The GPU's clock, as its engines stamp it: high, low, high, as it counts meanwhile."""
        while True:
            low, high = struct.unpack("<II", self.doorbell[_TIME : _TIME + 8])
            if struct.unpack("<I", self.doorbell[_TIME + 4 : _TIME + 8])[0] == high:
                return int(high << 32 | low)


class Channel:
    """Work of one engine, in order. Made by `open_channel`; not for two threads at once."""

    def __init__(self, bench: Bench, engine: Engine) -> None:
        self.engine = engine
        self._bench = bench
        self._undo: list[Callable[[], None]] = []
        self._handle = 0
        self._token = 0
        self._put = 0
        self._sent = 0
        self._push_at = 0
        self._closed = False
        self.dead: ChannelDead | DeviceLost | None = None
        self._ring: Memory
        self._push: Memory
        self._records: Memory
        self._notifier: Memory

    # ---- up and down

    def open(self) -> None:
        """In the order of the module's text; what was made is freed again when a step fails."""
        try:
            self._open()
        except BaseException:
            with suppress(GpumendError):
                self.close()
            raise

    def _open(self) -> None:
        bench, client = self._bench, self._bench.gpu.client
        is_copy = self.engine.copy is not None
        group = self._object(
            bench.gpu.device, abi.CHANNEL_GROUP,
            struct.pack("<IIII4x", 0, 0, bench.va_space if is_copy else 0, self.engine.type), "a channel group",
        )  # fmt: skip
        self._ring = self._alloc(_USERD_AT + 512, in_vram=True)
        self._push = self._alloc(PUSH_BYTES)
        self._records = self._alloc(4096)
        self._notifier = self._alloc(4096)
        self._cpu(self._notifier)[0:48] = bytes(48)
        self._cpu(self._records)[0:16] = bytes(16)
        share = 0
        if not is_copy:
            share = self._object(
                group, abi.CONTEXT_SHARE, struct.pack("<III", bench.va_space, _ASYNC, 0), "a context share"
            )
        self._handle = self._object(group, bench.classes.channel, self._params(share), f"a channel of {self.engine}")
        number, params = bench.classes.compute, b""
        if is_copy:  # NVB0B5_ALLOCATION_PARAMETERS, version 1: an engine type as everywhere else
            number, params = bench.classes.copy, struct.pack("<II", 1, self.engine.type)
        client.alloc(self._handle, number, bytearray(params), f"the engine object of {self.engine}")
        self._register()
        self._control(group, "GPFIFO_SCHEDULE", b"\1")
        self._token = struct.unpack_from("<I", self._control(self._handle, "GET_WORK_SUBMIT_TOKEN", b""))[0]
        subchannel = pushbuffer.COPY if is_copy else pushbuffer.COMPUTE
        self.wait(self.submit(pushbuffer.set_object(subchannel, number)))

    def _object(self, parent: int, number: int, params: bytes, what: str) -> int:
        client = self._bench.gpu.client
        handle = client.alloc(parent, number, bytearray(params), what)
        self._undo.append(lambda: client.free(parent, handle, what))
        return handle

    def _alloc(self, size: int, *, in_vram: bool = False) -> Memory:
        memory = self._bench.memory.alloc(size, in_vram=in_vram, cpu=True, contiguous=in_vram)
        self._undo.append(lambda: self._bench.memory.free(memory))
        return memory

    @staticmethod
    def _cpu(memory: Memory) -> CpuMapping:
        assert memory.cpu is not None, "memory of a channel is mapped"
        return memory.cpu

    def _params(self, share: int) -> bytes:
        """NV_CHANNEL_ALLOC_PARAMS (nvidia-rm.md section 3.2)."""
        params = bytearray(368)
        struct.pack_into("<II", params, 0, self._notifier.handle, self._ring.handle)
        struct.pack_into("<QIII", params, 8, self._ring.gpu_va, ENTRIES, 0, share)
        struct.pack_into("<I", params, 32, self._ring.handle)
        struct.pack_into("<Q", params, 64, _USERD_AT)
        struct.pack_into("<I", params, 128, self.engine.type)
        return bytes(params)

    def _register(self) -> None:
        bench = self._bench
        base = bench.memory.addresses.take(WINDOW_BYTES, WINDOW_BYTES)
        self._undo.append(lambda: bench.memory.addresses.give(base, WINDOW_BYTES))
        root = bench.gpu.client.root
        bench.uvm.register_channel(bench.uuid, root, self._handle, base, WINDOW_BYTES)
        self._undo.append(lambda: bench.uvm.unregister_channel(bench.uuid, root, self._handle))

    def _control(self, target: int, name: str, values: bytes) -> bytearray:
        branch = self._bench.gpu.client.branch
        assert branch is not None, "an opened client has chosen its branch"
        return self._bench.gpu.client.control(target, name, bytearray(values.ljust(branch.work[name].size, b"\0")))

    def close(self) -> None:
        """Backwards; everything is tried, the first error raised."""
        self._closed = True
        failed: list[GpumendError] = []
        while self._undo:
            try:
                self._undo.pop()()
            except GpumendError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    # ---- work

    def submit(self, methods: bytes) -> int:
        """Send methods; the value that is reached when they are done. Waits where ring or pushbuffer are full."""
        self._require_open()
        whole = methods + self._mark(self._sent + 1)
        if len(whole) > PUSH_BYTES // 2:
            raise UsageError(
                f"submitting work to {self.engine}", expected=f"at most {PUSH_BYTES // 2} bytes of methods",
                seen=str(len(whole)), next_step="submit it in pieces",
            )  # fmt: skip
        at = self._room(len(whole))
        self._cpu(self._push)[at : at + len(whole)] = whole
        entry = (self._push.gpu_va + at) | 1 << 41 | (len(whole) // 4) << 42
        ring = self._cpu(self._ring)
        ring[8 * self._put : 8 * self._put + 8] = entry.to_bytes(8, "little")
        self._sent += 1
        self._put = (self._put + 1) % ENTRIES
        ring.store32(_USERD_AT + _GP_PUT, self._put)
        self._bench.doorbell.store32(_NOTIFY, self._token)
        return self._sent

    def _mark(self, value: int) -> bytes:
        make = pushbuffer.release if self.engine.copy is None else pushbuffer.copy_release
        return make(self._records.gpu_va, value)

    def _room(self, size: int) -> int:
        """A place in the pushbuffer that nothing reads any more: it is used from its start to its end, then, once all of it
        has been read, from its start again. The ring has room for all but one of its entries."""
        if self._push_at + size > PUSH_BYTES:
            self.wait(self._sent)
            self._push_at = 0
        if self._sent - self.reached >= ENTRIES - 2:
            self.wait(self._sent - ENTRIES // 2)
        at, self._push_at = self._push_at, self._push_at + size
        return at

    @property
    def sent(self) -> int:
        """The value of the last submission."""
        return self._sent

    @property
    def reached(self) -> int:
        """The last value that was reached. A copy engine writes the low 32 bits. UsageError once it is closed."""
        return self._record()[0]

    def _record(self) -> tuple[int, int]:
        if self._closed:
            self._require_open()
        value, stamp = _RECORD.unpack(self._cpu(self._records)[0:16])
        if self.engine.copy is not None:
            value = self._sent - ((self._sent - value) & 0xFFFFFFFF)
        return value, stamp

    @property
    def stamp_ns(self) -> int:
        """When the last value was reached, on the GPU's clock."""
        return self._record()[1]

    def wait(self, value: int, timeout_s: float = WAIT_S) -> None:
        """Until `value` is reached. Raises ChannelDead, DeviceLost, WaitTimeout."""
        doing = f"waiting for {self.engine} of {self._bench.gpu.card.bdf}"
        self._require_open()
        try:
            self._poll(value, doing, min(timeout_s, SOON_S))
        except WaitTimeout:
            self.require_there()
            if timeout_s <= SOON_S:
                raise
            self._poll(value, doing, timeout_s - SOON_S)
        if self.reached < value:
            self.require_sound()

    def _require_open(self) -> None:
        """Raises what has ended this channel; UsageError where its user closed it."""
        if self.dead is not None:
            raise self.dead
        if self._closed:
            raise UsageError(
                f"using {self.engine} of {self._bench.gpu.card.bdf}", expected="an open channel", seen="it is closed",
                where=self._bench.gpu.card.bdf,
            )  # fmt: skip

    def require_there(self) -> None:
        """Raises DeviceLost where the GPU is gone from the bus."""
        if self._bench.is_lost():
            self.dead = self._lost(f"waiting for {self.engine} of {self._bench.gpu.card.bdf}")
            raise self.dead

    def require_sound(self) -> None:
        """Raises ChannelDead where the driver has ended this channel, and what has ended it before."""
        if self.dead is not None:
            raise self.dead
        number = self._notified()
        if number is not None:
            doing = f"waiting for {self.engine} of {self._bench.gpu.card.bdf}"
            self.dead = ChannelDead(doing, number, self._bench.gpu.card.bdf, self._fault(number))
            raise self.dead

    def _poll(self, value: int, doing: str, timeout_s: float) -> None:
        poll(
            self._bench.clock,
            lambda: (self.reached, self._notified()),
            lambda seen: seen[0] >= value or seen[1] is not None,
            doing=doing,
            expected=f"value {value} of its semaphore",
            timeout_s=timeout_s,
            where=f"{self.engine}, channel {self._token & 0xFFF:#x}, semaphore {self._records.gpu_va:#x}",
            next_step="gpumend probe: Xids of the kernel log, GSP; then a new channel, or a reset",
            show=lambda seen: f"value {seen[0]}" if seen[1] is None else f"value {seen[0]}, Xid {seen[1]}",
        )

    def _notified(self) -> int | None:
        """The Xid in the error notifier; None: nothing was written there."""
        _, info, _, status = _NOTIFIER.unpack(self._cpu(self._notifier)[0:16])
        return int(info) if status else None

    def _fault(self, number: int) -> str:
        """Where a page fault was, if the driver still tells (once)."""
        if number != 31:
            return ""
        try:
            high, low, kind = struct.unpack_from("<III", self._control(self._handle, "GET_MMU_FAULT_INFO", b""))
        except (RmError, Unavailable):
            return "the driver does not tell where"
        if not (high or low or kind):
            return "the driver does not tell where"
        name = _FAULT_TYPES[kind] if kind < len(_FAULT_TYPES) else f"type {kind:#x}"
        return f"page fault at {high << 32 | low:#x}: {name}"

    def _lost(self, doing: str) -> DeviceLost:
        return DeviceLost(
            doing,
            expected="a GPU that answers",
            seen="its usermode page reads all ones",
            where=self._bench.gpu.card.bdf,
            next_step="gpumend probe: Xid 79 in the kernel log; then a bus reset, and the driver bound anew",
        )


def open_channel(bench: Bench, engine: Engine) -> Channel:
    """A channel that has done its first work. Raises RmError, OutOfMemory, ChannelDead, DeviceLost, WaitTimeout."""
    channel = Channel(bench, engine)
    channel.open()
    return channel
