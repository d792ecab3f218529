"""Floating-point instructions against exact arithmetic (fractions), Python's floats and the rules of IEEE 754."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gpumodel.isa.op import Array
from gpumodel.isa.valu import VALU, valu
from tests.isa_operands import dtype, operands

INF, NAN = math.inf, math.nan


@dataclass(frozen=True)
class Format:
    fraction: int
    lowest: int  # exponent of the smallest normal
    highest: int


FORMATS = {"f16": Format(10, -14, 15), "f32": Format(23, -126, 127), "f64": Format(52, -1022, 1023)}


def rounded(exact: Fraction, kind: str) -> float:
    """To nearest even, by integers alone."""
    form = FORMATS[kind]
    if exact == 0:
        return 0.0
    size = abs(exact)
    power = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** power > size:
        power -= 1
    unit = Fraction(2) ** (max(power, form.lowest) - form.fraction)
    steps = round(size / unit)  # Python rounds halves to even
    value = steps * unit
    if value >= Fraction(2) ** (form.highest + 1):
        return INF if exact > 0 else -INF
    return float(value) if exact > 0 else -float(value)


def run(name: str, *sources: Any, table: Any = VALU, **wants: int) -> Any:
    with np.errstate(all="ignore"):
        return table[name].run(*sources, **wants)


def lanes(word: str, values: list[Any]) -> Array:
    return np.array([values], dtype(word))


def same(got: Any, expected: float) -> bool:
    if math.isnan(expected):
        return math.isnan(got)
    return bool(got == expected) and math.copysign(1, got) == math.copysign(1, expected)


def _check(name: str, function: Callable[..., float], waves: int = 8, seed: int = 1) -> None:
    op = VALU[name]
    sources = operands(op, waves, seed)
    got = run(name, *sources)
    assert got.dtype == dtype(str(op.result))
    for *lane, result in zip(*(s.reshape(-1).tolist() for s in (*sources, got)), strict=True):
        expected = function(*lane)
        assert same(result, expected), f"{name}{tuple(lane)} is {result!r}, expected {expected!r}"


def _exactly(kind: str, exact: Callable[..., Fraction], special: Callable[..., float]) -> Callable[..., float]:
    """One rounding of the exact result; infinities, NaN and zeros (their sign) as Python's floats have them."""

    def function(*operands: float) -> float:
        if all(math.isfinite(x) for x in operands):
            value = exact(*(Fraction(x) for x in operands))
            if value != 0:
                return rounded(value, kind)
        return special(*operands)

    return function


def _multiply_add(a: float, b: float, c: float) -> float:
    """For special operands only: a product that leaves the range must not become an infinity."""
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return a * b + c
    return math.copysign(float(bool(a and b)), math.copysign(1, a) * math.copysign(1, b)) + c


ONE_ROUNDING: dict[str, tuple[Callable[..., Fraction], Callable[..., float]]] = {
    "v_add": (lambda a, b: a + b, lambda a, b: a + b),
    "v_sub": (lambda a, b: a - b, lambda a, b: a - b),
    "v_subrev": (lambda a, b: b - a, lambda a, b: b - a),
    "v_mul": (lambda a, b: a * b, lambda a, b: a * b),
    "v_fma": (lambda a, b, c: a * b + c, _multiply_add),
    "v_fmac": (lambda a, b, c: a * b + c, _multiply_add),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ONE_ROUNDING)
def test_arithmetic_random_and_corner_operands_are_rounded_once(name: str, kind: str) -> None:
    if f"{name}_{kind}" not in VALU:
        pytest.skip("there is no such instruction")
    exact, special = ONE_ROUNDING[name]
    _check(f"{name}_{kind}", _exactly(kind, exact, special))


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        (1 + 2.0**-23, 1 + 2.0**-23, -(2.0**-60)),  # a product between two float32, and a hair less
        (1 + 2.0**-12, 1 + 2.0**-12, 2.0**-80),
        (1 + 2.0**-12, 1 + 2.0**-12, -(2.0**-80)),
        (2.0**-75, 2.0**-75, 2.0**-149),  # half of the smallest subnormal, and more
        (-(2.0**-75), 2.0**-75, 2.0**-149),
        (2.0**64, 2.0**63, -(2.0**100)),
    ],
)
def test_fma_f32_where_rounding_twice_would_differ_rounds_once(a: float, b: float, c: float) -> None:
    got = run("v_fma_f32", lanes("f32", [a]), lanes("f32", [b]), lanes("f32", [c]))

    assert got[0, 0] == rounded(Fraction(a) * Fraction(b) + Fraction(c), "f32")


def test_fma_f64_near_the_ends_of_the_range_rounds_once() -> None:
    random = np.random.default_rng(8)
    powers = [-1074, -1030, -1022, -600, -540, -500, 0, 500, 512, 1000, 1023]
    a, b, c = (
        np.ldexp(random.uniform(1, 2, (1, 600)), random.choice(powers, (1, 600)).astype(np.int32)) for _ in range(3)
    )
    with np.errstate(all="ignore"):
        c[0, ::2] = -(a * b)[0, ::2]

    got = run("v_fma_f64", a, b, c)

    for x, y, z, result in zip(*(v[0].tolist() for v in (a, b, c, got)), strict=True):
        expected = rounded(Fraction(x) * Fraction(y) + Fraction(z), "f64") if math.isfinite(z) else z
        assert result == expected


def test_packed_each_half_is_computed_on_its_own() -> None:
    for name, single in (("v_pk_add_f32", "v_add_f32"), ("v_pk_mul_f32", "v_mul_f32"), ("v_pk_fma_f32", "v_fma_f32"),
                         ("v_pk_add_f16", "v_add_f16"), ("v_pk_fma_f16", "v_fma_f16"), ("v_pk_max_f16", "v_max_f16"),
                         ("v_pk_mad_u16", "v_mad_u16"), ("v_pk_lshlrev_b16", "v_lshlrev_b16"), ("v_pk_min_i16", "v_min_i16"),
                         ("v_pk_ashrrev_i16", "v_ashrrev_i16"), ("v_pk_mul_lo_u16", "v_mul_lo_u16")):  # fmt: skip
        sources = operands(VALU[name], 1, 6)

        low, high = run(name, *sources)

        assert low.tobytes() == run(single, *(pair[0] for pair in sources)).tobytes()
        assert high.tobytes() == run(single, *(pair[1] for pair in sources)).tobytes()


# --- minimum and maximum ---


def _f32(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        ("v_min_f32", 0x00000000, 0x80000000, 0x80000000),  # -0 is less than +0
        ("v_max_f32", 0x80000000, 0x00000000, 0x00000000),
        ("v_min_f32", 0x7FC00001, 0x3F800000, 0x3F800000),  # a quiet NaN loses
        ("v_max_f32", 0x3F800000, 0xFFC00001, 0x3F800000),
        ("v_min_f32", 0x7F800001, 0x3F800000, 0x7FC00001),  # a signalling one is quieted and wins
        ("v_max_f32", 0x3F800000, 0x7F800005, 0x7FC00005),
        ("v_min_f32", 0x7F800001, 0x7FC00009, 0x7FC00001),
        ("v_max_f32", 0xFF800000, 0x80000001, 0x80000001),
        ("v_min_f32", 0x00000001, 0x00800000, 0x00000001),
    ],
)
def test_minimum_and_maximum_of_special_values(name: str, a: int, b: int, expected: int) -> None:
    x, y = (np.array([[bits]], np.uint32).view(np.float32) for bits in (a, b))

    assert hex(run(name, x, y).view(np.uint32)[0, 0]) == hex(expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_minimum_and_maximum_of_ordinary_values_are_pythons(kind: str) -> None:
    for name, pick in (("v_min", min), ("v_max", max)):

        def expected(a: float, b: float, pick: Any = pick) -> float:
            if math.isnan(a) or math.isnan(b):
                return NAN if math.isnan(a) and math.isnan(b) else b if math.isnan(a) else a
            return float(pick(a, b, key=lambda x: (x, math.copysign(1, x))))

        sources = operands(VALU[f"{name}_{kind}"], 8, 2)
        got = run(f"{name}_{kind}", *sources)
        for a, b, result in zip(*(v.reshape(-1).tolist() for v in (*sources, got)), strict=True):
            # signalling NaN have their own test; a Python float cannot tell them
            assert same(result, expected(a, b)) or (math.isnan(result) and (math.isnan(a) or math.isnan(b)))


@pytest.mark.parametrize("kind", ["f16", "f32"])
def test_median_of_three_is_the_middle_one(kind: str) -> None:
    sources = operands(VALU[f"v_med3_{kind}"], 8, 4)

    got = run(f"v_med3_{kind}", *sources)

    for a, b, c, result in zip(*(v.reshape(-1).tolist() for v in (*sources, got)), strict=True):
        if not any(math.isnan(x) for x in (a, b, c)):
            assert result == sorted((a, b, c))[1]


def test_median_with_a_nan_is_the_least_of_the_others() -> None:
    got = run("v_med3_f32", lanes("f32", [NAN, 3, 1]), lanes("f32", [3, NAN, 2]), lanes("f32", [2, 2, NAN]))

    assert got[0].tolist() == [2, 2, 1]


def test_minimum3_and_maximum3_a_nan_is_the_result() -> None:
    got = run("v_maximum3_f32", lanes("f32", [NAN, 3, -0.0]), lanes("f32", [3, 5, 0.0]), lanes("f32", [2, 4, -1]))

    assert math.isnan(got[0, 0])
    assert got[0, 1:].tolist() == [5, 0.0]


# --- parts of a float ---


def _class(value: float, quiet: bool) -> int:
    if math.isnan(value):
        return 1 if quiet else 0
    rank = 3 if math.isinf(value) else 0 if value == 0 else 2
    return 5 - rank if math.copysign(1, value) < 0 else 6 + rank


@pytest.mark.parametrize("kind", FORMATS)
def test_class_each_class_has_its_bit(kind: str) -> None:
    info = FORMATS[kind]
    subnormal = 2.0 ** (info.lowest - info.fraction)
    values = [-INF, -1.0, -subnormal, -0.0, 0.0, subnormal, 1.0, INF]
    size = dtype(kind).itemsize
    infinity = int(lanes(kind, [INF]).view(f"u{size}")[0, 0])
    nans = np.array([[infinity | 1, infinity | 1 << info.fraction - 1]], f"u{size}").view(dtype(kind))
    everything = np.concatenate([nans, lanes(kind, values)], axis=1)

    for bit in range(10):
        got = run(f"v_cmp_class_{kind}", everything, np.full(everything.shape, 1 << bit, np.uint32))

        assert got[0].tolist() == [i == bit for i in range(10)]


@pytest.mark.parametrize("kind", FORMATS)
def test_frexp_and_ldexp_are_pythons(kind: str) -> None:
    exponent_name = "v_frexp_exp_i16_f16" if kind == "f16" else f"v_frexp_exp_i32_{kind}"
    (values,) = operands(VALU[f"v_frexp_mant_{kind}"], 8, 1)
    mantissa, exponent = run(f"v_frexp_mant_{kind}", values), run(exponent_name, values)

    for value, m, e in zip(*(v.reshape(-1).tolist() for v in (values, mantissa, exponent)), strict=True):
        if math.isfinite(value):
            assert (m, e) == math.frexp(value)
        else:
            assert same(m, value)
            assert e == 0
    powers = (
        np.random.default_rng(3).integers(-1200, 1200, values.shape).astype(dtype("i16" if kind == "f16" else "i32"))
    )
    scaled = run(f"v_ldexp_{kind}", values, powers)
    for value, power, result in zip(*(v.reshape(-1).tolist() for v in (values, powers, scaled)), strict=True):
        expected = rounded(Fraction(value) * Fraction(2) ** power, kind) if math.isfinite(value) and value else value
        assert same(result, expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_rounding_to_whole_numbers_is_pythons(kind: str) -> None:
    for name, function in (("trunc", math.trunc), ("ceil", math.ceil), ("floor", math.floor), ("rndne", round)):
        _check(f"v_{name}_{kind}", lambda x, f=function: math.copysign(f(x), x) if math.isfinite(x) else x, seed=9)


@pytest.mark.parametrize("kind", FORMATS)
def test_fract_is_never_one(kind: str) -> None:
    below_one = 1 - 2.0 ** -(FORMATS[kind].fraction + 1)

    def expected(x: float) -> float:
        return min(rounded(Fraction(x) - math.floor(x), kind), below_one) if math.isfinite(x) else NAN

    _check(f"v_fract_{kind}", expected)


# --- division ---


def _divide_f32(a: Array, b: Array) -> Array:
    """LLVM's sequence for an exact quotient (SIISelLowering.cpp, LowerFDIV32), as it stands there."""
    one = np.ones_like(a)
    d, _ = run("v_div_scale_f32", b, b, a)
    n, undo = run("v_div_scale_f32", a, b, a)
    r = run("v_rcp_f32", d)
    r = run("v_fma_f32", run("v_fma_f32", -d, r, one), r, r)
    q = run("v_mul_f32", n, r)
    q = run("v_fma_f32", run("v_fma_f32", -d, q, n), r, q)
    q = run("v_div_fmas_f32", run("v_fma_f32", -d, q, n), r, q, undo)
    return np.asarray(run("v_div_fixup_f32", q, b, a))


def _divide_f64(a: Array, b: Array) -> Array:
    """The same for float64 (LowerFDIV64)."""
    one = np.ones_like(a)
    d, _ = run("v_div_scale_f64", b, b, a)
    n, undo = run("v_div_scale_f64", a, b, a)
    r = run("v_rcp_f64", d)
    r = run("v_fma_f64", r, run("v_fma_f64", -d, r, one), r)
    r = run("v_fma_f64", r, run("v_fma_f64", -d, r, one), r)
    q = run("v_mul_f64", n, r)
    q = run("v_div_fmas_f64", run("v_fma_f64", -d, q, n), r, q, undo)
    return np.asarray(run("v_div_fixup_f64", q, b, a))


@pytest.mark.parametrize(("kind", "divide"), [("f32", _divide_f32), ("f64", _divide_f64)])
def test_division_by_the_compilers_sequence_is_rounded_once(kind: str, divide: Callable[[Array, Array], Array]) -> None:
    a, b = operands(VALU[f"v_mul_{kind}"], 32, 5)

    with np.errstate(all="ignore"):
        got = divide(a, b)

    for x, y, result in zip(*(v.reshape(-1).tolist() for v in (a, b, got)), strict=True):
        if math.isfinite(x) and math.isfinite(y) and x and y:
            expected = rounded(Fraction(x) / Fraction(y), kind)
            expected = expected or math.copysign(0, math.copysign(1, x) * math.copysign(1, y))
        else:
            with np.errstate(all="ignore"):
                expected = float(np.float64(x) / np.float64(y))
        assert same(result, expected), f"{x!r} / {y!r} is {result!r}, expected {expected!r}"


# pi to 60 digits (any table of constants)
_PI = Fraction(314159265358979323846264338327950288419716939937510582097494, 10**59)


def test_trig_preop_segments_add_up_to_two_over_pi() -> None:
    segments = run("v_trig_preop_f64", np.ones((1, 3)), np.array([[0, 1, 2]], np.uint32))

    total = sum(Fraction(x) for x in segments[0].tolist())

    assert 0 <= 2 / _PI - total < Fraction(1, 2**158)


def test_trig_preop_large_operand_leaves_out_whole_turns() -> None:
    big = np.array([[2.0**200]])

    got = Fraction(run("v_trig_preop_f64", big, np.zeros((1, 1), np.uint32))[0, 0])

    # exponent 1223 is 146 above 1077: the first 146 bits of 2/pi are left out
    assert got == Fraction(int(2 / _PI * 2**199) % 2**53, 2**199)


# --- approximations ---


@pytest.mark.parametrize("kind", ["f16", "f32"])
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("v_rcp", lambda x: 1 / x),
        ("v_sqrt", math.sqrt),
        ("v_rsq", lambda x: 1 / math.sqrt(x)),
        ("v_exp", lambda x: 2.0**x),
        ("v_log", math.log2),
    ],
)
def test_approximation_ordinary_operand_is_within_an_ulp(
    name: str, function: Callable[[float], float], kind: str
) -> None:
    values = np.random.default_rng(1).uniform(0.001, 12, (1, 64)).astype(dtype(kind))

    got = run(f"{name}_{kind}", values)

    for x, result in zip(values[0].tolist(), got[0].tolist(), strict=True):
        assert result == pytest.approx(function(x), rel=2.0 ** -FORMATS[kind].fraction, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("v_rcp_f32", 0.0, INF), ("v_rcp_f32", -0.0, -INF), ("v_rcp_f32", -INF, -0.0), ("v_rcp_f32", 2.0**127, 0.0),
        ("v_rcp_f32", 2.0**-140, INF), ("v_rsq_f32", -1.0, NAN), ("v_rsq_f32", 0.0, INF), ("v_sqrt_f32", -0.0, -0.0),
        ("v_sqrt_f32", -1.0, NAN), ("v_exp_f32", -INF, 0.0), ("v_exp_f32", 128.0, INF), ("v_exp_f32", -127.0, 0.0),
        ("v_log_f32", 0.0, -INF), ("v_log_f32", -1.0, NAN), ("v_log_f32", 2.0**-130, -INF), ("v_log_f32", INF, INF),
        ("v_sin_f32", 0.25, 1.0), ("v_sin_f32", 0.5, 0.0), ("v_cos_f32", 0.5, -1.0), ("v_cos_f32", 300.0, 1.0),
        ("v_sin_f32", INF, NAN), ("v_exp_f16", -24.0, 2.0**-24), ("v_log_f16", 2.0**-24, -24.0),
    ],
)  # fmt: skip
def test_approximation_special_operand(name: str, value: float, expected: float) -> None:
    got = run(name, lanes(name[-3:], [value]))[0, 0]

    assert math.isnan(got) if math.isnan(expected) else got == pytest.approx(expected, abs=1e-7)


# --- conversions ---


def _to_int(low: int, high: int) -> Callable[[float], float]:
    return lambda x: 0 if math.isnan(x) else low if x <= low else high if x >= high else math.trunc(x)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("v_cvt_i32_f32", _to_int(-(2**31), 2**31 - 1)),
        ("v_cvt_u32_f32", _to_int(0, 2**32 - 1)),
        ("v_cvt_i32_f64", _to_int(-(2**31), 2**31 - 1)),
        ("v_cvt_u32_f64", _to_int(0, 2**32 - 1)),
        ("v_cvt_i16_f16", _to_int(-(2**15), 2**15 - 1)),
        ("v_cvt_u16_f16", _to_int(0, 2**16 - 1)),
        ("v_cvt_flr_i32_f32", lambda x: _to_int(-(2**31), 2**31 - 1)(math.floor(x) if math.isfinite(x) else x)),
        ("v_cvt_f32_i32", lambda x: rounded(Fraction(x), "f32")),
        ("v_cvt_f32_u32", lambda x: rounded(Fraction(x), "f32")),
        ("v_cvt_f16_i16", lambda x: rounded(Fraction(x), "f16")),
        ("v_cvt_f16_u16", lambda x: rounded(Fraction(x), "f16")),
        ("v_cvt_f64_i32", float),
        ("v_cvt_f64_u32", float),
        ("v_cvt_f64_f32", float),
        ("v_cvt_f32_f16", float),
        ("v_cvt_f32_f64", lambda x: rounded(Fraction(x), "f32") if math.isfinite(x) and x else x),
        ("v_cvt_f16_f32", lambda x: rounded(Fraction(x), "f16") if math.isfinite(x) and x else x),
        ("v_cvt_f32_ubyte0", lambda x: float(x & 0xFF)),
        ("v_cvt_f32_ubyte1", lambda x: float(x >> 8 & 0xFF)),
        ("v_cvt_f32_ubyte2", lambda x: float(x >> 16 & 0xFF)),
        ("v_cvt_f32_ubyte3", lambda x: float(x >> 24)),
        ("v_cvt_off_f32_i4", lambda x: ((x & 7) - (x & 8)) / 16),
    ],
)
def test_conversion_is_pythons(name: str, function: Callable[..., float]) -> None:
    _check(name, function, seed=12)


def test_conversions_of_a_signalling_nan_quiet_it() -> None:
    signalling = np.array([[0x7F800001, 0xFF812345]], np.uint32).view(np.float32)

    half = run("v_cvt_f16_f32", signalling).view(np.uint16)

    assert all(bits & 0x7E00 == 0x7E00 for bits in half[0].tolist())
    wide = run("v_cvt_f32_f16", np.array([[0x7C01]], np.uint16).view(np.float16)).view(np.uint32)
    assert wide[0, 0] & 0x7FC00000 == 0x7FC00000


def test_pkrtz_never_rounds_away_from_zero() -> None:
    values = np.random.default_rng(2).standard_normal((1, 500)).astype(np.float32) * np.float32(3000)
    values[0, :4] = [1e9, -1e9, INF, 65519.0]

    packed = run("v_cvt_pkrtz_f16_f32", values, -values)

    halves = (packed & np.uint32(0xFFFF)).astype(np.uint16).view(np.float16)[0].astype(float)
    assert halves[:4].tolist() == [65504, -65504, INF, 65504]
    for x, half in zip(values[0, 4:].tolist(), halves[4:].tolist(), strict=True):
        assert abs(half) <= abs(x)
        assert abs(float(np.nextafter(np.float16(half), np.float16(math.copysign(INF, x))))) > abs(x)


def test_bf16_is_the_upper_half_rounded_to_nearest_even() -> None:
    bits = np.array([[0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7F800001, 0x00018000]], np.uint32)

    packed = run("v_cvt_pk_bf16_f32", bits.view(np.float32), bits.view(np.float32))

    assert [hex(word & 0xFFFF) for word in packed[0].tolist()] == [
        "0x3f80",
        "0x3f82",
        "0x3f81",
        "0x7f80",
        "0x7fc0",
        "0x2",
    ]


def test_normalized_conversions_fill_the_whole_range() -> None:
    values = lanes("f32", [0.0, 1.0, -1.0, 2.0, -2.0, NAN, 0.5])

    signed = run("v_cvt_pknorm_i16_f32", values, values) & np.uint32(0xFFFF)
    unsigned = run("v_cvt_pknorm_u16_f32", values, values) >> np.uint32(16)

    assert signed.astype(np.uint16).view(np.int16)[0].tolist() == [0, 32767, -32767, 32767, -32767, 0, 16384]
    assert unsigned[0].tolist() == [0, 65535, 0, 65535, 0, 0, 32768]


# --- small floats ---


def _small_value(code: int, exponent: int, fraction: int, bias: int) -> float:
    field, rest = code >> fraction & (1 << exponent) - 1, code & (1 << fraction) - 1
    size = rest * 2.0 ** (1 - bias - fraction) if field == 0 else (1 + rest / 2**fraction) * 2.0 ** (field - bias)
    return -size if code >> (exponent + fraction) else size


@pytest.mark.parametrize(
    ("target", "name", "form", "nan", "infinite"),
    [
        ("gfx942", "fp8", (4, 3, 8), {0x80}, set()),
        ("gfx942", "bf8", (5, 2, 16), {0x80}, set()),
        ("gfx950", "fp8", (4, 3, 7), {0x7F, 0xFF}, set()),
        ("gfx950", "bf8", (5, 2, 15), {0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF}, {0x7C, 0xFC}),
    ],
)
def test_fp8_every_code_has_its_value_and_every_value_the_nearest_code(
    target: str, name: str, form: tuple[int, int, int], nan: set[int], infinite: set[int]
) -> None:
    table = valu(target)
    codes = np.arange(256, dtype=np.uint32).reshape(1, -1)
    values = run(f"v_cvt_f32_{name}", codes, table=table)[0].tolist()
    finite = {code: _small_value(code, *form) for code in range(256) if code not in nan | infinite}
    assert {code for code, x in enumerate(values) if math.isnan(x)} == nan
    assert {code for code, x in enumerate(values) if math.isinf(x)} == infinite
    assert all(values[code] == x for code, x in finite.items())
    low, high = run(f"v_cvt_pk_f32_{name}", codes | codes << np.uint32(8), table=table)
    assert low.tobytes() == high.tobytes()

    random = np.random.default_rng(4)
    largest = max(finite.values())
    numbers = (random.standard_normal((1, 400)) * 2.0 ** random.integers(-20, 9, (1, 400))).astype(np.float32)
    numbers = np.clip(numbers, -largest, largest)
    old = np.full(numbers.shape, 0xDEADBEEF, np.uint32)
    got = run(f"v_cvt_pk_{name}_f32", numbers, numbers, old, op_sel=8, table=table)
    assert set((got & np.uint32(0xFFFF)).reshape(-1).tolist()) == {0xBEEF}
    for x, code in zip(numbers[0].tolist(), (got[0] >> np.uint32(24)).tolist(), strict=True):
        distance = min(abs(x - y) for y in finite.values())
        nearest = [c for c, y in finite.items() if abs(x - y) == distance]
        assert code in nearest
        if len(nearest) > 1 and finite[code] != 0:
            assert code % 2 == 0  # ties to even


@pytest.mark.parametrize(
    ("target", "name", "value", "code"),
    [
        ("gfx950", "fp8", 464.0, 0x7E),
        ("gfx950", "fp8", 465.0, 0x7F),
        ("gfx950", "fp8", -INF, 0xFF),
        ("gfx950", "fp8", -0.0, 0x80),
        ("gfx950", "bf8", 61440.0, 0x7C),
        ("gfx950", "bf8", -1e9, 0xFC),
        ("gfx950", "bf8", NAN, 0x7F),
        ("gfx942", "bf8", INF, 0x80),
        ("gfx942", "fp8", 248.0, 0x80),
        ("gfx942", "fp8", 247.0, 0x7F),
        ("gfx942", "fp8", -0.0, 0),
        ("gfx942", "fp8", -1e-9, 0),
    ],
)
def test_fp8_values_out_of_range(target: str, name: str, value: float, code: int) -> None:
    x, old = lanes("f32", [value]), np.zeros((1, 1), np.uint32)

    got = run(f"v_cvt_pk_{name}_f32", x, x, old, op_sel=0, table=valu(target))

    assert hex(got[0, 0] & 0xFF) == hex(code)


def test_stochastic_rounding_mean_is_the_value() -> None:
    random = np.random.default_rng(5).integers(0, 2**32, (1, 20000), dtype=np.uint32)
    x = np.full(random.shape, 1.3, np.float32)
    table = valu("gfx950")

    codes = run("v_cvt_sr_fp8_f32", x, random, np.zeros_like(random), op_sel=4, table=table)

    values = run("v_cvt_f32_fp8", codes >> np.uint32(8), table=table)
    assert set(values[0].tolist()) == {1.25, 1.375}
    assert float(values.mean()) == pytest.approx(1.3, abs=0.002)


# --- mixed and dot ---


def test_fma_mix_halves_replace_one_half_of_the_destination() -> None:
    a, b, c = lanes("mix", [1.5]), lanes("mix", [2.0]), lanes("mix", [0.25])
    old = np.array([[0xAAAABBBB]], np.uint32)
    half = int(np.float16(3.25).view(np.uint16))

    assert run("v_fma_mixlo_f16", a, b, c, old)[0, 0] == 0xAAAA0000 | half
    assert run("v_fma_mixhi_f16", a, b, c, old)[0, 0] == half << 16 | 0xBBBB
    assert run("v_fma_mix_f32", a, b, c)[0, 0] == 3.25


@pytest.mark.parametrize("name", ["v_dot4_i32_i8", "v_dot4c_i32_i8", "v_dot4_u32_u8", "v_dot8_i32_i4", "v_dot8_u32_u4"])
def test_dot_products_of_fields_are_pythons(name: str) -> None:
    op = VALU[name]
    bits, signed = (8 if "8" in name[-2:] else 4), op.sources[-1] == "i32"
    a, b, c = operands(op, 2, 7)

    got = run(name, a, b, c)

    def field(word: int, i: int) -> int:
        value = word >> bits * i & (1 << bits) - 1
        return value - (1 << bits) if signed and value >> bits - 1 else value

    for x, y, z, result in zip(*(v.reshape(-1).tolist() for v in (a, b, c, got)), strict=True):
        total = z + sum(field(x, i) * field(y, i) for i in range(32 // bits))
        assert (total - result) % 2**32 == 0


def test_dot2_multiplies_both_halves_and_adds() -> None:
    half = (lanes("f16", [1.5]), lanes("f16", [-2.0]))

    assert run("v_dot2_f32_f16", half, half, lanes("f32", [0.5]))[0, 0] == 1.5 * 1.5 + 4 + 0.5
    upper = tuple((x.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16) for x in half)
    assert run("v_dot2_f32_bf16", upper, upper, lanes("f32", [0.5]))[0, 0] == 1.5 * 1.5 + 4 + 0.5
    pair = (lanes("i16", [300]), lanes("i16", [-7]))
    assert run("v_dot2_i32_i16", pair, pair, lanes("i32", [-1]))[0, 0] == 90048


@pytest.mark.parametrize("kind", FORMATS)
def test_compare_floats_ordered_and_unordered(kind: str) -> None:
    a, b = lanes(kind, [1, 2, 2, NAN, 1, 0.0]), lanes(kind, [2, 1, 2, 1, NAN, -0.0])
    less, greater, equal, unordered = ([x in places for x in range(6)] for places in ([0], [1], [2, 5], [3, 4]))
    expected = {
        "f": [],
        "lt": [less],
        "eq": [equal],
        "le": [less, equal],
        "gt": [greater],
        "lg": [less, greater],
        "ge": [greater, equal],
        "o": [less, greater, equal],
        "u": [unordered],
        "nge": [less, unordered],
        "nlg": [equal, unordered],
        "ngt": [less, equal, unordered],
        "nle": [greater, unordered],
        "neq": [less, greater, unordered],
        "nlt": [greater, equal, unordered],
        "tru": [less, greater, equal, unordered],
    }
    for name, cases in expected.items():
        got = run(f"v_cmp_{name}_{kind}", a, b)

        assert got[0].tolist() == [any(case[i] for case in cases) for i in range(6)], name
