"""Scalar instructions as LLVM IR: SOP1, SOP2, SOPC, SOPK as gpumodel/isa/scalar.py computes them, on "i32" and "i64".

What touches EXEC, M0 as an index, the program counter or the mode is not here."""

from __future__ import annotations

from collections.abc import Callable

from gpumodel.isa.native.bits import add_carry, ashr, high, inverted, lshl, lshr, number, or_none, sub_borrow
from gpumodel.isa.native.ir import BITS, Builder, Value, const
from gpumodel.isa.scalar import wide_name

Result = tuple[Value, Value | None]  # value, SCC (None: it stays)
One = Callable[[Builder, Value], Result]
Two = Callable[[Builder, Value, Value], Result]


def _nonzero(b: Builder, value: Value) -> Result:
    return value, b.icmp("ne", value, const(value.type, 0))


def _plain(compute: Callable[..., Value]) -> Callable[..., Result]:
    """SCC stays."""
    return lambda b, *values: (compute(b, *values), None)


def _tested(compute: Callable[..., Value]) -> Callable[..., Result]:
    """SCC is whether any bit of the result is set."""
    return lambda b, *values: _nonzero(b, compute(b, *values))


# ---- two operands


def _op(opcode: str, invert: bool = False) -> Callable[..., Value]:
    def compute(b: Builder, first: Value, second: Value) -> Value:
        result = b.two(opcode, first, second)
        return inverted(b, result) if invert else result

    return compute


def _with_inverted(opcode: str) -> Callable[..., Value]:
    return lambda b, first, second: b.two(opcode, first, inverted(b, second))


_LOGIC: dict[str, Callable[..., Value]] = {
    "and": _op("and"),
    "or": _op("or"),
    "xor": _op("xor"),
    "andn2": _with_inverted("and"),
    "orn2": _with_inverted("or"),
    "nand": _op("and", invert=True),
    "nor": _op("or", invert=True),
    "xnor": _op("xor", invert=True),
}


def _sum_signed(b: Builder, first: Value, second: Value) -> Result:
    total = b.two("add", first, second)
    over = b.two("and", b.two("xor", first, total), b.two("xor", second, total))
    return total, b.icmp("slt", over, const(total.type, 0))


def _difference_signed(b: Builder, first: Value, second: Value) -> Result:
    rest = b.two("sub", first, second)
    over = b.two("and", b.two("xor", first, second), b.two("xor", first, rest))
    return rest, b.icmp("slt", over, const(rest.type, 0))


def _pick(predicate: str) -> Two:
    """The first if it stands so to the second; SCC says whether."""

    def lower(b: Builder, first: Value, second: Value) -> Result:
        better = b.icmp(predicate, first, second)
        return b.select(better, first, second), better

    return lower


def _mask(kind: str) -> Two:
    """s_bfm: as many ones as the first says, from the bit on that the second names."""

    def lower(b: Builder, width: Value, first: Value) -> Result:
        ones = number(b, "sub", lshl(b, const(kind, 1), width), 1)
        return lshl(b, ones, first), None

    return lower


def _width(b: Builder, value: Value, field: Value) -> Value:
    """The width that s_bfe's second operand names, at most all bits, in the type of the first."""
    bits = BITS[value.type]
    wanted = number(b, "and", number(b, "lshr", field, 16), 0x7F)
    return b.cast("zext", b.call("umin", field.type, [wanted, const(field.type, bits)]), value.type)


def _extract(b: Builder, value: Value, field: Value) -> Value:
    bits, width = BITS[value.type], _width(b, value, field)
    some = number(b, "sub", lshl(b, const(value.type, 1), width), 1)
    whole = b.icmp("eq", width, const(value.type, bits))
    return b.two("and", lshr(b, value, field), b.select(whole, const(value.type, -1), some))


def _extract_signed(b: Builder, value: Value, field: Value) -> Value:
    """What lies above the highest bit does not count: the sign is that of the highest bit there is."""
    bits, width = BITS[value.type], _width(b, value, field)
    offset = number(b, "and", b.cast("zext", field, value.type), bits - 1)
    there = b.two("sub", const(value.type, bits), offset)
    held = b.call("umin", value.type, [width, there])
    up = b.two("sub", const(value.type, bits), held)
    extended = ashr(b, lshl(b, lshr(b, value, offset), up), up)
    none = b.icmp("eq", width, const(value.type, 0))
    return b.select(none, const(value.type, 0), extended)


def _magnitude(b: Builder, value: Value) -> Value:
    """The least number stays as it is."""
    return b.call("abs", value.type, [value, const("i1", 0)])


def _absdiff(b: Builder, first: Value, second: Value) -> Value:
    return _magnitude(b, b.two("sub", first, second))


def _shift_add(by: int) -> Two:
    def lower(b: Builder, first: Value, second: Value) -> Result:
        shifted = number(b, "shl", b.cast("zext", first, "i64"), by)
        total = b.two("add", shifted, b.cast("zext", second, "i64"))
        return b.cast("trunc", total, "i32"), b.icmp("ugt", total, const("i64", 0xFFFFFFFF))

    return lower


def _pack(first_high: bool, second_high: bool) -> Two:
    def lower(b: Builder, first: Value, second: Value) -> Result:
        low = number(b, "lshr", first, 16) if first_high else number(b, "and", first, 0xFFFF)
        high = number(b, "and", second, 0xFFFF0000) if second_high else number(b, "shl", second, 16)
        return b.two("or", low, high), None

    return lower


SOP2: dict[str, Two] = {
    "s_add_u32": add_carry,
    "s_sub_u32": sub_borrow,
    "s_add_i32": _sum_signed,
    "s_sub_i32": _difference_signed,
    "s_min_i32": _pick("slt"),
    "s_min_u32": _pick("ult"),
    "s_max_i32": _pick("sgt"),
    "s_max_u32": _pick("ugt"),
    **dict.fromkeys(("s_lshl_b32", "s_lshl_b64"), _tested(lshl)),
    **dict.fromkeys(("s_lshr_b32", "s_lshr_b64"), _tested(lshr)),
    **dict.fromkeys(("s_ashr_i32", "s_ashr_i64"), _tested(ashr)),
    "s_bfm_b32": _mask("i32"),
    "s_bfm_b64": _mask("i64"),
    "s_mul_i32": _plain(_op("mul")),
    "s_mul_hi_u32": _plain(high("zext")),
    "s_mul_hi_i32": _plain(high("sext")),
    **dict.fromkeys(("s_bfe_u32", "s_bfe_u64"), _tested(_extract)),
    **dict.fromkeys(("s_bfe_i32", "s_bfe_i64"), _tested(_extract_signed)),
    "s_absdiff_i32": _tested(_absdiff),
    **{f"s_lshl{by}_add_u32": _shift_add(by) for by in (1, 2, 3, 4)},
    "s_pack_ll_b32_b16": _pack(False, False),
    "s_pack_lh_b32_b16": _pack(False, True),
    "s_pack_hh_b32_b16": _pack(True, True),
    **{f"s_{name}_b{bits}": _tested(compute) for name, compute in _LOGIC.items() for bits in (32, 64)},
}
# With SCC as a third operand.
CARRY: dict[str, Callable[[Builder, Value, Value, Value], Result]] = {"s_addc_u32": add_carry, "s_subb_u32": sub_borrow}


# ---- one operand


def _word(b: Builder, value: Value) -> Value:
    """The low 32 bits."""
    return b.cast("trunc", value, "i32")


def _count(b: Builder, value: Value) -> Value:
    return _word(b, b.call("ctpop", value.type, [value]))


def _place(intrinsic: str) -> Callable[..., Value]:
    """Zeros below or above the only bits; -1 where there is none."""
    return lambda b, value: _word(b, or_none(b, intrinsic, value))


def _of_inverted(compute: Callable[..., Value]) -> Callable[..., Value]:
    return lambda b, value: compute(b, inverted(b, value))


def _leading_signs(b: Builder, value: Value) -> Value:
    sign = number(b, "ashr", value, BITS[value.type] - 1)
    return _word(b, or_none(b, "ctlz", b.two("xor", value, sign)))


def _sext(scalar: str) -> One:
    return lambda b, value: (b.cast("sext", b.cast("trunc", value, scalar), value.type), None)


def _lowest_of_quads(b: Builder, value: Value) -> Value:
    """The lowest bit of each four, set if any of them is."""
    for by in (1, 2):
        value = b.two("or", value, number(b, "lshr", value, by))
    return number(b, "and", value, 0x1111111111111111)


def _whole_quads(b: Builder, value: Value) -> Value:
    return number(b, "mul", _lowest_of_quads(b, value), 15)


def _quads(b: Builder, value: Value) -> Value:
    """A bit for each four: groups of bits move together, twice as large each time."""
    value = _lowest_of_quads(b, value)
    for by, kept in ((3, 0x0303030303030303), (6, 0x000F000F000F000F), (12, 0x000000FF000000FF), (24, 0xFFFF)):
        if by < BITS[value.type] // 2:
            value = number(b, "and", b.two("or", value, number(b, "lshr", value, by)), kept)
    return value


def _replicate(b: Builder, value: Value) -> Value:
    """Each bit twice: the bits move apart, then each is copied to the next place."""
    value = b.cast("zext", value, "i64")
    for by, kept in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        value = number(b, "and", b.two("or", value, number(b, "shl", value, by)), kept)
    return number(b, "mul", value, 3)


SOP1: dict[str, One] = {
    **dict.fromkeys(("s_mov_b32", "s_mov_b64"), _plain(lambda b, value: value)),
    **dict.fromkeys(("s_not_b32", "s_not_b64"), _tested(inverted)),
    **dict.fromkeys(("s_wqm_b32", "s_wqm_b64"), _tested(_whole_quads)),
    **dict.fromkeys(("s_brev_b32", "s_brev_b64"), _plain(lambda b, value: b.call("bitreverse", value.type, [value]))),
    **dict.fromkeys(("s_bcnt0_i32_b32", "s_bcnt0_i32_b64"), _tested(_of_inverted(_count))),
    **dict.fromkeys(("s_bcnt1_i32_b32", "s_bcnt1_i32_b64"), _tested(_count)),
    **dict.fromkeys(("s_ff0_i32_b32", "s_ff0_i32_b64"), _plain(_of_inverted(_place("cttz")))),
    **dict.fromkeys(("s_ff1_i32_b32", "s_ff1_i32_b64"), _plain(_place("cttz"))),
    **dict.fromkeys(("s_flbit_i32_b32", "s_flbit_i32_b64"), _plain(_place("ctlz"))),
    **dict.fromkeys(("s_flbit_i32", "s_flbit_i32_i64"), _plain(_leading_signs)),
    "s_sext_i32_i8": _sext("i8"),
    "s_sext_i32_i16": _sext("i16"),
    **dict.fromkeys(("s_quadmask_b32", "s_quadmask_b64"), _tested(_quads)),
    "s_abs_i32": _tested(_magnitude),
    "s_bitreplicate_b64_b32": _plain(_replicate),
}


# ---- SCC alone


def _relation(predicate: str) -> Callable[[Builder, Value, Value], Value]:
    return lambda b, first, second: b.icmp(predicate, first, second)


def _bit_is(wanted: int) -> Callable[[Builder, Value, Value], Value]:
    def lower(b: Builder, value: Value, place: Value) -> Value:
        return b.icmp("eq", number(b, "and", lshr(b, value, place), 1), const(value.type, wanted))

    return lower


_PREDICATES = {"eq": "eq", "lg": "ne", "gt": "{}gt", "ge": "{}ge", "lt": "{}lt", "le": "{}le"}
_RELATIONS = {
    f"{name}_{kind}32": _relation(predicate.format(sign))
    for name, predicate in _PREDICATES.items()
    for kind, sign in (("i", "s"), ("u", "u"))
}
SOPC: dict[str, Callable[[Builder, Value, Value], Value]] = {
    **{f"s_cmp_{name}": lower for name, lower in _RELATIONS.items()},
    "s_cmp_eq_u64": _relation("eq"),
    "s_cmp_lg_u64": _relation("ne"),
    **{f"s_bitcmp{wanted}_b{bits}": _bit_is(wanted) for wanted in (0, 1) for bits in (32, 64)},
}
SOPK_COMPARE = {f"s_cmpk_{name}": lower for name, lower in _RELATIONS.items()}
_SOPK = ("s_movk_i32", "s_cmovk_i32", "s_addk_i32", "s_mulk_i32")
_SELECT = ("s_cselect_b32", "s_cselect_b64", "s_cmov_b32", "s_cmov_b64")
_BITSET = tuple(f"s_bitset{to}_b{bits}" for to in (0, 1) for bits in (32, 64))
LOWERED = frozenset((*SOP1, *SOP2, *CARRY, *SOPC, *SOPK_COMPARE, *_SOPK, *_SELECT, *_BITSET))


# ---- whole instructions


def lower_scalar(
    b: Builder,
    name: str,
    get: Callable[[str, str], Value],
    put: Callable[[Value], None],
    scc: Value,
    simm16: int = 0,
) -> Value:
    """One of LOWERED. Returns SCC (i1) after it: `scc` itself where it stays.

    `get(field, kind)`: an operand, "src0", "src1" or (what is there before) "sdst", as "i32" or "i64". `put`: to the
    destination, of either type. `simm16`: the constant of SOPK, as encoded."""

    def operand(field: str, place: int) -> Value:
        return get(field, "i64" if wide_name(name, place) else "i32")

    if name in SOPC:
        second = "i32" if name.startswith("s_bitcmp") else "i64" if wide_name(name, 1) else "i32"
        return SOPC[name](b, operand("src0", 0), get("src1", second))
    if name in SOPK_COMPARE or name in _SOPK:
        return _lower_sopk(b, name, get("sdst", "i32"), put, scc, simm16)
    if name in _BITSET:
        put(_bitset(b, name, get("src0", "i32"), operand("sdst", -1)))
        return scc
    if name in _SELECT:
        other = operand("src1", 1) if "cselect" in name else operand("sdst", -1)
        put(b.select(scc, operand("src0", 0), other))
        return scc
    first = operand("src0", 0)
    if name in SOP1:
        value, after = SOP1[name](b, first)
    elif name in CARRY:
        value, after = CARRY[name](b, first, operand("src1", 1), scc)
    else:
        value, after = SOP2[name](b, first, operand("src1", 1))
    put(value)
    return scc if after is None else after


def _bitset(b: Builder, name: str, place: Value, old: Value) -> Value:
    bit = lshl(b, const(old.type, 1), place)
    return b.two("or", old, bit) if "bitset1" in name else b.two("and", old, inverted(b, bit))


def _lower_sopk(b: Builder, name: str, old: Value, put: Callable[[Value], None], scc: Value, simm16: int) -> Value:
    """The constant is sign-extended, but for unsigned compares."""
    signed = simm16 - (simm16 >> 15 << 16)
    constant = const("i32", simm16 if name.endswith("u32") else signed)
    if name in SOPK_COMPARE:
        return SOPK_COMPARE[name](b, old, constant)
    if name == "s_addk_i32":
        value, over = _sum_signed(b, old, constant)
        put(value)
        return scc if over is None else over
    if name == "s_mulk_i32":
        constant = b.two("mul", old, constant)
    put(b.select(scc, constant, old) if name == "s_cmovk_i32" else constant)
    return scc
