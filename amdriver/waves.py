"""Waves that stand still: their registers, read through SQ_IND before a reset takes them away.

Source: Linux v7.3 gfx_v9_4_3.c (wave_read_ind, wave_read_regs, gfx_v9_4_3_read_wave_data, _sgprs, _vgprs), amdgpu_debugfs.c
(GRBM_GFX_INDEX selects engine, array and CU); gc_9_4_3_offset.h, gc_9_4_3_sh_mask.h (ixSQ_WAVE_*)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from amdriver.gpu import Gpu
    from registers.amd.gc_9_4_3 import Gc

_MODE, _STATUS, _TRAPSTS, _HW_ID = 0x11, 0x12, 0x13, 0x14
_PC_LO, _PC_HI, _INST_DW0, _INST_DW1 = 0x18, 0x19, 0x1A, 0x1B
_M0, _EXEC_LO, _EXEC_HI = 0x27C, 0x27E, 0x27F
_SGPRS, _VGPRS = 0x200, 0x400
_VALID = 1 << 16
_ILLEGAL_INST, _MEM_VIOL = 1 << 11, 1 << 8
SIMDS: Final = 4
WAVES_A_SIMD: Final = 8
LANES: Final = 64
SGPRS_READ: Final = 108
VGPRS_READ: Final = 16
_ENGINES, _CUS = 4, 10
_ALL_ONES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class WaveDump:
    """One wave where it stood. `code`: the two dwords at its pc; `vgprs[n][lane]`: the first registers only."""

    xcc: int
    engine: int
    cu: int
    simd: int
    wave: int
    vmid: int
    status: int
    trapsts: int
    mode: int
    pc: int
    code: tuple[int, int]
    exec: int
    m0: int
    sgprs: tuple[int, ...]
    vgprs: tuple[tuple[int, ...], ...]

    @property
    def why(self) -> str:
        """What stopped it, as far as TRAPSTS says."""
        if self.trapsts & _ILLEGAL_INST:
            return "illegal instruction"
        return "memory violation" if self.trapsts & _MEM_VIOL else "runs or waits"

    def __str__(self) -> str:
        place = f"XCC {self.xcc} SE {self.engine} CU {self.cu} SIMD {self.simd} wave {self.wave}"
        words = " ".join(f"{word:08x}" for word in self.code)
        return f"{place}: pc {self.pc:#x}, instruction {words}, exec {self.exec:#x}, VMID {self.vmid}: {self.why}"

    def registers(self) -> str:
        """All that was read, for a report: SGPRs eight a line, VGPRs a line each, lane 0 first."""
        lines = [str(self), f"  status {self.status:#x} trapsts {self.trapsts:#x} mode {self.mode:#x} m0 {self.m0:#x}"]
        for first in range(0, len(self.sgprs), 8):
            lines.append(f"  s{first:<3} " + " ".join(f"{value:08x}" for value in self.sgprs[first : first + 8]))
        for number, lanes in enumerate(self.vgprs):
            lines.append(f"  v{number:<3} " + " ".join(f"{value:08x}" for value in lanes))
        return "\n".join(lines)


def first_wave(gpu: Gpu, gc: Gc, xcc: int) -> WaveDump | None:
    """The first wave that is found on an XCC, with its registers; None: there is none. All engines are selected again."""
    told = gpu.ip.gc
    engines = (told.get("num_se") if told is not None else None) or _ENGINES
    cus = (told.get("num_cu_per_sh") if told is not None else None) or _CUS
    try:
        for engine in range(engines):
            for cu in range(cus):
                gc.GRBM_GFX_INDEX.write(SE_INDEX=engine, INSTANCE_INDEX=cu)
                for simd in range(SIMDS):
                    for wave in range(WAVES_A_SIMD):
                        status = _read(gc, simd, wave, _STATUS)
                        if status & _VALID and status != _ALL_ONES:
                            return _dump(gc, (xcc, engine, cu, simd, wave), status)
    finally:
        gc.GRBM_GFX_INDEX.write(SE_BROADCAST_WRITES=1, SH_BROADCAST_WRITES=1, INSTANCE_BROADCAST_WRITES=1)
    return None


def _dump(gc: Gc, place: tuple[int, int, int, int, int], status: int) -> WaveDump:
    _, _, _, simd, wave = place

    def one(index: int) -> int:
        return _read(gc, simd, wave, index)

    return WaveDump(
        *place,
        vmid=one(_HW_ID) >> 20 & 15,
        status=status,
        trapsts=one(_TRAPSTS),
        mode=one(_MODE),
        pc=one(_PC_LO) | (one(_PC_HI) & 0xFFFF) << 32,
        code=(one(_INST_DW0), one(_INST_DW1)),
        exec=one(_EXEC_LO) | one(_EXEC_HI) << 32,
        m0=one(_M0),
        sgprs=_several(gc, simd, wave, 0, _SGPRS, SGPRS_READ),
        vgprs=tuple(zip(*(_several(gc, simd, wave, lane, _VGPRS, VGPRS_READ) for lane in range(LANES)), strict=True)),
    )


def _read(gc: Gc, simd: int, wave: int, index: int) -> int:
    gc.SQ_IND_INDEX.write(WAVE_ID=wave, SIMD_ID=simd, INDEX=index, FORCE_READ=1)
    return gc.SQ_IND_DATA.read().value


def _several(gc: Gc, simd: int, wave: int, lane: int, first: int, count: int) -> tuple[int, ...]:
    """Registers in a row: the index counts up by itself."""
    gc.SQ_IND_INDEX.write(WAVE_ID=wave, SIMD_ID=simd, THREAD_ID=lane, INDEX=first, FORCE_READ=1, AUTO_INCR=1)
    return tuple(gc.SQ_IND_DATA.read().value for _ in range(count))
