"""The stock amdgpu of Debian's kernel 6.12 on an MI300X: an older driver, which wants a VBIOS (`?vbios=on`).

It does not know GC 9.5.0: an MI350X ends right after the discovery table, whatever a device does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from base.errors import Unavailable
from lab import guest, parts
from lab.guest import Guest
from lab.parts import Parts
from lab.qemu import Machine
from tests.lab import stock
from tests.lab.conftest import FIRST_GPU, LOGS
from tests.lab.stock import TROUBLE, Log

# The EEPROM with the product's name (FRU) is not modelled; this driver calls that an error.
NO_FRU = "Couldn't read the IPMI Common Header"


class Driven:
    def __init__(self, booted: Guest) -> None:
        self.guest, self.log = booted, Log(booted)
        self.log.take()
        self.loaded = stock.modprobe(booted, "amdgpu")
        self.boot = self.log.take()

    def trouble(self, said: str) -> list[str]:
        return [line for line in said.splitlines() if re.search(TROUBLE, line) and NO_FRU not in line]


@pytest.fixture(scope="module")
def driven(lab_parts: Parts) -> Iterator[Driven]:
    try:
        older = parts.ready("6.12")
    except Unavailable as error:
        pytest.skip(f"no kernel 6.12 here: {error}".replace("\n", ";"))
    machine = Machine(memory_mib=4096, append=stock.APPEND)
    with guest.boot(older, gpus="mi300x?vram=16&vbios=on", machine=machine, keep=LOGS / "amdgpu-612") as booted:
        yield Driven(booted)


def test_a_driver_reads_the_vbios_and_starts_the_smu(driven: Driven) -> None:
    assert "Fetched VBIOS from ROM BAR" in driven.boot, driven.boot[-3000:]
    assert "ATOM BIOS: MODEL-MI300X" in driven.boot
    assert "SMU is initialized successfully!" in driven.boot


def test_c_it_comes_up_and_every_ring_passes_its_test(driven: Driven) -> None:
    assert driven.loaded == 0
    assert re.search(rf"\[drm\] Initialized amdgpu [\d.]+ for {FIRST_GPU} on minor 0", driven.boot), driven.boot[-3000:]
    assert driven.trouble(driven.boot) == []
    assert "ib ring tests passed" in stock.ib_tests(driven.guest, FIRST_GPU)
    (node,) = stock.topology(driven.guest)["nodes"]
    assert (node["gfx"], node["simds"] // node["simds_per_cu"], node["xccs"]) == (90402, 304, 8)


def test_f_mode1_brings_the_gpu_back_through_the_vbios(driven: Driven) -> None:
    """After it this driver runs asic_init of the VBIOS."""
    driven.log.take()
    stock.recover(driven.guest, FIRST_GPU)
    said = driven.log.take()
    for line in ("GPU smu mode1 reset", "VRAM is lost due to GPU reset!", "GPU reset(1) succeeded!"):
        assert line in said, said[-3000:]
    assert driven.trouble(said) == []


@pytest.mark.parametrize(("program", "good"), [("drm_jobs", ("done", "fence", "data")), ("kfd_queues", ("good",))])
def test_i_jobs_of_programs_run(driven: Driven, program: str, good: tuple[str, ...]) -> None:
    command = ["env", "PYTHONPATH=/gpumend", "python3", "-m", f"tests.lab.guest.{program}"]
    done = driven.guest.run(command, limit_s=stock.LOAD_LIMIT_S)
    assert done.exit_code == 0, done.stderr.decode(errors="replace")
    lines = done.json_lines()
    assert lines and [line for line in lines if not all(line[word] for word in good)] == []


def test_h_it_is_unloaded(driven: Driven) -> None:
    driven.log.take()
    assert driven.guest.run(["modprobe", "-r", "amdgpu"], limit_s=stock.RESET_LIMIT_S).exit_code == 0
    assert "finishing device" in driven.log.take()
