"""Methods for host, copy engine and compute engine, as bytes for a pushbuffer. Pure; addresses are GPU addresses.

Source: open-gpu-doc classes clc36f.h (headers), clc86f.h and clc76f.h (host), clc8b5.h (copy; the same methods from Turing to
Blackwell), clcbc0.h (compute); golden values: nvidia-rm.md section 14. One call of struct a packet: a packet is built in
less time than a method header takes where each is put together by itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

HOST, COMPUTE, COPY = 0, 1, 4  # subchannels

MOST_COPY_BYTES: Final = 1 << 31  # LINE_LENGTH_IN has 32 bits
MOST_FILL_ELEMENTS: Final = 1 << 29

SEM_ACQUIRE_GEQ, SEM_RELEASE = 3, 1
_WFI, _WIDE, _STAMP, _SWITCH = 1 << 20, 1 << 24, 1 << 25, 1 << 12
_LAUNCH_COPY: Final = 0x182  # non-pipelined, pitch to pitch
_LAUNCH_FILL: Final = _LAUNCH_COPY | 1 << 10  # remap
_LAUNCH_RELEASE: Final = 0x14  # flush, four words with the time
_MASK: Final = 0xFFFFFFFF


def header(subchannel: int, method: int, count: int) -> int:
    """`count` dwords for consecutive methods."""
    return 1 << 29 | count << 16 | subchannel << 13 | method >> 2


def _h(subchannel: int, method: int, count: int) -> bytes:
    return struct.pack("<I", header(subchannel, method, count))


_SET_OBJECT = {one: _h(one, 0x00, 1) for one in (COMPUTE, COPY)}
_SEMAPHORE = struct.Struct("<6I")
_SEMAPHORE_HEADER = header(HOST, 0x5C, 5)
_COPY = struct.Struct("<9I")
_OFFSETS, _LENGTH, _LAUNCH = header(COPY, 0x400, 4), header(COPY, 0x418, 1), header(COPY, 0x300, 1)
_RELEASE = struct.Struct("<6I")
_CE_SEMAPHORE = header(COPY, 0x240, 3)
_FILL = struct.Struct("<11I")
_OUT, _CONST, _COMPONENTS = header(COPY, 0x408, 2), header(COPY, 0x700, 1), header(COPY, 0x708, 1)
_DISPATCH = struct.Struct("<4I")
_PCAS, _PCAS2 = header(COMPUTE, 0x2B4, 1), header(COMPUTE, 0x2C0, 1)
_PREFETCH_AND_SCHEDULE: Final = 9


def set_object(subchannel: int, number: int) -> bytes:
    """Bind an engine's class to a subchannel."""
    return _SET_OBJECT[subchannel] + number.to_bytes(4, "little")


# Words: the same as numbers, for who gathers them in a list; they may be expressions that are numbers only later.


def release_words(address: Any, value: Any) -> tuple[Any, ...]:
    return (
        _SEMAPHORE_HEADER,
        address & _MASK,
        address >> 32,
        value & _MASK,
        value >> 32,
        SEM_RELEASE | _WFI | _WIDE | _STAMP,
    )


def acquire_words(address: Any, value: Any) -> tuple[Any, ...]:
    return (
        _SEMAPHORE_HEADER,
        address & _MASK,
        address >> 32,
        value & _MASK,
        value >> 32,
        SEM_ACQUIRE_GEQ | _WIDE | _SWITCH,
    )


def store32_words(address: Any, value: Any) -> tuple[Any, ...]:
    return _SEMAPHORE_HEADER, address & _MASK, address >> 32, value, 0, SEM_RELEASE | _WFI


def copy_words(target: Any, source: Any, size: int) -> tuple[Any, ...]:
    """At most MOST_COPY_BYTES."""
    return _OFFSETS, source >> 32, source & _MASK, target >> 32, target & _MASK, _LENGTH, size, _LAUNCH, _LAUNCH_COPY


def copy_release_words(address: Any, value: Any) -> tuple[Any, ...]:
    return _CE_SEMAPHORE, address >> 32, address & _MASK, value & _MASK, _LAUNCH, _LAUNCH_RELEASE


INTERRUPT_WORDS: Final = (header(HOST, 0x20, 1), 0)
INVALIDATE_WORDS: Final = (header(COMPUTE, 0x1698, 1), 0x1011)  # instructions, data, constants; no wait


def release(address: int, value: int) -> bytes:
    """The host writes `value` (64 bits) and the time (nanoseconds, at +8) once all work before it is done. 16-byte aligned."""
    return _SEMAPHORE.pack(*release_words(address, value))


def store32(address: int, value: int) -> bytes:
    """The host writes 32 bits once all work before it is done."""
    return _SEMAPHORE.pack(*store32_words(address, value))


def acquire(address: int, value: int) -> bytes:
    """The channel waits until 64 bits there are `value` or later (they may wrap); others of its group run meanwhile."""
    return _SEMAPHORE.pack(*acquire_words(address, value))


def interrupt() -> bytes:
    """An interrupt that does not stop the channel."""
    return struct.pack("<II", *INTERRUPT_WORDS)


def copy(target: int, source: int, size: int) -> bytes:
    """Bytes from one address to another; they must not overlap. Split where it is too long for one launch."""
    if size <= MOST_COPY_BYTES:
        return _COPY.pack(
            _OFFSETS, source >> 32, source & _MASK, target >> 32, target & _MASK, _LENGTH, size, _LAUNCH, _LAUNCH_COPY
        )  # copy_words, written out: this is called most
    pieces = range(0, size, MOST_COPY_BYTES)
    return b"".join(copy(target + at, source + at, min(MOST_COPY_BYTES, size - at)) for at in pieces)


def fill(target: int, value: int, size: int) -> bytes:
    """`size` bytes of `value` (0 to 255): single bytes up to a multiple of 4, dwords, single bytes."""
    return b"".join(_fill(at, value, size_each, count) for at, size_each, count in _runs(target, size))


def _runs(target: int, size: int) -> Iterator[tuple[int, int, int]]:
    """(address, bytes an element, elements)"""
    head = min(-target % 4, size)
    body, tail = divmod(size - head, 4)
    if head:
        yield target, 1, head
    for done in range(0, body, MOST_FILL_ELEMENTS):
        yield target + head + 4 * done, 4, min(MOST_FILL_ELEMENTS, body - done)
    if tail:
        yield target + head + 4 * body, 1, tail


def _fill(target: int, value: int, size_each: int, count: int) -> bytes:
    """One component of the target, made of constant A."""
    return _FILL.pack(
        _CONST, value * 0x01010101, _COMPONENTS, 4 | (size_each - 1) << 16,
        _OUT, target >> 32, target & _MASK, _LENGTH, count, _LAUNCH, _LAUNCH_FILL,
    )  # fmt: skip


def copy_release(address: int, value: int) -> bytes:
    """The copy engine flushes, then writes `value` (32 bits, 0 after it) and the time (at +8). 16-byte aligned."""
    return _RELEASE.pack(*copy_release_words(address, value))


def dispatch(qmd_address: int) -> bytes:
    """Run what a QMD (a multiple of 256) says."""
    return _DISPATCH.pack(_PCAS, qmd_address >> 8, _PCAS2, _PREFETCH_AND_SCHEDULE)


def invalidate_caches() -> bytes:
    """Instruction, data and constant caches of the shaders: what was written is seen by what runs next."""
    return struct.pack("<II", *INVALIDATE_WORDS)
