"""Faults that only show when a GPU is brought up: the self-test's word among the findings of a probe, so that a ladder that
found nothing to do has something to go by.

Source: verdict.py gives a finding of a code that it does not know the reset of the whole chip (a hive's members together), and
the ladder a bus reset after it. Nothing says which reset cures what a self-test finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from base.errors import Exit
from base.findings import Finding, ProbeReport, Severity
from base.resets import ResetReport
from base.selftest import SelftestReport
from probe.verdict import verdict
from resets.subject import Subject
from resets.verify import is_unanswered

CODE = "amd.selftest"
Test = Callable[[Sequence[Subject]], Sequence[SelftestReport]]


@dataclass(slots=True)
class Tried:
    """A probe that tests, too: of `failed`, GPUs whose self-test has just failed, that is the answer to the first question;
    later they are tested again, but for those that the probe alone has something to say of."""

    plain: Callable[[Sequence[Subject]], list[ProbeReport]]
    test: Test
    failed: dict[int, SelftestReport]
    _told: set[int] = field(default_factory=set)

    def __call__(self, subjects: Sequence[Subject]) -> list[ProbeReport]:
        """Reports as the plain probe's, in its order."""
        reports = {report.index: report for report in self.plain(subjects)}
        mine = [one for one in subjects if one.index in self.failed]
        again = [one for one in mine if one.index in self._told and _seems_well(reports[one.index])]
        tested = {index: self.failed[index] for one in mine if (index := one.index) not in self._told}
        tested |= {result.index: result for result in (self.test(again) if again else ())}
        self._told |= {one.index for one in mine}
        return [with_result(report, tested.get(index)) for index, report in reports.items()]


def _seems_well(report: ProbeReport) -> bool:
    return not is_unanswered(report) and report.action == "none"


def with_result(report: ProbeReport, result: SelftestReport | None) -> ProbeReport:
    """The report with what the self-test found, if that was something."""
    if result is None or result.exit_code == Exit.OK:
        return report
    found = (*report.findings, finding_of(result))
    health, action = verdict(found, in_hive=bool(report.facts.get("in_hive")))
    return replace(report, findings=found, health=health, action=action)


def finding_of(result: SelftestReport) -> Finding:
    """An error when the test failed; unknown when it could not be made."""
    severity = Severity.ERROR if result.exit_code == Exit.PROBLEM else Severity.UNKNOWN
    failed = next(iter(result.findings), None)
    error = result.error
    return Finding(
        CODE,
        severity,
        f"the self-test: {result.status}" + (f": {failed.summary}" if failed else ""),
        (error.expected if error else failed.expected if failed else "") or "every check to pass",
        (error.seen if error else failed.seen if failed else "") or result.status,
        (error.where if error else failed.where if failed else "") or result.bdf,
        "gpumend selftest",
    )


def merged(first: ResetReport, second: ResetReport) -> ResetReport:
    """Two climbs as one: what the second one says of a GPU holds, and how it was before the first."""
    later = {one.index: one for one in second.gpus}
    offset = len(first.steps)
    gpus = [replace(later.pop(one.index), before=one.before) if one.index in later else one for one in first.gpus]
    return replace(
        second,
        gpus=(*gpus, *later.values()),
        steps=(*first.steps, *(replace(step, number=step.number + offset) for step in second.steps)),
        seconds=first.seconds + second.seconds,
        wall_s=first.wall_s + second.wall_s,
        touched=tuple(sorted({*first.touched, *second.touched})),
        evidence=second.evidence or first.evidence,
        finished="; ".join(filter(None, (first.finished, second.finished))),
        notes=(*first.notes, *second.notes),
    )
