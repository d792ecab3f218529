"""The command line: parse, call, render, exit code. No register names here.

`--version` is answered before click is imported; the commands live in `commands/`, loaded one by one when asked for.
One place maps errors to exit codes (base/errors.py)."""

from __future__ import annotations

import _thread
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from base.version import VERSION

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def main() -> NoReturn:
    """Entry point of `gpumend` and `python -m gpumend`; leaves with the exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; never raises for anything a user can cause."""
    sys.unraisablehook = _unraisable
    try:
        if list(arguments) == ["--version"] and sys.stdout is not None:
            return _print_version()
        from commands.root import call

        return call(list(arguments))
    except KeyboardInterrupt:  # while commands are still being imported
        return 130


def _print_version() -> int:
    try:
        sys.stdout.write(f"gpumend {VERSION}\n")
        sys.stdout.flush()
    except OSError:
        from commands.root import call

        return call(["--version"])  # which knows how to tell
    return 0


def _unraisable(lost: UnraisableHookArgs) -> None:
    """An interrupt that hit a destructor or a weak reference's callback (imports have many) would be printed and lost."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    while True:
        try:
            _let_it_come_again()
            return
        except KeyboardInterrupt:  # on a busy machine it comes again before this is over, and is lost again
            continue


def _let_it_come_again() -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    arrived: list[int] = []

    def handler(number: int, _: object) -> None:
        arrived.append(number)
        signal.signal(number, before)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    _thread.start_new_thread(_interrupt_again, (_thread.get_ident(), arrived))


def _interrupt_again(main_thread: int, arrived: list[int]) -> None:
    import signal

    pause_s = 0.001  # by then the callback is over
    while not arrived:
        time.sleep(pause_s)
        if not arrived:
            signal.pthread_kill(main_thread, signal.SIGINT)  # a signal, since it must also end a sleep
        pause_s = 0.1  # one that came just before a sleep began does not end it: once more


if __name__ == "__main__":
    main()
