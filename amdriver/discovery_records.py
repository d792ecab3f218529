"""The IP discovery table: dies and their IP records, versions 1 to 4, 32- and 64-bit bases.

Source: Linux v7.3 amdgpu/amdgpu_discovery.c (amdgpu_discovery_reg_base_init, _validate_ip); include/discovery.h; limits of
amdgpu_ip.h, amdgpu_gfx.h, amdgpu_sdma.h, amdgpu_vcn.h; amd-discovery.md sections 4 and 9, rows 8 to 13."""

from __future__ import annotations

import struct
from collections import defaultdict
from functools import partial
from operator import itemgetter
from types import MappingProxyType

from amdriver.discovery_binary import Binary
from amdriver.discovery_format import DIE, IPDS, IPDS_BYTES, IPDS_FLAGS_AT, RECORD, Table
from amdriver.ip_map import GC, HW_IDS, HW_NAMES, NO_VERSION, SDMA_KINDS, VCN, IpInstance, Version
from base.findings import Severity

_MAX_DIES = 16
_HW_ID_MAX = 300
_INSTANCE_MAX = 48
_BASE_MASK = 0x3FFFFFFF
_VCN_REVISION = 0x3F

_ROOM = MappingProxyType({GC: 8, VCN: 4, **dict.fromkeys(SDMA_KINDS, 16)})  # instances that the kernel has room for

# What a driver of this GC generation needs, and how many bases of instance 0 the register headers use.
_NEEDS_FROM: Version = (9, 4, 3)
_NEEDS_BELOW: Version = (10, 0, 0)
_NEEDED_BASES = {"GC": 2, "SDMA0": 1, "MMHUB": 1, "OSSSYS": 1, "NBIF": 9, "MP0": 1, "MP1": 1, "HDP": 1}
_NEEDED = tuple((name, HW_IDS[name], least) for name, least in _NEEDED_BASES.items())
_BY_OWN_BASES = frozenset({"GC", "SDMA0", "MMHUB"})  # every instance is reached by its own bases; others by SMN

_IP = Table.IP_DISCOVERY
_make_instance = partial(tuple.__new__, IpInstance)


class _Bases(dict[int, struct.Struct]):
    """The structure of n base addresses, compiled when first needed."""

    def __init__(self, letter: str) -> None:
        super().__init__()
        self._letter = letter

    def __missing__(self, count: int) -> struct.Struct:
        made = self[count] = struct.Struct(f"<{count}{self._letter}")
        return made


_BASES_32, _BASES_64 = _Bases("I"), _Bases("Q")


class Records:
    """The table's records. Walks forward only, so at most 64 KiB are touched whatever the counts say."""

    def __init__(self, binary: Binary) -> None:
        self.binary = binary
        self.book = binary.book
        self.list: list[IpInstance] = []
        self.groups: defaultdict[int, list[IpInstance]] = defaultdict(list)  # by hw_id
        self.version = 0
        self.num_dies = 0
        self.wide = False
        self.gc_version: Version = NO_VERSION
        self.sound = False
        self._has_capability_bits = False
        if binary.usable(_IP):
            self._read()

    @property
    def needs_all(self) -> bool:
        """This is a chip of the family that gpumend drives: the strictest rules hold."""
        return _NEEDS_FROM <= self.gc_version < _NEEDS_BELOW

    def _read(self) -> None:
        info = self.binary.tables[_IP]
        at = info.offset
        _, self.version, _, _, dies = IPDS.unpack_from(self.binary.blob, at)
        if not 1 <= self.version <= 4:
            self.book.content(_IP, "unknown version of the IP discovery table", "1..4", self.version, at + 4, at + 6)
            return
        before = len(self.book.findings) + self.book.left_out
        self.wide = bool(self.binary.blob[at + IPDS_FLAGS_AT] & 1)
        if self.wide and self.version < 4:
            start, seen = at + IPDS_FLAGS_AT, f"version {self.version}"
            self.book.content(_IP, "64-bit bases in a table version without them", "version 4", seen, start, start + 1)
        if not 1 <= dies <= _MAX_DIES:
            self.book.content(_IP, "number of dies is out of range", f"1..{_MAX_DIES}", dies, at + 12, at + 14)
        self.num_dies = min(dies, _MAX_DIES)
        self._dies(at, info.end)
        self._instances()
        fresh = self.book.findings[before:]
        self.sound = bool(self.list) and not any(f.severity.rank >= Severity.ERROR.rank for f in fresh)

    # ---- walking

    def _dies(self, at: int, end: int) -> None:
        entries = struct.unpack_from("<32H", self.binary.blob, at + IPDS.size)
        stop = at + IPDS_BYTES
        for die in range(self.num_dies):
            die_id, offset = entries[2 * die : 2 * die + 2]
            place = at + IPDS.size + 4 * die
            if die_id != die:
                self.book.content(_IP, f"die {die} carries another number", die, die_id, place, place + 2)
            if not stop <= offset <= end - DIE.size:
                what, expected = f"die {die} does not follow within the table", f"{stop:#x}..{end - DIE.size:#x}"
                self.book.content(_IP, what, expected, f"{offset:#x}", place + 2, place + 4)
                return
            if offset > stop:
                what = f"{offset - stop} bytes before die {die} belong to nothing"
                self.book.content(_IP, what, f"{stop:#x}", f"{offset:#x}", stop, offset, Severity.WARNING)
            stop = self._die(die, offset, end)
            if stop < 0:
                return
        if stop != end:
            what = "the last IP record does not end where the table ends"
            self.book.content(_IP, what, f"{end:#x}", f"{stop:#x}", stop, end)
        if any(entries[2 * self.num_dies :]):
            start = at + IPDS.size + 4 * self.num_dies
            self.book.content(
                _IP, "unused die entries are not empty", 0, "not 0", start, at + IPDS_FLAGS_AT, Severity.WARNING
            )

    def _die(self, die: int, at: int, end: int) -> int:
        """Reads the records of one die; returns where they end, or -1 if they run out of the table."""
        blob = self.binary.blob
        die_id, count = DIE.unpack_from(blob, at)
        if die_id != die:
            self.book.content(_IP, f"die {die}: its own header has another number", die, die_id, at, at + 2)
        # amdgpu packs the lower halves of 64-bit bases into the front of their own room.
        bases = _BASES_64 if self.wide and not self.binary.driver_copy else _BASES_32
        width = 8 if self.wide else 4
        nibble_mask = 0xFF if self.version >= 3 else 0
        unpack, append, make = RECORD.unpack_from, self.list.append, _make_instance
        at += DIE.size
        number = 0
        try:
            for number in range(count):
                hw_id, instance, base_count, major, minor, revision, nibbles = unpack(blob, at)
                stop = at + 8 + width * base_count
                if stop > end:
                    return self._cut(die, number, count, at, end)
                found = bases[base_count].unpack_from(blob, at + 8)
                version = (major, minor, revision)
                append(make((hw_id, instance, version, found, False, die, at, revision, nibbles & nibble_mask, found)))
                at = stop
        except struct.error:  # not even the fixed part of the record is left in the binary
            return self._cut(die, number, count, at, end)
        return at

    def _cut(self, die: int, number: int, count: int, at: int, end: int) -> int:
        what = f"die {die}: IP record {number} of {count} runs out of the table"
        self.book.content(_IP, what, f"end by {end:#x}", f"begins at {at:#x}", at, end)
        return -1

    # ---- judging

    def _instances(self) -> None:
        """Ids and instances: known, in range, unique, within the kernel's room, and all there that a driver needs."""
        if not self.list:
            return
        groups = self.groups
        for record in self.list:
            groups[record[0]].append(record)
        if not HW_NAMES.keys() >= groups.keys():
            self._strange_ids()
        hw_ids, numbers, _, _, _, dies, *_ = zip(*self.list, strict=True)
        if len(set(zip(hw_ids, numbers, dies, strict=True))) != len(hw_ids):
            self._duplicates()
        highest = max(numbers)
        for hw_id, group in groups.items():
            room = _ROOM.get(hw_id, _INSTANCE_MAX)
            if highest >= room:
                self._numbers(group, room)
        self._has_capability_bits = any(record.raw_revision > _VCN_REVISION for record in groups.get(VCN, ()))
        if GC in groups:
            self.gc_version = min(groups[GC], key=itemgetter(1)).version
        if self.needs_all:
            self._needs()

    def _record(
        self, record: IpInstance, what: str, expected: object, seen: object, severity: Severity = Severity.ERROR
    ) -> None:
        end = record.offset + 8 + len(record.bases) * (8 if self.wide else 4)
        self.book.content(_IP, what, expected, seen, record.offset, end, severity)

    def _duplicates(self) -> None:
        first: dict[tuple[int, int, int], IpInstance] = {}
        for record in self.list:
            earlier = first.setdefault((record.die, record.hw_id, record.instance), record)
            if earlier is not record:
                what = f"{record.label} is listed twice"
                self._record(record, what, f"only at {earlier.offset:#x}", f"again at {record.offset:#x}")

    def _strange_ids(self) -> None:
        for record in self.list:
            hw_id = record.hw_id
            if hw_id >= _HW_ID_MAX:
                self._record(record, "hardware id is out of range", f"below {_HW_ID_MAX}", hw_id)
            elif hw_id not in HW_NAMES:
                self._record(record, f"hardware id {hw_id} has no name", "a known id", hw_id, Severity.NOTE)

    def _numbers(self, group: list[IpInstance], room: int) -> None:
        for record in group:
            if record.instance >= room:
                what = f"{record.name}: the kernel has no room for this instance number"
                self._record(record, what, f"0..{room - 1}", record.instance)

    def _needs(self) -> None:
        for name, hw_id, least in _NEEDED:
            group = self.groups.get(hw_id)
            if group is None:
                self._missing(name)
            elif min([len(record.bases) for record in group]) < least:
                self._few_bases(name, group, least)

    def _missing(self, name: str) -> None:
        info = self.binary.tables[_IP]
        version = ".".join(map(str, self.gc_version))
        what = f"{name} is missing, which a driver of GC {version} needs"
        self.book.content(_IP, what, f"{name}[0]", "none", info.offset, info.end)

    def _few_bases(self, name: str, group: list[IpInstance], least: int) -> None:
        for record in group:
            if len(record.bases) < least:
                matters = record.instance == 0 or name in _BY_OWN_BASES
                what = f"{record.label} has fewer bases than the register headers use"
                severity = Severity.ERROR if matters else Severity.NOTE
                self._record(record, what, least, len(record.bases), severity)

    # ---- result

    def instances(self, harvested: frozenset[tuple[int, int]]) -> tuple[IpInstance, ...]:
        """The records, in the table's order, with what the kernel makes of them: harvest, cut bases, VCN's revision."""
        if not (harvested or self.wide or self._has_capability_bits):
            return tuple(self.list)
        return tuple([self._finished(record, harvested) for record in self.list])

    def _finished(self, record: IpInstance, harvested: frozenset[tuple[int, int]]) -> IpInstance:
        major, minor, revision = record.version
        return record._replace(
            harvested=(record.hw_id, record.instance) in harvested,
            version=(major, minor, revision & _VCN_REVISION if record.hw_id == VCN else revision),
            bases=tuple([base & _BASE_MASK for base in record.bases]) if self.wide else record.bases,
        )
