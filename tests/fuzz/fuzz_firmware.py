"""Throw damaged firmware files at the parser: `python -m tests.fuzz.fuzz_firmware --seconds 10 --seed 1`.

Random bytes, and mutations that know the structure (header words, table entries, wrappers, lengths; half of them with the
checksum made right again, so that the rules behind it are reached). Held to be true for every input: nothing raises, the
findings have the form of the house, and a file that passes hands out no byte beyond its end."""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firmware.containers import parse
from firmware.needed import ALL_NAMES
from tests.firmware_files import chip_folder, container, rlc, sealed, sos

EDGES = (0, 1, 4, 0x20, 0x100, 0x200, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00, 0xFFFFFFFC, 0xFFFFFFFF)
OTHER_NAMES = (
    "navi10_pfp.bin",
    "x_mes1.bin",
    "vega10_sos.bin",
    "x_ta.bin",
    "smu_13_0_0.bin",
    "x_dmcu.bin",
    "x_imu.bin",
    "x",
)


@dataclass(slots=True)
class Tally:
    """What came of a run."""

    runs: int = 0
    passed: int = 0
    failures: int = 0


def seeds() -> list[tuple[str, bytes]]:
    """Valid small files, of our chips and of others."""
    files = list(chip_folder().items())
    files.append(("psp_13_0_12_sos.bin", sos()))
    files += [(f"gc_11_0_{minor}_rlc.bin", rlc(minor=minor)) for minor in (2, 3, 4, 5)]
    body = bytes(range(256)) * 4
    files.append(("vega10_sos.bin", container((1, 0), [7, 0x100, 0x200], body)))
    files.append(("sdma_6_0_0.bin", container((2, 0), [1, 0x200, 0, 0, 0x300, 0x200, 0, 0], body)))
    files.append(("gc_11_0_0_mec.bin", container((2, 0), [1, 0x200, 0x100, 0x200, 0x300, 0x3000, 0], body)))
    return files


def mutate(chance: random.Random, data: bytes) -> bytes:
    """A damaged copy of a valid file."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        chance.choice(MUTATIONS)(chance, changed)
    if len(changed) >= 0x24 and chance.random() < 0.5:
        if chance.random() < 0.5:
            struct.pack_into("<I", changed, 0, len(changed))
        return sealed(bytes(changed))
    return bytes(changed)


def _bit(chance: random.Random, data: bytearray) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _header_word(chance: random.Random, data: bytearray) -> None:
    place = 4 * chance.randrange(0x40)
    if place + 4 <= len(data):
        value = chance.choice(EDGES) if chance.random() < 0.7 else chance.getrandbits(32)
        struct.pack_into("<I", data, place, value)


def _near_word(chance: random.Random, data: bytearray) -> None:
    place = 4 * chance.randrange(0x40)
    if place + 4 <= len(data):
        (old,) = struct.unpack_from("<I", data, place)
        struct.pack_into("<I", data, place, (old + chance.choice((-16, -4, -1, 1, 4, 16))) & 0xFFFFFFFF)


def _version(chance: random.Random, data: bytearray) -> None:
    if len(data) >= 12:
        struct.pack_into("<HH", data, 8, chance.randrange(5), chance.randrange(7))


def _cut(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _grow(chance: random.Random, data: bytearray) -> None:
    data.extend(chance.randbytes(chance.randrange(64)))


def _move(chance: random.Random, data: bytearray) -> None:
    if len(data) > 64:
        source, target = chance.randrange(len(data) - 32), chance.randrange(len(data) - 32)
        data[target : target + 32] = data[source : source + 32]


MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _bit,
    _header_word,
    _header_word,
    _near_word,
    _near_word,
    _version,
    _cut,
    _grow,
    _move,
)


def one_input(chance: random.Random, files: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The next file to try: name and bytes."""
    names = [*sorted(ALL_NAMES), *OTHER_NAMES]
    if chance.random() < 0.1:
        return chance.choice(names), chance.randbytes(chance.randrange(0x500))
    name, data = chance.choice(files)
    if chance.random() < 0.05:
        name = chance.choice(names)  # right bytes under a wrong name
    return name, mutate(chance, data)


def hold(name: str, data: bytes) -> bool:
    """Whether the file passes; raises AssertionError when the parser breaks a promise, or whatever the parser raises."""
    file = parse(data, name)
    for finding in file.findings:
        assert finding.code.startswith("amd.firmware."), finding
        assert 0 < len(finding.summary) <= 80, finding
        assert len(finding.where) + len(finding.seen) + len(finding.expected) < 1000, finding
    assert len(file.findings) < 400
    if not file.ok:
        return False
    for entry in file.entries:
        assert 0 <= entry.file_offset <= entry.end <= len(data), entry
        assert len(file.payload(entry)) == entry.size, entry
    if file.kind == "sos" and file.header is not None:
        file.select(0)
    return True


def run(seed: int, count: int, seconds: float) -> Tally:
    """Try `count` inputs (0: no limit) for at most `seconds` (0: no limit); prints what fails, with how to repeat it."""
    files = seeds()
    tally = Tally()
    end = time.monotonic() + seconds if seconds else None
    while (not count or tally.runs < count) and (end is None or time.monotonic() < end):
        number = seed + tally.runs
        name, data = one_input(random.Random(number), files)
        tally.runs += 1
        try:
            tally.passed += hold(name, data)
        except Exception as error:  # noqa: BLE001 - a fuzzer reports whatever it finds
            tally.failures += 1
            print(f"{name}: {error!r}; repeat: --seed {number} --count 1", file=sys.stderr)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.fuzz_firmware", description=__doc__)
    parser.add_argument("--count", type=int, default=0, help="how many inputs (default: as many as fit)")
    parser.add_argument("--seconds", type=float, default=0, help="for how long (default: 10 without --count)")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args(arguments)
    seconds = told.seconds or (0 if told.count else 10)
    tally = run(told.seed, told.count, seconds)
    print(f"firmware: {tally.runs} inputs, {tally.passed} valid, {tally.failures} failures (seed {told.seed})")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
