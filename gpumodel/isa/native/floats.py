"""Lowering of gpumodel/isa/floats.py, and of what has floats of compare.py and packed.py: the same results, bit for bit.

The host's instructions round as the interpreter does: a fused multiply-add once, half precision after float32."""

from __future__ import annotations

from collections.abc import Callable

from gpumodel.isa.native import convert, division, floats8, scales
from gpumodel.isa.native.floatbits import (
    bits,
    clipped,
    compare,
    compare_to,
    exponent,
    fma,
    format_of,
    is_nan,
    is_signalling,
    is_size,
    magnitude,
    power_of_two,
    quiet_nan,
    quieted,
    sum_to_odd,
    wide,
    with_float,
    with_int,
)
from gpumodel.isa.native.ir import Builder, Lower, Value, const, like, scalar_of

Pair = tuple[Value, Value]


def _in_f32(run: Lower) -> Lower:
    """Half precision: computed in float32, rounded."""
    return lambda b, *halves: b.cast("fptrunc", run(b, *(wide(b, half) for half in halves)), "half")


def _two(opcode: str) -> Lower:
    return lambda b, x, y: b.two(opcode, x, y)


def _call(intrinsic: str) -> Lower:
    return lambda b, *values: b.call(intrinsic, values[0].type, values)


def fma_f16(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """The product is exact in float32."""
    product = b.two("fmul", wide(b, x), wide(b, y))
    return b.cast("fptrunc", sum_to_odd(b, product, wide(b, z)), "half")


_FMA = {"f16": fma_f16, "f32": fma, "f64": fma}

# ---- minimum and maximum


def _picking(less: str, zeros: str) -> tuple[Lower, Lower]:
    """Two: for any operands, and for those that are no NaN. `zeros` of two signs, or the same bits twice, are combined so."""

    def of_numbers(b: Builder, x: Value, y: Value) -> Value:
        first = b.select(compare(b, less, x, y), x, y)
        both = b.two(zeros, bits(b, x), bits(b, y))
        value = b.select(compare(b, "oeq", x, y), both, bits(b, first))
        return b.cast("bitcast", value, scalar_of(x.type))

    def of_any(b: Builder, x: Value, y: Value) -> Value:
        # A comparison with NaN fails, and so the second is chosen.
        value = b.select(is_nan(b, y), bits(b, x), bits(b, of_numbers(b, x, y)))
        signalling = b.two("or", is_signalling(b, x), is_signalling(b, y))
        return b.cast("bitcast", b.select(signalling, quiet_nan(x), value), scalar_of(x.type))

    return of_any, of_numbers


minimum, _lesser = _picking("olt", "or")
maximum, _greater = _picking("ogt", "and")


def _three(pick: Lower) -> Lower:
    return lambda b, x, y, z: pick(b, pick(b, x, y), z)


def _med3(b: Builder, x: Value, y: Value, z: Value) -> Value:
    highest = _three(_greater)(b, x, y, z)
    middle = b.select(compare(b, "oeq", highest, y), _greater(b, x, z), _greater(b, x, y))
    middle = b.select(compare(b, "oeq", highest, x), _greater(b, y, z), middle)
    nan = b.two("or", compare(b, "uno", x, y), is_nan(b, z))
    return b.select(nan, _three(minimum)(b, x, y, z), middle)


def _propagating(pick: Lower) -> Lower:
    def run(b: Builder, x: Value, y: Value) -> Value:
        value = b.select(compare(b, "uno", x, y), quiet_nan(x), bits(b, pick(b, x, y)))
        return b.cast("bitcast", value, scalar_of(x.type))

    return run


_minimum3, _maximum3 = _three(_propagating(_lesser)), _three(_propagating(_greater))

# ---- parts of a float


def _fract_below(below_one: float) -> Lower:
    def run(b: Builder, x: Value) -> Value:
        rest = b.two("fsub", x, b.call("floor", x.type, [x]))
        return b.select(compare_to(b, "ogt", rest, below_one), const(x.type, below_one), rest)

    return run


def _ldexp_f32(b: Builder, x: Value, power: Value) -> Value:
    scale = power_of_two(b, clipped(b, power, -300, 300), "double")
    return b.cast("fptrunc", b.two("fmul", b.cast("fpext", x, "double"), scale), "float")


def _ldexp_f16(b: Builder, x: Value, power: Value) -> Value:
    scale = power_of_two(b, clipped(b, power, -60, 60), "float")
    return b.cast("fptrunc", b.two("fmul", wide(b, x), scale), "half")


def _ldexp_f64(b: Builder, x: Value, power: Value) -> Value:
    """By up to three factors. A step down leaves 53 bits for the last, so only that rounds, or nothing is left at all."""
    power = clipped(b, power, -2200, 2200)
    for _ in range(2):
        low = b.icmp("slt", power, const(power.type, -1022))
        high = b.icmp("sgt", power, const(power.type, 1023))
        none = const(power.type, 0)
        step = b.select(low, const(power.type, -969), b.select(high, const(power.type, 1023), none))
        x = b.two("fmul", x, power_of_two(b, step, "double"))
        power = b.two("sub", power, step)
    return b.two("fmul", x, power_of_two(b, power, "double"))


def _normalized(b: Builder, x: Value) -> tuple[Value, Value]:
    """A subnormal scaled to be none, and how many powers of two that took."""
    form = format_of(x)
    more = form.fraction + 1
    small = is_size(b, "slt", x, 1 << form.fraction)
    scaled = b.select(small, with_float(b, "fmul", x, 2.0**more), x)
    took = b.select(small, const(like(x.type, form.bits), more), const(like(x.type, form.bits), 0))
    return scaled, took


def _no_parts(b: Builder, x: Value) -> Value:
    """Zero, infinity or NaN."""
    return b.two("or", is_size(b, "eq", x, 0), is_size(b, "sge", x, format_of(x).infinity))


def _frexp_exp(result: str) -> Lower:
    def run(b: Builder, x: Value) -> Value:
        x = wide(b, x)
        scaled, took = _normalized(b, x)
        power = b.two("sub", with_int(b, "sub", exponent(b, scaled), format_of(x).bias - 1), took)
        power = b.select(_no_parts(b, x), const(power.type, 0), power)
        return b.cast("trunc", power, result)

    return run


def _frexp_mant(b: Builder, x: Value) -> Value:
    form = format_of(x)
    scaled, _ = _normalized(b, x)
    kept = with_int(b, "and", bits(b, scaled), form.magnitude + 1 | (1 << form.fraction) - 1)
    half = with_int(b, "or", kept, form.bias - 1 << form.fraction)
    return b.select(_no_parts(b, x), quieted(b, x), b.cast("bitcast", half, scalar_of(x.type)))


def _class(b: Builder, x: Value, wanted: Value) -> Value:
    """See floats._class: the place of the value's class among the bits of `wanted`."""
    form = format_of(x)

    def number(value: int) -> Value:
        return const(wanted.type, value)

    def rank_from(least: int) -> Value:
        return b.cast("zext", is_size(b, "sge", x, least), "i32")

    rank = b.two("add", rank_from(1), rank_from(1 << form.fraction))
    rank = b.two("add", rank, rank_from(form.infinity))
    negative = b.icmp("slt", bits(b, x), const(like(x.type, form.bits), 0))
    place = b.select(negative, b.two("sub", number(5), rank), b.two("add", number(6), rank))
    quiet = b.cast("zext", is_size(b, "sge", x, form.infinity | form.quiet), "i32")
    place = b.select(is_size(b, "sgt", x, form.infinity), quiet, place)
    return b.cast("trunc", b.two("lshr", wanted, place), "i1")


# ---- products


def _mad_f16(b: Builder, x: Value, y: Value, z: Value) -> Value:
    product = _in_f32(_two("fmul"))(b, x, y)
    return _in_f32(_two("fadd"))(b, product, z)


def _mul_legacy(b: Builder, x: Value, y: Value) -> Value:
    zero = b.two("or", compare_to(b, "oeq", x, 0.0), compare_to(b, "oeq", y, 0.0))
    return b.select(zero, const(x.type, 0.0), b.two("fmul", x, y))


# ---- cube maps: see floats._by_axis


def _by_axis(b: Builder, axes: tuple[Value, Value, Value], if_z: Value, if_y: Value, if_x: Value) -> Value:
    x, y, z = (magnitude(b, axis) for axis in axes)
    on_z = b.two("and", b.fcmp("oge", z, x), b.fcmp("oge", z, y))
    return b.select(on_z, if_z, b.select(b.fcmp("oge", y, x), if_y, if_x))


def _by_sign(b: Builder, axis: Value, negative: Value, other: Value) -> Value:
    return b.select(compare_to(b, "olt", axis, 0.0), negative, other)


def _cube_id(b: Builder, x: Value, y: Value, z: Value) -> Value:
    faces = [_by_sign(b, axis, const(x.type, face + 1), const(x.type, face)) for axis, face in ((z, 4), (y, 2), (x, 0))]
    return _by_axis(b, (x, y, z), *faces)


def _cube_sc(b: Builder, x: Value, y: Value, z: Value) -> Value:
    return _by_axis(b, (x, y, z), _by_sign(b, z, b.fneg(x), x), x, _by_sign(b, x, z, b.fneg(z)))


def _cube_tc(b: Builder, x: Value, y: Value, z: Value) -> Value:
    return _by_axis(b, (x, y, z), b.fneg(y), _by_sign(b, y, b.fneg(z), z), b.fneg(y))


def _cube_ma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    return _by_axis(b, (x, y, z), *(with_float(b, "fmul", axis, 2.0) for axis in (z, y, x)))


# ---- pairs


def _each(run: Lower) -> Lower:
    """The same on both halves."""
    return lambda b, *pairs: tuple(run(b, *(pair[half] for pair in pairs)) for half in range(2))


def _move(b: Builder, x: Pair, y: Pair) -> Pair:
    return x[0], y[0]


def _products(b: Builder, x: Pair, y: Pair) -> list[Value]:
    widen = convert.bf16_to_f32 if scalar_of(x[0].type) == "i16" else wide
    return [b.two("fmul", widen(b, one), widen(b, other)) for one, other in zip(x, y, strict=True)]


def _dot2_in_turn(b: Builder, x: Pair, y: Pair, start: Value) -> Value:
    low, high = _products(b, x, y)
    return b.two("fadd", b.two("fadd", start, low), high)


def _dot2_at_once(b: Builder, x: Pair, y: Pair, start: Value) -> Value:
    low, high = _products(b, x, y)
    return b.two("fadd", b.two("fadd", low, high), start)


def _mix_into(high: bool) -> Lower:
    def run(b: Builder, x: Value, y: Value, z: Value, old: Value) -> Value:
        return convert.into_half(b, old, b.cast("fptrunc", fma(b, x, y, z), "half"), high=high)

    return run


# ---- tables

_ORDER = {"lt": "olt", "eq": "oeq", "le": "ole", "gt": "ogt", "ge": "oge", "lg": "one", "o": "ord", "u": "uno"}
_NOT = {"nge": "ult", "nlg": "ueq", "ngt": "ule", "nle": "ugt", "neq": "une", "nlt": "uge"}
_ROUND = {"trunc": "trunc", "ceil": "ceil", "floor": "floor", "rndne": "rint"}


def _comparing(predicate: str) -> Lower:
    return lambda b, x, y: compare(b, predicate, x, y)


def _always(value: bool) -> Lower:
    return lambda b, x, y: const(like(x.type, "i1"), value)


def _compares(kind: str) -> dict[str, Lower]:
    relations: dict[str, Lower] = {name: _comparing(predicate) for name, predicate in (_ORDER | _NOT).items()}
    relations |= {"f": _always(False), "tru": _always(True), "class": _class}
    return {f"{prefix}_{name}_{kind}": run for prefix in ("v_cmp", "v_cmpx") for name, run in relations.items()}


def _arithmetic(kind: str) -> dict[str, Lower]:
    wrap: Callable[[Lower], Lower] = _in_f32 if kind == "f16" else lambda run: run
    table: dict[str, Lower] = {
        **{f"v_{name}_{kind}": wrap(_two(f"f{name}")) for name in ("add", "mul")},
        f"v_min_{kind}": minimum,
        f"v_max_{kind}": maximum,
        f"v_fma_{kind}": _FMA[kind],
        f"v_frexp_mant_{kind}": wrap(_frexp_mant),
        **{f"v_{name}_{kind}": wrap(_call(run)) for name, run in _ROUND.items()},
        **_compares(kind),
    }
    if kind != "f64":
        table |= {
            f"v_sub_{kind}": wrap(_two("fsub")),
            f"v_subrev_{kind}": wrap(lambda b, x, y: b.two("fsub", y, x)),
            f"v_min3_{kind}": _three(minimum),
            f"v_max3_{kind}": _three(maximum),
            f"v_med3_{kind}": _med3,
        }
    return table


_FLOATS: dict[str, Lower] = {
    **_arithmetic("f32"),
    **_arithmetic("f64"),
    **_arithmetic("f16"),
    "v_mul_legacy_f32": _mul_legacy,
    **dict.fromkeys(("v_fmac_f32", "v_fmaak_f32", "v_fmamk_f32", "v_fmac_f64", "v_fma_mix_f32"), fma),
    **{f"v_{name}_f16": _mad_f16 for name in ("mad", "mad_legacy", "mac", "madak", "madmk")},
    "v_fma_legacy_f16": fma_f16,
    "v_fract_f32": _fract_below(1 - 2.0**-24),
    "v_fract_f64": _fract_below(1 - 2.0**-53),
    "v_fract_f16": _in_f32(_fract_below(1 - 2.0**-11)),
    "v_ldexp_f32": _ldexp_f32,
    "v_ldexp_f64": _ldexp_f64,
    "v_ldexp_f16": _ldexp_f16,
    "v_frexp_exp_i32_f32": _frexp_exp("i32"),
    "v_frexp_exp_i32_f64": _frexp_exp("i32"),
    "v_frexp_exp_i16_f16": _frexp_exp("i16"),
    "v_cubeid_f32": _cube_id,
    "v_cubesc_f32": _cube_sc,
    "v_cubetc_f32": _cube_tc,
    "v_cubema_f32": _cube_ma,
    "v_minimum3_f32": _minimum3,
    "v_maximum3_f32": _maximum3,
}

_PACKED: dict[str, Lower] = {
    "v_pk_add_f32": _each(_two("fadd")),
    "v_pk_mul_f32": _each(_two("fmul")),
    "v_pk_fma_f32": _each(fma),
    "v_pk_add_f16": _each(_in_f32(_two("fadd"))),
    "v_pk_mul_f16": _each(_in_f32(_two("fmul"))),
    "v_pk_min_f16": _each(minimum),
    "v_pk_max_f16": _each(maximum),
    "v_pk_fma_f16": _each(fma_f16),
    "v_pk_fmac_f16": _each(fma_f16),
    "v_pk_minimum3_f16": _each(_minimum3),
    "v_pk_maximum3_f16": _each(_maximum3),
    "v_pk_mov_b32": _move,
    "v_pack_b32_f16": convert.joined,
    "v_dot2_f32_f16": _dot2_in_turn,
    "v_dot2c_f32_f16": _dot2_in_turn,
    "v_dot2_f32_bf16": _dot2_at_once,
    "v_dot2c_f32_bf16": _dot2_in_turn,
    "v_fma_mixlo_f16": _mix_into(high=False),
    "v_fma_mixhi_f16": _mix_into(high=True),
}

LOWERED: dict[str, Lower] = {**_FLOATS, **division.LOWERED, **_PACKED, **convert.LOWERED}
LOWERED_GFX942: dict[str, Lower] = floats8.LOWERED_GFX942
LOWERED_GFX950: dict[str, Lower] = {**floats8.LOWERED_GFX950, **scales.LOWERED}
