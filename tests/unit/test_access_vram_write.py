"""amdriver/access.py: writing VRAM through BAR0 and the index window, at any offset and size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amdriver.access import Access, VramMemory, VramPath
from tests.unit.gmc_fake import MIB, MM_DATA, MM_INDEX, MM_INDEX_HI, PAGE, Card, FakeCard

BAR = 64 * 1024


def made(bar0: int = BAR) -> tuple[FakeCard, Access]:
    transport = FakeCard(Card(bar0=bar0))
    return transport, Access(transport)


@given(start=st.integers(BAR - 40, BAR + 40), data=st.binary(max_size=80), path=st.sampled_from(["auto", "window"]))
def test_vram_write_any_offset_and_size_changes_exactly_these_bytes(start: int, data: bytes, path: VramPath) -> None:
    transport, access = made()
    low, size = BAR - 64, 256
    expected = bytearray(transport.vram_bytes(low, size))
    expected[start - low : start - low + len(data)] = data
    access.vram_write(start, data, path)
    assert transport.vram_bytes(low, size) == expected
    assert access.vram_read(low, size) == expected


def test_vram_write_of_whole_dwords_reads_no_vram() -> None:
    transport, access = made()
    assert access.vram_write(0x100, bytes(64))
    assert [entry[:3] for entry in transport.log] == [("W", 0, 0x100)]


def test_vram_write_unaligned_reads_only_the_first_and_last_dword() -> None:
    transport, access = made()
    access.vram_write(0x101, bytes(64))
    assert transport.log == [("R", 0, 0x100, 4), ("R", 0, 0x140, 4), ("W", 0, 0x100, 68)]


def test_vram_write_says_whether_bar0_was_used() -> None:
    _, access = made()
    assert access.vram_write(BAR - 4, bytes(8))
    assert not access.vram_write(BAR, bytes(8))
    assert not access.vram_write(0, bytes(8), "window")
    assert not access.vram_write(0, b"")


def test_vram_write_nothing_touches_nothing() -> None:
    transport, access = made()
    access.vram_write(3, b"")
    assert transport.log == []


def test_vram_write_through_the_window_restores_the_index_and_sets_the_high_part_once() -> None:
    transport, access = made(bar0=0)
    transport.registers[MM_INDEX] = 0x80000010
    transport.registers[MM_INDEX_HI] = 1
    access.vram_write((1 << 31) - 8, bytes(16))
    assert transport.registers[MM_INDEX] == 0x80000010
    assert transport.registers[MM_INDEX_HI] == 1
    high = [value for verb, _, at, value in transport.log if (verb, at) == ("W", MM_INDEX_HI)]
    assert high == [0, 1, 1]  # below 2 GiB, above, and as it was
    assert transport.count("W", MM_DATA) == 4


def test_vram_write_negative_offset_is_our_own_mistake() -> None:
    _, access = made()
    with pytest.raises(ValueError, match="may not be negative"):
        access.vram_write(-4, bytes(4))


def test_vram_memory_reads_what_it_wrote_on_both_sides_of_the_bar() -> None:
    transport, access = made()
    memory = VramMemory(access)
    data = bytes(range(256)) * (PAGE // 128)
    memory.write(BAR - PAGE, data)
    assert memory.read(BAR - PAGE, len(data)) == data
    assert transport.vram_bytes(BAR - PAGE, len(data)) == data
    assert transport.card.vram_mib * MIB > BAR
