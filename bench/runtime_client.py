"""One process of tinygrad's: opens a GPU, copies, launches; prints its times as JSON. Run by `bench_runtime.py`.

python -m bench.runtime_client theirs          # its own PCI driver; REMOTE and DEV say where
python -m bench.runtime_client ours ADDRESS    # gpumend beneath"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

SMALL, LARGE = 4 << 10, 16 << 20
COPIES = {SMALL: 60, LARGE: 5}
LAUNCHES = 300
BUILT = 2000


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copies(device: Any) -> dict[str, float]:
    """Seconds of one copy in (until it is done), and of one copy out; medians."""
    told: dict[str, float] = {}
    for size, rounds in COPIES.items():
        data, out = memoryview(bytearray(range(256)) * (size // 256)), memoryview(bytearray(size))
        buffer = device.allocator.alloc(size)

        def copy_in(buffer: Any = buffer, data: memoryview = data) -> None:
            device.allocator._copyin(buffer, data)
            device.synchronize()

        def copy_out(buffer: Any = buffer, out: memoryview = out) -> None:
            device.allocator._copyout(out, buffer)

        copy_in()
        told[f"in {size}"] = statistics.median(timed(copy_in) for _ in range(rounds))
        told[f"out {size}"] = statistics.median(timed(copy_out) for _ in range(rounds))
        assert out == data
    return told


def launches(device: Any) -> dict[str, float]:
    """Seconds of one launch: until all are done, and of the queue's packets alone."""
    from tinygrad.device import TinyELF
    from tinygrad.helpers import Target

    from gpumodel.dispatch import Code, Operation
    from tests.peer.model_elf import kernel

    lib = kernel(Operation(Code.ADD | 0x100, 0, 1))
    program = device.runtime(TinyELF(lib=lib, name="bench", target=Target(), signature=()))
    counter = device.allocator.alloc(4096)
    device.allocator._copyin(counter, memoryview(bytearray(4096)))
    device.synchronize()

    def run() -> None:
        for _ in range(LAUNCHES):
            program(counter)
        device.synchronize()

    run()
    whole_s = statistics.median(timed(run) for _ in range(3)) / LAUNCHES
    arguments = program.fill_kernargs((counter,))
    signal, value = device.timeline_signal, device.timeline_value

    def build() -> None:
        queue = device.hw_compute_queue_t
        for _ in range(BUILT):
            queue().wait(signal, value).memory_barrier().exec(program, arguments, (64, 1, 1), (64, 1, 1)).signal(
                signal, value
            )

    build()
    marks = getattr(device, "_expected", None)
    if marks is not None:
        marks.clear()
    return {"launch": whole_s, "build": statistics.median(timed(build) for _ in range(3)) / BUILT}


def main(whose: str, address: str = "") -> None:
    if whose == "ours":
        importlib.import_module("runtime.tinygrad").install(address)
    found: Any = importlib.import_module("tinygrad.device").Device
    importlib.import_module("tinygrad.runtime.ops_amd")
    start = time.perf_counter()
    device = found["AMD"]
    told = {"open": time.perf_counter() - start}
    told |= copies(device) | launches(device)
    print("told:" + json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
