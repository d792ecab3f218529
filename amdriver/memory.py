"""Memory by address: who owns which range of VRAM or of GPU addresses, and host memory that the GPU can reach.

    RangeAllocator   buddy system over pages of 4 KiB; the base of `vram.VramAllocator` and of
    VaAllocator      GPU virtual addresses, the same for every VMID
    HostMemory       what the page tables need of memory in the host; DmaMemory makes it of a transport's DMA buffer

Source: the shape of the kernel's allocator (Linux v7.3 drivers/gpu/drm/drm_buddy.c: power-of-two blocks, the tail of a
block given back), amdgpu_vm.h (what the kernel keeps free at the bottom), amdgpu_gmc.h (the hole that starts at 2^47).
An allocator belongs to one thread at a time. `pagetable.py` joins addresses and memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self, cast

import numpy as np

from base.errors import InvalidData, OutOfMemory, Refused, Unavailable, UsageError
from pcibus.transport import Can, DmaBuffer, DmaSharer, Transport

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE_BYTES: Final = 4096
PAGE_SHIFT: Final = 12
ADDRESS_BITS: Final = 48  # of a virtual and of a physical address
_SPACE_BYTES: Final = 1 << ADDRESS_BITS
_BLOCK_ORDERS: Final = ADDRESS_BITS - PAGE_SHIFT + 1

# The kernel leaves the first 64 KiB unmapped, so that a small offset from a null pointer faults, and addresses from
# 2^47 on are written sign-extended: below it an address is the same in every register and packet.
VA_START: Final = 1 << 16
VA_END: Final = 1 << 47


# ---------------------------------------------------------------- errors


class OutOfVram(OutOfMemory):
    """No room in VRAM."""


class OutOfAddresses(OutOfMemory):
    """No room among the GPU virtual addresses."""


class BadSize(UsageError):
    """A size of zero, negative, beyond what there is, or no multiple of a page."""


class BadAlignment(UsageError):
    """An alignment that is no power of two, or an address that is not aligned."""


class BadAddress(UsageError):
    """An address outside the space it is meant for."""


class DoubleFree(UsageError):
    """Freed before."""


class ForeignFree(UsageError):
    """Freed where it was not allocated."""


class RangeTaken(Refused):
    """A range asked for by address is not free; the owner is named."""


class NoDma(Unavailable):
    """The transport has no memory that the device can reach."""


class BadDmaAddress(InvalidData):
    """A bus address that the page tables cannot hold."""


class Closed(UsageError):
    """Used after it was closed."""


# ---------------------------------------------------------------- ranges


@dataclass(frozen=True, slots=True)
class Range:
    """`size` bytes from `start` on; why it is kept apart, or who owns it."""

    start: int
    size: int
    why: str = ""

    @property
    def end(self) -> int:
        return self.start + self.size

    def __str__(self) -> str:
        return f"{self.start:#x}..{self.end:#x}" + (f" ({self.why})" if self.why else "")


class Extent(NamedTuple):
    """A contiguous run of bytes; as a plain pair it is what `PageTables.map` takes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """What an allocator handed out; free it at the same allocator. Extents are in the order in which to map them."""

    extents: tuple[Extent, ...]
    size: int
    owner: str
    serial: int
    allocator: RangeAllocator

    @property
    def start(self) -> int:
        """Where the first extent starts; of a contiguous allocation, where it starts."""
        return self.extents[0].start

    @property
    def contiguous(self) -> bool:
        return len(self.extents) == 1

    def __str__(self) -> str:
        more = f" and {len(self.extents) - 1} more" if not self.contiguous else ""
        return f"{self.owner or 'allocation'} of {self.size:#x} bytes at {self.start:#x}{more}"


@dataclass(frozen=True, slots=True)
class Statistics:
    """In bytes. `largest_free` is the longest run of free pages, aligned or not."""

    total: int
    reserved: int
    free: int
    largest_free: int
    allocations: int

    @property
    def used(self) -> int:
        return self.total - self.reserved - self.free

    @property
    def fragmentation(self) -> float:
        """0: all that is free is one run. Near 1: it is in crumbs."""
        return 1 - self.largest_free / self.free if self.free else 0.0


# ---------------------------------------------------------------- buddy system


def _blocks(page: int, count: int) -> Iterator[tuple[int, int]]:
    """The fewest aligned power-of-two blocks that make up a run of pages, as (page, order)."""
    while count:
        order = count.bit_length() - 1
        if page:
            order = min(order, (page & -page).bit_length() - 1)
        yield page, order
        page += 1 << order
        count -= 1 << order


class Buddy:
    """Free pages as power-of-two blocks at multiples of their size; free neighbours are always joined.

    Taking and giving back touch one block of each order at most; only `find_run` looks at all free blocks."""

    __slots__ = ("_free", "_orders", "free_pages")

    def __init__(self) -> None:
        self._free: tuple[dict[int, None], ...] = tuple({} for _ in range(_BLOCK_ORDERS))
        self._orders = 0  # bit n: there is a free block of order n
        self.free_pages = 0

    def give(self, page: int, count: int) -> None:
        """Make a run of pages free. They must not be."""
        self.free_pages += count
        for block, order in _blocks(page, count):
            self._join(block, order)

    def take(self, order: int) -> int | None:
        """A block of 2^order pages, from the smallest free block that has it."""
        fitting = self._orders >> order
        if not fitting:
            return None
        found = order + (fitting & -fitting).bit_length() - 1
        block, _ = self._free[found].popitem()
        self._emptied(found)
        self._split(block, found, order)
        self.free_pages -= 1 << order
        return block

    def take_at(self, page: int, count: int) -> bool:
        """Exactly these pages, if all of them are free; else nothing changes."""
        wanted = [(block, order, self._holding(block, order)) for block, order in _blocks(page, count)]
        if any(holder is None for _, _, holder in wanted):
            return False
        for block, order, _ in wanted:
            # Asked anew: taking the one before may have split it.
            holder = self._holding(block, order)
            assert holder is not None
            self._remove(*holder)
            self._carve(*holder, block, order)
        self.free_pages -= count
        return True

    def largest_order(self) -> int:
        """Order of the largest free block; -1: nothing is free."""
        return self._orders.bit_length() - 1

    def runs(self) -> Iterator[tuple[int, int]]:
        """Runs of free pages by address, as (page, count); neighbours that are no buddies are joined too."""
        blocks = sorted((block, 1 << order) for order, free in enumerate(self._free) for block in free)
        run, count = -1, 0
        for block, size in blocks:
            if run + count == block and count:
                count += size
                continue
            if count:
                yield run, count
            run, count = block, size
        if count:
            yield run, count

    def find_run(self, count: int, alignment: int, low: int = 0, high: int | None = None) -> int | None:
        """The lowest aligned page from `low` on where `count` free pages start, all below `high`. Looks at all free
        blocks."""
        for run, length in self.runs():
            page = -(-max(run, low) // alignment) * alignment
            end = run + length if high is None else min(run + length, high)
            if page + count <= end:
                return page
        return None

    def _add(self, block: int, order: int) -> None:
        self._free[order][block] = None
        self._orders |= 1 << order

    def _remove(self, block: int, order: int) -> None:
        del self._free[order][block]
        self._emptied(order)

    def _emptied(self, order: int) -> None:
        if not self._free[order]:
            self._orders &= ~(1 << order)

    def _join(self, block: int, order: int) -> None:
        free = self._free
        while (buddy := block ^ 1 << order) in (same := free[order]):
            del same[buddy]
            if not same:
                self._orders ^= 1 << order
            block &= ~(1 << order)
            order += 1
        self._add(block, order)

    def _split(self, block: int, order: int, wanted: int) -> None:
        """Keep the lowest 2^wanted pages of a block that was taken, free the rest."""
        self._orders |= (1 << order) - (1 << wanted)
        for half in range(wanted, order):
            self._free[half][block + (1 << half)] = None

    def _carve(self, block: int, order: int, page: int, wanted: int) -> None:
        """Keep 2^wanted pages from `page` on of a block that was taken, free the rest."""
        while order > wanted:
            order -= 1
            upper = block + (1 << order)
            if page >= upper:
                self._add(block, order)
                block = upper
            else:
                self._add(upper, order)

    def _holding(self, page: int, order: int) -> tuple[int, int] | None:
        """The free block that a block lies in; free neighbours are joined, so there is one or none."""
        for larger in range(order, _BLOCK_ORDERS):
            block = page >> larger << larger
            if block in self._free[larger]:
                return block, larger
        return None


# ---------------------------------------------------------------- allocators


def pages_of(size: int) -> int:
    """How many pages hold so many bytes."""
    return -(-size >> PAGE_SHIFT)


class RangeAllocator:
    """Pages of one space: allocate, reserve, free. Sizes are rounded up to pages of 4 KiB.

    Raises BadSize, BadAlignment, OutOfMemory (the kind of the space), RangeTaken, DoubleFree, ForeignFree; whatever
    is refused changes nothing."""

    kind = "memory"
    out_of_room: type[OutOfMemory] = OutOfMemory
    next_step = "free what is not needed, or ask for less"

    def __init__(self, start: int, size: int, *, reserved: Iterable[Range] = (), where: str = "") -> None:
        self.where = where
        self._check_space(start, size)
        self.start = start
        self.size = size
        self.reserved: tuple[Range, ...] = ()
        self._buddy = Buddy()
        self._buddy.give(start >> PAGE_SHIFT, size >> PAGE_SHIFT)
        self._live: dict[int, Allocation] = {}
        self._serial = 0
        for one in reserved:
            self.reserve(one)

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def free_bytes(self) -> int:
        return self._buddy.free_pages << PAGE_SHIFT

    @property
    def live(self) -> tuple[Allocation, ...]:
        """What is allocated, oldest first: what a close should find empty."""
        return tuple(self._live.values())

    def statistics(self) -> Statistics:
        """Looks at every free block: for people, not for a loop."""
        largest = max((count for _, count in self._buddy.runs()), default=0)
        return Statistics(
            total=self.size,
            reserved=sum(one.size for one in self.reserved),
            free=self.free_bytes,
            largest_free=largest << PAGE_SHIFT,
            allocations=len(self._live),
        )

    def reserve(self, wanted: Range) -> None:
        """Keep a range out of the game for good, rounded outwards to pages; RangeTaken when part of it is not free."""
        first = wanted.start >> PAGE_SHIFT << PAGE_SHIFT
        size = (pages_of(wanted.end) << PAGE_SHIFT) - first
        doing = f"reserving {self.kind} {wanted}"
        self._check_size(doing, wanted.size)
        self._take_at(doing, first, size)
        self.reserved += (Range(first, size, wanted.why),)

    def allocate(self, size: int, alignment: int = PAGE_BYTES, *, owner: str = "") -> Allocation:
        """One contiguous run. `alignment` is a power of two; below a page it means a page."""
        doing = f"allocating {size:#x} bytes of {self.kind}" + (f" for {owner}" if owner else "")
        pages, aligned = self._check_request(doing, size, alignment)
        page = self._contiguous(pages, aligned)
        if page is None:
            raise self._no_room(doing, size, alignment, contiguous=True)
        return self._hand_out(((page, pages),), owner)

    def allocate_at(self, start: int, size: int, *, owner: str = "") -> Allocation:
        """Exactly this range. `start` is a multiple of a page."""
        doing = f"allocating {size:#x} bytes of {self.kind} at {start:#x}" + (f" for {owner}" if owner else "")
        self._check_size(doing, size)
        if start % PAGE_BYTES:
            raise BadAlignment(
                doing,
                expected=f"an address that is a multiple of {PAGE_BYTES:#x}",
                seen=f"{start:#x}",
                where=self.where,
                next_step="round the address down to a page",
            )
        pages = pages_of(size)
        self._take_at(doing, start, pages << PAGE_SHIFT)
        return self._hand_out(((start >> PAGE_SHIFT, pages),), owner)

    def free(self, allocation: Allocation) -> None:
        """Give an allocation back; free neighbours are joined at once."""
        if allocation.allocator is not self:
            raise ForeignFree(
                f"freeing {allocation}",
                expected=f"an allocation of this {self.kind} allocator",
                seen=f"one of another {allocation.allocator.kind} allocator ({allocation.allocator.where or 'unnamed'})",
                where=self.where,
                next_step="free it at the allocator that made it",
            )
        if self._live.pop(allocation.serial, None) is None:
            raise DoubleFree(
                f"freeing {allocation}",
                expected="an allocation that is still in use",
                seen=f"it was freed before (allocation {allocation.serial} of {self._serial})",
                where=self.where,
                next_step="free it once; the one who frees first drops it",
            )
        for extent in allocation.extents:
            self._buddy.give(extent.start >> PAGE_SHIFT, extent.size >> PAGE_SHIFT)

    def owner_of(self, address: int) -> str:
        """Who has the page of this address: a reservation, an allocation, "free" or "outside"."""
        if not self.start <= address < self.end:
            return "outside"
        for one in self.reserved:
            if one.start <= address < one.end:
                return f"reserved {one}"
        for allocation in self._live.values():
            for extent in allocation.extents:
                if extent.start <= address < extent.start + extent.size:
                    return str(allocation)
        return "free"

    # ---- inside

    def _contiguous(self, pages: int, aligned: int) -> int | None:
        """A run of pages: from a block large enough, else from any free run that fits."""
        order = (max(pages, aligned) - 1).bit_length()
        block = self._buddy.take(order) if order < _BLOCK_ORDERS else None
        if block is not None:
            if tail := (1 << order) - pages:
                self._buddy.give(block + pages, tail)
            return block
        if pages > self._buddy.free_pages:
            return None
        run = self._buddy.find_run(pages, aligned)
        if run is not None:
            taken = self._buddy.take_at(run, pages)
            assert taken
        return run

    def _hand_out(self, runs: Iterable[tuple[int, int]], owner: str) -> Allocation:
        self._serial += 1
        extents = tuple(Extent(page << PAGE_SHIFT, count << PAGE_SHIFT) for page, count in runs)
        size = extents[0].size if len(extents) == 1 else sum(extent.size for extent in extents)
        allocation = Allocation(extents, size, owner, self._serial, self)
        self._live[self._serial] = allocation
        return allocation

    def _take_at(self, doing: str, start: int, size: int) -> None:
        if not self.start <= start < start + size <= self.end:
            raise BadAddress(
                doing,
                expected=f"a range within {self.start:#x}..{self.end:#x}",
                seen=f"{start:#x}..{start + size:#x}",
                where=self.where,
                next_step="ask for a range of this space",
            )
        if self._buddy.take_at(start >> PAGE_SHIFT, size >> PAGE_SHIFT):
            return
        raise RangeTaken(
            doing,
            expected=f"{start:#x}..{start + size:#x} free",
            seen="; ".join(self._owners(start, start + size)),
            where=self.where,
            next_step="free it first, or ask for another range",
        )

    def _owners(self, start: int, end: int) -> list[str]:
        """Who is in the way, a few of them."""
        ranges = [(one, f"reserved {one}") for one in self.reserved]
        ranges += [(Range(*extent), str(one)) for one in self._live.values() for extent in one.extents]
        found = [told for one, told in ranges if one.start < end and start < one.end]
        return found[:4] + ([f"and {len(found) - 4} more"] if len(found) > 4 else [])

    def _no_room(self, doing: str, size: int, alignment: int, *, contiguous: bool) -> OutOfMemory:
        now = self.statistics()
        shape = "in one run, " if contiguous else ""
        return self.out_of_room(
            doing,
            expected=f"{pages_of(size) << PAGE_SHIFT:#x} bytes free {shape}aligned to {max(alignment, PAGE_BYTES):#x}",
            seen=f"{now.free:#x} of {now.total:#x} bytes free, the largest run has {now.largest_free:#x}; "
            f"{now.allocations} allocations, {now.reserved:#x} bytes reserved",
            where=self.where,
            next_step=self.next_step,
        )

    def _check_request(self, doing: str, size: int, alignment: int) -> tuple[int, int]:
        """Size and alignment in pages."""
        self._check_size(doing, size)
        if alignment <= 0 or alignment & alignment - 1:
            raise BadAlignment(
                doing,
                expected="an alignment that is a power of two",
                seen=f"{alignment:#x}",
                where=self.where,
                next_step="ask for 4 KiB, 64 KiB or 2 MiB",
            )
        return pages_of(size), max(1, alignment >> PAGE_SHIFT)

    def _check_size(self, doing: str, size: int) -> None:
        if 0 < size <= self.size:
            return
        raise BadSize(
            doing,
            expected=f"a size from 1 to {self.size:#x} bytes",
            seen=f"{size:#x}",
            where=self.where,
            next_step="ask for a size that this space can have",
        )

    def _check_space(self, start: int, size: int) -> None:
        fits = start >= 0 and size > 0 and start + size <= _SPACE_BYTES
        if fits and start % PAGE_BYTES == 0 and size % PAGE_BYTES == 0:
            return
        raise BadSize(
            f"setting up the {self.kind} allocator",
            expected=f"start and size in whole pages of {PAGE_BYTES:#x}, within {_SPACE_BYTES:#x} bytes",
            seen=f"{size:#x} bytes from {start:#x}",
            where=self.where,
            next_step="gpumend probe; the size of the VRAM is in RCC_CONFIG_MEMSIZE",
        )


class VaAllocator(RangeAllocator):
    """GPU virtual addresses from 64 KiB to 2^47. Any VMID's tables may map them."""

    kind = "GPU addresses"
    out_of_room = OutOfAddresses
    next_step = "unmap and free what is not needed"

    def __init__(
        self, start: int = VA_START, end: int = VA_END, *, reserved: Iterable[Range] = (), where: str = ""
    ) -> None:
        super().__init__(start, end - start, reserved=reserved, where=where)


def good_alignment(size: int) -> int:
    """The alignment of addresses that lets a mapping of this size have large pages and fragments."""
    if size >= 1 << 21:
        return 1 << 21
    return 1 << 16 if size >= 1 << 16 else PAGE_BYTES


# ---------------------------------------------------------------- memory of the host


class HostMemory(Protocol):
    """Memory of the host, held where the GPU can reach it. `pages` are bus addresses of 4 KiB pages, in order."""

    size_bytes: int

    @property
    def pages(self) -> NDArray[np.uint64]: ...

    def read(self, offset: int, size: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def close(self) -> None: ...


class DmaMemory:
    """Host memory from a transport's DMA buffer. Unmap it from the GPU, and flush, before `close`.

    Raises NoDma, BadSize, BadDmaAddress (the buffer is given back), BadAddress, Closed."""

    def __init__(self, transport: Transport, size_bytes: int, *, owner: str = "", of: DmaMemory | None = None) -> None:
        """`of`: the same memory as another device's, at this device's own bus addresses (a `DmaSharer`)."""
        self.where = transport.name
        self.owner = owner
        self.size_bytes = pages_of(size_bytes) << PAGE_SHIFT
        doing = f"allocating {size_bytes:#x} bytes of host memory" + (f" for {owner}" if owner else "")
        if size_bytes <= 0:
            raise BadSize(
                doing,
                expected="at least 1 byte",
                seen=f"{size_bytes}",
                where=self.where,
                next_step="ask for a size above zero",
            )
        if Can.DMA not in transport.can:
            raise NoDma(
                doing,
                expected="a transport with memory that the device can reach",
                seen=f"{self.where} can {transport.can}",
                where=self.where,
                next_step="bind the GPU to vfio-pci, or use a model: address",
            )
        if of is None:
            buffer = transport.alloc_dma(self.size_bytes)
        else:
            buffer = cast("DmaSharer", transport).share_dma(of._open(doing))
        try:
            self._pages = _bus_pages(doing, buffer, self.size_bytes, self.where)
        except BaseException:
            buffer.close()
            raise
        self._buffer: DmaBuffer | None = buffer

    @property
    def pages(self) -> NDArray[np.uint64]:
        self._open("asking for the pages of")
        return self._pages

    @property
    def runs(self) -> Sequence[tuple[int, int]] | NDArray[np.uint64]:
        """For `PageTables.map`: whole host pages where they are large, so that large pages come of them cheaply."""
        buffer = self._open("asking for the pages of")
        step = buffer.page_size
        if step == PAGE_BYTES:
            return self._pages
        left = self.size_bytes
        return [(address, min(step, left - index * step)) for index, address in enumerate(buffer.bus_addr)][
            : -(-left // step)
        ]

    def read(self, offset: int, size: int) -> bytes:
        return self._within("reading", offset, size).read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self._within("writing", offset, len(data)).write(offset, data)

    def close(self) -> None:
        """Give the buffer back; a second time does nothing."""
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, doing: str) -> DmaBuffer:
        if self._buffer is not None:
            return self._buffer
        raise Closed(
            f"{doing} host memory {self.owner}".rstrip(),
            expected="memory that is still open",
            seen="it was closed before",
            where=self.where,
            next_step="keep it open for as long as it is used",
        )

    def _within(self, doing: str, offset: int, size: int) -> DmaBuffer:
        buffer = self._open(doing)
        if 0 <= offset <= offset + size <= self.size_bytes:
            return buffer
        raise BadAddress(
            f"{doing} host memory {self.owner}".rstrip(),
            expected=f"a range within its {self.size_bytes:#x} bytes",
            seen=f"{size:#x} bytes from {offset:#x}",
            where=self.where,
            next_step="stay within the buffer",
        )


def _bus_pages(doing: str, buffer: DmaBuffer, size_bytes: int, where: str) -> NDArray[np.uint64]:
    """One bus address for each 4 KiB; host pages may be larger."""
    told = np.array(buffer.bus_addr, dtype=np.uint64)
    step = buffer.page_size
    bad = next((one for one in buffer.bus_addr if one % PAGE_BYTES or not 0 <= one < _SPACE_BYTES - step + 1), None)
    short = step <= 0 or step % PAGE_BYTES != 0 or len(told) * step < size_bytes
    if bad is not None or short:
        raise BadDmaAddress(
            doing,
            expected=f"bus addresses of whole pages, below 2^{ADDRESS_BITS}, for all of {size_bytes:#x} bytes",
            seen=f"{len(told)} pages of {step:#x} bytes" + ("" if bad is None else f", one of them at {bad:#x}"),
            where=where,
            next_step="check the transport, or the IOMMU's address width",
        )
    within = np.arange(0, step, PAGE_BYTES, dtype=np.uint64)
    return (told[:, None] + within).reshape(-1)[: size_bytes >> PAGE_SHIFT]


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[Range, ...]:
    """Ranges as (start, end), sorted, those that touch or overlap made one."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return tuple(Range(start, end - start) for start, end in out)
