"""Dispatches on the modelled compute class: what it takes, what it refuses, what it releases."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from nvdriver import pushbuffer, qmd
from nvdriver.opengpu import NvBuffer
from nvdriver.status import ChannelDead
from tests.model.nv_rig import Rig, opened

H = pushbuffer.header


@dataclass
class Stage:
    rig: Rig
    program: NvBuffer
    constants: NvBuffer
    page: NvBuffer
    queue: NvBuffer

    def dispatch(self, data: bytes) -> None:
        self.queue.write(data)
        channel = self.rig.gpu.channel(None)
        channel.wait(channel.submit(pushbuffer.dispatch(self.queue.gpu_va)))


def staged(rig: Rig) -> Stage:
    gpu = rig.gpu
    made = Stage(rig, gpu.alloc(4096), gpu.alloc(4096), gpu.alloc(64, where="host"), gpu.alloc(4096, where="host"))
    made.page.write(bytes(64))
    return made


def launch(stage: Stage, **changes: object) -> bytes:
    values: dict[str, object] = {
        "grid": (3, 2, 1), "threads": (32, 2, 1), "constants": ((0, stage.constants.gpu_va, 4096),),
        "releases": ((stage.page.gpu_va, 5 << 33), (stage.page.gpu_va + 16, 6)), **changes,
    }  # fmt: skip
    kernel = values.pop("kernel", qmd.Kernel(stage.program.gpu_va, registers=32, shared_bytes=2048))
    return qmd.build(kernel, **values)  # type: ignore[arg-type]


def test_dispatch_is_kept_as_it_was_asked_for_and_its_semaphores_are_released() -> None:
    with opened() as rig:
        stage = staged(rig)
        stage.dispatch(launch(stage))
        (kept,) = rig.model.fifo.dispatches
        assert (kept.grid, kept.threads, kept.registers, kept.shared_bytes) == ((3, 2, 1), (32, 2, 1), 32, 2048)
        assert kept.program == stage.program.gpu_va and kept.constants == ((0, stage.constants.gpu_va, 4096),)
        (first, stamp), (second, later) = struct.iter_unpack("<QQ", stage.page.read(0, 32))
        assert (first, second) == (5 << 33, 6) and 0 < stamp <= later


def patched(data: bytes, high: int, low: int, value: int) -> bytes:
    word = int.from_bytes(data, "little") & ~(((1 << high - low + 1) - 1) << low)
    return (word | value << low).to_bytes(len(data), "little")


@pytest.mark.parametrize(
    ("change", "number", "told"),
    [
        (lambda data, stage: patched(data, 583, 580, 3), 13, "QMD of version 3.0"),
        (lambda data, stage: patched(data, 25, 23, 0), 13, "QMD type 0"),
        (lambda data, stage: patched(data, 543, 536, 0x86), 13, "SASS version 0x86"),
        (lambda data, stage: patched(data, 1167, 1152, 0), 13, "threads (0, 2, 1)"),
        (lambda data, stage: patched(data, 1103, 1088, 0), 13, "grid (3, 2, 0)"),
        (lambda data, stage: patched(data, 601, 584, 100), 13, "100 bytes of shared memory"),
        (lambda data, stage: patched(data, 671, 640, 8), 13, "semaphore at"),
        (lambda data, stage: patched(data, 1272, 1248, 0xFF), 31, "MMU Fault"),
        (lambda data, stage: patched(data, 1567, 1536, 0x40), 31, "MMU Fault"),
        (lambda data, stage: patched(data, 370, 368, 1), 13, "dependent QMD action 0"),
    ],
)
def test_dispatch_of_a_wrong_qmd_ends_the_channel(
    change: Callable[[bytes, Stage], bytes], number: int, told: str
) -> None:
    with opened() as rig:
        stage = staged(rig)
        with pytest.raises(ChannelDead) as caught:
            stage.dispatch(change(launch(stage), stage))
        assert caught.value.xid == number
        assert told in rig.files.kernel_log()


def test_dependent_dispatch_runs_after_the_first() -> None:
    with opened() as rig:
        stage = staged(rig)
        second = launch(stage, grid=(9, 9, 9), releases=())
        with rig.gpu.alloc(4096, where="host") as place:
            place.write(second)
            chained = patched(patched(launch(stage), 371, 368, 0b0011), 479, 448, place.gpu_va >> 8)
            stage.dispatch(chained)
        assert [one.grid for one in rig.model.fifo.dispatches] == [(3, 2, 1), (9, 9, 9)]


def test_data_inline_and_report_semaphores() -> None:
    with opened() as rig:
        stage, channel = staged(rig), rig.gpu.channel(None)
        at = stage.page.gpu_va
        inline = struct.pack(
            "<9I", H(1, 0x180, 4), 6, 1, at >> 32, at & 0xFFFFFFFF, H(1, 0x1B0, 1), 0x41, H(1, 0x1B4, 2) | 2 << 29, 0x64636261,
        ) + struct.pack("<I", 0xFFFF6665)  # fmt: skip
        report = struct.pack("<6I", H(1, 0x158, 5), 9, 1, (at + 16) & 0xFFFFFFFF, (at + 16) >> 32, 1 << 12)
        channel.wait(channel.submit(inline + report))
        data = stage.page.read()
        assert data[:8] == b"abcdef\0\0"
        assert struct.unpack_from("<Q", data, 16)[0] == 1 << 32 | 9
        bad = struct.pack("<II", H(1, 0x1B4, 1), 1)
        with pytest.raises(ChannelDead) as caught:
            channel.wait(channel.submit(bad))
        assert caught.value.xid == 13


def test_dispatch_on_another_generation_says_that_this_model_does_not_know_it() -> None:
    with opened("b200") as rig:
        stage = staged(rig)
        with pytest.raises(ChannelDead):
            stage.dispatch(launch(stage))
        assert "knows the QMD of Hopper only" in rig.files.kernel_log()
