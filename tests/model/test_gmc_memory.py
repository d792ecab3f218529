"""The driver's memory side on the software GPU: what it maps is walked by the model's own page walker, on every hub."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amdriver.access import Access
from amdriver.buffer import Buffer
from amdriver.discovery import validate
from amdriver.discovery_locate import locate
from amdriver.gmc import COMPUTE_VMID, Gmc
from amdriver.gpu import Gpu
from amdriver.nbio import Nbio
from amdriver.parts import part_of
from amdriver.pte import Where, pte_flags
from base.clock import VirtualClock
from base.errors import WaitTimeout
from gpumodel import open_models
from gpumodel.gmc import PageFault

PAGE = 4096
MIB = 1 << 20
VMIDS = (0, COMPUTE_VMID)


@dataclass
class Rig:
    """A GPU with its memory up: the driver's side, and the model's."""

    gmc: Gmc
    model: Any

    def read(self, gpu_va: int, size: int, hub: str = "GC[0]", vmid: int = COMPUTE_VMID) -> bytes:
        """As an engine behind this hub reads."""
        data: bytes = self.model.gmc.read(hub, vmid, gpu_va, size)
        return data

    def write(self, gpu_va: int, data: bytes, hub: str = "MMHUB[0]", vmid: int = 0) -> None:
        self.model.gmc.write(hub, vmid, gpu_va, data)

    def is_mapped(self, gpu_va: int, hub: str = "GC[0]") -> bool:
        try:
            self.read(gpu_va, 4, hub)
        except PageFault:
            return False
        return True


def rigs(spec: str, *, cold: bool = True) -> list[Rig]:
    clock = VirtualClock()
    out = []
    for transport in open_models(spec, clock):
        access = Access(transport)
        info = transport.info()
        part = part_of(info.vendor, info.device)
        assert part is not None
        transport.config_write(4, 2, 6)  # memory, bus master
        found = validate(locate(access, clock).blob)
        assert found.ip_map is not None
        gpu = Gpu(access, clock, found.ip_map, part)
        Nbio(gpu).hw_init()
        gmc = Gmc(gpu)
        gmc.sw_init()
        gmc.hw_init(cold=cold)
        out.append(Rig(gmc, transport.gpu))
    return out


@pytest.fixture(scope="module")
def shared() -> Rig:
    """One GPU for the tests that leave it as they found it."""
    return rigs("mi350x?state=cold")[0]


@pytest.fixture
def rig(shared: Rig) -> Iterator[Rig]:
    yield shared
    assert shared.gmc.live == ()
    shared.gmc.clear_faults()


def hubs(rig: Rig) -> list[str]:
    return [hub.name for hub in rig.gmc.hubs]


# ---------------------------------------------------------------- one by one


@pytest.mark.parametrize("spec", ["mi300x?state=cold", "mi350x?state=cold", "mi300x*2?state=used"])
def test_gmc_every_hub_and_both_vmids_see_the_same_memory(spec: str) -> None:
    rig = rigs(spec, cold="cold" in spec)[-1]
    with rig.gmc.alloc(3 * MIB) as vram, rig.gmc.alloc(5 * PAGE, where="host") as host:
        for number, hub in enumerate(hubs(rig)):
            for vmid in VMIDS:
                mark = bytes((number, vmid)) * 8
                for buffer in (vram, host):
                    rig.write(buffer.gpu_va + buffer.size - 100, mark, hub, vmid)
                    assert buffer.read(buffer.size - 100, 16) == mark
                    assert rig.read(buffer.gpu_va + buffer.size - 100, 16, hub, vmid) == mark
    assert len(hubs(rig)) == 12


def test_gmc_blocks_are_reached_by_mc_address_in_vmid_0(rig: Rig) -> None:
    with rig.gmc.alloc_vram(2 * PAGE) as block:
        block.write(PAGE - 4, b"firmware")
        assert rig.read(block.mc_addr + PAGE - 4, 8, "MMHUB[1]", 0) == b"firmware"
        rig.write(block.mc_addr, b"answer")
        assert block.read(0, 6) == b"answer"


def test_gmc_mc_addresses_are_no_way_into_vram_for_compute_queues(rig: Rig) -> None:
    with rig.gmc.alloc_vram(PAGE) as block, pytest.raises(PageFault):
        rig.read(block.mc_addr, 4, "GC[0]", COMPUTE_VMID)


def test_gmc_freed_memory_faults_and_the_fault_is_decoded(rig: Rig) -> None:
    buffer = rig.gmc.alloc(64 * 1024)
    rig.read(buffer.gpu_va, 4, "GC[5]")
    buffer.free()
    with pytest.raises(PageFault):
        rig.read(buffer.gpu_va + 3 * PAGE, 4, "GC[5]")
    (fault,) = rig.gmc.faults()
    assert (fault.hub, fault.vmid, fault.address, fault.write) == (
        "GC[5]",
        COMPUTE_VMID,
        buffer.gpu_va + 3 * PAGE,
        False,
    )
    rig.gmc.clear_faults()
    assert rig.gmc.faults() == []


def test_gmc_write_to_what_is_not_mapped_is_told_as_a_write_of_that_hub(rig: Rig) -> None:
    with pytest.raises(PageFault):
        rig.write(0x7000_0000_0000, b"lost", "MMHUB[2]", 0)
    (fault,) = rig.gmc.faults()
    assert (fault.hub, fault.vmid, fault.address, fault.write) == ("MMHUB[2]", 0, 0x7000_0000_0000, True)


def test_gmc_null_pointers_fault(rig: Rig) -> None:
    for address in (0, PAGE, 0xF000):
        assert not rig.is_mapped(address)


def test_gmc_hw_fini_ends_all_translation() -> None:
    (rig,) = rigs("mi350x?state=cold")
    buffer = rig.gmc.alloc(PAGE)
    assert rig.is_mapped(buffer.gpu_va)
    rig.gmc.hw_fini()
    for hub in hubs(rig):
        assert not rig.is_mapped(buffer.gpu_va, hub)
    assert rig.gmc.sw_fini() == ("buffer of 0x1000 bytes",)
    assert rig.gmc.vram.live == ()


def test_gmc_missing_acknowledgement_ends_in_bounded_time_with_nothing_leaked() -> None:
    with pytest.raises(WaitTimeout, match=r"TLB invalidation of GC\[0\]") as caught:
        rigs("mi350x?state=cold&fault=tlb-ack-missing")
    assert "VM_INVALIDATE_ENG17_ACK" in caught.value.where


def test_gmc_peers_reach_each_others_vram_over_xgmi() -> None:
    members = rigs("mi350x*4?state=cold")
    assert [rig.gmc.place.node for rig in members] == [0, 1, 2, 3]
    buffers = [rig.gmc.alloc(3 * MIB) for rig in members]
    for number, buffer in enumerate(buffers):
        buffer.write(MIB, bytes((number + 1,)) * 16)
    for rig in members:
        for owner, buffer in enumerate(buffers):
            if buffer.gmc is rig.gmc:
                continue
            with rig.gmc.map_peer(buffer) as near:
                assert rig.read(near.gpu_va + MIB, 16) == bytes((owner + 1,)) * 16
                rig.write(near.gpu_va, bytes((0x40 + rig.gmc.place.node,)) * 4, "MMHUB[3]")
                assert buffer.read(0, 4) == bytes((0x40 + rig.gmc.place.node,)) * 4
            assert not rig.is_mapped(near.gpu_va)
    for buffer in buffers:
        buffer.free()


def test_gmc_nothing_that_the_driver_did_was_wrong_to_the_model(shared: Rig) -> None:
    assert [one for one in shared.model.wrongs if "gmc" in one.lower()] == []


# ---------------------------------------------------------------- random maps against a dictionary

FLAGS = pte_flags("gfx950", Where.LOCAL_VRAM)
ARENA = (1 << 39) - 4 * MIB  # a new PDB2 entry begins in the middle
ARENA_PAGES = 8 * MIB // PAGE


@dataclass
class Space:
    """Pages of the arena, and which page of a block of VRAM each shows."""

    rig: Rig
    base: int
    expected: dict[int, int] = field(default_factory=dict)

    def map(self, at: int, source: int, count: int, large: bool) -> None:
        pages = range(at, at + count)
        if any(page in self.expected for page in pages):
            return
        start = self.rig.gmc.place.physical_base + self.base + source * PAGE
        self.rig.gmc.tables.map(ARENA + at * PAGE, [(start, count * PAGE)], FLAGS, large=large)
        self.expected |= {page: source + index for index, page in enumerate(pages)}

    def unmap(self, at: int, count: int) -> None:
        """The part of a range that is mapped from its start on."""
        mapped = 0
        while mapped < count and at + mapped in self.expected:
            del self.expected[at + mapped]
            mapped += 1
        if mapped:
            self.rig.gmc.tables.unmap(ARENA + at * PAGE, mapped * PAGE)

    def check(self, hub: str, pages: list[int]) -> None:
        for page in pages:
            address = ARENA + page * PAGE
            shown = self.expected.get(page)
            if shown is None:
                assert not self.rig.is_mapped(address, hub), hex(address)
            else:
                assert self.rig.read(address, 4, hub) == shown.to_bytes(4, "little"), hex(address)


PLACES = st.one_of(st.integers(0, ARENA_PAGES - 1), st.sampled_from([0, 512, 1024, 1536]))
STEPS = st.lists(
    st.tuples(st.sampled_from("mmu"), PLACES, st.integers(0, 1023), st.integers(1, 1100), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, batched=st.booleans(), seed=st.integers(0, 1000))
def test_random_maps_and_unmaps_are_what_the_models_walker_finds(
    rig: Rig, steps: list[tuple[str, int, int, int, bool]], batched: bool, seed: int
) -> None:
    gmc = rig.gmc
    with gmc.alloc_vram(2048 * PAGE, alignment=2 * MIB) as block:
        for page in range(2048):
            gmc.gpu.access.vram_write(block.vram_offset + page * PAGE, page.to_bytes(4, "little"))
        space = Space(rig, block.vram_offset)
        for kind, at, source, count, large in steps:
            count = min(count, ARENA_PAGES - at)
            with gmc.batch():
                space.map(at, source, count, large) if kind == "m" else space.unmap(at, count)
                if batched:
                    space.unmap(at, count // 2)
        dice = random.Random(seed)
        edges = {page + step for page in space.expected for step in (-1, 0, 1)} & set(range(ARENA_PAGES))
        pages = dice.sample(sorted(edges), min(60, len(edges))) + dice.sample(range(ARENA_PAGES), 20)
        space.check(dice.choice(hubs(rig)), pages)
        assert gmc.tables.verify() == ()
        while space.expected:
            first = min(space.expected)
            space.unmap(first, ARENA_PAGES)
        assert gmc.tables.table_count == 1
        gmc.clear_faults()


# ---------------------------------------------------------------- random bytes against bytes


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_bytes_by_host_and_engines_are_those_of_a_bytearray(rig: Rig, data: st.DataObject) -> None:
    with ExitStack() as own:  # an example may be given up in the middle of drawing
        buffers: list[tuple[Buffer, bytearray]] = []
        for where in ("vram", "host"):
            buffer = own.enter_context(rig.gmc.alloc(data.draw(st.integers(1, 3 * PAGE)), where=where))
            buffer.fill(0xA5)
            buffers.append((buffer, bytearray(b"\xa5" * buffer.size)))
        for _ in range(data.draw(st.integers(1, 12))):
            buffer, copy = data.draw(st.sampled_from(buffers))
            start = data.draw(st.integers(0, buffer.size - 1))
            piece = data.draw(st.binary(min_size=1, max_size=64))[: buffer.size - start]
            if data.draw(st.booleans()):
                buffer.write(start, piece)
            else:
                rig.write(buffer.gpu_va + start, piece, data.draw(st.sampled_from(hubs(rig))))
            copy[start : start + len(piece)] = piece
        for buffer, copy in buffers:
            assert buffer.read() == copy
            assert rig.read(buffer.gpu_va, buffer.size, data.draw(st.sampled_from(hubs(rig)))) == copy
