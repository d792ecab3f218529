"""The memory of a guest as one device sees it: what the client of a vfio-user server has mapped, by bus address.

Source: QEMU docs/interop/vfio-user.rst (DMA_MAP, DMA_UNMAP, DMA_READ, DMA_WRITE). A client maps ranges of files; behind
an IOMMU these are single pages of one file, so each file is mapped into our memory once. A range without a file is a
BAR of a device, or memory that only the client can reach. A client is not trusted: only files that nobody can make
shorter are mapped, others are read and written by system calls, because an access beyond the end of a mapped file would
kill us. Sizes in bytes."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Protocol

PAGE = 4096
MOST_MAPS = 65535  # the protocol's default
MOST_FILES = 64
READABLE, WRITEABLE = 1, 2
_ADDRESSES = 1 << 64


class Client(Protocol):
    """Who has the memory that comes without a file; None and False: it did not answer, or said no."""

    def dma_read(self, bus_addr: int, size: int) -> bytes | None: ...

    def dma_write(self, bus_addr: int, data: bytes) -> bool: ...


class GuestFile:
    """A file of the client, open here."""

    def __init__(self, fd: int, size: int, writable: bool) -> None:
        self.fd = fd
        self.size = size
        self.writable = writable
        self.maps = 0  # how many ranges of it are mapped now
        self._map = _mapped(fd, size, writable)

    @property
    def is_mapped(self) -> bool:
        return self._map is not None

    def read(self, offset: int, size: int) -> bytes | None:
        if self._map is not None:
            return self._map[offset : offset + size]
        try:
            data = os.pread(self.fd, size, offset)
        except OSError:
            return None
        return data if len(data) == size else None

    def write(self, offset: int, data: bytes) -> bool:
        if self._map is not None:
            self._map[offset : offset + len(data)] = data
            return True
        try:
            # A write beyond the end would make the file of the client longer.
            if offset + len(data) > os.fstat(self.fd).st_size:
                return False
            return os.pwrite(self.fd, data, offset) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
        os.close(self.fd)


def _mapped(fd: int, size: int, writable: bool) -> mmap.mmap | None:
    """A map of a file that cannot become shorter; None for any other, or when there is no room for it."""
    try:
        if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            return None
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        return mmap.mmap(fd, size, mmap.MAP_SHARED, access)
    except (OSError, ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class _Range:
    """`file` None: memory that has no file. `start` and `end` are bus addresses."""

    start: int
    end: int
    file: GuestFile | None
    offset: int
    flags: int


class GuestMemory:
    """What one device reaches on its bus (gpumodel.memory.BusMemory)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._starts: list[int] = []  # rising
        self._ranges: list[_Range] = []
        self._files: dict[tuple[int, int, int, bool], GuestFile] = {}  # device, inode, size, writable

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def files(self) -> int:
        return len(self._files)

    # ---- what the client does

    def map(self, bus_addr: int, size: int, flags: int, fd: int = -1, offset: int = 0) -> None:
        """Map a range; `fd` is copied, the caller closes it. Raises OSError with the number that the client is told."""
        end = bus_addr + size
        if not size or (bus_addr | size | offset) % PAGE or end > _ADDRESSES or flags & ~(READABLE | WRITEABLE):
            raise OSError(errno.EINVAL, f"map of {size:#x} bytes at {bus_addr:#x}, flags {flags:#x}")
        if len(self._ranges) >= MOST_MAPS:
            raise OSError(errno.ENOSPC, f"more than {MOST_MAPS} maps")
        place = bisect_right(self._starts, bus_addr)
        before = place > 0 and self._ranges[place - 1].end > bus_addr
        if before or (place < len(self._starts) and self._starts[place] < end):
            raise OSError(errno.EEXIST, f"{bus_addr:#x}+{size:#x} overlaps a map")
        file = None if fd < 0 else self._file(fd, offset + size, flags)
        if file is not None:
            file.maps += 1
        self._starts.insert(place, bus_addr)
        self._ranges.insert(place, _Range(bus_addr, end, file, offset, flags))

    def unmap(self, bus_addr: int, size: int) -> None:
        """Take all maps within a range away. Raises OSError when it would cut one in two."""
        first = bisect_left(self._starts, bus_addr)
        last = bisect_left(self._starts, bus_addr + size)
        cuts_first = first > 0 and self._ranges[first - 1].end > bus_addr
        if cuts_first or (last > first and self._ranges[last - 1].end > bus_addr + size):
            raise OSError(errno.EINVAL, f"unmap of {bus_addr:#x}+{size:#x} cuts a map in two")
        self._drop(first, last)

    def clear(self) -> None:
        """The client is gone, and all that it mapped."""
        self._drop(0, len(self._ranges))
        for file in self._files.values():
            file.close()
        self._files.clear()

    def unmap_all(self) -> None:
        self._drop(0, len(self._ranges))

    def _drop(self, first: int, last: int) -> None:
        for dropped in self._ranges[first:last]:
            if dropped.file is not None:
                dropped.file.maps -= 1
        del self._starts[first:last], self._ranges[first:last]

    def _file(self, fd: int, end: int, flags: int) -> GuestFile:
        """The file behind a descriptor, opened once for all maps of it; it stays open for the next map of it."""
        status = os.fstat(fd)
        mode = fcntl.fcntl(fd, fcntl.F_GETFL)
        writable = mode & os.O_ACCMODE == os.O_RDWR
        if not stat.S_ISREG(status.st_mode) or mode & os.O_PATH or mode & os.O_ACCMODE == os.O_WRONLY:
            raise OSError(errno.EINVAL, "a descriptor that is no readable file")
        if end > status.st_size:
            raise OSError(errno.EINVAL, f"a map up to byte {end:#x} of a file of {status.st_size:#x}")
        if flags & WRITEABLE and not writable:
            raise OSError(errno.EACCES, "a file that is not open for writing")
        key = (status.st_dev, status.st_ino, status.st_size, writable)
        if key not in self._files:
            self._make_room()
            self._files[key] = GuestFile(os.dup(fd), status.st_size, writable)
        return self._files[key]

    def _make_room(self) -> None:
        if len(self._files) < MOST_FILES:
            return
        idle = next((key for key, file in self._files.items() if not file.maps), None)
        if idle is None:
            raise OSError(errno.ENOSPC, f"more than {MOST_FILES} files")
        self._files.pop(idle).close()

    # ---- what the device does

    def reaches_bars(self, bus_addr: int) -> bool:
        """Memory comes first; a device's BAR lies where the client mapped something that has no file."""
        found = self._find(bus_addr)
        return found is not None and found.file is None

    def read(self, bus_addr: int, size: int) -> bytes | None:
        """What the device would fetch; None when a byte is not mapped, or not for reading."""
        pieces = self._pieces(bus_addr, size, READABLE)
        if pieces is None:
            return None
        parts: list[bytes] = []
        for known, at, count in pieces:
            if known.file is None:
                data = self._client.dma_read(at, count)
            else:
                data = known.file.read(known.offset + at - known.start, count)
            if data is None:
                return None
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, bus_addr: int, data: bytes) -> bool:
        """What the device would store; False, and nothing written, when a byte is not mapped, or not for writing."""
        pieces = self._pieces(bus_addr, len(data), WRITEABLE)
        if pieces is None:
            return False
        done = 0
        for known, at, count in pieces:
            part = data if count == len(data) else data[done : done + count]
            done += count
            if known.file is None:
                taken = self._client.dma_write(at, part)
            else:
                taken = known.file.write(known.offset + at - known.start, part)
            if not taken:
                return False
        return True

    def _find(self, bus_addr: int) -> _Range | None:
        place = bisect_right(self._starts, bus_addr) - 1
        if place < 0 or self._ranges[place].end <= bus_addr:
            return None
        return self._ranges[place]

    def _pieces(self, bus_addr: int, size: int, needed: int) -> list[tuple[_Range, int, int]] | None:
        """(range, bus address, bytes) for an access that may span ranges."""
        pieces: list[tuple[_Range, int, int]] = []
        end = bus_addr + size
        while bus_addr < end:
            known = self._find(bus_addr)
            if known is None or not known.flags & needed:
                return None
            count = min(end, known.end) - bus_addr
            pieces.append((known, bus_addr, count))
            bus_addr += count
        return pieces
