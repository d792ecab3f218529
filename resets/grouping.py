"""Which GPUs have to be thought of together: the members of a hive, or one GPU.

NVIDIA GPUs are reset one by one: since Ampere only the mappings of the others towards one that is reset are taken down
(nvidia-resets.md section 1.1).

Source: DESIGN section 6 rule 6 (members: what the probe settled; where one cannot tell, mode1 on the hive is refused)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from base.clock import Clock
from base.findings import ProbeReport
from resets.subject import Subject, on_host

_WITH_NVLINK = frozenset({"GA100", "GH100", "GB100", "GB102"})


@dataclass(frozen=True, slots=True)
class Group:
    """`wanted`: those that were asked for; `hive`: all GPUs that are taken for members of their hive (empty: in none, or no
    other is known); `in_hive`: mode1 must not hit one alone; `complete`: every member said so itself and is among them;
    `linked`: NVIDIA GPUs that may reach it by NVLink: not reset with it, but they lose their mappings of it."""

    wanted: tuple[Subject, ...]
    hive: tuple[Subject, ...] = ()
    in_hive: bool = False
    complete: bool = True
    linked: tuple[Subject, ...] = ()

    @property
    def everyone(self) -> tuple[Subject, ...]:
        return self.hive or self.wanted

    @property
    def clock(self) -> Clock:
        return self.wanted[0].clock

    def subjects(self, indices: Sequence[int]) -> list[Subject]:
        """Those of these indices, in the order of the group."""
        return [one for one in self.everyone if one.index in indices]


def machine_of(subject: Subject) -> str:
    """Where its bus is: bus addresses mean nothing across machines, and a hive lies in one."""
    return "" if on_host(subject) else subject.address.partition("#")[0]


def by_machine(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """The same, those of one machine together."""
    names = dict.fromkeys(machine_of(one) for one in subjects)
    return [[one for one in subjects if machine_of(one) == name] for name in names]


def group_up(wanted: Sequence[Subject], everyone: Sequence[Subject], reports: Mapping[int, ProbeReport]) -> list[Group]:
    """Every wanted GPU in exactly one group. `everyone`: all GPUs that can be reached, those wanted among them."""
    groups: list[Group] = []
    left = list(wanted)
    while left:
        group = _group_of(left[0], everyone, reports)
        mine = [one for one in left if one is left[0] or one in group.hive]
        groups.append(Group(tuple(mine), group.hive, group.in_hive, group.complete, group.linked))
        left = [one for one in left if one not in mine]
    return groups


def regroup(group: Group, reports: Mapping[int, ProbeReport]) -> Group:
    """The same GPUs after another probe: one that was lost can tell now to which hive it belongs."""
    again = _group_of(group.wanted[0], group.everyone, reports)
    return Group(
        group.wanted,
        again.hive if len(again.hive) >= len(group.hive) else group.hive,
        again.in_hive,
        again.complete,
        group.linked,
    )


def _group_of(one: Subject, everyone: Sequence[Subject], reports: Mapping[int, ProbeReport]) -> Group:
    report = reports[one.index]
    everyone = [other for other in everyone if machine_of(other) == machine_of(one)]
    if one.part.is_nvidia:
        return Group((one,), linked=tuple(_linked(one, everyone, reports)))
    if not report.facts.get("in_hive") or one.part.is_vf or one.part.is_apu:
        return Group((one,))
    members = _members(report)
    if members is not None:
        hive = tuple(other for other in everyone if other.bdf in members)
        return Group((one,), hive if len(hive) > 1 else (), True, len(hive) == len(members))
    hive = tuple(other for other in everyone if _may_be_with(other, reports[other.index]))
    return Group((one,), hive if len(hive) > 1 else (), True, False)


def _linked(one: Subject, everyone: Sequence[Subject], reports: Mapping[int, ProbeReport]) -> Iterable[Subject]:
    """The others with an active NVLink, or that do not say, if this one has one or does not say. Who is at the other end of a
    link the driver tells only with more rights; behind NVSwitches it is all of them."""
    here = [one, *(other for other in everyone if other is not one and other.part.is_nvidia)]
    able = [other for other in here if other.part.arch in _WITH_NVLINK and _has_links(reports[other.index])]
    return able[1:] if able and able[0] is one else ()


def _has_links(report: ProbeReport) -> bool:
    links = (report.facts.get("nvidia") or {}).get("nvlinks")
    return links is None or any(row["state"] == "active" for row in links)


def _may_be_with(other: Subject, report: ProbeReport) -> bool:
    """A GPU that is in a hive, and in none that is seen to be complete without the one in question."""
    return (
        bool(report.facts.get("in_hive")) and _members(report) is None and not (other.part.is_vf or other.part.is_apu)
    )


def _members(report: ProbeReport) -> list[str] | None:
    xgmi = report.facts.get("xgmi") or {}
    members = xgmi.get("members")
    return None if members is None else list(members)
