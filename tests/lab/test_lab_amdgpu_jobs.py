"""The stock amdgpu hands jobs of user programs to our models: DRM submissions and KFD user queues, on every GPU of a hive;
jobs and queues that hang are found by the driver and reset, and later ones run. The programs are in tests/lab/guest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab.conftest import LOGS

GPUS = 2  # a hive
MEMORY_MIB = 4096
LOAD_LIMIT_S = 400
PROGRAM_LIMIT_S = 240
MARK = "gpumend-test"
TROUBLE = re.compile(r".*(?:timeout|fault|reset|fail|WARNING|BUG|wedged).*", re.IGNORECASE)
PARTS = ("mi350x", pytest.param("mi300x", marks=pytest.mark.long))
ADDRESS = "{part}*{count}?vram=16"  # small, for the guest's memory
BDFS = [f"0000:{bus:02x}:00.0" for bus in range(1, GPUS + 1)]
DRM_RINGS = {"compute": 4, "sdma": 2}
SDMA_QUEUES = ("sdma", "sdma-xgmi", "sdma-last")


class Driven:
    """A guest in which the stock driver runs the models."""

    def __init__(self, booted: Guest, part: str) -> None:
        self.guest, self.part = booted, part

    def program(self, *words: str) -> tuple[list[dict[str, Any]], str]:
        """What a program of tests/lab/guest printed, and what the kernel said meanwhile."""
        module, *rest = words
        self.guest.shell(f"echo {MARK} > /dev/kmsg")
        command = ["python3", "-m", f"tests.lab.guest.{module}", *rest]
        done = self.guest.run(["env", "PYTHONPATH=/gpumend", *command], limit_s=PROGRAM_LIMIT_S)
        said = self.guest.shell("dmesg").text.rpartition(MARK)[2]
        assert done.exit_code == 0, f"{done.stderr.decode(errors='replace')}\n{done.text}\n{said}"
        return done.json_lines(), said


@pytest.fixture(scope="module", params=PARTS)
def driven(request: pytest.FixtureRequest, lab_parts: Parts) -> Iterator[Driven]:
    part = str(request.param)
    machine = Machine(memory_mib=MEMORY_MIB, append="log_buf_len=16M")
    address = ADDRESS.format(part=part, count=GPUS)
    with guest.boot(lab_parts, gpus=address, machine=machine, keep=LOGS / f"jobs-{part}") as booted:
        loaded = booted.run(["modprobe", "amdgpu"], limit_s=LOAD_LIMIT_S)
        said = booted.shell("dmesg").text
        assert loaded.exit_code == 0, said[-4000:]
        for bdf in BDFS:
            assert re.search(rf"\[drm\] Initialized amdgpu [\d.]+ for {bdf} on minor", said), said[-4000:]
        yield Driven(booted, part)


def check_drm_jobs(driven: Driven) -> None:
    lines, said = driven.program("drm_jobs")
    asked = {
        (node, engine, ring, where)
        for node in range(GPUS)
        for engine, rings in DRM_RINGS.items()
        for ring in range(rings)
        for where in ("gtt", "vram")
    }
    assert {(line["node"], line["engine"], line["ring"], line["where"]) for line in lines} == asked
    assert [line for line in lines if not (line["done"] and line["fence"] and line["data"])] == []
    assert len({line["render"] for line in lines}) == GPUS
    assert TROUBLE.findall(said) == []


def test_drm_jobs_of_every_gpu_leave_their_data_and_fences(driven: Driven) -> None:
    check_drm_jobs(driven)


def test_kfd_queues_of_every_gpu_work_with_events_and_come_back_after_each_run_list(driven: Driven) -> None:
    lines, said = driven.program("kfd_queues")
    assert [line for line in lines if not line["good"]] == []
    count: dict[tuple[int, str, str], int] = {}
    for line in lines:
        key = (line["node"], line["queue"], line["what"])
        count[key] = count.get(key, 0) + 1
    wanted: dict[tuple[int, str, str], int] = {}
    for node in range(GPUS):
        wanted |= {(node, "aql", "pm4"): 2, (node, "aql", "dispatch"): 1, (node, "aql", "round"): 2}
        wanted |= {(node, queue, "copy"): 3 for queue in SDMA_QUEUES}
        wanted[node, "sdma-xgmi", "copy to the neighbour"] = 3
        wanted |= {(node, queue, "destroy"): 1 for queue in ("aql", *SDMA_QUEUES)}
    assert count == wanted
    assert TROUBLE.findall(said) == []


@pytest.mark.parametrize(("engine", "ring"), [("compute", r"comp_0\.1\.\d\.\d"), ("sdma", r"sdma\d\.\d")])
def test_hanging_job_ends_in_a_reset_of_its_ring_and_later_jobs_run(driven: Driven, engine: str, ring: str) -> None:
    lines, said = driven.program("hang_jobs", engine)
    assert [line["node"] for line in lines] == list(range(GPUS))
    for line in lines:
        assert line["ended_s"] is not None
        assert line["error"]  # the fence tells that the job was not done
        assert (line["reset"], line["vram_lost"]) == (True, False), line
        assert (line["neighbour"], line["later"]) == (True, 4), line
    for bdf in BDFS:
        assert re.search(rf"{bdf}: ring {ring} timeout, signaled seq=\d+, emitted seq=\d+", said), said
        assert re.search(rf"{bdf}: Dumping IP State Completed", said), said
        assert re.search(rf"{bdf}: Starting {ring} ring reset", said), said
        assert len(re.findall(rf"{bdf}: Ring {ring} reset succeeded", said)) == 1, said  # the first one helped
    assert "GPU reset begin" not in said  # nothing more was needed


@pytest.mark.parametrize(
    ("what", "gpus", "hub", "client", "helps"),
    [
        ("compute", [0], "gfxhub0", r"CPC \(0x5\)", r"Ring comp_0\.1\.\d\.\d reset succeeded"),
        # the driver has names of this hub's clients for mi300x only
        ("sdma", [1], "mmhub0", r"(?:unknown|SDMA\d) \(0x10[0-3]\)", r"Ring sdma\d\.\d reset succeeded"),
        ("wave", [0, 1], "gfxhub0", r"TCP \(0x8\)", r"Queues reset on process python3"),
    ],
)
def test_k_page_fault_is_decoded_and_others_go_on(
    driven: Driven, what: str, gpus: list[int], hub: str, client: str, helps: str
) -> None:
    """Not on every GPU where the driver dumps its state."""
    lines, said = driven.program("fault_jobs", what, *map(str, gpus))
    assert [line["node"] for line in lines] == gpus
    for line in lines:
        bdf = BDFS[line["node"]]
        assert (line["told"], line["later"]) == (True, True), line
        assert re.search(rf"{bdf}: \[{hub}\] no-retry page fault \(src_id:0 ring:\d+ vmid:\d+ pasid:\d+\)", said), said
        assert re.search(rf"{bdf}:  Process python3 pid \d+", said), said
        assert f"{bdf}:   in page starting at address {line['address']:#018x} from IH client" in said, said
        assert re.search(rf"{bdf}: \t Faulty UTCL2 client ID: {client}", said), said
        assert re.search(rf"{bdf}: {helps}", said), said
    assert "GPU reset begin" not in said


@pytest.mark.parametrize("kind", ["compute", "sdma"])
def test_hanging_user_queue_is_reset_alone_and_others_work(driven: Driven, kind: str) -> None:
    lines, said = driven.program("kfd_hang", kind)
    assert [line["node"] for line in lines] == list(range(GPUS))
    for line in lines:
        assert all(line[what] for what in ("began", "reset_event", "older", "newer", "destroyed")), line
    for bdf in BDFS:
        gave_up = re.search(rf"{bdf}: XCC \d: Queue preemption failed for queue with doorbell_id", said)
        assert bool(gave_up) == (kind == "compute"), said  # copy engines are looked at without a word
        assert re.search(rf"{bdf}: queue id 0x\w+ at pasid \d+ is reset", said), said
        assert re.search(rf"{bdf}: Queues reset on process python3", said), said
    assert "GPU reset begin" not in said


def test_drm_jobs_run_on_all_rings_after_the_resets(driven: Driven) -> None:
    check_drm_jobs(driven)
