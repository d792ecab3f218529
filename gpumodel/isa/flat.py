"""FLAT accesses: each lane goes where its address points, to memory, to LDS or to its scratch.

Source: LLVM, "User Guide for AMDGPU Backend", address spaces (the aperture is the upper half of a generic address, the lower
32 bits are the address in LDS or scratch); the apertures: SH_MEM_BASES. Atomics of scratch stop the wave: what
hardware does then is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gpumodel.isa.stop import NotModelled
from gpumodel.isa.vmem import GLOBAL, LDS, SCRATCH, Space
from gpumodel.isa.waves import Array, Waves

_U32, _U64 = np.uint32, np.uint64


class Flat:
    """A Space. Addresses uint64, in one dimension."""

    def load(self, waves: Waves, address: Array, chosen: Array | None, dwords: int) -> list[Array]:
        if not _elsewhere(waves, address):
            return GLOBAL.load(waves, address, chosen, dwords)
        out = [np.zeros(len(address), _U32) for _ in range(dwords)]
        for space, mask, part, lanes in _parts(waves, address, chosen):
            for whole, value in zip(out, space.load(waves, part, lanes, dwords), strict=True):
                whole[mask] = value
        return out

    def load_small(self, waves: Waves, address: Array, chosen: Array | None, size: int) -> Array:
        if not _elsewhere(waves, address):
            return GLOBAL.load_small(waves, address, chosen, size)
        out = np.zeros(len(address), _U32)
        for space, mask, part, lanes in _parts(waves, address, chosen):
            out[mask] = space.load_small(waves, part, lanes, size)
        return out

    def store(self, waves: Waves, address: Array, chosen: Array | None, values: list[Array]) -> None:
        if not _elsewhere(waves, address):
            return GLOBAL.store(waves, address, chosen, values)
        for space, mask, part, lanes in _parts(waves, address, chosen):
            space.store(waves, part, lanes, [value[mask] for value in values])
        return None

    def store_small(self, waves: Waves, address: Array, chosen: Array | None, value: Array, size: int) -> None:
        if not _elsewhere(waves, address):
            return GLOBAL.store_small(waves, address, chosen, value, size)
        for space, mask, part, lanes in _parts(waves, address, chosen):
            space.store_small(waves, part, lanes, value[mask], size)
        return None

    def atomic(
        self, waves: Waves, address: Array, chosen: Array | None, size: int, change: Callable[[Array, Array], Array]
    ) -> Array:
        if not _elsewhere(waves, address):
            return GLOBAL.atomic(waves, address, chosen, size, change)
        out = np.zeros(len(address), _U64)
        for space, mask, part, lanes in _parts(waves, address, chosen):
            if space is SCRATCH:
                raise NotModelled("a flat atomic of scratch")
            out[mask] = space.atomic(waves, part, lanes, size, _of_part(change, np.flatnonzero(mask)))
        return out


def _of_part(change: Callable[[Array, Array], Array], index: Array) -> Callable[[Array, Array], Array]:
    return lambda before, which: change(before, index[which])


def _elsewhere(waves: Waves, address: Array) -> bool:
    """Whether a lane means LDS or scratch."""
    tops = address >> _U64(48)
    return any(bool(top) and bool((tops == _U64(top)).any()) for top in waves.context.apertures)


def _parts(waves: Waves, address: Array, chosen: Array | None) -> Iterator[tuple[Space, Array, Array, Array]]:
    """Each place with lanes: which of the addresses, these as the place counts them, and which lanes they are of."""
    tops = address >> _U64(48)
    left = np.ones(len(address), bool)
    for space, top in zip((LDS, SCRATCH), waves.context.apertures, strict=True):
        mask = left & (tops == _U64(top)) if top else np.zeros(len(address), bool)
        left &= ~mask
        if mask.any():
            if (address[mask] >> _U64(32) & _U64(0xFFFF)).any():
                raise NotModelled(f"a flat address beyond the first 4 GiB of the aperture {top:#x}")
            yield space, mask, (address[mask] & _U64(0xFFFFFFFF)).astype(np.int64), _lanes(waves, chosen, mask)
    if left.any():
        yield GLOBAL, left, address[left], _lanes(waves, chosen, left)


def _lanes(waves: Waves, chosen: Array | None, mask: Array) -> Array:
    out = np.zeros((waves.count, waves.lanes), bool)
    out[np.ones_like(out) if chosen is None else chosen] = mask
    return out
