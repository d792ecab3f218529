"""The encoder of the discovery binary: AMD's own files come out byte for byte, every sum is right, limits are kept."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumodel.chips import CHIPS, HW_IDS, Chip, discovery_spec, discovery_table
from gpumodel.discovery import (
    GC_WORDS,
    DiscoverySpec,
    GcInfo,
    Harvest,
    IpRecord,
    MallInfo,
    NpsInfo,
    VcnInfo,
    encode,
)

AMD_FILES = ("aldebaran", "arcturus", "picasso", "raven", "raven2", "vega10", "vega12", "vega20")
ONE = (IpRecord(11, 0, 9, 4, 3, (0x2000, 0xA000)),)


def u16(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")


def byte_sum(data: bytes) -> int:
    return sum(data) % 65536


def tables(data: bytes) -> dict[int, bytes]:
    """Index to bytes of every table, by hand from discovery.h; its sum is checked on the way."""
    first, count = (0x10, u16(data, 0x0C)) if u16(data, 4) == 2 else (0x0C, 6)
    found = {}
    for index in range(count):
        offset, stored, size, padding = struct.unpack_from("<4H", data, first + 8 * index)
        assert padding == 0
        if offset:
            found[index] = data[offset : offset + size]
            assert len(found[index]) == size
            assert byte_sum(found[index]) == stored
    return found


def taken_apart(data: bytes) -> DiscoverySpec:
    """The spec of one of AMD's files: header v1, IP table version 2, one die."""
    parts = tables(data)
    ips = parts[0]
    offset, records = 84, []
    for _ in range(u16(ips, 82)):
        hw_id, instance, count, major, minor, revision, last = struct.unpack_from("<H6B", ips, offset)
        bases = struct.unpack_from(f"<{count}I", ips, offset + 8)
        records.append(IpRecord(hw_id, instance, major, minor, revision, bases, last & 15, last >> 4))
        offset += 8 + 4 * count
    assert offset == len(ips)
    gc = None
    if 1 in parts:
        major, minor = struct.unpack_from("<HH", parts[1], 4)
        gc = GcInfo(major, minor, struct.unpack(f"<{len(parts[1]) // 4 - 3}I", parts[1][12:]))
    return DiscoverySpec(
        dies=(tuple(records),),
        header_major=u16(data, 4),
        header_minor=u16(data, 6),
        ip_version=u16(ips, 4),
        table_id=struct.unpack_from("<I", ips, 8)[0],
        gc=gc,
        harvest=Harvest(version=struct.unpack_from("<I", parts[2], 4)[0]),
    )


@pytest.mark.parametrize("name", AMD_FILES)
def test_encode_spec_of_an_amd_file_gives_that_file(firmware_dir: Path, name: str) -> None:
    data = (firmware_dir / f"{name}_ip_discovery.bin").read_bytes()
    assert encode(taken_apart(data)) == data


def words(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(0, 2**32 - 1)] * count)


def records(wide: bool) -> st.SearchStrategy[IpRecord]:
    base = st.integers(0, 2**64 - 1 if wide else 2**32 - 1)
    byte = st.integers(0, 255)
    nibble = st.integers(0, 15)
    bases = st.lists(base, max_size=9).map(tuple)
    return st.builds(IpRecord, st.integers(0, 0xFFFF), byte, byte, byte, byte, bases, nibble, nibble)


@st.composite
def specs(draw: st.DrawFn) -> DiscoverySpec:
    version = draw(st.integers(1, 4))
    wide = version == 4 and draw(st.booleans())
    gc_version = draw(st.sampled_from(sorted(GC_WORDS)))
    pairs = st.tuples(st.integers(1, 299), st.integers(0, 31))
    spans = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
    return DiscoverySpec(
        dies=tuple(draw(st.lists(st.lists(records(wide), max_size=5).map(tuple), min_size=1, max_size=16))),
        header_major=draw(st.integers(0, 2)),
        header_minor=draw(st.integers(0, 0xFFFF)),
        ip_version=version,
        base_64bit=wide,
        gc=draw(st.none() | words(GC_WORDS[gc_version]).map(lambda w: GcInfo(*gc_version, w))),
        harvest=draw(st.none() | st.lists(pairs, max_size=32).map(lambda e: Harvest(tuple(e), 1))),
        vcn=draw(st.none() | st.lists(pairs, max_size=4).map(lambda e: VcnInfo(tuple(e)))),
        mall=draw(st.none() | words(9).map(lambda w: MallInfo(w, 2))),
        nps=draw(st.none() | st.lists(spans, max_size=12).map(lambda e: NpsInfo(4, tuple(e)))),
        list_entries=draw(st.integers(6, 9)),
    )


@pytest.mark.long
@given(specs())
def test_encode_any_spec_sums_sizes_and_records_are_right(spec: DiscoverySpec) -> None:
    data = encode(spec)
    assert struct.unpack_from("<IHH", data, 0) == (0x28211407, spec.header_major, spec.header_minor)
    assert u16(data, 0x0A) == len(data)
    assert u16(data, 0x08) == byte_sum(data[0x0A:])
    parts = tables(data)
    present = {1: spec.gc, 2: spec.harvest, 3: spec.vcn, 4: spec.mall, 5: spec.nps}
    assert set(parts) == {0} | {index for index, part in present.items() if part is not None}
    sizes = {2: 136, 3: 96, 4: 48, 5: 212}
    assert all(len(part) == sizes[index] for index, part in parts.items() if index in sizes)
    assert u16(parts[0], 4) == spec.ip_version
    assert u16(parts[0], 6) == len(parts[0])
    assert parts[0][0x4E] == int(spec.base_64bit)
    where = struct.unpack_from("<H", data, 0x10 if spec.header_major == 2 else 0x0C)[0]
    width = 8 if spec.base_64bit else 4
    for die, expected in enumerate(spec.dies):
        identity, offset = struct.unpack_from("<HH", parts[0], 0x0E + 4 * die)
        offset -= where
        assert struct.unpack_from("<HH", parts[0], offset) == (identity, len(expected)) == (die, len(expected))
        offset += 4
        for record in expected:
            assert u16(parts[0], offset) == record.hw_id
            assert parts[0][offset + 7] == record.high_nibble << 4 | record.low_nibble
            bases = struct.unpack_from(f"<{len(record.bases)}{'Q' if width == 8 else 'I'}", parts[0], offset + 8)
            assert bases == record.bases
            offset += 8 + width * len(bases)


@pytest.mark.parametrize(
    ("spec", "words_of_the_error"),
    [
        (DiscoverySpec((ONE,), header_major=3), "header version 3"),
        (DiscoverySpec((ONE,), ip_version=5), "IP table version 5"),
        (DiscoverySpec((ONE,), ip_version=3, base_64bit=True), "64-bit bases need IP table version 4"),
        (DiscoverySpec(((),) * 17), "17 dies: at most 16"),
        (DiscoverySpec(((IpRecord(11, 0, 9, 4, 3, (), 16),),)), "a nibble holds 0 to 15"),
        (DiscoverySpec(((IpRecord(11, 0, 9, 4, 3, (1 << 32,)),),)), "does not fit"),
        (DiscoverySpec((ONE,), gc=GcInfo(9, 9, ())), "GC table version 9.9"),
        (DiscoverySpec((ONE,), gc=GcInfo(2, 1, (1, 2))), "has 24 words, not 2"),
        (DiscoverySpec((ONE,), mall=MallInfo((1,))), "has 9 words, not 1"),
        (DiscoverySpec((ONE,), harvest=Harvest(((12, 0),) * 33)), "33 harvest entries"),
        (DiscoverySpec((ONE,), vcn=VcnInfo(((0, 0),) * 5)), "5 VCN instances"),
        (DiscoverySpec((ONE,), nps=NpsInfo(1, ((0, 1),) * 13)), "13 memory partitions"),
        (DiscoverySpec((ONE,), header_major=2, list_entries=2), "a table list of 2 has no room for HARVEST_INFO"),
    ],
)
def test_encode_something_that_does_not_fit_says_what(spec: DiscoverySpec, words_of_the_error: str) -> None:
    with pytest.raises(ValueError, match=words_of_the_error):
        encode(spec)


def test_encode_header_v2_with_a_short_list_leaves_later_tables_out() -> None:
    data = encode(DiscoverySpec((ONE,), header_major=2, list_entries=1, harvest=None))
    assert u16(data, 0x0C) == 1
    assert set(tables(data)) == {0}


@pytest.mark.parametrize("chip", CHIPS.values(), ids=str)
def test_chip_table_counts_and_bases_are_the_parts(chip: Chip) -> None:
    assert len(discovery_table(chip, 0, 8)) <= 0x2800  # what a driver copies
    records_of: dict[int, list[IpRecord]] = {}
    for record in discovery_spec(chip, 0, 8).dies[0]:
        records_of.setdefault(record.hw_id, []).append(record)
    counts = {"GC": 8, "SDMA0": 16, "VCN": 4, "UMC": 16, "MMHUB": 4, "NBIF": 4, "XGMI": 8, "MP0": 4}
    assert {name: len(records_of[HW_IDS[name]]) for name in counts} == counts
    assert all(len(record.bases) == 9 for record in records_of[HW_IDS["NBIF"]])
    for found in records_of.values():
        assert [record.instance for record in found] == list(range(len(found)))


def test_chip_compute_units_are_the_products() -> None:
    assert {chip.name: chip.compute_units for chip in CHIPS.values()} == {"mi300x": 304, "mi350x": 256}


@pytest.mark.parametrize("chip", CHIPS.values(), ids=str)
def test_chip_gpus_of_a_hive_differ_in_serial_harvest_and_memory_range(chip: Chip) -> None:
    assert len({chip.serial(index) for index in range(8)}) == 8
    assert len({discovery_table(chip, index, 8) for index in range(8)}) == 8
    assert {index for index in range(8) if chip.harvested(index)} == {3, 6}
    spec = discovery_spec(chip, 5, 8)
    assert spec.nps is not None
    assert spec.nps.ranges == ((5 * chip.vram_size, 6 * chip.vram_size - 1),)
    alone = discovery_spec(chip, 0, 1)
    assert alone.nps is not None
    assert alone.nps.ranges == ((0, chip.vram_size - 1),)


@pytest.mark.parametrize("chip", CHIPS.values(), ids=str)
def test_chip_inactive_cus_same_number_other_places(chip: Chip) -> None:
    masks = {index: tuple(chip.inactive_cu_mask(index, 0, engine) for engine in range(4)) for index in range(8)}
    assert len(set(masks.values())) > 1
    for places in masks.values():
        assert tuple(mask.bit_count() for mask in places) == chip.inactive_cus
        assert all(mask < 1 << chip.cus_per_engine for mask in places)
