"""Whatever the registers say: the probe ends in time, tells what it saw, and never calls a mute or lying GPU healthy."""

from __future__ import annotations

import json
import random

import pytest

from base.findings import Health, ProbeReport
from pcibus.transport import ALL_ONES, Transport
from tests.probe_fakes import Watched
from tests.probe_models import Probed, probe_model

INTERESTING = (0, 1, ALL_ONES, 0x7FFFFFFF, 0x80000000, 0x28211407)


class Lying(Watched):
    """Some reads give something else than the device said; those of the index registers stay true."""

    def __init__(self, inner: Transport, seed: int, share: float) -> None:
        super().__init__(inner)
        self.random = random.Random(seed)
        self.share = share

    def _lie(self, truth: int, bits: int) -> int:
        if self.random.random() >= self.share:
            return truth
        choice = self.random.choice(
            (*INTERESTING, self.random.getrandbits(32), truth ^ 1 << self.random.randrange(bits))
        )
        return choice & (1 << bits) - 1

    def config_read(self, offset: int, size: int) -> int:
        return self._lie(super().config_read(offset, size), 8 * size)

    def read32(self, bar: int, offset: int) -> int:
        truth = super().read32(bar, offset)
        return truth if offset in (0x0, 0x18, 0x38, 0x44, 0x50) else self._lie(truth, 32)

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        data = bytearray(super().read_block(bar, offset, size))
        if data and self.random.random() < self.share:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return bytes(data)


def check(probed: Probed) -> ProbeReport:
    report = probed.one
    json.dumps(report.to_dict())
    assert probed.virtual_s <= 2.0
    assert "probe.broken" not in [finding.code for finding in report.findings]
    for finding in report.findings:
        assert 0 < len(finding.summary) <= 80, finding.summary
        assert finding.code
    # An answer of a probe's own making would show as a Python error among the reasons.
    reasons = [item["reason"] for item in report.facts.get("unanswered", ())]
    assert not [
        reason for reason in reasons if reason.startswith(("KeyError", "TypeError", "IndexError", "AttributeError"))
    ]
    return report


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("spec", ["mi350x", "mi300x*8#3"])
def test_probe_of_a_gpu_that_lies_ends_in_time_with_a_sound_report(spec: str, share: float) -> None:
    for seed in range(20 if "*" in spec else 60):
        check(probe_model(spec, lambda _index, inner, seed=seed: Lying(inner, seed, share)))  # type: ignore[misc]


def test_probe_of_a_gpu_of_random_answers_is_never_healthy() -> None:
    for seed in range(40):
        report = check(probe_model("mi350x", lambda _index, inner, seed=seed: Lying(inner, seed, 1.0)))  # type: ignore[misc]
        assert report.health != Health.HEALTHY


@pytest.mark.parametrize("word", [0, ALL_ONES])
def test_probe_of_a_gpu_whose_registers_all_read_the_same_is_never_healthy(word: int) -> None:
    class Same(Watched):
        def read32(self, bar: int, offset: int) -> int:
            return word

        def read_block(self, bar: int, offset: int, size: int) -> bytes:
            return word.to_bytes(4, "little") * (size // 4)

    report = check(probe_model("mi350x", lambda _index, inner: Same(inner)))
    assert report.health == Health.HUNG
    assert (word == ALL_ONES) == ("pci.bar-dead" in [finding.code for finding in report.findings])
