"""The files of a loaded driver, modelled: /proc texts, the kernel log, /dev/nvidiactl, /dev/nvidiaN and /dev/nvidia-uvm with
their ioctls and what may be mapped through them.

Strict where the driver is. Source: open-gpu-kernel-modules 580.105.08: kernel-open/nvidia/nv.c nvidia_ioctl (which escape
on which node, sizes, a lost GPU), arch/nvalloc/unix/src/escape.c RmIoctl; open of a node initializes the GPU."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from base.errors import Unavailable, WaitTimeout
from gpumodel.nvidia.chips import VENDOR
from gpumodel.nvidia.gpu import NvGpu
from gpumodel.nvidia.machine import Machine
from gpumodel.nvidia.mappings import DoorbellPage, MemoryMapping, ModelMapping, TelemetryPage
from gpumodel.nvidia.memory import Backing
from gpumodel.nvidia.objects import Doorbell
from gpumodel.nvidia.rm import Rm
from gpumodel.nvidia.uvm import Uvm

T = TypeVar("T")

CARD_INFO, REGISTER_FD = 0xC8, 0xC9
RM_FREE, RM_CONTROL, RM_ALLOC, RM_MAP_MEMORY = 0x29, 0x2A, 0x2B, 0x4E
CARD_BYTES, ALLOC_BYTES, CONTROL_BYTES, FREE_BYTES, MAP_BYTES = 72, (32, 48), 32, 16, 56
MOST_CARDS = 32  # NV_MAX_DEVICES
UVM_NODE = "/dev/nvidia-uvm"


class GivenUp(Exception):
    """A call that sticks longer than its caller waits."""


class ModelFiles:
    """DriverFiles (pcibus/driverfiles.py) of a machine's driver; each open file is a handle from 3 up."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.rm = Rm(machine, self._stick)
        self._nodes: dict[int, NvGpu | None] = {}  # None: /dev/nvidiactl
        self._contexts: dict[int, tuple[Any, int, int]] = {}  # what may be mapped through a file, from where, how much
        self._uvms: dict[int, Uvm] = {}
        self._next = 3
        self._deadline: float | None = None

    # ---- texts

    def read_text(self, path: str) -> str:
        machine = self.machine
        texts: dict[str, Callable[[], str]] = {}
        if machine.driver:
            texts["/proc/driver/nvidia/version"] = machine.version_text
            for gpu in (one for one in machine.gpus if one.bound):
                texts[f"/proc/driver/nvidia/gpus/{gpu.bdf}/information"] = lambda gpu=gpu: machine.information_text(gpu)  # type: ignore[misc]
        if path in texts:
            return texts[path]()
        raise Unavailable(f"reading {path}", expected="a file", seen=os.strerror(errno.ENOENT), where=path)

    def kernel_log(self) -> str:
        return self.machine.log_text()

    def uptime_s(self) -> float:
        return self.machine.uptime_s()

    def note(self, text: str) -> None:
        self.machine.note(text)

    # ---- nodes

    def open(self, path: str) -> int:
        self._may_open(path)
        if path == UVM_NODE:
            handle, self._next = self._next, self._next + 1
            self._uvms[handle] = Uvm(self.rm, self._uvms.get)
            return handle
        node = self._node(path)
        if node is not None and not node.bound:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), path)
        if node is not None and (node.lost or not (self.rm.is_attached(node) or node.can_start)):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)  # initialization fails
        handle, self._next = self._next, self._next + 1
        self._nodes[handle] = node
        if node is not None:
            self.rm.attach(node)
        return handle

    def _may_open(self, path: str) -> None:
        """What a container, its rights, or an unload in progress leave of the nodes."""
        machine = self.machine
        if not machine.driver or path in machine.missing_nodes:
            number = errno.ENOENT
        elif path in machine.denied_nodes:
            number = errno.EACCES
        elif machine.unloading:
            number = errno.ENXIO  # fs/char_dev.c chrdev_open: nobody has these numbers any more
        else:
            return
        raise OSError(number, os.strerror(number), path)

    def _node(self, path: str) -> NvGpu | None:
        nodes: dict[str, NvGpu | None] = {f"/dev/nvidia{gpu.index}": gpu for gpu in self.machine.gpus}
        nodes["/dev/nvidiactl"] = None
        if path not in nodes:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return nodes[path]

    def close(self, handle: int) -> None:
        if handle in self._uvms:
            self._uvms.pop(handle).close()
            return
        if handle not in self._nodes:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        node = self._nodes.pop(handle)
        self._contexts.pop(handle, None)
        if node is not None:
            self.rm.detach(node)
        else:
            self.rm.close_clients(handle)

    def ioctl(self, handle: int, request: int, data: bytearray, pointers: Mapping[int, bytearray]) -> None:
        """The kernel looks at number and size only; a size that is not the buffer's is the caller's defect."""
        if handle in self._uvms:
            self._uvms[handle].ioctl(request, data)
            return
        if handle not in self._nodes:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        if size != len(data):
            raise ValueError(f"request {request:#x} says {size} bytes, the buffer has {len(data)}")
        node = self._nodes[handle]
        on_ctl = node is None
        if node is not None and node.lost:
            raise _invalid()
        if number == REGISTER_FD:
            self._register(on_ctl, data)
        elif number == CARD_INFO:
            self._card_info(on_ctl, data)
        elif number == RM_ALLOC:
            self._need(on_ctl and size in ALLOC_BYTES)
            self.rm.alloc(handle, data, pointers.get(16))
        elif number == RM_CONTROL:
            self._need(on_ctl and size == CONTROL_BYTES)
            self.rm.control(data, pointers.get(16))
        elif number == RM_FREE:
            self._need(on_ctl and size == FREE_BYTES)
            self.rm.free(data)
        elif number == RM_MAP_MEMORY:
            self._need(on_ctl and size == MAP_BYTES)
            self._map(data)
        else:
            raise _invalid()

    def _map(self, data: bytearray) -> None:
        """Only keeps a context on the file that is named, one for each: of system memory on nvidiactl, of a GPU's memory and
        registers on its own node (escape.c rm_create_mmap_context)."""
        other = struct.unpack_from("<i", data, 48)[0]
        self._need(other in self._nodes and other not in self._contexts)
        found = self.rm.map_memory(data)
        if found is None:
            return
        of_gpu = isinstance(found.payload, Doorbell) or (isinstance(found.payload, Backing) and found.payload.in_vram)
        self._need(self._nodes[other] is (found.gpu if of_gpu else None))
        self._contexts[other] = (found, *struct.unpack_from("<QQ", data, 16))

    def mmap(self, handle: int, size: int, *, writable: bool = False) -> ModelMapping:
        if handle not in self._nodes:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        found, offset, length = self._contexts.get(handle, (None, 0, 0))
        if found is None or size > length:
            raise _invalid()
        if isinstance(found.payload, Doorbell):
            return DoorbellPage(found.gpu, writable=writable)
        if isinstance(found.payload, Backing):
            return MemoryMapping(found.gpu, found.payload, offset, size, writable=writable)
        return TelemetryPage(self.rm, found.gpu)

    def _need(self, holds: bool) -> None:
        if not holds:
            raise _invalid()

    def _register(self, on_ctl: bool, data: bytearray) -> None:
        self._need(not on_ctl and len(data) == 4)
        other = struct.unpack("<i", data)[0]
        self._need(other in self._nodes and self._nodes[other] is None)

    def _card_info(self, on_ctl: bool, data: bytearray) -> None:
        self._need(on_ctl and len(data) >= CARD_BYTES * len(self.machine.gpus) and len(data) % CARD_BYTES == 0)
        data[:] = bytes(len(data))
        for place, gpu in enumerate(self.machine.gpus):
            at = place * CARD_BYTES
            bus = int(gpu.bdf[5:7], 16)
            registers, memory = gpu.bars[0], gpu.bars[2 if gpu.chip.is_wide else 1]
            data[at] = gpu.bound
            struct.pack_into("<IBBB", data, at + 4, 0, bus, 0, 0)
            struct.pack_into("<HHI", data, at + 12, VENDOR, gpu.chip.device, gpu.gpu_id)
            struct.pack_into("<QQQQ", data, at + 24, registers.address, registers.size, memory.address, memory.size)
            struct.pack_into("<I", data, at + 56, gpu.index)

    # ---- time

    def apart(self, work: Callable[[], T], limit_s: float, doing: str) -> T:
        """A call that would stick until after the limit is given up then, as a child that is killed."""
        before, self._deadline = self._deadline, self.machine.clock.now() + limit_s
        try:
            return work()
        except GivenUp:
            raise WaitTimeout(
                doing, expected=f"an answer within {limit_s:g} s", seen=f"none within {limit_s:g} s"
            ) from None
        finally:
            self._deadline = before

    def _stick(self, seconds: float) -> None:
        clock = self.machine.clock
        if self._deadline is not None and clock.now() + seconds > self._deadline:
            clock.sleep(max(0.0, self._deadline - clock.now()))
            raise GivenUp
        clock.sleep(seconds)


def _invalid() -> OSError:
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL))
