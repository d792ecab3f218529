"""What looks stuck is looked at again, until it moves or the watch is over. All suspects share one watch.

An engine that is idle is never a suspect, so a healthy idle GPU costs no waiting at all. A busy one is cleared as soon
as it moves. What stays where it was for the whole watch becomes a finding that says how long it was watched: a single
copy or wait of more than that time looks the same from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from base.clock import Clock
from base.errors import WaitTimeout
from base.findings import Finding
from base.poll import poll

WATCH_S = 1.0
FIRST_PAUSE_S = 1e-3
LONGEST_PAUSE_S = 50e-3


@dataclass(slots=True)
class Suspect:
    """Something that looks stuck. `cleared` samples it and tells whether it is fine after all; `finding` is made from
    the time it was watched if it never was."""

    name: str
    cleared: Callable[[], bool]
    finding: Callable[[float], Finding]


def watch(suspects: list[Suspect], clock: Clock, limit_s: float = WATCH_S) -> list[Finding]:
    """Sample the suspects until all are cleared or `limit_s` has passed; findings of those that were not."""
    if not suspects:
        return []
    left = list(suspects)
    start = clock.now()

    def sample() -> int:
        left[:] = [suspect for suspect in left if not suspect.cleared()]
        return len(left)

    try:
        poll(
            clock,
            sample,
            lambda count: count == 0,
            doing="watching what looks stuck",
            expected="nothing left that stands still",
            timeout_s=limit_s,
            first_pause_s=FIRST_PAUSE_S,
            longest_pause_s=LONGEST_PAUSE_S,
        )
    except WaitTimeout:
        watched_s = clock.now() - start
        return [suspect.finding(watched_s) for suspect in left]
    return []
