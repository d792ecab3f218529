"""AQL: packets of 64 bytes that a user process writes; barriers, dispatches and their signals.

Source: HSA platform specification (packets, kernel descriptor); amd_signal_t; research/amdgpu-on-model.md item 75.
In a partition of several XCCs every XCC has the queue and the one with logical number 0 consumes it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpumodel.dispatch import CLIENT_TCP, Dispatch, HubMemory
from gpumodel.pm4 import INT_EOP, Pm4, State
from gpumodel.ticks import ticks

if TYPE_CHECKING:
    from gpumodel.queues import ComputeQueue

PACKET_BYTES = 64
PACKET_DWORDS = 16
VENDOR, INVALID, KERNEL_DISPATCH, BARRIER_AND, AGENT_DISPATCH, BARRIER_OR = range(6)
BARRIER_BIT = 1 << 8
FORMAT_PM4_IB = 1  # second half-word of a vendor packet
PM4_WORDS = 4
SIGNAL_VALUE, SIGNAL_MAILBOX, SIGNAL_EVENT, SIGNAL_START, SIGNAL_END = 8, 16, 24, 32, 40
INT_BAD_PACKET = 183
PRELOAD_COUNT, PRELOAD_OFFSET_SHIFT = 0x7F, 7  # kernarg_preload of the descriptor: dwords, and from which on
PRELOAD_SKIPS = 256  # bytes of code that would load them: LLVM AMDGPU usage, "preloaded kernel arguments"
_DISPATCH = struct.Struct("<HHHHHHIIIIIQQQQ")
_BARRIER = struct.Struct("<HHI5QQQ")
_DESCRIPTOR = struct.Struct("<IIIIq20xIIIHH4x")


class Aql:
    def __init__(self, queue: ComputeQueue) -> None:
        self._queue = queue
        self._gpu = queue.gpu
        self._pm4 = Pm4(queue)
        self._open: tuple[int, int] | None = None  # packet begun and not ended: its address and signal
        self._inside_pm4 = False

    @property
    def in_work(self) -> bool:
        return self._open is not None

    def serve(self, queue: ComputeQueue) -> None:
        """The same queue in another slot."""
        self._queue = queue
        self._pm4.serve(queue)

    def run(self) -> None:
        """Until the ring is empty or a packet has to be waited for."""
        queue = self._queue
        if queue.logic_xcc:
            queue.position = queue.wptr  # the first XCC consumes for all
            return
        while queue.position < queue.wptr and queue.state is State.IDLE:
            address = queue.ring_address(queue.position % queue.size)
            if not self._packet(address):
                return
            queue.position += PACKET_DWORDS

    def _packet(self, address: int) -> bool:
        """One packet; False: not now, or never."""
        if self._open is not None:
            return self._close()
        queue = self._queue
        data = queue.read(address, PACKET_BYTES)
        header = int.from_bytes(data[:2], "little")
        kind = header & 0xFF
        if kind == INVALID:
            queue.wait("the packet is not valid yet")
            return False
        if header & BARRIER_BIT and queue.waves is not None:
            queue.wait("the barrier bit waits for waves", State.WAVES)
            return False
        self._gpu.stage("compute")
        (signal,) = struct.unpack_from("<Q", data, PACKET_BYTES - 8)
        if kind in (BARRIER_AND, BARRIER_OR):
            if not self._barrier(data, kind):
                return False
            return self._complete(address, signal, ticks(self._gpu))
        if kind == KERNEL_DISPATCH:
            return self._dispatch(address, data, signal)
        if kind == VENDOR and int.from_bytes(data[2:4], "little") == FORMAT_PM4_IB:
            self._open, self._inside_pm4 = (address, signal), True
            if not self._pm4.run_words(struct.unpack_from(f"<{PM4_WORDS}I", data, 4)):
                return False
            self._inside_pm4 = False
            return self._close()
        self._bad(header, f"AQL packet type {kind}")
        return False

    def _close(self) -> bool:
        """A packet that was begun before: it ends with its waves, or with its PM4."""
        assert self._open is not None
        if self._inside_pm4:
            if not self._pm4.run_on():
                return False
            self._inside_pm4 = False
        if self._queue.waves is not None:
            self._queue.wait("the packet waits for its waves", State.WAVES)
            return False
        address, signal = self._open
        self._open = None
        return self._complete(address, signal, ticks(self._gpu))

    def _barrier(self, data: bytes, kind: int) -> bool:
        """A dependency is met when its signal's value is 0; handle 0 is met in AND and never in OR."""
        signals = [handle for handle in _BARRIER.unpack(data)[3:8] if handle]
        values = [self._signal_value(handle) for handle in signals]
        met = all(value == 0 for value in values) if kind == BARRIER_AND else not values or 0 in values
        if not met:
            self._queue.wait(f"barrier: signals are at {values}")
        return met

    def _signal_value(self, handle: int) -> int:
        return int.from_bytes(self._queue.read(handle + SIGNAL_VALUE, 8), "little", signed=True)

    def _dispatch(self, address: int, data: bytes, signal: int) -> bool:
        fields = _DISPATCH.unpack(data)
        setup, sizes, grid = fields[1], fields[2:5], fields[6:9]
        scratch, lds, kernel, kernarg = fields[9:13]
        if not 1 <= setup & 3 <= 3 or 0 in sizes or 0 in grid:
            self._bad(fields[0], f"dispatch of grid {grid} in groups of {sizes}, {setup & 3} dimensions")
            return False
        started = ticks(self._gpu)
        descriptor = _DESCRIPTOR.unpack(self._queue.read(kernel, _DESCRIPTOR.size))
        offset, rsrc3, rsrc1, rsrc2, properties, preload = descriptor[4:10]
        registers = user_sgprs(properties, address, kernarg, scratch)
        if preload & PRELOAD_COUNT:
            registers += self._preloaded(kernarg, preload)
            offset += PRELOAD_SKIPS
        groups = [-(-count // size) for count, size in zip(grid, sizes, strict=True)]
        dispatch = Dispatch(
            self._queue.slot.xcc,
            self._queue.vmid,
            kernel + offset,
            kernarg,
            registers,
            (groups[0], groups[1], groups[2]),
            (sizes[0], sizes[1], sizes[2]),
            HubMemory(self._gpu, self._queue.hub, self._queue.vmid, CLIENT_TCP),
            lds_bytes=lds,
            scratch_bytes=scratch,
            resources=(rsrc1, rsrc2, rsrc3),
            threads=(grid[0], grid[1], grid[2]),
            apertures=self._queue.gfx.apertures(self._queue.slot.xcc, self._queue.vmid),
            time=lambda: ticks(self._gpu),
        )
        if self._queue.launch(dispatch):
            return self._complete(address, signal, started)
        self._open = (address, signal)
        if self._queue.state is State.IDLE:
            self._queue.wait("the packet waits for its waves", State.WAVES)
        return False

    def _preloaded(self, kernarg: int, preload: int) -> tuple[int, ...]:
        """Dwords of the arguments that the kernel wants in registers."""
        count = preload & PRELOAD_COUNT
        data = self._queue.read(kernarg + 4 * (preload >> PRELOAD_OFFSET_SHIFT), 4 * count)
        return struct.unpack(f"<{count}I", data)

    def _complete(self, address: int, signal: int, started: int) -> bool:
        """Time stamps, value - 1, the event's mailbox and its interrupt; the slot is free again."""
        queue = self._queue
        if signal:
            queue.write(signal + SIGNAL_START, struct.pack("<QQ", started, ticks(self._gpu)))
            value = self._signal_value(signal) - 1
            queue.write(signal + SIGNAL_VALUE, value.to_bytes(8, "little", signed=True))
            mailbox, event = struct.unpack("<QI", queue.read(signal + SIGNAL_MAILBOX, 12))
            if mailbox:
                queue.write(mailbox, event.to_bytes(8, "little"))
                if queue.gfx.interrupt_enabled(queue.slot, "TIME_STAMP_INT_ENABLE"):
                    queue.interrupt(INT_EOP, event)
        queue.write(address, INVALID.to_bytes(2, "little"))
        return True

    def _bad(self, header: int, text: str) -> None:
        self._queue.stop(f"bad packet: {text}")
        if self._queue.gfx.interrupt_enabled(self._queue.slot, "OPCODE_ERROR_INT_ENABLE"):
            self._queue.interrupt(INT_BAD_PACKET, header)


def user_sgprs(properties: int, packet: int, kernarg: int, scratch_bytes: int) -> tuple[int, ...]:
    """The first SGPRs as the kernel descriptor's code properties ask for them, in their fixed order."""
    parts: Sequence[tuple[int, int, int]] = (  # bit, how many, value
        (0, 4, 0),  # private segment buffer
        (1, 2, packet),
        (2, 2, 0),  # queue descriptor: not known to the packet processor of the model
        (3, 2, kernarg),
        (4, 2, 0),  # dispatch id
        (5, 2, 0),  # flat scratch
        (6, 1, scratch_bytes),
    )
    registers: list[int] = []
    for bit, count, value in parts:
        if properties >> bit & 1:
            registers += [value >> 32 * place & 0xFFFFFFFF for place in range(count)]
    return tuple(registers)
