"""The driver's resource manager (RM), modelled: clients, devices, subdevices, and the controls that tell a GPU's state.
Memory, channels and engines are in objects.py.

What is refused with which status: open-gpu-kernel-modules 580.105.08: resserv rs_resource.c resControlLookup (unknown
control: NOT_SUPPORTED, wrong size: INVALID_PARAM_STRUCT), rs_client.c (unknown object: OBJECT_NOT_FOUND), rs_server.c
(unknown client: INVALID_OBJECT_HANDLE), rmapi alloc_free.c (class, parent, device). Sizes: compiled from the headers of
570.144, 580.105.08 and 590.48.01 (nvidia-rm.md sections 7 and 12)."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpumodel.nvidia import objects
from gpumodel.nvidia.chips import NvChip
from gpumodel.nvidia.gpu import NvGpu
from gpumodel.nvidia.machine import Machine
from gpumodel.nvidia.memory import Backing
from gpumodel.nvidia.resets import unload

OK = 0x00
INSERT_DUPLICATE_NAME, NO_PERMISSION, INVALID_ARGUMENT, INVALID_CLASS = 0x19, 0x1B, 0x1F, 0x22
INVALID_OBJECT_HANDLE, INVALID_OBJECT_PARENT, INVALID_PARAM_STRUCT, INVALID_STATE = 0x33, 0x36, 0x3A, 0x40
NOT_SUPPORTED, OBJECT_NOT_FOUND, GPU_IS_LOST, TIMEOUT, INVALID_BASE, INVALID_LIMIT = 0x56, 0x57, 0x0F, 0x65, 0x20, 0x2E

ROOT_CLASSES = (0x00, 0x01, 0x41)
ROOT, DEVICE, SUBDEVICE, SHARED_DATA = 0x41, 0x80, 0x2080, 0xDE
PAGE_BYTES, READ_ONLY, DOORBELL_BYTES = 4096, 1, 64 << 10
# cl00de.h, compiled, of branches 570, 580, 590: offsets of clocks, bytes of a clock, throttling, power limit, temperatures,
# average power; which temperature is that of HBM
PAGES = (
    (72, 4, 96, 280, 296, 368, 1), (72, 4, 96, 2280, 2296, 2416, 4), (72, 8, 112, 2296, 2312, 2432, 4),
)  # fmt: skip
# What has a class number in the driver; others are unknown to it. A GPU has those of its generation only.
KNOWN_CLASSES = frozenset((
    0x3E, 0x40, 0x70, 0x71, 0x79, SHARED_DATA, 0x83DE, 0x9067, 0x90F1, 0xA06C,
    0xC36F, 0xC46F, 0xC56F, 0xC86F, 0xC96F, 0xCA6F, 0xC361, 0xC461, 0xC561, 0xC661, 0xC761,
    0xC5C0, 0xC6C0, 0xC7C0, 0xC9C0, 0xCBC0, 0xCDC0, 0xCEC0, 0xC5B5, 0xC6B5, 0xC7B5, 0xC8B5, 0xC9B5, 0xCAB5,
))  # fmt: skip
_COMMON_CLASSES = (0x3E, 0x40, 0x70, 0x71, 0x79, 0x80, 0xDE, 0x2080, 0x83DE, 0x9067, 0x90F1, 0xA06C)
_ALLOC_BYTES = {DEVICE: 56, SUBDEVICE: 4}
_MOST_DEVICES = 32

# kernel_gsp.c _kgspRpcRecvPoll waits 1.5 times the default; what the log of such a GPU says is 45 s (user-wants.md B2)
GSP_TIMEOUT_S = 45.0
GSP_ANSWER_S = 0.002  # guess: "ms" (nvidia-rm.md section 7)


@dataclass(slots=True)
class _Object:
    number: int
    parent: int
    gpu: NvGpu | None = None
    payload: Any = None  # what it stands for (objects.py)

    @property
    def kind(self) -> int:
        """The class that controls name: one for all generations of channels."""
        return objects.CHANNEL_KIND if self.number in objects.CHANNELS else self.number


@dataclass(slots=True)
class _Client:
    handle: int
    file: int
    objects: dict[int, _Object] = field(default_factory=dict)
    next_handle: int = 0xCAF00000  # RS_UNIQUE_HANDLE_BASE: where RM is to pick

    def clear(self) -> None:
        """Every object is freed, channels first (resource_list.h: free priority)."""
        for item in self.objects.values():
            objects.freed(item.gpu, item.payload)
        self.objects.clear()


@dataclass(frozen=True, slots=True)
class _Control:
    """`sizes`: of branches 570, 580, 590, None where it is not known; `on`: the class it belongs to."""

    on: int
    sizes: tuple[int | None, int | None, int | None]
    answer: Callable[[Rm, NvGpu | None, bytearray], int]
    needs_gsp: bool = False
    needs_root: bool = False


class Rm:
    """`stick`: what a call does that waits for something dead."""

    def __init__(self, machine: Machine, stick: Callable[[float], None]) -> None:
        self.machine = machine
        self.stick = stick
        self.clients: dict[int, _Client] = {}
        self.unknown: Counter[int] = Counter()  # controls that are not modelled
        self._next_client = 0xC1D00000  # cl0000.h: client handles start there

    @property
    def branch(self) -> int:
        """0, 1, 2: the columns of the tables; what is newer than the newest has its sizes."""
        major = int(re.match(r"\d+", self.machine.driver or "0")[0])  # type: ignore[index]
        return 0 if major < 575 else 1 if major < 585 else 2

    # ---- who uses a GPU

    @property
    def users(self) -> Counter[int]:
        """Open nodes by GPU."""
        return Counter({gpu.index: gpu.users for gpu in self.machine.gpus if gpu.users})

    def attach(self, gpu: NvGpu) -> None:
        """The first user has the driver start the GPU."""
        if not self.is_attached(gpu):
            gpu.start_gsp()
        gpu.users += 1

    def detach(self, gpu: NvGpu) -> None:
        """After the last one the driver stops it."""
        gpu.users -= 1
        if not self.is_attached(gpu):
            unload(gpu)

    def is_attached(self, gpu: NvGpu) -> bool:
        return gpu.rm.persistent or gpu.users > 0

    def close_clients(self, file: int) -> None:
        for handle in [handle for handle, client in self.clients.items() if client.file == file]:
            self.clients.pop(handle).clear()

    # ---- escapes

    def alloc(self, file: int, data: bytearray, params: bytearray | None) -> None:
        """NVOS21 (32 bytes) or NVOS64 (48)."""
        root, parent, handle, number = struct.unpack_from("<IIII", data)
        wide = len(data) == 48
        size = struct.unpack_from("<I", data, 32 if wide else 24)[0]
        status, made = self._alloc(file, root, parent, handle, number, size, params)
        struct.pack_into("<I", data, 8, made)
        struct.pack_into("<I", data, 40 if wide else 28, status)

    def _alloc(
        self, file: int, root: int, parent: int, handle: int, number: int, size: int, params: bytearray | None
    ) -> tuple[int, int]:
        if number in ROOT_CLASSES:
            return self._new_client(file, handle)
        if number not in (DEVICE, SUBDEVICE) and number not in KNOWN_CLASSES:
            return INVALID_CLASS, handle
        client = self.clients.get(root)
        if client is None:
            return INVALID_OBJECT_HANDLE, handle
        above = _Object(ROOT, 0) if parent == root else client.objects.get(parent)
        if above is None:
            return OBJECT_NOT_FOUND, handle
        if (size == 0) != (params is None) or (params is not None and len(params) != size):
            return INVALID_ARGUMENT, handle
        if handle in client.objects or handle == root:
            return INSERT_DUPLICATE_NAME, handle
        if not handle:
            handle, client.next_handle = client.next_handle, client.next_handle + 1
        if number == DEVICE:
            return self._new_device(client, above, handle, params)
        if number == SUBDEVICE:
            return self._new_subdevice(client, above, parent, handle, params)
        if number == SHARED_DATA:
            return self._new_shared_data(client, above, parent, handle, params)
        if number in objects.CLASSES:
            return self._new_object(
                client, above, parent, handle, number, b"" if params is None else bytes(params)
            ), handle
        return NOT_SUPPORTED, handle  # known to the driver, not to this model yet

    def _new_object(self, client: _Client, above: _Object, parent: int, handle: int, number: int, params: bytes) -> int:
        """What work needs: memory, VA spaces, channels, engines."""
        known = objects.CLASSES[number]
        if above.number not in known.parents:
            return INVALID_OBJECT_PARENT
        gpu = above.gpu
        assert gpu is not None, "each of its parents hangs below a device"
        if number not in class_list(gpu.chip):
            return INVALID_CLASS
        if len(params) != known.sizes[self.branch] and (params or known.required):
            return INVALID_ARGUMENT
        if gpu.lost:
            return GPU_IS_LOST
        if known.needs_gsp and not self.stick_for_gsp(gpu):
            return TIMEOUT
        status, payload = known.make(objects.Request(self, client, gpu, number, parent, above, params))
        if status == OK:
            client.objects[handle] = _Object(number, parent, gpu, payload)
        return status

    def stick_for_gsp(self, gpu: NvGpu | None = None) -> bool:
        """Wait for the firmware's answer; whether there is one. None: there is none."""
        alive = gpu is not None and gpu.rm.gsp_alive
        self.stick(GSP_ANSWER_S if alive else GSP_TIMEOUT_S)
        return alive

    def _new_client(self, file: int, handle: int) -> tuple[int, int]:
        if handle in self.clients:
            return INSERT_DUPLICATE_NAME, handle
        if not handle:
            handle, self._next_client = self._next_client, self._next_client + 1
        self.clients[handle] = _Client(handle, file)
        return OK, handle

    def _new_device(self, client: _Client, above: _Object, handle: int, params: bytearray | None) -> tuple[int, int]:
        if above.number != ROOT:
            return INVALID_OBJECT_PARENT, handle
        if params is None or len(params) != _ALLOC_BYTES[DEVICE]:
            return INVALID_ARGUMENT, handle
        instance = struct.unpack_from("<I", params)[0]
        if instance >= _MOST_DEVICES:
            return INVALID_ARGUMENT, handle
        if instance >= len(self.machine.gpus) or not self.is_attached(self.machine.gpus[instance]):
            return INVALID_STATE, handle
        gpu = self.machine.gpus[instance]
        if gpu.lost:
            return GPU_IS_LOST, handle
        client.objects[handle] = _Object(DEVICE, client.handle, gpu)
        return OK, handle

    def _new_subdevice(
        self, client: _Client, above: _Object, parent: int, handle: int, params: bytearray | None
    ) -> tuple[int, int]:
        if above.number != DEVICE:
            return INVALID_OBJECT_PARENT, handle
        if params is not None and len(params) != _ALLOC_BYTES[SUBDEVICE]:
            return INVALID_ARGUMENT, handle
        if params is not None and struct.unpack_from("<I", params)[0] != 0:
            return INVALID_ARGUMENT, handle
        client.objects[handle] = _Object(SUBDEVICE, parent, above.gpu)
        return OK, handle

    def _new_shared_data(
        self, client: _Client, above: _Object, parent: int, handle: int, params: bytearray | None
    ) -> tuple[int, int]:
        """The page of telemetry (resource_list.h: below a subdevice, parameters of 8 bytes)."""
        if above.number != SUBDEVICE:
            return INVALID_OBJECT_PARENT, handle
        if params is None or len(params) != 8:
            return INVALID_ARGUMENT, handle
        client.objects[handle] = _Object(SHARED_DATA, parent, above.gpu)
        return OK, handle

    def map_memory(self, data: bytearray) -> _Object | None:
        """NVOS33: what may be mapped through the file that it names; None with the status in `data`."""
        root, device, handle = struct.unpack_from("<III", data)
        offset, size = struct.unpack_from("<QQ", data, 16)
        flags = struct.unpack_from("<I", data, 44)[0]
        client = self.clients.get(root)
        memory = client.objects.get(handle) if client else None
        status = OK
        if client is None:
            status = INVALID_OBJECT_HANDLE
        elif memory is None or device not in client.objects:
            status = OBJECT_NOT_FOUND
        else:
            status = _mappable(memory, offset, size, read_only=flags & 3 == READ_ONLY)
        struct.pack_into("<I", data, 40, status)
        return memory if status == OK else None

    def shared_page(self, gpu: NvGpu) -> bytes:
        """What the page holds now: the groups that somebody polls."""
        page = bytearray(PAGE_BYTES)
        heat = gpu.rm.telemetry
        if not heat.polled:
            return bytes(page)
        clocks, clock_bytes, throttle, limit, temperatures, power, hbm = PAGES[self.branch]
        stamp = struct.pack("<Q", 1 + int(self.machine.uptime_s() * 1e9))
        for at in (clocks, throttle, limit, temperatures, temperatures + 16 * hbm, power):
            page[at : at + 8] = stamp
        for place, mhz in enumerate((heat.graphics_mhz, heat.memory_mhz, heat.graphics_mhz, heat.graphics_mhz)):
            struct.pack_into("<I", page, clocks + 8 + place * clock_bytes, mhz)
        struct.pack_into("<I", page, throttle + 8, heat.reasons)
        struct.pack_into("<II", page, limit + 8, heat.limit_mw, heat.limit_mw)
        struct.pack_into("<i", page, temperatures + 8, heat.gpu_c * 256)
        struct.pack_into("<i", page, temperatures + 16 * hbm + 8, heat.memory_c * 256)
        struct.pack_into("<I", page, power + 8, heat.power_mw)
        return bytes(page)

    def free(self, data: bytearray) -> None:
        """NVOS00; what hangs below goes too."""
        root, _, handle = struct.unpack_from("<III", data)
        client = self.clients.get(root)
        status = OK
        if client is None:
            status = INVALID_OBJECT_HANDLE
        elif handle == root:
            self.clients.pop(root).clear()
        elif handle not in client.objects:
            status = OBJECT_NOT_FOUND
        else:
            self._free(client, handle)
        struct.pack_into("<I", data, 12, status)

    def _free(self, client: _Client, handle: int) -> None:
        for below in [key for key, item in client.objects.items() if item.parent == handle]:
            self._free(client, below)
        item = client.objects.pop(handle)
        objects.freed(item.gpu, item.payload)

    def control(self, data: bytearray, params: bytearray | None) -> None:
        """NVOS54."""
        root, handle, command = struct.unpack_from("<III", data)
        size = struct.unpack_from("<I", data, 24)[0]
        struct.pack_into("<I", data, 28, self._control(root, handle, command, size, params))

    def _control(self, root: int, handle: int, command: int, size: int, params: bytearray | None) -> int:
        if (size == 0) != (params is None) or (params is not None and len(params) != size):
            return INVALID_ARGUMENT
        client = self.clients.get(root)
        if client is None:
            return INVALID_OBJECT_HANDLE
        target = _Object(ROOT, 0) if handle == root else client.objects.get(handle)
        if target is None:
            return OBJECT_NOT_FOUND
        if command in objects.CONTROLS:
            return self._object_control(target, command, params)
        known = CONTROLS.get(command)
        wanted = known.sizes[self.branch] if known else None
        if known is None or wanted is None or known.on != target.number:
            self.unknown[command] += known is None
            return NOT_SUPPORTED
        if params is None or size != wanted:
            return INVALID_PARAM_STRUCT
        if known.needs_root and not self.machine.is_admin:
            return NO_PERMISSION
        if target.gpu is not None and target.gpu.lost:
            return GPU_IS_LOST
        if known.needs_gsp and target.gpu is not None and not self.stick_for_gsp(target.gpu):
            return TIMEOUT
        return known.answer(self, target.gpu, params)

    def _object_control(self, target: _Object, command: int, params: bytearray | None) -> int:
        kind, sizes, needs_gsp, answer = objects.CONTROLS[command]
        if target.kind != kind:
            return NOT_SUPPORTED
        if params is None or len(params) != sizes[self.branch]:
            return INVALID_PARAM_STRUCT
        assert target.gpu is not None, "every object of a GPU's knows it"
        if target.gpu.lost:
            return GPU_IS_LOST
        if needs_gsp and not self.stick_for_gsp(target.gpu):
            return TIMEOUT
        return answer(self, target, params)


def _mappable(memory: _Object, offset: int, size: int, *, read_only: bool) -> int:
    """memMap_IMPL (mapping_cpu.c): which check answers. The page of telemetry may only be read."""
    if isinstance(memory.payload, objects.Doorbell):
        length = DOORBELL_BYTES
    elif isinstance(memory.payload, Backing):
        length = memory.payload.size
    elif memory.number == SHARED_DATA and read_only:
        length = PAGE_BYTES
    else:
        return INVALID_ARGUMENT  # guess: which of its checks answers first
    if offset >= length:
        return INVALID_BASE
    return OK if size and offset + size <= length else INVALID_LIMIT


# ---- the controls; each gets RM, the GPU (None: the client's own) and the parameters to fill


def _version(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    for at, text in ((0, rm.machine.driver), (256, "r580"), (512, "rel"), (768, "NVIDIA UNIX")):
        params[at : at + len(text)] = text.encode()
    return OK


def _attached(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    ids = [one.gpu_id for one in rm.machine.gpus if rm.is_attached(one)]
    struct.pack_into("<32I", params, 0, *ids, *[0xFFFFFFFF] * (32 - len(ids)))
    return OK


def _id_info(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    wanted = struct.unpack_from("<I", params)[0]
    for one in rm.machine.gpus:
        if one.gpu_id == wanted and rm.is_attached(one):
            struct.pack_into("<IIIIIII", params, 4, 0, one.index, 0, 0, one.index, one.index, 0xFFFFFFFF)
            return OK
    return INVALID_ARGUMENT


def _drain_state(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    wanted = struct.unpack_from("<I", params)[0]
    for one in rm.machine.gpus:
        if one.gpu_id == wanted:
            struct.pack_into("<II", params, 4, one.rm.draining, 0)
            return OK
    return INVALID_ARGUMENT


def _class_list(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    numbers = class_list(gpu.chip)
    struct.pack_into(f"<{1 + len(numbers)}I", params, 0, len(numbers), *numbers)
    return OK


def class_list(chip: NvChip) -> tuple[int, ...]:
    """What GET_CLASSLIST_V2 tells, of the classes that matter here."""
    return tuple(dict.fromkeys((*_COMMON_CLASSES, *chip.classes, *chip.older_classes)))


def _name(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    text = gpu.chip.product.encode()
    params[4 : 4 + 64] = text.ljust(64, b"\0")
    return OK


def _gid(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    uuid = gpu.chip.uuid(gpu.index)
    struct.pack_into("<I", params, 8, len(uuid))
    params[12 : 12 + len(uuid)] = uuid
    return OK


def _arch(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    struct.pack_into("<III", params, 0, gpu.chip.number & ~0xF, gpu.chip.number & 0xF, gpu.chip.revision)
    return OK


def _recovery(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    struct.pack_into("<I", params, 0, gpu.rm.recovery_action)
    return OK


def _links(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    if not gpu.chip.links:
        return NOT_SUPPORTED
    first, stride = ((8, 208), (32, 208), (32, 216))[rm.branch]
    struct.pack_into("<I", params, 0, sum(1 << link for link in gpu.rm.links))
    for link, state in gpu.rm.links.items():
        struct.pack_into("<I", params, first + link * stride + 8, state)
    return OK


def _fabric(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    params[0] = 3 if gpu.chip.links else 0  # complete; unsupported without NVLink
    if gpu.chip.links and len(params) > 48:
        params[48] = 1
    return OK


# BAR1 size, all memory, what of it is free: KiB
_FB: dict[int, Callable[[NvChip], int]] = {
    0x05: lambda chip: 1 << (chip.vram_size - 1).bit_length() - 10,
    0x08: lambda chip: chip.vram_size >> 10,
}
_FB_FREE = 0x16


def _fb_info(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    count = struct.unpack_from("<I", params)[0]
    if 4 + 8 * count > len(params):
        return INVALID_ARGUMENT
    for place in range(count):
        index = struct.unpack_from("<I", params, 4 + 8 * place)[0]
        if index not in _FB and index != _FB_FREE:
            return INVALID_ARGUMENT
        value = gpu.vram_free >> 10 if index == _FB_FREE else _FB[index](gpu.chip)
        struct.pack_into("<I", params, 8 + 8 * place, value)
    return OK


def _flag(bit: int) -> Callable[[Rm, NvGpu | None, bytearray], int]:
    """A byte that tells whether the recovery action is this one."""

    def answer(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
        assert gpu is not None
        params[0] = gpu.rm.recovery_action == bit
        return OK

    return answer


def _ecc_status(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    if not gpu.chip.has_ecc:
        return NOT_SUPPORTED
    for unit in range(4):  # guess: which of the 36 units a part has
        params[40 * unit], params[40 * unit + 2] = 1, 1
    struct.pack_into("<Q", params, 8, gpu.rm.uncorrected)
    return OK


def _ecc_volatile(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    if not gpu.chip.has_ecc:
        return NOT_SUPPORTED
    struct.pack_into("<5Q", params, 0, 0, 0, 0, 0, gpu.rm.uncorrected)
    return OK


def _remapped(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    if not gpu.chip.has_ecc:
        return NOT_SUPPORTED
    struct.pack_into("<IB", params, 0, gpu.rm.remap_rows, gpu.rm.remap_pending | gpu.rm.remap_failed << 1)
    return OK


def _repair(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    return OK  # nothing pending


def _pstate(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    struct.pack_into("<I", params, 0, 1)  # P0
    return OK


def _engines(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    """CE_GET_ALL_CAPS: which copy engines are there; what each can do is left empty. # guess"""
    assert gpu is not None
    struct.pack_into("<Q", params, 128, (1 << gpu.chip.copy_engines) - 1)
    return OK


def _time(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    assert gpu is not None
    struct.pack_into("<Q", params, 0, gpu.timer_ns())
    return OK


def _no_errors(rm: Rm, gpu: NvGpu | None, params: bytearray) -> int:
    return OK


def _same(size: int) -> tuple[int, int, int]:
    return (size, size, size)


CONTROLS: dict[int, _Control] = {
    0x0000013E: _Control(ROOT, _same(1032), _version),
    0x00000201: _Control(ROOT, _same(128), _attached),
    0x00000205: _Control(ROOT, _same(32), _id_info),
    0x00000279: _Control(ROOT, _same(12), _drain_state),
    0x00800292: _Control(DEVICE, (404, 804, 804), _class_list),
    0x20800110: _Control(SUBDEVICE, _same(132), _name),
    0x2080014A: _Control(SUBDEVICE, _same(268), _gid),
    0x20801701: _Control(SUBDEVICE, _same(16), _arch),
    0x208001B2: _Control(SUBDEVICE, _same(4), _recovery),
    0x20803002: _Control(SUBDEVICE, (13320, 13344, 13864), _links),
    0x208001A3: _Control(SUBDEVICE, (48, 56, 56), _fabric),
    0x20801303: _Control(SUBDEVICE, (460, 1028, 1028), _fb_info),
    0x208001AB: _Control(SUBDEVICE, _same(1), _flag(1), needs_gsp=True),
    0x208001AE: _Control(SUBDEVICE, _same(1), _flag(4), needs_gsp=True),
    0x2080012F: _Control(SUBDEVICE, (1464, 1464, 1664), _ecc_status, needs_gsp=True),
    0x20803401: _Control(SUBDEVICE, _same(40), _ecc_volatile, needs_gsp=True),
    0x20803402: _Control(SUBDEVICE, (None, 16804, None), _no_errors, needs_gsp=True, needs_root=True),
    0x20803404: _Control(SUBDEVICE, (None, 2, 2), _repair, needs_gsp=True),
    0x20801344: _Control(SUBDEVICE, _same(6152), _remapped, needs_gsp=True),
    0x20802068: _Control(SUBDEVICE, _same(4), _pstate, needs_gsp=True),
    0x20802A0A: _Control(SUBDEVICE, _same(136), _engines),
    0x20800403: _Control(SUBDEVICE, _same(8), _time),
}
