"""The two things a probe takes from the bound driver's `gpu_metrics`: the SMU answers, and which XGMI links are up.

Source: amd-telemetry.md section 2; kgd_pp_interface.h (header, gpu_metrics_v1_8, attribute encoding of 1.9, enum
amdgpu_xgmi_link_status). Reading the file makes amdgpu ask the SMU, so a good answer shows that the SMU is alive."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_BYTES = 4096
LINKS = 8
STATES = {0: "inactive", 1: "active"}  # 2: not available; all ones: never filled, as for a link that is disabled
NOT_FILLED = 0xFFFF

_HEADER = struct.Struct("<HBB")
_LINK_STATUS_1_8 = 264
_ATTRIBUTES_AT = 8
_LINK_STATUS_ID = 31
_WIDTHS = (1, 1, 2, 2, 4, 4, 8, 8)  # bytes of type U8 S8 U16 S16 U32 S32 U64 S64
_U16 = 2


@dataclass(frozen=True, slots=True)
class Metrics:
    """`link_states` by port; None where the table does not hold them."""

    version: tuple[int, int]
    link_states: tuple[int, ...] | None


def parse(data: bytes) -> Metrics | None:
    """None when this is no metrics table that we know."""
    if len(data) < _ATTRIBUTES_AT:
        return None
    size, major, minor = _HEADER.unpack_from(data)
    if major != 1 or not 4 <= minor <= 9 or size > len(data):
        return None
    states = None
    if minor == 8 and size >= _LINK_STATUS_1_8 + 2 * LINKS:
        states = struct.unpack_from(f"<{LINKS}H", data, _LINK_STATUS_1_8)
    elif minor == 9:
        states = _attribute(data, size)
    return Metrics((major, minor), states)


def _attribute(data: bytes, size: int) -> tuple[int, ...] | None:
    """Walk the attributes by their encoding: count 9:0, id 19:10, type 23:20."""
    at = _ATTRIBUTES_AT
    while at + 8 <= size:
        (encoding,) = struct.unpack_from("<Q", data, at)
        count, number, kind = encoding & 0x3FF, encoding >> 10 & 0x3FF, encoding >> 20 & 0xF
        at += 8
        if kind >= len(_WIDTHS) or at + count * _WIDTHS[kind] > size:
            return None
        if number == _LINK_STATUS_ID and kind == _U16 and count == LINKS:
            return struct.unpack_from(f"<{LINKS}H", data, at)
        at += count * _WIDTHS[kind]
    return None
