"""Small firmware files for tests, written from the layouts of hardware sheets and kernel header, not by our parser."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

ARRAY = 0x100


def payload(size: int, version: int, *, total: int | None = None) -> bytes:
    """A payload with a `$PS1` wrapper: 0x100 header, body, 0x200 signature."""
    head = bytearray(0x100)
    head[0x10:0x14] = b"$PS1"
    struct.pack_into("<I", head, 0x14, size - 0x300)
    struct.pack_into("<I", head, 0x30, 1)
    struct.pack_into("<I", head, 0x60, version)
    struct.pack_into("<I", head, 0x6C, size if total is None else total)
    return bytes(head) + bytes((index * 7 + version) & 0xFF for index in range(size - 0x100))


def container(
    version: tuple[int, int],
    fields: Sequence[int],
    body: bytes,
    *,
    header_bytes: int | None = None,
    ip: tuple[int, int] = (13, 0),
    ucode_version: int = 0,
    ucode_bytes: int | None = None,
    array: int = ARRAY,
    rule: str = "A",
) -> bytes:
    """A whole file: common header, `fields` as u32 from 0x20, `body` from `array` on, checksum by `rule` (A, B or "")."""
    extra = struct.pack(f"<{len(fields)}I", *fields)
    data = bytearray(array + len(body))
    struct.pack_into(
        "<IIHHHHIII",
        data,
        0,
        len(data),
        0x20 + len(extra) if header_bytes is None else header_bytes,
        *version,
        *ip,
        ucode_version,
        len(body) if ucode_bytes is None else ucode_bytes,
        array,
    )
    data[0x20 : 0x20 + len(extra)] = extra
    data[array:] = body
    return sealed(bytes(data), rule)


def sealed(data: bytes, rule: str = "A") -> bytes:
    """`data` with a fresh checksum."""
    if not rule:
        return data
    start = 0x20 if rule == "A" else struct.unpack_from("<I", data, 0x18)[0]
    return data[:0x1C] + struct.pack("<I", zlib.crc32(data[start:])) + data[0x20:]


def patched(data: bytes, offset: int, *values: int) -> bytes:
    """`data` with u32 values written at `offset`; the checksum (rule A) is made right again."""
    return sealed(data[:offset] + struct.pack(f"<{len(values)}I", *values) + data[offset + 4 * len(values) :])


def packed(
    entries: Sequence[tuple[int, int, int]],
    *,
    minor: int = 0,
    aux_index: int = 0,
    ucode_version: int = 0,
) -> bytes:
    """A SOS or TA file of version 2.x: `entries` are (type, version, size)."""
    array = 0x200
    table: list[int] = []
    body = b""
    for kind, version, size in entries:
        table += [kind, version, len(body), size]
        body += payload(size, version)
    lead = [len(entries)] + ([aux_index] if minor == 1 else [])
    return container(
        (2, minor),
        [*lead, *table],
        body,
        header_bytes=0x20 + 4 * len(lead),
        ucode_version=ucode_version,
        array=array,
    )


SOS_TYPES = (2, 1, 3, 7, 8, 9, 10, 6)


def sos(version: int = 0x00360260, *, aux_version: int | None = None, size: int = 0x320) -> bytes:
    """A SOS file with one set, or with two when `aux_version` is given."""
    entries = [(kind, version, size) for kind in SOS_TYPES]
    if aux_version is None:
        return packed(entries, ucode_version=version)
    entries += [(kind, aux_version, size) for kind in SOS_TYPES]
    return packed(entries, minor=1, aux_index=len(SOS_TYPES), ucode_version=version)


def ta(types: Sequence[int] = (2, 3, 8), version: int = 0x20000014) -> bytes:
    return packed([(kind, version, 0x400) for kind in types])


def mec(version: int = 0xC2, *, code: int = 0x500, table: int = 0x400) -> bytes:
    body = payload(code, version) + payload(table, version)
    return container((1, 0), [50, code // 4, table // 4], body, ip=(9, 4), ucode_version=version)


def sdma(version: int = 0x1B, size: int = 0x800) -> bytes:
    fields = [44, 0, (size - 0x500) // 4, 0x80]
    return container((1, 0), fields, payload(size, version), ip=(4, 4), ucode_version=version)


def vcn(version: int = 0x09118020, size: int = 0x800) -> bytes:
    return container((1, 0), [], payload(size, version), ip=(4, 0), ucode_version=version, rule="B")


def smu(ids: Sequence[int] = (0x50325341, 0x50325358, 0x50325303)) -> bytes:
    size = 0x480
    first = ARRAY + 12 * len(ids)
    table = b"".join(struct.pack("<III", kind, first + size * index, size) for index, kind in enumerate(ids))
    body = table + b"".join(payload(size, 0x70001 + index) for index in range(len(ids)))
    return container((2, 1), [0x20000, len(ids), ARRAY], body, ucode_bytes=0, rule="")


def rlc(version: int = 0x46, minor: int = 1) -> bytes:
    """An RLC file: 2.1 with register lists and the CNTL, GPM, SRM lists; later minors with their parts behind."""
    parts = bytearray(payload(0x400, version))

    def part(size: int) -> tuple[int, int]:
        offset = ARRAY + len(parts)
        parts.extend(bytes([len(parts) & 0xFF]) * size)
        return size, offset

    fields = [1, 0, 0, 0, 0, 0, 0x5F, 0x60, 0xB0, 0xBA, *part(0xF4), *part(0x80), 0, 0, 0, 0, 0x24]
    for size in (0x40, 0x60, 0x80):
        fields += [4, 0, *part(size)]
    if minor >= 2:
        fields += [*part(0x20), *part(0x24)]
    if minor in (3, 4):
        fields += [7, 1, *part(0x28), 8, 1, *part(0x2C)]
    if minor == 4:
        for size in (0x10, 0x14, 0x18, 0x1C, 0x20):
            fields += part(size)
    if minor == 5:
        fields += [*part(0x30), *part(0x34)]
    array_bytes = 0x400
    return container((2, minor), fields, bytes(parts), ip=(9, 4), ucode_version=version, ucode_bytes=array_bytes)


def chip_folder() -> dict[str, bytes]:
    """A whole, valid set of files of GC 9.4.3 by name."""
    return {
        "psp_13_0_6_sos.bin": sos(aux_version=0x0036024E),
        "psp_13_0_6_ta.bin": ta(),
        "smu_13_0_6.bin": smu(),
        "gc_9_4_3_mec.bin": mec(),
        "gc_9_4_3_rlc.bin": rlc(),
        "sdma_4_4_2.bin": sdma(),
        "vcn_4_0_3.bin": vcn(),
    }
