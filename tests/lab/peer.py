"""tinygrad for a guest, and what LLVM makes of its kernels on this machine: a guest has neither."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tools import get_llvm

OTHERS = ("nv_", "mlx5", "mesa")  # what tinygrad generates for other devices: megabytes
PROGRAM = Path(__file__).parent / "inside/compiled.py"
RECORD_LIMIT_S = 300


def packed() -> bytes:
    """The sources of the tinygrad that is installed here."""
    folder = _tinygrad()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for path in [*folder.rglob("*.py"), *folder.parent.glob("tinygrad-*.dist-info/METADATA")]:
            if not path.name.startswith(OTHERS):
                archive.add(path, path.relative_to(folder.parent))
    return whole.getvalue()


def compiled(part: str, firmware: Path, into: Path) -> dict[str, Any]:
    """Have LLVM compile the kernels of `inside/compiled.py` for a part, into a file; what they give on our own driver."""
    if not get_llvm.LIBRARY.exists():
        pytest.skip("no LLVM 22: make llvm")
    environment = {
        **os.environ, "LLVM_PATH": str(get_llvm.LIBRARY), "DEV": "AMD:LLVM", "CCACHE": "0", "PARALLEL": "0",
        "GPUMEND_FIRMWARE": str(firmware),
    }  # fmt: skip
    words = ["--on", f"model:{part}", "tinygrad", str(PROGRAM), str(_tinygrad().parent), str(into), "record"]
    command = [sys.executable, "-m", "gpumend", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RECORD_LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _tinygrad() -> Path:
    """Its folder here."""
    found = importlib.util.find_spec("tinygrad")
    if found is None or found.origin is None:
        pytest.skip("tinygrad is not installed: make .venv/.bench")
    return Path(found.origin).parent
