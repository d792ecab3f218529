"""Kernels that tinygrad's compiler makes, run by the models: every result as NumPy has it, on both parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.peer.backend_rig import require_tinygrad
from tests.peer.tinygrad_numbers import groups
from tools import get_llvm

require_tinygrad()
if not get_llvm.LIBRARY.exists():
    pytest.skip("tools/get_llvm.py was not run", allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 900


@cache
def _results(part: str) -> dict[str, Any]:
    """What each group of the program came to; one process for all, as compiled kernels are shared."""
    environment = {**os.environ, "LLVM_PATH": str(get_llvm.LIBRARY), "PARALLEL": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.peer.tinygrad_numbers", f"model:{part}*2"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(groups), done.stderr[-2000:]
    return {line["group"]: line for line in lines}


@pytest.mark.long
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
@pytest.mark.parametrize("name", list(groups))
def test_tinygrad_operations_give_what_numpy_gives(part: str, name: str, firmware_dir: Path) -> None:
    result = _results(part)[name]

    assert result["error"] == ""
