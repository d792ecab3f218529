"""`gpumend selftest`: exit codes, what is printed and what is not, for reports that a test makes up."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
import gpumend
from amdriver.selftest import run
from base.clock import VirtualClock
from base.errors import DeviceLost, NotPermitted, Refused, WaitTimeout
from base.selftest import Level, SelftestReport
from commands.selftest import size_text
from tests.selftest_fakes import FakeGpu, hive, subject

SMALL = Level("quick", most_bytes=1 << 17, engine_bytes=1 << 12, peer_bytes=1 << 12, stamps=4, meeting_s=100)
SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/json.schema.json").read_text())


def reports_of(gpus: list[FakeGpu | Exception], clock: VirtualClock) -> list[SelftestReport]:
    return run([subject(gpu, index) for index, gpu in enumerate(gpus)], SMALL, clock)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Let the command find these GPUs and reports; returns how it was called."""

    def install(reports: list[SelftestReport]) -> dict[str, Any]:
        called: dict[str, Any] = {}

        def selftest_gpus(found: Any, **options: Any) -> list[SelftestReport]:
            called.update(options, found=len(found))
            return reports

        monkeypatch.setattr(gpumend, "selftest_gpus", selftest_gpus)
        monkeypatch.setenv("GPUMEND_ON", f"model:mi350x*{len(reports)}")
        return called

    return install


def test_selftest_good_hive_exits_0_and_prints_a_row_each(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clock = VirtualClock()
    called = told(reports_of([*hive(clock, 2)], clock))
    assert cli.run(["selftest"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split()[4] for line in out.splitlines()[1:3]] == ["ok", "ok"]
    assert out.splitlines()[-1].startswith("2 of 2 ok; ")
    assert called == {
        "found": 2, "level": "quick", "engines": None, "skip": (), "seed": 1, "firmware": None, "progress": None,
    }  # fmt: skip


def test_selftest_options_are_handed_on(told: Any) -> None:
    clock = VirtualClock()
    called = told(reports_of([FakeGpu(clock)], clock))
    arguments = "selftest --level full --engine 0,3 --engine 7 --skip peers --skip sdma --seed 5 --firmware /fw"
    assert cli.run(arguments.split()) == 0
    assert (called["level"], called["engines"], called["skip"]) == ("full", [0, 3, 7], ("peers", "sdma"))
    assert (called["seed"], called["firmware"]) == (5, "/fw")


@pytest.mark.parametrize("bad", ["x", "", "-1", "1,,2", "²", "64", "0,99"])
def test_selftest_engine_that_no_part_has_exits_64(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--on", "model:mi350x", "selftest", "--engine", bad]) == 64
    assert "choosing SDMA or copy engines" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (Refused("opening it", seen="held by python3 (pid 42)"), 3, "refused"),
        (DeviceLost("opening it", seen="config space reads all ones"), 69, "unavailable"),
        (NotPermitted("opening it", seen="CAP_SYS_ADMIN is missing"), 77, "not permitted"),
        (WaitTimeout("waiting for the bootloader", expected="ready", seen="0"), 1, "failed"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_selftest_gpu_that_cannot_be_opened_gives_its_code_beside_good_ones(
    told: Any, capsys: pytest.CaptureFixture[str], error: Exception, code: int, word: str
) -> None:
    clock = VirtualClock()
    told(reports_of([FakeGpu(clock), error], clock))
    assert cli.run(["selftest"]) == code
    out = capsys.readouterr().out
    assert f"GPU 1 0000:25:00.0: {word}" in out
    assert str(error.args[0]) in out
    assert f"1 of 2 ok, 1 {word}" in out


def test_selftest_one_failed_beats_refused_and_unverified(told: Any) -> None:
    clock = VirtualClock()
    bad = FakeGpu(clock)
    bad.stuck = {1}
    told(reports_of([bad, Refused("opening it"), FakeGpu(clock, engines=1)], clock))
    assert cli.run(["selftest"]) == 1


def test_selftest_not_verified_exits_2_and_says_why(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clock = VirtualClock()
    told(reports_of([FakeGpu(clock, engines=1)], clock))
    assert cli.run(["selftest"]) == 2
    assert "not verified: no second engine was left to read back with" in capsys.readouterr().out


def test_selftest_same_error_of_all_is_told_once(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clock = VirtualClock()
    told(reports_of([Refused("opening it", seen="the same"), Refused("opening it", seen="the same")], clock))
    assert cli.run(["selftest"]) == 3
    out = capsys.readouterr().out
    assert out.count("the same") == 1
    assert "GPU 0 0000:05:00.0, GPU 1 0000:25:00.0: refused" in out


def test_selftest_mismatch_is_printed_with_offset_and_bytes(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)
    gpu.wrong = {0}
    told(reports_of([gpu], clock))
    assert cli.run(["selftest"]) == 1
    out = capsys.readouterr().out
    assert "amd.selftest.memory" in out and "VRAM offset 0x" in out and "moved by SDMA0" in out


def test_selftest_checks_shows_every_check(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clock = VirtualClock()
    told(reports_of([FakeGpu(clock)], clock))
    assert cli.run(["selftest", "--checks"]) == 0
    out = capsys.readouterr().out
    for word in ("boot", "memory", "SDMA3", "XCC1", "timestamps", "interrupts", "alone in its hive", "close"):
        assert word in out


@pytest.mark.parametrize("kind", ["good", "stuck", "refused", "lost"])
def test_selftest_json_follows_the_schema(told: Any, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    clock = VirtualClock()
    first = FakeGpu(clock)
    if kind == "stuck":
        first.stuck = {0}
    if kind == "lost":
        first.lost_after = 3
    told(reports_of([Refused("opening it") if kind == "refused" else first, FakeGpu(clock)], clock))
    code = cli.run(["--json", "selftest"])
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, SCHEMA)
    assert (document["command"], document["level"], document["dry_run"]) == ("selftest", "quick", False)
    assert code == {"good": 0, "stuck": 1, "refused": 3, "lost": 69}[kind] == document["gpus"][0]["exit"]
    assert (document["gpus"][0]["error"] is None) == (kind in ("good", "stuck"))
    assert document["gpus"][1]["status"] == "ok"


def test_selftest_csv_has_a_row_for_each_check(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    clock = VirtualClock()
    reports = reports_of([FakeGpu(clock)], clock)
    told(reports)
    assert cli.run(["--csv", "selftest"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == len(reports[0].checks)
    assert rows[0]["name"] == "boot" and rows[0]["verified"] == "yes"


def test_selftest_interrupted_exits_130_and_names_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt("GPU 1 0000:25:00.0 could not be closed: gpumend probe, then reset it")

    monkeypatch.setattr(gpumend, "selftest_gpus", stopped)
    assert cli.run(["--on", "model:mi350x*2", "selftest"]) == 130
    err = capsys.readouterr().err
    assert "GPU 1 0000:25:00.0 could not be closed" in err and "interrupted" in err


def test_selftest_on_a_terminal_shows_a_bar_on_stderr_only(
    told: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = VirtualClock()
    gpu = FakeGpu(clock)

    def selftest_gpus(found: Any, *, progress: Any, **_: Any) -> list[SelftestReport]:
        assert progress is not None
        return run([subject(gpu)], SMALL, clock, progress=progress)

    told([])
    monkeypatch.setenv("GPUMEND_ON", "model:mi350x")
    monkeypatch.setattr(gpumend, "selftest_gpus", selftest_gpus)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.run(["selftest"]) == 0
    out, err = capsys.readouterr()
    assert "GPU 0" in err and "GPU 0" not in out
    assert "1 of 1 ok" in out


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (16 << 20, "16.0 MiB"), (3 << 40, "3.0 TiB")],
)
def test_size_text_keeps_one_digit(size: int, text: str) -> None:
    assert size_text(size) == text
