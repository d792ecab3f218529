"""amdriver/gmc.py and vmhub.py: place in the hive, what every hub is told and in which order, TLB flushes, the end."""

from __future__ import annotations

import pytest

from amdriver.gmc import COMPUTE_VMID, Gmc
from amdriver.memory import RangeTaken
from base.clock import VirtualClock
from base.errors import DeviceLost, GpumendError, InvalidData, WaitTimeout
from tests.unit.gmc_fake import (
    FB_BASE,
    GFX,
    GIB,
    HDP_BASE,
    HDP_BASE_HI,
    HDP_FLUSH,
    HDP_MISC,
    MEMSIZE,
    MIB,
    MMH,
    ONES,
    PAGE,
    XCC_STRIDE,
    Card,
    FakeCard,
    HubAt,
    gpu_of,
    started,
)

# gfx9 with tables of 512 entries, PDB0 translating further: what the stock driver leaves in contexts 1..15, but for the
# retry bit (7), which would keep a fault from being reported.
CONTEXT_ON = 0x007FFECD & ~0x80


def begun(card: Card | None = None, clock: VirtualClock | None = None) -> tuple[FakeCard, Gmc]:
    transport = FakeCard(card or Card())
    gmc = Gmc(gpu_of(transport, clock))
    gmc.sw_init()
    return transport, gmc


def writes_of(transport: FakeCard, hub: HubAt) -> list[tuple[int, int]]:
    """Offset within the hub, and value, in order."""
    size = 0x4000
    return [
        (at - hub.base, value)
        for verb, bar, at, value in transport.log
        if (verb, bar) == ("W", 5) and 0 <= at - hub.base < size
    ]


# ---------------------------------------------------------------- place


def test_gmc_constructor_touches_nothing() -> None:
    transport = FakeCard(Card())
    Gmc(gpu_of(transport))
    assert transport.log == []


def test_gmc_sw_init_reads_six_registers_and_writes_none() -> None:
    transport, _ = begun()
    assert (transport.reads(), transport.writes(), transport.writes(0)) == (6, 0, 0)


def test_gmc_place_of_a_single_gpu() -> None:
    _, gmc = begun(Card(fb_offset=0x100_0000_0000))
    assert (gmc.place.node, gmc.place.nodes) == (0, 1)
    assert gmc.place.mc_base == 0x80_0000_0000
    assert gmc.place.physical_base == 0x100_0000_0000
    assert gmc.place.fb_top == 0x80_0000_0000 + 16 * GIB - 1


def test_gmc_place_of_a_node_in_a_hive() -> None:
    _, gmc = begun(Card(node=5, max_region=7, segment=32 * GIB))
    assert (gmc.place.node, gmc.place.nodes, gmc.place.segment_bytes) == (5, 8, 32 * GIB)
    assert gmc.place.mc_base == 0x80_0000_0000 + 5 * 32 * GIB
    assert gmc.place.physical_base == 5 * 32 * GIB
    assert 5 * 32 * GIB <= gmc.tables.root_register < 5 * 32 * GIB + 16 * GIB
    assert gmc.place.fb_top == 0x80_0000_0000 + 8 * 32 * GIB - 1


def test_gmc_place_without_xgmi_ignores_what_is_left_in_region_and_size() -> None:
    _, gmc = begun(Card(node=3, max_region=0, segment=64 * GIB, fb_top=0x80_0000_0000 + 16 * GIB - 1))
    assert gmc.place.mc_base == 0x80_0000_0000


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (Card(node=4, max_region=3, segment=16 * GIB), "a node below the 4 that there are"),
        (Card(node=0, max_region=8, segment=16 * GIB), "at most 8 nodes"),
        (Card(node=1, max_region=7, segment=0), "a segment that holds the VRAM of a node"),
        (Card(node=1, max_region=7, segment=8 * GIB), "a segment that holds the VRAM of a node"),
        (
            Card(node=7, max_region=7, segment=16 * GIB, fb_top=0x80_FFFF_FFFF),
            "an FB range that holds the VRAM of this node",
        ),
        (Card(node=0, max_region=7, segment=16 * GIB, fb_top=0x84_FFFF_FFFF), "an FB range that holds all nodes"),
        (Card(fb_offset=0xFFFF_FF00_0000), "physical addresses below 2^48"),
        (Card(registers={FB_BASE: ONES}), "registers that answer"),
    ],
)
def test_gmc_place_that_cannot_be_is_refused(card: Card, expected: str) -> None:
    with pytest.raises(InvalidData, match="finding our place in the hive failed") as caught:
        begun(card)
    assert caught.value.expected == expected
    assert "XGMI_LFB_CNTL" in caught.value.seen
    assert "GC[0].MC_VM_XGMI_LFB_CNTL" in caught.value.where


@pytest.mark.parametrize("size_mib", [0, 559, ONES, (1 << 24) + 1])
def test_gmc_memory_size_that_cannot_be_is_refused(size_mib: int) -> None:
    with pytest.raises(InvalidData, match="asking for the size of VRAM failed") as caught:
        begun(Card(registers={MEMSIZE: size_mib}))
    assert caught.value.expected == "560 MiB or more"
    assert caught.value.seen == f"{size_mib:#x} MiB"


def test_gmc_on_a_lost_gpu_says_so() -> None:
    transport = FakeCard(Card())
    transport.dead = True
    with pytest.raises(DeviceLost):
        Gmc(gpu_of(transport)).sw_init()


def test_gmc_keeps_the_end_of_vram_for_the_firmware_and_the_fb_range_out_of_gpu_addresses() -> None:
    _, gmc = begun()
    end = 16 * GIB
    assert gmc.vram.owner_of(end - 280 * MIB - 1) == "free"
    assert "firmware" in gmc.vram.owner_of(end - 280 * MIB)
    assert "firmware" in gmc.vram.owner_of(end - 64 * 1024)
    for address in (0x80_0000_0000, 0x80_0000_0000 + end - PAGE):
        with pytest.raises(RangeTaken, match="FB aperture"):
            gmc.addresses.allocate_at(address, PAGE)
    assert gmc.addresses.owner_of(0x80_0000_0000 + end) == "free"


def test_gmc_fb_range_above_all_gpu_addresses_needs_no_reservation() -> None:
    _, gmc = begun(Card(fb_base=1 << 47))
    assert gmc.addresses.reserved == ()


# ---------------------------------------------------------------- hubs


def test_gmc_hubs_are_the_live_xcc_and_the_mmhub_of_each_live_aid() -> None:
    _, gmc = begun(Card(harvested=(2, 3), aids=(0, 1, 3)))
    assert [hub.name for hub in gmc.hubs] == [
        *(f"GC[{xcc}]" for xcc in (0, 1, 4, 5, 6, 7)),
        *(f"MMHUB[{aid}]" for aid in (0, 1, 3)),
    ]


def test_gmc_hw_init_never_touches_a_harvested_xcc() -> None:
    transport, gmc = begun(Card(harvested=(2,)))
    gmc.hw_init()
    gone = range(0x8000 + 2 * XCC_STRIDE, 0x8000 + 2 * XCC_STRIDE + 0x8000)
    assert not [at for _, bar, at, _ in transport.log if bar == 5 and at in gone]


@pytest.mark.parametrize("name", ["GC[0]", "GC[7]", "MMHUB[0]", "MMHUB[3]"])
def test_gmc_hw_init_tells_every_hub_what_the_kernel_tells_it(name: str) -> None:
    transport, gmc = begun(Card(node=1, max_region=7, segment=16 * GIB))
    gmc.hw_init()
    hub = transport.hub(name)
    root = gmc.tables.root_register
    assert root & 1
    assert 16 * GIB <= root < 32 * GIB
    at = hub.at
    # Values of the recorded boot of the stock driver; where it keeps bits of the reset value, that of gc_9_0_default.h.
    expected = {
        at.agp_base: 0,
        at.agp_base - 4: 0xFFFFFF,
        at.agp_base - 8: 0,
        at.aperture_low: 0x80_0000_0000 >> 18,
        at.aperture_low + 4: (0x80_0000_0000 + 8 * 16 * GIB - 1) >> 18,
        at.tlb_cntl: 0x3859,
        at.l2_cntl: 0x80003,
        at.l2_cntl + 4: 3,
        at.l2_cntl + 8: 0x8014800C,
        at.l2_cntl + 0x5C: 1,
        at.fault_cntl: 0x3FFFFFFC,
        at.fault_cntl + 4: 0xE0000,
        at.identity: ONES,
        at.identity + 4: 0xF,
        at.identity + 8: 0,
        at.identity + 12: 0,
        at.range_lo: ONES,
        at.range_lo + 4: 0x1F,
    }
    for context in (0, COMPUTE_VMID):
        expected |= {
            at.context0_cntl + 4 * context: CONTEXT_ON,
            at.base0 + 8 * context: root & ONES,
            at.base0 + 8 * context + 4: root >> 32,
            at.start0 + 8 * context: 0,
            at.start0 + 8 * context + 4: 0,
            at.end0 + 8 * context: ONES,
            at.end0 + 8 * context + 4: 0xF,
        }
    for context in set(range(16)) - {0, COMPUTE_VMID}:
        expected[at.context0_cntl + 4 * context] = 0
    written = dict(writes_of(transport, hub))
    assert {offset: written.get(offset) for offset in expected} == expected
    default = written[at.default_lsb] | written[at.default_lsb + 4] << 32
    fault = written[at.fault_status + 12] | written[at.fault_status + 16] << 32
    assert fault == default + 1
    assert "default pages" in gmc.vram.owner_of((default << 12) - 16 * GIB)


def test_gmc_hw_init_keeps_bits_that_nobody_documents() -> None:
    card = Card(
        registers={0x8000 + GFX.tlb_cntl: 0x2501, 0x60000 + MMH.tlb_cntl: 0x2601, 0x8000 + GFX.l2_cntl: 0x80602}
    )
    transport, gmc = begun(card)
    gmc.hw_init()
    assert transport.value(transport.hub("GC[5]"), GFX.tlb_cntl) == 0x3D59
    assert transport.value(transport.hub("MMHUB[2]"), MMH.tlb_cntl) == 0x3E59
    assert transport.value(transport.hub("GC[5]"), GFX.l2_cntl) == 0x80603


def test_gmc_hw_init_sets_the_snoop_bit_of_sdma_in_all_ten_registers_of_each_mmhub() -> None:
    transport, gmc = begun(Card(registers={0x60000 + 0x60 * 4: 0x11}))
    gmc.hw_init()
    for aid in range(4):
        hub = transport.hub(f"MMHUB[{aid}]")
        values = [transport.value(hub, (place + 0x80 * unit) * 4) for unit in range(5) for place in (0x60, 0x61)]
        assert values == [0x8011, *[0x8000] * 9]


def test_gmc_hw_init_shows_our_own_vram_through_bar0() -> None:
    transport, gmc = begun(Card(node=2, max_region=3, segment=16 * GIB, registers={HDP_MISC: 0x1000}))
    gmc.hw_init()
    base = 0x80_0000_0000 + 2 * 16 * GIB
    assert transport.registers[HDP_BASE] == base >> 8 & ONES
    assert transport.registers[HDP_BASE_HI] == base >> 40
    assert transport.registers[HDP_MISC] == 0x1001


def test_gmc_hw_init_writes_tables_then_flushes_hdp_then_enables_then_flushes_tlbs() -> None:
    transport, gmc = begun()
    gmc.alloc(2 * MIB, owner="early")
    gmc.alloc(PAGE, owner="early too")
    assert transport.writes() == transport.writes(0) == 0
    gmc.hw_init()
    log = transport.log
    tables = [n for n, (verb, bar, _, _) in enumerate(log) if (verb, bar) == ("W", 0)]
    hdp = [n for n, entry in enumerate(log) if entry[:3] == ("W", 5, HDP_FLUSH)]
    contexts = {hub.base + hub.at.context0_cntl for hub in transport.hubs}
    enabled = [n for n, entry in enumerate(log) if entry[0] == "W" and entry[2] in contexts and entry[1] == 5]
    asked = [
        n for n, entry in enumerate(log) if entry[0] == "W" and entry[1] == 5 and entry[2] in transport.acks.values()
    ]
    assert len(enabled) == 12
    assert len(asked) == 24
    assert tables[-1] < hdp[-1] < enabled[0] < enabled[-1] < asked[0]


def test_gmc_hw_init_needs_few_accesses() -> None:
    transport, gmc = begun()
    transport.log.clear()
    gmc.hw_init(cold=True)
    assert transport.reads() == 41  # 24 of them acknowledgements
    assert transport.writes() == 525  # 24 of them requests; tinygrad's 1,540 are for the whole boot
    assert transport.writes(0) == 1


def test_gmc_hw_init_of_a_cold_gpu_leaves_the_other_contexts_as_they_are() -> None:
    transport, gmc = begun()
    gmc.hw_init(cold=True)
    for hub in transport.hubs:
        cntl = {(at - hub.at.context0_cntl) // 4 for at, _ in writes_of(transport, hub)} & set(range(16))
        assert cntl == {0, COMPUTE_VMID}


def test_gmc_hw_fini_switches_contexts_tlbs_and_caches_off() -> None:
    transport, gmc = started()
    gmc.hw_fini()
    for hub in transport.hubs:
        assert transport.value(hub, hub.at.context0_cntl) == 0
        assert transport.value(hub, hub.at.context0_cntl + 4 * COMPUTE_VMID) == 0
        assert transport.value(hub, hub.at.tlb_cntl) & 0x41 == 0
        assert transport.value(hub, hub.at.l2_cntl) & 1 == 0
        assert transport.value(hub, hub.at.l2_cntl + 8) == 0


# ---------------------------------------------------------------- TLB flushes


def test_flush_tlb_asks_all_hubs_before_it_waits_for_any_heavy_before_legacy() -> None:
    transport, gmc = started()
    gmc.flush_tlb()
    kinds = [(verb, value & 0xFFFF) for verb, _, _, value in transport.log]
    assert kinds == [("W", 0x101)] * 12 + [("R", 0x101)] * 12 + [("W", 0x101)] * 12 + [("R", 0x101)] * 12
    requests = [value for verb, _, _, value in transport.log if verb == "W"]
    assert requests == [0x7E0101] * 12 + [0x7C0101] * 12


def test_flush_tlb_of_one_vmid() -> None:
    transport, gmc = started()
    gmc.flush_tlb(1 << 8)
    assert {value for verb, _, _, value in transport.log if verb == "W"} == {0x7E0100, 0x7C0100}


def test_flush_tlb_of_another_chip_needs_no_heavy_flush() -> None:
    transport, gmc = started(Card(gc_version=(9, 4, 2)))
    gmc.flush_tlb()
    assert {value for verb, _, _, value in transport.log if verb == "W"} == {0x7C0101}


@pytest.mark.parametrize("name", ["GC[6]", "MMHUB[1]"])
def test_flush_tlb_without_an_acknowledgement_names_the_hub_and_is_bounded(name: str) -> None:
    clock = VirtualClock()
    transport, gmc = begun(clock=clock)
    hub = transport.hub(name)
    transport.deaf.add(hub.base + hub.at.ack)
    with pytest.raises(WaitTimeout) as caught:
        gmc.hw_init()
    assert caught.value.doing == f"TLB invalidation of {name}, VMIDs 0x101, flush type 2"
    assert caught.value.where.startswith(f"{name}.VM_INVALIDATE_ENG17_ACK @ BAR5+")
    assert "VM_INVALIDATE_ENG17_ACK & 0x101 within 0.1 s" in caught.value.expected
    assert "mode1" in caught.value.next_step
    assert 0.1 <= clock.now() < 0.12
    assert gmc.live == ()


def test_flush_tlb_takes_all_ones_for_no_acknowledgement() -> None:
    transport, gmc = started()
    hub = transport.hub("GC[0]")
    gmc.hubs = gmc.hubs[:1]
    transport.deaf.add(hub.base + hub.at.ack)
    transport.acks.clear()
    transport.registers[hub.base + hub.at.ack] = ONES
    with pytest.raises(WaitTimeout, match="seen      0xffffffff"):
        gmc.flush_tlb()


def test_flush_tlb_of_a_gpu_that_left_the_bus_is_device_lost() -> None:
    transport, gmc = started()
    transport.dead = True
    with pytest.raises(DeviceLost, match="TLB invalidation of GC"):
        gmc.flush_tlb()


def test_flush_hdp_writes_zero_to_the_hole_and_reads_a_register_back() -> None:
    transport, gmc = started()
    gmc.flush_hdp()
    assert [entry[:3] for entry in transport.log] == [("W", 5, HDP_FLUSH), ("R", 5, MEMSIZE)]
    assert transport.log[0][3] == 0


def test_gmc_sw_fini_works_on_a_dead_gpu_and_gives_everything_back() -> None:
    transport, gmc = started()
    gmc.alloc(MIB, owner="ring")
    gmc.alloc(MIB, where="host", owner="pinned")
    gmc.alloc_vram(PAGE, owner="mqd")
    transport.dead = True
    assert gmc.sw_fini() == (
        "buffer ring of 0x100000 bytes",
        "buffer pinned of 0x100000 bytes",
        "VRAM block mqd of 0x1000 bytes",
    )
    assert gmc.vram.live == gmc.addresses.live == ()
    assert all(buffer.closed for buffer in transport.dma)
    assert gmc.sw_fini() == ()


def test_gmc_sw_fini_before_hw_init_writes_nothing() -> None:
    transport, gmc = begun()
    gmc.alloc(MIB)
    gmc.sw_fini()
    assert transport.writes() == transport.writes(0) == 0
    assert gmc.vram.live == ()


def test_gmc_errors_are_of_our_tree() -> None:
    with pytest.raises(GpumendError):
        begun(Card(registers={MEMSIZE: 0}))
