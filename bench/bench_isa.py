"""Kernels of tinygrad's compiler in the model's interpreter: seconds a wave instruction, warm; and seconds of whole works.

`floor` is tinygrad's own emulator (its mock of gfx950, git tree of August 2026), recorded on two cores of such a machine, as
it needs a C compiler and its git tree: a ratio of 0.1 is ten times as fast. Nothing to measure without tinygrad and
`make llvm`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench import peer
from bench.harness import Row
from tools import get_llvm

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 300
# wave instructions a second
EMULATOR = {"add 2^18 f32": 158e3, "exp 2^16 f32": 266e3, "matmul 64x64 f32": 356e3, "matmul 64x64 f16": 29e3}
WHOLE = {"add 2^20 f32": "< 1 s", "a training step, 784-128-10, batch 64": "< 5 s"}


def rows() -> list[Row]:
    if not peer.at_hand() or not get_llvm.LIBRARY.exists():
        return []
    made = []
    for part in ("mi300x", "mi350x"):
        environment = {**os.environ, "LLVM_PATH": str(get_llvm.LIBRARY), "DEV": "AMD:LLVM", "PARALLEL": "0"}
        done = subprocess.run(
            [sys.executable, "-m", "bench.isa_client", f"model:{part}"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        line = next((line for line in done.stdout.splitlines() if line.startswith("told:")), None)
        if line is None:
            raise RuntimeError(f"bench.isa_client: {done.stderr[-2000:]}")
        figures = json.loads(line.removeprefix("told:"))
        for name, seconds in figures["instruction"].items():
            floor_s = 1 / EMULATOR[name]
            told = f"tinygrad's emulator (recorded): {floor_s / seconds:.1f}x our time"
            made.append(Row(f"a wave instruction, {name}, {part}", seconds, floor_s, seconds / floor_s, "<= 0.1", told))
        for name, seconds in figures["whole"].items():
            made.append(Row(f"{name}, {part}", seconds, 0.0, 0.0, WHOLE[name]))
    return made
