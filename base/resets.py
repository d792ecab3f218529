"""What a reset says of itself: one step for each method that was tried, one outcome for each GPU, one report of it all.

Frozen, as findings are. Success is a claim with its proof beside it: a step tells how it was shown that the reset took
place, and what differs from before. Times in seconds: `seconds` on the GPU's clock, `wall_s` here.
Source: DESIGN section 5 (exit codes) and section 6 rules 4 to 6."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from base.errors import Exit, GpumendError
from base.findings import Action, ProbeReport


class StepStatus(StrEnum):
    """What became of one method. Only `verified` is success."""

    VERIFIED = "verified"  # it took place, and what it was to cure is gone
    UNVERIFIED = "unverified"  # it was carried out, and nothing proves it
    PARTLY = "partly"  # it took place; something is still wrong
    FAILED = "failed"  # it did not take place, or it ended in an error
    WORSE = "worse"  # something is worse than before: nothing more is tried


class Outcome(StrEnum):
    """What became of one GPU."""

    HEALTHY = "healthy"  # there was nothing to do
    RECOVERED = "recovered"  # done and verified
    UNVERIFIED = "unverified"  # done, but it could not be verified
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"  # its state could not be told, so no method could be chosen
    INTERRUPTED = "interrupted"
    WOULD = "would be reset"  # dry run


EXIT_OF = {
    Outcome.HEALTHY: Exit.OK,
    Outcome.RECOVERED: Exit.OK,
    Outcome.WOULD: Exit.OK,
    Outcome.UNVERIFIED: Exit.UNKNOWN,
    Outcome.UNKNOWN: Exit.UNKNOWN,
    Outcome.FAILED: Exit.PROBLEM,
    Outcome.REFUSED: Exit.REFUSED,
    Outcome.INTERRUPTED: Exit.INTERRUPTED,
}


@dataclass(frozen=True, slots=True)
class ResetStep:
    """One method, carried out once. `gpus`: indices of those that it was meant for; `stages`: how far it got, by name;
    `proof`: how it was shown that it took place; `changed`: what differs from before, one line each."""

    number: int
    method: str
    action: Action
    gpus: tuple[int, ...]
    status: StepStatus
    seconds: float
    wall_s: float
    why: str
    proof: str = ""
    stages: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    error: GpumendError | None = None


@dataclass(frozen=True, slots=True)
class GpuOutcome:
    """One GPU: before and after, and what would help now (`answer`, NONE: nothing is needed)."""

    before: ProbeReport
    after: ProbeReport
    outcome: Outcome
    answer: Action = Action.NONE
    reason: str = ""
    error: GpumendError | None = None

    @property
    def index(self) -> int:
        return self.before.index

    @property
    def exit_code(self) -> int:
        if self.outcome is Outcome.REFUSED and self.error is not None:
            return int(self.error.exit_code)
        return int(EXIT_OF[self.outcome])


@dataclass(frozen=True, slots=True)
class ResetReport:
    """One `reset`: `method` as it was asked for; `touched`: indices of all GPUs that some step hit, asked for or not;
    `evidence`: folder of the bundle that was written first, "" when nothing was begun; `finished`: what an earlier run
    had begun and not ended."""

    method: str
    gpus: tuple[GpuOutcome, ...]
    steps: tuple[ResetStep, ...]
    seconds: float
    wall_s: float
    touched: tuple[int, ...] = ()
    evidence: str = ""
    finished: str = ""
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """An interrupt first, then 1, then a refusal or what else kept it from being done, then 2, then 0."""
        codes = {gpu.exit_code for gpu in self.gpus}
        for code in (Exit.INTERRUPTED, Exit.PROBLEM):
            if code in codes:
                return int(code)
        rest = codes - {int(Exit.OK), int(Exit.UNKNOWN)}
        return max(rest) if rest else int(Exit.UNKNOWN) if Exit.UNKNOWN in codes else int(Exit.OK)

    @property
    def method_failed(self) -> bool:
        """Whether some method did not do what it should, whatever came after it."""
        return any(step.status is not StepStatus.VERIFIED for step in self.steps)


def numbers(values: Iterable[int]) -> str:
    """`0-3, 5, 7`"""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}-{b}" if b > a + 1 else f"{a}, {b}" for a, b in runs)


def plain(step: ResetStep) -> dict[str, Any]:
    """Plain JSON values, but for `error`, which whoever prints knows how to show."""
    return {
        "number": step.number,
        "method": step.method,
        "action": str(step.action),
        "gpus": list(step.gpus),
        "status": str(step.status),
        "seconds": round(step.seconds, 6),
        "wall_s": round(step.wall_s, 3),
        "why": step.why,
        "proof": step.proof,
        "stages": list(step.stages),
        "changed": list(step.changed),
    }
