"""Packets of SDMA 4.4.x (4.4.2, 4.4.4, 4.4.5): builders that return bytes, a batch of copies in one vector write, a decoder.

    sdma_packets.copy_linear(dst=0x80_0020_0000, src=0x80_0010_0000, size_bytes=4096)
    sdma_packets.decode(words)            # "COPY_LINEAR size_bytes=4096 src=0x8000100000 dst=0x8000200000"

Source: Linux v7.3 vega10_sdma_pkt_open.h (opcodes and places, generated into registers/amd/structs_sdma.py); sdma_v4_4_2.c
(limits, alignment, the end of an INDIRECT packet on 8 dwords); vega10_enum.h (TC_OP, the atomic operations).
Sizes are bytes unless a name says dwords. Addresses are those of the VMID in which the packet runs.
The count of a copy or fill: the header file gives 22 bits, the 4.4.2 code 2^30 bytes a packet; the code wins."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from amdriver.packets import (
    ADDRESS_END,
    LOOK_DWORDS,
    U32,
    UPPER_HALF,
    Buffer,
    Decoded,
    Field,
    Shape,
    Words,
    address,
    check_address,
    check_range,
    choice,
    flag,
    hexa,
    number,
    pack_words,
    refused,
    show,
    stream,
    words_of,
)
from base.errors import UsageError
from registers.amd.structs_sdma import PACKETS, Op, SubOp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

COPY_LIMIT_BYTES: Final = 1 << 30
FILL_LIMIT_BYTES: Final = 1 << 30
COPY_DWORDS: Final = 7
FILL_DWORDS: Final = 5
INDIRECT_DWORDS: Final = 6
FOREVER: Final = 0xFFF  # retry count of a poll
_FILL_DWORD: Final = 2  # fillsize: 0 byte, 1 word, 2 dword


class Function(IntEnum):
    """What a poll compares: memory FUNCTION reference (sdma_v4_4_2.c uses 3; the order is that of WAIT_REG_MEM)."""

    ALWAYS = 0
    LESS = 1
    LESS_EQUAL = 2
    EQUAL = 3
    NOT_EQUAL = 4
    GREATER_EQUAL = 5
    GREATER = 6


class Atomic(IntEnum):
    """TC_OP of vega10_enum.h; the `_64` ones work on 8 bytes."""

    SWAP_RTN_32 = 0x07
    CMPSWAP_RTN_32 = 0x08
    ADD_RTN_32 = 0x0F
    SUB_RTN_32 = 0x10
    AND_RTN_32 = 0x15
    OR_RTN_32 = 0x16
    XOR_RTN_32 = 0x17
    SWAP_RTN_64 = 0x27
    CMPSWAP_RTN_64 = 0x28
    ADD_RTN_64 = 0x2F
    SUB_RTN_64 = 0x30
    AND_RTN_64 = 0x35
    OR_RTN_64 = 0x36
    XOR_RTN_64 = 0x37
    SWAP_32 = 0x47
    CMPSWAP_32 = 0x48
    ADD_32 = 0x4F
    SUB_32 = 0x50
    AND_32 = 0x55
    OR_32 = 0x56
    XOR_32 = 0x57
    SWAP_64 = 0x67
    CMPSWAP_64 = 0x68
    ADD_64 = 0x6F
    SUB_64 = 0x70
    AND_64 = 0x75
    OR_64 = 0x76
    XOR_64 = 0x77

    @property
    def size_bytes(self) -> int:
        return 8 if self & 0x20 else 4  # TC_OP_MASK_64


# --- where the fields lie ---------------------------------------------------------------------------------------------


def _place(packet: str, header_name: str) -> tuple[int, tuple[int, int]]:
    """(dword, (msb, lsb)) as AMD's header has it."""
    for name, dword, msb, lsb in PACKETS[packet]:
        if name == header_name:
            return dword, (msb, lsb)
    raise KeyError(f"{packet}.{header_name}")


def _long(packet: str, low: str, name: str) -> Field:
    """An address whose low dword the header calls `low`; the high dword follows."""
    dword, (_, lsb) = _place(packet, low)
    return address(name, dword, lsb)


def _aligned(field: Field, low_bit: int) -> Field:
    """The header gives all 32 bits of the low dword to the address; the engine wants the lowest ones 0."""
    return field._replace(lsb=low_bit)


def _fixed(op: Op, sub_op: int = 0) -> int:
    return op | sub_op << 8


_COUNT_30: Final = (29, 0)

NOP = Shape("SDMA NOP", 1, _fixed(Op.NOP), number("dwords", *_place("NOP", "HEADER_count"), minus=1))
COPY_LINEAR = Shape(
    "SDMA COPY_LINEAR",
    COPY_DWORDS,
    _fixed(Op.COPY, SubOp.COPY_LINEAR),
    number("size_bytes", _place("COPY_LINEAR", "COUNT_count")[0], _COUNT_30, minus=1),
    _long("COPY_LINEAR", "SRC_ADDR_LO_src_addr_31_0", "src"),
    _long("COPY_LINEAR", "DST_ADDR_LO_dst_addr_31_0", "dst"),
    flag("encrypt", 0, _place("COPY_LINEAR", "HEADER_encrypt")[1][1]),
    flag("tmz", 0, _place("COPY_LINEAR", "HEADER_tmz")[1][1]),
    flag("broadcast", 0, _place("COPY_LINEAR", "HEADER_broadcast")[1][1]),
)
WRITE_LINEAR = Shape(
    "SDMA WRITE_LINEAR",
    4,
    _fixed(Op.WRITE, SubOp.WRITE_LINEAR),
    _aligned(_long("WRITE_UNTILED", "DST_ADDR_LO_dst_addr_31_0", "dst"), 2),
    number("dwords", *_place("WRITE_UNTILED", "DW_3_count"), minus=1),
)
CONST_FILL = Shape(
    "SDMA CONST_FILL",
    FILL_DWORDS,
    _fixed(Op.CONST_FILL),
    number("fillsize", *_place("CONSTANT_FILL", "HEADER_fillsize")),
    _aligned(_long("CONSTANT_FILL", "DST_ADDR_LO_dst_addr_31_0", "dst"), 0),
    hexa("value", *_place("CONSTANT_FILL", "DATA_src_data_31_0")),
    number("size_bytes", _place("CONSTANT_FILL", "COUNT_count")[0], _COUNT_30, minus=1),
)
FENCE = Shape(
    "SDMA FENCE",
    4,
    _fixed(Op.FENCE),
    _aligned(_long("FENCE", "ADDR_LO_addr_31_0", "address"), 2),
    hexa("value", *_place("FENCE", "DATA_data")),
)
TRAP = Shape("SDMA TRAP", 2, _fixed(Op.TRAP), hexa("context", *_place("TRAP", "INT_CONTEXT_int_context")))
_POLL_COMMON = (
    choice("function", *_place("POLL_REGMEM", "HEADER_func"), Function),
    hexa("reference", *_place("POLL_REGMEM", "VALUE_value")),
    hexa("mask", *_place("POLL_REGMEM", "MASK_mask")),
    number("interval", *_place("POLL_REGMEM", "DW5_interval")),
    hexa("retries", *_place("POLL_REGMEM", "DW5_retry_count")),
    flag("hdp_flush", 0, _place("POLL_REGMEM", "HEADER_hdp_flush")[1][1]),
)
_MEM_POLL: Final = 1 << _place("POLL_REGMEM", "HEADER_mem_poll")[1][1]
POLL_MEMORY = Shape(
    "SDMA POLL_MEMORY",
    6,
    _fixed(Op.POLL_REGMEM) | _MEM_POLL,
    _aligned(_long("POLL_REGMEM", "ADDR_LO_addr_31_0", "address"), 2),
    *_POLL_COMMON,
)
# A register is given by its byte address, so its dword number lies two bits up. The second one is the request register of
# an HDP flush, written before the first is polled.
POLL_REGISTER = Shape(
    "SDMA POLL_REGISTER",
    6,
    _fixed(Op.POLL_REGMEM),
    hexa("register", 1, (19, 2)),
    hexa("request", 2, (19, 2)),
    *_POLL_COMMON,
)
COND_EXE = Shape(
    "SDMA COND_EXE",
    5,
    _fixed(Op.COND_EXE),
    _aligned(_long("COND_EXE", "ADDR_LO_addr_31_0", "address"), 2),
    hexa("reference", *_place("COND_EXE", "REFERENCE_reference")),
    number("dwords", *_place("COND_EXE", "EXEC_COUNT_exec_count")),
)
ATOMIC = Shape(
    "SDMA ATOMIC",
    8,
    _fixed(Op.ATOMIC),
    choice("operation", *_place("ATOMIC", "HEADER_atomic_op"), Atomic),
    _aligned(_long("ATOMIC", "ADDR_LO_addr_31_0", "address"), 2),
    hexa("source", _place("ATOMIC", "SRC_DATA_LO_src_data_31_0")[0], (63, 0)),
    hexa("compare", _place("ATOMIC", "CMP_DATA_LO_cmp_data_31_0")[0], (63, 0)),
    number("interval", *_place("ATOMIC", "LOOP_INTERVAL_loop_interval")),
    flag("loop", 0, _place("ATOMIC", "HEADER_loop")[1][1]),
)
INDIRECT = Shape(
    "SDMA INDIRECT",
    INDIRECT_DWORDS,
    _fixed(Op.INDIRECT),
    number("vmid", *_place("INDIRECT", "HEADER_vmid")),
    _aligned(_long("INDIRECT", "BASE_LO_ib_base_31_0", "base"), 5),
    number("dwords", *_place("INDIRECT", "IB_SIZE_ib_size")),
    _long("INDIRECT", "CSA_ADDR_LO_csa_addr_31_0", "csa"),
)
# The header has no packet of this name; its WRITE_INCR has the layout that the kernel writes under the PTEPDE opcode.
PTEPDE_GEN = Shape(
    "SDMA PTEPDE_GEN",
    10,
    _fixed(Op.PTEPDE, SubOp.PTEPDE_GEN),
    _aligned(_long("WRITE_INCR", "DST_ADDR_LO_dst_addr_31_0", "dst"), 3),
    hexa("mask", _place("WRITE_INCR", "MASK_DW0_mask_dw0")[0], (63, 0)),
    hexa("value", _place("WRITE_INCR", "INIT_DW0_init_dw0")[0], (63, 0)),
    hexa("increment", _place("WRITE_INCR", "INCR_DW0_incr_dw0")[0], (63, 0)),
    number("entries", *_place("WRITE_INCR", "COUNT_count"), minus=1),
)
TIMESTAMP_GET = Shape(
    "SDMA TIMESTAMP_GET",
    3,
    _fixed(Op.TIMESTAMP, SubOp.TIMESTAMP_GET),
    _long("TIMESTAMP_GET", "WRITE_ADDR_LO_write_addr_31_3", "address"),
)
TIMESTAMP_GET_GLOBAL = Shape(
    "SDMA TIMESTAMP_GET_GLOBAL",
    3,
    _fixed(Op.TIMESTAMP, SubOp.TIMESTAMP_GET_GLOBAL),
    _long("TIMESTAMP_GET_GLOBAL", "WRITE_ADDR_LO_write_addr_31_3", "address"),
)
SRBM_WRITE = Shape(
    "SDMA SRBM_WRITE",
    3,
    _fixed(Op.SRBM_WRITE),
    hexa("register", *_place("SRBM_WRITE", "ADDR_addr")),
    hexa("value", *_place("SRBM_WRITE", "DATA_data")),
    hexa("byte_enable", *_place("SRBM_WRITE", "HEADER_byte_en")),
)

NOP_LIMIT_DWORDS: Final = NOP.by_name["dwords"].mask + 1
WRITE_LIMIT_DWORDS: Final = WRITE_LINEAR.by_name["dwords"].mask + 1


# --- copies and fills -------------------------------------------------------------------------------------------------

_COPY = struct.Struct("<IIIQQ")
_COPY_HEADER: Final = COPY_LINEAR.fixed


def copy_linear(dst: int, src: int, size_bytes: int) -> bytes:
    """Copy of any size; one packet of 7 dwords for each 2^30 bytes. Any alignment. UsageError for size 0 and bad addresses."""
    if (
        0 < size_bytes <= COPY_LIMIT_BYTES
        and 0 <= dst <= ADDRESS_END - size_bytes
        and 0 <= src <= ADDRESS_END - size_bytes
    ):
        return _COPY.pack(_COPY_HEADER, size_bytes - 1, 0, src, dst)
    return b"".join(
        _COPY.pack(_COPY_HEADER, size - 1, 0, src + at, dst + at) for at, size in _pieces(dst, src, size_bytes)
    )


def copy_linear_into(buffer: Buffer, at_bytes: int, dst: int, src: int, size_bytes: int) -> int:
    """The same written at `at_bytes` of a buffer; returns where the next packet goes. UsageError when it does not fit."""
    if (
        0 < size_bytes <= COPY_LIMIT_BYTES
        and 0 <= dst <= ADDRESS_END - size_bytes
        and 0 <= src <= ADDRESS_END - size_bytes
        and 0 <= at_bytes <= len(buffer) - 4 * COPY_DWORDS
    ):
        _COPY.pack_into(buffer, at_bytes, _COPY_HEADER, size_bytes - 1, 0, src, dst)
        return at_bytes + 4 * COPY_DWORDS
    need = 4 * COPY_DWORDS * copy_packets(size_bytes)
    if at_bytes < 0 or at_bytes + need > len(buffer):
        raise refused("SDMA COPY_LINEAR", f"{need} bytes of room", f"offset {at_bytes} of {len(buffer)} bytes")
    for at, size in _pieces(dst, src, size_bytes):
        _COPY.pack_into(buffer, at_bytes, _COPY_HEADER, size - 1, 0, src + at, dst + at)
        at_bytes += 4 * COPY_DWORDS
    return at_bytes


def copy_packets(size_bytes: int) -> int:
    """How many packets a copy of this size takes."""
    return -(-size_bytes // COPY_LIMIT_BYTES)


def _pieces(dst: int, src: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """(offset, size) of each packet of a copy, after all checks."""
    check_range("SDMA COPY_LINEAR", "size_bytes", size_bytes, 1, ADDRESS_END)
    check_address("SDMA COPY_LINEAR", "dst", dst, 1, size_bytes)
    check_address("SDMA COPY_LINEAR", "src", src, 1, size_bytes)
    for at in range(0, size_bytes, COPY_LIMIT_BYTES):
        yield at, min(COPY_LIMIT_BYTES, size_bytes - at)


def copy_linear_batch(
    dst: ArrayLike, src: ArrayLike, size_bytes: ArrayLike, out: NDArray[np.uint32] | None = None
) -> NDArray[np.uint32]:
    """Many copies at once: the dwords of all packets, 7 each, in the order given; long copies are split.

    dst, src, size_bytes: n numbers each, or one for all. `out`: a contiguous uint32 array with room, of which the used part
    is returned. UsageError names the first copy that is wrong; nothing was written then."""
    import numpy as np

    dsts, srcs, sizes = _columns(dst, src, size_bytes)
    _check_columns(dsts, srcs, sizes)
    if len(sizes) and int(sizes.max()) > COPY_LIMIT_BYTES:
        dsts, srcs, sizes = _split(dsts, srcs, sizes)
    count = len(sizes)
    need = count * COPY_DWORDS
    if out is None:
        out = np.empty(need, "<u4")
    elif out.dtype != np.dtype("<u4") or not out.flags.c_contiguous or out.size < need:
        raise refused(_BATCH, f"a contiguous uint32 array of {need} dwords or more", f"{out.dtype} x {out.size}")
    used: NDArray[np.uint32] = out.reshape(-1)[:need]
    rows = used.reshape(count, COPY_DWORDS)
    rows[:, 0] = _COPY_HEADER
    rows[:, 1] = sizes - np.uint64(1)
    rows[:, 2] = 0
    for column, addresses in ((3, srcs), (5, dsts)):
        halves = addresses.view("<u4")
        rows[:, column] = halves[0::2]
        rows[:, column + 1] = halves[1::2]
    return used


_BATCH: Final = "SDMA COPY_LINEAR batch"


def _columns(*columns: ArrayLike) -> list[NDArray[np.uint64]]:
    """dst, src, size_bytes as contiguous uint64 arrays of one length."""
    import numpy as np

    arrays = []
    for name, column in zip(("dst", "src", "size_bytes"), columns, strict=True):
        array = np.atleast_1d(np.asarray(column))
        if array.dtype.kind in "fO" and not isinstance(column, np.ndarray):
            # NumPy makes floats of a list that holds small numbers and some from 2^63 on.
            exact = np.asarray(column, object)
            if all(isinstance(value, int) and 0 <= value < 1 << 64 for value in exact.flat):
                array = exact.astype("<u8")
        if array.size and array.dtype.kind not in "iu":
            raise refused(_BATCH, f"{name} of whole numbers below 2^64", f"{name} of type {array.dtype}")
        if array.dtype.kind == "i" and array.size and int(array.min()) < 0:
            raise refused(_BATCH, f"{name} of whole numbers from 0 on", f"{name} with {int(array.min())}")
        arrays.append(array.astype("<u8", copy=False))
    lengths = {array.size for array in arrays}
    if len(lengths - {1}) > 1 or any(array.ndim > 1 for array in arrays):
        shapes = " ".join(str(array.shape) for array in arrays)
        raise refused(_BATCH, "one number or as many numbers for each of dst, src, size_bytes", shapes)
    if len(lengths) > 1:
        arrays = list(np.broadcast_arrays(*arrays))
    return [np.ascontiguousarray(array) for array in arrays]


def _check_columns(dst: NDArray[np.uint64], src: NDArray[np.uint64], sizes: NDArray[np.uint64]) -> None:
    """UsageError for the first copy that copy_linear would refuse."""
    import numpy as np

    if not len(sizes):
        return
    longest = int(sizes.max())
    if int(sizes.min()) and longest <= ADDRESS_END - max(int(dst.max()), int(src.max())):
        return  # what nearly always holds, without a temporary array
    end, upper, zero = np.uint64(ADDRESS_END), np.uint64(UPPER_HALF), np.uint64(0)
    good = (sizes > zero) & (sizes <= end)
    for start in (dst, src):
        # In 64 bits, 0 - size is 2^64 - size: the last address in the upper half at which `size` bytes may begin.
        good &= (start <= end - sizes) | ((start >= upper) & (start <= zero - sizes))
    if bool(good.all()):
        return
    first = int(np.argmin(good))
    try:
        copy_linear(int(dst[first]), int(src[first]), int(sizes[first]))
    except UsageError as error:
        raise refused(f"{_BATCH}, copy {first}", error.expected, error.seen, error.next_step) from None


def _split(
    dst: NDArray[np.uint64], src: NDArray[np.uint64], sizes: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Every copy above the limit becomes several, in place of the one."""
    import numpy as np

    limit = np.uint64(COPY_LIMIT_BYTES)
    pieces = ((sizes + limit - np.uint64(1)) // limit).astype(np.int64)
    owner = np.repeat(np.arange(len(sizes)), pieces)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    at = nth.astype(np.uint64) * limit
    return dst[owner] + at, src[owner] + at, np.minimum(sizes[owner] - at, limit)


def const_fill(dst: int, value: int, size_bytes: int) -> bytes:
    """Fill with one dword; size and address in whole dwords, one packet of 5 dwords for each 2^30 bytes.

    The kernel leaves the fill size at 0; 2 says dword, and the two lowest bits of the count do not matter then."""
    name = CONST_FILL.name
    check_range(name, "size_bytes", size_bytes, 1, ADDRESS_END)
    if size_bytes % 4:
        raise refused(
            name, "size_bytes in whole dwords", f"size_bytes={size_bytes}", "write the rest with WRITE_LINEAR"
        )
    check_address(name, "dst", dst, 4, size_bytes)
    return b"".join(
        CONST_FILL.build(
            fillsize=_FILL_DWORD, dst=dst + at, value=value, size_bytes=min(FILL_LIMIT_BYTES, size_bytes - at)
        )
        for at in range(0, size_bytes, FILL_LIMIT_BYTES)
    )


def write_linear(dst: int, data: Sequence[int] | bytes) -> bytes:
    """Write dwords that travel in the packet itself; split where the 20-bit count ends."""
    payload = pack_words(WRITE_LINEAR.name, data)
    check_address(WRITE_LINEAR.name, "dst", dst, 4, len(payload))
    parts = []
    for at in range(0, len(payload), 4 * WRITE_LIMIT_DWORDS):
        part = payload[at : at + 4 * WRITE_LIMIT_DWORDS]
        parts += [WRITE_LINEAR.build(dst=dst + at, dwords=len(part) // 4), part]
    return b"".join(parts)


# --- the others -------------------------------------------------------------------------------------------------------


def nop(dwords: int = 1) -> bytes:
    """Nothing, `dwords` long in all: the header counts the dwords that the engine skips.

    Old firmware does not skip; what is skipped is made of one-dword NOPs, so that both come out the same."""
    return NOP.build(dwords=dwords) + bytes(4 * (dwords - 1))


def pad(at_dword: int, multiple: int = 8, remainder: int = 0) -> bytes:
    """One-dword NOPs from ring or IB position `at_dword` up to the next one that is `remainder` modulo `multiple`."""
    check_range(NOP.name, "at_dword", at_dword, 0, (1 << 62) - 1)
    return bytes(4 * ((remainder - at_dword) % multiple))


def fence(addr: int, value: int) -> bytes:
    """Write one dword when everything before it is done."""
    return FENCE.build(address=addr, value=value)


def fence_long(addr: int, value: int) -> bytes:
    """Write 64 bits as two fences, low dword first: a reader that polls sees the high dword change last."""
    check_range(FENCE.name, "value", value, 0, (1 << 64) - 1)
    check_address(FENCE.name, "address", addr, 8, 8)
    return fence(addr, value & U32) + fence(addr + 4, value >> 32)


def trap(context: int = 0) -> bytes:
    """Interrupt; `context` (28 bits) comes back in the IH entry."""
    return TRAP.build(context=context)


def poll_memory(
    addr: int,
    reference: int,
    mask: int = U32,
    function: Function = Function.EQUAL,
    *,
    interval: int = 4,
    retries: int = FOREVER,
) -> bytes:
    """Wait until (dword at `addr` & mask) FUNCTION reference. The kernel polls memory with interval 4."""
    return POLL_MEMORY.build(
        address=addr, function=function, reference=reference, mask=mask, interval=interval, retries=retries
    )


def poll_register(
    register: int,
    reference: int,
    mask: int = U32,
    function: Function = Function.EQUAL,
    *,
    interval: int = 10,
    retries: int = FOREVER,
) -> bytes:
    """Wait for a register (dword number, 18 bits, local to the AID of the engine). The kernel uses interval 10."""
    return POLL_REGISTER.build(
        register=register, function=function, reference=reference, mask=mask, interval=interval, retries=retries
    )


def hdp_flush(done_register: int, request_register: int, bits: int) -> bytes:
    """Write `bits` to the request register, wait until they stand in the done register."""
    return POLL_REGISTER.build(
        register=done_register,
        request=request_register,
        function=Function.EQUAL,
        reference=bits,
        mask=bits,
        interval=10,
        retries=FOREVER,
        hdp_flush=1,
    )


def timestamp(addr: int, *, global_clock: bool = True) -> bytes:
    """Write the 64-bit clock: the one that all engines share, or the engine's own. 8-byte aligned."""
    return (TIMESTAMP_GET_GLOBAL if global_clock else TIMESTAMP_GET).build(address=addr)


def atomic(
    addr: int, operation: Atomic, source: int, compare: int = 0, *, loop: bool = False, interval: int = 0
) -> bytes:
    """Atomic on memory; `loop` repeats a compare-and-swap until it succeeds. Aligned to the size of the operation."""
    check_address(ATOMIC.name, "address", addr, operation.size_bytes, operation.size_bytes)
    high = (1 << 8 * operation.size_bytes) - 1
    check_range(ATOMIC.name, "source", source, 0, high)
    check_range(ATOMIC.name, "compare", compare, 0, high)
    return ATOMIC.build(address=addr, operation=operation, source=source, compare=compare, loop=loop, interval=interval)


def cond_exe(addr: int, reference: int, dwords: int) -> bytes:
    """Skip the next `dwords` unless the dword at `addr` equals the reference."""
    check_range(COND_EXE.name, "dwords", dwords, 1, COND_EXE.by_name["dwords"].mask)
    return COND_EXE.build(address=addr, reference=reference, dwords=dwords)


def indirect(at_dword: int, base: int, dwords: int, vmid: int = 0, csa: int = 0) -> bytes:
    """Run an indirect buffer of `dwords` at `base` (32-byte aligned).

    The packet must end on 8 dwords, so it depends on where it is put: `at_dword` is the ring position at which these bytes
    will lie (the write pointer in dwords); NOPs come first."""
    check_range(INDIRECT.name, "dwords", dwords, 1, INDIRECT.by_name["dwords"].mask)
    packet = INDIRECT.build(vmid=vmid, base=base, dwords=dwords, csa=csa)
    return pad(at_dword, 8, 8 - INDIRECT_DWORDS) + packet


def ptepde_gen(dst: int, value: int, mask: int, increment: int, entries: int) -> bytes:
    """Write `entries` page-table entries of 8 bytes: mask | (value + n * increment)."""
    check_range(PTEPDE_GEN.name, "entries", entries, 1, PTEPDE_GEN.by_name["entries"].mask + 1)
    check_address(PTEPDE_GEN.name, "dst", dst, 8, 8 * entries)
    return PTEPDE_GEN.build(dst=dst, mask=mask, value=value, increment=increment, entries=entries)


def srbm_write(register: int, value: int, byte_enable: int = 0xF) -> bytes:
    """Write a register (dword number, 18 bits, local to the AID of the engine)."""
    return SRBM_WRITE.build(register=register, value=value, byte_enable=byte_enable)


# --- reading back -----------------------------------------------------------------------------------------------------

_BY_OP: Final = {
    (shape.fixed & 0xFF, shape.fixed >> 8 & 0xFF): shape
    for shape in (
        NOP, COPY_LINEAR, WRITE_LINEAR, CONST_FILL, FENCE, TRAP, COND_EXE, ATOMIC, INDIRECT, PTEPDE_GEN,
        TIMESTAMP_GET, TIMESTAMP_GET_GLOBAL, SRBM_WRITE, POLL_REGISTER,
    )
}  # fmt: skip
_BROADCAST_DWORDS: Final = 2  # a second destination behind a copy


def shape_of(header: int) -> Shape | None:
    """The packet that a header dword begins; None for those that this driver does not use."""
    op, sub_op = header & 0xFF, header >> 8 & 0xFF
    if op == Op.POLL_REGMEM and sub_op == 0 and header & _MEM_POLL:
        return POLL_MEMORY
    return _BY_OP.get((op, 0 if op == Op.ATOMIC else sub_op))


def decode(words: Words) -> str:
    """The first packet as one line: name and fields. Never raises, whatever the words are."""
    return _one(words_of(words, 0, LOOK_DWORDS), 0).text


def decode_stream(words: Words, start: int = 0, most: int = 1024) -> Iterator[Decoded]:
    """The packets from dword `start` on, at most `most`."""
    return stream(words, start, _one, most)


def _one(words: Sequence[int], at: int) -> Decoded:
    if not words:
        return Decoded(at, 0, "nothing")
    shape = shape_of(words[0])
    if shape is None:
        return Decoded(at, 1, _unknown(words[0]))
    text = shape.text(words)
    if len(words) < shape.dwords:
        return Decoded(at, len(words), text)
    values = shape.values(words)
    if shape is NOP:
        return Decoded(at, values["dwords"], text)
    if shape is WRITE_LINEAR:
        count = values["dwords"]
        return Decoded(at, shape.dwords + count, f"{text} data: {show(words[4 : 4 + count], count)}")
    return Decoded(at, shape.dwords + (_BROADCAST_DWORDS if values.get("broadcast") else 0), text)


def _unknown(header: int) -> str:
    op, sub_op = header & 0xFF, header >> 8 & 0xFF
    known = Op._value2member_map_.get(op)
    name = known.name if isinstance(known, Op) else f"unknown SDMA op {op:#x}"
    return f"{name} sub {sub_op:#x}, not decoded: {header:08x}"
