"""amdriver/pagetable.py and pte.py: exact entries, fragments, batches and flushes, failures in the middle, every error."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amdriver.memory import BadAddress, BadAlignment, BadSize, Closed, OutOfVram, Range
from amdriver.pagetable import AlreadyMapped, NotMapped, PageTables
from amdriver.pte import BadFlags, Fill, Level, Memory, Where, fragments, pte_flags
from amdriver.vram import VramAllocator
from base.errors import Exit
from tests.unit.pagetable_walker import PAGE, SparseVram, check_fragment, walk

VRAM = 64 << 20
LARGE = 2 << 20
GIB = 1 << 30
VA = 0x7F00_0000_0000
SYSTEM = pte_flags("gfx942", Where.SYSTEM)
LOCAL = pte_flags("gfx942", Where.LOCAL_VRAM)


class Bench:
    """Tables over sparse VRAM; what was flushed, and how much was written by then."""

    def __init__(self, size: int = VRAM) -> None:
        self.memory = SparseVram(size)
        self.vram = VramAllocator(size)
        self.flushed: list[tuple[Range, ...]] = []
        self.written_at_flush: list[int] = []
        self.fail: Exception | None = None
        self.tables = PageTables(self.memory, self.vram, self._flush, where="0000:c1:00.0")
        self.tables.commit()

    def _flush(self, ranges: tuple[Range, ...]) -> None:
        if self.fail is not None:
            raise self.fail
        self.flushed.append(ranges)
        self.written_at_flush.append(len(self.memory.writes))

    def walk(self, gpu_va: int) -> tuple[int, int, int, int] | None:
        return walk(self.memory, self.tables.root_register, gpu_va)

    def table(self, level: Level, gpu_va: int) -> tuple[int, ...]:
        """The 512 entries of the table of this level that an address goes through, as the GPU's memory has them."""
        at = self.tables.root_register & ~0xFFF
        for above in range(level):
            shift = 39 - 9 * above
            (entry,) = struct.unpack("<Q", self.memory.read(at + (gpu_va >> shift & 511) * 8, 8))
            at = entry & 0xFFFF_FFFF_F000
        return struct.unpack("<512Q", self.memory.read(at, PAGE))


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ---------------------------------------------------------------- flags


@pytest.mark.parametrize(
    ("arch", "where", "options", "expected"),
    [
        ("gfx942", Where.LOCAL_VRAM, {}, 0x64 | 1 << 57),
        ("gfx950", Where.LOCAL_VRAM, {}, 0x64 | 1 << 57),
        ("gfx942", Where.REMOTE_VRAM, {}, 0x64),
        ("gfx950", Where.REMOTE_VRAM, {}, 0x64),
        ("gfx942", Where.SYSTEM, {}, 0x66 | 3 << 57),
        ("gfx950", Where.SYSTEM, {}, 0x66),
        ("gfx942", Where.LOCAL_VRAM, {"uncached": True}, 0x64 | 3 << 57),
        ("gfx950", Where.SYSTEM, {"uncached": True}, 0x66 | 3 << 57),
        ("gfx942", Where.LOCAL_VRAM, {"shared": True}, 0x64 | 2 << 57),
        ("gfx942", Where.REMOTE_VRAM, {"shared": True}, 0x64 | 3 << 57),
        ("gfx950", Where.LOCAL_VRAM, {"executable": True, "writeable": False}, 0x34 | 1 << 57),
        ("gfx950", Where.LOCAL_VRAM, {"readable": False, "writeable": False}, 0x04 | 1 << 57),
    ],
)
def test_flags_of_a_kind_of_memory_are_what_the_kernel_sets(
    arch: str, where: Where, options: dict[str, bool], expected: int
) -> None:
    assert pte_flags(arch, where, **options) == expected


def test_flags_unknown_architecture_is_refused() -> None:
    with pytest.raises(BadFlags, match="expected  gfx942 or gfx950\n  seen      gfx1100\n") as caught:
        pte_flags("gfx1100", Where.SYSTEM)
    assert caught.value.exit_code is Exit.USAGE


# ---------------------------------------------------------------- entries


def test_entries_of_one_page_are_those_of_the_sheet(bench: Bench) -> None:
    bench.tables.map(VA, [(0x1234_5000, PAGE)], SYSTEM)
    ptb = bench.table(Level.PTB, VA)
    assert ptb[0] == 0x1234_5000 | 0x66 | 3 << 57 | 1
    assert set(ptb[1:]) == {0x10}  # empty: EXECUTABLE alone
    pdb0 = bench.table(Level.PDB0, VA)
    assert pdb0[VA >> 21 & 511] & ~0xFFFF_FFFF_F000 == 1 << 56 | 1
    assert set(pdb0) - {pdb0[VA >> 21 & 511]} == {0x1000}
    pdb1 = bench.table(Level.PDB1, VA)
    assert pdb1[VA >> 30 & 511] & ~0xFFFF_FFFF_F000 == 9 << 59 | 1
    assert set(pdb1) - {pdb1[VA >> 30 & 511]} == {1 << 54}
    pdb2 = bench.table(Level.PDB2, VA)
    assert pdb2[VA >> 39 & 511] & ~0xFFFF_FFFF_F000 == 1
    assert set(pdb2) - {pdb2[VA >> 39 & 511]} == {1 << 54}


def test_map_two_mib_aligned_is_one_pdb0_entry_without_pde_pte_and_tf(bench: Bench) -> None:
    bench.tables.map(VA, [(4 * LARGE, LARGE)], LOCAL)
    entry = bench.table(Level.PDB0, VA)[VA >> 21 & 511]
    assert entry == 4 * LARGE | LOCAL | 1 | 9 << 7
    assert bench.tables.table_count == 3


def test_map_two_mib_of_misaligned_memory_is_never_a_large_page(bench: Bench) -> None:
    bench.tables.map(VA, [(4 * LARGE + 0x10000, LARGE)], LOCAL)
    assert bench.tables.table_count == 4
    for page in range(0, LARGE, PAGE):
        found = bench.walk(VA + page)
        assert found is not None
        assert found[0] == 4 * LARGE + 0x10000 + page
        assert found[2] == 4  # 64 KiB, all that the memory's alignment allows


def test_map_one_gib_of_aligned_memory_has_fragments_of_half_a_gib(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, GIB)], LOCAL)
    assert bench.walk(VA + GIB - PAGE) == (2 * GIB - PAGE, LOCAL, 17, LARGE)
    assert bench.tables.table_count == 3


def test_map_without_large_pages_keeps_to_ptb_entries(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, 8 * LARGE)], LOCAL, large=False)
    assert bench.walk(VA + LARGE) == (GIB + LARGE, LOCAL, 8, PAGE)
    assert bench.tables.table_count == 3 + 8


def test_map_ranges_that_continue_one_another_are_one(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, 12 << 10), (GIB + (12 << 10), LARGE - (12 << 10))], LOCAL)
    assert bench.walk(VA) == (GIB, LOCAL, 9, LARGE)


def test_map_table_register_and_pdes_hold_physical_addresses() -> None:
    memory, vram = SparseVram(VRAM), VramAllocator(VRAM)
    base = 2 * 0x30_0000_0000
    tables = PageTables(memory, vram, lambda ranges: None, physical_base=base)
    tables.map(VA, [(GIB, PAGE)], SYSTEM)
    assert tables.root_register & 1
    assert base <= tables.root_register < base + VRAM
    found = walk(memory, tables.root_register, VA, base)
    assert found is not None
    assert found.physical == GIB


_MIXED = [(GIB + index * 3 * PAGE, (index % 3 + 1) * PAGE) for index in range(100)]
_BLOCKS = [(GIB + (index * 7 % 101) * 2 * LARGE, (1 + index % 2) * LARGE) for index in range(70)]
_ONE_SIZE = [(GIB + (index * 7 % 101) * LARGE, LARGE) for index in range(70)]
_BIG_ODD = [(GIB + index * 4 * LARGE + PAGE, LARGE + index % 2 * PAGE) for index in range(70)]


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("gpu_va", [VA, VA + PAGE])
@pytest.mark.parametrize("ranges", [_MIXED, _BLOCKS, _ONE_SIZE, _BIG_ODD], ids=["mixed", "blocks", "one", "odd"])
def test_map_many_ranges_translates_like_each_range_alone(
    ranges: list[tuple[int, int]], gpu_va: int, large: bool
) -> None:
    bench = Bench()
    bench.tables.map(gpu_va, ranges, LOCAL, large=large)
    at = gpu_va
    for address, size in ranges:
        for offset in {0, size // 2 // PAGE * PAGE, size - PAGE}:
            found = bench.walk(at + offset)
            assert found is not None
            assert found[:2] == (address + offset, LOCAL)
            assert found[3] == PAGE or large
        check_fragment(bench.memory, bench.tables.root_register, at)
        at += size
    assert bench.walk(at) is None
    if large and ranges is _ONE_SIZE and gpu_va == VA:
        assert bench.tables.table_count == 3


@pytest.mark.parametrize("size", [1 << 47, 1 << 40])
def test_map_many_ranges_larger_than_the_address_space_are_refused(bench: Bench, size: int) -> None:
    with pytest.raises(BadAddress):
        bench.tables.map(VA, [(size, size)] * 300, LOCAL)
    assert bench.tables.table_count == 1


def test_map_array_with_a_large_page_inside_finds_it(bench: Bench) -> None:
    scattered = np.arange(1000, 1000 + 3 * 512, 3, dtype=np.uint64)
    aligned = np.arange(512 * 64, 512 * 66, dtype=np.uint64)
    pages = np.concatenate([scattered, aligned, scattered[:7]]) * np.uint64(PAGE)
    bench.tables.map(VA, pages, SYSTEM)
    assert bench.walk(VA + LARGE + 5 * PAGE) == (64 * LARGE + 5 * PAGE, SYSTEM, 9, LARGE)
    assert bench.walk(VA + PAGE) == (1003 * PAGE, SYSTEM, 0, PAGE)
    assert bench.walk(VA + 3 * LARGE + 6 * PAGE) == ((1000 + 18) * PAGE, SYSTEM, 0, PAGE)
    assert bench.walk(VA + 3 * LARGE + 7 * PAGE) is None


def test_map_array_that_the_caller_changes_later_stays_as_it_was(bench: Bench) -> None:
    pages = np.array([GIB, 3 * GIB], dtype=np.uint64)
    with bench.tables.batch():
        bench.tables.map(VA, pages, SYSTEM)
        pages[:] = 0
    assert bench.walk(VA) == (GIB, SYSTEM, 0, PAGE)


def test_map_at_the_top_of_the_address_space_works(bench: Bench) -> None:
    top = (1 << 48) - LARGE
    bench.tables.map(top, [(GIB + PAGE, LARGE)], SYSTEM)
    assert bench.walk((1 << 48) - PAGE) == (GIB + LARGE, SYSTEM, 0, PAGE)
    bench.tables.unmap(top, LARGE)
    assert bench.tables.table_count == 1


# ---------------------------------------------------------------- fragments


@given(st.integers(0, 1 << 36), st.integers(1, 1 << 20), st.integers(0, 1 << 36), st.integers(0, 17))
def test_fragments_cover_the_run_aligned_in_both_spaces_and_are_few(
    page: int, count: int, memory: int, most: int
) -> None:
    parts = list(fragments(page, count, memory, most))
    at = page
    for first, length, size in parts:
        assert first == at
        assert length > 0
        assert length % (1 << size) == first % (1 << size) == (first - page + memory) % (1 << size) == 0
        at += length
    assert at == page + count
    assert len(parts) <= 2 * most + 1


@given(st.integers(0, 5000), st.integers(1, 3000), st.integers(0, 5000))
def test_fragments_no_two_could_be_one(page: int, count: int, memory: int) -> None:
    """Each block is as large as it can be: its next larger block reaches out of the run, or is aligned in one space only."""
    for first, length, size in fragments(page, count, memory, 9):
        if size == 9:
            continue
        for block in range(first, first + length, 1 << size):
            start = block >> size + 1 << size + 1
            inside = page <= start and start + (2 << size) <= page + count
            assert not inside or (start - page + memory) % (2 << size)


def _entries(fills: list[Fill]) -> dict[tuple[Level, int], int]:
    """Each entry by level and place."""
    return {(one.level, one.slot + at): int(value) for one in fills for at, value in enumerate(one.values())}


@given(st.integers(0, 1 << 14), st.integers(0, 1 << 14), st.integers(1, 9000), st.booleans())
@example(512 * 512, 512 * 1024, 512 * 512 + 3, True)
def test_fills_of_an_array_are_those_of_the_same_memory_as_a_range(
    page: int, memory: int, count: int, large: bool
) -> None:
    array = (np.arange(count, dtype=np.uint64) + np.uint64(memory)) * np.uint64(PAGE)
    as_array = Memory.of("mapping", "here", array).fills(page * PAGE, LOCAL | 1, large)
    as_range = Memory.of("mapping", "here", [(memory * PAGE, count * PAGE)]).fills(page * PAGE, LOCAL | 1, large)
    assert _entries(as_array) == _entries(as_range)


def test_map_many_large_ranges_in_a_row_have_larger_fragments(bench: Bench) -> None:
    ranges = [(GIB + index * LARGE, LARGE) for index in range(128)]
    bench.tables.map(VA, ranges, LOCAL)
    assert bench.walk(VA + 100 * LARGE) == (GIB + 100 * LARGE, LOCAL, 9 + 7, LARGE)


# ---------------------------------------------------------------- unmapping


def test_unmap_part_of_a_large_page_splits_it(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, LARGE)], LOCAL)
    bench.tables.unmap(VA + 3 * PAGE, 2 * PAGE)
    assert bench.tables.table_count == 4
    assert [bench.walk(VA + page * PAGE) is None for page in range(2, 6)] == [False, True, True, False]
    assert bench.walk(VA + LARGE // 2) == (GIB + LARGE // 2, LOCAL, 8, PAGE)
    for page in (0, 2, 5, 8, 511):
        check_fragment(bench.memory, bench.tables.root_register, VA + page * PAGE)
    # The TLB may hold all of the large page.
    assert bench.flushed[-1] == (Range(VA, LARGE),)


def test_unmap_part_of_a_fragment_of_large_pages_makes_the_rest_smaller(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, GIB)], LOCAL)
    bench.tables.unmap(VA + LARGE, LARGE)
    assert bench.walk(VA) == (GIB, LOCAL, 9, LARGE)
    assert bench.walk(VA + 2 * LARGE) == (GIB + 2 * LARGE, LOCAL, 10, LARGE)
    assert bench.walk(VA + GIB // 4) == (GIB + GIB // 4, LOCAL, 16, LARGE)
    assert bench.walk(VA + GIB // 2) == (GIB + GIB // 2, LOCAL, 17, LARGE)
    assert bench.flushed[-1] == (Range(VA, GIB // 2),)


def test_unmap_all_gives_every_table_but_the_root_back(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB + PAGE, 3 * GIB)], LOCAL)
    assert bench.tables.table_count > 1536
    bench.tables.unmap(VA, 3 * GIB)
    assert bench.tables.table_count == 1
    assert bench.vram.statistics().used == PAGE
    assert bench.walk(VA) is None


def test_unmap_two_maps_at_once_takes_both(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, LARGE)], LOCAL)
    bench.tables.map(VA + LARGE, [(5 * GIB, PAGE)], SYSTEM)
    bench.tables.unmap(VA, LARGE + PAGE)
    assert bench.tables.table_count == 1


# ---------------------------------------------------------------- batches


def test_batch_flushes_once_after_all_writes(bench: Bench) -> None:
    before = len(bench.memory.writes)
    with bench.tables.batch() as batch:
        for index in range(50):
            bench.tables.map(VA + index * GIB, [(index * LARGE, PAGE)], SYSTEM)
        bench.tables.unmap(VA, PAGE)
        assert len(bench.memory.writes) == before
        assert len(batch.ranges) == 50
    assert len(bench.flushed) == 1
    assert bench.written_at_flush == [len(bench.memory.writes)]
    assert bench.flushed[0] == tuple(Range(VA + index * GIB, PAGE) for index in range(50))


def test_batch_inside_a_batch_joins_it(bench: Bench) -> None:
    with bench.tables.batch():
        with bench.tables.batch():
            bench.tables.map(VA, [(GIB, PAGE)], SYSTEM)
        assert bench.flushed == []
    assert bench.flushed == [(Range(VA, PAGE),)]


def test_batch_with_nothing_in_it_writes_and_flushes_nothing(bench: Bench) -> None:
    before = len(bench.memory.writes)
    with bench.tables.batch():
        pass
    assert bench.flushed == []
    assert len(bench.memory.writes) == before


def test_batch_of_side_by_side_tables_is_few_writes(bench: Bench) -> None:
    before = len(bench.memory.writes)
    bench.tables.map(VA, [(GIB + PAGE, GIB)], SYSTEM)
    assert bench.tables.table_count == 3 + 512
    assert len(bench.memory.writes) - before <= 10
    assert max(size for _, size in bench.memory.writes) <= 1 << 20


def test_batch_whose_body_fails_writes_what_was_done_before(bench: Bench) -> None:
    def body() -> None:
        with bench.tables.batch():
            bench.tables.map(VA, [(GIB, PAGE)], SYSTEM)
            bench.tables.map(VA, [(GIB, PAGE)], SYSTEM)

    with pytest.raises(AlreadyMapped):
        body()
    assert bench.walk(VA) == (GIB, SYSTEM, 0, PAGE)
    assert len(bench.flushed) == 1


def test_batch_unmap_and_map_again_gives_the_new_memory(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, PAGE)], SYSTEM)
    with bench.tables.batch():
        bench.tables.unmap(VA, PAGE)
        bench.tables.map(VA, [(2 * GIB, LARGE)], LOCAL)
    assert bench.walk(VA) == (2 * GIB, LOCAL, 9, LARGE)
    assert bench.tables.table_count == 3


def test_batch_that_unmaps_what_it_mapped_writes_no_table_for_it(bench: Bench) -> None:
    before = len(bench.memory.writes)
    with bench.tables.batch():
        bench.tables.map(VA, [(GIB + PAGE, 4 * LARGE)], SYSTEM)
        bench.tables.unmap(VA, 4 * LARGE)
    assert sum(size for _, size in bench.memory.writes[before:]) == 8
    assert bench.tables.table_count == 1


def test_flush_that_fails_keeps_the_vram_of_emptied_tables_until_one_succeeds(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, PAGE)], SYSTEM)
    bench.fail = RuntimeError("no acknowledge")
    with pytest.raises(RuntimeError, match="no acknowledge"):
        bench.tables.unmap(VA, PAGE)
    outstanding = bench.tables.needs_commit
    assert outstanding
    assert bench.tables.table_count == 4
    assert bench.vram.statistics().used == 4 * PAGE
    bench.fail = None
    bench.tables.commit()
    assert bench.flushed[-1] == (Range(VA, PAGE),)
    left = bench.tables.needs_commit
    assert not left
    assert bench.vram.statistics().used == PAGE


def test_write_that_fails_is_done_again_by_the_next_commit(bench: Bench) -> None:
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("gone from the bus")

    bench.memory.after_write = fail
    with pytest.raises(RuntimeError, match="gone from the bus"):
        bench.tables.map(VA, [(GIB, PAGE)], SYSTEM)
    assert bench.flushed == []
    bench.memory.after_write = None
    bench.tables.commit()
    assert bench.walk(VA) == (GIB, SYSTEM, 0, PAGE)
    assert bench.tables.verify() == ()


def test_verify_finds_what_somebody_else_wrote(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, 4 * PAGE)], SYSTEM)
    assert bench.tables.verify() == ()
    expected = bench.table(Level.PTB, VA)[2]
    at = bench.table(Level.PDB0, VA)[VA >> 21 & 511] & 0xFFFF_FFFF_F000
    bench.memory.write(at + 16, struct.pack("<Q", 0xDEAD))
    (found,) = bench.tables.verify()
    assert (found.level, found.gpu_va, found.vram_offset) == (Level.PTB, VA + 2 * PAGE, at + 16)
    assert (found.expected, found.seen) == (expected, 0xDEAD)
    bench.memory.write(at, b"\0" * PAGE)
    assert len(bench.tables.verify(limit=5)) == 5


# ---------------------------------------------------------------- refusals

Try = Callable[[PageTables], None]


def _map(gpu_va: int, pages: object, flags: int = SYSTEM) -> Try:
    return lambda tables: tables.map(gpu_va, pages, flags)  # type: ignore[arg-type]


def _pages(*addresses: int, kind: str = "uint64") -> object:
    return np.array(addresses, dtype=kind)


@pytest.mark.parametrize(
    ("trial", "error", "told"),
    [
        (_map(VA, []), BadSize, "seen      no memory at all"),
        (_map(VA, _pages()), BadSize, "seen      no memory at all"),
        (_map(VA, [(GIB, 0)]), BadSize, "seen      0x0 bytes at 0x40000000"),
        (_map(VA, [(GIB, -PAGE)]), BadSize, "seen      -0x1000 bytes"),
        (_map(VA, [(GIB, 5)]), BadSize, "seen      0x5 bytes at 0x40000000"),
        (_map(VA, [(GIB + 8, PAGE)]), BadAlignment, "seen      memory at 0x40000008"),
        (_map(VA, [(-PAGE, PAGE)]), BadAddress, "seen      -0x1000"),
        (_map(VA, [((1 << 48) - PAGE, 2 * PAGE)]), BadAddress, "seen      0xfffffffff000"),
        (_map(VA, [(GIB, PAGE)] * 99 + [(GIB, 0)]), BadSize, "seen      0x0 bytes at 0x40000000"),
        (_map(VA, [(GIB, PAGE)] * 99 + [(-PAGE, PAGE)]), BadAddress, "seen      -0x1000"),
        (_map(VA, [(GIB, PAGE)] * 99 + [(GIB, -PAGE)]), BadSize, "seen      -0x1000 bytes"),
        (_map(VA, [(GIB, PAGE)] * 99 + [(GIB + 1, PAGE)]), BadAlignment, "seen      memory at 0x40000001"),
        (_map(VA, [(GIB, PAGE)] * 99 + [(1 << 48, PAGE)]), BadAddress, "seen      0x1000000000000"),
        (_map(VA, _pages(GIB, GIB + 4)), BadAlignment, "seen      memory at 0x40000004"),
        (_map(VA, _pages(GIB, 1 << 48)), BadAddress, "seen      0x1000000000000"),
        (_map(VA, _pages(-PAGE, kind="int64")), BadAddress, "seen      0xfffffffffffff000"),
        (_map(VA, _pages(GIB, kind="float64")), BadSize, "seen      an array of float64"),
        (_map(VA, np.zeros((2, 2), dtype=np.uint64)), BadSize, r"shape \(2, 2\)"),
        (_map(VA + 1, [(GIB, PAGE)]), BadAlignment, "seen      the GPU address is 0x7f0000000001"),
        (_map(-PAGE, [(GIB, PAGE)]), BadAddress, r"seen      -0x1000\.\.0x0"),
        (_map((1 << 48) - PAGE, [(GIB, 2 * PAGE)]), BadAddress, r"expected  a range below 2\^48"),
        (_map(VA, [(GIB, PAGE)], SYSTEM | 1 << 54), BadFlags, r"next      take the flags from pte_flags\(\)"),
        (lambda tables: tables.unmap(VA, 0), BadSize, "seen      0x0 bytes"),
        (lambda tables: tables.unmap(VA, 100), BadSize, "seen      0x64 bytes"),
        (lambda tables: tables.unmap(VA + 100, PAGE), BadAlignment, "GPU address"),
        (
            lambda tables: tables.unmap(1 << 48, PAGE),
            BadAddress,
            "next      take an address from the address allocator",
        ),
    ],
)
def test_bad_request_is_refused_and_changes_nothing(
    bench: Bench, trial: Try, error: type[Exception], told: str
) -> None:
    before = len(bench.memory.writes)
    with pytest.raises(error, match=told):
        trial(bench.tables)
    assert bench.tables.table_count == 1
    assert bench.flushed == []
    assert len(bench.memory.writes) == before


def test_map_over_a_mapping_names_the_overlap(bench: Bench) -> None:
    bench.tables.map(VA + 5 * PAGE, [(GIB, 3 * PAGE)], SYSTEM)
    with pytest.raises(AlreadyMapped) as caught:
        bench.tables.map(VA, [(2 * GIB, 7 * PAGE)], SYSTEM)
    assert str(caught.value).splitlines() == [
        "mapping at GPU address 0x7f0000000000 refused",
        "  expected  nothing mapped in 0x7f0000000000..0x7f0000007000",
        "  seen      0x7f0000005000..0x7f0000007000 is mapped to 0x40000000",
        "  where     0000:c1:00.0",
        "  next      unmap it first, or take another address",
    ]
    assert caught.value.exit_code is Exit.REFUSED


def test_map_into_a_large_page_names_where_it_leads(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, LARGE)], SYSTEM)
    with pytest.raises(AlreadyMapped, match=r"seen      0x7f0000003000\.\.0x7f0000004000 is mapped to 0x40003000"):
        bench.tables.map(VA + 3 * PAGE, [(2 * GIB, PAGE)], SYSTEM)


def test_unmap_with_a_hole_names_it_and_unmaps_nothing(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, 3 * PAGE)], SYSTEM)
    with pytest.raises(NotMapped) as caught:
        bench.tables.unmap(VA, 5 * PAGE)
    assert str(caught.value).splitlines() == [
        "unmapping GPU address 0x7f0000000000 failed",
        "  expected  all of 0x7f0000000000..0x7f0000005000 mapped",
        "  seen      nothing is mapped at 0x7f0000003000",
        "  where     0000:c1:00.0",
        "  next      unmap what was mapped, once",
    ]
    assert bench.walk(VA) is not None


def test_unmap_of_nothing_names_its_first_address(bench: Bench) -> None:
    with pytest.raises(NotMapped, match="seen      nothing is mapped at 0x7f0000000000"):
        bench.tables.unmap(VA, GIB)


def test_unmap_without_room_to_split_unmaps_nothing() -> None:
    bench = Bench(size=3 * PAGE)
    bench.tables.map(VA, [(GIB, LARGE)], LOCAL)
    with pytest.raises(OutOfVram, match="bytes of VRAM for PTB failed"):
        bench.tables.unmap(VA, PAGE)
    assert bench.walk(VA) == (GIB, LOCAL, 9, LARGE)
    bench.tables.unmap(VA, LARGE)
    assert bench.vram.statistics().used == PAGE


def test_close_gives_all_back_and_later_use_is_refused(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, PAGE)], SYSTEM)
    with bench.tables:
        pass
    bench.tables.close()
    assert bench.vram.live == ()
    for trial in (_map(VA, [(GIB, PAGE)]), lambda tables: tables.unmap(VA, PAGE), PageTables.commit, PageTables.verify):
        with pytest.raises(Closed, match="next      set up new ones"):
            trial(bench.tables)


def test_close_after_a_failed_flush_leaks_nothing(bench: Bench) -> None:
    bench.tables.map(VA, [(GIB, PAGE)], SYSTEM)
    bench.fail = RuntimeError("no acknowledge")
    with pytest.raises(RuntimeError):
        bench.tables.unmap(VA, PAGE)
    bench.tables.close()
    assert bench.vram.live == ()


@pytest.mark.parametrize("base", [-PAGE, 100, 1 << 48])
def test_physical_base_that_no_entry_can_hold_is_refused(base: int) -> None:
    vram = VramAllocator(VRAM)
    with pytest.raises(BadAddress, match=r"setting up page tables failed\n  expected  a physical base"):
        PageTables(SparseVram(VRAM), vram, lambda ranges: None, physical_base=base)
    assert vram.live == ()


def test_new_mappings_alone_need_no_invalidation(bench: Bench) -> None:
    seen: list[bool] = []
    bench.tables._flush = lambda ranges: seen.append(bench.tables.needs_invalidate)
    bench.tables.map(VA, [(0, LARGE)], LOCAL)
    bench.tables.map(VA + GIB, [(0, PAGE)], LOCAL)
    assert seen == [False, False]


def test_an_entry_that_was_valid_needs_an_invalidation_until_one_succeeds(bench: Bench) -> None:
    bench.tables.map(VA, [(0, LARGE)], LOCAL)
    bench.fail = RuntimeError("flush")
    with pytest.raises(RuntimeError):
        bench.tables.unmap(VA, PAGE)
    bench.fail = None
    seen: list[bool] = []
    bench.tables._flush = lambda ranges: seen.append(bench.tables.needs_invalidate)
    bench.tables.map(VA + GIB, [(0, PAGE)], LOCAL)  # its flush is the one that was missing
    bench.tables.map(VA + 2 * GIB, [(0, PAGE)], LOCAL)
    assert seen == [True, False]
