"""One or several software GPUs of a part, joined by XGMI: they share the clock and the memory of the host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from base.clock import Clock
from gpumodel import gfx, gmc, ih, jpeg, nbio, psp, ras, sdma, smu, smuio, vcn, xgmi
from gpumodel.chips import Chip
from gpumodel.device import ModelGpu
from gpumodel.events import Events
from gpumodel.faults import ActiveFault
from gpumodel.memory import HostMemory
from gpumodel.registerfile import Layout


@dataclass(frozen=True, slots=True)
class Placed:
    """A fault on one GPU of the hive."""

    gpu: int
    fault: ActiveFault


@lru_cache(maxsize=4)
def layout_of(chip: Chip) -> Layout:
    """All registers that the model of a part knows; made once, shared by its GPUs."""
    layout = Layout()
    for block in (nbio, ras, smuio, psp, smu, gmc, ih, gfx, sdma, xgmi, vcn, jpeg):
        block.declare(layout, chip)
    return layout


class Hive:
    """GPUs 0..nodes-1. `used`: booted before, idle; else just switched on."""

    def __init__(
        self, chip: Chip, nodes: int, clock: Clock, *, used: bool = True, serial_capability: bool = True
    ) -> None:
        self.chip = chip
        self.nodes = nodes
        self.clock = clock
        self.used = used
        self.host_memory = HostMemory()
        self.events = Events(clock)
        layout = layout_of(chip)
        self.gpus = tuple(ModelGpu(self, index, layout, serial_capability) for index in range(nodes))

    def power_on(self, faults: Iterable[Placed] = ()) -> None:
        """All GPUs into their first state, then the faults: one that reaches a neighbour finds it switched on."""
        for gpu in self.gpus:
            gpu.power_on()
        self.strike(faults)

    def strike(self, faults: Iterable[Placed]) -> None:
        """Faults while the GPUs are on, whatever runs on them; they come on top of those that are there."""
        for placed in faults:
            placed.fault.apply(self.gpus[placed.gpu])

    def change(self, used: bool, faults: Iterable[Placed]) -> None:
        """All GPUs switched off and on into another state; config space stays, so that a system that sees them may go on."""
        self.used = used
        for gpu in self.gpus:
            gpu.is_used = used
            gpu.lost = False
            gpu.lost_bars.clear()
            gpu.faults.clear()
            gpu.doorbells.clear()
            gpu.vram.clear()
        self.power_on(faults)
