"""Kernels of tinygrad's compiler in the model: CPU seconds a wave instruction, warm; and seconds of whole works.

`floor` is tinygrad's own emulator (its mock of gfx950, git tree of August 2026) in the same run, or, as it needs that tree
and clang (tools/get_oracle.py, tools/get_llvm.py --clang), what was recorded on two cores of such a machine: a ratio of 0.1 is
ten times as fast. Nothing to measure without tinygrad and `make llvm`."""

from __future__ import annotations

import os
from typing import Any

from bench import peer
from bench.harness import Row
from tools import get_llvm, get_oracle

ROOT = peer.ROOT
LIMIT_S = 300
# wave instructions a second
EMULATOR = {"add 2^18 f32": 158e3, "exp 2^16 f32": 266e3, "matmul 64x64 f32": 356e3, "matmul 64x64 f16": 29e3}
WHOLE = {"add 2^20 f32": "< 1 s", "a training step, 784-128-10, batch 64": "< 5 s"}


def rows() -> list[Row]:
    if not peer.at_hand() or not get_llvm.LIBRARY.exists():
        return []
    floors, where = _emulator()
    made = []
    for part in ("mi300x", "mi350x"):
        figures = _told("bench.isa_client", f"model:{part}", {"DEV": "AMD:LLVM"})
        for name, seconds in figures["instruction"].items():
            told = f"tinygrad's emulator ({where}): {floors[name] / seconds:.1f}x our time"
            row = Row(
                f"a wave instruction, {name}, {part}", seconds, floors[name], seconds / floors[name], "<= 0.1", told
            )
            made.append(row)
        for name, seconds in figures["whole"].items():
            made.append(Row(f"{name}, {part}", seconds, 0.0, 0.0, WHOLE[name]))
    return made


def _emulator() -> tuple[dict[str, float], str]:
    """Seconds a wave instruction by name, and where they are from."""
    if not (get_oracle.TREE / "test/mockgpu/amd/emu.py").exists() or not get_llvm.tool("clang"):
        return {name: 1 / rate for name, rate in EMULATOR.items()}, "recorded"
    paths = os.pathsep.join((str(ROOT), str(get_oracle.TREE)))
    more = {**get_llvm.environment(), "DEV": "MOCKKFD+AMD:LLVM:gfx950", "PYTHONPATH": paths}
    return _told("bench.isa_emulator", str(get_oracle.TREE), more), "in this run"


def _told(module: str, argument: str, more: dict[str, str]) -> dict[str, Any]:
    """What a process of the benchmark tells. Raises RuntimeError."""
    environment = {**os.environ, "LLVM_PATH": str(get_llvm.LIBRARY), "PARALLEL": "0", **more}
    told: dict[str, Any] = peer.told(module, [argument], environment, LIMIT_S)
    return told
