"""The programs in examples/ run as they stand, and end with a code and a reason where they cannot."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEED_FIRMWARE = {"hello_gpu.py", "hive_copy.py", "tinygrad_tensor.py"}
PRINTED = {
    "hello_gpu.py": ("16 SDMA engines, 8 XCCs, found dirty", "copied 1048576 bytes: the same"),
    "hive_copy.py": ("GPU 0 to GPU 1: the same", "and back: the same"),
    "tinygrad_tensor.py": (
        "on gfx950, 2 at model:mi350x*2: sum 499500",
        "GPU 0 to GPU 1: the same",
        "graphics clock held at 2200 MHz",
    ),
    "probe_gpus.py": ("GPU 4 0000:85:00.0 MI350X: hung", "[amd.smu.silent]"),
}
CODES = {"probe_gpus.py": 1}
NEED_TINYGRAD = {"tinygrad_tensor.py"}
HAS_TINYGRAD = importlib.util.find_spec("tinygrad") is not None


def example(path: Path, folder: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GPUMEND_")}
    environment["PYTHONPATH"] = str(ROOT)
    environment["PYTHONWARNINGS"] = "error"
    if folder is not None:
        environment["GPUMEND_FIRMWARE"] = str(folder)
    return subprocess.run(
        [sys.executable, str(path)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_examples_are_all_known_here() -> None:
    assert {path.name for path in EXAMPLES} == set(PRINTED)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path: Path, firmware_dir: Path) -> None:
    if path.name in NEED_TINYGRAD and not HAS_TINYGRAD:
        pytest.skip("tinygrad is not installed: make test-peer")
    ran = example(path, firmware_dir)
    assert ran.returncode == CODES.get(path.name, 0), ran.stderr
    assert ran.stderr == ""
    for text in PRINTED[path.name]:
        assert text in ran.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_without_firmware_says_what_is_missing(path: Path, tmp_path: Path) -> None:
    if path.name in NEED_TINYGRAD and not HAS_TINYGRAD:
        pytest.skip("tinygrad is not installed: make test-peer")
    ran = example(path, tmp_path)
    if path.name not in NEED_FIRMWARE:
        assert ran.returncode == CODES.get(path.name, 0), ran.stderr
        return
    assert ran.returncode == 69
    assert ran.stdout == ""
    assert "psp_13_0_12_sos.bin" in ran.stderr and "firmware-amd-graphics" in ran.stderr
