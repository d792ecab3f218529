"""A fast portion of tests/fuzz/fuzz_discovery.py; `make fuzz` runs the 200,000."""

from __future__ import annotations

import pytest

from amdriver.discovery import validate
from tests.fuzz.fuzz_discovery import Tally, judge, run, seeds, truncations


def test_discovery_fuzz_seeds_are_good_tables() -> None:
    assert len(seeds()) >= 11
    assert all(validate(blob).ok for blob in seeds())


def test_discovery_fuzz_portion_finds_no_crash() -> None:
    tally = run(count=6000, seconds=None, seed=20)
    assert tally.cases == 6000
    assert 0 < tally.valid < tally.cases / 2, "mutations reach both sides"


def test_discovery_fuzz_truncation_to_every_length_is_an_error() -> None:
    blob = seeds()[0]
    tally = Tally()
    truncations([blob], tally)
    assert tally.cases == len(blob)


def test_discovery_fuzz_judge_notices_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = seeds()[0]
    broken = blob[:-1] + bytes([blob[-1] ^ 1])
    monkeypatch.setattr("tests.fuzz.fuzz_discovery.validate", lambda data, **_: validate(blob))
    with pytest.raises(AssertionError):
        judge(broken, None, Tally())
