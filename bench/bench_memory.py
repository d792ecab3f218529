"""Map and unmap 1 GiB, against a peer's recorded times and against one vector write of as many entries.

The floor is one `bytearray` write of as many entries, made as a vector: of 4 KiB pages no code can be faster to map.
tinygrad 0.14.0, where it is installed for this interpreter, does the same work in the same run, taking turns with ours;
else its figures are those recorded earlier on a machine like this one. Compare ratios only."""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amdriver.memory import VaAllocator
from amdriver.pagetable import PageTables
from amdriver.pte import Where, pte_flags
from amdriver.vram import VramAllocator
from bench.harness import Row, duration

GIB = 1 << 30
PAGE = 4096
LARGE = 1 << 21
PAGES = GIB // PAGE
TABLES = 64 << 20  # VRAM that holds the tables
GPU_VA = 1 << 40
FLAGS = pte_flags("gfx942", Where.SYSTEM)
ROUNDS = 5

# us per page, recorded with tinygrad 0.14.0: from fastest to slowest of several runs.
RECORDED = {"scattered": (2.9, 4.5), "contiguous": (2.9, 4.5), "large": (3.1, 5.5), "unmap": (1.3, 2.1)}


class Tables:
    """Table memory without a GPU: a bytearray."""

    def __init__(self) -> None:
        self.data = bytearray(TABLES)

    def read(self, vram_offset: int, size: int) -> bytes:
        return bytes(self.data[vram_offset : vram_offset + size])

    def write(self, vram_offset: int, data: bytes) -> None:
        self.data[vram_offset : vram_offset + len(data)] = data


class Ours:
    """Page tables over that memory; the flush does nothing."""

    def __init__(self) -> None:
        self.tables = PageTables(Tables(), VramAllocator(TABLES), lambda ranges: None)

    def map_scattered(self, pages: NDArray[np.uint64]) -> None:
        self.tables.map(GPU_VA, pages, FLAGS)

    def map_contiguous(self) -> None:
        """Forced into 4 KiB entries."""
        self.tables.map(GPU_VA, [(GIB, GIB)], FLAGS, large=False)

    def map_large(self, ranges: list[tuple[int, int]]) -> None:
        self.tables.map(GPU_VA, ranges, FLAGS)

    def unmap(self) -> None:
        self.tables.unmap(GPU_VA, GIB)


def scattered_pages() -> NDArray[np.uint64]:
    """262,144 pages in no order; the same each time."""
    return np.random.default_rng(1).permutation(PAGES).astype(np.uint64) * np.uint64(PAGE) + np.uint64(GIB)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _floor(entries: int) -> Callable[[], None]:
    pages = scattered_pages()[:entries]
    target = bytearray(pages.nbytes)

    def write() -> None:
        target[:] = (pages | np.uint64(FLAGS | 1)).tobytes()

    return write


# ---------------------------------------------------------------- the peer, where it is at hand


class _PeerVram:
    """What its page-table entries are written to: plain memory, the fastest that it can have."""

    def __init__(self, size: int) -> None:
        self.data = memoryview(bytearray(size))

    def view(self, offset: int, size: int, fmt: str) -> memoryview:
        return self.data[offset : offset + size].cast("B").cast(fmt)  # type: ignore[call-overload,no-any-return,unused-ignore]

    def __setitem__(self, where: slice, data: bytes) -> None:
        self.data[where] = data


class Peer:
    """tinygrad's own page-table code for this chip over plain memory; nothing is flushed."""

    def __init__(self) -> None:
        am: Any = importlib.import_module("tinygrad.runtime.autogen.am.am")
        ip: Any = importlib.import_module("tinygrad.runtime.support.am.ip")
        amdev: Any = importlib.import_module("tinygrad.runtime.support.am.amdev")
        memory: Any = importlib.import_module("tinygrad.runtime.support.memory")
        gmc: Any = ip.AM_GMC.__new__(ip.AM_GMC)
        device = SimpleNamespace(
            vram=_PeerVram(TABLES),
            gmc=gmc,
            ip_ver={am.GC_HWIP: (9, 4, 3)},
            soc=SimpleNamespace(module=SimpleNamespace(MTYPE_UC=3)),
            paddr2xgmi=lambda address: address,
            xgmi2paddr=lambda address: address,
            smi_dev=False,
            is_booting=True,
            devfmt="bench",
        )
        gmc.adev, gmc.address_space_mask = device, (1 << 48) - 1
        device.mm = self.manager = memory.MemoryManager(
            device, TABLES, 1 << 20, amdev.AMPageTableEntry, va_bits=48, va_shifts=[12, 21, 30, 39], va_base=0,
            palloc_ranges=[(PAGE, PAGE)], first_lv=am.AMDGPU_VM_PDB2,
        )  # fmt: skip
        device.is_booting = False
        self.system = memory.AddrSpace.SYS

    def map(self, ranges: list[tuple[int, int]]) -> None:
        self.manager.map_range(GPU_VA, GIB, ranges, self.system, snooped=True)

    def unmap(self) -> None:
        self.manager.unmap_range(GPU_VA, GIB)


def peer_at_hand() -> bool:
    """Is tinygrad installed for this interpreter?"""
    return importlib.util.find_spec("tinygrad") is not None


# ---------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of mapping: ours, the peer's, and what the peer took when it was recorded."""

    name: str
    ours: Callable[[Ours], object]
    peer_ranges: list[tuple[int, int]]
    entries: int
    goal: float
    recorded_us: tuple[float, float]


def _works() -> list[Work]:
    pages = scattered_pages()
    each = [(int(page), PAGE) for page in pages]
    blocks = [(GIB + int(index) * LARGE, LARGE) for index in np.random.default_rng(2).permutation(GIB // LARGE)]
    in_order = [(GIB + index * PAGE, PAGE) for index in range(PAGES)]
    return [
        Work(
            "map 1 GiB, scattered 4 KiB", lambda ours: ours.map_scattered(pages), each, PAGES, 20, RECORDED["scattered"]
        ),
        Work("map 1 GiB, contiguous, 4 KiB entries", Ours.map_contiguous, in_order, PAGES, 80, RECORDED["contiguous"]),
        Work(
            "map 1 GiB, 512 scattered pages of 2 MiB",
            lambda ours: ours.map_large(blocks),
            blocks,
            GIB // LARGE,
            15,
            RECORDED["large"],
        ),
    ]


def _turn(do: Callable[[], object], undo: Callable[[], object], times: int) -> tuple[float, float]:
    """Seconds that doing and undoing take, the shortest of a few: what is short would else be measured cold."""
    gc.collect()
    taken = [(_timed(do), _timed(undo)) for _ in range(times)]
    return min(done for done, _ in taken), min(undone for _, undone in taken)


def _against_peer(ours_s: list[float], peer_s: list[float], entries: int, recorded_us: tuple[float, float]) -> str:
    """The ratio to the peer of this run, or to its recorded figures."""
    mine = statistics.median(ours_s)
    if peer_s:
        ratio = statistics.median(peer / ours for peer, ours in zip(peer_s, ours_s, strict=True))
        return f"tinygrad in this run {statistics.median(peer_s) / entries * 1e6:.2f} us/page: {ratio:.0f}x ours"
    low, high = (figure * entries * 1e-6 / mine for figure in recorded_us)
    return f"tinygrad recorded {recorded_us[0]}-{recorded_us[1]} us/page: {low:.0f}-{high:.0f}x ours"


def _rows(work: Work, peer: Peer | None) -> list[Row]:
    """Mapping, and unmapping what was mapped."""
    ours = Ours()
    floor = _floor(work.entries)
    times = 2 if work.entries == PAGES else 50
    mine: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    floors: list[float] = []
    for _ in range(ROUNDS):
        mine.append(_turn(lambda: work.ours(ours), ours.unmap, times))
        floors.append(_turn(floor, floor, times)[0])
        if peer is not None:
            theirs.append(_turn(lambda: peer.map(work.peer_ranges), peer.unmap, times))
    mapped, unmapped = [one for one, _ in mine], [one for _, one in mine]
    peer_mapped, peer_unmapped = [one for one, _ in theirs], [one for _, one in theirs]
    told = _against_peer(mapped, peer_mapped, work.entries, work.recorded_us)
    rows = [_row(work.name, mapped, floors, f">= {work.goal:g}x peer", told)]
    if work.entries == PAGES:
        told = _against_peer(unmapped, peer_unmapped, work.entries, RECORDED["unmap"])
        rows.append(_row(work.name.replace("map", "unmap", 1), unmapped, floors, ">= 20x peer", told))
    return rows


def _row(work: str, ours_s: list[float], floor_s: list[float], goal: str, peer: str) -> Row:
    ratio = statistics.median(a / b for a, b in zip(ours_s, floor_s, strict=True))
    return Row(work, statistics.median(ours_s), statistics.median(floor_s), ratio, goal, peer)


def _allocator_row() -> Row:
    vram = VramAllocator(288 * GIB)
    addresses = VaAllocator()

    def ours() -> None:
        vram.free(vram.allocate(LARGE, LARGE))
        addresses.free(addresses.allocate(LARGE, LARGE))

    return duration("allocate and free 2 MiB: VRAM and addresses", partial(_repeat, ours, 1000), goal="-", rounds=5)


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def rows() -> list[Row]:
    """Map and unmap in three shapes, and the allocators."""
    peer = Peer() if peer_at_hand() else None
    out: list[Row] = []
    for work in _works():
        out += _rows(work, peer)
    allocators = _allocator_row()
    return [*out, replace(allocators, work=f"{allocators.work}, 1000 times")]
