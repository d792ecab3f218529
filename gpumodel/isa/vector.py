"""Vector instructions: what valu.py and mfma.py compute, with their operands fetched and their results put away; and the moves
between lanes.

Source: AMD CDNA3 ISA manual, "vector ALU", SDWA and DPP sections (restated); which 16-bit instructions keep the high half of
their destination: LLVM 22, GCNSubtarget::zeroesHigh16BitsOfDest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpumodel.isa.alike import Alike, Lanewise, Matrix, VgprOrFetch
from gpumodel.isa.decode import Instruction
from gpumodel.isa.mfma import MfmaOp, mfma
from gpumodel.isa.op import Op, join16
from gpumodel.isa.operands import (
    ABS,
    DTYPES,
    NEG,
    OP_SEL,
    OP_SEL_HI,
    SDWA_DWORD,
    VGPR0,
    Fetch,
    Source,
    as_words,
    bits_of,
    fetch,
    mask_fetch,
    mix,
    pair,
    scalar32,
    scalar_place,
    sdwa_field,
    store_mask,
    words,
)
from gpumodel.isa.packed import Each
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.valu import valu
from gpumodel.isa.waves import EXEC, VCC, WAVE, Array, Waves

Run = Callable[[Waves], None]
Store = Callable[[Waves, Any], None]

_U32 = np.uint32
KEEPS_HIGH = {
    *("v_mad_f16", "v_mad_u16", "v_mad_i16", "v_fma_f16", "v_div_fixup_f16", "v_bitop3_b16", "v_add_i16", "v_sub_i16"),
    *(f"v_{what}3_{kind}" for what in ("min", "max", "med") for kind in ("f16", "i16", "u16")),
}
SDWA_PAD, SDWA_SIGN, SDWA_PRESERVE = range(3)  # dst_unused of SDWA
_NOTHING = frozenset(("v_nop", "v_clrexcp"))


def bind(instruction: Instruction, target: str) -> Run:
    """A function that runs it. Raises NotModelled."""
    name = instruction.name
    if name in _NOTHING:
        return lambda waves: None
    if name in BETWEEN_LANES:
        return BETWEEN_LANES[name](instruction)
    if name in mfma(target):
        return _bind_mfma(instruction, mfma(target)[name])
    op = valu(target).get(name)
    if op is None:
        raise NotModelled(name)
    if instruction.encoding == "dpp":
        return _bind_dpp(instruction, op)
    return _bind(instruction, op)


# ---- sources


def source_code(instruction: Instruction, field: str) -> int:
    """A source as a code of nine bits (ten: an accumulation register)."""
    code = instruction.get(field)
    if instruction.encoding == "sdwa":
        return code ^ VGPR0 if field in ("src0", "src1") else code
    if instruction.encoding == "dpp" and field == "src0":
        return code | VGPR0
    if field == "src1" and _narrow(instruction):
        return code | VGPR0
    if code & 0x200:  # the bit that makes an accumulation register of it
        return code & 0xFF | 0x200
    kinds = {operand.name: operand.kind for operand in instruction.operands}
    return code + VGPR0 if kinds.get(field) == "a" and code >= VGPR0 else code


def _narrow(instruction: Instruction) -> bool:
    """VOP2 and VOPC have eight bits for the second source, always a VGPR."""
    return instruction.format in ("VOP2", "VOPC")


def source(instruction: Instruction, field: str) -> Source:
    select = instruction.fields.get(f"{field}_sel", SDWA_DWORD)
    return Source(source_code(instruction, field), instruction.get(f"{field}_modifiers"), instruction.literal, select)


def destination(instruction: Instruction, field: str = "vdst") -> int:
    """The number of a VGPR; of an accumulation register, 256 and more."""
    code = instruction.get(field)
    kinds = {operand.name: operand.kind for operand in instruction.operands}
    return code & 0xFF | (0x100 if code & 0x200 or kinds.get(field) == "a" else 0)


def mask_place(instruction: Instruction) -> int:
    """The first SGPR of a mask that it writes. Raises NotModelled."""
    code = instruction.get("sdst") if instruction.has("sdst") else VCC
    if instruction.encoding == "sdwa":
        code = code & 0x7F if code & 0x80 else VCC
    return scalar_place(code)


def source_fields(instruction: Instruction, op: Op) -> list[str]:
    """Which field each source of an operation is; "vdst": what is there before, "vcc": the pair."""
    name = instruction.name
    if name.startswith(("v_fmamk_", "v_madmk_")):
        return ["src0", "imm", "src1"]
    if name.startswith(("v_fmaak_", "v_madak_")):
        return ["src0", "src1", "imm"]
    fields = [field for field in ("src0", "src1", "src2") if instruction.has(field)]
    if len(fields) < len(op.sources):
        fields.append("vcc" if op.sources[-1] == "mask" else "vdst")
    if len(fields) != len(op.sources):
        raise NotModelled(f"{name} with {len(fields)} sources instead of {len(op.sources)}")
    return fields


def _source(instruction: Instruction, field: str, kind: str) -> Callable[[Waves], Any]:
    if kind == "mask":
        return mask_fetch(VCC if field == "vcc" else instruction.get(field))
    if field == "imm":
        return fetch(Source(255, literal=instruction.get("imm")), kind)
    if field == "vdst":
        place = Source(VGPR0 + destination(instruction))
        return pair(place, kind) if kind.startswith("2x") else fetch(place, kind)
    place = source(instruction, field)
    if "scalef32" in instruction.name and place.modifiers & (NEG | ABS) and kind not in ("f32", "f16", "bf16"):
        raise NotModelled(f"{instruction.name} with a sign for what is no float")  # unknown: that of each element?
    if "scalef32" in instruction.name and place.modifiers & OP_SEL and kind in ("f16", "bf16"):
        raise NotModelled(f"{instruction.name} with the high half of a source")
    if kind.startswith("2x"):
        if instruction.format not in ("VOP3P", "MAI"):  # v_dot2c and the like: both halves as they are
            place = Source(place.code, place.modifiers & ~OP_SEL | OP_SEL_HI, place.literal)
        return pair(place, kind)
    if kind == "mix":
        return mix(place)
    if "xb32" in kind:
        return _several(place, int(kind.removesuffix("xb32")))
    if instruction.name == "v_cndmask_b32":
        kind = "f32"  # its modifiers are those of floats
        floats = fetch(place, kind)
        return lambda waves: as_words(floats(waves))
    return fetch(place, kind)


def _several(place: Source, count: int) -> Callable[[Waves], tuple[Array, ...]]:
    if place.code < VGPR0:
        raise NotModelled("several dwords from a scalar")
    first = place.code - VGPR0
    return lambda waves: tuple(waves.v(first + number) for number in range(count))


# ---- results


def _halves(instruction: Instruction, place: int) -> Store:
    """16 bits: into the low half with zeros above; or one half, the other kept."""
    high = instruction.format == "VOP3" and bool(instruction.get("src0_modifiers") & OP_SEL_HI)
    keeps = instruction.name in KEEPS_HIGH

    def low_half(waves: Waves, value: Array) -> None:
        word = value.view(np.uint16).astype(_U32)
        waves.set_v(place, waves.v(place) & _U32(0xFFFF0000) | word if keeps else word)

    def high_half(waves: Waves, value: Array) -> None:
        word = value.view(np.uint16).astype(_U32) << _U32(16)
        waves.set_v(place, waves.v(place) & _U32(0xFFFF) | word)

    return high_half if high else low_half


def _partly(instruction: Instruction, place: int, kind: str) -> Store:
    """The byte or word that SDWA chooses for the result; the rest is zero, its sign, or kept."""
    select, unused = instruction.get("dst_sel"), instruction.get("dst_unused")
    shift, width = sdwa_field(select)
    ones = _U32((1 << width) - 1)
    narrow = bits_of(kind) == 16

    def store(waves: Waves, value: Array) -> None:
        word = value.view(np.uint16).astype(_U32) if narrow else as_words(value)
        part = (word & ones) << _U32(shift)
        if unused == SDWA_PRESERVE:
            part = waves.v(place) & ~(ones << _U32(shift)) | part
        elif unused == SDWA_SIGN:
            above = 32 - shift - width
            part = ((part << _U32(above)).view(np.int32) >> np.int32(above)).view(_U32)
        waves.set_v(place, part)

    return store


def _one(instruction: Instruction, kind: str) -> Store:
    """Where a result of one type goes."""
    if kind == "mask":
        return store_mask(mask_place(instruction))
    place = destination(instruction)
    if kind.startswith("2x"):
        return _packed(kind, place)
    if "xb32" in kind:

        def several(waves: Waves, values: tuple[Array, ...]) -> None:
            for number, value in enumerate(values):
                waves.set_v(place + number, as_words(value))

        return several
    if bits_of(kind) == 64:
        return lambda waves, value: waves.set_v64(place, value.view(np.uint64))
    if instruction.encoding == "sdwa" and instruction.fields.get("dst_sel", SDWA_DWORD) != SDWA_DWORD:
        return _partly(instruction, place, kind)
    if bits_of(kind) == 16:
        return _halves(instruction, place)
    return lambda waves, value: waves.set_v(place, as_words(value))


def _packed(kind: str, place: int) -> Store:
    if kind.endswith("32"):

        def two(waves: Waves, value: tuple[Array, Array]) -> None:
            waves.set_v(place, as_words(value[0]))
            waves.set_v(place + 1, as_words(value[1]))

        return two
    return lambda waves, value: waves.set_v(place, join16(*value))


def _result(instruction: Instruction, op: Op) -> Store:
    if isinstance(op.result, str):
        store = _one(instruction, op.result)
        if not instruction.name.startswith("v_cmpx"):
            return store

        def and_exec(waves: Waves, value: Array) -> None:
            store(waves, value)
            store_mask(EXEC)(waves, value)

        return and_exec
    stores = [_one(instruction, kind) for kind in op.result]

    def all_of(waves: Waves, values: tuple[Any, ...]) -> None:
        for store, value in zip(stores, values, strict=True):
            store(waves, value)

    return all_of


# ---- output modifiers


def _modified(instruction: Instruction, op: Op) -> Callable[[Any], Any] | None:
    """clamp. omod is ignored while subnormals are kept, which they always are here."""
    if not instruction.get("clamp"):
        return None
    kind = op.result if isinstance(op.result, str) else ""  # of several results: none that is known
    part = kind.removeprefix("2x")
    if part in ("f16", "f32", "f64"):
        limit = lambda value: np.where(value > 0, np.minimum(value, value.dtype.type(1)), value.dtype.type(0))  # noqa: E731
        return (lambda value: tuple(map(limit, value))) if kind != part else limit
    if instruction.name in SATURATES and part in ("u32", "i32", "u16", "i16"):
        return None  # by _saturated
    raise NotModelled(f"{instruction.name} with clamp")


SATURATES: dict[str, Callable[[Array, Array], Array]] = {
    **{f"v_add_{kind}": lambda a, b: a + b for kind in ("u32", "i32", "u16", "i16")},
    **{f"v_sub_{kind}": lambda a, b: a - b for kind in ("u32", "i32", "u16", "i16")},
    **{f"v_subrev_{kind}": lambda a, b: b - a for kind in ("u32", "i32", "u16")},
    **{f"v_pk_add_{kind}": lambda a, b: a + b for kind in ("u16", "i16")},
    **{f"v_pk_sub_{kind}": lambda a, b: a - b for kind in ("u16", "i16")},
}


def _saturated(name: str) -> Callable[[Any, Any], Any]:
    """Integer addition with clamp: what does not fit becomes the nearest that does."""
    compute = SATURATES[name]

    def single(a: Array, b: Array) -> Array:
        limits = np.iinfo(a.dtype)
        return np.clip(compute(a.astype(np.int64), b.astype(np.int64)), limits.min, limits.max).astype(a.dtype)

    if name.startswith("v_pk"):
        return lambda a, b: (single(a[0], b[0]), single(a[1], b[1]))
    return single


# ---- binding


def wanted_values(instruction: Instruction, op: Op) -> dict[str, int]:
    known = {"bitop3": instruction.get("bitop3")}
    bits = [instruction.get(f"src{place}_modifiers") for place in range(3)]
    known["op_sel"] = sum(bool(bit & OP_SEL) << place for place, bit in enumerate(bits))
    known["op_sel"] |= bool(bits[0] & OP_SEL_HI) << 3
    return {name: known[name] for name in op.wants}


def _bind(instruction: Instruction, op: Op, move: Callable[[Waves, Any], Any] | None = None) -> Run:
    """`move` is applied to the first source."""
    gets = [
        _source(instruction, field, kind)
        for field, kind in zip(source_fields(instruction, op), op.sources, strict=True)
    ]
    store = _result(instruction, op)
    wanted = wanted_values(instruction, op)
    run: Callable[..., Any] = op.run
    if instruction.get("clamp") and instruction.name in SATURATES:
        run = _saturated(instruction.name)
    after = _modified(instruction, op)
    if move is not None:
        unmoved, moved = gets[0], move
        gets[0] = lambda waves: moved(waves, unmoved(waves))
    if instruction.name.startswith("v_mbcnt"):
        first = gets[0]
        gets[0] = lambda waves: waves.full(first(waves))
    if wanted or after:
        inner = run
        run = lambda *values: (after or _same)(inner(*values, **wanted))  # noqa: E731
    if len(gets) == 1:
        (one,) = gets
        return lambda waves: store(waves, run(one(waves)))
    if len(gets) == 2:
        one, two = gets
        return lambda waves: store(waves, run(one(waves), two(waves)))
    if len(gets) == 3:
        one, two, three = gets
        return lambda waves: store(waves, run(one(waves), two(waves), three(waves)))
    return lambda waves: store(waves, run(*[get(waves) for get in gets]))


def _same(value: Any) -> Any:
    return value


# ---- as one of several


def alike(instruction: Instruction, target: str) -> Alike | None:
    """The same as data, if it writes whole VGPRs, of the active lanes, and nothing else."""
    name = instruction.name
    if name in _NOTHING or name in BETWEEN_LANES:
        return None
    if name in mfma(target):
        return _matrix(instruction, target, mfma(target)[name])
    op = valu(target)[name]
    if instruction.encoding in ("dpp", "sdwa") or instruction.get("clamp") or not isinstance(op.result, str):
        return None
    fields = source_fields(instruction, op)
    if op.result.startswith("2x"):
        return _packed_alike(instruction, op, fields)
    keeps = name in KEEPS_HIGH or (instruction.format == "VOP3" and instruction.get("src0_modifiers") & OP_SEL_HI)
    if bits_of(op.result) > 32 or op.result == "mask" or (bits_of(op.result) == 16 and keeps):
        return None
    if name.startswith("v_mbcnt") or any(kind not in DTYPES for kind in op.sources):
        return None
    wanted = wanted_values(instruction, op)
    sources: list[VgprOrFetch] = []
    for field, kind in zip(fields, op.sources, strict=True):
        number = _plain(instruction, field, kind)
        sources.append(number if number is not None else _source(instruction, field, kind))
    place = destination(instruction)
    key = (op.run, op.result, op.sources, tuple(sorted(wanted.items())))
    run = (lambda *values: op.run(*values, **wanted)) if wanted else op.run
    reads = _vgprs(instruction, fields, op.sources)
    return Lanewise(key, run, op.sources, op.result, ((place, tuple(sources)),), reads, frozenset((place,)))


def _plain(instruction: Instruction, field: str, kind: str) -> int | None:
    """A source that is all of a VGPR, or its low half."""
    if field == "vdst":
        return destination(instruction) if bits_of(kind) <= 32 else None
    if field in ("imm", "vcc") or bits_of(kind) not in (16, 32):
        return None
    place = source(instruction, field)
    whole = place.code >= VGPR0 and not place.modifiers & ~OP_SEL_HI and place.select == SDWA_DWORD
    return place.code - VGPR0 if whole else None


def _vgprs(instruction: Instruction, fields: list[str], kinds: tuple[str, ...]) -> frozenset[int]:
    """VGPRs that are read."""
    found: set[int] = set()
    for field, kind in zip(fields, kinds, strict=True):
        code = VGPR0 + destination(instruction) if field == "vdst" else 0
        if field not in ("vdst", "imm", "vcc"):
            code = source_code(instruction, field)
        if code >= VGPR0:
            found |= set(range(code - VGPR0, code - VGPR0 + (2 if "64" in kind or kind in ("2xf32", "2xu32") else 1)))
    return frozenset(found)


def _packed_alike(instruction: Instruction, op: Op, fields: list[str]) -> Lanewise | None:
    """Two registers at a time."""
    if op.result != "2xf32" or not isinstance(op.run, Each) or set(op.sources) != {"2xf32"}:
        return None
    halves: tuple[list[VgprOrFetch], list[VgprOrFetch]] = ([], [])
    for field in fields:
        place = source(instruction, field)
        if place.code < VGPR0 or place.modifiers & (NEG | ABS):
            both = pair(place, "2xf32")
            halves[0].append(_half_of(both, 0))
            halves[1].append(_half_of(both, 1))
            continue
        halves[0].append(place.code - VGPR0 + bool(place.modifiers & OP_SEL))
        halves[1].append(place.code - VGPR0 + bool(place.modifiers & OP_SEL_HI))
    first = destination(instruction)
    parts = tuple((first + number, tuple(sources)) for number, sources in enumerate(halves))
    kinds = ("f32",) * len(fields)
    reads = _vgprs(instruction, fields, op.sources)
    return Lanewise(
        (op.run.run, "f32", kinds, ()), op.run.run, kinds, "f32", parts, reads, frozenset((first, first + 1))
    )


def _half_of(both: Callable[[Waves], tuple[Array, Array]], number: int) -> Fetch:
    return lambda waves: both(waves)[number]


def _matrix(instruction: Instruction, target: str, op: MfmaOp) -> Matrix | None:
    """None for those with scales, with formats that may be wrong, or with a constant other than 0."""
    if op.scaled or op.sparse or instruction.name.endswith("f8f6f4"):
        return None
    sources: list[tuple[int | None, int]] = []
    reads: set[int] = set()
    for field, count in (("src0", op.na), ("src1", op.nb), ("src2", op.nc)):
        code = source_code(instruction, field)
        if code < VGPR0 and code != 128:
            return None
        first = code - VGPR0 if code >= VGPR0 else None
        sources.append((first, count))
        if first is not None:
            reads |= set(range(first, first + count))
    place = destination(instruction)
    wanted = tuple((name, instruction.get(name)) for name in op.wants)
    run = partial(op.run, **dict(wanted))
    writes = frozenset(range(place, place + op.nd))
    return Matrix((op.run, wanted), run, tuple(sources), place, op.nd, frozenset(reads), writes)


def _bind_mfma(instruction: Instruction, op: MfmaOp) -> Run:
    """All lanes take part, whatever EXEC says."""
    place = destination(instruction)
    a = _registers(instruction, "src0", op.na)
    b = _registers(instruction, "src1", op.nb)
    c = _registers(instruction, "vdst" if op.sparse else "src2", op.nc)
    bits = [instruction.get(f"src{number}_modifiers") for number in range(2)]
    values = {name: instruction.get(name) for name in ("cbsz", "abid", "blgp")}
    values["op_sel"] = sum(bool(bit & OP_SEL) << number for number, bit in enumerate(bits))
    values["op_sel_hi"] = sum(bool(bit & OP_SEL_HI) << number for number, bit in enumerate(bits))
    wanted = {name: values[name] for name in op.wants}
    more: list[Fetch] = []
    if op.scaled:
        more = [words(Source(instruction.get(f"scale_src{number}"))) for number in range(2)]
    elif op.sparse:
        more = [words(Source(instruction.get("idx")))]

    def run(waves: Waves) -> None:
        waves.widen()
        others = [waves.full(get(waves)) for get in more]
        result = op.run(a(waves), b(waves), c(waves), *others, **wanted)
        for number in range(op.nd):
            waves.put_v(place + number, result[number])

    return run


def _registers(instruction: Instruction, field: str, count: int) -> Fetch:
    """uint32 [count][waves][64]; an inline constant is the same everywhere."""
    code = VGPR0 + destination(instruction) if field == "vdst" else source_code(instruction, field)
    if code < VGPR0:
        kind = "f64" if instruction.name.startswith("v_mfma_f64") else "u32"
        constant = fetch(Source(code), kind)

        def same(waves: Waves) -> Array:
            value = constant(waves)
            parts = (
                [value]
                if kind == "u32"
                else [value.view(np.uint64).astype(_U32), (value.view(np.uint64) >> np.uint64(32)).astype(_U32)]
            )
            return np.stack([waves.full(part) for part in parts] * (count // len(parts)))

        return same
    first = code - VGPR0

    def get(waves: Waves) -> Array:
        return np.stack([waves.full(waves.v(first + number)) for number in range(count)])

    return get


# ---- DPP


def dpp_lanes(control: int) -> Array:
    """The lane that each lane reads; -1: none."""
    lane = np.arange(WAVE)
    row, place = lane & ~15, lane & 15
    if control <= 0xFF:
        return lane & ~3 | (control >> 2 * (lane & 3)) & 3
    amount = control & 15
    group = control & 0x1F0
    if group == 0x100:
        return np.where(place + amount < 16, lane + amount, -1)
    if group == 0x110:
        return np.where(place >= amount, lane - amount, -1)
    if group == 0x120:
        return row | (place - amount) & 15
    if group == 0x150:
        return row | amount
    table = {
        0x130: np.where(lane < 63, lane + 1, -1),
        0x134: (lane + 1) & 63,
        0x138: lane - 1,
        0x13C: (lane - 1) & 63,
        0x140: row | 15 - place,
        0x141: lane & ~7 | 7 - (lane & 7),
        0x142: np.where(lane >= 16, row - 1, -1),
        0x143: np.where(lane >= 32, 31, -1),
    }
    if control not in table:
        raise NotModelled(f"dpp_ctrl {control:#x}")
    return table[control]


def _bind_dpp(instruction: Instruction, op: Op) -> Run:
    """The first source comes from other lanes. Lanes that read none, or one that is off, read 0 or do not take part."""
    lanes = dpp_lanes(instruction.get("dpp_ctrl"))
    lane = np.arange(WAVE)
    rows = instruction.get("row_mask") >> (lane >> 4) & 1 != 0
    banks = instruction.get("bank_mask") >> (lane >> 2 & 3) & 1 != 0
    enabled = rows & banks
    zero_outside = bool(instruction.get("bound_ctrl"))
    there = lanes >= 0

    def move(waves: Waves, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(move(waves, part) for part in value)
        valid = waves.active[:, lanes] & there
        return np.where(valid, waves.full(value)[:, lanes], value.dtype.type(0))

    inner = _bind(instruction, op, move)

    def run(waves: Waves) -> None:
        waves.widen()
        active = waves.active
        takes_part = active & enabled if zero_outside else active & enabled & active[:, lanes] & there
        waves.taking_part = takes_part
        inner(waves)
        waves.taking_part = None

    return run


# ---- between lanes


def _first_lane(waves: Waves) -> Array:
    """The lowest active lane of each wave; 0 where none is."""
    return waves.active.argmax(axis=1)


def _read_first(instruction: Instruction) -> Run:
    get = words(source(instruction, "src0"))
    place = scalar_place(instruction.get("vdst"))

    def run(waves: Waves) -> None:
        value = get(waves)
        if value.shape[1] == 1:
            waves.set_s(place, value[:, 0])
        else:
            waves.set_s(place, waves.full(value)[np.arange(waves.count), _first_lane(waves)])

    return run


def _read_lane(instruction: Instruction) -> Run:
    get = words(source(instruction, "src0"))
    select = scalar32(scalar_source(instruction, "src1"))
    place = scalar_place(instruction.get("vdst"))

    def run(waves: Waves) -> None:
        lane = select(waves) & _U32(WAVE - 1)
        if int(lane.max()) >= waves.lanes:
            waves.widen()
        value = get(waves)
        if value.shape[1] == 1:
            waves.set_s(place, value[:, 0])
        elif len(lane) == 1:
            waves.set_s(place, value[:, int(lane[0])].copy())
        else:
            waves.set_s(place, waves.full(value)[np.arange(waves.count), lane])

    return run


def scalar_source(instruction: Instruction, field: str) -> Source:
    """One that cannot be a VGPR. Raises NotModelled."""
    code = instruction.get(field)
    if code >= VGPR0:
        raise NotModelled(f"{instruction.name} with a VGPR as scalar")
    return Source(code, literal=instruction.literal)


def _write_lane(instruction: Instruction) -> Run:
    value = scalar32(scalar_source(instruction, "src0"))
    select = scalar32(scalar_source(instruction, "src1"))
    place = destination(instruction)

    def run(waves: Waves) -> None:
        lane = select(waves) & _U32(WAVE - 1)
        if int(lane.max()) >= waves.lanes:
            waves.widen()
        copy = waves.full(waves.v(place)).copy()
        copy[np.arange(waves.count), lane] = value(waves)
        waves.put_v(place, copy)

    return run


def _swap(instruction: Instruction) -> Run:
    first, second = destination(instruction), source_code(instruction, "src0") - VGPR0

    def run(waves: Waves) -> None:
        a, b = waves.v(first), waves.v(second)
        waves.set_v(first, b)
        waves.set_v(second, a)

    return run


def _permlane_swap(instruction: Instruction) -> Run:
    """The upper half of each pair of rows (16), or of the wave (32), of the first with the lower half of the second."""
    width = 16 if "16" in instruction.name else 32
    first, second = destination(instruction), (source_code(instruction, "src0") | VGPR0) - VGPR0
    odd = (np.arange(WAVE) // width) % 2 == 1
    partner = np.arange(WAVE) ^ width

    def run(waves: Waves) -> None:
        waves.widen()
        if not waves.all_active:
            raise NotModelled(f"{instruction.name} with lanes that are off")
        a, b = waves.full(waves.v(first)), waves.full(waves.v(second))
        waves.put_v(first, np.where(odd, b[:, partner], a))
        waves.put_v(second, np.where(odd, b, a[:, partner]))

    return run


BETWEEN_LANES: dict[str, Callable[[Instruction], Run]] = {
    "v_readfirstlane_b32": _read_first,
    "v_readlane_b32": _read_lane,
    "v_writelane_b32": _write_lane,
    "v_swap_b32": _swap,
    "v_permlane16_swap_b32": _permlane_swap,
    "v_permlane32_swap_b32": _permlane_swap,
}
