"""Methods and the safety table: complete, consistent, and what each refuses."""

from __future__ import annotations

import pytest

from amdriver.parts import PARTS
from base.errors import Refused, UsageError
from base.findings import Action
from nvdriver.parts import PARTS as NV_PARTS
from resets.methods import AUTO, METHODS, Doer, method_of, words
from resets.safety import RULES, Situation, Verdict, check, refusal_of, unfit_part

MI300X, MI325X, MI350X, MI355X, MI350P = (PARTS[device] for device in (0x74A1, 0x74A5, 0x75A0, 0x75A3, 0x75A8))
BDF = "0000:c1:00.0"
FREE = Situation()


def refused(name: str, part: object = MI350X, situation: Situation = FREE, *force: str) -> str:
    """Why, or ""."""
    found = refusal_of(METHODS[name], part, BDF, situation, force)  # type: ignore[arg-type]
    return "" if found is None else f"{found.seen} | {found.next_step}"


def test_every_method_says_everything_and_its_times_are_in_order() -> None:
    for method in METHODS.values():
        assert all((method.what, method.needs, method.survives, method.lost, method.proof, method.source)), method.name
        assert 0 <= method.expected_s <= method.longest_s, method.name
        assert method.is_answer == (method.doer is Doer.PERSON)


def test_every_action_of_the_design_that_can_be_done_has_a_method() -> None:
    for action in set(Action) - {Action.NONE, Action.RESTART_APP}:
        found = method_of(str(action))
        assert found is None if action is Action.QUEUE_RESET else found is not None and found.action is action


def test_words_of_the_command_line_are_known_and_others_are_not() -> None:
    for word in words():
        if word != AUTO:
            method_of(word)
    for word in ("none", "restart-app", "mode3", "", "Mode1"):
        with pytest.raises(UsageError, match="choosing the reset method"):
            method_of(word)


@pytest.mark.parametrize(
    "name", [name for name, method in METHODS.items() if method.doer in (Doer.GPUMEND, Doer.PCI_CORE)]
)
def test_nothing_is_done_while_amdgpu_is_bound_whatever_is_forced(name: str) -> None:
    assert "amdgpu is bound" in refused(name, MI350X, Situation(driver="amdgpu", in_hive=True), name)


@pytest.mark.parametrize("name", ["driver-rebind", "kernel-recover"])
def test_methods_of_the_driver_need_it(name: str) -> None:
    assert refused(name) and not refused(name, MI350X, Situation(driver="amdgpu", in_hive=True))


@pytest.mark.parametrize("name", ["mode1", "link-reset"])
def test_member_of_a_hive_alone_is_never_reset_by_mode1(name: str) -> None:
    assert "hive-reset" in refused(name, MI350X, Situation(in_hive=True, alone=True), name)
    assert not refused(name)


def test_hive_reset_needs_a_hive_and_all_of_it() -> None:
    assert "mode1" in refused("hive-reset")
    assert "not every member" in refused(
        "hive-reset", MI350X, Situation(in_hive=True, hive_complete=False), "hive-reset"
    )
    assert not refused("hive-reset", MI350X, Situation(in_hive=True))


@pytest.mark.parametrize("name", ["flr", "bus-reset", "sysfs-reset"])
@pytest.mark.parametrize("part", [MI300X, MI325X, MI350X, MI355X, MI350P], ids=lambda part: part.name)
def test_resets_from_the_bus_under_vfio_must_be_forced(name: str, part: object) -> None:
    vfio = Situation(driver="vfio-pci")
    assert "MxGPU-Virtualization#25" in refused(name, part, vfio)
    assert f"--force {name}" in refused(name, part, vfio)
    assert refused(name, part, vfio, "mode1"), "forcing another method does not help"
    assert not refused(name, part, vfio, name)


@pytest.mark.parametrize("name", ["mode1", "hive-reset", "link-reset"])
def test_mode1_of_mi350p_must_be_forced(name: str) -> None:
    situation = Situation(in_hive=name == "hive-reset")
    assert "tinygrad#17693" in refused(name, MI350P, situation)
    assert not refused(name, MI350P, situation, name)
    assert not refused(name, MI350X, situation)


def test_flr_behind_a_switch_and_bus_reset_with_siblings_must_be_forced() -> None:
    assert refused("flr", MI350X, Situation(behind_switch=True)) and not refused(
        "flr", MI350X, Situation(behind_switch=None)
    )
    siblings = Situation(siblings=("0000:c2:00.0",))
    assert "0000:c2:00.0" in refused("bus-reset", MI350X, siblings)
    assert not refused("bus-reset", MI350X, siblings, "bus-reset")


@pytest.mark.parametrize(
    "part", [part for part in PARTS.values() if part.is_vf or part.is_apu], ids=lambda part: part.name
)
def test_virtual_functions_and_apus_are_never_reset(part: object) -> None:
    assert unfit_part(part, BDF) is not None  # type: ignore[arg-type]
    for method in METHODS.values():
        with pytest.raises(Refused):
            check(method, part, BDF, FREE, [method.name])  # type: ignore[arg-type]


def test_part_without_a_row_gets_only_what_is_safe_for_all() -> None:
    from dataclasses import replace

    strange = replace(MI350X, device=0x7FFF, name="MI999")
    allowed = {name for name, method in METHODS.items() if not method.is_answer and not refused(name, strange)}
    assert allowed == {"restore-config", "remove-rescan"}


def test_every_rule_has_a_source_and_a_way_out() -> None:
    for rule in RULES:
        assert rule.why and rule.instead and rule.source
        assert rule.methods is None or rule.methods <= set(METHODS)
        assert rule.verdict in Verdict


H200, GH200, GB200, A100 = (NV_PARTS[device] for device in (0x2335, 0x2342, 0x2941, 0x20B2))


@pytest.mark.parametrize(
    "name", [name for name, method in METHODS.items() if method.nvidia and method.doer is not Doer.DRIVER]
)
def test_nothing_is_done_while_nvidia_is_bound_whatever_is_forced(name: str) -> None:
    assert "no handlers for resets" in refused(name, H200, Situation(driver="nvidia"), name)
    assert not refused(name, H200)


def test_methods_of_amd_are_none_for_nvidia() -> None:
    theirs = {name for name, method in METHODS.items() if not method.is_answer and not method.nvidia}
    assert all("AMD" in refused(name, H200, FREE, name) for name in theirs)
    assert {"flr", "bus-reset", "remove-rescan", "restore-config", "driver-rebind", "sysfs-reset"} & theirs == set()


def test_driver_rebind_of_nvidia_needs_its_driver() -> None:
    assert refused("driver-rebind", H200) and not refused("driver-rebind", H200, Situation(driver="nvidia"))


def test_grace_hopper_is_never_reset_by_the_bus_and_otherwise_only_forced() -> None:
    assert "quirk_nvidia_no_bus_reset" in refused("bus-reset", GH200, FREE, "bus-reset")
    for part in (GH200, GB200):
        assert "coherent link" in refused("flr", part) and not refused("flr", part, FREE, "flr")


def test_boards_before_hopper_with_nvswitches_must_be_forced() -> None:
    assert "fabric manager" in refused("flr", A100) and not refused("flr", A100, FREE, "flr")
    assert not refused("flr", NV_PARTS[0x20F1]), "a PCI Express board has no NVSwitch"


def test_siblings_of_an_nvidia_board_are_named_with_what_its_audio_function_can_do() -> None:
    told = refused("bus-reset", H200, Situation(siblings=("0000:c1:00.1",)))
    assert "0000:c1:00.1" in told and "audio" in told
    assert not refused("flr", H200, Situation(siblings=("0000:c1:00.1",), behind_switch=True))


def test_virtual_function_is_never_reset() -> None:
    assert "host owns" in refused("flr", H200, Situation(is_vf=True), "flr")
