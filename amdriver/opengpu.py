"""A GPU that is open and its buffers, as a user of the driver holds them: allocate, copy, fill, fence, close.

    with gpumend.open("model:mi350x") as gpu:
        a, b = gpu.alloc(1 << 20), gpu.alloc(1 << 20)
        a.write(bytes(range(256)) * 4096)
        gpu.copy(b, a)
        assert b.read() == a.read()

Copies and fills of one engine are done in the order given; `read` and `write` wait for what was queued before. Bad
sizes and offsets, freed and foreign buffers are refused before anything is queued. Not for two threads at once.
Source: Linux v7.3 sdma_v4_4_2.c (fence after copies), gfx_v9_4_3.c (fence by RELEASE_MEM)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Self, cast

from amdriver import pm4, sdma_packets
from amdriver.memory import BadAddress, BadAlignment, BadSize, Closed, DoubleFree
from amdriver.pm4_fields import CopyFrom, CopyTo, ReleaseData
from amdriver.queue import AqlQueue, ComputeQueue
from amdriver.ring import QueueStuck
from amdriver.running_recovery import WATCH_S, KernelFault, KernelHung, Level, Recovery, recover, stuck_queues
from amdriver.selftest_subject import Fenced, Interrupt, fence_payload
from base.errors import DeviceLost, GpumendError, OutOfMemory, Undecided, UsageError, WaitTimeout

if TYPE_CHECKING:
    from types import TracebackType

    from amdriver.buffer import Buffer, Place
    from amdriver.clocks import Clocks
    from amdriver.device import Device
    from amdriver.gfx import AnyQueue
    from amdriver.queue import SdmaQueue
    from amdriver.rawgpu import Raw
    from amdriver.signals import Signal
    from base.clock import Clock

PLACES: Final = ("vram", "host")
STAGING_BYTES: Final = 4 << 20
WAIT_S: Final = 5.0  # for an engine with little to do
SLOWEST_BYTES_PER_S: Final = 1e9  # an SDMA engine does more, also over XGMI and PCIe
COMPUTE_WAIT_S: Final = 2.0
CLOCK_HZ: Final = 100e6  # of the counter that engines stamp (amd-bringup.md section 9)
_U64: Final = struct.Struct("<Q")


class ForeignBuffer(UsageError):
    """A buffer of another GPU, where only a buffer of this one can be reached."""


class NoSuchEngine(UsageError):
    """An SDMA engine or XCC that this GPU does not have, or that was harvested."""


class GpuBuffer:
    """Memory that a GPU can reach: its own VRAM, memory of the host, or (mapped) VRAM of a peer. Made by
    OpenGpu.alloc."""

    def __init__(self, gpu: OpenGpu, buffer: Buffer, size: int) -> None:
        self.gpu = gpu
        self.size = size
        self._buffer: Buffer | None = buffer
        self._lent: GpuBuffer | None = None  # of a mapped one: the buffer of its owner
        self._doubt = ""  # the engine that got stuck while it may have been writing here

    def __repr__(self) -> str:
        held = self._buffer
        return "<freed buffer>" if held is None else f"<{self.size} bytes of {held.where} at {held.gpu_va:#x}>"

    @property
    def where(self) -> str:
        """`vram`, `host` or `peer`."""
        return self._open("asking for the place of").where

    @property
    def gpu_va(self) -> int:
        """The address that engines and compute queues of this GPU know it by."""
        return self._open("asking for the address of").gpu_va

    def vram_at(self, offset: int) -> int | None:
        """Where a byte lies in the VRAM of the GPU that owns it; None: memory of the host."""
        held = self._open("asking for the place of")
        for start, size in held.extents:
            if offset < size:
                return start + offset
            offset -= size
        return None

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes from `offset` on, after all copies and fills that were queued are done. All ones are not believed
        before the GPU has shown that it answers: DeviceLost, or Undecided, when it does not.

        Raises Undecided when an engine got stuck while it was to write to this buffer: nobody knows what came."""
        held, size = self._range("reading", offset, size)
        self.gpu.synchronize()
        self._require_certain()
        data = held.read(offset, size)
        if held.where != "host" and data.endswith(b"\xff" * min(4, len(data))):
            (held.peer or held).gmc.require_answering("reading a buffer")
        return data

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        """Put bytes there, after all copies and fills that were queued are done. What is queued later sees them."""
        if not isinstance(data, bytes):
            data = bytes(memoryview(data))  # an array's length counts items
        held, _ = self._range("writing", offset, len(data))
        self.gpu.synchronize()
        held.write(offset, data)
        if len(data) == self.size:
            self._certain()

    def free(self) -> None:
        """Give it back, after what was queued is done. DoubleFree the second time."""
        if self._buffer is None:
            raise DoubleFree(
                "freeing a buffer",
                expected="a buffer in use",
                seen="it was freed before",
                where=self.gpu.name,
                next_step="free it once, or use it as a context manager",
            )
        self.gpu._free(self, self._buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._buffer is not None:
            self.free()

    def _open(self, doing: str) -> Buffer:
        self.gpu.require_open(f"{doing} a buffer")
        held = self._buffer
        if held is not None and not (held.peer is not None and held.peer.freed):
            return held
        raise Closed(
            f"{doing} a buffer",
            expected="a buffer in use",
            seen="it was freed before" if held is None else "its owner is closed",
            where=self.gpu.name,
            next_step="allocate it anew; whoever frees a buffer drops it",
        )

    def _require_certain(self) -> None:
        doubt = self._doubt or (self._lent._doubt if self._lent is not None else "")
        if not doubt:
            return
        raise Undecided(
            "reading a buffer",
            expected="all that was queued for it done",
            seen=f"{doubt} got stuck before, with work for this buffer",
            where=self.gpu.name,
            next_step="write or copy all of it anew, or free it",
        )

    def _certain(self) -> None:
        """Every byte is given anew: what an engine had left undone does not matter any more."""
        self._doubt = ""
        if self._lent is not None:
            self._lent._doubt = ""

    def _doubted(self, engine: str) -> None:
        """This engine got stuck with work for it: on whichever GPU it is read, it is not certain."""
        self._doubt = engine
        if self._lent is not None:
            self._lent._doubt = engine

    def _range(self, doing: str, offset: int, size: int | None) -> tuple[Buffer, int]:
        """The driver's buffer, once the range is known to lie within it."""
        held = self._open(doing)
        count = self.size - offset if size is None else size
        if 0 <= offset < offset + count <= self.size:
            return held, count
        kind = BadSize if count <= 0 else BadAddress
        raise kind(
            f"{doing} a buffer",
            expected=f"at least one byte, within its {self.size:#x}",
            seen=f"{count} bytes from {offset:#x}",
            where=self.gpu.name,
            next_step="stay within the buffer, or allocate a larger one",
        )


class WorkLost(GpumendError):
    """A fence behind work that a recovery has thrown away: it will never be done."""


class Fence:
    """A place in the order of one engine's work."""

    def __init__(self, gpu: OpenGpu, engine: int, value: int, timeout_s: float) -> None:
        self._gpu = gpu
        self._engine = engine
        self._value = value
        self._timeout_s = timeout_s

    @property
    def done(self) -> bool:
        """Whether everything that was queued before it is done; asks, does not wait. WorkLost after a recovery."""
        return self._gpu._reached(self._engine, self._value)

    def wait(self, timeout_s: float | None = None) -> None:
        """Until it is done. Raises QueueStuck (which names the engine and the packet that it stands at), DeviceLost,
        WorkLost; on a GPU that recovers by itself KernelHung or KernelFault instead of QueueStuck.

        After the time that the work may take the engine counts as stuck; after a shorter `timeout_s` it does not."""
        wanted = self._timeout_s if timeout_s is None else timeout_s
        self._gpu._wait(self._engine, self._value, wanted, final=wanted >= self._timeout_s)


class _Engine:
    """One SDMA queue with the signal by which we know how far it got."""

    def __init__(self, queue: SdmaQueue, signal: Signal) -> None:
        self.queue = queue
        self.signal = signal
        self.sent = 0  # value of the last fence
        self.reached = 0
        self.bytes = 0  # moved since the last wait
        self.pending = False  # work behind the last fence
        self.stuck = False
        self.targets: dict[int, GpuBuffer] = {}  # what is written since the last wait, by id
        self.lost: list[range] = []  # values of fences whose work a recovery threw away

    def revive(self) -> None:
        """Its ring was started anew: what had not been done is lost, what comes next counts on."""
        self.reached = max(self.reached, self.signal.value)
        if self.pending or self.reached < self.sent:
            self.fail()
        if self.reached < self.sent:
            self.lost.append(range(self.reached + 1, self.sent + 1))
        self.signal.set(self.sent)
        self.reached = self.sent
        self.bytes = 0
        self.pending = self.stuck = False

    def fail(self) -> None:
        """It got stuck: what it was to write may have come, or not."""
        self.stuck = True
        for one in self.targets.values():
            one._doubted(str(self.queue))
        self.targets.clear()


class OpenGpu:
    """One GPU that was brought up; `device` is the driver beneath. Use it as a context manager, or call `close`."""

    def __init__(self, device: Device, *, recovers: bool = False) -> None:
        """`recovers`: where a wait finds a stuck queue, `recover` is called before the error is raised."""
        self.device = device
        self.recovers = recovers
        self._open = True
        self._engines: dict[int, _Engine] = {}
        self._compute: dict[int, tuple[ComputeQueue, Buffer, Signal]] = {}
        self._buffers: dict[int, tuple[GpuBuffer, Buffer]] = {}
        self._staging: Buffer | None = None
        self._raw: Raw | None = None
        self._clocks: Clocks | None = None
        device.gmc.copier = self

    def __repr__(self) -> str:
        return f"<{self.part} {self.name}{'' if self._open else ', closed'}>"

    # ---- what it is

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def name(self) -> str:
        """The address that reaches it."""
        return self.device.gpu.name

    @property
    def part(self) -> str:
        return self.device.gpu.part.name

    @property
    def clock(self) -> Clock:
        return self.device.gpu.clock

    @property
    def engines(self) -> int:
        """SDMA engines, numbered from 0; harvested ones do not count."""
        return len(self.device.sdma.queues)

    @property
    def xccs(self) -> int:
        """XCCs, numbered from 0; harvested ones do not count."""
        return len(self.device.gfx.xccs)

    @property
    def start_state(self) -> str:
        """How it was found: cold, left clean by us, or left by somebody else."""
        return str(self.device.start_state)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of bring-up that were done, in order."""
        return tuple(str(step) for step in self.device.steps)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd while it was brought up, and was gone on with."""
        return tuple(self.device.notes)

    @property
    def node(self) -> tuple[int, int]:
        """(own number, how many GPUs) in its hive; (0, 1): alone."""
        place = self.device.gmc.place
        return place.node, place.nodes

    @property
    def raw(self) -> Raw:
        """Memory, queues and waits as a tensor runtime has them (amdriver/rawgpu.py). Closed with the GPU."""
        self.require_open("using the GPU")
        if self._raw is None:
            from amdriver.rawgpu import Raw

            self._raw = Raw(self)
        return self._raw

    @property
    def clocks(self) -> Clocks:
        """Its clocks: ranges, pinned for timings that repeat, free again. What was pinned is freed when the GPU is closed."""
        self.require_open("using the clocks")
        if self._clocks is None:
            from amdriver.clocks import Clocks

            self._clocks = Clocks(self.device.smu)
        return self._clocks

    # ---- memory

    def alloc(self, size: int, *, where: str = "vram") -> GpuBuffer:
        """Memory of this GPU (`vram`) or of the host (`host`). Its contents are whatever was there.

        Raises BadSize (0, or more than there is), OutOfMemory (no room now), UsageError (`where`), Closed."""
        self.require_open(f"allocating {size} bytes")
        if where not in PLACES:
            raise UsageError(
                f"allocating {size} bytes",
                expected=f"where to be one of {', '.join(PLACES)}",
                seen=repr(where),
                where=self.name,
            )
        try:
            held = self.device.gmc.alloc(size, where=cast("Place", where), owner="user")
        except (MemoryError, OverflowError) as error:  # a model's DMA memory is memory of this process
            raise OutOfMemory(
                f"allocating {size} bytes of host memory",
                expected="as much free memory",
                seen="this machine has not so much",
                where=self.name,
                next_step="ask for less, or work in pieces",
            ) from error
        return self._keep(GpuBuffer(self, held, size), held)

    def map_peer(self, memory: GpuBuffer) -> GpuBuffer:
        """VRAM of another GPU of the hive, at an address of this one: copies go over XGMI. Free it before its owner
        does."""
        self.require_open("mapping a peer's buffer")
        theirs = memory._open("mapping")
        if memory.gpu is self or memory.where != "vram":
            raise UsageError(
                "mapping a peer's buffer",
                expected="VRAM of another GPU of the same hive",
                seen="a buffer of this very GPU" if memory.gpu is self else f"memory of kind {memory.where!r}",
                where=self.name,
                next_step="copy with it directly" if memory.gpu is self else "allocate it with where='vram'",
            )
        held = self.device.gmc.map_peer(theirs)
        made = self._keep(GpuBuffer(self, held, memory.size), held)
        made._lent = memory
        return made

    def _keep(self, made: GpuBuffer, held: Buffer) -> GpuBuffer:
        self._buffers[id(made)] = (made, held)
        return made

    def _free(self, buffer: GpuBuffer, held: Buffer) -> None:
        self.require_open("freeing a buffer")
        self.synchronize()
        try:
            held.free()
        finally:
            if held.freed:  # though the flush after it failed
                self._buffers.pop(id(buffer), None)
                buffer._buffer = None

    # ---- work

    def copy(
        self,
        dst: GpuBuffer,
        src: GpuBuffer,
        size: int | None = None,
        *,
        dst_offset: int = 0,
        src_offset: int = 0,
        engine: int | None = None,
    ) -> None:
        """Queue a copy; any size and alignment. `size` None: all of the source from its offset on. It starts at once.

        `engine`: which SDMA engine (None: 0); only copies of one engine keep their order without a fence between
        them."""
        count = src.size - src_offset if size is None else size
        self.copy_many([(dst, dst_offset, src, src_offset, count)], engine=engine)

    def copy_many(
        self, pieces: Sequence[tuple[GpuBuffer, int, GpuBuffer, int, int]], *, engine: int | None = None
    ) -> None:
        """Queue copies (dst, dst_offset, src, src_offset, size) together; all are checked before the first is
        queued."""
        doing = "queueing a copy"
        to = self._engine(engine, doing)
        packets = [self._copy_packet(doing, *piece) for piece in pieces]
        for packet in packets:
            to.queue.add(packet)
        for dst, _, _, _, size in pieces:
            if size == dst.size:
                dst._certain()
        self._submit(to, sum(piece[4] for piece in pieces), [piece[0] for piece in pieces])

    def _copy_packet(self, doing: str, dst: GpuBuffer, dst_at: int, src: GpuBuffer, src_at: int, size: int) -> bytes:
        for one in (dst, src):
            self._require_own(doing, one)
        to, _ = dst._range("copying to", dst_at, size)
        of, _ = src._range("copying from", src_at, size)
        target, source = to.gpu_va + dst_at, of.gpu_va + src_at
        if target < source + size and source < target + size:
            raise BadAddress(
                doing,
                expected="a source and a target that do not overlap",
                seen=f"{size:#x} bytes from {source:#x} to {target:#x}",
                where=self.name,
                next_step="copy through a third buffer, or in pieces no longer than the distance",
            )
        return sdma_packets.copy_linear(target, source, size)

    def fill(
        self, dst: GpuBuffer, value: int, size: int | None = None, *, offset: int = 0, engine: int | None = None
    ) -> None:
        """Queue filling with a byte; offset and size are multiples of 4. `size` None: to the end, whole dwords."""
        doing = "queueing a fill"
        to = self._engine(engine, doing)
        self._require_own(doing, dst)
        count = (dst.size - offset) // 4 * 4 if size is None else size
        held, _ = dst._range("filling", offset, count)
        if offset % 4 or count % 4:
            raise BadAlignment(
                doing,
                expected="offset and size in multiples of 4",
                seen=f"{count} bytes from {offset:#x}",
                where=self.name,
                next_step="fill the whole dwords, write() the rest",
            )
        if not 0 <= value <= 0xFF:
            raise UsageError(doing, expected="a byte, 0 to 255", seen=str(value), where=self.name)
        to.queue.add(sdma_packets.const_fill(held.gpu_va + offset, value * 0x01010101, count))
        if count == dst.size:
            dst._certain()
        self._submit(to, count, [dst])

    def fence(self, *, engine: int | None = None) -> Fence:
        """A mark behind everything that was queued on an engine (None: 0) so far."""
        to = self._engine(engine, "queueing a fence")
        timeout_s = WAIT_S + to.bytes / SLOWEST_BYTES_PER_S
        return Fence(self, engine or 0, self._mark(to), timeout_s)

    def synchronize(self, *, engine: int | None = None) -> None:
        """Wait until everything that was queued is done (on one engine, or on all). Raises QueueStuck, DeviceLost.

        An engine that got stuck is told once; it takes no more work, and the others go on."""
        self.require_open("waiting for the engines")
        numbers = sorted(self._engines) if engine is None else [engine]
        for number in numbers:
            to = self._engine(number, "waiting for an engine") if engine is not None else self._engines[number]
            if to.stuck or not (to.pending or to.reached < to.sent):
                continue
            timeout_s = WAIT_S + to.bytes / SLOWEST_BYTES_PER_S
            self._wait(number, self._mark(to), timeout_s)

    def _submit(self, to: _Engine, size: int, targets: Sequence[GpuBuffer] = ()) -> None:
        to.pending = True
        to.bytes += size
        to.targets.update((id(one), one) for one in targets)
        try:
            to.queue.submit()
        except GpumendError as error:  # it made no room
            to.fail()
            if isinstance(error, QueueStuck):
                self._recover_from(error, engine=self.device.sdma.queues.index(to.queue))
            raise

    # ---- recovery

    def wait(self, signal: Signal, value: int, timeout_s: float = COMPUTE_WAIT_S) -> int:
        """Until a signal of a compute queue is at least `value`; returns it. Raises QueueStuck, DeviceLost; on a GPU
        that recovers by itself KernelHung or KernelFault, and then its queue takes work again."""
        self.require_open("waiting for a signal")
        try:
            return signal.wait(value, timeout_s)
        except QueueStuck as error:
            if isinstance(signal.queue, ComputeQueue | AqlQueue):
                self._recover_from(error, queue=signal.queue)
            raise

    def recover(
        self, queue: AnyQueue | None = None, *, engine: int | None = None, limit: Level | str = Level.MODE2
    ) -> Recovery:
        """Free what is stuck: `queue` (a compute queue), `engine` (SDMA), or with neither whatever does not move.
        First its queue is reset, then the MEC of its XCC, then all engines (mode2), no further than `limit`.

        What was queued there is lost, and buffers that lost copies were to fill are uncertain; the rest of VRAM, the
        other queues and the other GPUs stay, and every queue takes work again. Raises RecoveryFailed, DeviceLost."""
        self.require_open("recovering")
        queues: tuple[AnyQueue, ...] = () if queue is None else (queue,)
        engines: tuple[SdmaQueue, ...] = ()
        if engine is not None:
            engines = (self.device.sdma.queues[self._number(engine, "recovering an engine")],)
        if queue is None and engine is None:
            queues, engines = stuck_queues(self.device), self._stuck_engines()
        return self._recover(queues, engines, Level(limit))

    def _recover(
        self, queues: tuple[AnyQueue, ...], engines: tuple[SdmaQueue, ...], limit: Level = Level.MODE2
    ) -> Recovery:
        """Free these, and know which of our own copies went with them."""
        made = recover(self.device, queues, engines, limit=limit)
        whole = made.level is Level.MODE2
        for to in self._engines.values():
            if whole or to.queue in engines:
                to.revive()
        return made

    def _stuck_engines(self) -> tuple[SdmaQueue, ...]:
        """Those with work that does not move, and those that were given up before."""
        given_up = {id(to.queue) for to in self._engines.values() if to.stuck}
        working = {queue: queue.rptr for queue in self.device.sdma.queues if not queue.idle}
        if working:
            self.clock.sleep(WATCH_S)
        still = {id(queue) for queue, rptr in working.items() if queue.rptr == rptr}
        return tuple(queue for queue in self.device.sdma.queues if id(queue) in given_up | still)

    def _recover_from(self, error: QueueStuck, *, queue: AnyQueue | None = None, engine: int | None = None) -> None:
        """Where that was asked for: recover, and raise what happened. Raises nothing where it was not."""
        if not self.recovers:
            return
        made = self.recover(queue, engine=engine)
        kind = KernelFault if made.faults else KernelHung
        raise kind(error.queue, made, error.seen, error.where) from error

    @staticmethod
    def _require_kept(to: _Engine, value: int) -> None:
        if not any(value in gone for gone in to.lost):
            return
        raise WorkLost(
            f"a fence of {to.queue}",
            expected="work that is still queued",
            seen="a recovery threw it away",
            where=to.queue.name,
            next_step="queue the work again",
            verb="is lost",
        )

    def _mark(self, to: _Engine) -> int:
        """The value that the engine's signal has when all that is queued is done."""
        if to.pending:
            to.queue.fence(to.signal, to.sent + 1)
            to.queue.submit()
            to.sent += 1
            to.pending = False
        return to.sent

    def _reached(self, engine: int, value: int) -> bool:
        self.require_open("asking a fence")
        to = self._engines[engine]
        self._require_kept(to, value)
        to.reached = max(to.reached, to.signal.value)
        return to.reached >= value

    def _wait(self, engine: int, value: int, timeout_s: float, *, final: bool = True) -> None:
        self.require_open("waiting for a fence")
        to = self._engines[engine]
        self._require_kept(to, value)
        if to.reached >= value:
            return
        try:
            to.reached = to.signal.wait(value, timeout_s)
        except GpumendError as error:
            if final or not isinstance(error, WaitTimeout):
                to.fail()
            if final and isinstance(error, QueueStuck):
                self._recover_from(error, engine=engine)
            raise
        if to.reached >= to.sent and not to.pending:
            to.bytes = 0
            to.targets.clear()

    # ---- VRAM that the CPU does not reach (`buffer.Copier`)

    def read_vram(self, vram_offset: int, size: int) -> bytes:
        """Bytes of VRAM beyond BAR0, carried by an engine through memory of the host."""
        parts = []
        for at in range(0, size, STAGING_BYTES):
            count = min(STAGING_BYTES, size - at)
            staging = self._stage()
            self._carry(staging.gpu_va, self._mc_addr(vram_offset + at), count)
            parts.append(staging.read(0, count))
        return b"".join(parts)

    def write_vram(self, vram_offset: int, data: bytes) -> None:
        """The other way round."""
        for at in range(0, len(data), STAGING_BYTES):
            part = data[at : at + STAGING_BYTES]
            staging = self._stage()
            staging.write(0, part)
            self._carry(self._mc_addr(vram_offset + at), staging.gpu_va, len(part))

    def _mc_addr(self, vram_offset: int) -> int:
        """SDMA rings run in VMID 0, which reaches all of the VRAM by its address in the hive, without page tables."""
        return self.device.gmc.place.mc_base + vram_offset

    def _stage(self) -> Buffer:
        if self._staging is None:
            self._staging = self.device.gmc.alloc(STAGING_BYTES, where="host", owner="staging", uncached=True)
        return self._staging

    def _carry(self, dst: int, src: int, size: int) -> None:
        working = [number for number in range(self.engines) if not self._is_stuck(number)]
        number = working[0] if working else 0
        to = self._engine(number, "reaching VRAM that BAR0 does not show")
        to.queue.add(sdma_packets.copy_linear(dst, src, size))
        self._submit(to, size)
        self.synchronize(engine=number)

    def _is_stuck(self, number: int) -> bool:
        found = self._engines.get(number)
        return found is not None and found.stuck

    # ---- what the self-test asks

    def timestamps(self, engine: int, count: int) -> list[int]:
        """The clock that all engines share, `count` times, stamped one after the other by an SDMA engine. 100 MHz."""
        to = self._engine(engine, "asking for timestamps")
        with self.alloc(8 * count, where="host") as memory:
            va = memory.gpu_va
            for number in range(count):
                to.queue.add(sdma_packets.timestamp(va + 8 * number))
            self._submit(to, 8 * count)
            self.synchronize(engine=engine)
            return list(struct.unpack(f"<{count}Q", memory.read()))

    def timed_copy(self, dst: GpuBuffer, src: GpuBuffer, *, engine: int = 0) -> float:
        """Copy all of `src` and wait: how long the engine took, by its own stamps before and after. Seconds, in steps
        of 10 ns."""
        to = self._engine(engine, "timing a copy")
        with self.alloc(16, where="host") as memory:
            va = memory.gpu_va
            to.queue.add(sdma_packets.timestamp(va))
            to.queue.add(self._copy_packet("timing a copy", dst, 0, src, 0, src.size))
            to.queue.add(sdma_packets.timestamp(va + 8))
            self._submit(to, src.size + 16, [dst])
            self.synchronize(engine=engine)
            before, after = struct.unpack("<2Q", memory.read())
        return float(after - before) / CLOCK_HZ

    def trap(self, engine: int, context: int) -> None:
        """Have an engine send an interrupt with this context (28 bits), and wait until it is past it."""
        to = self._engine(engine, "sending an interrupt")
        to.queue.add(sdma_packets.trap(context))
        self._submit(to, 4)
        self.synchronize(engine=engine)

    def interrupts(self) -> list[Interrupt]:
        """Entries of the interrupt ring since the last call."""
        self.require_open("reading the interrupt ring")
        return [Interrupt(one.client, one.source, one.node, one.context[0]) for one in self.device.ih.poll()]

    def compute_fence(self, xcc: int, value: int) -> Fenced:
        """On a compute queue of one XCC: stamp, WRITE_DATA, RELEASE_MEM with `value`, stamp; wait for it."""
        payload = fence_payload(value)

        def packets(va: int) -> bytes:
            return b"".join(
                (
                    pm4.copy_data(CopyFrom.GPU_CLOCK, 0, CopyTo.MEMORY, va, wide=True),
                    pm4.write_data(va + 64, payload),
                    pm4.release_mem(va + 8, value),
                    pm4.release_mem(va + 16, data=ReleaseData.GPU_CLOCK),
                )
            )

        told = self._compute_run(xcc, packets)
        before, fence, after = struct.unpack_from("<3Q", told)
        return Fenced(told[64 : 64 + len(payload)], fence, before, after)

    def compute_trap(self, xcc: int) -> None:
        """Have a compute queue of one XCC send its end-of-pipe interrupt, and wait until it is past it."""
        self._compute_run(xcc, lambda va: pm4.kernel_fence(va + 8, 1, interrupt=True), interrupt=False)

    def _compute_run(self, xcc: int, packets: Callable[[int], bytes], *, interrupt: bool | None = None) -> bytes:
        """Run packets that write to a page of host memory; returns the first bytes of the page. `interrupt`: of the
        fence behind them; None: where there are any."""
        queue, page, signal = self._compute_queue(xcc)
        page.write(0, bytes(128))
        queue.add(packets(page.gpu_va))
        want = signal.value + 1
        queue.fence(signal, want, interrupt=interrupt)
        queue.submit()
        self.wait(signal, want)
        return page.read(0, 128)

    def _compute_queue(self, xcc: int) -> tuple[ComputeQueue, Buffer, Signal]:
        self.require_open("using a compute queue")
        if not 0 <= xcc < self.xccs:
            raise NoSuchEngine(
                "using a compute queue", expected=f"an XCC from 0 to {self.xccs - 1}", seen=str(xcc), where=self.name
            )
        if xcc not in self._compute:
            queue = self.device.gfx.create_queue(self.device.gfx.xccs[xcc])
            page = self.device.gmc.alloc(4096, where="host", owner=f"page of {queue}", uncached=True)
            self._compute[xcc] = (queue, page, self.device.gfx.signals.new())
        return self._compute[xcc]

    def faults(self) -> list[str]:
        """Page faults since the last call, decoded; they are cleared."""
        self.require_open("reading page faults")
        found = [str(fault) for fault in self.device.gmc.faults()]
        if found:
            self.device.gmc.clear_faults()
        return found

    # ---- the end

    def close(self) -> None:
        """Wait for what was queued, free every buffer, leave the GPU as any driver can start it. A second close does
        nothing.

        What went wrong is raised after everything was tried: QueueStuck, DeviceLost."""
        if not self._open:
            return
        failed: list[GpumendError] = []
        try:
            for work in (self.synchronize, self._free_clocks, self._close_raw, self._close_compute, self._free_all):
                _try(work, failed)
        finally:  # an interrupt must not leave it running
            self._open = False
            try:
                _try(self.device.close, failed)
            finally:
                self.device.gmc.copier = None
        if failed:
            raise failed[0]

    def unmap_peers(self) -> None:
        """Free what was mapped of other GPUs: before any of them closes."""
        self.require_open("unmapping peers")
        self.synchronize()
        for made, held in list(self._buffers.values()):
            if held.where == "peer":
                made.free()
        if self._raw is not None:
            self._raw.unmap_others()

    def _free_clocks(self) -> None:
        if self._clocks is not None and self._clocks.pinned_mhz is not None:
            self._clocks.auto()

    def _close_raw(self) -> None:
        if self._raw is not None:
            self._raw.close()

    def _free_all(self) -> None:
        failed: list[GpumendError] = []
        for made, held in reversed(list(self._buffers.values())):
            _try(held.free, failed)
            made._buffer = None
        self._buffers.clear()
        if self._staging is not None:
            _try(self._staging.free, failed)
            self._staging = None
        for engine in self._engines.values():
            _try(engine.signal.free, failed)
        self._engines.clear()
        if failed:
            raise failed[0]

    def _close_compute(self) -> None:
        failed: list[GpumendError] = []
        for queue, page, signal in self._compute.values():
            for work in (partial(self.device.gfx.destroy, queue), page.free, signal.free):
                _try(work, failed)
        self._compute.clear()
        if failed:
            raise failed[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except GpumendError as late:
            if error is None:
                raise
            error.add_note(f"closing it failed too: {late}")

    # ---- checks

    def require_open(self, doing: str) -> None:
        """Closed when it is not open any more."""
        if self._open:
            return
        raise Closed(
            doing,
            expected="a GPU that is open",
            seen="it was closed before",
            where=self.name,
            next_step="open it again: gpumend.open()",
        )

    def _require_own(self, doing: str, buffer: GpuBuffer) -> None:
        if buffer.gpu is self:
            return
        raise ForeignBuffer(
            doing,
            expected=f"buffers of {self.name}",
            seen=f"a buffer of {buffer.gpu.name}",
            where=self.name,
            next_step="gpumend.open_hive() for both, then map it here: near = gpu.map_peer(buffer)",
        )

    def _engine(self, number: int | None, doing: str) -> _Engine:
        self.require_open(doing)
        wanted = self._number(number or 0, doing)
        found = self._engines.get(wanted)
        if found is None:
            found = _Engine(self.device.sdma.queues[wanted], self.device.sdma.signals.new())
            self._engines[wanted] = found
        if found.stuck:
            raise NoSuchEngine(
                doing,
                expected="an engine that works",
                seen=f"SDMA{wanted} got stuck before",
                where=self.name,
                next_step="gpu.recover() brings it back; or use another engine",
            )
        return found

    def _number(self, engine: int, doing: str) -> int:
        """The number of an SDMA engine that there is."""
        if 0 <= engine < self.engines:
            return engine
        raise NoSuchEngine(
            doing, expected=f"an SDMA engine from 0 to {self.engines - 1}", seen=str(engine), where=self.name
        )


def _try(work: Callable[[], None], failed: list[GpumendError]) -> None:
    """Do it; what goes wrong is kept for later, the gravest first."""
    try:
        work()
    except DeviceLost as lost:
        failed.insert(0, lost)
    except GpumendError as error:
        failed.append(error)
