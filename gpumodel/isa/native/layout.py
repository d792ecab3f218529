"""How compiled code sees a wave, its registers and the memory: offsets in bytes, little endian.

A wave: SGPRs 0 to 127 as they are numbered (VCC, M0, EXEC among them), then its own words. Its VGPRs: ROW bytes each, a dword a
lane, accumulation registers behind the others. The memory: what all waves share, then the windows (memory.py), each at the
place that its number modulo WINDOWS gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from gpumodel.isa.waves import WAVE

ROW = 4 * WAVE
WINDOWS = 64

# of a wave
PC, SCC, REASON, FUEL, STEPS, LDS, MISSED = 512, 520, 524, 528, 536, 544, 552
WAVE_BYTES = 576
AGAIN = 1  # in PC, of which it is never a part: the instruction is tried again, and was counted

# of the memory; CHUNKS: how many times eight lanes are done at all, LANEMASK: these lanes
CHUNKS, LANEMASK, STORES, LDS_BYTES, TABLE = 0, 8, 16, 24, 64
NUMBER, BYTES, DIRTY, STATE, ENTRY_BYTES = 0, 8, 16, 24, 32  # a window; its number is one more, 0 where there is none
MEMORY_BYTES = TABLE + WINDOWS * ENTRY_BYTES


class Reason(IntEnum):
    """Why compiled code stopped; the wave stands at its PC."""

    STEP = 1  # this instruction is for the interpreter, or the page of the address MISSED (if not 0) is not there
    FUEL = 2  # it has jumped backwards often enough
    BARRIER = 3  # PC is behind it
    END = 4


@dataclass(frozen=True, slots=True)
class Slots:
    """Where registers lie: `plain` VGPRs, then `accumulation` ones."""

    plain: int
    accumulation: int

    @property
    def count(self) -> int:
        return self.plain + self.accumulation

    def has(self, index: int) -> bool:
        return index < self.plain or 256 <= index < 256 + self.accumulation

    def of(self, index: int) -> int:
        """The row of a register (256 and more: an accumulation register). Raises IndexError."""
        if not self.has(index):
            raise IndexError(index)
        return index if index < 256 else self.plain + index - 256
