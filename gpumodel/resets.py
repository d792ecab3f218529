"""What each reset does to a software GPU, and when: the moment it strikes, the time in which nothing answers, the boot after.

Source: hardware/amd-resets.md sections 3, 4, 5 and 8 (sequences, the hive, state after each reset); Linux v7.3
amdgpu_device.c amdgpu_device_mode1_reset (bus master off, config space saved and restored, bootloader awaited),
smu_v13_0_6_ppt.c mode2_reset (answer only after config space is back), amdgpu_xgmi.c (all members together, links are
negotiated within a second); research/amdgpu-on-model.md items 58 to 61. FLR and bus reset: PCI Express base specification
(100 ms until config space answers, sticky bits stay), and that firmware boots again. Times in seconds.

What a careless driver gets, from section 10, "never" (each a guess in its form, docs/fidelity.md): a BAR touched during
mode1: the device leaves the bus; bus mastering on: boot firmware stops with a data abort; one member of a hive
alone: its links stay down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from gpumodel import pciconfig
from gpumodel.faults import Reset, ShowsAt

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

STRIKES_AFTER_S = 0.05  # guess: from the SMU's answer to mode1 on; a hive's members are told within 45 ms
MODE1_QUIET_S = 0.3  # guess: below the 500 ms that the kernel waits
MODE2_QUIET_S = 0.15  # guess: below the 200 ms that the kernel waits
BUS_QUIET_S = 0.1
BOOT_S = 0.9  # guess: from the strike until boot firmware is done; the kernel would wait minutes
LATE_S = 1.5  # guess: fault one-member-late
DATA_ABORT = 1 << 29  # C2PMSG_126
WORN_OUT = 1 << 1  # C2PMSG_126, a guess: firmware load failed

STICKY = slice(pciconfig.AER_CAP, pciconfig.AER_CAP + 0x48)
_BARS = slice(pciconfig.BAR0, pciconfig.BAR0 + 24)
_QUIET_S = {Reset.MODE1: MODE1_QUIET_S, Reset.LINK: MODE1_QUIET_S, Reset.MODE2: MODE2_QUIET_S}
FROM_THE_BUS = (Reset.FLR, Reset.BUS_RESET, Reset.POWER_CYCLE)


class Fate(Enum):
    """What becomes of a reset that is asked for."""

    WORKS = auto()
    HANGS = auto()  # it begins and never ends
    LIES = auto()  # it is acknowledged, and nothing happens


@dataclass(frozen=True, slots=True)
class Done:
    """A reset that struck, and when."""

    kind: Reset
    at_s: float


class Resets:
    """The resets of one GPU. `done`: those that struck; `quiet`: no BAR answers; `booting`: firmware.

    Faults: `hangs`, `lies`, `clobbers_after` by method; `wears_out`: so many mode1 resets work between two bus resets (None:
    any number); `late`: mode1 strikes late; `loses_config`: the device is gone after FLR and bus reset."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.done: list[Done] = []
        self.quiet = False
        self.booting = False
        self._life = 0  # counts strikes: what an earlier reset had under way is not done any more
        self._mode1s = 0  # since the last reset of the bus
        self._forget_faults()

    def _forget_faults(self) -> None:
        self.hangs: set[Reset] = set()
        self.lies: set[Reset] = set()
        self.clobbers_after: set[Reset] = set()
        self.wears_out: int | None = None
        self._gpu.clobbers_after_exit = False
        self.late = False
        self.loses_config = False

    def power_on(self) -> None:
        """The first one: nothing is remembered."""
        self.done.clear()
        self.quiet = self.booting = False
        self._mode1s = 0
        self._life += 1
        self._forget_faults()

    def fate(self, kind: Reset) -> Fate:
        """What becomes of a reset of an engine, which its block carries out itself."""
        if kind in self.hangs:
            return Fate.HANGS
        return Fate.LIES if kind in self.lies else Fate.WORKS

    @property
    def away(self) -> bool:
        """Config space does not answer either. In resets by the SMU the PCI Express port lives on (a guess for mode1)."""
        return self.quiet and self.done[-1].kind in FROM_THE_BUS

    def from_smu(self, kind: Reset, answered: Callable[[], None]) -> None:
        """GfxDriverReset: `answered` sets the SMU's response. Mode1 is answered first, mode2 when it is over."""
        fate = self.fate(kind)
        if fate is Fate.LIES:
            answered()
        elif kind is Reset.MODE2:
            self.begin(kind, answered)
        else:
            answered()
            delay_s = STRIKES_AFTER_S + (LATE_S if self.late else 0.0)
            self._after(delay_s, lambda: self.begin(kind))

    def begin(self, kind: Reset, then: Callable[[], None] = lambda: None) -> None:
        """It strikes now; `then` is called once config space answers again. What it does not cure is there afterwards."""
        gpu = self._gpu
        fate = self.fate(kind)
        if (gpu.lost and kind is Reset.FLR) or fate is Fate.LIES:  # nobody hears it
            return
        careless = kind in _QUIET_S and gpu.config.bus_master
        if careless:
            gpu.wrong("resets", f"{kind} with bus mastering on")
        self._life += 1
        self.done.append(Done(kind, gpu.hive.events.time()))
        gpu.faults = [active for active in gpu.faults if kind not in active.fault.cures]
        self.quiet = True
        if kind is Reset.MODE2:
            self._strike_engines()
        else:
            self.booting = True
            self._strike(kind)
        if fate is Fate.HANGS and kind in FROM_THE_BUS:
            return
        hangs = fate is Fate.HANGS
        self._after(_QUIET_S.get(kind, BUS_QUIET_S), lambda: self._answers_again(kind, then, hangs))
        if self.booting and not hangs:
            self._after(BOOT_S, lambda: self._booted(kind, careless))

    def touched(self, what: str) -> None:
        """Somebody accesses a BAR while nothing answers. During mode1 that is the end of the device; during mode2 it reads
        all ones (the stock driver's video engines may go to sleep at that time)."""
        last = self.done[-1]
        if last.kind not in (Reset.MODE1, Reset.LINK):
            return
        passed_ms = 1000 * (self._gpu.clock.now() - last.at_s)
        self._gpu.wrong("resets", f"{what} {passed_ms:.0f} ms after {last.kind} began: the device is gone")
        self._gpu.lost = True

    # What is lost.

    def _strike(self, kind: Reset) -> None:
        """Everything but what flash and the PCI link hold: section 8, columns mode1, FLR and bus reset."""
        gpu = self._gpu
        config = gpu.fresh_config.copy()
        config.data[STICKY] = gpu.config.data[STICKY]
        config.data[_BARS] = gpu.config.data[_BARS]
        gpu.config = config
        gpu.lost = False
        gpu.lost_bars.clear()
        unassign(gpu, keep_bars=gpu.host_keeps_bars)
        gpu.doorbells.clear()
        gpu.vram.clear()
        gpu.is_used = False
        if kind in (Reset.BUS_RESET, Reset.POWER_CYCLE):
            self._mode1s = 0
        if kind is Reset.MODE1:
            self._mode1s += 1
        gpu.clear_registers()
        gpu.psp.firmware_down()
        gpu.smu.fall_silent()
        gpu.xgmi.drop()
        self._bring_back(ShowsAt.RESET)

    def _strike_engines(self) -> None:
        """GFX and SDMA with their firmware, GFXHUB, config space; VRAM, TMR, secure OS, SMU, MMHUB stay."""
        gpu = self._gpu
        unassign(gpu, keep_bars=gpu.host_keeps_bars)
        gpu.is_used = False
        gpu.registers.forget(lambda entry: entry.owner in ("gfx", "sdma") or entry.name.startswith("GC["))
        gpu.gmc.reset_gfx()
        gpu.psp.forget_engines()
        gpu.gfx.power_on()
        gpu.sdma.power_on()

    # What comes after.

    def _answers_again(self, kind: Reset, then: Callable[[], None], hangs: bool) -> None:
        self.quiet = False
        if self.loses_config and kind in (Reset.FLR, Reset.BUS_RESET):
            self._gpu.lost = True
        elif not hangs:
            then()

    def _booted(self, kind: Reset, careless: bool) -> None:
        gpu = self._gpu
        self.booting = False
        gpu.smu.firmware_up()
        gpu.psp.firmware_up()
        gpu.write_table()
        gpu.xgmi.retrain()
        self._bring_back(ShowsAt.LOOK, ShowsAt.BRING_UP, ShowsAt.WORK)
        if careless:
            gpu.psp.stop_boot(DATA_ABORT)
        elif self.wears_out is not None and self._mode1s > self.wears_out:
            gpu.psp.stop_boot(WORN_OUT, mailbox=True)
        if kind in self.clobbers_after:
            gpu.clobber_table()

    def _bring_back(self, *stages: ShowsAt) -> None:
        """What no reset so far has cured; the chip came up well, and the same thing breaks again."""
        for active in self._gpu.faults:
            if active.fault.shows_at in stages:
                active.fault.apply(self._gpu, active.value)

    def _after(self, delay_s: float, work: Callable[[], None]) -> None:
        life = self._life

        def when_due() -> None:
            if life == self._life:
                work()

        self._gpu.hive.events.after(delay_s, when_due, follow=True)


def unassign(gpu: ModelGpu, *, keep_bars: bool = False) -> None:
    """What software may write in config space is as after power-on: no addresses, nothing enabled. A BAR is deaf until
    each half of its address that changed has been written again."""
    config, fresh = gpu.config, gpu.fresh_config
    before = {place: config.read(place, 4) for place in range(_BARS.start, _BARS.stop, 4)}
    for place, mask in enumerate(config.write_mask):
        if mask:
            config.data[place] = config.data[place] & ~mask | fresh.data[place] & mask
    config.write(pciconfig.COMMAND, 2, 0)
    for place in range(_BARS.start, _BARS.stop, 4):
        config.write(place, 4, before[place] if keep_bars else 0)
        if config.read(place, 4) != before[place] and not gpu.host_keeps_bars:
            gpu.lost_bars.add(place)
