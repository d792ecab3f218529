"""From GPUs and a request to one report: probe, group, climb each group, sum up. What stands behind `gpumend.reset`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from base.findings import Action, ProbeReport
from base.resets import GpuOutcome, Outcome, ResetReport, ResetStep
from resets.climb import Means, Request, climb
from resets.grouping import Group, by_machine, group_up
from resets.preview import Preview, preview
from resets.safety import unfit_part
from resets.subject import Subject


def reset_all(everyone: Sequence[Subject], wanted: Sequence[Subject], request: Request, means: Means) -> ResetReport:
    """Bring the wanted GPUs back, one hive (or lone GPU) after the other; `everyone`: all that can be reached.

    Raises nothing that a GPU, a driver or a process did; NotPermitted and Unavailable where the journal or the evidence
    cannot be written: then nothing was done."""
    wall = time.monotonic()
    clocks = {id(one.clock): one.clock for one in wanted}
    started = {name: clock.now() for name, clock in clocks.items()}
    reports, fit, outcomes = _sorted_out(everyone, wanted, means)
    steps: list[ResetStep] = []
    finished: list[str] = []
    notes: list[str] = []
    groups = group_up(fit, everyone, reports)
    hit = [one for group in groups for one in group.everyone]
    means.covers = (hit, [reports[one.index] for one in hit])
    for group in groups:
        if means.asked:
            outcomes += [_not_begun(reports[one.index], means.asked.signal_name) for one in group.wanted]
            continue
        first = {one.index: reports[one.index] for one in group.everyone}
        result = climb(group, request, means, first, number=len(steps) + 1)
        outcomes += result.outcomes
        steps += result.steps
        finished += [result.finished] * bool(result.finished)
        notes += result.notes
    seconds = sum(clock.now() - started[name] for name, clock in clocks.items())
    order = {one.index: place for place, one in enumerate((*wanted, *everyone))}
    return ResetReport(
        request.method,
        tuple(sorted(outcomes, key=lambda one: order[one.index])),
        tuple(steps),
        seconds,
        time.monotonic() - wall,
        touched=tuple(sorted({gpu for step in steps for gpu in step.gpus})),
        evidence=means.bundle,
        finished="; ".join(finished),
        notes=tuple(notes),
    )


def preview_all(
    everyone: Sequence[Subject], wanted: Sequence[Subject], request: Request, means: Means
) -> tuple[list[Preview], list[GpuOutcome]]:
    """What `reset_all` would do, by group; and those that are never reset, with why. Writes nothing."""
    reports, fit, outcomes = _sorted_out(everyone, wanted, means)
    groups = group_up(fit, everyone, reports)
    return [preview(group, request, means, _of(group, reports)) for group in groups], outcomes


def _of(group: Group, reports: dict[int, ProbeReport]) -> dict[int, ProbeReport]:
    return {one.index: reports[one.index] for one in group.everyone}


def _sorted_out(
    everyone: Sequence[Subject], wanted: Sequence[Subject], means: Means
) -> tuple[dict[int, ProbeReport], list[Subject], list[GpuOutcome]]:
    """Everybody's report, those that may be reset at all, and the outcomes of those that may not."""
    reports = {report.index: report for part in by_machine(everyone) for report in means.probe(part)}
    fit: list[Subject] = []
    outcomes: list[GpuOutcome] = []
    for one in wanted:
        refusal = unfit_part(one.part, one.bdf)
        if refusal is None:
            fit.append(one)
            continue
        report = reports[one.index]
        outcomes.append(GpuOutcome(report, report, Outcome.REFUSED, report.action, refusal.seen, refusal))
    return reports, fit, outcomes


def _not_begun(report: ProbeReport, signal_name: str) -> GpuOutcome:
    return GpuOutcome(
        report, report, Outcome.INTERRUPTED, Action.NONE, f"interrupted by {signal_name}: nothing was begun"
    )
