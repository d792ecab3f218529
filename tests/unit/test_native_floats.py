"""Float operations lowered to LLVM give what NumPy's do, bit for bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from gpumodel.isa.exact import fma_f64
from gpumodel.isa.native import floats
from gpumodel.isa.native.ir import Builder, Value
from gpumodel.isa.valu import VALU, VALU_GFX942, VALU_GFX950
from tests.native_ops import Array, Lowered, cases, compare, different, needs_compiler

pytestmark = needs_compiler
TABLES = {
    "both": (floats.LOWERED, VALU),
    "gfx942": (floats.LOWERED_GFX942, VALU_GFX942),
    "gfx950": (floats.LOWERED_GFX950, VALU_GFX950),
}
# Words whose halves are float16: a NaN in them may be any.
HALVES = ("v_fma_mixlo_f16", "v_fma_mixhi_f16", "v_cvt_pkrtz_f16_f32", "v_cvt_pk_f16_f32", "v_cvt_sr_f16_f32")
# From the C library, as NumPy's: not always the same one.
LIBRARY = {f"v_{name}_{kind}" for name in ("exp", "log", "sin", "cos") for kind in ("f32", "f16", "legacy_f32")}


@cache
def lowered(name: str) -> Lowered:
    return Lowered(cases(*TABLES[name]))


def wrong(where: str, key: str, waves: int, seed: int) -> str:
    name = lowered(where).cases[key].name
    view = np.float16 if name in HALVES else None
    count, said = compare(lowered(where), key, waves=waves, seed=seed, view=view)
    if count and name in LIBRARY and count <= waves * 64 // 1000:
        count, said = compare(lowered(where), key, waves=waves, seed=seed, steps=1)
    return f"{count} lanes differ: {said}" if count else ""


@pytest.mark.parametrize("where", TABLES)
def test_lowered_operations_of_corners_and_any_bits_as_numpy(where: str) -> None:
    said = [wrong(where, key, 24, seed) for key in lowered(where).cases for seed in (1, 2)]
    assert not [one for one in said if one]


def test_lowered_operations_of_all_halves_as_numpy() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 64)
    tried = 0
    for key, case in lowered("both").cases.items():
        if case.op.sources != ("f16",):
            continue
        tried += 1
        with np.errstate(all="ignore"):
            expected = case.op.run(every)
        (seen,) = lowered("both").run(key, [every])
        differ = different(seen, expected)
        assert not differ.any(), f"{key} of {every[differ][0]}: {seen[differ][0]}, not {expected[differ][0]}"
    assert tried > 15


def test_every_operation_on_floats_is_lowered_but_one() -> None:
    def has_floats(kinds: Any) -> bool:
        return any(word in str(kinds) for word in ("f16", "f32", "f64", "mix"))

    for lowering, table in TABLES.values():
        absent = {name for name, op in table.items() if has_floats((op.result, op.sources)) and name not in lowering}
        assert absent <= {"v_trig_preop_f64"}
        assert set(lowering) <= set(table)


def _near(random: np.random.Generator, exponent: int, bits: int, count: int) -> Array:
    """Floats of that exponent, of so many bits of fraction, of both signs."""
    size = 1 + random.integers(0, 1 << bits, count) / 2.0**bits
    value: Array = np.ldexp(size * random.choice([-1, 1], count), exponent).reshape(-1, 64)
    return value


def test_fma_f16_near_ties_is_rounded_once() -> None:
    """A product far below the sum's last place decides: float32 alone would have rounded it away."""
    random, key = np.random.default_rng(3), "v_fma_f16"
    twice = 0
    for power in range(-14, 8):
        a, b = (_near(random, power // 2, 10, 6400).astype(np.float16) for _ in range(2))
        c = _near(random, min(power + 12, 15), 10, 6400).astype(np.float16)
        with np.errstate(all="ignore"):
            expected = lowered("both").cases[key].op.run(a, b, c)
            rounded = (a.astype(np.float32) * b.astype(np.float32) + c.astype(np.float32)).astype(np.float16)
        (seen,) = lowered("both").run(key, [a, b, c])
        assert not different(seen, expected).any()
        twice += int(different(rounded, expected).sum())
    assert twice > 0


def test_div_fmas_f64_to_subnormals_is_rounded_once() -> None:
    random, key = np.random.default_rng(5), "v_div_fmas_f64"
    undo = np.ones((8, 64), bool)
    twice = 0
    for turn in range(40):
        exponent, of_a = int(random.integers(-1074, -890)), int(random.integers(-1000, 300))
        of_b = max(min(exponent - of_a - int(random.integers(0, 60 if turn % 2 else 600)), 1000), -1074)
        c = _near(random, exponent, int(random.integers(1, 50)), 512)
        a, b = (_near(random, power, int(random.integers(1, 53)), 512) for power in (of_a, of_b))
        with np.errstate(all="ignore"):
            expected = lowered("both").cases[key].op.run(a, b, c, undo)
            twice += int(different(np.ldexp(fma_f64(a, b, c), -128), expected).sum())
        (seen,) = lowered("both").run(key, [a, b, c, undo])
        assert not different(seen, expected).any()
    assert twice > 0


def test_compare_of_a_wrong_lowering_says_where() -> None:
    def added(b: Builder, x: Value, y: Value) -> Value:
        return b.two("fadd", x, y)

    count, said = compare(Lowered(cases({"v_sub_f32": added}, VALU)), "v_sub_f32")
    assert count > 0
    assert said.startswith("v_sub_f32 of ")


def test_compare_of_a_loud_nan_for_a_quiet_one_says_so() -> None:
    """The next minimum would make another thing of it."""
    quiet, loud = (np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7F800001))
    other = np.array([0xFFC01234], np.uint32).view(np.float32)
    assert different(loud, quiet).all()
    assert not different(other, quiet).any()
