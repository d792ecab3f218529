"""Which access to memory or LDS a compiled instruction is, and the registers that it needs."""

from __future__ import annotations

import re
from dataclasses import replace

from gpumodel.isa import share, vmem
from gpumodel.isa.decode import Instruction
from gpumodel.isa.native import atomics
from gpumodel.isa.native.lanewise import Unlowered
from gpumodel.isa.native.support import Access


def access_of(instruction: Instruction) -> tuple[Access, int]:
    """What it moves, its first register of data. Raises Unlowered."""
    name = instruction.name
    if (access := _atomic_of(instruction)) is not None:
        return access, vmem.register(instruction, _atomic_field(instruction, access))
    if instruction.format in ("GLOBAL", "MUBUF"):
        match = re.fullmatch(r"(?:global|buffer)_(load|store)_(?:dword(?:x(\d))?|(\w+))", name)
        if match is None:
            raise Unlowered(name)
        store, what = match[1] == "store", match[3]
        wide = instruction.format == "GLOBAL" and not instruction.has("saddr")
        register = vmem.register(instruction, "vdst" if instruction.has("vdst") else "vdata")
        if what is None:
            return Access(store, False, 4 * int(match[2] or 1), wide=wide), register
        return replace(_narrow(name, store, False, what), wide=wide), register
    match = re.fullmatch(r"ds_(read|write)_(\w+)", name)
    if match is None or instruction.get("gds"):
        raise Unlowered(name)
    store, what = match[1] == "write", match[2]
    register = vmem.register(instruction, "data0" if store else "vdst")
    if what in share.WORDS:
        return Access(store, True, 4 * share.WORDS[what]), register
    return _narrow(name, store, True, share.NARROW.get(what, "")), register


def _atomic_of(instruction: Instruction) -> Access | None:
    """What an atomic does, by the words of gpumodel/isa/vmem.py and share.py; None: it is none, or not one of these."""
    name, local = instruction.name, instruction.format == "DS"
    if not local:
        match = re.fullmatch(r"global_atomic_([a-z]+)(?:_(x2|f32|f64))?", name)
        if match is None:
            return None
        size = 8 if match[2] in ("x2", "f64") else 4
        word, returns = match[1] + ("_f" if (match[2] or "").startswith("f") else ""), instruction.has("vdst")
        wide = not instruction.has("saddr")
    else:
        match = re.fullmatch(r"ds_([a-z]+)(_rtn)?_([uibf])(32|64)", name)
        if match is None or instruction.get("gds"):
            return None
        word, returns, size, wide = match[1], bool(match[2]), int(match[4]) // 8, False
        if match[3] == "f":
            word += "_f"
        elif word in ("min", "max"):
            word = ("s" if match[3] == "i" else "u") + word
        word = {"wrxchg": "swap", "cmpst": "cmpswap"}.get(word, word)
    return Access(True, local, size, wide=wide, atomic=word, returns=returns) if word in atomics.WHAT else None


def atomic_registers(instruction: Instruction, access: Access) -> tuple[int, int]:
    """Of the value that a cmpswap expects, and of the result; another one where there is none."""
    data = vmem.register(instruction, _atomic_field(instruction, access))
    expected = data
    if access.atomic == "cmpswap":
        expected = vmem.register(instruction, "data0") if access.local else data + access.size // 4
    return expected, vmem.register(instruction, "vdst") if access.returns else data


def _atomic_field(instruction: Instruction, access: Access) -> str:
    """Where the operand is, or the new value."""
    if not access.local:
        return "vdata"
    return "data1" if access.atomic == "cmpswap" else "data0"


def _narrow(name: str, store: bool, local: bool, what: str) -> Access:
    if store and what in vmem.NARROW_STORES:
        size, shift = vmem.NARROW_STORES[what]
        return Access(True, local, size, False, 1 if shift else None)
    if not store and what in vmem.NARROW_LOADS:
        size, signed, half = vmem.NARROW_LOADS[what]
        return Access(False, local, size, signed, half)
    raise Unlowered(name)
