"""The files of a kernel driver: its nodes in /dev, its texts in /proc, the kernel's log. A seam as the Transport is one:
the machine's own files, or those of a model. Knows no driver.

An ioctl's argument that holds pointers is given as the structure's bytes, and the memory that each pointer leads to by the
pointer's offset: so a fake needs no addresses. Source: ioctl(2); Python fcntl.ioctl (a mutable buffer is written back)."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from base import kernellog
from base.child import run_in_child
from base.files import explain, read_bounded

T = TypeVar("T")
MAX_TEXT_BYTES = 64 << 10


class Mapped(Protocol):
    """Memory of a driver that was mapped for reading."""

    def __getitem__(self, place: slice, /) -> bytes: ...

    def close(self) -> None: ...


class WritableMapped(Mapped, Protocol):
    """And for writing."""

    def __setitem__(self, place: slice, data: bytes, /) -> None: ...

    def store32(self, offset: int, value: int) -> None:
        """One store of 32 bits, after all that was written before: a register, or a word that a device watches."""
        ...


class DriverFiles(Protocol):
    """`open`, `ioctl`, `mmap` and `close` raise OSError as the kernel does; the others raise GpumendError."""

    def read_text(self, path: str) -> str:
        """A small text such as /proc/driver/nvidia/version."""
        ...

    def kernel_log(self) -> str:
        """The kernel's log, `[seconds] text`, one record a line."""
        ...

    def uptime_s(self) -> float:
        """Now, on the scale of the log's stamps."""
        ...

    def note(self, text: str) -> None:
        """One line into the kernel's log. Raises NotPermitted, Unavailable."""
        ...

    def open(self, path: str) -> int: ...

    def ioctl(self, handle: int, request: int, data: bytearray, pointers: Mapping[int, bytearray]) -> None:
        """`data` and what `pointers` lead to (offset in `data`: memory) come back as the driver left them."""
        ...

    def mmap(self, handle: int, size: int, *, writable: bool = False) -> WritableMapped:
        """Map the beginning of an open file, to read it, or to write it, too."""
        ...

    def close(self, handle: int) -> None: ...

    def apart(self, work: Callable[[], T], limit_s: float, doing: str) -> T:
        """Do `work`, which may stick in the kernel, for at most `limit_s`. Raises WaitTimeout, and what the work raised."""
        ...


class HostMapping:
    """A mapping of this process. Stores of one word are one access: a slice may be copied in pieces, even twice."""

    def __init__(self, handle: int, size: int, *, writable: bool) -> None:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._memory = mmap.mmap(handle, size, mmap.MAP_SHARED, access)
        self._words = memoryview(self._memory)[: size & ~3].cast("I")

    def __getitem__(self, place: slice, /) -> bytes:
        return self._memory[place]

    def __setitem__(self, place: slice, data: bytes, /) -> None:
        self._memory[place] = data

    def store32(self, offset: int, value: int) -> None:
        # x86 keeps the order of stores; what lies in write-combining buffers goes out before a store that is not combined,
        # and before a read of memory that is.
        self._words[offset >> 2] = value

    def close(self) -> None:
        self._words.release()
        self._memory.close()


class HostFiles:
    """This machine's. `dev` and `proc`: a test's own trees."""

    def __init__(self, dev: Path = Path("/dev"), proc: Path = Path("/proc")) -> None:
        self.dev = dev
        self.proc = proc

    def _real(self, path: str) -> Path:
        for prefix, root in (("/dev/", self.dev), ("/proc/", self.proc)):
            if path.startswith(prefix):
                return root / path.removeprefix(prefix)
        raise ValueError(f"{path}: neither below /dev nor below /proc")

    def read_text(self, path: str) -> str:
        return read_bounded(self._real(path), MAX_TEXT_BYTES).decode("utf-8", "replace")

    def kernel_log(self) -> str:
        return kernellog.read_log(self.dev).decode("utf-8", "replace")

    def uptime_s(self) -> float:
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def note(self, text: str) -> None:
        kernellog.write_line(text, self.dev)

    def open(self, path: str) -> int:
        return os.open(self._real(path), os.O_RDWR | os.O_CLOEXEC)

    def ioctl(self, handle: int, request: int, data: bytearray, pointers: Mapping[int, bytearray]) -> None:
        kept = []  # the views keep the memory where it is until the call is over
        for offset, memory in pointers.items():
            view = (ctypes.c_char * len(memory)).from_buffer(memory)
            kept.append(view)
            data[offset : offset + 8] = ctypes.addressof(view).to_bytes(8, "little")
        fcntl.ioctl(handle, request, data, True)

    def mmap(self, handle: int, size: int, *, writable: bool = False) -> WritableMapped:
        return HostMapping(handle, size, writable=writable)

    def close(self, handle: int) -> None:
        os.close(handle)

    def apart(self, work: Callable[[], T], limit_s: float, doing: str) -> T:
        return run_in_child(work, limit_s, doing=doing).unwrap()


def opened(files: DriverFiles, path: str) -> int:
    """`files.open`, with the system's refusal as an error of ours: Unavailable or NotPermitted."""
    try:
        return files.open(path)
    except OSError as error:
        raise explain(error, Path(path), f"opening {path}") from error
