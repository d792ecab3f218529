"""Scalar instructions compiled to the host's code, beside NumPy's: the same instruction run on the same registers."""

from __future__ import annotations

import ctypes
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from gpumodel.isa import decode, program
from gpumodel.isa.context import Context
from gpumodel.isa.native.ir import Builder, Value
from gpumodel.isa.native.jit import Module
from gpumodel.isa.native.scalars import LOWERED, lower_scalar
from gpumodel.isa.scalar import SOP1, SOP2
from gpumodel.isa.waves import Waves
from tests.native_ops import needs_compiler

pytestmark = needs_compiler
Array = npt.NDArray[Any]
TARGET = "gfx950"
A, B, RESULT = 10, 12, 20  # SGPR pairs
PLACES = {"src0": 0, "src1": 8, "sdst": 16, "scc": 24}  # in the 32 bytes that a compiled instruction works on
WAVES = 1024
SIMM16 = (0, 1, 0x7FFF, 0x8000, 0xFFFF)
ROWS = {row.name: row for row in decode.rows(TARGET)}
CORNERS = (
    0,
    1,
    31,
    32,
    63,
    64,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x8000,
    0x00200000,
    0x00400004,
    0x001F0010,
    0x00080038,
)


def _cases() -> list[tuple[str, int]]:
    return [
        (name, k) for name in sorted(LOWERED) for k in (SIMM16 if name.endswith("k_i32") or "cmpk" in name else (0,))
    ]


def _function(name: str, simm16: int) -> tuple[str, set[str]]:
    """A function of the address of PLACES."""
    b = Builder()
    state = Value("%state", "ptr")

    def get(field: str, kind: str) -> Value:
        return b.load(kind, b.at(state, PLACES[field]), 8)

    def put(value: Value) -> None:
        b.store(value, b.at(state, PLACES["sdst"]), 8)

    scc = b.cast("trunc", b.load("i8", b.at(state, PLACES["scc"]), 8), "i1")
    after = lower_scalar(b, name, get, put, scc, simm16)
    b.store(b.cast("zext", after, "i8"), b.at(state, PLACES["scc"]), 8)
    return "\n".join([f"define void @{name}_{simm16}(ptr %state) {{", *b.lines, "  ret void", "}"]), b.declared


@pytest.fixture(scope="module")
def module() -> Module:
    functions = [_function(*case) for case in _cases()]
    return Module(
        "\n".join([*sorted(set().union(*(names for _, names in functions))), *(text for text, _ in functions)])
    )


def _word(name: str, **fields: int) -> int:
    word = ROWS[name].value
    for field in ROWS[name].fields:
        word |= (fields.get(field.name, 0) >> field.first & (1 << field.width) - 1) << field.at
    return word


def _operands() -> Array:
    """uint64[src0, src1, sdst, scc][waves]: random bits, corners, small numbers and pairs of equal ones."""
    random = np.random.default_rng(7)
    state = random.integers(0, 2**64, (4, WAVES), dtype=np.uint64)
    halves = state.view(np.uint32).reshape(4, WAVES, 2)
    halves[...] = np.where(
        random.integers(0, 2, halves.shape), random.choice(np.array(CORNERS, "u4"), halves.shape), halves
    )
    halves[1, ::7, 0] = random.integers(0, 128, len(halves[1, ::7])) << 16 | random.integers(0, 64, len(halves[1, ::7]))
    state[1, ::5] = state[0, ::5]
    state[3] &= np.uint64(1)
    return state


def _expected(name: str, simm16: int, state: Array) -> Array:
    waves = Waves(cast(Context, None), WAVES, 64, np.arange(WAVES), np.arange(WAVES), np.ones((1, 1), bool))
    for register, values in zip((A, B, RESULT), state, strict=False):
        waves.set_s64(register, values)
    waves.scc = state[3] != 0
    step = program.bind(TARGET, _word(name, sdst=RESULT, src0=A, src1=B, simm16=simm16))
    assert step.run is not None
    step.run(waves)
    assert [np.array_equal(waves.s64(place), values) for place, values in zip((A, B), state, strict=False)] == [
        True
    ] * 2
    result = np.broadcast_to(waves.s64(RESULT), WAVES)
    return np.stack([result, np.broadcast_to(waves.scc, WAVES).astype(np.uint64)])


@pytest.mark.parametrize(("name", "simm16"), _cases())
def test_lowered_scalar_random_and_corner_operands_are_as_numpy_has_it(module: Module, name: str, simm16: int) -> None:
    state = _operands()
    lines = np.ascontiguousarray(state.T)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(module.address(f"{name}_{simm16}"))

    for wave in range(WAVES):
        run(lines.ctypes.data + lines.strides[0] * wave)

    with np.errstate(all="ignore"):
        expected = _expected(name, simm16, state)
    wrong = np.flatnonzero((lines.T[2:] != expected).any(axis=0))
    said = [[hex(x) for x in (*state[:, i], *lines[i, 2:], *expected[:, i])] for i in wrong[:2]]
    assert not said, f"{name}: sources, destination and SCC before; seen; expected: {said}"


def test_lowered_scalar_has_all_that_only_compute() -> None:
    assert set(SOP1) | set(SOP2) <= LOWERED
