"""Header versions that AMD's folder lacks or that other chips use: small files, parts where the kernel looks for them."""

from __future__ import annotations

import json

import pytest

from firmware.containers import parse
from firmware.model import FirmwareFile
from tests.firmware_files import container, rlc, sos, ta

BODY = bytes(range(256)) * 8  # 0x800 bytes from 0x100 on


def parts(file: FirmwareFile) -> list[tuple[str, int, int, int]]:
    assert file.ok, [finding.summary for finding in file.findings]
    return [(entry.name, entry.type_id, entry.file_offset, entry.size) for entry in file.entries]


def test_sos_1_0_splits_system_driver_and_sos() -> None:
    file = parse(container((1, 0), [7, 0x300, 0x500], BODY, ucode_version=9), "vega10_sos.bin")
    assert parts(file) == [("SYS_DRV", 2, 0x100, 0x300), ("SOS", 1, 0x400, 0x500)]
    assert [entry.version for entry in file.entries] == [None, 9]


def test_sos_1_1_adds_toc_and_kdb() -> None:
    fields = [7, 0x300, 0x200, 1, 0x500, 0x40, 2, 0x540, 0x80]
    file = parse(container((1, 1), fields, BODY), "navi10_sos.bin")
    assert parts(file)[2:] == [("TOC", 4, 0x600, 0x40), ("KDB", 3, 0x640, 0x80)]
    assert [entry.version for entry in file.entries[2:]] == [1, 2]


def test_sos_1_2_adds_kdb_only() -> None:
    file = parse(container((1, 2), [7, 0x300, 0x200, 0, 0, 0, 2, 0x540, 0x80], BODY), "arcturus_sos.bin")
    assert parts(file)[2:] == [("KDB", 3, 0x640, 0x80)]


def test_sos_1_3_has_an_aux_pair_beside_the_main_one() -> None:
    fields = [7, 0x100, 0x100, 1, 0x200, 0x10, 2, 0x210, 0x10, 3, 0x220, 0x10, 4, 0x230, 0x10]
    fields += [5, 0x300, 0x80, 6, 0x380, 0x90]
    file = parse(container((1, 3), fields, BODY), "aldebaran_sos.bin")
    assert [(e.name, e.set, e.file_offset, e.size) for e in file.entries] == [
        ("SYS_DRV", "main", 0x100, 0x100),
        ("SOS", "main", 0x200, 0x100),
        ("TOC", "", 0x300, 0x10),
        ("KDB", "", 0x310, 0x10),
        ("SPL", "", 0x320, 0x10),
        ("RL", "", 0x330, 0x10),
        ("SYS_DRV", "aux", 0x400, 0x80),
        ("SOS", "aux", 0x480, 0x90),
    ]
    assert [entry.set for entry in file.select(None)] == ["main", "main", "", "", "", ""]


def test_ta_1_0_of_a_discrete_gpu_counts_ras_from_the_array() -> None:
    fields = [1, 0x99, 0x80, 2, 0x80, 0x40] + [0] * 9
    file = parse(container((1, 0), fields, BODY), "arcturus_ta.bin")
    assert parts(file) == [("XGMI", 2, 0x100, 0x80), ("RAS", 3, 0x180, 0x40)]


def test_ta_1_0_of_an_apu_starts_with_hdcp() -> None:
    fields = [0] * 6 + [3, 0, 0x100, 4, 0x100, 0x40, 5, 0x140, 0x20]
    file = parse(container((1, 0), fields, BODY), "picasso_ta.bin")
    assert parts(file) == [("HDCP", 4, 0x100, 0x100), ("DTM", 5, 0x200, 0x40), ("SECUREDISPLAY", 7, 0x240, 0x20)]


def test_gfx_1_0_without_jump_table_is_one_part() -> None:
    assert parts(parse(container((1, 0), [1, 0, 0], BODY), "navi10_pfp.bin")) == [("PFP", 2, 0x100, 0x800)]
    assert parts(parse(container((1, 0), [1, 0, 0], BODY), "navi10_mec.bin")) == [("MEC", 4, 0x100, 0x800)]


def test_gfx_1_0_second_mec_has_its_own_table_type() -> None:
    file = parse(container((1, 0), [1, 0x1C0, 0x40], BODY), "topaz_mec2.bin")
    assert parts(file) == [("MEC", 4, 0x100, 0x700), ("MEC_JT", 6, 0x800, 0x100)]


def test_gfx_2_0_has_code_and_stack() -> None:
    file = parse(container((2, 0), [1, 0x600, 0x100, 0x200, 0x700, 0x3000, 0], BODY), "gc_11_0_0_mec.bin")
    assert parts(file) == [("MEC", 89, 0x100, 0x600), ("MEC_DATA", 94, 0x700, 0x200)]


@pytest.mark.parametrize(("name", "types"), [("gc_11_0_0_mes_2.bin", (33, 34)), ("gc_11_0_0_mes1.bin", (81, 82))])
def test_mes_has_code_and_data_with_versions(name: str, types: tuple[int, int]) -> None:
    file = parse(container((1, 0), [11, 0x600, 0x100, 12, 0x200, 0x700, 0, 0, 0, 0], BODY), name)
    assert parts(file) == [("MES", types[0], 0x100, 0x600), ("MES_DATA", types[1], 0x700, 0x200)]
    assert [entry.version for entry in file.entries] == [11, 12]


def test_umsch_has_code_and_data() -> None:
    file = parse(container((1, 0), [11, 0x600, 0x100, 12, 0x200, 0x700, *[0] * 6], BODY), "umsch_mm_4_0_0.bin")
    assert parts(file) == [("UMSCH_MM", 84, 0x100, 0x600), ("UMSCH_MM_DATA", 83, 0x700, 0x200)]


def test_rlc_1_0_is_one_part() -> None:
    assert parts(parse(container((1, 0), [1, 0, 0, 0, 0], BODY), "hawaii_rlc.bin")) == [("RLC_G", 8, 0x100, 0x800)]


RLC_BASE = ["RLC_G", "REG_LIST_FORMAT", "REG_LIST", "RLC_CNTL", "RLC_GPM", "RLC_SRM"]


@pytest.mark.parametrize(
    ("minor", "more"),
    [
        (1, []),
        (2, [("RLC_IRAM", 26, 0x20), ("RLC_DRAM", 48, 0x24)]),
        (3, [("RLC_IRAM", 26, 0x20), ("RLC_DRAM", 48, 0x24), ("RLC_P", 25, 0x28), ("RLC_V", 7, 0x2C)]),
        (
            4,
            [
                ("RLC_IRAM", 26, 0x20),
                ("RLC_DRAM", 48, 0x24),
                ("RLC_P", 25, 0x28),
                ("RLC_V", 7, 0x2C),
                ("GLOBAL_TAP_DELAYS", 27, 0x10),
                ("SE0_TAP_DELAYS", 28, 0x14),
                ("SE1_TAP_DELAYS", 29, 0x18),
                ("SE2_TAP_DELAYS", 65, 0x1C),
                ("SE3_TAP_DELAYS", 66, 0x20),
            ],
        ),
        (5, [("RLC_IRAM", 26, 0x20), ("RLC_DRAM", 48, 0x24), ("RLC_IRAM_1", 98, 0x30), ("RLC_DRAM_1", 99, 0x34)]),
    ],
)
def test_rlc_2_x_adds_parts_by_minor_version(minor: int, more: list[tuple[str, int, int]]) -> None:
    file = parse(rlc(minor=minor), "gc_12_1_0_rlc.bin")
    assert [entry.name for entry in file.entries[:6]] == RLC_BASE
    assert [(name, kind, size) for name, kind, _, size in parts(file)[6:]] == more
    assert file.entries[-1].end == file.size_bytes
    for before, after in zip(file.entries, file.entries[1:], strict=False):
        assert after.file_offset == before.end
    versions = {entry.name: entry.version for entry in file.entries}
    assert versions.get("RLC_P", 7) == 7 and versions.get("RLC_V", 8) == 8


def test_rlc_2_0_has_no_save_restore_lists() -> None:
    fields = [1, *[0] * 9, 0x10, 0x700, 0x20, 0x710, 0x30, 0x730, 0x40, 0x760]
    file = parse(container((2, 0), fields, BODY, ucode_bytes=0x600), "carrizo_rlc.bin")
    assert [(name, offset, size) for name, _, offset, size in parts(file)[1:]] == [
        ("REG_LIST_FORMAT", 0x700, 0x10),
        ("REG_LIST", 0x710, 0x20),
        ("REG_LIST_FORMAT_SEPARATE", 0x730, 0x30),
        ("REG_LIST_SEPARATE", 0x760, 0x40),
    ]


def test_sdma_1_1_and_second_engine_is_one_part() -> None:
    file = parse(container((1, 1), [1, 0, 0x100, 0x40, 32], BODY), "fiji_sdma1.bin")
    assert parts(file) == [("SDMA", 10, 0x100, 0x800)]
    assert file.fields["digest_size"] == 32


def test_sdma_2_0_has_two_threads() -> None:
    file = parse(container((2, 0), [1, 0x600, 0, 0, 0x700, 0x200, 0, 0], BODY), "sdma_6_0_0.bin")
    assert parts(file) == [("SDMA_CTX", 71, 0x100, 0x600), ("SDMA_CTL", 72, 0x700, 0x200)]


def test_sdma_3_0_takes_its_own_size() -> None:
    file = parse(container((3, 0), [1, 0x100, 0x700], BODY), "sdma_7_0_0.bin")
    assert parts(file) == [("SDMA", 71, 0x100, 0x700)]


def test_vpe_has_two_threads() -> None:
    file = parse(container((1, 0), [1, 0x600, 0, 0, 0x700, 0x200, 0, 0], BODY), "vpe_6_1_0.bin")
    assert parts(file) == [("VPE_CTX", 100, 0x100, 0x600), ("VPE_CTL", 101, 0x700, 0x200)]


def test_smc_1_0_is_one_part() -> None:
    assert parts(parse(container((1, 0), [0x20000], BODY), "hawaii_smc.bin")) == [("SMU", 18, 0x100, 0x800)]


def test_smc_2_0_has_one_power_table() -> None:
    file = parse(container((2, 0), [0x20000, 0x700, 0x200], BODY, ucode_bytes=0x600), "navi12_smc.bin")
    assert parts(file) == [("SMU", 18, 0x100, 0x600), ("PPTABLE", 73, 0x700, 0x200)]


def test_smc_2_0_without_power_table_is_one_part() -> None:
    file = parse(container((2, 0), [0x20000, 0, 0], BODY), "navi12_smc.bin")
    assert parts(file) == [("SMU", 18, 0x100, 0x800)]


def test_smc_2_1_of_other_chips_may_have_no_table() -> None:
    assert parts(parse(container((2, 1), [0, 0, 0], BODY), "smu_13_0_0_kicker.bin")) == [("SMU", 18, 0x100, 0x800)]


def test_smc_2_1_table_of_other_chips_is_named_by_its_id() -> None:
    body = (0x1234).to_bytes(4, "little") + (0x200).to_bytes(4, "little") + (0x80).to_bytes(4, "little") + BODY[12:]
    file = parse(container((2, 1), [0, 1, 0x100], body, ucode_bytes=0), "smu_13_0_7.bin")
    assert parts(file) == [("TABLE_0x1234", 0x1234, 0x200, 0x80)]


def test_imu_data_follows_instructions() -> None:
    file = parse(container((1, 0), [0x500, 0x77, 0x300, 0x99], BODY), "gc_11_0_0_imu.bin")
    assert parts(file) == [("IMU_I", 68, 0x100, 0x500), ("IMU_D", 69, 0x600, 0x300)]


def test_gpu_info_has_a_16_bit_version() -> None:
    file = parse(container((1, 0), [0x00020001], BODY), "vega10_gpu_info.bin")
    assert dict(file.fields) == {"version_major": 1, "version_minor": 2}
    assert parts(file) == [("GPU_INFO", 0, 0x100, 0x800)]


def test_dmcu_has_code_and_vectors() -> None:
    file = parse(container((1, 0), [0x700, 0x100], BODY), "raven_dmcu.bin")
    assert parts(file) == [("DMCU_ERAM", 11, 0x100, 0x700), ("DMCU_INTV", 12, 0x800, 0x100)]


def test_dmcub_takes_the_instruction_region() -> None:
    file = parse(container((1, 0), [0x600, 0x200], BODY), "dcn_3_1_4_dmcub.bin")
    assert parts(file) == [("DMCUB", 51, 0x100, 0x600)]


def test_mc_has_io_debug_in_front() -> None:
    file = parse(container((1, 0), [0x80, 0x80], BODY, array=0x100, header_bytes=0x28), "hawaii_mc.bin")
    assert ("MC_IO_DEBUG", 0, 0x80, 0x80) in parts(file)


@pytest.mark.parametrize(
    ("name", "entry"),
    [("vcn_3_1_2.bin", "VCN"), ("bonaire_uvd.bin", "UVD"), ("fiji_vce.bin", "VCE"), ("isp_4_1_1.bin", "ISP")],
)
def test_video_files_are_one_part(name: str, entry: str) -> None:
    assert [part[0] for part in parts(parse(container((1, 0), [], BODY), name))] == [entry]


@pytest.mark.parametrize(("name", "entry"), [("navi10_asd.bin", "ASD"), ("psp_13_0_4_toc.bin", "TOC")])
def test_psp_side_files_are_one_part(name: str, entry: str) -> None:
    assert parts(parse(container((1, 1), [0] * 9, BODY), name))[0][0::2] == (entry, 0x100)


def test_to_dict_is_plain_json_without_the_bytes() -> None:
    file = parse(sos(aux_version=0x0036024E), "psp_13_0_6_sos.bin")
    told = json.loads(json.dumps(file.to_dict()))
    assert told["header"]["header_version"] == [2, 1]
    assert told["entries"][8]["set"] == "aux"
    assert told["entries"][0]["wrapper"]["total_bytes"] == 0x320
    assert told["crc"]["status"] == "verified"
    assert "data" not in told
    assert json.dumps(parse(b"", "x_ta.bin").to_dict())


def test_payload_of_a_strange_entry_is_our_own_mistake() -> None:
    file, other = parse(ta(), "psp_13_0_6_ta.bin"), parse(sos(), "psp_13_0_12_sos.bin")
    with pytest.raises(ValueError, match=r"is not an entry of psp_13_0_6_ta\.bin"):
        file.payload(other.entries[0])


def test_parse_empty_part_of_other_chips_file_is_left_out_with_a_note() -> None:
    file = parse(container((1, 0), [11, 0x600, 0x100, 12, 0, 0xFFFFFFFF, 0, 0, 0, 0], BODY), "gc_11_0_0_mes.bin")
    assert parts(file) == [("MES", 33, 0x100, 0x600)]
    assert [finding.summary for finding in file.findings] == ["MES_DATA is empty"]


def test_find_takes_name_and_set() -> None:
    file = parse(sos(aux_version=0x0036024E), "psp_13_0_6_sos.bin")
    aux = file.find("SOS", "aux")
    assert aux is not None and aux.version == 0x0036024E
    main = file.find("SOS")
    assert main is not None and main.set == "main"
    assert file.find("SPL") is None
