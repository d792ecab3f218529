"""Clocks of one GPU: what the power firmware allows, pinned for timings that repeat, and given back.

    clocks.pin(1500)       # graphics clock of all XCCs: soft limits, both at this frequency
    clocks.auto()          # the whole range again

Source: Linux v7.3 pm/swsmu/smu13/smu_v13_0_6_ppt.c (smu_v13_0_6_set_gfx_soft_freq_limited_range: maximum first, then minimum,
16 bits of MHz each; smu_v13_0_6_set_performance_level AUTO; get_dpm_ultimate_freq), smu_v13_0.c
(smu_v13_0_set_soft_freq_limited_range: clock number << 16 | MHz; only the maximum of UCLK may be limited). Clock numbers:
smu13_driver_if_v13_0_6.h PPCLK_e, the same in smu_v13_0_12. Both generations have these messages under the same names.

The firmware answers that it took a limit; there is no message that reads limits back. What runs: `Smu.metrics`, for which the
GPU must be open. A limit stays until somebody sets another, or the GPU is reset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from base.errors import UsageError

if TYPE_CHECKING:
    from amdriver.smu import Smu

CLOCKS: Final = ("VCLK", "DCLK", "SOCCLK", "UCLK", "FCLK", "LCLK")  # PPCLK_e
_ALL_LEVELS: Final = 0xFF
_MOST_LEVELS: Final = 64
_MHZ: Final = 0x7FFF_FFFF  # bit 31 says that there are steps between the levels (smu_v13_0_get_dpm_freq_by_index)
GFX_MESSAGES: Final = ("SetSoftMaxGfxClk", "SetSoftMinGfxClk")


@dataclass(frozen=True, slots=True)
class ClockMessage:
    """One message to the SMU; `number` in the table of its version."""

    name: str
    number: int
    argument: int

    def __str__(self) -> str:
        return f"SMU message {self.name} ({self.number:#x}), argument {self.argument:#x} ({self.argument} MHz)"


@dataclass(frozen=True, slots=True)
class ClockRange:
    """Of one clock, in MHz. `levels`: the frequencies that it steps through; () where it is not stepped."""

    name: str
    lowest_mhz: int
    highest_mhz: int
    levels_mhz: tuple[int, ...] = ()


class Clocks:
    """`pinned_mhz`: what `pin` last set through this object; None: nothing."""

    def __init__(self, smu: Smu) -> None:
        self._smu = smu
        self._gfx: ClockRange | None = None
        self.pinned_mhz: int | None = None

    def graphics(self) -> ClockRange:
        """The range that the firmware has for the graphics clock, asked once. Raises what Smu.message raises."""
        if self._gfx is None:
            low, high = self._smu.message("GetMinGfxDpmFreq"), self._smu.message("GetMaxGfxDpmFreq")
            self._gfx = ClockRange("GFXCLK", low, high)
        return self._gfx

    def ranges(self) -> list[ClockRange]:
        """The graphics clock, then all stepped ones."""
        return [self.graphics(), *(self._stepped(number) for number in range(len(CLOCKS)))]

    def plan(self, mhz: int | None) -> list[ClockMessage]:
        """What `pin` (None: at the highest) would send. Asks for the range; changes nothing. Raises UsageError."""
        return self._messages(*([self._wanted(mhz)] * 2))

    def plan_auto(self) -> list[ClockMessage]:
        """What `auto` would send."""
        gfx = self.graphics()
        return self._messages(gfx.highest_mhz, gfx.lowest_mhz)

    def pin(self, mhz: int | None = None) -> int:
        """Let the graphics clock have this frequency only (None: the highest); returns it. Raises UsageError, SmuRefused."""
        wanted = self._wanted(mhz)
        self._send(self.plan(wanted))
        self.pinned_mhz = wanted
        return wanted

    def auto(self) -> None:
        """The whole range again."""
        self._send(self.plan_auto())
        self.pinned_mhz = None

    def _messages(self, *values: int) -> list[ClockMessage]:
        """Maximum, then minimum."""
        return [
            ClockMessage(name, self._smu.number(name), value) for name, value in zip(GFX_MESSAGES, values, strict=True)
        ]

    def _send(self, messages: list[ClockMessage]) -> None:
        for one in messages:
            self._smu.message(one.name, one.argument, answer=False)

    def _wanted(self, mhz: int | None) -> int:
        gfx = self.graphics()
        if mhz is None:
            return gfx.highest_mhz
        if gfx.lowest_mhz <= mhz <= gfx.highest_mhz:
            return mhz
        raise UsageError(
            "pinning the graphics clock",
            expected=f"{gfx.lowest_mhz} to {gfx.highest_mhz} MHz",
            seen=f"{mhz} MHz",
            where=self._smu.gpu.name,
            next_step="gpumend clocks show",
        )

    def _stepped(self, number: int) -> ClockRange:
        """Its levels as amdgpu lists them: GetDpmFreqByIndex with 0xFF gives the index of the last."""
        last = self._smu.message("GetDpmFreqByIndex", number << 16 | _ALL_LEVELS)
        count = min(last + 1, _MOST_LEVELS)
        asked = (self._smu.message("GetDpmFreqByIndex", number << 16 | index) for index in range(count))
        levels = tuple(value & _MHZ for value in asked)
        return ClockRange(CLOCKS[number], min(levels), max(levels), levels)
