"""Fused multiply-add with one rounding, made of operations that round.

Every result is the exact one rounded once to nearest even, subnormals kept.
Source: Boldo and Melquiond, Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd (2008);
the error-free transformations are those of Knuth and of Dekker."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from gpumodel.isa.op import Array

_F32_MIN_NORMAL = 2.0**-126
_LOST_BITS = np.uint64((1 << 29) - 1)  # of a float64's fraction, when it becomes a float32
_HALF = np.uint64(1 << 28)
_KEPT_BITS, _LEAST = np.int64(35), -(1 << 63)
_SPLITTER = 2.0**27 + 1  # halves a float64's fraction
# Between these no step of the float64 algorithm overflows or loses a bit.
_SMALL, _LARGE = 2.0**-900, 2.0**900


def _error_of_sum(a: Array, b: Array, total: Array) -> Array:
    """a + b - total, exactly (Knuth)."""
    virtual = total - a
    error: Array = (a - (total - virtual)) + (b - virtual)
    return error


def _to_odd(total: Array, error: Array) -> Array:
    """A sum rounded to nearest, rounded to odd instead: then a second rounding to fewer bits is as good as one."""
    bits = total.view(np.int64)
    wrong = (error != 0) & ((bits & 1) == 0) & np.isfinite(total)
    # the error points away from zero: one up in magnitude, else one down
    away = (error > 0) == (total > 0)
    return np.where(wrong, bits + np.where(away, 1, -1), bits).view(np.float64)


def fma_to_f64(a: Array, b: Array, c: Array, *, scaled: bool = False) -> Array:
    """a * b + c of float32 arrays as float64, rounded so that a cast to float32 (or float16) rounds as if once.

    `scaled`: so that it may be multiplied by a power of two before the cast."""
    product = np.multiply(a, b, dtype=np.float64)  # exact: 48 bits
    total: Array = np.add(product, c, dtype=np.float64)
    # Rounding twice matters only where the sum lies right between two float32, or comes out subnormal.
    doubtful = scaled or ((total.view(np.uint64) & _LOST_BITS) == _HALF).any()
    if not doubtful:
        small = np.abs(total) < _F32_MIN_NORMAL
        doubtful = small.any() and (total[small] != 0).any()
    if doubtful:
        total = _to_odd(total, _error_of_sum(product, c.astype(np.float64), total))
    return total


def fma_f32(a: Array, b: Array, c: Array) -> Array:
    total: Array = np.add(np.multiply(a, b, dtype=np.float64), c, dtype=np.float64)
    result: Array = total.astype(np.float32)
    # The same doubts as above, in as few passes as can be: the lost bits alone are the least of integers when just half.
    if (total.view(np.int64) << _KEPT_BITS).min() == _LEAST or not np.abs(result).min() > _F32_MIN_NORMAL:
        return fma_to_f64(a, b, c).astype(np.float32)
    return result


def fma_f16(a: Array, b: Array, c: Array) -> Array:
    """Through float64: it holds the exact result wherever that decides the rounding (products have 22 bits)."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float16)


def _halves(value: Array) -> tuple[Array, Array]:
    scaled = value * _SPLITTER
    high = scaled - (scaled - value)
    return high, value - high


def _error_of_product(a: Array, b: Array, product: Array) -> Array:
    """a * b - product, exactly (Dekker)."""
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    error: Array = a2 * b2 - (((product - a1 * b1) - a2 * b1) - a1 * b2)
    return error


def _in_range(value: Array) -> Array:
    size = np.abs(value)
    return (size >= _SMALL) & (size <= _LARGE)


def fma_by_fractions(a: float, b: float, c: float, power: int = 0) -> float:
    """(a * b + c) * 2**power of finite numbers, rounded once; for the few lanes where nothing faster is right."""
    exact = (Fraction(a) * Fraction(b) + Fraction(c)) * Fraction(2) ** power
    if exact == 0:
        return a * b + c  # the sign of a zero
    try:
        return float(exact)  # a quotient of integers, rounded once
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


def fma_f64(a: Array, b: Array, c: Array) -> Array:
    a, b, c = np.broadcast_arrays(a, b, c)
    product = a * b
    # Zero factors are exact, NaN need no care; beside an infinity a product that merely overflows is finite.
    plain = np.where(np.isinf(c) & np.isfinite(a) & np.isfinite(b), c, product + c)
    special = ~(np.isfinite(a) & np.isfinite(b) & np.isfinite(c)) | (a == 0) | (b == 0)
    safe = _in_range(a) & _in_range(b) & _in_range(product) & ((c == 0) | _in_range(c))
    low = _error_of_product(a, b, product)
    high_sum = c + low
    low_sum = _error_of_sum(c, low, high_sum)
    total = product + high_sum
    rest_error = _error_of_sum(product, high_sum, total)
    rest = rest_error + low_sum
    result: Array = total + _to_odd(rest, _error_of_sum(rest_error, low_sum, rest))
    result = np.where(special, plain, result)
    hard = np.flatnonzero(~(safe | special))
    if hard.size:
        flat = result.reshape(-1)  # a view: np.where made a new array
        for i, x, y, z in zip(hard, *(v.reshape(-1)[hard].tolist() for v in (a, b, c)), strict=True):
            flat[i] = fma_by_fractions(x, y, z)
    return result
