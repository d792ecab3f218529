"""The IP discovery binary of AMD GPUs: parse it, check everything that can be checked, and say what is wrong where.

Source: amd-discovery.md sections 2 to 9; Linux v7.3 include/discovery.h (layout), amdgpu/amdgpu_discovery.c (what the
kernel checks, and what it leaves out: bounds, counts, MALL, NPS). Offsets in bytes from the start of the binary.

    validation = validate(blob)             # never raises, whatever the bytes are
    validation.ok                           # nothing worse than a note
    validation.ip_map                       # None unless the IP discovery table itself can be trusted
    validation.findings                     # all that is wrong, with table, byte range, expected and seen

Severities: error: the kernel refuses the table, or would read past an end or conclude something wrong from it. warning:
against a rule that the kernel does not check. note: a detail, or worth knowing and harmless. When a table's checksum is
wrong, that is the error; whatever else is odd in the same table follows from it and is told as a note.

Where the table is found on a GPU: discovery_locate.py. Saved good copies: discovery_store.py."""

from __future__ import annotations

from dataclasses import dataclass, replace

from amdriver.discovery_binary import SIGNATURE_CODE, Binary
from amdriver.discovery_diff import Difference, DiffRange, diff, layout
from amdriver.discovery_format import (
    BINARY_SIGNATURE,
    COPY_SIZE_BYTES,
    FROM_VRAM_END_BYTES,
    MAX_BLOB_BYTES,
    NEXT,
    NEXT_CHANGED,
    Header,
    Table,
    TableInfo,
    byte_sum,
    describe_bytes,
    span,
)
from amdriver.discovery_records import Records
from amdriver.discovery_tables import check_harvest, read_gc, read_harvest, read_mall, read_nps, read_vcn
from amdriver.ip_map import GcConfig, IpInstance, IpMap, MallInfo, NpsInfo, VcnFuse
from base.findings import Finding, Severity

__all__ = [
    "BINARY_SIGNATURE",
    "COPY_SIZE_BYTES",
    "FROM_VRAM_END_BYTES",
    "MAX_BLOB_BYTES",
    "DiffRange",
    "Difference",
    "GcConfig",
    "Header",
    "IpInstance",
    "IpMap",
    "MallInfo",
    "NpsInfo",
    "Table",
    "TableInfo",
    "Validation",
    "VcnFuse",
    "byte_sum",
    "describe_bytes",
    "diff",
    "layout",
    "validate",
]

_GFX10 = (10, 0, 0)


@dataclass(frozen=True, slots=True)
class Validation:
    """What a discovery binary says, and what is wrong with it.

    `ip_map`: only when the IP discovery table passed its own checks. `salvaged`: what could be decoded of a table that
    did not; for showing, never for driving a GPU. `left_out`: findings beyond the limit."""

    findings: tuple[Finding, ...]
    ip_map: IpMap | None = None
    salvaged: IpMap | None = None
    header: Header | None = None
    tables: tuple[TableInfo, ...] = ()
    left_out: int = 0

    @property
    def ok(self) -> bool:
        """Nothing worse than a note."""
        return all(finding.severity is Severity.NOTE for finding in self.findings)


def validate(
    blob: bytes,
    *,
    golden: bytes | None = None,
    vram_size_bytes: int | None = None,
    driver_copy: bool = False,
) -> Validation:
    """Check a discovery binary; raises nothing on any bytes, in bounded time and memory (64 KiB are looked at).

    `golden`: a saved good copy to compare with. `vram_size_bytes`: makes the NPS ranges checkable. `driver_copy`: the
    bytes come from the bound driver's debugfs; amdgpu changes IP records in place, so their checksum is only a note."""
    binary = Binary(bytes(blob[:MAX_BLOB_BYTES]), driver_copy=driver_copy)
    binary.check()
    records = Records(binary)
    ip_map = _assemble(binary, records, vram_size_bytes)
    if binary.header is not None and binary.header.version[0] == 0 and records.gc_version < _GFX10:
        binary.book.header("header version 0 is unknown on this family of chips", "1 or 2", 0, 4, 6)
    if golden is not None:
        _compare(binary, golden)
    trusted = records.sound and Table.IP_DISCOVERY not in binary.book.broken
    return Validation(
        findings=_closed(binary),
        ip_map=ip_map if trusted else None,
        salvaged=None if trusted else ip_map,
        header=binary.header,
        tables=tuple(binary.tables[index] for index in sorted(binary.tables)),
        left_out=binary.book.left_out,
    )


def _assemble(binary: Binary, records: Records, vram_size_bytes: int | None) -> IpMap | None:
    """Everything that could be read, sound or not; None when there is no record."""
    harvested = read_harvest(binary, records)
    gc, vcn = read_gc(binary, records), read_vcn(binary, records)
    mall, nps = read_mall(binary), read_nps(binary, vram_size_bytes)
    if not records.list:
        return None
    made = IpMap(records.instances(harvested), records.num_dies, records.version, gc, vcn, mall, nps)
    if harvested and records.needs_all:
        check_harvest(binary, made)
    return made


def _compare(binary: Binary, golden: bytes) -> None:
    """How far the bytes are from the good copy: in the signature's finding if there is one, else as its own note."""
    difference = diff(golden, binary.blob)
    if difference.same:
        return
    for number, finding in enumerate(binary.book.findings):
        if finding.code == SIGNATURE_CODE:
            seen = f"{finding.seen}; against the saved good copy {difference}"
            binary.book.findings[number] = replace(finding, seen=seen)
            return
    shown = [span(part.offset, part.offset + part.length) for part in difference.ranges[:4]]
    more = len(difference.ranges) - len(shown) + difference.more_ranges
    where = f"{', '.join(difference.tables)}: {', '.join(shown)}" + f" and {more} more" * bool(more)
    what = "differs from the saved good copy"
    binary.book.add(
        "amd.discovery.changed", Severity.NOTE, what, "no byte differs", str(difference), where, NEXT_CHANGED
    )


def _closed(binary: Binary) -> tuple[Finding, ...]:
    left_out = binary.book.left_out
    if not left_out:
        return tuple(binary.book.findings)
    what = f"{left_out} more findings are not listed"
    rest = Finding("amd.discovery.more", Severity.NOTE, what, where="discovery binary", next=NEXT)
    return (*binary.book.findings, rest)
