"""amdriver/discovery.py on bytes made for the purpose: every rule of amd-discovery.md section 9, and what it says."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdriver.discovery import MAX_BLOB_BYTES, Validation, byte_sum, describe_bytes, validate
from amdriver.discovery_format import MAX_FINDINGS
from base.findings import Finding, Severity
from tests.fuzz.discovery_blobs import (
    Ip,
    Spec,
    build,
    gc_v2_1,
    info,
    mall_v1,
    mi350x,
    nps_v1,
    seal,
    vcn_v1,
)

GOOD = build(mi350x())
VRAM = 288 << 30


def serious(validation: Validation) -> list[Finding]:
    return [finding for finding in validation.findings if finding.severity is not Severity.NOTE]


def only(validation: Validation, code: str) -> Finding:
    """The one finding that is worse than a note."""
    found = serious(validation)
    assert [finding.code for finding in found] == [code], found
    assert len(found[0].summary) <= 80
    assert found[0].where
    assert found[0].next
    return found[0]


def poke(blob: bytes, at: int, data: bytes) -> bytes:
    return blob[:at] + data + blob[at + len(data) :]


def sealed(blob: bytes, at: int, data: bytes) -> bytes:
    """Changed, with every checksum right again."""
    return seal(poke(blob, at, data), tables=True)


def table_at(blob: bytes, index: int) -> int:
    at: int = struct.unpack_from("<H", blob, 0x0C + 8 * index)[0]
    return at


def with_ips(ips: Sequence[Ip], **changes: object) -> Spec:
    return replace(mi350x(), dies=(tuple(ips),), **changes)  # type: ignore[arg-type]


IPS = mi350x().dies[0]


# ---- good ones


def test_discovery_mi350x_shape_is_valid() -> None:
    validation = validate(GOOD, vram_size_bytes=VRAM, golden=GOOD)
    assert validation.findings == ()
    assert validation.ip_map is not None
    assert len(validation.ip_map.instances) == 113
    assert validation.salvaged is None
    assert len(validation.tables) == 6


@pytest.mark.parametrize("version", [1, 2, 3, 4])
@pytest.mark.parametrize("major", [1, 2])
def test_discovery_every_record_version_under_both_headers_is_valid(version: int, major: int) -> None:
    validation = validate(build(mi350x(version=version, major=major)))
    assert validation.findings == ()
    assert validation.ip_map is not None
    assert validation.ip_map.table_version == version
    assert validation.header is not None
    assert validation.header.tables_at == (0x10 if major == 2 else 0x0C)


def test_discovery_64_bit_bases_are_cut_as_the_kernel_does_and_kept_raw() -> None:
    ips = [Ip(11, 0, (10, 3, 0), (0x12_C000_2000, 0xA000))]
    validation = validate(build(Spec(version=4, wide=True, dies=(ips,))))
    assert validation.ok
    assert validation.ip_map is not None
    gc = validation.ip_map.instances[0]
    assert gc.bases == (0x2000, 0xA000)
    assert gc.raw_bases == (0x12_C000_2000, 0xA000)


def test_discovery_nibbles_are_sub_revision_and_variant_from_version_3_on() -> None:
    ips = [Ip(11, 0, (10, 3, 0), (1, 2), nibbles=0x52)]
    for version, expected in ((2, (0, 0)), (3, (2, 5)), (4, (2, 5))):
        ip_map = validate(build(Spec(version=version, dies=(ips,)))).ip_map
        assert ip_map is not None
        assert (ip_map.instances[0].sub_revision, ip_map.instances[0].variant) == expected


def test_discovery_vcn_capability_bits_are_not_part_of_the_revision() -> None:
    ips = [Ip(12, 0, (5, 0, 0x81)), Ip(12, 1, (5, 0, 0x41)), Ip(12, 2, (5, 0, 1))]
    ip_map = validate(build(Spec(dies=([Ip(11, 0, (11, 0, 0)), *ips],)))).ip_map
    assert ip_map is not None
    vcn = ip_map.find("VCN")
    assert {ip.version for ip in vcn} == {(5, 0, 1)}
    assert [(ip.encode_off, ip.decode_off) for ip in vcn] == [(True, False), (False, True), (False, False)]


def test_discovery_two_dies_are_told_apart() -> None:
    ips = (Ip(11, 0, (11, 0, 0)), Ip(46))
    validation = validate(build(Spec(dies=(ips, ips))))
    assert validation.ok
    assert validation.ip_map is not None
    assert [ip.die for ip in validation.ip_map.instances] == [0, 0, 1, 1]
    assert validation.ip_map.num_dies == 2


def test_discovery_psp_header_in_front_is_skipped_and_noted() -> None:
    validation = validate(bytes(256) + GOOD)
    assert validation.ok
    assert validation.ip_map is not None
    assert "PSP header" in validation.findings[0].summary


def test_discovery_fewer_tables_in_a_v2_header_is_valid() -> None:
    spec = replace(mi350x(major=2), num_tables=3)
    assert validate(build(spec)).findings == ()


# ---- signature


def test_discovery_all_ones_blames_the_path() -> None:
    finding = only(validate(b"\xff" * 0x2800), "amd.discovery.signature")
    assert finding.summary == "discovery reads all ones: the path to VRAM is dead"
    assert finding.seen == "all ones"


def test_discovery_all_zeros_was_not_written() -> None:
    finding = only(validate(bytes(0x2800)), "amd.discovery.signature")
    assert finding.summary.startswith("discovery reads all zeros: not written yet")


@pytest.mark.parametrize(
    ("byte", "start", "seen"),
    [
        (b"\xff", "discovery reads all ones: overwritten", "2932 bytes of ones"),
        (b"\0", "discovery reads all zeros: not written", "2932 bytes of zeros"),
    ],
)
def test_discovery_table_alone_of_one_byte_is_classed_alike_and_told_exactly(
    byte: bytes, start: str, seen: str
) -> None:
    finding = only(validate((byte * len(GOOD)).ljust(0x2800, b"\xa5")), "amd.discovery.signature")
    assert finding.summary.startswith(start)
    assert finding.seen == f"{seen}, then a5 a5 a5 a5 a5 a5 a5 a5 ..."


def test_discovery_few_ones_at_the_start_are_foreign_data() -> None:
    assert "overwritten" in only(validate(b"\xff" * 200 + GOOD[200:]), "amd.discovery.signature").summary


def test_discovery_foreign_data_counts_what_differs_from_the_good_copy() -> None:
    foreign = struct.pack("<I", 0xDEADBEEF) * 128 + GOOD[512:]
    finding = only(validate(foreign, golden=GOOD), "amd.discovery.signature")
    assert "overwritten" in finding.summary
    assert finding.expected == "0x28211407"
    assert finding.seen.startswith("ef be ad de")
    changed = sum(a != b for a, b in zip(foreign, GOOD, strict=True))
    assert f"against the saved good copy {changed} of 2932 bytes differ, first at 0x0 (binary header" in finding.seen


def test_discovery_repeated_pattern_is_named() -> None:
    finding = only(validate(struct.pack("<I", 0xDEADBEEF) * 64), "amd.discovery.signature")
    assert finding.seen == "0xdeadbeef repeated over 256 bytes"


def test_discovery_damaged_signature_with_an_intact_rest_is_told_and_decoded() -> None:
    validation = validate(poke(GOOD, 0, b"\x06"))
    finding = only(validation, "amd.discovery.signature")
    assert finding.summary == "discovery signature is damaged (1 bit); the rest is intact"
    assert "binary header" in finding.where
    assert validation.ip_map is not None


@pytest.mark.parametrize("size", range(12))
def test_discovery_shorter_than_a_header_is_an_error(size: int) -> None:
    only(validate(GOOD[:size]), "amd.discovery.signature")


def test_discovery_no_bytes_says_so() -> None:
    assert only(validate(b""), "amd.discovery.signature").summary == "there is no discovery table: no bytes at all"


# ---- header


def test_discovery_header_version_3_is_unknown() -> None:
    finding = only(validate(poke(GOOD, 4, b"\3")), "amd.discovery.header")
    assert (finding.expected, finding.seen) == ("major 0, 1 or 2", "3")


def test_discovery_header_version_0_is_read_but_an_error_on_gfx9() -> None:
    validation = validate(poke(GOOD, 4, b"\0"))
    assert only(validation, "amd.discovery.header").summary == "header version 0 is unknown on this family of chips"
    assert validation.ip_map is not None
    newer = build(Spec(major=0, dies=((Ip(11, 0, (10, 3, 0)),),)))
    assert validate(newer).findings == ()


@pytest.mark.parametrize(("major", "severity"), [(1, Severity.ERROR), (2, Severity.WARNING)])
def test_discovery_minor_version_is_strict(major: int, severity: Severity) -> None:
    finding = only(validate(build(replace(mi350x(major=major), minor=1))), "amd.discovery.header")
    assert finding.severity is severity
    assert finding.where == "binary header, bytes 0x6..0x7"


def test_discovery_binary_size_beyond_what_is_there_is_cut_off() -> None:
    codes = {finding.code for finding in serious(validate(GOOD[:-1]))}
    assert "amd.discovery.header" in codes
    finding = next(f for f in validate(GOOD[:-1]).findings if f.code == "amd.discovery.header")
    assert (finding.expected, finding.seen) == ("2932 bytes", "2931 bytes")


def test_discovery_binary_size_below_the_header_is_an_error() -> None:
    finding = only(validate(poke(GOOD, 10, struct.pack("<H", 59))), "amd.discovery.header")
    assert finding.expected == "at least 60 bytes"


def test_discovery_bigger_than_the_kernels_copy_is_a_warning() -> None:
    ips = [Ip(11, 0, (11, 0, 0)), *(Ip(150, n, bases=tuple(range(250))) for n in range(12))]
    finding = only(validate(build(Spec(dies=(ips,)))), "amd.discovery.header")
    assert finding.severity is Severity.WARNING
    assert finding.expected == "at most 10240"


@pytest.mark.parametrize("count", [0, 400])
def test_discovery_v2_number_of_tables_must_fit(count: int) -> None:
    blob = seal(poke(build(mi350x(major=2)), 0x0C, struct.pack("<H", count)))
    assert only(validate(blob), "amd.discovery.header").summary == "the number of tables does not fit the binary"


def test_discovery_v2_table_of_unknown_kind_is_a_note() -> None:
    spec = replace(mi350x(major=2), num_tables=7)
    blob = build(spec)
    blob = seal(poke(blob, 0x10 + 8 * 6, struct.pack("<HHHH", len(blob) - 8, 0, 8, 0)))
    validation = validate(blob)
    assert serious(validation) == []
    assert "table 6 is of a kind that is not known" in validation.findings[0].summary


def test_discovery_v2_unknown_table_out_of_bounds_is_an_error() -> None:
    blob = build(replace(mi350x(major=2), num_tables=7))
    blob = seal(poke(blob, 0x10 + 8 * 6, struct.pack("<HHHH", len(blob) - 4, 0, 8, 0)))
    assert only(validate(blob), "amd.discovery.header").summary == "table 6 reaches out of the binary"


def test_discovery_absent_table_with_a_filled_entry_is_a_warning() -> None:
    blob = seal(poke(build(replace(mi350x(), nps=None)), 0x0C + 8 * 5, struct.pack("<HHHH", 0, 5, 212, 0)))
    finding = only(validate(blob), "amd.discovery.header")
    assert finding.summary == "NPS table is absent, but its entry is not empty"


def test_discovery_without_ip_table_is_an_error() -> None:
    blob = seal(poke(GOOD, 0x0C, bytes(8)))
    assert only(validate(blob), "amd.discovery.header").summary == "there is no IP discovery table"


def test_discovery_padding_in_a_table_entry_is_a_note() -> None:
    validation = validate(seal(poke(GOOD, 0x0C + 6, b"\1")))
    assert validation.ok
    assert "padding in the entry of the IP discovery table" in validation.findings[0].summary


# ---- tables: frame and checksums


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0, "IP discovery table"),
        (1, "GC table"),
        (2, "harvest table"),
        (3, "VCN table"),
        (4, "MALL table"),
        (5, "NPS table"),
    ],
)
def test_discovery_each_tables_own_checksum_is_checked_and_blamed(index: int, name: str) -> None:
    at = table_at(GOOD, index) + 20
    damaged = seal(poke(GOOD, at, bytes([GOOD[at] ^ 0x10])))
    found = [f for f in serious(validate(damaged)) if f.code == "amd.discovery.checksum"]
    assert [f.summary for f in found] == [f"checksum of the {name} is wrong"]
    stored, computed = found[0].expected, found[0].seen
    assert f"(stored at {0x0C + 8 * index + 2:#x})" in stored
    assert f"computed over bytes {table_at(GOOD, index):#x}.." in computed


def test_discovery_flipped_content_blames_the_table_twice_and_not_the_header() -> None:
    at = table_at(GOOD, 5) + 12
    found = serious(validate(poke(GOOD, at, bytes([GOOD[at] ^ 1]))))
    assert [finding.code for finding in found] == ["amd.discovery.checksum"] * 2
    assert found[0].where.startswith("NPS table, bytes")
    assert found[1].where == "whole binary; the change lies in: NPS table"


def test_discovery_flipped_stored_checksum_blames_the_header() -> None:
    found = serious(validate(poke(GOOD, 0x0E, bytes([GOOD[0x0E] ^ 1]))))
    assert "binary header (checksum of the IP discovery table), bytes 0xe..0xf" in found[0].where


def test_discovery_what_is_odd_in_a_table_with_a_wrong_checksum_is_a_note() -> None:
    at = table_at(GOOD, 0)
    validation = validate(poke(GOOD, at + 4, b"\x09"))  # table version 9
    assert {finding.code for finding in serious(validation)} == {"amd.discovery.checksum"}
    notes = [finding for finding in validation.findings if finding.severity is Severity.NOTE]
    assert "unknown version of the IP discovery table" in [finding.summary for finding in notes]
    assert validation.ip_map is None


def test_discovery_damaged_ip_table_gives_no_map_but_what_could_be_salvaged() -> None:
    at = table_at(GOOD, 0) + 80 + 4 + 4  # major version of the first record
    validation = validate(poke(GOOD, at, b"\x55"))
    assert validation.ip_map is None
    assert validation.salvaged is not None
    assert len(validation.salvaged.instances) == 113


def test_discovery_damage_elsewhere_leaves_the_map_trusted() -> None:
    at = table_at(GOOD, 1) + 20
    validation = validate(poke(GOOD, at, b"\x55"))
    assert not validation.ok
    assert validation.ip_map is not None


@pytest.mark.parametrize("index", range(1, 6))
def test_discovery_wrong_table_signature_is_named(index: int) -> None:
    finding = only(validate(sealed(GOOD, table_at(GOOD, index), b"XXXX")), "amd.discovery.table")
    assert finding.summary.endswith("has a wrong signature")
    assert finding.seen == "0x58585858"


@pytest.mark.parametrize("index", [1, 3, 4, 5])
def test_discovery_size_in_table_and_header_must_agree(index: int) -> None:
    at = table_at(GOOD, index) + 8
    size = struct.unpack_from("<I", GOOD, at)[0]
    blob = poke(GOOD, at, struct.pack("<I", size - 4))
    start = table_at(GOOD, index)
    blob = poke(blob, 0x0C + 8 * index + 2, struct.pack("<H", byte_sum(blob[start : start + size - 4])))
    found = serious(validate(seal(blob)))
    assert {finding.code for finding in found} <= {"amd.discovery.table", "amd.discovery.gc"}
    assert "its own size is not the one in the header" in found[0].summary
    assert found[0].seen == f"{size - 4} bytes"


def test_discovery_table_reaching_out_of_the_binary_is_an_error() -> None:
    blob = seal(poke(GOOD, 0x0C + 8 * 5, struct.pack("<H", len(GOOD) - 20)))
    found = serious(validate(blob))
    assert {finding.code for finding in found} == {"amd.discovery.table"}
    told = next(finding for finding in found if finding.summary == "NPS table reaches out of the binary")
    assert told.where.startswith("binary header (offset and size of the NPS table); NPS table, bytes")


def test_discovery_table_within_the_header_is_an_error() -> None:
    blob = seal(poke(GOOD, 0x0C + 8 * 4, struct.pack("<H", 8)))
    finding = only(validate(blob), "amd.discovery.table")
    assert finding.summary == "MALL table lies within the binary header"


def test_discovery_overlapping_tables_are_an_error() -> None:
    spec = replace(mi350x(), vcn=None, mall=None)
    blob = build(spec)
    entry = blob[0x0C + 8 * 1 : 0x0C + 8 * 2]
    twice = seal(poke(blob, 0x0C + 8 * 2, entry))  # the harvest table where the GC table is
    assert any("overlap" in finding.summary for finding in serious(validate(twice)))


def test_discovery_own_size_beyond_the_binary_is_an_error_and_nothing_is_read_there() -> None:
    blob = poke(GOOD, table_at(GOOD, 5) + 8, struct.pack("<I", 0xFFFFFFF0))
    validation = validate(seal(blob, tables=True))
    assert only_codes(validation) == {"amd.discovery.table"}
    assert validation.ip_map is not None
    assert validation.ip_map.nps is None


def only_codes(validation: Validation) -> set[str]:
    return {finding.code for finding in serious(validation)}


# ---- IP records


def ip_finding(spec: Spec) -> Finding:
    return only(validate(build(spec)), "amd.discovery.ip")


@pytest.mark.parametrize("version", [0, 5, 0xFFFF])
def test_discovery_ip_table_version_out_of_range(version: int) -> None:
    finding = ip_finding(mi350x(version=version))
    assert (finding.expected, finding.seen) == ("1..4", f"{version}")


def test_discovery_64_bit_bases_need_table_version_4() -> None:
    found = serious(validate(build(mi350x(version=3, wide=True))))
    assert found[0].summary == "64-bit bases in a table version without them"


@pytest.mark.parametrize("dies", [0, 17])
def test_discovery_number_of_dies_out_of_range(dies: int) -> None:
    at = table_at(GOOD, 0) + 12
    found = serious(validate(sealed(GOOD, at, struct.pack("<H", dies))))
    assert found[0].summary == "number of dies is out of range"
    assert {finding.code for finding in found} == {"amd.discovery.ip"}


def test_discovery_die_number_must_be_its_index() -> None:
    at = table_at(GOOD, 0)
    assert "die 0 carries another number" in only(validate(sealed(GOOD, at + 14, b"\1")), "amd.discovery.ip").summary
    assert "die 0: its own header" in only(validate(sealed(GOOD, at + 80, b"\1")), "amd.discovery.ip").summary


@pytest.mark.parametrize("offset", [0, 0x3C, 0xFFFF])
def test_discovery_die_offset_must_lie_in_the_table(offset: int) -> None:
    at = table_at(GOOD, 0) + 16
    validation = validate(sealed(GOOD, at, struct.pack("<H", offset)))
    assert "die 0 does not follow within the table" in [finding.summary for finding in serious(validation)]
    assert validation.ip_map is None


def test_discovery_unused_die_entries_must_be_empty() -> None:
    at = table_at(GOOD, 0) + 14 + 4
    finding = only(validate(sealed(GOOD, at, b"\1")), "amd.discovery.ip")
    assert finding.summary == "unused die entries are not empty"


def test_discovery_bytes_before_a_die_are_a_warning() -> None:
    ips = tuple(IPS)
    raw = build(mi350x())[table_at(GOOD, 0) :][: struct.unpack_from("<H", GOOD, table_at(GOOD, 0) + 6)[0]]
    moved = raw[:80] + bytes(8) + raw[80:]
    moved = poke(poke(moved, 6, struct.pack("<H", len(moved))), 16, struct.pack("<H", table_at(GOOD, 0) + 88))
    finding = only(validate(build(with_ips(ips, raw={0: moved}))), "amd.discovery.ip")
    assert finding.summary == "8 bytes before die 0 belong to nothing"
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize("delta", [-1, 1, 1000])
def test_discovery_number_of_ips_must_match_where_the_table_ends(delta: int) -> None:
    at = table_at(GOOD, 0) + 82
    validation = validate(sealed(GOOD, at, struct.pack("<H", 113 + delta)))
    summaries = [finding.summary for finding in serious(validation)]
    if delta < 0:
        assert "the last IP record does not end where the table ends" in summaries
    else:
        assert f"die 0: IP record 113 of {113 + delta} runs out of the table" in summaries
    assert validation.ip_map is None


def test_discovery_number_of_bases_running_out_is_an_error() -> None:
    spec = with_ips([*IPS, Ip(70, 1, bases=(1,))])
    blob = build(spec)
    last = table_at(blob, 0) + struct.unpack_from("<H", blob, table_at(blob, 0) + 6)[0] - 12
    finding = only(validate(sealed(blob, last + 3, b"\xff")), "amd.discovery.ip")
    assert finding.summary == "die 0: IP record 113 of 114 runs out of the table"


def test_discovery_record_whose_head_runs_out_of_the_binary_is_an_error() -> None:
    blob = build(Spec(dies=((Ip(11, 0, (11, 0, 0)),),), harvest=None))
    at = table_at(blob, 0) + 82
    finding = only(validate(sealed(blob, at, b"\2\0")), "amd.discovery.ip")
    assert finding.summary == "die 0: IP record 1 of 2 runs out of the table"


@pytest.mark.parametrize(("hw_id", "severity"), [(300, Severity.ERROR), (0xFFFF, Severity.ERROR), (77, Severity.NOTE)])
def test_discovery_hardware_ids(hw_id: int, severity: Severity) -> None:
    validation = validate(build(with_ips([*IPS, Ip(hw_id)])))
    assert [finding.severity for finding in validation.findings] == [severity]


@pytest.mark.parametrize(
    ("hw_id", "instance", "expected"), [(46, 48, "0..47"), (11, 8, "0..7"), (12, 4, "0..3"), (42, 16, "0..15")]
)
def test_discovery_instance_numbers_beyond_the_kernels_room(hw_id: int, instance: int, expected: str) -> None:
    finding = ip_finding(with_ips([*IPS, Ip(hw_id, instance, (9, 5, 0), (1, 2))]))
    assert (finding.expected, finding.seen) == (expected, f"{instance}")


def test_discovery_same_instance_twice_is_an_error() -> None:
    finding = ip_finding(with_ips([*IPS, Ip(46, 2)]))
    assert finding.summary == "DF[2] is listed twice"


@pytest.mark.parametrize("hw_id", [42, 34, 40, 108, 255, 1, 41])
def test_discovery_what_a_driver_needs_must_be_there(hw_id: int) -> None:
    finding = ip_finding(with_ips([ip for ip in IPS if ip.hw_id != hw_id], harvest=(), vcn=None))
    assert "is missing, which a driver of GC 9.5.0 needs" in finding.summary


def test_discovery_older_chips_need_less() -> None:
    assert validate(build(Spec(version=2, dies=((Ip(11, 0, (9, 4, 2), (1, 2)),),)))).findings == ()


@pytest.mark.parametrize(("hw_id", "least"), [(11, 2), (108, 9), (34, 1), (255, 1)])
def test_discovery_too_few_bases(hw_id: int, least: int) -> None:
    ips = [replace(ip, bases=ip.bases[: least - 1]) if (ip.hw_id, ip.instance) == (hw_id, 0) else ip for ip in IPS]
    finding = ip_finding(with_ips(ips))
    assert finding.summary.endswith("has fewer bases than the register headers use")
    assert (finding.expected, finding.seen) == (f"{least}", f"{least - 1}")


def test_discovery_too_few_bases_of_an_instance_reached_by_smn_is_a_note() -> None:
    ips = [replace(ip, bases=ip.bases[:4]) if (ip.hw_id, ip.instance) == (108, 3) else ip for ip in IPS]
    validation = validate(build(with_ips(ips)))
    assert validation.ok
    assert len(validation.findings) == 1


# ---- harvest


def test_discovery_harvest_marks_instances_and_masks() -> None:
    spec = mi350x(harvested=((11, 3), (42, 5), (42, 4), (12, 1), (150, 7)))
    validation = validate(build(spec))
    assert validation.findings == ()
    ip_map = validation.ip_map
    assert ip_map is not None
    assert ip_map.xcc_mask == 0b11110111
    assert ip_map.sdma_mask == 0xFFCF
    assert ip_map.vcn_mask == 0b1101
    assert {ip.label for ip in ip_map.harvested} == {"GC[3]", "SDMA0[4]", "SDMA0[5]", "UVD[1]", "UMC[7]"}


def test_discovery_harvest_is_not_used_on_old_chips() -> None:
    ips = (Ip(11, 0, (9, 4, 2)), Ip(42, 0), Ip(42, 1))
    validation = validate(build(Spec(version=2, dies=(ips,), harvest=((42, 1),))))
    assert validation.ok
    assert validation.findings[0].summary == "the harvest list is not used on a chip this old"
    assert validation.ip_map is not None
    assert validation.ip_map.harvested == ()


@pytest.mark.parametrize(
    ("entry", "severity", "summary"),
    [
        ((77, 0), Severity.WARNING, "a harvest entry names an unknown hardware id"),
        ((11, 32), Severity.ERROR, "harvest entry of GC: instance number is out of range"),
        ((46, 9), Severity.WARNING, "a harvest entry names DF[9], which is not listed"),
    ],
)
def test_discovery_harvest_entries_are_checked(entry: tuple[int, int], severity: Severity, summary: str) -> None:
    finding = only(validate(build(mi350x(harvested=(entry,)))), "amd.discovery.harvest")
    assert (finding.severity, finding.summary) == (severity, summary)


def test_discovery_harvest_list_must_end_with_zeros() -> None:
    finding = only(validate(build(mi350x(harvested=((11, 1), (0, 0), (11, 2))))), "amd.discovery.harvest")
    assert finding.summary == "harvest entries go on behind the end of the list"


def test_discovery_full_harvest_list_needs_no_end() -> None:
    spec = mi350x(harvested=[(150, n) for n in range(32)])
    assert validate(build(spec)).findings == ()


def test_discovery_everything_harvested_is_an_error() -> None:
    finding = only(validate(build(mi350x(harvested=[(11, n) for n in range(8)]))), "amd.discovery.harvest")
    assert finding.summary == "every GC is harvested: nothing is left to use"


# ---- GC, VCN, MALL, NPS


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_se": 0}, "1..64"),
        ({"num_sh_per_se": 0}, "1..8"),
        ({"num_cu_per_sh": 65}, "1..64"),
        ({"wave_size": 32}, "64"),
    ],
)
def test_discovery_gc_values_that_make_no_sense(changes: dict[str, int], expected: str) -> None:
    finding = only(validate(build(replace(mi350x(), gc=gc_v2_1(**changes)))), "amd.discovery.gc")
    assert finding.summary == f"GC table: {next(iter(changes))} makes no sense"
    assert finding.expected == expected


def test_discovery_gc_table_of_another_family() -> None:
    body = info(1, 1, 0, struct.pack("<19I", *([1] * 11), 64, *([1] * 7)))
    finding = only(validate(build(replace(mi350x(), gc=body))), "amd.discovery.gc")
    assert (finding.expected, finding.seen) == ("2.x", "1.0")


def test_discovery_gc_table_of_unknown_version() -> None:
    finding = only(validate(build(replace(mi350x(), gc=info(1, 3, 0, bytes(96))))), "amd.discovery.gc")
    assert finding.summary == "unknown version of the GC table"


def test_discovery_gc_table_too_short_for_its_version() -> None:
    short = info(1, 2, 1, gc_v2_1()[12:80])
    finding = only(validate(build(replace(mi350x(), gc=short))), "amd.discovery.gc")
    assert (finding.expected, finding.seen) == ("108 bytes", "80 bytes")


def test_discovery_gc_table_newer_than_known_is_a_note() -> None:
    newer = info(1, 2, 7, gc_v2_1()[12:] + bytes(8))
    validation = validate(build(replace(mi350x(), gc=newer)))
    assert validation.ok
    assert validation.ip_map is not None
    assert validation.ip_map.gc is not None
    assert validation.ip_map.gc["tcc_size"] == 4096


@pytest.mark.parametrize(
    ("minor", "size", "last"), [(0, 88, "num_gl2a"), (1, 100, "num_tcps"), (3, 164, "tcc_cache_line_size")]
)
def test_discovery_gc_v1_fields_end_where_the_sheet_says(minor: int, size: int, last: str) -> None:
    body = info(1, 1, minor, struct.pack(f"<{(size - 12) // 4}I", *range(1, (size - 12) // 4 + 1)))
    ips = (Ip(11, 0, (11, 0, 0)),)
    ip_map = validate(build(Spec(dies=(ips,), raw={1: body}))).ip_map
    assert ip_map is not None
    assert ip_map.gc is not None
    assert list(ip_map.gc.values)[-1] == last
    assert ip_map.gc[last] == (size - 12) // 4
    assert ip_map.gc.cu_per_xcc == 1 * 17 * 2 * (2 + 3), "each field holds its own number"


def test_discovery_vcn_fuses_are_decoded() -> None:
    validation = validate(build(replace(mi350x(), vcn=vcn_v1((0, 0b0101, 0b1010, 0)))))
    assert validation.ok
    assert validation.ip_map is not None
    assert [fuse.disabled for fuse in validation.ip_map.vcn_fuses] == [(), ("AV1", "HEVC"), ("VP9", "H264"), ()]


@pytest.mark.parametrize(
    ("table", "code", "summary"),
    [
        ({"vcn": vcn_v1(count=5)}, "amd.discovery.vcn", "VCN table: too many instances"),
        ({"vcn": info(3, 2, 0, bytes(84))}, "amd.discovery.vcn", "unknown version of the VCN table"),
        ({"mall": info(4, 3, 0, bytes(36))}, "amd.discovery.mall", "unknown version of the MALL table"),
        ({"nps": info(5, 2, 0, bytes(200))}, "amd.discovery.nps", "unknown version of the NPS table"),
        ({"nps": nps_v1(((0, 99),), count=13)}, "amd.discovery.nps", "NPS table: more ranges than it has room for"),
        ({"nps": nps_v1(((9, 9),))}, "amd.discovery.nps", "NPS table: range 0 ends before it begins"),
        ({"nps": nps_v1(((0, 99), (99, 200)))}, "amd.discovery.nps", "NPS table: two ranges overlap"),
        ({"nps": nps_v1(((0, 99),), nps_type=5)}, "amd.discovery.nps", "NPS table: unknown memory partition mode"),
    ],
)
def test_discovery_small_tables_are_checked(table: dict[str, bytes], code: str, summary: str) -> None:
    found = serious(validate(build(replace(mi350x(), **table))))  # type: ignore[arg-type]
    assert {finding.code for finding in found} == {code}
    assert found[0].summary == summary


def test_discovery_vcn_instance_out_of_range() -> None:
    blob = build(mi350x())
    at = table_at(blob, 3) + 16
    finding = only(validate(sealed(blob, at, b"\x07")), "amd.discovery.vcn")
    assert finding.summary == "VCN table: entry 0 names an instance out of range"


def test_discovery_vcn_table_with_fewer_instances_is_a_note() -> None:
    validation = validate(build(replace(mi350x(), vcn=vcn_v1((0,)))))
    assert validation.ok
    assert validation.findings[0].summary == "VCN table has fewer instances than the IP list"


def test_discovery_nps_more_ranges_than_the_kernel_takes_is_a_warning() -> None:
    ranges = [(n << 20, (n << 20) + 9) for n in range(9)]
    finding = only(validate(build(replace(mi350x(), nps=nps_v1(ranges, 4)))), "amd.discovery.nps")
    assert finding.severity is Severity.WARNING
    assert finding.expected == "at most 8"


def test_discovery_mall_v1_is_decoded() -> None:
    validation = validate(build(replace(mi350x(), mall=mall_v1(4096, 3, 4))))
    assert validation.ok
    assert validation.ip_map is not None
    assert validation.ip_map.mall is not None
    mall = validation.ip_map.mall
    assert (mall.size_bytes_each, mall.present_mask, mall.half_use_mask) == (4096, 3, 4)


def test_discovery_nps_ranges_are_hive_addresses() -> None:
    node = 5 * VRAM
    quarters = [(node + n * VRAM // 4, node + (n + 1) * VRAM // 4 - 1) for n in range(4)]
    blob = build(replace(mi350x(), nps=nps_v1(quarters, 4)))
    assert validate(blob, vram_size_bytes=VRAM).findings == ()
    finding = only(validate(blob, vram_size_bytes=VRAM - 1), "amd.discovery.nps")
    assert finding.seen == f"{VRAM:#x} bytes"


# ---- bounds, comparison, driver copy


def test_discovery_findings_are_capped_and_the_rest_counted() -> None:
    ips = [*IPS, *(Ip(46, 2) for _ in range(200))]
    validation = validate(build(with_ips(ips)))
    assert len(validation.findings) == MAX_FINDINGS + 1
    assert validation.left_out == 200 - MAX_FINDINGS
    assert validation.findings[-1].summary == f"{validation.left_out} more findings are not listed"


def test_discovery_notes_do_not_crowd_out_errors() -> None:
    ips = [*IPS, *(Ip(77, n) for n in range(40)), Ip(46, 2)]
    validation = validate(build(with_ips(ips)))
    assert len(validation.findings) < 40
    assert [finding.summary for finding in serious(validation)] == ["DF[2] is listed twice"]


def test_discovery_only_64_kib_are_looked_at() -> None:
    assert validate(GOOD + bytes(50 << 20)).ok
    assert only(validate(b"\xff" * (MAX_BLOB_BYTES * 4)), "amd.discovery.signature").seen == "all ones"


def test_discovery_difference_from_the_good_copy_is_a_note() -> None:
    other = build(replace(mi350x(), nps=nps_v1(((0, VRAM // 2 - 1), (VRAM // 2, VRAM - 1)), 2)))
    validation = validate(other, golden=GOOD)
    assert validation.ok
    assert [finding.code for finding in validation.findings] == ["amd.discovery.changed"]
    assert "NPS table" in validation.findings[0].where


def test_discovery_driver_copy_with_cleared_capability_bits_is_no_error() -> None:
    ips = [replace(ip, version=(5, 0, 0x81)) if ip.hw_id == 12 else ip for ip in IPS]
    blob = bytearray(build(with_ips(ips)))
    for at in [ip.offset for ip in (validate(bytes(blob)).ip_map or pytest.fail("no map")).find("VCN")]:
        blob[at + 6] &= 0x3F
    assert not validate(bytes(blob)).ok
    as_copy = validate(bytes(blob), driver_copy=True)
    assert as_copy.ok
    assert as_copy.ip_map is not None
    assert {finding.code for finding in as_copy.findings} == {"amd.discovery.checksum"}


def test_discovery_driver_copy_with_packed_64_bit_bases_is_read_as_the_driver_left_it() -> None:
    ips = (Ip(11, 0, (10, 3, 0), (0x12_C000_2000, 0xA000)),)
    blob = bytearray(build(Spec(version=4, wide=True, dies=(ips,))))
    at = table_at(bytes(blob), 0) + 84 + 8
    struct.pack_into("<II", blob, at, 0x2000, 0xA000)
    ip_map = validate(bytes(blob), driver_copy=True).ip_map
    assert ip_map is not None
    assert ip_map.instances[0].bases == (0x2000, 0xA000)


def test_discovery_driver_copy_damaged_elsewhere_is_still_an_error() -> None:
    at = table_at(GOOD, 1) + 20
    assert not validate(poke(GOOD, at, b"\x55"), driver_copy=True).ok


def test_discovery_every_finding_is_whole_and_short() -> None:
    for at in range(0, len(GOOD), 7):
        for finding in validate(poke(GOOD, at, b"\xa5\x5a\xff\0")).findings:
            assert len(finding.summary) <= 80
            assert finding.where
            assert finding.next


# ---- properties


@given(st.binary(max_size=700))
def test_byte_sum_is_the_sum_of_bytes(data: bytes) -> None:
    assert byte_sum(data) == sum(data) & 0xFFFF


def test_byte_sum_wraps_at_16_bits() -> None:
    for size in (255, 256, 257, 0x2800, 0xFFFF):
        assert byte_sum(b"\xff" * size) == 255 * size & 0xFFFF


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_discovery_any_bytes_are_judged_without_an_exception(data: bytes) -> None:
    assert not validate(data).ok
    assert not validate(struct.pack("<IHHHH", 0x28211407, 1, 0, 0, 12 + len(data)) + data).ok


IP_LISTS = st.lists(
    st.builds(
        Ip,
        hw_id=st.sampled_from([1, 4, 34, 46, 150, 200]),
        instance=st.integers(0, 47),
        version=st.tuples(*[st.integers(0, 255)] * 3),
        bases=st.lists(st.integers(0, 2**32 - 1), max_size=9).map(tuple),
        nibbles=st.integers(0, 255),
    ),
    unique_by=lambda ip: (ip.hw_id, ip.instance),
    max_size=30,
)


@given(IP_LISTS, st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2]), st.booleans())
def test_discovery_what_was_built_is_what_is_read(ips: list[Ip], version: int, major: int, wide: bool) -> None:
    wide = wide and version == 4
    validation = validate(build(Spec(major=major, version=version, wide=wide, dies=([Ip(11), *ips],))))
    assert validation.ok, validation.findings
    assert validation.ip_map is not None
    read = [(ip.hw_id, ip.instance, ip.version, ip.raw_bases) for ip in validation.ip_map.instances[1:]]
    assert read == [(ip.hw_id, ip.instance, ip.version, ip.bases) for ip in ips]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no bytes"),
        (b"\0" * 9, "all zeros"),
        (b"\xff" * 9, "all ones"),
        (b"abc", "61 62 63"),
        (b"\1\0\0\0" * 5, "0x00000001 repeated over 20 bytes"),
        (bytes(range(1, 20)), bytes(range(1, 17)).hex(" ") + " ..."),
    ],
)
def test_describe_bytes_tells_patterns_from_the_rest(data: bytes, told: str) -> None:
    assert describe_bytes(data) == told
