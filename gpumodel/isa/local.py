"""Memory that belongs to the waves: LDS, which a work-group shares, and scratch, which every lane has for itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpumodel.isa.stop import Violation
from gpumodel.isa.waves import Array

LDS_GRANULE = 512  # bytes: COMPUTE_PGM_RSRC2.LDS_SIZE counts 128 dwords


class LocalMemory:
    """`owners` pieces of `size` bytes. Addresses are int64, and owners as well, of one shape. Beyond a piece: Violation."""

    def __init__(self, what: str, owners: int, size: int) -> None:
        self._what = what
        self.size = size
        self._bytes = np.zeros(owners * size + 16, np.uint8)
        self._halves = self._bytes[: len(self._bytes) & ~3].view(np.uint16)
        self._words = self._bytes[: len(self._bytes) & ~3].view(np.uint32)
        self.stores = 0

    @property
    def address(self) -> int:
        """Of the first byte, in this process; owners follow each other."""
        return int(self._bytes.ctypes.data)

    def _place(self, owner: Array, address: Array, size: int) -> Array:
        if address.size and (int(address.min()) < 0 or int(address.max()) > self.size - size):
            bad = address[(address < 0) | (address > self.size - size)]
            raise Violation(f"{self._what} at {int(bad.flat[0]):#x}, {size} bytes, of {self.size:#x} that there are")
        return owner * self.size + address

    def load(self, owner: Array, address: Array, dwords: int) -> list[Array]:
        place = self._place(owner, address, 4 * dwords)
        if place.size and np.bitwise_or.reduce(place, axis=None) & 3:
            return [self._slowly(place + 4 * number) for number in range(dwords)]
        index = place >> 2
        return [self._words.take(index + number if number else index) for number in range(dwords)]

    def _slowly(self, place: Array) -> Array:
        value = self._bytes.take(place).astype(np.uint32)
        for number in range(1, 4):
            value |= self._bytes.take(place + number).astype(np.uint32) << np.uint32(8 * number)
        return value

    def load_small(self, owner: Array, address: Array, size: int) -> Array:
        place = self._place(owner, address, size)
        value = self._bytes.take(place).astype(np.uint32)
        if size == 2:
            value |= self._bytes.take(place + 1).astype(np.uint32) << np.uint32(8)
        return value

    def store(self, owner: Array, address: Array, values: list[Array]) -> None:
        place = self._place(owner, address, 4 * len(values))
        self.stores += 1
        aligned = not place.size or not np.bitwise_or.reduce(place, axis=None) & 3
        for number, value in enumerate(values):
            if aligned:
                self._words[(place >> 2) + number] = value
                continue
            for byte in range(4):
                self._bytes[place + 4 * number + byte] = (value >> np.uint32(8 * byte)).astype(np.uint8)

    def store_small(self, owner: Array, address: Array, value: Array, size: int) -> None:
        place = self._place(owner, address, size)
        self.stores += 1
        for byte in range(size):
            self._bytes[place + byte] = (value >> np.uint32(8 * byte)).astype(np.uint8)

    def atomic(self, owner: Array, address: Array, size: int, change: Callable[[Array, Array], Array]) -> Array:
        """As WaveMemory.atomic; one dimension."""
        place = self._place(owner, address, size)
        old = np.zeros(len(place), np.uint64)
        self.stores += 1
        left = np.arange(len(place))
        while len(left):
            _, first = np.unique(place[left], return_index=True)
            now = left[first]
            index = place[now] >> 2
            value = self._words[index].astype(np.uint64)
            if size == 8:
                value |= self._words[index + 1].astype(np.uint64) << np.uint64(32)
            old[now] = value
            new = change(value, now)
            self._words[index] = new.astype(np.uint32)
            if size == 8:
                self._words[index + 1] = (new >> np.uint64(32)).astype(np.uint32)
            keep = np.ones(len(left), bool)
            keep[first] = False
            left = left[keep]
        return old
