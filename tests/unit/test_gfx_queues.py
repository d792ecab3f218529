"""Compute queues: made and unmade by the KIQ, PM4 and AQL, on one XCC and on all; nothing left behind by what fails."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from amdriver import aql, pm4
from amdriver.gfx import MOST_QUEUES, Gfx
from amdriver.memory import BadAlignment, BadSize, Closed
from amdriver.pagetable import NotMapped
from amdriver.pm4_dispatch import Kernel
from amdriver.queue import AqlQueue, ComputeQueue
from amdriver.ring import QueueStuck
from base.errors import UsageError, WaitTimeout
from registers.amd.gc_9_4_3 import Gc
from tests.unit.queue_fake import Fake, Mec
from tests.unit.test_gfx_bringup import last, started

PAGE = 4096
KERNEL = Kernel(program_va=0x20_0000, rsrc1=1, rsrc2=2)


# --- making -----------------------------------------------------------------------------------------------------------


def test_create_queue_maps_it_on_its_xcc_in_vmid_8_and_tests_it() -> None:
    fake, gfx, mecs = started()
    queue = gfx.create_queue(3)
    assert isinstance(queue, ComputeQueue)
    op, fields = mecs[3].packets[-1]
    layout = gfx._owned[queue].layout
    assert op == 0xA2
    assert fields["doorbell"] == 2 * (0x60 + 8)
    assert (fields["me"], fields["pipe"], fields["queue"], fields["vmid"]) == (0, 0, 0, 8)
    assert (fields["mqd"], fields["wptr"]) == (layout.mqd, queue.wptr_va)
    assert mecs[3].done == [0x49, 0x49]
    assert [len(mec.packets) for mec in mecs] == [1, 1, 1, 2, 1, 1, 1, 1]
    assert last(fake, 3, "CP_ME1_PIPE0_INT_CNTL") == 1 << 26 | 1 << 24 | 1 << 23
    assert gfx.queues == (queue,)


def test_queues_of_an_xcc_go_to_its_pipes_in_turn_with_doorbells_of_their_own() -> None:
    _, gfx, mecs = started()
    queues = [gfx.create_queue(0) for _ in range(6)]
    mapped = [fields for op, fields in mecs[0].packets if op == 0xA2]
    assert [(one["pipe"], one["queue"]) for one in mapped] == [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1)]
    assert [queue.doorbell for queue in queues] == [8, 9, 10, 11, 12, 13]


def test_queue_of_all_xccs_shares_ring_and_doorbell_and_has_an_mqd_each() -> None:
    fake, gfx, mecs = started()
    queue = gfx.create_queue()
    mapped = [mec.packets[-1][1] for mec in mecs]
    assert {one["doorbell"] for one in mapped} == {2 * 8}
    assert [one["mqd"] - mapped[0]["mqd"] for one in mapped] == [4096 * n for n in range(8)]
    controls = [struct.unpack("<I", fake.gmc.read_at(one["mqd"] + 4 * 145, 4))[0] for one in mapped]
    assert [control >> 27 & 1 for control in controls] == [0] + [1] * 7
    assert queue.xccs == tuple(range(8))
    assert queue.capacity_bytes < queue.ring_bytes // 2


def test_aql_queue_starts_with_invalid_headers_and_completes_a_barrier() -> None:
    fake, gfx, mecs = started()
    queue = gfx.create_queue(None, "aql")
    assert isinstance(queue, AqlQueue)
    ring = fake.gmc.read_at(queue.address, queue.ring_bytes)
    assert {ring[at : at + 4] for at in range(0, len(ring), 64)} == {struct.pack("<I", 1)}
    assert mecs[0].done == [3]
    assert mecs[1].done == []
    assert queue.rptr == 64


def test_doorbell_of_a_queue_on_a_later_xcc_counts_the_xccs_that_are_there() -> None:
    from tests.unit.queue_fake import ip_map

    _, gfx, mecs = started(Fake(ip=ip_map(xccs=(1, 4))))
    assert gfx.create_queue(4).doorbell == 0x28
    assert mecs[1].packets[-1][1]["doorbell"] == 0x50


# --- refused ----------------------------------------------------------------------------------------------------------

BAD: list[tuple[str, Callable[[Gfx], object], str]] = [
    ("XCC that is not there", lambda gfx: gfx.create_queue(8), "an XCC of 0, 1, 2"),
    ("kind", lambda gfx: gfx.create_queue(0, "hiq"), "kind pm4 or aql"),  # type: ignore[call-overload]
    ("ring of 0", lambda gfx: gfx.create_queue(0, ring_bytes=0), "ring_bytes"),
    ("odd ring", lambda gfx: gfx.create_queue(0, ring_bytes=5000), "ring_bytes"),
]


@pytest.mark.parametrize(("make", "text"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_bad_queue_is_refused_before_anything_is_allocated_or_written(make: Callable[[Gfx], object], text: str) -> None:
    fake, gfx, _ = started()
    live, log = list(fake.gmc.live), len(fake.transport.log)
    with pytest.raises(UsageError) as caught:
        make(gfx)
    assert text in caught.value.expected
    assert fake.gmc.live == live
    assert len(fake.transport.log) == log


def test_queue_before_hw_init_is_refused() -> None:
    fake = Fake()
    gfx = Gfx(fake.gpu, fake.gmc)
    with pytest.raises(UsageError, match="hw_init has not run"):
        gfx.create_queue(0)


def test_one_queue_too_many_is_refused() -> None:
    _, gfx, _ = started()
    for _ in range(MOST_QUEUES):
        gfx.create_queue(2, ring_bytes=PAGE)
    with pytest.raises(UsageError, match="at most 24 queues on an XCC"):
        gfx.create_queue(None)
    gfx.create_queue(3)


# --- failing ----------------------------------------------------------------------------------------------------------


def test_queue_whose_kiq_is_dead_is_stuck_halts_that_mec_and_leaves_nothing() -> None:
    fake, gfx, mecs = started()
    live = list(fake.gmc.live)
    mecs[5].kiq_dead = True
    with pytest.raises(QueueStuck, match="mapping compute pm4 queue 0 of XCC 5") as caught:
        gfx.create_queue(5)
    assert caught.value.queue == "KIQ of XCC 5"
    assert caught.value.packet.startswith("MAP_QUEUES")
    assert last(fake, 5, "CP_MEC_CNTL") == 0x503F_0010
    assert last(fake, 4, "CP_MEC_CNTL") == 0
    assert [one for one in fake.gmc.live if one not in live] == []
    assert gfx.queues == ()


def test_queue_that_does_not_fence_is_stuck_unmapped_and_tells_its_registers() -> None:
    fake, gfx, mecs = started()
    mecs[2].queues_dead = True
    with pytest.raises(QueueStuck, match="testing compute pm4 queue 0 of XCC 2") as caught:
        gfx.create_queue(2)
    assert any("GC[2].CP_HQD_PQ_RPTR" in one for one in caught.value.registers)
    assert "GC[2].CP_HQD_ACTIVE @ BAR5" in caught.value.where
    assert caught.value.packet.startswith("RELEASE_MEM")
    assert mecs[2].packets[-1][0] == 0xA3
    assert [one.owner for one in fake.gmc.live] == ["KIQs", "signals"]


def test_queue_without_memory_for_its_mqds_gives_the_ring_back() -> None:
    fake, gfx, _ = started()
    live = list(fake.gmc.live)
    fake.gmc.out_of_memory_after = 1
    with pytest.raises(UsageError, match="no more memory"):
        gfx.create_queue(0)
    assert fake.gmc.live == live


# --- destroying -------------------------------------------------------------------------------------------------------


def test_destroy_unmaps_on_every_xcc_and_frees_all() -> None:
    fake, gfx, mecs = started()
    queue = gfx.create_queue()
    gfx.destroy(queue)
    assert all(mec.mapped == {} for mec in mecs)
    assert mecs[7].packets[-1][1]["doorbell"] == 2 * queue.doorbell
    assert [one.owner for one in fake.gmc.live] == ["KIQs", "signals"]
    with pytest.raises(Closed):
        queue.submit()
    with pytest.raises(UsageError, match="destroy it once"):
        gfx.destroy(queue)
    assert gfx.create_queue(0).slot == queue.slot


def test_destroy_with_a_dead_kiq_takes_the_queue_off_by_its_registers() -> None:
    fake, gfx, mecs = started()
    queue = gfx.create_queue(0)
    mecs[0].kiq_dead = True
    mecs[0].hqd[1 << 2, 4 * mecs[0].gc.address_of(Gc.CP_HQD_ACTIVE)] = 1
    gfx.destroy(queue)
    assert mecs[0].active(1, 0, 0) == 0
    assert last(fake, 0, "SPI_COMPUTE_QUEUE_RESET") == 1
    assert gfx.queues == ()


def test_destroy_of_a_queue_that_does_not_go_keeps_its_memory() -> None:
    fake, gfx, mecs = started()
    queue = gfx.create_queue(0)
    live = list(fake.gmc.live)
    mecs[0].kiq_dead = mecs[0].dequeue_stuck = True
    mecs[0].hqd[1 << 2, 4 * mecs[0].gc.address_of(Gc.CP_HQD_ACTIVE)] = 1
    with pytest.raises(WaitTimeout, match="dequeuing compute pm4 queue 0 of XCC 0"):
        gfx.destroy(queue)
    assert fake.gmc.live == live
    assert gfx.queues == (queue,)


# --- PM4 work ---------------------------------------------------------------------------------------------------------


def one_queue() -> tuple[Fake, Gfx, Mec, ComputeQueue]:
    fake, gfx, mecs = started()
    queue = gfx.create_queue(1)
    mecs[1].done.clear()
    return fake, gfx, mecs[1], queue


def test_fence_writes_time_then_value() -> None:
    _, gfx, mec, queue = one_queue()
    signal = gfx.signals.new()
    queue.start_time(signal)
    queue.release_mem(signal, 1 << 33)
    queue.submit()
    assert signal.wait(1 << 33) == 1 << 33
    assert signal.end_ns > 0
    assert signal.queue is queue
    assert mec.done == [0x40, 0x49, 0x49]


def test_fence_of_all_xccs_lets_the_first_report_when_all_have_come() -> None:
    fake, gfx, mecs = started()
    queue = gfx.create_queue()
    for mec in mecs:
        mec.done.clear()
    signal = gfx.signals.new()
    queue.fence(signal, 7)
    queue.submit()
    assert signal.wait(7) == 7
    assert [mec.done for mec in mecs] == [[0x49] + [0x3C] * 8 + [0x49, 0x49]] + [[0x49] + [0x3C] * 8] * 7
    slots = struct.unpack("<128I", fake.gmc.read_at(queue._slots_va, 512))[::16]
    assert slots == (2,) * 8


def test_queue_of_all_xccs_keeps_its_packets_in_indirect_buffers_within_its_ring() -> None:
    """PRED_EXEC in a ring selects nothing: each piece is the body of a NOP, behind a packet that runs it."""
    fake, gfx, _ = started()
    queue = gfx.create_queue()
    before = queue.wptr
    queue.submit(pm4.nop(3))
    lines = struct.unpack("<8I", fake.gmc.read_at(queue.address + before, 32))
    assert lines[0] == 0xC0023F00
    assert lines[1] | lines[2] << 32 == queue.address + before + 20
    assert lines[3] == 3 | 1 << 23
    assert lines[4] == 0xC0021000
    assert struct.pack("<3I", *lines[5:]) == pm4.nop(3)
    with pytest.raises(UsageError, match="bytes in one piece"):
        queue.add(bytes(queue.limit_bytes + 4))


def test_write_data_copy_data_wait_and_indirect_build_their_packets() -> None:
    fake, gfx, mec, queue = one_queue()
    buffer = fake.gmc.alloc(PAGE)
    signal = gfx.signals.new()
    queue.write_data(buffer, (1, 2), offset=16)
    queue.wait(buffer, 1, offset=16)
    queue.wait_signal(signal, 0)
    queue.copy_data(buffer, buffer, wide=True, dst_offset=8, src_offset=16)
    queue.acquire_mem()
    queue.indirect(buffer, 64, offset=256)
    queue.submit()
    assert mec.done == [0x37, 0x3C, 0x3C, 0x40, 0x58, 0x3F]
    assert struct.unpack_from("<II", buffer.data, 16) == (1, 2)


def test_dispatch_uses_uncached_slots_and_a_template_for_this_many_xccs() -> None:
    fake, gfx, mec, queue = one_queue()
    kernarg = fake.gmc.alloc(PAGE)
    template = queue.template(KERNEL)
    (slots,) = [one for one in fake.gmc.live if one.owner.startswith("slots of")]
    assert (slots.where, slots.uncached) == ("host", True)
    queue.dispatch(template, kernarg, 10, 2, 1, sequence=1)
    queue.submit()
    assert mec.done[-2:] == [0x15, 0x49]
    assert struct.unpack_from("<Q", fake.gmc.read_at(template.done_va, 8))[0] == 1
    with pytest.raises(UsageError, match="a template for 8 XCCs"):
        gfx.create_queue().dispatch(template, kernarg, 1, sequence=2)
    gfx.destroy(queue)
    assert slots.freed


def test_pm4_queue_pads_the_end_of_the_ring_with_nops() -> None:
    _, gfx, mec, queue = one_queue()
    signal = gfx.signals.new()
    count = 3 * queue.ring_bytes // 32
    for value in range(1, count + 1):
        queue.fence(signal, value, timestamp=False)
        if value % 50 == 0:
            queue.submit()
    queue.submit()
    assert signal.wait(count) == count
    assert mec.done == [0x49] * count


def _odd(fake: Fake) -> int:
    return fake.gmc.alloc(64).gpu_va + 8


Work = Callable[[Fake, ComputeQueue], object]
REFUSED: list[tuple[str, Work, type[Exception]]] = [
    ("empty", lambda f, q: q.write_data(f.gmc.alloc(64), b""), BadSize),
    ("misaligned", lambda f, q: q.write_data(f.gmc.alloc(64), b"abcd", offset=2), BadAlignment),
    ("unmapped", lambda f, q: q.write_data(0x40, b"abcd"), NotMapped),
    ("misaligned wait", lambda f, q: q.wait(f.gmc.alloc(64), 0, offset=1), BadAlignment),
    ("misaligned copy", lambda f, q: q.copy_data(f.gmc.alloc(64), f.gmc.alloc(64), wide=True, src_offset=4), BadAlignment),
    ("odd buffer", lambda f, q: q.indirect(f.gmc.alloc(64), 6), BadAlignment),
    ("unmapped arguments", lambda f, q: q.dispatch(q.template(KERNEL), 0x40, 1, sequence=1), NotMapped),
    ("misaligned arguments", lambda f, q: q.dispatch(q.template(KERNEL), _odd(f), 1, sequence=1), UsageError),
    ("bad program", lambda f, q: q.template(Kernel(program_va=4, rsrc1=0, rsrc2=0)), UsageError),
]  # fmt: skip


@pytest.mark.parametrize(("work", "kind"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_bad_compute_work_is_refused_before_the_ring_is_touched(work: Work, kind: type[UsageError]) -> None:
    fake, _, mec, queue = one_queue()
    before = queue.wptr
    with pytest.raises(kind):
        work(fake, queue)
    queue.submit()
    assert queue.wptr == before
    assert mec.done == []


def test_template_that_is_refused_frees_its_slots() -> None:
    fake, _, _, queue = one_queue()
    live = list(fake.gmc.live)
    with pytest.raises(UsageError):
        queue.template(Kernel(program_va=4, rsrc1=0, rsrc2=0))
    assert fake.gmc.live == live


# --- AQL work ---------------------------------------------------------------------------------------------------------


def aql_queue() -> tuple[Fake, Gfx, Mec, AqlQueue]:
    fake, gfx, mecs = started()
    queue = gfx.create_queue(0, "aql", ring_bytes=PAGE)
    mecs[0].done.clear()
    return fake, gfx, mecs[0], queue


def test_aql_packets_get_their_first_header_last_and_the_doorbell_the_last_index() -> None:
    fake, _, mec, queue = aql_queue()
    mec.queues_dead = True
    (buffer,) = [one for one in fake.gmc.live if one.owner.startswith("queue")]
    buffer.writes.clear()
    fake.transport.log.clear()
    queue.barrier()
    queue.barrier()
    queue.submit()
    invalid = struct.pack("<I", 1)
    packet = aql.barrier_and().whole()
    assert buffer.writes[:2] == [(64, invalid + packet[4:] + packet), (64, packet[:4])]
    assert buffer.writes[2] == (PAGE + 256 + 56, struct.pack("<Q", 3)), "write_dispatch_id of amd_queue_t"
    assert fake.transport.log == [("D", 2, 8 * 8, 2)]


def test_aql_dispatch_completes_its_signal_with_times() -> None:
    fake, gfx, mec, queue = aql_queue()
    signal = gfx.signals.new(1)
    kernarg, program = fake.gmc.alloc(PAGE), fake.gmc.alloc(PAGE)
    queue.dispatch(kernel_object=program.gpu_va, kernarg=kernarg, grid=(64, 1, 1), workgroup=(64, 1, 1), signal=signal)
    queue.indirect(program, 64)
    queue.submit()
    assert signal.wait_at_most(0) == 0
    assert 0 < signal.start_ns < signal.end_ns
    assert mec.done == [2, 0]


def test_aql_queue_goes_round_its_ring_without_overrunning() -> None:
    _, gfx, mec, queue = aql_queue()
    signal = gfx.signals.new(500)
    for _ in range(500):
        queue.barrier(signal=signal)
        queue.submit()
    assert signal.wait_at_most(0) == 0
    assert len(mec.done) == 500
    assert queue.idle


def test_stuck_aql_queue_decodes_the_packet_at_its_read_pointer() -> None:
    _, gfx, mec, queue = aql_queue()
    mec.queues_dead = True
    signal = gfx.signals.new(1)
    queue.barrier((signal,), signal=signal)
    queue.submit()
    with pytest.raises(QueueStuck, match=f"BARRIER_AND signals=.{signal.address:#x}") as caught:
        signal.wait_at_most(0, 0.1)
    assert (caught.value.rptr, caught.value.wptr) == (64, 128)
