"""Recovery inside a running program: after a kernel that hangs or faults, its queue is reset, or the MEC of its XCC, or
all engines of the GPU (mode2), whichever helps first. Other queues, VRAM and other GPUs stay.

    level    what is lost                                       what stays
    queue    what the stuck queues and SDMA engines were at     everything else
    mec      what the queues of the stuck XCCs were at          SDMA, other XCCs, VRAM
    mode2    what all queues and engines were at                VRAM, page tables, other GPUs

Every queue object stays usable: it is empty afterwards. Source: Linux v7.3 gfx_v9_4_3.c gfx_v9_4_3_reset_kcq (queue, then
pipe, then the device), sdma_v4_4_2.c, aldebaran.c; amd-resets.md sections 2, 3, 10 (one queue hung; VM fault)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from base.errors import DeviceLost, GpumendError, UsageError

if TYPE_CHECKING:
    from amdriver.device import Device
    from amdriver.gfx import AnyQueue
    from amdriver.queue import SdmaQueue
    from amdriver.vmhub import VmFault
    from amdriver.waves import WaveDump

WATCH_S: Final = 5e-3  # how long a queue must not move to count as stuck
FAULT_WATCH_S: Final = 10e-3


class Level(StrEnum):
    """How far a recovery may go, mildest first."""

    QUEUE = "queue"
    MEC = "mec"
    MODE2 = "mode2"


_ORDER: Final = tuple(Level)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One level that was tried. `error` "" when it helped; times of the GPU's clock in seconds."""

    level: Level
    what: tuple[str, ...]
    took_s: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery found and did. `lost`: queues and engines whose work is gone; `attempts` () when nothing was stuck;
    `waves`: the first wave on each XCC that had some, with its registers, as it stood before."""

    faults: tuple[VmFault, ...]
    attempts: tuple[Attempt, ...]
    lost: tuple[str, ...]
    took_s: float
    waves: tuple[WaveDump, ...] = ()

    @property
    def level(self) -> Level | None:
        """The one that helped."""
        return self.attempts[-1].level if self.attempts else None

    def registers(self) -> str:
        """All that was read of `waves`, for a report; "" when there were none."""
        return "\n\n".join(wave.registers() for wave in self.waves)

    def __str__(self) -> str:
        if not self.attempts:
            return "nothing was stuck"
        told = f"recovered by a reset of level {self.level} in {self.took_s * 1000:.1f} ms"
        return f"{told}; lost: what {', '.join(self.lost)} were at"


class KernelHung(GpumendError):
    """Work that did not end; its queue was reset (`recovery`), and the program may go on. `queue` names who had it."""

    def __init__(self, queue: str, recovery: Recovery, seen: str, where: str) -> None:
        super().__init__(
            f"work of {queue}",
            expected="its end",
            seen="\n            ".join((*map(str, recovery.faults), seen, *map(str, recovery.waves), str(recovery))),
            where=where,
            next_step="what was in memory is there; run it again when its cause is gone",
            verb="faulted" if recovery.faults else "hung",
        )
        self.queue = queue
        self.recovery = recovery

    @property
    def faults(self) -> tuple[VmFault, ...]:
        """All that the memory hubs had latched."""
        return self.recovery.faults


class KernelFault(KernelHung):
    """The same, by an access to memory that is not mapped or not allowed: the first fault, decoded."""

    @property
    def fault(self) -> VmFault:
        return self.recovery.faults[0]

    @property
    def address(self) -> int:
        """Of the page, as the VMID sees it."""
        return self.fault.address

    @property
    def vmid(self) -> int:
        return self.fault.vmid

    @property
    def client(self) -> str:
        """Which unit of the GPU asked: `TCP` is a shader's access to memory."""
        return self.fault.client_name

    @property
    def write(self) -> bool:
        return self.fault.write


class RecoveryFailed(GpumendError):
    """No level that was allowed helped; `recovery` holds what was tried. The GPU needs a reset as a whole."""

    def __init__(self, name: str, recovery: Recovery) -> None:
        tried = "; ".join(f"{one.level}: {one.error}" for one in recovery.attempts)
        super().__init__(
            f"recovering {name}",
            expected="queues that work",
            seen="\n            ".join((*map(str, recovery.faults), tried)),
            where=name,
            next_step="close it, then gpumend reset (mode1, in a hive of all members)",
        )
        self.recovery = recovery


def stuck_queues(device: Device, watch_s: float = WATCH_S) -> tuple[AnyQueue, ...]:
    """Compute queues of ours with work that does not move. When some of them have waves, or sit on an XCC whose hub
    latched a fault, only those: the others may be waiting for them."""
    before = {queue: queue.rptr for queue in device.gfx.queues if device.gfx.working(queue)}
    if not before:
        return ()
    device.clock.sleep(watch_s)
    still = [queue for queue, rptr in before.items() if device.gfx.working(queue) and queue.rptr == rptr]
    faulted = {hub.number for hub in device.gmc.hubs if hub.is_gfx and hub.fault() is not None}
    guilty = [queue for queue in still if device.gfx.has_waves(queue) or faulted & set(queue.xccs)]
    return tuple(guilty or still)


def recover(
    device: Device,
    queues: Collection[AnyQueue],
    engines: Collection[SdmaQueue],
    *,
    limit: Level = Level.MODE2,
    on_attempt: Callable[[Level], None] | None = None,
) -> Recovery:
    """Free these queues and SDMA engines, and clear what the hubs have latched; level by level, up to `limit`.

    Raises RecoveryFailed, DeviceLost. Nothing stuck and no fault: nothing is done."""
    return _Work(device, tuple(queues), tuple(engines), on_attempt or (lambda level: None)).run(limit)


class _Work:
    def __init__(
        self,
        device: Device,
        queues: tuple[AnyQueue, ...],
        engines: tuple[SdmaQueue, ...],
        on_attempt: Callable[[Level], None],
    ) -> None:
        self.device = device
        self.clock = device.clock
        self.queues = queues
        self.engines = engines
        self.on_attempt = on_attempt
        self.faults: tuple[VmFault, ...] = ()
        self.attempts: list[Attempt] = []
        self.lost: dict[str, None] = {}
        self.waves: tuple[WaveDump, ...] = ()
        self.began_s = self.clock.now()

    def run(self, limit: Level) -> Recovery:
        if limit not in _ORDER:
            raise UsageError("recovering", expected=f"a limit of {', '.join(_ORDER)}", seen=repr(limit))
        self.faults = tuple(self.device.gmc.faults())
        if not (self.queues or self.engines or self.faults):
            return self._result()
        self.waves = tuple(self._look_at_waves())
        for level in _ORDER[: _ORDER.index(limit) + 1]:
            work = self._work_of(level)
            if work is not None and self._attempt(level, work):
                return self._result()
        raise RecoveryFailed(self.device.gpu.name, self._result())

    def _look_at_waves(self) -> Iterator[WaveDump]:
        """What helps to find the cause, never what a recovery depends on."""
        for queue in self.queues:
            try:
                yield from self.device.gfx.first_waves(queue)
            except DeviceLost:
                raise
            except GpumendError:
                return

    def _work_of(self, level: Level) -> Callable[[], tuple[str, ...]] | None:
        """None: this level has nothing that it could help."""
        if level is Level.QUEUE:
            return self._reset_queues
        if level is Level.MEC:
            return None if self.engines or not self._xccs() else self._reset_mecs
        return self._mode2

    def _attempt(self, level: Level, work: Callable[[], tuple[str, ...]]) -> bool:
        self.on_attempt(level)
        began_s = self.clock.now()
        what: tuple[str, ...] = ()
        try:
            what = work()
            self._require_quiet()
        except DeviceLost:
            raise
        except GpumendError as error:
            told = f"{error.doing} {error.verb}: {error.seen}".partition("\n")[0]
            self.attempts.append(Attempt(level, what, self.clock.now() - began_s, told))
            return False
        self.attempts.append(Attempt(level, what, self.clock.now() - began_s))
        return True

    def _reset_queues(self) -> tuple[str, ...]:
        names = [str(queue) for queue in (*self.queues, *self.engines)]
        if self.queues:
            self.device.firmware.require(("queue-reset",))
        self.lost.update(dict.fromkeys(names))
        for queue in self.queues:
            self.device.gfx.reset_queue(queue)
        for engine in self.engines:
            self.device.sdma.reset(engine, self.device.smu)
        return tuple(names)

    def _reset_mecs(self) -> tuple[str, ...]:
        xccs = self._xccs()
        hit = self.device.gfx.reset_mecs(xccs)
        self.lost.update(dict.fromkeys(map(str, hit)))
        return tuple(f"MEC of XCC {xcc}" for xcc in xccs)

    def _xccs(self) -> list[int]:
        """Those of the stuck queues, and those whose hub has a fault."""
        faulted = [
            hub.number for hub in self.device.gmc.hubs if hub.is_gfx and hub.name in {f.hub for f in self.faults}
        ]
        return sorted({xcc for queue in self.queues for xcc in queue.xccs} | set(faulted))

    def _mode2(self) -> tuple[str, ...]:
        everything: Sequence[object] = (*self.device.gfx.queues, *self.device.sdma.queues)
        self.lost.update(dict.fromkeys(map(str, everything)))
        self.device.mode2()
        return ("all engines",)

    def _require_quiet(self) -> None:
        """No fault is latched again: whoever made them is gone."""
        if not self.faults:
            return
        self.device.gmc.clear_faults()
        self.clock.sleep(FAULT_WATCH_S)
        again = self.device.gmc.faults()
        if again:
            raise GpumendError(
                "clearing page faults",
                expected=f"none for {FAULT_WATCH_S * 1000:g} ms",
                seen=f"it came again: {again[0]}",
                where=self.device.gpu.name,
            )

    def _result(self) -> Recovery:
        took_s = self.clock.now() - self.began_s
        return Recovery(self.faults, tuple(self.attempts), tuple(self.lost), took_s, self.waves)
