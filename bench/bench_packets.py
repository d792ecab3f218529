"""Packet builders against what the interpreter allows: struct.pack_into, one vector write, one slice.

Where tinygrad 0.14.0 is installed, its own builders run in the same process, taking turns with ours; where not, figures
stand in that were measured on machines like this one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from amdriver import aql, packets, pm4_decode, pm4_dispatch, sdma_packets
from bench import peer as tinygrad
from bench.harness import Row, compare

COPIES = 4096
DST, SRC, SIZE = 0x80_0000_0000, 0x90_0000_0000, 0x1_0000
KERNEL = pm4_dispatch.Kernel(program_va=0x7F00_0000_1000, rsrc1=0x00AF_0000, rsrc2=0x90)


def _beside(row: Row, ours: Callable[[], object], theirs: str, ours_makes: int = 1) -> Row:
    if not tinygrad.at_hand():
        return row
    return tinygrad.side_by_side(row, ours, getattr(tinygrad.Peer(), theirs), ours_makes)


def sdma_rows() -> list[Row]:
    buffer = bytearray(28)
    pack_into = struct.Struct("<IIIQQ").pack_into
    peer = "tinygrad 2.3-3.4 us (floor 0.15-0.28)"

    def floor() -> None:
        pack_into(buffer, 0, 1, SIZE - 1, 0, SRC, DST)

    works = {
        "SDMA copy packet, single, checked": lambda: sdma_packets.copy_linear(DST, SRC, SIZE),
        "the same into a buffer": lambda: sdma_packets.copy_linear_into(buffer, 0, DST, SRC, SIZE),
    }
    return [
        _beside(compare(name, work, floor, goal=">= 4x peer", peer=peer), work, "sdma_copy")
        for name, work in works.items()
    ]


def batch_row() -> Row:
    dst = DST + SIZE * np.arange(COPIES, dtype=np.uint64)
    src = SRC + SIZE * np.arange(COPIES, dtype=np.uint64)
    sizes = np.full(COPIES, SIZE, np.uint64)
    out = np.empty(7 * COPIES, np.uint32)
    ready = sdma_packets.copy_linear_batch(dst, src, sizes).copy()

    def floor() -> None:
        out[:] = ready

    def ours() -> None:
        sdma_packets.copy_linear_batch(dst, src, sizes, out)

    row = compare(
        f"SDMA copy packet, batch of {COPIES}, checked, each",
        ours,
        floor,
        goal=">= 50x peer",
        peer="tinygrad 2.3-3.4 us (floor 0.0006, a memcpy)",
    )
    row = _beside(row, ours, "sdma_copy", COPIES)
    return replace(row, ours_s=row.ours_s / COPIES, floor_s=row.floor_s / COPIES)


def pm4_row() -> Row:
    """Patch and copy into a ring, on both sides; the floor patches four places and checks nothing."""
    template = pm4_dispatch.DispatchTemplate(KERNEL, fence_va=0x10_0000, xcc_count=8)
    ring = memoryview(bytearray(1 << 16))
    ready = bytearray(template.launch(0x20_0000, 1, 1, 1, 1))
    size = len(ready)
    number, grid, address = struct.Struct("<I"), struct.Struct("<III"), struct.Struct("<Q")

    def ours() -> None:
        packets.ring_write(ring, 0, template.launch(0x20_0000, 64, 4, 1, 77))

    def floor() -> None:
        address.pack_into(ready, 144, 0x20_0000)
        grid.pack_into(ready, 156, 64, 4, 1)
        number.pack_into(ready, 200, 77)
        ring[:size] = ready

    row = compare(
        "PM4 dispatch over 8 XCC, template and ring write",
        ours,
        floor,
        goal=">= 40x peer",
        peer="tinygrad 90-110 us (floor 0.75)",
    )
    return _beside(row, ours, "pm4_dispatch")


def aql_rows() -> list[Row]:
    slots = aql.Slots(bytearray(1 << 16))
    template = aql.DispatchTemplate(kernel_object=0x7F00_0000_1000, workgroup=(256, 1, 1))
    pack_into = struct.Struct("<HHHHHHIIIIIQQQQ").pack_into
    buffer = bytearray(64)
    kernel, kernarg, signal = 0x7F00_0000_1000, 0x20_0000, 0x30_0000

    def floor() -> None:
        pack_into(buffer, 0, 0x1402, 1, 256, 1, 1, 0, 4096, 1, 1, 0, 0, kernel, kernarg, 0, signal)

    def build() -> None:
        aql.dispatch(kernel_object=kernel, kernarg_va=kernarg, grid=(4096, 1, 1), workgroup=(256, 1, 1), signal=signal)

    def launch() -> None:
        template.launch(slots, 5, kernarg, 4096, 1, 1, signal)

    peer = "tinygrad 10-17 us (floor 0.34)"
    works = {"AQL dispatch packet, checked": build, "AQL dispatch, template, into its slot, header last": launch}
    return [
        _beside(compare(name, work, floor, goal=">= 10x peer", peer=peer), work, "aql_dispatch")
        for name, work in works.items()
    ]


def ring_row() -> Row:
    ring = memoryview(bytearray(1 << 16))
    data = bytes(4 * 256)

    def floor() -> None:
        ring[1024:2048] = data

    row = compare(
        "ring write of 256 dwords, each",
        lambda: packets.ring_write(ring, 256, data),
        floor,
        goal="the slice",
        peer="tinygrad 77-136 ns a dword (slice 8-11)",
    )
    return replace(row, ours_s=row.ours_s / 256, floor_s=row.floor_s / 256)


def decode_row() -> Row:
    template = pm4_dispatch.DispatchTemplate(KERNEL, fence_va=0x10_0000, xcc_count=8)
    stream = bytes(template.launch(0x20_0000, 1, 1, 1, 1))

    def floor() -> None:
        struct.unpack(f"<{len(stream) // 4}I", stream)

    return compare(
        "decode that stream (a wait's report)", lambda: list(pm4_decode.decode_stream(stream)), floor, goal="-"
    )


def rows() -> list[Row]:
    return [*sdma_rows(), batch_row(), pm4_row(), *aql_rows(), ring_row(), decode_row()]
