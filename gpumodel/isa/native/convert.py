"""Lowering of gpumodel/isa/convert.py and approximate.py: the same results, bit for bit.

But for powers, logarithms, sines and cosines: they are the C library's float64 rounded, as those of NumPy, and where the two
libraries differ in the last of 53 bits, about one in 2**28 of the float32 results does."""

from __future__ import annotations

from math import pi

from gpumodel.isa.native.floatbits import (
    bits,
    clipped,
    compare_to,
    double_to_half,
    format_of,
    is_nan,
    is_size,
    magnitude,
    quieted,
    saturated,
    sign,
    wide,
    with_float,
    with_int,
)
from gpumodel.isa.native.ir import Builder, Lower, Value, const

# ---- halves of a word


def joined(b: Builder, low: Value, high: Value) -> Value:
    """Two of 16 bits to a word."""
    low, high = (b.cast("zext", b.cast("bitcast", half, "i16"), "i32") for half in (low, high))
    return b.two("or", low, with_int(b, "shl", high, 16))


def into_half(b: Builder, old: Value, half: Value, *, high: bool) -> Value:
    """A word with one half replaced."""
    half = b.cast("zext", b.cast("bitcast", half, "i16"), "i32")
    kept = with_int(b, "and", old, 0xFFFF if high else 0xFFFF0000)
    return b.two("or", kept, with_int(b, "shl", half, 16) if high else half)


def bf16_to_f32(b: Builder, value: Value) -> Value:
    return b.cast("bitcast", with_int(b, "shl", b.cast("zext", value, "i32"), 16), "float")


def _pair(run: Lower) -> Lower:
    return lambda b, x, y: joined(b, run(b, x), run(b, y))


# ---- to integers


def _to(scalar: str, *, signed: bool) -> Lower:
    return lambda b, x: saturated(b, x, scalar, signed=signed)


def _nearest_up(b: Builder, x: Value) -> Value:
    return _floor(b, with_float(b, "fadd", x, 0.5))


def _floor(b: Builder, x: Value) -> Value:
    return saturated(b, b.call("floor", x.type, [x]), "i32", signed=True)


def _norm(low: float, scale: float) -> Lower:
    def run(b: Builder, x: Value) -> Value:
        x = b.cast("fpext", x, "double")
        x = b.select(compare_to(b, "olt", x, low), const(x.type, low), x)
        x = b.select(compare_to(b, "ogt", x, 1.0), const(x.type, 1.0), x)
        x = with_float(b, "fmul", x, scale)
        return b.cast("trunc", saturated(b, b.call("rint", x.type, [x]), "i32", signed=True), "i16")

    return run


_norm_i16, _norm_u16 = _norm(-1.0, 32767.0), _norm(0.0, 65535.0)


def _clip_u16(b: Builder, x: Value) -> Value:
    return b.cast("trunc", b.call("umin", x.type, [x, const(x.type, 0xFFFF)]), "i16")


def _clip_i16(b: Builder, x: Value) -> Value:
    return b.cast("trunc", clipped(b, x, -0x8000, 0x7FFF), "i16")


def _pack_u8(b: Builder, x: Value, place: Value, old: Value) -> Value:
    byte = clipped(b, saturated(b, x, "i32", signed=True), 0, 0xFF)
    shift = with_int(b, "shl", with_int(b, "and", place, 3), 3)
    mask = b.two("shl", const(old.type, 0xFF), shift)
    return b.two("or", b.two("and", old, with_int(b, "xor", mask, -1)), b.two("shl", byte, shift))


# ---- to floats


def _cast(opcode: str, scalar: str) -> Lower:
    return lambda b, x: b.cast(opcode, x, scalar)


def _u16_to_f16(b: Builder, x: Value) -> Value:
    return b.cast("fptrunc", b.cast("sitofp", b.cast("zext", x, "i32"), "float"), "half")


def _i16_to_f16(b: Builder, x: Value) -> Value:
    return b.cast("fptrunc", b.cast("sitofp", b.cast("sext", x, "i32"), "float"), "half")


def _offset_i4(b: Builder, x: Value) -> Value:
    signed = with_int(b, "ashr", with_int(b, "shl", x, 28), 28)
    return with_float(b, "fmul", b.cast("sitofp", signed, "float"), 1 / 16)


def _byte(place: int) -> Lower:
    return lambda b, x: b.cast("sitofp", with_int(b, "and", with_int(b, "lshr", x, 8 * place), 0xFF), "float")


def to_f16(b: Builder, x: Value) -> Value:
    return b.cast("fptrunc", x, "half")


def _towards_zero(b: Builder, x: Value) -> Value:
    nearest = to_f16(b, x)
    beyond = b.fcmp("ogt", magnitude(b, wide(b, nearest)), magnitude(b, x))
    return b.cast("bitcast", b.two("add", bits(b, nearest), b.cast("sext", beyond, "i16")), "half")


def to_bf16(b: Builder, x: Value) -> Value:
    own = bits(b, x)
    odd = with_int(b, "and", with_int(b, "lshr", own, 16), 1)
    rounded = b.two("add", with_int(b, "add", own, 0x7FFF), odd)
    nan = with_int(b, "or", own, format_of(x).quiet)
    return b.cast("trunc", with_int(b, "lshr", b.select(is_nan(b, x), nan, rounded), 16), "i16")


def _stochastic(b: Builder, x: Value, random: Value, lost_bits: int) -> Value:
    """The bits of a float32 after random ones were added to those that are lost."""
    total = b.two("add", bits(b, x), with_int(b, "and", random, (1 << lost_bits) - 1))
    finite = is_size(b, "slt", x, format_of(x).infinity)
    return b.select(finite, total, bits(b, quieted(b, x)))


def _sr_bf16(b: Builder, x: Value, random: Value, old: Value, *, op_sel: int) -> Value:
    half = b.cast("trunc", with_int(b, "lshr", _stochastic(b, x, random, 16), 16), "i16")
    return into_half(b, old, half, high=bool(op_sel & 8))


def _sr_f16(b: Builder, x: Value, random: Value, old: Value, *, op_sel: int) -> Value:
    nudged = b.cast("bitcast", _stochastic(b, x, random, 13), "float")
    return into_half(b, old, _towards_zero(b, nudged), high=bool(op_sel & 8))


# ---- reciprocals, roots, powers, logarithms, sines


def _one_over(b: Builder, x: Value) -> Value:
    return b.two("fdiv", const(x.type, 1.0), x)


def _root(b: Builder, x: Value) -> Value:
    return b.call("sqrt", x.type, [x])


def _one_over_root(b: Builder, x: Value) -> Value:
    return _one_over(b, _root(b, x))


def _library(name: str) -> Lower:
    return lambda b, x: b.call(name, x.type, [x])


def _turns(name: str) -> Lower:
    def run(b: Builder, x: Value) -> Value:
        rest = b.two("fsub", x, b.call("rint", x.type, [x]))
        far = is_size(b, "sgt", x, (1023 + 8) << 52)  # beyond 256 turns, or NaN
        angle = with_float(b, "fmul", b.select(far, const(x.type, 0.0), rest), 2 * pi)
        value = b.call(name, x.type, [angle])
        infinite = is_size(b, "sge", x, format_of(x).infinity)
        return b.select(infinite, const(x.type, float("nan")), value)

    return run


def _flushed(b: Builder, x: Value) -> Value:
    """Subnormals of float32 become zeros of their sign."""
    small = is_size(b, "slt", x, 1 << 23)
    return b.cast("bitcast", b.select(small, sign(b, x), bits(b, x)), "float")


def _flushing(run: Lower) -> Lower:
    return lambda b, x: _flushed(b, run(b, _flushed(b, x)))


def _f32_in_f64(run: Lower) -> Lower:
    return lambda b, x: b.cast("fptrunc", run(b, b.cast("fpext", x, "double")), "float")


def _f16_in_f32(run: Lower) -> Lower:
    return lambda b, x: b.cast("fptrunc", run(b, wide(b, x)), "half")


def _f16_in_f64(run: Lower) -> Lower:
    return lambda b, x: double_to_half(b, run(b, b.cast("fpext", x, "double")))


# A quotient and a root need no more than twice the bits, and two, for a second rounding to do no harm (Figueroa, When is
# double rounding innocuous?): float32's own are the float64 ones rounded.
_EXACT: dict[str, Lower] = {"rcp": _one_over, "sqrt": _root}
_IN_F64: dict[str, Lower] = {
    "rsq": _one_over_root,
    "exp": _library("exp2"),
    "log": _library("log2"),
    "sin": _turns("sin"),
    "cos": _turns("cos"),
}
_APPROXIMATE: dict[str, Lower] = {
    **{f"v_{name}_f32": _flushing(run) for name, run in _EXACT.items()},
    **{f"v_{name}_f16": _f16_in_f32(run) for name, run in _EXACT.items()},
    **{f"v_{name}_f32": _flushing(_f32_in_f64(run)) for name, run in _IN_F64.items()},
    **{f"v_{name}_f16": _f16_in_f64(run) for name, run in _IN_F64.items()},
    **{f"v_{name}_legacy_f32": _flushing(_f32_in_f64(_IN_F64[name])) for name in ("exp", "log")},
    "v_rcp_iflag_f32": _flushing(_one_over),
    "v_rcp_f64": _one_over,
    "v_rsq_f64": _one_over_root,
    "v_sqrt_f64": _root,
}

LOWERED: dict[str, Lower] = {
    **{f"v_cvt_i32_{kind}": _to("i32", signed=True) for kind in ("f32", "f64")},
    **{f"v_cvt_u32_{kind}": _to("i32", signed=False) for kind in ("f32", "f64")},
    "v_cvt_rpi_i32_f32": _nearest_up,
    "v_cvt_flr_i32_f32": _floor,
    "v_cvt_i16_f16": _to("i16", signed=True),
    "v_cvt_u16_f16": _to("i16", signed=False),
    "v_cvt_norm_i16_f16": _norm_i16,
    "v_cvt_norm_u16_f16": _norm_u16,
    "v_cvt_f64_i32": _cast("sitofp", "double"),
    "v_cvt_f64_u32": _cast("uitofp", "double"),
    "v_cvt_f64_f32": _cast("fpext", "double"),
    "v_cvt_f32_i32": _cast("sitofp", "float"),
    "v_cvt_f32_u32": _cast("uitofp", "float"),
    "v_cvt_f32_f64": _cast("fptrunc", "float"),
    "v_cvt_f32_f16": _cast("fpext", "float"),
    "v_cvt_f32_bf16": bf16_to_f32,
    "v_cvt_f16_f32": to_f16,
    "v_cvt_f16_u16": _u16_to_f16,
    "v_cvt_f16_i16": _i16_to_f16,
    "v_cvt_off_f32_i4": _offset_i4,
    **{f"v_cvt_f32_ubyte{place}": _byte(place) for place in range(4)},
    "v_cvt_pkrtz_f16_f32": _pair(_towards_zero),
    "v_cvt_pk_f16_f32": _pair(to_f16),
    "v_cvt_pk_bf16_f32": _pair(to_bf16),
    **{f"v_cvt_pknorm_i16_{kind}": _pair(_norm_i16) for kind in ("f32", "f16")},
    **{f"v_cvt_pknorm_u16_{kind}": _pair(_norm_u16) for kind in ("f32", "f16")},
    "v_cvt_pk_u16_u32": _pair(_clip_u16),
    "v_cvt_pk_i16_i32": _pair(_clip_i16),
    "v_cvt_pk_u8_f32": _pack_u8,
    "v_cvt_pkaccum_u8_f32": _pack_u8,
    "v_cvt_sr_bf16_f32": _sr_bf16,
    "v_cvt_sr_f16_f32": _sr_f16,
    **_APPROXIMATE,
}
