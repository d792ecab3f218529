"""The folder of a run: every record is on the disk before the next thing is done, so that it tells how far a machine
came that died meanwhile.

    settings.json      everything that the run was started with: versions, GPUs, parameters, seed, the command to repeat it
    scenario.yaml      the scenario as it was read
    timeline.jsonl     one record a line, synced one by one: `n`, `t` (monotonic), `wall`, `kind`, and what it is about
    kernel.log, uevents.jsonl, devcoredump/     written by the watcher's process (watching.py)
    probe/, trace/, evidence-N/                 the GPUs before the run, and what was kept at each failure
    waves/             registers of the waves of kernels that hung or faulted, before their queue was reset
    result.json, report.md                      at the end
    manifest.json      as in a bundle (docs/evidence.md); `complete: false` until the end

Folders are 0700, files 0600; nothing is overwritten. Times in seconds."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from base.files import state_folder
from base.version import VERSION
from evidence.writer import FORMAT, FORMAT_VERSION, MANIFEST, cannot_write, write_synced

TIMELINE = "timeline.jsonl"
GROWING = (TIMELINE, "kernel.log", "uevents.jsonl")  # until the end
MAX_LINE_BYTES = 4 << 20


def default_folder(name: str) -> Path:
    """A new name below `$XDG_STATE_HOME/gpumend/runs` (`~/.local/state`): time, scenario, four letters by chance."""
    state = state_folder("looking for a place for a run", "gpumend repro run ... -o FOLDER")
    return state / "runs" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}-{secrets.token_hex(2)}"


class Record:
    """Writes one run's folder. Raises Refused (it is there), NotPermitted, Unavailable (disk full) as
    `evidence.writer` does."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], scenario: str) -> None:
        self.folder = folder
        self._number = 0
        self._start = time.monotonic()
        self._head = {
            "tool": f"gpumend {VERSION}", "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "reason": f"repro run {settings.get('scenario', '')}".strip(), "kind": "run",
            "redaction": {"on": False, "complete": True, "redacted": []}, "collectors": [],
        }  # fmt: skip
        try:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(mode=0o700)
            self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise cannot_write(error, folder) from error
        self._lines = -1
        try:
            self.write("settings.json", (json.dumps(settings, indent=1, default=str) + "\n").encode())
            self.write("scenario.yaml", scenario.encode())
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._lines = os.open(TIMELINE, flags, 0o600, dir_fd=self._fd)
            self._manifest(False)
            self.add("begin", boot=boot_id(), pid=os.getpid())
        except OSError as error:
            self.close()
            raise cannot_write(error, folder) from error
        except BaseException:
            self.close()
            raise

    def add(self, kind: str, **told: Any) -> None:
        """One line of the timeline, on the disk when this returns."""
        self._number += 1
        row = {
            "n": self._number, "t": round(time.monotonic() - self._start, 6),
            "wall": datetime.now(UTC).isoformat(timespec="milliseconds"), "kind": kind, **told,
        }  # fmt: skip
        line = (json.dumps(row, default=str) + "\n").encode()
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(self._lines, view) :]
            os.fdatasync(self._lines)
        except OSError as error:
            raise cannot_write(error, self.folder / TIMELINE) from error

    def write(self, name: str, data: bytes) -> str:
        """A new file, synced; its name."""
        path = self.folder / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            write_synced(os.open(path, flags, 0o600), data)
        except OSError as error:
            raise cannot_write(error, path) from error
        return name

    def finish(self) -> None:
        """The manifest that says: this is all."""
        self._manifest(True)

    def close(self) -> None:
        for handle in (self._lines, self._fd):
            if handle >= 0:
                os.close(handle)
        self._lines = self._fd = -1

    def _manifest(self, complete: bool) -> None:
        """While it grows, what may still change is not named in it."""
        files = []
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if path.is_symlink() or not path.is_file() or name == MANIFEST or (name in GROWING and not complete):
                continue
            data = path.read_bytes()
            files.append({"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "by": "run"})
        body = {"format": FORMAT, "version": FORMAT_VERSION, "complete": complete, **self._head, "files": files}
        new = f".{MANIFEST}.{secrets.token_hex(4)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            write_synced(os.open(new, flags, 0o600, dir_fd=self._fd), (json.dumps(body, indent=1) + "\n").encode())
            os.rename(new, MANIFEST, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            os.fsync(self._fd)
        except OSError as error:
            raise cannot_write(error, self.folder / MANIFEST) from error


def boot_id() -> str:
    """Which start of this machine it is; "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def read_timeline(folder: Path) -> list[dict[str, Any]]:
    """The records of a run, from whomever; a last line that was not written whole is left out."""
    from base.files import read_bounded

    rows: list[dict[str, Any]] = []
    data = read_bounded(folder / TIMELINE, 1 << 30)
    for line in data.split(b"\n"):
        if not line or len(line) > MAX_LINE_BYTES:
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("kind"), str):
            rows.append(row)
    return rows
