"""The interrupt ring: entries, pointers, what happens when nobody reads, and what happens when it is off."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from gpumodel import open_models, pciconfig
from gpumodel.device import ModelGpu, ModelTransport
from pcibus.transport import DmaBuffer

FB = 0x80_0000_0000
ENABLE, TIMESTAMPS, WRITE_BACK, OVERFLOW_ENABLE, INTERRUPTS = 1, 1 << 7, 1 << 8, 1 << 16, 1 << 17
BUS, MC, OVERFLOW_CLEAR = 1 << 28, 4 << 28, 1 << 31
RING_BYTES = 1024
USUAL = ENABLE | TIMESTAMPS | WRITE_BACK | OVERFLOW_ENABLE | INTERRUPTS | 8 << 1  # 256 dwords
POINTER_PLACE = 0x10_0000


class Bench:
    """A ring in VRAM or in memory of the host, and a driver that reads it as the kernel does."""

    def __init__(self, spec: str = "mi350x", control: int = USUAL | MC) -> None:
        self.transport: ModelTransport = open_models(spec)[0]
        self.gpu: ModelGpu = self.transport.gpu
        self.transport.config_write(pciconfig.COMMAND, 2, 6)
        self.memory: DmaBuffer | None = None
        base, pointer = FB, FB + POINTER_PLACE
        if control >> 28 & 7 == 1:
            self.memory = self.transport.alloc_dma(POINTER_PLACE + 4096)
            base, pointer = self.memory.bus_addr[0], self.memory.bus_addr[0] + POINTER_PLACE
        self.set("IH_RB_BASE", base >> 8 & 0xFFFFFFFF)
        self.set("IH_RB_BASE_HI", base >> 40)
        self.set("IH_RB_WPTR_ADDR_LO", pointer & 0xFFFFFFFF)
        self.set("IH_RB_WPTR_ADDR_HI", pointer >> 32)
        self.set("IH_RB_CNTL", control)

    def set(self, name: str, value: int) -> None:
        self.transport.write32(5, self.gpu.registers.layout.address(f"OSSSYS.{name}") * 4, value)

    def get(self, name: str) -> int:
        return self.transport.read32(5, self.gpu.registers.layout.address(f"OSSSYS.{name}") * 4)

    def at(self, offset: int, size: int) -> bytes:
        if self.memory is not None:
            return self.memory.read(offset, size)
        return self.transport.read_block(0, offset, size)

    def written_back(self) -> int:
        return int.from_bytes(self.at(POINTER_PLACE, 4), "little")

    def entry(self, place: int) -> tuple[int, ...]:
        return struct.unpack("<8I", self.at(place * 32, 32))


@pytest.mark.parametrize("space", ["vram", "bus"])
def test_send_writes_entry_pointer_and_write_back(space: str) -> None:
    bench = Bench(control=USUAL | (MC if space == "vram" else BUS))
    bench.set("IH_CHICKEN", 1 << 4)
    bench.gpu.clock.sleep(1.5)
    bench.gpu.ih.send(0x14, 181, ring_id=0x45, vmid=9, pasid=0x8001, node=13, context=(1, 2, 3, 0xFFFFFFFF))
    client, stamp_low, stamp_high, owner, *context = bench.entry(0)
    assert client == 0x14 | 181 << 8 | 0x45 << 16 | 9 << 24
    assert (stamp_high << 32 | stamp_low) == 150_000_000
    assert owner == 0x8001 | 13 << 16
    assert context == [1, 2, 3, 0xFFFFFFFF]
    assert bench.written_back() == bench.get("IH_RB_WPTR") == 32
    assert bench.gpu.wrongs == []


def test_send_without_timestamps_has_none() -> None:
    bench = Bench(control=(USUAL & ~TIMESTAMPS) | MC)
    bench.gpu.clock.sleep(2.0)
    bench.gpu.ih.send(8, 224)
    assert bench.entry(0)[1:3] == (0, 0)


def test_timestamp_has_48_bits() -> None:
    bench = Bench()
    bench.gpu.clock.sleep((1 << 48) / 1e8 + 0.25)
    bench.gpu.ih.send(8, 224)
    assert bench.entry(0)[1:3] == (25_000_000, 0)


@pytest.mark.parametrize(("client", "table", "hub"), [(0x14, "IH_VMID_LUT", 0), (0x09, "IH_VMID_LUT_MM", 1)])
def test_send_pasid_and_hub_follow_vmid_and_client(client: int, table: str, hub: int) -> None:
    bench = Bench()
    bench.set(f"{table}[9]", 0x8123)
    bench.gpu.ih.send(client, 1, vmid=9)
    assert bench.entry(0)[3] == 0x8123
    assert bench.entry(0)[0] >> 31 == hub


def test_copy_engines_of_an_aid_have_their_own_table_and_a_scheduler_writes_all() -> None:
    bench = Bench()
    address = bench.gpu.registers.layout.address("OSSSYS.IH_VMID_LUT_MM[9]")
    bench.gpu.registers.write(address + 2 * 0x20000, 0x8123, "sdma")  # register numbers are local to AID 2
    for number, (node, pasid) in enumerate([(8, 0x8123), (4, 0)]):
        bench.gpu.ih.send(0x09, 1, vmid=9, node=node)
        assert bench.entry(number)[3] & 0xFFFF == pasid
    bench.gpu.ih.set_pasid(9, 0x8007)
    for number, (client, node) in enumerate([(0x14, 13), (0x08, 0), (0x12, 12)], 2):
        bench.gpu.ih.send(client, 1, vmid=9, node=node)
        assert bench.entry(number)[3] & 0xFFFF == 0x8007


def test_ring_wraps_and_the_driver_moves_the_read_pointer() -> None:
    bench = Bench()
    for number in range(70):
        bench.gpu.ih.send(0x14, 181, context=(number, 0, 0, 0))
        bench.set("IH_RB_RPTR", bench.get("IH_RB_WPTR"))
    assert bench.get("IH_RB_WPTR") == 70 * 32 % RING_BYTES
    assert bench.entry(5)[4] == 69
    assert bench.entry(6)[4] == 38


def test_full_ring_overwrites_the_oldest_and_says_so_as_the_kernel_expects() -> None:
    bench = Bench()
    for number in range(31):
        bench.gpu.ih.send(0x14, 181, context=(number, 0, 0, 0))
    assert bench.written_back() == 31 * 32
    bench.gpu.ih.send(0x14, 181, context=(31, 0, 0, 0))
    bench.gpu.ih.send(0x14, 181, context=(32, 0, 0, 0))
    # vega20_ih.c: bit 0, and the entry after the write pointer is the oldest that is left
    assert bench.written_back() == bench.get("IH_RB_WPTR") == 32 | 1
    pointer = (bench.written_back() & ~1) + 32
    assert [bench.entry((pointer // 32 + place) % 32)[4] for place in range(31)] == list(range(2, 33))


def test_overflow_is_cleared_by_the_pulse_in_the_register_and_by_the_next_entry_in_memory() -> None:
    bench = Bench()
    for _ in range(32):
        bench.gpu.ih.send(0x14, 181)
    control = bench.get("IH_RB_CNTL")
    assert bench.get("IH_RB_WPTR") & 1
    bench.set("IH_RB_RPTR", bench.get("IH_RB_WPTR"))
    bench.set("IH_RB_CNTL", control | OVERFLOW_CLEAR)
    bench.set("IH_RB_CNTL", control)
    assert bench.get("IH_RB_WPTR") == 0
    assert bench.written_back() == 1
    bench.gpu.ih.send(0x14, 181)
    assert bench.written_back() == bench.get("IH_RB_WPTR") == 32


def test_full_ring_without_overflow_drops_the_newest() -> None:
    bench = Bench(control=(USUAL & ~OVERFLOW_ENABLE) | MC)
    for number in range(40):
        bench.gpu.ih.send(0x14, 181, context=(number, 0, 0, 0))
    assert bench.get("IH_RB_WPTR") == 31 * 32
    assert bench.entry(30)[4] == 30
    assert bench.gpu.ih.dropped == 9
    assert bench.gpu.wrongs == ["ih: first lost interrupt: ring 0 is full"]


def test_ring_that_is_off_takes_nothing_and_the_loss_is_recorded() -> None:
    bench = Bench(control=(USUAL & ~ENABLE) | MC)
    bench.gpu.ih.send(0x14, 181)
    bench.gpu.ih.send(0x14, 181)
    assert bench.get("IH_RB_WPTR") == bench.written_back() == 0
    assert bench.gpu.unknown_accesses == {("interrupt-lost", 0): 2}
    assert bench.gpu.wrongs == ["ih: first lost interrupt: interrupt 0x14/181 while ring 0 is off"]


def test_ring_in_host_memory_needs_the_chicken_bit_and_bus_master() -> None:
    bench = Bench(control=USUAL | BUS)
    bench.gpu.ih.send(0x14, 181)
    bench.set("IH_CHICKEN", 1 << 4)
    bench.transport.config_write(pciconfig.COMMAND, 2, 2)
    bench.gpu.ih.send(0x14, 181)
    assert bench.gpu.ih.dropped == 2
    assert "without MC_SPACE_GPA_ENABLE" in bench.gpu.wrongs[0]
    assert bench.get("IH_RB_WPTR") == 0
    bench.transport.config_write(pciconfig.COMMAND, 2, 6)
    bench.gpu.ih.send(0x14, 181)
    assert bench.written_back() == 32


@pytest.mark.parametrize("size_code", [0, 2, 17])
def test_ring_of_an_impossible_size_takes_nothing(size_code: int) -> None:
    bench = Bench(control=(USUAL & ~0x3E) | MC | size_code << 1)
    bench.gpu.ih.send(0x14, 181)
    assert bench.gpu.wrongs == [
        f"ih: ring 0 enabled with size code {size_code}",
        "ih: first lost interrupt: ring 0 has no usable size",
    ]
    assert bench.get("IH_RB_WPTR") == 0


def test_message_to_the_host_only_when_interrupts_are_on() -> None:
    for control, expected in ((USUAL, 2), (USUAL & ~INTERRUPTS, 0)):
        bench = Bench(control=control | MC)
        told: list[int] = []
        bench.gpu.ih.on_interrupt = _teller(told)
        bench.gpu.ih.send(0x14, 181)
        bench.gpu.ih.send(0x14, 181)
        assert len(told) == expected


def _teller(told: list[int]) -> Callable[[], None]:
    return lambda: told.append(1)


def test_second_ring_announces_itself_in_the_first() -> None:
    bench = Bench()
    second = FB + 0x20_0000
    bench.set("IH_RB_BASE_RING1", second >> 8 & 0xFFFFFFFF)
    bench.set("IH_RB_BASE_HI_RING1", second >> 40)
    bench.set("IH_RB_CNTL_RING1", USUAL | MC)
    bench.gpu.ih.send(0x12, 0, vmid=8, ring=1)
    assert bench.at(0x20_0000, 4) == (0x12 | 8 << 24 | 1 << 31).to_bytes(4, "little")
    assert bench.get("IH_RB_WPTR_RING1") == 32
    assert bench.entry(0)[0] == 0 | 0 << 8 | 1 << 16
    assert bench.entry(0)[4] == 32
    assert bench.get("IH_RB_WPTR") == 32


def test_doorbell_moves_the_read_pointer_of_its_ring_only() -> None:
    bench = Bench()
    bench.set("IH_DOORBELL_RPTR", 1 << 28 | 0x340)
    bench.set("IH_DOORBELL_RPTR_RING1", 1 << 28 | 0x342)
    assert bench.gpu.ih.doorbell(0x340, 0x60)
    assert (bench.get("IH_RB_RPTR"), bench.get("IH_RB_RPTR_RING1")) == (0x60, 0)
    assert bench.gpu.ih.doorbell(0x342, 0x20)
    assert (bench.get("IH_RB_RPTR"), bench.get("IH_RB_RPTR_RING1")) == (0x60, 0x20)
    assert not bench.gpu.ih.doorbell(0x344, 0)
    bench.set("IH_DOORBELL_RPTR", 0x340)
    assert not bench.gpu.ih.doorbell(0x340, 0)


def test_page_fault_of_a_process_arrives_in_the_ring_and_one_of_the_ring_itself_does_not_loop() -> None:
    bench = Bench()
    with pytest.raises(Exception, match="context 5 is off"):
        bench.gpu.gmc.read("GC[0]", 5, 0x7000, 4)
    assert bench.entry(0)[0] & 0xFFFF == 0x1B
    assert bench.entry(0)[4] == 7
    bench.set("IH_RB_BASE_HI", 0xF)
    bench.gpu.ih.send(0x14, 181)
    assert bench.get("IH_RB_WPTR") == 32
    assert bench.gpu.registers.get("MMHUB[0].VM_L2_PROTECTION_FAULT_STATUS") != 0
    assert "cannot be written" in bench.gpu.wrongs[-1]


def test_overflow_fault_floods_the_ring_when_it_is_enabled_and_after_each_interrupt() -> None:
    bench = Bench("mi350x?fault=ih-overflow")
    assert bench.written_back() & 1
    sources = {bench.entry(place)[0] for place in range(32)}
    assert sources == {0x1F | 0xFE << 8}
    bench.set("IH_RB_CNTL", USUAL | MC | OVERFLOW_CLEAR)
    bench.set("IH_RB_CNTL", USUAL | MC)
    bench.set("IH_RB_RPTR", bench.get("IH_RB_WPTR"))
    assert not bench.get("IH_RB_WPTR") & 1
    bench.gpu.ih.send(0x14, 181)
    assert bench.written_back() & 1
    assert {bench.entry(place)[0] for place in range(32)} == {0x1F | 0xFE << 8}


def test_cold_and_used_gpus_start_with_the_ring_off() -> None:
    for state in ("cold", "used"):
        gpu = open_models(f"mi300x?state={state}")[0].gpu
        assert gpu.registers.get("OSSSYS.IH_RB_CNTL") == 0
        gpu.ih.send(0x14, 181)
        assert gpu.ih.dropped == 1
