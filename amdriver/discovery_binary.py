"""The outer shell of the discovery binary: signature, header, table list, bounds, every checksum.

Source: Linux v7.3 amdgpu/amdgpu_discovery.c (amdgpu_discovery_init, _table_check, _verify_npsinfo); what the kernel does
not check is from amd-discovery.md section 9, rows 2 to 7."""

from __future__ import annotations

from itertools import pairwise

from amdriver.discovery_format import (
    BINARY_SIGNATURE,
    CHECKSUM_FROM,
    COPY_SIZE_BYTES,
    HARVEST_BYTES,
    HEADER,
    HEADER_NAME,
    INFO,
    KINDS,
    LONG_RUN_BYTES,
    NEXT,
    NEXT_ONES,
    NEXT_ZEROS,
    PSP_HEADER_BYTES,
    TABLE_INFO,
    V1_TABLES_AT,
    V2_TABLES_AT,
    Header,
    Notebook,
    Table,
    TableInfo,
    byte_sum,
    describe_bytes,
    leading_run,
    span,
)
from base.findings import Severity

SIGNATURE_CODE = "amd.discovery.signature"


class Binary:
    """One blob, taken apart. After `check`, `usable(table)` says whether a table may be read at all."""

    def __init__(self, blob: bytes, *, driver_copy: bool = False) -> None:
        self.blob = blob
        self.book = Notebook()
        self.header: Header | None = None
        self.tables: dict[int, TableInfo] = {}
        self._unusable: set[int] = set()
        self._end = 0
        self.driver_copy = driver_copy

    def check(self) -> None:
        if not self._signature() or not self._header():
            return
        self._table_list()
        self._overlaps()
        self._whole_checksum()

    def usable(self, table: int) -> bool:
        """The table is there, within bounds, and carries its signature; its checksum may be wrong all the same."""
        return table in self.tables and table not in self._unusable

    def u16(self, at: int) -> int:
        return int.from_bytes(self.blob[at : at + 2], "little")

    def u32(self, at: int) -> int:
        return int.from_bytes(self.blob[at : at + 4], "little")

    # ---- signature

    def _signature(self) -> bool:
        """True if it makes sense to go on."""
        if len(self.blob) < HEADER.size:
            return self._no_table()
        if self.u32(0) == BINARY_SIGNATURE:
            return True
        if self.u32(PSP_HEADER_BYTES) == BINARY_SIGNATURE:
            seen = f"signature at {PSP_HEADER_BYTES:#x}; offsets below count from there"
            self.book.header("a PSP header stands in front, as in flash images", 0, seen, 0, 4, Severity.NOTE)
            self.blob = self.blob[PSP_HEADER_BYTES:]
            return len(self.blob) >= HEADER.size or self._no_table()
        if not self._rest_intact():
            return self._no_table()
        bits = (self.u32(0) ^ BINARY_SIGNATURE).bit_count()
        what = f"discovery signature is damaged ({bits} bit{'s' * (bits > 1)}); the rest is intact"
        self._signature_finding(what, f"{self.u32(0):#010x}; the checksum of what follows is right", NEXT)
        return True

    def _rest_intact(self) -> bool:
        checksum: int
        _, major, _, checksum, size = HEADER.unpack_from(self.blob)
        if major > 2 or not V1_TABLES_AT <= size <= len(self.blob):
            return False
        return byte_sum(memoryview(self.blob)[CHECKSUM_FROM:size]) == checksum

    def _no_table(self) -> bool:
        blob = self.blob[:COPY_SIZE_BYTES]
        seen, next_ = describe_bytes(blob), NEXT
        is_one_byte = bool(blob) and leading_run(blob) >= min(LONG_RUN_BYTES, len(blob))
        if not blob:
            what = "there is no discovery table: no bytes at all"
        elif is_one_byte and blob[0] == 0xFF:
            cause = "the path to VRAM is dead" if seen == "all ones" else "overwritten, or VRAM answers in part"
            what, next_ = f"discovery reads all ones: {cause}", NEXT_ONES
        elif is_one_byte and blob[0] == 0:
            what, next_ = "discovery reads all zeros: not written yet, or VRAM was cleared", NEXT_ZEROS
        elif len(blob) >= 4 and self.u32(0) == BINARY_SIGNATURE:
            what = f"the discovery table ends after {len(blob)} bytes, within its header"
        else:
            what = "the discovery table was overwritten: foreign data instead of its signature"
        self._signature_finding(what, seen, next_)
        return False

    def _signature_finding(self, what: str, seen: str, next_: str) -> None:
        where = f"{HEADER_NAME}, {span(0, 4)}"
        self.book.add(SIGNATURE_CODE, Severity.ERROR, what, f"{BINARY_SIGNATURE:#010x}", seen, where, next_)

    # ---- header

    def _header(self) -> bool:
        """True if the table list can be read."""
        size_there = len(self.blob)
        major: int
        _, major, minor, checksum, size = HEADER.unpack_from(self.blob)
        tables_at, count = V1_TABLES_AT, len(Table)
        if major == 2:
            tables_at, count = V2_TABLES_AT, self.u16(0x0C)
        computed = byte_sum(memoryview(self.blob)[CHECKSUM_FROM:size]) if size <= size_there else None
        self.header = Header((major, minor), checksum, computed, size, tables_at, count)
        self._end = min(size, size_there)
        self._versions(major, minor)
        if size > size_there:
            what = "the binary is cut off: binary_size is more than there is"
            self.book.header(what, f"{size} bytes", f"{size_there} bytes", 0x0A, 0x0C)
        elif size > COPY_SIZE_BYTES:
            what = "the binary is bigger than what the kernel copies"
            self.book.header(what, f"at most {COPY_SIZE_BYTES}", size, 0x0A, 0x0C, Severity.WARNING)
        room = (self._end - tables_at) // TABLE_INFO.size
        if major == 2 and not 1 <= count <= room:
            self.book.header("the number of tables does not fit the binary", f"1..{max(room, 1)}", count, 0x0C, 0x0E)
            return False
        if self.header.end > self._end:
            what = "the binary is too short for its own header"
            self.book.header(what, f"at least {self.header.end} bytes", f"{self._end} bytes", 0x0A, 0x0C)
            return False
        return major <= 2

    def _versions(self, major: int, minor: int) -> None:
        if major > 2:
            self.book.header("unknown version of the binary header", "major 0, 1 or 2", major, 4, 6)
        elif minor:
            severity = Severity.WARNING if major == 2 else Severity.ERROR
            self.book.header("unknown minor version of the binary header", 0, minor, 6, 8, severity)

    # ---- table list

    def _table_list(self) -> None:
        assert self.header is not None
        for index in range(self.header.num_tables):
            at = self.header.tables_at + index * TABLE_INFO.size
            offset, checksum, size, padding = TABLE_INFO.unpack_from(self.blob, at)
            if index >= len(KINDS):
                self._unknown_table(index, offset, size, at)
            elif offset:
                self._table(index, at, offset, checksum, size)
                if padding:
                    what = f"padding in the entry of the {KINDS[index].name} is set"
                    self.book.header(what, 0, f"{padding:#06x}", at + 6, at + 8, Severity.NOTE)
            elif checksum or size or padding:
                what = f"{KINDS[index].name} is absent, but its entry is not empty"
                seen = f"checksum {checksum:#06x}, size {size}"
                self.book.header(what, "all 0", seen, at, at + 8, Severity.WARNING)
        if Table.IP_DISCOVERY not in self.tables:
            at = self.header.tables_at
            self.book.header("there is no IP discovery table", "an offset", "offset 0", at, at + 8)

    def _fits(self, offset: int, size: int) -> bool:
        assert self.header is not None
        return self.header.end <= offset and offset + size <= self._end

    def _unknown_table(self, index: int, offset: int, size: int, at: int) -> None:
        if not offset:
            return
        seen = span(offset, offset + size)
        if self._fits(offset, size):
            what = f"table {index} is of a kind that is not known"
            self.book.header(what, f"tables 0..{len(KINDS) - 1}", seen, at, at + 8, Severity.NOTE)
        else:
            self.book.header(f"table {index} reaches out of the binary", f"within {self._end}", seen, at, at + 8)

    def _table(self, index: int, at: int, offset: int, checksum: int, listed: int) -> None:
        """Bounds, checksum, signature and size. What is summed is the size that the table itself tells.

        Where its signature is not, or that size does not fit, it is the size in the header."""
        kind = KINDS[index]
        if not self._fits(offset, INFO.size):
            self._out_of_bounds(TableInfo(index, kind.name, offset, listed, checksum, None), listed)
            return
        magic = self.u32(offset)
        own = self._own_size(index, offset) if magic == kind.magic else listed
        fits = self._fits(offset, own)
        size = own if fits else listed
        computed = byte_sum(memoryview(self.blob)[offset : offset + size]) if self._fits(offset, size) else None
        info = self.tables[index] = TableInfo(index, kind.name, offset, size, checksum, computed)
        if computed is not None and computed != checksum:
            self._table_checksum(info, at)
        if magic != kind.magic:
            self._unusable.add(index)
            self.book.frame(info, f"{kind.name} has a wrong signature", f"{kind.magic:#x}", f"{magic:#x}")
        if own != listed:
            what = f"{kind.name}: its own size is not the one in the header"
            self.book.frame(info, what, f"{listed} bytes ({HEADER_NAME})", f"{own} bytes")
        if not fits:
            self._out_of_bounds(info, own)
        elif own < kind.least_bytes:
            self._unusable.add(index)
            self.book.frame(info, f"{kind.name} is too short", f"at least {kind.least_bytes} bytes", f"{own} bytes")

    def _own_size(self, index: int, offset: int) -> int:
        if index == Table.IP_DISCOVERY:
            return self.u16(offset + 6)
        if index == Table.HARVEST:
            return HARVEST_BYTES
        return self.u16(offset + 8) if index == Table.GC else self.u32(offset + 8)

    def _out_of_bounds(self, info: TableInfo, size: int) -> None:
        assert self.header is not None
        self.tables[info.kind] = info
        self._unusable.add(info.kind)
        inside = info.offset < self.header.end
        what = f"{info.name} {'lies within the binary header' if inside else 'reaches out of the binary'}"
        seen = span(info.offset, info.offset + size)
        where = f"{HEADER_NAME} (offset and size of the {info.name}); {info.name}, {seen}"
        self.book.frame(info, what, f"within {span(self.header.end, self._end)}", seen, where)

    def _overlaps(self) -> None:
        for first, second in pairwise(sorted(self.tables.values(), key=lambda info: info.offset)):
            if first.end > second.offset:
                what = f"{first.name} and {second.name} overlap"
                self.book.frame(second, what, f"from {first.end:#x} on", f"from {second.offset:#x} on")

    # ---- checksums

    def _table_checksum(self, info: TableInfo, at: int) -> None:
        """A changed byte in the table moves both sums alike; a changed stored checksum moves them differently.

        amdgpu clears VCN's capability bits and cuts 64-bit bases in place: in its copy this is no error."""
        assert self.header is not None
        is_changed_by_driver = self.driver_copy and info.kind == Table.IP_DISCOVERY
        if not is_changed_by_driver:
            self.book.broken.add(info.kind)
        where = f"{info.name}, {span(info.offset, info.end)}"
        if self.header.drift not in (None, info.drift):
            where += f"; {HEADER_NAME} (checksum of the {info.name}), {span(at + 2, at + 4)}"
        self._checksum_finding(
            f"checksum of the {info.name} is wrong",
            f"{info.checksum:#06x} (stored at {at + 2:#x})",
            f"{info.computed:#06x} computed over {span(info.offset, info.end)}",
            where,
            Severity.NOTE if is_changed_by_driver else Severity.ERROR,
        )

    def _whole_checksum(self) -> None:
        assert self.header is not None
        header = self.header
        if not header.drift:
            return
        moved = [info for info in self.tables.values() if info.drift]
        names = ", ".join(info.name for info in moved)
        # Sums that agree may be chance when a table is not where the header says.
        in_place = bool(moved) and self._unusable.isdisjoint(info.kind for info in moved)
        in_tables = in_place and sum(info.drift for info in moved) & 0xFFFF == header.drift
        is_changed_by_driver = (
            self.driver_copy and in_tables and len(moved) == 1 and moved[0].kind == Table.IP_DISCOVERY
        )
        place = names if in_tables else f"{HEADER_NAME}, or bytes between tables" + f", or {names}" * bool(names)
        self._checksum_finding(
            "checksum of the whole binary is wrong",
            f"{header.checksum:#06x} (stored at 0x8)",
            f"{header.computed:#06x} computed over {span(CHECKSUM_FROM, header.size_bytes)}",
            f"whole binary; the change lies in: {place}",
            Severity.NOTE if is_changed_by_driver else Severity.ERROR,
        )

    def _checksum_finding(self, what: str, expected: str, seen: str, where: str, severity: Severity) -> None:
        self.book.add("amd.discovery.checksum", severity, what, expected, seen, where, NEXT)
