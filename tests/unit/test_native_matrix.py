"""Matrix instructions compiled to the host's code, beside NumPy's: one wave, every shape and type without scales."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpumodel.isa import fp8
from gpumodel.isa.mfma import described, mfma
from gpumodel.isa.native.ir import Builder, Value
from gpumodel.isa.native.jit import Module
from gpumodel.isa.native.matrix import decode_small, lower_mfma, lowered
from tests.native_ops import needs_compiler

pytestmark = needs_compiler
Array = npt.NDArray[Any]
TARGETS = ("gfx942", "gfx950")
CASES = [(target, name) for target in TARGETS for name in sorted(lowered(target))]
NO_OPERAND = -1
# Of a float of so many bits: those that are all ones in an infinity or NaN.
_SPECIAL = {"f32": (32, 0x7F800000), "xf32": (32, 0x7F800000), "f16": (16, 0x7C00), "bf16": (16, 0x7F80)}
_SMALL = {
    "gfx942": {"fp8": fp8.FP8_FNUZ, "bf8": fp8.BF8_FNUZ},
    "gfx950": {"fp8": fp8.FP8_OCP, "bf8": fp8.BF8_OCP, "f8f6f4": fp8.FP8_OCP},
}


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    made = {}
    for target in TARGETS:
        b = Builder()
        functions = [lower_mfma(b, name, target) for name in sorted(lowered(target))]
        for name in lowered(target):
            arguments = "ptr %v, i32 %a, i32 %b, i32 %c, i32 %d"
            functions.append(f"define void @run.{name}({arguments}) {{ call void @{name}({arguments}) ret void }}")
        made[target] = Module("\n".join([*sorted(b.declared), *functions]))
    return made


def _run(module: Module, name: str, file: Array, *places: int) -> None:
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int32] * 4)
    signature(module.address(f"run.{name}"))(file.ctypes.data, *places)


def _registers(kind: str, target: str, count: int, random: np.random.Generator) -> Array:
    """uint32[count][64] of elements: half near one, half any bits; of infinities and NaN, one in fifty is left."""
    if kind == "f64":  # few bits: sums are exact in any order
        values = random.integers(-(2**20), 2**20, (count // 2, 64)) * 2.0**-10
        return np.ascontiguousarray(values.view(np.uint32).reshape(count // 2, 64, 2).swapaxes(1, 2)).reshape(count, 64)
    words = random.integers(0, 2**32, (count, 64), dtype=np.uint32)
    if kind in ("i8", "i32"):
        return words
    if kind in _SMALL[target]:
        codes = words.view(np.uint8)
        special = ~np.isfinite(_SMALL[target][kind].values[codes])
    else:
        bits, ones = _SPECIAL[kind]
        codes = words.view(f"u{bits // 8}")
        near_one = random.standard_normal(codes.shape).astype(np.float32)
        near = near_one.astype(np.float16).view(np.uint16) if kind == "f16" else near_one.view(np.uint32) >> (32 - bits)
        codes[...] = np.where(random.integers(0, 2, codes.shape), near, codes)
        if kind == "xf32":  # half of them lie just between two of 10 bits, or on one
            codes[::2] &= 0xFFFFF000
        special = codes & ones == ones
    codes[special & (random.integers(0, 50, codes.shape) != 0)] = 0
    return words


def _differ(out: str, seen: Array, expected: Array) -> Array:
    if out == "i32":
        return np.not_equal(seen, expected)
    if out == "f64":
        seen, expected = (words.reshape(-1, 2, 64).swapaxes(1, 2).copy().view(np.float64) for words in (seen, expected))
    else:
        seen, expected = seen.view(np.float32), expected.view(np.float32)
    assert not np.isnan(expected).all()
    wrong: Array = (seen != expected) | (np.signbit(seen) != np.signbit(expected))
    return wrong & ~(np.isnan(seen) & np.isnan(expected))


@pytest.mark.parametrize(("target", "name"), CASES)
def test_lowered_matrix_random_elements_are_as_numpy_has_it(modules: dict[str, Module], target: str, name: str) -> None:
    op = mfma(target)[name]
    _, out, kinds = described(name)
    random = np.random.default_rng(11)
    a, b, c = 3, 4 + op.na, 5 + op.na + op.nb
    d = c + op.nc + 1
    file = np.zeros((d + op.nd + 1, 64), np.uint32)
    wants = dict.fromkeys(op.wants, 0)
    for _ in range(4):
        file[...] = 0xA5A5A5A5
        for first, count, kind in ((a, op.na, kinds[0]), (b, op.nb, kinds[-1]), (c, op.nc, out)):
            file[first : first + count] = _registers(kind, target, count, random)
        before, zeros = file.copy(), np.zeros((op.nc, 1, 64), np.uint32)
        operands = [before[first : first + count, None] for first, count in ((a, op.na), (b, op.nb), (c, op.nc))]
        with np.errstate(all="ignore"):
            expected = op.run(*operands, **wants)[:, 0]
            from_zero = op.run(*operands[:2], zeros, **wants)[:, 0]

        _run(modules[target], name, file, a, b, c, d)

        assert not _differ(out, file[d : d + op.nd], expected).any()
        untouched = np.r_[0:d, d + op.nd]
        assert np.array_equal(file[untouched], before[untouched])

        _run(modules[target], name, file, a, b, c, c)

        assert not _differ(out, file[c : c + op.nd], expected).any()

        _run(modules[target], name, file, a, b, NO_OPERAND, a)

        assert not _differ(out, file[a : a + op.nd], from_zero).any()


@pytest.mark.parametrize("kind", [fp8.FP8_OCP, fp8.BF8_OCP, fp8.FP8_FNUZ, fp8.BF8_FNUZ, fp8.FP6, fp8.BF6, fp8.FP4])
def test_lowered_small_floats_every_code_is_as_numpy_has_it(kind: fp8.Small) -> None:
    b = Builder()
    values = decode_small(b, b.load("<8 x i32>", Value("%p", "ptr"), 4), kind)
    b.store(values, Value("%p", "ptr"), 4)
    module = Module("\n".join(["define void @run(ptr %p) {", *b.lines, "  ret void", "}"]))
    codes = np.arange(max(2 * kind.sign, 8), dtype=np.uint32)
    expected = kind.decode(codes)

    for first in range(0, len(codes), 8):
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(module.address("run"))(codes.ctypes.data + 4 * first)

    seen = codes.view(np.float32)
    assert np.array_equal(seen, expected, equal_nan=True)
    assert np.array_equal(np.signbit(seen[seen == 0]), np.signbit(expected[expected == 0]))
