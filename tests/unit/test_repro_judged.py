"""What an iteration comes to, and what many of them come to together."""

from __future__ import annotations

import pytest

from base.errors import Exit, GpumendError
from base.findings import Action, Finding, Health, ProbeReport, Severity
from base.runs import Iteration, RunOutcome, RunReport, Word, interval, spread_of, statistics
from repro.judge import Facts, judge, known_before
from repro.modules import Done
from repro.scenario import Scenario, build
from repro.watching import Seen
from repro.yamlfile import parse

TEXT = """\
name: mine
shows: every kind of condition that there is
parts: [all]
through: userspace
actions: [{name: one, module: wait, seconds: 1}, {name: two, module: wait, seconds: 1}]
watch: [probe, kernel-log, devcoredump]
kernel_log: [{name: oops, pattern: 'BUG: '}, {name: other, pattern: 'else'}]
reproduced:
  - {finding: "amd.psp.*"}
  - {action: one}
  - {kernel_log: oops}
  - {devcoredump: true}
  - {spread: 10}
  - {throttled: true}
"""


@pytest.fixture
def scenario() -> Scenario:
    return build(parse(TEXT, "mine.yaml"), TEXT)


def report(*codes: str, health: Health = Health.HUNG) -> ProbeReport:
    findings = tuple(Finding(code, Severity.ERROR, f"summary of {code}") for code in codes)
    return ProbeReport(3, "0000:75:00.0", "MI350X", "gfx950", health, Action.NONE, findings)


FAILED = Done("failed", error=GpumendError("doing it", seen="nothing"))
CASES = [
    ("nothing", Facts(), Word.OK, ""),
    ("finding", Facts(after=[report("amd.psp.bootloader")]), Word.REPRODUCED, "[amd.psp.bootloader]"),
    ("another finding", Facts(after=[report("amd.gfx.mec")]), Word.FAILED, "[amd.gfx.mec]"),
    ("action that counts", Facts({"one": FAILED}), Word.REPRODUCED, "one failed: doing it failed: nothing"),
    ("action that does not", Facts({"two": FAILED}), Word.FAILED, "two failed"),
    ("action nobody can tell", Facts({"two": Done("unverified")}), Word.UNVERIFIED, "two could not be verified"),
    ("log line that counts", Facts(seen=[Seen((("oops", "BUG: x"),))]), Word.REPRODUCED, "kernel log, oops: BUG: x"),
    ("log line that does not", Facts(seen=[Seen((("other", "else"),))]), Word.OK, ""),
    ("core dump", Facts(seen=[Seen(dumps=("devcd1.txt",))]), Word.REPRODUCED, "core dump devcd1.txt"),
    ("times apart", Facts(samples=[1.0, 1.0, 1.2]), Word.REPRODUCED, "20.0 % apart"),
    ("times together", Facts(samples=[1.0, 1.0, 1.05]), Word.OK, ""),
    ("throttled", Facts(throttled={"socket power": 0.002}), Word.REPRODUCED, "throttled by socket power for 2 ms"),
    ("log not all seen", Facts(seen=[Seen(blind="the watcher has ended")]), Word.UNVERIFIED, "the watcher has ended"),
    ("health unknown", Facts(after=[report(health=Health.UNKNOWN)]), Word.UNVERIFIED, "could not be told"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "word", "why"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_iteration_is_judged_by_what_was_seen(facts: Facts, word: Word, why: str, scenario: Scenario) -> None:
    got, told = judge(scenario, facts, {})
    assert got is word
    assert why in "; ".join(told)


def test_log_that_nobody_looks_into_may_be_unseen() -> None:
    text = TEXT.replace("  - {kernel_log: oops}\n  - {devcoredump: true}\n", "")
    facts = Facts(seen=[Seen(blind="the watcher has ended")])
    assert judge(build(parse(text, "mine.yaml"), text), facts, {})[0] is Word.OK


def test_what_was_there_before_is_not_the_scenarios_doing(scenario: Scenario) -> None:
    before = known_before([report("amd.psp.bootloader")])
    assert judge(scenario, Facts(after=[report("amd.psp.bootloader")]), before) == (Word.OK, ())
    assert judge(scenario, Facts(after=[report("amd.psp.bootloader", "amd.psp.ring")]), before)[0] is Word.REPRODUCED


def run(*words: Word, samples: tuple[float, ...] = (), outcome: RunOutcome = RunOutcome.CLEAN) -> RunReport:
    rows = tuple(Iteration(number, word, float(number), 0.1) for number, word in enumerate(words, start=1))
    return RunReport("mine", outcome, 9, rows, "/folder", 1.0, 1.0, samples)


def test_statistics_count_and_tell_what_little_they_show() -> None:
    numbers = statistics(run(Word.OK, Word.REPRODUCED, Word.OK, samples=(1.0, 2.0, 1.5)))
    assert (numbers["done"], numbers["ok"], numbers["reproduced"], numbers["incidence"]) == (3, 2, 1, "1 of 3")
    assert (numbers["iteration_median_s"], numbers["iteration_max_s"]) == (2.0, 3.0)
    assert numbers["work"]["spread_percent"] == pytest.approx(100 / 1.5)
    assert numbers["share_low"] < 1 / 3 < numbers["share_high"]


def test_interval_of_nothing_is_unknown_and_of_little_is_wide() -> None:
    assert interval(0, 0) == (None, None)
    low, high = interval(0, 20)
    assert low == 0.0
    assert high == pytest.approx(0.161, abs=0.001)  # Wilson, by hand
    low, high = interval(20, 20)
    assert high == 1.0
    assert low == pytest.approx(0.839, abs=0.001)
    assert spread_of([1.0]) is None
    assert spread_of([]) is None


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (RunOutcome.CLEAN, Exit.OK), (RunOutcome.REPRODUCED, Exit.PROBLEM), (RunOutcome.FAILED, Exit.PROBLEM),
        (RunOutcome.UNVERIFIED, Exit.UNKNOWN), (RunOutcome.REFUSED, Exit.REFUSED), (RunOutcome.INTERRUPTED, Exit.INTERRUPTED),
    ],
)  # fmt: skip
def test_outcomes_have_their_exit_codes(outcome: RunOutcome, code: Exit) -> None:
    assert run(outcome=outcome).exit_code == code


def test_first_is_the_first_that_reproduced_else_that_failed() -> None:
    first = run(Word.FAILED, Word.REPRODUCED).first
    assert first is not None
    assert first.number == 2
    first = run(Word.OK, Word.FAILED).first
    assert first is not None
    assert first.number == 2
    assert run(Word.OK).first is None
