"""Compute queues of an XCC: the registers of a slot, the ring, and what stops a queue.

Source: Linux v7.3 amdgpu/gfx_v9_4_3.c (HQD set-up, ring functions), v9_structs.h (MQD), amdgpu_amdkfd_gfx_v9.c (dequeue);
hardware/amd-bringup.md section 9; research/amdgpu-on-model.md items 19, 39 to 41, 75. Pointers in dwords; times in seconds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpumodel.aql import Aql
from gpumodel.dispatch import Dispatch, Outcome
from gpumodel.events import Patience
from gpumodel.gmc import PageFault
from gpumodel.pm4 import Pm4, State
from gpumodel.registerfile import BANK_SHIFT, WORD
from registers.amd.gc_9_4_3 import Gc as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu
    from gpumodel.gfx import Gfx

DOORBELL_S = 1e-6  # guess: until the MEC looks at a queue whose doorbell rang
CLIENT_CPF, CLIENT_CPC = 4, 5  # gmc_v9_0.c, client names of the GFX hub
FETCH_DWORDS = 1 << 16  # more than the longest packet
HQD_WORDS = 56  # MQD dwords 128 and up, registers CP_MQD_BASE_ADDR and up
MQD_LOGIC_XCC = 39  # dword of compute_current_logic_xcc_id
AQL_SLOTS = 2  # PQ_CONTROL.SLOT_BASED_WPTR of an AQL queue
IH_CP = 0x14  # client GRBM_CP


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a queue sits."""

    xcc: int
    me: int
    pipe: int
    queue: int

    @classmethod
    def selected(cls, xcc: int, select: int) -> Slot:
        """From GRBM_GFX_CNTL without its VMID."""
        return cls(xcc, select >> 2 & 3, select & 3, select >> 8 & 7)

    @property
    def select(self) -> int:
        return self.pipe | self.me << 2 | self.queue << 8

    @property
    def ring_id(self) -> int:
        """As in an interrupt entry (item 19)."""
        return self.pipe | self.me << 2 | self.queue << 4

    @property
    def node(self) -> int:
        return node_of(self.xcc)

    def __str__(self) -> str:
        return f"queue {self.me}.{self.pipe}.{self.queue} of XCC {self.xcc}"


def node_of(xcc: int) -> int:
    """Node id of an XCC in interrupt entries (item 19)."""
    return 4 * (xcc // 2) + 1 + xcc % 2


class Bank:
    """The HQD registers of one slot, whatever GRBM_GFX_CNTL selects now."""

    def __init__(self, gpu: ModelGpu, slot: Slot) -> None:
        self._registers = gpu.registers
        self._prefix = f"GC[{slot.xcc}]."
        self._select = slot.select << BANK_SHIFT

    def get(self, name: str) -> int:
        address = self._registers.layout.address(self._prefix + name)
        reset = self._registers.layout.entries[address].reset
        return self._registers.values.get(address | self._select, reset)

    def set(self, name: str, value: int) -> None:
        self._registers.values[self._registers.layout.address(self._prefix + name) | self._select] = value & WORD

    def load(self, words: tuple[int, ...]) -> None:
        """What a MQD holds from dword 128 on."""
        first = self._registers.layout.address(self._prefix + "CP_MQD_BASE_ADDR")
        for place, word in enumerate(words):
            self._registers.values[first + place | self._select] = word

    def save(self) -> tuple[int, ...]:
        """The same back."""
        first = self._registers.layout.address(self._prefix + "CP_MQD_BASE_ADDR")
        values, entries = self._registers.values, self._registers.layout.entries
        return tuple(
            values.get(place | self._select, entries[place].reset if place in entries else 0)
            for place in range(first, first + HQD_WORDS)
        )


class ComputeQueue:
    """An active HQD. It runs when its doorbell rings and when what it waits for may have come."""

    def __init__(self, gfx: Gfx, gpu: ModelGpu, slot: Slot, *, scheduler: bool, pasid: int = 0) -> None:
        self.gfx, self.gpu, self.slot = gfx, gpu, slot
        self.scheduler = scheduler or gfx.is_kiq(slot)  # the KIQ or a HIQ: may run scheduler packets
        self.pasid = pasid
        self.bank = Bank(gpu, slot)
        self.hub = f"GC[{slot.xcc}]"
        self.is_kiq = gfx.is_kiq(slot)
        control = Regs.CP_HQD_PQ_CONTROL.kind(self.bank.get("CP_HQD_PQ_CONTROL"))
        self.size = 2 << control.QUEUE_SIZE
        self.vmid = Regs.CP_HQD_VMID.kind(self.bank.get("CP_HQD_VMID")).VMID
        self.is_aql = control.SLOT_BASED_WPTR == AQL_SLOTS
        self.reports_rptr = not control.NO_UPDATE_RPTR
        self.logic_xcc = 0
        self.shader_registers: dict[int, int] = {}  # dword address as XCC 0 has it: value
        self.state = State.IDLE
        self.why = ""
        self.waves: Dispatch | None = None
        self.active = True
        self.preemptable = True  # at a packet boundary, or in a wait that allows it
        self._due = False
        self._patience = Patience(gpu.clock)
        self.wptr = self._start_wptr()
        self.position = self._start_position()
        self._reported = self.position
        self._worker = Aql(self) if self.is_aql else Pm4(self)

    def preload(self) -> None:
        """A slot that a driver starts by its registers takes the rest from its MQD (kgd_gfx_v9_hqd_load writes only
        the HQD's registers, init_mqd of kfd_mqd_manager_v9.c asks for PRELOAD_REQ): here, which XCC of the queue it is."""
        wanted = Regs.CP_HQD_PERSISTENT_STATE.kind(self.bank.get("CP_HQD_PERSISTENT_STATE")).PRELOAD_REQ
        if not self.is_aql or not wanted:
            return
        mqd = self.bank.get("CP_MQD_BASE_ADDR_HI") << 32 | self.bank.get("CP_MQD_BASE_ADDR") & ~3
        vmid = Regs.CP_MQD_CONTROL.kind(self.bank.get("CP_MQD_CONTROL")).VMID
        try:
            word = self.gpu.gmc.read(self.hub, vmid, mqd + MQD_LOGIC_XCC * 4, 4, client=CLIENT_CPC)
        except PageFault as fault:
            self.stop(f"MQD at {mqd:#x}: {fault}")
            return
        self.logic_xcc = int.from_bytes(word, "little")

    @property
    def doorbell_index(self) -> int | None:
        """In dwords of BAR2; None: the doorbell is off."""
        control = Regs.CP_HQD_PQ_DOORBELL_CONTROL.kind(self.bank.get("CP_HQD_PQ_DOORBELL_CONTROL"))
        return control.DOORBELL_OFFSET if control.DOORBELL_EN else None

    def doorbell(self, value: int) -> None:
        """A write pointer in dwords that does not wrap; for AQL the index of the last packet (item 75)."""
        self.set_wptr((value + 1) * 16 if self.is_aql else value)

    def set_wptr(self, wptr: int) -> None:
        self.wptr = wptr
        self.bank.set("CP_HQD_PQ_WPTR_LO", wptr & WORD)
        self.bank.set("CP_HQD_PQ_WPTR_HI", wptr >> 32)
        if wptr - self.position > self.size:
            self.gpu.wrong("gfx", f"{self.slot}: ring overrun, {wptr - self.position} dwords in a ring of {self.size}")
        self.wake(DOORBELL_S)

    def wake(self, delay_s: float = 0.0) -> None:
        """Run soon; the access that asked for it ends first."""
        if self._due or not self.active:
            return
        self._due = True
        self.gpu.hive.events.after(delay_s, self._run)

    def _run(self) -> None:
        self._due = False
        if not self.active or self.state is State.STOPPED or not self.gfx.works(self.slot):
            return
        self.state = State.IDLE
        try:
            self._worker.run()
        except PageFault as fault:
            self.stop(f"page fault: {fault}")
        if self.state in (State.WAITING, State.WAVES):
            self.wake(self._patience.next_look_s((self.position, self.why)))
        self._show_position()
        self.gfx.show(self.slot.xcc)

    def wait(self, why: str, state: State = State.WAITING) -> None:
        self.state, self.why = state, why

    def stop(self, why: str) -> None:
        """For good: only a reset of the queue helps."""
        self.state, self.why = State.STOPPED, why
        self.gpu.wrong("gfx", f"{self.slot}: {why}")
        self.gfx.show(self.slot.xcc)

    def launch(self, dispatch: Dispatch) -> bool:
        """Hand a grid to the dispatcher; False when its waves do not end."""
        try:
            self.gfx.dispatcher.run(dispatch)
        except PageFault as fault:
            dispatch.outcome = Outcome.FAULTED
            self.gpu.wrong("gfx", f"{self.slot}: memory violation of a wave: {fault}")
        if dispatch.outcome is Outcome.DONE:
            return True
        self.waves = dispatch
        if dispatch.outcome is not Outcome.RUNNING:
            self.gfx.wave_error(self, dispatch)
            self.stop(f"waves {dispatch.outcome.value}")
        self.gfx.show(self.slot.xcc)
        return False

    def kill_waves(self) -> None:
        """They end without a trace; the queue goes on."""
        if self.waves is None:
            return
        self.waves = None
        if self.state in (State.STOPPED, State.WAVES):
            self.state = State.IDLE
        self.wake()
        self.gfx.show(self.slot.xcc)

    @property
    def in_work(self) -> bool:
        return self.state is not State.IDLE or self.waves is not None

    @property
    def has_work(self) -> bool:
        """In work, or about to be."""
        return self.in_work or self.position < self.wptr

    def can_drain(self) -> bool:
        """Whether it can be taken off without force."""
        return self.waves is None and self.state is not State.STOPPED and self.preemptable

    def can_be_saved(self) -> bool:
        """Whether a scheduler can take it off: waves that run go into the memory that the queue brought (CWSR)."""
        if self.waves is None:
            return self.can_drain()
        saves = Regs.CP_HQD_PERSISTENT_STATE.kind(self.bank.get("CP_HQD_PERSISTENT_STATE")).QSWITCH_MODE
        return bool(saves) and self.waves.outcome is Outcome.RUNNING and self.state is not State.STOPPED

    @property
    def leaves_state(self) -> bool:
        """Whether there is more to it than its registers and its ring."""
        return self.waves is not None or bool(self.shader_registers) or self._worker.in_work

    def resume(self, before: ComputeQueue) -> None:
        """Go on where it was before it was taken off."""
        self.waves, self.shader_registers = before.waves, before.shader_registers
        self._worker = before._worker
        self._worker.serve(self)

    def interrupt(self, source: int, context: int = 0) -> None:
        words = (context & WORD, 0, 0, 0)
        self.gpu.ih.send(
            IH_CP,
            source,
            ring_id=self.slot.ring_id,
            vmid=self.vmid,
            pasid=self.pasid,
            node=self.slot.node,
            context=words,
        )

    def read(self, address: int, size: int, client: int = CLIENT_CPC) -> bytes:
        return self.gpu.gmc.read(self.hub, self.vmid, address, size, client=client)

    def write(self, address: int, data: bytes, client: int = CLIENT_CPC) -> None:
        self.gpu.gmc.write(self.hub, self.vmid, address, data, client=client)

    def fetch(self) -> tuple[int, ...]:
        """What the ring holds from the read pointer on, as far as it was written."""
        count = min(self.wptr - self.position, FETCH_DWORDS, self.size)
        if count <= 0:
            return ()
        first = self.position % self.size
        until_end = min(count, self.size - first)
        data = self.read(self.ring_address(first), until_end * 4, CLIENT_CPF)
        if count > until_end:
            data += self.read(self.ring_address(0), (count - until_end) * 4, CLIENT_CPF)
        return struct.unpack(f"<{count}I", data)

    def ring_address(self, dword: int) -> int:
        base = self.bank.get("CP_HQD_PQ_BASE") | self.bank.get("CP_HQD_PQ_BASE_HI") << 32
        return (base << 8) + dword * 4

    def _start_wptr(self) -> int:
        return self.bank.get("CP_HQD_PQ_WPTR_LO") | self.bank.get("CP_HQD_PQ_WPTR_HI") << 32

    def _start_position(self) -> int:
        """The 32-bit read pointer has as many bits as the ring; the rest comes from the write pointer (hqd_load)."""
        position = self.wptr - self.wptr % self.size + self.bank.get("CP_HQD_PQ_RPTR") % self.size
        return position - self.size if position > self.wptr >= self.size else position

    def _show_position(self) -> None:
        if self.position == self._reported:
            return
        self._reported = self.position
        shown = self.position % self.size
        self.bank.set("CP_HQD_PQ_RPTR", shown)
        high = self.bank.get("CP_HQD_PQ_RPTR_REPORT_ADDR_HI")
        address = (high << 32 | self.bank.get("CP_HQD_PQ_RPTR_REPORT_ADDR")) & ~3
        if not address or not self.reports_rptr:
            return
        try:
            if self.is_aql:
                self.write(address, (self.position // 16).to_bytes(8, "little"))
            else:
                self.write(address, shown.to_bytes(4, "little"))
        except PageFault as fault:
            self.stop(f"read pointer report: {fault}")
