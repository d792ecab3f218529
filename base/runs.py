"""What a run of a scenario says of itself: one result for each iteration, one report of all.

Frozen, as findings are. Times in seconds: `seconds` on the GPUs' clock (virtual on a model), `wall_s` here.
Source: DESIGN section 5 (exit codes)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from base.errors import Exit, GpumendError
from base.findings import ProbeReport


class Word(StrEnum):
    """What became of one iteration, best first."""

    OK = "ok"
    UNVERIFIED = "unverified"  # done, and nothing proves it
    FAILED = "failed"  # something went wrong that the scenario does not count as reproduced
    REPRODUCED = "reproduced"


class RunOutcome(StrEnum):
    """What became of a whole run."""

    CLEAN = "not reproduced"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    REPRODUCED = "reproduced"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


EXIT_OF = {
    RunOutcome.CLEAN: Exit.OK,
    RunOutcome.UNVERIFIED: Exit.UNKNOWN,
    RunOutcome.FAILED: Exit.PROBLEM,
    RunOutcome.REPRODUCED: Exit.PROBLEM,
    RunOutcome.REFUSED: Exit.REFUSED,
    RunOutcome.INTERRUPTED: Exit.INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class Iteration:
    """One iteration. `why`: what reproduced or failed, in words."""

    number: int
    word: Word
    seconds: float
    wall_s: float
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run. `asked`: iterations at most; `folder`: where all of it lies; `samples`: times of the same work, where
    a scenario measures any; `throttled`: seconds in which each limit throttled; `restored`: whether the GPUs are as
    before (None: there was nothing to put back); `error`: what ended it before its time; `gpus`: what they were at
    the end."""

    scenario: str
    outcome: RunOutcome
    asked: int
    iterations: tuple[Iteration, ...]
    folder: str
    seconds: float
    wall_s: float
    samples: tuple[float, ...] = ()
    throttled: Mapping[str, float] = field(default_factory=dict)
    restored: bool | None = None
    notes: tuple[str, ...] = ()
    error: GpumendError | None = None
    gpus: tuple[ProbeReport, ...] = ()

    @property
    def exit_code(self) -> int:
        if self.outcome is RunOutcome.REFUSED and self.error is not None:
            return int(self.error.exit_code)
        return int(EXIT_OF[self.outcome])

    @property
    def reproduced(self) -> int:
        return sum(one.word is Word.REPRODUCED for one in self.iterations)

    @property
    def first(self) -> Iteration | None:
        """The first that reproduced; without one, the first that failed."""
        for word in (Word.REPRODUCED, Word.FAILED, Word.UNVERIFIED):
            for one in self.iterations:
                if one.word is word:
                    return one
        return None

    @property
    def incidence(self) -> str:
        """`k of n`"""
        return f"{self.reproduced} of {len(self.iterations)}"


def statistics(report: RunReport) -> dict[str, Any]:
    """Counts, incidence with its 95 % interval, times of iterations and of the same work; None: nothing to say."""
    done = len(report.iterations)
    low, high = interval(report.reproduced, done)
    times = [one.seconds for one in report.iterations]
    return {
        "done": done,
        **{str(word): sum(one.word is word for one in report.iterations) for word in Word},
        "incidence": report.incidence,
        "share": report.reproduced / done if done else None,
        "share_low": low,
        "share_high": high,
        "iteration_median_s": median(times),
        "iteration_max_s": max(times, default=None),
        "work": spread_of(report.samples),
        "throttled_s": dict(report.throttled),
    }


def interval(hits: int, tries: int) -> tuple[float | None, float | None]:
    """Wilson's interval of 95 % for a share: with few tries a share alone says little. (None, None) without tries."""
    if not tries:
        return None, None
    z = 1.959964
    share = hits / tries
    middle = (share + z * z / (2 * tries)) / (1 + z * z / tries)
    half = z * math.sqrt(share * (1 - share) / tries + z * z / (4 * tries * tries)) / (1 + z * z / tries)
    return max(0.0, middle - half), min(1.0, middle + half)


def median(values: Sequence[float]) -> float | None:
    """None without values."""
    if not values:
        return None
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread_of(samples: Sequence[float]) -> dict[str, float] | None:
    """How far times of the same work lie apart; `spread_percent` of the median. None with fewer than two."""
    middle = median(samples)
    if middle is None or len(samples) < 2 or middle <= 0:
        return None
    low, high = min(samples), max(samples)
    return {
        "count": float(len(samples)), "median_s": middle, "min_s": low, "max_s": high,
        "spread_percent": (high - low) / middle * 100,
    }  # fmt: skip
