"""Mutations of discovery binaries: random ones, and ones that know where the fields are. Nothing may crash or run away.

    python -m tests.fuzz.fuzz_discovery --count 200000 --seed 1
    python -m tests.fuzz.fuzz_discovery --seconds 20

What is held against each answer: no exception; bounded findings and records; exit code 0 only for bytes whose checksums
are all right; a map only with sound records; the same answer twice. Work is counted in records, not in time."""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from amdriver.discovery import MAX_BLOB_BYTES, Validation, byte_sum, diff, validate
from amdriver.discovery_format import MAX_FINDINGS
from tests.fuzz.discovery_blobs import Ip, Spec, build, mi350x, nps_v1, seal

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = (ROOT / ".cache/firmware/amdgpu", ROOT / ".cache/fw/usr/lib/firmware/amdgpu")
MAX_RECORDS = MAX_BLOB_BYTES // 8
EDGES = (0, 1, 2, 7, 0x3C, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFF8, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
Mutation = Callable[[random.Random, bytearray], None]


def real_files() -> list[bytes]:
    """AMD's own files, where the cache has them."""
    for folder in FIRMWARE:
        blobs = {file.read_bytes() for file in sorted(folder.glob("*_ip_discovery.bin"))}
        if blobs:
            return sorted(blobs)
    return []


def seeds() -> list[bytes]:
    """Good tables of every kind, to be damaged."""
    harvested = ((11, 1), (42, 3), (12, 0), (150, 9))
    made = [build(mi350x(version=v, major=m, harvested=harvested)) for v in (1, 2, 3, 4) for m in (1, 2)]
    wide = (Ip(11, 0, (12, 0, 0), (1 << 40, 2)), Ip(42, 0, bases=(5,) * 9), Ip(12, 0, (5, 0, 0xC1)))
    made.append(build(Spec(version=4, wide=True, major=2, dies=(wide, wide, wide[:1]))))
    quarters = [(n << 36, ((n + 1) << 36) - 1) for n in range(4)]
    made.append(build(replace(mi350x(), nps=nps_v1(quarters, 4))))
    made.append(bytes(256) + build(mi350x()))
    return made + real_files()


# ---- mutations


def flip_bits(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_bytes(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 4, 40))):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def fill(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    size = rng.randrange(1, len(data) - start + 1)
    pattern = rng.choice((b"\0", b"\xff", b"\xef\xbe\xad\xde", rng.randbytes(7)))
    data[start : start + size] = (pattern * (size // len(pattern) + 1))[:size]


def cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def insert_or_remove(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        data[at:at] = rng.randbytes(rng.randrange(1, 32))
    else:
        del data[at : at + rng.randrange(1, 32)]


def splice(rng: random.Random, data: bytearray) -> None:
    source, target, size = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 200)
    piece = data[source : source + size]
    data[target : target + len(piece)] = piece


def grow(rng: random.Random, data: bytearray) -> None:
    data.extend(rng.choice((b"\0", b"\xff", b"\x0b\0\0\0\0\0\0\0")) * rng.randrange(1, 3000))


def _word(rng: random.Random, data: bytearray, at: int, size: int) -> None:
    """A telling value in a little-endian field."""
    if at + size > len(data):
        return
    old = int.from_bytes(data[at : at + size], "little")
    value = rng.choice((rng.choice(EDGES), old + 1, old - 1, old ^ 1 << rng.randrange(8 * size), rng.getrandbits(64)))
    data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def header_field(rng: random.Random, data: bytearray) -> None:
    _word(rng, data, rng.choice((0, 4, 6, 8, 10, 12, 14)), 2)


def list_field(rng: random.Random, data: bytearray) -> None:
    _word(rng, data, rng.choice((0x0C, 0x10)) + 2 * rng.randrange(24), 2)


def _tables(data: bytearray) -> list[int]:
    at = 0x10 if len(data) > 5 and data[4] == 2 else 0x0C
    if len(data) < at + 48:
        return []
    return [offset for offset, *_ in struct.iter_unpack("<HHHH", data[at : at + 48]) if 0 < offset < len(data)]


def table_field(rng: random.Random, data: bytearray) -> None:
    """Within the first fields of some table."""
    offsets = _tables(data)
    if offsets:
        _word(rng, data, rng.choice(offsets) + 2 * rng.randrange(16), rng.choice((1, 2, 4)))


def die_field(rng: random.Random, data: bytearray) -> None:
    """Version, number of dies, die ids and offsets, number of IPs."""
    offsets = _tables(data)
    if offsets:
        _word(rng, data, offsets[0] + rng.choice((4, 6, 12, 14, 16, 18, 20, 22, 0x4E, 80, 82)), 2)


def record_field(rng: random.Random, data: bytearray) -> None:
    """A field of some IP record: id, instance, number of bases, version."""
    records = list(_records(data))
    if records:
        _word(rng, data, rng.choice(records) + rng.choice((0, 2, 3, 4, 6, 7)), rng.choice((1, 2)))


def _records(data: bytearray) -> Iterator[int]:
    offsets = _tables(data)
    if not offsets:
        return
    at = offsets[0] + 84
    width = 8 if offsets[0] + 0x4E < len(data) and data[offsets[0] + 0x4E] & 1 else 4
    while at + 8 <= len(data) and data[at + 3] < 32:
        yield at
        at += 8 + width * data[at + 3]


RANDOM: tuple[Mutation, ...] = (flip_bits, set_bytes, fill, cut, insert_or_remove, splice, grow)
STRUCTURED: tuple[Mutation, ...] = (header_field, list_field, table_field, die_field, record_field)


def mutate(rng: random.Random, good: bytes) -> bytes:
    """One to four mutations; half of the time checksums are made right again, so that the checks behind them are met."""
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 4))):
        kind = rng.choice(STRUCTURED if rng.random() < 0.6 else RANDOM)
        if data:
            kind(rng, data)
    if rng.random() < 0.5:
        try:
            return seal(bytes(data), tables=True)
        except struct.error:  # too short to seal
            pass
    return bytes(data)


# ---- judging


@dataclass
class Tally:
    """What a run came to."""

    cases: int = 0
    valid: int = 0
    mapped: int = 0
    most_records: int = 0


def judge(blob: bytes, golden: bytes | None, tally: Tally) -> None:
    """AssertionError if the answer breaks a promise."""
    answer = validate(blob, golden=golden, vram_size_bytes=192 << 30)
    assert len(answer.findings) <= MAX_FINDINGS + 1, "findings are bounded"
    ip_map = answer.ip_map or answer.salvaged
    records = len(ip_map.instances) if ip_map else 0
    assert records <= MAX_RECORDS, "records are bounded"
    assert answer.ip_map is None or answer.salvaged is None, "a map is trusted or salvaged"
    if answer.ok:
        _is_right(answer, blob)
    for finding in answer.findings:
        assert len(finding.summary) <= 80, finding.summary
        assert finding.where, finding.summary
    tally.cases += 1
    tally.valid += answer.ok
    tally.mapped += answer.ip_map is not None
    tally.most_records = max(tally.most_records, records)


def _is_right(answer: Validation, blob: bytes) -> None:
    """Nothing is called valid whose sums are not right, by an own count."""
    assert answer.ip_map is not None, "a valid table has a map"
    assert answer.header is not None
    data = blob[256:] if blob[:4] != b"\x07\x14\x21\x28" else blob
    size = answer.header.size_bytes
    assert size <= len(data)
    assert sum(data[10:size]) & 0xFFFF == answer.header.checksum
    for table in answer.tables:
        assert table.end <= size
        assert byte_sum(data[table.offset : table.end]) == table.checksum


def truncations(blobs: list[bytes], tally: Tally) -> None:
    """Every length of every table."""
    for blob in blobs:
        for length in range(len(blob)):
            answer = validate(blob[:length])
            assert not answer.ok, f"cut at {length} of {len(blob)}"
            tally.cases += 1


def run(*, count: int | None, seconds: float | None, seed: int) -> Tally:
    """Until `count` cases or `seconds` are over; each case repeats from `seed` and its number."""
    goods = seeds()
    tally = Tally()
    end = time.monotonic() + seconds if seconds is not None else None
    number = 0
    while (count is None or number < count) and (end is None or time.monotonic() < end):
        rng = random.Random(seed * 1_000_003 + number)
        good = rng.choice(goods)
        blob = mutate(rng, good)
        try:
            judge(blob, good if number % 4 == 0 else None, tally)
            if number % 16 == 0:
                diff(good, blob)
                assert validate(blob) == validate(blob), "the same answer twice"
        except Exception:
            print(f"case {number} of seed {seed}: {blob.hex()}", file=sys.stderr)
            raise
        number += 1
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    count = 200_000 if told.count is None and told.seconds is None else told.count
    start = time.monotonic()
    cuts = Tally()
    if told.seconds is None:
        truncations(seeds(), cuts)
    tally = run(count=count, seconds=told.seconds, seed=told.seed)
    print(
        f"discovery: {cuts.cases} truncations, {tally.cases} mutations of {len(seeds())} tables (seed {told.seed}): "
        f"no crash; {tally.valid} still valid, {tally.mapped} with a trusted map, at most {tally.most_records} records; "
        f"{time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
