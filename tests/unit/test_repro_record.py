"""The folder of a run: on the disk record by record, readable when it ends in the middle, private, never overwritten."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from base.errors import Exit, Refused
from evidence import check
from repro.finished import files_of, problem_of, progress_of
from repro.record import Record, default_folder, read_timeline

SETTINGS = {
    "scenario": "mine", "command": "gpumend repro run mine --yes",
    "definition": {"name": "mine", "shows": "it", "count": 5, "component": "PSP", "actions": [{"name": "a", "module": "wait"}]},
}  # fmt: skip
KILLED = """
import os, signal, sys
from pathlib import Path
from repro.record import Record
record = Record(Path(sys.argv[1]), {"scenario": "mine", "definition": {"count": 5}}, "name: mine")
record.add("iteration", number=1, state="begin")
record.add("iteration", number=1, state="end", word="ok")
record.add("iteration", number=2, state="begin")
record.write("devcoredump/devcd1.txt", b"dump")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_record_killed_in_the_middle_is_readable_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], cwd=Path(__file__).parents[2], capture_output=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    checked = check(folder)
    assert not checked.ok
    assert [item.code for item in checked.findings if str(item.severity) != "note"] == ["bundle.incomplete"]
    progress = progress_of(folder)
    assert progress is not None
    assert (progress["begun"], progress["ended"], progress["outcome"]) == (2, 1, None)
    assert progress["last"] == "iteration 2 begin"
    assert progress["started_anew_since"] is False


def test_record_cut_off_in_a_line_gives_the_lines_before(tmp_path: Path) -> None:
    record = Record(tmp_path / "run", SETTINGS, "name: mine")
    record.add("iteration", number=1, state="begin")
    record.close()
    path = tmp_path / "run/timeline.jsonl"
    with path.open("ab") as file:
        file.write(b'{"n": 3, "kind": "iterat')
    assert [row["kind"] for row in read_timeline(tmp_path / "run")] == ["begin", "iteration"]


def test_record_of_a_machine_that_was_started_anew_says_so(tmp_path: Path) -> None:
    record = Record(tmp_path / "run", SETTINGS, "name: mine")
    record.close()
    path = tmp_path / "run/timeline.jsonl"
    row = json.loads(path.read_text())
    path.write_text(json.dumps(row | {"boot": "another"}) + "\n")
    progress = progress_of(tmp_path / "run")
    assert progress is not None
    assert progress["started_anew_since"] is True


def test_record_is_private_and_whole_at_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "state/run"
    record = Record(folder, SETTINGS, "name: mine")
    record.write("probe/before.json", b"{}")
    record.add("end", outcome="not reproduced")
    record.finish()
    record.close()
    assert check(folder).ok
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((folder / "probe").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}
    with pytest.raises(Refused) as caught:
        Record(folder, SETTINGS, "name: mine")
    assert caught.value.exit_code == Exit.REFUSED
    (folder / "result.json").write_text("more")
    assert [item.code for item in check(folder).findings] == ["bundle.extra"]


def test_record_without_room_or_rights_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="writing") as caught:
        Record(tmp_path / "file/run", SETTINGS, "name: mine")
    assert str(tmp_path / "file") in str(caught.value)


def test_run_in_a_bundle_knows_the_problem_and_follows_no_links(tmp_path: Path) -> None:
    record = Record(tmp_path / "run", SETTINGS, "name: mine")
    record.add("iteration", number=1, state="end", word="reproduced")
    record.close()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "run/link").symlink_to(tmp_path / "secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/secret").write_text("secret")
    (tmp_path / "run/below").symlink_to(tmp_path / "folder")
    os.mkfifo(tmp_path / "run/fifo")
    assert set(files_of(tmp_path / "run")) == {"settings.json", "scenario.yaml", "timeline.jsonl"}
    told = problem_of(tmp_path / "run")
    assert (told["incidence"], told["component"], told["command"]) == ("1 of 1", "PSP", "gpumend repro run mine --yes")
    assert "did not come to its end" in told["summary"]
    assert progress_of(tmp_path / "folder") is None


def test_default_folder_is_below_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, two = default_folder("mine"), default_folder("mine")
    assert one != two
    assert one.parent == tmp_path / "gpumend/runs"
