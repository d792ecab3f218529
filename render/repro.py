"""Scenarios and their runs as text and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from render.text import Printer, Table

_SHOWN = 10
_COLOURS = {
    "not reproduced": "green", "ok": "green", "reproduced": "bold red", "failed": "bold red", "unverified": "yellow",
    "refused": "yellow", "interrupted": "yellow",
}  # fmt: skip


def list_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = ("name", "through", "count", "parts", "shows")
    cells = [tuple(", ".join(row[name]) if name == "parts" else row[name] for name in names) for row in rows]
    return Table(names, cells)


def print_list(printer: Printer, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        printer.spans((row["name"], "bold"), (f"  through {_through(row)}, {_times(row['count'])}", "dim"))
        printer.line(f"    {row['shows']}")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times at most"


def _through(row: Mapping[str, Any]) -> str:
    return "amdgpu" if row["through"] == "driver" else "gpumend's own driver"


def show_table(row: Mapping[str, Any]) -> Table:
    cells = [(one["name"], one["module"], one["device"], one["count"]) for one in row["actions"]]
    return Table(("action", "module", "device", "count"), cells)


def print_scenario(printer: Printer, row: Mapping[str, Any], steps: Sequence[str], restore: Sequence[str]) -> None:
    printer.heading(row["name"])
    printer.line(f"  {row['shows']}")
    if row["details"]:
        printer.labelled("why", row["details"], "  ")
    printer.labelled("parts", ", ".join(row["parts"]), "  ")
    printer.labelled("through", _through(row), "  ")
    needs = ", ".join(f"{name} {value}" for name, value in row["needs"].items() if value not in ("", False))
    printer.labelled("needs", needs, "  ")
    printer.labelled("destroys", row["destroys"] or "nothing", "  ")
    for number, line in enumerate(steps, start=1):
        printer.labelled(f"step {number}", line, "  ")
    for line in restore:
        printer.labelled("restore", f"if the GPUs are not as before: {line}", "  ")
    printer.labelled("watched", ", ".join(row["watch"]) or "nothing", "  ")
    for name, pattern in row["kernel_log"].items():
        printer.labelled("log", f"{name}: {pattern}", "  ")
    for one in row["reproduced"]:
        printer.labelled("counts", "; ".join(f"{kind} {value}" for kind, value in one.items()), "  ")
    for one in row["parameters"]:
        told = f"{one['name']}={one['value']}: {one['help']} ({one['range']})"
        printer.labelled("-p", told, "  ")
    printer.labelled("put back", row["put_back"] or "nothing is to be put back", "  ")
    if row["rehearse"]:
        model = f"model:{row['rehearse']['model']}?fault={row['rehearse']['fault']}"
        printer.labelled("try it", f"gpumend --on '{model}' repro run {row['name']} --yes", "  ")
    if row["source"]:
        printer.labelled("source", row["source"], "  ")


def run_table(row: Mapping[str, Any]) -> Table:
    cells = [
        (one["number"], one["word"], one["seconds"], one["wall_s"], "; ".join(one["why"])) for one in row["iterations"]
    ]
    return Table(("iteration", "word", "seconds", "wall_s", "why"), cells)


def print_run(printer: Printer, row: Mapping[str, Any]) -> None:
    numbers = row["statistics"]
    first = row["first"]
    at = f" at iteration {first['iteration']}" if first and row["outcome"] in ("reproduced", "failed") else ""
    printer.spans((f"{row['scenario']}: ", ""), (f"{row['outcome']}{at}", _COLOURS.get(row["outcome"], "")))
    printer.line(f"  {numbers['incidence']} iterations reproduced; {row['asked']} asked for{_share(numbers)}")
    for why in first["why"][:_SHOWN] if first else ():
        printer.labelled("why", why, "  ")
    if numbers["iteration_median_s"] is not None:
        median, longest = numbers["iteration_median_s"], numbers["iteration_max_s"]
        printer.labelled("times", f"median {median:.3f} s an iteration, at most {longest:.3f} s", "  ")
    work = numbers["work"]
    if work is not None:
        told = f"median {work['median_s'] * 1e3:.4g} ms, {work['min_s'] * 1e3:.4g} to {work['max_s'] * 1e3:.4g} ms"
        printer.labelled("work", f"{work['count']:.0f} times: {told}, {work['spread_percent']:.2f} % apart", "  ")
    for name, seconds in numbers["throttled_s"].items():
        printer.labelled("throttled", f"{name}: {seconds * 1e3:.3g} ms", "  ")
    if row["restored"] is not None:
        printer.labelled("GPUs", "as before the run" if row["restored"] else "NOT as before the run", "  ")
    for note in row["notes"]:
        printer.labelled("note", note, "  ")
    printer.labelled("folder", row["folder"], "  ")


def _share(numbers: Mapping[str, Any]) -> str:
    low, high = numbers["share_low"], numbers["share_high"]
    return "" if low is None else f" (share {low:.0%} to {high:.0%}, 95 %)"


def print_progress(printer: Printer, row: Mapping[str, Any]) -> None:
    """How far a run came."""
    ended = row["outcome"] or "it did not come to its end"
    printer.line(
        f"  run of {row['scenario']}: {row['ended']} of {row['asked']} iterations, {row['reproduced']} reproduced; {ended}"
    )
    if row["outcome"] is None:
        printer.labelled("last", f"{row['last']} at {row['last_wall']} (record {row['records']})", "  ")
        if row["started_anew_since"]:
            printer.labelled("machine", "was started anew since", "  ")
        if row["command"]:
            printer.labelled("again", row["command"], "  ")
