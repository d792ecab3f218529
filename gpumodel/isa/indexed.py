"""VGPRs that M0 points at: vector instructions between s_set_gpr_idx_on and s_set_gpr_idx_off.

M0[7:0] is added to the numbers of those VGPRs that M0[15:12] names: bit 12 the first source, 13 the second, 14 the third, 15
the destination. What compilers put between the two is v_mov_b32; other operations of one result run, too, and what cannot be
sure to be the same on hardware stops with its name.
Source: AMD Vega and CDNA3 ISA manuals, "VGPR indexing" and the scalar instructions; LLVM, SIISelLowering.cpp emitIndirectSrc
and emitIndirectDst. A number beyond those that the kernel has makes hardware read v0, or write nothing; here registers end at
v255, and beyond is an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from gpumodel.isa import vector
from gpumodel.isa.decode import Instruction, decode
from gpumodel.isa.operands import VGPR0, Source, scalar32
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.valu import valu
from gpumodel.isa.waves import M0, Array, Waves

Run = Callable[[Waves], None]

_LAST = 255
_INDEX, _MODE = np.uint32(0xFF), np.uint32(0xF000)
_PLACES = ("src0", "src1", "src2", "vdst")  # by the bits of the mode


def set_m0(waves: Waves, index: Array | None, mode: int | None) -> None:
    """What s_set_gpr_idx_on, _idx and _mode write; None: as it was."""
    value = waves.s(M0)
    if index is not None:
        value = value & ~_INDEX | index & _INDEX
    if mode is not None:
        value = value & ~_MODE | np.uint32(mode & 0xF) << np.uint32(12)
    waves.set_s(M0, value)


def bind(instruction: Instruction) -> Run:
    """A function that does one of them to M0. Raises NotModelled."""
    name = instruction.name
    if name == "s_set_gpr_idx_mode":
        mode = instruction.get("simm16")
        return lambda waves: set_m0(waves, None, mode)
    index = scalar32(Source(instruction.get("src0"), literal=instruction.literal))
    wanted = instruction.get("src1") if name == "s_set_gpr_idx_on" else None  # the field itself, no operand
    return lambda waves: set_m0(waves, index(waves), wanted)


def run(instruction: Instruction, target: str, waves: Waves) -> None:
    """One vector instruction while indexing is on; waves whose M0 differs run it one after the other. Raises NotModelled."""
    wanted = waves.s(M0) & (_INDEX | _MODE)
    values = np.unique(wanted).tolist()
    if len(values) == 1:
        _bound(target, instruction.word, values[0])(waves)
        return
    for value in values:
        waves.vgprs_of(wanted == value, _bound(target, instruction.word, value))


@lru_cache(maxsize=1 << 10)
def _bound(target: str, word: int, m0: int) -> Run:
    instruction = decode(target, word)
    name, index, mode = instruction.name, m0 & 0xFF, m0 >> 12
    if not mode:
        return vector.bind(instruction, target)
    op = valu(target).get(name)
    plain = (
        op is not None and instruction.encoding in ("e32", "e64", "") and instruction.format in ("VOP1", "VOP2", "VOP3")
    )
    if not plain or op is None or not isinstance(op.result, str) or op.result == "mask":
        raise NotModelled(f"{name} with indexed VGPRs")
    if "vdst" in vector.source_fields(instruction, op):
        raise NotModelled(f"{name}, which reads what it writes, with indexed VGPRs")
    fields = dict(instruction.fields)
    for bit, field in enumerate(_PLACES):
        if mode >> bit & 1 and field in fields:
            fields[field] = _moved(instruction, field, fields[field], index)
    return vector.bind(replace(instruction, fields=fields), target)


def _moved(instruction: Instruction, field: str, code: int, index: int) -> int:
    """The code of a source, or a destination, so many VGPRs further; what is no VGPR stays."""
    narrow = field == "vdst" or (field == "src1" and instruction.format == "VOP2")
    if not narrow and code < VGPR0:
        return code
    number = (code if narrow else code - VGPR0) + index
    if number > _LAST:
        raise NotModelled(f"{instruction.name} of v{number}, by M0")
    return number if narrow else number + VGPR0


__all__ = ["bind", "run", "set_m0"]
