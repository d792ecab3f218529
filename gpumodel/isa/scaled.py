"""gfx950's conversions with a scale: floats of 8, 6 and 4 bits from and to those of 16 and 32 bits.

The scale is the exponent field of a float32, a power of two with bias 127; 255 makes everything NaN. Values are divided by it
on their way to the small type, small values multiplied by it, and rounded once. What 6 and 4 bits cannot hold becomes the
largest that they can, NaN too; of 8 bits see fp8.py.
Source: AMD CDNA4 instruction set architecture manual, the v_cvt_scalef32 instructions (restated): operands, op_sel, order of
packed elements, v_prng_b32 between elements. Rounding, also with random bits, overflow and NaN: AMD's HIP headers,
amd_hip_ocp_host.hpp, which do the same on a host that has none of these instructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpumodel.isa.convert import f32_to_bf16
from gpumodel.isa.fp8 import BF6, BF8_OCP, FP4, FP6, FP8_OCP, Small
from gpumodel.isa.integer import prng
from gpumodel.isa.op import Array, Op, join16, split16, u32
from gpumodel.isa.packed import bf16_to_f32

_KINDS = {"fp8": FP8_OCP, "bf8": BF8_OCP, "fp6": FP6, "bf6": BF6, "fp4": FP4}
_FRACTIONS = {"f32": 23, "f16": 10, "bf16": 7}
_FAR = 64  # more powers of two than any of these types has


# ---- values


def _exponent(scale: Array) -> Array:
    return (scale >> np.uint32(23) & np.uint32(0xFF)).astype(np.int32)


def _scaled(value: Array, scale: Array, sign: int) -> Array:
    """float64: value * 2**(sign * scale), exactly; the NaN that a scale may be has the value's sign."""
    exponent = _exponent(scale)
    moved = np.ldexp(value.astype(np.float64), sign * (exponent - 127))
    return np.where(exponent == 255, np.copysign(np.nan, value.astype(np.float64)), moved)


def _wide(word: str, value: Array) -> Array:
    """A value of 16 or 32 bits as float32."""
    return bf16_to_f32(value) if word == "bf16" else value.astype(np.float32)


def _halves(word: str, register: Array) -> tuple[Array, Array]:
    """Both elements of a register as float32."""
    low, high = split16(register)
    if word == "f16":
        return low.view(np.float16).astype(np.float32), high.view(np.float16).astype(np.float32)
    return bf16_to_f32(low), bf16_to_f32(high)


def _narrow(word: str, value: Array) -> Array:
    """float64 rounded to the type, as uint32 bits; these have so few bits that float32 holds all on the way to bf16."""
    if word == "f32":
        return value.astype(np.float32).view(np.uint32)
    if word == "f16":
        return u32(value.astype(np.float16).view(np.uint16))
    return u32(f32_to_bf16(value.astype(np.float32)))


# ---- rounding to a small type


def _nearest(kind: Small, value: Array, scale: Array) -> Array:
    return kind.encode(_scaled(value, scale, -1))


def _random(kind: Small, fraction: int, value: Array, random: Array, scale: Array) -> Array:
    """Random bits from the top are added right below the last place that stays; then all below is cut off. `fraction`: bits
    of the source's."""
    scaled = _scaled(value, scale, -1)
    part, power = np.frexp(np.where(np.isfinite(scaled), np.abs(scaled), 0.0))
    whole = np.ldexp(part, fraction + 1).astype(np.int64)
    above = power.astype(np.int64) - 1 - (1 - kind.bias)  # of the exponent that the least normal number has
    lost = fraction - kind.fraction
    noise = (random >> np.uint32(32 - lost)).astype(np.int64)
    total = (np.clip(above, 0, _FAR) << fraction) + (whole >> np.clip(-above, 0, 63)) + noise
    return kind.coded(np.where(whole == 0, 0, total >> lost), scaled)


# ---- into a part of a register


def _into(old: Array, value: Array, shift: int, width: int) -> Array:
    mask = np.uint32((1 << width) - 1 << shift)
    return old & ~mask | value << np.uint32(shift)


def _byte(op_sel: int) -> int:
    return 8 * (op_sel >> 2 & 3)


def _word(op_sel: int) -> int:
    return 2 * (op_sel & 8)


def _place(kind: Small) -> tuple[Callable[[int], int], int]:
    """Where two elements go, and how many bits they are."""
    return (_byte, 8) if kind is FP4 else (_word, 16)


def _pair(kind: Small, low: Array, high: Array) -> Array:
    bits = 1 + kind.exponent + kind.fraction
    return low | high << np.uint32(bits)


def _pack_f32(kind: Small) -> Callable[..., Array]:
    place, width = _place(kind)

    def run(a: Array, b: Array, scale: Array, old: Array, *, op_sel: int) -> Array:
        both = _pair(kind, _nearest(kind, a, scale), _nearest(kind, b, scale))
        return _into(old, both, place(op_sel), width)

    return run


def _pack_halves(kind: Small, word: str) -> Callable[..., Array]:
    place, width = _place(kind)

    def run(pair: Array, scale: Array, old: Array, *, op_sel: int) -> Array:
        low, high = (_nearest(kind, value, scale) for value in _halves(word, pair))
        return _into(old, _pair(kind, low, high), place(op_sel), width)

    return run


def _random_byte(kind: Small, word: str) -> Callable[..., Array]:
    def run(value: Array, random: Array, scale: Array, old: Array, *, op_sel: int) -> Array:
        code = _random(kind, _FRACTIONS[word], _wide(word, value), random, scale)
        return _into(old, code, _byte(op_sel), 8)

    return run


def _random_pair(word: str) -> Callable[..., Array]:
    def run(source: Any, random: Array, scale: Array, old: Array, *, op_sel: int) -> Array:
        values = [part.view(np.float32) for part in source] if word == "f32" else _halves(word, source)
        codes = []
        for value in values:
            codes.append(_random(FP4, _FRACTIONS[word], value, random, scale))
            random = prng(random)
        return _into(old, _pair(FP4, *codes), _byte(op_sel), 8)

    return run


# ---- out of a part of a register


def _one(kind: Small, word: str) -> Callable[..., Array]:
    """A byte to a float32, or to one half of the destination."""

    def run(codes: Array, scale: Array, *old: Array, op_sel: int) -> Array:
        value = kind.decode(codes >> np.uint32(8 * (op_sel & 3)) & np.uint32(0xFF))
        bits = _narrow(word, _scaled(value, scale, 1))
        return bits if word == "f32" else _into(old[0], bits, _word(op_sel), 16)

    return run


def _two(kind: Small, word: str) -> Callable[..., Any]:
    """A half, or a byte, to two elements."""
    bits = 1 + kind.exponent + kind.fraction

    def run(codes: Array, scale: Array, *, op_sel: int) -> Any:
        first = 8 * (op_sel & 3) if kind is FP4 else 16 * (op_sel & 1)
        values = [_scaled(kind.decode(codes >> np.uint32(first + at)), scale, 1) for at in (0, bits)]
        low, high = (_narrow(word, value) for value in values)
        return (low, high) if word == "f32" else join16(low.astype(np.uint16), high.astype(np.uint16))

    return run


# ---- 32 elements


def _split(registers: tuple[Array, ...], bits: int) -> list[Array]:
    """Elements of so many bits, packed from the lowest on."""
    mask = np.uint32((1 << bits) - 1)
    found = []
    for number in range(32 * len(registers) // bits):
        at, shift = divmod(number * bits, 32)
        code = registers[at] >> np.uint32(shift)
        if shift + bits > 32:
            code = code | registers[at + 1] << np.uint32(32 - shift)
        found.append(code & mask)
    return found


def _joined(codes: list[Array], bits: int) -> tuple[Array, ...]:
    registers: list[Any] = [np.uint32(0)] * (len(codes) * bits // 32)
    for number, code in enumerate(codes):
        at, shift = divmod(number * bits, 32)
        registers[at] = registers[at] | code << np.uint32(shift)
        if shift + bits > 32:
            registers[at + 1] = registers[at + 1] | code >> np.uint32(32 - shift)
    return tuple(registers)


def _values(word: str, registers: tuple[Array, ...]) -> list[Array]:
    if word == "f32":
        return [register.view(np.float32) for register in registers]
    return [value for register in registers for value in _halves(word, register)]


def _unpack_many(kind: Small, word: str) -> Callable[..., tuple[Array, ...]]:
    def run(registers: tuple[Array, ...], scale: Array) -> tuple[Array, ...]:
        bits = [_narrow(word, _scaled(kind.decode(code), scale, 1)) for code in _split(registers, 6)]
        return tuple(bits) if word == "f32" else _joined(bits, 16)

    return run


def _pack_many(kind: Small, word: str) -> Callable[..., tuple[Array, ...]]:
    def run(registers: tuple[Array, ...], scale: Array) -> tuple[Array, ...]:
        return _joined([_nearest(kind, value, scale) for value in _values(word, registers)], 6)

    return run


def _pack_interleaved(kind: Small) -> Callable[..., tuple[Array, ...]]:
    """Sixteen of each source, by turns."""

    def run(first: tuple[Array, ...], second: tuple[Array, ...], scale: Array) -> tuple[Array, ...]:
        registers = tuple(one for pair in zip(first, second, strict=True) for one in pair)
        return _joined([_nearest(kind, value, scale) for value in _values("f32", registers)], 6)

    return run


def _random_many(kind: Small, word: str) -> Callable[..., tuple[Array, ...]]:
    def run(registers: tuple[Array, ...], random: Array, scale: Array) -> tuple[Array, ...]:
        codes = []
        for value in _values(word, registers):
            codes.append(_random(kind, _FRACTIONS[word], value, random, scale))
            random = prng(random)
        return _joined(codes, 6)

    return run


# ---- the table


def _eight(name: str) -> dict[str, Op]:
    kind, start = _KINDS[name], "v_cvt_scalef32_"
    table = {
        f"{start}pk_{name}_f32": Op(_pack_f32(kind), "b32", ("f32", "f32", "u32", "b32"), ("op_sel",)),
        f"{start}pk_f32_{name}": Op(_two(kind, "f32"), "2xu32", ("b32", "u32"), ("op_sel",)),
        f"{start}f32_{name}": Op(_one(kind, "f32"), "u32", ("b32", "u32"), ("op_sel",)),
        f"{start}f16_{name}": Op(_one(kind, "f16"), "b32", ("b32", "u32", "b32"), ("op_sel",)),
    }
    for word in ("f16", "bf16"):
        table[f"{start}pk_{name}_{word}"] = Op(_pack_halves(kind, word), "b32", ("b32", "u32", "b32"), ("op_sel",))
        table[f"{start}pk_{word}_{name}"] = Op(_two(kind, word), "b32", ("b32", "u32"), ("op_sel",))
    for word in ("f32", "f16", "bf16"):
        table[f"{start}sr_{name}_{word}"] = Op(
            _random_byte(kind, word), "b32", (word, "u32", "u32", "b32"), ("op_sel",)
        )
    return table


def _four() -> dict[str, Op]:
    start = "v_cvt_scalef32_"
    table = {
        f"{start}pk_fp4_f32": Op(_pack_f32(FP4), "b32", ("f32", "f32", "u32", "b32"), ("op_sel",)),
        f"{start}pk_f32_fp4": Op(_two(FP4, "f32"), "2xu32", ("b32", "u32"), ("op_sel",)),
        f"{start}sr_pk_fp4_f32": Op(_random_pair("f32"), "b32", ("2xu32", "u32", "u32", "b32"), ("op_sel",)),
    }
    for word in ("f16", "bf16"):
        table[f"{start}pk_fp4_{word}"] = Op(_pack_halves(FP4, word), "b32", ("b32", "u32", "b32"), ("op_sel",))
        table[f"{start}sr_pk_fp4_{word}"] = Op(_random_pair(word), "b32", ("b32", "u32", "u32", "b32"), ("op_sel",))
        table[f"{start}pk_{word}_fp4"] = Op(_two(FP4, word), "b32", ("b32", "u32"), ("op_sel",))
    return table


def _six(name: str) -> dict[str, Op]:
    kind, start = _KINDS[name], "v_cvt_scalef32_"
    table = {f"{start}2xpk16_{name}_f32": Op(_pack_interleaved(kind), "6xb32", ("16xb32", "16xb32", "u32"))}
    for word in ("f32", "f16", "bf16"):
        wide = "32xb32" if word == "f32" else "16xb32"
        table[f"{start}pk32_{word}_{name}"] = Op(_unpack_many(kind, word), wide, ("6xb32", "u32"))
        table[f"{start}sr_pk32_{name}_{word}"] = Op(_random_many(kind, word), "6xb32", (wide, "u32", "u32"))
        if word != "f32":
            table[f"{start}pk32_{name}_{word}"] = Op(_pack_many(kind, word), "6xb32", (wide, "u32"))
    return table


SCALED: dict[str, Op] = {**_eight("fp8"), **_eight("bf8"), **_four(), **_six("fp6"), **_six("bf6")}
