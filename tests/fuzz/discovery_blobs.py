"""A minimal builder of discovery binaries for tests, the fuzzer and the benchmark: bytes from amd-discovery.md sections
2 to 5, nothing taken from the parser. Everything can be set wrong on purpose; checksums are right unless asked."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SIGNATURE = 0x28211407
MAGIC = {0: 0x53445049, 1: 0x4347, 2: 0x56524148, 3: 0x004E4356, 4: 0x4C4C414D, 5: 0x0053504E}


@dataclass(frozen=True)
class Ip:
    hw_id: int
    instance: int = 0
    version: tuple[int, int, int] = (1, 0, 0)
    bases: tuple[int, ...] = (0x1000,)
    nibbles: int = 0


@dataclass(frozen=True)
class Spec:
    """What goes into a binary. `raw` replaces whole tables; a table whose value is None is absent."""

    major: int = 1
    minor: int = 0
    version: int = 3
    wide: bool = False
    dies: Sequence[Sequence[Ip]] = ((Ip(11),),)
    gc: bytes | None = None
    harvest: Sequence[tuple[int, int]] | None = ()
    vcn: bytes | None = None
    mall: bytes | None = None
    nps: bytes | None = None
    raw: Mapping[int, bytes] = field(default_factory=dict)
    num_tables: int = 6


def byte_sum(data: bytes | bytearray) -> int:
    return sum(data) & 0xFFFF


def record(ip: Ip, wide: bool = False) -> bytes:
    head = struct.pack("<HBBBBBB", ip.hw_id, ip.instance, len(ip.bases), *ip.version, ip.nibbles)
    return head + struct.pack(f"<{len(ip.bases)}{'Q' if wide else 'I'}", *ip.bases)


def ipds(spec: Spec, at: int) -> bytes:
    bodies, offsets, place = b"", [], at + 80
    for die, ips in enumerate(spec.dies):
        body = struct.pack("<HH", die, len(ips)) + b"".join(record(ip, spec.wide) for ip in ips)
        offsets.append((die, place))
        place += len(body)
        bodies += body
    listed = b"".join(struct.pack("<HH", *pair) for pair in offsets).ljust(64, b"\0")[:64]
    size = 80 + len(bodies)
    head = struct.pack("<IHHIH", MAGIC[0], spec.version, size & 0xFFFF, 0x62FFBE5E, len(spec.dies))
    return head + listed + struct.pack("<BB", spec.wide, 0) + bodies


def info(table: int, major: int, minor: int, body: bytes) -> bytes:
    """A table with the common 12-byte header."""
    return struct.pack("<IHHI", MAGIC[table], major, minor, 12 + len(body)) + body


def gc_v2_1(**changes: int) -> bytes:
    """What an XCC of this family may say; `changes` by field name."""
    first = {"num_se": 4, "num_cu_per_sh": 10, "num_sh_per_se": 1, "num_rb_per_se": 4, "num_tccs": 16, "num_gprs": 256}
    depths = {"num_max_gs_thds": 32, "gs_table_depth": 32, "gsprim_buff_depth": 1792, "parameter_cache_depth": 2048}
    waves = {"double_offchip_lds_buffer": 1, "wave_size": 64, "max_waves_per_simd": 8, "max_scratch_slots_per_cu": 32}
    tail = {"lds_size": 160, "num_sc_per_se": 1, "num_packer_per_sc": 4, "num_tcp_per_sh": 10, "tcp_size_per_cu": 32}
    caches = {"num_sdp_interface": 16, "num_cu_per_sqc": 2, "instruction_cache_size_per_sqc": 64}
    values = first | depths | waves | tail | caches | {"scalar_data_cache_size_per_sqc": 16, "tcc_size": 4096}
    values.update(changes)
    return info(1, 2, 1, struct.pack("<24I", *values.values()))


def vcn_v1(fuses: Sequence[int] = (0, 0, 0, 0), count: int | None = None) -> bytes:
    entries = b"".join(struct.pack("<IIII", n, bits, 0, 0) for n, bits in enumerate(fuses)).ljust(64, b"\0")
    return info(3, 1, 0, struct.pack("<I", len(fuses) if count is None else count) + entries + bytes(16))


def mall_v1(size: int = 4096, present: int = 0, half: int = 0) -> bytes:
    return info(4, 1, 0, struct.pack("<IIII", size, present, half, 0) + bytes(20))


def mall_v2(size: int = 2 << 20) -> bytes:
    return info(4, 2, 0, struct.pack("<I", size) + bytes(32))


def nps_v1(ranges: Sequence[tuple[int, int]], nps_type: int = 1, count: int | None = None) -> bytes:
    body = struct.pack("<II", nps_type, len(ranges) if count is None else count)
    body += b"".join(struct.pack("<QQ", *pair) for pair in ranges).ljust(192, b"\0")
    return info(5, 1, 0, body)


def harvest(entries: Sequence[tuple[int, int]]) -> bytes:
    listed = b"".join(struct.pack("<HBB", hw_id, instance, 0) for hw_id, instance in entries)
    return struct.pack("<II", MAGIC[2], 0) + listed.ljust(128, b"\0")[:128]


def build(spec: Spec) -> bytes:
    """The whole binary with every checksum right."""
    tables_at = 0x10 if spec.major == 2 else 0x0C
    place = tables_at + 8 * spec.num_tables
    bodies = [
        ipds(spec, place),
        spec.gc,
        harvest(spec.harvest) if spec.harvest is not None else None,
        spec.vcn,
        spec.mall,
        spec.nps,
    ]
    entries, data = b"", b""
    for index, made in enumerate(bodies[: spec.num_tables]):
        body = spec.raw.get(index, made)
        if body is None:
            entries += bytes(8)
            continue
        entries += struct.pack("<HHHH", place + len(data), byte_sum(body), len(body), 0)
        data += body
    entries += bytes(8 * max(0, spec.num_tables - len(bodies)))
    middle = struct.pack("<HH", spec.num_tables, 0) if spec.major == 2 else b""
    tail = middle + entries + data
    return seal(struct.pack("<IHHHH", SIGNATURE, spec.major, spec.minor, 0, 12 + len(tail)) + tail)


def seal(blob: bytes, tables: bool = False) -> bytes:
    """The same bytes with the whole-binary checksum made right, and with `tables` every table's before it (v1 list)."""
    data = bytearray(blob)
    if tables:
        wide_list = struct.unpack_from("<H", data, 4)[0] == 2
        at = 0x10 if wide_list else 0x0C
        for index in range(6):
            offset, _, size, _ = struct.unpack_from("<HHHH", data, at + 8 * index)
            if offset:
                struct.pack_into("<H", data, at + 8 * index + 2, byte_sum(data[offset : offset + size]))
    size = struct.unpack_from("<H", data, 10)[0]
    struct.pack_into("<H", data, 8, byte_sum(data[10:size]))
    return bytes(data)


def mi350x(*, harvested: Sequence[tuple[int, int]] = (), version: int = 3, wide: bool = False, major: int = 1) -> Spec:
    """113 IPs in the shape of an MI350X: 8 XCC, 16 SDMA, 4 of what each AID has, and the small ones around them."""
    ips = [Ip(35, n, (1, 8, 1), (0xC20 + n * 0x20000, 0x2408C00)) for n in range(4)]
    nbif = (0, 0x14, 0xD20, 0x10400, 0x241B000, 0x4040000, 0, 0, 0x6000000)
    ips += [Ip(108, n, (7, 9, 1), nbif) for n in range(4)]
    ips += [Ip(46, n, (4, 6, 2), (0x7000, 0x240B800, 0x7C00000)) for n in range(4)]
    ips += [Ip(11, n, (9, 5, 0), (0x2000 + n * 0x10000, 0xA000 + n * 0x10000)) for n in range(8)]
    ips += [Ip(41, n, (4, 4, 5), (0xF20, 0x240A400)) for n in range(4)]
    ips += [Ip(34, n, (1, 8, 1), (0x18000 + n * 0x20000, 0x2408800)) for n in range(4)]
    ips += [Ip(255, n, (13, 0, 12), (0x16000, 0xDC0000, 0xE00000, 0xE40000, 0x243FC00)) for n in range(4)]
    ips += [Ip(1, n, (13, 0, 12), (0x16000, 0xDC0000, 0xE00000, 0xE40000, 0x243FC00)) for n in range(4)]
    ips += [Ip(40, n, (4, 4, 5), (0x10A0, 0x240A000)) for n in range(4)]
    sdma = (0x1260, 0x1860, 0x19400, 0x19800)
    ips += [Ip(42, n, (4, 4, 4), (sdma[n % 4] + n // 4 * 0x20000, 0x40A800)) for n in range(16)]
    ips += [Ip(4, n, (13, 0, 3), (0x16800, 0x16A00, 0x2401000, 0x3440000)) for n in range(4)]
    ips += [Ip(3, n, (13, 0, 3), (0x16600, 0x2400C00)) for n in range(4)]
    ips += [Ip(150, n, (12, 5, 0), (0x14000 + n * 0x4000, 0x54000, 0x2425800)) for n in range(32)]
    ips += [Ip(200, n, (6, 4, 1), (0x12A0, 0x2400000)) for n in range(8)]
    ips += [Ip(12, n, (5, 0, 1), (0x7800, 0x7E00, 0x2403000)) for n in range(4)]
    ips += [Ip(66, 0, (6, 4, 1)), Ip(6, 0), Ip(5, 0), Ip(80, 0), Ip(70, 0)]
    return Spec(
        major=major,
        version=version,
        wide=wide,
        dies=(tuple(ips),),
        gc=gc_v2_1(),
        harvest=tuple(harvested),
        vcn=vcn_v1(),
        mall=mall_v2(),
        nps=nps_v1(((0, (288 << 30) - 1),)),
    )
