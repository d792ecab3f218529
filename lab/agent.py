"""Runs inside the guest: takes requests over a serial port, runs commands, tells what they printed and how they ended.

    python3 agent.py PORT

One JSON document a line, both ways. Requests: {"run": [...], "limit_s": n, "env": {...}}, {"end": true},
{"write": path, "data": base64, "mode": n}, {"read": path}. Answers to `run`: any number of {"stream": 1 or 2,
"data": base64}, then {"exit": code}; to the others {"done": true}, {"data": base64} or {"error": text}.
Nothing but the standard library: it starts fast."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, BinaryIO

KILL_GRACE_S = 5.0
TICK_S = 0.02
CHUNK_BYTES = 1 << 16
STUCK = "the command cannot be killed; it stays behind"


class Agent:
    """The guest's side of the port."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self.requests = requests
        self.answers = answers

    def serve(self) -> None:
        self.tell(up=uptime_s())
        while line := self.requests.readline():
            request: dict[str, Any] = json.loads(line)
            if request.get("end"):
                self.tell(ended=uptime_s())
                return
            try:
                self.answer(request)
            except (OSError, ValueError) as error:
                self.tell(error=f"{type(error).__name__}: {error}")

    def answer(self, request: dict[str, Any]) -> None:
        if "run" in request:
            self.tell(**self.run(request["run"], request["limit_s"], request.get("env", {})))
        elif "write" in request:
            write(request["write"], base64.b64decode(request["data"]), request.get("mode", 0o644))
            self.tell(done=True)
        elif "read" in request:
            with open(request["read"], "rb") as file:  # noqa: PTH123 - pathlib costs start time here
                self.tell(data=encoded(file.read()))
        else:
            self.tell(error=f"no such request: {sorted(request)}")

    def tell(self, **answer: Any) -> None:
        self.answers.write(json.dumps(answer).encode() + b"\n")
        self.answers.flush()

    def run(self, command: list[str], limit_s: float, env: dict[str, str]) -> dict[str, Any]:
        """Run to the end or to the limit; what it prints goes out at once."""
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, **env},
            )
        except OSError as error:
            self.stream(2, f"{command[0]}: {error.strerror}\n".encode())
            return {"exit": 126 if isinstance(error, PermissionError) else 127}
        try:
            return self.follow(child, limit_s)
        finally:
            for pipe in (child.stdout, child.stderr):
                if pipe:
                    pipe.close()

    def follow(self, child: subprocess.Popen[bytes], limit_s: float) -> dict[str, Any]:
        """See the command to its end; how it ended."""
        if self.pump(child, time.monotonic() + limit_s):
            return {"exit": shell_code(child.returncode)}
        kill(child)
        answer: dict[str, Any] = {"exit": 124, "timed_out": True}
        if not self.pump(child, time.monotonic() + KILL_GRACE_S):
            answer["stuck"] = STUCK
        return answer

    def pump(self, child: subprocess.Popen[bytes], deadline: float) -> bool:
        """Pass on output until the command is over (True) or the time is."""
        assert child.stdout
        assert child.stderr
        open_pipes = {child.stdout.fileno(): 1, child.stderr.fileno(): 2}
        while True:
            over = child.poll() is not None
            ready = select.select(list(open_pipes), [], [], TICK_S)[0]
            for handle in ready:
                data = os.read(handle, CHUNK_BYTES)
                if data:
                    self.stream(open_pipes[handle], data)
                else:
                    del open_pipes[handle]
            if over and not ready:  # what it left running may hold the pipes open: that is not waited for
                return True
            if time.monotonic() >= deadline:
                return over

    def stream(self, number: int, data: bytes) -> None:
        self.tell(stream=number, data=encoded(data))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write(path: str, data: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(path) or "/", exist_ok=True)  # noqa: PTH103, PTH120 - as above
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(data)
    os.chmod(path, mode)  # noqa: PTH101


def kill(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def shell_code(returncode: int) -> int:
    """As a shell tells it: 128 + n for signal n."""
    return returncode if returncode >= 0 else 128 - returncode


def uptime_s() -> float:
    with open("/proc/uptime", encoding="ascii") as file:  # noqa: PTH123
        return float(file.read().split()[0])


def main(path: str) -> None:
    # the port can be opened once only; requests and answers go through two buffers of their own
    handle = os.open(path, os.O_RDWR)
    with os.fdopen(handle, "rb") as requests, os.fdopen(os.dup(handle), "wb") as answers:
        Agent(requests, answers).serve()


if __name__ == "__main__":
    main(sys.argv[1])
