"""Floats of 8, 6 and 4 bits: what their codes mean, rounding to them, and the conversion instructions.

gfx942 has the FNUZ kinds (one NaN, the code of minus zero; no infinity), gfx950 those of OCP.
A value beyond the largest becomes infinity, or NaN where there is none: mode bit FP16_OVFL, which would saturate it, is taken
to be off.
Source: OCP Microscaling Formats 1.0, OCP 8-bit Floating Point 1.0; AMD CDNA3 and CDNA4 instruction set architecture manuals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpumodel.isa.op import Array, Op, ops, u32


@dataclass(frozen=True)
class Small:
    """A format: sign, `exponent` bits, `fraction` bits; `nan` and `infinity` are codes without sign."""

    exponent: int
    fraction: int
    bias: int
    nan: int | None
    infinity: int | None = None
    fnuz: bool = False  # minus zero is the NaN

    @property
    def sign(self) -> int:
        return 1 << (self.exponent + self.fraction)

    @cached_property
    def values(self) -> Array:
        """Value of every code, float32."""
        return np.array([self._value(code) for code in range(2 * self.sign)], np.float32)

    @cached_property
    def largest(self) -> float:
        return float(np.max(self.values[np.isfinite(self.values)]))

    def _value(self, code: int) -> float:
        size, sign = code % self.sign, -1.0 if code & self.sign else 1.0
        if self.fnuz and code == self.sign:
            return float("nan")
        if self.infinity is not None and size >= self.infinity:
            return sign * float("inf") if size == self.infinity else float("nan")
        if not self.fnuz and self.nan is not None and size >= self.nan:
            return float("nan")
        field, fraction = size >> self.fraction, size % (1 << self.fraction)
        if field == 0:
            return sign * fraction * 2.0 ** (1 - self.bias - self.fraction)
        return sign * (1 + fraction / (1 << self.fraction)) * 2.0 ** (field - self.bias)

    def decode(self, codes: Array) -> Array:
        """Codes (the low bits count) to float32."""
        return self.values[codes & codes.dtype.type(2 * self.sign - 1)]

    def encode(self, value: Array, round_: Callable[[Array], Array] = np.rint) -> Array:
        """float32 or float64 to codes, uint32, rounded to nearest even."""
        size = np.abs(value).astype(np.float64)
        finite = np.where(np.isfinite(size), size, 0.0)
        lowest = 1 - self.bias
        power = np.maximum((finite.view(np.uint64) >> np.uint64(52)).astype(np.int64) - 1023, lowest)
        # In units of the last place, then the exponent counts up from the subnormals on.
        steps = round_(np.ldexp(finite, (self.fraction - power).astype(np.int32))).astype(np.int64)
        return self.coded(((power - lowest) << self.fraction) + steps, value)

    def coded(self, code: Array, value: Array) -> Array:
        """A code that was counted up from zero, for a value, uint32: with its sign, or what stands for one that is too large,
        and for NaN."""
        last = int(np.flatnonzero(self.values[: self.sign] == self.largest)[0])
        beyond = (code > last) | np.isinf(value)
        over = last if self.nan is None else self.nan if self.infinity is None else self.infinity
        code = np.where(beyond, over, code)
        if self.nan is None:
            code = np.where(np.isnan(value), last, code)
        else:
            code = np.where(np.isnan(value), self.nan, code)
        negative = np.signbit(value)
        if self.fnuz:
            special = beyond | np.isnan(value)
            return u32(np.where(special, self.sign, np.where(negative & (code != 0), code | self.sign, code)))
        return u32(np.where(negative, code | self.sign, code))


FP8_FNUZ = Small(4, 3, 8, nan=0x80, fnuz=True)
BF8_FNUZ = Small(5, 2, 16, nan=0x80, fnuz=True)
FP8_OCP = Small(4, 3, 7, nan=0x7F)
BF8_OCP = Small(5, 2, 15, nan=0x7F, infinity=0x7C)
FP6 = Small(2, 3, 1, nan=None)
BF6 = Small(3, 2, 3, nan=None)
FP4 = Small(2, 1, 1, nan=None)


def _decode_pair(kind: Small) -> Callable[[Array], tuple[Array, Array]]:
    return lambda words: (kind.decode(words & np.uint32(0xFF)), kind.decode((words >> np.uint32(8)) & np.uint32(0xFF)))


def _encode_pair(kind: Small) -> Callable[..., Array]:
    """Two floats to two bytes of one half of the destination, as bit 3 of op_sel says; the other half is kept."""

    def run(a: Array, b: Array, old: Array, *, op_sel: int) -> Array:
        both = kind.encode(a) | (kind.encode(b) << np.uint32(8))
        if op_sel & 8:
            return (old & np.uint32(0xFFFF)) | (both << np.uint32(16))
        return (old & np.uint32(0xFFFF0000)) | both

    return run


def _encode_random(kind: Small) -> Callable[..., Array]:
    """Random bits from the top of the second operand are added below the last place, and what is below is cut off."""

    def run(value: Array, random: Array, old: Array, *, op_sel: int) -> Array:
        # guess: the manual's text rounds to nearest after adding; cutting off is what makes the mean right
        lost = 23 - kind.fraction
        noise = np.where(np.isfinite(value), random >> np.uint32(32 - lost), np.uint32(0))
        nudged = (value.view(np.uint32) + noise).view(np.float32)
        shift = np.uint32(8 * (op_sel >> 2 & 3))
        return (old & ~(np.uint32(0xFF) << shift)) | (kind.encode(nudged, np.trunc) << shift)

    return run


def conversions(fp8: Small, bf8: Small) -> dict[str, Op]:
    """The conversions of a target. In operands that are codes the low bits hold the byte or word that SDWA or op_sel chose."""
    table: dict[str, Op] = {}
    for name, kind in (("fp8", fp8), ("bf8", bf8)):
        table |= {
            **ops("f32", "b32", **{f"v_cvt_f32_{name}": kind.decode}),
            **ops("2xf32", "b32", **{f"v_cvt_pk_f32_{name}": _decode_pair(kind)}),
            f"v_cvt_pk_{name}_f32": Op(_encode_pair(kind), "b32", ("f32", "f32", "b32"), ("op_sel",)),
            f"v_cvt_sr_{name}_f32": Op(_encode_random(kind), "b32", ("f32", "u32", "b32"), ("op_sel",)),
        }
    return table


FP8_GFX942 = conversions(FP8_FNUZ, BF8_FNUZ)
FP8_GFX950 = conversions(FP8_OCP, BF8_OCP)
