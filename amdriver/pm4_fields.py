"""PM4 packets of GC 9.4.3 and 9.5.0: opcodes beyond the header's, the choices of their fields, and where each field lies.

Source: Linux v7.3 soc15d.h and kfd_pm4_headers_ai.h (generated into registers/amd/structs_pm4.py), kfd_pm4_opcodes.h
(RUN_LIST, MAP_PROCESS), vega10_enum.h (event types). `pm4` builds from these shapes, `pm4_decode` reads back."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from amdriver.packets import Field, Shape, address, check_range, choice, flag, hexa, number
from registers.amd import structs_pm4
from registers.amd.structs_pm4 import PACKET_TYPE3, Op, Place, Value

if TYPE_CHECKING:
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


def fixed_shape(name: str, op: int, dwords: int, *fields: Field, fixed: int = 0) -> Shape:
    """A packet of a set length; `fixed` are bits of dword 1 that never change."""
    return Shape(f"PM4 {name}", dwords, header(op, dwords - 1) | fixed << 32, *fields)


def open_shape(name: str, op: int, dwords: int, *fields: Field) -> Shape:
    """A packet with a payload behind its first `dwords`: its header is written by `_with_payload`."""
    return Shape(f"PM4 {name}", dwords, PACKET_TYPE3 << 30 | op << 8, *fields)


def width(place: tuple[int, int], bits: int) -> tuple[int, int]:
    """The older macros of soc15d.h shift but do not mask; the width comes from the neighbour or from the KFD's structure."""
    return place[1] + bits - 1, place[1]


_REGISTER: Final = (17, 0)
_WORD: Final = (31, 0)

RELEASE_ACTIONS = tuple(
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

ACQUIRE_MEM = fixed_shape(
    "ACQUIRE_MEM",
    Op.ACQUIRE_MEM,
    7,
    *(flag(name, 1, bit) for name, bit in ACQUIRE_ACTIONS.items()),
    hexa("size_256b", 2, (55, 0)),
    hexa("base_256b", 4, (55, 0)),
    number("interval", 6, Place.ACQUIRE_MEM__POLL_INTERVAL),
)
RELEASE_MEM = fixed_shape(
    "RELEASE_MEM",
    Op.RELEASE_MEM,
    8,
    choice("event", 1, Place.EVENT_WRITE__EVENT_TYPE, Event),
    number("index", 1, Place.EVENT_WRITE__EVENT_INDEX),
    *RELEASE_ACTIONS,
    flag("exec", 1, structs_pm4.EOP_EXEC.bit_length() - 1),
    hexa("to", 2, width(Place.DST_SEL, 2)),
    choice("interrupt", 2, width(Place.INT_SEL, 3), ReleaseInterrupt),
    choice("data", 2, width(Place.DATA_SEL, 3), ReleaseData),
    address("address", 3, 2),
    hexa("value", 5, (63, 0)),
    hexa("context", 7),
)
_WAIT = (
    choice("function", 1, Place.WAIT_REG_MEM__FUNCTION, Function),
    choice("operation", 1, Place.WAIT_REG_MEM__OPERATION, Operation),
    hexa("engine", 1, width(Place.WAIT_REG_MEM_ENGINE, 1)),
)
_WAIT_END = (
    hexa("reference", 4),
    hexa("mask", 5),
    number("interval", 6, Place.WAIT_REG_MEM__POLL_INTERVAL),
)
MEMORY_SPACE: Final = Value.WAIT_REG_MEM__MEM_SPACE__MEMORY_SPACE << Place.WAIT_REG_MEM__MEM_SPACE[1]
WAIT_MEMORY = fixed_shape(
    "WAIT_REG_MEM memory", Op.WAIT_REG_MEM, 7, *_WAIT, address("address", 2, 2), *_WAIT_END, fixed=MEMORY_SPACE
)
WAIT_REGISTER = fixed_shape(
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
WRITE_DATA = open_shape("WRITE_DATA", Op.WRITE_DATA, 4, *_WRITE, address("address", 2, 2))
WRITE_REGISTER = open_shape(
    "WRITE_DATA", Op.WRITE_DATA, 4, *_WRITE, hexa("register", 2, Place.WRITE_DATA__DST_MMREG_ADDR)
)
COPY_DATA = fixed_shape(
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
DISPATCH_DIRECT = fixed_shape(
    "DISPATCH_DIRECT",
    Op.DISPATCH_DIRECT,
    5,
    *(number(name, dword, _WORD) for name, dword in (("x", 1), ("y", 2), ("z", 3))),
    hexa("initiator", 4),
)
INDIRECT_BUFFER = fixed_shape(
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
EVENT_WRITE = fixed_shape(
    "EVENT_WRITE",
    Op.EVENT_WRITE,
    2,
    choice("event", 1, Place.EVENT_WRITE__EVENT_TYPE, Event),
    number("index", 1, Place.EVENT_WRITE__EVENT_INDEX),
)
PRED_EXEC = fixed_shape(
    "PRED_EXEC",
    Op.PRED_EXEC,
    2,
    hexa("xcc_mask", 1, Place.PRED_EXEC__VIRTUAL_XCC_ID_SELECT),
    number("dwords", 1, Place.PRED_EXEC__EXEC_COUNT),
)
SET_SH_REG = open_shape("SET_SH_REG", Op.SET_SH_REG, 2, hexa("offset", 1, Place.SET_SH_REG__REG_OFFSET))
SET_UCONFIG_REG = open_shape(
    "SET_UCONFIG_REG", Op.SET_UCONFIG_REG, 2, hexa("offset", 1, Place.SET_UCONFIG_REG__REG_OFFSET)
)
SET_CONFIG_REG = open_shape("SET_CONFIG_REG", Op.SET_CONFIG_REG, 2, hexa("offset", 1, (15, 0)))
# Where a range begins, and the first register behind it.
RANGES: Final = {
    Op.SET_SH_REG: (structs_pm4.PACKET3_SET_SH_REG_START, structs_pm4.PACKET3_SET_SH_REG_END),
    Op.SET_UCONFIG_REG: (structs_pm4.PACKET3_SET_UCONFIG_REG_START, structs_pm4.PACKET3_SET_UCONFIG_REG_END),
    Op.SET_CONFIG_REG: (structs_pm4.PACKET3_SET_CONFIG_REG_START, structs_pm4.PACKET3_SET_CONFIG_REG_END),
}

# The scheduler's packets. Where soc15d.h and the KFD's structure name the same bits differently, both are here: the KIQ
# says which queue (me, pipe, queue), the HIQ lets the firmware choose (queue_sel 1).
SET_RESOURCES = fixed_shape(
    "SET_RESOURCES",
    Op.SET_RESOURCES,
    8,
    hexa("vmid_mask", 1, width(Place.SET_RESOURCES_VMID_MASK, 16)),
    number("unmap_latency", 1, width(Place.SET_RESOURCES_UNMAP_LATENTY, 8)),
    flag("xnack_retry_disable_check", 1, 28),
    number("queue_type", 1, width(Place.SET_RESOURCES_QUEUE_TYPE, 3)),
    hexa("queue_mask", 2, (63, 0)),
    hexa("gws_mask", 4, (63, 0)),
    hexa("oac_mask", 6, (15, 0)),
    hexa("gds_heap", 7),
)
MAP_QUEUES = fixed_shape(
    "MAP_QUEUES",
    Op.MAP_QUEUES,
    7,
    hexa("doorbell", 2, width(Place.MAP_QUEUES_DOORBELL_OFFSET, 26)),
    choice("engine", 1, width(Place.MAP_QUEUES_ENGINE_SEL, 3), QueueEngine),
    number("extended_engine", 1, (3, 2)),
    number("me", 1, width(Place.MAP_QUEUES_ME, 1)),
    number("pipe", 1, width(Place.MAP_QUEUES_PIPE, 2)),
    number("queue", 1, width(Place.MAP_QUEUES_QUEUE, 3)),
    number("vmid", 1, width(Place.MAP_QUEUES_VMID, 4)),
    number("queue_sel", 1, width(Place.MAP_QUEUES_QUEUE_SEL, 2)),
    number("queue_type", 1, width(Place.MAP_QUEUES_QUEUE_TYPE, 3)),
    number("alloc_format", 1, width(Place.MAP_QUEUES_ALLOC_FORMAT, 2)),
    number("queues", 1, width(Place.MAP_QUEUES_NUM_QUEUES, 3)),
    flag("check_disable", 2, Place.MAP_QUEUES_CHECK_DISABLE[1]),
    address("mqd", 3, 2),
    address("wptr", 5, 2),
)
UNMAP_QUEUES = fixed_shape(
    "UNMAP_QUEUES",
    Op.UNMAP_QUEUES,
    6,
    choice("action", 1, width(Place.UNMAP_QUEUES_ACTION, 2), UnmapAction),
    choice("select", 1, width(Place.UNMAP_QUEUES_QUEUE_SEL, 2), QueueSelect),
    choice("engine", 1, width(Place.UNMAP_QUEUES_ENGINE_SEL, 3), QueueEngine),
    number("extended_engine", 1, (3, 2)),
    number("queues", 1, width(Place.UNMAP_QUEUES_NUM_QUEUES, 3)),
    hexa("doorbell", 2, width(Place.UNMAP_QUEUES_DOORBELL_OFFSET0, 26)),
    hexa("control3", 3),
    hexa("control4", 4),
    hexa("control5", 5),
)
QUERY_STATUS = fixed_shape(
    "QUERY_STATUS",
    Op.QUERY_STATUS,
    7,
    hexa("context", 1, width(Place.QUERY_STATUS_CONTEXT_ID, 28)),
    number("interrupt_sel", 1, width(Place.QUERY_STATUS_INTERRUPT_SEL, 2)),
    number("command", 1, width(Place.QUERY_STATUS_COMMAND, 2)),
    # soc15d.h puts the engine at bit 25, the KFD's structure (the firmware's own interface) at 28: the doorbell ends at 27.
    hexa("doorbell", 2, width(Place.QUERY_STATUS_DOORBELL_OFFSET, 26)),
    choice("engine", 2, (30, 28), QueueEngine),
    address("address", 3, 3),
    hexa("value", 5, (63, 0)),
)
INVALIDATE_TLBS = fixed_shape(
    "INVALIDATE_TLBS",
    Op.INVALIDATE_TLBS,
    2,
    number("select", 1, width(Place.INVALIDATE_TLBS_DST_SEL, 4)),
    flag("all_hubs", 1, Place.INVALIDATE_TLBS_ALL_HUB[1]),
    number("pasid", 1, width(Place.INVALIDATE_TLBS_PASID, 16)),
    number("flush_type", 1, width(Place.INVALIDATE_TLBS_FLUSH_TYPE, 3)),
)
RUN_LIST_SHAPE = fixed_shape(
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


def xcc_register(register: reg[Any]) -> int:
    """Number of a GC register as packets want it: local to the XCC."""
    return GC_SEGMENTS[register.seg] + register.offset
