"""PM4 packets for the compute engines (MEC) of GC 9.4.3 and 9.5.0: builders that return bytes, a dispatch template, a decoder.

    pm4.kernel_fence(address, 7)                       # RELEASE_MEM as the kernel's compute rings write it
    pm4.set_sh_reg(0x2E0C, [program >> 8 & 0xFFFFFFFF, program >> 40])
    pm4.decode(words)                                  # "WAIT_REG_MEM memory EQUAL address=0x1000 reference=0x1 ..."

Source: Linux v7.3 soc15d.h and kfd_pm4_headers_ai.h (generated into registers/amd/structs_pm4.py), gfx_v9_4_3.c (what the
kernel's rings and its KIQ send), kfd_pm4_opcodes.h (RUN_LIST, MAP_PROCESS), vega10_enum.h (event types).
Registers are dword numbers local to the XCC that runs the packet: segment 0 of GC begins at 0x2000, segment 1 at 0xA000.
The first field of a header is the payload's length in dwords, less one."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from amdriver.packets import (
    ADDRESS_END,
    LOOK_DWORDS,
    U32,
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
from registers.amd import structs_pm4
from registers.amd.structs_pm4 import PACKET_TYPE3, Op, Place, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from registers.core import reg

ONE_DWORD_NOP: Final = PACKET_TYPE3 << 30 | 0x3FFF << 16 | Op.NOP << 8  # 0xFFFF1000: no payload in spite of its count
FILLER: Final = 0x8000_0000  # a type 2 header: one dword, nothing
PAYLOAD_LIMIT_DWORDS: Final = 0x3FFF
NOP_LIMIT_DWORDS: Final = 0x3FFE + 2
MAP_PROCESS: Final = 0xA1  # kfd_pm4_opcodes.h; soc15d.h lacks these two
RUN_LIST: Final = 0xA5
KIQ_POLL_INTERVAL: Final = 0x20
ACQUIRE_POLL_INTERVAL: Final = 0xA
GC_SEGMENTS: Final = (0x2000, 0xA000)


class Function(IntEnum):
    """What a wait compares: value FUNCTION reference, unsigned."""

    ALWAYS = Value.WAIT_REG_MEM__FUNCTION__ALWAYS_PASS
    LESS = Value.WAIT_REG_MEM__FUNCTION__LESS_THAN_REF_VALUE
    LESS_EQUAL = Value.WAIT_REG_MEM__FUNCTION__LESS_THAN_EQUAL_TO_THE_REF_VALUE
    EQUAL = Value.WAIT_REG_MEM__FUNCTION__EQUAL_TO_THE_REFERENCE_VALUE
    NOT_EQUAL = Value.WAIT_REG_MEM__FUNCTION__NOT_EQUAL_REFERENCE_VALUE
    GREATER_EQUAL = Value.WAIT_REG_MEM__FUNCTION__GREATER_THAN_OR_EQUAL_REFERENCE_VALUE
    GREATER = Value.WAIT_REG_MEM__FUNCTION__GREATER_THAN_REFERENCE_VALUE


class Operation(IntEnum):
    WAIT = Value.WAIT_REG_MEM__OPERATION__WAIT_REG_MEM
    WRITE_THEN_WAIT = Value.WAIT_REG_MEM__OPERATION__WR_WAIT_WR_REG
    WAIT_PREEMPTABLE = Value.WAIT_REG_MEM__OPERATION__WAIT_MEM_PREEMPTABLE


class Event(IntEnum):
    """VGT_EVENT_TYPE of vega10_enum.h, those of compute."""

    CACHE_FLUSH_TS = 0x04
    CACHE_FLUSH = 0x06
    CS_PARTIAL_FLUSH = 0x07
    CACHE_FLUSH_AND_INV_TS = 0x14
    CACHE_FLUSH_AND_INV = 0x16
    BOTTOM_OF_PIPE_TS = 0x28
    CS_DONE = 0x2F


class ReleaseData(IntEnum):
    NONE = 0
    LOW_32 = 1
    WHOLE_64 = 2
    GPU_CLOCK = 3
    SYSTEM_CLOCK = 4


class ReleaseInterrupt(IntEnum):
    NONE = 0
    ONLY = 1
    AFTER_WRITE = 2


class WriteTo(IntEnum):
    REGISTER = Value.WRITE_DATA__DST_SEL__MEM_MAPPED_REGISTER
    L2 = Value.WRITE_DATA__DST_SEL__TC_L2
    GDS = Value.WRITE_DATA__DST_SEL__GDS
    MEMORY = Value.WRITE_DATA__DST_SEL__MEMORY


class CopyFrom(IntEnum):
    REGISTER = Value.COPY_DATA__SRC_SEL__MEM_MAPPED_REGISTER
    MEMORY = Value.COPY_DATA__SRC_SEL__MEMORY
    L2 = Value.COPY_DATA__SRC_SEL__TC_L2
    GDS = Value.COPY_DATA__SRC_SEL__GDS
    PERFCOUNTER = Value.COPY_DATA__SRC_SEL__PERFCOUNTERS
    IMMEDIATE = Value.COPY_DATA__SRC_SEL__IMMEDIATE_DATA
    ATOMIC_RETURN = Value.COPY_DATA__SRC_SEL__ATOMIC_RETURN_DATA
    GPU_CLOCK = Value.COPY_DATA__SRC_SEL__GPU_CLOCK_COUNT


class CopyTo(IntEnum):
    REGISTER = Value.COPY_DATA__DST_SEL__MEM_MAPPED_REGISTER
    L2 = Value.COPY_DATA__DST_SEL__TC_L2
    GDS = Value.COPY_DATA__DST_SEL__GDS
    PERFCOUNTER = Value.COPY_DATA__DST_SEL__PERFCOUNTERS
    MEMORY = Value.COPY_DATA__DST_SEL__MEMORY


class QueueEngine(IntEnum):
    """engine_sel of MAP_QUEUES and its kin; HIQ and GFX as gfx_v9_4_3.c and amdgpu_amdkfd_gfx_v9.c use them."""

    COMPUTE = 0
    HIQ = 1
    SDMA0 = 2
    SDMA1 = 3
    GFX = 4


class UnmapAction(IntEnum):
    PREEMPT = 0
    RESET = 1
    DISABLE_PROCESS = 2
    PREEMPT_NO_UNMAP = 3


class QueueSelect(IntEnum):
    """Which queues UNMAP_QUEUES means; with the last two no doorbell is looked at."""

    BY_DOORBELL = 0
    BY_PASID = 1
    ALL = 2
    ALL_NON_STATIC = 3


# --- headers and shapes -----------------------------------------------------------------------------------------------


def header(op: int, payload_dwords: int) -> int:
    """The first dword of a type 3 packet."""
    check_range(f"PM4 op {op:#x}", "payload dwords", payload_dwords, 1, PAYLOAD_LIMIT_DWORDS)
    return PACKET_TYPE3 << 30 | (payload_dwords - 1) << 16 | op << 8


def _shape(name: str, op: int, dwords: int, *fields: Field, fixed: int = 0) -> Shape:
    """A packet of a set length; `fixed` are bits of dword 1 that never change."""
    return Shape(f"PM4 {name}", dwords, header(op, dwords - 1) | fixed << 32, *fields)


def _open(name: str, op: int, dwords: int, *fields: Field) -> Shape:
    """A packet with a payload behind its first `dwords`: its header is written by `_with_payload`."""
    return Shape(f"PM4 {name}", dwords, PACKET_TYPE3 << 30 | op << 8, *fields)


def _width(place: tuple[int, int], bits: int) -> tuple[int, int]:
    """The older macros of soc15d.h shift but do not mask; the width comes from the neighbour or from the KFD's structure."""
    return place[1] + bits - 1, place[1]


def _with_payload(shape: Shape, payload: bytes, **values: int) -> bytes:
    count = shape.dwords - 1 + len(payload) // 4
    if count > PAYLOAD_LIMIT_DWORDS:
        raise refused(
            shape.name,
            f"at most {PAYLOAD_LIMIT_DWORDS - shape.dwords + 1} dwords of data",
            f"{len(payload) // 4} dwords",
        )
    start = shape.build(**values)
    return _U32.pack(int.from_bytes(start[:4], "little") | (count - 1) << 16) + start[4:] + payload


_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_THREE = struct.Struct("<III")
_REGISTER: Final = (17, 0)
_WORD: Final = (31, 0)

_RELEASE_ACTIONS = tuple(
    flag(name, 1, bit)
    for name, bit in (
        ("tcl1_vol", 12),
        ("tc_vol", 13),
        ("tc_wb", 15),
        ("tcl1", 16),
        ("tc", 17),
        ("tc_nc", 19),
        ("tc_wc", 20),
        ("tc_md", 21),
    )
)
ACQUIRE_ACTIONS: Final = {
    name: getattr(Place, f"ACQUIRE_MEM_CP_COHER_CNTL_{macro}_ACTION_ENA")[1]
    for name, macro in (
        ("tc_nc", "TC_NC"),
        ("tc_wc", "TC_WC"),
        ("tc_metadata", "TC_INV_METADATA"),
        ("tcl1_vol", "TCL1_VOL"),
        ("tc_wb", "TC_WB"),
        ("tcl1", "TCL1"),
        ("tc", "TC"),
        ("kcache", "SH_KCACHE"),
        ("kcache_vol", "SH_KCACHE_VOL"),
        ("icache", "SH_ICACHE"),
        ("kcache_wb", "SH_KCACHE_WB"),
    )
}

ACQUIRE_MEM = _shape(
    "ACQUIRE_MEM",
    Op.ACQUIRE_MEM,
    7,
    *(flag(name, 1, bit) for name, bit in ACQUIRE_ACTIONS.items()),
    hexa("size_256b", 2, (55, 0)),
    hexa("base_256b", 4, (55, 0)),
    number("interval", 6, Place.ACQUIRE_MEM__POLL_INTERVAL),
)
RELEASE_MEM = _shape(
    "RELEASE_MEM",
    Op.RELEASE_MEM,
    8,
    choice("event", 1, Place.EVENT_WRITE__EVENT_TYPE, Event),
    number("index", 1, Place.EVENT_WRITE__EVENT_INDEX),
    *_RELEASE_ACTIONS,
    flag("exec", 1, structs_pm4.EOP_EXEC.bit_length() - 1),
    hexa("to", 2, _width(Place.DST_SEL, 2)),
    choice("interrupt", 2, _width(Place.INT_SEL, 3), ReleaseInterrupt),
    choice("data", 2, _width(Place.DATA_SEL, 3), ReleaseData),
    address("address", 3, 2),
    hexa("value", 5, (63, 0)),
    hexa("context", 7),
)
_WAIT = (
    choice("function", 1, Place.WAIT_REG_MEM__FUNCTION, Function),
    choice("operation", 1, Place.WAIT_REG_MEM__OPERATION, Operation),
    hexa("engine", 1, _width(Place.WAIT_REG_MEM_ENGINE, 1)),
)
_WAIT_END = (
    hexa("reference", 4),
    hexa("mask", 5),
    number("interval", 6, Place.WAIT_REG_MEM__POLL_INTERVAL),
)
_MEMORY_SPACE: Final = Value.WAIT_REG_MEM__MEM_SPACE__MEMORY_SPACE << Place.WAIT_REG_MEM__MEM_SPACE[1]
WAIT_MEMORY = _shape(
    "WAIT_REG_MEM memory", Op.WAIT_REG_MEM, 7, *_WAIT, address("address", 2, 2), *_WAIT_END, fixed=_MEMORY_SPACE
)
WAIT_REGISTER = _shape(
    "WAIT_REG_MEM register",
    Op.WAIT_REG_MEM,
    7,
    *_WAIT,
    hexa("register", 2, Place.WAIT_REG_MEM__REG_POLL_ADDR),
    hexa("done", 3, Place.WAIT_REG_MEM__REG_WRITE_ADDR2),
    *_WAIT_END,
)
_WRITE = (
    choice("to", 1, Place.WRITE_DATA__DST_SEL, WriteTo),
    flag("one_address", 1, Place.WRITE_DATA__ADDR_INCR[1]),
    flag("resume_vf", 1, Place.WRITE_DATA__RESUME_VF_MI300[1]),
    flag("confirm", 1, Place.WRITE_DATA__WR_CONFIRM[1]),
)
WRITE_DATA = _open("WRITE_DATA", Op.WRITE_DATA, 4, *_WRITE, address("address", 2, 2))
WRITE_REGISTER = _open("WRITE_DATA", Op.WRITE_DATA, 4, *_WRITE, hexa("register", 2, Place.WRITE_DATA__DST_MMREG_ADDR))
COPY_DATA = _shape(
    "COPY_DATA",
    Op.COPY_DATA,
    6,
    choice("from", 1, Place.COPY_DATA__SRC_SEL, CopyFrom),
    hexa("source", 2, (63, 0)),
    choice("to", 1, Place.COPY_DATA__DST_SEL, CopyTo),
    hexa("target", 4, (63, 0)),
    flag("wide", 1, Place.COPY_DATA__COUNT_SEL[1]),
    flag("confirm", 1, Place.COPY_DATA__WR_CONFIRM[1]),
)
DISPATCH_DIRECT = _shape(
    "DISPATCH_DIRECT",
    Op.DISPATCH_DIRECT,
    5,
    *(number(name, dword, _WORD) for name, dword in (("x", 1), ("y", 2), ("z", 3))),
    hexa("initiator", 4),
)
INDIRECT_BUFFER = _shape(
    "INDIRECT_BUFFER",
    Op.INDIRECT_BUFFER,
    4,
    address("base", 1, 2),
    number("dwords", 3, Place.INDIRECT_BUFFER__IB_SIZE),
    number("vmid", 3, Place.INDIRECT_BUFFER__VMID),
    flag("chain", 3, Place.INDIRECT_BUFFER__CHAIN[1]),
    flag("valid", 3, Place.INDIRECT_BUFFER__VALID[1]),
    flag("priv", 3, Place.INDIRECT_BUFFER__PRIV[1]),
)
EVENT_WRITE = _shape(
    "EVENT_WRITE",
    Op.EVENT_WRITE,
    2,
    choice("event", 1, Place.EVENT_WRITE__EVENT_TYPE, Event),
    number("index", 1, Place.EVENT_WRITE__EVENT_INDEX),
)
PRED_EXEC = _shape(
    "PRED_EXEC",
    Op.PRED_EXEC,
    2,
    hexa("xcc_mask", 1, Place.PRED_EXEC__VIRTUAL_XCC_ID_SELECT),
    number("dwords", 1, Place.PRED_EXEC__EXEC_COUNT),
)
SET_SH_REG = _open("SET_SH_REG", Op.SET_SH_REG, 2, hexa("offset", 1, Place.SET_SH_REG__REG_OFFSET))
SET_UCONFIG_REG = _open("SET_UCONFIG_REG", Op.SET_UCONFIG_REG, 2, hexa("offset", 1, Place.SET_UCONFIG_REG__REG_OFFSET))
SET_CONFIG_REG = _open("SET_CONFIG_REG", Op.SET_CONFIG_REG, 2, hexa("offset", 1, (15, 0)))
# Where a range begins, and the first register behind it.
_RANGES: Final = {
    Op.SET_SH_REG: (structs_pm4.PACKET3_SET_SH_REG_START, structs_pm4.PACKET3_SET_SH_REG_END),
    Op.SET_UCONFIG_REG: (structs_pm4.PACKET3_SET_UCONFIG_REG_START, structs_pm4.PACKET3_SET_UCONFIG_REG_END),
    Op.SET_CONFIG_REG: (structs_pm4.PACKET3_SET_CONFIG_REG_START, structs_pm4.PACKET3_SET_CONFIG_REG_END),
}

# The scheduler's packets. Where soc15d.h and the KFD's structure name the same bits differently, both are here: the KIQ
# says which queue (me, pipe, queue), the HIQ lets the firmware choose (queue_sel 1).
SET_RESOURCES = _shape(
    "SET_RESOURCES",
    Op.SET_RESOURCES,
    8,
    hexa("vmid_mask", 1, _width(Place.SET_RESOURCES_VMID_MASK, 16)),
    number("unmap_latency", 1, _width(Place.SET_RESOURCES_UNMAP_LATENTY, 8)),
    flag("xnack_retry_disable_check", 1, 28),
    number("queue_type", 1, _width(Place.SET_RESOURCES_QUEUE_TYPE, 3)),
    hexa("queue_mask", 2, (63, 0)),
    hexa("gws_mask", 4, (63, 0)),
    hexa("oac_mask", 6, (15, 0)),
    hexa("gds_heap", 7),
)
MAP_QUEUES = _shape(
    "MAP_QUEUES",
    Op.MAP_QUEUES,
    7,
    hexa("doorbell", 2, _width(Place.MAP_QUEUES_DOORBELL_OFFSET, 26)),
    choice("engine", 1, _width(Place.MAP_QUEUES_ENGINE_SEL, 3), QueueEngine),
    number("extended_engine", 1, (3, 2)),
    number("me", 1, _width(Place.MAP_QUEUES_ME, 1)),
    number("pipe", 1, _width(Place.MAP_QUEUES_PIPE, 2)),
    number("queue", 1, _width(Place.MAP_QUEUES_QUEUE, 3)),
    number("vmid", 1, _width(Place.MAP_QUEUES_VMID, 4)),
    number("queue_sel", 1, _width(Place.MAP_QUEUES_QUEUE_SEL, 2)),
    number("queue_type", 1, _width(Place.MAP_QUEUES_QUEUE_TYPE, 3)),
    number("alloc_format", 1, _width(Place.MAP_QUEUES_ALLOC_FORMAT, 2)),
    number("queues", 1, _width(Place.MAP_QUEUES_NUM_QUEUES, 3)),
    flag("check_disable", 2, Place.MAP_QUEUES_CHECK_DISABLE[1]),
    address("mqd", 3, 2),
    address("wptr", 5, 2),
)
UNMAP_QUEUES = _shape(
    "UNMAP_QUEUES",
    Op.UNMAP_QUEUES,
    6,
    choice("action", 1, _width(Place.UNMAP_QUEUES_ACTION, 2), UnmapAction),
    choice("select", 1, _width(Place.UNMAP_QUEUES_QUEUE_SEL, 2), QueueSelect),
    choice("engine", 1, _width(Place.UNMAP_QUEUES_ENGINE_SEL, 3), QueueEngine),
    number("extended_engine", 1, (3, 2)),
    number("queues", 1, _width(Place.UNMAP_QUEUES_NUM_QUEUES, 3)),
    hexa("doorbell", 2, _width(Place.UNMAP_QUEUES_DOORBELL_OFFSET0, 26)),
    hexa("control3", 3),
    hexa("control4", 4),
    hexa("control5", 5),
)
QUERY_STATUS = _shape(
    "QUERY_STATUS",
    Op.QUERY_STATUS,
    7,
    hexa("context", 1, _width(Place.QUERY_STATUS_CONTEXT_ID, 28)),
    number("interrupt_sel", 1, _width(Place.QUERY_STATUS_INTERRUPT_SEL, 2)),
    number("command", 1, _width(Place.QUERY_STATUS_COMMAND, 2)),
    # soc15d.h puts the engine at bit 25, the KFD's structure (the firmware's own interface) at 28: the doorbell ends at 27.
    hexa("doorbell", 2, _width(Place.QUERY_STATUS_DOORBELL_OFFSET, 26)),
    choice("engine", 2, (30, 28), QueueEngine),
    address("address", 3, 3),
    hexa("value", 5, (63, 0)),
)
INVALIDATE_TLBS = _shape(
    "INVALIDATE_TLBS",
    Op.INVALIDATE_TLBS,
    2,
    number("select", 1, _width(Place.INVALIDATE_TLBS_DST_SEL, 4)),
    flag("all_hubs", 1, Place.INVALIDATE_TLBS_ALL_HUB[1]),
    number("pasid", 1, _width(Place.INVALIDATE_TLBS_PASID, 16)),
    number("flush_type", 1, _width(Place.INVALIDATE_TLBS_FLUSH_TYPE, 3)),
)
RUN_LIST_SHAPE = _shape(
    "RUN_LIST",
    RUN_LIST,
    4,
    address("base", 1, 2),
    number("dwords", 3, (19, 0)),
    flag("chain", 3, 20),
    flag("offload_polling", 3, 21),
    flag("idle_disable", 3, 22),
    flag("valid", 3, 23),
    number("processes", 3, (27, 24)),
)


# --- builders ---------------------------------------------------------------------------------------------------------


def nop(dwords: int = 1) -> bytes:
    """Nothing, `dwords` long in all. One dword is the special form 0xFFFF1000; longer ones are filled with it."""
    check_range("PM4 NOP", "dwords", dwords, 1, NOP_LIMIT_DWORDS)
    if dwords == 1:
        return _U32.pack(ONE_DWORD_NOP)
    return _U32.pack(header(Op.NOP, dwords - 1)) + _U32.pack(ONE_DWORD_NOP) * (dwords - 1)


def acquire_mem(*actions: str, base: int = 0, size_bytes: int = 0) -> bytes:
    """Invalidate caches before reading what others wrote. Without names: what the kernel asks for (icache, kcache, tc, tcl1,
    tc_wb); without a size: everything. Names are those of ACQUIRE_ACTIONS; base and size in units of 256 bytes."""
    names = actions or ("icache", "kcache", "tc", "tcl1", "tc_wb")
    for name in names:
        if name not in ACQUIRE_ACTIONS:
            raise refused(ACQUIRE_MEM.name, f"actions out of {' '.join(ACQUIRE_ACTIONS)}", name)
    flags = dict.fromkeys(names, 1)
    if not size_bytes:
        if base:
            raise refused(ACQUIRE_MEM.name, "a size with the base", f"base={base:#x} size_bytes=0")
        return ACQUIRE_MEM.build(size_256b=(1 << 56) - 1, interval=ACQUIRE_POLL_INTERVAL, **flags)
    check_address(ACQUIRE_MEM.name, "base", base, 256, max(1, size_bytes))
    if size_bytes < 0 or size_bytes % 256:
        raise refused(ACQUIRE_MEM.name, "size_bytes a multiple of 256", f"size_bytes={size_bytes}")
    return ACQUIRE_MEM.build(base_256b=base >> 8, size_256b=size_bytes >> 8, interval=ACQUIRE_POLL_INTERVAL, **flags)


def release_mem(
    addr: int,
    value: int = 0,
    *,
    data: ReleaseData = ReleaseData.WHOLE_64,
    interrupt: ReleaseInterrupt = ReleaseInterrupt.NONE,
    actions: Sequence[str] = ("tcl1", "tc", "tc_wb", "tc_md"),
    event: Event = Event.CACHE_FLUSH_AND_INV_TS,
    index: int = 5,
) -> bytes:
    """When all before it is done: write back and invalidate caches, then write (a value or a clock), then interrupt.

    8-byte aligned for 64-bit data, 4 for 32-bit. Actions: tcl1 tc tc_wb tc_nc tc_wc tc_md tcl1_vol tc_vol."""
    name = RELEASE_MEM.name
    known = [field.name for field in _RELEASE_ACTIONS]
    for action in actions:
        if action not in known:
            raise refused(name, f"actions out of {' '.join(known)}", action)
    if data is ReleaseData.NONE:
        check_range(name, "address without data", addr, 0, 0)
    else:
        check_address(name, "address", addr, 4 if data is ReleaseData.LOW_32 else 8, 8)
    if data is ReleaseData.LOW_32:
        check_range(name, "value", value, 0, U32)
    return RELEASE_MEM.build(
        event=event, index=index, interrupt=interrupt, data=data, address=addr, value=value, **dict.fromkeys(actions, 1)
    )


def kernel_fence(
    addr: int, sequence: int, *, wide: bool = True, interrupt: bool = False, write_back_only: bool = False
) -> bytes:
    """RELEASE_MEM with the flags of the kernel's compute fence."""
    return release_mem(
        addr,
        sequence,
        data=ReleaseData.WHOLE_64 if wide else ReleaseData.LOW_32,
        interrupt=ReleaseInterrupt.AFTER_WRITE if interrupt else ReleaseInterrupt.NONE,
        actions=("tc_wb", "tc_nc") if write_back_only else ("tcl1", "tc", "tc_wb", "tc_md"),
    )


def wait_memory(
    addr: int,
    reference: int,
    mask: int = U32,
    function: Function = Function.EQUAL,
    *,
    interval: int = 4,
    preemptable: bool = False,
) -> bytes:
    """Wait until (dword at `addr` & mask) FUNCTION reference."""
    return WAIT_MEMORY.build(
        function=function,
        operation=Operation.WAIT_PREEMPTABLE if preemptable else Operation.WAIT,
        address=addr,
        reference=reference,
        mask=mask,
        interval=interval,
    )


def wait_register(
    register: int,
    reference: int,
    mask: int = U32,
    function: Function = Function.EQUAL,
    *,
    interval: int = KIQ_POLL_INTERVAL,
) -> bytes:
    """Wait until (register & mask) FUNCTION reference."""
    return WAIT_REGISTER.build(function=function, register=register, reference=reference, mask=mask, interval=interval)


def write_then_wait(request: int, done: int, reference: int, mask: int, *, interval: int = KIQ_POLL_INTERVAL) -> bytes:
    """Write the reference to register `request`, wait until (register `done` & mask) equals it: an HDP flush, a TLB flush."""
    return WAIT_REGISTER.build(
        function=Function.EQUAL,
        operation=Operation.WRITE_THEN_WAIT,
        register=request,
        done=done,
        reference=reference,
        mask=mask,
        interval=interval,
    )


def write_data(
    addr: int,
    data: Sequence[int] | bytes,
    *,
    to: WriteTo = WriteTo.MEMORY,
    confirm: bool = True,
    one_address: bool = False,
) -> bytes:
    """Write dwords to memory; `confirm` waits until they have arrived, `one_address` writes all to the same place."""
    if to not in (WriteTo.MEMORY, WriteTo.L2):
        raise refused(WRITE_DATA.name, "to MEMORY or L2", to.name, "registers: pm4.write_register")
    payload = pack_words(WRITE_DATA.name, data)
    check_address(WRITE_DATA.name, "address", addr, 4, len(payload))
    return _with_payload(WRITE_DATA, payload, to=to, address=addr, confirm=confirm, one_address=one_address)


def write_register(
    register: int, data: Sequence[int] | bytes, *, confirm: bool = True, one_address: bool = False
) -> bytes:
    """Write registers from `register` on by WRITE_DATA, which reaches all 2^18 of them. The KIQ of the kernel sets
    one_address and does not wait for the confirmation."""
    payload = pack_words(WRITE_REGISTER.name, data)
    check_range(WRITE_REGISTER.name, "last register", register + len(payload) // 4 - 1, 0, 0x3FFFF)
    return _with_payload(
        WRITE_REGISTER, payload, to=WriteTo.REGISTER, register=register, confirm=confirm, one_address=one_address
    )


def copy_data(
    source: CopyFrom, source_at: int, target: CopyTo, target_at: int, *, wide: bool = False, confirm: bool = True
) -> bytes:
    """Copy 4 or (wide) 8 bytes between register, memory and the clock.

    source_at, target_at: register number, address, the value itself for IMMEDIATE, 0 for GPU_CLOCK."""
    name = COPY_DATA.name
    alignment = 8 if wide else 4
    for label, kind, value in (("source", source.name, source_at), ("target", target.name, target_at)):
        if kind in ("MEMORY", "L2"):
            check_address(name, label, value, alignment, alignment)
        elif kind in ("REGISTER", "PERFCOUNTER"):
            check_range(name, label, value, 0, 0x3FFFF)
        elif kind == "GPU_CLOCK":
            check_range(name, label, value, 0, 0)
        else:
            check_range(name, label, value, 0, (1 << 8 * alignment) - 1)
    return COPY_DATA.build(
        **{"from": source}, source=source_at, to=target, target=target_at, wide=wide, confirm=confirm
    )


@lru_cache(maxsize=1)
def dispatch_initiator() -> int:
    """COMPUTE_DISPATCH_INITIATOR of a plain launch: shaders on, workgroups counted from 0, 0, 0."""
    from registers.amd.gc_9_4_3 import COMPUTE_DISPATCH_INITIATOR_t

    return COMPUTE_DISPATCH_INITIATOR_t.of(COMPUTE_SHADER_EN=1, FORCE_START_AT_000=1).value


def dispatch_direct(x: int, y: int = 1, z: int = 1, initiator: int | None = None) -> bytes:
    """Start x * y * z workgroups of the kernel that the SH registers describe."""
    for name, count in (("x", x), ("y", y), ("z", z)):
        check_range(DISPATCH_DIRECT.name, name, count, 1, U32)
    return DISPATCH_DIRECT.build(x=x, y=y, z=z, initiator=dispatch_initiator() if initiator is None else initiator)


def indirect_buffer(base: int, dwords: int, vmid: int = 0, *, chain: bool = False) -> bytes:
    """Run `dwords` at `base`; `chain` goes there and does not come back."""
    check_range(INDIRECT_BUFFER.name, "dwords", dwords, 1, INDIRECT_BUFFER.by_name["dwords"].mask)
    return INDIRECT_BUFFER.build(base=base, dwords=dwords, vmid=vmid, chain=chain, valid=1)


def event_write(event: Event = Event.CS_PARTIAL_FLUSH, index: int | None = None) -> bytes:
    """An event without a write; CS_PARTIAL_FLUSH (index 4) waits until all waves have ended."""
    if index is None:
        index = Value.EVENT_WRITE__EVENT_INDEX__CS_PARTIAL_FLUSH if event is Event.CS_PARTIAL_FLUSH else 0
    return EVENT_WRITE.build(event=event, index=index)


def set_sh_reg(register: int, values: Sequence[int] | bytes) -> bytes:
    """Persistent compute state, registers 0x2C00..0x2FFF of the XCC."""
    return _set_registers(SET_SH_REG, Op.SET_SH_REG, register, values)


def set_uconfig_reg(register: int, values: Sequence[int] | bytes) -> bytes:
    """Registers 0xC000..0xC3FF of the XCC, the scratch registers among them."""
    return _set_registers(SET_UCONFIG_REG, Op.SET_UCONFIG_REG, register, values)


def set_config_reg(register: int, values: Sequence[int] | bytes) -> bytes:
    """Registers 0x2000..0x2BFF of the XCC."""
    return _set_registers(SET_CONFIG_REG, Op.SET_CONFIG_REG, register, values)


def _set_registers(shape: Shape, op: Op, register: int, values: Sequence[int] | bytes) -> bytes:
    payload = pack_words(shape.name, values)
    begin, end = _RANGES[op]
    last = register + len(payload) // 4 - 1
    if not begin <= register <= last < end:
        raise refused(
            shape.name,
            f"registers in {begin:#x}..{end - 1:#x}",
            f"{register:#x}..{last:#x}",
            "others: pm4.write_register; numbers are local to the XCC, so the base of XCC 0 must be used",
        )
    return _with_payload(shape, payload, offset=register - begin)


def pred_exec(xcc_mask: int, dwords: int) -> bytes:
    """Only the XCCs of the mask (bit n: logical XCC n) run the next `dwords`; the others skip them."""
    check_range(PRED_EXEC.name, "xcc_mask", xcc_mask, 1, 0xFF)
    check_range(PRED_EXEC.name, "dwords", dwords, 1, PRED_EXEC.by_name["dwords"].mask)
    return PRED_EXEC.build(xcc_mask=xcc_mask, dwords=dwords)


def only_on(xcc_mask: int, packets: bytes) -> bytes:
    """PRED_EXEC in front of these packets."""
    return pred_exec(xcc_mask, len(packets) // 4) + packets


def set_resources(
    queue_mask: int,
    *,
    vmid_mask: int = 0,
    unmap_latency: int = 0,
    queue_type: int = 0,
    cleaner_shader: int = 0,
    gws_mask: int = 0,
    xnack_retry_disable_check: bool = False,
) -> bytes:
    """What the scheduler may use. From the KIQ (queue type 0) only the queue mask counts, and words 5 and 6 carry the address
    of the cleaner shader (256-byte aligned); from the HIQ (type 1) they are the GWS mask. The KFD sets the check (bit 28)
    where XNACK can be chained."""
    if cleaner_shader and gws_mask:
        raise refused(SET_RESOURCES.name, "a cleaner shader or a GWS mask: they share two words", "both")
    check_address(SET_RESOURCES.name, "cleaner_shader", cleaner_shader, 256)
    return SET_RESOURCES.build(
        queue_mask=queue_mask,
        vmid_mask=vmid_mask,
        unmap_latency=unmap_latency,
        queue_type=queue_type,
        gws_mask=gws_mask or cleaner_shader >> 8,
        xnack_retry_disable_check=xnack_retry_disable_check,
    )


def map_queues(
    doorbell: int,
    mqd: int,
    wptr: int,
    *,
    me: int,
    pipe: int,
    queue: int,
    vmid: int = 0,
    engine: QueueEngine = QueueEngine.COMPUTE,
) -> bytes:
    """KIQ: start the queue (me 1 or 2, pipe, queue) from its MQD. doorbell: dword number; mqd, wptr: addresses."""
    check_range(MAP_QUEUES.name, "me", me, 1, 2)
    check_address(MAP_QUEUES.name, "wptr", wptr, 8)
    return MAP_QUEUES.build(
        doorbell=doorbell, mqd=mqd, wptr=wptr, me=me - 1, pipe=pipe, queue=queue, vmid=vmid, engine=engine, queues=1
    )


def unmap_queues(
    doorbell: int,
    action: UnmapAction = UnmapAction.PREEMPT,
    *,
    select: QueueSelect = QueueSelect.BY_DOORBELL,
    engine: QueueEngine = QueueEngine.COMPUTE,
    fence_address: int = 0,
    fence_value: int = 0,
) -> bytes:
    """Take queues off the engine. Fence address and value (32 bits) go with PREEMPT_NO_UNMAP only.

    Selections other than BY_DOORBELL come with doorbell 0; the kernel then gives 0 as the number of queues."""
    if select is not QueueSelect.BY_DOORBELL:
        check_range(UNMAP_QUEUES.name, f"doorbell with {select.name}", doorbell, 0, 0)
    if action is not UnmapAction.PREEMPT_NO_UNMAP and (fence_address or fence_value):
        raise refused(UNMAP_QUEUES.name, "a fence only with PREEMPT_NO_UNMAP", action.name)
    check_address(UNMAP_QUEUES.name, "fence_address", fence_address, 4)
    return UNMAP_QUEUES.build(
        action=action,
        select=select,
        engine=engine,
        queues=int(select is QueueSelect.BY_DOORBELL),
        doorbell=doorbell,
        control3=fence_address & U32,
        control4=fence_address >> 32,
        control5=fence_value,
    )


def query_status(
    addr: int, value: int, *, doorbell: int = 0, engine: QueueEngine = QueueEngine.COMPUTE, context: int = 0
) -> bytes:
    """Scheduler: write a 64-bit value when all before it is done and its writes have arrived (command 2)."""
    return QUERY_STATUS.build(address=addr, value=value, doorbell=doorbell, engine=engine, context=context, command=2)


def invalidate_tlbs(pasid: int, flush_type: int = 0, *, all_hubs: bool = True) -> bytes:
    """KIQ: flush the TLBs of a process, by PASID (select 1)."""
    return INVALIDATE_TLBS.build(select=1, pasid=pasid, flush_type=flush_type, all_hubs=all_hubs)


def run_list(base: int, dwords: int, processes: int, *, chain: bool = False) -> bytes:
    """HIQ: run the MAP_PROCESS and MAP_QUEUES packets in the buffer at `base`. A length of 0 is refused."""
    check_range("PM4 RUN_LIST", "dwords", dwords, 1, RUN_LIST_SHAPE.by_name["dwords"].mask)
    return RUN_LIST_SHAPE.build(base=base, dwords=dwords, processes=processes, chain=chain, idle_disable=chain, valid=1)


# --- a launch over all XCCs -------------------------------------------------------------------------------------------

SLOT_BYTES: Final = 64  # one fence slot each, so that no two XCCs write into one cache line
MOST_THREADS: Final = 1024


@dataclass(frozen=True, slots=True)
class Kernel:
    """What stays the same from launch to launch. Registers as the kernel descriptor has them; `kernarg_sgpr` is the number of
    the user SGPR that gets the low half of the kernarg address. Each XCC hands out scratch on its own, so each needs its own
    part: XCC n takes `scratch_bytes_per_xcc` from scratch_va + n * scratch_bytes_per_xcc on."""

    program_va: int
    rsrc1: int
    rsrc2: int
    rsrc3: int = 0
    workgroup: tuple[int, int, int] = (64, 1, 1)
    user_data: tuple[int, ...] = (0, 0)
    kernarg_sgpr: int = 0
    scratch_va: int = 0
    scratch_bytes_per_xcc: int = 0
    tmpring_size: int = 0
    resource_limits: int = 0


def xcc_register(register: reg[Any]) -> int:
    """Number of a GC register as packets want it: local to the XCC."""
    return GC_SEGMENTS[register.seg] + register.offset


_LAUNCH: Final = "PM4 launch"
_FENCE_VALUE: Final = RELEASE_MEM.by_name["value"].dword
_USER_SGPRS: Final = 16


def _check_kernel(kernel: Kernel, xcc_count: int) -> None:
    check_range(_LAUNCH, "program_va", kernel.program_va, 1, ADDRESS_END - 1)
    check_address(_LAUNCH, "program_va", kernel.program_va, 256)
    if bool(kernel.scratch_va) != bool(kernel.scratch_bytes_per_xcc) or kernel.scratch_bytes_per_xcc % 256:
        seen = f"scratch_va={kernel.scratch_va:#x} scratch_bytes_per_xcc={kernel.scratch_bytes_per_xcc}"
        raise refused(_LAUNCH, "scratch_va and scratch_bytes_per_xcc (a multiple of 256), or neither", seen)
    check_address(_LAUNCH, "scratch_va", kernel.scratch_va, 256, max(1, xcc_count * kernel.scratch_bytes_per_xcc))
    for name in ("rsrc1", "rsrc2", "rsrc3", "tmpring_size", "resource_limits"):
        check_range(_LAUNCH, name, getattr(kernel, name), 0, U32)
    for axis, threads in zip("xyz", kernel.workgroup, strict=True):
        check_range(_LAUNCH, f"workgroup.{axis}", threads, 1, MOST_THREADS)
    x, y, z = kernel.workgroup
    check_range(_LAUNCH, "threads of a workgroup", x * y * z, 1, MOST_THREADS)
    check_range(_LAUNCH, "user SGPRs", len(kernel.user_data), 2, _USER_SGPRS)
    check_range(_LAUNCH, "kernarg_sgpr", kernel.kernarg_sgpr, 0, len(kernel.user_data) - 2)


def _setup(kernel: Kernel, xcc_count: int) -> bytes:
    """Caches and SH registers; the user data come last."""
    from registers.amd.gc_9_4_3 import Gc

    x, y, z = kernel.workgroup
    program = kernel.program_va >> 8
    first_user = xcc_register(Gc.COMPUTE_USER_DATA_0)
    return b"".join(
        (
            acquire_mem(),
            # START_X, Y, Z and NUM_THREAD_X, Y, Z are neighbours; so are PGM_LO, HI and PGM_RSRC1, 2.
            set_sh_reg(xcc_register(Gc.COMPUTE_START_X), (0, 0, 0, x, y, z)),
            set_sh_reg(xcc_register(Gc.COMPUTE_PGM_LO), (program & U32, program >> 32 & 0xFF)),
            set_sh_reg(xcc_register(Gc.COMPUTE_PGM_RSRC1), (kernel.rsrc1, kernel.rsrc2)),
            _scratch(kernel, xcc_count, xcc_register(Gc.COMPUTE_DISPATCH_SCRATCH_BASE_LO)),
            set_sh_reg(xcc_register(Gc.COMPUTE_RESOURCE_LIMITS), (kernel.resource_limits,)),
            set_sh_reg(xcc_register(Gc.COMPUTE_TMPRING_SIZE), (kernel.tmpring_size,)),
            set_sh_reg(xcc_register(Gc.COMPUTE_PGM_RSRC3), (kernel.rsrc3,)),
            set_sh_reg(first_user, kernel.user_data),
        )
    )


def _scratch(kernel: Kernel, xcc_count: int, register: int) -> bytes:
    """The base of each XCC's own scratch; nothing for a kernel that has none."""
    if not kernel.scratch_va:
        return b""
    parts = []
    for xcc in range(xcc_count):
        base = kernel.scratch_va + xcc * kernel.scratch_bytes_per_xcc >> 8
        packet = set_sh_reg(register, (base & U32, base >> 32 & 0xFF))
        parts.append(only_on(1 << xcc, packet) if xcc_count > 1 else packet)
    return b"".join(parts)


class DispatchTemplate:
    """A launch on 1 to 8 XCCs that share one queue, built once; `launch` patches the few dwords that change.

    Every XCC runs the same stream and takes its share of the workgroups. The stream:
      1. caches invalidated, SH registers set, DISPATCH_DIRECT;
      2. each XCC writes the sequence number into its own slot (fence_va + 64 * xcc) when its share is done and its L2 is
         written back (RELEASE_MEM under PRED_EXEC);
      3. each XCC waits until all slots hold at least this number: what comes next sees all that the launch wrote;
      4. XCC 0 writes the number to `done_va`, with an interrupt if asked for: the one address to watch.
    The slots must lie in memory that no L2 keeps (MTYPE UC): each XCC has its own L2, and would poll its own stale copy.
    With one XCC steps 2 and 3 fall away. The slots start at 0, numbers count up from 1; 2^32 launches and it must be rebuilt
    (the engine compares 32 bits, and "at least" because a fast XCC may already be one launch ahead)."""

    __slots__ = (
        "_buffer",
        "_grid_at",
        "_kernarg_at",
        "_last_at",
        "_sequences",
        "done_va",
        "dwords",
        "kernel",
        "xcc_count",
    )

    def __init__(self, kernel: Kernel, *, fence_va: int, xcc_count: int = 8, interrupt: bool = False) -> None:
        check_range(_LAUNCH, "xcc_count", xcc_count, 1, 8)
        check_address(_LAUNCH, "fence_va", fence_va, SLOT_BYTES, SLOT_BYTES * (xcc_count + 1))
        _check_kernel(kernel, xcc_count)
        self.kernel = kernel
        self.xcc_count = xcc_count
        self.done_va = fence_va + SLOT_BYTES * xcc_count
        setup = _setup(kernel, xcc_count)
        body = bytearray(setup)
        # User data is the last register packet, its values the last dwords of the setup.
        self._kernarg_at = len(setup) - 4 * (len(kernel.user_data) - kernel.kernarg_sgpr)
        self._grid_at = len(body) + 4
        body += dispatch_direct(1)
        slots = [fence_va + SLOT_BYTES * xcc for xcc in range(xcc_count)] if xcc_count > 1 else []
        fences_at = len(body)
        for xcc, slot in enumerate(slots):
            body += only_on(1 << xcc, kernel_fence(slot, 0))
        waits_at = len(body)
        for slot in slots:
            body += wait_memory(slot, 0, function=Function.GREATER_EQUAL)
        last = kernel_fence(self.done_va, 0, interrupt=interrupt)
        self._last_at = len(body) + 4 * (_FENCE_VALUE + (PRED_EXEC.dwords if slots else 0))
        body += only_on(1, last) if slots else last
        self._buffer = body
        self.dwords = len(body) // 4
        self._sequences = self._views(fences_at // 4, waits_at // 4) if slots else ()

    def _views(self, fences_at: int, waits_at: int) -> tuple[NDArray[np.uint32], ...]:
        """The sequence numbers of all fences and of all waits; arguments in dwords."""
        import numpy as np

        words = np.frombuffer(self._buffer, "<u4")
        step = PRED_EXEC.dwords + RELEASE_MEM.dwords
        fences = words[fences_at + PRED_EXEC.dwords + _FENCE_VALUE : waits_at : step]
        first = waits_at + WAIT_MEMORY.by_name["reference"].dword
        waits = words[first : first + WAIT_MEMORY.dwords * self.xcc_count : WAIT_MEMORY.dwords]
        return fences, waits

    def launch(self, kernarg_va: int, x: int, y: int, z: int, sequence: int) -> memoryview:
        """The stream for x * y * z workgroups. The view is the template's own memory: copy it before the next call.

        sequence: 1..2^32-1, greater than that of the launch before."""
        if kernarg_va & 15 or kernarg_va >= ADDRESS_END or not (x and y and z and sequence):
            self._refuse(kernarg_va, x, y, z, sequence)
        buffer = self._buffer
        try:
            _U64.pack_into(buffer, self._kernarg_at, kernarg_va)
            _THREE.pack_into(buffer, self._grid_at, x, y, z)
            _U32.pack_into(buffer, self._last_at, sequence)
        except struct.error:
            self._refuse(kernarg_va, x, y, z, sequence)
        for view in self._sequences:
            view[...] = sequence
        return memoryview(buffer)

    def _refuse(self, kernarg_va: int, x: int, y: int, z: int, sequence: int) -> None:
        """Say which one it was."""
        check_address(_LAUNCH, "kernarg_va", kernarg_va, 16, 16)
        for name, value in (("x", x), ("y", y), ("z", z), ("sequence", sequence)):
            check_range(_LAUNCH, name, value, 1, U32)


# --- reading back -----------------------------------------------------------------------------------------------------

# Sent by others to queues that we may have to explain: by user programs, and by the KFD to the HIQ.
ATOMIC_MEM = _shape(
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
DMA_DATA = _shape(
    "DMA_DATA",
    Op.DMA_DATA,
    7,
    hexa("from", 1, _width(Place.DMA_DATA_SRC_SEL, 2)),
    hexa("source", 2, (63, 0)),
    hexa("to", 1, _width(Place.DMA_DATA_DST_SEL, 2)),
    hexa("target", 4, (63, 0)),
    number("size_bytes", 6, (20, 0)),
)
MAP_PROCESS_SHAPE = _shape(
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
    if op == Op.WAIT_REG_MEM and control & _MEMORY_SPACE:
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
    register = values["offset"] + _RANGES[Op(words[0] >> 8 & 0xFF)][0]
    return f" register={register:#x}{_name_of(register)}"


def _name_of(register: int) -> str:
    name = _register_names().get(register)
    return f" ({name})" if name else ""


@lru_cache(maxsize=1)
def _register_names() -> dict[int, str]:
    from registers.amd.gc_9_4_3 import Gc

    return {xcc_register(item): name for name, item in Gc.REGISTERS.items() if item.seg < len(GC_SEGMENTS)}
