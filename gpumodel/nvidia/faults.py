"""The faults that a modelled NVIDIA GPU can be given.

Source: nvidia-resets.md sections 5 to 7, nvidia-gsp.md section 11 (how each shows); texts of Xids: osinit.c
osHandleGpuLost, kernel_gsp.c _kgspLogXid119, gpu.c (recovery action) of open-gpu-kernel-modules 580.105.08, where they
are known, else only the number's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpumodel.nvidia.chips import NvChip
from gpumodel.nvidia.gpu import (
    CPU_HALTED,
    FSP_SCRATCH,
    GFW_BOOT,
    GSP_RISCV_CPUCTL,
    LINK_FAULT,
    RISCV_HALTED,
    SCRATCH_RESET,
    SEC2_CPUCTL,
    NvGpu,
)

LAST_XID = 173  # ROBUST_CHANNEL_LAST_ERROR of branch 580 (nverror.h)
RECOVERY_NAMES = ("None", "GPU Reset Required", "Node Reboot Required", "Drain P2P", "Drain and Reset")
GSP_TIMEOUTS_UNTIL_RESET = 3  # "3 RPC timeouts in a row" (nvidia-resets.md section 6)
HOPPER = 0x180  # the last whose switches have a driver on the host


@dataclass(frozen=True, slots=True)
class NvArgument:
    """A number that may follow a fault's name. `most`: the largest for a part."""

    name: str
    meaning: str
    default: int | None  # None: must be given
    smallest: int
    most: Callable[[NvChip], int]


@dataclass(frozen=True, slots=True)
class NvFault:
    """`cured_by`: what ends it, in words of nvidia-resets.md; `needs`: "driver" or "bare", where it can be at all.

    `in_chip`: it sits in the chip, so that a reset which does not cure it finds it there again."""

    name: str
    summary: str
    effect: str
    symptom: str
    cured_by: tuple[str, ...]
    apply: Callable[[NvGpu, int], None]
    argument: NvArgument | None = None
    needs: str = ""
    fits: Callable[[NvChip], bool] = lambda chip: True
    in_chip: bool = False
    shows_at: str = "look"  # or "reset": when somebody resets it; "work": when somebody works on it

    def stays_after(self, method: str) -> bool:
        """Whether a reset by "flr" or "bus-reset" leaves it."""
        return self.in_chip and method not in self.cured_by


def set_recovery(gpu: NvGpu, action: int) -> None:
    """RM changes its mind: the cached word, Xid 154, and the scratch bits that outlive the driver."""
    before = gpu.rm.recovery_action
    if action == before:
        return
    gpu.rm.recovery_action = action
    old, new = RECOVERY_NAMES[before], RECOVERY_NAMES[action]
    gpu.machine.xid(gpu, 154, f"GPU recovery action changed from {before:#x} ({old}) to {action:#x} ({new})")
    gpu.registers[SCRATCH_RESET] = int(action == 1) | int(action == 4) << 1


def _gsp_dead(gpu: NvGpu, value: int) -> None:
    gpu.rm.gsp_alive = False
    if not gpu.machine.driver:
        gpu.start_gsp()
    gpu.registers[GSP_RISCV_CPUCTL] = RISCV_HALTED
    if not gpu.machine.driver:
        return
    for sequence in range(GSP_TIMEOUTS_UNTIL_RESET):
        gpu.machine.xid(
            gpu, 119,
            f"Timeout after 45s of waiting for RPC response from GPU{gpu.index} GSP! Expected function 76 (GSP_RM_CONTROL) "
            f"sequence {100 + sequence} (0x2080012f 0x5b8).", pid=4242, name="python3",
        )  # fmt: skip
    set_recovery(gpu, 1)


def _off_the_bus(gpu: NvGpu, value: int) -> None:
    gpu.fall_off()
    if gpu.machine.driver:
        set_recovery(gpu, 1)


def _xid(gpu: NvGpu, number: int) -> None:
    gpu.machine.xid(gpu, number, "Ch 00000008", pid=4242, name="python3")


def _link_down(gpu: NvGpu, link: int) -> None:
    gpu.rm.links[link] = LINK_FAULT
    gpu.machine.xid(gpu, 74, f"NVLink: fatal error detected on link {link}(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)")


def _remap_pending(gpu: NvGpu, value: int) -> None:
    gpu.rm.remap_rows, gpu.rm.remap_pending, gpu.rm.uncorrected = 1, True, 1
    gpu.machine.xid(gpu, 63, "Row Remapper: New row marked for remapping, reset gpu to activate.")


def _recovery(gpu: NvGpu, action: int) -> None:
    set_recovery(gpu, action)


def _hot(gpu: NvGpu, value: int) -> None:
    gpu.rm.telemetry.gpu_c, gpu.rm.telemetry.reasons = 95, 1 << 3 | 1 << 6


def _work_error(gpu: NvGpu, number: int) -> None:
    gpu.fifo.next_error = number


def _lost_after(gpu: NvGpu, rings: int) -> None:
    gpu.fifo.rings_until_lost = rings


def _spoiled(gpu: NvGpu, value: int) -> None:
    gpu.fifo.spoils_copies = True


def _channels_hang(gpu: NvGpu, value: int) -> None:
    gpu.fifo.hangs = True


def _boot_stuck(gpu: NvGpu, value: int) -> None:
    if gpu.chip.fsp_boot:
        gpu.registers[gpu.chip.fsp_boot] = 0
        gpu.registers[FSP_SCRATCH[0]] = 0x1E3  # guess: an error code of the FSP in its scratch
        return
    gpu.registers[GFW_BOOT] = 0x01
    gpu.registers[SEC2_CPUCTL] = CPU_HALTED


def _gsp_left(gpu: NvGpu, value: int) -> None:
    gpu.start_gsp()


# Lines of real switches (LHRS-UM-FERI/MENTHOS-dataset-rootcause), and the word that the guide gives to others' numbers.
_SXIDS = {19084: "Non-fatal, Link 29 AN1 Heartbeat Timeout Error (First)", 20034: "Fatal, Link 28 LTSSM Fault Up",
          22003: "Fatal, Link 28 Minion Halt", 23001: "Fatal, Link 28 ingress SRC-VC buffer overflow"}  # fmt: skip


def _sxid(gpu: NvGpu, number: int) -> None:
    text = _SXIDS.get(number, "Non-fatal, Link 00 error")  # guess: any text will do
    for line in (text, "Severity 5 Engine instance 00 Sub-engine instance 00"):
        gpu.machine.note(f"nvidia-nvswitch0: SXid (PCI:0000:07:00.0): {number:05d}, {line}")


def _flr_fails(gpu: NvGpu, value: int) -> None:
    gpu.fails_flr = True


def _resets_lie(gpu: NvGpu, value: int) -> None:
    gpu.lies_about_resets = True


def _has_links(chip: NvChip) -> bool:
    return chip.links > 0


_RESETS = ("flr", "bus-reset", "power-cycle")
FAULTS: dict[str, NvFault] = {
    fault.name: fault
    for fault in (
        NvFault(
            "gsp-dead",
            "the GPU's firmware (GSP) does not answer",
            "questions that go to it time out after 45 s; Xid 119 three times, then the recovery action is reset. Without a "
            "driver: its processor is halted, and the region that it locked is still there",
            "what the driver remembers is still answered; all else waits, then NV_ERR_TIMEOUT",
            _RESETS,
            _gsp_dead,
        ),
        NvFault(
            "fallen-off-bus",
            "config space and registers read all ones",
            "as when the link is down or the slot has no power; with a driver Xid 79",
            "config space reads all ones",
            ("bus-reset", "power-cycle"),
            _off_the_bus,
        ),
        NvFault(
            "xid",
            "the driver logged this Xid",
            "a line in the kernel log and nothing else",
            "NVRM: Xid in the kernel log",
            ("a driver that is loaded anew",),
            _xid,
            NvArgument("number", "of the Xid", None, 1, lambda chip: 9999),
            needs="driver",
        ),
        NvFault(
            "nvlink-down",
            "one NVLink is in fault",
            "its state is fault, Xid 74",
            "NVLINK_GET_NVLINK_STATUS",
            _RESETS,
            _link_down,
            NvArgument("link", "number of the link", 0, 0, lambda chip: chip.links - 1),
            needs="driver",
            fits=_has_links,
        ),
        NvFault(
            "sxid",
            "an NVSwitch of the board logged this SXid",
            "lines in the kernel log, seen with every GPU of the machine, and nothing else",
            "SXid in the kernel log",
            ("a driver that is loaded anew",),
            _sxid,
            NvArgument("number", "of the SXid", None, 10000, lambda chip: 30999),
            needs="driver",
            fits=lambda chip: chip.number == HOPPER,
        ),
        NvFault(
            "ecc-row-remap-pending",
            "a row of memory waits to be remapped",
            "one uncorrectable error, the pending flag, Xid 63",
            "FB_GET_REMAPPED_ROWS",
            _RESETS,
            _remap_pending,
            needs="driver",
            fits=lambda chip: chip.has_ecc,
        ),
        NvFault(
            "recovery-action",
            "the driver says what this GPU needs",
            "1 reset, 2 node reboot, 3 drain P2P, 4 drain and reset; Xid 154",
            "GPU_GET_RECOVERY_ACTION",
            (*_RESETS, "node-reboot (2)", "the end of the peer-to-peer jobs (3)"),
            _recovery,
            NvArgument("action", "1 to 4", 1, 1, lambda chip: len(RECOVERY_NAMES) - 1),
            needs="driver",
        ),
        NvFault(
            "thermal-slowdown",
            "the hardware slows the GPU down because it is hot",
            "95 degrees, throttle reasons hardware slowdown and hardware thermal slowdown",
            "the page of telemetry (class 0x00DE)",
            ("cooling",),
            _hot,
            needs="driver",
        ),
        NvFault(
            "work-error",
            "the next work of a channel ends in an error",
            "its channel group is ended, the number is in the error notifier of each of its channels, and in the kernel log",
            "the notifier; the semaphore is not released",
            ("a new channel",),
            _work_error,
            NvArgument("number", "of the Xid", 13, 1, lambda chip: LAST_XID),
            needs="driver",
            shows_at="work",
        ),
        NvFault(
            "lost-after",
            "falls off the bus in the middle of work",
            "after so many submissions config space, registers and memory read all ones; Xid 79",
            "semaphores stay as they are, the usermode page reads all ones",
            ("bus-reset", "power-cycle"),
            _lost_after,
            NvArgument("submissions", "that are still done", 0, 0, lambda chip: 1_000_000),
            needs="driver",
            shows_at="work",
        ),
        NvFault(
            "copy-spoiled",
            "copies and fills write one wrong bit",
            "a bit in the middle of each copy is turned over; nothing is reported",
            "data that differ",
            ("never",),
            _spoiled,
            needs="driver",
            shows_at="work",
        ),
        NvFault(
            "channel-hang",
            "no channel does anything",
            "doorbells are not heard; no error is reported",
            "the semaphore is not released, the notifier stays empty",
            _RESETS,
            _channels_hang,
            needs="driver",
            shows_at="work",
        ),
        NvFault(
            "boot-stuck",
            "the chip's own boot has not finished",
            "the FSP (Hopper, Blackwell) or devinit (Ada) does not report that it is done",
            "FSP_BOOT or GFW_BOOT is not 0xff",
            ("bus-reset", "power-cycle"),
            _boot_stuck,
            needs="bare",
            in_chip=True,
        ),
        NvFault(
            "gsp-left",
            "firmware of an earlier driver still runs",
            "WPR2 is set and GSP active while no driver is bound",
            "WPR2_HIGH",
            _RESETS,
            _gsp_left,
            needs="bare",
        ),
        NvFault(
            "flr-fails",
            "the GPU does not come back from a function level reset",
            "the kernel waits for a minute and gives up; nothing was reset",
            "the kernel's error, when it is asked for one",
            ("bus-reset", "power-cycle"),
            _flr_fails,
            shows_at="reset",
        ),
        NvFault(
            "resets-lie",
            "the kernel says that it reset the GPU, and nothing happened",
            "as under a hypervisor that takes a reset and does nothing",
            "state that a reset destroys is still there",
            (),
            _resets_lie,
            shows_at="reset",
        ),
    )
}
