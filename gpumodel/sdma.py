"""SDMA: sixteen copy engines, as their status registers tell of them.

Source: Linux v7.3 amdgpu/sdma_v4_4_2.c (the registers of its state dump, engine start and stop);
hardware/amd-bringup.md section 11; reset values: asic_reg/sdma0/sdma0_4_0_default.h, an older relative."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel.chips import SDMAS, Chip
from gpumodel.registerfile import Entry, Layout
from registers.amd.sdma_4_4_2 import Sdma as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

IDLE_STATUS = 0x46DEE557
USED_POINTER = 0x1C00  # bytes: where the last job of an earlier boot ended
RING_DWORDS_LOG2 = 11  # 2048 dwords (item 44)

_STATUS = (
    "SDMA_F32_CNTL",
    "SDMA_F32_COUNTER",
    "SDMA_STATUS_REG",
    "SDMA_STATUS1_REG",
    "SDMA_STATUS3_REG",
    "SDMA_STATUS4_REG",
    "SDMA_ERROR_LOG",
    "SDMA_UCODE_CHECKSUM",
    "SDMA_VERSION",
    "SDMA_VM_CNTL",
    "SDMA_CNTL",
    "SDMA_GB_ADDR_CONFIG",
    "SDMA_GB_ADDR_CONFIG_READ",
    "SDMA_RB_RPTR_FETCH",
    "SDMA_RB_RPTR_FETCH_HI",
    "SDMA_UTCL1_*",
    "SDMA_UE_ERR_STATUS_*",
    "SDMA_RAS_STATUS",
    "SDMA_CLK_STATUS",
    "SDMA_GFX_*",
    "SDMA_PAGE_*",
    "SDMA_RLC?_*",
)
_RESETS = {
    "SDMA_F32_CNTL": 0x00000001,  # halted
    "SDMA_STATUS_REG": IDLE_STATUS,
    "SDMA_STATUS1_REG": 0x000003FF,
    "SDMA_STATUS3_REG": 0x00100000,
    "SDMA_CNTL": 0x00000002,
    "SDMA_VERSION": 0x00000404,  # guess: 0x400 on version 4.0
    "SDMA_GB_ADDR_CONFIG": 0x00100012,
    "SDMA_GB_ADDR_CONFIG_READ": 0x00100012,
    "SDMA_UTCL1_CNTL": 0xD0003019,
    "SDMA_UTCL1_TIMEOUT": 0x00010001,
    "SDMA_GFX_RB_CNTL": 0x00040000,
    "SDMA_GFX_RB_WPTR_POLL_CNTL": 0x00401000,
    "SDMA_GFX_IB_CNTL": 0x00000100,
    "SDMA_GFX_CONTEXT_STATUS": 0x00000005,
    "SDMA_GFX_DUMMY_REG": 0x0000000F,
    "SDMA_GFX_RB_AQL_CNTL": 0x00004000,
    "SDMA_PAGE_RB_CNTL": 0x00040000,
    "SDMA_PAGE_IB_CNTL": 0x00000100,
    "SDMA_PAGE_CONTEXT_STATUS": 0x00000004,
    **{f"SDMA_RLC{queue}_RB_CNTL": 0x00040000 for queue in range(8)},
    **{f"SDMA_RLC{queue}_IB_CNTL": 0x00000100 for queue in range(8)},
    **{f"SDMA_RLC{queue}_CONTEXT_STATUS": 0x00000004 for queue in range(8)},
}


class Sdma:
    """`busy`: engines at work; `hung`: those that stand still while busy."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.busy: set[int] = set()
        self.hung: set[int] = set()

    def power_on(self) -> None:
        self.busy.clear()
        self.hung.clear()
        if not self._gpu.is_used:
            return
        control = Regs.SDMA_GFX_RB_CNTL.kind.of(RB_ENABLE=1, RB_SIZE=RING_DWORDS_LOG2, RPTR_WRITEBACK_ENABLE=1)
        values = {
            "SDMA_F32_CNTL": 0,
            "SDMA_GFX_RB_CNTL": int(control),
            "SDMA_GFX_RB_RPTR": USED_POINTER,
            "SDMA_GFX_RB_WPTR": USED_POINTER,
        }
        for engine in range(SDMAS):
            for name, value in values.items():
                self._gpu.registers.set(f"SDMA[{engine}].{name}", value)

    def program_counter(self, entry: Entry) -> int:
        """STATUS2 carries the instruction pointer: it moves while the engine works."""
        value = Regs.SDMA_STATUS2_REG.kind(self._gpu.registers.stored(entry))
        if entry.instance in self.busy and entry.instance not in self.hung:
            value = value.replace(F32_INSTR_PTR=(value.fields()["F32_INSTR_PTR"] + 7) % 0x1000)
            self._gpu.registers.store(entry, int(value))
        return int(value)


def declare(layout: Layout, chip: Chip) -> None:
    for engine, bases in enumerate(chip.bases("SDMA0")):
        unit = layout.unit(Regs, f"SDMA[{engine}]", bases, "sdma", engine)
        unit.plain(_STATUS, _RESETS)
        unit.active(
            Regs.SDMA_STATUS2_REG, engine % 4, on_read=Sdma.program_counter
        )  # guess: ID counts the engines of an AID
