"""Signals: a 64-bit value in host memory that engines write, with the times at which work began and ended.

    signal = gfx.signals.new()
    queue.fence(signal, 1)
    queue.submit()
    signal.wait(1, timeout_s=2.0)
    signal.end_ns

Each is 64 bytes as AQL packets want a signal: kind at 0, value at 8, begin and end of the work at 32 and 40 (amdgpu-on-model.md
item 75; public amd_hsa_signal.h). One layout serves all engines: PM4 and SDMA write the value, an AQL packet takes 1 off it.
Memory is uncached host memory: what an engine writes is seen at once, without HDP or cache flush.
Source of the clock: amd-bringup.md sections 10 and 11 (RELEASE_MEM with the GPU clock, SDMA TIMESTAMP_GET_GLOBAL), 100 MHz."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from amdriver.memory import Closed, DoubleFree
from base.errors import UsageError, WaitTimeout

if TYPE_CHECKING:
    from amdriver.gpu import Gpu
    from amdriver.ring import Buffer, Memory

SIGNAL_BYTES: Final = 64
VALUE_AT: Final = 8
START_AT: Final = 32
END_AT: Final = 40
CLOCK_HZ: Final = 100_000_000
WAIT_S: Final = 10.0
_KIND_USER: Final = 1
_POOL_BYTES: Final = 4096
_SIGNED: Final = struct.Struct("<q")
_UNSIGNED: Final = struct.Struct("<Q")


def ticks_to_ns(ticks: int) -> int:
    """Nanoseconds of a count of the clock that all engines share."""
    return ticks * (1_000_000_000 // CLOCK_HZ)


class Explains(Protocol):
    """A queue that can say why it got nowhere."""

    def stuck(self, late: WaitTimeout) -> WaitTimeout: ...


class Signal:
    """A value that engines change and the driver waits for. Made and taken back by `Signals`.

    `queue` is the queue that was last asked to write it: whom a wait that runs out will ask."""

    __slots__ = ("_at", "_buffer", "_pool", "address", "queue")

    def __init__(self, pool: Signals, buffer: Buffer, at: int) -> None:
        self._pool = pool
        self._buffer: Buffer | None = buffer
        self._at = at
        self.address = buffer.gpu_va + at
        self.queue: Explains | None = None

    def __repr__(self) -> str:
        return f"Signal at {self.address:#x}"

    @property
    def value_va(self) -> int:
        return self.address + VALUE_AT

    @property
    def start_va(self) -> int:
        return self.address + START_AT

    @property
    def end_va(self) -> int:
        return self.address + END_AT

    @property
    def value(self) -> int:
        """What stands in memory now; signed."""
        return int(_SIGNED.unpack(self._memory().read(self._at + VALUE_AT, 8))[0])

    def set(self, value: int) -> None:
        """Write the value from the host."""
        self._memory().write(self._at + VALUE_AT, _SIGNED.pack(value))

    @property
    def start_ns(self) -> int:
        """When the work began; 0 when nobody wrote it."""
        return ticks_to_ns(self._ticks(START_AT))

    @property
    def end_ns(self) -> int:
        """When the work ended; 0 when nobody wrote it."""
        return ticks_to_ns(self._ticks(END_AT))

    def wait(self, value: int, timeout_s: float = WAIT_S) -> int:
        """Until the value is at least this; returns it. Raises QueueStuck (a WaitTimeout), DeviceLost."""
        return self._wait(lambda seen: seen >= value, f"a value of at least {value}", timeout_s)

    def wait_at_most(self, value: int, timeout_s: float = WAIT_S) -> int:
        """Until the value has come down to this: what the completion of AQL packets does."""
        return self._wait(lambda seen: seen <= value, f"a value of at most {value}", timeout_s)

    def free(self) -> None:
        """Give it back to its pool. No engine may still be about to write it."""
        buffer = self._buffer
        if buffer is None:
            raise DoubleFree(
                f"freeing {self!r}", expected="a signal in use", seen="it was freed before", next_step="free it once"
            )
        self._buffer = None
        self._pool._take_back(buffer, self._at)

    def _ticks(self, at: int) -> int:
        return int(_UNSIGNED.unpack(self._memory().read(self._at + at, 8))[0])

    def _memory(self) -> Buffer:
        if self._buffer is not None:
            return self._buffer
        raise Closed(
            f"using {self!r}",
            expected="a signal in use",
            seen="it was freed before",
            next_step="keep it for as long as something may write it",
        )

    def _wait(self, until: Callable[[int], bool], expected: str, timeout_s: float) -> int:
        memory, at = self._memory(), self._at + VALUE_AT
        try:
            return self._pool.gpu.wait(
                lambda: int(_SIGNED.unpack(memory.read(at, 8))[0]),
                until,
                doing=f"waiting for {self._source()}",
                expected=expected,
                timeout_s=timeout_s,
                where=f"{self!r} on {self._pool.gpu.name}",
                next_step="gpumend probe",
                interruptible=True,
            )
        except WaitTimeout as late:
            if self.queue is None:
                raise
            raise self.queue.stuck(late) from late

    def _source(self) -> str:
        return f"a fence of {self.queue}" if self.queue is not None else repr(self)


class Signals:
    """A pool of signals, taken from host memory a page at a time. `close` frees the memory."""

    def __init__(self, gpu: Gpu, memory: Memory) -> None:
        self.gpu = gpu
        self._memory = memory
        self._buffers: list[Buffer] = []
        self._free: list[tuple[Buffer, int]] = []

    def new(self, value: int = 0) -> Signal:
        """A signal with this value and times of 0."""
        if not -(1 << 63) <= value < 1 << 63:
            raise UsageError("making a signal", expected="a value of 64 bits, signed", seen=f"{value}", verb="refused")
        if not self._free:
            self._grow()
        buffer, at = self._free.pop()
        fresh = struct.pack("<qq16sQQ16x", _KIND_USER, value, bytes(16), 0, 0)
        buffer.write(at, fresh)
        return Signal(self, buffer, at)

    @property
    def in_use(self) -> int:
        return len(self._buffers) * (_POOL_BYTES // SIGNAL_BYTES) - len(self._free)

    def close(self) -> None:
        """Free the memory of all signals; the engines must have been stopped."""
        buffers, self._buffers, self._free = self._buffers, [], []
        for buffer in buffers:
            buffer.free()

    def _grow(self) -> None:
        buffer = self._memory.alloc(_POOL_BYTES, where="host", owner="signals", uncached=True)
        self._buffers.append(buffer)
        self._free += [(buffer, at) for at in reversed(range(0, _POOL_BYTES, SIGNAL_BYTES))]

    def _take_back(self, buffer: Buffer, at: int) -> None:
        if any(one is buffer for one in self._buffers):
            self._free.append((buffer, at))
