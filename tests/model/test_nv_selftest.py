"""`selftest` on modelled NVIDIA GPUs: well ones, every fault that only work meets, and AMD's beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
import gpumend
from base.errors import UsageError
from gpumodel import nvidia

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/json.schema.json").read_text())
Run = Callable[..., tuple[int, dict[str, Any]]]
CHECKS = ("boot", "memory", "copies", "semaphores", "compute", "timestamps", "channels", "close")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command with --json; the document is checked against its schema."""

    def call(*words: str) -> tuple[int, dict[str, Any]]:
        code = cli.run([*words, "--json"])
        out, err = capsys.readouterr()
        assert "has a defect" not in err, err
        document: dict[str, Any] = json.loads(out)
        jsonschema.validate(document, SCHEMA)
        return code, document

    return call


def selftest(run: Run, spec: str, *words: str) -> tuple[int, dict[str, Any]]:
    return run("--on", f"model:{spec}", "selftest", *words)


def failed(gpu: dict[str, Any]) -> list[str]:
    return [f"{one['name']} {one['engine']}" for one in gpu["checks"] if one["status"] == "failed"]


@pytest.mark.long
def test_selftest_of_eight_is_done_and_verified(run: Run) -> None:
    code, document = selftest(run, "h200*8")
    assert code == 0, [failed(gpu) for gpu in document["gpus"]]
    for gpu in document["gpus"]:
        assert [one["name"] for one in gpu["checks"]].count("copies") == 10
        assert {one["name"] for one in gpu["checks"]} == set(CHECKS)
        assert all(one["verified"] for one in gpu["checks"]) and gpu["bytes"] > 40 << 20
        assert gpu["start_state"] == "driven"


@pytest.mark.parametrize("part", [chip.name for chip in nvidia.parts()])
@pytest.mark.parametrize("driver", ["570.144", "590.48.01"])
def test_selftest_of_each_part_through_each_branch(run: Run, part: str, driver: str) -> None:
    code, document = selftest(run, f"{part}?driver={driver}")
    assert code == 0, failed(document["gpus"][0])


@pytest.mark.parametrize(
    ("fault", "code", "status", "finding", "seen"),
    [
        ("gsp-dead", 1, "failed", "nv.selftest.boot", "firmware (GSP)"),
        ("fallen-off-bus", 69, "unavailable", "nv.selftest.boot", "Input/output error"),
        ("work-error:31", 1, "failed", "nv.selftest.boot", "Xid 31 (MMU fault)"),
        ("channel-hang", 1, "failed", "nv.selftest.boot", "value 0"),
        ("lost-after:0", 69, "unavailable", "nv.selftest.lost", "all ones"),
        ("lost-after:100", 69, "unavailable", "nv.selftest.lost", "all ones"),
        ("copy-spoiled", 1, "failed", "nv.selftest.memory", "bytes differ"),
    ],
)
def test_selftest_of_one_sick_among_four(run: Run, fault: str, code: int, status: str, finding: str, seen: str) -> None:
    got, document = selftest(run, f"h200*4?fault={fault}@2")
    assert got == code
    sick = document["gpus"].pop(2)
    assert sick["status"] == status
    found = {one["code"]: one for one in sick["findings"]}
    assert finding in found, list(found)
    assert seen in found[finding]["seen"] and found[finding]["expected"] and found[finding]["next"]
    assert [gpu["status"] for gpu in document["gpus"]] == ["ok"] * 3


def test_selftest_error_in_the_middle_ends_that_engine_only_and_a_new_channel_goes_on() -> None:
    (gpu,) = gpumend.list_gpus(["model:h200"])
    seen: list[str] = []

    def progress(event: gpumend.SelftestProgress) -> None:
        if event.check == "copies" and event.engine == "CE4" and not seen:
            seen.append(event.engine)
            gpu.transport.gpu.fifo.next_error = 94  # type: ignore[attr-defined]

    (report,) = gpumend.selftest_gpus([gpu], progress=progress)
    assert [(one.name, one.engine) for one in report.checks if one.status == "failed"] == [("copies", "CE4")]
    assert report.exit_code == 1
    assert "Xid 94" in report.findings[0].seen
    assert [one.name for one in report.checks if one.status == "ok"][-1] == "close"


def test_selftest_of_one_engine_cannot_vouch_for_what_is_left_out(run: Run) -> None:
    code, document = selftest(run, "h200", "--engine", "3", "--skip", "channels")
    checks = document["gpus"][0]["checks"]
    assert code == 0
    assert [one["engine"] for one in checks if one["name"] == "copies"] == ["CE3"]
    assert next(one for one in checks if one["name"] == "channels")["status"] == "skipped"
    assert selftest(run, "h200", "--engine", "3", "--engine", "12")[0] == 2


def test_selftest_dry_run_says_what_would_be_done_and_opens_nothing(run: Run) -> None:
    code, document = selftest(run, "h200*2", "--dry-run", "--skip", "compute")
    assert code == 0
    steps = document["gpus"][0]["steps"]
    assert [step.partition(":")[0] for step in steps] == [name for name in CHECKS if name != "compute"]
    assert "10 copy engines" in " ".join(steps)
    code, document = selftest(run, "h200?driver=none", "--dry-run")
    assert code == 69 and document["gpus"][0]["error"]["where"] == "/dev/nvidiactl"


def test_selftest_of_a_mixed_machine_tests_both(run: Run, firmware_dir: Path) -> None:
    code, document = run(
        "--on", "model:h200", "--on", "model:mi350x", "--firmware", str(firmware_dir), "selftest", "--skip", "memory"
    )  # fmt: skip
    assert code == 0
    assert [(gpu["part"], gpu["status"]) for gpu in document["gpus"]] == [("H200", "ok"), ("MI350X", "ok")]


def test_selftest_skip_of_a_word_that_nobody_has_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        gpumend.selftest_gpus(gpumend.list_gpus(["model:h200"]), skip=["everything"])
    assert "copies" in caught.value.expected and "sdma" in caught.value.expected


def test_open_gives_an_nvidia_gpu_with_the_words_of_amds() -> None:
    with gpumend.open("model:h200") as gpu:
        a, b = gpu.alloc(1 << 20), gpu.alloc(1 << 20)
        a.write(bytes(range(256)) * 4096)
        gpu.copy(b, a)
        fence = gpu.fence()
        fence.wait()
        assert fence.done and b.read() == a.read()
    with gpumend.open_nvidia("model:h200*2", gpu=1) as other:
        assert (other.part, other.engines, other.version) == ("H200", 10, "580.105.08")
    with pytest.raises(UsageError):
        gpumend.open_nvidia("model:mi350x")


@pytest.mark.long
def test_selftest_at_its_full_level(run: Run) -> None:
    code, document = selftest(run, "rtx4090", "--level", "full")
    assert code == 0, failed(document["gpus"][0])
