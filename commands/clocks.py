"""`clocks`: what each clock of a GPU may do; the graphics clock pinned for timings that repeat, and given back."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from base.errors import Exit, GpumendError, Refused, Unavailable
from commands.common import Group, Settings, common_options, emit, ends_in_order, gpu_head, settings_of
from render.reports import error_body
from render.text import Printer, Table

if TYPE_CHECKING:
    from gpumend import ClockMessage, Gpu

_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_DRY = click.option("--dry-run", is_flag=True, help="Print the messages; only questions are sent.")
_COLUMNS = ("gpu", "bdf", "part", "status", "mhz")
KILLED_BASE = 128  # as a shell has it


@click.group("clocks", cls=Group, short_help="Clocks: show, pin for timings that repeat, free again.")
def clocks_group() -> None:
    """The power firmware (SMU) is asked and told by messages, under the GPU's lock, while no driver is bound to the GPU.

    It says that it took a limit; what the clock then is can only be measured, by a program that has the GPU open."""


@clocks_group.command("show", short_help="Range and levels of each clock.")
@common_options
@click.pass_context
def show(context: click.Context) -> int:
    """What the firmware allows each clock, in MHz. Exit 0: told; 3: refused (held, or a driver is bound)."""
    from gpumend import clock_ranges

    settings = settings_of(context)

    def ask(gpu: Gpu) -> dict[str, Any]:
        clocks = [
            {
                "clock": one.name,
                "lowest_mhz": one.lowest_mhz,
                "highest_mhz": one.highest_mhz,
                "levels_mhz": list(one.levels_mhz),
            }
            for one in clock_ranges(gpu)
        ]
        return {"status": "told", "clocks": clocks}

    rows, code = _each(settings.find("clocks show", acting=True), ask)
    table = Table(
        ("gpu", "bdf", "clock", "lowest", "highest", "levels"),
        [
            (row["index"], row["bdf"], one["clock"], one["lowest_mhz"], one["highest_mhz"],
             " ".join(map(str, one["levels_mhz"])) or "any")
            for row in rows for one in row.get("clocks", ())
        ],
        right=frozenset(("lowest", "highest")),
    )  # fmt: skip

    def human(printer: Printer) -> None:
        _errors(printer, rows)
        printer.table(table)

    emit(settings, "clocks show", body={"gpus": rows}, table=table, human=human)
    return code


@clocks_group.command("pin", short_help="Hold the graphics clock at one frequency, while a command runs.")
@click.option("--mhz", type=click.IntRange(1, 65535), metavar="MHZ", help="The frequency; without it, the highest.")
@click.option("--keep", is_flag=True, help="Leave it pinned and end: `gpumend clocks auto` frees it.")
@_YES
@_DRY
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@common_options
@click.pass_context
def pin(context: click.Context, mhz: int | None, keep: bool, yes: bool, dry_run: bool, command: tuple[str, ...]) -> int:
    """Pin the graphics clock, run COMMAND (none: wait for Ctrl-C), and free the clock again, however it ends.

    Who kills this process with SIGKILL leaves the clock pinned: `gpumend clocks auto` frees it, as a reset does.

    Exit: that of COMMAND (128 and the signal's number when it was killed); without one 0:
    pinned and freed again; 1: tried, failed; 3: refused; 64: out of the clock's range."""
    from gpumend import free_clocks, pin_clocks, plan_clocks

    settings = settings_of(context)
    found = settings.find("clocks pin", acting=True)
    if keep and command:
        raise click.UsageError("--keep ends at once: it runs no command.", context)
    if dry_run:
        return _planned(settings, "clocks pin", found, lambda gpu: plan_clocks(gpu, mhz))
    _ask("clocks pin", f"holds the graphics clock at {mhz or 'its highest'}{' MHz' if mhz else ''}", found, yes)
    if keep:
        rows, code = _each(found, lambda gpu: {"status": "pinned", "mhz": pin_clocks(gpu, mhz)})
        return _told(settings, "clocks pin", rows, code)
    with ends_in_order(), _freed(found, free_clocks) as pinned:
        for gpu in found:
            pinned.append(gpu)  # before, so that what is half done is freed too
            at = pin_clocks(gpu, mhz)
            print(f"GPU {gpu.index} {gpu.bdf}: graphics clock pinned at {at} MHz", file=sys.stderr, flush=True)
        return _run(command)


@clocks_group.command("auto", short_help="Give the graphics clock its whole range again.")
@_YES
@_DRY
@common_options
@click.pass_context
def auto(context: click.Context, yes: bool, dry_run: bool) -> int:
    """Let the firmware choose the graphics clock in its whole range. Exit 0: the firmware took it; 1: failed; 3: refused."""
    from gpumend import free_clocks, plan_clocks

    settings = settings_of(context)
    found = settings.find("clocks auto", acting=True)
    if dry_run:
        return _planned(settings, "clocks auto", found, lambda gpu: plan_clocks(gpu, free=True))
    _ask("clocks auto", "gives the graphics clock its whole range", found, yes)

    def free(gpu: Gpu) -> dict[str, Any]:
        free_clocks(gpu)
        return {"status": "free"}

    return _told(settings, "clocks auto", *_each(found, free))


def _run(command: Sequence[str]) -> int:
    """Until it ends, or (none) until somebody interrupts."""
    if not command:
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return Exit.OK
    try:
        code = subprocess.call(command)
    except OSError as error:
        raise Unavailable(
            f"running {command[0]!r}", expected="a program of that name", seen=error.strerror or str(error)
        ) from error
    return code if code >= 0 else KILLED_BASE - code


@contextmanager
def _freed(found: Sequence[Gpu], free: Callable[[Gpu], None]) -> Iterator[list[Gpu]]:
    """Frees the clocks of what is in the list at the end; one that fails does not keep the others from it."""
    pinned: list[Gpu] = []
    try:
        yield pinned
    finally:
        failed: list[GpumendError] = []
        for gpu in pinned:
            try:
                free(gpu)
            except GpumendError as error:
                error.next_step = f"gpumend -g {gpu.index} clocks auto; a reset frees it too"
                failed.append(error)
        if failed:
            raise failed[0]


def _each(found: Sequence[Gpu], work: Callable[[Gpu], dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """One row for each GPU, whatever happens to the others, and the exit code of all."""
    rows: list[dict[str, Any]] = []
    codes: list[int] = []
    for gpu in found:
        row = gpu_head(gpu) | {"status": "", "error": None}
        try:
            row |= work(gpu)
            codes.append(Exit.OK)
        except GpumendError as error:
            row |= {"status": error.verb, "error": error_body(error)}
            codes.append(error.exit_code)
        rows.append(row)
    return rows, Exit.PROBLEM if Exit.PROBLEM in codes else max(codes)


def _planned(settings: Settings, name: str, found: Sequence[Gpu], plan: Callable[[Gpu], list[ClockMessage]]) -> int:
    rows, code = _each(found, lambda gpu: {"status": "would be done", "steps": [str(message) for message in plan(gpu)]})
    return _told(settings, name, rows, code)


def _told(settings: Settings, name: str, rows: list[dict[str, Any]], code: int) -> int:
    table = Table(
        _COLUMNS, [[row["index"], row["bdf"], row["part"], row["status"], row.get("mhz", "")] for row in rows]
    )

    def human(printer: Printer) -> None:
        for row in rows:
            at = f" at {row['mhz']} MHz" if row.get("mhz") else ""
            printer.heading(f"GPU {row['index']} {row['bdf']} {row['part']}: {row['status']}{at}")
            for step in row.get("steps", ()):
                printer.line(f"  {step}")
        _errors(printer, rows)

    emit(settings, name, body={"gpus": rows}, table=table, human=human)
    return code


def _errors(printer: Printer, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for name in ("doing", "expected", "seen", "where", "next"):
            if row["error"] and row["error"][name]:
                printer.line(f"  {name:<9} {row['error'][name]}")


def _ask(name: str, what: str, found: Sequence[Gpu], yes: bool) -> None:
    """Before something of this machine is changed. A model is asked for nothing."""
    here = [gpu for gpu in found if gpu.on_host]
    if yes or not here:
        return
    names = ", ".join(f"{gpu.index} ({gpu.bdf})" for gpu in here)
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused(
            f"running {name} on GPU {names}",
            expected="somebody to ask",
            seen="standard input is no terminal",
            next_step="--dry-run to see the messages, --yes to go on without asking",
        )
    if not click.confirm(f"{name} {what} on GPU {names}. Go on?", err=True):
        raise Refused(f"running {name} on GPU {names}", seen="the answer was no")
