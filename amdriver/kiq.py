"""KIQ: the queue of one XCC by which the driver asks its MEC to map and unmap the others.

Source: Linux v7.3 gfx_v9_4_3.c (xcc_kiq_setting, xcc_kiq_init_register, xcc_q_fini_register, ring_test_ring), amdgpu_gfx.c
(amdgpu_gfx_kiq_acquire: me 2, pipe 1, queue 0; enable_kcq, disable_kcq); amdgpu-on-model.md items 39, 40, 64.

Everything that it reads lies in VRAM that no page table maps, by MC address: it works whatever becomes of the tables. Its
registers are the only ones of a queue that are written by MMIO, through GRBM_GFX_CNTL, which is left at 0."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from amdriver import mqd, pm4, pm4_decode
from amdriver.mqd import EOP_BYTES, MQD_BYTES, QueueLayout
from amdriver.pm4_fields import xcc_register
from amdriver.ring import CONTROL_BYTES, Memory, Queue, VramBlock
from base.errors import WaitTimeout
from registers.amd.gc_9_4_3 import Gc

if TYPE_CHECKING:
    from amdriver.gpu import Gpu
    from registers.core import reg

ME: Final = 2
PIPE: Final = 1
QUEUE: Final = 0
RING_BYTES: Final = 4096
KIQ_BYTES: Final = MQD_BYTES + RING_BYTES + CONTROL_BYTES + EOP_BYTES
ANSWER_S: Final = 0.1
DEQUEUE_S: Final = 0.1
_RING_AT: Final = MQD_BYTES
_EOP_AT: Final = _RING_AT + RING_BYTES + CONTROL_BYTES
_ASKED: Final = 0xCAFE_DEAD
_FIRST_ANSWER: Final = 0xDEAD_BEEF  # what the kernel's ring test writes; later answers count on from it
_DEQUEUE_DRAIN: Final = 1
_DOORBELL_HIT: Final = 0x4000_0000  # magic: from xcc_q_fini_register, written before the 0
_ACTIVE: Final = 1
_QWORD: Final = struct.Struct("<Q")

# HQD registers of the KIQ in the order of writing, and the MQD's member that each gets. What follows ACTIVE makes it run.
_REGISTERS: Final[tuple[tuple[reg[Any], str], ...]] = (
    (Gc.CP_HQD_EOP_BASE_ADDR, "cp_hqd_eop_base_addr_lo"),
    (Gc.CP_HQD_EOP_BASE_ADDR_HI, "cp_hqd_eop_base_addr_hi"),
    (Gc.CP_HQD_EOP_CONTROL, "cp_hqd_eop_control"),
    (Gc.CP_MQD_BASE_ADDR, "cp_mqd_base_addr_lo"),
    (Gc.CP_MQD_BASE_ADDR_HI, "cp_mqd_base_addr_hi"),
    (Gc.CP_MQD_CONTROL, "cp_mqd_control"),
    (Gc.CP_HQD_PQ_BASE, "cp_hqd_pq_base_lo"),
    (Gc.CP_HQD_PQ_BASE_HI, "cp_hqd_pq_base_hi"),
    (Gc.CP_HQD_PQ_CONTROL, "cp_hqd_pq_control"),
    (Gc.CP_HQD_PQ_RPTR_REPORT_ADDR, "cp_hqd_pq_rptr_report_addr_lo"),
    (Gc.CP_HQD_PQ_RPTR_REPORT_ADDR_HI, "cp_hqd_pq_rptr_report_addr_hi"),
    (Gc.CP_HQD_PQ_WPTR_POLL_ADDR, "cp_hqd_pq_wptr_poll_addr_lo"),
    (Gc.CP_HQD_PQ_WPTR_POLL_ADDR_HI, "cp_hqd_pq_wptr_poll_addr_hi"),
    (Gc.CP_HQD_IB_CONTROL, "cp_hqd_ib_control"),
    (Gc.CP_HQD_QUANTUM, "cp_hqd_quantum"),
    (Gc.CP_HQD_PQ_RPTR, "cp_hqd_pq_rptr"),
    (Gc.CP_HQD_PQ_WPTR_LO, "cp_hqd_pq_wptr_lo"),
    (Gc.CP_HQD_PQ_WPTR_HI, "cp_hqd_pq_wptr_hi"),
    (Gc.CP_HQD_VMID, "cp_hqd_vmid"),
    (Gc.CP_HQD_PERSISTENT_STATE, "cp_hqd_persistent_state"),
    (Gc.CP_HQD_PQ_DOORBELL_CONTROL, "cp_hqd_pq_doorbell_control"),
    (Gc.CP_HQD_ACTIVE, "cp_hqd_active"),
)
# What the registers of a queue tell when it is stuck: of the XCC, and of the queue itself.
XCC_STATE: Final = ("GRBM_STATUS", "CP_STAT", "CP_MEC_CNTL", "CP_CPC_STATUS", "CP_CPC_STALLED_STAT1", "RLC_SAFE_MODE")
HQD_STATE: Final = (
    "CP_HQD_ACTIVE", "CP_HQD_VMID", "CP_HQD_PQ_RPTR", "CP_HQD_PQ_WPTR_LO", "CP_HQD_PQ_CONTROL",
    "CP_HQD_PQ_DOORBELL_CONTROL", "CP_HQD_DEQUEUE_REQUEST", "CP_HQD_HQ_STATUS0", "CP_HQD_ERROR",
)  # fmt: skip


@contextmanager
def selected(gc: Gc, *, me: int = 0, pipe: int = 0, queue: int = 0, vmid: int = 0) -> Iterator[None]:
    """Banked registers of this XCC are those of this queue (or VMID) within; of none afterwards, whatever happens."""
    gc.GRBM_GFX_CNTL.write(MEID=me, PIPEID=pipe, QUEUEID=queue, VMID=vmid)
    try:
        yield
    finally:
        gc.GRBM_GFX_CNTL.write(0)


def hqd_state(gc: Gc, me: int, pipe: int, queue: int) -> tuple[str, ...]:
    """Registers of an XCC and of one of its queues, in words."""
    shown = [_shown(gc, name) for name in XCC_STATE]
    with selected(gc, me=me, pipe=pipe, queue=queue):
        shown += [_shown(gc, name) for name in HQD_STATE]
    return tuple(shown)


def _shown(gc: Gc, name: str) -> str:
    bound = getattr(gc, name)
    return str(bound.show(bound.read()))


class Kiq(Queue):
    """The KIQ of one XCC. `xcc` is its physical number, `block` + `at` the memory of KIQ_BYTES that it lives in."""

    unit_bytes = 4

    def __init__(self, gpu: Gpu, gmc: Memory, gc: Gc, *, xcc: int, block: VramBlock, at: int, doorbell: int) -> None:
        super().__init__(
            gpu,
            gmc,
            block,
            name=f"KIQ of XCC {xcc}",
            at=at + _RING_AT,
            address=block.mc_addr + at + _RING_AT,
            ring_bytes=RING_BYTES,
            doorbell=doorbell,
        )
        self.gc = gc
        self.xcc = xcc
        self._block = block
        self._mqd_at = at
        self._answer = _FIRST_ANSWER - 1

    @property
    def layout(self) -> QueueLayout:
        start = self._block.mc_addr + self._mqd_at
        return QueueLayout(
            mqd=start,
            ring=self.address,
            ring_bytes=self.ring_bytes,
            rptr=self.rptr_va,
            wptr=self.wptr_va,
            eop=start + _EOP_AT,
            doorbell=self.doorbell,
            privileged=True,
        )

    # ---- life

    def image(self) -> bytes:
        """What its memory must hold at the start: MQD, an empty ring, pointers of 0."""
        self._pending = []
        self._wptr = self._seen_rptr = 0
        return bytes(mqd.build(self.layout)).ljust(KIQ_BYTES, b"\0")

    def is_running(self) -> bool:
        """Whether the queue's place is taken, by us or by whoever was here before."""
        with selected(self.gc, me=ME, pipe=PIPE, queue=QUEUE):
            return bool(self.gc.CP_HQD_ACTIVE.read().ACTIVE)

    def start(self) -> None:
        """Write the registers and let it run. The memory was written, and flushed, before."""
        gc, descriptor = self.gc, mqd.build(self.layout).mqd
        schedulers = gc.RLC_CP_SCHEDULERS
        schedulers.write(schedulers.read().value & ~0xFF | 0x80 | ME << 5 | PIPE << 3 | QUEUE)
        with selected(gc, me=ME, pipe=PIPE, queue=QUEUE):
            if gc.CP_HQD_ACTIVE.read().ACTIVE:
                self._dequeue()
            gc.CP_PQ_WPTR_POLL_CNTL.write(0)
            for register, member in _REGISTERS:
                gc.bus.write(gc.address_of(register), getattr(descriptor, member))
        gc.CP_PQ_STATUS.write(DOORBELL_ENABLE=1)

    def request_stop(self) -> None:
        """Ask it to leave the MEC. Its registers stay selected until `finish_stop`."""
        gc = self.gc
        gc.GRBM_GFX_CNTL.write(MEID=ME, PIPEID=PIPE, QUEUEID=QUEUE)
        if gc.CP_HQD_ACTIVE.read().ACTIVE:
            gc.CP_HQD_DEQUEUE_REQUEST.write(DEQUEUE_REQ=_DEQUEUE_DRAIN)

    def finish_stop(self) -> None:
        """Wait for that, and leave its registers as the kernel does, so that the next driver can start its own. It is
        switched off by force when it does not go by itself; then WaitTimeout."""
        gc = self.gc
        try:
            wait_inactive(self.gpu, gc, self.name)
        except WaitTimeout:
            gc.CP_HQD_ACTIVE.write(0)
            raise
        finally:
            gc.CP_HQD_DEQUEUE_REQUEST.write(0)
            gc.CP_HQD_IQ_TIMER.write(0)
            gc.CP_HQD_IB_CONTROL.write(0)
            gc.CP_HQD_PERSISTENT_STATE.write(mqd.PERSISTENT_STATE)
            gc.CP_HQD_PQ_DOORBELL_CONTROL.write(_DOORBELL_HIT)
            gc.CP_HQD_PQ_DOORBELL_CONTROL.write(0)
            gc.CP_HQD_PQ_RPTR.write(0)
            gc.CP_HQD_PQ_WPTR_HI.write(0)
            gc.CP_HQD_PQ_WPTR_LO.write(0)
            gc.GRBM_GFX_CNTL.write(0)

    # ---- work

    def prepare_test(self) -> None:
        """A value in the scratch register that no answer has."""
        self.gc.SCRATCH_REG0.write(_ASKED)

    def stage(self, packets: bytes = b"") -> None:
        """Put packets into the ring, with one behind them that answers in SCRATCH_REG0. Flush the HDP, then `ring`."""
        self._answer = self._answer + 1 & 0xFFFF_FFFF
        answer = pm4.set_uconfig_reg(xcc_register(Gc.SCRATCH_REG0), (self._answer,))
        self.add(packets + answer)
        self.write_pending()

    def ring(self) -> None:
        """The doorbell alone: this queue does not poll."""
        self._ring_doorbell()

    def wait_answer(self, doing: str, timeout_s: float = ANSWER_S) -> None:
        """Until all that was staged is done. Raises QueueStuck."""
        register = self.gc.SCRATCH_REG0
        try:
            self.gpu.wait(
                lambda: register.read().value,
                lambda seen: seen == self._answer,
                doing=doing,
                expected=f"{register.name}={self._answer:#x}",
                timeout_s=timeout_s,
                where=register.where,
                show=hex,
            )
        except WaitTimeout as late:
            raise self.stuck(late) from late
        self._seen_rptr = self._wptr

    # ---- inside

    def _dequeue(self) -> None:
        """Within the selection."""
        gc = self.gc
        gc.CP_HQD_DEQUEUE_REQUEST.write(DEQUEUE_REQ=_DEQUEUE_DRAIN)
        wait_inactive(self.gpu, gc, self.name)
        gc.CP_HQD_DEQUEUE_REQUEST.write(0)

    def _store(self, at: int, data: bytes) -> None:
        self._block.write(self._at + at, data, flush=False)

    def _reported(self) -> int:
        return super()._reported() % (self.unit_bytes << 32)

    def _decode(self, data: bytes) -> str:
        return pm4_decode.decode(data)

    def _filler(self, size_bytes: int) -> bytes:
        return pm4.nop(size_bytes // 4)

    def _state(self) -> tuple[tuple[str, ...], str]:
        return hqd_state(self.gc, ME, PIPE, QUEUE), self.gc.CP_MEC_CNTL.where


def wait_inactive(gpu: Gpu, gc: Gc, name: str, timeout_s: float = DEQUEUE_S) -> None:
    """Until the selected queue has left the MEC."""
    gpu.wait(
        gc.CP_HQD_ACTIVE.read,
        lambda value: not value.ACTIVE,
        doing=f"dequeuing {name}",
        expected="CP_HQD_ACTIVE.ACTIVE=0",
        timeout_s=timeout_s,
        where=gc.CP_HQD_ACTIVE.where,
        next_step="gpumend probe; then gpumend reset",
        show=gc.CP_HQD_ACTIVE.show,
    )
