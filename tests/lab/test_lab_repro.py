"""The scenarios in the lab: run by gpumend and as exported scripts, through the stock driver and without any, on one MI350X.

In their order: the driver is loaded, then unloaded, then loaded in the way that makes it oops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab import stock
from tests.lab.conftest import FIRST_GPU, LOGS

WORK = "/tmp/repro"
RUN_S = 500


@pytest.fixture(scope="module")
def driven(lab_parts: Parts) -> Iterator[Guest]:
    machine = Machine(memory_mib=4096, append=stock.APPEND)
    with guest.boot(lab_parts, gpus="mi350x?vram=16", machine=machine, keep=LOGS / "repro") as booted:
        booted.shell(f"mkdir -p {WORK}; test -d /sys/kernel/debug/dri || mount -t debugfs none /sys/kernel/debug")
        assert stock.modprobe(booted, "amdgpu") == 0
        yield booted


def exported(machine: Guest, name: str, *words: str) -> tuple[int, str]:
    """Export a scenario and run the file with nothing but Python: its exit code and what it said."""
    made = machine.run(["gpumend", "repro", "export", name, "-o", f"{WORK}/{name}.py"])
    assert made.exit_code == 0, made.stderr.decode(errors="replace")
    line = " ".join(["env -i /usr/bin/python3 -I", f"{WORK}/{name}.py", "--yes", "-o", f"{WORK}/out-{name}", *words])
    done = machine.shell(f"cd {WORK}; {line} 2>&1", limit_s=RUN_S)
    return done.exit_code, done.text


def run(machine: Guest, name: str, *words: str) -> tuple[int, dict[str, Any]]:
    done = machine.run(
        ["gpumend", "repro", "run", name, "--yes", "--json", "-o", f"{WORK}/run-{name}", *words], limit_s=RUN_S
    )
    assert done.stdout, done.stderr.decode(errors="replace")
    return done.exit_code, json.loads(done.text)


def told(body: dict[str, Any]) -> str:
    """Why a run did not end as it should."""
    return json.dumps({name: body.get(name) for name in ("outcome", "first", "notes", "error")}, indent=1)


def test_a_exported_script_resets_through_the_stock_driver_and_is_clean(driven: Guest) -> None:
    code, said = exported(driven, "hive-reset-loop", "--count 2")
    assert code == 0, said
    assert "iteration 2 of 2: pass" in said
    assert "not reproduced: 0 of 2 iterations" in said
    assert f"{FIRST_GPU}: SOS feature version" in said, "the versions that it ran on"
    log = driven.shell(f"cat {WORK}/out-hive-reset-loop/kernel.log").text
    assert log.count("GPU smu mode1 reset") >= 3, "at the start, and twice"
    assert "Linux version" in log, "from before the start on"


def test_b_gpumend_runs_the_same_and_sees_what_the_kernel_says(driven: Guest) -> None:
    code, body = run(driven, "hive-reset-loop", "-p", "count=1")
    assert (code, body["outcome"], body["statistics"]["incidence"]) == (0, "not reproduced", "0 of 1"), told(body)
    folder = f"{WORK}/run-hive-reset-loop"
    assert "GPU reset(" in driven.shell(f"cat {folder}/kernel.log").text
    assert "WEDGED" in driven.shell(f"cat {folder}/uevents.jsonl").text, "the driver says so after a reset"
    assert driven.run(["gpumend", "repro", "check", folder]).exit_code == 0


def test_c_driver_is_rebound(driven: Guest) -> None:
    code, body = run(driven, "rebind-loop", "-p", "count=1")
    assert (code, body["outcome"]) == (0, "not reproduced"), told(body)
    assert driven.shell(f"readlink /sys/bus/pci/devices/{FIRST_GPU}/driver").text.strip().endswith("/amdgpu")


def test_d_scenario_without_a_driver_is_refused_while_one_is_bound(driven: Guest) -> None:
    done = driven.run(["gpumend", "repro", "run", "hive-reset-loop-userspace", "--yes"])
    assert done.exit_code == 3
    assert b"amdgpu" in done.stderr
    code, said = exported(driven, "hive-reset-loop-userspace")
    assert code == 3
    assert "no driver may be bound" in said


def test_e_exported_script_resets_without_a_driver(driven: Guest) -> None:
    assert driven.run(["modprobe", "-r", "amdgpu"], limit_s=300).exit_code == 0
    code, said = exported(driven, "xgmi-retrain-loop", "--count 2")
    assert code == 0, said
    assert "iteration 2 of 2: pass" in said
    (gpu,) = json.loads(driven.run(["gpumend", "probe", "--json"], limit_s=120).text)["gpus"]
    codes = {finding["code"] for finding in gpu["findings"] if finding["severity"] not in ("note", "unknown")}
    assert codes <= {"amd.discovery.memsize"}, "but that it has less memory than the part"


def test_f_exported_script_resets_by_flr(driven: Guest) -> None:
    code, said = exported(driven, "flr-loop", "--count 1")
    assert code == 0, said
    assert "iteration 1 of 1: pass" in said


def test_g_driver_without_ras_oopses_as_reported(driven: Guest) -> None:
    """An oops is the end of a guest otherwise: what comes after it cannot be trusted, but the report is to be written."""
    driven.run(["modprobe", "-r", "amdgpu"], limit_s=300)
    driven.shell("echo 0 > /proc/sys/kernel/panic_on_oops")
    code, said = exported(driven, "amdgpu-ras-disabled-oops")
    assert code == 1, said
    assert "REPRODUCED: 1 of 1 iterations" in said
    assert "kernel log: " in said
    assert "amdgpu_ras_mgr_sw_init" in driven.shell(f"cat {WORK}/out-amdgpu-ras-disabled-oops/kernel.log").text
