"""/dev/nvidia-uvm: GPU addresses of one process, and what is mapped at them.

Source: open-gpu-kernel-modules 580.105.08, kernel-open/nvidia-uvm: uvm_ioctl.h (numbers, layouts), uvm_api.h (nothing before
INITIALIZE), uvm_map_external.c, uvm_user_channel.c, uvm_va_space.c (which status for what), uvm.c (MM_INITIALIZE); the two
structures that got shorter: uvm_ioctl.h and uvm_va_range.c of 590.48.01."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpumodel.nvidia.channel import Channel
from gpumodel.nvidia.fifo import copy_index
from gpumodel.nvidia.gpu import NvGpu
from gpumodel.nvidia.memory import PAGE_BYTES, Backing
from gpumodel.nvidia.objects import VaSpace
from gpumodel.nvidia.rm import Rm

OK, ILLEGAL_ACTION, INVALID_ADDRESS, INVALID_ARGUMENT, INVALID_CHANNEL, INVALID_DEVICE = 0, 0x16, 0x1E, 0x1F, 0x21, 0x26
INVALID_FLAGS, INVALID_OBJECT_HANDLE, INVALID_OFFSET, GPU_UUID_NOT_FOUND = 0x29, 0x33, 0x37, 0x12
UVM_ADDRESS_IN_USE, NOTHING_TO_DO, INVALID_STATE, OBJECT_NOT_FOUND, TIMEOUT = 0x68, 0x10006, 0x40, 0x57, 0x65
INITIALIZE, DEINITIALIZE, MM_INITIALIZE = 0x30000001, 0x30000002, 75
_MOST_GPUS, _ATTRIBUTE_BYTES = 256, 36
_READ_ONLY = 3  # UvmGpuMappingTypeReadOnly; 0 to 4 are defined
_FLAGS = 0x1 | 0x2 | 0x4  # UVM_INIT_FLAGS: no HMM, several processes, one GPU's own
_CHANNEL_BYTES = 2 << 20  # guess: what a channel of graphics wants mapped; real ones want tens of MiB


@dataclass(slots=True)
class _Registered:
    """A GPU that was registered, and its VA space once that was."""

    gpu: NvGpu
    va_space: VaSpace | None = None


@dataclass(slots=True)
class Uvm:
    """The state of one open file. `space_of` finds the state of another file of this process (for MM_INITIALIZE)."""

    rm: Rm
    find: Callable[[int], Uvm | None]
    initialized: bool = False
    gpus: dict[bytes, _Registered] = field(default_factory=dict)
    ranges: dict[int, int] = field(default_factory=dict)  # base: length of external ranges and channels' windows
    channels: dict[tuple[int, int], tuple[Channel, int]] = field(default_factory=dict)  # and its window, 0: none

    def ioctl(self, number: int, data: bytearray) -> None:
        """The kernel copies as many bytes as the structure has: another size is the caller's defect. rmStatus comes last."""
        found = (_CALLS_590 if self.rm.branch == 2 else _CALLS).get(number)
        if found is None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        size, status_at, work = found
        if len(data) != size:
            raise ValueError(f"UVM call {number:#x} takes {size} bytes, the buffer has {len(data)}")
        free = number in (INITIALIZE, DEINITIALIZE, MM_INITIALIZE)
        status = work(self, data) if self.initialized or free else ILLEGAL_ACTION
        if status_at is not None:
            struct.pack_into("<I", data, status_at, status)

    def close(self) -> None:
        for channel, _ in self.channels.values():
            channel.dead = True  # uvm_va_space_destroy stops what is registered
        for one in self.gpus.values():
            self._forget(one)

    def _forget(self, one: _Registered) -> None:
        if one.va_space is not None:
            for base, length in self.ranges.items():
                one.va_space.space.unmap(base, length)
            one.va_space = None

    # ---- helpers of the calls

    def object_of(self, root: int, handle: int, kind: type) -> tuple[int, Any, Any]:
        """(status, payload, the object) of a client's handle."""
        client = self.rm.clients.get(root)
        if client is None:
            return INVALID_OBJECT_HANDLE, None, None
        found = client.objects.get(handle)
        if found is None or not isinstance(found.payload, kind):
            return OBJECT_NOT_FOUND, None, None
        return OK, found.payload, found

    def range_of(self, base: int, length: int) -> bool:
        """Whether one external range holds all of it."""
        return any(first <= base and base + length <= first + size for first, size in self.ranges.items())

    def overlaps(self, base: int, length: int) -> bool:
        return any(base < first + size and first < base + length for first, size in self.ranges.items())


def _is_bad_range(base: int, length: int) -> bool:
    """uvm_api_range_invalid_4k."""
    return bool(base % PAGE_BYTES or length % PAGE_BYTES) or not base or not length or base + length >= 1 << 64


def _initialize(uvm: Uvm, data: bytearray) -> int:
    flags = struct.unpack_from("<Q", data)[0]
    if flags & ~_FLAGS:
        return INVALID_ARGUMENT
    uvm.initialized = True
    return OK


def _mm_initialize(uvm: Uvm, data: bytearray) -> int:
    other = uvm.find(struct.unpack_from("<i", data)[0])
    return NOTHING_TO_DO if other is not None and other.initialized else INVALID_ARGUMENT


def _uuid(data: bytearray, at: int = 0) -> bytes:
    return bytes(data[at : at + 16])


def _register_gpu(uvm: Uvm, data: bytearray) -> int:
    uuid = _uuid(data)
    for gpu in uvm.rm.machine.gpus:
        if gpu.chip.uuid(gpu.index) == uuid and uvm.rm.is_attached(gpu):
            uvm.gpus.setdefault(uuid, _Registered(gpu))
            struct.pack_into("<Bxxxi", data, 16, 0, -1)
            return OK
    return GPU_UUID_NOT_FOUND


def _unregister_gpu(uvm: Uvm, data: bytearray) -> int:
    one = uvm.gpus.pop(_uuid(data), None)
    if one is None:
        return INVALID_DEVICE
    uvm._forget(one)
    return OK


def _register_space(uvm: Uvm, data: bytearray) -> int:
    one = uvm.gpus.get(_uuid(data))
    if one is None or one.va_space is not None:
        return INVALID_DEVICE
    root, handle = struct.unpack_from("<II", data, 20)
    status, found, item = uvm.object_of(root, handle, VaSpace)
    if status != OK:
        return status
    if item.gpu is not one.gpu:
        return INVALID_DEVICE
    if not found.owned_outside:
        return INVALID_FLAGS  # guess: nvGpuOpsDupAddressSpace refuses a VA space that RM owns
    one.va_space = found
    return OK


def _unregister_space(uvm: Uvm, data: bytearray) -> int:
    one = uvm.gpus.get(_uuid(data))
    if one is None or one.va_space is None:
        return INVALID_DEVICE
    uvm._forget(one)
    return OK


def _register_channel(uvm: Uvm, data: bytearray) -> int:
    one = uvm.gpus.get(_uuid(data))
    if one is None or one.va_space is None:
        return INVALID_DEVICE
    root, handle = struct.unpack_from("<II", data, 20)
    base, length = struct.unpack_from("<QQ", data, 32)
    if not one.gpu.rm.gsp_alive:
        uvm.rm.stick_for_gsp()
        return TIMEOUT
    status, channel, _ = uvm.object_of(root, handle, Channel)
    if status != OK:
        return status
    if (root, handle) in uvm.channels:
        return INVALID_CHANNEL
    if channel.space is not one.va_space.space:
        return INVALID_DEVICE  # guess: its VA space is not the one that was registered
    if copy_index(channel.engine_type) is None:  # copy engines want nothing mapped
        if _is_bad_range(base, length) or length < _CHANNEL_BYTES:
            return INVALID_ADDRESS
        if uvm.overlaps(base, length):
            return UVM_ADDRESS_IN_USE
        uvm.ranges[base] = length
    uvm.channels[root, handle] = channel, base if base in uvm.ranges else 0
    channel.bound = True
    return OK


def _unregister_channel(uvm: Uvm, data: bytearray) -> int:
    root, handle = struct.unpack_from("<II", data, len(data) - 12)
    if (root, handle) not in uvm.channels:
        return INVALID_CHANNEL
    channel, window = uvm.channels.pop((root, handle))
    uvm.ranges.pop(window, None)
    channel.bound = False
    return OK


def _create_range(uvm: Uvm, data: bytearray) -> int:
    base, length = struct.unpack_from("<QQ", data)
    if _is_bad_range(base, length):
        return INVALID_ADDRESS
    if uvm.overlaps(base, length):
        return UVM_ADDRESS_IN_USE
    uvm.ranges[base] = length
    return OK


def _free_range(uvm: Uvm, data: bytearray) -> int:
    base, length = struct.unpack_from("<QQ", data)
    return _free(uvm, base) if uvm.ranges.get(base) == length else INVALID_ADDRESS


def _free_base(uvm: Uvm, data: bytearray) -> int:
    base = struct.unpack_from("<Q", data)[0]
    return _free(uvm, base) if base in uvm.ranges else INVALID_ADDRESS


def _free(uvm: Uvm, base: int) -> int:
    length = uvm.ranges.pop(base)
    for one in uvm.gpus.values():
        if one.va_space is not None:
            one.va_space.space.unmap(base, length)
    return OK


def _map(uvm: Uvm, data: bytearray) -> int:
    base, length, offset = struct.unpack_from("<QQQ", data)
    count = struct.unpack_from("<Q", data, 9240)[0]
    root, handle = struct.unpack_from("<II", data, 9252)
    if _is_bad_range(base, length):
        return INVALID_ADDRESS
    if not 0 < count <= _MOST_GPUS:
        return INVALID_ARGUMENT
    if not uvm.range_of(base, length):
        return INVALID_ADDRESS
    for place in range(count):
        at = 24 + place * _ATTRIBUTE_BYTES
        mapping = struct.unpack_from("<I", data, at + 16)[0]
        one = uvm.gpus.get(_uuid(data, at))
        if mapping > 4:
            return INVALID_ARGUMENT
        if one is None or one.va_space is None:
            return INVALID_DEVICE
        status, backing, item = uvm.object_of(root, handle, Backing)
        if status != OK:
            return status
        if backing.in_vram and item.gpu is not one.gpu:
            return INVALID_DEVICE  # peers are not modelled
        if offset + length > backing.size:
            return INVALID_OFFSET
        one.va_space.space.map(base, length, backing, offset, read_only=mapping == _READ_ONLY)
    return OK


def _unmap(uvm: Uvm, data: bytearray) -> int:
    base, length = struct.unpack_from("<QQ", data)
    if _is_bad_range(base, length) or not uvm.range_of(base, length):
        return INVALID_ADDRESS
    one = uvm.gpus.get(_uuid(data, 16))
    if one is None:
        return INVALID_DEVICE
    if one.va_space is not None:
        one.va_space.space.unmap(base, length)
    return OK


# number: (bytes, where rmStatus is, what is done)
_CALLS: dict[int, tuple[int, int | None, Callable[[Uvm, bytearray], int]]] = {
    INITIALIZE: (16, 8, _initialize),
    DEINITIALIZE: (0, None, lambda uvm, data: OK),
    MM_INITIALIZE: (8, 4, _mm_initialize),
    37: (40, 36, _register_gpu),
    38: (20, 16, _unregister_gpu),
    25: (32, 28, _register_space),
    26: (20, 16, _unregister_space),
    27: (56, 48, _register_channel),
    28: (28, 24, _unregister_channel),
    73: (24, 16, _create_range),
    34: (24, 16, _free_range),
    33: (9264, 9260, _map),
    66: (40, 32, _unmap),
}
_CALLS_590 = _CALLS | {28: (12, 8, _unregister_channel), 34: (16, 8, _free_base)}
