"""Config space of a modelled NVIDIA GPU.

Source: nvidia-gsp.md section 2 (which BAR where: 64-bit BARs take two slots), nvidia-resets.md section 1.1 (GH100's PCI
Express capability at 0x60, FLR); what the bits mean: include/uapi/linux/pci_regs.h. Other places of capabilities are
guesses: nobody looks for one at a fixed place."""

from __future__ import annotations

from gpumodel.nvidia.chips import GIB, MIB, VENDOR, NvChip
from gpumodel.pciconfig import BAR0, CAP_POINTER, COMMAND, COMMAND_MASTER, COMMAND_MEMORY, STATUS, ConfigSpace
from pcibus.transport import Bar

PM_CAP, PCIE_CAP, MSI_CAP = 0x40, 0x60, 0xA0
AER_CAP, SERIAL_CAP = 0x100, 0x160
LINK_STATUS = PCIE_CAP + 0x12
_REGISTERS_BYTES, _INSTANCE_BYTES = 16 * MIB, 32 * MIB
_WIDE_WINDOW = 1 << 45
_NARROW_WINDOW = 0x9000_0000


def bars_of(chip: NvChip, index: int) -> dict[int, Bar]:
    """Registers, framebuffer (the power of two that holds all memory), instance memory."""
    memory = 1 << (chip.vram_size - 1).bit_length()
    first = _WIDE_WINDOW + index * 1024 * GIB
    if chip.is_wide:
        return {
            0: Bar(0, first, _REGISTERS_BYTES, is_64bit=True, prefetchable=True),
            2: Bar(2, first + memory, memory, is_64bit=True, prefetchable=True),
            4: Bar(4, first + 2 * memory, _INSTANCE_BYTES, is_64bit=True, prefetchable=True),
        }
    return {
        0: Bar(0, _NARROW_WINDOW + index * _REGISTERS_BYTES, _REGISTERS_BYTES),
        1: Bar(1, first + memory, memory, is_64bit=True, prefetchable=True),
        3: Bar(3, first + 2 * memory, _INSTANCE_BYTES, is_64bit=True, prefetchable=True),
    }


def build(chip: NvChip, bars: dict[int, Bar], serial: int, *, bound: bool) -> ConfigSpace:
    """Config space after enumeration; `bound`: a driver has let the function master the bus."""
    space = ConfigSpace()
    space.put(0x00, "H", VENDOR)
    space.put(0x02, "H", chip.device)
    space.put(COMMAND, "H", COMMAND_MEMORY | (COMMAND_MASTER if bound else 0), write=0x0546)
    space.put(STATUS, "H", 0x0010, clear=0xF900)
    space.put(0x08, "I", chip.class_code << 8 | chip.revision)
    for bar in bars.values():
        kind = (4 if bar.is_64bit else 0) | (8 if bar.prefetchable else 0)
        writable = -bar.size & ((1 << 64) - 1 if bar.is_64bit else 0xFFFFFFFF)
        space.put(BAR0 + 4 * bar.index, "Q" if bar.is_64bit else "I", bar.address | kind, write=writable)
    space.put(0x2C, "H", VENDOR)
    space.put(0x2E, "H", chip.subsystem)
    space.put(CAP_POINTER, "B", PM_CAP)
    _capabilities(space, _speed(chip))
    _extended(space, serial)
    return space


def _speed(chip: NvChip) -> int:
    """Ada is 16 GT/s, Hopper and Blackwell 32 GT/s."""
    return 4 if chip.number >> 4 == 0x19 else 5


def _capabilities(space: ConfigSpace, speed: int) -> None:
    space.put(PM_CAP, "I", 0x00030001 | PCIE_CAP << 8)
    space.put(PM_CAP + 4, "I", 0x0008, write=0x0003)
    space.put(PCIE_CAP, "I", 0x00020010 | MSI_CAP << 8)
    space.put(PCIE_CAP + 0x04, "I", 0x10008FA1)  # function level reset (bit 28)
    space.put(PCIE_CAP + 0x08, "H", 0x2930, write=0x7FFF)
    space.put(PCIE_CAP + 0x0C, "I", 1 << 22 | 16 << 4 | speed)
    space.put(PCIE_CAP + 0x10, "H", 0x0040, write=0x01DB)
    space.put(LINK_STATUS, "H", 1 << 12 | 16 << 4 | speed, clear=0xC000)
    space.put(PCIE_CAP + 0x2C, "I", ((1 << speed) - 1) << 1)
    space.put(MSI_CAP, "I", 0x00800005, write=0x00710000)
    space.put(MSI_CAP + 4, "Q", 0, write=0xFFFFFFFFFFFFFFFC)
    space.put(MSI_CAP + 12, "H", 0, write=0xFFFF)


def _extended(space: ConfigSpace, serial: int) -> None:
    space.put(AER_CAP, "I", SERIAL_CAP << 20 | 2 << 16 | 0x0001)
    space.put(AER_CAP + 0x04, "I", 0, clear=0x07FFF030)
    space.put(AER_CAP + 0x08, "I", 0, write=0x07FFF030)
    space.put(AER_CAP + 0x0C, "I", 0x00462030, write=0x07FFF030)
    space.put(AER_CAP + 0x10, "I", 0, clear=0x0000F1C1)
    space.put(AER_CAP + 0x14, "I", 0x00002000, write=0x0000F1C1)
    space.put(SERIAL_CAP, "I", 1 << 16 | 0x0003)
    space.put(SERIAL_CAP + 4, "Q", serial)
