"""Running collectors: on hardware side by side, each in a child that can be killed; on models one after the other, here.

What a child hands over goes into memory that its parent shares (a ledger that only grows), so that a child that is killed
while it waits for a sick driver has not collected in vain, and the thing it was stuck at has a name. It may then be started
again without that thing."""

from __future__ import annotations

import mmap
import pickle
import struct
import time
from collections.abc import Callable, Iterator, Sequence

from base.child import ChildTimeout, run_many_in_children
from base.clock import Clock, RealClock
from evidence.parts import Collected, Collector, Unread, reason

_HEAD = struct.Struct("<Q")
_SLACK_BYTES = 256 << 10  # for what is not data: names, reasons
_MOST_AT_ONCE = 24  # children at a time
_LEAST_S = 0.2  # a run is not worth less


class Ledger:
    """Records that a child appends and its parent reads, also after the child was killed. Make it before the fork.

    The length is written after the record, so that a child killed in between leaves whole records only."""

    def __init__(self, room_bytes: int) -> None:
        self._map = mmap.mmap(-1, room_bytes + mmap.PAGESIZE)

    def put(self, record: tuple[object, ...]) -> bool:
        """False, and nothing changed, if it does not fit."""
        data = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
        used = _HEAD.unpack_from(self._map, 0)[0]
        start = mmap.PAGESIZE + used
        if start + _HEAD.size + len(data) > len(self._map):
            return False
        _HEAD.pack_into(self._map, start, len(data))
        self._map[start + _HEAD.size : start + _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._map, 0, used + _HEAD.size + len(data))
        return True

    def records(self) -> Iterator[tuple[object, ...]]:
        """What was put, in order. Written by our own child into memory that only we share: safe to unpickle."""
        used = _HEAD.unpack_from(self._map, 0)[0]
        at, end = mmap.PAGESIZE, mmap.PAGESIZE + used
        while at < end:
            size = _HEAD.unpack_from(self._map, at)[0]
            yield pickle.loads(self._map[at + _HEAD.size : at + _HEAD.size + size])
            at += _HEAD.size + size

    def close(self) -> None:
        self._map.close()


class LedgerOut:
    """An `Out` in a child."""

    def __init__(self, ledger: Ledger, skip: frozenset[str], room_bytes: int) -> None:
        self._ledger = ledger
        self._skip = skip
        self._left = room_bytes

    def begin(self, what: str) -> bool:
        if what in self._skip:
            return False
        self._ledger.put(("begin", what))
        return True

    def add(self, name: str, data: bytes, *, binary: bool = False, cut: bool = False) -> None:
        room = data[: max(0, self._left)]
        self._left -= len(data)
        if not self._ledger.put(("add", name, bytes(room), binary, cut or len(room) < len(data))):
            self.unread(name, "no room left for it")

    def unread(self, what: str, why: str) -> None:
        self._ledger.put(("unread", what, why))

    def secret(self, kind: str, value: str) -> None:
        self._ledger.put(("secret", kind, value))


class ListOut:
    """An `Out` in this process."""

    def __init__(self, into: Collected) -> None:
        self._into = into
        self._left = into.collector.room_bytes

    def begin(self, what: str) -> bool:
        return True

    def add(self, name: str, data: bytes, *, binary: bool = False, cut: bool = False) -> None:
        room = data[: max(0, self._left)]
        self._left -= len(data)
        self._into.take(("add", name, bytes(room), binary, cut or len(room) < len(data)))

    def unread(self, what: str, why: str) -> None:
        self._into.take(("unread", what, why))

    def secret(self, kind: str, value: str) -> None:
        self._into.take(("secret", kind, value))


def run(collectors: Sequence[Collector], clock: Clock, deadline: float) -> Iterator[list[Collected]]:
    """Run those with the same limit side by side, in the order in which limits come up; yields each group when it is done.

    `deadline` on the real clock. What cannot begin before it is `skipped`. Raises nothing that a collector did."""
    apart = [collector for collector in collectors if collector.apart]
    for limit_s in dict.fromkeys(collector.limit_s for collector in apart):
        alike = [collector for collector in apart if collector.limit_s == limit_s]
        for at in range(0, len(alike), _MOST_AT_ONCE):
            yield _side_by_side(alike[at : at + _MOST_AT_ONCE], deadline)
    here = [_here(collector, clock, deadline) for collector in collectors if not collector.apart]
    if here:
        yield here


def _here(collector: Collector, clock: Clock, deadline: float) -> Collected:
    done = Collected(collector)
    # On a virtual clock the wall says nothing: a busy machine must not change what a model's bundle holds.
    if isinstance(clock, RealClock) and time.monotonic() > deadline:
        return _skipped(done)
    start = clock.now()
    try:
        collector.work(ListOut(done))
    except Exception as error:  # noqa: BLE001 - one collector must not cost the others
        _failed(done, error)
    done.seconds = clock.now() - start
    return _judged(done)


def _side_by_side(collectors: Sequence[Collector], deadline: float) -> list[Collected]:
    """All at once; then those that got stuck, without what held them."""
    done = [Collected(collector) for collector in collectors]
    begun: list[list[str]] = [[] for _ in done]
    waiting = list(range(len(done)))
    round_number = 0
    while waiting:
        left = deadline - time.monotonic()
        limit = min(left, collectors[waiting[0]].limit_s)
        if limit < _LEAST_S:
            for index in waiting:
                _skipped(done[index])
            break
        stuck = _round([(done[index], begun[index]) for index in waiting], limit)
        round_number += 1
        waiting = [
            index
            for index, is_stuck in zip(waiting, stuck, strict=True)
            if is_stuck and round_number <= collectors[index].resumes
        ]
    return [_judged(item) for item in done]


def _round(runs: Sequence[tuple[Collected, list[str]]], limit_s: float) -> list[bool]:
    """One run of each; True for those that were killed at something that has a name and may go on without it."""
    ledgers = [Ledger(item.collector.room_bytes + _SLACK_BYTES) for item, _ in runs]
    start = time.monotonic()
    try:
        outcomes = run_many_in_children(
            [_child(item.collector, ledger, begun) for (item, begun), ledger in zip(runs, ledgers, strict=True)],
            limit_s,
            doing=[f"collecting {item.collector.label}" for item, _ in runs],
        )
        seconds = time.monotonic() - start
        answers = []
        for (item, begun), ledger, outcome in zip(runs, ledgers, outcomes, strict=True):
            took = _take(item, begun, ledger)
            item.seconds += seconds if took is None else took
            if isinstance(outcome.error, KeyboardInterrupt | SystemExit):
                raise outcome.error
            answers.append(_ended(item, begun, outcome.error, limit_s))
        return answers
    finally:
        for ledger in ledgers:
            ledger.close()


def _child(collector: Collector, ledger: Ledger, begun: Sequence[str]) -> Callable[[], None]:
    skip = frozenset(begun)

    def work() -> None:
        start = time.monotonic()
        collector.work(LedgerOut(ledger, skip, collector.room_bytes))
        ledger.put(("end", time.monotonic() - start))

    return work


def _take(item: Collected, begun: list[str], ledger: Ledger) -> float | None:
    """Read what the child handed over; how long it took, None if it did not come to its end."""
    took: float | None = None
    for record in ledger.records():
        match record:
            case ("begin", str(what)):
                begun.append(what)
            case ("end", float(seconds)):
                took = seconds
            case _:
                item.take(record)
    return took


def _ended(item: Collected, begun: Sequence[str], error: BaseException | None, limit_s: float) -> bool:
    if error is None:
        return False
    at = begun[-1] if begun else item.collector.name
    if not isinstance(error, ChildTimeout):
        _failed(item, error)
        return False
    item.status, item.detail = "timed-out", f"no answer within {limit_s:.1f} s from {at}"
    left_behind = f"; process {error.pid} cannot be killed and is left behind" if error.stuck else ""
    item.unread.append(Unread(at, f"no answer within {limit_s:.1f} s{left_behind}"))
    return bool(begun)


def _failed(item: Collected, error: BaseException) -> None:
    item.status, item.detail = "failed", reason(error)
    item.unread.append(Unread(item.collector.label, item.detail))


def _skipped(item: Collected) -> Collected:
    if item.status == "ok" and not item.items:
        item.status = "skipped"
    item.detail = item.detail or "no time was left"
    item.unread.append(Unread(item.collector.label, "no time was left"))
    return item


def _judged(item: Collected) -> Collected:
    for part in item.items.values():
        if part.cut:
            item.unread.append(Unread(part.name, f"cut after {len(part.data)} bytes: it had more"))
    if item.status == "ok" and item.unread:
        item.status = "partial"
    return item
