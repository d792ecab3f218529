"""Work on a machine with an NVIDIA GPU and its driver: channels, copies, semaphores, as any program makes them.

Skipped without /dev/nvidiactl, /dev/nvidia-uvm or a GPU that may be used. Nothing here changes a setting, clears a counter,
causes an error or resets; a GPU that nobody uses is initialized for as long as the tests run, as by any program. Not run on
a board yet: `pytest -ra tests/hardware/nvidia`; sizes up to 1 GiB. A kernel is dispatched where GPUMEND_SM90_KERNEL names a
file with the code of one for sm_90 without parameters that ends in EXIT (`cuobjdump -xelf`, section .text), and
GPUMEND_SM90_REGISTERS says how many registers it has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpumend
from base.errors import GpumendError
from nvdriver import abi, gpuclasses
from nvdriver.opengpu import OpenNvGpu
from tests.hardware.nvidia import bodies

pytestmark = pytest.mark.skipif(
    not (Path(abi.CTL_NODE).exists() and Path(abi.UVM_NODE).exists()),
    reason="no NVIDIA driver with UVM on this machine",
)
MOST = 1 << 30


@pytest.fixture(scope="module")
def gpu() -> Iterator[OpenNvGpu]:
    found = [one for one in gpumend.list_gpus() if one.part.is_nvidia and one.info.driver == "nvidia"]
    for one in found:
        try:
            opened = gpumend.open_nvidia_found(one)
        except GpumendError as error:
            print(f"{one.bdf}: {error}")
            continue
        with opened:
            yield opened
        return
    pytest.skip(f"none of {len(found)} GPUs can be opened")


def in_use() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_copies_on_each_engine(gpu: OpenNvGpu) -> None:
    bodies.copies_on_each_engine(gpu, MOST)


def test_copies_between_host_and_vram(gpu: OpenNvGpu) -> None:
    bodies.copies_between_host_and_vram(gpu, 64 << 20)


def test_fills_of_every_alignment(gpu: OpenNvGpu) -> None:
    bodies.fills_of_every_alignment(gpu)


def test_bar1_shows_what_the_engines_see(gpu: OpenNvGpu) -> None:
    bodies.bar1_shows_what_the_engines_see(gpu)


def test_semaphores_wait_and_release(gpu: OpenNvGpu) -> None:
    bodies.semaphores_wait_and_release(gpu)


def test_timestamps_go_forwards(gpu: OpenNvGpu) -> None:
    bodies.timestamps_go_forwards(gpu)


def test_two_channels_take_turns(gpu: OpenNvGpu) -> None:
    bodies.two_channels_take_turns(gpu)


def test_two_engines_copy_at_once(gpu: OpenNvGpu) -> None:
    bodies.two_engines_copy_at_once(gpu, 64 << 20)


def test_channels_come_and_go_a_thousand_times(gpu: OpenNvGpu) -> None:
    bodies.channels_come_and_go(gpu, 1000, in_use)


def test_compute_channel_fences(gpu: OpenNvGpu) -> None:
    bodies.compute_channel_fences(gpu)


def test_kernel_is_dispatched(gpu: OpenNvGpu) -> None:
    if gpu.classes.compute != gpuclasses.HOPPER_COMPUTE:
        pytest.skip("the QMD is Hopper's")
    path = os.environ.get("GPUMEND_SM90_KERNEL")
    if not path:
        pytest.skip("no kernel at hand: GPUMEND_SM90_KERNEL")
    bodies.kernel_is_dispatched(gpu, Path(path).read_bytes(), int(os.environ.get("GPUMEND_SM90_REGISTERS", "32")))


def test_selftest_passes() -> None:
    found = [one for one in gpumend.list_gpus() if one.part.is_nvidia and one.info.driver == "nvidia"]
    reports = gpumend.selftest_gpus(found)
    assert [report.exit_code for report in reports] == [0] * len(found), [report.findings for report in reports]
