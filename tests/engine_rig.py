"""A software GPU whose engines work on plain memory: addresses are what they are, in every VMID and hub.

The packets are put together here from the documented bits (soc15d.h, vega10_sdma_pkt_open.h), by nobody's driver."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from base.clock import VirtualClock
from gpumodel import open_models
from gpumodel.gmc import PageFault
from gpumodel.memory import Vram

ME1_QUEUE0 = 1 << 2
KIQ = 2 << 2 | 1  # me 2, pipe 1, queue 0: what the kernel takes
KIQ_MARK = 2 << 5 | 1 << 3 | 0x80
SCRATCH_0 = 0x40  # offset from 0xC000, packet SET_UCONFIG_REG
MEC_FIRMWARE = (4, 5)
SDMA_FIRMWARE = (9, 10, 52, 53)
RLC_FIRMWARE = 8


class PlainFault(PageFault):
    """The rig's own: raised for addresses that it was told to refuse."""

    def __init__(self, address: int) -> None:
        Exception.__init__(self, f"no page at {address:#x}")

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass
class PlainMemory:
    """Stands for gpu.gmc. `seen`: (hub, VMID, client) of every access; `forbidden`: addresses that fault."""

    data: Vram = field(default_factory=lambda: Vram(1 << 40, "rig"))
    seen: set[tuple[str, int, int]] = field(default_factory=set)
    forbidden: list[range] = field(default_factory=list)
    transfers: int = 0
    invalidated: list[tuple[str, int]] = field(default_factory=list)
    stays: dict[str, tuple[int, int]] = field(default_factory=dict)

    def read(self, hub: str, vmid: int, address: int, size: int, *, client: int = 0) -> bytes:
        self._look(hub, vmid, address, client)
        return self.data.read(address, size)

    def write(self, hub: str, vmid: int, address: int, data: bytes, *, client: int = 0) -> None:
        self._look(hub, vmid, address, client)
        self.data.write(address, data)

    def mapped(self, hub: str, vmid: int, address: int, write: bool, *, client: int = 0) -> None:
        """Only reads and writes reach it."""

    def there(self, hub: str, vmid: int, address: int) -> bool:
        return not any(address in place for place in self.forbidden)

    def remembered(self, hub: str, vmid: int) -> dict[int, object]:
        return {}

    def invalidate(self, hub: str, vmid_mask: int) -> None:
        self.invalidated.append((hub, vmid_mask))

    def _look(self, hub: str, vmid: int, address: int, client: int) -> None:
        self.transfers += 1
        self.seen.add((hub, vmid, client))
        if any(address in place for place in self.forbidden):
            raise PlainFault(address)


@dataclass
class Sent:
    """One interrupt."""

    client: int
    source: int
    ring_id: int
    vmid: int
    pasid: int
    node: int
    context: tuple[int, ...]


class Interrupts:
    """Stands for gpu.ih."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.pasids: dict[int, int] = {}

    def set_pasid(self, vmid: int, pasid: int) -> None:
        self.pasids[vmid] = pasid

    def send(self, client: int, source: int, **rest: Any) -> None:
        values = {"ring_id": 0, "vmid": 0, "pasid": 0, "node": 0, "context": (0, 0, 0, 0), **rest}
        self.sent.append(Sent(client, source, **values))


class Rig:
    """`plain` False: the model's own memory hubs; addresses are MC addresses then."""

    def __init__(self, spec: str = "mi350x", *, plain: bool = True) -> None:
        self.clock = VirtualClock()
        self.transports = open_models(spec, self.clock)
        self.transport = self.transports[0]
        self.gpu = cast(Any, self.transport.gpu)
        self.memory = PlainMemory()
        self.interrupts = Interrupts()
        if plain:
            self.gpu.gmc = self.memory
        self.gpu.ih = self.interrupts
        self.gpu.psp.loaded.update((*MEC_FIRMWARE, *SDMA_FIRMWARE, RLC_FIRMWARE))

    def run(self, seconds: float = 100e-6) -> None:
        """Let time pass in small steps, so that waits look again."""
        for _ in range(20):
            self.clock.sleep(seconds / 20)
            self.gpu.hive.events.run_due()

    def put(self, address: int, *words: int) -> None:
        self.memory.data.write(address, struct.pack(f"<{len(words)}I", *words))

    def get(self, address: int) -> int:
        return int.from_bytes(self.memory.data.read(address, 4), "little")

    def get64(self, address: int) -> int:
        return int.from_bytes(self.memory.data.read(address, 8), "little")

    def reg(self, name: str) -> int:
        registers = self.gpu.registers
        return int(registers.read(registers.layout.address(name)))

    def set(self, name: str, value: int) -> None:
        registers = self.gpu.registers
        registers.write(registers.layout.address(name), value)

    @contextmanager
    def selected(self, select: int, xcc: int = 0) -> Iterator[None]:
        """As a driver selects a queue, and nothing after."""
        self.set(f"GC[{xcc}].GRBM_GFX_CNTL", select)
        yield
        self.set(f"GC[{xcc}].GRBM_GFX_CNTL", 0)

    def open_doorbells(self, xcc: int = 0) -> None:
        self.set(f"GC[{xcc}].CP_MEC_DOORBELL_RANGE_UPPER", 0xF8)
        self.set(f"GC[{xcc}].CP_PQ_STATUS", 2)
        self.set(f"GC[{xcc}].CP_MEC_CNTL", 0)


@dataclass
class Queue:
    """A compute queue that was set up by MMIO."""

    rig: Rig
    xcc: int = 0
    select: int = ME1_QUEUE0
    base: int = 0x10_0000
    dwords: int = 1024
    doorbell: int = 0x10
    vmid: int = 8
    control: int = 0  # further bits of CP_HQD_PQ_CONTROL
    rptr_report: int = 0x8000
    wptr: int = 0

    def open(self) -> Queue:
        self.rig.open_doorbells(self.xcc)
        values = {
            "CP_HQD_VMID": self.vmid,
            "CP_HQD_PQ_BASE": self.base >> 8,
            "CP_HQD_PQ_CONTROL": self.dwords.bit_length() - 2 | self.control,
            "CP_HQD_PQ_RPTR_REPORT_ADDR": self.rptr_report,
            "CP_HQD_PQ_DOORBELL_CONTROL": self.doorbell << 2 | 1 << 30,
            "CP_HQD_PQ_RPTR": 0,
            "CP_HQD_PQ_WPTR_LO": 0,
            "CP_HQD_ACTIVE": 1,
        }
        with self.rig.selected(self.select, self.xcc):
            for name, value in values.items():
                self.rig.set(f"GC[{self.xcc}].{name}", value)
        self.rig.set(f"GC[{self.xcc}].CP_ME1_PIPE0_INT_CNTL", 1 << 26 | 1 << 24)
        return self

    def submit(self, *packets: tuple[int, ...], run: bool = True) -> None:
        for packet in packets:
            for word in packet:
                self.rig.put(self.base + self.wptr % self.dwords * 4, word)
                self.wptr += 1
        assert self.rig.gpu.gfx.doorbell(self.doorbell, self.wptr)
        if run:
            self.rig.run()

    def reg(self, name: str) -> int:
        with self.rig.selected(self.select, self.xcc):
            return self.rig.reg(f"GC[{self.xcc}].{name}")

    def set(self, name: str, value: int) -> None:
        with self.rig.selected(self.select, self.xcc):
            self.rig.set(f"GC[{self.xcc}].{name}", value)

    @property
    def state(self) -> Any:
        """The model's own view of it."""
        from gpumodel.queues import Slot

        return self.rig.gpu.gfx.queues[Slot.selected(self.xcc, self.select)]


def pm4(opcode: int, *body: int) -> tuple[int, ...]:
    return (3 << 30 | len(body) - 1 << 16 | opcode << 8, *body)


def low_high(value: int) -> tuple[int, int]:
    return value & 0xFFFFFFFF, value >> 32


def write_data(address: int, *values: int, control: int = 5 << 8 | 1 << 20) -> tuple[int, ...]:
    return pm4(0x37, control, *low_high(address), *values)


def release_mem(address: int, value: int, *, data: int = 2, interrupt: int = 0, context: int = 0) -> tuple[int, ...]:
    event = 0x14 | 5 << 8 | 1 << 15 | 1 << 16 | 1 << 17 | 1 << 21
    return pm4(0x49, event, data << 29 | interrupt << 24, *low_high(address), *low_high(value), context)


def wait_memory(address: int, value: int, *, function: int = 3, operation: int = 0) -> tuple[int, ...]:
    return pm4(0x3C, function | 1 << 4 | operation << 6, *low_high(address), value, 0xFFFFFFFF, 4)


def scratch(value: int) -> tuple[int, ...]:
    return pm4(0x79, SCRATCH_0, value)


def dispatch(program: int, *, kernarg: int = 0, groups: tuple[int, int, int] = (1, 1, 1)) -> list[tuple[int, ...]]:
    """Registers of a grid of 64 work-items a group, and its start."""
    return [
        pm4(0x76, 0x20C, *low_high(program >> 8)),
        pm4(0x76, 0x207, 64, 1, 1),
        pm4(0x76, 0x240, *low_high(kernarg)),
        pm4(0x15, *groups, 1),
    ]


@dataclass
class CopyRing:
    """The kernel ring of a copy engine, set up as sdma_v4_4_2_gfx_resume does."""

    rig: Rig
    engine: int = 0
    base: int = 0x20_0000
    dwords: int = 2048
    rptr_report: int = 0x9000
    wptr: int = 0  # dwords
    ring: str = "GFX"
    vmid: int = 0

    @property
    def doorbell(self) -> int:
        return 0x200 + 20 * self.engine

    def set(self, name: str, value: int) -> None:
        self.rig.set(f"SDMA[{self.engine}].SDMA_{name}", value)

    def reg(self, name: str) -> int:
        return self.rig.reg(f"SDMA[{self.engine}].SDMA_{name}")

    def open(self) -> CopyRing:
        size = self.dwords.bit_length() - 1 << 1
        self.set(f"{self.ring}_RB_CNTL", size)
        for name, value in {
            "RB_RPTR_ADDR_HI": 0,
            "RB_RPTR_ADDR_LO": self.rptr_report,
            "RB_BASE": self.base >> 8,
            "RB_BASE_HI": 0,
            "MINOR_PTR_UPDATE": 1,
            "RB_RPTR": 0,
            "RB_RPTR_HI": 0,
            "RB_WPTR": 0,
            "RB_WPTR_HI": 0,
            "DOORBELL": 1 << 28,
            "DOORBELL_OFFSET": self.doorbell << 2,
            "MINOR_PTR_UPDATE ": 0,
            "RB_CNTL": size | 1 | 1 << 12 | self.vmid << 24,
            "IB_CNTL": 0x101,
        }.items():
            self.set(f"{self.ring}_{name.strip()}", value)
        self.set("CNTL", 3)
        return self

    def submit(self, *packets: tuple[int, ...], run: bool = True) -> None:
        for packet in packets:
            for word in packet:
                self.rig.put(self.base + self.wptr % self.dwords * 4, word)
                self.wptr += 1
        assert self.rig.gpu.sdma.doorbell(self.engine, self.doorbell, self.wptr * 4)
        if run:
            self.rig.run()

    @property
    def status(self) -> int:
        return self.reg("STATUS_REG")

    @property
    def idle(self) -> bool:
        return bool(self.status & 1)


def copy(target: int, source: int, size: int) -> tuple[int, ...]:
    return (1, size - 1, 0, *low_high(source), *low_high(target))


def fence(address: int, value: int) -> tuple[int, ...]:
    return (5, *low_high(address), value)


def sdma_write(address: int, *values: int) -> tuple[int, ...]:
    return (2, *low_high(address), len(values) - 1, *values)


def poll_memory(address: int, value: int, *, retries: int = 0xFFF) -> tuple[int, ...]:
    return (8 | 3 << 28 | 1 << 31, *low_high(address), value, 0xFFFFFFFF, retries << 16 | 10)
