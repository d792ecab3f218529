"""Integer instructions against Python's integers, which know no width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpumodel.isa.valu import VALU
from tests.isa_operands import dtype, operands

_32, _64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _byte(value: int, i: int) -> int:
    return value >> 8 * i & 0xFF


def _s24(value: int) -> int:
    return _signed(value, 24)


def _u24(value: int) -> int:
    return value & 0xFFFFFF


def _sad(a: int, b: int, c: int) -> int:
    return c + sum(abs(_byte(a, i) - _byte(b, i)) for i in range(4))


def _msad(a: int, b: int, c: int) -> int:
    return c + sum(abs(_byte(a, i) - _byte(b, i)) for i in range(4) if _byte(b, i))


def _perm_byte(both: int, select: int) -> int:
    if select < 8:
        return _byte(both, select)
    if select < 12:
        return 0xFF if both >> (16 * (select - 8) + 15) & 1 else 0
    return 0 if select == 12 else 0xFF


def _perm(a: int, b: int, select: int) -> int:
    return sum(_perm_byte(a << 32 | b, _byte(select, i)) << 8 * i for i in range(4))


def _windows(sad: Callable[[int, int, int], int], a: int, b: int, c: int) -> int:
    return sum((sad(a >> 8 * i & _32, b, c >> 16 * i & 0xFFFF) & 0xFFFF) << 16 * i for i in range(4))


def _ffbh_i32(value: int) -> int:
    bits = f"{value & _32:032b}"
    return next((i for i in range(1, 32) if bits[i] != bits[0]), -1)


def _bfe_i32(value: int, first: int, width: int) -> int:
    width &= 31
    return _signed(value >> (first & 31), width) if width else 0


def _lerp(a: int, b: int, c: int) -> int:
    return sum((_byte(a, i) + _byte(b, i) + (_byte(c, i) & 1) >> 1) << 8 * i for i in range(4))


def _sat8(value: int) -> int:
    return max(0, min(255, value))


# Operands are Python integers, signed where the type is; results are cut to their width by the test.
EXPECTED: dict[str, Callable[..., Any]] = {
    "v_not_b32": lambda a: ~a,
    "v_bfrev_b32": lambda a: int(f"{a:032b}"[::-1], 2),
    "v_ffbh_u32": lambda a: 32 - a.bit_length() if a else -1,
    "v_ffbl_b32": lambda a: (a & -a).bit_length() - 1 if a else -1,
    "v_ffbh_i32": _ffbh_i32,
    "v_prng_b32": lambda a: a << 1 ^ (197 if a >> 31 else 0),
    "v_and_b32": lambda a, b: a & b,
    "v_or_b32": lambda a, b: a | b,
    "v_xor_b32": lambda a, b: a ^ b,
    "v_xnor_b32": lambda a, b: ~(a ^ b),
    "v_add_u32": lambda a, b: a + b,
    "v_sub_u32": lambda a, b: a - b,
    "v_subrev_u32": lambda a, b: b - a,
    "v_add_u16": lambda a, b: a + b,
    "v_sub_u16": lambda a, b: a - b,
    "v_subrev_u16": lambda a, b: b - a,
    "v_add_i32": lambda a, b: a + b,
    "v_sub_i32": lambda a, b: a - b,
    "v_add_i16": lambda a, b: a + b,
    "v_sub_i16": lambda a, b: a - b,
    "v_mul_lo_u32": lambda a, b: a * b,
    "v_mul_hi_u32": lambda a, b: a * b >> 32,
    "v_mul_hi_i32": lambda a, b: a * b >> 32,
    "v_mul_lo_u16": lambda a, b: a * b,
    "v_mul_u32_u24": lambda a, b: _u24(a) * _u24(b),
    "v_mul_hi_u32_u24": lambda a, b: _u24(a) * _u24(b) >> 32,
    "v_mul_i32_i24": lambda a, b: _s24(a) * _s24(b),
    "v_mul_hi_i32_i24": lambda a, b: _s24(a) * _s24(b) >> 32,
    "v_mad_u32_u24": lambda a, b, c: _u24(a) * _u24(b) + c,
    "v_mad_i32_i24": lambda a, b, c: _s24(a) * _s24(b) + c,
    "v_mad_u32_u16": lambda a, b, c: a * b + c,
    "v_mad_i32_i16": lambda a, b, c: a * b + c,
    "v_mad_u16": lambda a, b, c: a * b + c,
    "v_mad_i16": lambda a, b, c: a * b + c,
    "v_mad_u64_u32": lambda a, b, c: (a * b + c, a * b + c > _64),
    "v_mad_i64_i32": lambda a, b, c: (a * b + c, a * b + c < 0),
    "v_add_co_u32": lambda a, b: (a + b, a + b > _32),
    "v_sub_co_u32": lambda a, b: (a - b, b > a),
    "v_subrev_co_u32": lambda a, b: (b - a, a > b),
    "v_addc_co_u32": lambda a, b, c: (a + b + c, a + b + c > _32),
    "v_subb_co_u32": lambda a, b, c: (a - b - c, b + c > a),
    "v_subbrev_co_u32": lambda a, b, c: (b - a - c, a + c > b),
    "v_lshlrev_b32": lambda a, b: b << (a & 31),
    "v_lshrrev_b32": lambda a, b: b >> (a & 31),
    "v_ashrrev_i32": lambda a, b: b >> (a & 31),
    "v_lshlrev_b16": lambda a, b: b << (a & 15),
    "v_lshrrev_b16": lambda a, b: b >> (a & 15),
    "v_ashrrev_i16": lambda a, b: b >> (a & 15),
    "v_lshlrev_b64": lambda a, b: b << (a & 63),
    "v_lshrrev_b64": lambda a, b: b >> (a & 63),
    "v_ashrrev_i64": lambda a, b: b >> (a & 63),
    "v_lshl_add_u64": lambda a, b, c: (a << (b & 7)) + c,
    "v_bfm_b32": lambda a, b: ((1 << (a & 31)) - 1) << (b & 31),
    "v_bcnt_u32_b32": lambda a, b: a.bit_count() + b,
    "v_bfe_u32": lambda a, b, c: a >> (b & 31) & ((1 << (c & 31)) - 1),
    "v_bfe_i32": _bfe_i32,
    "v_bfi_b32": lambda a, b, c: a & b | ~a & c,
    "v_lerp_u8": _lerp,
    "v_alignbit_b32": lambda a, b, c: (a << 32 | b) >> (c & 31),
    "v_alignbyte_b32": lambda a, b, c: (a << 32 | b) >> 8 * (c & 3),
    "v_sad_u8": _sad,
    "v_msad_u8": _msad,
    "v_sad_hi_u8": lambda a, b, c: (_sad(a, b, 0) << 16) + c,
    "v_sad_u16": lambda a, b, c: c + abs((a & 0xFFFF) - (b & 0xFFFF)) + abs((a >> 16) - (b >> 16)),
    "v_sad_u32": lambda a, b, c: c + abs(a - b),
    "v_qsad_pk_u16_u8": lambda a, b, c: _windows(_sad, a, b, c),
    "v_mqsad_pk_u16_u8": lambda a, b, c: _windows(_msad, a, b, c),
    "v_perm_b32": _perm,
    "v_xad_u32": lambda a, b, c: (a ^ b) + c,
    "v_lshl_add_u32": lambda a, b, c: (a << (b & 31)) + c,
    "v_add_lshl_u32": lambda a, b, c: (a + b & _32) << (c & 31),
    "v_add3_u32": lambda a, b, c: a + b + c,
    "v_lshl_or_b32": lambda a, b, c: (a << (b & 31)) & _32 | c,
    "v_and_or_b32": lambda a, b, c: a & b | c,
    "v_or3_b32": lambda a, b, c: a | b | c,
    "v_cndmask_b32": lambda a, b, c: b if c else a,
    "v_sat_pk_u8_i16": lambda a: _sat8(_signed(a, 16)) | _sat8(_signed(a >> 16, 16)) << 8,
    "v_ashr_pk_u8_i32": lambda a, b, c: _sat8(a >> (c & 31)) | _sat8(b >> (c & 31)) << 8,
    "v_ashr_pk_i8_i32": lambda a, b, c: sum((max(-128, min(127, x >> (c & 31))) & 0xFF) << 8 * i for i, x in enumerate((a, b))),
    **{f"v_min_{t}": min for t in ("u32", "i32", "u16", "i16")},
    **{f"v_max_{t}": max for t in ("u32", "i32", "u16", "i16")},
    **{f"v_min3_{t}": min for t in ("u32", "i32", "u16", "i16")},
    **{f"v_max3_{t}": max for t in ("u32", "i32", "u16", "i16")},
    **{f"v_med3_{t}": lambda a, b, c: sorted((a, b, c))[1] for t in ("u32", "i32", "u16", "i16")},
}  # fmt: skip


def _same_bits(value: Any, word: str) -> int:
    """A Python integer as the type holds it."""
    if word == "mask":
        return bool(value)
    return int(value) & (1 << 8 * int(dtype(word).itemsize)) - 1


def _bits(array: Any) -> list[int]:
    flat = array.reshape(-1)
    return [bool(x) for x in flat] if flat.dtype == bool else [int(x) for x in flat.view(f"u{flat.itemsize}")]


@pytest.mark.parametrize("name", EXPECTED)
def test_integer_random_and_corner_operands_are_as_python_has_it(name: str) -> None:
    op = VALU[name]
    sources = operands(op, waves=4, seed=11)

    got = op.run(*sources)

    results = (got,) if isinstance(op.result, str) else got
    words = (op.result,) if isinstance(op.result, str) else op.result
    lanes = zip(*(source.reshape(-1).tolist() for source in sources), strict=True)
    expected = [EXPECTED[name](*lane) for lane in lanes]
    for i, (result, word) in enumerate(zip(results, words, strict=True)):
        part = [lane[i] if isinstance(lane, tuple) else lane for lane in expected]
        assert result.dtype == dtype(word)
        assert _bits(result) == [_same_bits(value, word) for value in part]


@pytest.mark.parametrize("table", [0, 0xFF, 0x80, 0x96, 0xCA, 0x5A])
@pytest.mark.parametrize("name", ["v_bitop3_b32", "v_bitop3_b16"])
def test_bitop3_every_bit_follows_the_truth_table(name: str, table: int) -> None:
    op = VALU[name]
    a, b, c = operands(op, waves=1, seed=table)
    width = a.itemsize * 8

    got = op.run(a, b, c, bitop3=table)

    for x, y, z, result in zip(*(v.reshape(-1).tolist() for v in (a, b, c, got)), strict=True):
        rows = [(x >> i & 1) << 2 | (y >> i & 1) << 1 | (z >> i & 1) for i in range(width)]
        assert result == sum((table >> row & 1) << i for i, row in enumerate(rows))


def test_mbcnt_counts_set_lanes_below_ones_own() -> None:
    ones, start = np.full((1, 64), 0xFFFFFFFF, np.uint32), np.full((1, 64), 5, np.uint32)

    low, high = VALU["v_mbcnt_lo_u32_b32"].run(ones, start), VALU["v_mbcnt_hi_u32_b32"].run(ones, start)

    assert low[0].tolist() == [5 + min(lane, 32) for lane in range(64)]
    assert high[0].tolist() == [5 + max(lane - 32, 0) for lane in range(64)]


def test_mqsad_u32_starts_from_four_registers() -> None:
    op = VALU["v_mqsad_u32_u8"]
    a, b, c = operands(op, waves=1, seed=3)

    got = op.run(a, b, c)

    for i in range(4):
        expected = [
            _msad(x >> 8 * i & _32, y, z) & _32
            for x, y, z in zip(a[0].tolist(), b[0].tolist(), c[i][0].tolist(), strict=True)
        ]
        assert got[i][0].tolist() == expected


@pytest.mark.parametrize("name", [n for n, op in VALU.items() if n.startswith("v_cmp_") and op.sources[0][0] in "iu"])
def test_compare_integers_are_as_python_has_it(name: str) -> None:
    relations: dict[str, Callable[[int, int], bool]] = {
        "lt": lambda a, b: a < b, "eq": lambda a, b: a == b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b, "ne": lambda a, b: a != b, "f": lambda a, b: False, "t": lambda a, b: True,
    }  # fmt: skip
    relation = relations[name.split("_")[2]]
    a, b = operands(VALU[name], waves=2, seed=5)
    b[0, ::3] = a[0, ::3]

    got = VALU[name].run(a, b)

    assert got.reshape(-1).tolist() == [
        relation(x, y) for x, y in zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True)
    ]
