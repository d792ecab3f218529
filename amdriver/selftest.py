"""Does this GPU do what it is for: boot, move data with every engine, fence on every XCC, interrupt, reach its peers.

    run(subjects, "quick", clock) -> one SelftestReport a GPU, in the order given

Each GPU lives in one callable of `Clock.run_together`, from opening to closing; they meet before the peer copies, before the
arrivals are checked and before anything is freed. What fails ends with that GPU's report, never with the run: a failed check
leaves the others standing, an engine that is stuck ends its own checks only, a GPU that is lost ends all of its own.
Data is verified twice: read through BAR0, and carried to host memory by another engine than the one that moved it.
Source: amd-bringup.md sections 8 (IH sources), 10, 11; DESIGN section 5 (exit codes of acting commands)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from amdriver.selftest_report import FINDINGS, SKIPPABLE, SUMMARIES, BarWrong
from amdriver.selftest_subject import Memory, OpenedGpu, Subject, fence_payload
from base.clock import Clock
from base.errors import DeviceLost, Exit, GpumendError, InvalidData, Unavailable, UsageError, WaitTimeout
from base.patterns import ALIGNMENTS, CHUNK_BYTES, Mismatch, Pattern, Plan, chunks, compare, plan, sizes_up_to
from base.poll import poll
from base.selftest import (
    Check,
    DataWrong,
    Level,
    SelftestProgress,
    SelftestReport,
    Status,
    Stopped,
    findings_of,
    one_line,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Piece = tuple[int, NDArray[np.uint8]]  # where it lies in the memory, and what it must hold

BACKGROUND: Final = 0xA5
SDMA_TRAP: Final = 224  # IH source of an SDMA trap
COMPUTE_EOP: Final = 181  # IH source of a compute queue's RELEASE_MEM
TICKS_PER_S: Final = 100e6  # the reference clock that all engines stamp from
PACE_S: Final = 5e-3
CLOSING_WAIT_S: Final = 60.0  # real time that an interrupted run gives its GPUs to close


@dataclass(slots=True)
class _Done:
    """What a check came to when nothing was wrong."""

    bytes: int = 0
    expected: str = ""
    seen: str = ""
    verified: bool = True
    reason: str = ""


@dataclass(slots=True)
class _Share:
    """What a GPU lays out for its peers: a source to pull from, and a landing with a slot for each of them."""

    gpu: OpenedGpu
    source: Memory
    pattern: Pattern
    landing: Memory
    slot: int
    came: dict[int, Pattern] = field(default_factory=dict)  # by index of the GPU that pushed


class _Meeting:
    """The GPUs of a run wait for each other here. Whoever ends early has arrived everywhere."""

    def __init__(self, clock: Clock, members: Iterable[int], timeout_s: float) -> None:
        self._clock = clock
        self._members = set(members)
        self._arrived: dict[str, set[int]] = {}
        self._gone: set[int] = set()
        self._lock = threading.Lock()
        self._timeout_s = timeout_s

    def leave(self, who: int) -> None:
        with self._lock:
            self._gone.add(who)

    def meet(self, what: str, who: int) -> None:
        """Come back when all that are still there have come. WaitTimeout when they do not."""
        with self._lock:
            self._arrived.setdefault(what, set()).add(who)
        poll(
            self._clock,
            partial(self._missing, what),
            lambda missing: not missing,
            doing=f"waiting for the other GPUs before {what}",
            expected="all of them",
            timeout_s=self._timeout_s,
            show=lambda missing: f"waiting for GPU {', '.join(map(str, missing))}",
        )

    def _missing(self, what: str) -> tuple[int, ...]:
        with self._lock:
            return tuple(sorted(self._members - self._arrived[what] - self._gone))


# ---------------------------------------------------------------- the run


def run(
    subjects: Sequence[Subject],
    level: Level,
    clock: Clock,
    *,
    skip: Iterable[str] = (),
    engines: Iterable[int] | None = None,
    seed: int = 1,
    progress: Callable[[SelftestProgress], None] | None = None,
) -> list[SelftestReport]:
    """Test all of them side by side. `skip`: names of checks; `engines`: only these SDMA engines; `seed`: of the patterns.

    Raises UsageError for a check or engine that cannot be named so, and KeyboardInterrupt after what was open is closed."""
    left_out = frozenset(skip)
    if left_out - set(SKIPPABLE):
        raise UsageError(
            "choosing checks of the self-test",
            expected=f"some of {' '.join(SKIPPABLE)}",
            seen=" ".join(sorted(left_out - set(SKIPPABLE))),
        )
    wanted = None if engines is None else tuple(sorted(set(engines)))
    if wanted is not None and (not wanted or wanted[0] < 0):
        raise UsageError("choosing SDMA engines", expected="numbers from 0 on", seen=str(list(wanted)))
    test = _Run(level, clock, left_out, wanted, seed, progress or (lambda _: None))
    return test.all(subjects)


class _Run:
    """What the GPUs of one run share."""

    def __init__(
        self,
        level: Level,
        clock: Clock,
        skip: frozenset[str],
        engines: tuple[int, ...] | None,
        seed: int,
        progress: Callable[[SelftestProgress], None],
    ) -> None:
        self.level = level
        self.clock = clock
        self.skip = skip
        self.engines = engines
        self.seed = seed
        self.progress = progress
        self.stop = threading.Event()
        self.shares: dict[int, _Share] = {}
        self.lost: set[int] = set()
        self.count = 0
        self.meeting = _Meeting(clock, (), level.meeting_s)

    def all(self, subjects: Sequence[Subject]) -> list[SelftestReport]:
        self.count = len(subjects)
        self.meeting = _Meeting(self.clock, (one.index for one in subjects), self.level.meeting_s)
        lives = [_Life(self, subject) for subject in subjects]
        try:
            outcomes = self.clock.run_together([life.live for life in lives])
        except KeyboardInterrupt:
            self.stop.set()
            raise KeyboardInterrupt(*self._await(lives)) from None
        return [outcome.unwrap() for outcome in outcomes]

    def _await(self, lives: Sequence[_Life]) -> list[str]:
        """Who did not close in time. Real time: the interrupt came from a person's keyboard."""
        end = time.monotonic() + CLOSING_WAIT_S
        late = [life.subject for life in lives if not life.ended.wait(max(0.0, end - time.monotonic()))]
        return [f"GPU {one.index} {one.bdf} could not be closed: gpumend probe, then reset it" for one in late]


class _Life:
    """One GPU from opening to closing."""

    def __init__(self, run: _Run, subject: Subject) -> None:
        self.run = run
        self.subject = subject
        self.clock = run.clock
        self.level = run.level
        self.checks: list[Check] = []
        self.failures: list[tuple[Check, GpumendError]] = []
        self.stuck: dict[str, str] = {}
        self.error: GpumendError | None = None
        self.start_state: str | None = None
        self.steps: tuple[str, ...] = ()
        self.total = 8
        self.ended = threading.Event()
        self.gpu: OpenedGpu | None = None

    # ---- the course of it

    def live(self) -> SelftestReport:
        start, wall = self.clock.now(), time.perf_counter()
        try:
            self._live()
        finally:
            self.run.meeting.leave(self.subject.index)
            self.ended.set()
        seconds, wall_s = self.clock.now() - start, time.perf_counter() - wall
        who = self.subject
        return SelftestReport(
            who.index, who.bdf, who.part, who.arch, self.start_state, tuple(self.checks),
            findings_of(self.failures, FINDINGS, SUMMARIES), self.error, seconds, wall_s, self.steps,
        )  # fmt: skip

    def _live(self) -> None:
        gpu = self._boot()
        if gpu is None:
            return
        try:
            self._own(gpu)
            self._peers(gpu)
        except (Stopped, Unavailable) as end:
            self.error = end
        except GpumendError as error:
            self._failed("peers", "", error, 0.0, 0.0)
        finally:
            self._close(gpu)

    def _boot(self) -> OpenedGpu | None:
        opened: list[OpenedGpu] = []

        def boot() -> _Done:
            gpu = self.subject.open()
            opened.append(gpu)
            self.gpu = gpu
            self.start_state, self.steps = gpu.start_state, gpu.steps
            seen = f"{gpu.engines} SDMA engines, {gpu.xccs} XCCs, {len(gpu.steps)} steps"
            old = len(gpu.faults())  # of whoever had it before us
            left = f", {old} page faults of before forgotten" if old else ""
            told = "; ".join((f"{seen}, found {gpu.start_state}{left}", *gpu.notes))
            return _Done(expected="open", seen=told)

        try:
            self._check("boot", "", boot)
        except (Stopped, DeviceLost) as end:
            self.error = end
        if not opened:
            return None
        gpu = opened[0]
        self.total = self._estimate(gpu)
        return gpu

    def _estimate(self, gpu: OpenedGpu) -> int:
        counts = {
            "memory": 1,
            "sdma": len(self._engines(gpu)),
            "compute": gpu.xccs,
            "timestamps": 1,
            "interrupts": 2,
            "peers": 2 * (self.run.count - 1),
        }
        return 2 + sum(count for name, count in counts.items() if name not in self.run.skip)

    def _engines(self, gpu: OpenedGpu) -> list[int]:
        if self.run.engines is None:
            return list(range(gpu.engines))
        return [number for number in self.run.engines if number < gpu.engines]

    def _own(self, gpu: OpenedGpu) -> None:
        engines = self._engines(gpu)
        if not engines:
            self._skip("sdma", "", f"none of the engines asked for: it has {gpu.engines}", applies=True)
            return
        for number in self.run.engines or ():
            if number >= gpu.engines:
                self._skip("sdma", _sdma(number), f"there is none: it has {gpu.engines}", applies=True)
        self._check("memory", _sdma(engines[0]), lambda: self._memory(gpu, engines[0]))
        for number in engines:
            self._check("sdma", _sdma(number), partial(self._engine, gpu, number))
        for xcc in range(gpu.xccs):
            self._check("compute", f"XCC{xcc}", partial(self._compute, gpu, xcc))
        self._check("timestamps", "", lambda: self._timestamps(gpu, engines))
        self._check("interrupts", "SDMA", lambda: self._sdma_interrupts(gpu, engines))
        self._check("interrupts", "XCC", lambda: self._compute_interrupts(gpu))

    def _close(self, gpu: OpenedGpu) -> None:
        if isinstance(self.error, Unavailable):
            self._close_quietly(gpu)
            return
        try:
            self._check("close", "", lambda: self._closed(gpu))
        except Unavailable as lost:
            self.error = self.error or lost

    def _closed(self, gpu: OpenedGpu) -> _Done:
        gpu.close()  # frees what failed checks left behind
        return _Done(expected="closed", seen="closed")

    def _close_quietly(self, gpu: OpenedGpu) -> None:
        """A GPU that is gone answers nothing; what we hold on this side is given back all the same."""
        try:
            gpu.close()
        except GpumendError as error:
            self._skip("close", "", f"the GPU is lost: {error.doing}", applies=False)

    # ---- one check

    def _check(self, name: str, engine: str, work: Callable[[], _Done]) -> bool:
        """Run it and note what came of it. Only what ends all checks gets past: Stopped, and DeviceLost; once it is open,
        any Unavailable (a remote GPU's server is gone)."""
        if name in self.run.skip:
            return self._skip(name, engine, "left out by --skip", applies=False)
        if engine in self.stuck:
            return self._skip(name, engine, f"{engine} failed in the check {self.stuck[engine]!r}", applies=True)
        if name != "close":
            self._go_on()
        self._tell(name, engine)
        start, wall = self.clock.now(), time.perf_counter()
        error: GpumendError | None = None
        done = _Done()
        try:
            done = work()
        except GpumendError as caught:
            error = caught
        seconds, wall_s = self.clock.now() - start, time.perf_counter() - wall
        if error is None:
            self._note(
                Check(
                    name,
                    engine,
                    Status.OK,
                    done.reason,
                    done.bytes,
                    seconds,
                    wall_s,
                    done.expected,
                    done.seen,
                    self.subject.bdf,
                    True,
                    done.verified,
                )
            )
            return True
        if isinstance(error, Stopped):
            raise error
        self._failed(name, "BAR0" if isinstance(error, BarWrong) else engine, error, seconds, wall_s)
        if isinstance(error, DeviceLost) or (name != "boot" and isinstance(error, Unavailable)):
            self.run.lost.add(self.subject.index)
            raise error
        return False

    def _failed(self, name: str, engine: str, error: GpumendError, seconds: float, wall_s: float) -> None:
        failed = Check(
            name, engine, Status.FAILED, str(error.args[0]), 0, seconds, wall_s, error.expected, one_line(error.seen),
            error.where or self.subject.bdf,
        )  # fmt: skip
        self._note(failed)
        self.failures.append((failed, error))
        self._forget_faults(error)
        if name == "boot" and error.exit_code not in (Exit.PROBLEM, Exit.UNKNOWN):
            self.error = error
        if engine:
            self.stuck[engine] = name

    def _forget_faults(self, error: GpumendError) -> None:
        """What failed may have left a page fault latched: the next check is not to blame for it."""
        if self.gpu is None or isinstance(error, Unavailable):
            return
        with suppress(GpumendError):  # it may be closed, or be lost just now: the next check tells
            self.gpu.faults()

    def _skip(self, name: str, engine: str, reason: str, *, applies: bool) -> bool:
        self._note(Check(name, engine, Status.SKIPPED, reason, where=self.subject.bdf, applies=applies))
        return False

    def _note(self, check: Check) -> None:
        self.checks.append(check)
        self._tell(check.name, check.engine)

    def _tell(self, name: str, engine: str) -> None:
        who = self.subject
        done = len(self.checks)
        self.run.progress(SelftestProgress(who.index, who.bdf, name, engine, done, max(self.total, done)))

    def _seed(self, *words: object) -> int:
        """A seed for this GPU and purpose, the same in every run."""
        import zlib

        return zlib.crc32(repr((self.run.seed, self.subject.index, *words)).encode())

    # ---- memory and engines

    def _memory(self, gpu: OpenedGpu, engine: int) -> _Done:
        """All sizes up to the level's largest, all alignments, on one engine."""
        sizes = sizes_up_to(self.level.most_bytes)
        small = tuple(size for size in sizes if size <= 64 << 10)
        moved, verified, _ = self._patterned(gpu, engine, plan(small * 2, ALIGNMENTS), "memory")
        for number, size in enumerate(size for size in sizes if size > 64 << 10):
            one = plan((size,), (ALIGNMENTS[number % len(ALIGNMENTS)],))
            more, good, _ = self._patterned(gpu, engine, one, f"memory {size}")
            moved, verified = moved + more, verified and good
        return self._moved(
            moved, verified, f"{len(small) * 2 + len(sizes) - len(small)} copies of 1 to {sizes[-1]} bytes"
        )

    def _engine(self, gpu: OpenedGpu, engine: int) -> _Done:
        """A few sizes, the largest unaligned on every other engine."""
        sizes = (1, 3, 4, 64, 65, 4095, 4096, 4097, 65536 + 13, self.level.engine_bytes)
        turned = ALIGNMENTS[engine % len(ALIGNMENTS) :] + ALIGNMENTS[: engine % len(ALIGNMENTS)]
        moved, verified, helper = self._patterned(gpu, engine, plan(sizes, turned), "engine")
        return self._moved(moved, verified, f"{len(sizes)} copies, read back by {helper}")

    def _moved(self, moved: int, verified: bool, what: str) -> _Done:
        doubt = "" if verified else "no second engine was left to read back with: BAR0 alone agrees"
        return _Done(moved, "the pattern, and the guards untouched", f"the same: {what}", verified, doubt)

    def _patterned(self, gpu: OpenedGpu, engine: int, copies: Plan, purpose: str) -> tuple[int, bool, str]:
        """Fill, copy, compare. Returns bytes moved, whether a second engine agreed, and which."""
        self._go_on()
        source = gpu.alloc(copies.source_bytes)
        target = gpu.alloc(copies.target_bytes)
        pattern = Pattern(self._seed(purpose, engine), source.vram_at(0) or 0)
        self._write(source, pattern, copies.source_bytes)
        gpu.fill(target, BACKGROUND, engine=engine)
        gpu.copy_many(
            [(target, one.dst_offset, source, one.src_offset, one.size) for one in copies.transfers], engine=engine
        )
        gpu.synchronize(engine=engine)
        self._faults(gpu, _sdma(engine))

        def pieces() -> Iterator[_Piece]:
            return ((at, _image(copies, pattern, at, size)) for at, size in chunks(copies.target_bytes))

        try:
            self._verify_bar0(target, copies, pattern, engine)
        except DataWrong as wrong:
            raise self._whose(gpu, engine, target, pieces(), wrong) from None
        helper = self._read_back(gpu, engine, target, pieces, _sdma(engine))
        source.free()
        target.free()
        return copies.moved_bytes, helper is not None, "BAR0" if helper is None else f"BAR0 and {_sdma(helper)}"

    def _go_on(self) -> None:
        if self.run.stop.is_set():
            raise Stopped("the self-test", seen="interrupted", where=self.subject.bdf, verb="was interrupted")

    def _write(self, memory: Memory, pattern: Pattern, size: int) -> None:
        for at, piece in chunks(size):
            memory.write(pattern.part(at, piece).tobytes(), at)

    def _verify_bar0(self, target: Memory, copies: Plan, pattern: Pattern, engine: int) -> None:
        for at, size in chunks(copies.target_bytes):
            wrong = compare(_image(copies, pattern, at, size), target.read(at, size))
            self._right(wrong, target, at, _sdma(engine), "BAR0")

    def _whose(
        self, gpu: OpenedGpu, engine: int, memory: Memory, pieces: Iterator[_Piece], wrong: DataWrong
    ) -> DataWrong:
        """BAR0 shows wrong data: is it what the engine moved, or BAR0? One other engine that reads the right ones tells."""
        helper = next(self._helpers(gpu, engine), None)
        if helper is None:
            return wrong
        try:
            self._carry_back(gpu, helper, memory, pieces, _sdma(engine), "")
        except (Unavailable, Stopped):
            raise
        except GpumendError:  # it agrees, or cannot tell: its own check comes
            return wrong
        return BarWrong(
            f"reading through BAR0 what {_sdma(engine)} moved",
            expected=wrong.expected,
            seen=f"{wrong.seen}; {_sdma(helper)} reads what is expected",
            where=wrong.where,
            next_step="gpumend probe: the PCI Express link and its error counters; the engines are not to blame",
        )

    def _read_back(
        self,
        gpu: OpenedGpu,
        engine: int,
        memory: Memory,
        pieces: Callable[[], Iterator[_Piece]],
        mover: str,
        of: str = "",
    ) -> int | None:
        """Have another engine carry it to host memory; BAR0 has agreed before. Returns which one did; None: none is left.

        One that gets stuck, or alone disagrees, is the one that failed; when two disagree, it is what `mover` did."""
        odd: tuple[int, DataWrong] | None = None
        for helper in self._helpers(gpu, engine):
            try:
                self._carry_back(gpu, helper, memory, pieces(), mover, of)
            except DataWrong as wrong:
                if odd is not None:
                    raise
                odd = (helper, wrong)
            except (Unavailable, Stopped):
                raise
            except GpumendError as stuck:
                self._failed("sdma", _sdma(helper), stuck, 0.0, 0.0)
            else:
                if odd is not None:
                    self._failed("sdma", _sdma(odd[0]), odd[1], 0.0, 0.0)
                return helper
        if odd is not None:
            raise odd[1]
        return None

    def _carry_back(
        self, gpu: OpenedGpu, helper: int, memory: Memory, pieces: Iterator[_Piece], mover: str, of: str
    ) -> None:
        back = gpu.alloc(CHUNK_BYTES, where="host")
        for at, expected in pieces:
            gpu.copy_many([(back, 0, memory, at, len(expected))], engine=helper)
            gpu.synchronize(engine=helper)
            self._right(compare(expected, back.read(0, len(expected))), memory, at, mover, _sdma(helper), of)
        self._faults(gpu, _sdma(helper))
        back.free()

    def _helpers(self, gpu: OpenedGpu, engine: int) -> Iterator[int]:
        """The other engines that are not known to be bad, from the next one on."""
        for step in range(1, gpu.engines):
            number = (engine + step) % gpu.engines
            if _sdma(number) not in self.stuck:
                yield number

    def _right(self, wrong: Mismatch | None, memory: Memory, at: int, engine: str, reader: str, of: str = "") -> None:
        if wrong is None:
            return
        owner = of or f"GPU {self.subject.index} {self.subject.bdf}"
        offset = memory.vram_at(at + wrong.offset)
        place = "" if offset is None else f", VRAM offset {offset:#x}"
        raise DataWrong(
            f"comparing what {engine} moved",
            expected=wrong.expected.hex(" "),
            seen=f"{wrong.seen.hex(' ')}; {wrong}",
            where=f"{owner}{place}, moved by {engine}, read through {reader}",
            next_step=_LOOK_AT_LINKS if "GPU" in engine else _LOOK_AT_MEMORY,
        )

    def _faults(self, gpu: OpenedGpu, engine: str) -> None:
        faults = gpu.faults()
        if faults:
            raise InvalidData(
                f"moving data with {engine}",
                expected="no page fault",
                seen="; ".join(faults[:4]),
                where=self.subject.bdf,
                next_step="gpumend probe; the GPU must be opened anew",
            )

    # ---- compute, clocks, interrupts

    def _compute(self, gpu: OpenedGpu, xcc: int) -> _Done:
        value = self._seed("fence", xcc) | 1 << 32
        told = gpu.compute_fence(xcc, value)
        self._equal(told.fence, value, f"the fence of XCC{xcc}")
        expected = fence_payload(value)
        if told.written != expected:
            raise DataWrong(
                f"comparing what WRITE_DATA wrote on XCC{xcc}",
                expected=expected.hex(" "),
                seen=told.written.hex(" "),
                where=f"{self.subject.bdf} XCC{xcc}",
                next_step="gpumend probe",
            )
        self._later(told.before, told.after, f"XCC{xcc}")
        ticks = told.after - told.before
        return _Done(len(told.written) + 24, f"{value:#x} and a later clock", f"{told.fence:#x}, {ticks} ticks")

    def _equal(self, seen: int, expected: int, what: str) -> None:
        if seen != expected:
            raise DataWrong(
                f"reading {what}", expected=f"{expected:#x}", seen=f"{seen:#x}", where=self.subject.bdf,
                next_step="gpumend probe",
            )  # fmt: skip

    def _later(self, before: int, after: int, engine: str) -> None:
        if 0 < before <= after:
            return
        raise DataWrong(
            f"comparing timestamps of {engine}",
            expected="a clock above zero that never runs backwards",
            seen=f"{before:#x} then {after:#x}",
            where=f"{self.subject.bdf} {engine}",
            next_step="gpumend probe; then reset the GPU: nothing that it times can be trusted",
        )

    def _timestamps(self, gpu: OpenedGpu, engines: list[int]) -> _Done:
        """Never backwards, within an engine and from one to the next (all stamp from one clock), and at the right pace."""
        alive = [number for number in engines if _sdma(number) not in self.stuck]
        if not alive:
            return _Done(verified=False, reason="every engine failed before")
        last, name, count = 1, "the start", 0
        for number in alive:
            for stamp in gpu.timestamps(number, self.level.stamps):
                self._later(last, stamp, f"{name} and {_sdma(number)}")
                last, name, count = stamp, _sdma(number), count + 1
        ticks = self._pace(gpu, alive[0], last)
        return _Done(
            8 * count, "never backwards, 100 MHz", f"{count} stamps; {ticks} ticks in the last {PACE_S * 1e3:g} ms"
        )

    def _pace(self, gpu: OpenedGpu, engine: int, last: int) -> int:
        """Ticks over a pause, against our own clock; ours also counts the time that asking takes."""
        before = self.clock.now()
        first = gpu.timestamps(engine, 1)[0]
        self._later(last, first, _sdma(engine))
        self.clock.sleep(PACE_S)
        ticks = gpu.timestamps(engine, 1)[0] - first
        most_s = self.clock.now() - before
        if 0.95 * PACE_S <= ticks / TICKS_PER_S <= 1.05 * most_s:
            return ticks
        raise DataWrong(
            "comparing the GPU's clock with ours",
            expected=f"{PACE_S * TICKS_PER_S:.0f} to {most_s * TICKS_PER_S:.0f} ticks of {TICKS_PER_S / 1e6:g} MHz",
            seen=f"{ticks} ticks",
            where=f"{self.subject.bdf} {_sdma(engine)}",
            next_step="gpumend probe",
        )

    def _sdma_interrupts(self, gpu: OpenedGpu, engines: list[int]) -> _Done:
        """A trap of each engine must arrive with its own context, once."""
        alive = [number for number in engines if _sdma(number) not in self.stuck]
        if not alive:
            return _Done(verified=False, reason="every engine failed before")
        gpu.interrupts()
        contexts = {0x5E00 + number: number for number in alive}
        for context, number in contexts.items():
            gpu.trap(number, context)
        came = self._await(gpu, SDMA_TRAP, len(contexts))
        missing = [_sdma(number) for context, number in contexts.items() if came.count(context) != 1]
        self._arrived(missing, came, f"trap (source {SDMA_TRAP})")
        return _Done(32 * len(came), f"one entry of each of {len(alive)} engines", f"{len(came)} entries")

    def _compute_interrupts(self, gpu: OpenedGpu) -> _Done:
        """An end of pipe of each XCC must arrive; one at a time, so that it is known whose it is."""
        gpu.interrupts()
        missing, alive = [], [xcc for xcc in range(gpu.xccs) if f"XCC{xcc}" not in self.stuck]
        if not alive:
            return _Done(verified=False, reason="every XCC failed before")
        count = 0
        for xcc in alive:
            gpu.compute_trap(xcc)
            came = self._await(gpu, COMPUTE_EOP, 1)
            count += len(came)
            if len(came) != 1:
                missing.append(f"XCC{xcc}")
        self._arrived(missing, [0] * count, f"end of pipe (source {COMPUTE_EOP})")
        return _Done(32 * count, f"one entry of each of {len(alive)} XCCs", f"{count} entries")

    def _await(self, gpu: OpenedGpu, source: int, count: int) -> list[int]:
        """The contexts of the entries of a source, as soon as there are so many, or after 100 ms what there is."""
        came: list[int] = []

        def look() -> int:
            came.extend(entry.context for entry in gpu.interrupts() if entry.source == source)
            return len(came)

        try:
            poll(self.clock, look, lambda n: n >= count, doing="waiting for interrupts", expected="", timeout_s=0.1)
        except WaitTimeout:
            pass
        return came

    def _arrived(self, missing: list[str], came: list[int], what: str) -> None:
        if missing:
            raise InvalidData(
                f"waiting for the {what} of {', '.join(missing)}",
                expected="one entry of each in the interrupt ring within 100 ms",
                seen=f"{len(came)} entries in all",
                where=f"{self.subject.bdf} IH ring",
                next_step="gpumend -g GPU regs read 'IH_RB*'; a ring that overflowed lost entries",
            )

    # ---- peers

    def _peers(self, gpu: OpenedGpu) -> None:
        if "peers" in self.run.skip:
            self._skip("peers", "", "left out by --skip", applies=False)
            return
        mine = self._share(gpu)
        self._meet("the peer copies")
        others = self._reachable(gpu)
        if mine is not None:
            for index, share in others.items():
                self._peer(index, f"pull from GPU {index}", partial(self._pull, gpu, index, share))
                self._peer(index, f"push to GPU {index}", partial(self._push, gpu, index, share, mine))
        self._meet("the arrivals are checked")
        if mine is not None:
            for index, pattern in sorted(mine.came.items()):
                self._peer(index, f"arrival from GPU {index}", partial(self._arrival, mine, index, pattern))
        gpu.unmap_peers()  # what failed copies left mapped; only then may its owner free it
        self._meet("buffers are freed")
        if mine is not None:
            mine.source.free()
            mine.landing.free()

    def _peer(self, index: int, engine: str, work: Callable[[], _Done]) -> None:
        """A check that a peer has a part in: what it cannot do once it is lost is not our failure."""

        def unless_lost() -> _Done:
            try:
                return work()
            except GpumendError as error:
                if index in self.run.lost and not isinstance(error, (Unavailable, Stopped)):
                    return _Done(verified=False, reason=f"GPU {index} was lost meanwhile")
                raise

        if index in self.run.lost:
            self._skip("peers", engine, f"GPU {index} was lost", applies=True)
        else:
            self._check("peers", engine, unless_lost)

    def _meet(self, what: str) -> None:
        self._tell("waiting", "")
        self.run.meeting.meet(what, self.subject.index)

    def _share(self, gpu: OpenedGpu) -> _Share | None:
        """Lay out what peers need; a GPU whose own memory cannot be had shares nothing."""
        if gpu.node[1] < 2 or self.run.count < 2:
            why = "alone in its hive" if gpu.node[1] < 2 else "no other GPU was selected"
            self._skip("peers", "", why, applies=False)
            return None
        share: list[_Share] = []

        def lay_out() -> _Done:
            size = self.level.peer_bytes
            slot = size + 4096
            source, landing = gpu.alloc(slot), gpu.alloc(slot * gpu.node[1])
            pattern = Pattern(self._seed("peers"), source.vram_at(0) or 0)
            self._write(source, pattern, slot)
            engine = self._any_engine(gpu, 0)
            gpu.fill(landing, BACKGROUND, engine=engine)
            gpu.synchronize(engine=engine)
            share.append(_Share(gpu, source, pattern, landing, slot))
            return _Done(seen=f"{slot} bytes for each of {gpu.node[1]} nodes")

        if not self._check("peers", "own buffers", lay_out):
            return None
        self.run.shares[self.subject.index] = share[0]
        return share[0]

    def _reachable(self, gpu: OpenedGpu) -> dict[int, _Share]:
        """The other GPUs of this hive that are open, by index."""
        mine = self.run.shares.get(self.subject.index)
        if mine is None:
            return {}
        others = {index: share for index, share in self.run.shares.items() if share is not mine}
        places = [share.gpu.node for share in self.run.shares.values()]
        if len(set(places)) < len(places):
            self._skip(
                "peers", "", "GPUs of more than one hive were selected: test them one hive at a time", applies=True
            )
            return {}
        if not others:
            self._skip("peers", "", "no other GPU of the hive could be opened", applies=True)
        return dict(sorted(others.items()))

    def _pull(self, gpu: OpenedGpu, index: int, share: _Share) -> _Done:
        """Their memory into ours, by our engine; unaligned on their side."""
        size, at = self.level.peer_bytes, 1 + self.subject.index
        engine = self._any_engine(gpu, index)
        remote = gpu.map_peer(share.source)
        here = gpu.alloc(size)
        gpu.copy_many([(here, 0, remote, at, size)], engine=engine)
        gpu.synchronize(engine=engine)
        self._faults(gpu, f"{_sdma(engine)} over XGMI")
        self._same(here, 0, share.pattern, at, size, f"{_sdma(engine)} from GPU {index}", "BAR0")
        verified = self._second(gpu, engine, here, 0, share.pattern, at, size, f"{_sdma(engine)} from GPU {index}")
        here.free()
        remote.free()
        return self._moved(size, verified, f"{size} bytes by {_sdma(engine)}")

    def _push(self, gpu: OpenedGpu, index: int, share: _Share, mine: _Share) -> _Done:
        """Our memory into our slot of theirs; we read it back by another engine, they through their BAR0 later."""
        size = self.level.peer_bytes
        at = gpu.node[0] * share.slot
        engine = self._any_engine(gpu, index + 1)
        remote = gpu.map_peer(share.landing)
        gpu.copy_many([(remote, at, mine.source, 0, size)], engine=engine)
        gpu.synchronize(engine=engine)
        self._faults(gpu, f"{_sdma(engine)} over XGMI")
        share.came[self.subject.index] = mine.pattern
        mover, owner = f"{_sdma(engine)} to GPU {index}", f"GPU {index}"
        verified = self._second(gpu, engine, remote, at, mine.pattern, 0, size, mover, owner)
        remote.free()
        return self._moved(size, verified, f"{size} bytes by {_sdma(engine)}")

    def _arrival(self, mine: _Share, index: int, pattern: Pattern) -> _Done:
        """What a peer pushed, read through our BAR0, with the guard behind it."""
        size = self.level.peer_bytes
        at = self.run.shares[index].gpu.node[0] * mine.slot
        self._same(mine.landing, at, pattern, 0, size, f"GPU {index}", "BAR0")
        guard = compare(np.full(mine.slot - size, BACKGROUND, np.uint8), mine.landing.read(at + size, mine.slot - size))
        self._right(guard, mine.landing, at + size, f"GPU {index}", "BAR0")
        return self._moved(size, True, f"{size} bytes")

    def _same(
        self, memory: Memory, at: int, pattern: Pattern, offset: int, size: int, engine: str, reader: str
    ) -> None:
        for piece, count in chunks(size):
            wrong = compare(pattern.part(offset + piece, count), memory.read(at + piece, count))
            self._right(wrong, memory, at + piece, engine, reader)

    def _second(
        self,
        gpu: OpenedGpu,
        engine: int,
        memory: Memory,
        at: int,
        pattern: Pattern,
        offset: int,
        size: int,
        what: str,
        of: str = "",
    ) -> bool:
        """Read back by another engine; False when none is left. `of`: whose memory it is, when not ours."""

        def pieces() -> Iterator[_Piece]:
            return ((at + piece, pattern.part(offset + piece, count)) for piece, count in chunks(size))

        return self._read_back(gpu, engine, memory, pieces, what, of) is not None

    def _any_engine(self, gpu: OpenedGpu, number: int) -> int:
        engines = [one for one in self._engines(gpu) if _sdma(one) not in self.stuck]
        if not engines:
            raise InvalidData("choosing an engine for peer copies", expected="an engine that works", seen="all failed")
        return engines[number % len(engines)]


_LOOK_AT_MEMORY: Final = (
    "gpumend probe (RAS counters); selftest --engine N tells whether it is the engine or the memory"
)
_LOOK_AT_LINKS: Final = "gpumend probe: the XGMI links of both GPUs"


def _sdma(number: int) -> str:
    return f"SDMA{number}"


def _image(copies: Plan, pattern: Pattern, at: int, size: int) -> NDArray[np.uint8]:
    """What the target must hold from `at` on, without making the whole of it."""
    image = np.full(size, BACKGROUND, np.uint8)
    for one in copies.transfers:
        low, high = max(at, one.dst_offset), min(at + size, one.dst_offset + one.size)
        if low < high:
            image[low - at : high - at] = pattern.part(one.src_offset + low - one.dst_offset, high - low)
    return image
