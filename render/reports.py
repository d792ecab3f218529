"""Findings and probe reports on paper: for the eye, as rows, as one JSON document."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from base.errors import GpumendError
from base.findings import Action, Finding, Health, ProbeReport, Severity, graver
from render.text import Printer, Table, clean, style_of

SCHEMA = 1
LONG_TEXT = 200  # characters


def document(command: str, **body: Any) -> str:
    """The one JSON document that a command prints (docs/json.md). Bytes appear as hex, control characters escaped."""
    text = json.dumps({"schema": SCHEMA, "command": command, **body}, indent=2, default=_plain)
    return text.replace("\x7f", "\\u007f") + "\n"  # the one control character that json leaves as it is


def _plain(value: object) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def error_body(error: GpumendError) -> dict[str, Any]:
    """An error as JSON: the same four answers that the text form gives."""
    return {
        "kind": type(error).__name__,
        "doing": error.doing,
        "expected": error.expected,
        "seen": error.seen,
        "where": error.where,
        "next": error.next_step,
        "exit": int(error.exit_code),
    }


def error_lines(error: GpumendError) -> list[str]:
    """An error for the eye: what we were doing, then expected / seen / where / next, each on one line whatever it holds,
    but for long texts: those have a line for each part."""
    rows = (("expected", error.expected), ("seen", error.seen), ("where", error.where), ("next", error.next_step))
    told = [
        f"  {label if first else '':<9} {clean(part)}" for label, text in rows if text for first, part in parts_of(text)
    ]
    return [clean(f"{error.doing} {error.verb}".rstrip()), *told]


def parts_of(text: str) -> list[tuple[bool, str]]:
    """A long text, as a stuck engine gives, part by part as it was put together; (is it the first, part)."""
    parts = text.split("; ") if len(text) > LONG_TEXT else [text]
    return [(not number, part) for number, part in enumerate(parts)]


def print_finding(printer: Printer, finding: Finding, indent: str = "  ") -> None:
    """Summary with its code, then expected / seen / where / next, each on its own line."""
    severity = str(finding.severity)
    printer.spans(
        (indent, ""), (severity, style_of(severity)), (f"  {finding.summary}  ", ""), (f"[{finding.code}]", "dim")
    )
    rows = (("expected", finding.expected), ("seen", finding.seen), ("where", finding.where), ("next", finding.next))
    for label, text in rows:
        for first, part in parts_of(text) if text else ():
            printer.labelled(label if first else "", part, indent + "  ")


def print_findings(printer: Printer, findings: Sequence[Finding], indent: str = "  ") -> None:
    for finding in graver(list(findings)):
        print_finding(printer, finding, indent)


def summary_table(reports: Sequence[ProbeReport]) -> Table:
    """One row a GPU: the overview above the reasons."""
    rows = [
        (report.index, report.bdf, report.part, report.arch, report.health, report.action, _codes(report))
        for report in reports
    ]
    return Table(("gpu", "bdf", "part", "arch", "health", "action", "findings"), rows, states=frozenset({"health"}))


def _codes(report: ProbeReport) -> str:
    shown = [finding.code for finding in graver(list(report.findings)) if finding.severity != Severity.NOTE]
    return ", ".join(dict.fromkeys(shown)) or "-"


def print_probe(printer: Printer, reports: Sequence[ProbeReport], *, notes: bool = False) -> None:
    """The overview, then for each GPU that needs it the reasons and what to do."""
    printer.table(summary_table(reports))
    for report in reports:
        told = [item for item in report.findings if notes or item.severity != Severity.NOTE]
        if not told:
            continue
        printer.line()
        health = str(report.health)
        printer.spans(
            (f"GPU {report.index} {report.bdf} {report.part}: ", "bold"),
            (health, style_of(health)),
            (f", action {report.action}", ""),
        )
        print_findings(printer, told)
        owner = owner_line(report.facts)
        if owner:
            printer.line(f"  {owner}")
    printer.line()
    printer.line(closing_line(reports))


_HIVE_WIDE = frozenset({Action.HIVE_RESET, Action.BUS_RESET})


def owner_line(facts: Mapping[str, Any]) -> str:
    """`driver amdgpu; held by pid 4242 python3 (docker ab12)`; "" where nobody is known to hold the GPU."""
    words = []
    driver = (facts.get("pci") or {}).get("driver")
    if driver:
        words.append(f"driver {driver}")
    holders = facts.get("holders") or {}
    processes = holders.get("processes", ())
    held = [f"pid {item['pid']} {item['command'] or '?'}" + _container(item) for item in processes[:8]]
    if held:
        more = f" and {len(processes) - 8} more" if len(processes) > 8 else ""
        words.append(f"held by {', '.join(held)}{more}")
    if holders.get("complete") is False:
        words.append("not all processes could be seen")
    return "; ".join(words)


def _container(holder: Mapping[str, Any]) -> str:
    return f" ({holder['container']})" if holder.get("container") else ""


def closing_line(reports: Sequence[ProbeReport]) -> str:
    """`6 of 8 healthy, 2 hung; gravest action: bus-reset (GPU 5)`"""
    counts = Counter(report.health for report in reports)
    words = [f"{counts[Health.HEALTHY]} of {len(reports)} healthy"]
    words += [
        f"{counts[health]} {health}" for health in reversed(Health) if health != Health.HEALTHY and counts[health]
    ]
    gravest = max((report.action for report in reports), key=lambda action: action.rank, default=Action.NONE)
    if gravest == Action.NONE:
        return ", ".join(words)
    who = ", ".join(str(report.index) for report in reports if report.action == gravest)
    wide = "; in a hive it takes all members together" if gravest in _HIVE_WIDE and len(reports) > 1 else ""
    return f"{', '.join(words)}; gravest action: {gravest} (GPU {who}){wide}"


def findings_table(reports: Sequence[ProbeReport]) -> Table:
    """One row a finding (a healthy GPU has one row without): for --csv."""
    columns = (
        "gpu", "bdf", "part", "arch", "health", "action", "code", "severity", "summary", "expected", "seen", "where", "next"
    )  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for report in reports:
        head = (report.index, report.bdf, report.part, report.arch, report.health, report.action)
        if not report.findings:
            rows.append((*head, "", "", "", "", "", "", ""))
        for item in report.findings:
            rows.append(
                (*head, item.code, item.severity, item.summary, item.expected, item.seen, item.where, item.next)
            )
    return Table(columns, rows)
