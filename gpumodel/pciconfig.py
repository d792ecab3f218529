"""PCI config space of a software GPU: 4096 bytes with what may be written and what a written 1 clears.

Source: where each capability lies: Linux v7.3 asic_reg/nbio/nbio_7_9_0_offset.h (cfgBIF_CFG_DEV0_EPF0_*); what its
bits mean: include/uapi/linux/pci_regs.h. Class: amdgpu_drv.c matches 0x120000 (processing accelerator) for parts
without a display. Values of capability bits are guesses where docs/fidelity.md says so."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from pcibus.transport import Bar

SIZE = 4096
MIB = 1 << 20

COMMAND = 0x04
COMMAND_MEMORY = 1 << 1
COMMAND_MASTER = 1 << 2
COMMAND_INTX_OFF = 1 << 10
STATUS = 0x06
BAR0 = 0x10
ROM_BAR = 0x30
CAP_POINTER = 0x34
VENDOR_CAP = 0x48
PM_CAP = 0x50
PM_CONTROL = 0x54
PCIE_CAP = 0x64
DEVICE_CONTROL = 0x6C
DEVICE_STATUS = 0x6E
FUNCTION_RESET = 1 << 15
LINK_CAP = 0x70
LINK_CONTROL = 0x74
LINK_STATUS = 0x76
LINK_CONTROL2 = 0x94
MSI_CAP = 0xA0
MSIX_CAP = 0xC0
VSEC_CAP = 0x100
SERIAL_CAP = 0x140
AER_CAP = 0x150
AER_UNCORRECTABLE = AER_CAP + 0x04
AER_CORRECTABLE = AER_CAP + 0x10
REBAR_CAP = 0x200
SECONDARY_CAP = 0x270
ARI_CAP = 0x328
DATA_LINK_CAP = 0x400
GEN4_CAP = 0x410
GEN5_CAP = 0x500

LINK_SPEED = 5  # 32 GT/s
LINK_WIDTH = 16
MSIX_BAR = 5
MSIX_TABLE = 0x42000  # in BAR5, bytes
MSIX_PENDING = 0x43000
MSIX_VECTORS = 4


class ConfigSpace:
    """`write_mask`: bits that keep what is written; `clear_mask`: bits that a written 1 clears."""

    def __init__(self) -> None:
        self.data = bytearray(SIZE)
        self.write_mask = bytearray(SIZE)
        self.clear_mask = bytearray(SIZE)

    def copy(self) -> ConfigSpace:
        twin = ConfigSpace.__new__(ConfigSpace)
        twin.data = bytearray(self.data)
        twin.write_mask = bytearray(self.write_mask)
        twin.clear_mask = bytearray(self.clear_mask)
        return twin

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        """What a write of the host does: masks hold."""
        new = value.to_bytes(size, "little")
        for place, byte in enumerate(new, offset):
            kept = self.data[place] & ~self.clear_mask[place] | self.data[place] & self.clear_mask[place] & ~byte
            self.data[place] = kept & ~self.write_mask[place] | byte & self.write_mask[place]

    def put(self, offset: int, layout: str, value: int, write: int = 0, clear: int = 0) -> None:
        """Set one item and its masks; `layout` is a struct letter: B, H, I or Q."""
        struct.pack_into(f"<{layout}", self.data, offset, value)
        struct.pack_into(f"<{layout}", self.write_mask, offset, write)
        struct.pack_into(f"<{layout}", self.clear_mask, offset, clear)

    @property
    def memory_enabled(self) -> bool:
        return bool(self.data[COMMAND] & COMMAND_MEMORY)

    @property
    def bus_master(self) -> bool:
        return bool(self.data[COMMAND] & COMMAND_MASTER)

    @property
    def power_state(self) -> int:
        """PMCSR bits 1:0; 3 is D3hot."""
        return self.data[PM_CONTROL] & 3

    def set_link(self, speed: int, width: int) -> None:
        """Negotiated speed (1 to 5: 2.5 to 32 GT/s) and lanes in LINK_STATUS; slot clock in use."""
        self.put(LINK_STATUS, "H", 1 << 12 | width << 4 | speed, clear=0xC000)


def build(
    device_id: int, vendor_id: int, bars: Mapping[int, Bar], serial: int | None, rom_size: int = 0
) -> ConfigSpace:
    """Config space after enumeration: BARs assigned, memory decoding on, bus master off.

    `serial` None: without the Device Serial Number capability (research/amdgpu-on-model.md item 50). `rom_size`: of the
    expansion ROM, which is not assigned; 0 without."""
    space = ConfigSpace()
    _header(space, device_id, vendor_id, bars)
    if rom_size:
        space.put(ROM_BAR, "I", 0, write=-rom_size & 0xFFFFF800 | 1)
    _capabilities(space)
    _extended(space, bars[0].size, serial)
    return space


def _header(space: ConfigSpace, device_id: int, vendor_id: int, bars: Mapping[int, Bar]) -> None:
    space.put(0x00, "H", vendor_id)
    space.put(0x02, "H", device_id)
    space.put(COMMAND, "H", COMMAND_MEMORY, write=0x0546)  # memory, master, parity, SERR, INTx off
    space.put(STATUS, "H", 0x0010, clear=0xF900)  # capability list
    space.put(0x08, "I", 0x12000000)  # class 120000, revision 0
    space.put(0x0C, "B", 0x10, write=0xFF)
    for bar in bars.values():
        kind = (4 if bar.is_64bit else 0) | (8 if bar.prefetchable else 0)
        place = BAR0 + 4 * bar.index
        letter = "Q" if bar.is_64bit else "I"
        writable = -bar.size & ((1 << 64) - 1 if bar.is_64bit else 0xFFFFFFFF)
        space.put(place, letter, bar.address | kind, write=writable)
    space.put(0x2C, "H", vendor_id)
    space.put(0x2E, "H", device_id)
    space.put(CAP_POINTER, "B", VENDOR_CAP)
    space.put(0x3C, "B", 0xFF, write=0xFF)
    space.put(0x3D, "B", 1)  # INTA


def _capabilities(space: ConfigSpace) -> None:
    space.put(VENDOR_CAP, "I", 0x00080009 | PM_CAP << 8)
    space.put(VENDOR_CAP + 4, "I", space.read(0x2C, 4), write=0xFFFFFFFF)  # writable copy of the subsystem ids
    space.put(PM_CAP, "I", 0x00030001 | PCIE_CAP << 8)  # version 3, no PME
    space.put(PM_CONTROL, "I", 0x0008, write=0x0003)  # D0; no soft reset on D3hot to D0
    space.put(PCIE_CAP, "I", 0x00020010 | MSI_CAP << 8)  # version 2, endpoint
    space.put(PCIE_CAP + 0x04, "I", 0x10008FA2)  # function level reset, extended tags, payload 512
    space.put(DEVICE_CONTROL, "H", 0x2930, write=0x7FFF)  # the reset bit always reads 0
    space.put(DEVICE_STATUS, "H", 0, clear=0x000F)
    space.put(LINK_CAP, "I", 1 << 22 | 2 << 10 | LINK_WIDTH << 4 | LINK_SPEED)  # ASPM L1, ASPM optionality
    space.put(LINK_CONTROL, "H", 0x0040, write=0x01DB)  # ASPM off, common clock
    space.set_link(LINK_SPEED, LINK_WIDTH)
    space.put(PCIE_CAP + 0x24, "I", 0x00010BDF)  # atomics, LTR, completion timeout ranges
    space.put(PCIE_CAP + 0x28, "H", 0, write=0x07FF)
    space.put(PCIE_CAP + 0x2C, "I", 0x0000003E)  # 2.5 to 32 GT/s
    space.put(LINK_CONTROL2, "H", LINK_SPEED, write=0xFFFF)
    space.put(MSI_CAP, "I", 0x00800005 | MSIX_CAP << 8, write=0x00710000)  # one 64-bit vector
    space.put(MSI_CAP + 0x04, "Q", 0, write=0xFFFFFFFF_FFFFFFFC)
    space.put(MSI_CAP + 0x0C, "H", 0, write=0xFFFF)
    space.put(MSIX_CAP, "I", (MSIX_VECTORS - 1) << 16 | 0x0011, write=0xC0000000)
    space.put(MSIX_CAP + 0x04, "I", MSIX_TABLE | MSIX_BAR)
    space.put(MSIX_CAP + 0x08, "I", MSIX_PENDING | MSIX_BAR)


def _extended(space: ConfigSpace, vram_bar_size: int, serial: int | None) -> None:
    # (offset, id, version), in the order of the chain
    chain = [(VSEC_CAP, 0x000B, 1)]
    if serial is not None:
        chain.append((SERIAL_CAP, 0x0003, 1))
    chain += [(AER_CAP, 0x0001, 2), (REBAR_CAP, 0x0015, 1), (SECONDARY_CAP, 0x0019, 1), (ARI_CAP, 0x000E, 1)]
    chain += [(DATA_LINK_CAP, 0x0025, 1), (GEN4_CAP, 0x0026, 1), (GEN5_CAP, 0x002A, 1)]
    for (offset, identity, version), after in zip(chain, [*chain[1:], (0, 0, 0)], strict=True):
        space.put(offset, "I", after[0] << 20 | version << 16 | identity)
    space.put(VSEC_CAP + 4, "I", 0x01010001)  # vendor id 1, revision 1, 16 bytes
    if serial is not None:
        space.put(SERIAL_CAP + 4, "Q", serial)
    _error_reporting(space)
    log2_mib = (vram_bar_size // MIB).bit_length() - 1
    sizes = sum(1 << (4 + power) for power in range(8, log2_mib + 1))  # 256 MiB and up
    space.put(REBAR_CAP + 4, "I", sizes)
    space.put(REBAR_CAP + 8, "I", log2_mib << 8 | 1 << 5, write=0x3F00)  # BAR0, one resizable BAR
    space.put(DATA_LINK_CAP + 4, "I", 0x80000001)
    space.put(DATA_LINK_CAP + 8, "I", 0x80000001)
    space.put(GEN4_CAP + 0x0C, "I", 0x0000001F, clear=0x10)  # equalisation complete, all phases
    space.put(GEN5_CAP + 0x0C, "I", 0x0000001F, clear=0x10)


def _error_reporting(space: ConfigSpace) -> None:
    """AER with the reset values of the specification: nothing reported, advisory errors masked."""
    space.put(AER_UNCORRECTABLE, "I", 0, clear=0x07FFF030)
    space.put(AER_CAP + 0x08, "I", 0, write=0x07FFF030)
    space.put(AER_CAP + 0x0C, "I", 0x00462030, write=0x07FFF030)
    space.put(AER_CORRECTABLE, "I", 0, clear=0x0000F1C1)
    space.put(AER_CAP + 0x14, "I", 0x00002000, write=0x0000F1C1)
    space.put(AER_CAP + 0x18, "I", 0x000000A0, write=0x00000140)
