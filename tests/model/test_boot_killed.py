"""A driver killed at every step of a start, and in the middle of copies, on a model that lives on in its own process.

What must hold: the next start tells that something was left behind, starts the GPU again, and its data is right."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from amdriver.device import READ_STEPS, STEPS, WRITE_STEPS
from base.child import ChildDied, run_in_child
from tests.model import boot_victim
from tests.model.test_remote_served import ROOT, end, serve

UNMARKED = (*READ_STEPS, WRITE_STEPS[0])  # killed before these steps, it has written nothing yet


def drive(address: str, firmware: Path, victim: str = "") -> tuple[int, list[str], str]:
    """Run one driver in a process of its own (forked: importing everything again would cost more than the start).

    Its return code as subprocess has it, its lines, its error."""
    with tempfile.NamedTemporaryFile("w+") as lines:
        say = partial(print, file=lines, flush=True)
        error = run_in_child(partial(boot_victim.drive, address, firmware, victim, say), 120).error
        lines.seek(0)
        told = lines.read().splitlines()
    if isinstance(error, ChildDied) and error.signal_name:
        return -signal.Signals[error.signal_name], told, str(error)
    return (1, told, f"{type(error).__name__}: {error}") if error else (0, told, "")


@pytest.fixture(params=["mi300x", "mi350x"])
def part(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cold(part: str) -> Iterator[str]:
    process, address = serve(f"{part}?state=cold")
    yield address
    assert end(process) == (0, "")


@pytest.mark.parametrize("which", [slice(3, None, 4), pytest.param(slice(None), marks=pytest.mark.long)], ids=str)
def test_driver_killed_at_each_step_is_followed_by_a_start_that_knows(
    part: str, cold: str, firmware_dir: Path, which: slice
) -> None:
    """One server for all: each start begins with what the one before left."""
    victims = [step for step in STEPS if step != "stop"]  # that is one only after a dirty end: below
    left = "cold"
    for victim in victims[which]:
        code, lines, err = drive(cold, firmware_dir, victim)
        if victim in ("psp-bootloader", "psp-sos") and "psp-ring" in lines:
            # the secure OS runs from the first whole start on; then these steps are not taken
            assert code == 0, (victim, err)
            left = "clean"
            continue
        assert code == -signal.SIGKILL, (victim, lines, err)
        code, lines, err = drive(cold, firmware_dir)
        assert code == 0, (victim, err)
        assert lines[-1] == "data right"
        state = next(line for line in lines if line.startswith("state "))
        assert state == f"state {left if victim in UNMARKED else 'dirty'}", victim
        left = "clean"


@pytest.mark.parametrize(
    "victim",
    ["psp-sos", *(pytest.param(step, marks=pytest.mark.long) for step in ("pci", "psp-bootloader", "psp-ring"))],
)
def test_driver_killed_during_a_cold_start_is_followed_by_a_start_that_knows(firmware_dir: Path, victim: str) -> None:
    """The steps that only a cold GPU sees: a fresh server each."""
    process, address = serve("mi350x?state=cold")
    try:
        assert drive(address, firmware_dir, victim)[0] == -signal.SIGKILL
        code, lines, err = drive(address, firmware_dir)
        assert (code, lines[-1:]) == (0, ["data right"]), (victim, err)
        assert "state dirty" in lines
    finally:
        assert end(process) == (0, "")


@pytest.mark.long
def test_driver_killed_in_the_middle_of_copies_and_of_the_cure(cold: str, firmware_dir: Path) -> None:
    code, lines, err = drive(cold, firmware_dir, "copies")
    assert (code, lines[-1]) == (-signal.SIGKILL, "state cold"), err
    assert drive(cold, firmware_dir, "stop")[0] == -signal.SIGKILL  # while it tidies up after the first
    code, lines, err = drive(cold, firmware_dir)
    assert (code, lines[-1]) == (0, "data right"), err
    assert "state dirty" in lines
    code, lines, err = drive(cold, firmware_dir)
    assert (code, lines[-1]) == (0, "data right"), err
    assert "state clean" in lines


@pytest.mark.long
def test_second_driver_is_refused_and_told_who_drives(cold: str, firmware_dir: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, cold, str(firmware_dir)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    try:
        code, lines, err = drive(cold, firmware_dir)
        assert code == 1 and lines == []
        assert re.search(rf"Refused: .*held by .*\(pid {holder.pid}\b", err, re.DOTALL), err
    finally:
        holder.communicate("close\n", timeout=60)
    assert holder.returncode == 0
    code, lines, _ = drive(cold, firmware_dir)
    assert (code, "state clean" in lines) == (0, True)


_HOLD = """
import sys
from pathlib import Path
import gpumend
from amdriver.device import Device
(gpu,) = gpumend.list_gpus([sys.argv[1]])
with Device.open(gpu.transport, gpu.clock, firmware_dirs=[Path(sys.argv[2])]):
    print("open", flush=True)
    sys.stdin.readline()
"""
