"""v_mfma_f32_*_f8f6f4, with scales and without, as functions of LLVM IR, with the results of gpumodel/isa/mfma.py.

Elements are looked up in a table of what their codes mean. Each 32 of them along K are summed, and the sum is scaled."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from gpumodel.isa.fp8 import BF6, BF8_OCP, FP4, FP6, FP8_OCP, Small
from gpumodel.isa.mfma import BLOCK, LANES, RUN, Shape
from gpumodel.isa.native.bits import number
from gpumodel.isa.native.ir import Value, const
from gpumodel.isa.native.matrix import ROW_BYTES, Code, Results, multiply

FORMATS = (FP8_OCP, BF8_OCP, FP6, BF6, FP4)  # by cbsz and blgp
_TOGETHER = 8  # lanes
_WORDS, _DOUBLES = f"<{_TOGETHER} x i32>", f"<{_TOGETHER} x double>"


@dataclass(frozen=True)
class Form:
    """One instruction's. `left`, `right`: formats of A and B; `bytes`: of the scales, None without."""

    m: int
    left: int
    right: int
    bytes: tuple[int, int] | None

    @property
    def shape(self) -> Shape:
        return Shape(self.m, self.m, 2048 // self.m, 1)

    @property
    def name(self) -> str:
        scales = "" if self.bytes is None else "_scaled_{}_{}".format(*self.bytes)
        return f"mfma_{self.m}_{self.left}_{self.right}{scales}"


def bits(kind: Small) -> int:
    """Of an element; as many registers hold those of a lane."""
    return 1 + kind.exponent + kind.fraction


def _table(name: str, kind: Small) -> str:
    """float64 of every code."""
    hexes = (struct.pack(">d", float(value)).hex().upper() for value in kind.values)
    values = ", ".join(f"double 0x{one}" for one in hexes)
    return f"@{name} = internal constant [{2 * kind.sign} x double] [{values}], align 64"


def _unpack(b: Code, kind: Small, shape: Shape, registers: Value, table: str, matrix: Value) -> None:
    """To float64[K][size]."""
    width, size = bits(kind), shape.m
    words = 3 if width == 6 else 1  # that hold whole elements
    count = 32 * words // width
    groups = LANES // size

    def piece(which: Value, chunk: Value) -> None:
        lane = b.times(chunk, _TOGETHER)
        first = b.at(registers, b.sum(b.times(which, words * ROW_BYTES), b.times(lane, 4)))
        held = [b.load(_WORDS, b.at(first, place * ROW_BYTES), 4) for place in range(words)]
        group, row = b.divided(lane, size)
        for place in range(count):
            word, shift = divmod(place * width, 32)
            code = number(b, "lshr", held[word], shift)
            if shift + width > 32:
                code = b.two("or", code, number(b, "shl", held[word + 1], 32 - shift))
            code = number(b, "and", code, (1 << width) - 1)
            at = b.value(f"<{_TOGETHER} x ptr>", f"getelementptr double, ptr @{table}, {_WORDS} {code.text}")
            every = const(f"<{_TOGETHER} x i1>", 1)
            given = [at, Value("8", "i32"), every, const(_DOUBLES, 0.0)]
            value = b.call("masked.gather", _DOUBLES, given, by=[_DOUBLES, "<8 x ptr>"])
            element = b.sum(b.times(which, count), const("i64", place))
            if width >= 8:
                runs, inside = b.divided(element, RUN)
                along = b.sum(b.times(runs, groups * RUN), b.times(group, RUN), inside)
            else:
                along = b.sum(b.times(group, BLOCK), element)
            b.store(value, b.at(matrix, b.times(b.sum(b.times(along, size), row), 8)), 8)

    b.each((BLOCK // count, LANES // _TOGETHER), piece)


def _powers(b: Code, words: Value, byte: int, powers: Value) -> None:
    """E8M0 codes of 64 lanes as float64."""

    def some(chunk: Value) -> None:
        lane = b.times(chunk, _TOGETHER)
        held = b.load(_WORDS, b.at(words, b.times(lane, 4)), 4)
        code = number(b, "and", number(b, "lshr", held, 8 * byte), 0xFF)
        exponent = b.cast("zext", number(b, "add", code, 1023 - 127), "i64")
        power = b.cast("bitcast", number(b, "shl", exponent, 52), "double")
        nan = b.icmp("eq", code, const(code.type, 255))
        power = b.select(nan, const(power.type, float("nan")), power)
        b.store(power, b.at(powers, b.times(lane, 8)), 8)

    b.each((LANES // _TOGETHER,), some)


@lru_cache(maxsize=256)
def lower(form: Form) -> tuple[str, frozenset[str]]:
    """`void @NAME(ptr v, i32 a, i32 b, i32 c, i32 d, ptr sa, ptr sb)`, as matrix.lower_mfma's with the rows of the scales, and
    what it declares."""
    shape, name = form.shape, form.name
    b = Code()
    elements = shape.m * shape.k
    matrices = b.value("ptr", f"alloca [{16 * elements + 16 * LANES} x i8], align 64")
    left, right = matrices, b.at(matrices, 8 * elements)
    file, zeros = Value("%v", "ptr"), Value(f"@{name}.zeros", "ptr")

    def register(text: str) -> Value:
        return b.at(file, b.times(b.cast("sext", Value(text, "i32"), "i64"), ROW_BYTES))

    tables = {code: f"{name}.{code}" for code in {form.left, form.right}}
    for code, first, matrix in ((form.left, "%a", left), (form.right, "%b", right)):
        _unpack(b, FORMATS[code], shape, register(first), tables[code], matrix)
    powers: tuple[Value, Value] | None = None
    if form.bytes is not None:
        powers = b.at(matrices, 16 * elements), b.at(matrices, 16 * elements + 8 * LANES)
        for text, byte, to in zip(("%sa", "%sb"), form.bytes, powers, strict=True):
            _powers(b, Value(text, "ptr"), byte, to)
    results = Results("f32", shape)
    start = b.select(b.icmp("slt", Value("%c", "i32"), const("i32", 0)), zeros, register("%c"))
    result = register("%d")
    multiply(b, shape, left, right, lambda sums, tile: results.finish(b, sums, tile, start, result), powers)
    body = "\n".join(b.lines)
    constants = "\n".join(_table(text, FORMATS[code]) for code, text in tables.items())
    text = f"""{zeros.text} = internal constant [{ROW_BYTES * results.registers} x i8] zeroinitializer, align 64
{constants}
define internal void @{name}(ptr %v, i32 %a, i32 %b, i32 %c, i32 %d, ptr %sa, ptr %sb) {{
{body}
  ret void
}}"""
    return text, frozenset(b.declared)
