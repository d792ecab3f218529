"""RAS: the interrupt flags of NBIO that tell of a fatal error, the error counters of the memory controllers, error banks.

Source: Linux v7.3 amdgpu/nbio_v7_9.c (ATHUB error event and controller interrupt, cleared by writing bits 16 to 18),
umc_v12_0.c; hardware/amd-resets.md sections 7 and 9; ras/core/aca.h, aca_v1_0.h, aca_v1_0.c (what a bank's sixteen
registers of 64 bits mean). Banks travel by SMU message, not by register (ras_mgr/amdgpu_ras_mp1_v13_0.c)."""

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

BANK_BYTES = 16 * 8
STATUS, ADDR, MISC0, IPID, SYND = 1, 2, 3, 5, 6  # aca.h, ACA_REG_IDX__*
VALID, UNCORRECTED, ENABLED, MISC_VALID, ADDR_VALID = 1 << 63, 1 << 61, 1 << 60, 1 << 59, 1 << 58  # of STATUS
CONTEXT_CORRUPT, SYND_VALID, UNCORRECTABLE = 1 << 57, 1 << 53, 1 << 45
MISC_COUNT_SHIFT = 32
HARDWARE_SHIFT, INSTANCE_HIGH_SHIFT = 32, 44  # of IPID
HARDWARE_UMC = 0x96
BAD_AID = 1
BAD_ADDRESS = 0x1234_5600  # guess: any


class Ras:
    """`banks`: the uncorrectable errors that the SMU has collected, each the sixteen registers of one bank."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.banks: list[tuple[int, ...]] = []

    def power_on(self) -> None:
        """Nothing is flagged. guess: no bank survives a reset either."""
        self.banks.clear()

    def fatal(self) -> None:
        """An ATHUB error event: the flag that makes the kernel reset the hive, with an interrupt that has no entry in the
        ring (nbio_v7_9.c: the ring of its own that it should be in is off); its cause in a bank."""
        value = _Control.of(RAS_ATHUB_ERR_EVENT_INTERRUPT_STATUS=1)
        self._gpu.registers.set("NBIO[0].BIF_BX0_BIF_DOORBELL_INT_CNTL", int(value))
        self.banks.append(memory_error(self._gpu.index))
        if self._gpu.ih.on_interrupt is not None:
            self._gpu.ih.on_interrupt()

    def bank_dword(self, bank: int, offset: int) -> int | None:
        """At a byte offset in a bank; None: there is none."""
        if bank >= len(self.banks) or offset >= BANK_BYTES:
            return None
        return self.banks[bank][offset // 8] >> 8 * (offset & 4) & 0xFFFFFFFF

    def interrupt_control(self, entry: Entry, value: int) -> None:
        """A clear bit takes its status bit away and reads 0; status bits cannot be written."""
        old = _Control(self._gpu.registers.stored(entry)).fields()
        new = _Control(value)
        asked = new.fields()
        for clear, status in _FLAGS.items():
            new = new.replace(**{clear: 0, status: 0 if asked[clear] else old[status]})
        self._gpu.registers.store(entry, int(new))


def memory_error(socket: int) -> tuple[int, ...]:
    """The bank of a memory controller that met one uncorrectable error. guess: that this is what makes an error fatal."""
    registers = [0] * (BANK_BYTES // 8)
    flags = VALID | UNCORRECTED | ENABLED | MISC_VALID | ADDR_VALID | CONTEXT_CORRUPT | SYND_VALID | UNCORRECTABLE
    registers[STATUS] = flags
    registers[ADDR] = BAD_ADDRESS
    registers[MISC0] = VALID | 1 << MISC_COUNT_SHIFT
    instance_high = BAD_AID << 2 | socket & 3  # the die, and where in the hive: bit 2 is bit 0 of the low half
    registers[IPID] = instance_high << INSTANCE_HIGH_SHIFT | HARDWARE_UMC << HARDWARE_SHIFT | socket >> 2 & 1
    return tuple(registers)


def declare(layout: Layout, chip: Chip) -> None:
    unit = layout.unit(NbioRegs, "NBIO[0]", chip.bases("NBIF")[0], "ras")
    unit.active(NbioRegs.BIF_BX0_BIF_DOORBELL_INT_CNTL, on_write=Ras.interrupt_control)
    for aid in range(AIDS):
        layout.unit(UmcRegs, f"UMC[{aid}]", chip.bases("UMC")[aid], "ras", aid, aid).plain(("UMCCH0_OdEcc*",))
