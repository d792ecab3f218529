"""Runs inside a guest: memory of this process, reached by the GPU's DMA, there and back. Prints one JSON document.

python3 copies.py ADDRESS SIZE"""

from __future__ import annotations

import json
import random
import sys

sys.path.insert(0, "/gpumend")

import gpumend


def main(address: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with gpumend.open(address) as gpu:
        source, target = gpu.alloc(size, where="host"), gpu.alloc(size, where="host")
        vram = gpu.alloc(size)
        source.write(data)
        gpu.copy(vram, source)
        gpu.copy(target, vram)
        gpu.synchronize()
        told = {"same_in_vram": vram.read() == data, "same_in_host": target.read() == data}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
