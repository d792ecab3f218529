"""PSP (MP0): what the boot firmware and the secure OS show in their message registers.

Source: Linux v7.3 amdgpu/psp_v13_0.c, amdgpu_ras.c (boot status and error word per AID), amdgpu_discovery.c;
hardware/amd-bringup.md section 6; research/amdgpu-on-model.md items 8, 21 to 25. Commands are not executed yet: a
command that is written stays in its register, unanswered, and is listed among the unknown accesses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel.chips import AIDS, Chip
from gpumodel.registerfile import Entry, Layout, aid_base
from registers.amd.mp_13_0_6 import Mp0 as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

READY = 0x80000000  # C2PMSG_33, 35 and 64: bit 31, nothing else
BOOT_STEADY = 0xBA  # low byte of C2PMSG_92
RAS_CAPABILITY = 0x01067F7F  # C2PMSG_127: blocks and poison; 0 makes the kernel driver oops (item 8)
SIGN_OF_LIFE = 1  # C2PMSG_81: any value but 0; 1 was accepted (item 22)
RING_BYTES = 0x1000  # C2PMSG_71: size of the kernel driver's ring, left behind when it goes

BOOT_ERRORS = "MP0_SMN_C2PMSG_126"
RAS_CAPABILITIES = "MP0_SMN_C2PMSG_127"
# Offsets in segment 0 of registers that mp_13_0_6 leaves out; psp_v13_0.c takes them from mp_13_0_2.
_UNLISTED = {BOOT_ERRORS: 0xBE, RAS_CAPABILITIES: 0xBF, "MP0_SMN_C2PMSG_115": 0xB3, "MP0_SMN_C2PMSG_116": 0xB4}

_OTHER_AIDS = ("MP0_SMN_C2PMSG_92",)


class Psp:
    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu

    def power_on(self) -> None:
        """Boot firmware done and waiting; after an earlier boot the secure OS still runs."""
        if not self._gpu.is_used:
            return
        registers = self._gpu.registers
        registers.set("MP0[0].MP0_SMN_C2PMSG_81", SIGN_OF_LIFE)
        registers.set("MP0[0].MP0_SMN_C2PMSG_58", self._gpu.chip.sos_version)
        registers.set("MP0[0].MP0_SMN_C2PMSG_71", RING_BYTES)

    def command(self, entry: Entry, value: int) -> None:
        """Taken, never answered: the firmware behind this register is not modelled."""
        self._gpu.registers.store(entry, value)
        self._gpu.registers.unknown[("psp-command", value)] += 1


def declare(layout: Layout, chip: Chip) -> None:
    ready = {f"MP0_SMN_C2PMSG_{number}": READY for number in (33, 35, 64)}
    resets = {**ready, "MP0_SMN_C2PMSG_92": BOOT_STEADY, RAS_CAPABILITIES: RAS_CAPABILITY}
    commands = (Regs.MP0_SMN_C2PMSG_35, Regs.MP0_SMN_C2PMSG_64, Regs.MP0_SMN_C2PMSG_67)
    unit = layout.unit(Regs, "MP0[0]", chip.bases("MP0")[0], "psp")
    for register in commands:
        unit.active(register, resets.get(register.name, 0), on_write=Psp.command)
    names = {register.name for register in commands}
    unit.plain([name for name in Regs.REGISTERS if name.startswith("MP0_SMN_C2PMSG_") and name not in names], resets)
    base = chip.bases("MP0")[0][0]
    for name, offset in _UNLISTED.items():
        layout.add(Entry(f"MP0[0].{name}", base + offset, resets.get(name, 0), "psp", 0))
    for aid in range(1, AIDS):
        address = aid_base(aid) + base + _UNLISTED[BOOT_ERRORS]
        layout.add(Entry(f"MP0[{aid}].{BOOT_ERRORS}", address, 0, "psp", aid))
        layout.unit(Regs, f"MP0[{aid}]", chip.bases("MP0")[aid], "psp", aid, aid).plain(_OTHER_AIDS, resets)
