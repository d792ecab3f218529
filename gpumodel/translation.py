"""How a memory hub turns the addresses of a VMID into places: the walk of gfx9 page tables, and what is remembered of it.

Source: Linux v7.3 amdgpu/amdgpu_vm.h, gmc_v9_0.c (entry bits, what a directory of which level carries), gfxhub_v1_2.c
(depth, block size); hardware/amd-bringup.md section 5; research/amdgpu-on-model.md items 13, 14, 56.

A table of depth d has d levels of directories above its last table. An entry of the lowest directory covers
2^(9 + block size) pages, one of each level above 512 times as much; depth 0 is one flat table. In the lowest directory
bits 63:59 say how many pages (log2) one entry of the last table covers; such an entry with bit 56 points to one table
more, whose entries cover a page each. Bit 54 makes a directory entry a translation of all that it covers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

PAGE_SHIFT = 12
VALID = 1 << 0
SYSTEM = 1 << 1
EXECUTABLE = 1 << 4
READABLE = 1 << 5
WRITEABLE = 1 << 6
FRAGMENT_SHIFT = 7
PARTIALLY_RESIDENT = 1 << 51
LEAF = 1 << 54  # PDE_PTE
FURTHER = 1 << 56  # TF
BLOCK_FRAGMENT_SHIFT = 59
PAGE_MASK = 0x0000_FFFF_FFFF_F000
TABLE_MASK = 0x0000_FFFF_FFFF_FFC0
MOST = 0x0000_FFFF_FFFF_FFFF  # where physical addresses wrap
LEVEL_BITS = 9
FAULT_VALID, FAULT_READ, FAULT_WRITE, FAULT_EXECUTE = 1, 2, 4, 8  # PERMISSION_FAULTS
TLB_ENTRIES = 8192  # guess: more than hardware has, so that what is never flushed stays wrong for long
MOST_AHEAD = 512  # entries fetched at once


class Kind(Enum):
    """`NOTHING`: mapped on purpose without memory behind it; reads zeros, loses writes."""

    VRAM = "VRAM of the hive"
    BUS = "bus address"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an access ends: VRAM by its address in the hive, or a bus address."""

    kind: Kind
    address: int


class Denied(Exception):
    """No translation. The fields are those of VM_L2_PROTECTION_FAULT_STATUS; `enable` names the bit of
    VM_CONTEXT_CNTL that lets the fault be told."""

    def __init__(
        self, address: int, permissions: int, why: str, *, walker: int = 0, mapping: int = 0, enable: str = "VALID"
    ) -> None:
        super().__init__(why)
        self.address = address
        self.permissions = permissions
        self.why = why
        self.walker = walker
        self.mapping = mapping
        self.enable = f"{enable}_PROTECTION_FAULT_ENABLE_INTERRUPT"


class Leaf:
    """A translation of 2^shift bytes, made from the entry of 2^`own_shift` bytes that covers `address`.

    The physical address of an entry need not be aligned to what the entry covers: tinygrad 0.14.0 maps 2 MiB by one entry
    from any 4 KiB on (AMPageTableEntry.supports_huge_page), and runs on these chips (a guess: nothing says that hardware
    adds the offset rather than putting it in place of the low bits). A fragment goes on in both directions from the entry
    that was met: what it maps is contiguous (amdgpu_vm_pte_fragment), but nobody aligns its physical address either. Where
    its entries are not contiguous, the one that was met speaks for all."""

    __slots__ = ("base", "flags", "kind", "low", "shift")

    def __init__(self, flags: int, shift: int, own_shift: int, address: int) -> None:
        self.flags = flags
        self.shift = shift
        self.low = (1 << shift) - 1
        self.kind = Kind.BUS if flags & SYSTEM else Kind.VRAM
        own_low = (1 << own_shift) - 1
        self.base = (flags & PAGE_MASK) - (address & self.low & ~own_low)
        if not flags & VALID:
            self.kind, self.base, self.flags = Kind.NOTHING, 0, READABLE | WRITEABLE


class Tlb:
    """Translations that one hub has seen for one VMID. Entries that were not valid are not remembered.

    `remembered`: what others made of them, and forget with them."""

    def __init__(self) -> None:
        self.remembered: dict[int, Any] = {}
        self.by_shift: dict[int, dict[int, Leaf]] = {}  # shift: address >> shift: translation
        self._size = 0

    def keep(self, address: int, leaf: Leaf) -> None:
        if self._size >= TLB_ENTRIES:
            self.clear()
        self._size += 1
        self.by_shift.setdefault(leaf.shift, {})[address >> leaf.shift] = leaf

    def clear(self) -> None:
        self.by_shift.clear()
        self.remembered = {}  # whoever is at work keeps what it has until it is done
        self._size = 0

    def __len__(self) -> int:
        return sum(len(known) for known in self.by_shift.values())


@dataclass(frozen=True, slots=True)
class Walk:
    """The page table of one VMID. Addresses are bytes, pages count 4 KiB."""

    read_table: Callable[[Place, int], bytes]
    tlb: Tlb
    root: int
    first_page: int
    last_page: int
    depth: int
    block_bits: int
    use_fragments: bool

    def pieces(self, address: int, size: int, write: bool) -> Iterator[tuple[Place, int]]:
        """(place, bytes) in order; neighbours that lie side by side come as one. Raises Denied, after what lies before."""
        end = address + size
        kind, start, length = Kind.NOTHING, 0, 0
        while address < end:
            try:
                leaf = self.leaf(address, end, write)
            except Denied:
                if length:
                    yield Place(kind, start), length
                raise
            here = min(end, (address | leaf.low) + 1) - address
            place = leaf.base + (address & leaf.low) & MOST if leaf.kind is not Kind.NOTHING else start + length
            if leaf.kind is kind and place == start + length and length:
                length += here
            else:
                if length:
                    yield Place(kind, start), length
                kind, start, length = leaf.kind, place, here
            address += here
        if length:
            yield Place(kind, start), length

    def leaf(self, address: int, end: int, write: bool) -> Leaf:
        """The translation of one address; `end`: how far the access goes on. Raises Denied."""
        for shift, known in self.tlb.by_shift.items():
            leaf = known.get(address >> shift)
            if leaf is not None:
                break
        else:
            leaf = self._leaf(address, end, write)
            self.tlb.keep(address, leaf)
        if not leaf.flags & (WRITEABLE if write else READABLE):
            raise _not_permitted(address, write)
        return leaf

    def _leaf(self, address: int, end: int, write: bool) -> Leaf:
        page = address >> PAGE_SHIFT
        if not self.first_page <= page <= self.last_page:
            raise Denied(address, FAULT_VALID, "outside of the context's range", walker=1, enable="RANGE")
        if not self.root & VALID:
            raise Denied(address, _missing(write), "the context has no page table", walker=1, enable="PDE0")
        index = page - self.first_page
        table = self.root
        shift = self.block_bits + LEVEL_BITS
        fragment = 0
        for level in range(self.depth, 0, -1):
            here = shift + (level - 1) * LEVEL_BITS
            table = self._entry(table, index >> here if level == self.depth else index >> here & 511)
            if not table & VALID or table & LEAF:
                return self._last(address, table, here, write, level)
            fragment = table >> BLOCK_FRAGMENT_SHIFT
        if self.depth:
            index &= (1 << shift) - 1
        block = MOST_AHEAD
        if fragment:
            entry = self._entry(table, index >> fragment)
            if not (entry & FURTHER and entry & VALID):
                return self._last(address, entry, fragment, write)
            table = entry
            index &= (1 << fragment) - 1
            block = min(block, 1 << fragment)
        return self._pages(table, index, block, address, end, write)

    def _last(self, address: int, entry: int, pages_log2: int, write: bool, level: int = 0) -> Leaf:
        """A translation out of an entry that covers 2^pages_log2 pages, or more if its fragment says so."""
        if entry & VALID:
            fragment = entry >> FRAGMENT_SHIFT & 31 if self.use_fragments else 0
            return Leaf(entry, PAGE_SHIFT + max(pages_log2, fragment), PAGE_SHIFT + pages_log2, address)
        if entry & PARTIALLY_RESIDENT:
            return Leaf(entry, PAGE_SHIFT + pages_log2, PAGE_SHIFT + pages_log2, address)
        if level:
            why = f"the entry of directory level {level} is not valid"
            raise Denied(address, _missing(write), why, walker=1, enable="PDE0")
        raise Denied(address, _missing(write), "the page is not valid")

    def _entry(self, table: int, index: int) -> int:
        return int.from_bytes(self.read_table(_inside(table, index), 8), "little")

    def _pages(self, table: int, index: int, block: int, address: int, end: int, write: bool) -> Leaf:
        """One entry of a table of single pages. Those that the access goes on to are fetched and kept with it, up to the
        end of their block."""
        last = (end - 1) >> PAGE_SHIFT
        count = min(last - (address >> PAGE_SHIFT), block - 1 - (index & block - 1)) + 1
        entries: tuple[int, ...] = struct.unpack(f"<{count}Q", self.read_table(_inside(table, index), 8 * count))
        for number, entry in enumerate(entries[1:], 1):
            if entry & VALID:
                where = address + (number << PAGE_SHIFT)
                self.tlb.keep(where, self._last(where, entry, 0, write))
        return self._last(address, entries[0], 0, write)


def _missing(write: bool) -> int:
    return FAULT_VALID | (FAULT_WRITE if write else FAULT_READ)


def _not_permitted(address: int, write: bool) -> Denied:
    if write:
        return Denied(address, FAULT_WRITE, "the page is not writable", enable="WRITE")
    return Denied(address, FAULT_READ, "the page is not readable", enable="READ")


def _inside(table: int, index: int) -> Place:
    kind = Kind.BUS if table & SYSTEM else Kind.VRAM
    return Place(kind, (table & TABLE_MASK) + 8 * index)
