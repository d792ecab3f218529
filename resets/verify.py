"""Before against after: what changed, what is worse, and whether a method did what it should.

Three things make success: proof that the reset took place (a mark in state that it destroys is gone, or what was plainly
visible of the fault is), every question of the probe answered again, and nothing worse than before.
Source: DESIGN section 6 rules 4 and 6; amd-resets.md sections 8 (state after each reset) and 9 (signatures)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from base.findings import Action, Finding, Health, ProbeReport, Severity
from base.resets import StepStatus, numbers
from resets.ladder import LOST, XGMI, Climb, row_of
from resets.methods import Method

# What the probe knows of a GPU, by name and by place in its facts.
_COMPARED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("discovery table valid", ("discovery", "valid")),
    ("PSP bootloader", ("psp", "bootloader")),
    ("secure OS alive", ("psp", "sos_alive")),
    ("SMU alive", ("smu", "alive")),
    ("SMU firmware", ("smu", "pmfw_version")),
    ("memory, MiB", ("memory_mib",)),
    ("link speed, GT/s", ("pci", "link", "speed_gts")),
    ("link width", ("pci", "link", "width")),
    ("RAS fatal flag", ("ras", "fatal")),
    ("RAS controller flag", ("ras", "controller")),
    ("memory, MiB", ("nvidia", "boot", "memory_mib")),
    ("boot", ("nvidia", "boot", "stage")),
    ("rows to be remapped", ("nvidia", "row_remap", "pending")),
    ("ECC on", ("nvidia", "ecc", "enabled")),
)
# How it is seen that a method took place where nothing can be marked.
_SHOWN = {
    "restore-config": "config space holds what was written",
    "remove-rescan": "it went and was found again",
    "driver-rebind": "the driver is bound again",
    "kernel-recover": "the kernel's log says so",
}
_NEVER_LESS = ("memory, MiB", "link speed, GT/s", "link width")


@dataclass(frozen=True, slots=True)
class Comparison:
    """`changed` and `worse`, one line each, of all GPUs that were looked at."""

    changed: tuple[str, ...]
    worse: tuple[str, ...]


def compare(
    before: Mapping[int, ProbeReport], after: Mapping[int, ProbeReport], method: Method, meant: Collection[int]
) -> Comparison:
    """`meant`: indices of the GPUs that the method was to hit; on any other, nothing may get worse."""
    changed: list[str] = []
    worse: list[str] = []
    for index, old in before.items():
        new = after[index]
        head = f"GPU {index}"
        lines = _differences(old, new)
        changed += [f"{head}: {line}" for line in lines]
        worse += [f"{head}: {line}" for line in _worse(old, new, method, index in meant)]
    return Comparison(tuple(changed), tuple(worse))


def _differences(old: ProbeReport, new: ProbeReport) -> list[str]:
    had, has = _codes(old), _codes(new)
    lines = [f"{code} gone" for code in had if code not in has] + [f"{code} new" for code in has if code not in had]
    if not _answers(old) and _answers(new):
        return [*lines, "its registers answer again"]
    if _answers(old) and not _answers(new):
        return [*lines, "its registers do not answer any more"]
    for name, place in _COMPARED:
        was, now = _fact(old.facts, place), _fact(new.facts, place)
        if was != now and not (
            place[0] == "nvidia" and None in (was, now)
        ):  # not asked is no change: the driver is gone
            lines.append(f"{name} {_word(was)} -> {_word(now)}")
    links = _active(old), _active(new)
    if links[0] != links[1]:
        lines.append(f"active XGMI links {_word(links[0])} -> {_word(links[1])}")
    return lines


def _worse(old: ProbeReport, new: ProbeReport, method: Method, meant: bool) -> list[str]:
    lines = []
    if new.health is Health.LOST and old.health is not Health.LOST and not (meant and LOST in method.ends_in):
        lines.append("gone from the bus, and it was there before")
    if not meant and new.health.rank > old.health.rank and not _only_links(new, old):
        lines.append(f"{old.health} -> {new.health}, and {method.name} was not to touch it")
    had = _codes(old)
    for finding in _serious(new):
        surprising = finding.code not in had and finding.code not in method.ends_in and finding.code != LOST
        hidden = not _answers(old)  # no register could be read before: it may have been there
        if meant and surprising and not hidden and finding.severity.rank >= Severity.ERROR.rank:
            lines.append(f"{finding.code}: {finding.summary}")
    for name, place in _COMPARED:
        was, now = _fact(old.facts, place), _fact(new.facts, place)
        if name in _NEVER_LESS and isinstance(was, int | float) and isinstance(now, int | float) and now < was:
            lines.append(f"{name} {was} -> {now}")
    return lines


def _answers(report: ProbeReport) -> bool:
    """Whether its registers could be read."""
    return report.facts.get("memory_mib") is not None or _fact(report.facts, ("nvidia", "boot")) is not None


def _only_links(new: ProbeReport, old: ProbeReport) -> bool:
    """Nothing but its links to the GPU that was reset: they are that GPU's."""
    return set(_codes(new)) - set(_codes(old)) <= {XGMI}


def _serious(report: ProbeReport) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity.rank >= Severity.WARNING.rank]


def _codes(report: ProbeReport) -> list[str]:
    return list(dict.fromkeys(finding.code for finding in _serious(report)))


def _fact(facts: Mapping[str, Any], place: Sequence[str]) -> Any:
    value: Any = facts
    for name in place:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _active(report: ProbeReport) -> int | None:
    rows: Sequence[Mapping[str, Any]] | None = _fact(report.facts, ("xgmi", "links"))
    if rows is None or any(row["state"] is None for row in rows):
        return None
    return len([row for row in rows if row["state"] == "active"])


def _word(value: Any) -> str:
    return (
        {None: "unknown", True: "yes", False: "no"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )


def is_well(report: ProbeReport, before: ProbeReport, climb: Climb) -> bool:
    """Nothing left that a reset could cure, and no defect that was not there before."""
    if is_unanswered(report) or row_of(report, climb) is not None:
        return False
    return set(_codes(report)) <= set(_codes(before))


def is_unanswered(report: ProbeReport) -> bool:
    """Whether some question got no answer, though a warning may say more of its health: what is unknown is not well."""
    return report.health is Health.UNKNOWN or any(one.severity is Severity.UNKNOWN for one in report.findings)


@dataclass(frozen=True, slots=True)
class Judgement:
    """`proof`: how it was shown that the method took place, or why it was not."""

    status: StepStatus
    proof: str


def judge(
    gone: Mapping[int, bool | None],
    before: Mapping[int, ProbeReport],
    after: Mapping[int, ProbeReport],
    meant: Sequence[int],
    climb: Climb,
    comparison: Comparison,
    method: Method,
    error: bool,
) -> Judgement:
    """One step. `gone`: of the GPUs it was meant for, whether the mark is gone (None: there was none, or it cannot be read)."""
    stayed = [index for index in meant if gone.get(index) is False]
    cured = {index: is_cured(before[index], after[index]) for index in meant}
    if comparison.worse:
        return Judgement(StepStatus.WORSE, "; ".join(comparison.worse))
    if stayed:
        why = f"the mark is still there on GPU {numbers(stayed)}: the reset did not take place"
        return Judgement(StepStatus.FAILED, why)
    if error:
        return Judgement(StepStatus.FAILED, "it ended in an error")
    unknown = [index for index in meant if is_unanswered(after[index]) and row_of(after[index], climb) is None]
    if unknown:
        return Judgement(StepStatus.UNVERIFIED, f"GPU {numbers(unknown)} cannot be judged after it")
    if not all(is_well(after[index], before[index], climb) for index in meant):
        took = "it took place" if all(gone.get(index) for index in meant) else "it was carried out"
        return Judgement(StepStatus.PARTLY, f"{took}; something is still wrong")
    unproven = [index for index in meant if gone.get(index) is None and not cured[index]]
    if unproven:
        return Judgement(StepStatus.UNVERIFIED, f"nothing shows that it took place on GPU {numbers(unproven)}")
    marked = sum(gone.get(index) is True for index in meant)
    shown = "the engine shows it" if method.action is Action.QUEUE_RESET else _SHOWN.get(method.name, "mark gone")
    told = [f"{shown} on {marked} of {len(meant)}"] if marked else []
    if any(cured.values()):
        told.append(f"the finding is gone on GPU {numbers(index for index in meant if cured[index])}")
    return Judgement(StepStatus.VERIFIED, "; ".join(told))


def is_cured(old: ProbeReport, new: ProbeReport) -> bool:
    """Something that had a cure was seen before, and is not seen now."""
    if old.action is Action.NONE:
        return False
    return bool(set(_codes(old)) - set(_codes(new))) or (old.health is Health.UNKNOWN and new.health is Health.HEALTHY)
