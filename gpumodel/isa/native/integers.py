"""Integer vector instructions as LLVM IR: what each Op of gpumodel/isa/integer.py, compare.py and packed.py computes, by name.

Sources, results and wants are those of the Op; masks are vectors of i1, pairs tuples (low, high). What needs to know its lane
(v_mbcnt) is not here. Nothing below is poison: shifts take the low bits of their amounts, as the instructions do."""

from __future__ import annotations

from collections.abc import Callable

from gpumodel.isa.native.bits import (
    Two,
    add_carry,
    amount,
    ashr,
    byte,
    high,
    inverted,
    joined,
    lshl,
    lshr,
    number,
    or_none,
    sub_borrow,
    wide_product,
)
from gpumodel.isa.native.bytewise import BYTES
from gpumodel.isa.native.ir import Builder, Lower, Value, const, like


def _do(*opcodes: str) -> Lower:
    """a op b, and for each more operation one more operand: (a op b) op c."""

    def lower(b: Builder, first: Value, *others: Value) -> Value:
        for opcode, other in zip(opcodes, others, strict=True):
            first = b.two(opcode, first, other)
        return first

    return lower


def _swapped(lower: Lower) -> Lower:
    return lambda b, first, second, *rest: lower(b, second, first, *rest)


def _call(intrinsic: str) -> Lower:
    """An intrinsic of operands that all have the result's type."""
    return lambda b, *values: b.call(intrinsic, values[0].type, values)


def _same(b: Builder, value: Value) -> Value:
    return value


# ---- shifts and fields


def _ones(b: Builder, width: Value) -> Value:
    return number(b, "sub", lshl(b, const(width.type, 1), width), 1)


def _bfe_u32(b: Builder, value: Value, first: Value, width: Value) -> Value:
    return b.two("and", lshr(b, value, first), _ones(b, width))


def _bfe_i32(b: Builder, value: Value, first: Value, width: Value) -> Value:
    """Shifted up, then down with the sign; no bits at all are 0."""
    width = number(b, "and", width, 31)
    up = b.two("sub", const(width.type, 0), width)
    field = ashr(b, lshl(b, ashr(b, value, first), up), up)
    zero = const(width.type, 0)
    return b.select(b.icmp("eq", width, zero), zero, field)


def _bfi(b: Builder, mask: Value, one: Value, other: Value) -> Value:
    return b.two("xor", b.two("and", b.two("xor", one, other), mask), other)


def _alignbyte(b: Builder, high: Value, low: Value, by: Value) -> Value:
    return b.call("fshr", low.type, [high, low, number(b, "shl", number(b, "and", by, 3), 3)])


def _lshl_add_u64(b: Builder, value: Value, by: Value, add: Value) -> Value:
    return b.two("add", b.two("shl", value, amount(b, number(b, "and", by, 7), value)), add)


def _permbyte(b: Builder, high: Value, low: Value, chosen: Value) -> Value:
    zero, all_ones = const(low.type, 0), const(low.type, 0xFF)

    def of(bit: int) -> Value:
        return b.select(b.icmp("ne", number(b, "and", chosen, bit), zero), high, low)

    byte = number(b, "and", lshr(b, of(4), number(b, "shl", chosen, 3)), 0xFF)
    up = number(b, "shl", number(b, "and", number(b, "xor", chosen, 1), 1), 4)
    sign = number(b, "and", number(b, "ashr", b.two("shl", of(2), up), 31), 0xFF)
    fixed = b.select(b.icmp("eq", chosen, const(low.type, 12)), zero, all_ones)
    signed = b.select(b.icmp("ugt", chosen, const(low.type, 11)), fixed, sign)
    return b.select(b.icmp("ugt", chosen, const(low.type, 7)), signed, byte)


def _perm(b: Builder, high: Value, low: Value, select: Value) -> Value:
    return joined(b, [_permbyte(b, high, low, byte(b, select, i)) for i in range(4)], 8)


def _truth(b: Builder, table: int, operands: list[Value], kind: str) -> Value:
    """The function of which `table` has a bit for each choice of the operands, the first one's the highest of its number."""
    if not operands:
        return const(kind, -table)
    size = 1 << len(operands) - 1  # bits of the table for either value of the first operand
    first, rest = operands[0], operands[1:]
    when_0, when_1 = table & (1 << size) - 1, table >> size
    differs = when_0 ^ when_1
    if not differs:
        return _truth(b, when_0, rest, kind)
    if differs == (1 << size) - 1:
        flips = first
    else:
        flips = b.two("and", first, _truth(b, differs, rest, kind))
    return flips if not when_0 else b.two("xor", _truth(b, when_0, rest, kind), flips)


def _bitop3(b: Builder, *operands: Value, bitop3: int) -> Value:
    return _truth(b, bitop3, list(operands), operands[0].type)


# ---- counting


def _ffbh_i32(b: Builder, value: Value) -> Value:
    return or_none(b, "ctlz", b.two("xor", value, number(b, "ashr", value, 31)))


def _bcnt(b: Builder, value: Value, start: Value) -> Value:
    return b.two("add", b.call("ctpop", value.type, [value]), start)


def _prng(b: Builder, value: Value) -> Value:
    return b.two("xor", number(b, "shl", value, 1), number(b, "and", number(b, "ashr", value, 31), 197))


# ---- sums and products


def _signed24(b: Builder, value: Value) -> Value:
    return number(b, "ashr", number(b, "shl", value, 8), 8)


def _low24(b: Builder, value: Value) -> Value:
    return number(b, "and", value, 0xFFFFFF)


def _high24(extend: str, narrow: Callable[[Builder, Value], Value]) -> Two:
    return lambda b, first, second: high(extend)(b, narrow(b, first), narrow(b, second))


def _product24(narrow: Callable[[Builder, Value], Value]) -> Lower:
    def lower(b: Builder, first: Value, second: Value, add: Value | None = None) -> Value:
        product = b.two("mul", narrow(b, first), narrow(b, second))
        return product if add is None else b.two("add", product, add)

    return lower


def _mad_u64(b: Builder, first: Value, second: Value, add: Value) -> tuple[Value, Value]:
    total = b.two("add", wide_product(b, "zext", first, second), add)
    return total, b.icmp("ult", total, add)


def _mad_i64(b: Builder, first: Value, second: Value, add: Value) -> tuple[Value, Value]:
    """The second result is the sign of the sum of 65 bits."""
    product = wide_product(b, "sext", first, second)
    total = b.two("add", product, add)
    overflow = b.two("and", b.two("xor", product, total), b.two("xor", add, total))
    return total, b.icmp("slt", b.two("xor", total, overflow), const(total.type, 0))


def _mad_16(extend: str) -> Lower:
    def lower(b: Builder, first: Value, second: Value, add: Value) -> Value:
        return b.two("add", b.two("mul", b.cast(extend, first, "i32"), b.cast(extend, second, "i32")), add)

    return lower


def _median(sign: str) -> Lower:
    least, most = _call(f"{sign}min"), _call(f"{sign}max")
    return lambda b, x, y, z: most(b, least(b, x, y), least(b, most(b, x, y), z))


def _three(intrinsic: str) -> Lower:
    pick = _call(intrinsic)
    return lambda b, x, y, z: pick(b, pick(b, x, y), z)


# ---- compares


def _relation(predicate: str) -> Lower:
    return lambda b, first, second: b.icmp(predicate, first, second)


def _constant(outcome: bool) -> Lower:
    return lambda b, first, second: const(like(first.type, "i1"), outcome)


def _relations(sign: str) -> dict[str, Lower]:
    ordered = {name: _relation(f"{sign}{name}") for name in ("lt", "le", "gt", "ge")}
    return {**ordered, "eq": _relation("eq"), "ne": _relation("ne"), "f": _constant(False), "t": _constant(True)}


# ---- pairs


def _each(lower: Lower) -> Lower:
    """The same on both halves."""

    return lambda b, *pairs: tuple(lower(b, *(pair[half] for pair in pairs)) for half in range(2))


def _dot2(extend: str) -> Lower:
    def lower(b: Builder, first: tuple[Value, Value], second: tuple[Value, Value], total: Value) -> Value:
        for x, y in zip(first, second, strict=True):
            total = b.two("add", total, b.two("mul", b.cast(extend, x, "i32"), b.cast(extend, y, "i32")))
        return total

    return lower


def _dot(bits: int, down: str) -> Lower:
    """Of the fields of `bits` bits, brought down with their sign or without."""

    def field(b: Builder, words: Value, at: int) -> Value:
        return number(b, down, number(b, "shl", words, 32 - bits - at), 32 - bits)

    def lower(b: Builder, first: Value, second: Value, total: Value) -> Value:
        for at in range(0, 32, bits):
            total = b.two("add", total, b.two("mul", field(b, first, at), field(b, second, at)))
        return total

    return lower


_KINDS = {"u32": "u", "i32": "s", "u16": "u", "i16": "s"}  # and LLVM's letter for the sign

INTEGER: dict[str, Lower] = {
    **BYTES,
    **dict.fromkeys(("v_mov_b32", "v_mov_b64"), _same),
    **dict.fromkeys(("v_accvgpr_read_b32", "v_accvgpr_write_b32", "v_accvgpr_mov_b32"), _same),
    "v_cndmask_b32": lambda b, no, yes, mask: b.select(mask, yes, no),
    "v_not_b32": inverted,
    "v_bfrev_b32": _call("bitreverse"),
    "v_ffbh_u32": lambda b, value: or_none(b, "ctlz", value),
    "v_ffbl_b32": lambda b, value: or_none(b, "cttz", value),
    "v_ffbh_i32": _ffbh_i32,
    "v_bcnt_u32_b32": _bcnt,
    "v_prng_b32": _prng,
    "v_and_b32": _do("and"),
    "v_or_b32": _do("or"),
    "v_xor_b32": _do("xor"),
    "v_xnor_b32": lambda b, x, y: inverted(b, b.two("xor", x, y)),
    "v_bitop3_b32": _bitop3,
    "v_bitop3_b16": _bitop3,
    **{f"v_lshlrev_b{bits}": _swapped(lshl) for bits in (16, 32, 64)},
    **{f"v_lshrrev_b{bits}": _swapped(lshr) for bits in (16, 32, 64)},
    **{f"v_ashrrev_i{bits}": _swapped(ashr) for bits in (16, 32, 64)},
    "v_bfm_b32": lambda b, width, first: lshl(b, _ones(b, width), first),
    "v_bfe_u32": _bfe_u32,
    "v_bfe_i32": _bfe_i32,
    "v_bfi_b32": _bfi,
    "v_alignbit_b32": _call("fshr"),
    "v_alignbyte_b32": _alignbyte,
    "v_perm_b32": _perm,
    **{f"v_add_{kind}": _do("add") for kind in _KINDS},
    **{f"v_sub_{kind}": _do("sub") for kind in _KINDS},
    **{f"v_subrev_{kind}": _swapped(_do("sub")) for kind in ("u32", "u16")},
    "v_add_co_u32": add_carry,
    "v_addc_co_u32": add_carry,
    "v_sub_co_u32": sub_borrow,
    "v_subb_co_u32": sub_borrow,
    "v_subrev_co_u32": _swapped(sub_borrow),
    "v_subbrev_co_u32": _swapped(sub_borrow),
    "v_mul_u32_u24": _product24(_low24),
    "v_mul_i32_i24": _product24(_signed24),
    "v_mad_u32_u24": _product24(_low24),
    "v_mad_i32_i24": _product24(_signed24),
    "v_mul_hi_u32_u24": _high24("zext", _low24),
    "v_mul_hi_i32_i24": _high24("sext", _signed24),
    "v_mul_lo_u32": _do("mul"),
    "v_mul_lo_u16": _do("mul"),
    "v_mul_hi_u32": high("zext"),
    "v_mul_hi_i32": high("sext"),
    "v_mad_u64_u32": _mad_u64,
    "v_mad_i64_i32": _mad_i64,
    "v_mad_u32_u16": _mad_16("zext"),
    "v_mad_i32_i16": _mad_16("sext"),
    **{f"v_{name}_{kind}": _do("mul", "add") for name in ("mad", "mad_legacy") for kind in ("u16", "i16")},
    "v_lshl_add_u64": _lshl_add_u64,
    "v_lshl_add_u32": lambda b, x, by, y: b.two("add", lshl(b, x, by), y),
    "v_add_lshl_u32": lambda b, x, y, by: lshl(b, b.two("add", x, y), by),
    "v_lshl_or_b32": lambda b, x, by, y: b.two("or", lshl(b, x, by), y),
    "v_xad_u32": _do("xor", "add"),
    "v_add3_u32": _do("add", "add"),
    "v_and_or_b32": _do("and", "or"),
    "v_or3_b32": _do("or", "or"),
    **{f"v_{name}_{kind}": _call(sign + name) for name in ("min", "max") for kind, sign in _KINDS.items()},
    **{f"v_{name}3_{kind}": _three(sign + name) for name in ("min", "max") for kind, sign in _KINDS.items()},
    **{f"v_med3_{kind}": _median(sign) for kind, sign in _KINDS.items()},
}
COMPARE: dict[str, Lower] = {
    f"{prefix}_{name}_{kind}{bits}": lower
    for kind, sign in (("u", "u"), ("i", "s"))
    for name, lower in _relations(sign).items()
    for bits in (16, 32, 64)
    for prefix in ("v_cmp", "v_cmpx")
}
PACKED: dict[str, Lower] = {
    **{
        f"v_pk_{name}": _each(INTEGER[f"v_{name}"])
        for name in ("add_u16", "add_i16", "sub_u16", "sub_i16", "mul_lo_u16", "mad_u16", "mad_i16")
    },
    **{f"v_pk_{name}_{kind}": _each(INTEGER[f"v_{name}_{kind}"]) for name in ("min", "max") for kind in ("u16", "i16")},
    **{f"v_pk_{name}": _each(INTEGER[f"v_{name}"]) for name in ("lshlrev_b16", "lshrrev_b16", "ashrrev_i16")},
    "v_dot2_i32_i16": _dot2("sext"),
    "v_dot2c_i32_i16": _dot2("sext"),
    "v_dot2_u32_u16": _dot2("zext"),
    **dict.fromkeys(("v_dot4_i32_i8", "v_dot4c_i32_i8"), _dot(8, "ashr")),
    **dict.fromkeys(("v_dot8_i32_i4", "v_dot8c_i32_i4"), _dot(4, "ashr")),
    "v_dot4_u32_u8": _dot(8, "lshr"),
    "v_dot8_u32_u4": _dot(4, "lshr"),
}
LOWERED: dict[str, Lower] = {**INTEGER, **COMPARE, **PACKED}
