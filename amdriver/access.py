"""Reaching the registers and the VRAM of one AMD GPU through its Transport.

Source: amd-bringup.md section 2; Linux v7.3 amdgpu/amdgpu_reg_access.c (SMN sequences, base of an AID),
amdgpu_device.c amdgpu_device_mm_access (VRAM window). Addresses in dwords as `registers` has them, unless named bytes.

    direct      BAR5 + 4 * address
    SMN         PCIE_INDEX2 / PCIE_DATA2; another AID by bits 34:32 of the address, through PCIE_INDEX2_HI
    RSMU        RSMU_INDEX / RSMU_DATA
    VRAM        BAR0 where it reaches, else MM_INDEX / MM_INDEX_HI / MM_DATA, a dword at a time

An index/data pair is shared state: each sequence holds the transport's lock, and leaves the index as it found it.
PCIE_INDEX2_HI is left 0, whatever it was: left at another AID, it would turn every later SMN access to that AID."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

from base.errors import Unavailable, Undecided
from pcibus.transport import ALL_ONES, Transport
from registers.amd_fixed import Fixed
from registers.core import RegisterBus

MMIO_BAR: Final = 5
VRAM_BAR: Final = 0
AIDS: Final = 4
_WINDOW: Final = 1 << 31  # MM_INDEX reaches so many bytes; MM_INDEX_HI has the address bits from here on
_VRAM_APERTURE: Final = Fixed.MM_INDEX.kind.of(MM_APER=1).value
_HI_MASK: Final = 0xFF

VramPath = Literal["auto", "bar0", "window"]


_MM_INDEX, _MM_DATA, _MM_INDEX_HI = Fixed.MM_INDEX.offset * 4, Fixed.MM_DATA.offset * 4, Fixed.MM_INDEX_HI.offset * 4
_INDEX2, _DATA2 = Fixed.PCIE_INDEX2.offset * 4, Fixed.PCIE_DATA2.offset * 4
_INDEX2_HI = Fixed.PCIE_INDEX2_HI.offset * 4
_RSMU_INDEX, _RSMU_DATA = Fixed.RSMU_INDEX.offset * 4, Fixed.RSMU_DATA.offset * 4

# What a read-only transport lets through: (BAR, byte offset) of exactly the registers that hold an index.
INDEX_REGISTERS: Final[frozenset[tuple[int, int]]] = frozenset(
    (MMIO_BAR, offset) for offset in (_MM_INDEX, _MM_INDEX_HI, _RSMU_INDEX, _INDEX2, _INDEX2_HI)
)


def smn_base(aid: int) -> int:
    """What is added to an SMN byte address to reach AID n. Valid for XGMI, NBIO, MP0, UMC and DF."""
    if not 0 <= aid < AIDS:
        raise ValueError(f"AID {aid}: a GPU has AIDs 0..{AIDS - 1}")
    return 0 if aid == 0 else 1 << 34 | aid << 32


class Access:
    """Registers and VRAM of one GPU. A RegisterBus: what lies beyond BAR5 is reached by SMN. Touches nothing by itself.

    Errors are the transport's own (Refused when the lock cannot be had, DeviceLost ...), and Undecided when somebody
    else moves an index register under our hands."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._mmio_size: int | None = None

    # ---- registers

    @property
    def mmio_size_bytes(self) -> int:
        """Size of BAR5; Unavailable when the function has none."""
        if self._mmio_size is None:
            bar = self.transport.bars().get(MMIO_BAR)
            if bar is None or not bar.size:
                raise Unavailable(
                    "reaching the registers",
                    expected=f"BAR{MMIO_BAR}",
                    seen="the function has no such BAR, or none is assigned",
                    where=self.transport.name,
                    next_step="gpumend list; restore the configuration, or rescan the bus",
                )
            self._mmio_size = bar.size
        return self._mmio_size

    def read(self, address: int) -> int:
        """A register at a dword address."""
        if address * 4 < self.mmio_size_bytes:
            return self.transport.read32(MMIO_BAR, address * 4)
        return self.smn_read(address * 4)

    def write(self, address: int, value: int) -> None:
        if address * 4 < self.mmio_size_bytes:
            self.transport.write32(MMIO_BAR, address * 4, value)
        else:
            self.smn_write(address * 4, value)

    def where(self, address: int) -> str:
        if address * 4 < self.mmio_size_bytes:
            return f"BAR{MMIO_BAR}+{address * 4:#x} on {self.transport.name}"
        return f"SMN {address * 4:#x} on {self.transport.name}"

    # ---- SMN and RSMU

    def smn_read(self, byte_address: int, aid: int = 0) -> int:
        """A register in the SMN space of one AID."""
        with self._smn(byte_address, aid):
            return self.transport.read32(MMIO_BAR, _DATA2)

    def smn_write(self, byte_address: int, value: int, aid: int = 0) -> None:
        with self._smn(byte_address, aid):
            self.transport.write32(MMIO_BAR, _DATA2, value)
            self.transport.read32(MMIO_BAR, _DATA2)  # the write has arrived

    def smn_write_all(self, writes: Iterable[tuple[int, int]], aid: int = 0) -> None:
        """Several (byte address, value) of one AID under one lock. The bus keeps their order: only the last is read back."""
        todo = list(writes)
        if not todo:
            return
        for address, _ in todo:
            _check_register(address)
        with self._smn(todo[0][0], aid):
            self.transport.write32(MMIO_BAR, _DATA2, todo[0][1])
            for address, value in todo[1:]:
                self.transport.write32(MMIO_BAR, _INDEX2, address)
                self.transport.write32(MMIO_BAR, _DATA2, value)
            self.transport.read32(MMIO_BAR, _DATA2)  # all have arrived

    def smn_bus(self, aid: int) -> RegisterBus:
        """The registers of another AID at the same dword addresses as on AID 0, each by SMN."""
        return _SmnBus(self, aid)

    def rsmu_read(self, byte_address: int) -> int:
        """A register through the RSMU pair."""
        with self._rsmu(byte_address):
            return self.transport.read32(MMIO_BAR, _RSMU_DATA)

    def rsmu_write(self, byte_address: int, value: int) -> None:
        with self._rsmu(byte_address):
            self.transport.write32(MMIO_BAR, _RSMU_DATA, value)

    @contextmanager
    def _smn(self, byte_address: int, aid: int) -> Iterator[None]:
        """PCIE_DATA2 stands for this register within."""
        _check_register(byte_address)
        high = smn_base(aid) >> 32
        with self.transport.exclusive():
            before = self.transport.read32(MMIO_BAR, _INDEX2)
            try:
                self._set(_INDEX2, byte_address, "PCIE_INDEX2")
                # A crash in the middle of somebody's access may have left it at another AID.
                if high or self.transport.read32(MMIO_BAR, _INDEX2_HI) & _HI_MASK:
                    self._set(_INDEX2_HI, high, "PCIE_INDEX2_HI")
                yield
            finally:
                if high:
                    self.transport.write32(MMIO_BAR, _INDEX2_HI, 0)
                    self.transport.read32(MMIO_BAR, _INDEX2_HI)
                self._restore(_INDEX2, before)

    @contextmanager
    def _rsmu(self, byte_address: int) -> Iterator[None]:
        _check_register(byte_address)
        with self.transport.exclusive():
            before = self.transport.read32(MMIO_BAR, _RSMU_INDEX)
            try:
                self.transport.write32(MMIO_BAR, _RSMU_INDEX, byte_address)
                yield
            finally:
                self._restore(_RSMU_INDEX, before)

    def _set(self, offset: int, value: int, name: str) -> None:
        self.transport.write32(MMIO_BAR, offset, value)
        seen = self.transport.read32(MMIO_BAR, offset)
        if seen in (value, ALL_ONES):  # all ones: the device is dead, and so will be the data; its reader judges
            return
        raise Undecided(
            f"setting {name} for an indirect access",
            expected=f"{value:#010x} read back",
            seen=f"{seen:#010x}",
            where=f"BAR{MMIO_BAR}+{offset:#x} on {self.transport.name}",
            next_step="somebody else uses the same index register without the lock: find and stop it",
        )

    def _restore(self, offset: int, before: int) -> None:
        if before != ALL_ONES:
            self.transport.write32(MMIO_BAR, offset, before)

    # ---- VRAM

    @property
    def visible_vram_bytes(self) -> int:
        """How much of VRAM BAR0 shows, from VRAM offset 0 on; 0 without BAR0."""
        bar = self.transport.bars().get(VRAM_BAR)
        return bar.size if bar else 0

    def is_visible(self, vram_offset: int, size: int) -> bool:
        return vram_offset + size <= self.visible_vram_bytes

    def vram_read(self, vram_offset: int, size: int, path: VramPath = "auto") -> bytes:
        """Bytes of VRAM; any offset and size. `auto`: through BAR0 what it shows, the rest through the index window."""
        if vram_offset < 0 or size < 0:
            raise ValueError(f"vram_read({vram_offset:#x}, {size:#x}): neither may be negative")
        start = vram_offset & ~3
        end = (vram_offset + size + 3) & ~3
        split = end if path == "bar0" else start
        if path == "auto":
            split = min(max(self.visible_vram_bytes & ~3, start), end)
        data = self.transport.read_block(VRAM_BAR, start, split - start) if split > start else b""
        if end > split:
            data += self._window_read(split, end - split)
        return data[vram_offset - start : vram_offset - start + size]

    def vram_write(self, vram_offset: int, data: bytes, path: VramPath = "auto") -> bool:
        """Bytes of VRAM; any offset and size. Paths as in `vram_read`. True: some of it went through BAR0, so the HDP
        must be flushed before the GPU reads it.

        Whole dwords are written as they are. Of a first or last dword that is not ours alone, the other bytes are read
        and written back: what the GPU writes at the same time must have a dword of its own."""
        if vram_offset < 0:
            raise ValueError(f"vram_write({vram_offset:#x}): the offset may not be negative")
        if not data:
            return False
        if (vram_offset | len(data)) & 3:
            vram_offset, data = self._whole_dwords(vram_offset, data, path)
        end = vram_offset + len(data)
        split = end if path == "bar0" else vram_offset
        if path == "auto":
            split = min(max(self.visible_vram_bytes & ~3, vram_offset), end)
        if split > vram_offset:
            self.transport.write_block(VRAM_BAR, vram_offset, data[: split - vram_offset] if split < end else data)
        if split < end:
            self._window_write(split, data[split - vram_offset :])
        return split > vram_offset

    def _whole_dwords(self, vram_offset: int, data: bytes, path: VramPath) -> tuple[int, bytes]:
        """Data with the rest of its first and last dword, as VRAM has it now."""
        start, end = vram_offset & ~3, (vram_offset + len(data) + 3) & ~3
        before = after = b""
        if start != vram_offset:
            before = self.vram_read(start, vram_offset - start, path)
        if rest := end - vram_offset - len(data):
            after = self.vram_read(end - rest, rest, path)
        return start, before + data + after

    def _window_read(self, vram_offset: int, size: int) -> bytes:
        """Aligned dwords through the window, under one lock."""
        words: list[int] = []
        with self._window(vram_offset, size) as places:
            for _ in places:
                words.append(self.transport.read32(MMIO_BAR, _MM_DATA))
        return struct.pack(f"<{len(words)}I", *words)

    def _window_write(self, vram_offset: int, data: bytes) -> None:
        words = struct.unpack(f"<{len(data) // 4}I", data)
        with self._window(vram_offset, len(data)) as places:
            for _, word in zip(places, words, strict=True):
                self.transport.write32(MMIO_BAR, _MM_DATA, word)

    @contextmanager
    def _window(self, vram_offset: int, size: int) -> Iterator[Iterator[int]]:
        """MM_DATA stands for one dword of VRAM after the other. MM_INDEX_HI is written only when it changes."""
        read32, write32 = self.transport.read32, self.transport.write32

        def places() -> Iterator[int]:
            high = -1
            for at in range(vram_offset, vram_offset + size, 4):
                if at // _WINDOW != high:
                    high = at // _WINDOW
                    write32(MMIO_BAR, _MM_INDEX_HI, high)
                write32(MMIO_BAR, _MM_INDEX, at % _WINDOW | _VRAM_APERTURE)
                yield at

        with self.transport.exclusive():
            before, high_before = read32(MMIO_BAR, _MM_INDEX), read32(MMIO_BAR, _MM_INDEX_HI)
            try:
                yield places()
            finally:
                self._restore(_MM_INDEX_HI, high_before)
                self._restore(_MM_INDEX, before)


class VramMemory:
    """VRAM as `pagetable.PageTables` wants it. What was written has to be flushed out of the HDP by whoever flushes."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def read(self, vram_offset: int, size: int) -> bytes:
        return self._access.vram_read(vram_offset, size)

    def write(self, vram_offset: int, data: bytes) -> None:
        self._access.vram_write(vram_offset, data)


class _SmnBus:
    """Dword addresses of one AID through SMN."""

    def __init__(self, access: Access, aid: int) -> None:
        smn_base(aid)  # a wrong AID is told here, not at the first access
        self._access = access
        self._aid = aid

    def read(self, address: int) -> int:
        return self._access.smn_read(address * 4, self._aid)

    def write(self, address: int, value: int) -> None:
        self._access.smn_write(address * 4, value, self._aid)

    def where(self, address: int) -> str:
        return f"AID {self._aid} SMN {address * 4:#x} on {self._access.transport.name}"


def _check_register(byte_address: int) -> None:
    if byte_address % 4 or not 0 <= byte_address <= 0xFFFFFFFF:
        raise ValueError(f"register byte address {byte_address:#x}: 32 bits, a multiple of 4")
