"""Two MI350X behind an emulated IOMMU: vfio-pci, memory behind the IOMMU, interrupts by eventfd, who may open what."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from lab import guest
from lab.guest import Done, Guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab.conftest import FIRST_GPU as GPU
from tests.lab.conftest import INSIDE, LOGS

OTHER = "0000:02:00.0"
ALLOWED = f"vfio:{GPU}?resets=allowed"


@pytest.fixture(scope="module")
def pair(lab_parts: Parts) -> Iterator[Guest]:
    """Two GPUs, each in a group of its own; vfio-pci is loaded, and nothing is bound to it yet."""
    with guest.boot(lab_parts, gpus="mi350x*2", machine=Machine(iommu=True), keep=LOGS / "vfio") as booted:
        booted.shell("modprobe vfio_iommu_type1; modprobe vfio-pci")
        yield booted


def told(done: Done) -> dict[str, Any]:
    """The one GPU in the JSON document that a command printed."""
    (gpu,) = json.loads(done.text)["gpus"]
    assert isinstance(gpu, dict)
    return gpu


def as_user(booted: Guest, words: str) -> Done:
    return booted.run(["su", "user", "-c", words])


def group(booted: Guest, bdf: str) -> str:
    """The file of the function's IOMMU group."""
    number = booted.shell(f"basename $(readlink /sys/bus/pci/devices/{bdf}/iommu_group)").text.strip()
    return f"/dev/vfio/{number}"


def test_selftest_without_vfio_is_refused_because_the_iommu_translates(pair: Guest) -> None:
    done = pair.run(["gpumend", "-g", "0", "selftest", "--json"])
    gpu = told(done)
    assert done.exit_code == 3
    assert "IOMMU group of type DMA" in gpu["error"]["seen"]
    assert f"vfio:{GPU}" in gpu["error"]["next"]


def test_vfio_address_of_a_gpu_that_is_not_bound_says_how(pair: Guest) -> None:
    done = pair.run(["gpumend", "--on", ALLOWED, "selftest", "--json"])
    assert done.exit_code == 3
    assert f"gpumend --on {GPU} bind vfio-pci" in told(done)["error"]["next"]


def test_binding_as_a_user_is_not_permitted(pair: Guest) -> None:
    done = as_user(pair, "gpumend -g 0 bind vfio-pci --yes --despite-holders --json")
    assert done.exit_code == 77
    assert told(done)["driver"] in ("", None)


def test_binding_and_unbinding_are_what_the_kernel_says(pair: Guest) -> None:
    driver = f"basename $(readlink /sys/bus/pci/devices/{OTHER}/driver)"
    done = pair.run(["gpumend", "-g", "1", "bind", "vfio-pci", "--yes", "--json"])
    assert (done.exit_code, told(done)["driver"]) == (0, "vfio-pci"), done.text
    assert pair.shell(driver).text.strip() == "vfio-pci"
    done = pair.run(["gpumend", "-g", "1", "unbind", "--yes", "--json"])
    assert (done.exit_code, told(done)["driver"]) == (0, ""), done.text
    assert pair.shell(driver).text.strip() == ""
    assert pair.read(f"/sys/bus/pci/devices/{OTHER}/driver_override").strip() == b"vfio-pci", "no ids of its own"


def test_opening_that_would_reset_the_gpu_is_refused(pair: Guest) -> None:
    assert pair.run(["gpumend", "-g", "0", "bind", "vfio-pci", "--yes"]).exit_code == 0
    done = pair.run(["gpumend", "--on", f"vfio:{GPU}", "selftest", "--json"])
    assert done.exit_code == 3
    assert "by flr when it is opened" in told(done)["error"]["seen"]
    assert "resetting" not in pair.run(["dmesg"]).text


def test_probe_leaves_a_gpu_that_vfio_let_sleep_asleep(pair: Guest) -> None:
    """vfio-pci puts what nobody uses into D3hot."""
    done = pair.run(["gpumend", "--on", f"vfio:{GPU}", "probe", "--json"])
    assert done.exit_code == 2
    assert "pci.power" in {finding["code"] for finding in told(done)["findings"]}
    assert pair.read(f"/sys/bus/pci/devices/{GPU}/power_state").strip() == b"D3hot"


def test_selftest_through_vfio_passes_with_interrupts(pair: Guest) -> None:
    """The kernel's reset on opening has booted the GPU's firmware: it is found cold."""
    words = ("--skip", "memory", "--skip", "sdma", "--engine", "0", "--json")
    done = pair.run(["gpumend", "--on", ALLOWED, "selftest", *words])
    gpu = told(done)
    assert done.exit_code == 0, gpu
    assert gpu["start_state"] == "cold"
    checks = {check["name"]: check["status"] for check in gpu["checks"]}
    assert (checks["compute"], checks["interrupts"]) == ("ok", "ok")
    assert "resetting" in pair.run(["dmesg"]).text


def test_resets_from_the_bus_are_refused_while_vfio_has_the_gpu(pair: Guest) -> None:
    """Reported to leave config space at all ones until the host is rebooted."""
    log = pair.run(["dmesg"]).text
    for method in ("flr", "bus-reset", "sysfs-reset"):
        done = pair.run(["gpumend", "-g", "0", "reset", "--method", method, "--yes", "--json"])
        (gpu,) = json.loads(done.text)["gpus"]
        assert (done.exit_code, json.loads(done.text)["steps"]) == (3, []), done.text
        assert "under vfio" in gpu["error"]["seen"] and "MxGPU-Virtualization#25" in gpu["error"]["seen"]
        assert f"--force {method}" in gpu["error"]["next"]
    assert pair.run(["dmesg"]).text == log


@pytest.mark.parametrize("words", [(), ("mode2",)], ids=["as started", "after mode2"])
def test_wait_ends_by_an_interrupt_through_eventfd(pair: Guest, words: tuple[str, ...]) -> None:
    done = pair.run(["python3", f"{INSIDE}/interrupts.py", ALLOWED, *words])
    assert done.exit_code == 0, done.stderr.decode()
    (answer,) = done.json_lines()
    assert answer["came"] is True
    assert answer["after"] == answer["before"] + 1, "the kernel counts it"
    assert answer["entry"] == [answer["context"]]


def test_dma_goes_through_the_iommu(pair: Guest) -> None:
    done = pair.run(["python3", f"{INSIDE}/copies.py", ALLOWED, str(3 << 20)])
    assert done.json_lines() == [{"same_in_vram": True, "same_in_host": True}], done.stderr.decode()


def test_two_gpus_write_one_signal_each_at_addresses_of_its_own_iommu(pair: Guest) -> None:
    assert pair.run(["gpumend", "-g", "1", "bind", "vfio-pci", "--yes"]).exit_code == 0
    others = f"vfio:{OTHER}?resets=allowed"
    done = pair.run(["python3", f"{INSIDE}/signals.py", ALLOWED, others], limit_s=300)
    assert done.json_lines() == [{ALLOWED: 7, others: 8, "seen": [7, 8]}], done.stderr.decode()


def test_group_that_belongs_to_root_is_not_opened_by_a_user(pair: Guest) -> None:
    done = as_user(pair, f"gpumend --on {shlex.quote(ALLOWED)} selftest --json")
    assert done.exit_code == 77
    error = told(done)["error"]
    assert group(pair, GPU) in error["where"]
    assert "chown" in error["next"]


def test_group_that_was_given_to_a_user_is_his(pair: Guest) -> None:
    file = group(pair, GPU)
    pair.shell(f"chown user {file}")
    try:
        enough = as_user(pair, f"ulimit -l unlimited; python3 {INSIDE}/copies.py {shlex.quote(ALLOWED)} 65536")
        little = as_user(pair, f"ulimit -l 64; python3 {INSIDE}/copies.py {shlex.quote(ALLOWED)} 65536")
    finally:
        pair.shell(f"chown root {file}")
    assert enough.json_lines() == [{"same_in_vram": True, "same_in_host": True}], enough.stderr.decode()
    assert b"RLIMIT_MEMLOCK" in little.stderr


def test_group_that_another_process_has_open_names_it(pair: Guest) -> None:
    pair.shell(f"sleep 100 < {group(pair, GPU)} > /dev/null 2>&1 & echo $! > /tmp/sleeper; sleep 0.2")
    try:
        done = pair.run(["gpumend", "--on", ALLOWED, "selftest", "--json"])
    finally:
        pair.shell("kill $(cat /tmp/sleeper)")
    assert done.exit_code == 3
    assert "sleep (pid" in told(done)["error"]["seen"]


def test_gpus_are_healthy_after_all_that(pair: Guest) -> None:
    assert pair.run(["gpumend", "unbind", "--yes"]).exit_code == 0
    done = pair.run(["gpumend", "probe", "--json"])
    # opening through VFIO has reset one member of the hive alone: its link to the other stays down, and nothing else is wrong
    found = [{f["code"] for f in gpu["findings"] if f["severity"] != "note"} for gpu in json.loads(done.text)["gpus"]]
    assert found == [{"amd.xgmi.link"}] * 2, done.text
    assert pair.models is not None
    assert pair.models.log_tail() == "", "the models' server had nothing to complain of"
