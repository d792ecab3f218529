"""Files that a user or the machine names, read within bounds: no waiting on a FIFO, no endless device, no huge file.

The kind of file is asked for before it is opened, because opening some devices acts on them (a watchdog starts)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from base.errors import GpumendError, InvalidData, NotPermitted, Unavailable, UsageError

MIB = 1 << 20
_CHUNK_BYTES = 1 << 20
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO (named pipe)"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
)
_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_BAD_NAME = (errno.ELOOP, errno.ENAMETOOLONG)


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The bytes of a regular file of at most `limit_bytes`; links are followed, an empty file gives b"".

    Raises Unavailable (not there, went away, cannot be read by the disk), NotPermitted, UsageError (not a regular
    file, a name that no file can have) or InvalidData (more than `limit_bytes`). Never blocks on a FIFO or device."""
    doing = f"reading {path}"
    handle = open_regular(path, limit_bytes, doing)
    try:
        return _read_all(handle, path, limit_bytes, doing)
    except OSError as error:
        raise explain(error, path, doing) from error
    finally:
        os.close(handle)


def open_regular(path: Path, limit_bytes: int, doing: str) -> int:
    """A file descriptor for reading a regular file, its size checked as `read_bounded` does; the caller closes it."""
    try:
        _check(path.stat(), path, limit_bytes, doing)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise explain(error, path, doing) from error
    try:
        # Asked again on what was really opened: the name may mean something else by now.
        _check(os.fstat(handle), path, limit_bytes, doing)
    except BaseException as error:
        os.close(handle)
        if isinstance(error, OSError):
            raise explain(error, path, doing) from error
        raise
    return handle


def explain(error: OSError | ValueError, path: Path, doing: str) -> GpumendError:
    """The error of ours that an operating system error on `path` stands for."""
    where = str(path)
    if not isinstance(error, OSError):
        return UsageError(doing, expected="a file name", seen=str(error), where=where)
    seen = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _ABSENT:
        return Unavailable(doing, expected="a file", seen=seen, where=where, next_step="check the path")
    if isinstance(error, PermissionError):
        return NotPermitted(
            doing,
            expected="read permission on the file, search permission on its folders",
            seen=seen,
            where=where,
            next_step=f"ls -ld {path}; run as a user or with a group that may read it",
        )
    if error.errno in _BAD_NAME:
        return UsageError(doing, expected="a path that leads to a file", seen=seen, where=where)
    return Unavailable(doing, expected="a readable file", seen=seen, where=where, next_step="look at dmesg")


def kind_word(mode: int) -> str:
    """What sort of thing a stat mode stands for: `a FIFO (named pipe)`; "" for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((word for test, word in _KINDS if test(mode)), "not a regular file")


def _check(status: os.stat_result, path: Path, limit_bytes: int, doing: str) -> None:
    kind = kind_word(status.st_mode)
    if kind:
        raise UsageError(doing, expected="a regular file", seen=kind, where=str(path), next_step="name a regular file")
    if status.st_size > limit_bytes:
        raise _too_big(f"{status.st_size} bytes", path, limit_bytes, doing)


def _too_big(seen: str, path: Path, limit_bytes: int, doing: str) -> InvalidData:
    return InvalidData(doing, expected=f"at most {limit_bytes} bytes", seen=seen, where=str(path))


def _read_all(handle: int, path: Path, limit_bytes: int, doing: str) -> bytes:
    # The size that stat tells is a hint: files of /proc and /sys say 0 or 4096, and a file may grow meanwhile.
    parts: list[bytes] = []
    total = 0
    while part := os.read(handle, min(_CHUNK_BYTES, limit_bytes + 1 - total)):
        parts.append(part)
        total += len(part)
        if total > limit_bytes:
            raise _too_big(f"more than {limit_bytes} bytes", path, limit_bytes, doing)
    return b"".join(parts)


def state_folder(doing: str, next_step: str = "export XDG_STATE_HOME=/some/folder") -> Path:
    """`$XDG_STATE_HOME/gpumend`, or below `~/.local/state`. Unavailable: neither, as this user has no home."""
    told = os.environ.get("XDG_STATE_HOME", "")
    try:
        state = Path(told) if told.startswith("/") else Path.home() / ".local/state"
    except RuntimeError as error:
        seen = "neither is set, and this user has no home folder"
        raise Unavailable(doing, expected="XDG_STATE_HOME or HOME", seen=seen, next_step=next_step) from error
    return state / "gpumend"
