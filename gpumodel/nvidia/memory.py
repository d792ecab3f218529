"""Memory of modelled NVIDIA GPUs: allocations of real bytes, and the addresses by which engines reach them.

Source: open-gpu-kernel-modules 580.105.08: nvos.h (NV_MEMORY_ALLOCATION_PARAMS, NVOS32_ATTR), mem_mgr/system_mem.c and
video_mem.c (size 0, memory of the other kind, virtual-only: INVALID_ARGUMENT); uvm_map_external.c (mappings)."""

from __future__ import annotations

import mmap
import struct
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PAGE_BYTES = 4096
# Private, and not counted before it is touched: a GPU's whole memory may be allocated.
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)

FAULT_PDE, FAULT_READ_ONLY = 0x0, 0x6  # NV_PFAULT_FAULT_TYPE
FAULT_NAMES = {FAULT_PDE: "FAULT_PDE", FAULT_READ_ONLY: "FAULT_RO_VIOLATION"}


class Backing:
    """The bytes of one allocation, zeros until written. `in_vram`: they are the GPU's own, and gone with it."""

    def __init__(self, size: int, *, in_vram: bool, freed: Callable[[int], None]) -> None:
        """Raises OSError where this machine has no room. `freed` is told the size once nobody holds it any more."""
        self.size = size
        self.in_vram = in_vram
        self.view = memoryview(mmap.mmap(-1, size, flags=_FLAGS))
        weakref.finalize(self, freed, size)


class PageFault(Exception):
    """An engine used an address that it may not. `kind`: NV_PFAULT_FAULT_TYPE."""

    def __init__(self, address: int, kind: int, *, writes: bool) -> None:
        super().__init__(f"{address:#x}")
        self.address = address
        self.kind = kind
        self.writes = writes

    def text(self) -> str:
        access = "ACCESS_TYPE_VIRT_WRITE" if self.writes else "ACCESS_TYPE_VIRT_READ"
        return f"{FAULT_NAMES[self.kind]} {access}"


@dataclass(frozen=True, slots=True)
class _Mapping:
    base: int
    end: int
    backing: Backing
    offset: int
    read_only: bool


class AddressSpace:
    """What one VA space of a GPU maps where."""

    def __init__(self) -> None:
        self._bases: list[int] = []
        self._mappings: dict[int, _Mapping] = {}

    def map(self, base: int, length: int, backing: Backing, offset: int, *, read_only: bool) -> None:
        """What was mapped there is replaced, as UVM does."""
        self.unmap(base, length)
        self._bases.insert(bisect_right(self._bases, base), base)
        self._mappings[base] = _Mapping(base, base + length, backing, offset, read_only)

    def unmap(self, base: int, length: int) -> None:
        """A mapping that reaches beyond the range goes whole. # guess: UVM may split it"""
        for start in [key for key, one in self._mappings.items() if key < base + length and base < one.end]:
            self._bases.remove(start)
            del self._mappings[start]

    def pieces(self, address: int, size: int, *, writes: bool) -> Iterator[memoryview]:
        """The memory behind a range, in order. Raises PageFault where there is none."""
        while size:
            place = bisect_right(self._bases, address) - 1
            found = self._mappings[self._bases[place]] if place >= 0 else None
            if found is None or address >= found.end:
                raise PageFault(address, FAULT_PDE, writes=writes)
            if writes and found.read_only:
                raise PageFault(address, FAULT_READ_ONLY, writes=True)
            count = min(size, found.end - address)
            at = found.offset + address - found.base
            yield found.backing.view[at : at + count]
            address, size = address + count, size - count

    def is_host(self, address: int) -> bool:
        """Whether what is mapped there is memory of the host."""
        return any(one.base <= address < one.end and not one.backing.in_vram for one in self._mappings.values())

    def read(self, address: int, size: int) -> bytes:
        return b"".join(self.pieces(address, size, writes=False))

    def write(self, address: int, data: bytes) -> None:
        done = 0
        for piece in self.pieces(address, len(data), writes=True):
            piece[:] = data[done : done + len(piece)]
            done += len(piece)

    def copy(self, target: int, source: int, size: int) -> None:
        """As if all were read before any is written, whatever overlaps."""
        to, of = list(self.pieces(target, size, writes=True)), list(self.pieces(source, size, writes=False))
        if len(to) == len(of) == 1:
            to[0][:] = of[0]
            return
        self.write(target, b"".join(of))


@dataclass(frozen=True, slots=True)
class Wanted:
    """NV_MEMORY_ALLOCATION_PARAMS, as far as it matters here."""

    kind: int
    flags: int
    attributes: int
    size: int
    alignment: int
    va_space: int

    @classmethod
    def parse(cls, params: bytes | bytearray) -> Wanted:
        size, alignment = struct.unpack_from("<QQ", params, 64)
        return cls(
            kind=struct.unpack_from("<I", params, 4)[0],
            flags=struct.unpack_from("<I", params, 8)[0],
            attributes=struct.unpack_from("<I", params, 24)[0],
            size=size,
            alignment=alignment,
            va_space=struct.unpack_from("<I", params, 108)[0],
        )

    def is_valid(self, *, in_vram: bool) -> bool:
        """Whether the driver takes it, for memory of this kind. NVOS32_ATTR_LOCATION 0: video memory, 1, 3: host."""
        virtual_only = 0x80000  # NVOS32_ALLOC_FLAGS_VIRTUAL
        most_kinds = 18  # NVOS32_NUM_MEM_TYPES
        return (
            self.size > 0
            and self.kind < most_kinds
            and (self.attributes >> 25 & 3 == 0) is in_vram
            and not self.flags & virtual_only
            and not (in_vram and self.va_space)
        )

    @property
    def rounded(self) -> int:
        """What it takes: whole pages, and whole steps of the alignment. # guess: RM rounds to its own page size"""
        step = max(PAGE_BYTES, self.alignment)
        return -(-self.size // step) * step
