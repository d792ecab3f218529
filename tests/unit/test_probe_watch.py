"""A second look at what seems stuck: bounded, shared, and fair."""

from __future__ import annotations

import pytest

from base.clock import VirtualClock
from base.errors import DeviceLost, Refused
from base.findings import Finding, Severity
from probe.bounded import OutOfTime
from probe.watch import LEAST_S, WATCH_S, Suspect, watch


def suspect(name: str, clears_at: float, clock: VirtualClock, asked: list[str] | None = None) -> Suspect:
    def cleared() -> bool:
        if asked is not None:
            asked.append(name)
        return clock.now() >= clears_at

    return Suspect(name, cleared, lambda watched_s: Finding(name, Severity.ERROR, f"{watched_s:.2f}"))


def test_watch_nobody_costs_no_time() -> None:
    clock = VirtualClock()
    assert watch([], clock) == ([], [])
    assert clock.now() == 0


def test_watch_a_suspect_that_moves_is_cleared_early() -> None:
    clock = VirtualClock()
    assert watch([suspect("a", 0.03, clock)], clock) == ([], [])
    assert 0.03 <= clock.now() < 0.1


def test_watch_a_suspect_that_never_moves_is_found_after_the_whole_watch() -> None:
    clock = VirtualClock()
    (finding,), undecided = watch([suspect("a", 1e9, clock)], clock)
    assert undecided == []
    assert finding.summary == "1.00"
    assert clock.now() == pytest.approx(WATCH_S, abs=1e-3)


def test_watch_all_suspects_share_one_watch_and_only_the_stuck_one_is_found() -> None:
    clock = VirtualClock()
    asked: list[str] = []
    found = watch([suspect("a", 0.2, clock, asked), suspect("b", 1e9, clock, asked)], clock)
    assert [finding.code for finding in found.findings] == ["b"]
    assert clock.now() == pytest.approx(WATCH_S, abs=1e-3)
    assert asked.count("a") < asked.count("b")


def test_watch_ends_whatever_the_clock_and_the_limit_are() -> None:
    # The rest of the time can be too small to be added to the clock; that must not go on for ever.
    for step in range(300):
        clock = VirtualClock(0.1 * step + 0.3)
        limit_s = 0.0173 * step
        findings, undecided = watch([suspect("a", 1e9, clock)], clock, limit_s)
        assert len(findings) + len(undecided) == 1
        assert clock.now() >= 0.1 * step + 0.3 + limit_s - 1e-6


@pytest.mark.parametrize("limit_s", [0.0, 0.1, LEAST_S - 0.01])
def test_watch_that_is_too_short_calls_nobody_stuck(limit_s: float) -> None:
    clock = VirtualClock()
    taken_back: list[str] = []
    doubtful = suspect("a", 1e9, clock)
    doubtful.unsure = lambda: taken_back.append("a")
    findings, undecided = watch([doubtful], clock, limit_s)
    assert (findings, undecided, taken_back) == ([], [doubtful], ["a"])
    assert doubtful.reason.startswith("looks stuck, but was watched for 0.")
    assert doubtful.reason.endswith("s only; 0.25 s are needed")


def test_watch_of_the_least_time_is_enough() -> None:
    clock = VirtualClock()
    findings, undecided = watch([suspect("a", 1e9, clock)], clock, LEAST_S)
    assert ([finding.summary for finding in findings], undecided) == (["0.25"], [])


def test_watch_ended_by_a_late_read_keeps_those_that_were_watched_and_doubts_the_rest() -> None:
    clock = VirtualClock()
    first = suspect("first", 1e9, clock)
    rounds = iter((False, True))

    def late() -> bool:  # answers once; its second sample comes too late
        clock.sleep(0.5)
        if next(rounds):
            raise OutOfTime("reading the GPU")
        return False

    second = Suspect("second", late, lambda watched_s: Finding("second", Severity.ERROR, "x"))
    findings, undecided = watch([first, second], clock)
    assert [finding.code for finding in findings] == ["first"]
    assert undecided == [second]


def test_watch_suspect_that_cannot_be_sampled_again_is_undecided_and_the_others_are_watched() -> None:
    clock = VirtualClock()

    def refused() -> bool:
        raise Refused("using index registers", seen="held by pid 7 (python)")

    silent = Suspect("a", refused, lambda watched_s: Finding("a", Severity.ERROR, "x"))
    findings, undecided = watch([silent, suspect("b", 1e9, clock)], clock)
    assert [finding.code for finding in findings] == ["b"]
    assert undecided == [silent]
    assert silent.reason == "using index registers refused: held by pid 7 (python)"
    assert clock.now() == pytest.approx(WATCH_S, abs=1e-3)


def test_watch_device_that_leaves_ends_it() -> None:
    def gone() -> bool:
        raise DeviceLost("reading BAR5")

    with pytest.raises(DeviceLost):
        watch([Suspect("a", gone, lambda watched_s: Finding("a", Severity.ERROR, "x"))], VirtualClock())
