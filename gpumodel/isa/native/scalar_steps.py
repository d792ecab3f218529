"""Scalar instructions in the function of a kernel: the arithmetic of scalars.py, EXEC among its results, and loads."""

from __future__ import annotations

import re

from gpumodel.isa import vmem
from gpumodel.isa.decode import Instruction
from gpumodel.isa.native import layout, scalars, support
from gpumodel.isa.native.function import Function
from gpumodel.isa.native.ir import WIDTH, Value, const
from gpumodel.isa.native.lanewise import Unlowered
from gpumodel.isa.native.segment import MEMORY
from gpumodel.isa.operands import EXECZ, VCCZ, Source, scalar_place
from gpumodel.isa.scalar import wide_name
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.waves import EXEC, VCC, WAVE

_EXEC = {EXEC, EXEC + 1}
_LOGIC: dict[str, tuple[str, int | None]] = {  # opcode, which operand is inverted (2: the result)
    **{name: (name, None) for name in ("and", "or", "xor")},
    "andn1": ("and", 0),
    "andn2": ("and", 1),
    "orn1": ("or", 0),
    "orn2": ("or", 1),
    "nand": ("and", 2),
    "nor": ("or", 2),
    "xnor": ("xor", 2),
}


def compute(f: Function, instruction: Instruction) -> None:
    """Before the open segment, if neither notices. Raises Unlowered."""
    writes, reads, opened = _written(instruction), _read(instruction), f.segment
    masks = writes & _EXEC
    if masks or writes & (opened.scalars_read | opened.scalars_written) or reads & opened.scalars_written:
        f.close()
    before = len(f.main.lines)
    try:
        _operation(f, instruction)
    except (Unlowered, NotModelled) as missing:
        del f.main.lines[before:]
        raise Unlowered(instruction.name) from missing
    if masks:
        _more_lanes(f)


def _written(instruction: Instruction) -> set[int]:
    """The SGPRs."""
    if not instruction.has("sdst") or instruction.format == "SOPC" or instruction.name.startswith("s_cmpk"):
        return set()
    place, exec_too = instruction.get("sdst"), _EXEC if "exec_b64" in instruction.name else set()
    wide = exec_too or wide_name(instruction.name, -1)
    return exec_too | ({place, place + 1} if wide else {place})


def _read(instruction: Instruction) -> set[int]:
    used: set[int] = set()
    for place, field in enumerate(("src0", "src1")):
        if not instruction.has(field):
            continue
        code = instruction.get(field)
        if code < 128:
            used |= {code, code + 1} if wide_name(instruction.name, place) else {code}
        elif code == VCCZ:
            used |= {VCC, VCC + 1}
        elif code == EXECZ:
            used |= _EXEC
    if instruction.format == "SOPK" or instruction.name.startswith(("s_cmov", "s_bitset")):
        used |= {instruction.get("sdst"), instruction.get("sdst") + 1}
    if "exec_b64" in instruction.name:
        used |= _EXEC
    return used


def _operation(f: Function, instruction: Instruction) -> None:
    name = instruction.name
    place = scalar_place(instruction.get("sdst"))
    if name.endswith(("_saveexec_b64", "_wrexec_b64")):
        _save_exec(f, instruction, place)
        return
    if name not in scalars.LOWERED:
        raise Unlowered(name)

    def get(field: str, kind: str) -> Value:
        return f.get(Source(instruction.get(field), literal=instruction.literal), kind)

    before = f.scc()
    after = scalars.lower_scalar(
        f.main, name, get, lambda value: f.put(place, value), before, instruction.get("simm16")
    )
    if after is not before:
        f.set_scc(after)


def _save_exec(f: Function, instruction: Instruction, place: int) -> None:
    main = f.main
    logic, _, what = instruction.name.removeprefix("s_").removesuffix("_b64").partition("_")
    old = f.exec()
    values = [f.get(Source(instruction.get("src0"), literal=instruction.literal), "i64"), old]
    opcode, inverted = _LOGIC[logic]
    ones = const("i64", -1)
    if inverted is not None and inverted < 2:
        values[inverted] = main.two("xor", values[inverted], ones)
    value = main.two(opcode, *values)
    if inverted == 2:
        value = main.two("xor", value, ones)
    f.put(place, value if what == "wrexec" else old)
    f.put(EXEC, value)
    f.set_scc(main.icmp("ne", value, const("i64", 0)))


def _more_lanes(f: Function) -> None:
    """EXEC was written: it may have lanes now that the work-group does not, and then all have to be done."""
    main = f.main
    chunks, known = main.at(MEMORY, layout.CHUNKS), main.at(MEMORY, layout.LANEMASK)
    lanes = main.load("i64", known, 8)
    beyond = main.two("and", f.exec(), main.two("xor", lanes, const("i64", -1)))
    more = main.icmp("ne", beyond, const("i64", 0))
    main.store(main.select(more, const("i64", WAVE // WIDTH), main.load("i64", chunks, 8)), chunks, 8)
    main.store(main.select(more, const("i64", -1), lanes), known, 8)


def load(f: Function, pc: int, instruction: Instruction) -> None:
    """Of dwords at an address that all lanes share. Raises Unlowered."""
    name = instruction.name
    if name.startswith("s_dcache_"):
        return
    match = re.fullmatch(r"s_load_dword(?:x(\d+))?", name)
    if match is None:
        raise Unlowered(name)
    dwords, place = int(match[1] or 1), instruction.get("sdst")
    if place + dwords > EXEC:
        raise Unlowered(f"{name} to EXEC, or behind the last register")
    f.close()
    main = f.main
    address = f.get(Source(instruction.get("sbase")), "i64")
    address = main.two("add", address, const("i64", vmem.signed(instruction.get("offset"), 21)))
    if instruction.has("soffset"):
        register = f.get(Source(instruction.get("soffset")), "i32")
        address = main.two("add", address, main.cast("zext", register, "i64"))
    address = main.two("and", address, const("i64", -4))
    f.share(support.SCALAR, support.scalar_text(), support.SCALAR_DECLARATION)
    there = main.value("ptr", f"call ptr @{support.SCALAR}(ptr %m, ptr %h, i64 {address.text}, i64 {4 * dwords})")
    f.leave_if(pc, main.value("i1", f"icmp eq ptr {there.text}, null"))
    values = [main.load("i32", main.at(there, 4 * number), 4) for number in range(dwords)]
    for number, value in enumerate(values):
        f.put(place + number, value)
