"""SMU (MP1): firmware flags, firmware version, and the mailbox.

Source: Linux v7.3 pm/swsmu/smu_cmn.c (response codes), smu_v13_0_6_ppt.c (SMN addresses), include of
smu_v13_0_6_ppsmc.h (message numbers); hardware/amd-bringup.md section 7; research/amdgpu-on-model.md items 29 to 31.
Only messages that change nothing are executed yet; others are refused as unknown and listed. Times in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gpumodel.chips import Chip
from gpumodel.registerfile import WORD, Entry, Layout
from registers.amd.mp_13_0_6 import Mp1 as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

FIRMWARE_FLAGS = 0x03B10028  # SMN bytes: MP1_Public | smnMP1_FIRMWARE_FLAGS
PUB_SCRATCH0 = 0x03B10090  # SMN bytes: psp_v13_0.c regMP1_PUB_SCRATCH0
FIRMWARE_ALIVE = 1  # interrupts enabled

OK = 0x01
UNKNOWN_COMMAND = 0xFE
ANSWER_AFTER_S = 100e-6  # guess: real answers take tens to hundreds of microseconds
DRIVER_IF_VERSION = 0x08042024  # guess: printed by the kernel driver, never checked (item 32)

TEST_MESSAGE = 0x1
GET_SMU_VERSION = 0x2
GET_DRIVER_IF_VERSION = 0x4


class Smu:
    """A mailbox of three registers: argument (82), message (66), response (90)."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.silent = False
        self._answer: tuple[float, int, int] | None = None  # due at, response, argument
        version = gpu.chip.pmfw_version
        self._messages: dict[int, Callable[[int], int]] = {
            TEST_MESSAGE: lambda argument: (argument + 1) & WORD,
            GET_SMU_VERSION: lambda argument: version,
            GET_DRIVER_IF_VERSION: lambda argument: DRIVER_IF_VERSION,
        }

    def power_on(self) -> None:
        self.silent = False
        self._answer = None

    def fall_silent(self) -> None:
        """The firmware stops: a message was taken and is never answered."""
        self.silent = True
        self._answer = None
        self._gpu.registers.set("MP1[0].MP1_SMN_C2PMSG_90", 0)
        self._gpu.registers.set("MP1.FIRMWARE_FLAGS", 0)

    def message(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        if self.silent:
            return
        argument = self._gpu.registers.get("MP1[0].MP1_SMN_C2PMSG_82")
        execute = self._messages.get(value)
        due = self._gpu.clock.now() + ANSWER_AFTER_S
        if execute is None:
            self._gpu.registers.unknown[("smu-message", value)] += 1
            self._answer = (due, UNKNOWN_COMMAND, argument)
        else:
            self._answer = (due, OK, execute(argument))

    def mailbox_read(self, entry: Entry) -> int:
        """Response and argument change when the answer is due."""
        if self._answer is not None and self._gpu.clock.now() >= self._answer[0]:
            _, response, argument = self._answer
            self._answer = None
            self._gpu.registers.set("MP1[0].MP1_SMN_C2PMSG_82", argument)
            self._gpu.registers.set("MP1[0].MP1_SMN_C2PMSG_90", response)
        return self._gpu.registers.stored(entry)


def declare(layout: Layout, chip: Chip) -> None:
    mailbox = (Regs.MP1_SMN_C2PMSG_66, Regs.MP1_SMN_C2PMSG_82, Regs.MP1_SMN_C2PMSG_90)
    unit = layout.unit(Regs, "MP1[0]", chip.bases("MP1")[0], "smu")
    unit.active(mailbox[0], on_write=Smu.message)
    unit.active(mailbox[1], on_read=Smu.mailbox_read)
    unit.active(mailbox[2], OK, on_read=Smu.mailbox_read)  # 1 after power-on (item 30)
    names = {register.name for register in mailbox}
    unit.plain([name for name in Regs.REGISTERS if name.startswith("MP1_SMN_") and name not in names])
    layout.add(Entry("MP1.FIRMWARE_FLAGS", FIRMWARE_FLAGS // 4, FIRMWARE_ALIVE, "smu", 0))
    layout.add(Entry("MP1.PUB_SCRATCH0", PUB_SCRATCH0 // 4, chip.pmfw_version, "smu", 0))
