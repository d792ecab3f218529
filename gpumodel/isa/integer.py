"""Integer and bit instructions of the vector unit.

Source: AMD CDNA3 and CDNA4 instruction set architecture manuals, chapters on VOP1, VOP2, VOP3 (restated)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpumodel.isa.op import Array, Op, ops, split16, u32


def _shift(by: Array, bits: int) -> Array:
    return by & by.dtype.type(bits - 1)


def lshl(value: Array, by: Array) -> Array:
    """Shift left by the low bits of `by`, of any width."""
    return value << _shift(by, value.itemsize * 8).astype(value.dtype)


def shr(value: Array, by: Array) -> Array:
    """Shift right, arithmetic for signed arrays."""
    return value >> _shift(by, value.itemsize * 8).astype(value.dtype)


def _signed24(value: Array) -> Array:
    return (value << np.int32(8)) >> np.int32(8)


def _low24(value: Array) -> Array:
    return value & np.uint32(0xFFFFFF)


def _wide(a: Array, b: Array) -> Array:
    wide = np.int64 if a.dtype.kind == "i" else np.uint64
    return a.astype(wide) * b.astype(wide)


def _high32(product: Array) -> Array:
    return (product >> product.dtype.type(32)).astype(np.int32 if product.dtype.kind == "i" else np.uint32)


def add_carry(a: Array, b: Array, carry: Array | None = None) -> tuple[Array, Array]:
    total = a.astype(np.uint64) + b
    if carry is not None:
        total = total + carry
    return u32(total), total > np.uint64(0xFFFFFFFF)


def sub_borrow(a: Array, b: Array, borrow: Array | None = None) -> tuple[Array, Array]:
    taken = b.astype(np.uint64)
    if borrow is not None:
        taken = taken + borrow
    return u32(a.astype(np.uint64) - taken), taken > a


def _mad_u64(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    total = _wide(a, b) + c
    return total, total < c


def _mad_i64(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """The second result is bit 64 of the sum of two 65-bit numbers: its sign."""
    product = _wide(a, b)
    total = product + c
    overflow = ((product ^ total) & (c ^ total)) < 0
    return total, (total < 0) ^ overflow


def _highest(value: Array) -> Array:
    """Place of the highest bit set; uint32, anything for 0: a float64 holds every uint32 exactly."""
    return u32((value.astype(np.float64).view(np.uint64) >> np.uint64(52)) - np.uint64(1023))


def _or_none(found: Array, value: Array) -> Array:
    return np.where(value == 0, np.uint32(0xFFFFFFFF), found)


def ffbh_u32(value: Array) -> Array:
    """Leading zeros, all ones when there is no bit."""
    return _or_none(np.uint32(31) - _highest(value), value)


def _ffbl(value: Array) -> Array:
    return _or_none(_highest(value & (~value + np.uint32(1))), value)


def _ffbh_i32(value: Array) -> Array:
    return ffbh_u32((value ^ (value >> np.int32(31))).view(np.uint32))


def count_ones(value: Array) -> Array:
    """Bits set in each uint32."""
    pairs = value - ((value >> np.uint32(1)) & np.uint32(0x55555555))
    fours = (pairs & np.uint32(0x33333333)) + ((pairs >> np.uint32(2)) & np.uint32(0x33333333))
    return (((fours + (fours >> np.uint32(4))) & np.uint32(0x0F0F0F0F)) * np.uint32(0x01010101)) >> np.uint32(24)


def _mbcnt(first_lane: int) -> Callable[[Array, Array], Array]:
    """Bits of lanes below one's own, of those 32 lanes whose bits the operand holds."""

    def run(mask: Array, start: Array) -> Array:
        lanes = np.arange(mask.shape[-1], dtype=np.int64) - first_lane
        below = u32((1 << np.clip(lanes, 0, 32)) - 1)
        return count_ones(mask & below) + start

    return run


_REVERSED = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)


def _bfrev(value: Array) -> Array:
    flipped = _REVERSED[np.ascontiguousarray(value).view(np.uint8)]
    return flipped.view(np.uint32).byteswap()


def _ones(width: Array) -> Array:
    return (np.uint32(1) << (width & np.uint32(31))) - np.uint32(1)


def _bfe_u32(value: Array, first: Array, width: Array) -> Array:
    return shr(value, first) & _ones(width)


def _bfe_i32(value: Array, first: Array, width: Array) -> Array:
    field = shr(value, first).view(np.uint32) & _ones(width)
    sign = np.where(width & np.uint32(31), np.uint32(1) << ((width - np.uint32(1)) & np.uint32(31)), np.uint32(0))
    return ((field ^ sign) - sign).view(np.int32)


def _bytes(value: Array) -> tuple[Array, ...]:
    return tuple(
        (value >> np.uint32(8 * i)) & np.uint32(0xFF) for i in range(value.itemsize if value.itemsize < 5 else 4)
    )


def _joined(parts: list[Array], bits: int) -> Array:
    """Fields of `bits` bits, the lowest first."""
    result = parts[0]
    for i, part in enumerate(parts[1:], 1):
        result = result | (part << part.dtype.type(bits * i))
    return result


def _lerp(a: Array, b: Array, c: Array) -> Array:
    parts = zip(_bytes(a), _bytes(b), _bytes(c), strict=True)
    return _joined([(x + y + (z & np.uint32(1))) >> np.uint32(1) for x, y, z in parts], 8)


def _distance(a: Array, b: Array) -> Array:
    return np.maximum(a, b) - np.minimum(a, b)


def _sad_u8(a: Array, b: Array, c: Array) -> Array:
    return c + sum(_distance(x, y) for x, y in zip(_bytes(a), _bytes(b), strict=True))


def _msad_u8(a: Array, b: Array, c: Array) -> Array:
    """Bytes whose reference (the second operand) is 0 are left out."""
    return c + sum(np.where(y == 0, np.uint32(0), _distance(x, y)) for x, y in zip(_bytes(a), _bytes(b), strict=True))


def _sad_u16(a: Array, b: Array, c: Array) -> Array:
    return c + sum(u32(_distance(x, y)) for x, y in zip(split16(a), split16(b), strict=True))


def _four_windows(sad: Callable[[Array, Array, Array], Array], a: Array, b: Array, c: list[Array]) -> list[Array]:
    """`sad` of four bytes of the 64-bit operand, from each of its first four bytes on."""
    return [sad(u32(a >> np.uint64(8 * i)), b, c[i]) for i in range(4)]


def _sad_pk(sad: Callable[[Array, Array, Array], Array]) -> Callable[[Array, Array, Array], Array]:
    def run(a: Array, b: Array, c: Array) -> Array:
        starts = [u32(c >> np.uint64(16 * i)) & np.uint32(0xFFFF) for i in range(4)]
        return _joined([(part & np.uint32(0xFFFF)).astype(np.uint64) for part in _four_windows(sad, a, b, starts)], 16)

    return run


def _mqsad_u32(a: Array, b: Array, c: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(_four_windows(_msad_u8, a, b, list(c)))


def _align(step: int, last: int) -> Callable[[Array, Array, Array], Array]:
    def run(high: Array, low: Array, by: Array) -> Array:
        both = (high.astype(np.uint64) << np.uint64(32)) | low
        return u32(both >> ((by & np.uint32(last)) * np.uint32(step)).astype(np.uint64))

    return run


def _chosen_bytes(both: Array, shifts: Array) -> Array:
    """Bytes alone; `shifts`: by how many bits, in each byte of it."""
    result = both >> (shifts & np.uint64(56)) & np.uint64(0xFF)
    for bits in (8, 16, 24):
        result |= (both >> (shifts >> np.uint64(bits) & np.uint64(56)) & np.uint64(0xFF)) << np.uint64(bits)
    return u32(result)


def _perm(high: Array, low: Array, select: Array) -> Array:
    """Each byte of `select` names a byte of {high, low} (0-7), a sign of one of their words (8-11), 0 (12) or 0xff."""
    both = (high.astype(np.uint64) << np.uint64(32)) | low
    if not np.any(select & np.uint32(0xF8F8F8F8)):
        return _chosen_bytes(both, select.astype(np.uint64) << np.uint64(3))
    parts = []
    for chosen in _bytes(select):
        byte = u32(both >> ((chosen & np.uint32(7)) << np.uint32(3)).astype(np.uint64)) & np.uint32(0xFF)
        if np.any(chosen > 7):
            word = ((chosen & np.uint32(3)) * np.uint32(16) + np.uint32(15)).astype(np.uint64)
            sign = u32((both >> word) & np.uint64(1)) * np.uint32(0xFF)
            constant = np.where(chosen == 12, np.uint32(0), np.uint32(0xFF))
            byte = np.where(chosen > 11, constant, np.where(chosen > 7, sign, byte))
        parts.append(byte)
    return _joined(parts, 8)


def _bitop3(a: Array, b: Array, c: Array, *, bitop3: int) -> Array:
    """Any function of three bits: bit 4a+2b+c of the table."""
    result = np.zeros_like(a & b & c)
    for row in range(8):
        if bitop3 >> row & 1:
            result |= (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
    return result


def _median(a: Array, b: Array, c: Array) -> Array:
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _min3(a: Array, b: Array, c: Array) -> Array:
    return np.minimum(np.minimum(a, b), c)


def _max3(a: Array, b: Array, c: Array) -> Array:
    return np.maximum(np.maximum(a, b), c)


def _mad(a: Array, b: Array, c: Array) -> Array:
    return a * b + c


def _mad_wide(a: Array, b: Array, c: Array) -> Array:
    """16-bit factors, 32-bit product and sum."""
    return a.astype(c.dtype) * b.astype(c.dtype) + c


def _sat_u8(value: Array) -> Array:
    return np.clip(value, 0, 255).astype(np.uint32)


def _sat_pk(value: Array) -> Array:
    low, high = (_sat_u8(half.view(np.int16)) for half in split16(value))
    return (low | (high << np.uint32(8))).astype(np.uint16)


def _ashr_pk(lowest: int, highest: int) -> Callable[[Array, Array, Array], Array]:
    def run(a: Array, b: Array, by: Array) -> Array:
        low, high = (
            np.clip(shr(x, by), lowest, highest).astype(np.int32).view(np.uint32) & np.uint32(0xFF) for x in (a, b)
        )
        return (low | (high << np.uint32(8))).astype(np.uint16)

    return run


def prng(value: Array) -> Array:
    """One step of a 32-bit linear feedback shift register."""
    return (value << np.uint32(1)) ^ np.where(value >> np.uint32(31), np.uint32(197), np.uint32(0))


def _same(value: Array) -> Array:
    return value


_ADD_SUB: dict[str, Callable[..., Array]] = {"add": np.add, "sub": np.subtract, "subrev": lambda a, b: b - a}
_MIN_MAX = {"min": np.minimum, "max": np.maximum}
_THREE = {"min3": _min3, "max3": _max3, "med3": _median}

INTEGER: dict[str, Op] = {
    **ops("b32", "b32", v_mov_b32=_same, v_accvgpr_read_b32=_same, v_accvgpr_write_b32=_same, v_accvgpr_mov_b32=_same),
    **ops("b64", "b64", v_mov_b64=_same),
    **ops("b32", "b32 b32 mask", v_cndmask_b32=lambda a, b, mask: np.where(mask, b, a)),
    **ops(
        "u32", "u32", v_not_b32=np.invert, v_bfrev_b32=_bfrev, v_ffbh_u32=ffbh_u32, v_ffbl_b32=_ffbl, v_prng_b32=prng
    ),
    **ops("u32", "i32", v_ffbh_i32=_ffbh_i32),
    **ops(
        "u32",
        "u32 u32",
        v_and_b32=np.bitwise_and,
        v_or_b32=np.bitwise_or,
        v_xor_b32=np.bitwise_xor,
        v_xnor_b32=lambda a, b: ~(a ^ b),
        v_lshlrev_b32=lambda by, value: lshl(value, by),
        v_lshrrev_b32=lambda by, value: shr(value, by),
        v_mul_u32_u24=lambda a, b: _low24(a) * _low24(b),
        v_mul_hi_u32_u24=lambda a, b: _high32(_wide(_low24(a), _low24(b))),
        v_mul_lo_u32=np.multiply,
        v_mul_hi_u32=lambda a, b: _high32(_wide(a, b)),
        v_bfm_b32=lambda width, first: lshl(_ones(width), first),
        v_bcnt_u32_b32=lambda value, start: count_ones(value) + start,
        v_mbcnt_lo_u32_b32=_mbcnt(0),
        v_mbcnt_hi_u32_b32=_mbcnt(32),
    ),
    **ops("i32", "u32 i32", v_ashrrev_i32=lambda by, value: shr(value, by)),
    **ops(
        "i32",
        "i32 i32",
        v_mul_i32_i24=lambda a, b: _signed24(a) * _signed24(b),
        v_mul_hi_i32_i24=lambda a, b: _high32(_wide(_signed24(a), _signed24(b))),
        v_mul_hi_i32=lambda a, b: _high32(_wide(a, b)),
        v_add_i32=np.add,
        v_sub_i32=np.subtract,
    ),
    **ops(
        ("u32", "mask"),
        "u32 u32",
        v_add_co_u32=add_carry,
        v_sub_co_u32=sub_borrow,
        v_subrev_co_u32=lambda a, b: sub_borrow(b, a),
    ),
    **ops(
        ("u32", "mask"),
        "u32 u32 mask",
        v_addc_co_u32=add_carry,
        v_subb_co_u32=sub_borrow,
        v_subbrev_co_u32=lambda a, b, borrow: sub_borrow(b, a, borrow),
    ),
    **ops(
        "u64",
        "u32 u64",
        v_lshlrev_b64=lambda by, value: lshl(value, by),
        v_lshrrev_b64=lambda by, value: shr(value, by),
    ),
    **ops("i64", "u32 i64", v_ashrrev_i64=lambda by, value: shr(value, by)),
    **ops("u64", "u64 u32 u64", v_lshl_add_u64=lambda a, by, b: (a << (by & np.uint32(7)).astype(np.uint64)) + b),
    **ops(("u64", "mask"), "u32 u32 u64", v_mad_u64_u32=_mad_u64),
    **ops(("i64", "mask"), "i32 i32 i64", v_mad_i64_i32=_mad_i64),
    **ops(
        "u32",
        "u32 u32 u32",
        v_mad_u32_u24=lambda a, b, c: _low24(a) * _low24(b) + c,
        v_bfe_u32=_bfe_u32,
        v_bfi_b32=lambda a, b, c: (a & b) | (~a & c),
        v_lerp_u8=_lerp,
        v_alignbit_b32=_align(1, 31),
        v_alignbyte_b32=_align(8, 3),
        v_sad_u8=_sad_u8,
        v_sad_hi_u8=lambda a, b, c: (_sad_u8(a, b, np.zeros_like(c)) << np.uint32(16)) + c,
        v_sad_u16=_sad_u16,
        v_sad_u32=lambda a, b, c: _distance(a, b) + c,
        v_msad_u8=_msad_u8,
        v_perm_b32=_perm,
        v_xad_u32=lambda a, b, c: (a ^ b) + c,
        v_lshl_add_u32=lambda a, by, c: lshl(a, by) + c,
        v_add_lshl_u32=lambda a, b, by: lshl(a + b, by),
        v_add3_u32=lambda a, b, c: a + b + c,
        v_lshl_or_b32=lambda a, by, c: lshl(a, by) | c,
        v_and_or_b32=lambda a, b, c: (a & b) | c,
        v_or3_b32=lambda a, b, c: a | b | c,
    ),
    **ops("i32", "i32 u32 u32", v_bfe_i32=_bfe_i32),
    **ops("i32", "i32 i32 i32", v_mad_i32_i24=lambda a, b, c: _signed24(a) * _signed24(b) + c),
    **ops("u32", "u16 u16 u32", v_mad_u32_u16=_mad_wide),
    **ops("i32", "i16 i16 i32", v_mad_i32_i16=_mad_wide),
    **ops("u64", "u64 u32 u64", v_qsad_pk_u16_u8=_sad_pk(_sad_u8), v_mqsad_pk_u16_u8=_sad_pk(_msad_u8)),
    **ops("4xb32", "u64 u32 4xb32", v_mqsad_u32_u8=_mqsad_u32),
    **ops("u16", "u32", v_sat_pk_u8_i16=_sat_pk),
    **ops("u16", "i32 i32 u32", v_ashr_pk_i8_i32=_ashr_pk(-128, 127), v_ashr_pk_u8_i32=_ashr_pk(0, 255)),
    **ops(
        "u16",
        "u16 u16",
        v_mul_lo_u16=np.multiply,
        v_lshlrev_b16=lambda by, value: lshl(value, by),
        v_lshrrev_b16=lambda by, value: shr(value, by),
    ),
    **ops("i16", "u16 i16", v_ashrrev_i16=lambda by, value: shr(value, by)),
    **ops("i16", "i16 i16", v_add_i16=np.add, v_sub_i16=np.subtract),
    **{f"v_{name}_{kind}": Op(run, kind, (kind, kind)) for name, run in _ADD_SUB.items() for kind in ("u32", "u16")},
    **{
        f"v_{name}_{kind}": Op(run, kind, (kind, kind))
        for name, run in _MIN_MAX.items()
        for kind in ("u32", "i32", "u16", "i16")
    },
    **{
        f"v_{name}_{kind}": Op(run, kind, (kind,) * 3)
        for name, run in _THREE.items()
        for kind in ("u32", "i32", "u16", "i16")
    },
    **{f"v_{name}_{kind}": Op(_mad, kind, (kind,) * 3) for name in ("mad", "mad_legacy") for kind in ("u16", "i16")},
    "v_bitop3_b32": Op(_bitop3, "u32", ("u32",) * 3, ("bitop3",)),
    "v_bitop3_b16": Op(_bitop3, "u16", ("u16",) * 3, ("bitop3",)),
}
