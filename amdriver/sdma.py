"""SDMA 4.4.x: all engines that are there, one ring each, in VMID 0.

Source: Linux v7.3 sdma_v4_4_2.c (inst_start, gfx_resume, inst_gfx_stop, ring_test_ring), amdgpu_doorbell.h layout 1;
amd-bringup.md section 11, amdgpu-on-model.md items 44, 45, 63, 64.

What differs from the kernel, and why: registers of which all fields are known are written without being read; the engine's
address configuration (tiled surfaces) is left alone, only linear packets are sent; trap and exception interrupts are enabled
here, where the kernel does it in late init. The ring is switched off first: a process that was killed may have left it on.
The write pointer is given by doorbell and stands in memory too, at the address for polling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from amdriver import sdma_packets
from amdriver.nbio import sdma_doorbell
from amdriver.packets import U32
from amdriver.queue import SdmaQueue
from amdriver.ring import CONTROL_BYTES, Buffer, Memory, QueueStuck, check_ring_bytes
from amdriver.sdma_reset import SdmaReset
from amdriver.signals import Signals
from base.errors import GpumendError, Unavailable
from pcibus.transport import ALL_ONES
from registers.amd.sdma_4_4_2 import Sdma as Registers
from registers.amd.sdma_4_4_2 import SDMA_CNTL_t, SDMA_GFX_RB_CNTL_t

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amdriver.gpu import Gpu
    from amdriver.ip_map import Version
    from amdriver.smu import Smu
    from registers.core import Bound

RING_BYTES: Final = 64 << 10
TEST_S: Final = 0.1
IDLE_S: Final = 0.1
UTCL1_TIMEOUT: Final = 0x0080_0080  # magic: from sdma_v4_4_2.c; longer than reset's, so that a page fault comes once
_WRITEBACK_TIMER: Final = 4
_BEFORE: Final = 0xCAFE_DEAD
_AFTER: Final = 0xDEAD_BEEF
_CONTEXT_EMPTY_UNTIL: Final = (4, 4, 5)
_VERSIONS: Final = ((4, 4, 2), (4, 4, 4), (4, 4, 5))
_OTHER_RINGS: Final = ("PAGE", *(f"RLC{number}" for number in range(8)))  # has_page_queue; amdgpu_amdkfd_gc_9_4_3.c
# What a stuck engine is asked.
_STATE: Final = (
    "SDMA_STATUS_REG", "SDMA_STATUS1_REG", "SDMA_STATUS2_REG", "SDMA_F32_CNTL", "SDMA_GFX_RB_CNTL", "SDMA_GFX_RB_RPTR",
    "SDMA_GFX_RB_WPTR", "SDMA_GFX_DOORBELL", "SDMA_GFX_DOORBELL_OFFSET", "SDMA_GFX_CONTEXT_STATUS",
    "SDMA_UTCL1_RD_STATUS", "SDMA_UTCL1_WR_STATUS",
)  # fmt: skip


class Sdma:
    """All engines. `queues` are there after sw_init, in the order of the physical instances; harvested ones are left out."""

    def __init__(self, gpu: Gpu, gmc: Memory, *, ring_bytes: int = RING_BYTES, signals: Signals | None = None) -> None:
        check_ring_bytes("setting up SDMA", ring_bytes)
        self.gpu = gpu
        self.gmc = gmc
        self.ring_bytes = ring_bytes
        self.signals = signals or Signals(gpu, gmc)
        self.queues: list[SdmaQueue] = []
        self._blocks: list[Registers] = []
        self._memory: Buffer | None = None

    # ---- life

    def sw_init(self) -> None:
        """Rings and their pages of pointers, in one piece of host memory. Raises Unavailable for unknown versions."""
        instances = self.gpu.ip.active("SDMA0")
        self._check([ip.version for ip in instances])
        step = self.ring_bytes + CONTROL_BYTES
        memory = self.gmc.alloc(step * len(instances), where="host", owner="SDMA rings", uncached=True)
        self._memory = memory
        for number, ip in enumerate(instances):
            block = self.gpu.block(Registers, "SDMA0", ip.instance)
            self._blocks.append(block)
            self.queues.append(
                SdmaQueue(
                    self.gpu,
                    self.gmc,
                    memory,
                    number=number,
                    instance=ip.instance,
                    at=step * number,
                    address=memory.gpu_va + step * number,
                    ring_bytes=self.ring_bytes,
                    doorbell=sdma_doorbell(ip.instance) // 2,
                    state=_asker(block),
                )
            )

    def hw_init(self) -> None:
        """Start all engines, then test all: each writes a word. Raises QueueStuck that names every engine that did not."""
        assert self._memory is not None
        for queue, block in zip(self.queues, self._blocks, strict=True):
            queue.restart()
            self._start(queue, block)
        self._test(self.queues)

    def hw_fini(self) -> None:
        """Let the engines end what they read, then stop them as the kernel does. The firmware keeps running.

        Stops all of them also when one does not end; then raises QueueStuck, or DeviceLost."""
        failed: GpumendError | None = None
        for queue in self.queues:
            try:
                queue.wait_idle(IDLE_S if failed is None else 0.0)
            except GpumendError as error:
                failed = failed or error
        self.halt()
        if failed is not None:
            raise failed

    def reset(self, queue: SdmaQueue, smu: Smu) -> None:
        """Have the SMU reset one engine, and start its ring anew, empty; what it was at is lost, the others go on.

        Raises what `SdmaReset.reset` raises, and QueueStuck when it does not come back: then mode2."""
        block = self._blocks[self.queues.index(queue)]
        SdmaReset(self.gpu, smu, queue.instance).reset()
        queue.restart()
        self._start(queue, block)
        self._test((queue,))

    def halt(self) -> None:
        """Stop all rings at once, whatever they are doing."""
        for queue, block in zip(self.queues, self._blocks, strict=True):
            block.SDMA_GFX_RB_CNTL.write(self._control(enable=False))
            block.SDMA_GFX_IB_CNTL.write(0)
            block.SDMA_CNTL.modify(UTC_L1_ENABLE=0, AUTO_CTXSW_ENABLE=0)
            # In this order: with the offset alone changed, an enabled doorbell would be the KIQ's.
            block.SDMA_GFX_DOORBELL.write(0)
            block.SDMA_GFX_DOORBELL_OFFSET.write(0)
            queue.discard()

    def stop_left_rings(self) -> list[str]:
        """Switch off rings that we never use and that a driver before us left on: the kernel's page ring, the rings of
        users' queues. Switched on with the engine, they would go on with what they were at. Names them."""
        found = []
        for queue, block in zip(self.queues, self._blocks, strict=True):
            for name in _OTHER_RINGS:
                control = getattr(block, f"SDMA_{name}_RB_CNTL")
                value = control.read()
                if not value.RB_ENABLE or value.value == ALL_ONES:
                    continue
                control.write(value.replace(RB_ENABLE=0))
                getattr(block, f"SDMA_{name}_IB_CNTL").write(0)
                getattr(block, f"SDMA_{name}_DOORBELL").write(0)
                found.append(f"SDMA {queue.instance} {name}")
        return found

    def sw_fini(self) -> None:
        """Give the memory back; touches no register, so that it works on a dead device."""
        for queue in self.queues:
            queue.close()
        self.queues, self._blocks = [], []
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.free()
        self.signals.close()

    # ---- inside

    def _check(self, versions: list[Version]) -> None:
        unknown = sorted({version for version in versions if version not in _VERSIONS})
        if versions and not unknown:
            return
        raise Unavailable(
            "setting up SDMA",
            expected="engines of version " + ", ".join(".".join(map(str, one)) for one in _VERSIONS),
            seen=", ".join(".".join(map(str, one)) for one in unknown) or "no engine in the discovery table",
            where=self.gpu.name,
            next_step="gpumend discovery show",
        )

    def _control(self, *, enable: bool) -> SDMA_GFX_RB_CNTL_t:
        return SDMA_GFX_RB_CNTL_t.of(
            RB_ENABLE=int(enable),
            RB_SIZE=(self.ring_bytes // 4).bit_length() - 1,
            RPTR_WRITEBACK_ENABLE=1,
            RPTR_WRITEBACK_TIMER=_WRITEBACK_TIMER,
            RB_PRIV=1,
        )

    def _start(self, queue: SdmaQueue, block: Registers) -> None:
        base = queue.address >> 8
        block.SDMA_GFX_RB_CNTL.write(self._control(enable=False))
        self._set_engine(block)
        # Pointers may only go down while this is set.
        block.SDMA_GFX_MINOR_PTR_UPDATE.write(1)
        _write_pair(block.SDMA_GFX_RB_RPTR, block.SDMA_GFX_RB_RPTR_HI, 0)
        _write_pair(block.SDMA_GFX_RB_WPTR, block.SDMA_GFX_RB_WPTR_HI, 0)
        _write_pair(block.SDMA_GFX_RB_BASE, block.SDMA_GFX_RB_BASE_HI, base)
        _write_pair(block.SDMA_GFX_RB_RPTR_ADDR_LO, block.SDMA_GFX_RB_RPTR_ADDR_HI, queue.rptr_va)
        _write_pair(block.SDMA_GFX_RB_WPTR_POLL_ADDR_LO, block.SDMA_GFX_RB_WPTR_POLL_ADDR_HI, queue.wptr_va)
        block.SDMA_GFX_DOORBELL_OFFSET.write(OFFSET=2 * queue.doorbell)
        block.SDMA_GFX_DOORBELL.write(ENABLE=1)
        block.SDMA_GFX_MINOR_PTR_UPDATE.write(0)
        block.SDMA_GFX_RB_CNTL.write(self._control(enable=True))
        block.SDMA_GFX_IB_CNTL.write(IB_ENABLE=1)

    def _set_engine(self, block: Registers) -> None:
        version = self.gpu.ip.version_of("SDMA0")
        fields = {"UTC_L1_ENABLE": 1, "AUTO_CTXSW_ENABLE": 1, "TRAP_ENABLE": 1}
        if version < _CONTEXT_EMPTY_UNTIL:
            fields["CTXEMPTY_INT_ENABLE"] = 1
        block.SDMA_CNTL.apply(SDMA_CNTL_t.change(**fields))
        block.SDMA_UTCL1_TIMEOUT.write(UTCL1_TIMEOUT)
        block.SDMA_SEM_WAIT_FAIL_TIMER_CNTL.write(0)

    def _test(self, queues: Sequence[SdmaQueue]) -> None:
        """All are asked, then all waited for: the time of one."""
        for queue in queues:
            queue.set_test_word(_BEFORE)
            queue.submit(sdma_packets.write_linear(queue.test_va, (_AFTER,)))
        stuck: list[QueueStuck] = []
        for queue in queues:
            try:
                queue.wait_test_word(_AFTER, TEST_S if not stuck else 0.0)
            except QueueStuck as late:
                stuck.append(late)
        if len(stuck) > 1:
            stuck[0].seen += f"\n            also: {', '.join(late.queue for late in stuck[1:])}"
        if stuck:
            raise stuck[0]


def _write_pair(low: Bound[Any], high: Bound[Any], value: int) -> None:
    low.write(value & U32)
    high.write(value >> 32)


def _asker(block: Registers) -> Callable[[], tuple[tuple[str, ...], str]]:
    def ask() -> tuple[tuple[str, ...], str]:
        shown = []
        for name in _STATE:
            bound = getattr(block, name)
            shown.append(bound.show(bound.read()))
        return tuple(shown), block.SDMA_STATUS_REG.where

    return ask
