"""Does this NVIDIA GPU do what it is for: open, move data with every copy engine, wait and release, fence, tell the time.

    run(subjects, "quick", clock) -> one SelftestReport a GPU, in the order given

Through the loaded driver, beside whoever else uses the GPU: it takes its own memory and channels and changes no setting.
Data that one engine moved are carried to the host by another, and the first of them are read through BAR1, too. A failed
check leaves the others standing; an engine that fails ends its own checks; a GPU that is lost ends all of its own. Source:
nvidia-rm.md sections 5 and 16; DESIGN section 5 (exit codes of acting commands)."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from base.clock import Clock
from base.errors import DeviceLost, Exit, GpumendError, InvalidData, Unavailable, UsageError
from base.patterns import ALIGNMENTS, Pattern, compare, plan, sizes_up_to
from base.selftest import (
    Check,
    DataWrong,
    Level,
    SelftestProgress,
    SelftestReport,
    Status,
    findings_of,
    one_line,
)
from nvdriver import pushbuffer

if TYPE_CHECKING:
    from nvdriver.channel import Channel
    from nvdriver.opengpu import NvBuffer, OpenNvGpu

CHECKS: Final = ("boot", "memory", "copies", "semaphores", "compute", "timestamps", "channels", "close")
SKIPPABLE: Final = CHECKS[1:-1]
FINDINGS: Final = "nv.selftest"
SUMMARIES: Final = {
    "boot": "the GPU cannot be opened",
    "memory": "memory does not hold what was copied there",
    "copies": "a copy engine fails",
    "semaphores": "semaphores are not waited for or not released",
    "compute": "the channel of graphics and compute does not fence",
    "timestamps": "the clock does not run forwards",
    "channels": "channels side by side fail, or cannot be made anew",
    "close": "the GPU could not be closed cleanly",
    "lost": "the GPU is lost from the bus",
    "unreachable": "the GPU cannot be reached any more",
}
BACKGROUND: Final = 0xA5
BAR1_BYTES: Final = 1 << 20
REMADE_QUICK, REMADE_FULL = 16, 1000  # channels that are made and closed
PACE_S: Final = 5e-3
PACE_TOLERANCE: Final = 0.05
_LOOK: Final = "gpumend probe (Xids, ECC); --engine N tells whether it is the engine or the memory"


@dataclass(frozen=True, slots=True)
class Subject:
    """A GPU to test and how to open it. `open` raises GpumendError when it cannot be."""

    index: int
    bdf: str
    part: str
    arch: str
    open: Callable[[], OpenNvGpu]


@dataclass(slots=True)
class _Done:
    """What a check came to when nothing was wrong."""

    bytes: int = 0
    expected: str = ""
    seen: str = ""
    verified: bool = True
    reason: str = ""


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
    """Test all of them side by side. `skip`: names of checks; `engines`: only these copy engines; `seed`: of the patterns."""
    wanted = None if engines is None else tuple(sorted(set(engines)))
    lives = [_Life(one, level, clock, frozenset(skip), wanted, seed, progress or (lambda _: None)) for one in subjects]
    return [outcome.unwrap() for outcome in clock.run_together([life.live for life in lives])]


class _Life:
    """One GPU from opening to closing."""

    def __init__(
        self,
        subject: Subject,
        level: Level,
        clock: Clock,
        skip: frozenset[str],
        engines: tuple[int, ...] | None,
        seed: int,
        progress: Callable[[SelftestProgress], None],
    ) -> None:
        self.subject = subject
        self.level = level
        self.clock = clock
        self.skip = skip
        self.wanted = engines
        self.seed = seed
        self.progress = progress
        self.checks: list[Check] = []
        self.failures: list[tuple[Check, GpumendError]] = []
        self.stuck: dict[str, str] = {}
        self.error: GpumendError | None = None
        self.start_state: str | None = None
        self.steps: tuple[str, ...] = ()
        self.total = len(CHECKS)
        self.gpu: OpenNvGpu | None = None

    # ---- the course of it

    def live(self) -> SelftestReport:
        start, wall = self.clock.now(), time.perf_counter()
        self._live()
        who = self.subject
        return SelftestReport(
            who.index, who.bdf, who.part, who.arch, self.start_state, tuple(self.checks),
            findings_of(self.failures, FINDINGS, SUMMARIES), self.error, self.clock.now() - start, time.perf_counter() - wall,
            self.steps,
        )  # fmt: skip

    def _live(self) -> None:
        try:
            self._check("boot", "", self._boot)
        except DeviceLost as end:
            self.error = end
        gpu = self.gpu
        if gpu is None:
            return
        try:
            self._own(gpu)
        except Unavailable as end:
            self.error = end
        except BaseException:
            with suppress(GpumendError):
                gpu.close()
            raise
        self._close(gpu)

    def _boot(self) -> _Done:
        gpu = self.gpu = self.subject.open()
        self.start_state, self.steps = "driven", gpu.steps
        self.total = 5 + len(self._engines(gpu))
        classes = gpu.classes
        names = f"{classes.channel:04x} {classes.compute:04x} {classes.copy:04x}"
        return _Done(
            expected="open",
            seen=f"driver {gpu.version}, {gpu.engines} copy engines, classes {names}, {len(gpu.steps)} steps",
        )

    def _engines(self, gpu: OpenNvGpu) -> list[int]:
        return [number for number in range(gpu.engines) if self.wanted is None or number in self.wanted]

    def _own(self, gpu: OpenNvGpu) -> None:
        engines = self._engines(gpu)
        for number in self.wanted or ():
            if number >= gpu.engines:
                self._skip("copies", f"CE{number}", f"there is none: it has {gpu.engines}", applies=True)
        if not engines:
            return
        first = gpu.engine_name(engines[0])
        self._check("memory", first, lambda: self._memory(gpu, engines[0]))
        for number in engines:
            self._check("copies", gpu.engine_name(number), partial(self._engine, gpu, number))
        self._check("semaphores", "", lambda: self._semaphores(gpu, engines))
        self._check("compute", "compute", lambda: self._compute(gpu))
        self._check("timestamps", "", lambda: self._timestamps(gpu, engines))
        self._check("channels", "", lambda: self._channels(gpu, engines))

    def _close(self, gpu: OpenNvGpu) -> None:
        if isinstance(self.error, Unavailable):
            with suppress(GpumendError):  # what we hold on this side is given back all the same
                gpu.close()
            return

        def close() -> _Done:
            gpu.close()
            return _Done(expected="closed", seen="closed")

        try:
            self._check("close", "", close)
        except Unavailable as lost:
            self.error = lost

    # ---- one check

    def _check(self, name: str, engine: str, work: Callable[[], _Done]) -> None:
        """Run it and note what came of it. Only a GPU that is gone gets past."""
        if name in self.skip:
            self._skip(name, engine, "left out by --skip", applies=False)
            return
        if engine in self.stuck:
            self._skip(name, engine, f"{engine} failed in the check {self.stuck[engine]!r}", applies=True)
            return
        self._tell(name, engine)
        start, wall = self.clock.now(), time.perf_counter()
        try:
            done = work()
        except GpumendError as error:
            self._failed(name, engine, error, self.clock.now() - start, time.perf_counter() - wall)
            if isinstance(error, DeviceLost) or (name != "boot" and isinstance(error, Unavailable)):
                raise
            return
        passed = Check(
            name, engine, Status.OK, done.reason, done.bytes, self.clock.now() - start, time.perf_counter() - wall,
            done.expected, done.seen, self.subject.bdf, True, done.verified,
        )  # fmt: skip
        self._note(passed)

    def _failed(self, name: str, engine: str, error: GpumendError, seconds: float, wall_s: float) -> None:
        failed = Check(
            name, engine, Status.FAILED, str(error.args[0]), 0, seconds, wall_s, error.expected, one_line(error.seen),
            error.where or self.subject.bdf,
        )  # fmt: skip
        self._note(failed)
        self.failures.append((failed, error))
        if name == "boot" and error.exit_code not in (Exit.PROBLEM, Exit.UNKNOWN):
            self.error = error
        if engine:
            self.stuck[engine] = name
        if self.gpu is not None and name != "close" and not isinstance(error, Unavailable):
            with suppress(GpumendError):  # the next check tells
                self.gpu.recover()

    def _skip(self, name: str, engine: str, reason: str, *, applies: bool) -> None:
        self._note(Check(name, engine, Status.SKIPPED, reason, where=self.subject.bdf, applies=applies))

    def _note(self, check: Check) -> None:
        self.checks.append(check)
        self._tell(check.name, check.engine)

    def _tell(self, name: str, engine: str) -> None:
        who, done = self.subject, len(self.checks)
        self.progress(SelftestProgress(who.index, who.bdf, name, engine, done, max(self.total, done)))

    def _pattern(self, *words: object) -> Pattern:
        """The same in every run, another for every purpose and GPU."""
        return Pattern(zlib.crc32(repr((self.seed, self.subject.index, *words)).encode()))

    # ---- memory and engines

    def _memory(self, gpu: OpenNvGpu, engine: int) -> _Done:
        """All sizes up to the level's largest, all alignments; the small ones are read through BAR1, too."""
        sizes = sizes_up_to(self.level.most_bytes)
        small = tuple(size for size in sizes if size <= 64 << 10) * 2
        moved, verified = self._patterned(gpu, engine, small, ALIGNMENTS, "memory")
        self._through_bar1(gpu, engine)
        for number, size in enumerate(size for size in sizes if size > 64 << 10):
            turn = (ALIGNMENTS[number % len(ALIGNMENTS)],)
            more, good = self._patterned(gpu, engine, (size,), turn, f"memory {size}")
            moved, verified = moved + more, verified and good
        return self._moved(moved, verified, f"copies of 1 to {sizes[-1]} bytes, and {BAR1_BYTES} through BAR1")

    def _engine(self, gpu: OpenNvGpu, engine: int) -> _Done:
        """A few sizes, from the host and back, and fills."""
        sizes = (1, 3, 4, 64, 65, 4095, 4096, 4097, 65536 + 13, self.level.engine_bytes)
        turned = ALIGNMENTS[engine % len(ALIGNMENTS) :] + ALIGNMENTS[: engine % len(ALIGNMENTS)]
        moved, verified = self._patterned(gpu, engine, sizes, turned, f"engine {engine}")
        for size in (1, 2, 5, 4096, 65536 + 3):
            with gpu.alloc(size + 128) as target:
                gpu.fill(target, BACKGROUND, engine=engine)
                gpu.fill(target, engine + 1, size, offset=61, engine=engine)
                wanted = np.full(size + 128, BACKGROUND, np.uint8)
                wanted[61 : 61 + size] = engine + 1
                self._verify(gpu, target, wanted, engine, f"fill of {size} bytes")
            moved += size
        return self._moved(moved, verified, f"{len(sizes)} copies from the host on, fills, read back by another engine")

    @staticmethod
    def _moved(moved: int, verified: bool, what: str) -> _Done:
        doubt = "" if verified else "no second engine was left to read back with"
        return _Done(moved, "the pattern, and what is beside it untouched", f"the same: {what}", verified, doubt)

    def _patterned(
        self, gpu: OpenNvGpu, engine: int, sizes: tuple[int, ...], alignments: tuple[tuple[int, int], ...], purpose: str
    ) -> tuple[int, bool]:
        """Host memory to VRAM and VRAM to VRAM by `engine`, back by another; (bytes moved, whether there was another)."""
        copies = plan(sizes, alignments)
        source = self._pattern(purpose).part(0, copies.source_bytes)
        with (
            gpu.alloc(copies.source_bytes, where="host") as host,
            gpu.alloc(copies.source_bytes) as first,
            gpu.alloc(copies.target_bytes) as second,
        ):
            host.write(source.tobytes())
            gpu.copy(first, host, engine=engine)
            gpu.fill(second, BACKGROUND, engine=engine)
            gpu.copy_many(
                [(second, one.dst_offset, first, one.src_offset, one.size) for one in copies.transfers], engine=engine
            )
            gpu.synchronize(engine=engine)
            other = self._verify(gpu, second, copies.image(source, BACKGROUND), engine, purpose)
        return copies.moved_bytes + copies.source_bytes, other

    def _verify(self, gpu: OpenNvGpu, target: NvBuffer, wanted: np.ndarray, engine: int, purpose: str) -> bool:
        """Carried to the host by another engine than the one that wrote it. Whether there was another."""
        reader = self._reader(gpu, engine)
        gpu.synchronize(engine=engine)
        with gpu.alloc(len(wanted), where="host") as page:
            gpu.copy(page, target, len(wanted), engine=reader)
            gpu.synchronize(engine=reader)
            self._compare(wanted, page.read(), purpose, gpu.engine_name(engine))
        return reader != engine

    def _reader(self, gpu: OpenNvGpu, engine: int) -> int:
        for step in range(1, gpu.engines):
            number = (engine + step) % gpu.engines
            if gpu.engine_name(number) not in self.stuck:
                return number
        return engine

    def _compare(self, wanted: np.ndarray, seen: bytes, purpose: str, engine: str) -> None:
        wrong = compare(wanted, seen)
        if wrong is not None:
            raise DataWrong(
                f"verifying {purpose} of {engine}", expected=f"{wrong.expected.hex()} at +{wrong.offset:#x}",
                seen=f"{wrong.seen.hex()}; {wrong}", where=f"{engine} of {self.subject.bdf}", next_step=_LOOK,
            )  # fmt: skip

    def _through_bar1(self, gpu: OpenNvGpu, engine: int) -> None:
        """What the processor writes the engines read, and the other way round."""
        data = self._pattern("BAR1").part(0, BAR1_BYTES)
        buffers = gpu.alloc_mapped(BAR1_BYTES), gpu.alloc_mapped(BAR1_BYTES)
        try:
            buffers[0].write(data.tobytes())
            gpu.copy(buffers[1], buffers[0], engine=engine)
            self._compare(data, buffers[1].read(), "BAR1", gpu.engine_name(engine))
        finally:
            for one in buffers:
                one.free()

    # ---- order and time

    def _semaphores(self, gpu: OpenNvGpu, engines: list[int]) -> _Done:
        """Each engine waits for the host, then releases for the next one, in a ring of all."""
        turns = 2
        with gpu.alloc(16 * (len(engines) + 1), where="host") as gates:
            gates.write(bytes(gates.size))
            sent: list[tuple[Channel, int]] = []
            for turn in range(1, turns + 1):
                for place, number in enumerate(engines):
                    channel = gpu.channel(number)
                    at, after = gates.gpu_va + 16 * place, gates.gpu_va + 16 * (place + 1)
                    sent.append(
                        (channel, channel.submit(pushbuffer.acquire(at, turn) + pushbuffer.release(after, turn)))
                    )
            self._require(not any(channel.reached >= value for channel, value in sent), "waiting", "released too early")
            for turn in range(1, turns + 1):
                self._host_store(gates, turn)
                for channel, value in sent[(turn - 1) * len(engines) : turn * len(engines)]:
                    channel.wait(value)
            last = int.from_bytes(gates.read(16 * len(engines), 8), "little")
            self._require(last == turns, f"value {turns} at the end of the ring", f"{last}")
        return _Done(
            expected="each waits and is released", seen=f"{turns} turns around {len(engines)} engines and the host"
        )

    @staticmethod
    def _host_store(gates: NvBuffer, value: int) -> None:
        memory = gates.held("opening a gate")
        assert memory.cpu is not None, "host memory is mapped"
        memory.cpu[0:8] = value.to_bytes(8, "little")

    def _require(self, holds: bool, expected: str, seen: str) -> None:
        if not holds:
            raise InvalidData(
                "checking the order of work",
                expected=expected,
                seen=seen,
                where=self.subject.bdf,
                next_step="gpumend probe",
            )

    def _compute(self, gpu: OpenNvGpu) -> _Done:
        """Stores and a fence by the channel of graphics and compute. No shader runs: none is at hand."""
        channel = gpu.channel(None)
        words = self._pattern("compute").part(0, 64).view("<u4")
        with gpu.alloc(64, where="host") as page:
            page.write(bytes(64))
            stores = b"".join(pushbuffer.store32(page.gpu_va + 4 * at, int(word)) for at, word in enumerate(words))
            channel.wait(channel.submit(pushbuffer.invalidate_caches() + stores + pushbuffer.interrupt()))
            self._compare(words.view(np.uint8), page.read(), "stores", "compute")
        return _Done(64, "16 words and a fence", "the same, and the fence; no shader was run")

    def _timestamps(self, gpu: OpenNvGpu, engines: list[int]) -> _Done:
        count = self.level.stamps
        for number in engines:
            before = gpu.timer_ns()
            stamps = gpu.timestamps(number, count)
            order = [before, *stamps, gpu.timer_ns()]
            self._require(
                order == sorted(order), "stamps that never go back", f"{gpu.engine_name(number)}: {order[:8]}"
            )
        began, first = self.clock.now(), gpu.timer_ns()
        self.clock.sleep(PACE_S)
        taken, ticks = self.clock.now() - began, (gpu.timer_ns() - first) / 1e9
        slack = PACE_TOLERANCE * taken + 1e-3  # reading the clocks takes time, too
        self._require(abs(ticks - taken) < slack, f"{taken:.6f} s on the GPU's clock", f"{ticks:.6f} s")
        return _Done(
            expected="never backwards, nanoseconds", seen=f"{count} on each of {len(engines)} engines, pace right"
        )

    def _channels(self, gpu: OpenNvGpu, engines: list[int]) -> _Done:
        """Two channels of one engine take turns; then channels are made and closed."""
        one, two = gpu.new_channel(engines[0]), gpu.new_channel(engines[0])
        turns = 8
        try:
            with gpu.alloc(32, where="host") as gates:
                gates.write(bytes(32))
                here, there = gates.gpu_va, gates.gpu_va + 16
                for turn in range(1, turns + 1):
                    mine = one.submit(pushbuffer.acquire(there, turn - 1) + pushbuffer.release(here, turn))
                    theirs = two.submit(pushbuffer.acquire(here, turn) + pushbuffer.release(there, turn))
                one.wait(mine)
                two.wait(theirs)
        finally:
            for channel in (two, one):
                channel.close()
        remade = REMADE_FULL if self.level.name == "full" else REMADE_QUICK
        for number in range(remade):
            gpu.new_channel(engines[number % len(engines)]).close()
        return _Done(
            expected="both go on, and new ones can be made", seen=f"{turns} turns, {remade} channels made and closed"
        )


def check_words(skip: Iterable[str], known: Iterable[str]) -> None:
    """UsageError for a check that neither vendor has."""
    wrong = set(skip) - set(known)
    if wrong:
        raise UsageError(
            "choosing checks of the self-test", expected=f"some of {' '.join(known)}", seen=" ".join(sorted(wrong))
        )


def plan_lines(
    level: Level, engines: int | None, *, only: Sequence[int] | None = None, skip: Sequence[str] = ()
) -> list[str]:
    """What a run would do to one GPU, in words. `engines` None: how many it has is told once it is opened."""
    numbers = only if only is not None else range(engines) if engines is not None else None
    asked = None if numbers is None else [number for number in numbers if engines is None or number < engines]
    which = (
        "each copy engine" if asked is None else f"{len(asked)} copy engines" if len(asked) != 1 else f"CE{asked[0]}"
    )
    lines = {
        "boot": "boot: open the GPU through its loaded driver, with memory and channels of our own; others keep theirs",
        "memory": f"memory: copies of 1 to {level.most_bytes} bytes, all alignments, verified by another engine and by BAR1",
        "copies": f"copies: up to {level.engine_bytes} bytes from the host, within VRAM and back, and fills, on {which}",
        "semaphores": "semaphores: waits and releases around all engines and the host",
        "compute": "compute: stores and a fence; no shader is run",
        "timestamps": f"timestamps: {level.stamps} on each engine, never backwards, nanoseconds",
        "channels": "channels: two side by side on one engine; many made and closed",
        "close": "close: everything that was made is freed",
    }
    return [line for name, line in lines.items() if name not in skip]
