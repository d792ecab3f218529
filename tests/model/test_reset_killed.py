"""A hive reset of served GPUs that gets SIGINT, SIGTERM or SIGKILL at every stage, and in the middle of telling the members.

What must hold: a request to stop lets the step that was begun end, so that no hive is left half reset; after SIGKILL the next
run sees and says what was begun, and finishes it; either way all is well in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resets.journal import Journal
from tests.model.test_remote_served import ROOT, end, serve

STAGES = ("open", "mark", "prepare", "send", "told:1", "restore", "boot", "prove", "verify")
GPUS = 2


def drive(address: str, method: str, *how: str) -> tuple[int, list[str], str]:
    """One run of the victim: its return code, its lines, its messages."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.model.reset_victim", address, method, *how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return ran.returncode, ran.stdout.splitlines(), ran.stderr


pytestmark = pytest.mark.long


@pytest.fixture
def hive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    process, address = serve(f"mi350x*{GPUS}")
    yield address
    assert end(process) == (0, "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_hive_reset_that_is_asked_to_stop_ends_the_step_that_it_began(name: str, hive: str, tmp_path: Path) -> None:
    for stage in STAGES:
        code, lines, err = drive(hive, "hive-reset", name, stage)
        assert code == 0, (stage, err)
        assert any("the step that was begun is finished first" in line for line in lines), (stage, lines)
        assert f"asked {name}" in lines
        assert [line.split()[2] for line in lines if line.startswith("gpu ")] == ["recovered"] * GPUS, (stage, lines)
    entries = Journal(tmp_path / "state/gpumend/resets.jsonl").entries()
    assert [entry.status for entry in entries] == ["verified"] * len(STAGES)


def test_hive_reset_that_is_killed_is_finished_by_the_next_run(hive: str, tmp_path: Path) -> None:
    for stage in STAGES:
        code, lines, err = drive(hive, "hive-reset", "SIGKILL", stage)
        assert code == -signal.SIGKILL, (stage, lines, err)
        code, lines, err = drive(hive, "auto")
        assert code == 0, (stage, err)
        said = [line for line in lines if line.startswith("said an earlier reset was not ended: hive-reset of ")]
        reached = "send" if stage.startswith("told") else stage
        assert len(said) == 1 and said[0].endswith(f"came as far as: {reached}"), (stage, lines)
        assert [line.rpartition(" ")[2] for line in lines if line.startswith("gpu ")] == ["healthy"] * GPUS, (
            stage,
            lines,
        )
        assert "exit 0" in lines, (stage, lines)
        # and it is not told a second time
        entries = Journal(tmp_path / "state/gpumend/resets.jsonl").entries()
        assert all(entry.ended is not None for entry in entries), (stage, entries[-1])


def test_hive_reset_that_is_killed_is_finished_by_the_same_method_too(hive: str) -> None:
    for stage in ("told:1", "restore"):
        assert drive(hive, "hive-reset", "SIGKILL", stage)[0] == -signal.SIGKILL
        code, lines, err = drive(hive, "hive-reset")
        assert code == 0, (stage, err)
        assert "exit 0" in lines, (stage, lines)
        assert [line.split()[2] for line in lines if line.startswith("gpu ")] == ["recovered"] * GPUS, (stage, lines)
