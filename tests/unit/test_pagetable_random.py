"""amdriver/pagetable.py: random maps and unmaps against a dictionary, walked by a walker that shares nothing with it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdriver.memory import OutOfVram, Range
from amdriver.pagetable import AlreadyMapped, NotMapped, PageTables
from amdriver.pte import Where, pte_flags
from amdriver.vram import VramAllocator
from tests.unit.pagetable_walker import PAGE, SparseVram, check_fragment, walk

VRAM = 64 << 20
PHYSICAL_BASE = 3 << 36  # the third node of a hive
# 6 MiB on both sides of where a new PDB2 entry begins: every level has a border inside.
ARENA = (1 << 39) - (6 << 20)
ARENA_PAGES = 12 << 8
PHYSICAL = 0x11_2340_0000
FLAGS = (
    pte_flags("gfx942", Where.LOCAL_VRAM),
    pte_flags("gfx942", Where.SYSTEM, executable=True),
    pte_flags("gfx950", Where.REMOTE_VRAM, writeable=False),
)


@dataclass
class Space:
    """Page tables, and what we think that they hold."""

    vram_size: int = VRAM
    flushes: list[tuple[Range, ...]] = field(default_factory=list)
    expected: dict[int, tuple[int, int]] = field(default_factory=dict)  # page -> (physical address, flags)

    def __post_init__(self) -> None:
        self.memory = SparseVram(self.vram_size)
        self.vram = VramAllocator(self.vram_size)
        self.tables = PageTables(self.memory, self.vram, self.flushes.append, physical_base=PHYSICAL_BASE, where="test")

    def walked(self, page: int) -> tuple[int, int] | None:
        found = walk(self.memory, self.tables.root_register, page * PAGE, PHYSICAL_BASE)
        return None if found is None else (found.physical, found.flags)

    def check(self, every: int = 1) -> None:
        """Every page of the arena (or each so many, and all borders), and the accounts."""
        first = ARENA // PAGE
        pages = set(range(first, first + ARENA_PAGES, every))
        if every > 1:
            pages |= {near for page in self.expected for near in (page - 1, page + 1) if near not in self.expected}
        for page in pages:
            assert self.walked(page) == self.expected.get(page), f"page {page:#x}"
        seen: set[int] = set()
        for page in self.expected:
            if page not in seen:
                found = walk(self.memory, self.tables.root_register, page * PAGE, PHYSICAL_BASE)
                assert found is not None
                start = page >> found.fragment << found.fragment
                check_fragment(self.memory, self.tables.root_register, page * PAGE, PHYSICAL_BASE)
                seen.update(range(start, start + (1 << found.fragment)))
        assert seen == set(self.expected), "a fragment reaches beyond what is mapped"
        assert self.vram.statistics().used == self.tables.table_count * PAGE
        assert not self.tables.needs_commit

    def pages_below(self) -> int:
        """How many tables this mapping needs, the root with them: of 4 KiB pages, at most."""
        need = {0: {0}} | {shift: {page >> shift for page in self.expected} for shift in (9, 18, 27)}
        return sum(len(spans) for spans in need.values())


@dataclass(frozen=True)
class Map:
    """`pages` from the arena's page `at` on; each run of memory is (first page, length)."""

    at: int
    runs: tuple[tuple[int, int], ...]
    shape: str  # ranges, array
    flags: int
    large: bool

    @property
    def memory(self) -> list[int]:
        return [first + index for first, length in self.runs for index in range(length)]

    @property
    def pages(self) -> range:
        first = ARENA // PAGE + self.at
        return range(first, first + sum(length for _, length in self.runs))

    def run(self, space: Space) -> None:
        """Do it to both; what overlaps is refused and changes nothing."""
        taken = [page for page in self.pages if page in space.expected]
        with pytest.raises(AlreadyMapped) if taken else nullcontext():
            if self.shape == "ranges":
                ranges = [(PHYSICAL + first * PAGE, length * PAGE) for first, length in self.runs]
                space.tables.map(self.pages[0] * PAGE, ranges, self.flags, large=self.large)
            else:
                array = np.array([PHYSICAL + page * PAGE for page in self.memory], dtype=np.uint64)
                space.tables.map(self.pages[0] * PAGE, array, self.flags, large=self.large)
        if not taken:
            memory = (PHYSICAL + page * PAGE for page in self.memory)
            space.expected.update((page, (at, self.flags)) for page, at in zip(self.pages, memory, strict=True))


@dataclass(frozen=True)
class Unmap:
    at: int
    count: int

    def run(self, space: Space) -> None:
        first = ARENA // PAGE + self.at
        pages = range(first, first + self.count)
        holes = [page for page in pages if page not in space.expected]
        with pytest.raises(NotMapped) if holes else nullcontext():
            space.tables.unmap(first * PAGE, self.count * PAGE)
        if not holes:
            for page in pages:
                del space.expected[page]


@dataclass(frozen=True)
class UnmapSome:
    """Part of what is mapped: a run that starts at the n-th mapped page. Random ranges seldom hit one."""

    nth: int
    most: int

    def run(self, space: Space) -> None:
        if not space.expected:
            return
        pages = sorted(space.expected)
        first = pages[self.nth % len(pages)]
        count = 1
        while count < self.most and first + count in space.expected:
            count += 1
        Unmap(first - ARENA // PAGE, count).run(space)


# Runs whose memory is aligned like the arena, off by a bit of it, or anywhere.
_lengths = st.one_of(st.integers(1, 20), st.sampled_from([16, 64, 255, 256, 512, 513, 1024, 1536]))
_firsts = st.one_of(
    st.integers(0, 4096), st.integers(0, 8).map(lambda n: n * 512), st.integers(0, 64).map(lambda n: n * 64)
)
_ats = st.one_of(
    st.integers(0, ARENA_PAGES - 1), st.integers(0, 5).map(lambda n: n * 512), st.integers(0, 47).map(lambda n: n * 64)
)


@st.composite
def maps(draw: st.DrawFn) -> Map:
    at = draw(_ats)
    room = ARENA_PAGES - at
    runs: list[tuple[int, int]] = []
    for _ in range(draw(st.integers(1, 4))):
        length = min(room, draw(_lengths))
        if not length:
            break
        runs.append((draw(_firsts), length))
        room -= length
    shape = draw(st.sampled_from(["ranges", "array"]))
    return Map(at, tuple(runs), shape, draw(st.sampled_from(FLAGS)), draw(st.booleans()))


_unmaps = st.builds(lambda at, count: Unmap(at, min(count, ARENA_PAGES - at)), _ats, _lengths)
_some = st.builds(UnmapSome, st.integers(0, 4000), _lengths)
_steps = st.lists(st.one_of(maps(), maps(), _some, _some, _unmaps), min_size=1, max_size=8)


@pytest.mark.long
@given(st.lists(_steps, min_size=1, max_size=3))
@settings(max_examples=20, deadline=None)
def test_pagetable_random_batches_walk_like_a_dictionary(batches: list[list[Map | Unmap | UnmapSome]]) -> None:
    space = Space()
    for steps in batches:
        before = len(space.flushes)
        with space.tables.batch():
            for step in steps:
                step.run(space)
            assert len(space.flushes) == before
        assert len(space.flushes) <= before + 1
        space.check()
        assert space.tables.table_count <= space.pages_below()
    for page in sorted(space.expected):
        space.tables.unmap(page * PAGE, PAGE)
    space.expected.clear()
    space.check()
    assert space.tables.table_count == 1
    space.tables.close()
    assert space.vram.live == ()
    assert space.vram.statistics().largest_free == VRAM


def _watched(space: Space, step: Map | Unmap | UnmapSome, probes: range) -> list[dict[int, tuple[int, int] | None]]:
    """What a walk sees after each single write of this step."""
    snapshots: list[dict[int, tuple[int, int] | None]] = []
    space.memory.after_write = lambda: snapshots.append({page: space.walked(page) for page in probes})
    step.run(space)
    space.memory.after_write = None
    return snapshots


@given(_steps)
@settings(max_examples=20, deadline=None)
def test_pagetable_between_any_two_writes_a_walk_sees_old_or_new(steps: list[Map | Unmap | UnmapSome]) -> None:
    space = Space()
    space.tables.commit()
    probes = range(ARENA // PAGE, ARENA // PAGE + ARENA_PAGES, 37)
    for step in steps:
        before = {page: space.walked(page) for page in probes}
        snapshots = _watched(space, step, probes)
        for seen in snapshots:
            assert all(seen[page] in (before[page], space.expected.get(page)) for page in probes)


@given(st.lists(st.one_of(maps(), _some), min_size=1, max_size=12), st.integers(4, 12))
@settings(max_examples=20, deadline=None)
def test_pagetable_out_of_vram_changes_nothing_and_leaks_nothing(steps: list[Map | UnmapSome], tables: int) -> None:
    space = Space(vram_size=tables * PAGE)
    space.tables.commit()
    for step in steps:
        before = dict(space.expected)
        try:
            step.run(space)
        except OutOfVram:
            space.expected = before
        space.check(every=11)
    space.tables.close()
    assert space.vram.live == ()


@given(st.lists(maps(), min_size=1, max_size=6), st.integers(0, ARENA_PAGES - 1))
@settings(max_examples=20, deadline=None)
def test_pagetable_lookup_random_maps_says_what_the_walker_says(steps: list[Map], at: int) -> None:
    space = Space()
    for step in steps:
        step.run(space)
    gpu_va = ARENA + at * PAGE
    walked = walk(space.memory, space.tables.root_register, gpu_va, PHYSICAL_BASE)
    found = space.tables.lookup(gpu_va + 5)
    assert (found is None) == (walked is None)
    if found is not None and walked is not None:
        assert found.physical + gpu_va - found.gpu_va == walked.physical
        assert (found.flags, found.fragment, found.size) == (walked.flags, walked.fragment, walked.covers)
    assert space.tables.verify() == ()
