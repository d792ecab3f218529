"""One MI350X on the real PCI bus of Linux: the command line through sysfs, as root and as an ordinary user."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from base.clock import VirtualClock
from gpumodel import open_models
from lab.guest import Done, Guest
from tests.lab.conftest import FIRST_GPU as GPU
from tests.lab.conftest import INSIDE

COMPACTION = "/proc/sys/vm/compact_unevictable_allowed"


def as_user(guest: Guest, *words: str) -> Done:
    """As uid 1000, with nothing but what everybody may."""
    return guest.run(["su", "user", "-c", shlex.join(words)])


def told(done: Done) -> dict[str, Any]:
    """The one JSON document that a command printed."""
    document: dict[str, Any] = json.loads(done.text)
    return document


def codes(document: dict[str, Any]) -> set[str]:
    (gpu,) = document["gpus"]
    return {finding["code"] for finding in gpu["findings"]}


# --- as root


def test_pci_bus_of_the_guest_shows_the_gpu(one_mi350x: Guest) -> None:
    assert f"{GPU} 1200: 1002:75a0" in one_mi350x.run(["lspci", "-D", "-n"]).text


def test_list_in_the_guest_finds_the_gpu(one_mi350x: Guest) -> None:
    done = one_mi350x.run(["gpumend", "list", "--json"])
    assert done.exit_code == 0
    (gpu,) = told(done)["gpus"]
    assert (gpu["bdf"], gpu["part"], gpu["arch"]) == (GPU, "MI350X", "gfx950")


def test_probe_in_the_guest_finds_the_gpu_healthy_and_leaves_it_as_it_was(one_mi350x: Guest) -> None:
    config = ["od", "-A", "x", "-t", "x1", f"/sys/bus/pci/devices/{GPU}/config"]
    before = one_mi350x.run(config).stdout
    done = one_mi350x.run(["gpumend", "probe", "--json"])
    (gpu,) = told(done)["gpus"]
    assert (gpu["health"], gpu["action"]) == ("healthy", "none"), gpu["findings"]
    assert done.exit_code == 0
    assert one_mi350x.run(config).stdout == before


def test_discovery_table_comes_out_of_the_guest_to_the_byte(one_mi350x: Guest) -> None:
    kept = one_mi350x.run(["gpumend", "discovery", "save", "--json"])
    assert kept.exit_code == 0, kept.text
    (path,) = one_mi350x.shell("find /root/.local/share/gpumend -type f -name '*.bin'").text.split()
    blob = one_mi350x.read(path)
    (model,) = open_models("mi350x", VirtualClock())
    assert blob == model.gpu.vram.read(model.gpu.table_offset, len(blob))
    assert one_mi350x.run(["gpumend", "discovery", "validate", path]).exit_code == 0


def test_registers_by_name_are_what_the_model_has(one_mi350x: Guest) -> None:
    done = one_mi350x.run(["gpumend", "regs", "read", "GRBM_STATUS", "MP0_SMN_C2PMSG_81", "--json"])
    assert done.exit_code == 0
    (gpu,) = told(done)["gpus"]
    (model,) = open_models("mi350x", VirtualClock())
    read = {item["name"]: item["value"] for item in gpu["registers"]}
    assert len(read) == 12  # of each XCC, of the PSP of each AID
    known = {name for name in read if name in model.gpu.registers.layout}
    assert len(known) == 9
    assert {name: read[name] for name in known} == {name: model.gpu.registers.get(name) for name in known}


# --- as a user


def test_user_without_privilege_sees_the_gpu_and_is_told_what_is_missing(one_mi350x: Guest) -> None:
    assert as_user(one_mi350x, "gpumend", "list").exit_code == 0
    done = as_user(one_mi350x, "gpumend", "probe", "--json")
    document = told(done)
    assert done.exit_code == 2
    assert document["gpus"][0]["health"] == "unknown"
    assert {"pci.config.hidden", "pci.mmap-refused", "probe.unanswered"} <= codes(document)


@pytest.mark.parametrize(
    "words", [("regs", "read", "GRBM_STATUS"), ("discovery", "show"), ("selftest",)], ids=lambda words: words[0]
)
def test_user_without_privilege_is_refused_with_77(one_mi350x: Guest, words: tuple[str, ...]) -> None:
    done = as_user(one_mi350x, "gpumend", *words)
    assert done.exit_code == 77, done.text
    assert "run as root" in done.text + done.stderr.decode()


def test_user_who_may_open_the_registers_reads_them(one_mi350x: Guest) -> None:
    """What a udev rule would do; config space stays hidden, and that is said."""
    folder = f"/sys/bus/pci/devices/{GPU}"
    one_mi350x.shell(f"chown user {folder}/resource0 {folder}/resource2 {folder}/resource5")
    try:
        done = as_user(one_mi350x, "gpumend", "probe", "--json")
    finally:
        one_mi350x.shell(f"chown root {folder}/resource0 {folder}/resource2 {folder}/resource5")
    document = told(done)
    assert done.exit_code == 2
    assert "pci.config.hidden" in codes(document)
    assert "pci.mmap-refused" not in codes(document)


# --- what needs DMA


def test_selftest_without_memory_that_stays_is_refused(one_mi350x: Guest) -> None:
    assert one_mi350x.read(COMPACTION).strip() == b"1", "Linux moves locked pages by default"
    done = one_mi350x.run(["gpumend", "selftest", "--json"])
    assert done.exit_code == 3
    (gpu,) = told(done)["gpus"]
    assert "compact_unevictable_allowed" in gpu["error"]["seen"] + gpu["error"]["next"]


def test_selftest_in_the_guest_passes(one_mi350x: Guest) -> None:
    one_mi350x.shell(f"echo 0 > {COMPACTION}")
    done = one_mi350x.run(["gpumend", "selftest", "--engine", "0,15", "--json"])
    (gpu,) = told(done)["gpus"]
    checks = {(check["name"], check["engine"]): check["status"] for check in gpu["checks"]}
    assert done.exit_code == 0, gpu
    assert {status for (name, _), status in checks.items() if name != "peers"} == {"ok"}
    assert {engine for name, engine in checks if name == "compute"} == {f"XCC{number}" for number in range(8)}
    assert ("memory", "SDMA0") in checks
    assert one_mi350x.read(f"/sys/bus/pci/devices/{GPU}/enable").strip() == b"0"


@pytest.mark.parametrize("huge_pages", [0, 8])
def test_dma_reaches_locked_memory_of_the_process(one_mi350x: Guest, huge_pages: int) -> None:
    """By small pages wherever they lie, and by huge ones."""
    one_mi350x.shell(f"echo 0 > {COMPACTION}; echo {huge_pages} > /proc/sys/vm/nr_hugepages")
    done = one_mi350x.run(["python3", f"{INSIDE}/copies.py", GPU, str(3 << 20)])
    one_mi350x.shell("echo 0 > /proc/sys/vm/nr_hugepages")
    assert done.json_lines() == [{"same_in_vram": True, "same_in_host": True}], done.stderr.decode()


def test_gpu_is_healthy_after_all_that(one_mi350x: Guest) -> None:
    assert one_mi350x.run(["gpumend", "probe"]).exit_code == 0
    assert one_mi350x.models is not None
    assert one_mi350x.models.log_tail() == "", "the models' server had nothing to complain of"
