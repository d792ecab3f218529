"""Lowering of the conversions of gpumodel/isa/fp8.py: the same results, bit for bit."""

from __future__ import annotations

from gpumodel.isa.fp8 import BF8_FNUZ, BF8_OCP, FP8_FNUZ, FP8_OCP, Small
from gpumodel.isa.native.floatbits import (
    bits,
    exponent,
    format_of,
    is_size,
    magnitude,
    power_of_two,
    quiet_nan,
    sign,
    with_float,
    with_int,
)
from gpumodel.isa.native.ir import Builder, Lower, Value, const


def _decode(small: Small) -> Lower:
    """A code's exponent and fraction, moved to those of a float32, are off by a power of two, for subnormals, too."""

    def run(b: Builder, codes: Value) -> Value:
        code = with_int(b, "and", codes, small.sign - 1)
        negative = with_int(b, "and", codes, small.sign)
        moved = b.cast("bitcast", with_int(b, "shl", code, 23 - small.fraction), "float")
        value = bits(b, with_float(b, "fmul", moved, 2.0 ** (127 - small.bias)))

        def holds(predicate: str, which: Value, number: int) -> Value:
            return b.icmp(predicate, which, const(which.type, number))

        if small.infinity is not None:
            value = b.select(holds("eq", code, small.infinity), const(value.type, 0x7F800000), value)
            value = b.select(holds("sgt", code, small.infinity), quiet_nan(moved), value)
        elif small.nan is not None and not small.fnuz:
            value = b.select(holds("sge", code, small.nan), quiet_nan(moved), value)
        value = b.two("or", value, with_int(b, "shl", negative, 31 - small.fraction - small.exponent))
        if small.fnuz:
            whole = with_int(b, "and", codes, 2 * small.sign - 1)
            value = b.select(holds("eq", whole, small.sign), quiet_nan(moved), value)
        return b.cast("bitcast", value, "float")

    return run


def _encode(b: Builder, small: Small, x: Value, rounding: str) -> Value:
    """float32 to codes, i32; `rounding` to whole steps: "rint" or "trunc"."""
    infinity = format_of(x).infinity
    finite = b.select(is_size(b, "slt", x, infinity), magnitude(b, x), const(x.type, 0.0))
    lowest = 1 - small.bias
    power = with_int(b, "sub", exponent(b, finite), 127)
    power = b.call("smax", power.type, [power, const(power.type, lowest)])
    # In units of the last place, then the exponent counts up from the subnormals on.
    unit = power_of_two(b, b.two("sub", const(power.type, small.fraction), power), "float")
    steps = b.cast("fptosi", b.call(rounding, x.type, [b.two("fmul", finite, unit)]), "i32")
    code = b.two("add", with_int(b, "shl", with_int(b, "sub", power, lowest), small.fraction), steps)
    nan = small.sign if small.fnuz else small.nan
    assert nan is not None
    over = nan if small.infinity is None else small.infinity
    last = (small.sign if small.fnuz else over) - 1
    beyond = b.icmp("sgt", code, const(code.type, last))
    beyond = b.two("or", beyond, is_size(b, "eq", x, infinity))
    is_nan = is_size(b, "sgt", x, infinity)
    negative = with_int(b, "lshr", sign(b, x), 31 - small.fraction - small.exponent)
    if not small.fnuz:
        code = b.select(beyond, const(code.type, over), code)
        return b.two("or", b.select(is_nan, const(code.type, nan), code), negative)
    zero = b.icmp("eq", code, const(code.type, 0))
    code = b.select(zero, code, b.two("or", code, negative))
    return b.select(b.two("or", beyond, is_nan), const(code.type, nan), code)


def _decode_pair(small: Small) -> Lower:
    one = _decode(small)
    return lambda b, codes: (one(b, codes), one(b, with_int(b, "lshr", codes, 8)))


def _encode_pair(small: Small) -> Lower:
    def run(b: Builder, x: Value, y: Value, old: Value, *, op_sel: int) -> Value:
        high = with_int(b, "shl", _encode(b, small, y, "rint"), 8)
        return _into(b, old, b.two("or", _encode(b, small, x, "rint"), high), 0xFFFF, 2 * (op_sel & 8))

    return run


def _encode_random(small: Small) -> Lower:
    def run(b: Builder, x: Value, random: Value, old: Value, *, op_sel: int) -> Value:
        noise = with_int(b, "lshr", random, 9 + small.fraction)
        finite = is_size(b, "slt", x, format_of(x).infinity)
        noise = b.select(finite, noise, const(noise.type, 0))
        nudged = b.cast("bitcast", b.two("add", bits(b, x), noise), "float")
        return _into(b, old, _encode(b, small, nudged, "trunc"), 0xFF, 8 * (op_sel >> 2 & 3))

    return run


def _into(b: Builder, old: Value, part: Value, mask: int, shift: int) -> Value:
    kept = with_int(b, "and", old, ~(mask << shift))
    return b.two("or", kept, with_int(b, "shl", part, shift))


def _conversions(fp8: Small, bf8: Small) -> dict[str, Lower]:
    table: dict[str, Lower] = {}
    for name, small in (("fp8", fp8), ("bf8", bf8)):
        table |= {
            f"v_cvt_f32_{name}": _decode(small),
            f"v_cvt_pk_f32_{name}": _decode_pair(small),
            f"v_cvt_pk_{name}_f32": _encode_pair(small),
            f"v_cvt_sr_{name}_f32": _encode_random(small),
        }
    return table


LOWERED_GFX942 = _conversions(FP8_FNUZ, BF8_FNUZ)
LOWERED_GFX950 = _conversions(FP8_OCP, BF8_OCP)
