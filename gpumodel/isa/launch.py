"""A dispatch: its work-groups as stacked waves with the registers that the packet processor gives them.

Source: LLVM AMDGPU usage, "initial kernel execution state" of gfx942 and gfx950 (packed work-item ids, order of system SGPRs,
architected scratch); COMPUTE_PGM_RSRC2 in gc_9_4_3_sh_mask.h. Work-groups that run at the same time on hardware run in
batches here, the first ones first; each runs once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from gpumodel.dispatch import Outcome, WaveState
from gpumodel.isa.context import Context
from gpumodel.isa.decode import UnknownEncoding, decode
from gpumodel.isa.local import LDS_GRANULE, LocalMemory
from gpumodel.isa.memory import TooMuch, WaveMemory
from gpumodel.isa.native import engine
from gpumodel.isa.program import Program
from gpumodel.isa.run import MOST_STEPS, Endless, Halted, OutOfSteps, Runner
from gpumodel.isa.stop import Stop, Violation
from gpumodel.isa.waves import EXEC, M0, VCC, WAVE, Array, Waves

if TYPE_CHECKING:
    from gpumodel.dispatch import Dispatch, Size3

LANES_TOGETHER = 1 << 16  # lanes of a batch: more fall out of the processor's cache
COMPILED_TOGETHER = 1 << 13  # of compiled code: the registers of one wave after the other stay in the cache
STEPS_AT_ONCE = 1 << 13  # of the interpreter, before it is asked whether to go on by itself
LOCAL_BYTES = 256 << 20  # LDS and scratch of a batch, at most, unless one group has more
SCRATCH_GRANULE = 16  # bytes a lane: waves get scratch in kilobytes
USER_SGPRS_SHIFT, TGID_X, TG_SIZE = 1, 7, 10  # COMPUTE_PGM_RSRC2
VGPRS_SHOWN, SGPRS_SHOWN = 64, 108


@dataclass(frozen=True, slots=True)
class Batch:
    """Groups of one size: their ids [groups][3]."""

    ids: Array
    size: Size3


def run(dispatch: Dispatch, target: str, record: Callable[[str], None]) -> None:
    """All waves to their end, or until one cannot go on: the outcome says which. What memory raises passes through."""
    memory = WaveMemory(dispatch.memory)
    program = Program(target, memory)
    try:
        kernel = engine.at_hand(program, dispatch.program)
        if kernel is None:
            _interpreted(dispatch, program, memory)
        else:
            for batch in batches(dispatch, COMPILED_TOGETHER):
                kernel.run(program, [waves_of(dispatch, batch, memory)])
    except Endless as endless:
        dispatch.outcome = Outcome.RUNNING
        dispatch.state = state_of(endless.waves, program, str(endless))
    except Halted as halted:
        dispatch.state = state_of(halted.waves, program, str(halted.cause))
        if not isinstance(halted.cause, Stop | TooMuch):
            raise halted.cause from None
        violation = isinstance(halted.cause, Violation)
        dispatch.outcome = Outcome.FAULTED if violation else Outcome.ILLEGAL
        record(f"program at {dispatch.program:#x} of XCC {dispatch.xcc}: {halted.cause}")
    finally:
        memory.flush()


def _interpreted(dispatch: Dispatch, program: Program, memory: WaveMemory) -> None:
    """Until that has taken so long that the kernel is compiled: then it goes on so."""
    left = MOST_STEPS
    for batch in batches(dispatch):
        waves = waves_of(dispatch, batch, memory)
        if (kernel := engine.at_hand(program, dispatch.program)) is None:
            left = _interpreted_batch(dispatch, program, waves, left)
        else:
            kernel.run(program, [waves])


def _interpreted_batch(dispatch: Dispatch, program: Program, waves: Waves, left: int) -> int:
    """Gives the steps that are left."""
    lanes = waves.count * waves.lanes
    runner = Runner(program, min(left, STEPS_AT_ONCE))
    go_on = partial(runner.run, waves)
    while True:
        given = runner.left
        try:
            go_on()
        except OutOfSteps:
            left -= given
            engine.spent(program, dispatch.program, given, lanes)
            if (kernel := engine.at_hand(program, dispatch.program)) is not None:
                kernel.run(program, *zip(*runner.parts, strict=True))
                return left
            if left <= 0:
                raise
            go_on = partial(runner.resume, min(left, STEPS_AT_ONCE))
        except Endless as endless:
            engine.never(program, dispatch.program, str(endless))
            raise
        else:
            engine.spent(program, dispatch.program, given - runner.left, lanes)
            return left - (given - runner.left)


def batches(dispatch: Dispatch, together: int = LANES_TOGETHER) -> Iterator[Batch]:
    """All groups that this XCC runs, as many at a time as have `together` lanes, at least one. At the edges of a grid they may
    be smaller."""
    place, among = dispatch.share
    threads = dispatch.threads or tuple(
        count * size for count, size in zip(dispatch.groups, dispatch.group_size, strict=True)
    )
    axes = []
    for total, size in zip(threads, dispatch.group_size, strict=True):
        whole, rest = divmod(total, size)
        axes.append([piece for piece in ((0, whole, size), (whole, 1, rest)) if piece[1] and piece[2]])
    columns, rows = dispatch.groups[0], dispatch.groups[1]
    for x, y, z in product(*axes):
        size3 = (x[2], y[2], z[2])
        most = _groups_together(dispatch, size3, together)
        count = x[1] * y[1] * z[1]
        for first in range(0, count, most * among):
            number = np.arange(first, min(count, first + most * among))
            ids = np.stack((number % x[1] + x[0], number // x[1] % y[1] + y[0], number // (x[1] * y[1]) + z[0]), axis=1)
            linear = ids[:, 0] + columns * (ids[:, 1] + rows * ids[:, 2])
            mine = ids[linear % among == place] if among > 1 else ids
            if len(mine):
                yield Batch(mine, size3)


def _groups_together(dispatch: Dispatch, size: Size3, together: int) -> int:
    items = size[0] * size[1] * size[2]
    lanes = min(items, WAVE) * -(-items // WAVE)
    local = _lds_bytes(dispatch) + -(-items // WAVE) * WAVE * _scratch_bytes(dispatch)
    return max(1, min(together // lanes, LOCAL_BYTES // max(1, local)))


def _lds_bytes(dispatch: Dispatch) -> int:
    return -(-dispatch.lds_bytes // LDS_GRANULE) * LDS_GRANULE


def _scratch_bytes(dispatch: Dispatch) -> int:
    return -(-dispatch.scratch_bytes // SCRATCH_GRANULE) * SCRATCH_GRANULE


def waves_of(dispatch: Dispatch, batch: Batch, memory: WaveMemory) -> Waves:
    """The waves of a batch as they start."""
    groups = len(batch.ids)
    x, y, z = batch.size
    items = x * y * z
    per_group = -(-items // WAVE)
    lanes = min(items, WAVE)
    count = groups * per_group
    item = (np.arange(per_group) * WAVE)[:, None] + np.arange(lanes)
    active = np.ascontiguousarray(np.tile(item < items, (groups, 1)))
    context = Context(
        memory,
        LocalMemory("LDS", groups, _lds_bytes(dispatch)),
        LocalMemory("scratch", count * WAVE, _scratch_bytes(dispatch)),
        dispatch.time,
        dispatch.xcc,
        dispatch.apertures,
    )
    group = np.repeat(np.arange(groups), per_group)
    waves = Waves(context, count, lanes, group, np.arange(count), active)
    waves.pc = dispatch.program
    packed = (item % x | item // x % y << 10 | item // (x * y) << 20).astype(np.uint32)
    waves.put_v(0, np.tile(packed, (groups, 1)) if per_group > 1 else packed)
    _scalars(dispatch, batch, waves, per_group)
    return waves


def _scalars(dispatch: Dispatch, batch: Batch, waves: Waves, per_group: int) -> None:
    """User SGPRs, then the ids of the group as far as they are asked for."""
    rsrc2 = dispatch.resources[1]
    count = rsrc2 >> USER_SGPRS_SHIFT & 0x1F
    for place, value in enumerate(dispatch.user_data[:count]):
        waves.set_s(place, np.array([value], np.uint32))
    place = count
    for axis in range(3):
        if rsrc2 >> TGID_X + axis & 1:
            column = batch.ids[:, axis].astype(np.uint32)
            same = bool((column == column[0]).all())
            waves.set_s(place, column[:1] if same else np.repeat(column, per_group))
            place += 1
    if rsrc2 >> TG_SIZE & 1:
        first = np.where(np.arange(waves.count) % per_group == 0, np.uint32(1 << 31), np.uint32(0))
        waves.set_s(place, first | np.uint32(per_group))


def state_of(waves: Waves, program: Program, why: str) -> WaveState:
    """The registers of the first of some waves."""
    try:
        code = int.from_bytes(program.code(waves.pc), "little")
    except Exception:  # noqa: BLE001  # there is none, and memory has said why
        code = 0
    try:
        instruction = decode(program.target, code).name
    except UnknownEncoding:
        instruction = "unknown"

    def scalar(index: int) -> int:
        return int(waves.s(index)[0])

    def lanes(index: int) -> tuple[int, ...]:
        return tuple(int(value) for value in waves.full(waves.v(index))[0])

    used = [index for index in range(VGPRS_SHOWN) if waves.v(index).any()]
    return WaveState(
        pc=waves.pc,
        instruction=instruction,
        code=(code & 0xFFFFFFFF, code >> 32 & 0xFFFFFFFF),
        why=why,
        exec=scalar(EXEC) | scalar(EXEC + 1) << 32,
        vcc=scalar(VCC) | scalar(VCC + 1) << 32,
        m0=scalar(M0),
        scc=bool(waves.scc[0]),
        mode=waves.mode,
        sgprs=tuple(scalar(index) for index in range(SGPRS_SHOWN)),
        vgprs={index: lanes(index) for index in used},
    )
