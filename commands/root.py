"""The command group: which command lives where, and what becomes of errors."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from base.errors import Exit, GpumendError
from base.version import VERSION
from commands.common import Group, NoCommand, Settings, common_options
from render.text import clean

# name: (module, attribute). Loaded when asked for, so that `list` pays for `list` only.
COMMANDS = {
    "list": ("commands.look", "list_command"),
    "probe": ("commands.look", "probe_command"),
    "discovery": ("commands.discovery", "discovery_group"),
    "firmware": ("commands.firmware", "firmware_group"),
    "ucode": ("commands.firmware", "firmware_group"),
    "reset": ("commands.reset", "reset_command"),
    "regs": ("commands.regs", "regs_group"),
    "trace": ("commands.trace", "trace_group"),
    "isa": ("commands.isa", "isa_group"),
    "selftest": ("commands.selftest", "selftest_command"),
    "repro": ("commands.repro", "repro_group"),
    "clocks": ("commands.clocks", "clocks_group"),
    "tinygrad": ("commands.tinygrad", "tinygrad_command"),
    "model": ("commands.model", "model_group"),
    "lab": ("commands.lab", "lab_group"),
    "bind": ("commands.binding", "bind_command"),
    "unbind": ("commands.binding", "unbind_command"),
}
ALIASES = frozenset({"ucode"})


class LazyGroup(Group):
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

    \b
        gpumend --on 'model:mi350x*8?fault=discovery-clobbered@2,bootloader-silent@5' probe
    """


def _version(context: click.Context, wanted: bool) -> None:
    if not wanted:
        return
    click.echo(f"gpumend {VERSION}")
    context.exit(0)


def call(arguments: list[str]) -> int:
    """Run the group on these arguments; every ending becomes an exit code and at most one message."""
    _safe_streams()
    settings = Settings()
    try:
        answer = gpumend_group.main(args=arguments, prog_name="gpumend", standalone_mode=False, obj=settings)
        sys.stdout.flush()
        return int(answer) if isinstance(answer, int) else Exit.OK
    except Exception as error:  # noqa: BLE001 - sorted out below, to the last kind
        return _ending(error, settings, arguments)
    except (KeyboardInterrupt, SystemExit) as error:
        # click turns a broken pipe into SystemExit(1), whatever mode it is asked for
        return _interrupted() if isinstance(error, KeyboardInterrupt) else reader_gone()


def _safe_streams() -> None:
    """Streams that take every character and every byte: closed ones become nothing, unbuffered ones get a buffer.

    Without a buffer (PYTHONUNBUFFERED) Python drops what a short write leaves over, and nobody would know."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - it lives as long as we do
            continue
        raw = getattr(stream, "buffer", None)
        if isinstance(raw, io.RawIOBase):
            whole = io.BufferedWriter(raw)
            setattr(
                sys, name, io.TextIOWrapper(whole, stream.encoding, "backslashreplace", line_buffering=name == "stderr")
            )
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _ending(error: Exception, settings: Settings, arguments: list[str]) -> int:
    settings.as_json = settings.as_json or "--json" in arguments
    try:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Python 3.11 wraps what interrupts a __set_name__
            return _interrupted()
        if isinstance(error, GpumendError):
            return _tell(error, settings)
        if isinstance(error, click.Abort):
            return _interrupted()
        if isinstance(error, click.ClickException):
            return _tell_usage(error, settings)
        if isinstance(error, BrokenPipeError):
            return reader_gone()
        if isinstance(error, OSError):
            return _tell_system(error)
        return _tell_defect(error, settings)
    except BrokenPipeError:
        return reader_gone()
    except OSError as second:
        return _tell_system(second)


def reader_gone() -> int:
    """Whoever read us has gone (`| head`): no answer was given, so no exit code may claim one. Keeps later flushes quiet."""
    _discard_output()
    return Exit.NO_READER


def _discard_output() -> None:
    """Send what is still in the buffer nowhere, so that the interpreter does not try once more at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        sys.stdout = None


def _interrupted() -> int:
    say("interrupted")
    return Exit.INTERRUPTED


def say(*lines: str) -> None:
    """A message on standard error. That it cannot be written changes nothing about the answer."""
    try:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.stderr = None


def _answer(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _tell(error: GpumendError, settings: Settings) -> int:
    from render.reports import document, error_body, error_lines

    code = settings.none_found if error is settings.none_found_error else error.exit_code
    say(*error_lines(error))
    if settings.as_json:
        _answer(document(settings.command, gpus=[], error={**error_body(error), "exit": int(code)}))
    return int(code)


def _tell_usage(error: click.ClickException, settings: Settings) -> int:
    from render.reports import document

    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "gpumend"
    message = error.format_message()
    if isinstance(error, NoCommand):
        say(message)  # the help text is ours, and has lines
        message = "no command was given"
    else:
        say(clean(message), f"  next      {path} --help")
    if settings.as_json:
        body: dict[str, Any] = {"kind": "UsageError", "doing": "reading the arguments", "expected": "", "seen": message}
        body |= {"where": "", "next": f"{path} --help", "exit": int(Exit.USAGE)}
        _answer(document(path.partition(" ")[2], gpus=[], error=body))
    return Exit.USAGE


def _tell_system(error: OSError) -> int:
    """The operating system said no where no command expects it: a full disk under the output, no file handles left."""
    _discard_output()
    say(
        f"the operating system refused: {clean(error.strerror or error)}",
        *([f"  where     {clean(error.filename)}"] if error.filename else []),
    )
    return Exit.SYSTEM


def _tell_defect(error: Exception, settings: Settings) -> int:
    import traceback

    if settings.traceback:
        say(*(clean(line) for part in traceback.format_exception(error) for line in part.splitlines()))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    say(
        f"gpumend has a defect: {type(error).__name__}: {clean(error)}",
        f"  where     {clean(os.path.basename(frame.filename))}:{frame.lineno} in {frame.name}",  # noqa: PTH119
        "  next      report it, with the output of the same command and --traceback",
    )
    return Exit.DEFECT
