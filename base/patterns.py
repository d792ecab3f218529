"""Memory patterns, and where what came back differs from them. Never zeros only: a copy that did nothing must show.

Each line of 64 bytes holds its own address four times (a transfer to the wrong place shows where it came from) and four
words of a seeded generator (a stuck or swapped data line shows). Any part of a pattern can be made without the rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LINE_BYTES: Final = 64
CHUNK_BYTES: Final = 4 << 20  # what is made, compared and moved at a time
_SHOWN_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Pattern:
    """`base`: the address that byte 0 claims to have. Two patterns of different seed or base differ in every line."""

    seed: int
    base: int = 0

    def part(self, offset: int, size: int) -> NDArray[np.uint8]:
        """`size` bytes from byte `offset` on."""
        first, last = offset // CHUNK_BYTES, (offset + size - 1) // CHUNK_BYTES
        parts = []
        for index in range(first, last + 1):
            start = index * CHUNK_BYTES
            low, high = max(offset, start) - start, min(offset + size, start + CHUNK_BYTES) - start
            parts.append(self._chunk(index, high)[low:high])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _chunk(self, index: int, size: int) -> NDArray[np.uint8]:
        """The first `size` bytes of a chunk, rounded up to lines."""
        lines = -(-size // LINE_BYTES)
        words = np.empty((lines, 8), np.uint64)
        start = self.base + index * CHUNK_BYTES
        addresses = np.arange(start, start + lines * LINE_BYTES, LINE_BYTES, dtype=np.uint64)
        for word in range(4):
            words[:, word] = addresses + np.uint64(8 * word)
        generator = np.random.Generator(np.random.PCG64((self.seed, index)))
        words[:, 4:] = generator.integers(0, 1 << 64, (lines, 4), np.uint64)
        return words.reshape(-1).view(np.uint8)


def chunks(size: int, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, int]]:
    """(offset, size) of each piece."""
    for at in range(0, size, chunk_bytes):
        yield at, min(chunk_bytes, size - at)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first byte that differs, how many do, and the bytes around the first, from both sides."""

    offset: int
    count: int
    total: int
    expected: bytes
    seen: bytes

    def __str__(self) -> str:
        return f"{self.count} of {self.total} bytes differ, the first at +{self.offset:#x}"


def compare(expected: NDArray[np.uint8], seen: bytes | NDArray[np.uint8]) -> Mismatch | None:
    """None when they are the same. Bytes that are missing count as different."""
    got = np.frombuffer(seen, np.uint8) if isinstance(seen, bytes) else seen
    size = min(len(expected), len(got))
    if len(expected) == len(got) and np.array_equal(expected, got):
        return None
    wrong = np.flatnonzero(expected[:size] != got[:size])
    missing = abs(len(expected) - len(got))
    first = int(wrong[0]) if len(wrong) else size
    return Mismatch(
        offset=first,
        count=len(wrong) + missing,
        total=max(len(expected), len(got)),
        expected=expected[first : first + _SHOWN_BYTES].tobytes(),
        seen=got[first : first + _SHOWN_BYTES].tobytes(),
    )


# ---------------------------------------------------------------- which transfers


@dataclass(frozen=True, slots=True)
class Transfer:
    """One copy within a plan: `size` bytes from `src_offset` of the source to `dst_offset` of the target."""

    size: int
    src_offset: int
    dst_offset: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Copies that do not overlap, with a guard around each: what is between them must stay as it was."""

    transfers: tuple[Transfer, ...]
    source_bytes: int
    target_bytes: int

    @property
    def moved_bytes(self) -> int:
        return sum(one.size for one in self.transfers)

    def image(self, source: NDArray[np.uint8], background: int) -> NDArray[np.uint8]:
        """What the target holds when all copies were right and nothing else was touched."""
        image = np.full(self.target_bytes, background, np.uint8)
        for one in self.transfers:
            image[one.dst_offset : one.dst_offset + one.size] = source[one.src_offset : one.src_offset + one.size]
        return image


GUARD_BYTES: Final = 64
# Offsets within a line, of source and of target: both aligned, one of them, neither, equal and unequal, across a page.
ALIGNMENTS: Final = ((0, 0), (1, 0), (0, 1), (1, 1), (3, 5), (4, 8), (63, 2), (4095, 4093))


def plan(sizes: tuple[int, ...], alignments: tuple[tuple[int, int], ...] = ALIGNMENTS) -> Plan:
    """Every size; each takes the next pair of alignments, so that all pairs occur among the sizes."""
    transfers = []
    at, longest = GUARD_BYTES, 0
    for number, size in enumerate(sizes):
        src_offset, within = alignments[number % len(alignments)]
        step = 4096 if within >= LINE_BYTES else LINE_BYTES
        dst_offset = -(-at // step) * step + within
        transfers.append(Transfer(size, src_offset, dst_offset))
        at = dst_offset + size + GUARD_BYTES
        longest = max(longest, src_offset + size)
    return Plan(tuple(transfers), _pages(longest), _pages(at))


def _pages(size: int) -> int:
    return -(-size // 4096) * 4096


def sizes_up_to(limit: int) -> tuple[int, ...]:
    """1 byte up to `limit`: each power of four, one less and one more (an edge of a line, a page, a packet), ascending."""
    found = {limit}
    power = 1
    while power <= limit:
        found |= {size for size in (power - 1, power, power + 1) if 0 < size <= limit}
        power *= 4
    return tuple(sorted(found))
