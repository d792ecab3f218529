"""Memory of a GPU, or of the host for it: allocated by RM, mapped for the GPU by UVM and for this process.

Source: nvidia-rm.md sections 2.1 and 3.2 (NV_MEMORY_ALLOCATION_PARAMS, attributes), 4 (mapping)."""

from __future__ import annotations

import struct
from typing import Final

from base.errors import DeviceLost, GpumendError, OutOfMemory, UsageError
from nvdriver import abi, status
from nvdriver.addresses import Addresses
from nvdriver.rm import CpuMapping, RmGpu
from nvdriver.status import RmError
from nvdriver.uvm import Uvm

HOST_PAGE: Final = 4 << 10
VRAM_PAGE: Final = 64 << 10
HUGE_PAGE: Final = 2 << 20

# NVOS32_ALLOC_FLAGS: ignore bank placement, force the alignment, a handle is given, no mapping needed, persistent
_FLAGS, _PERSISTENT = 0x1 | 0x100 | 0x4000 | 0x8000, 0x10000
_ANY_PAGES, _CONTIGUOUS, _HUGE = 3 << 27, 2 << 27, 3 << 23  # NVOS32_ATTR: physicality, page size
_IN_HOST, _CACHED = 1 << 25, 5 << 29  # location PCI; coherency: write back
_GPU_CACHED, _GPU_UNCACHED, _HUGE_2M = 1 << 2, 2 << 2, 1 << 20  # NVOS32_ATTR2
_IMAGE, _NOTIFIER, _PITCH = 0, 13, 6


class Memory:
    """One allocation. `gpu_va`: where engines find it; `cpu`: this process's view of it, None: none was asked for."""

    def __init__(self, handle: int, size: int, gpu_va: int, cpu: CpuMapping | None, *, in_vram: bool) -> None:
        self.handle = handle
        self.size = size
        self.gpu_va = gpu_va
        self.cpu = cpu
        self.in_vram = in_vram


class MemoryMap:
    """All memory of one GPU of a client, in one VA space."""

    def __init__(self, gpu: RmGpu, uvm: Uvm, uuid: bytes) -> None:
        self._gpu = gpu
        self._uvm = uvm
        self._uuid = uuid
        self.addresses = Addresses()
        self._kept: dict[int, Memory] = {}

    def alloc(self, size: int, *, in_vram: bool = True, cpu: bool = False, contiguous: bool = False) -> Memory:
        """At least `size` bytes, rounded up to pages. Raises OutOfMemory, RmError, DeviceLost."""
        page = HOST_PAGE if not in_vram else VRAM_PAGE if size < HUGE_PAGE else HUGE_PAGE
        whole = -(-size // page) * page
        handle = self._alloc(whole, page, in_vram=in_vram, contiguous=contiguous)
        try:
            base = self.addresses.take(whole, page)
            try:
                self._uvm.map(self._uuid, self._gpu.client.root, handle, base, whole)
            except BaseException:
                self.addresses.give(base, whole)
                raise
            made = Memory(handle, whole, base, None, in_vram=in_vram)
            self._kept[handle] = made
        except BaseException:
            self._free_handle(handle)
            raise
        if cpu:
            try:
                node = self._gpu.card.node if in_vram else ""
                made.cpu = self._gpu.client.map(self._gpu.device, handle, whole, node=node, writable=True)
            except BaseException:
                self.free(made)
                raise
        return made

    def _alloc(self, size: int, page: int, *, in_vram: bool, contiguous: bool) -> int:
        attributes = _CONTIGUOUS if contiguous else _ANY_PAGES
        second = _GPU_CACHED if in_vram else _GPU_UNCACHED
        if page == HUGE_PAGE:
            attributes, second = attributes | _HUGE, second | _HUGE_2M
        if not in_vram:
            attributes |= _IN_HOST | _CACHED
        params = bytearray(128)  # NV_MEMORY_ALLOCATION_PARAMS
        flags = _FLAGS | (_PERSISTENT if in_vram else 0)
        root = self._gpu.client.root
        struct.pack_into("<III", params, 0, root, _IMAGE if in_vram else _NOTIFIER, flags)
        struct.pack_into("<III", params, 24, attributes, second, _PITCH)
        struct.pack_into("<QQQQ", params, 64, size, page, 0, size - 1)
        number = abi.VIDEO_MEMORY if in_vram else abi.HOST_MEMORY
        kind = "video" if in_vram else "host"
        try:
            return self._gpu.client.alloc(self._gpu.device, number, params, f"{size} bytes of {kind} memory")
        except RmError as error:
            if error.status != status.NO_MEMORY:
                raise
            raise OutOfMemory(
                error.doing,
                expected="as much free memory",
                seen=error.seen,
                where=error.where,
                next_step=error.next_step,
            ) from error

    def free(self, memory: Memory, *, reuse: bool = True) -> None:
        """Give it back; whoever uses it must be done, else `reuse` False: its addresses are given to nobody, so that a late
        store is a page fault, and not in another's memory. Raises UsageError the second time."""
        if self._kept.pop(memory.handle, None) is None:
            raise UsageError(
                "freeing memory", expected="memory in use", seen="it was freed before", where=self._gpu.card.bdf
            )
        if memory.cpu is not None:
            memory.cpu.close()
        try:
            self._uvm.free(memory.gpu_va, memory.size)
            if reuse:
                self.addresses.give(memory.gpu_va, memory.size)
        finally:
            self._free_handle(memory.handle)

    def _free_handle(self, handle: int) -> None:
        try:
            self._gpu.client.free(self._gpu.device, handle, f"memory {handle:#x}")
        except DeviceLost:
            return  # there is nothing to free

    def free_all(self) -> None:
        """Everything is tried, the first error raised: each view of this process hangs on a file that keeps the GPU in use."""
        failed: list[GpumendError] = []
        for memory in list(self._kept.values()):
            try:
                self.free(memory)
            except GpumendError as error:
                failed.append(error)
        if failed:
            raise failed[0]
