"""Tensors of tinygrad on GPUs that gpumend drives: to one, to another, and back.

    python examples/tinygrad_tensor.py                  # a modelled pair of MI350X; needs AMD's firmware files, no GPU
    python examples/tinygrad_tensor.py 0000:c1:00.0     # a GPU of this machine; what its VRAM holds is lost

Needs tinygrad 0.14.0 (pip install 'gpumend[tinygrad]'). `gpumend tinygrad SCRIPT` does the same for a program that knows
nothing of gpumend. Exit codes are those of `gpumend selftest`."""

from __future__ import annotations

import sys

import gpumend
import runtime.tinygrad


def main(address: str = "model:mi350x*2") -> int:
    try:
        session = runtime.tinygrad.install(address)
        from tinygrad import Device, Tensor

        there = Tensor(list(range(1000)), device="AMD").realize()
        print(f"on {Device['AMD'].arch}, {Device['AMD'].count()} at {address}: sum {sum(there.tolist())}")
        if Device["AMD"].count() > 1:
            moved = there.to("AMD:1").realize()
            print(f"GPU 0 to GPU 1: {'the same' if moved.tolist() == there.tolist() else 'different'}")
        session.pin_clocks()
        print(f"graphics clock held at {session.gpus[0].clocks.pinned_mhz} MHz until the end")
    except gpumend.GpumendError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    finally:
        runtime.tinygrad.uninstall()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
