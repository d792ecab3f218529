"""Finding and reading firmware files: search order, packed forms, bounds, and what is said when one is missing."""

from __future__ import annotations

import errno
import importlib
import lzma
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from base.errors import InvalidData, NotPermitted, Unavailable, UsageError
from firmware import store
from tests.firmware_files import sdma

NAME = "sdma_4_4_2.bin"


def zstd(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    packed: bytes = zstandard.ZstdCompressor().compress(data)
    return packed


def test_search_dirs_named_folder_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, "/from/environment")
    assert store.search_dirs("/named") == [Path("/named")]


def test_search_dirs_environment_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, "/from/environment")
    assert store.search_dirs() == [Path("/from/environment")]
    assert store.search_dirs(None) == [Path("/from/environment")]


def test_search_dirs_else_cache_then_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(store.VARIABLE, raising=False)
    dirs = store.search_dirs()
    assert dirs[0].parts[-3:] == (".cache", "firmware", "amdgpu")
    assert dirs[1:] == [Path("/lib/firmware/updates/amdgpu"), Path("/lib/firmware/amdgpu")]


def test_find_first_folder_wins_and_plain_before_packed(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    (second / NAME).touch()
    assert store.find(NAME, [first, second]) == second / NAME
    (first / f"{NAME}.xz").touch()
    assert store.find(NAME, [first, second]) == first / f"{NAME}.xz"
    (first / f"{NAME}.zst").touch()
    assert store.find(NAME, [first, second]) == first / f"{NAME}.zst"
    (first / NAME).touch()
    assert store.find(NAME, [first, second]) == first / NAME


def test_find_missing_names_packages_and_folders(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        store.find(NAME, [tmp_path / "a", tmp_path / "b"])
    text = str(caught.value)
    assert caught.value.exit_code == 69
    assert "firmware-amd-graphics" in text and "linux-firmware" in text
    assert str(tmp_path / "a") in text and str(tmp_path / "b") in text
    assert f"{NAME}.zst" in text


def test_find_without_folders_says_so() -> None:
    with pytest.raises(Unavailable, match="no folder"):
        store.find(NAME, [])


@pytest.mark.parametrize("name", ["../passwd", "/etc/passwd", "a/b.bin", ".."[:1] + "/x"])
def test_find_name_with_folders_is_a_wrong_argument(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without folders"):
        store.find(name, [tmp_path])


def test_find_folder_that_may_not_be_searched_is_77(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **words: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(NotPermitted, match="looking for firmware"):
        store.find(NAME, [tmp_path])


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst"])
def test_load_reads_and_decodes_packed_files(tmp_path: Path, suffix: str) -> None:
    data = sdma()
    packed = {"": lambda: data, ".xz": lambda: lzma.compress(data), ".zst": lambda: zstd(data)}[suffix]()
    (tmp_path / (NAME + suffix)).write_bytes(packed)
    file = store.load(NAME, [tmp_path])
    assert file.ok
    assert (file.name, file.data) == (NAME, data)


def test_load_without_folders_uses_the_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    (tmp_path / NAME).write_bytes(sdma())
    assert store.load(NAME).ok


def test_read_several_xz_streams_and_zst_frames_are_joined(tmp_path: Path) -> None:
    (tmp_path / "a.bin.xz").write_bytes(lzma.compress(b"one") + b"\0\0\0\0" + lzma.compress(b"two"))
    (tmp_path / "a.bin.zst").write_bytes(zstd(b"one") + zstd(b"two"))
    assert store.read(tmp_path / "a.bin.xz") == b"onetwo"
    assert store.read(tmp_path / "a.bin.zst") == b"onetwo"


def test_read_empty_xz_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.bin.xz").write_bytes(b"")
    assert store.read(tmp_path / "a.bin.xz") == b""


@pytest.mark.parametrize("suffix", [".xz", ".zst"])
def test_read_archive_that_grows_too_large_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LIMIT_BYTES", 1 << 20)
    bomb = bytes((1 << 20) + 1)
    path = tmp_path / f"a.bin{suffix}"
    path.write_bytes(lzma.compress(bomb) if suffix == ".xz" else zstd(bomb))
    with pytest.raises(InvalidData) as caught:
        store.read(path)
    assert "at most 1048576 bytes" in str(caught.value)
    path.write_bytes(lzma.compress(bomb[1:]) if suffix == ".xz" else zstd(bomb[1:]))
    assert len(store.read(path)) == 1 << 20


@pytest.mark.parametrize("suffix", [".xz", ".zst"])
def test_read_damaged_archive_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.bin{suffix}"
    path.write_bytes(b"not an archive at all")
    with pytest.raises(InvalidData, match=r"unpacking a\.bin"):
        store.read(path)


@pytest.mark.parametrize("suffix", [".xz", ".zst"])
def test_read_archive_cut_short_is_never_taken_for_whole(tmp_path: Path, suffix: str) -> None:
    data = bytes(range(256)) * 64
    packed = lzma.compress(data) if suffix == ".xz" else zstd(data)
    path = tmp_path / f"a.bin{suffix}"
    for length in range(1, len(packed)):
        path.write_bytes(packed[:length])
        try:
            assert store.read(path) != data
        except InvalidData as error:
            assert "a whole archive" in str(error)


def test_read_xz_cut_short_says_that_it_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "a.bin.xz"
    path.write_bytes(lzma.compress(b"x" * 1000)[:-4])
    with pytest.raises(InvalidData, match="unpacking") as caught:
        store.read(path)
    assert caught.value.seen == "the archive ends early"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python unpacks zstd itself")
def test_read_zst_without_the_package_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin.zst"
    path.write_bytes(zstd(b"x"))
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == "zstandard":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(Unavailable) as caught:
        store.read(path)
    text = str(caught.value)
    assert caught.value.exit_code == 69
    assert "pip install zstandard" in text and "gpumend[zstandard]" in text and "Python 3.14" in text


def test_list_folder_gives_sorted_names(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    assert store.list_folder(tmp_path) == ["a", "b"]


def test_list_folder_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(UsageError, match="a folder"):
        store.list_folder(tmp_path / "f")
    with pytest.raises(Unavailable, match="listing"):
        store.list_folder(tmp_path / "nothing")


def test_list_folder_without_permission_is_77(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(NotPermitted, match="read permission on the folder"):
        store.list_folder(tmp_path)


def test_read_xz_of_countless_tiny_streams_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "many.bin.xz"
    path.write_bytes(lzma.compress(b"") * 100_000)
    with pytest.raises(InvalidData, match=r"unpacking many\.bin\.xz") as caught:
        store.read(path)
    assert caught.value.seen == "more than 16 streams in one file"
