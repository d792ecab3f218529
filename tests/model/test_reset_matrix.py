"""Every fault of the model x {one GPU, one of eight} x {cold, used}: `reset --method auto` ends as docs/reset-matrix.md says.

And as the model itself says: what is reported healthy is, no member of a hive was reset alone, nothing was touched that must
not be (tools/reset_matrix.py, `Cell.wrong`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.errors import Exit
from gpumodel.faults import CATALOGUE
from tools.reset_cells import BUDGET_S, line_of
from tools.reset_matrix import PAGE, SETTINGS, rows, run

pytestmark = pytest.mark.usefixtures("firmware_dir")


@pytest.fixture(autouse=True)
def no_saved_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.long
@pytest.mark.parametrize("faults", rows())
def test_matrix_row_is_right_and_as_the_page_has_it(faults: str) -> None:
    cells = [run(faults, count, state) for count, state in SETTINGS]
    assert [cell.wrong for cell in cells] == [()] * len(SETTINGS)
    assert all(cell.report.seconds <= BUDGET_S for cell in cells)
    assert all(cell.report.exit_code in (Exit.OK, Exit.PROBLEM, Exit.REFUSED) for cell in cells)
    line = line_of(faults, [cell.words for cell in cells])
    assert line in PAGE.read_text(encoding="utf-8").splitlines(), f"make reset-matrix; now it is {line}"


@pytest.mark.parametrize("faults", rows())
def test_matrix_other_part_ends_alike(faults: str) -> None:
    cell, other = run(faults, "single", "used"), run(faults, "single", "used", "mi300x")
    assert other.wrong == ()
    assert other.report.exit_code == cell.report.exit_code
    assert [step.method for step in other.report.steps] == [step.method for step in cell.report.steps]


def test_matrix_page_has_every_fault_of_the_catalogue_and_no_other_row() -> None:
    amd = PAGE.read_text(encoding="utf-8").partition("## NVIDIA")[0]
    lines = [line for line in amd.splitlines() if line.startswith("| `")]
    assert len(lines) == len(rows())
    assert {line.split("`")[1].partition(":")[0] for line in lines} == set(CATALOGUE)
