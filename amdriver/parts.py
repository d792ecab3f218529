"""The parts that gpumend knows, by PCI id.

Source: amd-bringup.md section 1 (ids and names from AMD's public tools; the kernel itself matches on class and asks the
discovery table), public product pages (memory size, number of XCCs). None: not known for sure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from base.part import AMD_VENDOR as AMD_VENDOR
from base.part import Part as Part

_GIB = 1024
_PHYSICAL = (
    Part(0x74A0, "MI300A", "gfx942", is_apu=True, vram_mib=128 * _GIB, xcc_count=6),
    Part(0x74A1, "MI300X", "gfx942", vram_mib=192 * _GIB, xcc_count=8),
    Part(0x74A2, "MI308X", "gfx942", vram_mib=192 * _GIB),
    Part(0x74A5, "MI325X", "gfx942", vram_mib=256 * _GIB, xcc_count=8),
    Part(0x74A8, "MI308X-HF", "gfx942", vram_mib=192 * _GIB),
    Part(0x74A9, "MI300X-HF", "gfx942", vram_mib=192 * _GIB),
    Part(0x75A0, "MI350X", "gfx950", vram_mib=288 * _GIB, xcc_count=8),
    Part(0x75A3, "MI355X", "gfx950", vram_mib=288 * _GIB, xcc_count=8),
    Part(0x75A8, "MI350P", "gfx950"),
)
# A virtual function: the physical part's id, then its own.
_VF_OF = {
    0x74A0: 0x74B4,
    0x74A1: 0x74B5,
    0x74A2: 0x74B6,
    0x74A5: 0x74B9,
    0x74A8: 0x74BC,
    0x74A9: 0x74BD,
    0x75A0: 0x75B0,
    0x75A3: 0x75B3,
    0x75A8: 0x75B8,
}
_VIRTUAL = tuple(
    Part(_VF_OF[part.device], f"{part.name} VF", part.arch, is_vf=True, is_apu=part.is_apu) for part in _PHYSICAL
)

PARTS: Mapping[int, Part] = MappingProxyType({part.device: part for part in (*_PHYSICAL, *_VIRTUAL)})


def part_of(vendor: int, device: int) -> Part | None:
    """The part with this PCI id, or None if it is none of ours."""
    return PARTS.get(device) if vendor == AMD_VENDOR else None
