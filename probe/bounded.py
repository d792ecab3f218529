"""A transport whose reads end when the probe's time is up, whoever is reading and in whatever loop.

It stands outside the read-only transport, so that index registers are still put back after the time is up. It cannot
help against a read that never returns: on hardware the probe runs in a child that can be killed (base/child.py)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from base.clock import Clock
from base.errors import WaitTimeout
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder, Transport


class OutOfTime(WaitTimeout):
    """The GPU's share of time is used up; what was learned so far stands."""


class Bounded:
    """`inner`, until `deadline` (on `clock`). A read that ends after it raises OutOfTime; everything else passes.

    `name` is what findings call the GPU: its bus address, not the address that reached it."""

    def __init__(self, inner: Transport, clock: Clock, deadline: float, name: str) -> None:
        self._inner = inner
        self._now = clock.now
        self._deadline = deadline
        self.name = name
        self.can: Can = inner.can & ~Can.INTERRUPTS

    def _late(self) -> OutOfTime:
        return OutOfTime("reading the GPU", expected="an answer within the time of one probe", where=self.name)

    def info(self) -> FunctionInfo:
        return self._inner.info()

    def bars(self) -> Mapping[int, Bar]:
        return self._inner.bars()

    def config_size(self) -> int:
        return self._inner.config_size()

    def config_read(self, offset: int, size: int) -> int:
        value = self._inner.config_read(offset, size)
        if self._now() > self._deadline:
            raise self._late()
        return value

    def config_write(self, offset: int, size: int, value: int) -> None:
        self._inner.config_write(offset, size, value)

    def read32(self, bar: int, offset: int) -> int:
        value = self._inner.read32(bar, offset)
        if self._now() > self._deadline:
            raise self._late()
        return value

    def write32(self, bar: int, offset: int, value: int) -> None:
        self._inner.write32(bar, offset, value)

    def read64(self, bar: int, offset: int) -> int:
        value = self._inner.read64(bar, offset)
        if self._now() > self._deadline:
            raise self._late()
        return value

    def write64(self, bar: int, offset: int, value: int) -> None:
        self._inner.write64(bar, offset, value)

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        data = self._inner.read_block(bar, offset, size)
        if self._now() > self._deadline:
            raise self._late()
        return data

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self._inner.write_block(bar, offset, data)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._inner.exclusive()

    def holder(self) -> LockHolder | None:
        return self._inner.holder()

    def alloc_dma(self, size: int) -> DmaBuffer:
        return self._inner.alloc_dma(size)

    def close(self) -> None:
        self._inner.close()
