"""Packed arithmetic on pairs, dot products, and the fused multiply-add of mixed precision.

Source: AMD CDNA3 and CDNA4 instruction set architecture manuals, VOP3P (restated)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gpumodel.isa.exact import fma_f16, fma_f32
from gpumodel.isa.floats import in_f32, maximum, maximum3, minimum, minimum3
from gpumodel.isa.integer import lshl, shr
from gpumodel.isa.op import Array, Op, join16, ops, u32

Pair = tuple[Array, Array]


@dataclass(frozen=True, slots=True)
class Each:
    """The same on both halves."""

    run: Callable[..., Array]

    def __call__(self, *pairs: Pair) -> Pair:
        return self.run(*(low for low, _ in pairs)), self.run(*(high for _, high in pairs))


def _pk(kind: str, count: int, **runs: Callable[..., Array]) -> dict[str, Op]:
    return {f"v_pk_{name}": Op(Each(run), f"2x{kind}", (f"2x{kind}",) * count) for name, run in runs.items()}


def bf16_to_f32(bits: Array) -> Array:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _dot2_f16(a: Pair, b: Pair, start: Array) -> Array:
    total = start
    for x, y in zip(a, b, strict=True):
        total = total + x.astype(np.float32) * y.astype(np.float32)
    return total


def _products_bf16(a: Pair, b: Pair) -> list[Array]:
    return [bf16_to_f32(x) * bf16_to_f32(y) for x, y in zip(a, b, strict=True)]


def _dot2_bf16(a: Pair, b: Pair, start: Array) -> Array:
    low, high = _products_bf16(a, b)
    return (low + high) + start


def _dot2c_bf16(a: Pair, b: Pair, start: Array) -> Array:
    low, high = _products_bf16(a, b)
    return (start + low) + high


def _dot2(a: Pair, b: Pair, start: Array) -> Array:
    return start + sum(x.astype(start.dtype) * y.astype(start.dtype) for x, y in zip(a, b, strict=True))


def _parts(words: Array, bits: int, like: Array) -> Iterator[Array]:
    """The fields of `bits` bits of uint32, sign extended if `like` is signed."""
    for at in range(0, 32, bits):
        yield (words << np.uint32(32 - bits - at)).view(like.dtype) >> like.dtype.type(32 - bits)


def _dot(bits: int) -> Callable[[Array, Array, Array], Array]:
    def run(a: Array, b: Array, start: Array) -> Array:
        total = start
        for x, y in zip(_parts(a, bits, start), _parts(b, bits, start), strict=True):
            total = total + x * y
        return total

    return run


def _mix_to_half(a: Array, b: Array, c: Array) -> Array:
    return u32(fma_f32(a, b, c).astype(np.float16).view(np.uint16))


def _mix_low(a: Array, b: Array, c: Array, old: Array) -> Array:
    return (old & np.uint32(0xFFFF0000)) | _mix_to_half(a, b, c)


def _mix_high(a: Array, b: Array, c: Array, old: Array) -> Array:
    return (old & np.uint32(0xFFFF)) | (_mix_to_half(a, b, c) << np.uint32(16))


def _move(a: Pair, b: Pair) -> Pair:
    """Both halves of the result are chosen by op_sel, none by op_sel_hi: the low choices of both operands."""
    return a[0], b[0]


def _mad(a: Array, b: Array, c: Array) -> Array:
    return a * b + c


PACKED: dict[str, Op] = {
    **_pk("f32", 2, add_f32=np.add, mul_f32=np.multiply),
    **_pk("f32", 3, fma_f32=fma_f32),
    **_pk("f16", 2, add_f16=in_f32(np.add), mul_f16=in_f32(np.multiply), min_f16=minimum, max_f16=maximum),
    **_pk("f16", 3, fma_f16=fma_f16, fmac_f16=fma_f16, minimum3_f16=minimum3, maximum3_f16=maximum3),
    **_pk(
        "u16", 2, add_u16=np.add, sub_u16=np.subtract, mul_lo_u16=np.multiply, min_u16=np.minimum, max_u16=np.maximum
    ),
    **_pk("i16", 2, add_i16=np.add, sub_i16=np.subtract, min_i16=np.minimum, max_i16=np.maximum),
    **_pk("u16", 3, mad_u16=_mad),
    **_pk("i16", 3, mad_i16=_mad),
    **_pk("u16", 2, lshlrev_b16=lambda by, value: lshl(value, by), lshrrev_b16=lambda by, value: shr(value, by)),
    **ops("2xi16", "2xu16 2xi16", v_pk_ashrrev_i16=Each(lambda by, value: shr(value, by))),
    **ops("2xu32", "2xu32 2xu32", v_pk_mov_b32=_move),
    **ops("b32", "f16 f16", v_pack_b32_f16=join16),
    **ops("f32", "2xf16 2xf16 f32", v_dot2_f32_f16=_dot2_f16, v_dot2c_f32_f16=_dot2_f16),
    **ops("f32", "2xbf16 2xbf16 f32", v_dot2_f32_bf16=_dot2_bf16, v_dot2c_f32_bf16=_dot2c_bf16),
    **ops("i32", "2xi16 2xi16 i32", v_dot2_i32_i16=_dot2, v_dot2c_i32_i16=_dot2),
    **ops("u32", "2xu16 2xu16 u32", v_dot2_u32_u16=_dot2),
    **ops(
        "i32",
        "b32 b32 i32",
        v_dot4_i32_i8=_dot(8),
        v_dot4c_i32_i8=_dot(8),
        v_dot8_i32_i4=_dot(4),
        v_dot8c_i32_i4=_dot(4),
    ),
    **ops("u32", "b32 b32 u32", v_dot4_u32_u8=_dot(8), v_dot8_u32_u4=_dot(4)),
    **ops("f32", "mix mix mix", v_fma_mix_f32=fma_f32),
    **ops("b32", "mix mix mix b32", v_fma_mixlo_f16=_mix_low, v_fma_mixhi_f16=_mix_high),
}
