"""The NVIDIA parts that can be modelled.

Source: PCI ids and subsystem ids: g_nv_name_released.h of open-gpu-kernel-modules 595.45.04; chip numbers: nvidia-gsp.md
section 13; classes, copy engines: g_gpu_class_list.c of 580.105.08; memory, SMs, NVLinks: the products' data sheets. A value
marked guess is listed in docs/fidelity.md."""

from __future__ import annotations

from dataclasses import dataclass

VENDOR = 0x10DE
GIB = 1 << 30
MIB = 1 << 20
MOST = 8  # GPUs in one machine


@dataclass(frozen=True, slots=True)
class NvChip:
    """One product. `number`: bits 29:20 of PMC_BOOT_42; `fsp_boot`: where the FSP tells that it is done, 0: a chip without.

    `classes`: GPFIFO, usermode, compute, copy; `links`: NVLinks in use."""

    name: str
    product: str
    device: int
    subsystem: int
    class_code: int
    number: int
    revision: int
    vram_size: int
    sms: int
    copy_engines: int
    links: int
    has_ecc: bool
    is_wide: bool  # BAR0 has 64 bits
    fsp_boot: int
    classes: tuple[int, int, int, int]
    older_classes: tuple[int, ...] = ()  # of GPFIFO and usermode, which a GPU takes beside its own (g_gpu_class_list.c)

    @property
    def boot42(self) -> int:
        return self.number << 20 | self.revision >> 4 << 16 | (self.revision & 0xF) << 12

    @property
    def boot0(self) -> int:
        """PMC_BOOT_0: implementation 23:20, architecture 28:24 with its top bit at 8."""
        architecture, implementation = self.number >> 4, self.number & 0xF
        return (architecture >> 5 & 1) << 8 | (architecture & 0x1F) << 24 | implementation << 20 | self.revision

    def bdf(self, index: int) -> str:
        return f"0000:{0x18 + 0x10 * index:02x}:00.0"  # guess: any will do

    def uuid(self, index: int) -> bytes:
        """16 bytes; real ones are random. # guess"""
        return bytes((self.device >> 8, self.device & 0xFF, *range(0x10, 0x1D), index))


_HOPPER = (0xC86F, 0xC661, 0xCBC0, 0xC8B5)
_BEFORE_ADA = (0xC36F, 0xC46F, 0xC361, 0xC461)
_BEFORE_HOPPER = (*_BEFORE_ADA, 0xC56F, 0xC561)
_BEFORE_BLACKWELL = (*_BEFORE_HOPPER, 0xC86F, 0xC661)

H100 = NvChip(
    "h100", "NVIDIA H100 80GB HBM3", 0x2330, 0x16C1, 0x030200, 0x180, 0xA1, 80 * GIB,
    sms=132, copy_engines=10, links=18, has_ecc=True, is_wide=True, fsp_boot=0x0200BC,
    classes=_HOPPER, older_classes=_BEFORE_HOPPER,
)  # fmt: skip
H200 = NvChip(
    "h200", "NVIDIA H200", 0x2335, 0x18BE, 0x030200, 0x180, 0xA1, 141 * GIB,
    sms=132, copy_engines=10, links=18, has_ecc=True, is_wide=True, fsp_boot=0x0200BC,
    classes=_HOPPER, older_classes=_BEFORE_HOPPER,
)  # fmt: skip
B200 = NvChip(
    "b200", "NVIDIA B200", 0x2901, 0x1999, 0x030200, 0x1A0, 0xA1, 180 * GIB,
    sms=148, copy_engines=20, links=18, has_ecc=True, is_wide=True, fsp_boot=0x0200BC,
    classes=(0xC96F, 0xC661, 0xCDC0, 0xC9B5), older_classes=_BEFORE_BLACKWELL,
)  # fmt: skip
# Consumer boards have the subsystem id of whoever made the board; # guess: VENDOR stands for it.
RTX4090 = NvChip(
    "rtx4090", "NVIDIA GeForce RTX 4090", 0x2684, VENDOR, 0x030000, 0x192, 0xA1, 24 * GIB,
    sms=128, copy_engines=5, links=0, has_ecc=False, is_wide=False, fsp_boot=0,
    classes=(0xC56F, 0xC561, 0xC9C0, 0xC7B5), older_classes=_BEFORE_ADA,
)  # fmt: skip
RTX5090 = NvChip(
    "rtx5090", "NVIDIA GeForce RTX 5090", 0x2B85, VENDOR, 0x030000, 0x1B2, 0xA1, 32 * GIB,
    sms=170, copy_engines=8, links=0, has_ecc=False, is_wide=False, fsp_boot=0xAD00BC,
    classes=(0xCA6F, 0xC761, 0xCEC0, 0xCAB5), older_classes=(*_BEFORE_BLACKWELL, 0xC96F),
)  # fmt: skip

CHIPS = {chip.name: chip for chip in (H100, H200, B200, RTX4090, RTX5090)}
