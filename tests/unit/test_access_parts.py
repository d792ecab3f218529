"""amdriver/parts.py: every id of amd-bringup.md section 1."""

from __future__ import annotations

import pytest

from amdriver.parts import PARTS, part_of

IDS = {
    0x74A0: ("MI300A", 0x74B4),
    0x74A1: ("MI300X", 0x74B5),
    0x74A2: ("MI308X", 0x74B6),
    0x74A5: ("MI325X", 0x74B9),
    0x74A8: ("MI308X-HF", 0x74BC),
    0x74A9: ("MI300X-HF", 0x74BD),
    0x75A0: ("MI350X", 0x75B0),
    0x75A3: ("MI355X", 0x75B3),
    0x75A8: ("MI350P", 0x75B8),
}


@pytest.mark.parametrize("device", IDS)
def test_parts_each_id_and_its_virtual_function_is_known(device: int) -> None:
    name, virtual = IDS[device]
    part, vf = part_of(0x1002, device), part_of(0x1002, virtual)
    assert part is not None
    assert vf is not None
    assert (part.name, part.is_vf, vf.is_vf) == (name, False, True)
    assert part.arch == vf.arch == ("gfx950" if device >= 0x7500 else "gfx942")
    assert part.is_apu == (name == "MI300A")


def test_parts_no_other_id_is_known() -> None:
    assert set(PARTS) == set(IDS) | {virtual for _, virtual in IDS.values()}


def test_parts_another_vendor_with_the_same_id_is_not_ours() -> None:
    assert part_of(0x10DE, 0x74A1) is None
    assert part_of(0x1002, 0x731F) is None


def test_parts_memory_range_of_an_mi300x_holds_what_a_real_one_says() -> None:
    part = part_of(0x1002, 0x74A1)
    assert part is not None
    assert part.vram_range_mib is not None
    low, high = part.vram_range_mib
    assert low <= 196592 <= high == 196608


def test_parts_memory_of_vf_and_apu_is_not_judged() -> None:
    for device in (0x74B5, 0x74A0):
        part = part_of(0x1002, device)
        assert part is not None
        assert part.vram_range_mib is None
