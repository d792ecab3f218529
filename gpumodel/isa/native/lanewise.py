"""A vector instruction into a segment: its operands fetched, the operation, its results put away.

The counterpart of gpumodel/isa/vector.py and operands.py, whose rules it follows to the letter; what is not known here is left
to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial

from gpumodel.isa import vector
from gpumodel.isa.decode import Instruction
from gpumodel.isa.native.bits import joined
from gpumodel.isa.native.crosslane import VALID
from gpumodel.isa.native.ir import BITS, KINDS, Builder, Lower, Value, const, lanes, scalar_of
from gpumodel.isa.native.segment import WORDS, Segment
from gpumodel.isa.op import Op
from gpumodel.isa.operands import (
    ABS,
    NEG,
    OP_SEL,
    OP_SEL_HI,
    SDWA_DWORD,
    SEXT,
    SIGNS,
    VGPR0,
    Source,
    bits_of,
    constant_bits,
    sdwa_field,
)
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.valu import valu
from gpumodel.isa.waves import EXEC, VCC


class Unlowered(Exception):
    """The interpreter has to do this instruction."""


@lru_cache(maxsize=2)
def _table(target: str) -> dict[str, Lower]:
    """How each vector operation that can be compiled is; by name, as valu(target)."""
    from gpumodel.isa.native import floats, integers

    own = floats.LOWERED_GFX942 if target == "gfx942" else floats.LOWERED_GFX950
    return {**integers.LOWERED, **floats.LOWERED, **own}


def lower(segment: Segment, instruction: Instruction, target: str) -> None:
    """Raises Unlowered; Close: nothing was done yet."""
    name = instruction.name
    if name == "v_nop":
        return
    if name == "v_swap_b32":
        _swap(segment, instruction)
        return
    op = valu(target).get(name)
    how = _mbcnt(segment, name) if name.startswith("v_mbcnt") else _table(target).get(name)
    if how is None or op is None or (instruction.encoding == "dpp" and not segment.in_part) or instruction.get("omod"):
        raise Unlowered(name)
    b = segment.body
    try:
        fields = vector.source_fields(instruction, op)
        values = []
        for number, (field, kind) in enumerate(zip(fields, op.sources, strict=True)):
            if number == 0 and instruction.encoding == "dpp":
                values.append(_from_others(segment, instruction, kind))
            else:
                values.append(_source(segment, instruction, field, kind))
        wanted = vector.wanted_values(instruction, op)
        kinds = (op.result,) if isinstance(op.result, str) else op.result
        stores = [_store(segment, instruction, kind) for kind in kinds]
    except (NotModelled, IndexError) as missing:
        raise Unlowered(name) from missing
    clamp = bool(instruction.get("clamp"))
    if clamp and (saturated := _saturated(name)) is not None:
        name, how, clamp = f"{name}.clamp", saturated, False
    elif clamp and not _clamps(op):
        raise Unlowered(name)
    key = ".".join((name, *(f"{one}{number}" for one, number in wanted.items())))
    compute = partial(how, **wanted)
    result = compute(b, *values) if name.startswith("v_mbcnt") else b.computed(key, compute, values)
    results = (result,) if isinstance(op.result, str) else result
    assert isinstance(results, tuple)
    for store, kind, value in zip(stores, kinds, results, strict=True):
        store(_clamped(b, value, kind) if clamp else value)


def _swap(segment: Segment, instruction: Instruction) -> None:
    first, second = vector.destination(instruction), vector.source_code(instruction, "src0") - VGPR0
    a, c = segment.vgpr(first), segment.vgpr(second)
    segment.set_vgpr(first, c)
    segment.set_vgpr(second, a)


def _mbcnt(segment: Segment, name: str) -> Lower:
    """Bits of lanes below one's own, of the 32 lanes whose bits the operand holds."""
    upper = "_hi_" in name

    def run(b: Builder, mask: Value, start: Value) -> Value:
        lanes = segment.lanes()
        one, edge, zero = const(WORDS, 1), const(WORDS, 32), const(WORDS, 0)
        low = b.icmp("ult", lanes, edge)
        place = b.two("and", lanes, const(WORDS, 31))
        below = b.two("sub", b.two("shl", one, place), one)
        below = b.select(low, zero, below) if upper else b.select(low, below, const(WORDS, -1))
        return b.two("add", b.call("ctpop", WORDS, [b.two("and", mask, below)]), start)

    return run


def _saturated(name: str) -> Lower | None:
    """Integer additions and subtractions with clamp."""
    match = re.fullmatch(r"v_(pk_)?(add|sub|subrev)_([ui])(16|32)", name)
    if match is None or name not in vector.SATURATES:
        return None
    intrinsic = f"{'u' if match[3] == 'u' else 's'}{match[2].removesuffix('rev')}.sat"

    def single(b: Builder, x: Value, y: Value) -> Value:
        return b.call(intrinsic, x.type, [y, x] if match[2] == "subrev" else [x, y])

    if match[1]:
        return lambda b, x, y: (single(b, x[0], y[0]), single(b, x[1], y[1]))
    return single


# ---- sources


def _from_others(segment: Segment, instruction: Instruction, kind: str) -> Value | tuple[Value, ...]:
    """The first source of DPP: 0 where there is no such lane, or it is off."""
    segment.moved = vector.source(instruction, "src0").code - VGPR0
    try:
        value = _source(segment, instruction, "src0", kind)
    finally:
        segment.moved = None
    valid = segment.flags_at(VALID)

    def kept(one: Value) -> Value:
        return segment.body.select(valid, one, const(one.type, 0))

    return tuple(kept(part) for part in value) if isinstance(value, tuple) else kept(value)


def _words(segment: Segment, source: Source) -> Value:
    """32 bits without modifiers."""
    if source.code >= VGPR0:
        return segment.vgpr(source.code - VGPR0)
    if source.constant:
        return const(WORDS, constant_bits(source, "u32"))
    if source.code < 128:
        return segment.sgpr(source.code)
    raise Unlowered(f"source operand {source.code}")


def _wide(segment: Segment, source: Source, kind: str) -> Value:
    if source.code >= VGPR0:
        index = source.code - VGPR0
        return _joined(segment.body, (segment.vgpr(index), segment.vgpr(index + 1)), 64)
    if source.constant:
        return const(lanes("i64"), constant_bits(source, kind))
    if source.code < 127:
        return segment.sgpr(source.code, "i64")
    raise Unlowered(f"source operand {source.code} of 64 bits")


def _joined(b: Builder, parts: Iterable[Value], bits: int) -> Value:
    """Two integers as one of so many bits, the low one first."""
    return joined(b, [b.cast("zext", part, f"i{bits}") for part in parts], bits // 2)


def _selected(b: Builder, value: Value, select: int, sext: bool) -> Value:
    """What SDWA selects."""
    if select == SDWA_DWORD:
        return value
    shift, width = sdwa_field(select)
    up = const(WORDS, 32 - width)
    low = b.two("shl", b.two("lshr", value, const(WORDS, shift)), up)
    return b.two("ashr" if sext else "lshr", low, up)


def _half(segment: Segment, source: Source, kind: str, high: bool) -> Value:
    if source.constant:
        return const(lanes("i16"), constant_bits(source, kind) >> (16 if high else 0) & 0xFFFF)
    b, whole = segment.body, _words(segment, source)
    return b.cast("trunc", b.two("lshr", whole, const(WORDS, 16)) if high else whole, "i16")


def _fetch(segment: Segment, source: Source, kind: str) -> Value:
    """A source as a value of its type."""
    b, width = segment.body, bits_of(kind)
    sext = bool(source.modifiers & SEXT)
    if width == 64:
        value = _wide(segment, source, kind)
    elif width == 32:
        value = _selected(b, _words(segment, source), source.select, sext)
    else:
        if source.select != SDWA_DWORD:
            part = _selected(b, _words(segment, source), source.select, sext)
        else:
            part = _half(segment, source, kind, bool(source.modifiers & OP_SEL))
        value = b.cast("trunc", part, f"i{width}")
    sign = SIGNS.get(kind)
    if sign is not None and source.modifiers & ABS:
        value = b.two("and", value, const(value.type, sign - 1))
    if sign is not None and source.modifiers & NEG:
        value = b.two("xor", value, const(value.type, sign))
    return b.cast("bitcast", value, KINDS[kind])


def _pair(segment: Segment, source: Source, kind: str) -> tuple[Value, Value]:
    part = kind.removeprefix("2x")
    places = bool(source.modifiers & OP_SEL), bool(source.modifiers & OP_SEL_HI)
    signs = source.modifiers & NEG, source.modifiers & ABS
    both = []
    for place, sign in zip(places, signs, strict=True):
        neg = NEG if sign else 0
        if bits_of(part) != 32:
            one = Source(source.code, (OP_SEL if place else 0) | neg, source.literal)
        elif source.constant:
            one = Source(source.code, neg, source.literal)
        else:
            one = Source(source.code + place, neg)
        both.append(_fetch(segment, one, part))
    return both[0], both[1]


def _mix(segment: Segment, source: Source) -> Value:
    signs = source.modifiers & (NEG | ABS)
    if not source.modifiers & OP_SEL_HI:
        return _fetch(segment, Source(source.code, signs, source.literal), "f32")
    half = _fetch(segment, Source(source.code, signs | source.modifiers & OP_SEL, source.literal), "f16")
    return segment.body.cast("fpext", half, "float")


def _source(segment: Segment, instruction: Instruction, field: str, kind: str) -> Value | tuple[Value, ...]:
    if kind == "mask":
        code = VCC if field == "vcc" else instruction.get(field)
        if code <= EXEC:
            return segment.mask(code)
        if 128 <= code <= 208:
            return segment.mask_of(constant_bits(Source(code), "u64"))
        raise Unlowered(f"operand {code} as a mask")
    if field == "imm":
        return _fetch(segment, Source(255, literal=instruction.get("imm")), kind)
    if field == "vdst":
        place = Source(VGPR0 + vector.destination(instruction))
        return _pair(segment, place, kind) if kind.startswith("2x") else _fetch(segment, place, kind)
    place = vector.source(instruction, field)
    if kind.startswith("2x"):
        if instruction.format not in ("VOP3P", "MAI"):
            place = Source(place.code, place.modifiers & ~OP_SEL | OP_SEL_HI, place.literal)
        return _pair(segment, place, kind)
    if kind == "mix":
        return _mix(segment, place)
    if "xb32" in kind:
        if place.code < VGPR0:
            raise Unlowered("several dwords from a scalar")
        return tuple(segment.vgpr(place.code - VGPR0 + number) for number in range(int(kind.removesuffix("xb32"))))
    if instruction.name == "v_cndmask_b32":  # its modifiers are those of floats
        return segment.body.cast("bitcast", _fetch(segment, place, "f32"), "i32")
    return _fetch(segment, place, kind)


# ---- results


def _bits(b: Builder, value: Value) -> Value:
    """As an integer."""
    return b.cast("bitcast", value, f"i{BITS[scalar_of(value.type)]}")


def _store(segment: Segment, instruction: Instruction, kind: str) -> Callable[[Value | tuple[Value, ...]], None]:
    """Where a result goes; raises Unlowered, Close now, not later."""
    b = segment.body
    if kind == "mask":
        pairs = [vector.mask_place(instruction)] + ([EXEC] if instruction.name.startswith("v_cmpx") else [])
        if max(pairs) > EXEC:
            raise Unlowered("a mask behind the last register")
        for place in pairs:
            segment.check_mask(place)

        def masks(value: Value | tuple[Value, ...]) -> None:
            assert isinstance(value, Value)
            for one in pairs:
                segment.set_mask(one, value)

        return masks
    place = vector.destination(instruction)
    segment.check_vgpr(place, _registers(kind))

    def several(value: Value | tuple[Value, ...]) -> None:
        assert isinstance(value, tuple)
        for number, one in enumerate(value):
            segment.set_vgpr(place + number, _bits(b, one))

    if "x" in kind and bits_of(kind) == 32:
        return several

    def one(value: Value | tuple[Value, ...]) -> None:
        if isinstance(value, tuple):
            segment.set_vgpr(place, _joined(b, (_bits(b, part) for part in value), 32))
            return
        bits = _bits(b, value)
        if scalar_of(bits.type) == "i64":
            segment.set_vgpr(place, b.cast("trunc", bits, "i32"))
            segment.set_vgpr(place + 1, b.cast("trunc", b.two("lshr", bits, const(bits.type, 32)), "i32"))
        elif instruction.encoding == "sdwa" and instruction.fields.get("dst_sel", SDWA_DWORD) != SDWA_DWORD:
            _partly(segment, instruction, place, b.cast("zext", bits, "i32"))
        elif scalar_of(bits.type) == "i16":
            _half_result(segment, instruction, place, b.cast("zext", bits, "i32"))
        else:
            segment.set_vgpr(place, bits)

    return one


def _registers(kind: str) -> int:
    count, several, part = kind.rpartition("x")
    if several and bits_of(part) == 32:
        return int(count)
    return 2 if bits_of(kind) == 64 else 1


def _half_result(segment: Segment, instruction: Instruction, place: int, word: Value) -> None:
    b = segment.body
    if instruction.format == "VOP3" and instruction.get("src0_modifiers") & OP_SEL_HI:
        low = b.two("and", segment.vgpr(place), const(WORDS, 0xFFFF))
        word = b.two("or", low, b.two("shl", word, const(WORDS, 16)))
    elif instruction.name in vector.KEEPS_HIGH:
        word = b.two("or", b.two("and", segment.vgpr(place), const(WORDS, 0xFFFF0000)), word)
    segment.set_vgpr(place, word)


def _partly(segment: Segment, instruction: Instruction, place: int, word: Value) -> None:
    b = segment.body
    select, unused = instruction.get("dst_sel"), instruction.get("dst_unused")
    shift, width = sdwa_field(select)
    ones = (1 << width) - 1
    part = b.two("shl", b.two("and", word, const(WORDS, ones)), const(WORDS, shift))
    if unused == vector.SDWA_PRESERVE:
        part = b.two("or", b.two("and", segment.vgpr(place), const(WORDS, ~(ones << shift))), part)
    elif unused == vector.SDWA_SIGN:
        above = const(WORDS, 32 - shift - width)
        part = b.two("ashr", b.two("shl", part, above), above)
    segment.set_vgpr(place, part)


def _clamps(op: Op) -> bool:
    return isinstance(op.result, str) and op.result.removeprefix("2x") in ("f16", "f32", "f64")


def _clamped(b: Builder, value: Value | tuple[Value, ...], kind: str) -> Value | tuple[Value, ...]:
    """To between 0 and 1; what is no number becomes 0."""
    if isinstance(value, tuple):
        return tuple(one for part in value if isinstance(one := _clamped(b, part, kind), Value))
    zero, one = const(value.type, 0.0), const(value.type, 1.0)
    low = b.select(b.fcmp("olt", value, one), value, one)
    return b.select(b.fcmp("ogt", value, zero), low, zero)
