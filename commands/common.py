"""What all commands share: the options of DESIGN section 4, and how answers are printed."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from base.errors import Exit, Unavailable
from base.findings import Finding, Health, Severity
from gpumend import ADDRESS_HELP, MODEL_LINE, SUPPORTED, Gpu, list_gpus, require_amd
from render.text import Printer, Table, csv_text

F = TypeVar("F", bound=Callable[..., Any])


class _FilePath(click.Path):
    """A file as an argument; what it holds is the command's matter. An unset variable in a script is not this folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("The name of the file is empty.", param, ctx)
        return super().convert(value, param, ctx)


FILE = _FilePath()


class NoCommand(click.UsageError):
    """A group was called without a command; the message is its help text."""


class Group(click.Group):
    """A group that is wrong use without a command, whatever the version of click: 8.1 ends with the help text and 0."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            raise NoCommand(ctx.get_help(), ctx)
        return super().parse_args(ctx, args)


@dataclass(slots=True)
class Settings:
    """The options given so far, before the command's name or after it."""

    on: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    as_json: bool = False
    as_csv: bool = False
    firmware: str | None = None
    traceback: bool = False
    command: str = ""
    none_found: int = Exit.UNKNOWN
    none_found_error: Exception | None = None

    def find(self, command: str, *, acting: bool = False, nvidia: bool = False) -> list[Gpu]:
        """The selected GPUs, at least one. None there: Unavailable; exit 2 from a check command, 69 from an acting one.

        `nvidia`: the command knows NVIDIA's GPUs, too; without it they are refused (UsageError)."""
        self.command = command
        self.none_found = Exit.UNAVAILABLE if acting else Exit.UNKNOWN
        try:
            found = list_gpus(self.on, self.gpus)
        except Unavailable as error:
            if not self.on and not os.environ.get("GPUMEND_ON"):
                self.none_found_error = error
                error.next_step = "; ".join(filter(None, (error.next_step, f"to try it without a GPU: {MODEL_LINE}")))
            raise
        if not found:
            self.none_found_error = Unavailable(
                "looking for a supported GPU",
                expected=f"{SUPPORTED}, on this machine's PCI bus",
                seen="none",
                where="/sys/bus/pci/devices",
                next_step=f"to try it without a GPU: {MODEL_LINE}",
                verb="found nothing",
            )
            raise self.none_found_error
        if not nvidia:
            require_amd(found, f"gpumend {command}")
        return found


def _store(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> Any:
        settings = context.find_object(Settings)
        if settings is None or value in (None, False, ()):
            return value
        if isinstance(value, tuple):
            value = getattr(settings, name) + value
        setattr(settings, name, value)
        return value

    return callback


_COMMON: tuple[tuple[tuple[str, ...], str, dict[str, Any]], ...] = (
    (
        ("--on",),
        "on",
        {"metavar": "ADDRESS", "multiple": True, "help": f"Where the GPUs are: {ADDRESS_HELP}. Repeatable."},
    ),
    (("-g", "--gpu"), "gpus", {"metavar": "GPU", "multiple": True, "help": "Index, BDF, UUID or all; repeatable."}),
    (("--json",), "as_json", {"is_flag": True, "help": "One JSON document."}),
    (("--csv",), "as_csv", {"is_flag": True, "help": "Comma-separated rows."}),
    (("--firmware",), "firmware", {"metavar": "DIR", "help": "Folder with AMD's firmware files."}),
    (("--traceback",), "traceback", {"is_flag": True, "hidden": True}),
)


def common_options(function: F) -> F:
    """--on, -g, --json, --csv, --firmware: accepted before the command's name and after it."""
    for flags, name, attributes in reversed(_COMMON):
        function = click.option(*flags, expose_value=False, is_eager=True, callback=_store(name), **attributes)(
            function
        )
    return function


class Seconds(click.FloatRange):
    """Seconds within a range. click takes `nan`, which is below no limit: a wait for so long has no end."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number = float(super().convert(value, parameter, context))
        if math.isnan(number):
            self.fail(f"{value} is no number of seconds", parameter, context)
        return number


def probe_limit(flag: str) -> Callable[[F], F]:
    """The option for how long a probe may take, as `limit_s`."""
    return click.option(
        flag,
        "limit_s",
        type=Seconds(0.5, 600),
        default=2.0,
        show_default=True,
        envvar="GPUMEND_PROBE_TIMEOUT",
        metavar="SECONDS",
        help="For a probe of all GPUs together; slow machines need more (or GPUMEND_PROBE_TIMEOUT).",
    )


def settings_of(context: click.Context) -> Settings:
    settings = context.find_object(Settings)
    assert settings is not None, "the root group always has settings"
    return settings


def emit(
    settings: Settings, command: str, *, body: dict[str, Any], table: Table, human: Callable[[Printer], None]
) -> None:
    """Print an answer in the form that was asked for."""
    if settings.as_json:
        from render.reports import document

        sys.stdout.write(document(command, **body))
    elif settings.as_csv:
        sys.stdout.write(csv_text(table))
    else:
        human(Printer())


def worst(codes: Iterable[int]) -> int:
    """Several answers in one exit code: 1 beats 2 beats 0."""
    seen = set(codes)
    return Exit.PROBLEM if Exit.PROBLEM in seen else Exit.UNKNOWN if Exit.UNKNOWN in seen else Exit.OK


def code_of_health(health: Health) -> int:
    if health == Health.HEALTHY:
        return Exit.OK
    return Exit.UNKNOWN if health == Health.UNKNOWN else Exit.PROBLEM


def code_of_findings(findings: Iterable[Finding]) -> int:
    """0 with nothing above a note, 1 with a warning or worse, 2 where something could not be told."""
    worst_seen = max((finding.severity.rank for finding in findings), default=0)
    if worst_seen >= Severity.WARNING.rank:
        return Exit.PROBLEM
    return Exit.UNKNOWN if worst_seen == Severity.UNKNOWN.rank else Exit.OK


def gpu_head(gpu: Gpu) -> dict[str, Any]:
    """What every entry of "gpus" starts with (docs/json.md)."""
    return {"index": gpu.index, "bdf": gpu.bdf, "part": gpu.part.name, "arch": gpu.part.arch}


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP are what Ctrl-C is: GPUs that were opened are closed first. What is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, signal.default_int_handler) for one in numbers}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
