"""The model's PSP ring: made and destroyed as the kernel does, each command answered or refused, wrong use recorded."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gpumodel.chips import VRAM_MC_BASE
from gpumodel.psp_ring import FIRMWARE_KINDS, RESERVED_BYTES, Status
from registers.amd.structs_psp import psp_gfx_cmd_id as Command
from registers.amd.structs_psp import psp_gfx_cmd_resp
from tests.model.firmware_host import BLOB, COMMAND, ENGINES, PSP, READY, RING, RING_BYTES, Files, Host, host

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
VIDEO_LIST = struct.pack("<4I", 0xDEADBEEF, 0, 0xC002, 5)  # UVD_POWER_STATUS of engine 0
NAMES = {9: "sdma", 4: "mec", 5: "mec-jt", 22: "rlc-cntl", 20: "rlc-gpm", 21: "rlc-srm", 8: "rlc-g", 67: "reg-list"}


@pytest.fixture(scope="module")
def mi300x(firmware_dir: Path) -> Files:
    return Files(firmware_dir, "mi300x")


def ready(part: str = "mi350x") -> Host:
    """A GPU of an earlier boot with a new ring."""
    gpu = host(part)
    assert gpu.open_ring() == READY | 0x20000
    return gpu


def with_tmr(part: str = "mi300x") -> Host:
    gpu = ready(part)
    gpu.gpu.psp.loaded.clear()
    assert gpu.send(5, tmr_flags=2).resp.status == 0
    return gpu


# Opening and closing.


def test_ring_is_made_after_a_cold_boot_and_answers(firmware_dir: Path) -> None:
    gpu = host("mi300x?state=cold")
    files = Files(firmware_dir, "mi300x")
    gpu.boot_all(files)
    assert gpu.open_ring() & 0x8000FFFF == READY
    gpu.load_all(files)
    assert gpu.load(129, files.payload("smu", "P2SX")) == 0
    assert gpu.gpu.psp.loaded == {kind for _, _, kind in ENGINES} | {129}
    assert gpu.gpu.wrongs == []
    assert not gpu.gpu.unknown_accesses


def test_ring_command_stays_in_its_register_until_it_is_done() -> None:
    gpu = host("mi350x")
    gpu.write(PSP + 64, 0x30000)
    assert gpu.read(PSP + 64) == 0x30000
    gpu.clock.sleep(0.02)
    assert gpu.read(PSP + 64) == READY | 0x30000


def test_ring_before_the_secure_os_is_never_answered() -> None:
    gpu = host("mi350x?state=cold")
    assert gpu.open_ring() == 0x20000
    assert gpu.gpu.wrongs == ["psp: command 0x20000 for the secure OS, which does not run: not answered"]


def test_ring_write_pointer_starts_at_zero_and_wraps() -> None:
    gpu = host("mi350x")
    gpu.write(PSP + 67, 0x30)
    assert gpu.open_ring() & 0x8000FFFF == READY
    assert gpu.read(PSP + 67) == 0
    for _ in range(RING_BYTES // 64 + 3):
        assert gpu.send(Command.GFX_CMD_ID_SET_MMHUB_ECO_SEC_LEVEL).resp.status == 0
    assert gpu.read(PSP + 67) == 3 * 16


@pytest.mark.parametrize(
    ("offset", "size", "text"),
    [
        (RING + 0x10, RING_BYTES, "no ring at 0x8000100010 with 0x1000 bytes"),
        (RING, 0, "no ring at 0x8000100000 with 0x0 bytes"),
        (RING, 0x1010, "no ring at 0x8000100000 with 0x1010 bytes"),
        (1 << 45, RING_BYTES, "cannot be read"),
    ],
)
def test_ring_at_a_bad_address_is_refused(offset: int, size: int, text: str) -> None:
    gpu = host("mi350x")
    assert gpu.open_ring(offset, size) == READY | 0x20006
    assert any(text in wrong for wrong in gpu.gpu.wrongs)


def test_ring_over_a_ring_is_refused_until_the_old_one_is_destroyed() -> None:
    gpu = ready()
    assert gpu.open_ring() == READY | 0x20007
    assert gpu.control(0x30000) == READY | 0x30000
    assert gpu.open_ring() == READY | 0x20000
    assert gpu.gpu.wrongs == ["psp: a ring is made while there is one"]


def test_ring_destroy_without_a_ring_is_fine() -> None:
    gpu = host("mi350x")
    assert gpu.control(0x30000) == READY | 0x30000
    assert gpu.control(0xC0000) == READY | 0xC0000
    assert gpu.gpu.wrongs == []


def test_ring_control_commands_that_only_switch_interrupts_are_accepted() -> None:
    gpu = host("mi350x")
    for command in (0x40000, 0x50000, 0x60000):
        assert gpu.control(command) == READY | command


@pytest.mark.parametrize("command", [0x10000, 0x80000, 0x90000])
def test_ring_control_commands_of_guests_are_not_supported(command: int) -> None:
    gpu = host("mi350x")
    assert gpu.control(command) == READY | command | 0x000A
    assert gpu.gpu.wrongs == [f"psp: control command {command:#x} is for guests"]


def test_ring_control_command_that_does_not_exist_is_refused_and_listed() -> None:
    gpu = host("mi350x")
    assert gpu.control(0xD0000) == READY | 0xD0100
    assert gpu.gpu.wrongs == ["psp: control command 0xd0000 does not exist"]
    assert gpu.gpu.unknown_accesses == {("psp-command", 0xD0000): 1}


def test_ring_mode1_command_is_listed_and_not_answered() -> None:
    gpu = host("mi350x")
    gpu.write(PSP + 64, 0x70000)
    gpu.clock.sleep(1)
    assert gpu.read(PSP + 64) == 0x70000
    assert gpu.gpu.unknown_accesses == {("psp-command", 0x70000): 1}


def test_ring_destroyed_with_a_command_under_way_writes_no_fence() -> None:
    gpu = ready()
    gpu.push(psp_gfx_cmd_resp(cmd_id=5))
    gpu.gpu.psp.ring.close()
    assert not gpu.fenced()


# Frames.


def test_ring_frames_pushed_together_are_done_one_after_the_other() -> None:
    gpu = ready()
    gpu.push(psp_gfx_cmd_resp(cmd_id=5))
    gpu.push(psp_gfx_cmd_resp(cmd_id=5))
    assert gpu.fenced()
    assert gpu.gpu.psp.ring.tmr


def test_ring_pointer_without_a_ring_is_recorded() -> None:
    gpu = host("mi350x")
    gpu.write(PSP + 67, 16)
    assert gpu.gpu.wrongs == ["psp: write pointer 0x10 without a ring"]


@pytest.mark.parametrize("pointer", [1, 0x11, RING_BYTES // 4])
def test_ring_pointer_off_a_frame_stops_the_ring(pointer: int) -> None:
    gpu = ready()
    gpu.write(PSP + 67, pointer)
    assert gpu.gpu.wrongs == [f"psp: write pointer {pointer:#x} is no frame of the ring: it is not read any more"]
    gpu.write(PSP + 67, 0)
    gpu.push(psp_gfx_cmd_resp(cmd_id=5))
    assert not gpu.fenced()
    gpu.control(0x30000)
    gpu.open_ring()
    assert gpu.send(5).resp.status == 0


@pytest.mark.parametrize(
    ("command_mc", "text"),
    [
        (VRAM_MC_BASE + COMMAND + 0x40, "command buffer at 0x8000102040 of VMID 0: not at a page of VMID 0"),
        (VRAM_MC_BASE + (1 << 45), "frame 0 or its command cannot be read"),
    ],
)
def test_ring_command_buffer_that_is_nowhere_gets_no_fence(command_mc: int, text: str) -> None:
    gpu = ready()
    gpu.push(psp_gfx_cmd_resp(cmd_id=5), command_mc)
    assert not gpu.fenced()
    assert any(text in wrong for wrong in gpu.gpu.wrongs)


def test_ring_fence_that_cannot_be_written_stops_the_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = ready()
    monkeypatch.setattr(gpu, "mc", lambda offset: VRAM_MC_BASE + (1 << 45 if offset != COMMAND else COMMAND))
    gpu.push(psp_gfx_cmd_resp(cmd_id=5))
    assert not gpu.fenced()
    assert any("cannot be written" in wrong for wrong in gpu.gpu.wrongs)


def test_psp_ring_dead_makes_the_ring_and_never_fences() -> None:
    gpu = host("mi350x")
    gpu.gpu.psp.ring_dead = True
    assert gpu.open_ring() & 0x8000FFFF == READY
    gpu.push(psp_gfx_cmd_resp(cmd_id=5))
    assert not gpu.fenced()


@pytest.mark.parametrize(("stage", "number"), [("tmr", 5), ("firmware", 6), ("ta", 1)])
def test_device_lost_at_a_ring_stage_is_gone(stage: str, number: int) -> None:
    gpu = ready()
    gpu.gpu.lost_during = stage
    gpu.push(psp_gfx_cmd_resp(cmd_id=number))
    gpu.clock.sleep(0.1)
    assert gpu.read(PSP + 64) == 0xFFFFFFFF


def test_device_lost_when_the_ring_is_made_is_gone() -> None:
    gpu = host("mi350x")
    gpu.gpu.lost_during = "psp-ring"
    assert gpu.open_ring() == 0xFFFFFFFF


# Commands.


def test_command_that_does_not_exist_is_answered_0x100_and_listed() -> None:
    gpu = ready()
    assert gpu.send(0x77).resp.status == 0x100
    assert gpu.gpu.unknown_accesses == {("psp-ring-command", 0x77): 1}


@pytest.mark.parametrize("number", [8, 9, 0xA, 0x20, 0x21])
def test_command_of_other_parts_is_not_supported(number: int) -> None:
    gpu = ready()
    assert gpu.send(number).resp.status == 0xFFFF000A
    assert gpu.gpu.wrongs == [f"psp: command {number:#x}: not on these parts"]


def test_setup_tmr_empty_or_with_a_buffer_and_destroy() -> None:
    gpu = ready()
    assert gpu.send(7).resp.status == Status.BAD_STATE
    assert gpu.send(5, tmr_flags=2).resp.status == 0
    place = gpu.mc(0x1000000)
    buffer = {"buf_phy_addr_lo": place & 0xFFFFFFFF, "buf_phy_addr_hi": place >> 32}
    assert gpu.send(5, **buffer, buf_size=0x1300000).resp.status == 0
    assert gpu.send(5, buf_size=0x1300000).resp.status == Status.BAD_PARAMETERS
    assert gpu.send(7).resp.status == 0
    assert not gpu.gpu.psp.ring.tmr
    assert gpu.gpu.wrongs == [
        "psp: command 0x7: DESTROY_TMR without SETUP_TMR",
        "psp: command 0x5: TMR at 0x0 with 0x1300000 bytes",
    ]


def test_setup_tmr_with_an_address_and_no_size_is_the_tmr_of_boot_time() -> None:
    """So tinygrad asks on MI350X, where boot firmware has made the TMR."""
    gpu = ready()
    beyond = 0x7FFF_0000_0000  # ignored, so it need not be memory
    assert gpu.send(5, buf_phy_addr_lo=0, buf_phy_addr_hi=beyond >> 32, buf_size=0).resp.status == 0
    assert gpu.gpu.psp.ring.tmr and gpu.gpu.wrongs == []


def test_psp_refuses_tmr_and_firmware_stays_out(mi300x: Files) -> None:
    gpu = ready("mi300x")
    gpu.gpu.psp.refuses.add("tmr")
    assert gpu.send(5, tmr_flags=2).resp.status == Status.GENERIC
    assert gpu.load(9, mi300x.payload("sdma", "SDMA")) == Status.BAD_STATE


def test_firmware_before_setup_tmr_is_refused(mi300x: Files) -> None:
    gpu = ready("mi300x")
    assert gpu.load(9, mi300x.payload("sdma", "SDMA")) == Status.BAD_STATE
    assert gpu.gpu.wrongs == ["psp: command 0x6: firmware type 9 before SETUP_TMR"]


def test_firmware_is_loaded_into_reserved_memory_once_it_is_accepted(mi300x: Files) -> None:
    gpu = with_tmr()
    gpu.put(BLOB, mi300x.payload("sdma", "SDMA"))
    place = gpu.mc(BLOB)
    fields = {"fw_phy_addr_lo": place & 0xFFFFFFFF, "fw_phy_addr_hi": place >> 32, "fw_size": 0x8500, "fw_type": 9}
    answer = gpu.send(6, **fields).resp
    assert answer.status == 0
    loaded = (answer.fw_addr_hi << 32 | answer.fw_addr_lo) - gpu.mc(0)
    assert gpu.gpu.chip.vram_size - RESERVED_BYTES < loaded < gpu.gpu.chip.vram_size
    assert gpu.gpu.psp.loaded == {9}


@pytest.mark.parametrize(("kind", "missing"), [(5, "CP_MEC"), (8, "RLC_RESTORE_LIST_GPM_MEM")])
def test_firmware_in_the_wrong_order_is_refused(mi300x: Files, kind: int, missing: str) -> None:
    gpu = with_tmr()
    file, entry = next((file, entry) for file, entry, other in ENGINES if other == kind)
    assert gpu.load(kind, mi300x.payload(file, entry)) == Status.BAD_STATE
    assert f"firmware type {kind} before GFX_FW_TYPE_{missing}" in gpu.gpu.wrongs[0]
    assert gpu.gpu.psp.loaded == set()


def test_firmware_of_another_kind_or_damaged_or_foreign_or_cut_is_refused(firmware_dir: Path, mi300x: Files) -> None:
    gpu = with_tmr()
    sdma = mi300x.payload("sdma", "SDMA")
    assert gpu.load(9, mi300x.payload("mec", "MEC")) == Status.BAD_FORMAT
    assert gpu.load(9, sdma[:0x400] + b"\xaa" + sdma[0x401:]) == Status.SECURITY
    assert gpu.load(9, Files(firmware_dir, "mi350x").payload("sdma", "SDMA")) == Status.SECURITY
    assert gpu.load(9, sdma[:0x8000]) == Status.BAD_FORMAT
    assert gpu.load(9, sdma[:0x80]) == Status.BAD_FORMAT
    assert gpu.gpu.psp.loaded == set()
    texts = (
        "it is MEC, not SDMA",
        "does not match",
        "signed for GC 9.5.0",
        "more than the 0x8000",
        "0x80 bytes are less",
    )
    assert all(text in wrong for text, wrong in zip(texts, gpu.gpu.wrongs, strict=True))


def test_firmware_off_a_page_of_an_unknown_type_or_nowhere_is_refused(mi300x: Files) -> None:
    gpu = with_tmr()
    sdma = mi300x.payload("sdma", "SDMA")
    assert gpu.load(9, sdma, BLOB + 0x100) == Status.BAD_PARAMETERS
    assert gpu.load(1, sdma) == Status.NOT_SUPPORTED
    assert gpu.send(6, fw_phy_addr_hi=0x7FFF, fw_size=0x8500, fw_type=9).resp.status == Status.BAD_PARAMETERS


def test_firmware_image_of_a_decoder_needs_no_wrapper() -> None:
    gpu = with_tmr()
    assert gpu.load(49, VIDEO_LIST) == 0
    assert gpu.gpu.psp.loaded == {49}


@pytest.mark.parametrize(("kind", "name"), NAMES.items())
def test_psp_refuses_a_firmware_by_its_name(mi300x: Files, kind: int, name: str) -> None:
    gpu = with_tmr()
    gpu.gpu.psp.refuses.add(name)
    file, entry = next((file, entry) for file, entry, other in ENGINES if other == kind)
    assert gpu.load(kind, mi300x.payload(file, entry)) == Status.GENERIC
    assert gpu.gpu.psp.loaded == set()
    assert gpu.gpu.wrongs == [f"psp: command 0x6: {name} is refused whatever it is"]


@BOTH
def test_used_gpu_has_all_firmware_loaded_and_a_cold_one_none(part: str) -> None:
    assert host(part).gpu.psp.loaded == FIRMWARE_KINDS
    assert {4, 5, 8, 9, 10, 52, 53} <= FIRMWARE_KINDS
    assert host(f"{part}?state=cold").gpu.psp.loaded == set()


def test_firmware_loaded_stays_loaded_without_tmr_and_ring() -> None:
    gpu = with_tmr()
    gpu.load(49, VIDEO_LIST)
    gpu.send(7)
    gpu.control(0x30000)
    assert gpu.gpu.psp.loaded == {49}


@pytest.mark.parametrize(("count", "mode"), [(1, 0), (2, 1), (4, 3), (8, 4)])
def test_spatial_partition_shows_in_nbio(count: int, mode: int) -> None:
    gpu = ready()
    assert gpu.send(0x27, mode=count).resp.status == 0
    assert gpu.read(0xD20 + 0x163) == mode << 4


def test_spatial_partition_of_three_is_refused() -> None:
    gpu = ready()
    assert gpu.send(0x27, mode=3).resp.status == Status.BAD_PARAMETERS
    assert gpu.gpu.wrongs == ["psp: command 0x27: 3 partitions of 8 XCCs"]
    assert gpu.read(0xD20 + 0x163) == 0


def test_memory_partition_only_what_the_board_can_do_and_at_the_next_reset() -> None:
    gpu = ready()
    status = 0xD20 + 0x164
    assert gpu.send(0x48, mode=1).resp.status == 0
    assert gpu.read(status) == 0x10
    for mode in (0, 4, 9):
        assert gpu.send(0x48, mode=mode).resp.status == Status.BAD_PARAMETERS
    assert "NPS4, of which this board is not capable" in gpu.gpu.wrongs[1]
    gpu.gpu.registers.set("NBIO[0].BIF_BX_PF0_PARTITION_MEM_CAP", 0b1001)
    assert gpu.send(0x48, mode=4).resp.status == 0
    assert gpu.read(status) == 0x18


def test_boot_configuration_set_get_and_back_to_default() -> None:
    gpu = ready()
    assert gpu.send(0x22, sub_cmd=2).resp.uresp.boot_cfg.boot_cfg == 1
    assert gpu.send(0x22, sub_cmd=1, boot_config=0, boot_config_valid=1).resp.uresp.boot_cfg.boot_cfg == 0
    assert gpu.send(0x22, sub_cmd=3).resp.uresp.boot_cfg.boot_cfg == 1
    assert gpu.send(0x22, sub_cmd=7).resp.status == Status.BAD_PARAMETERS


def test_reserved_range_is_the_end_of_vram() -> None:
    gpu = ready()
    info = gpu.send(0x50).resp.uresp.fw_reserve_info
    address = info.reserve_base_address_hi << 32 | info.reserve_base_address_lo
    assert (address + info.reserve_size, info.reserve_size) == (gpu.gpu.chip.vram_size, 280 << 20)
    assert gpu.send(0x51).resp.uresp.fw_reserve_info.reserve_size == 0


def test_attestation_records_tell_what_was_loaded(mi300x: Files) -> None:
    gpu = with_tmr()
    gpu.load(9, mi300x.payload("sdma", "SDMA"))
    info = gpu.send(0xF).resp.uresp.fwar_db_info
    offset = (info.fwar_db_addr_hi << 32 | info.fwar_db_addr_lo) - gpu.mc(0)
    data = gpu.get(offset, 40)
    assert struct.unpack_from("<2I", data) == (1, 0x143B6A37)
    kind, _, version, _, _, valid, _ = struct.unpack_from("<HHIHBBI", data, 8)
    assert (kind, version, valid) == (9, 0x1B, 1)
    assert data[24:] == bytes(16)


@pytest.mark.parametrize(("part", "status"), [("mi300x", 0), ("mi350x", Status.NOT_SUPPORTED)])
def test_sq_perfmon_is_for_13_0_6_only(part: str, status: int) -> None:
    assert ready(part).send(0x46, gfx_xcp_mask=1).resp.status == status


def test_performance_request_is_kept_and_told() -> None:
    gpu = ready()
    assert gpu.send(0x4C, req=0xA0000001, ptl_state=1, pref_format1=2, pref_format2=3).resp.status == 0
    told = gpu.send(0x4C, req=0xA0000000).resp.uresp.perf_hw_info
    assert (told.ptl_state, told.pref_format1, told.pref_format2) == (1, 2, 3)
    assert gpu.send(0x4C, req=5).resp.status == Status.BAD_PARAMETERS


def test_program_register_reaches_the_tlbs_of_all_hubs() -> None:
    gpu = ready()
    assert gpu.send(0xB, reg_id=25, reg_value=0x2503).resp.status == 0
    assert [gpu.gpu.registers.get(f"MMHUB[{aid}].MC_VM_MX_L1_TLB_CNTL") for aid in range(4)] == [0x2503] * 4
    assert gpu.send(0xB, reg_id=2, reg_value=0).resp.status == Status.BAD_PARAMETERS


def test_program_register_reaches_the_interrupt_ring() -> None:
    gpu = ready()
    assert gpu.send(0xB, reg_id=0, reg_value=0x100).resp.status == 0
    assert gpu.read(0x10A0 + 0x80) & 0x100 == 0x100


def test_rlc_that_a_driver_stopped_runs_again_when_its_firmware_is_loaded_again(mi300x: Files) -> None:
    """amdgpu stops it when it goes (gfx_v9_4_3_hw_fini), and rlc_resume of the next driver does not start it."""
    gpu = ready("mi300x")
    assert gpu.send(5, tmr_flags=2).resp.status == 0
    control = gpu.gpu.registers.layout.address("GC[3].RLC_CNTL")
    gpu.write(control, 0)
    assert gpu.read(control) == 0
    for file, entry, kind in ENGINES:
        assert gpu.load(kind, mi300x.payload(file, entry)) == 0, entry
    assert gpu.read(control) == 1
