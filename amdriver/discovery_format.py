"""How the IP discovery binary is laid out, and the notebook into which its checks write what they find.

Source: Linux v7.3 include/discovery.h; amdgpu/amdgpu_discovery.h (sizes); amd-discovery.md sections 2 to 5. All values
little-endian, all structures packed; offsets in bytes from the start of the binary."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from base.findings import Finding, Severity

BINARY_SIGNATURE = 0x28211407
COPY_SIZE_BYTES = 0x2800  # how much the kernel copies: DISCOVERY_TMR_SIZE
FROM_VRAM_END_BYTES = 0x10000  # where the copy lies: DISCOVERY_TMR_OFFSET
MAX_BLOB_BYTES = 0x10000  # every offset and every size in it is 16 bits wide
PSP_HEADER_BYTES = 256  # stands in front of it in flash images

HEADER = struct.Struct("<IHHHH")  # signature, major, minor, checksum, size
TABLE_INFO = struct.Struct("<HHHH")  # offset, checksum, size, padding
IPDS = struct.Struct("<IHHIH")  # signature, version, size, id, num_dies
DIE = struct.Struct("<HH")  # die_id, num_ips
RECORD = struct.Struct("<HBBBBBB")  # hw_id, instance, num_bases, major, minor, revision, two nibbles
INFO = struct.Struct("<IHHI")  # id, major, minor, size: GC, VCN, MALL and NPS begin alike
HARVEST_ENTRY = struct.Struct("<HBB")
VCN_ENTRY = struct.Struct("<IIII")
NPS_RANGE = struct.Struct("<QQ")

CHECKSUM_FROM = 0x0A  # right behind the stored checksum
V1_TABLES_AT, V2_TABLES_AT = 0x0C, 0x10
IPDS_BYTES = 80
IPDS_FLAGS_AT = 0x4E
HARVEST_BYTES = 136
HEADER_NAME = "binary header"

NEXT = "gpumend discovery diff GOOD BAD; on a GPU a mode1 (in a hive: of all members) makes the firmware write it anew"
NEXT_ONES = "gpumend probe: is the function off the bus, memory decoding off, or the BAR dead?"
NEXT_ZEROS = "wait for the boot firmware and read again; if it stays so: mode1 (in a hive: of all members)"
NEXT_CHANGED = "gpumend discovery diff; after a firmware update or a change of NPS mode: gpumend discovery save"

LONG_RUN_BYTES = 256  # so many equal bytes are not a table of which a little was overwritten
MAX_FINDINGS = 64
MAX_NOTES = 24


class Table(IntEnum):
    """Index of a table in the header's list."""

    IP_DISCOVERY = 0
    GC = 1
    HARVEST = 2
    VCN = 3
    MALL = 4
    NPS = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known about one kind of table. `code` is the finding that its content gets."""

    name: str
    code: str
    magic: int
    least_bytes: int


KINDS: tuple[Kind, ...] = (  # by Table
    Kind("IP discovery table", "amd.discovery.ip", 0x53445049, IPDS_BYTES),
    Kind("GC table", "amd.discovery.gc", 0x4347, 80),
    Kind("harvest table", "amd.discovery.harvest", 0x56524148, HARVEST_BYTES),
    Kind("VCN table", "amd.discovery.vcn", 0x004E4356, 96),
    Kind("MALL table", "amd.discovery.mall", 0x4C4C414D, 48),
    Kind("NPS table", "amd.discovery.nps", 0x0053504E, 212),
)


@dataclass(frozen=True, slots=True)
class Header:
    """The binary header; `computed` is the checksum over [0x0A, size_bytes), None if not so many bytes are there."""

    version: tuple[int, int]
    checksum: int
    computed: int | None
    size_bytes: int
    tables_at: int
    num_tables: int

    @property
    def end(self) -> int:
        return self.tables_at + self.num_tables * TABLE_INFO.size

    @property
    def drift(self) -> int | None:
        """By how much the bytes sum up to more than what is stored, modulo 65536."""
        return None if self.computed is None else (self.computed - self.checksum) & 0xFFFF


class TableInfo(NamedTuple):
    """One entry of the header's table list. `computed` None: the table reaches out of the binary, nothing to sum."""

    kind: int
    name: str
    offset: int
    size_bytes: int
    checksum: int
    computed: int | None

    @property
    def end(self) -> int:
        return self.offset + self.size_bytes

    @property
    def drift(self) -> int:
        """Like Header.drift; 0 when nothing could be summed."""
        return 0 if self.computed is None else (self.computed - self.checksum) & 0xFFFF


def byte_sum(data: bytes | memoryview) -> int:
    """Sum of all bytes modulo 65536, the one checksum of this format.

    Adler-32's low half is 1 + the sum modulo 65521, which a piece of 256 bytes cannot reach: C code does the summing."""
    adler = zlib.adler32
    view = memoryview(data)
    pieces = range(0, len(view), 256)
    return (sum([adler(view[at : at + 256]) & 0xFFFF for at in pieces]) - len(pieces)) & 0xFFFF


def span(start: int, end: int) -> str:
    """`bytes 0x3c..0x253`: both included, as people read it."""
    return f"bytes {start:#x}..{max(start, end - 1):#x}"


def leading_run(data: bytes) -> int:
    """How many bytes from the start are the same as the first."""
    return len(data) - len(data.lstrip(data[:1]))


def describe_bytes(data: bytes) -> str:
    """What foreign data looks like, in a few words: `all ones`, `0xdeadbeef repeated ...`, or its first bytes."""
    if not data:
        return "no bytes"
    run = leading_run(data)
    name = {0x00: "zeros", 0xFF: "ones"}.get(data[0])
    if name and run == len(data):
        return f"all {name}"
    if name and run >= LONG_RUN_BYTES:
        return f"{run} bytes of {name}, then {data[run : run + 8].hex(' ')} ..."
    dword = data[:4]
    if len(data) >= 16 and data.startswith(len(data) // 4 * dword):
        return f"{int.from_bytes(dword, 'little'):#010x} repeated over {len(data)} bytes"
    return data[:16].hex(" ") + (" ..." if len(data) > 16 else "")


class Notebook:
    """Collects findings up to a limit; notes have a smaller one, so that they cannot crowd out errors.

    `broken` holds tables whose checksum is wrong: what else is odd in them follows from it, and becomes a note."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.broken: set[int] = set()
        self.left_out = 0
        self._notes = 0

    def add(self, code: str, severity: Severity, what: str, expected: str, seen: str, where: str, next_: str) -> None:
        is_note = severity is Severity.NOTE
        if len(self.findings) >= MAX_FINDINGS or (is_note and self._notes >= MAX_NOTES):
            self.left_out += 1
            return
        self._notes += is_note
        self.findings.append(Finding(code, severity, what, expected, seen, where, next_))

    def header(
        self, what: str, expected: object, seen: object, start: int, end: int, severity: Severity = Severity.ERROR
    ) -> None:
        """Something in the binary header."""
        where = f"{HEADER_NAME}, {span(start, end)}"
        self.add("amd.discovery.header", severity, what, f"{expected}", f"{seen}", where, NEXT)

    def frame(self, info: TableInfo, what: str, expected: object, seen: object, where: str = "") -> None:
        """A table's place, size or signature."""
        severity = Severity.NOTE if info.kind in self.broken else Severity.ERROR
        where = where or f"{info.name}, {span(info.offset, info.end)}"
        self.add("amd.discovery.table", severity, what, f"{expected}", f"{seen}", where, NEXT)

    def content(
        self,
        table: int,
        what: str,
        expected: object,
        seen: object,
        start: int,
        end: int,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Something within a table."""
        kind = KINDS[table]
        if table in self.broken:
            severity = Severity.NOTE
        self.add(kind.code, severity, what, f"{expected}", f"{seen}", f"{kind.name}, {span(start, end)}", NEXT)
