"""RM's objects of a GPU that work needs: memory, VA spaces, channel groups, channels, engines, the doorbell page.

Source: open-gpu-kernel-modules 580.105.08: rmapi/resource_list.h (parents, parameters), gpu/fifo/kernel_channel.c
kchannelConstruct and kchannelIsSchedulable, kernel_channel_group_api.c, kernel_ctxshare.c, mem_mgr/system_mem.c, video_mem.c,
kernel_channel_gv100.c (USERD). Sizes by branch: compiled from the headers (nvidia-rm.md section 12)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpumodel.nvidia.channel import USERD_BYTES, Channel
from gpumodel.nvidia.fifo import copy_index
from gpumodel.nvidia.memory import AddressSpace, Backing, Wanted

if TYPE_CHECKING:
    from gpumodel.nvidia.gpu import NvGpu
    from gpumodel.nvidia.rm import Rm

OK, INVALID_ARGUMENT, INVALID_CLASS, INVALID_OBJECT_PARENT, INVALID_STATE = 0x00, 0x1F, 0x22, 0x36, 0x40
NO_MEMORY, OBJECT_NOT_FOUND, NOT_SUPPORTED = 0x51, 0x57, 0x56

DEVICE, SUBDEVICE = 0x80, 0x2080
HOST_MEMORY, VIDEO_MEMORY, VA_SPACE, CONTEXT_SHARE, CHANNEL_GROUP = 0x3E, 0x40, 0x90F1, 0x9067, 0xA06C
CHANNELS = frozenset((0xC36F, 0xC46F, 0xC56F, 0xC86F, 0xC96F, 0xCA6F))
DOORBELLS = frozenset((0xC361, 0xC461, 0xC561, 0xC661, 0xC761))
COMPUTES = frozenset((0xC3C0, 0xC5C0, 0xC6C0, 0xC7C0, 0xC9C0, 0xCBC0, 0xCDC0, 0xCEC0))
COPIES = frozenset((0xC3B5, 0xC5B5, 0xC6B5, 0xC7B5, 0xC8B5, 0xC9B5, 0xCAB5))
CHANNEL_KIND = 0xC36F  # stands for every channel class where a control names its class
_EXTERNALLY_OWNED = 1 << 3  # NV_VASPACE_ALLOCATION_FLAGS


@dataclass(slots=True)
class VaSpace:
    """`owned_outside`: UVM fills it; what is mapped in it otherwise is not modelled."""

    space: AddressSpace
    owned_outside: bool


@dataclass(slots=True)
class Group:
    engine_type: int
    va_space: VaSpace | None
    legacy: bool | None = None  # whether its channels have no context share; None: no channel yet


@dataclass(slots=True)
class Share:
    va_space: VaSpace


@dataclass(frozen=True, slots=True)
class Request:
    """An allocation that has come so far: parent of the right class, parameters of the right size."""

    rm: Rm
    client: Any  # rm._Client
    gpu: NvGpu
    number: int
    parent: int
    above: Any  # rm._Object
    params: bytes

    def u32(self, offset: int) -> int:
        return int(struct.unpack_from("<I", self.params, offset)[0])

    def u64(self, offset: int) -> int:
        return int(struct.unpack_from("<Q", self.params, offset)[0])

    def payload(self, handle: int, kind: type) -> Any:
        """What hangs on a handle of this client, if it is of this kind."""
        found = self.client.objects.get(handle)
        return found.payload if found is not None and isinstance(found.payload, kind) else None


# (status, what hangs on the new object)
Made = tuple[int, Any]


def _memory(ask: Request) -> Made:
    in_vram = ask.number == VIDEO_MEMORY
    wanted = Wanted.parse(ask.params)
    if not wanted.is_valid(in_vram=in_vram):
        return INVALID_ARGUMENT, None
    size = wanted.rounded
    if in_vram and size > ask.gpu.vram_free:
        return NO_MEMORY, None
    try:
        backing = Backing(size, in_vram=in_vram, freed=ask.gpu.give_back if in_vram else lambda _: None)
    except (OSError, OverflowError, ValueError):
        return NO_MEMORY, None
    if in_vram:
        ask.gpu.vram_used += size
    return OK, backing


def _va_space(ask: Request) -> Made:
    return OK, VaSpace(AddressSpace(), bool(ask.u32(4) & _EXTERNALLY_OWNED))


def _group(ask: Request) -> Made:
    engine_type, handle = ask.u32(12), ask.u32(8)
    if not ask.gpu.fifo.has_engine(engine_type):
        return INVALID_ARGUMENT, None
    space = ask.payload(handle, VaSpace) if handle else None
    return (OBJECT_NOT_FOUND, None) if handle and space is None else (OK, Group(engine_type, space))


def _share(ask: Request) -> Made:
    space = ask.payload(ask.u32(0), VaSpace)
    return (OBJECT_NOT_FOUND, None) if space is None else (OK, Share(space))


def _channel(ask: Request) -> Made:
    if ask.above.number != CHANNEL_GROUP:
        return NOT_SUPPORTED, None  # below a device: RM wraps it in a group of its own, which is not modelled
    group: Group = ask.above.payload
    share_handle, space_handle = ask.u32(24), ask.u32(28)
    if space_handle:
        return INVALID_ARGUMENT, None  # a channel of a group has its VA space from the group or the context share
    if group.legacy is not None and group.legacy is not (share_handle == 0):
        return INVALID_ARGUMENT, None
    if share_handle and share_handle not in ask.client.objects:
        return OBJECT_NOT_FOUND, None
    if share_handle and ask.client.objects[share_handle].parent != ask.parent:
        return INVALID_OBJECT_PARENT, None
    share = ask.payload(share_handle, Share) if share_handle else None
    engine_type = ask.u32(128)
    if engine_type and engine_type != group.engine_type:
        return INVALID_ARGUMENT, None
    space = share.va_space if share is not None else group.va_space
    userd, notifier = ask.payload(ask.u32(32), Backing), ask.payload(ask.u32(0), Backing)
    if space is None:
        return INVALID_STATE, None  # a device's own VA space is not modelled
    if userd is None or (ask.u32(0) and notifier is None):
        return OBJECT_NOT_FOUND, None
    entries, at = ask.u32(16), ask.u64(64)
    if at % USERD_BYTES or at + USERD_BYTES > userd.size or not entries or entries & entries - 1:
        return INVALID_ARGUMENT, None
    group.legacy = share_handle == 0
    made = Channel(
        gpu=ask.gpu.fifo, space=space.space, group=ask.parent, runlist=ask.gpu.fifo.runlist_of(group.engine_type),
        number=ask.gpu.fifo.new_number(), engine_type=group.engine_type, ring=ask.u64(8), entries=entries, userd=userd,
        userd_offset=at, notifier=notifier, privileged=ask.rm.machine.is_admin,
    )  # fmt: skip
    struct.pack_into("<I", userd.view, at + 0x88, 0)
    ask.gpu.fifo.add(made)
    return OK, made


def _engine(ask: Request) -> Made:
    channel: Channel = ask.above.payload
    compute = ask.number in COMPUTES
    if compute and copy_index(channel.engine_type) is not None:
        return INVALID_CLASS, None  # gpuGetClassByEngineAndClassId: this engine has no such class
    channel.classes.add(ask.number)
    return OK, None


def _doorbell(ask: Request) -> Made:
    return OK, Doorbell(ask.gpu)


@dataclass(frozen=True, slots=True)
class Doorbell:
    gpu: NvGpu


@dataclass(frozen=True, slots=True)
class Class:
    """`sizes`: of its parameters in branches 570, 580, 590; `needs_gsp`: allocating it goes to the GPU's firmware."""

    parents: frozenset[int]
    sizes: tuple[int, int, int]
    required: bool
    make: Callable[[Request], Made]
    needs_gsp: bool = False


_BELOW_DEVICE = frozenset((DEVICE,))
_BELOW_EITHER = frozenset((DEVICE, SUBDEVICE))
CLASSES: dict[int, Class] = {
    HOST_MEMORY: Class(_BELOW_DEVICE, (128, 128, 128), True, _memory),
    VIDEO_MEMORY: Class(_BELOW_EITHER, (128, 128, 128), True, _memory),
    VA_SPACE: Class(_BELOW_EITHER, (48, 56, 56), True, _va_space),
    CHANNEL_GROUP: Class(_BELOW_DEVICE, (20, 20, 20), True, _group, needs_gsp=True),
    CONTEXT_SHARE: Class(frozenset((CHANNEL_GROUP,)), (12, 12, 12), True, _share, needs_gsp=True),
    **dict.fromkeys(
        CHANNELS, Class(frozenset((DEVICE, CHANNEL_GROUP)), (368, 368, 368), True, _channel, needs_gsp=True)
    ),
    **dict.fromkeys(COPIES, Class(CHANNELS, (8, 8, 8), False, _engine, needs_gsp=True)),
    **dict.fromkeys(COMPUTES, Class(CHANNELS, (16, 16, 16), False, _engine, needs_gsp=True)),
    **dict.fromkeys(DOORBELLS, Class(frozenset((SUBDEVICE,)), (2, 2, 2), False, _doorbell)),
}


def freed(gpu: NvGpu | None, payload: object) -> None:
    """An object is gone: its channel runs no more."""
    if isinstance(payload, Channel) and gpu is not None:
        payload.stop()
        gpu.fifo.remove(payload)


# ---- controls of these objects: (class, sizes by branch, needs GSP, answer(rm, object, parameters))


def _schedule(rm: Rm, item: Any, params: bytearray) -> int:
    """kchangrpapiCtrlCmdGpFifoSchedule: channels of graphics in a VA space of UVM's must be registered with it first."""
    handle = next(key for client in rm.clients.values() for key, one in client.objects.items() if one is item)
    members = [one for one in item.gpu.fifo.channels.values() if one.group == handle]
    if any(not one.bound and copy_index(one.engine_type) is None for one in members):
        return INVALID_STATE
    for one in members:
        one.scheduled = bool(params[0])
    return OK


def _token(rm: Rm, item: Any, params: bytearray) -> int:
    struct.pack_into("<I", params, 0, item.payload.token)
    return OK


def _mmu_fault(rm: Rm, item: Any, params: bytearray) -> int:
    """NV906F_CTRL_GET_MMU_FAULT_INFO: told once."""
    fault, item.payload.fault = item.payload.fault, None
    address, kind = fault or (0, 0)
    struct.pack_into("<III", params, 0, address >> 32, address & 0xFFFFFFFF, kind)
    return OK


CONTROLS: dict[int, tuple[int, tuple[int, int, int], bool, Callable[[Rm, Any, bytearray], int]]] = {
    0xA06C0101: (CHANNEL_GROUP, (2, 3, 3), True, _schedule),
    0xC36F0108: (CHANNEL_KIND, (4, 4, 4), False, _token),
    0x906F0106: (CHANNEL_KIND, (104, 104, 104), True, _mmu_fault),
}
