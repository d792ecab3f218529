"""A GPU of a few registers for tests of access and discovery: index pairs as the hardware has them, and VRAM in pieces.

It knows nothing of the code under test: offsets are written out from amd-discovery.md section 1."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from base.errors import Refused, Unavailable
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder

MM_INDEX, MM_DATA, MM_INDEX_HI = 0x00, 0x04, 0x18
INDEX2, DATA2, INDEX2_HI = 0x38, 0x3C, 0x44
RSMU_INDEX, RSMU_DATA = 0x50, 0x54
SCRATCH_0, SCRATCH_1, SCRATCH_2 = 0x250, 0x254, 0x258
MEMSIZE, C2PMSG_33 = 0x378C, 0x58184
ONES = 0xFFFFFFFF


class FakeGpu:
    """Implements Transport. `log` holds every access as (verb, bar, offset, value)."""

    name = "fake"
    can = Can.MMIO

    def __init__(self, *, bar0: int = 0, bar5: int = 2 << 20, memsize_mib: int = 196608) -> None:
        self.bar_sizes = {0: bar0, 5: bar5}
        self.registers = {C2PMSG_33: 0x80000000, MEMSIZE: memsize_mib}
        self.smn: dict[int, int] = {}  # by 40-bit address
        self.rsmu: dict[int, int] = {}
        self.vram: dict[int, int] = {}  # dwords by byte offset
        self.log: list[tuple[str, int, int, int]] = []
        self.depth = 0
        self.locked_by: str | None = None
        self.dead = False
        self.bar0_dead = False
        self.unlocked_index_accesses = 0
        self.index2_sticks_at: int | None = None

    # ---- what a test sets up

    def put(self, vram_offset: int, data: bytes) -> None:
        data += bytes(-len(data) % 4)
        for number, (word,) in enumerate(struct.iter_unpack("<I", data)):
            self.vram[vram_offset + 4 * number] = word

    def count(self, verb: str, bar: int, offset: int) -> int:
        return sum(1 for entry in self.log if entry[:3] == (verb, bar, offset))

    def written(self) -> set[int]:
        """Offsets in BAR5 that were written."""
        return {offset for verb, bar, offset, _ in self.log if verb == "W" and bar == 5}

    # ---- Transport

    def info(self) -> FunctionInfo:
        return FunctionInfo("0000:c1:00.0", 0x1002, 0x74A1)

    def bars(self) -> Mapping[int, Bar]:
        return {index: Bar(index, 0, size) for index, size in self.bar_sizes.items() if size}

    def config_size(self) -> int:
        return 4096

    def config_read(self, offset: int, size: int) -> int:
        return (1 << 8 * size) - 1 if self.dead else 0

    def config_write(self, offset: int, size: int, value: int) -> None:
        raise AssertionError("nothing here writes config space")

    def read32(self, bar: int, offset: int) -> int:
        value = self._vram(offset) if bar == 0 else self._register(offset)
        self.log.append(("R", bar, offset, value))
        return value

    def _vram(self, offset: int) -> int:
        return ONES if self.dead or self.bar0_dead else self.vram.get(offset, 0)

    def _register(self, offset: int) -> int:
        if self.dead:
            return ONES
        if offset in (MM_DATA, DATA2, RSMU_DATA) and not self.depth:
            self.unlocked_index_accesses += 1
        get = self.registers.get
        if offset == MM_DATA:
            index = get(MM_INDEX, 0)
            assert index >> 31, "the index must select the memory aperture"
            return self.vram.get((index & 0x7FFFFFFF) | get(MM_INDEX_HI, 0) << 31, 0)
        if offset == DATA2:
            return self.smn.get(get(INDEX2_HI, 0) << 32 | get(INDEX2, 0), 0)
        if offset == RSMU_DATA:
            return self.rsmu.get(get(RSMU_INDEX, 0), 0)
        if offset == INDEX2 and self.index2_sticks_at is not None:
            return self.index2_sticks_at
        return get(offset, 0)

    def write32(self, bar: int, offset: int, value: int) -> None:
        assert bar == 5, "nothing here writes VRAM"
        self.log.append(("W", bar, offset, value))
        if offset in (MM_INDEX, MM_INDEX_HI, INDEX2, INDEX2_HI, RSMU_INDEX) and not self.depth:
            self.unlocked_index_accesses += 1
        if offset == DATA2:
            self.smn[self.registers.get(INDEX2_HI, 0) << 32 | self.registers.get(INDEX2, 0)] = value
        elif offset == RSMU_DATA:
            self.rsmu[self.registers.get(RSMU_INDEX, 0)] = value
        else:
            self.registers[offset] = value

    def read64(self, bar: int, offset: int) -> int:
        return self.read32(bar, offset) | self.read32(bar, offset + 4) << 32

    def write64(self, bar: int, offset: int, value: int) -> None:
        raise AssertionError("nothing here writes 64 bits")

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        assert offset % 4 == 0
        assert size % 4 == 0
        if offset + size > self.bar_sizes.get(bar, 0):
            raise Unavailable("reading", expected="within the BAR", seen=f"{offset:#x}+{size:#x}")
        return struct.pack(f"<{size // 4}I", *(self.read32(bar, offset + at) for at in range(0, size, 4)))

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        raise AssertionError("nothing here writes VRAM")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        if self.locked_by is not None:
            raise Refused("locking the GPU", expected="the lock", seen=f"held by {self.locked_by}", next_step="stop it")
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def holder(self) -> LockHolder | None:
        return None

    def alloc_dma(self, size: int) -> DmaBuffer:
        raise AssertionError("nothing here needs DMA")

    def close(self) -> None:
        pass
