"""tinygrad on our driver inside the guest: through sysfs, memory of the guest's own process, two GPUs of a hive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab import stock
from tests.lab.conftest import INSIDE, LOGS
from tests.lab.peer import compiled, packed

COMPACTION = "/proc/sys/vm/compact_unevictable_allowed"
LIMIT_S = 500.0
PATIENCE = "HCQDEV_WAIT_TIMEOUT_MS=200000"  # of tinygrad, for a guest that has little of the machine
FAULT = 0x7F00_0000_1000
SMALL = {"amd.discovery.memsize"}  # of a model with less memory than the part has
ARCHITECTURES = {"mi300x": "gfx942", "mi350x": "gfx950"}


@pytest.mark.parametrize("part", ARCHITECTURES)
def test_tinygrad_in_the_guest_copies_exchanges_recovers_and_leaves_the_gpus_well(part: str, lab_parts: Parts) -> None:
    archive = packed()
    machine = Machine(memory_mib=4096)
    with guest.boot(lab_parts, gpus=f"{part}*2?vram=16", machine=machine, keep=LOGS / f"tinygrad-{part}") as booted:
        booted.write("/root/tinygrad.tgz", archive)
        booted.shell("mkdir /root/peer && tar -xzf /root/tinygrad.tgz -C /root/peer")
        booted.shell(f"echo 0 > {COMPACTION}")
        done = booted.run(["python3", f"{INSIDE}/tensors.py", "/root/peer"], limit_s=LIMIT_S)
        assert done.exit_code == 0, done.text + done.stderr.decode(errors="replace")
        (told,) = done.json_lines()
        after = [booted.run(["gpumend", "-g", str(index), "probe", "--json"]) for index in (0, 1)]
        findings = [json.loads(one.text)["gpus"][0]["findings"] for one in after]
    assert told == {
        "arch": ARCHITECTURES[part],
        "names": ["0000:01:00.0", "0000:02:00.0"],
        "moved": True,
        "graph": True,
        "fault": FAULT & ~0xFFF,
        "level": "queue",
        "counted": 6,
        "stamps": True,
        "still": True,
    }
    worse = [{one["code"] for one in found if one["severity"] != "note"} for found in findings]
    assert worse == [SMALL, SMALL]


def test_compiled_kernels_of_unmodified_tinygrad_run_through_kfd(
    lab_parts: Parts, firmware_dir: Path, tmp_path: Path
) -> None:
    """Nothing of ours but the model: the kernels are LLVM's, the queues tinygrad's, the driver is the stock one."""
    kernels = tmp_path / "kernels.json"
    wanted = compiled("mi350x", firmware_dir, kernels)
    machine = Machine(memory_mib=4096, append=stock.APPEND)
    with guest.boot(lab_parts, gpus="mi350x?vram=16", machine=machine, keep=LOGS / "tinygrad-kfd") as booted:
        assert stock.modprobe(booted, "amdgpu") == 0
        booted.write("/root/tinygrad.tgz", packed())
        booted.write("/root/kernels.json", kernels.read_bytes())
        booted.shell("mkdir /root/peer && tar -xzf /root/tinygrad.tgz -C /root/peer")
        command = ["python3", f"{INSIDE}/compiled.py", "/root/peer", "/root/kernels.json"]
        done = booted.run(["env", "DEV=KFD+AMD:LLVM", "CCACHE=0", "PARALLEL=0", PATIENCE, *command], limit_s=LIMIT_S)
        assert done.exit_code == 0, done.stderr.decode(errors="replace")
        assert done.json_lines() == [wanted]
    assert wanted["added"] == [2.0, 3.0]
    assert wanted["summed"] == sum(range(300))
