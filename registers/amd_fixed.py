"""Registers that are read before discovery has said where the IP blocks lie: fixed dword addresses in BAR5.

Source: Linux v7.3 drivers/gpu/drm/amd/amdgpu/amdgpu_discovery.c lines 141..150 and amdgpu_virt.c line 49 (literal
defines, no header of asic_reg). Index pairs: asic_reg/nbio/nbio_7_9_0_offset.h, segments 0 (base 0) and 1 (base 0x14).
Bind it with a base of 0: `Fixed(bus)`."""

from __future__ import annotations

from registers.core import Register, RegisterBlock, RegisterBus, bit, bits, reg


class Number_t(Register):
    __slots__ = ()
    VALUE = bits(31, 0)


class MM_INDEX_t(Register):
    """Byte offset into VRAM in bits 30:0; bit 31 says that the index means VRAM."""

    __slots__ = ()
    MM_OFFSET = bits(30, 0)
    MM_APER = bit(31)


class C2PMSG_33_t(Register):
    """amdgpu_discovery.c: boot firmware (IFWI) sets bit 31 when it has finished."""

    __slots__ = ()
    IFWI_READY = bit(31)


class Fixed(RegisterBlock):
    """What can be reached on a GPU of which nothing is known yet. All ones from every one of them: the BAR is dead."""

    MM_INDEX = reg(0x0, MM_INDEX_t)
    MM_DATA = reg(0x1, Number_t)
    MM_INDEX_HI = reg(0x6, Number_t)  # VRAM offset >> 31
    PCIE_INDEX = reg(0xC, Number_t)
    PCIE_DATA = reg(0xD, Number_t)
    PCIE_INDEX2 = reg(0xE, Number_t)  # SMN byte address, bits 31:0
    PCIE_DATA2 = reg(0xF, Number_t)
    PCIE_INDEX_HI = reg(0x10, Number_t)
    PCIE_INDEX2_HI = reg(0x11, Number_t)  # SMN byte address, bits 39:32; 0 outside an access
    RSMU_INDEX = reg(0x14, Number_t)
    RSMU_DATA = reg(0x15, Number_t)
    RSMU_INDEX_HI = reg(0x16, Number_t)
    DRIVER_SCRATCH_0 = reg(0x94, Number_t)  # address of the discovery table, low
    DRIVER_SCRATCH_1 = reg(0x95, Number_t)  # high
    DRIVER_SCRATCH_2 = reg(0x96, Number_t)  # size of the discovery region, 0: not set
    RCC_CONFIG_MEMSIZE = reg(0xDE3, Number_t)  # VRAM in MiB
    MP0_SMN_C2PMSG_33 = reg(0x16061, C2PMSG_33_t)
    IP_DISCOVERY_VERSION = reg(0x16A00, Number_t)

    def __init__(self, bus: RegisterBus, bases: tuple[int, ...] = (0,), name: str = "Fixed") -> None:
        super().__init__(bus, bases, name)
