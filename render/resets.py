"""Resets on paper: what would be done, what was done, the ways that there are, the journal, a soak and its chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from base.resets import GpuOutcome, Outcome, ResetReport, ResetStep, StepStatus, numbers, plain
from render.reports import error_body, error_lines
from render.text import Printer, Table, style_of

_MOST_CHANGES = 12
FOR_A_PERSON = ("node-reboot", "power-cycle", "contact-vendor")


def time_words(seconds: float) -> str:
    """`3 ms`, `1.25 s`, `10 min`"""
    if seconds < 0.0995:
        return f"{1000 * seconds:.1f} ms" if seconds < 0.00995 else f"{1000 * seconds:.0f} ms"
    if seconds == int(seconds) and seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds:.2f} s" if seconds < 99.5 else f"{seconds / 60:.0f} min"


# ---------------------------------------------------------------- one reset


def reset_body(report: ResetReport) -> dict[str, Any]:
    """As `--json` shows it (docs/json.md)."""
    return {
        "method": report.method,
        "exit": report.exit_code,
        "seconds": round(report.seconds, 6),
        "wall_s": round(report.wall_s, 3),
        "touched": list(report.touched),
        "evidence": report.evidence,
        "finished": report.finished,
        "notes": list(report.notes),
        "steps": [step_body(step) for step in report.steps],
        "gpus": [outcome_body(one) for one in report.gpus],
    }


def step_body(step: ResetStep) -> dict[str, Any]:
    return {**plain(step), "error": None if step.error is None else error_body(step.error)}


def outcome_body(one: GpuOutcome) -> dict[str, Any]:
    after = one.after.to_dict()
    head = {name: after[name] for name in ("index", "bdf", "part", "arch")}
    return {
        **head,
        "status": str(one.outcome),
        "exit": one.exit_code,
        "reason": one.reason,
        "answer": str(one.answer),
        "before": _side(one.before.to_dict()),
        "after": _side(after),
        "error": None if one.error is None else error_body(one.error),
    }


def _side(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: report[name] for name in ("health", "action", "findings")}


def steps_table(report: ResetReport) -> Table:
    """One row a step and GPU, or one a GPU that no step hit: for --csv."""
    columns = (
        "gpu", "bdf", "part", "status", "health before", "health after", "answer", "step", "method", "step status", "seconds",
        "wall_s", "why", "proof", "reason",
    )  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for one in report.gpus:
        head = (
            one.index, one.after.bdf, one.after.part, one.outcome, one.before.health, one.after.health, one.answer,
        )  # fmt: skip
        mine = [step for step in report.steps if one.index in step.gpus]
        for step in mine:
            rows.append(
                (*head, step.number, step.method, step.status, f"{step.seconds:.6f}", f"{step.wall_s:.3f}", step.why,
                 step.proof, one.reason)
            )  # fmt: skip
        if not mine:
            rows.append((*head, "", "", "", "", "", "", "", one.reason))
    return Table(columns, rows)


def print_reset(
    printer: Printer, report: ResetReport, answers: Mapping[str, str], *, steps_shown: bool = False
) -> None:
    """Steps, then GPUs that were not simply healthy, then one line that sums it up. `answers`: what each answer means."""
    for step in () if steps_shown else report.steps:
        print_step(printer, step)
    if report.steps and not steps_shown:
        printer.line()
    shown = [one for one in report.gpus if report.steps or one.outcome is not Outcome.HEALTHY]
    if shown:
        printer.table(_gpu_table(shown))
    _print_reasons(printer, report)
    if report.finished:
        printer.line(f"finished what was left: {report.finished}")
    for note in report.notes:
        printer.line(note)
    if shown:
        printer.line()
    printer.line(closing_line(report))
    for name in dict.fromkeys(str(one.answer) for one in report.gpus if str(one.answer) in answers):
        who = numbers([one.index for one in report.gpus if str(one.answer) == name])
        printer.line(f"next for GPU {who}: {name}: {answers[name]}")


def _gpu_table(shown: Sequence[GpuOutcome]) -> Table:
    rows = [
        (
            one.index, one.after.bdf, one.after.part, one.before.health, one.after.health, one.outcome,
            "-" if one.answer == "none" else one.answer,
        )
        for one in shown
    ]  # fmt: skip
    columns = ("gpu", "bdf", "part", "before", "after", "status", "next")
    return Table(columns, rows, states=frozenset({"before", "after", "status"}), right=frozenset({"gpu"}))


def print_step(printer: Printer, step: ResetStep) -> None:
    """One step: what, to whom, how long, what came of it, what changed."""
    status = str(step.status)
    printer.spans(
        (f"step {step.number}  {step.method} of GPU {numbers(step.gpus)}: ", "bold"),
        (status, style_of(status)),
        (f" in {time_words(step.seconds)}", ""),
    )
    printer.labelled("why", step.why, "  ")
    if step.proof:
        printer.labelled("proof" if step.status is StepStatus.VERIFIED else "seen", step.proof, "  ")
    for number, line in enumerate(alike(step.changed)[:_MOST_CHANGES]):
        printer.labelled("" if number else "changed", line, "  ")
    more = len(alike(step.changed)) - _MOST_CHANGES
    if more > 0:
        printer.labelled("", f"and {more} more; --json shows all", "  ")
    if step.error is not None:
        head, *lines = error_lines(step.error)
        printer.labelled("error", head, "  ")
        for line in lines:
            printer.line(f"  {line}")


def alike(changed: Sequence[str]) -> list[str]:
    """`GPU 0: x` and `GPU 1: x` as `GPU 0, 1: x`."""
    groups: dict[str, list[int]] = {}
    for line in changed:
        head, _, text = line.partition(": ")
        groups.setdefault(text, []).append(int(head.removeprefix("GPU ")))
    return [f"GPU {numbers(gpus)}: {text}" for text, gpus in groups.items()]


def _print_reasons(printer: Printer, report: ResetReport) -> None:
    """Refusals and failures, GPUs with the same reason together."""
    groups: dict[str, list[GpuOutcome]] = {}
    for one in report.gpus:
        if one.outcome not in (Outcome.HEALTHY, Outcome.RECOVERED):
            if one.error is not None and any(one.error is step.error for step in report.steps):
                continue  # it stands with its step
            groups.setdefault(f"{one.outcome} {one.reason} {one.error}", []).append(one)
    for group in groups.values():
        first = group[0]
        printer.line()
        printer.spans(
            (f"GPU {numbers([one.index for one in group])}: ", "bold"),
            (str(first.outcome), style_of(str(first.outcome))),
            (f": {first.reason}" if first.error is None and first.reason else "", ""),
        )
        if first.error is not None:
            head, *lines = error_lines(first.error)
            printer.line(f"  {head}")
            for line in lines:
                printer.line(line)


def closing_line(report: ResetReport) -> str:
    """`8 of 8 well (8 recovered) in 1.04 s; evidence: /home/me/.local/state/gpumend/evidence/...`"""
    counts: dict[str, int] = {}
    for one in report.gpus:
        counts[str(one.outcome)] = counts.get(str(one.outcome), 0) + 1
    well = counts.pop("healthy", 0) + counts.get("recovered", 0)
    more = ", ".join(f"{count} {word}" for word, count in counts.items())
    text = f"{well} of {len(report.gpus)} well" + (f" ({more})" if more else "")
    if not report.steps:
        return f"{text}; nothing was reset"
    text += f" in {time_words(report.seconds)}"
    return text + (f"; evidence: {report.evidence}" if report.evidence else "")


# ---------------------------------------------------------------- previews


def print_preview(printer: Printer, number: int, body: Mapping[str, Any]) -> None:
    """What would be done to one group."""
    gpus = body["gpus"]
    who = ", ".join(f"GPU {one['index']} {one['bdf']}" for one in gpus)
    printer.heading(f"{'' if number == 0 else chr(10)}{who}".strip())
    well = [one["index"] for one in gpus if one["health"] == "healthy"]
    if well:
        printer.spans((f"  GPU {numbers(well)}  ", ""), ("healthy", style_of("healthy")))
    for one in gpus:
        if one["index"] in well:
            continue
        codes = ", ".join(dict.fromkeys(item["code"] for item in one["findings"] if item["severity"] != "note"))
        printer.spans(
            (f"  GPU {one['index']}  ", ""),
            (one["health"], style_of(one["health"])),
            (f"  {codes}" if codes else "", ""),
        )
    for line in body["unfinished"]:
        printer.labelled("begun", f"{line}; it would be finished", "  ")
    if not body["planned"]:
        printer.labelled("would do", "nothing", "  ")
    for place, one in enumerate(body["planned"]):
        label = ("would do" if len(body["planned"]) == 1 else "first") if place == 0 else "then"
        before = next((item["method"] for item in reversed(body["planned"][:place]) if not item["if_helped"]), "")
        hint = f"if {before} {'helped' if one['if_helped'] else 'did not help'}: " if place else ""
        times = f"about {time_words(one['expected_s'])}, at most {time_words(one['longest_s'])}"
        same = place > 0 and one["gpus"] == body["planned"][place - 1]["gpus"]
        printer.labelled(label, f"{hint}{one['method']} ({one['why']})", "  ")
        printer.labelled("", f"hits {'the same' if same else _hit_words(body, one)}; {times}", "  ")
        printer.labelled("", f"lost: {one['lost']}", "  ")
        if one["siblings"]:
            printer.labelled("", f"hits also, behind the same port: {', '.join(one['siblings'])}", "  ")
        if one["linked"] and not same:
            printer.labelled(
                "",
                f"ends links and peer-to-peer access to it from GPU {numbers(one['linked'])}: stop such jobs first",
                "  ",
            )
        if one["refused"]:
            printer.labelled("", f"would be refused: {one['refused']}", "  ")
    if body["then"] != "none":
        person = body["then"] in FOR_A_PERSON
        rest = "which is for a person" if person else "but no more is tried at once: --attempts"
        printer.labelled("at last", f"{body['then']}, {rest}", "  ")
    for one in body["held"]:
        for line in one["by"]:
            printer.labelled("held", f"GPU {one['index']} ({one['bdf']}): {line}", "  ")
    if not any(one["by"] for one in body["held"]) and body["planned"]:
        printer.labelled("held", "by nobody", "  ")


def _hit_words(body: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    bdfs = {member["index"]: member["bdf"] for member in body["members"]}
    if len(one["gpus"]) > 1:
        names = ", ".join(f"{index} ({bdfs[index]})" for index in one["gpus"])
        return f"all {len(one['gpus'])} GPUs: {names}" if len(one["gpus"]) == len(bdfs) else f"GPU {names}"
    return f"{one['scope']}: GPU {one['gpus'][0]} ({bdfs[one['gpus'][0]]})"


def preview_table(bodies: Sequence[Mapping[str, Any]]) -> Table:
    """One row a planned method: for --csv."""
    rows = [
        (
            numbers([gpu["index"] for gpu in body["gpus"]]), place + 1, one["method"], numbers(one["gpus"]), one["why"],
            one["expected_s"], one["longest_s"], one["lost"], " ".join(one["siblings"]), one["refused"],
        )
        for body in bodies
        for place, one in enumerate(body["planned"])
    ]  # fmt: skip
    columns = ("for", "order", "method", "hits", "why", "expected_s", "longest_s", "lost", "siblings", "refused")
    return Table(columns, rows)


# ---------------------------------------------------------------- methods, history, soak


def methods_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = (
        "method",
        "action",
        "hits",
        "by",
        "expected_s",
        "longest_s",
        "needs",
        "survives",
        "lost",
        "proof",
        "source",
    )
    return Table(columns, [tuple(row[name] for name in columns) for row in rows])


def print_methods(printer: Printer, rows: Sequence[Mapping[str, Any]], rules: Sequence[Mapping[str, Any]]) -> None:
    """Every method with what one has to know of it, then the safety table."""
    for row in rows:
        printer.spans((row["method"], "bold"), (f"  {row['what']}", ""))
        times = (
            ""
            if not row["longest_s"]
            else f"; about {time_words(row['expected_s'])}, at most {time_words(row['longest_s'])}"
        )
        if row["by"] == "a person":
            continue
        vendors = " and ".join(name.upper() for name in row["vendors"])
        printer.labelled("hits", f"{row['hits']} of {vendors} (action {row['action']}, by {row['by']}{times})", "  ")
        for label, name in (("needs", "needs"), ("survives", "survives"), ("lost", "lost"), ("proof", "proof")):
            if row[name] not in ("", "-"):
                printer.labelled(label, row[name], "  ")
    printer.line()
    printer.heading("Refused, whatever the finding")
    for rule in rules:
        who = rule["methods"] or "any method that touches the GPU"
        printer.spans((f"{rule['when']}", "bold"), (f": {who}{rule['parts']}: {rule['verdict']}", ""))
        printer.labelled("why", rule["why"], "  ")
        printer.labelled("instead", rule["instead"], "  ")
        printer.labelled("source", rule["source"], "  ")


def history_table(rows: Sequence[Mapping[str, Any]], *, whole: bool = True) -> Table:
    """`whole`: every bus address; else the first, and how many more."""
    cells = [
        (
            row["begun"], row["method"], _gpus_word([str(gpu["bdf"]) for gpu in row["gpus"]], whole), row["status"],
            "-" if row["seconds"] is None else f"{row['seconds']:.3f}", row["why"], row["evidence"] or "-",
        )
        for row in rows
    ]  # fmt: skip
    return Table(
        ("begun", "method", "gpus", "status", "seconds", "why", "evidence"), cells, states=frozenset({"status"}),
        right=frozenset({"seconds"}),
    )  # fmt: skip


def _gpus_word(bdfs: Sequence[str], whole: bool) -> str:
    if whole or len(bdfs) < 3:
        return " ".join(bdfs)
    return f"{bdfs[0]} and {len(bdfs) - 1} more"


def print_soak(
    printer: Printer, body: Mapping[str, Any], bars: Sequence[tuple[str, str]], first: ResetReport | None
) -> None:
    """Statistics, the chart, and the first round in which a method failed."""
    if bars:
        legend = "  time to recover, per round (x: failed)  "
        printer.spans((legend, "dim"), *[(bar, style_of(word)) for bar, word in bars])
    rate = "unknown" if body["rate"] is None else f"{100 * body['rate']:.1f} %"
    printer.labelled("rounds", f"{body['rounds']} of {body['asked']}: {body['ok']} ok, {body['climbed']} recovered by a later "
                     f"method, {body['failed']} failed; success rate of the first method {rate}", "  ")  # fmt: skip
    if body["median_s"] is not None:
        printer.labelled("recovery", f"median {time_words(body['median_s'])}, p95 {time_words(body['p95_s'])}, "
                         f"max {time_words(body['max_s'])}", "  ")  # fmt: skip
    if first is not None:
        printer.line()
        printer.heading(f"first failure: round {body['first_failure']}")
        for step in first.steps:
            print_step(printer, step)
        sick: dict[str, list[int]] = {}
        for one in first.gpus:
            codes = ", ".join(item.code for item in one.after.findings if item.severity != "note")
            if codes:
                sick.setdefault(f"{one.after.health}: {codes}", []).append(one.index)
        for words, gpus in sick.items():
            printer.labelled("left", f"GPU {numbers(gpus)} {words}", "  ")
        if body["evidence"]:
            printer.labelled("evidence", body["evidence"], "  ")
        if body["last_evidence"]:
            printer.labelled("", f"{body['last_evidence']} (of the last round)", "  ")
    if body["interrupted"]:
        printer.line("interrupted; these are the statistics so far")


def soak_table(rounds: Sequence[Mapping[str, Any]]) -> Table:
    """One row a round: for --csv."""
    rows = [
        (one["number"], one["word"], one["exit"], f"{one['seconds']:.6f}", " ".join(one["methods"])) for one in rounds
    ]
    return Table(("round", "status", "exit", "seconds", "methods"), rows)
