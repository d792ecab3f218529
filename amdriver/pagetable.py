"""Page tables of one VMID, gfx9 format: 48-bit addresses, four levels, 4 KiB and 2 MiB pages, fragments.

    level  covers   an entry that points to a table   an entry that maps      an empty entry
    PDB2   512 GiB  VALID                             -                       PDE_PTE
    PDB1   1 GiB    VALID, BFS 9                      -                       PDE_PTE
    PDB0   2 MiB    VALID, TF                         PTE (2 MiB)             bit 12
    PTB    4 KiB    -                                 PTE (4 KiB)             EXECUTABLE

Source: Linux v7.3 amdgpu_vm.h (bits), gmc_v9_0.c gmc_v9_0_get_vm_pde (translate further), gmc_v9_0_get_coherence_flags
(memory types), amdgpu_vm_pt.c amdgpu_vm_pt_clear (empty entries) and amdgpu_vm_pte_fragment; amd-bringup.md section 5.

The tables are kept in host memory as vectors and written to the GPU when a batch ends, lower levels first, so that the
GPU never walks into a table that is not there yet. Then comes one TLB flush for all of the batch; only after it is the
VRAM of emptied tables given back. Nothing is ever read back but by `verify`. One thread at a time.

A fragment says that 2^n pages translate as one. It is only set where virtual and physical address are both aligned to
it, and when part of it is unmapped, the rest is given smaller ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self, TypeAlias

import numpy as np

from amdriver.memory import (
    ADDRESS_BITS,
    PAGE_BYTES,
    PAGE_SHIFT,
    Allocation,
    BadAddress,
    Closed,
    Range,
    RangeAllocator,
    merged,
)
from amdriver.pte import (
    ADDRESS_MASK,
    EMPTY,
    ENTRIES,
    FRAGMENT_MASK,
    FRAGMENT_SHIFT,
    LARGE_BYTES,
    LARGE_SHIFT,
    PAGE_FLAGS,
    SPAN_BYTES,
    TABLE_BYTES,
    TABLE_FLAGS,
    TF,
    VALID,
    Fill,
    Level,
    Memory,
    Pages,
    bad_size,
    check_flags,
    contiguous,
    unaligned,
)
from base.errors import Refused, UsageError

_JOIN_BYTES: Final = 1 << 20  # tables that lie side by side are written together, up to so much
_UPWARDS: Final = tuple(reversed(Level))


class AlreadyMapped(Refused):
    """The range, or part of it, is mapped; the overlap is named."""


class NotMapped(UsageError):
    """The range, or part of it, is not mapped; the hole is named."""


class TableMemory(Protocol):
    """Where the tables lie: VRAM of this GPU by offset, through BAR0, the window, a model or a bytearray."""

    def read(self, vram_offset: int, size: int) -> bytes: ...

    def write(self, vram_offset: int, data: bytes) -> None: ...


Flush: TypeAlias = Callable[[tuple[Range, ...]], None]


@dataclass(frozen=True, slots=True)
class Translation:
    """What one entry maps: `size` bytes at `gpu_va` to `physical`; the TLB may take 2^fragment pages as one."""

    gpu_va: int
    size: int
    physical: int
    flags: int
    fragment: int
    level: Level

    @property
    def block_start(self) -> int:
        """Where the fragment of this page starts."""
        return self.gpu_va & ~((PAGE_BYTES << self.fragment) - 1)

    @property
    def block_end(self) -> int:
        return max(self.block_start + (PAGE_BYTES << self.fragment), self.gpu_va + self.size)


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry that the GPU's memory has otherwise than we wrote it."""

    level: Level
    gpu_va: int
    vram_offset: int
    expected: int
    seen: int


class _Table:
    """One page of 512 entries as it should be in VRAM. `index`: which span of the address space it covers."""

    __slots__ = ("block", "entries", "first", "index", "last", "level", "live", "vram_offset")

    def __init__(self, level: Level, index: int, block: Allocation) -> None:
        self.level = level
        self.index = index
        self.block = block
        self.vram_offset = block.start
        self.entries = _EMPTY_TABLES[level].copy()
        self.live = 0  # valid entries
        self.first = 0  # entries from first to last are not written yet
        self.last = ENTRIES

    def changed(self, first: int, last: int) -> None:
        self.first = min(self.first, first)
        self.last = max(self.last, last)


_EMPTY_TABLES: Final = tuple(np.full(ENTRIES, EMPTY[level], dtype="<u8") for level in Level)


class Batch:
    """Maps and unmaps inside `with` are written and flushed together, at its end; one inside another joins it.

    What was done before an error in the body is written too: each map and unmap is done wholly or not at all."""

    def __init__(self, tables: PageTables) -> None:
        self._tables = tables

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The virtual addresses that the flush at the end is for."""
        return self._tables.stale

    def __enter__(self) -> Self:
        self._tables._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._tables._depth -= 1
        if not self._tables._depth:
            self._tables._commit()


class PageTables:
    """The tables of one address space.

    `physical_base` is added to a VRAM offset to say where a table lies (node * segment in a hive). `flush` is called
    with the ranges that changed, after the tables were written: it makes host writes visible (HDP) and flushes the TLBs,
    these only if `needs_invalidate`.

    When writing or flushing fails, what is outstanding stays so (`needs_commit`): the next batch, or `commit`, does it
    again, and no table's VRAM is given back before a flush has succeeded. Raises OutOfVram with nothing changed."""

    def __init__(
        self,
        memory: TableMemory,
        vram: RangeAllocator,
        flush: Flush,
        *,
        physical_base: int = 0,
        where: str = "",
    ) -> None:
        _check_physical_base(physical_base, where)
        self.where = where
        self.physical_base = physical_base
        self._memory = memory
        self._vram = vram
        self._flush = flush
        self._depth = 0
        self._closed = False
        self._levels: tuple[dict[int, _Table], ...] = tuple({} for _ in Level)
        self._dirty: tuple[dict[_Table, None], ...] = tuple({} for _ in Level)
        self._emptied: list[_Table] = []
        self._stale: list[tuple[int, int]] = []
        self._changed = False
        self._root = self._new_table(Level.PDB2, 0)

    # ---- what it is

    @property
    def root_register(self) -> int:
        """The value of VM_CONTEXTn_PAGE_TABLE_BASE_ADDR: physical address of the root, and VALID."""
        return self.physical_base + self._root.vram_offset | VALID

    @property
    def table_count(self) -> int:
        """Pages of VRAM that the tables take, with those that wait for a flush."""
        return sum(len(level) for level in self._levels) + len(self._emptied)

    @property
    def stale(self) -> tuple[Range, ...]:
        """Ranges that the TLBs may still know otherwise."""
        return merged(self._stale)

    @property
    def needs_invalidate(self) -> bool:
        """An entry that was valid has changed since the last flush, so the TLBs may know it otherwise.

        Invalid entries are not cached from GFX9 on: new mappings alone need no invalidation (amdgpu_vm.c)."""
        return self._changed

    @property
    def needs_commit(self) -> bool:
        """Something is not written, or not flushed."""
        return bool(self._stale or self._emptied or any(self._dirty))

    def lookup(self, gpu_va: int) -> Translation | None:
        """What an address maps to; None: nothing."""
        table = self._levels[Level.PDB0].get(gpu_va >> 30)
        if table is None:
            return None
        entry = int(table.entries[gpu_va >> LARGE_SHIFT & ENTRIES - 1])
        level = Level.PDB0
        if entry & TF:
            level = Level.PTB
            entry = int(self._levels[level][gpu_va >> LARGE_SHIFT].entries[gpu_va >> PAGE_SHIFT & ENTRIES - 1])
        if not entry & VALID:
            return None
        size = 1 << level.shift
        fragment = (entry & FRAGMENT_MASK) >> FRAGMENT_SHIFT
        return Translation(gpu_va & -size, size, entry & ADDRESS_MASK, entry & PAGE_FLAGS, fragment, level)

    def first_hole(self, start: int, end: int) -> int | None:
        """The first address of start..end to which nothing is mapped; None: all of it is."""
        return self._first_hole(start, end)

    def verify(self, limit: int = 16) -> tuple[Difference, ...]:
        """Read every table back, which is slow over a bus; the entries that differ, at most `limit`."""
        self._check_open("reading page tables back")
        found: list[Difference] = []
        for level in Level:
            for table in self._levels[level].values():
                seen = np.frombuffer(self._memory.read(table.vram_offset, TABLE_BYTES), dtype="<u8")
                for slot in np.flatnonzero(seen != table.entries).tolist():
                    gpu_va = table.index * ENTRIES + slot << level.shift
                    offset = table.vram_offset + slot * 8
                    found.append(Difference(level, gpu_va, offset, int(table.entries[slot]), int(seen[slot])))
                    if len(found) == limit:
                        return tuple(found)
        return tuple(found)

    # ---- what it does

    def batch(self) -> Batch:
        """`with tables.batch():` one write of the tables and one flush for all maps and unmaps inside."""
        return Batch(self)

    def map(self, gpu_va: int, pages: Pages, flags: int, *, large: bool = True) -> None:
        """Map memory from `gpu_va` on. Nothing of it may be mapped yet.

        `pages`: (physical or bus address, size in bytes) ranges in order, or an array of addresses of 4 KiB pages.
        `flags` from `pte_flags`. `large` False keeps to 4 KiB pages, whose fragments may still be larger.
        Raises BadAddress, BadAlignment, BadSize, BadFlags, AlreadyMapped, OutOfVram."""
        doing = f"mapping at GPU address {gpu_va:#x}"
        self._check_open(doing)
        check_flags(doing, self.where, flags)
        memory = Memory.of(doing, self.where, pages)
        size = memory.size
        self._check_va(doing, gpu_va, size)
        fills = memory.fills(gpu_va, flags | VALID, large)
        self._check_free(doing, gpu_va, gpu_va + size)
        with self.batch():
            self._make_tables(fills)
            for fill in fills:
                self._put(fill, added=True)
            self._stale.append((gpu_va, gpu_va + size))

    def unmap(self, gpu_va: int, size: int) -> None:
        """Unmap a range, all of which is mapped. A large page or fragment that reaches beyond is split.

        Raises BadAddress, BadAlignment, BadSize, NotMapped, and OutOfVram when there is no room to split."""
        doing = f"unmapping GPU address {gpu_va:#x}"
        self._check_open(doing)
        self._check_va(doing, gpu_va, size)
        end = gpu_va + size
        self._check_mapped(doing, gpu_va, end)
        with self.batch():
            self._changed = True
            # A cut changes no translation: if the second one has no room, nothing was unmapped.
            self._cut(gpu_va)
            self._cut(end)
            for index in range(gpu_va >> 30, (end - 1 >> 30) + 1):
                span = index << 30
                self._clear(self._levels[Level.PDB0][index], max(gpu_va, span), min(end, span + SPAN_BYTES))
            self._stale.append((gpu_va, end))

    def commit(self) -> None:
        """Write and flush what a failed batch left over; does nothing when there is nothing."""
        self._check_open("writing page tables")
        self._commit()

    def close(self) -> None:
        """Give all tables back. The VMID must be off, or walk other tables; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        tables = [table for level in self._levels for table in level.values()] + self._emptied
        for level in Level:
            self._levels[level].clear()
            self._dirty[level].clear()
        self._emptied, self._stale = [], []
        for table in tables:
            self._vram.free(table.block)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- tables

    def _new_table(self, level: Level, index: int) -> _Table:
        table = _Table(level, index, self._vram.allocate(TABLE_BYTES, owner=level.name))
        self._levels[level][index] = table
        self._dirty[level][table] = None
        return table

    def _make_tables(self, fills: Sequence[Fill]) -> None:
        """Every table on the way to the entries, or none."""
        made: list[_Table] = []
        try:
            for fill in fills:
                for index in fill.tables:
                    self._make_path(fill.level, index, made)
        except BaseException:
            for table in reversed(made):
                # Dropping the only table below one drops that one too.
                if table.index in self._levels[table.level]:
                    self._drop(table)
                self._emptied.remove(table)
                self._vram.free(table.block)
            raise

    def _make_path(self, level: Level, index: int, made: list[_Table]) -> None:
        """A table and those above it, linked."""
        if index in self._levels[level]:
            return
        above = _UPWARDS[-level]
        self._make_path(above, index // ENTRIES, made)
        table = self._new_table(level, index)
        made.append(table)
        parent = self._levels[above][index // ENTRIES]
        parent.live += 1
        self._link(parent, table)

    def _link(self, parent: _Table, table: _Table) -> None:
        slot = table.index % ENTRIES
        parent.entries[slot] = self.physical_base + table.vram_offset | TABLE_FLAGS[parent.level]
        self._touch(parent, slot, slot + 1)

    def _drop(self, table: _Table) -> None:
        """Take a table out of the tree, and those above it that it leaves empty; their VRAM waits for the flush."""
        level = table.level
        del self._levels[level][table.index]
        self._dirty[level].pop(table, None)
        self._emptied.append(table)
        parent = self._levels[level - 1][table.index // ENTRIES]
        slot = table.index % ENTRIES
        parent.entries[slot] = EMPTY[parent.level]
        self._touch(parent, slot, slot + 1)
        self._lose(parent, 1)

    def _lose(self, table: _Table, count: int) -> None:
        """So many entries of it are no longer valid."""
        table.live -= count
        if not table.live and table is not self._root:
            self._drop(table)

    def _touch(self, table: _Table, first: int, last: int) -> None:
        dirty = self._dirty[table.level]
        if table in dirty:
            table.changed(first, last)
            return
        dirty[table] = None
        table.first, table.last = first, last

    # ---- entries

    def _put(self, fill: Fill, *, added: bool) -> None:
        """Write valid entries; `added` where there were none."""
        values = fill.values()
        done = 0
        for index in fill.tables:
            table = self._levels[fill.level][index]
            first = fill.slot + done - index * ENTRIES
            count = min(ENTRIES - first, fill.count - done)
            table.entries[first : first + count] = values[done : done + count]
            if added:
                table.live += count
            self._touch(table, first, first + count)
            done += count

    def _clear(self, table: _Table, start: int, end: int) -> None:
        """Empty a range within one PDB0 table; its ends cut no large page."""
        while start < end:
            slot = start >> LARGE_SHIFT & ENTRIES - 1
            if start % LARGE_BYTES or end - start < LARGE_BYTES:
                stop = min(end, (start | LARGE_BYTES - 1) + 1)
                lower = self._levels[Level.PTB].get(start >> LARGE_SHIFT)
                assert lower is not None
                self._clear_small(lower, start, stop)
                start = stop
                continue
            count = end - start >> LARGE_SHIFT
            self._clear_large(table, slot, count)
            start += count << LARGE_SHIFT

    def _clear_small(self, table: _Table, start: int, end: int) -> None:
        first = start >> PAGE_SHIFT & ENTRIES - 1
        count = end - start >> PAGE_SHIFT
        table.entries[first : first + count] = EMPTY[Level.PTB]
        self._touch(table, first, first + count)
        self._lose(table, count)

    def _clear_large(self, table: _Table, slot: int, count: int) -> None:
        """Empty whole 2 MiB spans: pages, and tables with all that they map."""
        span = table.entries[slot : slot + count]
        lower = self._levels[Level.PTB]
        for at in np.flatnonzero(span & np.uint64(TF)).tolist():
            below = lower.pop(table.index * ENTRIES + slot + at)
            self._dirty[Level.PTB].pop(below, None)
            self._emptied.append(below)
        span[:] = EMPTY[Level.PDB0]
        self._touch(table, slot, slot + count)
        self._lose(table, count)

    def _cut(self, gpu_va: int) -> None:
        """Make an entry start here, and a fragment: those that reach across are made smaller; no translation changes."""
        found = self.lookup(gpu_va) if gpu_va < 1 << ADDRESS_BITS else None
        if found is None or found.block_start == gpu_va:
            return
        if found.gpu_va != gpu_va and found.level is Level.PDB0:
            self._split(gpu_va)
        start, end = found.block_start, found.block_end
        large = found.level is Level.PDB0
        physical = found.physical - (found.gpu_va - start)
        for one, two in ((start, gpu_va), (gpu_va, end)):
            ranges = [(physical + one - start, two - one)]
            for fill in contiguous(one >> PAGE_SHIFT, ranges, found.flags | VALID, large):
                self._put(fill, added=False)
        self._stale.append((start, end))

    def _split(self, gpu_va: int) -> None:
        """Put a table in the place of a 2 MiB page; its entries are written by the caller, all of them."""
        index = gpu_va >> LARGE_SHIFT
        table = self._new_table(Level.PTB, index)
        table.live = ENTRIES
        self._link(self._levels[Level.PDB0][index // ENTRIES], table)

    # ---- writing

    def _commit(self) -> None:
        if self._closed:
            return
        for level in _UPWARDS:
            if dirty := self._dirty[level]:
                self._write(dirty)
        if not self._stale and not self._emptied:
            return
        self._flush(self.stale)
        self._stale = []
        self._changed = False
        while self._emptied:
            self._vram.free(self._emptied.pop().block)

    def _write(self, dirty: dict[_Table, None]) -> None:
        """Write what changed in the tables of one level; neighbours in VRAM together."""
        for group in _side_by_side(sorted(dirty, key=lambda table: table.vram_offset)):
            data = b"".join(table.entries[table.first : table.last].tobytes() for table in group)
            self._memory.write(group[0].vram_offset + group[0].first * 8, data)
            for table in group:
                del dirty[table]

    # ---- checks

    def _check_free(self, doing: str, start: int, end: int) -> None:
        found = self._first_mapped(start, end)
        if found is None:
            return
        run_start = max(found.gpu_va, start)
        run_end = self._run_end(run_start, end)
        raise AlreadyMapped(
            doing,
            expected=f"nothing mapped in {start:#x}..{end:#x}",
            seen=f"{run_start:#x}..{run_end:#x} is mapped to {found.physical + run_start - found.gpu_va:#x}",
            where=self.where,
            next_step="unmap it first, or take another address",
        )

    def _check_mapped(self, doing: str, start: int, end: int) -> None:
        hole = self._first_hole(start, end)
        if hole is None:
            return
        raise NotMapped(
            doing,
            expected=f"all of {start:#x}..{end:#x} mapped",
            seen=f"nothing is mapped at {hole:#x}",
            where=self.where,
            next_step="unmap what was mapped, once",
        )

    def _run_end(self, start: int, end: int) -> int:
        """Where the mapped run ends, or `end`."""
        hole = self._first_hole(start, end)
        return end if hole is None else hole

    def _spans(self, start: int, end: int) -> Iterator[tuple[int, _Table | None, int, int]]:
        """For each GiB that a range touches: the first address in it, its PDB0 table, the 2 MiB entries touched."""
        tables = self._levels[Level.PDB0]
        for index in range(start >> 30, (end - 1 >> 30) + 1):
            span = index << 30
            here, stop = max(start, span), min(end, span + SPAN_BYTES)
            yield here, tables.get(index), here - span >> LARGE_SHIFT, (stop - 1 - span >> LARGE_SHIFT) + 1

    def _first_mapped(self, start: int, end: int) -> Translation | None:
        if not self._levels[Level.PDB0]:
            return None
        for _, table, first, last in self._spans(start, end):
            if table is None:
                continue
            for slot in np.flatnonzero(table.entries[first:last] & np.uint64(VALID)).tolist():
                page = self._first_mapped_in((table.index * ENTRIES + first + slot) << LARGE_SHIFT, start, end)
                if page is not None:
                    return self.lookup(page)
        return None

    def _first_mapped_in(self, large: int, start: int, end: int) -> int | None:
        """Within one 2 MiB entry that is valid."""
        here, stop = max(large, start), min(large + LARGE_BYTES, end)
        table = self._levels[Level.PTB].get(large >> LARGE_SHIFT)
        if table is None:
            return here
        part = table.entries[here - large >> PAGE_SHIFT : stop - large >> PAGE_SHIFT] & np.uint64(VALID)
        return here + (int(part.argmax()) << PAGE_SHIFT) if part.any() else None

    def _first_hole(self, start: int, end: int) -> int | None:
        for here, table, first, last in self._spans(start, end):
            if table is None:
                return here
            part = table.entries[first:last]
            valid = (part & np.uint64(VALID)).astype(bool)
            # Down to the first empty entry: the tables before it may have holes too.
            stop = last - first if valid.all() else int(valid.argmin())
            for slot in np.flatnonzero(part[:stop] & np.uint64(TF)).tolist():
                hole = self._first_hole_in((table.index * ENTRIES + first + slot) << LARGE_SHIFT, start, end)
                if hole is not None:
                    return hole
            if stop < last - first:
                return max(start, (table.index * ENTRIES + first + stop) << LARGE_SHIFT)
        return None

    def _first_hole_in(self, large: int, start: int, end: int) -> int | None:
        """Within one 2 MiB entry that points to a table."""
        table = self._levels[Level.PTB][large >> LARGE_SHIFT]
        if table.live == ENTRIES:
            return None
        here, stop = max(large, start), min(large + LARGE_BYTES, end)
        part = table.entries[here - large >> PAGE_SHIFT : stop - large >> PAGE_SHIFT] & np.uint64(VALID)
        return None if part.all() else here + (int(part.argmin()) << PAGE_SHIFT)

    def _check_open(self, doing: str) -> None:
        if not self._closed:
            return
        raise Closed(
            doing,
            expected="page tables that are open",
            seen="they were closed before",
            where=self.where,
            next_step="set up new ones",
        )

    def _check_va(self, doing: str, gpu_va: int, size: int) -> None:
        if size <= 0 or size % PAGE_BYTES:
            raise bad_size(doing, self.where, f"{size:#x} bytes")
        if gpu_va % PAGE_BYTES:
            raise unaligned(doing, self.where, f"the GPU address is {gpu_va:#x}")
        if 0 <= gpu_va < gpu_va + size <= 1 << ADDRESS_BITS:
            return
        raise BadAddress(
            doing,
            expected=f"a range below 2^{ADDRESS_BITS}",
            seen=f"{gpu_va:#x}..{gpu_va + size:#x}",
            where=self.where,
            next_step="take an address from the address allocator",
        )


def _side_by_side(tables: Sequence[_Table]) -> Iterator[list[_Table]]:
    """Tables whose changed entries lie one after another in VRAM."""
    group: list[_Table] = []
    for table in tables:
        follows = group and group[-1].vram_offset + group[-1].last * 8 == table.vram_offset + table.first * 8
        if follows and len(group) < _JOIN_BYTES // TABLE_BYTES:
            group.append(table)
            continue
        if group:
            yield group
        group = [table]
    if group:
        yield group


def _check_physical_base(physical_base: int, where: str) -> None:
    if physical_base % PAGE_BYTES == 0 and 0 <= physical_base < 1 << ADDRESS_BITS:
        return
    raise BadAddress(
        "setting up page tables",
        expected=f"a physical base of the VRAM in whole pages, below 2^{ADDRESS_BITS}",
        seen=f"{physical_base:#x}",
        where=where,
        next_step="read XGMI_LFB_CNTL and XGMI_LFB_SIZE: node * segment",
    )
