"""Bundles about NVIDIA's GPUs: what NVIDIA's form asks for, every Xid, boot, the driver's texts; nothing that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gpumend
from base.clock import VirtualClock
from base.errors import NotPermitted
from gpumodel import nvidia
from gpumodel.nvidia.files import ModelFiles


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def written(folder: Path, *specs: str, redact: bool = True) -> gpumend.Written:
    found = gpumend.list_gpus([f"model:{spec}" for spec in specs])
    made = gpumend.write_bundle(found, folder / "bundle", redact=redact)
    assert made.ok, made.checked.findings
    return made


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_bundle_holds_what_nvidias_form_asks_for(tmp_path: Path) -> None:
    made = written(tmp_path, "h200*2?fault=gsp-dead@1")
    report = (made.path / "report.md").read_text()
    for title in (
        "NVIDIA Open GPU Kernel Modules Version", "Operating System and Version", "Kernel Release", "Hardware: GPU",
        "Describe the bug", "To Reproduce", "Bug Incidence", "nvidia-bug-report.log.gz",
    ):  # fmt: skip
        assert title in report
    assert "580.105.08, commit" in report
    assert "Xid 119, 3 times" in report and "recovery action reset" in report and "temperature, C 32" in report
    assert "amdgpu module" not in report


def test_bundle_has_boot_registers_and_the_drivers_texts(tmp_path: Path) -> None:
    made = written(tmp_path, "h200?fault=gsp-dead")
    boot = json.loads((made.path / "gpu0/boot.json").read_text())
    assert (boot["chip"], boot["stage"], boot["driver"]) == ("GH100", "protected", "nvidia")
    registers = (made.path / "gpu0/registers.txt").read_text()
    assert "WPR2_HIGH @ BAR0+0x1fa828 on 0000:18:00.0: 0x" in registers
    assert "GSP_RISCV_CPUCTL" not in registers, "falcons are not read while a driver has them"
    texts = (made.path / "gpu0/nvidia.txt").read_text()
    assert "== proc/driver/nvidia/version ==" in texts and "Video BIOS" in texts
    assert "580.105.08" in (made.path / "kernel.log").read_text()


def test_bundle_without_a_driver_reads_the_falcons(tmp_path: Path) -> None:
    made = written(tmp_path, "h200?driver=none&fault=gsp-left")
    assert json.loads((made.path / "gpu0/boot.json").read_text())["stage"] == "running"
    assert "GSP_RISCV_CPUCTL" in (made.path / "gpu0/registers.txt").read_text()
    assert not (made.path / "gpu0/nvidia.txt").exists()


def test_bundle_has_every_xid_with_its_meaning_and_which_are_past(tmp_path: Path) -> None:
    clock = VirtualClock()
    spec = "h200?fault=xid:62"
    (transport,) = nvidia.open_models(spec, clock)
    found = gpumend.list_gpus([f"model:{spec}"])
    found[0].transport, found[0].clock = transport, clock
    transport.files.note("gpumend: 0000:18:00.0 was started anew by flr")
    transport.gpu.machine.xid(transport.gpu, 9000, "who knows")
    made = gpumend.write_bundle(found, tmp_path / "bundle")
    first, second = rows(made.path / "gpu0/xids.jsonl")
    assert (first["number"], first["past"], first["name"], first["first"]) == (62, True, "PMU halt", "reset the GPU")
    assert (second["number"], second["past"], second["name"]) == (9000, False, None)


@pytest.mark.parametrize("redact", [True, False])
def test_uuid_and_serial_are_in_no_file_of_a_redacted_bundle(tmp_path: Path, redact: bool) -> None:
    made = written(tmp_path, "h200*2", redact=redact)
    uuids = [nvidia.open_models("h200*2")[index].gpu.chip.uuid(index).hex() for index in range(2)]
    texts = b"".join(path.read_bytes() for path in made.path.rglob("*") if path.is_file()).replace(b"-", b"")
    assert [uuid.encode() in texts for uuid in uuids] == [not redact] * 2


def test_lost_gpu_is_not_asked_and_its_xids_are_there(tmp_path: Path) -> None:
    made = written(tmp_path, "h200?fault=fallen-off-bus")
    assert json.loads((made.path / "gpu0/not-asked.json").read_text())
    assert not (made.path / "gpu0/boot.json").exists()
    assert [row["number"] for row in rows(made.path / "gpu0/xids.jsonl")] == [79, 154]


def test_both_vendors_are_in_one_bundle_each_with_its_own(tmp_path: Path) -> None:
    made = written(tmp_path, "h200?fault=xid:62", "mi300x?fault=mec-hang")
    assert (made.path / "gpu0/boot.json").exists() and not (made.path / "gpu0/discovery.json").exists()
    assert (made.path / "gpu1/discovery.json").exists() and not (made.path / "gpu1/boot.json").exists()
    report = (made.path / "report.md").read_text()
    assert "nv.xid.62" in report and "amd.gfx.mec" in report and "ROCm Version" in report


def test_what_may_not_be_read_is_listed_and_the_rest_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ModelFiles) -> str:
        raise NotPermitted("reading the kernel log", expected="CAP_SYSLOG", seen="Operation not permitted")

    monkeypatch.setattr(ModelFiles, "kernel_log", refuse)
    made = written(tmp_path, "h200")
    told = {row.what: row.why for row in made.bundle.unread}
    assert told["Xids of the kernel log"] == told["kernel log"] == "Operation not permitted"
    assert (made.path / "gpu0/boot.json").exists()


def test_bundle_before_a_reset_has_the_same(tmp_path: Path) -> None:
    report = gpumend.reset(["model:h200?fault=gsp-dead"], unbind=True, kill_holders=True)
    folder = Path(report.evidence)
    assert json.loads((folder / "gpu0/boot.json").read_text())["stage"] == "protected"
    assert [row["number"] for row in rows(folder / "gpu0/xids.jsonl")] == [119, 119, 119, 154]
    assert "flr" in json.loads((folder / "manifest.json").read_text())["reason"]
