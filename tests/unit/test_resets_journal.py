"""The journal: what was begun is on the disk, what was not ended is found, and nothing else is taken for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from base.errors import NotPermitted, Unavailable
from resets.journal import Journal, default_path
from tests.reset_fakes import FakeGpu


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "deep/resets.jsonl")


def test_attempt_has_one_line_when_it_begins_and_one_when_it_ends(journal: Journal) -> None:
    name = journal.begin("mode1", "mode1", "asked for", [FakeGpu(0)], "/bundle")
    assert len(journal.path.read_text().splitlines()) == 1
    journal.end(name, "verified", seconds=1.5, proof="mark gone")
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begin", "end"]
    (row,) = [entry.to_dict() for entry in journal.entries()]
    assert (row["method"], row["status"], row["seconds"], row["evidence"]) == ("mode1", "verified", 1.5, "/bundle")
    assert row["gpus"] == [{"index": 0, "bdf": "0000:10:00.0", "part": "MI350X", "address": "fake:machine"}]
    assert journal.path.stat().st_mode & 0o77 == 0


def test_begin_and_end_are_synced_and_stages_are_not(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    name = journal.begin("mode1", "mode1", "", [], "")
    assert len(synced) == 2, "the file, and the folder that has just got it"
    journal.stage(name, "send")
    assert len(synced) == 2
    journal.end(name, "verified")
    assert len(synced) == 3


def test_attempt_of_a_process_that_is_gone_is_unfinished(journal: Journal) -> None:
    gpu = FakeGpu(3)
    code = (
        "import sys; from pathlib import Path; from resets.journal import Journal; from tests.reset_fakes import FakeGpu;"
        "j = Journal(Path(sys.argv[1])); n = j.begin('hive-reset', 'hive-reset', 'why', [FakeGpu(3)], ''); j.stage(n, 'send')"
    )
    subprocess.run([sys.executable, "-c", code, str(journal.path)], check=True, cwd=Path(__file__).resolve().parents[2])
    (entry,) = journal.unfinished([gpu])
    assert (entry.status, entry.stages, entry.is_running) == ("not ended", ["send"], False)
    assert "hive-reset of 0000:13:00.0" in entry.words and entry.words.endswith("came as far as: send")
    assert journal.unfinished([FakeGpu(4)]) == []
    journal.end(entry.id, "finished by a later run")
    assert journal.unfinished([gpu]) == []


def test_attempt_of_an_earlier_boot_or_of_a_model_is_nothing_to_finish(journal: Journal) -> None:
    gpu = FakeGpu(0)
    journal.begin("mode1", "mode1", "", [gpu], "")
    text = journal.path.read_text()
    line = json.loads(text)
    journal.path.write_text(json.dumps(line | {"boot": "another"}) + "\n")
    assert journal.unfinished([gpu]) == []

    class Modelled(FakeGpu):
        @property
        def address(self) -> str:
            return "model:mi350x"

    journal.begin("mode1", "mode1", "", [Modelled(0)], "")
    assert journal.unfinished([Modelled(0)]) == []


def test_own_attempt_is_running(journal: Journal) -> None:
    journal.begin("mode1", "mode1", "", [FakeGpu(0)], "")
    assert journal.entries()[0].status == "running"


@pytest.mark.parametrize(
    "junk", [b"", b"{", b'{"v": 1}\n', b"[1]\n", b'{"v": 2, "event": "begin", "id": "x"}\n', b"\xff\xfe\n"]
)
def test_lines_that_cannot_be_read_are_left_out(journal: Journal, junk: bytes) -> None:
    journal.begin("mode1", "mode1", "", [FakeGpu(0)], "")
    whole = journal.path.read_bytes()
    journal.path.write_bytes(b"half of a line that was cut\n" + whole + junk)
    assert [entry.begun["method"] for entry in journal.entries()] == ["mode1"]


def test_journal_that_is_not_there_is_empty(journal: Journal) -> None:
    assert journal.entries() == [] and not journal.path.exists()


def test_place_that_cannot_be_written_is_an_error_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((NotPermitted, Unavailable), match="journal of resets"):
        Journal(tmp_path / "file/resets.jsonl").begin("mode1", "mode1", "", [], "")
    (tmp_path / "link.jsonl").symlink_to("/dev/null")
    with pytest.raises(Unavailable):
        Journal(tmp_path / "link.jsonl").begin("mode1", "mode1", "", [], "")


def test_default_place_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "gpumend/resets.jsonl"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_path() == tmp_path / "home/.local/state/gpumend/resets.jsonl"


@pytest.mark.parametrize("cut", [b'{"v": 1, "event": "end", "id"', b"\0\0\0\0"])
def test_line_behind_one_that_was_cut_off_is_not_lost(journal: Journal, cut: bytes) -> None:
    """A machine that died while a line was written leaves half of it: what is begun next must be found all the same."""
    journal.begin("mode1", "mode1", "", [FakeGpu(0)], "")
    with journal.path.open("ab") as file:
        file.write(cut)
    journal.begin("mode2", "mode2", "", [FakeGpu(0)], "")
    assert [entry.begun["method"] for entry in journal.entries()] == ["mode1", "mode2"]


def test_line_is_written_whole_or_it_is_an_error(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:10]))
    journal.begin("mode1", "mode1", "", [FakeGpu(0)], "")
    assert [entry.begun["method"] for entry in journal.entries()] == ["mode1"]
