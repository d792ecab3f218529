"""The NVIDIA parts that gpumend knows, by PCI id: GPUs with a GSP, from Ampere's data centre boards to Blackwell.

Source: open-gpu-kernel-modules 595.45.04, src/nvidia/generated/g_nv_name_released.h (ids and names, without "NVIDIA").
The chip beside an id follows from NVIDIA's id ranges (nvidia-gsp.md section 1); a probe asks PMC_BOOT_42 and says so
where they disagree. Memory is the product's nominal size; None: boards of that id differ."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from base.part import NVIDIA_VENDOR, Part

_GIB = 1024

# (chip, PCI id, name, memory in GiB)
_TABLE: tuple[tuple[str, int, str, int | None], ...] = (
    ("GA100", 0x20B0, "A100 SXM4 40GB", 40),
    ("GA100", 0x20B2, "A100 SXM4 80GB", 80),
    ("GA100", 0x20B3, "A100 SXM 64GB", 64),
    ("GA100", 0x20B5, "A100 80GB PCIe", 80),
    ("GA100", 0x20B7, "A30", 24),
    ("GA100", 0x20BD, "A800 SXM4 40GB", 40),
    ("GA100", 0x20F1, "A100 PCIe 40GB", 40),
    ("GA100", 0x20F3, "A800 SXM4 80GB", 80),
    ("GA100", 0x20F5, "A800 80GB PCIe", 80),
    ("GA102", 0x2203, "RTX 3090 Ti", 24),
    ("GA102", 0x2204, "RTX 3090", 24),
    ("GA102", 0x2206, "RTX 3080", None),
    ("GA102", 0x2208, "RTX 3080 Ti", 12),
    ("GA102", 0x2230, "RTX A6000", 48),
    ("GA102", 0x2231, "RTX A5000", 24),
    ("GA102", 0x2235, "A40", 48),
    ("GA102", 0x2236, "A10", 24),
    ("GA102", 0x2237, "A10G", 24),
    ("GH100", 0x230E, "H20 NVL16", None),
    ("GH100", 0x2321, "H100 NVL", 94),
    ("GH100", 0x2322, "H800 PCIe", 80),
    ("GH100", 0x2324, "H800", 80),
    ("GH100", 0x2329, "H20", 96),
    ("GH100", 0x232C, "H20-3e", 141),
    ("GH100", 0x2330, "H100", 80),
    ("GH100", 0x2331, "H100 PCIe", 80),
    ("GH100", 0x2335, "H200", 141),
    ("GH100", 0x2339, "H100", None),
    ("GH100", 0x233A, "H800 NVL", None),
    ("GH100", 0x233B, "H200 NVL", 141),
    ("GH100", 0x2342, "GH200", None),
    ("GH100", 0x2348, "GH200 144G", 144),
    ("AD102", 0x2684, "RTX 4090", 24),
    ("AD102", 0x2685, "RTX 4090 D", 24),
    ("AD102", 0x26B1, "RTX 6000 Ada", 48),
    ("AD102", 0x26B5, "L40", 48),
    ("AD102", 0x26B9, "L40S", 48),
    ("AD102", 0x26BA, "L20", 48),
    ("AD103", 0x2702, "RTX 4080 SUPER", 16),
    ("AD103", 0x2704, "RTX 4080", 16),
    ("AD103", 0x2705, "RTX 4070 Ti SUPER", 16),
    ("AD104", 0x2782, "RTX 4070 Ti", 12),
    ("AD104", 0x2783, "RTX 4070 SUPER", 12),
    ("AD104", 0x2786, "RTX 4070", 12),
    ("AD104", 0x27B8, "L4", 24),
    ("AD106", 0x2803, "RTX 4060 Ti", 8),
    ("AD106", 0x2805, "RTX 4060 Ti", 16),
    ("AD107", 0x2882, "RTX 4060", 8),
    ("GB100", 0x2901, "B200", None),
    ("GB100", 0x2941, "GB200", None),
    ("GB102", 0x3182, "B300", None),
    ("GB102", 0x31C2, "GB300", None),
    ("GB202", 0x2B85, "RTX 5090", 32),
    ("GB202", 0x2B87, "RTX 5090 D", 32),
    ("GB202", 0x2BB1, "RTX PRO 6000", 96),
    ("GB202", 0x2BB4, "RTX PRO 6000 Max-Q", 96),
    ("GB202", 0x2BB5, "RTX PRO 6000 Server", 96),
    ("GB203", 0x2C02, "RTX 5080", 16),
    ("GB203", 0x2C05, "RTX 5070 Ti", 16),
    ("GB205", 0x2F04, "RTX 5070", 12),
    ("GB206", 0x2D04, "RTX 5060 Ti", None),
    ("GB206", 0x2D05, "RTX 5060", 8),
    ("GB207", 0x2D83, "RTX 5050", 8),
)

PARTS: Mapping[int, Part] = MappingProxyType(
    {
        device: Part(device, name, chip, vram_mib=None if gib is None else gib * _GIB, vendor=NVIDIA_VENDOR)
        for chip, device, name, gib in _TABLE
    }
)


def part_of(vendor: int, device: int) -> Part | None:
    """The part with this PCI id, or None if it is none of ours."""
    return PARTS.get(device) if vendor == NVIDIA_VENDOR else None
