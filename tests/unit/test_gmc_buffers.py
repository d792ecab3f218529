"""amdriver/gmc.py, buffer.py, vram.py: allocating, mapping, freeing, CPU access with a large and a small BAR, peers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amdriver.buffer import WINDOW_BYTES, Buffer, NotVisible, StillMapped, VramBlock
from amdriver.gmc import Gmc, NotInHive
from amdriver.memory import BadAddress, BadAlignment, BadSize, Closed, DoubleFree, NoDma, OutOfVram
from amdriver.pte import EXECUTABLE, SYSTEM, Level
from base.errors import Exit, Unavailable, UsageError, WaitTimeout
from pcibus.transport import Can, DmaBuffer
from tests.unit.gmc_fake import GIB, HDP_FLUSH, MIB, PAGE, Card, FakeCard, FakeDma, gpu_of, started

SMALL = 256 * MIB


@pytest.fixture
def card() -> tuple[FakeCard, Gmc]:
    return started()


def small_bar() -> tuple[FakeCard, Gmc]:
    return started(Card(bar0=SMALL))


def hive(count: int = 2) -> list[tuple[FakeCard, Gmc]]:
    return [started(Card(name=f"fake#{n}", node=n, max_region=count - 1, segment=16 * GIB)) for n in range(count)]


# ---------------------------------------------------------------- what is mapped where


def test_alloc_maps_vram_of_this_node_at_both_addresses_aligned() -> None:
    _, gmc = hive()[1]
    buffer = gmc.alloc(4 * MIB, owner="data")
    found = gmc.tables.lookup(buffer.gpu_va)
    assert found is not None
    assert buffer.gpu_va % (2 * MIB) == 0
    assert found.level is Level.PDB0
    assert found.physical == 16 * GIB + buffer.extents[0][0]
    assert buffer.mc_addr == gmc.place.mc_base + buffer.extents[0][0]
    assert found.flags & (SYSTEM | EXECUTABLE) == 0


def test_alloc_of_odd_sizes_maps_whole_pages_and_keeps_the_size(card: tuple[FakeCard, Gmc]) -> None:
    _, gmc = card
    buffer = gmc.alloc(PAGE + 1)
    assert buffer.size == PAGE + 1
    assert gmc.tables.lookup(buffer.gpu_va + PAGE) is not None
    with pytest.raises(BadAddress):
        buffer.read(PAGE, 2)


def test_alloc_alignment_is_that_of_the_gpu_address(card: tuple[FakeCard, Gmc]) -> None:
    _, gmc = card
    assert gmc.alloc(PAGE, alignment=GIB).gpu_va % GIB == 0


def test_alloc_flags_follow_what_was_asked(card: tuple[FakeCard, Gmc]) -> None:
    _, gmc = card
    code = gmc.tables.lookup(gmc.alloc(PAGE, executable=True).gpu_va)
    slow = gmc.tables.lookup(gmc.alloc(PAGE, uncached=True).gpu_va)
    assert code is not None
    assert slow is not None
    assert code.flags & EXECUTABLE
    assert slow.flags >> 57 == 3


def test_alloc_on_the_host_maps_each_scattered_page(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    buffer = gmc.alloc(3 * PAGE, where="host")
    assert buffer.extents == ()
    assert buffer.mc_addr is None
    for index, address in enumerate(transport.dma[0].bus_addr):
        found = gmc.tables.lookup(buffer.gpu_va + index * PAGE)
        assert found is not None
        assert found.flags & SYSTEM
        assert found.physical == address
    buffer.write(PAGE - 2, b"abcd")
    assert transport.dma[0].data[PAGE - 2 : PAGE + 2] == b"abcd"
    assert buffer.read(PAGE - 2, 4) == b"abcd"
    assert buffer.cpu_visible


def test_alloc_on_the_host_makes_large_pages_of_huge_pages(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    transport.dma_page = 2 * MIB
    buffer = gmc.alloc(5 * MIB, where="host")
    found = gmc.tables.lookup(buffer.gpu_va + 2 * MIB)
    assert found is not None
    assert found.level is Level.PDB0
    assert found.physical == transport.dma[0].bus_addr[1]
    last = gmc.tables.lookup(buffer.gpu_va + 5 * MIB - PAGE)
    assert last is not None
    assert last.physical == transport.dma[0].bus_addr[2] + MIB - PAGE
    assert gmc.tables.lookup(buffer.gpu_va + 5 * MIB) is None


def test_alloc_vram_block_is_contiguous_unmapped_and_known_by_its_mc_address() -> None:
    transport, gmc = hive()[1]
    block = gmc.alloc_vram(3 * PAGE, alignment=MIB, owner="TMR")
    assert block.mc_addr == 0x80_0000_0000 + 16 * GIB + block.vram_offset
    assert block.vram_offset % MIB == 0
    block.write(5, b"hello")
    assert transport.vram_bytes(block.vram_offset + 5, 5) == b"hello"
    assert block.read(4, 7) == b"\xeehello\xee"
    block.fill(7)
    assert block.read() == b"\x07" * 3 * PAGE


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("where", ["vram", "host"])
@pytest.mark.parametrize("size", [0, -1])
def test_alloc_of_nothing_is_refused(card: tuple[FakeCard, Gmc], where: str, size: int) -> None:
    transport, gmc = card
    with pytest.raises(BadSize) as caught:
        gmc.alloc(size, where=where)
    assert caught.value.exit_code is Exit.USAGE
    assert gmc.live == ()
    assert transport.writes(0) == 0


def test_alloc_beyond_vram_is_refused(card: tuple[FakeCard, Gmc]) -> None:
    _, gmc = card
    with pytest.raises(BadSize):
        gmc.alloc_vram(16 * GIB + 1)
    with pytest.raises(OutOfVram):  # the firmware's part is not ours
        gmc.alloc(16 * GIB)
    assert gmc.addresses.live == ()


def test_alloc_misaligned_is_refused(card: tuple[FakeCard, Gmc]) -> None:
    _, gmc = card
    with pytest.raises(BadAlignment):
        gmc.alloc(PAGE, alignment=3)
    with pytest.raises(BadAlignment):
        gmc.alloc_vram(PAGE, alignment=0)


def test_alloc_of_an_unknown_kind_names_the_kinds(card: tuple[FakeCard, Gmc]) -> None:
    _, gmc = card
    with pytest.raises(UsageError, match="expected  vram or host\n  seen      moon"):
        gmc.alloc(PAGE, where="moon", owner="x")


def test_alloc_on_the_host_without_dma_gives_the_address_back(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    transport.can = Can.MMIO
    with pytest.raises(NoDma):
        gmc.alloc(PAGE, where="host")
    assert gmc.addresses.live == ()


MAKERS: list[Callable[[Gmc], Buffer | VramBlock]] = [
    lambda gmc: gmc.alloc(PAGE, owner="x"),
    lambda gmc: gmc.alloc(PAGE, where="host", owner="x"),
    lambda gmc: gmc.alloc_vram(PAGE, owner="x"),
]


@pytest.mark.parametrize("make", MAKERS)
def test_freed_memory_is_closed_and_not_freed_twice(
    card: tuple[FakeCard, Gmc], make: Callable[[Gmc], Buffer | VramBlock]
) -> None:
    _, gmc = card
    memory = make(gmc)
    memory.free()
    with pytest.raises(Closed, match=r"reading (buffer|VRAM block) x failed"):
        memory.read(0, 4)
    with pytest.raises(Closed, match="writing"):
        memory.write(0, b"abcd")
    with pytest.raises(DoubleFree, match=r"freeing (buffer|VRAM block) x failed") as caught:
        memory.free()
    assert caught.value.seen == "it was freed before"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("offset", "size"), [(-4, 4), (PAGE, 1), (0, PAGE + 1), (8, -1)])
def test_access_outside_of_memory_is_refused(
    card: tuple[FakeCard, Gmc], make: Callable[[Gmc], Buffer | VramBlock], offset: int, size: int
) -> None:
    _, gmc = card
    memory = make(gmc)
    with pytest.raises(BadAddress, match="a range within its 0x1000 bytes"):
        memory.read(offset, size)
    if size > 0:
        with pytest.raises(BadAddress):
            memory.write(offset, bytes(size))


@pytest.mark.parametrize("make", MAKERS)
def test_memory_is_a_context_manager_that_may_be_freed_inside(
    card: tuple[FakeCard, Gmc], make: Callable[[Gmc], Buffer | VramBlock]
) -> None:
    _, gmc = card
    with make(gmc) as memory:
        assert len(gmc.live) == 1
    assert memory.freed
    with make(gmc) as memory:
        memory.free()
    assert not gmc.live


# ---------------------------------------------------------------- flushes and freeing


def test_new_mappings_need_no_tlb_flush_but_an_hdp_flush(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    gmc.alloc(MIB)
    assert transport.requests() == 0
    assert transport.count("W", HDP_FLUSH) == 1


def test_freeing_a_buffer_unmaps_it_and_flushes_before_its_memory_is_used_again(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    buffer = gmc.alloc(MIB)
    free = gmc.vram.free_bytes
    buffer.free()
    assert gmc.tables.lookup(buffer.gpu_va) is None
    assert transport.requests() == 24
    assert gmc.vram.free_bytes > free
    assert gmc.addresses.live == ()


def test_batch_frees_and_maps_with_one_flush_and_reuses_nothing_before_it(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    buffers = [gmc.alloc(MIB) for _ in range(5)]
    pinned = gmc.alloc(PAGE, where="host")
    taken = {start for buffer in buffers for start, _ in buffer.extents}
    transport.log.clear()
    with gmc.batch():
        for buffer in buffers:
            buffer.free()
        pinned.free()
        again = [gmc.alloc(MIB) for _ in range(5)]
        assert not taken & {start for buffer in again for start, _ in buffer.extents}
        assert [one.closed for one in transport.dma] == [False]
        assert transport.requests() == 0
    assert transport.requests() == 24
    assert [one.closed for one in transport.dma] == [True]
    assert len(gmc.vram.live) == len(again) + gmc.tables.table_count + 1


def test_flush_that_fails_while_freeing_keeps_the_memory_until_one_succeeds(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    buffer = gmc.alloc(MIB)
    hub = transport.hubs[3]
    transport.deaf.add(hub.base + hub.at.ack)
    with pytest.raises(WaitTimeout):
        buffer.free()
    assert "free" not in gmc.vram.owner_of(buffer.extents[0][0])
    transport.deaf.clear()
    gmc.tables.commit()
    assert gmc.vram.owner_of(buffer.extents[0][0]) == "free"
    assert gmc.addresses.live == ()


def test_alloc_whose_flush_fails_leaves_nothing_behind(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    old = gmc.alloc(MIB)
    hub = transport.hubs[0]
    transport.deaf.add(hub.base + hub.at.ack)
    with pytest.raises(WaitTimeout):
        old.free()  # its flush is outstanding, so the next mapping tries it again
    with pytest.raises(WaitTimeout):
        gmc.alloc(MIB)
    assert gmc.live == ()
    transport.deaf.clear()
    gmc.tables.commit()
    assert gmc.addresses.live == ()
    assert len(gmc.vram.live) == gmc.tables.table_count + 1  # tables, default pages


def test_write_flushes_the_hdp_once_and_only_when_it_went_through_bar0(card: tuple[FakeCard, Gmc]) -> None:
    transport, gmc = card
    buffer, pinned = gmc.alloc(MIB), gmc.alloc(MIB, where="host")
    transport.log.clear()
    buffer.write(0, bytes(MIB))
    assert transport.count("W", HDP_FLUSH) == 1
    buffer.write(0, bytes(MIB), flush=False)
    pinned.write(0, bytes(MIB))
    pinned.fill(1)
    assert transport.count("W", HDP_FLUSH) == 1
    buffer.fill(3)
    assert transport.count("W", HDP_FLUSH) == 2
    assert buffer.read() == b"\x03" * MIB


def test_buffer_in_pieces_is_read_and_written_as_one(card: tuple[FakeCard, Gmc]) -> None:
    _, gmc = card
    blocks = [gmc.alloc_vram(PAGE) for _ in range(32)]
    while gmc.vram.free_bytes:
        gmc.alloc_vram(gmc.vram.statistics().largest_free)
    for block in blocks[::2]:
        block.free()
    assert gmc.vram.statistics().largest_free < 7 * PAGE
    buffer = gmc.alloc(7 * PAGE)
    assert len(buffer.extents) > 1
    assert buffer.mc_addr is None
    data = bytes(range(256)) * 112
    buffer.write(0, data)
    assert buffer.read() == data
    buffer.write(PAGE - 3, b"across")
    assert buffer.read(PAGE - 4, 8) == data[PAGE - 4 : PAGE - 3] + b"across" + data[PAGE + 3 : PAGE + 4]


# ---------------------------------------------------------------- small BAR


def test_small_bar_keeps_what_it_shows_for_what_the_cpu_touches() -> None:
    _, gmc = small_bar()
    data = [gmc.alloc(64 * MIB) for _ in range(8)]
    rings = [gmc.alloc_vram(16 * MIB) for _ in range(8)]
    assert all(start >= SMALL for buffer in data for start, _ in buffer.extents)
    assert all(block.vram_offset + block.size <= SMALL for block in rings)
    assert all(gmc.is_cpu_visible(block) for block in rings)
    assert not gmc.is_cpu_visible(data[0])
    assert not data[0].cpu_visible
    assert gmc.alloc(PAGE, cpu=True).cpu_visible
    assert gmc.alloc_vram(PAGE, cpu=False).vram_offset >= SMALL
    tables = [one for one in gmc.vram.live if one.owner in ("PDB2", "PDB1", "PDB0", "PTB")]
    assert len(tables) == gmc.tables.table_count
    assert all(one.start < SMALL for one in tables)


def test_small_bar_that_is_full_says_what_would_help() -> None:
    _, gmc = small_bar()
    with pytest.raises(OutOfVram, match="that BAR0 shows") as caught:
        gmc.alloc_vram(SMALL, owner="ring")
    assert "BAR0 shows 0x10000000 of 0x400000000 bytes" in caught.value.seen
    assert "resizable BAR" in caught.value.next_step


def test_small_bar_gives_the_shown_part_to_data_when_nothing_else_is_left() -> None:
    _, gmc = small_bar()
    gmc.alloc(16 * GIB - 280 * MIB - SMALL)
    assert gmc.alloc(64 * MIB).extents[0][0] < SMALL


def test_small_bar_writes_little_through_the_window_and_no_hdp_flush() -> None:
    transport, gmc = small_bar()
    buffer = gmc.alloc(MIB)
    start = buffer.extents[0][0]
    transport.log.clear()
    buffer.write(6, b"window")
    assert transport.vram_bytes(start + 4, 10) == b"\xee\xeewindow\xee\xee"
    assert buffer.read(6, 6) == b"window"
    assert transport.count("W", HDP_FLUSH) == 0
    assert transport.writes(0) == transport.reads(0) == 0


def test_small_bar_refuses_much_without_a_copier_and_uses_one_when_there_is() -> None:
    transport, gmc = small_bar()
    buffer = gmc.alloc(MIB, owner="big")
    transport.log.clear()
    with pytest.raises(NotVisible, match="writing buffer big failed") as caught:
        buffer.write(0, bytes(WINDOW_BYTES + 4))
    assert "SDMA" in caught.value.next_step
    with pytest.raises(NotVisible, match="reading buffer big failed"):
        buffer.read()
    assert transport.log == []

    class Copies:
        def read_vram(self, vram_offset: int, size: int) -> bytes:
            return transport.vram_bytes(vram_offset, size)

        def write_vram(self, vram_offset: int, data: bytes) -> None:
            transport._put(vram_offset, data)

    gmc.copier = Copies()
    data = bytes(range(256)) * 4096
    buffer.write(0, data)
    assert buffer.read() == data
    assert transport.log == []


def test_bar0_that_is_not_there_leaves_the_window() -> None:
    transport, gmc = started(Card(bar0=0))
    block = gmc.alloc_vram(PAGE)
    block.write(0, b"abcd")
    assert transport.vram_bytes(block.vram_offset, 4) == b"abcd"


# ---------------------------------------------------------------- peers


def test_map_peer_maps_the_other_nodes_vram() -> None:
    (_, here), (there_card, there) = hive()
    buffer = there.alloc(4 * MIB, owner="theirs")
    mapped = here.map_peer(buffer)
    found = here.tables.lookup(mapped.gpu_va)
    assert found is not None
    assert found.physical == 16 * GIB + buffer.extents[0][0]
    assert found.level is Level.PDB0
    assert found.flags >> 57 == 0  # not coherent: the kernel's choice for VRAM of another GPU
    assert mapped.where == "peer"
    mapped.write(3, b"over")
    assert there_card.vram_bytes(buffer.extents[0][0] + 3, 4) == b"over"
    assert mapped.read(3, 4) == b"over"
    mapped.fill(1)
    assert buffer.read(0, 2) == b"\x01\x01"
    assert mapped.cpu_visible
    assert mapped.mc_addr is None


def test_freeing_what_a_peer_has_mapped_is_refused_until_it_lets_go() -> None:
    (_, here), (_, there) = hive()
    buffer = there.alloc(PAGE, owner="theirs")
    mapped = here.map_peer(buffer)
    with pytest.raises(StillMapped, match="mapped by fake#0") as caught:
        buffer.free()
    assert caught.value.exit_code is Exit.REFUSED
    assert buffer.read(0, 1)
    mapped.free()
    buffer.free()
    assert here.live == there.live == ()


def test_map_peer_of_what_is_not_in_the_hive_is_refused() -> None:
    (_, here), (_, there) = started(), started()
    with pytest.raises(NotInHive, match="node 0 of 1; this is 0 of 1"):
        here.map_peer(there.alloc(PAGE))
    (_, first), _ = hive()
    with pytest.raises(NotInHive):
        first.map_peer(first.alloc(PAGE))


def test_map_peer_of_host_memory_or_freed_memory_is_refused() -> None:
    (_, here), (_, there) = hive()
    with pytest.raises(UsageError, match="seen      memory of kind host"):
        here.map_peer(there.alloc(PAGE, where="host"))
    buffer = there.alloc(PAGE)
    buffer.free()
    with pytest.raises(Closed):
        here.map_peer(buffer)
    assert here.live == ()


# ---------------------------------------------------------------- memory of the host that several GPUs use


class SharingCard(FakeCard):
    """Behind an IOMMU of its own, as VFIO gives it: memory of another such GPU has other addresses here."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.can |= Can.VIA_DRIVER
        self.shared: list[FakeDma] = []

    def share_dma(self, buffer: DmaBuffer) -> DmaBuffer:
        addresses = tuple(0x20_0000_0000 + 3 * PAGE * index for index in range(len(buffer.bus_addr)))
        self.shared.append(FakeDma(buffer.size, buffer.page_size, addresses))
        return self.shared[-1]


def slotted(kinds: tuple[type[FakeCard], ...]) -> list[tuple[FakeCard, Gmc]]:
    """A hive whose GPUs have each other's addresses free."""
    made = []
    for node, kind in enumerate(kinds):
        transport = kind(Card(name=f"fake#{node}", node=node, max_region=len(kinds) - 1, segment=16 * GIB))
        gmc = Gmc(gpu_of(transport), slot=node)
        gmc.sw_init()
        gmc.hw_init()
        made.append((transport, gmc))
    return made


def test_map_host_behind_an_iommu_maps_the_addresses_of_this_device() -> None:
    (_, here), (there_card, there) = slotted((SharingCard, SharingCard))
    buffer = there.alloc(2 * PAGE, where="host", owner="signals")
    mapped = here.map_host(buffer)
    assert mapped.gpu_va == buffer.gpu_va
    places = [here.tables.lookup(mapped.gpu_va + at) for at in (0, PAGE)]
    assert [place.physical for place in places if place] == [0x20_0000_0000, 0x20_0000_0000 + 3 * PAGE]
    (own,) = there_card.dma
    theirs = there.tables.lookup(buffer.gpu_va)
    assert theirs is not None and theirs.physical == own.bus_addr[0]
    with pytest.raises(StillMapped):
        buffer.free()
    transport = here.gpu.transport
    assert isinstance(transport, SharingCard)
    mapped.free()
    assert transport.shared[0].closed and not own.closed
    buffer.free()
    assert own.closed


def test_map_host_without_an_iommu_maps_the_owners_addresses() -> None:
    (_, here), (there_card, there) = slotted((FakeCard, FakeCard))
    buffer = there.alloc(PAGE, where="host")
    mapped = here.map_host(buffer)
    found = here.tables.lookup(mapped.gpu_va)
    assert found is not None and found.physical == there_card.dma[0].bus_addr[0]
    mapped.free()
    assert not there_card.dma[0].closed


@pytest.mark.parametrize("kinds", [(SharingCard, FakeCard), (FakeCard, SharingCard)])
def test_map_host_of_one_gpu_behind_an_iommu_and_one_without_is_refused(kinds: tuple[type[FakeCard], ...]) -> None:
    (_, here), (_, there) = slotted(kinds)
    buffer = there.alloc(PAGE, where="host")
    with pytest.raises(Unavailable, match="all reached through VFIO, or all without"):
        here.map_host(buffer)
    assert here.live == ()
    buffer.free()
