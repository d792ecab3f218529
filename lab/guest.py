"""A running guest: boot it, run commands in it, read what they said; everything within limits.

The guest's agent (lab/agent.py) answers over a serial port, one JSON document a line. The kernel's own words go to a
console file, which is where a panic is found. Times in seconds of this machine."""

from __future__ import annotations

import base64
import json
import re
import select
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from base.debian import DebianError
from base.errors import GpumendError, InvalidData, Unavailable, WaitTimeout
from lab import checkout, cpio, qemu, served
from lab.parts import Parts, locked
from lab.qemu import Machine, Qemu
from lab.served import Served

BOOT_LIMIT_S = 180.0  # 4 s where two processors are free; eight GPUs and a loaded machine take longer
RUN_LIMIT_S = 600.0
LIFE_LIMIT_S = 3600.0  # of the virtual machine as a whole
MARGIN_S = 15.0  # the agent ends a command itself; only a dead guest lets this pass
END_LIMIT_S = 20.0
ANSWER_MOST_BYTES = 64 << 20
CONSOLE_LINES = 12
_PANIC = re.compile(r"Kernel panic - not syncing: [^\r\n]*")
_OOPS = re.compile(r"(BUG: [^\r\n]*|Oops: [^\r\n]*|general protection fault[^\r\n]*)")
Output = Callable[[int, bytes], None]


class GuestEnded(GpumendError):
    """The guest panicked, or its QEMU ended, before it answered."""


class GuestTimeout(WaitTimeout):
    """The guest did not answer in time; it has been killed."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ran in the guest. `timed_out`: it was killed at its limit, and `exit_code` is 124."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")

    def json_lines(self) -> list[Any]:
        """What it printed, one JSON document a line; InvalidData names the line that is none."""
        found = []
        for number, line in enumerate(self.stdout.splitlines(), 1):
            if not line.strip():
                continue
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise InvalidData(
                    "reading what the command printed in the guest",
                    expected="one JSON document a line",
                    seen=f"line {number}: {line[:200]!r} ({error})",
                ) from None
        return found


@dataclass(slots=True)
class Guest:
    """A booted guest. Not for several threads."""

    machine: Qemu
    models: Served | None
    folder: Path
    boot_s: float = 0.0
    _buffer: bytearray = field(default_factory=bytearray)

    def run(
        self,
        command: Sequence[str],
        *,
        limit_s: float = RUN_LIMIT_S,
        env: Mapping[str, str] | None = None,
        output: Output | None = None,
    ) -> Done:
        """Run a command as root in /root; `output` gets what it prints (1 or 2, bytes) at once.

        A command that is not there ends with 127, one killed by signal n with 128 + n, as in a shell.
        Raises GuestEnded and GuestTimeout."""
        begin = time.monotonic()
        doing = f"running {' '.join(command)[:80]} in the guest"
        self._send({"run": list(command), "limit_s": limit_s, "env": dict(env or {})}, doing)
        kept: dict[int, list[bytes]] = {1: [], 2: []}
        end = begin + limit_s + MARGIN_S
        size = 0
        while True:
            answer = self._answer(doing, end)
            if "stream" in answer:
                data = base64.b64decode(answer["data"])
                size += len(data)
                self._bound(size, doing)
                kept[answer["stream"]].append(data)
                if output:
                    output(answer["stream"], data)
            elif "exit" in answer:
                stdout, stderr = b"".join(kept[1]), b"".join(kept[2])
                spent = time.monotonic() - begin
                return Done(answer["exit"], stdout, stderr, spent, bool(answer.get("timed_out")))
            else:
                raise self._refused(answer, doing)

    def shell(self, script: str, *, limit_s: float = RUN_LIMIT_S) -> Done:
        """Run a line of shell."""
        return self.run(["sh", "-c", script], limit_s=limit_s)

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Put a file into the guest, with the folders above it."""
        doing = f"writing {path} in the guest"
        self._send({"write": path, "data": base64.b64encode(data).decode(), "mode": mode}, doing)
        answer = self._answer(doing, time.monotonic() + BOOT_LIMIT_S)
        if not answer.get("done"):
            raise self._refused(answer, doing)

    def read(self, path: str) -> bytes:
        """A file of the guest."""
        doing = f"reading {path} in the guest"
        self._send({"read": path}, doing)
        answer = self._answer(doing, time.monotonic() + BOOT_LIMIT_S)
        if "data" not in answer:
            raise self._refused(answer, doing)
        return base64.b64decode(answer["data"])

    def console(self) -> str:
        """What the kernel said on its console until now (with `quiet`: warnings and worse)."""
        return self.machine.console.read_text(errors="replace")

    def wait_up(self, limit_s: float = BOOT_LIMIT_S) -> None:
        begin = time.monotonic()
        answer = self._answer("booting the guest", begin + limit_s)
        if "up" not in answer:
            raise self._refused(answer, "booting the guest")
        self.boot_s = time.monotonic() - begin

    def close(self) -> None:
        """Power off; whoever does not obey is killed."""
        try:
            if self.machine.ended is None:
                self._send({"end": True}, "ending the guest")
                self.machine.wait(END_LIMIT_S)
        except GpumendError:
            pass  # it is gone already
        finally:
            self.machine.kill()
            if self.models:
                self.models.close()

    # --- the port

    def _send(self, request: dict[str, Any], doing: str) -> None:
        self.machine.port.settimeout(MARGIN_S)
        try:
            self.machine.port.sendall(json.dumps(request).encode() + b"\n")
        except TimeoutError:
            raise self._timeout(doing, f"a request taken within {MARGIN_S:g} s") from None
        except OSError:
            raise self._ended(doing) from None

    def _answer(self, doing: str, end: float) -> dict[str, Any]:
        """The next line of the agent."""
        begin = time.monotonic()
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise self._timeout(doing, f"an answer within {end - begin:.0f} s")
            if not select.select([self.machine.port], [], [], min(left, 1.0))[0]:
                if self.machine.ended is not None:
                    raise self._ended(doing)
                continue
            try:
                data = self.machine.port.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                raise self._ended(doing)
            self._buffer += data
            self._bound(len(self._buffer), doing)
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = bytearray(rest)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise InvalidData(
                doing, expected="a JSON object a line from the guest's agent", seen=repr(bytes(line[:200]))
            )
        return answer

    def _bound(self, size: int, doing: str) -> None:
        if size > ANSWER_MOST_BYTES:
            self.machine.kill()
            raise InvalidData(doing, expected=f"at most {ANSWER_MOST_BYTES >> 20} MiB of output", seen=f"{size} bytes")

    # --- what went wrong

    def _refused(self, answer: dict[str, Any], doing: str) -> GpumendError:
        return GpumendError(doing, expected="an answer to the request", seen=str(answer.get("error", answer)))

    def _ended(self, doing: str) -> GuestEnded:
        """A panic, an oops, or QEMU's own words."""
        self.machine.wait(END_LIMIT_S)
        said = self.console()
        panic = _PANIC.search(said)
        oops = _OOPS.search(said)
        words = self.machine.errors.read_text(errors="replace").strip()
        status = self.machine.ended
        if panic:
            seen = f"{panic.group()}; {oops.group()}" if oops else panic.group()
        elif words:
            seen = f"QEMU ended with exit status {status}: {words.splitlines()[-1]}"
        else:
            seen = f"the guest powered off; QEMU's exit status {status}"
        return GuestEnded(
            doing, expected="a guest that lives", seen=self._with_logs(seen), where=str(self.machine.console)
        )

    def _timeout(self, doing: str, expected: str) -> GuestTimeout:
        seen = self._with_logs("none; the guest was killed")
        self.machine.kill()
        return GuestTimeout(doing, expected=expected, seen=seen, where=str(self.machine.console))

    def _with_logs(self, seen: str) -> str:
        lines = [seen]
        last = [line.rstrip() for line in self.console().splitlines() if line.strip()][-CONSOLE_LINES:]
        lines += [f"console: {line}" for line in last]
        if self.models and self.models.ended is not None:
            lines.append(f"the models' server ended with exit status {self.models.ended}")
        if self.models:
            lines += [f"models: {line}" for line in self.models.log_tail().splitlines()]
        return "\n    ".join(lines)


@contextmanager
def boot(
    parts: Parts,
    *,
    gpus: str | None = None,
    machine: Machine | None = None,
    limit_s: float = BOOT_LIMIT_S,
    life_s: float = LIFE_LIMIT_S,
    keep: Path | None = None,
    accesses: int | None = None,
) -> Iterator[Guest]:
    """Boot a guest and end it in order. `gpus`: a model's address (`mi350x*8?fault=...`), served for this guest alone.

    `keep`: a folder that the console's and the models' logs are copied to in the end, with a trace of the last `accesses`
    of each GPU.
    Raises UsageError (bad address), Unavailable (no space, no memory), GuestEnded, GuestTimeout."""
    asked = machine or Machine()
    qemu.require_memory(asked)
    folder = Path(tempfile.mkdtemp(prefix="gpumend-lab-"))
    try:
        models = served.serve(gpus, folder, life_s, accesses) if gpus else None
        try:
            sockets = models.sockets if models else ()
            files = _initrd_or_reason(parts, folder)
            started = qemu.start(parts, replace(asked, gpus=tuple(sockets)), files, folder, life_s)
        except BaseException:
            if models:
                models.close()
            raise
        guest = Guest(started, models, folder)
        try:
            guest.wait_up(limit_s)
            yield guest
        finally:
            if keep and models:
                models.dump()
            guest.close()
            if keep:
                _keep(folder, keep)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initrd_or_reason(parts: Parts, folder: Path) -> Path:
    try:
        return initrd(parts, folder)
    except (OSError, DebianError) as error:
        raise Unavailable(
            "preparing the guest's files",
            expected=f"200 MB of space in {folder.parent}, and a cache that this user may write",
            seen=str(error),
            where=str(folder),
            next_step="let TMPDIR name a folder with more space; the cache belongs to who built it",
        ) from error


def initrd(parts: Parts, folder: Path) -> Path:
    """All archives one after the other: a change of the checkout costs its own archive only."""
    agent = folder / "agent.cpio"
    source = Path(__file__).with_name("agent.py").read_bytes()
    cpio.pack(agent, lambda archive: archive.file("lab/agent.py", source))
    with locked(parts.folder):  # another guest may be about to boot from the same checkout
        project = checkout.refresh(parts.folder, parts.guest_tree)
    into = folder / "initrd"
    with into.open("wb") as stream:
        cpio.join([parts.guest, parts.kernel.modules, parts.firmware, project, agent], stream)
    return into


def _keep(folder: Path, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in (".log", ".err") or "trace" in path.name:
            shutil.copyfile(path, keep / path.name)
