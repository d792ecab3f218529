"""Reciprocals, roots, powers, logarithms and sines.

Hardware gives these to about one unit in the last place; the model gives the float64 answer rounded, so compare with tolerance.
The f32 forms know no subnormals, whatever the mode says: as operands they are zeros, as results they become zeros of that sign.
Source: LLVM 22, SIISelLowering.cpp LowerFDIV32 ("v_rcp_f32 which does not handle denormals") and AMDGPUISelLowering.cpp
lowerFEXP2, LowerFLOG2, lowerFSQRT (operands are scaled out of the subnormal range first); sine and cosine take turns,
and are those of 0 beyond 256 of them: AMD CDNA3 instruction set architecture manual."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpumodel.isa.op import Array, Op

_MIN_NORMAL = np.float32(2.0**-126)
_FARTHEST_TURN = 256.0


def _rcp(value: Array) -> Array:
    return np.reciprocal(value)


def _rsq(value: Array) -> Array:
    return np.reciprocal(np.sqrt(value))


def _turns(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def run(turns: Array) -> Array:
        # Whole turns are taken off before pi comes in, so that what is left is exact.
        angle = np.where(np.abs(turns) > _FARTHEST_TURN, 0.0, turns - np.rint(turns)) * (2 * np.pi)
        return np.where(np.isfinite(turns), function(angle), np.nan)

    return run


def _flushed(value: Array) -> Array:
    return np.where(np.abs(value) < _MIN_NORMAL, np.copysign(np.float32(0), value), value)


def _f32(run: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda value: _flushed(run(_flushed(value).astype(np.float64)).astype(np.float32))


def _f16(run: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda value: run(value.astype(np.float64)).astype(np.float16)


_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "rcp": _rcp,
    "rsq": _rsq,
    "sqrt": np.sqrt,
    "exp": np.exp2,
    "log": np.log2,
    "sin": _turns(lambda angle: np.sin(angle)),
    "cos": _turns(lambda angle: np.cos(angle)),
}

APPROXIMATE: dict[str, Op] = {
    **{f"v_{name}_f32": Op(_f32(run), "f32", ("f32",)) for name, run in _FUNCTIONS.items()},
    **{f"v_{name}_f16": Op(_f16(run), "f16", ("f16",)) for name, run in _FUNCTIONS.items()},
    **{f"v_{name}_f64": Op(_FUNCTIONS[name], "f64", ("f64",)) for name in ("rcp", "rsq", "sqrt")},
    **{f"v_{name}_legacy_f32": Op(_f32(_FUNCTIONS[name]), "f32", ("f32",)) for name in ("exp", "log")},
    "v_rcp_iflag_f32": Op(_f32(_rcp), "f32", ("f32",)),
}
