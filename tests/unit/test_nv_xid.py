"""Xids: the catalogue's rows, and which lines of a kernel log belong to which GPU."""

from __future__ import annotations

import pytest

from base.findings import Action, Severity
from nvdriver.xid import CATALOGUE, ECHOES, read_log, started_anew

BDF = "0000:c1:00.0"
LOADING = "[    9.000000] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.105.08  Release Build\n"


def line(number: int, text: str = "pid=7, name=a, Ch 8", *, at: float = 20.0, place: str = "0000:c1:00") -> str:
    return f"[{at:12.6f}] NVRM: Xid (PCI:{place}): {number}, {text}\n"


@pytest.mark.parametrize(
    ("number", "severity", "action"),
    [
        (13, Severity.WARNING, Action.RESTART_APP),
        (31, Severity.WARNING, Action.RESTART_APP),
        (43, Severity.NOTE, Action.NONE),
        (45, Severity.NOTE, Action.NONE),
        (46, Severity.ERROR, Action.FLR),
        (48, Severity.WARNING, Action.RESTART_APP),
        (63, Severity.WARNING, Action.NONE),
        (64, Severity.ERROR, Action.FLR),
        (74, Severity.WARNING, Action.NONE),
        (79, Severity.FATAL, Action.NODE_REBOOT),
        (94, Severity.WARNING, Action.RESTART_APP),
        (95, Severity.ERROR, Action.FLR),
        (109, Severity.ERROR, Action.FLR),
        (119, Severity.ERROR, Action.FLR),
        (120, Severity.ERROR, Action.FLR),
        (136, Severity.ERROR, Action.FLR),
        (143, Severity.ERROR, Action.FLR),
        (145, Severity.WARNING, Action.NONE),
        (158, Severity.ERROR, Action.FLR),
    ],
)
def test_catalogue_row_says_what_the_vendor_says(number: int, severity: Severity, action: Action) -> None:
    row = CATALOGUE[number]
    assert (row.severity, row.action) == (severity, action)


def test_catalogue_rows_are_whole_and_short_enough_for_a_summary() -> None:
    assert set(CATALOGUE) >= {8, 13, 31, 43, 45, 48, 63, 64, 74, 79, 92, 94, 95, 119, 120, 154, 173}
    for number, row in CATALOGUE.items():
        assert row.number == number
        assert row.name and row.meaning and row.first
        assert len(f"Xid {number}: {row.name}: {row.meaning}") <= 80


def test_log_counts_each_number_of_this_gpu_only() -> None:
    text = line(31, at=20) + line(31, at=25) + line(79, place="0000:c2:00") + line(13, place="0001:c1:00", at=30)
    log = read_log(text, BDF)
    assert [(item.number, item.count, item.first_s, item.last_s) for item in log.seen] == [(31, 2, 20.0, 25.0)]
    assert log.seen[0].pids == (7,)


@pytest.mark.parametrize("place", ["C1:00", "00000000:c1:00", "0000:c1:00 GPU-I:05"])
def test_log_place_in_any_form_is_the_same_gpu(place: str) -> None:
    assert [item.number for item in read_log(line(94, place=place), BDF).seen] == [94]


def test_log_before_the_driver_was_loaded_anew_is_past() -> None:
    log = read_log(line(79, at=5) + LOADING + line(31), BDF)
    assert [item.number for item in log.seen] == [31]
    assert log.past == 1


def test_log_of_kmsg_with_priorities_is_read_alike() -> None:
    log = read_log("<3>" + line(119, at=7.5), BDF)
    assert (log.seen[0].number, log.seen[0].first_s) == (119, 7.5)


def test_log_first_fatal_of_a_burst_is_neither_echo_nor_application() -> None:
    log = read_log(line(43) + line(45) + line(13) + line(119) + line(79), BDF)
    assert log.first_fatal is not None and log.first_fatal.number == 119
    assert {43, 45} == ECHOES
    assert read_log(line(43) + line(13), BDF).first_fatal is None


def test_log_number_without_a_row_counts_as_fatal_until_it_is_known() -> None:
    first = read_log(line(999), BDF).first_fatal
    assert first is not None and first.known is None


def test_log_recovery_action_is_the_last_one_told() -> None:
    told = "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"
    back = "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"
    assert read_log(line(154, told), BDF).action == 1
    assert read_log(line(154, told) + line(154, back), BDF).action == 0
    assert read_log(line(31), BDF).action is None


@pytest.mark.parametrize(
    "text",
    ["", "NVRM: Xid", "[1.0] NVRM: Xid (PCI:zz:00): 31, x", "[1.0] NVRM: Xid (PCI:0000:c1:00): , x", "\x00\xff" * 50],
)
def test_log_that_is_no_xid_tells_nothing(text: str) -> None:
    assert read_log(text, BDF).seen == ()


def test_line_of_a_reset_ends_the_past_of_its_gpu_only() -> None:
    text = line(62) + line(62, place="0000:c2:00") + f"[   30.000000] {started_anew(BDF, 'flr')}\n"
    assert read_log(text, BDF).seen == () and read_log(text, BDF).past == 1
    assert [item.number for item in read_log(text, "0000:c2:00.0").seen] == [62]
    assert [item.number for item in read_log(text + line(79), BDF).seen] == [79]


def test_recovery_action_before_a_reset_is_past() -> None:
    changed = line(154, "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)")
    assert read_log(changed, BDF).action == 1
    assert read_log(changed + f"[   30.000000] {started_anew(BDF, 'flr')}\n", BDF).action is None
