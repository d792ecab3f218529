"""Saved good copies of discovery tables, one for each GPU, in the user's data folder.

Where: `$XDG_DATA_HOME/gpumend/discovery/<serial>.bin`, by default under `~/.local/share` (XDG base directory
specification). The copy that a new one replaces is kept beside it as `<serial>.previous.bin`."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from pathlib import Path

from amdriver.discovery import MAX_BLOB_BYTES, Validation, validate
from base.errors import InvalidData, NotPermitted, Unavailable
from base.files import explain

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_MAX_NAME = 64


def default_folder() -> Path:
    """The data folder of this user; a relative XDG_DATA_HOME is ignored, as the specification asks."""
    told = os.environ.get("XDG_DATA_HOME", "")
    if told.startswith("/"):
        return Path(told) / "gpumend/discovery"
    try:
        home = Path.home()
    except RuntimeError as error:  # a user that the system does not know, as in many containers
        raise Unavailable(
            "looking for the folder of saved discovery tables",
            expected="XDG_DATA_HOME or HOME",
            seen="neither is set, and this user has no home folder",
            next_step="export XDG_DATA_HOME=/some/folder",
        ) from error
    return home / ".local/share/gpumend/discovery"


def file_name(key: str) -> str:
    """A file name for a GPU's serial (or BDF). Serials that need changing get a hash, so that two never share a file."""
    safe = _UNSAFE.sub("_", key).lstrip(".")[:_MAX_NAME]
    if safe != key or not safe or safe.endswith(".previous"):
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        safe = f"{safe or 'gpu'}-{digest}"
    return f"{safe}.bin"


def save(key: str, blob: bytes, folder: Path | None = None) -> Path:
    """Keep a good copy for this GPU; returns the file. Atomic: a crash leaves the old copy or the new one.

    Raises InvalidData for a table that is not valid (a bad copy would hide damage later), Unavailable or NotPermitted
    when the file cannot be written."""
    validation = validate(blob)
    if not validation.ok or validation.header is None:
        raise _invalid("saving a discovery table", "a valid table", validation)
    good = blob[: validation.header.size_bytes]
    target = (folder or default_folder()) / file_name(key)
    try:
        _write(target, good)
    except OSError as error:
        raise _cannot_write(error, target) from error
    return target


def check_writable(target: Path) -> None:
    """Raise what saving there would raise, as far as that shows without writing."""
    if target.is_dir():
        raise _cannot_write(IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)), target)
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir():
        raise _cannot_write(NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), target)
    if not os.access(above, os.W_OK | os.X_OK):
        raise _cannot_write(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), target)


def _cannot_write(error: OSError, target: Path) -> NotPermitted | Unavailable:
    kind = NotPermitted if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else Unavailable
    return kind(
        f"saving {target}",
        expected="a folder that we may write to",
        seen=os.strerror(error.errno or 0),
        where=str(target.parent),
        next_step="set XDG_DATA_HOME to a folder of your own",
    )


def load(key: str, folder: Path | None = None) -> bytes | None:
    """The saved good copy of this GPU; None when there is none.

    Raises InvalidData for a file that is a link, not a regular file, too big, or no valid table any more; NotPermitted
    or Unavailable when it cannot be read."""
    try:
        target = (folder or default_folder()) / file_name(key)
    except Unavailable:  # no folder, no copy
        return None
    doing = f"loading {target}"
    try:
        blob = _read(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _odd(doing, "a symbolic link", target) from error
        raise explain(error, target, doing) from error
    validation = validate(blob)
    if not validation.ok:
        raise _invalid(doing, "a valid table", validation, f"move {target} away, then gpumend discovery save")
    return blob


def _odd(doing: str, seen: str, target: Path) -> InvalidData:
    return InvalidData(doing, expected="a regular file of at most 64 KiB", seen=seen, where=str(target))


def _invalid(
    doing: str, expected: str, validation: Validation, next_step: str = "gpumend discovery validate"
) -> InvalidData:
    worst = max(validation.findings, key=lambda finding: finding.severity.rank)
    return InvalidData(doing, expected=expected, seen=worst.summary, where=worst.where, next_step=next_step)


def _read(target: Path) -> bytes:
    handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BLOB_BYTES:
            raise _odd(f"loading {target}", f"{stat.filemode(status.st_mode)} of {status.st_size} bytes", target)
        return os.read(handle, MAX_BLOB_BYTES)
    finally:
        os.close(handle)


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _keep_previous(target, data)
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _keep_previous(target: Path, data: bytes) -> None:
    """A second name for the old copy, made before the new one takes its place."""
    if target.is_symlink() or not target.is_file():
        return
    if target.stat().st_size == len(data) and target.read_bytes() == data:
        return
    previous = target.with_name(target.name.removesuffix(".bin") + ".previous.bin")
    aside = target.with_name(f".{previous.name}.{secrets.token_hex(4)}")
    os.link(target, aside)
    aside.replace(previous)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
