"""The ATOM BIOS of `?vbios=on`, read as pci_get_rom_size and amdgpu_atom_parse of the kernel read it."""

from __future__ import annotations

import struct

import pytest

from gpumodel import open_models, pciconfig, vbios
from gpumodel.chips import CHIPS, VENDOR_AMD
from gpumodel.spec import parse

PARTS = ("mi300x", "mi350x")


def word(rom: bytes, place: int) -> int:
    return int(struct.unpack_from("<H", rom, place)[0])


@pytest.mark.parametrize("part", PARTS)
def test_image_is_a_rom_of_this_device(part: str) -> None:
    rom = vbios.image(CHIPS[part], VENDOR_AMD)
    assert (len(rom), rom[:2], rom[2] * 512, sum(rom) % 256) == (8192, b"\x55\xaa", 8192, 0)
    assert rom[3] == 0xCB  # a PC's firmware calls it, and comes back
    pcir = word(rom, 0x18)
    assert rom[pcir : pcir + 4] == b"PCIR"
    assert (word(rom, pcir + 4), word(rom, pcir + 6)) == (VENDOR_AMD, CHIPS[part].device_id)
    assert (word(rom, pcir + 0x10) * 512, rom[pcir + 0x14], rom[pcir + 0x15] & 0x80) == (8192, 0, 0x80)


@pytest.mark.parametrize("part", PARTS)
def test_image_has_what_the_parser_follows(part: str) -> None:
    rom = vbios.image(CHIPS[part], VENDOR_AMD)
    header = word(rom, 0x48)
    assert rom[0x30:0x3A] == b" 761295520"
    assert rom[header + 4 : header + 8] == b"ATOM"
    commands, data = word(rom, header + 0x1E), word(rom, header + 0x20)
    asic_init = word(rom, commands + 4)
    assert rom[asic_init + 6] == 91  # the command that ends a table
    assert rom[word(rom, data + 0x32) + 4] != 1  # no indirect I/O methods: atom_index_iio ends at once
    info = word(rom, data + 4 + 2 * 4)
    assert (rom[info + 2], rom[info + 3]) == (3, 4)
    assert struct.unpack_from("<I", rom, info + 0x18) == (0x4C,)
    start = word(rom, 0x6E)
    assert 0 < start < header and rom[0x2F] == 1
    number, name = rom[start:].split(b"\0\r\n", 1)
    assert number == b"MODEL-" + part.upper().encode()
    assert name.startswith(CHIPS[part].product.encode() + b"\0")
    version = rom.find(b"ATOMBIOSBK-AMD", 3, 1024)
    assert version > 0 and rom[version + 18 :].startswith(b"022.")


def test_rom_is_there_only_when_asked_for() -> None:
    assert not parse("mi300x").chip.has_vbios and not parse("mi300x?vbios=off").chip.has_vbios
    assert parse("mi300x?vbios=on").chip.has_vbios
    for spec, mask in (("mi300x", 0), ("mi300x?vbios=on", 0xFFFFE001)):
        (transport,) = open_models(spec)
        transport.config_write(pciconfig.ROM_BAR, 4, 0xFFFFFFFF)
        assert transport.config_read(pciconfig.ROM_BAR, 4) == mask
        transport.close()
