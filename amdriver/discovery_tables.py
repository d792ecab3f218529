"""The smaller tables of the discovery binary: harvest, GC, VCN, MALL, NPS.

Source: Linux v7.3 amdgpu/amdgpu_discovery.c (_read_from_harvest_table, _harvest_ip, _get_gfx_info, _get_vcn_info,
_get_mall_info, _get_nps_info), amdgpu_gmc.c (amdgpu_gmc_get_nps_memranges); amd-discovery.md sections 5 and 9."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

from amdriver.discovery_binary import Binary
from amdriver.discovery_format import HARVEST_BYTES, HARVEST_ENTRY, INFO, KINDS, NPS_RANGE, VCN_ENTRY, Table
from amdriver.discovery_records import Records
from amdriver.ip_map import HW_NAMES, VCN, GcConfig, IpMap, MallInfo, NpsInfo, VcnFuse, hw_name
from base.findings import Severity

_HARVEST_INSTANCES = 32
_HARVEST_FROM_GC = (10, 2, 0)
_VCN_MAX = 4
_NPS_ROOM = 12
_NPS_KERNEL_ROOM = 8  # AMDGPU_MAX_MEM_RANGES
_NPS_MODES = (1, 2, 3, 4, 6, 8)

_COMMON = (
    "num_gprs num_max_gs_thds gs_table_depth gsprim_buff_depth parameter_cache_depth double_offchip_lds_buffer "
    "wave_size max_waves_per_simd max_scratch_slots_per_cu lds_size num_sc_per_se"
)
_FIELDS: Mapping[int, list[str]] = MappingProxyType(
    {
        1: (
            f"num_se num_wgp0_per_sa num_wgp1_per_sa num_rb_per_se num_gl2c {_COMMON} num_sa_per_se num_packer_per_sc "
            "num_gl2a num_tcp_per_sa num_sdp_interface num_tcps num_tcp_per_wpg tcp_l1_size num_sqc_per_wgp "
            "l1_instruction_cache_size_per_sqc l1_data_cache_size_per_sqc gl1c_per_sa gl1c_size_per_instance "
            "gl2c_per_gpu tcp_size_per_cu tcp_cache_line_size instruction_cache_size_per_sqc "
            "instruction_cache_line_size scalar_data_cache_size_per_sqc scalar_data_cache_line_size tcc_size "
            "tcc_cache_line_size"
        ).split(),
        2: (
            f"num_se num_cu_per_sh num_sh_per_se num_rb_per_se num_tccs {_COMMON} num_packer_per_sc num_tcp_per_sh "
            "tcp_size_per_cu num_sdp_interface num_cu_per_sqc instruction_cache_size_per_sqc "
            "scalar_data_cache_size_per_sqc tcc_size"
        ).split(),
    }
)
# Bytes of the whole GC table, by major, then by minor; a newer minor holds at least the newest known fields.
_GC_BYTES: Mapping[int, tuple[int, ...]] = MappingProxyType({1: (88, 100, 132, 164), 2: (80, 108)})


def read_harvest(binary: Binary, records: Records) -> frozenset[tuple[int, int]]:
    """(hw_id, instance) of what was fused off. Chips before GC 10.2 use the list only from table version 3 on."""
    if not binary.usable(Table.HARVEST):
        return frozenset()
    at = binary.tables[Table.HARVEST].offset
    listed = binary.blob[at + 8 : at + HARVEST_BYTES]
    if not any(listed):
        return frozenset()
    entries = list(HARVEST_ENTRY.iter_unpack(listed))
    used = next((number for number, entry in enumerate(entries) if entry[0] == 0), len(entries))
    start = at + 8 + used * HARVEST_ENTRY.size
    if any(any(entry) for entry in entries[used:]):
        what = "harvest entries go on behind the end of the list"
        binary.book.content(Table.HARVEST, what, "zeros", "not 0", start, at + HARVEST_BYTES, Severity.WARNING)
    if not used:
        return frozenset()
    if records.version <= 2 and records.gc_version < _HARVEST_FROM_GC:
        what, seen = "the harvest list is not used on a chip this old", f"{used} entries"
        binary.book.content(Table.HARVEST, what, "an empty list", seen, at + 8, start, Severity.NOTE)
        return frozenset()
    there = {(record.hw_id, record.instance) for record in records.list}
    named = [
        (hw_id, instance)
        for number, (hw_id, instance, _) in enumerate(entries[:used])
        if _harvest_entry(binary, hw_id, instance, at + 8 + number * HARVEST_ENTRY.size, there)
    ]
    return frozenset(named)


def _harvest_entry(binary: Binary, hw_id: int, instance: int, at: int, there: set[tuple[int, int]]) -> bool:
    end, warning = at + HARVEST_ENTRY.size, Severity.WARNING
    if hw_id not in HW_NAMES:
        what = "a harvest entry names an unknown hardware id"
        binary.book.content(Table.HARVEST, what, "a known id", hw_id, at, end, warning)
        return False
    if instance >= _HARVEST_INSTANCES:
        what = f"harvest entry of {hw_name(hw_id)}: instance number is out of range"
        binary.book.content(Table.HARVEST, what, f"below {_HARVEST_INSTANCES}", instance, at, end)
        return False
    if there and (hw_id, instance) not in there:
        what = f"a harvest entry names {hw_name(hw_id)}[{instance}], which is not listed"
        binary.book.content(Table.HARVEST, what, "an instance of the IP list", "none", at, end, warning)
    return True


def check_harvest(binary: Binary, ip_map: IpMap) -> None:
    """A GPU of which everything is harvested is a damaged table, not a GPU."""
    for name in ("GC", "SDMA0"):
        instances = ip_map.find(name)
        if instances and all(ip.harvested for ip in instances):
            info = binary.tables[Table.HARVEST]
            what = f"every {name} is harvested: nothing is left to use"
            binary.book.content(Table.HARVEST, what, "one or more left", "none left", info.offset, info.end)


def _head(binary: Binary, table: int, majors: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(offset, major, minor) of a table with the common 12-byte header, if it can be read."""
    if not binary.usable(table):
        return None
    at = binary.tables[table].offset
    _, major, minor, _ = INFO.unpack_from(binary.blob, at)
    if major in majors:
        return at, major, minor
    expected = " or ".join(f"{known}.x" for known in majors)
    what = f"unknown version of the {KINDS[table].name}"
    binary.book.content(table, what, expected, f"{major}.{minor}", at + 4, at + 8)
    return None


def read_gc(binary: Binary, records: Records) -> GcConfig | None:
    """The GC configuration; None when the table is absent or cannot be read."""
    head = _head(binary, Table.GC, (1, 2))
    if head is None:
        return None
    at, major, minor = head
    is_gfx9 = records.gc_version[0] == 9
    if is_gfx9 and major != 2:
        what = "version of the GC table does not fit a chip of the gfx9 family"
        binary.book.content(Table.GC, what, "2.x", f"{major}.{minor}", at + 4, at + 8)
    sizes = _GC_BYTES[major]
    least = sizes[min(minor, len(sizes) - 1)]
    size = binary.tables[Table.GC].size_bytes
    if size < least:
        what = f"GC table is too short for its version {major}.{minor}"
        binary.book.content(Table.GC, what, f"{least} bytes", f"{size} bytes", at + 8, at + 12)
        return None
    if minor >= len(sizes):
        what = f"GC table is of version {major}.{minor}, newer than known"
        newest = f"up to {major}.{len(sizes) - 1}"
        binary.book.content(Table.GC, what, newest, f"{major}.{minor}", at + 6, at + 8, Severity.NOTE)
    words = struct.unpack_from(f"<{(least - INFO.size) // 4}I", binary.blob, at + INFO.size)
    values = MappingProxyType(dict(zip(_FIELDS[major], words, strict=False)))
    _gc_values(binary, major, values, at + INFO.size, is_gfx9)
    return GcConfig((major, minor), values)


def _gc_values(binary: Binary, major: int, values: Mapping[str, int], at: int, is_gfx9: bool) -> None:
    """The kernel divides by the number of arrays; the others would only make nonsense of every size that follows."""
    limits = {"num_se": (1, 64), "num_sh_per_se" if major == 2 else "num_sa_per_se": (1, 8)}
    if major == 2:
        limits["num_cu_per_sh"] = (1, 64)
    if is_gfx9:
        limits["wave_size"] = (64, 64)
    for name, (least, most) in limits.items():
        if not least <= values[name] <= most:
            start = at + 4 * _FIELDS[major].index(name)
            expected = f"{least}..{most}" if least < most else least
            binary.book.content(Table.GC, f"GC table: {name} makes no sense", expected, values[name], start, start + 4)


def read_vcn(binary: Binary, records: Records) -> tuple[VcnFuse, ...]:
    """What is fused off in each VCN instance."""
    head = _head(binary, Table.VCN, (1,))
    if head is None:
        return ()
    at = head[0] + INFO.size
    count = binary.u32(at)
    if count > _VCN_MAX:
        binary.book.content(Table.VCN, "VCN table: too many instances", f"at most {_VCN_MAX}", count, at, at + 4)
    there = len(records.groups.get(VCN, ()))
    if count < min(there, _VCN_MAX):
        what = "VCN table has fewer instances than the IP list"
        binary.book.content(Table.VCN, what, there, count, at, at + 4, Severity.NOTE)
    fuses = []
    for number in range(min(count, _VCN_MAX)):
        start = at + 4 + number * VCN_ENTRY.size
        instance, bits, _, _ = VCN_ENTRY.unpack_from(binary.blob, start)
        if instance >= _VCN_MAX:
            what = f"VCN table: entry {number} names an instance out of range"
            binary.book.content(Table.VCN, what, f"below {_VCN_MAX}", instance, start, start + 4)
        fuses.append(VcnFuse(instance, bits))
    return tuple(fuses)


def read_mall(binary: Binary) -> MallInfo | None:
    """The last-level cache; None when the table is absent or cannot be read."""
    head = _head(binary, Table.MALL, (1, 2))
    if head is None:
        return None
    at, major, minor = head
    size, present, half = struct.unpack_from("<III", binary.blob, at + INFO.size)
    return MallInfo((major, minor), size, present, half) if major == 1 else MallInfo((major, minor), size)


def read_nps(binary: Binary, vram_size_bytes: int | None) -> NpsInfo | None:
    """Memory partitions; None when the table is absent or cannot be read."""
    head = _head(binary, Table.NPS, (1,))
    if head is None:
        return None
    at = head[0] + INFO.size
    nps_type, count = struct.unpack_from("<II", binary.blob, at)
    if nps_type not in _NPS_MODES:
        expected = ", ".join(map(str, _NPS_MODES))
        what = "NPS table: unknown memory partition mode"
        binary.book.content(Table.NPS, what, expected, nps_type, at, at + 4, Severity.WARNING)
    if count > _NPS_ROOM:
        what = "NPS table: more ranges than it has room for"
        binary.book.content(Table.NPS, what, f"at most {_NPS_ROOM}", count, at + 4, at + 8)
    elif count > _NPS_KERNEL_ROOM:
        what = "NPS table: more ranges than the kernel has room for"
        binary.book.content(Table.NPS, what, f"at most {_NPS_KERNEL_ROOM}", count, at + 4, at + 8, Severity.WARNING)
    start = at + 8
    ranges = tuple(NPS_RANGE.iter_unpack(binary.blob[start : start + NPS_RANGE.size * min(count, _NPS_ROOM)]))
    if _nps_sound(binary, ranges, start) and ranges and vram_size_bytes:
        _nps_reach(binary, ranges, start, vram_size_bytes)
    return NpsInfo(nps_type, ranges)


def _nps_sound(binary: Binary, ranges: tuple[tuple[int, int], ...], at: int) -> bool:
    """Each range the right way round, and all disjoint."""
    sound = True
    for number, (base, limit) in enumerate(ranges):
        if base >= limit:
            sound = False
            start = at + number * NPS_RANGE.size
            what = f"NPS table: range {number} ends before it begins"
            binary.book.content(Table.NPS, what, f"above {base:#x}", f"{limit:#x}", start, start + NPS_RANGE.size)
    for low, high in pairwise(sorted(ranges)):
        if high[0] <= low[1]:
            sound = False
            start = at + ranges.index(high) * NPS_RANGE.size
            expected = f"above {low[1]:#x}"
            binary.book.content(
                Table.NPS, "NPS table: two ranges overlap", expected, f"{high[0]:#x}", start, start + NPS_RANGE.size
            )
    return sound


def _nps_reach(binary: Binary, ranges: tuple[tuple[int, int], ...], at: int, vram_size_bytes: int) -> None:
    """Bases are addresses in the hive, so only the distance from first to last byte can be held against VRAM."""
    reach = max(limit for _, limit in ranges) - min(base for base, _ in ranges) + 1
    if reach > vram_size_bytes:
        what, end = "NPS table: the ranges span more than this GPU's VRAM", at + len(ranges) * NPS_RANGE.size
        binary.book.content(Table.NPS, what, f"at most {vram_size_bytes:#x} bytes", f"{reach:#x} bytes", at, end)
