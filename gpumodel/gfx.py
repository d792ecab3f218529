"""GFX: the compute front end of each XCC: RLC, MEC, the queues that they run, and the status registers that tell of it.

Source: Linux v7.3 amdgpu/gfx_v9_4_3.c (the registers of its state dump, RLC, MEC, KIQ, queue and pipe reset),
amdgpu_amdkfd_gfx_v9.c, kfd_int_process_v9.c (SQ interrupts), hardware/amd-bringup.md section 9;
reset values: asic_reg/gc/gc_9_0_default.h, an older relative; research/amdgpu-on-model.md items 36 to 43, 48, 62.
Times in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpumodel import waveregs
from gpumodel.chips import AIDS, SHADER_ENGINES, XCCS, Chip
from gpumodel.dispatch import Dispatch, Dispatcher, ModelPrograms, Outcome
from gpumodel.events import Patience
from gpumodel.faults import Reset
from gpumodel.pm4 import State
from gpumodel.queues import Bank, ComputeQueue, Slot
from gpumodel.registerfile import BANK_SHIFT, Entry, Layout, OnWrite, Unit
from gpumodel.resets import Fate
from gpumodel.ticks import ticks
from registers.amd.gc_9_4_3 import Gc as Regs
from registers.amd.nbio_7_9_0 import Nbio

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

INACTIVE_CUS_SHIFT = 16  # CC_GC_SHADER_ARRAY_CONFIG
BROADCAST = 0xE0000000  # GRBM_GFX_INDEX after reset
CU_BITS = 0x00FF_FFFF  # GRBM_GFX_INDEX: engine, array and CU
ENGINE_SHIFT = 16  # GRBM_GFX_INDEX.SE_INDEX, 8 bits; bit 31 broadcasts
RING_TEST_DONE = 0xDEADBEEF  # what the last ring test left in SCRATCH_REG0 (item 42)
QUEUE_SELECT = 0x70F  # GRBM_GFX_CNTL without the VMID: pipe, me, queue
PIPE_SELECT = 0x00F
VMID_SELECT = 0x0F0
MEC1_QUEUE0 = 1 << 2  # me 1, pipe 0, queue 0
POINTER_BITS = 0xFFFF
PIPES = {1: 4, 2: 2}  # by me: pipes that CP_MEC_CNTL can reset
QUEUES = 8
PIPE_RESET_SHIFT = {1: 16, 2: 20}

FW_MEC = frozenset((4, 5))  # GFX_FW types: MEC and its jump table (item 26)
FW_RLC = 8
SAFE_MODE_S = 5e-6  # guess: how long the RLC takes
DEQUEUE_S = 2e-6  # guess
SCHEDULER_VALID = 1 << 7  # RLC_CP_SCHEDULERS: this queue is the KIQ
CLIENT_SE0SH = 0x0A
INT_SQ = 239
SQ_ERROR = 2 << 26  # context 0: encoding
SQ_ERROR_TYPES = {Outcome.ILLEGAL: 1 << 4, Outcome.FAULTED: 2 << 4}  # context 1, bits 7:4
SQ_KILL = 3  # SQ_CMD.CMD
USER_VMIDS = 0xFFFE
VMIDS = 16
_GDS = ((Regs.GDS_VMID0_BASE, 2), (Regs.GDS_VMID0_SIZE, 2), (Regs.GDS_GWS_VMID0, 1), (Regs.GDS_OA_VMID0, 1))
MMHUBS = tuple(f"MMHUB[{aid}]" for aid in range(AIDS))

_PLAIN = (
    "GRBM_STATUS*",
    "GRBM_READ_ERROR*",
    "GRBM_CHIP_REVISION",
    "GRBM_CNTL",
    "GRBM_GFX_CNTL",
    "GRBM_GFX_INDEX",
    "CP_STAT",
    "CP_BUSY_STAT",
    "CP_STALLED_STAT?",
    "CP_CPC_STATUS",
    "CP_CPC_BUSY_STAT",
    "CP_CPC_STALLED_STAT1",
    "CP_CPC_DEBUG",
    "CP_CPF_STATUS",
    "CP_CPF_BUSY_STAT",
    "CP_CPF_STALLED_STAT1",
    "CP_GFX_ERROR",
    "CP_DEBUG",
    "CP_MEC_ME?_HEADER_DUMP",
    "CP_MEC_DOORBELL_RANGE_*",
    "CP_CPC_IC_*",
    "CP_MEM_SLP_CNTL",
    "CP_HYP_XCP_CTL",
    "CP_PQ_STATUS",
    "CP_PQ_WPTR_POLL_CNTL*",
    "CP_RB_WPTR_POLL_CNTL",
    "CP_IQ_WAIT_TIME?",
    "CP_INT_CNTL",
    "CP_INT_*_RING0",
    "CP_ME1_PIPE?_INT_*",
    "CPC_INT_STATUS",
    "CPC_INT_INFO",
    "CPC_INT_ADDR",
    "CPC_PSP_DEBUG",
    "CPC_UTCL1_STATUS",
    "CPF_UTCL1_STATUS",
    "CPG_UTCL1_STATUS",
    "SQ_UTCL1_STATUS",
    "SQC_?CACHE_UTCL1_STATUS",
    "RMI_UTCL1_STATUS",
    "WD_UTCL1_STATUS",
    "DB_DEBUG2",
    "SPI_WCL_PIPE_PERCENT_*",
    "SQ_CONFIG1",
    "SQ_IND_INDEX",
    "SQ_TIMEOUT_*",
    "SPI_CSQ_WF_ACTIVE_*",
    "TCP_CNTL",
    "TCP_UTCL1_STATUS",
    "TCP_UTCL1_CNTL2",
    "UTCL2_MEM_ECC_STATUS",
    "GC_USER_SHADER_ARRAY_CONFIG",
    "GB_ADDR_CONFIG*",
    "GDS_*",
    "SCRATCH_REG?",
    "RLC_STAT",
    "RLC_SMU_SAFE_MODE",
    "RLC_INT_STAT",
    "RLC_CP_SCHEDULERS",
    "RLC_CGCG_CGLS_CTRL",
    "RLC_CGTT_MGCG_OVERRIDE",
    "RLC_SRM_CNTL",
    "RLC_SPM_MC_CNTL",
    "RLC_MEM_SLP_CNTL",
    "RLC_SMU_COMMAND",
    "RLC_SMU_MESSAGE",
    "RLC_SMU_ARGUMENT_?",
    "SMU_RLC_RESPONSE",
    "RLC_GPM_STAT",
    "RLC_GPM_GENERAL_*",
    "RLC_UTCL1_STATUS",
    "RLC_SERDES_*_MASTER_BUSY",
    "RLC_GPU_CLOCK_COUNT_*",
)
_PER_VMID = ("SH_MEM_*", "SQ_SHADER_*", "SPI_GDBG_PER_VMID_CNTL")
_PER_QUEUE = ("CP_MQD_BASE_ADDR*", "CP_MQD_CONTROL", "COMPUTE_*")
_PER_PIPE = ("CPC_INT_CNTL",)
_HQD_ACTIVE = ("CP_HQD_ACTIVE", "CP_HQD_DEQUEUE_REQUEST", "CP_HQD_PQ_WPTR_LO")
_RESETS = {
    "GRBM_STATUS": 0x00003008,  # guess: clean bits and free command slots, as idle older parts show; never 0
    "GRBM_GFX_INDEX": BROADCAST,
    "GRBM_CNTL": 0x18,
    "TCP_CNTL": 0x2F9C0000,
    "CP_MEC_CNTL": 0x50000000,  # both engines halted
    "CP_PQ_STATUS": 2,  # guess: doorbells on; tinygrad never writes it; the default of gc_9_0_default.h is 0
    "GB_ADDR_CONFIG": 0x2A114042,  # what the driver programs on these parts
    "GB_ADDR_CONFIG_READ": 0x2A114042,
    "CP_HQD_PERSISTENT_STATE": 0x0BE05301,
    "CP_HQD_PQ_CONTROL": 0x00308509,
    "CP_HQD_IB_CONTROL": 0x00300000,
    "CP_HQD_HQ_STATUS0": 0x40000000,
    "CP_HQD_HQ_SCHEDULER0": 0x40000000,  # the same register by its older name
    "CP_HQD_EOP_CONTROL": 0x00000006,
    "CP_HQD_EOP_RPTR": 0x40000000,
    "CP_HQD_EOP_WPTR": 0x007F8000,
}
# What an XCC with work shows; the bits that the driver's idle check and state dump look at.
_BUSY = {
    "GRBM_STATUS2": int(Regs.GRBM_STATUS2.kind.of(CPC_BUSY=1, CPF_BUSY=1)),
    "CP_STAT": int(Regs.CP_STAT.kind.of(CP_BUSY=1)),
    "CP_CPC_STATUS": int(Regs.CP_CPC_STATUS.kind.of(MEC1_BUSY=1, CPF_CPC_BUSY=1, CPC_BUSY=1)),
    "CP_CPC_BUSY_STAT": int(Regs.CP_CPC_BUSY_STAT.kind.of(MEC1_PIPE0_BUSY=1)),
    "CP_CPF_STATUS": int(Regs.CP_CPF_STATUS.kind.of(HQD_BUSY=1, CPF_CMP_BUSY=1, CPF_BUSY=1)),
    "CP_CPF_BUSY_STAT": int(Regs.CP_CPF_BUSY_STAT.kind.of(HQD_PQ_BUSY=1)),
}


@dataclass(slots=True)
class Resources:
    """What SET_RESOURCES gave the schedulers of an XCC: masks of slots, and of VMIDs for processes."""

    queue_mask: int = 0
    user_queue_mask: int = 0
    vmid_mask: int = 0
    unmap_latency_s: float = 0.0  # how long a HIQ waits for a queue to drain
    processes: dict[int, int] = field(default_factory=dict)  # PASID: VMID

    def free_vmids(self) -> None:
        """A new run list starts from nothing."""
        self.processes.clear()

    def take_vmid(self, pasid: int) -> int | None:
        """The VMID of a process, a new one if need be; the upper half first (item 67)."""
        taken = set(self.processes.values())
        for vmid in (*range(8, 16), *range(1, 8)):
            if self.vmid_mask >> vmid & 1 and vmid not in taken:
                return self.processes.setdefault(pasid, vmid)
        return self.processes.get(pasid)


class Gfx:
    """`busy`: XCCs that have work; `hung`: those whose MEC stands still while busy; `queues`: active HQDs by place.

    `saved`: queues that a scheduler took off with work in them, by XCC and MQD, as the memory for waves would hold it.
    `rlc_stuck` and `kiq_dead` are set by faults; `dispatcher` runs the shaders."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.busy: set[int] = set()
        self.hung: set[int] = set()
        self.rlc_stuck = False
        self.kiq_dead = False
        self._ignored_kiq = False
        self.queues: dict[Slot, ComputeQueue] = {}
        self.saved: dict[tuple[int, int], ComputeQueue] = {}
        self.resources = [Resources() for _ in range(XCCS)]
        self._dequeues = Patience(gpu.clock)
        self.dispatcher: Dispatcher = ModelPrograms(lambda text: gpu.wrong("dispatch", text), gpu.chip.isa)
        self._rlc_started: set[int] = set()
        base = gpu.chip.bases("NBIF")[0]
        request = Nbio.BIF_BX_PF0_GPU_HDP_FLUSH_REQ
        self._hdp_flush_request = base[request.seg] + request.offset

    def power_on(self) -> None:
        self.busy.clear()
        self.hung.clear()
        self.rlc_stuck = self.kiq_dead = self._ignored_kiq = False
        self._rlc_started.clear()
        self.saved.clear()
        self._drop(list(self.queues))
        self.resources = [Resources() for _ in range(XCCS)]
        if not self._gpu.is_used:
            return
        self._rlc_started.update(range(XCCS))
        for xcc in range(XCCS):
            self._set(xcc, "CP_MEC_CNTL", 0)
            self._set(xcc, "RLC_CNTL", 1)
            self._set(xcc, "SCRATCH_REG0", RING_TEST_DONE)
            self._set(xcc, "CP_MEC1_INSTR_PNTR", 0x0180)  # guess: the idle loop
            self._set(xcc, "CP_MEC2_INSTR_PNTR", 0x0180)

    # What others ask.

    def works(self, slot: Slot) -> bool:
        """Whether the engine that serves a slot runs its firmware."""
        gpu = self._gpu
        if gpu.lost or slot.xcc in self.hung or not gpu.psp.loaded >= FW_MEC:
            return False
        control = Regs.CP_MEC_CNTL.kind(self._get(slot.xcc, "CP_MEC_CNTL"))
        halted = control.MEC_ME2_HALT if slot.me == 2 else control.MEC_ME1_HALT
        return not halted and not control.value >> PIPE_RESET_SHIFT.get(slot.me, 32) + slot.pipe & 1

    def rlc_runs(self) -> bool:
        """Whether the RLC of every XCC runs."""
        registers = self._gpu.registers
        return all(registers.read(registers.layout.address(f"GC[{xcc}].RLC_CNTL")) & 1 for xcc in range(XCCS))

    def is_kiq(self, slot: Slot) -> bool:
        """Whether RLC_CP_SCHEDULERS names it."""
        mark = self._get(slot.xcc, "RLC_CP_SCHEDULERS") & 0xFF
        return mark == SCHEDULER_VALID | slot.me << 5 | slot.pipe << 3 | slot.queue

    def doorbell(self, index: int, value: int) -> bool:
        """A doorbell, by its dword in BAR2; several queues may share it (item 48). False: nobody listens."""
        queues = [queue for queue in self.queues.values() if queue.doorbell_index == index]
        for queue in queues:
            self._ring(queue, value)
        return bool(queues)

    def _ring(self, queue: ComputeQueue, value: int) -> None:
        xcc = queue.slot.xcc
        enabled = Regs.CP_PQ_STATUS.kind(self._get(xcc, "CP_PQ_STATUS")).DOORBELL_ENABLE
        if not enabled or not self._get(xcc, "CP_MEC_DOORBELL_RANGE_UPPER"):
            self._gpu.wrong("gfx", f"{queue.slot}: doorbell while CP_PQ_STATUS or the MEC range has doorbells off")
            return
        if queue.is_kiq:
            self._gpu.stage("kiq")
            if self.kiq_dead:
                self._ignored_kiq = True
                return
        queue.doorbell(value)

    def interrupt_enabled(self, slot: Slot, bit: str) -> bool:
        """MEC1 has a register for each pipe, all have CPC_INT_CNTL for the pipe that GRBM_GFX_CNTL selects."""
        value = Bank(self._gpu, Slot(slot.xcc, slot.me, slot.pipe, 0)).get("CPC_INT_CNTL")
        if slot.me == 1:
            value |= self._get(slot.xcc, f"CP_ME1_PIPE{slot.pipe}_INT_CNTL")
        return bool(Regs.CPC_INT_CNTL.kind(value).fields()[bit])

    def is_hdp_flush(self, address: int) -> bool:
        return address == self._hdp_flush_request

    def hdp_flush(self, address: int, mask: int) -> None:
        """Asked for by an engine; done at once (item 46)."""
        self._gpu.registers.write(address, mask, "pm4")

    def invalidate_tlbs(self, xcc: int, pasid: int, *, all_hubs: bool) -> None:
        """Of the VMID that a process has; of every VMID but 0 when the scheduler did not place it (a guess)."""
        vmid = self.resources[xcc].processes.get(pasid)
        mask = USER_VMIDS if vmid is None else 1 << vmid
        for hub in (f"GC[{xcc}]", *(MMHUBS if all_hubs else ())):
            self._gpu.gmc.invalidate(hub, mask)

    def wave_error(self, queue: ComputeQueue, dispatch: Dispatch) -> None:
        """The SQ's own interrupt: error encoding, type in context 1 (kfd_int_process_v9.c)."""
        context = (SQ_ERROR, SQ_ERROR_TYPES[dispatch.outcome], 0, 0)
        self._gpu.ih.send(
            CLIENT_SE0SH, INT_SQ, vmid=queue.vmid, pasid=queue.pasid, node=queue.slot.node, context=context
        )

    def apertures(self, xcc: int, vmid: int) -> tuple[int, int]:
        """The highest 16 bits of flat addresses that mean LDS and scratch, as SH_MEM_BASES of a VMID has them."""
        bases = Regs.SH_MEM_BASES.kind(self._bank(xcc, "SH_MEM_BASES", vmid << 4))
        return bases.SHARED_BASE, bases.PRIVATE_BASE

    def share(self, xcc: int) -> tuple[int, int]:
        """Which of how many XCCs of its partition this is: they run one grid together, a group each in turn. Where nobody has
        made partitions all XCCs are one (SPX)."""
        partition = Regs.CP_HYP_XCP_CTL.kind(self._get(xcc, "CP_HYP_XCP_CTL"))
        if not partition.NUM_XCC_IN_XCP:
            return xcc, XCCS
        return partition.VIRTUAL_XCC_ID, partition.NUM_XCC_IN_XCP

    def divide(self, partitions: int) -> None:
        """So many partitions of neighbouring XCCs, as gfx_v9_4_3_switch_compute_partition does it where no PSP does."""
        each = XCCS // partitions
        for xcc in range(XCCS):
            value = Regs.CP_HYP_XCP_CTL.kind.of(VIRTUAL_XCC_ID=xcc % each, NUM_XCC_IN_XCP=each)
            self._set(xcc, "CP_HYP_XCP_CTL", int(value))

    def _bank(self, xcc: int, name: str, select: int) -> int:
        registers = self._gpu.registers
        address = registers.layout.address(f"GC[{xcc}].{name}")
        return registers.values.get(address | select << BANK_SHIFT, registers.layout.entries[address].reset)

    def set_process(self, xcc: int, vmid: int, pasid: int, base: int, bases: int, config: int) -> None:
        """A process gets a VMID: its page table in the hub of the XCC and in all MMHUBs (item 67), its PASID for interrupts
        (the fault handlers of gmc_v9_0.c and kfd_int_process_v9.c go by it)."""
        registers = self._gpu.registers
        for hub in (f"GC[{xcc}]", *MMHUBS):
            address = registers.layout.address(f"{hub}.VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_LO32") + 2 * vmid
            registers.write(address, base & 0xFFFFFFFF, "scheduler")
            registers.write(address + 1, base >> 32, "scheduler")
            self._gpu.gmc.invalidate(hub, 1 << vmid)
        self._gpu.ih.set_pasid(vmid, pasid)
        for name, value in (("SH_MEM_BASES", bases), ("SH_MEM_CONFIG", config)):
            registers.store_bank(f"GC[{xcc}].{name}", vmid << 4, value)

    # Queues.

    def activate(self, slot: Slot, *, scheduler: bool = False, pasid: int = 0) -> ComputeQueue:
        queue = ComputeQueue(self, self._gpu, slot, scheduler=scheduler, pasid=pasid)
        self.queues[slot] = queue
        queue.wake()
        return queue

    def remove(self, slot: Slot) -> None:
        """Take a queue off, whatever it does."""
        self._drop([slot])

    def _drop(self, slots: Iterable[Slot]) -> None:
        for slot in slots:
            queue = self.queues.pop(slot, None)
            if queue is not None:
                queue.active = False
            Bank(self._gpu, slot).set("CP_HQD_ACTIVE", 0)
            self.show(slot.xcc)

    def show(self, xcc: int) -> None:
        """Status registers follow the queues; those of a hung XCC stay as the fault set them."""
        if xcc in self.hung:
            return
        busy = [queue for queue in self.queues.values() if queue.slot.xcc == xcc and queue.in_work]
        waves = sum(1 << q.slot.pipe * 8 + q.slot.queue for q in busy if q.waves and q.slot.me == 1)
        self._set(xcc, "SPI_CSQ_WF_ACTIVE_STATUS", waves)
        if bool(busy) == (xcc in self.busy):
            return
        status = Regs.GRBM_STATUS.kind(self._get(xcc, "GRBM_STATUS"))
        on = int(bool(busy))
        (self.busy.add if busy else self.busy.discard)(xcc)
        self._set(xcc, "GRBM_STATUS", int(status.replace(GUI_ACTIVE=on, CP_BUSY=on, SPI_BUSY=on)))
        for name, value in _BUSY.items():
            self._set(xcc, name, value * on)

    # Registers.

    def instruction_pointer(self, entry: Entry) -> int:
        """A MEC at work is elsewhere at each look; one that idles, hangs or only waits for waves is not."""
        stored = self._gpu.registers.stored(entry)
        polls = any(q.slot.xcc == entry.instance and q.state is State.WAITING for q in self.queues.values())
        if entry.instance in self.busy and entry.instance not in self.hung and (polls or not self.queues):
            stored = (stored + 0x35) & POINTER_BITS
            self._gpu.registers.store(entry, stored)
        return stored

    def wave_register(self, entry: Entry) -> int:
        """A register of a wave that does not end. # guess: they sit on the first CU of the first engine, by queue"""
        place = Regs.SQ_IND_INDEX.kind(self._get(entry.instance, "SQ_IND_INDEX"))
        if place.AUTO_INCR:
            self._set(entry.instance, "SQ_IND_INDEX", int(place.replace(INDEX=place.INDEX + 1 & 0xFFFF)))
        stuck = [queue for queue in self.queues.values() if queue.slot.xcc == entry.instance and queue.waves]
        if self._get(entry.instance, "GRBM_GFX_INDEX") & CU_BITS or place.SIMD_ID or len(stuck) <= place.WAVE_ID:
            return 0
        return waveregs.read(stuck[place.WAVE_ID], place.WAVE_ID, place.INDEX, place.THREAD_ID)

    def shader_array(self, entry: Entry) -> int:
        """Fused-off CUs of the shader engine that GRBM_GFX_INDEX selects; broadcast reads engine 0."""
        index = self._get(entry.instance, "GRBM_GFX_INDEX")
        engine = 0 if index >> 31 else (index >> ENGINE_SHIFT) % SHADER_ENGINES
        return self._gpu.chip.inactive_cu_mask(self._gpu.index, entry.instance, engine) << INACTIVE_CUS_SHIFT

    def firmware_loaded(self, kind: int) -> None:
        """The PSP starts the RLC when it has loaded its firmware, also when a driver has stopped it (rlc_resume does not)."""
        if kind == FW_RLC:
            self._rlc_started.clear()

    def rlc_control(self, entry: Entry) -> int:
        """The RLC runs from the moment its firmware is accepted (item 37), unless the driver stops it."""
        if FW_RLC in self._gpu.psp.loaded and entry.instance not in self._rlc_started:
            self._rlc_started.add(entry.instance)
            self._gpu.registers.store(entry, self._gpu.registers.stored(entry) | 1)
        return self._gpu.registers.stored(entry)

    def safe_mode(self, entry: Entry, value: int) -> None:
        registers = self._gpu.registers
        registers.store(entry, value)
        request = Regs.RLC_SAFE_MODE.kind(value)
        if not request.CMD:
            return
        self._gpu.stage("rlc")
        running = registers.read(registers.layout.address(f"GC[{entry.instance}].RLC_CNTL")) & 1
        if self.rlc_stuck or not running or FW_RLC not in self._gpu.psp.loaded:
            return
        done = int(request.replace(CMD=0))
        self._gpu.hive.events.after(SAFE_MODE_S, lambda: self._answer_safe_mode(entry, value, done))

    def _answer_safe_mode(self, entry: Entry, asked: int, done: int) -> None:
        if self._gpu.registers.stored(entry) == asked and not self.rlc_stuck:
            self._gpu.registers.store(entry, done)

    def mec_control(self, entry: Entry, value: int) -> None:
        """Halt, and reset of pipes: a pipe under reset loses the queue in work (gfx_v9_4_3_reset_hw_pipe; the callers set
        up no other one again), and all of them when the engine is halted, too."""
        xcc = entry.instance
        rising = value & ~self._gpu.registers.stored(entry)
        self._gpu.registers.store(entry, value)
        pipes = [
            (me, pipe)
            for me, count in PIPES.items()
            for pipe in range(count)
            if rising >> PIPE_RESET_SHIFT[me] + pipe & 1
        ]
        whole = sum(me == 1 for me, _ in pipes) == PIPES[1]
        if self._gpu.resets.fate(Reset.MEC if whole else Reset.PIPE) is not Fate.WORKS:
            pipes, whole = [], False
        if whole:
            self._end_hang(xcc)
        if (2, 1) in pipes or (2, 0) in pipes:  # the KIQ runs there; before it hangs there is nothing to cure
            self.kiq_dead = self.kiq_dead and not self._ignored_kiq
        bits = Regs.CP_MEC_CNTL.kind(value)
        for me, pipe in pipes:
            self._gpu.gmc.stays.pop(f"GC[{xcc}]", None)
            slots = [Slot(xcc, me, pipe, queue) for queue in range(QUEUES)]
            if not (bits.MEC_ME1_HALT if me == 1 else bits.MEC_ME2_HALT):
                slots = [slot for slot in slots if slot not in self.queues or self.queues[slot].has_work]
            self._drop(slots)
        for queue in self.queues.values():
            if queue.slot.xcc == xcc:
                queue.wake()

    def soft_reset(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        bits = Regs.GRBM_SOFT_RESET.kind(value)
        if self._gpu.resets.fate(Reset.GRBM) is not Fate.WORKS:
            return
        if bits.SOFT_RESET_RLC or bits.SOFT_RESET_GFX:
            self.rlc_stuck = False
        if bits.SOFT_RESET_CP or bits.SOFT_RESET_CPC or bits.SOFT_RESET_CPF or bits.SOFT_RESET_GFX:
            self._end_hang(entry.instance)
            self.kiq_dead = self.kiq_dead and not self._ignored_kiq
            self._gpu.gmc.stays.pop(f"GC[{entry.instance}]", None)
            for me, count in PIPES.items():
                self._drop([Slot(entry.instance, me, pipe, q) for pipe in range(count) for q in range(QUEUES)])

    def _end_hang(self, xcc: int) -> None:
        if xcc in self.hung:
            self.hung.discard(xcc)
            self.busy.add(xcc)  # so that show() takes the marks away

    def hqd_active(self, entry: Entry, value: int) -> None:
        slot = self._selected(entry)
        self._gpu.registers.store(entry, value)
        if value & 1 and slot not in self.queues:
            self.activate(slot).preload()
        elif not value & 1 and slot in self.queues:
            self.remove(slot)

    def hqd_wptr(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        queue = self.queues.get(self._selected(entry))
        if queue is not None:
            queue.set_wptr(queue.bank.get("CP_HQD_PQ_WPTR_HI") << 32 | value)

    def hqd_dequeue(self, entry: Entry, value: int) -> None:
        self._gpu.registers.store(entry, value)
        slot = self._selected(entry)
        if Regs.CP_HQD_DEQUEUE_REQUEST.kind(value).DEQUEUE_REQ:
            self._gpu.hive.events.after(DEQUEUE_S, lambda: self._try_dequeue(slot))

    def _try_dequeue(self, slot: Slot) -> None:
        """1 drains, 2 resets the waves (kgd_gfx_v9_hqd_destroy); a MEC that does not run does nothing."""
        bank = Bank(self._gpu, slot)
        request = Regs.CP_HQD_DEQUEUE_REQUEST.kind(bank.get("CP_HQD_DEQUEUE_REQUEST")).DEQUEUE_REQ
        if not request or not bank.get("CP_HQD_ACTIVE") & 1:
            return
        queue = self.queues.get(slot)
        may = queue is None or request == 2 or queue.can_drain()
        if not may or not self.works(slot):
            self._gpu.hive.events.after(self._dequeues.next_look_s(slot), lambda: self._try_dequeue(slot))
            return
        fate = self._gpu.resets.fate(Reset.QUEUE)
        if fate is Fate.HANGS:
            return
        bank.set("CP_HQD_DEQUEUE_REQUEST", 0)
        if fate is Fate.LIES:
            bank.set("CP_HQD_ACTIVE", 0)
            return
        if request == 2:
            self._gpu.gmc.stays.pop(f"GC[{slot.xcc}]", None)
        self.remove(slot)

    def queue_reset(self, entry: Entry, value: int) -> None:
        """SPI drops the waves of the selected queue; a dequeue that waited for them takes effect (kgd_gfx_v9_hqd_reset)."""
        queue = self.queues.get(self._selected(entry))
        if not value & 1 or queue is None or self._gpu.resets.fate(Reset.QUEUE) is not Fate.WORKS:
            return
        held = queue.waves is not None
        queue.kill_waves()
        may = (held or queue.can_drain()) and self.works(queue.slot)
        if queue.bank.get("CP_HQD_DEQUEUE_REQUEST") and may:
            self._gpu.gmc.stays.pop(f"GC[{queue.slot.xcc}]", None)
            queue.bank.set("CP_HQD_DEQUEUE_REQUEST", 0)
            self.remove(queue.slot)

    def sq_command(self, entry: Entry, value: int) -> None:
        """Kill waves, of one VMID or all."""
        self._gpu.registers.store(entry, value)
        command = Regs.SQ_CMD.kind(value)
        if command.CMD != SQ_KILL or self._gpu.resets.fate(Reset.WAVE_KILL) is not Fate.WORKS:
            return
        for queue in list(self.queues.values()):
            mine = not command.CHECK_VMID or queue.vmid == command.VM_ID
            if queue.slot.xcc == entry.instance and mine:
                queue.kill_waves()

    def capture_clock(self, entry: Entry, value: int) -> None:
        now = ticks(self._gpu)
        self._set(entry.instance, "RLC_GPU_CLOCK_COUNT_LSB", now & 0xFFFFFFFF)
        self._set(entry.instance, "RLC_GPU_CLOCK_COUNT_MSB", now >> 32)

    def _selected(self, entry: Entry) -> Slot:
        return Slot.selected(entry.instance, self._get(entry.instance, "GRBM_GFX_CNTL"))

    def _get(self, xcc: int, name: str) -> int:
        return self._gpu.registers.get(f"GC[{xcc}].{name}")

    def _set(self, xcc: int, name: str, value: int) -> None:
        self._gpu.registers.set(f"GC[{xcc}].{name}", value)


def declare(layout: Layout, chip: Chip) -> None:
    select = Regs.GRBM_GFX_CNTL
    hqd = [name for name in Regs.REGISTERS if name.startswith("CP_HQD_") and name not in _HQD_ACTIVE]
    for xcc, bases in enumerate(chip.bases("GC")):
        unit = layout.unit(Regs, f"GC[{xcc}]", bases, "gfx", xcc)
        unit.plain(_PLAIN, _RESETS)
        unit.plain((*_PER_QUEUE, *hqd), _RESETS, bank=select, bank_mask=QUEUE_SELECT)
        unit.plain(_PER_PIPE, bank=select, bank_mask=PIPE_SELECT)
        unit.plain(_PER_VMID, bank=select, bank_mask=VMID_SELECT)
        _reserved(unit, unit.address(Regs.CP_HQD_PQ_DOORBELL_CONTROL) + 1)
        _other_vmids(unit)
        _banked(unit, "CP_HQD_ACTIVE", Gfx.hqd_active)
        _banked(unit, "CP_HQD_DEQUEUE_REQUEST", Gfx.hqd_dequeue)
        _banked(unit, "CP_HQD_PQ_WPTR_LO", Gfx.hqd_wptr)
        unit.active(Regs.CP_MEC1_INSTR_PNTR, on_read=Gfx.instruction_pointer)
        unit.active(Regs.CP_MEC2_INSTR_PNTR, on_read=Gfx.instruction_pointer)
        unit.active(Regs.CC_GC_SHADER_ARRAY_CONFIG, on_read=Gfx.shader_array)
        unit.active(Regs.CP_MEC_CNTL, _RESETS["CP_MEC_CNTL"], on_write=Gfx.mec_control)
        unit.active(Regs.GRBM_SOFT_RESET, on_write=Gfx.soft_reset)
        unit.active(Regs.SPI_COMPUTE_QUEUE_RESET, on_write=Gfx.queue_reset)
        unit.active(Regs.SQ_CMD, on_write=Gfx.sq_command)
        unit.active(Regs.SQ_IND_DATA, on_read=Gfx.wave_register)
        unit.active(Regs.RLC_CNTL, on_read=Gfx.rlc_control)
        unit.active(Regs.RLC_SAFE_MODE, on_write=Gfx.safe_mode)
        unit.active(Regs.RLC_CAPTURE_GPU_CLOCK_COUNT, on_write=Gfx.capture_clock)


def _other_vmids(unit: Unit) -> None:
    """GDS has a set of registers for each VMID; the header names the first (gfx_v9_4_3_xcc_init_compute_vmid)."""
    for register, step in _GDS:
        first, reset = unit.address(register), _RESETS.get(register.name, 0)
        for vmid in range(1, VMIDS):
            name = register.name.replace("VMID0", f"VMID{vmid}")
            unit.layout.add(Entry(f"{unit.prefix}.{name}", first + vmid * step, reset, unit.owner, unit.instance))


def _banked(unit: Unit, name: str, on_write: OnWrite) -> None:
    """A register of the selected queue that reacts to writes."""
    register = Regs.REGISTERS[name]
    entry = Entry(f"{unit.prefix}.{name}", unit.address(register), _RESETS.get(name, 0), unit.owner, unit.instance)
    entry.bank, entry.bank_mask, entry.on_write = unit.address(Regs.GRBM_GFX_CNTL), QUEUE_SELECT, on_write
    unit.layout.add(entry)


def _reserved(unit: Unit, address: int) -> None:
    """The hole among the HQD registers (reserved_144 of v9_mqd): kgd_gfx_v9_hqd_load writes it with the others."""
    entry = Entry(f"{unit.prefix}.CP_HQD_RESERVED_144", address, 0, unit.owner, unit.instance)
    entry.bank, entry.bank_mask = unit.address(Regs.GRBM_GFX_CNTL), QUEUE_SELECT
    unit.layout.add(entry)
