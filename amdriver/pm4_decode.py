"""PM4 packets as text: what a stuck queue has at its read pointer, what a buffer holds.

Source: Linux v7.3 soc15d.h, kfd_pm4_headers_ai.h through `pm4_fields`. Decoders take any words, look at a bounded part and
never raise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from amdriver.packets import (
    LOOK_DWORDS,
    Decoded,
    Shape,
    Words,
    address,
    hexa,
    number,
    show,
    stream,
    words_of,
)
from amdriver.pm4_fields import (
    ACQUIRE_MEM,
    COPY_DATA,
    DISPATCH_DIRECT,
    EVENT_WRITE,
    GC_SEGMENTS,
    INDIRECT_BUFFER,
    INVALIDATE_TLBS,
    MAP_PROCESS,
    MAP_QUEUES,
    MEMORY_SPACE,
    ONE_DWORD_NOP,
    PRED_EXEC,
    QUERY_STATUS,
    RANGES,
    RELEASE_MEM,
    RUN_LIST_SHAPE,
    SET_CONFIG_REG,
    SET_RESOURCES,
    SET_SH_REG,
    SET_UCONFIG_REG,
    UNMAP_QUEUES,
    WAIT_MEMORY,
    WAIT_REGISTER,
    WRITE_DATA,
    WRITE_REGISTER,
    WriteTo,
    fixed_shape,
    width,
    xcc_register,
)
from registers.amd import structs_pm4
from registers.amd.structs_pm4 import Op, Place

# Sent by others to queues that we may have to explain: by user programs, and by the KFD to the HIQ.
ATOMIC_MEM = fixed_shape(
    "ATOMIC_MEM",
    Op.ATOMIC_MEM,
    9,
    hexa("operation", 1, (6, 0)),
    number("command", 1, Place.ATOMIC_MEM__COMMAND),
    address("address", 2, 2),
    hexa("source", 4, (63, 0)),
    hexa("compare", 6, (63, 0)),
    number("interval", 8, Place.ATOMIC_MEM__LOOP_INTERVAL),
)
DMA_DATA = fixed_shape(
    "DMA_DATA",
    Op.DMA_DATA,
    7,
    hexa("from", 1, width(Place.DMA_DATA_SRC_SEL, 2)),
    hexa("source", 2, (63, 0)),
    hexa("to", 1, width(Place.DMA_DATA_DST_SEL, 2)),
    hexa("target", 4, (63, 0)),
    number("size_bytes", 6, (20, 0)),
)
MAP_PROCESS_SHAPE = fixed_shape(
    "MAP_PROCESS",
    MAP_PROCESS,
    21,
    hexa("pasid", 1, (15, 0)),
    hexa("page_table", 2, (63, 0)),
    hexa("sh_mem_bases", 4),
    hexa("sh_mem_config", 5),
    number("queues", 13, (31, 22)),
    number("quantum", 1, (31, 25)),
)

_BY_OP: Final = {
    shape.fixed >> 8 & 0xFF: shape
    for shape in (
        ACQUIRE_MEM, RELEASE_MEM, WAIT_REGISTER, WRITE_DATA, COPY_DATA, DISPATCH_DIRECT, INDIRECT_BUFFER, EVENT_WRITE,
        PRED_EXEC, SET_SH_REG, SET_UCONFIG_REG, SET_CONFIG_REG, SET_RESOURCES, MAP_QUEUES, UNMAP_QUEUES, QUERY_STATUS,
        INVALIDATE_TLBS, RUN_LIST_SHAPE, ATOMIC_MEM, DMA_DATA, MAP_PROCESS_SHAPE,
    )
}  # fmt: skip
_OPEN: Final = (WRITE_DATA, WRITE_REGISTER, SET_SH_REG, SET_UCONFIG_REG, SET_CONFIG_REG)


def shape_of(words: Sequence[int]) -> Shape | None:
    """The type 3 packet that these words begin; None for those that have no fields here."""
    op = words[0] >> 8 & 0xFF
    control = words[1] if len(words) > 1 else 0
    if op == Op.WAIT_REG_MEM and control & MEMORY_SPACE:
        return WAIT_MEMORY
    if op == Op.WRITE_DATA and WRITE_DATA.by_name["to"].value(control << 32) == WriteTo.REGISTER:
        return WRITE_REGISTER
    return _BY_OP.get(op)


def decode(words: Words) -> str:
    """The first packet as one line: name and fields. Never raises, whatever the words are."""
    return _one(words_of(words, 0, LOOK_DWORDS), 0).text


def decode_stream(words: Words, start: int = 0, most: int = 1024) -> Iterator[Decoded]:
    """The packets from dword `start` on, at most `most`."""
    return stream(words, start, _one, most)


def _one(words: Sequence[int], at: int) -> Decoded:
    if not words:
        return Decoded(at, 0, "nothing")
    first = words[0]
    kind, count = first >> 30, first >> 16 & 0x3FFF
    if first == ONE_DWORD_NOP:
        return Decoded(at, 1, "NOP dwords=1")
    if kind == structs_pm4.PACKET_TYPE2:
        return Decoded(at, 1, f"type 2 filler: {first:08x}")
    if kind == structs_pm4.PACKET_TYPE1:
        return Decoded(at, 1, f"type 1, no packet of gfx9: {first:08x}")
    dwords = count + 2
    if kind == structs_pm4.PACKET_TYPE0:
        payload = show(words[1:dwords], dwords - 1)
        return Decoded(at, dwords, f"type 0 register={first & 0xFFFF:#x} data: {payload}")
    return Decoded(at, dwords, _type3(words, dwords))


def _type3(words: Sequence[int], dwords: int) -> str:
    op = words[0] >> 8 & 0xFF
    predicated = " predicated" if words[0] & 1 else ""
    if op == Op.NOP:
        return f"NOP dwords={dwords}{predicated}"
    shape = shape_of(words)
    if shape is None:
        known = Op._value2member_map_.get(op)
        name = known.name if isinstance(known, Op) else f"unknown PM4 op {op:#x}"
        return f"{name}{predicated} payload: {show(words[1:dwords], dwords - 1)}"
    text = shape.text(words[:dwords]) + predicated
    if shape not in _OPEN:
        return text if dwords == shape.dwords else f"{text} (header says {dwords} dwords, not {shape.dwords})"
    if len(words) < shape.dwords or dwords <= shape.dwords:
        return text
    data = f"data: {show(words[shape.dwords : dwords], dwords - shape.dwords)}"
    return f"{text}{_named(shape, words)} {data}"


def _named(shape: Shape, words: Sequence[int]) -> str:
    """The register's number and name, where the packet is about one that this driver knows."""
    if shape is WRITE_DATA:
        return ""
    values = shape.values(words)
    if shape is WRITE_REGISTER:
        return _name_of(values["register"])
    register = values["offset"] + RANGES[Op(words[0] >> 8 & 0xFF)][0]
    return f" register={register:#x}{_name_of(register)}"


def _name_of(register: int) -> str:
    name = _register_names().get(register)
    return f" ({name})" if name else ""


@lru_cache(maxsize=1)
def _register_names() -> dict[int, str]:
    from registers.amd.gc_9_4_3 import Gc

    return {xcc_register(item): name for name, item in Gc.REGISTERS.items() if item.seg < len(GC_SEGMENTS)}
