"""Encodings into instructions: which one it is, how many bytes it takes, what its fields hold.

Source: instructions.txt beside this file (tools/gen_isa.py, out of LLVM's descriptions). Format names and where a literal
may follow: AMD CDNA3 ISA manual, "microcode formats". A row is `mask, value` over up to 128 bits. As LLVM's decoder does it,
long encodings are tried first, then by its namespaces, then those with more fixed bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

TARGETS = ("gfx942", "gfx950")
LONGEST = 16  # bytes
LITERAL = 255
_BUCKET_SHIFT = 23
_BUCKETS = 1 << 9
_SUFFIXES = ("e32", "e64", "sdwa", "dpp")
_FORMATS = (  # by the highest bits of the first dword: mask, value, name; the first that fits
    (0xFF800000, 0xBE800000, "SOP1"),
    (0xFF800000, 0xBF000000, "SOPC"),
    (0xFF800000, 0xBF800000, "SOPP"),
    (0xF0000000, 0xB0000000, "SOPK"),
    (0xC0000000, 0x80000000, "SOP2"),
    (0xFE000000, 0x7E000000, "VOP1"),
    (0xFE000000, 0x7C000000, "VOPC"),
    (0x80000000, 0x00000000, "VOP2"),
    (0xFC000000, 0xC0000000, "SMEM"),
    (0xFFC00000, 0xD3C00000, "MAI"),
    (0xFF800000, 0xD3800000, "VOP3P"),
    (0xFC000000, 0xD0000000, "VOP3"),
    (0xFC000000, 0xD4000000, "VINTRP"),
    (0xFC000000, 0xD8000000, "DS"),
    (0xFC000000, 0xDC000000, "FLAT"),
    (0xFC000000, 0xE0000000, "MUBUF"),
    (0xFC000000, 0xE8000000, "MTBUF"),
    (0xFC000000, 0xF0000000, "MIMG"),
    (0xFC000000, 0xC4000000, "EXP"),
)
_FLAT_SEGMENTS = ("FLAT", "SCRATCH", "GLOBAL", "FLAT")  # bits 15:14 of the first dword
_WITH_LITERAL = frozenset(("SOP1", "SOP2", "SOPC", "VOP1", "VOP2", "VOPC"))


@dataclass(frozen=True, slots=True)
class Field:
    """Bits `at` to `at + width - 1` of the encoding are bits `first` and up of the field."""

    name: str
    at: int
    width: int
    first: int


@dataclass(frozen=True, slots=True)
class Operand:
    """As the assembler writes it. `kind`: v VGPR, a AGPR, s scalar, x any source, i number; `dwords` it has."""

    name: str
    kind: str
    dwords: int


@dataclass(frozen=True, slots=True)
class Row:
    """One encoding. `encoding`: e32, e64, sdwa, dpp, or nothing where there is one only."""

    mask: int
    value: int
    size: int
    name: str
    encoding: str
    fields: tuple[Field, ...]
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Instruction:
    """`word`: the encoding as a number, little endian; `size` bytes of it; `literal`: the dword behind it, if it has one."""

    name: str
    encoding: str
    format: str
    size: int
    word: int
    literal: int | None
    fields: dict[str, int]
    operands: tuple[Operand, ...]

    def get(self, field: str) -> int:
        """The value of a field, 0 when this encoding has none of that name."""
        return self.fields.get(field, 0)

    def has(self, field: str) -> bool:
        return field in self.fields


class UnknownEncoding(Exception):
    """Bits that are no instruction of the target."""

    def __init__(self, target: str, word: int) -> None:
        super().__init__(f"{word & 0xFFFFFFFF:#010x} begins no instruction of {target}")
        self.target = target
        self.word = word & 0xFFFFFFFF


@lru_cache(maxsize=1024)
def _fields(text: str) -> tuple[Field, ...]:
    if text == "-":
        return ()
    found = []
    for part in text.split("+"):
        name, _, place = part.partition("@")
        at, _, width = place.partition(":")
        size, _, first = width.partition("/")
        found.append(Field(name, int(at), int(size), int(first or 0)))
    return tuple(found)


@lru_cache(maxsize=4096)
def _operands(text: str) -> tuple[Operand, ...]:
    if text == "-":
        return ()
    parts = (part.partition("=") for part in text.split("+"))
    return tuple(Operand(name, kind[0], int(kind[1:] or 1)) for name, _, kind in parts)


def _row(line: str) -> Row:
    _, _, mask, value, size, name, fields, operands = line.split(" ")
    base, _, suffix = name.rpartition("_")
    if suffix not in _SUFFIXES:
        base, suffix = name, ""
    return Row(int(mask, 16), int(value, 16), int(size), base, suffix, _fields(fields), _operands(operands))


@lru_cache(maxsize=2)
def _buckets(target: str) -> list[list[str]]:
    """Lines of the table by bits 31:23, in the order in which they are tried."""
    bit = 1 << TARGETS.index(target)
    buckets: list[list[tuple[int, int, int, str]]] = [[] for _ in range(_BUCKETS)]
    table = resources.files(__package__).joinpath("instructions.txt").read_text(encoding="ascii")
    for line in table.splitlines():
        if line.startswith("#") or not int(line[0]) & bit:
            continue
        _, order, mask_text, value_text, size, _ = line.split(" ", 5)
        mask, value = int(mask_text, 16), int(value_text, 16)
        free = ~(mask >> _BUCKET_SHIFT) & _BUCKETS - 1
        fixed = value >> _BUCKET_SHIFT & _BUCKETS - 1
        entry = (-int(size), int(order), -mask.bit_count(), line)
        bucket = free
        while True:  # all that fits into the bits that are free
            buckets[fixed | bucket].append(entry)
            if not bucket:
                break
            bucket = bucket - 1 & free
    return [[line for *_, line in sorted(bucket)] for bucket in buckets]


@lru_cache(maxsize=2 * _BUCKETS)
def _rows(target: str, bucket: int) -> tuple[Row, ...]:
    return tuple(_row(line) for line in _buckets(target)[bucket])


def rows(target: str) -> Iterator[Row]:
    """Every encoding of a target once."""
    seen: set[int] = set()
    for bucket in range(_BUCKETS):
        for row in _rows(target, bucket):
            if id(row) not in seen and (row.value >> _BUCKET_SHIFT & _BUCKETS - 1) == bucket:
                seen.add(id(row))
                yield row


def format_of(word: int) -> str:
    """The microcode format of a first dword."""
    if word >> 16 in (0xD3AC, 0xD3D3):  # v_mfma_ld_scale_b32 and what goes with it
        return "MAI"
    for mask, value, name in _FORMATS:
        if word & mask == value:
            return _FLAT_SEGMENTS[word >> 14 & 3] if name == "FLAT" else name
    return "unknown"


@lru_cache(maxsize=1 << 16)
def decode(target: str, word: int) -> Instruction:
    """`word`: up to 16 bytes from the instruction on, little endian. Raises UnknownEncoding."""
    for row in _rows(target, word >> _BUCKET_SHIFT & _BUCKETS - 1):
        if word & row.mask == row.value:
            return _instruction(row, word)
    raise UnknownEncoding(target, word)


def _instruction(row: Row, word: int) -> Instruction:
    fields: dict[str, int] = {}
    for field in row.fields:
        part = (word >> field.at & (1 << field.width) - 1) << field.first
        fields[field.name] = fields.get(field.name, 0) | part
    kind = format_of(word & 0xFFFFFFFF)
    size, literal = row.size, None
    if (
        size == 4
        and kind in _WITH_LITERAL
        and LITERAL in (fields.get("src0"), fields.get("src1", 0) if kind[0] == "S" else 0)
    ):
        literal, size = word >> 32 & 0xFFFFFFFF, 8
    return Instruction(row.name, row.encoding, kind, size, word & (1 << 8 * size) - 1, literal, fields, row.operands)


def decode_bytes(target: str, data: bytes, offset: int = 0) -> Instruction:
    """The instruction at an offset. Raises UnknownEncoding; a piece at the end is read as if zeros followed."""
    return decode(target, int.from_bytes(data[offset : offset + LONGEST], "little"))
