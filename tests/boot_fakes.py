"""A GPU of plain registers and VRAM for tests of the blocks that start one: it does nothing but what a test hooks in.

It knows nothing of the code under test; offsets in bytes, as amdgpu-on-model.md lists them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

from amdriver.access import Access
from amdriver.gmc import Gmc
from amdriver.gpu import Gpu
from amdriver.ip_map import HW_IDS, IpInstance, IpMap, Version
from amdriver.parts import PARTS
from base.clock import VirtualClock
from base.errors import Refused, Unavailable
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder

INDEX2, DATA2, INDEX2_HI = 0x38, 0x3C, 0x44
MC_BASE = 0x80_0000_0000
ONES = 0xFFFFFFFF
MI300X, MI350X = 0x74A1, 0x75A0
READY = 0x80000000

# Register bases of the sheets, in dwords.
NBIF = (0, 0x14, 0xD20, 0x10400, 0x241B000, 0x4040000, 0, 0, 0x6000000)
_SDMA = (0x1260, 0x1860, 0x19400, 0x19800)


class FakeTransport:
    """Implements Transport. `log` holds every register access as (verb, BAR, offset, value); SMN addresses with BAR -1."""

    can = Can.MMIO | Can.CONFIG_WRITE

    def __init__(self, device: int = MI300X, *, name: str = "fake") -> None:
        self.name = name
        self.told = FunctionInfo("0000:c1:00.0", 0x1002, device, driver="")
        self.registers: dict[int, int] = {}
        self.smn: dict[int, int] = {}
        self.vram: dict[int, int] = {}
        self.doorbells: list[tuple[int, int]] = []
        self.config = {0: 0x74A11002, 4: 0x0003}
        self.log: list[tuple[str, int, int, int]] = []
        self.on_write: dict[int, Callable[[int], None]] = {}
        self.on_read: dict[int, Callable[[], int]] = {}
        self.lost = False
        self.held_by: str | None = None
        self.depth = 0

    # ---- what a test looks at

    def writes(self, *offsets: int) -> list[tuple[int, int]]:
        """(offset, value) of the register writes, in order; of these offsets only, if any are given."""
        return [(o, v) for verb, bar, o, v in self.log if (verb, bar) == ("W", 5) and (not offsets or o in offsets)]

    def smn_writes(self) -> dict[int, int]:
        return {offset: value for verb, bar, offset, value in self.log if (verb, bar) == ("W", -1)}

    def poke(self, vram_offset: int, data: bytes) -> None:
        for at, byte in enumerate(data):
            self.vram[vram_offset + at] = byte

    def peek(self, vram_offset: int, size: int) -> bytes:
        return bytes(self.vram.get(vram_offset + at, 0) for at in range(size))

    # ---- Transport

    def info(self) -> FunctionInfo:
        return self.told

    def bars(self) -> Mapping[int, Bar]:
        return {0: Bar(0, 0, 1 << 34), 2: Bar(2, 0, 1 << 21), 5: Bar(5, 0, 2 << 20)}

    def config_size(self) -> int:
        return 4096

    def config_read(self, offset: int, size: int) -> int:
        if self.lost:
            return (1 << 8 * size) - 1
        return self.config.get(offset, 0) & (1 << 8 * size) - 1

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("C", -2, offset, value))
        self.config[offset] = value

    def read32(self, bar: int, offset: int) -> int:
        if self.lost:
            return ONES
        if bar != 5:
            return int.from_bytes(self.peek(offset, 4), "little") if bar == 0 else 0
        if offset == DATA2:
            value = self.smn.get(self._smn_address(), 0)
        else:
            value = self.on_read[offset]() if offset in self.on_read else self.registers.get(offset, 0)
        self.log.append(("R", bar, offset, value))
        return value

    def _smn_address(self) -> int:
        return self.registers.get(INDEX2_HI, 0) << 32 | self.registers.get(INDEX2, 0)

    def write32(self, bar: int, offset: int, value: int) -> None:
        if self.lost:
            return
        if bar == 2:
            self.doorbells.append((offset, value))
            return
        self.log.append(("W", bar, offset, value))
        if offset == DATA2:
            self.smn[self._smn_address()] = value
            self.log.append(("W", -1, self._smn_address(), value))
            return
        self.registers[offset] = value
        if offset in self.on_write:
            self.on_write[offset](value)

    def read64(self, bar: int, offset: int) -> int:
        return self.read32(bar, offset) | self.read32(bar, offset + 4) << 32

    def write64(self, bar: int, offset: int, value: int) -> None:
        self.doorbells.append((offset, value))

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        assert bar == 0
        return b"\xff" * size if self.lost else self.peek(offset, size)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        assert bar == 0
        if not self.lost:
            self.poke(offset, data)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        if self.held_by is not None:
            raise Refused("locking", expected="the lock", seen=f"held by {self.held_by}", next_step="end that process")
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def holder(self) -> LockHolder | None:
        return None

    def alloc_dma(self, size: int) -> DmaBuffer:
        raise Unavailable("allocating", seen="nothing here has DMA")

    def close(self) -> None:
        pass


class FakeBlock:
    """VRAM as the memory manager hands it out."""

    def __init__(self, gmc: FakeGmc, offset: int, size: int, owner: str) -> None:
        self.gmc, self.vram_offset, self.size, self.owner = gmc, offset, size, owner
        self.mc_addr = MC_BASE + offset

    def read(self, offset: int, size: int) -> bytes:
        return self.gmc.transport.read_block(0, self.vram_offset + offset, size)

    def write(self, offset: int, data: bytes, *, flush: bool = True) -> None:
        assert offset + len(data) <= self.size
        self.gmc.transport.write_block(0, self.vram_offset + offset, data)
        self.gmc.flushes += flush

    def free(self) -> None:
        self.gmc.live.remove(self)


class FakeGmc:
    """Hands out VRAM from offset 1 MiB on."""

    def __init__(self, transport: FakeTransport, nodes: int = 1) -> None:
        self.transport = transport
        self.place = SimpleNamespace(nodes=nodes)
        self.live: list[FakeBlock] = []
        self.flushes = 0
        self.latched: list[str] = []
        self._next = 1 << 20

    def sw_init(self) -> None:
        """What the real one reads, a test tells at once."""

    def faults(self) -> list[str]:
        return self.latched

    def alloc_vram(self, size: int, *, alignment: int = 4096, owner: str = "") -> FakeBlock:
        start = -(-self._next // alignment) * alignment
        self._next = start + size
        block = FakeBlock(self, start, size, owner)
        self.live.append(block)
        return block

    @property
    def as_gmc(self) -> Gmc:
        return cast(Gmc, self)


def ip_map(
    *,
    gc: Version = (9, 4, 3),
    mp: Version = (13, 0, 6),
    sdma: Version = (4, 4, 2),
    harvested_xccs: tuple[int, ...] = (),
    aids: int = 4,
) -> IpMap:
    """A GPU of two XCCs and four SDMA engines on each AID, at the bases of the sheet."""

    def one(name: str, number: int, version: Version, bases: tuple[int, ...], harvested: bool = False) -> IpInstance:
        return IpInstance(HW_IDS[name], number, version, bases, harvested=harvested)

    instances = [one("NBIF", n, (7, 9, 0), NBIF) for n in range(aids)]
    instances += [one("MP0", 0, mp, (0x16000,)), one("MP1", 0, mp, (0x16000,)), one("OSSSYS", 0, (4, 4, 2), (0x10A0,))]
    instances += [one("HDP", 0, (4, 4, 2), (0xF20,))]
    instances += [one("MMHUB", n, (1, 8, 0), (0x18000 + n * 0x20000,)) for n in range(aids)]
    for n in range(2 * aids):
        bases = (0x2000 + n * 0x10000, 0xA000 + n * 0x10000)
        instances.append(one("GC", n, gc, bases, n in harvested_xccs))
    instances += [one("SDMA0", n, sdma, (_SDMA[n % 4] + n // 4 * 0x20000,)) for n in range(4 * aids)]
    return IpMap(tuple(instances))


def fake_gpu(transport: FakeTransport, ip: IpMap | None = None, clock: VirtualClock | None = None) -> Gpu:
    return Gpu(Access(transport), clock or VirtualClock(), ip or ip_map(), PARTS[transport.told.device])


# ---------------------------------------------------------------- PSP

C35, C36, C58, C64, C67, C69, C70, C71, C81, C92 = (
    0x5818C, 0x58190, 0x581E8, 0x58200, 0x5820C, 0x58214, 0x58218, 0x5821C, 0x58244, 0x58270,
)  # fmt: skip
_FRAME = struct.Struct("<8I")


class FakePsp:
    """A PSP that obeys: bootloader and secure OS, as psp_v13_0.c and psp_gfx_if.h have them. `commands` is what ran."""

    def __init__(self, transport: FakeTransport, clock: VirtualClock) -> None:
        self.transport, self.clock = transport, clock
        self.components: list[tuple[int, bytes]] = []  # command, first bytes of the component
        self.commands: list[tuple[int, bytes]] = []  # id, the command's 1024 bytes
        self.status: dict[int, int] = {}  # answers other than 0, by command id
        self.error: dict[int, int] = {}  # answers other than ready, by bootloader command
        self.sos_after_s: float | None = 0.03
        self.silent = False
        self.sessions = 0
        self.on_invoke: Callable[[int, int], None] = lambda session, command: None
        self.shared: dict[int, int] = {}  # session to VRAM offset
        self._sos_at: float | None = None
        transport.registers |= {C35: READY, C64: READY, C58: 0x00360260, C92: 0xBA}
        transport.on_write |= {C35: self._bootloader, C64: self._control, C67: self._run}
        transport.on_read[C81] = self._sign_of_life

    def alive(self) -> None:
        self._sos_at = self.clock.now()

    def _sign_of_life(self) -> int:
        return int(self._sos_at is not None and self.clock.now() >= self._sos_at)

    def _bootloader(self, command: int) -> None:
        start = (self.transport.registers[C36] << 20) - MC_BASE
        self.components.append((command, self.transport.peek(start, 0x80)))
        self.transport.registers[C35] = READY | self.error.get(command, 0)
        if command == 0x20000 and self.sos_after_s is not None:
            self._sos_at = self.clock.now() + self.sos_after_s

    def _control(self, command: int) -> None:
        self.transport.registers[C64] = READY | self.status.get(command, 0)
        if command == 0x30000:
            self.transport.registers[C71] = 0
        elif command == 0x20000:
            self.transport.registers[C67] = 0

    def _run(self, wptr: int) -> None:
        registers = self.transport.registers
        ring = (registers[C70] << 32 | registers[C69]) - MC_BASE
        at = (wptr * 4 - 64) % registers[C71]
        low, high, _, fence_low, fence_high, fence, _, _ = _FRAME.unpack(self.transport.peek(ring + at, 32))
        if self.silent:
            return
        command_at = (high << 32 | low) - MC_BASE
        command = self.transport.peek(command_at, 1024)
        number = struct.unpack_from("<I", command, 8)[0]
        self.commands.append((number, command))
        answer = [self.status.get(number, 0), 0]
        if number == 1:  # LOAD_TA
            self.sessions += 1
            answer[1] = self.sessions
            shared = struct.unpack_from("<II", command, 28 + 12)
            self.shared[self.sessions] = (shared[1] << 32 | shared[0]) - MC_BASE
        elif number == 3:
            self.on_invoke(*struct.unpack_from("<II", command, 28))
        self.transport.poke(command_at + 864, struct.pack("<II", *answer))
        self.transport.poke((fence_high << 32 | fence_low) - MC_BASE, struct.pack("<I", fence))


def words(command: bytes, count: int) -> tuple[int, ...]:
    """The first words of a command's own part."""
    return cast("tuple[int, ...]", struct.unpack_from(f"<{count}I", command, 28))
