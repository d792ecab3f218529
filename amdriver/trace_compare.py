"""Two traces side by side by register name, and one trace made short enough to read.

Comparing asks what was written: the last value, and which values on the way. Order and number of writes do not count
unless asked for: two drivers that do the same job differ in both. Instances that act alike stand in one row. Memory
(VRAM, DMA buffers) and config space are counted, not compared: their contents are the driver's own."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from amdriver.trace_events import Event, decoded
from registers.tables import Entry

UNCOMPARED: Final = frozenset({"VRAM", "DMA", "CONFIG", "MARK"})
MOST_VALUES: Final = 256  # distinct values kept of one register of one instance
MOST_PERIOD: Final = 32  # accesses in a sequence that is looked for as a repeat

_DIGITS = re.compile(r"\d+")
Status = Literal["same", "different", "values", "order", "only-a", "only-b"]
Key = tuple[str, str]  # block, register with its bank


# --- one trace: how much of what


@dataclass(slots=True)
class BlockCount:
    """How often a block was accessed; registers counts names, whatever the instance."""

    block: str
    reads: int = 0
    writes: int = 0
    registers: int = 0
    instances: int = 0


def count_blocks(events: Iterable[Event]) -> list[BlockCount]:
    """One row a block, in the order of its first access."""
    found: dict[str, BlockCount] = {}
    names: defaultdict[str, set[str]] = defaultdict(set)
    instances: defaultdict[str, set[int | None]] = defaultdict(set)
    for event in events:
        if event.kind == "mark":
            continue
        block = event.place.block
        row = found.setdefault(block, BlockCount(block))
        if event.kind == "read":
            row.reads += event.times
        else:
            row.writes += event.times
        names[block].add(event.register)
        instances[block].add(event.place.instance)
    for block, row in found.items():
        row.registers = len(names[block])
        row.instances = len(instances[block])
    return list(found.values())


# --- one trace, folded


class Folded(NamedTuple):
    """A line of a folded trace: `event` and what is like it.

    `instances`: all that were accessed so; `times`: how often in all. A sequence of `length` lines that came `repeats`
    times has these in its first line; elsewhere both are 1, in its other lines `length` is 0."""

    event: Event
    instances: tuple[int, ...]
    times: int
    length: int = 1
    repeats: int = 1

    @property
    def name(self) -> str:
        """`GC[0-7].CP_HQD_ACTIVE`, `DOORBELL 0x40`, `VRAM 0x3ffff0000 + 0x2800`"""
        event = self.event
        block = event.place.block
        if block in ("VRAM", "DMA"):
            where = f"buffer {event.place.instance} " if block == "DMA" else ""
            return f"{block} {where}{event.offset:#x} + {event.size:#x}"
        return named(block, self.instances, event.register)


def fold(events: Sequence[Event]) -> Iterator[Folded]:
    """The same access again, or the same few again, be it on another instance, becomes one."""
    ids: dict[object, int] = {}
    likes = [ids.setdefault(_like(event), len(ids)) for event in events]
    at = 0
    while at < len(events):
        period, repeats = _best_repeat(likes, at)
        for line in range(period):
            alike = events[at + line : at + period * repeats : period]
            instances = {event.place.instance for event in alike if event.place.instance is not None}
            many = period > 1 and repeats > 1
            yield Folded(
                alike[0],
                tuple(sorted(instances)),
                sum(event.times for event in alike),
                (period if line == 0 else 0) if many else 1,
                repeats if many and line == 0 else 1,
            )
        at += period * repeats


def _like(event: Event) -> object:
    place = event.place
    where = (event.offset, event.size) if place.block in UNCOMPARED else 0
    return event.kind, place.block, event.register, event.value, where, event.failed


def _best_repeat(likes: list[int], at: int) -> tuple[int, int]:
    """Length and number of the repeated sequence that begins here and covers most; (1, 1) when nothing repeats."""
    best = (1, 1)
    first = likes[at]
    for period in range(1, min(MOST_PERIOD, (len(likes) - at) // 2) + 1):
        if likes[at + period] != first:
            continue
        repeats = _repeats(likes, at, period)
        if repeats > 1 and period * repeats > best[0] * best[1]:
            best = (period, repeats)
            if period == 1:
                break
    return best


def _repeats(likes: list[int], at: int, period: int) -> int:
    end = at + period
    while end < len(likes) and likes[end] == likes[end - period]:
        end += 1
    return (end - at) // period


# --- two traces


@dataclass(slots=True)
class TraceSeen:
    """What became of one register of one instance. `values`: written value to how often; `more`: some are not kept."""

    reads: int = 0
    writes: int = 0
    final: int | None = None
    values: Counter[int | None] = field(default_factory=Counter)
    more: bool = False
    order: int = 0

    def add(self, event: Event) -> None:
        if event.kind == "read":
            self.reads += event.times
            return
        self.writes += event.times
        if self.writes == event.times or event.value != self.final:
            self.order = hash((self.order, event.value))
        self.final = event.value
        if event.value in self.values or len(self.values) < MOST_VALUES:
            self.values[event.value] += event.times
        else:
            self.more = True


class FieldDifference(NamedTuple):
    """A field whose last value differs; None: the other side did not write the register."""

    name: str
    a: int | None
    b: int | None


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One register, of instances that act alike. `a`, `b`: what became of the first of them; None: never accessed.

    Status: `same`; `different` (the last value); `values` (the last is the same, others on the way differ); `order`
    (asked for: the same values in another order); `only-a`, `only-b`."""

    block: str
    register: str
    instances: tuple[int, ...]
    status: Status
    a: TraceSeen | None
    b: TraceSeen | None
    fields: tuple[FieldDifference, ...] = ()
    entry: Entry | None = None

    @property
    def name(self) -> str:
        """`GC[0-7].CP_HQD_ACTIVE`"""
        return named(self.block, self.instances, self.register)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows, in the order of A's first write, then B's. `common`: registers that both wrote."""

    rows: tuple[TraceRow, ...]
    common: int

    @property
    def same(self) -> bool:
        return all(row.status == "same" for row in self.rows)

    def by_block(self) -> dict[str, Counter[str]]:
        """Block to status to number of rows."""
        found: dict[str, Counter[str]] = {}
        for row in self.rows:
            found.setdefault(row.block, Counter())[row.status] += 1
        return found


Collected = Mapping[Key, Mapping[int | None, TraceSeen]]


def collect(events: Iterable[Event]) -> tuple[dict[Key, dict[int | None, TraceSeen]], dict[Key, Entry]]:
    """What became of each register, and the entries of those that a table has. Accesses that failed do not count."""
    found: dict[Key, dict[int | None, TraceSeen]] = {}
    entries: dict[Key, Entry] = {}
    for event in events:
        place = event.place
        if place.block in UNCOMPARED or event.failed:
            continue
        key = place.block, event.register
        instances = found.setdefault(key, {})
        seen = instances.get(place.instance)
        if seen is None:
            seen = instances[place.instance] = TraceSeen()
            if place.entry is not None:
                entries[key] = place.entry
        seen.add(event)
    return found, entries


def compare(a: Iterable[Event], b: Iterable[Event], *, order: bool = False, reads: bool = False) -> Comparison:
    """Compare two traces. `order`: the order of a register's values counts; `reads`: registers only read count, too
    (that they were read, not what was read)."""
    of_a, entries = collect(a)
    of_b, more = collect(b)
    entries |= more
    rows = [
        row
        for key in dict.fromkeys([*of_a, *of_b])
        for row in _rows(key, of_a.get(key, {}), of_b.get(key, {}), entries.get(key), order=order, reads=reads)
    ]
    common = sum(_written(of_a[key]) and _written(of_b[key]) for key in of_a.keys() & of_b.keys())
    return Comparison(tuple(rows), common)


def _written(instances: Mapping[int | None, TraceSeen]) -> bool:
    return any(seen.writes for seen in instances.values())


def _rows(
    key: Key,
    a: Mapping[int | None, TraceSeen],
    b: Mapping[int | None, TraceSeen],
    entry: Entry | None,
    *,
    order: bool,
    reads: bool,
) -> Iterator[TraceRow]:
    groups: dict[tuple[object, object], list[int | None]] = {}
    for instance in dict.fromkeys([*a, *b]):
        act = _act(a.get(instance), order, reads), _act(b.get(instance), order, reads)
        if act != (None, None):
            groups.setdefault(act, []).append(instance)
    for (act_a, act_b), instances in groups.items():
        first = instances[0]
        seen_a = a.get(first) if act_a is not None else None
        seen_b = b.get(first) if act_b is not None else None
        status = _status(seen_a, seen_b, act_a == act_b)
        numbers = tuple(sorted(number for number in instances if number is not None))
        yield TraceRow(*key, numbers, status, seen_a, seen_b, _fields(entry, seen_a, seen_b), entry)


def _act(seen: TraceSeen | None, order: bool, reads: bool) -> object:
    """What of an instance's history counts; None: nothing."""
    if seen is None:
        return None
    if not seen.writes:
        return "read" if reads else None
    return seen.final, frozenset(seen.values), seen.more, seen.order if order else 0


def _status(a: TraceSeen | None, b: TraceSeen | None, alike: bool) -> Status:
    if alike:
        return "same"
    if a is None or (not a.writes and b is not None and b.writes):
        return "only-b"
    if b is None or (not b.writes and a.writes):
        return "only-a"
    if a.final != b.final:
        return "different"
    return "order" if a.values.keys() == b.values.keys() else "values"


def _fields(entry: Entry | None, a: TraceSeen | None, b: TraceSeen | None) -> tuple[FieldDifference, ...]:
    """The fields in which the last values differ; without a table, or without fields, nothing."""
    if a is None or b is None or a.final == b.final:
        return ()
    left, right = decoded(entry, a.final), decoded(entry, b.final)
    if left is None or right is None:
        return ()
    of_a, of_b = left.fields(), right.fields()
    return tuple(FieldDifference(name, of_a[name], of_b[name]) for name in of_a if of_a[name] != of_b[name])


def alike(rows: Iterable[TraceRow]) -> list[list[TraceRow]]:
    """Rows that differ in numbers of their register's name only (VM_CONTEXT1_CNTL .. VM_CONTEXT15_CNTL), in groups."""
    groups: dict[object, list[TraceRow]] = {}
    for row in rows:
        groups.setdefault(_shape(row), []).append(row)
    return list(groups.values())


def _shape(row: TraceRow) -> object:
    sides = tuple(None if seen is None else (seen.final, frozenset(seen.values)) for seen in (row.a, row.b))
    return row.block, _DIGITS.sub("#", row.register), row.instances, row.status, sides


# --- words


def named(block: str, instances: Sequence[int], register: str) -> str:
    """`GC[0-7].NAME`, `DOORBELL 0x40`, `VRAM`"""
    if not instances:
        return f"{block} {register}".rstrip()
    where = f"{block}[{spans(instances)}]"
    return f"{where}.{register}" if register else where


def spans(numbers: Sequence[int]) -> str:
    """`0-3,6` of (0, 1, 2, 3, 6)"""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in parts)
