"""What stopped a wave: the SQ's error interrupts, decoded.

Source: Linux v7.3 amdkfd/kfd_int_process_v9.c (SQ_INTERRUPT_WORD_WAVE_CTXID, KFD_CONTEXT_ID_GET_SQ_INT_DATA, error types,
event_interrupt_wq_v9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from registers.amd.structs_ih import GfxSource

if TYPE_CHECKING:
    from amdriver.ih import Interrupt

_ENCODING_SHIFT: Final = 26
_ERROR: Final = 2
_TYPE_SHIFT: Final = 4  # in context 1
_NAMES: Final = {0: "EDC FUE", 1: "illegal instruction", 2: "memory violation", 3: "EDC FED"}


@dataclass(frozen=True, slots=True)
class WaveError:
    """One wave that the SQ stopped. `node` as the interrupt has it (the kernel's number of the XCC)."""

    kind: str
    vmid: int
    node: int
    se: int
    sh: int
    cu: int
    simd: int
    wave: int

    def __str__(self) -> str:
        place = f"SE {self.se} SH {self.sh} CU {self.cu} SIMD {self.simd} wave {self.wave}"
        return f"{self.kind} by a wave of VMID {self.vmid} (node {self.node}, {place})"


def wave_errors(interrupts: Iterable[Interrupt]) -> list[WaveError]:
    """Those of the interrupts that tell of an error of a wave, in their order."""
    return [_decode(one) for one in interrupts if _is_error(one)]


def _is_error(one: Interrupt) -> bool:
    return one.source_name == GfxSource.SQ_INTERRUPT_ID.name and one.context[0] >> _ENCODING_SHIFT & 3 == _ERROR


def _decode(one: Interrupt) -> WaveError:
    word, kind = one.context[0], one.context[1] >> _TYPE_SHIFT & 0xF
    return WaveError(
        _NAMES.get(kind, f"error {kind}"),
        one.vmid,
        one.node,
        se=word >> 24 & 3,
        sh=word >> 12 & 1,
        cu=word >> 20 & 0xF,
        simd=word >> 18 & 3,
        wave=word >> 14 & 0xF,
    )
