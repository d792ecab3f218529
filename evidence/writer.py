"""The folder that a bundle grows in: each file redacted, written and synced as it comes, the manifest after each step.

Whenever the machine dies, the folder holds whole files and a manifest that names them and says `complete: false`. The folder
appears under its name with its first manifest in it, never without. Nothing in it can be read by others (0700, 0600)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from base.errors import NotPermitted, Refused, Unavailable
from base.version import VERSION
from evidence.parts import Collected, Item, Unread
from evidence.redact import Redactor

FORMAT = "gpumend-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MAX_NAME = 160  # so that ustar takes it, with the archive's folder in front
_UNSAFE = re.compile(r"[^A-Za-z0-9._+@-]")


class Writer:
    """Writes one bundle into a new folder. Raises Refused (it is there), NotPermitted, Unavailable (disk full)."""

    def __init__(self, folder: Path, head: Mapping[str, Any], redactor: Redactor, *, total_bytes: int) -> None:
        self.folder = folder
        self.redactor = redactor
        self.files: list[dict[str, Any]] = []
        self.collectors: list[dict[str, Any]] = []
        self.unread: list[Unread] = []
        self._head = dict(head)
        self._taken: set[str] = {MANIFEST}
        self._left = total_bytes
        self._folders: set[str] = set()
        self._unsynced: set[str] = set()  # folders with new names in them
        self._make()

    def _make(self) -> None:
        new = self.folder.with_name(f".{self.folder.name}.{secrets.token_hex(4)}")
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if os.path.lexists(self.folder):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            new.mkdir(mode=0o700)
            self._fd = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise cannot_write(error, self.folder) from error
        try:
            self.manifest()
            new.rename(self.folder)
            sync(self.folder.parent)
        except BaseException as error:
            self.close()
            shutil.rmtree(new, ignore_errors=True)
            if isinstance(error, OSError):
                raise cannot_write(error, self.folder) from error
            raise

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def take(self, done: Collected) -> None:
        """Write what a collector brought, then what is known of it into the manifest."""
        names = [name for item in done.items.values() for name in self._write_or_tell(item, done)]
        unread = [self._told(entry) for entry in done.unread]
        self.unread += unread
        self.collectors.append(
            {
                "name": done.collector.name,
                "gpu": done.collector.gpu,
                "status": done.status,
                "detail": self.redactor.text(done.detail),
                "seconds": round(done.seconds, 3),
                "limit_s": done.collector.limit_s,
                "files": names,
                "unread": [{"what": entry.what, "why": entry.why} for entry in unread],
            }
        )

    def _told(self, entry: Unread) -> Unread:
        return Unread(self.redactor.text(entry.what), self.redactor.text(entry.why))

    def _write_or_tell(self, item: Item, done: Collected) -> list[str]:
        try:
            return [self.add(item.name, bytes(item.data), binary=item.binary, cut=item.cut, by=done.collector.label)]
        except Unavailable as error:
            done.unread.append(Unread(item.name, f"not written: {error.seen}"))
            done.status = "partial"
            return []

    def add(self, name: str, data: bytes, *, binary: bool = False, cut: bool = False, by: str = "") -> str:
        """Write one file and return its name in the bundle. Its bytes are on the disk when this returns, its name with the
        next manifest. What is our own (`by` "") is small, and always has room."""
        if by and len(data) > self._left:
            raise Unavailable(f"writing {name}", expected=f"at most {self._left} bytes", seen="the bundle is full")
        before = sum(self.redactor.counts.values())
        safe = self._name(self.redactor.text(name))
        kept = self._redacted(safe, data, binary=binary)
        try:
            self._put(safe, kept)
        except OSError as error:
            raise cannot_write(error, self.folder / safe) from error
        self._left -= len(kept)
        self.files.append(
            {
                "name": safe,
                "size": len(kept),
                "sha256": hashlib.sha256(kept).hexdigest(),
                "by": by or "gpumend",
                "cut": cut,
                "redacted": sum(self.redactor.counts.values()) - before,
            }
        )
        return safe

    def _redacted(self, name: str, data: bytes, *, binary: bool) -> bytes:
        """In a JSON document of ours the keys stay, whatever a user of this machine is called."""
        if not binary and name.endswith(".json") and self.redactor.on:
            with contextlib.suppress(ValueError, RecursionError):
                return (json.dumps(self.redactor.value(json.loads(data))) + "\n").encode()
        return self.redactor.data(data, binary=binary)

    def _name(self, wanted: str) -> str:
        """A name that is safe anywhere and not taken, however a file system folds letters."""
        parts = [_UNSAFE.sub("_", part).lstrip(".") or "_" for part in wanted.split("/") if part][:6]
        safe = "/".join(part[:60] for part in parts)[:MAX_NAME] or "_"
        number = 1
        name = safe
        while name.lower() in self._taken:
            number += 1
            name = f"{safe}.{number}"
        self._taken.add(name.lower())
        return name

    def _put(self, name: str, data: bytes) -> None:
        above = name.rpartition("/")[0]
        steps = above.split("/") if above else []
        for count in range(1, len(steps) + 1):
            part = "/".join(steps[:count])
            if part not in self._folders:
                os.mkdir(part, 0o700, dir_fd=self._fd)
                self._folders.add(part)
                self._unsynced.add(part.rpartition("/")[0] or ".")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        write_synced(os.open(name, flags, 0o600, dir_fd=self._fd), data)
        self._unsynced.add(above or ".")

    def manifest(self, **more: Any) -> dict[str, Any]:
        """Write the manifest as of now: whole, in place of the one before, and after all that it names is on the disk."""
        self._head.update(more)
        body = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "complete": False,
            "tool": f"gpumend {VERSION}",
            **self._head,
            "redaction": self.redactor.summary(),
            "collectors": self.collectors,
            "files": self.files,
        }
        new = f".{MANIFEST}.{secrets.token_hex(4)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            while self._unsynced:
                _sync_at(self._fd, self._unsynced.pop())
            write_synced(
                os.open(new, flags, 0o600, dir_fd=self._fd), (json.dumps(body, indent=1, default=str) + "\n").encode()
            )
            os.rename(new, MANIFEST, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=self._fd)
            raise cannot_write(error, self.folder / MANIFEST) from error
        return body


def write_synced(handle: int, data: bytes) -> None:
    """All of it, on the disk; closes the descriptor."""
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def cannot_write(error: OSError, target: Path) -> Refused | NotPermitted | Unavailable:
    """The error of ours for what the operating system said about writing `target`."""
    number = error.errno or 0
    if number == errno.EEXIST:
        return Refused(
            f"writing {target}",
            expected="a name that is not taken: nothing is overwritten",
            seen="it is there",
            where=str(target),
            next_step="name another one, or move it away",
        )
    kind = NotPermitted if number in (errno.EACCES, errno.EPERM, errno.EROFS) else Unavailable
    return kind(
        f"writing {target}",
        expected="a folder that we may write to, with room",
        seen=os.strerror(number),
        where=str(target.parent),
        next_step="choose another place with -o",
    )


def sync(folder: Path) -> None:
    """The names in it, on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_at(at: int, name: str) -> None:
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lines(rows: Sequence[Unread]) -> list[str]:
    """`what: why`, for people."""
    return [f"{row.what}: {row.why}" for row in rows]
