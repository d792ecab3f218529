"""Reading a tar archive that may come from a stranger: plain POSIX ustar with regular files, and nothing else.

gpumend writes such archives. Longer names, links, devices, sparse files and pax headers are refused by their type byte, so
no header of theirs is ever interpreted. Source: POSIX.1-2017 pax, "ustar Interchange Format"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from base.errors import InvalidData

BLOCK = 512
_CHUNK_BYTES = 1 << 20
_TYPES = {
    "1": "a hard link", "2": "a symbolic link", "3": "a character device", "4": "a block device", "6": "a FIFO",
    "7": "a contiguous file", "x": "a pax header", "g": "a global pax header", "L": "a GNU long name",
    "K": "a GNU long link", "S": "a sparse file",
}  # fmt: skip

Read = Callable[[int], bytes]  # exactly so many bytes, fewer only at the end of the stream


@dataclass(frozen=True, slots=True)
class Member:
    """One entry; `chunks` must be used up before the next one is asked for."""

    name: str
    size: int
    is_folder: bool
    chunks: Iterator[bytes]


def members(read: Read, *, where: str, most: int, most_bytes: int) -> Iterator[Member]:
    """The entries of a tar stream. Raises InvalidData for whatever is not as described above, or beyond the limits."""
    count = 0
    while True:
        header = read(BLOCK)
        if len(header) < BLOCK:
            raise _bad(where, "a whole archive", "it ends in the middle" if header or count else "it is empty")
        if not any(header):
            _end(read, where)
            return
        count += 1
        if count > most:
            raise _bad(where, f"at most {most} members", "more")
        name, size, is_folder = _header(header, where)
        if size > most_bytes:
            raise _bad(where, f"members of at most {most_bytes} bytes", f"{name!r}: {size} bytes")
        chunks = _content(read, size, name, where)
        yield Member(name, size, is_folder, chunks)
        for _ in chunks:
            pass


def _content(read: Read, size: int, name: str, where: str) -> Iterator[bytes]:
    left = size
    while left:
        chunk = read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise _bad(where, f"{size} bytes of {name!r}", f"the archive ends after {size - left}")
        left -= len(chunk)
        yield chunk
    padding = -size % BLOCK
    if padding and len(read(padding)) < padding:
        raise _bad(where, "a whole archive", f"it ends after {name!r}")


def _end(read: Read, where: str) -> None:
    """A second block of zeros, then zeros only: nobody hides anything behind the end."""
    if read(BLOCK) != bytes(BLOCK):
        raise _bad(where, "two blocks of zeros at the end", "one")
    while chunk := read(_CHUNK_BYTES):
        if any(chunk):
            raise _bad(where, "nothing behind the end of the archive", "more data")


def _header(header: bytes, where: str) -> tuple[str, int, bool]:
    checksum = _octal(header[148:156], where, "checksum")
    if checksum != sum(header[:148]) + 8 * 0x20 + sum(header[156:]):
        raise _bad(where, "a header whose checksum is right", "it is not: damaged, or no tar archive")
    if header[257:263] != b"ustar\0":
        raise _bad(where, "a POSIX ustar archive", f"magic {header[257:263]!r}")
    name, prefix = _text(header[:100]), _text(header[345:500])
    name = f"{prefix}/{name}" if prefix else name
    kind = chr(header[156]) if header[156] else "0"
    if kind not in "05":
        raise _bad(where, "regular files only", f"{name!r} is {_TYPES.get(kind, f'of type {kind!r}')}")
    size = _octal(header[124:136], where, "size")
    if kind == "5" and size:
        raise _bad(where, "a folder without content", f"{name!r}: {size} bytes")
    return name, size, kind == "5"


def _octal(field: bytes, where: str, what: str) -> int:
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    if not digits or any(digit not in b"01234567" for digit in digits):
        raise _bad(where, f"an octal {what}", repr(field))
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _bad(where: str, expected: str, seen: str) -> InvalidData:
    return InvalidData("reading the archive", expected=expected, seen=seen, where=where)
