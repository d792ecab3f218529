"""GFX: the compute front end of each XCC, as its status registers tell of it.

Source: Linux v7.3 amdgpu/gfx_v9_4_3.c (the registers of its state dump, idle check), hardware/amd-bringup.md section 9;
reset values: asic_reg/gc/gc_9_0_default.h, an older relative; fused-off CUs: research/amdgpu-on-model.md item 36."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel.chips import SHADER_ENGINES, XCCS, Chip
from gpumodel.registerfile import Entry, Layout
from registers.amd.gc_9_4_3 import Gc as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

INACTIVE_CUS_SHIFT = 16  # CC_GC_SHADER_ARRAY_CONFIG
BROADCAST = 0xE0000000  # GRBM_GFX_INDEX after reset
ENGINE_SHIFT = 16  # GRBM_GFX_INDEX.SE_INDEX, 8 bits; bit 31 broadcasts
RING_TEST_DONE = 0xDEADBEEF  # what the last ring test left in SCRATCH_REG0 (item 42)
QUEUE_SELECT = 0x70F  # GRBM_GFX_CNTL without the VMID: pipe, me, queue
MEC1_QUEUE0 = 1 << 2  # me 1, pipe 0, queue 0
POINTER_BITS = 0xFFFF

_STATUS = (
    "GRBM_STATUS*",
    "GRBM_READ_ERROR*",
    "GRBM_GFX_CNTL",
    "GRBM_GFX_INDEX",
    "CP_STAT",
    "CP_BUSY_STAT",
    "CP_STALLED_STAT?",
    "CP_CPC_STATUS",
    "CP_CPC_BUSY_STAT",
    "CP_CPC_STALLED_STAT1",
    "CP_CPF_STATUS",
    "CP_CPF_BUSY_STAT",
    "CP_CPF_STALLED_STAT1",
    "CP_GFX_ERROR",
    "CP_DEBUG",
    "CP_MEC_CNTL",
    "CP_MEC_ME?_HEADER_DUMP",
    "CP_PQ_STATUS",
    "CPC_INT_STATUS",
    "CPC_UTCL1_STATUS",
    "CPF_UTCL1_STATUS",
    "CPG_UTCL1_STATUS",
    "SQ_UTCL1_STATUS",
    "TCP_UTCL1_STATUS",
    "UTCL2_MEM_ECC_STATUS",
    "GC_USER_SHADER_ARRAY_CONFIG",
    "GB_ADDR_CONFIG",
    "SCRATCH_REG?",
    "RLC_CNTL",
    "RLC_STAT",
    "RLC_SAFE_MODE",
    "RLC_SMU_SAFE_MODE",
    "RLC_INT_STAT",
    "RLC_CP_SCHEDULERS",
    "RLC_SMU_COMMAND",
    "RLC_SMU_MESSAGE",
    "RLC_SMU_ARGUMENT_?",
    "SMU_RLC_RESPONSE",
    "RLC_GPM_STAT",
    "RLC_GPM_GENERAL_6",
    "RLC_UTCL1_STATUS",
    "RLC_SERDES_*_MASTER_BUSY",
)
_QUEUE = ("CP_MQD_BASE_ADDR*", "CP_MQD_CONTROL", "CP_HQD_*")
_RESETS = {
    "GRBM_STATUS": 0x00003008,  # guess: clean bits and free command slots, as idle older parts show; never 0
    "GRBM_GFX_INDEX": BROADCAST,
    "CP_MEC_CNTL": 0x50000000,  # both engines halted
    "GB_ADDR_CONFIG": 0x2A114042,  # what the driver programs on these parts
    "CP_HQD_PERSISTENT_STATE": 0x0BE05301,
    "CP_HQD_PQ_CONTROL": 0x00308509,
    "CP_HQD_IB_CONTROL": 0x00300000,
    "CP_HQD_HQ_STATUS0": 0x40000000,
    "CP_HQD_HQ_SCHEDULER0": 0x40000000,  # the same register by its older name
    "CP_HQD_EOP_CONTROL": 0x00000006,
    "CP_HQD_EOP_RPTR": 0x40000000,
    "CP_HQD_EOP_WPTR": 0x007F8000,
}


class Gfx:
    """`busy`: XCCs whose MEC works; `hung`: those whose MEC stands still while busy."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.busy: set[int] = set()
        self.hung: set[int] = set()

    def power_on(self) -> None:
        self.busy.clear()
        self.hung.clear()
        if not self._gpu.is_used:
            return
        for xcc in range(XCCS):
            self._gpu.registers.set(f"GC[{xcc}].CP_MEC_CNTL", 0)
            self._gpu.registers.set(f"GC[{xcc}].RLC_CNTL", 1)
            self._gpu.registers.set(f"GC[{xcc}].SCRATCH_REG0", RING_TEST_DONE)
            self._gpu.registers.set(f"GC[{xcc}].CP_MEC1_INSTR_PNTR", 0x0180)  # guess: the idle loop
            self._gpu.registers.set(f"GC[{xcc}].CP_MEC2_INSTR_PNTR", 0x0180)

    def instruction_pointer(self, entry: Entry) -> int:
        """A MEC at work is elsewhere at each look; one that idles or hangs is not."""
        stored = self._gpu.registers.stored(entry)
        if entry.instance in self.busy and entry.instance not in self.hung:
            stored = (stored + 0x35) & POINTER_BITS
            self._gpu.registers.store(entry, stored)
        return stored

    def shader_array(self, entry: Entry) -> int:
        """Fused-off CUs of the shader engine that GRBM_GFX_INDEX selects; broadcast reads engine 0."""
        index = self._gpu.registers.get(f"GC[{entry.instance}].GRBM_GFX_INDEX")
        engine = 0 if index >> 31 else (index >> ENGINE_SHIFT) % SHADER_ENGINES
        return self._gpu.chip.inactive_cu_mask(self._gpu.index, entry.instance, engine) << INACTIVE_CUS_SHIFT


def declare(layout: Layout, chip: Chip) -> None:
    for xcc, bases in enumerate(chip.bases("GC")):
        unit = layout.unit(Regs, f"GC[{xcc}]", bases, "gfx", xcc)
        unit.plain(_STATUS, _RESETS)
        unit.plain(_QUEUE, _RESETS, bank=Regs.GRBM_GFX_CNTL, bank_mask=QUEUE_SELECT)
        unit.active(Regs.CP_MEC1_INSTR_PNTR, on_read=Gfx.instruction_pointer)
        unit.active(Regs.CP_MEC2_INSTR_PNTR, on_read=Gfx.instruction_pointer)
        unit.active(Regs.CC_GC_SHADER_ARRAY_CONFIG, on_read=Gfx.shader_array)
