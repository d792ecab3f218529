"""Runs inside a guest: a GPU that the kernel removes while it is driven. Prints one JSON document: how that is told.

python3 removed.py BDF"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, "/gpumend")

import gpumend

SIZE = 1 << 16


def main(bdf: str) -> None:
    gpu = gpumend.open(bdf)
    buffer = gpu.alloc(SIZE)
    buffer.write(bytes(SIZE))
    Path(f"/sys/bus/pci/devices/{bdf}/remove").write_text("1")
    time.sleep(0.3)  # longer than between two looks at the function's folder
    told: dict[str, str] = {"error": "none"}
    try:
        gpu.fill(buffer, 1)
        gpu.synchronize()
    except gpumend.GpumendError as error:
        told = {"error": type(error).__name__, "seen": "removed" if "went away" in str(error) else str(error)}
    with suppress(gpumend.GpumendError):
        gpu.close()
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
