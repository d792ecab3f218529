"""What the tests of recovery share: targets on models, a transport that counts writes, a GPU that somebody was killed on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amdriver.device import Device
from amdriver.gfx import AnyQueue
from amdriver.queue import AqlQueue
from amdriver.recovery import Target
from base.clock import VirtualClock
from gpumodel import open_models
from gpumodel.device import ModelGpu, ModelTransport
from gpumodel.dispatch import Code, Operation, program

TARGET_VA = 0x7F00_0000_1000  # mapped by nobody


@dataclass
class Rig:
    """A target and the model beneath it."""

    target: Target
    transport: ModelTransport
    clock: VirtualClock

    @property
    def gpu(self) -> ModelGpu:
        return self.transport.gpu

    def get(self, register: str) -> int:
        return self.gpu.registers.get(register)


@contextmanager
def rig(spec: str, **options: Any) -> Iterator[Rig]:
    clock = VirtualClock()
    (transport,) = open_models(spec, clock)
    with Target.open(transport, clock, **options) as target:
        yield Rig(target, transport, clock)


@contextmanager
def hive(spec: str) -> Iterator[tuple[list[Target], VirtualClock]]:
    clock = VirtualClock()
    targets = [Target.open(transport, clock) for transport in open_models(spec, clock)]
    try:
        yield targets, clock
    finally:
        for target in targets:
            target.close()


def model_of(target: Target) -> ModelGpu:
    transport = target.transport.inner  # type: ignore[attr-defined]
    assert isinstance(transport, ModelTransport)
    return transport.gpu


@contextmanager
def left_running(spec: str, firmware_dir: Path, *, waves: bool = False) -> Iterator[Rig]:
    """A GPU whose driver was killed with one queue at work on XCC 2: waiting for memory, or (`waves`) with endless waves."""
    clock = VirtualClock()
    (transport,) = open_models(spec, clock)
    device = Device.open(transport, clock, firmware_dirs=[firmware_dir])
    queue = device.gfx.create_queue(2, "aql") if waves else device.gfx.create_queue(2)
    start_endless(device, queue)
    assert device._owned is not None
    device._owned.release()
    with Target.open(transport, clock) as target:
        yield Rig(target, transport, clock)


def start_endless(device: Device, queue: AnyQueue) -> None:
    """Work that never ends: a PM4 queue waits for a word that nobody writes, an AQL queue runs a shader that loops."""
    if isinstance(queue, AqlQueue):
        launch(device, queue, Operation(Code.LOOP))
        return
    word = device.gmc.alloc(4096, where="host", uncached=True)
    word.write(0, bytes(4096))
    queue.wait(word, 5)
    queue.submit()
    device.clock.sleep(1e-3)


def launch(device: Device, queue: AnyQueue, *operations: Operation) -> None:
    """One workgroup of a program of the model's own on an AQL queue."""
    assert isinstance(queue, AqlQueue)
    code = device.gmc.alloc(4096)
    descriptor = struct.pack("<III4xq20xIIIH6x", 0, 0, 0, 256, 0, 0, 0, 0)
    code.write(0, descriptor.ljust(256, b"\0") + program(*operations))
    kernarg = device.gmc.alloc(4096)
    queue.dispatch(kernel_object=code.gpu_va, kernarg=kernarg, grid=(64, 1, 1), workgroup=(64, 1, 1))
    queue.submit()
    device.clock.sleep(1e-3)


class Counting:
    """Passes everything on and counts what is written, by kind; BARs that were touched, by time."""

    def __init__(self, inner: ModelTransport) -> None:
        self.inner = inner
        self.name = inner.name
        self.can = inner.can
        self.writes: list[tuple[Any, ...]] = []
        self.touched_s: list[float] = []

    def write32(self, bar: int, offset: int, value: int) -> None:
        self.writes.append(("write32", bar, offset, value))
        self.touched_s.append(self.inner.gpu.clock.now())
        self.inner.write32(bar, offset, value)

    def read32(self, bar: int, offset: int) -> int:
        self.touched_s.append(self.inner.gpu.clock.now())
        return self.inner.read32(bar, offset)

    def write64(self, bar: int, offset: int, value: int) -> None:
        self.writes.append(("write64", bar, offset, value))
        self.inner.write64(bar, offset, value)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self.writes.append(("write_block", bar, offset, data))
        self.inner.write_block(bar, offset, data)

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.writes.append(("config", offset, size, value))
        self.inner.config_write(offset, size, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
