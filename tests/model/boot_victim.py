"""A driver process for the tests that kill it: opens a served GPU, copies, and tells each step on standard output.

    python -m tests.model.boot_victim remote:127.0.0.1:PORT FIRMWARE [STEP]

It kills itself with SIGKILL before the named step; `copies`: in the middle of copies, after the first of them landed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import gpumend
from amdriver.device import Device

SIZE = 1 << 20


def pattern(number: int) -> bytes:
    """SIZE bytes that tell which copy they belong to."""
    return number.to_bytes(4, "little") * (SIZE // 4)


def main() -> None:
    address, firmware, *rest = sys.argv[1:]
    victim = rest[0] if rest else ""

    def on_step(name: str) -> None:
        print(name, flush=True)
        if name == victim:
            os.kill(os.getpid(), signal.SIGKILL)

    (gpu,) = gpumend.list_gpus([address])
    with Device.open(gpu.transport, gpu.clock, firmware_dirs=[Path(firmware)], on_step=on_step) as device:
        print(f"state {device.start_state}", flush=True)
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
    print("data right", flush=True)


if __name__ == "__main__":
    main()
