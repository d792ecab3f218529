"""amdriver/kernel_reset.py: amdgpu's own recovery through debugfs, what it answers, and a driver that hangs in it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import amdriver.kernel_reset
from amdriver.kernel_reset import DriverStuck, reset_by_driver
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
