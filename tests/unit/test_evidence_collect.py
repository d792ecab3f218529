"""Collecting from a machine made of files: what comes, what is refused, what never leaves."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import evidence
import evidence.safe
import evidence.writer
from base.errors import NotPermitted, Refused, Unavailable
from base.findings import Action, Finding, Health, ProbeReport, Severity
from evidence import Limits, Problem
from tests.evidence_tree import BRIDGE, GPU, PLANTED, QUICK_LIMITS, SECRETS, Machine, machine, make_hostile, raw_bytes

ROOT = Path(__file__).resolve().parents[2]
FINDING = Finding("amd.psp.bootloader", Severity.ERROR, f"the bootloader is silent, says {PLANTED}"[:80], seen=PLANTED)
REPORT = ProbeReport(0, GPU, "MI300X", "gfx942", Health.HUNG, Action.BUS_RESET, (FINDING,), {"holders": PLANTED})


@pytest.fixture
def there(tmp_path: Path) -> Machine:
    return machine(tmp_path)


def collect(there: Machine, folder: Path, **more: Any) -> evidence.Bundle:
    options: dict[str, Any] = {"reports": [REPORT], "places": there.places, "limits": QUICK_LIMITS} | more
    return evidence.collect([there.subject], folder, **options)


def why(bundle: evidence.Bundle, what: str) -> str:
    """Why something was not collected; fails when it was."""
    told = [row.why for row in bundle.unread if row.what.endswith(what)]
    assert told, f"{what} is not among {[row.what for row in bundle.unread]}"
    return "; ".join(told)


def test_collect_has_the_nine_parts(there: Machine, tmp_path: Path) -> None:
    bundle = collect(there, tmp_path / "out", extra={"actions.jsonl": b'{"method": "mode1"}\n'})
    files = raw_bytes(bundle.folder)
    wanted = {
        "manifest.json", "report.md", "probe.json", "settings.json", "system.txt", "kernel.log", "pci-tree.txt", "gpu0/pci.txt",
        "gpu0/pci/0000-c1-00.0.bin", "gpu0/pci/0000-c0-00.0.json", "gpu0/sysfs.txt", "gpu0/debugfs.txt", "gpu0/xgmi.txt",
        "gpu0/holders.json", "devcoredump/devcd1.txt", "actions.jsonl", "gpu0/gpu_metrics.bin", "gpu0/reg_state-xgmi.bin",
        "gpu0/debugfs/amdgpu_ring_gfx.bin",
    }  # fmt: skip
    assert wanted <= files.keys()
    assert bundle.complete
    assert evidence.check(bundle.folder).ok
    assert b"link     32.0 GT/s x16 of 32.0 GT/s x16" in files["gpu0/pci.txt"]
    assert f"{BRIDGE} (port 1 above)".encode() in files["gpu0/pci.txt"]
    assert b"== vbios_version ==\n113-M3000100-102\n" in files["gpu0/sysfs.txt"]
    assert b"== hwmon/hwmon3/temp1_input ==\n45000\n" in files["gpu0/sysfs.txt"]
    assert json.loads(files["gpu0/holders.json"])["holders"][0]["pid"] == 4242
    assert b"device " + GPU.encode() in files["devcoredump/index.txt"]
    assert b"AMD EPYC 9654" in files["report.md"]
    assert b"Debian GNU/Linux 13 (trixie), kernel 7.3.4" in files["report.md"]


def test_collect_never_reads_what_acts(there: Machine, tmp_path: Path) -> None:
    bundle = collect(there, tmp_path / "out")
    assert b"must not be read" not in b"".join(raw_bytes(bundle.folder).values())
    assert "sets the driver's counters back" in why(bundle, "ras/*_err_count (1 files)")
    assert "serial numbers" in why(bundle, "pm_metrics")


def test_collect_reads_ras_counts_when_asked(there: Machine, tmp_path: Path) -> None:
    bundle = collect(there, tmp_path / "out", ras_counts=True)
    assert b"== ras/umc_err_count ==\nue: 0\n" in raw_bytes(bundle.folder)["gpu0/sysfs.txt"]


def test_collect_replaces_planted_secrets_in_every_file_name_and_the_manifest(there: Machine, tmp_path: Path) -> None:
    bundle = collect(
        there, tmp_path / "out", extra={f"logs/{SECRETS[0]}-{SECRETS[1]}.log": PLANTED.encode()},
        problem=Problem(PLANTED, (PLANTED,), PLANTED), settings={"on": PLANTED}, reason=PLANTED,
    )  # fmt: skip
    files = raw_bytes(bundle.folder)
    for name, data in files.items():
        for secret in SECRETS:
            assert secret.lower() not in name.lower()
            assert secret.lower().encode() not in data.lower(), f"{secret} in {name}"
    told = {row["kind"]: row for row in bundle.manifest["redaction"]["redacted"]}
    assert told.keys() == {"host", "user", "serial", "ipv4", "ipv6", "mac"}
    assert all(row["replaced"] >= row["distinct"] > 0 for row in told.values())
    assert told["mac"]["distinct"] == 1, "three spellings of one address have one pseudonym"
    assert told["host"]["distinct"] == 1
    packed = tmp_path / "b.tar.gz"
    evidence.pack(bundle.folder, packed, bundle.files)
    assert evidence.check(packed).ok


def test_collect_without_redaction_keeps_everything(there: Machine, tmp_path: Path) -> None:
    bundle = collect(there, tmp_path / "out", redact=False)
    everything = b"".join(raw_bytes(bundle.folder).values())
    assert all(secret.encode() in everything for secret in SECRETS[:6])
    assert bundle.manifest["redaction"] == {"on": False, "complete": False, "redacted": []}
    assert "gpu0/pm_metrics.bin" in bundle.files


def test_collect_masks_the_serial_in_raw_config_space(there: Machine, tmp_path: Path) -> None:
    files = raw_bytes(collect(there, tmp_path / "out").folder)
    raw = files["gpu0/pci/0000-c1-00.0.bin"]
    assert len(raw) in (64, 256, 4096)
    if len(raw) == 4096:
        assert raw[0x204:0x20C] == bytes(8)


def test_collect_of_a_hostile_tree_is_complete_and_stays_inside(there: Machine, tmp_path: Path) -> None:
    make_hostile(there)
    bundle = collect(there, tmp_path / "out")
    files = raw_bytes(bundle.folder)
    for name, data in files.items():
        for secret in SECRETS:
            assert secret.encode() not in data, f"{secret} in {name}"
    assert bundle.complete
    assert evidence.check(bundle.folder).ok
    for name in ("vbios_build", "board_info", "amdgpu_vm_info", "devcoredump devcd3"):
        assert "symbolic link" in why(bundle, name)
    assert "link that leads out" in why(bundle, "devcoredump devcd2")
    assert "FIFO" in why(bundle, "pp_features")
    assert "FIFO" in why(bundle, "amdgpu_gem_info")
    assert "cut after" in why(bundle, "pp_od_clk_voltage")
    assert b"== vbios_version ==" in files["gpu0/sysfs.txt"], "what is behind the hostile ones came all the same"


def test_collect_lists_what_vanished_and_what_may_not_be_read(
    there: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = evidence.safe.Folder.open

    def opened(self: evidence.safe.Folder, name: str) -> int:
        if name == "vbios_version":
            (self.path / name).unlink(missing_ok=True)
        if name == "pp_dpm_sclk":
            raise NotPermitted("reading it", seen="Permission denied")
        return real(self, name)

    monkeypatch.setattr(evidence.safe.Folder, "open", opened)
    bundle = collect(there, tmp_path / "out")
    assert "vanished" in why(bundle, "vbios_version")
    assert "Permission denied" in why(bundle, "pp_dpm_sclk")


def test_collect_goes_on_behind_files_that_block_for_ever(
    there: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = evidence.safe.Folder.read

    def read(self: evidence.safe.Folder, name: str, limit_bytes: int) -> tuple[bytes, bool]:
        if name in ("product_number", "amdgpu_firmware_info"):
            time.sleep(3600)
        return real(self, name, limit_bytes)

    monkeypatch.setattr(evidence.safe.Folder, "read", read)
    bundle = collect(
        there, tmp_path / "out", limits=Limits(budget_s=300, driver_s=3, fast_s=60, hardware_s=60, logs_s=60)
    )
    assert bundle.complete
    assert "no answer within" in why(bundle, "product_number")
    assert "no answer within" in why(bundle, "amdgpu_firmware_info")
    files = raw_bytes(bundle.folder)
    assert b"== vendor ==" in files["gpu0/sysfs.txt"], "what came before it"
    assert b"== vbios_version ==" in files["gpu0/sysfs.txt"], "and what comes behind it"
    states = {row["name"]: row["status"] for row in bundle.manifest["collectors"]}
    assert states["sysfs"] == states["debugfs"] == "timed-out"
    assert states["kernel-log"] == "ok"


def test_collect_out_of_time_says_what_was_not_asked(there: Machine, tmp_path: Path) -> None:
    bundle = collect(there, tmp_path / "out", limits=Limits(budget_s=0))
    assert bundle.complete
    assert {row["status"] for row in bundle.manifest["collectors"] if row["name"] != "probe"} == {"skipped"}
    assert "no time was left" in why(bundle, "kernel-log")
    assert "report.md" in bundle.files
    assert bundle.manifest["redaction"]["complete"] is False
    assert b"look through this bundle" in raw_bytes(bundle.folder)["report.md"]


def test_collect_with_nothing_but_a_kernel_log(there: Machine, tmp_path: Path) -> None:
    bundle = evidence.collect([], tmp_path / "out", places=there.places, limits=QUICK_LIMITS)
    assert bundle.complete
    assert b"redacted-host-1" in raw_bytes(bundle.folder)["kernel.log"]
    assert b"no supported GPU was found" in raw_bytes(bundle.folder)["report.md"]


def test_collect_journal_of_three_boots_within_limits(tmp_path: Path) -> None:
    program = tmp_path / "journalctl"
    program.write_text(
        '#!/bin/sh\ncase "$3" in -0) echo "boot now";; -1) exit 1;; -2) while :; do echo spam spam spam; done;; esac\n'
    )
    program.chmod(0o755)
    there = machine(tmp_path / "m", journalctl=program)
    limits = Limits(budget_s=60, fast_s=20, hardware_s=20, driver_s=20, logs_s=30, log_bytes=30_000)
    bundle = collect(there, tmp_path / "out", limits=limits)
    files = raw_bytes(bundle.folder)
    assert files["journal/boot-0.log"] == b"boot now\n"
    assert "exit status 1" in why(bundle, "journal of boot -1")
    assert "cut after" in why(bundle, "journal of boot -2")
    assert len(files["journal/boot-2.log"]) == 10_000


def test_collect_makes_folders_and_files_for_the_owner_only(there: Machine, tmp_path: Path) -> None:
    folder = collect(there, tmp_path / "out").folder
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_collect_into_a_folder_that_is_there_is_refused(there: Machine, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing is overwritten"):
        collect(there, tmp_path)


def test_collect_onto_a_full_disk_says_so(there: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> None:
        os.close(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evidence.writer, "write_synced", full)
    with pytest.raises(Unavailable) as caught:
        collect(there, tmp_path / "out")
    assert "No space left" in caught.value.seen
    assert not list(tmp_path.glob("*out.*")), "nothing half made is left"


def test_collect_limits_the_whole_bundle(there: Machine, tmp_path: Path) -> None:
    bundle = collect(there, tmp_path / "out", limits=Limits(budget_s=60, total_bytes=300))
    assert "the bundle is full" in "; ".join(row.why for row in bundle.unread)


# ---------------------------------------------------------------- before a reset


def test_before_reset_has_what_a_reset_destroys(there: Machine, tmp_path: Path) -> None:
    bundle = evidence.before_reset(
        [there.subject],
        action="mode1",
        reports=[REPORT],
        folder=tmp_path / "out",
        places=there.places,
        limits=QUICK_LIMITS,
    )
    assert bundle.complete
    assert bundle.manifest["reason"] == "before mode1"
    wanted = {
        "kernel.log",
        "gpu0/pci.txt",
        "gpu0/sysfs.txt",
        "gpu0/holders.json",
        "devcoredump/devcd1.txt",
        "probe.json",
    }
    assert wanted <= set(bundle.files)
    assert "gpu0/debugfs.txt" not in bundle.files
    assert evidence.check(bundle.folder).ok


@pytest.mark.long
def test_before_reset_with_a_driver_that_never_answers_has_the_gpu_and_the_log(
    there: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU itself is asked before what may hold everything up, and so is the kernel's log."""
    monkeypatch.setattr(evidence.safe.Folder, "read", lambda *_: time.sleep(3600))
    limits = Limits(budget_s=100, fast_s=5, hardware_s=20, driver_s=1, logs_s=5)
    bundle = evidence.before_reset(
        [there.subject], action="mode1", reports=[REPORT], folder=tmp_path / "out", places=there.places, limits=limits
    )
    states = {row["name"]: row["status"] for row in bundle.manifest["collectors"]}
    assert states["pci"] == states["kernel-log"] == states["probe"] == "ok"
    assert states["identity"] == states["serial"] == states["sysfs"] == "timed-out"
    assert bundle.manifest["redaction"]["complete"] is False
    names = [row["name"] for row in bundle.manifest["collectors"]]
    assert names.index("hardware") < names.index("kernel-log") < names.index("sysfs")


def test_before_reset_has_synced_every_file_and_folder_before_it_returns(
    there: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "out"
    bundle = evidence.before_reset(
        [there.subject], action="mode1", reports=[REPORT], folder=folder, places=there.places, limits=QUICK_LIMITS
    )
    names = {name.rpartition("/")[2] for name in synced}
    assert {name.rpartition("/")[2] for name in bundle.files} <= names
    assert {str(folder), str(folder / "gpu0"), str(folder / "gpu0/pci"), str(tmp_path)} <= set(synced)
    assert synced[-1] == str(folder), "the last thing is the name of the manifest"


def test_default_folder_lies_in_the_users_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, second = evidence.default_folder("before mode1 / x"), evidence.default_folder("before mode1 / x")
    assert first.parent == tmp_path / "gpumend/evidence"
    assert first.name.split("-", 1)[1].startswith("before-mode1-x-")
    assert first != second


# ---------------------------------------------------------------- killed

VICTIM = """
import sys
from pathlib import Path
import evidence, evidence.safe
from evidence import Limits
from tests.evidence_tree import machine
there = machine(Path(sys.argv[1]))
real = evidence.safe.Folder.read
def read(self, name, limit_bytes):
    if name == "pp_dpm_sclk":
        print("stuck", flush=True)
        __import__("time").sleep(3600)
    return real(self, name, limit_bytes)
evidence.safe.Folder.read = read
limits = Limits(budget_s=600, fast_s=60, hardware_s=60, driver_s=30, logs_s=60)
evidence.collect([there.subject], Path(sys.argv[1]) / "out", places=there.places, limits=limits, reports=[])
"""


def test_killed_in_the_middle_leaves_a_bundle_that_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-c", VICTIM, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"stuck\n"
        victim.send_signal(signal.SIGKILL)
    folder = tmp_path / "out"
    checked = evidence.check(folder)
    assert not checked.complete
    assert [item.code for item in checked.findings if item.severity != Severity.NOTE] == ["bundle.incomplete"]
    assert {"kernel.log", "gpu0/pci.txt"} <= set(raw_bytes(folder))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] is False
    assert "kernel.log" in {entry["name"] for entry in manifest["files"]}
