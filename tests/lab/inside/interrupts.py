"""Runs inside a guest: whether an interrupt of the GPU reaches this process through VFIO. Prints one JSON document.

python3 interrupts.py vfio:0000:01:00.0?resets=allowed [mode2]     # after all engines were reset, if that is wanted"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, "/gpumend")

import gpumend

CONTEXT = 0x1234567
SDMA_TRAP = 224


def counted() -> int:
    """How many interrupts the kernel has handed to VFIO."""
    lines = [line for line in Path("/proc/interrupts").read_text().splitlines() if "vfio-msi" in line]
    return sum(int(word) for line in lines for word in line.split()[1:] if word.isdigit())


def main(address: str, *, mode2: bool) -> None:
    with gpumend.open(address) as gpu:
        device = gpu.device
        if mode2:
            device.mode2()
        source = device._interrupts
        assert source is not None
        while source.wait_interrupt(0.2):  # those of the start
            device.ih.collect()
        gpu.interrupts()
        told: dict[str, object] = {"before": counted(), "context": CONTEXT}
        queue = device.sdma.queues[0]
        queue.trap(CONTEXT)
        queue.submit()
        told["came"] = source.wait_interrupt(10.0)
        told["after"] = counted()
        told["entry"] = [one.context for one in gpu.interrupts() if one.source == SDMA_TRAP]
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], mode2=sys.argv[2:] == ["mode2"])
