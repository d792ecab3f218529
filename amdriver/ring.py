"""A ring that an engine reads: room, wrap, doorbell, pointers, and what to say when the engine gets nowhere.

Pointers count bytes and never wrap themselves; what the engine reports is taken modulo the ring, so that it does not matter
whether it counts on or wraps. A packet never straddles the end of the ring: NOPs fill it up. The ring is never filled to the
last 64 bytes: full and empty would look the same.

Behind the ring lies a page with what the engine writes and reads: read pointer at 0, write pointer at 64 (of an AQL queue:
where amd_queue_t has them), a word for tests at 128. The write pointer stands there as well as in the doorbell, for an engine
that polls, or looks when a queue is mapped.

Source: Linux v7.3 amdgpu_ring.c (padding, commit), sdma_v4_4_2.c and gfx_v9_4_3.c (write-back words, 64-bit doorbells);
amdgpu-on-model.md items 41, 44, 45."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from amdriver.memory import Closed
from base.errors import GpumendError, UsageError, WaitTimeout

if TYPE_CHECKING:
    from amdriver.gpu import Gpu

DOORBELL_BAR: Final = 2
CONTROL_BYTES: Final = 4096
RPTR_AT: Final = 0
WPTR_AT: Final = 64
TEST_AT: Final = 128
GUARD_BYTES: Final = 64
SMALLEST_RING_BYTES: Final = 4096
LARGEST_RING_BYTES: Final = 1 << 27
ROOM_S: Final = 10.0  # how long a submission waits for room
_LOOK_BYTES: Final = 128
_DWORD: Final = struct.Struct("<I")
_QWORD: Final = struct.Struct("<Q")
T = TypeVar("T")


class Bytes(Protocol):
    """Memory by offset."""

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...


class Buffer(Protocol):
    """Mapped memory; every use after `free` raises Closed."""

    @property
    def freed(self) -> bool: ...

    @property
    def gpu_va(self) -> int: ...

    @property
    def size(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def free(self) -> None: ...


class VramBlock(Protocol):
    """Contiguous VRAM that no page table maps."""

    @property
    def mc_addr(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes, *, flush: bool = True) -> None: ...

    def free(self) -> None: ...


class Tables(Protocol):
    def first_hole(self, start: int, end: int) -> int | None: ...


class Memory(Protocol):
    """What queues need of Gmc."""

    @property
    def tables(self) -> Tables: ...

    def alloc(
        self, size: int, *, where: str = "vram", owner: str = "", alignment: int = 4096, uncached: bool = False
    ) -> Buffer: ...

    def alloc_vram(self, size: int, *, alignment: int = 4096, owner: str = "") -> VramBlock: ...

    def flush_hdp(self) -> None: ...

    def faults(self) -> Sequence[object]: ...


class QueueStuck(WaitTimeout):
    """An engine got nowhere in the time given. Pointers count bytes; `packet` is what stands at the read pointer, decoded."""

    def __init__(
        self,
        doing: str,
        *,
        queue: str,
        rptr: int,
        wptr: int,
        doorbell: int,
        packet: str,
        registers: tuple[str, ...],
        faults: tuple[str, ...] = (),
        expected: str = "",
        seen: str = "",
        where: str = "",
        next_step: str = "",
    ) -> None:
        parts = [
            seen,
            f"{queue}: rptr {rptr:#x} wptr {wptr:#x} ({wptr - rptr} bytes not read), doorbell {doorbell:#x}",
            f"at the read pointer: {packet}",
            *registers,
            *faults,
        ]
        super().__init__(
            doing,
            expected=expected,
            seen="\n            ".join(part for part in parts if part),
            where=where,
            next_step=next_step,
        )
        self.queue = queue
        self.rptr = rptr
        self.wptr = wptr
        self.doorbell = doorbell
        self.packet = packet
        self.registers = registers
        self.faults = faults


def check_ring_bytes(doing: str, ring_bytes: int) -> None:
    """A power of two within what the engines' size fields and our patience allow."""
    fits = SMALLEST_RING_BYTES <= ring_bytes <= LARGEST_RING_BYTES
    if fits and not ring_bytes & ring_bytes - 1:
        return
    raise UsageError(
        doing,
        expected=f"ring_bytes a power of two in {SMALLEST_RING_BYTES:#x}..{LARGEST_RING_BYTES:#x}",
        seen=f"ring_bytes={ring_bytes:#x}",
        next_step="64 KiB is enough for 2,000 copies in flight",
        verb="refused",
    )


class Queue:
    """One ring. `add` (and the methods of its kinds) gathers packets, `submit` hands them to the engine.

    `unit_bytes`: what the engine's pointers count. `memory` holds the ring at `at` and the page of pointers behind it;
    `address` is the address of the ring as the engine sees it. Not for two threads at once."""

    unit_bytes = 1
    rptr_at = RPTR_AT
    wptr_at = WPTR_AT

    def __init__(
        self,
        gpu: Gpu,
        gmc: Memory,
        memory: Bytes,
        *,
        name: str,
        at: int,
        address: int,
        ring_bytes: int,
        doorbell: int,
    ) -> None:
        check_ring_bytes(f"making {name}", ring_bytes)
        self.gpu = gpu
        self.gmc = gmc
        self.name = name
        self.address = address
        self.ring_bytes = ring_bytes
        self.doorbell = doorbell
        self.capacity_bytes = ring_bytes - GUARD_BYTES
        # Of what is added in one piece: with the NOPs in front of it, it must fit into an empty ring.
        self.limit_bytes = ring_bytes // 2 - GUARD_BYTES
        self._memory = memory
        self._at = at
        self._control = at + ring_bytes
        self._wptr = 0
        self._seen_rptr = 0
        self._pending: list[bytes] = []
        self._closed = False

    def __str__(self) -> str:
        return self.name

    # ---- addresses

    @property
    def rptr_va(self) -> int:
        return self.address + self.ring_bytes + self.rptr_at

    @property
    def wptr_va(self) -> int:
        return self.address + self.ring_bytes + self.wptr_at

    @property
    def test_va(self) -> int:
        return self.address + self.ring_bytes + TEST_AT

    # ---- pointers

    @property
    def wptr(self) -> int:
        """Bytes written since the start, padding included."""
        return self._wptr

    @property
    def rptr(self) -> int:
        """Bytes that the engine has read, as it last reported."""
        raw = self._reported()
        self._seen_rptr = self._wptr - (self._wptr - raw) % self.ring_bytes
        return self._seen_rptr

    @property
    def idle(self) -> bool:
        """Whether the engine has read all that was submitted. What it read may still be under way: a fence tells."""
        return self.rptr == self._wptr

    # ---- work

    def add(self, packets: bytes) -> None:
        """Gather packets for the next `submit`; they will lie side by side in the ring."""
        self._require_open()
        size = len(packets)
        if size % 4 or not 0 < size <= self.limit_bytes:
            raise UsageError(
                f"adding to {self.name}",
                expected=f"whole dwords, 4..{self.limit_bytes} bytes in one piece",
                seen=f"{size} bytes",
                next_step="add it in several pieces, or make the ring larger",
                verb="refused",
            )
        self._pending.append(self._wrapped(packets))

    def submit(self, packets: bytes = b"") -> int:
        """Hand over what was gathered, and `packets`; returns the write pointer. Waits for room where there is none.

        Raises QueueStuck when the engine makes no room; what had not gone out by then is dropped."""
        self._require_open()
        if packets:
            self.add(packets)
        self.write_pending()
        self.ring()
        return self._wptr

    def discard(self) -> None:
        """Forget what was gathered and not submitted."""
        self._pending = []

    def write_pending(self) -> None:
        """Put what was gathered into the ring without telling the engine, as far as there is room without it."""
        pending, self._pending = self._pending, []
        run: list[bytes] = []
        start = end = self._wptr
        for chunk in pending:
            size = len(chunk)
            left = self.ring_bytes - end % self.ring_bytes
            padding = left if size > left else 0
            if end + padding + size - self._seen_rptr > self.capacity_bytes:
                start, run = self._store_run(start, run), []
                self._make_room(padding + size)
            if padding:
                run.append(self._filler(padding))
                end += padding
            if run and end % self.ring_bytes == 0:  # a run ends where the ring does
                start, run = self._store_run(start, run), []
            run.append(self._placed(chunk, self.address + end % self.ring_bytes))
            end += size
        self._store_run(start, run)

    def ring(self) -> None:
        """Tell the engine how far it may read."""
        self._memory.write(self._control + self.wptr_at, _QWORD.pack(self._wptr // self.unit_bytes))
        self._ring_doorbell()

    def wait_idle(self, timeout_s: float = ROOM_S) -> None:
        """Until the engine has read all that was submitted."""
        self._wait_rptr(lambda rptr: rptr == self._wptr, "an empty ring", timeout_s)

    def restart(self) -> None:
        """Pointers at the start again, here and in memory; the engine is off and will begin there."""
        self._require_open()
        self._pending = []
        self._wptr = self._seen_rptr = 0
        self._memory.write(self._control, bytes(TEST_AT + 8))

    def set_test_word(self, value: int) -> None:
        """The dword of the ring test, from the host."""
        self._memory.write(self._control + TEST_AT, _DWORD.pack(value))

    def wait_test_word(self, value: int, timeout_s: float) -> None:
        """Until the engine has written it."""
        try:
            self.gpu.wait(
                lambda: int(_DWORD.unpack(self._memory.read(self._control + TEST_AT, 4))[0]),
                lambda seen: seen == value,
                doing=f"testing {self.name}",
                expected=f"{value:#x} in memory",
                timeout_s=timeout_s,
                where=self.name,
                show=hex,
            )
        except WaitTimeout as late:
            raise self.stuck(late) from late

    def close(self) -> None:
        """No more work; the engine must have been stopped."""
        self._closed = True
        self._pending = []

    # ---- when it gets nowhere

    def stuck(self, late: WaitTimeout) -> QueueStuck:
        """The same time-out with all that can be told about this queue. Never raises."""
        rptr = _or(lambda: self.rptr, self._seen_rptr)
        unknown: tuple[tuple[str, ...], str] = ((), "")
        registers, where = _or(self._state, unknown)
        return QueueStuck(
            late.doing,
            queue=self.name,
            rptr=rptr,
            wptr=self._wptr,
            doorbell=self.doorbell,
            packet=self.packet_at(rptr),
            registers=registers,
            faults=_or(lambda: tuple(f"page fault: {fault}" for fault in self.gmc.faults()), ()),
            expected=late.expected,
            seen=late.seen,
            where=where or late.where,
            next_step="gpumend probe; then reset this queue (queue-reset), or the GPU",
        )

    def packet_at(self, rptr: int) -> str:
        """What stands at a read pointer, in words."""
        if rptr == self._wptr:
            return "nothing: all was read, the last packets are not done"
        return _or(lambda: self._decode(self._look(rptr)), "the ring cannot be read")

    def _look(self, rptr: int) -> bytes:
        at = rptr % self.ring_bytes
        size = min(_LOOK_BYTES, self._wptr - rptr, self.ring_bytes - at)
        return self._memory.read(self._at + at, size)

    # ---- what kinds differ in

    def _decode(self, data: bytes) -> str:
        raise NotImplementedError

    def _filler(self, size_bytes: int) -> bytes:
        raise NotImplementedError

    def _state(self) -> tuple[tuple[str, ...], str]:
        """Status registers in words, and where the first of them lies."""
        raise NotImplementedError

    def _reported(self) -> int:
        """The read pointer in bytes as the engine wrote it."""
        return int(_QWORD.unpack(self._memory.read(self._control + self.rptr_at, 8))[0]) * self.unit_bytes

    def _wrapped(self, packets: bytes) -> bytes:
        """What goes into the ring for packets that were added."""
        return packets

    def _placed(self, chunk: bytes, address: int) -> bytes:
        """A piece of what was added, once it is known where the engine will find it."""
        return chunk

    def _store(self, at: int, data: bytes) -> None:
        self._memory.write(self._at + at, data)

    def _ring_doorbell(self) -> None:
        self.gpu.transport.write64(DOORBELL_BAR, 8 * self.doorbell, self._wptr // self.unit_bytes)

    # ---- inside

    def _store_run(self, start: int, run: list[bytes]) -> int:
        """Chunks side by side from `start` on; the new write pointer."""
        if run:
            # Data ends before or at the end of the ring.
            data = run[0] if len(run) == 1 else b"".join(run)
            self._store(start % self.ring_bytes, data)
            self._wptr = start + len(data)
        return self._wptr

    def _make_room(self, need: int) -> None:
        def enough(rptr: int) -> bool:
            return self._wptr + need - rptr <= self.capacity_bytes

        if enough(self.rptr):
            return
        self.ring()
        self._wait_rptr(enough, f"{need} bytes of room", ROOM_S)

    def _wait_rptr(self, until: Callable[[int], bool], expected: str, timeout_s: float) -> None:
        try:
            self.gpu.wait(
                lambda: self.rptr,
                until,
                doing=f"waiting for {self.name} to read its ring",
                expected=expected,
                timeout_s=timeout_s,
                where=self.name,
                show=lambda rptr: f"rptr {rptr:#x}",
                interruptible=True,
            )
        except WaitTimeout as late:
            raise self.stuck(late) from late

    def _require_open(self) -> None:
        if not self._closed:
            return
        raise Closed(
            f"using {self.name}",
            expected="a queue in use",
            seen="it was closed before",
            next_step="make a new one",
        )


def _or(ask: Callable[[], T], otherwise: T) -> T:
    """An answer for a report: a device that fails once more must not hide the first failure."""
    try:
        return ask()
    except GpumendError:
        return otherwise
