"""What the model has for the scenarios of repro: throttling, a table lost with an unclean exit, a few real instructions."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import gpumend
from amdriver.device import Device
from base.clock import VirtualClock
from gpumodel import open_models
from gpumodel.dispatch import Dispatch, Outcome
from gpumodel.faults import THROTTLERS
from gpumodel.isa.launch import run
from gpumodel.smu_tables import THROTTLED_CLOCK
from repro.kernels import DESCRIPTOR_BYTES, UNMAPPED_VA, code_object
from tests.engine_rig import Queue, Rig, dispatch, release_mem

PROGRAM, SIGNAL = 0x40_0000, 0x5000


# ---- throttle


@pytest.mark.parametrize("reason", list(THROTTLERS))
def test_throttling_slows_copies_and_counts_its_own_reason_only(reason: str, firmware_dir: Path) -> None:
    with gpumend.open(f"model:mi350x?fault=throttle:{reason}", firmware=firmware_dir) as gpu:
        first, second = gpu.alloc(4 << 20), gpu.alloc(4 << 20)
        before = gpu.device.smu.metrics()
        times = []
        for _ in range(24):
            times.append(gpu.timed_copy(second, first))
            gpu.clock.sleep(1e-3)
        after = gpu.device.smu.metrics()
    assert min(times) / max(times) == pytest.approx(THROTTLED_CLOCK, rel=0.05)
    assert len({round(value, 6) for value in times}) == 2, "slow or fast, nothing between"
    moved = {name for name in THROTTLERS.values() if getattr(after, name) != getattr(before, name)}
    assert moved == {THROTTLERS[reason]}
    share = getattr(after, THROTTLERS[reason]) - getattr(before, THROTTLERS[reason])
    assert share / (after.AccumulationCounter - before.AccumulationCounter) == pytest.approx(0.5, abs=0.15)


def test_nothing_is_throttled_without_the_fault(firmware_dir: Path) -> None:
    with gpumend.open("model:mi300x", firmware=firmware_dir) as gpu:
        first, second = gpu.alloc(4 << 20), gpu.alloc(4 << 20)
        times = {gpu.timed_copy(second, first) for _ in range(8)}
        metrics = gpu.device.smu.metrics()
    assert len(times) == 1
    assert not any(getattr(metrics, name) for name in THROTTLERS.values())


# ---- unclean exit


@pytest.mark.parametrize(("step", "clobbered"), [("ih", False), ("psp-tmr", True), ("marks", True)])
def test_table_is_lost_once_the_ring_was_there(step: str, clobbered: bool, firmware_dir: Path) -> None:
    from repro.modules import _Gone, _Severed

    clock = VirtualClock()
    (transport,) = open_models("mi350x?fault=discovery-clobbered-after:unclean-exit", clock)
    cut = _Severed(transport)

    def begin(name: str) -> None:
        cut.severed = name == step

    with pytest.raises(_Gone):
        Device.open(cut, clock, firmware_dirs=[firmware_dir], on_step=begin)
    gpu = transport.gpu
    signature = int.from_bytes(gpu.vram.read(gpu.table_offset, 4), "little")
    assert (signature != 0x28211407) == clobbered


def test_table_stays_after_a_clean_end(firmware_dir: Path) -> None:
    clock = VirtualClock()
    (transport,) = open_models("mi350x?fault=discovery-clobbered-after:unclean-exit", clock)
    for _ in range(2):
        Device.open(transport, clock, firmware_dirs=[firmware_dir]).close()
    gpu = transport.gpu
    assert int.from_bytes(gpu.vram.read(gpu.table_offset, 4), "little") == 0x28211407


# ---- real instructions


def launched(*words: int) -> tuple[Rig, Queue]:
    rig = Rig()
    rig.memory.data.write(PROGRAM, struct.pack(f"<{len(words)}I", *words))
    queue = Queue(rig).open()
    queue.submit(*dispatch(PROGRAM), release_mem(SIGNAL, 1))
    return rig, queue


def test_program_that_ends_ends() -> None:
    rig, _ = launched(0xBF800000, 0xBF8C0F70, 0xBF810000)
    assert (rig.get(SIGNAL), rig.gpu.wrongs) == (1, [])


def test_store_reaches_memory() -> None:
    rig, _ = launched(0x7E0002FF, 0x4000, 0x7E020280, 0x7E0402AA, 0xDC708000, 0x007F0200, 0xBF810000)
    assert (rig.get(0x4000), rig.get(SIGNAL)) == (42, 1)


def test_branch_onto_itself_and_word_that_is_none_keep_their_queue() -> None:
    assert launched(0xBF82FFFF)[0].get(SIGNAL) == 0
    assert launched(0xFFFFFFFF)[0].get(SIGNAL) == 0


def test_instruction_that_is_not_modelled_stops_the_waves_and_is_recorded() -> None:
    rig, _ = launched(0xBF800000, 0xBF920002)
    assert rig.get(SIGNAL) == 0
    why = f"s_trap not interpreted: 020092bf at {PROGRAM + 4:#x} of a gfx950"
    assert rig.gpu.wrongs[0] == f"dispatch: program at {PROGRAM:#x} of XCC 0: {why}"
    assert "waves halted at an illegal instruction" in rig.gpu.wrongs[1]


class Bytes:
    """Memory of one program in whole pages; everything else faults."""

    def __init__(self, data: bytes) -> None:
        self.data = data.ljust(-(-len(data) // 4096) * 4096, b"\0")

    def read(self, address: int, size: int) -> bytes:
        if not 0 <= address <= len(self.data) - size:
            raise LookupError(hex(address))
        return self.data[address : address + size]

    def write(self, address: int, data: bytes) -> None:
        raise LookupError(hex(address))


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("infinite-loop", Outcome.RUNNING), ("illegal-instruction", Outcome.ILLEGAL), ("good", Outcome.DONE)],
)
def test_shipped_kernels_do_what_their_names_say(name: str, outcome: Outcome) -> None:
    one = Dispatch(0, 8, DESCRIPTOR_BYTES, 0, (), (1, 1, 1), (64, 1, 1), Bytes(code_object(name)))
    told: list[str] = []
    run(one, "gfx942", told.append)
    assert one.outcome is outcome
    assert len(told) == (outcome is Outcome.ILLEGAL)


def test_shipped_kernel_with_a_bad_address_writes_there() -> None:
    one = Dispatch(0, 8, DESCRIPTOR_BYTES, 0, (), (1, 1, 1), (64, 1, 1), Bytes(code_object("invalid-address")))
    with pytest.raises(LookupError, match=hex(UNMAPPED_VA)):
        run(one, "gfx942", lambda text: pytest.fail(text))
