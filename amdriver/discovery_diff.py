"""How one copy of the discovery binary differs from another: how many bytes, where, and in which tables."""

from __future__ import annotations

import re
from dataclasses import dataclass

from amdriver.discovery_binary import Binary
from amdriver.discovery_format import HEADER_NAME, MAX_BLOB_BYTES

_MAX_RANGES = 32
_RUN = re.compile(rb"[^\0]+(?:\0{1,7}[^\0]+)*")  # differing bytes, with gaps of up to seven equal ones between


@dataclass(frozen=True, slots=True)
class DiffRange:
    """Bytes that differ; runs less than eight bytes apart are one. `tables` by the good copy's layout."""

    offset: int
    length: int
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How a bad copy differs from a good one. `ranges` holds the first ones, `more_ranges` counts the rest."""

    differing_bytes: int
    compared_bytes: int
    good_size: int
    bad_size: int
    ranges: tuple[DiffRange, ...] = ()
    more_ranges: int = 0

    @property
    def same(self) -> bool:
        return self.differing_bytes == 0

    @property
    def tables(self) -> tuple[str, ...]:
        """Every table that a listed range touches, in order, once."""
        return tuple(dict.fromkeys(name for part in self.ranges for name in part.tables))

    def __str__(self) -> str:
        if self.same:
            return "no byte differs"
        told = f"{self.differing_bytes} of {self.compared_bytes} bytes differ, first at {self.ranges[0].offset:#x}"
        return f"{told} ({', '.join(self.tables)})"


def layout(blob: bytes) -> tuple[tuple[int, int, str], ...]:
    """(start, end, name) of the header and of every table, by the binary's own table list; () if it has none."""
    binary = Binary(bytes(blob[:MAX_BLOB_BYTES]))
    binary.check()
    if not binary.tables or binary.header is None:
        return ()
    spans = [(0, binary.header.end, HEADER_NAME)]
    spans += [(info.offset, info.end, info.name) for info in binary.tables.values()]
    return tuple(sorted(spans))


def diff(good: bytes, bad: bytes) -> Difference:
    """Compare a bad copy with a good one over the good one's binary_size; bytes that are missing count as differing."""
    spans = layout(good)
    size = min(len(good), MAX_BLOB_BYTES)
    if spans:
        size = min(size, int.from_bytes(good[0x0A:0x0C], "little"))
    there = bytes(bad[:size])
    delta = int.from_bytes(good[: len(there)], "little") ^ int.from_bytes(there, "little")
    changed = delta.to_bytes(len(there), "little") + b"\1" * (size - len(there))
    runs = list(_RUN.finditer(changed))
    ranges = tuple(
        DiffRange(run.start(), run.end() - run.start(), _touched(spans, run.start(), run.end()))
        for run in runs[:_MAX_RANGES]
    )
    return Difference(
        differing_bytes=size - changed.count(0),
        compared_bytes=size,
        good_size=len(good),
        bad_size=len(bad),
        ranges=ranges,
        more_ranges=max(0, len(runs) - _MAX_RANGES),
    )


def _touched(spans: tuple[tuple[int, int, str], ...], start: int, end: int) -> tuple[str, ...]:
    names = tuple(name for low, high, name in spans if low < end and start < high)
    return names or ("bytes between tables",)
