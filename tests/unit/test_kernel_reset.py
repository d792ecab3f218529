"""amdriver/kernel_reset.py: amdgpu's own recovery through debugfs, what it answers, and a driver that hangs in it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import amdriver.kernel_reset
from amdriver.kernel_reset import DriverStuck, reset_by_driver
from base.clock import Outcome
from base.errors import GpumendError, Unavailable, UsageError

BDF = "0000:c1:00.0"


def answering(root: Path, text: str) -> None:
    folder = root / "1"
    folder.mkdir()
    (folder / "name").write_text(f"amdgpu dev={BDF} unique={BDF}\n")
    (folder / "amdgpu_gpu_recover").write_text(text)


def test_recovery_that_answers_0_is_done(tmp_path: Path) -> None:
    answering(tmp_path, "0\n")
    reset_by_driver(BDF, root=tmp_path)


@pytest.mark.parametrize(("text", "seen"), [("-62\n", "-62 (Timer expired)"), ("5\n", "5"), ("gone\n", "'gone'")])
def test_recovery_that_failed_says_what_the_driver_said(tmp_path: Path, text: str, seen: str) -> None:
    answering(tmp_path, text)
    with pytest.raises(GpumendError) as caught:
        reset_by_driver(BDF, root=tmp_path)
    assert caught.value.seen == seen
    assert "dmesg" in caught.value.next_step


def test_recovery_tells_of_which_gpus_the_log_says_that_it_succeeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(tmp_path, "0\n")
    line = "6,{},1,-;amdgpu {}: GPU reset(2) {}\n"
    kmsg = tmp_path / "kmsg"
    kmsg.write_text(line.format(1, "0000:05:00.0", "succeeded!"))  # of an earlier one

    def resets(file: Path) -> str:
        with kmsg.open("a") as log:
            log.write(line.format(2, BDF, "succeeded!") + line.format(3, "0000:c6:00.0", "failed with error -62"))
            log.write("6,4,1,-;amdgpu 0000:d1:00.0: amdgpu: GPU reset(2) succeeded!\n")
        return file.read_text()

    monkeypatch.setattr(amdriver.kernel_reset, "_read", resets)
    monkeypatch.setattr(amdriver.kernel_reset, "run_in_child", lambda work, limit_s, **told: Outcome(work()))
    assert reset_by_driver(BDF, root=tmp_path, kmsg=kmsg) == frozenset({BDF, "0000:d1:00.0"})
    assert reset_by_driver(BDF, root=tmp_path, kmsg=tmp_path / "none") is None


def test_recovery_without_the_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="amdgpu_gpu_recover"):
        reset_by_driver(BDF, root=tmp_path)
    with pytest.raises(UsageError):
        reset_by_driver("../..", root=tmp_path)


def test_driver_that_hangs_in_its_own_reset_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(tmp_path, "0\n")

    def hangs(file: Path) -> str:
        time.sleep(60)
        return ""

    monkeypatch.setattr(amdriver.kernel_reset, "_read", hangs)
    with pytest.raises(DriverStuck) as caught:
        reset_by_driver(BDF, root=tmp_path, limit_s=0.3)
    assert "reboot" in caught.value.next_step
