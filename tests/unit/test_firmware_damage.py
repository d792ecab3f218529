"""Damaged files: every changed byte is found where a checksum or a rule covers it, and nothing ever raises."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import InvalidData
from firmware.containers import parse
from firmware.needed import ALL_NAMES
from firmware.verify import check
from tests.firmware_files import chip_folder

WITH_CRC = sorted(name for name in ALL_NAMES if not name.startswith("smu_"))
SMU = sorted(name for name in ALL_NAMES if name.startswith("smu_"))
HEADER_BITS = 0x20 * 8


def real(firmware_dir: Path, name: str) -> bytes:
    path = firmware_dir / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path.read_bytes()


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.long
@pytest.mark.parametrize("name", WITH_CRC)
def test_parse_real_file_with_any_header_bit_flipped_is_not_ok(firmware_dir: Path, name: str) -> None:
    data = real(firmware_dir, name)
    missed = {bit // 8 for bit in range(HEADER_BITS) if parse(flipped(data, bit), name).ok}
    # In TA files nothing else tells the version of 0x10; there only the digest can see a change.
    assert missed == ({0x10, 0x11, 0x12, 0x13} if name.endswith("_ta.bin") else set())


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(ALL_NAMES))
def test_check_known_file_with_any_of_its_first_bits_flipped_is_a_problem(firmware_dir: Path, name: str) -> None:
    data = real(firmware_dir, name)
    if not check(data, name).pinned:
        pytest.skip(f"{name} is another version than the pinned one")
    stored_crc = range(0x1C * 8, 0x20 * 8)
    missed = [bit for bit in range(0x40 * 8) if check(flipped(data, bit), name).status != "problem"]
    # Without a checksum rule, a changed checksum makes an SMU file look like another version.
    assert missed == (list(stored_crc) if name in SMU else [])


@pytest.mark.parametrize("name", SMU)
def test_check_known_smu_file_with_any_byte_changed_is_a_problem(firmware_dir: Path, name: str) -> None:
    data = real(firmware_dir, name)
    if not check(data, name).pinned:
        pytest.skip(f"{name} is another version than the pinned one")
    places = [place for place in range(len(data)) if not 0x1C <= place < 0x20]
    assert [place for place in places if check(flipped(data, place * 8 + 3), name).status != "problem"] == []


@pytest.mark.long
@pytest.mark.parametrize("name", WITH_CRC)
def test_parse_real_file_with_any_sampled_byte_changed_is_not_ok(firmware_dir: Path, name: str) -> None:
    data = real(firmware_dir, name)
    chance = random.Random(name)
    places = [*range(0x20, 0x100), *(chance.randrange(0x100, len(data)) for _ in range(60)), len(data) - 1]
    for place in places:
        file = parse(flipped(data, place * 8 + chance.randrange(8)), name)
        assert not file.ok, f"{name}: byte {place:#x}"


@pytest.mark.parametrize("name", WITH_CRC)
def test_parse_real_file_with_payload_byte_changed_names_the_checksum(firmware_dir: Path, name: str) -> None:
    data = real(firmware_dir, name)
    file = parse(flipped(data, (len(data) - 5) * 8), name)
    (finding,) = [finding for finding in file.findings if finding.code == "amd.firmware.crc"]
    assert file.crc is not None and file.crc.status == "mismatch"
    assert f"{file.crc.stored:#010x}" in finding.expected
    assert f"{file.crc.computed:#010x}" in finding.seen
    assert finding.next.startswith("reinstall firmware-amd-graphics")


@pytest.mark.parametrize("name", SMU)
def test_parse_real_smu_file_with_structure_damaged_is_not_ok(firmware_dir: Path, name: str) -> None:
    """No checksum covers it: sizes, ids, offsets and wrappers are what can be held against it."""
    data = real(firmware_dir, name)
    covered = [*range(0x10), *range(0x25, 0x100)]
    missed = [place for place in covered if parse(flipped(data, place * 8), name).ok]
    assert missed == []


@pytest.mark.parametrize("name", sorted(ALL_NAMES))
def test_parse_real_file_cut_short_is_not_ok(firmware_dir: Path, name: str) -> None:
    data = real(firmware_dir, name)
    chance = random.Random(name)
    lengths = [*range(0x140), *(chance.randrange(len(data)) for _ in range(30)), len(data) - 1]
    for length in lengths:
        assert not parse(data[:length], name).ok, length


@pytest.mark.parametrize("name", sorted(ALL_NAMES))
def test_parse_real_file_with_a_byte_more_is_not_ok(firmware_dir: Path, name: str) -> None:
    file = parse(real(firmware_dir, name) + b"\0", name)
    assert "amd.firmware.size" in [finding.code for finding in file.findings]
    assert not file.ok


def test_payload_of_damaged_real_file_is_refused(firmware_dir: Path) -> None:
    data = real(firmware_dir, "sdma_4_4_2.bin")
    file = parse(flipped(data, 0x2000 * 8), "sdma_4_4_2.bin")
    with pytest.raises(InvalidData) as caught:
        file.payload(file.entries[0])
    assert "using firmware sdma_4_4_2.bin" in str(caught.value)
    assert "refused" in str(caught.value)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(chip_folder()))
def test_parse_small_file_cut_to_many_lengths_is_not_ok(name: str) -> None:
    data = chip_folder()[name]
    assert parse(data, name).ok
    lengths = [*range(0x600), *range(0x600, len(data), 7), len(data) - 1]
    survivors = [length for length in lengths if parse(data[:length], name).ok]
    assert survivors == []


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from([*sorted(ALL_NAMES), "navi10_rlc.bin", "fiji_sdma1.bin", "vega10_sos.bin", "x_mes1.bin", "x"]),
    data=st.binary(max_size=0x400),
)
def test_parse_any_bytes_never_raises(name: str, data: bytes) -> None:
    file = parse(data, name)
    for entry in file.entries:
        if file.ok:
            assert len(file.payload(entry)) == entry.size
    assert all(len(finding.summary) <= 80 for finding in file.findings)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(chip_folder())),
    words=st.lists(
        st.tuples(
            st.integers(0, 0x7F),
            st.one_of(st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 1, 0x100, 0xFFFFFF00, 0xFFFFFFFF, 0x80000000])),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_parse_any_header_words_never_hands_out_bytes_beyond_the_file(name: str, words: list[tuple[int, int]]) -> None:
    data = bytearray(chip_folder()[name])
    for index, value in words:
        data[index * 4 : index * 4 + 4] = value.to_bytes(4, "little")
    file = parse(bytes(data), name)
    if file.ok:
        assert all(0 <= entry.file_offset <= entry.end <= len(data) for entry in file.entries)
        assert all(len(file.payload(entry)) == entry.size for entry in file.entries)
