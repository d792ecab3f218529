"""What takes minutes in an emulated machine: `make test-lab-long`."""

from __future__ import annotations

import json

import pytest

from lab import guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab import stock
from tests.lab.conftest import LOGS

LIFE_S = 2 * 3600.0

pytestmark = pytest.mark.long


def test_eight_gpus_pass_the_whole_selftest(lab_parts: Parts) -> None:
    with guest.boot(lab_parts, gpus="mi350x*8", life_s=LIFE_S, keep=LOGS / "long-hive") as hive:
        hive.shell("echo 0 > /proc/sys/vm/compact_unevictable_allowed")
        done = hive.run(["gpumend", "selftest", "--json"], limit_s=LIFE_S / 2)
        gpus = json.loads(done.text)["gpus"]
        assert [(gpu["status"], gpu["error"]) for gpu in gpus] == [("ok", None)] * 8
        assert done.exit_code == 0


def test_stock_driver_does_not_come_back_after_the_sixth_reset(lab_parts: Parts) -> None:
    """The case of the vendor report: the exported script brings the GPU down with the stock driver; the kernel's log says so.

    The first of the six is the driver's own, before it starts a used GPU. Its wait for the bootloader would take hours here."""
    address = "mi350x?vram=16&fault=reset-wears-out:6"
    machine = Machine(memory_mib=4096, append=stock.APPEND)
    with guest.boot(lab_parts, gpus=address, machine=machine, life_s=LIFE_S, keep=LOGS / "long-repro") as booted:
        booted.shell("test -d /sys/kernel/debug/dri || mount -t debugfs none /sys/kernel/debug")
        assert stock.modprobe(booted, "amdgpu") == 0
        assert booted.run(["gpumend", "repro", "export", "hive-reset-loop", "-o", "/tmp/f.py"]).exit_code == 0
        done = booted.shell(
            "cd /tmp; env -i /usr/bin/python3 -I f.py --count 50 --limit 500 --yes -o out 2>&1", limit_s=LIFE_S / 2
        )
        assert done.exit_code == 1, done.text
        assert "iteration 5 of 50: pass" in done.text
        assert "iteration 6 of 50: REPRODUCED" in done.text
        assert "did not come back within 500 s" in done.text
        assert "Waiting for bootloader completion" in booted.shell("cat /tmp/out/kernel.log").text
