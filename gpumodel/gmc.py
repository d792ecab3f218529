"""GMC: the memory hubs, one GFXHUB per XCC and one MMHUB per AID: where VRAM lies, the place in the hive, page faults.

Source: Linux v7.3 amdgpu/gfxhub_v1_2.c, mmhub_v1_8.c, gmc_v9_0.c; hardware/amd-bringup.md section 5;
research/amdgpu-on-model.md items 12, 54. Reset values: asic_reg/gc/gc_9_0_default.h, an older relative."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel.chips import AIDS, VRAM_MC_BASE, XCCS, Chip
from gpumodel.registerfile import Entry, Layout
from registers.amd.gc_9_4_3 import Gc
from registers.amd.mmhub_1_8_0 import Mmhub

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

MC_SHIFT = 24  # FB_LOCATION and LFB_SIZE count 16 MiB
PAGE_SHIFT = 12

_HUB = (
    "MC_VM_FB_*",
    "MC_VM_XGMI_LFB_*",
    "MC_VM_AGP_*",
    "MC_VM_SYSTEM_APERTURE_*",
    "MC_VM_MX_L1_TLB_CNTL",
    "VM_L2_CNTL*",
    "VM_L2_STATUS",
    "VM_CONTEXT*_CNTL",
    "VM_CONTEXT*_PAGE_TABLE_*",
)
_FAULT = (
    "VM_L2_PROTECTION_FAULT_CNTL2",
    "VM_L2_PROTECTION_FAULT_MM_CNTL?",
    "VM_L2_PROTECTION_FAULT_STATUS",
    "VM_L2_PROTECTION_FAULT_ADDR_*",
    "VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_*",
)
_RESETS = {
    "VM_L2_CNTL": 0x00080602,
    "VM_L2_CNTL3": 0x80100007,
    "VM_L2_CNTL4": 0x000000C1,
    "VM_L2_PROTECTION_FAULT_CNTL2": 0x000A0000,
    "VM_L2_PROTECTION_FAULT_MM_CNTL3": 0xFFFFFFFF,
    "VM_L2_PROTECTION_FAULT_MM_CNTL4": 0xFFFFFFFF,
    "MC_VM_MX_L1_TLB_CNTL": 0x00002501,
    **{f"VM_CONTEXT{context}_CNTL": 0x007FFE80 for context in range(16)},
}
_FAULT_CNTL_RESET = 0x3FFFFFFC
CLEAR_FAULT = 1  # VM_L2_PROTECTION_FAULT_CNTL bit 0 clears status and address


def hubs() -> list[str]:
    """Prefixes of all hubs, as in register names."""
    return [f"GC[{xcc}]" for xcc in range(XCCS)] + [f"MMHUB[{aid}]" for aid in range(AIDS)]


class Gmc:
    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu

    def power_on(self) -> None:
        """Boot firmware tells every hub where VRAM of the whole hive lies, and which part of it is ours."""
        gpu = self._gpu
        nodes = gpu.hive.nodes
        top = VRAM_MC_BASE + nodes * gpu.chip.vram_size - 1
        place = Gc.MC_VM_XGMI_LFB_CNTL.kind.of(PF_LFB_REGION=gpu.index, PF_MAX_REGION=nodes - 1)
        values = {
            "MC_VM_FB_LOCATION_BASE": VRAM_MC_BASE >> MC_SHIFT,
            "MC_VM_FB_LOCATION_TOP": top >> MC_SHIFT,
            "MC_VM_XGMI_LFB_CNTL": int(place),
            "MC_VM_XGMI_LFB_SIZE": gpu.chip.vram_size >> MC_SHIFT,
        }
        for hub in hubs():
            for name, value in values.items():
                gpu.registers.set(f"{hub}.{name}", value)

    def fault(self, hub: str, status: int, gpu_va: int) -> None:
        """Latch a page fault in one hub."""
        page = gpu_va >> PAGE_SHIFT
        self._gpu.registers.set(f"{hub}.VM_L2_PROTECTION_FAULT_STATUS", status)
        self._gpu.registers.set(f"{hub}.VM_L2_PROTECTION_FAULT_ADDR_LO32", page & 0xFFFFFFFF)
        self._gpu.registers.set(f"{hub}.VM_L2_PROTECTION_FAULT_ADDR_HI32", page >> 32)

    def fault_control(self, entry: Entry, value: int) -> None:
        """Bit 0 written as 1 clears the latched fault."""
        self._gpu.registers.store(entry, value)
        if value & CLEAR_FAULT:
            self.fault(entry.name.partition(".")[0], 0, 0)


def declare(layout: Layout, chip: Chip) -> None:
    for xcc, bases in enumerate(chip.bases("GC")):
        unit = layout.unit(Gc, f"GC[{xcc}]", bases, "gmc", xcc)
        unit.plain((*_HUB, *_FAULT), _RESETS)
        unit.active(Gc.VM_L2_PROTECTION_FAULT_CNTL, _FAULT_CNTL_RESET, on_write=Gmc.fault_control)
    for aid, bases in enumerate(chip.bases("MMHUB")):
        unit = layout.unit(Mmhub, f"MMHUB[{aid}]", bases, "gmc", aid)
        unit.plain((*_HUB, *_FAULT), _RESETS)
        unit.active(Mmhub.VM_L2_PROTECTION_FAULT_CNTL, _FAULT_CNTL_RESET, on_write=Gmc.fault_control)
