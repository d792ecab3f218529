"""Lowering of the conversions of gpumodel/isa/scaled.py: the same results, bit for bit."""

from __future__ import annotations

from functools import partial
from itertools import product

from gpumodel.isa.fp8 import BF6, BF8_OCP, FP4, FP6, FP8_OCP, Small
from gpumodel.isa.native.convert import bf16_to_f32, to_bf16
from gpumodel.isa.native.floatbits import (
    bits,
    double_to_half,
    exponent,
    format_of,
    is_size,
    magnitude,
    power_of_two,
    quiet_nan,
    sign,
    with_int,
)
from gpumodel.isa.native.ir import Builder, Lower, Value, const
from gpumodel.isa.native.matrix import decode_small

_KINDS = {"fp8": FP8_OCP, "bf8": BF8_OCP, "fp6": FP6, "bf6": BF6, "fp4": FP4}
_FRACTIONS = {"f32": 23, "f16": 10, "bf16": 7}
_FAR = 64  # as in gpumodel/isa/scaled.py
Registers = tuple[Value, ...]


def _width(kind: Small) -> int:
    return 1 + kind.exponent + kind.fraction


# ---- values


def _scaled(b: Builder, value: Value, scale: Value, direction: int) -> Value:
    """A float as double, times 2**(direction * scale), exactly; NaN with its sign if the scale is."""
    if format_of(value).bits == "i16":
        value = b.cast("fpext", value, "float")
    value = b.cast("fpext", value, "double")
    field = with_int(b, "and", with_int(b, "lshr", scale, 23), 0xFF)
    power = with_int(b, "sub", field, 127)
    if direction < 0:
        power = b.two("sub", const(power.type, 0), power)
    moved = b.two("fmul", value, power_of_two(b, power, "double"))
    nan = b.two("or", with_int(b, "and", quiet_nan(value), format_of(value).magnitude), sign(b, value))
    return b.select(b.icmp("eq", field, const(field.type, 255)), b.cast("bitcast", nan, "double"), moved)


def _floats(b: Builder, word: str, register: Value) -> list[Value]:
    """The elements of a register."""
    if word == "f32":
        return [b.cast("bitcast", register, "float")]
    halves = [b.cast("trunc", with_int(b, "lshr", register, shift), "i16") for shift in (0, 16)]
    return [b.cast("bitcast", half, "half") if word == "f16" else bf16_to_f32(b, half) for half in halves]


def _narrow(b: Builder, word: str, value: Value) -> Value:
    """double to the bits of the type, as i32."""
    if word == "f16":
        return b.cast("zext", b.cast("bitcast", double_to_half(b, value), "i16"), "i32")
    single = b.cast("fptrunc", value, "float")
    return b.cast("bitcast", single, "i32") if word == "f32" else b.cast("zext", to_bf16(b, single), "i32")


# ---- rounding


def _coded(b: Builder, kind: Small, code: Value, value: Value) -> Value:
    """As Small.coded."""
    infinity = format_of(value).infinity
    nan = kind.nan
    last = kind.sign - 1 if nan is None else (nan if kind.infinity is None else kind.infinity) - 1
    over = last if nan is None else last + 1
    beyond = b.two("or", b.icmp("sgt", code, const(code.type, last)), is_size(b, "eq", value, infinity))
    code = b.select(beyond, const(code.type, over), code)
    code = b.select(is_size(b, "sgt", value, infinity), const(code.type, last if nan is None else nan), code)
    negative = b.cast("trunc", with_int(b, "lshr", sign(b, value), 63 - kind.exponent - kind.fraction), "i32")
    return b.two("or", code, negative)


def _power(b: Builder, value: Value) -> Value:
    """The exponent of a double."""
    return with_int(b, "sub", b.cast("trunc", exponent(b, value), "i32"), 1023)


def _near(b: Builder, value: Value, *, kind: Small) -> Value:
    finite = b.select(is_size(b, "slt", value, format_of(value).infinity), magnitude(b, value), const(value.type, 0.0))
    lowest = 1 - kind.bias
    power = _power(b, finite)
    power = b.call("smax", power.type, [power, const(power.type, lowest)])
    unit = power_of_two(b, b.two("sub", const(power.type, kind.fraction), power), "double")
    steps = b.cast("fptosi", b.call("rint", value.type, [b.two("fmul", finite, unit)]), "i32")
    code = b.two("add", with_int(b, "shl", with_int(b, "sub", power, lowest), kind.fraction), steps)
    return _coded(b, kind, code, value)


def _by_chance(b: Builder, value: Value, random: Value, *, kind: Small, fraction: int) -> Value:
    own = bits(b, value)
    part = with_int(b, "or", with_int(b, "and", own, (1 << 52) - 1), 1 << 52)
    whole = b.cast("trunc", with_int(b, "lshr", part, 52 - fraction), "i32")
    above = with_int(b, "sub", _power(b, value), 1 - kind.bias)
    zero = const(above.type, 0)
    up = b.call("smin", above.type, [b.call("smax", above.type, [above, zero]), const(above.type, _FAR)])
    down = b.call("smax", above.type, [b.two("sub", zero, above), zero])
    down = b.call("smin", above.type, [down, const(above.type, 31)])
    lost = fraction - kind.fraction
    total = b.two("add", with_int(b, "shl", up, fraction), b.two("lshr", whole, down))
    total = b.two("add", total, with_int(b, "lshr", random, 32 - lost))
    nothing = is_size(b, "eq", value, 0)
    return _coded(b, kind, b.select(nothing, zero, with_int(b, "lshr", total, lost)), value)


def _nearest(b: Builder, name: str, value: Value, scale: Value) -> Value:
    moved = _scaled(b, value, scale, -1)
    code: Value = b.computed(f"near.{name}", partial(_near, kind=_KINDS[name]), [moved])
    return code


def _random(b: Builder, name: str, word: str, value: Value, random: Value, scale: Value) -> Value:
    run = partial(_by_chance, kind=_KINDS[name], fraction=_FRACTIONS[word])
    code: Value = b.computed(f"chance.{name}.{word}", run, [_scaled(b, value, scale, -1), random])
    return code


def _prng(b: Builder, value: Value) -> Value:
    high = with_int(b, "and", with_int(b, "ashr", value, 31), 197)
    return b.two("xor", with_int(b, "shl", value, 1), high)


# ---- parts of registers


def _into(b: Builder, old: Value, value: Value, shift: int, width: int) -> Value:
    kept = with_int(b, "and", old, ~((1 << width) - 1 << shift))
    return b.two("or", kept, with_int(b, "shl", value, shift) if shift else value)


def _byte(op_sel: int) -> int:
    return 8 * (op_sel >> 2 & 3)


def _both(b: Builder, name: str, low: Value, high: Value) -> Value:
    return b.two("or", low, with_int(b, "shl", high, _width(_KINDS[name])))


def _put_pair(b: Builder, name: str, codes: list[Value], old: Value, op_sel: int) -> Value:
    pair = _both(b, name, *codes)
    return _into(b, old, pair, _byte(op_sel), 8) if name == "fp4" else _into(b, old, pair, 2 * (op_sel & 8), 16)


def _pack_f32(b: Builder, x: Value, y: Value, scale: Value, old: Value, *, op_sel: int, name: str) -> Value:
    return _put_pair(b, name, [_nearest(b, name, one, scale) for one in (x, y)], old, op_sel)


def _pack_halves(b: Builder, pair: Value, scale: Value, old: Value, *, op_sel: int, name: str, word: str) -> Value:
    return _put_pair(b, name, [_nearest(b, name, one, scale) for one in _floats(b, word, pair)], old, op_sel)


def _random_byte(
    b: Builder, value: Value, random: Value, scale: Value, old: Value, *, op_sel: int, name: str, word: str
) -> Value:
    value = bf16_to_f32(b, value) if word == "bf16" else value
    return _into(b, old, _random(b, name, word, value, random, scale), _byte(op_sel), 8)


def _random_pair(
    b: Builder, source: Value | Registers, random: Value, scale: Value, old: Value, *, op_sel: int, word: str
) -> Value:
    registers = source if isinstance(source, tuple) else (source,)
    codes = []
    for value in [one for register in registers for one in _floats(b, word, register)]:
        codes.append(_random(b, "fp4", word, value, random, scale))
        random = _prng(b, random)
    return _put_pair(b, "fp4", codes, old, op_sel)


def _decoded(b: Builder, name: str, codes: Value, shift: int, scale: Value) -> Value:
    kind = _KINDS[name]
    code = with_int(b, "and", with_int(b, "lshr", codes, shift), 2 * kind.sign - 1)
    value = decode_small(b, code, kind)
    if kind.infinity is not None:  # NaN has no sign there
        value = b.select(b.fcmp("uno", value, value), const(value.type, float("nan")), value)
    return _scaled(b, value, scale, 1)


def _one(b: Builder, codes: Value, scale: Value, *old: Value, op_sel: int, name: str, word: str) -> Value:
    value = _narrow(b, word, _decoded(b, name, codes, 8 * (op_sel & 3), scale))
    return value if word == "f32" else _into(b, old[0], value, 2 * (op_sel & 8), 16)


def _two(b: Builder, codes: Value, scale: Value, *, op_sel: int, name: str, word: str) -> Value | Registers:
    first = 8 * (op_sel & 3) if name == "fp4" else 16 * (op_sel & 1)
    places = first, first + _width(_KINDS[name])
    low, high = (_narrow(b, word, _decoded(b, name, codes, at, scale)) for at in places)
    return (low, high) if word == "f32" else b.two("or", low, with_int(b, "shl", high, 16))


# ---- 32 elements


def _joined(b: Builder, codes: list[Value], width: int) -> Registers:
    registers: list[Value | None] = [None] * (len(codes) * width // 32)

    def put(at: int, part: Value) -> None:
        old = registers[at]
        registers[at] = part if old is None else b.two("or", old, part)

    for place, code in enumerate(codes):
        at, shift = divmod(place * width, 32)
        put(at, with_int(b, "shl", code, shift))
        if shift + width > 32:
            put(at + 1, with_int(b, "lshr", code, 32 - shift))
    return tuple(one for one in registers if one is not None)


def _unpack_many(b: Builder, registers: Registers, scale: Value, *, name: str, word: str) -> Registers:
    found = []
    for place in range(32):
        at, shift = divmod(6 * place, 32)
        code = with_int(b, "lshr", registers[at], shift)
        if shift > 26:
            code = b.two("or", code, with_int(b, "shl", registers[at + 1], 32 - shift))
        code = with_int(b, "and", code, 63)
        found.append(_narrow(b, word, _decoded(b, name, code, 0, scale)))
    return tuple(found) if word == "f32" else _joined(b, found, 16)


def _elements(b: Builder, word: str, registers: Registers) -> list[Value]:
    return [value for register in registers for value in _floats(b, word, register)]


def _pack_many(b: Builder, registers: Registers, scale: Value, *, name: str, word: str) -> Registers:
    return _joined(b, [_nearest(b, name, value, scale) for value in _elements(b, word, registers)], 6)


def _pack_interleaved(b: Builder, first: Registers, second: Registers, scale: Value, *, name: str) -> Registers:
    registers = tuple(one for pair in zip(first, second, strict=True) for one in pair)
    return _pack_many(b, registers, scale, name=name, word="f32")


def _random_many(b: Builder, registers: Registers, random: Value, scale: Value, *, name: str, word: str) -> Registers:
    codes = []
    for value in _elements(b, word, registers):
        codes.append(_random(b, name, word, value, random, scale))
        random = _prng(b, random)
    return _joined(b, codes, 6)


# ---- the table


def _table() -> dict[str, Lower]:
    table: dict[str, Lower] = {}
    for name in ("fp8", "bf8", "fp4"):
        table[f"pk_{name}_f32"] = partial(_pack_f32, name=name)
        for word in ("f32", "f16", "bf16"):
            table[f"pk_{word}_{name}"] = partial(_two, name=name, word=word)
            if word != "f32":
                table[f"pk_{name}_{word}"] = partial(_pack_halves, name=name, word=word)
            if name == "fp4":
                table[f"sr_pk_fp4_{word}"] = partial(_random_pair, word=word)
            else:
                table[f"sr_{name}_{word}"] = partial(_random_byte, name=name, word=word)
                if word != "bf16":
                    table[f"{word}_{name}"] = partial(_one, name=name, word=word)
    for name, word in product(("fp6", "bf6"), ("f32", "f16", "bf16")):
        table[f"2xpk16_{name}_f32"] = partial(_pack_interleaved, name=name)
        table[f"pk32_{word}_{name}"] = partial(_unpack_many, name=name, word=word)
        table[f"sr_pk32_{name}_{word}"] = partial(_random_many, name=name, word=word)
        if word != "f32":
            table[f"pk32_{name}_{word}"] = partial(_pack_many, name=name, word=word)
    return {f"v_cvt_scalef32_{name}": lower for name, lower in table.items()}


LOWERED = _table()
