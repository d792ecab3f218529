"""Software GPUs for a guest, in a process of their own: `gpumend model serve --vfio-user DIR SPEC`."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from base.errors import GpumendError, Unavailable
from gpumodel.spec import parse
from lab.parts import CHECKOUT
from lab.qemu import limited

READY_LIMIT_S = 60.0
END_LIMIT_S = 10.0
DUMP_S = 1.0
CHANGE_LIMIT_S = 10.0
SOCKET_PATH_MOST = 107  # sockaddr_un holds 108 bytes with the closing zero


@dataclass(slots=True)
class Served:
    """Running models; `sockets` one a GPU, in their order."""

    process: subprocess.Popen[str]
    sockets: list[Path]
    log: Path

    @property
    def ended(self) -> int | None:
        return self.process.poll()

    def log_tail(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def dump(self) -> None:
        """Ask for the last accesses, gpuN.trace beside the sockets; they are there when `close` has returned."""
        self._signal(signal.SIGUSR1)
        time.sleep(DUMP_S)

    def change(self, spec: str) -> None:
        """Power-cycle the models into another state or with other faults; the guest keeps its config space. With a + before
        it they stay on, and the faults strike what runs.

        Raises GpumendError when the server does not say that it has done so."""
        (self.log.parent / "model").write_text(spec)
        begin = self.log.stat().st_size
        self._signal(signal.SIGHUP)
        end = time.monotonic() + CHANGE_LIMIT_S
        while time.monotonic() < end:
            with self.log.open("rb") as stream:
                stream.seek(begin)
                said = stream.read().decode(errors="replace")
            if "now model:" in said:
                return
            time.sleep(0.02)
        raise GpumendError("changing the models", expected="a line that says so", seen=said.strip() or "nothing")

    def _signal(self, number: signal.Signals) -> None:
        """Our child is `timeout`, and that does not hand every signal on."""
        own = self.process.pid
        with suppress(OSError):
            for child in Path(f"/proc/{own}/task/{own}/children").read_text().split():
                os.kill(int(child), number)

    def close(self) -> None:
        """SIGTERM is its wish to end in order."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(1)
        if self.process.stdout:
            self.process.stdout.close()


def count(spec: str) -> int:
    """How many GPUs an address asks for; UsageError when it cannot be read."""
    return parse(spec).count


def command(spec: str, folder: Path, accesses: int | None = None) -> list[str]:
    kept = () if accesses is None else ("--kept", str(accesses))
    return [sys.executable, "-m", "gpumend", "model", "serve", "--vfio-user", str(folder), *kept, spec]


def serve(spec: str, folder: Path, life_s: float, accesses: int | None = None) -> Served:
    """Start the models and wait for the line that says that they are there; they end after `life_s` at the latest.

    `accesses`: how many of each GPU its trace holds; None: the server's own number."""
    sockets = [folder / f"gpu{index}.sock" for index in range(count(spec))]
    longest = max(len(os.fsencode(path)) for path in sockets)
    if longest > SOCKET_PATH_MOST:
        raise Unavailable(
            "serving the models",
            expected=f"a socket's path of at most {SOCKET_PATH_MOST} bytes",
            seen=f"{longest} bytes",
            where=str(sockets[-1]),
            next_step="let TMPDIR name a folder with a shorter path",
        )
    log = folder / "models.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*limited(life_s), *command(spec, folder, accesses)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env={**os.environ, "PYTHONPATH": _python_path(), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    served = Served(process, sockets, log)
    try:
        _await_ready(served)
    except BaseException:
        served.close()
        raise
    return served


def _python_path() -> str:
    """This checkout first: the models are ours, wherever we were started."""
    return os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))


def _await_ready(served: Served) -> None:
    assert served.process.stdout
    line = _line_within(served.process.stdout, READY_LIMIT_S)
    missing = [path.name for path in served.sockets if not path.exists()]
    if line and not missing:
        return
    seen = f"no socket {', '.join(missing)}" if line else "no line"
    if (code := served.process.poll()) is not None or line == "":
        served.process.wait(END_LIMIT_S)
        code = served.process.poll()
        seen = f"it ended with exit status {code}"
    raise GpumendError(
        "serving the models",
        expected=f"a line, and a socket for each GPU, within {READY_LIMIT_S:g} s",
        seen=f"{seen}\n{served.log_tail()}".rstrip(),
        where=str(served.log.parent),
    )


def _line_within(stream: IO[str], limit_s: float) -> str | None:
    """The first line; "" at the end of the stream, None when the time is up."""
    end = time.monotonic() + limit_s
    while (left := end - time.monotonic()) > 0:
        if select.select([stream], [], [], min(left, 1.0))[0]:
            return stream.readline()
    return None
