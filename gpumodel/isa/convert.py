"""Conversions of the vector unit between integers and floats of 16, 32 and 64 bits.

To integers: towards zero unless the name says otherwise, values out of range become the nearest that fits, NaN becomes 0.
Source: AMD CDNA3 and CDNA4 instruction set architecture manuals (restated); that packing to 16-bit integers saturates: Mesa,
nir_opcodes.py pack_uint_2x16 and pack_sint_2x16, which become these instructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpumodel.isa.floats import quieted
from gpumodel.isa.op import Array, Op, join16, ops, u32
from gpumodel.isa.packed import bf16_to_f32


def to_integer(value: Array, dtype: Any) -> Array:
    """Float to integer, saturating; NaN gives 0. int32 is exact in float64, 16-bit types in float32."""
    info = np.iinfo(dtype)
    wide = value.astype(np.float64)
    return np.nan_to_num(np.clip(np.trunc(wide), info.min, info.max), nan=0.0).astype(np.int64).astype(dtype)


def _to(dtype: Any) -> Callable[[Array], Array]:
    return lambda value: to_integer(value, dtype)


def _cast(dtype: Any) -> Callable[[Array], Array]:
    return lambda value: value.astype(dtype)


def to_f16(value: Array) -> Array:
    """To nearest even, NaN quieted (NumPy keeps a signalling one)."""
    half = value.astype(np.float16)
    nan = np.isnan(value)
    return (
        np.where(nan, half.view(np.uint16) | np.uint16(0x200), half.view(np.uint16)).view(np.float16)
        if nan.any()
        else half
    )


def _nearest_up(value: Array) -> Array:
    return to_integer(np.floor(value + np.float32(0.5)), np.int32)


def _floor(value: Array) -> Array:
    return to_integer(np.floor(value), np.int32)


def _offset_i4(value: Array) -> Array:
    """A signed nibble in sixteenths."""
    return (((value << np.uint32(28)).view(np.int32) >> np.int32(28)).astype(np.float32)) / np.float32(16)


def _byte(place: int) -> Callable[[Array], Array]:
    return lambda value: ((value >> np.uint32(8 * place)) & np.uint32(0xFF)).astype(np.float32)


def _norm(signed: bool) -> Callable[[Array], Array]:
    """[-1, 1] or [0, 1] to the whole range of a 16-bit integer, rounded to nearest even."""
    low, scale, dtype = (-1, 32767, np.int16) if signed else (0, 65535, np.uint16)
    return lambda value: to_integer(np.rint(np.clip(value.astype(np.float64), low, 1) * scale), dtype)


def _pair(run: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: join16(run(a), run(b))


def _clip_to(dtype: Any) -> Callable[[Array], Array]:
    info = np.iinfo(dtype)
    return lambda value: np.clip(value, info.min, info.max).astype(dtype)


def to_f16_towards_zero(value: Array) -> Array:
    nearest = to_f16(value)
    beyond = np.abs(nearest.astype(np.float32)) > np.abs(value)
    return (nearest.view(np.uint16) - beyond.astype(np.uint16)).view(np.float16)


def f32_to_bf16(value: Array) -> Array:
    """To nearest even; NaN stays NaN."""
    bits = quieted(value).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (np.where(np.isnan(value), bits, rounded) >> np.uint32(16)).astype(np.uint16)


def _pack_u8(value: Array, place: Array, old: Array) -> Array:
    """One byte of `old` replaced by a float made an unsigned byte."""
    shift = (place & np.uint32(3)) * np.uint32(8)
    byte = u32(to_integer(value, np.uint8))
    return (old & ~(np.uint32(0xFF) << shift)) | (byte << shift)


def _stochastic(value: Array, random: Array, lost_bits: int) -> Array:
    """The upper bits of a float32 after random bits were added to those that are lost; infinity and NaN are left alone."""
    bits = value.view(np.uint32)
    total = bits + (random & np.uint32((1 << lost_bits) - 1))
    return np.where(np.isfinite(value), total, quieted(value).view(np.uint32))


def _half_of(old: Array, half: Array, op_sel: int) -> Array:
    """`old` with one half replaced, as bit 3 of op_sel says."""
    if op_sel & 8:
        return (old & np.uint32(0xFFFF)) | (u32(half) << np.uint32(16))
    return (old & np.uint32(0xFFFF0000)) | u32(half)


def _sr_bf16(value: Array, random: Array, old: Array, *, op_sel: int) -> Array:
    return _half_of(old, _stochastic(value, random, 16) >> np.uint32(16), op_sel)


def _sr_f16(value: Array, random: Array, old: Array, *, op_sel: int) -> Array:
    nudged = _stochastic(value, random, 13).view(np.float32)
    return _half_of(old, to_f16_towards_zero(nudged).view(np.uint16), op_sel)


CONVERT: dict[str, Op] = {
    **ops("i32", "f64", v_cvt_i32_f64=_to(np.int32)),
    **ops("u32", "f64", v_cvt_u32_f64=_to(np.uint32)),
    **ops("i32", "f32", v_cvt_i32_f32=_to(np.int32), v_cvt_rpi_i32_f32=_nearest_up, v_cvt_flr_i32_f32=_floor),
    **ops("u32", "f32", v_cvt_u32_f32=_to(np.uint32)),
    **ops("i16", "f16", v_cvt_i16_f16=_to(np.int16), v_cvt_norm_i16_f16=_norm(True)),
    **ops("u16", "f16", v_cvt_u16_f16=_to(np.uint16), v_cvt_norm_u16_f16=_norm(False)),
    **ops("f64", "i32", v_cvt_f64_i32=_cast(np.float64)),
    **ops("f64", "u32", v_cvt_f64_u32=_cast(np.float64)),
    **ops("f64", "f32", v_cvt_f64_f32=_cast(np.float64)),
    **ops("f32", "i32", v_cvt_f32_i32=_cast(np.float32)),
    **ops("f32", "u32", v_cvt_f32_u32=_cast(np.float32)),
    **ops("f32", "f64", v_cvt_f32_f64=_cast(np.float32)),
    **ops("f32", "f16", v_cvt_f32_f16=lambda value: quieted(value.astype(np.float32))),
    **ops("f32", "bf16", v_cvt_f32_bf16=bf16_to_f32),
    **ops("f16", "f32", v_cvt_f16_f32=to_f16),
    **ops("f16", "u16", v_cvt_f16_u16=_cast(np.float16)),
    **ops("f16", "i16", v_cvt_f16_i16=_cast(np.float16)),
    **ops("f32", "u32", v_cvt_off_f32_i4=_offset_i4),
    **{f"v_cvt_f32_ubyte{place}": Op(_byte(place), "f32", ("u32",)) for place in range(4)},
    **ops(
        "b32",
        "f32 f32",
        v_cvt_pkrtz_f16_f32=_pair(to_f16_towards_zero),
        v_cvt_pk_f16_f32=_pair(to_f16),
        v_cvt_pk_bf16_f32=_pair(f32_to_bf16),
        v_cvt_pknorm_i16_f32=_pair(_norm(True)),
        v_cvt_pknorm_u16_f32=_pair(_norm(False)),
    ),
    **ops("b32", "f16 f16", v_cvt_pknorm_i16_f16=_pair(_norm(True)), v_cvt_pknorm_u16_f16=_pair(_norm(False))),
    **ops("b32", "u32 u32", v_cvt_pk_u16_u32=_pair(_clip_to(np.uint16))),
    **ops("b32", "i32 i32", v_cvt_pk_i16_i32=_pair(_clip_to(np.int16))),
    **ops("u32", "f32 u32 u32", v_cvt_pk_u8_f32=_pack_u8, v_cvt_pkaccum_u8_f32=_pack_u8),
    "v_cvt_sr_bf16_f32": Op(_sr_bf16, "b32", ("f32", "u32", "b32"), ("op_sel",)),
    "v_cvt_sr_f16_f32": Op(_sr_f16, "b32", ("f32", "u32", "b32"), ("op_sel",)),
}
