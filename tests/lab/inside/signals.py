"""Runs inside a guest: a signal in memory of this process that two GPUs write, each behind an IOMMU of its own. Prints one JSON
document.

python3 signals.py ADDRESS ADDRESS"""

from __future__ import annotations

import json
import struct
import sys

sys.path.insert(0, "/gpumend")

import gpumend

LIMIT_S = 30.0


def main(*addresses: str) -> None:
    told: dict[str, int | list[int]] = {}
    found = gpumend.list_gpus(addresses)
    with gpumend.open_found(found[0], slot=0) as one, gpumend.open_found(found[1], slot=1) as other:
        signal = one.raw.alloc(4096, where="host", uncached=True)
        signal.write(0, bytes(4096))
        theirs = other.raw.map_other(signal)
        for number, gpu in enumerate((one, other)):
            words = gpu.raw.packets.fence.fill(signal.gpu_va + 8 * number, 7 + number)
            gpu.raw.submit(gpu.raw.copy_queue(), struct.pack(f"<{len(words)}I", *words))
            told[gpu.name] = gpu.raw.wait(signal, 8 * number, 7 + number, LIMIT_S)
        told["seen"] = list(struct.unpack("<2Q", theirs.read(0, 16)))
        theirs.free()
        signal.free()
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
