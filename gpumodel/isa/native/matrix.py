"""Matrix instructions of one wave as functions of LLVM IR, with the results of gpumodel/isa/mfma.py.

Elements of A and B become float64 matrices [blocks][K][rows] on the stack; then four rows of D at a time are summed along K
and rounded once. Products are exact in float64 (but for those of float64), so a fused multiply-add adds as separate ones do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

from gpumodel.isa.fp8 import BF8_FNUZ, BF8_OCP, FP8_FNUZ, FP8_OCP, Small
from gpumodel.isa.mfma import BLOCK, LANES, RUN, Shape, Tiles, described, mfma
from gpumodel.isa.native.bits import joined, number
from gpumodel.isa.native.ir import Builder, Value, const, like

ROW_BYTES = 4 * LANES  # of a register
_ROWS = 4  # of D that are summed at a time
_BITS = {"f64": 64, "f32": 32, "xf32": 32, "f16": 16, "bf16": 16, "i8": 8, "fp8": 8, "bf8": 8, "f8f6f4": 8}
_SMALL = {
    "gfx942": {"fp8": FP8_FNUZ, "bf8": BF8_FNUZ},
    "gfx950": {"fp8": FP8_OCP, "bf8": BF8_OCP, "f8f6f4": FP8_OCP},
}


class Code(Builder):
    """A function with loops."""

    def __init__(self) -> None:
        super().__init__()
        self._block = "entry"
        self.lines.append("entry:")

    def loop(
        self, count: int, body: Callable[[Value, list[Value]], list[Value]], start: list[Value] | None = None
    ) -> list[Value]:
        """`body(index, values)` gives the next values; of the last round they are the result."""
        values = start or []
        if count == 1:
            return body(Value("0", "i64"), values)
        before, label = self._block, self.name()[1:]
        self.line(f"br label %{label}")
        self._open(label)
        index = Value(self.name(), "i64")
        held = [Value(self.name(), value.type) for value in values]
        at = len(self.lines)  # where the phis will be: what comes round is not known yet
        after = body(index, held)
        next_index = number(self, "add", index, 1)
        more = self.icmp("ult", next_index, const("i64", count))
        around = zip([index, *held], [const("i64", 0), *values], [next_index, *after], strict=True)
        self.lines[at:at] = [
            f"  {name.text} = phi {name.type} [ {first.text}, %{before} ], [ {other.text}, %{self._block} ]"
            for name, first, other in around
        ]
        self.line(f"br i1 {more.text}, label %{label}, label %{label}.done")
        self._open(f"{label}.done")
        return after

    def each(self, counts: tuple[int, ...], body: Callable[..., None]) -> None:
        """`body(*indexes)` for each combination, of powers of two; one loop, as each costs time to compile."""

        def once(index: Value, _: list[Value]) -> list[Value]:
            indexes: list[Value] = []
            for count in reversed(counts):
                index, rest = self.divided(index, count)
                indexes.insert(0, rest)
            body(*indexes)
            return []

        self.loop(prod(counts), once)

    def _open(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self._block = label

    def sum(self, *terms: Value) -> Value:
        """Of indexes; what is known now is not computed later: most of these are."""
        known = sum(int(term.text) for term in terms if term.text.isdigit())
        others = [term for term in terms if not term.text.isdigit()]
        if not others:
            return const("i64", known)
        total = others[0]
        for term in others[1:]:
            total = self.two("add", total, term)
        return number(self, "add", total, known) if known else total

    def times(self, value: Value, factor: int) -> Value:
        if value.text.isdigit():
            return const("i64", int(value.text) * factor)
        return value if factor == 1 else number(self, "mul", value, factor)

    def divided(self, value: Value, by: int) -> tuple[Value, Value]:
        """Quotient and rest; `by` is a power of two."""
        if value.text.isdigit():
            quotient, rest = divmod(int(value.text), by)
            return const("i64", quotient), const("i64", rest)
        if by == 1:
            return value, const("i64", 0)
        return number(self, "lshr", value, by.bit_length() - 1), number(self, "and", value, by - 1)

    def spread(self, value: Value, count: int) -> Value:
        """A scalar in all of a vector."""
        kind = f"<{count} x {value.type}>"
        one = self.value(kind, f"insertelement {kind} poison, {value.type} {value.text}, i64 0")
        return self.value(kind, f"shufflevector {kind} {one.text}, {kind} poison, <{count} x i32> zeroinitializer")


# ---- elements: 32-bit words and which part of them, to float64


def _of_float(b: Builder, words: Value) -> Value:
    return b.cast("fpext", b.cast("bitcast", words, "float"), "double")


def _part(b: Builder, words: Value, bits: int, part: int) -> Value:
    """Bits of a part of each word, zero-extended."""
    return number(b, "and", number(b, "lshr", words, bits * part), (1 << bits) - 1)


def _f32(b: Builder, words: Value, part: int) -> Value:
    return _of_float(b, words)


def _xf32(b: Builder, words: Value, part: int) -> Value:
    """As in mfma.py: 10 bits of fraction, rounded to nearest even."""
    odd = number(b, "and", number(b, "lshr", words, 13), 1)
    rounded = number(b, "and", b.two("add", number(b, "add", words, 0xFFF), odd), 0xFFFFE000)
    beyond = b.icmp("uge", number(b, "and", words, 0x7FFFFFFF), const(words.type, 0x7F800000))
    return _of_float(b, b.select(beyond, words, rounded))


def _f16(b: Builder, words: Value, part: int) -> Value:
    half = b.cast("bitcast", b.cast("trunc", number(b, "lshr", words, 16 * part), "i16"), "half")
    return b.cast("fpext", b.cast("fpext", half, "float"), "double")


def _bf16(b: Builder, words: Value, part: int) -> Value:
    return _of_float(b, number(b, "and", words, 0xFFFF0000) if part else number(b, "shl", words, 16))


def _i8(b: Builder, words: Value, part: int) -> Value:
    return b.cast("sitofp", number(b, "ashr", number(b, "shl", words, 24 - 8 * part), 24), "double")


def decode_small(b: Builder, codes: Value, kind: Small) -> Value:
    """Floats of the codes of a small format (32 bits each, none set above); no step makes a subnormal, which would be slow."""
    size = number(b, "and", codes, kind.sign - 1)
    fraction = kind.fraction
    normal = number(b, "add", number(b, "shl", size, 23 - fraction), 127 - kind.bias << 23)
    unit = const(like(size.type, "float"), 2.0 ** (1 - kind.bias - fraction))
    subnormal = b.cast("bitcast", b.two("fmul", b.cast("sitofp", size, "float"), unit), "i32")
    bits = b.select(b.icmp("ult", size, const(size.type, 1 << fraction)), subnormal, normal)
    nan = const(size.type, 0x7FC00000)
    if kind.infinity is not None:
        bits = b.select(b.icmp("eq", size, const(size.type, kind.infinity)), const(size.type, 0x7F800000), bits)
        bits = b.select(b.icmp("ugt", size, const(size.type, kind.infinity)), nan, bits)
    sign = number(b, "and", number(b, "shl", codes, 31 - (kind.exponent + fraction)), 0x80000000)
    bits = b.two("or", bits, sign)
    if kind.infinity is None and kind.nan is not None:
        bits = b.select(b.icmp("eq", codes if kind.fnuz else size, const(size.type, kind.nan)), nan, bits)
    return b.cast("bitcast", bits, "float")


def _element(kind: str, target: str) -> Callable[[Builder, Value, int], Value]:
    plain = {"f32": _f32, "xf32": _xf32, "f16": _f16, "bf16": _bf16, "i8": _i8}
    if kind in plain:
        return plain[kind]
    small = _SMALL[target][kind]
    return lambda b, words, part: b.cast("fpext", decode_small(b, _part(b, words, 8, part), small), "double")


def _joined(b: Builder, low: Value, high: Value) -> Value:
    """float64 of two words."""
    both = joined(b, [b.cast("zext", word, "i64") for word in (low, high)], 32)
    return b.cast("bitcast", both, "double")


# ---- a function


@dataclass(frozen=True)
class _Side:
    """A or B: `size` is M or N."""

    kind: str
    size: int
    shape: Shape

    @property
    def elements(self) -> int:
        """Of all blocks."""
        return self.shape.blocks * self.shape.k * self.size

    @property
    def lanes(self) -> int:
        """That are read at a time."""
        return min(8, self.size)

    @property
    def _each(self) -> int:
        """Elements of a lane."""
        return self.elements // LANES

    @property
    def words(self) -> int:
        """That a lane's elements are in; float64 are one each."""
        return self._each * min(_BITS[self.kind], 32) // 32

    def _place(self, b: Code, lane: Value, element: Value) -> Value:
        """Where in [blocks][K][size] an element of a lane belongs; mfma.py, _matrix."""
        blocks, k = self.shape.blocks, self.shape.k
        groups = LANES // (self.size * blocks)
        run = RUN if self._each > RUN and _BITS[self.kind] >= 8 else self._each
        group, rest = b.divided(lane, self.size * blocks)
        block, row = b.divided(rest, self.size)
        runs, inside = b.divided(element, run)
        along = b.sum(b.times(runs, groups * run), b.times(group, run), inside)
        return b.sum(b.times(b.sum(b.times(block, k), along), self.size), row)

    def unpack(self, b: Code, target: str, registers: Value, matrix: Value, word: Value, chunk: Value) -> None:
        """One word, or float64, of some lanes, to float64[blocks][K][size]."""
        parts = max(32 // _BITS[self.kind], 1)
        lane = b.times(chunk, self.lanes)

        def put(values: Value, element: Value) -> None:
            b.store(values, b.at(matrix, b.times(self._place(b, lane, element), 8)), 8)

        step = ROW_BYTES * (2 if self.kind == "f64" else 1)
        source = b.at(registers, b.sum(b.times(word, step), b.times(lane, 4)))
        kind = f"<{self.lanes} x i32>"
        low = b.load(kind, source, 4)
        if self.kind == "f64":
            put(_joined(b, low, b.load(kind, b.at(source, ROW_BYTES), 4)), word)
            return
        decode = _element(self.kind, target)
        for part in range(parts):
            put(decode(b, low, part), b.sum(b.times(word, parts), const("i64", part)))


@dataclass(frozen=True)
class Results:
    """C and D."""

    out: str
    shape: Shape

    @property
    def registers(self) -> int:
        return self.shape.m * self.shape.n * self.shape.blocks // LANES * (2 if self.out == "f64" else 1)

    def finish(self, b: Code, sums: list[Value], tile: tuple[Value, Value, Value], c: Value, d: Value) -> None:
        """Four rows of one block, from the row 4 * `rows` on and from the column `column` on: plus C, rounded, to D."""
        block, rows, column = tile
        tiles = Tiles.of(self.shape, self.out == "f64")
        outer, side = b.divided(block, tiles.side)
        # Four rows are the four registers of a lane, or with float64 the four groups of lanes.
        high, group = b.divided(rows, tiles.groups if tiles.together == _ROWS else 1)
        register = b.times(b.sum(b.times(outer, tiles.high), high), ROW_BYTES * (_ROWS if self.out != "f64" else 2))
        lane = b.sum(b.times(b.sum(b.times(group, tiles.side), side), self.shape.n), column)
        first = b.sum(register, b.times(lane, 4))
        step = ROW_BYTES if self.out != "f64" else 4 * tiles.side * self.shape.n
        for row, total in enumerate(sums):
            place = b.sum(first, const("i64", step * row))
            self._row(b, total, b.at(c, place), b.at(d, place))

    def _row(self, b: Code, total: Value, c: Value, d: Value) -> None:
        words = like(total.type, "i32")
        if self.out == "i32":
            whole = b.cast("fptosi", total, "i32")  # at most 2**20
            b.store(b.two("add", whole, b.load(words, c, 4)), d, 4)
        elif self.out == "f32":
            start = b.cast("fpext", b.load(like(total.type, "float"), c, 4), "double")
            b.store(b.cast("fptrunc", b.two("fadd", total, start), "float"), d, 4)
        else:
            start = _joined(b, b.load(words, c, 4), b.load(words, b.at(c, ROW_BYTES), 4))
            bits = b.cast("bitcast", b.two("fadd", total, start), "i64")
            b.store(b.cast("trunc", bits, "i32"), d, 4)
            b.store(b.cast("trunc", number(b, "lshr", bits, 32), "i32"), b.at(d, ROW_BYTES), 4)


def multiply(
    b: Code,
    shape: Shape,
    a: Value,
    right: Value,
    finish: Callable[[list[Value], tuple[Value, Value, Value]], None],
    powers: tuple[Value, Value] | None = None,
) -> None:
    """Sums along K of float64[blocks][K][M] and [blocks][K][N], four rows and up to eight columns at a time. `powers`: what
    each sum of 32 elements is multiplied by, float64[K / 32][M] and [K / 32][N]."""
    columns = min(8, shape.n)
    kind = f"<{columns} x double>"

    def tile(block: Value, rows: Value, place: Value) -> None:
        column = b.times(place, columns)
        left = b.at(a, b.times(b.sum(b.times(block, shape.k * shape.m), b.times(rows, _ROWS)), 8))
        other = b.at(right, b.times(b.sum(b.times(block, shape.k * shape.n), column), 8))

        def add(k: Value, sums: list[Value]) -> list[Value]:
            of_b = b.load(kind, b.at(other, b.times(k, 8 * shape.n)), 8)
            of_a = b.at(left, b.times(k, 8 * shape.m))
            factors = [b.spread(b.load("double", b.at(of_a, 8 * row), 8), columns) for row in range(_ROWS)]
            return [b.call("fma", kind, [one, of_b, total]) for one, total in zip(factors, sums, strict=True)]

        nothing = [const(kind, 0.0)] * _ROWS
        if powers is None:
            finish(b.loop(shape.k, add, nothing), (block, rows, column))
            return
        for_a, for_b = powers

        def scaled(part: Value, totals: list[Value]) -> list[Value]:
            first = b.times(part, BLOCK)
            sums = b.loop(BLOCK, lambda k, sums: add(b.sum(first, k), sums), nothing)
            of_b = b.load(kind, b.at(for_b, b.times(b.sum(b.times(part, shape.n), column), 8)), 8)
            of_a = b.at(for_a, b.times(b.sum(b.times(part, shape.m), b.times(rows, _ROWS)), 8))
            after = []
            for row, (total, one) in enumerate(zip(totals, sums, strict=True)):
                power = b.two("fmul", b.spread(b.load("double", b.at(of_a, 8 * row), 8), columns), of_b)
                after.append(b.two("fadd", total, b.two("fmul", one, power)))
            return after

        finish(b.loop(shape.k // BLOCK, scaled, nothing), (block, rows, column))

    b.each((shape.blocks, shape.m // _ROWS, shape.n // columns), tile)


@lru_cache(maxsize=64)
def _function(name: str, target: str) -> tuple[str, frozenset[str]]:
    shape, out, kinds = described(name)
    left, right, results = _Side(kinds[0], shape.m, shape), _Side(kinds[-1], shape.n, shape), Results(out, shape)
    b = Code()
    size = 8 * left.elements
    matrices = b.value("ptr", f"alloca [{size + 8 * right.elements} x i8], align 64")
    file, zeros = Value("%v", "ptr"), Value(f"@{name}.zeros", "ptr")
    a, second, c, d = (Value(text, "i32") for text in ("%a", "%b", "%c", "%d"))

    def register(first: Value) -> Value:
        return b.at(file, b.times(b.cast("sext", first, "i64"), ROW_BYTES))

    if left == right:  # the same code for both

        def both(side: Value, word: Value, chunk: Value) -> None:
            first = b.select(b.icmp("eq", side, const("i64", 0)), a, second)
            left.unpack(b, target, register(first), b.at(matrices, b.times(side, size)), word, chunk)

        b.each((2, left.words, LANES // left.lanes), both)
    else:
        for side, first, matrix in ((left, a, matrices), (right, second, b.at(matrices, size))):
            unpack = partial(side.unpack, b, target, register(first), matrix)
            b.each((side.words, LANES // side.lanes), unpack)
    start = b.select(b.icmp("slt", c, const("i32", 0)), zeros, register(c))
    result = register(d)
    multiply(b, shape, matrices, b.at(matrices, size), lambda sums, tile: results.finish(b, sums, tile, start, result))
    body = "\n".join(b.lines)
    text = f"""{zeros.text} = internal constant [{ROW_BYTES * results.registers} x i8] zeroinitializer, align 64
define internal void @{name}(ptr %v, i32 %a, i32 %b, i32 %c, i32 %d) {{
{body}
  ret void
}}"""
    return text, frozenset(b.declared)


def lowered(target: str) -> frozenset[str]:
    """The names that lower_mfma has: all without scales and indices."""
    return frozenset(name for name, op in mfma(target).items() if not op.scaled and not op.sparse)


def lower_mfma(b: Builder, name: str, target: str) -> str:
    """A function `void @name(ptr v, i32 a, i32 b, i32 c, i32 d)` for the module that `b` is of: cbsz, abid and blgp are 0.

    `v`: the wave's registers, uint32[registers][64]; `a` to `d`: the first register of each operand; `c` -1: zeros. All lanes
    take part. D may lie where A, B or C lies, but not on a part of C that begins elsewhere."""
    text, declared = _function(name, target)
    b.declared |= declared
    return text
