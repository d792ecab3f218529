"""PCI mode, read-only: how far a GPU's boot got and what of it is dead, read from BAR0 without any driver.

Nothing is written, and only registers are read whose reading changes nothing. Falcon registers are left alone while a
kernel driver is bound: a read that the privilege mask refuses is an error that the driver would be told of.

Source: nvidia-gsp.md sections 2, 3 and 11 (nova-core's regs.rs, nouveau, the published headers of
open-gpu-kernel-modules); scratch 30: nvidia-resets.md section 6. Offsets in bytes of BAR0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from pcibus.transport import ALL_ONES

BAR = 0

BOOT_0, BOOT_42 = 0x000000, 0x000A00
USABLE_FB = 0x1183A4  # MiB, from GA102 on
WPR2_LOW, WPR2_HIGH = 0x1FA824, 0x1FA828
SCRATCH_FRTS, SCRATCH_RESET = 0x1400 + 4 * 0xE, 0x1400 + 4 * 30
GFW_MASK, GFW_BOOT = 0x118128, 0x118234
FSP_SCRATCH = 0x8F0320
FSP_DONE = 0xFF
GSP, SEC2, FSP = 0x110000, 0x840000, 0x8F2000
MAILBOX0, OS, HWCFG2, CPUCTL, RISCV_CPUCTL = 0x40, 0x80, 0xF4, 0x100, 0x1388

CHIPS: Mapping[int, str] = MappingProxyType(
    {
        0x170: "GA100", 0x172: "GA102", 0x173: "GA103", 0x174: "GA104", 0x176: "GA106", 0x177: "GA107",
        0x180: "GH100", 0x192: "AD102", 0x193: "AD103", 0x194: "AD104", 0x196: "AD106", 0x197: "AD107",
        0x1A0: "GB100", 0x1A2: "GB102", 0x1B2: "GB202", 0x1B3: "GB203", 0x1B5: "GB205", 0x1B6: "GB206", 0x1B7: "GB207",
    }
)  # fmt: skip
_HOPPER, _BLACKWELL_20 = 0x18, 0x1B
_FIRST_WITH_USABLE_FB = 0x172


class Stage(StrEnum):
    """How far boot got."""

    UNKNOWN = "unknown"
    POWERED = "powered"  # the chip answers; its own boot is not done
    READY = "ready"  # its own boot is done: a driver can start it
    PROTECTED = "protected"  # a region for the GPU's firmware is locked (WPR2): GSP was started
    RUNNING = "running"  # and GSP's processor is active


@dataclass(frozen=True, slots=True)
class Bare:
    """What the registers say. `values`: by name; a register that was refused is in `refused` instead (name: answer).

    `memory_mib` None: not told. `alone`: no driver is bound, so the falcons were asked, too."""

    boot0: int
    chip_id: int | None
    values: Mapping[str, int]
    refused: Mapping[str, int]
    alone: bool
    memory_mib: int | None = None

    @property
    def chip(self) -> str:
        return CHIPS.get(self.chip_id or 0, "") if self.chip_id is not None else ""

    @property
    def has_fsp(self) -> bool:
        return (self.chip_id or 0) >> 4 >= _HOPPER and (self.chip_id or 0) >> 4 != 0x19

    @property
    def boot_done(self) -> bool | None:
        """Whether the chip's own boot is through; None: it does not say."""
        if self.has_fsp:
            value = self.values.get("FSP_BOOT")
            return None if value is None else value & 0xFF == FSP_DONE
        mask, value = self.values.get("GFW_BOOT_MASK"), self.values.get("GFW_BOOT")
        if mask is not None and not mask & 1:
            return False  # the boot firmware opens the register when it gets there
        return None if value is None else value & 0xFF == 0xFF

    @property
    def wpr2(self) -> tuple[int, int] | None:
        """First and last address of the locked region; None: there is none, or it is not told."""
        low, high = self.values.get("WPR2_LOW"), self.values.get("WPR2_HIGH")
        if low is None or high is None or not high >> 4:
            return None
        return (low >> 4) << 12, ((high >> 4) << 12) | 0xFFF

    @property
    def gsp_active(self) -> bool | None:
        value = self.values.get("GSP_RISCV_CPUCTL")
        return None if value is None else bool(value >> 7 & 1)

    @property
    def gsp_halted(self) -> bool | None:
        value = self.values.get("GSP_RISCV_CPUCTL")
        return None if value is None else bool(value >> 4 & 1)

    @property
    def reset_required(self) -> bool | None:
        value = self.values.get("SCRATCH_RESET")
        return None if value is None else bool(value & 1)

    @property
    def drain_and_reset(self) -> bool | None:
        value = self.values.get("SCRATCH_RESET")
        return None if value is None else bool(value >> 1 & 1)

    @property
    def stage(self) -> Stage:
        if self.chip_id is None or self.boot_done is None:
            return Stage.UNKNOWN
        if not self.boot_done:
            return Stage.POWERED
        if self.wpr2 is None:
            return Stage.READY
        return Stage.RUNNING if self.gsp_active else Stage.PROTECTED


def register_where(name: str, bare: Bare | None, bdf: str) -> str:
    """`GFW_BOOT @ BAR0+0x118234 on 0000:c1:00.0`"""
    offset = {**_NAMES, **(_fsp_names(bare.chip_id or 0) if bare else {})}.get(name)
    return f"{name} @ BAR{BAR}+{offset:#x} on {bdf}" if offset is not None else f"{name} on {bdf}"


def is_refused(value: int) -> bool:
    """A register that answers with an error pattern: locked to somebody else, or not there."""
    return value >> 20 == 0xBAD


def describe_refused(value: int) -> str:
    """What the pattern tells: 0xBADF41xx is a target that the FSP has locked."""
    return f"{value:#010x} ({'locked by the FSP' if value >> 8 == 0xBADF41 else 'a register error'})"


_ALWAYS = {
    "WPR2_LOW": WPR2_LOW,
    "WPR2_HIGH": WPR2_HIGH,
    "SCRATCH_FRTS": SCRATCH_FRTS,
    "SCRATCH_RESET": SCRATCH_RESET,
}
_GFW = {"GFW_BOOT_MASK": GFW_MASK, "GFW_BOOT": GFW_BOOT}
_GSP_ALONE = {
    "GSP_MAILBOX0": GSP + MAILBOX0,
    "GSP_OS": GSP + OS,
    "GSP_HWCFG2": GSP + HWCFG2,
    "GSP_RISCV_CPUCTL": GSP + RISCV_CPUCTL,
}
_SEC2_ALONE = {"SEC2_MAILBOX0": SEC2 + MAILBOX0, "SEC2_CPUCTL": SEC2 + CPUCTL}
_FSP_FAILED = {f"FSP_SCRATCH{i}": FSP_SCRATCH + 4 * i for i in range(4)}
_NAMES = {
    "BOOT_0": BOOT_0, "BOOT_42": BOOT_42, "USABLE_FB": USABLE_FB, **_ALWAYS, **_GFW, **_GSP_ALONE, **_SEC2_ALONE,
    **_FSP_FAILED,
}  # fmt: skip


def _fsp_names(chip_id: int) -> dict[str, int]:
    """NV_THERM_I2CS_SCRATCH, where the FSP tells that its secure boot is through."""
    return {"FSP_BOOT": 0xAD00BC if chip_id >> 4 == _BLACKWELL_20 else 0x0200BC}


@dataclass(slots=True)
class _Look:
    read: Callable[[int], int]
    values: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def ask(self, names: Mapping[str, int]) -> None:
        for name, offset in names.items():
            value = self.read(offset)
            kept = self.refused if is_refused(value) or value == ALL_ONES else self.values
            kept[name] = value


def look(read: Callable[[int], int], *, alone: bool) -> Bare:
    """Read what tells how the GPU's boot went. `read` gives a dword of BAR0; `alone`: no kernel driver is bound.

    The caller has made sure that BOOT_0 does not read all ones, or judges `boot0` afterwards: nothing else is asked then."""
    boot0 = read(BOOT_0)
    if boot0 == ALL_ONES or is_refused(boot0):
        return Bare(boot0, None, {}, {"BOOT_0": boot0}, alone)
    seen = _Look(read)
    seen.ask({"BOOT_42": BOOT_42})
    boot42 = seen.values.get("BOOT_42")
    chip_id = None if not boot42 else boot42 >> 20 & 0x3FF
    if chip_id is None or chip_id not in CHIPS:
        return Bare(boot0, chip_id, seen.values, seen.refused, alone)
    seen.ask(_ALWAYS)
    first = Bare(boot0, chip_id, seen.values, seen.refused, alone)
    if first.has_fsp:
        seen.ask(_fsp_names(chip_id))
    else:
        seen.ask({"GFW_BOOT_MASK": GFW_MASK})
        if seen.values.get("GFW_BOOT_MASK", 0) & 1:
            seen.ask({"GFW_BOOT": GFW_BOOT})
    if chip_id >= _FIRST_WITH_USABLE_FB and first.boot_done:
        seen.ask({"USABLE_FB": USABLE_FB})
    if alone:
        _ask_falcons(seen, first)
    return Bare(boot0, chip_id, seen.values, seen.refused, alone, seen.values.get("USABLE_FB"))


def _ask_falcons(seen: _Look, so_far: Bare) -> None:
    if so_far.has_fsp and so_far.boot_done is False:
        seen.ask(_FSP_FAILED)
        return
    seen.ask(_GSP_ALONE)
    if not so_far.has_fsp:
        seen.ask(_SEC2_ALONE)
