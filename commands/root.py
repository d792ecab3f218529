"""The command group: which command lives where, and what becomes of errors."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from base.errors import Exit, GpumendError
from base.version import VERSION
from commands.common import Settings, common_options
from render.text import clean

# name: (module, attribute). Loaded when asked for, so that `list` pays for `list` only.
COMMANDS = {
    "list": ("commands.look", "list_command"),
    "probe": ("commands.look", "probe_command"),
    "discovery": ("commands.discovery", "discovery_group"),
    "firmware": ("commands.firmware", "firmware_group"),
    "ucode": ("commands.firmware", "firmware_group"),
    "regs": ("commands.regs", "regs_group"),
    "model": ("commands.model", "model_group"),
    "bind": ("commands.binding", "bind_command"),
    "unbind": ("commands.binding", "unbind_command"),
}
ALIASES = frozenset({"ucode"})


class LazyGroup(click.Group):
    """Imports a command's module when that command is called (or help is asked for)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if name not in ALIASES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        command: click.Command = getattr(importlib.import_module(place[0]), place[1])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=2)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda c, p, v: _version(c, v),
    help="Print the version.",
)
@common_options
def gpumend_group() -> None:
    """Say what is wrong with a hung AMD Instinct GPU, safely, and what brings it back.

    Without --on it looks at every supported GPU of this machine's PCI bus. To try it without a GPU:

        gpumend --on 'model:mi350x*8?fault=discovery-clobbered@2,bootloader-silent@5' probe
    """


def _version(context: click.Context, wanted: bool) -> None:
    if not wanted:
        return
    click.echo(f"gpumend {VERSION}")
    context.exit(0)


def call(arguments: list[str]) -> int:
    """Run the group on these arguments; every ending becomes an exit code and at most one message."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    settings = Settings()
    try:
        answer = gpumend_group.main(args=arguments, prog_name="gpumend", standalone_mode=False, obj=settings)
        sys.stdout.flush()
        return int(answer) if isinstance(answer, int) else Exit.OK
    except GpumendError as error:
        return _tell(error, settings)
    except click.Abort:
        sys.stderr.write("interrupted\n")
        return Exit.INTERRUPTED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return Exit.INTERRUPTED
    except click.ClickException as error:
        return _tell_usage(error, settings)
    except (BrokenPipeError, SystemExit):  # click turns a broken pipe into SystemExit(1), whatever mode it is asked for
        return reader_gone()
    except Exception as error:  # noqa: BLE001 - the last line of defence: one message, not a screen of Python
        return _tell_defect(error, settings)


def reader_gone() -> int:
    """Whoever read us has gone (`| head`): no answer was given, so no exit code may claim one. Keeps later flushes quiet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return Exit.NO_READER


def _tell(error: GpumendError, settings: Settings) -> int:
    from render.reports import document, error_body

    code = settings.none_found if error is settings.none_found_error else error.exit_code
    if settings.as_json:
        sys.stdout.write(document(settings.command, gpus=[], error={**error_body(error), "exit": int(code)}))
    sys.stderr.write(clean(error, keep_newlines=True) + "\n")
    return int(code)


def _tell_usage(error: click.ClickException, settings: Settings) -> int:
    from render.reports import document

    context = getattr(error, "ctx", None)
    help_of = context.command_path if context is not None else "gpumend"
    message = clean(error.format_message())
    if settings.as_json:
        body: dict[str, Any] = {"kind": "UsageError", "doing": "reading the arguments", "expected": "", "seen": message}
        body |= {"where": "", "next": f"{help_of} --help", "exit": int(Exit.USAGE)}
        sys.stdout.write(document(settings.command, gpus=[], error=body))
    sys.stderr.write(f"{message}\n  next      {help_of} --help\n")
    return Exit.USAGE


def _tell_defect(error: Exception, settings: Settings) -> int:
    import traceback

    if settings.traceback:
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    sys.stderr.write(
        f"gpumend has a defect: {type(error).__name__}: {clean(error)}\n"
        f"  where     {clean(os.path.basename(frame.filename))}:{frame.lineno} in {frame.name}\n"  # noqa: PTH119
        f"  next      report it, with the output of the same command and --traceback\n"
    )
    return Exit.DEFECT
