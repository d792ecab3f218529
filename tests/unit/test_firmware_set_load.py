"""The firmware set: what is missing, damaged, of another chip or too old is told before a device is touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from amdriver import firmware_set
from amdriver.firmware_set import FEATURES, FirmwareSet, FirmwareTooOld
from amdriver.ip_map import IpMap
from amdriver.parts import PARTS
from base.errors import InvalidData, Unavailable, UsageError
from tests import boot_fakes as fakes
from tests import firmware_files

MI300X, MI325X, MI350X = PARTS[0x74A1], PARTS[0x74A5], PARTS[0x75A0]
IP_950 = fakes.ip_map(gc=(9, 5, 0), mp=(13, 0, 12), sdma=(4, 4, 4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in firmware_files.chip_folder().items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def load(folder: Path, ip: IpMap | None = None) -> FirmwareSet:
    return firmware_set.load(MI300X, ip or fakes.ip_map(), [folder])


def test_set_needs_no_video_firmware(folder: Path) -> None:
    (folder / "vcn_4_0_3.bin").unlink()
    made = load(folder)
    assert "vcn_4_0_3.bin" not in made.files
    assert 13 not in [image.gfx_type for image in made.images(0xFFFFFFFF, 0x557900)]


def test_set_missing_files_are_all_named_with_their_package(folder: Path) -> None:
    for name in ("psp_13_0_6_ta.bin", "gc_9_4_3_rlc.bin"):
        (folder / name).unlink()
    with pytest.raises(Unavailable) as error:
        load(folder)
    assert error.value.exit_code == 69
    assert error.value.seen == "missing: gc_9_4_3_rlc.bin, psp_13_0_6_ta.bin"
    assert "firmware-amd-graphics" in error.value.next_step
    assert "MI300X" in error.value.doing


@pytest.mark.parametrize("name", ["psp_13_0_6_sos.bin", "psp_13_0_6_ta.bin", "gc_9_4_3_mec.bin", "sdma_4_4_2.bin"])
def test_set_truncated_file_is_refused(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidData, match=name):
        load(folder)


@pytest.mark.parametrize("name", ["psp_13_0_6_sos.bin", "gc_9_4_3_rlc.bin", "sdma_4_4_2.bin"])
def test_set_file_with_a_changed_byte_is_refused_by_its_checksum(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-0x30] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(InvalidData, match="checksum"):
        load(folder)


def test_set_secure_os_of_another_family_is_refused(folder: Path) -> None:
    (folder / "psp_13_0_6_sos.bin").write_bytes(firmware_files.sos(0x0045002F, aux_version=0x0036024E))
    with pytest.raises(InvalidData, match="made for another chip") as error:
        load(folder)
    assert error.value.seen == "a sOS of family 0x0045, not 0x0036"


def test_set_real_file_of_another_chip_is_told_by_its_digest(firmware_dir: Path, tmp_path: Path) -> None:
    for name in ("psp_13_0_6_sos", "psp_13_0_6_ta", "smu_13_0_6", "gc_9_4_3_mec", "gc_9_4_3_rlc", "sdma_4_4_2"):
        shutil.copy(firmware_dir / f"{name}.bin", tmp_path)
    assert load(tmp_path).mec_version == 0xC2
    shutil.copy(firmware_dir / "sdma_4_4_4.bin", tmp_path / "sdma_4_4_2.bin")
    with pytest.raises(InvalidData, match="made for another chip") as error:
        load(tmp_path)
    assert error.value.seen == "the bytes of sdma_4_4_4.bin"


@pytest.mark.parametrize("name", ["smu_13_0_6.bin", "gc_9_4_3_mec.bin", "psp_13_0_6_ta.bin"])
def test_set_real_file_with_any_changed_byte_is_refused(firmware_dir: Path, tmp_path: Path, name: str) -> None:
    """Also where the file's own checksum does not look: of SMU files nobody knows what it covers."""
    for file in firmware_dir.glob("*.bin"):
        (tmp_path / file.name).symlink_to(file)
    data = (firmware_dir / name).read_bytes()
    for place in (9, len(data) // 2, len(data) - 1):
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(data[:place] + bytes((data[place] ^ 0x10,)) + data[place + 1 :])
        with pytest.raises(InvalidData, match=name):
            firmware_set.load(MI300X, fakes.ip_map(), [tmp_path])


def test_set_real_files_of_both_chips_are_complete(firmware_dir: Path) -> None:
    six = firmware_set.load(MI300X, fakes.ip_map(), [firmware_dir])
    assert (six.sos_version, six.needs_pmfw_version()) == (0x00360260, True)
    twelve = firmware_set.load(MI350X, IP_950, [firmware_dir])
    assert (twelve.sos_version, twelve.needs_pmfw_version()) == (0x0045002F, False)
    assert [image.gfx_type for image in twelve.images(twelve.sos_version, None)][:4] == [9, 10, 52, 53]
    assert six.crc != twelve.crc


def test_set_versions_that_belong_to_no_chip_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidData, match="choosing the firmware") as error:
        load(folder, fakes.ip_map(gc=(9, 4, 3), mp=(13, 0, 12)))
    assert error.value.seen == "GC 9.4.3, MP0 13.0.12, SDMA0 4.4.2"


def test_set_checksum_tells_sets_apart_and_is_never_zero(folder: Path) -> None:
    first = load(folder).crc
    assert load(folder).crc == first != 0
    (folder / "gc_9_4_3_mec.bin").write_bytes(firmware_files.mec(0xC3))
    assert load(folder).crc != first


def test_set_power_firmware_decides_the_components(folder: Path) -> None:
    made = load(folder)
    main, aux = made.bootloader(0x00557300), made.bootloader(0x005572FF)
    assert [part.name for part in main] == [part.name for part in aux]
    assert main[0].data != aux[0].data
    with pytest.raises(UsageError, match="component set"):
        made.bootloader(None)


def test_set_without_known_power_firmware_still_has_a_register_list(folder: Path) -> None:
    assert load(folder).images(0xFFFFFFFF, None)[-1].name == "REG_LIST"


def test_set_p2s_table_follows_the_part_and_the_secure_os(folder: Path) -> None:
    normal = firmware_set.load(MI300X, fakes.ip_map(), [folder])
    other = firmware_set.load(MI325X, fakes.ip_map(), [folder])
    tables = [made.images(0x0036003C, 0x557900)[0] for made in (normal, other)]
    assert [table.name for table in tables] == ["P2S_TABLE", "P2S_TABLE"]
    assert tables[0].data != tables[1].data
    assert normal.images(0x0036003B, 0x557900)[0].name == "SDMA0"


def test_set_application_that_the_file_lacks_is_told_at_loading(folder: Path) -> None:
    (folder / "psp_13_0_6_ta.bin").write_bytes(firmware_files.ta((3,)))
    with pytest.raises(InvalidData, match="trusted application XGMI"):
        load(folder)


# ---------------------------------------------------------------- version gates


@pytest.mark.parametrize(
    ("feature", "version", "enough"),
    [
        ("queue-reset", 155, True),
        ("queue-reset", 154, False),
        ("cleaner-shader", 153, True),
        ("cleaner-shader", 152, False),
        ("xnack-chain", 184, True),
        ("xnack-chain", 183, False),
    ],
)
def test_set_gate_opens_at_its_version(folder: Path, feature: str, version: int, enough: bool) -> None:
    (folder / "gc_9_4_3_mec.bin").write_bytes(firmware_files.mec(version))
    made = load(folder)
    assert made.supports(feature) is enough
    if enough:
        made.require([feature])
        return
    with pytest.raises(FirmwareTooOld) as error:
        made.require([feature])
    assert f"MEC firmware {FEATURES[feature].mec['9.4.3']} or later" in str(error.value)
    assert error.value.seen == f"MEC firmware {version}"
    assert f"do without {feature}" in error.value.next_step


def test_set_feature_that_the_chip_has_not_is_refused(firmware_dir: Path) -> None:
    made = firmware_set.load(MI350X, IP_950, [firmware_dir])
    made.require(["queue-reset", "xnack-chain"])
    with pytest.raises(FirmwareTooOld, match=r"no such thing on GC 9\.5\.0"):
        made.require(["cleaner-shader"])


def test_set_unknown_feature_is_a_usage_error(folder: Path) -> None:
    with pytest.raises(UsageError, match="'warp-drive'"):
        load(folder).supports("warp-drive")
