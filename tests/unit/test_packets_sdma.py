"""SDMA packets: exact dwords, dwords out of AMD's header, splits, refusals, the decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdriver import sdma_packets as sdma
from amdriver.packets import Decoded
from amdriver.sdma_packets import Atomic, Function
from base.errors import UsageError
from tests.unit.packet_macros import Macros, macros, words

HEADER = "amdgpu/vega10_sdma_pkt_open.h"
GIB = 1 << 30
SRC, DST = 0x0080_1234_5678, 0x0081_9ABC_DEF0

addresses = st.integers(0, (1 << 48) - 1) | st.integers(0xFFFF_8000_0000_0000, (1 << 64) - 1)
dwords32 = st.integers(0, 0xFFFF_FFFF)


def dword_addresses(alignment: int) -> st.SearchStrategy[int]:
    return addresses.map(lambda at: at & -alignment)


# --- literal dwords ---------------------------------------------------------------------------------------------------

LITERAL: list[tuple[str, bytes, list[int]]] = [
    ("nop", sdma.nop(), [0]),
    ("nop of 4", sdma.nop(4), [0x0003_0000, 0, 0, 0]),
    ("copy", sdma.copy_linear(DST, SRC, 4096), [1, 4095, 0, 0x1234_5678, 0x80, 0x9ABC_DEF0, 0x81]),
    ("copy of one byte", sdma.copy_linear(3, 1, 1), [1, 0, 0, 1, 0, 3, 0]),
    # The ring test of the kernel: one dword 0xDEADBEEF.
    ("write", sdma.write_linear(0x1_0000_0008, [0xDEAD_BEEF]), [2, 8, 1, 0, 0xDEAD_BEEF]),
    ("write bytes", sdma.write_linear(8, b"\1\0\0\0\2\0\0\0"), [2, 8, 0, 1, 1, 2]),
    ("fill", sdma.const_fill(0x1_0000_0010, 0xAA, 64), [0x8000_000B, 0x10, 1, 0xAA, 63]),
    ("fence", sdma.fence(0x2_0000_0004, 7), [5, 4, 2, 7]),
    ("fence 64", sdma.fence_long(0x8, 0x1_0000_0002), [5, 8, 0, 2, 5, 12, 0, 1]),
    ("trap", sdma.trap(), [6, 0]),
    ("trap with context", sdma.trap(0xFFF_FFFF), [6, 0xFFF_FFFF]),
    # Pipeline sync of the kernel: memory, equal, interval 4, retry for ever.
    ("poll memory", sdma.poll_memory(0x3_0000_0010, 9), [0xB000_0008, 0x10, 3, 9, 0xFFFF_FFFF, 0x0FFF_0004]),
    # reg_wait of the kernel: the register's dword number is shifted by two.
    ("poll register", sdma.poll_register(0x1000, 1, 1), [0x3000_0008, 0x4000, 0, 1, 1, 0x0FFF_000A]),
    ("hdp flush", sdma.hdp_flush(0x106, 0x107, 4), [0x3400_0008, 0x418, 0x41C, 4, 4, 0x0FFF_000A]),
    ("global timestamp", sdma.timestamp(0x4_0000_0018), [0x20D, 0x18, 4]),
    ("timestamp", sdma.timestamp(0x18, global_clock=False), [0x10D, 0x18, 0]),
    ("atomic", sdma.atomic(0x40, Atomic.ADD_RTN_64, 1), [0x5E00_000A, 0x40, 0, 1, 0, 0, 0, 0]),
    (
        "compare and swap in a loop",
        sdma.atomic(0x40, Atomic.CMPSWAP_RTN_32, 5, 6, loop=True, interval=9),
        [0x1001_000A, 0x40, 0, 5, 0, 6, 0, 9],
    ),
    ("cond_exe", sdma.cond_exe(0x44, 1, 0x3FFF), [9, 0x44, 0, 1, 0x3FFF]),
    ("indirect at 2", sdma.indirect(2, 0x5_0000_0020, 8, vmid=3), [0x0003_0004, 0x20, 5, 8, 0, 0]),
    ("indirect at 0", sdma.indirect(0, 0x20, 8), [0, 0, 4, 0x20, 0, 8, 0, 0]),
    (
        "ptepde_gen",
        sdma.ptepde_gen(0x1_0000_0008, 0x2_0000_1000, 0x73, 0x1000, 512),
        [12, 8, 1, 0x73, 0, 0x1000, 2, 0x1000, 0, 511],
    ),
    ("srbm_write", sdma.srbm_write(0x1_FFFF, 0xCAFE), [0xF000_000E, 0x1_FFFF, 0xCAFE]),
    ("pad", sdma.pad(13), [0, 0, 0]),
]


@pytest.mark.parametrize(("built", "expected"), [row[1:] for row in LITERAL], ids=[row[0] for row in LITERAL])
def test_sdma_packet_has_the_dwords_worked_out_by_hand(built: bytes, expected: list[int]) -> None:
    assert words(built) == expected


# --- dwords out of AMD's own header -----------------------------------------------------------------------------------


def low(value: int) -> int:
    return value & 0xFFFF_FFFF


def op(m: Macros, name: str, sub: str = "") -> int:
    sub_op = m.call("SDMA_PKT_HEADER_SUB_OP", m[f"SDMA_SUBOP_{sub}"]) if sub else 0
    return m.call("SDMA_PKT_HEADER_OP", m[f"SDMA_OP_{name}"]) | sub_op


FROM_HEADER: dict[str, tuple[bytes, Callable[[Macros], list[int]]]] = {
    "nop": (sdma.nop(3), lambda m: [op(m, "NOP") | m.call("SDMA_PKT_NOP_HEADER_COUNT", 2), 0, 0]),
    "copy": (
        sdma.copy_linear(DST, SRC, 1 << 20),
        lambda m: [
            op(m, "COPY", "COPY_LINEAR"),
            m.call("SDMA_PKT_COPY_LINEAR_COUNT_COUNT", (1 << 20) - 1),
            0,
            m.call("SDMA_PKT_COPY_LINEAR_SRC_ADDR_LO_SRC_ADDR_31_0", low(SRC)),
            m.call("SDMA_PKT_COPY_LINEAR_SRC_ADDR_HI_SRC_ADDR_63_32", SRC >> 32),
            m.call("SDMA_PKT_COPY_LINEAR_DST_ADDR_LO_DST_ADDR_31_0", low(DST)),
            m.call("SDMA_PKT_COPY_LINEAR_DST_ADDR_HI_DST_ADDR_63_32", DST >> 32),
        ],
    ),
    "write": (
        sdma.write_linear(DST, [7, 8, 9]),
        lambda m: [
            op(m, "WRITE", "WRITE_LINEAR"), low(DST), DST >> 32, m.call("SDMA_PKT_WRITE_UNTILED_DW_3_COUNT", 2), 7, 8, 9,
        ],
    ),
    "fill": (
        sdma.const_fill(DST, 0x1234_5678, 4096),
        lambda m: [
            op(m, "CONST_FILL") | m.call("SDMA_PKT_CONSTANT_FILL_HEADER_FILLSIZE", 2),
            low(DST), DST >> 32, 0x1234_5678, m.call("SDMA_PKT_CONSTANT_FILL_COUNT_COUNT", 4095),
        ],
    ),
    "fence": (sdma.fence(DST, 5), lambda m: [op(m, "FENCE"), low(DST), DST >> 32, m.call("SDMA_PKT_FENCE_DATA_DATA", 5)]),
    "trap": (sdma.trap(77), lambda m: [op(m, "TRAP"), m.call("SDMA_PKT_TRAP_INT_CONTEXT_INT_CONTEXT", 77)]),
    "poll": (
        sdma.poll_memory(DST, 5, 6, Function.NOT_EQUAL, interval=0xABC, retries=0x123),
        lambda m: [
            op(m, "POLL_REGMEM")
            | m.call("SDMA_PKT_POLL_REGMEM_HEADER_FUNC", 4)
            | m.call("SDMA_PKT_POLL_REGMEM_HEADER_MEM_POLL", 1),
            low(DST), DST >> 32, 5, 6,
            m.call("SDMA_PKT_POLL_REGMEM_DW5_INTERVAL", 0xABC) | m.call("SDMA_PKT_POLL_REGMEM_DW5_RETRY_COUNT", 0x123),
        ],
    ),
    "hdp": (
        sdma.hdp_flush(1, 2, 8),
        lambda m: [
            op(m, "POLL_REGMEM")
            | m.call("SDMA_PKT_POLL_REGMEM_HEADER_FUNC", 3)
            | m.call("SDMA_PKT_POLL_REGMEM_HEADER_HDP_FLUSH", 1),
            1 << 2, 2 << 2, 8, 8,
            m.call("SDMA_PKT_POLL_REGMEM_DW5_INTERVAL", 10) | m.call("SDMA_PKT_POLL_REGMEM_DW5_RETRY_COUNT", 0xFFF),
        ],
    ),
    "timestamp": (
        sdma.timestamp(DST),
        lambda m: [
            op(m, "TIMESTAMP", "TIMESTAMP_GET_GLOBAL"),
            m.call("SDMA_PKT_TIMESTAMP_GET_GLOBAL_WRITE_ADDR_LO_WRITE_ADDR_31_3", low(DST) >> 3),
            DST >> 32,
        ],
    ),
    "atomic": (
        sdma.atomic(DST, Atomic.CMPSWAP_64, 1 << 40, 3, loop=True, interval=0x1FFF),
        lambda m: [
            op(m, "ATOMIC")
            | m.call("SDMA_PKT_ATOMIC_HEADER_ATOMIC_OP", 0x68)
            | m.call("SDMA_PKT_ATOMIC_HEADER_LOOP", 1),
            low(DST), DST >> 32, 0, 1 << 8, 3, 0, m.call("SDMA_PKT_ATOMIC_LOOP_INTERVAL_LOOP_INTERVAL", 0x1FFF),
        ],
    ),
    "cond_exe": (
        sdma.cond_exe(DST, 1, 99),
        lambda m: [op(m, "COND_EXE"), low(DST), DST >> 32, 1, m.call("SDMA_PKT_COND_EXE_EXEC_COUNT_EXEC_COUNT", 99)],
    ),
    "indirect": (
        sdma.indirect(10, DST & ~31, 0xF_FFFF, vmid=15, csa=0x1000),
        lambda m: [
            op(m, "INDIRECT") | m.call("SDMA_PKT_INDIRECT_HEADER_VMID", 15),
            low(DST) & ~31, DST >> 32, m.call("SDMA_PKT_INDIRECT_IB_SIZE_IB_SIZE", 0xF_FFFF), 0x1000, 0,
        ],
    ),
    "ptepde": (
        sdma.ptepde_gen(DST, 0x1000, 0x73, 0x1000, 2),
        lambda m: [
            op(m, "PTEPDE", "PTEPDE_GEN"), low(DST), DST >> 32, 0x73, 0, 0x1000, 0, 0x1000, 0,
            m.call("SDMA_PKT_WRITE_INCR_COUNT_COUNT", 1),
        ],
    ),
    "srbm": (
        sdma.srbm_write(0x3_FFFF, 1, 0xF),
        lambda m: [
            op(m, "SRBM_WRITE") | m.call("SDMA_PKT_SRBM_WRITE_HEADER_BYTE_EN", 0xF),
            m.call("SDMA_PKT_SRBM_WRITE_ADDR_ADDR", 0x3_FFFF), 1,
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FROM_HEADER)
def test_sdma_packet_has_the_dwords_of_amds_macros(name: str) -> None:
    built, expected = FROM_HEADER[name]
    assert words(built) == expected(macros(HEADER))


def test_sdma_atomics_are_those_of_the_enum_header() -> None:
    enum = macros("include/vega10_enum.h").enums
    assert {f"TC_OP_ATOMIC_{one.name}": one.value for one in Atomic}.items() <= enum.items()
    assert {one.name for one in Atomic if one.size_bytes == 8} == {
        one.name for one in Atomic if one.name.endswith("64")
    }


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_copy_at_the_limit_is_one_packet_and_one_byte_more_are_two() -> None:
    assert words(sdma.copy_linear(0, 1 << 40, GIB))[1] == 0x3FFF_FFFF
    two = words(sdma.copy_linear(16, 1 << 40, GIB + 1))
    assert two[1] == 0x3FFF_FFFF
    assert two[7:] == [1, 0, 0, GIB, 0x100, GIB + 16, 0]
    assert sdma.copy_packets(GIB) == 1
    assert sdma.copy_packets(GIB + 1) == 2


@given(st.integers(1, 5 * GIB), st.integers(0, 1 << 46), st.integers(0, 1 << 46))
def test_copy_pieces_cover_the_whole_without_gap(size: int, dst: int, src: int) -> None:
    at = 0
    for packet in sdma.decode_stream(sdma.copy_linear(dst, src, size)):
        values = sdma.COPY_LINEAR.values(sdma.copy_linear(dst, src, size)[4 * packet.at :])
        assert (values["dst"], values["src"]) == (dst + at, src + at)
        assert 0 < values["size_bytes"] <= GIB
        at += values["size_bytes"]
    assert at == size


def test_fill_beyond_the_limit_is_split_in_whole_dwords() -> None:
    packets = words(sdma.const_fill(0x100, 5, GIB + 8))
    assert packets[:5] == [0x8000_000B, 0x100, 0, 5, 0x3FFF_FFFF]
    assert packets[5:] == [0x8000_000B, GIB + 0x100, 0, 5, 7]


def test_write_beyond_the_count_is_split() -> None:
    data = bytes(4 * (sdma.WRITE_LIMIT_DWORDS + 1))
    packets = list(sdma.decode_stream(sdma.write_linear(0x1000, data)))
    assert [packet.dwords for packet in packets] == [4 + (1 << 20), 5]
    assert "dst=0x401000 dwords=1 " in packets[1].text


@pytest.mark.parametrize("at", range(24))
def test_indirect_wherever_it_is_put_ends_on_eight_dwords(at: int) -> None:
    built = sdma.indirect(at, 0x20, 8)
    assert (at + len(built) // 4) % 8 == 0
    assert 6 <= len(built) // 4 <= 13
    assert sdma.decode(built[-24:]).startswith("INDIRECT vmid=0 base=0x20 dwords=8")
    assert not any(built[:-24])


def test_copy_into_a_buffer_writes_the_same_and_says_where_it_ends() -> None:
    buffer = bytearray(100)
    assert sdma.copy_linear_into(buffer, 8, DST, SRC, 64) == 36
    assert sdma.copy_linear_into(memoryview(buffer), 36, DST, SRC, GIB + 5) == 92
    assert bytes(buffer[8:92]) == sdma.copy_linear(DST, SRC, 64) + sdma.copy_linear(DST, SRC, GIB + 5)
    assert not any(buffer[:8] + buffer[92:])


# --- the batch --------------------------------------------------------------------------------------------------------

copies = st.lists(st.tuples(st.integers(0, 1 << 46), st.integers(0, 1 << 46), st.integers(1, 3 * GIB)), max_size=20)


@given(copies)
def test_batch_equals_the_single_packets_one_after_another(rows: list[tuple[int, int, int]]) -> None:
    dst, src, sizes = ([row[at] for row in rows] for at in range(3))
    expected = b"".join(sdma.copy_linear(*row) for row in rows)
    assert sdma.copy_linear_batch(dst, src, sizes).tobytes() == expected
    out = np.full(len(expected) // 4 + 5, 0xABABABAB, np.uint32)
    arrays = [np.array(column, np.uint64) for column in (dst, src, sizes)]
    used = sdma.copy_linear_batch(arrays[0], arrays[1], arrays[2], out=out)
    assert used.tobytes() == expected
    assert out[len(used) :].tolist() == [0xABABABAB] * 5


def test_batch_takes_one_size_for_all_and_the_upper_half() -> None:
    upper = 0xFFFF_8000_0000_0000
    built = sdma.copy_linear_batch([upper, 64], [0, upper], 64)
    assert built.tobytes() == sdma.copy_linear(upper, 0, 64) + sdma.copy_linear(64, upper, 64)


@pytest.mark.parametrize(
    ("columns", "expected", "seen"),
    [
        (([0, 0], [0, 0], [8, 0]), "size_bytes in 1..", "size_bytes=0x0"),
        (([0, (1 << 48) - 4], [0, 0], [8, 8]), "dst..+0x8 below", "dst=0xfffffffffffc"),
        (([0, 0], [0, 1 << 63], [8, 8]), "src..+0x8 below", "src=0x8000000000000000"),
        (([0, 0], [0, (1 << 64) - 4], [8, 8]), "src..+0x8 below", "src=0xfffffffffffffffc"),
    ],
)
def test_batch_with_a_bad_copy_names_it_and_writes_nothing(columns: Any, expected: str, seen: str) -> None:
    out = np.zeros(14, np.uint32)
    with pytest.raises(UsageError) as caught:
        sdma.copy_linear_batch(columns[0], columns[1], columns[2], out)
    assert caught.value.doing == "building SDMA COPY_LINEAR batch, copy 1"
    assert caught.value.expected.startswith(expected)
    assert caught.value.seen == seen
    assert not out.any()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (([0, 1], [0, 1, 2], 8), "one number or as many numbers"),
        (([[0, 1]], [0, 1], 8), "one number or as many numbers"),
        (([-1], [0], [8]), "dst of whole numbers from 0 on"),
        (([0], [0.5], [8]), "src of whole numbers below"),
        (([0], [0], [1 << 64]), "size_bytes of whole numbers below"),
    ],
)
def test_batch_of_columns_that_do_not_fit_is_refused(columns: Any, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        sdma.copy_linear_batch(*columns)
    assert expected in caught.value.expected


@pytest.mark.parametrize("out", [np.zeros(13, np.uint32), np.zeros(14, np.uint64), np.zeros(28, np.uint32)[::2]])
def test_batch_into_an_array_that_cannot_hold_it_is_refused(out: Any) -> None:
    with pytest.raises(UsageError, match="contiguous uint32 array of 14 dwords or more"):
        sdma.copy_linear_batch([0, 64], [0, 64], 8, out=out)


# --- refusals ---------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Callable[[], object], str, str]] = [
    (lambda: sdma.copy_linear(0, 0, 0), "size_bytes in 1..0x1000000000000", "size_bytes=0x0"),
    (lambda: sdma.copy_linear(0, 0, -1), "size_bytes in 1..", "size_bytes=-0x1"),
    (lambda: sdma.copy_linear(-1, 0, 4), "dst..+0x4 below", "dst=-0x1"),
    (lambda: sdma.copy_linear(0, (1 << 48) - 3, 4), "src..+0x4 below", "src=0xfffffffffffd"),
    (lambda: sdma.copy_linear(1 << 48, 0, 4), "dst..+0x4 below", "dst=0x1000000000000"),
    (lambda: sdma.copy_linear_into(bytearray(27), 0, 0, 0, 4), "28 bytes of room", "offset 0 of 27 bytes"),
    (lambda: sdma.copy_linear_into(bytearray(60), 8, 0, 0, GIB + 1), "56 bytes of room", "offset 8 of 60 bytes"),
    (lambda: sdma.copy_linear_into(bytearray(60), -28, 0, 0, 4), "28 bytes of room", "offset -28 of 60 bytes"),
    (lambda: sdma.copy_linear_into(bytearray(60), 0, 0, 0, 0), "size_bytes in 1..", "size_bytes=0x0"),
    (lambda: sdma.write_linear(0, []), "at least one whole dword", "0 dwords"),
    (lambda: sdma.write_linear(0, b"123"), "at least one whole dword", "3 bytes"),
    (lambda: sdma.write_linear(2, [1]), "dst aligned to 4 bytes", "dst=0x2"),
    (lambda: sdma.write_linear(0, [1 << 32]), "data dwords in 0..0xffffffff", "data[0]=0x100000000"),
    (lambda: sdma.const_fill(0, 0, 0), "size_bytes in 1..", "size_bytes=0x0"),
    (lambda: sdma.const_fill(0, 0, 6), "size_bytes in whole dwords", "size_bytes=6"),
    (lambda: sdma.const_fill(1, 0, 8), "dst aligned to 4 bytes", "dst=0x1"),
    (lambda: sdma.const_fill(0, 1 << 32, 8), "value in 0..0xffffffff", "value=0x100000000"),
    (lambda: sdma.fence(2, 0), "address aligned to 4 bytes", "address=0x2"),
    (lambda: sdma.fence(0, 1 << 32), "value in 0..0xffffffff", "value=0x100000000"),
    (lambda: sdma.fence_long(4, 0), "address aligned to 8 bytes", "address=0x4"),
    (lambda: sdma.fence_long(0, 1 << 64), "value in 0..", "value=0x10000000000000000"),
    (lambda: sdma.trap(1 << 28), "context in 0..0xfffffff", "context=0x10000000"),
    (lambda: sdma.poll_memory(2, 0), "address aligned to 4 bytes", "address=0x2"),
    (lambda: sdma.poll_memory(0, 0, retries=0x1000), "retries in 0..0xfff", "retries=0x1000"),
    (lambda: sdma.poll_memory(0, 0, interval=0x10000), "interval in 0..0xffff", "interval=0x10000"),
    (lambda: sdma.poll_register(1 << 18, 0), "register in 0..0x3ffff", "register=0x40000"),
    (lambda: sdma.timestamp(4), "address aligned to 8 bytes", "address=0x4"),
    (lambda: sdma.atomic(4, Atomic.ADD_64, 1), "address aligned to 8 bytes", "address=0x4"),
    (lambda: sdma.atomic(4, Atomic.ADD_32, 1 << 32), "source in 0..0xffffffff", "source=0x100000000"),
    (lambda: sdma.atomic(4, Atomic.CMPSWAP_32, 0, -1), "compare in 0..0xffffffff", "compare=-0x1"),
    (lambda: sdma.cond_exe(0, 0, 0), "dwords in 1..0x3fff", "dwords=0x0"),
    (lambda: sdma.cond_exe(0, 0, 0x4000), "dwords in 1..0x3fff", "dwords=0x4000"),
    (lambda: sdma.indirect(0, 0x10, 8), "base aligned to 32 bytes", "base=0x10"),
    (lambda: sdma.indirect(0, 0x20, 0), "dwords in 1..0xfffff", "dwords=0x0"),
    (lambda: sdma.indirect(0, 0x20, 8, vmid=16), "vmid in 0..0xf", "vmid=0x10"),
    (lambda: sdma.indirect(-1, 0x20, 8), "at_dword in 0..", "at_dword=-0x1"),
    (lambda: sdma.ptepde_gen(4, 0, 0, 0, 1), "dst aligned to 8 bytes", "dst=0x4"),
    (lambda: sdma.ptepde_gen(0, 0, 0, 0, 0), "entries in 1..0x80000", "entries=0x0"),
    (lambda: sdma.ptepde_gen(0, 1 << 64, 0, 0, 1), "value in 0..", "value=0x1"),
    (lambda: sdma.srbm_write(1 << 18, 0), "register in 0..0x3ffff", "register=0x40000"),
    (lambda: sdma.nop(0), "dwords in 1..0x4000", "dwords=0x0"),
    (lambda: sdma.nop(0x4001), "dwords in 1..0x4000", "dwords=0x4001"),
]


@pytest.mark.parametrize(("build", "expected", "seen"), REFUSED, ids=[f"{row[1][:30]}|{row[2]}" for row in REFUSED])
def test_sdma_builder_given_what_does_not_fit_names_it(build: Callable[[], object], expected: str, seen: str) -> None:
    with pytest.raises(UsageError) as caught:
        build()
    assert caught.value.doing.startswith("building SDMA ")
    assert expected in caught.value.expected
    assert caught.value.seen.startswith(seen)


# --- reading back -----------------------------------------------------------------------------------------------------

TEXTS: list[tuple[bytes, str]] = [
    (sdma.copy_linear(DST, SRC, 4096), "COPY_LINEAR size_bytes=4096 src=0x8012345678 dst=0x819abcdef0"),
    (sdma.nop(4), "NOP dwords=4"),
    (sdma.write_linear(8, [1, 2]), "WRITE_LINEAR dst=0x8 dwords=2 data: 00000001 00000002"),
    (sdma.const_fill(16, 0xAA, 64), "CONST_FILL fillsize=2 dst=0x10 value=0xaa size_bytes=64"),
    (sdma.fence(4, 7), "FENCE address=0x4 value=0x7"),
    (sdma.trap(3), "TRAP context=0x3"),
    (
        sdma.poll_memory(16, 9, function=Function.GREATER_EQUAL),
        "POLL_MEMORY address=0x10 function=GREATER_EQUAL reference=0x9 mask=0xffffffff interval=4 retries=0xfff",
    ),
    (
        sdma.hdp_flush(0x106, 0x107, 4),
        "POLL_REGISTER register=0x106 request=0x107 function=EQUAL reference=0x4 mask=0x4 interval=10 retries=0xfff hdp_flush",
    ),
    (sdma.timestamp(24), "TIMESTAMP_GET_GLOBAL address=0x18"),
    (sdma.timestamp(24, global_clock=False), "TIMESTAMP_GET address=0x18"),
    (sdma.atomic(8, Atomic.ADD_64, 1), "ATOMIC operation=ADD_64 address=0x8 source=0x1 compare=0x0 interval=0"),
    (sdma.cond_exe(4, 1, 6), "COND_EXE address=0x4 reference=0x1 dwords=6"),
    (sdma.indirect(2, 0x20, 8, vmid=3), "INDIRECT vmid=3 base=0x20 dwords=8 csa=0x0"),
    (
        sdma.ptepde_gen(8, 0x1000, 0x73, 0x1000, 2),
        "PTEPDE_GEN dst=0x8 mask=0x73 value=0x1000 increment=0x1000 entries=2",
    ),
    (sdma.srbm_write(5, 6), "SRBM_WRITE register=0x5 value=0x6 byte_enable=0xf"),
    (b"", "nothing"),
    (b"\x01\0\0\0\0\0\0\0", "SDMA COPY_LINEAR cut off after 2 of 7 dwords: 00000001 00000000"),
    (b"\x07\0\0\0", "SEM sub 0x0, not decoded: 00000007"),
    (b"\x99\x03\0\0", "unknown SDMA op 0x99 sub 0x3, not decoded: 00000399"),
    (b"\xff" * 64, "unknown SDMA op 0xff sub 0xff, not decoded: ffffffff"),
]


@pytest.mark.parametrize(("packet", "text"), TEXTS)
def test_sdma_decode_reads_name_and_fields(packet: bytes, text: str) -> None:
    assert sdma.decode(packet) == text
    assert sdma.decode(words(packet)) == text


def test_sdma_stream_of_all_packets_is_read_packet_by_packet() -> None:
    parts = [row[1] for row in LITERAL if row[0] not in ("indirect at 0", "pad", "fence 64")]
    found = list(sdma.decode_stream(b"".join(parts)))
    assert [packet.dwords for packet in found] == [len(part) // 4 for part in parts]
    assert [packet.text for packet in found] == [sdma.decode(part) for part in parts]


def test_sdma_stream_starts_where_it_is_told_and_stops_at_its_limit() -> None:
    data = sdma.fence(4, 1) + sdma.trap(2) + sdma.trap(3)
    assert list(sdma.decode_stream(data, start=4, most=1)) == [Decoded(4, 2, "TRAP context=0x2")]


def test_sdma_stream_of_a_broadcast_copy_skips_its_second_destination() -> None:
    data = words(sdma.copy_linear(8, 4, 4))
    data[0] |= 1 << 27
    found = list(sdma.decode_stream([*data, 0, 0, *words(sdma.trap(1))]))
    assert [packet.dwords for packet in found] == [9, 2]
    assert found[0].text.endswith(" broadcast")


@settings(max_examples=300)
@given(st.lists(st.integers(-(1 << 70), 1 << 70), max_size=80), st.integers(-5, 90))
def test_sdma_stream_of_garbage_moves_on_and_ends(garbage: list[int], start: int) -> None:
    found = list(sdma.decode_stream(garbage, start))
    assert all(packet.text and "\n" not in packet.text and len(packet.text) < 400 for packet in found)
    places = [packet.at for packet in found]
    assert places == sorted(set(places))
    assert len(found) <= len(garbage)


@given(st.binary(max_size=200))
def test_sdma_stream_of_random_bytes_never_raises(data: bytes) -> None:
    assert len(list(sdma.decode_stream(data))) <= len(data) // 4
    assert sdma.decode(data)


@given(dword_addresses(4), dwords32, dwords32, st.sampled_from(Function), st.integers(0, 0xFFFF), st.integers(0, 0xFFF))
def test_sdma_poll_read_back_gives_what_was_built(
    at: int, reference: int, mask: int, function: Function, interval: int, retries: int
) -> None:
    built = sdma.poll_memory(at, reference, mask, function, interval=interval, retries=retries)
    assert sdma.POLL_MEMORY.values(built) == {
        "address": at, "reference": reference, "mask": mask, "function": function,
        "interval": interval, "retries": retries, "hdp_flush": 0,
    }  # fmt: skip


@given(dword_addresses(8), st.integers(0, (1 << 64) - 1), st.sampled_from(Atomic), st.booleans())
def test_sdma_atomic_read_back_gives_what_was_built(at: int, source: int, operation: Atomic, loop: bool) -> None:
    source &= (1 << 8 * operation.size_bytes) - 1
    values = sdma.ATOMIC.values(sdma.atomic(at, operation, source, 7, loop=loop, interval=3))
    assert values == {
        "operation": operation, "address": at, "source": source, "compare": 7, "interval": 3, "loop": loop,
    }  # fmt: skip


@given(dword_addresses(4), st.lists(dwords32, min_size=1, max_size=40))
def test_sdma_write_read_back_gives_what_was_built(at: int, data: list[int]) -> None:
    if at + 4 * len(data) > 1 << 64 or (at < 1 << 48 and at + 4 * len(data) > 1 << 48):
        return
    built = sdma.write_linear(at, data)
    assert sdma.WRITE_LINEAR.values(built) == {"dst": at, "dwords": len(data)}
    assert words(built)[4:] == data
