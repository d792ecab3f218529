"""NBIO: the way in is opened, and doorbells are routed as the stock driver routes them (the trace's values)."""

from __future__ import annotations

import pytest

from amdriver.nbio import Nbio, ih_doorbell, sdma_doorbell
from base.errors import DeviceLost, Unavailable
from tests import boot_fakes as fakes
from tests.boot_fakes import FakeTransport

MEMSIZE, BACO, APERTURE, SELF_RING, FB_EN = 0x378C, 0x38AC, 0x3780, 0x3854, 0x3880
INTERRUPT, REMAP, RAS, COMPUTE, MEMORY = 0x3844, 0x3934, 0x3878, 0x3A0C, 0x3A10


@pytest.fixture
def transport() -> FakeTransport:
    made = FakeTransport()
    made.registers[MEMSIZE] = 196592
    return made


def test_nbio_routes_doorbells_as_the_stock_driver_does(transport: FakeTransport) -> None:
    Nbio(fakes.fake_gpu(transport)).hw_init()
    seen = transport.smn_writes()
    assert seen[0x1011D030] == 0
    assert [seen[0x1011D030 | aid << 32 | 1 << 34] for aid in (1, 2, 3)] == [0x10000] * 3
    assert seen[0x1803A2B4] == 0x7FF
    assert seen[0x18033DB8] == 0xFFFFF
    first = [seen[0x18033404 + 4 * engine] for engine in range(16)]
    assert first == [0x5200 + 20 * engine for engine in range(16)]
    for aid in range(4):
        base = 0x1011EA00 | ((aid << 32 | 1 << 34) if aid else 0)
        assert [seen[base + at] for at in (4, 8, 0x14, 0x18)] == [0x1028071D, 0x20280411, 0x80280493, 0x90280515]
    assert seen[0x18033400] == 0x2340  # the interrupt ring: 8 doorbells from 0x340 on
    assert seen[0x1011EA0C] == 0x100001
    assert len(seen) == 1 + 3 + 2 + 16 + 16 + 2


def test_nbio_leaves_harvested_xccs_and_engines_out(transport: FakeTransport) -> None:
    ip = fakes.ip_map(harvested_xccs=(1, 5), aids=2)
    Nbio(fakes.fake_gpu(transport, ip)).hw_init()
    seen = transport.smn_writes()
    assert seen[0x1011D030] == 0xFF & ~0b1101
    assert 0x18033404 + 4 * 8 not in seen
    assert not any(address >> 32 in (6, 7) for address in seen)


def test_nbio_opens_vram_doorbells_and_the_hdp_hole(transport: FakeTransport) -> None:
    Nbio(fakes.fake_gpu(transport)).hw_init()
    registers = transport.registers
    assert (registers[FB_EN], registers[APERTURE]) == (3, 1)
    assert (registers[REMAP], registers[REMAP + 4]) == (0x1A000, 0x1A004)


def test_nbio_costs_few_accesses_for_the_indirect_registers(transport: FakeTransport) -> None:
    Nbio(fakes.fake_gpu(transport)).hw_init()
    reads = sum(1 for verb, bar, _, _ in transport.log if (verb, bar) == ("R", 5))
    writes = sum(1 for verb, bar, _, _ in transport.log if (verb, bar) == ("W", 5))
    assert (reads, writes) <= (25, 100)


def test_nbio_index_registers_end_at_zero_for_other_aids(transport: FakeTransport) -> None:
    Nbio(fakes.fake_gpu(transport)).hw_init()
    assert transport.registers[fakes.INDEX2_HI] == 0
    assert transport.depth == 0


@pytest.mark.parametrize(("found", "left"), [(0b101, 0), (0b100 | 1 << 8, 1 << 8), (1 << 9, None)])
def test_nbio_leaves_baco_and_keeps_its_other_bits(transport: FakeTransport, found: int, left: int | None) -> None:
    transport.registers[BACO] = found
    Nbio(fakes.fake_gpu(transport)).hw_init()
    assert transport.writes(BACO) == ([] if left is None else [(BACO, left)])


def test_nbio_fini_turns_doorbells_off(transport: FakeTransport) -> None:
    nbio = Nbio(fakes.fake_gpu(transport))
    nbio.hw_init()
    transport.registers[SELF_RING] = 3
    nbio.hw_fini()
    assert (transport.registers[APERTURE], transport.registers[SELF_RING]) == (0, 0)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_nbio_without_memory_size_says_so(transport: FakeTransport, size: int) -> None:
    transport.registers[MEMSIZE] = size
    with pytest.raises(Unavailable, match="opening the way to VRAM") as error:
        Nbio(fakes.fake_gpu(transport)).hw_init()
    assert "RCC_CONFIG_MEMSIZE" in error.value.where


def test_nbio_lost_device_is_told_as_lost(transport: FakeTransport) -> None:
    transport.lost = True
    with pytest.raises(DeviceLost):
        Nbio(fakes.fake_gpu(transport)).hw_init()


def test_nbio_tells_ras_and_partitions(transport: FakeTransport) -> None:
    nbio = Nbio(fakes.fake_gpu(transport))
    transport.registers |= {RAS: 0b010, COMPUTE: 0x40, MEMORY: 0x80}
    assert (nbio.ras().controller, nbio.ras().fatal) == (True, False)
    transport.registers[RAS] = 0b100
    assert nbio.ras().fatal
    assert nbio.compute_partition() == 4
    assert nbio.memory_partitions() == 4
    transport.registers[MEMORY] = 0
    assert nbio.memory_partitions() == 0


def test_nbio_interrupt_requests_are_set_as_the_kernel_sets_them(transport: FakeTransport) -> None:
    transport.registers[INTERRUPT] = 0b1001 | 1 << 8
    Nbio(fakes.fake_gpu(transport)).setup_interrupts()
    assert transport.registers[INTERRUPT] == 1 << 8


def test_nbio_doorbell_numbers_are_those_of_layout_1() -> None:
    assert [sdma_doorbell(engine) for engine in (0, 1, 15)] == [0x200, 0x214, 0x32C]
    assert ih_doorbell() == 0x340
