"""Runs a scenario: preconditions, then one iteration after the other, each watched, judged and written down before
the next.

One iteration: every action in its order, after each a look at what the watchers saw; then a probe of all GPUs that
may be hit, which is also the probe before the next one. It ends at the first reproduction (unless asked to go on), at
the count, at the time limit, at too many failures, and when somebody asks to stop. Then what the scenario says puts
the GPUs back, if they are not as before.

DESIGN section 6: nothing hangs (each module has limits), evidence first, unknown is never healthy, time is a
parameter."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from base.clock import Clock
from base.errors import GpumendError, Refused
from base.findings import ProbeReport
from base.runs import Iteration, RunOutcome, RunReport, Word, statistics
from repro.judge import Facts, judge, known_before, new_findings
from repro.modules import Done, Tools, act
from repro.preconditions import check_now, check_reports
from repro.record import Record
from repro.scenario import COUNT, Action, Scenario
from repro.watching import NoWatch, Seen, Watch, Watcher
from resets.critical import Asked, finished
from resets.subject import Subject, on_host

MAX_SAMPLES = 1_000_000
MAX_WAVE_FILES = 12


class Onlooker(Protocol):
    """Who is told how it goes, live."""

    def begun(self, number: int, asked: int) -> None: ...

    def acting(self, action: Action) -> None: ...

    def ended(self, iteration: Iteration, so_far: Sequence[Iteration]) -> None: ...

    def say(self, text: str) -> None: ...


class Silent:
    """Nobody looks."""

    def begun(self, number: int, asked: int) -> None: ...

    def acting(self, action: Action) -> None: ...

    def ended(self, iteration: Iteration, so_far: Sequence[Iteration]) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass(slots=True)
class Means:
    """What a run works with. `wanted` of `everyone` in reach; `probe` asks GPUs; `tools` do; `evidence` writes a
    quick bundle into a folder; `traces` gives what was recorded of the register accesses of each GPU, by index."""

    everyone: Sequence[Subject]
    wanted: Sequence[Subject]
    probe: Callable[[Sequence[Subject]], list[ProbeReport]]
    tools: Tools
    evidence: Callable[[Sequence[Subject], Sequence[ProbeReport], str, Path], object]
    traces: Callable[[], Mapping[int, bytes]] = dict
    settings: Mapping[str, Any] = field(default_factory=dict)
    onlooker: Onlooker = field(default_factory=Silent)
    asked: Asked = field(default_factory=Asked)


def run(scenario: Scenario, means: Means, folder: Path) -> RunReport:
    """Run it into a new folder. What GPUs, drivers and files did is in the report; raised is what keeps it from
    beginning: Refused, NotPermitted, Unavailable of the preconditions, and of the folder. Then nothing was done."""
    check_now(scenario, means.wanted, means.everyone, means.tools)
    reports = means.probe(means.everyone)
    check_reports(scenario, means.wanted, reports)
    record = Record(folder, means.settings, scenario.text)
    try:
        return _Run(scenario, means, record, reports).go()
    finally:
        record.close()


class _Run:
    def __init__(self, scenario: Scenario, means: Means, record: Record, reports: Sequence[ProbeReport]) -> None:
        self.scenario, self.means, self.record = scenario, means, record
        self.reports = list(reports)
        self.before = known_before(reports)
        self.iterations: list[Iteration] = []
        self.samples: list[float] = []
        self.throttled: dict[str, float] = {}
        self.notes: list[str] = []
        self.kept = 0
        self.kept_waves = 0
        self.wall = time.monotonic()
        self.clocks: list[tuple[Clock, float]] = [
            (clock, clock.now()) for clock in {id(one.clock): one.clock for one in means.everyone}.values()
        ]
        self.watcher: Watcher = NoWatch()
        self.restored: bool | None = None
        self.looked = True  # at all GPUs, since something was done to one

    # ---- the run

    def go(self) -> RunReport:
        self._write_start()
        self.watcher = self._watch()
        error: GpumendError | None = None
        interrupted = False
        try:
            interrupted, error = self._loop()
            if not self.looked:
                self.notes.append(
                    "it was interrupted in the middle of a step: gpumend probe tells what the GPUs are now"
                )
            elif self._not_as_before():
                self._restore()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self.watcher.close()
        return self._end(interrupted, error)

    def _write_start(self) -> None:
        self._keep_reports("probe/before.json", self.reports)
        self.record.add("probe", when="before", gpus=[_short(one) for one in self.reports])

    def _watch(self) -> Watcher:
        wanted = frozenset(self.scenario.watch) & {"kernel-log", "devcoredump", "uevents"}
        tools = self.means.tools
        if not wanted or not any(on_host(one) for one in self.means.wanted):
            self.record.add("watch", what=[], note=NoWatch.reason if wanted else "nothing of the kernel is watched")
            return NoWatch()
        watcher = Watch(self.record.folder, self.scenario.kernel_log, wanted, tools.sys_root, _kmsg(tools)).start()
        self.record.add("watch", what=sorted(wanted), note=watcher.reason)
        return watcher

    def _loop(self) -> tuple[bool, GpumendError | None]:
        """Whether it was interrupted, and what ended it before its time."""
        deadline = None if self.scenario.duration_s is None else self._seconds() + self.scenario.duration_s
        while len(self.iterations) < self.scenario.count:
            number = len(self.iterations) + 1
            self.means.onlooker.begun(number, self.scenario.count)
            self.record.add("iteration", number=number, state="begin")
            try:
                with finished(self.means.asked, self.means.onlooker.say):
                    word, refusal = self._iterate(number)
            except KeyboardInterrupt:
                self.record.add("iteration", number=number, state="interrupted")
                return True, None
            if refusal is not None:
                self.record.add("iteration", number=number, state="refused")
                return False, refusal
            if self.means.asked:
                return True, None
            if self._ends(word):
                return False, None
            if deadline is not None and self._seconds() >= deadline:
                self.notes.append(f"the time limit of {self.scenario.duration_s:g} s was reached")
                return False, None
            self._pause()
        return False, None

    def _pause(self) -> None:
        for clock, _ in self.clocks:
            clock.sleep(self.scenario.pause_s)

    def _ends(self, word: Word) -> bool:
        if word is Word.OK:
            return False
        if word is Word.REPRODUCED:
            if self.scenario.stop_after != COUNT:
                return True
            # Counting goes on from GPUs that are well, or the next iterations would say nothing.
            if self._not_as_before():
                self._restore()
            return self._not_as_before()
        failures = sum(one.word is not Word.REPRODUCED and one.word is not Word.OK for one in self.iterations)
        return failures >= self.scenario.stop_failures

    def _iterate(self, number: int) -> tuple[Word, GpumendError | None]:
        wall, began = time.monotonic(), self._seconds()
        facts = Facts(samples=self.samples, throttled={})
        throttled: dict[str, float] = {}
        whole, self.looked = True, False
        for action in self.scenario.actions:
            whole = not self.means.asked  # somebody asked to stop while the one before was at work
            if not whole:
                break
            done = self._act(number, action)
            if done.status == "refused":
                self._probe_after(Facts())
                return Word.FAILED, done.error
            facts.actions[action.name] = done
            self.samples += done.samples[: MAX_SAMPLES - len(self.samples)]
            for name, seconds in done.throttled.items():
                throttled[name] = throttled.get(name, 0.0) + seconds
                self.throttled[name] = self.throttled.get(name, 0.0) + seconds
            seen = self._look(number)
            facts.seen.append(seen)
            self._prove(number, action, done, seen)
            self._keep_waves(number, action, done)
            whole = done.status != "interrupted"
            if done.status in ("failed", "interrupted"):
                break  # what comes next was meant for a GPU on which this had worked
        facts.throttled = throttled
        self._probe_after(facts)
        if not whole:
            raise KeyboardInterrupt  # an iteration that was not done counts as none
        facts.seen.append(self._look(number))
        word, why = judge(self.scenario, facts, self.before)
        one = Iteration(number, word, self._seconds() - began, time.monotonic() - wall, why)
        self.iterations.append(one)
        self.record.add(
            "iteration", number=number, state="end", word=str(word), why=list(why), seconds=round(one.seconds, 6),
            wall_s=round(one.wall_s, 3), incidence=f"{_count(self.iterations, Word.REPRODUCED)} of {number}",
            gpus=[_short(report) for report in self.reports],
        )  # fmt: skip
        if word is not Word.OK:
            self._keep_failure(number)
        self.means.onlooker.ended(one, self.iterations)
        return word, None

    def _act(self, number: int, action: Action) -> Done:
        self.means.onlooker.acting(action)
        self.record.add("action", number=number, name=action.name, module=action.module, state="begin")
        began = self._seconds()
        try:
            done = act(action, self._subjects(action), self.means.tools)
        except GpumendError as error:  # what keeps us from doing it at all
            done = Done("refused", error=error)
        took = self._seconds() - began
        if done.status == "done" and action.duration_s is not None and took > action.duration_s:
            done.status = "failed"
            done.error = GpumendError(
                f"the action {action.name}", expected=f"its end within {action.duration_s:g} s", seen=f"{took:.3f} s",
                verb="took too long",
            )  # fmt: skip
        self.record.add(
            "action", number=number, name=action.name, state=done.status, seconds=round(took, 6), told=done.told,
            error=None if done.error is None else str(done.error),
        )  # fmt: skip
        return done

    def _prove(self, number: int, action: Action, done: Done, seen: Seen) -> None:
        """What only the kernel knows (nothing can be marked in a GPU that its driver holds) is proved by what it says."""
        wanted = action.settings.get("proved_by")
        lines = [line for name, line in seen.matches if name == wanted]
        if done.status == "unverified" and lines:
            done.status = "done"
            self.record.add("proof", number=number, name=action.name, line=lines[-1])

    def _subjects(self, action: Action) -> list[Subject]:
        if action.device == "all":
            return list(self.means.wanted)
        if action.device == "first":
            return [self.means.wanted[0]]
        found = [one for one in self.means.wanted if one.index == action.device]
        if not found:
            raise Refused(
                f"the action {action.name}", expected="a GPU that was selected", seen=f"device: {action.device}",
                where=self.scenario.file,
            )  # fmt: skip
        return found

    def _look(self, number: int) -> Seen:
        seen = self.watcher.look()
        if seen:
            self.record.add(
                "seen", number=number, kernel_log=[list(one) for one in seen.matches], devcoredump=list(seen.dumps),
                uevents=list(seen.uevents),
            )  # fmt: skip
        return seen

    def _probe_after(self, facts: Facts) -> None:
        """Of everyone, unless the last action's own probe has just asked them all."""
        last = list(facts.actions.values())[-1] if facts.actions else Done()
        given = {report.index: report for report in last.reports}
        if given.keys() >= {one.index for one in self.means.everyone}:
            self.reports = [given[one.index] for one in self.means.everyone]
        else:
            self.reports = self.means.probe(self.means.everyone)
        facts.after = self.reports
        self.looked = True

    # ---- what is kept

    def _keep_failure(self, number: int) -> None:
        """The GPUs' reports, the register trace and a bundle, of the first few."""
        if self.kept >= 3:
            return
        self.kept += 1
        with _noted(self.notes, "probe reports"):
            self._keep_reports(f"probe/iteration-{number}.json", self.reports)
        with _noted(self.notes, "register trace"):
            for index, data in self.means.traces().items():
                self.record.write(f"trace/gpu{index}-iteration-{number}.jsonl", data)
        with _noted(self.notes, "evidence"):
            self.means.evidence(
                self.means.everyone, self.reports, f"nothing: iteration {number} of {self.scenario.name}",
                self.record.folder / f"evidence-{number}",
            )  # fmt: skip
        self.record.add("kept", number=number, what=["probe", "trace", "evidence"])

    def _keep_waves(self, number: int, action: Action, done: Done) -> None:
        """Registers of waves that stood still, of the first few: the timeline says of all where they stood."""
        for index, text in done.waves.items():
            if self.kept_waves >= MAX_WAVE_FILES:
                return
            self.kept_waves += 1
            with _noted(self.notes, "registers of waves"):
                name = f"waves/iteration-{number}-{action.name}-gpu{index}.txt"
                self.record.write(name, (text + "\n").encode())

    def _keep_reports(self, name: str, reports: Sequence[ProbeReport]) -> None:
        body = {"gpus": [one.to_dict() for one in reports]}
        self.record.write(name, (json.dumps(body, default=str) + "\n").encode())

    # ---- putting back

    def _not_as_before(self) -> bool:
        return bool(new_findings(self.reports, self.before))

    def _restore(self) -> None:
        """What the scenario says puts the GPUs back; whether it did is looked at, not assumed."""
        if not self.scenario.restore:
            self.restored = False
            return
        self.means.asked.signal_name = (
            ""  # who asked to stop, did not ask to leave the GPUs as they are; a second time ends it
        )
        for action in self.scenario.restore:
            self.means.onlooker.acting(action)
            self.record.add("restore", name=action.name, state="begin")
            try:
                done = act(action, self._subjects(action), self.means.tools)
            except GpumendError as error:
                done = Done("refused", error=error)
            self.record.add(
                "restore", name=action.name, state=done.status, told=done.told,
                error=None if done.error is None else str(done.error),
            )  # fmt: skip
            self.reports = self.means.probe(self.means.everyone)
            if not self._not_as_before():
                break
        self.restored = not self._not_as_before()
        self.record.add("probe", when="restored", gpus=[_short(one) for one in self.reports])

    # ---- the end

    def _seconds(self) -> float:
        return sum(clock.now() - start for clock, start in self.clocks)

    def _outcome(self, interrupted: bool, error: GpumendError | None) -> RunOutcome:
        words = {one.word for one in self.iterations}
        if Word.REPRODUCED in words:
            return RunOutcome.REPRODUCED
        if interrupted:
            return RunOutcome.INTERRUPTED
        if error is not None:
            return RunOutcome.REFUSED
        if Word.FAILED in words:
            return RunOutcome.FAILED
        return RunOutcome.UNVERIFIED if Word.UNVERIFIED in words else RunOutcome.CLEAN

    def _end(self, interrupted: bool, error: GpumendError | None) -> RunReport:
        earlier = self.means.settings
        if earlier.get("continues"):
            self.notes.append(f"goes on with {earlier['continues']}, where {earlier.get('before')} reproduced")
        if self.restored is False:
            self.notes.append(
                f"the GPUs are not as they were before; to put them back: {self.scenario.put_back or 'gpumend reset'}"
            )
        if isinstance(self.watcher, Watch) and self.watcher.reason:
            self.notes.append(self.watcher.reason)
        report = RunReport(
            self.scenario.name, self._outcome(interrupted, error), self.scenario.count, tuple(self.iterations),
            str(self.record.folder), self._seconds(), time.monotonic() - self.wall, tuple(self.samples), dict(self.throttled),
            self.restored, tuple(self.notes), error,
        )  # fmt: skip
        report = replace(report, gpus=tuple(self.reports))
        result = result_dict(report)
        self.record.add("end", outcome=str(report.outcome), exit=report.exit_code, incidence=report.incidence)
        self.record.write("result.json", (json.dumps(result, indent=1, default=str) + "\n").encode())
        from repro.text import run_text

        self.record.write("report.md", run_text(self.scenario, report, self.means.settings).encode())
        self.record.finish()
        return report


@contextmanager
def _noted(notes: list[str], what: str) -> Iterator[None]:
    """What cannot be kept is noted; the run goes on."""
    try:
        yield
    except (GpumendError, OSError) as error:
        told = error.seen if isinstance(error, GpumendError) else error.strerror
        notes.append(f"{what} could not be kept: {told}")


def result_dict(report: RunReport) -> dict[str, Any]:
    """Plain JSON values of a whole run."""
    first = report.first
    return {
        "scenario": report.scenario, "outcome": str(report.outcome), "exit": report.exit_code, "asked": report.asked,
        "folder": report.folder, "seconds": round(report.seconds, 6), "wall_s": round(report.wall_s, 3),
        "statistics": statistics(report),
        "first": None if first is None else {"iteration": first.number, "word": str(first.word), "why": list(first.why)},
        "iterations": [
            {
                "number": one.number, "word": str(one.word), "seconds": round(one.seconds, 6),
                "wall_s": round(one.wall_s, 3), "why": list(one.why),
            }
            for one in report.iterations
        ],
        "restored": report.restored, "notes": list(report.notes), "gpus": [_short(one) for one in report.gpus],
    }  # fmt: skip


def _short(report: ProbeReport) -> dict[str, Any]:
    """A report in a line: its findings, and what changes from one look to the next."""
    facts = report.facts
    links = (facts.get("xgmi") or {}).get("links") or []
    ras, psp, smu = facts.get("ras") or {}, facts.get("psp") or {}, facts.get("smu") or {}
    return {
        "index": report.index, "bdf": report.bdf, "part": report.part, "arch": report.arch,
        "health": str(report.health), "action": str(report.action),
        "findings": [
            {"code": one.code, "severity": str(one.severity), "summary": one.summary, "seen": one.seen}
            for one in report.findings
        ],
        "xgmi_links": {str(one.get("link")): one.get("state") for one in links} or None,
        "ras": {"fatal": ras.get("fatal"), "controller": ras.get("controller")},
        "bootloader": psp.get("bootloader"), "sos_alive": psp.get("sos_alive"), "smu_alive": smu.get("alive"),
    }  # fmt: skip


def _count(iterations: Sequence[Iteration], word: Word) -> int:
    return sum(one.word is word for one in iterations)


def _kmsg(tools: Tools) -> Path:
    """The kernel's log; beside a test's tree of /sys its own."""
    return Path("/dev/kmsg") if tools.sys_root == Path("/sys") else tools.sys_root.parent / "dev/kmsg"
