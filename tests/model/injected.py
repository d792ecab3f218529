"""A transport with something wrong with it from the n-th access on: a wrapper around any other, and what it finds out.

Whoever drives a device through it must end, in bounded virtual time and with a GpumendError, give back the lock and all
memory for DMA, and leave no bus master on that was off before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pcibus.transport import Bar, DmaBuffer, FunctionInfo, LockHolder, Transport

ALL_ONES = 0xFFFFFFFF
COMMAND = 4  # config space: the command register
DROP = -1  # what a harm makes of a write that goes nowhere
Harm = Callable[["Injected", str, int], int]  # (wrapper, kind of access: read or write, value) -> value


class Injected:
    """Counts accesses; from number `at` on, for `count` of them, `harm` has a hand in each."""

    def __init__(self, inner: Transport, harm: Harm | None = None, *, at: int = 0, count: int = 1 << 60) -> None:
        self.inner = inner
        self.name = inner.name
        self.can = inner.can
        self.harm = harm
        self.at, self.count = at, count
        self.accesses = 0
        self.held = 0
        self.open_dma: list[DmaBuffer] = []
        self.config_too = False

    # ---- what is accessed

    def read32(self, bar: int, offset: int) -> int:
        return self._meddle("read", self.inner.read32(bar, offset), 4)

    def read64(self, bar: int, offset: int) -> int:
        return self._meddle("read", self.inner.read64(bar, offset), 8)

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        value = int.from_bytes(self.inner.read_block(bar, offset, size), "little")
        return self._meddle("read", value, size).to_bytes(size, "little")

    def config_read(self, offset: int, size: int) -> int:
        value = self.inner.config_read(offset, size)
        return self._meddle("read", value, size) if self.config_too else value

    def write32(self, bar: int, offset: int, value: int) -> None:
        if (value := self._meddle("write", value, 4)) >= 0:
            self.inner.write32(bar, offset, value)

    def write64(self, bar: int, offset: int, value: int) -> None:
        if (value := self._meddle("write", value, 8)) >= 0:
            self.inner.write64(bar, offset, value)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        value = self._meddle("write", int.from_bytes(data, "little"), len(data))
        if value >= 0:
            self.inner.write_block(bar, offset, value.to_bytes(len(data), "little"))

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.inner.config_write(offset, size, value)

    def _meddle(self, kind: str, value: int, size: int) -> int:
        number = self.accesses
        self.accesses += 1
        if self.harm is None or not self.at <= number < self.at + self.count:
            return value
        harmed = self.harm(self, kind, value)
        return harmed & (1 << 8 * size) - 1 if kind == "read" or harmed >= 0 else DROP

    # ---- what is held

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self.inner.exclusive():
            self.held += 1
            try:
                yield
            finally:
                self.held -= 1

    def alloc_dma(self, size: int) -> DmaBuffer:
        made = self.inner.alloc_dma(size)
        self.open_dma.append(made)
        close = made.close

        def closed() -> None:
            close()
            self.open_dma.remove(made)

        made.close = closed  # type: ignore[method-assign]
        return made

    # ---- what is passed on

    def info(self) -> FunctionInfo:
        return self.inner.info()

    def bars(self) -> Mapping[int, Bar]:
        return self.inner.bars()

    def config_size(self) -> int:
        return self.inner.config_size()

    def holder(self) -> LockHolder | None:
        return self.inner.holder()

    def close(self) -> None:
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def ones(_: Injected, kind: str, value: int) -> int:
    """Memory decoding is gone: all ones, writes go nowhere."""
    return -1 if kind == "read" else DROP


def zeros(_: Injected, kind: str, value: int) -> int:
    """Reads give 0."""
    return 0 if kind == "read" else value


def dropped(_: Injected, kind: str, value: int) -> int:
    """Writes go nowhere."""
    return value if kind == "read" else DROP


def raising(error: Callable[[], BaseException]) -> Harm:
    """Each access raises."""

    def harm(_: Injected, kind: str, value: int) -> int:
        raise error()

    return harm


def flipping(seed: int, one_in: int = 1, bits: int = 32) -> Harm:
    """One read in so many has a bit wrong."""
    dice = random.Random(seed)

    def harm(_: Injected, kind: str, value: int) -> int:
        if kind == "read" and dice.randrange(one_in) == 0:
            value ^= 1 << dice.randrange(bits)
        return value

    return harm


def lying(seed: int, one_in: int = 1) -> Harm:
    """One read in so many is a random number."""
    dice = random.Random(seed)

    def harm(_: Injected, kind: str, value: int) -> int:
        return dice.getrandbits(8192) if kind == "read" and dice.randrange(one_in) == 0 else value

    return harm
