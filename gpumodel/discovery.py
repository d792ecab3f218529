"""The IP discovery binary, written: what boot firmware leaves in the last 64 KiB of VRAM.

Source: Linux v7.3 drivers/gpu/drm/amd/include/discovery.h (layouts), amdgpu/amdgpu_discovery.c (checksums);
hardware/amd-discovery.md sections 2 to 5. All fields little-endian, structures packed, offsets and sizes in bytes,
register bases in dwords. Written without a look at our own parser: tests send the one into the other."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

BINARY_SIGNATURE = 0x28211407
TABLE_NAMES = ("IP_DISCOVERY", "GC", "HARVEST_INFO", "VCN_INFO", "MALL_INFO", "NPS_INFO")
LIST_OFFSET_V1 = 0x0C
LIST_OFFSET_V2 = 0x10
CHECKSUM_FROM = 0x0A  # the binary's checksum covers everything behind itself
MAX_DIES = 16
HARVEST_SLOTS = 32
VCN_SLOTS = 4
NPS_SLOTS = 12

GC_ID, VCN_ID, MALL_ID, NPS_ID = 0x4347, 0x004E4356, 0x4C4C414D, 0x0053504E
IPDS_SIGNATURE, HARVEST_SIGNATURE = 0x53445049, 0x56524148
REAL_TABLE_ID = 0x62FFBE5E  # ip_discovery_header.id of every binary that AMD ships as a file

# Payload words of gc_info_vX_Y behind its 12-byte header.
GC_WORDS = {(1, 0): 19, (1, 1): 22, (1, 2): 30, (1, 3): 38, (2, 0): 17, (2, 1): 24}
MALL_WORDS = 9


@dataclass(frozen=True, slots=True)
class IpRecord:
    """One IP instance. `low_nibble` and `high_nibble` share byte 7: harvest and reserved in table versions 1 and 2,
    sub-revision and variant from version 3 on."""

    hw_id: int
    instance: int
    major: int
    minor: int
    revision: int
    bases: tuple[int, ...]
    low_nibble: int = 0
    high_nibble: int = 0


@dataclass(frozen=True, slots=True)
class GcInfo:
    """gc_info: `words` are the payload; their number follows from the version (GC_WORDS)."""

    major: int
    minor: int
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Harvest:
    """Harvested instances as (hw_id, instance), at most 32."""

    entries: tuple[tuple[int, int], ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class VcnInfo:
    """Per VCN instance: (instance, fuse bits)."""

    instances: tuple[tuple[int, int], ...] = ()
    major: int = 1
    minor: int = 0


@dataclass(frozen=True, slots=True)
class MallInfo:
    """Nine payload words, the same number in versions 1.0 and 2.0."""

    words: tuple[int, ...]
    major: int = 1
    minor: int = 0


@dataclass(frozen=True, slots=True)
class NpsInfo:
    """Memory partitions: (base, limit) addresses, limit included."""

    nps_type: int
    ranges: tuple[tuple[int, int], ...]
    major: int = 1
    minor: int = 0


@dataclass(frozen=True, slots=True)
class DiscoverySpec:
    """Everything that goes into one binary. `dies`: IP records per die. A table that is None is absent (offset 0).

    `list_entries`: length of the table list of a version 2 header; versions 0 and 1 always have six."""

    dies: tuple[tuple[IpRecord, ...], ...]
    header_major: int = 1
    header_minor: int = 0
    ip_version: int = 3
    base_64bit: bool = False
    table_id: int = REAL_TABLE_ID
    gc: GcInfo | None = None
    harvest: Harvest | None = field(default_factory=Harvest)
    vcn: VcnInfo | None = None
    mall: MallInfo | None = None
    nps: NpsInfo | None = None
    list_entries: int = len(TABLE_NAMES)


def checksum(data: bytes | bytearray) -> int:
    """The only checksum of the format: sum of bytes modulo 65536."""
    return sum(data) & 0xFFFF


def encode(spec: DiscoverySpec) -> bytes:
    """The whole binary with all sums. Tables follow each other without gaps, as in the binaries that AMD ships.

    Raises ValueError when something does not fit its field or the format has no room for it."""
    list_offset, entries = _table_list(spec)
    first_table = list_offset + 8 * entries
    tables = _tables(spec, first_table)
    if any(tables[index] for index in range(entries, len(tables))):
        raise ValueError(f"a table list of {entries} has no room for {TABLE_NAMES[entries]} or a later table")
    blob = bytearray(first_table)
    for index, data in enumerate(tables[:entries]):
        if data:
            _pack_into("<HHHH", blob, list_offset + 8 * index, len(blob), checksum(data), len(data), 0)
            blob += data
    if spec.header_major == 2:
        _pack_into("<HH", blob, LIST_OFFSET_V1, entries, 0)
    _pack_into("<IHHHH", blob, 0, BINARY_SIGNATURE, spec.header_major, spec.header_minor, 0, len(blob))
    _pack_into("<H", blob, 8, checksum(blob[CHECKSUM_FROM:]))
    return bytes(blob)


def _table_list(spec: DiscoverySpec) -> tuple[int, int]:
    if spec.header_major in (0, 1):
        return LIST_OFFSET_V1, len(TABLE_NAMES)
    if spec.header_major == 2:
        return LIST_OFFSET_V2, spec.list_entries
    raise ValueError(f"header version {spec.header_major}: 0, 1 and 2 exist")


def _tables(spec: DiscoverySpec, first_table: int) -> list[bytes]:
    return [
        _ip_table(spec, first_table),
        _gc_table(spec.gc) if spec.gc else b"",
        _harvest_table(spec.harvest) if spec.harvest else b"",
        _vcn_table(spec.vcn) if spec.vcn else b"",
        _mall_table(spec.mall) if spec.mall else b"",
        _nps_table(spec.nps) if spec.nps else b"",
    ]


def _ip_table(spec: DiscoverySpec, table_offset: int) -> bytes:
    if not 1 <= spec.ip_version <= 4:
        raise ValueError(f"IP table version {spec.ip_version}: 1 to 4 exist")
    if spec.base_64bit and spec.ip_version < 4:
        raise ValueError(f"64-bit bases need IP table version 4, not {spec.ip_version}")
    if len(spec.dies) > MAX_DIES:
        raise ValueError(f"{len(spec.dies)} dies: at most {MAX_DIES}")
    body = bytearray()
    die_info = bytearray(4 * MAX_DIES)
    for die, records in enumerate(spec.dies):
        _pack_into("<HH", die_info, 4 * die, die, table_offset + 80 + len(body))
        body += _pack("<HH", die, len(records))
        for record in records:
            body += _ip_record(record, spec.base_64bit)
    head = _pack("<IHHIH", IPDS_SIGNATURE, spec.ip_version, 80 + len(body), spec.table_id, len(spec.dies))
    return head + bytes(die_info) + bytes((int(spec.base_64bit), 0)) + bytes(body)


def _ip_record(record: IpRecord, base_64bit: bool) -> bytes:
    if not (0 <= record.low_nibble <= 15 and 0 <= record.high_nibble <= 15):
        raise ValueError(f"hw_id {record.hw_id}[{record.instance}]: a nibble holds 0 to 15")
    nibbles = record.high_nibble << 4 | record.low_nibble
    count = len(record.bases)
    head = (record.hw_id, record.instance, count, record.major, record.minor, record.revision, nibbles)
    return _pack(f"<H6B{count}{'Q' if base_64bit else 'I'}", *head, *record.bases)


def _gc_table(gc: GcInfo) -> bytes:
    count = GC_WORDS.get((gc.major, gc.minor))
    if count is None:
        raise ValueError(f"GC table version {gc.major}.{gc.minor} is not known")
    return _info_table(GC_ID, gc.major, gc.minor, gc.words, count)


def _mall_table(mall: MallInfo) -> bytes:
    return _info_table(MALL_ID, mall.major, mall.minor, mall.words, MALL_WORDS)


def _info_table(table_id: int, major: int, minor: int, words: tuple[int, ...], count: int) -> bytes:
    if len(words) != count:
        raise ValueError(f"table {table_id:#x} v{major}.{minor} has {count} words, not {len(words)}")
    return _pack(f"<IHHI{count}I", table_id, major, minor, 12 + 4 * count, *words)


def _harvest_table(harvest: Harvest) -> bytes:
    if len(harvest.entries) > HARVEST_SLOTS:
        raise ValueError(f"{len(harvest.entries)} harvest entries: at most {HARVEST_SLOTS}")
    body = b"".join(_pack("<HBB", hw_id, instance, 0) for hw_id, instance in harvest.entries)
    return _pack("<II", HARVEST_SIGNATURE, harvest.version) + body.ljust(4 * HARVEST_SLOTS, b"\0")


def _vcn_table(vcn: VcnInfo) -> bytes:
    if len(vcn.instances) > VCN_SLOTS:
        raise ValueError(f"{len(vcn.instances)} VCN instances: at most {VCN_SLOTS}")
    head = _pack("<IHHII", VCN_ID, vcn.major, vcn.minor, 96, len(vcn.instances))
    body = b"".join(_pack("<IIII", instance, fuses, 0, 0) for instance, fuses in vcn.instances)
    return head + body.ljust(16 * VCN_SLOTS + 16, b"\0")


def _nps_table(nps: NpsInfo) -> bytes:
    if len(nps.ranges) > NPS_SLOTS:
        raise ValueError(f"{len(nps.ranges)} memory partitions: at most {NPS_SLOTS}")
    head = _pack("<IHHIII", NPS_ID, nps.major, nps.minor, 212, nps.nps_type, len(nps.ranges))
    body = b"".join(_pack("<QQ", base, limit) for base, limit in nps.ranges)
    return head + body.ljust(16 * NPS_SLOTS, b"\0")


def _pack(layout: str, *values: int) -> bytes:
    try:
        return struct.pack(layout, *values)
    except struct.error as error:
        raise ValueError(f"{', '.join(f'{value:#x}' for value in values)} does not fit {layout!r}: {error}") from error


def _pack_into(layout: str, blob: bytearray, offset: int, *values: int) -> None:
    data = _pack(layout, *values)
    blob[offset : offset + len(data)] = data
