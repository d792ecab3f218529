"""What a process has mapped through a driver's file: a GPU's memory, memory of the host, the doorbell, the page of telemetry.

Source: clc361.h (offsets of the usermode page); a GPU that is gone from the bus reads all ones and takes nothing."""

from __future__ import annotations

import struct
from typing import Protocol

from gpumodel.nvidia.gpu import NvGpu
from gpumodel.nvidia.memory import Backing
from gpumodel.nvidia.rm import DOORBELL_BYTES, Rm

TIME_0, TIME_1, NOTIFY_CHANNEL_PENDING = 0x80, 0x84, 0x90


class ModelMapping(Protocol):
    """pcibus.driverfiles.Mapped."""

    def __getitem__(self, place: slice, /) -> bytes: ...

    def __setitem__(self, place: slice, data: bytes, /) -> None: ...

    def store32(self, offset: int, value: int) -> None: ...

    def close(self) -> None: ...


class _ReadOnly:
    """A store ends the process (SIGSEGV); here it is the caller's defect."""

    def __setitem__(self, place: slice, data: bytes, /) -> None:
        raise AssertionError("a store to a mapping that may only be read")

    def store32(self, offset: int, value: int) -> None:
        raise AssertionError("a store to a mapping that may only be read")

    def close(self) -> None:
        """Nothing is kept."""


class TelemetryPage(_ReadOnly):
    """Made anew at every look."""

    def __init__(self, rm: Rm, gpu: NvGpu) -> None:
        self._rm = rm
        self._gpu = gpu

    def __getitem__(self, place: slice, /) -> bytes:
        return self._rm.shared_page(self._gpu)[place]


class DoorbellPage(_ReadOnly):
    """The usermode page: the GPU's timer, and the register that tells it of work."""

    def __init__(self, gpu: NvGpu, *, writable: bool) -> None:
        self._gpu = gpu
        self._writable = writable

    def __getitem__(self, place: slice, /) -> bytes:
        page = bytearray(DOORBELL_BYTES)
        struct.pack_into("<Q", page, TIME_0, self._gpu.timer_ns() & ~0x1F)  # the low 5 bits are zero
        return b"\xff" * len(page[place]) if self._gpu.lost else bytes(page[place])

    def store32(self, offset: int, value: int) -> None:
        assert self._writable, "a store to a mapping that may only be read"
        if offset == NOTIFY_CHANNEL_PENDING:
            self._gpu.fifo.ring(value)
        else:
            self._gpu.unknown["usermode-write", offset] += 1


class MemoryMapping:
    """An allocation, or a part of it. Whoever waits for a semaphore there sees what is stored at once."""

    def __init__(self, gpu: NvGpu, backing: Backing, offset: int, size: int, *, writable: bool) -> None:
        self._gpu = gpu
        self._backing = backing
        self._view = backing.view[offset : offset + size]
        self._writable = writable

    @property
    def _gone(self) -> bool:
        return self._backing.in_vram and self._gpu.lost

    def __getitem__(self, place: slice, /) -> bytes:
        part = self._view[place]
        return b"\xff" * len(part) if self._gone else bytes(part)

    def __setitem__(self, place: slice, data: bytes, /) -> None:
        assert self._writable, "a store to a mapping that may only be read"
        if not self._gone:
            self._view[place] = data
            self._gpu.fifo.go_on()

    def store32(self, offset: int, value: int) -> None:
        self[offset : offset + 4] = struct.pack("<I", value)

    def close(self) -> None:
        self._view.release()
        del self._backing
