"""v_cmp and v_cmpx of every type, from one table of relations.

v_cmpx gives the same mask; that it goes to exec, too, is the caller's business.
Source: AMD CDNA3 and CDNA4 instruction set architecture manuals, VOPC (restated)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpumodel.isa.op import Array, Op

Relation = Callable[[Array, Array], Array]


def _never(a: Array, b: Array) -> Array:
    return np.zeros(np.broadcast_shapes(a.shape, b.shape), bool)


def _always(a: Array, b: Array) -> Array:
    return np.ones(np.broadcast_shapes(a.shape, b.shape), bool)


def _unordered(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)


def _less_or_greater(a: Array, b: Array) -> Array:
    return (a < b) | (a > b)


def _not(relation: Relation) -> Relation:
    return lambda a, b: ~relation(a, b)


def _halves(relation: Relation) -> Relation:
    """NumPy compares float32 many times faster than float16, and with the same outcome."""
    return lambda a, b: relation(a.astype(np.float32), b.astype(np.float32))


_ORDER: dict[str, Relation] = {
    "lt": np.less,
    "eq": np.equal,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "f": _never,
}
_INTEGERS: dict[str, Relation] = {**_ORDER, "ne": np.not_equal, "t": _always}
_FLOATS: dict[str, Relation] = {
    **_ORDER,
    "lg": _less_or_greater,
    "o": _not(_unordered),
    "u": _unordered,
    "nge": _not(np.greater_equal),
    "nlg": _not(_less_or_greater),
    "ngt": _not(np.greater),
    "nle": _not(np.less_equal),
    "neq": np.not_equal,
    "nlt": _not(np.less),
    "tru": _always,
}


def _both(name: str, kind: str, relation: Relation) -> dict[str, Op]:
    return {f"{prefix}_{name}_{kind}": Op(relation, "mask", (kind, kind)) for prefix in ("v_cmp", "v_cmpx")}


COMPARE: dict[str, Op] = {}
for _kind in ("i16", "u16", "i32", "u32", "i64", "u64"):
    for _name, _relation in _INTEGERS.items():
        COMPARE |= _both(_name, _kind, _relation)
for _kind in ("f16", "f32", "f64"):
    for _name, _relation in _FLOATS.items():
        COMPARE |= _both(_name, _kind, _halves(_relation) if _kind == "f16" else _relation)
