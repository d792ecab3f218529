"""Mechanisms of queues, pipes, MECs and SDMA engines on a GPU that nobody drives: healthy, sick, hanging and lying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from amdriver.gfx_reset import Hqd
from amdriver.recovery import Target
from amdriver.smu import SmuSilent
from base.errors import GpumendError, UsageError, WaitTimeout
from tests.model.recovery_rig import left_running, rig

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
MECHANISMS: dict[str, Callable[[Target, Hqd], None]] = {
    "queue-mmio": Target.queue_reset_mmio,
    "queue-kiq": Target.queue_reset_kiq,
    "pipe": lambda target, hqd: target.pipe_reset(hqd.xcc, hqd.me, hqd.pipe),
    "mec": lambda target, hqd: target.mec_reset(hqd.xcc),
}
EACH = pytest.mark.parametrize("mechanism", MECHANISMS)


def user_queues(target: Target) -> list[Hqd]:
    return [hqd for hqd in target.active_queues() if not hqd.kiq]


# ---- what is seen


@BOTH
def test_healthy_gpu_has_nothing_stuck_and_mechanisms_leave_it_so(part: str) -> None:
    with rig(part) as one:
        assert not one.target.stuck_engines()
        assert one.target.active_queues() == ()
        one.target.wave_kill(0, 8)
        one.target.pipe_reset(1, 1, 3)
        one.target.mec_reset(2)
        one.target.sdma_reset(5)
        one.target.clear_fault("GC[3]")
        one.target.clear_fault("MMHUB[1]")
        assert not one.target.stuck_engines()
        assert one.gpu.wrongs == []


def test_active_queue_is_told_with_its_pointers(firmware_dir: Path) -> None:
    with left_running("mi350x", firmware_dir) as one:
        (mine,) = user_queues(one.target)
        assert (mine.xcc, mine.me, mine.pipe, mine.queue, mine.vmid) == (2, 1, 0, 0, 8)
        assert mine.wptr > mine.rptr
        assert mine.has_work
        assert str(mine) == "XCC 2 me 1 pipe 0 queue 0"
        kiqs = [hqd for hqd in one.target.active_queues() if hqd.kiq]
        assert [(hqd.xcc, hqd.me, hqd.pipe) for hqd in kiqs] == [(xcc, 2, 1) for xcc in range(8)]
        assert not any(hqd.has_work for hqd in one.target.active_queues() if hqd.kiq)
        assert one.get("GC[2].GRBM_GFX_CNTL") == 0, "no queue stays selected"
        assert one.get("GC[2].GRBM_GFX_INDEX") == 0xE000_0000, "every shader engine is"


# ---- each mechanism on a queue at work


@BOTH
@EACH
@pytest.mark.parametrize("waves", [False, True])
def test_queue_at_work_is_taken_off(part: str, mechanism: str, waves: bool, firmware_dir: Path) -> None:
    with left_running(part, firmware_dir, waves=waves) as one:
        (mine,) = user_queues(one.target)
        started = one.clock.now()
        MECHANISMS[mechanism](one.target, mine)
        assert one.clock.now() - started < 0.1
        assert user_queues(one.target) == []
        assert [slot for slot in one.gpu.gfx.queues if slot.me == 1] == []
        assert one.get("GC[2].SPI_CSQ_WF_ACTIVE_STATUS") == 0
        assert one.gpu.wrongs == []


def test_other_xccs_keep_their_queues(firmware_dir: Path) -> None:
    with left_running("mi350x", firmware_dir) as one:
        one.target.mec_reset(2)
        assert sorted(hqd.xcc for hqd in one.target.active_queues()) == [0, 1, 3, 4, 5, 6, 7]


def test_borrowed_kiq_gives_back_the_vram_and_the_doorbells(firmware_dir: Path) -> None:
    with left_running("mi350x", firmware_dir) as one:
        before = {place: one.transport.read_block(0, place, 1 << 16) for place in range(0, 1 << 22, 1 << 16)}
        doorbells = one.get("GC[2].CP_MEC_DOORBELL_RANGE_LOWER"), one.get("GC[2].CP_MEC_DOORBELL_RANGE_UPPER")
        one.target.queue_reset_kiq(user_queues(one.target)[0])
        changed = [place for place, data in before.items() if one.transport.read_block(0, place, 1 << 16) != data]
        assert changed == []
        assert (
            one.get("GC[2].CP_MEC_DOORBELL_RANGE_LOWER"),
            one.get("GC[2].CP_MEC_DOORBELL_RANGE_UPPER"),
        ) == doorbells


def test_dequeue_waits_for_waves_and_says_when_they_do_not_end(firmware_dir: Path) -> None:
    with left_running("mi350x", firmware_dir, waves=True) as one:
        (mine,) = user_queues(one.target)
        with pytest.raises(WaitTimeout, match="dequeuing XCC 2 me 1 pipe 0 queue 0") as caught:
            one.target.dequeue(mine)
        assert "CP_HQD_ACTIVE" in caught.value.where
        one.target.wave_kill(2, 8)
        one.target.dequeue(mine)
        assert user_queues(one.target) == []


def test_wave_kill_of_another_vmid_kills_nothing(firmware_dir: Path) -> None:
    with left_running("mi350x", firmware_dir, waves=True) as one:
        one.target.wave_kill(2, 9)
        assert one.get("GC[2].SPI_CSQ_WF_ACTIVE_STATUS") == 1
        one.target.wave_kill(2, 8)
        assert one.get("GC[2].SPI_CSQ_WF_ACTIVE_STATUS") == 0


# ---- what hangs and what lies


@pytest.mark.parametrize(
    ("mechanism", "fault"), [("queue-mmio", "queue"), ("queue-kiq", "queue"), ("pipe", "pipe"), ("mec", "mec")]
)
def test_mechanism_that_hangs_is_told_in_time(mechanism: str, fault: str, firmware_dir: Path) -> None:
    with left_running(f"mi350x?fault=reset-hangs:{fault}", firmware_dir, waves=True) as one:
        (mine,) = user_queues(one.target)
        started = one.clock.now()
        with pytest.raises(WaitTimeout) as caught:
            MECHANISMS[mechanism](one.target, mine)
        assert one.clock.now() - started < 0.35
        assert "GC[2]" in caught.value.where
        assert caught.value.next_step


@pytest.mark.parametrize(
    ("mechanism", "fault"), [("queue-mmio", "queue"), ("queue-kiq", "queue"), ("pipe", "pipe"), ("mec", "mec")]
)
def test_mechanism_that_lies_is_found_out_by_what_stays(mechanism: str, fault: str, firmware_dir: Path) -> None:
    with left_running(f"mi350x?fault=reset-lies:{fault}", firmware_dir, waves=True) as one:
        (mine,) = user_queues(one.target)
        with pytest.raises(WaitTimeout):
            MECHANISMS[mechanism](one.target, mine)


# ---- sick states


@BOTH
def test_mec_hang_is_seen_and_ended_by_a_mec_reset(part: str) -> None:
    with rig(f"{part}?fault=mec-hang:3") as one:
        (stuck,) = one.target.stuck_engines().mecs
        assert (stuck.xcc, stuck.me, stuck.pointer) == (3, 1, 0xB2C)
        (hqd,) = one.target.active_queues()
        with pytest.raises(WaitTimeout):
            one.target.queue_reset_mmio(hqd)
        one.target.mec_reset(3)
        assert not one.target.stuck_engines()


def test_mec_hang_stays_where_the_reset_of_the_mec_lies() -> None:
    with rig("mi350x?fault=mec-hang:3,reset-lies:mec") as one:
        with pytest.raises(WaitTimeout) as caught:
            one.target.mec_reset(3)
        assert "GC[3].CP_" in caught.value.where
        assert one.target.stuck_engines().mecs


@BOTH
def test_sdma_hang_is_seen_and_ended_by_the_smu(part: str) -> None:
    with rig(f"{part}?fault=sdma-hang:5") as one:
        (stuck,) = one.target.stuck_engines().sdmas
        assert (stuck.engine, stuck.rings) == (5, (("GFX", 0x400, 0x480),))
        one.target.sdma_reset(5)
        assert not one.target.stuck_engines()


def test_sdma_reset_that_lies_is_found_by_its_mark() -> None:
    with rig("mi350x?fault=sdma-hang:5,reset-lies:sdma-engine") as one, pytest.raises(GpumendError) as caught:
        one.target.sdma_reset(5)
    assert "SDMA_RLC7_RB_BASE" in caught.value.where
    assert "the SMU said yes" in caught.value.seen


def test_sdma_reset_that_hangs_is_told_by_the_smu() -> None:
    with rig("mi350x?fault=sdma-hang:5,reset-hangs:sdma-engine") as one:
        started = one.clock.now()
        with pytest.raises(SmuSilent, match="ResetSDMA"):
            one.target.sdma_reset(5)
        assert one.clock.now() - started < 2.1


@BOTH
@EACH
def test_page_fault_comes_again_until_its_queue_is_gone(part: str, mechanism: str) -> None:
    with rig(f"{part}?fault=page-fault:8") as one:
        (fault,) = one.target.stuck_engines().faults
        assert (fault.hub, fault.vmid, fault.address, fault.write, fault.client_name) == (
            "GC[0]", 8, 0x7F3A_1C40_0000, True, "TCP"
        )  # fmt: skip
        with pytest.raises(GpumendError, match="came again"):
            one.target.clear_fault("GC[0]")
        (hqd,) = one.target.active_queues()
        if mechanism == "queue-kiq":
            with pytest.raises(UsageError, match="no doorbell"):
                one.target.queue_reset_kiq(hqd)
            return
        MECHANISMS[mechanism](one.target, hqd)
        one.target.clear_fault("GC[0]")
        assert not one.target.stuck_engines()


def test_page_fault_shows_that_a_queue_reset_lied() -> None:
    with rig("mi350x?fault=page-fault:8,reset-lies:queue") as one:
        one.target.queue_reset_mmio(one.target.active_queues()[0])
        with pytest.raises(GpumendError, match="came again"):
            one.target.clear_fault("GC[0]")


# ---- wrong arguments


def test_wrong_places_are_refused_before_anything_is_written() -> None:
    with rig("mi350x") as one:
        for act in (
            lambda: one.target.wave_kill(0, 0),
            lambda: one.target.pipe_reset(0, 2, 2),
            lambda: one.target.pipe_reset(0, 3, 0),
            lambda: one.target.dequeue(Hqd(0, 1, 4, 0)),
            lambda: one.target.queue_reset_mmio(Hqd(0, 1, 0, 8)),
            lambda: one.target.clear_fault("GC[9]"),
            lambda: one.target.plant_mark("pipe"),
        ):
            with pytest.raises(UsageError):
                act()
