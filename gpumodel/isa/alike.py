"""Instructions that do the same to other registers, described so that several become one NumPy operation (together.py).

With a few waves the cost of an instruction is that of calling NumPy, not of its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpumodel.isa.operands import Fetch
from gpumodel.isa.waves import Array

VgprOrFetch = int | Fetch


@dataclass(frozen=True, slots=True)
class Lanewise:
    """A vector instruction that writes whole VGPRs and nothing else. `parts`: of each register that it writes, its number and
    the sources; of a packed instruction there are two. Those with the same `key` differ in registers alone.

    `reads`, `writes`: VGPRs."""

    key: tuple[Any, ...]
    compute: Callable[..., Array]
    kinds: tuple[str, ...]
    result: str
    parts: tuple[tuple[int, tuple[VgprOrFetch, ...]], ...]
    reads: frozenset[int]
    writes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix instruction on VGPRs: `run(a, b, c)`, uint32[registers][waves][64] each. `sources`: first register and how
    many; None for the first: `zero`s."""

    key: tuple[Any, ...]
    run: Callable[..., Array]
    sources: tuple[tuple[int | None, int], ...]
    place: int
    count: int
    reads: frozenset[int]
    writes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Access:
    """A load or store of global memory, of all bits of its registers: `base(waves)` + `offset` is the address, uint64.

    `base_key` names the registers of the address. `size`: bytes of each lane, 1, 2 or whole dwords; `signed`: extended so.
    `registers`: the first of those that are loaded or stored."""

    key: tuple[Any, ...]
    store: bool
    size: int
    signed: bool
    base_key: tuple[int, ...]
    base: Fetch
    offset: int
    register: int
    reads: frozenset[int]
    writes: frozenset[int]


Alike = Lanewise | Matrix | Access
