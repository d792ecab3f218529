"""Entries of gfx9 page tables: their bits, the flags of a page, and vectors of them for runs and for single pages.

Source: Linux v7.3 amdgpu_vm.h (bits), gmc_v9_0.c gmc_v9_0_get_vm_pde (translate further), gmc_v9_0_get_coherence_flags
(memory types), amdgpu_vm_pt.c amdgpu_vm_pt_clear (empty entries) and amdgpu_vm_pte_fragment; amd-bringup.md section 5.

A fragment says that 2^n pages translate as one. It is only set where virtual and physical address are both aligned to
it. Nothing here touches memory of a GPU; `pagetable.py` keeps the tables."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from amdriver.memory import ADDRESS_BITS, PAGE_BYTES, PAGE_SHIFT, BadAddress, BadAlignment, BadSize
from base.errors import UsageError

ENTRIES: Final = 512
TABLE_BYTES: Final = ENTRIES * 8
LARGE_SHIFT: Final = 21
LARGE_BYTES: Final = 1 << LARGE_SHIFT
_LARGE_PAGES: Final = LARGE_BYTES >> PAGE_SHIFT
SPAN_BYTES: Final = 1 << 30  # of a PDB0 table
LARGE_FRAGMENT: Final = 9
# The kernel moves a fragment of 1 GiB and more up to a PDB1 entry; in a PDB0 entry it never writes more than 17.
MAX_FRAGMENT: Final = 17
_MAX_SMALL_FRAGMENT: Final = 8  # a PTB entry's fragment stays within its table, and below what a large page would be

VALID: Final = 1 << 0
SYSTEM: Final = 1 << 1
SNOOPED: Final = 1 << 2
TMZ: Final = 1 << 3
EXECUTABLE: Final = 1 << 4
READABLE: Final = 1 << 5
WRITEABLE: Final = 1 << 6
FRAGMENT_SHIFT: Final = 7
FRAGMENT_MASK: Final = 0x1F << FRAGMENT_SHIFT
ADDRESS_MASK: Final = (1 << ADDRESS_BITS) - PAGE_BYTES
PDE_PTE: Final = 1 << 54
TF: Final = 1 << 56
MTYPE_SHIFT: Final = 57
BFS_SHIFT: Final = 59
_BLOCK_FRAGMENT: Final = 9 << BFS_SHIFT
PAGE_FLAGS: Final = SYSTEM | SNOOPED | TMZ | EXECUTABLE | READABLE | WRITEABLE | 3 << MTYPE_SHIFT

Words: TypeAlias = NDArray[np.uint64]
Pages: TypeAlias = "Sequence[tuple[int, int]] | Words"
_NOWHERE: Final = 1  # an address that no page has: aligned to nothing, so never part of a fragment
_MANY_RANGES: Final = 64
_MOST_BYTES: Final = 1 << 40  # as blocks: more than a GPU has is left to the checks of single ranges


class Level(IntEnum):
    """Tables from the root down."""

    PDB2 = 0
    PDB1 = 1
    PDB0 = 2
    PTB = 3

    @property
    def shift(self) -> int:
        """An entry covers 1 << shift bytes."""
        return PAGE_SHIFT + 9 * (3 - self)


# magic: from amdgpu_vm_pt.c and gmc_v9_0.c; why PDB0 has bit 12 is unknown, EXECUTABLE keeps faults in their order
EMPTY: Final = {Level.PDB2: PDE_PTE, Level.PDB1: PDE_PTE, Level.PDB0: 1 << 12, Level.PTB: EXECUTABLE}
TABLE_FLAGS: Final = {Level.PDB2: VALID, Level.PDB1: VALID | _BLOCK_FRAGMENT, Level.PDB0: VALID | TF}


class Mtype(IntEnum):
    """How the GPU's caches treat a page."""

    NC = 0  # not coherent: cached, written back at releases
    RW = 1  # cached for reading and writing: nobody else writes it
    CC = 2  # coherently cached
    UC = 3  # not cached


class Where(Enum):
    """Whose memory a page is."""

    LOCAL_VRAM = "local VRAM"
    REMOTE_VRAM = "VRAM of another GPU"
    SYSTEM = "system memory"


class BadFlags(UsageError):
    """Bits that are no flags of a page, or an architecture that we do not know."""


def pte_flags(
    arch: str,
    where: Where,
    *,
    readable: bool = True,
    writeable: bool = True,
    executable: bool = False,
    uncached: bool = False,
    shared: bool = False,
) -> int:
    """The flags of a page for `PageTables.map`. `arch`: gfx942 or gfx950.

    `shared`: seen at once by others while a kernel runs (the kernel's ext-coherent). Every mapping snoops on these chips.
    Raises BadFlags."""
    if arch not in ("gfx942", "gfx950"):
        raise BadFlags(
            "choosing the flags of a page",
            expected="gfx942 or gfx950",
            seen=arch,
            next_step="gpumend list; only MI300 and MI350 parts have these page tables",
        )
    flags = SNOOPED | _mtype(arch, where, uncached, shared) << MTYPE_SHIFT
    flags |= SYSTEM if where is Where.SYSTEM else 0
    flags |= READABLE if readable else 0
    flags |= WRITEABLE if writeable else 0
    return flags | (EXECUTABLE if executable else 0)


def _mtype(arch: str, where: Where, uncached: bool, shared: bool) -> Mtype:
    if uncached:
        return Mtype.UC
    if shared:
        return Mtype.CC if where is Where.LOCAL_VRAM else Mtype.UC
    if where is Where.LOCAL_VRAM:
        return Mtype.RW
    if where is Where.SYSTEM and arch == "gfx942":
        return Mtype.UC
    return Mtype.NC


@dataclass(frozen=True, slots=True)
class Fill:
    """Neighbouring entries of one level: from entry `slot` of the whole space on, `count`, as `values` makes them."""

    level: Level
    slot: int
    count: int
    values: Callable[[], Words]

    @property
    def tables(self) -> range:
        return range(self.slot // ENTRIES, (self.slot + self.count - 1) // ENTRIES + 1)


# ---------------------------------------------------------------- entries as vectors


def fragments(page: int, count: int, physical_page: int, limit: int) -> Iterator[tuple[int, int, int]]:
    """Cut a contiguous run into parts of one fragment size each, as large as both addresses allow: (page, count, n).

    Rises to the largest size, stays, and falls: never more than 2 * limit + 1 parts."""
    differ = page ^ physical_page
    if differ:
        # Aligned blocks of the two spaces only coincide where their low bits are the same.
        limit = min(limit, _trailing_zeros(differ))
    while count:
        size = min(limit, count.bit_length() - 1)
        if page:
            size = min(size, _trailing_zeros(page))
        part = count >> size << size if size == limit else 1 << size
        yield page, part, size
        page += part
        count -= part


def _trailing_zeros(value: int) -> int:
    return (value & -value).bit_length() - 1


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory to be mapped, checked: ranges in order, or blocks of one size, as a vector of addresses."""

    size: int
    ranges: tuple[tuple[int, int], ...]
    blocks: Words | None = None
    block_bytes: int = PAGE_BYTES

    @classmethod
    def of(cls, doing: str, where: str, pages: Pages) -> Memory:
        """Raises BadSize, BadAlignment, BadAddress."""
        if isinstance(pages, np.ndarray):
            blocks = _check_pages(doing, where, pages)
            return cls(len(blocks) << PAGE_SHIFT, (), blocks)
        many = _as_blocks(pages) if len(pages) > _MANY_RANGES else None
        if many is not None:
            return many
        ranges = _check_ranges(doing, where, pages)
        return cls(sum(size for _, size in ranges), tuple(ranges))

    def fills(self, gpu_va: int, flags: int, large: bool) -> list[Fill]:
        """The entries that map it. `flags` with VALID; `large` False: no 2 MiB pages."""
        page = gpu_va >> PAGE_SHIFT
        if self.blocks is None:
            return list(contiguous(page, self.ranges, flags, large))
        if self.block_bytes == PAGE_BYTES:
            return _small_blocks(page, self.blocks, flags, large)
        if large and gpu_va % LARGE_BYTES == 0:
            block = gpu_va >> LARGE_SHIFT
            entries = _large_blocks(block, self.blocks, flags)
            return [Fill(Level.PDB0, block, len(entries), lambda: entries)]
        within = np.arange(0, LARGE_BYTES, PAGE_BYTES, dtype=np.uint64)
        return _small_blocks(page, (self.blocks[:, None] + within).reshape(-1), flags, large)


def _as_blocks(ranges: Sequence[tuple[int, int]]) -> Memory | None:
    """Many ranges as blocks; None: they are large and odd, or not right, so that each needs a look of its own."""
    lengths = [size for _, size in ranges]
    alike = lengths.count(lengths[0]) == len(lengths)
    try:
        # Several times as fast as np.array, and it refuses what is negative or no integer. N: a word of this machine.
        starts: Words = np.frombuffer(struct.pack(f"{len(ranges)}N", *[start for start, _ in ranges]), dtype=np.uintp)
        packed_sizes = struct.pack("N", lengths[0]) if alike else struct.pack(f"{len(ranges)}N", *lengths)
    except struct.error:
        return None
    sizes: Words = np.frombuffer(packed_sizes, dtype=np.uintp)
    if alike:
        size_bits = smallest = int(lengths[0])
        total = smallest * len(ranges)
    else:
        size_bits, smallest, total = int(np.bitwise_or.reduce(sizes)), int(sizes.min()), sum(map(int, lengths))
    bits = int(np.bitwise_or.reduce(starts)) | size_bits
    if bits >> ADDRESS_BITS or bits % PAGE_BYTES or not smallest or int((starts + sizes).max()) > 1 << ADDRESS_BITS:
        return None
    step = PAGE_BYTES if bits % LARGE_BYTES else LARGE_BYTES
    if total > _MOST_BYTES or (step == PAGE_BYTES and total >= len(ranges) * LARGE_BYTES):
        return None
    if total != len(ranges) * step:
        counts = np.broadcast_to(sizes // np.uint64(step), len(ranges)).astype(np.int64)
        before = np.repeat(np.cumsum(counts) - counts, counts)
        within = (np.arange(len(before), dtype=np.int64) - before).astype(np.uint64)
        starts = np.repeat(starts, counts) + within * np.uint64(step)
    return Memory(total, (), starts, step)


def contiguous(page: int, ranges: Iterable[tuple[int, int]], flags: int, large: bool) -> Iterator[Fill]:
    """The entries that map ranges of memory one after another from a virtual page on."""
    limit = MAX_FRAGMENT if large else _MAX_SMALL_FRAGMENT
    for address, size in ranges:
        offset = (page << PAGE_SHIFT) - address
        for first, count, fragment in fragments(page, size >> PAGE_SHIFT, address >> PAGE_SHIFT, limit):
            level = Level.PDB0 if fragment >= LARGE_FRAGMENT else Level.PTB
            per_entry = level.shift - PAGE_SHIFT
            entry = (first << PAGE_SHIFT) - offset | flags | fragment << FRAGMENT_SHIFT
            yield Fill(
                level, first >> per_entry, count >> per_entry, _steps(entry, 1 << level.shift, count >> per_entry)
            )
        page += size >> PAGE_SHIFT


def _steps(entry: int, step: int, count: int) -> Callable[[], Words]:
    """Made late: when there is no room for the tables, no vector was made for nothing."""
    return lambda: np.arange(entry, entry + step * count, step, dtype=np.uint64)


def _small_blocks(page: int, addresses: Words, flags: int, large: bool) -> list[Fill]:
    """The entries that map single pages; runs among them get the fragments and large pages that both sides allow."""
    lead = page % _LARGE_PAGES
    found, blocks = _grow(addresses, lead, PAGE_BYTES, LARGE_FRAGMENT if large else _MAX_SMALL_FRAGMENT)
    entries = addresses | np.uint64(flags)
    if found is not None:
        entries |= found << np.uint64(FRAGMENT_SHIFT)
    if blocks is None or not large:
        return [Fill(Level.PTB, page, len(entries), lambda: entries)]
    return list(_mixed(page, entries, blocks, flags))


def _large_blocks(first_block: int, blocks: Words, flags: int) -> Words:
    """The entries of neighbouring 2 MiB pages; those of blocks that are nowhere mean nothing."""
    grown, _ = _grow(blocks, first_block % ENTRIES, LARGE_BYTES, MAX_FRAGMENT - LARGE_FRAGMENT)
    entries = blocks | np.uint64(flags | LARGE_FRAGMENT << FRAGMENT_SHIFT)
    if grown is not None:
        entries += grown << np.uint64(FRAGMENT_SHIFT)
    return entries


def _mixed(page: int, entries: Words, blocks: Words, flags: int) -> Iterator[Fill]:
    """`blocks`: for each 2 MiB that the entries touch, its address if it is one page, else nowhere."""
    first_block = page // _LARGE_PAGES
    is_large = blocks != np.uint64(_NOWHERE)
    large_entries = _large_blocks(first_block, blocks, flags)
    edges = [0, *(np.flatnonzero(is_large[1:] != is_large[:-1]) + 1).tolist(), len(blocks)]
    for first, last in pairwise(edges):
        if is_large[first]:
            yield Fill(Level.PDB0, first_block + first, last - first, _part(large_entries, first, last))
            continue
        start = max(page, (first_block + first) * _LARGE_PAGES)
        stop = min(page + len(entries), (first_block + last) * _LARGE_PAGES)
        yield Fill(Level.PTB, start, stop - start, _part(entries, start - page, stop - page))


def _part(entries: Words, first: int, last: int) -> Callable[[], Words]:
    return lambda: entries[first:last]


def _grow(addresses: Words, lead: int, step: int, limit: int) -> tuple[Words | None, Words | None]:
    """Join neighbours into blocks, pair by pair, as far as both addresses are aligned: fragment sizes, and what is left.

    `lead`: entries from an aligned virtual address to the first one. Each round looks at half as many as the one before;
    scattered pages end it at the first. The blocks of size `limit` are returned, nowhere for those that are none."""
    count = len(addresses)
    whole = 1 << limit
    blocks = addresses
    if lead or count % whole:
        blocks = np.full(-(-(lead + count) // whole) * whole, _NOWHERE, dtype=np.uint64)
        blocks[lead : lead + count] = addresses
    sizes: Words | None = None
    for size in range(1, limit + 1):
        left, right = blocks[0::2], blocks[1::2]
        joins = left + np.uint64(step) == right
        joins &= left & np.uint64(2 * step - 1) == 0
        if not joins.any():
            return (None if sizes is None else sizes[lead : lead + count]), None
        if sizes is None:
            sizes = np.zeros(len(blocks), dtype=np.uint64)
        sizes.reshape(-1, 1 << size)[joins] = size
        blocks = np.where(joins, left, np.uint64(_NOWHERE))
        step *= 2
    assert sizes is not None
    return sizes[lead : lead + count], blocks


def _first(bad: Words, addresses: Words) -> int:
    return int(addresses[np.flatnonzero(bad)[0]])


# ---------------------------------------------------------------- what may not become an entry


def check_flags(doing: str, where: str, flags: int) -> None:
    if not flags & ~PAGE_FLAGS:
        return
    raise BadFlags(
        doing,
        expected=f"flags within {PAGE_FLAGS:#x}",
        seen=f"{flags:#x}",
        where=where,
        next_step="take the flags from pte_flags()",
    )


def _check_ranges(doing: str, where: str, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges in order, those that continue one another made one."""
    out: list[tuple[int, int]] = []
    for address, size in ranges:
        if size <= 0 or size % PAGE_BYTES:
            raise bad_size(doing, where, f"{size:#x} bytes at {address:#x}")
        if address % PAGE_BYTES:
            raise unaligned(doing, where, f"memory at {address:#x}")
        if not 0 <= address < address + size <= 1 << ADDRESS_BITS:
            raise _beyond(doing, where, address)
        if out and sum(out[-1]) == address:
            out[-1] = (out[-1][0], out[-1][1] + size)
        else:
            out.append((address, size))
    if not out:
        raise bad_size(doing, where, "no memory at all")
    return out


def _check_pages(doing: str, where: str, pages: Words) -> Words:
    if pages.ndim != 1 or pages.dtype.kind not in "ui":
        raise bad_size(doing, where, f"an array of {pages.dtype}, shape {pages.shape}")
    if not pages.size:
        raise bad_size(doing, where, "no memory at all")
    # Of a signed array, a negative address becomes one that is far too large.
    addresses = pages.astype(np.uint64, copy=False)
    bits = int(np.bitwise_or.reduce(addresses))
    if bits & PAGE_BYTES - 1:
        raise unaligned(doing, where, f"memory at {_first(addresses & np.uint64(PAGE_BYTES - 1), addresses):#x}")
    if bits >> ADDRESS_BITS:
        raise _beyond(doing, where, _first(addresses >> np.uint64(ADDRESS_BITS), addresses))
    return addresses


def bad_size(doing: str, where: str, seen: str) -> BadSize:
    return BadSize(
        doing,
        expected=f"a size above zero, in whole pages of {PAGE_BYTES:#x}; page addresses as a vector of integers",
        seen=seen,
        where=where,
        next_step="round the size up to pages",
    )


def unaligned(doing: str, where: str, seen: str) -> BadAlignment:
    return BadAlignment(
        doing,
        expected=f"addresses that are multiples of {PAGE_BYTES:#x}",
        seen=seen,
        where=where,
        next_step="map whole pages",
    )


def _beyond(doing: str, where: str, address: int) -> BadAddress:
    return BadAddress(
        doing,
        expected=f"memory below 2^{ADDRESS_BITS}, all that an entry can hold",
        seen=f"{address:#x}",
        where=where,
        next_step="check where the address comes from: VRAM offset, node, IOMMU",
    )
