"""Getting one XCC's compute engine free again, mildest first: kill waves, dequeue, reset a queue, a pipe, the whole MEC.

Source: Linux v7.3 gfx_v9_4_3.c (ring_soft_recovery, kiq_reset_hw_queue, unmap_done, reset_hw_pipe, xcc_cp_compute_enable),
amdgpu_amdkfd_gfx_v9.c (hqd_destroy, hqd_get_pq_addr); amd-resets.md sections 1 and 2. Limits as the kernel's: 100 ms each.

Everything here selects queues through GRBM_GFX_CNTL, so none of it is for a probe; the selection is left at 0. It works on
a GPU that our driver has not started: it needs where the registers are, nothing else. Each step waits until the engine
shows that it was done, and raises WaitTimeout with the register when it does not; a step that is acknowledged and did
nothing is found out where the registers can show it (a pipe, a MEC), else by looking at the symptom again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from amdriver.kiq import selected, wait_inactive
from base.errors import GpumendError, UsageError, WaitTimeout
from pcibus.transport import ALL_ONES
from registers.amd.gc_9_4_3 import CP_MEC_CNTL_t, Gc, SQ_CMD_t

if TYPE_CHECKING:
    from amdriver.gpu import Gpu

SAFE_MODE_S: Final = 0.1
IDLE_S: Final = 0.1
SETTLE_S: Final = 50e-6
PIPES: Final = {1: 4, 2: 2}  # of each MEC
QUEUES_PER_PIPE: Final = 8
SHADER_ENGINES: Final = 4  # of an XCC, where no table tells
_DRAIN: Final = 1
_RESET_WAVES: Final = 2
_KILL: Final = 3
_OF_VMID: Final = 1
_SCHEDULER: Final = 0x80
HALT: Final = CP_MEC_CNTL_t.of(
    MEC_INVALIDATE_ICACHE=1,
    MEC_ME1_PIPE0_RESET=1,
    MEC_ME1_PIPE1_RESET=1,
    MEC_ME1_PIPE2_RESET=1,
    MEC_ME1_PIPE3_RESET=1,
    MEC_ME2_PIPE0_RESET=1,
    MEC_ME2_PIPE1_RESET=1,
    MEC_ME1_HALT=1,
    MEC_ME2_HALT=1,
)


@dataclass(frozen=True, slots=True)
class Hqd:
    """A queue that sits on a MEC: its place, whose address space it works in, and its pointers in dwords.

    `rptr` counts within the ring, `wptr` as the queue counts; `kiq`: the one by which a driver asks for the others;
    `has_work`: it has packets that were not read, or (MEC 1) waves."""

    xcc: int
    me: int
    pipe: int
    queue: int
    vmid: int = 0
    rptr: int = 0
    wptr: int = 0
    doorbell: int = 0  # dword in BAR2
    kiq: bool = False
    has_work: bool = False

    def __str__(self) -> str:
        return f"XCC {self.xcc} me {self.me} pipe {self.pipe} queue {self.queue}"


@dataclass(frozen=True, slots=True)
class StuckMec:
    """A MEC that is busy and whose instruction pointer did not move while it was watched."""

    xcc: int
    me: int
    pointer: int
    samples: int
    watched_s: float

    def __str__(self) -> str:
        return (
            f"MEC{self.me} of XCC {self.xcc}: busy, CP_MEC{self.me}_INSTR_PNTR={self.pointer:#x} in {self.samples} "
            f"samples over {self.watched_s:g} s"
        )


class XccReset:
    """The mechanisms of one XCC (physical number). Making one touches no hardware."""

    def __init__(self, gpu: Gpu, xcc: int) -> None:
        self.gpu = gpu
        self.xcc = xcc
        self.gc = gpu.block(Gc, "GC", xcc)

    # ---- looking

    def active_queues(self) -> tuple[Hqd, ...]:
        """Every queue that sits on a MEC of this XCC. A dead XCC has none: DeviceLost when the GPU left the bus."""
        found = []
        scheduler = self.gc.RLC_CP_SCHEDULERS.read().value & 0xFF
        for me, pipes in PIPES.items():
            for pipe in range(pipes):
                for queue in range(QUEUES_PER_PIPE):
                    kiq = scheduler == _SCHEDULER | me << 5 | pipe << 3 | queue
                    hqd = self._look(me, pipe, queue, kiq)
                    if hqd is not None:
                        found.append(hqd)
        return tuple(found)

    def _look(self, me: int, pipe: int, queue: int, kiq: bool) -> Hqd | None:
        gc = self.gc
        with selected(gc, me=me, pipe=pipe, queue=queue):
            active = gc.CP_HQD_ACTIVE.read()
            if active.value == ALL_ONES:
                self.gpu.require_present(f"looking for queues of XCC {self.xcc}")
                return None
            if not active.ACTIVE:
                return None
            wptr = gc.CP_HQD_PQ_WPTR_HI.read().value << 32 | gc.CP_HQD_PQ_WPTR_LO.read().value
            rptr, vmid = gc.CP_HQD_PQ_RPTR.read().value, gc.CP_HQD_VMID.read().VMID
            ring_dwords = 2 << gc.CP_HQD_PQ_CONTROL.read().QUEUE_SIZE
            doorbell = gc.CP_HQD_PQ_DOORBELL_CONTROL.read().DOORBELL_OFFSET
        has_waves = me == 1 and active_waves(self.gpu, gc) >> pipe * QUEUES_PER_PIPE + queue & 1
        has_work = bool((wptr - rptr) % ring_dwords or has_waves)
        return Hqd(self.xcc, me, pipe, queue, vmid, rptr, wptr, doorbell, kiq=kiq, has_work=has_work)

    def busy_mecs(self) -> tuple[tuple[int, int], ...]:
        """(1 or 2, instruction pointer) of the MECs that run and are busy now."""
        status, control = self.gc.CP_CPC_STATUS.read(), self.gc.CP_MEC_CNTL.read()
        if ALL_ONES in (status.value, control.value):
            self.gpu.require_present(f"looking at the MEC of XCC {self.xcc}")
            return ()
        found = []
        if status.MEC1_BUSY and not control.MEC_ME1_HALT:
            found.append((1, self.gc.CP_MEC1_INSTR_PNTR.read().value))
        if status.MEC2_BUSY and not control.MEC_ME2_HALT:
            found.append((2, self.gc.CP_MEC2_INSTR_PNTR.read().value))
        return tuple(found)

    # ---- mechanisms

    def wave_kill(self, vmid: int) -> None:
        """Kill the waves of one VMID on this XCC; the queues go on with what comes next. Says nothing about success."""
        if not 0 < vmid < 16:
            raise UsageError("killing waves", expected="a VMID of a user, 1 to 15", seen=str(vmid), where=self.gc.name)
        with safe_mode(self.gpu, self.gc):
            self.gc.SQ_CMD.write(SQ_CMD_t.of(CMD=_KILL, MODE=_OF_VMID, CHECK_VMID=1, VM_ID=vmid))

    def dequeue(self, hqd: Hqd) -> None:
        """Ask a queue to leave when its waves are done. WaitTimeout when they do not end."""
        with self._chosen(hqd):
            self.gc.CP_HQD_DEQUEUE_REQUEST.write(DEQUEUE_REQ=_DRAIN)
            self._wait_off(str(hqd))

    def queue_reset(self, hqd: Hqd) -> None:
        """Kill a queue's waves and take it off, by its registers. WaitTimeout when the MEC does not do it, or waves stay."""
        with self._chosen(hqd):
            self.take_off(str(hqd))
        if hqd.me == 1:
            self.require_no_waves(hqd.pipe, hqd.queue, str(hqd))

    def require_no_waves(self, pipe: int, queue: int, name: str) -> None:
        """Until no wave of this queue of MEC 1 is left on the XCC: a queue that only looks off has them still."""
        register = self.gc.SPI_CSQ_WF_ACTIVE_STATUS
        place = pipe * QUEUES_PER_PIPE + queue
        self.gpu.wait(
            lambda: active_waves(self.gpu, self.gc),
            lambda value: not value >> place & 1,
            doing=f"killing the waves of {name}",
            expected=f"SPI_CSQ_WF_ACTIVE_STATUS bit {place}: 0",
            timeout_s=IDLE_S,
            where=register.where,
            next_step="gpumend reset --method mec-reset; then mode2",
            show=lambda value: f"{value:#010x}",
        )

    def take_off(self, name: str) -> None:
        """The same for the queue that is selected already."""
        self.gc.CP_HQD_DEQUEUE_REQUEST.write(DEQUEUE_REQ=_RESET_WAVES)
        self.gc.SPI_COMPUTE_QUEUE_RESET.write(RESET=1)
        self._wait_off(name)

    def _wait_off(self, name: str) -> None:
        try:
            wait_inactive(self.gpu, self.gc, name)
        finally:
            self.gc.CP_HQD_DEQUEUE_REQUEST.write(0)

    def pipe_reset(self, me: int, pipe: int) -> None:
        """Reset one pipe of a MEC: a queue of it that was at work is off afterwards, else WaitTimeout. The kernel sets only
        that one up again, so idle ones may stay."""
        if not 0 <= pipe < PIPES.get(me, 0):
            raise UsageError("resetting a pipe", expected="me 1, pipe 0-3, or me 2, pipe 0-1", seen=f"{me}, {pipe}")
        control = self.gc.CP_MEC_CNTL
        with safe_mode(self.gpu, self.gc):
            before = control.read()
            control.write(before.replace(**{f"MEC_ME{me}_PIPE{pipe}_RESET": 1}))
            control.write(before)
        for queue in range(QUEUES_PER_PIPE):
            self._require_no_work(me, pipe, queue)

    def _require_no_work(self, me: int, pipe: int, queue: int) -> None:
        register = self.gc.CP_HQD_ACTIVE
        self.gpu.wait(
            lambda: self._look(me, pipe, queue, kiq=False),
            lambda hqd: hqd is None or not hqd.has_work,
            doing=f"resetting pipe {pipe} of me {me} of XCC {self.xcc}",
            expected=f"queue {queue} off, or without work",
            timeout_s=IDLE_S,
            where=register.where,
            next_step="gpumend reset --method mec-reset; then mode2",
            show=lambda hqd: "off" if hqd is None else f"CP_HQD_ACTIVE=1, rptr {hqd.rptr:#x} wptr {hqd.wptr:#x}",
        )

    def mec_reset(self) -> None:
        """Halt both MECs, reset all their pipes, and let them run again if they ran: no queue is left on this XCC.

        WaitTimeout when a queue stays or a MEC is busy all the same: then it needs mode2."""
        control = self.gc.CP_MEC_CNTL
        before = control.read()
        if before.value == ALL_ONES:
            self.gpu.require_present("resetting a MEC")
            raise self._dead(control.where)
        control.write(HALT)
        self.gpu.clock.sleep(SETTLE_S)
        running = before.value & ~HALT.value if before.MEC_ME1_HALT == 0 else before.value & ~_RESETS
        control.write(running)
        self.gpu.clock.sleep(SETTLE_S)
        self._require_free()

    def _require_free(self) -> None:
        for me, pipes in PIPES.items():
            for pipe in range(pipes):
                for queue in range(QUEUES_PER_PIPE):
                    with selected(self.gc, me=me, pipe=pipe, queue=queue):
                        wait_inactive(
                            self.gpu, self.gc, f"XCC {self.xcc} me {me} pipe {pipe} queue {queue} (MEC reset)"
                        )
        register = self.gc.CP_CPC_STATUS
        self.gpu.wait(
            register.read,
            lambda status: not (status.MEC1_BUSY or status.MEC2_BUSY),
            doing=f"resetting the MEC of XCC {self.xcc}",
            expected="CP_CPC_STATUS.MEC1_BUSY=0, MEC2_BUSY=0: no queue is left",
            timeout_s=IDLE_S,
            where=register.where,
            next_step="gpumend reset --method mode2",
            show=register.show,
        )

    # ---- inside

    @contextmanager
    def _chosen(self, hqd: Hqd) -> Iterator[None]:
        """In safe mode, with this queue selected."""
        if hqd.xcc != self.xcc or not 0 <= hqd.pipe < PIPES.get(hqd.me, 0) or not 0 <= hqd.queue < QUEUES_PER_PIPE:
            raise UsageError(
                "choosing a queue", expected=f"a place on XCC {self.xcc}", seen=str(hqd), where=self.gc.name
            )
        with (
            safe_mode(self.gpu, self.gc),
            selected(self.gc, me=hqd.me, pipe=hqd.pipe, queue=hqd.queue),
        ):
            yield

    def _dead(self, where: str) -> GpumendError:
        return GpumendError(
            f"resetting the MEC of XCC {self.xcc}",
            expected="registers that answer",
            seen="0xffffffff",
            where=where,
            next_step="gpumend probe; restore the configuration first",
        )


_RESETS: Final = HALT.value & ~CP_MEC_CNTL_t.of(MEC_ME1_HALT=1, MEC_ME2_HALT=1).value


@contextmanager
def safe_mode(gpu: Gpu, gc: Gc) -> Iterator[None]:
    """For work on a GPU whose driver may have left clock gating on, as the kernel does it: an RLC that does not run is not
    asked, one that does not answer is given its time, and no more."""
    control = gc.RLC_CNTL.read()
    if not control.RLC_ENABLE_F32 or control.value == ALL_ONES:
        yield
        return
    gc.RLC_SAFE_MODE.write(CMD=1, MESSAGE=1)
    try:
        with suppress(WaitTimeout):
            wait_safe_mode(gpu, gc)
        yield
    finally:
        gc.RLC_SAFE_MODE.write(CMD=1, MESSAGE=0)


def active_waves(gpu: Gpu, gc: Gc) -> int:
    """Which queues of MEC 1 have waves on this XCC: bit 8 * pipe + queue. Each shader engine is asked in turn, as
    kgd_gfx_v9_get_cu_occupancy does; all are selected again afterwards."""
    engines = (gpu.ip.gc.get("num_se") if gpu.ip.gc is not None else None) or SHADER_ENGINES
    found = 0
    try:
        with selected(gc, me=1):
            for engine in range(engines):
                gc.GRBM_GFX_INDEX.write(SE_INDEX=engine, INSTANCE_BROADCAST_WRITES=1)
                seen = gc.SPI_CSQ_WF_ACTIVE_STATUS.read().value
                found |= 0 if seen == ALL_ONES else seen
    finally:
        gc.GRBM_GFX_INDEX.write(SE_BROADCAST_WRITES=1, SH_BROADCAST_WRITES=1, INSTANCE_BROADCAST_WRITES=1)
    return found


def wait_safe_mode(gpu: Gpu, gc: Gc) -> None:
    """Until the RLC has taken the request; WaitTimeout."""
    gpu.wait(
        gc.RLC_SAFE_MODE.read,
        lambda value: not value.CMD,
        doing="entering the RLC's safe mode",
        expected="RLC_SAFE_MODE.CMD=0",
        timeout_s=SAFE_MODE_S,
        where=gc.RLC_SAFE_MODE.where,
        next_step="gpumend probe; then gpumend reset --method mode1",
        show=gc.RLC_SAFE_MODE.show,
    )


def stuck_mecs(gpu: Gpu, xccs: tuple[XccReset, ...], watch_s: float, samples: int = 5) -> tuple[StuckMec, ...]:
    """MECs that were busy in every sample and never moved. One wait or kernel longer than the watch looks the same."""
    seen = {(xcc.xcc, me): pointer for xcc in xccs for me, pointer in xcc.busy_mecs()}
    for _ in range(samples - 1):
        if not seen:
            return ()
        gpu.clock.sleep(watch_s / (samples - 1))
        now = {
            (xcc.xcc, me): pointer
            for xcc in xccs
            if any(number == xcc.xcc for number, _ in seen)
            for me, pointer in xcc.busy_mecs()
        }
        seen = {place: pointer for place, pointer in seen.items() if now.get(place) == pointer}
    return tuple(StuckMec(xcc, me, pointer, samples, watch_s) for (xcc, me), pointer in sorted(seen.items()))
