"""Runs inside a guest: tinygrad on our driver, on GPUs of the guest's own PCI bus. Prints one JSON document.

python3 tensors.py FOLDER, which holds tinygrad"""

from __future__ import annotations

import json
import sys
from typing import Any

sys.path.insert(0, sys.argv[1])
sys.path.insert(0, "/gpumend")

import runtime.tinygrad
from gpumodel.dispatch import FROM_KERNARG, Code, Operation
from tests.peer.model_elf import kernel

UNMAPPED = 0x7F00_0000_1000


def program(device: Any, operation: Operation) -> Any:
    from tinygrad.device import TinyELF
    from tinygrad.helpers import Target

    return device.runtime(TinyELF(lib=kernel(operation), name="model", target=Target(), signature=()))


def main() -> None:
    session = runtime.tinygrad.install()
    from tinygrad import Device, Tensor, TinyJit

    first, second = Device["AMD"], Device["AMD:1"]
    told: dict[str, object] = {"arch": first.arch, "names": [gpu.name for gpu in session.gpus.values()]}
    numbers = list(range(5000))
    there = Tensor(numbers, device="AMD").realize()
    told["moved"] = there.to("AMD:1").realize().tolist() == numbers

    def copies(start: Tensor) -> Tensor:
        over = start.to("AMD:1").realize()
        return over.to("AMD").realize()

    chain = TinyJit(copies)
    told["graph"] = all(chain(Tensor([n] * 100, device="AMD").realize()).tolist() == [n] * 100 for n in range(4))
    counter = first.allocator.alloc(4096)
    first.allocator._copyin(counter, memoryview(bytearray(4096)))
    add, bad = (
        program(first, Operation(Code.ADD | FROM_KERNARG, 0, 3)),
        program(first, Operation(Code.STORE, UNMAPPED, 1, 4)),
    )
    begin, end = first.new_signal(), first.new_signal()
    queue = first.hw_compute_queue_t().wait(first.timeline_signal, first.timeline_value - 1)
    queue.timestamp(begin).timestamp(end).signal(first.timeline_signal, first.next_timeline()).submit(first)
    add(counter)
    bad(counter)
    try:
        first.synchronize()
    except runtime.tinygrad.DispatchFailed as error:
        told["fault"] = error.fault.address
        told["level"] = str(error.recovery.level)
    add(counter)
    out = bytearray(4)
    first.allocator._copyout(memoryview(out), counter)
    told["counted"] = int.from_bytes(out, "little")
    told["stamps"] = end.timestamp >= begin.timestamp > 0
    told["still"] = there.tolist() == numbers
    second.synchronize()
    runtime.tinygrad.uninstall()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
