"""Odd surroundings: closed and full streams, signals, limits, environments. Each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HIVE = "model:mi350x*8"


def shell(command: str, **environment: str) -> tuple[int, str, str]:
    """Run a shell line with $G as gpumend; its code, output and messages."""
    env = {**os.environ, "G": f"{sys.executable} -m gpumend", **environment}
    env.pop("GPUMEND_ON", None)
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, env=env)
    assert "Traceback" not in ran.stderr, ran.stderr
    assert "has a defect" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.long
@pytest.mark.parametrize("arguments", ["--on model:mi350x list", "--on nonsense list", "--version"])
def test_closed_streams_do_not_change_the_answer(arguments: str) -> None:
    code, _, _ = shell(f"$G {arguments}")
    for streams in ("2>&-", ">&-", ">&- 2>&-", "2>/dev/full", "<&-"):
        assert shell(f"$G {arguments} {streams}")[0] == code, streams


@pytest.mark.parametrize(
    "arguments", [f"--on {HIVE} list", f"--on {HIVE} probe", "--version", "--json --on nonsense list"]
)
def test_full_output_is_told_and_claims_no_health(arguments: str) -> None:
    code, _, err = shell(f"$G {arguments} > /dev/full")
    assert code == 74
    assert "No space left" in err


def test_unbuffered_output_is_whole_or_the_code_says_that_it_is_not(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    code, _, _ = shell(f"trap '' XFSZ; ulimit -f 100; $G --json regs search '*' > {out}", PYTHONUNBUFFERED="1")
    assert code == 74
    code, _, _ = shell(f"$G --json regs search 'GRBM*' > {out}", PYTHONUNBUFFERED="1")
    assert code == 0
    assert json.loads(out.read_text())["schema"] == 1


def test_no_command_prints_help_as_lines() -> None:
    code, _, err = shell("$G")
    assert code == 64
    assert "Commands:" in err.splitlines()[-20] or "Commands:" in err
    assert "\\x0a" not in err


def test_usage_error_in_json_names_its_command_wherever_the_flag_stands() -> None:
    for line in ("$G list --bogus --json", "$G --json list --bogus"):
        code, out, _ = shell(line)
        document = json.loads(out)
        assert (code, document["command"], document["error"]["exit"]) == (64, "list", 64)


def test_too_few_file_handles_are_told_as_the_systems_refusal() -> None:
    code, _, err = shell(f"ulimit -n 10; $G --on '{HIVE}' probe")
    assert code == 74
    assert "Too many open files" in err


def test_no_home_folder_is_told_and_does_not_make_a_gpu_unknown() -> None:
    unknown = 54321
    if os.geteuid() != 0:
        pytest.skip("only root can become a user that the system does not know")
    code = (
        f"import os, sys; os.environ.pop('HOME', None); os.environ.pop('XDG_DATA_HOME', None); os.setuid({unknown});"
        "import cli; sys.exit(cli.run(sys.argv[1:]))"
    )

    def run(*arguments: str) -> tuple[int, str]:
        ran = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert "has a defect" not in ran.stderr, ran.stderr
        return ran.returncode, ran.stdout + ran.stderr

    if run("--version")[0]:
        pytest.skip("this checkout cannot be read by another user")
    assert run("--on", "model:mi350x", "probe")[0] == 0
    code_of_save, text = run("--on", "model:mi350x", "discovery", "save")
    assert code_of_save == 69
    assert "XDG_DATA_HOME" in text


def test_interrupt_while_starting_ends_with_130() -> None:
    program = """
import cli, signal, sys
try:
    print("up", flush=True)
    code = cli.run(["--on", "model:mi350x*8", "probe"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what comes later hits the interpreter's own end, not ours
except KeyboardInterrupt:
    code = 99  # the signal came before or after the line that is tested
sys.exit(code)
"""
    seen = set()
    for delay_s in (0.0, 0.01, 0.02, 0.04, 0.06):
        started = subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert started.stdout is not None
        assert started.stdout.readline() == "up\n"
        time.sleep(delay_s)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=30)
        assert started.returncode in (130, 0, 99), (delay_s, err)  # 0: it was done before
        assert "Traceback" not in err
        assert "Exception ignored" not in err
        seen.add(started.returncode)
    assert 130 in seen, "no signal hit the command while it ran"


def test_interrupt_lost_in_a_callback_comes_again() -> None:
    program = """
import cli, os, signal, sys, time
sys.unraisablehook = cli._unraisable
class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)
try:
    dying = Dying()
    del dying
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (ran.returncode, ran.stderr) == (130, "")


def test_interrupt_that_comes_again_too_soon_is_not_lost() -> None:
    program = """
import _thread, cli, signal, sys, time
sys.unraisablehook = cli._unraisable
class Busy:  # the main thread is held up where the hook starts the other: its signal arrives inside the hook
    get_ident = staticmethod(_thread.get_ident)
    started = 0
    def start_new_thread(self, function, arguments):
        self.started += 1
        if self.started == 1:
            signal.raise_signal(signal.SIGINT)
        else:
            _thread.start_new_thread(function, arguments)
cli._thread = Busy()
class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)
try:
    dying = Dying()
    del dying
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (ran.returncode, ran.stderr) == (130, "")


def test_interrupt_that_comes_again_just_before_a_sleep_ends_it_all_the_same() -> None:
    program = """
import cli, signal, sys, time
sys.unraisablehook = cli._unraisable
kill, sent = signal.pthread_kill, []
def late(thread, number):  # the first finds the main thread on its way into the sleep, which goes on
    sent.append(number)
    if len(sent) > 1:
        kill(thread, number)
signal.pthread_kill = late
class Dying:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)
before = signal.getsignal(signal.SIGINT)
try:
    dying = Dying()
    del dying
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130 if signal.getsignal(signal.SIGINT) is before else 1)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (ran.returncode, ran.stderr) == (130, "")


def test_interrupt_wrapped_by_python_is_an_interrupt() -> None:
    from base.errors import Exit
    from commands.common import Settings
    from commands.root import _ending

    wrapped = RuntimeError("Error calling __set_name__")
    wrapped.__cause__ = KeyboardInterrupt()
    assert _ending(wrapped, Settings(), []) == Exit.INTERRUPTED


def test_names_with_newlines_forge_no_line(tmp_path: Path) -> None:
    evil = tmp_path / "x\nvalid: 22 files, all whole.bin"
    evil.write_bytes(b"\0" * 300)
    for command in ("firmware show", "firmware verify", "discovery validate"):
        _, out, err = shell(f"$G {command} '{evil}'")
        assert not any(line.startswith("valid: 22 files, all whole") for line in (out + err).splitlines())


def test_diff_of_a_truncated_table_is_not_the_same(tmp_path: Path) -> None:
    from gpumodel import open_models

    (model,) = open_models("mi300x")
    blob = model.read_block(0, (192 << 30) - 0x10000, 0x2800)
    whole, part = tmp_path / "whole.bin", tmp_path / "part.bin"
    whole.write_bytes(blob)
    part.write_bytes(blob[:300])
    assert shell(f"$G discovery diff {whole} {whole}")[0] == 0
    assert shell(f"$G discovery diff {whole} {part}")[0] == 1
    code, out, _ = shell(f"$G discovery diff {part} {whole}")
    assert code == 1
    assert "itself not valid" in out
