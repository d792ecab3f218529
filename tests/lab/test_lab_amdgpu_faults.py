"""Faults of the catalogue as the stock amdgpu logs them: one guest, whose model is power-cycled from one fault into the next.

What strikes a GPU that the driver runs is in test_lab_amdgpu.py (a MEC that hangs, a fatal error) and in
test_lab_amdgpu_jobs.py (page faults)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab import stock
from tests.lab.conftest import FIRST_GPU, LOGS
from tests.lab.stock import Log

ADDRESS = "mi350x?vram=16&state=cold&fault={fault}"
FIRST = "discovery-clobbered"
# (fault, what the kernel says, its verdict); in this order: after a start that failed late the driver oopses at the next
SEEN = [
    (FIRST, r"get invalid ip discovery binary signature", -22),
    ("discovery-zeros", r"get invalid ip discovery binary signature", -22),
    ("discovery-bitflip", r"invalid ip discovery binary checksum", -22),
    # the boot firmware stopped before it wrote the table; with one that is left from before, the driver waits and waits
    (
        "bootloader-silent,discovery-zeros",
        r"socket: 0, aid: 0, fw_status: 0x31, firmware load failed at boot time",
        -22,
    ),
    ("smu-silent", r"SMC engine is not correctly up!", -5),
]


@pytest.fixture(scope="module")
def sick(lab_parts: Parts) -> Iterator[Guest]:
    machine = Machine(memory_mib=4096, append=stock.APPEND)
    with guest.boot(
        lab_parts, gpus=ADDRESS.format(fault=FIRST), machine=machine, keep=LOGS / "amdgpu-faults"
    ) as booted:
        yield booted


@pytest.mark.parametrize(("fault", "line", "code"), SEEN, ids=[fault for fault, _, _ in SEEN])
def test_k_stock_driver_says_what_is_wrong(sick: Guest, fault: str, line: str, code: int) -> None:
    log = Log(sick)
    log.take()
    if fault == FIRST:
        assert stock.modprobe(sick, "amdgpu") == 0  # the module stays, its probe of the GPU fails
    else:
        assert sick.models
        sick.models.change(ADDRESS.format(fault=fault))
        assert sick.shell(f"echo {FIRST_GPU} > /sys/bus/pci/drivers/amdgpu/bind").exit_code != 0
    said = log.take()
    assert re.search(line, said), said[-3000:]
    assert re.search(rf"{FIRST_GPU}: probe with driver amdgpu failed with error {code}", said), said[-3000:]


def test_k_mec_that_hangs_fails_a_ring_test_of_the_start(lab_parts: Parts) -> None:
    """In a guest of its own: after it the driver takes itself apart for many minutes, each flush by a KIQ a wait of its own."""
    machine, spec = Machine(memory_mib=4096, append=stock.APPEND), ADDRESS.format(fault="mec-hang:3")
    with guest.boot(lab_parts, gpus=spec, machine=machine, keep=LOGS / "amdgpu-mec-hang") as booted:
        booted.shell("modprobe amdgpu > /dev/null 2>&1 &")
        said = Log(booted).wait_for(rf"{FIRST_GPU}: amdgpu_device_ip_init failed", stock.LOAD_LIMIT_S)
    assert re.search(r"\*ERROR\* ring comp_3\.1\.0\.0 test failed \(-110\)", said), said[-3000:]
    assert re.search(rf"{FIRST_GPU}: hw_init of IP block <gfx_v9_4_3> failed -110", said), said[-3000:]
