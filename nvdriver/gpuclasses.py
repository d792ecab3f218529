"""Which classes a GPU's work uses: channel, doorbell page, compute, copy; of what the driver lists, the newest.

A GPU takes older channel and doorbell classes beside its own, but has one compute and one copy class. Source: nvidia-rm.md
section 3.1; src/common/sdk/nvidia/inc/class and g_gpu_class_list.c of open-gpu-kernel-modules 580.105.08."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from base.errors import Unavailable

# Newest first: Blackwell GB20x, GB10x, Hopper, Ada and Ampere, Turing
CHANNELS = (0xCA6F, 0xC96F, 0xC86F, 0xC56F, 0xC46F)
DOORBELLS = (0xC761, 0xC661, 0xC561, 0xC461)
COMPUTES = (0xCEC0, 0xCDC0, 0xCBC0, 0xC9C0, 0xC7C0, 0xC6C0, 0xC5C0)
COPIES = (0xCAB5, 0xC9B5, 0xC8B5, 0xC7B5, 0xC6B5, 0xC5B5)

HOPPER_COMPUTE = 0xCBC0


@dataclass(frozen=True, slots=True)
class Classes:
    channel: int
    doorbell: int
    compute: int
    copy: int


def choose(listed: Iterable[int], where: str) -> Classes:
    """Of what the driver lists for a GPU. Raises Unavailable where it has none of one kind that is known here."""
    there = set(listed)

    def newest(kind: str, known: tuple[int, ...]) -> int:
        for number in known:
            if number in there:
                return number
        raise Unavailable(
            "choosing the classes of a GPU",
            expected=f"a {kind} class of Turing to Blackwell: {', '.join(f'{one:#06x}' for one in known)}",
            seen=", ".join(f"{one:#06x}" for one in sorted(there)) or "no class at all",
            where=where,
            next_step="this GPU is older or newer than gpumend knows; gpumend probe works on it",
        )

    return Classes(
        channel=newest("channel", CHANNELS),
        doorbell=newest("doorbell", DOORBELLS),
        compute=newest("compute", COMPUTES),
        copy=newest("copy", COPIES),
    )
