"""What the tests of our tinygrad backend share: an installed session on models in this process, kernels, work for queues."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

import gpumend
import runtime.tinygrad as backend
from gpumodel.device import ModelGpu, ModelTransport
from gpumodel.dispatch import FROM_KERNARG, FROM_KERNARG_B, Code, Operation
from tests.peer.model_elf import kernel

UNMAPPED = 0x7F00_0000_1000  # by nobody: it lies in the last slot of addresses


def require_tinygrad() -> None:
    """Skip, saying why, where tinygrad is not installed or another version."""
    try:
        backend.require_version()
    except gpumend.GpumendError as error:
        pytest.skip(f"{error.seen}; {error.next_step}: make test-peer", allow_module_level=True)


class Rig:
    """tinygrad with our backend, and the models beneath."""

    def __init__(self, session: backend.Session) -> None:
        self.session = session

    def device(self, index: int = 0) -> Any:
        from tinygrad import Device

        return Device["AMD" if index == 0 else f"AMD:{index}"]

    def model(self, index: int = 0) -> ModelGpu:
        return cast(ModelTransport, self.session.found()[index].transport).gpu

    def program(self, device: Any, *operations: Operation, arguments: int = 1, private_bytes: int = 0) -> Any:
        from tinygrad.device import TinyELF
        from tinygrad.helpers import Target

        lib = kernel(*operations, arguments=arguments, private_bytes=private_bytes)
        return device.runtime(TinyELF(lib=lib, name="model", target=Target(), signature=()))

    def filled(self, device: Any, data: bytes) -> Any:
        buffer = device.allocator.alloc(len(data))
        device.allocator._copyin(buffer, memoryview(bytearray(data)))
        return buffer

    def content(self, device: Any, buffer: Any, size: int) -> bytes:
        out = bytearray(size)
        device.allocator._copyout(memoryview(out), buffer)
        return bytes(out)


@contextmanager
def installed(spec: str, firmware_dir: Path | None, **options: Any) -> Iterator[Rig]:
    session = backend.install(spec, firmware=firmware_dir, **options)
    try:
        yield Rig(session)
    finally:
        backend.uninstall()


def payload(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def store(value: int) -> Operation:
    """To the first argument."""
    return Operation(Code.STORE | FROM_KERNARG, 0, value, 8)


def copy(size: int) -> Operation:
    """From the second argument to the first."""
    return Operation(Code.COPY | FROM_KERNARG | FROM_KERNARG_B, 0, 8, size)
