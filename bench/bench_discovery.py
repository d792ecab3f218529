"""Parse and validate a table of 113 IPs in the shape of an MI350X's, against a bare struct walk of the same bytes."""

from __future__ import annotations

import struct

from amdriver.discovery import validate
from bench.harness import Row, compare
from tests.fuzz.discovery_blobs import build, mi350x


def walk(blob: bytes) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """What a parser cannot do without: each record's header and bases, unchecked."""
    table = struct.unpack_from("<H", blob, 0x0C)[0]
    at = struct.unpack_from("<H", blob, table + 16)[0]
    count = struct.unpack_from("<HH", blob, at)[1]
    at += 4
    records = []
    for _ in range(count):
        head = struct.unpack_from("<HBBBBBB", blob, at)
        bases = struct.unpack_from(f"<{head[2]}I", blob, at + 8)
        records.append((head, bases))
        at += 8 + 4 * head[2]
    return records


def rows() -> list[Row]:
    blob = build(mi350x())
    count = len(walk(blob))
    checked = validate(blob)
    assert checked.ok and checked.ip_map is not None and len(checked.ip_map.instances) == count
    return [
        compare(
            f"discovery: parse and validate {count} IPs, {len(blob)} bytes",
            lambda: validate(blob),
            lambda: walk(blob),
            goal="<= 4x",
            peer="tinygrad 0.14.0, unvalidated: 0.7-1.3 ms, 9-16x",
        )
    ]
