"""mode1 of a whole hive: one barrier, nobody alone, nobody left behind, the time of the slowest."""

from __future__ import annotations

import os
import signal

import pytest

from amdriver.hive_reset import STEPS, NotReady, reset_hive
from amdriver.recovery import Target
from gpumodel.faults import Reset
from gpumodel.xgmi import STATE_ACTIVE
from tests.model.recovery_rig import hive, model_of

BUS_MASTER = 4


def links(target: Target) -> set[int]:
    gpu = model_of(target)
    return {gpu.registers.get(f"XGMI[{link}].PCS_STATE_HIST1") for link in range(gpu.hive.nodes - 1)}


@pytest.mark.parametrize("spec", ["mi350x*8", "mi300x*8"])
def test_hive_of_eight_takes_little_longer_than_one(spec: str) -> None:
    with hive(spec.partition("*")[0]) as (alone, clock):
        one_s = reset_hive(alone, clock).took_s
    with hive(spec) as (targets, clock):
        marks = [target.plant_mark("hive-reset") for target in targets]
        steps: list[str] = []
        outcome = reset_hive(targets, clock, on_step=steps.append)
        assert outcome.ok
        assert outcome.took_s <= 1.25 * one_s
        assert outcome.spread_s < 0.1
        assert steps == list(STEPS)
        assert [mark.gone() for mark in marks] == [True] * 8
        assert [links(target) for target in targets] == [{STATE_ACTIVE}] * 8
        assert [model_of(target).wrongs for target in targets] == [[]] * 8
        strikes = [model_of(target).resets.done[0].at_s for target in targets]
        assert max(strikes) - min(strikes) < 0.1


@pytest.mark.parametrize("fault", ["smu-silent@5", "bus-lost@0"])
def test_member_that_does_not_answer_keeps_all_from_being_reset(fault: str) -> None:
    with hive(f"mi350x*4?fault={fault.replace('5', '3')}") as (targets, clock):
        sick = 3 if "smu" in fault else 0
        for target in targets:
            target.transport.config_write(4, 2, 6)
        with pytest.raises(NotReady) as caught:
            reset_hive(targets, clock)
        assert list(caught.value.errors) == [targets[sick].name]
        assert targets[sick].name in caught.value.where
        for number, target in enumerate(targets):
            assert model_of(target).resets.done == []
            if number != sick:
                assert target.transport.config_read(4, 2) & BUS_MASTER, "as it was"


@pytest.mark.parametrize(("fault", "late"), [("reset-hangs:mode1@2", True), ("smu-refuses:GfxDriverReset@2", False)])
def test_member_that_fails_on_the_way_leaves_nobody_behind(fault: str, late: bool) -> None:
    with hive(f"mi350x*4?fault={fault}") as (targets, clock):
        outcome = reset_hive(targets, clock, limit_s=10)
        assert not outcome.ok
        assert [member.error is not None for member in outcome.members] == [False, False, True, False]
        assert (outcome.members[2].sent_s is not None) == late
        for number, target in enumerate(targets):
            done = [one.kind for one in model_of(target).resets.done]
            assert done == ([Reset.MODE1] if late or number != 2 else [])
            assert target.transport.config_read(4, 2) & 6 == 2
        for number in (0, 1, 3):
            targets[number].await_boot(0.1)


def test_hive_of_which_one_lies_is_found_by_the_marks() -> None:
    with hive("mi350x*4?fault=reset-lies:hive-reset@1") as (targets, clock):
        marks = [target.plant_mark("hive-reset") for target in targets]
        assert reset_hive(targets, clock).ok, "all answered"
        assert [mark.gone() for mark in marks] == [True, False, True, True]


def test_clobbered_member_is_reset_with_the_others() -> None:
    with hive("mi350x*4?fault=discovery-clobbered@2") as (targets, clock):
        assert targets[2].map_source == "fixed places"
        assert reset_hive(targets, clock).ok
        assert model_of(targets[2]).faults == []


def test_interrupt_waits_until_all_have_their_config_space_back() -> None:
    with hive("mi350x*4") as (targets, clock):
        before = signal.getsignal(signal.SIGINT)

        def step(name: str) -> None:
            assert name != "boot", "by then it has come"
            if name == "restore":
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            reset_hive(targets, clock, on_step=step)
        assert signal.getsignal(signal.SIGINT) is before
        assert [target.transport.config_read(4, 2) & 2 for target in targets] == [2] * 4


def test_interrupt_before_anything_was_sent_resets_nobody() -> None:
    with hive("mi350x*4") as (targets, clock):
        for target in targets:
            target.transport.config_write(4, 2, 6)

        def step(name: str) -> None:
            if name == "send":
                os.kill(os.getpid(), signal.SIGINT)
                clock.sleep(0)

        with pytest.raises(KeyboardInterrupt):
            reset_hive(targets, clock, on_step=step)
        assert [model_of(target).resets.done for target in targets] == [[]] * 4
        assert [target.transport.config_read(4, 2) & BUS_MASTER for target in targets] == [BUS_MASTER] * 4
