"""Straight runs of instructions that several at a time are one NumPy operation, for stacks of few waves.

A run of vector arithmetic is put into groups of the same operation, as far as none needs what another of its group writes;
nothing in it can fail, so that nobody sees the order. Loads, and stores, that follow each other are one gather, or scatter,
if all lanes are on and memory holds all of their pages already: then they cannot fail either. Else they are done one by one.
Results are bit for bit those of one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from gpumodel.isa.alike import Access, Lanewise, Matrix, VgprOrFetch
from gpumodel.isa.memory import Offsets
from gpumodel.isa.operands import DTYPES, bits_of
from gpumodel.isa.waves import WAVE, Array, Waves

if TYPE_CHECKING:
    from gpumodel.isa.program import Step

MOST_LANES = 1 << 12  # of a stack: with more, arithmetic outweighs the calls
MOST_STEPS = 256  # of a group of memory accesses
_U32 = np.uint32
Run = Callable[[Waves], None]


@dataclass(frozen=True, slots=True)
class Group:
    """Instructions up to the address `end`. `run(waves)` does the first of them and tells how many parts are done; `stops`: by
    that number, the address behind them and how many instructions that were. 0: none could be."""

    end: int
    stops: tuple[tuple[int, int], ...]
    run: Callable[[Waves], int]


def group_of(pc: int, step_at: Callable[[int], Step | None]) -> Group | None:
    """What can be done together from this address on; None: fewer than two. `step_at`: None where none is to be had."""
    first = step_at(pc)
    if first is None or first.alike is None:
        return None
    if isinstance(first.alike, Access):
        return _accesses(pc, step_at)
    steps, end = [], pc
    at = pc
    while (step := step_at(at)) is not None and (step.idle or isinstance(step.alike, Lanewise | Matrix)):
        at += step.size
        steps.append(step)
        if not step.idle:
            end = at
    while steps[-1].idle:
        steps.pop()
    busy = [step for step in steps if not step.idle]
    if len(busy) < 2:
        return None
    runs = _scheduled(busy)
    wide = any(isinstance(step.alike, Matrix) for step in busy)

    def run(waves: Waves) -> int:
        if wide and waves.lanes != WAVE:
            return 0
        for one in runs:
            one(waves)
        return 1

    return Group(end, ((pc, 0), (end, len(steps))), run)


def _scheduled(steps: Sequence[Step]) -> list[Run]:
    """In groups that are alike and need nothing of each other: next always the operation of which the largest part of what is
    left can be done."""
    ones = [step.alike for step in steps]
    needs, after = _order([one for one in ones if isinstance(one, Lanewise | Matrix)])
    left = dict.fromkeys(range(len(steps)))
    runs: list[Run] = []
    while left:
        ready: dict[tuple[object, ...], list[int]] = {}
        total: dict[tuple[object, ...], int] = {}
        for number in left:
            one = ones[number]
            assert one is not None
            group = ready.setdefault(one.key, [])
            total[one.key] = total.get(one.key, 0) + 1
            if needs[number].isdisjoint(left) and all(other in group for other in after[number] if other in left):
                group.append(number)
        best = max(ready, key=lambda key: (len(ready[key]) / total[key], len(ready[key])))
        runs.append(_together([steps[number] for number in ready[best]]))
        for number in ready[best]:
            del left[number]
    return runs


def _order(ones: list[Lanewise | Matrix]) -> tuple[list[set[int]], list[set[int]]]:
    """Of each, those before it whose results it reads; and those that must not come after it, as they read or write what it
    writes: in one group they may be, where all is read before anything is written, and written in order."""
    needs: list[set[int]] = []
    after: list[set[int]] = []
    writer: dict[int, int] = {}
    readers: dict[int, set[int]] = {}
    for number, one in enumerate(ones):
        needs.append({writer[register] for register in one.reads if register in writer})
        before = {writer[register] for register in one.writes if register in writer}
        for register in one.writes:
            before |= readers.pop(register, set())
        after.append(before - {number})
        writer.update(dict.fromkeys(one.writes, number))
        for register in one.reads:
            readers.setdefault(register, set()).add(number)
    return needs, after


def _together(steps: Sequence[Step]) -> Run:
    alike = [step.alike for step in steps]
    if len(steps) == 1:
        assert steps[0].run is not None
        return steps[0].run
    lanewise = [one for one in alike if isinstance(one, Lanewise)]
    return _lanewise(lanewise) if lanewise else _matrices([one for one in alike if isinstance(one, Matrix)])


# ---- arithmetic


def _stacked(arrays: Sequence[Array]) -> Array:
    """[arrays][waves][lanes], where waves and lanes may be 1."""
    rows, lanes = arrays[0].shape
    try:
        together = np.concatenate(arrays)
        if len(together) == len(arrays) * rows:  # rows are 1 or as many as there are waves, so all are alike
            return together.reshape(len(arrays), rows, lanes)
    except ValueError:
        pass  # some have one lane
    out = np.empty((len(arrays), *np.broadcast_shapes(*{array.shape for array in arrays})), arrays[0].dtype)
    for place, array in enumerate(arrays):
        out[place] = array
    return out


def _source(column: list[VgprOrFetch], kind: str) -> Callable[[Waves], Array]:
    """A source of all of them."""
    first = column[0]
    if isinstance(first, int):
        numbers = [number for number in column if isinstance(number, int)]
        if len(numbers) == len(column):
            return _registers(numbers, kind)
    fetches = [_fetch(one, kind) for one in column]
    different = list(dict.fromkeys(fetches))
    if len(different) == 1:
        return lambda waves: different[0](waves)[None]
    if len(different) == len(fetches):
        return lambda waves: _stacked([fetch(waves) for fetch in fetches])
    which = np.array([different.index(fetch) for fetch in fetches])
    return lambda waves: _stacked([fetch(waves) for fetch in different])[which]


def _typed(words: Array, kind: str) -> Array:
    dtype = np.dtype(DTYPES[kind])
    return words.astype(np.uint16).view(dtype) if dtype.itemsize == 2 else words.view(dtype)


def _fetch(one: VgprOrFetch, kind: str) -> Callable[[Waves], Array]:
    if not isinstance(one, int):
        return one
    number = one
    return lambda waves: _typed(waves.v(number), kind)


def _registers(numbers: list[int], kind: str) -> Callable[[Waves], Array]:
    if len(set(numbers)) == 1:
        number = numbers[0]
        return lambda waves: _typed(waves.v(number), kind)[None]

    wanted = itemgetter(*numbers)
    return lambda waves: _typed(_stacked(waves.several(wanted)), kind)


def _lanewise(alike: list[Lanewise]) -> Run:
    first = alike[0]
    parts = [part for one in alike for part in one.parts]
    places = [place for place, _ in parts]
    compute, narrow = first.compute, bits_of(first.result) == 16
    gets = [_source([sources[number] for _, sources in parts], kind) for number, kind in enumerate(first.kinds)]

    def run(waves: Waves) -> None:
        value = compute(*[get(waves) for get in gets])
        words = value.view(np.uint16).astype(_U32) if narrow else value.view(_U32)
        if len(words) == 1:
            words = np.broadcast_to(words, (len(places), *words.shape[1:]))
        waves.set_several(places, words)

    return run


def _matrices(alike: list[Matrix]) -> Run:
    first = alike[0]
    compute, count, many = first.run, first.count, len(alike)
    columns = [[one.sources[number] for one in alike] for number in range(3)]

    def operand(waves: Waves, column: list[tuple[int | None, int]]) -> Array:
        """[registers][instructions * waves][64]"""
        each = column[0][1]
        out = np.empty((each, many, waves.count, WAVE), _U32)
        for place, (register, _) in enumerate(column):
            for number in range(each):
                out[number, place] = 0 if register is None else waves.v(register + number)
        return out.reshape(each, many * waves.count, WAVE)

    def run(waves: Waves) -> None:
        result = compute(*[operand(waves, column) for column in columns])
        parts = result.reshape(count, many, waves.count, WAVE)
        for place, one in enumerate(alike):
            for number in range(count):
                waves.put_v(one.place + number, parts[number, place])

    return run


# ---- memory


def _accesses(pc: int, step_at: Callable[[int], Step | None]) -> Group | None:
    first = step_at(pc)
    assert first is not None and isinstance(first.alike, Access)
    found: list[Access] = []
    written: set[int] = set()
    at, inside = pc, 0
    stops = [(pc, 0)]
    while (step := step_at(at)) is not None and len(found) < MOST_STEPS:
        one = step.alike
        at += step.size
        inside += 1
        if step.idle:
            continue
        if not isinstance(one, Access) or one.key != first.alike.key or one.reads & written:
            break
        found.append(one)
        written |= one.writes
        stops.append((at, inside))
    if len(found) < 2:
        return None
    return Group(stops[-1][0], tuple(stops), _stores(found) if first.alike.store else _loads(found))


def _addresses(found: list[Access]) -> tuple[Callable[[Waves], Array], Offsets]:
    """The different bases, uint64 [bases][waves][lanes], and what is added to them."""
    bases = {one.base_key: one.base for one in found}
    gets, keys = list(bases.values()), list(bases)
    offsets = Offsets([one.offset for one in found], [keys.index(one.base_key) for one in found], found[0].size)
    if len(gets) == 1:
        return (lambda waves: waves.full(gets[0](waves))[None]), offsets
    return (lambda waves: _stacked([waves.full(get(waves)) for get in gets])), offsets


def _loads(found: list[Access]) -> Callable[[Waves], int]:
    base, offsets = _addresses(found)
    dwords = max(1, found[0].size // 4)
    places = [one.register + number for one in found for number in range(dwords)]
    signed, up = found[0].signed, 32 - 8 * found[0].size

    def run(waves: Waves) -> int:
        if not waves.all_active:
            return 0
        values = waves.context.memory.load_at_hand(base(waves), offsets)
        if signed:
            values = ((values << _U32(up)).view(np.int32) >> np.int32(up)).view(_U32)
        waves.set_several(places[: len(values)], values)
        return len(values) // dwords

    return run


def _stores(found: list[Access]) -> Callable[[Waves], int]:
    base, offsets = _addresses(found)
    dwords = max(1, found[0].size // 4)
    wanted = itemgetter(*(one.register + number for one in found for number in range(dwords)))

    def run(waves: Waves) -> int:
        if not waves.all_active:
            return 0
        return waves.context.memory.store_at_hand(
            base(waves), offsets, lambda: [waves.full(value) for value in waves.several(wanted)]
        )

    return run
