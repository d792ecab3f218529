"""amdriver/discovery_store.py: good copies only, whole or not at all, and no way out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amdriver.discovery_store import default_folder, file_name, load, save
from base.errors import InvalidData, NotPermitted, Unavailable
from tests.fuzz.discovery_blobs import build, mi350x

GOOD = build(mi350x())
OTHER = build(mi350x(harvested=((11, 2),)))


def test_store_what_was_saved_is_loaded(tmp_path: Path) -> None:
    file = save("692251000123", GOOD + b"rest of the region", tmp_path / "new/folder")
    assert file.name == "692251000123.bin"
    assert load("692251000123", tmp_path / "new/folder") == GOOD
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


def test_store_nothing_saved_is_none(tmp_path: Path) -> None:
    assert load("1", tmp_path) is None
    assert load("1", tmp_path / "absent") is None


def test_store_new_copy_keeps_the_one_before(tmp_path: Path) -> None:
    save("1", OTHER, tmp_path)
    save("1", GOOD, tmp_path)
    save("1", GOOD, tmp_path)  # the same again pushes nothing out
    assert load("1", tmp_path) == GOOD
    assert (tmp_path / "1.previous.bin").read_bytes() == OTHER
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("bad", [b"", GOOD[:-1], b"\xff" * 100, GOOD[:20] + b"\xa5" + GOOD[21:]])
def test_store_refuses_to_save_a_bad_table(tmp_path: Path, bad: bytes) -> None:
    with pytest.raises(InvalidData, match="saving a discovery table failed") as caught:
        save("1", bad, tmp_path)
    assert caught.value.expected == "a valid table"
    assert list(tmp_path.iterdir()) == []


def test_store_damaged_copy_is_not_handed_out(tmp_path: Path) -> None:
    file = save("1", GOOD, tmp_path)
    file.write_bytes(GOOD[:200] + b"\x5a" + GOOD[201:])
    with pytest.raises(InvalidData, match="loading") as caught:
        load("1", tmp_path)
    assert "gpumend discovery save" in caught.value.next_step


def test_store_link_is_neither_followed_nor_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "1.bin").symlink_to(victim)
    with pytest.raises(InvalidData) as caught:
        load("1", tmp_path)
    assert caught.value.seen == "a symbolic link"
    save("1", GOOD, tmp_path)
    assert victim.read_bytes() == b"precious"
    assert load("1", tmp_path) == GOOD


def test_store_fifo_and_huge_file_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.bin")
    (tmp_path / "2.bin").write_bytes(bytes(0x10001))
    for key in ("1", "2"):
        with pytest.raises(InvalidData) as caught:
            load(key, tmp_path)
        assert caught.value.expected == "a regular file of at most 64 KiB"


def test_store_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((Unavailable, NotPermitted), match="saving"):
        save("1", GOOD, tmp_path / "file")


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a/b", "", ".", "..", "\0", "ser ial", "x" * 300, ".hidden", "\udc80"]
)
def test_store_odd_serials_stay_in_the_folder(tmp_path: Path, key: str) -> None:
    name = file_name(key)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name) < 100
    assert save(key, GOOD, tmp_path).parent == tmp_path
    assert load(key, tmp_path) == GOOD


def test_store_two_serials_never_share_a_file() -> None:
    keys = ["a b", "a_b", "a/b", "x" * 65, "x" * 66, "1", "1.previous", "", "."]
    assert len({file_name(key) for key in keys}) == len(keys)


def test_store_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "gpumend/discovery"
    save("1", GOOD)
    assert load("1") == GOOD
    monkeypatch.setenv("HOME", "/home/somebody")
    for told in ("relative/path", ""):
        monkeypatch.setenv("XDG_DATA_HOME", told)
        assert default_folder() == Path("/home/somebody/.local/share/gpumend/discovery")
