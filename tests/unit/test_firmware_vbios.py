"""firmware/nvidia_vbios.py on ROMs that are put together here from the structures of the PCI specification and of nova-core."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from firmware.containers import parse
from firmware.model import FirmwareFile

DEVICE = 0x2330
LEGACY_BYTES, EFI_BYTES, FIRST_BYTES = 0x1000, 0x600, 0x800
TABLE, PROGRAM = 0x100, 0x200  # in the second FWSEC image
CODE, TABLES, SIGNATURES = 0x400, 0x200, 2
LEGACY, EFI, FWSEC = 0x00, 0x03, 0xE0


def image(
    kind: int, size: int, *, last: bool = False, body: dict[int, bytes] | None = None, npde: int = 0
) -> bytearray:
    """`npde`: bytes that NVIDIA's own structure tells; PCIR tells one block then."""
    data = bytearray(size)
    data[:2], data[2] = b"\x55\xaa", size // 512
    struct.pack_into("<H", data, 0x18, 0x40)
    flag = 0x80 if last else 0
    blocks = 1 if npde else size // 512
    struct.pack_into(
        "<4sHHHHB3sHHBBH",
        data,
        0x40,
        b"PCIR",
        0x10DE,
        DEVICE,
        0,
        0x18,
        3,
        b"\0\0\3",
        blocks,
        0,
        kind,
        0 if npde else flag,
        0,
    )
    if npde:
        struct.pack_into("<4sHHHB", data, 0x60, b"NPDE", 1, 0x14, npde // 512, flag)
    for at, part in (body or {}).items():
        data[at : at + len(part)] = part
    return data


def bit(pointer: int, *, tokens: int = 2) -> bytes:
    """The table, its header's bytes give 0, and behind its two tokens the pointer at 0x200 + 0x40."""
    head = bytearray(struct.pack("<H4sHBBBB", 0xB8FF, b"BIT\0", 0x100, 12, 6, tokens, 0))
    head[11] = -sum(head) & 0xFF
    rows = struct.pack("<BBHH", 0x32, 1, 4, 0x300) + struct.pack("<BBHH", 0x70, 2, 4, 0x240)
    return (bytes(head) + rows).ljust(0x40, b"\0") + struct.pack("<I", pointer)


def program() -> bytes:
    """Descriptor with signatures, code and data."""
    size = 44 + 384 * SIGNATURES
    words = [size << 16 | 3 << 8 | 1, CODE + TABLES, 0x10, 0x20, 0, CODE, 0, 0, TABLES]
    head = struct.pack("<9IHBBHH", *words, 0x400, 9, SIGNATURES, 3, 0)
    return (head + b"\x5a" * (384 * SIGNATURES)).ljust(size, b"\0") + b"\xc3" * (CODE + TABLES)


def rom(*, table_in: int = 1, app: int = 0x85, tokens: int = 2) -> bytearray:
    """Legacy, EFI, two FWSEC images; pointers count as if the EFI image were not there."""
    base = LEGACY_BYTES + (FIRST_BYTES if table_in else 0)
    legacy = image(LEGACY, LEGACY_BYTES, body={0x200: bit(base + TABLE, tokens=tokens)})
    legacy[-1] = -sum(legacy) & 0xFF
    table = struct.pack("<4B", 1, 4, 6, 2) + struct.pack("<BBI", 0x45, 7, LEGACY_BYTES + FIRST_BYTES + PROGRAM)
    table += struct.pack("<BBI", app, 7, LEGACY_BYTES + FIRST_BYTES + PROGRAM)
    first = image(FWSEC, FIRST_BYTES, body={} if table_in else {TABLE: table})
    second = image(
        FWSEC, 0x1000, last=True, npde=0x1000, body={PROGRAM: program(), **({TABLE: table} if table_in else {})}
    )
    return legacy + image(EFI, EFI_BYTES) + first + second


def errors(file: FirmwareFile) -> list[str]:
    return [finding.code for finding in file.findings if finding.severity.value in ("error", "warning")]


@pytest.mark.parametrize("table_in", [0, 1])
def test_rom_shows_its_images_and_the_program_that_starts_the_gpu(table_in: int) -> None:
    file = parse(bytes(rom(table_in=table_in)), "vbios.rom")
    assert file.ok and errors(file) == []
    assert file.kind == "vbios"
    images = [(entry.name, entry.file_offset, entry.size) for entry in file.entries if not entry.set]
    second = LEGACY_BYTES + EFI_BYTES + FIRST_BYTES
    assert images == [
        ("legacy", 0, LEGACY_BYTES),
        ("efi", LEGACY_BYTES, EFI_BYTES),
        ("fwsec", LEGACY_BYTES + EFI_BYTES, FIRST_BYTES),
        ("fwsec-2", second, 0x1000),
    ]
    programs = {entry.name: (entry.file_offset, entry.size) for entry in file.entries if entry.set}
    assert programs["ucode-fwsec"] == programs["ucode-fwsec-debug"] == (second + PROGRAM, len(program()))
    assert file.fields["device"] == DEVICE
    assert (file.fields["bit_offset"], file.fields["bit_tokens"]) == (0x200, 2)
    assert (file.fields["ucode-fwsec_signatures"], file.fields["ucode-fwsec_id"]) == (2, 9)


def test_dump_of_the_flash_is_read_behind_its_header() -> None:
    file = parse(b"NVGI".ljust(0xA00, b"\0") + bytes(rom()), "dump.rom")
    assert file.ok
    assert file.fields["flash_header_bytes"] == 0xA00
    assert file.entries[0].file_offset == 0xA00
    assert parse(b"NVGI".ljust(0x3000, b"\0"), "dump.rom").ok is False


def spoiled(at: int, data: bytes) -> bytes:
    made = rom()
    made[at : at + len(data)] = data
    return bytes(made)


SECOND = LEGACY_BYTES + EFI_BYTES + FIRST_BYTES


@pytest.mark.parametrize(
    ("data", "code", "told"),
    [
        (bytes(rom())[:-512], "bounds", "the fwsec image"),
        (bytes(rom())[:LEGACY_BYTES], "bounds", "an image's header"),
        (spoiled(LEGACY_BYTES, b"zz"), "header", "not an image"),
        (spoiled(LEGACY_BYTES + 0x44, b"\x02\x10"), "header", "no PCIR structure of NVIDIA's"),
        (spoiled(LEGACY_BYTES + 0x18, b"\xff\xff"), "bounds", "a PCIR structure"),
        (spoiled(LEGACY_BYTES + 0x50, b"\0\0"), "size", "an image of no bytes (efi)"),
        (spoiled(0x202, b"TIB"), "header", "no BIT table"),
        (spoiled(0x20B, b"\xee"), "checksum", "BIT header"),
        (spoiled(0x209, b"\x02"), "header", "BIT tokens that cannot be"),
        (spoiled(0x20A, b"\xff\0")[:0x220] + bytes(rom(tokens=255))[0x220:], "checksum", "BIT header"),
        (spoiled(0x240, b"\xff\xff\xff\x00"), "bounds", "the table of falcon programs is in no FWSEC image"),
        (spoiled(SECOND + TABLE + 1, b"\x01"), "header", "a table of falcon programs that cannot be"),
        (spoiled(SECOND + PROGRAM + 0x14, b"\xff\xff\xff\x7f"), "bounds", "code and data of ucode-fwsec"),
        (spoiled(SECOND + PROGRAM + 39, b"\x03"), "size", "the signatures of ucode-fwsec"),
        (bytes(rom(app=0x99)), "header", "no FWSEC program for production"),
        (spoiled(0x800, b"\x01"), "checksum", "do not give 0"),
    ],
)  # fmt: skip
def test_damage_is_told_with_its_place(data: bytes, code: str, told: str) -> None:
    file = parse(data, "vbios.rom")
    found = [finding for finding in file.findings if finding.code == f"nv.firmware.{code}" and told in finding.summary]
    assert found, file.findings


def test_chain_that_does_not_end_is_cut() -> None:
    endless = bytes(image(LEGACY, 512)) * 40
    file = parse(endless, "vbios.rom")
    assert not file.ok
    assert any("does not end" in finding.summary for finding in file.findings)
    assert len(file.entries) == 16


def test_rom_of_another_vendor_is_not_taken_for_nvidias() -> None:
    data = rom()
    data[0x44:0x46] = b"\x02\x10"
    file = parse(bytes(data), "vbios.rom")
    assert file.kind != "vbios"


def test_damaged_roms_never_raise_and_hand_out_nothing_beyond_their_end() -> None:
    chance = random.Random(5)
    good = bytes(rom())
    places = [
        *range(0x80),
        *range(0x200, 0x250),
        *range(LEGACY_BYTES, LEGACY_BYTES + 0x80),
        *range(SECOND, SECOND + 0x240),
    ]
    for _ in range(3000):
        data = bytearray(good[: chance.randrange(len(good))] if chance.random() < 0.2 else good)
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.choice(places)
            if at < len(data):
                data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        file = parse(bytes(data), "vbios.rom")
        if file.ok:
            assert all(0 <= entry.file_offset <= entry.end <= len(data) for entry in file.entries)
        if file.kind == "vbios":
            assert all(finding.code.startswith("nv.firmware.") for finding in file.findings)


def test_firmware_show_prints_a_rom(tmp_path: Path) -> None:
    path = tmp_path / "vbios.rom"
    path.write_bytes(rom())
    words = [sys.executable, "-m", "gpumend", "firmware", "show", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "ucode-fwsec" in done.stdout and "legacy" in done.stdout
