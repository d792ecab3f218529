"""What was begun and what came of it: one JSON line when an attempt begins, one when it ends, each on the disk before we go on.

    {"v": 1, "event": "begin", "id": ..., "at": ..., "pid": ..., "born": ..., "boot": ..., "method": ..., "gpus": [...], ...}
    {"v": 1, "event": "stage", "id": ..., "at": ..., "name": ...}
    {"v": 1, "event": "end", "id": ..., "at": ..., "status": ..., ...}

A process that was killed leaves a `begin` without an `end`; the next one reads how far it had come. Stages are written
without a wait for the disk, because some of them lie within the second in which all members of a hive must be reset: the
line survives the end of the process, not that of the machine.
Source: XDG Base Directory specification (state folder); proc(5) (starttime; sys/kernel/random/boot_id)."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from base.errors import NotPermitted, Unavailable
from base.files import state_folder
from resets.subject import Subject

VERSION = 1
NAME = "resets.jsonl"
_READ_BYTES = 8 << 20  # of the file's end: years of resets
_MODEL = "model:"


@dataclass(slots=True)
class Entry:
    """One attempt. `gpus`: [{index, bdf, part, address}]; `status` "" while it has not ended; `stages` in order."""

    id: str
    begun: Mapping[str, Any]
    stages: list[str] = field(default_factory=list)
    ended: Mapping[str, Any] | None = None

    @property
    def status(self) -> str:
        if self.ended is not None:
            return str(self.ended.get("status", "unknown"))
        return "running" if self.is_running else "not ended"

    @property
    def is_running(self) -> bool:
        """Its process is still there: the same number, born at the same time, since the same boot."""
        begun = self.begun
        return begun.get("boot") == _boot_id() and begun.get("born") == _born(int(begun.get("pid") or 0)) is not None

    def touches(self, subjects: Iterable[Subject]) -> bool:
        """Whether it was about one of these. A model lives as long as its process: nothing is left of it to finish."""
        places = {_place(one.address, one.bdf) for one in subjects} - {None}
        return any(_place(str(gpu.get("address")), str(gpu.get("bdf"))) in places for gpu in self.begun.get("gpus", ()))

    @property
    def words(self) -> str:
        """`hive-reset of 0000:05:00.0, ..., begun 2026-11-28T10:00:00+00:00 by pid 42, came as far as: restore`"""
        gpus = ", ".join(str(gpu.get("bdf")) for gpu in self.begun.get("gpus", ()))
        far = self.stages[-1] if self.stages else "nothing was done yet"
        return (
            f"{self.begun.get('method')} of {gpus}, begun {self.begun.get('at')} by pid {self.begun.get('pid')}, "
            f"came as far as: {far}"
        )

    def to_dict(self) -> dict[str, Any]:
        ended = dict(self.ended or {})
        names = ("seconds", "wall_s", "proof", "changed", "error")
        return {
            "id": self.id,
            "begun": self.begun.get("at"),
            "ended": ended.get("at"),
            "method": self.begun.get("method"),
            "action": self.begun.get("action"),
            "why": self.begun.get("why"),
            "gpus": list(self.begun.get("gpus", ())),
            "evidence": self.begun.get("evidence", ""),
            "status": self.status,
            "stages": list(self.stages),
            **{name: ended.get(name) for name in names},
        }


class Journal:
    """The file; made when the first line is written."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        if self._path is None:
            self._path = default_path()
        return self._path

    def begin(self, method: str, action: str, why: str, gpus: Sequence[Subject], evidence: str) -> str:
        """Write down that it begins; the attempt's id. On the disk when this returns. NotPermitted, Unavailable."""
        now = _now()
        name = f"{now[:19].replace('-', '').replace(':', '')}Z-{secrets.token_hex(3)}"
        rows = [{"index": one.index, "bdf": one.bdf, "part": one.part.name, "address": one.address} for one in gpus]
        self._write(
            {"event": "begin", "id": name, "at": now, "pid": os.getpid(), "born": _born(os.getpid()), "boot": _boot_id(),
             "method": method, "action": action, "why": why, "gpus": rows, "evidence": evidence}
        )  # fmt: skip
        return name

    def stage(self, name: str, stage: str) -> None:
        self._write({"event": "stage", "id": name, "at": _now(), "name": stage}, sync=False)

    def end(self, name: str, status: str, **told: Any) -> None:
        """`told`: seconds, wall_s, proof, changed, error. On the disk when this returns."""
        self._write({"event": "end", "id": name, "at": _now(), "status": status, **told})

    def entries(self) -> list[Entry]:
        """Every attempt, oldest first; lines that cannot be read are left out. NotPermitted."""
        found: dict[str, Entry] = {}
        for line in self._lines():
            name = str(line.get("id", ""))
            if line.get("event") == "begin":
                found[name] = Entry(name, line)
            elif name in found and line.get("event") == "stage":
                found[name].stages.append(str(line.get("name", "")))
            elif name in found and line.get("event") == "end":
                found[name].ended = line
        return list(found.values())

    def unfinished(self, subjects: Sequence[Subject]) -> list[Entry]:
        """What was begun on these GPUs since this machine booted, and not ended."""
        boot = _boot_id()
        return [
            entry
            for entry in self.entries()
            if entry.ended is None and entry.begun.get("boot") == boot and entry.touches(subjects)
        ]

    def _lines(self) -> list[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _READ_BYTES))
                data = file.read(_READ_BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._explain(error) from error
        lines = []
        for text in data.splitlines():
            try:
                value = json.loads(text)
            except ValueError:  # the first may be cut off, the last not written whole
                continue
            if isinstance(value, dict) and value.get("v") == VERSION:
                lines.append(value)
        return lines

    def _write(self, body: Mapping[str, Any], *, sync: bool = True) -> None:
        line = json.dumps({"v": VERSION, **body}, default=str) + "\n"
        try:
            is_new = not self.path.exists()
            if is_new:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)  # for the time of one line
                _append(handle, line.encode())
                if sync:
                    os.fsync(handle)
            finally:
                os.close(handle)
            if is_new:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> NotPermitted | Unavailable:
        kind = NotPermitted if isinstance(error, PermissionError) else Unavailable
        return kind(
            "writing the journal of resets", expected="a file that this user can write",
            seen=os.strerror(error.errno or 0), where=str(self.path), next_step="export XDG_STATE_HOME=/some/folder",
        )  # fmt: skip


def default_path() -> Path:
    """`$XDG_STATE_HOME/gpumend/resets.jsonl`, or below ~/.local/state. Unavailable: this user has no home."""
    return state_folder("looking for a place for the journal of resets") / NAME


def _append(handle: int, line: bytes) -> None:
    """A line of its own, whole: what stands before it may have been cut off by a full disk, or by the machine's death."""
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        line = b"\n" + line
    while line:
        line = line[os.write(handle, line) :]


def _place(address: str, bdf: str) -> tuple[str, str] | None:
    """Where a GPU is, however it was reached; None for a model."""
    if address.startswith(_MODEL):
        return None
    return (address.partition("#")[0] if address.startswith("remote:") else "", bdf)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _born(pid: int) -> int | None:
    """A process's start time in ticks since boot; None when it is not there (or a zombie, which does nothing any more)."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if not words or words[0] in "ZX" else int(words[19])


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
