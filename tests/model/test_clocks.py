"""Clocks: ranges, pinning, giving back; in an open GPU, from Python without opening it, and by the command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

import gpumend
from amdriver.smu import SmuRefused, SmuSilent
from base.errors import Refused, UsageError
from gpumodel.device import ModelGpu, ModelTransport
from gpumodel.faults import CATALOGUE
from pcibus.transport import LockHolder

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
HIGHEST = {"mi300x": 2100, "mi350x": 2200}
LOWEST = 132


def found(spec: str) -> tuple[gpumend.Gpu, ModelGpu]:
    (gpu,) = gpumend.list_gpus([f"model:{spec}"])
    return gpu, cast(ModelTransport, gpu.transport).gpu


@BOTH
def test_ranges_are_those_of_the_board(part: str) -> None:
    gpu, _ = found(part)
    gfx, *others = gpumend.clock_ranges(gpu)
    assert (gfx.name, gfx.lowest_mhz, gfx.highest_mhz, gfx.levels_mhz) == ("GFXCLK", LOWEST, HIGHEST[part], ())
    assert [one.name for one in others] == ["VCLK", "DCLK", "SOCCLK", "UCLK", "FCLK", "LCLK"]
    assert all(one.levels_mhz == tuple(sorted(one.levels_mhz)) and len(one.levels_mhz) > 1 for one in others)


@BOTH
def test_pinning_sets_both_limits_and_freeing_gives_the_range_back(part: str) -> None:
    gpu, model = found(part)
    assert gpumend.pin_clocks(gpu, 1500) == 1500
    assert model.smu.gfx_range == (1500, 1500)
    assert gpumend.pin_clocks(gpu) == HIGHEST[part]
    assert model.smu.gfx_range == (HIGHEST[part], HIGHEST[part])
    gpumend.free_clocks(gpu)
    assert model.smu.gfx_range == (LOWEST, HIGHEST[part])
    assert model.wrongs == []


@BOTH
def test_an_open_gpu_shows_the_pinned_clock_and_frees_it_when_it_is_closed(part: str, firmware_dir: Path) -> None:
    gpu, model = found(part)
    with gpumend.open_found(gpu, firmware=firmware_dir) as opened:
        assert opened.clocks.pin(1400) == 1400
        assert {round(value / 1024) for value in opened.device.smu.metrics().GfxclkFrequency} == {1400}
        assert opened.clocks.pinned_mhz == 1400
    assert model.smu.gfx_range == (LOWEST, HIGHEST[part])


def test_a_plan_sends_only_questions() -> None:
    gpu, model = found("mi350x")
    before = model.smu.gfx_range
    plan = gpumend.plan_clocks(gpu, 1000)
    assert [(one.name, one.number, one.argument) for one in plan] == [
        ("SetSoftMaxGfxClk", 0x31, 1000),
        ("SetSoftMinGfxClk", 0x30, 1000),
    ]
    assert [one.argument for one in gpumend.plan_clocks(gpu, free=True)] == [2200, LOWEST]
    assert model.smu.gfx_range == before


@pytest.mark.parametrize("mhz", [1, 131, 2201, 65535])
def test_a_frequency_out_of_range_is_refused_before_anything_is_sent(mhz: int) -> None:
    gpu, model = found("mi350x")
    with pytest.raises(UsageError, match="132 to 2200 MHz"):
        gpumend.pin_clocks(gpu, mhz)
    assert model.smu.gfx_range == (LOWEST, 2200)


def test_a_gpu_that_somebody_holds_is_left_alone() -> None:
    gpu, model = found("mi350x")
    model.held_by = LockHolder("/tmp/am_0000:05:00.0.lock", 4711, "train.py")
    with pytest.raises(Refused, match="4711"):
        gpumend.pin_clocks(gpu, 1500)


def test_a_silent_smu_is_told_after_its_time() -> None:
    gpu, model = found("mi350x")
    CATALOGUE["smu-silent"].apply(model, 0)
    with pytest.raises(SmuSilent):
        gpumend.clock_ranges(gpu)


def test_a_message_that_the_firmware_refuses_is_told() -> None:
    gpu, model = found("mi350x")
    model.smu.refuses.add(0x30)
    with pytest.raises(SmuRefused, match="SetSoftMinGfxClk"):
        gpumend.pin_clocks(gpu, 1500)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpumend", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_show_lists_every_clock_of_every_gpu() -> None:
    done = run("--on", "model:mi350x*2", "--json", "clocks", "show")
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    assert [(gpu["index"], gpu["status"], len(gpu["clocks"])) for gpu in told["gpus"]] == [
        (0, "told", 7),
        (1, "told", 7),
    ]


def test_pin_runs_a_command_ends_with_its_code_and_frees_the_clock() -> None:
    server = gpumend.serve_model("127.0.0.1:0", "mi300x")
    try:
        model = cast(ModelTransport, server.transports[0]).gpu
        show = f"import sys; sys.path.insert(0, {str(Path(gpumend.__file__).parent)!r}); sys.exit(7)"
        done = run("--on", server.address, "clocks", "pin", "--mhz", "1500", "--", sys.executable, "-c", show)
        assert done.returncode == 7
        assert "graphics clock pinned at 1500 MHz" in done.stderr
        assert model.smu.gfx_range == (LOWEST, 2100)
        assert run("--on", server.address, "clocks", "pin", "--mhz", "900", "--keep").returncode == 0
        assert model.smu.gfx_range == (900, 900)
        assert run("--on", server.address, "clocks", "auto").returncode == 0
        assert model.smu.gfx_range == (LOWEST, 2100)
    finally:
        server.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pin_without_a_command_waits_and_frees_the_clock_when_it_is_ended(number: signal.Signals) -> None:
    server = gpumend.serve_model("127.0.0.1:0", "mi300x")
    try:
        model = cast(ModelTransport, server.transports[0]).gpu
        command = [sys.executable, "-m", "gpumend", "--on", server.address, "clocks", "pin", "--mhz", "1500"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert "pinned at 1500 MHz" in process.stderr.readline()
        assert model.smu.gfx_range == (1500, 1500)
        time.sleep(0.2)  # until it waits; a signal before that ends it as well
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode in (0, 130)
        assert model.smu.gfx_range == (LOWEST, 2100)
    finally:
        server.close()


def test_pin_of_a_program_that_is_not_there_frees_the_clock_and_says_so() -> None:
    done = run("--on", "model:mi300x", "clocks", "pin", "--", "/no/such/program")
    assert done.returncode == 69
    assert "/no/such/program" in done.stderr


def test_dry_run_prints_the_messages() -> None:
    done = run("--on", "model:mi300x", "clocks", "pin", "--mhz", "1500", "--dry-run")
    assert done.returncode == 0
    assert "SetSoftMaxGfxClk (0x31), argument 0x5dc (1500 MHz)" in done.stdout


def test_out_of_range_is_wrong_use() -> None:
    done = run("--on", "model:mi300x", "clocks", "pin", "--mhz", "9999")
    assert done.returncode == 64
    assert "132 to 2100 MHz" in done.stderr
