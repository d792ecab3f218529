"""The status codes of the kernel driver's resource manager (RM), as errors with a name and a next step.

Source: open-gpu-kernel-modules 580.105.08, src/common/sdk/nvidia/inc/nvstatuscodes.h (numbers and names); what to do:
nvidia-resets.md section 5, nvidia-rm.md sections 1 and 10."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from base.errors import DeviceLost, GpumendError

OK = 0

NAMES: Mapping[int, str] = MappingProxyType(
    {
        0x00: "NV_OK",
        0x03: "NV_ERR_BUSY_RETRY",
        0x0B: "NV_ERR_ECC_ERROR",
        0x0F: "NV_ERR_GPU_IS_LOST",
        0x10: "NV_ERR_GPU_IN_FULLCHIP_RESET",
        0x11: "NV_ERR_GPU_NOT_FULL_POWER",
        0x16: "NV_ERR_ILLEGAL_ACTION",
        0x17: "NV_ERR_IN_USE",
        0x1A: "NV_ERR_INSUFFICIENT_RESOURCES",
        0x1B: "NV_ERR_INSUFFICIENT_PERMISSIONS",
        0x12: "NV_ERR_GPU_UUID_NOT_FOUND",
        0x19: "NV_ERR_INSERT_DUPLICATE_NAME",
        0x1E: "NV_ERR_INVALID_ADDRESS",
        0x1F: "NV_ERR_INVALID_ARGUMENT",
        0x20: "NV_ERR_INVALID_BASE",
        0x21: "NV_ERR_INVALID_CHANNEL",
        0x22: "NV_ERR_INVALID_CLASS",
        0x23: "NV_ERR_INVALID_CLIENT",
        0x24: "NV_ERR_INVALID_COMMAND",
        0x26: "NV_ERR_INVALID_DEVICE",
        0x29: "NV_ERR_INVALID_FLAGS",
        0x2E: "NV_ERR_INVALID_LIMIT",
        0x31: "NV_ERR_INVALID_OBJECT",
        0x33: "NV_ERR_INVALID_OBJECT_HANDLE",
        0x34: "NV_ERR_INVALID_OBJECT_NEW",
        0x36: "NV_ERR_INVALID_OBJECT_PARENT",
        0x37: "NV_ERR_INVALID_OFFSET",
        0x3A: "NV_ERR_INVALID_PARAM_STRUCT",
        0x3B: "NV_ERR_INVALID_PARAMETER",
        0x3D: "NV_ERR_INVALID_POINTER",
        0x40: "NV_ERR_INVALID_STATE",
        0x51: "NV_ERR_NO_MEMORY",
        0x56: "NV_ERR_NOT_SUPPORTED",
        0x57: "NV_ERR_OBJECT_NOT_FOUND",
        0x5B: "NV_ERR_OUT_OF_RANGE",
        0x59: "NV_ERR_OPERATING_SYSTEM",
        0x60: "NV_ERR_RC_ERROR",
        0x62: "NV_ERR_RESET_REQUIRED",
        0x63: "NV_ERR_STATE_IN_USE",
        0x65: "NV_ERR_TIMEOUT",
        0x68: "NV_ERR_UVM_ADDRESS_IN_USE",
        0x7A: "NV_ERR_FABRIC_MANAGER_NOT_PRESENT",
        0x81: "NV_ERR_NVLINK_FABRIC_NOT_READY",
        0x82: "NV_ERR_NVLINK_FABRIC_FAILURE",
        0x10006: "NV_WARN_NOTHING_TO_DO",
    }
)

GPU_IS_LOST, IN_RESET, NO_PERMISSION, BAD_STRUCT = 0x0F, 0x10, 0x1B, 0x3A
NOT_SUPPORTED, RESET_REQUIRED, TIMEOUT, NO_MEMORY, NOTHING_TO_DO = 0x56, 0x62, 0x65, 0x51, 0x10006

_NEXT = {
    GPU_IS_LOST: "the driver has given this GPU up, even if it is back on the bus: reset it, then bind the driver anew",
    IN_RESET: "a reset of this GPU goes on: wait, then ask again",
    NO_PERMISSION: "run as root (CAP_SYS_ADMIN in the first user namespace)",
    BAD_STRUCT: "the driver's structures are not those of its branch's table: report it with the driver's version",
    0x1E: "the address lies in no range of this process, or is not a multiple of 4096",
    0x68: "that range of addresses is in use already",
    NO_MEMORY: "free memory of the GPU or the host, or ask for less",
    0x22: "this GPU or driver has no such class: ask the class list first",
    0x33: "the handle is none of this client: it was freed, or never given",
    RESET_REQUIRED: "reset the GPU",
    TIMEOUT: "its firmware (GSP) does not answer: reset the GPU",
    0x7A: "start nvidia-fabricmanager of the driver's version",
    0x81: "wait for the fabric manager, then ask again",
}


class RmError(GpumendError):
    """RM answered with a status other than NV_OK; `status` is the number."""

    def __init__(self, doing: str, status: int, *, where: str) -> None:
        super().__init__(
            doing,
            expected="NV_OK",
            seen=f"{name_of(status)} ({status:#x})",
            where=where,
            next_step=_NEXT.get(status, "gpumend probe"),
        )
        self.status = status


class RmLost(RmError, DeviceLost):
    """RM's word that it has lost the GPU: a lost device as any other."""


def rm_error(doing: str, status: int, where: str) -> RmError:
    """The error of a status that is not NV_OK."""
    return (RmLost if status == GPU_IS_LOST else RmError)(doing, status, where=where)


class ChannelDead(GpumendError):
    """The driver ended a channel: what is in its notifier. `xid`: the number; memory and other channels stay."""

    def __init__(self, doing: str, number: int, where: str, fault: str = "") -> None:
        from nvdriver import xid

        known = xid.CATALOGUE.get(number)
        name = f"Xid {number} ({known.name})" if known else f"Xid {number}"
        super().__init__(
            doing,
            expected="the work done, and no error in the channel's notifier",
            seen=f"{name}{'; ' + fault if fault else ''}",
            where=where,
            next_step=f"{known.first if known else 'look at dmesg'}; a new channel works",
        )
        self.xid = number


def name_of(status: int) -> str:
    """NV_ERR_TIMEOUT; numbers that are not in the table are told as such."""
    return NAMES.get(status, "a status without a name here")
