"""The `$PS1` wrapper in front of every signed payload.

Source: known from AMD's files only (no document, no kernel code). 0x100 bytes of header, the body, 0x200 of signature."""

from __future__ import annotations

import struct

from firmware.model import Ps1Header

MAGIC = b"$PS1"
MAGIC_OFFSET = 0x10
HEADER_BYTES = 0x100


def read(data: bytes, offset: int, size: int) -> Ps1Header | None:
    """The wrapper of the payload at `offset`; None when the payload is shorter than one or the magic is not there."""
    if size < HEADER_BYTES or offset + size > len(data):
        return None
    if data[offset + MAGIC_OFFSET : offset + MAGIC_OFFSET + 4] != MAGIC:
        return None

    def word(position: int) -> int:
        value: int = struct.unpack_from("<I", data, offset + position)[0]
        return value

    return Ps1Header(
        body_bytes=word(0x14),
        encrypted=word(0x18) != 0,
        signed=word(0x30) != 0,
        compressed=word(0x48) != 0,
        uncompressed_bytes=word(0x50),
        compressed_bytes=word(0x54),
        version=word(0x60),
        total_bytes=word(0x6C),
    )
