"""Copy engines: rings, packets, time, status, interrupts, resets."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from gpumodel.chips import VRAM_MC_BASE
from gpumodel.sdma_engine import RINGS
from registers.amd.sdma_4_4_2 import Sdma
from tests.engine_rig import SDMA_FIRMWARE, CopyRing, Rig, copy, fence, low_high, poll_memory, sdma_write

HERE = 0x4000
SIGNAL = 0x5000
SOURCE = 0x100_0000
TARGET = 0x900_0000
IB = 0x30_0000
NOP = (0,)
IDLE = 0x46DEE557


def opened(engine: int = 0, **options: Any) -> tuple[Rig, CopyRing]:
    rig = Rig()
    return rig, CopyRing(rig, engine=engine, **options).open()


def test_rings_have_the_same_registers_at_one_stride() -> None:
    rig = Rig()
    base = rig.gpu.chip.bases("SDMA0")[0][0]
    layout = rig.gpu.registers.layout
    listed = [name for name in Sdma.REGISTERS if name.split("_")[1] in RINGS]
    assert len(listed) > 80
    for name in listed:
        assert layout.address(f"SDMA[0].{name}") == base + Sdma.REGISTERS[name].offset


@pytest.mark.parametrize("engine", range(16))
def test_ring_test_write_on_every_engine(engine: int) -> None:
    rig, ring = opened(engine)
    ring.submit(sdma_write(HERE, 0xDEADBEEF))
    assert rig.get(HERE) == 0xDEADBEEF
    assert rig.get64(0x9000) == 20
    assert ring.reg("GFX_RB_RPTR") == 20
    assert {(hub, vmid) for hub, vmid, _ in rig.memory.seen} == {(f"MMHUB[{engine // 4}]", 0)}
    assert ring.status == IDLE


@pytest.mark.parametrize("size", [1, 3, 4, 63, 4096, 1 << 20])
@pytest.mark.parametrize(("skew_to", "skew_from"), [(0, 0), (1, 3)])
def test_copy_moves_exactly_its_bytes(size: int, skew_to: int, skew_from: int) -> None:
    rig, ring = opened()
    data = bytes(place * 7 % 251 for place in range(size))
    rig.memory.data.write(SOURCE + skew_from, data)
    ring.submit(copy(TARGET + skew_to, SOURCE + skew_from, size), fence(SIGNAL, 1))
    assert rig.memory.data.read(TARGET + skew_to, size + 1) == data + b"\0"
    assert rig.get(SIGNAL) == 1


def test_copy_takes_time_and_few_transfers_and_lands_at_its_end() -> None:
    rig, ring = opened()
    size = 16 << 20
    rig.put(SOURCE, 1)
    rig.memory.data.write(SOURCE + size - 4, b"\2\0\0\0")
    ring.submit(copy(TARGET, SOURCE, size), fence(SIGNAL, 1), run=False)
    rig.run(100e-6)
    assert (rig.get(TARGET), rig.get(SIGNAL)) == (0, 0)
    assert not ring.idle
    assert ring.reg("GFX_CONTEXT_STATUS") == 1
    assert ring.reg("STATUS2_REG") >> 16 == 1
    assert ring.reg("GFX_RB_RPTR") == 0
    rig.memory.transfers = 0
    rig.run(400e-6)
    assert (rig.get(TARGET), rig.get(TARGET + size - 4), rig.get(SIGNAL)) == (1, 2, 1)
    assert rig.memory.transfers < 40
    assert ring.idle


def test_engine_program_counter_moves_while_it_works() -> None:
    rig, ring = opened()
    ring.submit(copy(TARGET, SOURCE, 64 << 20), run=False)
    rig.run(10e-6)
    assert len({ring.reg("STATUS2_REG") for _ in range(4)}) == 4
    rig.run(2e-3)
    assert len({ring.reg("STATUS2_REG") for _ in range(4)}) == 1


def test_copy_to_two_places() -> None:
    rig, ring = opened()
    rig.put(SOURCE, 1, 2)
    ring.submit((1 | 1 << 27, 7, 0, *low_high(SOURCE), *low_high(TARGET), *low_high(TARGET + 64)))
    assert (rig.get64(TARGET), rig.get64(TARGET + 64)) == (2 << 32 | 1, 2 << 32 | 1)


def test_copy_count_has_30_bits() -> None:
    rig, ring = opened()
    rig.memory.data.write(SOURCE + (32 << 20), b"end!")
    ring.submit(copy(TARGET + (1 << 30), SOURCE, (32 << 20) + 4), run=False)
    rig.run(2e-3)
    assert rig.memory.data.read(TARGET + (1 << 30) + (32 << 20), 4) == b"end!"


def test_ring_wraps_and_pointers_do_not() -> None:
    rig, ring = opened(dwords=64)
    for number in range(30):
        ring.submit(fence(HERE + 4 * number, number + 1), NOP)
    assert [rig.get(HERE + 4 * number) for number in range(30)] == list(range(1, 31))
    assert ring.reg("GFX_RB_RPTR") == 30 * 5 * 4


def test_write_pointer_register_starts_the_ring_unless_minor_update_is_on() -> None:
    rig, ring = opened()
    rig.run()
    rig.put(ring.base, *fence(HERE, 1))
    ring.set("GFX_MINOR_PTR_UPDATE", 1)
    ring.set("GFX_RB_WPTR", 16)
    rig.run()
    assert rig.get(HERE) == 0
    ring.set("GFX_MINOR_PTR_UPDATE", 0)
    ring.set("GFX_RB_WPTR", 16)
    rig.run()
    assert rig.get(HERE) == 1


@pytest.mark.parametrize("fill", [(0, 0xAB, b"\xab" * 12), (2, 0x11223344, b"\x44\x33\x22\x11" * 3)])
def test_constant_fill_by_bytes_and_dwords(fill: tuple[int, int, bytes]) -> None:
    size, value, expected = fill
    rig, ring = opened()
    ring.submit((11 | size << 30, *low_high(HERE), value, 11))
    assert rig.memory.data.read(HERE, 13) == expected + b"\0"


def test_constant_fill_of_more_than_the_model_moves_at_once() -> None:
    rig, ring = opened()
    ring.submit((11 | 2 << 30, *low_high(TARGET), 0x01020304, (2 << 20) + 11), run=False)
    rig.run(1e-3)
    assert rig.memory.data.read(TARGET, (2 << 20) + 16) == b"\4\3\2\1" * ((2 << 18) + 3) + bytes(4)


def test_nop_with_count_skips_what_follows() -> None:
    rig, ring = opened()
    ring.submit((0 | 3 << 16, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), fence(HERE, 1))
    assert rig.get(HERE) == 1


def indirect(address: int, dwords: int, vmid: int = 0) -> tuple[int, ...]:
    return (4 | vmid << 16, *low_high(address), dwords, 0, 0)


@pytest.mark.parametrize("vmid", [0, 3])
def test_indirect_buffer_runs_in_its_vmid(vmid: int) -> None:
    rig, ring = opened()
    rig.put(IB, *sdma_write(HERE, 5), 0, 0, 0)
    ring.submit(NOP, NOP, indirect(IB, 8, vmid), fence(SIGNAL, 1))
    assert (rig.get(HERE), rig.get(SIGNAL)) == (5, 1)
    assert {seen for _, seen, _ in rig.memory.seen} == {0, vmid}


def test_indirect_buffer_while_they_are_off_waits() -> None:
    rig, ring = opened()
    ring.set("GFX_IB_CNTL", 0x100)
    rig.put(IB, *sdma_write(HERE, 5))
    ring.submit(NOP, NOP, indirect(IB, 5))
    assert rig.get(HERE) == 0
    ring.set("GFX_IB_CNTL", 0x101)
    rig.run()
    assert rig.get(HERE) == 5


def test_poll_memory_waits_and_goes_on() -> None:
    rig, ring = opened()
    ring.submit(poll_memory(SIGNAL, 7), fence(HERE, 1))
    assert rig.get(HERE) == 0
    assert not ring.idle
    rig.put(SIGNAL, 7)
    rig.run()
    assert rig.get(HERE) == 1
    assert ring.status == IDLE


def test_poll_with_few_tries_gives_up_with_an_interrupt() -> None:
    rig, ring = opened()
    ring.submit(poll_memory(SIGNAL, 7, retries=3), fence(HERE, 1))
    assert rig.get(HERE) == 1
    assert [sent.source for sent in rig.interrupts.sent] == [246]
    assert "POLL_REGMEM gave up after 3 tries" in rig.gpu.wrongs[0]


def test_poll_of_a_register_of_the_same_aid() -> None:
    rig, ring = opened(engine=5)
    address = rig.gpu.registers.layout.address("GC[2].SCRATCH_REG1")
    ring.submit((8 | 3 << 28, address << 2, 0, 9, 0xF, 0xFFF << 16 | 10), fence(HERE, 1))
    assert rig.get(HERE) == 0
    rig.set("GC[2].SCRATCH_REG1", 0x19)
    rig.run()
    assert rig.get(HERE) == 1


def test_hdp_flush_poll_is_done_at_once() -> None:
    rig, ring = opened()
    ring.submit(
        (8 | 1 << 26 | 3 << 28, (0xD20 + 0x107) << 2, (0xD20 + 0x106) << 2, 1 << 10, 1 << 10, 0xFFF << 16),
        fence(HERE, 1),
    )
    assert rig.get(HERE) == 1


@pytest.mark.parametrize(("reference", "seen"), [(1, 5), (2, 0)])
def test_conditional_execution(reference: int, seen: int) -> None:
    rig, ring = opened()
    rig.put(SIGNAL, 1)
    ring.submit((9, *low_high(SIGNAL), reference, 4), fence(HERE, 5), fence(HERE + 4, 6))
    assert (rig.get(HERE), rig.get(HERE + 4)) == (seen, 6)


@pytest.mark.parametrize(
    ("code", "operand", "expected"),
    [
        (0x2F, 3, 0x1_0000_000D),
        (0x6F, 3, 0x1_0000_000D),
        (0x0F, 0xFFFFFFFF, 9),
        (0x27, 7, 7),
        (0x10, 4, 6),
        (0x15, 8, 8),
        (0x16, 1, 11),
    ],
)
def test_atomics(code: int, operand: int, expected: int) -> None:
    rig, ring = opened()
    rig.put(HERE, 10, 1)
    ring.submit((10 | code << 25, *low_high(HERE), *low_high(operand), 0, 0, 0))
    seen = rig.get64(HERE) if code & 0x20 else rig.get(HERE)
    assert seen == expected


def test_atomic_compare_swap_and_loop() -> None:
    rig, ring = opened()
    ring.submit((10 | 0x28 << 25, *low_high(HERE), 5, 0, 1, 0, 0), fence(SIGNAL, 1))
    assert (rig.get(HERE), rig.get(SIGNAL)) == (0, 1)
    ring.submit((10 | 1 << 16 | 0x28 << 25, *low_high(HERE), 5, 0, 1, 0, 0), fence(SIGNAL, 2))
    assert rig.get(SIGNAL) == 1
    rig.put(HERE, 1)
    rig.run()
    assert (rig.get(HERE), rig.get(SIGNAL)) == (5, 2)


def test_page_table_entries_are_generated() -> None:
    rig, ring = opened()
    ring.submit((12, *low_high(HERE), 0x71, 0, *low_high(0x12_0000_1000), 0x1000, 0, 2))
    entries = struct.unpack("<4Q", rig.memory.data.read(HERE, 32))
    assert entries == (0x12_0000_1071, 0x12_0000_2071, 0x12_0000_3071, 0)


@pytest.mark.parametrize("sub", [1, 2])
def test_timestamps_count_100_mhz(sub: int) -> None:
    rig, ring = opened()
    ring.submit((13 | sub << 8, *low_high(HERE)))
    rig.clock.sleep(1)
    ring.submit((13 | sub << 8, *low_high(HERE + 8)))
    assert rig.get64(HERE + 8) - rig.get64(HERE) == pytest.approx(100_010_000, abs=2000)


@pytest.mark.parametrize(("enable", "expected"), [(0xF, 0x11223344), (0x3, 0xAAAA3344), (0, 0xAAAAAAAA)])
def test_register_write_of_the_own_aid(enable: int, expected: int) -> None:
    rig, ring = opened(engine=9)
    rig.set("GC[4].SCRATCH_REG3", 0xAAAAAAAA)
    address = rig.gpu.registers.layout.address("GC[4].SCRATCH_REG3")
    ring.submit((14 | enable << 28, address & 0x3FFFF, 0x11223344))
    assert rig.reg("GC[4].SCRATCH_REG3") == expected


@pytest.mark.parametrize(
    ("engine", "client", "node"), [(0, 8, 0), (1, 9, 0), (2, 1, 0), (3, 4, 0), (6, 1, 4), (15, 4, 12)]
)
def test_trap_interrupt(engine: int, client: int, node: int) -> None:
    rig, ring = opened(engine)
    ring.submit((6, 0x1234567))
    (sent,) = rig.interrupts.sent
    assert (sent.client, sent.source, sent.ring_id, sent.node, sent.context[0]) == (client, 224, 0, node, 0x1234567)
    ring.set("CNTL", 2)
    ring.submit((6, 0))
    assert len(rig.interrupts.sent) == 1


BAD = {
    "opcode": ((0x7F,), "opcode 127, sub-opcode 0"),
    "sub-opcode": ((1 | 1 << 8,), "opcode 1, sub-opcode 1"),
    "semaphore": ((7, 0, 0), "opcode 7"),
    "write": (sdma_write(HERE + 2, 1), "WRITE to 0x4002, not a multiple of 4"),
    "fence": (fence(HERE + 1, 1), "FENCE at 0x4001, not a multiple of 4"),
    "ib-base": ((*NOP, *NOP, *indirect(IB + 4, 8)), "not a multiple of 32"),
    "ib-place": (indirect(IB, 8), "INDIRECT ends at dword 10, not on 8 dwords"),
    "fill-size": ((11 | 3 << 30, *low_high(HERE), 0, 3), "CONST_FILL with size 3"),
    "fill-unit": ((11 | 2 << 30, *low_high(HERE), 0, 4), "CONST_FILL of 5 bytes"),
    "atomic": ((10 | 0x3F << 25, *low_high(HERE), 0, 0, 0, 0, 0), "ATOMIC operation 0x3f"),
    "pte": ((12, *low_high(HERE + 4), 0, 0, 0, 0, 0, 0, 0), "PTEPDE_GEN to 0x4004"),
    "poll": ((8 | 7 << 28 | 1 << 31, *low_high(HERE), 0, 0, 0), "POLL_REGMEM with function 7"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_packet_stops_the_engine_with_a_record(name: str) -> None:
    packet, text = BAD[name]
    rig, ring = opened()
    ring.submit(fence(SIGNAL, 1), packet, fence(HERE + 0x100, 1))
    assert text in rig.gpu.wrongs[0]
    assert (rig.get(SIGNAL), rig.get(HERE + 0x100)) == (1, 0)
    assert not ring.idle
    assert ring.reg("GFX_RB_RPTR") < ring.wptr * 4
    ring.submit(fence(HERE + 0x104, 1))
    assert rig.get(HERE + 0x104) == 0


def test_nested_and_cut_indirect_buffers_stop_the_engine() -> None:
    for words, text in ((indirect(IB, 8), "INDIRECT inside"), (fence(HERE, 1)[:3], "reaches over the end")):
        rig, ring = opened()
        rig.put(IB, *words)
        ring.submit(NOP, NOP, indirect(IB, len(words)))
        assert text in rig.gpu.wrongs[0]


def test_register_write_of_a_process_stops_the_engine() -> None:
    rig, ring = opened(vmid=3)
    ring.submit((14 | 0xF << 28, 0xC041, 1))
    assert "SRBM_WRITE in a process's VMID" in rig.gpu.wrongs[0]


def test_ring_overrun_stops_the_engine() -> None:
    rig, ring = opened(dwords=64)
    ring.wptr = 100
    ring.submit(NOP)
    assert "ring overrun: 0x194 bytes in a ring of 0x100" in rig.gpu.wrongs[0]


@pytest.mark.parametrize("place", [SOURCE, TARGET, "ring"])
def test_page_fault_stops_the_engine(place: int | str) -> None:
    rig, ring = opened()
    where = ring.base if isinstance(place, str) else place
    rig.memory.forbidden.append(range(where, where + 4))
    ring.submit(copy(TARGET, SOURCE, 64), fence(SIGNAL, 1))
    assert f"engine 0, GFX: no page at {where:#x}" in rig.gpu.wrongs[0]
    assert rig.get(SIGNAL) == 0
    assert not ring.idle


def test_packet_that_is_not_there_whole_is_waited_for() -> None:
    rig, ring = opened()
    packet = sdma_write(HERE, 1, 2, 3)
    ring.submit(fence(SIGNAL, 1), packet[:3])
    assert ring.reg("GFX_RB_RPTR") == 16
    ring.submit(packet[3:])
    assert [rig.get(HERE + place) for place in (0, 4, 8)] == [1, 2, 3]


@pytest.mark.parametrize("missing", range(4))
def test_engine_without_firmware_stays_halted(missing: int) -> None:
    rig = Rig("mi350x?state=cold")
    rig.gpu.psp.loaded.discard(SDMA_FIRMWARE[missing])
    rings = [CopyRing(rig, engine, base=0x20_0000 + 0x10000 * engine).open() for engine in range(8)]
    for ring in rings:
        ring.submit(fence(HERE + 4 * ring.engine, 1))
    assert [rig.get(HERE + 4 * engine) for engine in range(8)] == [int(engine % 4 != missing) for engine in range(8)]
    assert [ring.reg("F32_CNTL") & 1 for ring in rings] == [int(engine % 4 == missing) for engine in range(8)]
    assert "ring enabled without firmware" in rig.gpu.wrongs[0]


def test_engine_that_never_starts_stays_halted() -> None:
    rig = Rig("mi350x?state=cold")
    rig.gpu.sdma.never_starts.add(2)
    ring = CopyRing(rig, 2).open()
    ring.set("F32_CNTL", 0)
    ring.submit(fence(HERE, 1))
    assert (rig.get(HERE), ring.reg("F32_CNTL") & 1) == (0, 1)


def test_halt_and_go_on() -> None:
    rig, ring = opened()
    ring.set("F32_CNTL", 1)
    ring.submit(fence(HERE, 1))
    assert rig.get(HERE) == 0
    ring.set("F32_CNTL", 0)
    rig.run()
    assert rig.get(HERE) == 1


def test_doorbell_while_the_ring_is_off_is_where_it_ends_once_it_is_on() -> None:
    """sdma_v4_4_2_gfx_resume with restore: RB_WPTR is the read pointer, the doorbell tells of the jobs behind it."""
    rig, ring = opened()
    ring.set("GFX_RB_CNTL", 11 << 1)
    rig.put(ring.base + 64, *fence(HERE, 9))
    ring.set("GFX_RB_RPTR", 64)
    ring.set("GFX_RB_WPTR", 64)
    assert rig.gpu.sdma.doorbell(0, ring.doorbell, 80)
    rig.run()
    assert rig.get(HERE) == 0
    ring.set("GFX_RB_CNTL", 11 << 1 | 1)
    rig.run()
    assert rig.get(HERE) == 9
    assert rig.gpu.wrongs == []
    ring.set("GFX_DOORBELL", 0)
    assert not rig.gpu.sdma.doorbell(0, ring.doorbell, 16)


def test_doorbell_of_a_queue_that_moved_to_another_ring_reaches_it() -> None:
    """A scheduler puts a queue onto a free ring; the one that it had before listens still."""
    rig = Rig()
    before = CopyRing(rig, 3, ring="RLC0", vmid=9).open()
    before.set("RLC0_RB_CNTL", 11 << 1)
    now = CopyRing(rig, 3, ring="RLC1", vmid=9).open()
    now.submit(fence(HERE, 4))
    assert rig.get(HERE) == 4


def test_interrupts_of_an_engine_stay_on_over_its_reset() -> None:
    """restore_queue changes other bits of SDMA_CNTL only."""
    rig, ring = opened()
    ring.set("CNTL", 0x1004_0003)
    rig.gpu.sdma.reset_engines(1)
    assert ring.reg("CNTL") == 0x1004_0003
    assert ring.reg("GFX_RB_BASE") == 0


def test_doorbell_offset_of_an_off_doorbell_is_nobodys() -> None:
    rig, ring = opened()
    ring.set("GFX_DOORBELL", 0)
    ring.set("GFX_DOORBELL_OFFSET", 0)
    assert not rig.gpu.sdma.doorbell(0, 0, 16)


def test_hung_engine_does_not_proceed_and_is_reset_by_the_smu() -> None:
    rig = Rig("mi350x?fault=sdma-hang:6")
    ring = CopyRing(rig, 6).open()
    ring.submit(fence(HERE, 1))
    assert rig.get(HERE) == 0
    assert ring.reg("GFX_CONTEXT_STATUS") & 1 == 1
    other = CopyRing(rig, 7, base=0x22_0000).open()
    other.submit(fence(HERE + 4, 1))
    assert rig.get(HERE + 4) == 1
    rig.gpu.sdma.reset_engines(1 << 6)
    assert (ring.reg("F32_CNTL") & 1, ring.status, ring.reg("GFX_RB_RPTR")) == (0, IDLE, 0)
    assert other.reg("GFX_RB_CNTL") & 1 == 1
    again = CopyRing(rig, 6).open()
    again.submit(fence(HERE, 2))
    assert rig.get(HERE) == 2


def test_engine_that_hangs_during_a_copy_stops_in_the_middle() -> None:
    rig, ring = opened()
    rig.memory.data.write(SOURCE, b"\1" * 4096)
    ring.submit(copy(TARGET, SOURCE, 4096), fence(SIGNAL, 1), run=False)
    rig.clock.sleep(1e-6)
    rig.gpu.hive.events.run_due()
    rig.gpu.sdma.hung.add(0)
    rig.run(1e-3)
    assert rig.memory.data.read(TARGET, 4096) == b"\1" * 2048 + bytes(2048)
    assert rig.get(SIGNAL) == 0
    assert not ring.idle
    assert ring.reg("GFX_RB_RPTR") < ring.reg("GFX_RB_WPTR")


def test_copy_that_was_in_work_does_not_survive_a_reset() -> None:
    rig, ring = opened()
    rig.put(SOURCE, 5)
    ring.submit(copy(TARGET, SOURCE, 1 << 20), run=False)
    rig.run(5e-6)
    rig.gpu.sdma.reset_engines(1)
    rig.run(1e-3)
    assert rig.get(TARGET) == 0
    assert ring.idle


def test_queue_goes_on_at_the_pointers_that_were_written_while_it_was_off() -> None:
    """sdma_v4_4_2_gfx_resume with restore: both pointers are set, then the ring is switched on."""
    rig, ring = opened()
    ring.set("GFX_RB_CNTL", 11 << 1)
    rig.put(ring.base + 64, *fence(HERE, 9))
    ring.set("GFX_RB_RPTR", 64)
    ring.set("GFX_RB_WPTR", 64)
    ring.set("GFX_RB_CNTL", 11 << 1 | 1)
    rig.run()
    assert rig.get(HERE) == 0
    rig.gpu.sdma.doorbell(0, ring.doorbell, 80)
    rig.run()
    assert rig.get(HERE) == 9


@pytest.mark.parametrize("left", ["idle", "copy", "poll"])
def test_ring_that_is_on_is_taken_over_at_new_pointers(left: str) -> None:
    """As tinygrad takes an engine over that a killed process left on."""
    rig, ring = opened()
    begun = {"idle": NOP, "copy": copy(TARGET, SOURCE, 64 << 20), "poll": poll_memory(HERE, 1)}[left]
    rig.put(SOURCE, 0xBAD)
    ring.submit(NOP, NOP, begun, fence(SIGNAL, 9), run=False)
    rig.run(20e-6)
    base = 0x60_0000
    ring.set("GFX_MINOR_PTR_UPDATE", 1)
    for name in ("GFX_RB_RPTR", "GFX_RB_RPTR_HI", "GFX_RB_WPTR", "GFX_RB_WPTR_HI"):
        ring.set(name, 0)
        rig.run(5e-6)
    rig.put(SIGNAL, 0)
    ring.set("GFX_RB_BASE", base >> 8)
    ring.set("GFX_MINOR_PTR_UPDATE", 0)
    ring.base, ring.wptr = base, 0
    ring.submit(fence(SIGNAL, 2))
    rig.run(5e-3)
    assert (rig.get(SIGNAL), rig.get(TARGET), ring.reg("GFX_RB_RPTR")) == (2, 0, 16)
    assert ring.idle and rig.gpu.wrongs == []


def test_user_queue_by_registers_runs_in_its_vmid() -> None:
    """kgd_gfx_v9_4_3_hqd_sdma_load."""
    rig = Rig()
    ring = CopyRing(rig, 3, ring="RLC1", vmid=9).open()
    ring.submit(fence(HERE, 4), (6, 0x55))
    assert rig.get(HERE) == 4
    assert {(hub, vmid) for hub, vmid, _ in rig.memory.seen} == {("MMHUB[0]", 9)}
    (sent,) = rig.interrupts.sent
    assert (sent.vmid, sent.context[0]) == (9, 0x55)
    assert ring.reg("RLC1_CONTEXT_STATUS") & 4


def test_ring_that_polls_leaves_the_engine_to_others() -> None:
    rig, ring = opened()
    user = CopyRing(rig, 0, ring="RLC0", base=0x28_0000, rptr_report=0x9100, vmid=9)
    user.open()
    user.set("RLC0_DOORBELL_OFFSET", 0x1200 << 2)
    ring.submit(poll_memory(SIGNAL, 1))
    rig.put(user.base, *fence(HERE, 4))
    assert rig.gpu.sdma.doorbell(0, 0x1200, 16)
    rig.run()
    assert rig.get(HERE) == 4


def test_stages_and_device_that_is_lost_at_the_first_copy() -> None:
    rig = Rig()
    told: list[str] = []

    def stage(name: str) -> None:
        told.append(name)
        rig.gpu.lost = name == "copy"

    rig.gpu.stage = stage
    ring = CopyRing(rig).open()
    ring.submit(fence(HERE, 1), copy(TARGET, HERE, 4), fence(SIGNAL, 1))
    assert told == ["sdma", "copy"]
    assert (rig.get(HERE), rig.get(TARGET), rig.get(SIGNAL)) == (1, 0, 0)


def in_vram(rig: Rig, ring: CopyRing, *packets: tuple[int, ...]) -> None:
    """As `submit`, but through BAR0: the ring lies in VRAM at its MC address."""
    words = [word for packet in packets for word in packet]
    offset = ring.base - VRAM_MC_BASE + ring.wptr * 4
    rig.transport.write_block(0, offset, struct.pack(f"<{len(words)}I", *words))
    ring.wptr += len(words)
    assert rig.gpu.sdma.doorbell(ring.engine, ring.doorbell, ring.wptr * 4)
    rig.run()


def test_copy_to_a_peer_over_the_real_hubs() -> None:
    rig = Rig("mi350x*2", plain=False)
    ring = CopyRing(rig, engine=4, base=VRAM_MC_BASE + 0x10_0000, rptr_report=0)
    ring.open()
    ring.set("GFX_RB_CNTL", 11 << 1)
    ring.set("GFX_RB_BASE", ring.base >> 8 & 0xFFFFFFFF)
    ring.set("GFX_RB_BASE_HI", ring.base >> 40)
    ring.set("GFX_RB_CNTL", 11 << 1 | 1)
    peer = VRAM_MC_BASE + rig.gpu.chip.vram_size
    data = bytes(range(256)) * 16
    rig.transport.write_block(0, 0x20_0000, data)
    in_vram(rig, ring, copy(peer + 0x3000, VRAM_MC_BASE + 0x20_0000, len(data)), fence(VRAM_MC_BASE + 0x5000, 7))
    assert rig.transports[1].read_block(0, 0x3000, len(data)) == data
    assert rig.transport.read32(0, 0x5000) == 7


def test_page_fault_is_latched_in_the_hub_of_the_engine() -> None:
    rig = Rig(plain=False)
    ring = CopyRing(rig, engine=9, base=VRAM_MC_BASE + 0x10_0000, rptr_report=0)
    ring.open()
    ring.set("GFX_RB_CNTL", 11 << 1)
    ring.set("GFX_RB_BASE", ring.base >> 8 & 0xFFFFFFFF)
    ring.set("GFX_RB_BASE_HI", ring.base >> 40)
    ring.set("GFX_RB_CNTL", 11 << 1 | 1)
    in_vram(rig, ring, fence(0x7000_0000_0000, 7))
    assert rig.reg("MMHUB[2].VM_L2_PROTECTION_FAULT_ADDR_LO32") == 0x7000_0000_0000 >> 12 & 0xFFFFFFFF
    status = rig.reg("MMHUB[2].VM_L2_PROTECTION_FAULT_STATUS")
    assert (status >> 9 & 0x1FF, status >> 18 & 1, status >> 20 & 0xF) == (257, 1, 0)
    assert "write of 0x700000000000" in rig.gpu.wrongs[0]
    assert not ring.idle
