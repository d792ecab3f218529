"""Which part of a file a GPU takes: component set, trusted applications, P2S table."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.errors import InvalidData, UsageError
from firmware.containers import parse
from firmware.model import PMFW_FOR_MAIN_SET
from firmware.psp import SosType, component, select_tas
from firmware.ucode import select_p2s, table_name
from tests.firmware_files import SOS_TYPES, mec, packed, sealed, smu, sos, ta

SOS = "psp_13_0_6_sos.bin"
TA = "psp_13_0_6_ta.bin"
SMU = "smu_13_0_6.bin"


@pytest.mark.parametrize(
    ("pmfw", "set_name", "version"),
    [
        (0x005572FF, "aux", 0x0036024E),
        (0x00557300, "main", 0x00360260),
        (0x00558200, "main", 0x00360260),
        (0, "aux", 0x0036024E),
    ],
)
def test_select_two_sets_by_power_firmware(pmfw: int, set_name: str, version: int) -> None:
    entries = parse(sos(aux_version=0x0036024E), SOS).select(pmfw)
    assert {entry.set for entry in entries} == {set_name}
    assert len(entries) == 8
    assert component(entries, SosType.SOS).version == version


def test_select_real_file_takes_either_whole_set(firmware_dir: Path) -> None:
    file = parse((firmware_dir / SOS).read_bytes(), SOS)
    main, aux = file.select(PMFW_FOR_MAIN_SET), file.select(PMFW_FOR_MAIN_SET - 1)
    assert file.entries == main + aux
    assert [entry.type_id for entry in main] == [entry.type_id for entry in aux] == [2, 1, 3, 7, 8, 9, 10, 6]


def test_select_sets_of_unequal_length_are_not_mixed() -> None:
    """The kernel counts the main set as (number - aux index), which is right only for sets of equal length."""
    main = [(kind, 0x36, 0x320) for kind in SOS_TYPES]
    aux = [(kind, 0x35, 0x320) for kind in (*SOS_TYPES, SosType.SPL)]
    file = parse(packed([*main, *aux], minor=1, aux_index=len(main), ucode_version=0x36), SOS)
    assert {entry.version for entry in file.select(PMFW_FOR_MAIN_SET)} == {0x36}
    assert len(file.select(PMFW_FOR_MAIN_SET)) == 8
    assert len(file.select(0)) == 9


def test_select_unknown_power_firmware_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        parse(sos(aux_version=0x0036024E), SOS).select(None)
    assert "MP1_PUB_SCRATCH0" in str(caught.value)


def test_select_one_set_needs_no_version() -> None:
    assert len(parse(sos(), "psp_13_0_12_sos.bin").select(None)) == 8


def test_select_of_another_kind_is_a_wrong_argument() -> None:
    with pytest.raises(UsageError, match="a SOS file"):
        parse(mec(), "gc_9_4_3_mec.bin").select(0)


def test_select_of_damaged_file_is_refused() -> None:
    data = bytearray(sos())
    data[-1] ^= 1
    with pytest.raises(InvalidData, match=r"using firmware psp_13_0_12_sos\.bin"):
        parse(bytes(data), "psp_13_0_12_sos.bin").select(0)


def test_component_that_is_not_there_is_named() -> None:
    entries = parse(sos(), "psp_13_0_12_sos.bin").select(None)
    with pytest.raises(InvalidData) as caught:
        component(entries, SosType.SPL)
    assert "looking for SPL" in str(caught.value)
    with pytest.raises(InvalidData, match="no component"):
        component((), SosType.SOS)


@pytest.mark.parametrize(("is_apu", "names"), [(False, ["XGMI", "RAS"]), (True, ["RAS", "XGMI_AUX"])])
def test_select_tas_of_13_0_6_by_package(is_apu: bool, names: list[str]) -> None:
    assert [entry.name for entry in select_tas(parse(ta(), TA), is_apu=is_apu)] == names


def test_select_tas_of_old_version_has_no_aux() -> None:
    file = parse(ta(version=0x20000013), TA)
    assert [entry.name for entry in select_tas(file, is_apu=True)] == ["XGMI", "RAS"]


def test_select_tas_of_other_chips_takes_all() -> None:
    assert len(select_tas(parse(ta(), "psp_13_0_12_ta.bin"), is_apu=True)) == 3


def test_select_tas_of_another_kind_is_a_wrong_argument() -> None:
    with pytest.raises(UsageError, match="a TA file"):
        select_tas(parse(mec(), "gc_9_4_3_mec.bin"), is_apu=False)


@pytest.mark.parametrize(
    ("device", "is_apu", "table"),
    [(0x74A1, False, 0x50325358), (0x74A5, False, 0x50325303), (0x74A0, True, 0x50325341), (0x74A5, True, 0x50325341)],
)
def test_select_p2s_by_device(device: int, is_apu: bool, table: int) -> None:
    assert select_p2s(parse(smu(), SMU), device, is_apu=is_apu).type_id == table


def test_select_p2s_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidData) as caught:
        select_p2s(parse(smu((0x50325358,)), "smu_13_0_14.bin"), 0x74A5, is_apu=False)
    assert "table 0x50325303" in str(caught.value)
    assert "0x50325358" in str(caught.value)


def test_select_p2s_of_another_kind_is_a_wrong_argument() -> None:
    with pytest.raises(UsageError, match="an SMU file"):
        select_p2s(parse(mec(), "gc_9_4_3_mec.bin"), 0x74A1, is_apu=False)


def test_table_name_spells_the_id() -> None:
    assert [table_name(kind) for kind in (0x50325341, 0x50325358, 0x50325303, 7)] == [
        "P2SA",
        "P2SX",
        "P2S3",
        "TABLE_0x7",
    ]


def test_sealed_helper_makes_rule_a_hold() -> None:
    data = bytearray(mec())
    data[-1] ^= 1
    assert not parse(bytes(data), "gc_9_4_3_mec.bin").ok
    assert parse(sealed(bytes(data)), "gc_9_4_3_mec.bin").ok
