"""`repro`: scenarios that bring a GPU down, run or written out as one file; what the vendor will ask for, in one
archive."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from base.errors import Exit, GpumendError, Refused, UsageError
from commands.common import (
    FILE,
    Group,
    Settings,
    code_of_findings,
    common_options,
    emit,
    ends_in_order,
    probe_limit,
    settings_of,
)
from render.reports import print_findings
from render.text import Printer, Table, clean

if TYPE_CHECKING:
    from gpumend import Checked, Gpu, Iteration, RunReport, Scenario, Written

_SHOWN = 15


@click.group("repro", cls=Group, short_help="Reproduce a hang, and report it to the vendor.")
def repro_group() -> None:
    """Scenarios that bring a GPU down, again and again; a script of one that the vendor can run; and what a vendor
    asks for."""


_PARAMETERS = click.option(
    "-p", "--parameter", "parameters", metavar="NAME=VALUE", multiple=True, help="Set a parameter; repeatable."
)


@repro_group.command("list", short_help="The scenarios that there are.")
@common_options
@click.pass_context
def list_command(context: click.Context) -> int:
    """The scenarios that come with gpumend, each with what it shows."""
    from gpumend import read_scenario, scenarios
    from render.repro import list_table, print_list

    settings = settings_of(context)
    rows = [read_scenario(name).to_dict() for name in scenarios()]
    body = {"scenarios": rows, "gpus": []}
    emit(settings, "repro list", body=body, table=list_table(rows), human=lambda printer: print_list(printer, rows))
    return Exit.OK


@repro_group.command("show", short_help="What a scenario does, needs and destroys; or what is wrong with its file.")
@click.argument("scenario")
@_PARAMETERS
@common_options
@click.pass_context
def show_command(context: click.Context, scenario: str, parameters: tuple[str, ...]) -> int:
    """Everything of one scenario, by its name or its YAML file (./mine.yaml). A file that is wrong: line, column, key
    and what would be right; exit 64."""
    from gpumend import read_scenario, scenario_restore, scenario_steps
    from render.repro import print_scenario, show_table

    settings = settings_of(context)
    settings.command = "repro show"
    found = read_scenario(scenario, parameters)
    row, steps, restore = found.to_dict(), scenario_steps(found), scenario_restore(found)
    body = {"scenario": row, "steps": steps, "gpus": []}
    emit(
        settings, "repro show", body=body, table=show_table(row),
        human=lambda printer: print_scenario(printer, row, steps, restore),
    )  # fmt: skip
    return Exit.OK


# ---------------------------------------------------------------- run


@repro_group.command("run", short_help="Run a scenario: watched, bounded, written down as it goes.")
@click.argument("scenario", required=False)
@_PARAMETERS
@click.option(
    "--resume",
    type=FILE,
    metavar="DIR",
    help="Instead of a scenario: the iterations that a run in that folder did not come to.",
)
@click.option(
    "--seed", type=click.IntRange(0, (1 << 32) - 1), default=1, show_default=True, help="Of the bytes that are copied."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.tar.zst|FILE.tar.gz|DIR",
    help="A folder: the run's. A file: the run and a bundle, redacted, in one archive. Nothing is overwritten.",
)  # fmt: skip
@probe_limit("--probe-timeout")
@click.option("--keep-going", is_flag=True, help="Count: go on after a reproduction, if the GPUs can be put back.")
@click.option("--no-redact", is_flag=True, help="In an archive: keep host names, users, serials and addresses.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say whether it could be run, and what it would do; write nothing.")
@common_options
@click.pass_context
def run_command(
    context: click.Context,
    scenario: str | None,
    parameters: tuple[str, ...],
    resume: Path | None,
    seed: int,
    output: Path | None,
    limit_s: float,
    keep_going: bool,
    no_redact: bool,
    yes: bool,
    dry_run: bool,
) -> int:
    """Run a scenario on the selected GPUs (-g), iteration by iteration, into a folder that is synced with each
    record.

    Exit 0: not reproduced, every iteration was well. 1: reproduced, or failed (--json tells which). 2: could not be
    verified. 3: refused. 69: no GPU, or a file is missing. 77: not permitted. 130: interrupted."""
    from dataclasses import replace

    from gpumend import check_scenario, read_scenario, require_free_output

    settings = settings_of(context)
    settings.command = "repro run"
    told: dict[str, Any] = {}
    if resume is not None:
        found, told = _left_of(settings, scenario, parameters, resume)
        seed, keep_going = told.pop("seed"), keep_going or told.pop("keep_going")
    else:
        found = read_scenario(_named(scenario), parameters)
    if keep_going:
        found = replace(found, stop_after="count")
    everyone, wanted = _find(settings, found)
    packs = output is not None and require_free_output(output)
    check_scenario(found, everyone, wanted, firmware=settings.firmware, probe_s=limit_s)
    if dry_run:
        return _dry(settings, found, wanted)
    if not yes:
        _consent(found, everyone, wanted)
    told.setdefault("command", _again(settings, str(scenario), parameters, seed, keep_going))
    told |= {"on": settings.on, "selected": settings.gpus}
    with ends_in_order():
        report = _run(settings, found, everyone, wanted, None if packs else output, seed, told, limit_s)
    archive = _archive(settings, output, report, wanted, not no_redact) if packs and output is not None else None
    return _tell_run(settings, report, archive)


def _named(scenario: str | None) -> str:
    if scenario is None:
        raise UsageError(
            "repro run",
            expected="the name of a scenario, its file, or --resume DIR",
            seen="none",
            next_step="gpumend repro list",
        )
    return scenario


def _left_of(
    settings: Settings, scenario: str | None, parameters: tuple[str, ...], folder: Path
) -> tuple[Scenario, dict[str, Any]]:
    """What an earlier run did not come to, on the same GPUs unless others are named; and its settings."""
    from dataclasses import replace

    from gpumend import read_scenario, unfinished_run

    if scenario is not None or parameters:
        raise UsageError("repro run --resume", expected="nothing but the folder: the rest stands in it", seen="more")
    left = unfinished_run(folder)
    if not settings.on:
        settings.on = tuple(left["on"])
    if not settings.gpus:
        settings.gpus = tuple(left["selected"])
    found = read_scenario(left["scenario"], [f"{name}={value}" for name, value in left["parameters"].items()])
    told = {name: left[name] for name in ("command", "seed", "keep_going")}
    return replace(found, count=left["left"]), told | {"continues": str(folder), "before": left["before"]}


def _find(settings: Settings, scenario: Scenario) -> tuple[list[Gpu], list[Gpu]]:
    """Every GPU in reach, because a reset may hit others of the hive; and those that were selected."""
    from gpumend import require_amd, select, with_neighbours

    selection, settings.gpus = settings.gpus, ()
    found = settings.find("repro run", acting=True, nvidia=True)
    settings.gpus = selection
    wanted = select(found, selection)
    require_amd(wanted, "gpumend repro run")
    return with_neighbours([gpu for gpu in found if not gpu.part.is_nvidia]), wanted


def _dry(settings: Settings, scenario: Scenario, wanted: list[Gpu]) -> int:
    from gpumend import scenario_restore, scenario_steps
    from render.repro import print_scenario, show_table

    row, steps, restore = scenario.to_dict(), scenario_steps(scenario), scenario_restore(scenario)
    gpus = [{"index": gpu.index, "bdf": gpu.bdf, "part": gpu.part.name, "arch": gpu.part.arch} for gpu in wanted]
    body = {"dry_run": True, "scenario": row, "steps": steps, "gpus": gpus}

    def human(printer: Printer) -> None:
        print_scenario(printer, row, steps, restore)
        printer.line(f"  would be run on {_names(wanted)}")

    emit(settings, "repro run", body=body, table=show_table(row), human=human)
    return Exit.OK


def _names(gpus: Sequence[Gpu]) -> str:
    return ", ".join(f"GPU {gpu.index} ({gpu.bdf})" for gpu in gpus)


def _consent(scenario: Scenario, everyone: list[Gpu], wanted: list[Gpu]) -> None:
    """Say what will be done to whom, step by step (a file's own words may say less), and ask; Refused where nobody can be
    asked, or the answer is no."""
    from gpumend import scenario_restore, scenario_steps

    doing = f"repro run {scenario.name}"
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused(
            doing, expected="somebody to ask", seen="standard input is no terminal",
            next_step="--dry-run to see what would be done, --yes to go on without asking",
        )  # fmt: skip
    _say(f"{scenario.name}: {scenario.shows}")
    _say(f"on {_names(wanted)}, {scenario.count} times at most; it destroys {scenario.destroys or 'nothing'}")
    for number, line in enumerate(scenario_steps(scenario), start=1):
        _say(f"  {number}. {line}")
    for line in scenario_restore(scenario):
        _say(f"  if the GPUs are not as before: {line}")
    others = [gpu for gpu in everyone if gpu not in wanted]
    if others and any(action.module == "reset" for action in (*scenario.actions, *scenario.restore)):
        _say(f"  what resets a whole GPU resets the others of its hive, which may be {_names(others)}")
    if not click.confirm("Begin?", err=True):
        raise Refused(doing, seen="the answer was no")


def _again(settings: Settings, scenario: str, parameters: tuple[str, ...], seed: int, keep_going: bool) -> str:
    """The one line that repeats it."""
    words = ["gpumend"]
    for flag, values in (("--on", settings.on), ("-g", settings.gpus)):
        words += [word for value in values for word in (flag, value)]
    words += [
        "repro",
        "run",
        scenario,
        *(word for one in parameters for word in ("-p", one)),
        "--seed",
        str(seed),
        "--yes",
    ]
    return shlex.join(words + ["--keep-going"] * keep_going)


def _run(
    settings: Settings,
    scenario: Scenario,
    everyone: list[Gpu],
    wanted: list[Gpu],
    folder: Path | None,
    seed: int,
    told: dict[str, Any],
    probe_s: float,
) -> RunReport:
    from gpumend import new_asked, run_scenario

    with _watching() as onlooker:
        return run_scenario(
            scenario, everyone, wanted, folder, seed=seed, firmware=settings.firmware, settings=told, onlooker=onlooker,
            asked=new_asked(), probe_s=probe_s,
        )  # fmt: skip


class _Onlooker:
    """Tells people how it goes, on standard error: a status line on a terminal, else one line for each iteration."""

    def __init__(self, status: Any) -> None:
        self._status = status
        self._head = ""

    def begun(self, number: int, asked: int) -> None:
        self._head = f"iteration {number} of {asked}"

    def acting(self, action: Any) -> None:
        if self._status is not None:
            self._status.update(f"{self._head}: {action.name}")

    def ended(self, iteration: Iteration, so_far: Sequence[Iteration]) -> None:
        hits = sum(str(one.word) == "reproduced" for one in so_far)
        text = f"{self._head}: {iteration.word}, {iteration.seconds:.3f} s; {hits} of {len(so_far)} reproduced"
        if self._status is not None:
            self._status.update(text)
        elif str(iteration.word) != "ok" or len(so_far) in (1, 10, 100) or len(so_far) % 1000 == 0:
            self.say(text)

    def say(self, text: str) -> None:
        click.echo(clean(text), err=True)


@contextmanager
def _watching() -> Iterator[_Onlooker]:
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Onlooker(None)
        return
    from rich.console import Console

    with Console(stderr=True).status("looking") as status:
        yield _Onlooker(status)


def _archive(
    settings: Settings, output: Path, report: RunReport, wanted: list[Gpu], redact: bool
) -> Written | GpumendError:
    """The run and a bundle in one file. What goes wrong with it does not change what the run found."""
    from gpumend import write_bundle

    try:
        return write_bundle(
            wanted, output, redact=redact, run=Path(report.folder), firmware=settings.firmware, progress=_progress,
            settings={"on": settings.on, "gpus": settings.gpus, "redact": redact},
        )  # fmt: skip
    except GpumendError as error:
        return error


def _tell_run(settings: Settings, report: RunReport, archive: Written | GpumendError | None) -> int:
    from gpumend import run_result
    from render.reports import error_body, error_lines
    from render.repro import print_run, run_table

    row = run_result(report)
    failed = archive if isinstance(archive, GpumendError) else report.error
    written = None if archive is None or isinstance(archive, GpumendError) else archive
    body = {**row, "archive": None if written is None else _head(written.checked)}
    if failed is not None:
        body["error"] = {**error_body(failed), "exit": int(failed.exit_code)}

    def human(printer: Printer) -> None:
        print_run(printer, row)
        if written is not None:
            _print_written(printer, written)
        for line in error_lines(failed) if failed is not None else ():
            printer.line(line)

    emit(settings, "repro run", body=body, table=run_table(row), human=human)
    if report.exit_code == Exit.OK and archive is not None and (written is None or not written.ok):
        return int(failed.exit_code) if failed is not None else Exit.PROBLEM
    return report.exit_code


# ---------------------------------------------------------------- export


@repro_group.command("export", short_help="Write a scenario as one Python file that needs nothing of ours.")
@click.argument("scenario")
@_PARAMETERS
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE.py|FILE.tar.zst|FILE.tar.gz",
    help="Where to (default: NAME.py here); in an archive it lies beside a bundle about the GPUs. Nothing is overwritten.",
)  # fmt: skip
@click.option("--no-redact", is_flag=True, help="In an archive: keep host names, users, serials and addresses.")
@common_options
@click.pass_context
def export_command(
    context: click.Context, scenario: str, parameters: tuple[str, ...], output: Path | None, no_redact: bool
) -> int:
    """One file that runs on Python 3.8 or later with its standard library, through the stock kernel driver or the PCI
    bus: with usage, questions before it acts, the versions that it ran on, a verdict for each iteration and an exit
    code.

    Exit 0: written. 3: this scenario needs gpumend's own driver (it says what to send instead), or the file is
    there."""
    from gpumend import export_scenario, list_there, read_scenario, require_free_output, write_bundle, write_text

    settings = settings_of(context)
    settings.command = "repro export"
    made = export_scenario(read_scenario(scenario, parameters))
    target = output or Path(made.name)
    written: Written | None = None
    if require_free_output(target):
        found, _ = list_there(settings.on, settings.gpus)
        written = write_bundle(
            found, target, redact=not no_redact, extra={made.name: made.text.encode()}, firmware=settings.firmware,
            progress=_progress, settings={"on": settings.on, "gpus": settings.gpus},
        )  # fmt: skip
    else:
        write_text(target, made.text)
    lines = made.text.count("\n")
    body = {
        "path": str(target), "name": made.name, "through": made.through, "lines": lines, "gpus": [],
        "archive": None if written is None else _head(written.checked),
    }  # fmt: skip
    table = Table(("path", "name", "through", "lines"), [(str(target), made.name, made.through, lines)])

    def human(printer: Printer) -> None:
        printer.line(f"{target}: {lines} lines, through {'amdgpu' if made.through == 'driver' else 'the PCI bus'}")
        if written is not None:
            _print_written(printer, written)
        else:
            printer.line(f"  python3 {target} --dry-run")

    emit(settings, "repro export", body=body, table=table, human=human)
    return Exit.OK if written is None or written.ok else Exit.PROBLEM


# ---------------------------------------------------------------- bundle, check


@repro_group.command("bundle", short_help="Write down everything about the GPUs, for the vendor.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.tar.zst|FILE.tar.gz|DIR",
    help="Where to; without it a folder below ~/.local/state/gpumend/evidence. Nothing is overwritten.",
)
@click.option("--no-redact", is_flag=True, help="Keep host names, users, serials and addresses as they are.")
@click.option("--ras-counts", is_flag=True, help="Read amdgpu's RAS counters too: reading sets them back.")
@click.option("--problem", metavar="TEXT", default="", help="What is wrong, in your words: the report begins with it.")
@click.option("--incidence", metavar="TEXT", default="", help="How often it happens: '3 of 50', once, always.")
@click.option(
    "--run", "run", type=FILE, metavar="DIR", help="Take the folder of a run with it: its files, incidence and steps."
)
@common_options
@click.pass_context
def bundle_command(
    context: click.Context,
    output: Path | None,
    no_redact: bool,
    ras_counts: bool,
    problem: str,
    incidence: str,
    run: Path | None,
) -> int:
    """Collect evidence about the selected GPUs (-g), read-only, each question with a limit: 30 s at most, whatever
    hangs.

    \b
      report.md    in the field order of AMD's issue form, or of NVIDIA's
      the probe's findings, config space of the GPU and of the ports above it, discovery table, registers by name
      amdgpu's sysfs and debugfs files, core dumps, who holds the GPU
      NVIDIA: registers of boot, the driver's texts in /proc, every Xid; neither nvidia-smi nor a script of theirs is run
      the kernel's log, the journal of three boots, versions of kernel, driver, firmware files
      manifest.json with the SHA-256 of each file, and of everything that was not collected: why

    Host names, users, serial numbers and network addresses become pseudonyms, unless --no-redact. Without any GPU, as
    after one was lost, the bundle holds what the machine tells. Exit 0: written and read back whole. 1: not whole.
    69: nothing at a named address (the bundle is written all the same)."""
    from gpumend import list_there, write_bundle

    settings = settings_of(context)
    settings.command = "repro bundle"
    found, missing = list_there(settings.on, settings.gpus)
    for error in missing:
        _say(f"{error.doing}: {error.seen or error.verb}; the bundle holds what the machine tells")
    if not found and not missing:
        _say("no supported GPU on this machine's PCI bus: the bundle holds what the machine tells")
    written = write_bundle(
        found,
        output,
        redact=not no_redact,
        ras_counts=ras_counts,
        problem=problem,
        incidence=incidence,
        run=run,
        settings={"on": settings.on, "gpus": settings.gpus, "redact": not no_redact, "ras_counts": ras_counts},
        firmware=settings.firmware,
        progress=_progress,
    )
    unread = [{"what": row.what, "why": row.why} for row in written.bundle.unread]
    body = {
        **_head(written.checked),
        "gpus": _gpus(written, found),
        "seconds": round(written.bundle.seconds, 3),
        "redaction": written.bundle.manifest["redaction"],
        "unread": unread,
    }
    table = Table(("what", "why"), [(row["what"], row["why"]) for row in unread])
    emit(settings, "repro bundle", body=body, table=table, human=lambda printer: _print_written(printer, written))
    if not written.ok:
        return Exit.PROBLEM
    return Exit.UNAVAILABLE if missing and settings.on else Exit.OK


def _progress(step: str) -> None:
    """Where it goes is told always: if the machine dies, that is where to look."""
    if step.startswith("into ") or (sys.stderr is not None and sys.stderr.isatty()):
        _say(f"collecting {step}")


def _say(text: str) -> None:
    click.echo(clean(text), err=True)


def _gpus(written: Written, found: list[Any]) -> list[dict[str, Any]]:
    """What the probe said of each, without its findings: those are in the bundle."""
    reports = {report.index: report for report in written.bundle.reports}
    names = ("index", "bdf", "part", "arch", "health", "action")
    told = [reports[gpu.index].to_dict() for gpu in found if gpu.index in reports]
    return [{name: report[name] for name in names} for report in told]


def _head(checked: Checked) -> dict[str, Any]:
    return {
        "path": str(checked.path),
        "ok": checked.ok,
        "complete": checked.complete,
        "files": checked.files,
        "bytes": checked.bytes,
        "sha256": checked.sha256 or None,
        "findings": [finding.to_dict() for finding in checked.findings],
    }


def _print_written(printer: Printer, written: Written) -> None:
    printer.line(str(written.path))
    printer.line(f"  {written.checked.files} files, {written.checked.bytes} bytes, in {written.bundle.seconds:.1f} s")
    if written.checked.sha256:
        printer.line(f"  SHA-256  {written.checked.sha256}")
    told = written.bundle.manifest["redaction"]
    rows = [f"{row['distinct']} {row['kind']} ({row['replaced']} places)" for row in told["redacted"]]
    printer.line(f"  redacted {', '.join(rows) or 'nothing'}" if told["on"] else "  redacted nothing: --no-redact")
    if told["on"] and not told["complete"]:
        printer.line("  some names of this machine could not be learned: look through the bundle before you send it")
    for row in written.bundle.unread[:_SHOWN]:
        printer.labelled("left out", f"{row.what}: {row.why}", "  ")
    if len(written.bundle.unread) > _SHOWN:
        printer.line(f"  and {len(written.bundle.unread) - _SHOWN} more: manifest.json")
    print_findings(printer, written.checked.findings)
    printer.spans(("  written and read back whole", "green") if written.ok else ("  NOT whole", "bold red"))


@repro_group.command("check", short_help="Is a bundle whole, and did its collecting come to its end.")
@click.argument("path", type=click.Path(path_type=Path))
@common_options
@click.pass_context
def check_command(context: click.Context, path: Path) -> int:
    """Read a bundle, folder or archive, or the folder of a run, and compare it with its manifest. Nothing is unpacked
    to disk. Of a run that did not come to its end it says how far it came.

    It may come from a stranger: sizes, ratio, names and kinds of members are limited. The hashes show damage, not who
    wrote it: for that compare the archive's SHA-256 with what its sender printed. Exit 0: whole. 1: damaged. 2: whole
    as far as it came, but collecting did not come to its end. 69: not there."""
    from gpumend import check_bundle, run_progress

    settings = settings_of(context)
    settings.command = "repro check"
    checked = check_bundle(path)
    run = run_progress(path)
    about = {name: checked.manifest.get(name) for name in ("tool", "started", "reason")}
    rows = [(item.code, item.severity, item.summary, item.expected, item.seen, item.where) for item in checked.findings]
    table = Table(("code", "severity", "summary", "expected", "seen", "where"), rows)
    body = {**_head(checked), "about": about, "run": run}

    def human(printer: Printer) -> None:
        from render.repro import print_progress

        _print_checked(printer, checked, about)
        if run is not None:
            print_progress(printer, run)

    emit(settings, "repro check", body=body, table=table, human=human)
    return code_of_findings(checked.findings)


def _print_checked(printer: Printer, checked: Checked, about: dict[str, Any]) -> None:
    printer.line(str(checked.path))
    printer.line(
        f"  {checked.files} files, {checked.bytes} bytes; by {about['tool']}, {about['started']}, {about['reason']}"
    )
    if checked.sha256:
        printer.line(f"  SHA-256  {checked.sha256}")
    print_findings(printer, checked.findings)
    word = (
        "whole" if checked.ok else "not complete" if code_of_findings(checked.findings) == Exit.UNKNOWN else "damaged"
    )
    printer.spans(("  ", ""), (word, "green" if checked.ok else "bold red"))
