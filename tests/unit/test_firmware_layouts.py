"""Header layouts against the kernel's own header, and kinds by file name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firmware.layouts import FAMILIES, LAYOUTS, MAX_PACKED, SMALLEST_FILE_BYTES, ip_version_of, kind_of, plain_name
from firmware.ucode import DECODERS

ROOT = Path(__file__).resolve().parents[2]
HEADER = "drivers/gpu/drm/amd/amdgpu/amdgpu_ucode.h"
STRUCT = re.compile(r"struct (\w+)\s*\{(.*?)\n\};", re.DOTALL)
MEMBER = re.compile(r"^\s*(?:struct )?(\w+)\s+(\w+)(\[\w*\])?;", re.MULTILINE)
SIZES = {"uint32_t": 4, "uint16_t": 2, "uint8_t": 1}


def kernel_structs() -> dict[str, list[tuple[str, str, str]]]:
    found = sorted((ROOT / ".cache/linux").glob(f"*/{HEADER}"))
    if not found:
        pytest.skip(f"no kernel source in {ROOT / '.cache/linux'}: tools/ brings it")
    text = re.sub(r"/\*.*?\*/", "", found[-1].read_text(), flags=re.DOTALL)
    return {name: MEMBER.findall(body) for name, body in STRUCT.findall(text)}


def flat(structs: dict[str, list[tuple[str, str, str]]], name: str, prefix: str = "") -> list[tuple[str, int]]:
    """(field, size) of every member; nested structures of descriptors get their member's name in front."""
    out: list[tuple[str, int]] = []
    for kind, member, array in structs[name]:
        if array:
            continue  # flexible arrays at the end
        if kind in SIZES:
            out.append((prefix + member, SIZES[kind]))
        else:
            inner = f"{member}_" if kind == "psp_fw_legacy_bin_desc" else ""
            out += flat(structs, kind, inner)
    return out


STRUCT_OF = {"common": "common_firmware_header"}


@pytest.mark.parametrize(("family", "major", "minor"), sorted(LAYOUTS))
def test_layout_names_and_size_are_the_kernels(family: str, major: int, minor: int) -> None:
    structs = kernel_structs()
    name = STRUCT_OF.get(family, f"{family}_firmware_header_v{major}_{minor}")
    fields = flat(structs, name)
    layout = LAYOUTS[family, major, minor]
    assert layout.size_bytes == sum(size for _, size in fields)
    assert layout.names == tuple(field for field, _ in fields[10:])


def test_layout_table_has_every_header_of_the_kernel() -> None:
    structs = kernel_structs()
    versions = {
        (match[1], int(match[2]), int(match[3]))
        for match in (re.fullmatch(r"(\w+)_firmware_header_v(\d+)_(\d+)", name) for name in structs)
        if match
    }
    assert versions == set(LAYOUTS) - {("common", 1, 0)}


def test_packed_limit_is_the_kernels_formula() -> None:
    assert ((SMALLEST_FILE_BYTES - 32 - 4) // 16) * 2 == MAX_PACKED


@pytest.mark.parametrize(
    ("version", "size"),
    [
        (("psp", 2, 0), 0x24),
        (("psp", 2, 1), 0x28),
        (("ta", 2, 0), 0x24),
        (("gfx", 1, 0), 0x2C),
        (("rlc", 2, 1), 0x9C),
        (("sdma", 1, 0), 0x30),
        (("smc", 2, 1), 0x2C),
        (("common", 1, 0), 0x20),
        (("gpu_info", 1, 0), 0x24),
    ],
)
def test_layout_sizes_are_those_seen_in_files(version: tuple[str, int, int], size: int) -> None:
    assert LAYOUTS[version].size_bytes == size


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("psp_13_0_6_sos.bin", "sos"),
        ("psp_13_0_6_ta.bin.zst", "ta"),
        ("psp_13_0_0_sos_kicker.bin", "sos"),
        ("gc_9_4_3_mec.bin", "mec"),
        ("gc_9_4_3_sjt_mec.bin", "mec"),
        ("polaris10_mec2_2.bin", "mec"),
        ("gc_11_0_0_rlc_1.bin", "rlc"),
        ("picasso_rlc_am4.bin", "rlc"),
        ("sdma_4_4_2.bin", "sdma"),
        ("fiji_sdma1.bin", "sdma"),
        ("smu_13_0_6.bin.xz", "smu"),
        ("polaris10_smc_sk.bin", "smu"),
        ("vcn_4_0_6_1.bin", "vcn"),
        ("umsch_mm_4_0_0.bin", "umsch_mm"),
        ("vega10_gpu_info.bin", "gpu_info"),
        ("gc_11_0_0_mes1.bin", "mes"),
        ("dcn_3_1_4_dmcub.bin", "dmcub"),
        ("aldebaran_ip_discovery.bin", "discovery"),
        ("notes.txt", "unknown"),
        ("", "unknown"),
    ],
)
def test_kind_of_name_is_told(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("psp_13_0_12_sos.bin", (13, 0)),
        ("gc_9_5_0_mec.bin", (9, 5)),
        ("sdma_4_4_4.bin", (4, 4)),
        ("vcn_5_0_1.bin", (5, 1)),
        ("vcn_4_0_3.bin", (4, 0)),
        ("navi10_mec.bin", None),
    ],
)
def test_ip_version_of_name_is_told(name: str, version: tuple[int, int] | None) -> None:
    assert ip_version_of(name) == version


def test_every_kind_has_a_decoder_and_a_layout() -> None:
    assert set(DECODERS) == set(FAMILIES)
    assert set(FAMILIES.values()) <= {family for family, _, _ in LAYOUTS}


def test_plain_name_strips_packing_only() -> None:
    assert plain_name("a.bin.xz") == "a.bin"
    assert plain_name("a.bin") == "a.bin"
