"""A GPU that may be sick, and what can be done to it: the mechanisms of all resets behind one handle. What to do is not
decided here; what was done is not judged here either, beyond what the mechanism itself can see.

    with Target.open(transport, clock, golden=copy, borrowed=ip_map) as target:
        target.stuck_engines()
        mark = target.plant_mark("mode1")
        saved = target.save_config()
        target.bus_master_off()
        target.send_mode1()
        target.restore_config(saved)          # not before 500 ms have passed
        target.await_boot(300)
        mark.gone()

Opening takes the device's lock and writes nothing but index registers, which it puts back. The mechanisms themselves live
with the blocks: gfx_reset, sdma_reset, kiq_borrowed, smu, psp, vmhub, pcibus.configstate. Source: amd-resets.md; where the
registers are is found as probe/discovery.py finds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

from amdriver import firmware_set, marks
from amdriver.access import Access
from amdriver.device import MODE2_QUIET_S, Device, require_drivable
from amdriver.discovery import validate
from amdriver.discovery_locate import locate
from amdriver.gfx_reset import Hqd, StuckMec, XccReset, active_waves, stuck_mecs
from amdriver.gpu import Gpu
from amdriver.ip_map import IpInstance, IpMap
from amdriver.kiq_borrowed import reset_by_kiq
from amdriver.ownership import Owned
from amdriver.psp import await_boot
from amdriver.sdma_reset import SdmaReset, StuckSdma, stuck_sdmas
from amdriver.smu import Smu
from amdriver.vmhub import Hub, VmFault
from amdriver.waves import WaveDump, first_wave
from base.errors import GpumendError, Refused, UsageError
from pcibus import configstate
from pcibus.configstate import SavedConfig
from pcibus.transport import Can

if TYPE_CHECKING:
    from amdriver.marks import Mark
    from amdriver.parts import Part
    from base.clock import Clock
    from pcibus.transport import ResetSource, Transport

MODE1_QUIET_S: Final = 0.5  # SMU13_MODE1_RESET_WAIT_TIME_IN_MS
BOOT_LIMIT_S: Final = 300.0  # 3000 x 100 ms, what the kernel waits
WATCH_S: Final = 0.2
FAULT_WATCH_S: Final = 0.01
LINK_RESET_IDS: Final = (0, 1, 3)  # low nibble of the device id, smu_v13_0_6_is_link_reset_supported

MODE2 = "mode2"
FIXED_PLACES: Final = "fixed places"
_DMA_TRIAL: Final = 4096
MARKED_ENGINES: Final = (MODE2,)
MARKED_WHOLE: Final = ("mode1", "hive-reset", "link-reset", "flr", "bus-reset")

# Fixed places (amdgpu_discovery.c, amdgpu_ras.c read there before a table is known; MP1 shares MP0's segment).
_HW_MP0, _HW_MP1, _HW_NBIF = 255, 1, 108
_MP_BASES: Final = (0x16000,)
_NBIF_BASES: Final = (0x0, 0x14, 0xD20)
_MP_VERSION: Final = {"gfx942": (13, 0, 6), "gfx950": (13, 0, 12)}


@dataclass(frozen=True, slots=True)
class Stuck:
    """What stands still, and faults that are latched. Empty: nothing of the kind was seen."""

    mecs: tuple[StuckMec, ...] = ()
    sdmas: tuple[StuckSdma, ...] = ()
    faults: tuple[VmFault, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.mecs or self.sdmas or self.faults)


class Target:
    """One GPU that nobody drives now. Made by `open`; `map_source` says where the register map came from:
    `its own table`, `the saved good copy`, `another GPU of this part`, or `fixed places` (SMU, PSP and NBIO only)."""

    def __init__(self, owned: Owned, clock: Clock, part: Part, ip: IpMap, map_source: str) -> None:
        self.transport: Transport = owned
        self.clock = clock
        self.part = part
        self.ip = ip
        self.map_source = map_source
        self.gpu = Gpu(Access(owned), clock, ip, part)
        self.smu = Smu(self.gpu)
        self._owned = owned
        self._quiet_until = 0.0

    @classmethod
    def open(
        cls,
        transport: Transport,
        clock: Clock,
        *,
        golden: bytes | None = None,
        borrowed: IpMap | None = None,
    ) -> Self:
        """Take the lock and find the register map; `golden`: the saved good copy of its table, `borrowed`: the map of a
        whole GPU of the same part. Writes index registers at most, as a probe does; a GPU that is lost or dead opens too.

        Raises Refused (lock held: by whom; driver bound; VF, APU or unknown part), NotPermitted."""
        part = require_drivable(transport.name, transport.info())
        owned = Owned(transport)
        try:
            ip, source = _find_map(owned, clock, part, golden, borrowed)
            return cls(owned, clock, part, ip, source)
        except BaseException:
            owned.release()
            raise

    def close(self) -> None:
        """Give the lock up; twice is as good as once. The GPU is left as it is."""
        self._owned.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The address that reaches it."""
        return self.transport.name

    @property
    def xccs(self) -> tuple[int, ...]:
        """Physical numbers of the XCCs whose registers are known."""
        return tuple(ip.instance for ip in self.ip.active("GC"))

    @property
    def engines(self) -> tuple[int, ...]:
        """Physical numbers of the SDMA engines whose registers are known."""
        return tuple(ip.instance for ip in self.ip.active("SDMA0"))

    @property
    def hubs(self) -> tuple[str, ...]:
        """Names of the memory hubs: `GC[0]`, `MMHUB[2]`."""
        return tuple(ip.label for ip in (*self.ip.active("GC"), *self.ip.active("MMHUB")))

    # ---- looking (selects queues: not for a probe)

    def active_queues(self) -> tuple[Hqd, ...]:
        """Every queue that sits on a MEC, of all XCCs."""
        self._settle()
        return tuple(hqd for xcc in self.xccs for hqd in XccReset(self.gpu, xcc).active_queues())

    def stuck_engines(self, watch_s: float = WATCH_S) -> Stuck:
        """What stands still for the whole watch, and the latched faults, decoded."""
        self._settle()
        mecs = stuck_mecs(self.gpu, tuple(XccReset(self.gpu, xcc) for xcc in self.xccs), watch_s)
        sdmas = stuck_sdmas(self.gpu, tuple(self._sdma(engine) for engine in self.engines), watch_s)
        faults = tuple(fault for name in self.hubs if (fault := self._hub(name).fault()) is not None)
        return Stuck(mecs, sdmas, faults)

    def first_waves(self) -> tuple[WaveDump, ...]:
        """The first wave that is found on each XCC that has waves of MEC 1, with its registers, as it stands."""
        self._settle()
        found = []
        for xcc in self.xccs:
            gc = XccReset(self.gpu, xcc).gc
            if active_waves(self.gpu, gc):
                found.append(first_wave(self.gpu, gc, xcc))
        return tuple(wave for wave in found if wave is not None)

    # ---- engines

    def wave_kill(self, xcc: int, vmid: int) -> None:
        """Kill the waves of one VMID; their queue goes on with what comes next."""
        self._xcc(xcc).wave_kill(vmid)

    def dequeue(self, hqd: Hqd) -> None:
        """Let a queue end its waves and leave; WaitTimeout when they do not end."""
        self._xcc(hqd.xcc).dequeue(hqd)

    def queue_reset_mmio(self, hqd: Hqd) -> None:
        """Kill a queue's waves and take it off, by its registers."""
        self._xcc(hqd.xcc).queue_reset(hqd)

    def queue_reset_kiq(self, hqd: Hqd) -> None:
        """By the MEC's firmware, with a KIQ of ours in 16 KiB of VRAM that are put back afterwards (kiq_borrowed)."""
        self._settle()
        reset_by_kiq(self.gpu, hqd)

    def pipe_reset(self, xcc: int, me: int, pipe: int) -> None:
        """Reset one pipe: all its queues are off afterwards."""
        self._xcc(xcc).pipe_reset(me, pipe)

    def mec_reset(self, xcc: int) -> None:
        """Reset both MECs of an XCC: no queue is left on it."""
        self._xcc(xcc).mec_reset()

    def sdma_reset(self, engine: int) -> None:
        """Have the SMU reset one SDMA engine (physical number); its rings are off afterwards."""
        self._settle()
        self._sdma(engine).reset()

    def clear_fault(self, hub: str) -> None:
        """Clear what the hub has latched (`GC[0]`), and watch whether it comes again: then GpumendError with the fault."""
        self._settle()
        found = self._hub(hub)
        found.clear_fault()
        self.clock.sleep(FAULT_WATCH_S)
        again = found.fault()
        if again is not None:
            raise GpumendError(
                f"clearing the fault of {hub}",
                expected=f"no fault for {FAULT_WATCH_S * 1000:g} ms",
                seen=f"it came again: {again}",
                where=found.regs.VM_L2_PROTECTION_FAULT_STATUS.where,
                next_step="whoever faults still runs: reset its queue, then the MEC of the XCC",
            )

    # ---- the whole chip

    def save_config(self) -> SavedConfig:
        """Config space as it is, addresses from the operating system where it cannot be read."""
        return SavedConfig.take(self.transport)

    def bus_master_off(self) -> None:
        """Always before mode1 and mode2."""
        configstate.bus_master_off(self.transport)

    def require_ready(self) -> None:
        """Whether mode1 can be sent: config space answers, and the SMU answers a message. DeviceLost, SmuSilent ..."""
        self._settle()
        self.gpu.require_present(f"preparing the reset of {self.name}")
        self.smu.require_alive()
        self.smu.message("TestMessage", 1)

    def send_mode1(self, *, fatal: bool = False) -> float:
        """Bus mastering off, then GfxDriverReset 1; returns when it was sent. From now on BARs rest for 500 ms.

        Raises what the SMU's mailbox raises; then nothing was reset."""
        self._settle()
        self.bus_master_off()
        self.smu.reset_whole(fatal=fatal)
        return self._rest(MODE1_QUIET_S)

    def send_mode2(self) -> float:
        """Bus mastering off, then GfxDriverReset 2. BARs rest for 200 ms; then `restore_config`, `finish_mode2`."""
        self._settle()
        self.bus_master_off()
        self.smu.begin_mode2()
        return self._rest(MODE2_QUIET_S)

    def send_link_reset(self) -> float:
        """GfxDriverReset 4, on the parts that have it; then as mode1. Refused on the others."""
        if self.part.device & 0xF not in LINK_RESET_IDS:
            raise Refused(
                f"resetting the link of {self.name}",
                expected="a part with link reset: device id ending in 0, 1 or 3",
                seen=f"{self.part.name} ({self.part.device:#06x})",
                where=self.name,
                next_step="gpumend reset --method mode1, in a hive of all members",
            )
        self._settle()
        self.bus_master_off()
        self.smu.reset_whole(link=True)
        return self._rest(MODE1_QUIET_S)

    def restore_config(self, saved: SavedConfig) -> None:
        """Write everything back, whatever it reads, once the chip may be touched again. Bus mastering stays off.

        Raises GpumendError when addresses or memory decoding do not hold: the function does not answer, or forgets."""
        self._settle()
        saved.restore(self.transport)
        left = saved.lost(self.transport)
        if left:
            self.gpu.require_present(f"restoring config space of {self.name}")
            raise GpumendError(
                f"restoring config space of {self.name}",
                expected="what was kept before the reset",
                seen="; ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else ""),
                where=f"config space of {self.name}",
                next_step="gpumend probe; then gpumend reset --method bus-reset",
            )

    def await_boot(self, limit_s: float = BOOT_LIMIT_S) -> None:
        """Until boot firmware is ready and memory has its size. WaitTimeout says what the boot firmware says."""
        self._settle()
        await_boot(self.gpu, limit_s)

    def require_startable(self, firmware_dirs: Sequence[Path] | None = None) -> None:
        """Whether the engines can be started again after mode2: everything that only then would be found missing.

        Refused (no register map; memory that the GPU can reach cannot be had), Unavailable (firmware)."""
        if self.map_source == FIXED_PLACES:
            raise Refused(
                f"preparing mode2 of {self.name}",
                expected="its discovery table, which tells where its engines are",
                seen="none that can be read",
                where=self.name,
                next_step="gpumend probe tells why; a GPU whose registers do not answer: --method restore-config",
            )
        firmware_set.load(self.part, self.ip, firmware_dirs).require(())
        self.transport.alloc_dma(_DMA_TRIAL).close()

    def finish_mode2(self, firmware_dirs: Sequence[Path] | None = None) -> None:
        """After `restore_config`: wait until the SMU says that mode2 is over, then start the GPU once, with its firmware,
        and close it: the SMU's part of mode2 ends only when the RLC runs again. Raises what Device.open raises."""
        self._settle()
        self.smu.await_mode2()
        Device.open(self.transport, self.clock, firmware_dirs=firmware_dirs, after_mode2=True).close()

    # ---- the bus

    def reset_by_system(self, method: str) -> None:
        """`flr`, `bus`, `any` or `rescan` by the operating system's PCI core (pcibus.transport.ResetSource), then
        `restore_config`, and for all but the last `await_boot`. Bus mastering goes first. Refused where it cannot."""
        self._settle()
        if Can.RESET not in self.transport.can:
            raise Refused(
                f"resetting {self.name} by {method}",
                expected="a transport that can have the function reset",
                seen="this one cannot",
                where=self.name,
                next_step="by its own address on its own machine: gpumend reset -g 0000:c1:00.0",
            )
        self.bus_master_off()
        cast("ResetSource", self._owned.inner).reset(method)

    # ---- proof

    def plant_mark(self, method: str) -> Mark:
        """A mark in state that this method destroys. Methods of queues and engines have none (`marks`): UsageError."""
        if method not in (*MARKED_ENGINES, *MARKED_WHOLE):
            raise UsageError(
                f"marking {self.name} before {method}",
                expected=f"one of {', '.join((*MARKED_ENGINES, *MARKED_WHOLE))}",
                seen=f"{method}: it destroys no state that could be marked",
                next_step="look at the symptom again after it",
            )
        self._settle()
        return marks.plant(self.gpu, method, self.xccs, whole=method in MARKED_WHOLE)

    # ---- inside

    def _xcc(self, number: int) -> XccReset:
        self._settle()
        return XccReset(self.gpu, number)

    def _sdma(self, engine: int) -> SdmaReset:
        return SdmaReset(self.gpu, self.smu, engine)

    def _hub(self, label: str) -> Hub:
        for ip in (*self.ip.active("GC"), *self.ip.active("MMHUB")):
            if ip.label == label:
                return Hub(self.gpu, ip.name, ip.instance)
        raise UsageError("choosing a memory hub", expected=f"one of {', '.join(self.hubs)}", seen=label)

    def _rest(self, quiet_s: float) -> float:
        """A reset was sent: nothing is touched for so long. When it was sent."""
        self._quiet_until = self.smu.posted_s + quiet_s
        return self.smu.posted_s

    def _settle(self) -> None:
        """A chip in reset must not be touched: wait out what is left of its rest."""
        left_s = self._quiet_until - self.clock.now()
        if left_s > 0:
            self.clock.sleep(left_s)


def _find_map(
    transport: Transport, clock: Clock, part: Part, golden: bytes | None, borrowed: IpMap | None
) -> tuple[IpMap, str]:
    """As the probe does it: the own table, else the saved copy, else that of another GPU, else what is fixed."""
    own = _own_map(transport, clock, part)
    if own is not None:
        return own, "its own table"
    kept = validate(golden).ip_map if golden is not None else None
    if kept is not None:
        return kept, "the saved good copy"
    if borrowed is not None:
        return borrowed, "another GPU of this part"
    return fixed_map(part), FIXED_PLACES


def _own_map(transport: Transport, clock: Clock, part: Part) -> IpMap | None:
    try:
        found = locate(Access(transport), clock, part=part)
    except GpumendError:  # the GPU is lost or its BARs are dead: what is wrong with it is the probe's to say
        return None
    if not found.blob:
        return None
    return validate(found.blob, vram_size_bytes=found.vram_size_bytes).ip_map


def fixed_map(part: Part) -> IpMap:
    """What is known of every GPU of this family without a table: PSP, SMU and NBIO of AID 0."""
    version = _MP_VERSION[part.arch]
    return IpMap(
        (
            IpInstance(_HW_MP0, 0, version, _MP_BASES),
            IpInstance(_HW_MP1, 0, version, _MP_BASES),
            IpInstance(_HW_NBIF, 0, (7, 9, 0), _NBIF_BASES),
        )
    )
