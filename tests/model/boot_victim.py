"""What the driver process does in the tests that kill it: opens a served GPU, copies, and tells each step.

It kills itself with SIGKILL before the named step; `copies`: in the middle of copies, after the first of them landed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import gpumend
from amdriver.device import Device

SIZE = 1 << 20


def pattern(number: int) -> bytes:
    """SIZE bytes that tell which copy they belong to."""
    return number.to_bytes(4, "little") * (SIZE // 4)


def drive(address: str, firmware: Path, victim: str, say: Callable[[str], object]) -> None:
    """The whole life of one driver; `victim` is the step before which it kills itself, or ""."""

    def on_step(name: str) -> None:
        say(name)
        if name == victim:
            os.kill(os.getpid(), signal.SIGKILL)

    (gpu,) = gpumend.list_gpus([address])
    with Device.open(gpu.transport, gpu.clock, firmware_dirs=[firmware], on_step=on_step) as device:
        say(f"state {device.start_state}")
        source = device.gmc.alloc(SIZE, where="host", owner="source")
        target = device.gmc.alloc(SIZE, owner="target")
        back = device.gmc.alloc(SIZE, where="host", owner="back")
        queue = device.sdma.queues[0]
        for number in range(1, 5):
            source.write(0, pattern(number))
            queue.copy(target, source, SIZE)
            if victim == "copies" and number > 1:
                queue.submit()
                os.kill(os.getpid(), signal.SIGKILL)
            queue.copy(back, target, SIZE)
            queue.submit()
            queue.wait_idle()
            assert back.read(0, SIZE) == pattern(number), f"copy {number} came back changed"
        for buffer in (back, target, source):
            buffer.free()
    say("data right")
