"""Each rule of the strict checklist, broken by itself in a small file: exactly that finding, with both sides told."""

from __future__ import annotations

import struct

import pytest

from base.findings import Finding, Severity
from firmware.containers import parse
from firmware.model import CrcStatus, FirmwareFile
from tests.firmware_files import (
    ARRAY,
    chip_folder,
    container,
    mec,
    packed,
    patched,
    payload,
    rlc,
    sdma,
    sealed,
    smu,
    sos,
    ta,
    vcn,
)

SOS = "psp_13_0_6_sos.bin"
SOS_ONE = "psp_13_0_12_sos.bin"
TA = "psp_13_0_6_ta.bin"
MEC = "gc_9_4_3_mec.bin"
RLC = "gc_9_4_3_rlc.bin"
SDMA = "sdma_4_4_2.bin"
SMU = "smu_13_0_6.bin"
VCN = "vcn_4_0_3.bin"


def errors(file: FirmwareFile) -> list[Finding]:
    return [finding for finding in file.findings if finding.severity == Severity.ERROR]


def only(file: FirmwareFile, code: str, summary: str) -> Finding:
    """The one finding of that code and summary; all findings of the file have the form of the house."""
    assert not file.ok
    for finding in file.findings:
        assert finding.code.startswith("amd.firmware.")
        assert len(finding.summary) <= 80
        assert finding.where.startswith(file.name)
    found = [f for f in errors(file) if f.code == f"amd.firmware.{code}" and summary in f.summary]
    assert len(found) == 1, [f.summary for f in file.findings]
    return found[0]


@pytest.mark.parametrize("name", sorted(chip_folder()))
def test_parse_valid_small_file_has_no_error(name: str) -> None:
    file = parse(chip_folder()[name], name)
    assert errors(file) == []
    assert file.entries


def test_parse_empty_file_is_told() -> None:
    finding = only(parse(b"", SOS), "size", "the file is empty")
    assert finding.expected == "at least 0x100 bytes"


def test_parse_less_than_a_common_header_is_told() -> None:
    finding = only(parse(b"x" * 31, SOS), "size", "shorter than the common header")
    assert finding.seen == "31 bytes"


def test_parse_less_than_all_headers_is_told() -> None:
    data = container((1, 0), [], b"", array=0x80)
    only(parse(data, VCN), "size", "shorter than any firmware header")


def test_parse_length_that_differs_is_told() -> None:
    finding = only(parse(sdma() + b"1234", SDMA), "size", "another length than its header tells")
    assert (finding.expected, finding.seen) == ("2304 bytes", "2308 bytes")


def test_parse_payload_inside_header_is_told() -> None:
    data = bytearray(vcn())
    struct.pack_into("<I", data, 0x18, 0x10)
    finding = only(parse(bytes(data), VCN), "header", "payload starts inside the header")
    assert finding.seen == "0x10"


def test_parse_payload_at_odd_offset_is_told() -> None:
    data = bytearray(vcn())
    struct.pack_into("<II", data, 0x14, 0x7FE, 0x102)
    only(parse(bytes(data), VCN), "header", "not at a whole word")


@pytest.mark.parametrize("name", ["navi10_vcn.bin", VCN])
def test_parse_payload_behind_the_end_is_told(name: str) -> None:
    data = bytearray(vcn())
    struct.pack_into("<I", data, 0x14, 0x801)
    finding = only(parse(bytes(data), name), "bounds", "the payload ends behind the end of the file")
    assert finding.seen == "0x100 + 0x801 = 0x901"


def test_parse_sum_that_wraps_in_32_bits_is_refused() -> None:
    data = bytearray(vcn())
    struct.pack_into("<I", data, 0x14, 0xFFFFFF00)
    finding = only(parse(bytes(data), VCN), "bounds", "the payload ends behind")
    assert "wraps around in 32 bits" in finding.seen


def test_parse_entry_offset_that_wraps_in_32_bits_is_refused() -> None:
    data = patched(ta(), 0x24 + 8, 0xFFFFFF00)  # 0xffffff00 + 0x200: a 32-bit sum would land at 0x100
    finding = only(parse(data, TA), "bounds", "XGMI lies outside the payload")
    assert "wraps around in 32 bits" in finding.seen


def test_parse_unknown_header_version_is_told() -> None:
    data = bytearray(vcn())
    struct.pack_into("<HH", data, 8, 4, 2)
    finding = only(parse(bytes(data), VCN), "header", "unknown header version")
    assert (finding.expected, finding.seen) == ("1.0", "4.2")


def test_parse_header_of_wrong_size_is_told() -> None:
    data = bytearray(vcn())
    struct.pack_into("<I", data, 4, 0x24)
    finding = only(parse(bytes(data), VCN), "header", "another size than its version tells")
    assert (finding.expected, finding.seen) == ("0x20 for version 1.0", "0x24")


def test_parse_header_of_wrong_size_in_other_chips_file_is_a_note() -> None:
    data = bytearray(vcn())
    struct.pack_into("<I", data, 4, 0x24)
    file = parse(bytes(data), "navi10_vcn.bin")
    assert file.ok
    assert [finding.severity for finding in file.findings] == [Severity.NOTE]


def test_parse_file_that_ends_inside_its_header_is_told() -> None:
    data = container((2, 4), [0] * 4, b"", array=0x40, header_bytes=0xF4)
    only(parse(data, "beige_goby_rlc.bin"), "size", "ends inside its header")


def test_parse_filling_that_is_not_zero_is_told() -> None:
    data = sealed(vcn()[:0x90] + b"\x01" + vcn()[0x91:], "B")
    finding = only(parse(data, VCN), "header", "should be zero")
    assert finding.seen == "0x01 at 0x90"


def test_parse_ip_version_of_another_chip_is_told() -> None:
    data = bytearray(mec())
    struct.pack_into("<HH", data, 0x0C, 9, 5)
    finding = only(parse(bytes(data), MEC), "version", "another IP version")
    assert (finding.expected, finding.seen) == ("IP 9.4", "IP 9.5")


@pytest.mark.parametrize("count", [0, 26, 0xFFFFFFFF])
def test_parse_component_count_outside_limits_is_told(count: int) -> None:
    finding = only(parse(patched(sos(), 0x20, count), SOS_ONE), "entry", "number of packed components")
    assert (finding.expected, finding.seen) == ("1..25", str(count))


def test_parse_component_table_into_payload_is_told() -> None:
    body = payload(0x400, 1)
    data = container(
        (2, 0), [17, 2, 1, 0, 0x400], body, header_bytes=0x24
    )  # 17 entries end at 0x134, the array is at 0x100
    finding = only(parse(data, "psp_14_0_2_sos.bin"), "bounds", "table of components runs into the payload")
    assert "table end 0x134" in finding.seen


def test_parse_component_of_unknown_type_is_a_warning() -> None:
    entries = [(kind, 0x36, 0x400) for kind in (2, 1, 3, 7, 8, 9, 10, 6, 13)]
    file = parse(packed(entries, ucode_version=0x36), SOS_ONE)
    (finding,) = file.findings
    assert finding.severity == Severity.WARNING
    assert (finding.code, finding.seen) == ("amd.firmware.entry", "13")
    assert file.entries[-1].name == "TYPE_13"
    assert file.ok


def test_parse_component_larger_than_bootloader_buffer_is_told() -> None:
    entries = [(kind, 0x36, 0x400) for kind in (2, 1, 3, 7, 8, 9, 10)] + [(6, 0x36, (1 << 20) + 4)]
    finding = only(
        parse(packed(entries, ucode_version=0x36), SOS_ONE), "entry", "RL is larger than the bootloader's buffer"
    )
    assert finding.seen == "0x100004"


def test_parse_component_of_exactly_the_buffer_is_fine() -> None:
    entries = [(kind, 0x36, 0x400) for kind in (2, 1, 3, 7, 8, 9, 10)] + [(6, 0x36, 1 << 20)]
    assert parse(packed(entries, ucode_version=0x36), SOS_ONE).ok


def test_parse_empty_component_is_told() -> None:
    only(parse(patched(sos(), 0x24 + 12, 0), SOS_ONE), "entry", "SYS_DRV is empty")


def test_parse_component_behind_the_end_is_told() -> None:
    data = patched(sos(), 0x24 + 7 * 16 + 12, 0x321)
    finding = only(parse(data, SOS_ONE), "bounds", "RL lies outside the payload")
    assert finding.where.startswith(f"{SOS_ONE} RL [0x")


def test_parse_overlapping_components_are_told() -> None:
    data = patched(sos(), 0x24 + 16 + 8, 0x300)
    finding = only(parse(data, SOS_ONE), "overlap", "SOS overlaps SYS_DRV")
    assert (finding.expected, finding.seen) == ("start >= 0x520", "0x500")


def test_parse_missing_component_is_named() -> None:
    entries = [(kind, 0x36, 0x400) for kind in (2, 1, 3, 7, 8, 10)]
    finding = only(
        parse(packed(entries, ucode_version=0x36), SOS_ONE), "entry", "components that the chip needs are missing"
    )
    assert finding.seen == "without RL, DBG_DRV"


def test_parse_component_twice_in_a_set_is_named() -> None:
    data = patched(sos(), 0x24, 1)  # SYS_DRV becomes a second SOS
    finding = only(parse(data, SOS_ONE), "entry", "more than once in the file")
    assert finding.seen == "SOS"


def test_parse_component_missing_in_aux_set_names_the_set() -> None:
    data = patched(sos(aux_version=0x0036024E), 0x28 + 8 * 16, 1)
    assert "set aux" in only(parse(data, SOS), "entry", "missing in the set aux").summary
    assert "set aux" in only(parse(data, SOS), "entry", "more than once in the set aux").summary


@pytest.mark.parametrize("index", [0, 16, 17, 0xFFFFFFFF])
def test_parse_aux_set_that_starts_outside_the_table_is_told(index: int) -> None:
    finding = only(parse(patched(sos(aux_version=0x0036024E), 0x24, index), SOS), "entry", "start of the aux set")
    assert (finding.expected, finding.seen) == ("1..15", str(index))


def test_parse_sos_version_that_differs_from_header_is_told() -> None:
    data = bytearray(sos())
    struct.pack_into("<I", data, 0x10, 0x00360261)
    finding = only(parse(bytes(data), SOS_ONE), "version", "header and SOS entry tell different versions")
    assert (finding.expected, finding.seen) == ("0x00360261, as in the header", "0x00360260")


def test_parse_application_twice_is_told() -> None:
    assert only(parse(ta((2, 3, 3)), TA), "entry", "more than once in the TA file").seen == "RAS"


def test_parse_wrapper_missing_is_told() -> None:
    data = bytearray(sdma())
    data[ARRAY + 0x10] ^= 1
    finding = only(parse(sealed(bytes(data)), SDMA), "wrapper", "SDMA has no signature wrapper")
    assert (finding.expected, finding.seen) == ("24 50 53 31 ($PS1)", "25 50 53 31")


@pytest.mark.parametrize(("offset", "value"), [(0x6C, 0x801), (0x14, 0x701)], ids=["total", "body"])
def test_parse_wrapper_larger_than_its_entry_is_told(offset: int, value: int) -> None:
    finding = only(parse(patched(sdma(), ARRAY + offset, value), SDMA), "wrapper", "its wrapper tells a larger payload")
    assert f"{value:#x}" in finding.seen


def test_parse_wrapper_smaller_than_its_entry_is_fine() -> None:
    assert parse(patched(sdma(), ARRAY + 0x6C, 0x600), SDMA).ok  # so in the RAS application of AMD's files


def test_parse_wrapper_of_another_version_is_told() -> None:
    finding = only(
        parse(patched(sdma(), ARRAY + 0x60, 0x1C), SDMA), "version", "table and wrapper tell different versions"
    )
    assert (finding.expected, finding.seen) == ("0x0000001b, as in the table", "0x0000001c")


def test_parse_jump_table_behind_mec_ucode_is_told() -> None:
    finding = only(parse(patched(mec(), 0x24, 0x141), MEC), "bounds", "the jump table ends behind the ucode")
    assert finding.seen == "0x904"


def test_parse_jump_table_behind_sdma_ucode_is_told() -> None:
    only(parse(patched(sdma(), 0x28, 0x1000), SDMA), "bounds", "the jump table ends behind the ucode")


@pytest.mark.parametrize("count", [0, 65, 0xFFFFFFFF])
def test_parse_table_count_outside_limits_is_told(count: int) -> None:
    data = bytearray(smu())
    struct.pack_into("<I", data, 0x24, count)
    assert only(parse(bytes(data), SMU), "entry", "number of tables outside the limits").seen == str(count)


@pytest.mark.parametrize("start", [0x20, 0xFFFFFFF8])
def test_parse_table_list_outside_the_file_is_told(start: int) -> None:
    data = bytearray(smu())
    struct.pack_into("<I", data, 0x28, start)
    only(parse(bytes(data), SMU), "bounds", "list of tables lies outside the file")


def test_parse_table_id_twice_is_told() -> None:
    finding = only(parse(smu((0x50325358, 0x50325358)), SMU), "entry", "the same table id more than once")
    assert finding.seen == "0x50325358, 0x50325358"


def test_parse_table_of_discrete_gpus_missing_is_told() -> None:
    assert (
        only(parse(smu((0x50325341,)), SMU), "entry", "table of discrete GPUs is missing").expected == "id 0x50325358"
    )


def test_parse_smu_file_tells_that_no_checksum_is_defined() -> None:
    file = parse(smu(), SMU)
    assert file.crc is not None and file.crc.status == CrcStatus.NOT_DEFINED
    (finding,) = file.findings
    assert (finding.severity, finding.code) == (Severity.NOTE, "amd.firmware.crc")
    assert "no CRC defined" in finding.summary


def test_parse_rlc_list_outside_the_file_is_told() -> None:
    data = rlc()
    finding = only(parse(patched(data, 0x78, len(data) - 4), RLC), "bounds", "RLC_CNTL lies outside the payload")
    assert finding.expected.startswith("inside [0x9c")


def test_parse_rlc_list_over_the_ucode_is_told() -> None:
    only(parse(patched(rlc(), 0x78, 0x100), RLC), "overlap", "R")


def test_parse_checksum_mismatch_is_told() -> None:
    data = bytearray(mec())
    data[-1] ^= 0x80
    finding = only(parse(bytes(data), MEC), "crc", "the checksum does not match")
    assert "[0x20, 0xa00)" in finding.seen


def test_parse_checksum_by_rule_b_mismatch_names_its_range() -> None:
    data = bytearray(vcn())
    data[-1] ^= 0x80
    assert "[0x100, 0x900)" in only(parse(bytes(data), VCN), "crc", "the checksum does not match").seen


def test_parse_checksum_of_nothing_is_no_checksum() -> None:
    """Rule B over an empty range gives 0: a file that claims an array at its end must not pass with it."""
    data = bytearray(vcn())
    struct.pack_into("<III", data, 0x14, 0, len(data), 0)
    file = parse(bytes(data), VCN)
    assert file.crc is not None and file.crc.status == CrcStatus.MISMATCH


def test_parse_other_chips_file_without_known_rule_is_a_note() -> None:
    data = container((1, 0), [0x20000], b"x" * 0x200, rule="")
    file = parse(data, "hawaii_smc.bin")
    assert file.ok
    assert file.crc is not None and file.crc.status == CrcStatus.NOT_KNOWN
    assert "checksum rule of this file not known" in file.findings[0].summary


def test_parse_unknown_name_keeps_common_header_only() -> None:
    file = parse(vcn(), "something.bin")
    assert (file.kind, file.entries, dict(file.fields)) == ("unknown", (), {})
    assert file.header is not None and file.header.ucode_version == 0x09118020
    assert "file name tells no known kind" in file.findings[0].summary


def test_parse_discovery_blob_is_not_decoded() -> None:
    file = parse(b"\0" * 1000, "renoir_ip_discovery.bin")
    assert (file.kind, file.header, file.ok) == ("discovery", None, True)
    assert "gpumend discovery validate" in file.findings[0].seen


def test_parse_dmcu_vectors_larger_than_ucode_are_told() -> None:
    data = container((1, 0), [0, 0x201], b"x" * 0x200)
    only(parse(data, "raven_dmcu.bin"), "bounds", "interrupt vectors are larger")
