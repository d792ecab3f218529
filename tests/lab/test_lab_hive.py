"""A hive of eight MI350X, some of them sick, behind a real Linux kernel: verdicts, the kernel's own resets, the self-test.

The tests follow each other in one guest: what one of them cures is well in the next. Which state survives which reset:
hardware/amd-resets.md section 8."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from tests.lab.conftest import INSIDE, LOGS

SICK = "discovery-clobbered@1,smu-silent@2,bootloader-silent@3,mec-hang:2@4,lost-during:smu@7"
SIGNATURE = "0x28211407"
SYS = "/sys/bus/pci"
BDFS = [f"0000:{bus:02x}:00.0" for bus in range(1, 9)]
ALONE = {"amd.xgmi.link"}  # a member that was reset without the others: its links stay down
PATIENCE_S = "200"  # for a probe of eight where the machine has other things to do
# all that a selftest asks but the long copies
SHORT = ("--skip", "memory", "--engine", "0")


@pytest.fixture(scope="module")
def hive(lab_parts: Parts) -> Iterator[Guest]:
    with guest.boot(lab_parts, gpus=f"mi350x*8?fault={SICK}", keep=LOGS / "hive") as booted:
        booted.shell("echo 0 > /proc/sys/vm/compact_unevictable_allowed")
        yield booted


def probed(hive: Guest, *selection: str) -> list[dict[str, Any]]:
    done = hive.run(["gpumend", *selection, "probe", "--json"], env={"GPUMEND_PROBE_TIMEOUT": PATIENCE_S})
    gpus: list[dict[str, Any]] = json.loads(done.text)["gpus"]
    return gpus


def codes(gpu: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in gpu["findings"] if finding["severity"] != "note"}


def state(hive: Guest, index: int, *words: str) -> dict[str, Any]:
    (answer,) = hive.run(["python3", f"{INSIDE}/state.py", BDFS[index], *words]).json_lines()
    assert isinstance(answer, dict)
    return answer


def reset(hive: Guest, index: int, method: str) -> None:
    """By the kernel, as `echo 1 > reset` does it."""
    folder = f"{SYS}/devices/{BDFS[index]}"
    done = hive.shell(f"echo {method} > {folder}/reset_method && echo 1 > {folder}/reset")
    assert done.exit_code == 0, done.stderr


def remove_and_rescan(hive: Guest, index: int) -> None:
    done = hive.shell(f"echo 1 > {SYS}/devices/{BDFS[index]}/remove; echo 1 > {SYS}/rescan; ls {SYS}/devices")
    assert BDFS[index] in done.text


def test_every_gpu_of_a_sick_hive_gets_its_verdict(hive: Guest) -> None:
    gpus = probed(hive)
    assert [gpu["bdf"] for gpu in gpus] == BDFS
    told = [(gpu["health"], gpu["action"], codes(gpu)) for gpu in gpus]
    well: tuple[str, str, set[str]] = ("healthy", "none", set())
    assert told == [
        well,
        ("hung", "hive-reset", {"amd.discovery.signature"}),
        ("hung", "bus-reset", {"amd.smu.silent"}),
        ("hung", "bus-reset", {"amd.psp.bootloader"}),
        ("hung", "queue-reset", {"amd.gfx.mec"}),
        well,
        well,
        well,
    ]


def test_kernel_offers_both_resets(hive: Guest) -> None:
    assert {hive.read(f"{SYS}/devices/{bdf}/reset_method").split()[0] for bdf in BDFS} == {b"flr"}
    assert b"bus" in hive.read(f"{SYS}/devices/{BDFS[0]}/reset_method")


@pytest.mark.parametrize(("index", "method"), [(5, "flr"), (6, "bus")])
def test_reset_by_the_kernel_destroys_and_keeps_what_it_does_on_hardware(hive: Guest, index: int, method: str) -> None:
    before = state(hive, index, "plant")
    assert before["vram"] and before["scratch"] and before["driver_scratch"] and before["sos"]
    reset(hive, index, method)
    after = state(hive, index)
    assert after["bars"] == before["bars"], "the PCI core restores config space"
    assert after["command_found"] == before["command_found"] & ~2 | after["command_found"] & 2
    assert not (after["vram"] or after["scratch"] or after["driver_scratch"])
    assert after["discovery"] == SIGNATURE, "boot firmware writes it again"
    assert not after["sos"]
    assert after["bootloader_ready"]
    assert after["smu"] == 1
    assert after["memory_bytes"] == 288 << 30


def test_removing_and_rescanning_keeps_all_that_is_in_the_device(hive: Guest) -> None:
    before = state(hive, 0, "plant")
    remove_and_rescan(hive, 0)
    after = state(hive, 0)
    kept = ("vram", "scratch", "driver_scratch", "discovery", "sos", "smu", "memory_bytes")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert before["vram"] and before["sos"]


@pytest.mark.parametrize(
    ("index", "methods", "code"),
    [
        (1, ("flr",), "amd.discovery.signature"),
        (2, ("flr",), "amd.smu.silent"),
        (3, ("flr", "bus"), "amd.psp.bootloader"),
        (4, ("bus",), "amd.gfx.mec"),
    ],
    ids=["discovery-clobbered", "smu-silent", "bootloader-silent", "mec-hang"],
)
def test_reset_by_the_kernel_cures_what_it_cures_and_nothing_else(
    hive: Guest, index: int, methods: tuple[str, ...], code: str
) -> None:
    *useless, last = methods
    for method in useless:
        reset(hive, index, method)
        assert code in codes(probed(hive, "-g", str(index))[0])
    reset(hive, index, last)
    (gpu,) = probed(hive, "-g", str(index))
    assert (gpu["health"], codes(gpu)) == ("degraded", ALONE), gpu["findings"]


def test_gpu_that_leaves_the_bus_in_the_middle_of_work_does_not_take_the_others_along(hive: Guest) -> None:
    done = hive.run(["gpumend", "-g", "0,7", "selftest", *SHORT, "--json"])
    well, lost = json.loads(done.text)["gpus"]
    assert (lost["bdf"], lost["error"]["kind"]) == (BDFS[7], "DeviceLost"), lost
    assert {check["status"] for check in well["checks"] if check["name"] != "peers"} <= {"ok", "skipped"}, well
    assert done.exit_code == 69
    (gpu,) = probed(hive, "-g", "7")
    assert (gpu["health"], gpu["action"]) == ("lost", "bus-reset")


def test_lost_gpu_comes_back_by_bus_reset_and_rescan(hive: Guest) -> None:
    """What Linux saved of a function that did not answer is worth nothing: only the rescan gives it BARs again."""
    reset(hive, 7, "bus")
    remove_and_rescan(hive, 7)
    (gpu,) = probed(hive, "-g", "7")
    assert (gpu["health"], codes(gpu)) == ("degraded", ALONE), gpu["findings"]


def test_hive_whose_members_are_reset_together_is_whole_again(hive: Guest) -> None:
    done = hive.run(["python3", f"{INSIDE}/reset_together.py", "flr", *BDFS])
    assert done.exit_code == 0, done.stderr.decode()
    gpus = probed(hive)
    assert [(gpu["health"], codes(gpu)) for gpu in gpus] == [("healthy", set())] * 8


def test_gpu_that_is_removed_under_its_driver_is_told_as_lost_and_starts_again(hive: Guest) -> None:
    """Linux leaves the maps of a removed function in place; they are not used any more."""
    done = hive.run(["python3", f"{INSIDE}/removed.py", BDFS[6]])
    assert done.json_lines() == [{"error": "DeviceLost", "seen": "removed"}], done.stderr.decode()
    hive.shell(f"echo 1 > {SYS}/rescan")
    done = hive.run(["python3", f"{INSIDE}/copies.py", BDFS[6], "65536"])
    assert done.json_lines() == [{"same_in_vram": True, "same_in_host": True}], done.stderr.decode()


def test_gpus_of_the_hive_boot_and_pass_the_selftest(hive: Guest) -> None:
    """Two that were sick; all eight, and all of the test: test_lab_long.py."""
    done = hive.run(["gpumend", "-g", "1", "-g", "7", "selftest", *SHORT, "--json"])
    gpus = json.loads(done.text)["gpus"]
    told = [(gpu["bdf"], gpu["status"], gpu["error"]) for gpu in gpus]
    assert told == [(BDFS[index], "ok", None) for index in (1, 7)]
    for gpu in gpus:
        assert {check["status"] for check in gpu["checks"] if check["name"] != "memory"} == {"ok"}
        assert {"boot", "sdma", "compute", "interrupts", "peers", "close"} <= {check["name"] for check in gpu["checks"]}
    assert done.exit_code == 0


def test_gpus_are_healthy_after_all_that(hive: Guest) -> None:
    assert {gpu["health"] for gpu in probed(hive)} == {"healthy"}
    assert hive.models is not None
    assert hive.models.log_tail() == "", "the models' server had nothing to complain of"
