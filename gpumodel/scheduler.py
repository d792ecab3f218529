"""What the KIQ and a HIQ do beside plain packets: map, unmap and query queues; run lists of processes.

Source: Linux v7.3 amdgpu/gfx_v9_4_3.c (KIQ packets), amdkfd/kfd_packet_manager_v9.c, kfd_pm4_headers_ai.h,
kfd_mqd_manager_v9.c (MQDs of several XCCs); research/amdgpu-on-model.md items 40, 48, 62, 66 to 70, 75."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from gpumodel.faults import Reset
from gpumodel.gmc import PageFault
from gpumodel.pm4 import BadPacket, Body, Pm4, Verdict, needs
from gpumodel.queues import HQD_WORDS, MQD_LOGIC_XCC, Bank, ComputeQueue, Slot
from gpumodel.registerfile import WORD
from gpumodel.resets import Fate
from registers.amd.structs_pm4 import Op

if TYPE_CHECKING:
    from gpumodel.gfx import Gfx

MAP_PROCESS = 0xA1  # kfd_pm4_opcodes.h
RUN_LIST = 0xA5
MQD_BYTES = 2048
MQD_HQD = 128  # dword of the first HQD register
MQD_RPTR = 138
MQD_STACK_SIZE, MQD_WAVES = 175, 176  # control stack size; where the state of waves ends: the same when there is none
MQD_WPTR = 182
MQD_STRIDE = 226
MQD_STUCK = 240  # queue_doorbell_id0 to 15 of a HIQ
MOST_STUCK = 16
LATENCY_UNIT_S = 0.1  # SET_RESOURCES.unmap_latency: kfd_packet_manager_v9.c divides milliseconds by 100
DOORBELL_BITS = 0x0FFFFFFC
DOORBELL_EN = 1 << 30
SAVED_BYTES = 0x1000  # guess: what the state of a wave takes; only "not 0" matters
ENGINE_COMPUTE, ENGINE_HIQ, ENGINE_SDMA0, ENGINE_SDMA1 = 0, 1, 2, 3
PREEMPT, RESET, DISABLE_PROCESS, PREEMPT_NO_UNMAP = range(4)
BY_DOORBELL, BY_PASID, ALL, ALL_BUT_STATIC = range(4)
FIRST_HWS_SLOTS = tuple((pipe, queue) for queue in range(2, 8) for pipe in range(4))  # of MEC 1, for user queues


class Scheduler:
    """The handlers of one scheduling queue."""

    def __init__(self, queue: ComputeQueue, pm4: Pm4) -> None:
        self._queue, self._pm4, self._gpu = queue, pm4, queue.gpu
        self._gfx: Gfx = queue.gfx
        self._process: tuple[int, int] = (0, 0)  # VMID and PASID of the MAP_PROCESS before
        self._waits_since: float | None = None  # for queues that do not drain

    def handlers(self) -> dict[int, Callable[[Body], Verdict]]:
        return {
            Op.SET_RESOURCES: self._set_resources,
            Op.MAP_QUEUES: self._map_queues,
            Op.UNMAP_QUEUES: self._unmap_queues,
            Op.QUERY_STATUS: self._query_status,
            RUN_LIST: self._run_list,
            MAP_PROCESS: self._map_process,
        }

    def _set_resources(self, body: Body) -> Verdict:
        control, mask_low, mask_high = needs(body, 7)[:3]
        resources = self._gfx.resources[self._queue.slot.xcc]
        if control >> 29 == 0:
            resources.queue_mask = mask_high << 32 | mask_low
        else:
            resources.vmid_mask = control & 0xFFFF
            resources.unmap_latency_s = (control >> 16 & 0xFF) * LATENCY_UNIT_S
            resources.user_queue_mask = mask_high << 32 | mask_low
        return True

    def _map_queues(self, body: Body) -> Verdict:
        control, doorbell, low, high, wptr_low, wptr_high = needs(body, 6)[:6]
        engine, extended = control >> 26 & 7, control >> 2 & 3
        mqd = high << 32 | low & ~3
        wptr_address = wptr_high << 32 | wptr_low & ~3
        if extended:
            return self._map_sdma(engine + 8 * (extended == 2), doorbell, mqd, wptr_address)
        if engine in (ENGINE_SDMA0, ENGINE_SDMA1):
            return self._map_sdma(engine - ENGINE_SDMA0, doorbell, mqd, wptr_address)
        if engine not in (ENGINE_COMPUTE, ENGINE_HIQ):
            raise BadPacket(f"MAP_QUEUES for engine {engine}")
        xcc = self._queue.slot.xcc
        if control >> 4 & 3:
            slot = self._free_slot(xcc)
        else:
            slot = Slot(xcc, 1 + (control >> 18 & 1), control >> 16 & 3, control >> 13 & 7)
        if slot is None:
            self._gpu.wrong("gfx", f"{self._queue.slot}: MAP_QUEUES finds no free slot")
            return True
        self._map(slot, mqd, doorbell, wptr_address, hiq=engine == ENGINE_HIQ)
        return True

    def _free_slot(self, xcc: int) -> Slot | None:
        mask = self._gfx.resources[xcc].user_queue_mask
        for pipe, queue in FIRST_HWS_SLOTS:
            slot = Slot(xcc, 1, pipe, queue)
            if mask >> pipe * 8 + queue & 1 and slot not in self._gfx.queues:
                return slot
        return None

    def _map(self, slot: Slot, mqd: int, doorbell: int, wptr_address: int, *, hiq: bool) -> None:
        """Load the slot from the MQD and start it. A run list names the MQD of the first XCC; the others follow it."""
        words = self._mqd(mqd)
        vmid, pasid = self._process
        if vmid and words[MQD_STRIDE]:
            mqd += words[MQD_STRIDE] * slot.xcc
            words = self._mqd(mqd)
        if slot in self._gfx.queues:
            self._gpu.wrong("gfx", f"{slot} is mapped while it is active")
            self._gfx.remove(slot)
        bank = Bank(self._gpu, slot)
        bank.load(words[MQD_HQD : MQD_HQD + HQD_WORDS])
        bank.set("CP_MQD_BASE_ADDR", mqd & WORD)
        bank.set("CP_MQD_BASE_ADDR_HI", mqd >> 32)
        bank.set("CP_HQD_PQ_DOORBELL_CONTROL", words[143] & ~DOORBELL_BITS | doorbell & DOORBELL_BITS | DOORBELL_EN)
        bank.set("CP_HQD_ACTIVE", 1)
        if vmid:
            bank.set("CP_HQD_VMID", vmid)
        queue = self._gfx.activate(slot, scheduler=hiq, pasid=pasid)
        queue.logic_xcc = words[MQD_LOGIC_XCC]
        self._restore(queue, mqd, words)
        if wptr_address:
            self._poll_wptr(queue, wptr_address)

    def _restore(self, queue: ComputeQueue, mqd: int, words: tuple[int, ...]) -> None:
        """What `_save` left, if this is still the same queue: a new one has a new MQD (init_mqd of kfd_mqd_manager_v9.c)."""
        before = self._gfx.saved.pop((queue.slot.xcc, mqd), None)
        if before is None or words[MQD_WAVES] == words[MQD_STACK_SIZE]:
            return
        stack = words[MQD_STACK_SIZE].to_bytes(4, "little")
        self._gpu.gmc.write(queue.hub, 0, mqd + MQD_WAVES * 4, stack, client=5)
        queue.resume(before)

    def _poll_wptr(self, queue: ComputeQueue, address: int) -> None:
        """The write pointer in memory: packets for AQL, dwords else."""
        try:
            wptr = int.from_bytes(queue.read(address, 8), "little")
        except PageFault as fault:
            queue.stop(f"write pointer at {address:#x}: {fault}")
            return
        queue.set_wptr(wptr * 16 if queue.is_aql else wptr)

    def _mqd(self, address: int) -> tuple[int, ...]:
        return struct.unpack(
            f"<{MQD_BYTES // 4}I", self._gpu.gmc.read(self._queue.hub, 0, address, MQD_BYTES, client=5)
        )

    def _map_sdma(self, engine: int, doorbell: int, mqd: int, wptr_address: int) -> Verdict:
        """Every XCC runs the run list; the first of the partition has the copy engines mapped."""
        vmid, pasid = self._process
        if self._queue.slot.xcc == 0:
            words = struct.unpack("<128I", self._gpu.gmc.read(self._queue.hub, 0, mqd, 512, client=5))
            self._gpu.sdma.map_user_queue(engine, words, doorbell >> 2 & 0x3FFFFFF, vmid, pasid, wptr_address, mqd)
        return True

    def _unmap_queues(self, body: Body) -> Verdict:
        control, first = needs(body, 5)[:2]
        action, select = control & 3, control >> 4 & 3
        xcc = self._queue.slot.xcc
        mine = [queue for queue in self._gfx.queues.values() if queue.slot.xcc == xcc and not queue.is_kiq]
        if select == BY_DOORBELL:
            count = max(1, control >> 29)
            wanted = {word >> 2 & 0x3FFFFFF for word in (first, *body[2:5][: count - 1])}
            chosen = [queue for queue in mine if queue.doorbell_index in wanted]
        elif select == BY_PASID:
            chosen = [queue for queue in mine if queue.pasid == first & 0xFFFF and not queue.scheduler]
        else:
            chosen = [queue for queue in mine if not queue.scheduler and queue.vmid]
            if xcc == 0 and not self._gpu.sdma.unmap_user_queues():
                self._queue.wait("a copy queue has a packet in work")
                return False
        if action == PREEMPT_NO_UNMAP:
            self._pm4.write(body[3] << 32 | body[2] & ~3, body[4].to_bytes(4, "little"))
            return True
        return self._take_off(chosen, force=action == RESET)

    def _take_off(self, chosen: list[ComputeQueue], *, force: bool) -> Verdict:
        """A queue that cannot be drained holds its scheduler up: a HIQ for the latency that it was given, then it leaves
        the queue where it is, with a dequeue request, and tells the doorbell in its own MQD; no error is returned
        (kfd_device_queue_manager.c, unmap_queues_cpsch: "HIQ will abandon the unmap request")."""
        fate = self._gpu.resets.fate(Reset.QUEUE) if force else Fate.WORKS
        if fate is Fate.HANGS:
            self._queue.wait("the reset of a queue does not end")
            return False
        if fate is Fate.LIES:
            return True
        stuck = [queue for queue in chosen if not force and not queue.can_be_saved()]
        for queue in chosen:
            if queue in stuck:
                continue
            if force:
                self._gpu.gmc.stays.pop(f"GC[{queue.slot.xcc}]", None)
            if not force:
                self._save(queue)
            self._gfx.remove(queue.slot)
        if stuck and not self._abandons():
            self._queue.wait(f"{stuck[0].slot} does not drain: {stuck[0].why}")
            return False
        self._waits_since = None
        if stuck:
            self._tell_stuck(stuck)
        return True

    def _abandons(self) -> bool:
        """Whether a HIQ has waited long enough; the KIQ waits for ever."""
        latency_s = self._gfx.resources[self._queue.slot.xcc].unmap_latency_s
        now = self._gpu.clock.now()
        if self._waits_since is None:
            self._waits_since = now
        return not self._queue.is_kiq and bool(latency_s) and now - self._waits_since >= latency_s

    def _tell_stuck(self, stuck: list[ComputeQueue]) -> None:
        bank = self._queue.bank
        mqd = bank.get("CP_MQD_BASE_ADDR_HI") << 32 | bank.get("CP_MQD_BASE_ADDR")
        doorbells = [queue.doorbell_index or 0 for queue in stuck[:MOST_STUCK]]  # guess: in dwords of BAR2
        data = struct.pack(f"<{len(doorbells)}I", *doorbells)
        self._gpu.gmc.write(self._queue.hub, 0, mqd + MQD_STUCK * 4, data, client=5)
        for queue in stuck:
            queue.bank.set("CP_HQD_DEQUEUE_REQUEST", 1)

    def _save(self, queue: ComputeQueue) -> None:
        """Pointers go back into the MQD, from where the next mapping takes them."""
        bank = queue.bank
        mqd = bank.get("CP_MQD_BASE_ADDR_HI") << 32 | bank.get("CP_MQD_BASE_ADDR")
        write = self._gpu.gmc.write
        shown = (queue.position % queue.size).to_bytes(4, "little")
        write(queue.hub, 0, mqd + MQD_RPTR * 4, shown, client=5)
        write(queue.hub, 0, mqd + MQD_WPTR * 4, queue.wptr.to_bytes(8, "little"), client=5)
        if queue.leaves_state:
            place = bank.get("CP_HQD_CNTL_STACK_SIZE") + SAVED_BYTES
            write(queue.hub, 0, mqd + MQD_WAVES * 4, place.to_bytes(4, "little"), client=5)
            self._gfx.saved[queue.slot.xcc, mqd] = queue

    def _query_status(self, body: Body) -> Verdict:
        control, _, low, high, data_low, data_high = needs(body, 6)[:6]
        if control >> 30 != 2:
            raise BadPacket(f"QUERY_STATUS command {control >> 30}")
        if late := self._late():
            self._queue.wait(f"QUERY_STATUS: {late[0].slot} is not yet there")
            return False
        self._pm4.write(high << 32 | low & ~7, struct.pack("<II", data_low, data_high))
        return True

    def _late(self) -> list[ComputeQueue]:
        """HIQs of other XCCs that run the same ring and have not come as far. guess: they tell a status together, because
        the kernel waits for one fence and then looks into the MQDs of all (check_preemption_failed_v9_4_3)."""
        mine = self._queue
        if mine.is_kiq:
            return []
        others = (queue for queue in self._gfx.queues.values() if queue.scheduler and not queue.is_kiq)
        return [
            queue for queue in others if queue.doorbell_index == mine.doorbell_index and queue.position < mine.position
        ]

    def _run_list(self, body: Body) -> Verdict:
        low, high, control = needs(body, 3)[:3]
        if not control >> 23 & 1:
            raise BadPacket("RUN_LIST without its valid bit")
        self._process = (0, 0)
        self._gfx.resources[self._queue.slot.xcc].free_vmids()
        self._pm4.enter(high << 32 | low & ~3, control & 0xFFFFF, self._queue.vmid, chain=bool(control >> 20 & 1))
        return True

    def _map_process(self, body: Body) -> Verdict:
        pasid, base_low, base_high, bases, config = needs(body, 14)[:5]
        resources = self._gfx.resources[self._queue.slot.xcc]
        vmid = resources.take_vmid(pasid & 0xFFFF)
        if vmid is None:
            self._gpu.wrong("gfx", f"{self._queue.slot}: MAP_PROCESS finds no free VMID")
            self._process = (0, 0)
            return True
        self._process = (vmid, pasid & 0xFFFF)
        base = base_high << 32 | base_low
        self._gfx.set_process(self._queue.slot.xcc, vmid, pasid & 0xFFFF, base, bases, config)
        return True
