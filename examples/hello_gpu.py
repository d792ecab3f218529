"""Open a GPU, allocate, copy, fence, close.

    python examples/hello_gpu.py                 # a modelled MI350X; needs AMD's firmware files, no GPU
    python examples/hello_gpu.py 0000:c1:00.0    # a GPU of this machine that no driver is bound to; what its VRAM holds is lost

Exit codes are those of `gpumend selftest`: 0 done and verified, 1 failed, 3 refused, 69 no GPU or firmware missing."""

from __future__ import annotations

import sys

import gpumend


def main(address: str = "model:mi350x") -> int:
    data = bytes(range(256)) * 4096
    try:
        with gpumend.open(address) as gpu:
            print(f"{gpu.part} at {gpu.name}: {gpu.engines} SDMA engines, {gpu.xccs} XCCs, found {gpu.start_state}")
            first, second = gpu.alloc(len(data)), gpu.alloc(len(data))
            first.write(data)
            gpu.copy(second, first)  # queued on SDMA 0, and started
            gpu.fence().wait()
            same = second.read() == data
            print(f"copied {len(data)} bytes: {'the same' if same else 'different'}")
    except gpumend.GpumendError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
