"""Runs inside a guest: unmodified tinygrad through the stock driver's KFD, kernels compiled by LLVM, and their results.
Prints one JSON document.

python3 compiled.py FOLDER KERNELS, where FOLDER holds tinygrad and KERNELS what LLVM made of each source elsewhere: the guest
has no LLVM. With `record` behind it, where there is one, KERNELS is written, on whatever device tinygrad finds."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])


class Known:
    """In LLVM's place: a source that it never saw is an error."""

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self.cachekey = None

    def compile(self, source: str) -> bytes:
        return base64.b64decode(_known[source])

    compile_cached = compile


_known: dict[str, str] = {}


def listen(compilers: Any) -> None:
    """Keep what LLVM compiles from now on."""
    compile_one = compilers.AMDLLVMCompiler.compile

    def heard(self: Any, source: str) -> bytes:
        made: bytes = compile_one(self, source)
        _known[source] = base64.b64encode(made).decode()
        return made

    compilers.AMDLLVMCompiler.compile = heard


def results() -> dict[str, Any]:
    from tinygrad import Device, Tensor, dtypes

    ones = Tensor([1.0, 2.0], device="AMD")
    whole = Tensor(list(range(300)), device="AMD", dtype=dtypes.int32)
    left = Tensor(
        [[(row * 3 + column) % 7 for column in range(64)] for row in range(64)], device="AMD", dtype=dtypes.half
    )
    right = Tensor(
        [[(row + column * 5) % 5 for column in range(64)] for row in range(64)], device="AMD", dtype=dtypes.half
    )
    product = left.matmul(right, dtype=dtypes.float)
    told = {
        "added": (ones + 1).tolist(),
        "summed": whole.sum().item(),
        "largest": (whole * 7 % 101).max().item(),
        "rows": [sum(row) for row in product.tolist()],
        "sorted": Tensor([5, 3, 9, 1, 7, 2, 8, 4], device="AMD", dtype=dtypes.int32).sort()[0].tolist(),
        "arch": Device["AMD"].arch,
    }
    Device["AMD"].synchronize()
    return told


def main() -> None:
    kernels, *mode = sys.argv[2:]
    import tinygrad.runtime.support.compiler_llvm as compilers

    if mode:
        listen(compilers)
    else:
        _known.update(json.loads(Path(kernels).read_text()))
        compilers.AMDLLVMCompiler = Known
    told = results()
    if mode:
        Path(kernels).write_text(json.dumps(_known))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
