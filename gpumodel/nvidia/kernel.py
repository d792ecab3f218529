"""The machine's kernel around a modelled NVIDIA GPU: who holds it, and what happens when its driver is taken or given.

A driver that is to let go of a GPU that somebody has open never comes back: nv-pci.c nv_pci_remove waits for the usage count
to fall to zero, 500 ms at a time, without end. Source: nvidia-resets.md section 3; open-gpu-kernel-modules 580.105.08
kernel-open/nvidia/nv-pci.c."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from base.errors import GpumendError, WaitTimeout
from gpumodel.nvidia.resets import unload
from pcibus.holders import Holder, Holders

if TYPE_CHECKING:
    from gpumodel.nvidia.gpu import NvGpu
    from gpumodel.nvidia.machine import Machine

DRIVER: Final = "nvidia"
DAEMON_PID: Final = 1042  # guess: any will do
_DAEMON: Final = "nvidia-persiste"  # nvidia-persistenced, as /proc/<pid>/comm cuts it
_UNIT: Final = "/system.slice/nvidia-persistenced.service"
_PATIENCE_S: Final = 60.0  # of whoever asked for it; the kernel has no end


def holders(gpu: NvGpu) -> Holders:
    """The persistence daemon, which keeps a GPU initialized by holding its node open."""
    held = gpu.bound and gpu.rm.persistent
    found = (Holder(DAEMON_PID, _DAEMON, _UNIT, "", (f"/dev/nvidia{gpu.index}",)),) if held else ()
    return Holders(found, complete=True)


def end(machine: Machine, pid: int) -> None:
    """The daemon ends: GPUs that nobody else uses are stopped."""
    if pid != DAEMON_PID:
        return
    for gpu in machine.gpus:
        if gpu.bound and gpu.rm.persistent:
            gpu.rm.persistent = False
            if not gpu.users:
                unload(gpu)


def unbind(gpu: NvGpu) -> None:
    """The driver lets go of the GPU."""
    if not gpu.bound:
        return
    if gpu.rm.persistent or gpu.users:
        gpu.machine.note(f"NVRM: Attempting to remove device {gpu.bdf} with non-zero usage count!")
        gpu.machine.clock.sleep(_PATIENCE_S)
        raise WaitTimeout(
            f"unbinding {gpu.bdf}", expected="the driver lets go", seen=f"it still waits after {_PATIENCE_S:g} s",
            where=f"/sys/bus/pci/drivers/{DRIVER}/unbind", next_step="somebody has the GPU open",
        )  # fmt: skip
    gpu.bound = False


def bind(gpu: NvGpu) -> None:
    """The driver takes the GPU; it starts it when somebody opens its node."""
    if not gpu.machine.driver or gpu.lost:
        raise GpumendError(
            f"binding {gpu.bdf} to {DRIVER}", expected="the driver takes it",
            seen="the GPU does not answer" if gpu.lost else "no such driver is loaded", where=gpu.bdf,
        )  # fmt: skip
    gpu.bound = True
