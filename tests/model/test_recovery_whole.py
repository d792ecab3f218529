"""mode1, mode2, link reset and the resets of the bus on one target: times, config space, marks, what hangs and what lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from amdriver.access import INDEX_REGISTERS, Access
from amdriver.device import Device, StartState
from amdriver.discovery_locate import locate
from amdriver.parts import part_of
from amdriver.recovery import Target
from amdriver.smu import SmuBusy, SmuSilent
from base.clock import VirtualClock
from base.errors import DeviceLost, GpumendError, Refused, UsageError, WaitTimeout
from gpumodel import open_models
from pcibus.transport import Can, Transport
from tests.model.recovery_rig import Counting, rig

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
BUS_MASTER = 4


def mode1(target: Target, limit_s: float = 5) -> None:
    saved = target.save_config()
    target.send_mode1()
    target.restore_config(saved)
    target.await_boot(limit_s)


# ---- opening


@pytest.mark.parametrize(
    "fault", ["bus-lost", "bar-dead", "smu-silent", "bootloader-silent", "discovery-clobbered", "mec-hang", "ras-fatal"]
)
def test_opening_writes_index_registers_at_most_and_opens_whatever_is_sick(fault: str) -> None:
    clock = VirtualClock()
    counting = Counting(open_models(f"mi350x?fault={fault}", clock)[0])
    with Target.open(counting, clock):
        assert {(row[1], row[2]) for row in counting.writes if row[0] == "write32"} <= INDEX_REGISTERS
        assert all(row[0] == "write32" for row in counting.writes)


def test_map_comes_from_the_next_best_place() -> None:
    with rig("mi350x") as whole:
        ip, golden = whole.target.ip, _table(whole.transport)
        assert whole.target.map_source == "its own table"
    sick = "mi350x?fault=discovery-clobbered"
    with rig(sick, golden=golden, borrowed=ip) as one:
        assert (one.target.map_source, one.target.ip) == ("the saved good copy", ip)
    with rig(sick, golden=b"no table at all" * 10, borrowed=ip) as one:
        assert one.target.map_source == "another GPU of this part"
        assert len(one.target.xccs) == 8
    with rig(sick) as one:
        assert one.target.map_source == "fixed places"
        assert (one.target.xccs, one.target.engines, one.target.hubs) == ((), (), ())
        mode1(one.target)


def _table(transport: Transport) -> bytes:
    return locate(Access(transport), VirtualClock()).blob


def test_opened_twice_is_refused_and_the_lock_is_given_up() -> None:
    with rig("mi350x") as one, pytest.raises(Refused):
        Target.open(one.transport, one.clock)
    with rig("mi300x") as other:
        other.target.close()
        other.target.close()
        Target.open(other.transport, other.clock).close()


# ---- mode1


@BOTH
def test_mode1_is_proved_by_its_mark(part: str) -> None:
    with rig(part) as one:
        mark = one.target.plant_mark("mode1")
        assert len(mark.where) == 11
        assert mark.gone() is False
        started = one.clock.now()
        mode1(one.target)
        assert mark.gone() is True
        assert mark.left() == ()
        assert one.clock.now() - started < 1.1
        assert one.gpu.wrongs == []


def test_no_bar_is_touched_before_500_ms_and_bus_mastering_stays_off() -> None:
    clock = VirtualClock()
    counting = Counting(open_models("mi350x", clock)[0])
    counting.config_write(4, 2, 6)
    with Target.open(counting, clock) as target:
        saved = target.save_config()
        sent_s = target.send_mode1()
        counting.touched_s.clear()
        target.active_queues()  # whatever is asked next waits for it
        target.restore_config(saved)
        target.await_boot()
    assert min(counting.touched_s) >= sent_s + 0.5
    assert counting.inner.config_read(4, 2) & 6 == 2
    assert saved.command & BUS_MASTER


def test_mode1_with_the_fatal_bit_is_told_to_the_firmware() -> None:
    clock = VirtualClock()
    counting = Counting(open_models("mi350x?fault=ras-fatal", clock)[0])
    with Target.open(counting, clock) as target:
        saved = target.save_config()
        target.send_mode1(fatal=True)
        target.restore_config(saved)
        target.await_boot()
    assert any(row[:2] == ("write32", 5) and row[3] == 0x10001 for row in counting.writes)
    assert counting.inner.gpu.faults == []


@BOTH
@pytest.mark.parametrize(
    "fault",
    ["discovery-clobbered", "discovery-zeros", "discovery-ones", "discovery-bitflip", "mec-hang", "sdma-hang",
     "page-fault", "ras-fatal", "xgmi-link-down"],
)  # fmt: skip
def test_what_mode1_cures_is_cured(part: str, fault: str, firmware_dir: Path) -> None:
    with rig(f"{part}?fault={fault}") as one:
        mode1(one.target)
        assert one.gpu.faults == []
    with Device.open(one.transport, one.clock, firmware_dirs=[firmware_dir]) as device:
        assert device.start_state is StartState.COLD


def test_mode1_that_lies_is_found_by_its_mark_and_the_mark_is_taken_away() -> None:
    with rig("mi350x?fault=reset-lies:mode1") as one:
        before = one.transport.read_block(0, 16 << 20, 16), one.get("GC[4].SCRATCH_REG2")
        mark = one.target.plant_mark("mode1")
        mode1(one.target)
        assert mark.gone() is False
        assert len(mark.left()) == 11
        mark.remove()
        assert (one.transport.read_block(0, 16 << 20, 16), one.get("GC[4].SCRATCH_REG2")) == before
        assert [place.partition(",")[0] for place in mark.left()] == ["secure OS"]


def test_second_mark_is_not_mistaken_for_the_first() -> None:
    with rig("mi350x?fault=reset-lies:mode1") as one:
        first = one.target.plant_mark("mode1")
        second = one.target.plant_mark("mode1")
        assert second.gone() is False
        assert first.left() != second.left()


def test_mode1_that_hangs_is_told_with_what_the_boot_firmware_says() -> None:
    with rig("mi350x?fault=reset-hangs:mode1") as one:
        with pytest.raises(WaitTimeout, match="waiting for the boot firmware") as caught:
            mode1(one.target, limit_s=30)
        assert "MP0_SMN_C2PMSG_33" in caught.value.where
        assert "C2PMSG_126=" in caught.value.seen
        assert 30 < one.clock.now() < 31.5


def test_worn_out_part_says_which_error_its_boot_firmware_has() -> None:
    with rig("mi350x?fault=reset-wears-out:1") as one:
        mode1(one.target)
        with pytest.raises(WaitTimeout) as caught:
            mode1(one.target, limit_s=2)
        assert "C2PMSG_126=0x00000002" in caught.value.seen


@pytest.mark.parametrize(("fault", "kind"), [("smu-silent", SmuSilent), ("smu-busy", SmuBusy)])
def test_smu_that_does_not_take_the_message_leaves_the_gpu_as_it_is(fault: str, kind: type[GpumendError]) -> None:
    with rig(f"mi350x?fault={fault}") as one:
        with pytest.raises(kind):
            one.target.require_ready()
        with pytest.raises(kind):
            one.target.send_mode1()
        assert one.gpu.resets.done == []


def test_lost_gpu_is_not_ready() -> None:
    with rig("mi350x?fault=bus-lost") as one, pytest.raises(DeviceLost):
        one.target.require_ready()


# ---- link reset


def test_link_reset_goes_as_mode1_does() -> None:
    with rig("mi350x") as one:
        mark, saved = one.target.plant_mark("link-reset"), one.target.save_config()
        one.target.send_link_reset()
        one.target.restore_config(saved)
        one.target.await_boot(5)
        assert mark.gone() is True
        assert one.gpu.wrongs == []


def test_link_reset_of_a_part_without_it_is_refused() -> None:
    with rig("mi350x") as one:
        mi325x = part_of(0x1002, 0x74A5)
        assert mi325x is not None
        one.target.part = mi325x
        with pytest.raises(Refused, match="link"):
            one.target.send_link_reset()
        assert one.gpu.resets.done == []


# ---- mode2


@BOTH
@pytest.mark.parametrize(
    "fault", ["", "?fault=mec-hang:3", "?fault=sdma-hang:5", "?fault=page-fault", "?fault=kiq-dead"]
)
def test_mode2_brings_the_engines_back_and_keeps_vram(part: str, fault: str, firmware_dir: Path) -> None:
    with rig(part + fault) as one:
        one.transport.write_block(0, 1 << 30, b"kept" * 4)
        mark, saved = one.target.plant_mark("mode2"), one.target.save_config()
        assert len(mark.where) == 8
        one.target.send_mode2()
        one.target.restore_config(saved)
        one.target.finish_mode2([firmware_dir])
        assert mark.gone() is True
        assert not one.target.stuck_engines()
        assert one.transport.read_block(0, 1 << 30, 16) == b"kept" * 4
        assert not one.gpu.smu._recovering
        assert one.gpu.wrongs == []
        assert one.clock.now() < 1


def test_mode2_that_lies_keeps_its_mark() -> None:
    with rig("mi350x?fault=reset-lies:mode2") as one:
        mark, saved = one.target.plant_mark("mode2"), one.target.save_config()
        one.target.send_mode2()
        one.target.restore_config(saved)
        one.target.smu.await_mode2()
        assert mark.gone() is False


def test_mode2_that_hangs_is_told_in_20_s(firmware_dir: Path) -> None:
    with rig("mi350x?fault=reset-hangs:mode2") as one:
        saved = one.target.save_config()
        one.target.send_mode2()
        one.target.restore_config(saved)
        with pytest.raises(SmuSilent, match="end of mode2"):
            one.target.finish_mode2([firmware_dir])
        assert one.clock.now() < 21


# ---- config space


def test_bar_dead_gpu_answers_after_its_config_space_was_written() -> None:
    with rig("mi350x?fault=bar-dead") as one:
        assert one.target.map_source == "fixed places"
        one.target.restore_config(one.target.save_config())
        one.target.await_boot(1)


def test_config_space_that_is_lost_is_restored_from_what_the_system_knows() -> None:
    with rig("mi350x?fault=bus-lost") as one:
        saved = one.target.save_config()
        assert not saved.answered
        assert saved.bars
        with pytest.raises(DeviceLost):
            one.target.restore_config(saved)
        one.target.reset_by_system("bus")
        one.target.restore_config(saved)
        one.target.await_boot(5)
        assert one.transport.config_read(4, 2) & 6 == 2


# ---- the bus


@BOTH
@pytest.mark.parametrize("method", ["flr", "bus"])
@pytest.mark.parametrize("fault", ["", "?fault=smu-silent", "?fault=discovery-zeros", "?fault=bar-dead"])
def test_reset_from_the_bus_boots_the_firmware(part: str, method: str, fault: str) -> None:
    with rig(part + fault) as one:
        mark = one.target.plant_mark("flr" if method == "flr" else "bus-reset")
        saved = one.target.save_config()
        one.target.reset_by_system(method)
        one.target.restore_config(saved)
        one.target.await_boot(5)
        assert mark.gone() is (None if "bar-dead" in fault else True)
        assert one.gpu.faults == []
        assert one.gpu.wrongs == []


@pytest.mark.parametrize(("method", "fault"), [("flr", "flr"), ("bus", "bus-reset")])
def test_reset_from_the_bus_that_lies_or_hangs_is_found(method: str, fault: str) -> None:
    with rig(f"mi350x?fault=reset-lies:{fault}") as one:
        mark = one.target.plant_mark(fault)
        one.target.reset_by_system(method)
        assert mark.gone() is False
    with rig(f"mi350x?fault=reset-hangs:{fault}") as one, pytest.raises(GpumendError, match=f"by {method}"):
        one.target.reset_by_system(method)


def test_silent_bootloader_comes_back_by_the_bus_only() -> None:
    with rig("mi350x?fault=bootloader-silent") as one:
        saved = one.target.save_config()
        with pytest.raises(GpumendError):
            mode1(one.target, limit_s=2)
        one.target.reset_by_system("bus")
        one.target.restore_config(saved)
        one.target.await_boot(5)


def test_rescan_destroys_nothing_and_has_no_mark() -> None:
    with rig("mi350x") as one:
        with pytest.raises(UsageError):
            one.target.plant_mark("remove-rescan")
        mark = one.target.plant_mark("flr")
        one.target.reset_by_system("rescan")
        assert len(mark.left()) == len(mark.where)


def test_transport_without_resets_is_refused() -> None:
    clock = VirtualClock()
    counting = Counting(open_models("mi350x", clock)[0])
    counting.can &= ~Can.RESET
    with Target.open(counting, clock) as target, pytest.raises(Refused, match="by bus"):
        target.reset_by_system("bus")
