"""The stock amdgpu on a hive of eight: they form one hive, every node works, and all are reset and come back.

MI350X in `make test-lab`, MI300X in `make test-lab-long`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab import stock
from tests.lab.conftest import LOGS
from tests.lab.stock import TROUBLE, Log

NODES = 8
MEMORY_MIB = 8192
PARTS = ("mi350x", pytest.param("mi300x", marks=pytest.mark.long))
BDFS = [stock.bdf_of(index) for index in range(NODES)]


class Hive:
    def __init__(self, booted: Guest) -> None:
        self.guest = booted
        self.log = Log(booted)
        self.log.take()
        self.loaded = stock.modprobe(booted, "amdgpu")
        self.boot = self.log.take()

    def nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = stock.topology(self.guest)["nodes"]
        return found


@pytest.fixture(scope="module", params=PARTS)
def hive(request: pytest.FixtureRequest, lab_parts: Parts) -> Iterator[Hive]:
    machine = Machine(memory_mib=MEMORY_MIB, append=stock.APPEND)
    address, keep = f"{request.param}*{NODES}?vram=8", LOGS / f"amdgpu-hive-{request.param}"
    with guest.boot(lab_parts, gpus=address, machine=machine, keep=keep) as booted:
        yield Hive(booted)


def all_say(said: str, pattern: str) -> list[str]:
    """The GPUs that a line names."""
    return [bdf for bdf in BDFS if re.search(rf"{bdf}: {pattern}", said)]


def test_e_eight_gpus_form_one_hive_after_a_reset_of_all(hive: Hive) -> None:
    assert hive.loaded == 0
    assert all_say(hive.boot, "Pending hive reset") == BDFS, hive.boot[-3000:]
    assert all_say(hive.boot, "GPU smu mode1 reset") == BDFS
    assert [bdf for bdf in BDFS if f"for {bdf} on minor" in hive.boot] == BDFS, hive.boot[-3000:]
    assert len(set(re.findall(r"XGMI: Add node \d, hive (0x[0-9a-f]+)", hive.boot))) == 1
    assert re.findall(TROUBLE, hive.boot) == []


def test_e_every_node_is_linked_with_every_other(hive: Hive) -> None:
    nodes = hive.nodes()
    assert [node["xgmi_links"] for node in nodes] == [NODES - 1] * NODES
    assert len({node["hive"] for node in nodes}) == 1
    assert nodes[0]["hive"]


def jobs_work(hive: Hive) -> None:
    """Compute and SDMA jobs, and user queues, on the render node and the KFD node of each."""
    for program in ("drm_jobs", "kfd_queues"):
        done = hive.guest.run(
            ["env", "PYTHONPATH=/gpumend", "python3", "-m", f"tests.lab.guest.{program}"], limit_s=400
        )
        assert done.exit_code == 0, done.stderr.decode(errors="replace")
        lines = done.json_lines()
        assert {line["node"] for line in lines} == set(range(NODES))
        assert [line for line in lines if not line.get("good", line.get("data"))] == []


def test_e_jobs_run_on_every_node(hive: Hive) -> None:
    jobs_work(hive)


def test_f_a_reset_of_one_resets_the_hive_and_all_come_back(hive: Hive) -> None:
    hive.log.take()
    stock.recover(hive.guest, BDFS[3])
    said = hive.log.take()
    assert all_say(said, "GPU smu mode1 reset") == BDFS, said[-3000:]
    assert all_say(said, "VRAM is lost due to GPU reset!") == BDFS
    assert all_say(said, r"GPU reset\(1\) succeeded!") == BDFS, said[-3000:]
    assert re.findall(TROUBLE, said) == []
    jobs_work(hive)
