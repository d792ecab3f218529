"""VFIO as the kernel defines it: numbers of calls, structures, chains of capabilities; and the seam to the kernel.

Source: Linux 7.3 include/uapi/linux/vfio.h, Documentation/driver-api/vfio.rst."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

API_VERSION: Final = 0
TYPE1V2_IOMMU: Final = 3
CONFIG_REGION: Final = 7  # regions 0 to 5 are the BARs
MSI_IRQ: Final = 1
MSIX_IRQ: Final = 2

_BASE: Final = ord(";") << 8 | 100
GET_API_VERSION: Final = _BASE + 0
CHECK_EXTENSION: Final = _BASE + 1
SET_IOMMU: Final = _BASE + 2
GROUP_GET_STATUS: Final = _BASE + 3
GROUP_SET_CONTAINER: Final = _BASE + 4
GROUP_GET_DEVICE_FD: Final = _BASE + 6
DEVICE_GET_INFO: Final = _BASE + 7
DEVICE_GET_REGION_INFO: Final = _BASE + 8
DEVICE_GET_IRQ_INFO: Final = _BASE + 9
DEVICE_SET_IRQS: Final = _BASE + 10
IOMMU_GET_INFO: Final = _BASE + 12
IOMMU_MAP_DMA: Final = _BASE + 13
IOMMU_UNMAP_DMA: Final = _BASE + 14

GROUP_VIABLE: Final = 1
DEVICE_IS_PCI: Final = 2
REGION_MMAP: Final = 4
REGION_HAS_CAPS: Final = 8
IRQ_EVENTFD: Final = 1
IRQ_SET_NONE: Final = 1
IRQ_SET_EVENTFD: Final = 4
IRQ_SET_TRIGGER: Final = 32
IOMMU_HAS_PAGE_SIZES: Final = 1
IOMMU_HAS_CAPS: Final = 2
DMA_READ: Final = 1
DMA_WRITE: Final = 2

GROUP_STATUS: Final = struct.Struct("<II")  # argsz, flags
DEVICE_INFO: Final = struct.Struct("<IIIIII")  # argsz, flags, regions, irqs, first capability
REGION_INFO: Final = struct.Struct("<IIIIQQ")  # argsz, flags, index, first capability, size, offset
IRQ_INFO: Final = struct.Struct("<IIII")  # argsz, flags, index, count
IRQ_SET: Final = struct.Struct("<IIIII")  # argsz, flags, index, start, count; then data
IOMMU_INFO: Final = struct.Struct("<IIQII")  # argsz, flags, page sizes, first capability
DMA_MAP: Final = struct.Struct("<IIQQQ")  # argsz, flags, address here, IOVA, size
DMA_UNMAP: Final = struct.Struct("<IIQQ")  # argsz, flags, IOVA, size

_CAPABILITY: Final = struct.Struct("<HHI")  # id, version, offset of the next
_COUNT: Final = struct.Struct("<II")
_PAIR: Final = struct.Struct("<QQ")
_SPARSE_MMAP: Final = 1
_IOVA_RANGES: Final = 1
_MAX_INFO_BYTES: Final = 64 << 10
_MAX_CAPABILITIES: Final = 64


class Kernel(Protocol):
    """The calls of the operating system that VFIO needs besides reading, writing and mapping files. All may raise OSError."""

    def open(self, path: Path) -> int: ...

    def ioctl(self, handle: int, request: int, argument: int | bytearray) -> int:
        """The call's own result, not below 0. A bytearray carries a structure there and back."""
        ...


class LinuxKernel:
    """The one that runs."""

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, handle: int, request: int, argument: int | bytearray) -> int:
        return fcntl.ioctl(handle, request, argument)


@dataclass(frozen=True, slots=True)
class Region:
    """A BAR or config space behind the device's handle. `areas`: the stretches (start, end) of it that can be mapped."""

    size: int
    offset: int
    areas: tuple[tuple[int, int], ...]


def ask(kernel: Kernel, handle: int, request: int, layout: struct.Struct, index: int | None = None) -> bytes:
    """An INFO structure, whole: asked once more with room for its capabilities. Bounded; raises OSError."""
    size = layout.size
    for _ in range(2):
        buffer = bytearray(size)
        struct.pack_into("<I", buffer, 0, size)
        if index is not None:
            struct.pack_into("<I", buffer, 8, index)
        kernel.ioctl(handle, request, buffer)
        wanted = int.from_bytes(buffer[:4], "little")
        if not size < wanted <= _MAX_INFO_BYTES:
            break
        size = wanted
    return bytes(buffer)


def region_of(data: bytes) -> Region:
    """From a region's INFO. Without a list of areas all of it can be mapped, or nothing."""
    _, flags, _, first, size, offset = REGION_INFO.unpack_from(data)
    if not flags & REGION_MMAP:
        return Region(size, offset, ())
    if flags & REGION_HAS_CAPS:
        for number, body in _capabilities(data, first):
            if number == _SPARSE_MMAP:
                areas = sorted((start, min(start + length, size)) for start, length in _pairs(body) if length)
                return Region(size, offset, tuple(areas))
    return Region(size, offset, ((0, size),))


def iommu_of(data: bytes) -> tuple[int, list[tuple[int, int]] | None]:
    """From the IOMMU's INFO: smallest page, and the ranges (start, end) of addresses; None when it does not tell them."""
    _, flags, sizes, first, _ = IOMMU_INFO.unpack_from(data)
    page_bytes = sizes & -sizes if flags & IOMMU_HAS_PAGE_SIZES and sizes else 4096
    if flags & IOMMU_HAS_CAPS:
        for number, body in _capabilities(data, first):
            if number == _IOVA_RANGES:
                return page_bytes, [(start, last + 1) for start, last in _pairs(body)]
    return page_bytes, None


def _capabilities(data: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """Number and body of each in the chain; a chain that leaves the data or goes in circles just ends."""
    at = first
    for _ in range(_MAX_CAPABILITIES):
        if not 0 < at <= len(data) - _CAPABILITY.size:
            return
        number, _, following = _CAPABILITY.unpack_from(data, at)
        yield number, data[at + _CAPABILITY.size :]
        at = following


def _pairs(body: bytes) -> list[tuple[int, int]]:
    """A count, a word that is reserved, and so many pairs of 64 bits."""
    if len(body) < _COUNT.size:
        return []
    count = min(_COUNT.unpack_from(body)[0], (len(body) - _COUNT.size) // _PAIR.size)
    return [_PAIR.unpack_from(body, _COUNT.size + _PAIR.size * index) for index in range(count)]
