"""The few packets that the programs of this folder send.

Source: Linux v7.3 amdgpu/soc15d.h (PM4), vega10_sdma_pkt_open.h (SDMA). Addresses in bytes."""

from __future__ import annotations

import struct

NEVER = 0x0BADBADB  # a value that nobody writes
SDMA_POLL_FOREVER = 0xFFF


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *(value & 0xFFFFFFFF for value in values))


def _address(value: int) -> tuple[int, int]:
    return value & 0xFFFFFFFF, value >> 32


def _pm4(opcode: int, *body: int) -> bytes:
    return words(3 << 30 | (len(body) - 1) << 16 | opcode << 8, *body)


def pm4_write(address: int, *values: int) -> bytes:
    """WRITE_DATA to memory, confirmed."""
    return _pm4(0x37, 5 << 8 | 1 << 20, *_address(address), *values)


def pm4_copy(target: int, source: int, size: int) -> bytes:
    """DMA_DATA from memory to memory, both through L2; the packets behind it wait for it."""
    return _pm4(0x50, 1 << 31 | 3 << 29 | 3 << 20, *_address(source), *_address(target), size)


def pm4_wait_equal(address: int, value: int) -> bytes:
    """WAIT_REG_MEM until a dword of memory has a value: without end when it never has."""
    return _pm4(0x3C, 3 | 1 << 4, *_address(address), value, 0xFFFFFFFF, 4)


def pm4_indirect(address: int, size: int) -> bytes:
    """INDIRECT_BUFFER: four dwords, as an AQL packet of the vendor's carries them."""
    return _pm4(0x3F, *_address(address), size // 4 | 1 << 23)


def pm4_pad(body: bytes) -> bytes:
    """To a multiple of eight dwords, with NOPs of one dword."""
    return body + words(0xFFFF1000) * (-(len(body) // 4) % 8)


def sdma_write(address: int, *values: int) -> bytes:
    return words(2, *_address(address), len(values) - 1, *values)


def sdma_copy(target: int, source: int, size: int) -> bytes:
    return words(1, size - 1, 0, *_address(source), *_address(target))


def sdma_fill(address: int, value: int, size: int) -> bytes:
    """CONST_FILL by dwords (fill size 2)."""
    return words(11 | 2 << 30, *_address(address), value, size - 1)


def sdma_fence(address: int, value: int) -> bytes:
    return words(5, *_address(address), value)


def sdma_trap(context: int) -> bytes:
    return words(6, context)


def sdma_wait_equal(address: int, value: int) -> bytes:
    """POLL_REGMEM of memory, without end."""
    header = 8 | 3 << 28 | 1 << 31
    return words(header, *_address(address), value, 0xFFFFFFFF, SDMA_POLL_FOREVER << 16 | 10)


def sdma_pad(body: bytes) -> bytes:
    return body + words(0) * (-(len(body) // 4) % 8)
