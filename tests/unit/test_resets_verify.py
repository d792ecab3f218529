"""Before against after: what is told as changed, and what counts as worse."""

from __future__ import annotations

from resets.methods import METHODS
from resets.verify import compare
from tests.reset_fakes import FakeGpu, report

FACTS = {
    "discovery": {"valid": True}, "psp": {"bootloader": "done", "sos_alive": True}, "smu": {"alive": True, "pmfw_version": "1"},
    "pci": {"link": {"speed_gts": 32.0, "width": 16}}, "ras": {"fatal": False, "controller": False},
}  # fmt: skip


def lines(
    before: FakeGpu, after: FakeGpu, method: str = "mode1", meant: tuple[int, ...] = (0,)
) -> tuple[tuple[str, ...], ...]:
    found = compare({0: report(before)}, {0: report(after)}, METHODS[method], meant)
    return found.changed, found.worse


def test_same_state_changed_nothing() -> None:
    assert lines(FakeGpu(0, facts=FACTS), FakeGpu(0, facts=FACTS)) == ((), ())


def test_every_compared_fact_is_told() -> None:
    after = {**FACTS, "psp": {"bootloader": "ready", "sos_alive": False}, "smu": {"alive": True, "pmfw_version": "2"}}
    changed, worse = lines(FakeGpu(0, ["amd.gfx.mec"], facts=FACTS), FakeGpu(0, facts=after))
    assert changed == (
        "GPU 0: amd.gfx.mec gone",
        "GPU 0: PSP bootloader done -> ready",
        "GPU 0: secure OS alive yes -> no",
        "GPU 0: SMU firmware 1 -> 2",
    )
    assert worse == ()


def test_less_memory_or_link_is_worse_and_more_is_not() -> None:
    narrow = {**FACTS, "pci": {"link": {"speed_gts": 16.0, "width": 8}}}
    assert len(lines(FakeGpu(0, facts=FACTS), FakeGpu(0, facts=narrow))[1]) == 2
    assert lines(FakeGpu(0, facts=narrow), FakeGpu(0, facts=FACTS))[1] == ()
    smaller = {**FACTS, "memory_mib": 100}
    assert lines(FakeGpu(0, facts=FACTS), FakeGpu(0, facts=smaller))[1] == ("GPU 0: memory, MiB 294912 -> 100",)


def test_unknown_is_neither_worse_nor_better_by_itself() -> None:
    unknown = {**FACTS, "pci": {"link": None}}
    changed, worse = lines(FakeGpu(0, facts=FACTS), FakeGpu(0, facts=unknown))
    assert "GPU 0: link width 16 -> unknown" in changed and worse == ()


def test_registers_that_answer_again_or_not_any_more_are_one_line() -> None:
    lost, well = FakeGpu(0, ["pci.lost"]), FakeGpu(0, facts=FACTS)
    assert lines(lost, well)[0] == ("GPU 0: pci.lost gone", "GPU 0: its registers answer again")
    assert lines(well, lost)[0] == ("GPU 0: pci.lost new", "GPU 0: its registers do not answer any more")


def test_loss_from_the_bus_is_worse_where_the_method_is_not_known_for_it() -> None:
    lost, well = FakeGpu(0, ["pci.lost"]), FakeGpu(0, facts=FACTS)
    assert "gone from the bus" in lines(well, lost, "bus-reset")[1][0]
    assert lines(well, lost, "mode1")[1] == (), "a chip that is touched too early: a bus reset is next"
    assert lines(well, lost, "mode1", meant=())[1] != ()


def test_links_of_a_neighbour_are_not_its_own_defect() -> None:
    before, after = FakeGpu(0, facts=FACTS), FakeGpu(0, ["amd.xgmi.link"], facts=FACTS)
    assert lines(before, after, "bus-reset", meant=(1,))[1] == ()
    assert lines(before, FakeGpu(0, ["amd.gfx.mec"], facts=FACTS), "bus-reset", meant=(1,))[1] != ()


def test_known_ending_of_a_method_is_not_worse_and_another_is() -> None:
    before = FakeGpu(0, ["amd.discovery.signature"], facts=FACTS)
    assert lines(before, FakeGpu(0, ["amd.psp.bootloader"], facts=FACTS))[1] == ()
    assert "amd.ras.fatal" in lines(before, FakeGpu(0, ["amd.ras.fatal"], facts=FACTS))[1][0]
