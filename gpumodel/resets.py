"""What a reset from the bus leaves of a software GPU: function level reset, secondary bus reset.

Source: hardware/amd-resets.md section 8 (state after each reset): firmware boots again, VRAM and all registers are lost, the
discovery table is written again, config space is as before enumeration (the PCI core of the host restores it). Sticky
bits of config space stay: PCI Express base specification. The firmware is up again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel import pciconfig
from gpumodel.faults import Reset

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

STICKY = slice(pciconfig.AER_CAP, pciconfig.AER_CAP + 0x48)
_BARS = slice(pciconfig.BAR0, pciconfig.BAR0 + 24)


def reset(gpu: ModelGpu, kind: Reset) -> None:
    """FLR or BUS_RESET: what the reset does not cure is there again afterwards."""
    if gpu.lost and kind is Reset.FLR:  # nobody hears it
        return
    left = [active for active in gpu.faults if kind not in active.fault.cures]
    config = gpu.fresh_config.copy()
    config.data[STICKY] = gpu.config.data[STICKY]
    gpu.config = config
    unassign(gpu)
    gpu.lost = False
    gpu.lost_bars.clear()
    gpu.faults.clear()
    gpu.doorbells.clear()
    gpu.vram.clear()
    gpu.is_used = False
    gpu.power_on()
    for active in left:
        active.apply(gpu)


def unassign(gpu: ModelGpu) -> None:
    """What software may write in config space is as after power-on: no addresses, nothing enabled."""
    config, fresh = gpu.config, gpu.fresh_config
    for place, mask in enumerate(config.write_mask):
        if mask:
            config.data[place] = config.data[place] & ~mask | fresh.data[place] & mask
    config.write(pciconfig.COMMAND, 2, 0)
    for place in range(_BARS.start, _BARS.stop, 4):
        config.write(place, 4, 0)
