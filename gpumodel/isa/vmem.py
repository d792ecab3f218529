"""Memory instructions of lanes: GLOBAL, FLAT, SCRATCH, MUBUF and DS.

Source: AMD CDNA3 ISA manual, "vector memory", "flat memory", "data share" (restated); bits 12 and 13 of MUBUF and the
buffer's four dwords: the same, "buffer resource". The number of a work-group or wave chooses its part of LDS or scratch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gpumodel.isa.alike import Access
from gpumodel.isa.atomics import change_of, compare_and_swap
from gpumodel.isa.decode import Instruction
from gpumodel.isa.operands import Source, scalar32
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.waves import M0, WAVE, Array, Waves

Run = Callable[[Waves], None]
Address = Callable[[Waves], Array]  # uint64 for memory, int64 for LDS and scratch; broadcasts to [waves][lanes]

_U32, _U64 = np.uint32, np.uint64
_NO_SADDR = 0x7F
NARROW_LOADS = {  # bytes, sign, into which half (None: all of the register)
    "ubyte": (1, False, None),
    "sbyte": (1, True, None),
    "ushort": (2, False, None),
    "sshort": (2, True, None),
    "ubyte_d16": (1, False, 0),
    "ubyte_d16_hi": (1, False, 1),
    "sbyte_d16": (1, True, 0),
    "sbyte_d16_hi": (1, True, 1),
    "short_d16": (2, False, 0),
    "short_d16_hi": (2, False, 1),
}
NARROW_STORES = {
    "byte": (1, 0),
    "byte_d16_hi": (1, 16),
    "short": (2, 0),
    "short_d16_hi": (2, 16),
}  # bytes, from which bit
_NOTHING = frozenset(("buffer_wbl2", "buffer_inv", "ds_nop"))


class Space(Protocol):
    """Where an access goes. The arrays have one shape."""

    def load(self, waves: Waves, address: Array, chosen: Array | None, dwords: int) -> list[Array]: ...

    def load_small(self, waves: Waves, address: Array, chosen: Array | None, size: int) -> Array: ...

    def store(self, waves: Waves, address: Array, chosen: Array | None, values: list[Array]) -> None: ...

    def store_small(self, waves: Waves, address: Array, chosen: Array | None, value: Array, size: int) -> None: ...

    def atomic(
        self, waves: Waves, address: Array, chosen: Array | None, size: int, change: Callable[[Array, Array], Array]
    ) -> Array: ...


class _Global:
    """The memory of the GPU. `chosen`: which lanes the addresses are of, when they are not all of them."""

    def load(self, waves: Waves, address: Array, chosen: Array | None, dwords: int) -> list[Array]:
        return waves.context.memory.load(address, dwords)

    def load_small(self, waves: Waves, address: Array, chosen: Array | None, size: int) -> Array:
        return waves.context.memory.load_small(address, size)

    def store(self, waves: Waves, address: Array, chosen: Array | None, values: list[Array]) -> None:
        waves.context.memory.store(address, values)

    def store_small(self, waves: Waves, address: Array, chosen: Array | None, value: Array, size: int) -> None:
        waves.context.memory.store_small(address, value, size)

    def atomic(
        self, waves: Waves, address: Array, chosen: Array | None, size: int, change: Callable[[Array, Array], Array]
    ) -> Array:
        return waves.context.memory.atomic(address, size, change)


class _Local:
    """LDS or scratch."""

    def __init__(self, scratch: bool) -> None:
        self._scratch = scratch

    def _memory(self, waves: Waves) -> Any:
        return waves.context.scratch if self._scratch else waves.context.lds

    def _owner(self, waves: Waves, like: Array, chosen: Array | None) -> Array:
        owner = waves.group[:, None]
        if self._scratch:
            owner = waves.number[:, None] * WAVE + np.arange(waves.lanes)
        owner = np.broadcast_to(owner, (waves.count, waves.lanes))
        return owner.reshape(like.shape) if chosen is None else owner[chosen]

    def load(self, waves: Waves, address: Array, chosen: Array | None, dwords: int) -> list[Array]:
        result: list[Array] = self._memory(waves).load(self._owner(waves, address, chosen), address, dwords)
        return result

    def load_small(self, waves: Waves, address: Array, chosen: Array | None, size: int) -> Array:
        result: Array = self._memory(waves).load_small(self._owner(waves, address, chosen), address, size)
        return result

    def store(self, waves: Waves, address: Array, chosen: Array | None, values: list[Array]) -> None:
        self._memory(waves).store(self._owner(waves, address, chosen), address, values)

    def store_small(self, waves: Waves, address: Array, chosen: Array | None, value: Array, size: int) -> None:
        self._memory(waves).store_small(self._owner(waves, address, chosen), address, value, size)

    def atomic(
        self, waves: Waves, address: Array, chosen: Array | None, size: int, change: Callable[[Array, Array], Array]
    ) -> Array:
        old: Array = self._memory(waves).atomic(self._owner(waves, address, chosen), address, size, change)
        return old


GLOBAL, LDS, SCRATCH = _Global(), _Local(False), _Local(True)


# ---- lanes


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes that take part in an access: their addresses in one dimension; `chosen` bool [waves][lanes], None: all."""

    address: Array
    chosen: Array | None

    def of(self, waves: Waves, value: Array) -> Array:
        full = waves.full(value)
        return full.reshape(-1) if self.chosen is None else full[self.chosen]

    def back(self, waves: Waves, value: Array) -> Array:
        """[waves][lanes] again; 0 in the others."""
        if self.chosen is None:
            return value.reshape(waves.count, waves.lanes)
        out = np.zeros((waves.count, waves.lanes), value.dtype)
        out[self.chosen] = value
        return out


def lanes_of(waves: Waves, address: Array, within: Array | None = None) -> Lanes | None:
    """Those that are on (and `within`); None: nobody is."""
    full = waves.full(address)
    if within is None and waves.all_active:
        return Lanes(full.reshape(-1), None)
    chosen = waves.active if within is None else waves.active & within
    if not chosen.any():
        return None
    return Lanes(full[chosen], chosen)


# ---- the three kinds of access


def _load_wide(space: Space, address: Address, place: int, dwords: int, within: Address | None) -> Run:
    def run(waves: Waves) -> None:
        lanes = lanes_of(waves, address(waves), None if within is None else within(waves))
        if lanes is not None:
            values = space.load(waves, lanes.address, lanes.chosen, dwords)
            backs = [lanes.back(waves, value) for value in values]
            for number, value in enumerate(backs):
                waves.set_v(place + number, value)
        elif within is not None:
            _zeros(waves, place, dwords)

    return run


def _zeros(waves: Waves, place: int, dwords: int) -> None:
    """Out of a buffer's range, loads give 0."""
    for number in range(dwords):
        waves.set_v(place + number, np.zeros((1, 1), _U32))


def _load_narrow(space: Space, address: Address, place: int, kind: str, within: Address | None) -> Run:
    size, signed, half = NARROW_LOADS[kind]
    up = 32 - 8 * size

    def run(waves: Waves) -> None:
        lanes = lanes_of(waves, address(waves), None if within is None else within(waves))
        if lanes is None:
            if within is None:
                return
            value = np.zeros((1, 1), _U32)
        else:
            value = lanes.back(waves, space.load_small(waves, lanes.address, lanes.chosen, size))
        if signed:
            value = ((value << _U32(up)).view(np.int32) >> np.int32(up)).view(_U32)
        if half == 0:
            value = waves.v(place) & _U32(0xFFFF0000) | value & _U32(0xFFFF)
        elif half == 1:
            value = waves.v(place) & _U32(0xFFFF) | value << _U32(16)
        waves.set_v(place, value)

    return run


def _load_into_lds(instruction: Instruction, space: Space, address: Address, verb: str, within: Address | None) -> Run:
    """The lanes that are on write their dwords to M0 plus the offset of the instruction, each behind those of the lane before;
    less than a dword is extended to one.

    Source: AMD CDNA3 and CDNA4 ISA manuals, "memory buffer load to LDS" (restated); LLVM, IntrinsicsAMDGPU.td, for the offset
    that counts twice."""
    what = verb.removeprefix("load_")
    match = re.fullmatch(r"dword(?:x([34]))?", what)
    narrow = NARROW_LOADS.get(what)
    if match is None and (narrow is None or narrow[2] is not None):
        raise NotModelled(f"{instruction.name} into LDS")
    dwords = int(match[1] or 1) if match else 1
    offset = instruction.get("offset") if instruction.format == "MUBUF" else signed(instruction.get("offset"), 13)

    def loaded(waves: Waves, lanes: Lanes) -> list[Array]:
        if narrow is None:
            return space.load(waves, lanes.address, lanes.chosen, dwords)
        size, extends, _ = narrow
        value = space.load_small(waves, lanes.address, lanes.chosen, size)
        up = np.uint32(32 - 8 * size)
        return [((value << up).view(np.int32) >> np.int32(up)).view(_U32) if extends else value]

    def run(waves: Waves) -> None:
        to = waves.s(M0).astype(np.int64)[:, None] + offset + 4 * dwords * np.arange(waves.lanes)
        targets = lanes_of(waves, to)
        lanes = lanes_of(waves, address(waves), None if within is None else within(waves))
        if targets is None:
            return
        zero = np.zeros((waves.count, waves.lanes), _U32)
        # guess: what is out of a buffer's range is 0 there, too
        values = [zero] * dwords if lanes is None else [lanes.back(waves, value) for value in loaded(waves, lanes)]
        LDS.store(waves, targets.address, targets.chosen, [targets.of(waves, value) for value in values])

    return run


def _store_wide(space: Space, address: Address, place: int, dwords: int, within: Address | None) -> Run:
    def run(waves: Waves) -> None:
        lanes = lanes_of(waves, address(waves), None if within is None else within(waves))
        if lanes is not None:
            values = [lanes.of(waves, waves.v(place + number)) for number in range(dwords)]
            space.store(waves, lanes.address, lanes.chosen, values)

    return run


def _store_narrow(space: Space, address: Address, place: int, kind: str, within: Address | None) -> Run:
    size, shift = NARROW_STORES[kind]

    def run(waves: Waves) -> None:
        lanes = lanes_of(waves, address(waves), None if within is None else within(waves))
        if lanes is not None:
            value = lanes.of(waves, waves.v(place) >> _U32(shift))
            space.store_small(waves, lanes.address, lanes.chosen, value, size)

    return run


def _wide_value(waves: Waves, lanes: Lanes, place: int, size: int) -> Array:
    value = lanes.of(waves, waves.v(place)).astype(_U64)
    if size == 8:
        value |= lanes.of(waves, waves.v(place + 1)).astype(_U64) << _U64(32)
    return value


def _atomic(
    space: Space,
    address: Address,
    what: str,
    size: int,
    data: int,
    result: int | None,
    *,
    swap: tuple[int, int] | None = None,
    within: Address | None = None,
) -> Run:
    """`data`: first register of the operand; `result`: where what was there goes; `swap`: registers of the new value and of
    the one that is expected."""
    change = change_of(what, size)
    if change is None and swap is None:
        raise NotModelled(f"atomic {what} of {size} bytes")

    def run(waves: Waves) -> None:
        lanes = lanes_of(waves, address(waves), None if within is None else within(waves))
        if lanes is None:
            return
        if swap is not None:
            new, expected = (_wide_value(waves, lanes, place, size) for place in swap)
            old = space.atomic(
                waves,
                lanes.address,
                lanes.chosen,
                size,
                lambda before, which: compare_and_swap(before, new[which], expected[which], size),
            )
        else:
            assert change is not None
            values, compute = _wide_value(waves, lanes, data, size), change
            old = space.atomic(
                waves, lanes.address, lanes.chosen, size, lambda before, which: compute(before, values[which])
            )
        if result is not None:
            back = lanes.back(waves, old)
            waves.set_v(result, back.astype(_U32))
            if size == 8:
                waves.set_v(result + 1, (back >> _U64(32)).astype(_U32))

    return run


# ---- binding


def register(instruction: Instruction, field: str) -> int:
    """The number of a VGPR, of an accumulation register 256 and more."""
    code = instruction.get(field)
    return code & 0xFF | (0x100 if code & 0x200 else 0)


def bind(instruction: Instruction) -> Run:
    """A function that runs it. Raises NotModelled."""
    name = instruction.name
    if name in _NOTHING:
        return lambda waves: None
    if instruction.format == "DS":
        from gpumodel.isa import share

        return share.bind(instruction)
    prefix, _, verb = name.partition("_")
    into_lds = "_lds_" in name or (instruction.format == "MUBUF" and bool(instruction.word >> 16 & 1))
    within: Address | None = None
    space: Space
    if prefix == "global":
        space, address = GLOBAL, _global_address(instruction)
    elif prefix == "flat":
        from gpumodel.isa.flat import Flat

        space, address = Flat(), _global_address(instruction)
    elif prefix == "scratch":
        space, address = SCRATCH, _scratch_address(instruction)
    elif prefix == "buffer":
        space = GLOBAL
        address, within = _buffer_address(instruction, _bytes(verb))
    else:
        raise NotModelled(name)
    if into_lds:
        return _load_into_lds(instruction, space, address, verb.replace("lds_", ""), within)
    return _bind(instruction, space, address, verb, within)


def _bytes(verb: str) -> int:
    """How many bytes an access has; for the range of a buffer."""
    if match := re.search(r"dwordx?(\d?)$", verb):
        return 4 * int(match[1] or 1)
    if "byte" in verb:
        return 1
    if "short" in verb:
        return 2
    return 8 if verb.endswith(("x2", "f64")) else 4


def _bind(instruction: Instruction, space: Space, address: Address, verb: str, within: Address | None) -> Run:
    action, _, what = verb.partition("_")
    data = register(instruction, "vdata")
    target = register(instruction, "vdst" if instruction.has("vdst") else "vdata")
    if match := re.fullmatch(r"dword(?:x(\d))?", what):
        dwords = int(match[1] or 1)
        if action == "load":
            return _load_wide(space, address, target, dwords, within)
        return _store_wide(space, address, data, dwords, within)
    if action == "load" and what in NARROW_LOADS:
        return _load_narrow(space, address, target, what, within)
    if action == "store" and what in NARROW_STORES:
        return _store_narrow(space, address, data, what, within)
    if action != "atomic":
        raise NotModelled(instruction.name)
    size = 8 if what.endswith(("_x2", "_f64")) else 4
    word = what.removesuffix("_x2")
    if not word.startswith("pk_"):
        word = re.sub(r"_f(32|64)$", "_f", word)
    returns = instruction.has("vdst") or (instruction.format == "MUBUF" and bool(instruction.word >> 14 & 1))
    result = target if returns else None
    swap = (data, data + size // 4) if word == "cmpswap" else None
    return _atomic(space, address, word, size, data, result, swap=swap, within=within)


def alike(instruction: Instruction) -> Access | None:
    """A load or store of global memory as one of several."""
    name = instruction.name
    match = re.fullmatch(r"global_(load|store)_(?:dword(?:x(\d))?|([us]?)(byte|short))", name)
    if match is None:
        return None
    store = match[1] == "store"
    size = {"byte": 1, "short": 2}.get(match[4]) or 4 * int(match[2] or 1)
    vaddr = register(instruction, "vaddr")
    wide = not instruction.has("saddr")
    key: tuple[int, ...]
    base: Address
    if wide:
        key, base = (vaddr,), lambda waves: waves.v64(vaddr)
    else:
        saddr = instruction.get("saddr")
        key, base = (vaddr, saddr), lambda waves: waves.s64(saddr)[:, None] + waves.v(vaddr)
    target = register(instruction, "vdata" if store else "vdst")
    registers = frozenset(range(target, target + max(1, size // 4)))
    reads = frozenset((vaddr, vaddr + wide)) | (registers if store else frozenset())
    return Access(
        (store, size, match[3]),
        store,
        size,
        match[3] == "s",
        key,
        base,
        signed(instruction.get("offset"), 13) & (1 << 64) - 1,
        target,
        reads,
        frozenset() if store else registers,
    )


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _global_address(instruction: Instruction) -> Address:
    offset = np.uint64(signed(instruction.get("offset"), 13) & (1 << 64) - 1)
    vaddr = register(instruction, "vaddr")
    if not instruction.has("saddr"):
        return lambda waves: waves.v64(vaddr) + offset
    saddr = instruction.get("saddr")
    return lambda waves: waves.s64(saddr)[:, None] + waves.v(vaddr).astype(_U64) + offset


def _scratch_address(instruction: Instruction) -> Address:
    offset = np.int64(signed(instruction.get("offset"), 13))
    vaddr = register(instruction, "vaddr") if instruction.has("vaddr") else None
    saddr = scalar32(Source(instruction.get("saddr"))) if instruction.has("saddr") else None

    def address(waves: Waves) -> Array:
        value = np.full((1, 1), offset)
        if saddr is not None:
            value = value + saddr(waves).view(np.int32).astype(np.int64)[:, None]
        if vaddr is not None:
            value = value + waves.v(vaddr).view(np.int32).astype(np.int64)
        return value

    return address


def _buffer_address(instruction: Instruction, size: int) -> tuple[Address, Address]:
    """The address, and which lanes are within the range of the buffer."""
    name = instruction.name
    offen, idxen = instruction.word >> 12 & 1, instruction.word >> 13 & 1
    resource, vaddr = instruction.get("srsrc"), register(instruction, "vaddr")
    soffset = scalar32(Source(instruction.get("soffset")))
    immediate = np.uint64(instruction.get("offset"))

    def parts(waves: Waves) -> tuple[Array, Array, Array, Array]:
        """Base, offset, index, stride; uint64."""
        low, high, _, last = (waves.s(resource + number) for number in range(4))
        if ((high >> _U32(31)) & _U32(1)).any() or (last >> _U32(23) & _U32(1)).any():
            raise NotModelled(f"{name} with a buffer that is swizzled, or adds the lane")
        base = (low.astype(_U64) | (high & _U32(0xFFFF)).astype(_U64) << _U64(32))[:, None]
        stride = (high >> _U32(16) & _U32(0x3FFF)).astype(_U64)[:, None]
        zero = np.zeros((1, 1), _U64)
        index = waves.v(vaddr).astype(_U64) if idxen else zero
        offset = waves.v(vaddr + idxen).astype(_U64) if offen else zero
        return base, offset + immediate, index, stride

    def address(waves: Waves) -> Array:
        base, offset, index, stride = parts(waves)
        return base + index * stride + offset + soffset(waves).astype(_U64)[:, None]

    def within(waves: Waves) -> Array:
        _, offset, index, stride = parts(waves)
        records = waves.s(resource + 2).astype(_U64)[:, None]
        raw = index * stride + offset + _U64(size) + soffset(waves).astype(_U64)[:, None] <= records
        inside = np.where(stride == 0, raw, (index < records) & (offset + _U64(size) <= stride))
        return np.broadcast_to(inside, (waves.count, waves.lanes))

    return address, within


__all__ = ["GLOBAL", "LDS", "SCRATCH", "WAVE", "_atomic", "_load_narrow", "_load_wide", "_store_narrow", "_store_wide"]
