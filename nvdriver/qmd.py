"""Hopper's compute dispatch: the queue meta data (QMD, version 4.0) of one grid, 384 bytes.

Source: open-gpu-doc classes/compute/clcbc0qmd.h (fields and bits), nvidia-rm.md section 6 (what runtimes put there).
Not run on a board yet: that version 4 is what Hopper wants, and how constant bank 0 must look, is to be confirmed there."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from base.errors import UsageError

BYTES: Final = 384
ALIGNMENT: Final = 256
MOST_THREADS: Final = 1024
MOST_SHARED_BYTES: Final = 227 << 10
MOST_REGISTERS: Final = 255
MOST_RELEASES: Final = 3
_VERSION, _GRID_CTA, _SASS = 4, 2, 0x90
# What an SM of compute capability 9.0 can be set to, and 227 KiB a block: CUDA C++ Programming Guide, technical specifications.
_SM_SHARED_KIB: Final = (0, 8, 16, 32, 64, 100, 132, 164, 196, 228)

# name: (high bit, low bit); of fields that repeat: the first, and the step
FIELDS: Final = {
    "QMD_GROUP_ID": (21, 16),
    "QMD_TYPE": (25, 23),
    "SHADER_LOCAL_MEMORY_LOW_SIZE": (535, 512),
    "SASS_VERSION": (543, 536),
    "SHADER_LOCAL_MEMORY_HIGH_SIZE": (567, 544),
    "API_VISIBLE_CALL_LIMIT": (568, 568),
    "SAMPLER_INDEX": (569, 569),
    "QMD_MINOR_VERSION": (579, 576),
    "QMD_MAJOR_VERSION": (583, 580),
    "SHARED_MEMORY_SIZE": (601, 584),
    "INVALIDATE_TEXTURE_HEADER_CACHE": (602, 602),
    "INVALIDATE_TEXTURE_SAMPLER_CACHE": (603, 603),
    "INVALIDATE_TEXTURE_DATA_CACHE": (604, 604),
    "INVALIDATE_SHADER_DATA_CACHE": (605, 605),
    "INVALIDATE_INSTRUCTION_CACHE": (606, 606),
    "INVALIDATE_SHADER_CONSTANT_CACHE": (607, 607),
    "MIN_SM_CONFIG_SHARED_MEM_SIZE": (613, 608),
    "MAX_SM_CONFIG_SHARED_MEM_SIZE": (619, 614),
    "TARGET_SM_CONFIG_SHARED_MEM_SIZE": (625, 620),
    "GRID_WIDTH": (1055, 1024),
    "GRID_HEIGHT": (1071, 1056),
    "GRID_DEPTH": (1103, 1088),
    "CWD_MEMBAR_TYPE": (1137, 1136),
    "CTA_THREAD_DIMENSION0": (1167, 1152),
    "CTA_THREAD_DIMENSION1": (1183, 1168),
    "CTA_THREAD_DIMENSION2": (1199, 1184),
    "REGISTER_COUNT": (1208, 1200),
    "BARRIER_COUNT": (1215, 1211),
    "PROGRAM_ADDRESS_LOWER": (1247, 1216),
    "PROGRAM_ADDRESS_UPPER": (1272, 1248),
    "PROGRAM_PREFETCH_ADDR_LOWER_SHIFTED": (1375, 1344),
    "PROGRAM_PREFETCH_ADDR_UPPER_SHIFTED": (1392, 1376),
    "PROGRAM_PREFETCH_SIZE": (1401, 1393),
}
REPEATED: Final = {
    "RELEASE_ENABLE": (320, 320, 16),
    "RELEASE_STRUCTURE_SIZE": (322, 321, 16),
    "RELEASE_MEMBAR_TYPE": (323, 323, 16),
    "RELEASE_PAYLOAD64B": (332, 332, 16),
    "CONSTANT_BUFFER_VALID": (416, 416, 4),
    "CONSTANT_BUFFER_INVALIDATE": (419, 419, 4),
    "RELEASE_SEMAPHORE_ADDR_LOWER": (671, 640, 128),
    "RELEASE_SEMAPHORE_ADDR_UPPER": (696, 672, 128),
    "RELEASE_SEMAPHORE_PAYLOAD_LOWER": (735, 704, 128),
    "RELEASE_SEMAPHORE_PAYLOAD_UPPER": (767, 736, 128),
    "CONSTANT_BUFFER_ADDR_LOWER_SHIFTED6": (1567, 1536, 64),
    "CONSTANT_BUFFER_ADDR_UPPER_SHIFTED6": (1586, 1568, 64),
    "CONSTANT_BUFFER_SIZE_SHIFTED4": (1599, 1587, 64),
}


@dataclass(frozen=True)
class Kernel:
    """A program in GPU memory. `registers`: of a thread; `shared_bytes`: of a block; `local_bytes`: of a thread;
    `barriers`: that it uses; `code_bytes`: how much of it is fetched ahead."""

    program: int
    registers: int
    shared_bytes: int = 0
    local_bytes: int = 0
    barriers: int = 1
    code_bytes: int = 4096

    @cached_property
    def template(self) -> int:
        """The fields that do not change from launch to launch, as one number."""
        shared = -(-self.shared_bytes // 128) * 128
        fits = next((size for size in _SM_SHARED_KIB if size << 10 >= shared + 1024), None)
        if (
            not 0 < self.registers <= MOST_REGISTERS
            or shared > MOST_SHARED_BYTES
            or fits is None
            or self.local_bytes % 16
        ):
            raise UsageError(
                "building a QMD",
                expected=f"1 to {MOST_REGISTERS} registers, at most {MOST_SHARED_BYTES} bytes of shared memory, local memory "
                "in steps of 16 bytes",
                seen=f"{self.registers} registers, {self.shared_bytes} and {self.local_bytes} bytes",
            )
        config = (fits >> 2) + 1  # in steps of 4 KiB, plus one
        values = {
            "QMD_GROUP_ID": 0x3F,
            "QMD_TYPE": _GRID_CTA,
            "SASS_VERSION": _SASS,
            "SHADER_LOCAL_MEMORY_HIGH_SIZE": self.local_bytes,
            "API_VISIBLE_CALL_LIMIT": 1,
            "SAMPLER_INDEX": 1,
            "QMD_MAJOR_VERSION": _VERSION,
            "SHARED_MEMORY_SIZE": shared,
            "INVALIDATE_TEXTURE_HEADER_CACHE": 1,
            "INVALIDATE_TEXTURE_SAMPLER_CACHE": 1,
            "INVALIDATE_TEXTURE_DATA_CACHE": 1,
            "INVALIDATE_SHADER_DATA_CACHE": 1,
            "INVALIDATE_SHADER_CONSTANT_CACHE": 1,
            "MIN_SM_CONFIG_SHARED_MEM_SIZE": config,
            "TARGET_SM_CONFIG_SHARED_MEM_SIZE": config,
            "MAX_SM_CONFIG_SHARED_MEM_SIZE": (_SM_SHARED_KIB[-1] >> 2) + 1,
            "CWD_MEMBAR_TYPE": 1,
            "REGISTER_COUNT": self.registers,
            "BARRIER_COUNT": self.barriers,
            "PROGRAM_ADDRESS_LOWER": self.program & 0xFFFFFFFF,
            "PROGRAM_ADDRESS_UPPER": self.program >> 32,
            "PROGRAM_PREFETCH_ADDR_LOWER_SHIFTED": self.program >> 8 & 0xFFFFFFFF,
            "PROGRAM_PREFETCH_ADDR_UPPER_SHIFTED": self.program >> 40,
            "PROGRAM_PREFETCH_SIZE": min(self.code_bytes >> 8, 0x1FF),
        }
        return sum(_placed(name, *FIELDS[name], value) for name, value in values.items())


def _placed(name: str, high: int, low: int, value: int) -> int:
    """A value at its bits. UsageError for one that is too big: it would set the field beside it."""
    if not 0 <= value < 1 << high - low + 1:
        raise UsageError("building a QMD", expected=f"{name} below {1 << high - low + 1:#x}", seen=f"{value:#x}")
    return value << low


def _numbered(name: str, index: int, value: int) -> int:
    high, low, step = REPEATED[name]
    return _placed(f"{name}({index})", high + index * step, low + index * step, value)


def build(
    kernel: Kernel,
    *,
    grid: tuple[int, int, int],
    threads: tuple[int, int, int],
    constants: Sequence[tuple[int, int, int]] = (),
    releases: Sequence[tuple[int, int]] = (),
) -> bytes:
    """The QMD of one launch. `constants`: (bank 0 to 7, address, bytes); `releases`: (address, value of 64 bits), written
    with the time when the grid is done. Raises UsageError for what the fields cannot hold."""
    x, y, z = threads
    if not 0 < x * y * z <= MOST_THREADS or min(grid) < 1:
        raise UsageError(
            "building a QMD", expected=f"a grid of 1 or more, 1 to {MOST_THREADS} threads", seen=f"{grid}, {threads}"
        )
    if len(releases) > MOST_RELEASES:
        raise UsageError("building a QMD", expected=f"at most {MOST_RELEASES} releases", seen=str(len(releases)))
    word = kernel.template
    for name, value in zip(_GEOMETRY, (*grid, *threads), strict=True):
        word |= _placed(name, *FIELDS[name], value)
    for bank, address, size in constants:
        word |= _constant(bank, address, size)
    for index, (address, value) in enumerate(releases):
        word |= _release(index, address, value)
    return word.to_bytes(BYTES, "little")


_GEOMETRY: Final = (
    "GRID_WIDTH", "GRID_HEIGHT", "GRID_DEPTH", "CTA_THREAD_DIMENSION0", "CTA_THREAD_DIMENSION1", "CTA_THREAD_DIMENSION2",
)  # fmt: skip


def _constant(bank: int, address: int, size: int) -> int:
    if not 0 <= bank < 8 or address % 64 or size % 16:
        raise UsageError(
            "building a QMD", expected="a bank of 0 to 7, an address in steps of 64, a size in steps of 16",
            seen=f"bank {bank}, {size} bytes at {address:#x}",
        )  # fmt: skip
    return (
        _numbered("CONSTANT_BUFFER_VALID", bank, 1)
        | _numbered("CONSTANT_BUFFER_INVALIDATE", bank, 1)
        | _numbered("CONSTANT_BUFFER_ADDR_LOWER_SHIFTED6", bank, address >> 6 & 0xFFFFFFFF)
        | _numbered("CONSTANT_BUFFER_ADDR_UPPER_SHIFTED6", bank, address >> 38)
        | _numbered("CONSTANT_BUFFER_SIZE_SHIFTED4", bank, size >> 4)
    )


def _release(index: int, address: int, value: int) -> int:
    if address % 16:
        raise UsageError("building a QMD", expected="a semaphore in steps of 16 bytes", seen=f"{address:#x}")
    return (
        _numbered("RELEASE_ENABLE", index, 1)
        | _numbered("RELEASE_MEMBAR_TYPE", index, 1)
        | _numbered("RELEASE_PAYLOAD64B", index, 1)
        | _numbered("RELEASE_SEMAPHORE_ADDR_LOWER", index, address & 0xFFFFFFFF)
        | _numbered("RELEASE_SEMAPHORE_ADDR_UPPER", index, address >> 32)
        | _numbered("RELEASE_SEMAPHORE_PAYLOAD_LOWER", index, value & 0xFFFFFFFF)
        | _numbered("RELEASE_SEMAPHORE_PAYLOAD_UPPER", index, value >> 32)
    )


class LaunchTemplate:
    """Launches of one kernel with the same threads, banks and releases: only grid, bank 0 and release values change.

    `launch` patches 384 bytes in place and gives them: much less work than building them."""

    def __init__(self, kernel: Kernel, *, threads: tuple[int, int, int], bank_bytes: int, release: int) -> None:
        self._bytes = bytearray(
            build(kernel, grid=(1, 1, 1), threads=threads, constants=((0, 0, bank_bytes),), releases=((release, 0),))
        )
        high, low, _ = REPEATED["CONSTANT_BUFFER_ADDR_UPPER_SHIFTED6"]
        self._size_bits = int.from_bytes(self._bytes[low // 8 : low // 8 + 4], "little") & ~((1 << high - low + 1) - 1)

    def launch(self, bank: int, width: int, height: int, depth: int, value: int) -> bytearray:
        """`bank`: address of constant bank 0 (64-byte steps); `value`: what the semaphore is set to. The same bytes each time.

        struct.error for a grid that does not fit (32, 16, 16 bits)."""
        data = self._bytes
        _GRID.pack_into(data, 128, width, height)
        _DEPTH.pack_into(data, 136, depth)
        _BANK.pack_into(data, 192, bank >> 6 & 0xFFFFFFFF, self._size_bits | bank >> 38)
        _VALUE.pack_into(data, 88, value)
        return data


_GRID: Final = struct.Struct("<IH")
_DEPTH: Final = struct.Struct("<H")
_BANK: Final = struct.Struct("<II")
_VALUE: Final = struct.Struct("<Q")
