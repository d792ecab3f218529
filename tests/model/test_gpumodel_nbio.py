"""Doorbells on their way from BAR2 to a block, HDP flushes, and what NBIO answers."""

from __future__ import annotations

from typing import Any

import pytest

from gpumodel import open_models, pciconfig
from gpumodel.device import ModelGpu, ModelTransport

PORTS = {0: (1, 0xE, 1), 1: (2, 8, 2), 2: (5, 9, 8), 3: (6, 0xA, 9)}  # nbio_v7_9.c: S2A entry, AWID, AWADDR
SDMA_0 = 0x200  # doorbells in dwords: 0x100 + 10 * engine in units of 8 bytes
IH = 0x340


class Bench:
    """Blocks that note their doorbells, and a driver's hands for BAR5, SMN and BAR2."""

    def __init__(self, *, aperture: bool = True) -> None:
        self.transport: ModelTransport = open_models("mi350x")[0]
        self.gpu: ModelGpu = self.transport.gpu
        self.rung: list[tuple[Any, ...]] = []
        gpu: Any = self.gpu
        self.takes = ""  # which of the video blocks does
        gpu.gfx.doorbell = lambda index, value: self._note("gfx", index, value)
        gpu.sdma.doorbell = lambda engine, index, value: self._note("sdma", engine, index, value)
        gpu.ih.doorbell = lambda index, value: self._note("ih", index, value)
        gpu.vcn.doorbell = lambda unit, index, value: self._note("vcn", unit, index, value) and self.takes == "vcn"
        gpu.jpeg.doorbell = lambda unit, index, value: self._note("jpeg", unit, index, value) and self.takes == "jpeg"
        self.set("RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN", int(aperture))

    def _note(self, *what: Any) -> bool:
        self.rung.append(what)
        return True

    def address(self, name: str, aid: int = 0) -> int:
        return self.gpu.registers.layout.address(f"NBIO[{aid}].{name}") * 4

    def set(self, name: str, value: int, aid: int = 0) -> None:
        """In BAR5 if it reaches, else by SMN."""
        address = self.address(name, aid)
        if address < self.transport.bars()[5].size:
            self.transport.write32(5, address, value)
            return
        self.transport.write32(5, 0x38, address & 0xFFFFFFFF)
        self.transport.write32(5, 0x44, address >> 32)
        self.transport.write32(5, 0x3C, value)
        self.transport.write32(5, 0x44, 0)

    def get(self, name: str) -> int:
        return self.transport.read32(5, self.address(name))

    def route_sdma(self, engine: int, size: int = 20) -> None:
        aid, place = divmod(engine, 4)
        number, awid, awaddr = PORTS[place]
        self.set(f"DOORBELL0_CTRL_ENTRY_{1 + engine}", SDMA_0 + 20 * engine | size << 10)
        value = 1 | awid << 1 | awid << 7 | size << 17 | awaddr << 28
        self.set(f"S2A_DOORBELL_ENTRY_{number}_CTRL", value, aid)

    def route_ih(self) -> None:
        self.set("DOORBELL0_CTRL_ENTRY_0", IH | 8 << 10)
        self.set("S2A_DOORBELL_ENTRY_3_CTRL", 1 | 8 << 17)


@pytest.mark.parametrize("engine", range(16))
def test_doorbell_of_every_sdma_engine_reaches_it(engine: int) -> None:
    bench = Bench()
    bench.route_sdma(engine)
    index = SDMA_0 + 20 * engine
    bench.transport.write64(2, index * 4, 0x1_0000_0040)
    bench.transport.write32(2, (index + 19) * 4, 7)
    assert bench.rung == [("sdma", engine, index, 0x1_0000_0040), ("sdma", engine, index + 19, 7)]
    bench.transport.write32(2, (index + 20) * 4, 7)
    assert bench.rung[2:] == [("gfx", index + 20, 7)]
    assert bench.gpu.wrongs == []


@pytest.mark.parametrize("page", [1, 4, 511])
def test_doorbell_in_the_page_of_a_process_is_routed_by_its_lower_12_bits(page: int) -> None:
    """amdgpu_amdkfd.c, amdgpu_amdkfd_device_init: "BIF starts to statically use the lower 12 bits"."""
    bench = Bench()
    bench.route_sdma(3)
    index = page * 1024 + SDMA_0 + 20 * 3
    bench.transport.write64(2, index * 4, 0x40)
    bench.transport.write32(2, (index + 20) * 4, 7)
    assert bench.rung == [("sdma", 3, index, 0x40), ("gfx", index + 20, 7)]
    assert bench.gpu.wrongs == []


def test_doorbells_of_all_engines_together_go_each_its_way() -> None:
    bench = Bench()
    for engine in range(16):
        bench.route_sdma(engine)
    bench.route_ih()
    for engine in range(16):
        bench.transport.write64(2, (SDMA_0 + 20 * engine) * 4, engine)
    bench.transport.write32(2, IH * 4, 0x20)
    bench.transport.write64(2, 0, 64)
    expected: list[tuple[Any, ...]] = [("sdma", engine, SDMA_0 + 20 * engine, engine) for engine in range(16)]
    assert bench.rung == [*expected, ("ih", IH, 0x20), ("gfx", 0, 64)]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"S2A_DOORBELL_ENTRY_5_CTRL": 0}, "S2A_DOORBELL_ENTRY_5_CTRL of AID 1 is off"),
        ({"S2A_DOORBELL_ENTRY_5_CTRL": 1 | 9 << 1 | 8 << 28}, "S2A_DOORBELL_ENTRY_5_CTRL of AID 1 is off"),
        ({"S2A_DOORBELL_ENTRY_5_CTRL": 1 | 8 << 1 | 20 << 17 | 8 << 28}, "of AID 1 names another receiver"),
        ({"S2A_DOORBELL_ENTRY_5_CTRL": 1 | 9 << 1 | 20 << 17 | 9 << 28}, "of AID 1 names another receiver"),
    ],
)
def test_doorbell_that_the_second_hop_does_not_pass_on_is_lost_and_recorded(broken: dict[str, int], why: str) -> None:
    bench = Bench()
    bench.route_sdma(6)
    for name, value in broken.items():
        bench.set(name, value, 1)
    offset = (SDMA_0 + 120) * 4
    bench.transport.write64(2, offset, 1)
    assert bench.rung == []
    assert bench.gpu.unknown_accesses == {("doorbell", offset): 1}
    assert bench.gpu.wrongs[0].startswith(f"nbio: doorbell {offset:#x} for sdma 6 gets lost: ")
    assert bench.gpu.wrongs[0].endswith(why)


def test_route_that_is_taken_back_ends() -> None:
    bench = Bench()
    bench.route_sdma(0)
    bench.transport.write32(2, SDMA_0 * 4, 1)
    bench.set("DOORBELL0_CTRL_ENTRY_1", SDMA_0)
    bench.transport.write32(2, SDMA_0 * 4, 2)
    assert bench.rung == [("sdma", 0, SDMA_0, 1), ("gfx", SDMA_0, 2)]


def test_doorbell_while_the_aperture_is_off_is_lost_and_recorded() -> None:
    bench = Bench(aperture=False)
    bench.transport.write64(2, 0x40, 5)
    assert bench.rung == []
    assert bench.gpu.wrongs == ["nbio: doorbell 0x40 while the aperture is off"]
    assert bench.gpu.unknown_accesses == {("doorbell", 0x40): 1}
    assert bench.transport.read64(2, 0x40) == 5


def test_doorbell_that_no_queue_listens_to_is_recorded() -> None:
    bench = Bench()
    gpu: Any = bench.gpu
    gpu.gfx.doorbell = lambda index, value: False
    bench.transport.write32(2, 0x800, 1)
    assert bench.gpu.unknown_accesses == {("doorbell", 0x800): 1}


@pytest.mark.parametrize("by", ["vcn", "jpeg", "nobody"])
def test_doorbell_of_a_video_engine_is_offered_to_its_rings(by: str) -> None:
    bench = Bench()
    bench.takes = by
    bench.set("DOORBELL0_CTRL_ENTRY_18", 0x374 | 9 << 10)
    bench.set("S2A_DOORBELL_ENTRY_4_CTRL", 1 | 4 << 1 | 4 << 7 | 9 << 17 | 4 << 28, 1)
    bench.transport.write32(2, 0x374 * 4, 1)
    asked = ["vcn"] if by == "vcn" else ["vcn", "jpeg"]
    assert bench.rung == [(block, 1, 0x374, 1) for block in asked]
    assert bench.gpu.unknown_accesses == ({("doorbell", 0x374 * 4): 1} if by == "nobody" else {})
    assert bench.gpu.wrongs == []


def test_block_write_to_the_doorbell_bar_rings_words() -> None:
    bench = Bench()
    bench.transport.write_block(2, 0x10, b"\1\0\0\0\2\0\0\0")
    assert bench.rung == [("gfx", 4, 1), ("gfx", 5, 2)]


def test_doorbell_of_the_device_itself_through_the_bus_address_of_bar2() -> None:
    bench = Bench()
    base = bench.transport.bars()[2].address
    assert not bench.gpu.gmc.bus_write(base, bytes(4))
    bench.set("BIF_BX_PF0_DOORBELL_SELFRING_GPA_APER_BASE_LOW", base & 0xFFFFFFFF)
    bench.set("BIF_BX_PF0_DOORBELL_SELFRING_GPA_APER_BASE_HIGH", base >> 32)
    bench.set("BIF_BX_PF0_DOORBELL_SELFRING_GPA_APER_CNTL", 1)
    assert bench.gpu.gmc.bus_write(base + 0x40, (9).to_bytes(8, "little"))
    assert not bench.gpu.gmc.bus_write(base + 0x40, bytes(16))
    assert bench.rung == [("gfx", 0x10, 9)]


# ---- HDP


def test_hdp_flush_where_the_register_says_it_lies() -> None:
    bench = Bench()
    place = bench.get("BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL")
    assert place == 0x385C  # after power-on
    bench.transport.write32(5, place, 0)
    assert bench.gpu.nbio.hdp_flushes == 1
    bench.set("BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL", 0x1A000)
    bench.set("BIF_BX0_REMAP_HDP_REG_FLUSH_CNTL", 0x1A004)
    bench.transport.write32(5, 0x1A000, 0)
    bench.transport.write32(5, 0x1A004, 0)
    assert bench.gpu.nbio.hdp_flushes == 3
    assert bench.gpu.unknown_accesses == {}
    bench.transport.write32(5, 0x1A008, 0)
    assert bench.gpu.nbio.hdp_flushes == 3
    assert bench.gpu.unknown_accesses == {("mmio-write", 0x1A008): 1}


def test_hdp_flush_by_an_engine_is_done_when_its_bit_comes_back() -> None:
    bench = Bench()
    bench.set("BIF_BX_PF0_GPU_HDP_FLUSH_REQ", 1 << 11)
    assert bench.get("BIF_BX_PF0_GPU_HDP_FLUSH_DONE") == 1 << 11
    assert bench.gpu.nbio.hdp_flushes == 1


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_registers_that_a_driver_sets_up_echo(part: str) -> None:
    transport = open_models(part)[0]
    layout = transport.gpu.registers.layout
    for name in ("BIF_BX0_BACO_CNTL", "BIF_BX0_INTERRUPT_CNTL", "BIF_BX0_INTERRUPT_CNTL2", "BIF_BX0_BIF_FB_EN"):
        transport.write32(5, layout.address(f"NBIO[0].{name}") * 4, 0x1234_5678)
        assert transport.read32(5, layout.address(f"NBIO[0].{name}") * 4) == 0x1234_5678
    assert layout.address("NBIO[0].XCC_DOORBELL_FENCE") * 4 == 0x1011D030  # item 9
    assert layout.address("NBIO[2].XCC_DOORBELL_FENCE") * 4 == 0x1011D030 + (6 << 32)
    transport.config_write(pciconfig.COMMAND, 2, 6)
    assert transport.gpu.unknown_accesses == {}
