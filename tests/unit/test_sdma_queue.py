"""What an SDMA queue is asked to do: the packets, and what is refused before the ring is touched."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amdriver.memory import BadAddress, BadAlignment, BadSize, Closed
from amdriver.pagetable import NotMapped
from amdriver.queue import SdmaQueue
from amdriver.sdma_packets import Function
from base.errors import UsageError
from registers.amd.nbio_7_9_0 import Nbio
from tests.unit.queue_fake import Fake, FakeBuffer, SdmaEngine
from tests.unit.test_sdma_engines import started

PAGE = 4096


def ready(*, ring_bytes: int = 1 << 16) -> tuple[Fake, SdmaQueue, SdmaEngine, FakeBuffer, FakeBuffer]:
    fake, sdma, engines = started(ring_bytes=ring_bytes)
    engines[6].packets.clear()
    src, dst = fake.gmc.alloc(4 * PAGE), fake.gmc.alloc(4 * PAGE)
    src.data[:] = bytes(range(256)) * (16 * 4)
    return fake, sdma.queues[6], engines[6], src, dst


# --- what is done -----------------------------------------------------------------------------------------------------


def test_copy_of_whole_buffers_moves_the_bytes() -> None:
    _, queue, engine, src, dst = ready()
    queue.copy(dst, src)
    queue.submit()
    assert dst.data == src.data
    assert engine.packets == [f"COPY_LINEAR size_bytes=16384 src={src.gpu_va:#x} dst={dst.gpu_va:#x}"]


def test_copy_of_parts_and_of_addresses_moves_just_these_bytes() -> None:
    _, queue, _, src, dst = ready()
    queue.copy(dst, src, 100, dst_offset=7, src_offset=3)
    queue.copy(dst.gpu_va + 1000, src.gpu_va + 1, 1)
    queue.submit()
    expected = bytearray(b"\xa5" * 4 * PAGE)
    expected[7:107] = src.data[3:103]
    expected[1000] = src.data[1]
    assert dst.data == expected


def test_copy_beyond_the_engines_limit_is_split() -> None:
    fake, queue, engine, _, _ = ready()
    engine.dead = True
    big = 3 * (1 << 30) + 5
    fake.gmc.first_hole = lambda start, end: None  # type: ignore[method-assign]
    queue.copy(1 << 40, 1 << 41, big)
    queue.submit()
    assert queue.wptr == 20 + 4 * 28
    assert "size_bytes=1073741824" in queue.packet_at(20)
    assert "size_bytes=5 " in queue.packet_at(20 + 3 * 28)


def test_copy_many_moves_all_in_order() -> None:
    _, queue, engine, src, dst = ready()
    at = np.arange(16, dtype=np.uint64)
    count = queue.copy_many(dst.gpu_va + 64 * at, src.gpu_va + 32 * at, 32)
    queue.submit()
    assert count == len(engine.packets) == 16
    assert all(dst.data[64 * n : 64 * n + 32] == src.data[32 * n : 32 * n + 32] for n in range(16))


def test_copy_many_larger_than_the_ring_goes_through_it() -> None:
    _, queue, engine, src, dst = ready(ring_bytes=4096)
    queue.copy_many(dst.gpu_va + np.arange(500), src.gpu_va + np.arange(500), 1)
    queue.submit()
    assert len(engine.packets) == 500
    assert dst.data[:500] == src.data[:500]


def test_fill_and_write_put_these_dwords_there() -> None:
    _, queue, _, _, dst = ready()
    queue.fill(dst, 0x11223344, PAGE, offset=PAGE)
    queue.write(dst, (1, 2, 3), offset=8)
    queue.write(dst.gpu_va, b"abcd")
    queue.submit()
    assert dst.data[PAGE : 2 * PAGE] == struct.pack("<I", 0x11223344) * 1024
    assert dst.data[:20] == b"abcd\xa5\xa5\xa5\xa5" + struct.pack("<III", 1, 2, 3)
    assert dst.data[2 * PAGE :] == b"\xa5" * (2 * PAGE)


def test_write_of_much_is_split_into_small_packets() -> None:
    _, queue, engine, src, dst = ready()
    queue.write(dst, bytes(src.data))
    queue.submit()
    assert dst.data == src.data
    assert len(engine.packets) == 16


def test_fence_writes_time_then_value_and_remembers_the_queue() -> None:
    fake, queue, engine, _, _ = ready()
    signal = fake_signal(fake)
    queue.start_time(signal)
    queue.fence(signal, (1 << 40) + 5)
    queue.submit()
    assert [text.split()[0] for text in engine.packets] == [
        "TIMESTAMP_GET_GLOBAL", "TIMESTAMP_GET_GLOBAL", "FENCE", "FENCE",
    ]  # fmt: skip
    assert signal.wait(1) == (1 << 40) + 5
    assert 0 < signal.start_ns < signal.end_ns
    assert signal.queue is queue


def test_fence_interrupts_where_there_are_interrupts_or_when_told() -> None:
    fake, queue, engine, _, _ = ready()
    signal = fake_signal(fake)
    fake.gpu.wait_interrupt = lambda seconds: True
    queue.fence(signal, 1, timestamp=False)
    queue.fence(signal, 2, timestamp=False, interrupt=False)
    queue.submit()
    assert [text.split()[0] for text in engine.packets] == ["FENCE", "FENCE", "TRAP", "FENCE", "FENCE"]
    assert "context=0x6" in engine.packets[2]


def test_timestamp_trap_poll_and_wait_build_their_packets() -> None:
    fake, queue, engine, _, dst = ready()
    signal = fake_signal(fake)
    queue.timestamp(dst, offset=8)
    queue.trap(0x123)
    queue.poll(dst, 5, 0xFF, Function.NOT_EQUAL, offset=4)
    queue.wait_signal(signal, 9)
    queue.submit()
    assert struct.unpack_from("<Q", dst.data, 8)[0] == fake.ticks
    assert "context=0x123" in engine.packets[1]
    assert f"address={dst.gpu_va + 4:#x} function=NOT_EQUAL reference=0x5 mask=0xff" in engine.packets[2]
    assert f"address={signal.value_va:#x} function=GREATER_EQUAL reference=0x9" in engine.packets[3]


def test_hdp_flush_uses_the_bit_of_the_engine_on_its_aid() -> None:
    fake, queue, engine, _, _ = ready()
    queue.hdp_flush()
    queue.submit()
    nbio = fake.gpu.block(Nbio, "NBIO")
    request = nbio.address_of(Nbio.BIF_BX_PF0_GPU_HDP_FLUSH_REQ)
    assert f"request={request:#x}" in engine.packets[0]
    assert "reference=0x1000 mask=0x1000" in engine.packets[0]  # engine 6 is the third of its AID: bit 12
    assert "hdp_flush" in engine.packets[0]


def fake_signal(fake: Fake) -> Any:
    from amdriver.signals import Signals

    return Signals(fake.gpu, fake.gmc).new()


# --- what is refused --------------------------------------------------------------------------------------------------


def freed(fake: Fake) -> FakeBuffer:
    buffer = fake.gmc.alloc(PAGE)
    buffer.free()
    return buffer


Work = Callable[[Fake, SdmaQueue, FakeBuffer, FakeBuffer], object]
REFUSED: list[tuple[str, Work, type[Exception], str]] = [
    ("size 0", lambda f, q, s, d: q.copy(d, s, 0), BadSize, "at least 1 byte"),
    ("negative size", lambda f, q, s, d: q.copy(d, s, -4), BadSize, "at least 1 byte"),
    ("address without size", lambda f, q, s, d: q.copy(d.gpu_va, s.gpu_va), BadSize, "a size with an address"),
    ("beyond source", lambda f, q, s, d: q.copy(d, s, PAGE, src_offset=4 * PAGE - 1), BadAddress, "within the buffer"),
    ("beyond target", lambda f, q, s, d: q.copy(d, s, PAGE, dst_offset=4 * PAGE - 1), BadAddress, "within the buffer"),
    ("before the buffer", lambda f, q, s, d: q.copy(d, s, 8, dst_offset=-4), BadAddress, "within the buffer"),
    ("freed source", lambda f, q, s, d: q.copy(d, freed(f)), Closed, "a buffer in use"),
    ("freed target", lambda f, q, s, d: q.fill(freed(f), 0), Closed, "a buffer in use"),
    ("overlap", lambda f, q, s, d: q.copy(d, d, 100, src_offset=50), BadAddress, "ranges that do not overlap"),
    ("itself", lambda f, q, s, d: q.copy(d, d), BadAddress, "ranges that do not overlap"),
    ("unmapped source", lambda f, q, s, d: q.copy(d, 0x5000, 8), NotMapped, "nothing is mapped at 0x5000"),
    ("past the mapping", lambda f, q, s, d: q.copy(d, s.gpu_va, 4 * PAGE + 1), NotMapped, "nothing is mapped"),
    ("unmapped end", lambda f, q, s, d: q.fill(d.gpu_va, 0, 5 * PAGE), NotMapped, "all of"),
    ("negative address", lambda f, q, s, d: q.fill(-4, 0, 4), NotMapped, "mapped"),
    ("beyond 48 bits", lambda f, q, s, d: q.fill(1 << 48, 0, 4), NotMapped, "mapped"),
    ("misaligned fill", lambda f, q, s, d: q.fill(d, 0, 4, offset=2), BadAlignment, "multiples of 4"),
    ("fill of half a dword", lambda f, q, s, d: q.fill(d, 0, 6), BadAlignment, "multiples of 4"),
    ("fill value", lambda f, q, s, d: q.fill(d, 1 << 32), UsageError, "value in 0"),
    ("misaligned time", lambda f, q, s, d: q.timestamp(d, offset=4), BadAlignment, "multiples of 8"),
    ("misaligned poll", lambda f, q, s, d: q.poll(d, 0, offset=1), BadAlignment, "multiples of 4"),
    ("nothing to write", lambda f, q, s, d: q.write(d, b""), BadSize, "at least 1 byte"),
    ("half a dword", lambda f, q, s, d: q.write(d, b"ab"), BadAlignment, "multiples of 4"),
    ("no copies", lambda f, q, s, d: q.copy_many([], [], []), BadSize, "at least one copy"),
    ("a copy of 0", lambda f, q, s, d: q.copy_many([d.gpu_va] * 2, s.gpu_va, [4, 0]), UsageError, "copy 1"),
    ("an unmapped one", lambda f, q, s, d: q.copy_many([d.gpu_va, 64], s.gpu_va, 4), NotMapped, "mapped at 0x40"),
]


@pytest.mark.parametrize(("work", "kind", "text"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_bad_work_is_refused_before_the_ring_is_touched(work: Work, kind: type[UsageError], text: str) -> None:
    fake, queue, engine, src, dst = ready()
    with pytest.raises(kind) as caught:
        work(fake, queue, src, dst)
    assert text in str(caught.value)
    assert isinstance(caught.value, UsageError)
    queue.submit()
    assert queue.wptr == 20
    assert engine.packets == []
