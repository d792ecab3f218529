"""A handful of real instructions: what a program needs that only ends, never ends, stores one word, or is no program.

All lanes do the same, so one of them is run. Whatever else is met ends the wave and is recorded, as before.
Source: encodings by LLVM 22 llvm-mc, -mcpu=gfx942 and gfx950 alike (SOPP, VOP1 v_mov_b32, FLAT global_store/load_dword); it
disassembles no word that begins with 0b111111."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gpumodel.dispatch import Outcome

if TYPE_CHECKING:
    from gpumodel.dispatch import Dispatch

MOST_STEPS = 4096  # a program that runs longer is taken for one that never ends
_NO_ENCODING = 0b111111
_S_NOP, _S_ENDPGM, _S_BRANCH, _S_WAITCNT = 0xBF80, 0xBF81, 0xBF82, 0xBF8C
_V_MOV_B32 = 0x3F << 25 | 1 << 9  # VOP1, opcode 1
_VOP1_MASK = 0x7F << 25 | 0xFF << 9
_GLOBAL_STORE_DWORD, _GLOBAL_LOAD_DWORD = 0xDC70_8000, 0xDC50_8000
_LITERAL, _INLINE_0, _INLINE_64, _VGPR0 = 0xFF, 128, 192, 256
_NO_SADDR = 0x7F
_END = 1  # no distance: instructions are dwords


def run(dispatch: Dispatch, record: Callable[[str], None]) -> None:
    """Run the waves of a grid as one; PageFault passes through. `record` is told of what is not known."""
    registers: dict[int, int] = {}
    at = dispatch.program
    for _ in range(MOST_STEPS):
        word = _word(dispatch, at)
        if word >> 26 == _NO_ENCODING:
            dispatch.outcome = Outcome.ILLEGAL
            return
        step = _step(dispatch, registers, at, word)
        if step is None:
            told = f"starts {word:#010x}" if at == dispatch.program else f"{word:#010x} at {at:#x}"
            record(f"program at {dispatch.program:#x} of XCC {dispatch.xcc} not interpreted: {told}")
            return
        if step == _END:
            return
        at += step
    dispatch.outcome = Outcome.RUNNING


def _word(dispatch: Dispatch, at: int) -> int:
    return int.from_bytes(dispatch.memory.read(at, 4), "little")


def _step(dispatch: Dispatch, registers: dict[int, int], at: int, word: int) -> int | None:
    """Bytes to the next instruction; _END: that was the last, None: not known."""
    if word >> 16 == _S_ENDPGM:
        return _END
    if word >> 16 in (_S_NOP, _S_WAITCNT):
        return 4
    if word >> 16 == _S_BRANCH:
        target = word & 0xFFFF
        return 4 + 4 * (target - 0x10000 if target & 0x8000 else target)
    if word & _VOP1_MASK == _V_MOV_B32:
        return _move(dispatch, registers, at, word)
    if word in (_GLOBAL_STORE_DWORD, _GLOBAL_LOAD_DWORD):
        return _memory(dispatch, registers, at, word)
    return None


def _move(dispatch: Dispatch, registers: dict[int, int], at: int, word: int) -> int | None:
    source, target = word & 0x1FF, word >> 17 & 0xFF
    if source == _LITERAL:
        registers[target] = _word(dispatch, at + 4)
        return 8
    if source >= _VGPR0:
        registers[target] = registers.get(source - _VGPR0, 0)
        return 4
    if _INLINE_0 <= source <= _INLINE_64:
        registers[target] = source - _INLINE_0
        return 4
    return None


def _memory(dispatch: Dispatch, registers: dict[int, int], at: int, word: int) -> int | None:
    places = _word(dispatch, at + 4)
    address, data, base, target = places & 0xFF, places >> 8 & 0xFF, places >> 16 & 0xFF, places >> 24
    if base != _NO_SADDR:
        return None
    va = registers.get(address, 0) | registers.get(address + 1, 0) << 32
    if word == _GLOBAL_STORE_DWORD:
        dispatch.memory.write(va, registers.get(data, 0).to_bytes(4, "little"))
    else:
        registers[target] = int.from_bytes(dispatch.memory.read(va, 4), "little")
    return 8
