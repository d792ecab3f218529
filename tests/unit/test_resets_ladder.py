"""The decision table: from findings to rungs, for one GPU and for a hive; what the answer is when none is left."""

from __future__ import annotations

import pytest

from base.findings import Action
from probe.verdict import TABLE as VERDICTS
from resets.ladder import ALONE, TABLE, WHOLE, Climb, answer_of, next_rungs, row_of
from resets.methods import METHODS
from tests.reset_fakes import FakeGpu, report

EIGHT = tuple(range(8))


def climbed(
    codes: dict[int, list[str]], hive: tuple[int, ...], climb: Climb | None = None
) -> list[tuple[str, tuple[int, ...]]]:
    """The methods that would follow one another if none helped."""
    climb = climb or Climb()
    reports = [report(FakeGpu(index, codes.get(index, []), hive=len(hive) or 1)) for index in (hive or (0,))]
    found = []
    while rungs := next_rungs(reports, hive, climb, ("flr",)):
        found.append(rungs[0].key)
        climb.tried(rungs[0])
    return found


@pytest.mark.parametrize(
    ("code", "single", "in_hive"),
    [
        ("pci.lost", ["bus-reset", "remove-rescan"], [("bus-reset", (2,)), ("remove-rescan", (2,))]),
        ("pci.bar-dead", ["restore-config", "bus-reset"], [("restore-config", (2,)), ("bus-reset", EIGHT)]),
        ("amd.psp.bootloader", ["bus-reset"], [("bus-reset", EIGHT)]),
        ("amd.smu.silent", ["bus-reset"], [("bus-reset", EIGHT)]),
        ("amd.ras.fatal", ["mode1", "bus-reset"], [("hive-reset", EIGHT), ("bus-reset", EIGHT)]),
        ("amd.discovery.signature", ["mode1", "bus-reset"], [("hive-reset", EIGHT), ("bus-reset", EIGHT)]),
        ("amd.gmc.poison", ["mode2", "mode1"], [("mode2", (2,)), ("hive-reset", EIGHT)]),
        ("amd.gfx.mec", ["mec-reset", "mode2", "mode1", "bus-reset"],
         [("mec-reset", (2,)), ("mode2", (2,)), ("hive-reset", EIGHT), ("bus-reset", EIGHT)]),
        ("amd.sdma.hang", ["sdma-reset", "mode2", "mode1", "bus-reset"],
         [("sdma-reset", (2,)), ("mode2", (2,)), ("hive-reset", EIGHT), ("bus-reset", EIGHT)]),
        ("amd.gmc.fault", ["queue-mmio", "mec-reset", "mode2", "mode1"],
         [("queue-mmio", (2,)), ("mec-reset", (2,)), ("mode2", (2,)), ("hive-reset", EIGHT)]),
        ("amd.new.thing", ["mode1", "bus-reset"], [("hive-reset", EIGHT), ("bus-reset", EIGHT)]),
    ],
)  # fmt: skip
def test_ladder_of_one_finding(code: str, single: list[str], in_hive: list[tuple[str, tuple[int, ...]]]) -> None:
    assert climbed({0: [code]}, ()) == [(name, (0,)) for name in single]
    assert climbed({2: [code]}, EIGHT) == in_hive


@pytest.mark.parametrize("code", ["pci.link", "pci.aer", "amd.psp.boot-status", "amd.ras.controller"])
def test_ladder_of_what_no_reset_cures_is_empty(code: str) -> None:
    assert climbed({0: [code]}, ()) == [] == climbed({2: [code]}, EIGHT)


def test_ladder_begins_where_the_verdict_of_the_probe_points() -> None:
    """The action that `probe` names is the action of the first rung, but where a milder method is tried before."""
    for code, rule in VERDICTS.items():
        gpu, member = report(FakeGpu(0, [code])), report(FakeGpu(2, [code], hive=8))
        for one, hive, action in ((gpu, (), rule.single), (member, EIGHT, rule.in_hive)):
            rungs = next_rungs([one], hive, Climb(links_before=frozenset({0, 2})), ("flr",))
            assert (
                rungs[0].method.action if rungs else Action.NONE
            ) == one.action == action or code == "amd.discovery.memsize"


def test_link_that_was_down_before_is_left_alone_and_one_that_we_took_down_is_trained() -> None:
    codes = {index: ["amd.xgmi.link"] for index in EIGHT}
    assert climbed(codes, EIGHT, Climb(links_before=frozenset(EIGHT))) == []
    assert climbed(codes, EIGHT, Climb()) == [("hive-reset", EIGHT), ("bus-reset", EIGHT)]


def test_gravest_finding_decides() -> None:
    assert climbed({0: ["amd.gfx.mec", "amd.psp.bootloader"]}, ())[0] == ("bus-reset", (0,))
    assert climbed({0: ["amd.gmc.fault", "amd.gfx.mec"]}, ())[0] == ("mec-reset", (0,))


def test_hive_brings_members_back_to_their_registers_first_then_all_together() -> None:
    codes = {2: ["pci.lost"], 5: ["amd.discovery.signature"], 6: ["amd.gfx.mec"]}
    assert climbed(codes, EIGHT)[0] == ("bus-reset", (2,))
    assert climbed({2: ["pci.bar-dead"], 5: ["amd.discovery.signature"]}, EIGHT)[:2] == [
        ("restore-config", (2,)),
        ("bus-reset", EIGHT),
    ]


def test_hive_takes_the_wider_method_when_any_member_needs_it() -> None:
    assert climbed({1: ["amd.gfx.mec"], 5: ["amd.discovery.signature"]}, EIGHT)[0] == ("hive-reset", EIGHT)
    assert climbed({1: ["amd.psp.bootloader"], 5: ["amd.discovery.signature"]}, EIGHT)[0] == ("bus-reset", EIGHT)
    assert climbed({1: ["amd.psp.bootloader"], 5: ["pci.lost"]}, EIGHT)[0] == ("bus-reset", EIGHT)


def test_gpus_with_the_same_need_go_together_and_others_in_turn() -> None:
    reports = [
        report(FakeGpu(index, [code], hive=8))
        for index, code in ((1, "amd.gfx.mec"), (3, "amd.sdma.hang"), (4, "amd.gfx.mec"))
    ]
    assert [rung.key for rung in next_rungs(reports, EIGHT, Climb())] == [("mec-reset", (1, 4)), ("sdma-reset", (3,))]


def test_forbidden_methods_are_left_out() -> None:
    one = report(FakeGpu(0, ["amd.discovery.signature"]))
    assert [rung.method.name for rung in next_rungs([one], (), Climb(), ("mode1",))] == ["bus-reset"]
    assert next_rungs([one], (), Climb(), ("mode1", "bus-reset")) == []


def test_answer_when_nothing_is_left() -> None:
    one = report(FakeGpu(0, ["amd.psp.bootloader"]))
    assert answer_of(one, Climb(), ()) is Action.BUS_RESET
    assert answer_of(one, Climb(done={("bus-reset", 0)}), ()) is Action.POWER_CYCLE
    lost = report(FakeGpu(0, ["pci.lost"]))
    tried = {("bus-reset", 0), ("remove-rescan", 0)}
    assert answer_of(lost, Climb(done=tried, lost_before=frozenset({0})), ()) is Action.POWER_CYCLE
    assert answer_of(lost, Climb(done={("bus-reset", 0)}), ()) is Action.NODE_REBOOT, "the reset took it away"
    assert answer_of(report(FakeGpu(0)), Climb(), ()) is Action.NONE


def test_seeming_cure_keeps_its_row() -> None:
    well = report(FakeGpu(0))
    assert row_of(well, Climb()) is None
    assert row_of(well, Climb(unproven={0: "amd.sdma.hang"})) == ("amd.sdma.hang", TABLE["amd.sdma.hang"])


def test_every_rung_of_the_table_is_a_method_and_its_order_goes_up() -> None:
    ranks = {name: number for number, name in enumerate(METHODS)}
    for code, row in TABLE.items():
        names = ["bus-reset" if rung == ALONE else "mode1" if rung == WHOLE else rung for rung in row.rungs]
        assert set(names) <= set(METHODS), code
        if code != "pci.lost":  # a rescan finds only what answers again
            assert [ranks[name] for name in names] == sorted(ranks[name] for name in names), code
        assert row.source and (row.then is Action.RESTART_APP or METHODS[str(row.then)].is_answer)
