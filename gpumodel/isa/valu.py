"""Every vector instruction that the model computes, by LLVM's mnemonic without the suffix of its encoding.

VALU holds what both targets do alike; VALU_GFX942 and VALU_GFX950 what they do differently. `valu(target)` is the table of a
target. Matrix instructions: mfma.py; moves between lanes (readlane, permutes, DPP) belong to whoever holds the lanes."""

from __future__ import annotations

from functools import lru_cache

from gpumodel.isa.approximate import APPROXIMATE
from gpumodel.isa.compare import COMPARE
from gpumodel.isa.convert import CONVERT
from gpumodel.isa.division import DIVISION
from gpumodel.isa.floats import FLOATS
from gpumodel.isa.fp8 import FP8_GFX942, FP8_GFX950
from gpumodel.isa.integer import INTEGER
from gpumodel.isa.op import Op
from gpumodel.isa.packed import PACKED
from gpumodel.isa.scaled import SCALED

__all__ = ["VALU", "VALU_GFX942", "VALU_GFX950", "Op", "valu"]

VALU: dict[str, Op] = {**INTEGER, **FLOATS, **DIVISION, **APPROXIMATE, **COMPARE, **CONVERT, **PACKED}
VALU_GFX942: dict[str, Op] = FP8_GFX942
VALU_GFX950: dict[str, Op] = {**FP8_GFX950, **SCALED}


@lru_cache(maxsize=2)
def valu(target: str) -> dict[str, Op]:
    """The table of "gfx942" or "gfx950"; KeyError for another."""
    return {**VALU, **{"gfx942": VALU_GFX942, "gfx950": VALU_GFX950}[target]}
