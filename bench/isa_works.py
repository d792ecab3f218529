"""The works that the benchmark of the interpreter runs, here and in tinygrad's emulator: tinygrad does each once, warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def works() -> dict[str, Callable[[], Any]]:
    """By name: a function that gives a Tensor to be realized. Of the device AMD."""
    from tinygrad import Tensor

    random = np.random.default_rng(1)

    def made(*shape: int, kind: type = np.float32) -> Any:
        return Tensor(random.standard_normal(shape).astype(kind), device="AMD").realize()

    a, b, c = made(1 << 18), made(1 << 18), made(1 << 16)
    m, n = made(64, 64), made(64, 64)
    half_m, half_n = made(64, 64, kind=np.float16), made(64, 64, kind=np.float16)
    return {
        "add 2^18 f32": lambda: a + b,
        "exp 2^16 f32": lambda: c.exp(),
        "matmul 64x64 f32": lambda: m @ n,
        "matmul 64x64 f16": lambda: half_m @ half_n,
    }
