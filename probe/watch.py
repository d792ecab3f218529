"""What looks stuck is looked at again, until it moves or the watch is over. All suspects share one watch.

An engine that is idle is never a suspect, so a healthy idle GPU costs no waiting at all. A busy one is cleared as soon
as it moves. What stays where it was for the whole watch becomes a finding that says how long it was watched: a single
copy or wait of more than that time looks the same from outside. What could not be watched long enough, because the
probe's time ran out or it could not be sampled again, is nobody's fault: it stays an unanswered question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from base.clock import Clock
from base.errors import DeviceLost, GpumendError, WaitTimeout
from base.findings import Finding
from base.poll import poll
from probe.bounded import OutOfTime
from probe.reason import reason_of

WATCH_S = 1.0
LEAST_S = 0.25  # nobody is called stuck after less
FIRST_PAUSE_S = 1e-3
LONGEST_PAUSE_S = 50e-3


def _nothing() -> None:
    pass


@dataclass(slots=True, eq=False)
class Suspect:
    """Something that looks stuck. `cleared` samples it and tells whether it is fine after all; `finding` is made from
    the time it was watched if it never was, and reads nothing. `unsure` takes back what a first look alone had made of
    it; it is called when the watch was too short."""

    name: str
    cleared: Callable[[], bool]
    finding: Callable[[float], Finding]
    unsure: Callable[[], None] = _nothing
    watched_s: float = 0.0  # at its last sample
    trouble: str = ""  # why it could not be sampled again

    @property
    def reason(self) -> str:
        """Why the watch over it proves nothing."""
        return self.trouble or f"looks stuck, but was watched for {self.watched_s:.2f} s only; {LEAST_S:g} s are needed"


class Watched(NamedTuple):
    """What came of a watch; who is in neither list was cleared."""

    findings: list[Finding]
    undecided: list[Suspect]


def watch(suspects: list[Suspect], clock: Clock, limit_s: float = WATCH_S) -> Watched:
    """Sample the suspects until all are cleared or `limit_s` has passed. A read that ends too late ends the watch."""
    left = _watched(suspects, clock, limit_s) if suspects else []
    undecided = [suspect for suspect in left if suspect.trouble or suspect.watched_s < LEAST_S]
    for suspect in undecided:
        suspect.unsure()
    return Watched([suspect.finding(suspect.watched_s) for suspect in left if suspect not in undecided], undecided)


def _watched(suspects: list[Suspect], clock: Clock, limit_s: float) -> list[Suspect]:
    """Those that were not cleared."""
    left = list(suspects)
    start = clock.now()

    def sample() -> int:
        for suspect in list(left):
            if suspect.trouble:
                continue
            asked_s = clock.now() - start
            if _cleared(suspect):
                left.remove(suspect)
            suspect.watched_s = asked_s
        return sum(not suspect.trouble for suspect in left)

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
        pass  # of the watch, or of a read that came too late
    return left


def _cleared(suspect: Suspect) -> bool:
    try:
        return suspect.cleared()
    except (OutOfTime, DeviceLost):
        raise
    except GpumendError as error:
        suspect.trouble = reason_of(error)
        return False
