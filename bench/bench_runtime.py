"""Our tinygrad backend beside tinygrad's own PCI driver, both over the remote protocol to a model in a process of its own;
and ours in one process with the model. The clients take turns, each on a fresh server of the same model.

`floor` is tinygrad's own driver here: a ratio of 0.25 is four times as fast. Without tinygrad there is nothing to compare."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import peer
from bench.harness import Row

ROOT = peer.ROOT
SPEC = "mi300x?state=cold"
ROUNDS = 3
LIMIT_S = 300
_MIB = 1 << 20
_WORKS = {
    "open": ("open a cold MI300X", ">= 2x peer"),
    "in 4096": ("copy 4 KiB to the GPU", ">= 2x peer"),
    "out 4096": ("copy 4 KiB from the GPU", ">= 2x peer"),
    f"in {16 * _MIB}": ("copy 16 MiB to the GPU", ">= 2x peer"),
    f"out {16 * _MIB}": ("copy 16 MiB from the GPU", ">= 2x peer"),
    "launch": ("launch a kernel, each of 300, until done", "-"),
    "build": ("build the queue of a launch", ">= 3x peer"),
}
# Without its .pyc files each process would compile all that it imports, which is not what is compared.
_ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
Times = dict[str, list[float]]


def firmware() -> Path:
    told = os.environ.get("GPUMEND_FIRMWARE")
    return Path(told) if told else ROOT / ".cache/firmware/amdgpu"


@contextmanager
def served() -> Iterator[str]:
    """A fresh model behind a socket; HOST:PORT."""
    command = [sys.executable, "-m", "gpumend", "model", "serve", "--remote", "127.0.0.1:0", SPEC]
    process = subprocess.Popen(command, cwd=ROOT, env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r"remote:(127\.0\.0\.1:\d+)", process.stdout.readline())
        if found is None:
            raise RuntimeError("the model's server did not say where it is")
        yield found[1]
    finally:
        process.terminate()
        process.communicate(timeout=20)


def client(times: Times, arguments: list[str], **environment: str) -> None:
    """One process; its times are added."""
    whole = _ENVIRONMENT | {"GPUMEND_FIRMWARE": str(firmware())} | environment
    for name, value in peer.told("bench.runtime_client", arguments, whole, LIMIT_S).items():
        times.setdefault(name, []).append(value)


def rows() -> list[Row]:
    if not peer.at_hand():
        return []
    theirs: Times = {}
    ours: Times = {}
    inside: Times = {}
    with tempfile.TemporaryDirectory() as cache:
        subprocess.run(
            [sys.executable, str(ROOT / "tools/tinygrad_cache.py"), cache, "--firmware", str(firmware())],
            check=True, capture_output=True, timeout=LIMIT_S,
        )  # fmt: skip
        warm: Times = {}
        for number in range(ROUNDS + 1):  # the first writes .pyc files and does not count
            with served() as address:
                own = {"DEV": "PCI+AMD:LLVM", "REMOTE": address, "XDG_CACHE_HOME": cache, "TMPDIR": cache}
                client(theirs if number else warm, ["theirs"], **own)
            with served() as address:
                client(ours if number else warm, ["ours", f"remote:{address}"])
            client(inside if number else warm, ["ours", f"model:{SPEC}"])
    return [*_rows(ours, theirs, "remote"), *_rows(inside, theirs, "in-process")]


def _rows(ours: Times, theirs: Times, where: str) -> list[Row]:
    made = []
    for name, (work, goal) in _WORKS.items():
        pairs = list(zip(ours[name], theirs[name], strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        made.append(
            Row(
                work=f"{work} ({where})",
                ours_s=statistics.median(ours[name]),
                floor_s=statistics.median(theirs[name]),
                ratio=ratio,
                goal=goal if where == "remote" else "-",
                peer=f"tinygrad's own driver over remote: {1 / ratio:.1f}x ours",
            )
        )
    return made
