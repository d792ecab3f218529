"""The same reset again and again: how often it works, how long it takes, and what the first failure looked like.

Source: user-wants.md section F 10. Times on the GPU's clock: from the first step's begin to the last step's end of a round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from base.errors import Exit
from base.resets import Outcome, ResetReport, StepStatus

MOST_ROUNDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """One reset of a soak. `seconds`: what its steps took together; `climbed`: a method failed and a later one helped."""

    number: int
    report: ResetReport

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.report.steps)

    @property
    def ok(self) -> bool:
        """Every GPU was recovered by the first method that was tried."""
        return self.report.exit_code == Exit.OK and not self.report.method_failed

    @property
    def climbed(self) -> bool:
        return self.report.exit_code == Exit.OK and self.report.method_failed

    @property
    def word(self) -> str:
        return "ok" if self.ok else "climbed" if self.climbed else "failed"


@dataclass(frozen=True, slots=True)
class SoakReport:
    """`asked`: how many rounds; `interrupted`: somebody ended it; `first_failure`: the first round in which some method failed,
    and `evidence`, the bundle that was written then; `last_evidence`: of the last round, if it failed too. However many rounds
    there are, these two are all that is kept, beside the one from before the first round."""

    asked: int
    rounds: tuple[Round, ...]
    interrupted: bool = False
    evidence: str = ""
    last_evidence: str = ""

    @property
    def ok(self) -> int:
        return sum(one.ok for one in self.rounds)

    @property
    def climbed(self) -> int:
        return sum(one.climbed for one in self.rounds)

    @property
    def failed(self) -> int:
        return len(self.rounds) - self.ok - self.climbed

    @property
    def rate(self) -> float | None:
        """Share of rounds in which the first method did it; None before the first round."""
        return self.ok / len(self.rounds) if self.rounds else None

    @property
    def first_failure(self) -> Round | None:
        return next((one for one in self.rounds if not one.ok), None)

    @property
    def seconds(self) -> list[float]:
        """Of the rounds that brought the GPUs back, whoever did it."""
        return [one.seconds for one in self.rounds if one.ok or one.climbed]

    @property
    def exit_code(self) -> int:
        """1 when a method failed, though a later one may have helped; else an interrupt; else the worst of the rounds."""
        codes = [one.report.exit_code for one in self.rounds]
        if any(one.climbed or one.report.exit_code == Exit.PROBLEM for one in self.rounds):
            return int(Exit.PROBLEM)
        if self.interrupted:
            return int(Exit.INTERRUPTED)
        return max(codes, default=int(Exit.OK))

    def to_dict(self) -> dict[str, Any]:
        first = self.first_failure
        times = self.seconds
        return {
            "asked": self.asked,
            "rounds": len(self.rounds),
            "ok": self.ok,
            "climbed": self.climbed,
            "failed": self.failed,
            "rate": self.rate,
            "median_s": quantile(times, 0.5),
            "p95_s": quantile(times, 0.95),
            "max_s": max(times, default=None),
            "first_failure": None if first is None else first.number,
            "interrupted": self.interrupted,
            "evidence": self.evidence,
            "last_evidence": self.last_evidence,
        }


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def soak(
    rounds: int,
    once: Callable[[int], ResetReport],
    *,
    until_failure: bool = False,
    capture: Callable[[Round], str] = lambda one: "",
    on_round: Callable[[SoakReport], None] = lambda report: None,
    asked: Callable[[], bool] = lambda: False,
) -> SoakReport:
    """Run `once` (it gets the round's number) up to `rounds` times.

    With `until_failure` it ends at the first round after which the GPUs are not well, or that could not be verified; it always
    ends after a refusal, after a step that made something worse, and when somebody asks to stop. `capture` writes evidence of
    the first failure, and of the last round if that failed too: no other bundle is made."""
    done: list[Round] = []
    evidence = ""
    interrupted = False
    while len(done) < min(rounds, MOST_ROUNDS) and not interrupted:
        try:
            one = Round(len(done) + 1, once(len(done) + 1))
        except KeyboardInterrupt:
            interrupted = True
            break
        done.append(one)
        if not one.ok and not evidence:
            evidence = capture(one)
        interrupted = asked()
        on_round(SoakReport(rounds, tuple(done), interrupted, evidence))
        if _ends(one, until_failure):
            break
    report = SoakReport(rounds, tuple(done), interrupted, evidence)
    if not done or done[-1].ok or done[-1] is report.first_failure:
        return report
    return replace(report, last_evidence=capture(done[-1]))


def _ends(one: Round, until_failure: bool) -> bool:
    """Nothing is reset again after a step that made something worse, a refusal, or an answer that could not be had."""
    if one.report.exit_code == Exit.OK:
        return False
    worse = any(step.status is StepStatus.WORSE for step in one.report.steps)
    tried = all(gpu.outcome in (Outcome.FAILED, Outcome.RECOVERED, Outcome.UNVERIFIED) for gpu in one.report.gpus)
    return until_failure or worse or not tried


def chart(values: Sequence[float], words: Sequence[str], width: int = 60) -> list[tuple[str, str]]:
    """A bar of blocks, one column for one round or (when they are many) for several: (character, worst word of it)."""
    if not values:
        return []
    per = math.ceil(len(values) / width)
    top = max(values) or 1.0
    blocks = "▁▂▃▄▅▆▇█"
    bars = []
    for at in range(0, len(values), per):
        part, told = values[at : at + per], words[at : at + per]
        height = min(len(blocks) - 1, int(max(part) / top * (len(blocks) - 1) + 0.5))
        worst = "failed" if "failed" in told else "climbed" if "climbed" in told else "ok"
        bars.append(("x" if worst == "failed" else blocks[height], worst))
    return bars
