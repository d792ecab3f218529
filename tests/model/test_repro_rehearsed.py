"""Every userspace scenario on models: with the fault that makes it reproduce, and without; on the virtual clock."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
import gpumend
from base.errors import Exit, Refused
from base.runs import RunOutcome
from repro import runner
from repro.runner import Silent

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/json.schema.json").read_text())
CLOBBERED = "discovery-clobbered-after-unclean-exit"
# (scenario, address without a fault, the fault, why it reproduces, are the GPUs as before in the end)
REHEARSED = [
    ("hive-reset-loop-userspace", "mi300x*2", "reset-wears-out:1", "[amd.psp.bootloader]", True),
    (CLOBBERED, "mi350x", "discovery-clobbered-after:unclean-exit", "[amd.discovery.signature]", True),
    ("bad-kernel-recovery", "mi350x", "reset-hangs:queue,reset-hangs:mec,reset-hangs:mode2", "invalid-address failed", True),
    ("sdma-under-reset", "mi350x", "reset-hangs:sdma-engine", "reset-while-copying failed", True),
    ("psp-reload-loop", "mi350x", "psp-ring-dead", "reload failed", None),
    ("flr-loop", "mi350x", "flr-loses-config", "[pci.lost]", False),
    ("xgmi-retrain-loop", "mi350x*2", "one-member-late@1", "[amd.xgmi.link]", False),
    ("clock-stability", "mi350x", "throttle:vr", "throttled by regulator temperature", None),
]  # fmt: skip
IDS = [row[0] for row in REHEARSED]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, firmware_dir: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("GPUMEND_FIRMWARE", str(firmware_dir))
    monkeypatch.delenv("GPUMEND_ON", raising=False)


def run(name: str, address: str, folder: Path, *parameters: str) -> gpumend.RunReport:
    found = gpumend.list_gpus([f"model:{address}"])
    return gpumend.run_scenario(gpumend.read_scenario(name, parameters), found, found, folder)


def timeline(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]


@pytest.mark.long
@pytest.mark.parametrize(("name", "address", "fault", "why", "restored"), REHEARSED, ids=IDS)
def test_scenario_reproduces_with_its_fault(
    name: str, address: str, fault: str, why: str, restored: bool | None, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    report = run(name, f"{address}?fault={fault}", folder, "count=3")
    assert (report.outcome, report.exit_code) == (RunOutcome.REPRODUCED, Exit.PROBLEM)
    first = report.first
    assert first is not None
    assert first.number == (2 if name == "hive-reset-loop-userspace" else 1)
    assert any(why in text for text in first.why), first.why
    assert report.restored is restored
    checked = gpumend.check_bundle(folder)
    assert checked.ok, checked.findings
    kinds = {row["kind"] for row in timeline(folder)}
    assert kinds >= {"begin", "probe", "watch", "iteration", "action", "kept", "end"}
    names = {path.name for path in folder.rglob("*")}
    assert {"settings.json", "scenario.yaml", "result.json", "report.md", f"iteration-{first.number}.json"} <= names
    traces = list((folder / "trace").iterdir())
    assert traces
    assert all(gpumend.read_trace(path).events for path in traces), "the traces are such that trace show reads"


@pytest.mark.long
@pytest.mark.parametrize(("name", "address"), [row[:2] for row in REHEARSED], ids=IDS)
def test_scenario_is_clean_without_the_fault(name: str, address: str, tmp_path: Path) -> None:
    report = run(name, address, tmp_path / "run", "count=2")
    assert (report.outcome, report.exit_code, report.incidence) == (RunOutcome.CLEAN, Exit.OK, "0 of 2")
    assert report.restored is None
    assert not (tmp_path / "run/trace").exists()
    assert gpumend.check_bundle(tmp_path / "run").ok


def test_registers_of_bad_kernels_are_in_the_folder_of_their_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    report = run("bad-kernel-recovery", "mi350x", folder, "count=2")
    assert report.outcome is RunOutcome.CLEAN
    kernels = {
        "invalid-address": ("instruction dc708000 007f0200", "memory violation"),
        "infinite-loop": ("instruction bf82ffff bf810000", "runs or waits"),
        "illegal-instruction": ("instruction ffffffff bf810000", "illegal instruction"),
    }
    names = {f"iteration-{number}-{kernel}-gpu0.txt" for number in (1, 2) for kernel in kernels}
    assert {path.name for path in (folder / "waves").iterdir()} == names
    for kernel, (instruction, why) in kernels.items():
        text = (folder / f"waves/iteration-1-{kernel}-gpu0.txt").read_text()
        first = text.splitlines()[0]
        assert instruction in first and first.endswith(why), first
        assert {line.split()[0] for line in text.splitlines()} >= {"status", "s0", "s104", "v0", "v15"}
        (told,) = (row for row in timeline(folder) if row.get("name") == kernel and row["kind"] == "action" and "told" in row
                   and row["number"] == 1)  # fmt: skip
        assert told["told"]["gpu0"]["waves"][0] == first
    vgprs = dict(
        line.split(None, 1) for line in (folder / "waves/iteration-1-invalid-address-gpu0.txt").read_text().splitlines()
    )
    assert vgprs["v1"].split()[0] == "00007f00", "the address that nobody mapped"
    assert gpumend.check_bundle(folder).ok


def test_registers_of_bad_kernels_are_kept_of_the_first_few_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MAX_WAVE_FILES", 2)
    run("bad-kernel-recovery", "mi350x", tmp_path / "run", "count=2")
    assert len(list((tmp_path / "run/waves").iterdir())) == 2


def test_registers_of_a_kernel_that_no_reset_ends_are_kept(tmp_path: Path) -> None:
    sick = "mi350x?fault=reset-hangs:queue,reset-hangs:mec,reset-hangs:mode2"
    assert run("bad-kernel-recovery", sick, tmp_path / "run", "count=1").outcome is RunOutcome.REPRODUCED
    text = (tmp_path / "run/waves/iteration-1-invalid-address-gpu0.txt").read_text()
    assert "instruction dc708000 007f0200" in text


def test_scenarios_of_the_kernel_driver_are_refused_on_models_with_the_line_for_the_lab(tmp_path: Path) -> None:
    for name in ("hive-reset-loop", "rebind-loop", "amdgpu-ras-disabled-oops"):
        with pytest.raises(Refused) as caught:
            run(name, "mi350x", tmp_path / "run")
        assert "gpumend lab run" in caught.value.next_step
        assert not (tmp_path / "run").exists(), "nothing was begun"


def test_every_scenario_is_rehearsed_here_or_in_the_lab() -> None:
    driver = {name for name in gpumend.scenarios() if gpumend.read_scenario(name).through == "driver"}
    assert set(IDS) | driver == set(gpumend.scenarios())
    for name in IDS:
        assert gpumend.read_scenario(name).rehearse is not None


@pytest.mark.long
def test_seventh_reset_of_the_hive_reproduces_and_fifty_are_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The issue's own words; the clean one with two GPUs, which is the same code in a quarter of the time."""
    arguments = ["repro", "run", "hive-reset-loop-userspace", "--yes", "--json"]
    sick = "model:mi350x*8?fault=reset-wears-out:6"
    code = cli.run(["--on", sick, *arguments, "-p", "count=50", "-o", str(tmp_path / "sick")])
    body = document(capsys)
    assert code == Exit.PROBLEM
    assert (body["outcome"], body["first"]["iteration"], body["statistics"]["incidence"]) == ("reproduced", 7, "1 of 7")
    assert body["restored"] is True
    assert cli.run(["repro", "check", str(tmp_path / "sick")]) == Exit.OK
    capsys.readouterr()
    code = cli.run(["--on", "model:mi350x*2", *arguments, "-p", "count=50"])
    body = document(capsys)
    assert code == Exit.OK
    assert (body["outcome"], body["statistics"]["ok"], body["statistics"]["done"]) == ("not reproduced", 50, 50)


@pytest.mark.long
def test_counting_goes_on_after_a_reproduction_when_the_gpus_can_be_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "model:mi350x*2?fault=reset-wears-out:1"
    arguments = ["repro", "run", "hive-reset-loop-userspace", "-p", "count=6", "--yes", "--keep-going", "--json"]
    assert cli.run(["--on", address, *arguments, "-o", str(tmp_path / "run")]) == Exit.PROBLEM
    body = document(capsys)
    assert body["statistics"]["incidence"] == "3 of 6"  # each bus reset lets one more work
    assert [one["word"] for one in body["iterations"]] == ["ok", "reproduced"] * 3
    assert body["restored"] is True


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told = capsys.readouterr()
    assert "has a defect" not in told.err, told.err
    body: dict[str, Any] = json.loads(told.out)
    jsonschema.validate(body, SCHEMA)
    return body


def test_interrupted_iteration_is_looked_at_and_what_it_did_is_put_back(tmp_path: Path) -> None:
    """The last look was before it began: what it broke must not go unseen."""
    scenario = tmp_path / "two.yaml"
    scenario.write_text("""\
name: two
shows: a start that is killed, and then a wait in which somebody interrupts
parts: [all]
through: userspace
actions: [{name: killed, module: boot, kill_at: gfx}, {name: long, module: wait, seconds: 1}]
watch: [probe]
reproduced: [{finding: "amd.smu.*"}]
restore: [{name: reset, module: reset, method: auto}]
""")

    class Impatient(Silent):
        def acting(self, action: Any) -> None:
            if action.name == "killed":
                os.kill(os.getpid(), signal.SIGINT)

    found = gpumend.list_gpus(["model:mi350x?fault=discovery-clobbered-after:unclean-exit"])
    folder = tmp_path / "run"
    report = gpumend.run_scenario(gpumend.read_scenario(str(scenario)), found, found, folder, onlooker=Impatient())
    assert (report.outcome, report.restored, report.iterations) == (RunOutcome.INTERRUPTED, True, ())
    assert not [one for one in timeline(folder) if one.get("name") == "long"], "the next action was not begun"
    assert next(one["name"] for one in timeline(folder) if one["kind"] == "restore") == "reset"
