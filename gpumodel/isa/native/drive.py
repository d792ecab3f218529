"""Waves that run in compiled code, each by itself until it stops; then what stopped it is done for all that stand there.

The interpreter's steps work on the same state (FlatWaves), so that a wave goes to and fro. Where waves stand at different
instructions of the interpreter, those with the lowest address go first, as in run.py."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpumodel.isa.memory import PAGE
from gpumodel.isa.native import layout
from gpumodel.isa.native.ir import WIDTH
from gpumodel.isa.native.layout import ROW, WAVE_BYTES, Reason, Slots
from gpumodel.isa.program import Flow, Program, Step
from gpumodel.isa.run import CONDITIONS, Endless, Halted, save_pc
from gpumodel.isa.waves import EXEC, MODE_DEFAULT, SGPRS, WAVE, Array, Waves, unpack

if TYPE_CHECKING:
    from gpumodel.isa.context import Context
    from gpumodel.isa.memory import WaveMemory

MOST_STEPS = 1 << 26  # of one wave: seconds
SLICE = 1 << 14  # jumps backwards before others get a turn
LOOKS = 64  # jumps after which a loop that changes nothing has come back to where it was
Entry = Callable[[int, int, int, int, int, int], None]


class State:
    """Of some waves: `words` [waves][WAVE_BYTES / 4], `registers` [waves][rows][64], uint32."""

    def __init__(self, parts: Sequence[Waves], slots: Slots, waiting: Sequence[bool] = ()) -> None:
        """`waiting`: which of the parts stand at a barrier."""
        self.slots, self.context = slots, parts[0].context
        self.count = sum(waves.count for waves in parts)
        self.group = np.concatenate([waves.group for waves in parts])
        self.number = np.concatenate([waves.number for waves in parts])
        self.words = _aligned((self.count, WAVE_BYTES // 4))
        self.registers = _aligned((self.count, slots.count, WAVE))
        self.long = self.words.view(np.uint64)
        first = 0
        for waves, waits in zip(parts, waiting or [False] * len(parts), strict=True):
            self._take(slice(first, first + waves.count), waves, waits)
            first += waves.count
        lds = self.context.lds
        self.long[:, layout.LDS // 8] = lds.address + self.group.astype(np.uint64) * np.uint64(lds.size)
        self.memory = _aligned((layout.MEMORY_BYTES // 8,), np.uint64)
        self.do_lanes(max(waves.lanes for waves in parts))
        self.memory[layout.LDS_BYTES // 8] = lds.size

    def _take(self, rows: slice, waves: Waves, waits: bool) -> None:
        for index, value in waves.scalars():
            self.words[rows, index] = value
        self.words[rows, layout.SCC // 4] = waves.scc
        self.words[rows, layout.REASON // 4] = Reason.BARRIER if waits else 0
        self.long[rows, layout.PC // 8] = waves.pc
        for index, value in waves.vectors():
            if self.slots.has(index):
                self.registers[rows, self.slots.of(index), : waves.lanes] = value

    def do_lanes(self, lanes: int) -> None:
        """So many, and what is missing to a multiple of WIDTH; others are off."""
        chunks = -(-lanes // WIDTH)
        self.memory[layout.CHUNKS // 8] = chunks
        self.memory[layout.LANEMASK // 8] = (1 << WIDTH * chunks) - 1

    def column(self, place: int) -> Array:
        """A word of 64 bits of all waves."""
        result: Array = self.long[:, place // 8]
        return result

    @property
    def reasons(self) -> Array:
        result: Array = self.words[:, layout.REASON // 4]
        return result


def _aligned(shape: tuple[int, ...], kind: type = np.uint32) -> Array:
    """Zeros at a multiple of 64 bytes."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    data = np.zeros(size + 64, np.uint8)
    start = -data.ctypes.data % 64
    return data[start : start + size].view(kind).reshape(shape)


class FlatWaves(Waves):
    """Some waves of a State, for single steps of the interpreter (not for groups, together.py): registers are read and written
    where they are."""

    def __init__(self, state: State, rows: Array) -> None:
        self._state, self._rows = state, rows
        self.context = state.context
        self.count, self.lanes = len(rows), WAVE
        self.group, self.number = state.group[rows], state.number[rows]
        self.pc = int(state.column(layout.PC)[rows[0]])
        self.mode = MODE_DEFAULT
        self.taking_part = None
        self._full: bool | None = None
        self._active: Array | None = None

    @property
    def scc(self) -> Array:
        result: Array = self._state.words[self._rows, layout.SCC // 4] != 0
        return result

    @scc.setter
    def scc(self, value: Array) -> None:
        self._state.words[self._rows, layout.SCC // 4] = value

    def s(self, index: int) -> Array:
        result: Array = self._state.words[self._rows, index]
        return result

    def set_s(self, index: int, value: Array) -> None:
        if index >= SGPRS:
            raise IndexError(index)
        self._state.words[self._rows, index] = value
        if index & ~1 == EXEC:
            self._full = self._active = None
            beyond = np.uint64(~int(self._state.memory[layout.LANEMASK // 8]) & (1 << 64) - 1)
            if (self.s64(EXEC) & beyond).any():
                self._state.do_lanes(WAVE)

    def mask(self, pair: int) -> Array:
        if pair == EXEC:
            if self._active is None:
                self._active = unpack(self.s(EXEC), self.s(EXEC + 1), self.count, WAVE)
            return self._active
        return unpack(self.s(pair), self.s(pair + 1), self.count, WAVE)

    def known_mask(self, pair: int) -> Array | None:
        return self.mask(pair)

    def set_mask(self, pair: int, mask: Array) -> None:
        packed = np.packbits(np.ascontiguousarray(self.full(mask)), axis=1, bitorder="little").view(np.uint32)
        self.set_s(pair, packed[:, 0])
        self.set_s(pair + 1, packed[:, 1])

    @property
    def all_active(self) -> bool:
        if self._full is None:
            self._full = bool(self.mask(EXEC).all())
        return self._full

    def v(self, index: int) -> Array:
        """One that the kernel does not have holds 0."""
        if not self._state.slots.has(index):
            return np.zeros((1, 1), np.uint32)
        result: Array = self._state.registers[self._rows, self._state.slots.of(index)]
        return result

    def set_v(self, index: int, value: Array) -> None:
        part = self.taking_part
        if part is None and not self.all_active:
            part = self.active
        self.put_v(index, value if part is None else np.where(part, value, self.v(index)))

    def put_v(self, index: int, value: Array) -> None:
        self._state.registers[self._rows, self._state.slots.of(index)] = value

    def widen(self) -> None:
        """They have all 64 lanes."""


class Driver:
    """Runs the waves of a State. `entry`: the compiled `run`; `compiled`: the instructions that it knows."""

    def __init__(self, entry: Entry, compiled: frozenset[int], program: Program, state: State) -> None:
        self._entry, self._compiled, self._program, self._state = entry, compiled, program, state
        self._windows: list[tuple[int, bool]] = []
        self._alive = np.ones(state.count, bool)
        self._turns = np.zeros(state.count, np.int64)
        self._spinning: dict[int, int] = {}  # waves that wait for others: what had been written then

    def run(self) -> int:
        """To the end of all. Gives the wave instructions that were run. Raises Endless, Halted."""
        state = self._state
        context = state.context
        ready = np.flatnonzero(state.reasons != Reason.BARRIER)
        state.column(layout.FUEL)[:] = SLICE
        while True:
            self._go(ready, context)
            reasons = state.reasons
            self._alive &= reasons != Reason.END
            waiting = np.flatnonzero(self._alive & (reasons == Reason.STEP))
            if len(waiting):
                ready = self._step(waiting)
                continue
            tired = np.flatnonzero(self._alive & (reasons == Reason.FUEL))
            waits = [row for row, stores in self._spinning.items() if stores == context.stores]
            tired = tired[~np.isin(tired, waits)] if waits else tired
            if len(tired):
                ready = self._tired(tired)
                continue
            if not self._alive.any():
                break
            ready = self._released()
        return int(state.column(layout.STEPS).sum())

    def _go(self, rows: Array, context: Context) -> None:
        state = self._state
        memory = context.memory
        self._table(memory)
        numbers = np.ascontiguousarray(rows, np.int64)
        before = int(state.memory[layout.STORES // 8])
        self._entry(
            state.words.ctypes.data,
            state.registers.ctypes.data,
            state.memory.ctypes.data,
            numbers.ctypes.data,
            len(numbers),
            state.slots.count * ROW,
        )
        memory.stores += int(state.memory[layout.STORES // 8]) - before

    def _table(self, memory: WaveMemory) -> None:
        windows = memory.windows
        known = [(number, window.copied) for number, window in windows.items()]
        if known == self._windows:
            return
        self._windows = known
        table = self._state.memory[layout.TABLE // 8 :].reshape(layout.WINDOWS, layout.ENTRY_BYTES // 8)
        for number, window in windows.items():
            table[number % layout.WINDOWS] = (
                number + 1,
                window.address,
                window.dirty.ctypes.data if window.copied else 0,
                window.state.ctypes.data,
            )

    def _step(self, waiting: Array) -> Array:
        """One instruction, for those that stand at the lowest address."""
        state = self._state
        places = state.column(layout.PC)
        pc = int(places[waiting].min())
        rows = waiting[places[waiting] == np.uint64(pc)]
        waves: FlatWaves | None = None
        try:
            step = self._program.step(pc)
            if self._brought(step.instruction.name, rows):
                places[rows] |= np.uint64(layout.AGAIN)
                return rows
            waves = FlatWaves(state, rows)
            if pc not in self._compiled:
                self._count(waves, rows)
            with np.errstate(all="ignore"):
                if step.flow is not Flow.NEXT:
                    return self._flow(waves, step, rows)
                if step.run is not None:
                    step.run(waves)
                elif step.instruction.name == "s_getpc_b64":
                    save_pc(waves, step, pc)
        except Endless:
            raise
        except Exception as cause:
            raise Halted(waves or FlatWaves(state, rows), cause) from cause
        places[rows] = pc + step.size
        return rows

    def _count(self, waves: FlatWaves, rows: Array) -> None:
        """Of an instruction that was not there when the kernel was compiled."""
        steps = self._state.column(layout.STEPS)
        steps[rows] += np.uint64(1)
        if int(steps[rows].max()) > MOST_STEPS:
            raise Endless(waves, "more steps than a model does")

    def _flow(self, waves: FlatWaves, step: Step, rows: Array) -> Array:
        """The same, if it leads elsewhere."""
        pc, following = waves.pc, waves.pc + step.size
        places, name = self._state.column(layout.PC), step.instruction.name
        places[rows] = following
        if step.flow in (Flow.END, Flow.BARRIER):
            self._state.reasons[rows] = Reason.END if step.flow is Flow.END else Reason.BARRIER
            return rows[:0]
        if step.flow is Flow.TO:
            targets = waves.s64(step.instruction.get("src0"))
        else:
            raw = step.instruction.get("simm16")
            taken = CONDITIONS[name](waves) if step.flow is Flow.IF else True
            targets = np.where(taken, following + 4 * (raw - 0x10000 if raw & 0x8000 else raw), following)
        if name in ("s_call_b64", "s_swappc_b64"):
            save_pc(waves, step, pc)
        places[rows] = targets
        return rows

    def _brought(self, name: str, rows: Array) -> bool:
        """Whether all that kept them is that pages were not there, and now they are."""
        missed = self._state.column(layout.MISSED)[rows]
        if not missed.all():
            return False
        memory, write = self._state.context.memory, "_store_" in name
        pages = {address // PAGE: address for address in missed.tolist()}
        if "_atomic_" in name:  # they read first: where nothing is, that is what fails
            for address in pages.values():
                memory.bring(address, False)
        brought = [memory.bring(address, write) for address in pages.values()]
        return all(brought)

    # ---- who waits

    def _tired(self, rows: Array) -> Array:
        """They have jumped back as often as they may: who goes on now. Those that come back to the same registers with nothing
        written in between wait for others; that is looked at the first, second, fourth ... time."""
        state = self._state
        steps = state.column(layout.STEPS)
        worst = rows[int(steps[rows].argmax())]
        if steps[worst] > MOST_STEPS:
            raise Endless(FlatWaves(state, np.array([worst])), "more steps than a model does")
        self._turns[rows] += 1
        turns = self._turns[rows]
        for row in rows[turns & turns - 1 == 0].tolist():
            if self._spins(row):
                self._spinning[row] = state.context.stores
        waits = [row for row, stores in self._spinning.items() if stores == state.context.stores]
        going = rows[(state.reasons[rows] == Reason.FUEL) & ~np.isin(rows, waits)]
        fuel = state.column(layout.FUEL)
        fuel[going] = max(LOOKS, 16 * SLICE // max(1, len(going)))
        fuel[going[:1]] = SLICE
        return going

    def _spins(self, row: int) -> bool:
        state = self._state
        context = state.context
        one = np.array([row])
        before = state.words[row].copy(), state.registers[row].copy(), context.stores
        for _ in range(LOOKS):
            state.column(layout.FUEL)[row] = 1
            self._go(one, context)
            if state.reasons[row] != Reason.FUEL or context.stores != before[2]:
                return False
            if (state.words[row, : layout.REASON // 4] == before[0][: layout.REASON // 4]).all() and np.array_equal(
                state.registers[row], before[1]
            ):
                return True
        return False

    def _released(self) -> Array:
        """Nobody can run: groups at the barrier go on, unless some of theirs wait for something else."""
        state = self._state
        alive = np.flatnonzero(self._alive)
        at_barrier = state.reasons[alive] == Reason.BARRIER
        group = state.group[alive]
        ready = alive[at_barrier & ~np.isin(group, group[~at_barrier])]
        if not len(ready):
            why = "the waves wait for what nobody writes" if at_barrier.any() else "a loop that changes nothing"
            raise Endless(FlatWaves(state, alive[:1]), why)
        state.column(layout.FUEL)[ready] = SLICE
        return ready


def entry_of(address: int) -> Entry:
    """The compiled `run` as a function of Python; other threads go on meanwhile."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function: Entry = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, pointer, number, number)(address)
    return function
