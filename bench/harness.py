"""Ratios measured side by side: ours and the floor take turns in one process, the median of the ratios is printed.

These machines are noisy; nothing here asserts a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 9
AT_LEAST_S = 0.02


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `make bench`. Times in seconds per call."""

    work: str
    ours_s: float
    floor_s: float
    ratio: float
    goal: str
    peer: str = ""


def _calls(work: Callable[[], object]) -> int:
    """How many calls fill one slice."""
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            work()
        if time.perf_counter() - start >= AT_LEAST_S or count >= 1 << 20:
            return count
        count *= 2


def _slice(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) / count


def compare(work: str, ours: Callable[[], object], floor: Callable[[], object], *, goal: str, peer: str = "") -> Row:
    """Alternate `ours` and `floor`; medians of each and of the ratios pair by pair."""
    ours()
    floor()
    many_ours, many_floor = _calls(ours), _calls(floor)
    pairs = [(_slice(ours, many_ours), _slice(floor, many_floor)) for _ in range(ROUNDS)]
    return Row(
        work=work,
        ours_s=statistics.median(a for a, _ in pairs),
        floor_s=statistics.median(b for _, b in pairs),
        ratio=statistics.median(a / b for a, b in pairs),
        goal=goal,
        peer=peer,
    )


def duration(work: str, ours: Callable[[], object], *, goal: str, peer: str = "", rounds: int = 3) -> Row:
    """Something with no floor to compare: the median of a few runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        ours()
        times.append(time.perf_counter() - start)
    return Row(work=work, ours_s=statistics.median(times), floor_s=0.0, ratio=0.0, goal=goal, peer=peer)
