"""LLVM IR as text, an instruction a line. Values know their type; nothing is folded or checked here, LLVM does both.

Lanes are computed WIDTH at a time: a lanewise value is "<8 x i32>" and the like, one of a whole wave "i32" (see splat)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

WIDTH = 8
MOST_INLINE = 16  # lines of an operation that is put where it is used
KINDS = {  # types of gpumodel/isa/op.py; bf16 is its bits
    **dict.fromkeys(("u32", "i32", "b32"), "i32"),
    **dict.fromkeys(("u16", "i16", "b16", "bf16"), "i16"),
    **dict.fromkeys(("u8", "i8"), "i8"),
    **dict.fromkeys(("u64", "i64", "b64"), "i64"),
    "f16": "half",
    "f32": "float",
    "mix": "float",
    "f64": "double",
    "mask": "i1",
}
BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "half": 16, "float": 32, "double": 64}


def lanes(scalar: str) -> str:
    """The type of WIDTH of them."""
    return f"<{WIDTH} x {scalar}>"


def scalar_of(kind: str) -> str:
    """The type of an element; of a scalar itself."""
    return kind.rpartition(" x ")[2].rstrip(">")


def like(kind: str, scalar: str) -> str:
    """The type of as many as `kind` has."""
    return f"{kind.rpartition(' x ')[0]} x {scalar}>" if kind.startswith("<") else scalar


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value or a constant: how it is written, and its type."""

    text: str
    type: str


def const(kind: str, value: int | float) -> Value:
    """A constant of a type, in all lanes of a vector; floats by the nearest that there is, integers modulo their size."""
    scalar = scalar_of(kind)
    if scalar == "half":
        text = f"0xH{int.from_bytes(struct.pack('<e', value), 'little'):04X}"
    elif scalar == "float":
        near = struct.unpack("<f", struct.pack("<f", value))[0]
        text = f"0x{int.from_bytes(struct.pack('<d', near), 'little'):016X}"
    elif scalar == "double":
        text = f"0x{int.from_bytes(struct.pack('<d', value), 'little'):016X}"
    else:
        bits = BITS[scalar]
        number = int(value) & (1 << bits) - 1
        text = str(number) if bits > 1 else ("true" if number else "false")
    return Value(f"splat ({scalar} {text})" if kind.startswith("<") else text, kind)


@dataclass(frozen=True, slots=True)
class _Function:
    """`result`: of what shape it is."""

    text: str
    returns: str
    result: Any


def flat(values: Iterable[Any]) -> list[Value]:
    """Values, and those of tuples, one after the other."""
    return [one for value in values for one in (flat(value) if isinstance(value, tuple) else [value])]


def _shaped(shape: Any, values: Iterator[Value]) -> Any:
    """The values as tuples of that shape."""
    return tuple(_shaped(part, values) for part in shape) if isinstance(shape, tuple) else next(values)


def _function(name: str, kinds: list[str], lines: list[str], result: Any) -> _Function:
    given = ", ".join(f"{kind} %a{number}" for number, kind in enumerate(kinds))
    results = flat((result,))
    if len(results) == 1:
        returns, last = results[0].type, [f"  ret {results[0].type} {results[0].text}"]
    else:
        returns, text, last = f"{{ {', '.join(one.type for one in results)} }}", "poison", []
        for number, one in enumerate(results):
            last.append(f"  %r{number} = insertvalue {returns} {text}, {one.type} {one.text}, {number}")
            text = f"%r{number}"
        last.append(f"  ret {returns} {text}")
    body = "\n".join([*lines, *last])
    return _Function(f"define internal {returns} @{name}({given}) {{\n{body}\n}}", returns, result)


class Builder:
    """Lines of one function's body. Methods take and give Values; operands of one operation have one type."""

    def __init__(self, within: Builder | None = None) -> None:
        """`within`: another one of the same function; they share names and declarations."""
        self.lines: list[str] = []
        self.declared: set[str] = set() if within is None else within.declared
        self.functions: dict[str, _Function | None] = {} if within is None else within.functions
        self._numbers: Iterator[int] = count() if within is None else within._numbers

    @property
    def texts(self) -> list[str]:
        """Of the functions that computed() made."""
        return [one.text for one in self.functions.values() if one is not None]

    def name(self) -> str:
        return f"%t{next(self._numbers)}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def value(self, kind: str, text: str) -> Value:
        """A new value of that type, computed as `text` says."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return Value(name, kind)

    # ---- arithmetic

    def two(self, opcode: str, a: Value, b: Value) -> Value:
        """add sub mul and or xor shl lshr ashr udiv urem fadd fsub fmul fdiv; shifts by all bits and more are poison."""
        assert a.type == b.type, (opcode, a, b)
        return self.value(a.type, f"{opcode} {a.type} {a.text}, {b.text}")

    def fneg(self, a: Value) -> Value:
        return self.value(a.type, f"fneg {a.type} {a.text}")

    def icmp(self, predicate: str, a: Value, b: Value) -> Value:
        """eq ne ugt uge ult ule sgt sge slt sle."""
        assert a.type == b.type, (predicate, a, b)
        return self.value(like(a.type, "i1"), f"icmp {predicate} {a.type} {a.text}, {b.text}")

    def fcmp(self, predicate: str, a: Value, b: Value) -> Value:
        """oeq ogt oge olt ole one ord ueq ugt uge ult ule une uno."""
        assert a.type == b.type, (predicate, a, b)
        return self.value(like(a.type, "i1"), f"fcmp {predicate} {a.type} {a.text}, {b.text}")

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        assert yes.type == no.type, (yes, no)
        return self.value(
            yes.type, f"select {condition.type} {condition.text}, {yes.type} {yes.text}, {no.type} {no.text}"
        )

    def cast(self, opcode: str, a: Value, scalar: str) -> Value:
        """zext sext trunc fpext fptrunc sitofp uitofp bitcast, to elements of that type; itself if they are. Of floats to
        integers: call("fptosi.sat", ...), as others are poison where they do not fit."""
        kind = like(a.type, scalar)
        return a if kind == a.type else self.value(kind, f"{opcode} {a.type} {a.text} to {kind}")

    def call(
        self, intrinsic: str, result: str, arguments: Sequence[Value], *, by: Sequence[str] | None = None
    ) -> Value:
        """llvm.<intrinsic>, with the types in its name that `by` lists (the result's where it lists none)."""
        mangled = ".".join(_mangled(kind) for kind in (by if by is not None else [result]))
        name = f"llvm.{intrinsic}" + (f".{mangled}" if mangled else "")
        self.declared.add(f"declare {result} @{name}({', '.join(one.type for one in arguments)})")
        return self.value(result, f"call {result} @{name}({', '.join(f'{one.type} {one.text}' for one in arguments)})")

    def computed(self, key: str, make: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """make(builder, *arguments); if it takes many lines, by a function of the module with that name, which is compiled once
        however often it is used. Arguments and the result are Values, or tuples of them."""
        if key not in self.functions:
            inner = Builder()
            inner.declared, inner.functions = self.declared, self.functions
            kinds = [one.type for one in flat(arguments)]
            names = iter([Value(f"%a{number}", kind) for number, kind in enumerate(kinds)])
            result = make(inner, *_shaped(tuple(arguments), names))
            self.functions[key] = _function(key, kinds, inner.lines, result) if len(inner.lines) > MOST_INLINE else None
        function = self.functions[key]
        if function is None:
            return make(self, *arguments)
        given = ", ".join(f"{one.type} {one.text}" for one in flat(arguments))
        got = self.value(function.returns, f"call {function.returns} @{key}({given})")
        results = flat((function.result,))
        if len(results) == 1:
            return _shaped(function.result, iter([got]))
        parts = [
            self.value(one.type, f"extractvalue {function.returns} {got.text}, {number}")
            for number, one in enumerate(results)
        ]
        return _shaped(function.result, iter(parts))

    # ---- vectors

    def splat(self, a: Value) -> Value:
        """A scalar in all lanes."""
        kind = lanes(a.type)
        one = self.value(kind, f"insertelement {kind} poison, {a.type} {a.text}, i64 0")
        return self.value(kind, f"shufflevector {kind} {one.text}, {kind} poison, <{WIDTH} x i32> zeroinitializer")

    # ---- memory

    def at(self, pointer: Value, offset: Value | int) -> Value:
        """A pointer some bytes further."""
        amount = f"i64 {offset}" if isinstance(offset, int) else f"{offset.type} {offset.text}"
        return self.value("ptr", f"getelementptr i8, ptr {pointer.text}, {amount}")

    def load(self, kind: str, pointer: Value, align: int) -> Value:
        return self.value(kind, f"load {kind}, ptr {pointer.text}, align {align}")

    def store(self, value: Value, pointer: Value, align: int) -> None:
        self.line(f"store {value.type} {value.text}, ptr {pointer.text}, align {align}")


# The lowering of an operation of gpumodel/isa/valu.py: lower(builder, *sources, **wants) gives the result, or a tuple of
# Values where Op.result, or a type in it, is one. A source of several parts is a tuple, too.
Lower = Callable[..., Any]


def _mangled(kind: str) -> str:
    if kind.startswith("<"):
        count, _, scalar = kind[1:-1].partition(" x ")
        return f"v{count}{_mangled(scalar)}"
    return {"half": "f16", "float": "f32", "double": "f64"}.get(kind, kind)
