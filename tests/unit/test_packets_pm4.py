"""PM4 packets: exact dwords, dwords out of AMD's headers, what the stock driver was seen to send, refusals, the decoder."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amdriver import pm4, pm4_decode, pm4_dispatch, pm4_fields
from amdriver.packets import Decoded
from amdriver.pm4_fields import (
    CopyFrom,
    CopyTo,
    Event,
    Function,
    QueueEngine,
    QueueSelect,
    ReleaseData,
    UnmapAction,
    WriteTo,
)
from base.errors import UsageError
from registers.amd import structs_pm4
from registers.amd.gc_9_4_3 import Gc
from tests.unit.packet_macros import Macros, macros, words

SOC15D = "amdgpu/soc15d.h"
KFD = "amdkfd/kfd_pm4_headers_ai.h"
AT = 0x0081_9ABC_DEF0

dwords32 = st.integers(0, 0xFFFF_FFFF)
dword_addresses = st.integers(0, (1 << 48) - 1).map(lambda at: at & ~3)

# --- literal dwords ---------------------------------------------------------------------------------------------------

LITERAL: list[tuple[str, bytes, list[int]]] = [
    ("nop of one", pm4.nop(), [0xFFFF_1000]),
    ("nop of two", pm4.nop(2), [0xC000_1000, 0xFFFF_1000]),
    ("nop of four", pm4.nop(4), [0xC002_1000, 0xFFFF_1000, 0xFFFF_1000, 0xFFFF_1000]),
    # emit_mem_sync of the kernel; its COHER_SIZE_HI has 24 bits.
    ("acquire", pm4.acquire_mem(), [0xC005_5800, 0x28C4_0000, 0xFFFF_FFFF, 0xFF_FFFF, 0, 0, 10]),
    (
        "acquire a range",
        pm4.acquire_mem("tcl1", base=0x1_0000_0000_00, size_bytes=0x200),
        [0xC005_5800, 0x0040_0000, 2, 0, 0x0000_0000, 1, 10],
    ),
    # emit_fence of the kernel: 64-bit with interrupt, 32-bit, write-back only.
    (
        "fence",
        pm4.kernel_fence(0x1_0000_0008, 0x2_0000_0007, interrupt=True),
        [0xC006_4900, 0x0023_8514, 0x4200_0000, 8, 1, 7, 2, 0],
    ),
    ("fence 32", pm4.kernel_fence(4, 7, wide=False), [0xC006_4900, 0x0023_8514, 0x2000_0000, 4, 0, 7, 0, 0]),
    (
        "fence write back",
        pm4.kernel_fence(8, 7, write_back_only=True),
        [0xC006_4900, 0x0008_8514, 0x4000_0000, 8, 0, 7, 0, 0],
    ),
    (
        "clock",
        pm4.release_mem(16, data=ReleaseData.GPU_CLOCK, actions=(), event=Event.BOTTOM_OF_PIPE_TS),
        [0xC006_4900, 0x528, 0x6000_0000, 16, 0, 0, 0, 0],
    ),
    # pipeline_sync and reg_wait of the kernel.
    ("wait memory", pm4.wait_memory(0x3_0000_0010, 9), [0xC005_3C00, 0x13, 0x10, 3, 9, 0xFFFF_FFFF, 4]),
    ("wait register", pm4.wait_register(0x2E00, 1, 1), [0xC005_3C00, 3, 0x2E00, 0, 1, 1, 0x20]),
    ("write then wait", pm4.write_then_wait(0x106, 0x107, 4, 4), [0xC005_3C00, 0x43, 0x106, 0x107, 4, 4, 0x20]),
    # The IB test of the kernel, its KIQ's and its compute rings' register write.
    ("write", pm4.write_data(0x1_0000_0008, [0xDEAD_BEEF]), [0xC003_3700, 0x0010_0500, 8, 1, 0xDEAD_BEEF]),
    ("write L2", pm4.write_data(8, [1, 2], to=WriteTo.L2, confirm=False), [0xC004_3700, 0x200, 8, 0, 1, 2]),
    (
        "write register, KIQ",
        pm4.write_register(0xC040, [7], confirm=False, one_address=True),
        [0xC003_3700, 0x0001_0000, 0xC040, 0, 7],
    ),
    ("write register", pm4.write_register(0x3FFFF, [7]), [0xC003_3700, 0x0010_0000, 0x3FFFF, 0, 7]),
    # emit_rreg of the kernel.
    (
        "copy register to memory",
        pm4.copy_data(CopyFrom.REGISTER, 0x2004, CopyTo.MEMORY, 0x1_0000_0004),
        [0xC004_4000, 0x0010_0500, 0x2004, 0, 4, 1],
    ),
    (
        "copy the clock",
        pm4.copy_data(CopyFrom.GPU_CLOCK, 0, CopyTo.L2, 8, wide=True, confirm=False),
        [0xC004_4000, 0x0001_0209, 0, 0, 8, 0],
    ),
    (
        "copy a number",
        pm4.copy_data(CopyFrom.IMMEDIATE, 0x1_0000_0002, CopyTo.MEMORY, 8, wide=True),
        [0xC004_4000, 0x0011_0505, 2, 1, 8, 0],
    ),
    ("dispatch", pm4.dispatch_direct(3, 4, 5), [0xC003_1500, 3, 4, 5, 5]),
    ("indirect", pm4.indirect_buffer(0x1_0000_0004, 8, vmid=3), [0xC002_3F00, 4, 1, 0x0380_0008]),
    ("chain", pm4.indirect_buffer(4, 0xF_FFFF, chain=True), [0xC002_3F00, 4, 0, 0x009F_FFFF]),
    ("event", pm4.event_write(), [0xC000_4600, 0x407]),
    ("other event", pm4.event_write(Event.CACHE_FLUSH), [0xC000_4600, 0x006]),
    ("sh", pm4.set_sh_reg(0x2E0C, [1, 2]), [0xC002_7600, 0x20C, 1, 2]),
    # Ring test of the kernel: SCRATCH_REG0 of XCC 0.
    ("uconfig", pm4.set_uconfig_reg(0xC040, [0xDEAD_BEEF]), [0xC001_7900, 0x40, 0xDEAD_BEEF]),
    ("config", pm4.set_config_reg(0x2004, [1]), [0xC001_6800, 4, 1]),
    ("pred_exec", pm4.pred_exec(0x80, 0x3FFF), [0xC000_2300, 0x8000_3FFF]),
    ("only on", pm4.only_on(1, pm4.nop(2)), [0xC000_2300, 0x0100_0002, 0xC000_1000, 0xFFFF_1000]),
    (
        "set_resources, KIQ",
        pm4.set_resources(0x0303_0303, cleaner_shader=0x12_3456_7800),
        [0xC006_A000, 0, 0x0303_0303, 0, 0x1234_5678, 0, 0, 0],
    ),
    (
        "map_queues",
        pm4.map_queues(0x10, 0x1_0000_1000, 0x2_0000_0008, me=1, pipe=3, queue=1),
        [0xC005_A200, 0x2003_2000, 0x40, 0x1000, 1, 8, 2],
    ),
    ("unmap_queues", pm4.unmap_queues(0x10, UnmapAction.RESET), [0xC004_A300, 0x2000_0001, 0x40, 0, 0, 0]),
    (
        "unmap with fence",
        pm4.unmap_queues(0x10, UnmapAction.PREEMPT_NO_UNMAP, fence_address=0x1_0000_0004, fence_value=9),
        [0xC004_A300, 0x2000_0003, 0x40, 4, 1, 9],
    ),
    (
        "query_status of a queue",
        pm4.query_status(8, 0x1_0000_0002, doorbell=0x12, engine=QueueEngine.SDMA1),
        [0xC005_A400, 0x8000_0000, 0x3000_0048, 8, 0, 2, 1],
    ),
    ("invalidate_tlbs", pm4.invalidate_tlbs(0x8001, 2), [0xC000_9800, 0x4010_0031]),
    ("run_list", pm4.run_list(0x1_0000_0020, 41, 3), [0xC002_A500, 0x20, 1, 0x0380_0029]),
    ("run_list chain", pm4.run_list(0x20, 41, 3, chain=True), [0xC002_A500, 0x20, 0, 0x03D0_0029]),
]

# Words that the stock driver sent to a device that recorded them: KIQ and HIQ at boot, user SDMA queue, pre-emption.
SEEN: list[tuple[str, bytes, dict[int, int]]] = [
    ("KIQ SET_RESOURCES", pm4.set_resources(0x0303_0303), {0: 0xC006_A000, 1: 0, 2: 0x0303_0303}),
    (
        "HIQ by KIQ MAP_QUEUES",
        pm4.map_queues(0xC00, 0x1000, 0x2000, me=2, pipe=0, queue=0, engine=QueueEngine.HIQ),
        {1: 0x2404_0000, 2: 0x3000},
    ),
    (
        "HIQ SET_RESOURCES",
        pm4.set_resources(
            0xFCFC_FCFC, vmid_mask=0xFFF8, unmap_latency=0x28, queue_type=1, xnack_retry_disable_check=True
        ),
        {1: 0x3028_FFF8, 2: 0xFCFC_FCFC},
    ),
    ("pre-empt all", pm4.unmap_queues(0, select=QueueSelect.ALL_NON_STATIC), {1: 0x30, 2: 0}),
    ("fence after it", pm4.query_status(0x1000, 1), {1: 0x8000_0000, 2: 0, 3: 0x1000}),
]  # fmt: skip


@pytest.mark.parametrize(("built", "expected"), [row[1:] for row in LITERAL], ids=[row[0] for row in LITERAL])
def test_pm4_packet_has_the_dwords_worked_out_by_hand(built: bytes, expected: list[int]) -> None:
    assert words(built) == expected


@pytest.mark.parametrize(("built", "expected"), [row[1:] for row in SEEN], ids=[row[0] for row in SEEN])
def test_pm4_packet_has_the_words_that_the_stock_driver_sent(built: bytes, expected: dict[int, int]) -> None:
    found = words(built)
    assert {at: found[at] for at in expected} == expected


# --- dwords out of AMD's own headers ----------------------------------------------------------------------------------


def low(value: int) -> int:
    return value & 0xFFFF_FFFF


def p3(m: Macros, op: str, count: int) -> int:
    return m.call("PACKET3", m[f"PACKET3_{op}"], count)


FROM_HEADER: dict[str, tuple[bytes, Callable[[Macros], list[int]]]] = {
    "nop": (pm4.nop(), lambda m: [p3(m, "NOP", 0x3FFF)]),
    "acquire": (
        pm4.acquire_mem("tc_nc", "tc_wc", "tc_metadata", "tcl1_vol", "kcache_vol", "kcache_wb", "tc"),
        lambda m: [
            p3(m, "ACQUIRE_MEM", 5),
            sum(
                m.call(f"PACKET3_ACQUIRE_MEM_CP_COHER_CNTL_{name}_ACTION_ENA", 1)
                for name in ("TC_NC", "TC_WC", "TC_INV_METADATA", "TCL1_VOL", "SH_KCACHE_VOL", "SH_KCACHE_WB", "TC")
            ),
            0xFFFF_FFFF, m.call("PACKET3_ACQUIRE_MEM__COHER_SIZE_HI_VG10", 0xFFFF_FFFF), 0, 0,
            m.call("PACKET3_ACQUIRE_MEM__POLL_INTERVAL", 10),
        ],
    ),
    "fence": (
        pm4.kernel_fence(AT, 1 << 40, interrupt=True),
        lambda m: [
            p3(m, "RELEASE_MEM", 6),
            m["EOP_TCL1_ACTION_EN"] | m["EOP_TC_ACTION_EN"] | m["EOP_TC_WB_ACTION_EN"] | m["EOP_TC_MD_ACTION_EN"]
            | m.call("EVENT_TYPE", m["CACHE_FLUSH_AND_INV_TS_EVENT"]) | m.call("EVENT_INDEX", 5),
            m.call("DATA_SEL", 2) | m.call("INT_SEL", 2),
            low(AT), AT >> 32, 0, 1 << 8, 0,
        ],
    ),
    "all release actions": (
        pm4.release_mem(AT, actions=("tcl1_vol", "tc_vol", "tc_wb", "tcl1", "tc", "tc_nc", "tc_md"), index=6),
        lambda m: [
            p3(m, "RELEASE_MEM", 6),
            sum(m[f"EOP_{name}_ACTION_EN"] for name in ("TCL1_VOL", "TC_VOL", "TC_WB", "TCL1", "TC", "TC_NC", "TC_MD"))
            | m.call("EVENT_TYPE", 0x14) | m.call("EVENT_INDEX", 6),
            m.call("DATA_SEL", 2), low(AT), AT >> 32, 0, 0, 0,
        ],
    ),
    "wait memory": (
        pm4.wait_memory(AT, 5, 6, Function.GREATER, interval=0x1234, preemptable=True),
        lambda m: [
            p3(m, "WAIT_REG_MEM", 5),
            m.call("PACKET3_WAIT_REG_MEM__FUNCTION", m["PACKET3_WAIT_REG_MEM__FUNCTION__GREATER_THAN_REFERENCE_VALUE"])
            | m.call("PACKET3_WAIT_REG_MEM__MEM_SPACE", m["PACKET3_WAIT_REG_MEM__MEM_SPACE__MEMORY_SPACE"])
            | m.call("PACKET3_WAIT_REG_MEM__OPERATION", m["PACKET3_WAIT_REG_MEM__OPERATION__WAIT_MEM_PREEMPTABLE"]),
            m.call("PACKET3_WAIT_REG_MEM__MEM_POLL_ADDR_LO", low(AT) >> 2), AT >> 32, 5, 6,
            m.call("PACKET3_WAIT_REG_MEM__POLL_INTERVAL", 0x1234),
        ],
    ),
    "write then wait": (
        pm4.write_then_wait(0x3FFFF, 0x107, 5, 6),
        lambda m: [
            p3(m, "WAIT_REG_MEM", 5),
            m.call("WAIT_REG_MEM_FUNCTION", 3) | m.call("WAIT_REG_MEM_MEM_SPACE", 0) | m.call("WAIT_REG_MEM_OPERATION", 1),
            m.call("PACKET3_WAIT_REG_MEM__REG_WRITE_ADDR1", 0x3FFFF),
            m.call("PACKET3_WAIT_REG_MEM__REG_WRITE_ADDR2", 0x107), 5, 6, 0x20,
        ],
    ),
    "write": (
        pm4.write_data(AT, [1, 2, 3], one_address=True),
        lambda m: [
            p3(m, "WRITE_DATA", 5), m.call("WRITE_DATA_DST_SEL", 5) | m["WR_CONFIRM"] | m["WR_ONE_ADDR"],
            m.call("PACKET3_WRITE_DATA__DST_MEM_ADDR_LO", low(AT) >> 2), AT >> 32, 1, 2, 3,
        ],
    ),
    "copy": (
        pm4.copy_data(CopyFrom.MEMORY, AT, CopyTo.REGISTER, 0x3FFFF, confirm=False),
        lambda m: [
            p3(m, "COPY_DATA", 4),
            m.call("PACKET3_COPY_DATA__SRC_SEL", m["PACKET3_COPY_DATA__SRC_SEL__MEMORY"])
            | m.call("PACKET3_COPY_DATA__DST_SEL", m["PACKET3_COPY_DATA__DST_SEL__MEM_MAPPED_REGISTER"]),
            m.call("PACKET3_COPY_DATA__SRC_32B_ADDR_LO", low(AT) >> 2), AT >> 32,
            m.call("PACKET3_COPY_DATA__DST_REG_OFFSET", 0x3FFFF), 0,
        ],
    ),
    "indirect": (
        pm4.indirect_buffer(AT, 0x12345, vmid=9),
        lambda m: [
            p3(m, "INDIRECT_BUFFER", 2), m.call("PACKET3_INDIRECT_BUFFER__IB_BASE_LO", low(AT) >> 2), AT >> 32,
            m["INDIRECT_BUFFER_VALID"] | m.call("PACKET3_INDIRECT_BUFFER__IB_SIZE", 0x12345)
            | m.call("PACKET3_INDIRECT_BUFFER__VMID", 9),
        ],
    ),
    "event": (
        pm4.event_write(),
        lambda m: [
            p3(m, "EVENT_WRITE", 0),
            m.call("PACKET3_EVENT_WRITE__EVENT_TYPE", 7)
            | m.call("PACKET3_EVENT_WRITE__EVENT_INDEX", m["PACKET3_EVENT_WRITE__EVENT_INDEX__CS_PARTIAL_FLUSH"]),
        ],
    ),
    "sh": (
        pm4.set_sh_reg(0x2FFF, [1]),
        lambda m: [p3(m, "SET_SH_REG", 1), 0x2FFF - m["PACKET3_SET_SH_REG_START"], 1],
    ),
    "uconfig": (
        pm4.set_uconfig_reg(0xC3FE, [1, 2]),
        lambda m: [p3(m, "SET_UCONFIG_REG", 2), 0xC3FE - m["PACKET3_SET_UCONFIG_REG_START"], 1, 2],
    ),
    "config": (
        pm4.set_config_reg(0x2BFF, [1]),
        lambda m: [p3(m, "SET_CONFIG_REG", 1), 0x2BFF - m["PACKET3_SET_CONFIG_REG_START"], 1],
    ),
    "pred_exec": (
        pm4.pred_exec(0xA5, 12),
        lambda m: [
            p3(m, "PRED_EXEC", 0),
            m.call("PACKET3_PRED_EXEC__EXEC_COUNT", 12) | m.call("PACKET3_PRED_EXEC__VIRTUAL_XCC_ID_SELECT", 0xA5),
        ],
    ),
    "set_resources": (
        pm4.set_resources(1 << 40, vmid_mask=0xFFF8, unmap_latency=0x28, queue_type=1, gws_mask=3),
        lambda m: [
            p3(m, "SET_RESOURCES", 6),
            m.call("PACKET3_SET_RESOURCES_VMID_MASK", 0xFFF8) | m.call("PACKET3_SET_RESOURCES_UNMAP_LATENTY", 0x28)
            | m.call("PACKET3_SET_RESOURCES_QUEUE_TYPE", 1),
            0, 1 << 8, 3, 0, 0, 0,
        ],
    ),
    "map_queues": (
        pm4.map_queues(0x3FF, AT, AT + 8, me=2, pipe=2, queue=7, vmid=5),
        lambda m: [
            p3(m, "MAP_QUEUES", 5),
            m.call("PACKET3_MAP_QUEUES_VMID", 5) | m.call("PACKET3_MAP_QUEUES_QUEUE", 7)
            | m.call("PACKET3_MAP_QUEUES_PIPE", 2) | m.call("PACKET3_MAP_QUEUES_ME", 1)
            | m.call("PACKET3_MAP_QUEUES_NUM_QUEUES", 1),
            m.call("PACKET3_MAP_QUEUES_DOORBELL_OFFSET", 0x3FF), low(AT), AT >> 32, low(AT + 8), AT >> 32,
        ],
    ),
    "unmap_queues": (
        pm4.unmap_queues(0x3FF, UnmapAction.RESET, engine=QueueEngine.SDMA0),
        lambda m: [
            p3(m, "UNMAP_QUEUES", 4),
            m.call("PACKET3_UNMAP_QUEUES_ACTION", 1) | m.call("PACKET3_UNMAP_QUEUES_ENGINE_SEL", 2)
            | m.call("PACKET3_UNMAP_QUEUES_NUM_QUEUES", 1),
            m.call("PACKET3_UNMAP_QUEUES_DOORBELL_OFFSET0", 0x3FF), 0, 0, 0,
        ],
    ),
    "query_status": (
        pm4.query_status(AT, 7, doorbell=3, context=9),
        lambda m: [
            p3(m, "QUERY_STATUS", 5),
            m.call("PACKET3_QUERY_STATUS_CONTEXT_ID", 9) | m.call("PACKET3_QUERY_STATUS_COMMAND", 2),
            m.call("PACKET3_QUERY_STATUS_DOORBELL_OFFSET", 3), low(AT), AT >> 32, 7, 0,
        ],
    ),
    "invalidate_tlbs": (
        pm4.invalidate_tlbs(0x1234, 1),
        lambda m: [
            p3(m, "INVALIDATE_TLBS", 0),
            m.call("PACKET3_INVALIDATE_TLBS_DST_SEL", 1) | m.call("PACKET3_INVALIDATE_TLBS_ALL_HUB", 1)
            | m.call("PACKET3_INVALIDATE_TLBS_PASID", 0x1234) | m.call("PACKET3_INVALIDATE_TLBS_FLUSH_TYPE", 1),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FROM_HEADER)
def test_pm4_packet_has_the_dwords_of_amds_macros(name: str) -> None:
    built, expected = FROM_HEADER[name]
    assert words(built) == expected(macros(SOC15D, KFD))


def test_pm4_events_and_late_opcodes_are_those_of_the_headers() -> None:
    events = macros("include/vega10_enum.h").enums
    for event in Event:
        assert events.get(event.name, events.get(f"{event.name}_EVENT")) == event
    opcodes = macros("amdkfd/kfd_pm4_opcodes.h").enums
    assert (opcodes["IT_RUN_LIST"], opcodes["IT_MAP_PROCESS"]) == (pm4_fields.RUN_LIST, pm4_fields.MAP_PROCESS)


STRUCTURES: dict[str, tuple[Any, bytes, dict[str, int]]] = {
    "set_resources": (
        structs_pm4.pm4_mes_set_resources,
        pm4.set_resources(5, vmid_mask=0xFFF8, unmap_latency=0x28, queue_type=1, gws_mask=7),
        {
            "bitfields2.vmid_mask": 0xFFF8, "bitfields2.unmap_latency": 0x28, "bitfields2.queue_type": 1,
            "queue_mask_lo": 5, "gws_mask_lo": 7,
        },
    ),
    "map_queues": (
        structs_pm4.pm4_mes_map_queues,
        pm4_fields.MAP_QUEUES.build(doorbell=0x1200, queue_sel=1, engine=3, extended_engine=2, queues=1, mqd=AT, wptr=AT + 8),
        {
            "bitfields2.queue_sel": 1, "bitfields2.engine_sel": 3, "bitfields2.extended_engine_sel": 2,
            "bitfields2.num_queues": 1, "bitfields3.doorbell_offset": 0x1200, "mqd_addr_hi": AT >> 32,
        },
    ),
    "unmap_queues": (
        structs_pm4.pm4_mes_unmap_queues,
        pm4.unmap_queues(0x1200, UnmapAction.RESET, engine=QueueEngine.SDMA1),
        {
            "bitfields2.action": 1, "bitfields2.engine_sel": 3, "bitfields2.num_queues": 1,
            "bitfields3b.doorbell_offset0": 0x1200,
        },
    ),
    "query_status": (
        structs_pm4.pm4_mes_query_status,
        pm4.query_status(AT, 9, doorbell=0x1200, engine=QueueEngine.SDMA0, context=5),
        {
            "bitfields2.command": 2, "bitfields2.context_id": 5, "bitfields3b.doorbell_offset": 0x1200,
            "bitfields3b.engine_sel": 2, "addr_hi": AT >> 32, "data_lo": 9,
        },
    ),
    "run_list": (
        structs_pm4.pm4_mes_runlist,
        pm4.run_list(AT, 41, 7, chain=True),
        {
            "bitfields2.ib_base_lo": low(AT) >> 2, "ib_base_hi": AT >> 32, "bitfields4.ib_size": 41, "bitfields4.chain": 1,
            "bitfields4.valid": 1, "bitfields4.process_cnt": 7, "bitfields4.chained_runlist_idle_disable": 1,
        },
    ),
    "release_mem": (
        structs_pm4.pm4_mec_release_mem,
        pm4.release_mem(AT, 5, actions=("tc_wc", "tc_nc"), interrupt=pm4_fields.ReleaseInterrupt.AFTER_WRITE),
        {
            "bitfields2.event_type": 0x14, "bitfields2.event_index": 5, "bitfields2.tc_wc_action_ena": 1,
            "bitfields2.tc_nc_action_ena": 1, "bitfields2.tc_action_ena": 0, "bitfields3.int_sel": 2,
            "bitfields3.data_sel": 2, "bitfields4b.address_lo_64b": low(AT) >> 3, "address_hi": AT >> 32, "data_lo": 5,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURES)
def test_pm4_packet_laid_over_amds_structure_reads_the_same(name: str) -> None:
    structure, packet, expected = STRUCTURES[name]
    whole = structure.from_buffer_copy(packet)
    for path, value in expected.items():
        found = whole
        for part in path.split("."):
            found = getattr(found, part)
        assert found == value, path
    assert (whole.header.type, whole.header.count) == (3, len(packet) // 4 - 2)


# --- refusals ---------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Callable[[], object], str, str]] = [
    (lambda: pm4.nop(0), "dwords in 1..0x4000", "dwords=0x0"),
    (lambda: pm4.nop(0x4001), "dwords in 1..0x4000", "dwords=0x4001"),
    (lambda: pm4_fields.header(0x10, 0), "payload dwords in 1..0x3fff", "payload dwords=0x0"),
    (lambda: pm4.acquire_mem("l9"), "actions out of tc_nc tc_wc", "l9"),
    (lambda: pm4.acquire_mem(base=256), "a size with the base", "base=0x100 size_bytes=0"),
    (lambda: pm4.acquire_mem(base=1, size_bytes=256), "base aligned to 256 bytes", "base=0x1"),
    (lambda: pm4.acquire_mem(size_bytes=255), "size_bytes a multiple of 256", "size_bytes=255"),
    (lambda: pm4.acquire_mem(size_bytes=-256), "size_bytes a multiple of 256", "size_bytes=-256"),
    (lambda: pm4.release_mem(8, actions=("nothing",)), "actions out of tcl1_vol tc_vol", "nothing"),
    (lambda: pm4.release_mem(4), "address aligned to 8 bytes", "address=0x4"),
    (lambda: pm4.kernel_fence(2, 0, wide=False), "address aligned to 4 bytes", "address=0x2"),
    (lambda: pm4.kernel_fence(8, 1 << 32, wide=False), "value in 0..0xffffffff", "value=0x100000000"),
    (lambda: pm4.kernel_fence(8, 1 << 64), "value in 0..0xffffffffffffffff", "value=0x10000000000000000"),
    (lambda: pm4.release_mem(8, data=ReleaseData.NONE), "address without data in 0..0x0", "address without data=0x8"),
    (lambda: pm4.wait_memory(2, 0), "address aligned to 4 bytes", "address=0x2"),
    (lambda: pm4.wait_memory(0, 1 << 32), "reference in 0..0xffffffff", "reference=0x100000000"),
    (lambda: pm4.wait_memory(0, 0, interval=1 << 16), "interval in 0..0xffff", "interval=0x10000"),
    (lambda: pm4.wait_register(1 << 18, 0), "register in 0..0x3ffff", "register=0x40000"),
    (lambda: pm4.write_then_wait(0, 1 << 18, 0, 0), "done in 0..0x3ffff", "done=0x40000"),
    (lambda: pm4.write_data(0, []), "at least one whole dword", "0 dwords"),
    (lambda: pm4.write_data(2, [1]), "address aligned to 4 bytes", "address=0x2"),
    (lambda: pm4.write_data(0, [1], to=WriteTo.REGISTER), "to MEMORY or L2", "REGISTER"),
    (lambda: pm4.write_data(0, bytes(4 * 0x3FFD)), "at most 16380 dwords of data", "16381 dwords"),
    (lambda: pm4.write_register(0x3FFFF, [1, 2]), "last register in 0..0x3ffff", "last register=0x40000"),
    (lambda: pm4.write_register(-1, [1, 2]), "register in 0..0x3ffff", "register=-0x1"),
    (lambda: pm4.copy_data(CopyFrom.MEMORY, 4, CopyTo.MEMORY, 8, wide=True), "source aligned to 8 bytes", "source=0x4"),
    (lambda: pm4.copy_data(CopyFrom.MEMORY, 4, CopyTo.L2, 2), "target aligned to 4 bytes", "target=0x2"),
    (lambda: pm4.copy_data(CopyFrom.REGISTER, 1 << 18, CopyTo.L2, 0), "source in 0..0x3ffff", "source=0x40000"),
    (lambda: pm4.copy_data(CopyFrom.IMMEDIATE, 1 << 32, CopyTo.L2, 0), "source in 0..0xffffffff", "source=0x100000000"),
    (lambda: pm4.copy_data(CopyFrom.GPU_CLOCK, 1, CopyTo.L2, 0), "source in 0..0x0", "source=0x1"),
    (lambda: pm4.dispatch_direct(0), "x in 1..0xffffffff", "x=0x0"),
    (lambda: pm4.dispatch_direct(1, 1, 1 << 32), "z in 1..0xffffffff", "z=0x100000000"),
    (lambda: pm4.indirect_buffer(2, 8), "base aligned to 4 bytes", "base=0x2"),
    (lambda: pm4.indirect_buffer(4, 0), "dwords in 1..0xfffff", "dwords=0x0"),
    (lambda: pm4.indirect_buffer(4, 8, vmid=16), "vmid in 0..0xf", "vmid=0x10"),
    (lambda: pm4.set_sh_reg(0x2BFF, [1]), "registers in 0x2c00..0x2fff", "0x2bff..0x2bff"),
    (lambda: pm4.set_sh_reg(0x2FFF, [1, 2]), "registers in 0x2c00..0x2fff", "0x2fff..0x3000"),
    (lambda: pm4.set_sh_reg(0x12E0C, [1]), "registers in 0x2c00..0x2fff", "0x12e0c..0x12e0c"),
    (lambda: pm4.set_uconfig_reg(0xC400, [1]), "registers in 0xc000..0xc3ff", "0xc400..0xc400"),
    (lambda: pm4.set_config_reg(0x2C00, [1]), "registers in 0x2000..0x2bff", "0x2c00..0x2c00"),
    (lambda: pm4.set_config_reg(0x2000, []), "at least one whole dword", "0 dwords"),
    (lambda: pm4.pred_exec(0, 1), "xcc_mask in 1..0xff", "xcc_mask=0x0"),
    (lambda: pm4.pred_exec(0x100, 1), "xcc_mask in 1..0xff", "xcc_mask=0x100"),
    (lambda: pm4.pred_exec(1, 0), "dwords in 1..0x3fff", "dwords=0x0"),
    (lambda: pm4.only_on(1, b""), "dwords in 1..0x3fff", "dwords=0x0"),
    (lambda: pm4.set_resources(1, cleaner_shader=256, gws_mask=1), "a cleaner shader or a GWS mask", "both"),
    (lambda: pm4.set_resources(1, cleaner_shader=128), "cleaner_shader aligned to 256", "cleaner_shader=0x80"),
    (lambda: pm4.set_resources(1 << 64), "queue_mask in 0..", "queue_mask=0x1"),
    (lambda: pm4.map_queues(1, 0, 0, me=0, pipe=0, queue=0), "me in 1..0x2", "me=0x0"),
    (lambda: pm4.map_queues(1, 0, 0, me=1, pipe=4, queue=0), "pipe in 0..0x3", "pipe=0x4"),
    (lambda: pm4.map_queues(1, 0, 0, me=1, pipe=0, queue=8), "queue in 0..0x7", "queue=0x8"),
    (lambda: pm4.map_queues(1, 2, 0, me=1, pipe=0, queue=0), "mqd aligned to 4 bytes", "mqd=0x2"),
    (lambda: pm4.map_queues(1, 0, 4, me=1, pipe=0, queue=0), "wptr aligned to 8 bytes", "wptr=0x4"),
    (lambda: pm4.map_queues(1 << 26, 0, 0, me=1, pipe=0, queue=0), "doorbell in 0..0x3ffffff", "doorbell=0x4000000"),
    (lambda: pm4.unmap_queues(1, select=QueueSelect.ALL), "doorbell with ALL in 0..0x0", "doorbell with ALL=0x1"),
    (lambda: pm4.unmap_queues(1, fence_address=8), "a fence only with PREEMPT_NO_UNMAP", "PREEMPT"),
    (lambda: pm4.unmap_queues(1, UnmapAction.RESET, fence_value=8), "a fence only with PREEMPT_NO_UNMAP", "RESET"),
    (
        lambda: pm4.unmap_queues(1, UnmapAction.PREEMPT_NO_UNMAP, fence_address=2),
        "fence_address aligned to 4 bytes",
        "fence_address=0x2",
    ),
    (lambda: pm4.query_status(4, 0), "address aligned to 8 bytes", "address=0x4"),
    (lambda: pm4.invalidate_tlbs(1 << 16), "pasid in 0..0xffff", "pasid=0x10000"),
    (lambda: pm4.run_list(4, 0, 1), "dwords in 1..0xfffff", "dwords=0x0"),
    (lambda: pm4.run_list(4, 8, 16), "processes in 0..0xf", "processes=0x10"),
]


@pytest.mark.parametrize(("build", "expected", "seen"), REFUSED, ids=[f"{row[1][:30]}|{row[2]}" for row in REFUSED])
def test_pm4_builder_given_what_does_not_fit_names_it(build: Callable[[], object], expected: str, seen: str) -> None:
    with pytest.raises(UsageError) as caught:
        build()
    assert caught.value.doing.startswith("building PM4 ")
    assert expected in caught.value.expected
    assert caught.value.seen.startswith(seen)


def test_pm4_register_out_of_range_says_which_packet_takes_it() -> None:
    with pytest.raises(UsageError, match=r"others: pm4\.write_register; numbers are local to the XCC"):
        pm4.set_sh_reg(0x4000, [1])


# --- a launch over all XCCs -------------------------------------------------------------------------------------------

KERNEL = pm4_dispatch.Kernel(
    program_va=0x7F12_3456_7800,
    rsrc1=0x11,
    rsrc2=0x22,
    rsrc3=0x33,
    workgroup=(256, 2, 1),
    user_data=(0xA, 0xB, 0, 0, 0xC),
    kernarg_sgpr=2,
    tmpring_size=0x44,
    resource_limits=0x55,
)


def launched(
    count: int = 8, kernel: pm4_dispatch.Kernel = KERNEL, *, interrupt: bool = False, sequence: int = 77
) -> list[Decoded]:
    template = pm4_dispatch.DispatchTemplate(kernel, fence_va=0x10000, xcc_count=count, interrupt=interrupt)
    return list(pm4_decode.decode_stream(template.launch(0x1_0000_0020, 3, 4, 5, sequence)))


def registers_set(stream: list[Decoded]) -> dict[str, list[int]]:
    """Values by name of the first register of each SET_SH_REG."""
    found = {}
    for packet in stream:
        if packet.text.startswith("SET_SH_REG"):
            name = packet.text.split("(")[1].split(")")[0]
            found[name] = [int(word, 16) for word in packet.text.split("data: ")[1].split()]
    return found


def test_launch_sets_every_register_of_the_kernel() -> None:
    assert registers_set(launched()) == {
        "COMPUTE_START_X": [0, 0, 0, 256, 2, 1],
        "COMPUTE_RESTART_X": [0, 0, 0],
        "COMPUTE_PGM_LO": [0x1234_5678, 0x7F],
        "COMPUTE_PGM_RSRC1": [0x11, 0x22],
        "COMPUTE_PGM_RSRC3": [0x33],
        "COMPUTE_TMPRING_SIZE": [0x44],
        "COMPUTE_RESOURCE_LIMITS": [0x55],
        "COMPUTE_USER_DATA_0": [0xA, 0xB, 0x20, 1, 0xC],
    }


def test_launch_registers_that_are_written_together_are_neighbours() -> None:
    numbers = [
        (Gc.COMPUTE_START_X, Gc.COMPUTE_NUM_THREAD_X, 3),
        (Gc.COMPUTE_NUM_THREAD_X, Gc.COMPUTE_NUM_THREAD_Z, 2),
        (Gc.COMPUTE_PGM_LO, Gc.COMPUTE_PGM_HI, 1),
        (Gc.COMPUTE_PGM_RSRC1, Gc.COMPUTE_PGM_RSRC2, 1),
        (Gc.COMPUTE_DISPATCH_SCRATCH_BASE_LO, Gc.COMPUTE_DISPATCH_SCRATCH_BASE_HI, 1),
    ]
    for first, other, apart in numbers:
        assert pm4_fields.xcc_register(other) - pm4_fields.xcc_register(first) == apart  # type: ignore[arg-type]
    assert pm4_fields.xcc_register(Gc.COMPUTE_PGM_LO) == 0x2E0C
    assert pm4_fields.xcc_register(Gc.SCRATCH_REG0) == 0xC040


def test_launch_on_eight_xccs_fences_waits_and_signals_once() -> None:
    stream = launched(interrupt=True)
    texts = [packet.text for packet in stream]
    at = texts.index("DISPATCH_DIRECT x=3 y=4 z=5 initiator=0x5")
    fences, waits, last = texts[at + 1 : at + 17], texts[at + 17 : at + 25], texts[at + 25 :]
    for xcc in range(8):
        assert fences[2 * xcc] == f"PRED_EXEC xcc_mask={1 << xcc:#x} dwords=8"
        fence = fences[2 * xcc + 1]
        assert fence.startswith("RELEASE_MEM event=CACHE_FLUSH_AND_INV_TS index=5 tc_wb tcl1 tc tc_md")
        assert f"interrupt=NONE data=WHOLE_64 address={0x10000 + 64 * xcc:#x} value=0x4d" in fence
        assert waits[xcc].startswith("WAIT_REG_MEM memory function=GREATER_EQUAL operation=WAIT ")
        assert f"address={0x10000 + 64 * xcc:#x} reference=0x4d mask=0xffffffff" in waits[xcc]
    assert last[0] == "PRED_EXEC xcc_mask=0x1 dwords=8"
    assert "interrupt=AFTER_WRITE data=WHOLE_64 address=0x10200 value=0x4d" in last[1]
    assert len(last) == 2


def test_launch_on_one_xcc_needs_neither_predication_nor_waits() -> None:
    texts = [packet.text.split()[0] for packet in launched(1)]
    assert texts == ["ACQUIRE_MEM"] + ["SET_SH_REG"] * 8 + ["DISPATCH_DIRECT", "RELEASE_MEM"]
    template = pm4_dispatch.DispatchTemplate(KERNEL, fence_va=0x10000, xcc_count=1)
    assert template.done_va == 0x10040
    assert f"address={template.done_va:#x} value=0x4d" in launched(1)[-1].text


def test_launch_gives_each_xcc_its_own_scratch() -> None:
    kernel = dataclasses.replace(KERNEL, scratch_va=0x1_0000_0000_00, scratch_bytes_per_xcc=0x10000)
    stream = launched(8, kernel)
    found = [
        (before.text, packet.text.split("data: ")[1])
        for before, packet in itertools.pairwise(stream)
        if "SCRATCH_BASE" in packet.text
    ]
    assert found == [(f"PRED_EXEC xcc_mask={1 << xcc:#x} dwords=4", f"{0x100 * xcc:08x} 00000001") for xcc in range(8)]
    alone = [packet.text for packet in launched(1, kernel)]
    assert sum("SCRATCH_BASE" in text for text in alone) == 1
    assert not any(text.startswith("PRED_EXEC") for text in alone)


def test_launch_again_changes_only_the_four_things_that_may_change() -> None:
    template = pm4_dispatch.DispatchTemplate(KERNEL, fence_va=0x10000)
    first = words(template.launch(0x1000, 1, 1, 1, 1))
    assert words(template.launch(0x1000, 1, 1, 1, 1)) == first
    other = words(template.launch(0xFFF0_0000_1000, 7, 8, 9, 0xFFFF_FFFF))
    changed = [at for at, (a, b) in enumerate(zip(first, other, strict=True)) if a != b]
    assert len(changed) == 1 + 3 + 8 + 8 + 1  # the low half of the kernarg address is the same
    assert template.dwords == len(first)


@given(
    st.integers(1, 8),
    st.integers(0, (1 << 44) - 1),
    st.tuples(*[st.integers(1, 0xFFFF_FFFF)] * 3),
    st.integers(1, 0xFFFF_FFFF),
)
def test_launch_patched_equals_a_stream_put_together_anew(
    count: int, kernarg: int, grid: tuple[int, int, int], sequence: int
) -> None:
    template = pm4_dispatch.DispatchTemplate(KERNEL, fence_va=0x10000, xcc_count=count)
    template.launch(0, 9, 9, 9, 9)
    patched = bytes(template.launch(16 * kernarg, *grid, sequence))
    slots = [0x10000 + 64 * xcc for xcc in range(count)] if count > 1 else []
    tail = pm4.dispatch_direct(*grid)
    tail += b"".join(pm4.only_on(1 << xcc, pm4.kernel_fence(slot, sequence)) for xcc, slot in enumerate(slots))
    tail += b"".join(pm4.wait_memory(slot, sequence, function=Function.GREATER_EQUAL) for slot in slots)
    done = pm4.kernel_fence(template.done_va, sequence)
    tail += pm4.only_on(1, done) if slots else done
    user = (0xA, 0xB, 16 * kernarg & 0xFFFF_FFFF, 16 * kernarg >> 32, 0xC)
    assert patched.endswith(pm4.set_sh_reg(0x2E40, user) + tail)


@pytest.mark.parametrize(
    ("arguments", "expected", "seen"),
    [
        ((8, 1, 1, 1, 1), "kernarg_va aligned to 16 bytes", "kernarg_va=0x8"),
        ((1 << 48, 1, 1, 1, 1), "kernarg_va..+0x10 below", "kernarg_va=0x1000000000000"),
        ((-16, 1, 1, 1, 1), "kernarg_va..+0x10 below", "kernarg_va=-0x10"),
        ((0, 0, 1, 1, 1), "x in 1..0xffffffff", "x=0x0"),
        ((0, 1, -1, 1, 1), "y in 1..0xffffffff", "y=-0x1"),
        ((0, 1, 1, 1 << 32, 1), "z in 1..0xffffffff", "z=0x100000000"),
        ((0, 1, 1, 1, 0), "sequence in 1..0xffffffff", "sequence=0x0"),
        ((0, 1, 1, 1, 1 << 32), "sequence in 1..0xffffffff", "sequence=0x100000000"),
    ],
)
def test_launch_given_what_does_not_fit_names_it(arguments: tuple[int, ...], expected: str, seen: str) -> None:
    template = pm4_dispatch.DispatchTemplate(KERNEL, fence_va=0x10000)
    with pytest.raises(UsageError) as caught:
        template.launch(*arguments)
    assert caught.value.doing == "building PM4 launch"
    assert caught.value.expected.startswith(expected)
    assert caught.value.seen == seen


def test_launch_with_a_sign_extended_kernarg_address_is_taken() -> None:
    template = pm4_dispatch.DispatchTemplate(KERNEL, fence_va=0x10000)
    stream = list(pm4_decode.decode_stream(template.launch(0xFFFF_8000_0000_0010, 1, 1, 1, 1)))
    assert registers_set(stream)["COMPUTE_USER_DATA_0"][2:4] == [0x10, 0xFFFF_8000]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"program_va": 0}, "program_va in 1.."),
        ({"program_va": 0x80}, "program_va aligned to 256"),
        ({"rsrc1": 1 << 32}, "rsrc1 in 0..0xffffffff"),
        ({"tmpring_size": -1}, "tmpring_size in 0..0xffffffff"),
        ({"workgroup": (0, 1, 1)}, "workgroup.x in 1..0x400"),
        ({"workgroup": (1, 1, 1025)}, "workgroup.z in 1..0x400"),
        ({"workgroup": (64, 64, 1)}, "threads of a workgroup in 1..0x400"),
        ({"user_data": (0,)}, "user SGPRs in 2..0x10"),
        ({"user_data": (0,) * 17}, "user SGPRs in 2..0x10"),
        ({"kernarg_sgpr": 4}, "kernarg_sgpr in 0..0x3"),
        ({"scratch_va": 0x1000}, "scratch_va and scratch_bytes_per_xcc"),
        ({"scratch_va": 0x1000, "scratch_bytes_per_xcc": 100}, "scratch_va and scratch_bytes_per_xcc"),
        ({"scratch_va": 0x10, "scratch_bytes_per_xcc": 256}, "scratch_va aligned to 256"),
        ({"scratch_va": (1 << 48) - 256, "scratch_bytes_per_xcc": 256}, "scratch_va..+0x800 below"),
    ],
)
def test_template_of_a_kernel_that_cannot_run_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        pm4_dispatch.DispatchTemplate(dataclasses.replace(KERNEL, **changes), fence_va=0x10000)
    assert caught.value.expected.startswith(expected)


@pytest.mark.parametrize(
    ("fence", "count", "expected"),
    [(0x10020, 8, "fence_va aligned to 64"), (0, 0, "xcc_count in 1..0x8"), (0, 9, "xcc_count in 1..0x8")],
)
def test_template_with_a_bad_fence_or_count_is_refused(fence: int, count: int, expected: str) -> None:
    with pytest.raises(UsageError, match=expected.replace(".", r"\.")):
        pm4_dispatch.DispatchTemplate(KERNEL, fence_va=fence, xcc_count=count)


# --- reading back -----------------------------------------------------------------------------------------------------

TEXTS: list[tuple[bytes | list[int], str]] = [
    (pm4.nop(), "NOP dwords=1"),
    (pm4.nop(5), "NOP dwords=5"),
    (pm4.event_write(), "EVENT_WRITE event=CS_PARTIAL_FLUSH index=4"),
    (
        pm4.wait_memory(16, 1, function=Function.GREATER_EQUAL),
        "WAIT_REG_MEM memory function=GREATER_EQUAL operation=WAIT engine=0x0 address=0x10 reference=0x1"
        " mask=0xffffffff interval=4",
    ),
    (
        pm4.write_then_wait(0x106, 0x107, 4, 4),
        "WAIT_REG_MEM register function=EQUAL operation=WRITE_THEN_WAIT engine=0x0 register=0x106 done=0x107"
        " reference=0x4 mask=0x4 interval=32",
    ),
    (pm4.write_data(16, [1, 2]), "WRITE_DATA to=MEMORY confirm address=0x10 data: 00000001 00000002"),
    (pm4.write_register(0xC040, [7]), "WRITE_DATA to=REGISTER confirm register=0xc040 (SCRATCH_REG0) data: 00000007"),
    (pm4.set_uconfig_reg(0xC040, [7]), "SET_UCONFIG_REG offset=0x40 register=0xc040 (SCRATCH_REG0) data: 00000007"),
    (pm4.set_sh_reg(0x2FFF, [7]), "SET_SH_REG offset=0x3ff register=0x2fff data: 00000007"),
    (pm4.set_config_reg(0x2004, [7]), "SET_CONFIG_REG offset=0x4 register=0x2004 (GRBM_STATUS) data: 00000007"),
    (
        pm4.copy_data(CopyFrom.GPU_CLOCK, 0, CopyTo.MEMORY, 8, wide=True),
        "COPY_DATA from=GPU_CLOCK source=0x0 to=MEMORY target=0x8 wide confirm",
    ),
    (pm4.indirect_buffer(0x100, 8, vmid=3), "INDIRECT_BUFFER base=0x100 dwords=8 vmid=3 valid"),
    (pm4.pred_exec(3, 9), "PRED_EXEC xcc_mask=0x3 dwords=9"),
    (
        pm4.map_queues(0x10, 0x1000, 0x2000, me=2, pipe=1, queue=3),
        "MAP_QUEUES doorbell=0x10 engine=COMPUTE extended_engine=0 me=1 pipe=1 queue=3 vmid=0 queue_sel=0 queue_type=0"
        " alloc_format=0 queues=1 mqd=0x1000 wptr=0x2000",
    ),
    (
        pm4.unmap_queues(0x10, UnmapAction.RESET),
        "UNMAP_QUEUES action=RESET select=BY_DOORBELL engine=COMPUTE extended_engine=0 queues=1 doorbell=0x10"
        " control3=0x0 control4=0x0 control5=0x0",
    ),
    (
        pm4.query_status(0x1000, 7),
        "QUERY_STATUS context=0x0 interrupt_sel=0 command=2 doorbell=0x0 engine=COMPUTE address=0x1000 value=0x7",
    ),
    (pm4.invalidate_tlbs(5, 2), "INVALIDATE_TLBS select=1 all_hubs pasid=5 flush_type=2"),
    (pm4.run_list(0x20, 41, 3), "RUN_LIST base=0x20 dwords=41 valid processes=3"),
    (
        pm4.set_resources(3),
        "SET_RESOURCES vmid_mask=0x0 unmap_latency=0 queue_type=0 queue_mask=0x3 gws_mask=0x0 oac_mask=0x0 gds_heap=0x0",
    ),
    # User SDMA queue of the KFD in the run list: control word as it was seen.
    (
        [0xC005_A200, 0x2800_0010, 0x4800, 0x1000, 0, 0x2000, 0],
        "MAP_QUEUES doorbell=0x1200 engine=SDMA0 extended_engine=0 me=0 pipe=0 queue=0 vmid=0 queue_sel=1 queue_type=0"
        " alloc_format=0 queues=1 mqd=0x1000 wptr=0x2000",
    ),
    (
        [0xC013_A100, 0x1400_8001, 0x100_0001, 0, 0x10002, 0x1018, *[0] * 7, 2 << 22, *[0] * 7],
        "MAP_PROCESS pasid=0x8001 page_table=0x1000001 sh_mem_bases=0x10002 sh_mem_config=0x1018 queues=2 quantum=10",
    ),
    (
        [0xC007_1E00, 0x2F, 0x1000, 0, 1, 0, 0, 0, 0],
        "ATOMIC_MEM operation=0x2f command=0 address=0x1000 source=0x1 compare=0x0 interval=0",
    ),
    (
        [0xC005_5000, 0x4000_0000, 5, 0, 0x1000, 0, 64],
        "DMA_DATA from=0x2 source=0x5 to=0x0 target=0x1000 size_bytes=64",
    ),
    ([0xC000_D200, 0], "RUN_CLEANER_SHADER payload: 00000000"),
    ([0xC001_FF00, 1, 2], "unknown PM4 op 0xff payload: 00000001 00000002"),
    ([0xC000_4601, 7], "EVENT_WRITE event=CS_PARTIAL_FLUSH index=0 predicated"),
    ([0xC001_4600, 7, 8], "EVENT_WRITE event=CS_PARTIAL_FLUSH index=0 (header says 3 dwords, not 2)"),
    ([0xC000_4600, 0x3F], "EVENT_WRITE event=0x3f? index=0"),
    ([0xC000_3700, 0x500], "PM4 WRITE_DATA cut off after 2 of 4 dwords: c0003700 00000500"),
    ([0xC006_4900, 0x0023_8514], "PM4 RELEASE_MEM cut off after 2 of 8 dwords: c0064900 00238514"),
    ([0x8000_0000], "type 2 filler: 80000000"),
    ([0x4000_0000], "type 1, no packet of gfx9: 40000000"),
    ([0x0001_2004, 5, 6], "type 0 register=0x2004 data: 00000005 00000006"),
    ([], "nothing"),
]


@pytest.mark.parametrize(("packet", "text"), TEXTS, ids=[text[:40] for _, text in TEXTS])
def test_pm4_decode_reads_name_and_fields(packet: bytes | list[int], text: str) -> None:
    assert pm4_decode.decode(packet) == text


def test_pm4_stream_of_all_packets_is_read_packet_by_packet() -> None:
    parts = [row[1] for row in LITERAL if row[0] != "only on"]
    found = list(pm4_decode.decode_stream(b"".join(parts)))
    assert [packet.dwords for packet in found] == [len(part) // 4 for part in parts]
    assert [packet.text for packet in found] == [pm4_decode.decode(part) for part in parts]


def test_pm4_decode_of_a_long_write_shows_a_part() -> None:
    text = pm4_decode.decode(pm4.write_data(0, list(range(1000))))
    assert text.endswith("00000006 00000007 (+992 more)")


def test_pm4_stream_starts_where_it_is_told_and_stops_at_its_limit() -> None:
    data = pm4.nop(3) + pm4.event_write() + pm4.nop()
    assert list(pm4_decode.decode_stream(data, 3, 1)) == [Decoded(3, 2, "EVENT_WRITE event=CS_PARTIAL_FLUSH index=4")]


@settings(max_examples=300)
@given(st.lists(st.integers(-(1 << 70), 1 << 70), max_size=80), st.integers(-5, 90))
def test_pm4_stream_of_garbage_moves_on_and_ends(garbage: list[int], start: int) -> None:
    found = list(pm4_decode.decode_stream(garbage, start))
    assert all(packet.text and "\n" not in packet.text and len(packet.text) < 500 for packet in found)
    places = [packet.at for packet in found]
    assert places == sorted(set(places))


@settings(max_examples=300)
@given(st.sampled_from([*range(256)]), st.integers(0, 0x3FFF), st.lists(dwords32, max_size=24), st.integers(0, 3))
def test_pm4_decode_of_every_opcode_with_any_words_never_raises(
    op: int, count: int, rest: list[int], kind: int
) -> None:
    assert pm4_decode.decode([kind << 30 | count << 16 | op << 8, *rest])


@given(dword_addresses, dwords32, dwords32, st.sampled_from(Function), st.integers(0, 0xFFFF))
def test_pm4_wait_read_back_gives_what_was_built(
    at: int, reference: int, mask: int, function: Function, interval: int
) -> None:
    built = pm4.wait_memory(at, reference, mask, function, interval=interval)
    assert pm4_fields.WAIT_MEMORY.values(built) == {
        "function": function, "operation": 0, "engine": 0, "address": at, "reference": reference, "mask": mask,
        "interval": interval,
    }  # fmt: skip


@given(
    st.integers(0, 0x3FF_FFFF), dword_addresses, dword_addresses,
    st.integers(1, 2), st.integers(0, 3), st.integers(0, 7), st.integers(0, 15),
)  # fmt: skip
def test_pm4_map_queues_read_back_gives_what_was_built(
    doorbell: int, mqd: int, wptr: int, me: int, pipe: int, queue: int, vmid: int
) -> None:
    wptr &= ~7
    values = pm4_fields.MAP_QUEUES.values(pm4.map_queues(doorbell, mqd, wptr, me=me, pipe=pipe, queue=queue, vmid=vmid))
    assert values == {
        "doorbell": doorbell, "engine": 0, "extended_engine": 0, "me": me - 1, "pipe": pipe, "queue": queue, "vmid": vmid,
        "queue_sel": 0, "queue_type": 0, "alloc_format": 0, "queues": 1, "check_disable": 0, "mqd": mqd, "wptr": wptr,
    }  # fmt: skip


@given(st.integers(0x2C00, 0x2FFF), st.lists(dwords32, min_size=1, max_size=24))
def test_pm4_set_sh_reg_read_back_gives_what_was_built(register: int, values: list[int]) -> None:
    if register + len(values) > 0x3000:
        return
    built = pm4.set_sh_reg(register, values)
    assert pm4_fields.SET_SH_REG.values(built) == {"offset": register - 0x2C00}
    assert words(built)[2:] == values
