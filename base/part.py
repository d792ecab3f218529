"""One product, of whichever vendor. The tables of known parts are the drivers': amdriver/parts.py, nvdriver/parts.py."""

from __future__ import annotations

from dataclasses import dataclass

AMD_VENDOR = 0x1002
NVIDIA_VENDOR = 0x10DE

# The firmware keeps some MiB for itself: an MI300X of 192 GiB (196608 MiB) shows 196592.
_RESERVED_AT_MOST_PERCENT = 3


@dataclass(frozen=True, slots=True)
class Part:
    """One product. `arch`: gfx942, or for NVIDIA the chip (GH100). `vram_mib` is the nominal size of its memory,
    `xcc_count` what the product has enabled; None: not known for sure, or no such thing."""

    device: int
    name: str
    arch: str
    is_vf: bool = False
    is_apu: bool = False
    vram_mib: int | None = None
    xcc_count: int | None = None
    vendor: int = AMD_VENDOR

    @property
    def is_nvidia(self) -> bool:
        return self.vendor == NVIDIA_VENDOR

    @property
    def may_join_hive(self) -> bool:
        """Whether a kernel may reset it together with others: only a physical AMD GPU is in a hive."""
        return self.vendor == AMD_VENDOR and not self.is_vf

    @property
    def vram_range_mib(self) -> tuple[int, int] | None:
        """Least and most that RCC_CONFIG_MEMSIZE may say; None where we do not know (VFs get a share, APUs say 0)."""
        if self.vram_mib is None or self.is_vf or self.is_apu:
            return None
        return self.vram_mib * (100 - _RESERVED_AT_MOST_PERCENT) // 100, self.vram_mib
