"""Temperature, power, clocks and the reasons why they are low: the page that the driver shares with every user (class 0x00DE).

A look asks for no polling; a group that nobody polls now has no valid stamp, and is None. Source: nvidia-rm.md section 8;
offsets compiled from cl00de.h of open-gpu-kernel-modules 570.144 (the same in all of 570), 580.105.08 and 590.48.01; when a
stamp is valid: the macros there."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pcibus.driverfiles import Mapped

_SEQUENCE_START = 0xFF << 56  # below: a time of the last poll; from here on: a count, odd while it is written
_TRIES = 4

GPU = 0  # RUSD_TEMPERATURE_TYPE
REASONS = {
    0: "idle",
    1: "application clocks",
    2: "software power cap",
    3: "hardware slowdown",
    4: "sync boost",
    5: "software thermal slowdown",
    6: "hardware thermal slowdown",
    7: "hardware power brake",
    8: "display clocks",
}
SLOWED = frozenset(("hardware slowdown", "hardware thermal slowdown", "hardware power brake"))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each group starts (its stamp of 8 bytes first), how many bytes each clock has, and which of the temperatures are
    the memory's, the better one first."""

    clocks: int
    clock_bytes: int
    throttle: int
    power_limit: int
    temperatures: int
    power: int
    memories: tuple[int, ...] = (4, 1)


LAYOUTS: Mapping[int, Layout] = MappingProxyType(
    {
        570: Layout(72, 4, 96, 280, 296, 368, (1,)),
        580: Layout(72, 4, 96, 2280, 2296, 2416),
        590: Layout(72, 8, 112, 2296, 2312, 2432),
    }
)


def read(page: Mapped, layout: Layout) -> dict[str, Any]:
    """`temperature_c` {gpu, memory}, `power_w`, `power_limit_w`, `clocks_mhz` {graphics, memory, sm}, `slowed_by` [reason].

    None: nobody polls that group now, or this GPU has none."""
    clocks = _group(page, layout.clocks, 4 * layout.clock_bytes)
    throttle = _group(page, layout.throttle, 4)
    limit, power = _group(page, layout.power_limit, 8), _group(page, layout.power, 4)
    memories = [_temperature(page, layout, kind) for kind in layout.memories]
    return {
        "temperature_c": {
            "gpu": _temperature(page, layout, GPU),
            "memory": next((value for value in memories if value is not None), None),
        },
        "power_w": None if power is None else _u32(power) / 1000,
        "power_limit_w": None if limit is None else _u32(limit, 4) / 1000,
        "clocks_mhz": None
        if clocks is None
        else {
            name: _u32(clocks, place * layout.clock_bytes)
            for name, place in (("graphics", 0), ("memory", 1), ("sm", 3))
        },
        "slowed_by": None if throttle is None else [name for bit, name in REASONS.items() if _u32(throttle) >> bit & 1],
    }


def _group(page: Mapped, at: int, size: int) -> bytes | None:
    """The bytes behind a stamp, read while it did not change; None where it is not valid."""
    for _ in range(_TRIES):
        before = _u64(page[at : at + 8])
        data = page[at + 8 : at + 8 + size]
        if _is_valid(before) and _u64(page[at : at + 8]) == before:
            return data
        if not before:
            return None
    return None


def _is_valid(stamp: int) -> bool:
    return stamp != 0 if stamp < _SEQUENCE_START else not stamp & 1


def _temperature(page: Mapped, layout: Layout, kind: int) -> float | None:
    """Degrees Celsius: NvTemp is a signed number of 24.8 bits."""
    data = _group(page, layout.temperatures + 16 * kind, 4)
    return None if data is None else int(struct.unpack("<i", data)[0]) / 256


def _u32(data: bytes, at: int = 0) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _u64(data: bytes) -> int:
    return int(struct.unpack("<Q", data)[0])
