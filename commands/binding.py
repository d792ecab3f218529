"""`bind` and `unbind`: hand a GPU to a kernel driver and take it back. These write; they ask first."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import click

from base.errors import Exit, GpumendError, Refused, UsageError
from commands.common import Seconds, Settings, common_options, emit, gpu_head, settings_of
from render.reports import error_body
from render.text import Printer, Table

if TYPE_CHECKING:
    from gpumend import Gpu

_YES = click.option("--yes", is_flag=True, help="Do not ask.")
_DRY = click.option("--dry-run", is_flag=True, help="Print the writes, make none.")
_DESPITE = click.option("--despite-holders", is_flag=True, help="Go on although processes hold the GPU.")
_LIMIT = click.option(
    "--limit",
    metavar="SECONDS",
    type=Seconds(0.1, 600),
    default=30.0,
    show_default=True,
    help="Give up after so long.",
)
_COLUMNS = ("index", "bdf", "part", "status", "driver")


@click.command("bind", short_help="Hand a GPU to a kernel driver (amdgpu, nvidia, vfio-pci).")
@click.argument("driver")
@_YES
@_DRY
@_DESPITE
@_LIMIT
@common_options
@click.pass_context
def bind_command(
    context: click.Context, driver: str, yes: bool, dry_run: bool, despite_holders: bool, limit: float
) -> int:
    """Hand the selected GPUs (-g) to the kernel driver DRIVER, taking them from another if need be.

    Exit 0: bound, read back (--dry-run: would be); 1: tried, failed or stuck; 3: refused (held, or nobody to ask)."""
    if not driver:
        raise UsageError(
            "binding",
            expected="the name of a kernel driver",
            seen="an empty name",
            next_step="to take it from its driver: gpumend unbind",
        )
    return _hand_over(settings_of(context), "bind", driver, yes, dry_run, despite_holders, limit)


@click.command("unbind", short_help="Take a GPU from its kernel driver.")
@_YES
@_DRY
@_DESPITE
@_LIMIT
@common_options
@click.pass_context
def unbind_command(context: click.Context, yes: bool, dry_run: bool, despite_holders: bool, limit: float) -> int:
    """Take the selected GPUs (-g) from their kernel driver.

    Exit 0: no driver bound, read back (--dry-run: would be); 1: tried, failed or stuck; 3: refused."""
    return _hand_over(settings_of(context), "unbind", "", yes, dry_run, despite_holders, limit)


def _hand_over(
    settings: Settings, command: str, driver: str, yes: bool, dry_run: bool, despite: bool, limit_s: float
) -> int:
    from gpumend import hand_over, plan_hand_over

    if not math.isfinite(limit_s):
        raise UsageError(f"running {command}", expected="a limit in seconds", seen=str(limit_s))

    found = settings.find(command, acting=True, nvidia=True)
    plans = [plan_hand_over(gpu, driver) for gpu in found]
    if not dry_run and not yes:
        _ask(command, driver, found)
    rows: list[dict[str, Any]] = []
    codes: list[int] = []
    for gpu, plan in zip(found, plans, strict=True):
        row = gpu_head(gpu) | {"steps": plan, "status": "", "driver": None, "error": None}
        try:
            row |= hand_over(gpu, driver, dry_run=dry_run, despite_holders=despite, limit_s=limit_s)
            codes.append(Exit.OK)
        except GpumendError as error:
            row |= {"status": error.verb, "error": error_body(error)}
            codes.append(error.exit_code)
        rows.append(row)
    table = Table(("gpu", *_COLUMNS[1:]), [[row[name] for name in _COLUMNS] for row in rows])

    def human(printer: Printer) -> None:
        for row in rows:
            printer.heading(f"GPU {row['index']} {row['bdf']} {row['part']}: {row['status']}")
            for step in row["steps"]:
                printer.line(f"  {step}")
            for name in ("doing", "expected", "seen", "where", "next"):
                if row["error"] and row["error"][name]:
                    printer.line(f"  {name:<9} {row['error'][name]}")

    emit(settings, command, body={"gpus": rows}, table=table, human=human)
    return Exit.PROBLEM if Exit.PROBLEM in codes else max(codes)


def _ask(command: str, driver: str, found: list[Gpu]) -> None:
    names = ", ".join(f"{gpu.index} ({gpu.bdf}, now {gpu.info.driver or 'no driver'})" for gpu in found)
    what = f"{command} {driver}".strip()
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused(
            f"running {what} on {names}",
            expected="somebody to ask",
            seen="standard input is no terminal",
            next_step="--dry-run to see the writes, --yes to go on without asking",
        )
    if not click.confirm(f"{what}: GPU {names}. Go on?", err=True):
        raise Refused(f"running {what} on {names}", seen="the answer was no")
