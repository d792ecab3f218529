"""`gpumend reset` of one MI350X that the stock amdgpu drives: refused by name, by the driver itself, and after it was unbound.

The tests follow each other in one guest. The GPU has less memory than its part, which is a finding of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab.conftest import FIRST_GPU as GPU
from tests.lab.conftest import LOGS
from tests.lab.resets import DEVICES, codes, reset
from tests.lab.stock import APPEND, TROUBLE, Log, ib_tests, modprobe

SMALL = {"amd.discovery.memsize"}
BACK = [("recovered", "degraded")]


@pytest.fixture(scope="module")
def driven(lab_parts: Parts) -> Iterator[Guest]:
    machine = Machine(memory_mib=4096, append=APPEND)
    with guest.boot(lab_parts, gpus="mi350x?vram=16&state=cold", machine=machine, keep=LOGS / "reset-amdgpu") as booted:
        assert modprobe(booted, "amdgpu") == 0
        yield booted


@pytest.fixture(scope="module")
def log(driven: Guest) -> Log:
    return Log(driven)


def driver(driven: Guest) -> str:
    return driven.shell(f"basename $(readlink {DEVICES}/{GPU}/driver)").text.strip()


def test_bound_gpu_is_refused_with_the_drivers_name(driven: Guest) -> None:
    done = driven.run(["gpumend", "reset", "--method", "bus-reset", "--dry-run"])
    assert done.exit_code == 3 and "driver amdgpu is bound" in done.text, done.text
    told = reset(driven, "reset", "--method", "flr")
    assert (told.exit, told.steps) == (3, [])
    assert f"GPU 0 ({GPU}): amdgpu" in told.refusals[0]


def test_driver_resets_its_gpu_when_it_is_asked(driven: Guest, log: Log) -> None:
    log.take()
    told = reset(driven, "reset", "--method", "kernel-recover")
    assert (told.exit, told.steps, told.outcomes) == (0, [("kernel-recover", [0], "verified")], BACK), told.document
    assert "the kernel's log says so on 1 of 1" in told.proof
    log.take()
    assert log.has(r"GPU reset\(\d+\) succeeded") and not log.lines(TROUBLE)
    assert codes(told.document["gpus"][0]) == SMALL


def test_driver_lets_go_and_takes_it_again(driven: Guest, log: Log) -> None:
    told = reset(driven, "reset", "--method", "driver-rebind")
    assert (told.exit, told.steps, told.outcomes) == (0, [("driver-rebind", [0], "verified")], BACK), told.document
    assert driver(driven) == "amdgpu"
    log.take()
    assert log.has("finishing device") and log.has("Initialized amdgpu") and not log.lines(TROUBLE)


def test_held_render_node_is_refused_then_holder_ended_driver_unbound_and_gpu_reset(driven: Guest) -> None:
    driven.shell("sleep 1000 < /dev/dri/renderD128 > /dev/null 2>&1 & echo $! > /tmp/holder; sleep 0.2")
    pid = driven.read("/tmp/holder").decode().strip()
    told = reset(driven, "reset", "--method", "mode1", "--unbind")
    assert (told.exit, told.steps, driver(driven)) == (3, [], "amdgpu")
    assert f"pid {pid} sleep (/dev/dri/renderD128)" in told.refusals[0]
    told = reset(driven, "reset", "--method", "mode1", "--unbind", "--kill-holders")
    assert (told.exit, told.steps, told.outcomes) == (0, [("mode1", [0], "verified")], BACK), told.document
    assert driver(driven) == "", "it is given back by a command of its own"


def test_driver_takes_the_gpu_back_after_our_reset_and_works(driven: Guest, log: Log) -> None:
    log.take()
    assert driven.run(["gpumend", "bind", "amdgpu", "--yes", "--limit", "300"], limit_s=400).exit_code == 0
    assert driver(driven) == "amdgpu"
    log.take()
    assert not log.lines(TROUBLE)
    assert "ib ring tests passed" in ib_tests(driven, GPU)
