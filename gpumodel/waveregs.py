"""What SQ_IND_DATA shows of a wave that stands still.

Source: Linux v7.3 amdgpu/gfx_v9_4_3.c (wave_read_ind, read_wave_data), gc_9_4_3_offset.h (ixSQ_WAVE_*), gc_9_4_3_sh_mask.h
(their fields), navi10_enum.h (SQIND_WAVE_SGPRS_OFFSET, _VGPRS_OFFSET: the values that gfx_v9_4_3.c uses, too)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpumodel.dispatch import Dispatch, Outcome

if TYPE_CHECKING:
    from gpumodel.queues import ComputeQueue

MODE, STATUS, TRAPSTS, HW_ID = 0x11, 0x12, 0x13, 0x14
PC_LO, PC_HI, INST_DW0, INST_DW1 = 0x18, 0x19, 0x1A, 0x1B
M0, EXEC_LO, EXEC_HI = 0x27C, 0x27E, 0x27F
SGPRS, VGPRS = 0x200, 0x400
SGPRS_SHOWN = 108
HALT, VALID = 1 << 13, 1 << 16
ILLEGAL_INST, MEM_VIOL = 1 << 11, 1 << 8  # of TRAPSTS; guess: bit 8 of EXCP, as the CDNA3 ISA manual names it


def read(queue: ComputeQueue, wave: int, index: int, lane: int) -> int:
    """One register; 0 for what is not known."""
    dispatch = queue.waves
    assert dispatch is not None
    if index == STATUS:
        scc = int(dispatch.state.scc) if dispatch.state else 0
        return VALID | scc | (0 if dispatch.outcome is Outcome.RUNNING else HALT)
    if index == TRAPSTS:
        return {Outcome.ILLEGAL: ILLEGAL_INST, Outcome.FAULTED: MEM_VIOL}.get(dispatch.outcome, 0)
    if index == HW_ID:
        slot = queue.slot
        return wave | slot.pipe << 6 | (dispatch.vmid & 15) << 20 | slot.queue << 24 | slot.me << 30
    return _of_state(dispatch, index, lane)


def _of_state(dispatch: Dispatch, index: int, lane: int) -> int:
    state = dispatch.state
    pc = state.pc if state else dispatch.program
    if index in (PC_LO, PC_HI):
        return pc >> (32 if index == PC_HI else 0) & 0xFFFFFFFF
    if state is None:
        return 0
    known = {
        MODE: state.mode,
        INST_DW0: state.code[0],
        INST_DW1: state.code[1],
        M0: state.m0,
        EXEC_LO: state.exec & 0xFFFFFFFF,
        EXEC_HI: state.exec >> 32,
    }
    if index in known:
        return known[index]
    if SGPRS <= index < SGPRS + SGPRS_SHOWN:
        return state.sgprs[index - SGPRS]
    values = state.vgprs.get(index - VGPRS, ())
    return values[lane] if lane < len(values) else 0
