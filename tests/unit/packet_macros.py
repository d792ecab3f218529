"""AMD's packet macros, read from the kernel's header itself: what the tests compare the builders with.

Nothing here knows the generated tables. `Macros(text)["NAME"]` is a number, `Macros(text).call("NAME", 3)` an expansion."""

from __future__ import annotations

import ast
import operator
import re
import struct
from collections.abc import Callable
from functools import lru_cache

import pytest

from tools.debian_source import source

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.LShift: operator.lshift,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}


class Macros:
    """The #defines of one header, evaluated when asked for; only what packet macros need: | & << + - and calls."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"/\*.*?\*/", " ", text.replace("\\\n", " "), flags=re.S)
        found = re.findall(r"^#\s*define\s+(\w+)(?:\((\w+(?:,\s*\w+)*)\))?[ \t]+(\S.*)$", text, re.M)
        self.known = {name: (tuple(re.split(r",\s*", given)) if given else (), body) for name, given, body in found}
        self.enums = {name: int(value, 0) for name, value in re.findall(r"^\s*(\w+)\s*=\s*(0x\w+|\d+)", text, re.M)}

    def __getitem__(self, name: str) -> int:
        return self.call(name)

    def call(self, name: str, *values: int) -> int:
        if name in self.enums:
            return self.enums[name]
        given, body = self.known[name]
        assert len(given) == len(values), name
        plain = re.sub(r"\(\s*unsigned\s*\)", "", body)
        plain = re.sub(r"\b(0x[0-9A-Fa-f]+|\d+)[uUlL]+\b", r"\1", plain)
        return self._value(ast.parse(plain.strip(), mode="eval").body, dict(zip(given, values, strict=True)))

    def _value(self, node: ast.expr, given: dict[str, int]) -> int:
        if isinstance(node, ast.Constant):
            return int(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.Name):
            return given[node.id] if node.id in given else self.call(node.id)
        if isinstance(node, ast.BinOp):
            return _BINARY[type(node.op)](self._value(node.left, given), self._value(node.right, given))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self.call(node.func.id, *(self._value(argument, given) for argument in node.args))
        raise AssertionError(ast.dump(node))


@lru_cache
def macros(*paths: str) -> Macros:
    """Headers below drivers/gpu/drm/amd; skips the test where the source is not unpacked."""
    found = source()
    if found is None:
        pytest.skip("no kernel source in the cache: .venv/bin/python tools/debian_source.py")
    return Macros("\n".join((found.amd / path).read_text() for path in paths))


def words(packet: bytes | bytearray | memoryview) -> list[int]:
    return list(struct.unpack(f"<{len(packet) // 4}I", packet))
