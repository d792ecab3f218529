"""Methods for NVIDIA's channels against what the interpreter allows, and against tinygrad's NV queue in the same process.

tinygrad 0.14.0 builds QMDs of version 3 (it does not know Hopper); ours are of version 4. Both sides do the same: the bytes of
one submission, the QMD patched for one launch. What gpumend's channel adds, a mark of its own, is in none of the rows."""

from __future__ import annotations

import ctypes
import importlib
import struct
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from bench import peer as tinygrad
from bench.harness import Row, compare
from nvdriver import pushbuffer, qmd

TARGET, SOURCE, SIZE, SEMAPHORE = 0x12_3456_0000, 0x13_0000_0000, 0x1_0000, 0x14_0000_0040
KERNEL = qmd.Kernel(0x15_0000_0000, registers=40, shared_bytes=1024)


class Peer:
    """A stand-in for tinygrad's device: an Ada GPU, the newest whose QMD it builds without a kernel's ELF file."""

    def __init__(self) -> None:
        self.ops: Any = importlib.import_module("tinygrad.runtime.ops_nv")
        hcq: Any = importlib.import_module("tinygrad.runtime.support.hcq")
        self._memory = (ctypes.c_uint8 * (1 << 16))()
        view = hcq.MMIOInterface(ctypes.addressof(self._memory), 1 << 16)
        device = SimpleNamespace(iface=SimpleNamespace(compute_class=self.ops.nv_gpu.ADA_COMPUTE_A), pma_enabled=False)
        kernel = self.ops.QMD(device, qmd_major_version=3, program_address_lower=0x1000, register_count_v=40)
        self.program = SimpleNamespace(dev=device, constbufs={0: (0, 0x160)}, qmd=kernel)
        self.arguments = SimpleNamespace(buf=hcq.HCQBuffer(0x16_0000_0000, 1 << 16, view=view), bind_data=[])
        self.signal = SimpleNamespace(value_addr=SEMAPHORE, owner=None, is_timeline=False)
        self.source, self.target = SimpleNamespace(va_addr=SOURCE), SimpleNamespace(va_addr=TARGET)

    def copy(self) -> bytes:
        """Wait, copy, signal."""
        queue = self.ops.NVCopyQueue()
        queue.wait(self.signal, 7).copy(self.target, self.source, SIZE).signal(self.signal, 8)
        return array("I", queue._q).tobytes()

    def dispatch(self) -> bytes:
        """One dispatch whose QMD releases the signal."""
        queue = self.ops.NVComputeQueue()
        queue.exec(self.program, self.arguments, (64, 4, 1), (256, 1, 1)).signal(self.signal, 8)
        return array("I", queue._q).tobytes()


def _beside(row: Row, ours: Callable[[], object], theirs: str) -> Row:
    if not tinygrad.at_hand():
        return row
    return tinygrad.side_by_side(row, ours, getattr(Peer(), theirs))


def copy_row() -> Row:
    pack = struct.Struct("<21I").pack
    words = struct.unpack("<21I", _copy())

    def floor() -> None:
        pack(*words)

    row = compare(
        "NV copy between two semaphores, bytes",
        _copy,
        floor,
        goal=">= 10x peer",
        peer="tinygrad 47.5 us (ours 3.7 beside it)",
    )
    return _beside(row, _copy, "copy")


def _copy() -> bytes:
    return (
        pushbuffer.acquire(SEMAPHORE, 7) + pushbuffer.copy(TARGET, SOURCE, SIZE) + pushbuffer.copy_release(SEMAPHORE, 8)
    )


def dispatch_row() -> Row:
    template = qmd.LaunchTemplate(KERNEL, threads=(256, 1, 1), bank_bytes=0x160, release=SEMAPHORE)
    memory = memoryview(bytearray(1 << 12))
    ready = bytes(template.launch(0x16_0000_0000, 64, 4, 1, 8))

    def ours() -> bytes:
        memory[:384] = template.launch(0x16_0000_0000, 64, 4, 1, 8)
        return pushbuffer.dispatch(0x16_0000_0200)

    def floor() -> None:
        memory[:384] = ready

    row = compare(
        "Hopper dispatch: QMD in memory, bytes",
        ours,
        floor,
        goal=">= 10x peer",
        peer="tinygrad 239 us (ours 3.2 beside it)",
    )
    return _beside(row, ours, "dispatch")


def rows() -> list[Row]:
    return [copy_row(), dispatch_row()]
