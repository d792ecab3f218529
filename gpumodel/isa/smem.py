"""Scalar memory: loads of 1 to 16 dwords into SGPRs, and the clocks.

Source: AMD CDNA3 ISA manual, "scalar memory" (restated): the offset is a constant, a register, or both."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from gpumodel.isa.decode import Instruction
from gpumodel.isa.operands import Source, scalar32
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.vmem import signed
from gpumodel.isa.waves import SGPRS, Array, Waves

Run = Callable[[Waves], None]
_U32, _U64 = np.uint32, np.uint64


def bind(instruction: Instruction) -> Run:
    """A function that runs it. Raises NotModelled."""
    name, place = instruction.name, instruction.get("sdst")
    if name.startswith("s_dcache_"):
        return lambda waves: None
    if name in ("s_memtime", "s_memrealtime"):
        return lambda waves: waves.set_s64(place, np.array([waves.context.time()], _U64))
    match = re.fullmatch(r"s_(buffer_)?load_dword(?:x(\d+))?", name)
    if match is None:
        raise NotModelled(name)
    dwords = int(match[2] or 1)
    if place + dwords > SGPRS:
        raise NotModelled(f"{name} behind the last register")
    base, offset = instruction.get("sbase"), _offset(instruction)
    whole = _U64((1 << 64) - 4)

    def load(waves: Waves) -> None:
        address = waves.s64(base) + offset(waves) & whole
        for number, value in enumerate(waves.context.memory.load(address, dwords)):
            waves.set_s(place + number, value)

    def load_buffer(waves: Waves) -> None:
        """What lies beyond the buffer reads as 0."""
        start = waves.s64(base) & _U64(0xFFFF_FFFF_FFFF)
        stride = waves.s(base + 1) >> _U32(16) & _U32(0x3FFF)
        size = waves.s(base + 2).astype(_U64) * np.maximum(stride, _U32(1)).astype(_U64)
        at = offset(waves) & whole
        for number in range(dwords):
            here = at + _U64(4 * number)
            start_wide, here_wide, size_wide = np.broadcast_arrays(start, here, size)
            inside = here_wide + _U64(4) <= size_wide
            value = np.zeros(here_wide.shape, _U32)
            if inside.any():
                (loaded,) = waves.context.memory.load((start_wide + here_wide)[inside], 1)
                value[inside] = loaded
            waves.set_s(place + number, value)

    return load_buffer if match[1] else load


def _offset(instruction: Instruction) -> Callable[[Waves], Array]:
    """uint64, so that a negative one wraps."""
    constant = np.array([signed(instruction.get("offset"), 21) & (1 << 64) - 1], _U64)
    if not instruction.has("soffset"):
        return lambda waves: constant
    register = scalar32(Source(instruction.get("soffset")))
    return lambda waves: register(waves).astype(_U64) + constant
