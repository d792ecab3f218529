"""What a person reads of a run: what was done, how often it reproduced, on what, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from base.runs import RunReport, statistics
from repro.scenario import Action, Scenario

_SHOWN = 12


def run_text(scenario: Scenario, report: RunReport, settings: Mapping[str, Any]) -> str:
    """`report.md` of the run's folder."""
    numbers = statistics(report)
    first = report.first
    rows = [f"# {scenario.name}: {report.outcome}", "", f"{scenario.shows[:1].upper()}{scenario.shows[1:]}.", ""]
    if scenario.details:
        rows += [scenario.details, ""]
    rows += ["## Result", "", f"- iterations: {numbers['done']} of {report.asked} asked for"]
    rows += [f"- incidence: {report.incidence}{_interval(numbers)}"]
    if first is not None:
        rows += [f"- first at iteration {first.number} ({first.word}):", *(f"  - {why}" for why in first.why[:_SHOWN])]
    if numbers["work"] is not None:
        work = numbers["work"]
        rows += [
            f"- the same work {work['count']:.0f} times: median {work['median_s'] * 1e3:.4g} ms, {work['min_s'] * 1e3:.4g} to "
            f"{work['max_s'] * 1e3:.4g} ms, spread {work['spread_percent']:.2f} %"
        ]
        told = ", ".join(f"{name} {seconds * 1e3:.3g} ms" for name, seconds in report.throttled.items())
        rows += [f"- throttled: {told or 'not counted'}"]
    if report.restored is not None:
        rows += [f"- GPUs as before afterwards: {'yes' if report.restored else 'NO'}"]
    rows += [f"- {note}" for note in report.notes]
    rows += ["", "## Steps", ""]
    rows += [f"{number}. {line}" for number, line in enumerate(steps_of(scenario), start=1)]
    rows += ["", "Counts as reproduced:", "", *(f"- {one.words}" for one in scenario.reproduced), ""]
    rows += ["## To repeat it", "", f"    {settings.get('command', '')}", "", "## Versions", ""]
    rows += [f"- {name}: {value}" for name, value in dict(settings.get("versions", {})).items()]
    return "\n".join(rows).rstrip("\n") + "\n"


def steps_of(scenario: Scenario) -> list[str]:
    """One iteration in words."""
    lines = [_words(action) for action in scenario.actions]
    again = [f"again, {scenario.count} times at most"] if scenario.count > 1 else []
    return [*lines, "probe every GPU; look at what the watchers saw", *again]


def restore_of(scenario: Scenario) -> list[str]:
    """What is done afterwards to GPUs that are not as before."""
    return [_words(action) for action in scenario.restore]


def _words(action: Action) -> str:
    extra = ", ".join(f"{name} {value}" for name, value in action.settings.items())
    often = f", {action.count} times" if action.count > 1 else ""
    return f"{action.name}: {action.module}{f' ({extra})' if extra else ''} on {action.device}{often}"


def _interval(numbers: Mapping[str, Any]) -> str:
    low, high = numbers["share_low"], numbers["share_high"]
    return "" if low is None else f" (95 % interval of the share: {low:.0%} to {high:.0%})"
