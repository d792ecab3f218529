"""`gpumend model serve` in a process of its own, looked at, driven and killed around by others."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cli
import gpumend
from base.errors import Refused
from pcibus.remote import RemoteTransport, open_remote

ROOT = Path(__file__).resolve().parents[2]
SICK = "mi350x*8?fault=discovery-clobbered@2,bootloader-silent@5,mec-hang@1,bus-lost@7"


def serve(spec: str) -> tuple[subprocess.Popen[str], str]:
    """A server at a port that was free; its address, from the one line that it prints."""
    command = [sys.executable, "-m", "gpumend", "model", "serve", "--remote", "127.0.0.1:0", spec]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"remote:127\.0\.0\.1:\d+", line)
    if found is None:
        process.kill()
        pytest.fail(f"no address in {line!r}; {process.communicate()[1]}")
    return process, found[0]


def end(process: subprocess.Popen[str], how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


@pytest.fixture(scope="module")
def sick() -> Iterator[str]:
    process, address = serve(SICK)
    yield address
    assert end(process) == (0, "")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.run(arguments)
    told = capsys.readouterr()
    return int(code), told.out, told.err


def test_served_list_equals_the_model_in_process(
    sick: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPUMEND_ON", raising=False)
    near = run(capsys, "--on", f"model:{SICK}", "list")
    far = run(capsys, "--on", sick, "list")
    assert far == near
    assert far[0] == 1 and far[1].count("\n") == 9


def test_served_probe_equals_the_model_in_process(sick: str) -> None:
    near = gpumend.probe([f"model:{SICK}"])
    far = gpumend.probe_gpus(gpumend.list_gpus([sick]), limit_s=60)  # this machine may be busy with other tests
    for one, other in zip(far, near, strict=True):
        assert (one.bdf, one.health, one.action) == (other.bdf, other.health, other.action)
        assert [item.code for item in one.findings] == [item.code for item in other.findings]
    assert [gpu.health.value for gpu in far].count("hung") == 3


def test_served_gpu_can_be_picked_and_registers_read(sick: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--on", f"{sick}#2", "--json", "probe")
    (gpu,) = json.loads(out)["gpus"]
    assert (code, gpu["bdf"], gpu["index"]) == (1, "0000:65:00.0", 0)
    assert run(capsys, "--on", sick, "-g", "0", "regs", "read", "GRBM_STATUS[3]")[0] == 0


def test_served_address_without_server_exits_69_and_bad_ones_64(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--on", "remote:127.0.0.1:1", "list")
    assert (code, "Connection refused" in err) == (69, True)
    code, _, err = run(capsys, "--on", "remote:nonsense", "list")
    assert (code, "HOST:PORT" in err) == (64, True)


def test_serve_wrong_use_is_refused_with_the_right_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "model", "serve", "--remote", "0.0.0.0:0", "mi350x")[0] == 3
    assert run(capsys, "model", "serve", "--remote", "6667", "mi350x")[0] == 64
    assert run(capsys, "model", "serve", "mi350y")[0] == 64
    code, out, _ = run(capsys, "--json", "model", "serve", "--remote", "127.0.0.1:x", "mi350x")
    assert (code, json.loads(out)["command"]) == (64, "model serve")


def test_served_model_lives_on_and_ends_on_sigterm() -> None:
    process, address = serve("model:mi350x")
    (gpu,) = open_remote(address)
    gpu.write32(0, 0x100, 0xCAFE)
    gpu.read32(0, 0)
    gpu.close()
    (gpu,) = open_remote(address)
    assert gpu.read32(0, 0x100) == 0xCAFE
    code, rest = end(process, signal.SIGTERM)
    assert (code, "Traceback" in rest) == (0, False)
    gpu.close()


HOLDS_AND_WRITES = """
import sys
from pcibus.remote import open_remote
(gpu,) = open_remote(sys.argv[1])
held = gpu.exclusive()
held.__enter__()
buffer = gpu.alloc_dma(8192)
gpu.write32(0, 0x200, 0xD1E)
buffer.read(0, 4)
print(buffer.bus_addr[0], flush=True)
sys.stdin.read()
"""


def test_served_lock_of_a_killed_client_goes_to_the_next_one(sick: str) -> None:
    address = f"{sick}#3"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDS_AND_WRITES, address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdin is not None
    first_page = int(child.stdout.readline())
    (gpu,) = open_remote(address)
    with pytest.raises(Refused, match=rf"\(pid {child.pid}, from 127"), gpu.exclusive():
        pytest.fail("both have it")
    holder = gpu.holder()
    assert holder is not None and holder.pid == child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=60)
    _until(lambda: gpu.holder() is None)
    with gpu.exclusive():
        assert gpu.read32(0, 0x200) == 0xD1E  # the device is as its driver left it
        assert first_page not in gpu.alloc_dma(8192).bus_addr
    gpu.close()


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.002)
    assert condition()


def test_served_probe_does_not_disturb_another_clients_lock(sick: str) -> None:
    (driver,) = open_remote(f"{sick}#0")
    assert isinstance(driver, RemoteTransport)
    with driver.exclusive():
        (report,) = gpumend.probe([f"{sick}#0"])
    assert report.health.value == "unknown"  # its index registers belong to the driver now: not asked is not healthy
    driver.close()
