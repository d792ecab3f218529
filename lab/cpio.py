"""Archives for the kernel's initial file system: the `newc` format of cpio.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst. Several archives may follow each other in one
initial file system; each must list its folders before what lies in them, or the kernel drops those files silently."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

ALIGNMENT = 4
_COPY_BYTES = 1 << 20


@dataclass(slots=True)
class Archive:
    """Writes one archive to a stream. Everything in it belongs to root. Paths are given without a leading slash."""

    stream: IO[bytes]
    _inode: int = 0
    _folders: set[str] = field(default_factory=set)

    def folder(self, path: str, mode: int = 0o755) -> None:
        """A folder and the folders above it; one that was listed is not listed again."""
        name = _normal(path)
        if not name or name in self._folders:
            return
        self.folder(str(PurePosixPath(name).parent))
        self._folders.add(name)
        self._entry(name, stat.S_IFDIR | mode)

    def file(self, path: str, data: bytes, *, mode: int = 0o644, mtime: int = 0) -> None:
        name = self._in_folder(path)
        self._entry(name, stat.S_IFREG | mode, data, mtime=mtime)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        name = self._in_folder(path)
        self._entry(name, stat.S_IFLNK | 0o777, os.fsencode(target))

    def tree(self, root: Path, at: str = "", wanted: Callable[[str], bool] = lambda path: True) -> None:
        """All below `root` that `wanted` accepts (paths relative to `root`), put under `at`; folders that it refuses
        are not entered. Sorted, so that the same tree gives the same bytes."""
        for item in sorted(root.iterdir()):
            self._item(item, item.name, at, wanted)

    def _item(self, item: Path, relative: str, at: str, wanted: Callable[[str], bool]) -> None:
        if not wanted(relative):
            return
        name = f"{at}/{relative}" if at else relative
        if item.is_symlink():
            self.link(name, os.readlink(item))  # noqa: PTH115 - the text of the link, as it is
        elif item.is_dir():
            self.folder(name, stat.S_IMODE(item.stat().st_mode) | 0o700)
            for inner in sorted(item.iterdir()):
                self._item(inner, f"{relative}/{inner.name}", at, wanted)
        elif item.is_file():
            about = item.stat()
            self.file(name, item.read_bytes(), mode=stat.S_IMODE(about.st_mode), mtime=int(about.st_mtime))

    def close(self) -> None:
        """The trailer that ends an archive; without it the kernel takes what follows for damage."""
        self._entry("TRAILER!!!", 0)

    def _in_folder(self, path: str) -> str:
        name = _normal(path)
        self.folder(str(PurePosixPath(name).parent))
        return name

    def _entry(self, name: str, mode: int, data: bytes = b"", *, mtime: int = 0) -> None:
        self._inode += 1
        named = os.fsencode(name) + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._inode, mode, 0, 0, links, mtime & 0xFFFFFFFF, len(data), 0, 0, 0, 0, len(named), 0)
        header = b"070701" + b"".join(b"%08X" % value for value in fields)
        self.stream.write(_padded(header + named))
        self.stream.write(_padded(data))


def pack(into: Path, fill: Callable[[Archive], None]) -> None:
    """Write an archive file; it appears under its name only when it is complete."""
    unfinished = into.with_suffix(".part")
    with unfinished.open("wb") as stream:
        archive = Archive(stream)
        fill(archive)
        archive.close()
    unfinished.replace(into)


def join(archives: list[Path], into: IO[bytes]) -> None:
    """One initial file system out of several archives."""
    for path in archives:
        with path.open("rb") as stream:
            while chunk := stream.read(_COPY_BYTES):
                into.write(chunk)


def _normal(path: str) -> str:
    name = str(PurePosixPath(path))
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{path}: not a path inside the archive")
    return "" if name == "." else name


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
