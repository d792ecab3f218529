"""What lowerings of integer instructions are made of, scalar and lanewise: shifts, fields, counts, carries."""

from __future__ import annotations

from collections.abc import Callable

from gpumodel.isa.native.ir import BITS, Builder, Value, const, scalar_of

Two = Callable[[Builder, Value, Value], Value]


def _bits(value: Value) -> int:
    return BITS[scalar_of(value.type)]


def number(b: Builder, opcode: str, value: Value, constant: int) -> Value:
    """An operation with a constant."""
    return b.two(opcode, value, const(value.type, constant))


def inverted(b: Builder, value: Value) -> Value:
    """All bits."""
    return number(b, "xor", value, -1)


def amount(b: Builder, by: Value, value: Value) -> Value:
    """How far to shift `value`, in its type."""
    low = number(b, "and", by, _bits(value) - 1)
    return b.cast("trunc" if _bits(by) > _bits(value) else "zext", low, scalar_of(value.type))


def _shift(opcode: str) -> Two:
    return lambda b, value, by: b.two(opcode, value, amount(b, by, value))


lshl, lshr, ashr = _shift("shl"), _shift("lshr"), _shift("ashr")


def byte(b: Builder, words: Value, place: int) -> Value:
    """Of each word, 0 the lowest."""
    return number(b, "and", number(b, "lshr", words, 8 * place), 0xFF)


def joined(b: Builder, parts: list[Value], bits: int) -> Value:
    """Fields of `bits` bits, the lowest first."""
    result = parts[0]
    for place, part in enumerate(parts[1:], 1):
        result = b.two("or", result, number(b, "shl", part, bits * place))
    return result


def or_none(b: Builder, intrinsic: str, value: Value) -> Value:
    """`intrinsic` ctlz or cttz: zeros above or below the only bits that count, all ones where there is no bit."""
    found = b.call(intrinsic, value.type, [value, const("i1", 0)])
    return b.select(b.icmp("eq", value, const(value.type, 0)), const(value.type, -1), found)


def add_carry(b: Builder, first: Value, second: Value, carry: Value | None = None) -> tuple[Value, Value]:
    """The sum, and whether it has a bit more."""
    total = b.two("add", first, second)
    over = b.icmp("ult", total, first)
    if carry is None:
        return total, over
    more = b.two("add", total, b.cast("zext", carry, scalar_of(total.type)))
    return more, b.two("or", over, b.icmp("ult", more, total))


def sub_borrow(b: Builder, first: Value, second: Value, borrow: Value | None = None) -> tuple[Value, Value]:
    """The difference, and whether it is below 0."""
    rest = b.two("sub", first, second)
    under = b.icmp("ugt", second, first)
    if borrow is None:
        return rest, under
    taken = b.cast("zext", borrow, scalar_of(rest.type))
    return b.two("sub", rest, taken), b.two("or", under, b.icmp("ult", rest, taken))


def wide_product(b: Builder, extend: str, first: Value, second: Value) -> Value:
    """64 bits of factors of 32; `extend`: sext or zext."""
    return b.two("mul", b.cast(extend, first, "i64"), b.cast(extend, second, "i64"))


def high(extend: str) -> Two:
    """The upper half of such a product."""
    return lambda b, first, second: b.cast(
        "trunc", number(b, "lshr", wide_product(b, extend, first, second), 32), "i32"
    )
