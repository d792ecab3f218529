"""Reading files of trees that may be sick or hostile: bounded, never through a link, never anything but a regular file.

A folder that we name may itself lie behind links (every entry of /sys/bus/pci/devices is one), as long as it lies below the
root that we were given; from there on each step is opened without following links. What a name is is asked before it is
opened, because opening some devices acts on them, and once more on what was really opened."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from base.errors import NotPermitted, Refused, Unavailable
from base.files import kind_word

MAX_NAMES = 4096
_CHUNK_BYTES = 1 << 20
_PAGE_BYTES = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Folder:
    """An open folder below `root`; a context manager. Raises Refused, Unavailable, NotPermitted."""

    def __init__(self, root: Path, path: str = "") -> None:
        self.path = root / path
        self.fd = -1
        base = os.path.realpath(root)
        real = os.path.realpath(self.path)
        if real != base and not real.startswith(base.rstrip("/") + "/"):
            raise refusal(self.path, f"a folder below {root}", "a link that leads out of it")
        try:
            self.fd = os.open(base, _FOLDER)
            for step in Path(real).relative_to(base).parts:
                below = os.open(step, _FOLDER, dir_fd=self.fd)
                os.close(self.fd)
                self.fd = below
        except OSError as error:
            self.close()
            raise explained(error, self.path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def names(self) -> list[str]:
        """At most MAX_NAMES names, sorted."""
        found: list[str] = []
        try:
            with os.scandir(self.fd) as entries:
                for entry in entries:
                    found.append(entry.name)
                    if len(found) >= MAX_NAMES:
                        break
        except OSError as error:
            raise explained(error, self.path) from error
        return sorted(found)

    def is_folder(self, name: str) -> bool:
        """A real folder, not a link to one."""
        try:
            return stat.S_ISDIR(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode)
        except OSError:
            return False

    def read(self, name: str, limit_bytes: int) -> tuple[bytes, bool]:
        """The bytes of a regular file, at most `limit_bytes`, and whether there was more."""
        handle = self.open(name)
        try:
            return read_all(handle, limit_bytes)
        except OSError as error:
            raise explained(error, self.path / name) from error
        finally:
            os.close(handle)

    def open(self, name: str) -> int:
        """A descriptor of a regular file; `name` may have steps (`hwmon/hwmon3/temp1_input`), none of which is a link."""
        where = self.path / name
        *steps, last = name.split("/")
        at = self.fd
        try:
            for step in steps:
                _no_link(os.stat(step, dir_fd=at, follow_symlinks=False).st_mode, where)
                below = os.open(step, _FOLDER, dir_fd=at)
                if at != self.fd:
                    os.close(at)
                at = below
            _regular(os.stat(last, dir_fd=at, follow_symlinks=False).st_mode, where)
            handle = os.open(last, _FILE, dir_fd=at)
        except OSError as error:
            raise explained(error, where) from error
        finally:
            if at != self.fd:
                os.close(at)
        try:
            _regular(os.fstat(handle).st_mode, where)
        except BaseException:
            os.close(handle)
            raise
        return handle


def read_file(root: Path, name: str, limit_bytes: int) -> tuple[bytes, bool]:
    """`name` below `root`, where its folder may be reached through links that stay below `root`."""
    above, _, last = name.rpartition("/")
    with Folder(root, above) as folder:
        return folder.read(last, limit_bytes)


def read_all(handle: int, limit_bytes: int) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    total = 0
    # In whole pages: some files of the kernel (amdgpu_ring_*) refuse sizes that are no multiple of 4.
    pages = limit_bytes // _PAGE_BYTES + 1
    while total <= limit_bytes and (part := os.read(handle, min(_CHUNK_BYTES, pages * _PAGE_BYTES))):
        parts.append(part)
        total += len(part)
    return b"".join(parts)[:limit_bytes], total > limit_bytes


def refusal(path: Path, expected: str, seen: str) -> Refused:
    return Refused(f"reading {path}", expected=expected, seen=seen, where=str(path))


def explained(error: OSError, path: Path) -> Refused | Unavailable | NotPermitted:
    """The error of ours that an operating system error stands for here, where ELOOP means: it is a link."""
    number = error.errno or 0
    if number == errno.ELOOP:
        return refusal(path, "a file, not a link", "a symbolic link: not followed")
    kind = NotPermitted if isinstance(error, PermissionError) else Unavailable
    return kind(f"reading {path}", expected="a readable file", seen=os.strerror(number), where=str(path))


def _no_link(mode: int, path: Path) -> None:
    if stat.S_ISLNK(mode):
        raise refusal(path, "a regular file", "a symbolic link: not followed")


def _regular(mode: int, path: Path) -> None:
    _no_link(mode, path)
    kind = kind_word(mode)
    if kind:
        raise refusal(path, "a regular file", f"{kind}: not opened")
