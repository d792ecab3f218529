"""The machine around modelled NVIDIA GPUs: the loaded driver's version, the kernel log, and who may do what.

Source of the texts: open-gpu-kernel-modules 580.105.08: nv.c (NVRM: loading), nv-procfs.c (version, information),
kernel_rc.c line 382 (the form of an Xid)."""

from __future__ import annotations

from base.clock import Clock
from gpumodel.nvidia.chips import NvChip
from gpumodel.nvidia.gpu import NvGpu

DEFAULT_DRIVER = "580.105.08"
_LOADED_S = 12.0  # when, since boot. # guess
_LOG_START_S = 3600.0  # the machine has been up for an hour when the clock shows 0. # guess
_BUILD = "Release Build  (root@localhost)"


class Machine:
    """`driver`: the version of the loaded driver, "" without one; `is_admin`: whether its caller has CAP_SYS_ADMIN.

    `missing_nodes`, `denied_nodes`: of /dev, as in a container; `unloading`: the driver's module goes away now."""

    def __init__(
        self, chip: NvChip, count: int, clock: Clock, *, driver: str = DEFAULT_DRIVER, is_admin: bool = True
    ) -> None:
        self.chip = chip
        self.clock = clock
        self.driver = driver
        self.is_admin = is_admin
        self.missing_nodes: set[str] = set()
        self.denied_nodes: set[str] = set()
        self.unloading = False
        self._log: list[str] = []
        if driver:
            self._say(_LOADED_S, f"NVRM: loading {self._id_line()}")
        self.gpus = tuple(NvGpu(self, chip, index) for index in range(count))

    def _id_line(self) -> str:
        return f"NVIDIA UNIX Open Kernel Module for x86_64  {self.driver}  {_BUILD}"

    def uptime_s(self) -> float:
        return _LOG_START_S + self.clock.now()

    def _say(self, when_s: float, text: str) -> None:
        self._log.append(f"[{when_s:12.6f}] {text}")

    def xid(self, gpu: NvGpu, number: int, text: str, *, pid: int | None = None, name: str = "") -> None:
        """The driver logs an Xid now."""
        place = gpu.bdf.rpartition(".")[0]
        who = f"pid={pid}, name={name}, " if pid is not None else "pid='<unknown>', name=<unknown>, "
        self._say(self.uptime_s(), f"NVRM: Xid (PCI:{place}): {number}, {who}{text}")

    def note(self, text: str) -> None:
        """Somebody wrote to /dev/kmsg."""
        self._say(self.uptime_s(), text)

    def log_text(self) -> str:
        return "".join(f"{line}\n" for line in self._log)

    def version_text(self) -> str:
        """/proc/driver/nvidia/version"""
        return f"NVRM version: {self._id_line()}\nGCC version:  gcc version 14.2.0\n"

    def information_text(self, gpu: NvGpu) -> str:
        """/proc/driver/nvidia/gpus/<bdf>/information"""
        uuid = gpu.chip.uuid(gpu.index).hex()
        shown = f"GPU-{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}"
        rows = (
            ("Model: \t\t", gpu.chip.product),
            ("IRQ:   \t\t", "64"),
            ("GPU UUID: \t", shown),
            ("Video BIOS: \t", "96.00.a5.00.01"),  # guess
            ("Bus Type: \t", "PCIe"),
            ("DMA Size: \t", "52 bits"),
            ("DMA Mask: \t", "0xfffffffffffff"),
            ("Bus Location: \t", gpu.bdf),
            ("Device Minor: \t", str(gpu.index)),
            ("GPU Firmware: \t", self.driver),
            ("GPU Excluded:\t", "No"),
        )
        return "".join(f"{label} {value}\n" for label, value in rows)
