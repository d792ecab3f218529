"""What atomic instructions make of the old value and their data: uint64 in and out; those of 32 bits use the low half.

Source: AMD CDNA3 ISA manual, memory and LDS instructions (restated)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpumodel.isa.waves import Array

Change = Callable[[Array, Array], Array]

_U32, _U64 = np.uint32, np.uint64


def _as(dtype: type, value: Array) -> Array:
    return value.view(dtype) if np.dtype(dtype).itemsize == 8 else value.astype(_U32).view(dtype)


def _back(value: Array) -> Array:
    return value.view(_U64) if value.itemsize == 8 else value.view(_U32).astype(_U64)


def _typed(dtype: type, run: Callable[[Array, Array], Array]) -> Change:
    return lambda old, data: _back(run(_as(dtype, old), _as(dtype, data)))


def _inc(old: Array, data: Array) -> Array:
    return np.where(old >= data, old.dtype.type(0), old + old.dtype.type(1))


def _dec(old: Array, data: Array) -> Array:
    return np.where((old == 0) | (old > data), data, old - old.dtype.type(1))


def _float_least(old: Array, data: Array) -> Array:
    return np.fmin(old, data)


def _float_most(old: Array, data: Array) -> Array:
    return np.fmax(old, data)


def _halves(add: Callable[[Array, Array], Array]) -> Change:
    """Two 16-bit additions."""

    def run(old: Array, data: Array) -> Array:
        a, b = old.astype(_U32).view(np.uint16).reshape(-1, 2), data.astype(_U32).view(np.uint16).reshape(-1, 2)
        return np.ascontiguousarray(add(a, b)).view(_U32).reshape(-1).astype(_U64)

    return run


def _add_f16(a: Array, b: Array) -> Array:
    return (a.view(np.float16).astype(np.float32) + b.view(np.float16)).astype(np.float16).view(np.uint16)


def _add_bf16(a: Array, b: Array) -> Array:
    total = (a.astype(_U32) << _U32(16)).view(np.float32) + (b.astype(_U32) << _U32(16)).view(np.float32)
    bits = total.view(_U32)
    even = bits + _U32(0x7FFF) + (bits >> _U32(16) & _U32(1))
    return np.where(np.isnan(total), bits | _U32(0x400000), even).astype(_U32) >> _U32(16)


def _integer(bits: int) -> dict[str, Change]:
    signed, plain = (np.int32, _U32) if bits == 32 else (np.int64, _U64)
    return {
        "add": _typed(plain, lambda a, b: a + b),
        "sub": _typed(plain, lambda a, b: a - b),
        "rsub": _typed(plain, lambda a, b: b - a),
        "smin": _typed(signed, np.minimum),
        "umin": _typed(plain, np.minimum),
        "smax": _typed(signed, np.maximum),
        "umax": _typed(plain, np.maximum),
        "and": _typed(plain, np.bitwise_and),
        "or": _typed(plain, np.bitwise_or),
        "xor": _typed(plain, np.bitwise_xor),
        "inc": _typed(plain, _inc),
        "dec": _typed(plain, _dec),
        "swap": _typed(plain, lambda a, b: b),
    }


_INTEGER = {4: _integer(32), 8: _integer(64)}
_FLOAT: dict[tuple[str, int], Change] = {
    ("add_f", 4): _typed(np.float32, lambda a, b: a + b),
    ("add_f", 8): _typed(np.float64, lambda a, b: a + b),
    ("min_f", 4): _typed(np.float32, _float_least),
    ("min_f", 8): _typed(np.float64, _float_least),
    ("max_f", 4): _typed(np.float32, _float_most),
    ("max_f", 8): _typed(np.float64, _float_most),
    ("pk_add_f16", 4): _halves(_add_f16),
    ("pk_add_bf16", 4): _halves(lambda a, b: _add_bf16(a, b).astype(np.uint16)),
}


def change_of(what: str, size: int) -> Change | None:
    """By the word of memory instructions (`add`, `smin`, `add_f`, `pk_add_f16`) and bytes; None: no such operation."""
    return _INTEGER[size].get(what) or _FLOAT.get((what, size))


def compare_and_swap(old: Array, new: Array, expected: Array, size: int) -> Array:
    keep = _U64(0xFFFFFFFF if size == 4 else 0xFFFFFFFFFFFFFFFF)
    return np.where(old & keep == expected & keep, new, old)
