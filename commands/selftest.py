"""`selftest`: boot the GPUs, move data with every engine, fence on every XCC, reach the peers; verified twice. This writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from base.errors import Exit, UsageError
from base.findings import graver
from commands.common import common_options, emit, ends_in_order, gpu_head, settings_of
from render.reports import error_body, error_lines, print_finding
from render.text import Printer, Table

if TYPE_CHECKING:
    from gpumend import Gpu, SelftestProgress, SelftestReport

_CHECKS = ("memory", "sdma", "compute", "timestamps", "interrupts", "peers", "copies", "semaphores", "channels")
MOST_ENGINES = 64  # more than any part has
_UNITS = ("KiB", "MiB", "GiB", "TiB")
_COLUMNS = (
    "gpu", "bdf", "part", "arch", "name", "engine", "status", "reason", "bytes", "seconds", "wall_s", "expected", "seen",
    "where", "verified",
)  # fmt: skip


def _numbers(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> list[int] | None:
    """`--engine 0,3 --engine 7` as [0, 3, 7]; None when it was not given."""
    if not value:
        return None
    words = [word.strip() for entry in value for word in entry.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) < MOST_ENGINES for word in words):
        raise UsageError(
            "choosing SDMA or copy engines",
            expected=f"numbers from 0 to {MOST_ENGINES - 1}, as in --engine 0,3",
            seen=" ".join(value),
        )
    return [int(word) for word in words]


@click.command("selftest", short_help="Boot, move data, fence, reach the peers: verified.")
@click.option(
    "--level",
    type=click.Choice(("quick", "full")),
    default="quick",
    show_default=True,
    help="quick: at most 16 MiB an engine. full: copies of 1 byte to 1 GiB, as memory allows; takes minutes.",
)
@click.option(
    "--engine", "engines", metavar="N", multiple=True, callback=_numbers, help="Only these SDMA or copy engines."
)
@click.option("--skip", type=click.Choice(_CHECKS), multiple=True, help="Leave a check out; repeatable.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the pseudo-random patterns.")
@click.option("--checks", is_flag=True, help="Show every check, not only what failed.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, write nothing.")
@common_options
@click.pass_context
def selftest_command(
    context: click.Context,
    level: str,
    engines: list[int] | None,
    skip: tuple[str, ...],
    seed: int,
    checks: bool,
    dry_run: bool,
) -> int:
    """Bring up the selected GPUs (-g) with gpumend's own driver, side by side, and test them:

    \b
      boot        from whatever state they are in, with AMD's firmware (--firmware)
      memory      patterns of many sizes and alignments, through SDMA
      sdma        every SDMA engine
      compute     a fence, written data and timestamps on every XCC
      timestamps  never backwards, at the right pace
      interrupts  of every SDMA engine and every XCC
      peers       copies over XGMI, both ways, between all pairs
      close       so that any driver can start them

    NVIDIA's are opened through their loaded driver, beside other users; their VRAM keeps what it holds:

    \b
      memory      patterns of many sizes and alignments, through BAR1, too
      copies      every copy engine: from the host, within VRAM, back; fills
      semaphores  waits and releases around all engines
      compute     stores and a fence (no shader is run)
      timestamps  never backwards, at the right pace
      channels    two side by side; many made and closed

    AMD's are taken over: what their VRAM holds is lost. It is refused while a kernel driver is bound (gpumend unbind) or
    another process holds the GPU's lock. Data is verified through BAR0 and by a second engine.

    Exit 0: done and verified. 1: failed. 2: done, not verified. 3: refused. 69: no GPU, lost, or firmware missing."""
    from gpumend import plan_selftest, selftest_gpus

    settings = settings_of(context)
    found = settings.find("selftest", acting=True, nvidia=True)
    options: dict[str, Any] = {"level": level, "engines": engines, "skip": skip, "firmware": settings.firmware}
    head = {"level": level, "seed": seed, "dry_run": dry_run}
    if dry_run:
        return _dry(found, plan_selftest(found, **options), settings_of(context), head)
    with ends_in_order(), _bar() as progress:
        try:
            reports = selftest_gpus(found, seed=seed, progress=progress, **options)
        except KeyboardInterrupt as stop:
            for told in stop.args:
                click.echo(told, err=True)
            raise
    body = {**head, "gpus": [_body(gpu, report) for gpu, report in zip(found, reports, strict=True)]}
    emit(settings, "selftest", body=body, table=_rows(reports), human=lambda printer: _print(printer, reports, checks))
    return _code([report.exit_code for report in reports])


def _code(codes: list[int]) -> int:
    """1 beats everything; then the one that says most about why it was not done."""
    return Exit.PROBLEM if Exit.PROBLEM in codes else max(codes)


def _body(gpu: Gpu, report: SelftestReport) -> dict[str, Any]:
    return {**gpu_head(gpu), **report.to_dict(), "error": None if report.error is None else error_body(report.error)}


def _rows(reports: list[SelftestReport]) -> Table:
    rows = []
    for report in reports:
        head = (report.index, report.bdf, report.part, report.arch)
        for check in report.checks:
            told = check.to_dict()
            rows.append((*head, *(told[name] for name in _COLUMNS[4:])))
    return Table(_COLUMNS, rows)


# ---------------------------------------------------------------- for people


def _print(printer: Printer, reports: list[SelftestReport], every: bool) -> None:
    rows = [
        (
            report.index, report.bdf, report.part, report.start_state or "-", report.status,
            f"{sum(check.status == 'ok' for check in report.checks)}/{len(report.checks)}",
            size_text(report.bytes), f"{report.seconds:.3f} s",
        )
        for report in reports
    ]  # fmt: skip
    columns = ("gpu", "bdf", "part", "found", "status", "checks", "moved", "time")
    printer.table(Table(columns, rows, states=frozenset({"status"}), right=frozenset({"gpu", "moved", "time"})))
    if every:
        _print_checks(printer, reports)
    for names, report in _alike(reports):
        printer.line()
        printer.heading(f"{names}: {report.status}")
        _print_reasons(printer, report)
    printer.line()
    printer.line(closing_line(reports))


def _print_checks(printer: Printer, reports: list[SelftestReport]) -> None:
    rows = [
        (report.index, check.name, check.engine or "-", check.status, size_text(check.bytes), f"{check.seconds:.6f}",
         check.reason or check.seen)
        for report in reports
        for check in report.checks
    ]  # fmt: skip
    columns = ("gpu", "check", "engine", "status", "moved", "seconds", "what")
    printer.line()
    printer.table(Table(columns, rows, states=frozenset({"status"}), right=frozenset({"gpu", "moved", "seconds"})))


def _alike(reports: list[SelftestReport]) -> list[tuple[str, SelftestReport]]:
    """What is not ok; GPUs with the same error are told once."""
    groups: dict[str, list[SelftestReport]] = {}
    for report in reports:
        if report.exit_code == Exit.OK:
            continue
        same = str(report.error) if report.error is not None and report.exit_code != Exit.PROBLEM else report.bdf
        groups.setdefault(same, []).append(report)
    return [(", ".join(f"GPU {one.index} {one.bdf}" for one in group), group[0]) for group in groups.values()]


def _print_reasons(printer: Printer, report: SelftestReport) -> None:
    findings = graver(list(report.findings))
    for finding in findings:
        print_finding(printer, finding)
    if report.error is not None and not findings:
        for line in error_lines(report.error):
            printer.line(f"  {line}")
    doubts = dict.fromkeys(check.reason for check in report.checks if check.in_doubt and check.reason)
    for reason in doubts:
        printer.line(f"  not verified: {reason}")


def closing_line(reports: list[SelftestReport]) -> str:
    """`8 of 8 ok, 1.2 GiB moved and compared`"""
    words: dict[str, int] = {}
    for report in reports:
        words[report.status] = words.get(report.status, 0) + 1
    good = words.pop("ok", 0)
    parts = [f"{good} of {len(reports)} ok", *(f"{count} {word}" for word, count in words.items())]
    return f"{', '.join(parts)}; {size_text(sum(report.bytes for report in reports))} moved"


def size_text(size: int) -> str:
    """`12.5 MiB`"""
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, len(_UNITS))
    return f"{size / 1024**power:.1f} {_UNITS[power - 1]}"


def _dry(found: list[Gpu], plans: list[dict[str, Any]], settings: Any, head: dict[str, Any]) -> int:
    bodies = []
    for gpu, plan in zip(found, plans, strict=True):
        error = plan["error"]
        bodies.append({**gpu_head(gpu), **plan, "error": None if error is None else error_body(error)})
    table = Table(
        ("gpu", "bdf", "part", "status", "step"),
        [(body["index"], body["bdf"], body["part"], body["status"], step) for body in bodies for step in body["steps"]],
    )

    def human(printer: Printer) -> None:
        for body, plan in zip(bodies, plans, strict=True):
            printer.heading(f"GPU {body['index']} {body['bdf']} {body['part']}: {body['status']}")
            for step in body["steps"]:
                printer.line(f"  {step}")
            for line in error_lines(plan["error"]) if plan["error"] is not None else ():
                printer.line(f"  {line}")

    emit(settings, "selftest", body={**head, "gpus": bodies}, table=table, human=human)
    return _code([Exit.OK if plan["error"] is None else int(plan["error"].exit_code) for plan in plans])


# ---------------------------------------------------------------- progress


@contextmanager
def _bar() -> Iterator[Callable[[SelftestProgress], None] | None]:
    """A bar on standard error while it is a terminal; nothing at all in a pipe."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        seen: dict[int, SelftestProgress] = {}

        def progress(event: SelftestProgress) -> None:
            seen[event.index] = event
            told = list(seen.values())
            what = f"GPU {event.index} {event.check} {event.engine}".rstrip()
            done, total = sum(one.done for one in told), sum(one.total for one in told)
            bar.update(task, completed=done, total=total, description=what)

        yield progress
