"""Where operands come from and where results go, bound once an instruction: a function of the waves for each.

Types are the words of gpumodel/isa/op.py. Codes of sources, inline constants and their meaning by type: AMD CDNA3 ISA
manual, "scalar operands" and "vector operand modifiers"; modifiers as LLVM numbers them (bit 0 neg or neg_lo, 1 abs or
neg_hi, 2 op_sel, 3 op_sel_hi, 4 sext of SDWA)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gpumodel.isa.stop import NotModelled
from gpumodel.isa.waves import EXEC, M0, VCC, Array, Waves

Fetch = Callable[[Waves], Array]
Store = Callable[[Waves, Array], None]

VGPR0, LITERAL = 256, 255
VCCZ, EXECZ, SCC = 251, 252, 253
SHARED_BASE, SHARED_LIMIT, PRIVATE_BASE, PRIVATE_LIMIT = 235, 236, 237, 238
FLOATS = {240: 0.5, 241: -0.5, 242: 1.0, 243: -1.0, 244: 2.0, 245: -2.0, 246: 4.0, 247: -4.0, 248: 0.15915494309189532}
_INV_2PI_F16, _INV_2PI_F32, _INV_2PI_F64 = 0x3118, 0x3E22F983, 0x3FC45F306DC9C882
NEG, ABS, OP_SEL, OP_SEL_HI, SEXT = 1, 2, 4, 8, 16
SDWA_DWORD = 6

DTYPES = {
    "u32": np.uint32,
    "b32": np.uint32,
    "i32": np.int32,
    "f32": np.float32,
    "u16": np.uint16,
    "b16": np.uint16,
    "i16": np.int16,
    "f16": np.float16,
    "bf16": np.uint16,
    "u8": np.uint8,
    "i8": np.int8,
    "u64": np.uint64,
    "b64": np.uint64,
    "i64": np.int64,
    "f64": np.float64,
}
SIGNS = {"f32": 0x80000000, "f16": 0x8000, "bf16": 0x8000, "f64": 1 << 63}
_U32 = np.uint32


@dataclass(frozen=True, slots=True)
class Source:
    """One source: its code of nine bits, modifiers, the literal behind the instruction, what SDWA selects of it."""

    code: int
    modifiers: int = 0
    literal: int | None = None
    select: int = SDWA_DWORD

    @property
    def constant(self) -> bool:
        return 128 <= self.code <= 208 or self.code in FLOATS or self.code == LITERAL


def bits_of(kind: str) -> int:
    return 64 if kind.endswith("64") else 16 if kind.endswith("16") else 8 if kind.endswith("8") else 32


def constant_bits(source: Source, kind: str) -> int:
    """The bits of an inline constant or literal as an operand of that type (64 bits where it has 64, else 32)."""
    code, width = source.code, bits_of(kind)
    if code == LITERAL:
        if source.literal is None:
            raise NotModelled("a literal where none can stand")
        if kind == "f64":
            return source.literal << 32
        if kind == "i64" and source.literal >> 31:
            return source.literal | 0xFFFFFFFF << 32
        return source.literal
    if code in FLOATS:
        if code == 248:
            return {16: _INV_2PI_F16, 64: _INV_2PI_F64}.get(width, _INV_2PI_F32) if kind != "bf16" else 0x3E22
        if kind == "bf16":
            return int.from_bytes(struct.pack("<f", FLOATS[code]), "little") >> 16
        return int.from_bytes(struct.pack({16: "<e", 64: "<d"}.get(width, "<f"), FLOATS[code]), "little")
    value = code - 128 if code <= 192 else 192 - code
    return value & (1 << (64 if width == 64 else 32)) - 1


def _mask_flag(mask: Array) -> Array:
    return np.logical_not(mask.any(axis=1))


def scalar_word(code: int) -> Fetch:
    """A scalar register or value as uint32 [waves] or [1]; no constant."""
    if code < 128:
        return lambda waves: waves.s(code)
    if code == SCC:
        return lambda waves: waves.scc.astype(_U32)
    if code == EXECZ:
        return lambda waves: _mask_flag(waves.active).astype(_U32)
    if code == VCCZ:
        return lambda waves: ((waves.s(VCC) | waves.s(VCC + 1)) == 0).astype(_U32)
    raise NotModelled(f"source operand {code}")


def scalar32(source: Source) -> Fetch:
    """uint32 [waves] or [1]."""
    if source.constant:
        value = np.array([constant_bits(source, "u32")], _U32)
        return lambda waves: value
    return scalar_word(source.code)


def scalar64(source: Source, kind: str = "u64") -> Fetch:
    """uint64 [waves] or [1]."""
    code = source.code
    if source.constant:
        value = np.array([constant_bits(source, kind)], np.uint64)
        return lambda waves: value
    if code < 127:
        return lambda waves: waves.s64(code)
    if code in (SHARED_BASE, PRIVATE_BASE):
        which = code == PRIVATE_BASE
        return lambda waves: np.array([waves.context.apertures[which] << 48], np.uint64)
    word = scalar_word(code)
    return lambda waves: word(waves).astype(np.uint64)


def words(source: Source) -> Fetch:
    """32 bits of a source without modifiers, uint32 that broadcasts to [waves][lanes]."""
    code = source.code
    if code >= VGPR0:
        index = code - VGPR0
        return lambda waves: waves.v(index)
    if source.constant:
        value = np.array([[constant_bits(source, "u32")]], _U32)
        return lambda waves: value
    scalar = scalar_word(code)
    return lambda waves: scalar(waves)[:, None]


def word_at(source: Source, place: int) -> Fetch:
    """The dword `place` of a source that has several."""
    if source.constant:
        raise NotModelled("a constant as one of several dwords")
    return words(Source(source.code + place))


def _wide(source: Source, kind: str) -> Fetch:
    """64 bits."""
    code = source.code
    if code >= VGPR0:
        index = code - VGPR0
        return lambda waves: waves.v64(index)
    if source.constant:
        value = np.array([[constant_bits(source, kind)]], np.uint64)
        return lambda waves: value
    scalar = scalar64(source)
    return lambda waves: scalar(waves)[:, None]


def sdwa_field(select: int) -> tuple[int, int]:
    """First bit, and how many, of what SDWA selects where that is not all."""
    return (8 * select, 8) if select < 4 else (16 * (select - 4), 16)


def selected(fetch: Fetch, select: int, sext: bool) -> Fetch:
    """What SDWA selects: bytes 0 to 3, words 4 and 5, all 6; extended to 32 bits."""
    if select == SDWA_DWORD:
        return fetch
    shift, width = sdwa_field(select)
    low, up = _U32(shift), _U32(32 - width)
    if not sext:
        keep = _U32((1 << width) - 1)
        return lambda waves: fetch(waves) >> low & keep
    return lambda waves: (((fetch(waves) >> low) << up).view(np.int32) >> np.int32(up)).view(_U32)


def _signed(fetch: Fetch, modifiers: int, sign: int, kind: type) -> Fetch:
    """abs, then neg, by the bits."""
    bit, rest = kind(sign), kind(sign - 1)
    if modifiers & ABS and modifiers & NEG:
        return lambda waves: fetch(waves) & rest | bit
    if modifiers & ABS:
        return lambda waves: fetch(waves) & rest
    return lambda waves: fetch(waves) ^ bit


def half_words(source: Source, kind: str, high: bool) -> Fetch:
    """16 bits of a source, uint16: of its low or its high half."""
    if source.constant:
        value = np.array([[constant_bits(source, kind) >> (16 if high else 0) & 0xFFFF]], np.uint16)
        return lambda waves: value
    whole = words(source)
    if high:
        return lambda waves: (whole(waves) >> _U32(16)).astype(np.uint16)
    return lambda waves: whole(waves).astype(np.uint16)


@lru_cache(maxsize=1 << 12)
def fetch(source: Source, kind: str) -> Fetch:
    """A source as an array of its type; packed types are pair()'s. The same function for the same source."""
    width = bits_of(kind)
    dtype = DTYPES[kind]
    sign = SIGNS.get(kind)
    get: Fetch
    raw: type
    if width == 64:
        get, raw = _wide(source, kind), np.uint64
    elif width == 32:
        get, raw = selected(words(source), source.select, bool(source.modifiers & SEXT)), np.uint32
    elif source.select != SDWA_DWORD:
        narrow = selected(words(source), source.select, bool(source.modifiers & SEXT))
        get, raw = (lambda waves: narrow(waves).astype(np.uint16)), np.uint16
    else:
        get, raw = half_words(source, kind, bool(source.modifiers & OP_SEL)), np.uint16
    if width == 8:
        wide = get
        return lambda waves: wide(waves).astype(dtype)
    if sign is not None and source.modifiers & (NEG | ABS):
        get = _signed(get, source.modifiers, sign, raw)
    if dtype is raw:
        return get
    final = get
    return lambda waves: final(waves).view(dtype)


def pair(source: Source, kind: str) -> Callable[[Waves], tuple[Array, Array]]:
    """A packed source ("2xf16"): which half, or which dword of "2xf32", each of the two takes, and its sign."""
    part = kind.removeprefix("2x")
    places = bool(source.modifiers & OP_SEL), bool(source.modifiers & OP_SEL_HI)
    negs = source.modifiers & NEG, source.modifiers & ABS  # neg_lo, neg_hi
    if bits_of(part) == 32:
        gets = [
            fetch(Source(source.code, NEG if neg else 0, source.literal), part)
            if source.constant  # guess: both dwords of an inline constant are the constant
            else fetch(Source(source.code + place, NEG if neg else 0), part)
            for place, neg in zip(places, negs, strict=True)
        ]
    else:
        gets = [
            fetch(Source(source.code, (OP_SEL if place else 0) | (NEG if neg else 0), source.literal), part)
            for place, neg in zip(places, negs, strict=True)
        ]
    low, high = gets
    return lambda waves: (low(waves), high(waves))


def mix(source: Source) -> Fetch:
    """An operand of v_fma_mix: f32, or with op_sel_hi the half that op_sel names, as f32."""
    signs = source.modifiers & (NEG | ABS)
    if not source.modifiers & OP_SEL_HI:
        return fetch(Source(source.code, signs, source.literal), "f32")
    half = fetch(Source(source.code, signs | source.modifiers & OP_SEL, source.literal), "f16")
    return lambda waves: half(waves).astype(np.float32)


def mask_fetch(code: int) -> Fetch:
    """A pair of SGPRs, a lane a bit."""
    if code < 128:
        return lambda waves: waves.mask(code)
    if 128 <= code <= 208:
        word = constant_bits(Source(code), "u64")
        bits = np.array([[bool(word >> lane & 1) for lane in range(64)]])
        return lambda waves: bits[:, : waves.lanes]
    raise NotModelled(f"operand {code} as a mask")


def store_words(index: int) -> Store:
    return lambda waves, value: waves.set_v(index, value)


def as_words(value: Array) -> Array:
    """Any 32-bit array as uint32."""
    return value if value.dtype == np.uint32 else value.view(np.uint32)


def store_mask(pair_index: int) -> Store:
    """A compare: lanes that are off become 0."""

    def store(waves: Waves, value: Array) -> None:
        waves.set_mask(pair_index, waves.full(value) if waves.all_active else waves.active & value)

    return store


def scalar_place(code: int) -> int:
    """Where a scalar destination lies."""
    if code < 128 and code not in (125,) and not 108 <= code <= 123:
        return code
    raise NotModelled(f"scalar destination {code}")


__all__ = ["EXEC", "M0", "VCC", "Array", "Fetch", "Source", "Store", "Waves"]
