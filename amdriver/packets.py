"""What the packets of SDMA, PM4 and AQL share: fields with their checks, the text of a decoded packet, the ring write.

A packet is one long little-endian number: field NAME of dword D, bits msb:lsb, lies at bit 32*D + lsb. A `Shape` lists the
fields of one kind of packet once, and both directions use it: `build` refuses what does not fit, `values` and `text` read
back. Decoders get what a stuck engine left behind, so they take any number, look at a bounded part and never raise.

Source of the address rule: Linux v7.3 amdgpu_gmc.h (AMDGPU_GMC_HOLE_START/END): 48 bits, the upper half sign-extended."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from base.errors import UsageError

U32: Final = 0xFFFF_FFFF
U64: Final = 0xFFFF_FFFF_FFFF_FFFF
ADDRESS_END: Final = 1 << 48
UPPER_HALF: Final = 0xFFFF_8000_0000_0000
SHOWN_DWORDS: Final = 8  # of a payload, in a decoded line

Words = Sequence[int] | bytes | bytearray | memoryview
Buffer = bytearray | memoryview


class Decoded(NamedTuple):
    """One packet of a stream: where it starts, how many dwords it claims, what it says."""

    at: int
    dwords: int
    text: str


def refused(packet: str, expected: str, seen: str, next_step: str = "") -> UsageError:
    """The one way in which a builder says no."""
    return UsageError(f"building {packet}", expected=expected, seen=seen, next_step=next_step, verb="refused")


def check_range(packet: str, name: str, value: int, low: int, high: int) -> int:
    """`value` when it lies in low..high, else UsageError with the name."""
    if low <= value <= high:
        return value
    raise refused(packet, f"{name} in {low}..{high:#x}", f"{name}={value:#x}")


def check_address(packet: str, name: str, address: int, alignment: int = 1, size_bytes: int = 1) -> int:
    """An address that the GPU can form, aligned, with `size_bytes` behind it on the same side of the hole."""
    if address % alignment:
        raise refused(packet, f"{name} aligned to {alignment} bytes", f"{name}={address:#x}")
    low = address >= 0 and address + size_bytes <= ADDRESS_END
    high = address >= UPPER_HALF and address + size_bytes <= U64 + 1
    if low or high:
        return address
    raise refused(
        packet,
        f"{name}..+{size_bytes:#x} below {ADDRESS_END:#x} or from {UPPER_HALF:#x} on",
        f"{name}={address:#x}",
        "upper addresses must be sign-extended from bit 47",
    )


def words_of(words: Words, start: int = 0, count: int | None = None) -> list[int]:
    """Dwords start..start+count as plain numbers below 2^32; fewer when there are fewer. Bytes are read as little-endian."""
    start = max(0, start)
    if isinstance(words, bytes | bytearray | memoryview):
        raw = _raw(words)
        end = len(raw) // 4 if count is None else min(len(raw) // 4, start + count)
        return list(struct.unpack_from(f"<{max(0, end - start)}I", raw, 4 * start)) if end > start else []
    end = len(words) if count is None else start + count
    return [int(word) & U32 for word in words[start:end]]


def _raw(data: bytes | bytearray | memoryview) -> memoryview:
    """As single bytes, whatever the view's own items are."""
    view = memoryview(data)
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def pack_words(packet: str, values: Sequence[int] | bytes | bytearray | memoryview) -> bytes:
    """Payload dwords: from bytes (whole dwords) or from numbers (each must fit in 32 bits); never empty."""
    if isinstance(values, bytes | bytearray | memoryview):
        data = bytes(values)
        if not data or len(data) % 4:
            raise refused(packet, "data of at least one whole dword", f"{len(data)} bytes")
        return data
    if len(values) == 0:
        raise refused(packet, "data of at least one whole dword", "0 dwords")
    try:
        return struct.pack(f"<{len(values)}I", *values)
    except struct.error:
        at, bad = next((at, value) for at, value in enumerate(values) if not 0 <= value <= U32)
        raise refused(packet, "data dwords in 0..0xffffffff", f"data[{at}]={bad:#x}") from None


class Field(NamedTuple):
    """Bits msb:lsb from dword `dword` on; msb beyond 31 runs on into the next dword.

    An address (always 64 bits wide) keeps its place: its low `lsb` bits are not stored and must be 0. `minus` is what the
    packet stores less."""

    name: str
    dword: int
    msb: int
    lsb: int
    style: str = "hex"
    names: type[IntEnum] | None = None
    minus: int = 0

    @property
    def shift(self) -> int:
        return 32 * self.dword + self.lsb

    @property
    def mask(self) -> int:
        return (1 << (self.msb - self.lsb + 1)) - 1

    def stored(self, packet: str, value: int) -> int:
        """The bits of this field at their place in the whole packet."""
        if self.style == "address":
            check_address(packet, self.name, value, 1 << self.lsb)
            return value >> self.lsb << self.shift
        check_range(packet, self.name, value, self.minus, self.mask + self.minus)
        return value - self.minus << self.shift

    def value(self, whole: int) -> int:
        stored = whole >> self.shift & self.mask
        return stored << self.lsb if self.style == "address" else stored + self.minus

    def text(self, whole: int) -> str:
        value = self.value(whole)
        if self.style == "flag":
            return self.name if value else ""
        if self.names is not None:
            return f"{self.name}={_member(self.names, value)}"
        return f"{self.name}={value}" if self.style == "number" else f"{self.name}={value:#x}"


def _member(names: type[IntEnum], value: int) -> str:
    known = names._value2member_map_.get(value)
    return known.name if isinstance(known, names) else f"{value:#x}?"


def number(name: str, dword: int, place: tuple[int, int], minus: int = 0) -> Field:
    """Shown in decimal; `minus`=1 where the packet stores a count less one."""
    return Field(name, dword, *place, style="number", minus=minus)


def hexa(name: str, dword: int, place: tuple[int, int] = (31, 0)) -> Field:
    return Field(name, dword, *place)


def flag(name: str, dword: int, bit: int) -> Field:
    """One bit; the text names it only when it is set."""
    return Field(name, dword, bit, bit, "flag")


def choice(name: str, dword: int, place: tuple[int, int], names: type[IntEnum]) -> Field:
    return Field(name, dword, *place, names=names)


def address(name: str, dword: int, low_bit: int = 0) -> Field:
    """A 64-bit address in two dwords, its lowest `low_bit` bits 0."""
    return Field(name, dword, 63, low_bit, "address")


class Shape:
    """One kind of packet: its name, its length without payload, bits that never change, its fields."""

    __slots__ = ("_simple", "by_name", "dwords", "fields", "fixed", "name")

    def __init__(self, name: str, dwords: int, fixed: int, *fields: Field) -> None:
        self.name, self.dwords, self.fixed, self.fields = name, dwords, fixed, fields
        self.by_name = {field.name: field for field in fields}
        # What `build` needs of each field: (least, most, shift, bits that must be 0); addresses below the hole.
        self._simple = {
            field.name: (0, ADDRESS_END - 1, 32 * field.dword, (1 << field.lsb) - 1)
            if field.style == "address"
            else (field.minus, field.mask + field.minus, field.shift, 0)
            for field in fields
        }

    def build(self, **values: int) -> bytes:
        """The packet without payload; fields that are not named are 0. UsageError for what does not fit."""
        whole = self.fixed
        simple = self._simple
        for name, given in values.items():
            value = int(given)
            least, most, shift, zeros = simple.get(name, _NEVER)
            if least <= value <= most and not value & zeros:
                whole |= value - least << shift
            else:
                whole |= self.by_name[name].stored(self.name, value)
        return whole.to_bytes(4 * self.dwords, "little")

    def values(self, words: Words) -> dict[str, int]:
        whole = _whole(words_of(words, 0, self.dwords))
        return {field.name: field.value(whole) for field in self.fields}

    def text(self, words: Sequence[int]) -> str:
        """Name and fields; says so when the packet is cut off."""
        if len(words) < self.dwords:
            return f"{self.name} cut off after {len(words)} of {self.dwords} dwords: {show(words)}"
        whole = _whole(words[: self.dwords])
        parts = (field.text(whole) for field in self.fields)
        return " ".join([self.name.split(" ", 1)[1], *(part for part in parts if part)])


_NEVER: Final = (1, 0, 0, 0)  # a name that does not exist takes the careful way, and fails there


def _whole(words: Sequence[int]) -> int:
    return int.from_bytes(struct.pack(f"<{len(words)}I", *words), "little")


def show(words: Sequence[int], total: int | None = None) -> str:
    """The first dwords in hexadecimal, and how many more there are."""
    total = len(words) if total is None else total
    text = " ".join(f"{word:08x}" for word in words[:SHOWN_DWORDS])
    left = total - min(len(words), SHOWN_DWORDS)
    return f"{text} (+{left} more)" if left > 0 else text


def stream(words: Words, start: int, one: Callable[[Sequence[int], int], Decoded], most: int) -> Iterator[Decoded]:
    """Packet after packet from `start` on, at most `most`; each step moves on by at least one dword."""
    at = max(0, start)
    length = len(_raw(words)) // 4 if isinstance(words, bytes | bytearray | memoryview) else len(words)
    for _ in range(most):
        if at >= length:
            return
        packet = one(words_of(words, at, LOOK_DWORDS), at)
        yield packet
        at += max(1, packet.dwords)


LOOK_DWORDS: Final = (
    32  # what a decoder sees of one packet: the longest without payload (MAP_PROCESS, 21), and some payload
)


def ring_write(ring: memoryview, wptr_dwords: int, packets: bytes | bytearray | memoryview) -> int:
    """Copy whole dwords into a ring of bytes at a write pointer that never wraps itself; returns the new write pointer.

    One slice, two where the ring's end lies between. The caller knows the read pointer and leaves room."""
    size, count = len(ring), len(packets)
    if count % 4 or not 0 < count <= size:
        raise refused("ring write", f"whole dwords, 4..{size} bytes", f"{count} bytes")
    begin = 4 * wptr_dwords % size
    if begin + count <= size:
        ring[begin : begin + count] = packets
    else:
        first = size - begin
        ring[begin:] = packets[:first]
        ring[: count - first] = packets[first:]
    return wptr_dwords + count // 4
