"""Compute queues on a model: KIQ, PM4 and AQL queues of every XCC, and what happens when a part is dead."""

from __future__ import annotations

import pytest

from amdriver import pm4
from amdriver.ring import QueueStuck
from base.errors import WaitTimeout
from tests.model.queue_models import Opened, opened

KIB = 1 << 10


def running(spec: str = "mi300x") -> Opened:
    (one,) = opened(spec)
    one.gfx.hw_init()
    return one


@pytest.mark.parametrize("spec", ["mi300x", "mi350x"])
def test_every_xcc_writes_waits_and_fences(spec: str) -> None:
    one = running(spec)
    assert len(one.gfx.xccs) == 8
    before = 0
    for xcc in one.gfx.xccs:
        queue = one.gfx.create_queue(xcc)
        buffer, signal = one.gmc.alloc(4 * KIB, where="host", uncached=True), one.gfx.signals.new()
        buffer.write(0, bytes(4 * KIB))
        queue.start_time(signal)
        queue.write_data(buffer, (xcc + 1, 0x1234), offset=64)
        queue.wait(buffer, 0x1234, offset=68)
        queue.copy_data(buffer, buffer, dst_offset=128, src_offset=64)
        queue.fence(signal, 1 << 40)
        queue.submit()
        assert signal.wait(1 << 40, 1.0) == 1 << 40
        assert buffer.read(128, 4) == (xcc + 1).to_bytes(4, "little")
        assert before <= signal.start_ns <= signal.end_ns
        before = signal.end_ns


def test_queue_of_all_xccs_fences_when_all_have_come() -> None:
    one = running()
    queue, signal = one.gfx.create_queue(), one.gfx.signals.new()
    for value in range(1, 5):
        queue.fence(signal, value)
        queue.submit()
        assert signal.wait(value, 1.0) == value


def test_aql_queue_completes_barriers_and_pm4_buffers() -> None:
    one = running()
    queue = one.gfx.create_queue(None, "aql")
    target, code = one.gmc.alloc(4 * KIB, where="host", uncached=True), one.gmc.alloc(4 * KIB)
    target.write(0, bytes(4 * KIB))
    packets = pm4.only_on(1, pm4.write_data(target.gpu_va + 16, (77,)))
    code.write(0, packets)
    first, second = one.gfx.signals.new(1), one.gfx.signals.new(1)
    queue.indirect(code, len(packets), signal=first)
    queue.barrier((first,), signal=second)
    queue.submit()
    assert second.wait_at_most(0, 1.0) == 0
    assert first.value == 0
    assert target.read(16, 4) == (77).to_bytes(4, "little")


def test_queue_runs_an_indirect_buffer_out_of_vram() -> None:
    one = running()
    queue, signal = one.gfx.create_queue(5), one.gfx.signals.new()
    target, code = one.gmc.alloc(4 * KIB), one.gmc.alloc(4 * KIB)
    packets = pm4.write_data(target.gpu_va, (1, 2, 3))
    code.write(0, packets)
    queue.indirect(code, len(packets))
    queue.fence(signal, 1)
    queue.submit()
    signal.wait(1, 1.0)
    assert target.read(0, 12) == b"\1\0\0\0\2\0\0\0\3\0\0\0"


def test_ring_goes_round_many_times() -> None:
    one = running()
    queue, signal = one.gfx.create_queue(2, ring_bytes=4096), one.gfx.signals.new()
    for value in range(1, 1001):
        queue.fence(signal, value)
        queue.submit()
    assert signal.wait(1000, 1.0) == 1000
    assert queue.wptr > 10 * 4096


def test_queue_that_was_destroyed_gives_its_place_to_the_next() -> None:
    one = running()
    for _ in range(3):
        queue = one.gfx.create_queue(0)
        assert queue.slot == 0
        one.gfx.destroy(queue)
    assert one.gfx.queues == ()


def test_dead_kiq_is_reported_with_its_packet() -> None:
    (one,) = opened("mi300x?fault=kiq-dead")
    with pytest.raises(QueueStuck, match="starting the KIQs") as caught:
        one.gfx.hw_init()
    assert one.clock.now() < 1.0
    assert caught.value.packet.startswith("SET_RESOURCES")
    assert "CP_MEC_CNTL" in caught.value.where


def test_rlc_that_is_stuck_is_reported_with_its_register() -> None:
    (one,) = opened("mi300x?fault=rlc-stuck")
    with pytest.raises(WaitTimeout, match="entering the RLC's safe mode") as caught:
        one.gfx.hw_init()
    assert "RLC_SAFE_MODE" in caught.value.where
    assert one.clock.now() < 1.0


def test_bad_address_in_a_buffer_is_a_page_fault_of_vmid_8() -> None:
    one = running()
    queue, signal = one.gfx.create_queue(3), one.gfx.signals.new()
    code = one.gmc.alloc(4 * KIB)
    packets = pm4.write_data(0x7000_0000, (1,))
    code.write(0, packets)
    queue.indirect(code, len(packets))
    queue.fence(signal, 1)
    queue.submit()
    with pytest.raises(QueueStuck) as caught:
        signal.wait(1, 0.2)
    assert caught.value.faults
    assert "XCC 3" in caught.value.queue


def test_compute_queue_cannot_reach_vram_past_its_page_tables() -> None:
    one = running()
    queue, signal = one.gfx.create_queue(1), one.gfx.signals.new()
    block = one.gmc.alloc_vram(4 * KIB)
    block.write(0, b"\x55" * 4096)
    code = one.gmc.alloc(4 * KIB)
    packets = pm4.write_data(block.mc_addr, (1,))
    code.write(0, packets)
    queue.indirect(code, len(packets))
    queue.fence(signal, 1)
    queue.submit()
    with pytest.raises(QueueStuck):
        signal.wait(1, 0.2)
    assert block.read(0, 4096) == b"\x55" * 4096


def test_closed_and_started_again_on_the_same_model() -> None:
    one = running()
    one.gfx.create_queue(4)
    one.gfx.hw_fini()
    one.gfx.sw_fini()
    one.gfx.sw_init()
    one.gfx.hw_init()
    queue, signal = one.gfx.create_queue(4), one.gfx.signals.new()
    queue.fence(signal, 1)
    queue.submit()
    assert signal.wait(1, 1.0) == 1


def test_queues_left_by_a_killed_process_are_found_and_stopped() -> None:
    one = running()
    one.gfx.create_queue(6)
    assert one.gfx.stop_left_queues() == ["XCC 6 me 1 pipe 0 queue 0"]
    assert one.gfx.stop_left_queues() == []
