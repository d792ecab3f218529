"""Health and action from findings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from base.findings import Action, Finding, Health, Severity
from probe.advice import advise
from probe.verdict import TABLE, rule_of, verdict

PROBE = Path(__file__).resolve().parents[2] / "probe"


def finding(code: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(code, severity, "x")


def test_verdict_no_finding_is_healthy() -> None:
    assert verdict([], in_hive=True) == (Health.HEALTHY, Action.NONE)


@pytest.mark.parametrize("in_hive", [True, False])
def test_verdict_two_findings_take_worst_health_and_gravest_action(in_hive: bool) -> None:
    mixed = [finding("pci.link", Severity.WARNING), finding("amd.gfx.mec"), finding("amd.smu.silent")]
    assert verdict(mixed, in_hive=in_hive) == (Health.HUNG, Action.BUS_RESET)


def test_verdict_hive_and_single_differ_for_mode1() -> None:
    ras = [finding("amd.ras.fatal", Severity.FATAL)]
    assert verdict(ras, in_hive=True) == (Health.HUNG, Action.HIVE_RESET)
    assert verdict(ras, in_hive=False) == (Health.HUNG, Action.MODE1)


def test_verdict_a_note_of_any_code_is_healthy() -> None:
    assert verdict([finding("amd.ras.fatal", Severity.NOTE)], in_hive=True) == (Health.HEALTHY, Action.NONE)


def test_verdict_an_unanswered_question_is_unknown_not_healthy() -> None:
    assert verdict([finding("probe.unanswered", Severity.UNKNOWN)], in_hive=True) == (Health.UNKNOWN, Action.NONE)


def test_verdict_a_known_defect_outranks_an_unanswered_question() -> None:
    both = [finding("probe.unanswered", Severity.UNKNOWN), finding("pci.aer", Severity.WARNING)]
    assert verdict(both, in_hive=True) == (Health.DEGRADED, Action.NONE)


def test_verdict_unknown_because_decoding_is_off_still_names_the_act() -> None:
    off = [finding("pci.memory-off", Severity.UNKNOWN)]
    assert verdict(off, in_hive=True) == (Health.UNKNOWN, Action.RESTORE_CONFIG)


@pytest.mark.parametrize(
    ("code", "severity", "health"),
    [
        ("amd.discovery.ip", Severity.ERROR, Health.HUNG),
        ("amd.never.heard", Severity.ERROR, Health.HUNG),
        ("amd.never.heard", Severity.WARNING, Health.DEGRADED),
        ("other", Severity.FATAL, Health.HUNG),
    ],
)
def test_verdict_a_code_without_a_row_never_counts_as_healthy(code: str, severity: Severity, health: Health) -> None:
    assert rule_of(finding(code, severity)).health == health


def test_table_has_a_row_for_every_code_that_the_probe_itself_gives() -> None:
    given = {
        code
        for file in PROBE.glob("*.py")
        for code in re.findall(r'"((?:amd|pci)\.[a-z0-9.-]*[a-z0-9])"', file.read_text())
    }
    mild = {"amd.discovery.boot", "amd.discovery.golden", "pci.power", "pci.mmap-refused"}
    covered = set(TABLE) | mild | {code for code in given if code.startswith("amd.discovery.")}
    assert given <= covered
    assert len(given) > 15


def test_advise_keeps_the_text_of_findings_that_need_no_reset() -> None:
    told = Finding("amd.gfx.mec", Severity.ERROR, "x", next="as it was")
    assert advise([told], in_hive=True, nodes=8) == [told]


def test_advise_single_gpu_is_never_told_of_a_hive() -> None:
    (told,) = advise([finding("amd.psp.bootloader")], in_hive=False, nodes=1)
    assert "hive" not in told.next
    assert "mode1 does not come back either" in told.next


def test_advise_hive_of_unknown_size_still_says_together() -> None:
    (told,) = advise([finding("amd.discovery.signature")], in_hive=True, nodes=None)
    assert told.next.startswith("reset the hive with mode1: all GPUs of it together")


def test_advise_lost_member_of_a_hive_says_that_the_bus_reset_brings_back_one_and_the_hive_follows() -> None:
    lost = Finding("pci.lost", Severity.FATAL, "x", next="reset the bus of the port above (0000:04:00.0)")
    (told,) = advise([lost], in_hive=True, nodes=8)
    assert told.next.startswith(
        "reset the bus of the port above (0000:04:00.0). The other members of its hive have lost"
    )
    assert "the bus reset brings back this member only, without its links" in told.next
    assert told.next.endswith("then reset the hive with mode1, all 8 GPUs of it together, never this GPU alone")
    assert advise([lost], in_hive=False, nodes=1) == [lost]


@pytest.mark.parametrize(
    ("code", "severity", "rule"),
    [
        ("amd.discovery.memsize", Severity.WARNING, (Health.DEGRADED, Action.NONE)),
        ("amd.discovery.memsize", Severity.ERROR, (Health.HUNG, Action.HIVE_RESET)),
        ("amd.psp.boot-status", Severity.WARNING, (Health.DEGRADED, Action.NONE)),
        ("amd.psp.boot-status", Severity.NOTE, (Health.HEALTHY, Action.NONE)),
    ],
)
def test_verdict_codes_of_two_severities(code: str, severity: Severity, rule: tuple[Health, Action]) -> None:
    assert verdict([finding(code, severity)], in_hive=True) == rule
