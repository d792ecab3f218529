"""What an iteration came to: which conditions of the scenario hold, what else went wrong, what could not be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from base.findings import Health, ProbeReport, Severity
from base.runs import Word, spread_of
from repro.modules import Done
from repro.scenario import Scenario
from repro.watching import Seen

BY_ACTION = ("failed",)
FROM_THE_KERNEL = ("kernel_log", "devcoredump")


@dataclass(slots=True)
class Facts:
    """All that was seen in one iteration. `samples`: of the whole run so far."""

    actions: dict[str, Done] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    after: Sequence[ProbeReport] = ()
    samples: Sequence[float] = ()
    throttled: Mapping[str, float] = field(default_factory=dict)


def known_before(reports: Sequence[ProbeReport]) -> dict[int, frozenset[str]]:
    """The findings that were there before anything was done, by GPU: they are not the scenario's doing."""
    return {
        report.index: frozenset(one.code for one in report.findings if one.severity.rank >= Severity.WARNING.rank)
        for report in reports
    }


def new_findings(
    reports: Sequence[ProbeReport], before: Mapping[int, frozenset[str]]
) -> list[tuple[ProbeReport, str, str]]:
    """(report, code, summary) of everything that is worse than before."""
    return [
        (report, one.code, one.summary)
        for report in reports
        for one in report.findings
        if one.severity.rank >= Severity.WARNING.rank and one.code not in before.get(report.index, frozenset())
    ]


def judge(scenario: Scenario, facts: Facts, before: Mapping[int, frozenset[str]]) -> tuple[Word, tuple[str, ...]]:
    """The iteration's word, and why in words."""
    fresh = new_findings(facts.after, before)
    reproduced = list(
        dict.fromkeys(why for one in scenario.reproduced for why in _holds(one.kind, one.value, facts, fresh))
    )
    if reproduced:
        return Word.REPRODUCED, tuple(reproduced)
    failed = [f"{name} {done.status}{_why(done)}" for name, done in facts.actions.items() if done.status == "failed"]
    failed += [_finding_words(*one) for one in fresh]
    if failed:
        return Word.FAILED, tuple(failed)
    doubts = [
        f"{name} could not be verified{_why(done)}"
        for name, done in facts.actions.items()
        if done.status == "unverified"
    ]
    doubts += [
        f"GPU {report.index} ({report.bdf}): its health could not be told"
        for report in facts.after
        if report.health is Health.UNKNOWN
    ]
    if any(one.kind in FROM_THE_KERNEL for one in scenario.reproduced):
        doubts += dict.fromkeys(
            f"what the kernel says was not all seen: {one.blind}" for one in facts.seen if one.blind
        )
    return (Word.UNVERIFIED, tuple(doubts)) if doubts else (Word.OK, ())


def _holds(kind: str, value: object, facts: Facts, fresh: Sequence[tuple[ProbeReport, str, str]]) -> list[str]:
    if kind == "finding":
        return [_finding_words(*one) for one in fresh if fnmatchcase(one[1], str(value))]
    if kind == "action":
        done = facts.actions.get(str(value))
        return [f"{value} failed{_why(done)}"] if done is not None and done.status in BY_ACTION else []
    if kind == "kernel_log":
        return [f"kernel log, {name}: {line}" for seen in facts.seen for name, line in seen.matches if name == value][
            :4
        ]
    if kind == "devcoredump":
        return [f"core dump {name}" for seen in facts.seen for name in seen.dumps]
    if kind == "throttled":
        return [
            f"throttled by {name} for {seconds * 1e3:.3g} ms of the work" for name, seconds in facts.throttled.items()
        ]
    spread = spread_of(facts.samples)
    limit = float(str(value))
    if spread is None or spread["spread_percent"] <= limit:
        return []
    low, high = spread["min_s"] * 1e3, spread["max_s"] * 1e3
    return [
        f"{spread['count']:.0f} times of the same work: {low:.4g} to {high:.4g} ms, {spread['spread_percent']:.1f} % apart"
    ]


def _finding_words(report: ProbeReport, code: str, summary: str) -> str:
    return f"GPU {report.index} ({report.bdf}): {summary} [{code}]"


def _why(done: Done | None) -> str:
    if done is None or done.error is None:
        return ""
    return f": {done.error.doing} {done.error.verb}{f': {done.error.seen}' if done.error.seen else ''}".replace(
        "\n", " "
    )[:400]
