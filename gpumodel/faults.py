"""The catalogue of faults: what each does to which registers, what shows it, and what cures it.

Source: hardware/amd-resets.md sections 9 (signatures), 8 (state after each reset) and 10 (what to do); the registers:
Linux v7.3 gfx_v9_4_3.c and sdma_v4_4_2.c (state dumps), gmc_v9_0.c, nbio_v7_9.c, amdgpu_xgmi.c, amdgpu_ras.h.
Faults of bring-up are attributes of the blocks, which say what they do with them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpumodel.chips import Chip
    from gpumodel.device import ModelGpu


class Reset(StrEnum):
    """Everything that may bring a GPU back, mildest first: amd-resets.md section 1, and restoring config space."""

    RESTORE_CONFIG = "restore-config"
    WAVE_KILL = "wave-kill"
    QUEUE = "queue"  # HQD dequeue, queue reset by MMIO or KIQ
    PIPE = "pipe"
    MEC = "mec"
    SDMA_ENGINE = "sdma-engine"
    GRBM = "grbm"
    MODE2 = "mode2"
    MODE1 = "mode1"
    LINK = "link"
    FLR = "flr"
    BUS_RESET = "bus-reset"
    REMOVE_RESCAN = "remove-rescan"
    POWER_CYCLE = "power-cycle"


NEVER: frozenset[Reset] = frozenset()
_FIRMWARE_BOOTS = frozenset((Reset.MODE1, Reset.FLR, Reset.BUS_RESET, Reset.POWER_CYCLE))
_WITHOUT_SMU = frozenset((Reset.FLR, Reset.BUS_RESET, Reset.POWER_CYCLE))
_GFX = _FIRMWARE_BOOTS | {Reset.MODE2}


class ShowsAt(StrEnum):
    """When a reader can see that something is wrong."""

    LOOK = "look"  # without touching anything
    BRING_UP = "bring-up"  # only when a driver starts the GPU
    RESET = "reset"  # only when somebody resets it
    WORK = "work"  # only while it works


@dataclass(frozen=True, slots=True)
class Argument:
    """What may follow a fault's name: a number or a word. `limit` gives the largest number for a part in a hive of so
    many GPUs, None: no numbers; `choices`, if any, are all numbers that are allowed; `words` gives the words that a part
    knows and what each stands for. `default` is what could be written."""

    name: str
    meaning: str
    default: int | str
    smallest: int = 0
    limit: Callable[[Chip, int], int] | None = None
    choices: tuple[int, ...] = ()
    words: Callable[[Chip], Mapping[str, int | str]] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """`effect`: what changes, and where that is known from; `symptom`: what a reader sees without knowing the fault;
    `cures`: the resets after which it is gone, NEVER if none; `apply` takes the GPU and the argument (0: has none);
    `shows_at`: whether looking is enough to see the symptom."""

    name: str
    summary: str
    effect: str
    symptom: str
    cures: frozenset[Reset]
    apply: Callable[[ModelGpu, Any], None]
    argument: Argument | None = None
    shows_at: ShowsAt = ShowsAt.LOOK

    @property
    def cured_by(self) -> str:
        """The cures in words, mildest first."""
        return ", ".join(reset for reset in Reset if reset in self.cures) or "never"


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault with its argument, on some GPU."""

    fault: Fault
    value: int | str = 0

    def apply(self, gpu: ModelGpu) -> None:
        self.fault.apply(gpu, self.value)
        gpu.faults.append(self)


def _bus_lost(gpu: ModelGpu, value: int) -> None:
    gpu.lost = True


def _bar_dead(gpu: ModelGpu, value: int) -> None:
    from gpumodel.device import BAR_DWORDS

    gpu.lost_bars.update(BAR_DWORDS)


def tensor(size: int) -> bytes:
    """What a user's kernel might leave behind: float32 values, the same each time."""
    values = (((place * 2654435761) % 65521) / 32760.5 - 1.0 for place in range(size // 4))
    return b"".join(struct.pack("<f", value) for value in values)


def _discovery_clobbered(gpu: ModelGpu, size: int) -> None:
    gpu.vram.write(gpu.table_offset, tensor(size & ~3))


def _fill_end(gpu: ModelGpu, byte: int) -> None:
    """The table and all behind it: a dead path to VRAM or cleared memory does not stop at the table's end."""
    gpu.vram.write(gpu.table_offset, bytes((byte,)) * (gpu.chip.vram_size - gpu.table_offset))


def _discovery_zeros(gpu: ModelGpu, value: int) -> None:
    _fill_end(gpu, 0x00)


def _discovery_ones(gpu: ModelGpu, value: int) -> None:
    _fill_end(gpu, 0xFF)


def _discovery_bitflip(gpu: ModelGpu, bit: int) -> None:
    place = gpu.table_offset + bit // 8
    gpu.vram.write(place, bytes((gpu.vram.read(place, 1)[0] ^ 1 << bit % 8,)))


def _bootloader_silent(gpu: ModelGpu, errors: int) -> None:
    gpu.psp.stop_boot(errors)


def _smu_silent(gpu: ModelGpu, value: int) -> None:
    gpu.smu.fall_silent()


def _mec_hang(gpu: ModelGpu, xcc: int) -> None:
    from gpumodel.gfx import MEC1_QUEUE0
    from registers.amd.gc_9_4_3 import Gc

    gpu.gfx.busy.add(xcc)
    gpu.gfx.hung.add(xcc)
    status = Gc.GRBM_STATUS.kind(gpu.registers.get(f"GC[{xcc}].GRBM_STATUS"))
    values = {
        "CP_MEC_CNTL": Gc.CP_MEC_CNTL.kind(0),  # not halted: only a running engine hangs
        "RLC_CNTL": Gc.RLC_CNTL.kind.of(RLC_ENABLE_F32=1),
        "GRBM_STATUS": status.replace(GUI_ACTIVE=1, CP_BUSY=1, SPI_BUSY=1),
        "GRBM_STATUS2": Gc.GRBM_STATUS2.kind.of(CPC_BUSY=1, CPF_BUSY=1),
        "CP_STAT": Gc.CP_STAT.kind.of(CP_BUSY=1),
        "CP_CPC_STATUS": Gc.CP_CPC_STATUS.kind.of(MEC1_BUSY=1, ROQ1_BUSY=1, CPF_CPC_BUSY=1, CPC_BUSY=1),
        "CP_CPC_BUSY_STAT": Gc.CP_CPC_BUSY_STAT.kind.of(MEC1_PIPE0_BUSY=1, MEC1_PARTIAL_FLUSH_BUSY=1),
        "CP_CPF_STATUS": Gc.CP_CPF_STATUS.kind.of(HQD_BUSY=1, CPF_CMP_BUSY=1, CPC_CPF_BUSY=1, CPF_BUSY=1),
        "CP_CPF_BUSY_STAT": Gc.CP_CPF_BUSY_STAT.kind.of(HQD_PQ_BUSY=1),
        "CP_MEC1_INSTR_PNTR": Gc.CP_MEC1_INSTR_PNTR.kind(0x0B2C),
    }
    for name, value in values.items():
        gpu.registers.set(f"GC[{xcc}].{name}", int(value))
    queue = {"CP_HQD_ACTIVE": 1, "CP_HQD_VMID": 8, "CP_HQD_PQ_RPTR": 0x100, "CP_HQD_PQ_WPTR_LO": 0x140}
    for name, number in queue.items():
        gpu.registers.store_bank(f"GC[{xcc}].{name}", MEC1_QUEUE0, number)


def _sdma_hang(gpu: ModelGpu, engine: int) -> None:
    from gpumodel.sdma import IDLE_STATUS, RING_DWORDS_LOG2
    from registers.amd.sdma_4_4_2 import Sdma

    gpu.sdma.busy.add(engine)
    gpu.sdma.hung.add(engine)
    idle = Sdma.SDMA_STATUS_REG.kind(IDLE_STATUS)
    stuck = idle.replace(IDLE=0, RB_EMPTY=0, RB_CMD_IDLE=0, IB_CMD_IDLE=0, EX_IDLE=0, INSIDE_IB=1, CONTEXT_EMPTY=0)
    control = Sdma.SDMA_GFX_RB_CNTL.kind.of(RB_ENABLE=1, RB_SIZE=RING_DWORDS_LOG2, RPTR_WRITEBACK_ENABLE=1)
    values = {
        "SDMA_F32_CNTL": 0,
        "SDMA_STATUS_REG": int(stuck),
        "SDMA_STATUS2_REG": int(Sdma.SDMA_STATUS2_REG.kind.of(ID=engine % 4, F32_INSTR_PTR=0x2A6, CMD_OP=8)),
        "SDMA_GFX_RB_CNTL": int(control),
        "SDMA_GFX_RB_RPTR": 0x400,
        "SDMA_GFX_RB_WPTR": 0x480,
        "SDMA_GFX_CONTEXT_STATUS": int(Sdma.SDMA_GFX_CONTEXT_STATUS.kind.of(SELECTED=1)),
    }
    for name, value in values.items():
        gpu.registers.set(f"SDMA[{engine}].{name}", value)


def _page_fault(gpu: ModelGpu, vmid: int) -> None:
    from gpumodel.gfx import MEC1_QUEUE0
    from registers.amd.gc_9_4_3 import Gc

    # A write by client 8 (TCP) without permission, at an address that a process might use.
    status = Gc.VM_L2_PROTECTION_FAULT_STATUS.kind.of(MORE_FAULTS=1, PERMISSION_FAULTS=3, CID=8, RW=1, VMID=vmid)
    address = 0x7F3A_1C40_0000
    gpu.gmc.fault("GC[0]", int(status), address)
    gpu.gmc.stays["GC[0]"] = int(status), address
    for name, number in (("CP_HQD_ACTIVE", 1), ("CP_HQD_VMID", vmid)):  # the queue whose wave tries it
        gpu.registers.store_bank(f"GC[0].{name}", MEC1_QUEUE0, number)


def _ras_fatal(gpu: ModelGpu, value: int) -> None:
    gpu.ras.fatal()


def _xgmi_link_down(gpu: ModelGpu, link: int) -> None:
    from gpumodel.xgmi import STATE_TRAINING, link_to, peer_of

    nodes = gpu.hive.nodes
    gpu.xgmi.set_state(link, STATE_TRAINING)
    peer = peer_of(gpu.index, link, nodes)
    if peer is not None:
        gpu.hive.gpus[peer].xgmi.set_state(link_to(peer, gpu.index, nodes), STATE_TRAINING)


def _link_narrow(gpu: ModelGpu, lanes: int) -> None:
    from gpumodel.pciconfig import LINK_SPEED

    gpu.config.set_link(LINK_SPEED, lanes)
    gpu.nbio.show_link(LINK_SPEED, lanes)


def _aer_correctable(gpu: ModelGpu, value: int) -> None:
    from gpumodel import pciconfig

    data = gpu.config.data
    struct.pack_into(
        "<I", data, pciconfig.AER_CORRECTABLE, 1 << 0 | 1 << 6 | 1 << 12
    )  # receiver, bad TLP, replay timer
    data[pciconfig.DEVICE_STATUS] |= 1  # correctable error detected


def _psp_refuses(gpu: ModelGpu, component: str) -> None:
    gpu.psp.refuses.add(component)


def _psp_ring_dead(gpu: ModelGpu, value: int) -> None:
    gpu.psp.ring_dead = True


def _smu_refuses(gpu: ModelGpu, message: int) -> None:
    gpu.smu.refuses.add(message)


def _smu_busy(gpu: ModelGpu, value: int) -> None:
    gpu.smu.busy = True


def _tlb_ack_missing(gpu: ModelGpu, value: int) -> None:
    gpu.gmc.ack_missing = True


def _rlc_stuck(gpu: ModelGpu, value: int) -> None:
    gpu.gfx.rlc_stuck = True


def _kiq_dead(gpu: ModelGpu, value: int) -> None:
    gpu.gfx.kiq_dead = True


def _sdma_halted(gpu: ModelGpu, engine: int) -> None:
    gpu.sdma.never_starts.add(engine)


def _ih_overflow(gpu: ModelGpu, value: int) -> None:
    gpu.ih.overflows = True


def _lost_during(gpu: ModelGpu, stage: str) -> None:
    gpu.lost_during = stage


def _reset_wears_out(gpu: ModelGpu, resets: int) -> None:
    gpu.resets.wears_out = resets


def _reset_hangs(gpu: ModelGpu, method: str) -> None:
    gpu.resets.hangs.add(Reset(method))


def _reset_lies(gpu: ModelGpu, method: str) -> None:
    gpu.resets.lies.add(Reset(method))


def _clobbered_after(gpu: ModelGpu, method: str) -> None:
    if method == UNCLEAN_EXIT:
        gpu.clobbers_after_exit = True
    else:
        gpu.resets.clobbers_after.add(Reset(method))


def _throttle(gpu: ModelGpu, reason: str) -> None:
    gpu.smu.telemetry.throttled_by = reason


def _flr_loses_config(gpu: ModelGpu, value: int) -> None:
    gpu.resets.loses_config = True


def _one_member_late(gpu: ModelGpu, value: int) -> None:
    gpu.resets.late = True


UNCLEAN_EXIT = "unclean-exit"  # a driver that is gone without having stopped the GPU
# Why the SMU may throttle (smu13_driver_if_v13_0_6.h: thermal throttler bits), and the sum that grows meanwhile.
THROTTLERS: Mapping[str, str] = {
    "prochot": "ProchotResidencyAcc",
    "ppt": "PptResidencyAcc",
    "socket": "SocketThmResidencyAcc",
    "vr": "VrThmResidencyAcc",
    "hbm": "HbmThmResidencyAcc",
}
# What the boot firmware loads one by one, then what the secure OS is asked for.
_COMPONENTS = ("kdb", "spl", "sys-drv", "soc-drv", "intf-drv", "dbg-drv", "ras-drv", "sos", "tmr", "ta")
_FIRMWARE = ("sdma", "mec", "mec-jt", "rlc-cntl", "rlc-gpm", "rlc-srm", "rlc-g", "reg-list", "p2s")
# Stages of bring-up that the blocks report (ModelGpu.stage), in the order of the kernel driver.
STAGES = (
    "gmc",
    "ih",
    "bootloader",
    "sos",
    "psp-ring",
    "tmr",
    "firmware",
    "ta",
    "smu",
    "rlc",
    "kiq",
    "compute",
    "sdma",
    "copy",
)


def _themselves(words: tuple[str, ...]) -> Callable[[Chip], Mapping[str, int | str]]:
    return lambda chip: {word: word for word in words}


def _messages(chip: Chip) -> Mapping[str, int | str]:
    """The SMU messages of a part by name."""
    from registers.amd import structs_smu_13_0_6, structs_smu_13_0_12

    names = structs_smu_13_0_12 if chip.version("MP1") == (13, 0, 12) else structs_smu_13_0_6
    return {message.name: int(message) for message in names.Message}


_BOOTING = (Reset.MODE1, Reset.LINK, Reset.FLR, Reset.BUS_RESET)
_METHODS = (
    Reset.WAVE_KILL,
    Reset.QUEUE,
    Reset.PIPE,
    Reset.MEC,
    Reset.SDMA_ENGINE,
    Reset.GRBM,
    Reset.MODE2,
    *_BOOTING,
)


def _methods(chip: Chip) -> Mapping[str, int | str]:
    """What can hang or lie, by its name here and by the action of which it is a part."""
    return {**{str(reset): str(reset) for reset in _METHODS}, **_OF_ACTIONS}


def _booting_methods(chip: Chip) -> Mapping[str, int | str]:
    return {**{str(reset): str(reset) for reset in _BOOTING}, **_OF_ACTIONS, UNCLEAN_EXIT: UNCLEAN_EXIT}


_OF_ACTIONS: dict[str, int | str] = {"hive-reset": str(Reset.MODE1)}  # a hive is reset by mode1 of every member


def _links(chip: Chip, nodes: int) -> int:
    from gpumodel.chips import XGMI_LINKS

    return nodes - 2 if nodes > 1 else XGMI_LINKS - 1


def _table_bits(chip: Chip, nodes: int) -> int:
    from gpumodel.chips import discovery_table

    return 8 * len(discovery_table(chip, 0, nodes)) - 1


_FAULTS = (
    Fault(
        "bus-lost",
        "the device is gone from the bus",
        "config space and every BAR read all ones, writes are lost (amd-resets.md section 9, dropped off)",
        "vendor id reads 0xffff",
        frozenset((Reset.BUS_RESET, Reset.POWER_CYCLE)),
        _bus_lost,
    ),
    Fault(
        "bar-dead",
        "config space answers, the BARs read all ones",
        "the device forgot its BARs; a switch still shows good ones in config space (amd-resets.md sections 3 and 9)",
        "every register reads 0xffffffff although memory decoding is on; writing the BARs again revives it",
        frozenset((Reset.RESTORE_CONFIG, Reset.FLR, Reset.BUS_RESET, Reset.POWER_CYCLE)),
        _bar_dead,
    ),
    Fault(
        "discovery-clobbered",
        "somebody's data lies over the discovery table",
        "the first bytes of the table in VRAM are float32 values (amd-discovery.md section 1)",
        "the signature is neither 0x28211407 nor zeros nor all ones",
        _FIRMWARE_BOOTS,
        _discovery_clobbered,
        Argument("BYTES", "how much of it is overwritten", 512, 4, lambda chip, nodes: 0x2800),
    ),
    Fault(
        "discovery-zeros",
        "the discovery table is not there: zeros",
        "the last 64 KiB of VRAM are zeros (amd-discovery.md section 9: cleared, or memory not trained)",
        "the signature reads 0",
        _FIRMWARE_BOOTS,
        _discovery_zeros,
    ),
    Fault(
        "discovery-ones",
        "the discovery table is not there: all ones",
        "the last 64 KiB of VRAM read all ones (amd-discovery.md section 9: VRAM path dead)",
        "the signature reads 0xffffffff, registers answer",
        _FIRMWARE_BOOTS,
        _discovery_ones,
    ),
    Fault(
        "discovery-bitflip",
        "one bit of the discovery table is wrong",
        "one bit of the table in VRAM is inverted (amd-discovery.md section 3: sums)",
        "binary and table checksum do not match",
        _FIRMWARE_BOOTS,
        _discovery_bitflip,
        Argument("BIT", "which bit, counted from the start of the table", 0x200 * 8 + 3, 0, _table_bits),
    ),
    Fault(
        "bootloader-silent",
        "the boot firmware stopped, no secure OS runs",
        "C2PMSG_33 and 35 without bit 31, 81 and 58 0, 92 not ..BA, 126 tells the error (amdgpu_ras.h, section 9)",
        "bootloader not ready, boot status not steady, boot error bits set",
        frozenset((Reset.BUS_RESET, Reset.POWER_CYCLE)),
        _bootloader_silent,
        Argument("BITS", "boot error word, C2PMSG_126", 1 << 1, 0, lambda chip, nodes: 0xFFFFFFFF),
    ),
    Fault(
        "smu-silent",
        "the power management firmware does not answer",
        "C2PMSG_90 0 for ever, MP1_FIRMWARE_FLAGS bit 0 clear (section 9)",
        "an unanswered message in the mailbox, firmware flags 0",
        _WITHOUT_SMU,
        _smu_silent,
    ),
    Fault(
        "mec-hang",
        "a compute engine stands still with work in its queue",
        "GRBM_STATUS GUI_ACTIVE, CP_BUSY, SPI_BUSY; CPC, CPF busy; MEC1 instruction pointer constant (section 9)",
        "busy bits stay, the instruction pointer does not move",
        _GFX | {Reset.MEC, Reset.GRBM},
        _mec_hang,
        Argument("XCC", "which XCC", 0, 0, lambda chip, nodes: 7),
    ),
    Fault(
        "sdma-hang",
        "a copy engine stands still with work in its ring",
        "SDMA_STATUS_REG not idle and inside an IB, GFX_RB_RPTR behind WPTR and constant (sdma_v4_4_2.c)",
        "not idle, read pointer does not move",
        _GFX | {Reset.SDMA_ENGINE},
        _sdma_hang,
        Argument("ENGINE", "which engine", 0, 0, lambda chip, nodes: 15),
    ),
    Fault(
        "page-fault",
        "a process touched memory that it may not",
        "VM_L2_PROTECTION_FAULT_STATUS and ADDR of the hub of XCC 0 (amd-bringup.md section 5)",
        "fault status not 0, with client, direction and VMID",
        _GFX | {Reset.QUEUE, Reset.PIPE, Reset.MEC, Reset.GRBM},
        _page_fault,
        Argument("VMID", "whose address space", 8, 1, lambda chip, nodes: 15),
    ),
    Fault(
        "ras-fatal",
        "the hardware reported a fatal error",
        "BIF_DOORBELL_INT_CNTL bit 2, ATHUB error event (nbio_v7_9.c); the cause in an error bank of the SMU (aca_v1_0.c)",
        "RAS interrupt flag up",
        frozenset((Reset.MODE1, Reset.BUS_RESET, Reset.POWER_CYCLE)),
        _ras_fatal,
    ),
    Fault(
        "xgmi-link-down",
        "one link between two GPUs is down",
        "PCS_STATE_HIST1 neither 0x81 (active) nor 0xD1 (disabled), at both ends (amdgpu_xgmi.c)",
        "link state inactive on this GPU and on the one at its other end",
        frozenset((Reset.MODE1, Reset.BUS_RESET, Reset.POWER_CYCLE)),
        _xgmi_link_down,
        Argument("LINK", "which link", 0, 0, _links),
    ),
    Fault(
        "link-narrow",
        "the PCI Express link runs with fewer lanes",
        "LINK_STATUS and the GPU's own link registers (pci_regs.h, smu_v13_0_6_ppt.c)",
        "negotiated width below the maximum",
        NEVER,
        _link_narrow,
        Argument("LANES", "how many are left", 8, 1, lambda chip, nodes: 8, (1, 2, 4, 8)),
    ),
    Fault(
        "aer-correctable",
        "the PCI Express link corrected errors",
        "AER correctable status: receiver error, bad TLP, replay timer; DEVICE_STATUS bit 0 (pci_regs.h)",
        "correctable error bits set; a written 1 clears them",
        NEVER,
        _aer_correctable,
    ),
    Fault(
        "psp-refuses",
        "the PSP refuses one piece of firmware, or the TMR, or a TA",
        "the bootloader answers with an error in C2PMSG_35, the secure OS with a status in the response (section 9)",
        "bring-up ends at that piece; the error code is in the register or the response",
        _FIRMWARE_BOOTS,
        _psp_refuses,
        Argument("COMPONENT", "which piece", "kdb", words=_themselves(_COMPONENTS + _FIRMWARE)),
        ShowsAt.BRING_UP,
    ),
    Fault(
        "psp-ring-dead",
        "the secure OS takes a ring and does no command in it",
        "C2PMSG_64 answers, the fence never changes (section 9, PSP ring dead)",
        "the fence of the first command stays as it was",
        _FIRMWARE_BOOTS,
        _psp_ring_dead,
        shows_at=ShowsAt.BRING_UP,
    ),
    Fault(
        "smu-refuses",
        "the power management firmware refuses one message",
        "C2PMSG_90 reads 0xff after that message, others are answered (section 9, SMU refuses)",
        "one message fails, the mailbox works",
        _FIRMWARE_BOOTS,
        _smu_refuses,
        Argument("MSG", "which message", "EnableAllSmuFeatures", 1, lambda chip, nodes: 0xFF, words=_messages),
        ShowsAt.BRING_UP,
    ),
    Fault(
        "smu-busy",
        "the power management firmware is busy for ever",
        "C2PMSG_90 reads 0xfc after every message (section 9, SMU refuses)",
        "every message is answered with busy; a reset by message, too",
        _WITHOUT_SMU,
        _smu_busy,
        shows_at=ShowsAt.BRING_UP,
    ),
    Fault(
        "tlb-ack-missing",
        "the memory hubs never acknowledge a flush",
        "VM_INVALIDATE_ENG*_ACK stays 0 in every hub (gmc_v9_0.c waits 100 ms for it)",
        "the bit of the VMID does not come up after a request",
        _FIRMWARE_BOOTS,
        _tlb_ack_missing,
        shows_at=ShowsAt.BRING_UP,
    ),
    Fault(
        "rlc-stuck",
        "the RLC never enters safe mode",
        "RLC_SAFE_MODE keeps CMD (gfx_v9_4_3.c waits 100 ms for it to fall)",
        "the command bit stays up",
        _GFX | {Reset.GRBM},
        _rlc_stuck,
        shows_at=ShowsAt.BRING_UP,
    ),
    Fault(
        "kiq-dead",
        "the kernel interface queue takes its doorbell and does nothing",
        "the doorbell of the KIQ has no effect, its HQD stays active with the read pointer where it was (section 10)",
        "no queue that the KIQ should map becomes active",
        _GFX | {Reset.MEC, Reset.GRBM},
        _kiq_dead,
        shows_at=ShowsAt.BRING_UP,
    ),
    Fault(
        "sdma-halted",
        "a copy engine never starts",
        "SDMA_F32_CNTL.HALT stays 1 (sdma_v4_4_2.c)",
        "the ring of the engine does not move, the engine is halted",
        _GFX | {Reset.SDMA_ENGINE},
        _sdma_halted,
        Argument("ENGINE", "which engine", 0, 0, lambda chip, nodes: 15),
        ShowsAt.BRING_UP,
    ),
    Fault(
        "ih-overflow",
        "a source sends more interrupts than the ring holds",
        "IH_RB_WPTR bit 0 after every interrupt, whose entry is overwritten by those that follow (vega20_ih.c)",
        "overflow again and again; the interrupt that one waits for is not in the ring",
        _FIRMWARE_BOOTS,
        _ih_overflow,
        shows_at=ShowsAt.BRING_UP,
    ),
    Fault(
        "lost-during",
        "the device leaves the bus when bring-up gets to a stage",
        "from then on config space and every BAR read all ones (section 9, dropped off)",
        "everything reads all ones in the middle of bring-up",
        frozenset((Reset.BUS_RESET, Reset.POWER_CYCLE)),
        _lost_during,
        Argument("STEP", "which stage", "firmware", words=_themselves(STAGES)),
        ShowsAt.BRING_UP,
    ),
    Fault(
        "needs-power-cycle",
        "the boot firmware stopped, and no reset of the bus starts it again",
        "as bootloader-silent; boot firmware does not come up after any reset (section 10, power cycle)",
        "bootloader not ready, before and after every reset",
        frozenset((Reset.POWER_CYCLE,)),
        _bootloader_silent,
        Argument("BITS", "boot error word, C2PMSG_126", 1 << 1, 0, lambda chip, nodes: 0xFFFFFFFF),
    ),
    Fault(
        "reset-wears-out",
        "mode1 works N times, then boot firmware stays silent until the bus is reset",
        "C2PMSG_35 stays 0 after that mode1 and later ones, 33 comes, a guess (user-wants.md section A1: after about six)",
        "a reset that worked before ends with a silent bootloader",
        NEVER,
        _reset_wears_out,
        Argument("N", "how many work after each reset of the bus", 6, 0, lambda chip, nodes: 1_000_000),
        ShowsAt.RESET,
    ),
    Fault(
        "reset-hangs",
        "one kind of reset begins and never ends",
        "mode1, link: boot firmware never ready; mode2: no answer; FLR, bus: config space all ones; queues: stay active",
        "the wait for the end of that reset runs out",
        NEVER,
        _reset_hangs,
        Argument("METHOD", "which kind", "mode1", words=_methods),
        ShowsAt.RESET,
    ),
    Fault(
        "reset-lies",
        "one kind of reset is acknowledged, and nothing happens",
        "the message or request is answered with success, all state stays as it was",
        "what the reset should have wiped is still there",
        NEVER,
        _reset_lies,
        Argument("METHOD", "which kind", "mode1", words=_methods),
        ShowsAt.RESET,
    ),
    Fault(
        "flr-loses-config",
        "after a reset from the bus the device is gone",
        "config space reads all ones for good (user-wants.md section A, MxGPU-Virtualization 25)",
        "vendor id reads 0xffff after FLR or bus reset; remove and rescan does not help",
        NEVER,
        _flr_loses_config,
        shows_at=ShowsAt.RESET,
    ),
    Fault(
        "discovery-clobbered-after",
        "after one kind of reset, or a killed driver, the discovery table is overwritten",
        "the table is written by boot firmware and overwritten at once; unclean-exit: once the lock is given up while bus "
        "mastering is on and the PSP's ring is there, a guess (amd-discovery.md section 1; user-wants.md A2)",
        "the reset or the killed start took place, and the signature is wrong after it",
        NEVER,
        _clobbered_after,
        Argument("METHOD", "which kind", "mode1", words=_booting_methods),
        ShowsAt.RESET,
    ),
    Fault(
        "one-member-late",
        "this GPU carries mode1 out so late that its links to the others do not train",
        "1.5 s after the others (amdgpu_xgmi.c: firmware negotiates links within a second)",
        "XGMI links of this GPU inactive after a reset of the hive",
        NEVER,
        _one_member_late,
        shows_at=ShowsAt.RESET,
    ),
    Fault(
        "throttle",
        "the power firmware throttles half of the time",
        "its sum of throttled steps grows, clocks and copies are at 60 % meanwhile (amd-telemetry.md section 3)",
        "times of the same work fall into two groups; a residency counter of the metrics moves",
        NEVER,
        _throttle,
        Argument("REASON", "which limit", "ppt", words=_themselves(tuple(THROTTLERS))),
        ShowsAt.WORK,
    ),
)

CATALOGUE: Mapping[str, Fault] = {fault.name: fault for fault in _FAULTS}
