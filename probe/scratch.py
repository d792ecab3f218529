"""A page that a child writes and its parent reads, also after the child was killed.

Two slots take turns, and the number of the newest is written last, so a child killed in the middle of writing leaves the
one before. Anonymous shared memory: nothing on disk, nothing to clean up but the mapping."""

from __future__ import annotations

import mmap
import struct

SLOT_BYTES = 1 << 20
_HEAD = struct.Struct("<Q")
_LENGTH = struct.Struct("<Q")


class Scratch:
    """Make it before the fork; `put` in the child, `get` in the parent."""

    def __init__(self, slot_bytes: int = SLOT_BYTES) -> None:
        self._slot_bytes = slot_bytes
        self._map = mmap.mmap(-1, mmap.PAGESIZE + 2 * slot_bytes)

    def put(self, data: bytes) -> bool:
        """Store `data` as the newest; False (and nothing changed) if it does not fit."""
        if len(data) + _LENGTH.size > self._slot_bytes:
            return False
        number = _HEAD.unpack_from(self._map, 0)[0] + 1
        start = mmap.PAGESIZE + (number & 1) * self._slot_bytes
        _LENGTH.pack_into(self._map, start, len(data))
        self._map[start + _LENGTH.size : start + _LENGTH.size + len(data)] = data
        _HEAD.pack_into(self._map, 0, number)
        return True

    def get(self) -> bytes | None:
        """The newest data; None when nothing was stored."""
        number = _HEAD.unpack_from(self._map, 0)[0]
        if number == 0:
            return None
        start = mmap.PAGESIZE + (number & 1) * self._slot_bytes
        length = _LENGTH.unpack_from(self._map, start)[0]
        return self._map[start + _LENGTH.size : start + _LENGTH.size + length]

    def close(self) -> None:
        self._map.close()
