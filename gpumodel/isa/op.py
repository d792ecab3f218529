"""What a vector instruction computes: a function on arrays, and the types of what goes in and comes out.

A type is a word: u32 i32 f32 f16 bf16 u16 i16 u64 i64 f64 b32 b64, each an array [waves][lanes] of that dtype (bf16 is its
bits, uint16; b32 and b64 are uint32 and uint64 whose meaning is open); "mask": bool, a carry, vcc or the result of a compare;
"mix": float32, an operand of v_fma_mix after op_sel and op_sel_hi chose between f32 and either half;
"2xf16" "2xbf16" "2xi16" "2xu16" "2xf32" "2xu32": a tuple (low, high) after op_sel and neg; "Nxb32": N registers, a tuple.
An instruction that keeps a part of its destination, or adds to it, names the destination as its last source.
A source that is the same in all lanes, or in all waves, may have one lane, or one wave: what NumPy broadcasts.
Operations are called within np.errstate(all="ignore"), and never write to what they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Op:
    """`run(*sources, **{name: int for name in wants})` gives the result, or a tuple when `result` is one.

    `wants` names fields of the instruction that are no operand: "op_sel", "bitop3" (the truth table)."""

    run: Callable[..., Any]
    result: str | tuple[str, ...]
    sources: tuple[str, ...]
    wants: tuple[str, ...] = ()


def ops(result: str | tuple[str, ...], sources: str, **runs: Callable[..., Any]) -> dict[str, Op]:
    """Several operations of one signature, by name."""
    return {name: Op(run, result, tuple(sources.split())) for name, run in runs.items()}


def u32(value: Array) -> Array:
    return value.astype(np.uint32)


def split16(words: Array) -> tuple[Array, Array]:
    """uint32 to its (low, high) halves, uint16."""
    return words.astype(np.uint16), (words >> 16).astype(np.uint16)


def join16(low: Array, high: Array) -> Array:
    """Two 16-bit arrays of one kind to uint32, `low` in the low half."""
    return u32(low.view(np.uint16)) | (u32(high.view(np.uint16)) << np.uint32(16))
