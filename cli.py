"""The command line: parse, call, render, exit code. No register names here.

`--version` is answered before click is imported; the commands live in `commands/`, loaded one by one when asked for.
One place maps errors to exit codes (base/errors.py)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from base.version import VERSION


def main() -> NoReturn:
    """Entry point of `gpumend` and `python -m gpumend`; leaves with the exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; never raises for anything a user can cause."""
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


if __name__ == "__main__":
    main()
