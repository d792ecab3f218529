"""Real guests: a stock Debian kernel in QEMU, with and without our models on its PCI bus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lab import guest
from lab.guest import Guest, GuestEnded
from lab.parts import Parts

ROOT = Path(__file__).resolve().parents[2]
RUN_MOST_S = 60  # the bound for a hive with a warm cache


def gpumend(*words: str, limit_s: float = 300) -> subprocess.CompletedProcess[str]:
    """The command line, as a user types it."""
    command = [sys.executable, "-m", "gpumend", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)


# --- without a GPU


def test_guest_boots_the_kernel_that_was_asked_for(bare: Guest, lab_parts: Parts) -> None:
    assert bare.run(["uname", "-r"]).text.strip() == lab_parts.kernel.release


@pytest.mark.parametrize("code", [0, 1, 77])
def test_guest_command_gives_its_exit_code_and_both_streams(bare: Guest, code: int) -> None:
    done = bare.shell(f"echo out; echo err >&2; exit {code}")
    assert (done.exit_code, done.stdout, done.stderr) == (code, b"out\n", b"err\n")


def test_guest_command_that_is_not_there_ends_with_127(bare: Guest) -> None:
    assert bare.run(["no-such-command"]).exit_code == 127


def test_guest_command_past_its_limit_is_killed_and_the_guest_lives_on(bare: Guest) -> None:
    done = bare.run(["sleep", "60"], limit_s=1)
    assert (done.exit_code, done.timed_out) == (124, True)
    assert bare.run(["true"]).exit_code == 0


def test_guest_returns_megabytes_unharmed(bare: Guest) -> None:
    done = bare.run(["python3", "-c", "import sys; sys.stdout.write('0123456789abcdef' * 200_000)"])
    assert done.stdout == b"0123456789abcdef" * 200_000


def test_guest_has_python_with_all_that_gpumend_needs(bare: Guest) -> None:
    script = (
        "import json, sys, click, numpy, rich, yaml\n"
        "print(json.dumps({'python': list(sys.version_info[:2]), 'sum': int(numpy.arange(5).sum())}))\n"
    )
    bare.write("/tmp/check.py", script.encode())
    (answer,) = bare.run(["python3", "/tmp/check.py"]).json_lines()
    assert answer["python"] >= [3, 11]
    assert answer["sum"] == 10


def test_guest_runs_this_checkout(bare: Guest) -> None:
    assert bare.run(["gpumend", "--version"]).text == gpumend("--version").stdout
    assert bare.read("/gpumend/base/version.py") == (ROOT / "base/version.py").read_bytes()


def test_guest_without_a_gpu_says_that_there_is_none(bare: Guest) -> None:
    done = bare.run(["gpumend", "list"])
    assert done.exit_code == 2
    assert b"on this machine's PCI bus" in done.stderr


def test_guest_has_the_stock_driver_and_its_firmware(bare: Guest) -> None:
    assert bare.run(["modprobe", "--dry-run", "amdgpu"]).exit_code == 0
    assert bare.shell("test -s /lib/firmware/amdgpu/psp_13_0_12_sos.bin").exit_code == 0


def test_guest_that_panics_is_told_with_the_kernels_reason(lab_parts: Parts) -> None:
    begin = time.monotonic()
    with (
        guest.boot(lab_parts) as booted,
        pytest.raises(GuestEnded, match="Kernel panic - not syncing: sysrq triggered"),
    ):
        booted.shell("echo c > /proc/sysrq-trigger", limit_s=100)
    assert time.monotonic() - begin < 90


# --- the command line, from the outside


def test_lab_run_passes_the_exit_code_through(lab_parts: Parts) -> None:
    done = gpumend("lab", "run", "--", "sh", "-c", "echo from the guest; exit 7")
    assert (done.returncode, done.stdout) == (7, "from the guest\n"), done.stderr


def test_lab_run_with_a_sick_hive_gives_the_verdict_from_inside_in_time(lab_parts: Parts) -> None:
    begin = time.monotonic()
    done = gpumend("lab", "run", "--gpus", "mi350x*8?fault=discovery-clobbered@2", "--", "gpumend", "probe", "--json")
    spent_s = time.monotonic() - begin
    gpus = json.loads(done.stdout)["gpus"]
    assert [gpu["health"] for gpu in gpus] == ["healthy"] * 2 + ["hung"] + ["healthy"] * 5
    assert gpus[2]["action"] == "hive-reset"
    assert [finding["code"] for finding in gpus[2]["findings"]] == ["amd.discovery.signature"]
    assert done.returncode == 1
    assert spent_s < RUN_MOST_S


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_lab_run_that_is_interrupted_leaves_nothing_behind(lab_parts: Parts, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "gpumend", "lab", "run", "--gpus", "mi350x", "--"]
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        running = subprocess.Popen(
            [*command, "sh", "-c", "echo up; sleep 600"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        assert len(processes_with(folder)) >= 3, "QEMU, the models, and what limits them"
        running.send_signal(how)
        _, errors = running.communicate(timeout=60)
        assert running.returncode == 130, errors
        assert processes_with(folder) == []
        assert list(Path(folder).iterdir()) == []


def processes_with(text: str) -> list[str]:
    """Command lines in which a text stands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if text in line]
