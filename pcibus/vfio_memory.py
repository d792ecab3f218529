"""Memory of this process behind an IOMMU: which addresses the device may use for it (IOVAs), and the buffers.

The device sees one run of addresses, whatever pages of the host lie behind. VFIO pins them, and they count against the
limit of locked memory. Source: Linux 7.3 drivers/vfio/vfio_iommu_type1.c (vfio_dma_do_map, vfio_lock_acct)."""

from __future__ import annotations

import mmap
from bisect import insort
from collections.abc import Callable, Iterable
from typing import Final

PAGE_BYTES: Final = 4096
HUGE_BYTES: Final = 2 << 20
HIGHEST: Final = 1 << 47  # GPUs have 48 bits, of which the upper half is kept for what is not memory of ours
_LOWEST: Final = 1 << 20
_PREFERRED: Final = 1 << 32  # below it lie the windows of interrupts and of small BARs
# Where the kernel does not tell (before 5.4): the smallest IOMMUs have 39 bits, and interrupts go to this window.
_UNTOLD: Final = ((0, 0xFEE00000), (0xFEF00000, 1 << 39))
_MAP_HUGETLB: Final = 0x40000 | 21 << 26  # 2 MiB


class IovaSpace:
    """Addresses that the device may be given. `ranges` as the IOMMU tells them, `taken` stays out of use: (start, end)."""

    def __init__(self, ranges: Iterable[tuple[int, int]] | None, taken: Iterable[tuple[int, int]] = ()) -> None:
        free = [(max(start, _LOWEST), min(end, HIGHEST)) for start, end in (_UNTOLD if ranges is None else ranges)]
        for start, end in taken:
            free = [piece for one in free for piece in ((one[0], min(one[1], start)), (max(one[0], end), one[1]))
                    if piece[0] < piece[1]]  # fmt: skip
        self._free = sorted(piece for piece in free if piece[0] < piece[1])

    def take(self, size: int, alignment: int) -> int | None:
        """The lowest free address from 4 GiB on, else the lowest at all; None when there is no room."""
        for floor in (_PREFERRED, 0):
            for index, (start, end) in enumerate(self._free):
                at = -(-max(start, floor) // alignment) * alignment
                if at + size <= end:
                    self._free[index : index + 1] = [
                        piece for piece in ((start, at), (at + size, end)) if piece[0] < piece[1]
                    ]
                    return at
        return None

    def give(self, start: int, size: int) -> None:
        """Take back what `take` gave."""
        insort(self._free, (start, start + size))
        merged: list[tuple[int, int]] = []
        for one in self._free:
            if merged and one[0] <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], one[1]))
            else:
                merged.append(one)
        self._free = merged


class VfioBuffer:
    """A DmaBuffer. `bus_addr` are IOVAs of pages of `page_size` bytes, in one run. `owned`: the memory goes with it; it
    is another device's buffer otherwise."""

    def __init__(
        self, mapped: mmap.mmap, size: int, iova: int, page_size: int, unmap: Callable[[], None], *, owned: bool = True
    ) -> None:
        self.size = size
        self._owned = owned
        self.page_size = page_size
        self.bus_addr = tuple(range(iova, iova + len(mapped), page_size))
        self._mapped: mmap.mmap | None = mapped
        self._unmap = unmap

    def read(self, offset: int, size: int) -> bytes:
        return self._within(offset, size)[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        self._within(offset, len(data))[offset : offset + len(data)] = data

    def close(self) -> None:
        """Take it from the device, then give it back; a second time does nothing."""
        mapped, self._mapped = self._mapped, None
        if mapped is None:
            return
        try:
            self._unmap()
        finally:
            if self._owned:
                mapped.close()

    def memory(self) -> mmap.mmap:
        """What lies behind it, for another device to reach. Raises ValueError when it was given back."""
        return self._within(0, 0)

    def _within(self, offset: int, size: int) -> mmap.mmap:
        if self._mapped is None:
            raise ValueError("DMA buffer that was given back")
        if not 0 <= offset <= offset + size <= self.size:
            raise ValueError(f"DMA buffer {offset:#x} + {size:#x} is outside of its {self.size:#x} bytes")
        return self._mapped


def map_anonymous(size: int) -> mmap.mmap:
    """Zeroed memory, shared so that a fork does not copy it away; of huge pages if they fit and there are some."""
    flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
    if size % HUGE_BYTES == 0:
        try:
            return mmap.mmap(-1, size, flags=flags | _MAP_HUGETLB | getattr(mmap, "MAP_POPULATE", 0x8000))
        except OSError:
            pass  # none are reserved, or not enough
    return mmap.mmap(-1, size, flags=flags)


def address_of(mapped: mmap.mmap) -> int:
    """Where it lies in this process."""
    import ctypes  # only here: whoever only looks at GPUs should not pay for it

    holder = ctypes.c_char.from_buffer(mapped)
    address = ctypes.addressof(holder)
    del holder  # it would keep the map from being closed
    return address
