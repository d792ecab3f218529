"""What a command line costs, against the interpreter alone (`python -c pass`)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.harness import Row, compare, duration

ROOT = Path(__file__).resolve().parent.parent


def _ran(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def rows() -> list[Row]:
    floor = _ran("-c", "pass")
    return [
        compare("gpumend --version", _ran("-m", "cli", "--version"), floor, goal="<= 3x", peer="import tinygrad 15.6x"),
        compare("import click alone", _ran("-c", "import click"), floor, goal="(floor of list)", peer="4.0x"),
        compare(
            "gpumend list (this bus)",
            _ran("-m", "cli", "list"),
            floor,
            goal="<= 5x",
            peer="amd-smi list 6.5-7x, rocm-smi 8.7x, tinygrad bus scan 19.6x",
        ),
        compare(
            "gpumend --on model:mi350x*8 list", _ran("-m", "cli", "--on", "model:mi350x*8", "list"), floor, goal="-"
        ),
        duration("gpumend model demo", _ran("-m", "cli", "model", "demo"), goal="< 10 s"),
    ]
