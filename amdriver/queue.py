"""Queues as a user of the driver has them: SDMA, compute by PM4, compute by AQL. `Sdma` and `Gfx` make them.

    queue = device.sdma.queues[0]
    queue.copy(dst_buffer, src_buffer)
    queue.fence(signal, 1)
    queue.submit()                       # until here nothing was told to the engine
    signal.wait(1, timeout_s=2.0)

Places are mapped buffers or GPU addresses. All checks (freed, size 0, beyond the buffer, unmapped, misaligned) are made when a
method is called, before the ring is touched: UsageError by kind. What one queue is given is done in that order; a fence says
when. Copies of one queue may overlap in time only through different queues.

Source: Linux v7.3 sdma_v4_4_2.c (what the rings are given), gfx_v9_4_3.c (fences of compute rings), nbio_v7_9.c (HDP flush
bits); the packets: `sdma_packets`, `pm4`, `aql`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from amdriver import aql, pm4, pm4_decode, sdma_packets
from amdriver.memory import BadAddress, BadAlignment, BadSize, Closed
from amdriver.pagetable import NotMapped
from amdriver.pm4_dispatch import SLOT_BYTES, DispatchTemplate, Kernel
from amdriver.pm4_fields import NOP_LIMIT_DWORDS, CopyFrom, CopyTo, Function, ReleaseData
from amdriver.ring import Buffer, Memory, Queue, QueueStuck
from amdriver.signals import Signal, Signals, ticks_to_ns
from base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from amdriver.gpu import Gpu
    from amdriver.ring import Bytes

__all__ = [
    "AqlQueue", "ComputeQueue", "Place", "Queue", "QueueStuck", "SdmaQueue", "Signal", "Signals", "place_of", "ticks_to_ns",
]  # fmt: skip

Place = Buffer | int
_COPY_BYTES: Final = 4 * sdma_packets.COPY_DWORDS
_WRITE_BYTES: Final = 1024  # of data that travel in one packet through a ring
_HDP_SDMA0_BIT: Final = 10
_SDMA_PER_AID: Final = 4
_INDIRECT_BYTES: Final = 20  # INDIRECT_BUFFER and the header of a NOP
_DESCRIPTOR_AT: Final = 256  # of amd_queue_t in the page behind an AQL ring
_QUEUE_PROPERTIES: Final = 1 << 1 | 1 << 3  # IS_PTR64, ENABLE_PROFILING
State = tuple[tuple[str, ...], str]


# ---------------------------------------------------------------- places


def place_of(
    gmc: Memory, doing: str, place: Place, offset: int, size: int | None, *, alignment: int = 1
) -> tuple[int, int]:
    """(address, size) of a part of a buffer, or of an address with a size, after all checks."""
    if isinstance(place, int):
        if size is None:
            raise BadSize(doing, expected="a size with an address", seen="none", next_step="give the size, or a buffer")
        start = place + offset
    else:
        _check_in_use(doing, place)
        start = place.gpu_va + offset
        size = place.size - offset if size is None else size
    if size <= 0:
        raise BadSize(doing, expected="at least 1 byte", seen=f"{size}", next_step="leave empty work out")
    if not isinstance(place, int) and (offset < 0 or offset + size > place.size):
        raise BadAddress(
            doing,
            expected=f"a range within the buffer's {place.size:#x} bytes",
            seen=f"{size:#x} bytes from {offset:#x}",
            next_step="stay within the buffer",
        )
    if start % alignment or (alignment > 1 and size % alignment):
        raise BadAlignment(
            doing,
            expected=f"address and size in multiples of {alignment}",
            seen=f"{size:#x} bytes at {start:#x}",
            next_step="do the rest in another way, by a copy or from the host",
        )
    if isinstance(place, int):
        _check_mapped(gmc, doing, start, size)
    return start, size


def _check_in_use(doing: str, buffer: Buffer) -> None:
    if not buffer.freed:
        return
    raise Closed(
        doing, expected="a buffer in use", seen=f"it was freed before ({buffer!r})", next_step="allocate it anew"
    )


def _check_mapped(gmc: Memory, doing: str, start: int, size: int) -> None:
    hole: int | None = start
    if start >= 0 and start + size <= 1 << 48:
        hole = gmc.tables.first_hole(start, start + size)
    if hole is None:
        return
    raise NotMapped(
        doing,
        expected=f"all of {start:#x}..{start + size:#x} mapped",
        seen=f"nothing is mapped at {hole:#x}",
        next_step="allocate it, or give the buffer instead of an address",
    )


# ---------------------------------------------------------------- SDMA


class SdmaQueue(Queue):
    """The ring of one SDMA engine. `number` counts the engines that are there, `instance` is the physical one."""

    unit_bytes = 1

    def __init__(
        self,
        gpu: Gpu,
        gmc: Memory,
        memory: Bytes,
        *,
        number: int,
        instance: int,
        at: int,
        address: int,
        ring_bytes: int,
        doorbell: int,
        state: Callable[[], State],
    ) -> None:
        super().__init__(
            gpu,
            gmc,
            memory,
            name=f"SDMA {instance}",
            at=at,
            address=address,
            ring_bytes=ring_bytes,
            doorbell=doorbell,
        )
        self.number = number
        self.instance = instance
        self._ask = state

    def copy(
        self, dst: Place, src: Place, size: int | None = None, *, dst_offset: int = 0, src_offset: int = 0
    ) -> None:
        """Copy of any size and alignment, split at the engine's limit. Without a size: the whole of `src`.

        Ranges that overlap are refused: the engine does not say in which direction it copies."""
        doing = f"copying on {self.name}"
        source, size = place_of(self.gmc, doing, src, src_offset, size)
        target, size = place_of(self.gmc, doing, dst, dst_offset, size)
        if source < target + size and target < source + size:
            raise BadAddress(
                doing,
                expected="ranges that do not overlap",
                seen=f"{size:#x} bytes from {source:#x} to {target:#x}",
                next_step="copy by way of a third place",
            )
        self._add_packets(sdma_packets.copy_linear(target, source, size), _COPY_BYTES)

    def copy_many(self, dst: ArrayLike, src: ArrayLike, size_bytes: ArrayLike) -> int:
        """Many copies at once, by addresses; returns how many packets. Nothing is queued when one of them is wrong.

        Overlaps between copies are the caller's affair; unmapped addresses are refused."""
        import numpy as np

        words = sdma_packets.copy_linear_batch(dst, src, size_bytes)
        rows = words.reshape(-1, sdma_packets.COPY_DWORDS)
        if not len(rows):
            raise BadSize(
                f"copying on {self.name}", expected="at least one copy", seen="none", next_step="leave it out"
            )
        sizes = rows[:, 1].astype(np.uint64) + np.uint64(1)
        for column in (3, 5):
            starts = rows[:, column].astype(np.uint64) | rows[:, column + 1].astype(np.uint64) << np.uint64(32)
            self._check_all_mapped(starts.tolist(), sizes.tolist())
        self._add_packets(words.tobytes(), _COPY_BYTES)
        return len(rows)

    def fill(self, dst: Place, value: int, size: int | None = None, *, offset: int = 0) -> None:
        """Fill with one dword; address and size in whole dwords."""
        start, size = place_of(self.gmc, f"filling on {self.name}", dst, offset, size, alignment=4)
        self._add_packets(sdma_packets.const_fill(start, value, size), 4 * sdma_packets.FILL_DWORDS)

    def write(self, dst: Place, data: Sequence[int] | bytes, *, offset: int = 0) -> None:
        """Write dwords that travel in the ring itself: for a few; more is better copied."""
        whole = data if isinstance(data, bytes) else struct.pack(f"<{len(data)}I", *data)
        start, _ = place_of(self.gmc, f"writing on {self.name}", dst, offset, len(whole), alignment=4)
        for at in range(0, len(whole), _WRITE_BYTES):
            self.add(sdma_packets.write_linear(start + at, whole[at : at + _WRITE_BYTES]))

    def fence(self, signal: Signal, value: int, *, timestamp: bool = True, interrupt: bool | None = None) -> None:
        """When all before it is done: the time to the signal's end, then the value. `interrupt` None: where there are any."""
        packets = sdma_packets.timestamp(signal.end_va) if timestamp else b""
        packets += sdma_packets.fence_long(signal.value_va, value)
        if interrupt if interrupt is not None else self.gpu.wait_interrupt is not None:
            packets += sdma_packets.trap(self.number)
        self.add(packets)
        signal.queue = self

    def start_time(self, signal: Signal) -> None:
        """The time at which the engine comes here, to the signal's start."""
        self.add(sdma_packets.timestamp(signal.start_va))

    def timestamp(self, dst: Place, *, offset: int = 0) -> None:
        """The 64-bit clock that all engines share, 8 bytes."""
        start, _ = place_of(self.gmc, f"writing the time on {self.name}", dst, offset, 8, alignment=8)
        self.add(sdma_packets.timestamp(start))

    def trap(self, context: int = 0) -> None:
        """An interrupt."""
        self.add(sdma_packets.trap(context))

    def poll(
        self,
        place: Place,
        reference: int,
        mask: int = 0xFFFF_FFFF,
        function: sdma_packets.Function = sdma_packets.Function.EQUAL,
        *,
        offset: int = 0,
    ) -> None:
        """Go on when (dword & mask) FUNCTION reference. Waits for ever: whoever writes it must come."""
        start, _ = place_of(self.gmc, f"polling on {self.name}", place, offset, 4, alignment=4)
        self.add(sdma_packets.poll_memory(start, reference, mask, function))

    def wait_signal(self, signal: Signal, value: int) -> None:
        """Go on when the low dword of the signal's value is at least this: to order two queues."""
        self.add(sdma_packets.poll_memory(signal.value_va, value, function=sdma_packets.Function.GREATER_EQUAL))

    def hdp_flush(self) -> None:
        """What the host wrote through BAR0 before is seen by what comes after."""
        from registers.amd.nbio_7_9_0 import Nbio

        nbio = self.gpu.block(Nbio, "NBIO")
        done = nbio.address_of(Nbio.BIF_BX_PF0_GPU_HDP_FLUSH_DONE)
        request = nbio.address_of(Nbio.BIF_BX_PF0_GPU_HDP_FLUSH_REQ)
        self.add(sdma_packets.hdp_flush(done, request, 1 << _HDP_SDMA0_BIT + self.instance % _SDMA_PER_AID))

    def _add_packets(self, packets: bytes, packet_bytes: int) -> None:
        """Packets of one length, in pieces that the ring takes."""
        most = max(1, self.limit_bytes // 2 // packet_bytes) * packet_bytes
        for at in range(0, len(packets), most):
            self.add(packets[at : at + most])

    def _check_all_mapped(self, starts: list[int], sizes: list[int]) -> None:
        """All ranges; when the whole from the first to the last is mapped, one look is enough."""
        doing = f"copying on {self.name}"
        low = min(starts)
        high = max(start + size for start, size in zip(starts, sizes, strict=True))
        if high <= 1 << 48 and self.gmc.tables.first_hole(low, high) is None:
            return
        for start, size in zip(starts, sizes, strict=True):
            _check_mapped(self.gmc, doing, start, size)

    def _decode(self, data: bytes) -> str:
        return sdma_packets.decode(data)

    def _filler(self, size_bytes: int) -> bytes:
        return bytes(size_bytes)  # one-dword NOPs: firmware that does not skip long ones reads the same

    def _state(self) -> State:
        return self._ask()


# ---------------------------------------------------------------- compute


class _Compute(Queue):
    """What PM4 and AQL queues share. `xccs`: physical numbers of the XCCs that run it; `slot`: its place on each MEC."""

    def __init__(
        self,
        gpu: Gpu,
        gmc: Memory,
        memory: Bytes,
        *,
        xccs: tuple[int, ...],
        slot: int,
        at: int,
        address: int,
        ring_bytes: int,
        doorbell: int,
        state: Callable[[], State],
        kind: str,
    ) -> None:
        told = "+".join(map(str, xccs)) if len(xccs) < 8 else "all"
        super().__init__(
            gpu,
            gmc,
            memory,
            name=f"compute {kind} queue {slot} of XCC {told}",
            at=at,
            address=address,
            ring_bytes=ring_bytes,
            doorbell=doorbell,
        )
        self.xccs = xccs
        self.slot = slot
        self.kind = kind
        self._ask = state

    def _state(self) -> State:
        return self._ask()


class ComputeQueue(_Compute):
    """PM4. A queue of several XCCs is read by each of them: what is not predicated is done by each.

    Only the first XCC reports its read pointer, so the others may be behind it: such a queue uses half of its ring, and its
    fences (as launches do) let no XCC on before all have come. PRED_EXEC, which tells the XCCs apart, works in indirect
    buffers only (amd-bringup.md section 10): what is added lies in the ring as the body of a NOP, behind a packet that runs
    it as an indirect buffer."""

    unit_bytes = 4

    def __init__(
        self,
        gpu: Gpu,
        gmc: Memory,
        memory: Bytes,
        *,
        xccs: tuple[int, ...],
        slot: int,
        at: int,
        address: int,
        ring_bytes: int,
        doorbell: int,
        state: Callable[[], State],
        slots_va: int = 0,
    ) -> None:
        super().__init__(
            gpu,
            gmc,
            memory,
            xccs=xccs,
            slot=slot,
            at=at,
            address=address,
            ring_bytes=ring_bytes,
            doorbell=doorbell,
            state=state,
            kind="pm4",
        )
        if len(xccs) > 1:
            self.capacity_bytes //= 2
            self.limit_bytes = min(self.limit_bytes // 2, 4 * (NOP_LIMIT_DWORDS - 1)) - _INDIRECT_BYTES
        self._slots_va = slots_va
        self._meetings = 0
        self._templates: list[Buffer] = []

    def _wrapped(self, packets: bytes) -> bytes:
        if len(self.xccs) == 1:
            return packets
        return bytes(_INDIRECT_BYTES - 4) + pm4.nop(1 + len(packets) // 4)[:4] + packets

    def _placed(self, chunk: bytes, address: int) -> bytes:
        if len(self.xccs) == 1:
            return chunk
        dwords = (len(chunk) - _INDIRECT_BYTES) // 4
        return pm4.indirect_buffer(address + _INDIRECT_BYTES, dwords) + chunk[_INDIRECT_BYTES - 4 :]

    def release_mem(self, signal: Signal, value: int, *, timestamp: bool = True, interrupt: bool | None = None) -> None:
        """When all before it is done and written back: the time to the signal's end, then the value."""
        if interrupt is None:
            interrupt = self.gpu.wait_interrupt is not None
        packets = pm4.release_mem(signal.end_va, data=ReleaseData.GPU_CLOCK) if timestamp else b""
        packets += pm4.kernel_fence(signal.value_va, value, interrupt=interrupt)
        if len(self.xccs) > 1:
            packets = self._meeting() + pm4.only_on(1, packets)
        self.add(packets)
        signal.queue = self

    def fence(self, signal: Signal, value: int, *, timestamp: bool = True, interrupt: bool | None = None) -> None:
        """`release_mem`, by the name that all queues share."""
        self.release_mem(signal, value, timestamp=timestamp, interrupt=interrupt)

    def start_time(self, signal: Signal) -> None:
        """The time at which the engine comes here, to the signal's start."""
        packet = pm4.copy_data(CopyFrom.GPU_CLOCK, 0, CopyTo.MEMORY, signal.start_va, wide=True)
        self.add(pm4.only_on(1, packet) if len(self.xccs) > 1 else packet)

    def acquire_mem(self, *actions: str) -> None:
        """Invalidate caches, before reading what others wrote."""
        self.add(pm4.acquire_mem(*actions))

    def write_data(self, dst: Place, data: Sequence[int] | bytes, *, offset: int = 0) -> None:
        """Write dwords that travel in the ring itself."""
        whole = data if isinstance(data, bytes) else struct.pack(f"<{len(data)}I", *data)
        start, _ = place_of(self.gmc, f"writing on {self.name}", dst, offset, len(whole), alignment=4)
        for at in range(0, len(whole), _WRITE_BYTES):
            self.add(pm4.write_data(start + at, whole[at : at + _WRITE_BYTES]))

    def wait(
        self,
        place: Place,
        reference: int,
        mask: int = 0xFFFF_FFFF,
        function: Function = Function.EQUAL,
        *,
        offset: int = 0,
    ) -> None:
        """Go on when (dword & mask) FUNCTION reference."""
        start, _ = place_of(self.gmc, f"waiting on {self.name}", place, offset, 4, alignment=4)
        self.add(pm4.wait_memory(start, reference, mask, function))

    def wait_signal(self, signal: Signal, value: int) -> None:
        """Go on when the low dword of the signal's value is at least this: to order two queues."""
        self.add(pm4.wait_memory(signal.value_va, value, function=Function.GREATER_EQUAL))

    def copy_data(
        self, dst: Place, src: Place, *, wide: bool = False, dst_offset: int = 0, src_offset: int = 0
    ) -> None:
        """Copy 4 or (wide) 8 bytes of memory by the packet processor itself."""
        size = 8 if wide else 4
        doing = f"copying on {self.name}"
        source, _ = place_of(self.gmc, doing, src, src_offset, size, alignment=size)
        target, _ = place_of(self.gmc, doing, dst, dst_offset, size, alignment=size)
        self.add(pm4.copy_data(CopyFrom.MEMORY, source, CopyTo.MEMORY, target, wide=wide))

    def indirect(self, buffer: Place, size: int | None = None, *, offset: int = 0) -> None:
        """Run the packets in a buffer; whole dwords."""
        start, size = place_of(self.gmc, f"an indirect buffer on {self.name}", buffer, offset, size, alignment=4)
        self.add(pm4.indirect_buffer(start, size // 4))

    def template(self, kernel: Kernel, *, interrupt: bool = False) -> DispatchTemplate:
        """A launch of this kernel on this queue's XCCs. Its fence slots are uncached: each XCC has an L2 of its own."""
        count = len(self.xccs)
        slots = self.gmc.alloc(SLOT_BYTES * (count + 1), where="host", owner=f"slots of {self.name}", uncached=True)
        try:
            slots.write(0, bytes(SLOT_BYTES * (count + 1)))
            made = DispatchTemplate(kernel, fence_va=slots.gpu_va, xcc_count=count, interrupt=interrupt)
        except BaseException:
            slots.free()
            raise
        self._templates.append(slots)
        return made

    def dispatch(
        self, template: DispatchTemplate, kernarg: Place, x: int, y: int = 1, z: int = 1, *, sequence: int
    ) -> None:
        """Launch x * y * z workgroups; `sequence` counts this template's launches up from 1."""
        if template.xcc_count != len(self.xccs):
            raise UsageError(
                f"launching on {self.name}",
                expected=f"a template for {len(self.xccs)} XCCs",
                seen=f"one for {template.xcc_count}",
                next_step="make it by this queue's template()",
                verb="refused",
            )
        start, _ = place_of(self.gmc, f"launching on {self.name}", kernarg, 0, 16)
        self.add(bytes(template.launch(start, x, y, z, sequence)))

    def close(self) -> None:
        super().close()
        templates, self._templates = self._templates, []
        for slots in templates:
            slots.free()

    def _meeting(self) -> bytes:
        """Each XCC marks its own slot when all of its work before is done, and waits for the others' marks."""
        self._meetings += 1
        slots = [self._slots_va + SLOT_BYTES * number for number in range(len(self.xccs))]
        marks = [
            pm4.only_on(1 << number, pm4.kernel_fence(slot, self._meetings, wide=False))
            for number, slot in enumerate(slots)
        ]
        waits = [pm4.wait_memory(slot, self._meetings, function=Function.GREATER_EQUAL) for slot in slots]
        return b"".join(marks + waits)

    def _reported(self) -> int:
        return super()._reported() % (self.unit_bytes << 32)  # the engine reports 32 bits

    def _decode(self, data: bytes) -> str:
        return pm4_decode.decode(data)

    def _filler(self, size_bytes: int) -> bytes:
        return _pm4_filler(size_bytes)


def _pm4_filler(size_bytes: int) -> bytes:
    """NOPs, each as long as one may be."""
    parts = []
    left = size_bytes // 4
    while left:
        part = min(left, NOP_LIMIT_DWORDS)
        parts.append(pm4.nop(part))
        left -= part
    return b"".join(parts)


class AqlQueue(_Compute):
    """AQL: slots of 64 bytes; the engine takes a packet when its header is valid, and tells its completion by a signal.

    A signal of an AQL packet starts at 1 and comes down to 0: `signal.wait_at_most(0)`. The processor takes the scratch of
    its kernels from an amd_queue_t (public amd_hsa_queue.h), which it finds by the address of the read pointer in it."""

    unit_bytes = aql.PACKET_BYTES
    rptr_at = _DESCRIPTOR_AT + 128
    wptr_at = _DESCRIPTOR_AT + 56

    def __init__(
        self,
        gpu: Gpu,
        gmc: Memory,
        memory: Bytes,
        *,
        xccs: tuple[int, ...],
        slot: int,
        at: int,
        address: int,
        ring_bytes: int,
        doorbell: int,
        state: Callable[[], State],
    ) -> None:
        super().__init__(
            gpu,
            gmc,
            memory,
            xccs=xccs,
            slot=slot,
            at=at,
            address=address,
            ring_bytes=ring_bytes,
            doorbell=doorbell,
            state=state,
            kind="aql",
        )
        self._describe(136, struct.pack("<I", 128))  # where in it the read pointer stands
        self._describe(180, struct.pack("<I", _QUEUE_PROPERTIES))

    def set_scratch(
        self, *, address: int, lane_bytes: int, tmpring_size: int, resource: Sequence[int], cus: int, waves_per_cu: int
    ) -> None:
        """Private memory of its kernels: the address of all of it, how much a lane may have, COMPUTE_TMPRING_SIZE and the
        four words of a buffer resource; `cus` of all XCCs. While the queue is idle."""
        self._require_open()
        self._describe(72, struct.pack("<II", cus - 1, waves_per_cu - 1))
        self._describe(140, struct.pack("<I4IQ", tmpring_size, *resource, address))
        self._describe(176, struct.pack("<I", lane_bytes))

    def _describe(self, at: int, data: bytes) -> None:
        self._memory.write(self._control + _DESCRIPTOR_AT + at, data)

    @staticmethod
    def empty_ring(ring_bytes: int) -> bytes:
        """A ring as the processor must find it: every header invalid."""
        return _INVALID_SLOT * (ring_bytes // aql.PACKET_BYTES)

    def packet(self, packet: aql.AqlPacket, signal: Signal | None = None) -> None:
        """Any packet of `aql`; `signal`: whose completion it names, so that a wait can tell who is stuck."""
        self.add(packet.whole())
        if signal is not None:
            signal.queue = self

    def dispatch(
        self,
        *,
        kernel_object: int,
        kernarg: Place,
        grid: tuple[int, int, int],
        workgroup: tuple[int, int, int],
        private_bytes: int = 0,
        group_bytes: int = 0,
        signal: Signal | None = None,
        barrier: bool = False,
    ) -> None:
        """Run a kernel over a grid in work-items; its begin and end go to the signal."""
        start, _ = place_of(self.gmc, f"launching on {self.name}", kernarg, 0, 16)
        made = aql.dispatch(
            kernel_object=kernel_object,
            kernarg_va=start,
            grid=grid,
            workgroup=workgroup,
            private_bytes=private_bytes,
            group_bytes=group_bytes,
            signal=_handle(signal),
            barrier=barrier,
        )
        self.packet(made, signal)

    def barrier(self, after: Sequence[Signal] = (), *, signal: Signal | None = None) -> None:
        """Go on when all signals of `after` are 0, and all packets before are done."""
        self.packet(aql.barrier_and([one.address for one in after], signal=_handle(signal)), signal)

    def indirect(
        self, buffer: Place, size: int | None = None, *, offset: int = 0, signal: Signal | None = None
    ) -> None:
        """Run the PM4 packets in a buffer; whole dwords."""
        start, size = place_of(self.gmc, f"an indirect buffer on {self.name}", buffer, offset, size, alignment=4)
        self.packet(aql.pm4_buffer(start, size // 4, signal=_handle(signal)), signal)

    def restart(self) -> None:
        """Pointers at the start, and no packet left in the ring that could be taken for a new one."""
        super().restart()
        for at in (self.rptr_at, self.wptr_at):
            self._memory.write(self._control + at, bytes(8))
        self._memory.write(self._at, self.empty_ring(self.ring_bytes))

    def _store(self, at: int, data: bytes) -> None:
        """All of it under an invalid first header, then that header by one store: the processor may be looking, and it
        takes packets in their order."""
        super()._store(at, _INVALID_SLOT[:4] + data[4:])
        super()._store(at, data[:4])

    def _ring_doorbell(self) -> None:
        """The index of the last packet, not of the next one. Before the first there is nothing to tell."""
        if self._wptr:
            self.gpu.transport.write64(2, 8 * self.doorbell, self._wptr // self.unit_bytes - 1)

    def _decode(self, data: bytes) -> str:
        return aql.decode(data[: aql.PACKET_BYTES])

    def _filler(self, size_bytes: int) -> bytes:
        nothing = aql.barrier_and().whole()
        return nothing * (size_bytes // aql.PACKET_BYTES)


_INVALID_SLOT: Final = struct.pack("<I60x", aql.Type.INVALID)


def _handle(signal: Signal | None) -> int:
    return 0 if signal is None else signal.address
