"""base/clock.py: virtual time jumps, hands one baton, and gives the same run each time."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from base.clock import Clock, Outcome, RealClock, VirtualClock


def test_clock_sleeping_alone_jumps() -> None:
    clock = VirtualClock(100.0)
    before = time.monotonic()
    clock.sleep(3600)
    clock.sleep(-5)
    assert clock.now() == 3700.0
    assert time.monotonic() - before < 5


def run_steps(clock: VirtualClock) -> list[tuple[str, float]]:
    log: list[tuple[str, float]] = []

    def worker(name: str, pause_s: float) -> str:
        for _ in range(5):
            log.append((name, clock.now()))
            clock.sleep(pause_s)
        return name

    outcomes = clock.run_together([partial(worker, n, p) for n, p in (("a", 3.0), ("b", 2.0), ("c", 2.0))])
    assert [outcome.unwrap() for outcome in outcomes] == ["a", "b", "c"]
    return log


def test_clock_run_together_orders_by_deadline_then_by_who_asked_first() -> None:
    clock = VirtualClock()
    log = run_steps(clock)
    assert clock.now() == 15.0
    assert log[:6] == [("a", 0.0), ("b", 0.0), ("c", 0.0), ("b", 2.0), ("c", 2.0), ("a", 3.0)]
    assert [when for _, when in log] == sorted(when for _, when in log)


def test_clock_run_together_is_the_same_each_time() -> None:
    first = run_steps(VirtualClock())
    assert all(run_steps(VirtualClock()) == first for _ in range(50))


def test_clock_run_together_runs_one_at_a_time() -> None:
    clock = VirtualClock()
    inside = 0

    def worker() -> None:
        nonlocal inside
        for _ in range(20):
            inside += 1
            assert inside == 1
            time.sleep(0)  # real time passes, another thread might run
            inside -= 1
            clock.sleep(1.0)

    for outcome in clock.run_together([worker] * 8):
        outcome.unwrap()
    assert clock.now() == 20.0


def test_clock_run_together_time_is_the_longest_not_the_sum() -> None:
    clock = VirtualClock()
    clock.run_together([partial(clock.sleep, s) for s in (1.0, 10.0, 4.0)])
    assert clock.now() == 10.0


def test_clock_run_together_exception_is_an_outcome_and_others_finish() -> None:
    clock = VirtualClock()

    def bad() -> int:
        clock.sleep(1)
        raise KeyError("no")

    outcomes = clock.run_together([bad, lambda: 7])
    assert isinstance(outcomes[0].error, KeyError) and outcomes[0].value is None
    assert outcomes[1] == Outcome(value=7)
    with pytest.raises(KeyError):
        outcomes[0].unwrap()


def test_clock_run_together_system_exit_of_a_worker_is_an_outcome() -> None:
    def leave() -> None:
        raise SystemExit(3)

    (outcome,) = VirtualClock().run_together([leave])
    assert isinstance(outcome.error, SystemExit)


def test_clock_run_together_nested_shares_one_time() -> None:
    clock = VirtualClock()
    log: list[tuple[str, float]] = []

    def inner(name: str, seconds: float) -> None:
        clock.sleep(seconds)
        log.append((name, clock.now()))

    def outer(name: str, first: float) -> float:
        clock.run_together([lambda: inner(name + "1", first), lambda: inner(name + "2", first + 1)])
        clock.sleep(10)
        return clock.now()

    outcomes = clock.run_together([lambda: outer("x", 1.0), lambda: outer("y", 1.5)])
    assert log == [("x1", 1.0), ("y1", 1.5), ("x2", 2.0), ("y2", 2.5)]
    assert [outcome.unwrap() for outcome in outcomes] == [12.0, 12.5]
    assert clock.now() == 12.5


def test_clock_run_together_of_nothing_is_nothing() -> None:
    clock = VirtualClock()
    assert clock.run_together([]) == [] and clock.now() == 0.0


def test_clock_run_together_twice_goes_on_from_where_it_was() -> None:
    clock = VirtualClock()
    for _ in range(3):
        clock.run_together([lambda: clock.sleep(2.0), lambda: clock.sleep(1.0)])
    clock.sleep(0.5)
    assert clock.now() == 6.5


def test_clock_real_runs_side_by_side_and_returns_in_order() -> None:
    clock: Clock = RealClock()
    barrier = threading.Barrier(3, timeout=10)  # passes only if all three run at once

    def worker(number: int) -> int:
        barrier.wait()
        clock.sleep(0.001 * (3 - number))
        if number == 1:
            raise ValueError("one")
        return number

    outcomes = clock.run_together([partial(worker, n) for n in range(3)])
    assert [outcome.value for outcome in outcomes] == [0, None, 2]
    assert isinstance(outcomes[1].error, ValueError)
    before = clock.now()
    clock.sleep(0)
    assert clock.now() >= before
