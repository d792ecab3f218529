"""The VBIOS in the expansion ROM: as much of an ATOM BIOS as the kernel's parser wants, for `?vbios=on`.

Kernels before 6.14 insist on one (research/amdgpu-on-model.md, "Kernel 6.12"). Sources, all Linux v7.3: PCI expansion ROM
and its PCIR structure: drivers/pci/rom.c pci_get_rom_size; ATOM header, master tables, firmware info v3.4:
drivers/gpu/drm/amd/include/atomfirmware.h (atom_rom_header_v2_2, atom_master_data_table_v2_1, atom_firmware_info_v3_4);
strings and their places: amdgpu/atom.c atom_get_vbios_name, _pn, _date, _version. Its one command, asic_init, which the
kernel runs after a reset by mode1, ends at once: the board posts itself (BIOS_SCRATCH_7, see nbio.py).
# guess: part number and version; those of a board are not public."""

from __future__ import annotations

import struct
from typing import Final

from gpumodel.chips import Chip

SIZE: Final = 8192
BLOCK: Final = 512  # the unit of sizes in a ROM
FAR_RETURN: Final = b"\xcb"  # what a PC's firmware meets when it calls the ROM's entry point
ATOM_MAGIC: Final = b" 761295520"
VERSION: Final = b"ATOMBIOSBK-AMD VER022.040.003.041.000001\0"
DATE: Final = b"01/01/25 00:00"
END_OF_TABLE: Final = 91  # ATOM_OP_EOT
FIRMWARE_INFO_SLOT: Final = 4  # of the master data table
SCRATCH_0: Final = 0x4C  # BIOS_SCRATCH_0 as a dword index (nbio 7.9.0)

_ENTRY, _PCIR_POINTER, _STRING_COUNT, _MAGIC, _ATOM_POINTER, _DATE, _STRINGS_POINTER = (
    0x03,
    0x18,
    0x2F,
    0x30,
    0x48,
    0x50,
    0x6E,
)
_VERSION, _STRINGS, _PCIR, _ATOM, _COMMANDS, _DATA, _FIRMWARE_INFO, _ASIC_INIT = (
    0x90,
    0xC0,
    0x140,
    0x200,
    0x400,
    0x600,
    0x800,
    0xA00,
)


def image(chip: Chip, vendor_id: int) -> bytes:
    """SIZE bytes, of which the sum is 0 modulo 256, as a PC's firmware checks."""
    rom = bytearray(SIZE)

    def put(offset: int, data: bytes) -> None:
        rom[offset : offset + len(data)] = data

    put(0, b"\x55\xaa" + bytes([SIZE // BLOCK]) + FAR_RETURN)
    put(_PCIR_POINTER, struct.pack("<H", _PCIR))
    put(_MAGIC, ATOM_MAGIC)
    put(_ATOM_POINTER, struct.pack("<H", _ATOM))
    put(_DATE, DATE)
    put(_VERSION, VERSION)
    # part number, then what the name follows: one string is skipped, and a line end
    put(_STRINGS, b"MODEL-" + chip.name.upper().encode() + b"\0\r\n" + chip.product.encode() + b"\0")
    rom[_STRING_COUNT] = 1
    put(_STRINGS_POINTER, struct.pack("<H", _STRINGS))
    put(_PCIR, _pci_data(chip, vendor_id))
    put(_ATOM, _table(0x28, 2, 2, b"ATOM" + bytes(22) + struct.pack("<HH", _COMMANDS, _DATA)))
    put(_COMMANDS, _table(0x100, 2, 1, struct.pack("<H", _ASIC_INIT)))
    put(_ASIC_INIT, _table(7, 2, 1, bytes((0, 0, END_OF_TABLE))))  # no work space, no parameters
    put(_DATA, _table(0x60, 2, 1, bytes(2 * FIRMWARE_INFO_SLOT) + struct.pack("<H", _FIRMWARE_INFO)))
    sclk_10khz, mclk_10khz = 50_000, 90_000  # guess; the SMU's tables say what the clocks are
    info = struct.pack("<6I", 0x0001_0000, sclk_10khz, mclk_10khz, 0, 0, SCRATCH_0)
    put(_FIRMWARE_INFO, _table(0x80, 3, 4, info))
    rom[-1] = -sum(rom) & 0xFF
    return bytes(rom)


def _table(size: int, format_revision: int, content_revision: int, body: bytes) -> bytes:
    return struct.pack("<HBB", size, format_revision, content_revision) + body


def _pci_data(chip: Chip, vendor_id: int) -> bytes:
    """The PCIR structure: a display controller's class, one image, the last."""
    length, revision, code_type, last = 0x18, 0, 0, 0x80
    classes = bytes((0, 0x80, 0x03))
    sizes = struct.pack("<HHBBH", SIZE // BLOCK, 0, code_type, last, 0)
    return b"PCIR" + struct.pack("<HHHHB", vendor_id, chip.device_id, 0, length, revision) + classes + sizes
