"""RAS: the interrupt flags of NBIO that tell of a fatal error, and the error counters of the memory controllers.

Source: Linux v7.3 amdgpu/nbio_v7_9.c (ATHUB error event and controller interrupt, cleared by writing bits 16 to 18),
umc_v12_0.c; hardware/amd-resets.md sections 7 and 9. Error banks travel by SMU message, not by register."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel.chips import AIDS, Chip
from gpumodel.registerfile import Entry, Layout
from registers.amd.nbio_7_9_0 import Nbio as NbioRegs
from registers.amd.umc_12_0_0 import Umc as UmcRegs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

_Control = NbioRegs.BIF_BX0_BIF_DOORBELL_INT_CNTL.kind
_FLAGS = {
    "DOORBELL_INTERRUPT_CLEAR": "DOORBELL_INTERRUPT_STATUS",
    "RAS_CNTLR_INTERRUPT_CLEAR": "RAS_CNTLR_INTERRUPT_STATUS",
    "RAS_ATHUB_ERR_EVENT_INTERRUPT_CLEAR": "RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS",
}


class Ras:
    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu

    def power_on(self) -> None:
        """Nothing is flagged."""

    def fatal(self) -> None:
        """An ATHUB error event: the flag that makes the kernel reset the hive."""
        value = _Control.of(RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS=1)
        self._gpu.registers.set("NBIO[0].BIF_BX0_BIF_DOORBELL_INT_CNTL", int(value))

    def interrupt_control(self, entry: Entry, value: int) -> None:
        """A clear bit takes its status bit away and reads 0; status bits cannot be written."""
        old = _Control(self._gpu.registers.stored(entry)).fields()
        new = _Control(value)
        asked = new.fields()
        for clear, status in _FLAGS.items():
            new = new.replace(**{clear: 0, status: 0 if asked[clear] else old[status]})
        self._gpu.registers.store(entry, int(new))


def declare(layout: Layout, chip: Chip) -> None:
    unit = layout.unit(NbioRegs, "NBIO[0]", chip.bases("NBIF")[0], "ras")
    unit.active(NbioRegs.BIF_BX0_BIF_DOORBELL_INT_CNTL, on_write=Ras.interrupt_control)
    for aid in range(AIDS):
        layout.unit(UmcRegs, f"UMC[{aid}]", chip.bases("UMC")[aid], "ras", aid, aid).plain(("UMCCH0_OdEcc*",))
