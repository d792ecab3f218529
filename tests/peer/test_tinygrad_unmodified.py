"""Unmodified tinygrad 0.14.0 on served models: a driver that we did not write judges the model.

It boots the GPU over its remote PCI protocol, loads AMD's firmware, copies with SDMA and signals through an AQL queue.
The interpreter that has it: GPUMEND_TINYGRAD_PYTHON, else the one that runs the tests; skipped, saying why, without."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

import gpumend
from gpumodel.device import ModelTransport
from tests.peer.tinygrad_client import MOVED, PEER_BYTES, QUEUES, SIZES, digest, payload
from tools import get_llvm

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path(__file__).with_name("tinygrad_client.py")
VERSION = "0.14.0"
LIMIT_S = 90.0
PROBE = """
import importlib.metadata as m
print("version", m.version("tinygrad"))
from tinygrad.runtime.autogen import llvm
llvm.LLVMInitializeAMDGPUTarget()
print("llvm ok")
"""
PARTS = {"mi300x": ("gfx942", 192, 40), "mi350x": ("gfx950", 288, 36)}


def compiler() -> dict[str, str]:
    """The LLVM library of `make llvm`, which knows both parts; tinygrad's own search stops before it."""
    told = os.environ.get("LLVM_PATH") or (str(get_llvm.LIBRARY) if get_llvm.LIBRARY.exists() else "")
    return {"LLVM_PATH": told} if told else {}


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter that has tinygrad."""
    told = os.environ.get("GPUMEND_TINYGRAD_PYTHON", sys.executable)
    environment = {**os.environ, **compiler()}
    done = subprocess.run([told, "-c", PROBE], env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    if f"version {VERSION}\n" not in done.stdout:
        why = (done.stdout + done.stderr).strip().splitlines()[-1:]
        pytest.skip(f"{told} has no tinygrad {VERSION} ({' '.join(why)}): set GPUMEND_TINYGRAD_PYTHON")
    if "llvm ok" not in done.stdout:
        pytest.skip(f"tinygrad finds no LLVM library for AMD: {done.stderr.strip().splitlines()[-1]}")
    return told


@pytest.fixture(scope="session")
def cache(python: str, firmware_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tinygrad's download cache, filled from the local firmware."""
    folder = tmp_path_factory.mktemp("tinygrad")
    command = [python, str(ROOT / "tools/tinygrad_cache.py"), str(folder), "--firmware", str(firmware_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    stored = re.match(r"stored (\d+) files\n", done.stdout)
    assert stored is not None
    assert len(list((folder / "tinygrad/downloads/fw").iterdir())) == int(stored[1])
    refused = re.findall(r"(?:differs from the pinned sum|missing): (\S+)", done.stdout)
    needed = ("psp_13_0_6", "psp_13_0_12", "smu_13_0_6", "sdma_4_4_2", "sdma_4_4_4", "gc_9_4_3", "gc_9_5_0")
    ours = [name for name in refused if name.startswith(needed)]
    if ours:
        pytest.skip(f"this firmware release is not the one that tinygrad {VERSION} pins: {', '.join(ours)}")
    return folder


@contextmanager
def served(spec: str) -> Iterator[str]:
    """A server in a process of its own; yields HOST:PORT."""
    command = [sys.executable, "-m", "gpumend", "model", "serve", "--remote", "127.0.0.1:0", spec]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r"remote:(127\.0\.0\.1:\d+)", process.stdout.readline())
        assert found is not None
        yield found[1]
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def run(python: str, cache: Path, address: str, what: str, count: int = 1) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(cache),
        "TMPDIR": str(cache),
        "XDG_CACHE_HOME": str(cache),
        "DEV": "PCI+AMD:LLVM",
        "REMOTE": address,
        "HCQDEV_WAIT_TIMEOUT_MS": "10000",
        "PYTHONPATH": str(ROOT),
        **compiler(),
    }
    command = [python, str(CLIENT), what, str(count)]
    return subprocess.run(command, env=environment, cwd=cache, capture_output=True, text=True, timeout=LIMIT_S)


def told(python: str, cache: Path, address: str, what: str, count: int = 1) -> dict[str, Any]:
    done = run(python, cache, address, what, count)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("told:"))
    return cast(dict[str, Any], json.loads(line.removeprefix("told:")))


def check_single(seen: dict[str, Any], part: str) -> None:
    assert (seen["arch"], seen["vram_gib"], seen["cus"]) == PARTS[part]
    assert (seen["xccs"], seen["is_aql"], seen["is_hive"]) == (8, True, False)
    wanted = [digest(payload(size, size)) for size in SIZES]
    assert seen["copied"] == wanted
    assert seen["in_vram"] == wanted
    assert seen["moved"] == digest(payload(7, MOVED))
    assert seen["copy_us"] > 0
    assert seen["every_queue"] == [digest(payload(50 + number, MOVED)) for number in range(QUEUES)]
    assert seen["counted"] == 300
    assert (seen["stamps_rise"], seen["waited"], seen["went_on"]) == (True, True, True)


def check_hive(seen: dict[str, Any], part: str, count: int) -> None:
    vram = PARTS[part][1] << 30
    assert [gpu["base"] for gpu in seen["gpus"]] == [index * vram for index in range(count)]
    assert all(gpu["is_hive"] and gpu["arch"] == PARTS[part][0] for gpu in seen["gpus"])
    wanted = [digest(payload(100 + index, PEER_BYTES)) for index in range(count)]
    assert seen["in_vram"] == wanted
    assert seen["arrived"] == wanted


@pytest.mark.parametrize("part", PARTS)
def test_tinygrad_boots_copies_and_signals_on_a_cold_gpu_and_again_on_the_warm_one(
    python: str, cache: Path, part: str
) -> None:
    with served(f"{part}?state=cold") as address:
        first = told(python, cache, address, "single")
        check_single(first, part)
        assert first["partial_boot"] is False
        second = told(python, cache, address, "single")
        check_single(second, part)
        assert second["partial_boot"] is True


@pytest.mark.parametrize("part", PARTS)
def test_tinygrad_touches_nothing_that_the_model_does_not_know(python: str, cache: Path, part: str) -> None:
    server = gpumend.serve_model("127.0.0.1:0", f"{part}?state=cold")
    try:
        check_single(told(python, cache, server.address.removeprefix("remote:"), "single"), part)
        gpu = cast(ModelTransport, server.transports[0]).gpu
        assert (dict(gpu.unknown_accesses), gpu.wrongs, server.defects) == ({}, [], [])
    finally:
        server.close()


@pytest.mark.parametrize("part", PARTS)
def test_tinygrad_computes_on_what_its_compiler_makes(python: str, cache: Path, part: str) -> None:
    if not compiler():
        pytest.skip("no LLVM that knows both parts: make llvm")
    with served(f"{part}?state=cold") as address:
        seen = told(python, cache, address, "tensors")
    assert seen == {
        "added": [2.0, 3.0],
        "product": [[float(8 * row * column) for column in range(5)] for row in range(5)],
    }


@pytest.mark.parametrize(("part", "count"), [("mi300x", 2), ("mi350x", 2), ("mi300x", 8)])
def test_tinygrad_boots_a_hive_and_copies_around_it(python: str, cache: Path, part: str, count: int) -> None:
    with served(f"{part}*{count}?state=cold") as address:
        check_hive(told(python, cache, address, "hive", count), part, count)


def test_tinygrad_takes_a_gpu_over_from_a_process_that_was_killed(python: str, cache: Path) -> None:
    """MI350X: it never boots such a GPU anew, but resets its MEC and goes on."""
    with served("mi350x?state=cold") as address:
        assert run(python, cache, address, "killed").returncode == -9
        seen = told(python, cache, address, "single")
        check_single(seen, "mi350x")
        assert seen["partial_boot"] is True


@pytest.mark.parametrize("fault", ["bootloader-silent", "psp-refuses:tmr"])
def test_tinygrad_meets_a_fault_of_the_model_and_fails(python: str, cache: Path, fault: str) -> None:
    with served(f"mi350x?state=cold&fault={fault}") as address:
        done = run(python, cache, address, "single")
    assert done.returncode == 1
    wanted = {"bootloader-silent": "BL not ready", "psp-refuses:tmr": "PSP command failed"}
    assert wanted[fault] in done.stderr
