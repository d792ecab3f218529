"""`repro bundle` and `repro check` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import cli
import gpumend
from tests.evidence_tree import GPU, SECRETS, Machine, machine, raw_bytes

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/json.schema.json").read_text())
MODEL = "model:mi350x?fault=smu-silent"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.run(arguments)
    told = capsys.readouterr()
    assert "has a defect" not in told.err, told.err
    return int(code), told.out, told.err


def document(out: str) -> dict[str, object]:
    body: dict[str, object] = json.loads(out)
    jsonschema.validate(body, SCHEMA)
    return body


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GPUMEND_ON", raising=False)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path / "machine")
    monkeypatch.setattr(gpumend, "SYS_ROOT", made.fake.root)
    monkeypatch.setattr(gpumend, "PROC_ROOT", made.fake.proc)
    return made


@pytest.mark.parametrize("name", ["b.tar.gz", "b.tar.zst", "b"])
def test_bundle_is_written_read_back_and_checks(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / name
    code, out, _ = call(capsys, "--on", MODEL, "repro", "bundle", "-o", str(target), "--json", "--problem", "it hangs")
    body = document(out)
    assert code == 0
    assert body["path"] == str(target)
    assert body["ok"] is body["complete"] is True
    assert (body["sha256"] is None) == (name == "b")
    code, out, _ = call(capsys, "repro", "check", str(target), "--json")
    checked = document(out)
    assert code == 0
    assert {key: checked[key] for key in ("files", "bytes", "sha256")} == {
        key: body[key] for key in ("files", "bytes", "sha256")
    }
    state = tmp_path / "state/gpumend/evidence"
    assert not state.exists() or not list(state.iterdir()), "the folder that it was collected in is gone"


def test_bundle_without_output_goes_to_the_state_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "--on", MODEL, "repro", "bundle")
    assert code == 0
    (folder,) = (tmp_path / "state/gpumend/evidence").iterdir()
    assert str(folder) in out
    assert f"collecting into {folder}" in err
    assert "written and read back whole" in out


def test_bundle_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "b.tar.gz"
    target.write_text("mine")
    code, _, err = call(capsys, "--on", MODEL, "repro", "bundle", "-o", str(target))
    assert code == 3
    assert "it is there" in err
    assert target.read_text() == "mine"
    assert call(capsys, "--on", MODEL, "repro", "bundle", "-o", str(tmp_path / "no/such/b.tar.gz"))[0] == 69


def test_bundle_of_a_machine_redacts_unless_told_otherwise(
    there: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert there.subject.index == 0
    code, out, _ = call(capsys, "repro", "bundle", "-o", str(tmp_path / "b"))
    assert code == 0
    assert "redacted" in out
    files = raw_bytes(tmp_path / "b")
    assert not [name for name, data in files.items() for secret in SECRETS if secret.encode() in data]
    code, out, _ = call(capsys, "repro", "bundle", "-o", str(tmp_path / "c"), "--no-redact")
    assert code == 0
    assert "--no-redact" in out
    assert SECRETS[0].encode() in b"".join(raw_bytes(tmp_path / "c").values())


def test_bundle_of_a_gpu_that_is_gone_holds_what_the_machine_tells(
    there: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--on", "0000:99:00.0", "--on", GPU, "repro", "bundle", "-o", str(tmp_path / "b"), "--json")
    code, out, err = call(capsys, *arguments)
    assert code == 69
    assert "0000:99:00.0" in err
    assert [gpu["bdf"] for gpu in document(out)["gpus"]] == [GPU]  # type: ignore[attr-defined]
    code, out, _ = call(capsys, "--on", "0000:99:00.0", "repro", "bundle", "-o", str(tmp_path / "c"))
    assert code == 69
    assert "kernel.log" in raw_bytes(tmp_path / "c")
    assert there.device.exists()


def test_bundle_without_any_gpu_is_written(tmp_path: Path, there: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    (there.fake.root / "bus/pci/devices" / GPU).unlink()
    code, _, err = call(capsys, "repro", "bundle", "-o", str(tmp_path / "b"))
    assert code == 0
    assert "no supported GPU" in err
    assert "kernel.log" in raw_bytes(tmp_path / "b")


def test_bundle_for_a_server_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, _ = call(capsys, "--on", "remote:127.0.0.1:9", "repro", "bundle", "-o", str(tmp_path / "b"))
    assert code == 69
    assert not (tmp_path / "b").exists()


def test_check_says_what_is_wrong_with_which_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "b"
    assert call(capsys, "--on", MODEL, "repro", "bundle", "-o", str(folder))[0] == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    code, out, _ = call(capsys, "repro", "check", str(folder))
    assert code == 2
    assert "not complete" in out
    (folder / "report.md").write_text("changed")
    code, out, _ = call(capsys, "repro", "check", str(folder), "--json")
    assert code == 1
    findings = document(out)["findings"]
    assert {item["code"] for item in findings} == {"bundle.incomplete", "bundle.hash"}  # type: ignore[attr-defined]
    assert call(capsys, "repro", "check", str(folder), "--csv")[1].startswith("code,severity,summary")
    assert call(capsys, "repro", "check", str(tmp_path / "nothing"))[0] == 69
    assert call(capsys, "repro", "check", __file__)[0] == 64


def test_check_escapes_what_a_stranger_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = {
        "format": "gpumend-bundle",
        "version": 1,
        "complete": True,
        "tool": "\x1b[31mevil",
        "started": "\x9b2J",
        "files": [],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(body))
    (tmp_path / "a\x1b[2J").write_text("x")
    _, out, err = call(capsys, "repro", "check", str(tmp_path))
    assert not {"\x1b", "\x9b"} & set(out + err)
