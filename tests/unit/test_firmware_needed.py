"""What a chip needs, in which order, and the type numbers of the PSP against the kernel's header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from base.errors import UsageError
from firmware.containers import parse
from firmware.gfx_types import GfxFwType
from firmware.load_order import BOOTLOADER_STEPS, LOAD_IP_FW, LOAD_TA, ring_steps
from firmware.needed import ALL_NAMES, needed
from firmware.pinned import PINS
from firmware.psp import SosType, TaType

AMDGPU = "*/drivers/gpu/drm/amd/amdgpu"
LINUX = Path(__file__).resolve().parents[2] / ".cache/linux"


def kernel(name: str) -> str:
    found = sorted(LINUX.glob(f"{AMDGPU}/{name}"))
    if not found:
        pytest.skip(f"no kernel source in {LINUX}: tools/ brings it")
    return found[-1].read_text()


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (
            "mi300x",
            "psp_13_0_6_sos smu_13_0_6 sdma_4_4_2 gc_9_4_3_mec gc_9_4_3_sjt_mec gc_9_4_3_rlc vcn_4_0_3 psp_13_0_6_ta",
        ),
        (
            "9.4.4",
            "psp_13_0_14_sos smu_13_0_14 sdma_4_4_5 gc_9_4_4_mec gc_9_4_4_sjt_mec gc_9_4_4_rlc vcn_4_0_3 psp_13_0_14_ta",
        ),
        ("mi350x", "psp_13_0_12_sos sdma_4_4_4 gc_9_5_0_mec gc_9_5_0_sjt_mec gc_9_5_0_rlc vcn_5_0_1 psp_13_0_12_ta"),
    ],
)
def test_needed_part_lists_its_files_in_order(part: str, names: str) -> None:
    files = needed(part)
    assert [file.name for file in files] == [f"{name}.bin" for name in names.split()]
    assert [file.order for file in files] == list(range(1, len(files) + 1))
    assert [file.name for file in files if not file.required] == [file.name for file in files if file.guest]
    assert all(file.why and file.ip for file in files)


@pytest.mark.parametrize(
    ("word", "same_as"),
    [
        ("MI325X", "9.4.3"),
        ("mi300a", "9.4.3"),
        ("mi355x", "9.5.0"),
        ("gfx942", "9.4.3"),
        ("gfx950", "9.5.0"),
        (" 9.5.0 ", "9.5.0"),
    ],
)
def test_needed_knows_parts_architectures_and_versions(word: str, same_as: str) -> None:
    assert needed(word) == needed(same_as)


def test_needed_unknown_part_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        needed("h100")
    assert caught.value.exit_code == 64
    assert "mi300x" in caught.value.expected and "9.4.4" in caught.value.expected


def test_needed_names_are_the_pinned_files() -> None:
    assert set(PINS) == ALL_NAMES
    assert len(ALL_NAMES) == 22


def test_needed_files_are_all_in_amds_package(firmware_dir: Path) -> None:
    assert [name for name in sorted(ALL_NAMES) if not (firmware_dir / name).exists()] == []


def test_needed_names_are_declared_by_the_kernel_module() -> None:
    sources = ("psp_v13_0.c", "gfx_v9_4_3.c", "sdma_v4_4_2.c", "amdgpu_vcn.c", "../pm/swsmu/smu13/smu_v13_0_6_ppt.c")
    declared = set(re.findall(r'MODULE_FIRMWARE\("amdgpu/([^"]+)"\)', "".join(kernel(name) for name in sources)))
    vcn = set(re.findall(r'"amdgpu/(vcn_[^"]+)"', kernel("amdgpu_vcn.c")))
    # gc_9_5_0_sjt_mec.bin is shipped and asked for by name, though this kernel does not declare it.
    assert ALL_NAMES - declared - vcn == {"gc_9_5_0_sjt_mec.bin"}


def test_gfx_types_are_the_kernels() -> None:
    text = kernel("psp_gfx_if.h")
    for kind in GfxFwType:
        match = re.search(rf"GFX_FW_TYPE_{kind.name}\s*=\s*(\d+)", text)
        assert match is not None, kind.name
        assert int(match[1]) == kind


@pytest.mark.parametrize(("types", "prefix"), [(SosType, "PSP_FW_TYPE_PSP_"), (TaType, "TA_FW_TYPE_PSP_")])
def test_component_types_are_the_kernels(types: type[SosType] | type[TaType], prefix: str) -> None:
    names = re.findall(rf"\t{prefix}(\w+),", kernel("amdgpu_ucode.h"))
    assert names == [kind.name for kind in types]  # numbered from 1, after UNKOWN = 0


def test_bootloader_commands_are_the_kernels() -> None:
    text = kernel("amdgpu_psp.h")
    commands = {name: int(value, 16) for name, value in re.findall(r"PSP_BL__LOAD_(\w+)\s*=\s*(0x\w+)", text)}
    ours = {step.component: step.command for step in BOOTLOADER_STEPS}
    assert ours == {
        SosType.KDB: commands["KEY_DATABASE"],
        SosType.SPL: commands["TOS_SPL_TABLE"],
        SosType.SYS_DRV: commands["SYSDRV"],
        SosType.SOC_DRV: commands["SOCDRV"],
        SosType.INTF_DRV: commands["INTFDRV"],
        SosType.DBG_DRV: commands["DBGDRV"],
        SosType.RAS_DRV: commands["RASDRV"],
        SosType.IPKEYMGR_DRV: commands["IPKEYMGRDRV"],
        SosType.SPDM_DRV: commands["SPDMDRV"],
        SosType.SOS: commands["SOSDRV"],
    }


def test_bootloader_order_is_the_one_of_psp_hw_start() -> None:
    body = kernel("amdgpu_psp.c").split("static int psp_hw_start", 1)[1]
    calls = re.findall(r"= psp_bootloader_load_(\w+)\(", body)[: len(BOOTLOADER_STEPS)]
    names = {"SYS_DRV": "sysdrv"}
    assert calls == [names.get(step.component.name, step.component.name.lower()) for step in BOOTLOADER_STEPS]
    assert [step.component.name for step in BOOTLOADER_STEPS if not step.required] == [
        "SPL",
        "IPKEYMGR_DRV",
        "SPDM_DRV",
    ]


@pytest.mark.parametrize(("part", "first"), [("mi300x", 129), ("9.4.4", 129), ("mi350x", 9)])
def test_ring_steps_are_in_the_kernels_order(part: str, first: int) -> None:
    steps = ring_steps(part)
    kinds = [step.gfx_type for step in steps]
    assert kinds[0] == first
    assert kinds[-14:] == [9, 10, 52, 53, 4, 5, 22, 20, 21, 8, 13, 67, 0, 0]
    assert [step.command for step in steps[-3:]] == [LOAD_IP_FW, LOAD_TA, LOAD_TA]
    assert [(step.entry, step.min_sos) for step in steps if step.min_sos] == (
        [("P2S", 0x36003C)] if first == 129 else []
    )
    assert {step.file for step in steps} <= {file.name for file in needed(part)}


@pytest.mark.parametrize("part", ["9.4.3", "9.4.4", "9.5.0"])
def test_ring_steps_name_entries_that_the_real_files_have(part: str, firmware_dir: Path) -> None:
    for step in ring_steps(part):
        file = parse((firmware_dir / step.file).read_bytes(), step.file)
        if step.entry == "P2S":
            assert file.kind == "smu"
            continue
        entry = file.find(step.entry)
        assert entry is not None, step
        if step.command == LOAD_IP_FW and step.entry not in ("SDMA", "RL"):
            assert entry.type_id == step.gfx_type
