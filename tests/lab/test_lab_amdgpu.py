"""The stock amdgpu of the newest kernel on one GPU of each part: no module option, all IP blocks, AMD's own firmware.

Each stage asserts the kernel's own lines (docs/fidelity.md, "The stock driver in the lab"). In their order: the GPU is used
at first, so that the driver resets it before it starts; in the end our driver starts from what amdgpu left, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from lab import guest
from lab.guest import Guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab import stock
from tests.lab.conftest import FIRST_GPU, LOGS
from tests.lab.stock import TROUBLE, Log

PARTS = {"mi350x": (90500, 256), "mi300x": (90402, 304)}  # KFD's number for gfx950, gfx942; CUs
ADDRESS = "{part}?vram=16"
MEMORY_MIB = 4096
BLOCKS = ("common", "gmc", "ih", "psp", "smu", "gfx", "sdma", "ras", "vcn", "jpeg")
PARTITIONS = {"CPX": 8, "DPX": 2, "SPX": 1}


class Driven:
    """A guest with one GPU that the stock driver has taken."""

    def __init__(self, booted: Guest, part: str) -> None:
        self.guest, self.part = booted, part
        self.log = Log(booted)
        self.log.take()
        self.loaded = stock.modprobe(booted, "amdgpu")
        self.boot = self.log.take()

    def strike(self, fault: str) -> None:
        """While the driver runs."""
        assert self.guest.models
        self.guest.models.change(f"+{ADDRESS.format(part=self.part)}&fault={fault}")

    def gpumend(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = self.guest.run(["gpumend", *words, "--json"], limit_s=400)
        assert done.stdout, done.stderr.decode(errors="replace")
        return done.exit_code, json.loads(done.text)


@pytest.fixture(scope="module", params=list(PARTS))
def driven(request: pytest.FixtureRequest, lab_parts: Parts) -> Iterator[Driven]:
    part = str(request.param)
    machine = Machine(memory_mib=MEMORY_MIB, append=stock.APPEND)
    with guest.boot(lab_parts, gpus=ADDRESS.format(part=part), machine=machine, keep=LOGS / f"amdgpu-{part}") as booted:
        yield Driven(booted, part)


def test_a_all_ip_blocks_are_found_in_our_table(driven: Driven) -> None:
    found = re.findall(r"detected ip block number (\d+) <(\w+?)_v\d", driven.boot)
    assert found == [(str(place), name) for place, name in enumerate(BLOCKS)], driven.boot[-3000:]


def test_a_used_gpu_is_reset_before_it_is_started(driven: Driven) -> None:
    assert re.search(rf"{FIRST_GPU}: MODE1 reset", driven.boot), driven.boot[-3000:]
    assert "reset on init failed" not in driven.boot


def test_b_firmware_is_loaded_and_the_smu_answers_and_ras_is_ready(driven: Driven) -> None:
    for line in ("SMU is initialized successfully!", "AMDGPU RAS Is Ready.", "RAS INFO: ras initialized successfully"):
        assert line in driven.boot, driven.boot[-3000:]


def test_c_every_ring_passes_its_test(driven: Driven) -> None:
    assert driven.loaded == 0
    assert re.search(rf"\[drm\] Initialized amdgpu [\d.]+ for {FIRST_GPU} on minor 0", driven.boot), driven.boot[-3000:]
    assert re.findall(TROUBLE, driven.boot) == []
    assert "ib ring tests passed" in stock.ib_tests(driven.guest, FIRST_GPU)


def test_d_kfd_has_a_node_with_the_right_version_and_cus(driven: Driven) -> None:
    assert driven.guest.shell("test -c /dev/dri/renderD128 && test -c /dev/kfd").exit_code == 0
    (node,) = stock.topology(driven.guest)["nodes"]
    gfx, cus = PARTS[driven.part]
    assert (node["gfx"], node["simds"] // node["simds_per_cu"], node["xccs"]) == (gfx, cus, 8)
    assert node["sdma"] == 16


def test_d_the_kernel_reads_our_table_as_we_do(driven: Driven) -> None:
    _, body = driven.gpumend("discovery", "show")
    ours = sorted(
        [ip["die"], ip["hw_id"], ip["instance"], *map(int, ip["version"].split(".")), ip["bases"]]
        for ip in body["gpus"][0]["ips"]
    )
    (theirs,) = stock.topology(driven.guest)["devices"].values()
    told = sorted([die, hw, number, *version, bases] for die, hw, number, *version, _, bases in theirs)
    assert told == ours


def test_f_mode1_brings_the_gpu_back(driven: Driven) -> None:
    driven.log.take()
    stock.recover(driven.guest, FIRST_GPU)
    said = driven.log.take()
    for line in ("GPU smu mode1 reset", "VRAM is lost due to GPU reset!", "GPU reset(1) succeeded!"):
        assert line in said, said[-3000:]
    assert re.findall(TROUBLE, said) == []
    assert "ib ring tests passed" in stock.ib_tests(driven.guest, FIRST_GPU)


def test_k_mec_that_hangs_fails_the_indirect_buffers_of_its_xcc_until_mode1(driven: Driven) -> None:
    driven.log.take()
    driven.strike("mec-hang:3")
    assert "ib ring tests failed" in stock.ib_tests(driven.guest, FIRST_GPU)
    failed = re.findall(r"IB test failed on (\w+)\.[\d.]+ \(-110\)", driven.log.take())
    assert failed == ["comp_3"] * 8
    stock.recover(driven.guest, FIRST_GPU)
    assert re.search(r"GPU reset\(\d+\) succeeded!", driven.log.take())
    assert "ib ring tests passed" in stock.ib_tests(driven.guest, FIRST_GPU)


def test_k_fatal_error_is_told_with_its_bank_and_ends_in_mode1(driven: Driven) -> None:
    driven.log.take()
    driven.strike("ras-fatal")
    said = driven.log.wait_for(r"GPU reset\(\d+\) succeeded!")
    for line in (
        r"Uncorrectable hardware error\(ERREVENT_ATHUB_INTERRUPT\) detected!",
        r"\[Hardware Error\]: ACA\[01/01\]\.STATUS=0xbe20200000000000",
        r"socket: 0, die: 1, 1 new uncorrectable hardware errors detected in umc block",
        r"GPU smu mode1 reset",
    ):
        assert len(re.findall(line, said)) == 1, said[-5000:]
    assert "ib ring tests passed" in stock.ib_tests(driven.guest, FIRST_GPU)


def test_j_partitions_are_switched(driven: Driven) -> None:
    driven.log.take()
    for mode, count in PARTITIONS.items():
        path = f"/sys/bus/pci/devices/{FIRST_GPU}/current_compute_partition"
        # right after a process of KFD has gone the kernel answers that it is busy: its release is asynchronous
        done = driven.guest.shell(f"for i in $(seq 20); do echo {mode} > {path} && break; sleep 0.5; done; cat {path}")
        assert (done.exit_code, done.text.strip()) == (0, mode), driven.log.take()[-2000:]
        assert len(stock.topology(driven.guest)["nodes"]) == count
    assert re.findall(TROUBLE, driven.log.take()) == []


def test_h_unloaded_and_started_by_us_and_by_the_stock_driver_again(driven: Driven) -> None:
    driven.log.take()
    assert driven.guest.run(["modprobe", "-r", "amdgpu"], limit_s=200).exit_code == 0
    said = driven.log.take()
    assert "finishing device" in said
    assert re.findall(TROUBLE, said) == []
    driven.guest.shell("echo 0 > /proc/sys/vm/compact_unevictable_allowed")  # locked pages are to stay where they are
    code, body = driven.gpumend("selftest")
    (gpu,) = body["gpus"]
    assert code == 0, gpu
    assert (gpu["status"], gpu["start_state"]) == ("ok", "dirty"), "left by another driver"


def test_g_mode2_keeps_the_memory(driven: Driven) -> None:
    """The option chooses mode2 for amdgpu_gpu_recover; the boot before it starts from what our driver left."""
    driven.log.take()
    assert stock.modprobe(driven.guest, "amdgpu", "reset_method=3") == 0
    said = driven.log.take()
    assert f"for {FIRST_GPU} on minor 0" in said, said[-3000:]
    assert re.findall(TROUBLE, said) == []
    stock.recover(driven.guest, FIRST_GPU)
    said = driven.log.take()
    assert "GPU reset(1) succeeded!" in said, said[-3000:]
    assert "VRAM is lost" not in said
    assert "mode1" not in said
    assert re.findall(TROUBLE, said) == []
    assert "ib ring tests passed" in stock.ib_tests(driven.guest, FIRST_GPU)
