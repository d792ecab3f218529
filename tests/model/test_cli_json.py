"""What --json prints is what docs/json.schema.json says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import cli

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/json.schema.json").read_text())
BAD = "model:mi300x*8?fault=discovery-clobbered@2,bootloader-silent@5,mec-hang@1,xgmi-link-down@6,bus-lost@7"

COMMANDS = [
    ("list",),
    ("probe",),
    ("discovery", "validate"),
    ("discovery", "show"),
    ("-g", "0,2", "discovery", "diff"),
    ("-g", "0", "discovery", "save", "--dry-run"),
    ("-g", "0", "regs", "read", "GRBM_STATUS*"),
    ("regs", "decode", "GRBM_STATUS", "1"),
    ("regs", "search", "GRBM_STATUS"),
    ("trace", "show", "no-such-file"),
    ("isa", "disassemble", "no-such-file"),
    ("model", "list"),
    ("model", "faults"),
    ("firmware", "needed", "mi300x"),
    ("-g", "99", "list"),
    ("nonsense",),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_json_follows_the_schema(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    code = cli.run(["--on", BAD, "--json", *arguments])
    told = capsys.readouterr()
    document = json.loads(told.out)
    jsonschema.validate(document, SCHEMA)
    assert ("error" in document) == (code >= 64)
    if "error" in document:
        assert document["error"]["exit"] == code


def test_json_probe_of_a_healthy_gpu_has_no_unknown_dressed_as_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--on", "model:mi350x", "probe", "--json"]) == 0
    (gpu,) = json.loads(capsys.readouterr().out)["gpus"]
    assert gpu["health"] == "healthy"
    assert gpu["facts"]["holders"] is None
    assert all(item["severity"] == "note" for item in gpu["findings"])


def test_schema_refuses_a_finding_without_a_next_step() -> None:
    finding = {"code": "a.b", "severity": "note", "summary": "x", "expected": "", "seen": "", "where": ""}
    gpu = {"index": 0, "bdf": "0000:05:00.0", "part": "MI350X", "arch": "gfx950", "findings": [finding]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "command": "probe", "gpus": [gpu]}, SCHEMA)
