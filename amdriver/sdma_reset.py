"""Getting one SDMA engine free again: the SMU resets it (ResetSDMA), its firmware starts again by itself.

Source: Linux v7.3 sdma_v4_4_2.c (stop_queue, soft_reset_engine with the physical instance, restore_queue: "all of the
registers will be reset to 0", HALT awaited for 100 ms after 50 us), smu_v13_0_6_ppt.c reset_sdma; amd-resets.md section 2.

That the reset took place is proved by a mark in a register that it clears and that nobody uses: the base of a user's ring
that is off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from base.errors import GpumendError
from pcibus.transport import ALL_ONES
from registers.amd.sdma_4_4_2 import Sdma as Registers

if TYPE_CHECKING:
    from amdriver.gpu import Gpu
    from amdriver.smu import Smu

SETTLE_S: Final = 50e-6
UNHALT_S: Final = 0.1
_MARK: Final = 0x6D65_6E64
_LAST_USER_RING: Final = 7
_RINGS: Final = ("GFX", "PAGE", *(f"RLC{number}" for number in range(8)))


@dataclass(frozen=True, slots=True)
class StuckSdma:
    """An engine with work in its rings, none of which moved while it was watched. Pointers in bytes."""

    engine: int
    rings: tuple[tuple[str, int, int], ...]  # name, read pointer, write pointer
    watched_s: float

    def __str__(self) -> str:
        told = ", ".join(f"{name} rptr={rptr:#x} wptr={wptr:#x}" for name, rptr, wptr in self.rings)
        return f"SDMA engine {self.engine}: {told} over {self.watched_s:g} s"


class SdmaReset:
    """The mechanism of one engine (physical number). Making one touches no hardware."""

    def __init__(self, gpu: Gpu, smu: Smu, engine: int) -> None:
        self.gpu = gpu
        self.smu = smu
        self.engine = engine
        self.regs = gpu.block(Registers, "SDMA0", engine)

    def work(self) -> tuple[tuple[str, int, int], ...]:
        """Rings that are on and have work: name, read pointer, write pointer in bytes. A halted engine has none."""
        status, control = self.regs.SDMA_STATUS_REG.read(), self.regs.SDMA_F32_CNTL.read()
        if ALL_ONES in (status.value, control.value):
            self.gpu.require_present(f"looking at SDMA engine {self.engine}")
            return ()
        if control.HALT:
            return ()
        found = []
        for name in _RINGS[: 2 if status.IDLE else None]:  # an idle engine has handed users' rings back
            if not self._read(f"SDMA_{name}_RB_CNTL") & 1:
                continue
            rptr = self._read(f"SDMA_{name}_RB_RPTR") | self._read(f"SDMA_{name}_RB_RPTR_HI") << 32
            wptr = self._read(f"SDMA_{name}_RB_WPTR") | self._read(f"SDMA_{name}_RB_WPTR_HI") << 32
            if rptr != wptr:
                found.append((name, rptr, wptr))
        return tuple(found)

    def reset(self) -> None:
        """Stop the rings, have the SMU reset the engine, wait until its firmware runs again. Its rings stay off.

        Raises SmuRefused (this SMU or its firmware has no such message), SmuSilent, WaitTimeout (stays halted), and
        GpumendError when it was acknowledged and did not take place."""
        regs = self.regs
        marked = self._mark()
        self._stop()
        self.smu.message("ResetSDMA", 1 << self.engine, answer=False)
        self.gpu.clock.sleep(SETTLE_S)
        register = regs.SDMA_F32_CNTL
        self.gpu.wait(
            register.read,
            lambda value: not value.HALT,
            doing=f"resetting SDMA engine {self.engine}",
            expected="SDMA_F32_CNTL.HALT=0: its firmware runs again",
            timeout_s=UNHALT_S,
            where=register.where,
            next_step="gpumend reset --method mode2",
            show=register.show,
        )
        if marked and getattr(regs, f"SDMA_RLC{_LAST_USER_RING}_RB_BASE").read().value == _MARK:
            raise GpumendError(
                f"resetting SDMA engine {self.engine}",
                expected=f"its registers at 0: SDMA_RLC{_LAST_USER_RING}_RB_BASE",
                seen=f"the mark {_MARK:#x} is still there: the SMU said yes, and nothing was reset",
                where=getattr(regs, f"SDMA_RLC{_LAST_USER_RING}_RB_BASE").where,
                next_step="gpumend reset --method mode2",
            )

    def _mark(self) -> bool:
        """Whether the mark could be set: the ring whose register it is must be off."""
        if self._read(f"SDMA_RLC{_LAST_USER_RING}_RB_CNTL") & 1:
            return False
        register = getattr(self.regs, f"SDMA_RLC{_LAST_USER_RING}_RB_BASE")
        register.write(_MARK)
        return bool(register.read().value == _MARK)

    def _stop(self) -> None:
        """inst_gfx_stop and inst_page_stop, and the users' rings."""
        regs = self.regs
        for name in _RINGS:
            control = getattr(regs, f"SDMA_{name}_RB_CNTL")
            value = control.read()
            if value.value == ALL_ONES or not value.RB_ENABLE:
                continue
            control.write(value.replace(RB_ENABLE=0))
            getattr(regs, f"SDMA_{name}_IB_CNTL").write(0)
            getattr(regs, f"SDMA_{name}_DOORBELL").write(0)
        regs.SDMA_CNTL.modify(UTC_L1_ENABLE=0, AUTO_CTXSW_ENABLE=0)

    def _read(self, name: str) -> int:
        regs = self.regs
        return regs.bus.read(regs.address_of(regs.REGISTERS[name]))


def stuck_sdmas(gpu: Gpu, engines: tuple[SdmaReset, ...], watch_s: float, samples: int = 5) -> tuple[StuckSdma, ...]:
    """Engines with work in every sample of which nothing moved. One copy longer than the watch looks the same."""
    seen = {engine.engine: work for engine in engines if (work := engine.work())}
    for _ in range(samples - 1):
        if not seen:
            return ()
        gpu.clock.sleep(watch_s / (samples - 1))
        now = {engine.engine: engine.work() for engine in engines if engine.engine in seen}
        seen = {number: work for number, work in seen.items() if now[number] and not _moved(work, now[number])}
    return tuple(StuckSdma(number, work, watch_s) for number, work in sorted(seen.items()))


def _moved(before: tuple[tuple[str, int, int], ...], now: tuple[tuple[str, int, int], ...]) -> bool:
    pointers = {name: rptr for name, rptr, _ in before}
    return any(pointers.get(name, rptr) != rptr for name, rptr, _ in now)
