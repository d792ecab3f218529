"""Memory behind a software GPU: VRAM of the true size that costs nothing until touched, and memory of the host for DMA.

VRAM is a sparse file that exists in memory only (Linux memfd); where there is none, a dictionary of pages stands in."""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

PAGE = 4096
CHUNK = 2 << 20
SMALL = 64 << 10
FIRST_BUS_ADDRESS = 0x1_0000_0000


def _nothing() -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """Memory behind the addresses `first` up to `end`: from `offset` on in a file. Whole pages. `own`: of this GPU itself, so
    that nothing but its translation leads there."""

    first: int
    end: int
    fd: int
    offset: int
    writable: bool
    own: bool


class Vram:
    """`size` bytes, read as zeros until written. The file is mapped where the address space allows it: small accesses
    then cost no system call. A look at a hole of the map would fill it, so it is known which chunks were written, and
    large reads go through the file."""

    def __init__(self, size: int, name: str = "vram") -> None:
        self.size = size
        self._fd = -1
        self._map: mmap.mmap | None = None
        self._written: set[int] = set()  # chunks
        self._pages: dict[int, bytearray] = {}
        self._shared = False
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self._fd, size)
            self._closer = weakref.finalize(self, os.close, self._fd)
            with suppress(OSError, ValueError, OverflowError):
                self._map = mmap.mmap(self._fd, size)

    def read(self, offset: int, size: int) -> bytes:
        """ValueError beyond the end: whoever asks knows the size."""
        self._check(offset, size)
        if self._map is not None and size <= CHUNK:
            if offset // CHUNK in self._written or (offset + size - 1) // CHUNK in self._written:
                return self._map[offset : offset + size]
            return self._look(offset, size) if self._shared else bytes(size)
        if self._fd >= 0:
            return os.pread(self._fd, size, offset)
        parts = (self._pages.get(page, bytes(PAGE))[first:last] for page, first, last in _split(offset, size))
        return b"".join(parts)

    def write(self, offset: int, data: bytes | bytearray) -> None:
        size = len(data)
        self._check(offset, size)
        if self._map is not None:
            first, last = offset // CHUNK, (offset + size - 1) // CHUNK
            known = first in self._written and last in self._written
            self._written.update(range(first, last + 1))
            if known or size <= SMALL:  # filling a large hole is faster through the file
                self._map[offset : offset + size] = data
                return
        if self._fd >= 0:
            os.pwrite(self._fd, data, offset)
            return
        done = 0
        for page, first, last in _split(offset, len(data)):
            self._pages.setdefault(page, bytearray(PAGE))[first:last] = data[done : done + last - first]
            done += last - first

    def _look(self, offset: int, size: int) -> bytes:
        """Where others write, too, a chunk that we did not write may hold something."""
        data = os.pread(self._fd, size, offset)
        if data != bytes(size):
            self._written.update((offset // CHUNK, (offset + size - 1) // CHUNK))
        return data

    def mappable(self, offset: int, write: bool) -> int:
        """The descriptor of the file, for a map of the chunk of this byte, which is written through it if `write`; -1: there is
        none, or nothing was written there yet, so that a look would fill it."""
        chunk = offset // CHUNK
        if self._map is None or not (write or self._shared or chunk in self._written):
            return -1
        if write:
            self._written.add(chunk)
        return self._fd

    def share(self) -> int:
        """The descriptor of the file, for others to map; it keeps its size from now on. -1 where there is no file."""
        if self._fd >= 0 and not self._shared:
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._shared = True
        return self._fd

    def clear(self) -> None:
        """All zeros again; gives the real memory back, also for those who have the file mapped."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_REMOVE)
        elif self._fd >= 0:
            self._zero_file()
        self._written.clear()
        self._pages.clear()

    def _zero_file(self) -> None:
        at = 0
        with suppress(OSError):  # there is no more data behind `at`
            while True:
                first = os.lseek(self._fd, at, os.SEEK_DATA)
                at = os.lseek(self._fd, first, os.SEEK_HOLE)
                for start in range(first, at, CHUNK):
                    os.pwrite(self._fd, bytes(min(CHUNK, at - start)), start)

    def used(self) -> int:
        """Bytes of real memory that it takes."""
        if self._fd >= 0:
            return os.fstat(self._fd).st_blocks * 512
        return len(self._pages) * PAGE

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._fd >= 0:
            self._closer()
            self._fd = -1
        self._written.clear()
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


class BusMemory(Protocol):
    """What a device reaches by bus address beside the BARs of its hive."""

    def read(self, bus_addr: int, size: int) -> bytes | None: ...

    def write(self, bus_addr: int, data: bytes) -> bool: ...

    def reaches_bars(self, bus_addr: int) -> bool:
        """Whether an address that lies in a BAR is that BAR, and not memory at the same address."""
        ...


class HostMemory:
    """The memory of the machine that the GPUs of a hive reach by bus address."""

    def __init__(self) -> None:
        self._next = FIRST_BUS_ADDRESS
        self._starts: list[int] = []  # first bus address of each buffer, rising
        self._buffers: list[bytearray] = []

    @property
    def in_use_bytes(self) -> int:
        """Of buffers that nobody has given back."""
        return sum(len(buffer) for buffer in self._buffers)

    def alloc(self, size: int, before_access: Callable[[], None] = _nothing) -> ModelDmaBuffer:
        """At least `size` bytes in whole pages, zeroed, contiguous for the device.

        `before_access` runs when the host is about to look at it: the device may have work that is due."""
        if size <= 0:
            raise ValueError(f"DMA buffer of {size} bytes")
        data = bytearray(-(-size // PAGE) * PAGE)
        first = self._next
        self._next += len(data)
        self._starts.append(first)
        self._buffers.append(data)
        return ModelDmaBuffer(self, data, size, first, before_access)

    def reaches_bars(self, bus_addr: int) -> bool:
        return True

    def free(self, first: int) -> None:
        """Take the buffer that starts there away from the device; once is enough."""
        place = bisect_right(self._starts, first) - 1
        if place >= 0 and self._starts[place] == first:
            del self._starts[place], self._buffers[place]

    def read(self, bus_addr: int, size: int) -> bytes | None:
        """What the device would fetch; None when a page is not mapped for it."""
        pieces = self._pieces(bus_addr, size)
        if pieces is None:
            return None
        if len(pieces) == 1:
            data, first, last = pieces[0]
            return bytes(memoryview(data)[first:last])
        return b"".join(bytes(memoryview(data)[first:last]) for data, first, last in pieces)

    def write(self, bus_addr: int, data: bytes) -> bool:
        """What the device would store; False, and nothing written, when a page is not mapped for it."""
        pieces = self._pieces(bus_addr, len(data))
        if pieces is None:
            return False
        done = 0
        for target, first, last in pieces:
            target[first:last] = data[done : done + last - first] if len(pieces) > 1 else data
            done += last - first
        return True

    def _pieces(self, bus_addr: int, size: int) -> list[tuple[bytearray, int, int]] | None:
        """(buffer, first byte, last byte + 1) for a range that may span buffers."""
        pieces: list[tuple[bytearray, int, int]] = []
        end = bus_addr + size
        while bus_addr < end:
            place = bisect_right(self._starts, bus_addr) - 1
            if place < 0:
                return None
            data = self._buffers[place]
            first = bus_addr - self._starts[place]
            last = min(len(data), end - self._starts[place])
            if first >= last:
                return None
            pieces.append((data, first, last))
            bus_addr += last - first
        return pieces


class ModelDmaBuffer:
    """A DmaBuffer of pcibus.transport."""

    def __init__(
        self, memory: HostMemory, data: bytearray, size: int, first: int, before_access: Callable[[], None] = _nothing
    ) -> None:
        self._memory = memory
        self._before_access = before_access
        self._data = data
        self.size = size
        self.page_size = PAGE
        self.bus_addr = tuple(range(first, first + len(data), PAGE))

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        self._before_access()
        return bytes(self._data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        self._before_access()
        self._data[offset : offset + len(data)] = data

    def close(self) -> None:
        self._memory.free(self.bus_addr[0])

    def _check(self, offset: int, size: int) -> None:
        if not 0 <= offset <= offset + size <= self.size:
            raise ValueError(f"DMA buffer {offset:#x} + {size:#x} is outside of its {self.size:#x} bytes")
