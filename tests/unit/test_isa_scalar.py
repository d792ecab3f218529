"""Scalar instructions against Python's integers: registers of 64 waves, each with operands of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from gpumodel.isa import decode, program
from gpumodel.isa.context import Context
from gpumodel.isa.waves import Waves

WAVES = 64
A, B, RESULT = 10, 12, 20  # SGPR pairs
TARGET = "gfx950"
_CORNERS = (0, 1, 31, 32, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x8000, 0xFFFF8000)
WORD, PAIR = (1 << 32) - 1, (1 << 64) - 1

Expected = Callable[..., tuple[int, bool | None]]  # the result, and SCC (None: as it was)


def signed(value: int, bits: int = 32) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _nonzero(function: Callable[..., int], bits: int = 32) -> Expected:
    def expected(*values: int) -> tuple[int, bool]:
        result = function(*values) & (1 << bits) - 1
        return result, result != 0

    return expected


def _plain(function: Callable[..., int]) -> Expected:
    return lambda *values: (function(*values), None)


def _overflow(function: Callable[[int, int], int]) -> Expected:
    def expected(a: int, b: int) -> tuple[int, bool]:
        exact = function(signed(a), signed(b))
        return exact, not -(2**31) <= exact < 2**31

    return expected


def _pick(better: Callable[[int, int], bool], convert: Callable[[int], int]) -> Expected:
    return lambda a, b: (a, True) if better(convert(a), convert(b)) else (b, False)


def _shift_add(by: int) -> Expected:
    return lambda a, b: ((a << by) + b, (a << by) + b > WORD)


def _field(value: int, where: int, bits: int, sign: bool) -> int:
    first, width = where & bits - 1, where >> 16 & 0x7F
    width = min(width, bits - first)
    field = value >> first & (1 << width) - 1
    return signed(field, width) if sign and width else field


def _leading_zeros(value: int) -> int:
    return 32 - value.bit_length() if value else -1


def _leading_signs(value: int) -> int:
    return next((i for i in range(1, 32) if value >> 31 - i & 1 != value >> 31), -1)


TWO: dict[str, Expected] = {
    "s_add_u32": lambda a, b: (a + b, a + b > WORD),
    "s_sub_u32": lambda a, b: (a - b, b > a),
    "s_add_i32": _overflow(lambda a, b: a + b),
    "s_sub_i32": _overflow(lambda a, b: a - b),
    "s_min_i32": _pick(lambda a, b: a < b, signed),
    "s_min_u32": _pick(lambda a, b: a < b, int),
    "s_max_i32": _pick(lambda a, b: a > b, signed),
    "s_max_u32": _pick(lambda a, b: a > b, int),
    "s_and_b32": _nonzero(lambda a, b: a & b),
    "s_or_b32": _nonzero(lambda a, b: a | b),
    "s_xor_b32": _nonzero(lambda a, b: a ^ b),
    "s_andn2_b32": _nonzero(lambda a, b: a & ~b),
    "s_orn2_b32": _nonzero(lambda a, b: a | ~b),
    "s_nand_b32": _nonzero(lambda a, b: ~(a & b)),
    "s_nor_b32": _nonzero(lambda a, b: ~(a | b)),
    "s_xnor_b32": _nonzero(lambda a, b: ~(a ^ b)),
    "s_and_b64": _nonzero(lambda a, b: a & b, 64),
    "s_or_b64": _nonzero(lambda a, b: a | b, 64),
    "s_xor_b64": _nonzero(lambda a, b: a ^ b, 64),
    "s_andn2_b64": _nonzero(lambda a, b: a & ~b, 64),
    "s_orn2_b64": _nonzero(lambda a, b: a | ~b, 64),
    "s_nand_b64": _nonzero(lambda a, b: ~(a & b), 64),
    "s_nor_b64": _nonzero(lambda a, b: ~(a | b), 64),
    "s_xnor_b64": _nonzero(lambda a, b: ~(a ^ b), 64),
    "s_lshl_b32": _nonzero(lambda a, b: a << (b & 31)),
    "s_lshr_b32": _nonzero(lambda a, b: a >> (b & 31)),
    "s_ashr_i32": _nonzero(lambda a, b: signed(a) >> (b & 31)),
    "s_lshl_b64": _nonzero(lambda a, b: a << (b & 63), 64),
    "s_lshr_b64": _nonzero(lambda a, b: a >> (b & 63), 64),
    "s_ashr_i64": _nonzero(lambda a, b: signed(a, 64) >> (b & 63), 64),
    "s_bfm_b32": _plain(lambda a, b: ((1 << (a & 31)) - 1) << (b & 31)),
    "s_bfe_u32": _nonzero(lambda a, b: _field(a, b, 32, False)),
    "s_bfe_i32": _nonzero(lambda a, b: _field(a, b, 32, True)),
    "s_bfe_u64": _nonzero(lambda a, b: _field(a, b, 64, False), 64),
    "s_bfe_i64": _nonzero(lambda a, b: _field(a, b, 64, True), 64),
    "s_mul_i32": _plain(lambda a, b: a * b),
    "s_mul_hi_u32": _plain(lambda a, b: a * b >> 32),
    "s_mul_hi_i32": _plain(lambda a, b: signed(a) * signed(b) >> 32),
    "s_absdiff_i32": _nonzero(lambda a, b: abs(signed(a - b))),
    "s_lshl1_add_u32": _shift_add(1),
    "s_lshl2_add_u32": _shift_add(2),
    "s_lshl3_add_u32": _shift_add(3),
    "s_lshl4_add_u32": _shift_add(4),
    "s_pack_ll_b32_b16": _plain(lambda a, b: a & 0xFFFF | b << 16),
    "s_pack_lh_b32_b16": _plain(lambda a, b: a & 0xFFFF | b & 0xFFFF0000),
    "s_pack_hh_b32_b16": _plain(lambda a, b: a >> 16 | b & 0xFFFF0000),
}
WITH_SCC: dict[str, Callable[[int, int, bool], tuple[int, bool | None]]] = {
    "s_addc_u32": lambda a, b, scc: (a + b + scc, a + b + scc > WORD),
    "s_subb_u32": lambda a, b, scc: (a - b - scc, b + scc > a),
    "s_cselect_b32": lambda a, b, scc: (a if scc else b, None),
    "s_cselect_b64": lambda a, b, scc: (a if scc else b, None),
}
ONE: dict[str, Expected] = {
    "s_mov_b32": _plain(lambda a: a),
    "s_mov_b64": _plain(lambda a: a),
    "s_not_b32": _nonzero(lambda a: ~a),
    "s_not_b64": _nonzero(lambda a: ~a, 64),
    "s_brev_b32": _plain(lambda a: int(f"{a:032b}"[::-1], 2)),
    "s_bcnt1_i32_b32": _nonzero(lambda a: a.bit_count()),
    "s_bcnt0_i32_b32": _nonzero(lambda a: 32 - a.bit_count()),
    "s_bcnt1_i32_b64": _nonzero(lambda a: a.bit_count()),
    "s_ff1_i32_b32": _plain(lambda a: (a & -a).bit_length() - 1),
    "s_flbit_i32_b32": _plain(_leading_zeros),
    "s_flbit_i32": _plain(_leading_signs),
    "s_sext_i32_i8": _plain(lambda a: signed(a, 8)),
    "s_sext_i32_i16": _plain(lambda a: signed(a, 16)),
    "s_abs_i32": _nonzero(lambda a: abs(signed(a))),
}
_RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda a, b: a == b,
    "lg": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}
COMPARE = {
    **{f"s_cmp_{name}_{kind}": (relation, kind) for name, relation in _RELATIONS.items() for kind in ("i32", "u32")},
    **{f"s_cmp_{name}_u64": (_RELATIONS[name], "u64") for name in ("eq", "lg")},
}
WITH_CONSTANT = {
    **{f"s_cmpk_{name}_{kind}": (relation, kind) for name, relation in _RELATIONS.items() for kind in ("i32", "u32")},
}


def _word(name: str, **fields: int) -> int:
    """The encoding of an instruction with these fields."""
    row = next(row for row in decode.rows(TARGET) if row.name == name)
    word = row.value
    for field in row.fields:
        if field.name in fields:
            word |= (fields[field.name] >> field.first & (1 << field.width) - 1) << field.at
    return word


def _waves() -> tuple[Waves, list[int], list[int], list[bool]]:
    random = np.random.default_rng(5)
    waves = Waves(cast(Context, None), WAVES, 64, np.arange(WAVES), np.arange(WAVES), np.ones((1, 1), bool))
    for register in (A, A + 1, B, B + 1):
        values = random.integers(0, 2**32, WAVES, dtype=np.uint32)
        values[:: 3 if register & 1 else 2] = random.choice(
            np.array(_CORNERS, np.uint32), len(values[:: 3 if register & 1 else 2])
        )
        waves.set_s(register, values)
    waves.scc = random.integers(0, 2, WAVES).astype(bool)
    a, b = ([int(x) for x in np.broadcast_to(waves.s64(register), WAVES)] for register in (A, B))
    return waves, a, b, waves.scc.tolist()


def _run(waves: Waves, word: int) -> None:
    step = program.bind(TARGET, word)
    assert step.run is not None
    step.run(waves)


def _cut(values: list[int], wide: bool) -> list[int]:
    return [value & (PAIR if wide else WORD) for value in values]


def _wide(name: str) -> tuple[bool, bool, bool]:
    """Are result, first and second operand pairs?"""
    pair = name.endswith("64")
    second = pair and not name.startswith(("s_lshl", "s_lshr", "s_ashr", "s_bfe"))
    return (False if name.startswith("s_bcnt") else pair), pair, second


def _check(waves: Waves, name: str, expected: list[tuple[int, bool | None]], before: list[bool]) -> None:
    wide = _wide(name)[0]
    got: Any = np.broadcast_to(waves.s64(RESULT) if wide else waves.s(RESULT), WAVES)
    assert got.tolist() == _cut([result for result, _ in expected], wide)
    scc = np.broadcast_to(waves.scc, WAVES).tolist()
    assert scc == [was if after is None else after for (_, after), was in zip(expected, before, strict=True)]


@pytest.mark.parametrize("name", [*TWO, *WITH_SCC])
def test_two_operands_are_as_python_has_it(name: str) -> None:
    waves, a, b, scc = _waves()
    _, wide_a, wide_b = _wide(name)
    a, b = _cut(a, wide_a), _cut(b, wide_b)

    _run(waves, _word(name, sdst=RESULT, src0=A, src1=B))

    if name in WITH_SCC:
        expected = [WITH_SCC[name](*lane) for lane in zip(a, b, scc, strict=True)]
    else:
        expected = [TWO[name](*lane) for lane in zip(a, b, strict=True)]
    _check(waves, name, expected, scc)


@pytest.mark.parametrize("name", ONE)
def test_one_operand_is_as_python_has_it(name: str) -> None:
    waves, a, _, scc = _waves()
    a = _cut(a, _wide(name)[1])

    _run(waves, _word(name, sdst=RESULT, src0=A))

    _check(waves, name, [ONE[name](value) for value in a], scc)


@pytest.mark.parametrize("name", [*COMPARE, *WITH_CONSTANT])
@pytest.mark.parametrize("constant", [0, 1, 0x8000, 0xFFFF])
def test_compares_set_scc(name: str, constant: int) -> None:
    waves, a, b, _ = _waves()
    if name in WITH_CONSTANT:
        relation, kind = WITH_CONSTANT[name]
        b = [constant if kind == "u32" else signed(constant, 16)] * WAVES
        word = _word(name, sdst=A, simm16=constant)
    else:
        relation, kind = COMPARE[name]
        word = _word(name, src0=A, src1=B)
    bits = 64 if kind == "u64" else 32

    _run(waves, word)

    convert = (lambda x: signed(x, bits)) if kind == "i32" else (lambda x: x & (1 << bits) - 1)
    expected = [relation(convert(x), convert(y)) for x, y in zip(a, b, strict=True)]
    assert np.broadcast_to(waves.scc, WAVES).tolist() == expected


@pytest.mark.parametrize(("name", "constant"), [("s_movk_i32", 0x8001), ("s_addk_i32", 0x7FFF), ("s_mulk_i32", 0xFFFE)])
def test_constants_of_16_bits_are_sign_extended(name: str, constant: int) -> None:
    waves, a, _, scc = _waves()
    waves.set_s(RESULT, waves.s(A))
    number = signed(constant, 16)
    exact = {
        "s_movk_i32": lambda x: number,
        "s_addk_i32": lambda x: signed(x) + number,
        "s_mulk_i32": lambda x: signed(x) * number,
    }

    _run(waves, _word(name, sdst=RESULT, simm16=constant))

    expected: list[tuple[int, bool | None]] = []
    for value in _cut(a, False):
        result = exact[name](value)
        expected.append((result, not -(2**31) <= result < 2**31 if name == "s_addk_i32" else None))
    _check(waves, name, expected, scc)


@pytest.mark.parametrize(("name", "wanted"), [("s_bitcmp0_b32", 0), ("s_bitcmp1_b32", 1)])
def test_bit_tests_set_scc(name: str, wanted: int) -> None:
    waves, a, b, _ = _waves()

    _run(waves, _word(name, src0=A, src1=B))

    expected = [x >> (y & 31) & 1 == wanted for x, y in zip(_cut(a, False), b, strict=True)]
    assert np.broadcast_to(waves.scc, WAVES).tolist() == expected


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("s_and_saveexec_b64", lambda s, e: s & e),
        ("s_or_saveexec_b64", lambda s, e: s | e),
        ("s_xor_saveexec_b64", lambda s, e: s ^ e),
        ("s_andn2_saveexec_b64", lambda s, e: s & ~e),
    ],
)
def test_saveexec_keeps_the_old_mask_and_sets_the_new(name: str, function: Callable[[int, int], int]) -> None:
    waves, a, b, _ = _waves()
    _run(waves, _word("s_mov_b64", sdst=126, src0=B))

    _run(waves, _word(name, sdst=RESULT, src0=A))

    expected = [function(x, y) & PAIR for x, y in zip(a, b, strict=True)]
    assert np.broadcast_to(waves.s64(RESULT), WAVES).tolist() == b
    assert np.broadcast_to(waves.s64(126), WAVES).tolist() == expected
    assert np.broadcast_to(waves.scc, WAVES).tolist() == [value != 0 for value in expected]
