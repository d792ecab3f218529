"""Floating-point arithmetic of the vector unit that rounds once: add, multiply, fused multiply-add, minimum, class, parts.

IEEE mode is taken to be on, rounding to nearest even, subnormals kept: what compilers for compute ask for (mode 0xF0).
Half precision is computed in float32 and rounded: for one operation that is exact (24 bits are twice 11 and two more).
The sign and payload of a NaN that arithmetic makes are those of the host.
Source: AMD CDNA3 and CDNA4 instruction set architecture manuals (restated); v_fract stays below 1: LLVM 22,
AMDGPUCodeGenPrepare.cpp matchFractPat; frexp of subnormals: the same file, emitFrexpDiv."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpumodel.isa.exact import fma_f16, fma_f32, fma_f64
from gpumodel.isa.op import Array, Op, ops


@dataclass(frozen=True)
class Kind:
    """A float format by its bits."""

    bits: type[np.unsignedinteger[Any]]
    signed: type[np.signedinteger[Any]]
    float: type[np.floating[Any]]
    fraction: int  # bits of the fraction
    bias: int

    @property
    def sign(self) -> Any:
        return self.bits(1 << (self.bits(0).itemsize * 8 - 1))

    @property
    def quiet(self) -> Any:
        return self.bits(1 << (self.fraction - 1))

    @property
    def infinity(self) -> Any:
        return self.bits((2 * self.bias + 1) << self.fraction)


KINDS = {
    "f16": Kind(np.uint16, np.int16, np.float16, 10, 15),
    "f32": Kind(np.uint32, np.int32, np.float32, 23, 127),
    "f64": Kind(np.uint64, np.int64, np.float64, 52, 1023),
}


def kind_of(value: Array) -> Kind:
    return KINDS[f"f{value.itemsize * 8}"]


def exponent(value: Array) -> Array:
    """The exponent field, biased, int32."""
    kind = kind_of(value)
    return ((value.view(kind.bits) & ~kind.sign) >> kind.bits(kind.fraction)).astype(np.int32)


def negative(value: Array) -> Array:
    """Is the sign bit set (of zeros and NaN, too)."""
    kind = kind_of(value)
    return (value.view(kind.bits) & kind.sign) != 0


def quieted(value: Array) -> Array:
    kind = kind_of(value)
    return np.where(np.isnan(value), value.view(kind.bits) | kind.quiet, value.view(kind.bits)).view(kind.float)


def _signalling(value: Array) -> Array:
    kind = kind_of(value)
    return np.isnan(value) & ((value.view(kind.bits) & kind.quiet) == 0)


def _pick(value: Array, a: Array, b: Array, zeros: Callable[[Array, Array], Array]) -> Array:
    """Minimum or maximum by `value`, with the rules for zeros (-0 is less than +0) and NaN (the other operand wins)."""
    kind = kind_of(a)
    # Equal operands are the same bits, or zeros of two signs: then or gives -0, and gives +0.
    equal = a == b
    value = np.where(equal, zeros(a.view(kind.bits), b.view(kind.bits)), value.view(kind.bits)).view(kind.float)
    nan_a, nan_b = np.isnan(a), np.isnan(b)
    if nan_a.any() or nan_b.any():
        value = np.where(nan_a, b, np.where(nan_b, a, value))
        value = np.where(_signalling(a), quieted(a), np.where(_signalling(b), quieted(b), value))
    return value


def minimum(a: Array, b: Array) -> Array:
    return _pick(np.where(a < b, a, b), a, b, np.bitwise_or)


def maximum(a: Array, b: Array) -> Array:
    return _pick(np.where(a > b, a, b), a, b, np.bitwise_and)


def _min3(a: Array, b: Array, c: Array) -> Array:
    return minimum(minimum(a, b), c)


def _max3(a: Array, b: Array, c: Array) -> Array:
    return maximum(maximum(a, b), c)


def _med3(a: Array, b: Array, c: Array) -> Array:
    highest = _max3(a, b, c)
    middle = np.where(highest == a, maximum(b, c), np.where(highest == b, maximum(a, c), maximum(a, b)))
    nan = np.isnan(a) | np.isnan(b) | np.isnan(c)
    return np.where(nan, _min3(a, b, c), middle) if nan.any() else middle


def _propagating(pick: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """IEEE 754-2019 minimum and maximum: a NaN operand is the result."""

    def run(a: Array, b: Array) -> Array:
        return np.where(np.isnan(a), quieted(a), np.where(np.isnan(b), quieted(b), pick(a, b)))

    return run


def three(pick: Callable[[Array, Array], Array]) -> Callable[[Array, Array, Array], Array]:
    return lambda a, b, c: pick(pick(a, b), c)


minimum3, maximum3 = three(_propagating(minimum)), three(_propagating(maximum))


def in_f32(run: Callable[..., Array]) -> Callable[..., Array]:
    """The same on half precision: computed in float32, rounded."""
    return lambda *halves: run(*(half.astype(np.float32) for half in halves)).astype(np.float16)


def _fract(value: Array) -> Array:
    below_one = np.nextafter(value.dtype.type(1), value.dtype.type(0))
    return np.minimum(value - np.floor(value), below_one)


def _fract_f16(value: Array) -> Array:
    wide = value.astype(np.float32)
    return np.minimum(wide - np.floor(wide), np.float32(1 - 2.0**-11)).astype(np.float16)


def ldexp_f32(value: Array, power: Array) -> Array:
    """One rounding: the float64 product with a power of two is exact."""
    scale = (np.clip(power, -300, 300).astype(np.int64) + 1023) << 52
    return (value.astype(np.float64) * scale.view(np.float64)).astype(np.float32)


def ldexp_f64(value: Array, power: Array) -> Array:
    return np.ldexp(value, np.clip(power, -2200, 2200).astype(np.int32))


def _ldexp_f16(value: Array, power: Array) -> Array:
    scale = (np.clip(power, -60, 60).astype(np.int32) + 127) << 23
    return (value.astype(np.float32) * scale.view(np.float32)).astype(np.float16)


def _frexp_exp(value: Array) -> Array:
    return np.where(np.isfinite(value), np.frexp(value)[1], 0).astype(np.int32)


def _frexp_mant(value: Array) -> Array:
    return np.where(np.isfinite(value), np.frexp(value)[0], quieted(value))


def _class(value: Array, wanted: Array) -> Array:
    """Is the class of `value` among those asked for: bits 0 to 9 are signalling NaN, quiet NaN, -inf, -normal, -subnormal,
    -0, +0, +subnormal, +normal, +inf."""
    kind = kind_of(value)
    size = value.view(kind.bits) & ~kind.sign
    rank = (size > 0).astype(np.uint32)  # 0 zero, 1 subnormal, 2 normal, 3 infinity
    rank += size >= kind.bits(1 << kind.fraction)
    rank += size >= kind.infinity
    place = np.where(negative(value), np.uint32(5) - rank, np.uint32(6) + rank)
    place = np.where(size > kind.infinity, ((size & kind.quiet) != 0).astype(np.uint32), place)
    return ((wanted >> place) & np.uint32(1)) != 0


def _mad_f16(a: Array, b: Array, c: Array) -> Array:
    """The product is rounded, too."""  # guess: the manual writes no fma
    product = (a.astype(np.float32) * b.astype(np.float32)).astype(np.float16)
    return (product.astype(np.float32) + c.astype(np.float32)).astype(np.float16)


def _mul_legacy(a: Array, b: Array) -> Array:
    """Zero times anything is zero."""
    return np.where((a == 0) | (b == 0), np.float32(0), a * b)


def _largest_axis(x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Is z the axis of a cube map's face, and else y."""
    ax, ay, az = np.abs(x), np.abs(y), np.abs(z)
    return (az >= ax) & (az >= ay), ay >= ax


def _by_axis(x: Array, y: Array, z: Array, if_z: Array, if_y: Array, if_x: Array) -> Array:
    on_z, on_y = _largest_axis(x, y, z)
    return np.where(on_z, if_z, np.where(on_y, if_y, if_x)).astype(np.float32)


def _cube_id(x: Array, y: Array, z: Array) -> Array:
    return _by_axis(x, y, z, np.where(z < 0, 5, 4), np.where(y < 0, 3, 2), np.where(x < 0, 1, 0))


def _cube_sc(x: Array, y: Array, z: Array) -> Array:
    return _by_axis(x, y, z, np.where(z < 0, -x, x), x, np.where(x < 0, z, -z))


def _cube_tc(x: Array, y: Array, z: Array) -> Array:
    return _by_axis(x, y, z, -y, np.where(y < 0, -z, z), -y)


def _cube_ma(x: Array, y: Array, z: Array) -> Array:
    two = np.float32(2)
    return _by_axis(x, y, z, z * two, y * two, x * two)


def _madk(run: Callable[..., Array]) -> Callable[..., Array]:
    """v_fmamk names its constant second: S0 * K + S1."""
    return lambda a, k, b: run(a, k, b)


_FMA = {"f16": fma_f16, "f32": fma_f32, "f64": fma_f64}
_ROUND = {"trunc": np.trunc, "ceil": np.ceil, "floor": np.floor, "rndne": np.rint}


def _arithmetic(kind: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> dict[str, Op]:
    two, three_, one = (kind,) * 2, (kind,) * 3, (kind,)
    table = {
        f"v_add_{kind}": Op(wrap(np.add), kind, two),
        f"v_mul_{kind}": Op(wrap(np.multiply), kind, two),
        f"v_min_{kind}": Op(minimum, kind, two),
        f"v_max_{kind}": Op(maximum, kind, two),
        f"v_fma_{kind}": Op(_FMA[kind], kind, three_),
        f"v_frexp_mant_{kind}": Op(wrap(_frexp_mant), kind, one),
        f"v_cmp_class_{kind}": Op(_class, "mask", (kind, "u32")),
        f"v_cmpx_class_{kind}": Op(_class, "mask", (kind, "u32")),
        **{f"v_{name}_{kind}": Op(wrap(run), kind, one) for name, run in _ROUND.items()},
    }
    if kind != "f64":
        table |= {
            f"v_sub_{kind}": Op(wrap(np.subtract), kind, two),
            f"v_subrev_{kind}": Op(wrap(lambda a, b: b - a), kind, two),
            f"v_min3_{kind}": Op(_min3, kind, three_),
            f"v_max3_{kind}": Op(_max3, kind, three_),
            f"v_med3_{kind}": Op(_med3, kind, three_),
        }
    return table


FLOATS: dict[str, Op] = {
    **_arithmetic("f32", lambda run: run),
    **_arithmetic("f64", lambda run: run),
    **_arithmetic("f16", in_f32),
    **ops("f32", "f32 f32", v_mul_legacy_f32=_mul_legacy),
    **ops("f32", "f32 f32 f32", v_fmac_f32=fma_f32, v_fmaak_f32=fma_f32, v_fmamk_f32=_madk(fma_f32)),
    **ops("f64", "f64 f64 f64", v_fmac_f64=fma_f64),
    **ops(
        "f16",
        "f16 f16 f16",
        v_mad_f16=_mad_f16,
        v_mad_legacy_f16=_mad_f16,
        v_mac_f16=_mad_f16,
        v_madak_f16=_mad_f16,
        v_madmk_f16=_madk(_mad_f16),
        v_fma_legacy_f16=fma_f16,
    ),
    **ops("f32", "f32", v_fract_f32=_fract),
    **ops("f64", "f64", v_fract_f64=_fract),
    **ops("f16", "f16", v_fract_f16=_fract_f16),
    **ops("f32", "f32 i32", v_ldexp_f32=ldexp_f32),
    **ops("f64", "f64 i32", v_ldexp_f64=ldexp_f64),
    **ops("f16", "f16 i16", v_ldexp_f16=_ldexp_f16),
    **ops("i32", "f32", v_frexp_exp_i32_f32=_frexp_exp),
    **ops("i32", "f64", v_frexp_exp_i32_f64=_frexp_exp),
    **ops("i16", "f16", v_frexp_exp_i16_f16=lambda a: _frexp_exp(a.astype(np.float32)).astype(np.int16)),
    **ops(
        "f32", "f32 f32 f32", v_cubeid_f32=_cube_id, v_cubesc_f32=_cube_sc, v_cubetc_f32=_cube_tc, v_cubema_f32=_cube_ma
    ),
    **ops("f32", "f32 f32 f32", v_minimum3_f32=minimum3, v_maximum3_f32=maximum3),
}
