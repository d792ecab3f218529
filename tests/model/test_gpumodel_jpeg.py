"""JPEG cores: rings set up as the kernel does, packets, indirect buffers, fences, resets of a core, wrong use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpumodel.jpeg import CORES, SOURCES, core_offset
from registers.amd.vcn_4_0_3 import Vcn
from tests.engine_rig import Rig

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "registers/data"
PARTS = ("mi300x", "mi350x")
BOTH = pytest.mark.parametrize("part", PARTS)
COUNTS = {"mi300x": 8, "mi350x": 10}
EVERY = pytest.mark.parametrize(("part", "core"), [(part, core) for part in PARTS for core in range(COUNTS[part])])
# Places from the second base of the engine, core 0.
RB_WPTR, RB_CNTL, STATUS, RB_RPTR, RB_SIZE, SCRATCH, RB_VMID, BAR_LOW = (
    0x640,
    0x641,
    0x649,
    0x64A,
    0x653,
    0x654,
    0x665,
    0x669,
)
STALL, CLEAN, DROP = 0x67A, 0x67B, 0x663
JMI_CNTL, SYS_INT_EN, CORE_RESET = 0x6CE, 0x701, 0x72E
RING = 0x40_0000
IB = 0x60_0000
HERE = 0x5000
DONE, IB_DONE, ILLEGAL = 1, 2, 4


@dataclass
class Core:
    part: str = "mi350x"
    core: int = 0
    aid: int = 0
    dwords: int = 128
    wptr: int = 0

    def __post_init__(self) -> None:
        self.rig = Rig(self.part)
        self.gpu: Any = self.rig.gpu

    def at(self, place: int) -> int:
        """As jpeg_v5_0_1_core_reg_offset finds it."""
        offset = 0 if not self.core else 0x40 * self.core - (0xC80 if self.core <= 8 else 0x440)
        return 0x7E00 + self.aid * 0x20000 + place + offset

    def read(self, place: int) -> int:
        return int(self.gpu.registers.read(self.at(place)))

    def write(self, place: int, value: int) -> None:
        self.gpu.registers.write(self.at(place), value)

    def common(self, place: int, value: int) -> None:
        self.gpu.registers.write(0x7E00 + self.aid * 0x20000 + place, value)

    @property
    def doorbell(self) -> int:
        return 0x370 + self.aid * (9 if self.part == "mi300x" else 11) + 1 + self.core

    def open(self, vmid: int = 0) -> Core:
        place = 0x71 + (self.core - 0x15 if self.core else 0) if self.part == "mi300x" else 0x68 + self.core
        self.common(place, self.doorbell << 2 | 1 << 30)
        self.common(JMI_CNTL, 0)
        self.common(SYS_INT_EN, 1 << 8 + self.core + (12 if self.core >= 8 else 0))
        self.write(RB_VMID, vmid * 0x111)
        for register, value in (
            (RB_CNTL, 3),
            (BAR_LOW, RING),
            (BAR_LOW + 1, 0),
            (RB_RPTR, 0),
            (RB_WPTR, 0),
            (RB_CNTL, 2),
            (RB_SIZE, self.dwords),
        ):
            self.write(register, value)
            self.rig.run(4e-6)
        self.wptr = 0
        return self

    def put(self, *words: int) -> None:
        for word in words:
            self.rig.put(RING + self.wptr * 4, word)
            self.wptr = (self.wptr + 1) % self.dwords

    def submit(self, *words: int) -> None:
        self.put(*words)
        assert self.gpu.jpeg.doorbell(self.aid, self.doorbell, self.wptr)
        self.rig.run()


def packet(register: int, value: int, *, kind: int = 0, condition: int = 0) -> tuple[int, int]:
    return (register | condition << 24 | kind << 28, value)


def fence(address: int, value: int) -> tuple[int, ...]:
    """jpeg_v4_0_3_dec_ring_emit_fence"""
    return (
        *packet(0x404E, value),
        *packet(0x404F, value),
        *packet(0x40AB, address & 0xFFFFFFFF),
        *packet(0x40AC, address >> 32),
        *packet(0x404D, 8),
        *packet(0x404D, 0, kind=4),
        *packet(0, 0, kind=6),
        *packet(0, 0, kind=7),
    )


def buffer(address: int, dwords: int, vmid: int = 0) -> tuple[int, ...]:
    """jpeg_v4_0_3_dec_ring_emit_ib"""
    return (
        *packet(0x40A4, vmid * 0x111),
        *packet(0x40A6, vmid * 0x111),
        *packet(0x40B6, address & 0xFFFFFFFF),
        *packet(0x40B7, address >> 32),
        *packet(0x4082, dwords),
        *packet(0x42D4, RING),
        *packet(0x42D5, 0),
        *packet(0, 0, kind=2),
        *packet(0x4085, 0x01400200),
        *packet(0x4084, 2),
        *packet(0x4089, 2, kind=3, condition=3),
    )


@EVERY
def test_every_core_passes_the_ring_test_on_every_aid(part: str, core: int) -> None:
    for aid in range(4):
        rig = Core(part, core, aid).open()
        rig.write(SCRATCH, 0xCAFEDEAD)
        assert rig.read(STATUS) == DONE | IB_DONE
        rig.submit(*packet(0x4094, 0xABADCAFE), *packet(0, 0, kind=6) * 7)
        assert rig.read(SCRATCH) == 0xABADCAFE
        assert (rig.read(RB_RPTR), rig.read(RB_WPTR), rig.read(STATUS)) == (16, 16, DONE | IB_DONE)
        assert {(hub, vmid) for hub, vmid, _ in rig.rig.memory.seen} == {(f"MMHUB[{aid}]", 0)}
        assert rig.gpu.wrongs == []
        assert not rig.gpu.unknown_accesses


@EVERY
def test_fence_and_trap_tell_of_a_finished_job(part: str, core: int) -> None:
    rig = Core(part, core, aid=2).open()
    rig.submit(*fence(HERE, 7))
    assert rig.rig.get(HERE) == 7
    sent = rig.rig.interrupts.sent
    assert [(one.client, one.source, one.node) for one in sent] == [(0x10, SOURCES[core], 8)]
    assert rig.gpu.wrongs == []


def test_sources_of_the_cores_are_those_of_the_header() -> None:
    found = sorted((ROOT / ".cache/linux").glob("*/drivers/gpu/drm/amd/include/ivsrcid/vcn/irqsrcs_vcn_5_0.h"))
    if not found:
        pytest.skip(f"no kernel source in {ROOT / '.cache/linux'}: tools/ brings it")
    lines = [line.split() for line in found[0].read_text().splitlines() if "_DECODE " in line]
    assert [int(words[2]) for words in lines] == list(SOURCES)


def test_cores_of_5_0_1_lie_where_4_0_3_has_them() -> None:
    """The 5.0.0 header names the registers of core 0 without a core, and no other core."""
    rows = re.findall(r"^(\w+) ([0-9a-f]+)\.1$", (DATA / "vcn_5_0_0.txt").read_text(), re.MULTILINE)
    table = {name: int(place, 16) for name, place in rows}
    compared = 0
    for name, register in Vcn.REGISTERS.items():
        short = name.removeprefix("UVD_JRBC0_").removeprefix("UVD_JMI0_")
        if short != name and short in table:
            assert table[short] == register.offset, name
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("core", range(1, 8))
def test_offset_of_a_core_is_that_of_the_header(core: int) -> None:
    text = (DATA / "vcn_4_0_3.txt").read_text()
    line = next(line for line in text.splitlines() if line.startswith(f"UVD_JRBC{core}_UVD_JRBC_RB_RPTR "))
    place, segment = line.split()[1].split(".")
    base = {"0": 0x7800, "1": 0x7E00}[segment]
    assert 0x7E00 + 0x64A + core_offset(core) == base + int(place, 16)


@BOTH
@pytest.mark.parametrize("vmid", [0, 6])
def test_indirect_buffer_is_run_before_what_follows(part: str, vmid: int) -> None:
    rig = Core(part, 3, aid=1).open()
    rig.rig.put(IB, *packet(0x4094, 0xDEADBEEF), *packet(0, 0, kind=6) * 7)
    rig.submit(*buffer(IB, 16, vmid), *fence(HERE, 1))
    assert (rig.read(SCRATCH), rig.rig.get(HERE)) == (0xDEADBEEF, 1)
    assert ("MMHUB[1]", vmid, 0) in rig.rig.memory.seen
    assert rig.read(STATUS) == DONE | IB_DONE
    assert rig.gpu.wrongs == []


def test_condition_3_waits_until_the_register_is_equal() -> None:
    rig = Core().open()
    rig.submit(*packet(0x4084, 0x30), *packet(0x4094, 0xF0, kind=3, condition=3), *fence(HERE, 1))
    assert (rig.rig.get(HERE), rig.read(RB_RPTR), rig.read(STATUS) & DONE) == (0, 2, 0)
    rig.write(SCRATCH, 0x3F)
    rig.rig.run()
    assert (rig.rig.get(HERE), rig.read(STATUS)) == (1, DONE | IB_DONE)


def test_wait_inside_an_indirect_buffer_keeps_the_read_pointer_before_it() -> None:
    rig = Core().open()
    rig.rig.put(IB, *packet(0x408F, 5), *packet(0x4094, 0xFF, kind=3, condition=3))
    rig.submit(*buffer(IB, 4), *fence(HERE, 1))
    assert rig.rig.get(HERE) == 0
    assert rig.read(STATUS) == 0
    assert rig.read(RB_RPTR) == 8
    rig.write(SCRATCH, 5)
    rig.rig.run()
    assert (rig.rig.get(HERE), rig.read(STATUS)) == (1, DONE | IB_DONE)


@pytest.mark.parametrize("aid", [0, 3])
def test_registers_elsewhere_are_reached_by_address_and_data(aid: int) -> None:
    rig = Core(aid=aid).open()
    rig.submit(*packet(0x1BFFF, 0x62A04), *packet(0x18000, 0x80004000))
    assert rig.rig.reg(f"MMHUB[{aid}].PCTL0_MMHUB_DEEPSLEEP_IB") == 0x80004000
    assert not rig.gpu.unknown_accesses
    rig.submit(*packet(0x4084, 0x4000), *packet(0x18000, 0xFFFF, kind=3, condition=3), *fence(HERE, 1))
    assert rig.rig.get(HERE) == 1


def test_ring_wraps() -> None:
    rig = Core(dwords=32).open()
    for number in range(20):
        rig.submit(*fence(HERE, number))
    assert rig.rig.get(HERE) == 19
    assert rig.read(RB_RPTR) == 20 * 16 % 32


def test_ring_translates_with_its_vmid() -> None:
    rig = Core().open(vmid=9)
    rig.submit(*fence(HERE, 1))
    assert {vmid for _, vmid, _ in rig.rig.memory.seen} == {9}


@BOTH
def test_doorbells_of_the_bar_reach_the_cores(part: str) -> None:
    rig = Core(part, 5, aid=1).open()
    size, first = (9, 0x379) if part == "mi300x" else (11, 0x37B)
    rig.rig.set("NBIO[0].RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN", 1)
    rig.rig.set("NBIO[0].DOORBELL0_CTRL_ENTRY_18", first | size << 10)
    rig.rig.set("NBIO[1].S2A_DOORBELL_ENTRY_4_CTRL", 1 | 4 << 1 | 4 << 7 | size << 17 | 4 << 28)
    rig.put(*fence(HERE, 4))
    rig.rig.transport.write32(2, rig.doorbell * 4, rig.wptr)
    rig.rig.run()
    assert rig.rig.get(HERE) == 4
    assert rig.gpu.wrongs == []


def test_ring_can_be_driven_without_doorbell() -> None:
    rig = Core(core=9).open()
    rig.put(*fence(HERE, 3))
    rig.write(RB_WPTR, rig.wptr)
    rig.rig.run()
    assert rig.rig.get(HERE) == 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (packet(0x4094, 0, kind=5), "packet 0x50004094"),
        (packet(0x1234, 0), "register 0x1234"),
        (packet(0x4094, 0, kind=3, condition=7), "condition 7"),
        ((*packet(0x40AB, 0x1_0000), *packet(0x404D, 8)), "no page"),
        ((*packet(0x40AB, HERE + 2), *packet(0x404D, 8)), "not a multiple of 4"),
    ],
)
def test_core_that_cannot_go_on_says_so_and_is_made_whole_by_a_reset(words: tuple[int, ...], text: str) -> None:
    rig = Core(core=2).open()
    other = rig.gpu.jpeg.cores[0][3]
    rig.rig.memory.forbidden.append(range(0x1_0000, 0x2_0000))
    rig.submit(*words, *fence(HERE, 1))
    assert rig.rig.get(HERE) == 0
    assert [text in wrong for wrong in rig.gpu.wrongs] == [True]
    assert rig.read(STATUS) == ILLEGAL | IB_DONE
    other.position = 7
    # jpeg_v5_0_1_core_stall_reset
    rig.write(STALL, 0x1F)
    assert rig.read(CLEAN) == 0x1F
    rig.write(DROP, 0x1F)
    rig.common(CORE_RESET, 1 << 2)
    rig.write(STALL, 0)
    rig.write(DROP, 0)
    rig.common(CORE_RESET, 0)
    rig.open().submit(*fence(HERE, 2))
    assert (rig.rig.get(HERE), rig.read(STATUS)) == (2, DONE | IB_DONE)
    assert other.position == 7


def test_doorbell_while_the_ring_is_off_is_recorded() -> None:
    rig = Core().open()
    rig.common(JMI_CNTL, 1)
    rig.submit(*fence(HERE, 1))
    assert rig.rig.get(HERE) == 0
    assert rig.gpu.wrongs == ["jpeg: core 0.0: doorbell 0x10 while the ring is off"]


def test_read_pointer_is_taken_only_with_leave() -> None:
    rig = Core().open()
    rig.write(RB_CNTL, 0)
    rig.write(RB_RPTR, 4)
    assert rig.read(RB_RPTR) == 0
    assert rig.gpu.wrongs == ["jpeg: core 0.0: read pointer 0x4 written without RB_RPTR_WR_EN"]


def test_trap_of_a_core_without_its_interrupt_is_not_told() -> None:
    rig = Core(core=4).open()
    rig.common(SYS_INT_EN, 0)
    rig.submit(*fence(HERE, 1))
    assert (rig.rig.get(HERE), rig.rig.interrupts.sent) == (1, [])


def test_decoding_is_recorded_as_not_modelled() -> None:
    rig = Core().open()
    rig.rig.put(IB, *packet(0x4000, 6))
    rig.submit(*buffer(IB, 2), *fence(HERE, 1))
    assert rig.rig.get(HERE) == 1
    assert rig.gpu.wrongs == ["jpeg: core 0.0: register 0x4000 = 0x6: decoding is not modelled, it leaves no picture"]
    assert rig.gpu.unknown_accesses == {("jpeg-register", 0x4000): 1}


def test_every_core_has_an_interrupt_source() -> None:
    assert max(CORES.values()) == len(SOURCES) == len(set(SOURCES))
