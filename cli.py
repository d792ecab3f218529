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
    if list(arguments) == ["--version"]:
        return _print_version(VERSION)
    from commands.root import call

    return call(list(arguments))


def _print_version(version: str) -> int:
    try:
        sys.stdout.write(f"gpumend {version}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        from commands.root import reader_gone

        return reader_gone()
    return 0


if __name__ == "__main__":
    main()
