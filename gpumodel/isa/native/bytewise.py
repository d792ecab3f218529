"""Vector instructions on the bytes and halves of words as LLVM IR: differences, averages, saturation."""

from __future__ import annotations

from gpumodel.isa.native.bits import ashr, byte, joined, number
from gpumodel.isa.native.ir import Builder, Lower, Value, const


def _lerp(b: Builder, first: Value, second: Value, up: Value) -> Value:
    parts = []
    for i in range(4):
        total = b.two("add", byte(b, first, i), byte(b, second, i))
        rounding = number(b, "and", number(b, "lshr", up, 8 * i), 1)
        parts.append(number(b, "lshr", b.two("add", total, rounding), 1))
    return joined(b, parts, 8)


def _distance(b: Builder, first: Value, second: Value) -> Value:
    return b.two("sub", b.call("umax", first.type, [first, second]), b.call("umin", first.type, [first, second]))


def _sad_u8(b: Builder, first: Value, second: Value, total: Value) -> Value:
    for i in range(4):
        total = b.two("add", total, _distance(b, byte(b, first, i), byte(b, second, i)))
    return total


def _msad_u8(b: Builder, first: Value, second: Value, total: Value) -> Value:
    """Bytes whose reference (the second operand) is 0 are left out."""
    zero = const(total.type, 0)
    for i in range(4):
        reference = byte(b, second, i)
        distance = _distance(b, byte(b, first, i), reference)
        total = b.two("add", total, b.select(b.icmp("eq", reference, zero), zero, distance))
    return total


def _sad_hi(b: Builder, first: Value, second: Value, add: Value) -> Value:
    total = _sad_u8(b, first, second, const(add.type, 0))
    return b.two("add", number(b, "shl", total, 16), add)


def _sad_u16(b: Builder, first: Value, second: Value, total: Value) -> Value:
    low = _distance(b, number(b, "and", first, 0xFFFF), number(b, "and", second, 0xFFFF))
    high = _distance(b, number(b, "lshr", first, 16), number(b, "lshr", second, 16))
    return b.two("add", b.two("add", total, low), high)


def _sad_u32(b: Builder, first: Value, second: Value, total: Value) -> Value:
    return b.two("add", _distance(b, first, second), total)


def _windows(sad: Lower, b: Builder, first: Value, second: Value, starts: tuple[Value, ...]) -> list[Value]:
    """`sad` of four bytes of the 64-bit operand, from each of its first four bytes on."""
    parts = [b.cast("trunc", number(b, "lshr", first, 8 * i), "i32") for i in range(4)]
    return [sad(b, part, second, start) for part, start in zip(parts, starts, strict=True)]


def _sad_pk(sad: Lower) -> Lower:
    def lower(b: Builder, first: Value, second: Value, add: Value) -> Value:
        starts = [b.cast("trunc", number(b, "lshr", add, 16 * i), "i16") for i in range(4)]
        totals = _windows(sad, b, first, second, tuple(b.cast("zext", start, "i32") for start in starts))
        return joined(b, [b.cast("zext", b.cast("trunc", total, "i16"), "i64") for total in totals], 16)

    return lower


def _mqsad_u32(b: Builder, first: Value, second: Value, starts: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple(_windows(_msad_u8, b, first, second, starts))


def _clipped(b: Builder, value: Value, lowest: int, highest: int) -> Value:
    at_least = b.call("smax", value.type, [value, const(value.type, lowest)])
    return b.call("smin", value.type, [at_least, const(value.type, highest)])


def _sat_pk(b: Builder, value: Value) -> Value:
    halves = [b.cast("trunc", value, "i16"), b.cast("trunc", number(b, "lshr", value, 16), "i16")]
    return joined(b, [_clipped(b, half, 0, 255) for half in halves], 8)


def _ashr_pk(lowest: int, highest: int) -> Lower:
    def lower(b: Builder, first: Value, second: Value, by: Value) -> Value:
        parts = [_clipped(b, ashr(b, value, by), lowest, highest) for value in (first, second)]
        return b.cast("trunc", joined(b, [number(b, "and", part, 0xFF) for part in parts], 8), "i16")

    return lower


BYTES: dict[str, Lower] = {
    "v_lerp_u8": _lerp,
    "v_sad_u8": _sad_u8,
    "v_sad_hi_u8": _sad_hi,
    "v_sad_u16": _sad_u16,
    "v_sad_u32": _sad_u32,
    "v_msad_u8": _msad_u8,
    "v_qsad_pk_u16_u8": _sad_pk(_sad_u8),
    "v_mqsad_pk_u16_u8": _sad_pk(_msad_u8),
    "v_mqsad_u32_u8": _mqsad_u32,
    "v_sat_pk_u8_i16": _sat_pk,
    "v_ashr_pk_i8_i32": _ashr_pk(-128, 127),
    "v_ashr_pk_u8_i32": _ashr_pk(0, 255),
}
