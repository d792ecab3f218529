"""DS: the memory that a work-group shares, and lanes that read each other.

Source: AMD CDNA3 ISA manual, "data share" (restated). An access beyond what the group was given is a memory violation."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from gpumodel.isa import vmem
from gpumodel.isa.decode import Instruction
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.vmem import LDS, Address, Run, lanes_of, register
from gpumodel.isa.waves import WAVE, Array, Waves

_U32 = np.uint32
WORDS = {"b32": 1, "b64": 2, "b96": 3, "b128": 4}
NARROW = {  # in the words of vmem.py
    "u8": "ubyte",
    "i8": "sbyte",
    "u16": "ushort",
    "i16": "sshort",
    "u8_d16": "ubyte_d16",
    "i8_d16": "sbyte_d16",
    "u16_d16": "short_d16",
    "u8_d16_hi": "ubyte_d16_hi",
    "i8_d16_hi": "sbyte_d16_hi",
    "u16_d16_hi": "short_d16_hi",
    "b8": "byte",
    "b8_d16_hi": "byte_d16_hi",
    "b16": "short",
    "b16_d16_hi": "short_d16_hi",
}
_ATOMICS = {"wrxchg": "swap"}
_QUAD_MODE, _OTHER_MODES = 0x8000, 0xC000


def bind(instruction: Instruction) -> Run:
    """A function that runs it. Raises NotModelled."""
    name = instruction.name
    if name in ("ds_bpermute_b32", "ds_permute_b32", "ds_swizzle_b32"):
        return {"ds_bpermute_b32": _pull, "ds_permute_b32": _push, "ds_swizzle_b32": _swizzle}[name](instruction)
    if instruction.get("gds"):
        raise NotModelled(f"{name} of GDS")
    verb = name.removeprefix("ds_")
    if match := re.fullmatch(r"read_b64_tr_b(4|8|16)", verb):
        return _transposed(instruction, int(match[1]))
    target = register(instruction, "vdst")
    if match := re.fullmatch(r"(read|write)2(st64)?_b(32|64)", verb):
        return _two(instruction, match[1], 64 if match[2] else 1, int(match[3]) // 32)
    address = _address(instruction, instruction.get("offset"))
    action, _, what = verb.partition("_")
    if action == "read":
        if what in WORDS:
            return vmem._load_wide(LDS, address, target, WORDS[what], None)
        if what in NARROW:
            return vmem._load_narrow(LDS, address, target, NARROW[what], None)
        raise NotModelled(name)
    if action == "write":
        data = register(instruction, "data0")
        if what in WORDS:
            return vmem._store_wide(LDS, address, data, WORDS[what], None)
        if what in NARROW:
            return vmem._store_narrow(LDS, address, data, NARROW[what], None)
        raise NotModelled(name)
    return _bind_atomic(instruction, verb, address, target)


def _bind_atomic(instruction: Instruction, verb: str, address: Address, target: int) -> Run:
    match = re.fullmatch(r"(pk_add|[a-z]+)(_rtn)?_([a-z]+)(\d+)", verb)
    if match is None:
        raise NotModelled(instruction.name)
    word, returns, kind, bits = match[1], bool(match[2]), match[3], int(match[4])
    size = bits // 8
    data = register(instruction, "data0")
    result = target if returns else None
    if word == "cmpst":
        if kind != "b":
            raise NotModelled(instruction.name)
        return vmem._atomic(LDS, address, word, size, data, result, swap=(register(instruction, "data1"), data))
    if word == "pk_add":
        return vmem._atomic(LDS, address, f"pk_add_{kind}{bits}", 4, data, result)
    if kind == "f":
        word += "_f"
    elif word in ("min", "max"):
        word = ("s" if kind == "i" else "u") + word
    return vmem._atomic(LDS, address, _ATOMICS.get(word, word), size, data, result)


def _address(instruction: Instruction, offset: int) -> Address:
    """Bytes in the LDS of the group, 32 bits that wrap."""
    place, add = register(instruction, "addr"), _U32(offset)
    return lambda waves: (waves.v(place) + add).astype(np.int64)


def _two(instruction: Instruction, action: str, step: int, dwords: int) -> Run:
    """Two places, each with an offset of 8 bits in elements, or in 64 of them."""
    unit = 4 * dwords * step
    addresses = [_address(instruction, instruction.get(f"offset{number}") * unit) for number in range(2)]
    if action == "write":
        runs = [
            vmem._store_wide(LDS, address, register(instruction, f"data{number}"), dwords, None)
            for number, address in enumerate(addresses)
        ]

        def write(waves: Waves) -> None:
            for run in runs:
                run(waves)

        return write
    target = register(instruction, "vdst")

    def read(waves: Waves) -> None:
        values: list[Array] = []
        for address in addresses:  # both before the first is written: the address may be the destination
            lanes = lanes_of(waves, address(waves))
            if lanes is None:
                return
            loaded = LDS.load(waves, lanes.address, lanes.chosen, dwords)
            values += [lanes.back(waves, value) for value in loaded]
        for number, value in enumerate(values):
            waves.set_v(target + number, value)

    return read


def _transposed(instruction: Instruction, bits: int) -> Run:
    """Sixteen lanes together read rows of 16 elements, a part of a row each, and each gets a column.

    Source: Triton, third_party/amd MemoryOpToLLVM.cpp (16 and 8 bits) and chooseDsReadTrLayout (4), which rely on it; that all
    lanes must be on: CDNA4 manual, "MFMA transpose load from LDS". 6 bits (ds_read_b96_tr_b6): nobody says how."""
    address, target = _address(instruction, instruction.get("offset")), register(instruction, "vdst")
    elements = 64 // bits
    lane, row = np.arange(WAVE)[:, None], np.arange(elements)
    from_lane = lane & ~15 | (16 // elements * row + (lane & 15) // elements)  # [lanes][elements]
    from_bit = (bits * ((lane & 15) % elements)).astype(np.uint64)
    to_bit = (bits * row).astype(np.uint64)
    mask = np.uint64((1 << bits) - 1)

    def run(waves: Waves) -> None:
        waves.widen()
        lanes = lanes_of(waves, address(waves))
        if lanes is None or not waves.all_active:
            raise NotModelled(f"{instruction.name} with lanes that are off")
        low, high = (lanes.back(waves, value) for value in LDS.load(waves, lanes.address, lanes.chosen, 2))
        words = low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32)
        value = np.bitwise_or.reduce((words[:, from_lane] >> from_bit & mask) << to_bit, axis=2)
        waves.set_v64(target, value)

    return run


# ---- lanes


def _lane(instruction: Instruction) -> Callable[[Waves], Array]:
    """The number of a lane, from an address in bytes."""
    place, add = register(instruction, "addr"), _U32(instruction.get("offset"))
    return lambda waves: ((waves.full(waves.v(place)) + add) >> _U32(2) & _U32(WAVE - 1)).astype(np.int64)


def _pull(instruction: Instruction) -> Run:
    """Each lane reads the lane that it names; 0 from one that is off."""
    lane, data, target = _lane(instruction), register(instruction, "data0"), register(instruction, "vdst")

    def run(waves: Waves) -> None:
        waves.widen()
        rows, columns = np.arange(waves.count)[:, None], lane(waves)
        value = waves.full(waves.v(data))[rows, columns]
        waves.set_v(target, np.where(waves.active[rows, columns], value, _U32(0)))

    return run


def _push(instruction: Instruction) -> Run:
    """Each lane sends to the lane that it names; of several the highest arrives, and where none does, 0."""
    lane, data, target = _lane(instruction), register(instruction, "data0"), register(instruction, "vdst")

    def run(waves: Waves) -> None:
        waves.widen()
        active = waves.active
        out = np.zeros((waves.count, WAVE), _U32)
        rows = np.broadcast_to(np.arange(waves.count)[:, None], out.shape)
        out[rows[active], lane(waves)[active]] = waves.full(waves.v(data))[active]
        waves.set_v(target, out)

    return run


def swizzled_lanes(instruction: Instruction) -> Array:
    """Which lane each reads, by a pattern out of the offset: any order within four lanes, or and, or, xor on the number within
    32. Raises NotModelled."""
    pattern = instruction.get("offset")
    if pattern & _OTHER_MODES == _OTHER_MODES:
        raise NotModelled(f"ds_swizzle_b32 with offset {pattern:#x}")
    number = np.arange(WAVE)
    if pattern & _QUAD_MODE:
        return number & ~3 | pattern >> 2 * (number & 3) & 3
    return number & 32 | (number & 31 & pattern | pattern >> 5 & 31) ^ pattern >> 10 & 31


def _swizzle(instruction: Instruction) -> Run:
    source = swizzled_lanes(instruction)
    data, target = register(instruction, "addr"), register(instruction, "vdst")

    def run(waves: Waves) -> None:
        waves.widen()
        value = waves.full(waves.v(data))[:, source]
        waves.set_v(target, np.where(waves.active[:, source], value, _U32(0)))

    return run
