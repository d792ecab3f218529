"""What a tensor runtime needs of an open GPU beside copies: memory without waits, rings that it fills itself, waits that tell
what went wrong. `OpenGpu.raw` makes it.

    raw = gpu.raw
    code = raw.alloc(size, executable=True, cpu=True)
    queue = raw.compute_queue()           # AQL on all XCCs
    queue.add(packets); queue.submit()
    raw.wait(memory, 0, 7, timeout_s=30)  # until the 64-bit word there is at least 7

Nothing here waits for engines but `wait`: who reads what an engine still writes sees what is there. Packets go to the
engine as they are. Where a wait finds that a kernel faulted, was stopped or does not end, its queue is freed first (as
OpenGpu.recover does it) and KernelFault or KernelHung raised then, whose `recovery` says what was lost.
Source: Linux v7.3 amdgpu_ring.c (HDP flush before the doorbell), kfd_int_process_v9.c (errors of waves)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from amdriver.memory import Closed
from amdriver.rawpackets import RuntimePackets, runtime_packets
from amdriver.running_recovery import KernelFault, KernelHung, stuck_queues
from amdriver.sq_errors import WaveError, wave_errors
from base.errors import GpumendError, Refused, WaitTimeout
from pcibus.transport import Can

if TYPE_CHECKING:
    from amdriver.buffer import Buffer
    from amdriver.gfx import AnyQueue
    from amdriver.opengpu import OpenGpu
    from amdriver.queue import AqlQueue, SdmaQueue

COMPUTE_RING_BYTES: Final = 1 << 20
FIRST_LOOK_S: Final = 2e-3  # a wait asks for faults then, and ever less often
MOST_BETWEEN_LOOKS_S: Final = 0.25
_LONG: Final = struct.Struct("<Q")
Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a GPU is made of, as its discovery table tells: counts are those that it was built with, for one XCC."""

    arch: str
    gc: Version
    sdma: Version
    nbio: Version
    xccs: int
    shader_engines: int
    arrays_per_engine: int
    cus_per_array: int
    waves_per_simd: int
    scratch_slots_per_cu: int
    lds_kib: int


class RawMemory:
    """Memory at a GPU address, read and written by the host as it is now. `gpu_va` is the same on every GPU of a session."""

    __slots__ = ("_held", "_raw", "gpu_va", "peer", "size", "where")

    def __init__(self, raw: Raw, held: Buffer, size: int, peer: RawMemory | None = None) -> None:
        self._raw = raw
        self._held: Buffer | None = held
        self.gpu_va = held.gpu_va
        self.size = size
        self.where = held.where
        self.peer = peer  # of memory that belongs to another GPU: its owner's

    def __repr__(self) -> str:
        return f"<{self.size:#x} bytes of {self.where} at {self.gpu_va:#x} of {self._raw.gpu.name}>"

    @property
    def freed(self) -> bool:
        return self._held is None or self._held.freed

    def read(self, offset: int, size: int) -> bytes:
        """What is there now. Raises Closed, BadAddress."""
        return (self._held or self._closed()).read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        """Put it there. VRAM: engines see it after `Raw.flush`, which every submission of `Raw.submit` makes."""
        held = self._held or self._closed()
        held.write(offset, data, flush=False)
        if held.host is None:
            self._raw.dirty = True

    def free(self) -> None:
        """Give it back; no engine may still use it. Twice is as good as once."""
        if self._held is not None:
            self._raw._free(self)

    def _closed(self) -> Buffer:
        raise Closed(
            "using memory of a GPU",
            expected="memory that is in use",
            seen="it was freed before, or its GPU was closed",
            where=self._raw.gpu.name,
            next_step="allocate it anew, on a GPU that is open",
        )


class _Broken(GpumendError):
    """Something has gone wrong while a wait goes on; not for others."""


class Raw:
    """Made by `OpenGpu.raw`; lives as long as that is open."""

    def __init__(self, gpu: OpenGpu) -> None:
        self.gpu = gpu
        self.device = gpu.device
        self.dirty = False  # VRAM was written, and not flushed yet
        self._memory: dict[RawMemory, None] = {}
        self._queues: list[AqlQueue] = []

    @property
    def shape(self) -> Shape:
        """Raises Refused when the discovery table does not tell."""
        ip, config = self.device.gpu.ip, self.device.gpu.ip.gc
        names = (
            "num_se",
            "num_sh_per_se",
            "num_cu_per_sh",
            "max_waves_per_simd",
            "max_scratch_slots_per_cu",
            "lds_size",
        )
        if config is None or any(config.get(name) is None for name in names):
            raise Refused(
                "asking what the GPU is made of",
                expected="a GC table of version 2 in the discovery table",
                seen="none" if config is None else f"version {config.version}",
                where=self.gpu.name,
                next_step="gpumend discovery show",
            )
        engines, arrays, cus, waves, slots, lds = (config[name] for name in names)
        return Shape(
            arch=self.device.gpu.part.arch,
            gc=ip.version_of("GC", self.device.gfx.xccs[0]),
            sdma=ip.version_of("SDMA0"),
            nbio=ip.version_of("NBIF"),
            xccs=len(self.device.gfx.xccs),
            shader_engines=engines,
            arrays_per_engine=arrays,
            cus_per_array=cus,
            waves_per_simd=waves,
            scratch_slots_per_cu=slots,
            lds_kib=lds,
        )

    @cached_property
    def packets(self) -> RuntimePackets:
        """Templates of what goes into queues."""
        return runtime_packets(self.device.gpu)

    @property
    def on_host(self) -> bool:
        """Whether its BARs are those of this machine's bus, where the CPU reads them slowly. A model's are plain memory,
        and behind a server one access costs what any costs."""
        return Can.HOST in self.device.gpu.transport.can

    # ---- memory

    def alloc(
        self, size: int, *, where: str = "vram", uncached: bool = False, executable: bool = True, cpu: bool = False
    ) -> RawMemory:
        """VRAM or memory of the host. `cpu`: VRAM in one piece that BAR0 shows. Raises what Gmc.alloc raises, Closed."""
        self.gpu.require_open(f"allocating {size} bytes")
        held = self.device.gmc.alloc(
            size, where=where, owner="runtime", uncached=uncached, executable=executable and where == "vram", cpu=cpu
        )
        return self._keep(RawMemory(self, held, size))

    def map_other(self, memory: RawMemory) -> RawMemory:
        """Memory of another GPU, at the address that it has there: VRAM over XGMI, or memory of the host.

        Both GPUs were opened with different `slot`s. Raises NotInHive, UsageError, Unavailable, Closed."""
        self.gpu.require_open("mapping memory of another GPU")
        theirs = memory._held or memory._closed()
        gmc = self.device.gmc
        held = gmc.map_host(theirs) if theirs.host is not None else gmc.map_peer(theirs, same_address=True)
        return self._keep(RawMemory(self, held, memory.size, memory))

    def flush(self) -> None:
        """What the host wrote to VRAM is seen by engines that are told of work from now on."""
        if self.dirty:
            self.dirty = False
            self.device.gmc.flush_hdp()

    def _keep(self, memory: RawMemory) -> RawMemory:
        self._memory[memory] = None
        return memory

    def _free(self, memory: RawMemory) -> None:
        """What other GPUs have mapped of it goes first."""
        held, memory._held = memory._held, None
        self._memory.pop(memory, None)
        if held is None or held.freed:
            return
        for mapping in tuple(held.mapped_by):
            mapping.free()
        held.free()

    # ---- queues

    def compute_queue(self, ring_bytes: int = COMPUTE_RING_BYTES) -> AqlQueue:
        """An AQL queue on all XCCs. Its `add` takes whole packets, its `submit` tells the processor; see `submit` here."""
        self.gpu.require_open("making a compute queue")
        queue = self.device.gfx.create_queue(None, "aql", ring_bytes=ring_bytes)
        self._queues.append(queue)
        return queue

    def copy_queue(self, engine: int = 0) -> SdmaQueue:
        """The ring of an SDMA engine, which OpenGpu.copy uses too."""
        self.gpu.require_open("asking for a copy queue")
        return self.device.sdma.queues[self.gpu._number(engine, "asking for a copy queue")]

    def submit(self, queue: AqlQueue | SdmaQueue, packets: bytes) -> None:
        """Packets to a ring, behind all that the host has written. Raises QueueStuck when the engine makes no room."""
        self.flush()
        queue.submit(packets)

    # ---- waiting

    def wait(self, memory: RawMemory, offset: int, value: int, timeout_s: float) -> int:
        """Until the 64-bit word there is at least `value`; returns it. Asks for page faults and errors of waves meanwhile.

        Raises KernelFault or KernelHung after what was stuck has been freed, RecoveryFailed, DeviceLost, WaitTimeout (no
        kernel of this GPU is at fault: whoever was to write it may be elsewhere; see `free_stuck`)."""
        held = memory._held or memory._closed()

        def read() -> int:
            return int(_LONG.unpack(held.read(offset, 8))[0])

        seen = read()
        return seen if seen >= value else self._wait(read, value, memory, timeout_s)

    def _wait(self, read: Callable[[], int], value: int, memory: RawMemory, timeout_s: float) -> int:
        clock = self.gpu.clock
        pause = FIRST_LOOK_S
        next_look = clock.now() + pause

        def look() -> int:
            nonlocal pause, next_look
            seen = read()
            if seen < value and clock.now() >= next_look:
                self._require_sound()
                pause = min(2 * pause, MOST_BETWEEN_LOOKS_S)
                next_look = clock.now() + pause
            return seen

        try:
            return self.device.gpu.wait(
                look,
                lambda seen: seen >= value,
                doing="waiting for work of the GPU",
                expected=f"a value of at least {value}",
                timeout_s=timeout_s,
                where=f"{memory.gpu_va:#x} on {self.gpu.name}",
                next_step="gpumend probe",
                interruptible=True,
            )
        except (_Broken, WaitTimeout) as error:
            self._recover(error, also_waiting=False)
            raise

    def _require_sound(self) -> None:
        """_Broken when a hub has latched a page fault, or the SQ has stopped a wave."""
        errors = self.wave_errors()
        faults = self.device.gmc.faults()
        if errors or faults:
            raise _Broken(
                "waiting for work of the GPU",
                expected="work that ends",
                seen="\n            ".join(map(str, errors)),
                where=self.gpu.name,
            )

    def settle(self) -> tuple[str, ...]:
        """After a recovery: engines that still get nowhere are freed too; their names. Raises RecoveryFailed, DeviceLost."""
        engines = self.gpu._stuck_engines()
        if engines:
            self.gpu._recover((), engines)
        return tuple(map(str, engines))

    def free_stuck(self, error: WaitTimeout, *, also_waiting: bool) -> None:
        """When the time of a wait is up: free what is stuck on this GPU, and raise KernelFault or KernelHung; nothing is:
        return. `also_waiting`: queues too that have no waves and no fault; they may be waiting for another GPU."""
        self._recover(error, also_waiting=also_waiting)

    def wave_errors(self) -> list[WaveError]:
        """What stopped waves since somebody last read the interrupt ring."""
        return wave_errors(self.device.ih.poll())

    def _recover(self, error: GpumendError, *, also_waiting: bool) -> None:
        """Free what is stuck, and raise what happened; nothing stuck: return."""
        told = [] if isinstance(error, _Broken) else [str(one) for one in self.wave_errors()]
        seen = "\n            ".join(part for part in (error.seen, *told) if part)
        queues: tuple[AnyQueue, ...] = stuck_queues(self.device)
        faults = self.device.gmc.faults()
        guilty = bool(faults) or isinstance(error, _Broken) or any(map(self.device.gfx.has_waves, queues))
        if not (guilty or also_waiting):
            return
        # An engine that waits for a kernel's signal looks stuck, and is not: it goes on when whoever waits says so.
        beside = any(not fault.hub.startswith("GC") for fault in faults)
        engines = self.gpu._stuck_engines() if beside or not queues else ()
        if not (queues or engines or guilty):
            return
        names = ", ".join(map(str, (*queues, *engines))) or self.gpu.name
        made = self.gpu._recover(queues, engines)
        kind = KernelFault if made.faults else KernelHung
        raise kind(names, made, seen, self.gpu.name) from error

    # ---- the end

    def close(self) -> None:
        """Queues off, memory given back, the first error raised after all was tried. Called by OpenGpu.close."""
        failed: list[GpumendError] = []
        for queue in self._queues:
            _try(partial(self.device.gfx.destroy, queue), failed)
        self._queues.clear()
        for memory in reversed(list(self._memory)):
            _try(memory.free, failed)
        self._memory.clear()
        if failed:
            raise failed[0]

    def unmap_others(self) -> None:
        """Free what was mapped of other GPUs: before any of them closes."""
        for memory in [one for one in self._memory if one.peer is not None]:
            memory.free()


def _try(work: Callable[[], object], failed: list[GpumendError]) -> None:
    try:
        work()
    except GpumendError as error:
        failed.append(error)
