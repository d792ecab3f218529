"""PSP (MP0): the bootloader that takes the parts of the secure OS, and the mailbox through which that OS opens its ring.

Source: Linux v7.3 amdgpu/psp_v13_0.c, amdgpu_psp.c (psp_hw_start), amdgpu_psp.h (enum psp_bootloader_cmd), psp_gfx_if.h
(control commands), amdgpu_ras.c (boot status and error word per AID), amdgpu_discovery.c; hardware/amd-bringup.md
section 6; research/amdgpu-on-model.md items 8, 21 to 25. The ring itself: psp_ring.py. Times in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from gpumodel.chips import AIDS, Chip
from gpumodel.gmc import PageFault
from gpumodel.psp_blobs import LARGEST, BlobError, Flaw, Kind, load
from gpumodel.psp_ring import FIRMWARE_KINDS, Ring
from gpumodel.registerfile import Entry, Layout, aid_base
from registers.amd.mp_13_0_6 import Mp0 as Regs
from registers.amd.structs_psp import psp_gfx_crtl_cmd_id as Control

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

READY = 0x80000000  # C2PMSG_33, 35 and 64: bit 31, nothing else
BOOT_STEADY = 0xBA  # low byte of C2PMSG_92
BOOT_STOPPED = 0x31  # guess: any other
# GFX_FW types: SDMA 0 to 3, MEC and its jump table, RLC and its three lists.
ENGINE_FIRMWARE = frozenset({9, 10, 52, 53, 4, 5, 8, 20, 21, 22})
RAS_CAPABILITY = 0x01067F7F  # C2PMSG_127: blocks and poison; 0 makes the kernel driver oops (item 8)
SIGN_OF_LIFE = 1  # C2PMSG_81: any value but 0; 1 was accepted (item 22)
RING_BYTES = 0x1000  # C2PMSG_71: size of the kernel driver's ring, left behind when it goes

COMPONENT_S = 2e-3  # guess: the bootloader checks and starts one component
SOS_ALIVE_S = (
    50e-3  # guess: after the kernel has waited 20 ms and taken its sample, before its 100 ms are over (item 22)
)
SOS_PATIENCE = 40  # guess: so many times longer it may take when nobody looks
CONTROL_S = 1e-3  # guess: opening or closing a ring

FRAME_BYTES = 64
RING_ALIGNMENT = 0x1000
STATUS_BITS = 0xFFFF

BOOT_ERRORS = "MP0_SMN_C2PMSG_126"
RAS_CAPABILITIES = "MP0_SMN_C2PMSG_127"
# Offsets in segment 0 of registers that mp_13_0_6 leaves out; psp_v13_0.c takes them from mp_13_0_2.
_UNLISTED = {BOOT_ERRORS: 0xBE, RAS_CAPABILITIES: 0xBF, "MP0_SMN_C2PMSG_115": 0xB3, "MP0_SMN_C2PMSG_116": 0xB4}

_OTHER_AIDS = ("MP0_SMN_C2PMSG_92",)


class BootError(IntEnum):
    """Low byte of C2PMSG_35 after a command that failed. # guess: only "not 0" is known"""

    COMMAND = 1
    ORDER = 2
    ADDRESS = 3
    FORMAT = 4
    KIND = 5
    SIGNATURE = 6
    VERSION = 7
    REFUSED = 8


class ControlError(IntEnum):
    """Status half of C2PMSG_64. # guess: as the codes of a TEE, without their 0xFFFF"""

    BAD_PARAMETERS = 0x0006
    BAD_STATE = 0x0007
    NOT_SUPPORTED = 0x000A
    UNKNOWN = 0x0100


@dataclass(frozen=True, slots=True)
class Component:
    """One step of the bootloader. `fault`: its name in `psp-refuses`; `one_release`: all such parts carry one version."""

    fault: str
    command: int
    kinds: frozenset[int]
    required: bool = True
    one_release: bool = True


# In this order; the parts that no file of these chips holds may be left out. Whoever sends an SPL sends the KDB again.
COMPONENTS = (
    Component("kdb", 0x80000, frozenset({Kind.KDB}), one_release=False),
    Component("spl", 0x10000000, frozenset({Kind.KDB}), required=False, one_release=False),
    Component("sys-drv", 0x10000, frozenset({Kind.SYS_DRV})),
    Component("soc-drv", 0xB0000, frozenset({Kind.SOC_DRV})),
    Component("intf-drv", 0xD0000, frozenset({Kind.INTF_DRV})),
    Component("dbg-drv", 0xC0000, frozenset({Kind.DBG_DRV})),
    Component("ras-drv", 0xE0000, frozenset({Kind.RAS_DRV})),
    Component("ipkeymgr-drv", 0xF0000, frozenset(), required=False),
    Component("spdm-drv", 0x20000000, frozenset(), required=False),
    Component("sos", 0x20000, frozenset({Kind.SOS})),
)
_BY_COMMAND = {component.command: place for place, component in enumerate(COMPONENTS)}
_TRAINING = (0x100000, 0x200000)  # long and short memory training: the memory of these parts is trained at power-on


class Psp:
    """`loaded`: firmware types that LOAD_IP_FW accepted; `refuses`, `ring_dead`: faults."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.loaded: set[int] = set()
        self.refuses: set[str] = set()
        self.ring_dead = False
        self.ring = Ring(gpu)
        self._life = 0  # counts power-ons: what an earlier life had under way is not done any more
        self._place = 0  # of the next component
        self._release = 0
        self._busy = False
        self._looked = False  # at the sign of life, since the secure OS was asked for
        self._patience = 0

    @property
    def alive(self) -> bool:
        """Whether the secure OS runs."""
        return self._get(81) != 0

    def power_on(self) -> None:
        """Boot firmware done and waiting; after an earlier boot the secure OS still runs and all firmware is loaded."""
        self._life += 1
        self._place = 0
        self._release = 0
        self._busy = False
        self.refuses.clear()
        self.ring_dead = False
        self.loaded.clear()
        self.ring.power_on()
        if not self._gpu.is_used:
            return
        self._place = len(COMPONENTS)
        self.loaded.update(FIRMWARE_KINDS)
        self._set(81, SIGN_OF_LIFE)
        self._set(58, self._gpu.chip.sos_version)
        self._set(71, RING_BYTES)

    def firmware_down(self) -> None:
        """In a reset: the boot firmware has not got to its mailbox yet."""
        for number in (33, 35, 64, 92):
            self._set(number, 0)

    def firmware_up(self) -> None:
        """It waits for its first command."""
        for number in (33, 35, 64):
            self._set(number, READY)
        self._set(92, BOOT_STEADY)

    def stop_boot(self, errors: int, *, mailbox: bool = False) -> None:
        """The boot firmware stopped; its error word (C2PMSG_126) tells why. `mailbox`: its first sign of life had come."""
        first = READY if mailbox else 0
        for number, value in {33: first, 35: 0, 58: 0, 64: 0, 81: 0, 92: BOOT_STOPPED, 126: errors}.items():
            self._set(number, value)

    def forget_engines(self) -> None:
        """GFX and SDMA lost their firmware (aldebaran.c mode2_restore_ip: what is loaded again)."""
        self.loaded.difference_update(ENGINE_FIRMWARE)

    # C2PMSG_35: the bootloader.

    def boot_command(self, entry: Entry, value: int) -> None:
        """One component, at the address in C2PMSG_36; the register shows the command until it is done."""
        gpu = self._gpu
        old = gpu.registers.stored(entry)
        gpu.registers.store(entry, value)
        if self.alive or not self._get(33) & READY:
            self._nobody("bootloader", value)
            return
        if old & 0xFF and old & READY:
            gpu.registers.store(entry, old)
            gpu.wrong("psp", f"bootloader command {value:#x} after one that failed ({old:#x}): ignored")
            return
        if self._busy:
            gpu.wrong("psp", f"bootloader command {value:#x} while another is under way: ignored")
            return
        gpu.stage("sos" if value == COMPONENTS[-1].command else "bootloader")
        self._busy = True
        self._after(COMPONENT_S, lambda: self._boot(value))

    def _boot(self, command: int) -> None:
        self._busy = False
        error = self._take(command)
        self._set(35, READY | error)
        if not error and command == COMPONENTS[-1].command:
            self._looked = False
            self._patience = SOS_PATIENCE
            self._after(SOS_ALIVE_S - COMPONENT_S, self._sos_starts)

    def _take(self, command: int) -> int:
        """0, or the error for the register."""
        if command in _TRAINING:
            return 0
        place = _BY_COMMAND.get(command)
        if place is None:
            self._gpu.registers.unknown[("psp-command", command)] += 1
            return self._refused(BootError.COMMAND, f"bootloader command {command:#x} does not exist")
        component = COMPONENTS[place]
        skipped = [other.fault for other in COMPONENTS[self._place : place] if other.required]
        if place < self._place or skipped:
            text = f"without {', '.join(skipped)}" if skipped else "again or too late"
            return self._refused(BootError.ORDER, f"{component.fault} {text}")
        if component.fault in self.refuses:
            return BootError.REFUSED
        error = self._check(component)
        if not error:
            self._place = place + 1
        return error

    def _check(self, component: Component) -> int:
        gpu = self._gpu
        address = self._get(36) << 20
        try:
            blob = load(gpu.gmc.mc_read, address, LARGEST, component.kinds, _family(gpu))
        except BlobError as error:
            return self._refused(_FLAWS[error.flaw], f"{component.fault} at {address:#x}: {error}")
        except PageFault as fault:
            return self._refused(BootError.ADDRESS, f"{component.fault} at {address:#x} cannot be read: {fault}")
        if component.one_release:
            if self._release not in (0, blob.version):
                text = f"{component.fault} is {blob.version:#x}, the parts before it {self._release:#x}"
                return self._refused(BootError.VERSION, text)
            self._release = blob.version
        return 0

    def sign_of_life(self, entry: Entry) -> int:
        self._looked = True
        return self._gpu.registers.stored(entry)

    def _sos_starts(self) -> None:
        """Not before somebody took his sample: a guest that is short of processor time may wake up from its 20 ms late."""
        if not self._looked and self._patience:
            self._patience -= 1
            self._after(SOS_ALIVE_S, self._sos_starts)
            return
        self._set(58, self._release)
        self._set(81, SIGN_OF_LIFE)
        self._set(64, READY)

    # C2PMSG_64: the ring is opened and closed; C2PMSG_67: there are new frames in it.

    def control_command(self, entry: Entry, value: int) -> None:
        gpu = self._gpu
        gpu.registers.store(entry, value)
        command = value & Control.GFX_CTRL_CMD_ID_MAX
        if command == Control.GFX_CTRL_CMD_ID_INIT_GPCOM_RING:
            gpu.stage("psp-ring")
        if not self.alive:
            self._nobody("secure OS", value)
            return
        if command == Control.GFX_CTRL_CMD_ID_MODE1_RST:  # resets are not modelled: never answered
            gpu.registers.unknown[("psp-command", value)] += 1
            return
        self._after(CONTROL_S, lambda: self._set(64, READY | command | self._control(command)))

    def _control(self, command: int) -> int:
        """Status of a control command."""
        if command == Control.GFX_CTRL_CMD_ID_INIT_GPCOM_RING:
            return self._open_ring()
        if command in (Control.GFX_CTRL_CMD_ID_DESTROY_RINGS, Control.GFX_CTRL_CMD_ID_DESTROY_GPCOM_RING):
            self.ring.close()
            return 0
        if command in _HARMLESS:
            return 0
        if command in _FOR_GUESTS:
            return self._refused(ControlError.NOT_SUPPORTED, f"control command {command:#x} is for guests")
        self._gpu.registers.unknown[("psp-command", command)] += 1
        return self._refused(ControlError.UNKNOWN, f"control command {command:#x} does not exist")

    def _open_ring(self) -> int:
        if self.ring.size:
            return self._refused(ControlError.BAD_STATE, "a ring is made while there is one")
        address, size = self._get(70) << 32 | self._get(69), self._get(71)
        if address % RING_ALIGNMENT or size % FRAME_BYTES or not size:
            return self._refused(ControlError.BAD_PARAMETERS, f"no ring at {address:#x} with {size:#x} bytes")
        try:
            for place in (address, address + size - FRAME_BYTES):
                self._gpu.gmc.mc_read(place, FRAME_BYTES)
        except PageFault as fault:
            return self._refused(ControlError.BAD_PARAMETERS, f"the ring at {address:#x} cannot be read: {fault}")
        self.ring.open(address, size)
        self._set(67, 0)
        return 0

    def ring_pointer(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        self.ring.pointer(value)

    def _nobody(self, who: str, value: int) -> None:
        self._gpu.registers.unknown[("psp-command", value)] += 1
        self._gpu.wrong("psp", f"command {value:#x} for the {who}, which does not run: not answered")

    def _refused(self, error: int, text: str) -> int:
        self._gpu.wrong("psp", text)
        return error

    def _after(self, delay_s: float, work: Callable[[], None]) -> None:
        life = self._life

        def when_due() -> None:
            if life == self._life and not self._gpu.lost:
                work()

        self._gpu.hive.events.after(delay_s, when_due)

    def _get(self, number: int) -> int:
        return self._gpu.registers.get(f"MP0[0].MP0_SMN_C2PMSG_{number}")

    def _set(self, number: int, value: int) -> None:
        self._gpu.registers.set(f"MP0[0].MP0_SMN_C2PMSG_{number}", value)


_FLAWS = {
    Flaw.FORMAT: BootError.FORMAT,
    Flaw.KIND: BootError.KIND,
    Flaw.SIGNATURE: BootError.SIGNATURE,
}
_HARMLESS = (
    Control.GFX_CTRL_CMD_ID_CAN_INIT_RINGS,
    Control.GFX_CTRL_CMD_ID_ENABLE_INT,
    Control.GFX_CTRL_CMD_ID_DISABLE_INT,
)
_FOR_GUESTS = (
    Control.GFX_CTRL_CMD_ID_INIT_RBI_RING,
    Control.GFX_CTRL_CMD_ID_GBR_IH_SET,
    Control.GFX_CTRL_CMD_ID_CONSUME_CMD,
)


def _family(gpu: ModelGpu) -> str:
    """The GC version by which AMD's files are named."""
    return ".".join(map(str, gpu.chip.version("GC")))


def declare(layout: Layout, chip: Chip) -> None:
    ready = {f"MP0_SMN_C2PMSG_{number}": READY for number in (33, 35, 64)}
    resets = {**ready, "MP0_SMN_C2PMSG_92": BOOT_STEADY, RAS_CAPABILITIES: RAS_CAPABILITY}
    commands = {
        Regs.MP0_SMN_C2PMSG_35: Psp.boot_command,
        Regs.MP0_SMN_C2PMSG_64: Psp.control_command,
        Regs.MP0_SMN_C2PMSG_67: Psp.ring_pointer,
    }
    unit = layout.unit(Regs, "MP0[0]", chip.bases("MP0")[0], "psp")
    for register, hook in commands.items():
        unit.active(register, resets.get(register.name, 0), on_write=hook)
    unit.active(Regs.MP0_SMN_C2PMSG_81, on_read=Psp.sign_of_life)
    names = {register.name for register in commands} | {Regs.MP0_SMN_C2PMSG_81.name}
    unit.plain([name for name in Regs.REGISTERS if name.startswith("MP0_SMN_C2PMSG_") and name not in names], resets)
    base = chip.bases("MP0")[0][0]
    for name, offset in _UNLISTED.items():
        layout.add(Entry(f"MP0[0].{name}", base + offset, resets.get(name, 0), "psp", 0))
    for aid in range(1, AIDS):
        address = aid_base(aid) + base + _UNLISTED[BOOT_ERRORS]
        layout.add(Entry(f"MP0[{aid}].{BOOT_ERRORS}", address, 0, "psp", aid))
        layout.unit(Regs, f"MP0[{aid}]", chip.bases("MP0")[aid], "psp", aid, aid).plain(_OTHER_AIDS, resets)
