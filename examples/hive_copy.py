"""Open two GPUs of a hive, and copy from the memory of one to the memory of the other over XGMI, both ways.

python examples/hive_copy.py [ADDRESS]       # default: two modelled MI350X; needs AMD's firmware files, no GPU"""

from __future__ import annotations

import sys

import gpumend

SIZE = 1 << 20


def main(address: str = "model:mi350x*2") -> int:
    data = bytes(reversed(range(256))) * (SIZE // 256)
    try:
        with gpumend.open_hive(address) as hive:
            one, two = hive[0], hive[1]
            here, there, back = one.alloc(SIZE), two.alloc(SIZE), one.alloc(SIZE)
            here.write(data)
            near = one.map_peer(there)  # memory of GPU 1, at an address of GPU 0
            one.copy(near, here)  # push
            one.copy(back, near)  # and pull it again; one engine keeps the order
            one.synchronize()
            arrived, returned = there.read() == data, back.read() == data
            print(f"GPU {one.node[0]} to GPU {two.node[0]}: {'the same' if arrived else 'different'}")
            print(f"and back: {'the same' if returned else 'different'}")
    except gpumend.GpumendError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0 if arrived and returned else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
