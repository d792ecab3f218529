"""Lowered vector operations beside those of NumPy: a module with a function for each operation, run over the same operands.

The memory of a function: a table of pointers to arrays, first the sources' (each part of a pair is one), then the results';
masks are bytes 0 or 1."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpumodel.isa.native.ir import KINDS, WIDTH, Builder, Lower, Value, lanes
from gpumodel.isa.native.jit import Module, usable
from gpumodel.isa.op import Op
from tests.isa_operands import dtype, operands

Array = npt.NDArray[Any]
needs_compiler = pytest.mark.skipif(
    not usable(), reason="kernels are not compiled here: no llvmlite, or a processor without AVX2, FMA and F16C"
)
# What is tried of a field of the instruction.
WANTS = {"op_sel": (0, 4, 8, 12), "bitop3": (0x00, 0xFF, 0xCA, 0x96, 0xE8, 0x2D, 0x81, 0x5F)}


@dataclass(frozen=True)
class Case:
    """An operation, with values of the fields that it wants."""

    name: str
    op: Op
    lower: Lower
    wants: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{value:#x}" for value in self.wants.values())])


def cases(lowered: Mapping[str, Lower], table: Mapping[str, Op]) -> list[Case]:
    """Every lowered operation, once for each value of WANTS (of one field: none has two)."""
    found = []
    for name, lower in lowered.items():
        op = table[name]
        assert len(op.wants) <= 1, f"{name} wants {op.wants}"
        fields = [{want: value} for want in op.wants for value in WANTS[want]] or [{}]
        found += [Case(name, op, lower, wants) for wants in fields]
    return found


def parts(word: str) -> list[str]:
    """The types that a type word stands for: two of "2xf16"."""
    count, times, part = word.partition("x")
    return [part] * int(count) if times and count.isdigit() else [word]


def _results(op: Op) -> list[str]:
    return [op.result] if isinstance(op.result, str) else list(op.result)


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for part in value:
            yield from flat(part)
    else:
        yield value


def function(name: str, case: Case, within: Builder) -> str:
    """The text of one function (ptr arrays, i64 lanes); lanes are a multiple of WIDTH. `within`: of the same module."""
    b = Builder(within)
    at = Value("%at", "i64")
    place = 0

    def pointer(kind: str) -> Value:
        nonlocal place
        base = b.load("ptr", b.at(Value("%arrays", "ptr"), 8 * place), 8)
        place += 1
        return b.at(base, b.two("mul", at, Value(str(dtype(kind).itemsize), "i64")))

    def load(kind: str) -> Value:
        if kind != "mask":
            return b.load(lanes(KINDS[kind]), pointer(kind), dtype(kind).itemsize)
        return b.cast("trunc", b.load(lanes("i8"), pointer(kind), 1), "i1")

    def store(kind: str, value: Value) -> None:
        assert value.type == lanes(KINDS[kind]), f"{case}: {value.type} is no {kind}"
        b.store(b.cast("zext", value, "i8") if kind == "mask" else value, pointer(kind), dtype(kind).itemsize)

    sources: list[Any] = []
    for word in case.op.sources:
        values = tuple(load(part) for part in parts(word))
        sources.append(values if len(parts(word)) > 1 else values[0])
    results = list(flat(case.lower(b, *sources, **case.wants)))
    kinds = [part for word in _results(case.op) for part in parts(word)]
    for kind, value in zip(kinds, results, strict=True):
        store(kind, value)
    body = "\n".join(b.lines)
    return f"""define void @{name}(ptr %arrays, i64 %lanes) {{
  br label %loop
loop:
  %at = phi i64 [ 0, %0 ], [ %next, %loop ]
{body}
  %next = add i64 %at, {WIDTH}
  %more = icmp ult i64 %next, %lanes
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""


class Lowered:
    """All cases, compiled."""

    def __init__(self, todo: list[Case]) -> None:
        self.cases = {str(case): case for case in todo}
        self._names = {case: f"op{number}" for number, case in enumerate(self.cases)}
        module = Builder()
        functions = [function(self._names[key], case, module) for key, case in self.cases.items()]
        self.text = "\n".join([*sorted(module.declared), *module.texts, *functions])
        self._module = Module(self.text)

    def run(self, key: str, sources: list[Any]) -> list[Array]:
        """The results, parts of pairs one by one, of sources [waves][lanes]."""
        arrays = [np.ascontiguousarray(array) for array in flat(tuple(sources))]
        kinds = [part for word in _results(self.cases[key].op) for part in parts(word)]
        results = [np.empty(arrays[0].shape, dtype(kind)) for kind in kinds]
        pointers = (ctypes.c_void_p * len(arrays + results))(*(array.ctypes.data for array in arrays + results))
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
        signature(self._module.address(self._names[key]))(ctypes.addressof(pointers), arrays[0].size)
        return results


def different(seen: Array, expected: Array) -> Array:
    """Where bits differ, but that a NaN may be any that is as quiet."""
    assert seen.dtype == expected.dtype, (seen.dtype, expected.dtype)
    bits = np.dtype(f"u{seen.itemsize}")
    wrong: Array = np.not_equal(seen.view(bits), expected.view(bits))
    if seen.dtype.kind == "f":
        quiet = bits.type(1 << np.finfo(seen.dtype).nmant - 1)
        as_quiet = (seen.view(bits) & quiet) == (expected.view(bits) & quiet)
        wrong &= ~(np.isnan(seen) & np.isnan(expected) & as_quiet)
    return wrong


def distance(seen: Array, expected: Array) -> Array:
    """Floats of one type: how many steps apart, int64 (for f64 modulo 2**64); 0 between NaN."""
    signed = np.dtype(f"i{seen.itemsize}")

    def rank(value: Array) -> Array:
        bits = value.view(signed).astype(np.int64)
        ordered: Array = np.where(bits < 0, -(bits & np.iinfo(signed).max), bits)
        return ordered

    both_nan = np.isnan(seen) & np.isnan(expected)
    apart: Array = np.where(both_nan, 0, np.abs(rank(seen) - rank(expected)))
    return apart


def compare(
    lowered: Lowered, key: str, *, waves: int = 32, seed: int = 1, view: Any = None, steps: int = 0
) -> tuple[int, str]:
    """How many lanes differ from Op.run, and the first of them in words.

    `view`: the dtype of floats that the results, words of bits, hold. `steps`: floats that far from each other are the same.
    """
    case = lowered.cases[key]
    sources = operands(case.op, waves, seed)
    with np.errstate(all="ignore"):
        expected = [
            np.ascontiguousarray(np.broadcast_to(part, (waves, part.shape[-1])))
            for part in flat(case.op.run(*sources, **case.wants))
        ]
    seen = lowered.run(key, sources)
    for number, (one, other) in enumerate(zip(seen, expected, strict=True)):
        a, b = (one, other) if view is None or one.dtype.kind == "f" else (one.view(view), other.view(view))
        wrong = different(a, b)
        if steps:
            wrong &= distance(a, b) > steps
        if wrong.any():
            where = tuple(np.argwhere(wrong)[0])
            lane = (where[0], where[1] * a.itemsize // one.itemsize)
            given = ", ".join(_said(value[lane]) for value in flat(tuple(sources)))
            return int(wrong.sum()), f"{key} of {given}: seen {_said(a[where])}, expected {_said(b[where])} [{number}]"
    return 0, ""


def _said(value: Any) -> str:
    return f"{value} (0x{value.tobytes()[::-1].hex()})"
