"""The one polling loop. Every wait of gpumend goes through it: bounded, with back-off, and with a story when it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from base.clock import Clock
from base.errors import WaitTimeout

T = TypeVar("T")

SHORTEST_PAUSE_S = 1e-6
FIRST_PAUSE_S = 20e-6
LONGEST_PAUSE_S = 10e-3
_MAX_CHANGES = 8


def poll(
    clock: Clock,
    read: Callable[[], T],
    until: Callable[[T], bool],
    *,
    doing: str,
    expected: str,
    timeout_s: float,
    where: str = "",
    next_step: str = "",
    show: Callable[[T], str] = str,
    first_pause_s: float = FIRST_PAUSE_S,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> T:
    """Read until `until(value)` holds and return that value; pauses double from `first_pause_s` to `longest_pause_s`.

    One last read is made after the time is up, so that a pause never hides an answer. Raises WaitTimeout with the
    last value, the number of reads, and the first changes with their times."""
    start = clock.now()
    pause = first_pause_s
    reads = 0
    changes: list[tuple[float, T]] = []
    more = 0
    while True:
        elapsed = clock.now() - start
        value = read()
        reads += 1
        if until(value):
            return value
        if not changes or changes[-1][1] != value:
            if len(changes) < _MAX_CHANGES:
                changes.append((elapsed, value))
            else:
                more += 1
        if elapsed >= timeout_s:
            break
        # Never less than can be added to a clock: a rest of 1e-17 s would leave time where it is, for ever.
        clock.sleep(min(pause, max(SHORTEST_PAUSE_S, timeout_s - elapsed)))
        pause = min(pause * 2, longest_pause_s)
    told = ", ".join(f"{when:.3f}s {show(seen)}" for when, seen in changes) + (f" and {more} more" if more else "")
    raise WaitTimeout(
        doing,
        expected=f"{expected} within {timeout_s:g} s",
        seen=f"{show(value)} after {reads} reads; changes: {told}",
        where=where,
        next_step=next_step,
    )
