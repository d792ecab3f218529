"""One cell of the matrix of resets: a reset as `gpumend.reset_gpus` does it, without a bundle, and what came of it in words."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import gpumend
from base.resets import Outcome, ResetReport, StepStatus
from resets.around import situation
from resets.climb import Means, Request
from resets.journal import Journal
from resets.makeway import Way
from resets.mechanics import DriverMechanic
from resets.session import reset_all
from resets.subject import Subject

BUDGET_S = 900.0
MARKS = {
    StepStatus.VERIFIED: "",
    StepStatus.PARTLY: "~",
    StepStatus.UNVERIFIED: "?",
    StepStatus.FAILED: "✗",
    StepStatus.WORSE: "!",
}


def reset_once(found: list[gpumend.Gpu], request: Request | None = None, *, makes_way: bool = False) -> ResetReport:
    """`makes_way`: with --unbind and --kill-holders. The journal lies in memory's file system."""

    def files(subject: Subject) -> object:
        return getattr(subject.transport, "files", None)

    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        means = Means(
            probe=lambda subjects: gpumend.probe_gpus([gpu for gpu in found if gpu in subjects]),
            mechanic=DriverMechanic(firmware_dirs=None, files=files),  # type: ignore[arg-type]
            around=partial(situation),
            way=Way(unbind=makes_way, kill_holders=makes_way, files=files),  # type: ignore[arg-type]
            evidence=lambda subjects, reports, action: "left out",
            journal=Journal(Path(folder) / "resets.jsonl"),
        )
        return reset_all(found, found, request or Request(budget_s=BUDGET_S), means)


def words_of(report: ResetReport, index: int) -> str:
    """`mec-reset: healthy, 1.02 s` or `bus-reset: power-cycle, 303 s` or `refused`, of the GPU that was sick."""
    sick = next(one for one in report.gpus if one.index == index)
    steps = " > ".join(step.method + MARKS[step.status] for step in report.steps)
    if sick.outcome is Outcome.HEALTHY and not steps:
        return "nothing to do"
    if sick.outcome is Outcome.REFUSED and not steps:
        answer = f": **{sick.answer}**" if str(sick.answer) in ("node-reboot", "restart-app", "contact-vendor") else ""
        return f"refused ({sick.after.health}){answer}"
    if sick.outcome is Outcome.UNKNOWN and not steps:
        return "could not tell"
    end = str(sick.after.health) if sick.exit_code == 0 else f"**{sick.answer}**"
    return f"{steps}: {end}, {report.seconds:.2f} s"


def line_of(faults: str, told: list[str]) -> str:
    """One row of the page."""
    return f"| {' + '.join(f'`{one}`' for one in faults.split(','))} | {' | '.join(told)} |"


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
