"""GFX 9.4.3, 9.4.4, 9.5.0: RLC, MEC, KIQ and compute queues of all XCCs that are there.

Source: Linux v7.3 gfx_v9_4_3.c (init_golden_registers, xcc_constants_init, xcc_rlc_resume, xcc_cp_compute_enable,
xcc_kiq_resume, xcc_fini, kiq_reset_hw_queue), amdgpu_gfx.c (enable_kcq, disable_kcq), amdkfd/kfd_device_queue_manager_v9.c
update_qpd_v9 (SH_MEM of a user's VMID), amdgpu_doorbell.h layout 1; amd-bringup.md section 9, amdgpu-on-model.md items 36-42,
48, 62, 64.

XCCs go side by side: a step is written to all of them, then waited for on all. Registers of which all fields are known are
written without being read. Queues of users run in VMID 8 and are started by the KIQ's MAP_QUEUES.

What differs from the kernel, and why: SH_MEM is set for the two VMIDs in use only; GDS stays as it is (no queue of ours may
allocate any); clock gating stays off; the XNACK chain is not set up, retry is off. MC writes of the RLC's performance monitor
get VMID 15, as in the kernel. The driver itself must have set the partition mode (PSP command 0x27) before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Literal, overload

from amdriver import aql, mqd, pm4
from amdriver.gfx_reset import HALT, XccReset, active_waves, safe_mode, wait_safe_mode
from amdriver.kiq import KIQ_BYTES, Kiq, hqd_state, selected, wait_inactive
from amdriver.mqd import EOP_BYTES, MQD_BYTES, QueueLayout
from amdriver.pm4_dispatch import SLOT_BYTES
from amdriver.pm4_fields import UnmapAction
from amdriver.queue import AqlQueue, ComputeQueue
from amdriver.ring import CONTROL_BYTES, Buffer, Memory, QueueStuck, VramBlock, check_ring_bytes
from amdriver.signals import Signals
from amdriver.waves import WaveDump, first_wave
from base.errors import GpumendError, Unavailable, UsageError
from registers.amd.gc_9_4_3 import Gc, SH_MEM_BASES_t, SH_MEM_CONFIG_t

if TYPE_CHECKING:
    from amdriver.gpu import Gpu

COMPUTE_VMID: Final = 8
RING_BYTES: Final = 64 << 10
TEST_S: Final = 0.1
KIQ_DOORBELL: Final = 0x000
MEC_DOORBELL: Final = 0x008  # to 0x01F: kernel rings, then user queues
LAST_DOORBELL: Final = 0x01F
XCC_DOORBELLS: Final = 0x020
MEC_ME: Final = 1
PIPES: Final = 4
QUEUES_PER_PIPE: Final = 8
MOST_QUEUES: Final = LAST_DOORBELL - MEC_DOORBELL + 1
GOLDEN_GB_ADDR_CONFIG: Final = 0x2A11_4042
_MEC_SETTLE_S: Final = 50e-6
_SPM_VMID: Final = 0xF
_ALIGNMENT_UNALIGNED: Final = 3
_SHARED_APERTURE: Final = 1  # address bits 63:48 of LDS and of scratch in a user's VMID, as the KFD has them
_PRIVATE_APERTURE: Final = 2
_F8_VERSIONS: Final = ((9, 4, 3), (9, 4, 4))
_VERSIONS: Final = (*_F8_VERSIONS, (9, 5, 0))
OWN_QUEUES: Final = (1 << PIPES * QUEUES_PER_PIPE) - 1  # SET_RESOURCES: the queues of MEC 1
Kind = Literal["pm4", "aql"]
AnyQueue = ComputeQueue | AqlQueue


class _Owned:
    """What a queue is made of besides itself."""

    __slots__ = ("buffer", "layout", "mqds")

    def __init__(self, buffer: Buffer, mqds: VramBlock, layout: QueueLayout) -> None:
        self.buffer, self.mqds, self.layout = buffer, mqds, layout

    def free(self) -> None:
        self.buffer.free()
        self.mqds.free()


class Gfx:
    """All XCCs. `xccs`: physical numbers of those that are there, harvested ones left out."""

    def __init__(self, gpu: Gpu, gmc: Memory, *, signals: Signals | None = None) -> None:
        self.gpu = gpu
        self.gmc = gmc
        self.signals = signals or Signals(gpu, gmc)
        self.xccs: tuple[int, ...] = tuple(ip.instance for ip in gpu.ip.active("GC"))
        self.kiqs: list[Kiq] = []
        self._gc: list[Gc] = []
        self._block: VramBlock | None = None
        self._owned: dict[AnyQueue, _Owned] = {}
        self._running = False

    @property
    def queues(self) -> tuple[AnyQueue, ...]:
        """Those that were created and not destroyed, oldest first."""
        return tuple(self._owned)

    # ---- life

    def sw_init(self) -> None:
        """The KIQs' memory. Raises Unavailable when there is no XCC, or of a version that this driver does not know."""
        version = self.gpu.ip.version_of("GC", self.xccs[0]) if self.xccs else ()
        if version not in _VERSIONS:
            raise Unavailable(
                "setting up GFX",
                expected="XCCs of version " + ", ".join(".".join(map(str, one)) for one in _VERSIONS),
                seen=".".join(map(str, version)) or "no XCC in the discovery table",
                where=self.gpu.name,
                next_step="gpumend discovery show",
            )
        self._gc = [self.gpu.block(Gc, "GC", xcc) for xcc in self.xccs]
        block = self.gmc.alloc_vram(KIQ_BYTES * len(self.xccs), owner="KIQs")
        self._block = block
        self.kiqs = [
            Kiq(
                self.gpu,
                self.gmc,
                self._gc[position],
                xcc=xcc,
                block=block,
                at=KIQ_BYTES * position,
                doorbell=KIQ_DOORBELL + XCC_DOORBELLS * position,
            )
            for position, xcc in enumerate(self.xccs)
        ]

    def hw_init(self) -> None:
        """RLC, shader memory, MEC, KIQs: all XCCs side by side. Ends with the test that each KIQ answers."""
        self._set_constants()
        self._resume_rlc()
        self.halt()
        self._start_kiqs(range(len(self.kiqs)))

    def hw_fini(self) -> None:
        """Queues off, KIQs off, MECs halted: as the kernel's driver leaves them, and can start them again. Goes on to the end
        when something does not go by itself; then raises the first error."""
        failed: list[GpumendError] = []
        if self._running:
            _try(self._unmap_all, failed)
        for work in (*(kiq.request_stop for kiq in self.kiqs), *(kiq.finish_stop for kiq in self.kiqs), self.halt):
            _try(work, failed)
        if failed:
            raise failed[0]

    def halt(self) -> None:
        """Halt and reset the MECs of all XCCs at once, whatever they are doing."""
        self._running = False
        for gc in self._gc:
            gc.CP_MEC_CNTL.write(HALT)
        self.gpu.clock.sleep(_MEC_SETTLE_S)

    def sw_fini(self) -> None:
        """Give the memory back; touches no register, so that it works on a dead device."""
        owned, self._owned = self._owned, {}
        for queue, parts in owned.items():
            queue.close()
            parts.free()
        for kiq in self.kiqs:
            kiq.close()
        self.kiqs, self._gc = [], []
        block, self._block = self._block, None
        if block is not None:
            block.free()
        self.signals.close()

    def stop_left_queues(self) -> list[str]:
        """Dequeue what a process before us left mapped on MEC 1; for a start on a GPU that was not closed. Names them.

        The waves of those queues are killed. Raises WaitTimeout when one does not go: then the GPU needs a reset."""
        found = []
        for xcc, gc in zip(self.xccs, self._gc, strict=True):
            left = [slot for slot in range(PIPES * QUEUES_PER_PIPE) if _is_active(gc, slot)]
            if not left:
                continue
            with safe_mode(self.gpu, gc):
                for slot in left:
                    pipe, queue = slot % PIPES, slot // PIPES
                    name = f"XCC {xcc} me {MEC_ME} pipe {pipe} queue {queue}"
                    found.append(name)
                    with selected(gc, me=MEC_ME, pipe=pipe, queue=queue):
                        XccReset(self.gpu, xcc).take_off(name)
        return found

    # ---- queues

    @overload
    def create_queue(
        self, xcc: int | None = None, kind: Literal["pm4"] = "pm4", *, ring_bytes: int = RING_BYTES, test: bool = True
    ) -> ComputeQueue: ...
    @overload
    def create_queue(
        self, xcc: int | None, kind: Literal["aql"], *, ring_bytes: int = RING_BYTES, test: bool = True
    ) -> AqlQueue: ...
    def create_queue(
        self, xcc: int | None = None, kind: Kind = "pm4", *, ring_bytes: int = RING_BYTES, test: bool = True
    ) -> AnyQueue:
        """A queue on one XCC (physical number), or on all of them together (None), in VMID 8; it has done a fence.

        While the XCCs form one partition, each runs its share of the workgroups of a launch: launches need a queue on all.
        Raises UsageError (an XCC that is not there, a bad size, no place left), QueueStuck; nothing is left behind then."""
        positions = self._positions(xcc, kind, ring_bytes)
        slot = self._free_slot(positions)
        with ExitStack() as undo:
            queue, owned = self._make_queue(positions, slot, kind, ring_bytes, undo)
            undo.callback(self._abandon, owned.layout, positions)
            self._map(queue, owned.layout, positions, slot)
            if test:
                self._test(queue)
            undo.pop_all()
        self._owned[queue] = owned
        return queue

    def destroy(self, queue: AnyQueue) -> None:
        """Unmap a queue, whatever it is doing, and free its memory. Raises UsageError for one that is not ours any more."""
        owned = self._require_owned(queue, "destroying")
        self._unmap(queue, owned.layout)
        del self._owned[queue]
        queue.close()
        owned.free()

    # ---- recovery: what a queue was at is lost, the queue itself and its memory stay

    def working(self, queue: AnyQueue) -> bool:
        """Whether a queue has something that is not done: packets that were not read, or waves."""
        return not queue.idle or self.has_waves(queue)

    def first_waves(self, queue: AnyQueue) -> list[WaveDump]:
        """Of a queue with waves: the first wave that is found on each of its XCCs that has some, with its registers."""
        found = []
        place = queue.slot % PIPES * QUEUES_PER_PIPE + queue.slot // PIPES
        for xcc in queue.xccs:
            gc = self._gc[self.xccs.index(xcc)]
            if active_waves(self.gpu, gc) >> place & 1:
                found.append(first_wave(self.gpu, gc, xcc))
        return [one for one in found if one is not None]

    def has_waves(self, queue: AnyQueue) -> bool:
        """Whether waves of it are on one of its XCCs."""
        place = queue.slot % PIPES * QUEUES_PER_PIPE + queue.slot // PIPES
        return any(active_waves(self.gpu, self._gc[self.xccs.index(xcc)]) >> place & 1 for xcc in queue.xccs)

    def reset_queue(self, queue: AnyQueue) -> None:
        """Kill its waves, take it off, start it anew, empty, and test it: by the KIQs, else by the registers.

        No other queue is touched. Raises UsageError for one that is not ours, QueueStuck and WaitTimeout when it does not
        go or does not come back: then `reset_mecs`."""
        owned = self._require_owned(queue, "resetting")
        self._unmap(queue, owned.layout)
        for xcc in queue.xccs:
            gc = self._gc[self.xccs.index(xcc)]
            with selected(gc, me=MEC_ME, pipe=queue.slot % PIPES, queue=queue.slot // PIPES):
                wait_inactive(self.gpu, gc, queue.name)
            XccReset(self.gpu, xcc).require_no_waves(queue.slot % PIPES, queue.slot // PIPES, queue.name)
        self._start_again((queue,))

    def reset_mecs(self, xccs: Iterable[int]) -> tuple[AnyQueue, ...]:
        """Reset the MECs of these XCCs (physical numbers), and start all queues that have a part on one of them anew, empty.

        Returns those queues; all others go on. Raises WaitTimeout, QueueStuck when a MEC does not come back: then mode2."""
        chosen = sorted(set(xccs))
        hit = tuple(queue for queue in self._owned if set(queue.xccs) & set(chosen))
        for queue in hit:  # the XCCs that are well let go of them first
            for xcc in set(queue.xccs) - set(chosen):
                self._force_off(self.xccs.index(xcc), queue)
        for xcc in chosen:
            XccReset(self.gpu, xcc).mec_reset()
        positions = [self.xccs.index(xcc) for xcc in chosen]
        for position in positions:
            self._gc[position].CP_MEC_CNTL.write(HALT)
        self.gpu.clock.sleep(_MEC_SETTLE_S)
        self._start_kiqs(positions)
        self._start_again(hit)
        return hit

    def resume_rlc(self) -> None:
        """After mode2 and the loading of firmware: what the SMU needs before it calls mode2 complete."""
        self._set_constants()
        self._resume_rlc()

    def resume(self) -> tuple[AnyQueue, ...]:
        """After mode2: all of `hw_init`, then every queue anew, empty. Returns them."""
        self.hw_init()
        self._start_again(self.queues)
        return self.queues

    def _start_again(self, queues: Sequence[AnyQueue]) -> None:
        """Queues that are on no MEC: memory as new, mapped, tested."""
        for queue in queues:
            owned = self._owned[queue]
            queue.restart()
            self._write_mqds(owned.mqds, owned.layout)
            self._map(queue, owned.layout, tuple(self.xccs.index(xcc) for xcc in queue.xccs), queue.slot)
            self._test(queue)

    # ---- inside: bring-up

    def _set_constants(self) -> None:
        """Golden registers, and how shaders of VMID 0 and of ours see memory."""
        user = SH_MEM_CONFIG_t.of(
            ALIGNMENT_MODE=_ALIGNMENT_UNALIGNED,
            RETRY_DISABLE=1,
            F8_MODE=int(self.gpu.ip.version_of("GC", self.xccs[0]) in _F8_VERSIONS),
        )
        system = user.replace(F8_MODE=0)
        bases = SH_MEM_BASES_t.of(SHARED_BASE=_SHARED_APERTURE, PRIVATE_BASE=_PRIVATE_APERTURE)
        for gc in self._gc:
            gc.GB_ADDR_CONFIG.write(GOLDEN_GB_ADDR_CONFIG)
            gc.TCP_UTCL1_CNTL2.modify(SPARE=1)
            gc.RLC_SPM_MC_CNTL.write(RLC_SPM_VMID=_SPM_VMID)
            gc.GRBM_GFX_CNTL.write(0)  # VMID 0, whatever an interrupted driver left selected
            gc.SH_MEM_CONFIG.write(system)
            gc.SH_MEM_BASES.write(0)
            with selected(gc, vmid=COMPUTE_VMID):
                gc.SH_MEM_CONFIG.write(user)
                gc.SH_MEM_BASES.write(bases)

    def _resume_rlc(self) -> None:
        """In safe mode: coarse clock gating off, save and restore on."""
        first = self._gc[0].RLC_CNTL
        control = first.read()
        if not control.RLC_ENABLE_F32:
            self.gpu.require_present("resuming the RLC")
            raise Unavailable(
                "resuming the RLC",
                expected="RLC_CNTL.RLC_ENABLE_F32=1: the PSP has started its firmware",
                seen=first.show(control),
                where=first.where,
                next_step="load the firmware by the PSP first; gpumend firmware verify",
            )
        for gc in self._gc:
            gc.RLC_SAFE_MODE.write(CMD=1, MESSAGE=1)
        try:
            for gc in self._gc:
                wait_safe_mode(self.gpu, gc)
            for gc in self._gc:
                gc.RLC_CGCG_CGLS_CTRL.write(0)
                gc.RLC_SRM_CNTL.modify(SRM_ENABLE=1)
        finally:
            for gc in self._gc:
                gc.RLC_SAFE_MODE.write(CMD=1, MESSAGE=0)

    def _start_kiqs(self, positions: Sequence[int]) -> None:
        """Of these XCCs, whose MECs are halted: their memory as new, their registers, then all run and are asked."""
        assert self._block is not None
        images = [self.kiqs[position].image() for position in positions]
        if len(images) == len(self.kiqs):
            self._block.write(0, b"".join(images))
        else:
            for position, image in zip(positions, images, strict=True):
                self._block.write(KIQ_BYTES * position, image)
        for position in positions:
            gc, first = self._gc[position], XCC_DOORBELLS * position
            gc.CP_MEC_DOORBELL_RANGE_LOWER.write(8 * (first + KIQ_DOORBELL))
            gc.CP_MEC_DOORBELL_RANGE_UPPER.write(8 * (first + LAST_DOORBELL))
            self.kiqs[position].start()
        for position in positions:
            self._gc[position].CP_MEC_CNTL.write(0)
        self.gpu.clock.sleep(_MEC_SETTLE_S)
        for position in positions:
            self.kiqs[position].prepare_test()
        self._ask(dict.fromkeys(positions, pm4.set_resources(OWN_QUEUES)), "starting the KIQs")
        self._running = True

    # ---- inside: queues

    def _ask(self, packets: Mapping[int, bytes], doing: str) -> None:
        """Packets for the KIQs of some XCCs (by position): written to all, then all waited for. Raises QueueStuck for the
        first that does not answer; the others have had as much time."""
        kiqs = [self.kiqs[position] for position in packets]
        for kiq, one in zip(kiqs, packets.values(), strict=True):
            kiq.stage(one)
        self.gmc.flush_hdp()
        for kiq in kiqs:
            kiq.ring()
        stuck: list[QueueStuck] = []
        for kiq in kiqs:
            try:
                kiq.wait_answer(doing) if not stuck else kiq.wait_answer(doing, 0.0)
            except QueueStuck as late:
                stuck.append(late)
        if len(stuck) > 1:
            stuck[0].seen += f"\n            also: {', '.join(late.queue for late in stuck[1:])}"
        if stuck:
            raise stuck[0]

    def _positions(self, xcc: int | None, kind: str, ring_bytes: int) -> tuple[int, ...]:
        """The XCCs of a new queue, after all checks that need nothing else."""
        doing = "creating a compute queue"
        check_ring_bytes(doing, ring_bytes)
        if kind not in ("pm4", "aql"):
            raise UsageError(doing, expected="kind pm4 or aql", seen=f"{kind!r}", verb="refused")
        if not self._running:
            raise UsageError(doing, expected="a GPU that was started", seen="hw_init has not run", verb="refused")
        if xcc is None:
            return tuple(range(len(self.xccs)))
        if xcc in self.xccs:
            return (self.xccs.index(xcc),)
        raise UsageError(
            doing,
            expected=f"an XCC of {', '.join(map(str, self.xccs))}",
            seen=f"XCC {xcc}",
            where=self.gpu.name,
            next_step="harvested XCCs are not there; gpumend discovery show",
            verb="refused",
        )

    def _free_slot(self, positions: tuple[int, ...]) -> int:
        """A place that is free on all of these XCCs."""
        xccs = {self.xccs[position] for position in positions}
        taken = {queue.slot for queue in self._owned if xccs & set(queue.xccs)}
        free = next((slot for slot in range(MOST_QUEUES) if slot not in taken), None)
        if free is not None:
            return free
        raise UsageError(
            "creating a compute queue",
            expected=f"at most {MOST_QUEUES} queues on an XCC",
            seen="all are in use",
            where=self.gpu.name,
            next_step="destroy one that is not needed",
            verb="refused",
        )

    def _make_queue(
        self, positions: tuple[int, ...], slot: int, kind: str, ring_bytes: int, undo: ExitStack
    ) -> tuple[AnyQueue, _Owned]:
        """Memory and MQDs, written; nothing was told to an XCC yet."""
        count = len(positions)
        xccs = tuple(self.xccs[position] for position in positions)
        slots_at = ring_bytes + CONTROL_BYTES + EOP_BYTES
        buffer = self.gmc.alloc(slots_at + SLOT_BYTES * count, where="host", owner=f"queue {slot}", uncached=True)
        undo.callback(buffer.free)
        mqds = self.gmc.alloc_vram(MQD_BYTES * count, owner=f"MQDs of queue {slot}")
        undo.callback(mqds.free)
        buffer.write(0, AqlQueue.empty_ring(ring_bytes) if kind == "aql" else bytes(ring_bytes))
        buffer.write(ring_bytes, bytes(buffer.size - ring_bytes))
        doorbell = MEC_DOORBELL + slot + XCC_DOORBELLS * positions[0]
        address, state = buffer.gpu_va, self._asker(positions, slot)
        queue: AnyQueue
        if kind == "aql":
            queue = AqlQueue(
                self.gpu, self.gmc, buffer, xccs=xccs, slot=slot, at=0, address=address, ring_bytes=ring_bytes,
                doorbell=doorbell, state=state,
            )  # fmt: skip
        else:
            queue = ComputeQueue(
                self.gpu, self.gmc, buffer, xccs=xccs, slot=slot, at=0, address=address, ring_bytes=ring_bytes,
                doorbell=doorbell, state=state, slots_va=address + slots_at,
            )  # fmt: skip
        undo.callback(queue.close)
        layout = QueueLayout(
            mqd=mqds.mc_addr,
            ring=address,
            ring_bytes=ring_bytes,
            rptr=queue.rptr_va,
            wptr=queue.wptr_va,
            eop=address + ring_bytes + CONTROL_BYTES,
            doorbell=doorbell,
            vmid=COMPUTE_VMID,
            aql=kind == "aql",
            xcc_count=count,
        )
        self._write_mqds(mqds, layout)
        return queue, _Owned(buffer, mqds, layout)

    @staticmethod
    def _write_mqds(mqds: VramBlock, layout: QueueLayout) -> None:
        """One for each XCC, at the start of an empty ring. The KIQs' packets are flushed after them."""
        images = (bytes(mqd.build(layout.step(number))).ljust(MQD_BYTES, b"\0") for number in range(layout.xcc_count))
        mqds.write(0, b"".join(images), flush=False)

    def _require_owned(self, queue: AnyQueue, doing: str) -> _Owned:
        owned = self._owned.get(queue)
        if owned is not None:
            return owned
        raise UsageError(
            f"{doing} {queue}",
            expected="a queue of this GPU that was not destroyed",
            seen="another, or it was destroyed before",
            next_step="destroy it once, and use it only before",
            verb="refused",
        )

    def _map(self, queue: AnyQueue, layout: QueueLayout, positions: tuple[int, ...], slot: int) -> None:
        """Interrupts of the pipe on, then MAP_QUEUES on each of the queue's XCCs."""
        pipe, number = slot % PIPES, slot // PIPES
        packets = {}
        for step, position in enumerate(positions):
            control = getattr(self._gc[position], f"CP_ME1_PIPE{pipe}_INT_CNTL")
            control.write(TIME_STAMP_INT_ENABLE=1, PRIV_REG_INT_ENABLE=1, OPCODE_ERROR_INT_ENABLE=1)
            packets[position] = pm4.map_queues(
                2 * layout.doorbell,
                layout.step(step).mqd,
                layout.wptr,
                me=MEC_ME,
                pipe=pipe,
                queue=number,
                vmid=layout.vmid,
            )
        self._ask(packets, f"mapping {queue}")

    def _unmap(self, queue: AnyQueue, layout: QueueLayout) -> None:
        """By the KIQs; when they do not answer, by the registers."""
        positions = [self.xccs.index(xcc) for xcc in queue.xccs]
        packet = pm4.unmap_queues(2 * layout.doorbell, UnmapAction.RESET)
        try:
            self._ask(dict.fromkeys(positions, packet), f"unmapping {queue}")
        except QueueStuck:
            for position in positions:
                self._force_off(position, queue)

    def _force_off(self, position: int, queue: AnyQueue) -> None:
        gc = self._gc[position]
        with selected(gc, me=MEC_ME, pipe=queue.slot % PIPES, queue=queue.slot // PIPES):
            if gc.CP_HQD_ACTIVE.read().ACTIVE:
                XccReset(self.gpu, self.xccs[position]).take_off(queue.name)

    def _unmap_all(self) -> None:
        """For hw_fini, all at once. When a KIQ is dead, its queues end with the MEC that is halted next."""
        packets: dict[int, bytes] = {}
        for queue, owned in self._owned.items():
            for xcc in queue.xccs:
                position = self.xccs.index(xcc)
                packet = pm4.unmap_queues(2 * owned.layout.doorbell, UnmapAction.RESET)
                packets[position] = packets.get(position, b"") + packet
        self._ask(packets, "unmapping all queues")

    def _abandon(self, layout: QueueLayout, positions: tuple[int, ...]) -> None:
        """After a failure: nothing may use the queue's memory any more. An XCC whose KIQ does not answer is halted."""
        packet = pm4.unmap_queues(2 * layout.doorbell, UnmapAction.RESET)
        try:
            self._ask(dict.fromkeys(positions, packet), "unmapping what was just mapped")
        except GpumendError:  # the first failure is being raised; it must not be hidden
            for position in positions:
                self._gc[position].CP_MEC_CNTL.write(HALT)

    def _test(self, queue: AnyQueue) -> None:
        """A fence through its own doorbell and its own page tables."""
        signal = self.signals.new(1)
        try:
            if isinstance(queue, AqlQueue):
                queue.packet(aql.barrier_and(signal=signal.address), signal)
                queue.submit()
                signal.wait_at_most(0, TEST_S)
            else:
                queue.fence(signal, 2, interrupt=False)
                queue.submit()
                signal.wait(2, TEST_S)
        except QueueStuck as late:
            late.doing = f"testing {queue}"
            raise
        signal.free()  # not after a failure: somebody may still write it

    def _asker(self, positions: tuple[int, ...], slot: int) -> Callable[[], tuple[tuple[str, ...], str]]:
        def ask() -> tuple[tuple[str, ...], str]:
            shown: tuple[str, ...] = ()
            for position in positions:
                shown += hqd_state(self._gc[position], MEC_ME, slot % PIPES, slot // PIPES)
            return shown, self._gc[positions[0]].CP_HQD_ACTIVE.where

        return ask


def _is_active(gc: Gc, slot: int) -> bool:
    """Whether a queue is mapped at this place of MEC 1."""
    with selected(gc, me=MEC_ME, pipe=slot % PIPES, queue=slot // PIPES):
        return bool(gc.CP_HQD_ACTIVE.read().ACTIVE)


def _try(work: Callable[[], object], failed: list[GpumendError]) -> None:
    try:
        work()
    except GpumendError as error:
        failed.append(error)
