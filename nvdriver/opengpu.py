"""An NVIDIA GPU that is open through its kernel driver: allocate, copy, fill, fence, close; the words are those of AMD's.

    with gpumend.open("model:h200") as gpu:
        a, b = gpu.alloc(1 << 20), gpu.alloc(1 << 20)
        a.write(bytes(range(256)) * 4096)
        gpu.copy(b, a)
        assert b.read() == a.read()

Copies and fills of one engine are done in the order given. VRAM is read and written through memory of the host that copy
engine 0 reads and writes. Other processes may use the GPU meanwhile: the driver keeps them apart. Not for two threads at
once. Source: nvidia-rm.md section 5 (order of bring-up)."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from base.errors import DeviceLost, GpumendError, Undecided, UsageError, WaitTimeout
from nvdriver import abi, gpuclasses, pushbuffer
from nvdriver.channel import COMPUTE, Bench, Channel, Engine, copy_engine, open_channel
from nvdriver.memory import Memory, MemoryMap
from nvdriver.rm import Client, CpuMapping, RmGpu
from nvdriver.status import ChannelDead
from nvdriver.uvm import Uvm

if TYPE_CHECKING:
    from types import TracebackType

    from base.clock import Clock
    from nvdriver.rawgpu import NvRaw
    from pcibus.driverfiles import DriverFiles

PLACES: Final = ("vram", "host")
STAGING_BYTES: Final = 4 << 20
DOORBELL_BYTES: Final = 64 << 10
WAIT_S: Final = 5.0  # for an engine with little to do
SLOWEST_BYTES_PER_S: Final = 1e9  # a copy engine does more, also over PCIe
FIRMWARE_WAIT_S: Final = 5.0  # it answers in milliseconds, or never
_STAMP: Final = struct.Struct("<QQ")
_EXTERNALLY_OWNED, _PAGE_FAULTING = 1 << 3, 1 << 6  # NV_VASPACE_ALLOCATION_FLAGS
_VA_BASE, _VA_SIZE = 0x1000, 0x1FFFFFB000000


class NvBuffer:
    """Memory of an open GPU, or of the host for it. Made by OpenNvGpu.alloc."""

    def __init__(self, gpu: OpenNvGpu, memory: Memory, size: int) -> None:
        self.gpu = gpu
        self.size = size
        self._memory: Memory | None = memory
        self._doubt = ""  # the engine that got stuck while it may have been writing here

    def __repr__(self) -> str:
        held = self._memory
        return "<freed buffer>" if held is None else f"<{self.size} bytes of {self.where} at {held.gpu_va:#x}>"

    @property
    def where(self) -> str:
        """`vram` or `host`."""
        return "vram" if self.held("asking for the place of").in_vram else "host"

    @property
    def gpu_va(self) -> int:
        """The address by which the engines know it."""
        return self.held("asking for the address of").gpu_va

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes from `offset` on, after all that was queued is done. Raises Undecided when an engine failed while it was to
        write here."""
        count = self.size - offset if size is None else size
        memory = self.range("reading", offset, count)
        self.gpu.synchronize()
        if self._doubt:
            raise Undecided(
                "reading a buffer", expected="all that was queued for it done",
                seen=f"{self._doubt} failed before, with work for this buffer", where=self.gpu.name,
                next_step="write or copy all of it anew, or free it",
            )  # fmt: skip
        if memory.cpu is not None:
            return memory.cpu[offset : offset + count]
        return self.gpu._read_vram(memory.gpu_va + offset, count)

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        """Put bytes there, after all that was queued is done."""
        whole = bytes(memoryview(data))
        memory = self.range("writing", offset, len(whole))
        self.gpu.synchronize()
        if memory.cpu is not None:
            memory.cpu[offset : offset + len(whole)] = whole
        else:
            self.gpu._write_vram(memory.gpu_va + offset, whole)
        if len(whole) == self.size:
            self._doubt = ""

    def free(self) -> None:
        """Give it back, after what was queued is done. UsageError the second time."""
        memory, self._memory = self.held("freeing"), None
        self.gpu._free(self, memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._memory is not None:
            self.free()

    def held(self, doing: str) -> Memory:
        self.gpu.require_open(f"{doing} a buffer")
        if self._memory is None:
            raise UsageError(f"{doing} a buffer", expected="a buffer in use", seen="it was freed", where=self.gpu.name)
        return self._memory

    def range(self, doing: str, offset: int, count: int) -> Memory:
        memory = self.held(doing)
        if not 0 <= offset < offset + count <= self.size:
            raise UsageError(
                f"{doing} a buffer", expected=f"at least one byte, within its {self.size:#x}",
                seen=f"{count} bytes from {offset:#x}", where=self.gpu.name,
                next_step="stay within the buffer, or allocate a larger one",
            )  # fmt: skip
        return memory


class NvFence:
    """A place in the order of one engine's work."""

    def __init__(self, channel: Channel, value: int, timeout_s: float) -> None:
        self._channel = channel
        self._value = value
        self._timeout_s = timeout_s

    @property
    def done(self) -> bool:
        """Whether everything that was queued before it is done; asks, does not wait."""
        return self._channel.reached >= self._value

    def wait(self, timeout_s: float | None = None) -> None:
        """Until it is done. Raises ChannelDead, DeviceLost, WaitTimeout."""
        self._channel.wait(self._value, self._timeout_s if timeout_s is None else timeout_s)


class _Lane:
    """One engine's channel, and what was given to it since the last wait."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.bytes = 0
        self.targets: dict[int, NvBuffer] = {}

    @property
    def timeout_s(self) -> float:
        return WAIT_S + self.bytes / SLOWEST_BYTES_PER_S


class OpenNvGpu:
    """One GPU that was opened. Use it as a context manager, or call `close`."""

    def __init__(self, name: str, part: str, clock: Clock) -> None:
        self.name = name
        self.part = part
        self.clock = clock
        self.steps: tuple[str, ...] = ()
        self._stack = ExitStack()
        self._open = False
        self._pid = os.getpid()
        self._lanes: dict[Engine, _Lane] = {}
        self._buffers: dict[int, tuple[NvBuffer, Memory]] = {}
        self._staging: Memory | None = None
        self._raw: NvRaw | None = None
        self._copies: tuple[int, ...] = ()
        self.bench: Bench

    def __repr__(self) -> str:
        return f"<{self.part} {self.name}{'' if self._open else ', closed'}>"

    def bring_up(self, files: DriverFiles, bdf: str) -> None:
        """Objects, VA space, UVM. What was made is closed again when a step fails."""
        try:
            self._bring_up(files, bdf)
            self._open = True
        except BaseException:
            self._stack.close()
            raise

    def _step(self, what: str) -> None:
        self.steps = (*self.steps, what)

    def _bring_up(self, files: DriverFiles, bdf: str) -> None:
        self._step("client")
        client = self._stack.enter_context(Client.open(files))
        card = client.card(bdf)
        if card.gpu_id in client.attached():
            self._step("firmware")
            _require_firmware(files, bdf)
        self._step("device")
        gpu = self._stack.enter_context(client.gpu(card, initialize=True))
        classes = gpuclasses.choose(gpu.classes(), bdf)
        self._step("UVM")
        uvm = self._stack.enter_context(Uvm.open(files, client.ctl, client.tables))
        uuid = _uuid(gpu)
        uvm.register_gpu(uuid)
        self._stack.callback(_quietly, lambda: uvm.unregister_gpu(uuid))
        self._step("VA space")
        space = client.alloc(gpu.device, abi.VA_SPACE, _space_params(client), "a VA space")
        uvm.register_space(uuid, client.root, space)
        self._stack.callback(_quietly, lambda: uvm.unregister_space(uuid))
        memory = MemoryMap(gpu, uvm, uuid)
        self._stack.callback(_quietly, memory.free_all)
        self._step("doorbell")
        page = client.alloc(gpu.subdevice, classes.doorbell, bytearray(), "the doorbell page")
        doorbell = client.map(gpu.subdevice, page, DOORBELL_BYTES, node=card.node, writable=True)
        self._stack.callback(doorbell.close)
        self.bench = Bench(gpu, uvm, uuid, memory, space, classes, doorbell, self.clock)
        present = struct.unpack_from("<Q", gpu.control("CE_GET_ALL_CAPS"), 128)[0]
        self._copies = tuple(index for index in range(64) if present >> index & 1)
        self._step("copy engine")
        self._lane(self._engine(0, "opening the GPU"))

    # ---- what it is

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def engines(self) -> int:
        """Copy engines, numbered from 0; those that are not there do not count."""
        return len(self._copies)

    @property
    def classes(self) -> gpuclasses.Classes:
        return self.bench.classes

    @property
    def version(self) -> str:
        """The driver's."""
        return self.bench.gpu.client.version

    def engine_name(self, number: int) -> str:
        """`CE3`: as the driver numbers it."""
        return str(self._engine(number, "naming an engine"))

    # ---- memory

    def alloc(self, size: int, *, where: str = "vram") -> NvBuffer:
        """Memory of this GPU (`vram`) or of the host (`host`). Raises OutOfMemory, UsageError, RmError."""
        self.require_open(f"allocating {size} bytes")
        if where not in PLACES or size <= 0:
            raise UsageError(
                f"allocating {size} bytes", expected=f"one byte or more, where to be one of {', '.join(PLACES)}",
                seen=f"{size} bytes, where={where!r}", where=self.name,
            )  # fmt: skip
        memory = self.bench.memory.alloc(size, in_vram=where == "vram", cpu=where == "host")
        buffer = NvBuffer(self, memory, size)
        self._buffers[id(buffer)] = (buffer, memory)
        return buffer

    def alloc_mapped(self, size: int) -> NvBuffer:
        """VRAM that this process sees through BAR1, too: reads and writes of it go there, past the engines."""
        self.require_open(f"allocating {size} bytes")
        memory = self.bench.memory.alloc(size, cpu=True)
        buffer = NvBuffer(self, memory, size)
        self._buffers[id(buffer)] = (buffer, memory)
        return buffer

    def _free(self, buffer: NvBuffer, memory: Memory) -> None:
        self._buffers.pop(id(buffer), None)
        stuck = False
        try:
            self.synchronize()
        except (ChannelDead, DeviceLost):  # nothing will be done by what is dead
            pass
        except WaitTimeout:
            stuck = True
        self.bench.memory.free(memory, reuse=not stuck)

    # ---- copies and fills

    def copy(
        self,
        dst: NvBuffer,
        src: NvBuffer,
        size: int | None = None,
        *,
        dst_offset: int = 0,
        src_offset: int = 0,
        engine: int | None = None,
    ) -> None:
        """Queue a copy; any size and alignment. `size` None: all of the source from its offset on. `engine`: which copy
        engine (None: 0); only work of one engine keeps its order without a fence."""
        count = src.size - src_offset if size is None else size
        self.copy_many([(dst, dst_offset, src, src_offset, count)], engine=engine)

    def copy_many(
        self, pieces: Sequence[tuple[NvBuffer, int, NvBuffer, int, int]], *, engine: int | None = None
    ) -> None:
        """Queue copies (dst, dst_offset, src, src_offset, size) together; all are checked before the first is queued."""
        doing = "queueing a copy"
        lane = self._lane(self._engine(engine, doing))
        packets = [self._copy_packet(doing, *piece) for piece in pieces]
        self._submit(lane, packets, sum(piece[4] for piece in pieces), [piece[0] for piece in pieces])
        for dst, _, _, _, size in pieces:
            if size == dst.size:
                dst._doubt = ""

    def _copy_packet(self, doing: str, dst: NvBuffer, dst_at: int, src: NvBuffer, src_at: int, size: int) -> bytes:
        for one in (dst, src):
            self._require_own(doing, one)
        target = dst.range("copying to", dst_at, size).gpu_va + dst_at
        source = src.range("copying from", src_at, size).gpu_va + src_at
        if target < source + size and source < target + size:
            raise UsageError(
                doing, expected="a source and a target that do not overlap",
                seen=f"{size:#x} bytes from {source:#x} to {target:#x}", where=self.name, next_step="copy in two steps",
            )  # fmt: skip
        return pushbuffer.copy(target, source, size)

    def fill(
        self, dst: NvBuffer, value: int, size: int | None = None, *, offset: int = 0, engine: int | None = None
    ) -> None:
        """Queue a fill with a byte (0 to 255)."""
        doing = "queueing a fill"
        self._require_own(doing, dst)
        count = dst.size - offset if size is None else size
        target = dst.range("filling", offset, count).gpu_va + offset
        if not 0 <= value <= 0xFF:
            raise UsageError(doing, expected="a byte, 0 to 255", seen=str(value), where=self.name)
        lane = self._lane(self._engine(engine, doing))
        self._submit(lane, [pushbuffer.fill(target, value, count)], count, [dst])
        if count == dst.size:
            dst._doubt = ""

    def _submit(self, lane: _Lane, packets: Sequence[bytes], size: int, targets: Sequence[NvBuffer]) -> None:
        """In pieces that the pushbuffer takes."""
        lane.bytes += size
        lane.targets.update({id(one): one for one in targets})
        for first in range(0, len(packets), 4096):
            self._guarded(lane, lambda part=packets[first : first + 4096]: lane.channel.submit(b"".join(part)))  # type: ignore[misc]

    def fence(self, *, engine: int | None = None) -> NvFence:
        """After all that was queued on an engine (None: 0)."""
        lane = self._lane(self._engine(engine, "making a fence"))
        return NvFence(lane.channel, lane.channel.sent, lane.timeout_s)

    def synchronize(self, *, engine: int | None = None) -> None:
        """Until what was queued is done, on one engine or on all. Raises ChannelDead, DeviceLost, WaitTimeout."""
        self.require_open("waiting")
        lanes = list(self._lanes.values()) if engine is None else [self._lane(self._engine(engine, "waiting"))]
        for lane in lanes:
            if lane.bytes or lane.channel.reached < lane.channel.sent:
                self._wait(lane, lane.channel.sent)
                lane.bytes = 0
                lane.targets.clear()

    def _wait(self, lane: _Lane, value: int) -> None:
        self._guarded(lane, lambda: lane.channel.wait(value, lane.timeout_s))

    def _guarded(self, lane: _Lane, work: Callable[[], object]) -> None:
        """When an engine fails, what it was to write may have come, or not."""
        try:
            work()
        except GpumendError:
            for one in lane.targets.values():
                one._doubt = str(lane.channel.engine)
            lane.targets.clear()
            raise

    def recover(self) -> tuple[str, ...]:
        """New channels in place of those that the driver has ended; their engines. Memory and other channels stay."""
        self.require_open("recovering")
        dead = [engine for engine, lane in self._lanes.items() if isinstance(lane.channel.dead, ChannelDead)]
        for engine in dead:
            lane = self._lanes.pop(engine)
            _quietly(lane.channel.close)
            self._lane(engine)
        return tuple(map(str, dead))

    # ---- time

    def timestamps(self, engine: int, count: int) -> list[int]:
        """Nanoseconds of the GPU's clock, stamped by a copy engine one after the other."""
        lane = self._lane(self._engine(engine, "reading timestamps"))
        with self.alloc(16 * count, where="host") as page:
            at = page.gpu_va
            marks = b"".join(pushbuffer.copy_release(at + 16 * place, place + 1) for place in range(count))
            self._wait(lane, lane.channel.submit(marks))
            data = page.read()
        return [_STAMP.unpack_from(data, 16 * place)[1] for place in range(count)]

    def timed_copy(self, dst: NvBuffer, src: NvBuffer, *, engine: int = 0) -> float:
        """Seconds that a copy of all of `src` took, by the engine's own stamps."""
        lane = self._lane(self._engine(engine, "timing a copy"))
        packet = self._copy_packet("timing a copy", dst, 0, src, 0, src.size)
        with self.alloc(32, where="host") as page:
            at = page.gpu_va
            whole = pushbuffer.copy_release(at, 1) + packet + pushbuffer.copy_release(at + 16, 2)
            lane.bytes += src.size
            self._wait(lane, lane.channel.submit(whole))
            (_, begin), (_, end) = _STAMP.iter_unpack(page.read())
        return float(end - begin) / 1e9

    def timer_ns(self) -> int:
        """The GPU's clock, read from its usermode page."""
        self.require_open("reading the clock")
        return self.bench.timer_ns()

    # ---- channels

    def channel(self, engine: int | None) -> Channel:
        """The channel of a copy engine, or (None) that of graphics and compute; opened when it is first asked for."""
        self.require_open("opening a channel")
        return self._lane(COMPUTE if engine is None else self._engine(engine, "opening a channel")).channel

    def new_channel(self, engine: int | None) -> Channel:
        """One more channel, which the caller closes."""
        self.require_open("opening a channel")
        return open_channel(self.bench, COMPUTE if engine is None else self._engine(engine, "opening a channel"))

    def _lane(self, engine: Engine) -> _Lane:
        if engine not in self._lanes:
            self._lanes[engine] = _Lane(open_channel(self.bench, engine))
        return self._lanes[engine]

    def _engine(self, number: int | None, doing: str) -> Engine:
        place = 0 if number is None else number
        if self._copies and not self._open and not self._lanes:
            return copy_engine(self._copies[0])  # the first, while the GPU is opened
        self.require_open(doing)
        if 0 <= place < len(self._copies):
            return copy_engine(self._copies[place])
        raise UsageError(
            doing, expected=f"a copy engine from 0 to {len(self._copies) - 1}", seen=str(number), where=self.name
        )

    @property
    def raw(self) -> NvRaw:
        """Memory, channels and waits as a tensor runtime has them (nvdriver/rawgpu.py)."""
        self.require_open("using the GPU")
        if self._raw is None:
            from nvdriver.rawgpu import NvRaw

            self._raw = NvRaw(self)
        return self._raw

    def require_sound(self) -> None:
        """Raises ChannelDead where the driver has ended one of its channels."""
        for lane in self._lanes.values():
            lane.channel.require_sound()

    def require_there(self) -> None:
        """Raises DeviceLost where the GPU is gone from the bus."""
        for lane in self._lanes.values():
            lane.channel.require_there()

    # ---- VRAM by way of the host

    def _stage(self) -> tuple[Memory, CpuMapping]:
        if self._staging is None:
            self._staging = self.bench.memory.alloc(STAGING_BYTES, in_vram=False, cpu=True)
        assert self._staging.cpu is not None, "it was asked for"
        return self._staging, self._staging.cpu

    def _carry(self, target: int, source: int, size: int) -> None:
        lane = self._lane(self._engine(0, "carrying bytes"))
        lane.bytes += size
        self._wait(lane, lane.channel.submit(pushbuffer.copy(target, source, size)))

    def _read_vram(self, address: int, size: int) -> bytes:
        stage, cpu = self._stage()
        parts = []
        for at in range(0, size, STAGING_BYTES):
            count = min(STAGING_BYTES, size - at)
            self._carry(stage.gpu_va, address + at, count)
            parts.append(cpu[0:count])
        return b"".join(parts)

    def _write_vram(self, address: int, data: bytes) -> None:
        stage, cpu = self._stage()
        for at in range(0, len(data), STAGING_BYTES):
            part = data[at : at + STAGING_BYTES]
            cpu[0 : len(part)] = part
            self._carry(address + at, stage.gpu_va, len(part))

    # ---- closing

    def close(self) -> None:
        """Channels, memory, VA space, client. The first error is raised after all was tried; the driver frees what is left
        when its files are closed. In a process forked from that which opened it nothing is done: all of it is that one's."""
        if not self._open:
            return
        if self._pid != os.getpid():
            self._open = False
            return
        failed: list[GpumendError] = []
        alive = [lane for lane in self._lanes.values() if lane.channel.dead is None]  # what is dead has been told of
        works: list[Callable[[], object]] = [partial(self._wait, lane, lane.channel.sent) for lane in alive]
        for work in (*works, *(lane.channel.close for lane in self._lanes.values())):
            try:
                work()
            except GpumendError as error:
                failed.append(error)
        self._open = False
        self._lanes.clear()
        self._buffers.clear()
        self._stack.close()
        if failed:
            raise failed[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(GpumendError):  # what went wrong first is what the caller wants to know
            self.close()

    def require_open(self, doing: str) -> None:
        if not self._open:
            raise UsageError(doing, expected="an open GPU", seen="it is closed", where=self.name)
        if self._pid != os.getpid():
            raise UsageError(
                doing, expected="the process that opened the GPU",
                seen=f"process {os.getpid()}, forked from it ({self._pid})", where=self.name, next_step="open it here",
            )  # fmt: skip

    def _require_own(self, doing: str, buffer: NvBuffer) -> None:
        if buffer.gpu is not self:
            raise UsageError(
                doing, expected="a buffer of this GPU", seen=f"one of {buffer.gpu.name}", where=self.name,
                next_step="read it there and write it here",
            )  # fmt: skip


def open_gpu(files: DriverFiles, bdf: str, clock: Clock, *, name: str, part: str) -> OpenNvGpu:
    """Open a GPU through its loaded driver. Raises Unavailable (no driver, no node), NotPermitted, Refused (a branch without
    tables), WaitTimeout (its firmware does not answer), DeviceLost, RmError."""
    gpu = OpenNvGpu(name, part, clock)
    gpu.bring_up(files, bdf)
    return gpu


def count_engines(files: DriverFiles, bdf: str) -> int | None:
    """Copy engines of a GPU, without opening it for work; None where nobody uses it, so that it cannot be asked. Raises what
    opening raises."""

    def ask() -> int | None:
        with Client.open(files) as client:
            card = client.card(bdf)
            if card.gpu_id not in client.attached():
                return None
            with client.gpu(card) as gpu:
                return int(struct.unpack_from("<Q", gpu.control("CE_GET_ALL_CAPS"), 128)[0].bit_count())

    return files.apart(ask, FIRMWARE_WAIT_S, f"asking the driver about {bdf}")


def _require_firmware(files: DriverFiles, bdf: str) -> None:
    """One question that goes to the firmware: of a dead one every step of bring-up would take 45 s."""
    try:
        files.apart(lambda: _ask_firmware(files, bdf), FIRMWARE_WAIT_S, f"asking the firmware (GSP) of {bdf}")
    except WaitTimeout as error:
        error.where, error.next_step = bdf, "gpumend probe: is it dead (Xid 119)? then the GPU needs a reset"
        raise


def _ask_firmware(files: DriverFiles, bdf: str) -> None:
    with Client.open(files) as client, client.gpu(client.card(bdf)) as gpu:
        gpu.control("GPU_GET_RESET_STATUS")


def _uuid(gpu: RmGpu) -> bytes:
    params = bytearray(gpu.client.size_of("GPU_GET_GID_INFO"))
    struct.pack_into("<III", params, 0, 0, 2, 16)  # binary
    return bytes(gpu.control("GPU_GET_GID_INFO", params)[12:28])


def _space_params(client: Client) -> bytearray:
    assert client.branch is not None, "an opened client has chosen its branch"
    params = bytearray(client.branch.va_space_bytes)
    struct.pack_into("<IIQ", params, 0, 0, _EXTERNALLY_OWNED | _PAGE_FAULTING, _VA_SIZE)
    struct.pack_into("<Q", params, 40, _VA_BASE)
    return params


def _quietly(work: Callable[[], object]) -> None:
    """A step of closing that may fail where the GPU is gone; the driver does it when its files are closed."""
    with suppress(GpumendError):
        work()
