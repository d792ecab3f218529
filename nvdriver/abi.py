"""What the ioctls of the NVIDIA kernel driver look like, by driver branch: numbers, structures, sizes.

Source: nvidia-rm.md sections 2, 3, 7 and 12; sizes and offsets compiled from the headers of open-gpu-kernel-modules
570.144, 580.105.08 and 590.48.01. The driver refuses a structure of another size (NV_ERR_INVALID_PARAM_STRUCT), so one table a
branch, chosen by the driver's own word; a branch without a table is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from base.errors import Refused

CTL_NODE = "/dev/nvidiactl"
UVM_NODE = "/dev/nvidia-uvm"
NODE_MAJOR = 195

# Escapes (nv_escape.h, nv-ioctl-numbers.h)
CARD_INFO, REGISTER_FD, CHECK_VERSION = 0xC8, 0xC9, 0xD2
RM_FREE, RM_CONTROL, RM_ALLOC, RM_MAP_MEMORY = 0x29, 0x2A, 0x2B, 0x4E
CARD_ENTRY_BYTES, CARD_ENTRIES = 72, 64

# Classes; those of a generation: gpuclasses.py
ROOT, DEVICE, SUBDEVICE, SHARED_DATA = 0x41, 0x80, 0x2080, 0xDE
HOST_MEMORY, VIDEO_MEMORY, VA_SPACE, CONTEXT_SHARE, CHANNEL_GROUP = 0x3E, 0x40, 0x90F1, 0x9067, 0xA06C

# Engine types (class/cl2080_notification.h); copy engines go on at 0x34 after the tenth
ENGINE_GRAPHICS, ENGINE_COPY0, ENGINE_COPY10, NEAR_COPIES = 1, 9, 0x34, 10


def request(number: int, size: int) -> int:
    """The ioctl request of an escape: read and write, magic 'F'."""
    return 3 << 30 | size << 16 | 0x46 << 8 | number


@dataclass(frozen=True, slots=True)
class Control:
    """One control call. `gsp`: forwarded to the GPU's firmware, so it hangs for a while when that is dead."""

    name: str
    command: int
    size: int
    gsp: bool = False


# name: (command, gsp, size by branch: one number, or (570, 580, 590); None: that branch has no such control)
_CONTROLS: tuple[tuple[str, int, bool, int | tuple[int | None, int, int]], ...] = (
    ("SYSTEM_GET_BUILD_VERSION_V2", 0x0000013E, False, 1032),
    ("GPU_GET_ATTACHED_IDS", 0x00000201, False, 128),
    ("GPU_GET_ID_INFO_V2", 0x00000205, False, 32),
    ("GPU_QUERY_DRAIN_STATE", 0x00000279, False, 12),
    ("GET_CLASSLIST_V2", 0x00800292, False, (404, 804, 804)),
    ("GPU_GET_NAME_STRING", 0x20800110, False, 132),
    ("GPU_GET_GID_INFO", 0x2080014A, False, 268),
    ("MC_GET_ARCH_INFO", 0x20801701, False, 16),
    ("GPU_GET_RECOVERY_ACTION", 0x208001B2, False, 4),
    ("NVLINK_GET_NVLINK_STATUS", 0x20803002, False, (13320, 13344, 13864)),
    ("GET_GPU_FABRIC_PROBE_INFO", 0x208001A3, False, (48, 56, 56)),
    ("FB_GET_INFO_V2", 0x20801303, False, (460, 1028, 1028)),
    ("GPU_GET_RESET_STATUS", 0x208001AB, True, 1),
    ("GPU_GET_DRAIN_AND_RESET_STATUS", 0x208001AE, True, 1),
    ("GPU_QUERY_ECC_STATUS", 0x2080012F, True, (1464, 1464, 1664)),
    ("ECC_GET_VOLATILE_COUNTS", 0x20803401, True, 40),
    ("ECC_GET_REPAIR_STATUS", 0x20803404, True, (None, 2, 2)),
    ("FB_GET_REMAPPED_ROWS", 0x20801344, True, 6152),
    ("PERF_GET_CURRENT_PSTATE", 0x20802068, True, 4),
)


# Controls of channels, and those that bring-up asks: no probe calls them
_WORK_CONTROLS: tuple[tuple[str, int, bool, int | tuple[int | None, int, int]], ...] = (
    ("GPFIFO_SCHEDULE", 0xA06C0101, True, (2, 3, 3)),
    ("GET_WORK_SUBMIT_TOKEN", 0xC36F0108, False, 4),
    ("GET_MMU_FAULT_INFO", 0x906F0106, True, 104),
    ("CE_GET_ALL_CAPS", 0x20802A0A, False, 136),
    ("TIMER_GET_TIME", 0x20800403, False, 8),
)


@dataclass(frozen=True, slots=True)
class Branch:
    """The table of one driver branch. `work`: controls of channels; `va_space_bytes`: NV_VASPACE_ALLOCATION_PARAMETERS.

    `links_at`, `link_bytes`: the rows of NVLINK_GET_NVLINK_STATUS; `ecc_units`: how many
    rows GPU_QUERY_ECC_STATUS has. `uvm_short`: UVM frees a range by its base alone, and knows a channel without its GPU."""

    number: int
    controls: Mapping[str, Control]
    work: Mapping[str, Control]
    va_space_bytes: int
    links_at: int
    link_bytes: int
    ecc_units: int
    uvm_short: bool


def _branch(place: int, number: int, links_at: int, link_bytes: int, ecc_units: int) -> Branch:
    return Branch(
        number,
        _controls(_CONTROLS, place),
        _controls(_WORK_CONTROLS, place),
        48 if number == 570 else 56,
        links_at,
        link_bytes,
        ecc_units,
        uvm_short=number >= 590,
    )


def _controls(
    rows: tuple[tuple[str, int, bool, int | tuple[int | None, int, int]], ...], place: int
) -> Mapping[str, Control]:
    controls = {}
    for name, command, gsp, sizes in rows:
        size = sizes if isinstance(sizes, int) else sizes[place]
        if size is not None:
            controls[name] = Control(name, command, size, gsp)
    return MappingProxyType(controls)


_TABLES = {
    570: _branch(0, 570, links_at=8, link_bytes=208, ecc_units=36),
    580: _branch(1, 580, links_at=32, link_bytes=208, ecc_units=36),
    590: _branch(2, 590, links_at=32, link_bytes=216, ecc_units=41),
}

BRANCHES = tuple(_TABLES)


def branch_number(version: str) -> int | None:
    """580 of "580.105.08"; None for what is no version."""
    match = re.match(r"(\d{3})\.\d", version)
    return int(match[1]) if match else None


def branch_of(version: str, where: str) -> Branch:
    """The table for a driver's version. Raises Refused, with what was found, for a branch that has none."""
    number = branch_number(version)
    if number in _TABLES:
        return _TABLES[number]
    raise Refused(
        "choosing the structures of the NVIDIA driver",
        expected=f"a driver of branch {', '.join(map(str, BRANCHES))}",
        seen=version or "no version",
        where=where,
        next_step="use one of these branches; until then only PCI, the kernel log and the registers are asked",
    )
