"""Vector instructions run by tinygrad's emulator, one at a time, on given operands: a second opinion for gpumodel/isa.

tinygrad's git tree is not in its package: tools/get_oracle.py fetches it. Its emulator compiles each instruction for the CPU,
for which clang must be at hand (tools/get_llvm.py --clang). It describes gfx950; gfx942 is alike but for its kinds of fp8, and
lacks what is new.
The float mode is left as the host's: subnormals kept."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpumodel.isa.op import Array, Op
from tools import get_llvm

LANES = 64
_FIRST, _STEP = 16, 8  # VGPRs of the operands
_RESULT = 64
_MASK_IN, _MASK_OUT = 10, 12  # SGPR pairs
_VCC = 106
_RENAMED = {"v_fma_mix": "v_mad_mix"}
# Instructions whose last source is the destination.
_KEEPS = ("v_fmac_", "v_mac_", "v_dot2c_", "v_dot4c_", "v_dot8c_", "v_pk_fmac_", "v_fma_mixlo", "v_fma_mixhi", "v_cvt_pk_fp8",
          "v_cvt_pk_bf8", "v_cvt_sr_", "v_cvt_pkaccum")  # fmt: skip


class NoOpinion(Exception):
    """The emulator does not run this instruction; the text says why."""


def keeps_destination(name: str) -> bool:
    return name.startswith(_KEEPS)


def _words(value: Any, word: str) -> list[Array]:
    """An operand as registers: uint32[lanes] each, junk where a register is wider than the operand."""
    if isinstance(value, tuple):
        if word.startswith("2x") and value[0].dtype.itemsize == 2:
            low, high = (half.view(np.uint16).astype(np.uint32) for half in value)
            return [low | (high << np.uint32(16))]
        return [part.view(np.uint32) for part in value]
    if value.dtype.itemsize == 8:
        bits = value.view(np.uint64)
        return [bits.astype(np.uint32), (bits >> np.uint64(32)).astype(np.uint32)]
    if value.dtype.itemsize == 2:
        return [value.view(np.uint16).astype(np.uint32) | np.uint32(0xA5A50000)]
    return [value.view(np.uint32)]


def _typed(registers: Array, word: str, like: Any) -> Any:
    """Registers uint32[n][lanes] as the type that the result has."""
    if isinstance(like, tuple):
        if like[0].dtype.itemsize == 2:
            return tuple(
                half.astype(np.uint16).view(like[0].dtype) for half in (registers[0], registers[0] >> np.uint32(16))
            )
        return tuple(registers[i].view(part.dtype) for i, part in enumerate(like))
    if like.dtype.itemsize == 8:
        return (registers[0].astype(np.uint64) | (registers[1].astype(np.uint64) << np.uint64(32))).view(like.dtype)
    if like.dtype.itemsize == 2:
        return registers[0].astype(np.uint16).view(like.dtype)
    return registers[0].view(like.dtype)


def _bits(mask: Array) -> int:
    return sum(1 << i for i, lane in enumerate(mask.tolist()) if lane)


class Emulator:
    """tinygrad's, from the tree at `tree`; ImportError when there is none."""

    def __init__(self, tree: Path) -> None:
        if get_llvm.tool("clang"):
            os.environ.update(get_llvm.environment())
        os.environ.setdefault("DEV", "CPU")
        sys.path.insert(0, str(tree))
        import tinygrad.runtime.autogen.amd.cdna.ins as ins
        from test.mockgpu.amd import emu  # type: ignore[import-not-found, unused-ignore]

        self._ins: Any = ins
        self._emu: Any = emu
        self._state: Any = emu.WaveState(LANES, LANES)
        self._vgpr: Array = np.frombuffer(self._state._vgpr_mv, np.uint32).reshape(-1, LANES)
        self._sgpr: Array = np.frombuffer(self._state._sgpr_mv, np.uint32)

    def _operands(self, op: Op) -> tuple[list[Any], list[int]]:
        """Registers of the sources for the assembler, and their first VGPR (-1 for a mask)."""
        sources: list[Any] = []
        places: list[int] = []
        for i, word in enumerate(op.sources):
            if word == "mask":
                sources.append(self._ins.s[_MASK_IN : _MASK_IN + 1])
                places.append(-1)
                continue
            first = _FIRST + _STEP * i
            wide = word in ("u64", "i64", "f64", "b64", "2xf32", "2xu32")
            sources.append(self._ins.v[first : first + 1] if wide else self._ins.v[first])
            places.append(first)
        return sources, places

    def assemble(self, name: str, op: Op, wants: dict[str, int]) -> tuple[Any, list[int]]:
        """The instruction, and where its sources are."""
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
        function = next((f for n in (f"{name}_e64", name, f"{name}_e32") if (f := getattr(self._ins, n, None))), None)
        if function is None:
            raise NoOpinion("unknown to it")
        sources, places = self._operands(op)
        results = (op.result,) if isinstance(op.result, str) else op.result
        wide = results[0] in ("u64", "i64", "f64", "b64", "2xf32", "2xu32")
        destination = self._ins.v[_RESULT : _RESULT + 1] if wide else self._ins.v[_RESULT]
        if keeps_destination(name.replace("mad_mix", "fma_mix")):
            sources, places = sources[:-1], [*places[:-1], _RESULT]
        fields = set(dir(function.func))
        keyed: dict[str, Any] = {"vdst": destination}
        if results[0] == "mask":
            keyed["vdst" if "sdst" not in fields else "sdst"] = self._ins.s[_MASK_OUT : _MASK_OUT + 1]
            if "sdst" in fields:
                del keyed["vdst"]
        elif results[-1] == "mask":
            keyed["sdst"] = self._ins.s[_MASK_OUT : _MASK_OUT + 1]
        names = [n for n in ("src0", "vsrc1" if "vsrc1" in fields else "src1", "src2") if n in fields]
        if name.startswith("v_div_fmas"):
            sources = sources[:-1]
        keyed.update(zip(names, sources, strict=False))
        if "opsel_hi" in fields:
            mixed = "mad_mix" in name
            keyed["opsel_hi"] = 0 if mixed else 3
            if "opsel_hi2" in fields:
                keyed["opsel_hi2"] = 0 if mixed else 1
        if "bitop3" in wants:
            table = wants["bitop3"]
            keyed.update(omod=table >> 6, abs=table >> 3 & 7, neg=table & 7)
        if "op_sel" in wants:
            keyed["opsel"] = wants["op_sel"]
        try:
            return function(**keyed), places
        except Exception as error:
            raise NoOpinion(f"does not assemble: {error}") from error

    def run(self, name: str, op: Op, sources: list[Any], like: Any, wants: dict[str, int]) -> Any:
        """The results for operands of one wave ([lanes]), of the types that `like` has; NoOpinion if it cannot."""
        instruction, places = self.assemble(name, op, wants)
        try:
            program, runtime = self._emu._get_runner(instruction.to_bytes() + bytes(8), "cdna")
        except Exception as error:
            raise NoOpinion(f"does not compile: {str(error)[:80]}") from error
        code = ctypes.create_string_buffer(instruction.to_bytes() + bytes(8))
        self._state.pc = ctypes.addressof(code)  # it reads the registers' numbers from there
        return self._run(program, runtime.fxn, op, sources, places, like, name)

    def _run(
        self,
        program: Any,
        function: Callable[..., Any],
        op: Op,
        sources: list[Any],
        places: list[int],
        like: Any,
        name: str,
    ) -> Any:
        self._vgpr[_RESULT : _RESULT + 4] = 0
        for value, word, place in zip(sources, op.sources, places, strict=True):
            if place < 0:
                at = _VCC if name.startswith("v_div_fmas") else _MASK_IN
                bits = _bits(value)
                self._sgpr[at], self._sgpr[at + 1] = bits & 0xFFFFFFFF, bits >> 32
                continue
            for i, register in enumerate(_words(value, word)):
                self._vgpr[place + i] = register
        state = self._state
        buffers = [ctypes.c_uint64(b._buf.va_addr if b is not None else 0)
                   for b in (state.sgpr_buf, state.vgpr_buf, None, None, None, state.accvgpr_buf)]  # fmt: skip
        function(*[buffers[i] for i in program.arg.globals])
        mask = int(self._sgpr[_MASK_OUT]) | int(self._sgpr[_MASK_OUT + 1]) << 32
        lanes = np.array([bool(mask >> i & 1) for i in range(LANES)])
        if op.result == "mask":
            return lanes
        registers = self._vgpr[_RESULT : _RESULT + 4].copy()
        if isinstance(op.result, tuple):
            return _typed(registers, op.result[0], like[0]), lanes
        return _typed(registers, op.result, like)
