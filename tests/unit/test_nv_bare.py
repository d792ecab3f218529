"""PCI mode: what the registers of boot tell, and which of them are left alone. Values by hand from nvidia-gsp.md."""

from __future__ import annotations

import pytest

from nvdriver.bare import Bare, Stage, describe_refused, look

HOPPER = {
    0x0: 0x180000A1,
    0xA00: 0x1800A000,
    0x1FA824: 0,
    0x1FA828: 0,
    0x1438: 0,
    0x1478: 0,
    0x0200BC: 0xFF,
    0x1183A4: 144384,
}
HOPPER |= {0x110040: 0, 0x110080: 0, 0x1100F4: 0x80000400, 0x111388: 0x10}
ADA = {0x0: 0x192000A1, 0xA00: 0x1920A000, 0x1FA824: 0, 0x1FA828: 0, 0x1438: 0, 0x1478: 0, 0x118128: 1, 0x118234: 0xFF}
ADA |= {0x1183A4: 24576, 0x110040: 0, 0x110080: 0, 0x1100F4: 0x80000400, 0x111388: 0x10, 0x840040: 0, 0x840100: 0x10}


def seen(values: dict[int, int], *, alone: bool = True) -> tuple[Bare, list[int]]:
    asked: list[int] = []

    def read(offset: int) -> int:
        asked.append(offset)
        return values.get(offset, 0xBADF1100)

    return look(read, alone=alone), asked


@pytest.mark.parametrize(
    ("values", "chip", "mib"), [(HOPPER, "GH100", 144384), (ADA, "AD102", 24576)], ids=["GH100", "AD102"]
)
def test_look_at_a_gpu_that_is_ready(values: dict[int, int], chip: str, mib: int) -> None:
    bare, _ = seen(values)
    assert (bare.chip, bare.stage, bare.boot_done, bare.wpr2, bare.memory_mib) == (chip, Stage.READY, True, None, mib)
    assert not bare.refused


def test_look_beside_a_driver_leaves_every_falcon_alone() -> None:
    _, asked = seen(ADA, alone=False)
    assert not [hex(offset) for offset in asked if offset >> 12 in (0x110, 0x111, 0x840, 0x841, 0x8F2, 0x8F3)]
    _, asked = seen(ADA)
    assert 0x111388 in asked and 0x840100 in asked


def test_look_wpr2_gives_the_region_in_bytes() -> None:
    bare, _ = seen(HOPPER | {0x1FA824: 0x2300 << 4, 0x1FA828: 0x23FF << 4, 0x111388: 0x80})
    assert bare.wpr2 == (0x2300000, 0x23FFFFF)
    assert (bare.stage, bare.gsp_active, bare.gsp_halted) == (Stage.RUNNING, True, False)


def test_look_at_a_fsp_that_is_not_done_reads_its_scratch_and_no_falcon() -> None:
    bare, asked = seen(HOPPER | {0x0200BC: 0, 0x8F0320: 0x9E, 0x8F0324: 0, 0x8F0328: 0, 0x8F032C: 0})
    assert (bare.stage, bare.boot_done) == (Stage.POWERED, False)
    assert bare.values["FSP_SCRATCH0"] == 0x9E
    assert 0x111388 not in asked and 0x1183A4 not in asked


def test_look_at_blackwell_consumer_asks_the_fsp_at_its_other_place() -> None:
    bare, asked = seen(HOPPER | {0x0: 0x1B2000A1, 0xA00: 0x1B20A000, 0xAD00BC: 0xFF})
    assert (bare.chip, bare.boot_done) == ("GB202", True)
    assert 0x0200BC not in asked


def test_look_gfw_register_that_is_still_closed_is_not_read() -> None:
    bare, asked = seen(ADA | {0x118128: 0})
    assert (bare.stage, bare.boot_done) == (Stage.POWERED, False)
    assert 0x118234 not in asked


@pytest.mark.parametrize("boot0", [0xFFFFFFFF, 0xBADF5040])
def test_look_asks_nothing_more_of_a_gpu_whose_first_register_is_no_answer(boot0: int) -> None:
    bare, asked = seen(HOPPER | {0x0: boot0})
    assert (bare.boot0, bare.stage, asked) == (boot0, Stage.UNKNOWN, [0])


def test_look_at_an_unknown_chip_asks_nothing_whose_meaning_it_does_not_know() -> None:
    bare, asked = seen(HOPPER | {0xA00: 0x2F00A000})
    assert (bare.chip, bare.chip_id, bare.stage, asked) == ("", 0x2F0, Stage.UNKNOWN, [0, 0xA00])


def test_look_register_that_the_fsp_locked_is_refused_not_a_value() -> None:
    bare, _ = seen(HOPPER | {0x1100F4: 0xBADF4100})
    assert "GSP_HWCFG2" not in bare.values
    assert describe_refused(bare.refused["GSP_HWCFG2"]) == "0xbadf4100 (locked by the FSP)"


def test_look_scratch_bits_are_reset_and_drain() -> None:
    assert seen(HOPPER | {0x1478: 1})[0].reset_required is True
    bare, _ = seen(HOPPER | {0x1478: 2})
    assert (bare.reset_required, bare.drain_and_reset) == (False, True)
