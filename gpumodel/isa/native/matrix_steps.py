"""Matrix instructions in the function of a kernel: calls of the functions of matrix.py and scaled.py."""

from __future__ import annotations

from gpumodel.isa import vector
from gpumodel.isa.decode import Instruction
from gpumodel.isa.mfma import MfmaOp, mfma
from gpumodel.isa.native import matrix, scaled
from gpumodel.isa.native.function import Function
from gpumodel.isa.native.lanewise import Unlowered
from gpumodel.isa.operands import OP_SEL, OP_SEL_HI, VGPR0


def multiply(f: Function, instruction: Instruction) -> None:
    """Raises Unlowered, IndexError."""
    name = instruction.name
    op = mfma(f.target)[name]
    if op.sparse:
        raise Unlowered(name)
    if name.endswith("f8f6f4"):
        _multiply_scaled(f, instruction, op)
        return
    if any(instruction.get(field) for field in ("cbsz", "abid", "blgp")):
        raise Unlowered(name)
    rows = _rows(f, instruction, op, op.na, op.nb)
    f.define(name, matrix.lower_mfma(f.main, name, f.target))
    f.close()
    f.main.line(f"call void @{name}(ptr %v, {rows})")


def _multiply_scaled(f: Function, instruction: Instruction, op: MfmaOp) -> None:
    formats = instruction.get("cbsz"), instruction.get("blgp")
    if max(formats) >= len(scaled.FORMATS):
        raise Unlowered(instruction.name)
    chosen = None
    scales = ["ptr null"] * 2
    if op.scaled:
        modifiers = [instruction.get(f"src{number}_modifiers") for number in range(2)]
        low, high = ((bool(one & OP_SEL), bool(one & OP_SEL_HI)) for one in modifiers)
        chosen = low[0] | low[1] << 1, high[0] | high[1] << 1
        codes = [instruction.get(f"scale_src{number}") for number in range(2)]
        if min(codes) < VGPR0:
            raise Unlowered(f"{instruction.name} with a scale that is no VGPR")
        scales = [f"ptr {f.row(code - VGPR0).text}" for code in codes]
    rows = _rows(f, instruction, op, *(scaled.bits(scaled.FORMATS[one]) for one in formats))
    form = scaled.Form(16 if "16x16" in instruction.name else 32, *formats, chosen)
    text, declared = scaled.lower(form)
    f.define(form.name, text)
    f.main.declared |= declared
    f.close()
    f.main.line(f"call void @{form.name}(ptr %v, {rows}, {', '.join(scales)})")


def _rows(f: Function, instruction: Instruction, op: MfmaOp, na: int, nb: int) -> str:
    """Arguments: the rows of the operands' first registers, A, B, C (-1: zeros), D. Raises Unlowered, IndexError."""
    name, slots = instruction.name, f.slots
    rows = []
    for field, count in (("src0", na), ("src1", nb), ("src2", op.nc)):
        code = vector.source_code(instruction, field)
        if code == 128 and field == "src2":
            rows.append(-1)
            continue
        if code < VGPR0:
            raise Unlowered(name)
        first = slots.of(code - VGPR0)
        if slots.of(code - VGPR0 + count - 1) != first + count - 1:
            raise Unlowered(name)
        rows.append(first)
    place = vector.destination(instruction)
    slots.of(place + op.nd - 1)
    row = slots.of(place)
    if 0 < abs(row - rows[2]) < op.nd and rows[2] >= 0:
        raise Unlowered(f"{name} over a part of what it adds to")
    return ", ".join(f"i32 {one}" for one in (*rows, row))
