"""GFX: what is written to bring up the XCCs and to leave them, and what happens when one of them does not answer."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from amdriver import mqd
from amdriver.gfx import Gfx
from amdriver.ring import QueueStuck
from base.errors import DeviceLost, Unavailable, WaitTimeout
from registers.amd.gc_9_4_3 import Gc
from registers.amd.structs_mqd import v9_mqd
from tests.unit.queue_fake import Fake, Mec, gc_bases, ip_map

HALT = 0x503F_0010  # what the stock driver writes (amdgpu-on-model.md item 58)


def made(fake: Fake | None = None) -> tuple[Fake, Gfx, list[Mec]]:
    fake = fake or Fake()
    mecs = [Mec(fake, ip.instance, position) for position, ip in enumerate(fake.ip.active("GC"))]
    gfx = Gfx(fake.gpu, fake.gmc)
    gfx.sw_init()
    return fake, gfx, mecs


def started(fake: Fake | None = None) -> tuple[Fake, Gfx, list[Mec]]:
    fake, gfx, mecs = made(fake)
    gfx.hw_init()
    return fake, gfx, mecs


def accesses(fake: Fake, xcc: int) -> list[tuple[str, str, int]]:
    """(R or W, register, value) of one XCC, in order."""
    names = {4 * (gc_bases(xcc)[item.seg] + item.offset): name for name, item in Gc.REGISTERS.items()}
    return [(verb, names[offset], value) for verb, _, offset, value in fake.transport.log if offset in names]


def writes(fake: Fake, xcc: int) -> list[tuple[str, int]]:
    return [(name, value) for verb, name, value in accesses(fake, xcc) if verb == "W"]


def last(fake: Fake, xcc: int, name: str) -> int:
    return [value for one, value in writes(fake, xcc) if one == name][-1]


# --- sw_init ----------------------------------------------------------------------------------------------------------


def test_sw_init_touches_no_register_and_takes_unmapped_vram_only() -> None:
    fake, _, _ = made()
    assert fake.transport.log == []
    assert [(one.where, one.size) for one in fake.gmc.live] == [("block", 8 * 16384)]


@pytest.mark.parametrize("version", [(9, 4, 2), (11, 0, 0)])
def test_unknown_version_is_refused_before_anything_is_allocated(version: Any) -> None:
    fake = Fake(ip=ip_map(gc=version))
    with pytest.raises(Unavailable, match=r"XCCs of version 9\.4\.3, 9\.4\.4, 9\.5\.0"):
        Gfx(fake.gpu, fake.gmc).sw_init()
    assert fake.gmc.live == []


def test_gpu_without_xccs_is_refused() -> None:
    fake = Fake(ip=ip_map(xccs=()))
    with pytest.raises(Unavailable, match="no XCC in the discovery table"):
        Gfx(fake.gpu, fake.gmc).sw_init()


# --- hw_init ----------------------------------------------------------------------------------------------------------


def test_hw_init_writes_an_xcc_in_this_order() -> None:
    fake, gfx, _ = started()
    kiq = gfx.kiqs[2].layout
    select = 2 << 2 | 1  # me 2, pipe 1, queue 0
    assert writes(fake, 2) == [
        ("GB_ADDR_CONFIG", 0x2A11_4042),
        ("TCP_UTCL1_CNTL2", 1),
        ("RLC_SPM_MC_CNTL", 0xF),
        ("GRBM_GFX_CNTL", 0),
        ("SH_MEM_CONFIG", 0x1018),
        ("SH_MEM_BASES", 0),
        ("GRBM_GFX_CNTL", 8 << 4),
        ("SH_MEM_CONFIG", 0x1118),
        ("SH_MEM_BASES", 0x10002),
        ("GRBM_GFX_CNTL", 0),
        ("RLC_SAFE_MODE", 3),
        ("RLC_CGCG_CGLS_CTRL", 0),
        ("RLC_SRM_CNTL", 1),
        ("RLC_SAFE_MODE", 1),
        ("CP_MEC_CNTL", HALT),
        ("CP_MEC_DOORBELL_RANGE_LOWER", 0x200),
        ("CP_MEC_DOORBELL_RANGE_UPPER", 0x2F8),
        ("RLC_CP_SCHEDULERS", 0xC8),
        ("GRBM_GFX_CNTL", select),
        ("CP_PQ_WPTR_POLL_CNTL", 0),
        ("CP_HQD_EOP_BASE_ADDR", kiq.eop >> 8 & 0xFFFF_FFFF),
        ("CP_HQD_EOP_BASE_ADDR_HI", kiq.eop >> 40),
        ("CP_HQD_EOP_CONTROL", 9),
        ("CP_MQD_BASE_ADDR", kiq.mqd & 0xFFFF_FFFF),
        ("CP_MQD_BASE_ADDR_HI", 0x80),
        ("CP_MQD_CONTROL", 0x100),
        ("CP_HQD_PQ_BASE", kiq.ring >> 8 & 0xFFFF_FFFF),
        ("CP_HQD_PQ_BASE_HI", 0),
        ("CP_HQD_PQ_CONTROL", 0xC000_0509),
        ("CP_HQD_PQ_RPTR_REPORT_ADDR", kiq.rptr & 0xFFFF_FFFF),
        ("CP_HQD_PQ_RPTR_REPORT_ADDR_HI", 0x80),
        ("CP_HQD_PQ_WPTR_POLL_ADDR", kiq.wptr & 0xFFFF_FFFF),
        ("CP_HQD_PQ_WPTR_POLL_ADDR_HI", 0x80),
        ("CP_HQD_IB_CONTROL", 0x0030_0000),
        ("CP_HQD_QUANTUM", 0x111),
        ("CP_HQD_PQ_RPTR", 0),
        ("CP_HQD_PQ_WPTR_LO", 0),
        ("CP_HQD_PQ_WPTR_HI", 0),
        ("CP_HQD_VMID", 0),
        ("CP_HQD_PERSISTENT_STATE", 0x0BE0_5301),
        ("CP_HQD_PQ_DOORBELL_CONTROL", 1 << 30 | 2 * 0x40 << 2),
        ("CP_HQD_ACTIVE", 1),
        ("GRBM_GFX_CNTL", 0),
        ("CP_PQ_STATUS", 2),
        ("CP_MEC_CNTL", 0),
        ("SCRATCH_REG0", 0xCAFE_DEAD),
    ]


def test_hw_init_of_eight_xccs_stays_within_its_share_of_accesses() -> None:
    fake, _, _ = started()
    assert fake.transport.count("W") == 8 * 46
    # RLC_CNTL once; TCP_UTCL1_CNTL2, RLC_SAFE_MODE, RLC_SRM_CNTL, RLC_CP_SCHEDULERS, CP_HQD_ACTIVE, SCRATCH_REG0 each
    assert fake.transport.count("R") == 1 + 8 * 6
    assert fake.transport.count("D") == 8
    assert fake.gmc.flushes == 1


def test_shader_memory_of_gc_9_5_0_has_no_f8_mode() -> None:
    fake = Fake(ip=ip_map(gc=(9, 5, 0)))
    started(fake)
    assert [value for name, value in writes(fake, 0) if name == "SH_MEM_CONFIG"] == [0x1018, 0x1018]


def test_kiq_gets_the_queues_of_mec_1_and_answers() -> None:
    _, _, mecs = started()
    assert all(mec.packets[0][0] == 0xA0 for mec in mecs)
    assert mecs[3].packets[0][1]["queue_mask"] == 0xFFFF_FFFF
    assert mecs[3].register(Gc.SCRATCH_REG0) == 0xDEAD_BEEF


def test_kiq_memory_holds_the_mqd_that_the_registers_were_written_from() -> None:
    fake, gfx, _ = started()
    layout = gfx.kiqs[1].layout
    (block,) = (one for one in fake.gmc.live if one.where == "block")
    stored = v9_mqd.from_buffer_copy(block.read(layout.mqd - block.mc_addr, 2048))
    assert stored.header == 0xC031_0800
    assert stored.cp_hqd_pq_control == last(fake, 1, "CP_HQD_PQ_CONTROL")
    assert stored.cp_mqd_base_addr_lo | stored.cp_mqd_base_addr_hi << 32 == layout.mqd
    assert stored.compute_static_thread_mgmt_se3 == 0xFFFF_FFFF


def test_harvested_xccs_are_left_out_and_doorbells_count_those_that_are_there() -> None:
    fake = Fake(ip=ip_map(xccs=(0, 2, 5)))
    _, gfx, _ = started(fake)
    assert gfx.xccs == (0, 2, 5)
    assert accesses(fake, 1) == []
    assert [kiq.doorbell for kiq in gfx.kiqs] == [0, 0x20, 0x40]
    assert last(fake, 5, "CP_MEC_DOORBELL_RANGE_LOWER") == 0x200


def test_rlc_scheduler_register_keeps_its_upper_bits() -> None:
    fake, gfx, _ = made()
    fake.transport.registers[4 * (gc_bases(0)[1] + 0xCAA)] = 0
    offset = 4 * fake.gpu.block(Gc, "GC", 0).address_of(Gc.RLC_CP_SCHEDULERS)
    fake.transport.registers[offset] = 0x1234_56FF
    gfx.hw_init()
    assert last(fake, 0, "RLC_CP_SCHEDULERS") == 0x1234_56C8


def test_hw_init_without_rlc_firmware_is_refused_and_names_the_register() -> None:
    fake, gfx, mecs = made()
    fake.transport.registers[4 * mecs[0].gc.address_of(Gc.RLC_CNTL)] = 0
    with pytest.raises(Unavailable, match="resuming the RLC") as caught:
        gfx.hw_init()
    assert "RLC_CNTL @ BAR5" in caught.value.where
    assert "RLC_SAFE_MODE" not in [name for name, _ in writes(fake, 0)]


def test_rlc_that_does_not_enter_safe_mode_is_named_in_bounded_time_and_all_leave_it() -> None:
    fake, gfx, mecs = made()
    mecs[4].safe_mode_stuck = True
    with pytest.raises(WaitTimeout, match="entering the RLC's safe mode") as caught:
        gfx.hw_init()
    assert "GC[4].RLC_SAFE_MODE @ BAR5" in caught.value.where
    assert fake.clock.now() < 0.12
    assert [last(fake, xcc, "RLC_SAFE_MODE") for xcc in range(8)] == [1] * 8
    assert "RLC_CGCG_CGLS_CTRL" not in [name for name, _ in writes(fake, 4)]


def test_kiq_left_by_another_driver_is_dequeued_first() -> None:
    fake, gfx, mecs = made()
    mecs[0].hqd[9, 4 * mecs[0].gc.address_of(Gc.CP_HQD_ACTIVE)] = 1
    gfx.hw_init()
    assert ("CP_HQD_DEQUEUE_REQUEST", 1) in writes(fake, 0)
    assert ("CP_HQD_DEQUEUE_REQUEST", 1) not in writes(fake, 1)


def test_kiq_left_by_another_driver_that_does_not_go_is_a_timeout_and_nothing_stays_selected() -> None:
    fake, gfx, mecs = made()
    mecs[0].hqd[9, 4 * mecs[0].gc.address_of(Gc.CP_HQD_ACTIVE)] = 1
    mecs[0].dequeue_stuck = True
    with pytest.raises(WaitTimeout, match="dequeuing KIQ of XCC 0") as caught:
        gfx.hw_init()
    assert "GC[0].CP_HQD_ACTIVE @ BAR5" in caught.value.where
    assert last(fake, 0, "GRBM_GFX_CNTL") == 0


def test_kiqs_that_do_not_answer_are_all_named_in_the_time_of_one() -> None:
    fake, gfx, mecs = made()
    mecs[1].kiq_dead = mecs[6].kiq_dead = True
    with pytest.raises(QueueStuck, match="starting the KIQs") as caught:
        gfx.hw_init()
    assert fake.clock.now() < 0.12
    text = str(caught.value)
    assert "GC[1].SCRATCH_REG0=0xdeadbeef within 0.1 s" in text
    assert "0xcafedead" in text
    assert "also: KIQ of XCC 6" in text
    assert caught.value.packet.startswith("SET_RESOURCES")
    assert any("GC[1].CP_HQD_ACTIVE=0x00000001" in one for one in caught.value.registers)
    assert "CP_MEC_CNTL @ BAR5" in caught.value.where
    assert last(fake, 1, "GRBM_GFX_CNTL") == 0


def test_hw_init_of_a_lost_device_ends_with_device_lost_and_gives_back_all() -> None:
    fake, gfx, _ = made()
    fake.transport.lost = True
    with pytest.raises(DeviceLost):
        gfx.hw_init()
    with pytest.raises(DeviceLost):
        gfx.hw_fini()
    gfx.sw_fini()
    assert fake.gmc.live == []


# --- hw_fini ----------------------------------------------------------------------------------------------------------


def test_hw_fini_leaves_each_xcc_as_the_kernel_does() -> None:
    fake, gfx, _ = started()
    fake.transport.log.clear()
    gfx.hw_fini()
    assert writes(fake, 3) == [
        ("GRBM_GFX_CNTL", 9),
        ("CP_HQD_DEQUEUE_REQUEST", 1),
        ("CP_HQD_DEQUEUE_REQUEST", 0),
        ("CP_HQD_IQ_TIMER", 0),
        ("CP_HQD_IB_CONTROL", 0),
        ("CP_HQD_PERSISTENT_STATE", 0x0BE0_5301),
        ("CP_HQD_PQ_DOORBELL_CONTROL", 0x4000_0000),
        ("CP_HQD_PQ_DOORBELL_CONTROL", 0),
        ("CP_HQD_PQ_RPTR", 0),
        ("CP_HQD_PQ_WPTR_HI", 0),
        ("CP_HQD_PQ_WPTR_LO", 0),
        ("GRBM_GFX_CNTL", 0),
        ("CP_MEC_CNTL", HALT),
    ]


def test_hw_fini_unmaps_the_users_queues_by_the_kiq() -> None:
    fake, gfx, mecs = started()
    gfx.create_queue(1)
    gfx.create_queue()
    gfx.hw_fini()
    gfx.sw_fini()
    assert [op for op, _ in mecs[1].packets] == [0xA0, 0xA2, 0xA2, 0xA3, 0xA3]
    assert all(mec.mapped == {} for mec in mecs)
    assert fake.gmc.live == []


def test_hw_fini_with_a_dead_kiq_goes_on_to_the_end_in_bounded_time() -> None:
    fake, gfx, mecs = started()
    gfx.create_queue(0)
    mecs[0].kiq_dead = mecs[0].dequeue_stuck = True
    with pytest.raises(QueueStuck, match="unmapping all queues"):
        gfx.hw_fini()
    assert fake.clock.now() < 0.25
    assert ("CP_HQD_ACTIVE", 0) in writes(fake, 0)
    assert [last(fake, xcc, "CP_MEC_CNTL") for xcc in range(8)] == [HALT] * 8
    gfx.sw_fini()
    assert fake.gmc.live == []


def test_started_again_after_hw_fini_all_works() -> None:
    _, gfx, mecs = started()
    gfx.hw_fini()
    for mec in mecs:
        mec.rptr.clear()
    gfx.hw_init()
    gfx.create_queue(7)
    assert mecs[7].packets[-1][0] == 0xA2


def test_stop_left_queues_kills_what_is_active_and_names_it() -> None:
    fake, gfx, mecs = made()
    active = 4 * mecs[2].gc.address_of(Gc.CP_HQD_ACTIVE)
    mecs[2].hqd[1 << 2 | 3 | 1 << 8, active] = 1  # me 1, pipe 3, queue 1
    assert gfx.stop_left_queues() == ["XCC 2 me 1 pipe 3 queue 1"]
    assert mecs[2].active(1, 3, 1) == 0
    assert ("SPI_COMPUTE_QUEUE_RESET", 1) in writes(fake, 2)
    assert all(last(fake, xcc, "GRBM_GFX_CNTL") == 0 for xcc in range(8))


@pytest.mark.parametrize("answers", [True, False])
def test_stop_left_queues_works_in_the_safe_mode_of_an_rlc_that_runs(answers: bool) -> None:
    fake, gfx, mecs = made()
    gc = mecs[2].gc
    if not answers:  # CMD stays up
        fake.transport.on_write[4 * gc.address_of(Gc.RLC_SAFE_MODE)] = lambda value: None
    mecs[2].hqd[1 << 2, 4 * gc.address_of(Gc.CP_HQD_ACTIVE)] = 1
    assert gfx.stop_left_queues() == ["XCC 2 me 1 pipe 0 queue 0"]
    names = [name for name, _ in writes(fake, 2)]
    asked = [value for name, value in writes(fake, 2) if name == "RLC_SAFE_MODE"]
    assert asked == [0b11, 0b01]
    first = names.index("RLC_SAFE_MODE")
    assert first < names.index("CP_HQD_DEQUEUE_REQUEST") < names.index("RLC_SAFE_MODE", first + 1)
    assert not [name for xcc in (0, 1, 3) for name, _ in writes(fake, xcc) if name == "RLC_SAFE_MODE"]


def test_stop_left_queues_asks_no_rlc_that_does_not_run() -> None:
    fake, gfx, mecs = made()
    fake.transport.registers[4 * mecs[2].gc.address_of(Gc.RLC_CNTL)] = 0
    mecs[2].hqd[1 << 2, 4 * mecs[2].gc.address_of(Gc.CP_HQD_ACTIVE)] = 1
    assert gfx.stop_left_queues() == ["XCC 2 me 1 pipe 0 queue 0"]
    assert "RLC_SAFE_MODE" not in [name for name, _ in writes(fake, 2)]


# --- MQD --------------------------------------------------------------------------------------------------------------


def layout(**changes: Any) -> mqd.QueueLayout:
    values: dict[str, Any] = {
        "mqd": 0x80_0001_0000, "ring": 0x12_3456_0000, "ring_bytes": 1 << 16, "rptr": 0x12_3457_0000,
        "wptr": 0x12_3457_0040, "eop": 0x12_3458_0000, "doorbell": 0x2B, "vmid": 8,
    }  # fmt: skip
    return mqd.QueueLayout(**values | changes)


def test_mqd_of_a_pm4_queue_by_dword() -> None:
    words = struct.unpack("<516I", bytes(mqd.build(layout())))
    shown = {at: word for at, word in enumerate(words) if word}
    assert shown == {
        0: 0xC031_0800, 11: 1, 23: 0xFFFF_FFFF, 24: 0xFFFF_FFFF, 26: 0xFFFF_FFFF, 27: 0xFFFF_FFFF, 32: 3,
        126: 0x0001_0808, 127: 0x80, 128: 0x0001_0000, 129: 0x80, 131: 8, 132: 0x5301, 135: 0x111,
        136: 0x1234_5600, 139: 0x3457_0000, 140: 0x12, 141: 0x3457_0040, 142: 0x12, 143: 1 << 30 | 0x56 << 2,
        145: 1 << 28 | 5 << 8 | 13, 149: 3 << 20, 160: 1 << 14, 162: 0x100, 165: 0x1234_5800, 167: 9,
        514: 0xFFFF_FFFF, 515: 0xFFFF_FFFF,
    }  # fmt: skip


def test_mqd_of_an_aql_queue_on_its_second_xcc() -> None:
    words = struct.unpack("<516I", bytes(mqd.build(layout(aql=True, xcc_count=8).step(1))))
    assert words[128] == 0x0001_1000
    assert (words[39], words[41], words[181], words[226]) == (1, 1, 1, 4096)
    assert words[143] == 1 << 30 | 0x56 << 2 | 2
    # slot based, full enable, clamp, no read pointer from the second XCC on
    assert words[145] == 1 << 28 | 1 << 27 | 2 << 25 | 1 << 16 | 1 << 14 | 5 << 8 | 13


def test_mqd_of_an_aql_queue_lets_the_first_xcc_report_the_read_pointer() -> None:
    words = struct.unpack("<516I", bytes(mqd.build(layout(aql=True, xcc_count=8))))
    assert words[145] >> 27 & 1 == 0
