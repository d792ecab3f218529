"""A GPU of registers that echo, hubs that acknowledge, VRAM behind BAR0 and the index window, and host memory.

Byte offsets are written out from amd-bringup.md section 5 and from the recorded boot of the stock driver; it knows
nothing of the code under test."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from amdriver.access import Access
from amdriver.gmc import Gmc
from amdriver.gpu import Gpu
from amdriver.ip_map import HW_IDS, IpInstance, IpMap
from amdriver.parts import part_of
from base.clock import VirtualClock
from base.errors import DeviceLost, Unavailable
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder

PAGE = 4096
MIB = 1 << 20
GIB = 1 << 30
ONES = 0xFFFFFFFF
MM_INDEX, MM_DATA, MM_INDEX_HI = 0x00, 0x04, 0x18
MEMSIZE = 0x378C
HDP_FLUSH = 0x1A000
HDP_BASE, HDP_BASE_HI, HDP_MISC = (0xF20 + 0x40) * 4, (0xF20 + 0x42) * 4, (0xF20 + 0xD3) * 4
GC, XCC_STRIDE = 0x8000, 0x40000  # bytes
MM, AID_STRIDE = 0x60000, 0x80000
FB_OFFSET, LFB_CNTL, LFB_SIZE = 0xA51C, 0xA55C, 0xA560
FB_BASE, FB_TOP = 0x63270, 0x63274


@dataclass(frozen=True)
class Offsets:
    """Byte offsets of one hub from its base."""

    l2_cntl: int
    fault_cntl: int
    fault_status: int
    context0_cntl: int
    request: int
    ack: int
    range_lo: int
    base0: int
    start0: int
    end0: int
    agp_base: int
    aperture_low: int
    default_lsb: int
    tlb_cntl: int
    identity: int

    @property
    def fault_address(self) -> int:
        return self.fault_status + 4


GFX = Offsets(
    0x2080, 0x209C, 0x20AC, 0x2180, 0x2250, 0x2298, 0x2324, 0x232C, 0x23AC, 0x242C, 0x2580, 0x2584, 0x2520, 0x258C, 0x20C4
)  # fmt: skip
MMH = Offsets(
    0x2D80, 0x2D9C, 0x2DAC, 0x2E80, 0x2F50, 0x2F98, 0x3024, 0x302C, 0x30AC, 0x312C, 0x3280, 0x3284, 0x3220, 0x328C, 0x2DC4
)  # fmt: skip


@dataclass(frozen=True)
class HubAt:
    """Where one hub is."""

    name: str
    base: int
    at: Offsets


class FakeDma:
    """Host memory whose pages lie anywhere."""

    def __init__(self, size: int, page_size: int, addresses: tuple[int, ...]) -> None:
        self.size, self.page_size, self.bus_addr = size, page_size, addresses
        self.data = bytearray(size)
        self.closed = False

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data

    def close(self) -> None:
        self.closed = True


@dataclass
class Card:
    """What a test chooses."""

    name: str = "fake"
    device: int = 0x75A0
    vram_mib: int = 16 << 10
    bar0: int = 16 * GIB
    node: int = 0
    max_region: int = 0
    segment: int = 0
    fb_base: int = 0x80_0000_0000
    fb_top: int = 0
    fb_offset: int = 0
    harvested: tuple[int, ...] = ()
    aids: tuple[int, ...] = (0, 1, 2, 3)
    gc_version: tuple[int, int, int] = (9, 5, 0)
    registers: dict[int, int] = field(default_factory=dict)


class FakeCard:
    """Implements Transport. `log` holds ("R"/"W", bar, byte offset, value or length)."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.name = card.name
        self.can = Can.MMIO | Can.DMA
        top = card.fb_top or card.fb_base + max(card.vram_mib * MIB, (card.max_region + 1) * card.segment) - 1
        self.registers = {
            MEMSIZE: card.vram_mib,
            FB_BASE: card.fb_base >> 24,
            FB_TOP: top >> 24,
            FB_OFFSET: card.fb_offset >> 24,
            LFB_CNTL: card.node | card.max_region << 4,
            LFB_SIZE: card.segment >> 24,
            **card.registers,
        }
        self.hubs = [HubAt(f"GC[{xcc}]", GC + xcc * XCC_STRIDE, GFX) for xcc in range(8) if xcc not in card.harvested]
        self.hubs += [HubAt(f"MMHUB[{aid}]", MM + aid * AID_STRIDE, MMH) for aid in card.aids]
        self.acks = {hub.base + hub.at.ack: hub.base + hub.at.request for hub in self.hubs}
        self.vram: dict[int, bytearray] = {}
        self.dma: list[FakeDma] = []
        self.dma_page = PAGE
        self.log: list[tuple[str, int, int, int]] = []
        self.deaf: set[int] = set()  # ACK registers that never answer
        self.dead = False

    # ---- what a test looks at

    def hub(self, name: str) -> HubAt:
        return next(hub for hub in self.hubs if hub.name == name)

    def value(self, hub: HubAt, offset: int) -> int:
        return self.registers.get(hub.base + offset, 0)

    def reads(self, bar: int = 5) -> int:
        return sum(1 for verb, where, _, _ in self.log if (verb, where) == ("R", bar))

    def writes(self, bar: int = 5) -> int:
        return sum(1 for verb, where, _, _ in self.log if (verb, where) == ("W", bar))

    def count(self, verb: str, offset: int) -> int:
        return sum(1 for entry in self.log if entry[:3] == (verb, 5, offset))

    def requests(self) -> int:
        return sum(self.count("W", request) for request in self.acks.values())

    def vram_bytes(self, offset: int, size: int) -> bytes:
        out = bytearray()
        while size:
            page, within = divmod(offset, PAGE)
            part = min(size, PAGE - within)
            out += self.vram.get(page, b"\xee" * PAGE)[within : within + part]
            offset, size = offset + part, size - part
        return bytes(out)

    def _put(self, offset: int, data: bytes) -> None:
        assert 0 <= offset <= offset + len(data) <= self.card.vram_mib * MIB
        done = 0
        while done < len(data):
            page, within = divmod(offset + done, PAGE)
            part = min(len(data) - done, PAGE - within)
            self.vram.setdefault(page, bytearray(b"\xee" * PAGE))[within : within + part] = data[done : done + part]
            done += part

    # ---- Transport

    def info(self) -> FunctionInfo:
        return FunctionInfo("0000:c1:00.0", 0x1002, self.card.device)

    def bars(self) -> Mapping[int, Bar]:
        sizes = {0: self.card.bar0, 5: 2 * MIB}
        return {index: Bar(index, 0, size) for index, size in sizes.items() if size}

    def config_size(self) -> int:
        return 4096

    def config_read(self, offset: int, size: int) -> int:
        return (1 << 8 * size) - 1 if self.dead else 0x75A01002

    def config_write(self, offset: int, size: int, value: int) -> None:
        raise AssertionError("memory does not write config space")

    def read32(self, bar: int, offset: int) -> int:
        assert bar == 5
        value = ONES if self.dead else self._register(offset)
        self.log.append(("R", bar, offset, value))
        return value

    def _register(self, offset: int) -> int:
        if offset in self.acks:
            return 0 if offset in self.deaf else self.registers.get(self.acks[offset], 0) & 0xFFFF
        if offset == MM_DATA:
            return int(struct.unpack("<I", self.vram_bytes(self._window(), 4))[0])
        return self.registers.get(offset, 0)

    def _window(self) -> int:
        index = self.registers.get(MM_INDEX, 0)
        assert index >> 31, "the index must select the memory aperture"
        return index & 0x7FFFFFFF | self.registers.get(MM_INDEX_HI, 0) << 31

    def write32(self, bar: int, offset: int, value: int) -> None:
        assert bar == 5
        assert 0 <= value <= ONES
        self.log.append(("W", bar, offset, value))
        if offset == MM_DATA:
            self._put(self._window(), struct.pack("<I", value))
        else:
            self.registers[offset] = value

    def read64(self, bar: int, offset: int) -> int:
        raise AssertionError("memory has no 64-bit registers")

    def write64(self, bar: int, offset: int, value: int) -> None:
        raise AssertionError("memory has no 64-bit registers")

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        self._check(bar, offset, size)
        self.log.append(("R", bar, offset, size))
        return self.vram_bytes(offset, size)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self._check(bar, offset, len(data))
        self.log.append(("W", bar, offset, len(data)))
        self._put(offset, data)

    def _check(self, bar: int, offset: int, size: int) -> None:
        assert bar == 0
        assert offset % 4 == size % 4 == 0
        if offset + size > self.card.bar0:
            raise Unavailable("accessing BAR0", expected="within the BAR", seen=f"{offset:#x}+{size:#x}")
        if self.dead:
            raise DeviceLost("accessing BAR0", expected="a device", seen="none")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        yield

    def holder(self) -> LockHolder | None:
        return None

    def alloc_dma(self, size: int) -> DmaBuffer:
        step = self.dma_page
        count = -(-size // step)
        # Every second page, from the top down: never contiguous.
        addresses = tuple(0x10_0000_0000 - 2 * index * step for index in range(count))
        self.dma.append(FakeDma(count * step, step, addresses))
        return self.dma[-1]

    def close(self) -> None:
        """Nothing is held."""


def ip_map(card: Card) -> IpMap:
    """The instances that memory needs, at the bases of the recorded boot."""

    def one(
        name: str, number: int, bases: tuple[int, ...], *, version: tuple[int, int, int] = (1, 8, 1), gone: bool = False
    ) -> IpInstance:
        return IpInstance(HW_IDS[name], number, version, bases, gone)

    found = [
        one(
            "GC",
            xcc,
            (0x2000 + xcc * 0x10000, 0xA000 + xcc * 0x10000),
            version=card.gc_version,
            gone=xcc in card.harvested,
        )
        for xcc in range(8)
    ]
    found += [one("MMHUB", aid, (0x18000 + aid * 0x20000,)) for aid in range(4)]
    found += [one("SDMA0", number, (0x1260,), gone=number // 4 not in card.aids) for number in range(16)]
    found.append(one("NBIF", 0, (0, 0x14, 0xD20, 0x10400, 0x241B000, 0x4040000, 0, 0, 0x6000000)))
    found.append(one("HDP", 0, (0xF20,)))
    return IpMap(tuple(found))


def gpu_of(transport: FakeCard, clock: VirtualClock | None = None) -> Gpu:
    part = part_of(0x1002, transport.card.device)
    assert part is not None
    return Gpu(Access(transport), clock or VirtualClock(), ip_map(transport.card), part)


def started(card: Card | None = None) -> tuple[FakeCard, Gmc]:
    """A GPU whose memory is up; the log is empty."""
    transport = FakeCard(card or Card())
    gmc = Gmc(gpu_of(transport))
    gmc.sw_init()
    gmc.hw_init()
    transport.log.clear()
    return transport, gmc
