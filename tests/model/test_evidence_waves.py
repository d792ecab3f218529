"""Waves that a reset ends: where they stood is in the bundle before the reset is sent, and only who resets looks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import evidence
import gpumend
from amdriver.device import Device
from base.clock import VirtualClock
from base.errors import Exit
from gpumodel import open_models
from repro.kernels import code_object
from tests.evidence_tree import raw_bytes


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, firmware_dir: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("GPUMEND_FIRMWARE", str(firmware_dir))


def left_looping(spec: str, firmware_dir: Path) -> tuple[list[gpumend.Gpu], int]:
    """GPUs of a model; the driver of the first was killed while a kernel branched onto itself. And where that kernel is."""
    clock = VirtualClock()
    transports = open_models(spec, clock)
    device = Device.open(transports[0], clock, firmware_dirs=[firmware_dir])
    queue = device.gfx.create_queue(0, "aql")
    code = device.gmc.alloc(4096, executable=True)
    code.write(0, code_object("infinite-loop"))
    kernarg = device.gmc.alloc(4096)
    queue.dispatch(kernel_object=code.gpu_va, kernarg=kernarg, grid=(64, 1, 1), workgroup=(64, 1, 1))
    queue.submit()
    clock.sleep(1e-3)
    assert device._owned is not None
    device._owned.release()
    found = gpumend.list_gpus([f"model:{spec.partition('?')[0]}"], clock=clock)
    for gpu, transport in zip(found, transports, strict=True):
        gpu.transport = transport
    return found, code.gpu_va + 256


@pytest.mark.parametrize("method", ["queue-mmio", "pipe-reset", "mec-reset", "mode2"])
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_reset_of_a_queue_with_waves_has_their_registers_in_its_bundle(
    part: str, method: str, firmware_dir: Path
) -> None:
    found, pc = left_looping(part, firmware_dir)
    report = gpumend.reset_gpus(found, found, gpumend.ResetOptions(method=method))
    assert report.exit_code == Exit.OK, report
    stages = report.steps[0].stages
    assert stages.index("look") < stages.index("send")
    files = raw_bytes(Path(report.evidence))
    text = files[f"gpu0/waves-{method}.txt"].decode()
    assert f": pc {pc:#x}, instruction bf82ffff bf810000, " in text.splitlines()[0]
    assert len(re.findall(r"^  v\d+ +(?:[0-9a-f]{8} ?){64}$", text, re.MULTILINE)) == 16
    checked = evidence.check(Path(report.evidence))
    assert checked.ok, checked.findings
    (named,) = (entry for entry in checked.manifest["files"] if entry["name"] == f"gpu0/waves-{method}.txt")
    assert named["by"] == "reset"


def test_bundle_of_a_look_only_has_no_waves_as_reading_them_selects(firmware_dir: Path, tmp_path: Path) -> None:
    found, _ = left_looping("mi350x", firmware_dir)
    bundle = evidence.before_reset(found, action="nothing", folder=tmp_path / "out")
    assert not [name for name in bundle.files if "waves" in name]


def test_reset_of_a_gpu_without_waves_adds_nothing() -> None:
    found = gpumend.list_gpus(["model:mi350x?fault=mec-hang"])
    report = gpumend.reset_gpus(found, found, gpumend.ResetOptions(method="mec-reset"))
    assert report.exit_code == Exit.OK
    assert not list(Path(report.evidence).rglob("waves*"))
    assert evidence.check(Path(report.evidence)).ok


def test_bundle_that_went_away_does_not_keep_the_reset_from_being_done(
    firmware_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found, _ = left_looping("mi350x", firmware_dir)
    monkeypatch.setattr(gpumend, "_bundle", lambda *arguments: str(tmp_path / "gone"))
    report = gpumend.reset_gpus(found, found, gpumend.ResetOptions(method="queue-mmio"))
    assert report.exit_code == Exit.OK
    assert not (tmp_path / "gone").exists()
