"""Memory of this process that a PCI function can reach: anonymous, locked, its bus addresses from pagemap.

Only without an IOMMU in between are bus addresses physical addresses, so a function whose IOMMU translates is refused:
it needs VFIO. Huge pages first, for sizes that are worth it; they may not be moved while they are locked, and 4 KiB
pages are locked and touched, so that they are there. Linux may still move locked small pages (compaction, unless
vm.compact_unevictable_allowed is 0; NUMA balancing), which is why that is asked for too.

Source: Linux 7.3 Documentation/admin-guide/mm/pagemap.rst (layout of an entry, CAP_SYS_ADMIN since 4.2), hugetlbpage.rst,
Documentation/admin-guide/sysctl/vm.rst (compact_unevictable_allowed), Documentation/ABI/testing/sysfs-kernel-iommu_groups
(type: identity, DMA, DMA-FQ)."""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from base.errors import NotPermitted, Refused, Unavailable, UsageError

PAGE_BYTES: Final = 4096
HUGE_BYTES: Final = 2 << 20
_MAP_HUGETLB: Final = 0x40000
_MAP_LOCKED: Final = 0x2000
_HUGE_2MB: Final = 21 << 26
_PRESENT: Final = 1 << 63
_FRAME_MASK: Final = (1 << 55) - 1
_CAP_SYS_ADMIN: Final = 21
_CAP_IPC_LOCK: Final = 14

Mapper = Callable[[int, bool], mmap.mmap]


class HostBuffer:
    """A DmaBuffer: locked memory of this process. `bus_addr` are physical addresses of pages of `page_size` bytes."""

    def __init__(self, mapped: mmap.mmap, size: int, page_size: int, bus_addr: tuple[int, ...]) -> None:
        self.size = size
        self.page_size = page_size
        self.bus_addr = bus_addr
        self._mapped: mmap.mmap | None = mapped

    def read(self, offset: int, size: int) -> bytes:
        return self._within(offset, size)[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        self._within(offset, len(data))[offset : offset + len(data)] = data

    def close(self) -> None:
        """Unlock and unmap it; the device must not use it any more. A second time does nothing."""
        mapped, self._mapped = self._mapped, None
        if mapped is not None:
            mapped.close()

    def _within(self, offset: int, size: int) -> mmap.mmap:
        if self._mapped is None:
            raise ValueError("DMA buffer that was given back")
        if not 0 <= offset <= offset + size <= self.size:
            raise ValueError(f"DMA buffer {offset:#x} + {size:#x} is outside of its {self.size:#x} bytes")
        return self._mapped


def allocate(
    size: int,
    *,
    device: Path,
    proc: Path = Path("/proc"),
    where: str = "",
    mapper: Mapper | None = None,
    address_of: Callable[[mmap.mmap], int] | None = None,
) -> HostBuffer:
    """Zeroed memory that the function with this sysfs folder can reach. `mapper(bytes, huge)` maps locked memory.

    Raises UsageError (size), Refused (an IOMMU translates, or pages may be moved), NotPermitted (names the capability),
    Unavailable (no memory)."""
    doing = f"allocating {size:#x} bytes that {where or device.name} can reach"
    if size <= 0:
        raise UsageError(doing, expected="a size above zero", seen=str(size), where=where)
    check_ready(doing, device, proc, where)
    map_memory = mapper or _map
    mapped, step = _map_best(doing, size, proc, where, map_memory)
    try:
        start = (address_of or _address_of)(mapped)
        frames = _frames(doing, start, len(mapped), step, proc, where)
    except BaseException:
        mapped.close()
        raise
    return HostBuffer(mapped, size, step, frames)


def check_ready(doing: str, device: Path, proc: Path = Path("/proc"), where: str = "") -> None:
    """What `allocate` needs whatever the size. Raises Refused and NotPermitted."""
    check_iommu(doing, device, where)
    _check_capability(doing, proc, where, _CAP_SYS_ADMIN, "CAP_SYS_ADMIN, to see physical addresses")


def check_iommu(doing: str, device: Path, where: str = "") -> None:
    """Refused when an IOMMU translates what this function sends. No group: there is no IOMMU."""
    group = device / "iommu_group"
    if not group.exists():
        return
    try:
        kind = (group / "type").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        kind = "unknown"
    if kind == "identity":
        return
    raise Refused(
        doing,
        expected="no IOMMU between the function and memory, or one that passes addresses on (identity)",
        seen=f"IOMMU group of type {kind}",
        where=where or str(group),
        next_step=f"bind it to vfio-pci and use vfio:{device.name}, or boot with iommu=pt",
    )


def may_allocate(device: Path, proc: Path = Path("/proc")) -> bool:
    """Whether `allocate` has a chance: no translating IOMMU, and CAP_SYS_ADMIN."""
    if not device.exists():
        return False
    try:
        check_iommu("", device)
    except Refused:
        return False
    return has_capability(proc, _CAP_SYS_ADMIN)


def has_capability(proc: Path, number: int) -> bool:
    """Of this process, effective."""
    try:
        status = (proc / "self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(found and int(found[1], 16) >> number & 1)


def _check_capability(doing: str, proc: Path, where: str, number: int, told: str) -> None:
    if has_capability(proc, number):
        return
    raise NotPermitted(doing, expected=told, seen="this process does not have it", where=where, next_step="run as root")


def _map_best(doing: str, size: int, proc: Path, where: str, map_memory: Mapper) -> tuple[mmap.mmap, int]:
    """Huge pages if half of one is used and there are some, else small ones that nobody may move."""
    if size >= HUGE_BYTES // 2:
        try:
            return map_memory(-(-size // HUGE_BYTES) * HUGE_BYTES, True), HUGE_BYTES
        except OSError:
            pass  # none are reserved, or not enough
    _check_compaction(doing, proc, where)
    try:
        return map_memory(-(-size // PAGE_BYTES) * PAGE_BYTES, False), PAGE_BYTES
    except OSError as error:
        if not has_capability(proc, _CAP_IPC_LOCK):
            _check_capability(doing, proc, where, _CAP_IPC_LOCK, "CAP_IPC_LOCK, or a larger limit of locked memory")
        raise Unavailable(
            doing,
            expected="memory that can be locked",
            seen=os.strerror(error.errno or 0),
            where=where,
            next_step="free memory, or reserve huge pages (vm.nr_hugepages)",
        ) from error


def _check_compaction(doing: str, proc: Path, where: str) -> None:
    file = proc / "sys/vm/compact_unevictable_allowed"
    try:
        allowed = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return  # a kernel without compaction
    if allowed == "0":
        return
    raise Refused(
        doing,
        expected="locked pages that stay where they are",
        seen=f"vm.compact_unevictable_allowed is {allowed}: the kernel may move them under the device",
        where=where or str(file),
        next_step="sysctl vm.compact_unevictable_allowed=0, or reserve huge pages (vm.nr_hugepages)",
    )


def _map(size: int, huge: bool) -> mmap.mmap:
    """Anonymous memory, shared so that a fork does not copy it away, locked, every page touched by the kernel."""
    import ctypes  # only here: whoever only looks at GPUs should not pay for it

    flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_LOCKED | getattr(mmap, "MAP_POPULATE", 0x8000)
    mapped = mmap.mmap(-1, size, flags=flags | (_MAP_HUGETLB | _HUGE_2MB if huge else 0))
    try:
        if ctypes.CDLL(None, use_errno=True).mlock(ctypes.c_void_p(_address_of(mapped)), ctypes.c_size_t(size)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))  # MAP_LOCKED alone fails silently
    except BaseException:
        mapped.close()
        raise
    return mapped


def _address_of(mapped: mmap.mmap) -> int:
    import ctypes

    holder = ctypes.c_char.from_buffer(mapped)
    address = ctypes.addressof(holder)
    del holder  # it would keep the map from being closed
    return address


def _frames(doing: str, start: int, size: int, step: int, proc: Path, where: str) -> tuple[int, ...]:
    """Physical address of each page, from pagemap: a 64-bit entry for each 4 KiB of virtual addresses."""
    file = proc / "self/pagemap"
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(handle, size // PAGE_BYTES * 8, start // PAGE_BYTES * 8)
        finally:
            os.close(handle)
    except OSError as error:
        raise Unavailable(doing, expected="pagemap", seen=os.strerror(error.errno or 0), where=str(file)) from error
    entries = [entry for (entry,) in struct.iter_unpack("<Q", data[: len(data) & ~7])][:: step // PAGE_BYTES]
    present = len(entries) == size // step and all(entry & _PRESENT for entry in entries)
    if present and any(not entry & _FRAME_MASK for entry in entries):
        raise NotPermitted(
            doing,
            expected="CAP_SYS_ADMIN in the first user namespace, to see physical addresses",
            seen="pagemap shows zeros",
            where=str(file),
            next_step="run as root outside of a container",
        )
    if not present:
        raise Unavailable(
            doing,
            expected=f"{size // step} pages in memory",
            seen=f"{sum(1 for entry in entries if entry & _PRESENT)} of them",
            where=where or str(file),
            next_step="free memory, or raise the limit of locked memory",
        )
    return tuple((entry & _FRAME_MASK) * PAGE_BYTES for entry in entries)
