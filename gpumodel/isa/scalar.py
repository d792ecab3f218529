"""Scalar instructions: SOP1, SOP2, SOPC, SOPK. A value is uint32 or uint64 [waves], [1] where all waves hold the same.

Source: AMD CDNA3 ISA manual, "scalar ALU instructions" (restated). Branches are run.py's, memory is memory.py's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpumodel.isa.decode import Instruction
from gpumodel.isa.operands import EXEC, Source, scalar32, scalar64, scalar_place
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.waves import M0, MODE_DEFAULT, Array, Waves

Run = Callable[[Waves], None]
Result = tuple[Array, Array | None]  # value, SCC (None: it stays)
Two = Callable[[Array, Array], Result]

_U32, _U64, _I32, _I64 = np.uint32, np.uint64, np.int32, np.int64
HWREG_MODE, HWREG_STATUS, HWREG_XCC_ID = 1, 2, 20


def _signed(value: Array) -> Array:
    return value.view(_I64 if value.dtype == _U64 else _I32)


def _unsigned(value: Array) -> Array:
    return value.view(_U64 if value.dtype == _I64 else _U32)


def _wide(value: Array) -> Array:
    return value.astype(_U64)


def _wide_signed(value: Array) -> Array:
    return value.view(_I32).astype(_I64)


def _low(value: Array) -> Array:
    return value.astype(_U32)


def _nonzero(value: Array) -> Result:
    return value, value != 0


def _add_unsigned(a: Array, b: Array, carry: Array | None = None) -> Result:
    total = _wide(a) + _wide(b)
    if carry is not None:
        total = total + carry
    return _low(total), total >> _U64(32) != 0


def _subtract_unsigned(a: Array, b: Array, carry: Array | None = None) -> Result:
    total = _wide_from(a) - _wide_from(b)
    if carry is not None:
        total = total - carry
    return total.astype(_U32), total < 0


def _wide_from(value: Array) -> Array:
    return value.astype(_I64)


def _add_signed(a: Array, b: Array) -> Result:
    total = _wide_signed(a) + _wide_signed(b)
    return total.astype(_U32), total != total.astype(_I32)


def _subtract_signed(a: Array, b: Array) -> Result:
    total = _wide_signed(a) - _wide_signed(b)
    return total.astype(_U32), total != total.astype(_I32)


def _least(a: Array, b: Array) -> Result:
    return np.minimum(a, b), a < b


def _most(a: Array, b: Array) -> Result:
    return np.maximum(a, b), a > b


def _least_signed(a: Array, b: Array) -> Result:
    value, first = _least(_signed(a), _signed(b))
    return _unsigned(value), first


def _most_signed(a: Array, b: Array) -> Result:
    value, first = _most(_signed(a), _signed(b))
    return _unsigned(value), first


def _amount(value: Array, like: Array) -> Array:
    """How far to shift: the low bits that count."""
    wide = like.dtype == _U64
    return value.astype(like.dtype) & like.dtype.type(63 if wide else 31)


def _shift_left(a: Array, b: Array) -> Result:
    return _nonzero(a << _amount(b, a))


def _shift_right(a: Array, b: Array) -> Result:
    return _nonzero(a >> _amount(b, a))


def _shift_arithmetic(a: Array, b: Array) -> Result:
    return _nonzero(_unsigned(_signed(a) >> _signed(_amount(b, a))))


def _mask_of(a: Array, b: Array, kind: type) -> Array:
    """s_bfm: b bits from bit... of `a` ones at `b`."""
    most = kind(63 if kind is _U64 else 31)
    one = kind(1)
    return ((one << (a.astype(kind) & most)) - one) << (b.astype(kind) & most)


def _field(a: Array, b: Array) -> tuple[Array, Array, int]:
    """Offset and width as s_bfe has them, and the bits that there are."""
    bits = 64 if a.dtype == _U64 else 32
    kind = a.dtype.type
    offset = b.astype(a.dtype) & kind(bits - 1)
    width = np.minimum(b.astype(a.dtype) >> kind(16) & kind(0x7F), kind(bits))
    return offset, width, bits


def _extract(a: Array, b: Array) -> Result:
    offset, width, bits = _field(a, b)
    kind = a.dtype.type
    ones = np.where(width >= bits, ~kind(0), (kind(1) << np.minimum(width, kind(bits - 1))) - kind(1))
    return _nonzero(a >> offset & ones)


def _extract_signed(a: Array, b: Array) -> Result:
    offset, width, bits = _field(a, b)
    value, _ = _extract(a, b)
    kind = a.dtype.type
    held = np.minimum(width, kind(bits) - offset)  # above, there is only the sign of nothing
    up = np.minimum(kind(bits) - held, kind(bits - 1))
    extended = _unsigned(_signed(value << up) >> _signed(up))
    return _nonzero(np.where(width == 0, kind(0), extended))


def _lshl_add(by: int) -> Two:
    def run(a: Array, b: Array) -> Result:
        total = (_wide(a) << _U64(by)) + _wide(b)
        return _low(total), total >> _U64(32) != 0

    return run


def _pack(first: int, second: int) -> Two:
    return lambda a, b: ((a >> _U32(first) & _U32(0xFFFF)) | (b >> _U32(second)) << _U32(16), None)


_LOGIC: dict[str, Callable[[Array, Array], Array]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "andn2": lambda a, b: a & ~b,
    "orn2": lambda a, b: a | ~b,
    "nand": lambda a, b: ~(a & b),
    "nor": lambda a, b: ~(a | b),
    "xnor": lambda a, b: ~(a ^ b),
}
_KEEPS_ABOVE = frozenset(("and", "or", "xor", "andn2"))  # bits that are 0 in both stay 0
_LOGIC["andn1"] = lambda a, b: ~a & b
_LOGIC["orn1"] = lambda a, b: ~a | b


def _logic(name: str) -> Two:
    compute = _LOGIC[name]
    return lambda a, b: _nonzero(compute(a, b))


SOP2: dict[str, Two] = {
    "s_add_u32": _add_unsigned,
    "s_sub_u32": _subtract_unsigned,
    "s_add_i32": _add_signed,
    "s_sub_i32": _subtract_signed,
    "s_min_i32": _least_signed,
    "s_min_u32": _least,
    "s_max_i32": _most_signed,
    "s_max_u32": _most,
    "s_lshl_b32": _shift_left,
    "s_lshl_b64": _shift_left,
    "s_lshr_b32": _shift_right,
    "s_lshr_b64": _shift_right,
    "s_ashr_i32": _shift_arithmetic,
    "s_ashr_i64": _shift_arithmetic,
    "s_bfm_b32": lambda a, b: (_mask_of(a, b, _U32), None),
    "s_bfm_b64": lambda a, b: (_mask_of(a, b, _U64), None),
    "s_mul_i32": lambda a, b: (a * b, None),
    "s_mul_hi_u32": lambda a, b: (_low(_wide(a) * _wide(b) >> _U64(32)), None),
    "s_mul_hi_i32": lambda a, b: ((_wide_signed(a) * _wide_signed(b) >> _I64(32)).astype(_U32), None),
    "s_bfe_u32": _extract,
    "s_bfe_u64": _extract,
    "s_bfe_i32": _extract_signed,
    "s_bfe_i64": _extract_signed,
    "s_absdiff_i32": lambda a, b: _nonzero(_unsigned(np.abs(_signed(a - b)))),
    "s_lshl1_add_u32": _lshl_add(1),
    "s_lshl2_add_u32": _lshl_add(2),
    "s_lshl3_add_u32": _lshl_add(3),
    "s_lshl4_add_u32": _lshl_add(4),
    "s_pack_ll_b32_b16": _pack(0, 0),
    "s_pack_lh_b32_b16": _pack(0, 16),
    "s_pack_hh_b32_b16": _pack(16, 16),
    **{f"s_{name}_b{bits}": _logic(name) for name in _LOGIC if not name.endswith("1") for bits in (32, 64)},
}


def _count_ones(value: Array) -> Array:
    return np.unpackbits(value[:, None].view(np.uint8), axis=1).sum(axis=1, dtype=_U32)


def _bits(value: Array) -> int:
    return 64 if value.dtype == _U64 else 32


def _reverse(value: Array) -> Array:
    wide = value.astype(_U64 if _bits(value) == 64 else _U32)
    swapped = np.unpackbits(wide[:, None].view(np.uint8), axis=1, bitorder="little")[:, ::-1]
    return np.packbits(swapped, axis=1, bitorder="little").view(value.dtype)[:, 0].copy()


def _lowest_one(value: Array) -> Array:
    """The number of the lowest bit that is set; -1 when none is."""
    lowest = value & (~value + value.dtype.type(1))
    return np.where(value == 0, _U32(0xFFFFFFFF), _count_ones(lowest - value.dtype.type(1)))


def _leading(value: Array) -> Array:
    """Zeros above the highest one; -1 when there is none."""
    return _lowest_one(_reverse(value))


def _leading_signs(value: Array) -> Array:
    """Where the first bit lies that differs from the sign, from above; -1 when none does."""
    sign = _unsigned(_signed(value) >> _signed(value.dtype.type(_bits(value) - 1)[None]))
    return _leading(value ^ sign)


def _sext(bits: int) -> Callable[[Array], Result]:
    up = _U32(32 - bits)
    return lambda a: ((((a << up).view(_I32)) >> _I32(32 - bits)).view(_U32), None)


def _quads(value: Array) -> Array:
    """A bit for each four of which one is set."""
    bits = np.unpackbits(value[:, None].view(np.uint8), axis=1, bitorder="little")
    any_set = bits.reshape(len(value), -1, 4).any(axis=2)
    out = np.zeros((len(value), value.dtype.itemsize), np.uint8)
    packed = np.packbits(any_set, axis=1, bitorder="little")
    out[:, : packed.shape[1]] = packed
    return out.view(value.dtype)[:, 0].copy()


def _whole_quads(value: Array) -> Array:
    bits = np.unpackbits(value[:, None].view(np.uint8), axis=1, bitorder="little")
    any_set = np.repeat(bits.reshape(len(value), -1, 4).any(axis=2), 4, axis=1)
    return np.packbits(any_set, axis=1, bitorder="little").view(value.dtype)[:, 0].copy()


def _replicate(value: Array) -> Array:
    """Each bit twice."""
    bits = np.unpackbits(value[:, None].view(np.uint8), axis=1, bitorder="little")
    return np.packbits(np.repeat(bits, 2, axis=1), axis=1, bitorder="little").view(_U64)[:, 0].copy()


SOP1: dict[str, Callable[[Array], Result]] = {
    "s_mov_b32": lambda a: (a, None),
    "s_mov_b64": lambda a: (a, None),
    "s_not_b32": lambda a: _nonzero(~a),
    "s_not_b64": lambda a: _nonzero(~a),
    "s_wqm_b32": lambda a: _nonzero(_whole_quads(a)),
    "s_wqm_b64": lambda a: _nonzero(_whole_quads(a)),
    "s_brev_b32": lambda a: (_reverse(a), None),
    "s_brev_b64": lambda a: (_reverse(a), None),
    "s_bcnt0_i32_b32": lambda a: _nonzero(_count_ones(~a)),
    "s_bcnt0_i32_b64": lambda a: _nonzero(_count_ones(~a)),
    "s_bcnt1_i32_b32": lambda a: _nonzero(_count_ones(a)),
    "s_bcnt1_i32_b64": lambda a: _nonzero(_count_ones(a)),
    "s_ff0_i32_b32": lambda a: (_lowest_one(~a), None),
    "s_ff0_i32_b64": lambda a: (_lowest_one(~a), None),
    "s_ff1_i32_b32": lambda a: (_lowest_one(a), None),
    "s_ff1_i32_b64": lambda a: (_lowest_one(a), None),
    "s_flbit_i32_b32": lambda a: (_leading(a), None),
    "s_flbit_i32_b64": lambda a: (_leading(a), None),
    "s_flbit_i32": lambda a: (_leading_signs(a), None),
    "s_flbit_i32_i64": lambda a: (_leading_signs(a), None),
    "s_sext_i32_i8": _sext(8),
    "s_sext_i32_i16": _sext(16),
    "s_quadmask_b32": lambda a: _nonzero(_quads(a)),
    "s_quadmask_b64": lambda a: _nonzero(_quads(a)),
    "s_abs_i32": lambda a: _nonzero(np.where(a >> _U32(31) != 0, ~a + _U32(1), a)),
    "s_bitreplicate_b64_b32": lambda a: (_replicate(a), None),
}

_COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "eq": lambda a, b: a == b,
    "lg": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}


# ---- binding


def wide_name(name: str, place: int) -> bool:
    """Whether the source (0, 1) or the destination (-1) of an instruction has 64 bits."""
    last = name.rpartition("_")[2]
    if name.startswith(("s_lshl_b64", "s_lshr_b64", "s_ashr_i64", "s_bfe_u64", "s_bfe_i64")):
        return place != 1
    if name in ("s_bfm_b64", "s_bitreplicate_b64_b32"):
        return place == -1
    if name.startswith(("s_bcnt", "s_ff", "s_flbit")):
        return place != -1 and last.endswith("64")
    return last.endswith("64")


def _source(instruction: Instruction, name: str) -> Source:
    return Source(instruction.get(name), literal=instruction.literal)


def _get(instruction: Instruction, field: str, place: int) -> Callable[[Waves], Array]:
    source = _source(instruction, field)
    return scalar64(source) if wide_name(instruction.name, place) else scalar32(source)


def _put(instruction: Instruction, field: str = "sdst") -> Callable[[Waves, Array], None]:
    place = scalar_place(instruction.get(field))
    if wide_name(instruction.name, -1):
        return lambda waves, value: waves.set_s64(place, value)
    return lambda waves, value: waves.set_s(place, value)


def bind(instruction: Instruction) -> Run:
    """A function that runs it. Raises NotModelled."""
    name, kind = instruction.name, instruction.format
    if kind == "SOP2":
        return _bind_sop2(instruction)
    if kind == "SOP1":
        return _bind_sop1(instruction)
    if kind == "SOPC":
        return _bind_sopc(instruction)
    if kind == "SOPK":
        return _bind_sopk(instruction)
    raise NotModelled(name)


def _bind_sop2(instruction: Instruction) -> Run:
    name = instruction.name
    first, second = _get(instruction, "src0", 0), _get(instruction, "src1", 1)
    put = _put(instruction)
    if name in ("s_addc_u32", "s_subb_u32"):
        with_carry = _add_unsigned if name == "s_addc_u32" else _subtract_unsigned

        def carried(waves: Waves) -> None:
            value, scc = with_carry(first(waves), second(waves), waves.scc)
            put(waves, value)
            assert scc is not None
            waves.scc = scc

        return carried
    if name.startswith("s_cselect"):
        return lambda waves: put(waves, np.where(waves.scc, first(waves), second(waves)))
    compute = SOP2.get(name)
    if compute is None:
        raise NotModelled(name)

    def run(waves: Waves) -> None:
        value, scc = compute(first(waves), second(waves))
        put(waves, value)
        if scc is not None:
            waves.scc = scc

    logic = name.removeprefix("s_").removesuffix("_b64")
    if name.endswith("_b64") and logic in _KEEPS_ABOVE:
        return _masks(logic, instruction, run)
    return run


def _masks(logic: str, instruction: Instruction, otherwise: Run) -> Run:
    """The same on masks as they are, if both are at hand."""
    a, b, place = instruction.get("src0"), instruction.get("src1"), instruction.get("sdst")
    if a > EXEC or b > EXEC or (a | b | place) & 1:
        return otherwise
    compute = _LOGIC[logic]

    def run(waves: Waves) -> None:
        first, second = waves.known_mask(a), waves.known_mask(b)
        if first is None or second is None:
            otherwise(waves)
            return
        value = compute(first, second)
        waves.set_mask(place, value)
        waves.scc = np.asarray(value.any(axis=1))

    return run


def _bind_sop1(instruction: Instruction) -> Run:
    name = instruction.name
    if name.endswith(("_saveexec_b64", "_wrexec_b64")):
        return _saveexec(instruction)
    if name == "s_movrels_b32" or name.startswith("s_movrel"):
        return _moved(instruction)
    first, put = _get(instruction, "src0", 0), _put(instruction)
    if name.startswith("s_cmov"):
        place = scalar_place(instruction.get("sdst"))

        def conditional(waves: Waves) -> None:
            old = waves.s64(place) if name.endswith("64") else waves.s(place)
            put(waves, np.where(waves.scc, first(waves), old))

        return conditional
    if name.startswith("s_bitset"):
        return _bitset(instruction)
    compute = SOP1.get(name)
    if compute is None:
        raise NotModelled(name)

    def run(waves: Waves) -> None:
        value, scc = compute(first(waves))
        put(waves, value)
        if scc is not None:
            waves.scc = scc

    a, place = instruction.get("src0"), instruction.get("sdst")
    if name != "s_mov_b64" or a > EXEC or (a | place) & 1:
        return run

    def moved(waves: Waves) -> None:
        mask = waves.known_mask(a)
        if mask is None:
            run(waves)
        else:
            waves.set_mask(place, mask)

    return moved


def _saveexec(instruction: Instruction) -> Run:
    """D = EXEC, EXEC = S op EXEC; the wrexec forms write the new EXEC to D, too."""
    name = instruction.name
    logic, _, what = name.removeprefix("s_").removesuffix("_b64").partition("_")
    compute = _LOGIC[logic]
    code, place = instruction.get("src0"), scalar_place(instruction.get("sdst"))
    source = scalar64(_source(instruction, "src0"))
    writes = what == "wrexec"

    def run(waves: Waves) -> None:
        known = waves.known_mask(code) if code <= EXEC and not (code | place) & 1 else None
        before = waves.known_mask(EXEC)
        if known is not None and before is not None and logic in (*_KEEPS_ABOVE, "andn1"):
            after = compute(known, before)
            waves.set_mask(place, after if writes else before)
            waves.set_mask(EXEC, after)
            waves.scc = np.asarray(after.any(axis=1))
            return
        old = waves.s64(EXEC)
        value = compute(source(waves), old)
        waves.set_s64(place, value if writes else old)
        waves.set_s64(EXEC, value)
        waves.scc = value != 0

    return run


def _bitset(instruction: Instruction) -> Run:
    first = scalar32(_source(instruction, "src0"))
    place = scalar_place(instruction.get("sdst"))
    wide, to_one = instruction.name.endswith("64"), "bitset1" in instruction.name
    kind: Any = _U64 if wide else _U32

    def run(waves: Waves) -> None:
        bit = kind(1) << (first(waves).astype(kind) & kind(63 if wide else 31))
        old = waves.s64(place) if wide else waves.s(place)
        value = old | bit if to_one else old & ~bit
        if wide:
            waves.set_s64(place, value)
        else:
            waves.set_s(place, value)

    return run


def _moved(instruction: Instruction) -> Run:
    """s_movrel: M0 is added to the number of a register."""
    name = instruction.name
    from_there = "movrels" in name
    wide = name.endswith("64")
    a, place = instruction.get("src0"), instruction.get("sdst")

    def run(waves: Waves) -> None:
        offsets = np.unique(waves.s(M0))
        if len(offsets) != 1:
            raise NotModelled(f"{name} with M0 that differs from wave to wave")
        offset = int(offsets[0])
        source, target = a + offset * from_there, place + offset * (not from_there)
        if max(source, target) >= 102:
            raise NotModelled(f"{name} beyond the last register")
        if wide:
            waves.set_s64(target, waves.s64(source))
        else:
            waves.set_s(target, waves.s(source))

    return run


def _bind_sopc(instruction: Instruction) -> Run:
    name = instruction.name
    if name.startswith("s_bitcmp"):
        first, second = _get(instruction, "src0", 0), scalar32(_source(instruction, "src1"))
        wanted = name[len("s_bitcmp")] == "1"
        wide = name.endswith("64")

        def bit(waves: Waves) -> None:
            value = first(waves)
            place = second(waves).astype(value.dtype) & value.dtype.type(63 if wide else 31)
            waves.scc = (value >> place & value.dtype.type(1) != 0) == wanted

        return bit
    if not name.startswith("s_cmp_"):
        raise NotModelled(name)
    _, _, test, kind = name.split("_")
    first, second = _get(instruction, "src0", 0), _get(instruction, "src1", 1)
    compare, signed = _COMPARE[test], kind[0] == "i"

    def run(waves: Waves) -> None:
        a, b = first(waves), second(waves)
        waves.scc = compare(_signed(a), _signed(b)) if signed else compare(a, b)

    return run


def _bind_sopk(instruction: Instruction) -> Run:
    name, place = instruction.name, instruction.get("sdst")
    raw = instruction.get("simm16")
    signed = raw - 0x10000 if raw & 0x8000 else raw
    value = np.array([signed & 0xFFFFFFFF], _U32)
    if name.startswith("s_cmpk_"):
        _, _, test, kind = name.split("_")
        compare = _COMPARE[test]
        if kind == "u32":
            plain = np.array([raw], _U32)
            return lambda waves: setattr(waves, "scc", compare(waves.s(place), plain))
        return lambda waves: setattr(waves, "scc", compare(_signed(waves.s(place)), _signed(value)))
    if name in ("s_getreg_b32", "s_setreg_b32", "s_setreg_imm32_b32"):
        return _hardware_register(instruction, raw)
    if name == "s_movk_i32":
        return lambda waves: waves.set_s(place, value)
    if name == "s_cmovk_i32":
        return lambda waves: waves.set_s(place, np.where(waves.scc, value, waves.s(place)))
    if name == "s_mulk_i32":
        return lambda waves: waves.set_s(place, waves.s(place) * value)
    if name == "s_addk_i32":

        def add(waves: Waves) -> None:
            total, scc = _add_signed(waves.s(place), value)
            assert scc is not None
            waves.scc = scc
            waves.set_s(place, total)

        return add
    raise NotModelled(name)


def _hardware_register(instruction: Instruction, raw: int) -> Run:
    """Mode can be read, and set to what it is: the vector unit rounds to nearest and keeps subnormals."""
    number, offset, size = raw & 0x3F, raw >> 6 & 31, (raw >> 11 & 31) + 1
    ones = (1 << size) - 1
    place = instruction.get("sdst")
    if instruction.name == "s_getreg_b32":
        if number not in (HWREG_MODE, HWREG_XCC_ID):
            raise NotModelled(f"s_getreg_b32 of hardware register {number}")
        mode = number == HWREG_MODE

        def read(waves: Waves) -> None:
            value = waves.mode if mode else waves.context.xcc
            waves.set_s(place, np.array([value >> offset & ones], _U32))

        return read
    if number != HWREG_MODE:
        raise NotModelled(f"{instruction.name} of hardware register {number}")
    immediate = instruction.get("imm")
    from_literal = instruction.name == "s_setreg_imm32_b32"

    def write(waves: Waves) -> None:
        values = [immediate] if from_literal else np.unique(waves.s(place))
        if len(values) != 1:
            raise NotModelled("a mode that differs from wave to wave")
        mode = waves.mode & ~(ones << offset) | (int(values[0]) & ones) << offset
        if mode & 0xFF != MODE_DEFAULT:
            raise NotModelled(f"mode {mode:#x}: only rounding to nearest with subnormals is")
        waves.mode = mode

    return write
