"""Reading trees that may be hostile: nothing outside, nothing endless, nothing but regular files."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from base.errors import GpumendError, Refused, Unavailable
from evidence.parts import reason
from evidence.safe import MAX_NAMES, Folder, read_file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """root/real/file, root/alias -> real, root/out -> ../outside; outside/secret."""
    root = tmp_path / "root"
    (root / "real/inner").mkdir(parents=True)
    (root / "real/file").write_text("content")
    (root / "real/inner/deep").write_text("deep")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("SECRET")
    (root / "alias").symlink_to(root / "real")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "real/link").symlink_to("file")
    (root / "real/leak").symlink_to(tmp_path / "outside/secret")
    (root / "real/linkdir").symlink_to("inner")
    return root


def test_safe_folder_behind_a_link_inside_the_root_opens(tree: Path) -> None:
    with Folder(tree, "alias") as opened:
        assert opened.read("file", 100) == (b"content", False)
        assert opened.read("inner/deep", 100) == (b"deep", False)
        assert opened.is_folder("inner")
        assert not opened.is_folder("linkdir")


@pytest.mark.parametrize("path", ["out", "..", "../outside", "real/../../outside"])
def test_safe_folder_outside_of_the_root_is_refused(tree: Path, path: str) -> None:
    with pytest.raises(Refused, match="link that leads out"):
        Folder(tree, path)


@pytest.mark.parametrize("name", ["link", "leak", "linkdir/deep"])
def test_safe_links_below_the_folder_are_not_followed(tree: Path, name: str) -> None:
    with Folder(tree, "real") as opened, pytest.raises(Refused) as caught:
        opened.read(name, 100)
    assert "symbolic link" in caught.value.seen


def test_safe_special_files_are_refused_without_opening_them(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tree / "real/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tree / "real")
        server.bind("socket")
        with Folder(tree, "real") as opened:
            for name, word in (("fifo", "FIFO"), ("socket", "socket"), ("inner", "directory")):
                with pytest.raises(Refused) as caught:
                    opened.read(name, 100)
                assert word in caught.value.seen
    with Folder(Path("/dev")) as opened, pytest.raises(Refused, match="character device"):
        opened.read("zero", 100)


def test_safe_big_files_are_cut(tree: Path) -> None:
    (tree / "real/big").write_bytes(b"x" * 3000)
    assert read_file(tree, "real/big", 1000) == (b"x" * 1000, True)
    assert read_file(tree, "real/big", 3000) == (b"x" * 3000, False)


def test_safe_reads_in_whole_pages(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """amdgpu_ring_* answer EINVAL to any size that is no multiple of 4."""
    sizes: list[int] = []
    real = os.read

    def read(handle: int, size: int) -> bytes:
        sizes.append(size)
        return real(handle, size)

    monkeypatch.setattr(os, "read", read)
    (tree / "real/ring").write_bytes(bytes(1036))
    for limit in (1, 1000, 1036, 4096, 100_001):
        read_file(tree, "real/ring", limit)
    assert all(size % 4096 == 0 for size in sizes)


def test_safe_missing_files_and_folders_are_unavailable(tree: Path) -> None:
    with Folder(tree, "real") as opened, pytest.raises(Unavailable, match="No such file"):
        opened.read("nothing", 100)
    with pytest.raises(Unavailable):
        Folder(tree, "nothing")
    with pytest.raises(GpumendError):
        Folder(tree, "real/file")


def test_safe_names_are_bounded(tree: Path) -> None:
    for number in range(MAX_NAMES + 10):
        (tree / "real/inner" / str(number)).touch()
    with Folder(tree, "real/inner") as opened:
        assert len(opened.names()) == MAX_NAMES


def test_safe_leaves_no_descriptor_open(tree: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("file", "inner/deep", "leak", "nothing", "linkdir/deep", "inner"):
        with Folder(tree, "alias") as opened:
            try:
                opened.read(name, 10)
            except GpumendError as error:
                assert reason(error)
    for path in ("out", "nothing"):
        with pytest.raises(GpumendError):
            Folder(tree, path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
