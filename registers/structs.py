"""Bases of the generated structures (registers/amd/structs_*.py): ctypes, little-endian, packed where the header says so.

    table = binary_header.from_buffer_copy(data)       # ValueError when data is too short
    table.binary_signature, sizeof(binary_header), binary_header.table_list.offset

An array whose length the header does not give (`base_address[]`) has length 0: it takes no room and marks where it starts."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import LittleEndianStructure as Struct
from ctypes import LittleEndianUnion as Union
from ctypes import c_char as char
from ctypes import c_int8 as i8
from ctypes import c_int16 as i16
from ctypes import c_int32 as i32
from ctypes import c_int64 as i64
from ctypes import c_uint8 as u8
from ctypes import c_uint16 as u16
from ctypes import c_uint32 as u32
from ctypes import c_uint64 as u64
from ctypes import sizeof
from typing import Any

__all__ = [
    "Packed", "Packed4", "PackedUnion", "Struct", "Union",
    "char", "each", "i8", "i16", "i32", "i64", "member_offsets", "sizeof", "u8", "u16", "u32", "u64",
]  # fmt: skip


class Packed(Struct):
    """Members lie side by side without gaps."""

    _pack_ = 1
    _layout_ = "ms"  # Python 3.14 wants to be told; the same bytes for what the headers hold


class Packed4(Struct):
    """Members are aligned to 4 bytes at most."""

    _pack_ = 4
    _layout_ = "ms"


class PackedUnion(Union):
    _pack_ = 1
    _layout_ = "ms"


def each(kind: type[Any], names: str) -> list[tuple[str, type[Any]]]:
    """Members of one type, names divided by blanks."""
    return [(name, kind) for name in names.split()]


def member_offsets(kind: type[Any], prefix: str = "", base: int = 0) -> Iterator[tuple[str, int, int, Any]]:
    """(path, offset, size in bytes, type) of every member that is not a bit field, inner structures with dotted paths."""
    for name, member, *width in kind._fields_:
        if width:
            continue
        offset = base + getattr(kind, name).offset
        path = f"{prefix}{name}"
        yield path, offset, sizeof(member), member
        if hasattr(member, "_fields_"):
            yield from member_offsets(member, f"{path}.", offset)
