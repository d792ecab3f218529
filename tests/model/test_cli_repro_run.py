"""`repro list, show, run, export` on the command line: answers, refusals, exit codes, archives, and a run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
import gpumend
from base.errors import Exit
from tests.evidence_tree import SECRETS, SHADOW, machine, raw_bytes

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/json.schema.json").read_text())
NAMES = [secret for secret in SECRETS if secret not in SHADOW]  # the other two are what no link may lead to
FLR = ("repro", "run", "flr-loop", "-p", "count=1")
MODEL = "model:mi350x"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GPUMEND_ON", raising=False)


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.run(words)
    told = capsys.readouterr()
    assert "has a defect" not in told.err, told.err
    return int(code), told.out, told.err


def document(out: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(out)
    jsonschema.validate(body, SCHEMA)
    return body


def test_list_and_show_tell_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "repro", "list", "--json")
    rows = document(out)["scenarios"]
    assert code == 0
    assert [row["name"] for row in rows] == gpumend.scenarios()
    assert call(capsys, "repro", "list", "--csv")[1].startswith("name,through,count,parts,shows")
    for name in gpumend.scenarios():
        code, out, _ = call(capsys, "repro", "show", name)
        assert code == 0
        assert name in out
        assert "put back" in out
    assert document(call(capsys, "repro", "show", "flr-loop", "-p", "count=3", "--json")[1])["scenario"]["count"] == 3


def test_wrong_names_parameters_and_files_are_wrong_arguments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "repro", "show", "flr-lop")
    assert code == Exit.USAGE
    assert "did you mean flr-loop?" in err
    for words in (("-p", "cuont=3"), ("-p", "count"), ("-p", "count=0"), ("-p", "count=many")):
        code, _, err = call(capsys, "repro", "show", "flr-loop", *words)
        assert code == Exit.USAGE, words
        assert "expected" in err
    (tmp_path / "mine.yaml").write_text("name: mine\nshows: x\n")
    code, _, err = call(capsys, "repro", "run", str(tmp_path / "mine.yaml"), "--yes")
    assert code == Exit.USAGE
    assert "line 2" in err
    assert call(capsys, "repro", "show", str(tmp_path / "none.yaml"))[0] == Exit.UNAVAILABLE


def test_run_asks_and_its_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "--on", MODEL, *FLR)
    assert code == Exit.REFUSED
    assert "--yes" in err
    code, out, _ = call(capsys, "--on", MODEL, *FLR, "--dry-run", "--json")
    assert code == 0
    assert document(out)["dry_run"] is True
    assert not (tmp_path / "state/gpumend/runs").exists()


def test_run_overwrites_nothing_and_begins_nothing_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "there"
    target.mkdir()
    code, _, err = call(capsys, "--on", MODEL, *FLR, "--yes", "-o", str(target))
    assert code == Exit.REFUSED
    assert "it is there" in err
    assert not list(target.iterdir())
    assert call(capsys, "--on", MODEL, *FLR, "--yes", "-o", str(tmp_path / "no/such/x.tar.gz"))[0] == Exit.UNAVAILABLE


def test_run_refuses_parts_and_gpus_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "--on", "model:mi350x?fault=smu-silent", *FLR, "--yes")
    assert code == Exit.REFUSED
    assert "amd.smu.silent" in err
    assert "gpumend reset" in err
    code, _, err = call(capsys, "--on", MODEL, "repro", "run", "xgmi-retrain-loop", "--yes")
    assert code == Exit.REFUSED
    assert "at least 2 GPUs" in err


@pytest.mark.long
@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar.zst"])
def test_run_into_an_archive_has_the_run_and_a_bundle(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / name
    code, out, _ = call(capsys, "--on", MODEL, *FLR, "--yes", "-o", str(target), "--json")
    body = document(out)
    assert code == 0
    assert body["archive"]["ok"] is True
    checked = gpumend.check_bundle(target)
    assert checked.ok
    names = {entry["name"] for entry in checked.manifest["files"]}
    assert names >= {
        "report.md",
        "probe.json",
        "run/timeline.jsonl",
        "run/result.json",
        "resets.jsonl",
        "gpu0/discovery.bin",
    }


def test_bundle_of_a_run_is_redacted_and_names_incidence_and_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    assert call(capsys, "--on", MODEL, *FLR, "--yes", "-o", str(folder))[0] == 0
    with (folder / "timeline.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "seen", "text": " ".join(NAMES)}) + "\n")
    (folder / "kernel.log").write_text("\n".join(NAMES))
    there = machine(tmp_path / "machine")
    monkeypatch.setattr(gpumend, "SYS_ROOT", there.fake.root)
    monkeypatch.setattr(gpumend, "PROC_ROOT", there.fake.proc)
    code, _, _ = call(capsys, "repro", "bundle", "--run", str(folder), "-o", str(tmp_path / "b"))
    assert code == 0
    files = raw_bytes(tmp_path / "b")
    assert {"run/timeline.jsonl", "run/kernel.log"} <= set(files)
    assert not [(name, secret) for name, data in files.items() for secret in NAMES if secret.encode() in data]
    report = files["report.md"].decode()
    assert "Incidence: 0 of 1" in report
    assert "repro run flr-loop" in report
    assert call(capsys, "repro", "bundle", "--run", str(tmp_path), "-o", str(tmp_path / "c"))[0] == Exit.USAGE


def test_export_writes_a_file_or_puts_it_beside_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "f.py"
    code, out, _ = call(capsys, "repro", "export", "hive-reset-loop", "-o", str(target), "--json")
    assert code == 0
    assert document(out)["through"] == "driver"
    assert target.read_text().startswith("#!/usr/bin/env python3")
    assert call(capsys, "repro", "export", "hive-reset-loop", "-o", str(target))[0] == Exit.REFUSED
    assert call(capsys, "repro", "export", "bad-kernel-recovery", "-o", str(tmp_path / "g.py"))[0] == Exit.REFUSED
    assert not (tmp_path / "g.py").exists()
    archive = tmp_path / "f.tar.gz"
    code, _, _ = call(capsys, "--on", MODEL, "repro", "export", "flr-loop", "-o", str(archive))
    assert code == 0
    names = {entry["name"] for entry in gpumend.check_bundle(archive).manifest["files"]}
    assert {"flr-loop.py", "probe.json"} <= names


def begun(tmp_path: Path, folder: Path, line: bytes) -> subprocess.Popen[bytes]:
    """A long run in a process of its own, whose timeline has that line."""
    words = [
        "--on",
        "model:mi350x*2",
        "repro",
        "run",
        "xgmi-retrain-loop",
        "-p",
        "count=100000",
        "--yes",
        "-o",
        str(folder),
    ]
    victim = subprocess.Popen(
        [sys.executable, "-m", "gpumend", *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )  # fmt: skip
    lines = folder / "timeline.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (lines.exists() and line in lines.read_bytes()):
        time.sleep(0.02)
    return victim


@pytest.mark.long
def test_run_that_is_killed_leaves_a_folder_that_tells_how_far_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    victim = begun(tmp_path, folder, b'"number": 2, "state": "end"')
    victim.send_signal(signal.SIGKILL)
    assert victim.wait(30) == -signal.SIGKILL
    code, out, _ = call(capsys, "repro", "check", str(folder), "--json")
    body = document(out)
    assert code == Exit.UNKNOWN, body["findings"]
    assert body["complete"] is False
    run = body["run"]
    assert (run["scenario"], run["outcome"], run["started_anew_since"]) == ("xgmi-retrain-loop", None, False)
    assert run["ended"] >= 2
    assert run["command"].startswith("gpumend --on 'model:mi350x*2' repro run xgmi-retrain-loop")
    assert "did not come to its end" in call(capsys, "repro", "check", str(folder))[1]
    code, _, _ = call(capsys, "--on", MODEL, "repro", "bundle", "--run", str(folder), "-o", str(tmp_path / "b.tar.gz"))
    assert code == 0, "what is on the disk can be handed over"
    shorten(folder / "settings.json", run["ended"] + 2)
    code, out, _ = call(
        capsys, "repro", "run", "--resume", str(folder), "--yes", "-o", str(tmp_path / "rest"), "--json"
    )
    body = document(out)
    assert code == 0
    assert (body["asked"], body["statistics"]["done"]) == (2, 2)
    assert f"goes on with {folder}, where 0 of {run['ended']} reproduced" in body["notes"]
    settings = json.loads((tmp_path / "rest/settings.json").read_text())
    assert (settings["continues"], settings["on"]) == (str(folder), ["model:mi350x*2"])
    assert call(capsys, "repro", "run", "--resume", str(tmp_path / "rest"), "--yes")[0] == Exit.REFUSED, (
        "that one ended"
    )
    assert call(capsys, "repro", "run", "--resume", str(tmp_path), "--yes")[0] == Exit.USAGE
    assert call(capsys, "repro", "run", "flr-loop", "--resume", str(folder), "--yes")[0] == Exit.USAGE
    assert call(capsys, "repro", "run", "--yes")[0] == Exit.USAGE


def shorten(path: Path, count: int) -> None:
    """As if fewer iterations had been asked for."""
    body = json.loads(path.read_text())
    body["definition"]["count"] = count
    path.write_text(json.dumps(body))


@pytest.mark.long
def test_interrupted_run_ends_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    victim = begun(tmp_path, folder, b'"state": "end"')
    victim.send_signal(signal.SIGTERM)
    assert victim.wait(60) == Exit.INTERRUPTED
    assert gpumend.check_bundle(folder).ok, "the folder is complete: it says that it was interrupted"
    assert json.loads((folder / "result.json").read_text())["outcome"] == "interrupted"
    assert call(capsys, "repro", "check", str(folder))[0] == 0


def test_asking_names_every_step_and_whom_else_it_hits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file says of itself."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    words = ("repro", "run", "hive-reset-loop-userspace")
    code, _, err = call(capsys, "--on", "model:mi350x*2", "-g", "1", *words)
    assert code == Exit.REFUSED
    assert "1. reset: reset (method hive-reset) on all" in err
    assert "if the GPUs are not as before: bus-reset: reset (method bus-reset) on all" in err
    assert "others of its hive, which may be GPU 0 (" in err
