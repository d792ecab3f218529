"""Two traces side by side, and one folded: what counts as different, and that folding loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpumend
from amdriver.trace_compare import Comparison, Folded, TraceRow, compare, count_blocks, fold, named, spans
from amdriver.trace_events import DecodedTrace, Event, read_trace
from amdriver.trace_names import Place
from base.errors import Undecided
from tests.unit.trace_lines import (
    C2PMSG_35,
    C2PMSG_36,
    GRBM_GFX_CNTL,
    HQD_ACTIVE,
    INVALIDATE_ACK,
    INVALIDATE_REQ,
    RLC_CNTL,
    doorbell,
    read,
    saved,
    write,
)


class Pair:
    """Traces a and b, made of lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def traces(self, a: list[str], b: list[str]) -> tuple[DecodedTrace, DecodedTrace]:
        return read_trace(saved(self.folder, "a", *a)), read_trace(saved(self.folder, "b", *b))

    def diff(self, a: list[str], b: list[str], **options: bool) -> Comparison:
        one, two = self.traces(a, b)
        return compare(one.events, two.events, **options)

    def row(self, a: list[str], b: list[str], **options: bool) -> TraceRow:
        (row,) = self.diff(a, b, **options).rows
        return row


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_compare_ignores_order_number_and_reads(pair: Pair) -> None:
    a = [write(RLC_CNTL[0], 1), write(C2PMSG_35, 1), write(C2PMSG_35, 2), read(C2PMSG_36, 5)]
    b = [write(C2PMSG_35, 1), write(C2PMSG_35, 1, 3), write(C2PMSG_35, 2), write(RLC_CNTL[0], 1)]
    assert pair.diff(a, b).same
    assert pair.diff(b, a).same


def test_compare_last_value_differs_with_its_fields(pair: Pair) -> None:
    row = pair.row([write(RLC_CNTL[0], 1)], [write(RLC_CNTL[0], 8)])
    assert row.status == "different"
    assert [(item.name, item.a, item.b) for item in row.fields] == [("RLC_ENABLE_F32", 1, 0), ("RLC_STEP_F32", 0, 1)]
    assert row.name == "GC[0].RLC_CNTL"


def test_compare_same_last_value_other_values_before(pair: Pair) -> None:
    row = pair.row([write(C2PMSG_35, 1), write(C2PMSG_35, 9)], [write(C2PMSG_35, 2), write(C2PMSG_35, 9)])
    assert row.status == "values"
    assert row.a is not None
    assert row.b is not None
    assert (list(row.a.values), list(row.b.values), row.fields) == ([1, 9], [2, 9], ())


@pytest.mark.parametrize(("side", "status"), [(0, "only-a"), (1, "only-b")])
def test_compare_written_by_one_only(pair: Pair, side: int, status: str) -> None:
    sides = [[write(C2PMSG_35, 1)], [read(C2PMSG_35, 1)]]
    row = pair.row(sides[side], sides[1 - side])
    assert row.status == status
    assert (row.a is None) == (status == "only-b")


def test_compare_instances_that_act_alike_stand_in_one_row(pair: Pair) -> None:
    a = [write(offset, 1) for offset in RLC_CNTL]
    b = [write(offset, 4 if xcc in (2, 5) else 1) for xcc, offset in enumerate(RLC_CNTL[:7])]
    rows = {row.name: row.status for row in pair.diff(a, b).rows}
    assert rows == {
        "GC[0-1,3-4,6].RLC_CNTL": "same",
        "GC[2,5].RLC_CNTL": "different",
        "GC[7].RLC_CNTL": "only-a",
    }


def test_compare_queues_behind_one_banked_register_are_different_registers(pair: Pair) -> None:
    kiq = [write(GRBM_GFX_CNTL[0], 1 | 2 << 2), write(HQD_ACTIVE[0], 1)]
    queue = [write(GRBM_GFX_CNTL[0], 1 << 2), write(HQD_ACTIVE[0], 1)]
    rows = {row.register: row.status for row in pair.diff(kiq, queue).rows}
    assert rows == {
        "GRBM_GFX_CNTL": "different",
        "CP_HQD_ACTIVE{me 2 pipe 1 queue 0}": "only-a",
        "CP_HQD_ACTIVE{me 1 pipe 0 queue 0}": "only-b",
    }


def test_compare_order_counts_when_asked(pair: Pair) -> None:
    a = [write(C2PMSG_35, value) for value in (1, 2, 1, 3)]
    b = [write(C2PMSG_35, value) for value in (2, 1, 3)]
    assert pair.diff(a, b).same
    assert pair.row(a, b, order=True).status == "order"
    again = [write(C2PMSG_35, value) for value in (1, 1, 2, 1, 3, 3)]
    assert pair.diff(a, again, order=True).same  # the same value again is no step


def test_compare_reads_count_when_asked(pair: Pair) -> None:
    a = [read(C2PMSG_36, 1), read(C2PMSG_35, 7), write(RLC_CNTL[0], 1)]
    b = [read(C2PMSG_36, 2), write(RLC_CNTL[0], 1)]
    assert pair.diff(a, b).same
    rows = {row.register: row.status for row in pair.diff(a, b, reads=True).rows}
    assert rows == {"MP0_SMN_C2PMSG_36": "same", "MP0_SMN_C2PMSG_35": "only-a", "RLC_CNTL": "same"}


def test_compare_memory_and_failed_accesses_are_left_out() -> None:
    vram = Event(1, "write", Place("VRAM", None, ""), 1, offset=0)
    failed = Event(2, "write", Place("GC", 0, "RLC_CNTL"), 1, failed="DeviceLost")
    assert compare([vram, failed], []).rows == ()


def test_compare_many_values_are_kept_up_to_a_bound_and_said_to_be_more(pair: Pair) -> None:
    lines = [write(C2PMSG_35, value) for value in range(400)]
    row = pair.row(lines, lines)
    assert row.status == "same"
    assert row.a is not None
    assert (len(row.a.values), row.a.more, row.a.final, row.a.writes) == (256, True, 399, 400)


def test_compare_counts_by_block(pair: Pair) -> None:
    a = [write(RLC_CNTL[0], 1), write(C2PMSG_35, 1), doorbell(0, 1)]
    b = [write(RLC_CNTL[0], 2), write(C2PMSG_35, 1), doorbell(8, 1)]
    counts = {block: dict(found) for block, found in pair.diff(a, b).by_block().items()}
    assert counts == {"GC": {"different": 1}, "MP0": {"same": 1}, "DOORBELL": {"only-a": 1, "only-b": 1}}


def test_diff_traces_without_a_common_register_is_undecided(pair: Pair) -> None:
    one, two = pair.traces([write(RLC_CNTL[0], 1)], [write(C2PMSG_35, 1), read(RLC_CNTL[0], 1)])
    with pytest.raises(Undecided) as caught:
        gpumend.diff_traces(one, two)
    assert caught.value.seen == "none: 2 registers are written by one of them only"


def test_alike_rows_groups_what_differs_in_numbers_of_its_name_only(pair: Pair) -> None:
    contexts = [0x8000 + 0x860 * 4 + 4 * number for number in range(3)]  # VM_CONTEXT0_CNTL and the next two
    rows = pair.diff(
        [write(contexts[0], 1), write(RLC_CNTL[0], 1), *(write(offset, 1, 2) for offset in contexts[1:])],
        [write(C2PMSG_35, 1)],
    ).rows
    groups = gpumend.alike_rows(rows)
    assert [[row.register for row in group] for group in groups] == [
        ["VM_CONTEXT0_CNTL", "VM_CONTEXT1_CNTL", "VM_CONTEXT2_CNTL"],
        ["RLC_CNTL"],
        ["MP0_SMN_C2PMSG_35"],
    ]


def test_count_blocks_counts_registers_once_for_all_instances(pair: Pair) -> None:
    lines = [write(offset, 1) for offset in RLC_CNTL] + [read(RLC_CNTL[0], 1, 5), read(C2PMSG_35, 1)]
    gc, psp = count_blocks(pair.traces(lines, lines)[0].events)
    assert (gc.block, gc.instances, gc.registers, gc.reads, gc.writes) == ("GC", 8, 1, 5, 8)
    assert (psp.block, psp.reads, psp.writes) == ("MP0", 1, 0)


# --- folding


def folded(pair: Pair, lines: list[str]) -> list[Folded]:
    return list(fold(pair.traces(lines, [lines[0]])[0].events))


def test_fold_same_access_again_and_on_other_instances(pair: Pair) -> None:
    first, second = folded(pair, [write(offset, 1) for offset in RLC_CNTL] + [write(RLC_CNTL[0], 2, 3)])
    assert (first.name, first.times, first.repeats) == ("GC[0-7].RLC_CNTL", 8, 1)
    assert (second.name, second.times) == ("GC[0].RLC_CNTL", 3)


def test_fold_sequence_over_all_instances(pair: Pair) -> None:
    pairs = zip(INVALIDATE_REQ, INVALIDATE_ACK, strict=True)
    lines = [line for req, ack in pairs for line in (write(req, 1), read(ack, 1))]
    request, answer = folded(pair, lines)
    assert (request.name, request.times, request.length, request.repeats) == (
        "GC[0-7].VM_INVALIDATE_ENG17_REQ",
        8,
        2,
        8,
    )
    assert (answer.name, answer.times, answer.length, answer.repeats) == ("GC[0-7].VM_INVALIDATE_ENG17_ACK", 8, 0, 1)


def test_fold_keeps_what_differs_apart(pair: Pair) -> None:
    lines = [read(C2PMSG_35, 0), read(C2PMSG_35, 1), write(C2PMSG_35, 1), read(C2PMSG_36, 1)]
    assert [row.times for row in folded(pair, lines)] == [1, 1, 1, 1]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=60))
def test_fold_loses_no_access(picks: list[tuple[int, int]]) -> None:
    """Written out again (each sequence as often as it came) it is the list that it was, but for the instances."""
    events = [Event(line, "write", Place("GC", xcc, "RLC_CNTL"), value) for line, (xcc, value) in enumerate(picks)]
    rows = list(fold(events))
    assert sum(row.times for row in rows) == len(events)
    again: list[int | None] = []
    at = 0
    while at < len(rows):
        row = rows[at]
        if row.repeats > 1:
            again += [item.event.value for item in rows[at : at + row.length]] * row.repeats
            at += row.length
        else:
            again += [row.event.value] * row.times
            at += 1
    assert again == [event.value for event in events]


def test_names_of_many_instances_are_short() -> None:
    assert spans([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert named("GC", (0, 1), "X") == "GC[0-1].X"
    assert named("DOORBELL", (), "0x10") == "DOORBELL 0x10"
    assert (
        Folded(Event(1, "read", Place("DMA", 3, ""), None, offset=16, size=8), (3,), 1).name
        == "DMA buffer 3 0x10 + 0x8"
    )
