"""The matrix of resets: every fault of the model, alone and on one GPU of eight, cold and used, and what `reset` makes of it.

    python -m tools.reset_matrix            # writes docs/reset-matrix.md
    python -m tools.reset_matrix --check    # exit 1 when the committed page says otherwise

Beside what gpumend reports, each cell asks the model itself: is the fault gone, did anybody do what must not be done, were all
members of the hive reset or none. Times are virtual. Evidence is left out (other tests hold it): models have no logs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gpumend
from base.clock import VirtualClock
from base.findings import Action, Health
from base.resets import Outcome, ResetReport
from gpumodel import open_models
from gpumodel.device import ModelGpu
from gpumodel.faults import CATALOGUE, Reset, ShowsAt
from tools import reset_matrix_nv
from tools.reset_cells import BUDGET_S, line_of, reset_once, words_of

PAGE = Path(__file__).resolve().parent.parent / "docs/reset-matrix.md"
PART = "mi350x"
SICK = 2
# A fault of resets shows only when somebody resets: each with what makes that method come up.
WITH: dict[str, tuple[str, ...]] = {
    "reset-wears-out": ("reset-wears-out:0,discovery-clobbered",),
    "reset-hangs": (
        "reset-hangs:mode1,discovery-clobbered",
        "reset-hangs:mec,mec-hang",
        "reset-hangs:mode2,reset-hangs:mec,mec-hang",
        "reset-hangs:sdma-engine,sdma-hang",
        "reset-hangs:queue,page-fault",
        "reset-hangs:bus-reset,bootloader-silent",
    ),
    "reset-lies": (
        "reset-lies:mode1,discovery-clobbered",
        "reset-lies:mec,mec-hang",
        "reset-lies:sdma-engine,sdma-hang",
        "reset-lies:queue,page-fault",
        "reset-lies:mode2,reset-lies:mec,mec-hang",
        "reset-lies:bus-reset,smu-silent",
    ),
    "flr-loses-config": ("flr-loses-config,bootloader-silent", "flr-loses-config,bus-lost"),
    "discovery-clobbered-after": (
        "discovery-clobbered-after:mode1,discovery-clobbered",
        "discovery-clobbered-after:mode1,discovery-clobbered-after:bus-reset,discovery-clobbered",
    ),
    "one-member-late": ("one-member-late,discovery-clobbered",),
}
SETTINGS = (("single", "cold"), ("single", "used"), ("hive", "cold"), ("hive", "used"))


@dataclass(frozen=True, slots=True)
class Cell:
    """One run. `wrong`: what must not be, in words; empty when all is as it should be."""

    faults: str
    count: str
    state: str
    report: ResetReport
    wrong: tuple[str, ...]

    @property
    def words(self) -> str:
        return words_of(self.report, SICK if self.count == "hive" else 0)


def rows() -> list[str]:
    """Every fault of the catalogue, and those of resets with what brings them out."""
    return [spec for name in CATALOGUE for spec in (name, *WITH.get(name, ()))]


def cells() -> Iterator[Cell]:
    for faults in rows():
        for count, state in SETTINGS:
            yield run(faults, count, state)


def run(faults: str, count: str, state: str, part: str = PART) -> Cell:
    """One cell: `reset --yes --method auto` on a fresh model."""
    hive = count == "hive"
    placed = ",".join(f"{fault}@{SICK}" for fault in faults.split(",")) if hive else faults
    spec = f"{part}{'*8' if hive else ''}?state={state}&fault={placed}"
    models = open_models(spec, VirtualClock())
    found = gpumend.list_gpus([f"model:{spec}"])
    for gpu, model in zip(found, models, strict=True):
        gpu.transport, gpu.clock = model, model.gpu.clock
    before = gpumend.probe_gpus(found)
    models[0].gpu.clock.sleep(1.0)
    report = reset_once(found)
    after = gpumend.probe_gpus(found)
    wrong = list(_wrong(report, [model.gpu for model in models]))
    if report.exit_code == 0 and any(one.health is Health.HUNG or one.health is Health.LOST for one in after):
        wrong.append("exit 0, and a fresh probe finds a GPU that is not well")
    if len(before) != len(report.gpus):
        wrong.append(f"{len(report.gpus)} outcomes for {len(before)} GPUs")
    return Cell(faults, count, state, report, tuple(wrong))


def _wrong(report: ResetReport, gpus: list[ModelGpu]) -> Iterator[str]:
    """What the model itself says against the report."""
    if report.exit_code not in (0, 1, 3):
        yield f"exit {report.exit_code}"
    if report.seconds > BUDGET_S:
        yield f"{report.seconds:.0f} s, beyond the budget"
    for gpu in gpus:
        yield from (f"GPU {gpu.index}: {text}" for text in gpu.wrongs if not _caused_by_fault(gpu))
    left = {name for gpu in gpus for name in _left(gpu)}
    if report.exit_code == 0 and left:
        yield f"exit 0, and the model still has {', '.join(sorted(left))}"
    if report.exit_code == 1:
        answers = {one.answer for one in report.gpus if one.outcome is Outcome.FAILED}
        if not answers <= {Action.POWER_CYCLE, Action.NODE_REBOOT, Action.CONTACT_VENDOR}:
            yield f"exit 1, and the answer is {', '.join(map(str, answers))}"
    if report.exit_code == 3 and report.steps:
        yield "refused after a step"
    yield from _half_reset(gpus)


def _left(gpu: ModelGpu) -> Iterator[str]:
    """Faults that a look shows and that some reset cures, by the state that they stand for."""
    state: dict[str, object] = {
        "bar-dead": gpu.lost_bars,
        "mec-hang": gpu.gfx.hung,
        "sdma-hang": gpu.sdma.hung,
        "page-fault": gpu.gmc.stays,
    }
    for active in gpu.faults:
        name, fault = active.fault.name, active.fault
        if fault.shows_at is ShowsAt.LOOK and fault.cures and (name not in state or state[name]):
            yield name


def _caused_by_fault(gpu: ModelGpu) -> bool:
    """A member that resets late is touched while it resets: that is the fault's doing."""
    return gpu.resets.late


def _half_reset(gpus: list[ModelGpu]) -> Iterator[str]:
    """mode1 strikes all members or none."""
    counts = {sum(done.kind is Reset.MODE1 for done in gpu.resets.done) for gpu in gpus if not gpu.resets.late}
    if len(counts) > 1 and not any(gpu.resets.lies for gpu in gpus):
        yield f"mode1 struck some members only: {sorted(counts)}"


def page() -> tuple[str, list[str]]:
    """The page, and what is wrong in it."""
    found = {(cell.faults, cell.count, cell.state): cell for cell in cells()}
    wrong = [f"{' '.join(key)}: {text}" for key, cell in found.items() for text in cell.wrong]
    lines = [
        "# What `gpumend reset --yes --method auto` makes of every fault",
        "",
        f"Made by `make reset-matrix` (tools/reset_matrix.py) from models of {PART}, the fault on the one GPU or on GPU {SICK}",
        "of eight. Do not edit;",
        "`tests/model/test_reset_matrix.py` holds it against the code. Times are virtual, from the first probe to the last.",
        "",
        "A cell: the methods in their order (`✗` failed, `~` took place, something was still wrong, `?` unverified, `!` made",
        "something worse), then how the GPU ended, or in **bold** what a person has to do (exit 1). `refused`: exit 3, nothing",
        "was touched. `nothing to do`: a look sees nothing: the fault shows when a driver starts the GPU, or resets it.",
        "",
        "| fault | " + " | ".join(f"{_count_words(count)}, {state}" for count, state in SETTINGS) + " |",
        "|---|" + "---|" * len(SETTINGS),
    ]
    for faults in rows():
        told = [found[faults, count, state].words for count, state in SETTINGS]
        lines.append(line_of(faults, told))
    more, more_wrong = reset_matrix_nv.section()
    return "\n".join([*lines, *more]) + "\n", wrong + more_wrong


def _count_words(count: str) -> str:
    return "one of eight" if count == "hive" else "single"


def main(arguments: list[str]) -> int:
    text, wrong = page()
    for line in wrong:
        print("WRONG", line)
    if "--check" in arguments:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE.name}: {'as the code has it' if same else 'differs: make reset-matrix'}")
        return int(bool(wrong) or not same)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
