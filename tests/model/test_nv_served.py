"""NVIDIA's models behind a server: the bare GPU is probed and reset over the wire; what has no door there is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import gpumend
from base.errors import Exit, Refused
from base.findings import Action, Health


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def address() -> Iterator[str]:
    with gpumend.serve_model("127.0.0.1:0", "h200*2?state=cold&fault=gsp-left@1") as server:
        yield server.address


def test_served_gpus_are_listed_and_probed_as_here(address: str) -> None:
    found = gpumend.list_gpus([address])
    assert [(gpu.part.name, gpu.bdf) for gpu in found] == [("H200", "0000:18:00.0"), ("H200", "0000:28:00.0")]
    first, second = gpumend.probe_gpus(found)
    assert second.health is Health.DEGRADED and second.action is Action.FLR
    assert {finding.code for finding in second.findings} >= {"nv.boot.left"}
    assert "nv.boot.left" not in {finding.code for finding in first.findings}


def test_served_gpu_says_that_its_machine_is_not_asked(address: str) -> None:
    first, _ = gpumend.probe([address])
    told = {row["question"]: row["reason"] for row in first.facts["unanswered"]}
    assert "PCI function only" in told["Xids of the kernel log"]
    assert first.health is Health.UNKNOWN, "what the log says is not known"


def test_served_gpu_is_reset_over_the_wire_and_what_is_not_known_stays_so(address: str) -> None:
    found = gpumend.list_gpus([address])
    report = gpumend.reset_gpus(found, [found[1]])
    (step,) = report.steps
    assert step.method == "flr" and "nv.boot.left gone" in "; ".join(step.changed)
    assert report.exit_code == Exit.UNKNOWN, "the log of its machine cannot be read"


def test_model_with_a_driver_is_not_served() -> None:
    with pytest.raises(Refused, match="PCI functions") as refused:
        gpumend.serve_model("127.0.0.1:0", "h200*2")
    assert "state=cold" in refused.value.next_step


@pytest.mark.parametrize("spec", ["h200", "h200?state=cold"])
def test_virtual_machine_gets_no_nvidia_model(tmp_path: Path, spec: str) -> None:
    with pytest.raises(Refused, match="no memory behind its BARs"):
        gpumend.serve_vfio_user(tmp_path / "served", spec)
    assert not (tmp_path / "served").exists()
