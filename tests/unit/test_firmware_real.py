"""AMD's own files decode to the figures that were taken from them by hand (sections 7 and 8 of the firmware sheet)."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from firmware.containers import parse
from firmware.model import CrcStatus, FirmwareFile
from firmware.pinned import PINS

# name: size, header version, header size, IP, ucode_version, array offset, ucode size, crc32, rule
FILES = {
    "psp_13_0_6_sos.bin": (787040, (2, 1), 0x28, (13, 0), 0x00360260, 0x200, 0xC0060, 0x5E06309E, "A"),
    "psp_13_0_6_ta.bin": (88960, (2, 0), 0x24, (13, 0), 0, 0x100, 0x15A80, 0xB4D9720F, "A"),
    "psp_13_0_12_sos.bin": (455472, (2, 0), 0x24, (13, 0), 0x0045002F, 0x100, 0x6F230, 0xA809A5F1, "A"),
    "psp_13_0_12_ta.bin": (70976, (2, 0), 0x24, (13, 0), 0, 0x100, 0x11440, 0x0BD35212, "A"),
    "psp_13_0_14_sos.bin": (405824, (2, 0), 0x24, (13, 0), 0x00360822, 0x100, 0x63040, 0x0DF22190, "A"),
    "psp_13_0_14_ta.bin": (67904, (2, 0), 0x24, (13, 0), 0, 0x100, 0x10840, 0x93907A74, "A"),
    "smu_13_0_6.bin": (3748, (2, 1), 0x2C, (13, 0), 0, 0x100, 0, 0x28E4FBE2, ""),
    "smu_13_0_14.bin": (1420, (2, 1), 0x2C, (13, 0), 0, 0x100, 0, 0x25D4C9E9, ""),
    "gc_9_4_3_mec.bin": (268736, (1, 0), 0x2C, (9, 4), 0xC2, 0x100, 0x418C0, 0x7DE5C80F, "A"),
    "gc_9_4_3_sjt_mec.bin": (268736, (1, 0), 0x2C, (9, 4), 0x80C2, 0x100, 0x418C0, 0x13108FC3, "A"),
    "gc_9_4_3_rlc.bin": (38708, (2, 1), 0x9C, (9, 4), 0x46, 0x100, 0x6300, 0x157467AC, "A"),
    "gc_9_4_4_mec.bin": (268736, (1, 0), 0x2C, (9, 4), 0xC2, 0x100, 0x418C0, 0x29E85A35, "A"),
    "gc_9_4_4_sjt_mec.bin": (268736, (1, 0), 0x2C, (9, 4), 0x80C2, 0x100, 0x418C0, 0x9AF30CD9, "A"),
    "gc_9_4_4_rlc.bin": (43388, (2, 1), 0x9C, (9, 4), 0x40, 0x100, 0x6300, 0xE484CC74, "A"),
    "gc_9_5_0_mec.bin": (268736, (1, 0), 0x2C, (9, 5), 0x2C, 0x100, 0x418C0, 0xE7C8F053, "A"),
    "gc_9_5_0_sjt_mec.bin": (268736, (1, 0), 0x2C, (9, 5), 0x802C, 0x100, 0x418C0, 0xA5921FA6, "A"),
    "gc_9_5_0_rlc.bin": (38700, (2, 1), 0x9C, (9, 5), 0x2B, 0x100, 0x6300, 0x7F218AB4, "A"),
    "sdma_4_4_2.bin": (34304, (1, 0), 0x30, (4, 4), 0x1B, 0x100, 0x8500, 0x1152185E, "A"),
    "sdma_4_4_4.bin": (34304, (1, 0), 0x30, (4, 4), 0x0E, 0x100, 0x8500, 0xB7555423, "A"),
    "sdma_4_4_5.bin": (34304, (1, 0), 0x30, (4, 4), 0x1B, 0x100, 0x8500, 0x6706B204, "A"),
    "vcn_4_0_3.bin": (359696, (1, 0), 0x20, (4, 0), 0x09118020, 0x100, 0x57C10, 0xCD3D8C8F, "B"),
    "vcn_5_0_1.bin": (217680, (1, 0), 0x20, (5, 1), 0x0910C01A, 0x100, 0x35150, 0x2BD16D04, "B"),
}

ORDER = ("SYS_DRV", "SOS", "KDB", "SOC_DRV", "INTF_DRV", "DBG_DRV", "RAS_DRV", "RL")
SOS_SETS = {
    ("psp_13_0_6_sos.bin", "main", 0x00360260, 0x05003600, 0x0C023600): (
        (0x200, 0x11200),
        (0x11400, 0x1AB80),
        (0x2BF80, 0x2600),
        (0x2E580, 0x1A200),
        (0x48780, 0x8200),
        (0x50980, 0x8200),
        (0x58B80, 0x7200),
        (0x5FD80, 0x24C0),
    ),
    ("psp_13_0_6_sos.bin", "aux", 0x0036024E, 0x05003600, 0x09023600): (
        (0x62240, 0x10200),
        (0x72440, 0x1AB80),
        (0x8CFC0, 0x2600),
        (0x8F5C0, 0x18200),
        (0xA77C0, 0x8200),
        (0xAF9C0, 0x7200),
        (0xB6BC0, 0x7200),
        (0xBDDC0, 0x24A0),
    ),
    ("psp_13_0_12_sos.bin", "", 0x0045002F, 0x70450401, 0x06004500): (
        (0x100, 0x12200),
        (0x12300, 0x1BBC0),
        (0x2DEC0, 0x2850),
        (0x30710, 0x1E200),
        (0x4E910, 0x9200),
        (0x57B10, 0x11200),
        (0x68D10, 0x4200),
        (0x6CF10, 0x2420),
    ),
    ("psp_13_0_14_sos.bin", "", 0x00360822, 0x05003600, 0x0C023600): (
        (0x100, 0x11200),
        (0x11300, 0x1AB80),
        (0x2BE80, 0x2600),
        (0x2E480, 0x1C200),
        (0x4A680, 0x9200),
        (0x53880, 0x6200),
        (0x59A80, 0x7200),
        (0x60C80, 0x24C0),
    ),
}
TAS = {
    "psp_13_0_6_ta.bin": (
        ("XGMI", 0x20000014, 0x100, 0x5240),
        ("RAS", 0x1B36021B, 0x5340, 0xB600),
        ("XGMI_AUX", 0x20000114, 0x10940, 0x5240),
    ),
    "psp_13_0_12_ta.bin": (("XGMI", 0x20000014, 0x100, 0x5240), ("RAS", 0x1B45000A, 0x5340, 0xC200)),
    "psp_13_0_14_ta.bin": (("XGMI", 0x20000015, 0x100, 0x5240), ("RAS", 0x1B360818, 0x5340, 0xB600)),
}
P2S = {
    "smu_13_0_6.bin": (
        (0x50325341, 0x124, 0x480, 0x00070001),
        (0x50325358, 0x5A4, 0x480, 0x00050101),
        (0x50325303, 0xA24, 0x480, 0x00030301),
    ),
    "smu_13_0_14.bin": ((0x50325358, 0x10C, 0x480, 0x00010201),),
}
RLC_ORDER = ("RLC_G", "REG_LIST_FORMAT", "REG_LIST", "RLC_CNTL", "RLC_GPM", "RLC_SRM")
RLC = {
    "gc_9_4_3_rlc.bin": (
        (0x100, 0x6300),
        (0x6400, 0xF4),
        (0x64F4, 0x1280),
        (0x7774, 0x340),
        (0x7AB4, 0x700),
        (0x81B4, 0x1580),
    ),
    "gc_9_4_4_rlc.bin": (
        (0x100, 0x6300),
        (0x6400, 0xF4),
        (0x64F4, 0x24C8),
        (0x89BC, 0x340),
        (0x8CFC, 0x700),
        (0x93FC, 0x1580),
    ),
    "gc_9_5_0_rlc.bin": (
        (0x100, 0x6300),
        (0x6400, 0xF4),
        (0x64F4, 0x1278),
        (0x776C, 0x340),
        (0x7AAC, 0x700),
        (0x81AC, 0x1580),
    ),
}


def known(firmware_dir: Path, name: str) -> FirmwareFile:
    """The decoded file; skips when the folder holds another version of it than the table above."""
    path = firmware_dir / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    data = path.read_bytes()
    if not hashlib.sha256(data).hexdigest().startswith(PINS[name].sha256_16):
        pytest.skip(f"{path} is another version than the one decoded by hand")
    return parse(data, name)


@pytest.mark.parametrize("name", sorted(FILES))
def test_parse_real_file_header_is_as_decoded_by_hand(firmware_dir: Path, name: str) -> None:
    file = known(firmware_dir, name)
    size, header_version, header_bytes, ip, version, array, ucode, crc, rule = FILES[name]
    header = file.header
    assert header is not None and file.crc is not None
    assert (file.size_bytes, header.size_bytes) == (size, size)
    assert (header.header_version, header.header_bytes, header.ip_version) == (header_version, header_bytes, ip)
    assert (header.ucode_version, header.array_offset, header.ucode_bytes) == (version, array, ucode)
    assert (header.crc32, file.crc.stored, file.crc.rule) == (crc, crc, rule)
    assert file.crc.status == (CrcStatus.VERIFIED if rule else CrcStatus.NOT_DEFINED)
    assert file.ok
    assert [finding.summary for finding in file.findings if rule] == []


@pytest.mark.parametrize("key", sorted(SOS_SETS))
def test_parse_real_sos_entries_are_as_decoded_by_hand(firmware_dir: Path, key: tuple[str, str, int, int, int]) -> None:
    name, set_name, version, kdb_version, rl_version = key
    entries = [entry for entry in known(firmware_dir, name).entries if entry.set == set_name]
    assert tuple(entry.name for entry in entries) == ORDER
    assert tuple((entry.file_offset, entry.size) for entry in entries) == SOS_SETS[key]
    versions = {"KDB": kdb_version, "RL": rl_version}
    assert [entry.version for entry in entries] == [versions.get(entry.name, version) for entry in entries]
    for entry in entries:
        assert entry.wrapper is not None
        assert entry.wrapper.version == entry.version
        assert entry.wrapper.total_bytes == entry.size
        assert entry.wrapper.body_bytes == entry.size - 0x300


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith("_sos.bin")))
def test_parse_real_sos_entries_are_contiguous_to_the_end(firmware_dir: Path, name: str) -> None:
    file = known(firmware_dir, name)
    for before, after in zip(file.entries, file.entries[1:], strict=False):
        assert after.file_offset == before.end
    assert file.entries[-1].end == file.size_bytes
    assert len(file.entries) == (16 if name == "psp_13_0_6_sos.bin" else 8)


@pytest.mark.parametrize("name", sorted(TAS))
def test_parse_real_ta_entries_are_as_decoded_by_hand(firmware_dir: Path, name: str) -> None:
    file = known(firmware_dir, name)
    assert tuple((e.name, e.version, e.file_offset, e.size) for e in file.entries) == TAS[name]
    for entry in file.entries:
        assert entry.wrapper is not None and entry.wrapper.encrypted
        short = 0x200 if entry.name == "RAS" else 0
        assert entry.wrapper.total_bytes == entry.size - short


@pytest.mark.parametrize("name", sorted(P2S))
def test_parse_real_smu_tables_are_as_decoded_by_hand(firmware_dir: Path, name: str) -> None:
    file = known(firmware_dir, name)
    assert tuple((e.type_id, e.file_offset, e.size, e.version) for e in file.entries) == P2S[name]
    assert file.fields["ucode_start_addr"] == 0x20000


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith("_mec.bin")))
def test_parse_real_mec_splits_code_and_jump_table(firmware_dir: Path, name: str) -> None:
    file = known(firmware_dir, name)
    assert (file.fields["jt_offset"], file.fields["jt_size"]) == (0x10510, 0x120)
    code, table = file.entries
    assert (code.name, code.type_id, code.file_offset, code.size) == ("MEC", 4, 0x100, 0x41440)
    assert (table.name, table.type_id, table.file_offset, table.size) == ("MEC_JT", 5, 0x41540, 0x480)
    assert table.end == file.size_bytes
    assert code.wrapper is not None and table.wrapper is not None
    assert (code.wrapper.encrypted, code.wrapper.signed, table.wrapper.encrypted) == (False, True, False)


@pytest.mark.parametrize("name", sorted(RLC))
def test_parse_real_rlc_parts_are_as_decoded_by_hand(firmware_dir: Path, name: str) -> None:
    file = known(firmware_dir, name)
    assert tuple(entry.name for entry in file.entries) == RLC_ORDER
    assert tuple((entry.file_offset, entry.size) for entry in file.entries) == RLC[name]
    assert [entry.type_id for entry in file.entries] == [8, 0, 0, 22, 20, 21]
    fields = file.fields
    assert fields["reg_restore_list_size"] == 0x5F
    assert fields["reg_list_format_start"] == 0x60
    assert fields["reg_list_format_separate_start"] == 0xB0
    assert fields["starting_offsets_start"] == 0xBA
    assert fields["reg_list_format_direct_reg_list_length"] == 0x24
    assert fields["save_restore_list_cntl_ucode_ver"] == 4
    assert file.entries[-1].end == file.size_bytes


@pytest.mark.parametrize("name", ["sdma_4_4_2.bin", "sdma_4_4_4.bin", "sdma_4_4_5.bin"])
def test_parse_real_sdma_is_one_unit(firmware_dir: Path, name: str) -> None:
    file = known(firmware_dir, name)
    assert file.fields == {
        "ucode_feature_version": 0x2C,
        "ucode_change_version": 0,
        "jt_offset": 0x2000,
        "jt_size": 0x80,
    }
    (entry,) = file.entries
    assert (entry.type_id, entry.file_offset, entry.size) == (9, 0x100, 0x8500)
    assert entry.wrapper is not None and entry.wrapper.body_bytes == 0x8200


@pytest.mark.parametrize("name", sorted(FILES))
def test_payload_of_real_file_starts_with_its_wrapper(firmware_dir: Path, name: str) -> None:
    file = known(firmware_dir, name)
    wrapped = [entry for entry in file.entries if entry.wrapper]
    assert wrapped
    for entry in wrapped:
        payload = file.payload(entry)
        assert len(payload) == entry.size
        assert payload[0x10:0x14] == b"$PS1"


def test_pins_are_the_files_that_were_decoded() -> None:
    assert {name: (pin.size_bytes, pin.version, pin.crc32) for name, pin in PINS.items()} == {
        name: (row[0], row[4], row[7]) for name, row in FILES.items()
    }


def test_parse_whole_real_folder_raises_nothing_and_finds_no_error(firmware_dir: Path) -> None:
    """Every file of every chip: entries lie inside, and the checksum survey comes out as counted by hand."""
    survey: Counter[str] = Counter()
    broken = []
    files = sorted(path for path in firmware_dir.iterdir() if path.name.endswith(".bin"))
    for path in files:
        file = parse(path.read_bytes(), path.name)
        if not file.ok:
            broken.append((path.name, [finding.summary for finding in file.findings]))
        if file.kind != "discovery" and not path.is_symlink():
            assert file.crc is not None
            assert file.entries, path.name
            survey[file.crc.rule or "neither"] += 1
    assert broken == []
    if len(files) == 699:  # the package that the survey was made of
        assert survey == {"A": 384, "B": 38, "neither": 142}
