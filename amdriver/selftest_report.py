"""What a self-test of an AMD GPU is made of: its checks, in words. Levels and reports: base/selftest.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from base.selftest import DataWrong, Level

CHECKS: Final = ("boot", "memory", "sdma", "compute", "timestamps", "interrupts", "peers", "close")
SKIPPABLE: Final = CHECKS[1:-1]
FINDINGS: Final = "amd.selftest"


class BarWrong(DataWrong):
    """The data are right in VRAM, as another engine reads them; BAR0 shows others."""


SUMMARIES: Final = {
    "boot": "the GPU cannot be brought up",
    "memory": "memory does not hold what was copied there",
    "sdma": "an SDMA engine fails",
    "compute": "a compute queue does not fence",
    "timestamps": "the clock does not run forwards",
    "interrupts": "interrupts do not arrive",
    "peers": "copies between peers fail",
    "close": "the GPU could not be closed cleanly",
    "lost": "the GPU is lost from the bus",
    "unreachable": "the GPU cannot be reached any more",
}


# ---------------------------------------------------------------- beforehand


def plan_lines(
    level: Level, engines: int, xccs: int, *, peers: int, only: Sequence[int] | None = None, skip: Sequence[str] = ()
) -> list[str]:
    """What a run would do to one GPU, in words."""
    numbers = [number for number in only if number < engines] if only is not None else list(range(engines))
    lines = {
        "boot": "boot: take the lock, load AMD's firmware, bring up all engines; what the VRAM holds is lost",
        "memory": f"memory: copies of 1 to {level.most_bytes} bytes, all alignments, verified through BAR0 and another engine",
        "sdma": f"sdma: copies of up to {level.engine_bytes} bytes on {_named('SDMA engine', numbers)}",
        "compute": f"compute: a fence, written data and timestamps on each of {xccs} XCCs",
        "timestamps": f"timestamps: {level.stamps} on each engine, never backwards, 100 MHz",
        "interrupts": f"interrupts: one of each of {len(numbers)} SDMA engines and {xccs} XCCs",
        "peers": f"peers: {level.peer_bytes} bytes from and to each of up to {peers} others of the hive",
        "close": "close: stop all engines, leave it so that any driver can start it",
    }
    return [line for name, line in lines.items() if name not in skip]


def _named(what: str, numbers: Sequence[int]) -> str:
    if not numbers:
        return f"no {what}"
    whole = list(range(numbers[0], numbers[-1] + 1)) == list(numbers)
    told = f"{numbers[0]} to {numbers[-1]}" if whole and len(numbers) > 1 else ", ".join(map(str, numbers))
    return f"{what}{'s' if len(numbers) > 1 else ''} {told}"
