"""Memory hubs of a software GPU: page tables built here by hand from the documented bits, and everything that may fail."""

from __future__ import annotations

import errno
import os
import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpumodel import open_models, pciconfig
from gpumodel.device import ModelGpu, ModelTransport
from gpumodel.dispatch import HubMemory
from gpumodel.gmc import PageFault, hubs
from gpumodel.isa.memory import WaveMemory, Window
from gpumodel.memory import CHUNK, Mapped

MM = "MMHUB[0]"
FB = 0x80_0000_0000
GIB = 1 << 30
MIB = 1 << 20
# Bits of an entry: amdgpu_vm.h
VALID, SYSTEM, READ, WRITE = 1, 2, 0x20, 0x40
RW = VALID | READ | WRITE
LEAF, FURTHER, PARTIAL = 1 << 54, 1 << 56, 1 << 51
BLOCK_9 = 9 << 59
FOUR_LEVELS = 0x007F_FECD  # on, depth 2, block size 9, every fault told and sent to the default page
MEMBER_BYTES = 288 * GIB


def frag(log2: int) -> int:
    return log2 << 7


class Bench:
    """A GPU, and hands that write entries and hub registers."""

    def __init__(self, spec: str = "mi350x", at: int = 0) -> None:
        self.transports = open_models(spec)
        self.transport: ModelTransport = self.transports[at]
        self.gpu: ModelGpu = self.transport.gpu
        self.gmc = self.gpu.gmc
        self.vram = self.gpu.vram
        self.node = self.gpu.index * MEMBER_BYTES

    def entries(self, offset: int, *values: int) -> None:
        self.vram.write(offset, struct.pack(f"<{len(values)}Q", *values))

    def set(self, name: str, value: int, hub: str = MM) -> None:
        self.transport.write32(5, self.gpu.registers.layout.address(f"{hub}.{name}") * 4, value)

    def get(self, name: str, hub: str = MM) -> int:
        return self.transport.read32(5, self.gpu.registers.layout.address(f"{hub}.{name}") * 4)

    def context(self, vmid: int, root: int, control: int, last_page: int, hub: str = MM, first_page: int = 0) -> None:
        for what, value in (("BASE", root), ("START", first_page), ("END", last_page)):
            self.set(f"VM_CONTEXT{vmid}_PAGE_TABLE_{what}_ADDR_LO32", value & 0xFFFFFFFF, hub)
            self.set(f"VM_CONTEXT{vmid}_PAGE_TABLE_{what}_ADDR_HI32", value >> 32, hub)
        self.set(f"VM_CONTEXT{vmid}_CNTL", control, hub)

    def flush(self, vmid: int, hub: str = MM, engine: int = 17, request: int = 0x7C_0000) -> None:
        self.set(f"VM_INVALIDATE_ENG{engine}_REQ", request | 1 << vmid, hub)
        self.gpu.clock.sleep(1e-4)
        assert self.get(f"VM_INVALIDATE_ENG{engine}_ACK", hub) >> vmid & 1

    def status(self, hub: str = MM) -> dict[str, int]:
        value = self.get("VM_L2_PROTECTION_FAULT_STATUS", hub)
        return {
            "more": value & 1,
            "walker": value >> 1 & 7,
            "permissions": value >> 4 & 15,
            "mapping": value >> 8 & 1,
            "cid": value >> 9 & 0x1FF,
            "write": value >> 18 & 1,
            "vmid": value >> 20 & 15,
        }

    def fault_address(self, hub: str = MM) -> int:
        low = self.get("VM_L2_PROTECTION_FAULT_ADDR_LO32", hub)
        return (low | self.get("VM_L2_PROTECTION_FAULT_ADDR_HI32", hub) << 32) << 12


ROOT, PDB1, PDB0, PTB, DATA = 0x10_0000, 0x10_1000, 0x10_2000, 0x10_3000, 0x4000_0000
VA = 0x7F12_3456_7000  # root index 0xfe, then 72, 418, 359


def four_levels(bench: Bench, *, vmid: int = 8, hub: str = MM) -> None:
    """One page of 4 KiB at VA."""
    node = bench.node
    bench.entries(ROOT + 8 * (VA >> 39), node + PDB1 | VALID)
    bench.entries(PDB1 + 8 * (VA >> 30 & 511), node + PDB0 | VALID | BLOCK_9)
    bench.entries(PDB0 + 8 * (VA >> 21 & 511), node + PTB | VALID | FURTHER)
    bench.entries(PTB + 8 * (VA >> 12 & 511), node + DATA | RW)
    bench.context(vmid, node + ROOT | VALID, FOUR_LEVELS, (1 << 36) - 1, hub)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    four_levels(bench)
    return bench


# ---- walks


@pytest.mark.parametrize("hub", hubs())
@pytest.mark.parametrize("vmid", [1, 8, 15])
def test_walk_four_levels_in_every_hub_and_context(hub: str, vmid: int) -> None:
    bench = Bench()
    four_levels(bench, vmid=vmid, hub=hub)
    bench.gmc.write(hub, vmid, VA + 0x123, b"here")
    assert bench.vram.read(DATA + 0x123, 4) == b"here"
    assert bench.gmc.read(hub, vmid, VA + 0x122, 6) == b"\0here\0"


def test_walk_pdb0_entry_without_further_is_two_mib(bench: Bench) -> None:
    bench.entries(PDB0 + 8 * 3, 0x6000_0000 | RW)
    va = VA >> 30 << 30 | 3 << 21
    bench.gmc.write(MM, 8, va + 0x1F_FFF0, bytes(range(16)))
    assert bench.vram.read(0x601F_FFF0, 16) == bytes(range(16))


def test_walk_pdb1_entry_as_leaf_is_one_gib(bench: Bench) -> None:
    bench.entries(PDB1 + 8 * 5, 0x40_0000_0000 | RW | LEAF)
    va = VA >> 39 << 39 | 5 << 30
    bench.gmc.write(MM, 8, va + 0x3FFF_F000, b"end")
    assert bench.vram.read(0x40_3FFF_F000, 3) == b"end"


def test_walk_root_entry_as_leaf_is_half_a_tib() -> None:
    bench = Bench()
    bench.entries(ROOT + 8 * 2, RW | LEAF)
    bench.context(3, ROOT | VALID, FOUR_LEVELS, (1 << 36) - 1)
    bench.vram.write(0x1234_5678, b"deep")
    assert bench.gmc.read(MM, 3, (2 << 39) + 0x1234_5678, 4) == b"deep"


def test_walk_depth_three_and_block_size_zero_is_the_same_tree_without_further_bits() -> None:
    bench = Bench()
    bench.entries(ROOT + 8 * (VA >> 39), PDB1 | VALID)
    bench.entries(PDB1 + 8 * (VA >> 30 & 511), PDB0 | VALID)
    bench.entries(PDB0 + 8 * (VA >> 21 & 511), PTB | VALID)
    bench.entries(PTB + 8 * (VA >> 12 & 511), DATA | RW)
    bench.context(8, ROOT | VALID, 1 | 3 << 1, (1 << 36) - 1)
    bench.vram.write(DATA, b"same")
    assert bench.gmc.read(MM, 8, VA, 4) == b"same"


def test_walk_tables_in_system_memory(bench: Bench) -> None:
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    table = bench.transport.alloc_dma(4096)
    table.write(8 * 7, struct.pack("<Q", DATA | RW))
    bench.entries(PDB0 + 8 * 9, table.bus_addr[0] | VALID | SYSTEM | FURTHER)
    bench.vram.write(DATA, b"far table")
    assert bench.gmc.read(MM, 8, VA >> 30 << 30 | 9 << 21 | 7 << 12, 9) == b"far table"


def test_walk_flat_table_of_vmid_0_counts_from_its_start() -> None:
    bench = Bench()
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    pages = bench.transport.alloc_dma(0x3000)
    table = 0x20_0000
    bench.entries(table, *(bus | RW | SYSTEM for bus in reversed(pages.bus_addr)))
    kernel_vmid0(bench, table, 0x100, 0x102)
    pages.write(0x1FFC, b"flatpage")
    assert bench.gmc.read(MM, 0, 0x10_1FFC, 4) == b"flat"
    assert bench.gmc.read(MM, 0, 0x10_0000, 4) == b"page"
    assert bench.gmc.read(MM, 0, 0x10_0FFC, 8) == bytes(8)
    bench.gmc.write(MM, 0, 0x10_2000, b"first")
    assert pages.read(0, 5) == b"first"


def kernel_vmid0(bench: Bench, table: int, first_page: int, last_page: int, hub: str = MM) -> None:
    """VMID 0 as the kernel driver has it: a flat table for low addresses, VRAM through the FB aperture, AGP off."""
    bench.context(0, table | VALID, 1, last_page, hub, first_page)
    bench.set("MC_VM_AGP_BOT", 0xFFFFFF, hub)
    bench.set("MC_VM_AGP_TOP", 0, hub)
    bench.set("MC_VM_SYSTEM_APERTURE_LOW_ADDR", FB >> 18, hub)
    bench.set("MC_VM_SYSTEM_APERTURE_HIGH_ADDR", FB + len(bench.transports) * MEMBER_BYTES - 1 >> 18, hub)
    bench.set("MC_VM_MX_L1_TLB_CNTL", 1 | 3 << 3 | 1 << 6, hub)


def test_vmid_0_reaches_vram_through_the_fb_aperture_before_and_after_set_up() -> None:
    bench = Bench()
    bench.vram.write(0x1000, b"vram")
    assert bench.gmc.mc_read(FB + 0x1000, 4) == b"vram"  # as the PSP does it in a cold GPU
    kernel_vmid0(bench, 0x20_0000, 0, 0x1FF)
    assert bench.gmc.mc_read(FB + 0x1000, 4) == b"vram"
    bench.gmc.mc_write(FB + 0x2000, b"back")
    assert bench.vram.read(0x2000, 4) == b"back"


def test_vmid_0_agp_aperture_is_system_memory() -> None:
    bench = Bench()
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    memory = bench.transport.alloc_dma(4096)
    bench.set("MC_VM_AGP_BASE", memory.bus_addr[0] >> 24)
    bench.set("MC_VM_AGP_BOT", 0x2_0000)
    bench.set("MC_VM_AGP_TOP", 0x2_0FFF)
    bench.gmc.write(MM, 0, 0x200_0000_0000 + memory.bus_addr[0] % (16 * MIB) + 8, b"agp")
    assert memory.read(8, 3) == b"agp"


def test_vmid_0_address_of_nothing_is_a_mapping_error() -> None:
    bench = Bench()
    bench.set("MC_VM_AGP_BOT", 0xFFFFFF)
    bench.set("MC_VM_AGP_TOP", 0)
    with pytest.raises(PageFault, match="neither VRAM nor AGP"):
        bench.gmc.mc_read(0x1000, 4)
    assert bench.status()["mapping"] == 1
    with pytest.raises(PageFault, match="neither VRAM nor AGP"):
        bench.gmc.mc_write(FB + MEMBER_BYTES - 2, b"1234")
    assert bench.vram.read(MEMBER_BYTES - 2, 2) == b"12"


@pytest.mark.parametrize(("mode", "inside", "outside"), [(0, False, False), (1, True, True), (2, True, False)])
def test_vmid_0_access_modes_choose_what_the_table_translates(mode: int, inside: bool, outside: bool) -> None:
    bench = Bench()
    kernel_vmid0(bench, 0x20_0000, 0, 0)
    bench.set("MC_VM_MX_L1_TLB_CNTL", 1 | mode << 3)
    bench.set("MC_VM_SYSTEM_APERTURE_HIGH_ADDR", (FB + 0x3_FFFF) >> 18)
    for address, mapped in ((FB, inside), (FB + 0x4_0000, outside)):
        if mapped:
            with pytest.raises(PageFault, match="outside of the context's range"):
                bench.gmc.mc_read(address, 4)
        else:
            assert bench.gmc.mc_read(address, 4) == bytes(4)


# ---- fragments and merging


def test_fragment_that_fits_both_addresses_reads_right(bench: Bench) -> None:
    base = VA >> 21 << 21
    bench.entries(PTB, *((DATA + page * 4096) | RW | frag(9) for page in range(512)))
    data = random.Random(1).randbytes(2 * MIB)
    bench.vram.write(DATA, data)
    assert bench.gmc.read(MM, 8, base + 5, 2 * MIB - 5) == data[5:]


@pytest.mark.parametrize("first", [0, 1])
def test_fragment_that_does_not_fit_the_physical_address_reads_right(bench: Bench, first: int) -> None:
    """Whichever page was met first: tinygrad maps 1 MiB with fragment 8 to any page."""
    base = VA >> 21 << 21
    bench.entries(PTB, *((DATA + 0x1000 + page * 4096) | RW | frag(1) for page in range(2)))
    bench.vram.write(DATA, b"A" * 4096 + b"B" * 4096 + b"C" * 4096)
    bench.gmc.read(MM, 8, base + first * 4096, 16)
    assert bench.gmc.read(MM, 8, base, 0x2000) == b"B" * 4096 + b"C" * 4096


def test_fragment_over_pages_that_are_not_contiguous_follows_the_page_that_was_met(bench: Bench) -> None:
    bench.set("VM_L2_CNTL", 0x80602 | 3)
    base = VA >> 21 << 21
    bench.entries(PTB, DATA | RW | frag(1), (DATA + 0x5000) | RW | frag(1))
    bench.vram.write(DATA, b"A" * 4096 + b"B" * 4096)
    bench.vram.write(DATA + 0x4000, b"D" * 4096 + b"E" * 4096)
    bench.gmc.read(MM, 8, base, 16)
    assert bench.gmc.read(MM, 8, base, 0x2000) == b"A" * 4096 + b"B" * 4096
    bench.flush(8)
    bench.gmc.read(MM, 8, base + 0x1000, 16)
    assert bench.gmc.read(MM, 8, base, 0x2000) == b"D" * 4096 + b"E" * 4096
    bench.flush(8)
    bench.set("VM_L2_CNTL", 0x80602 & ~2 | 1)  # fragments off: each entry speaks for its page
    assert bench.gmc.read(MM, 8, base, 0x2000) == b"A" * 4096 + b"E" * 4096


def test_scattered_pages_are_put_together_in_order(bench: Bench) -> None:
    base = VA >> 21 << 21
    order = random.Random(3).sample(range(512), 512)
    bench.entries(PTB, *((DATA + page * 4096) | RW for page in order))
    data = random.Random(4).randbytes(2 * MIB - 300)
    bench.gmc.write(MM, 8, base + 100, data)
    for place, page in enumerate(order):
        piece = data[max(0, place * 4096 - 100) : (place + 1) * 4096 - 100]
        assert bench.vram.read(DATA + page * 4096 + (100 if place == 0 else 0), len(piece)) == piece
    assert bench.gmc.read(MM, 8, base + 100, len(data)) == data


def test_contiguous_16_mib_is_one_piece_of_memory(bench: Bench) -> None:
    bench.entries(PDB0, *((DATA + block * 2 * MIB) | RW | frag(9) for block in range(8)))
    pieces = list(bench.gmc._pieces(MM, 8, VA >> 30 << 30, 16 * MIB, False, 0))
    assert [(place.address, size) for place, size in pieces] == [(DATA, 16 * MIB)]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_tables_agree_with_a_plain_dictionary(data: st.DataObject) -> None:
    bench = Bench()
    four_levels(bench)
    base = VA >> 21 << 21
    pages = data.draw(st.dictionaries(st.integers(0, 40), st.integers(0, 60), max_size=30))
    for page, frame in pages.items():
        bench.entries(PTB + 8 * page, (DATA + frame * 4096) | RW)
    for frame in set(pages.values()):
        bench.vram.write(DATA + frame * 4096, bytes((frame + 1,)) * 4096)
    bench.entries(PTB + 8 * (VA >> 12 & 511), 0)
    for _ in range(4):
        start = data.draw(st.integers(0, 40 * 4096))
        size = data.draw(st.integers(1, 5 * 4096))
        touched = range(start >> 12, (start + size - 1 >> 12) + 1)
        missing = [page for page in touched if page not in pages]
        if missing:
            with pytest.raises(PageFault) as caught:
                bench.gmc.read(MM, 8, base + start, size)
            assert caught.value.address >> 12 == (base >> 12) + missing[0]
            continue
        whole = b"".join(bytes((pages[page] + 1,)) * 4096 for page in touched)
        assert bench.gmc.read(MM, 8, base + start, size) == whole[start % 4096 :][:size]


# ---- what is remembered


def test_tlb_change_without_flush_is_not_seen_and_with_flush_is(bench: Bench) -> None:
    bench.vram.write(DATA, b"old")
    bench.vram.write(0x5000_0000, b"new")
    assert bench.gmc.read(MM, 8, VA, 3) == b"old"
    bench.entries(PTB + 8 * (VA >> 12 & 511), 0x5000_0000 | RW)
    assert bench.gmc.read(MM, 8, VA, 3) == b"old"
    bench.flush(8)
    assert bench.gmc.read(MM, 8, VA, 3) == b"new"


def test_tlb_unmapped_page_stays_reachable_until_the_flush(bench: Bench) -> None:
    bench.gmc.write(MM, 8, VA, b"one")
    bench.entries(PTB + 8 * (VA >> 12 & 511), 0)
    bench.gmc.write(MM, 8, VA, b"two")
    bench.flush(8)
    with pytest.raises(PageFault, match="the page is not valid"):
        bench.gmc.write(MM, 8, VA, b"three")
    assert bench.vram.read(DATA, 5) == b"two\0\0"


def test_tlb_page_that_was_not_valid_is_looked_up_again(bench: Bench) -> None:
    place = PTB + 8 * (VA >> 12 & 511)
    bench.entries(place, 0)
    with pytest.raises(PageFault):
        bench.gmc.read(MM, 8, VA, 1)
    bench.entries(place, DATA | RW)
    assert bench.gmc.read(MM, 8, VA, 1) == b"\0"


def test_tlb_flush_is_of_one_hub_and_one_vmid(bench: Bench) -> None:
    four_levels(bench, vmid=9)
    four_levels(bench, hub="GC[3]")
    bench.vram.write(0x5000_0000, b"new")
    readers = [(MM, 8), (MM, 9), ("GC[3]", 8)]
    for hub, vmid in readers:
        bench.gmc.read(hub, vmid, VA, 3)
    bench.entries(PTB + 8 * (VA >> 12 & 511), 0x5000_0000 | RW)
    bench.flush(8)
    assert [bench.gmc.read(hub, vmid, VA, 3) for hub, vmid in readers] == [b"new", bytes(3), bytes(3)]
    bench.flush(9, engine=0)
    bench.flush(8, hub="GC[3]", engine=4)
    assert [bench.gmc.read(hub, vmid, VA, 3) for hub, vmid in readers] == [b"new"] * 3


def test_tlb_table_base_of_another_process_needs_a_flush_too(bench: Bench) -> None:
    bench.gmc.read(MM, 8, VA, 1)
    bench.context(8, 0x70_0000 | VALID, FOUR_LEVELS, (1 << 36) - 1)
    assert bench.gmc.read(MM, 8, VA, 1) == b"\0"
    bench.flush(8)
    with pytest.raises(PageFault, match="directory level 2"):
        bench.gmc.read(MM, 8, VA, 1)


def test_flush_takes_a_moment_and_the_acknowledgement_of_the_last_one_goes_first(bench: Bench) -> None:
    bench.flush(8)
    bench.flush(3)
    assert bench.get("VM_INVALIDATE_ENG17_ACK") == 1 << 8 | 1 << 3
    bench.set("VM_INVALIDATE_ENG17_REQ", 0x7C_0100)
    assert bench.get("VM_INVALIDATE_ENG17_ACK") == 1 << 3
    bench.gpu.clock.sleep(1e-5)
    assert bench.get("VM_INVALIDATE_ENG17_ACK") == 1 << 8 | 1 << 3
    assert bench.gmc.flushes == 3


def test_flush_of_half_the_caches_is_acknowledged_recorded_and_not_enough(bench: Bench) -> None:
    bench.gmc.read(MM, 8, VA, 1)
    bench.entries(PTB + 8 * (VA >> 12 & 511), 0)
    bench.flush(8, request=1 << 18)
    assert bench.gmc.read(MM, 8, VA, 1) == b"\0"
    assert bench.gpu.wrongs == [f"gmc: {MM}: flush 0x40100 leaves some of the caches as they are"]


def test_flush_without_acknowledgement_when_that_is_the_fault() -> None:
    bench = Bench("mi350x?fault=tlb-ack-missing")
    bench.set("VM_INVALIDATE_ENG17_REQ", 0x7C_0001)
    bench.gpu.clock.sleep(10.0)
    assert bench.get("VM_INVALIDATE_ENG17_ACK") == 0


def test_semaphore_belongs_to_the_first_reader_until_it_is_given_back(bench: Bench) -> None:
    assert [bench.get("VM_INVALIDATE_ENG5_SEM") for _ in range(2)] == [1, 0]
    assert bench.get("VM_INVALIDATE_ENG6_SEM") == 1
    bench.set("VM_INVALIDATE_ENG5_SEM", 0)
    assert bench.get("VM_INVALIDATE_ENG5_SEM") == 1


# ---- faults


@pytest.mark.parametrize(
    ("what", "write", "why", "expected"),
    [
        ("page", False, "the page is not valid", {"walker": 0, "permissions": 3}),
        ("page", True, "the page is not valid", {"walker": 0, "permissions": 5}),
        ("pdb0", False, "the page is not valid", {"walker": 0, "permissions": 3}),
        ("pdb1", False, "the entry of directory level 1 is not valid", {"walker": 1, "permissions": 3}),
        ("root", True, "the entry of directory level 2 is not valid", {"walker": 1, "permissions": 5}),
        ("read only", True, "the page is not writable", {"walker": 0, "permissions": 4}),
        ("write only", False, "the page is not readable", {"walker": 0, "permissions": 2}),
        ("range", False, "outside of the context's range", {"walker": 1, "permissions": 1}),
        ("base", False, "the context has no page table", {"walker": 1, "permissions": 3}),
        ("off", False, "context 8 is off", {"walker": 1, "permissions": 1}),
    ],
)
def test_fault_is_latched_with_its_cause(
    bench: Bench, what: str, write: bool, why: str, expected: dict[str, int]
) -> None:
    broken = {
        "page": (PTB + 8 * (VA >> 12 & 511), 0),
        "pdb0": (PDB0 + 8 * (VA >> 21 & 511), 0),
        "pdb1": (PDB1 + 8 * (VA >> 30 & 511), 0),
        "root": (ROOT + 8 * (VA >> 39), 0),
        "read only": (PTB + 8 * (VA >> 12 & 511), DATA | VALID | READ),
        "write only": (PTB + 8 * (VA >> 12 & 511), DATA | VALID | WRITE),
    }
    if what in broken:
        bench.entries(*broken[what])
    elif what == "range":
        bench.context(8, ROOT | VALID, FOUR_LEVELS, (VA >> 12) - 1)
    elif what == "base":
        bench.context(8, ROOT, FOUR_LEVELS, (1 << 36) - 1)
    else:
        bench.context(8, ROOT | VALID, FOUR_LEVELS & ~1, (1 << 36) - 1)
    with pytest.raises(PageFault, match=f"VMID 8 {'write' if write else 'read'} of {VA:#x}: {why}"):
        if write:
            bench.gmc.write(MM, 8, VA, b"x", client=0x155)
        else:
            bench.gmc.read(MM, 8, VA, 1, client=0x155)
    assert bench.status() == {"more": 0, "mapping": 0, "cid": 0x155, "write": int(write), "vmid": 8, **expected}
    assert bench.fault_address() == VA
    assert bench.vram.read(DATA, 1) == b"\0"


def test_fault_in_the_middle_leaves_what_came_before(bench: Bench) -> None:
    with pytest.raises(PageFault) as caught:
        bench.gmc.write(MM, 8, VA + 0xFF0, bytes(range(1, 33)))
    assert caught.value.address == VA + 0x1000
    assert bench.fault_address() == VA + 0x1000
    assert bench.vram.read(DATA + 0xFF0, 16) == bytes(range(1, 17))


def test_fault_first_one_stays_until_it_is_cleared(bench: Bench) -> None:
    for address in (0x1000, 0x2000):
        with pytest.raises(PageFault):
            bench.gmc.read(MM, 8, address, 1)
    assert bench.fault_address() == 0x1000
    assert bench.status()["more"] == 1
    control = bench.get("VM_L2_PROTECTION_FAULT_CNTL")
    bench.set("VM_L2_PROTECTION_FAULT_CNTL", control | 1)
    assert bench.get("VM_L2_PROTECTION_FAULT_STATUS") == bench.fault_address() == 0
    bench.set("VM_L2_PROTECTION_FAULT_CNTL", control & ~1)
    with pytest.raises(PageFault):
        bench.gmc.read(MM, 8, 0x3000, 1)
    assert (bench.fault_address(), bench.status()["more"]) == (0x3000, 0)


def test_fault_later_ones_replace_it_when_the_driver_wants_that(bench: Bench) -> None:
    bench.set("VM_L2_PROTECTION_FAULT_CNTL", 2)
    for address in (0x1000, 0x2000):
        with pytest.raises(PageFault):
            bench.gmc.read(MM, 8, address, 1)
    assert (bench.fault_address(), bench.status()["more"]) == (0x2000, 1)


def test_fault_flush_request_may_clear_the_status(bench: Bench) -> None:
    with pytest.raises(PageFault):
        bench.gmc.read(MM, 8, 0x1000, 1)
    bench.flush(8, request=0x7C_0000 | 1 << 23)
    assert bench.get("VM_L2_PROTECTION_FAULT_STATUS") == 0


@pytest.mark.parametrize(
    ("hub", "client", "node"),
    [(MM, 0x12, 0), ("MMHUB[2]", 0x12, 8), ("GC[0]", 0x1B, 1), ("GC[1]", 0x1B, 2), ("GC[6]", 0x1B, 13)],
)
@pytest.mark.parametrize("write", [False, True])
def test_fault_interrupt_names_hub_page_and_direction(hub: str, client: int, node: int, write: bool) -> None:
    bench = Bench()
    four_levels(bench, hub=hub)
    sent: list[tuple[tuple[int, ...], dict[str, object]]] = []
    bench.gpu.ih.send = lambda *args, **kwargs: sent.append((args, kwargs))  # type: ignore[method-assign]
    with pytest.raises(PageFault):
        if write:
            bench.gmc.write(hub, 8, VA + 0x1234, b"x")
        else:
            bench.gmc.read(hub, 8, VA + 0x1234, 1)
    page = VA + 0x1000 >> 12
    context = (page & 0xFFFFFFFF, page >> 32 | (0x20 if write else 0x40), 0, 0)
    permissions = 8 | (0x20 if write else 0x10)  # kfd_int_process_v9.c
    assert sent == [((client, 0), {"ring_id": permissions, "vmid": 8, "node": node, "context": context})]


def test_fault_interrupt_only_when_the_context_asks_for_it(bench: Bench) -> None:
    sent: list[int] = []
    bench.gpu.ih.send = lambda client, *args, **kwargs: sent.append(client)  # type: ignore[method-assign]
    bench.context(8, ROOT | VALID, FOUR_LEVELS & ~(1 << 15), (1 << 36) - 1)
    with pytest.raises(PageFault, match="the page is not valid"):
        bench.gmc.read(MM, 8, VA + 0x1000, 1)
    assert sent == []
    with pytest.raises(PageFault, match="directory level 2"):
        bench.gmc.read(MM, 8, 0, 1)
    assert sent == [0x12]


def test_partly_resident_page_reads_zeros_and_loses_writes(bench: Bench) -> None:
    bench.entries(PTB + 8 * (VA >> 12 & 511), PARTIAL)
    bench.gmc.write(MM, 8, VA, b"gone")
    assert bench.gmc.read(MM, 8, VA, 4) == bytes(4)
    assert bench.get("VM_L2_PROTECTION_FAULT_STATUS") == 0


def test_lost_device_reads_and_writes_nothing(bench: Bench) -> None:
    bench.gpu.lost = True
    with pytest.raises(PageFault, match="the device is gone"):
        bench.gmc.read(MM, 8, VA, 1)
    with pytest.raises(PageFault, match="the device is gone"):
        bench.gmc.mc_write(FB, b"x")
    assert bench.gpu.registers.get(f"{MM}.VM_L2_PROTECTION_FAULT_STATUS") == 0


# ---- system memory


def system_page(bench: Bench, bus_addr: int) -> None:
    bench.entries(PTB + 8 * (VA >> 12 & 511), bus_addr | RW | SYSTEM)


def test_system_memory_is_reached_only_while_bus_master_is_on(bench: Bench) -> None:
    memory = bench.transport.alloc_dma(4096)
    memory.write(0, b"host")
    system_page(bench, memory.bus_addr[0])
    assert bench.gmc.read(MM, 8, VA, 4) == b"\xff" * 4
    bench.gmc.write(MM, 8, VA, b"lost")
    assert memory.read(0, 4) == b"host"
    assert bench.gpu.registers.get("NBIO[0].BIF_BX_PF0_BIF_BME_STATUS") == 1
    assert f"gmc: write of bus address {memory.bus_addr[0]:#x} while bus master is off" in bench.gpu.wrongs
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    bench.gmc.write(MM, 8, VA, b"kept")
    assert bench.gmc.read(MM, 8, VA, 4) == memory.read(0, 4) == b"kept"


def test_system_memory_that_was_freed_reads_ones_and_is_recorded(bench: Bench) -> None:
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    memory = bench.transport.alloc_dma(4096)
    system_page(bench, memory.bus_addr[0])
    memory.close()
    assert bench.gmc.read(MM, 8, VA, 4) == b"\xff" * 4
    bench.gmc.write(MM, 8, VA, b"x")
    bus = f"{memory.bus_addr[0]:#x}"
    assert bench.gpu.wrongs == [
        f"gmc: nobody answers a read of bus address {bus}, 4 bytes",
        f"gmc: nobody takes a write to bus address {bus}, 1 bytes",
    ]


def test_bus_address_of_another_gpus_bar_is_its_vram() -> None:
    bench = Bench("mi350x*2")
    four_levels(bench)
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    peer = bench.transports[1]
    system_page(bench, peer.bars()[0].address + 0x5000)
    bench.gmc.write(MM, 8, VA + 4, b"over the bus")
    assert peer.read_block(0, 0x5004, 12) == b"over the bus"
    peer.config_write(pciconfig.COMMAND, 2, 0)  # its BARs are off
    assert bench.gmc.read(MM, 8, VA, 4) == b"\xff" * 4


def test_address_beyond_all_memory_reads_ones_and_is_recorded(bench: Bench) -> None:
    bench.entries(PTB + 8 * (VA >> 12 & 511), MEMBER_BYTES | RW)
    assert bench.gmc.read(MM, 8, VA, 4) == b"\xff" * 4
    bench.gmc.write(MM, 8, VA, b"x")
    assert bench.gpu.wrongs[0] == f"gmc: no memory at {MEMBER_BYTES:#x}, 4 bytes, in a hive of 1"


# ---- peers


@pytest.mark.parametrize(("me", "peer"), [(0, 7), (3, 4), (7, 0)])
def test_peer_by_page_table_and_by_fb_aperture(me: int, peer: int) -> None:
    bench = Bench("mi350x*8", me)
    four_levels(bench)
    bench.entries(PTB + 8 * (VA >> 12 & 511), peer * MEMBER_BYTES + 0x9000 | RW)
    bench.gmc.write(MM, 8, VA, b"xgmi")
    other = bench.transports[peer].gpu
    assert other.vram.read(0x9000, 4) == b"xgmi"
    assert bench.vram.read(0x9000, 4) == bytes(4)
    assert bench.gmc.mc_read(FB + peer * MEMBER_BYTES + 0x9000, 4) == b"xgmi"
    assert other.gmc.mc_read(FB + peer * MEMBER_BYTES + 0x9000, 4) == b"xgmi"


def test_range_over_two_members_is_split() -> None:
    bench = Bench("mi350x*2")
    bench.gmc.mc_write(FB + MEMBER_BYTES - 3, b"abcdef")
    assert bench.vram.read(MEMBER_BYTES - 3, 3) == b"abc"
    assert bench.transports[1].gpu.vram.read(0, 3) == b"def"


@pytest.mark.parametrize("how", ["link", "lost"])
def test_peer_out_of_reach_reads_ones_and_is_recorded(how: str) -> None:
    bench = Bench("mi350x*4?fault=xgmi-link-down:1@0" if how == "link" else "mi350x*4?fault=bus-lost@2")
    assert bench.gmc.mc_read(FB + 2 * MEMBER_BYTES, 4) == b"\xff" * 4
    bench.gmc.mc_write(FB + 2 * MEMBER_BYTES, b"x")
    assert bench.transports[2].gpu.vram.read(0, 1) == b"\0"
    assert bench.gpu.wrongs == ["gmc: no way to GPU 2 over XGMI"] * 2
    assert bench.gmc.mc_read(FB + 3 * MEMBER_BYTES, 4) == bytes(4)


def test_wrongs_are_bounded() -> None:
    bench = Bench()
    for number in range(300):
        bench.gpu.wrong("test", str(number))
    assert len(bench.gpu.wrongs) == 256
    assert bench.gpu.wrongs[-1] == "test: 255"


# ---- memory that is mapped


def through(place: Mapped, address: int, data: bytes) -> None:
    os.pwrite(place.fd, data, place.offset + address - place.first)


def two_mib(bench: Bench, physical: int, flags: int = RW) -> int:
    """An address with 2 MiB of memory from `physical` on."""
    bench.entries(PDB0 + 8 * 3, bench.node + physical | flags)
    return VA >> 30 << 30 | 3 << 21


def test_mapped_page_is_the_memory_that_reads_and_writes_reach(bench: Bench) -> None:
    bench.vram.write(DATA, b"here")
    place = bench.gmc.mapped(MM, 8, VA + 0x123, False)
    assert place is not None
    assert (place.first, place.end, place.offset, place.writable, place.own) == (VA, VA + 4096, DATA, True, True)
    through(place, VA + 8, b"there")
    assert bench.gmc.read(MM, 8, VA, 13) == b"here\0\0\0\0there"


@pytest.mark.parametrize("physical", [0x6000_0000, 0x600F_F000, 0x601F_F000])
@pytest.mark.parametrize("at", [0, 0x1000, 0xFF000, 0x10_0000, 0x1F_FFFF])
def test_mapped_goes_as_far_as_one_translation_and_one_chunk(bench: Bench, physical: int, at: int) -> None:
    va = two_mib(bench, physical)
    bench.gmc.write(MM, 8, va, b"\1" * (2 * MIB))
    place = bench.gmc.mapped(MM, 8, va + at, True)
    assert place is not None
    assert va <= place.first <= va + at < place.end <= va + 2 * MIB
    assert place.offset == physical + place.first - va
    assert place.offset // CHUNK == (place.offset + place.end - place.first - 1) // CHUNK
    whole = {va: physical, va + 2 * MIB: physical + 2 * MIB}
    assert place.first in whole or place.offset % CHUNK == 0
    assert place.end in whole or (place.offset + place.end - place.first) % CHUNK == 0


def test_mapped_for_writing_faults_where_a_page_can_only_be_read(bench: Bench) -> None:
    bench.entries(PTB + 8 * (VA >> 12 & 511), DATA | VALID | READ)
    bench.vram.write(DATA, b"read")
    place = bench.gmc.mapped(MM, 8, VA, False)
    assert place is not None
    assert not place.writable
    with pytest.raises(PageFault):
        bench.gmc.mapped(MM, 8, VA, True)
    assert bench.status()["write"] == 1


def test_mapped_page_that_is_not_valid_faults(bench: Bench) -> None:
    with pytest.raises(PageFault):
        bench.gmc.mapped(MM, 8, VA + 0x1000, False)
    assert bench.fault_address() == VA + 0x1000


def test_memory_of_the_system_and_of_nothing_is_not_mapped(bench: Bench) -> None:
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    page = bench.transport.alloc_dma(4096)
    where = PTB + 8 * (VA >> 12 & 511)
    bench.entries(where, page.bus_addr[0] | RW | SYSTEM)
    assert bench.gmc.mapped(MM, 8, VA, True) is None
    bench.entries(where, PARTIAL)
    bench.flush(8)
    assert bench.gmc.mapped(MM, 8, VA, True) is None
    assert bench.gmc.mapped(MM, 0, FB + 0x1000, True) is None


def test_mapped_memory_that_nobody_wrote_is_not_filled_by_a_look(bench: Bench) -> None:
    assert bench.gmc.mapped(MM, 8, VA, False) is None
    used = bench.vram.used()
    place = bench.gmc.mapped(MM, 8, VA, True)
    assert place is not None
    through(place, VA, b"new")
    assert bench.vram.read(DATA, 3) == b"new"
    assert bench.vram.used() > used


def test_mapped_memory_of_a_peer_is_not_own() -> None:
    bench = Bench("mi350x*2")
    four_levels(bench)
    bench.entries(PTB + 8 * (VA >> 12 & 511), MEMBER_BYTES + 0x9000 | RW)
    place = bench.gmc.mapped(MM, 8, VA, True)
    assert place is not None
    assert not place.own
    through(place, VA, b"xgmi")
    assert bench.transports[1].gpu.vram.read(0x9000, 4) == b"xgmi"


def test_mapped_memory_of_a_peer_out_of_reach_is_none() -> None:
    bench = Bench("mi350x*4?fault=xgmi-link-down:1@0")
    four_levels(bench)
    bench.entries(PTB + 8 * (VA >> 12 & 511), 2 * MEMBER_BYTES + 0x9000 | RW)
    assert bench.gmc.mapped(MM, 8, VA, True) is None


@pytest.mark.parametrize("how", ["flush", "lost", "power"])
def test_what_is_remembered_goes_with_the_translations(bench: Bench, how: str) -> None:
    bench.gmc.read(MM, 8, VA, 4)
    bench.gmc.remembered(MM, 8)[1] = "a window"
    bench.gmc.remembered(MM, 9)[1] = "of another process"
    assert bench.gmc.remembered(MM, 8) == {1: "a window"}
    if how == "flush":
        bench.flush(8)
        assert bench.gmc.remembered(MM, 9)
    elif how == "lost":
        bench.gpu.lost = True
    else:
        bench.gmc.power_on()
    assert bench.gmc.remembered(MM, 8) == {}


# ---- waves


def waves_memory(bench: Bench) -> WaveMemory:
    return WaveMemory(HubMemory(bench.gpu, MM, 8, 0))


def addresses(*values: int) -> NDArray[np.uint64]:
    return np.array(values, np.uint64)


def test_waves_write_to_the_memory_itself_and_the_next_dispatch_knows_where_it_is(bench: Bench) -> None:
    memory = waves_memory(bench)
    memory.store(addresses(VA + 4, VA + 8), [np.array([5, 6], np.uint32)])
    assert bench.vram.read(DATA, 12) == struct.pack("<3I", 0, 5, 6)
    memory.flush()
    bench.vram.write(DATA, struct.pack("<I", 7))
    again = waves_memory(bench)
    assert again.windows
    assert again.load(addresses(VA, VA + 4), 1)[0].tolist() == [7, 5]


def test_waves_follow_a_page_that_has_moved_after_the_flush(bench: Bench) -> None:
    memory = waves_memory(bench)
    memory.store(addresses(VA), [np.array([1], np.uint32)])
    memory.flush()
    bench.entries(PTB + 8 * (VA >> 12 & 511), DATA + 0x1000 | RW)
    bench.vram.write(DATA + 0x1000, struct.pack("<I", 2))
    assert waves_memory(bench).load(addresses(VA), 1)[0].tolist() == [1]  # as any other engine: the TLB still has it
    bench.flush(8)
    assert waves_memory(bench).load(addresses(VA), 1)[0].tolist() == [2]


def test_waves_copy_memory_of_the_system_and_forget_the_copy(bench: Bench) -> None:
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    page = bench.transport.alloc_dma(4096)
    bench.entries(PTB + 8 * ((VA >> 12 & 511) + 1), page.bus_addr[0] | RW | SYSTEM)
    page.write(0, struct.pack("<I", 3))
    memory = waves_memory(bench)
    assert memory.load(addresses(VA + 0x1000), 1)[0].tolist() == [3]
    memory.store(addresses(VA, VA + 0x1008), [np.array([8, 9], np.uint32)])
    assert page.read(8, 4) == bytes(4)
    memory.flush()
    assert page.read(0, 12) == struct.pack("<3I", 3, 0, 9)
    page.write(0, struct.pack("<I", 4))
    assert waves_memory(bench).load(addresses(VA + 0x1000, VA), 1)[0].tolist() == [4, 8]


def test_waves_keep_what_they_have_when_the_translations_go_meanwhile(bench: Bench) -> None:
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    page = bench.transport.alloc_dma(4096)
    bench.entries(PTB + 8 * ((VA >> 12 & 511) + 1), page.bus_addr[0] | RW | SYSTEM)
    memory = waves_memory(bench)
    memory.store(addresses(VA, VA + 0x1008), [np.array([8, 9], np.uint32)])
    bench.gmc.invalidate(MM, 1 << 8)
    assert memory.load(addresses(VA, VA + 0x1008), 1)[0].tolist() == [8, 9]
    memory.flush()
    assert page.read(8, 4) == struct.pack("<I", 9)
    assert not waves_memory(bench).windows


def test_waves_keep_nothing_when_memory_takes_no_more(bench: Bench) -> None:
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    page = bench.transport.alloc_dma(4096)
    bench.entries(PTB + 8 * (VA >> 12 & 511), page.bus_addr[0] | RW | SYSTEM)
    memory = waves_memory(bench)
    memory.store(addresses(VA), [np.array([8], np.uint32)])
    bench.gpu.lost = True
    with pytest.raises(PageFault):
        memory.flush()
    assert not memory.windows


def test_waves_ask_for_memory_of_a_peer_each_time() -> None:
    bench = Bench("mi350x*2")
    four_levels(bench)
    bench.entries(PTB + 8 * (VA >> 12 & 511), MEMBER_BYTES + 0x9000 | RW)
    memory = waves_memory(bench)
    memory.store(addresses(VA), [np.array([1], np.uint32)])
    memory.flush()
    assert not waves_memory(bench).windows
    assert bench.transports[1].gpu.vram.read(0x9000, 4) == struct.pack("<I", 1)


def test_waves_copy_where_no_more_maps_are_to_be_had(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOMEM, "no")

    monkeypatch.setattr(Window, "overlay", full)
    memory = waves_memory(bench)
    memory.store(addresses(VA), [np.array([1], np.uint32)])
    assert bench.vram.read(DATA, 4) == bytes(4)
    memory.flush()
    assert bench.vram.read(DATA, 4) == struct.pack("<I", 1)


def test_look_ahead_tells_nobody_of_a_fault(bench: Bench) -> None:
    assert bench.gmc.there(MM, 8, VA + 0xFFF)
    assert not bench.gmc.there(MM, 8, VA + 0x1000)
    assert not bench.gmc.there(MM, 9, VA)
    assert bench.status()["permissions"] == 0
    assert not waves_memory(bench).there(VA + 0x1000)
    assert waves_memory(bench).there(VA)
    bench.gpu.lost = True
    assert not bench.gmc.there(MM, 8, VA)
