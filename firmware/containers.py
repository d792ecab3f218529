"""Decode one firmware file: `parse(data, name)`. Bad bytes never raise; they give findings. NVIDIA's: nvidia.py.

Source: Linux v7.3 amdgpu_ucode.h (layouts), amdgpu_ucode.c. The kernel checks the file's length only; the rules held here
are those that every file of MI300X and MI350X keeps. Sums are done without a 32-bit limit, so none can wrap.

Finding codes: `amd.firmware.` + `size` (length), `header`, `bounds` (outside the file), `overlap`, `entry` (table of
components), `crc`, `wrapper` ($PS1), `version`, `kind` (name tells none)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from itertools import pairwise

from base.findings import Finding, Severity
from firmware import nvidia, wrapper
from firmware.layouts import (
    COMMON,
    COMMON_BYTES,
    DISCOVERY,
    FAMILIES,
    LAYOUTS,
    SMALLEST_FILE_BYTES,
    UNKNOWN,
    Layout,
    ip_version_of,
    kind_of,
    plain_name,
)
from firmware.model import CommonHeader, Crc, CrcStatus, Entry, FirmwareFile, Ps1Header
from firmware.needed import ALL_NAMES
from firmware.reading import REINSTALL, Reading, span
from firmware.ucode import DECODERS

__all__ = ["CommonHeader", "Crc", "CrcStatus", "Entry", "FirmwareFile", "Ps1Header", "parse"]

WORD = 0xFFFFFFFF
_NO_WRAPPER = frozenset(
    {"REG_LIST_FORMAT", "REG_LIST", "REG_LIST_FORMAT_SEPARATE", "REG_LIST_SEPARATE", "RLC_CNTL", "RLC_GPM", "RLC_SRM"}
)
_RULE_OF_KIND: Mapping[str, str] = {"vcn": "B", "smu": ""}  # of the strict kinds; the others: A


def parse(data: bytes, name: str) -> FirmwareFile:
    """Decode `data` as the file `name` (the name tells the kind; `.xz`, `.zst` at its end are ignored).

    Never raises for bad bytes: look at `findings` and `ok`. Speed: one pass for the checksum, entries are not copied."""
    name = plain_name(name)
    kind = kind_of(name)
    if kind == UNKNOWN and nvidia.is_nvidia(data, name):
        return nvidia.parse(data, name)
    if kind == DISCOVERY:
        return _other(data, name, kind, "a discovery table: gpumend discovery validate reads it")
    if len(data) < COMMON_BYTES:
        return _too_short(data, name, kind)
    reading = Reading(name, kind, data, name in ALL_NAMES, _header(data))
    _check_header(reading)
    layout = _layout(reading)
    entries: list[Entry] = []
    if layout is not None:
        reading.fields = layout.read(data)
        entries = [_wrapped(data, entry) for entry in DECODERS[kind](reading) if not _is_empty(reading, entry)]
    _check_entries(reading, entries)
    crc = _check_crc(reading)
    return FirmwareFile(
        name,
        kind,
        len(data),
        reading.header,
        reading.fields,
        tuple(entries),
        crc,
        tuple(reading.findings),
        data=data,
    )


def _other(data: bytes, name: str, kind: str, seen: str) -> FirmwareFile:
    note = Finding("amd.firmware.kind", Severity.NOTE, "not a firmware container", "a firmware file's name", seen, name)
    return FirmwareFile(name, kind, len(data), findings=(note,), data=data)


def _too_short(data: bytes, name: str, kind: str) -> FirmwareFile:
    finding = Finding(
        "amd.firmware.size",
        Severity.ERROR,
        "the file is shorter than the common header" if data else "the file is empty",
        f"at least {SMALLEST_FILE_BYTES:#x} bytes",
        f"{len(data)} bytes",
        name,
        REINSTALL,
    )
    return FirmwareFile(name, kind, len(data), findings=(finding,), data=data)


def _header(data: bytes) -> CommonHeader:
    size, header, major, minor, ip_major, ip_minor, version, ucode, array, crc = COMMON.unpack_from(data)
    return CommonHeader(size, header, (major, minor), (ip_major, ip_minor), version, ucode, array, crc)


def _check_header(reading: Reading) -> None:
    header, size = reading.header, reading.size
    if size < SMALLEST_FILE_BYTES:
        reading.error(
            "size",
            "the file is shorter than any firmware header",
            expected=f"at least {SMALLEST_FILE_BYTES:#x} bytes",
            seen=f"{size:#x} bytes",
        )
    if header.size_bytes != size:
        reading.error(
            "size",
            "the file has another length than its header tells",
            expected=f"{header.size_bytes} bytes",
            seen=f"{size} bytes",
            where=span(0, 4),
        )
    if header.array_offset < header.header_bytes or header.array_offset % 4:
        reading.error(
            "header",
            "the payload starts inside the header, or not at a whole word",
            expected=f">= {header.header_bytes:#x}, a multiple of 4",
            seen=f"{header.array_offset:#x}",
            where=span(0x18, 0x1C),
        )
    end = header.array_offset + header.ucode_bytes
    if end > size:
        reading.error(
            "bounds",
            "the payload ends behind the end of the file",
            expected=f"offset + size <= {size:#x}",
            seen=_sum(header.array_offset, header.ucode_bytes),
            where=span(0x14, 0x1C),
        )
    _check_ip_version(reading)


def _sum(offset: int, size: int) -> str:
    wraps = " (wraps around in 32 bits)" if offset + size > WORD else ""
    return f"{offset:#x} + {size:#x} = {offset + size:#x}{wraps}"


def _check_ip_version(reading: Reading) -> None:
    wanted = ip_version_of(reading.name)
    if reading.strict and wanted is not None and reading.header.ip_version != wanted:
        reading.error(
            "version",
            "the header is for another IP version than the file's name",
            expected=f"IP {wanted[0]}.{wanted[1]}",
            seen=f"IP {reading.header.ip_version[0]}.{reading.header.ip_version[1]}",
            where=span(0x0C, 0x10),
        )


def _layout(reading: Reading) -> Layout | None:
    """The layout of this kind and header version; None (with a finding) when it is unknown or does not fit."""
    major, minor = reading.header.header_version
    if reading.kind == UNKNOWN:
        reading.note("kind", "the file name tells no known kind of firmware", seen=reading.name)
        return None
    family = FAMILIES[reading.kind]
    layout = LAYOUTS.get((family, major, minor))
    if layout is None:
        known = ", ".join(f"{a}.{b}" for name, a, b in LAYOUTS if name == family)
        reading.error(
            "header",
            f"unknown header version for a file of kind {reading.kind}",
            expected=known,
            seen=f"{major}.{minor}",
            where=span(0x08, 0x0C),
        )
        return None
    if reading.size < layout.size_bytes:
        reading.error(
            "size",
            "the file ends inside its header",
            expected=f"{layout.size_bytes:#x} bytes",
            seen=f"{reading.size:#x} bytes",
        )
        return None
    _check_header_size(reading, layout)
    return layout


def _check_header_size(reading: Reading, layout: Layout) -> None:
    header = reading.header
    if header.header_bytes != layout.size_bytes:
        reading.strict_error(
            "header",
            "the header has another size than its version tells",
            expected=f"{layout.size_bytes:#x} for version {header.header_version[0]}.{header.header_version[1]}",
            seen=f"{header.header_bytes:#x}",
            where=span(0x04, 0x08),
        )
    table = 16 * reading.u32(0x20)[0] if reading.kind in ("sos", "ta") and header.header_version[0] == 2 else 0
    start, end = layout.size_bytes + table, min(header.array_offset, reading.size)
    if reading.strict and end > start and reading.data.count(0, start, end) != end - start:
        reading.error(
            "header",
            "bytes between header and payload that should be zero are not",
            expected="zeros",
            seen=_first_set(reading.data, start, end),
            where=span(start, end),
        )


def _first_set(data: bytes, start: int, end: int) -> str:
    gap = data[start:end]
    offset = start + len(gap) - len(gap.lstrip(b"\0"))
    return f"{data[offset]:#04x} at {offset:#x}"


def _is_empty(reading: Reading, entry: Entry) -> bool:
    """Whether there is nothing in the entry; the kernel skips such parts, in our chips' files there are none."""
    if entry.size:
        return False
    reading.strict_error("entry", f"{_label(entry)} is empty", expected="size > 0", seen="0", where=_label(entry))
    return True


def _wrapped(data: bytes, entry: Entry) -> Entry:
    found = wrapper.read(data, entry.file_offset, entry.size)
    if found is None:
        return entry
    version = found.version if entry.version is None else entry.version
    return Entry(entry.type_id, entry.name, version, entry.file_offset, entry.size, found, entry.set)


def _check_entries(reading: Reading, entries: list[Entry]) -> None:
    inside = [entry for entry in entries if _check_bounds(reading, entry)]
    _check_overlap(reading, inside)
    if reading.strict:
        for entry in inside:
            _check_wrapper(reading, entry)


def _label(entry: Entry) -> str:
    return f"{entry.name} ({entry.set})" if entry.set else entry.name


def _check_bounds(reading: Reading, entry: Entry) -> bool:
    """Whether the entry lies between header and end of file."""
    limit = _limit(reading)
    start = reading.header.header_bytes if reading.kind in ("smu", "rlc", "mc") else reading.header.array_offset
    if entry.file_offset >= start and entry.end <= limit:
        return True
    reading.error(
        "bounds",
        f"{_label(entry)} lies outside the payload",
        expected=f"inside {span(start, limit)}",
        seen=_sum(entry.file_offset, entry.size),
        where=f"{_label(entry)} {span(entry.file_offset, entry.end)}",
    )
    return False


def _limit(reading: Reading) -> int:
    """Where the last entry must end: for packed files the end of what the header calls ucode, else the end of file."""
    if reading.strict and reading.kind in ("sos", "ta"):
        return min(reading.size, reading.header.array_offset + reading.header.ucode_bytes)
    return reading.size


def _check_overlap(reading: Reading, entries: list[Entry]) -> None:
    ordered = sorted(entries, key=lambda entry: (entry.file_offset, entry.end))
    for before, after in pairwise(ordered):
        if after.file_offset < before.end:
            reading.strict_error(
                "overlap",
                f"{_label(after)} overlaps {_label(before)}",
                expected=f"start >= {before.end:#x}",
                seen=f"{after.file_offset:#x}",
                where=f"{_label(after)} {span(after.file_offset, after.end)}",
            )


def _check_wrapper(reading: Reading, entry: Entry) -> None:
    if entry.name in _NO_WRAPPER:
        return
    found = entry.wrapper
    where = f"{_label(entry)} {span(entry.file_offset, entry.file_offset + wrapper.HEADER_BYTES)}"
    if found is None:
        offset = entry.file_offset + wrapper.MAGIC_OFFSET
        seen = reading.data[offset : offset + 4].hex(" ")
        reading.error(
            "wrapper",
            f"{_label(entry)} has no signature wrapper",
            expected="24 50 53 31 ($PS1)",
            seen=seen,
            where=where,
        )
        return
    if found.total_bytes > entry.size or found.body_bytes + wrapper.HEADER_BYTES > entry.size:
        reading.error(
            "wrapper",
            f"{_label(entry)}: its wrapper tells a larger payload",
            expected=f"total <= {entry.size:#x}",
            seen=f"total {found.total_bytes:#x}, body {found.body_bytes:#x}",
            where=where,
        )
    if entry.version != found.version:
        reading.error(
            "version",
            f"{_label(entry)}: table and wrapper tell different versions",
            expected=f"{entry.version or 0:#010x}, as in the table",
            seen=f"{found.version:#010x}",
            where=where,
        )


def _check_crc(reading: Reading) -> Crc:
    header, data = reading.header, reading.data
    rule = _RULE_OF_KIND.get(reading.kind, "A") if reading.strict else ""
    whole = zlib.crc32(memoryview(data)[COMMON_BYTES:])
    if whole == header.crc32:
        return Crc(CrcStatus.VERIFIED, "A", header.crc32, whole)
    array = zlib.crc32(memoryview(data)[header.array_offset :])
    if array == header.crc32 and COMMON_BYTES <= header.array_offset < reading.size:
        return Crc(CrcStatus.VERIFIED, "B", header.crc32, array)
    computed = array if rule == "B" else whole
    if not reading.strict:
        reading.note("crc", "checksum rule of this file not known; content not verified", seen=f"{header.crc32:#010x}")
        return Crc(CrcStatus.NOT_KNOWN, "", header.crc32, computed)
    if not rule:
        reading.note("crc", "no CRC defined for this kind of file; content not verified", seen=f"{header.crc32:#010x}")
        return Crc(CrcStatus.NOT_DEFINED, "", header.crc32, computed)
    start = header.array_offset if rule == "B" else COMMON_BYTES
    reading.error(
        "crc",
        "the checksum does not match: bytes of the file are damaged",
        expected=f"{header.crc32:#010x}, stored at 0x1c",
        seen=f"{computed:#010x} over {span(start, reading.size)}",
        where=span(start, reading.size),
    )
    return Crc(CrcStatus.MISMATCH, rule, header.crc32, computed)
