"""Lowering of gpumodel/isa/division.py: the same results, bit for bit. The cases and their numbers are explained there."""

from __future__ import annotations

from gpumodel.isa.native.floatbits import (
    bits,
    compare,
    compare_to,
    exponent,
    fma,
    format_of,
    is_nan,
    is_size,
    magnitude,
    negated,
    quiet_nan,
    sign,
    size,
    sum_to_odd,
    two_sum,
    with_float,
    with_int,
)
from gpumodel.isa.native.ir import Builder, Lower, Value, const, like, scalar_of

_FAR, _TINY, _HUGE = {"float": 96, "double": 768}, {"float": 24, "double": 53}, {"float": 253, "double": 2045}
_SCALE = {"float": 2.0**64, "double": 2.0**128}
_UNDERFLOW = {"float": -150, "double": -1075}


def _div_scale(b: Builder, which: Value, denominator: Value, numerator: Value) -> tuple[Value, Value]:
    scalar = scalar_of(which.type)
    up, down, none = (const(which.type, scale) for scale in (_SCALE[scalar], 1 / _SCALE[scalar], 1.0))
    is_denominator = b.icmp("eq", bits(b, which), bits(b, denominator))
    below, above = exponent(b, denominator), exponent(b, numerator)
    apart = b.two("sub", above, below)

    def holds(predicate: str, value: Value, number: int) -> Value:
        return b.icmp(predicate, value, const(value.type, number))

    far, near_zero = holds("sge", apart, _FAR[scalar]), holds("sle", apart, -_FAR[scalar])
    subnormal = holds("eq", below, 0)
    # The first case that holds decides, so it is chosen last.
    scale = b.select(holds("sle", above, _TINY[scalar]), up, none)
    scale = b.select(near_zero, b.select(is_denominator, none, up), scale)
    inverse = b.select(b.two("and", near_zero, negated(b, is_denominator)), none, down)
    scale = b.select(holds("sge", below, _HUGE[scalar]), inverse, scale)
    scale = b.select(subnormal, up, scale)
    scale = b.select(far, b.select(is_denominator, up, none), scale)
    undo = b.two("or", far, b.two("and", near_zero, negated(b, subnormal)))
    scaled = bits(b, b.two("fmul", which, scale))
    zero = b.two("or", is_size(b, "eq", denominator, 0), is_size(b, "eq", numerator, 0))
    return b.cast("bitcast", b.select(zero, quiet_nan(which), scaled), scalar), undo


def _fmas_f32(b: Builder, x: Value, y: Value, z: Value, undo: Value) -> Value:
    large = is_size(b, "sge", z, 128 << 23)
    kind = like(z.type, "double")
    scale = b.select(large, const(kind, 2.0**64), const(kind, 2.0**-64))
    scale = b.select(undo, scale, const(kind, 1.0))
    x, y, z = (b.cast("fpext", value, "double") for value in (x, y, z))
    total = sum_to_odd(b, b.two("fmul", x, y), z)  # products of float32 are exact
    return b.cast("fptrunc", b.two("fmul", total, scale), "float")


def _fmas_f64(b: Builder, x: Value, y: Value, z: Value, undo: Value) -> Value:
    """What becomes subnormal is rounded once, too: where the second rounding met a tie, the first one's error decides."""
    large = is_size(b, "sge", z, 1024 << 52)
    scale = b.select(large, const(z.type, 2.0**128), const(z.type, 2.0**-128))
    scale = b.select(undo, scale, const(z.type, 1.0))
    total = fma(b, x, y, z)
    result = b.two("fmul", total, scale)
    rest = b.two("fsub", total, with_float(b, "fmul", result, 2.0**128))
    tie = b.fcmp("oeq", magnitude(b, rest), const(rest.type, 2.0 ** (128 - 1075)))
    error = _error_of_fma(b, x, y, z, total)
    further = b.select(
        compare_to(b, "ogt", rest, 0.0), compare_to(b, "ogt", error, 0.0), compare_to(b, "olt", error, 0.0)
    )
    wrong = b.two("and", b.two("and", undo, is_size(b, "slt", result, 1 << 52)), b.two("and", tie, further))
    step = b.cast("bitcast", with_int(b, "or", sign(b, rest), 1), "double")
    return b.select(wrong, b.two("fadd", result, step), result)


def _error_of_fma(b: Builder, x: Value, y: Value, z: Value, total: Value) -> Value:
    """A number of the sign of x * y + z - total, 0 if that is, for a normal total below 2**-890 (Boldo and Muller, Exact
    and approximated error of the FMA, 2011). All is scaled so that no product's error is lost."""
    up = const(z.type, 2.0**512)
    x_is_less = b.icmp("slt", size(b, x), size(b, y))
    less, more = b.select(x_is_less, x, y), b.select(x_is_less, y, x)
    less, z, total = (b.two("fmul", value, up) for value in (less, z, total))
    product = b.two("fmul", less, more)
    # Too small for that even so, all that matters is that it is there.
    lost = b.two("and", is_size(b, "eq", product, 0), is_size(b, "ne", x, 0))
    lost = b.two("and", lost, is_size(b, "ne", y, 0))
    least = b.cast("bitcast", with_int(b, "or", bits(b, product), 1), "double")
    low = fma(b, less, more, b.fneg(product))
    product, low = b.select(lost, least, product), b.select(lost, const(low.type, 0.0), low)
    middle, rest = two_sum(b, z, low)
    high, error = two_sum(b, product, middle)
    return b.two("fadd", b.two("fadd", b.two("fsub", high, total), error), rest)


def _div_fixup(b: Builder, quotient: Value, denominator: Value, numerator: Value) -> Value:
    form, scalar = format_of(quotient), scalar_of(quotient.type)
    value = size(b, quotient)
    zero, infinity = const(value.type, 0), const(value.type, form.infinity)
    if scalar != "half":
        value = b.select(is_nan(b, quotient), infinity, value)
        apart = b.two("sub", exponent(b, numerator), exponent(b, denominator))
        value = b.select(b.icmp("slt", apart, const(apart.type, _UNDERFLOW[scalar])), zero, value)
    below_zero, above_zero = is_size(b, "eq", denominator, 0), is_size(b, "eq", numerator, 0)
    below_infinite = is_size(b, "eq", denominator, form.infinity)
    above_infinite = is_size(b, "eq", numerator, form.infinity)
    value = b.select(b.two("or", below_infinite, above_zero), zero, value)
    value = b.select(b.two("or", below_zero, above_infinite), infinity, value)
    value = b.two("or", value, b.two("xor", sign(b, denominator), sign(b, numerator)))
    invalid = b.two("or", b.two("and", below_zero, above_zero), b.two("and", below_infinite, above_infinite))
    value = b.select(b.two("or", invalid, compare(b, "uno", denominator, numerator)), quiet_nan(quotient), value)
    return b.cast("bitcast", value, scalar)


LOWERED: dict[str, Lower] = {
    "v_div_scale_f32": _div_scale,
    "v_div_scale_f64": _div_scale,
    "v_div_fmas_f32": _fmas_f32,
    "v_div_fmas_f64": _fmas_f64,
    **{f"v_div_fixup_{kind}": _div_fixup for kind in ("f32", "f64", "f16", "legacy_f16")},
}
