"""The generators of registers/amd and registers/data, and what they made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registers.amd import (
    gc_9_4_3,
    structs_discovery,
    structs_ih,
    structs_mqd,
    structs_pm4,
    structs_psp,
    structs_sdma,
    structs_smu_13_0_6,
    structs_smu_13_0_12,
    structs_ucode,
)
from registers.amd_fixed import Fixed
from registers.amd_smn import MP1_FIRMWARE_FLAGS, BootError_t
from registers.structs import member_offsets, sizeof
from tools import debian_source, gen_registers, gen_structs, generated
from tools.debian_source import Source
from tools.generated import GenerateError


def source_or_skip() -> Source:
    source = debian_source.source()
    why = generated.why_skip(source, generated.recorded_version())
    if why or source is None:
        pytest.skip(why)
    return source


# ---------------------------------------------------------------- the committed files


def test_registers_regenerated_are_the_committed_ones() -> None:
    source = source_or_skip()
    assert generated.differences(gen_registers.generate(source), generated.DATA, "*.txt") == []


@pytest.mark.long
def test_structs_regenerated_are_the_committed_ones() -> None:
    source = source_or_skip()
    if gen_structs.lacking():
        pytest.skip(f"needs {gen_structs.lacking()}")
    assert generated.differences(gen_structs.generate(source), generated.AMD, "structs_*.py") == []


def test_generated_files_carry_source_and_licence() -> None:
    for path in generated.AMD.glob("*_*.py"):
        if path.name == "__init__.py":
            continue
        text = path.read_text()
        assert "Source: Debian linux-source-" in text
        assert "registers/data/NOTICE.md" in text
    assert "Permission is hereby granted, free of charge" in (generated.DATA / "NOTICE.md").read_text()


def test_check_without_source_is_skipped_and_says_so(tmp_path: Path) -> None:
    code, told = generated.check(None, lambda source: {}, tmp_path, "*", "make it")
    assert code == 0
    assert told.startswith("skipped: linux-source-")
    assert "tools/debian_source.py brings it" in told


def test_check_with_another_version_is_skipped_and_names_both(tmp_path: Path) -> None:
    other = Source(tmp_path, "linux-source-9.9", "9.9.9-1")
    code, told = generated.check(other, lambda source: {}, tmp_path, "*", "make it")
    assert code == 0
    assert told.endswith("the cache holds linux-source-9.9 9.9.9-1")


def test_check_names_files_that_differ_miss_or_have_no_source(tmp_path: Path) -> None:
    package, version = generated.recorded_version().split(" ")
    (tmp_path / "old.txt").write_text("before")
    (tmp_path / "stray.txt").write_text("whence?")
    files = {tmp_path / "old.txt": "after", tmp_path / "gone.txt": "new"}
    code, told = generated.check(Source(tmp_path, package, version), lambda source: files, tmp_path, "*.txt", "make it")
    assert code == 1
    assert told.splitlines() == [
        "old.txt: differs",
        "gone.txt: missing",
        "stray.txt: nothing generates it",
        "run make it",
    ]


def test_write_leaves_equal_files_alone(tmp_path: Path) -> None:
    files = {tmp_path / "folder/a.txt": "one"}
    assert generated.write(files) == 1
    assert generated.write(files) == 0
    assert (tmp_path / "folder/a.txt").read_text() == "one"
    assert len(list(tmp_path.rglob("*.new"))) == 0


# ---------------------------------------------------------------- reading headers


def test_read_offsets_takes_name_offset_and_segment() -> None:
    text = "#define regA_B 0x0010\n#define regA_B_BASE_IDX 2\n#define cfgC 0x4\n#define smnD 0x11a0020c\n#define regE 7 // x\n"
    assert gen_registers.read_offsets(text) == [
        ("A_B", 0x10, 2, ""),
        ("C", 4, None, "cfg"),
        ("D", 0x11A0020C, None, "smn"),
        ("E", 7, None, "?"),
    ]


def test_read_masks_takes_fields_lowest_first() -> None:
    text = (
        "#define A__HIGH__SHIFT 0x10\n#define A__HIGH_MASK 0xFFFF0000L\n"
        "#define A__SMALL__SHIFT 0x3\n#define A__SMALL_MASK 0x00000038L\n"
    )
    assert gen_registers.read_masks(text) == {"A": (("SMALL", 5, 3), ("HIGH", 31, 16))}


def test_read_masks_with_mask_that_has_a_hole_is_refused() -> None:
    text = "#define A__X__SHIFT 0x0\n#define A__X_MASK 0x00000005L\n"
    with pytest.raises(GenerateError, match=r"A\.X: mask 0x5 is not one run of bits from 0"):
        gen_registers.read_masks(text)


def test_read_masks_with_shift_without_mask_is_refused() -> None:
    with pytest.raises(GenerateError, match="shift without mask or mask without shift: A__X"):
        gen_registers.read_masks("#define A__X__SHIFT 0x0\n")


def test_read_names_outside_a_section_is_refused() -> None:
    with pytest.raises(GenerateError, match=r"line 2: GRBM_STATUS stands before the first \[header\]"):
        gen_registers.read_names("# note\nGRBM_STATUS\n")


def test_read_names_of_unknown_header_is_refused() -> None:
    with pytest.raises(GenerateError, match="no such header: gc_1_2_3"):
        gen_registers.read_names("[gc_1_2_3]\nA\n")


def row(name: str, fields: gen_registers.Fields = ()) -> gen_registers.Row:
    return gen_registers.Row(name, 1, 0, "", fields)


def test_pick_of_names_that_the_header_lacks_lists_them() -> None:
    header = gen_registers.Header(gen_registers.HEADERS[0], rows=[row("A1"), row("A2"), row("B")])
    assert [item.name for item in gen_registers.pick(header, ["A*"])] == ["A1", "A2"]
    with pytest.raises(GenerateError, match=r"\[gc_9_4_3\]: no such register: C, D\?"):
        gen_registers.pick(header, ["B", "C", "D?"])


def test_group_kinds_shares_a_class_only_between_equal_fields() -> None:
    wide, narrow = (("F", 7, 0),), (("F", 3, 0),)
    kinds = gen_registers.group_kinds([row("X0_Y", wide), row("X1_Y", wide), row("X2_Y", narrow), row("Z", wide)])
    assert {name: [item.name for item in rows] for name, rows in kinds.items()} == {
        "Xn_Y_t": ["X0_Y", "X1_Y"],
        "X2_Y_t": ["X2_Y"],
        "Z_t": ["Z"],
    }


def test_class_text_mangles_field_names_and_records_the_headers() -> None:
    lines = gen_registers.class_text("A_t", row("A", (("value", 0, 0), ("GOOD", 5, 1))))
    assert "    value_ = bit(0)  # in the header: value" in lines
    assert "    GOOD = bits(5, 1)" in lines


def test_class_text_with_two_fields_of_one_name_is_refused() -> None:
    with pytest.raises(GenerateError, match="A: two fields would have one name"):
        gen_registers.class_text("A_t", row("A", (("value", 0, 0), ("value_", 1, 1))))


# ---------------------------------------------------------------- registers


def test_typed_registers_of_known_places_match_the_kernel_sources_literals() -> None:
    assert (gc_9_4_3.Gc.CP_HQD_ACTIVE.offset, gc_9_4_3.Gc.CP_HQD_ACTIVE.seg) == (0x1247, 0)
    assert gc_9_4_3.GRBM_STATUS_t.FIELDS["GUI_ACTIVE"].lsb == 31
    assert gc_9_4_3.Gc.VM_CONTEXT1_CNTL.kind is gc_9_4_3.VM_CONTEXTn_CNTL_t


def test_fixed_registers_need_no_bases() -> None:
    bus: Any = SimpleNamespace(read=lambda address: address, where=hex)
    fixed = Fixed(bus)
    assert fixed.MP0_SMN_C2PMSG_33.address == 0x16061
    assert fixed.MP0_SMN_C2PMSG_33.kind(1 << 31).IFWI_READY == 1
    assert fixed.RCC_CONFIG_MEMSIZE.read().VALUE == 0xDE3


def test_smn_constants_are_the_kernels() -> None:
    assert MP1_FIRMWARE_FLAGS == 0x03B00000 | 0x3010028
    assert BootError_t(0x4000_0803).fields() | {} == {
        **dict.fromkeys(BootError_t.FIELDS, 0),
        "MEM_TRAINING": 1,
        "FW_LOAD": 1,
        "AID_ID": 1,
        "GENERIC": 1,
    }


# ---------------------------------------------------------------- structures

SIZES = [
    (structs_discovery.table_info, 8),
    (structs_discovery.binary_header, 60),
    (structs_discovery.binary_header_v2, 16),
    (structs_discovery.ip_v3, 8),
    (structs_discovery.ip_v4, 8),
    (structs_discovery.ip_discovery_header, 80),
    (structs_psp.psp_gfx_rb_frame, 64),
    (structs_psp.psp_gfx_cmd_resp, 1024),
    (structs_ucode.common_firmware_header, 32),
    (structs_ucode.psp_firmware_header_v2_0, 36),
    (structs_mqd.v9_mqd, 2048),
    (structs_mqd.v9_mqd_allocation, 2064),
    (structs_mqd.v9_sdma_mqd, 512),
    (structs_pm4.pm4_mes_map_queues, 28),
]


@pytest.mark.parametrize(("kind", "size"), SIZES, ids=lambda item: getattr(item, "__name__", item))
def test_structure_size_is_that_of_the_fact_sheets(kind: type[Any], size: int) -> None:
    assert sizeof(kind) == size


def test_mqd_members_lie_where_the_fact_sheet_says() -> None:
    offsets = {path: offset // 4 for path, offset, _, _ in member_offsets(structs_mqd.v9_mqd)}
    expected = {"cp_mqd_base_addr_lo": 128, "cp_hqd_active": 130, "cp_hqd_pq_rptr": 138, "cp_hqd_pq_control": 145}
    assert {name: offsets[name] for name in expected} == expected


def test_psp_response_status_lies_at_byte_864() -> None:
    offsets = {path: offset for path, offset, _, _ in member_offsets(structs_psp.psp_gfx_cmd_resp)}
    assert offsets["resp"] == offsets["resp.status"] == 864


def test_structure_with_bit_fields_reads_and_writes_them() -> None:
    record = structs_discovery.ip_v3.from_buffer_copy(bytes([0, 0, 0, 0, 9, 5, 0, 0x21]))
    assert (record.major, record.minor, record.sub_revision, record.variant) == (9, 5, 1, 2)


def test_messages_that_differ_between_the_chips_have_their_own_numbers() -> None:
    assert structs_smu_13_0_6.Message.ResetVCN.value == 0x5B
    assert structs_smu_13_0_12.Message.ResetVCN.value == 0x5E
    assert structs_smu_13_0_6.Message(3).name == "GfxDriverReset"
    assert structs_smu_13_0_6.Result(0xFC).name == "CmdRejectedBusy"


def test_packet_opcodes_and_places() -> None:
    assert structs_pm4.Op.MAP_QUEUES.value == 0xA2
    assert structs_pm4.Place.WRITE_DATA__DST_SEL == (11, 8)
    assert structs_sdma.Op.SRBM_WRITE.value == 14
    assert ("COUNT_count", 1, 21, 0) in structs_sdma.PACKETS["COPY_LINEAR"]
    assert not any(name.startswith("SUBWIN") for name, *_ in structs_sdma.PACKETS["COPY_LINEAR"])
    assert structs_ih.Client.GRBM_CP.value == 0x14
    assert structs_ih.GfxSource.CP_EOP_INTERRUPT.value == 181


@pytest.fixture
def discovery_unit(tmp_path: Path) -> gen_structs.Unit:
    source = source_or_skip()
    if gen_structs.lacking():
        pytest.skip(f"needs {gen_structs.lacking()}")
    spec = next(spec for spec in gen_structs.SPECS if spec.module == "structs_discovery")
    return gen_structs.parse(spec, source, tmp_path)


def test_compare_with_a_structure_of_the_wrong_size_is_refused(discovery_unit: gen_structs.Unit) -> None:
    structures = gen_structs.Structures(discovery_unit)
    structures.add("ip_v3")
    good = {"ip_v3": structs_discovery.ip_v3, "sizeof": sizeof}
    assert gen_structs.compare(discovery_unit, structures.layouts, good) == 10
    bad = {"ip_v3": structs_discovery.ip, "sizeof": sizeof}
    with pytest.raises(GenerateError, match=r"gcc: exit 1[\s\S]*no member named .number_instance"):
        gen_structs.compare(discovery_unit, structures.layouts, bad)


def test_compare_with_swapped_bit_fields_is_refused(discovery_unit: gen_structs.Unit) -> None:
    from registers.structs import Packed, each, u8, u16, u32

    class ip_v3(Packed):
        _fields_ = (
            ("hw_id", u16),
            *each(u8, "instance_number num_base_address major minor revision"),
            ("variant", u8, 4),
            ("sub_revision", u8, 4),
            ("base_address", u32 * 0),
        )

    structures = gen_structs.Structures(discovery_unit)
    structures.add("ip_v3")
    with pytest.raises(GenerateError, match=r"gcc: ip_v3\.variant 7:f0; Python: ip_v3\.variant 7:0f"):
        gen_structs.compare(discovery_unit, structures.layouts, {"ip_v3": ip_v3, "sizeof": sizeof})


def test_structures_of_a_name_that_the_header_lacks_is_refused(discovery_unit: gen_structs.Unit) -> None:
    with pytest.raises(GenerateError, match="structs_discovery: no structure ip_v9"):
        gen_structs.Structures(discovery_unit).add("ip_v9")


def test_structures_with_real_pointers_are_refused(discovery_unit: gen_structs.Unit) -> None:
    discovery_unit.structs["holder"] = SimpleNamespace(
        tag="holder",
        variety="struct",
        attrib={},
        members=[("link", type("CtypesPointer", (), {})())],
    )
    with pytest.raises(GenerateError, match="holder_link: CtypesPointer is no member of a structure"):
        gen_structs.Structures(discovery_unit).add("holder")
