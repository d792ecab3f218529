"""amdriver/packets.py: fields, checks, bytes and numbers, the ring write."""

from __future__ import annotations

import struct
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdriver import packets
from amdriver.packets import Shape, address, check_address, choice, flag, hexa, number
from base.errors import Exit, UsageError


class Colour(IntEnum):
    RED = 1
    BLUE = 2


SHAPE = Shape(
    "TEST THING",
    4,
    0xA5,
    number("count", 0, (29, 16), minus=1),
    choice("colour", 0, (15, 12), Colour),
    flag("loud", 0, 31),
    address("at", 1, 3),
    hexa("value", 3),
)


def test_field_at_its_place_is_a_shift_of_the_whole() -> None:
    packet = SHAPE.build(count=3, colour=2, loud=1, at=0x1234_5678_9AB8, value=0xFFFF_FFFF)
    assert struct.unpack("<4I", packet) == (0x8002_20A5, 0x5678_9AB8, 0x1234, 0xFFFF_FFFF)


def test_shape_read_back_gives_what_was_built() -> None:
    given_values = {"count": 3, "colour": 2, "loud": 1, "at": 0x1234_5678_9AB8, "value": 7}
    assert SHAPE.values(SHAPE.build(**given_values)) == given_values


def test_shape_text_names_flags_only_when_set_and_knows_enums() -> None:
    quiet = packets.words_of(SHAPE.build(count=1, colour=1, at=8))
    assert SHAPE.text(quiet) == "THING count=1 colour=RED at=0x8 value=0x0"
    loud = packets.words_of(SHAPE.build(count=1, colour=9, loud=1))
    assert SHAPE.text(loud) == "THING count=1 colour=0x9? loud at=0x0 value=0x0"


def test_shape_text_of_a_short_packet_says_cut_off() -> None:
    assert SHAPE.text([0xA5, 1]) == "TEST THING cut off after 2 of 4 dwords: 000000a5 00000001"


@pytest.mark.parametrize(
    ("values", "expected", "seen"),
    [
        ({"count": 0}, "count in 1..0x4000", "count=0x0"),
        ({"count": 0x4001}, "count in 1..0x4000", "count=0x4001"),
        ({"count": 1, "value": -1}, "value in 0..0xffffffff", "value=-0x1"),
        ({"count": 1, "at": 4}, "at aligned to 8 bytes", "at=0x4"),
        ({"count": 1, "at": 1 << 47 << 3}, "at..+0x1 below 0x1000000000000 or from 0xffff800000000000 on", "at=0x4"),
        ({"count": 1, "at": -8}, "at..+0x1 below 0x1000000000000", "at=-0x8"),
        ({"count": 1, "at": 1 << 64}, "at..+0x1 below", "at=0x10000000000000000"),
    ],
)
def test_shape_given_what_does_not_fit_names_it(values: dict[str, int], expected: str, seen: str) -> None:
    with pytest.raises(UsageError) as caught:
        SHAPE.build(**values)
    assert caught.value.doing == "building TEST THING"
    assert expected in caught.value.expected
    assert caught.value.seen.startswith(seen)
    assert caught.value.exit_code is Exit.USAGE
    assert str(caught.value).startswith("building TEST THING refused\n  expected  ")


def test_shape_given_an_unknown_name_fails_as_our_own_mistake() -> None:
    with pytest.raises(KeyError, match="nothing"):
        SHAPE.build(nothing=1)


def test_address_of_the_upper_half_is_taken_when_it_is_sign_extended() -> None:
    upper = 0xFFFF_8000_0000_0000
    assert SHAPE.values(SHAPE.build(count=1, at=upper))["at"] == upper


@pytest.mark.parametrize(
    ("at", "size", "good"),
    [
        (0, 1 << 48, True),
        (1, 1 << 48, False),
        ((1 << 48) - 1, 1, True),
        (1 << 48, 1, False),
        (0xFFFF_7FFF_FFFF_FFFF, 1, False),
        (0xFFFF_8000_0000_0000, 1 << 47, True),
        (0xFFFF_8000_0000_0001, 1 << 47, False),
    ],
)
def test_check_address_at_the_edges_of_the_hole(at: int, size: int, good: bool) -> None:
    if good:
        assert check_address("X", "at", at, 1, size) == at
        return
    with pytest.raises(UsageError, match="sign-extended from bit 47"):
        check_address("X", "at", at, 1, size)


@pytest.mark.parametrize("data", [b"", b"\1\2\3", [], ()])
def test_pack_words_of_nothing_or_a_broken_dword_is_refused(data: bytes | list[int]) -> None:
    with pytest.raises(UsageError, match="at least one whole dword"):
        packets.pack_words("X", data)


def test_pack_words_names_the_number_that_is_too_big() -> None:
    with pytest.raises(UsageError, match=r"data\[1\]=0x100000000"):
        packets.pack_words("X", [1, 1 << 32])


def test_words_of_bytes_views_and_numbers_agree() -> None:
    data = struct.pack("<3I", 1, 2, 0xFFFF_FFFF)
    assert packets.words_of(data) == packets.words_of(memoryview(data)) == packets.words_of([1, 2, -1])
    assert packets.words_of(memoryview(data).cast("I"), 1, 1) == [2]
    assert packets.words_of(data + b"\1\2") == [1, 2, 0xFFFF_FFFF]
    assert packets.words_of(data, 5) == []
    assert packets.words_of(data, -5, 1) == [1]


def test_words_of_a_view_with_gaps_reads_the_view() -> None:
    data = bytes(range(16))
    assert packets.words_of(memoryview(data)[::2]) == packets.words_of(bytes(data[::2]))


def test_show_says_how_many_dwords_it_left_out() -> None:
    assert packets.show([1, 2]) == "00000001 00000002"
    assert packets.show(list(range(20))).endswith("00000007 (+12 more)")
    assert packets.show([5], 9) == "00000005 (+8 more)"


def test_ring_write_goes_round_the_end_in_two_parts() -> None:
    ring = memoryview(bytearray(32))
    assert packets.ring_write(ring, 6, bytes(range(1, 17))) == 10
    assert bytes(ring) == bytes(range(9, 17)) + bytes(16) + bytes(range(1, 9))


def test_ring_write_takes_a_pointer_that_never_wraps() -> None:
    ring = memoryview(bytearray(32))
    assert packets.ring_write(ring, 8 * 1000 + 7, b"abcd") == 8 * 1000 + 8
    assert bytes(ring[28:]) == b"abcd"


@pytest.mark.parametrize("size", [0, 3, 36])
def test_ring_write_of_part_dwords_or_too_much_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=rf"whole dwords, 4\.\.32 bytes\s+seen +{size} bytes"):
        packets.ring_write(memoryview(bytearray(32)), 0, bytes(size))


@given(st.integers(0, 1 << 40), st.integers(1, 16), st.integers(4, 6))
def test_ring_write_equals_writing_dword_by_dword(wptr: int, dwords: int, size_log2: int) -> None:
    size = 1 << size_log2
    if dwords > size:
        return
    data = struct.pack(f"<{dwords}I", *range(1, dwords + 1))
    ring, slow = memoryview(bytearray(4 * size)), bytearray(4 * size)
    packets.ring_write(ring, wptr, data)
    for at in range(dwords):
        struct.pack_into("<I", slow, 4 * ((wptr + at) % size), at + 1)
    assert bytes(ring) == bytes(slow)
