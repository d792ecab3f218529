"""Every way back, as data: what each needs, whom it hits, what survives, how long it may take, how success is proved.

The mechanisms themselves are methods of the driver's blocks (amdriver/recovery.py, nvdriver/recovery.py); three answers at the
end are for people. NVIDIA's GPUs have those that the PCI core or their driver carries out (`nvidia`), under the same names.
Source: amd-resets.md section 1 (triggers, needs), 2 to 6 (sequences and their limits), 8 (state after each), 10 (evidence);
nvidia-resets.md sections 1 (methods, order) and 2 (what survives);
Linux v7.3 drivers/pci/pci.c (100 ms after a bus reset, then up to 60 s until the device answers). Times in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from base.errors import UsageError
from base.findings import Action


class Scope(StrEnum):
    """Whom a method hits, smallest first."""

    QUEUE = "one queue"
    PIPE = "one pipe"
    XCC = "compute queues of an XCC"
    ENGINE = "one SDMA engine"
    FUNCTION = "config space"
    GPU = "one GPU"
    HIVE = "every GPU of the hive"
    BUS = "all behind the port above"
    NODE = "the whole machine"


class Doer(StrEnum):
    """Who carries it out."""

    GPUMEND = "gpumend"  # registers, nobody else may drive the GPU
    PCI_CORE = "pci core"  # the kernel, by sysfs; no driver needed
    DRIVER = "the bound driver"
    PERSON = "a person"


@dataclass(frozen=True, slots=True)
class Method:
    """`lost`: what work and state it costs; `ends_in`: codes of the ways to fail that are known of it, from which the ladder
    goes on (a bootloader that stays silent after mode1 asks for a bus reset); any other new finding counts as worse;
    `nvidia`: where it is known of NVIDIA's GPUs; "": it is done to AMD's only."""

    name: str
    action: Action
    scope: Scope
    doer: Doer
    what: str
    needs: str
    survives: str
    lost: str
    proof: str
    expected_s: float
    longest_s: float
    source: str
    ends_in: frozenset[str] = frozenset()
    nvidia: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "method": self.name, "action": str(self.action), "what": self.what, "hits": str(self.scope), "by": str(self.doer),
            "expected_s": self.expected_s, "longest_s": self.longest_s, "needs": self.needs, "survives": self.survives,
            "lost": self.lost, "proof": self.proof, "source": "; ".join(filter(None, (self.source, self.nvidia))),
            "vendors": ["amd", "nvidia"] if self.nvidia or self.is_answer else ["amd"],
        }  # fmt: skip

    @property
    def is_answer(self) -> bool:
        return self.doer is Doer.PERSON

    @property
    def boots_firmware(self) -> bool:
        """Whether nothing but flash is left: VRAM, secure OS and all firmware are gone."""
        return self.name in _BOOTS


_BOOTS = frozenset({"mode1", "hive-reset", "link-reset", "flr", "bus-reset", "sysfs-reset", "kernel-recover"})
_ENGINES_STAY = "VRAM, page tables, PSP, SMU, XGMI, all other queues"
_ONE_QUEUE = "what that queue was doing"
_ALL_OF_IT = "all work and all VRAM of every GPU that it hits"
_HQD = "the queue is not active any more (CP_HQD_ACTIVE 0)"
_BOOTED = "a mark in VRAM and in scratch registers is gone; the bootloader is ready; a fresh discovery table is valid"
_CHIP_BOOTED = f"{_BOOTED}. NVIDIA: WPR2 is open and a mark in config space gone; the chip's own boot is through"
_QUEUE_ENDS = frozenset({"amd.gfx.mec", "amd.gmc.fault"})
_BOOT_ENDS = frozenset({"amd.psp.bootloader", "amd.psp.boot-status", "amd.smu.silent", "amd.discovery.signature",
                        "amd.discovery.checksum", "amd.xgmi.link", "pci.bar-dead", "pci.memory-off"})  # fmt: skip
# A chip that is touched too early in a reset by message leaves the bus: a reset of the bus above it is next.
_SMU_ENDS = _BOOT_ENDS | {"pci.lost"}
_NV_ENDS = frozenset({"nv.boot.fsp", "nv.boot.devinit", "nv.pri"})
_MODE2_ENDS = frozenset(
    {"pci.lost", "amd.smu.silent", "pci.bar-dead", "pci.memory-off", "amd.gfx.mec", "amd.sdma.hang"}
)

_METHODS = (
    Method(
        "restore-config", Action.RESTORE_CONFIG, Scope.FUNCTION, Doer.GPUMEND,
        "write BARs, memory enable and MSI state again as the system assigned them",
        "config space answers", "everything", "nothing",
        "registers behind the BAR answer again", 0.01, 1.0, "amd-resets.md 3 step 5, 9 half alive (K)",
        nvidia="nvidia-resets.md 1.1 (config space is the software's to restore)",
    ),
    Method(
        "wave-kill", Action.QUEUE_RESET, Scope.QUEUE, Doer.GPUMEND,
        "kill the waves of one VMID on one XCC (SQ_CMD, in RLC safe mode)",
        "RLC answers", f"{_ENGINES_STAY}, the queue itself", "the waves of one process on that XCC",
        "no wave of the VMID is left; the queue drains", 0.001, 0.2, "amd-resets.md 1 row 1 (K)", _QUEUE_ENDS,
    ),
    Method(
        "hqd-dequeue", Action.QUEUE_RESET, Scope.QUEUE, Doer.GPUMEND,
        "ask the queue to leave its slot, waves reset (CP_HQD_DEQUEUE_REQUEST 2)",
        "MEC answers", _ENGINES_STAY, _ONE_QUEUE, _HQD, 0.001, 0.2, "amd-resets.md 1 row 2, section 2 (K)", _QUEUE_ENDS,
    ),
    Method(
        "queue-mmio", Action.QUEUE_RESET, Scope.QUEUE, Doer.GPUMEND,
        "dequeue, and SPI_COMPUTE_QUEUE_RESET, in RLC safe mode",
        "RLC answers", _ENGINES_STAY, _ONE_QUEUE, _HQD, 0.001, 0.3, "amd-resets.md 1 row 3, section 2 (K)", _QUEUE_ENDS,
    ),
    Method(
        "queue-kiq", Action.QUEUE_RESET, Scope.QUEUE, Doer.GPUMEND,
        "UNMAP_QUEUES with RESET_QUEUES through the kernel interface queue",
        "KIQ answers; MEC firmware >= 155 (GC 9.4.3) or >= 21 (9.5.0); a queue of ours", _ENGINES_STAY, _ONE_QUEUE, _HQD,
        0.001, 0.3, "amd-resets.md 1 row 4, section 2 (K)", _QUEUE_ENDS,
    ),
    Method(
        "pipe-reset", Action.QUEUE_RESET, Scope.PIPE, Doer.GPUMEND,
        "reset one pipe of the MEC (CP_MEC_CNTL)",
        "MEC firmware as for queue-kiq", "VRAM, PSP, SMU, XGMI, other pipes", "work of all queues of that pipe", _HQD,
        0.001, 0.3, "amd-resets.md 1 row 5 (K)", _QUEUE_ENDS,
    ),
    Method(
        "mec-reset", Action.QUEUE_RESET, Scope.XCC, Doer.GPUMEND,
        "halt the MEC, reset all its pipes and its caches",
        "registers answer", "VRAM, PSP, SMU, page tables, XGMI, SDMA, other XCCs",
        "work of all compute queues of that XCC; its queues must be mapped again",
        "the MEC stands halted and idle, no queue of it is active", 0.06, 1.0, "amd-resets.md 1 row 6, 10 (T, I)",
        _QUEUE_ENDS,
    ),
    Method(
        "sdma-reset", Action.QUEUE_RESET, Scope.ENGINE, Doer.GPUMEND,
        "stop the engine's queue, SMU ResetSDMA with its physical number, wait for it",
        "SMU answers; MEC firmware >= 0xB0 (GC 9.4.3) or >= 0xF (9.5.0)", "everything but that engine",
        "copies queued on that engine", "the engine is idle, its ring starts at its beginning", 0.01, 2.5,
        "amd-resets.md 1 row 7, section 2 (K)",
        frozenset({"amd.sdma.hang", "amd.smu.silent"}),
    ),
    Method(
        "mode2", Action.MODE2, Scope.GPU, Doer.GPUMEND,
        "the SMU resets all graphics and SDMA; config space is written again",
        "SMU answers", "VRAM, discovery table, TMR, secure OS, SMU, XGMI",
        "all work on the GPU; firmware of its engines must be loaded again",
        "a mark in a scratch register of GFX is gone, one in VRAM is still there", 0.3, 21.0,
        "amd-resets.md section 3 (K)", _MODE2_ENDS,
    ),
    Method(
        "mode1", Action.MODE1, Scope.GPU, Doer.GPUMEND,
        "the SMU resets the whole chip, and boot firmware runs again; a GPU in no hive only",
        "SMU answers", "flash", _ALL_OF_IT, _BOOTED, 2.0, 603.0, "amd-resets.md section 4 (K)", _SMU_ENDS,
    ),
    Method(
        "hive-reset", Action.HIVE_RESET, Scope.HIVE, Doer.GPUMEND,
        "mode1 of every member: all ready at one barrier, all sent within a second",
        "every member is there and its SMU answers", "flash", _ALL_OF_IT, f"{_BOOTED}; every XGMI link is active again",
        2.0, 603.0, "amd-resets.md section 5 (K)", _SMU_ENDS,
    ),
    Method(
        "link-reset", Action.HIVE_RESET, Scope.GPU, Doer.GPUMEND,
        "SMU link reset (mode4) of the GPUs beside one that was lost",
        "SMU answers; low digit of the device id 0, 1 or 3", "flash", _ALL_OF_IT, _BOOTED, 2.0, 603.0,
        "amd-resets.md 1 row 11, section 6 (K: only within a recovery from a bus error)", _SMU_ENDS,
    ),
    Method(
        "flr", Action.FLR, Scope.GPU, Doer.PCI_CORE,
        "function-level reset",
        "config space answers", "config space (the kernel restores it), sticky error bits", _ALL_OF_IT, _CHIP_BOOTED, 2.0,
        661.0, "amd-resets.md 1 row 12 (firmware state after it: inference)", _BOOT_ENDS | _NV_ENDS,
        "nvidia-resets.md 1 row 6, 1.1 (S)",
    ),
    Method(
        "bus-reset", Action.BUS_RESET, Scope.BUS, Doer.PCI_CORE,
        "hot reset by the port above; in a hive of all members together, unless one alone is lost from the bus",
        "a port above that the system can reach", "config space (the kernel restores it), sticky error bits", _ALL_OF_IT,
        _CHIP_BOOTED, 2.0, 661.0, "amd-resets.md 1 row 13, 10 (K)", _BOOT_ENDS | _NV_ENDS,
        "nvidia-resets.md 1 row 7, 1.2 (S)",
    ),
    Method(
        "remove-rescan", Action.RESTORE_CONFIG, Scope.FUNCTION, Doer.PCI_CORE,
        "the system forgets the function and looks for it again: addresses are given anew",
        "the function answers on the bus", "all state of the hardware", "open files and mappings of the device",
        "the function is there again and its registers answer", 1.0, 30.0, "amd-resets.md 1 row 14, section 8 (K)",
        nvidia="nvidia-resets.md 1.3, 5",
    ),
    Method(
        "driver-rebind", Action.DRIVER_REBIND, Scope.GPU, Doer.DRIVER,
        "unbind the driver and bind it again: amdgpu then starts the GPU anew; nvidia does when somebody opens it",
        "a bound driver that lets go", "what the driver keeps", "all work on the GPU",
        "the driver is bound again, the probe is content", 15.0, 360.0, "Linux Documentation/ABI/testing/sysfs-bus-pci",
        nvidia="nvidia-resets.md 1 row 5, section 3 (S)",
    ),
    Method(
        "kernel-recover", Action.HIVE_RESET, Scope.HIVE, Doer.DRIVER,
        "read debugfs amdgpu_gpu_recover: the bound driver resets the GPU, and its hive with it",
        "amdgpu bound, debugfs", "the driver stays bound", _ALL_OF_IT, "the kernel's log says so; the probe is content", 10.0,
        630.0, "amd-resets.md section 6 (K)", _BOOT_ENDS,
    ),
    Method(
        "sysfs-reset", Action.FLR, Scope.GPU, Doer.PCI_CORE,
        "write to the function's sysfs file reset: the kernel takes the first of its reset_method",
        "config space answers; reset_method is not empty", "config space (the kernel restores it)", _ALL_OF_IT, _CHIP_BOOTED,
        2.0, 661.0, "amd-resets.md section 6 (K)", _BOOT_ENDS | _NV_ENDS, "nvidia-resets.md 1.3",
    ),
    Method(
        "node-reboot", Action.NODE_REBOOT, Scope.NODE, Doer.PERSON,
        "reboot this machine: firmware sets up the bus anew", "a person", "disks", "everything that runs here",
        "gpumend probe after it", 300.0, 1800.0, "user-wants.md A5 (MxGPU-Virtualization 25)",
    ),
    Method(
        "power-cycle", Action.POWER_CYCLE, Scope.NODE, Doer.PERSON,
        "take the power away and give it back, by the BMC (ipmitool chassis power cycle); a reboot does not do that",
        "a person, or the BMC", "disks", "everything that runs here", "gpumend probe after it", 600.0, 3600.0,
        "amd-resets.md 1 row 15, 10",
    ),
    Method(
        "contact-vendor", Action.CONTACT_VENDOR, Scope.NODE, Doer.PERSON,
        "show the vendor the evidence bundle", "a person", "-", "-", "-", 0.0, 0.0, "amd-resets.md section 10",
    ),
)  # fmt: skip

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _METHODS})
AUTO = "auto"
# An action word that several methods belong to names the one that is meant when nothing is known to be wrong; None: what
# is wrong decides.
_OF_ACTION: Mapping[str, str | None] = MappingProxyType({
    Action.RESTORE_CONFIG: "restore-config",
    Action.QUEUE_RESET: None,
    Action.HIVE_RESET: "hive-reset",
    Action.FLR: "flr",
})  # fmt: skip


def method_of(word: str) -> Method | None:
    """The method that a name or an action word of the design means; None for `queue-reset`: what is wrong decides which.

    Raises UsageError for anything else (`auto` is the ladder's, not a method)."""
    if word in METHODS:
        return METHODS[word]
    if word in _OF_ACTION:
        name = _OF_ACTION[word]
        return None if name is None else METHODS[name]
    raise UsageError(
        f"choosing the reset method {word!r}",
        expected=f"auto, {Action.QUEUE_RESET}, or one of {', '.join(METHODS)}",
        seen=word,
        next_step="gpumend reset --list-methods",
    )


def words() -> list[str]:
    """Everything that --method takes."""
    return [AUTO, *dict.fromkeys([*METHODS, str(Action.QUEUE_RESET)])]
