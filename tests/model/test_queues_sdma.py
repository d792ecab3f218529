"""SDMA queues on a model: bytes arrive, engines work side by side, faults and dead engines end with a report."""

from __future__ import annotations

import random

import numpy as np
import pytest

from amdriver.ring import QueueStuck
from base.errors import DeviceLost
from tests.model.queue_models import Opened, opened

KIB = 1 << 10
MIB = 1 << 20


def running(spec: str = "mi300x") -> Opened:
    (one,) = opened(spec)
    one.sdma.hw_init()
    return one


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("spec", ["mi300x", "mi350x"])
def test_every_engine_copies_between_vram_and_host_both_ways(spec: str) -> None:
    one = running(spec)
    assert len(one.sdma.queues) == 16
    for queue in one.sdma.queues:
        vram, host = one.gmc.alloc(64 * KIB), one.gmc.alloc(64 * KIB, where="host")
        back = one.gmc.alloc(64 * KIB, where="host")
        data = noise(64 * KIB, queue.number)
        host.write(0, data)
        signal = one.sdma.signals.new()
        queue.start_time(signal)
        queue.copy(vram, host)
        queue.copy(back, vram)
        queue.fence(signal, 1)
        queue.submit()
        signal.wait(1, 1.0)
        assert back.read(0, 64 * KIB) == data
        assert vram.read(0, 64 * KIB) == data
        assert 0 < signal.start_ns <= signal.end_ns


@pytest.mark.parametrize("size", [1, 3, 4, 63, 4095, 4097, 70001, MIB + 1])
def test_copies_of_any_size_and_alignment_touch_nothing_else(size: int) -> None:
    one = running()
    queue = one.sdma.queues[size % 16]
    src, dst = one.gmc.alloc(2 * MIB), one.gmc.alloc(2 * MIB)
    data = noise(2 * MIB)
    src.write(0, data)
    dst.write(0, b"\xee" * (2 * MIB))
    signal = one.sdma.signals.new()
    queue.copy(dst, src, size, dst_offset=13, src_offset=5)
    queue.fence(signal, 1)
    queue.submit()
    signal.wait(1, 1.0)
    got = dst.read(0, 2 * MIB)
    assert got[:13] == b"\xee" * 13
    assert got[13 : 13 + size] == data[5 : 5 + size]
    assert got[13 + size :] == b"\xee" * (2 * MIB - size - 13)


def test_many_small_copies_go_round_the_ring() -> None:
    one = running()
    queue = one.sdma.queues[2]
    src, dst = one.gmc.alloc(MIB), one.gmc.alloc(MIB)
    data = noise(MIB)
    src.write(0, data)
    order = np.random.default_rng(7).permutation(8192).astype(np.uint64)
    signal = one.sdma.signals.new()
    queue.copy_many(dst.gpu_va + order * np.uint64(128), src.gpu_va + order * np.uint64(128), 128)
    queue.fence(signal, 1)
    queue.submit()
    signal.wait(1, 1.0)
    assert dst.read(0, MIB) == data
    assert queue.wptr > 3 * queue.ring_bytes


def test_fill_write_and_order_between_two_engines() -> None:
    one = running()
    first, second = one.sdma.queues[0], one.sdma.queues[9]
    a, b = one.gmc.alloc(64 * KIB), one.gmc.alloc(64 * KIB)
    ready, done = one.sdma.signals.new(), one.sdma.signals.new()
    second.wait_signal(ready, 1)
    second.copy(b, a)
    second.fence(done, 1)
    second.submit()
    first.fill(a, 0xDEADBEEF)
    first.write(a, b"12345678", offset=1024)
    first.fence(ready, 1)
    first.submit()
    done.wait(1, 1.0)
    expected = bytearray(b"\xef\xbe\xad\xde" * (16 * KIB))
    expected[1024:1032] = b"12345678"
    assert b.read(0, 64 * KIB) == bytes(expected)


def test_random_copies_agree_with_the_same_on_bytes() -> None:
    one = running()
    draw = random.Random(42)
    size = 256 * KIB
    buffers = [one.gmc.alloc(size, where=draw.choice(("vram", "host"))) for _ in range(4)]
    mirror = [bytearray(noise(size, n)) for n in range(4)]
    for buffer, data in zip(buffers, mirror, strict=True):
        buffer.write(0, bytes(data))
    queue = one.sdma.queues[5]
    for _ in range(200):
        to, source = draw.sample(range(4), 2)
        count = draw.choice((1, 7, 64, 4096, 30000))
        at, start = draw.randrange(size - count), draw.randrange(size - count)
        queue.copy(buffers[to], buffers[source], count, dst_offset=at, src_offset=start)
        mirror[to][at : at + count] = mirror[source][start : start + count]
    signal = one.sdma.signals.new()
    queue.fence(signal, 1)
    queue.submit()
    signal.wait(1, 1.0)
    assert [buffer.read(0, size) for buffer in buffers] == [bytes(data) for data in mirror]


def test_clock_of_all_engines_is_the_same_and_does_not_go_back() -> None:
    one = running()
    before = 0
    for queue in one.sdma.queues:
        signal = one.sdma.signals.new()
        queue.fence(signal, 1)
        queue.submit()
        signal.wait(1, 1.0)
        assert signal.end_ns >= before
        before = signal.end_ns
        one.clock.sleep(1e-3)
    assert 14e6 < before < 1e12


def test_engine_that_never_starts_is_reported_with_its_packet_and_registers() -> None:
    (one,) = opened("mi300x?fault=sdma-halted:4")
    with pytest.raises(QueueStuck, match="testing SDMA 4") as caught:
        one.sdma.hw_init()
    assert one.clock.now() < 1.0
    assert caught.value.packet.startswith("WRITE_LINEAR")
    assert any("SDMA0[4].SDMA_F32_CNTL" in register for register in caught.value.registers)


def test_access_to_an_unmapped_page_is_reported_as_page_fault_of_the_queue() -> None:
    one = running()
    queue = one.sdma.queues[1]
    victim = one.gmc.alloc(64 * KIB)
    signal = one.sdma.signals.new()
    queue.copy(victim, one.gmc.alloc(64 * KIB))
    victim.free()  # between the check and the work: what the checks cannot see
    queue.fence(signal, 1)
    queue.submit()
    with pytest.raises(QueueStuck) as caught:
        signal.wait(1, 0.2)
    assert caught.value.queue == "SDMA 1"
    assert caught.value.faults
    assert "page fault" in str(caught.value)


def test_device_that_is_lost_in_the_middle_of_copies_ends_the_wait() -> None:
    (one,) = opened("mi300x?fault=lost-during:copy")
    one.sdma.hw_init()
    queue, signal = one.sdma.queues[0], one.sdma.signals.new()
    src, dst = one.gmc.alloc(64 * KIB), one.gmc.alloc(64 * KIB)
    queue.copy(dst, src)
    queue.fence(signal, 1)
    queue.submit()
    with pytest.raises(DeviceLost):
        signal.wait(1, 0.5)
    assert one.clock.now() < 2


def test_stopped_and_started_again_on_the_same_model() -> None:
    one = running()
    one.sdma.hw_fini()
    one.sdma.hw_init()
    queue, signal = one.sdma.queues[15], one.sdma.signals.new()
    queue.fence(signal, 5)
    queue.submit()
    assert signal.wait(5, 1.0) == 5


def test_close_leaves_no_memory_behind() -> None:
    one = running()
    one.sdma.hw_fini()
    one.sdma.sw_fini()
    one.gfx.sw_fini()
    assert one.gmc.live == ()
