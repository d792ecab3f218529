"""What a reset would do, before it does it: methods in their order, whom each hits, what is lost, who is in the way.

Looks only. The order after the first method is what would follow if nothing changed: the climb asks again after each.
Source: DESIGN section 6; user-wants.md section F 1 (blast radius)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from base.errors import GpumendError
from base.findings import Action, Health, ProbeReport
from base.resets import numbers
from resets import safety
from resets.around import Held, Places, held_by, holder_words
from resets.climb import Means, Request, deciding, for_a_person, forbidden, named_rung, nothing_helps
from resets.grouping import Group
from resets.ladder import XGMI, Climb, Rung, next_rungs, row_of, whole_of
from resets.makeway import KEEPERS
from resets.methods import AUTO, METHODS, Doer, Scope, method_of


@dataclass(frozen=True, slots=True)
class Planned:
    """One method that would be tried. `siblings`: functions that it hits though they are none of these GPUs; `linked`: GPUs
    (indices) that are not reset, and lose their links or their peer-to-peer access to it; `refusal`: why the safety table
    would not let it; `if_helped`: it follows when the one before it did what it should."""

    rung: Rung
    siblings: tuple[str, ...] = ()
    refusal: GpumendError | None = None
    if_helped: bool = False
    linked: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        method = self.rung.method
        return {
            "method": method.name,
            "action": str(method.action),
            "why": self.rung.why,
            "gpus": list(self.rung.gpus),
            "scope": str(method.scope),
            "siblings": list(self.siblings),
            "linked": list(self.linked),
            "lost": method.lost,
            "survives": method.survives,
            "expected_s": method.expected_s,
            "longest_s": method.longest_s,
            "if_helped": self.if_helped,
            "refused": "" if self.refusal is None else self.refusal.seen,
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """`held`: of every GPU that some method would hit; `way`: None, or what is in the way of the first method."""

    group: Group
    reports: Mapping[int, ProbeReport]
    planned: tuple[Planned, ...]
    held: tuple[Held, ...]
    then: Action
    unfinished: tuple[str, ...] = ()
    way: GpumendError | None = field(default=None)

    @property
    def hit(self) -> tuple[int, ...]:
        return tuple(sorted({gpu for planned in self.planned for gpu in planned.rung.gpus}))

    @property
    def refusal(self) -> GpumendError | None:
        """Why the first method would be refused; None: it would be begun, or there is nothing to do."""
        return self.way or (self.planned[0].refusal if self.planned else None)

    def to_dict(self, places: Places | None = None) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "gpus": [self.reports[one.index].to_dict() for one in self.group.wanted],
            "members": [{"index": one.index, "bdf": one.bdf, "part": one.part.name} for one in self.group.everyone],
            "planned": [one.to_dict() for one in self.planned],
            "then": str(self.then),
            "held": [
                {"index": one.subject.index, "bdf": one.subject.bdf, "by": held_words(one, places)} for one in self.held
            ],
            "unfinished": list(self.unfinished),
        }


def preview(
    group: Group, request: Request, means: Means, reports: Mapping[int, ProbeReport], places: Places | None = None
) -> Preview:
    """What `climb` would begin with, and go on to if nothing helped. Writes nothing."""
    places = places or Places()
    rungs, then = _rungs(group, request, means, reports)
    planned = tuple(
        _planned(rung, group, request, means, rungs[place - 1] if place else None) for place, rung in enumerate(rungs)
    )
    hit = group.subjects(sorted({gpu for one in planned for gpu in one.rung.gpus}))
    unfinished = tuple(entry.words for entry in means.journal.unfinished(group.everyone))
    held = tuple(held_by(hit, places))
    return Preview(group, reports, planned, held, then, unfinished, _in_the_way(group, request, means, reports, rungs))


def _in_the_way(
    group: Group, request: Request, means: Means, reports: Mapping[int, ProbeReport], rungs: Sequence[Rung]
) -> GpumendError | None:
    """Why nothing would be begun."""
    if not rungs:
        sick = [reports[one.index] for one in group.wanted if reports[one.index].health is not Health.HEALTHY]
        return nothing_helps(sick[0], request) if sick else None
    if rungs[0].method.is_answer:
        return for_a_person(rungs[0].method, group)
    try:
        safety.check_fit(rungs[0].method, group.subjects(rungs[0].gpus))
        means.way.check(group.subjects(rungs[0].gpus), rungs[0].method)
    except GpumendError as refusal:
        return refusal
    return None


def _planned(rung: Rung, group: Group, request: Request, means: Means, before: Rung | None) -> Planned:
    refusal: GpumendError | None = None
    siblings: set[str] = set()
    for subject in group.subjects(rung.gpus):
        situation = means.around(subject, rung, group)
        if rung.method.doer is not Doer.DRIVER and situation.driver not in KEEPERS:  # making way is asked for by itself
            situation = replace(situation, driver="")
        if before is not None:  # by then, those that cannot tell now to which hive they belong may
            situation = replace(situation, hive_complete=True)
        if rung.method.scope is Scope.BUS:
            siblings |= set(situation.siblings)
        found = safety.refusal_of(rung.method, subject.part, subject.bdf, situation, request.force)
        refusal = refusal or found
    trains = before is not None and before.alone and rung.method.name == "hive-reset"
    rest = [one.index for one in group.hive if one.index not in rung.gpus and not rung.alone]
    linked = (*(one.index for one in group.linked), *rest) if rung.method.boots_firmware else ()
    return Planned(rung, tuple(sorted(siblings)), refusal, trains, linked)


def _rungs(
    group: Group, request: Request, means: Means, reports: Mapping[int, ProbeReport]
) -> tuple[list[Rung], Action]:
    hive = tuple(one.index for one in group.hive)
    wanted = tuple(one.index for one in group.wanted)
    if request.method != AUTO:
        method = method_of(request.method)
        if method is not None:
            return [named_rung(method, reports, wanted, hive)], Action.NONE
    down = frozenset(index for index, one in reports.items() if any(item.code == XGMI for item in one.findings))
    unfinished = bool(means.journal.unfinished(group.everyone))
    state = Climb(links_before=frozenset() if unfinished else down)
    look_at = deciding(reports, wanted, hive, (), unfinished=unfinished)
    kept = forbidden(group, look_at, means.around, request.force)
    if request.deep and not any(row_of(one, state) for one in look_at):
        whole = whole_of(group.wanted[0].part, hive, kept)
        return [Rung(whole, hive or wanted, "asked for, though nothing is wrong")], Action.NONE
    return _simulated(look_at, hive, state, kept, request)


def _simulated(
    reports: Sequence[ProbeReport], hive: tuple[int, ...], state: Climb, kept: frozenset[str], request: Request
) -> tuple[list[Rung], Action]:
    """The rungs that would be taken if every one of them left all as it is."""
    state = deepcopy(state)
    found: list[Rung] = []
    only_queues = request.method == str(Action.QUEUE_RESET)
    for _ in range(request.attempts):
        rungs = next_rungs(reports, hive, state, kept)
        if not rungs:
            break
        state.tried(rungs[0])
        if not only_queues or rungs[0].method.action is Action.QUEUE_RESET:
            found.append(rungs[0])
        if rungs[0].alone:
            found.append(
                Rung(METHODS["hive-reset"], hive, f"links of GPU {numbers(rungs[0].gpus)}, which came back alone")
            )
        if only_queues:
            return found, Action.NONE
    left = next_rungs(reports, hive, state, kept)
    if left:  # no more may be tried
        return found, left[0].method.action
    decided = [row_of(report, state) for report in reports]
    answers = [row.then for item in decided if item is not None for row in (item[1],)]
    return found, max(answers, key=lambda action: action.rank, default=Action.NONE)


def held_words(held: Held, places: Places | None = None) -> list[str]:
    """Who holds this GPU, one line each."""
    places = places or Places()
    lines = []
    if held.driver:
        lines.append(f"driver {held.driver} is bound")
    lines += [holder_words(held, holder, places) for holder in held.processes]
    if held.lock:
        lines.append(f"its lock is held by {held.lock}")
    if held.holders is not None and not held.holders.complete:
        lines += [f"not all processes could be seen: {gap}" for gap in held.holders.gaps]
    return lines
