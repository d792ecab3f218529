"""Faults that only show when a GPU is brought up: the self-test's word among the findings of a probe, so that a ladder that
found nothing to do has something to go by.

Source: verdict.py gives a finding of a code that it does not know the reset of the whole chip (a hive's members together), and
the ladder a bus reset after it; NVIDIA's get an FLR first (nvidia-resets.md section 1). Nothing says which reset cures what a
self-test finds. NVIDIA's GPUs are tested through their driver: where that is gone nothing can be said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from base.errors import DeviceLost, Exit
from base.findings import Finding, ProbeReport, Severity
from base.resets import ResetReport
from base.selftest import SelftestReport
from probe.verdict import verdict
from resets.subject import Subject
from resets.verify import is_unanswered

AMD, NVIDIA = "amd.selftest", "nv.selftest"
Test = Callable[[Sequence[Subject]], Sequence[SelftestReport]]


@dataclass(slots=True)
class Tried:
    """A probe that tests, too: of `failed`, GPUs whose self-test has just failed, that is the answer to the first question;
    later they are tested again, but for those that the probe alone has something to say of."""

    plain: Callable[[Sequence[Subject]], list[ProbeReport]]
    test: Test
    failed: dict[int, SelftestReport]
    again: dict[int, SelftestReport] = field(default_factory=dict)  # the last answer of those that were tested again
    _told: set[int] = field(default_factory=set)

    def __call__(self, subjects: Sequence[Subject]) -> list[ProbeReport]:
        """Reports as the plain probe's, in its order."""
        reports = {report.index: report for report in self.plain(subjects)}
        mine = [one for one in subjects if one.index in self.failed]
        again = [one for one in mine if one.index in self._told and _seems_well(reports[one.index])]
        tested = {index: self.failed[index] for one in mine if (index := one.index) not in self._told}
        fresh = {result.index: result for result in (self.test(again) if again else ())}
        self.again |= fresh
        tested |= fresh
        self._told |= {one.index for one in mine}
        codes = {one.index: NVIDIA if one.part.is_nvidia else AMD for one in subjects}
        return [with_result(report, tested.get(index), codes[index]) for index, report in reports.items()]


def _seems_well(report: ProbeReport) -> bool:
    return not is_unanswered(report) and report.action == "none"


def with_result(report: ProbeReport, result: SelftestReport | None, code: str) -> ProbeReport:
    """The report with what the self-test found, if that was something."""
    if result is None or result.exit_code == Exit.OK:
        return report
    found = (*report.findings, finding_of(result, code))
    health, action = verdict(found, in_hive=bool(report.facts.get("in_hive")))
    return replace(report, findings=found, health=health, action=action)


def has_failed(result: SelftestReport, *, is_nvidia: bool) -> bool:
    """Whether the GPU is to blame: not where NVIDIA's driver, by which it is tested, is not there."""
    gone = result.exit_code == Exit.UNAVAILABLE and (not is_nvidia or isinstance(result.error, DeviceLost))
    return gone or result.exit_code == Exit.PROBLEM


def words_of(results: Iterable[SelftestReport], when: str = "") -> list[str]:
    """A line for each that was not ok: `self-test of GPU 0: failed: a copy engine fails`."""
    lines = []
    for result in results:
        if result.exit_code == Exit.OK:
            continue
        found = [f"{one.summary} ({one.seen})" for one in result.findings]
        why = [f"{result.error.doing}: {result.error.seen}"] if result.error and not found else []
        lines.append(": ".join((f"self-test of GPU {result.index}{when}", result.status, *found, *why)))
    return lines


def finding_of(result: SelftestReport, code: str) -> Finding:
    """An error when the test failed; unknown when it could not be made."""
    severity = Severity.ERROR if result.exit_code == Exit.PROBLEM else Severity.UNKNOWN
    failed = next(iter(result.findings), None)
    error = result.error
    return Finding(
        code,
        severity,
        f"the self-test: {result.status}" + (f": {failed.summary}" if failed else ""),
        (error.expected if error else failed.expected if failed else "") or "every check to pass",
        (error.seen if error else failed.seen if failed else "") or result.status,
        (error.where if error else failed.where if failed else "") or result.bdf,
        (error.next_step if error and severity is Severity.UNKNOWN else "") or "gpumend selftest",
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
