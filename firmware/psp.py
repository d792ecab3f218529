"""PSP files: SOS (the security processor's own parts, loaded by its bootloader) and TA (trusted applications).

Source: Linux v7.3 amdgpu_ucode.h (enum psp_fw_type, ta_fw_type), amdgpu_psp.c (psp_init_sos_microcode, parse_ta_v1,
is_ta_fw_applicable). Packed entries are measured from the ucode array, not from the start of the file."""

from __future__ import annotations

from collections import Counter
from enum import IntEnum

from base.errors import InvalidData, UsageError
from firmware.layouts import MAX_PACKED
from firmware.model import Entry, FirmwareFile
from firmware.reading import Reading, span

ENTRY_BYTES = 16
LARGEST_COMPONENT_BYTES = 1 << 20  # the bootloader stages components through a private buffer of 1 MiB
XGMI_AUX_SINCE = 0x14  # low byte of the XGMI TA version from which MI300A takes XGMI_AUX


class SosType(IntEnum):
    """Components of a SOS file."""

    SOS = 1
    SYS_DRV = 2
    KDB = 3
    TOC = 4
    SPL = 5
    RL = 6
    SOC_DRV = 7
    INTF_DRV = 8
    DBG_DRV = 9
    RAS_DRV = 10
    IPKEYMGR_DRV = 11
    SPDM_DRV = 12


class TaType(IntEnum):
    """Trusted applications."""

    ASD = 1
    XGMI = 2
    RAS = 3
    HDCP = 4
    DTM = 5
    RAP = 6
    SECUREDISPLAY = 7
    XGMI_AUX = 8


REQUIRED = frozenset(
    {
        SosType.SOS,
        SosType.SYS_DRV,
        SosType.KDB,
        SosType.RL,
        SosType.SOC_DRV,
        SosType.INTF_DRV,
        SosType.DBG_DRV,
        SosType.RAS_DRV,
    }
)


def sos(reading: Reading) -> list[Entry]:
    """Entries of a SOS file, with the set each belongs to."""
    major, minor = reading.header.header_version
    if major == 1:
        return _sos_v1(reading)
    count = reading.fields["psp_fw_bin_count"]
    start = 0x28 if minor == 1 else 0x24
    entries = _table(reading, start, count, SosType)
    if minor == 1:
        entries = _into_sets(reading, entries)
    if reading.strict and entries:
        _require_sets(reading, entries)
    return entries


def ta(reading: Reading) -> list[Entry]:
    """Entries of a TA file."""
    if reading.header.header_version[0] == 1:
        return _ta_v1(reading)
    entries = _table(reading, 0x24, reading.fields["ta_fw_bin_count"], TaType)
    _require_once(reading, entries, "TA file")
    return entries


def _table(reading: Reading, start: int, count: int, types: type[SosType] | type[TaType]) -> list[Entry]:
    where = span(0x20, 0x24)
    if not 0 < count < MAX_PACKED:
        reading.error(
            "entry",
            "number of packed components outside the limits",
            expected=f"1..{MAX_PACKED - 1}",
            seen=str(count),
            where=where,
        )
        return []
    end = start + count * ENTRY_BYTES
    limit = min(reading.header.array_offset, reading.size)
    if end > limit:
        reading.error(
            "bounds",
            "the table of components runs into the payload",
            expected=f"table end <= {limit:#x}",
            seen=f"{count} entries, table end {end:#x}",
            where=where,
        )
        return []
    return [_entry(reading, start + index * ENTRY_BYTES, index, types) for index in range(count)]


def _entry(reading: Reading, position: int, index: int, types: type[SosType] | type[TaType]) -> Entry:
    type_id, version, offset, size = reading.u32(position, 4)
    name = types(type_id).name if type_id in set(types) else f"TYPE_{type_id}"
    where = f"entry {index} {span(position, position + ENTRY_BYTES)}"
    if type_id not in set(types):
        reading.warning(
            "entry",
            "component of an unknown type; the kernel skips it",
            expected=f"type 1..{max(types)}",
            seen=str(type_id),
            where=where,
        )
    if types is SosType and size > LARGEST_COMPONENT_BYTES:
        reading.error(
            "entry",
            f"{name} is larger than the bootloader's buffer",
            expected=f"<= {LARGEST_COMPONENT_BYTES:#x} bytes",
            seen=f"{size:#x}",
            where=where,
        )
    return Entry(type_id, name, version, reading.header.array_offset + offset, size)


def _into_sets(reading: Reading, entries: list[Entry]) -> list[Entry]:
    aux = reading.fields["psp_aux_fw_bin_index"]
    if not 0 < aux < max(len(entries), 1):
        reading.error(
            "entry",
            "start of the aux set outside the table",
            expected=f"1..{len(entries) - 1}",
            seen=str(aux),
            where=span(0x24, 0x28),
        )
    return [_of_set(entry, "main" if index < aux else "aux") for index, entry in enumerate(entries)]


def _of_set(entry: Entry, name: str) -> Entry:
    return Entry(entry.type_id, entry.name, entry.version, entry.file_offset, entry.size, set=name)


def _require_sets(reading: Reading, entries: list[Entry]) -> None:
    sets = sorted({entry.set for entry in entries}, reverse=True)
    for name in sets:
        members = [entry for entry in entries if entry.set == name]
        label = f"set {name}" if name else "file"
        _require_once(reading, members, label)
        missing = REQUIRED - {entry.type_id for entry in members}
        if missing:
            reading.error(
                "entry",
                f"components that the chip needs are missing in the {label}",
                expected="each of SOS, SYS_DRV, KDB, RL, SOC_DRV, INTF_DRV, DBG_DRV, RAS_DRV once",
                seen="without " + ", ".join(SosType(kind).name for kind in sorted(missing)),
            )
    _check_sos_version(reading, [entry for entry in entries if entry.set != "aux"])


def _check_sos_version(reading: Reading, members: list[Entry]) -> None:
    for entry in members:
        if entry.type_id == SosType.SOS and entry.version != reading.header.ucode_version:
            reading.error(
                "version",
                "header and SOS entry tell different versions",
                expected=f"{reading.header.ucode_version:#010x}, as in the header",
                seen=f"{entry.version:#010x}",
                where=span(0x10, 0x14),
            )


def _require_once(reading: Reading, entries: list[Entry], label: str) -> None:
    twice = [name for name, count in Counter(entry.name for entry in entries).items() if count > 1]
    if twice:
        reading.error(
            "entry",
            f"the same component more than once in the {label}",
            expected="each type once",
            seen=", ".join(sorted(twice)),
        )


def _sos_v1(reading: Reading) -> list[Entry]:
    header, fields = reading.header, reading.fields
    array = header.array_offset
    split = fields["sos_offset_bytes"]
    entries = [
        Entry(SosType.SYS_DRV, "SYS_DRV", None, array, split),
        Entry(SosType.SOS, "SOS", header.ucode_version, array + split, fields["sos_size_bytes"]),
    ]
    parts = (("toc", SosType.TOC), ("kdb", SosType.KDB), ("spl", SosType.SPL), ("rl", SosType.RL))
    entries += [_legacy(reading, part, kind) for part, kind in parts if f"{part}_size_bytes" in fields]
    if "sos_aux_size_bytes" in fields:
        aux = (("sys_drv_aux", SosType.SYS_DRV), ("sos_aux", SosType.SOS))
        entries[:2] = [_of_set(entry, "main") for entry in entries[:2]]  # the parts behind them serve both
        entries += [_of_set(_legacy(reading, part, kind), "aux") for part, kind in aux]
    return [entry for entry in entries if entry.size]


def _legacy(reading: Reading, part: str, kind: SosType | TaType, base: int = 0) -> Entry:
    fields = reading.fields
    offset = reading.header.array_offset + base + fields[f"{part}_offset_bytes"]
    return Entry(kind, kind.name, fields[f"{part}_fw_version"], offset, fields[f"{part}_size_bytes"])


def _ta_v1(reading: Reading) -> list[Entry]:
    # xgmi and hdcp start at the array whatever their offset says; the others count from there.
    fields = reading.fields
    array = reading.header.array_offset
    entries = []
    for part, kind in (("xgmi", TaType.XGMI), ("hdcp", TaType.HDCP)):
        entries.append(Entry(kind, kind.name, fields[f"{part}_fw_version"], array, fields[f"{part}_size_bytes"]))
    for part, kind in (("ras", TaType.RAS), ("dtm", TaType.DTM), ("securedisplay", TaType.SECUREDISPLAY)):
        entries.append(_legacy(reading, part, kind))
    return sorted((entry for entry in entries if entry.size), key=lambda entry: entry.file_offset)


def select_tas(file: FirmwareFile, *, is_apu: bool) -> tuple[Entry, ...]:
    """The trusted applications that apply to this GPU: MI300A takes XGMI_AUX instead of XGMI, others never do.

    Only psp_13_0_6_ta has both. Raises UsageError when this is not a TA file, InvalidData when the file has an error."""
    if file.kind != "ta":
        raise UsageError(f"choosing applications of {file.name}", expected="a TA file", seen=f"kind {file.kind}")
    file.require_ok()
    return tuple(entry for entry in file.entries if _applies(file, entry, is_apu))


def _applies(file: FirmwareFile, entry: Entry, is_apu: bool) -> bool:
    if entry.name not in ("XGMI", "XGMI_AUX") or not file.name.startswith("psp_13_0_6_"):
        return True
    wants_aux = is_apu and ((entry.version or 0) & 0xFF) >= XGMI_AUX_SINCE
    return entry.name == ("XGMI_AUX" if wants_aux else "XGMI")


def component(entries: tuple[Entry, ...], kind: SosType) -> Entry:
    """The one component of that type in a set made by `FirmwareFile.select`. Raises InvalidData when it is missing."""
    for entry in entries:
        if entry.type_id == kind:
            return entry
    raise InvalidData(
        f"looking for {kind.name} in a SOS file",
        expected=f"a component of type {int(kind)}",
        seen=", ".join(entry.name for entry in entries) or "no component",
    )
