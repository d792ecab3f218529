"""What lanes have to do with each other, in the function of a kernel: one that is read or written by a scalar, DPP, and the
exchanges of crosslane.py."""

from __future__ import annotations

from gpumodel.isa import share, vector, vmem
from gpumodel.isa.decode import Instruction
from gpumodel.isa.native import crosslane, lanewise, layout
from gpumodel.isa.native.function import Function
from gpumodel.isa.native.ir import Value, const
from gpumodel.isa.native.lanewise import Unlowered
from gpumodel.isa.native.segment import WORDS
from gpumodel.isa.operands import VGPR0, Source, scalar_place
from gpumodel.isa.waves import EXEC, WAVE

# ---- one lane


def read(f: Function, instruction: Instruction) -> None:
    """v_readlane, v_readfirstlane. Raises Unlowered, NotModelled, IndexError."""
    source, place = vector.source(instruction, "src0"), scalar_place(instruction.get("vdst"))
    if place & ~1 == EXEC:
        raise Unlowered(f"{instruction.name} to EXEC")
    if source.code < VGPR0:
        f.close()
        f.put(place, f.get(source, "i32"))
        return
    index = source.code - VGPR0
    f.slots.of(index)
    f.close()
    main = f.main
    if instruction.name == "v_readfirstlane_b32":
        # guarded: of no bits at all the count is 64
        first = main.call("cttz", "i64", [f.exec(), Value("false", "i1")])
        lane = main.two("and", first, const("i64", WAVE - 1))
    else:
        lane = _lane(f, vector.scalar_source(instruction, "src1"))
    f.put(place, main.load("i32", _place(f, index, lane), 4))


def write(f: Function, instruction: Instruction) -> None:
    """v_writelane. Raises NotModelled, IndexError."""
    value, select = (vector.scalar_source(instruction, field) for field in ("src0", "src1"))
    index = vector.destination(instruction)
    f.slots.of(index)
    f.close()
    lane = _lane(f, select)
    f.main.store(f.get(value, "i32"), _place(f, index, lane), 4)


def _lane(f: Function, select: Source) -> Value:
    return f.main.two("and", f.main.cast("zext", f.get(select, "i32"), "i64"), const("i64", WAVE - 1))


def _place(f: Function, index: int, lane: Value) -> Value:
    """Of a register's dword of one lane."""
    return f.main.at(f.row(index), f.main.two("shl", lane, const("i64", 2)))


# ---- all of them


def dpp(f: Function, instruction: Instruction) -> None:
    """An instruction of its own segment, whose first source lies in the temporary rows. Raises Unlowered, NotModelled,
    IndexError."""
    control = instruction.get("dpp_ctrl")
    operand = next(one for one in instruction.operands if one.name == "src0")
    lanes = vector.dpp_lanes(control).tolist()
    f.close()
    main = f.main
    index = vector.source(instruction, "src0").code - VGPR0
    valid = _bring(f, f"gpumend_dpp_{control:x}", lanes, index, operand.dwords)
    rows, banks = instruction.get("row_mask"), instruction.get("bank_mask")
    enabled = sum(1 << lane for lane in range(WAVE) if rows >> (lane >> 4) & banks >> (lane >> 2 & 3) & 1)
    part = main.two("and", f.exec(), const("i64", enabled))
    if not instruction.get("bound_ctrl"):
        part = main.two("and", part, valid)
    main.store(part, crosslane.PART, 8)
    f.segment.in_part = True
    try:
        lanewise.lower(f.segment, instruction, f.target)
        f.close()
    finally:
        f.drop()


def exchange(f: Function, instruction: Instruction) -> None:
    """ds_bpermute, ds_permute, ds_swizzle. Raises NotModelled, IndexError."""
    place, address = vmem.register(instruction, "vdst"), vmem.register(instruction, "addr")
    f.row(place)
    f.row(address)
    f.close()
    offset = instruction.get("offset")
    if instruction.name == "ds_swizzle_b32":
        _bring(f, f"gpumend_swizzle_{offset:x}", share.swizzled_lanes(instruction).tolist(), address, 1)
    else:
        rows = f.row(address), f.row(vmem.register(instruction, "data0"))
        pulls = instruction.name == "ds_bpermute_b32"
        name = f"gpumend_{'pull' if pulls else 'push'}"
        text = (crosslane.pulled_text if pulls else crosslane.pushed_text)(name)
        f.share(name, text, f"declare {crosslane.PULLED.format(name)}")
        pointers = ", ".join(f"ptr {one.text}" for one in (*rows, crosslane.TEMPORARY))
        f.main.line(f"call void @{name}({pointers}, i64 {f.exec().text}, i32 {offset})")
        f.main.store(const("i64", -1), crosslane.VALID, 8)
    opened = f.segment
    value = opened.body.select(opened.flags_at(crosslane.VALID), opened.temporary(), const(WORDS, 0))
    opened.set_vgpr(place, value)
    f.close()


def _bring(f: Function, name: str, lanes: list[int], index: int, count: int) -> Value:
    """Registers as other lanes have them into the temporary rows; which lanes got one, of a lane that is on."""
    rows = [f.row(index + number) for number in range(count)]
    f.share(name, crosslane.moved_text(name, lanes), f"declare {crosslane.MOVED.format(name)}")
    main = f.main
    on = f.exec()
    valid = on
    for number, row in enumerate(rows):
        to = main.at(crosslane.TEMPORARY, layout.ROW * number)
        valid = main.value("i64", f"call i64 @{name}(ptr {row.text}, ptr {to.text}, i64 {on.text})")
    main.store(valid, crosslane.VALID, 8)
    return valid


def swap(f: Function, pc: int, instruction: Instruction) -> None:
    """v_permlane16_swap, v_permlane32_swap: all lanes have to be on. Raises IndexError."""
    width = 16 if "16" in instruction.name else 32
    registers = vector.destination(instruction), (vector.source_code(instruction, "src0") | VGPR0) - VGPR0
    for index in registers:
        f.row(index)
    f.close()
    main = f.main
    f.leave_if(pc, main.icmp("ne", f.exec(), const("i64", -1)))
    rows = [f.row(index) for index in registers]
    name = f"gpumend_swap_{width}"
    f.share(name, crosslane.swapped_text(name, width), f"declare {crosslane.SWAPPED.format(name)}")
    main.line(f"call void @{name}(ptr {rows[0].text}, ptr {rows[1].text})")
