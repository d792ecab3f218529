"""Operands for vector instructions: corner cases of each type, and random bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpumodel.isa.op import Op

LANES = 64
_DTYPES: dict[str, Any] = {
    "u32": np.uint32, "i32": np.int32, "f32": np.float32, "mix": np.float32, "b32": np.uint32,
    "f16": np.float16, "bf16": np.uint16, "u16": np.uint16, "i16": np.int16, "u8": np.uint8, "i8": np.int8,
    "u64": np.uint64, "i64": np.int64, "f64": np.float64, "b64": np.uint64, "mask": np.bool_,
}  # fmt: skip


def _corners(fraction: int, exponent: int) -> list[int]:
    """Of a float: zero, subnormals, the least normal, one, the next, the largest, infinity, NaN quiet and signalling."""
    one, infinity = ((1 << exponent - 1) - 1) << fraction, ((1 << exponent) - 1) << fraction
    quiet = 1 << fraction - 1
    return [
        0,
        1,
        (1 << fraction) - 1,
        1 << fraction,
        one,
        one + 1,
        infinity - 1,
        infinity,
        infinity | quiet,
        infinity | 1,
    ]


_CORNERS = {2: _corners(10, 5), 4: _corners(23, 8), 8: _corners(52, 11)}


def dtype(word: str) -> Any:
    return np.dtype(_DTYPES[word])


def _array(word: str, waves: int, random: np.random.Generator) -> Any:
    kind = dtype(word)
    shape = (waves, LANES)
    if word == "mask":
        return random.integers(0, 2, shape).astype(bool)
    words = np.frombuffer(random.bytes(kind.itemsize * waves * LANES), f"u{kind.itemsize}").reshape(shape)
    size = kind.itemsize
    if kind.kind == "f":
        # a quarter near one, a quarter corners, the rest any bits
        middle = random.standard_normal(shape).astype(kind).view(words.dtype)
        sign = random.integers(0, 2, shape).astype(words.dtype) << words.dtype.type(8 * size - 1)
        corner = random.choice(np.array(_CORNERS[size], words.dtype), shape) | sign
    else:
        middle = random.integers(0, 65, shape).astype(words.dtype)
        half = 1 << 8 * size - 1
        corner = random.choice(np.array([0, 1, half - 1, half, 2 * half - 1], words.dtype), shape)
    which = random.integers(0, 4, shape)
    return np.where(which == 0, middle, np.where(which == 1, corner, words)).view(kind)


def operand(word: str, waves: int, random: np.random.Generator) -> Any:
    """One operand of a type word; a tuple for pairs and several registers."""
    if "x" in word[:3] and word != "mix":
        count, part = word.split("x", 1)
        return tuple(_array(part, waves, random) for _ in range(int(count)))
    return _array(word, waves, random)


def operands(op: Op, waves: int, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    return [operand(word, waves, random) for word in op.sources]
