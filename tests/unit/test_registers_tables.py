"""registers/tables.py: the complete tables, searched as text."""

from __future__ import annotations

import subprocess
import sys

import pytest

from registers import tables
from registers.amd import gc_9_4_3, mmhub_1_8_0, mp_13_0_6, nbio_7_9_0, osssys_4_4_2, sdma_4_4_2
from registers.core import RegisterBlock

BLOCKS = [
    ("gc_9_4_3", gc_9_4_3.Gc),
    ("mp_13_0_6", mp_13_0_6.Mp0),
    ("mp_13_0_6", mp_13_0_6.Mp1),
    ("nbio_7_9_0", nbio_7_9_0.Nbio),
    ("mmhub_1_8_0", mmhub_1_8_0.Mmhub),
    ("osssys_4_4_2", osssys_4_4_2.Osssys),
    ("sdma_4_4_2", sdma_4_4_2.Sdma),
]


def only(name: str, header: str | None = None) -> tables.Entry:
    (entry,) = tables.lookup(name, header)
    return entry


@pytest.mark.parametrize(("header", "block"), BLOCKS, ids=lambda item: getattr(item, "__name__", item))
def test_tables_say_of_every_typed_register_what_its_class_says(header: str, block: type[RegisterBlock]) -> None:
    for name, register in block.REGISTERS.items():
        entry = only(name, header)
        assert (entry.offset_dwords, entry.seg) == (register.offset, register.seg)
        typed = tuple((field.name, field.msb, field.lsb) for field in register.kind.FIELDS.values())
        assert entry.fields == typed


def test_headers_counts_are_what_a_search_for_everything_finds() -> None:
    found: dict[str, list[int]] = {}
    for entry in tables.search("*"):
        counts = found.setdefault(entry.header, [0, 0])
        counts[0] += 1
        counts[1] += len(entry.fields)
    told = {info.name: [info.registers, info.fields] for info in tables.headers() if info.registers}
    assert found == told
    assert sum(registers for registers, _ in found.values()) > 14_000


def test_headers_lists_what_has_no_table_with_the_reason() -> None:
    missing = {info.name: info.note for info in tables.headers() if not info.registers}
    assert "gc_9_4_3" in missing["gc_9_5_0"]
    assert all(missing.values())


def test_source_names_package_and_version() -> None:
    package, version = tables.source().split(" ")
    assert package.startswith("linux-source-")
    assert version


def test_every_entry_decodes_all_ones_into_full_fields() -> None:
    for entry in tables.search("*"):
        kind = entry.kind
        numbers = kind.decode((1 << kind.WIDTH) - 1)
        assert list(numbers.values()) == [(1 << (msb - lsb + 1)) - 1 for _, msb, lsb in entry.fields]


def test_lookup_ignores_case_and_the_kernels_prefix() -> None:
    expected = only("GRBM_STATUS")
    assert only("grbm_status") == expected
    assert only("regGRBM_STATUS") == expected
    assert only("mmGRBM_STATUS") == expected


@pytest.mark.parametrize(
    ("word", "name", "instance"),
    [
        ("GRBM_STATUS", "GRBM_STATUS", None),
        ("GRBM_STATUS[3]", "GRBM_STATUS", 3),
        ("GC[5].GRBM_STATUS", "GRBM_STATUS", 5),
        ("SDMA11_STATUS_REG", "SDMA_STATUS_REG", 11),
        ("mmSDMA0_GFX_RB_CNTL", "SDMA_GFX_RB_CNTL", 0),
    ],
)
def test_lookup_of_a_name_with_instance_finds_the_register(word: str, name: str, instance: int | None) -> None:
    assert tables.split_instance(word)[1] == instance
    assert only(word).name == name


@pytest.mark.parametrize("word", ["", "NO_SUCH_REGISTER", "GRBM_STATUS*", "A B", "=", "#", "(", "GRBM_STATUS\n"])
def test_lookup_of_what_is_no_register_finds_nothing(word: str) -> None:
    assert tables.lookup(word) == []


def test_lookup_of_a_name_in_two_headers_gives_both() -> None:
    assert [entry.header for entry in tables.lookup("VM_L2_CNTL")] == ["gc_9_4_3", "mmhub_1_8_0"]


def test_search_with_glob_matches_whole_names() -> None:
    names = [entry.name for entry in tables.search("grbm_status*")]
    assert names[:2] == ["GRBM_STATUS2", "GRBM_STATUS"]
    assert len(names) == 6
    assert [entry.name for entry in tables.search("GRBM_STATUS?")] == ["GRBM_STATUS2"]


def test_search_with_character_set_and_its_opposite() -> None:
    two = {entry.name for entry in tables.search("GRBM_STATUS_SE[0-1]")}
    others = {entry.name for entry in tables.search("GRBM_STATUS_SE[!0-1]")}
    assert two == {"GRBM_STATUS_SE0", "GRBM_STATUS_SE1"}
    assert others == {"GRBM_STATUS_SE2", "GRBM_STATUS_SE3"}


def test_search_in_one_header_stays_there() -> None:
    assert {entry.header for entry in tables.search("VM_L2_*", "mmhub_1_8_0")} == {"mmhub_1_8_0"}


def test_search_in_unknown_header_names_those_there_are() -> None:
    with pytest.raises(KeyError, match="no register table gc_1; there are gc_9_4_3"):
        tables.search("*", "gc_1")


@pytest.mark.parametrize("glob", ["[", "[]", "[z-a]", "(", "\\", "a{9999}", "*" * 30 + "Z" * 3, "=*", "# *"])
def test_search_with_odd_globs_finds_nothing_or_says_why(glob: str) -> None:
    try:
        assert tables.search(glob) == []
    except ValueError as error:
        assert "is not a glob" in str(error)


def test_entry_of_config_register_has_an_address_and_no_offset() -> None:
    entry = only("BIF_CFG_DEV0_EPF0_VENDOR_ID", "nbio_7_9_0")
    assert (entry.space, entry.offset_dwords, entry.seg, entry.address) == ("config", None, None, 0)
    assert entry.place == "config space byte 0x0"


def test_entry_of_which_only_bits_are_published_says_so() -> None:
    entry = only("PCS_XGMI3X16_PCS_ERROR_STATUS")
    assert (entry.space, entry.offset_dwords, entry.address) == ("unknown", None, None)
    assert entry.place == "offset not published"
    assert str(entry.decode(0x21)) == "0x00000021 (DataLossErr=1, CRCErr=1)"


def test_entry_without_segment_says_so() -> None:
    entry = only("BIF_CFG_DEV0_EPF0_0_PCIE_VENDOR_SPECIFIC_HDR_GPUIOV_SRIOV_SHADOW")
    assert (entry.space, entry.offset_dwords, entry.place) == ("unknown", None, "unnamed segment + 0x101c2")


def test_entry_of_smn_and_indirect_registers_say_where() -> None:
    assert only("XGMI0_PCS_GOPX16_PCS_ERROR_STATUS").place == "SMN 0x11af0210"
    assert only("SQ_WAVE_STATUS", "gc_9_4_3").place == "index 0x12"


def test_entry_in_bar5_says_segment_and_offset() -> None:
    assert only("CP_HQD_ACTIVE").place == "segment 0 + 0x1247"


def test_entry_with_64_bit_fields_decodes_as_such() -> None:
    assert str(only("MCA_UMC_UMC0_MCUMC_STATUST0").decode(1 << 63)) == "0x8000000000000000 (Val=1)"


def test_entry_decode_of_too_wide_value_is_refused() -> None:
    with pytest.raises(ValueError, match="GRBM_STATUS: 0x100000000 is not a 32-bit value"):
        only("GRBM_STATUS").decode(1 << 32)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("CP_HDQ_ACTIVE", "CP_HQD_ACTIVE"), ("GRBM_STAUS", "GRBM_STATUS"), ("HQD_ACTIV", "CP_HQD_ACTIVE")],
)
def test_near_a_misspelt_name_is_the_right_one_first(wrong: str, right: str) -> None:
    assert tables.near(wrong)[0] == right


@pytest.mark.parametrize("name", ["", "(", "Q" * 5000, "\x1b[31m"])
def test_near_what_is_no_name_is_nothing(name: str) -> None:
    assert tables.near(name) == []


def test_near_keeps_to_its_limit() -> None:
    assert len(tables.near("CNTL", most=3)) == 3


def test_one_lookup_in_one_header_reads_one_table() -> None:
    program = (
        "from registers import tables\n"
        "tables.lookup('CP_HQD_ACTIVE', 'gc_9_4_3')\n"
        "print(tables._text.cache_info().currsize)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
