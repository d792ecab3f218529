"""A second look at what seems stuck: bounded, shared, and fair."""

from __future__ import annotations

import pytest

from base.clock import VirtualClock
from base.findings import Finding, Severity
from probe.watch import WATCH_S, Suspect, watch


def suspect(name: str, clears_at: float, clock: VirtualClock, asked: list[str] | None = None) -> Suspect:
    def cleared() -> bool:
        if asked is not None:
            asked.append(name)
        return clock.now() >= clears_at

    return Suspect(name, cleared, lambda watched_s: Finding(name, Severity.ERROR, f"{watched_s:.2f}"))


def test_watch_nobody_costs_no_time() -> None:
    clock = VirtualClock()
    assert watch([], clock) == []
    assert clock.now() == 0


def test_watch_a_suspect_that_moves_is_cleared_early() -> None:
    clock = VirtualClock()
    assert watch([suspect("a", 0.03, clock)], clock) == []
    assert 0.03 <= clock.now() < 0.1


def test_watch_a_suspect_that_never_moves_is_found_after_the_whole_watch() -> None:
    clock = VirtualClock()
    (finding,) = watch([suspect("a", 1e9, clock)], clock)
    assert finding.summary == "1.00"
    assert clock.now() == pytest.approx(WATCH_S, abs=1e-3)


def test_watch_all_suspects_share_one_watch_and_only_the_stuck_one_is_found() -> None:
    clock = VirtualClock()
    asked: list[str] = []
    found = watch([suspect("a", 0.2, clock, asked), suspect("b", 1e9, clock, asked)], clock)
    assert [finding.code for finding in found] == ["b"]
    assert clock.now() == pytest.approx(WATCH_S, abs=1e-3)
    assert asked.count("a") < asked.count("b")


def test_watch_ends_whatever_the_clock_and_the_limit_are() -> None:
    # The rest of the time can be too small to be added to the clock; that must not go on for ever.
    for step in range(300):
        clock = VirtualClock(0.1 * step + 0.3)
        limit_s = 0.0173 * step
        assert len(watch([suspect("a", 1e9, clock)], clock, limit_s)) == 1
        assert clock.now() >= 0.1 * step + 0.3 + limit_s - 1e-6
