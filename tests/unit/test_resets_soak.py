"""A soak: statistics that are right, and when it ends."""

from __future__ import annotations

from base.errors import Exit
from base.findings import Action, Health, ProbeReport
from base.resets import GpuOutcome, Outcome, ResetReport, ResetStep, StepStatus, numbers
from resets.soak import SoakReport, chart, quantile, soak

WELL = ProbeReport(0, "0000:05:00.0", "MI350X", "gfx950", Health.HEALTHY, Action.NONE)


def round_of(outcome: Outcome, *statuses: StepStatus, seconds: float = 1.0) -> ResetReport:
    steps = [
        ResetStep(number, "mode1", Action.MODE1, (0,), status, seconds, 0.0, "")
        for number, status in enumerate(statuses, 1)
    ]
    return ResetReport("mode1", (GpuOutcome(WELL, WELL, outcome),), tuple(steps), seconds, 0.0)


OK = round_of(Outcome.RECOVERED, StepStatus.VERIFIED)
CLIMBED = round_of(Outcome.RECOVERED, StepStatus.FAILED, StepStatus.VERIFIED)
FAILED = round_of(Outcome.FAILED, StepStatus.FAILED)
WORSE = round_of(Outcome.FAILED, StepStatus.WORSE)
REFUSED = round_of(Outcome.REFUSED)


def run(*rounds: ResetReport, until_failure: bool = False) -> SoakReport:
    return soak(len(rounds), lambda number: rounds[number - 1], until_failure=until_failure)


def test_all_ok_is_0() -> None:
    report = run(OK, OK, OK)
    assert (report.ok, report.rate, report.exit_code, report.first_failure) == (3, 1.0, Exit.OK, None)


def test_round_in_which_a_later_method_helped_goes_on_and_is_1() -> None:
    report = run(OK, CLIMBED, OK, until_failure=True)
    assert (len(report.rounds), report.ok, report.climbed, report.failed) == (3, 2, 1, 0)
    assert report.exit_code == Exit.PROBLEM
    assert report.first_failure is report.rounds[1]


def test_failure_ends_it_only_when_asked() -> None:
    assert len(run(OK, FAILED, OK).rounds) == 3
    assert len(run(OK, FAILED, OK, until_failure=True).rounds) == 2


def test_worse_and_refused_always_end_it() -> None:
    assert len(run(OK, WORSE, OK).rounds) == 2
    report = run(REFUSED, OK)
    assert (len(report.rounds), report.exit_code) == (1, Exit.REFUSED)


def test_first_and_last_failure_are_captured_and_no_other() -> None:
    captured: list[int] = []

    def capture(one: object) -> str:
        captured.append(one.number)  # type: ignore[attr-defined]
        return f"/bundle{len(captured)}"

    report = soak(5, lambda number: FAILED, capture=capture)
    assert (captured, report.evidence, report.last_evidence) == ([1, 5], "/bundle1", "/bundle2")
    captured.clear()
    report = soak(3, lambda number: FAILED if number < 3 else OK, capture=capture)
    assert (captured, report.evidence, report.last_evidence) == ([1], "/bundle1", "")


def test_interrupt_keeps_the_statistics_so_far() -> None:
    def once(number: int) -> ResetReport:
        if number == 3:
            raise KeyboardInterrupt
        return OK

    report = soak(10, once)
    assert (len(report.rounds), report.interrupted, report.exit_code) == (2, True, Exit.INTERRUPTED)
    report = soak(10, lambda number: OK, asked=lambda: True)
    assert (len(report.rounds), report.exit_code) == (1, Exit.INTERRUPTED)


def test_quantiles() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([float(value) for value in range(1, 101)], 0.95) == 95.0
    assert quantile([7.0], 0.95) == 7.0


def test_statistics_leave_out_what_was_not_recovered() -> None:
    told = run(OK, round_of(Outcome.FAILED, StepStatus.FAILED, seconds=300)).to_dict()
    assert (told["median_s"], told["max_s"], told["rate"]) == (1.0, 1.0, 0.5)
    assert SoakReport(5, ()).to_dict()["rate"] is None


def test_chart_has_a_bar_for_each_round_and_joins_many() -> None:
    assert chart([], []) == []
    assert chart([1.0, 2.0, 8.0], ["ok", "failed", "climbed"]) == [("▂", "ok"), ("x", "failed"), ("█", "climbed")]
    assert len(chart([1.0] * 1000, ["ok"] * 1000, width=60)) <= 60


def test_numbers_are_joined() -> None:
    assert numbers([]) == ""
    assert numbers([5, 0, 1, 2, 7, 8]) == "0-2, 5, 7, 8"
