"""The compute front end: RLC, MEC, doorbells, KIQ, and what a HIQ's run list does."""

from __future__ import annotations

import struct

import pytest

from gpumodel.dispatch import Code, Operation, program
from gpumodel.queues import Slot
from tests.engine_rig import (
    KIQ,
    KIQ_MARK,
    ME1_QUEUE0,
    MEC_FIRMWARE,
    RLC_FIRMWARE,
    Queue,
    Rig,
    dispatch,
    low_high,
    pm4,
    release_mem,
    scratch,
    wait_memory,
    write_data,
)

HERE = 0x4000
SIGNAL = 0x5000
MQD = 0x50_0000
KIQ_DOORBELL = 0
RING = 0x60_0000
WPTR = 0xB000
QUEUE_MASK = 0x03030303


def kiq(rig: Rig, xcc: int = 0) -> Queue:
    rig.set(f"GC[{xcc}].RLC_CP_SCHEDULERS", KIQ_MARK)
    queue = Queue(rig, xcc=xcc, select=KIQ, doorbell=KIQ_DOORBELL + 0x40 * xcc, vmid=0, rptr_report=0)
    return queue.open()


def mqd(rig: Rig, address: int, **fields: int) -> None:
    """Dwords by number, as d128=...; the rest of a plain ring."""
    words = [0] * 512
    words[0] = 0xC0310800
    values = {136: RING >> 8, 139: 0x8800, 143: 0, 145: 9, 131: 0}
    values.update({int(name[1:]): value for name, value in fields.items()})
    for place, value in values.items():
        words[place] = value
    rig.memory.data.write(address, struct.pack("<512I", *words))


def set_resources(mask: int = QUEUE_MASK) -> tuple[int, ...]:
    return pm4(0xA0, 0, *low_high(mask), 0, 0, 0, 0)


def map_queues(doorbell: int, address: int = MQD, *, pipe: int = 1, queue: int = 1, wptr: int = 0) -> tuple[int, ...]:
    control = queue << 13 | pipe << 16 | 1 << 29
    return pm4(0xA2, control, doorbell << 2, *low_high(address), *low_high(wptr))


def unmap_queues(doorbell: int, action: int = 0, *, select: int = 0) -> tuple[int, ...]:
    return pm4(0xA3, action | select << 4 | 1 << 29, doorbell << 2, 0, 0, 0)


MAPPED = Slot(0, 1, 1, 1)


@pytest.mark.parametrize("message", [0, 1, 3])
def test_safe_mode_command_falls_after_a_while(message: int) -> None:
    rig = Rig()
    rig.set("GC[4].RLC_SAFE_MODE", 1 | message << 1)
    assert rig.reg("GC[4].RLC_SAFE_MODE") & 1 == 1
    rig.run()
    assert rig.reg("GC[4].RLC_SAFE_MODE") == message << 1
    assert rig.reg("GC[3].RLC_SAFE_MODE") == 0


@pytest.mark.parametrize("cause", ["stuck", "no-firmware", "stopped"])
def test_safe_mode_command_stays(cause: str) -> None:
    rig = Rig()
    if cause == "stuck":
        rig.gpu.gfx.rlc_stuck = True
    elif cause == "no-firmware":
        rig.gpu.psp.loaded.discard(RLC_FIRMWARE)
    else:
        rig.set("GC[0].RLC_CNTL", 0)
    rig.set("GC[0].RLC_SAFE_MODE", 3)
    rig.run(1.0)
    assert rig.reg("GC[0].RLC_SAFE_MODE") == 3


def test_rlc_runs_once_its_firmware_is_loaded_and_until_it_is_stopped() -> None:
    rig = Rig("mi350x?state=cold")
    rig.gpu.psp.loaded.clear()
    assert rig.reg("GC[2].RLC_CNTL") == 0
    rig.gpu.psp.loaded.add(RLC_FIRMWARE)
    assert rig.reg("GC[2].RLC_CNTL") == 1
    rig.set("GC[2].RLC_CNTL", 0)
    assert rig.reg("GC[2].RLC_CNTL") == 0


def test_clock_is_captured_at_100_mhz() -> None:
    rig = Rig()
    counts = []
    for _ in range(2):
        rig.set("GC[0].RLC_CAPTURE_GPU_CLOCK_COUNT", 1)
        counts.append(rig.reg("GC[0].RLC_GPU_CLOCK_COUNT_LSB") | rig.reg("GC[0].RLC_GPU_CLOCK_COUNT_MSB") << 32)
        rig.clock.sleep(100)
    assert counts[1] - counts[0] == 100 * 100_000_000
    assert rig.reg("GC[0].RLC_GPU_CLOCK_COUNT_MSB") == counts[1] >> 32


def test_queue_registers_are_banked_and_memory_apertures_by_vmid() -> None:
    rig = Rig()
    for select, value in ((1 << 2, 1), (2 << 2 | 1, 2), (1 << 2 | 3 << 8, 3)):
        with rig.selected(select):
            rig.set("GC[0].CP_HQD_PQ_BASE", value)
    for vmid in (8, 9):
        with rig.selected(vmid << 4):
            rig.set("GC[0].SH_MEM_BASES", vmid)
    for select, value in ((1 << 2, 1), (2 << 2 | 1, 2), (1 << 2 | 3 << 8, 3), (1 << 2 | 7 << 4, 1), (0, 0)):
        with rig.selected(select):
            assert rig.reg("GC[0].CP_HQD_PQ_BASE") == value
    with rig.selected(9 << 4):
        assert rig.reg("GC[0].SH_MEM_BASES") == 9
    assert rig.reg("GC[1].CP_HQD_PQ_BASE") == 0


@pytest.mark.parametrize("missing", MEC_FIRMWARE)
def test_queue_does_not_run_without_firmware(missing: int) -> None:
    rig = Rig()
    rig.gpu.psp.loaded.discard(missing)
    Queue(rig).open().submit(write_data(HERE, 1))
    assert rig.get(HERE) == 0


def test_halted_engine_runs_its_queues_when_it_is_let_go() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    rig.set("GC[0].CP_MEC_CNTL", 1 << 30)
    queue.submit(write_data(HERE, 1))
    assert rig.get(HERE) == 0
    rig.set("GC[0].CP_MEC_CNTL", 0)
    rig.run()
    assert rig.get(HERE) == 1


def test_halt_of_the_other_engine_does_not_matter() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    rig.set("GC[0].CP_MEC_CNTL", 1 << 28)
    queue.submit(write_data(HERE, 1))
    assert rig.get(HERE) == 1


def test_queue_set_up_under_reset_runs_afterwards() -> None:
    """gfx_v9_4_3_xcc_cp_resume: halt and reset all pipes, set up the KIQ, then let go."""
    rig = Rig()
    rig.set("GC[0].CP_MEC_CNTL", 0x503F0010)
    queue = Queue(rig)
    with rig.selected(queue.select):
        for name, value in {
            "CP_HQD_PQ_BASE": queue.base >> 8,
            "CP_HQD_PQ_CONTROL": 9,
            "CP_HQD_PQ_DOORBELL_CONTROL": 0x10 << 2 | 1 << 30,
            "CP_HQD_ACTIVE": 1,
        }.items():
            rig.set(f"GC[0].{name}", value)
    rig.open_doorbells()
    queue.submit(write_data(HERE, 1))
    assert rig.get(HERE) == 1


@pytest.mark.parametrize(("register", "value"), [("CP_PQ_STATUS", 0), ("CP_MEC_DOORBELL_RANGE_UPPER", 0)])
def test_doorbell_needs_its_switches(register: str, value: int) -> None:
    rig = Rig()
    queue = Queue(rig).open()
    rig.set(f"GC[0].{register}", value)
    queue.submit(write_data(HERE, 1))
    assert rig.get(HERE) == 0
    assert "doorbell while CP_PQ_STATUS or the MEC range has doorbells off" in rig.gpu.wrongs[0]


def test_doorbells_are_on_where_nobody_switched_them() -> None:
    """tinygrad never writes CP_PQ_STATUS."""
    rig = Rig("mi350x?state=cold")
    assert rig.reg("GC[5].CP_PQ_STATUS") == 2


def test_hqd_registers_have_no_hole_that_the_kernel_would_write_into() -> None:
    """kgd_gfx_v9_hqd_load writes all dwords from CP_MQD_BASE_ADDR to CP_HQD_PQ_WPTR_HI, for the selected queue."""
    rig = Rig()
    layout = rig.gpu.registers.layout
    first, last = (layout.address(f"GC[3].{name}") for name in ("CP_MQD_BASE_ADDR", "CP_HQD_PQ_WPTR_HI"))
    assert [address for address in range(first, last + 1) if address not in layout.entries] == []
    hole = layout.address("GC[3].CP_HQD_RESERVED_144")
    with rig.selected(ME1_QUEUE0, 3):
        rig.gpu.registers.write(hole, 7)
    assert rig.gpu.registers.read(hole) == 0


def test_doorbell_that_is_off_or_foreign_reaches_nobody() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    assert not rig.gpu.gfx.doorbell(queue.doorbell + 2, 8)
    queue.set("CP_HQD_PQ_DOORBELL_CONTROL", queue.doorbell << 2)
    assert not rig.gpu.gfx.doorbell(queue.doorbell, 8)


def test_write_pointer_register_starts_a_queue_too() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    rig.put(queue.base, *write_data(HERE, 1))
    queue.set("CP_HQD_PQ_WPTR_LO", 5)
    rig.run()
    assert rig.get(HERE) == 1


def test_idle_queue_is_dequeued_and_can_come_back() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    queue.submit(write_data(HERE, 1))
    queue.set("CP_HQD_DEQUEUE_REQUEST", 1)
    assert queue.reg("CP_HQD_ACTIVE") == 1
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 0
    queue.set("CP_HQD_DEQUEUE_REQUEST", 0)
    again = Queue(rig, rptr_report=0).open()
    again.submit(write_data(HERE + 4, 2))
    assert rig.get(HERE + 4) == 2


def test_wait_that_is_preemptable_is_dequeued_others_are_not() -> None:
    for operation, active in ((3, 0), (0, 1)):
        rig = Rig()
        queue = Queue(rig).open()
        queue.submit(wait_memory(SIGNAL, 5, operation=operation))
        queue.set("CP_HQD_DEQUEUE_REQUEST", 1)
        rig.run()
        assert queue.reg("CP_HQD_ACTIVE") == active


def test_halted_engine_dequeues_nothing() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    rig.set("GC[0].CP_MEC_CNTL", 1 << 30)
    queue.set("CP_HQD_DEQUEUE_REQUEST", 1)
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 1


def test_hung_engine_runs_nothing_until_all_its_pipes_are_reset() -> None:
    rig = Rig("mi350x?fault=mec-hang:2")
    queue = Queue(rig, xcc=2, rptr_report=0, select=1 << 2 | 1).open()
    queue.submit(write_data(HERE, 1))
    assert rig.get(HERE) == 0
    rig.set("GC[2].CP_MEC_CNTL", 0x503F0010)
    rig.set("GC[2].CP_MEC_CNTL", 0)
    assert rig.reg("GC[2].GRBM_STATUS") == 0x3008
    assert rig.reg("GC[2].CP_CPC_STATUS") == 0
    Queue(rig, xcc=2, rptr_report=0).open().submit(write_data(HERE, 1))
    assert rig.get(HERE) == 1


# KIQ.


@pytest.mark.parametrize("xcc", [0, 5])
def test_kiq_maps_a_queue_from_its_mqd(xcc: int) -> None:
    rig = Rig()
    control = kiq(rig, xcc)
    mqd(rig, MQD)
    doorbell = 0x12 + 0x40 * xcc
    control.submit(set_resources(), map_queues(doorbell), scratch(0xDEADBEEF))
    assert rig.reg(f"GC[{xcc}].SCRATCH_REG0") == 0xDEADBEEF
    mapped = Queue(rig, xcc=xcc, select=MAPPED.select, base=RING, doorbell=doorbell)
    assert mapped.reg("CP_HQD_ACTIVE") == 1
    assert mapped.reg("CP_MQD_BASE_ADDR") == MQD
    mapped.submit(write_data(HERE, 1))
    assert rig.get(HERE) == 1
    assert rig.get(0x8800) == 5
    assert rig.gpu.wrongs == []


def test_kiq_starts_a_queue_at_the_write_pointer_in_memory() -> None:
    rig = Rig()
    mqd(rig, MQD)
    rig.put(RING, *write_data(HERE, 1))
    rig.put(WPTR, 5)
    kiq(rig).submit(map_queues(0x12, wptr=WPTR))
    assert rig.get(HERE) == 1


def test_kiq_write_pointer_that_cannot_be_read_stops_the_queue() -> None:
    rig = Rig()
    mqd(rig, MQD)
    rig.memory.forbidden.append(range(WPTR, WPTR + 8))
    kiq(rig).submit(map_queues(0x12, wptr=WPTR))
    assert f"write pointer at {WPTR:#x}: no page" in rig.gpu.wrongs[0]


def test_kiq_dead_its_doorbell_does_nothing_others_work() -> None:
    rig = Rig()
    rig.gpu.gfx.kiq_dead = True
    kiq(rig).submit(scratch(1))
    assert rig.reg("GC[0].SCRATCH_REG0") == 0xDEADBEEF
    Queue(rig).open().submit(scratch(2))
    assert rig.reg("GC[0].SCRATCH_REG0") == 2


@pytest.mark.parametrize("action", [0, 1])
def test_kiq_unmaps_by_doorbell(action: int) -> None:
    rig = Rig()
    control = kiq(rig)
    mqd(rig, MQD)
    mapped = Queue(rig, select=MAPPED.select, base=RING, doorbell=0x12)
    control.submit(map_queues(0x12))
    mapped.submit(write_data(HERE, 1))
    control.submit(unmap_queues(0x12, action), scratch(3))
    assert mapped.reg("CP_HQD_ACTIVE") == 0
    assert rig.reg("GC[0].SCRATCH_REG0") == 3
    assert rig.get(MQD + 138 * 4) == (5 if action == 0 else 0)  # saved by pre-emption only
    control.submit(map_queues(0x12))
    mapped.wptr = 5 if action == 0 else 0
    mapped.submit(write_data(HERE + 4, 2))
    assert rig.get(HERE + 4) == 2


def test_kiq_unmap_of_a_stuck_queue_waits_reset_does_not() -> None:
    rig = Rig()
    control = kiq(rig)
    mqd(rig, MQD)
    control.submit(map_queues(0x12))
    mapped = Queue(rig, select=MAPPED.select, base=RING, doorbell=0x12)
    mapped.submit(wait_memory(SIGNAL, 1))
    control.submit(unmap_queues(0x12, 0), scratch(4))
    assert (mapped.reg("CP_HQD_ACTIVE"), rig.reg("GC[0].SCRATCH_REG0")) == (1, 0xDEADBEEF)
    rig.put(SIGNAL, 1)
    rig.run()
    assert (mapped.reg("CP_HQD_ACTIVE"), rig.reg("GC[0].SCRATCH_REG0")) == (0, 4)
    mqd(rig, MQD)
    control.submit(map_queues(0x12))
    mapped.wptr = 0
    mapped.submit(wait_memory(SIGNAL, 2))
    control.submit(unmap_queues(0x12, 1), scratch(5))
    assert (mapped.reg("CP_HQD_ACTIVE"), rig.reg("GC[0].SCRATCH_REG0")) == (0, 5)


@pytest.mark.parametrize("select", [1, 2, 3])
def test_kiq_unmap_of_others_never_hits_the_kiq(select: int) -> None:
    rig = Rig()
    control = kiq(rig)
    control.submit(unmap_queues(0, 1, select=select), scratch(6))
    assert rig.reg("GC[0].SCRATCH_REG0") == 6
    assert control.reg("CP_HQD_ACTIVE") == 1


def test_query_status_writes_64_bits() -> None:
    rig = Rig()
    kiq(rig).submit(pm4(0xA4, 2 << 30, 0, *low_high(HERE), 0x11, 0x22))
    assert rig.get64(HERE) == 0x22_0000_0011


def test_map_over_an_active_queue_is_recorded() -> None:
    rig = Rig()
    mqd(rig, MQD)
    kiq(rig).submit(map_queues(0x12), map_queues(0x14))
    assert "is mapped while it is active" in rig.gpu.wrongs[0]


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (pm4(0xA2, 4 << 26, 0, 0, 0, 0, 0), "MAP_QUEUES for engine 4"),
        (pm4(0xA4, 0, 0, 0, 0, 0, 0), "QUERY_STATUS command 0"),
        (pm4(0xA5, 0, 0, 4), "RUN_LIST without its valid bit"),
    ],
)
def test_bad_scheduler_packets_stop_the_kiq(packet: tuple[int, ...], text: str) -> None:
    rig = Rig()
    kiq(rig).submit(packet)
    assert text in rig.gpu.wrongs[0]


@pytest.mark.parametrize(("all_hubs", "count"), [(0, 1), (1, 5)])
def test_invalidate_tlbs_of_a_process_and_of_a_stranger(all_hubs: int, count: int) -> None:
    rig = Rig()
    control = hiq(rig)
    control.submit(run_list(rig, process(0x77, 1)))
    rig.memory.invalidated.clear()
    control.submit(pm4(0x98, 1 | all_hubs << 4 | 0x77 << 5))
    assert [mask for _, mask in rig.memory.invalidated] == [1 << 8] * count
    assert rig.memory.invalidated[0][0] == "GC[0]"
    rig.memory.invalidated.clear()
    control.submit(pm4(0x98, 1 | 0x99 << 5))
    assert rig.memory.invalidated == [("GC[0]", 0xFFFE)]


# A HIQ with a run list.

HIQ_DOORBELL = 0xC00
HIQ_RING = 0x70_0000
LIST = 0x71_0000
USER_RING = 0x72_0000


def hiq(rig: Rig, xccs: int = 1) -> Queue:
    """HIQs of all these XCCs share the ring and the doorbell."""
    for xcc in range(xccs):
        mqd(rig, MQD + 0x1000 * xcc, d136=HIQ_RING >> 8, d139=0)
        control = 1 << 18 | 1 << 26 | 1 << 29
        kiq(rig, xcc).submit(pm4(0xA2, control, HIQ_DOORBELL << 2, *low_high(MQD + 0x1000 * xcc), 0, 0))
    queue = Queue(rig, select=2 << 2, base=HIQ_RING, doorbell=HIQ_DOORBELL)
    queue.submit(pm4(0xA0, 0xFFF8 | 1 << 29, 0xFCFCFCFC, 0, 0, 0, 0, 0))
    return queue


def process(pasid: int, base: int) -> tuple[int, ...]:
    return pm4(0xA1, pasid, *low_high(base), 0x10002, 0x1018, *[0] * 15)


def run_list(rig: Rig, *packets: tuple[int, ...]) -> tuple[int, ...]:
    words = [word for packet in packets for word in packet]
    rig.put(LIST, *words)
    return pm4(0xA5, *low_high(LIST), len(words) | 1 << 23 | 1 << 24)


USER = 0x73_0000
USER_SLOT = 1 << 2 | 2 << 8  # the first that the scheduler hands out: me 1, pipe 0, queue 2


def user_queue(doorbell: int, address: int = USER) -> tuple[int, ...]:
    return pm4(0xA2, 1 << 4 | 1 << 29, doorbell << 2, *low_high(address), 0, 0)


@pytest.mark.parametrize("xccs", [1, 8])
def test_run_list_gives_a_process_a_vmid_and_runs_its_queue(xccs: int) -> None:
    rig = Rig()
    control = hiq(rig, xccs)
    for xcc in range(xccs):
        mqd(rig, USER + 0x1000 * xcc, d136=USER_RING >> 8, d226=0x1000, d39=xcc, d145=9 | 2 << 25, d139=0x8800)
    real = rig.gpu.registers
    control.submit(run_list(rig, process(0x8001, 0x1234_5001), user_queue(0x1200)))
    base = real.layout.address("GC[0].VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32") + 16
    assert real.read(base) == 0x1234_5001 or real.unknown[("scheduler-write", base * 4)] == 1
    users = [queue for queue in rig.gpu.gfx.queues.values() if queue.pasid == 0x8001]
    assert len(users) == xccs
    assert {(queue.vmid, queue.logic_xcc) for queue in users} == {(8, xcc) for xcc in range(xccs)}
    assert rig.interrupts.pasids == {8: 0x8001}
    with rig.selected(8 << 4):
        assert (rig.reg("GC[0].SH_MEM_BASES"), rig.reg("GC[0].SH_MEM_CONFIG")) == (0x10002, 0x1018)
    done = 0x7000
    rig.put(done + 8, 1, 0)
    rig.memory.data.write(USER_RING, struct.pack("<HHI5QQQ", 3, 0, 0, 0, 0, 0, 0, 0, 0, done))
    rig.gpu.gfx.doorbell(0x1200, 0)
    rig.run()
    assert rig.get64(done + 8) == 0  # once, by the first XCC
    assert rig.get64(0x8800) == 1


def test_preemption_keeps_the_read_index_for_the_next_run_list() -> None:
    rig = Rig()
    control = hiq(rig)
    mqd(rig, USER, d136=USER_RING >> 8, d139=0x8800)
    control.submit(run_list(rig, process(5, 1), user_queue(0x1200)))
    rig.put(USER_RING, *write_data(HERE, 1))
    rig.gpu.gfx.doorbell(0x1200, 5)
    rig.run()
    control.submit(pm4(0xA3, 3 << 4, 0, 0, 0, 0), pm4(0xA4, 2 << 30, 0, *low_high(SIGNAL), 9, 0))
    assert (rig.get(HERE), rig.get(SIGNAL)) == (1, 9)
    assert [queue.slot.me for queue in rig.gpu.gfx.queues.values()] == [2, 2]  # KIQ and HIQ
    rig.put(HERE, 0)
    control.submit(run_list(rig, process(5, 1), user_queue(0x1200)))
    rig.put(USER_RING + 20, *release_mem(HERE + 8, 7))
    rig.gpu.gfx.doorbell(0x1200, 13)
    rig.run()
    assert (rig.get(HERE), rig.get(HERE + 8)) == (0, 7)


def hung_user_queue(rig: Rig, unmap_latency: int = 0x28) -> Queue:
    """A HIQ, and a process's queue that waits for memory for ever and cannot be pre-empted there."""
    control = hiq(rig)
    control.submit(pm4(0xA0, 0xFFF8 | unmap_latency << 16 | 1 << 29, 0xFCFCFCFC, 0, 0, 0, 0, 0))
    mqd(rig, USER, d136=USER_RING >> 8)
    control.submit(run_list(rig, process(5, 1), user_queue(0x1200)))
    rig.put(USER_RING, *wait_memory(SIGNAL, 1))
    rig.gpu.gfx.doorbell(0x1200, 7)
    rig.run()
    return control


UNMAP_AND_TELL = (pm4(0xA3, 3 << 4, 0, 0, 0, 0), pm4(0xA4, 2 << 30, 0, *low_high(HERE), 9, 0))


def test_hiq_gives_a_stuck_queue_up_after_its_latency_and_tells_the_doorbell() -> None:
    """unmap_queues_cpsch: the fence comes all the same, the doorbell stands in HIQ.MQD.queue_doorbell_id0."""
    rig = Rig()
    control = hung_user_queue(rig)
    control.submit(*UNMAP_AND_TELL)
    rig.run(3.8)
    assert (rig.get(HERE), rig.get(MQD + 240 * 4)) == (0, 0)
    rig.run(0.5)
    assert (rig.get(HERE), rig.get(MQD + 240 * 4)) == (9, 0x1200)
    stuck = Queue(rig, select=USER_SLOT)
    assert (stuck.reg("CP_HQD_ACTIVE"), stuck.reg("CP_HQD_DEQUEUE_REQUEST")) == (1, 1)
    stuck.set("SPI_COMPUTE_QUEUE_RESET", 1)
    rig.run()
    assert stuck.reg("CP_HQD_ACTIVE") == 1  # it has no waves that could be reset
    rig.set("GC[0].CP_MEC_CNTL", 1 << 16)
    rig.set("GC[0].CP_MEC_CNTL", 0)
    assert stuck.reg("CP_HQD_ACTIVE") == 0


def test_hiqs_of_several_xccs_tell_a_status_together() -> None:
    """check_preemption_failed_v9_4_3 looks into the MQDs of all XCCs as soon as the one fence is there."""
    rig = Rig()
    control = hiq(rig, 2)
    control.submit(pm4(0xA0, 0xFFF8 | 0x28 << 16 | 1 << 29, 0xFCFCFCFC, 0, 0, 0, 0, 0))
    mqd(rig, USER, d226=0x1000)
    mqd(rig, USER + 0x1000, d136=USER_RING >> 8, d226=0x1000)
    rig.put(RING, *[0xFFFF1000] * 7)  # XCC 0 has nothing to do
    rig.put(USER_RING, *wait_memory(SIGNAL, 1))
    control.submit(run_list(rig, process(5, 1), user_queue(0x1200)))
    rig.gpu.gfx.doorbell(0x1200, 7)
    rig.run()
    control.submit(*UNMAP_AND_TELL)
    rig.run(3.8)
    assert rig.get(HERE) == 0
    rig.run(0.5)
    assert rig.get(HERE) == 9
    assert [rig.get(MQD + 0x1000 * xcc + 240 * 4) for xcc in range(2)] == [0, 0x1200]


def test_hiq_without_a_latency_waits_for_a_stuck_queue() -> None:
    rig = Rig()
    hung_user_queue(rig, unmap_latency=0).submit(*UNMAP_AND_TELL)
    rig.run(100.0)
    assert rig.get(HERE) == 0
    rig.put(SIGNAL, 1)
    rig.run(5e-3)
    assert (rig.get(HERE), rig.get(MQD + 240 * 4)) == (9, 0)


SAVES_WAVES = 1 << 30  # CP_HQD_PERSISTENT_STATE.QSWITCH_MODE: the process brought memory for them
PROGRAM = 0x7B_0000
STACK = 0x3000


def looping_user_queue(rig: Rig, state: int = SAVES_WAVES) -> Queue:
    """A process's queue whose shader never ends; a write and a fence behind it."""
    control = hiq(rig)
    control.submit(pm4(0xA0, 0xFFF8 | 0x28 << 16 | 1 << 29, 0xFCFCFCFC, 0, 0, 0, 0, 0))
    mqd(rig, USER, d132=state, d136=USER_RING >> 8, d175=STACK, d176=STACK)
    rig.memory.data.write(PROGRAM, program(Operation(Code.LOOP)))
    words = [word for packet in (*dispatch(PROGRAM), release_mem(HERE + 8, 7)) for word in packet]
    rig.put(USER_RING, *words)
    control.submit(run_list(rig, process(5, 1), user_queue(0x1200)))
    rig.gpu.gfx.doorbell(0x1200, len(words))
    rig.run()
    return control


def test_waves_that_never_end_are_saved_and_come_back_with_the_next_run_list() -> None:
    """CWSR: init_mqd of kfd_mqd_manager_v9.c sets QSWITCH_MODE and where the state of waves goes."""
    rig = Rig()
    control = looping_user_queue(rig)
    control.submit(*UNMAP_AND_TELL)
    assert (rig.get(HERE), rig.get(MQD + 240 * 4)) == (9, 0)
    assert rig.reg("GC[0].SPI_CSQ_WF_ACTIVE_STATUS") == 0
    assert rig.get(USER + 176 * 4) != STACK
    control.submit(run_list(rig, process(5, 1), user_queue(0x1200)))
    assert rig.reg("GC[0].SPI_CSQ_WF_ACTIVE_STATUS") == 1 << 2
    assert rig.get(USER + 176 * 4) == STACK
    assert rig.get(HERE + 8) == 0
    rig.set("GC[0].SQ_CMD", 3 | 1 << 4)
    rig.run()
    assert rig.get(HERE + 8) == 7


def test_waves_of_a_queue_that_is_gone_do_not_come_back_in_a_new_one() -> None:
    rig = Rig()
    control = looping_user_queue(rig)
    control.submit(*UNMAP_AND_TELL)
    mqd(rig, USER, d132=SAVES_WAVES, d136=USER_RING >> 8, d175=STACK, d176=STACK)  # the same place in memory
    rig.put(USER_RING, *write_data(HERE + 12, 3))
    control.submit(run_list(rig, process(6, 1), user_queue(0x1200)))
    rig.gpu.gfx.doorbell(0x1200, 5)
    rig.run()
    assert rig.get(HERE + 12) == 3
    assert rig.gpu.gfx.saved == {}


def test_waves_that_nobody_has_memory_for_hold_the_hiq_up_until_it_gives_up() -> None:
    rig = Rig()
    control = looping_user_queue(rig, state=0)
    control.submit(*UNMAP_AND_TELL)
    rig.run(3.8)
    assert rig.get(HERE) == 0
    rig.run(0.5)
    assert (rig.get(HERE), rig.get(MQD + 240 * 4)) == (9, 0x1200)


def test_indirect_buffer_that_waits_goes_on_where_it_was() -> None:
    rig = Rig()
    control = hiq(rig)
    mqd(rig, USER, d132=SAVES_WAVES, d136=USER_RING >> 8, d175=STACK, d176=STACK)
    body = (*write_data(HERE + 4, 1), *wait_memory(SIGNAL, 1, operation=3), *write_data(HERE + 8, 2))
    rig.put(PROGRAM, *body)
    rig.put(USER_RING, *pm4(0x3F, *low_high(PROGRAM), len(body) | 1 << 23), *write_data(HERE + 12, 3))
    control.submit(run_list(rig, process(5, 1), user_queue(0x1200)))
    rig.gpu.gfx.doorbell(0x1200, 9)
    rig.run()
    rig.put(HERE + 4, 0)
    control.submit(*UNMAP_AND_TELL)
    assert rig.get(HERE) == 9
    rig.put(SIGNAL, 1)
    control.submit(run_list(rig, process(5, 1), user_queue(0x1200)))
    assert [rig.get(HERE + place) for place in (4, 8, 12)] == [0, 2, 3]


def test_pipe_reset_leaves_idle_queues_of_the_pipe_alone() -> None:
    """gfx_v9_4_3_reset_kcq sets up one queue again, where the pipe has two of the driver's."""
    rig = Rig()
    stuck = Queue(rig).open()
    idle = Queue(rig, select=ME1_QUEUE0 | 1 << 8, base=RING, doorbell=0x12, rptr_report=0).open()
    stuck.submit(wait_memory(SIGNAL, 1))
    rig.set("GC[0].CP_MEC_CNTL", 1 << 16)
    rig.set("GC[0].CP_MEC_CNTL", 0)
    assert (stuck.reg("CP_HQD_ACTIVE"), idle.reg("CP_HQD_ACTIVE")) == (0, 1)
    idle.submit(write_data(HERE, 1))
    assert rig.get(HERE) == 1


def test_run_list_of_more_processes_than_vmids_is_recorded() -> None:
    rig = Rig()
    control = hiq(rig)
    control.submit(run_list(rig, *(process(pasid, 1) for pasid in range(1, 15))))
    assert rig.gpu.wrongs == ["gfx: queue 2.0.0 of XCC 0: MAP_PROCESS finds no free VMID"]


def test_run_list_of_more_queues_than_slots_is_recorded() -> None:
    rig = Rig()
    control = hiq(rig)
    mqd(rig, USER, d136=USER_RING >> 8)
    control.submit(run_list(rig, process(5, 1), *(user_queue(0x1200 + 2 * number) for number in range(25))))
    assert rig.gpu.wrongs == ["gfx: queue 2.0.0 of XCC 0: MAP_QUEUES finds no free slot"]


def copy_queue(rig: Rig) -> tuple[int, ...]:
    """The MQD of a process's SDMA queue, and the packet that maps it to engine 0."""
    words = [0] * 128
    words[0], words[1], words[9] = 10 << 1 | 1 << 12, USER_RING >> 8, 0x8900
    rig.put(USER, *words)
    return pm4(0xA2, 1 << 4 | 2 << 26 | 1 << 29, 0x1200 << 2, *low_high(USER), *low_high(WPTR))


def ring_copy_queue(rig: Rig, wptr: int) -> None:
    rig.put(WPTR, wptr)
    assert rig.gpu.sdma.doorbell(0, 0x1200, wptr)
    rig.run()


UNMAP_ALL = pm4(0xA3, 3 << 4, 0, 0, 0, 0)
SDMA_WAIT = (8 | 3 << 28 | 1 << 31, *low_high(SIGNAL), 1, 0xFFFFFFFF, 0xFFF << 16 | 10)
SDMA_INDIRECT, SDMA_IB = 4, 0x9000


def fence(address: int, value: int) -> tuple[int, ...]:
    return (5, *low_high(address), value)


@pytest.mark.parametrize("inside", [False, True])
def test_copy_queue_that_waits_is_taken_off_and_goes_on_there(inside: bool) -> None:
    rig = Rig()
    control = hiq(rig)
    packet = copy_queue(rig)
    control.submit(run_list(rig, process(5, 1), packet))
    work = (*fence(HERE, 1), *SDMA_WAIT, *fence(HERE + 4, 2))
    if inside:
        rig.put(SDMA_IB, *work)
        work = (0, 0, SDMA_INDIRECT, *low_high(SDMA_IB), len(work), 0, 0)
    rig.put(USER_RING, *work, *fence(HERE + 8, 3))
    ring_copy_queue(rig, (len(work) + 4) * 4)
    assert [rig.get(HERE + place) for place in (0, 4, 8)] == [1, 0, 0]
    rig.put(HERE, 0)
    control.submit(UNMAP_ALL)
    assert rig.reg("SDMA[0].SDMA_RLC0_RB_CNTL") & 1 == 0
    assert rig.reg("SDMA[0].SDMA_RLC0_CONTEXT_STATUS") & 1 == 0  # else the driver takes it for hung
    rig.put(SIGNAL, 1)
    control.submit(run_list(rig, process(5, 1), packet))
    assert [rig.get(HERE + place) for place in (0, 4, 8)] == [0, 2, 3]
    assert rig.get64(0x8900) == (len(work) + 4) * 4


def test_copy_queue_is_not_taken_off_in_the_middle_of_a_packet() -> None:
    rig = Rig()
    control = hiq(rig)
    control.submit(run_list(rig, process(5, 1), copy_queue(rig)))
    size = 1 << 20  # 20 microseconds
    rig.put(USER_RING, 1, size - 1, 0, *low_high(0x80_0000), *low_high(0xA0_0000), *fence(HERE, 1))
    rig.put(0x80_0000 + size - 4, 0x55)
    rig.gpu.sdma.doorbell(0, 0x1200, 44)
    rig.run(5e-6)
    control.submit(UNMAP_ALL, pm4(0xA4, 2 << 30, 0, *low_high(SIGNAL), 9, 0), run=False)
    rig.run(5e-6)
    assert (rig.get(SIGNAL), rig.get(HERE)) == (0, 0)
    rig.run()
    assert (rig.get(SIGNAL), rig.get(0xA0_0000 + size - 4)) == (9, 0x55)


def test_copy_queue_that_stopped_for_good_stays_selected_until_its_engine_is_reset() -> None:
    """sdma_has_hang: CONTEXT_STATUS.SELECTED of a user ring after all queues were to be taken off."""
    rig = Rig()
    control = hiq(rig)
    control.submit(run_list(rig, process(5, 1), copy_queue(rig)))
    rig.put(USER_RING, 0x3F)
    ring_copy_queue(rig, 4)
    control.submit(UNMAP_ALL, pm4(0xA4, 2 << 30, 0, *low_high(SIGNAL), 9, 0))
    assert rig.get(SIGNAL) == 9
    assert rig.reg("SDMA[0].SDMA_RLC0_CONTEXT_STATUS") & 1 == 1
    assert rig.reg("SDMA[0].SDMA_RLC0_DOORBELL_OFFSET") >> 2 == 0x1200
    rig.gpu.sdma.reset_engines(1)
    assert rig.reg("SDMA[0].SDMA_RLC0_CONTEXT_STATUS") & 1 == 0
    assert rig.reg("SDMA[0].SDMA_RLC0_DOORBELL_OFFSET") == 0


def test_run_list_maps_a_copy_queue() -> None:
    rig = Rig()
    control = hiq(rig)
    packet = copy_queue(rig)
    rig.put(USER_RING, 5, *low_high(HERE), 0x77)
    rig.put(WPTR, 16)
    control.submit(run_list(rig, process(5, 1), packet))
    assert rig.get(HERE) == 0x77
    assert ("MMHUB[0]", 8, 256) in rig.memory.seen
    assert rig.get64(0x8900) == 16
    rig.put(USER_RING + 16, 5, *low_high(HERE + 4), 0x78)
    assert rig.gpu.sdma.doorbell(0, 0x1200, 32)
    rig.run()
    assert rig.get(HERE + 4) == 0x78
    control.submit(pm4(0xA3, 3 << 4, 0, 0, 0, 0))
    assert rig.get(USER + 12) == 32
    assert rig.reg("SDMA[0].SDMA_RLC0_RB_CNTL") & 1 == 0


def test_stages_are_told_in_their_order() -> None:
    rig = Rig()
    told: list[str] = []
    rig.gpu.stage = told.append
    rig.set("GC[0].RLC_SAFE_MODE", 3)
    kiq(rig).submit(scratch(1))
    Queue(rig).open().submit(scratch(2))
    assert told == ["rlc", "kiq", "compute"]
