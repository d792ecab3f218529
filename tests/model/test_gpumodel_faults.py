"""Every fault of the catalogue, at the level of registers and bytes: what it changes, and that it changes nothing else."""

from __future__ import annotations

import struct
from itertools import combinations

import pytest

from gpumodel import open_models, pciconfig
from gpumodel.chips import discovery_table
from gpumodel.device import ModelTransport
from gpumodel.faults import CATALOGUE, NEVER, STAGES, ActiveFault, Reset, ShowsAt, tensor
from gpumodel.hive import Placed

ONES = 0xFFFFFFFF
MEMSIZE = 0xDE3 * 4
LOOKED_AT = [name for name, fault in CATALOGUE.items() if fault.shows_at is ShowsAt.LOOK]
STATE_FAULTS = [name for name in LOOKED_AT if name not in ("bus-lost", "bar-dead")]
BRING_UP = {  # fault with argument: what it sets
    "psp-refuses:rlc-g": lambda gpu: gpu.psp.refuses == {"rlc-g"},
    "psp-refuses": lambda gpu: gpu.psp.refuses == {"kdb"},
    "psp-ring-dead": lambda gpu: gpu.psp.ring_dead,
    "smu-refuses:GetMetricsTable": lambda gpu: gpu.smu.refuses == {9},
    "smu-refuses:0x3": lambda gpu: gpu.smu.refuses == {3},
    "smu-refuses": lambda gpu: gpu.smu.refuses == {5},
    "smu-busy": lambda gpu: gpu.smu.busy,
    "tlb-ack-missing": lambda gpu: gpu.gmc.ack_missing,
    "rlc-stuck": lambda gpu: gpu.gfx.rlc_stuck,
    "kiq-dead": lambda gpu: gpu.gfx.kiq_dead,
    "sdma-halted": lambda gpu: gpu.sdma.never_starts == {0},
    "sdma-halted:15": lambda gpu: gpu.sdma.never_starts == {15},
    "ih-overflow": lambda gpu: gpu.ih.overflows,
    "lost-during:copy": lambda gpu: gpu.lost_during == "copy",
}


def with_fault(fault: str, part: str = "mi350x") -> ModelTransport:
    return open_models(f"{part}?fault={fault}")[0]


def changed(fault: str, spec: str = "mi350x*4", at: int = 2) -> dict[int, dict[str, int]]:
    """Registers of each GPU that differ from a healthy hive when GPU `at` has the fault."""
    joint = "&" if "?" in spec else "?"
    sick, well = open_models(f"{spec}{joint}fault={fault}@{at}"), open_models(spec)
    layout = well[0].gpu.registers.layout
    differences: dict[int, dict[str, int]] = {}
    for index, (one, other) in enumerate(zip(sick, well, strict=True)):
        mine, good = one.gpu.registers, other.gpu.registers
        found = {name: mine.get(name) for name in layout.names() if mine.get(name) != good.get(name)}
        if found:
            differences[index] = found
    return differences


def table(gpu: ModelTransport) -> bytes:
    return gpu.read_block(0, gpu.gpu.table_offset, 0x2800)


def healthy_table(index: int = 0, nodes: int = 1) -> bytes:
    chip = open_models("mi350x")[0].gpu.chip
    return discovery_table(chip, index, nodes).ljust(0x2800, b"\0")


def test_healthy_table_is_in_vram_and_found_by_signature() -> None:
    (gpu,) = open_models("mi350x")
    assert table(gpu) == healthy_table()
    assert gpu.read32(0, gpu.gpu.table_offset) == 0x28211407
    assert gpu.gpu.table_offset == gpu.gpu.vram.size - 0x10000


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_bus_lost_everything_reads_all_ones(part: str) -> None:
    gpu = with_fault("bus-lost", part)
    assert gpu.config_read(0, 4) == ONES
    assert gpu.config_read(0x100, 2) == 0xFFFF
    assert gpu.config_read(0x34, 1) == 0xFF
    assert gpu.read32(5, MEMSIZE) == gpu.read32(0, 0) == ONES
    gpu.config_write(4, 2, 2)
    assert gpu.config_read(4, 2) == 0xFFFF
    assert gpu.info().vendor == 0x1002


def test_bar_dead_config_answers_and_bars_do_not_until_config_is_restored() -> None:
    gpu = with_fault("bar-dead")
    saved = [gpu.config_read(offset, 4) for offset in range(0, 64, 4)]
    assert saved[0] == 0x75A01002
    assert saved[1] & 2 == 2
    assert gpu.read32(5, MEMSIZE) == gpu.read32(0, gpu.gpu.table_offset) == ONES
    for place, value in enumerate(saved[:-1]):
        gpu.config_write(place * 4, 4, value)
    assert gpu.read32(5, MEMSIZE) == 288 << 10
    assert table(gpu) == healthy_table()


def test_bar_dead_half_a_restore_is_not_enough() -> None:
    gpu = with_fault("bar-dead")
    gpu.config_write(0x24, 4, gpu.config_read(0x24, 4))
    assert gpu.read32(5, MEMSIZE) == ONES


def test_discovery_clobbered_foreign_floats_from_the_signature_on() -> None:
    gpu = with_fault("discovery-clobbered")
    data = table(gpu)
    assert data[:512] == tensor(512)
    assert data[512:] == healthy_table()[512:]
    assert all(-1.0 <= value <= 1.0 for (value,) in struct.iter_unpack("<f", data[:512]))
    assert data[:4] not in (bytes(4), b"\xff" * 4, healthy_table()[:4])
    assert table(with_fault("discovery-clobbered:64"))[60:68] == tensor(64)[60:] + healthy_table()[64:68]


def test_discovery_zeros_and_ones_fill_the_end_of_vram() -> None:
    assert not any(table(with_fault("discovery-zeros")))
    assert set(table(with_fault("discovery-ones"))) == {0xFF}


@pytest.mark.parametrize(("argument", "bit"), [("", 0x200 * 8 + 3), (":0", 0), (":16511", 16511)])
def test_discovery_bitflip_is_one_bit(argument: str, bit: int) -> None:
    data, good = table(with_fault(f"discovery-bitflip{argument}")), healthy_table()
    difference = int.from_bytes(data, "little") ^ int.from_bytes(good, "little")
    assert difference == 1 << bit


def test_bootloader_silent_all_its_registers_say_so() -> None:
    assert changed("bootloader-silent") == {
        2: {
            "MP0[0].MP0_SMN_C2PMSG_33": 0,
            "MP0[0].MP0_SMN_C2PMSG_35": 0,
            "MP0[0].MP0_SMN_C2PMSG_58": 0,
            "MP0[0].MP0_SMN_C2PMSG_64": 0,
            "MP0[0].MP0_SMN_C2PMSG_81": 0,
            "MP0[0].MP0_SMN_C2PMSG_92": 0x31,
            "MP0[0].MP0_SMN_C2PMSG_126": 2,
        }
    }
    assert changed("bootloader-silent:0x41")[2]["MP0[0].MP0_SMN_C2PMSG_126"] == 0x41


def test_smu_silent_flags_and_mailbox_and_no_answer_ever() -> None:
    assert changed("smu-silent") == {2: {"MP1[0].MP1_SMN_C2PMSG_90": 0, "MP1.FIRMWARE_FLAGS": 0}}
    gpu = with_fault("smu-silent")
    base = gpu.gpu.registers.layout.address("MP1[0].MP1_SMN_C2PMSG_66") * 4
    gpu.write32(5, base, 2)
    gpu.gpu.clock.sleep(100)
    assert gpu.read32(5, base + (90 - 66) * 4) == 0


@pytest.mark.parametrize("xcc", [0, 5])
def test_mec_hang_busy_bits_and_a_pointer_that_stands_still(xcc: int) -> None:
    found = changed(f"mec-hang:{xcc}")
    assert set(found) == {2}
    values = {name.removeprefix(f"GC[{xcc}]."): value for name, value in found[2].items()}
    assert values["GRBM_STATUS"] >> 22 & 0x281 == 0x281  # GUI_ACTIVE, CP_BUSY, SPI_BUSY
    assert values["GRBM_STATUS"] & 0x3008 == 0x3008
    assert values["GRBM_STATUS2"] == 3 << 28  # CPC, CPF
    assert values["CP_CPC_STATUS"] & (1 << 31 | 1) == 1 << 31 | 1
    assert values["CP_CPC_BUSY_STAT"] & 1 << 10
    assert values["CP_CPF_STATUS"] & (1 << 31 | 1 << 15) == 1 << 31 | 1 << 15
    assert values["CP_STAT"] == 1 << 31
    assert set(values) == {
        "GRBM_STATUS",
        "GRBM_STATUS2",
        "CP_STAT",
        "CP_CPC_STATUS",
        "CP_CPC_BUSY_STAT",
        "CP_CPF_STATUS",
        "CP_CPF_BUSY_STAT",
        "CP_MEC1_INSTR_PNTR",
    }
    gpu = with_fault(f"mec-hang:{xcc}")
    pointer = gpu.gpu.registers.layout.address(f"GC[{xcc}].CP_MEC1_INSTR_PNTR") * 4
    assert {gpu.read32(5, pointer) for _ in range(5)} == {0x0B2C}
    select, active = (
        gpu.gpu.registers.layout.address(f"GC[{xcc}].{n}") * 4 for n in ("GRBM_GFX_CNTL", "CP_HQD_ACTIVE")
    )
    gpu.write32(5, select, 1 << 2)
    assert gpu.read32(5, active) == 1


def test_mec_hang_on_a_cold_gpu_is_an_engine_that_runs() -> None:
    values = changed("mec-hang", "mi350x*4?state=cold")[2]
    assert values["GC[0].CP_MEC_CNTL"] == 0
    assert values["GC[0].RLC_CNTL"] == 1


@pytest.mark.parametrize("engine", [0, 15])
def test_sdma_hang_not_idle_with_work_left(engine: int) -> None:
    found = changed(f"sdma-hang:{engine}")
    assert set(found) == {2}
    values = {name.removeprefix(f"SDMA[{engine}].SDMA_"): value for name, value in found[2].items()}
    assert values["STATUS_REG"] & 0b101 == 0  # neither idle nor empty
    assert values["STATUS_REG"] & 1 << 9  # inside an IB
    assert values["GFX_RB_RPTR"] != values["GFX_RB_WPTR"]
    assert values["GFX_CONTEXT_STATUS"] == 1  # selected: the guilty queue
    assert set(values) == {"STATUS_REG", "STATUS2_REG", "GFX_RB_RPTR", "GFX_RB_WPTR", "GFX_CONTEXT_STATUS"}
    gpu = with_fault(f"sdma-hang:{engine}")
    second = gpu.gpu.registers.layout.address(f"SDMA[{engine}].SDMA_STATUS2_REG") * 4
    assert len({gpu.read32(5, second) for _ in range(5)}) == 1
    assert gpu.read32(5, second) >> 16 == 8


@pytest.mark.parametrize("vmid", [1, 8, 15])
def test_page_fault_status_names_the_vmid_and_the_address(vmid: int) -> None:
    found = changed(f"page-fault:{vmid}")
    assert set(found) == {2}
    status = found[2]["GC[0].VM_L2_PROTECTION_FAULT_STATUS"]
    assert (status & 1, status >> 4 & 15, status >> 9 & 0x1FF, status >> 18 & 1) == (1, 3, 8, 1)
    assert status >> 20 & 15 == vmid
    page = found[2]["GC[0].VM_L2_PROTECTION_FAULT_ADDR_LO32"]
    page |= found[2]["GC[0].VM_L2_PROTECTION_FAULT_ADDR_HI32"] << 32
    assert page << 12 == 0x7F3A_1C40_0000
    assert len(found[2]) == 3


def test_ras_fatal_is_the_athub_flag() -> None:
    assert changed("ras-fatal") == {2: {"NBIO[0].BIF_BX0_BIF_DOORBELL_INT_CNTL": 1 << 2}}


@pytest.mark.parametrize("at", [0, 3, 6])
def test_ras_fatal_leaves_a_bank_that_names_controller_socket_and_die(at: int) -> None:
    """aca_v1_0.c: aca_check_bank_hwip, aca_decode_bank_info, aca_check_umc_ue; read as mp1_v13_0_dump_valid_bank does."""
    gpu = open_models(f"mi350x*8?fault=ras-fatal@{at}")[at].gpu
    assert len(gpu.ras.banks) == 1
    words = [gpu.ras.bank_dword(0, offset) for offset in range(0, 128, 4)]
    registers = [(high or 0) << 32 | (low or 0) for low, high in zip(words[::2], words[1::2], strict=True)]
    status, misc, ipid = registers[1], registers[3], registers[5]
    assert (status >> 63, status >> 61 & 1, status >> 44 & 1) == (1, 1, 0)  # valid, uncorrected, not deferred
    assert (ipid >> 32 & 0xFFF, ipid >> 48, misc >> 32 & 0xFFF) == (0x96, 0, 1)
    high = ipid >> 44 & 0xF
    assert (high >> 2, (ipid & 1) << 2 | high & 3) == (1, at)
    assert gpu.ras.bank_dword(1, 0) is None
    assert gpu.ras.bank_dword(0, 128) is None
    gpu.clear_registers()
    assert gpu.ras.banks == []


def test_ras_fatal_interrupts_the_host_without_an_entry_in_the_ring() -> None:
    gpu = open_models("mi350x")[0].gpu
    told: list[int] = []
    gpu.ih.on_interrupt = lambda: told.append(gpu.registers.get("NBIO[0].BIF_BX0_BIF_DOORBELL_INT_CNTL"))
    gpu.hive.strike([Placed(0, ActiveFault(CATALOGUE["ras-fatal"]))])
    assert told == [1 << 2]  # the flag is up by then
    assert gpu.ih.dropped == 0
    assert [active.fault.name for active in gpu.faults] == ["ras-fatal"]


@pytest.mark.long
@pytest.mark.parametrize("nodes", [2, 4, 8])
def test_xgmi_link_down_shows_at_both_ends_for_every_link(nodes: int) -> None:
    for link in range(nodes - 1):
        found = changed(f"xgmi-link-down:{link}", f"mi300x*{nodes}", 1)
        assert len(found) == 2
        assert f"XGMI[{link}].PCS_STATE_HIST1" in found[1]
        for values in found.values():
            assert list(values.values()) == [0x01]
            assert all(name.endswith("PCS_STATE_HIST1") for name in values)


def test_xgmi_link_down_links_lead_there_and_back() -> None:
    down = set()
    for link in range(7):
        found = changed(f"xgmi-link-down:{link}", "mi350x*8", 3)
        down.add(next(gpu for gpu in found if gpu != 3))
    assert down == set(range(8)) - {3}


def test_xgmi_link_down_single_gpu_has_a_port_that_is_neither_active_nor_off() -> None:
    gpu = with_fault("xgmi-link-down:5")
    states = [gpu.gpu.registers.get(f"XGMI[{link}].PCS_STATE_HIST1") for link in range(8)]
    assert states == [0xD1] * 5 + [0x01] + [0xD1] * 2


@pytest.mark.parametrize(("fault", "lanes", "code"), [("link-narrow", 8, 4), ("link-narrow:1", 1, 1)])
def test_link_narrow_in_config_space_and_in_the_gpus_own_register(fault: str, lanes: int, code: int) -> None:
    gpu = with_fault(fault)
    assert gpu.config_read(0x76, 2) >> 4 & 0x3F == lanes
    assert gpu.config_read(0x76, 2) & 0xF == 5
    assert gpu.config_read(0x70, 4) >> 4 & 0x3F == 16
    assert changed(fault) == {2: {"PCIE.LC_LINK_WIDTH_CNTL": code << 4}}


def test_aer_correctable_bits_are_set_and_can_be_cleared() -> None:
    gpu = with_fault("aer-correctable")
    assert gpu.config_read(pciconfig.AER_CORRECTABLE, 4) == 1 << 0 | 1 << 6 | 1 << 12
    assert gpu.config_read(pciconfig.DEVICE_STATUS, 2) & 1 == 1
    assert gpu.config_read(pciconfig.AER_UNCORRECTABLE, 4) == 0
    gpu.config_write(pciconfig.AER_CORRECTABLE, 4, ONES)
    gpu.config_write(pciconfig.DEVICE_STATUS, 2, 1)
    assert gpu.config_read(pciconfig.AER_CORRECTABLE, 4) == 0
    assert gpu.config_read(pciconfig.DEVICE_STATUS, 2) == 0
    assert changed("aer-correctable") == {}


@pytest.mark.parametrize("name", LOOKED_AT)
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_fault_leaves_its_mark_on_its_gpu_cold_and_used(part: str, name: str) -> None:
    for state in ("cold", "used"):
        sick = open_models(f"{part}*2?state={state}&fault={name}@1")
        well = open_models(f"{part}*2?state={state}")
        assert [fault.fault.name for fault in sick[1].gpu.faults] == [name]
        assert sick[0].gpu.faults == []
        assert snapshot(sick[1]) != snapshot(well[1])
        if name != "xgmi-link-down":
            assert snapshot(sick[0]) == snapshot(well[0])


def snapshot(gpu: ModelTransport) -> tuple[object, ...]:
    registers = {name: gpu.gpu.registers.get(name) for name in gpu.gpu.registers.layout.names()}
    return gpu.config_read(0, 4), gpu.read32(5, MEMSIZE), bytes(gpu.gpu.config.data), table(gpu), registers


@pytest.mark.parametrize("state", ["cold", "used"])
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
@pytest.mark.parametrize("fault", BRING_UP)
def test_fault_of_bring_up_is_set_on_its_gpu_and_cannot_be_seen_by_looking(fault: str, part: str, state: str) -> None:
    sick = open_models(f"{part}*2?state={state}&fault={fault}@1")
    well = open_models(f"{part}*2?state={state}")
    assert BRING_UP[fault](sick[1].gpu)
    assert not BRING_UP[fault](sick[0].gpu)
    assert [snapshot(gpu) for gpu in sick] == [snapshot(gpu) for gpu in well]


def test_faults_of_bring_up_are_all_in_the_table_above() -> None:
    names = {fault.partition(":")[0] for fault in BRING_UP}
    assert names == {name for name, fault in CATALOGUE.items() if fault.shows_at is ShowsAt.BRING_UP}


def test_smu_messages_are_those_of_the_part() -> None:
    assert with_fault("smu-refuses:ResetVCN", "mi300x").gpu.smu.refuses == {0x5B}
    assert with_fault("smu-refuses:ResetVCN", "mi350x").gpu.smu.refuses == {0x5E}


@pytest.mark.parametrize("stage", STAGES)
def test_lost_during_leaves_the_bus_at_its_stage_only(stage: str) -> None:
    transport = with_fault(f"lost-during:{stage}")
    for other in STAGES:
        if other != stage:
            transport.gpu.stage(other)
    assert transport.config_read(0, 4) == 0x75A01002
    transport.gpu.stage(stage)
    assert transport.config_read(0, 4) == transport.read32(5, MEMSIZE) == ONES


@pytest.mark.long
@pytest.mark.parametrize(("one", "other"), list(combinations(STATE_FAULTS, 2)))
def test_faults_combined_each_keeps_its_mark(one: str, other: str) -> None:
    both = with_fault(f"{one},{other}").gpu
    for name in (one, other):
        alone, well = with_fault(name).gpu, open_models("mi350x")[0].gpu
        for register in well.registers.layout.names():
            if alone.registers.get(register) != well.registers.get(register):
                assert both.registers.get(register) == alone.registers.get(register)
        for place, byte in enumerate(alone.config.data):
            if byte != well.config.data[place]:
                assert both.config.data[place] == byte


def test_fault_without_place_is_on_every_gpu() -> None:
    assert all(gpu.config_read(0, 4) == ONES for gpu in open_models("mi350x*3?fault=bus-lost"))


def test_catalogue_cures_follow_the_fact_sheet() -> None:
    """amd-resets.md sections 8 and 10, row by row; nothing else cures."""
    firmware = "mode1, flr, bus-reset, power-cycle"
    assert {name: fault.cured_by for name, fault in CATALOGUE.items()} == {
        "bus-lost": "bus-reset, power-cycle",
        "bar-dead": "restore-config, flr, bus-reset, power-cycle",
        "discovery-clobbered": firmware,
        "discovery-zeros": firmware,
        "discovery-ones": firmware,
        "discovery-bitflip": firmware,
        "bootloader-silent": "bus-reset, power-cycle",
        "smu-silent": "flr, bus-reset, power-cycle",
        "mec-hang": f"mec, grbm, mode2, {firmware}",
        "sdma-hang": f"sdma-engine, mode2, {firmware}",
        "page-fault": f"queue, pipe, mec, grbm, mode2, {firmware}",
        "ras-fatal": "mode1, bus-reset, power-cycle",
        "xgmi-link-down": "mode1, bus-reset, power-cycle",
        "link-narrow": "never",
        "aer-correctable": "never",
        "psp-refuses": firmware,
        "psp-ring-dead": firmware,
        "smu-refuses": firmware,
        "smu-busy": "flr, bus-reset, power-cycle",
        "tlb-ack-missing": firmware,
        "rlc-stuck": f"grbm, mode2, {firmware}",
        "kiq-dead": f"mec, grbm, mode2, {firmware}",
        "sdma-halted": f"sdma-engine, mode2, {firmware}",
        "ih-overflow": firmware,
        "lost-during": "bus-reset, power-cycle",
        "needs-power-cycle": "power-cycle",
        "reset-wears-out": "never",
        "reset-hangs": "never",
        "reset-lies": "never",
        "flr-loses-config": "never",
        "discovery-clobbered-after": "never",
        "one-member-late": "never",
        "throttle": "never",
    }
    assert CATALOGUE["link-narrow"].cures is NEVER
    assert all(Reset.REMOVE_RESCAN not in fault.cures for fault in CATALOGUE.values())


def test_catalogue_every_fault_explains_itself() -> None:
    for fault in CATALOGUE.values():
        assert 0 < len(fault.summary) <= 80
        assert fault.effect
        assert fault.symptom
        if fault.argument:
            assert fault.argument.meaning
            default = fault.argument.default
            assert isinstance(default, str) or fault.argument.smallest <= default
