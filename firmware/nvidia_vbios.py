"""NVIDIA's video BIOS, as `cat .../rom` or a dump of the flash gives it: its images, the BIT table, and the falcon programs
that bring a GPU up (FWSEC sets up the protected memory that the GSP's firmware is loaded into).

A ROM is a chain of images (PCI Firmware Specification 3.3, 5.1): 55 AA, at 0x18 the place of a PCIR structure; behind that
an NPDE structure of NVIDIA's with the true length. The legacy image holds the BIT table; its token 0x70 points at the table
of falcon programs, counted as if the FWSEC images lay right behind the legacy one. A dump of the flash has a header before the
chain (NVGI). Source: Linux v7.3 drivers/gpu/nova-core/vbios.rs, firmware/fwsec.rs (structures, places); nouveau's
nvkm/subdev/bios (bit.c, pmu.c). No ROM of NVIDIA's was at hand: rules beyond these sources are not checked.

Finding codes: those of firmware/nvidia.py, and `nv.firmware.checksum`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from base.findings import Finding, Severity
from firmware.reading import span

if TYPE_CHECKING:
    from firmware.nvidia import _File

VENDOR: Final = 0x10DE
ROM_MAGIC: Final = b"\x55\xaa"
FLASH_MAGIC: Final = b"NVGI"
BLOCK: Final = 512
MOST_IMAGES: Final = 16
MOST_BYTES: Final = 0x100000  # that nova-core looks at
MOST_TOKENS: Final = 255
LEGACY, EFI, NBSI, FWSEC = 0x00, 0x03, 0x70, 0xE0
IMAGE_NAMES: Final = {LEGACY: "legacy", EFI: "efi", NBSI: "nbsi", FWSEC: "fwsec"}
PROGRAMS: Final = {0x05: "ucode-sec-lic", 0x45: "ucode-fwsec-debug", 0x85: "ucode-fwsec"}
PCIR: Final = struct.Struct("<4sHHHHB3sHHBBH")
NPDE: Final = struct.Struct("<4sHHHB")
BIT_MAGIC: Final = b"\xff\xb8BIT\0"
BIT: Final = struct.Struct("<H4sHBBBB")
TOKEN: Final = struct.Struct("<BBHH")
FALCON_TOKEN: Final = 0x70
DESCRIPTOR_V3: Final = struct.Struct("<9IHBBHH")  # its first word: version in bits 15:8, size with signatures in 31:16
SIGNATURE_BYTES: Final = 384  # RSA-3072
_LAST: Final = 0x80


@dataclass(frozen=True, slots=True)
class _Image:
    kind: int
    start: int
    size: int
    device: int
    is_last: bool


def is_rom(data: bytes) -> bool:
    """By its first bytes, and the vendor in its first image; a dump of NVIDIA's flash by those of its header."""
    if data[:4] == FLASH_MAGIC:
        return True
    if data[:2] != ROM_MAGIC or len(data) < 0x1A:
        return False
    (at,) = struct.unpack_from("<H", data, 0x18)
    return data[at : at + 4] in (b"PCIR", b"NPDS") and data[at + 4 : at + 6] == VENDOR.to_bytes(2, "little")


def read(file: _File) -> None:
    """Fill in what the ROM holds; every departure is a finding."""
    start = _first_image(file)
    if start is None:
        return
    images = _images(file, start)
    counts: dict[str, int] = {}
    for image in images:
        name = IMAGE_NAMES.get(image.kind, f"image-{image.kind:#04x}")
        number = counts[name] = counts.get(name, 0) + 1
        file.entry(name if number == 1 else f"{name}-{number}", image.start, image.size)
    legacy = next((image for image in images if image.kind == LEGACY), None)
    if legacy is None:
        file.error("header", "no legacy image, which holds the BIT table", seen=", ".join(counts) or "no image")
        return
    file.fields |= {"images": len(images), "device": legacy.device}
    _checksum(file, legacy)
    table = _bit(file, legacy)
    if table is not None:
        _programs(file, legacy, [image for image in images if image.kind == FWSEC], table)


def _first_image(file: _File) -> int | None:
    if file.data[:4] != FLASH_MAGIC:
        return 0
    for at in range(0, min(len(file.data), MOST_BYTES), BLOCK):
        if is_rom(file.data[at:]) and file.data[at : at + 2] == ROM_MAGIC:
            file.fields["flash_header_bytes"] = at
            return at
    file.error(
        "header", "a header of the flash, and no image behind it", expected=f"55 aa within {MOST_BYTES:#x} bytes"
    )
    return None


# --- the chain of images


def _images(file: _File, start: int) -> list[_Image]:
    images: list[_Image] = []
    while len(images) < MOST_IMAGES:
        image = _image(file, start)
        if image is None:
            break
        images.append(image)
        if image.is_last:
            return images
        start = -(-(start + image.size) // BLOCK) * BLOCK
    else:
        file.error("header", "a chain of images that does not end", expected=f"at most {MOST_IMAGES}")
    return images


def _image(file: _File, start: int) -> _Image | None:
    data = file.data
    if not file.inside("an image's header", start, 0x1A):
        return None
    if data[start : start + 2] not in (ROM_MAGIC, b"VN", b"\x77\xbb"):  # of NVIDIA's own kinds: 0x4E56, 0xBB77
        file.error(
            "header", "not an image", expected="55 aa", seen=data[start : start + 2].hex(" "), where=f"at {start:#x}"
        )
        return None
    at = start + int.from_bytes(data[start + 0x18 : start + 0x1A], "little")
    if not file.inside("a PCIR structure", at, PCIR.size):
        return None
    magic, vendor, device, _, length, _, _, blocks, _, kind, last, _ = PCIR.unpack_from(data, at)
    if magic not in (b"PCIR", b"NPDS") or vendor != VENDOR:
        seen = f"{magic.hex(' ')}, vendor {vendor:#06x}"
        file.error(
            "header", "no PCIR structure of NVIDIA's", expected=f"PCIR, {VENDOR:#06x}", seen=seen, where=f"at {at:#x}"
        )
        return None
    told = start + (-(-(at - start + length) // 16) * 16)
    if data[told : told + 4] == b"NPDE" and told + NPDE.size <= len(data):
        _, _, _, own_blocks, own_last = NPDE.unpack_from(data, told)
        if own_blocks:
            blocks, last = own_blocks, own_last
    size = blocks * BLOCK
    name = IMAGE_NAMES.get(kind, f"{kind:#04x}")
    if not size:
        file.error("size", f"an image of no bytes ({name})", where=f"at {start:#x}")
        return None
    if not file.inside(f"the {name} image", start, size):
        return None
    return _Image(kind, start, size, device, bool(last & _LAST) or kind == NBSI)


def _checksum(file: _File, legacy: _Image) -> None:
    """Of the part that the header counts: all bytes give 0."""
    size = file.data[legacy.start + 2] * BLOCK
    total = sum(file.data[legacy.start : legacy.start + size]) & 0xFF
    if 0 < size <= legacy.size and total:
        finding = Finding(
            "nv.firmware.checksum", Severity.WARNING, "the legacy image's bytes do not give 0", "0", f"{total:#04x}",
            f"{file.name} {span(legacy.start, legacy.start + size)}", "read the ROM again",
        )  # fmt: skip
        file.findings.append(finding)


# --- the BIT table


def _bit(file: _File, legacy: _Image) -> int | None:
    """What token 0x70 points at: the falcon programs' table, counted from the legacy image's start. None: there is none."""
    data = file.data
    end = legacy.start + legacy.size
    at = data.find(BIT_MAGIC, legacy.start, end)
    if at < 0 or not file.inside("the BIT table", at, BIT.size, legacy.start, end):
        file.error("header", "no BIT table in the legacy image", expected=BIT_MAGIC.hex(" "))
        return None
    _, _, version, header, row, count, _ = BIT.unpack_from(data, at)
    file.fields |= {"bit_offset": at, "bit_version": version, "bit_tokens": count}
    if sum(data[at : at + header]) & 0xFF:
        file.error("checksum", "the BIT header's bytes do not give 0", where=f"at {at:#x}")
    if row < TOKEN.size or not file.inside("the BIT tokens", at + header, row * count, legacy.start, end):
        if row < TOKEN.size:
            file.error("header", "BIT tokens that cannot be", expected=f"{TOKEN.size} bytes", seen=f"{row} bytes")
        return None
    for number in range(count):
        token, _, size, place = TOKEN.unpack_from(data, at + header + number * row)
        if token == FALCON_TOKEN:
            place += legacy.start
            if size < 4 or not file.inside("the falcon data", place, 4, legacy.start, end):
                return None
            return int.from_bytes(data[place : place + 4], "little")
    note = Finding(
        "nv.firmware.kind", Severity.NOTE, "the BIT table names no falcon programs (Turing and later have some)"
    )
    file.findings.append(note)
    return None


# --- falcon programs


def _programs(file: _File, legacy: _Image, fwsec: list[_Image], table: int) -> None:
    at = _place(file, "the table of falcon programs", legacy, fwsec, table, 4)
    if at is None:
        return
    version, header, row, count = file.data[at : at + 4]
    file.fields |= {"falcon_table_version": version, "falcon_programs": count}
    if header < 4 or row < 6:
        file.error(
            "header", "a table of falcon programs that cannot be", seen=f"header of {header} bytes, rows of {row}"
        )
        return
    if not file.inside("the table of falcon programs", at, header + row * count):
        return
    for number in range(count):
        place = at + header + number * row
        program, _, pointer = struct.unpack_from("<BBI", file.data, place)
        name = PROGRAMS.get(program)
        if name is not None:
            _program(file, name, legacy, fwsec, pointer)
    if count and not any(entry.name == "ucode-fwsec" for entry in file.entries):
        file.error("header", "no FWSEC program for production boards", expected="application 0x85")


def _program(file: _File, name: str, legacy: _Image, fwsec: list[_Image], pointer: int) -> None:
    at = _place(file, name, legacy, fwsec, pointer, 4)
    if at is None:
        return
    (head,) = struct.unpack_from("<I", file.data, at)
    version, descriptor = head >> 8 & 0xFF, head >> 16
    if version != 3:  # version 2 is that of Turing and GA100; its sizes are not checked
        file.fields[f"{name}_descriptor"] = version
        if file.inside(f"the descriptor of {name}", at, descriptor):
            file.entry(name, at, descriptor, "falcon")
        return
    if descriptor < DESCRIPTOR_V3.size or not file.inside(f"the descriptor of {name}", at, descriptor):
        if descriptor < DESCRIPTOR_V3.size:
            file.error("size", f"a descriptor of {name} that cannot be", seen=f"{descriptor} bytes")
        return
    values = DESCRIPTOR_V3.unpack_from(file.data, at)
    code, tables, number, signatures = values[5], values[8], values[10], values[11]
    file.fields |= {f"{name}_descriptor": version, f"{name}_signatures": signatures, f"{name}_id": number}
    wanted = DESCRIPTOR_V3.size + signatures * SIGNATURE_BYTES
    if descriptor != wanted:
        file.error("size", f"the signatures of {name}", expected=f"{wanted} bytes with them", seen=f"{descriptor}")
    if file.inside(f"code and data of {name}", at + descriptor, code + tables):
        file.entry(name, at, descriptor + code + tables, "falcon")


def _place(file: _File, what: str, legacy: _Image, fwsec: list[_Image], pointer: int, size: int) -> int | None:
    """Where a pointer leads that is counted as if the FWSEC images lay right behind the legacy one."""
    left = pointer - legacy.size
    for image in fwsec:
        if 0 <= left < image.size:
            found = image.start + left
            return found if file.inside(what, found, size) else None
        left -= image.size
    sizes = ", ".join(f"{image.size:#x}" for image in fwsec) or "none"
    file.error(
        "bounds",
        f"{what} is in no FWSEC image",
        expected=f"behind {legacy.size:#x}; FWSEC images: {sizes}",
        seen=f"{pointer:#x}",
    )
    return None
