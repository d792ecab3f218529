"""Memory queue descriptors of gfx9: what a compute queue's registers will hold, as the MEC reads it.

Source: Linux v7.3 v9_structs.h (layout, generated), gfx_v9_4_3.c gfx_v9_4_3_xcc_mqd_init (KIQ), amdkfd/kfd_mqd_manager_v9.c
init_mqd, update_mqd, init_mqd_v9_4_3 (queues of users: several XCCs, AQL). Values that the kernel reads from the registers
first are the reset values: CP_HQD_PERSISTENT_STATE 0xBE05301 (its own constant), CP_MQD_CONTROL with PRIV_STATE."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from registers.amd import gc_9_4_3 as gc

HEADER: Final = 0xC0310800
PERSISTENT_STATE: Final = 0x0BE0_5301
PRELOAD_SIZE: Final = 0x53
MQD_BYTES: Final = 4096  # the structure has 2064; several XCCs take steps of a page
EOP_BYTES: Final = 4096
_RPTR_BLOCK: Final = 5  # the read pointer is reported each 2^(n+1) dwords, and when the ring is empty
_DISPATCH_POINTER: Final = 1 << 14  # of CP_HQD_HQ_STATUS0: the packet processor keeps DISPATCH_PTR
_PIPELINE_STATISTICS: Final = 1
_MISC_RESERVED: Final = 3
_ALL: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class QueueLayout:
    """Where the parts of one queue lie. `mqd` as the KIQ's VMID sees it, the others as the queue's own VMID does."""

    mqd: int
    ring: int
    ring_bytes: int
    rptr: int
    wptr: int
    eop: int
    doorbell: int  # 64-bit index
    vmid: int = 0
    aql: bool = False
    privileged: bool = False
    position: int = 0  # which of the queue's XCCs this is
    xcc_count: int = 1

    def step(self, position: int) -> QueueLayout:
        """The same queue on another of its XCCs."""
        from dataclasses import replace

        return replace(self, mqd=self.mqd + MQD_BYTES * position, position=position)


def build(layout: QueueLayout) -> Any:
    """The structure (v9_mqd_allocation); `bytes()` of it goes to memory."""
    from registers.amd.structs_mqd import v9_mqd_allocation

    whole = v9_mqd_allocation()
    whole.dynamic_cu_mask = whole.dynamic_rb_mask = _ALL
    mqd = whole.mqd
    mqd.header = HEADER
    mqd.compute_pipelinestat_enable = _PIPELINE_STATISTICS
    for engine in range(4):
        setattr(mqd, f"compute_static_thread_mgmt_se{engine}", _ALL)
    mqd.compute_misc_reserved = _MISC_RESERVED
    cu_mask = layout.mqd + type(whole).dynamic_cu_mask.offset
    _address(mqd, "dynamic_cu_mask_addr", cu_mask)
    _address(mqd, "cp_mqd_base_addr", layout.mqd)
    _address(mqd, "cp_hqd_pq_base", layout.ring >> 8)
    _address(mqd, "cp_hqd_pq_rptr_report_addr", layout.rptr)
    _address(mqd, "cp_hqd_pq_wptr_poll_addr", layout.wptr)
    _address(mqd, "cp_hqd_eop_base_addr", layout.eop >> 8)
    mqd.cp_hqd_vmid = layout.vmid
    mqd.cp_mqd_control = gc.CP_MQD_CONTROL_t.of(PRIV_STATE=1).value
    mqd.cp_hqd_pq_doorbell_control = _doorbell(layout)
    mqd.cp_hqd_pq_control = _control(layout)
    mqd.cp_hqd_persistent_state = PERSISTENT_STATE if layout.privileged else _persistent()
    mqd.cp_hqd_quantum = gc.CP_HQD_QUANTUM_t.of(QUANTUM_EN=1, QUANTUM_SCALE=1, QUANTUM_DURATION=1).value
    mqd.cp_hqd_ib_control = gc.CP_HQD_IB_CONTROL_t.of(MIN_IB_AVAIL_SIZE=3).value
    mqd.cp_hqd_eop_control = gc.CP_HQD_EOP_CONTROL_t.of(EOP_SIZE=_log2(EOP_BYTES // 4) - 1).value
    mqd.cp_hqd_active = int(layout.privileged)  # MAP_QUEUES starts the others
    if not layout.privileged:
        mqd.cp_hqd_hq_status0 = _DISPATCH_POINTER
    if layout.aql:
        mqd.cp_hqd_aql_control = gc.CP_HQD_AQL_CONTROL_t.of(CONTROL0=1).value
        mqd.compute_tg_chunk_size = 1
        mqd.compute_current_logic_xcc_id = layout.position
    if layout.xcc_count > 1:
        mqd.cp_mqd_stride_size = MQD_BYTES
    return whole


def _control(layout: QueueLayout) -> int:
    """CP_HQD_PQ_CONTROL. Only the first XCC of several reports its read pointer."""
    fields = {"QUEUE_SIZE": _log2(layout.ring_bytes // 4) - 1, "RPTR_BLOCK_SIZE": _RPTR_BLOCK}
    if layout.privileged:
        fields |= {"PRIV_STATE": 1, "KMD_QUEUE": 1}
    else:
        fields |= {"UNORD_DISPATCH": 1}
    if layout.aql:
        fields |= {"SLOT_BASED_WPTR": 2, "QUEUE_FULL_EN": 1, "WPP_CLAMP_EN": 1}
    if layout.position:
        fields |= {"NO_UPDATE_RPTR": 1}
    return gc.CP_HQD_PQ_CONTROL_t.of(**fields).value


def _doorbell(layout: QueueLayout) -> int:
    """The register counts dwords, a doorbell has two."""
    return gc.CP_HQD_PQ_DOORBELL_CONTROL_t.of(
        DOORBELL_OFFSET=2 * layout.doorbell, DOORBELL_EN=1, DOORBELL_BIF_DROP=int(layout.aql)
    ).value


@lru_cache(maxsize=1)
def _persistent() -> int:
    return gc.CP_HQD_PERSISTENT_STATE_t.of(PRELOAD_REQ=1, PRELOAD_SIZE=PRELOAD_SIZE).value


def _address(mqd: Any, name: str, value: int) -> None:
    setattr(mqd, f"{name}_lo", value & _ALL)
    setattr(mqd, f"{name}_hi", value >> 32)


def _log2(value: int) -> int:
    return value.bit_length() - 1
