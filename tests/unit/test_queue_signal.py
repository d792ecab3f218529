"""Signals: what engines find where, waiting with and without interrupts, and who is asked when a wait runs out."""

from __future__ import annotations

import struct

import pytest

from amdriver.memory import Closed, DoubleFree
from amdriver.ring import QueueStuck
from amdriver.signals import Signals, ticks_to_ns
from base.errors import DeviceLost, UsageError, WaitTimeout
from tests.unit.queue_fake import Fake


class Accused:
    """A queue that explains itself."""

    def __str__(self) -> str:
        return "SDMA 3"

    def stuck(self, late: WaitTimeout) -> QueueStuck:
        return QueueStuck(late.doing, queue="SDMA 3", rptr=0, wptr=4, doorbell=1, packet="TRAP", registers=())


def test_signal_lies_in_uncached_host_memory_as_aql_wants_it() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new(-2)
    (buffer,) = fake.gmc.live
    assert (buffer.where, buffer.uncached) == ("host", True)
    assert signal.address % 64 == 0
    kind, value, start, end = struct.unpack("<qq16xQQ16x", fake.gmc.read_at(signal.address, 64))
    assert (kind, value, start, end) == (1, -2, 0, 0)
    assert [signal.value_va, signal.start_va, signal.end_va] == [signal.address + at for at in (8, 32, 40)]


def test_signal_reads_what_an_engine_wrote() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new()
    fake.gmc.write_at(signal.value_va, struct.pack("<q", 7 << 32))
    fake.gmc.write_at(signal.start_va, struct.pack("<QQ", 100, 250))
    assert (signal.value, signal.start_ns, signal.end_ns) == (7 << 32, 1000, 2500)
    signal.set(3)
    assert signal.value == 3


def test_ticks_of_the_100_mhz_clock_are_10_ns() -> None:
    assert ticks_to_ns(100_000_000) == 1_000_000_000


def test_wait_returns_the_value_once_it_is_reached() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new()
    slept = fake.clock.sleep

    def sleep(seconds: float) -> None:
        slept(seconds)
        if fake.clock.now() > 0.2:
            signal.set(9)

    fake.clock.sleep = sleep  # type: ignore[method-assign]
    assert signal.wait(5, 1.0) == 9
    assert 0.2 < fake.clock.now() < 0.22


def test_wait_at_most_returns_when_it_has_come_down() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new(1)
    with pytest.raises(WaitTimeout, match=r"a value of at most 0 within 0.1 s"):
        signal.wait_at_most(0, 0.1)
    signal.set(0)
    assert signal.wait_at_most(0, 0.1) == 0


def test_wait_that_runs_out_asks_the_queue_that_was_to_write() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new()
    signal.queue = Accused()
    with pytest.raises(QueueStuck, match="waiting for a fence of SDMA 3") as caught:
        signal.wait(1, 0.5)
    assert caught.value.packet == "TRAP"
    assert 0.5 <= fake.clock.now() < 0.52


def test_wait_that_runs_out_without_a_queue_is_a_plain_timeout() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new()
    with pytest.raises(WaitTimeout, match="waiting for Signal at") as caught:
        signal.wait(1, 0.5)
    assert not isinstance(caught.value, QueueStuck)


def test_wait_on_a_lost_device_ends_with_device_lost() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new()
    signal.queue = Accused()
    fake.transport.lost = True
    with pytest.raises(DeviceLost):
        signal.wait(1, 0.5)


def test_wait_with_interrupts_sleeps_in_them_and_not_on_the_clock() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new()
    pauses: list[float] = []

    def interrupt(seconds: float) -> bool:
        pauses.append(seconds)
        if len(pauses) == 3:
            signal.set(1)
        return True

    fake.gpu.wait_interrupt = interrupt
    signal.wait(1, 1.0)
    assert len(pauses) == 3
    assert max(pauses) <= 0.01
    assert fake.clock.now() == 0


def test_freed_signal_refuses_everything_and_its_place_is_used_again() -> None:
    fake = Fake()
    pool = Signals(fake.gpu, fake.gmc)
    signal = pool.new()
    at = signal.address
    signal.free()
    with pytest.raises(DoubleFree, match="it was freed before"):
        signal.free()
    with pytest.raises(Closed, match="keep it for as long as something may write it"):
        signal.wait(1)
    assert pool.in_use == 0
    assert pool.new(4).address == at


def test_pool_takes_one_page_for_64_signals_and_gives_all_back() -> None:
    fake = Fake()
    pool = Signals(fake.gpu, fake.gmc)
    signals = [pool.new(n) for n in range(65)]
    assert len({signal.address for signal in signals}) == 65
    assert len(fake.gmc.live) == 2
    assert [signal.value for signal in signals] == list(range(65))
    pool.close()
    assert fake.gmc.live == []


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1])
def test_signal_of_more_than_64_bits_is_refused(value: int) -> None:
    fake = Fake()
    with pytest.raises(UsageError, match="a value of 64 bits"):
        Signals(fake.gpu, fake.gmc).new(value)
    assert fake.gmc.live == []


def test_interruptible_wait_runs_out_by_the_clock_when_no_interrupt_helps() -> None:
    fake = Fake()
    signal = Signals(fake.gpu, fake.gmc).new()
    fake.gpu.wait_interrupt = fake.clock.sleep
    with pytest.raises(WaitTimeout):
        signal.wait(1, 0.3)
    assert 0.3 <= fake.clock.now() < 0.32
