"""`make bench`: every benchmark, one table of ratios. Times are medians of this run on this machine; quote the ratios."""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path

from bench.harness import Row


def _unit(seconds: float) -> str:
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {name}"
    return f"{seconds / 1e-9:.3g} ns"


def _line(row: Row) -> str:
    ratio = f"{row.ratio:.2f}x" if row.floor_s else "-"
    floor = _unit(row.floor_s) if row.floor_s else "-"
    return f"{row.work:<58}{_unit(row.ours_s):>10}{floor:>10}{ratio:>9}  {row.goal:<14}{row.peer}"


def main() -> None:
    """Run the benchmarks named on the command line (`discovery probe ...`), or all."""
    wanted = sys.argv[1:]
    here = Path(__file__).parent
    names = [path.stem.removeprefix("bench_") for path in sorted(here.glob("bench_*.py"))]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        sys.exit(f"no benchmark is called {' or '.join(unknown)}; there are {', '.join(names)}")
    print(
        f"Python {platform.python_version()} on {platform.machine()}; ratios are ours / floor, side by side in this run"
    )
    print(f"{'work':<58}{'ours':>10}{'floor':>10}{'ratio':>9}  {'goal':<14}peers")
    for name in [name for name in names if not wanted or name in wanted]:
        for row in importlib.import_module(f"bench.bench_{name}").rows():
            print(_line(row))


if __name__ == "__main__":
    main()
