"""Random kernels (kernel_programs.py), compiled and interpreted: whatever can be seen of them must be the same.

    python -m tests.fuzz.fuzz_kernels --count 5000 --seed 1
    python -m tests.fuzz.fuzz_kernels --seconds 20

Compared: memory, the outcome, what memory raised, the state of a wave that could not go on, and all registers of all waves at
their end. A program that differs is made smaller while it still does, and shown."""

from __future__ import annotations

import argparse
import os
import random
import re
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from gpumodel.dispatch import Dispatch, WaveState
from gpumodel.isa import launch
from gpumodel.isa.decode import TARGETS
from gpumodel.isa.memory import PAGE, WINDOW, WaveMemory
from gpumodel.isa.native import drive, engine, jit
from gpumodel.isa.program import Flow, Program, Step
from gpumodel.isa.run import Runner
from gpumodel.isa.waves import WAVE, Array, Waves
from gpumodel.memory import Mapped
from tests.fuzz.kernel_programs import (
    AGPRS,
    ARGUMENTS,
    LDS_BYTES,
    OWN_PAGES,
    REGION_SHIFT,
    SCRAP,
    SCRATCH_BYTES,
    SPARE,
    Kernel,
    kernel,
    smaller,
)

CODE, KERNARG, COMMON_PAGES = 0x4000_0000, 0x5000_0000, 4
GROUP_ID_X, USER_SGPRS = 1 << 7, 2 << 1
REGISTERS_SEEN = (*range(SPARE + 2), *range(256, 256 + AGPRS))


class Missing(Exception):
    """No page there, or one that cannot be written."""


class Memory:
    """Pages in a file, so that they can be mapped. `places`: of each page, where it lies in the file."""

    def __init__(self, mappable: bool) -> None:
        self._fd = os.memfd_create("kernels", os.MFD_CLOEXEC)
        self.places: dict[int, int] = {}
        self.read_only: set[int] = set()
        self._size = 0
        if mappable:
            self.mapped = self._mapped

    def close(self) -> None:
        os.close(self._fd)

    def add(self, address: int, data: bytes, read_only: bool = False) -> None:
        """Whole pages."""
        for number in range(len(data) // PAGE):
            page = address // PAGE + number
            self.places[page] = self._size + number * PAGE
            if read_only:
                self.read_only.add(page)
        os.pwrite(self._fd, data, self._size)
        self._size += len(data)

    def _place(self, address: int, write: bool) -> int:
        page = address // PAGE
        if page not in self.places or (write and page in self.read_only):
            raise Missing(f"{'write' if write else 'read'} of {address:#x}")
        return self.places[page] + address % PAGE

    def read(self, address: int, size: int) -> bytes:
        out = b""
        while size:
            here = min(size, PAGE - address % PAGE)
            out += os.pread(self._fd, here, self._place(address, False))
            address, size = address + here, size - here
        return out

    def write(self, address: int, data: bytes) -> None:
        while data:
            here = min(len(data), PAGE - address % PAGE)
            os.pwrite(self._fd, data[:here], self._place(address, True))
            address, data = address + here, data[here:]

    def _mapped(self, address: int, write: bool) -> Mapped | None:
        place = self._place(address, write)
        first = address - address % PAGE
        if first // PAGE % 3 == 1:  # some can only be read and written
            return None
        return Mapped(first, first + PAGE, self._fd, place - address % PAGE, first // PAGE not in self.read_only, True)

    def content(self) -> dict[int, bytes]:
        return {page: os.pread(self._fd, PAGE, place) for page, place in self.places.items()}


@dataclass(frozen=True)
class Last:
    """A wave at its end."""

    sgprs: list[int]
    scc: bool
    vgprs: Array  # [REGISTERS_SEEN][64]


@dataclass
class Ending:
    """What can be seen of a dispatch. `several`: it has more than one wave."""

    several: bool
    outcome: str = ""
    raised: str = ""
    told: list[str] = field(default_factory=list)
    state: WaveState | None = None
    memory: dict[int, bytes] = field(default_factory=dict)
    waves: dict[int, Last] = field(default_factory=dict)
    compiled: bool = False
    left: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        return bool(self.raised) or self.outcome != "DONE"


class _Watched(Runner):
    """Keeps what waves hold at their end."""

    seen: dict[int, Last]

    def _flow(self, part: Any, step: Step) -> bool:
        if step.flow is Flow.END:
            self.seen |= _lasts(part.waves)
        return super()._flow(part, step)


def _lasts(waves: Waves) -> dict[int, Last]:
    def lanes(index: int) -> Array:
        value = np.zeros((waves.count, WAVE), np.uint32)
        value[:, : waves.lanes] = waves.full(waves.v(index))
        return value

    sgprs = np.stack([np.broadcast_to(waves.s(index), waves.count) for index in range(128)], axis=1).tolist()
    scc = np.broadcast_to(waves.scc, waves.count).tolist()
    vgprs = np.stack([lanes(index) for index in REGISTERS_SEEN], axis=1)
    # Numbers of waves begin anew in each batch; SCRAP is where the region of this one lies.
    return {one[SCRAP] >> REGION_SHIFT: Last(one, scc[place], vgprs[place]) for place, one in enumerate(sgprs)}


@contextmanager
def _watching(seen: dict[int, Last], kind: str, one: Kernel) -> Iterator[None]:
    class Watched(_Watched):
        pass

    Watched.seen = seen

    class WatchedDriver(drive.Driver):
        def run(self) -> int:
            done = super().run()
            seen.update(_lasts(drive.FlatWaves(self._state, np.arange(self._state.count))))
            return done

    with (
        mock.patch.object(launch, "Runner", Watched),
        mock.patch.object(drive, "Driver", WatchedDriver),
        mock.patch.object(drive, "SLICE", one.slice),
        mock.patch.object(drive, "LOOKS", min(one.slice, drive.LOOKS)),
        mock.patch.object(launch, "COMPILED_TOGETHER", one.together),
        mock.patch.dict(os.environ, {"GPUMEND_KERNELS": kind}),
    ):
        yield


def _data(seed: int, size: int) -> bytes:
    """Dwords: numbers near one, in single, half and double precision, small integers, any bits."""
    rng = np.random.default_rng(seed)
    count = size // 4
    floats = (rng.standard_normal(count) * 4).astype(np.float32)
    halves = (rng.standard_normal(2 * count) * 4).astype(np.float16).view(np.uint32)
    small = rng.integers(-70, 70, count).astype(np.int32)
    words = rng.integers(0, 1 << 32, count, np.uint32)
    kinds = np.repeat(rng.integers(0, 5, count // 4), 4)
    corners = np.array(
        [0, 0x80000000, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800000, 0x00800000, 0x3C00, 0x8000FFFF], np.uint32
    )
    values = np.select(
        [kinds == 0, kinds == 1, kinds == 2, kinds == 3],
        [floats.view(np.uint32), halves, small.view(np.uint32), rng.choice(corners, count)],
        words,
    )
    return values.astype("<u4").tobytes()


def memory_of(one: Kernel) -> tuple[Memory, int]:
    """And where the code begins."""
    memory = Memory(one.mapped)
    own = 0x1000_0000 - (0x6000 if one.edge else 0x800_0000)
    common = own + 0x400_0000 + one.far * WINDOW
    for wave in range(one.waves):
        start = own + (wave << REGION_SHIFT)
        memory.add(start, _data(one.data + wave, OWN_PAGES * PAGE))
        memory.add(start + OWN_PAGES * PAGE, _data(one.data + 1000 + wave, PAGE), read_only=True)
    memory.add(common, _data(one.data + 2000, COMMON_PAGES * PAGE), read_only=True)
    memory.add(KERNARG, struct.pack("<QQ", own, common).ljust(PAGE, b"\0"), read_only=True)
    assert struct.calcsize("<QQ") == ARGUMENTS
    words = one.code()
    code = bytes(one.at) + struct.pack(f"<{len(words)}I", *words)
    memory.add(CODE, code.ljust(-(-len(code) // PAGE) * PAGE, b"\xff"))
    return memory, CODE + one.at


def ending(one: Kernel, kind: str) -> Ending:
    """Runs it, `kind` compiled or interpreted, on memory of its own."""
    memory, entry = memory_of(one)
    seen = Ending(one.waves > 1)
    dispatch = Dispatch(
        0,
        8,
        entry,
        KERNARG,
        (KERNARG & 0xFFFFFFFF, KERNARG >> 32),
        (one.groups, 1, 1),
        (one.lanes, 1, 1),
        memory,
        lds_bytes=LDS_BYTES,
        scratch_bytes=SCRATCH_BYTES,
        threads=(one.groups * one.lanes - one.missing, 1, 1),
        resources=(0, USER_SGPRS | GROUP_ID_X, 0),
    )
    try:
        with _watching(seen.waves, kind, one):
            try:
                launch.run(dispatch, one.target, seen.told.append)
            except Missing as missing:
                seen.raised = str(missing)
            except Exception as trouble:  # noqa: BLE001  # must not be, and least of all one way only
                seen.raised = f"{type(trouble).__name__}: {trouble}"
            if kind == "compiled":
                found = engine.at_hand(Program(one.target, WaveMemory(memory)), entry)
                seen.compiled = found is not None
                seen.left = [] if found is None else found.interpreted
        seen.outcome, seen.state, seen.memory = dispatch.outcome.name, dispatch.state, memory.content()
    finally:
        memory.close()
    return seen


# ---- comparing


def differences(one: Ending, other: Ending) -> list[str]:
    """What is not the same, in words. Which of several waves stops first is nobody's promise."""
    if one.several and one.stopped and other.stopped:
        return []
    found = [f"raised: {each.raised}" for each in (one, other) if each.raised and "of 0x" not in each.raised]
    found += [
        f"{name}: {getattr(one, name)} / {getattr(other, name)}"
        for name in ("outcome", "raised", "told")
        if _page_alone(getattr(one, name)) != _page_alone(getattr(other, name))
    ]
    found += _state_differences(one.state, other.state)
    for page in sorted(one.memory):
        a, b = (np.frombuffer(each.memory[page], np.uint32) for each in (one, other))
        wrong = np.flatnonzero(a != b)
        if len(wrong):
            at = int(wrong[0])
            found.append(
                f"memory at {page * PAGE + 4 * at:#x}: {int(a[at]):#x} / {int(b[at]):#x}, "
                f"{len(wrong)} words of the page"
            )
    if one.waves.keys() != other.waves.keys():
        found.append(f"waves that ended: {sorted(one.waves)} / {sorted(other.waves)}")
    for number in sorted(one.waves.keys() & other.waves.keys()):
        found += _wave_differences(number, one.waves[number], other.waves[number])
    return found


def _page_alone(value: object) -> str:
    """Without the place in the page of an address that memory complained about: which lane comes first is nobody's promise."""
    return re.sub(r"((?:read|write) of 0x\w+)\w{3}\b", r"\1", str(value))


def _wave_differences(number: int, one: Last, other: Last) -> list[str]:
    found = [
        f"wave {number}, s{index}: {a:#x} / {b:#x}"
        for index, (a, b) in enumerate(zip(one.sgprs, other.sgprs, strict=True))
        if a != b
    ]
    if one.scc != other.scc:
        found.append(f"wave {number}, scc: {one.scc} / {other.scc}")
    for row, lane in _first_of_each_row(one.vgprs != other.vgprs):
        index = REGISTERS_SEEN[row]
        name = f"v{index}" if index < 256 else f"a{index - 256}"
        a, b = int(one.vgprs[row, lane]), int(other.vgprs[row, lane])
        found.append(f"wave {number}, {name} of lane {lane}: {a:#x} / {b:#x}")
    return found


def _first_of_each_row(wrong: Array) -> list[tuple[int, int]]:
    return [(int(row), int(wrong[row].argmax())) for row in np.flatnonzero(wrong.any(axis=1))]


def _state_differences(one: WaveState | None, other: WaveState | None) -> list[str]:
    if one is None or other is None:
        return [] if one is other else [f"state: {one and one.why} / {other and other.why}"]
    found = []
    for name in ("pc", "instruction", "code", "why", "exec", "vcc", "m0", "scc", "mode", "sgprs"):
        a, b = getattr(one, name), getattr(other, name)
        if name == "why":
            a, b = _page_alone(a), _page_alone(b)
        if a != b and name == "sgprs":
            found += [f"state, s{n}: {x:#x} / {y:#x}" for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
        elif a != b:
            found.append(f"state, {name}: {_shown(a)} / {_shown(b)}")
    for index in sorted((one.vgprs.keys() | other.vgprs.keys()) & set(REGISTERS_SEEN)):
        a, b = (np.zeros(WAVE, np.uint32) for _ in range(2))
        for array, state in ((a, one), (b, other)):
            values = state.vgprs.get(index, ())
            array[: len(values)] = values
        for lane in np.flatnonzero(a != b)[:1].tolist():
            found.append(f"state, v{index} of lane {lane}: {int(a[lane]):#x} / {int(b[lane]):#x}")
    return found


def _shown(value: object) -> str:
    return hex(value) if isinstance(value, int) else str(value)


class Differs(AssertionError):
    """A kernel that does one thing compiled and another interpreted."""


@dataclass
class Tally:
    """What a run came to. `left`: instructions that compiled kernels left to the interpreter."""

    cases: int = 0
    compiled: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


def compare(one: Kernel) -> tuple[list[str], Ending]:
    compiled = ending(one, "compiled")
    return differences(ending(one, "interpreted"), compiled), compiled


def shrunk(one: Kernel, most: int = 400) -> Kernel:
    """The smallest found that still differs."""
    again = True
    while again and most > 0:
        again = False
        for less in smaller(one):
            most -= 1
            if most <= 0:
                break
            try:
                wrong = bool(compare(less)[0])
            except Exception:  # noqa: BLE001  # another trouble than the one that is looked for
                continue
            if wrong:
                one, again = less, True
                break
    return one


def judge(target: str, seed: int, tally: Tally, size: int | None = None) -> None:
    """Raises Differs."""
    one = kernel(target, seed, size)
    found, compiled = compare(one)
    if found:
        least = shrunk(one)
        found = compare(least)[0] or found
        shown = "\n  ".join(found[:12])
        raise Differs(f"seed {seed}, interpreted / compiled:\n  {shown}\n{least.listing()}")
    tally.cases += 1
    tally.compiled += compiled.compiled
    tally.ended[compiled.raised.partition(" ")[0] or compiled.outcome] += 1
    tally.left.update(compiled.left)


def run(*, count: int | None, seconds: float | None, seed: int, go_on: bool = False) -> tuple[Tally, int]:
    """Until `count` kernels or `seconds` are over; and how many differed, if it goes on behind the first."""
    tally, wrong, number = Tally(), 0, 0
    end = time.monotonic() + seconds if seconds is not None else None
    while (count is None or number < count) and (end is None or time.monotonic() < end):
        rng = random.Random(seed * 1_000_003 + number)
        try:
            judge(rng.choice(TARGETS), rng.getrandbits(40), tally)
        except Differs as differs:
            if not go_on:
                raise
            print(f"{differs}\n", file=sys.stderr, flush=True)
            wrong += 1
        except Exception:
            print(f"case {number} of seed {seed}", file=sys.stderr)
            raise
        number += 1
    return tally, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--go-on", action="store_true", help="behind a kernel that differs")
    told = parser.parse_args()
    if not jit.usable():
        print("kernels are not compiled here: llvmlite, or AVX2, FMA or F16C, are missing", file=sys.stderr)
        return 69
    count = 5_000 if told.count is None and told.seconds is None else told.count
    start = time.monotonic()
    tally, wrong = run(count=count, seconds=told.seconds, seed=told.seed, go_on=told.go_on)
    ended = ", ".join(f"{number} {what}" for what, number in tally.ended.most_common())
    print(
        f"kernels: {tally.cases} the same both ways, {wrong} not (seed {told.seed}); {tally.compiled} compiled; "
        f"ended: {ended}; {len(tally.left)} kinds of instructions left to the interpreter; {time.monotonic() - start:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
