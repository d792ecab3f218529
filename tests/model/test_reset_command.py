"""`gpumend reset` on modelled hives: what it does, whom it leaves alone, what it says, and when it refuses."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
import gpumend
from base.clock import VirtualClock
from base.errors import Exit, Refused
from base.findings import Action, ProbeReport
from base.resets import Outcome
from gpumodel import open_models
from gpumodel.faults import Reset
from resets.journal import Journal
from tests.probe_fakes import Watched

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/json.schema.json").read_text())
Run = Callable[..., tuple[int, dict[str, Any]]]
LOOKS = {(5, offset) for offset in (0x0, 0x18, 0x38, 0x44, 0x50)}  # index registers, which a look may write


class Counted(Watched):
    """Counts every write, of memory and config space too."""

    def write32(self, bar: int, offset: int, value: int) -> None:
        if (bar, offset) not in LOOKS:
            self.about_to_write((bar, offset, value))
        self.inner.write32(bar, offset, value)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self.about_to_write((bar, offset, len(data)))
        self.inner.write_block(bar, offset, data)

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.about_to_write((-1, offset, value))
        self.inner.config_write(offset, size, value)

    def about_to_write(self, what: tuple[int, int, int]) -> None:
        self.written.append(what)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, firmware_dir: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("GPUMEND_FIRMWARE", str(firmware_dir))
    return tmp_path / "state/gpumend"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`reset --json` at an address; the document is checked against its schema."""

    def call(address: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        code = cli.run(["--on", address, "--json", "reset", *arguments])
        out, err = capsys.readouterr()
        assert "has a defect" not in err, err
        document: dict[str, Any] = json.loads(out)
        jsonschema.validate(document, SCHEMA)
        return code, document

    return call


@pytest.fixture
def text(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(address: str, *arguments: str) -> tuple[int, str, str]:
        code = cli.run(["--on", address, "reset", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def methods(document: dict[str, Any]) -> list[str]:
    return [step["method"] for step in document["steps"]]


# --- what the issue asks to be shown


@pytest.mark.long
def test_worn_out_hive_fails_at_the_seventh_and_says_what_brings_it_back(run: Run) -> None:
    address = "model:mi350x*8?fault=reset-wears-out:6"
    code, document = run(address, "--hive", "--yes", "--loop", "50", "--until-failure")
    assert code == Exit.PROBLEM
    loop = document["loop"]
    assert (loop["rounds"], loop["ok"], loop["failed"], loop["first_failure"]) == (7, 6, 1, 7)
    first = document["first_failure"]
    assert methods(first) == ["hive-reset"]
    assert all("amd.psp.bootloader" in [f["code"] for f in gpu["after"]["findings"]] for gpu in first["gpus"])
    assert {gpu["answer"] for gpu in first["gpus"]} == {"bus-reset"}
    assert Path(loop["evidence"], "manifest.json").is_file()


@pytest.mark.long
def test_worn_out_hive_is_brought_back_by_the_ladder_and_the_loop_goes_on(run: Run) -> None:
    address = "model:mi350x*8?fault=reset-wears-out:6"
    code, document = run(address, "--method", "auto", "--yes", "--loop", "9", "--until-failure")
    assert code == Exit.PROBLEM, "a method failed"
    assert [one["word"] for one in document["rounds"]] == ["ok"] * 6 + ["climbed"] + ["ok"] * 2
    assert document["rounds"][6]["methods"] == ["hive-reset", "bus-reset"]
    assert {gpu["after"]["health"] for gpu in document["gpus"]} == {"healthy"}


@pytest.mark.parametrize(("method", "proof"), [("auto", "engine"), ("mec-reset", "engine"), ("queue-reset", "engine")])
def test_hung_mec_is_recovered_without_touching_the_other_seven(method: str, proof: str) -> None:
    clock = VirtualClock()
    models = open_models("mi350x*8?fault=mec-hang@3", clock)
    everyone = gpumend.list_gpus(["model:mi350x*8"], clock=clock)
    watched = [Counted(model) for model in models]
    for gpu, one in zip(everyone, watched, strict=True):
        gpu.transport = one
    report = gpumend.reset_gpus(everyone, everyone[3:4], gpumend.ResetOptions(method=method))
    assert report.exit_code == Exit.OK
    assert [step.method for step in report.steps] == ["mec-reset"]
    assert proof in report.steps[0].proof
    assert report.steps[0].seconds < 0.1, "a recovery of queues takes less than 100 ms"
    assert report.touched == (3,)
    assert [bool(one.written) for one in watched] == [index == 3 for index in range(8)]


def test_lying_hive_reset_is_a_failure(run: Run) -> None:
    code, document = run(
        "model:mi350x*8?fault=discovery-clobbered@2,reset-lies:mode1", "--method", "hive-reset", "--yes"
    )
    assert code == Exit.PROBLEM
    assert document["gpus"][2]["after"]["health"] == "hung"


def test_lie_is_found_by_the_mark_on_a_healthy_hive(run: Run) -> None:
    code, document = run("model:mi350x*8?fault=reset-lies:mode1", "--hive", "--yes")
    assert code == Exit.PROBLEM
    (step,) = document["steps"]
    assert step["status"] == "failed" and "mark is still there on GPU 0-7:" in step["proof"]
    assert {gpu["status"] for gpu in document["gpus"]} == {"failed"}
    assert {gpu["after"]["health"] for gpu in document["gpus"]} == {"healthy"}


def test_lie_of_one_member_leaves_the_links_of_all_down_and_is_told(run: Run) -> None:
    code, document = run("model:mi350x*8?fault=reset-lies:mode1@5", "--hive", "--yes")
    assert code == Exit.PROBLEM
    assert "mark is still there on GPU 5:" in document["steps"][0]["proof"]
    assert all("amd.xgmi.link" in [f["code"] for f in gpu["after"]["findings"]] for gpu in document["gpus"])


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_hive_of_eight_takes_no_longer_than_the_slowest_single_gpu(run: Run, part: str) -> None:
    _, single = run(f"model:{part}", "--method", "mode1", "--yes")
    _, hive = run(f"model:{part}*8", "--hive", "--yes")
    assert hive["exit"] == single["exit"] == Exit.OK
    assert hive["steps"][0]["seconds"] <= 1.25 * single["steps"][0]["seconds"]


def test_evidence_is_on_the_disk_before_the_first_destructive_write(state: Path) -> None:
    clock = VirtualClock()
    models = open_models("mi350x*2?fault=discovery-clobbered@1", clock)
    everyone = gpumend.list_gpus(["model:mi350x*2"], clock=clock)
    seen: list[bool] = []

    class Checking(Counted):
        def about_to_write(self, what: tuple[int, int, int]) -> None:
            if not seen:
                manifests = list(state.glob("evidence/*/manifest.json"))
                seen.append(len(manifests) == 1 and json.loads(manifests[0].read_text())["complete"] is True)
                begun = Journal(state / "resets.jsonl").entries()
                seen.append(len(begun) == 1 and begun[0].status == "running")

    for gpu, model in zip(everyone, models, strict=True):
        gpu.transport = Checking(model)
    assert gpumend.reset_gpus(everyone, everyone).exit_code == Exit.OK
    assert seen == [True, True]


# --- consent, refusals


def test_without_yes_and_without_a_terminal_it_refuses(text: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = text("model:mi350x?fault=mec-hang")
    assert (code, out) == (Exit.REFUSED, "")
    assert "mec-reset of GPU 0" in err and "standard input is no terminal" in err and "--yes" in err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 3)])
def test_on_a_terminal_it_shows_what_it_would_do_and_asks(answer: str, code: int) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gpumend", "--on", "model:mi350x?fault=mec-hang", "reset"],
        cwd=ROOT, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(leader, answer.encode())
    out, err = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert process.returncode == code, err
    assert "would do" in err or "first" in err
    assert "Begin with mec-reset of GPU 0?" in err
    assert ("recovered" in out) == (code == 0)


def test_healthy_gpu_needs_no_consent_and_nothing_is_done(run: Run, state: Path) -> None:
    code, document = run("model:mi350x")
    assert (code, document["steps"], document["evidence"]) == (Exit.OK, [], "")
    assert document["gpus"][0]["status"] == "healthy"
    assert not (state / "resets.jsonl").exists()


def test_one_member_alone_by_mode1_is_refused(run: Run) -> None:
    code, document = run("model:mi350x*8", "-g", "2", "--method", "mode1", "--yes")
    assert code == Exit.REFUSED and document["steps"] == []
    assert "hive-reset" in document["gpus"][0]["error"]["next"]


def test_hive_reset_of_a_gpu_in_no_hive_is_refused(run: Run) -> None:
    code, document = run("model:mi350x", "--hive", "--yes")
    assert code == Exit.REFUSED and "--method mode1" in document["gpus"][0]["error"]["next"]


def test_hive_with_a_lost_member_is_not_reset_by_name(run: Run) -> None:
    code, document = run("model:mi350x*8?fault=bus-lost@4", "--hive", "--yes")
    assert code == Exit.REFUSED and document["steps"] == []


@pytest.mark.parametrize("answer", ["node-reboot", "power-cycle", "contact-vendor"])
def test_answers_for_people_are_not_carried_out(run: Run, answer: str) -> None:
    code, document = run("model:mi350x", "--method", answer, "--yes")
    assert code == Exit.REFUSED and document["steps"] == []


def test_degraded_gpu_that_no_reset_cures_is_refused_with_what_to_do(run: Run) -> None:
    code, document = run("model:mi350x?fault=link-narrow", "--yes")
    assert code == Exit.REFUSED
    error = document["gpus"][0]["error"]
    assert "pci.link" in error["seen"] and error["next"]


@pytest.mark.parametrize(
    "arguments",
    [("--method", "nonsense"), ("--hive", "--method", "mode2"), ("--until-failure",), ("--force", "nonsense", "--yes")],
)
def test_wrong_arguments_are_64(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--on", "model:mi350x", "reset", *arguments]) == Exit.USAGE
    assert "has a defect" not in capsys.readouterr().err


def test_unknown_gpu_is_69(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--on", "0000:ff:1f.7", "reset", "--yes"]) == Exit.UNAVAILABLE


# --- explicit methods


@pytest.mark.long
@pytest.mark.parametrize(
    "method", ["mode2", "mode1", "bus-reset", "flr", "mec-reset", "sdma-reset", "restore-config", "remove-rescan"]
)
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_explicit_method_on_a_healthy_gpu_is_done(run: Run, part: str, method: str) -> None:
    code, document = run(f"model:{part}", "--method", method, "--yes")
    assert methods(document) == [method]
    assert code == Exit.OK, document["steps"]
    assert document["gpus"][0]["after"]["health"] == "healthy"


def test_explicit_method_never_climbs(run: Run) -> None:
    code, document = run("model:mi350x?fault=discovery-clobbered", "--method", "mec-reset", "--yes")
    assert code == Exit.PROBLEM and methods(document) == ["mec-reset"]
    assert document["gpus"][0]["answer"] == "mode1"


def test_bus_reset_takes_the_whole_hive(run: Run) -> None:
    code, document = run("model:mi350x*4", "-g", "1", "--method", "bus-reset", "--yes")
    assert code == Exit.OK and document["touched"] == [0, 1, 2, 3]
    assert [gpu["index"] for gpu in document["gpus"]] == [1]


def test_hive_means_every_member_whichever_is_selected(run: Run) -> None:
    code, document = run("model:mi350x*4", "-g", "1", "--hive", "--yes")
    assert code == Exit.OK and [gpu["status"] for gpu in document["gpus"]] == ["recovered"] * 4


def test_selected_gpu_only_is_brought_back(run: Run) -> None:
    code, document = run("model:mi350x*8?fault=mec-hang@1,sdma-hang@5", "-g", "5", "--yes")
    assert code == Exit.OK and document["touched"] == [5]


def test_several_faults_are_taken_in_the_right_order(run: Run) -> None:
    code, document = run("model:mi350x*8?fault=bus-lost@2,discovery-clobbered@5,mec-hang@6", "--yes")
    assert code == Exit.OK
    assert [(step["method"], step["gpus"]) for step in document["steps"]] == [
        ("bus-reset", [2]),
        ("hive-reset", list(range(8))),
    ]


def test_selftest_is_part_of_success_when_it_is_asked_for(run: Run) -> None:
    code, document = run("model:mi350x?fault=mec-hang", "--yes", "--selftest")
    assert code == Exit.OK and document["notes"] == ["self-test: 1 GPUs tested"]
    code, document = run(
        "model:mi350x?fault=mec-hang,kiq-dead,reset-lies:grbm", "--yes", "--method", "sdma-reset", "--selftest"
    )
    assert code == Exit.PROBLEM


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "tried"), [("kiq-dead", ["mode1"]), ("psp-ring-dead", ["mode1"]), ("smu-busy", ["mode1", "bus-reset"])]
)
def test_fault_that_only_shows_at_bring_up_is_found_by_the_selftest_and_cured(
    run: Run, fault: str, tried: list[str]
) -> None:
    code, document = run(f"model:mi350x?state=cold&fault={fault}", "--yes")
    assert (code, methods(document)) == (Exit.OK, []), "a probe does not see it"
    code, document = run(f"model:mi350x?state=cold&fault={fault}", "--yes", "--selftest")
    assert (code, methods(document)) == (Exit.OK, tried), document
    assert document["steps"][0]["why"] == "amd.selftest on GPU 0"
    assert document["gpus"][0]["status"] == "recovered" and document["evidence"]


@pytest.mark.long
def test_selftest_that_fails_in_a_hive_resets_the_hive(run: Run) -> None:
    code, document = run("model:mi350x*2?fault=kiq-dead@1", "-g", "1", "--yes", "--selftest")
    assert (code, methods(document)) == (Exit.OK, ["hive-reset"]), document
    assert [gpu["index"] for gpu in document["gpus"]] == [1]


# --- what it says


def test_dry_run_writes_nothing_and_names_who_is_hit(run: Run, state: Path) -> None:
    code, document = run("model:mi350x*8?fault=mec-hang@3", "-g", "3", "--dry-run")
    assert code == Exit.OK and not state.exists()
    (group,) = document["groups"]
    assert [(one["method"], one["gpus"]) for one in group["planned"]] == [
        ("mec-reset", [3]), ("mode2", [3]), ("hive-reset", list(range(8))), ("bus-reset", list(range(8))),
    ]  # fmt: skip
    assert group["then"] == "power-cycle"
    assert group["planned"][2]["lost"].startswith("all work and all VRAM")


def test_dry_run_says_whose_links_go_down_with_one_member(run: Run) -> None:
    _, document = run("model:mi350x*3", "-g", "1", "--method", "flr", "--dry-run")
    ((planned,),) = [group["planned"] for group in document["groups"]]
    assert (planned["gpus"], planned["scope"]) == ([1], "one GPU")
    assert planned["linked"] == [0, 2]
    _, document = run("model:mi350x*3", "-g", "1", "--hive", "--dry-run")
    assert document["groups"][0]["planned"][0]["linked"] == []


def test_dry_run_that_ends_at_the_attempts_names_what_would_come_next(run: Run) -> None:
    _, document = run("model:mi350x?fault=mec-hang", "--dry-run", "--attempts", "2")
    (group,) = document["groups"]
    assert ([one["method"] for one in group["planned"]], group["then"]) == (["mec-reset", "mode2"], "mode1")


def test_selftest_is_shown_and_asked_for_where_nothing_is_wrong(
    run: Run, text: Callable[..., tuple[int, str, str]]
) -> None:
    """It overwrites the memory of a GPU that is well."""
    _, document = run("model:mi350x", "--selftest", "--dry-run")
    assert document["selftest"] == [0]
    assert "self-test of GPU 0" in text("model:mi350x", "--selftest", "--dry-run")[1]
    code, _, err = text("model:mi350x", "--selftest")
    assert code == Exit.REFUSED
    assert "reset (self-test of GPU 0)" in err


def test_dry_run_tells_every_refusal(run: Run) -> None:
    """Two GPUs in no hive, for two reasons; the text has both, and so has the document."""
    code, document = run("model:mi300x", "--on", "model:mi350x", "--method", "hive-reset", "--dry-run")
    assert code == Exit.REFUSED
    assert len(document["refusals"]) == 2
    assert document["refused"] == document["refusals"][0]


@pytest.mark.parametrize("words", [("--budget", "nan"), ("--probe-timeout", "nan")])
def test_no_number_of_seconds_is_no_limit(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--on", "model:mi350x", "reset", *words, "--dry-run"]) == Exit.USAGE
    assert "no number of seconds" in capsys.readouterr().err


def test_dry_run_of_what_is_refused_says_so(run: Run) -> None:
    code, document = run("model:mi350x*8", "-g", "2", "--method", "mode1", "--dry-run")
    assert code == Exit.REFUSED and "hive-reset" in document["refused"]["next"]


@pytest.mark.parametrize("flag", ["--list-methods", "--history"])
def test_lists_follow_the_schema(run: Run, flag: str) -> None:
    code, document = run("model:mi350x", flag)
    assert code == Exit.OK
    if flag == "--list-methods":
        assert {"mode1", "hive-reset", "power-cycle"} <= {row["method"] for row in document["methods"]}
        assert all(rule["source"] for rule in document["rules"])


def test_history_knows_every_attempt(run: Run) -> None:
    run("model:mi350x?fault=mec-hang,reset-hangs:mec", "--yes")
    _, document = run("model:mi350x", "--history")
    assert [(row["method"], row["status"]) for row in document["history"]] == [
        ("mec-reset", "failed"),
        ("mode2", "verified"),
    ]
    assert document["history"][0]["stages"][-1] == "verify"
    assert Path(document["history"][0]["evidence"], "probe.json").is_file()


@pytest.mark.parametrize(
    "arguments", [("--yes",), ("--dry-run",), ("--history",), ("--list-methods",), ("--yes", "--loop", "2")]
)
def test_csv_has_a_header_and_rows_of_its_width(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    import csv

    assert cli.run(["--on", "model:mi350x?fault=mec-hang", "--csv", "reset", *arguments]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert len({len(row) for row in rows}) == 1
    assert len(rows) > (arguments != ("--history",))


def test_text_names_step_proof_and_evidence(text: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = text("model:mi350x*8?fault=discovery-clobbered@2", "--yes")
    assert code == Exit.OK
    assert "step 1  hive-reset of GPU 0-7: verified" in out
    assert "mark gone on 8 of 8" in out
    assert "8 of 8 well (8 recovered)" in out and "evidence: " in out


def test_text_of_a_failure_says_what_is_next(text: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = text("model:mi350x?fault=needs-power-cycle", "--yes")
    assert code == Exit.PROBLEM
    assert "next for GPU 0: power-cycle: take the power away" in out


# --- the API


def test_api_reset_gives_a_report_and_plan_writes_nothing() -> None:
    report = gpumend.reset(["model:mi350x*8?fault=mec-hang@3"], ["3"])
    (one,) = report.gpus
    assert (one.outcome, one.answer, report.exit_code) == (Outcome.RECOVERED, Action.NONE, 0)
    assert isinstance(one.before, ProbeReport)
    found = gpumend.list_gpus(["model:mi300x*2"])
    previews, refused = gpumend.plan_reset(found, found, gpumend.ResetOptions(method="hive-reset"))
    assert (len(previews), refused) == (1, [])
    assert previews[0].hit == (0, 1)


def test_held_lock_is_refused_and_named() -> None:
    found = gpumend.list_gpus(["model:mi350x?fault=mec-hang"])
    from pcibus.transport import LockHolder

    model: Any = found[0].transport
    model.gpu.held_by = LockHolder("lock", 4242, "python3")
    report = gpumend.reset_gpus(found, found)
    (one,) = report.gpus
    assert one.outcome is Outcome.REFUSED and isinstance(one.error, Refused)
    assert "python3 (pid 4242)" in one.error.seen
    assert report.exit_code == Exit.REFUSED and report.steps == ()


def test_member_of_the_hive_that_was_not_asked_for_and_is_harmed_is_told() -> None:
    found = gpumend.list_gpus(["model:mi350x*4?fault=discovery-clobbered@1,reset-wears-out:0@3"])
    report = gpumend.reset_gpus(found, found[1:2], gpumend.ResetOptions(method="hive-reset"))
    assert [(one.index, one.outcome) for one in report.gpus][1:] == [(3, Outcome.FAILED)]
    assert report.exit_code == Exit.PROBLEM


def test_model_was_never_touched_wrongly() -> None:
    found = gpumend.list_gpus(["model:mi350x*8?fault=discovery-clobbered@2,mec-hang@3"])
    gpumend.reset_gpus(found, found)
    for gpu in found:
        model: Any = gpu.transport
        assert model.gpu.wrongs == []
        assert [done.kind for done in model.gpu.resets.done] == [Reset.MODE1]


def test_gpus_of_two_machines_with_the_same_bus_addresses_are_told_apart() -> None:
    found = gpumend.list_gpus(["model:mi350x*2?fault=mec-hang@0", "model:mi300x*2?fault=discovery-zeros@1"])
    assert found[0].bdf == found[2].bdf
    report = gpumend.reset_gpus(found, found)
    assert report.exit_code == Exit.OK
    assert [(step.method, step.gpus) for step in report.steps] == [("mec-reset", (0,)), ("hive-reset", (2, 3))]
    assert len(list(Path(report.evidence).glob("gpu*"))) == 4, "one bundle has all whom a step may hit"
