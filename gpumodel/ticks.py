"""The GPU's clock counter: 100 MHz, the same for all engines of a hive (amd-bringup.md section 10: "100 MHz counter")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from base.clock import RealClock

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

HZ = 100_000_000
AT_START = 1 << 20  # guess: it runs since power-on, so it never reads 0


def ticks(gpu: ModelGpu) -> int:
    """On a virtual clock the time at which what happens was due, whoever looked late; on the real one work that is carried out
    late happens late: two stamps of one piece of work differ."""
    clock = gpu.clock
    now_s = clock.now() if isinstance(clock, RealClock) else gpu.hive.events.time()
    return AT_START + int(now_s * HZ)
