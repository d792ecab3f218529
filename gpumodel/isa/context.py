"""What waves that run together share beside their registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gpumodel.isa.local import LocalMemory
from gpumodel.isa.memory import WaveMemory


@dataclass(slots=True)
class Context:
    """`apertures`: the highest 16 bits of flat addresses that mean LDS and scratch; 0: none."""

    memory: WaveMemory
    lds: LocalMemory
    scratch: LocalMemory
    time: Callable[[], int]
    xcc: int = 0
    apertures: tuple[int, int] = (0, 0)

    @property
    def stores(self) -> int:
        """Changes with everything that is written."""
        return self.memory.stores + self.lds.stores + self.scratch.stores
