"""A small portion of the firmware fuzzer, and that it can find something."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from firmware import containers
from tests.fuzz import fuzz_firmware


def test_fuzz_firmware_small_portion_has_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz_firmware.main(["--count", "3000", "--seed", "7"]) == 0
    assert "3000 inputs" in capsys.readouterr().out


def test_fuzz_firmware_same_seed_gives_the_same_input() -> None:
    files = fuzz_firmware.seeds()
    assert fuzz_firmware.one_input(random.Random(5), files) == fuzz_firmware.one_input(random.Random(5), files)


def test_fuzz_firmware_seeds_are_valid() -> None:
    assert [name for name, data in fuzz_firmware.seeds() if not fuzz_firmware.hold(name, data)] == []


def test_fuzz_firmware_reaches_the_rules_behind_the_checksum() -> None:
    files = fuzz_firmware.seeds()
    codes: Counter[str] = Counter()
    for number in range(3000):
        name, data = fuzz_firmware.one_input(random.Random(number), files)
        codes.update(finding.code for finding in containers.parse(data, name).findings if finding.severity == "error")
    wanted = ("size", "header", "bounds", "overlap", "entry", "crc", "wrapper", "version")
    assert {f"amd.firmware.{word}" for word in wanted} <= set(codes)


def test_fuzz_firmware_reports_what_the_parser_raises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(data: bytes, name: str) -> None:
        raise IndexError("broken")

    monkeypatch.setattr(fuzz_firmware, "parse", broken)
    assert fuzz_firmware.main(["--count", "2"]) == 1
    assert "repeat: --seed 1 --count 1" in capsys.readouterr().err


def test_fuzz_firmware_stops_after_its_seconds() -> None:
    assert fuzz_firmware.main(["--seconds", "0.05"]) == 0
