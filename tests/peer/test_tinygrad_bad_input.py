"""What goes wrong before or around the work: one clear error each, and tinygrad shows it as it is."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpumend
import runtime.tinygrad as backend
from base.errors import Refused, Unavailable, UsageError
from gpumodel.faults import CATALOGUE
from pcibus.transport import LockHolder
from tests.peer.backend_rig import installed, payload, require_tinygrad

require_tinygrad()

ROOT = Path(__file__).resolve().parents[2]


def test_no_device_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bus/pci/devices").mkdir(parents=True)
    monkeypatch.setattr(gpumend, "SYS_ROOT", tmp_path)
    monkeypatch.delenv("GPUMEND_ON", raising=False)
    backend.install()
    try:
        from tinygrad import Tensor

        with pytest.raises(Unavailable, match="this machine's PCI bus") as told:
            Tensor([1], device="AMD").realize()
        assert "model:mi350x" in told.value.next_step
    finally:
        backend.uninstall()


def test_a_number_that_is_not_there_says_how_many_are(firmware_dir: Path) -> None:
    with installed("model:mi350x*2", firmware_dir) as rig, pytest.raises(Unavailable, match="2, counted from AMD:0"):
        rig.device(2)


def test_a_device_that_a_driver_is_bound_to_is_refused_by_its_name(
    firmware_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    with installed("model:mi350x", firmware_dir) as rig:
        transport: Any = rig.session.found()[0].transport
        bound = replace(transport.info(), driver="amdgpu")
        monkeypatch.setattr(transport, "info", lambda: bound)
        with pytest.raises(Refused, match="bound to amdgpu"):
            rig.device()


def test_a_device_that_somebody_holds_is_refused_and_works_when_it_is_free(firmware_dir: Path) -> None:
    with installed("model:mi350x", firmware_dir) as rig:
        rig.model().held_by = LockHolder("/tmp/am_0000:05:00.0.lock", 4711, "train.py")
        with pytest.raises(Refused, match="4711"):
            rig.device()
        rig.model().held_by = None
        assert rig.device().arch == "gfx950"


def test_missing_firmware_is_named_with_its_package(tmp_path: Path) -> None:
    with installed("model:mi350x", tmp_path) as rig:
        with pytest.raises(Unavailable, match=r"psp_13_0_12_sos\.bin") as told:
            rig.device()
        assert "firmware-amd-graphics" in str(told.value)


@pytest.mark.parametrize("version", ["0.13.0", "0.15.0", ""])
def test_another_version_of_tinygrad_is_told(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def installed_version(name: str) -> str:
        if not version:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", installed_version)
    with pytest.raises(Unavailable, match=re.escape(version or "it is not installed")) as told:
        backend.install("model:mi350x")
    assert "0.14.0" in told.value.expected


def test_a_sick_gpu_is_told_with_the_action_that_helps(firmware_dir: Path) -> None:
    with installed("model:mi350x?fault=bootloader-silent&state=cold", firmware_dir) as rig:
        with pytest.raises(Refused, match="starting") as told:
            rig.device()
        assert "bus-reset" in told.value.next_step


def test_installing_twice_is_refused(firmware_dir: Path) -> None:
    with installed("model:mi350x", firmware_dir), pytest.raises(UsageError, match="uninstall"):
        backend.install("model:mi350x")


def test_installing_after_tinygrad_opened_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad.device import Device

    monkeypatch.setattr(Device, "_opened_devices", {"AMD"})
    with pytest.raises(UsageError, match="AMD opened"):
        backend.install("model:mi350x")
    monkeypatch.undo()
    backend.install("model:mi350x")
    backend.uninstall()


def test_a_buffer_used_after_its_device_was_closed_is_told(firmware_dir: Path) -> None:
    from tinygrad import Tensor

    with installed("model:mi350x", firmware_dir) as rig:
        device = rig.device()
        tensor = Tensor(list(range(100)), device="AMD").realize()
        buffer = rig.filled(device, payload(1, 4096))
        raw = buffer.meta
    with pytest.raises(gpumend.GpumendError, match="closed"):
        tensor.numpy()
    with pytest.raises(gpumend.GpumendError, match="closed"):
        raw.read(0, 4)
    with pytest.raises(gpumend.GpumendError, match="closed"):
        device.allocator._copyin(buffer, memoryview(bytearray(4096)))


def test_a_view_knows_its_bounds(firmware_dir: Path) -> None:
    with installed("model:mi350x", firmware_dir) as rig:
        view = rig.device().iface.alloc(4096, host=True).cpu_view()
        words = view.view(offset=16, size=64, fmt="I")
        words[0:4] = [1, 2, 3, 4]
        words[4] = 5
        assert (words[0:5], words[4], len(words)) == ([1, 2, 3, 4, 5], 5, 16)
        assert view[16:24] == bytes((1, 0, 0, 0, 2, 0, 0, 0))
        with pytest.raises(IndexError):
            words[16]
        with pytest.raises(ValueError, match="view of"):
            words[0:2] = b"123"


def test_memory_of_the_cpu_is_not_mapped_silently(firmware_dir: Path) -> None:
    with installed("model:mi350x", firmware_dir) as rig:
        from tinygrad.runtime.support.hcq import HCQBuffer

        with pytest.raises(UsageError, match="memory of a GPU of this session"):
            rig.device().iface.map(HCQBuffer(0x1000, 4096, owner=None))


@pytest.mark.parametrize("fault", ["mec-hang", "sdma-hang"])
def test_an_engine_that_hangs_is_freed_and_told(fault: str, firmware_dir: Path) -> None:
    with installed("model:mi350x", firmware_dir, staging=True) as rig:
        device = rig.device()
        buffer = rig.filled(device, payload(1, 4096))
        device.synchronize()
        CATALOGUE[fault].apply(rig.model(), 0)
        device.allocator._copyin(buffer, memoryview(bytearray(4096)))
        device.hw_compute_queue_t().wait(device.timeline_signal, device.timeline_value - 1).signal(
            device.timeline_signal, device.next_timeline()
        ).submit(device)
        with pytest.raises(backend.DispatchFailed):
            device.synchronize(timeout=500)
        device.allocator._copyin(buffer, memoryview(bytearray(payload(2, 4096))))
        assert rig.content(device, buffer, 4096) == payload(2, 4096)


SCRIPT = """
import os, sys
sys.path.insert(0, {root!r})
import runtime.tinygrad
runtime.tinygrad.install({on!r})
from tinygrad import Tensor
start = Tensor([1, 2, 3], device="AMD").realize()
{then}
"""
FORK = """
child = os.fork()
if child == 0:
    try:
        Tensor([4], device="AMD").realize()
    except Exception as error:
        print(error, flush=True)
        sys.exit(3)
    sys.exit(0)
_, status = os.waitpid(child, 0)
print("child", os.waitstatus_to_exitcode(status), "parent", start.numpy().tolist(), flush=True)
"""
SECOND = """
print("opened", flush=True)
sys.stdin.readline()
"""


def script(on: str, then: str, firmware_dir: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "GPUMEND_FIRMWARE": str(firmware_dir)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(root=str(ROOT), on=on, then=then)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_child_after_fork_is_refused_and_leaves_the_gpu_to_its_parent(firmware_dir: Path) -> None:
    out, errors = script("model:mi350x", FORK, firmware_dir).communicate(timeout=120)
    assert "using a GPU after fork" in out and "spawn" in out
    assert "child 3 parent [1, 2, 3]" in out
    assert errors == ""


def test_a_second_process_on_one_gpu_is_refused(firmware_dir: Path) -> None:
    server = gpumend.serve_model("127.0.0.1:0", "mi350x")
    try:
        first = script(server.address, SECOND, firmware_dir)
        assert first.stdout is not None
        assert first.stdout.readline() == "opened\n", first.communicate()[1]
        _, errors = script(server.address, "", firmware_dir).communicate(timeout=120)
        assert "Refused" in errors and f"{first.pid}" in errors
        assert first.communicate("\n", timeout=120)[1] == ""
        third = script(server.address, "print(start.numpy().tolist())", firmware_dir)
        assert third.communicate(timeout=120) == ("[1, 2, 3]\n", "")
    finally:
        server.close()
