"""One climb: probe, choose a rung, write down that it begins, carry it out, probe again, judge; go up until all is well.

It ends when every GPU is well, when nothing is left to try, at the attempt cap, when the time budget is used up, at once when a
step made something worse, and when somebody asks to stop (then the step that was begun is finished first).
Source: DESIGN section 6 rules 1, 4, 5 and 6; amd-resets.md section 10."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from base.errors import GpumendError, Refused, Undecided
from base.findings import Action, Health, ProbeReport
from base.resets import GpuOutcome, Outcome, ResetStep, StepStatus, numbers
from resets import safety
from resets.critical import Asked, finished
from resets.grouping import Group, regroup
from resets.journal import Entry, Journal
from resets.ladder import FIRST, XGMI, Climb, Rung, answer_of, next_rungs, row_of, whole_of
from resets.makeway import KEEPERS
from resets.mechanics import Done, Mechanic
from resets.methods import AUTO, METHODS, Doer, Method, Scope, method_of
from resets.safety import Situation
from resets.subject import Subject, named
from resets.verify import Judgement, compare, is_cured, is_well, judge

ATTEMPTS = 5
BUDGET_S = 900.0


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. `deep`: a GPU that is well is reset too, as a whole (what a soak is for); `force`: methods that the
    safety table may be overruled for; `shown`: indices of the GPUs that somebody was told of before they agreed (None:
    nobody was asked), and no other is hit."""

    method: str = AUTO
    force: frozenset[str] = frozenset()
    attempts: int = ATTEMPTS
    budget_s: float = BUDGET_S
    deep: bool = False
    shown: frozenset[int] | None = None


class Watcher(Protocol):
    """Who is told how it goes; every method may do nothing."""

    def step(self, number: int, rung: Rung) -> None: ...

    def stage(self, name: str) -> None: ...

    def judged(self, step: ResetStep) -> None: ...

    def say(self, text: str) -> None: ...


class Way(Protocol):
    """Makes way for a method (makeway.py)."""

    def check(self, subjects: Sequence[Subject], method: Method) -> object:
        """Refused, with who is in the way, when `clear` would be; does nothing."""
        ...

    def clear(self, subjects: Sequence[Subject], method: Method) -> None: ...


class Silent:
    """Nobody watches."""

    def step(self, number: int, rung: Rung) -> None: ...

    def stage(self, name: str) -> None: ...

    def judged(self, step: ResetStep) -> None: ...

    def say(self, text: str) -> None: ...


@dataclass(slots=True)
class Means:
    """What a climb works with. `probe` asks GPUs; `around` tells the situation of a GPU for a rung; `way` makes way
    (unbinds, ends holders) or raises Refused with who is in it; `evidence` writes the bundle, once,
    before the first step, of `covers` (nobody: of the first group): it gives the folder."""

    probe: Callable[[Sequence[Subject]], list[ProbeReport]]
    mechanic: Mechanic
    around: Callable[[Subject, Rung, Group], Situation]
    way: Way
    evidence: Callable[[Sequence[Subject], Sequence[ProbeReport], str], str]
    journal: Journal
    watcher: Watcher = field(default_factory=Silent)
    asked: Asked = field(default_factory=Asked)
    covers: tuple[Sequence[Subject], Sequence[ProbeReport]] = ((), ())
    bundle: str = ""


@dataclass(slots=True)
class Result:
    """What a climb came to."""

    outcomes: list[GpuOutcome]
    steps: list[ResetStep]
    finished: str = ""
    notes: list[str] = field(default_factory=list)


def climb(group: Group, request: Request, means: Means, first: Mapping[int, ProbeReport], number: int = 1) -> Result:
    """Bring the wanted GPUs of one group back. `first`: what a probe just said of everyone; `number` of the first step.

    Raises nothing that a GPU, a driver or a process did; NotPermitted and Unavailable of the journal and the bundle."""
    return _Run(group, request, means, dict(first), number).run()


class _Run:
    def __init__(
        self, group: Group, request: Request, means: Means, first: dict[int, ProbeReport], number: int
    ) -> None:
        self.group, self.request, self.means = group, request, means
        self.before, self.now = first, first
        self.number = number
        self.steps: list[ResetStep] = []
        self.notes: list[str] = []
        self.gone: dict[int, Mapping[int, bool | None]] = {}  # by number of the step
        self.refusal: GpumendError | None = None
        self.stopped = ""
        self.hive = tuple(one.index for one in group.hive)
        self.wanted = tuple(one.index for one in group.wanted)
        self.left_behind = self._left_behind()
        # Links that an earlier run took down and did not bring up again are ours to train.
        known_down = () if self.left_behind else self._with_links_down()
        lost = frozenset(index for index, report in first.items() if report.health is Health.LOST)
        self.state = Climb(links_before=frozenset(known_down), lost_before=lost)
        self.deadline = group.clock.now() + request.budget_s

    def _left_behind(self) -> list[Entry]:
        return self.means.journal.unfinished(self.group.everyone)

    def _with_links_down(self) -> list[int]:
        return [index for index, report in self.now.items() if any(finding.code == XGMI for finding in report.findings)]

    # ---- the climb

    def run(self) -> Result:
        running = [entry for entry in self.left_behind if entry.is_running and entry.begun.get("pid") != os.getpid()]
        if running:
            self.left_behind = []
            self.refusal = Refused(
                f"resetting {named(self.group.wanted)}",
                expected="nobody else resets them",
                seen=f"another gpumend does: {running[0].words}",
                where=str(self.means.journal.path),
                next_step="let it finish",
            )
            return Result(self._results(), self.steps)
        for entry in self.left_behind:
            self.means.watcher.say(f"an earlier reset was not ended: {entry.words}")
        if self.request.method == AUTO:
            self._climb()
        else:
            self._explicit()
        self._close_journal()
        finished_words = "; ".join(entry.words for entry in self.left_behind)
        return Result(self._results(), self.steps, finished_words, self.notes)

    def _climb(self) -> None:
        if self.request.deep and not any(row_of(self.now[index], self.state) for index in self.everyone):
            self._take(self._whole("asked for, though nothing is wrong"))
        while not self.stopped and self.refusal is None:
            rungs = self._next()
            if not rungs or not self._take(rungs[0]):
                return

    def _explicit(self) -> None:
        """One method, and no other; but what an earlier run has left without its addresses gets them back first."""
        if self.left_behind:
            for rung in self._next():
                if rung.method.name in FIRST:
                    self._take(rung)
        if self.stopped or self.refusal is not None:
            return
        named_rung = self._named()
        if named_rung is not None:
            self._take(named_rung)

    def _named(self) -> Rung | None:
        method = method_of(self.request.method)
        if method is None:  # the action word queue-reset
            for rung in self._next():
                if rung.method.action is Action.QUEUE_RESET:
                    return rung
            self.refusal = Refused(
                f"choosing a queue reset for {named(self.group.wanted)}",
                expected="a finding that a reset of queues or engines cures",
                seen="none",
                next_step="name the method: gpumend reset --list-methods",
            )
            return None
        if method.is_answer:
            self.refusal = for_a_person(method, self.group)
            return None
        return named_rung(method, self.now, self.wanted, self.hive)

    @property
    def everyone(self) -> tuple[int, ...]:
        return self.hive or self.wanted

    def _whole(self, why: str) -> Rung:
        kept = self._forbidden([self.now[index] for index in self.wanted])
        return Rung(whole_of(self.group.wanted[0].part, self.hive, kept), self.everyone, why)

    def _next(self) -> list[Rung]:
        touched = {index for step in self.steps for index in step.gpus}
        look_at = deciding(self.now, self.wanted, self.hive, touched, unfinished=bool(self.left_behind))
        return next_rungs(look_at, self.hive, self.state, self._forbidden(look_at))

    def _forbidden(self, reports: Sequence[ProbeReport]) -> frozenset[str]:
        """Methods that the safety table keeps from the ladder, for any of these GPUs."""
        return forbidden(self.group, reports, self.means.around, self.request.force)

    # ---- one rung

    def _take(self, rung: Rung) -> bool:
        """Take it and judge it; False when the climb ends here."""
        if len(self.steps) >= self.request.attempts:
            self.stopped = f"{self.request.attempts} attempts were made, which is the most that is allowed"
            return False
        if self.steps and self.group.clock.now() + rung.method.expected_s > self.deadline:
            self.stopped = f"the time budget of {self.request.budget_s:g} s is used up"
            return False
        targets = self.group.subjects(rung.gpus)
        try:
            self._check_shown(rung)
            safety.check_fit(rung.method, targets)
            self.means.way.check(targets, rung.method)
            self._check(rung, targets, unbound=True)
        except GpumendError as refusal:
            self.refusal = refusal
            return False
        self._write_evidence(rung)  # what a driver and a holder know goes with them
        before = _drivers(targets)
        try:
            self.means.way.clear(targets, rung.method)
            self._check(rung, targets)
        except GpumendError as refusal:
            self.refusal = refusal
            return False
        if _drivers(targets) != before:  # other questions are asked without it: what they find is no doing of the step
            self.now = self._probe()
        was = self.now
        with finished(self.means.asked, self.means.watcher.say):
            step = self._carry_out(rung, targets)
        if step is None:
            return False
        self.steps.append(step)
        self.state.tried(rung)
        self._remember_lies(step, was)
        self.means.watcher.judged(step)
        if self.means.asked:
            self.stopped = f"interrupted by {self.means.asked.signal_name}"
        elif step.status is StepStatus.WORSE:
            self.stopped = f"{rung.method.name} made something worse: {step.proof}"
        return not self.stopped

    def _remember_lies(self, step: ResetStep, was: Mapping[int, ProbeReport]) -> None:
        """A finding that went away although the reset did not take place is not cured: only out of sight."""
        for index in step.gpus:
            decided = row_of(was[index], self.state)
            if self.gone[step.number].get(index) is False and decided is not None:
                self.state.unproven[index] = decided[0]

    def _check_shown(self, rung: Rung) -> None:
        """Whoever agreed, agreed to what was wrong then."""
        unseen = [] if self.request.shown is None else sorted(set(rung.gpus) - self.request.shown)
        if unseen:
            raise Refused(
                f"{rung.method.name} of GPU {numbers(rung.gpus)}",
                expected=f"no GPU hit but those that were shown: {numbers(self.request.shown or ()) or 'none'}",
                seen=f"GPU {numbers(unseen)} would be, because of what is found now: {rung.why}",
                next_step="gpumend reset again: it shows what it would do now",
            )

    def _check(self, rung: Rung, targets: Sequence[Subject], *, unbound: bool = False) -> None:
        """The safety table; `unbound`: as it would be once the driver has let go."""
        for subject in targets:
            situation = self.means.around(subject, rung, self.group)
            if unbound and rung.method.doer is not Doer.DRIVER and situation.driver not in KEEPERS:
                situation = replace(situation, driver="")
            safety.check(rung.method, subject.part, subject.bdf, situation, self.request.force)

    def _write_evidence(self, rung: Rung) -> None:
        if self.means.bundle:
            return
        subjects, reports = self.means.covers
        if not subjects:
            subjects, reports = self.group.everyone, [self.now[one.index] for one in self.group.everyone]
        self.means.bundle = self.means.evidence(subjects, reports, rung.method.name)

    def _begin(self, rung: Rung, targets: Sequence[Subject]) -> str | None:
        """The attempt's id. Raises what keeps the journal from being written while nothing was done yet; later it is a
        refusal, so that what was done is told."""
        method = rung.method
        try:
            return self.means.journal.begin(method.name, str(method.action), rung.why, targets, self.means.bundle)
        except GpumendError as error:
            if self.number + len(self.steps) == 1:
                raise
            self.refusal = error
            return None

    def _carry_out(self, rung: Rung, targets: Sequence[Subject]) -> ResetStep | None:
        """None: it was refused, nothing was done."""
        method, number = rung.method, self.number + len(self.steps)
        entry = self._begin(rung, targets)
        if entry is None:
            return None
        self.means.watcher.step(number, rung)
        stages: list[str] = []

        def on_stage(name: str) -> None:
            stages.append(name)
            with suppress(Exception):  # a full disk or a watcher's defect must not leave a hive half reset
                self.means.journal.stage(entry, name)
                self.means.watcher.stage(name)

        start, wall = self.group.clock.now(), time.monotonic()
        done = self._attempt(rung, targets, on_stage)
        seconds = self.group.clock.now() - start
        if isinstance(done.error, Refused) and stages == ["open"]:  # as when somebody has taken the lock in between
            self._end(entry, "refused", error=str(done.error))
            self.refusal = done.error
            return None
        on_stage("verify")
        was = self.now
        self.now = self._probe()
        self._regroup()
        self.gone[number] = done.gone
        judgement, changed = self._judge(rung, done, was)
        step = ResetStep(
            number, method.name, method.action, rung.gpus, judgement.status, seconds, time.monotonic() - wall, rung.why,
            "; ".join(part for part in (done.what, judgement.proof) if part), tuple(stages), changed, done.error,
        )  # fmt: skip
        self._end(
            entry, str(step.status), seconds=round(step.seconds, 6), wall_s=round(step.wall_s, 3), proof=step.proof,
            changed=list(changed), error=None if done.error is None else str(done.error),
        )  # fmt: skip
        return step

    def _end(self, entry: str, status: str, **told: object) -> None:
        """What was done stays done, and is told, though it cannot be written down any more."""
        try:
            self.means.journal.end(entry, status, **told)
        except GpumendError as error:
            self.notes.append(f"the end of {entry} could not be written to the journal: {error.seen}")

    def _attempt(self, rung: Rung, targets: Sequence[Subject], on_stage: Callable[[str], None]) -> Done:
        try:
            return self.means.mechanic.carry_out(rung, targets, self.now, on_stage)
        except GpumendError as error:
            return Done(error=error)

    def _regroup(self) -> None:
        self.group = regroup(self.group, self.now)
        self.hive = tuple(one.index for one in self.group.hive)

    def _probe(self) -> dict[int, ProbeReport]:
        return {report.index: report for report in self.means.probe(self.group.everyone)}

    def _judge(self, rung: Rung, done: Done, was: dict[int, ProbeReport]) -> tuple[Judgement, tuple[str, ...]]:
        comparison = compare(was, self.now, rung.method, rung.gpus)
        for index in rung.gpus:
            marked = None if rung.method.name in FIRST else done.gone.get(index)  # these destroy nothing
            came_back = marked is None and is_cured(was[index], self.now[index])
            if marked or came_back:
                self.state.unproven.pop(index, None)
        failed = done.error is not None
        judgement = judge(done.gone, was, self.now, rung.gpus, self.state, comparison, rung.method, failed)
        return judgement, comparison.changed

    # ---- what it came to

    def _results(self) -> list[GpuOutcome]:
        """Those that were asked for, and others that our steps hit and that are not well now."""
        touched = {index for step in self.steps for index in step.gpus}
        harmed = sorted(index for index in touched - set(self.wanted) if not self._well(index))
        return [self._outcome(index) for index in (*self.wanted, *harmed)]

    def _outcome(self, index: int) -> GpuOutcome:
        before, after = self.before[index], self.now[index]
        outcome, reason, error = self._sort(index)
        answer = Action.NONE
        if outcome not in (Outcome.RECOVERED, Outcome.HEALTHY):
            answer = answer_of(after, self.state, self.hive, self._forbidden([after]))
        return GpuOutcome(before, after, outcome, answer, reason, error)

    def _well(self, index: int) -> bool:
        return is_well(self.now[index], self.before[index], self.state)

    def _sort(self, index: int) -> tuple[Outcome, str, GpumendError | None]:
        mine = [step for step in self.steps if index in step.gpus]
        if mine and self._well(index):
            outcome, reason = self._proved(index, mine[-1])
            return outcome, reason, mine[-1].error if outcome is Outcome.FAILED else None
        if (
            self._well(index)
            and self.now[index].health is Health.HEALTHY
            and (self.request.method == AUTO or self.steps)
        ):
            return Outcome.HEALTHY, "nothing to do", None
        if self.means.asked:
            return Outcome.INTERRUPTED, self.stopped or f"interrupted by {self.means.asked.signal_name}", None
        if mine and mine[-1].status is StepStatus.UNVERIFIED and row_of(self.now[index], self.state) is None:
            return Outcome.UNVERIFIED, f"{mine[-1].method}: {mine[-1].proof}", None
        if mine:
            error = self.refusal or mine[-1].error
            why = self.stopped or (f"what would come next is refused: {self.refusal.seen}" if self.refusal else "")
            return Outcome.FAILED, why or mine[-1].proof, error
        return self._not_tried(index)

    def _proved(self, index: int, last: ResetStep) -> tuple[Outcome, str]:
        """A GPU that was hit and is well: is it shown that the reset took place, and is that why?"""
        gone = self.gone[last.number].get(index)
        sick = row_of(self.before[index], Climb()) is not None
        if last.error is not None and gone is not False and all(map(self._well, last.gpus)):
            # Nobody who is sick explains the error: it came after what was seen to work, and was not carried out to its end.
            outcome = Outcome.FAILED if self.request.method != AUTO else Outcome.UNVERIFIED
            return outcome, f"{last.method} was not carried out to its end: {last.error.seen}"
        if last.status is StepStatus.VERIFIED or (sick and gone is not False):
            return (
                Outcome.RECOVERED,
                f"{last.method}: {last.proof if last.status is StepStatus.VERIFIED else 'the finding is gone'}",
            )
        if gone is False:
            return Outcome.FAILED, f"{last.method}: the mark is still there, so the reset did not take place"
        if gone is None:
            return Outcome.UNVERIFIED, f"{last.method}: nothing shows that it took place"
        return Outcome.RECOVERED if self.request.method != AUTO else Outcome.HEALTHY, f"{last.method}: mark gone"

    def _not_tried(self, index: int) -> tuple[Outcome, str, GpumendError | None]:
        after = self.now[index]
        refusal = self.refusal
        if refusal is None and after.health is Health.UNKNOWN and row_of(after, self.state) is None:
            return Outcome.UNKNOWN, "its state could not be told, so no method could be chosen", None
        if refusal is None and row_of(after, self.state) is None:
            refusal = nothing_helps(after, self.request)
        elif refusal is None and self.stopped:
            return Outcome.FAILED, self.stopped, None
        refusal = refusal or self._nothing_allowed(after)
        return Outcome.REFUSED, refusal.seen, refusal

    def _nothing_allowed(self, report: ProbeReport) -> Refused:
        answer = answer_of(report, self.state, self.hive, self._forbidden([report]))
        decided = row_of(report, self.state)
        return Refused(
            f"resetting GPU {report.index} ({report.bdf})",
            expected="a method that helps and that is safe for this part as it stands",
            seen="none is left" if decided is None or decided[1].rungs else f"none: {decided[0]} asks for {answer}",
            where=report.bdf,
            next_step=f"{answer}: {METHODS[str(answer)].what}" if str(answer) in METHODS else str(answer),
        )

    def _close_journal(self) -> None:
        """What an earlier run left open is ended with what became of it; it stays open while some GPU of it is not well and
        there is something left to try: the next run has to know whose doing it is."""
        given_up = self.request.method == AUTO and not self.stopped and self.refusal is None
        for entry in self.left_behind:
            words = "finished by a later run" if self.steps else "every GPU of it was found well by a later run"
            if any(entry.touches([one]) and not self._well(one.index) for one in self.group.everyone):
                if not given_up:
                    continue
                words = "taken up, failed"
            self._end(entry.id, words)


def deciding(
    reports: Mapping[int, ProbeReport],
    wanted: Collection[int],
    hive: Collection[int],
    touched: Collection[int],
    *,
    unfinished: bool,
) -> list[ProbeReport]:
    """The GPUs whose findings decide what is next: those that were asked for; of the hive those too that steps have hit, and
    all where a link of one that was asked for is down, or an earlier run has not ended what it began."""
    linked = any(XGMI in {finding.code for finding in reports[index].findings} for index in wanted)
    whole = linked or unfinished
    return [reports[index] for index in hive or wanted if whole or index in wanted or index in touched]


def named_rung(
    method: Method, reports: Mapping[int, ProbeReport], wanted: tuple[int, ...], hive: tuple[int, ...]
) -> Rung:
    """A method that was asked for by its name, on those whom it hits."""
    why = "asked for"
    if hive and method.scope is Scope.HIVE:
        return Rung(method, hive, why)
    if hive and method.name == "bus-reset":
        alone = all(reports[index].health is Health.LOST for index in wanted)
        return Rung(method, wanted if alone else hive, why, alone=alone)
    return Rung(method, wanted, why)


def _drivers(subjects: Sequence[Subject]) -> list[str]:
    """What is bound to each; "" for one that the system does not know any more."""
    found = []
    for one in subjects:
        driver: str | None = ""
        with suppress(GpumendError):
            driver = one.transport.info().driver
        found.append(driver or "")
    return found


def nothing_helps(report: ProbeReport, request: Request) -> GpumendError:
    """Why a GPU that is not well is left alone: no reset is known to cure it, or nothing can be said of it."""
    worst = next(iter(report.findings), None)
    kind = Undecided if report.health is Health.UNKNOWN else Refused
    expected = "a finding that a reset is known to cure"
    if request.method == str(Action.QUEUE_RESET):
        expected = "a finding that a reset of queues or engines cures"
    return kind(
        f"resetting GPU {report.index} ({report.bdf})",
        expected=expected,
        seen=f"{report.health}: {worst.code}: {worst.summary}" if worst else str(report.health),
        where=report.bdf,
        next_step=(worst.next if worst else "") or "gpumend probe",
    )


def for_a_person(method: Method, group: Group) -> Refused:
    """An answer is nothing that gpumend carries out."""
    return Refused(
        f"{method.name} of {named(group.wanted)}",
        expected="a method that gpumend carries out",
        seen="this one is for a person",
        next_step=method.what,
    )


def forbidden(
    group: Group,
    reports: Sequence[ProbeReport],
    around: Callable[[Subject, Rung, Group], Situation],
    force: frozenset[str],
) -> frozenset[str]:
    """Methods that the safety table keeps from the ladder for any of these GPUs; what a driver or a process keeps from
    happening is not among them: that is refused when it is its turn."""
    names = set()
    for report in reports:
        for subject in group.subjects([report.index]):
            for method in METHODS.values():
                if _kept_from(subject, method, group, around, force):
                    names.add(method.name)
    return frozenset(names)


def _kept_from(
    subject: Subject,
    method: Method,
    group: Group,
    around: Callable[[Subject, Rung, Group], Situation],
    force: frozenset[str],
) -> bool:
    if method.name == "flr" and not _flr_helps(subject):
        return True
    if method.name not in ("flr", "mode1", "hive-reset", "bus-reset"):
        return False
    rung = Rung(method, tuple(one.index for one in group.everyone), "")
    situation = replace(around(subject, rung, group), driver="", alone=False, hive_complete=True, siblings=())
    if (method.name == "hive-reset") != bool(group.hive):
        return False
    return safety.refusal_of(method, subject.part, subject.bdf, situation, force) is not None


def _flr_helps(subject: Subject) -> bool:
    """Whether an FLR is known to help this part, and the system has one for it, as far as it tells."""
    try:
        offered = subject.transport.info().reset_methods
    except GpumendError:  # the system does not know the function any more
        return False
    return subject.part.device in safety.FLR_HELPS and (offered is None or "flr" in offered)
