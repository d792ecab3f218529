"""Every fault of NVIDIA's model x {driver loaded, one of eight, no driver}: `reset --method auto` ends as the page says, and
as the model itself says (tools/reset_matrix_nv.py, `Cell.wrong`)."""

from __future__ import annotations

import pytest

from gpumodel.nvidia.faults import FAULTS
from tools.reset_cells import line_of
from tools.reset_matrix import PAGE
from tools.reset_matrix_nv import SETTINGS, rows, run


@pytest.mark.parametrize("faults", rows())
def test_matrix_row_is_right_and_as_the_page_has_it(faults: str) -> None:
    cells = [run(faults, setting) for setting in SETTINGS]
    assert [cell.wrong for cell in cells] == [()] * len(SETTINGS)
    line = line_of(faults, [cell.words for cell in cells])
    assert line in PAGE.read_text(encoding="utf-8").splitlines(), f"make reset-matrix; now it is {line}"


@pytest.mark.parametrize("part", ["h100", "b200", "rtx4090", "rtx5090"])
@pytest.mark.parametrize("faults", ["gsp-dead", "fallen-off-bus", "boot-stuck", "gsp-left", "xid:119"])
def test_matrix_other_parts_end_alike(faults: str, part: str) -> None:
    for setting in SETTINGS[::2]:
        cell, other = run(faults, setting), run(faults, setting, part)
        assert other.wrong == ()
        assert (other.report is None) == (cell.report is None)
        if other.report is None or cell.report is None:
            continue
        assert other.report.exit_code == cell.report.exit_code
        chip_differs = part == "rtx4090" and faults == "boot-stuck"  # devinit, not FSP: FLR is tried first
        assert chip_differs or other.words == cell.words


def test_matrix_page_has_every_fault_of_the_catalogue() -> None:
    assert {row.partition(":")[0].partition(",")[0] for row in rows()} == set(FAULTS)
