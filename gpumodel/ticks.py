"""The GPU's clock counter: 100 MHz, the same for all engines of a hive (amd-bringup.md section 10: "100 MHz counter")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

HZ = 100_000_000
AT_START = 1 << 20  # guess: it runs since power-on, so it never reads 0


def ticks(gpu: ModelGpu) -> int:
    return AT_START + int(gpu.hive.events.time() * HZ)
