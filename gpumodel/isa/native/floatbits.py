"""Floats by their bits, and roundings that no instruction of the host does, for code that is lowered to LLVM.

NaN that operations make here are quiet, their payload is any."""

from __future__ import annotations

from dataclasses import dataclass

from gpumodel.isa.native.ir import Builder, Value, const, like, scalar_of


@dataclass(frozen=True, slots=True)
class Format:
    """A float format: the type of its bits, bits of the fraction, the exponent's bias."""

    bits: str
    fraction: int
    bias: int

    @property
    def infinity(self) -> int:
        return 2 * self.bias + 1 << self.fraction

    @property
    def quiet(self) -> int:
        return 1 << self.fraction - 1

    @property
    def magnitude(self) -> int:
        """All bits but the sign."""
        return self.infinity | (1 << self.fraction) - 1


FORMATS = {"half": Format("i16", 10, 15), "float": Format("i32", 23, 127), "double": Format("i64", 52, 1023)}


def format_of(value: Value) -> Format:
    return FORMATS[scalar_of(value.type)]


def bits(b: Builder, value: Value) -> Value:
    return b.cast("bitcast", value, format_of(value).bits)


def with_int(b: Builder, opcode: str, value: Value, number: int) -> Value:
    """`value` and a constant."""
    return b.two(opcode, value, const(value.type, number))


def with_float(b: Builder, opcode: str, value: Value, number: float) -> Value:
    return b.two(opcode, value, const(value.type, number))


def size(b: Builder, value: Value) -> Value:
    """The bits without the sign: integers in the order of the magnitudes, infinity below NaN."""
    return with_int(b, "and", bits(b, value), format_of(value).magnitude)


def sign(b: Builder, value: Value) -> Value:
    form = format_of(value)
    return with_int(b, "and", bits(b, value), form.magnitude + 1)


def exponent(b: Builder, value: Value) -> Value:
    """The field, biased, as an integer of the float's size."""
    return with_int(b, "lshr", size(b, value), format_of(value).fraction)


def magnitude(b: Builder, value: Value) -> Value:
    return b.cast("bitcast", size(b, value), scalar_of(value.type))


def wide(b: Builder, value: Value) -> Value:
    """Half precision as float32: the host computes in none smaller."""
    return b.cast("fpext", value, "float") if scalar_of(value.type) == "half" else value


def compare(b: Builder, predicate: str, x: Value, y: Value) -> Value:
    return b.fcmp(predicate, wide(b, x), wide(b, y))


def compare_to(b: Builder, predicate: str, x: Value, number: float) -> Value:
    x = wide(b, x)
    return b.fcmp(predicate, x, const(x.type, number))


def is_nan(b: Builder, value: Value) -> Value:
    value = wide(b, value)
    return b.fcmp("uno", value, value)


def is_size(b: Builder, predicate: str, value: Value, number: int) -> Value:
    """A comparison, of integers, of the magnitude's bits (never negative: use signed predicates, the host has those)."""
    of = size(b, value)
    return b.icmp(predicate, of, const(of.type, number))


def is_signalling(b: Builder, value: Value) -> Value:
    form = format_of(value)
    nan = is_size(b, "sgt", value, form.infinity)
    return b.two("and", nan, is_size(b, "slt", value, form.infinity | form.quiet))


def quiet_nan(value: Value) -> Value:
    """The NaN of that type of bits that invalid operations give: negative and quiet."""
    form = format_of(value)
    return const(like(value.type, form.bits), form.magnitude + 1 | form.infinity | form.quiet)


def quieted(b: Builder, value: Value) -> Value:
    form = format_of(value)
    own = bits(b, value)
    both = b.select(is_nan(b, value), with_int(b, "or", own, form.quiet), own)
    return b.cast("bitcast", both, scalar_of(value.type))


def negated(b: Builder, condition: Value) -> Value:
    return with_int(b, "xor", condition, 1)


def clipped(b: Builder, value: Value, low: int, high: int) -> Value:
    """Signed integers."""
    above = b.call("smax", value.type, [value, const(value.type, low)])
    return b.call("smin", value.type, [above, const(value.type, high)])


def saturated(b: Builder, value: Value, scalar: str, *, signed: bool) -> Value:
    """A float to integers, towards zero, to the nearest that fits; NaN to 0."""
    value = wide(b, value)
    result = like(value.type, scalar)
    return b.call("fptosi.sat" if signed else "fptoui.sat", result, [value], by=[result, value.type])


def power_of_two(b: Builder, power: Value, scalar: str) -> Value:
    """2**power, whose exponent must be that of a normal number."""
    form = FORMATS[scalar]
    power = b.cast("sext", power, form.bits)
    biased = with_int(b, "add", power, form.bias)
    return b.cast("bitcast", with_int(b, "shl", biased, form.fraction), scalar)


def rounded_to_odd(b: Builder, value: Value, error: Value) -> Value:
    """A result rounded to nearest and how much the exact one is more: rounded to odd instead, so that a second rounding to
    fewer bits is as good as one (see gpumodel/isa/exact.py)."""
    own = bits(b, value)
    even = b.icmp("eq", with_int(b, "and", own, 1), const(own.type, 0))
    wrong = b.two("and", compare_to(b, "one", error, 0.0), even)  # NaN: what infinities leave
    negative = b.icmp("slt", own, const(own.type, 0))
    nearer = b.two("xor", compare_to(b, "olt", error, 0.0), negative)
    step = b.select(nearer, const(own.type, -1), const(own.type, 1))
    step = b.select(wrong, step, const(own.type, 0))
    return b.cast("bitcast", b.two("add", own, step), scalar_of(value.type))


def fma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """x * y + z, rounded once; not of half precision."""
    return b.call("fma", x.type, [x, y, z])


def two_sum(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """The sum and its error (Knuth)."""
    total = b.two("fadd", x, y)
    virtual = b.two("fsub", total, x)
    of_x = b.two("fsub", x, b.two("fsub", total, virtual))
    return total, b.two("fadd", of_x, b.two("fsub", y, virtual))


def sum_to_odd(b: Builder, x: Value, y: Value) -> Value:
    total, error = two_sum(b, x, y)
    return rounded_to_odd(b, total, error)


def double_to_half(b: Builder, value: Value) -> Value:
    """With one rounding: the host goes over float32, so that step is to odd."""
    single = b.cast("fptrunc", value, "float")
    error = b.two("fsub", value, b.cast("fpext", single, "double"))
    return b.cast("fptrunc", rounded_to_odd(b, single, error), "half")
