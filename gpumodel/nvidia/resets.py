"""What a reset does to a modelled NVIDIA GPU, and what the kernel's PCI core does around it.

    what                            driver unloaded     FLR, bus reset
    WPR2, GSP                       gone, if GSP lives  gone; the chip's own boot runs again, BOOT_S
    "reset required" bits           stay                gone
    row that waits to be remapped   waits               remapped
    counts of ECC since load        gone                gone
    NVLinks                         as they are         trained again
    the driver's own word           gone; but "node reboot", which is the system's, and what the bits say

Source: nvidia-resets.md sections 1.1, 1.2, 1.4 and 2; Linux v7.3 drivers/pci/pci.c (pci_save_state: header, PCI Express, AER;
MSI and MSI-X only while they are enabled), drivers/pci/quirks.c quirk_nvidia_no_bus_reset (GH200)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from base.errors import GpumendError, Unavailable
from gpumodel.nvidia import config
from gpumodel.nvidia.config import AER_CAP, PCIE_CAP
from gpumodel.pciconfig import BAR0, COMMAND
from pcibus.transport import ALL_ONES

if TYPE_CHECKING:
    from gpumodel.nvidia.gpu import NvGpu

METHODS = ("flr", "bus", "any", "rescan")
PAUSE_S = 0.1  # pcie_flr, pci_bridge_wait_for_secondary_bus
WAIT_S = 60.0  # PCIE_RESET_READY_POLL_MS
BOOT_S = 2.5  # "2-3 s" of training the memory, before the FSP is done (nvidia-resets.md section 1.1)
NODE_REBOOT, OF_THE_BITS = 2, {1: 1, 2: 4}
# What the kernel writes back: (offset, bytes). The header's addresses are written as they were.
_KEPT = ((0x00, 0x40), (PCIE_CAP + 0x08, 2), (PCIE_CAP + 0x10, 2), (AER_CAP + 0x08, 4), (AER_CAP + 0x14, 4))
_STICKY = ((AER_CAP + 0x04, 4), (AER_CAP + 0x10, 4))  # error status outlives both resets


def steps(gpu: NvGpu, method: str) -> Iterator[float]:
    """One reset by the kernel; gives the pauses between its steps. Raises GpumendError where the kernel says no."""
    if method not in METHODS:
        raise ValueError(f"{method!r}: one of {', '.join(METHODS)}")
    if method == "rescan":
        yield PAUSE_S
        if gpu.lost:
            raise Unavailable(
                f"finding {gpu.bdf} again by rescan", expected="config space answers", seen="all ones",
                where=f"config space of {gpu.bdf}", next_step="gpumend probe",
            )  # fmt: skip
        _addresses(gpu)
        return
    by_function = method in ("flr", "any")
    yield PAUSE_S
    if by_function and (gpu.lost or gpu.fails_flr):
        yield WAIT_S
        if method == "flr":
            raise GpumendError(
                f"resetting {gpu.bdf} by flr", expected=f"config space answers within {WAIT_S:g} s",
                seen="the function did not answer after it", where=f"config space of {gpu.bdf}", next_step="gpumend probe",
            )  # fmt: skip
        by_function = False  # the next of reset_method
        yield PAUSE_S
    if not gpu.lies_about_resets:
        strike(gpu, "flr" if by_function else "bus-reset")


def strike(gpu: NvGpu, method: str) -> None:
    """The reset itself, and config space as the kernel leaves it. A fault that this does not cure is there again."""
    was_lost = gpu.lost
    before = gpu.config
    gpu.config = config.build(gpu.chip, gpu.bars, gpu.serial, bound=False)
    for offset, size in _STICKY:
        gpu.config.data[offset : offset + size] = before.data[offset : offset + size]
    if was_lost:  # nobody could save it
        gpu.config.data[BAR0 : BAR0 + 24] = bytes(24)
        gpu.config.data[COMMAND : COMMAND + 2] = bytes(2)
    else:
        for offset, size in _KEPT:
            gpu.config.data[offset : offset + size] = before.data[offset : offset + size]
    gpu.lost = False
    gpu.registers = gpu.after_boot()
    gpu.boots_until_s = gpu.machine.clock.now() + BOOT_S
    rm = gpu.rm
    gpu.reset_while_bound |= gpu.bound
    rm.gsp_alive = not gpu.bound  # RM has no handlers for resets: what it knows of the GPU is wrong from now on
    rm.remap_pending, rm.uncorrected = False, 0
    rm.links = gpu.trained_links()
    rm.recovery_action = NODE_REBOOT if rm.recovery_action == NODE_REBOOT else 0
    gpu.fifo.reset()
    gpu.resets_done.append(method)
    for fault, value in gpu.placed:
        if fault.stays_after(method):
            fault.apply(gpu, value)


def unload(gpu: NvGpu) -> None:
    """The driver lets go: it stops GSP, which opens the locked region, if GSP still listens."""
    if gpu.rm.gsp_alive:
        gpu.stop_gsp()
    rm = gpu.rm
    rm.gsp_alive = True
    rm.uncorrected = 0
    rm.recovery_action = NODE_REBOOT if rm.recovery_action == NODE_REBOOT else OF_THE_BITS.get(gpu.scratch_bits, 0)


def _addresses(gpu: NvGpu) -> None:
    """A function that is found anew is given its addresses, and no more."""
    for bar in gpu.bars.values():
        gpu.config.write(BAR0 + 4 * bar.index, 4, bar.address & ALL_ONES)
        if bar.is_64bit:
            gpu.config.write(BAR0 + 4 * bar.index + 4, 4, bar.address >> 32)
    gpu.config.write(COMMAND, 2, 0x2)
