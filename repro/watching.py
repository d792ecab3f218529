"""What is watched while a scenario runs: the kernel's log, core dumps of the driver, uevents.

On this machine's bus a process of its own does it, so that it sees what happens while the run waits in the kernel: it
writes each thing the moment it appears and syncs it. It begins with all that the kernel's ring holds: the log from
before the start. Models have no kernel: there is nothing to watch beyond what the probe asks.

Source: Linux Documentation/ABI/testing/dev-kmsg (one record a read, EPIPE where some were lost);
drivers/base/devcoredump.c (dumps go after five minutes); netlink(7), NETLINK_KOBJECT_UEVENT. Times in seconds of the
real clock."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOOK_S = 0.2  # how often for new core dumps
CATCH_UP_S = 2.0
DUMP_BYTES = 32 << 20
MOST_DUMPS = 16
LOG_BYTES = 256 << 20
_KOBJECT_UEVENT = 15
_SUBSYSTEMS = ("drm", "pci", "devcoredump", "kfd")
_RECORD = re.compile(r"^(\d+),(\d+),(\d+),[^;]*;")
_PR_SET_PDEATHSIG = 1
WHOLE, BLIND = b"!", b"?"


@dataclass(frozen=True, slots=True)
class Seen:
    """What came since the last look: names of patterns with the line of each, core dumps, uevents; `blind`: why there may
    be more that was not seen."""

    matches: tuple[tuple[str, str], ...] = ()
    dumps: tuple[str, ...] = ()
    uevents: tuple[str, ...] = ()
    blind: str = ""

    def __bool__(self) -> bool:
        return bool(self.matches or self.dumps or self.uevents)


class NoWatch:
    """For GPUs that no kernel of ours has."""

    reason = "the GPUs are models, or elsewhere: this machine's kernel says nothing of them"

    def look(self) -> Seen:
        return Seen()

    def close(self) -> None: ...


@dataclass(slots=True)
class Watch:
    """A child that watches and writes into `folder`. `patterns`: regular expressions by name, looked for in new lines
    only."""

    folder: Path
    patterns: Mapping[str, str]
    wanted: frozenset[str]
    sys: Path = Path("/sys")
    kmsg: Path = Path("/dev/kmsg")
    reason: str = ""
    _pid: int = 0
    _ask: int = -1
    _answer: int = -1
    _read: int = 0
    _dumps: set[str] = field(default_factory=set)
    _uevents: int = 0
    _asked: int = 0  # questions without an answer yet
    _compiled: dict[str, re.Pattern[str]] = field(default_factory=dict)

    def start(self) -> Watch:
        """From here on everything is seen; what the kernel's log held already is written, and does not match."""
        self._compiled = {name: re.compile(text) for name, text in self.patterns.items()}
        ask_read, self._ask = os.pipe()
        self._answer, answer_write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                os.close(self._ask)
                os.close(self._answer)
                _Child(self.folder, self.wanted, self.sys, self.kmsg, ask_read, answer_write).run()
                code = 0
            finally:
                os._exit(code)
        os.close(ask_read)
        os.close(answer_write)
        self._catch_up()
        self._read = self._size()
        self._dumps = set(self._dump_names())
        self._uevents = len(self._uevent_lines())
        return self

    def look(self) -> Seen:
        """What came since the last look."""
        blind = self._catch_up()
        matches = tuple(self._matches())
        dumps = tuple(sorted(set(self._dump_names()) - self._dumps))
        self._dumps |= set(dumps)
        uevents = self._uevent_lines()[self._uevents :]
        self._uevents += len(uevents)
        return Seen(matches, dumps, tuple(uevents), blind)

    def close(self) -> None:
        """End the child: asked first, then killed; one that the kernel does not let go is left."""
        for handle in (self._ask, self._answer):
            if handle >= 0:
                os.close(handle)
        self._ask = self._answer = -1
        if self._pid:
            _end(self._pid)
            self._pid = 0

    def _catch_up(self) -> str:
        """Until the child has written all that was there when we asked; bounded. "", or why it may not have seen all."""
        blind = self._answered()
        self.reason = self.reason or blind
        return blind

    def _answered(self) -> str:
        try:
            os.write(self._ask, b"?")
        except OSError:
            return "the watcher's process has ended"
        self._asked += 1
        deadline = time.monotonic() + CATCH_UP_S
        answer = b""
        while self._asked:
            ready, _, _ = select.select([self._answer], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return f"the watcher's process did not answer within {CATCH_UP_S:g} s"
            answer = os.read(self._answer, 64)
            if not answer:
                return "the watcher's process has ended"
            self._asked -= len(answer)
        return "" if answer.endswith(WHOLE) else "the kernel's log cannot be read, or is too long to be kept"

    def _size(self) -> int:
        try:
            return (self.folder / "kernel.log").stat().st_size
        except OSError:
            return 0

    def _matches(self) -> list[tuple[str, str]]:
        try:
            with (self.folder / "kernel.log").open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for line in whole.decode("utf-8", "replace").splitlines():
            found += [(name, line[:500]) for name, pattern in self._compiled.items() if pattern.search(line[:4096])]
        return found

    def _dump_names(self) -> list[str]:
        try:
            return sorted(entry.name for entry in (self.folder / "devcoredump").iterdir())
        except OSError:
            return []

    def _uevent_lines(self) -> list[str]:
        try:
            return (self.folder / "uevents.jsonl").read_text("utf-8", "replace").splitlines()
        except OSError:
            return []


def _end(pid: int) -> None:
    deadline = time.monotonic() + 1.0
    killed = False
    while time.monotonic() < deadline + killed:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        if time.monotonic() > deadline - 0.5 and not killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed = True
        time.sleep(0.01)


class _Child:
    """The watching process. Whatever cannot be watched is left out: the run goes on without it."""

    def __init__(self, folder: Path, wanted: frozenset[str], sys: Path, kmsg: Path, ask: int, answer: int) -> None:
        self.folder, self.sys, self.ask, self.answer = folder, sys, ask, answer
        self.left = LOG_BYTES
        self.wanted = wanted
        self.dumps: set[str] = set()
        self.kmsg = self._open(kmsg) if "kernel-log" in wanted else -1
        self.netlink = self._netlink() if "uevents" in wanted else None

    def run(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the parent ends it
        _die_with_parent()
        while True:
            ready, _, _ = select.select(self._handles(), [], [], LOOK_S)
            self._drain_log()
            self._drain_uevents()
            self._look_for_dumps()
            if self.ask in ready:
                if not os.read(self.ask, 1):
                    return
                blind = "kernel-log" in self.wanted and (self.kmsg < 0 or self.left <= 0)
                os.write(self.answer, BLIND if blind else WHOLE)

    def _handles(self) -> list[int]:
        handles = [self.ask]
        if self.netlink is not None:
            handles.append(self.netlink.fileno())
        return handles

    def _open(self, kmsg: Path) -> int:
        try:
            return os.open(kmsg, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return -1

    def _netlink(self) -> socket.socket | None:
        try:
            made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _KOBJECT_UEVENT)
            made.bind((0, 1))
            made.setblocking(False)
        except OSError:
            return None
        return made

    def _drain_log(self) -> None:
        if self.kmsg < 0:
            return
        lines: list[str] = []
        while True:
            try:
                data = os.read(self.kmsg, 16384)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:  # the ring went on: some records are gone
                    lines.append("[gpumend: records were lost here]\n")
                    continue
                break
            if not data:
                break
            lines.append(_readable(data.decode("utf-8", "replace")))
        if lines:
            self._append("kernel.log", "".join(lines).encode())

    def _drain_uevents(self) -> None:
        while self.netlink is not None:
            try:
                data = self.netlink.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                continue
            told = [part.decode("utf-8", "replace") for part in data.split(b"\0") if part]
            values = dict(part.partition("=")[::2] for part in told[1:])
            if values.get("SUBSYSTEM") in _SUBSYSTEMS:
                row = {"t": round(time.monotonic(), 3), "event": told[0], **values}
                self._append("uevents.jsonl", (json.dumps(row) + "\n").encode())

    def _look_for_dumps(self) -> None:
        if "devcoredump" not in self.wanted or len(self.dumps) >= MOST_DUMPS:
            return
        try:
            names = [entry.name for entry in (self.sys / "class/devcoredump").iterdir()]
        except OSError:
            return  # the kernel makes the folder with the first dump
        for name in sorted(names):
            if re.fullmatch(r"devcd\d+", name) and name not in self.dumps:
                self.dumps.add(name)
                with contextlib.suppress(OSError):
                    self._keep_dump(name)

    def _keep_dump(self, name: str) -> None:
        place = (self.sys / "class/devcoredump" / name).resolve(strict=True)
        if not place.is_relative_to(self.sys.resolve()):
            return  # a link out of /sys is no dump
        handle = os.open(place / "data", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        data = bytearray()
        try:
            while len(data) < DUMP_BYTES:
                part = os.read(handle, 1 << 20)
                if not part:
                    break
                data += part
        finally:
            os.close(handle)
        self._append(f"devcoredump/{name}.txt", bytes(data[:DUMP_BYTES]))

    def _append(self, name: str, data: bytes) -> None:
        data = data[: max(0, self.left)]
        if not data:
            return
        self.left -= len(data)
        path = self.folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fdatasync(handle)
        finally:
            os.close(handle)


def _readable(record: str) -> str:
    """`6,123,4567890,-;text` as `[    4.567890] text`; what is no such record stays as it is."""
    found = _RECORD.match(record)
    text = record if record.endswith("\n") else f"{record}\n"
    if not found:
        return text
    return f"[{int(found[3]) / 1e6:12.6f}] {text[found.end() :]}"


def _die_with_parent() -> None:
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


Watcher = Watch | NoWatch
Say = Callable[[str], None]
