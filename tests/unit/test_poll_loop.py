"""base/poll.py: bounded, backs off, and tells the story when it gives up."""

from __future__ import annotations

from itertools import pairwise

import pytest

from base.clock import VirtualClock
from base.errors import WaitTimeout
from base.poll import poll


def test_poll_value_that_holds_at_once_costs_one_read_and_no_time() -> None:
    clock = VirtualClock()
    reads: list[float] = []

    def read() -> int:
        reads.append(clock.now())
        return 5

    value = poll(clock, read, lambda v: v == 5, doing="x", expected="5", timeout_s=1)
    assert value == 5 and reads == [0.0] and clock.now() == 0.0


def test_poll_pauses_double_up_to_the_longest() -> None:
    clock = VirtualClock()
    times: list[float] = []

    def read() -> int:
        times.append(clock.now())
        return len(times)

    poll(clock, read, lambda n: n == 8, doing="x", expected="8", timeout_s=60, first_pause_s=1, longest_pause_s=4)
    pauses = [round(b - a, 9) for a, b in pairwise(times)]
    assert pauses == [1, 2, 4, 4, 4, 4, 4]


def test_poll_time_out_reads_once_more_at_the_very_end() -> None:
    clock = VirtualClock()
    assert poll(clock, clock.now, lambda now: now >= 2.0, doing="x", expected="2 s", timeout_s=2) == 2.0


def test_poll_time_out_tells_last_value_reads_and_changes() -> None:
    clock = VirtualClock()
    with pytest.raises(WaitTimeout) as caught:
        poll(
            clock,
            lambda: 0x10 if clock.now() < 0.5 else 0x20,
            lambda v: v == 1,
            doing="SMU message Test",
            expected="RESPONSE != 0",
            timeout_s=1,
            where="MP1 @ BAR5",
            next_step="gpumend probe",
            show=hex,
            first_pause_s=0.25,
            longest_pause_s=0.25,
        )
    error = caught.value
    assert error.expected == "RESPONSE != 0 within 1 s"
    assert error.seen == "0x20 after 5 reads; changes: 0.000s 0x10, 0.500s 0x20"
    assert (error.where, error.next_step) == ("MP1 @ BAR5", "gpumend probe")
    assert clock.now() == 1.0


def test_poll_many_changes_are_counted_not_listed() -> None:
    clock = VirtualClock()
    numbers = iter(range(1000))
    with pytest.raises(WaitTimeout, match=r"changes: 0\.000s 0, .*7 and 93 more"):
        poll(
            clock,
            lambda: next(numbers),
            lambda v: False,
            doing="x",
            expected="y",
            timeout_s=1,
            first_pause_s=0.01,
            longest_pause_s=0.01,
        )


def test_poll_zero_time_reads_once() -> None:
    with pytest.raises(WaitTimeout, match="after 1 reads"):
        poll(VirtualClock(), lambda: 0, bool, doing="x", expected="y", timeout_s=0)


def test_poll_error_of_the_read_goes_through() -> None:
    def broken() -> int:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        poll(VirtualClock(), broken, bool, doing="x", expected="y", timeout_s=1)
