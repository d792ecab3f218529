"""Registers of a healthy software GPU, cold and used, read at the addresses of the fact sheets."""

from __future__ import annotations

import pytest

from base.clock import VirtualClock
from gpumodel import open_models
from gpumodel.chips import CHIPS, Chip
from gpumodel.device import ModelTransport
from gpumodel.hive import layout_of
from gpumodel.registerfile import Entry, Layout, _expand, smn_text
from registers.amd.gc_9_4_3 import Gc

C2PMSG = 0x16040  # dword of C2PMSG_0 of MP0
BOTH = pytest.mark.parametrize("part", list(CHIPS))
STATES = pytest.mark.parametrize("state", ["cold", "used"])


def one(spec: str) -> ModelTransport:
    return open_models(spec)[0]


def dword(gpu: ModelTransport, index: int) -> int:
    return gpu.read32(5, 4 * index)


def test_fixed_addresses_are_where_discovery_looks_for_them() -> None:
    """amd-discovery.md section 1: usable before any base is known."""
    layout = layout_of(CHIPS["mi350x"])
    fixed = {
        "NBIO[0].BIF_BX_PF0_MM_INDEX": 0x0,
        "NBIO[0].BIF_BX_PF0_MM_DATA": 0x1,
        "NBIO[0].BIF_BX_PF0_MM_INDEX_HI": 0x6,
        "NBIO[0].BIF_BX0_PCIE_INDEX2": 0xE,
        "NBIO[0].BIF_BX0_PCIE_DATA2": 0xF,
        "NBIO[0].BIF_BX0_PCIE_INDEX2_HI": 0x11,
        "NBIO[0].BIF_BX_PF0_RSMU_INDEX": 0x14,
        "NBIO[0].BIF_BX_PF0_RSMU_DATA": 0x15,
        "NBIO[0].BIF_BX0_DRIVER_SCRATCH_0": 0x94,
        "NBIO[0].BIF_BX0_DRIVER_SCRATCH_2": 0x96,
        "NBIO[0].RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE": 0xDE3,
        "MP0[0].MP0_SMN_C2PMSG_33": 0x16061,
        "MP0[0].MP0_SMN_C2PMSG_92": 0x1609C,
        "MP0[0].MP0_SMN_C2PMSG_126": 0x160BE,
        "SMUIO[0].IP_DISCOVERY_VERSION": 0x16A00,
    }
    assert {name: layout.address(name) for name in fixed} == fixed


def test_addresses_agree_with_the_accepted_geometry() -> None:
    """research/amdgpu-on-model.md: byte offsets that the stock driver used."""
    layout = layout_of(CHIPS["mi350x"])
    seen = {
        "GC[0].MC_VM_XGMI_LFB_CNTL": 0xA55C,
        "GC[0].MC_VM_FB_OFFSET": 0xA51C,
        "GC[0].CC_GC_SHADER_ARRAY_CONFIG": 0x89BC,
        "GC[0].GRBM_GFX_INDEX": 0x30800,
        "GC[0].GRBM_GFX_CNTL": 0x8088,
        "GC[0].SCRATCH_REG0": 0x30100,
        "GC[0].RLC_CNTL": 0x3B000,
        "MMHUB[0].MC_VM_FB_LOCATION_BASE": 0x63270,
        "MP1[0].MP1_SMN_C2PMSG_90": 0x58A68,
        "MP0[0].MP0_SMN_C2PMSG_81": 0x58244,
        "NBIO[0].BIF_BX0_BACO_CNTL": 0x38AC,
        "NBIO[0].RCC_STRAP0_RCC_DEV0_EPF0_STRAP0": 0x34D8,
    }
    assert {name: layout.address(name) * 4 for name in seen} == seen


@BOTH
def test_xcc_and_sdma_of_all_aids_lie_within_the_register_bar(part: str) -> None:
    layout = layout_of(CHIPS[part])
    direct = [name for name in layout.names() if name.startswith(("GC[", "SDMA[", "MMHUB["))]
    assert max(layout.address(name) for name in direct) * 4 < 2 << 20


@BOTH
@STATES
def test_boot_firmware_is_ready_and_steady_on_every_aid(part: str, state: str) -> None:
    gpu = one(f"{part}?state={state}")
    assert dword(gpu, 0xDE3) == CHIPS[part].vram_size >> 20
    assert dword(gpu, C2PMSG + 33) == dword(gpu, C2PMSG + 35) == dword(gpu, C2PMSG + 64) == 0x80000000
    assert dword(gpu, C2PMSG + 92) & 0xFF == 0xBA
    assert dword(gpu, C2PMSG + 126) == 0
    assert dword(gpu, C2PMSG + 127) == 0x01067F7F
    assert dword(gpu, 0x16A00) == 4
    assert not gpu.gpu.unknown_accesses


@BOTH
def test_secure_os_runs_only_after_an_earlier_boot(part: str) -> None:
    cold, used = one(f"{part}?state=cold"), one(part)
    assert (dword(cold, C2PMSG + 81), dword(cold, C2PMSG + 58)) == (0, 0)
    assert dword(used, C2PMSG + 81) != 0
    assert dword(used, C2PMSG + 58) == {"mi300x": 0x00360260, "mi350x": 0x0045002F}[part]


@BOTH
@STATES
def test_every_engine_is_idle(part: str, state: str) -> None:
    gpu = one(f"{part}?state={state}")
    registers = gpu.gpu.registers
    for xcc in range(8):
        assert registers.get(f"GC[{xcc}].GRBM_STATUS") >> 22 & 0x281 == 0  # GUI_ACTIVE, CP_BUSY, SPI_BUSY
        for name in ("GRBM_STATUS2", "CP_STAT", "CP_CPC_STATUS", "CP_CPC_BUSY_STAT", "CP_CPF_STATUS"):
            assert registers.get(f"GC[{xcc}].{name}") == 0
        assert registers.get(f"GC[{xcc}].VM_L2_PROTECTION_FAULT_STATUS") == 0
        assert registers.get(f"GC[{xcc}].CP_MEC_CNTL") == (0 if state == "used" else 0x50000000)
    for engine in range(16):
        assert registers.get(f"SDMA[{engine}].SDMA_STATUS_REG") & 1 == 1
        pointers = {registers.get(f"SDMA[{engine}].SDMA_GFX_RB_{which}") for which in ("RPTR", "WPTR")}
        assert len(pointers) == 1
    assert registers.get("NBIO[0].BIF_BX0_BIF_DOORBELL_INT_CNTL") == 0


@BOTH
def test_hive_nodes_are_distinct_and_links_active(part: str) -> None:
    hive = open_models(f"{part}*8")
    for node, gpu in enumerate(hive):
        for hub in ("GC[0]", "GC[7]", "MMHUB[3]"):
            assert gpu.gpu.registers.get(f"{hub}.MC_VM_XGMI_LFB_CNTL") == node | 7 << 4
            assert gpu.gpu.registers.get(f"{hub}.MC_VM_XGMI_LFB_SIZE") << 24 == CHIPS[part].vram_size
        assert dword(gpu, 0xA55C // 4) == node | 7 << 4
        base = gpu.gpu.registers.get("GC[0].MC_VM_FB_LOCATION_BASE")
        top = gpu.gpu.registers.get("GC[0].MC_VM_FB_LOCATION_TOP")
        assert (top + 1 - base) << 24 == 8 * CHIPS[part].vram_size
        states = [gpu.gpu.registers.get(f"XGMI[{link}].PCS_STATE_HIST1") & 0xFF for link in range(8)]
        assert states == [0x81] * 7 + [0xD1]


def test_single_gpu_has_no_hive_and_no_link() -> None:
    gpu = one("mi350x")
    assert gpu.gpu.registers.get("GC[0].MC_VM_XGMI_LFB_CNTL") == 0
    assert {gpu.gpu.registers.get(f"XGMI[{link}].PCS_STATE_HIST1") for link in range(8)} == {0xD1}


@pytest.mark.parametrize(
    ("part", "addresses"),
    [("mi300x", (0x11A00070, 0x11B00070)), ("mi350x", (0x12100070, 0x11B00070))],
)
def test_xgmi_state_lies_where_the_kernel_reads_it(part: str, addresses: tuple[int, int]) -> None:
    layout = layout_of(CHIPS[part])
    for link in range(8):
        aid = link // 2
        expected = addresses[link % 2] + (aid << 32 | 1 << 34 if aid else 0)
        assert layout.address(f"XGMI[{link}].PCS_STATE_HIST1") * 4 == expected


@pytest.mark.parametrize("chip", CHIPS.values(), ids=str)
def test_shader_arrays_leave_the_products_compute_units(chip: Chip) -> None:
    (gpu,) = open_models(chip.name)
    active = 0
    for xcc in range(8):
        for engine in range(4):
            gpu.write32(5, gpu.gpu.registers.layout.address(f"GC[{xcc}].GRBM_GFX_INDEX") * 4, engine << 16)
            fuse = gpu.read32(5, gpu.gpu.registers.layout.address(f"GC[{xcc}].CC_GC_SHADER_ARRAY_CONFIG") * 4)
            active += chip.cus_per_engine - (fuse >> 16).bit_count()
    assert active == chip.compute_units


def test_hqd_registers_are_banked_by_me_pipe_and_queue_not_by_vmid() -> None:
    gpu = one("mi350x")
    layout = gpu.gpu.registers.layout
    select, active = (layout.address(f"GC[2].{name}") * 4 for name in ("GRBM_GFX_CNTL", "CP_HQD_ACTIVE"))
    gpu.write32(5, select, 1 << 2 | 1)  # me 1, pipe 1, queue 0
    gpu.write32(5, active, 1)
    gpu.write32(5, select, 1 << 2)
    assert gpu.read32(5, active) == 0
    gpu.write32(5, select, 1 << 2 | 1 | 9 << 4)
    assert gpu.read32(5, active) == 1
    assert gpu.gpu.registers.get("GC[1].CP_HQD_ACTIVE") == 0


def test_instruction_pointer_moves_only_while_the_engine_works() -> None:
    gpu = one("mi350x")
    at = gpu.gpu.registers.layout.address("GC[1].CP_MEC1_INSTR_PNTR")
    assert dword(gpu, at) == dword(gpu, at) != 0
    gpu.gpu.gfx.busy.add(1)
    assert len({dword(gpu, at) for _ in range(4)}) == 4
    gpu.gpu.gfx.hung.add(1)
    assert dword(gpu, at) == dword(gpu, at)


def test_sdma_program_counter_moves_only_while_the_engine_works() -> None:
    gpu = one("mi300x")
    at = gpu.gpu.registers.layout.address("SDMA[6].SDMA_STATUS2_REG")
    assert dword(gpu, at) == dword(gpu, at) == 6 % 4
    gpu.gpu.sdma.busy.add(6)
    values = [dword(gpu, at) for _ in range(4)]
    assert len(set(values)) == 4
    assert {value & 7 for value in values} == {2}


def test_fault_status_is_cleared_by_the_control_bit() -> None:
    (gpu,) = open_models("mi350x?fault=page-fault")
    layout = gpu.gpu.registers.layout
    gpu.write32(5, layout.address("GC[0].VM_L2_PROTECTION_FAULT_CNTL") * 4, 0x3FFFFFFC)
    assert gpu.gpu.registers.get("GC[0].VM_L2_PROTECTION_FAULT_STATUS") != 0
    gpu.write32(5, layout.address("GC[0].VM_L2_PROTECTION_FAULT_CNTL") * 4, 0x3FFFFFFD)
    assert gpu.gpu.registers.get("GC[0].VM_L2_PROTECTION_FAULT_STATUS") == 0
    assert gpu.gpu.registers.get("GC[0].VM_L2_PROTECTION_FAULT_ADDR_LO32") == 0


def test_ras_flag_is_cleared_by_its_clear_bit_only() -> None:
    (gpu,) = open_models("mi350x?fault=ras-fatal")
    control = (0xD20 + 0xFE) * 4
    assert gpu.read32(5, control) == 1 << 2
    gpu.write32(5, control, 1 << 17 | 1 << 26)  # another clear bit, an interrupt mask
    assert gpu.read32(5, control) == 1 << 2 | 1 << 26
    gpu.write32(5, control, 1 << 1)  # status cannot be set by hand
    assert gpu.read32(5, control) == 1 << 2
    gpu.write32(5, control, 1 << 18)
    assert gpu.read32(5, control) == 0


def message(gpu: ModelTransport, number: int, argument: int = 0) -> None:
    base = gpu.gpu.registers.layout.address("MP1[0].MP1_SMN_C2PMSG_66") * 4 - 66 * 4
    gpu.write32(5, base + 90 * 4, 0)
    gpu.write32(5, base + 82 * 4, argument)
    gpu.write32(5, base + 66 * 4, number)


def mailbox(gpu: ModelTransport) -> tuple[int, int]:
    base = gpu.gpu.registers.layout.address("MP1[0].MP1_SMN_C2PMSG_66") * 4 - 66 * 4
    return gpu.read32(5, base + 90 * 4), gpu.read32(5, base + 82 * 4)


def test_smu_answers_after_a_while_in_virtual_time() -> None:
    clock = VirtualClock()
    (gpu,) = open_models("mi350x", clock)
    assert mailbox(gpu)[0] == 1
    message(gpu, 2)
    assert mailbox(gpu) == (0, 0)
    clock.sleep(0.001)
    assert mailbox(gpu) == (1, 0x04561000)
    message(gpu, 1, 41)
    clock.sleep(0.001)
    assert mailbox(gpu) == (1, 42)
    message(gpu, 4)
    clock.sleep(0.001)
    assert mailbox(gpu)[0] == 1
    assert not gpu.gpu.unknown_accesses


def test_smu_message_that_is_not_modelled_is_refused_and_listed() -> None:
    clock = VirtualClock()
    (gpu,) = open_models("mi300x", clock)
    message(gpu, 0x1E, 0)
    clock.sleep(1)
    assert mailbox(gpu)[0] == 0xFE
    assert gpu.gpu.unknown_accesses == {("smu-message", 0x1E): 1}


def test_psp_command_that_does_not_exist_is_refused_and_listed() -> None:
    clock = VirtualClock()
    (gpu,) = open_models("mi300x?state=cold", clock)
    gpu.write32(5, (C2PMSG + 35) * 4, 0x7770000)
    assert dword(gpu, C2PMSG + 35) == 0x7770000
    clock.sleep(1)
    assert dword(gpu, C2PMSG + 35) == 0x80000001
    assert gpu.gpu.unknown_accesses == {("psp-command", 0x7770000): 1}


def test_layout_registers_that_overlap_are_a_defect() -> None:
    layout = Layout()
    layout.add(Entry("A[0].ONE", 5, 0, "", 0))
    layout.add(Entry("A[0].ALIAS", 5, 0, "", 0))
    assert layout.address("A[0].ALIAS") == 5
    with pytest.raises(ValueError, match=r"B\[0\].TWO and A\[0\].ONE share SMN 0x14"):
        layout.add(Entry("B[0].TWO", 5, 0, "", 0))
    assert "A[0].ONE" in layout
    assert smn_text(5) == "SMN 0x14"


def test_layout_pattern_that_names_nothing_is_a_defect() -> None:
    with pytest.raises(ValueError, match="Gc has no register GRBM_STATE"):
        _expand(Gc, ("GRBM_STATE",))


def test_register_name_that_is_not_modelled_is_a_key_error() -> None:
    gpu = one("mi300x")
    with pytest.raises(KeyError, match="IH_RB_CNTL"):
        gpu.gpu.registers.get("OSSSYS[0].IH_RB_CNTL")
