"""SXids: which lines of a kernel log are one, how grave, and what to do."""

from __future__ import annotations

import pytest

from nvdriver.sxid import ALWAYS_FATAL, FATAL, NON_FATAL, TOGETHER, UNITS, read_log

LOADING = "[    9.000000] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.105.08  Release Build\n"
REAL = (
    "[   20.000000] nvidia-nvswitch4: SXid (PCI:0000:c6:00.0): 19084, Non-fatal, Link 29 AN1 Heartbeat Timeout Error (First)\n"
    "[   21.000000] nvidia-nvswitch0: SXid (PCI:0000:c2:00.0): 20034, Fatal, Link 28 LTSSM Fault Up\n"
    "[   22.000000] nvidia-nvswitch0: SXid (PCI:0000:c2:00.0): 20034, Fatal, Link 29 LTSSM Fault Up\n"
    "[   22.100000] nvidia-nvswitch0: SXid (PCI:0000:c2:00.0): 20034, Severity 5 Engine instance 00 Sub-engine instance 00\n"
    "[   22.200000] nvidia-nvswitch0: SXid (PCI:0000:c2:00.0): 20034, Data {0x00000000, 0x00000000}\n"
)


def test_lines_of_real_switches_are_read_and_their_data_lines_are_not_counted() -> None:
    first, second = read_log(REAL)
    assert (first.number, first.switch, first.bdf, first.word, first.count) == (
        19084, "nvswitch4", "0000:c6:00.0", NON_FATAL, 1,
    )  # fmt: skip
    assert (second.number, second.word, second.count, second.last_s) == (20034, FATAL, 2, 22.0)
    assert second.text == "Link 28 LTSSM Fault Up" and "DLPL" in second.unit


def test_what_was_before_the_driver_was_loaded_is_past() -> None:
    assert read_log(REAL + LOADING) == []
    assert len(read_log(LOADING + REAL)) == 2


def test_the_gravest_word_of_a_number_counts() -> None:
    line = "[    1.000000] nvidia-nvswitch0: SXid (PCI:0000:c2:00.0): 14017, {}, Link 01 TS ATO timeout\n"
    (row,) = read_log(line.format("Fatal") + line.format("Non-fatal"))
    assert row.word == FATAL and row.count == 2


@pytest.mark.parametrize(
    ("number", "word", "told"),
    [(19084, "Non-fatal", TOGETHER), (20034, "Fatal", TOGETHER), (12028, "Non-fatal", "restart what used it"),
     (10004, "Non-fatal", "cooled"), (11012, "Correctable", "none"), (20012, "Non-fatal", "connectors")],
)  # fmt: skip
def test_each_says_what_to_do(number: int, word: str, told: str) -> None:
    (row,) = read_log(f"nvidia-nvswitch0: SXid (PCI:0000:c2:00.0): {number}, {word}, Link 01 x\n")
    assert told in row.next and row.last_s is None


def test_crossbar_and_dead_controllers_are_fatal_to_the_fabric() -> None:
    assert {23001, 23017, 22003, 22011, 12020, 10003} <= ALWAYS_FATAL and 20034 not in ALWAYS_FATAL
    assert all(number // 1000 in UNITS for number in ALWAYS_FATAL)


@pytest.mark.parametrize(
    "text", ["", "SXid", "NVRM: Xid (PCI:0000:c2:00): 74, x", "nvidia-nvswitch0: SXid (PCI:x): 20034, Fatal, x"]
)
def test_other_lines_are_none(text: str) -> None:
    assert read_log(text) == []
