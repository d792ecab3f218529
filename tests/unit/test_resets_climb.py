"""The climb with a mechanic of our own: when it goes up, when it stops, what it writes down, and what it never does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from base.errors import Exit, GpumendError, Refused, Unavailable
from base.findings import Action
from base.resets import EXIT_OF, Outcome, StepStatus
from resets.climb import Request
from resets.grouping import group_up
from resets.mechanics import Done
from resets.preview import preview
from tests.reset_fakes import FakeGpu, FreeWay, Stage, alone, breaks, cures, fails, hive, lies, report

MEC = "amd.gfx.mec"
TABLE = "amd.discovery.signature"
BOOT = "amd.psp.bootloader"


def test_first_method_that_helps_is_the_last(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC, mec_reset=cures())
    result = stage.climb()
    assert stage.mechanic.done == [("mec-reset", (0,))]
    assert [step.status for step in result.steps] == [StepStatus.VERIFIED]
    assert result.outcomes[0].outcome is Outcome.RECOVERED


def test_it_goes_up_when_a_method_does_nothing_and_says_what_is_left_in_the_end(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC)
    result = stage.climb()
    assert [name for name, _ in stage.mechanic.done] == ["mec-reset", "mode2", "mode1", "bus-reset"]
    (one,) = result.outcomes
    assert (one.outcome, one.answer) == (Outcome.FAILED, Action.POWER_CYCLE)


def test_no_method_is_done_twice(tmp_path: Path) -> None:
    """Though what it was done for comes back with another name."""
    stage = alone(tmp_path, TABLE, mode1=breaks(BOOT), bus_reset=breaks("amd.ras.fatal"))
    stage.climb()
    assert stage.mechanic.done == [("mode1", (0,)), ("bus-reset", (0,))]


def test_known_way_to_fail_is_gone_on_from(tmp_path: Path) -> None:
    stage = alone(tmp_path, TABLE, mode1=breaks(BOOT), bus_reset=cures())
    result = stage.climb()
    assert [step.status for step in result.steps] == [StepStatus.PARTLY, StepStatus.VERIFIED]
    assert result.outcomes[0].outcome is Outcome.RECOVERED


def test_something_worse_stops_it_at_once(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC, mec_reset=breaks("pci.lost"))
    result = stage.climb()
    assert len(stage.mechanic.done) == 1
    assert result.steps[0].status is StepStatus.WORSE
    assert "gone from the bus" in result.outcomes[0].reason


def test_new_defect_that_no_one_expects_is_worse(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC, mec_reset=breaks(MEC, "amd.ras.fatal"))
    assert stage.climb().steps[0].status is StepStatus.WORSE
    assert len(stage.mechanic.done) == 1


def test_neighbour_that_was_not_to_be_touched_and_is_sick_is_worse(tmp_path: Path) -> None:
    stage = hive(tmp_path, {2: [MEC]})
    stage.mechanic.effects["mec-reset"] = lambda targets: stage.gpus[3].codes.append(MEC)
    result = stage.climb(2)
    assert result.steps[0].status is StepStatus.WORSE
    assert "GPU 3" in result.steps[0].proof


def test_what_was_hidden_is_not_worse(tmp_path: Path) -> None:
    stage = alone(tmp_path, "pci.bar-dead", restore_config=breaks("amd.smu.silent"), bus_reset=cures())
    assert stage.climb().outcomes[0].outcome is Outcome.RECOVERED


def test_function_that_is_not_found_again_ends_in_an_answer_for_a_person(tmp_path: Path) -> None:
    """The system does not know it any more, so nothing can be asked of it; what was done is told nevertheless."""

    def vanish(targets: list[FakeGpu]) -> GpumendError:
        for gpu in targets:
            gpu.transport.gone = True
        return Unavailable("finding it again by rescan", expected="it to be there", seen="nothing")

    stage = alone(tmp_path, "pci.lost", remove_rescan=vanish)
    result = stage.climb()
    assert [name for name, _ in stage.mechanic.done] == ["bus-reset", "remove-rescan"]
    (one,) = result.outcomes
    assert (one.outcome, one.answer) == (Outcome.FAILED, Action.POWER_CYCLE)


def test_attempts_are_capped(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC)
    result = stage.climb(attempts=2)
    assert len(stage.mechanic.done) == 2
    assert "2 attempts" in result.outcomes[0].reason and result.outcomes[0].answer is Action.MODE1


def test_time_budget_ends_it_before_a_step_that_would_not_fit(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC)
    stage.mechanic.seconds = 60
    result = stage.climb(budget_s=100)
    assert [name for name, _ in stage.mechanic.done] == ["mec-reset", "mode2"]
    assert "budget of 100 s" in result.outcomes[0].reason


def test_evidence_is_written_once_before_anything_is_done(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC)
    stage.climb()
    assert stage.evidence == [0]
    assert {entry.begun["evidence"] for entry in stage.journal.entries()} == {"/bundle"}


def test_evidence_that_cannot_be_written_keeps_everything_from_being_done(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC)

    def full(*_: object) -> str:
        raise Unavailable("writing a bundle", expected="room", seen="No space left on device")

    stage.means.evidence = full
    with pytest.raises(Unavailable, match="writing a bundle"):
        stage.climb()
    assert stage.mechanic.done == []


def test_lie_that_hides_the_finding_is_not_believed(tmp_path: Path) -> None:
    """The symptom is gone, and so is the mark not: the next method proves it."""

    def hide(targets: object) -> dict[int, bool | None]:
        stage.gpus[0].codes = []
        return {0: False}

    stage = alone(tmp_path, "amd.sdma.hang", sdma_reset=hide, mode2=cures())
    result = stage.climb()
    assert [(step.method, step.status) for step in result.steps] == [
        ("sdma-reset", StepStatus.FAILED),
        ("mode2", StepStatus.VERIFIED),
    ]
    assert result.outcomes[0].outcome is Outcome.RECOVERED


def test_explicit_method_that_lies_fails_though_the_gpu_is_well(tmp_path: Path) -> None:
    stage = alone(tmp_path, mode1=lies)
    result = stage.climb(method="mode1")
    assert result.outcomes[0].outcome is Outcome.FAILED
    assert "mark is still there" in result.outcomes[0].reason


def test_explicit_method_without_proof_is_unverified(tmp_path: Path) -> None:
    stage = alone(tmp_path, mode1=lambda targets: {0: None})
    (one,) = stage.climb(method="mode1").outcomes
    assert one.outcome is Outcome.UNVERIFIED and EXIT_OF[one.outcome] == Exit.UNKNOWN


def test_error_after_a_reset_that_took_place_is_not_told_as_recovered(tmp_path: Path) -> None:
    """As mode2 whose engines could not be started again: the mark is gone, and a probe finds nothing wrong."""
    stage = alone(tmp_path)
    error = GpumendError("starting the engines", expected="memory", seen="none")

    class Ends:
        def carry_out(self, rung: Any, targets: Any, reports: Any, on_stage: Any) -> Done:
            return Done({0: True}, "", error)

    stage.means.mechanic = Ends()
    (one,) = stage.climb(method="mode2").outcomes
    assert one.outcome is Outcome.FAILED and "not carried out to its end: none" in one.reason


@pytest.mark.parametrize("codes", [[], ["pci.link"]], ids=["alone", "beside a warning"])
def test_gpu_whose_state_cannot_be_told_after_it_is_unverified(tmp_path: Path, codes: list[str]) -> None:
    stage = alone(tmp_path, TABLE, *codes)

    def blind(targets: object) -> None:
        stage.gpus[0].codes, stage.gpus[0].unknown = codes, True

    stage.mechanic.effects["mode1"] = blind
    result = stage.climb()
    assert result.steps[0].status is StepStatus.UNVERIFIED
    assert result.outcomes[0].outcome is Outcome.UNVERIFIED


def test_unknown_gpu_is_left_alone(tmp_path: Path) -> None:
    stage = alone(tmp_path)
    stage.gpus[0].unknown = True
    (one,) = stage.climb().outcomes
    assert (one.outcome, stage.mechanic.done) == (Outcome.UNKNOWN, [])


def test_error_of_the_mechanism_is_in_the_step_and_the_climb_goes_on(tmp_path: Path) -> None:
    stage = alone(tmp_path, TABLE, mode1=fails, bus_reset=cures())
    result = stage.climb()
    assert result.steps[0].status is StepStatus.FAILED and result.steps[0].error is not None
    assert result.outcomes[0].outcome is Outcome.RECOVERED


def test_holder_of_another_member_is_asked_about_only_when_it_would_be_hit(tmp_path: Path) -> None:
    stage = hive(tmp_path, {2: [MEC]})
    stage.means.way = FreeWay(frozenset({"hive-reset"}))
    result = stage.climb(2)
    assert [name for name, _ in stage.mechanic.done] == ["mec-reset", "mode2"]
    (one,) = result.outcomes
    assert one.outcome is Outcome.FAILED and "pid 42 python3" in one.reason


def test_first_method_that_is_refused_is_a_refusal(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC)
    stage.means.way = FreeWay(frozenset({"mec-reset"}))
    (one,) = stage.climb().outcomes
    assert (one.outcome, one.exit_code, stage.evidence) == (Outcome.REFUSED, Exit.REFUSED, [])
    assert stage.journal.entries() == []


def test_lost_member_comes_back_alone_then_the_hive_trains_its_links(tmp_path: Path) -> None:
    def back(targets: list[object]) -> dict[int, bool | None]:
        if len(targets) > 1:
            return dict.fromkeys(range(4), True)
        for gpu in stage.gpus:
            gpu.codes = ["amd.xgmi.link"]
        return {2: None}

    stage = hive(tmp_path, {2: ["pci.lost"]}, bus_reset=back, hive_reset=cures())  # type: ignore[arg-type]
    result = stage.climb()
    assert stage.mechanic.done == [("bus-reset", (2,)), ("hive-reset", (0, 1, 2, 3))]
    assert {one.outcome for one in result.outcomes} == {Outcome.RECOVERED}


def test_member_that_was_well_and_was_hit_is_told_when_it_is_harmed(tmp_path: Path) -> None:
    stage = hive(tmp_path, {1: [TABLE]})

    def harm(targets: object) -> None:
        stage.gpus[1].codes, stage.gpus[3].codes = [], [BOOT]

    stage.mechanic.effects["hive-reset"] = harm
    outcomes = stage.climb(1, method="hive-reset").outcomes
    assert [(one.index, one.outcome) for one in outcomes][-1] == (3, Outcome.FAILED)


def test_interrupt_within_a_step_lets_it_end_and_begins_no_other(tmp_path: Path) -> None:
    def interrupt(targets: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    stage = alone(tmp_path, MEC, mec_reset=interrupt)
    result = stage.climb()
    assert len(stage.mechanic.done) == 1
    assert result.outcomes[0].outcome is Outcome.INTERRUPTED
    assert [entry.status for entry in stage.journal.entries()] == ["partly"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_second_interrupt_ends_it_at_once_and_the_journal_knows(tmp_path: Path) -> None:
    def interrupt(targets: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    stage = alone(tmp_path, MEC, mec_reset=interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage.climb()
    (entry,) = stage.journal.entries()
    assert entry.ended is None and entry.stages == ["send"]


def test_what_an_earlier_run_began_is_said_and_closed(tmp_path: Path) -> None:
    stage = hive(tmp_path, {index: ["amd.xgmi.link"] for index in range(4)}, hive_reset=cures())
    begun = stage.journal.begin("hive-reset", "hive-reset", "asked for", stage.gpus, "")
    stage.journal.stage(begun, "send")
    result = stage.climb()
    assert "came as far as: send" in result.finished
    assert stage.mechanic.done == [("hive-reset", (0, 1, 2, 3))], "links that an unfinished reset took down are trained"
    assert all(entry.ended for entry in stage.journal.entries())
    assert stage.climb().finished == ""


def test_links_that_were_down_before_are_left_alone_without_a_begun_reset(tmp_path: Path) -> None:
    stage = hive(tmp_path, {index: ["amd.xgmi.link"] for index in range(4)})
    assert {one.outcome for one in stage.climb().outcomes} == {Outcome.REFUSED}
    assert stage.mechanic.done == []


def test_deep_resets_a_gpu_that_is_well(tmp_path: Path) -> None:
    stage = alone(tmp_path)
    assert stage.climb(deep=True).outcomes[0].outcome is Outcome.RECOVERED
    assert stage.mechanic.done == [("mode1", (0,))]
    members = hive(tmp_path, {})
    members.climb(deep=True)
    assert members.mechanic.done == [("hive-reset", (0, 1, 2, 3))]


def test_reset_that_another_process_is_at_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = alone(tmp_path, MEC)
    stage.journal.begin("mode1", "mode1", "asked for", stage.gpus, "")
    monkeypatch.setattr("resets.climb.os.getpid", lambda: 1)
    (one,) = stage.climb().outcomes
    assert one.outcome is Outcome.REFUSED and "another gpumend does" in one.reason
    assert stage.mechanic.done == []


def test_journal_that_can_not_be_written_any_more_does_not_stop_a_step(tmp_path: Path) -> None:
    """The disk is full from the first stage on: what was begun is done, verified, and told."""
    stage = alone(tmp_path, MEC, mec_reset=cures())

    def full(*_: object, **__: object) -> None:
        raise Unavailable("writing the journal of resets", expected="room", seen="No space left on device")

    stage.journal.stage = full  # type: ignore[method-assign]
    stage.journal.end = full  # type: ignore[method-assign]
    result = stage.climb()
    assert result.outcomes[0].outcome is Outcome.RECOVERED
    assert "No space left on device" in result.notes[0]


def test_reset_by_the_driver_is_one_of_the_whole_hive(tmp_path: Path) -> None:
    from dataclasses import replace

    stage = hive(tmp_path, {1: [TABLE]}, kernel_recover=cures())
    plain = stage.means.around
    stage.means.around = lambda *a: replace(plain(*a), driver="amdgpu")
    stage.climb(1, method="kernel-recover")
    assert stage.mechanic.done == [("kernel-recover", (0, 1, 2, 3))]


def test_evidence_is_on_the_disk_before_a_driver_lets_go_or_a_process_ends(tmp_path: Path) -> None:
    """What a driver knows of a hang is gone with it."""
    stage = alone(tmp_path, MEC, mec_reset=cures())
    order: list[str] = []

    class Order(FreeWay):
        def clear(self, subjects: Any, method: Any) -> None:
            order.append("clear")

    def bundle(*_: object) -> str:
        order.append("evidence")
        return "/bundle"

    stage.means.way, stage.means.evidence = Order(), bundle
    stage.climb()
    assert order == ["evidence", "clear"]


def test_lock_that_is_taken_in_between_is_a_refusal_and_nothing_is_climbed(tmp_path: Path) -> None:
    """Somebody else took the GPU between the look and the step: the next method would be no better."""
    stage = alone(tmp_path, MEC)

    def taken(rung: Any, targets: Any, reports: Any, on_stage: Any) -> Done:
        on_stage("open")
        stage.mechanic.done.append(rung.key)
        return Done(error=Refused("taking the lock", expected="nobody else", seen="held by pid 42 python3"))

    stage.mechanic.carry_out = taken  # type: ignore[method-assign]
    result = stage.climb()
    (one,) = result.outcomes
    assert (one.outcome, one.exit_code, one.reason) == (Outcome.REFUSED, Exit.REFUSED, "held by pid 42 python3")
    assert (len(stage.mechanic.done), result.steps) == (1, [])
    assert [entry.status for entry in stage.journal.entries()] == ["refused"]


def test_journal_that_is_full_at_the_second_step_does_not_hide_the_first(tmp_path: Path) -> None:
    stage = alone(tmp_path, MEC)
    begin = stage.journal.begin

    def once(*words: Any) -> str:
        if stage.mechanic.done:
            raise Unavailable("writing the journal of resets", expected="room", seen="No space left on device")
        return begin(*words)

    stage.journal.begin = once  # type: ignore[method-assign, assignment]
    result = stage.climb()
    assert [step.method for step in result.steps] == ["mec-reset"]
    (one,) = result.outcomes
    assert one.outcome is Outcome.FAILED
    assert "No space left on device" in one.reason


def test_gpu_that_was_not_shown_is_not_hit(tmp_path: Path) -> None:
    """GPU 1's engine was wrong when somebody agreed; now its table is, and that would take the hive."""
    stage = hive(tmp_path, {1: [TABLE]})
    (one,) = stage.climb(1, shown=frozenset({1})).outcomes
    assert stage.mechanic.done == []
    assert one.outcome is Outcome.REFUSED
    assert "GPU 0, 2, 3 would be" in one.reason


def test_interrupted_run_leaves_open_what_an_earlier_one_began(tmp_path: Path) -> None:
    """Else the next would take the links that are down for somebody else's, and leave them."""

    def interrupt(targets: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    stage = hive(tmp_path, {index: ["amd.xgmi.link"] for index in range(4)}, hive_reset=interrupt, bus_reset=cures())
    stage.journal.begin("hive-reset", "hive-reset", "asked for", stage.gpus, "")
    stage.climb()
    assert stage.journal.entries()[0].ended is None
    stage.means.asked.signal_name = ""
    stage.mechanic.effects["hive-reset"] = cures()
    assert stage.climb().finished
    assert {one.codes == [] for one in stage.gpus} == {True}
    assert [entry.status for entry in stage.journal.entries()] == ["finished by a later run", "partly", "verified"]


def test_run_on_one_member_does_not_close_what_was_begun_on_others(tmp_path: Path) -> None:
    stage = hive(tmp_path, {3: ["pci.memory-off"]})
    stage.journal.begin("hive-reset", "hive-reset", "asked for", stage.gpus, "")
    stage.climb(0, method="mec-reset")
    assert stage.journal.entries()[0].ended is None


def test_preview_shows_what_an_earlier_run_has_left_to_finish(tmp_path: Path) -> None:
    """Nobody is asked about what is not shown."""
    stage = hive(tmp_path, {index: ["amd.xgmi.link"] for index in (1, 2, 3)}, hive_reset=cures())
    stage.journal.begin("hive-reset", "hive-reset", "asked for", stage.gpus, "")
    assert shown(stage, 0)[0] == ("hive-reset", (0, 1, 2, 3))
    stage.climb(0)
    assert stage.mechanic.done == [("hive-reset", (0, 1, 2, 3))]


def test_preview_shows_a_bus_reset_of_a_lost_member_as_it_is_done(tmp_path: Path) -> None:
    stage = hive(tmp_path, {2: ["pci.lost"]})
    for gpu in stage.gpus:
        gpu.facts["xgmi"] = {"nodes": 4, "members": None}  # one of them says nothing
    assert shown(stage, 2, method="bus-reset") == [("bus-reset", (2,))]
    stage.climb(2, method="bus-reset")
    assert stage.mechanic.done == [("bus-reset", (2,))]


def shown(stage: Stage, *wanted: int, **request: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Methods and GPUs of a preview."""
    reports = {gpu.index: report(gpu) for gpu in stage.gpus}
    (group,) = group_up([gpu for gpu in stage.gpus if gpu.index in wanted], stage.gpus, reports)
    made = preview(group, Request(**request), stage.means, reports)
    return [one.rung.key for one in made.planned]
