"""amdriver/memory.py and vram.py: allocators against a plain set of pages, host memory, every error."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdriver.memory import (
    VA_END,
    VA_START,
    Allocation,
    BadAddress,
    BadAlignment,
    BadDmaAddress,
    BadSize,
    Buddy,
    Closed,
    DmaMemory,
    DoubleFree,
    ForeignFree,
    NoDma,
    OutOfAddresses,
    OutOfVram,
    Range,
    RangeAllocator,
    RangeTaken,
    VaAllocator,
    good_alignment,
    merged,
    pages_of,
)
from amdriver.vram import VramAllocator, discovery_range
from base.clock import VirtualClock
from base.errors import Exit, GpumendError, OutOfMemory
from gpumodel import open_models
from pcibus.transport import Can, DmaBuffer, Transport

PAGE = 4096
MIB = 1 << 20
GIB = 1 << 30


# ---------------------------------------------------------------- random use against a set of pages


@dataclass
class Ledger:
    """What we think is free: a plain set of pages."""

    pages: int
    free: set[int] = field(default_factory=set)
    live: list[Allocation] = field(default_factory=list)

    def take(self, allocation: Allocation) -> None:
        taken = pages_in(allocation)
        assert set(taken) <= self.free, "pages that are not free were handed out"
        assert len(set(taken)) == len(taken)
        self.free -= set(taken)
        self.live.append(allocation)

    def give(self, index: int) -> Allocation:
        allocation = self.live.pop(index % len(self.live))
        self.free |= set(pages_in(allocation))
        return allocation

    def has_run(self, count: int, alignment: int) -> bool:
        """Could a contiguous request be met? By trying every aligned place."""
        return any(
            all(page in self.free for page in range(start, start + count)) for start in range(0, self.pages, alignment)
        )

    def longest(self) -> int:
        best = run = 0
        for page in range(self.pages):
            run = run + 1 if page in self.free else 0
            best = max(best, run)
        return best


def pages_in(allocation: Allocation) -> list[int]:
    return [page for start, size in allocation.extents for page in range(start // PAGE, start // PAGE + size // PAGE)]


Step = tuple[str, int, int]
_sizes = st.one_of(st.integers(1, 8), st.integers(1, 130))
_steps = st.lists(
    st.tuples(st.sampled_from(["run", "run", "pieces", "at", "free", "free", "reserve"]), _sizes, st.integers(0, 199)),
    max_size=60,
)


def _step(vram: VramAllocator, ledger: Ledger, step: Step) -> None:
    what, count, more = step
    alignment = 1 << more % 6
    if what == "free":
        if ledger.live:
            vram.free(ledger.give(more))
        return
    if what == "run":
        if not ledger.has_run(count, alignment):
            with pytest.raises(OutOfVram):
                vram.allocate(count * PAGE, alignment * PAGE)
            return
        allocation = vram.allocate(count * PAGE, alignment * PAGE)
        assert allocation.contiguous
        assert allocation.start % (alignment * PAGE) == 0
        ledger.take(allocation)
    elif what == "pieces":
        _pieces(vram, ledger, count, 1 << more % 3)
    else:
        _at(vram, ledger, what, count, more)


def _pieces(vram: VramAllocator, ledger: Ledger, count: int, alignment: int) -> None:
    try:
        allocation = vram.allocate_scattered(count * PAGE, alignment * PAGE)
    except OutOfVram:
        # Single pages are always good for something.
        assert alignment > 1 or count > len(ledger.free)
        return
    assert all(start % (alignment * PAGE) == 0 for start, _ in allocation.extents)
    assert all(size % (alignment * PAGE) == 0 for _, size in allocation.extents[:-1])
    assert allocation.size == count * PAGE
    ledger.take(allocation)


def _at(vram: VramAllocator, ledger: Ledger, what: str, count: int, page: int) -> None:
    wanted = range(page, page + count)
    if page + count > ledger.pages:
        with pytest.raises(BadAddress):
            vram.allocate_at(page * PAGE, count * PAGE)
    elif not set(wanted) <= ledger.free:
        with pytest.raises(RangeTaken):
            vram.allocate_at(page * PAGE, count * PAGE)
    elif what == "at":
        ledger.take(vram.allocate_at(page * PAGE, count * PAGE))
    elif count < 5:
        vram.reserve(Range(page * PAGE + 1, count * PAGE - 2))
        ledger.free -= set(wanted)


@given(st.integers(130, 200), _steps)
@settings(max_examples=150, deadline=None)
def test_vram_random_use_never_overlaps_and_joins_all_at_the_end(pages: int, steps: list[Step]) -> None:
    vram = VramAllocator(pages * PAGE)
    ledger = Ledger(pages, set(range(pages)))
    for step in steps:
        _step(vram, ledger, step)
        now = vram.statistics()
        assert now.free == vram.free_bytes == len(ledger.free) * PAGE
        assert now.largest_free == ledger.longest() * PAGE
        assert now.allocations == len(ledger.live) == len(vram.live)
        assert now.used == sum(one.size for one in ledger.live)
    while ledger.live:
        vram.free(ledger.give(0))
    untouched = VramAllocator(pages * PAGE, reserved=vram.reserved)
    assert vram.statistics() == untouched.statistics()
    # Joined for good: the same blocks as in an allocator that was never used.
    assert blocks_of(vram) == blocks_of(untouched)


def blocks_of(allocator: RangeAllocator) -> list[list[int]]:
    return [sorted(free) for free in allocator._buddy._free]


# ---------------------------------------------------------------- bounded time


def test_vram_allocate_with_many_crumbs_looks_at_no_list_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    vram = VramAllocator(GIB)
    held = [vram.allocate(PAGE) for _ in range(20_000)]
    for one in held[::2]:
        vram.free(one)

    def scan(_: Buddy) -> object:
        raise AssertionError("looked at every free block")

    monkeypatch.setattr(Buddy, "runs", scan)
    for size in (PAGE, 3 * PAGE, 2 * MIB, 100 * MIB):
        vram.free(vram.allocate(size, PAGE))
    vram.free(vram.allocate_scattered(300 * MIB))
    for one in held[1::2]:
        vram.free(one)


# ---------------------------------------------------------------- shapes


def test_vram_of_an_mi350x_gives_all_but_the_reserved_ranges() -> None:
    size = 288 * GIB
    tmr = Range(size - GIB, 512 * MIB, "TMR")
    vram = VramAllocator(size, reserved=[discovery_range(size), tmr], where="0000:c1:00.0")
    now = vram.statistics()
    assert (now.total, now.reserved, now.free) == (size, 512 * MIB + 64 * 1024, size - 512 * MIB - 64 * 1024)
    assert now.largest_free == size - GIB
    everything = vram.allocate_scattered(now.free)
    assert vram.free_bytes == 0
    assert len(everything.extents) == 2
    assert sorted(everything.extents)[-1] == (size - 512 * MIB, 512 * MIB - 64 * 1024)
    assert str(everything) == f"allocation of {now.free:#x} bytes at 0x0 and 1 more"


def test_vram_contiguous_of_more_than_the_largest_block_takes_neighbours_together() -> None:
    vram = VramAllocator(288 * GIB)
    allocation = vram.allocate(270 * GIB, owner="weights")
    assert allocation.extents == ((0, 270 * GIB),)
    assert str(allocation) == f"weights of {270 * GIB:#x} bytes at 0x0"


def test_vram_pieces_come_largest_first_so_that_fragments_fit() -> None:
    vram = VramAllocator(16 * MIB)
    held = [vram.allocate_at(at * MIB, PAGE) for at in range(0, 16, 4)]
    pieces = vram.allocate_scattered(9 * MIB, owner="buffer")
    assert [size for _, size in pieces.extents] == sorted((size for _, size in pieces.extents), reverse=True)
    at = 0
    for start, size in pieces.extents:
        block = size & -size
        assert at % block == start % block == 0
        at += size
    for one in (*held, pieces):
        vram.free(one)
    assert vram.statistics().fragmentation == 0.0


def test_vram_statistics_of_crumbs_show_fragmentation() -> None:
    vram = VramAllocator(MIB)
    held = [vram.allocate(PAGE) for _ in range(256)]
    assert vram.statistics().fragmentation == 0.0  # nothing is free
    for one in held[::2]:
        vram.free(one)
    now = vram.statistics()
    assert (now.free, now.largest_free) == (512 * 1024, PAGE)
    assert now.fragmentation == pytest.approx(1 - 1 / 128)


def test_vram_owner_of_an_address_is_named() -> None:
    vram = VramAllocator(MIB, reserved=[Range(0, PAGE, "TMR")])
    ring = vram.allocate_at(8 * PAGE, 100, owner="ring")
    assert vram.owner_of(5) == "reserved 0x0..0x1000 (TMR)"
    assert vram.owner_of(8 * PAGE + 4095) == str(ring) == "ring of 0x1000 bytes at 0x8000"
    assert vram.owner_of(9 * PAGE) == "free"
    assert vram.owner_of(MIB) == "outside"


def test_va_default_space_starts_at_64_kib_and_ends_below_the_hole() -> None:
    addresses = VaAllocator()
    assert (addresses.start, addresses.end) == (VA_START, VA_END) == (1 << 16, 1 << 47)
    assert addresses.statistics().free == (1 << 47) - (1 << 16)
    first = addresses.allocate(PAGE)
    assert first.start >= VA_START
    large = addresses.allocate(300 * GIB, 2 * MIB)
    assert large.start % (2 * MIB) == 0
    fixed = addresses.allocate_at(1 << 45, GIB, owner="peer")
    assert fixed.start == 1 << 45
    for one in (first, large, fixed):
        addresses.free(one)
    assert addresses.statistics().largest_free == addresses.size


def test_sizes_are_rounded_to_pages() -> None:
    assert [pages_of(size) for size in (1, 4095, 4096, 4097)] == [1, 1, 1, 2]
    assert VramAllocator(MIB).allocate(5, 1).size == PAGE


@pytest.mark.parametrize(
    ("size", "expected"), [(PAGE, PAGE), (64 << 10, 64 << 10), (MIB, 64 << 10), (2 * MIB, 2 * MIB), (GIB, 2 * MIB)]
)
def test_good_alignment_allows_large_pages(size: int, expected: int) -> None:
    assert good_alignment(size) == expected


def test_merged_joins_what_touches_or_overlaps() -> None:
    assert merged([(8, 9), (0, 4), (2, 3), (4, 6)]) == (Range(0, 6), Range(8, 1))
    assert merged([]) == ()


# ---------------------------------------------------------------- errors


def _told(error: GpumendError) -> list[str]:
    return str(error).splitlines()


def test_vram_out_of_memory_says_what_is_left() -> None:
    vram = VramAllocator(MIB, reserved=[Range(0, PAGE, "TMR")], where="0000:c1:00.0")
    vram.allocate(512 << 10, owner="ring")
    with pytest.raises(OutOfVram) as caught:
        vram.allocate(600 << 10, 8192, owner="MQD")
    assert _told(caught.value) == [
        "allocating 0x96000 bytes of VRAM for MQD failed",
        "  expected  0x96000 bytes free in one run, aligned to 0x2000",
        "  seen      0x7f000 of 0x100000 bytes free, the largest run has 0x7f000; 1 allocations, 0x1000 bytes reserved",
        "  where     0000:c1:00.0",
        "  next      free buffers that are not needed, or ask for scattered memory",
    ]
    assert caught.value.exit_code is Exit.PROBLEM
    with pytest.raises(
        OutOfVram, match="0x80000 bytes of VRAM in pieces failed\n  expected  0x80000 bytes free aligned to"
    ):
        vram.allocate_scattered(512 << 10)
    assert vram.free_bytes == 0x7F000


def test_va_out_of_addresses_is_its_own_error() -> None:
    addresses = VaAllocator(0, MIB)
    addresses.allocate(MIB)
    with pytest.raises(OutOfAddresses, match=r"of GPU addresses failed[\s\S]*next      unmap and free"):
        addresses.allocate(PAGE)
    assert issubclass(OutOfAddresses, OutOfMemory)


Use = Callable[[VramAllocator], object]


@pytest.mark.parametrize(
    ("use", "error", "told"),
    [
        (lambda vram: vram.allocate(0), BadSize, "expected  a size from 1 to 0x100000 bytes\n  seen      0x0"),
        (lambda vram: vram.allocate(-5), BadSize, "seen      -0x5"),
        (lambda vram: vram.allocate(MIB + 1), BadSize, "seen      0x100001"),
        (lambda vram: vram.allocate_scattered(0), BadSize, "next      ask for a size that this space can have"),
        (lambda vram: vram.allocate_at(0, 0), BadSize, "seen      0x0"),
        (lambda vram: vram.reserve(Range(0, 0, "x")), BadSize, r"reserving VRAM 0x0\.\.0x0 \(x\) failed"),
        (
            lambda vram: vram.allocate(PAGE, 3000),
            BadAlignment,
            "expected  an alignment that is a power of two\n  seen      0xbb8",
        ),
        (lambda vram: vram.allocate(PAGE, 0), BadAlignment, "seen      0x0"),
        (lambda vram: vram.allocate_scattered(PAGE, -4096), BadAlignment, "seen      -0x1000"),
        (lambda vram: vram.allocate_at(100, PAGE), BadAlignment, "next      round the address down to a page"),
        (lambda vram: vram.allocate_at(MIB, PAGE), BadAddress, r"expected  a range within 0x0\.\.0x100000"),
        (lambda vram: vram.allocate_at(-PAGE, PAGE), BadAddress, r"seen      -0x1000\.\.0x0"),
        (lambda vram: vram.reserve(Range(MIB - PAGE, 2 * PAGE)), BadAddress, "next      ask for a range of this space"),
    ],
)
def test_bad_request_is_refused_and_changes_nothing(use: Use, error: type[GpumendError], told: str) -> None:
    vram = VramAllocator(MIB)
    with pytest.raises(error, match=told) as caught:
        use(vram)
    assert caught.value.exit_code is Exit.USAGE
    assert vram.statistics() == VramAllocator(MIB).statistics()


def test_alignment_beyond_the_space_finds_address_zero_once() -> None:
    vram = VramAllocator(MIB)
    assert vram.allocate(PAGE, 1 << 60).start == 0
    with pytest.raises(OutOfVram):
        vram.allocate(PAGE, 1 << 60)
    with pytest.raises(OutOfVram):
        vram.allocate_scattered(PAGE, 1 << 60)


def test_range_taken_names_its_owners() -> None:
    vram = VramAllocator(MIB, reserved=[Range(0, PAGE, "TMR")], where="gpu")
    rings = [vram.allocate_at(PAGE * (at + 1), PAGE, owner=f"ring{at}") for at in range(6)]
    with pytest.raises(RangeTaken) as caught:
        vram.allocate_at(0, 8 * PAGE, owner="table")
    assert _told(caught.value)[:3] == [
        "allocating 0x8000 bytes of VRAM at 0x0 for table refused",
        "  expected  0x0..0x8000 free",
        f"  seen      reserved 0x0..0x1000 (TMR); {rings[0]}; {rings[1]}; {rings[2]}; and 3 more",
    ]
    assert caught.value.exit_code is Exit.REFUSED
    with pytest.raises(RangeTaken, match=r"reserving VRAM 0x10\.\.0x20 refused"):
        vram.reserve(Range(0x10, 0x10))


def test_double_free_is_named_and_changes_nothing() -> None:
    vram = VramAllocator(MIB)
    one, two = vram.allocate(PAGE, owner="ring"), vram.allocate(PAGE)
    vram.free(one)
    with pytest.raises(DoubleFree) as caught:
        vram.free(one)
    assert _told(caught.value)[:3] == [
        "freeing ring of 0x1000 bytes at 0x0 failed",
        "  expected  an allocation that is still in use",
        "  seen      it was freed before (allocation 1 of 2)",
    ]
    # Nor when the same pages belong to somebody else by now.
    again = vram.allocate(PAGE)
    assert again.start == one.start
    with pytest.raises(DoubleFree):
        vram.free(one)
    assert vram.live == (two, again)


def test_foreign_free_is_named_and_changes_nothing() -> None:
    vram, other = VramAllocator(MIB, where="gpu 0"), VaAllocator(where="gpu 1")
    vram.allocate(PAGE)
    foreign = other.allocate(PAGE)
    with pytest.raises(
        ForeignFree,
        match=r"expected  an allocation of this VRAM allocator\n  seen      one of another GPU addresses allocator \(gpu 1\)",
    ):
        vram.free(foreign)
    assert len(vram.live) == len(other.live) == 1


@pytest.mark.parametrize(
    ("start", "size"), [(0, 0), (-PAGE, MIB), (0, 5000), (8, PAGE), (0, 1 << 49), (1 << 47, (1 << 47) + PAGE)]
)
def test_space_that_no_address_reaches_is_refused(start: int, size: int) -> None:
    with pytest.raises(
        BadSize, match="setting up the memory allocator failed\n  expected  start and size in whole pages"
    ):
        RangeAllocator(start, size)


# ---------------------------------------------------------------- memory of the host


@pytest.fixture
def transport() -> Transport:
    return open_models("mi300x", VirtualClock())[0]


def test_dma_memory_of_a_model_has_a_page_for_each_4_kib(transport: Transport) -> None:
    with DmaMemory(transport, 10_000, owner="IH ring") as memory:
        assert memory.size_bytes == 3 * PAGE
        assert memory.pages.shape == (3,)
        assert not (memory.pages % PAGE).any()
        memory.write(5000, b"hello")
        assert memory.read(4999, 7) == b"\0hello\0"


def test_dma_memory_after_close_is_refused(transport: Transport) -> None:
    memory = DmaMemory(transport, PAGE, owner="IH ring")
    memory.close()
    memory.close()
    with pytest.raises(Closed, match="reading host memory IH ring failed\n  expected  memory that is still open"):
        memory.read(0, 1)
    with pytest.raises(Closed, match="asking for the pages of host memory IH ring failed"):
        _ = memory.pages


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (PAGE, 1), (4090, 10), (0, -1)])
def test_dma_memory_read_outside_is_refused(transport: Transport, offset: int, size: int) -> None:
    memory = DmaMemory(transport, PAGE)
    with pytest.raises(BadAddress, match="reading host memory failed\n  expected  a range within its 0x1000 bytes"):
        memory.read(offset, size)
    with pytest.raises(BadAddress, match="writing host memory failed"):
        memory.write(PAGE - 1, b"xy")


@dataclass
class FakeBuffer:
    """A DMA buffer with the addresses that a test gives it."""

    size: int
    page_size: int
    bus_addr: tuple[int, ...]
    closed: int = 0

    def read(self, offset: int, size: int) -> bytes:
        return bytes(size)

    def write(self, offset: int, data: bytes) -> None:
        raise AssertionError("nobody writes to this one")

    def close(self) -> None:
        self.closed += 1


class FakeTransport:
    """Just enough of a transport for memory."""

    name = "fake"

    def __init__(self, buffer: FakeBuffer | None, can: Can = Can.DMA) -> None:
        self.buffer = buffer
        self.can = can

    def alloc_dma(self, size: int) -> DmaBuffer:
        assert self.buffer is not None
        return self.buffer


def fake(buffer: FakeBuffer | None, can: Can = Can.DMA) -> Transport:
    return FakeTransport(buffer, can)  # type: ignore[return-value]


def test_dma_memory_of_large_host_pages_is_cut_into_4_kib() -> None:
    buffer = FakeBuffer(128 << 10, 64 << 10, (0x10_0000, 0x50_0000))
    memory = DmaMemory(fake(buffer), 68 << 10)
    assert memory.pages.tolist() == [0x10_0000 + at * PAGE for at in range(16)] + [0x50_0000]


@pytest.mark.parametrize(
    ("page_size", "addresses", "told"),
    [
        (PAGE, (0x1000,), "seen      1 pages of 0x1000 bytes"),
        (PAGE, (0x1000, 0x2800), "one of them at 0x2800"),
        (PAGE, (0x1000, 1 << 48), "one of them at 0x1000000000000"),
        (64 << 10, ((1 << 48) - PAGE,), "one of them at 0xfffffffff000"),
        (512, (0x1000,) * 16, "seen      16 pages of 0x200 bytes"),
        (0, (0x1000, 0x2000), "seen      2 pages of 0x0 bytes"),
    ],
)
def test_dma_memory_with_bad_addresses_is_refused_and_given_back(
    page_size: int, addresses: tuple[int, ...], told: str
) -> None:
    buffer = FakeBuffer(8192, page_size, addresses)
    with pytest.raises(BadDmaAddress, match=re.escape(told)):
        DmaMemory(fake(buffer), 8192)
    assert buffer.closed == 1


def test_dma_memory_without_dma_names_the_way_out() -> None:
    with pytest.raises(NoDma) as caught:
        DmaMemory(fake(None, Can.MMIO), PAGE, owner="ring")
    assert _told(caught.value) == [
        "allocating 0x1000 bytes of host memory for ring failed",
        "  expected  a transport with memory that the device can reach",
        "  seen      fake can Can.MMIO",
        "  where     fake",
        "  next      bind the GPU to vfio-pci, or use a model: address",
    ]
    assert caught.value.exit_code is Exit.UNAVAILABLE


@pytest.mark.parametrize("size", [0, -1])
def test_dma_memory_of_no_size_is_refused(size: int) -> None:
    with pytest.raises(BadSize, match="expected  at least 1 byte"):
        DmaMemory(fake(None), size)


# ---------------------------------------------------------------- a BAR that shows only the first part of VRAM


@given(st.data())
def test_vram_with_a_small_bar_puts_what_the_cpu_touches_into_what_it_shows(data: st.DataObject) -> None:
    pages, shown = 256, data.draw(st.integers(1, 255))
    vram = VramAllocator(pages * PAGE, visible_bytes=shown * PAGE)
    ledger = Ledger(pages, set(range(pages)))
    for _ in range(data.draw(st.integers(1, 30))):
        freeing: bool = data.draw(st.booleans())
        if freeing and ledger.live:
            vram.free(ledger.give(data.draw(st.integers(0, 99))))
            continue
        count, cpu = data.draw(st.integers(1, 64)), data.draw(st.booleans())
        alignment = 1 << data.draw(st.integers(0, 5))
        fits = [
            start for start in range(0, pages - count + 1, alignment) if set(range(start, start + count)) <= ledger.free
        ]
        inside = [start for start in fits if start + count <= shown]
        outside = [start for start in fits if start >= shown]
        try:
            got = vram.allocate(count * PAGE, alignment * PAGE, cpu=cpu)
        except OutOfVram:
            assert not (inside if cpu else fits)
            continue
        assert got.start % (alignment * PAGE) == 0
        assert got.start + got.size <= shown * PAGE if cpu else got.start >= shown * PAGE or not outside
        ledger.take(got)
    assert vram.free_bytes == len(ledger.free) * PAGE


def test_vram_with_a_small_bar_scatters_what_no_run_holds() -> None:
    vram = VramAllocator(64 * PAGE, visible_bytes=32 * PAGE)
    kept = [vram.allocate_at(page * PAGE, PAGE) for page in range(1, 64, 2)]
    got = vram.allocate_scattered(20 * PAGE)
    assert sum(extent.size for extent in got.extents) == 20 * PAGE
    assert not {extent.start for extent in got.extents} & {one.start for one in kept}
