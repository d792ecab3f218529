"""amdriver/access.py on a fake with real index pairs: every path, its lock, and what it leaves behind."""

from __future__ import annotations

import pytest

from amdriver.access import INDEX_REGISTERS, Access, smn_base
from base.errors import Refused, Unavailable, Undecided
from pcibus.transport import Transport
from tests.unit.discovery_fake import (
    INDEX2,
    INDEX2_HI,
    MM_INDEX,
    MM_INDEX_HI,
    RSMU_INDEX,
    FakeGpu,
)


def test_access_the_fake_is_a_transport() -> None:
    assert isinstance(FakeGpu(), Transport)


def test_access_constructor_touches_nothing() -> None:
    gpu = FakeGpu()
    Access(gpu)
    assert gpu.log == []


def test_access_index_registers_are_exactly_the_five_of_the_design() -> None:
    assert {(5, 0x00), (5, 0x18), (5, 0x50), (5, 0x38), (5, 0x44)} == INDEX_REGISTERS


def test_access_read_within_bar5_is_direct() -> None:
    gpu = FakeGpu()
    gpu.registers[0x1234 * 4] = 77
    assert Access(gpu).read(0x1234) == 77
    assert gpu.log == [("R", 5, 0x1234 * 4, 77)]


def test_access_read_beyond_bar5_goes_through_smn() -> None:
    gpu = FakeGpu(bar5=0x1000)
    gpu.smn[0x58184] = 5
    access = Access(gpu)
    assert access.read(0x58184 // 4) == 5
    assert access.where(0x58184 // 4) == "SMN 0x58184 on fake"
    assert access.where(4) == "BAR5+0x10 on fake"


def test_access_write_within_and_beyond_bar5() -> None:
    gpu = FakeGpu(bar5=0x1000)
    access = Access(gpu)
    access.write(0x10, 3)
    access.write(0x4000, 4)
    assert gpu.registers[0x40] == 3
    assert gpu.smn[0x10000] == 4


def test_access_without_bar5_says_so() -> None:
    gpu = FakeGpu(bar5=0)
    with pytest.raises(Unavailable, match="reaching the registers failed") as caught:
        Access(gpu).read(0)
    assert "no such BAR" in caught.value.seen


@pytest.mark.parametrize(("aid", "base"), [(0, 0), (1, 0x5_0000_0000), (2, 0x6_0000_0000), (3, 0x7_0000_0000)])
def test_access_smn_reaches_each_aid(aid: int, base: int) -> None:
    gpu = FakeGpu()
    gpu.smn[base | 0x58184] = 100 + aid
    assert smn_base(aid) == base
    assert Access(gpu).smn_read(0x58184, aid) == 100 + aid
    bus = Access(gpu).smn_bus(aid)
    assert bus.read(0x58184 // 4) == 100 + aid
    assert bus.where(0x58184 // 4) == f"AID {aid} SMN 0x58184 on fake"


def test_access_smn_write_of_another_aid_lands_there() -> None:
    gpu = FakeGpu()
    Access(gpu).smn_bus(2).write(0x100, 9)
    assert gpu.smn == {0x6_0000_0400: 9}


def test_access_smn_leaves_index_as_found_and_high_part_zero() -> None:
    gpu = FakeGpu()
    gpu.registers[INDEX2] = 0xABC0
    Access(gpu).smn_read(0x1000, 3)
    assert gpu.registers[INDEX2] == 0xABC0
    assert gpu.registers[INDEX2_HI] == 0
    assert gpu.unlocked_index_accesses == 0


def test_access_smn_high_part_left_by_a_crash_does_not_misdirect() -> None:
    gpu = FakeGpu()
    gpu.registers[INDEX2_HI] = 5
    gpu.smn = {0x1000: 1, 0x5_0000_1000: 2}
    assert Access(gpu).smn_read(0x1000) == 1
    assert gpu.registers[INDEX2_HI] == 0


def test_access_smn_of_aid_0_does_not_write_the_high_part() -> None:
    gpu = FakeGpu()
    Access(gpu).smn_read(0x1000)
    assert gpu.written() == {INDEX2}


def test_access_smn_reads_back_what_it_wrote_before_the_data() -> None:
    gpu = FakeGpu()
    Access(gpu).smn_read(0x1000, 1)
    verbs = [(verb, offset) for verb, _, offset, _ in gpu.log]
    assert verbs == [
        ("R", 0x38),  # to restore
        ("W", 0x38),
        ("R", 0x38),
        ("W", 0x44),
        ("R", 0x44),
        ("R", 0x3C),
        ("W", 0x44),
        ("R", 0x44),
        ("W", 0x38),
    ]


def test_access_smn_index_moved_by_somebody_else_is_undecided() -> None:
    gpu = FakeGpu()
    gpu.index2_sticks_at = 0x4444
    with pytest.raises(Undecided, match="setting PCIE_INDEX2") as caught:
        Access(gpu).smn_read(0x1000)
    assert caught.value.expected == "0x00001000 read back"
    assert caught.value.seen == "0x00004444"


def test_access_smn_on_a_dead_gpu_answers_all_ones_and_restores_nothing() -> None:
    gpu = FakeGpu()
    gpu.dead = True
    assert Access(gpu).smn_read(0x1000) == 0xFFFFFFFF
    assert ("W", 5, INDEX2, 0xFFFFFFFF) not in gpu.log


def test_access_smn_lock_held_is_refused_and_nothing_is_touched() -> None:
    gpu = FakeGpu()
    gpu.locked_by = "python[12]"
    with pytest.raises(Refused, match="locking the GPU refused"):
        Access(gpu).smn_read(0x1000)
    assert gpu.log == []


@pytest.mark.parametrize("aid", [-1, 4])
def test_access_smn_aid_out_of_range_is_refused(aid: int) -> None:
    with pytest.raises(ValueError, match=r"AIDs 0\.\.3"):
        Access(FakeGpu()).smn_bus(aid)


@pytest.mark.parametrize("address", [2, -4, 1 << 32])
def test_access_smn_bad_byte_address_is_refused(address: int) -> None:
    with pytest.raises(ValueError, match="a multiple of 4"):
        Access(FakeGpu()).smn_read(address)


def test_access_rsmu_reads_writes_and_restores() -> None:
    gpu = FakeGpu()
    gpu.registers[RSMU_INDEX] = 8
    gpu.rsmu[0x2000] = 6
    access = Access(gpu)
    assert access.rsmu_read(0x2000) == 6
    access.rsmu_write(0x2004, 7)
    assert gpu.rsmu[0x2004] == 7
    assert gpu.registers[RSMU_INDEX] == 8
    assert gpu.unlocked_index_accesses == 0


# ---- VRAM


@pytest.mark.parametrize("bar0", [0, 1 << 20, 1 << 38])
@pytest.mark.parametrize(("offset", "size"), [(0x100, 16), (0x101, 5), (0x103, 1), (0xFFFF8, 20), (0x100, 0)])
def test_access_vram_read_is_the_same_through_every_path(bar0: int, offset: int, size: int) -> None:
    gpu = FakeGpu(bar0=bar0)
    whole = bytes(range(256)) * 8
    gpu.put(0, whole)
    gpu.put(0xFFFF0, whole)
    expected = whole[offset : offset + size] if offset < 0x1000 else whole[offset - 0xFFFF0 :][:size]
    assert Access(gpu).vram_read(offset, size) == expected
    assert gpu.unlocked_index_accesses == 0


def test_access_vram_window_writes_high_part_only_when_it_changes() -> None:
    gpu = FakeGpu()
    gpu.put((1 << 31) - 8, b"abcdefghijklmnop")
    assert Access(gpu).vram_read((1 << 31) - 8, 16) == b"abcdefghijklmnop"
    high = [value for verb, _, offset, value in gpu.log if verb == "W" and offset == MM_INDEX_HI]
    assert high == [0, 1, 0]  # two parts of the range, and as found


def test_access_vram_window_costs_two_accesses_a_dword_and_one_lock() -> None:
    gpu = FakeGpu()
    Access(gpu).vram_read(0x10_0000_0000, 4096)
    assert len(gpu.log) == 2 * 1024 + 1 + 2 + 2  # index and data; high part; both indices saved, and restored
    assert gpu.written() == {MM_INDEX, MM_INDEX_HI}


def test_access_vram_window_leaves_indices_as_found() -> None:
    gpu = FakeGpu()
    gpu.registers |= {MM_INDEX: 0x80000040, MM_INDEX_HI: 3}
    Access(gpu).vram_read(0x1000, 64)
    assert (gpu.registers[MM_INDEX], gpu.registers[MM_INDEX_HI]) == (0x80000040, 3)


def test_access_vram_through_bar0_writes_nothing() -> None:
    gpu = FakeGpu(bar0=1 << 38)
    Access(gpu).vram_read(0x1000, 64)
    assert gpu.written() == set()


def test_access_vram_negative_is_refused() -> None:
    with pytest.raises(ValueError, match="neither may be negative"):
        Access(FakeGpu()).vram_read(-4, 4)
