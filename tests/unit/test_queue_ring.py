"""The ring under every queue: room, wrap, pointers, doorbell, and the report of a queue that is stuck."""

from __future__ import annotations

import pickle
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdriver.memory import Closed
from amdriver.ring import CONTROL_BYTES, Queue, QueueStuck
from base.errors import DeviceLost, Unavailable, UsageError
from tests.unit.queue_fake import Fake, FakeBuffer

RING = 4096
DOORBELL = 0x11
NOP = b"\xee\xee\xee\xee"


class Plain(Queue):
    """Packets of numbers; the filler is a dword that no test sends."""

    state_fails = False

    def _decode(self, data: bytes) -> str:
        return f"dword {struct.unpack_from('<I', data)[0]:#x}"

    def _filler(self, size_bytes: int) -> bytes:
        return NOP * (size_bytes // 4)

    def _state(self) -> tuple[tuple[str, ...], str]:
        if self.state_fails:
            raise Unavailable("reading the state")
        return ("X[0].STATUS=0x00000001 (IDLE=1)",), "X[0].STATUS @ BAR5+0x40 on fake"


class Consumer:
    """Reads up to the doorbell, `lag` bytes behind it when told so; reports a pointer that wraps when told so."""

    def __init__(self, fake: Fake, queue: Queue, buffer: FakeBuffer, *, wraps: bool = False, unit: int = 1) -> None:
        self.queue, self.buffer, self.wraps, self.unit = queue, buffer, wraps, unit
        self.read = 0
        self.got = b""
        self.awake = True
        self.most = 0
        fake.transport.on_doorbell[DOORBELL] = self.doorbell

    def doorbell(self, value: int) -> None:
        wptr = value * self.unit
        assert wptr - self.read <= RING - 64, "overrun"
        self.most = max(self.most, wptr - self.read)
        if self.awake:
            self.consume(wptr)

    def consume(self, wptr: int) -> None:
        while self.read < wptr:
            at = self.read % RING
            size = min(RING - at, wptr - self.read)
            self.got += self.buffer.read(at, size)
            self.read += size
        told = self.read % RING if self.wraps else self.read
        self.buffer.data[RING : RING + 8] = struct.pack("<Q", told // self.unit)


def made(fake: Fake | None = None, *, wraps: bool = False) -> tuple[Fake, Plain, FakeBuffer, Consumer]:
    fake = fake or Fake()
    buffer = fake.gmc.alloc(RING + CONTROL_BYTES, where="host")
    queue = Plain(
        fake.gpu, fake.gmc, buffer, name="plain", at=0, address=buffer.gpu_va, ring_bytes=RING, doorbell=DOORBELL
    )
    queue.restart()
    return fake, queue, buffer, Consumer(fake, queue, buffer, wraps=wraps)


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


# --- submitting -------------------------------------------------------------------------------------------------------


def test_submit_writes_ring_then_pointer_in_memory_then_doorbell() -> None:
    fake, queue, buffer, consumer = made()
    consumer.awake = False
    buffer.writes.clear()
    assert queue.submit(words(1, 2, 3)) == 12
    assert buffer.writes == [(0, words(1, 2, 3)), (RING + 64, struct.pack("<Q", 12))]
    assert fake.transport.log[-1] == ("D", 2, 8 * DOORBELL, 12)


def test_add_tells_the_engine_nothing_until_submit() -> None:
    fake, queue, _, consumer = made()
    queue.add(words(1))
    queue.add(words(2, 3))
    assert fake.transport.count("D") == 0
    queue.submit()
    assert consumer.got == words(1, 2, 3)
    assert fake.transport.count("D") == 1


def test_discard_forgets_what_was_added() -> None:
    _, queue, _, consumer = made()
    queue.add(words(1))
    queue.discard()
    queue.submit(words(2))
    assert consumer.got == words(2)


@pytest.mark.parametrize("size", [0, 2, 6, RING // 2])
def test_add_of_bad_size_is_refused_and_leaves_the_ring_alone(size: int) -> None:
    _, queue, buffer, _ = made()
    buffer.writes.clear()
    with pytest.raises(UsageError, match=r"whole dwords, 4..1984 bytes in one piece"):
        queue.add(bytes(size))
    queue.submit()
    assert queue.wptr == 0
    assert [offset for offset, _ in buffer.writes] == [RING + 64]


@pytest.mark.parametrize("size", [0, 1000, 6000, 2048, 1 << 28])
def test_queue_with_ring_of_bad_size_is_refused(size: int) -> None:
    fake = Fake()
    with pytest.raises(UsageError, match="ring_bytes a power of two"):
        Plain(fake.gpu, fake.gmc, fake.gmc.alloc(4096), name="plain", at=0, address=0, ring_bytes=size, doorbell=0)


def test_submit_that_does_not_fit_before_the_end_is_put_behind_fillers_at_the_start() -> None:
    _, queue, buffer, consumer = made()
    queue.submit(bytes(1984))
    queue.submit(bytes(1984))
    queue.submit(words(*range(64)))
    assert queue.wptr == RING + 256
    assert bytes(buffer.data[3968:4096]) == NOP * 32
    assert bytes(buffer.data[:256]) == words(*range(64))
    assert consumer.read == queue.wptr


@given(st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=6), min_size=1, max_size=40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_packets_come_out_whole_and_in_order(batches: list[list[int]], wraps: bool) -> None:
    _, queue, _, consumer = made(wraps=wraps)
    sent = b""
    number = 0
    for batch in batches:
        for dwords in batch:
            number += 1
            packet = words(*([number] * dwords))
            sent += packet
            queue.add(packet)
        queue.submit()
    got = [word for word in struct.unpack(f"<{len(consumer.got) // 4}I", consumer.got) if word != 0xEEEEEEEE]
    assert words(*got) == sent
    assert queue.rptr == queue.wptr
    assert queue.idle


# --- room -------------------------------------------------------------------------------------------------------------


def test_submit_without_room_waits_until_the_engine_reads() -> None:
    fake, queue, _, consumer = made()
    consumer.awake = False
    queue.submit(bytes(1984))
    queue.submit(bytes(1984))
    slept = fake.clock.sleep

    def wake_up(seconds: float) -> None:
        slept(seconds)
        if fake.clock.now() > 0.5:
            consumer.consume(queue.wptr)

    fake.clock.sleep = wake_up  # type: ignore[method-assign]
    queue.submit(bytes(1984))
    assert 0.5 < fake.clock.now() < 0.6
    assert consumer.most <= RING - 64


def test_submit_without_room_rings_what_it_has_written_before_it_waits() -> None:
    _, queue, _, consumer = made()
    queue._seen_rptr = 0
    for _ in range(5):
        queue.add(bytes(1600))
    queue.submit()
    assert consumer.read == queue.wptr
    assert consumer.most <= RING - 64


def test_submit_to_an_engine_that_never_reads_is_stuck_in_bounded_time() -> None:
    fake, queue, buffer, consumer = made()
    consumer.awake = False
    queue.submit(words(0xABCD) + bytes(1980))
    queue.submit(bytes(1984))
    before = bytes(buffer.data[:RING])
    with pytest.raises(QueueStuck) as caught:
        queue.submit(bytes(1984))
    assert 10.0 <= fake.clock.now() < 10.1
    assert bytes(buffer.data[:RING]) == before
    assert caught.value.packet == "dword 0xabcd"
    assert "bytes of room within 10 s" in caught.value.expected


def test_wait_idle_returns_when_all_was_read_and_is_stuck_when_not() -> None:
    _, queue, _, consumer = made()
    queue.submit(words(1))
    queue.wait_idle(0.1)
    consumer.awake = False
    queue.submit(words(2))
    with pytest.raises(QueueStuck, match="waiting for plain to read its ring"):
        queue.wait_idle(0.1)


def test_submit_when_the_device_is_lost_ends_with_device_lost() -> None:
    fake, queue, _, _ = made()
    fake.transport.lost = True
    queue.submit(bytes(1984))
    queue.submit(bytes(1984))
    with pytest.raises(DeviceLost, match="waiting for plain"):
        queue.submit(bytes(1984))
    assert fake.clock.now() < 11


# --- the report -------------------------------------------------------------------------------------------------------


def stuck_one() -> tuple[Fake, QueueStuck]:
    fake, queue, _, consumer = made()
    queue.submit(words(1, 2))
    consumer.awake = False
    fake.gmc.latched = ["MMHUB[0] VMID 0 read at 0x1000"]
    queue.submit(words(0x77, 5, 6))
    with pytest.raises(QueueStuck) as caught:
        queue.wait_idle(0.1)
    return fake, caught.value


def test_stuck_queue_tells_pointers_doorbell_packet_registers_and_faults() -> None:
    _, stuck = stuck_one()
    assert (stuck.queue, stuck.rptr, stuck.wptr, stuck.doorbell) == ("plain", 8, 20, DOORBELL)
    text = str(stuck)
    assert "plain: rptr 0x8 wptr 0x14 (12 bytes not read), doorbell 0x11" in text
    assert "at the read pointer: dword 0x77" in text
    assert "X[0].STATUS=0x00000001 (IDLE=1)" in text
    assert "page fault: MMHUB[0] VMID 0 read at 0x1000" in text
    assert "X[0].STATUS @ BAR5+0x40 on fake" in text
    assert "queue-reset" in text


def test_stuck_queue_survives_pickling_with_all_it_tells() -> None:
    _, stuck = stuck_one()
    again = pickle.loads(pickle.dumps(stuck))
    assert (str(again), again.packet, again.registers) == (str(stuck), stuck.packet, stuck.registers)


def test_stuck_queue_whose_state_cannot_be_read_still_tells_the_rest() -> None:
    _, queue, _, consumer = made()
    consumer.awake = False
    queue.state_fails = True
    queue.submit(words(9))
    with pytest.raises(QueueStuck) as caught:
        queue.wait_idle(0.1)
    assert caught.value.registers == ()
    assert caught.value.packet == "dword 0x9"
    assert caught.value.where == "plain"


def test_packet_at_an_empty_ring_says_that_all_was_read() -> None:
    _, queue, _, _ = made()
    queue.submit(words(1))
    assert "all was read" in queue.packet_at(queue.rptr)


# --- life -------------------------------------------------------------------------------------------------------------


def test_closed_queue_refuses_work() -> None:
    _, queue, _, _ = made()
    queue.close()
    for work in (lambda: queue.add(words(1)), queue.submit):
        with pytest.raises(Closed, match="using plain"):
            work()


def test_restart_puts_all_pointers_at_the_start() -> None:
    _, queue, buffer, _ = made()
    queue.submit(words(1, 2))
    queue.add(words(3))
    queue.restart()
    assert (queue.wptr, queue.rptr) == (0, 0)
    assert bytes(buffer.data[RING : RING + 136]) == bytes(136)
    queue.submit()
    assert queue.wptr == 0
