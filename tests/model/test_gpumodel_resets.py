"""What resets leave of a software GPU: amd-resets.md section 8, row by row; what a careless driver gets; faults of resets."""

from __future__ import annotations

import pytest

from base.errors import GpumendError, Unavailable
from gpumodel.faults import CATALOGUE, Reset
from gpumodel.xgmi import STATE_ACTIVE, STATE_TRAINING
from tests.model.firmware_host import PSP, SMU, Host, host, hosts

ONES = 0xFFFFFFFF
OK = 1
SIGNATURE = bytes.fromhex("07142128")
BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])


def silence(gpu: Host) -> None:
    """Bus mastering off, as amdgpu_device_mode1_reset does."""
    gpu.transport.config_write(4, 2, gpu.transport.config_read(4, 2) & ~4)


def device_reset(gpu: Host, argument: int) -> int:
    """GfxDriverReset; the response, without waiting for one (mode2 answers at its end)."""
    silence(gpu)
    gpu.write(SMU + 90, 0)
    gpu.write(SMU + 82, argument)
    gpu.write(SMU + 66, 3)
    gpu.clock.sleep(1e-3)
    return gpu.read(SMU + 90) if argument != 2 else 0


def restore(gpu: Host) -> None:
    """The header, the BARs before the command."""
    for bar in gpu.transport.bars().values():
        gpu.transport.config_write(0x10 + 4 * bar.index, 4, bar.address & ONES)
        if bar.is_64bit:
            gpu.transport.config_write(0x14 + 4 * bar.index, 4, bar.address >> 32)
    gpu.transport.config_write(4, 2, 2)


def mode1(gpu: Host) -> None:
    assert device_reset(gpu, 1) == OK
    gpu.clock.sleep(0.5)
    restore(gpu)
    assert gpu.until(PSP + 35, ONES, 0x80000000, 2)


def marked(gpu: Host) -> dict[str, int]:
    """A mark in each kind of state, and how it can be read again."""
    layout = gpu.gpu.registers.layout
    places = {
        "gfx scratch": layout.address("GC[0].SCRATCH_REG6"),
        "driver scratch": layout.address("NBIO[0].BIF_BX0_BIOS_SCRATCH_5"),
        "mmhub": layout.address("MMHUB[0].VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32"),
        "gfxhub": layout.address("GC[0].VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32"),
    }
    for place in places.values():
        gpu.write(place, 0x600DCAFE)
    gpu.put(0x1000, b"data")
    return places


def left(gpu: Host, places: dict[str, int]) -> set[str]:
    found = {name for name, place in places.items() if gpu.read(place) == 0x600DCAFE}
    if gpu.get(0x1000, 4) == b"data":
        found.add("vram")
    if gpu.read(PSP + 81):
        found.add("secure OS")
    if gpu.get(gpu.gpu.table_offset, 4) == SIGNATURE:
        found.add("table")
    return found


EVERYTHING = {"gfx scratch", "driver scratch", "mmhub", "gfxhub", "vram", "secure OS", "table"}


@BOTH
def test_mode1_leaves_a_cold_gpu_with_a_fresh_table(part: str) -> None:
    gpu = host(part)
    places = marked(gpu)
    assert left(gpu, places) == EVERYTHING
    bar = gpu.transport.config_read(0x14, 4)
    assert device_reset(gpu, 1) == OK
    gpu.clock.sleep(0.5)
    assert gpu.transport.config_read(0x14, 4) == 0 != bar, "config space is lost"
    assert gpu.transport.config_read(4, 2) == 0
    restore(gpu)
    assert gpu.read(PSP + 35) == gpu.read(PSP + 33) == 0, "boot firmware is still at work"
    assert gpu.get(gpu.gpu.table_offset, 4) == bytes(4)
    assert gpu.until(PSP + 35, ONES, 0x80000000, 2)
    assert left(gpu, places) == {"table"}
    assert gpu.ask(2) == gpu.gpu.chip.pmfw_version, "the SMU runs again"
    assert gpu.gpu.wrongs == []


@BOTH
def test_mode2_takes_the_engines_only(part: str) -> None:
    gpu = host(part)
    places = marked(gpu)
    device_reset(gpu, 2)
    gpu.clock.sleep(0.2)
    assert gpu.transport.config_read(0x14, 4) == 0
    restore(gpu)
    assert gpu.read(SMU + 90) == OK, "the answer comes when it is over"
    assert left(gpu, places) == EVERYTHING - {"gfx scratch", "gfxhub"}
    assert gpu.message(0x2E)[0] == 0xFD, "the RLC has no firmware yet"
    assert not gpu.gpu.psp.loaded & {4, 5, 8, 9, 10, 52, 53}
    assert 67 in gpu.gpu.psp.loaded
    assert gpu.gpu.wrongs[1:] == []


@pytest.mark.parametrize("method", ["flr", "bus"])
def test_reset_from_the_bus_boots_the_firmware_and_keeps_config_space(method: str) -> None:
    gpu = host("mi350x")
    places = marked(gpu)
    before = [gpu.transport.config_read(place, 4) for place in range(0, 0x40, 4)]
    gpu.transport.reset(method)
    assert [gpu.transport.config_read(place, 4) for place in range(0, 0x40, 4)] == before
    assert gpu.until(PSP + 35, ONES, 0x80000000, 2)
    assert left(gpu, places) == {"table"}


def test_rescan_keeps_the_state_of_the_hardware() -> None:
    gpu = host("mi350x")
    places = marked(gpu)
    gpu.transport.reset("rescan")
    assert left(gpu, places) == EVERYTHING
    gpu.gpu.lost = True
    with pytest.raises(Unavailable, match="by rescan"):
        gpu.transport.reset("rescan")


def test_lost_device_comes_back_by_the_bus_without_addresses() -> None:
    gpu = host("mi350x?fault=bus-lost")
    with pytest.raises(GpumendError, match="by flr"):
        gpu.transport.reset("flr")
    gpu.transport.reset("bus")
    assert gpu.transport.config_read(0, 4) != ONES
    assert gpu.read(PSP + 35) == ONES, "the system had no config space to restore"
    restore(gpu)
    assert gpu.until(PSP + 35, ONES, 0x80000000, 2)


# --- what must never be done


def test_bar_touched_during_mode1_loses_the_device() -> None:
    gpu = host("mi350x")
    device_reset(gpu, 1)
    gpu.clock.sleep(0.1)
    assert gpu.read(PSP + 33) == ONES
    gpu.clock.sleep(2)
    assert gpu.transport.config_read(0, 4) == ONES
    assert "the device is gone" in gpu.gpu.wrongs[0]


def test_bar_touched_during_mode2_reads_all_ones() -> None:
    gpu = host("mi350x")
    device_reset(gpu, 2)
    gpu.clock.sleep(0.01)
    assert gpu.read(PSP + 33) == ONES
    gpu.clock.sleep(0.2)
    restore(gpu)
    assert gpu.read(SMU + 90) == OK


def test_bus_master_left_on_stops_the_boot_firmware() -> None:
    gpu = host("mi350x")
    gpu.transport.config_write(4, 2, 6)
    assert gpu.message(3, 1)[0] == OK
    gpu.clock.sleep(0.5)
    restore(gpu)
    gpu.clock.sleep(2)
    assert gpu.read(PSP + 35) == 0
    assert gpu.gpu.registers.get("MP0[0].MP0_SMN_C2PMSG_126") == 1 << 29
    assert gpu.gpu.wrongs == ["resets: mode1 with bus mastering on"]


def links(gpu: Host) -> set[int]:
    return {gpu.gpu.registers.get(f"XGMI[{link}].PCS_STATE_HIST1") for link in range(gpu.gpu.hive.nodes - 1)}


def test_hive_reset_together_keeps_all_links() -> None:
    hive = hosts("mi350x*4")
    for gpu in hive:
        assert device_reset(gpu, 1) == OK
        gpu.clock.sleep(0.02)
    hive[0].clock.sleep(0.5)
    for gpu in hive:
        restore(gpu)
    for gpu in hive:
        assert gpu.until(PSP + 35, ONES, 0x80000000, 2)
    assert [links(gpu) for gpu in hive] == [{STATE_ACTIVE}] * 4


def test_member_reset_alone_loses_its_links_until_the_hive_is_reset() -> None:
    hive = hosts("mi350x*4")
    mode1(hive[1])
    assert links(hive[1]) == {STATE_TRAINING}
    assert links(hive[0]) == links(hive[3]) == {STATE_ACTIVE, STATE_TRAINING}
    hive[0].clock.sleep(1)
    for gpu in hive:
        device_reset(gpu, 1)
    hive[0].clock.sleep(2)
    for gpu in hive:
        restore(gpu)
        assert gpu.read(PSP + 35) == 0x80000000
    assert [links(gpu) for gpu in hive] == [{STATE_ACTIVE}] * 4


def test_fault_one_member_late_leaves_its_links_down() -> None:
    hive = hosts("mi350x*4?fault=one-member-late@2")
    for gpu in hive:
        device_reset(gpu, 1)
    hive[0].clock.sleep(4)
    restore(hive[0])  # an access lets time pass
    assert [STATE_TRAINING in links(gpu) for gpu in hive] == [True] * 4
    assert links(hive[2]) == {STATE_TRAINING}


# --- cures and faults


@BOTH
@pytest.mark.parametrize("name", [f.name for f in CATALOGUE.values() if Reset.MODE1 in f.cures and "smu" not in f.name])
def test_fault_that_mode1_cures_is_gone(part: str, name: str) -> None:
    gpu = host(f"{part}?fault={name}")
    mode1(gpu)
    well = host(f"{part}?state=cold")
    assert gpu.gpu.faults == []
    mode1(well)
    assert gpu.gpu.registers.values == well.gpu.registers.values
    for block in ("psp", "smu", "gfx", "sdma", "gmc", "ih"):
        for attribute in (
            "refuses",
            "ring_dead",
            "rlc_stuck",
            "kiq_dead",
            "never_starts",
            "hung",
            "ack_missing",
            "overflows",
            "stays",
        ):
            mine, other = getattr(gpu.gpu, block), getattr(well.gpu, block)
            assert getattr(mine, attribute, None) == getattr(other, attribute, None), (block, attribute)


@pytest.mark.parametrize("name", ["bootloader-silent", "needs-power-cycle"])
def test_fault_that_mode1_does_not_cure_is_there_again(name: str) -> None:
    gpu = host(f"mi350x?fault={name}")
    device_reset(gpu, 1)
    gpu.clock.sleep(3)
    restore(gpu)
    assert gpu.read(PSP + 35) == 0
    gpu.transport.reset("bus")
    gpu.clock.sleep(2)
    assert (gpu.read(PSP + 35) == 0x80000000) == (name == "bootloader-silent")
    gpu.gpu.resets.begin(Reset.POWER_CYCLE)
    gpu.clock.sleep(2)
    restore(gpu)
    assert gpu.read(PSP + 35) == 0x80000000


def test_fault_wears_out_after_so_many_and_a_bus_reset_starts_anew() -> None:
    gpu = host("mi350x?fault=reset-wears-out:2")
    mode1(gpu)
    mode1(gpu)
    device_reset(gpu, 1)
    gpu.clock.sleep(3)
    restore(gpu)
    assert gpu.read(PSP + 35) == 0
    gpu.transport.reset("bus")
    assert gpu.until(PSP + 35, ONES, 0x80000000, 2)
    mode1(gpu)
    mode1(gpu)


def test_fault_lies_answers_and_does_nothing() -> None:
    gpu = host("mi350x?fault=reset-lies:mode1,reset-lies:bus-reset")
    places = marked(gpu)
    assert device_reset(gpu, 1) == OK
    gpu.clock.sleep(2)
    assert left(gpu, places) == EVERYTHING
    gpu.transport.reset("bus")
    assert left(gpu, places) == EVERYTHING
    gpu.transport.reset("flr")
    gpu.clock.sleep(2)
    assert left(gpu, places) == {"table"}


@pytest.mark.parametrize("method", ["flr", "bus-reset"])
def test_fault_hangs_from_the_bus_is_told_by_the_system(method: str) -> None:
    gpu = host(f"mi350x?fault=reset-hangs:{method}")
    words = {"flr": "flr", "bus-reset": "bus"}
    with pytest.raises(GpumendError, match=f"by {words.pop(method)}"):
        gpu.transport.reset({"flr": "flr", "bus-reset": "bus"}[method])
    other = {"flr": "bus", "bus-reset": "flr"}[method]
    gpu.transport.reset(other)
    restore(gpu)
    assert gpu.until(PSP + 35, ONES, 0x80000000, 2)


def test_fault_hangs_in_mode1_never_boots_and_in_mode2_never_answers() -> None:
    gpu = host("mi350x?fault=reset-hangs:hive-reset,reset-hangs:mode2")
    device_reset(gpu, 2)
    gpu.clock.sleep(5)
    restore(gpu)
    assert gpu.read(SMU + 90) == 0
    gpu.transport.reset("bus")
    gpu.clock.sleep(2)
    assert device_reset(gpu, 1) == OK
    gpu.clock.sleep(100)
    restore(gpu)
    assert gpu.read(PSP + 33) == 0


def test_fault_flr_loses_config_for_good() -> None:
    gpu = host("mi300x?fault=flr-loses-config")
    for method in ("flr", "bus", "rescan"):
        with pytest.raises(GpumendError):
            gpu.transport.reset(method)
        assert gpu.transport.config_read(0, 4) == ONES
    gpu.gpu.resets.begin(Reset.POWER_CYCLE)
    gpu.clock.sleep(1)
    assert gpu.transport.config_read(0, 4) != ONES


def test_fault_clobbered_after_only_that_reset() -> None:
    gpu = host("mi350x?fault=discovery-clobbered-after:mode1")
    mode1(gpu)
    assert gpu.get(gpu.gpu.table_offset, 4) != SIGNATURE
    gpu.transport.reset("flr")
    gpu.clock.sleep(2)
    assert gpu.get(gpu.gpu.table_offset, 4) == SIGNATURE


def test_page_fault_comes_again_until_the_queue_is_reset() -> None:
    gpu = host("mi350x?fault=page-fault")
    status = gpu.gpu.registers.layout.address("GC[0].VM_L2_PROTECTION_FAULT_STATUS")
    control = gpu.gpu.registers.layout.address("GC[0].VM_L2_PROTECTION_FAULT_CNTL")
    select, dequeue = (
        gpu.gpu.registers.layout.address(f"GC[0].{n}") for n in ("GRBM_GFX_CNTL", "CP_HQD_DEQUEUE_REQUEST")
    )
    gpu.write(control, gpu.read(control) | 1)
    assert gpu.read(status) == 0
    gpu.clock.sleep(0.01)
    assert gpu.read(status)
    gpu.write(select, 1 << 2)
    gpu.write(dequeue, 2)
    gpu.clock.sleep(0.01)
    gpu.write(control, gpu.read(control) | 1)
    gpu.clock.sleep(0.01)
    assert gpu.read(status) == 0
