"""The model's encoder into the driver's parser: two readings of one format, written apart, must agree."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdriver.discovery import validate
from amdriver.ip_map import HW_NAMES
from base.findings import Severity
from gpumodel import open_models
from gpumodel.discovery import DiscoverySpec, GcInfo, Harvest, IpRecord, MallInfo, NpsInfo, VcnInfo, encode

BYTE = st.integers(0, 255)
VCN = 12


@st.composite
def specs(draw: st.DrawFn) -> DiscoverySpec:
    """A well-formed binary of any header and table version, with one to three dies."""
    version = draw(st.integers(1, 4))
    wide = version == 4 and draw(st.booleans())
    largest = (1 << (64 if wide else 32)) - 1
    dies = []
    for _ in range(draw(st.integers(1, 3))):
        keys = draw(
            st.lists(
                st.tuples(st.sampled_from(sorted(HW_NAMES)), st.integers(0, 7)), min_size=1, max_size=12, unique=True
            )
        )
        records = []
        for hw_id, instance in keys:
            bases = tuple(draw(st.lists(st.integers(0, largest), max_size=5)))
            nibbles = (draw(st.integers(0, 15)), draw(st.integers(0, 15))) if version >= 3 else (0, 0)
            records.append(IpRecord(hw_id, instance, draw(BYTE), draw(BYTE), draw(BYTE), bases, *nibbles))
        dies.append(tuple(records))
    major = draw(st.integers(1, 2))
    return DiscoverySpec(
        dies=tuple(dies),
        header_major=major,
        ip_version=version,
        base_64bit=wide,
        gc=draw(st.none() | st.just(GcInfo(2, 1, (4, 10, 1, 4, 16, 256, 32, 32, 1792, 0, 0, 64, 8, 32, 160, 1, 4) + (1,) * 7))),
        vcn=draw(st.none() | st.just(VcnInfo(((0, 0), (1, 5))))),
        mall=draw(st.none() | st.just(MallInfo((1 << 20, 0, 0, 0, 0, 0, 0, 0, 0)))),
        nps=draw(st.none() | st.just(NpsInfo(1, ((0, (1 << 37) - 1),)))),
    )  # fmt: skip


@given(specs())
@settings(max_examples=150, deadline=None)
def test_roundtrip_any_spec_comes_out_as_it_went_in(spec: DiscoverySpec) -> None:
    checked = validate(encode(spec))
    errors = [item for item in checked.findings if item.severity.rank >= Severity.ERROR.rank]
    # chips that lack a block or a base that their driver needs are told so; that is about the content, not the format
    assert all(item.code in ("amd.discovery.ip", "amd.discovery.gc", "amd.discovery.vcn") for item in errors), errors
    got = checked.ip_map or checked.salvaged
    assert got is not None
    want = [(die, record) for die, records in enumerate(spec.dies) for record in records]
    assert len(got.instances) == len(want)
    for ip, (die, record) in zip(got.instances, want, strict=True):
        revision = record.revision & 0x3F if record.hw_id == VCN else record.revision
        assert (ip.die, ip.hw_id, ip.instance) == (die, record.hw_id, record.instance)
        assert ip.version == (record.major, record.minor, revision)
        assert ip.bases == tuple(base & 0x3FFFFFFF for base in record.bases) or ip.bases == record.bases
        assert (ip.raw_bases or ip.bases) == record.bases or ip.bases == tuple(
            base & 0x3FFFFFFF for base in record.bases
        )
        if spec.ip_version >= 3:
            assert (ip.sub_revision, ip.variant) == (record.low_nibble, record.high_nibble)


def records_of_a_small_chip() -> tuple[IpRecord, ...]:
    return tuple(IpRecord(11, index, 9, 4, 2, (0x2000, 0xA000)) for index in range(4))


@given(st.sets(st.integers(0, 3)))
def test_roundtrip_harvest_marks_exactly_those_instances(gone: set[int]) -> None:
    spec = DiscoverySpec(
        dies=(records_of_a_small_chip(),), harvest=Harvest(tuple((11, index) for index in sorted(gone)))
    )
    got = validate(encode(spec)).ip_map
    assert got is not None
    assert got.xcc_mask == 0xF & ~sum(1 << index for index in gone)


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_modelled_tables_are_valid_and_name_the_chip(part: str) -> None:
    for index, transport in enumerate(open_models(f"{part}*8")):
        memory = transport.read32(5, 0xDE3 * 4) << 20
        blob = transport.read_block(0, memory - 0x10000, 0x2800)
        checked = validate(blob, vram_size_bytes=memory)
        assert checked.ok, checked.findings
        assert checked.ip_map is not None
        assert checked.ip_map.version_of("GC") == ((9, 4, 3) if part == "mi300x" else (9, 5, 0))
        assert len(checked.ip_map.find("NBIF")) == 4, index
        assert checked.ip_map.xcc_mask.bit_count() == 8
        assert checked.ip_map.aid_count == 4


@pytest.mark.parametrize(
    ("part", "step"),
    [("mi300x", 7), ("mi350x", 7), *(pytest.param(part, 1, marks=pytest.mark.long) for part in ("mi300x", "mi350x"))],
)
def test_modelled_table_any_single_bit_flipped_is_found(part: str, step: int) -> None:
    transport = open_models(part)[0]
    memory = transport.read32(5, 0xDE3 * 4) << 20
    blob = transport.read_block(0, memory - 0x10000, 0x2800)
    (size,) = struct.unpack_from("<H", blob, 10)
    for bit in range(0, size * 8, step):
        bad = bytearray(blob[:size])
        bad[bit // 8] ^= 1 << bit % 8
        checked = validate(bytes(bad))
        assert not checked.ok, f"bit {bit}"
        assert any(item.where for item in checked.findings if item.severity != Severity.NOTE), f"bit {bit}"
