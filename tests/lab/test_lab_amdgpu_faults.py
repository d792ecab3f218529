"""Faults of the catalogue as the stock amdgpu logs them: one guest, whose model is power-cycled from one fault into the next.

What needs minutes of the driver's own waiting (bootloader-silent: 300 s) is not here."""

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
