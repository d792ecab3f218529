"""A GPU made of a register dictionary, memory by address, and engines that wake up at their doorbell; for the queues' tests.

It knows only what these tests need: rings in memory, packets taken apart by the shapes that test_packets_* hold to AMD's
headers. Bases of the register blocks are those of `bases`; the model in gpumodel is the one that behaves like hardware."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from amdriver import pm4_fields, sdma_packets
from amdriver.access import Access
from amdriver.gpu import Gpu
from amdriver.ip_map import IpInstance, IpMap
from amdriver.memory import BadAddress, Closed, DoubleFree
from amdriver.parts import PARTS
from base.clock import VirtualClock
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder
from registers.amd.gc_9_4_3 import Gc
from registers.amd.sdma_4_4_2 import Sdma as SdmaRegisters

ONES = 0xFFFF_FFFF
MC_BASE = 0x80_0000_0000
VA_BASE = 0x10_0000


def gc_bases(xcc: int) -> tuple[int, ...]:
    return (0x2000 + xcc * 0x10000, 0xA000 + xcc * 0x10000)


def sdma_bases(engine: int) -> tuple[int, ...]:
    return ((0x1260, 0x1860, 0x19400, 0x19800)[engine % 4] + engine // 4 * 0x20000,)


def ip_map(
    *, xccs: Sequence[int] = range(8), engines: Sequence[int] = range(16), gc: Any = (9, 4, 3), sdma: Any = (4, 4, 2)
) -> IpMap:
    instances = [IpInstance(11, xcc, gc, gc_bases(xcc), harvested=xcc not in xccs) for xcc in range(8)]
    instances += [IpInstance(42, one, sdma, sdma_bases(one), harvested=one not in engines) for one in range(16)]
    instances.append(IpInstance(108, 0, (7, 9, 0), (0, 0x14, 0xD20, 0x10400, 0x241B000, 0x4040000, 0, 0, 0x6000000)))
    return IpMap(tuple(instances))


class FakeTransport:
    """Registers are what was written last, but for those in `read_hooks`. `log`: (verb, bar, offset, value)."""

    name = "fake"
    can = Can.MMIO | Can.DMA

    def __init__(self) -> None:
        self.registers: dict[int, int] = {}
        self.log: list[tuple[str, int, int, int]] = []
        self.on_doorbell: dict[int, Callable[[int], None]] = {}
        self.on_write: dict[int, Callable[[int], None]] = {}
        self.on_read: dict[int, Callable[[], int]] = {}
        self.lost = False

    def info(self) -> FunctionInfo:
        return FunctionInfo("0000:c1:00.0", 0x1002, 0x74A1)

    def bars(self) -> dict[int, Bar]:
        return {2: Bar(2, 0, 1 << 21), 5: Bar(5, 0, 2 << 20)}

    def config_size(self) -> int:
        return 4096

    def config_read(self, offset: int, size: int) -> int:
        return ONES if self.lost else 0x74A1_1002

    def config_write(self, offset: int, size: int, value: int) -> None: ...

    def read32(self, bar: int, offset: int) -> int:
        if self.lost:
            value = ONES
        else:
            value = self.on_read[offset]() if offset in self.on_read else self.registers.get(offset, 0)
        self.log.append(("R", bar, offset, value))
        return value

    def write32(self, bar: int, offset: int, value: int) -> None:
        self.log.append(("W", bar, offset, value))
        self.registers[offset] = value
        if offset in self.on_write:
            self.on_write[offset](value)

    def read64(self, bar: int, offset: int) -> int:
        raise AssertionError("nobody reads 64 bits")

    def write64(self, bar: int, offset: int, value: int) -> None:
        assert bar == 2
        self.log.append(("D", bar, offset, value))
        if offset // 8 in self.on_doorbell and not self.lost:
            self.on_doorbell[offset // 8](value)

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        raise AssertionError("no BAR0 here")

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        raise AssertionError("no BAR0 here")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        yield

    def holder(self) -> LockHolder | None:
        return None

    def alloc_dma(self, size: int) -> DmaBuffer:
        raise AssertionError("memory comes from FakeGmc")

    def close(self) -> None: ...

    def count(self, verb: str) -> int:
        return sum(1 for entry in self.log if entry[0] == verb)


class FakeBuffer:
    def __init__(self, gmc: FakeGmc, address: int, size: int, owner: str, uncached: bool, where: str) -> None:
        self.gmc, self.address, self.size, self.owner = gmc, address, size, owner
        self.uncached, self.where = uncached, where
        self.data = bytearray(b"\xa5" * size)
        self.freed = False
        self.writes: list[tuple[int, bytes]] = []

    @property
    def gpu_va(self) -> int:
        return self.address

    @property
    def mc_addr(self) -> int:
        return self.address

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes, *, flush: bool = True) -> None:
        self._check(offset, len(data))
        self.data[offset : offset + len(data)] = data
        self.writes.append((offset, bytes(data)))

    def free(self) -> None:
        if self.freed:
            raise DoubleFree("freeing")
        self.freed = True
        self.gmc.live.remove(self)

    def _check(self, offset: int, size: int) -> None:
        if self.freed:
            raise Closed("using")
        if not 0 <= offset <= offset + size <= self.size:
            raise BadAddress("using")


class FakeGmc:
    """Memory at addresses that nobody else has; `live` is what a close must find empty."""

    def __init__(self) -> None:
        self.live: list[FakeBuffer] = []
        self.latched: list[str] = []
        self.flushes = 0
        self._next = {"va": VA_BASE, "mc": MC_BASE}
        self.out_of_memory_after: int | None = None

    @property
    def tables(self) -> FakeGmc:
        return self

    def first_hole(self, start: int, end: int) -> int | None:
        at = start
        while at < end:
            found = next((one for one in self.live if one.address <= at < one.address + one.size), None)
            if found is None:
                return at
            at = found.address + found.size
        return None

    def alloc(
        self, size: int, *, where: str = "vram", owner: str = "", alignment: int = 4096, uncached: bool = False
    ) -> FakeBuffer:
        return self._take("va", size, owner, uncached, where)

    def alloc_vram(self, size: int, *, alignment: int = 4096, owner: str = "") -> FakeBuffer:
        return self._take("mc", size, owner, False, "block")

    def flush_hdp(self) -> None:
        self.flushes += 1

    def faults(self) -> list[str]:
        return self.latched

    def _take(self, space: str, size: int, owner: str, uncached: bool, where: str) -> FakeBuffer:
        if self.out_of_memory_after is not None:
            if self.out_of_memory_after == 0:
                raise BadAddress("no more memory")
            self.out_of_memory_after -= 1
        buffer = FakeBuffer(self, self._next[space], size, owner, uncached, where)
        self._next[space] += (size + 4095 & ~4095) + (1 << 16)
        self.live.append(buffer)
        return buffer

    # ---- as engines see it

    def read_at(self, address: int, size: int) -> bytes:
        buffer = self._at(address)
        return buffer.read(address - buffer.address, size)

    def write_at(self, address: int, data: bytes) -> None:
        buffer = self._at(address)
        start = address - buffer.address
        buffer._check(start, len(data))
        buffer.data[start : start + len(data)] = data

    def _at(self, address: int) -> FakeBuffer:
        return next(one for one in self.live if one.address <= address < one.address + one.size)


@dataclass
class Fake:
    """All of it. `clock_ticks` counts up with each timestamp that an engine writes."""

    transport: FakeTransport = field(default_factory=FakeTransport)
    gmc: FakeGmc = field(default_factory=FakeGmc)
    clock: VirtualClock = field(default_factory=VirtualClock)
    ip: IpMap = field(default_factory=ip_map)
    ticks: int = 1000

    def __post_init__(self) -> None:
        self.gpu = Gpu(Access(self.transport), self.clock, self.ip, PARTS[0x74A1])

    def tick(self) -> bytes:
        self.ticks += 10
        return struct.pack("<Q", self.ticks)

    def offset(self, block: Any, register: Any) -> int:
        return 4 * int(block.address_of(register))


class SdmaEngine:
    """Reads its registers at each doorbell, as far as these tests go, and does what the ring says."""

    def __init__(self, fake: Fake, instance: int) -> None:
        self.fake, self.instance = fake, instance
        self.regs = fake.gpu.block(SdmaRegisters, "SDMA0", instance)
        self.rptr = 0
        self.packets: list[str] = []
        self.dead = False
        fake.transport.on_doorbell[0x100 + 10 * instance] = self.doorbell

    def register(self, item: Any) -> int:
        return self.fake.transport.registers.get(4 * self.regs.address_of(item), 0)

    def doorbell(self, wptr: int) -> None:
        control = self.register(SdmaRegisters.SDMA_GFX_RB_CNTL)
        enabled = control & 1 and self.register(SdmaRegisters.SDMA_GFX_DOORBELL) >> 28 & 1
        if self.dead or not enabled:
            return
        if self.register(SdmaRegisters.SDMA_GFX_RB_RPTR) == 0 and wptr < self.rptr:
            self.rptr = 0
        base = self.register(SdmaRegisters.SDMA_GFX_RB_BASE) << 8
        base |= self.register(SdmaRegisters.SDMA_GFX_RB_BASE_HI) << 40
        size = 4 << (control >> 1 & 0x1F)
        gmc = self.fake.gmc
        while self.rptr < wptr:
            at = self.rptr % size
            data = gmc.read_at(base + at, min(4096, size - at, wptr - self.rptr))
            one = next(sdma_packets.decode_stream(data, 0, 1))
            self.rptr += 4 * one.dwords
            if not one.text.startswith("NOP"):
                self.packets.append(one.text)
            self.do(struct.unpack_from(f"<{one.dwords}I", data))
        report = self.register(SdmaRegisters.SDMA_GFX_RB_RPTR_ADDR_LO)
        report |= self.register(SdmaRegisters.SDMA_GFX_RB_RPTR_ADDR_HI) << 32
        gmc.write_at(report, struct.pack("<Q", self.rptr))

    def do(self, words: tuple[int, ...]) -> None:
        gmc, op = self.fake.gmc, words[0] & 0xFF
        if op == 1:
            source, target = words[3] | words[4] << 32, words[5] | words[6] << 32
            gmc.write_at(target, gmc.read_at(source, words[1] + 1))
        elif op == 2:
            gmc.write_at(words[1] | words[2] << 32, struct.pack(f"<{len(words) - 4}I", *words[4:]))
        elif op == 5:
            gmc.write_at(words[1] | words[2] << 32, struct.pack("<I", words[3]))
        elif op == 11:
            gmc.write_at(words[1] | words[2] << 32, struct.pack("<I", words[3]) * (words[4] + 1 >> 2))
        elif op == 13:
            gmc.write_at(words[1] | words[2] << 32, self.fake.tick())


class Mec:
    """The MEC of one XCC: a KIQ that maps queues, and PM4 and AQL queues that fence."""

    def __init__(self, fake: Fake, xcc: int, position: int | None = None) -> None:
        self.fake, self.xcc = fake, xcc
        self.position = xcc if position is None else position
        self.gc = fake.gpu.block(Gc, "GC", xcc)
        self.kiq_dead = False
        self.queues_dead = False
        self.packets: list[tuple[int, dict[str, int]]] = []  # what the KIQ was given: op, fields
        self.done: list[int] = []  # ops of user queues
        self.rptr: dict[int, int] = {}
        self.mapped: dict[int, dict[str, int]] = {}
        registers = fake.transport.registers
        registers[4 * self.gc.address_of(Gc.RLC_CNTL)] = 1
        fake.transport.on_write[4 * self.gc.address_of(Gc.RLC_SAFE_MODE)] = self.safe_mode
        self.safe_mode_stuck = False
        self.hqd: dict[tuple[int, int], int] = {}  # (selection, offset) -> value
        for item in (Gc.CP_HQD_ACTIVE, Gc.CP_HQD_DEQUEUE_REQUEST, Gc.CP_HQD_PQ_BASE, Gc.CP_HQD_PQ_CONTROL):
            self.bank(4 * self.gc.address_of(item))
        self.dequeue_stuck = False
        fake.transport.on_doorbell[0x20 * self.position] = self.kiq_doorbell

    def bank(self, offset: int) -> None:
        def write(value: int) -> None:
            self.hqd[self.selection, offset] = value
            if offset == 4 * self.gc.address_of(Gc.CP_HQD_DEQUEUE_REQUEST) and value and not self.dequeue_stuck:
                self.hqd[self.selection, 4 * self.gc.address_of(Gc.CP_HQD_ACTIVE)] = 0

        self.fake.transport.on_write[offset] = write
        self.fake.transport.on_read[offset] = lambda: self.hqd.get((self.selection, offset), 0)

    @property
    def selection(self) -> int:
        return self.fake.transport.registers.get(4 * self.gc.address_of(Gc.GRBM_GFX_CNTL), 0)

    def active(self, me: int, pipe: int, queue: int) -> int:
        return self.hqd.get((me << 2 | pipe | queue << 8, 4 * self.gc.address_of(Gc.CP_HQD_ACTIVE)), 0)

    def safe_mode(self, value: int) -> None:
        if not self.safe_mode_stuck:
            self.fake.transport.registers[4 * self.gc.address_of(Gc.RLC_SAFE_MODE)] = value & ~1

    def register(self, item: Any) -> int:
        return self.fake.transport.registers.get(4 * self.gc.address_of(item), 0)

    # ---- KIQ

    def kiq_doorbell(self, wptr: int) -> None:
        if self.kiq_dead or self.register(Gc.CP_MEC_CNTL) or not self.active(2, 1, 0):
            return
        low = self.hqd[2 << 2 | 1, 4 * self.gc.address_of(Gc.CP_HQD_PQ_BASE)]
        base = low << 8 | self.register(Gc.CP_HQD_PQ_BASE_HI) << 40
        for op, words in self.ring(0, base, 4096, wptr):
            self.kiq_packet(op, words)
        report = self.register(Gc.CP_HQD_PQ_RPTR_REPORT_ADDR) | self.register(Gc.CP_HQD_PQ_RPTR_REPORT_ADDR_HI) << 32
        self.fake.gmc.write_at(report, struct.pack("<I", self.rptr[0]))

    def kiq_packet(self, op: int, words: tuple[int, ...]) -> None:
        if op == 0x79:
            register = 4 * (words[1] + 0xC000 + self.xcc * 0x10000)
            self.fake.transport.registers[register] = words[2]
        elif op == 0xA2:
            fields = pm4_fields.MAP_QUEUES.values(words)
            self.packets.append((op, fields))
            self.mapped[fields["doorbell"]] = fields
            previous = self.fake.transport.on_doorbell.get(fields["doorbell"] // 2)
            self.rptr[fields["doorbell"]] = 0

            def ring(value: int) -> None:
                if previous is not None:  # a doorbell that several XCCs listen to
                    previous(value)
                self.user_doorbell(fields, value)

            self.fake.transport.on_doorbell[fields["doorbell"] // 2] = ring
        elif op == 0xA3:
            fields = pm4_fields.UNMAP_QUEUES.values(words)
            self.packets.append((op, fields))
            self.mapped.pop(fields["doorbell"], None)
        elif op == 0xA0:
            self.packets.append((op, pm4_fields.SET_RESOURCES.values(words)))

    # ---- user queues

    def user_doorbell(self, fields: dict[str, int], value: int) -> None:
        if self.queues_dead or self.mapped.get(fields["doorbell"]) is not fields:
            return
        mqd = struct.unpack("<512I", self.fake.gmc.read_at(fields["mqd"], 2048))
        base, control, report = mqd[136] << 8 | mqd[137] << 40, mqd[145], mqd[139] | mqd[140] << 32
        size = 4 << (control & 0x3F) + 1
        if control >> 25 & 3 == 2:
            self.aql(base, size, fields["doorbell"], value + 1)
        else:
            for op, words in self.ring(fields["doorbell"], base, size, value):
                self.user_packet(op, words)
        if not control >> 27 & 1:
            self.fake.gmc.write_at(report, struct.pack("<I", self.rptr[fields["doorbell"]] & ONES))

    def user_packet(self, op: int, words: tuple[int, ...]) -> None:
        self.done.append(op)
        if op == 0x49:
            fields = pm4_fields.RELEASE_MEM.values(words)
            data = struct.pack("<Q", fields["value"])
            if fields["data"] == 3:
                data = self.fake.tick()
            elif fields["data"] == 1:
                data = data[:4]
            self.fake.gmc.write_at(fields["address"], data)
        elif op == 0x37:
            self.fake.gmc.write_at(words[2] | words[3] << 32, struct.pack(f"<{len(words) - 4}I", *words[4:]))

    def ring(self, key: int, base: int, size: int, wptr: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Packets up to the write pointer, NOPs left out; an indirect buffer within the ring counts as its packets."""
        while self.rptr.get(key, 0) < wptr:
            at = 4 * self.rptr.get(key, 0) % size
            data = self.fake.gmc.read_at(base + at, min(size - at, 4 * (wptr - self.rptr.get(key, 0))))
            op, words = _packet(data)
            self.rptr[key] = self.rptr.get(key, 0) + len(words)
            start = words[1] | words[2] << 32 if op == 0x3F else 0
            if base <= start < base + size:
                yield from self.indirect(start, words[3] & 0xFFFFF)
            elif op != 0x10:
                yield op, words

    def indirect(self, start: int, dwords: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Only here PRED_EXEC selects: what is predicated for another XCC is left out."""
        data = self.fake.gmc.read_at(start, 4 * dwords)
        skip = 0
        while data:
            op, words = _packet(data)
            data = data[4 * len(words) :]
            if skip > 0:
                skip -= len(words)
            elif op == 0x23:
                skip = 0 if words[1] >> 24 >> self.position & 1 else words[1] & 0x3FFF
            elif op != 0x10:
                yield op, words

    def aql(self, base: int, size: int, key: int, count: int) -> None:
        gmc = self.fake.gmc
        while self.rptr.get(key, 0) < count:
            at = base + 64 * self.rptr.get(key, 0) % size
            kind = gmc.read_at(at, 1)[0]
            if kind == 1 or self.position:
                break
            signal = struct.unpack("<Q", gmc.read_at(at + 56, 8))[0]
            self.done.append(kind)
            if signal:
                value = struct.unpack("<q", gmc.read_at(signal + 8, 8))[0]
                gmc.write_at(signal + 32, self.tick() + self.tick())
                gmc.write_at(signal + 8, struct.pack("<q", value - 1))
            gmc.write_at(at, struct.pack("<H", 1))
            self.rptr[key] = self.rptr.get(key, 0) + 1

    def tick(self) -> bytes:
        return self.fake.tick()


def _packet(data: bytes) -> tuple[int, tuple[int, ...]]:
    """Opcode and dwords of the PM4 packet that data starts with."""
    first = struct.unpack_from("<I", data)[0]
    dwords = 1 if first == 0xFFFF1000 else (first >> 16 & 0x3FFF) + 2
    return first >> 8 & 0xFF, struct.unpack_from(f"<{dwords}I", data)
