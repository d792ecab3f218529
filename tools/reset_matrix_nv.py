"""The rows of the matrix of resets for NVIDIA's GPUs: every fault of their model, with the driver loaded and without.

Beside what gpumend reports, each cell asks the model: is the fault gone, was a GPU reset that a driver had, was any other
touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gpumend
from base.clock import VirtualClock
from base.errors import Exit
from base.findings import Health
from base.resets import ResetReport
from gpumodel.nvidia import open_models
from gpumodel.nvidia.faults import FAULTS
from gpumodel.nvidia.gpu import LINK_ACTIVE, WPR2_HIGH, NvGpu
from tools.reset_cells import BUDGET_S, line_of, reset_once, words_of

PART = "h200"
SICK = 2
# What needs a number, and what shows only when somebody resets: with what brings it out.
WITH: dict[str, tuple[str, ...]] = {
    "xid": ("xid:13", "xid:48", "xid:62", "xid:74", "xid:79", "xid:95", "xid:119", "xid:154", "xid:173", "xid:9000"),
    "sxid": ("sxid:20034", "sxid:22003"),
    "recovery-action": tuple(f"recovery-action:{action}" for action in (1, 2, 3, 4)),
    "flr-fails": ("flr-fails", "flr-fails,gsp-dead", "flr-fails,gsp-left"),
    "resets-lie": ("resets-lie", "resets-lie,gsp-dead", "resets-lie,gsp-left"),
    "nvlink-down": ("nvlink-down:3",),
}
SETTINGS = ("driver loaded", "driver loaded, one of eight", "no driver")


@dataclass(frozen=True, slots=True)
class Cell:
    """One run; `report` None: such a fault cannot be there. `wrong`: what must not be, in words."""

    words: str
    report: ResetReport | None = None
    wrong: tuple[str, ...] = ()


def rows() -> list[str]:
    """Every fault of the catalogue."""
    return [spec for name in FAULTS for spec in WITH.get(name, (name,))]


def run(faults: str, setting: str, part: str = PART) -> Cell:
    """One cell: `reset --yes --unbind --kill-holders --method auto` on a fresh model."""
    bare, eight = setting == "no driver", "eight" in setting
    needs = {FAULTS[fault.partition(":")[0]].needs for fault in faults.split(",")} - {""}
    if needs & {"driver" if bare else "bare"}:
        return Cell("-")
    placed = ",".join(f"{fault}@{SICK}" for fault in faults.split(",")) if eight else faults
    spec = f"{part}{'*8' if eight else ''}?{'driver=none&' if bare else ''}fault={placed}"
    models = open_models(spec, VirtualClock())
    found = gpumend.list_gpus([f"model:{spec}"])
    for gpu, model in zip(found, models, strict=True):
        gpu.transport, gpu.clock = model, model.gpu.machine.clock
    report = reset_once(found, makes_way=True)
    after = gpumend.probe_gpus(found)
    sick = SICK if eight else 0
    wrong = list(_wrong(report, [model.gpu for model in models], sick))
    if report.exit_code == Exit.OK and any(one.health is not Health.HEALTHY for one in after):
        wrong.append("exit 0, and a fresh probe finds a GPU that is not well")
    return Cell(words_of(report, sick), report, tuple(wrong))


def _wrong(report: ResetReport, gpus: list[NvGpu], sick: int) -> Iterator[str]:
    if report.exit_code not in (Exit.OK, Exit.PROBLEM, Exit.UNKNOWN, Exit.REFUSED):
        yield f"exit {report.exit_code}"
    if report.seconds > BUDGET_S:
        yield f"{report.seconds:.0f} s, beyond the budget"
    for gpu in gpus:
        if gpu.index != sick and (gpu.resets_done or (not gpu.bound and gpu.machine.driver)):
            yield f"GPU {gpu.index} was touched"
        if gpu.reset_while_bound:
            yield f"GPU {gpu.index} was reset while its driver had it"
    gpu = gpus[sick]
    if report.exit_code == Exit.OK and report.steps:
        if not gpu.resets_done and not gpu.lies_about_resets:
            yield "a reset was told that did not strike"
        yield from _left(gpu)


def _left(gpu: NvGpu) -> Iterator[str]:
    """What a reset that was told to have helped must have ended."""
    states = {
        "lost": gpu.lost,
        "WPR2 locked": bool(gpu.registers[WPR2_HIGH]),
        "boot not done": not gpu.can_start,
        "a row waits": gpu.rm.remap_pending,
        "a link down": any(state != LINK_ACTIVE for state in gpu.rm.links.values()),
        "scratch bits": bool(gpu.scratch_bits),
    }
    yield from (f"exit 0, and the model says: {name}" for name, holds in states.items() if holds)


def section() -> tuple[list[str], list[str]]:
    """The lines of the page, and what is wrong in them."""
    lines = [
        "",
        "## NVIDIA",
        "",
        f"The same of models of {PART}, with `--unbind --kill-holders`: without them every GPU that a driver has is",
        "refused, and who holds it is named. The driver stays unbound afterwards. `-`: there can be no such fault.",
        "",
        "| fault | " + " | ".join(SETTINGS) + " |",
        "|---|" + "---|" * len(SETTINGS),
    ]
    wrong = []
    for faults in rows():
        cells = [run(faults, setting) for setting in SETTINGS]
        wrong += [
            f"{faults}, {name}: {text}" for name, cell in zip(SETTINGS, cells, strict=True) for text in cell.wrong
        ]
        lines.append(line_of(faults, [cell.words for cell in cells]))
    return lines, wrong
