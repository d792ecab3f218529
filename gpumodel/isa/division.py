"""The steps of an exact division: v_div_scale, v_div_fmas, v_div_fixup; and v_trig_preop.

Source: AMD CDNA3 and CDNA4 instruction set architecture manuals for the order of the cases. When v_div_scale scales, and what
v_div_fmas does about it, is not as their text has it but as AMD's own emulator found it on hardware (rocjitsu in
ROCm/rocm-systems, shared/division.h: "checked on physical gfx1100/gfx1201"); LLVM's sequence needs that to divide right
(SIISelLowering.cpp LowerFDIV32, LowerFDIV64)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gpumodel.isa.exact import fma_by_fractions, fma_f64, fma_to_f64
from gpumodel.isa.floats import exponent, kind_of, ldexp_f32, ldexp_f64, negative, quieted
from gpumodel.isa.op import Array, Op, ops

_MIN_NORMAL = 2.0**-1022
_ldexp = {4: ldexp_f32, 8: ldexp_f64}
# By the size of a float: exponents that far apart overflow or underflow, a numerator below is tiny, the power of two that
# helps, and the exponent of a denominator whose inverse is subnormal.
_FAR, _TINY, _POWER, _HUGE = {4: 96, 8: 768}, {4: 24, 8: 53}, {4: 64, 8: 128}, {4: 253, 8: 2045}
_UNDERFLOW = {4: -150, 8: -1075}


def _indefinite(like: Array) -> Any:
    """The NaN that invalid operations give: negative and quiet."""
    kind = kind_of(like)
    return np.full(1, kind.sign | kind.infinity | kind.quiet, kind.bits).view(kind.float)[0]


def div_scale(which: Array, denominator: Array, numerator: Array) -> tuple[Array, Array]:
    """`which` (the numerator or the denominator), scaled so that no step of the division leaves the range; and whether
    v_div_fmas has to undo it."""
    size = which.itemsize
    bits = kind_of(which).bits
    is_denominator = which.view(bits) == denominator.view(bits)
    up, none = np.int32(_POWER[size]), np.int32(0)
    below, above = exponent(denominator), exponent(numerator)
    apart = above - below
    far, near_zero = apart >= _FAR[size], apart <= -_FAR[size]
    # The first case that holds decides.
    cases = [far, below == 0, below >= _HUGE[size], near_zero, above <= _TINY[size]]
    power = np.select(
        cases,
        [
            np.where(is_denominator, up, none),
            np.broadcast_to(up, apart.shape),
            np.where(near_zero & ~is_denominator, none, -up),
            np.where(is_denominator, none, up),
            np.broadcast_to(up, apart.shape),
        ],
        none,
    )
    no = np.zeros_like(far)
    undo = np.select(cases, [far, no, near_zero, near_zero, no], False)
    scaled = np.where(power == 0, quieted(which), _ldexp[size](which, power))
    return np.where((denominator == 0) | (numerator == 0), _indefinite(which), scaled), undo


def _fmas_f32(a: Array, b: Array, c: Array, undo: Array) -> Array:
    scale = np.where(undo, np.where(exponent(c) > 127, 2.0**64, 2.0**-64), 1.0)
    return (fma_to_f64(a, b, c, scaled=True) * scale).astype(np.float32)


def _fmas_f64(a: Array, b: Array, c: Array, undo: Array) -> Array:
    a, b, c, undo = np.broadcast_arrays(a, b, c, undo)
    power = np.where(undo, np.where(exponent(c) > 1023, 128, -128), 0).astype(np.int32)
    result: Array = np.ldexp(fma_f64(a, b, c), power)
    # Scaled down to a subnormal it was rounded twice.
    flat = result.reshape(-1)
    for i in np.flatnonzero(undo & (np.abs(result) < _MIN_NORMAL) & np.isfinite(a * b + c)):
        x, y, z = (float(v.reshape(-1)[i]) for v in (a, b, c))
        flat[i] = fma_by_fractions(x, y, z, int(power.reshape(-1)[i]))
    return result


def div_fixup(quotient: Array, denominator: Array, numerator: Array) -> Array:
    """The quotient with the sign and the special cases of numerator / denominator."""
    dtype = quotient.dtype.type
    sign = negative(denominator) ^ negative(numerator)
    size = quotient.itemsize
    value = np.abs(quotient)
    if size > 2:
        value = np.where(np.isnan(quotient), dtype(np.inf), value)
        value = np.where(exponent(numerator) - exponent(denominator) < _UNDERFLOW[size], dtype(0), value)
    value = np.where(np.isinf(denominator) | (numerator == 0), dtype(0), value)
    value = np.where((denominator == 0) | np.isinf(numerator), dtype(np.inf), value)
    value = np.where(sign, -value, value)
    invalid = ((denominator == 0) & (numerator == 0)) | (np.isinf(denominator) & np.isinf(numerator))
    value = np.where(invalid, _indefinite(quotient), value)
    value = np.where(np.isnan(denominator), quieted(denominator), value)
    return np.where(np.isnan(numerator), quieted(numerator), value)


@cache
def _two_over_pi() -> int:
    """The first 1201 bits of the fraction of 2/pi, as an integer."""
    guard = 64
    one = 1 << (1201 + guard + 8)

    def arctan_inverse(n: int) -> int:
        total, term, k, sign = 0, one // n, 1, 1
        while term:
            total += sign * (term // k)
            term //= n * n
            k, sign = k + 2, -sign
        return total

    pi = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))  # Machin
    return (2 * one << 1201) // pi


def _trig_preop(value: Array, segment: Array) -> Array:
    """53 bits of 2/pi from where they matter for `value`, scaled to their place."""
    size = exponent(value)
    shift = (segment & np.uint32(31)).astype(np.int32) * 53 + np.maximum(size - 1077, 0)
    scale = -53 - shift + np.where(size >= 1968, 128, 0)
    bits = _two_over_pi()
    mask = (1 << 53) - 1
    shifts, inverse = np.unique(shift, return_inverse=True)
    whole = [(bits >> 1148 - s if s <= 1148 else bits << s - 1148) & mask for s in shifts.tolist()]
    return np.ldexp(np.array(whole, np.float64)[inverse.reshape(shift.shape)], scale.astype(np.int32))


DIVISION: dict[str, Op] = {
    **ops(("f32", "mask"), "f32 f32 f32", v_div_scale_f32=div_scale),
    **ops(("f64", "mask"), "f64 f64 f64", v_div_scale_f64=div_scale),
    **ops("f32", "f32 f32 f32 mask", v_div_fmas_f32=_fmas_f32),
    **ops("f64", "f64 f64 f64 mask", v_div_fmas_f64=_fmas_f64),
    **ops("f32", "f32 f32 f32", v_div_fixup_f32=div_fixup),
    **ops("f64", "f64 f64 f64", v_div_fixup_f64=div_fixup),
    **ops("f16", "f16 f16 f16", v_div_fixup_f16=div_fixup, v_div_fixup_legacy_f16=div_fixup),
    **ops("f64", "f64 u32", v_trig_preop_f64=_trig_preop),
}
