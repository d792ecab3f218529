"""render/: nothing unescaped reaches a terminal; unknown is a word; tables, CSV and JSON stay readable."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import GpumendError, NotPermitted
from base.findings import Action, Finding, Health, ProbeReport, Severity
from render.reports import document, error_body, error_lines, findings_table, print_probe, summary_table
from render.text import Printer, Table, clean, csv_text, hex_view, plain_table, word

EVIL = "a\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp.exe\x7f\r\n"


def printed(table: Table) -> str:
    out = io.StringIO()
    Printer(out).table(table)
    return out.getvalue()


def report(**changes: object) -> ProbeReport:
    values: dict[str, object] = {
        "index": 2, "bdf": "0000:46:00.0", "part": "MI350X", "arch": "gfx950",
        "health": Health.HUNG, "action": Action.HIVE_RESET,
        "findings": (
            Finding("amd.note", Severity.NOTE, "a note"),
            Finding("amd.discovery.signature", Severity.FATAL, "overwritten", "0x28211407", EVIL, "VRAM", "reset"),
        ),
    }  # fmt: skip
    return ProbeReport(**{**values, **changes})  # type: ignore[arg-type]


def test_clean_terminal_escapes_become_visible_text() -> None:
    assert clean(EVIL) == "a\\x1b[31mred\\x1b]0;title\\x07\\x9b2J\\u202egnp.exe\\x7f\\x0d\\x0a"


@given(st.text())
def test_clean_any_text_is_printable(text: str) -> None:
    assert clean(text).isprintable()


def test_word_none_is_unknown_and_zero_is_zero() -> None:
    assert (word(None), word(0), word(False), word(True)) == ("unknown", "0", "no", "yes")


def test_plain_table_aligns_and_cuts_nothing() -> None:
    long = "x" * 300
    text = plain_table(Table(("gpu", "name"), [(1, "a"), (20, long)], right=frozenset({"gpu"})))
    assert text.splitlines() == ["gpu  name", "  1  a", " 20  " + long]


def test_csv_text_escapes_and_disarms_formulas() -> None:
    rows = list(csv.reader(io.StringIO(csv_text(Table(("a", "b"), [("=1+1", 'quote " and, comma'), (None, EVIL)])))))
    assert rows[1] == ["'=1+1", 'quote " and, comma']
    assert rows[2][0] == "unknown"
    assert "\x1b" not in rows[2][1]


def test_printer_pipe_gets_no_escape_sequences() -> None:
    out = io.StringIO()
    print_probe(Printer(out), [report()])
    text = out.getvalue()
    assert "\x1b" not in text
    assert "\\x1b[31m" in text
    assert "amd.note" not in text


def test_printer_terminal_shows_markup_in_data_as_data() -> None:
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=True, color_system=None)
    Printer(out, console=console).table(Table(("name",), [("[red]not markup[/red]",), (EVIL,)]))
    assert "[red]not markup[/red]" in out.getvalue()
    assert "\x9b" not in out.getvalue()
    assert "\x1b]0;" not in out.getvalue()


def test_print_probe_notes_are_shown_when_asked() -> None:
    out = io.StringIO()
    print_probe(Printer(out), [report()], notes=True)
    assert "amd.note" in out.getvalue()


def test_summary_table_names_what_needs_attention_only() -> None:
    assert "amd.discovery.signature" in printed(summary_table([report()]))
    assert "amd.note" not in printed(summary_table([report()]))
    assert printed(summary_table([report(findings=())])).rstrip().endswith("-")


def test_findings_table_keeps_a_row_for_a_gpu_without_findings() -> None:
    assert len(findings_table([report(findings=()), report()]).rows) == 3


def test_document_is_json_without_control_characters() -> None:
    text = document("probe", gpus=[report().to_dict()], blob=b"\x01\xff")
    parsed = json.loads(text)
    assert parsed["schema"] == 1
    assert parsed["gpus"][0]["findings"][1]["seen"] == EVIL
    assert parsed["blob"] == "01ff"
    assert not any((ord(char) < 0x20 and char != "\n") or char == "\x7f" for char in text)


def test_document_unknown_type_is_a_defect_not_a_guess() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        document("probe", gpus=[object()])


def test_error_body_carries_the_four_answers_and_the_code() -> None:
    error = NotPermitted("reading config", expected="CAP_SYS_ADMIN", seen="EPERM", where="/sys", next_step="sudo")
    body = error_body(error)
    assert body == {
        "kind": "NotPermitted", "doing": "reading config", "expected": "CAP_SYS_ADMIN",
        "seen": "EPERM", "where": "/sys", "next": "sudo", "exit": 77,
    }  # fmt: skip


def test_error_text_has_one_line_for_each_answer() -> None:
    error = GpumendError("SMU message 2", expected="an answer", seen="0x0", where="BAR5+0x1", next_step="probe")
    assert str(error).splitlines() == [
        "SMU message 2 failed",
        "  expected  an answer",
        "  seen      0x0",
        "  where     BAR5+0x1",
        "  next      probe",
    ]


def test_hex_view_marks_what_differs_and_what_is_missing() -> None:
    rows = hex_view(bytes(range(32)), bytes(range(17)) + b"\xff", 0x11, lines=1)
    assert [label for label, _ in rows] == ["0x0010 good", "       seen"]
    assert rows[1][1][0] == ("10", False)
    assert rows[1][1][1] == ("ff", True)
    assert rows[1][1][2] == ("--", True)


def test_line_newline_in_a_name_cannot_forge_a_line() -> None:
    out = io.StringIO()
    Printer(out).line("x\nvalid: 22 files")
    assert out.getvalue() == "x\\x0avalid: 22 files\n"


def test_error_lines_are_one_line_for_each_answer_whatever_they_hold() -> None:
    error = GpumendError("reading a\nb", expected="c\nd", seen="e", where="f\x1b[2J")
    lines = error_lines(error)
    assert lines == ["reading a\\x0ab failed", "  expected  c\\x0ad", "  seen      e", "  where     f\\x1b[2J"]


def test_printer_terminal_table_is_never_folded_or_cut() -> None:
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=40, force_terminal=True, color_system=None, soft_wrap=True)
    rows = [("0000:c1:00.0", "healthy", "y" * 60), ("0000:c2:00.0", "hung", "z")]
    Printer(out, console=console).table(Table(("bdf", "health", "note"), rows, states=frozenset({"health"})))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert plain.splitlines()[1:] == ["0000:c1:00.0  healthy  " + "y" * 60, "0000:c2:00.0  hung     z"]


def test_long_text_gets_a_line_for_each_part_and_none_looks_like_another() -> None:
    parts = [f"REGISTER_{number}=0x00000000 (FIELD=1)" for number in range(9)]
    error = GpumendError("waiting", seen="; ".join(parts), where="BAR5")
    lines = error_lines(error)
    assert lines[1] == f"  seen      {parts[0]}"
    assert lines[2:10] == [f"{'':12}{part}" for part in parts[1:]]
    assert lines[10] == "  where     BAR5"
