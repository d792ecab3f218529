"""Memory behind a software GPU: VRAM of the true size that costs nothing until touched, and memory of the host for DMA.

VRAM is a sparse file that exists in memory only (Linux memfd); where there is none, a dictionary of pages stands in."""

from __future__ import annotations

import os
import weakref

PAGE = 4096
FIRST_BUS_ADDRESS = 0x1_0000_0000


class Vram:
    """`size` bytes, read as zeros until written."""

    def __init__(self, size: int, name: str = "vram") -> None:
        self.size = size
        self._fd = -1
        self._pages: dict[int, bytearray] = {}
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create(name)
            os.ftruncate(self._fd, size)
            self._closer = weakref.finalize(self, os.close, self._fd)

    def read(self, offset: int, size: int) -> bytes:
        """ValueError beyond the end: whoever asks knows the size."""
        self._check(offset, size)
        if self._fd >= 0:
            return os.pread(self._fd, size, offset)
        parts = (self._pages.get(page, bytes(PAGE))[first:last] for page, first, last in _split(offset, size))
        return b"".join(parts)

    def write(self, offset: int, data: bytes | bytearray) -> None:
        self._check(offset, len(data))
        if self._fd >= 0:
            os.pwrite(self._fd, data, offset)
            return
        done = 0
        for page, first, last in _split(offset, len(data)):
            self._pages.setdefault(page, bytearray(PAGE))[first:last] = data[done : done + last - first]
            done += last - first

    def used(self) -> int:
        """Bytes of real memory that it takes."""
        if self._fd >= 0:
            return os.fstat(self._fd).st_blocks * 512
        return len(self._pages) * PAGE

    def close(self) -> None:
        if self._fd >= 0:
            self._closer()
            self._fd = -1
        self._pages.clear()

    def _check(self, offset: int, size: int) -> None:
        if not 0 <= offset <= offset + size <= self.size:
            raise ValueError(f"VRAM {offset:#x} + {size:#x} is outside of its {self.size:#x} bytes")


def _split(offset: int, size: int) -> list[tuple[int, int, int]]:
    """(page, first byte in it, last byte + 1) for a range."""
    pieces = []
    end = offset + size
    while offset < end:
        page, first = divmod(offset, PAGE)
        last = min(PAGE, first + end - offset)
        pieces.append((page, first, last))
        offset += last - first
    return pieces


class HostMemory:
    """The memory of the machine that the GPUs of a hive reach by bus address."""

    def __init__(self) -> None:
        self._next = FIRST_BUS_ADDRESS
        self._pages: dict[int, tuple[bytearray, int]] = {}  # bus page: (buffer, offset in it)

    def alloc(self, size: int) -> ModelDmaBuffer:
        """At least `size` bytes in whole pages, zeroed, contiguous for the device."""
        if size <= 0:
            raise ValueError(f"DMA buffer of {size} bytes")
        pages = -(-size // PAGE)
        data = bytearray(pages * PAGE)
        first = self._next
        self._next += pages * PAGE
        for page in range(pages):
            self._pages[first // PAGE + page] = (data, page * PAGE)
        return ModelDmaBuffer(self, data, size, first)

    def free(self, first: int, pages: int) -> None:
        for page in range(pages):
            self._pages.pop(first // PAGE + page, None)

    def read(self, bus_addr: int, size: int) -> bytes | None:
        """What the device would fetch; None when a page is not mapped for it."""
        pieces = []
        for page, first, last in _split(bus_addr, size):
            mapped = self._pages.get(page)
            if mapped is None:
                return None
            data, start = mapped
            pieces.append(bytes(data[start + first : start + last]))
        return b"".join(pieces)

    def write(self, bus_addr: int, data: bytes) -> bool:
        """What the device would store; False, and nothing written, when a page is not mapped for it."""
        pieces = _split(bus_addr, len(data))
        if any(page not in self._pages for page, _, _ in pieces):
            return False
        done = 0
        for page, first, last in pieces:
            target, start = self._pages[page]
            target[start + first : start + last] = data[done : done + last - first]
            done += last - first
        return True


class ModelDmaBuffer:
    """A DmaBuffer of pcibus.transport."""

    def __init__(self, memory: HostMemory, data: bytearray, size: int, first: int) -> None:
        self._memory = memory
        self._data = data
        self.size = size
        self.page_size = PAGE
        self.bus_addr = tuple(range(first, first + len(data), PAGE))

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        return bytes(self._data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        self._data[offset : offset + len(data)] = data

    def close(self) -> None:
        self._memory.free(self.bus_addr[0], len(self.bus_addr))

    def _check(self, offset: int, size: int) -> None:
        if not 0 <= offset <= offset + size <= self.size:
            raise ValueError(f"DMA buffer {offset:#x} + {size:#x} is outside of its {self.size:#x} bytes")
