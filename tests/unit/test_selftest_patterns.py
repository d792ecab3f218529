"""Patterns of the self-test: what they are made of, which copies are planned, what a difference looks like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.patterns import ALIGNMENTS, CHUNK_BYTES, GUARD_BYTES, Pattern, chunks, compare, plan, sizes_up_to


def test_pattern_line_holds_its_own_address_and_random_words() -> None:
    words = Pattern(1, 0x4000_0000).part(0, 256).view(np.uint64).reshape(4, 8)
    assert [int(word) for word in words[2, :4]] == [0x4000_0000 + 128 + 8 * n for n in range(4)]
    assert len({int(word) for word in words[:, 4:].reshape(-1)}) == 16


@given(st.integers(0, 2 * CHUNK_BYTES), st.integers(1, 5000))
def test_pattern_part_equals_the_same_part_of_the_whole(offset: int, size: int) -> None:
    pattern = Pattern(7, 0x1000)
    low = offset // 64 * 64
    assert np.array_equal(pattern.part(offset, size), pattern.part(low, offset - low + size)[offset - low :])


def test_pattern_across_chunks_joins_them() -> None:
    pattern = Pattern(3)
    whole = pattern.part(0, CHUNK_BYTES + 100)
    assert np.array_equal(pattern.part(CHUNK_BYTES - 10, 110), whole[CHUNK_BYTES - 10 :])


def test_pattern_of_another_seed_or_base_differs_in_every_line() -> None:
    one = Pattern(1).part(0, 4096).reshape(-1, 64)
    for other in (Pattern(2).part(0, 4096), Pattern(1, 64).part(0, 4096)):
        assert (one != other.reshape(-1, 64)).any(axis=1).all()


def test_compare_same_bytes_is_none() -> None:
    data = Pattern(1).part(0, 999)
    assert compare(data, data.tobytes()) is None


def test_compare_tells_the_first_difference_and_how_many() -> None:
    data = Pattern(1).part(0, 4096)
    bad = data.copy()
    bad[[100, 101, 4000]] ^= 0xFF
    wrong = compare(data, bad.tobytes())
    assert wrong is not None
    assert (wrong.offset, wrong.count, wrong.total) == (100, 3, 4096)
    assert wrong.expected == data[100:116].tobytes()
    assert wrong.seen == bad[100:116].tobytes()
    assert str(wrong) == "3 of 4096 bytes differ, the first at +0x64"


@pytest.mark.parametrize("cut", [0, 10])
def test_compare_missing_bytes_count_as_different(cut: int) -> None:
    data = Pattern(1).part(0, 64)
    wrong = compare(data, data[:cut].tobytes())
    assert wrong is not None and (wrong.offset, wrong.count) == (cut, 64 - cut)


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=30))
def test_plan_copies_never_touch_each_other_or_the_guards(sizes: list[int]) -> None:
    made = plan(tuple(sizes))
    at = 0
    for one, size in zip(made.transfers, sizes, strict=True):
        assert one.size == size
        assert one.dst_offset >= at + GUARD_BYTES
        assert one.src_offset + size <= made.source_bytes
        at = one.dst_offset + size
    assert at + GUARD_BYTES <= made.target_bytes
    assert made.moved_bytes == sum(sizes)


def test_plan_uses_every_alignment() -> None:
    made = plan((100,) * len(ALIGNMENTS))
    assert {(one.src_offset, one.dst_offset % 4096) for one in made.transfers} >= {(4095, 4093)}
    assert {(one.src_offset % 64, one.dst_offset % 64) for one in made.transfers} >= {(0, 0), (1, 0), (0, 1), (3, 5)}


def test_sizes_up_to_span_one_byte_to_the_limit() -> None:
    assert sizes_up_to(16) == (1, 2, 3, 4, 5, 15, 16)
    assert sizes_up_to(1 << 30)[0] == 1 and sizes_up_to(1 << 30)[-1] == 1 << 30
    assert 4097 in sizes_up_to(1 << 20)


def test_chunks_cover_without_a_gap() -> None:
    assert list(chunks(10, 4)) == [(0, 4), (4, 4), (8, 2)]
