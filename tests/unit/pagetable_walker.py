"""A page walker of our own for tests, from amd-bringup.md section 5 alone: one struct read per level, no vectors.

It shares nothing with amdriver: bits and levels are written out here once more."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

PAGE = 4096
ADDRESS_47_12 = 0x0000_FFFF_FFFF_F000
ADDRESS_47_6 = 0x0000_FFFF_FFFF_FFC0


class Walked(NamedTuple):
    """What an address maps to: physical address of its 4 KiB page, flag bits, fragment, bytes the entry covers."""

    physical: int
    flags: int
    fragment: int
    covers: int


class WalkError(AssertionError):
    """An entry that no walker should meet."""


class SparseVram:
    """VRAM that was never cleared: what nobody wrote reads as all ones, which is a valid entry to nowhere."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pages: dict[int, bytearray] = {}
        self.writes: list[tuple[int, int]] = []
        self.after_write: Callable[[], None] | None = None

    def _page(self, number: int) -> bytearray:
        page = self.pages.get(number)
        if page is None:
            page = self.pages[number] = bytearray(b"\xff" * PAGE)
        return page

    def read(self, vram_offset: int, size: int) -> bytes:
        assert 0 <= vram_offset <= vram_offset + size <= self.size
        within = vram_offset % PAGE
        if within + size <= PAGE:
            return bytes(self._page(vram_offset // PAGE)[within : within + size])
        out = b""
        while size:
            within = vram_offset % PAGE
            part = min(size, PAGE - within)
            out += bytes(self._page(vram_offset // PAGE)[within : within + part])
            vram_offset += part
            size -= part
        return out

    def write(self, vram_offset: int, data: bytes) -> None:
        assert 0 <= vram_offset <= vram_offset + len(data) <= self.size
        assert vram_offset % 8 == 0
        assert data
        assert len(data) % 8 == 0
        self.writes.append((vram_offset, len(data)))
        done = 0
        while done < len(data):
            within = (vram_offset + done) % PAGE
            part = min(len(data) - done, PAGE - within)
            self._page((vram_offset + done) // PAGE)[within : within + part] = data[done : done + part]
            done += part
        if self.after_write is not None:
            self.after_write()


def walk(vram: SparseVram, root_register: int, gpu_va: int, physical_base: int = 0) -> Walked | None:
    """Translate one address as the GPU would; None: a fault. Raises WalkError at an entry that makes no sense."""
    assert root_register & 1
    table = root_register & ADDRESS_47_6
    entry = _entry(vram, table - physical_base, gpu_va >> 39 & 511)
    if not entry & 1:
        return None
    _expect("PDB2", entry, 1)
    entry = _entry(vram, (entry & ADDRESS_47_6) - physical_base, gpu_va >> 30 & 511)
    if not entry & 1:
        return None
    _expect("PDB1", entry, 1 | 9 << 59)
    entry = _entry(vram, (entry & ADDRESS_47_6) - physical_base, gpu_va >> 21 & 511)
    if not entry & 1:
        return None
    if not entry >> 56 & 1:  # no translate-further: a page of 2 MiB
        if entry >> 54 & 1 or entry & 0x1F_F000:
            raise WalkError(f"2 MiB page {entry:#x}: PDE_PTE set, or not aligned")
        return _leaf(entry, 1 << 21, gpu_va & 0x1F_F000)
    _expect("PDB0", entry, 1 | 1 << 56)
    entry = _entry(vram, (entry & ADDRESS_47_6) - physical_base, gpu_va >> 12 & 511)
    if not entry & 1:
        return None
    return _leaf(entry, PAGE, 0)


def _entry(vram: SparseVram, vram_offset: int, slot: int) -> int:
    if not 0 <= vram_offset <= vram.size - PAGE or vram_offset % PAGE:
        raise WalkError(f"a table at {vram_offset:#x}")
    (entry,) = struct.unpack("<Q", vram.read(vram_offset + slot * 8, 8))
    return int(entry)


def _expect(level: str, entry: int, flags: int) -> None:
    if entry & ~ADDRESS_47_6 != flags:
        raise WalkError(f"{level} entry {entry:#x}: flags {entry & ~ADDRESS_47_6:#x} are not {flags:#x}")


def _leaf(entry: int, covers: int, within: int) -> Walked:
    fragment = entry >> 7 & 0x1F
    flags = entry & ~ADDRESS_47_12 & ~(0x1F << 7) & ~1
    if flags & ~(0x7E | 3 << 57):
        raise WalkError(f"page entry {entry:#x}: bits that a page has not")
    if covers == 1 << 21 and fragment < 9:
        raise WalkError(f"page entry {entry:#x} of 2 MiB: fragment {fragment}")
    return Walked((entry & ADDRESS_47_12) + within, flags, fragment, covers)


def check_fragment(vram: SparseVram, root_register: int, gpu_va: int, physical_base: int = 0) -> None:
    """All pages of the fragment that this page is in translate as its first one says, with the same flags.

    Then the TLB may keep one of them for all. Both ends of the fragment are aligned to its size."""
    found = walk(vram, root_register, gpu_va, physical_base)
    assert found is not None
    size = PAGE << found.fragment
    start = gpu_va // size * size
    first = walk(vram, root_register, start, physical_base)
    assert first is not None, f"fragment {found.fragment} at {gpu_va:#x} starts at {start:#x}, which is not mapped"
    assert first.physical % size == 0, f"fragment {found.fragment} at {gpu_va:#x}: memory at {first.physical:#x}"
    for offset in range(0, size, max(PAGE, found.covers)):
        page = walk(vram, root_register, start + offset, physical_base)
        assert page is not None, f"fragment {found.fragment} at {gpu_va:#x}: nothing at {start + offset:#x}"
        assert page == (first.physical + offset, first.flags, found.fragment, found.covers)
