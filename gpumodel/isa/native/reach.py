"""Accesses to memory and LDS in the function of a kernel: calls of the functions of support.py and ranges.py.

What such a call does not do is the interpreter's: the function is left there."""

from __future__ import annotations

import re

from gpumodel.isa import vmem
from gpumodel.isa.decode import Instruction
from gpumodel.isa.native import accesses, crosslane, ranges, support
from gpumodel.isa.native.function import Function
from gpumodel.isa.native.ir import Value, const
from gpumodel.isa.native.lanewise import Unlowered
from gpumodel.isa.native.support import Access
from gpumodel.isa.operands import Source
from gpumodel.isa.waves import WAVE


def access(f: Function, pc: int, instruction: Instruction) -> None:
    """GLOBAL and DS: loads, stores, atomics. Raises Unlowered, IndexError."""
    if match := re.fullmatch(r"ds_(read|write)2(st64)?_b(32|64)", instruction.name):
        _twice(f, pc, instruction, match[1] == "write", 64 if match[2] else 1, int(match[3]) // 8)
        return
    what, register = accesses.access_of(instruction)
    others = accesses.atomic_registers(instruction, what) if what.atomic else ()
    offset = instruction.get("offset") if what.local else vmem.signed(instruction.get("offset"), 13)
    _reach(f, pc, instruction, what, offset, register, others)


def _twice(f: Function, pc: int, instruction: Instruction, store: bool, step: int, size: int) -> None:
    """Both addresses are read before anything is written: the register of the address may be one that is loaded."""
    if instruction.get("gds"):
        raise Unlowered(instruction.name)
    address, unit = vmem.register(instruction, "addr"), size * step
    places = [(number, instruction.get(f"offset{number}") * unit) for number in range(2)]
    first = vmem.register(instruction, "data0" if store else "vdst")
    registers = [first, vmem.register(instruction, "data1") if store else first + size // 4]
    for register in registers:
        f.row(register, size // 4)
    if not store and registers[0] <= address < registers[1]:
        places.reverse()
    for number, offset in places:
        _reach(f, pc, instruction, Access(store, True, size), offset, registers[number])


def _reach(
    f: Function,
    pc: int,
    instruction: Instruction,
    what: Access,
    offset: int,
    register: int,
    others: tuple[int, ...] = (),
) -> None:
    address = vmem.register(instruction, "addr" if what.local else "vaddr")
    at, data = f.row(address, 1 + what.wide), f.row(register, max(1, what.size // 4))
    more = [f.row(other, what.size // 4) for other in others]
    f.close()
    base = const("i64", offset)
    if not what.local and not what.wide:
        base = f.main.two("add", f.get(Source(instruction.get("saddr")), "i64"), base)
    _call(f, pc, what, f.exec(), base, [at, data, *more])


def _call(f: Function, pc: int, what: Access, on: Value, base: Value, rows: list[Value]) -> None:
    f.share(what.name, support.text(what), what.declaration)
    given = "".join(f", ptr {one.text}" for one in rows)
    done = f.main.value("i1", f"call i1 @{what.name}(ptr %m, ptr %h, i64 {on.text}, i64 {base.text}{given})")
    f.leave_if(pc, f.main.two("xor", done, Value("true", "i1")))


def buffer(f: Function, pc: int, instruction: Instruction) -> None:
    """Loads and stores of a raw buffer: what is out of its range is 0, or not written. Raises Unlowered, IndexError."""
    name, word = instruction.name, instruction.word
    if name in ("buffer_wbl2", "buffer_inv"):
        return
    if word >> 13 & 1 or word >> 16 & 1:
        raise Unlowered(f"{name} with an index, or into LDS")
    what, register = accesses.access_of(instruction)
    count = max(1, what.size // 4)
    data = f.row(register, count)
    at = f.row(vmem.register(instruction, "vaddr")) if word >> 12 & 1 else None
    f.close()
    main, resource = f.main, instruction.get("srsrc")
    low, high, records, last = (f.get(Source(resource + number), "i32") for number in range(4))
    odd = main.two("and", high, const("i32", ranges.STRIDE_OR_SWIZZLE))
    odd = main.two("or", odd, main.two("and", last, const("i32", ranges.ADDS_LANE)))
    f.leave_if(pc, main.icmp("ne", odd, const("i32", 0)))
    if at is None:
        at = crosslane.TEMPORARY
        main.store(const(f"<{WAVE} x i32>", 0), at, 32)
    add = main.cast("zext", f.get(Source(instruction.get("soffset")), "i32"), "i64")
    add = main.two("add", add, const("i64", instruction.get("offset")))
    base = main.cast("zext", main.two("and", high, const("i32", 0xFFFF)), "i64")
    base = main.two("or", main.cast("zext", low, "i64"), main.two("shl", base, const("i64", 32)))
    on = f.exec()
    f.share(ranges.WITHIN, ranges.within_text(), ranges.WITHIN_DECLARATION)
    end, size = main.two("add", add, const("i64", what.size)), main.cast("zext", records, "i64")
    given = f"ptr {at.text}, i64 {on.text}, i64 {end.text}, i64 {size.text}"
    inside = main.value("i64", f"call i64 @{ranges.WITHIN}({given})")
    outside = main.two("xor", on, inside)
    if what.half is not None:
        f.leave_if(pc, main.icmp("ne", outside, const("i64", 0)))
    _call(f, pc, what, inside, main.two("add", base, add), [at, data])
    if not what.store:
        f.share(ranges.CLEARED, ranges.cleared_text(), ranges.CLEARED_DECLARATION)
        main.line(f"call void @{ranges.CLEARED}(ptr {data.text}, i64 {outside.text}, i64 {count})")
