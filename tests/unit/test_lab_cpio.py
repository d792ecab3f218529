"""lab/cpio.py: what the kernel would unpack from our archives, read back by a reader of its own."""

from __future__ import annotations

import io
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import cpio


@dataclass(frozen=True)
class Entry:
    name: str
    mode: int
    uid: int
    mtime: int
    data: bytes


def read_back(data: bytes) -> list[Entry]:
    """All entries of one or more archives that follow each other, as the buffer format describes them."""
    entries: list[Entry] = []
    position = 0
    while position < len(data):
        assert position % 4 == 0
        assert data[position : position + 6] == b"070701"
        fields = [int(data[position + 6 + 8 * n : position + 14 + 8 * n], 16) for n in range(13)]
        _, mode, uid, _, _, mtime, size, *_, name_size, _ = fields
        name = data[position + 110 : position + 110 + name_size]
        assert name.endswith(b"\0")
        start = (position + 110 + name_size + 3) & ~3
        entries.append(Entry(name[:-1].decode(), mode, uid, mtime, data[start : start + size]))
        position = (start + size + 3) & ~3
    return entries


def archive_of(fill: object) -> list[Entry]:
    stream = io.BytesIO()
    archive = cpio.Archive(stream)
    fill(archive)  # type: ignore[operator]
    archive.close()
    entries = read_back(stream.getvalue())
    assert entries.pop().name == "TRAILER!!!"
    return entries


def test_archive_lists_each_folder_once_before_what_lies_in_it() -> None:
    def fill(archive: cpio.Archive) -> None:
        archive.file("usr/lib/a", b"x")
        archive.file("usr/lib/b", b"yy")

    names = [entry.name for entry in archive_of(fill)]
    assert names == ["usr", "usr/lib", "usr/lib/a", "usr/lib/b"]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 4096])
def test_archive_keeps_bytes_mode_and_time_whatever_the_size(size: int) -> None:
    data = bytes(range(256)) * 16
    (entry,) = archive_of(lambda archive: archive.file("name", data[:size], mode=0o755, mtime=1234))
    assert entry == Entry("name", stat.S_IFREG | 0o755, 0, 1234, data[:size])


def test_archive_of_a_tree_has_links_and_leaves_out_what_is_not_wanted(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/file").write_bytes(b"data")
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop/file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("/keep/file")
    entries = archive_of(lambda archive: archive.tree(tmp_path, "at/top", lambda path: path != "drop"))
    assert [entry.name for entry in entries] == ["at", "at/top", "at/top/keep", "at/top/keep/file", "at/top/link"]
    assert entries[-1].mode == stat.S_IFLNK | 0o777
    assert entries[-1].data == b"/keep/file"


@pytest.mark.parametrize("path", ["/etc/passwd", "../out", "a/../../out"])
def test_archive_path_that_leaves_it_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside the archive"):
        cpio.Archive(io.BytesIO()).file(path, b"")


def test_join_gives_archives_that_follow_each_other(tmp_path: Path) -> None:
    paths = [tmp_path / "one.cpio", tmp_path / "two.cpio"]
    cpio.pack(paths[0], lambda archive: archive.file("one", b"1"))
    cpio.pack(paths[1], lambda archive: archive.file("sub/two", b"22"))
    stream = io.BytesIO()
    cpio.join(paths, stream)
    names = [entry.name for entry in read_back(stream.getvalue())]
    assert names == ["one", "TRAILER!!!", "sub", "sub/two", "TRAILER!!!"]


def test_pack_that_fails_leaves_no_archive(tmp_path: Path) -> None:
    def fill(archive: cpio.Archive) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cpio.pack(tmp_path / "a.cpio", fill)
    assert not (tmp_path / "a.cpio").exists()
