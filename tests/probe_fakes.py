"""A GPU made of dictionaries, for tests of the probe that need one register to say one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from amdriver.ip_map import IpInstance, IpMap
from amdriver.parts import PARTS
from base.clock import VirtualClock
from base.errors import Unavailable
from pcibus.transport import ALL_ONES, Bar, Can, DmaBuffer, FunctionInfo, LockHolder, Transport
from probe.session import Session, Settings

MI350X = PARTS[0x75A0]
MIB = 1 << 20
INDEX2, DATA2, INDEX2_HI = 0x38, 0x3C, 0x44
GC_BASES = ((0x2000, 0xA000), (0x12000, 0x1A000))
SDMA_BASES = (0x1260, 0x1860, 0x19400, 0x19800)
MMHUB_BASE = 0x18000


class FakeGpu:
    """A Transport. `registers` by byte offset in BAR5, `smn` by (AID, byte address); what is not there reads 0."""

    def __init__(self, device: int = 0x75A0, **info: object) -> None:
        self.name = "fake"
        self.can = Can.MMIO | Can.CONFIG_EXTENDED
        self.registers: dict[int, int] = {0x378C: 288 << 10, 0x58184: 1 << 31, 0x5818C: 1 << 31}
        self.smn: dict[tuple[int, int], int] = {}
        self.config = bytearray(4096)
        self.config[0:4] = (device << 16 | 0x1002).to_bytes(4, "little")
        self.config[4] = 0x6
        self.config[0x24:0x28] = (0x9000_0000).to_bytes(4, "little")
        self.index: dict[int, int] = {}
        self.writes: list[tuple[int, int, int]] = []
        self.lost = False
        self.on_read: Callable[[int], None] | None = None
        settings: dict[str, object] = {"power_state": "D0", "driver": ""} | info
        self._info = FunctionInfo("0000:c1:00.0", 0x1002, device, **settings)  # type: ignore[arg-type]

    def info(self) -> FunctionInfo:
        return self._info

    def bars(self) -> Mapping[int, Bar]:
        return {5: Bar(5, 0x9000_0000, 2 * MIB)}

    def config_size(self) -> int:
        return len(self.config)

    def config_read(self, offset: int, size: int) -> int:
        if self.lost:
            return (1 << 8 * size) - 1
        return int.from_bytes(self.config[offset : offset + size], "little")

    def config_write(self, offset: int, size: int, value: int) -> None:
        raise AssertionError("a probe writes no config space")

    def read32(self, bar: int, offset: int) -> int:
        if self.on_read is not None:
            self.on_read(offset)
        if self.lost:
            return ALL_ONES
        if offset == DATA2:
            aid = self.index.get(INDEX2_HI, 0) & 3
            address = self.index.get(INDEX2, 0)
            return self.smn.get((aid, address), self.registers.get(address, 0) if aid == 0 else 0)
        return self.index.get(offset, self.registers.get(offset, 0))

    def write32(self, bar: int, offset: int, value: int) -> None:
        self.writes.append((bar, offset, value))
        self.index[offset] = value

    def read64(self, bar: int, offset: int) -> int:
        return self.read32(bar, offset) | self.read32(bar, offset + 4) << 32

    def write64(self, bar: int, offset: int, value: int) -> None:
        raise AssertionError("a probe writes no 64-bit registers")

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        return bytes(size)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        raise AssertionError("a probe writes no memory")

    def exclusive(self) -> AbstractContextManager[None]:
        return self._hold()

    @contextmanager
    def _hold(self) -> Iterator[None]:
        yield

    def holder(self) -> LockHolder | None:
        return None

    def alloc_dma(self, size: int) -> DmaBuffer:
        raise Unavailable("allocating memory for a fake", expected="nobody asks")

    def close(self) -> None:
        pass


def ip_map(aids: int = 4) -> IpMap:
    """A small map: one XCC and all blocks of each AID."""
    instances = [
        IpInstance(11, aid, (9, 5, 0), (0x2000 + aid * 0x10000, 0xA000 + aid * 0x10000)) for aid in range(aids)
    ]
    instances += [
        IpInstance(42, aid * 4 + n, (4, 4, 4), (base + aid * 0x20000,))
        for aid in range(aids)
        for n, base in enumerate(SDMA_BASES)
    ]
    instances += [IpInstance(34, aid, (1, 8, 0), (MMHUB_BASE + aid * 0x20000,)) for aid in range(aids)]
    instances += [IpInstance(200, 0, (6, 4, 1), (0,)), IpInstance(255, 0, (13, 0, 12), (0x16000,))]
    return IpMap(tuple(instances))


def session_of(gpu: FakeGpu, *, mapped: bool = True, clock: VirtualClock | None = None) -> Session:
    """A session on this fake, as if discovery had gone well (or, not `mapped`, badly)."""
    from amdriver.access import INDEX_REGISTERS, Access
    from pcibus.readonly import ReadOnly

    reader = ReadOnly(gpu, INDEX_REGISTERS)
    session = Session("fake", reader, Access(reader), clock or VirtualClock(), MI350X, gpu.info(), Settings())
    session.ip_map = ip_map() if mapped else None
    session.facts["memory_mib"] = 288 << 10
    return session


class Watched:
    """A transport that passes everything on and remembers what was written. `changes` overrides what `info` says."""

    def __init__(self, inner: Transport, **changes: object) -> None:
        self.inner = inner
        self.name = inner.name
        self.can = inner.can
        self.written: list[tuple[int, int, int]] = []
        self.changes = changes
        self.before_read: Callable[[], None] | None = None

    def _about_to_read(self) -> None:
        if self.before_read is not None:
            self.before_read()

    def info(self) -> FunctionInfo:
        return replace(self.inner.info(), **self.changes)  # type: ignore[arg-type]

    def bars(self) -> Mapping[int, Bar]:
        return self.inner.bars()

    def config_size(self) -> int:
        return self.inner.config_size()

    def config_read(self, offset: int, size: int) -> int:
        self._about_to_read()
        return self.inner.config_read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        raise AssertionError("a probe writes no config space")

    def read32(self, bar: int, offset: int) -> int:
        self._about_to_read()
        return self.inner.read32(bar, offset)

    def write32(self, bar: int, offset: int, value: int) -> None:
        self.written.append((bar, offset, value))
        self.inner.write32(bar, offset, value)

    def read64(self, bar: int, offset: int) -> int:
        return self.inner.read64(bar, offset)

    def write64(self, bar: int, offset: int, value: int) -> None:
        raise AssertionError("a probe writes no 64-bit registers")

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        self._about_to_read()
        return self.inner.read_block(bar, offset, size)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        raise AssertionError("a probe writes no memory")

    def exclusive(self) -> AbstractContextManager[None]:
        return self.inner.exclusive()

    def holder(self) -> LockHolder | None:
        return self.inner.holder()

    def alloc_dma(self, size: int) -> DmaBuffer:
        raise AssertionError("a probe allocates no memory for the device")

    def close(self) -> None:
        self.inner.close()
