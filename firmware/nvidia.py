"""NVIDIA's GSP firmware files: `parse(data, name)`. Bad bytes never raise; they give findings.

Three containers: an ELF64 with the image of GSP-RM and a signature for each chip family (`gsp-570.144.bin`), an ELF32 with
hash, signature, public key and image for the FSP (`fmc-570.144.bin`), and NVIDIA's 24-byte wrapper round booter, boot
loader and scrubber. Sources: Linux v7.3 drivers/gpu/drm/nouveau/include/nvfw/fw.h, hs.h (wrapper, signed code),
nvkm/subdev/gsp/gh100.c (the FMC's sections, their CRC-32 in sh_info), r535/gsp.c (sections of the image); rules that
only the files show: those of firmware-nvidia-graphics 20260916, versions 535.113.01 and 570.144 (hardware/nvidia-gsp.md 1.1).

A ROM with NVIDIA's video BIOS is read by nvidia_vbios.py.

Finding codes: `nv.firmware.` + `size`, `header`, `bounds`, `overlap`, `crc`, `version`, `kind`."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from base.findings import Finding, Severity
from firmware import nvidia_vbios
from firmware.layouts import plain_name
from firmware.model import Crc, CrcStatus, Entry, FirmwareFile
from firmware.reading import span

PACKAGE: Final = "reinstall firmware-nvidia-graphics (Debian) or linux-firmware; then gpumend firmware verify FILE"
GSP, FMC, BOOTER, LOADER, GENERIC, UNKNOWN = "gsp", "fmc", "booter", "gsp-bootloader", "generic-bootloader", "unknown"
VBIOS: Final = "vbios"

ELF_MAGIC: Final = b"\x7fELF"
_ELF: Final = {1: ("<HHIIIIIHHHHHH", "<10I", 0x34, 0x28), 2: ("<HHIQQQIHHHHHH", "<IIQQQQIIQQ", 0x40, 0x40)}  # by class
MOST_SECTIONS: Final = 64
NO_BITS: Final = 8  # a section without bytes in the file

WRAPPER: Final = struct.Struct("<6I")  # struct nvfw_bin_hdr
WRAPPER_MAGIC: Final = 0x10DE
WRAPPER_UNIT: Final = 0x100  # bin_size counts whole ones; data_offset + data_size is the true end
SIGNED: Final = struct.Struct("<9I")  # struct nvfw_hs_header_v2
LOAD: Final = struct.Struct("<9I")  # struct nvfw_hs_load_header_v2 with one application
RISCV: Final = struct.Struct("<19I")  # RM_RISCV_UCODE_DESC, version 4; version 5 has two words more
RISCV_VERSIONS: Final = {4: 0x4C, 5: 0x54}
BL_DESC: Final = struct.Struct("<6I")  # struct nvfw_bl_desc

SIGNATURE_BYTES: Final = 0x1000  # of a .fwsignature_*
FMC_SECTIONS: Final = ("hash", "signature", "publickey", "image")
FMC_HASH_BYTES: Final = 0x30  # SHA-384
# (signature, public key): RSA-3072 on Hopper, ECDSA P-384 on Blackwell
FMC_KEYS: Final = ((0x180, 0x180), (0x60, 0x61))

_NAMES: Final = (
    (re.compile(r"gsp(?:_\w+)?(?:-[\d.]+)?"), GSP),
    (re.compile(r"fmc(?:-[\d.]+)?"), FMC),
    (re.compile(r"(?:booter_load|booter_unload|scrubber)(?:-[\d.]+)?"), BOOTER),
    (re.compile(r"bootloader(?:-[\d.]+)?"), LOADER),
    (re.compile(r"gen_bootloader(?:-[\d.]+)?"), GENERIC),
)


@dataclass(slots=True)
class _File:
    name: str
    kind: str
    data: bytes
    fields: dict[str, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    crc: Crc | None = None
    version: str = ""
    findings: list[Finding] = field(default_factory=list)

    def error(self, code: str, summary: str, *, expected: str = "", seen: str = "", where: str = "") -> None:
        place = f"{self.name} {where}".strip()
        finding = Finding(f"nv.firmware.{code}", Severity.ERROR, summary, expected, seen, place, PACKAGE)
        self.findings.append(finding)

    def inside(self, what: str, offset: int, size: int, start: int = 0, end: int | None = None) -> bool:
        """Is it inside [start, end) of the file? If not: a finding."""
        end = len(self.data) if end is None else end
        if start <= offset and offset + size <= end:
            return True
        limits = f"inside {span(start, end)}"
        self.error("bounds", f"{what} lies outside", expected=limits, seen=span(offset, offset + size))
        return False

    def entry(self, name: str, offset: int, size: int, family: str = "") -> None:
        self.entries.append(Entry(0, name, None, offset, size, None, family))


def is_nvidia(data: bytes, name: str) -> bool:
    """By its first bytes; for what is damaged there, by its name."""
    magics = (ELF_MAGIC, WRAPPER_MAGIC.to_bytes(4, "little"))
    return data[:4] in magics or nvidia_vbios.is_rom(data) or kind_of(name) != UNKNOWN


def kind_of(name: str) -> str:
    """What a file name stands for (`booter_load-570.144.bin`: booter), or `unknown`."""
    stem = plain_name(name).removesuffix(".bin")
    return next((kind for pattern, kind in _NAMES if pattern.fullmatch(stem)), UNKNOWN)


def parse(data: bytes, name: str) -> FirmwareFile:
    """Decode `data` as the file `name`. Never raises for bad bytes: look at `findings` and `ok`.

    Entries: sections of an ELF (`set` is the chip family of a signature), signatures, code and data of a wrapped file."""
    file = _File(plain_name(name), VBIOS if nvidia_vbios.is_rom(data) else kind_of(name), data)
    reader = _READERS.get(file.kind)
    if reader is None:
        seen = "an ELF file" if data[:4] == ELF_MAGIC else "NVIDIA's wrapper"
        note = Finding("nv.firmware.kind", Severity.NOTE, "the file name tells no known kind", "", seen, file.name)
        return FirmwareFile(file.name, UNKNOWN, len(data), findings=(note,), data=data)
    reader(file)
    if file.kind != VBIOS:  # whose programs lie in its images
        _no_overlap(file)
    return FirmwareFile(
        file.name,
        file.kind,
        len(data),
        fields=file.fields,
        entries=tuple(file.entries),
        crc=file.crc,
        findings=tuple(file.findings),
        told_version=file.version,
        data=data,
    )


def _no_overlap(file: _File) -> None:
    ordered = sorted((entry for entry in file.entries if entry.size), key=lambda entry: entry.file_offset)
    for first, second in pairwise(ordered):
        if first.end > second.file_offset:
            file.error("overlap", f"{first.name} and {second.name} overlap", seen=span(second.file_offset, first.end))


# --- ELF


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    offset: int
    size: int
    info: int


def _sections(file: _File, wanted_class: int) -> dict[str, _Section]:
    """By name; empty, with findings, when the file is no such ELF."""
    data = file.data
    header, row, header_bytes, row_bytes = _ELF[wanted_class]
    if len(data) < header_bytes or data[:4] != ELF_MAGIC:
        file.error("header", "not an ELF file", expected="7f 45 4c 46", seen=data[:4].hex(" ") or "nothing")
        return {}
    if (data[4], data[5]) != (wanted_class, 1):
        expected = f"class {wanted_class}, little-endian"
        file.error("header", "another kind of ELF", expected=expected, seen=f"class {data[4]}, order {data[5]}")
        return {}
    words = struct.unpack_from(header, data, 16)
    table, size, count, names_at = words[5], words[10], words[11], words[12]
    if size != row_bytes or not 0 < count <= MOST_SECTIONS or names_at >= count:
        seen = f"{count} rows of {size} bytes, names in {names_at}"
        file.error("header", "a section table that cannot be", expected=f"rows of {row_bytes} bytes", seen=seen)
        return {}
    if not file.inside("the section table", table, size * count):
        return {}
    rows = [struct.unpack_from(row, data, table + number * size) for number in range(count)]
    names = rows[names_at]
    if not file.inside("the section names", names[4], names[5]):
        return {}
    text = data[names[4] : names[4] + names[5]]
    found: dict[str, _Section] = {}
    for number, (name_at, kind, _, _, offset, length, _, info, _, _) in enumerate(rows[1:], 1):
        end = text.find(b"\0", name_at) if name_at < len(text) else -1
        name = text[name_at:end].decode("ascii", "replace") if end > 0 else ""
        if not name or name in found:
            file.error("header", f"section {number} has no name of its own", seen=name or f"offset {name_at:#x}")
            continue
        if kind == NO_BITS or file.inside(f"section {name}", offset, length):
            found[name] = _Section(name, offset, 0 if kind == NO_BITS else length, info)
    return found


def _gsp(file: _File) -> None:
    sections = _sections(file, 2)
    if not sections:
        return
    for name in (".fwimage", ".fwversion"):
        if name not in sections:
            file.error("header", f"no section {name}", expected=".fwimage, .fwversion, .fwsignature_*")
    for section in sections.values():
        if section.name.startswith(".fwsignature_"):
            family = section.name.removeprefix(".fwsignature_")
            file.entry("signature", section.offset, section.size, family)
            if section.size != SIGNATURE_BYTES:
                expected, seen = f"{SIGNATURE_BYTES:#x} bytes", f"{section.size:#x}"
                file.error("size", f"the signature for {family} has another size", expected=expected, seen=seen)
        elif section.name.startswith(".fw"):
            file.entry(section.name.removeprefix(".fw"), section.offset, section.size)
    if not any(entry.name == "signature" for entry in file.entries):
        file.error("header", "no signature for any chip", expected=".fwsignature_*")
    _version(file, sections.get(".fwversion"))


def _version(file: _File, section: _Section | None) -> None:
    """The version that the image names must be the file name's."""
    if section is None:
        return
    text = file.data[section.offset : section.offset + section.size].rstrip(b"\0")
    if not re.fullmatch(rb"\d+(\.\d+)+", text):
        file.error("version", "the image's version is none", expected="such as 570.144", seen=repr(text[:32]))
        return
    file.version = text.decode()
    named = re.search(r"-([\d.]+)\.bin$", file.name)
    if named and named[1] != file.version:
        file.error("version", "the image is of another version than its name", expected=named[1], seen=file.version)


def _fmc(file: _File) -> None:
    sections = _sections(file, 1)
    if not sections:
        return
    missing = [name for name in FMC_SECTIONS if name not in sections]
    if missing:
        file.error("header", f"no section {', '.join(missing)}", expected=", ".join(FMC_SECTIONS))
        return
    told = [sections[name] for name in FMC_SECTIONS]
    for section in told:
        file.entry(section.name, section.offset, section.size)
        # a number of 0 says that there is none (gh100.c)
        if section.info:
            computed = zlib.crc32(file.data[section.offset : section.offset + section.size])
            good = computed == section.info
            if file.crc is None or not good:
                status = CrcStatus.VERIFIED if good else CrcStatus.MISMATCH
                file.crc = Crc(status, "sections", section.info, computed)
            if not good:
                expected, seen = f"{section.info:#010x}", f"{computed:#010x}"
                file.error("crc", f"{section.name} has another CRC-32 than it tells", expected=expected, seen=seen)
    digest, signature, key, _ = told
    if digest.size != FMC_HASH_BYTES:
        file.error("size", "the hash is no SHA-384", expected=f"{FMC_HASH_BYTES:#x} bytes", seen=f"{digest.size:#x}")
    if (signature.size, key.size) not in FMC_KEYS:
        expected = " or ".join(f"{one:#x} and {other:#x} bytes" for one, other in FMC_KEYS)
        seen = f"{signature.size:#x} and {key.size:#x}"
        file.error("size", "signature and public key have other sizes", expected=expected, seen=seen)


# --- NVIDIA's wrapper


def _wrapper(file: _File, header_bytes: int) -> tuple[int, int, int] | None:
    """(offset of the inner header, of the data, size of the data); None, with findings, when it is none."""
    data = file.data
    if len(data) < WRAPPER.size:
        file.error("size", "the file is shorter than its header", expected=f"{WRAPPER.size} bytes", seen=f"{len(data)}")
        return None
    magic, version, size, header_at, data_at, data_size = WRAPPER.unpack_from(data)
    if (magic, version) != (WRAPPER_MAGIC, 1):
        file.error(
            "header", "not NVIDIA's wrapper", expected="0x10de, version 1", seen=f"{magic:#x}, version {version}"
        )
        return None
    if not file.inside("the data", data_at, data_size):
        return None
    if data_at + data_size != len(data):
        expected = f"{data_at + data_size:#x} bytes"
        file.error("size", "the file has another length than it tells", expected=expected, seen=f"{len(data):#x}")
    if size != -(-len(data) // WRAPPER_UNIT) * WRAPPER_UNIT:
        expected = f"{len(data):#x}, rounded up to {WRAPPER_UNIT:#x}"
        file.error("header", "its total size is another", expected=expected, seen=f"{size:#x}", where=span(8, 12))
    if not file.inside("the inner header", header_at, header_bytes, WRAPPER.size, data_at):
        return None
    return header_at, data_at, data_size


def _booter(file: _File) -> None:
    """Signed code for a falcon: signatures, of which the chip's fuses choose one, then code and data."""
    found = _wrapper(file, SIGNED.size)
    if found is None:
        return
    header_at, data_at, data_size = found
    values = SIGNED.unpack_from(file.data, header_at)
    signatures, signature_bytes, _, _, _, meta_size, count_at, load_at, load_size = values
    if load_size < LOAD.size or not file.inside("the load header", load_at, load_size, WRAPPER.size, data_at):
        file.error("header", "the load header is too short", expected=f"{LOAD.size}", seen=f"{load_size}")
        return
    if not file.inside("the signatures", signatures, signature_bytes, WRAPPER.size, data_at):
        return
    places = (
        ("patch location", values[2], 4),
        ("patch signature", values[3], 4),
        ("meta data", values[4], meta_size),
        ("number of signatures", count_at, 4),
    )
    if not all(file.inside(f"the {what}", at, size, WRAPPER.size, data_at) for what, at, size in places):
        return
    (count,) = struct.unpack_from("<I", file.data, count_at)
    if not 0 < count <= signature_bytes or signature_bytes % count:
        seen = f"{count} in {signature_bytes:#x} bytes"
        file.error("header", "signatures that do not fill their place", expected="a whole number of them", seen=seen)
        return
    file.fields |= {"signatures": count, "signature_bytes": signature_bytes // count}
    file.entry("signatures", signatures, signature_bytes)
    os_code, os_code_size, os_data, os_data_size, apps, app, app_size, _, _ = LOAD.unpack_from(file.data, load_at)
    file.fields["applications"] = apps
    for name, at, size in (
        ("os-code", os_code, os_code_size),
        ("app-code", app, app_size),
        ("data", os_data, os_data_size),
    ):
        if name == "app-code" and not apps:
            continue
        if size and file.inside(f"the {name}", data_at + at, size, data_at, data_at + data_size):
            file.entry(name, data_at + at, size)


def _loader(file: _File) -> None:
    """The boot loader of GSP-RM: RISC-V code with a description of 19 words (version 4) or 21 (version 5)."""
    found = _wrapper(file, RISCV.size)
    if found is None:
        return
    header_at, data_at, data_size = found
    values = RISCV.unpack_from(file.data, header_at)
    version = values[0]
    if RISCV_VERSIONS.get(version) != data_at - header_at:
        expected = ", ".join(f"version {number} of {size:#x} bytes" for number, size in RISCV_VERSIONS.items())
        seen = f"version {version} of {data_at - header_at:#x} bytes"
        file.error("header", "a description that is not known", expected=expected, seen=seen)
        return
    file.fields |= {"description_version": version, "app_version": values[7]}
    parts = (
        ("boot-code", 1),
        ("parameters", 3),
        ("elf", 5),
        ("manifest", 8),
        ("monitor-data", 10),
        ("monitor-code", 12),
    )
    for name, place in parts:
        at, size = values[place], values[place + 1]
        if size and file.inside(f"the {name}", data_at + at, size, data_at, data_at + data_size):
            file.entry(name, data_at + at, size)
    if not file.entries:
        file.entry("image", data_at, data_size)


def _generic(file: _File) -> None:
    """The small loader that brings FWSEC into a falcon of Turing and GA100."""
    found = _wrapper(file, BL_DESC.size)
    if found is None:
        return
    header_at, data_at, data_size = found
    start_tag, load_offset, code, code_size, tables, tables_size = BL_DESC.unpack_from(file.data, header_at)
    file.fields |= {"start_tag": start_tag, "dmem_load_offset": load_offset}
    for name, at, size in (("code", code, code_size), ("data", tables, tables_size)):
        if file.inside(f"the {name}", data_at + at, size, data_at, data_at + data_size):
            file.entry(name, data_at + at, size)


_READERS: Mapping[str, Callable[[_File], None]] = {
    GSP: _gsp,
    FMC: _fmc,
    BOOTER: _booter,
    LOADER: _loader,
    GENERIC: _generic,
    VBIOS: nvidia_vbios.read,
}
