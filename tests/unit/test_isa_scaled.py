"""Conversions with a scale: every code and every rounding beside fractions, random bits beside their mean, and where packed
elements go."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpumodel.isa import decode, program
from gpumodel.isa.fp8 import BF6, BF8_OCP, FP4, FP6, FP8_OCP, Small
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.valu import valu
from gpumodel.isa.waves import Waves

Array = npt.NDArray[Any]

TABLE = valu("gfx950")
KINDS = {"fp8": FP8_OCP, "bf8": BF8_OCP, "fp6": FP6, "bf6": BF6, "fp4": FP4}
OLD = 0xDEADBEEF
NAN = float("nan")


def run(name: str, *sources: Any, **wants: int) -> Any:
    with np.errstate(all="ignore"):
        return TABLE[f"v_cvt_scalef32_{name}"].run(*sources, **wants)


def words(values: Any) -> Array:
    return np.array(values, np.uint32).reshape(1, -1)


def floats(values: Any) -> Array:
    return np.array(values, np.float32).reshape(1, -1)


def scale(power: int, like: Array) -> Array:
    """A float32 of which the exponent counts alone."""
    return np.full(like.shape, (power + 127) << 23 | 0x123456, np.uint32)


def halves(word: str, values: Array) -> Array:
    """float32 that the type can hold, as its bits."""
    if word == "f16":
        return values.astype(np.float16).view(np.uint16).astype(np.uint32)
    return values.view(np.uint32) >> np.uint32(16)


def finite(kind: Small) -> dict[int, Fraction]:
    """Values of the codes without sign."""
    return {code: Fraction(float(x)) for code, x in enumerate(kind.values[: kind.sign]) if math.isfinite(x)}


def nearest(kind: Small, value: Fraction) -> int:
    """The code of |value|, ties to even; one more than the last beyond it."""
    codes = finite(kind)
    last = max(codes)
    codes[last + 1] = 2 * codes[last] - codes[last - 1]
    return min(codes, key=lambda code: (abs(codes[code] - abs(value)), code % 2))


def _numbers(word: str, count: int, power: int) -> Array:
    random = np.random.default_rng(7)
    bits = {"f32": 23, "f16": 10, "bf16": 7}[word]
    part = random.integers(1 << bits, 2 << bits, count) * 2.0**-bits
    size = part * 2.0 ** np.clip(random.integers(-12, 18, count) + power, -14 if word == "f16" else -120, 15)
    ties = np.array([0.0, -0.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 1.0625, 7.75, 30.0]) * 2.0**power
    return floats([*size * random.choice([-1, 1], count), *ties])


@pytest.mark.parametrize(("name", "word"), list(product(KINDS, ("f32", "f16", "bf16"))))
def test_value_over_the_scale_becomes_the_nearest_code(name: str, word: str) -> None:
    kind, power = KINDS[name], 3
    bits = 1 + kind.exponent + kind.fraction
    values = _numbers(word, 300, power)
    expected = []
    for value in values[0].tolist():
        code, last = nearest(kind, Fraction(value) / 2**power), max(finite(kind))
        expected.append(
            min(code, last) if name in ("fp6", "bf6", "fp4") else code
        )  # fp8: NaN, bf8: infinity, follow it
        expected[-1] |= kind.sign * (math.copysign(1, value) < 0)
    old = np.full(values.shape, OLD, np.uint32)
    if name in ("fp6", "bf6"):
        if word == "f32":
            many = run(
                f"2xpk16_{name}_f32",
                (values.view(np.uint32),) * 16,
                (values.view(np.uint32),) * 16,
                scale(power, values),
            )
        else:
            pair = halves(word, values) * np.uint32(0x10001)
            many = run(f"pk32_{name}_{word}", (pair,) * 16, scale(power, values))
        got = (many[0] & np.uint32(0x3F))[0].tolist()
    elif word == "f32":
        got = run(f"pk_{name}_f32", values, np.ones_like(values), scale(power, values), old, op_sel=0)[0].tolist()
    else:
        got = run(f"pk_{name}_{word}", halves(word, values), scale(power, values), old, op_sel=0)[0].tolist()
    assert [code & (1 << bits) - 1 for code in got] == expected


@pytest.mark.parametrize(("name", "word", "power"), list(product(KINDS, ("f32", "f16", "bf16"), (-20, 0, 13, 126))))
def test_code_times_the_scale_is_rounded_once(name: str, word: str, power: int) -> None:
    kind = KINDS[name]
    codes = words(range(2 * kind.sign))
    values = kind.values.astype(np.float64) * 2.0**power
    with np.errstate(over="ignore"):
        expected = (values.astype(np.float16) if word == "f16" else values).astype(np.float32)
    if name in ("fp6", "bf6"):
        many = run(f"pk32_{word}_{name}", (codes,) + (words([0]),) * 5, scale(power, codes))
        got = many[0] & np.uint32(0xFFFFFFFF if word == "f32" else 0xFFFF)
    else:
        both = run(f"pk_{word}_{name}", codes, scale(power, codes), op_sel=0)
        got = both[0] if word == "f32" else both & np.uint32(0xFFFF)
    as_f32 = {
        "f32": lambda x: x.view(np.float32),
        "f16": lambda x: x.astype(np.uint16).view(np.float16).astype(np.float32),
        "bf16": lambda x: (x << np.uint32(16)).view(np.float32),
    }[word](got)[0]
    if word == "bf16":
        expected = np.where(np.abs(values) > 3.3e38, np.copysign(np.inf, values), expected).astype(np.float32)
    assert np.array_equal(np.isnan(as_f32), np.isnan(expected))
    same = as_f32.view(np.uint32) == expected.view(np.uint32)
    assert (same | np.isnan(expected)).all()


def test_scale_of_255_makes_everything_nan() -> None:
    ones, nan = floats([1.0, -1.0]), words([0xFF << 23] * 2)
    old = words([0, 0])
    assert run("pk_fp8_f32", ones, ones, nan, old, op_sel=0)[0].tolist() == [0x7F7F, 0xFFFF]
    assert run("pk_fp4_f32", ones, ones, nan, old, op_sel=0)[0].tolist() == [0x77, 0xFF]
    assert np.isnan(run("f32_fp8", words([0x38]), words([0xFF << 23]), op_sel=0).view(np.float32)).all()


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("fp8", 465.0, 0x7F),
        ("fp8", -1e9, 0xFF),
        ("bf8", 1e9, 0x7C),
        ("bf8", NAN, 0x7F),
        ("fp4", 1e9, 7),
        ("fp4", -NAN, 0xF),
    ],
)
def test_value_out_of_range(name: str, value: float, code: int) -> None:
    got = run(f"pk_{name}_f32", floats([value]), floats([0]), scale(0, floats([0])), words([0]), op_sel=0)
    assert int(got[0, 0]) == code


@pytest.mark.parametrize(
    ("name", "op_sel", "kept"),
    [
        ("fp8", 0, 0xFFFF0000),
        ("fp8", 8, 0xFFFF),
        *[("fp4", 4 * byte, ~(0xFF << 8 * byte) & 0xFFFFFFFF) for byte in range(4)],
    ],
)
def test_packed_pair_goes_where_op_sel_says(name: str, op_sel: int, kept: int) -> None:
    one, two = floats([1.0]), floats([2.0])
    got = int(run(f"pk_{name}_f32", one, two, scale(0, one), words([OLD]), op_sel=op_sel)[0, 0])
    kind = KINDS[name]
    codes = [int(np.flatnonzero(kind.values == value)[0]) for value in (1.0, 2.0)]
    pair = codes[0] | codes[1] << 1 + kind.exponent + kind.fraction
    shift = (kept ^ 0xFFFFFFFF).bit_length() - (8 if name == "fp4" else 16)
    assert (got & kept, (got & ~kept) >> shift) == (OLD & kept, pair)


def test_parts_of_a_source_are_chosen_by_op_sel() -> None:
    source, one = words([0x38_40_48_50]), scale(0, words([0]))  # 1, 2, 4, 8 as fp8
    assert [run("f32_fp8", source, one, op_sel=byte).view(np.float32)[0, 0] for byte in range(4)] == [8, 4, 2, 1]
    for word, values in ((0, [8, 4]), (1, [2, 1])):
        assert [x.view(np.float32)[0, 0] for x in run("pk_f32_fp8", source, one, op_sel=word)] == values
    half = run("f16_fp8", source, one, words([OLD]), op_sel=3)
    assert int(half[0, 0]) == OLD & 0xFFFF0000 | 0x3C00
    half = run("f16_fp8", source, one, words([OLD]), op_sel=8)
    assert int(half[0, 0]) == OLD & 0xFFFF | 0x4800 << 16
    nibbles = words([0x76_54_32_10])
    assert [x.view(np.float32)[0, 0] for x in run("pk_f32_fp4", nibbles, one, op_sel=3)] == [4, 6]


def test_six_bits_32_elements_keep_their_order() -> None:
    codes = np.random.default_rng(3).integers(0, 64, 32).tolist()
    packed = sum(code << 6 * number for number, code in enumerate(codes))
    registers = tuple(words([packed >> 32 * number & 0xFFFFFFFF]) for number in range(6))
    one = scale(0, words([0]))
    values = run("pk32_f32_fp6", registers, one)
    assert [x.view(np.float32)[0, 0] for x in values] == FP6.values[codes].tolist()
    for word in ("f16", "bf16"):
        again = run(f"pk32_fp6_{word}", run(f"pk32_{word}_fp6", registers, one), one)
        assert [int(x[0, 0]) for x in again] == [int(x[0, 0]) for x in registers]
    interleaved = run("2xpk16_fp6_f32", values[::2], values[1::2], one)
    assert [int(x[0, 0]) for x in interleaved] == [int(x[0, 0]) for x in registers]


@pytest.mark.parametrize(("name", "word"), list(product(("fp8", "bf8", "fp6", "bf6", "fp4"), ("f32", "f16", "bf16"))))
@pytest.mark.parametrize("value", [1.3125, 0.1484375])
def test_random_rounding_is_the_value_in_the_mean(name: str, word: str, value: float) -> None:
    """The second value is a subnormal of the smaller types."""
    kind, power = KINDS[name], 2
    random = np.random.default_rng(5).integers(0, 2**32, (1, 20000), dtype=np.uint32)
    values = np.full(random.shape, value * 2.0**power, np.float32)
    source = values if word == "f32" else halves(word, values)
    given: Any = (
        source.astype(np.uint16).view(np.float16)
        if word == "f16"
        else source.astype(np.uint16)
        if word == "bf16"
        else source
    )
    scales = scale(power, random)
    if name in ("fp6", "bf6"):
        many = (source.view(np.uint32),) * 32 if word == "f32" else (source * np.uint32(0x10001),) * 16
        codes = run(f"sr_pk32_{name}_{word}", many, random, scales)[0] & np.uint32(0x3F)
    elif name == "fp4":
        pair = (source.view(np.uint32),) * 2 if word == "f32" else source * np.uint32(0x10001)
        both = run(f"sr_pk_fp4_{word}", pair, random, scales, np.zeros_like(random), op_sel=4) >> np.uint32(8)
        codes = both & np.uint32(0xF)
        second = run(
            f"sr_pk_fp4_{word}", pair, TABLE["v_prng_b32"].run(random), scales, np.zeros_like(random), op_sel=0
        )
        assert np.array_equal(both >> np.uint32(4), second & np.uint32(0xF))
    else:
        codes = run(f"sr_{name}_{word}", given, random, scales, np.zeros_like(random), op_sel=8) >> np.uint32(16)
    got = kind.decode(codes)
    near = kind.values[: kind.sign]
    assert {float(x) for x in np.unique(got)} <= {float(near[near <= value].max()), float(near[near >= value].min())}
    assert float(got.mean()) == pytest.approx(value, abs=0.01)


def test_instruction_reads_and_writes_its_registers() -> None:
    row = next(row for row in decode.rows("gfx950") if row.name == "v_cvt_scalef32_pk32_f16_fp6")
    word = row.value | 40 | (256 + 2) << 32 | (256 + 8) << 41
    waves = Waves(None, 2, 64, np.arange(2), np.arange(2), np.ones((2, 64), bool))  # type: ignore[arg-type]
    for number in range(6):
        waves.set_v(2 + number, words([0x8208_2082 if number == 0 else 0]))  # 2 2 2 2 2 2 in the lowest bits
    waves.set_v(8, words([128 << 23]))
    step = program.bind("gfx950", word)
    assert step.run is not None
    step.run(waves)
    assert int(waves.v(40)[0, 0]) == 0x3800_3800  # 0.25 doubled
    assert int(waves.v(55)[0, 0]) == 0


def test_sign_of_packed_halves_is_not_guessed() -> None:
    row = next(row for row in decode.rows("gfx950") if row.name == "v_cvt_scalef32_pk_fp8_f16")
    with pytest.raises(NotModelled, match="with a sign"):
        program.bind("gfx950", row.value | 256 << 32 | 256 << 41 | 1 << 61)
