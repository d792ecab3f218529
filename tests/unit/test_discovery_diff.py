"""amdriver/discovery_diff.py: how many bytes differ, where, and in which tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amdriver.discovery import diff, layout
from tests.fuzz.discovery_blobs import build, mi350x

GOOD = build(mi350x())


def flip(blob: bytes, *offsets: int) -> bytes:
    changed = bytearray(blob)
    for at in offsets:
        changed[at] ^= 0xFF
    return bytes(changed)


def test_diff_of_the_same_says_so() -> None:
    same = diff(GOOD, GOOD)
    assert same.same
    assert str(same) == "no byte differs"
    assert same.ranges == ()


def test_diff_counts_merges_and_names_the_table() -> None:
    answer = diff(GOOD, flip(GOOD, 0x100, 0x101, 0x106, 0x120))
    assert answer.differing_bytes == 4
    assert [(part.offset, part.length, part.tables) for part in answer.ranges] == [
        (0x100, 7, ("IP discovery table",)),
        (0x120, 1, ("IP discovery table",)),
    ]
    assert str(answer) == f"4 of {len(GOOD)} bytes differ, first at 0x100 (IP discovery table)"


def test_diff_range_over_a_border_names_both() -> None:
    border = next(end for start, end, name in layout(GOOD) if name == "binary header")
    answer = diff(GOOD, flip(GOOD, border - 1, border))
    assert answer.tables == ("binary header", "IP discovery table")


def test_diff_missing_bytes_count_as_differing() -> None:
    answer = diff(GOOD, GOOD[:100])
    assert answer.differing_bytes == len(GOOD) - 100
    assert answer.ranges[0].offset == 100
    assert answer.bad_size == 100


def test_diff_bytes_behind_the_binary_do_not_count() -> None:
    assert diff(GOOD + b"tail", GOOD + b"else").same


def test_diff_of_two_things_that_are_no_tables() -> None:
    answer = diff(b"abcdef", b"abcdeg")
    assert answer.ranges[0].tables == ("bytes between tables",)
    assert diff(b"", b"x").same


def test_diff_lists_the_first_ranges_and_counts_the_rest() -> None:
    answer = diff(GOOD, flip(GOOD, *range(64, 64 + 16 * 50, 16)))
    assert (len(answer.ranges), answer.more_ranges) == (32, 18)


def test_layout_lists_header_and_tables_in_order() -> None:
    spans = layout(GOOD)
    assert [name for _, _, name in spans] == [
        "binary header",
        "IP discovery table",
        "GC table",
        "harvest table",
        "VCN table",
        "MALL table",
        "NPS table",
    ]
    assert spans[0][:2] == (0, 60)
    assert spans[-1][1] == len(GOOD)
    assert layout(b"nothing") == ()


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_diff_any_two_pieces_of_bytes_are_compared(good: bytes, bad: bytes) -> None:
    answer = diff(good, bad)
    expected = sum(a != b for a, b in zip(good, bad, strict=False)) + max(0, len(good) - len(bad))
    assert answer.differing_bytes == expected
    assert all(part.length > 0 for part in answer.ranges)
