"""GPUs that are nothing but findings, and a mechanic that changes them as it is told: for tests of the ladder and the climb."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amdriver.parts import PARTS, Part
from base.clock import VirtualClock
from base.errors import GpumendError, Refused, Unavailable
from base.findings import Finding, ProbeReport, Severity
from pcibus.transport import Can, FunctionInfo
from probe.verdict import verdict
from resets.climb import Means, Request, Result, climb
from resets.grouping import Group, group_up
from resets.journal import Journal
from resets.ladder import Rung
from resets.mechanics import Done, OnStage
from resets.methods import Method
from resets.safety import Situation
from resets.subject import Subject

MI350X = PARTS[0x75A0]
WARNINGS = frozenset({"amd.xgmi.link", "pci.link", "pci.aer"})
HIDING = frozenset({"pci.lost", "pci.bar-dead"})


class FakeTransport:
    """Only what the ladder's surroundings ask of one."""

    can = Can.NOTHING

    def __init__(self, bdf: str, driver: str = "") -> None:
        self.name = bdf
        self.driver = driver
        self.gone = False  # the system does not know it any more

    def info(self) -> FunctionInfo:
        if self.gone:
            raise Unavailable(
                f"asking who it is of {self.name}", expected="a PCI function at that address", seen="none"
            )
        return FunctionInfo(self.name, 0x1002, 0x75A0, driver=self.driver)

    def holder(self) -> None:
        return None


@dataclass(eq=False)
class FakeGpu:
    """`codes`: what a probe finds; `facts` beside those that `report` makes up."""

    index: int
    codes: list[str] = field(default_factory=list)
    part: Part = MI350X
    clock: VirtualClock = field(default_factory=VirtualClock)
    hive: int = 1  # how many GPUs it is in a hive with
    facts: dict[str, Any] = field(default_factory=dict)
    unknown: bool = False

    def __post_init__(self) -> None:
        self.transport: Any = FakeTransport(self.bdf)

    @property
    def bdf(self) -> str:
        return f"0000:{0x10 + self.index:02x}:00.0"

    @property
    def address(self) -> str:
        return "fake:machine"


def finding(code: str) -> Finding:
    severity = Severity.WARNING if code in WARNINGS else Severity.ERROR
    return Finding(code, severity, f"{code} is wrong", "it to be right", "it is wrong", "here", "do something")


def report(gpu: FakeGpu) -> ProbeReport:
    """As the probe would: verdict by the probe's own table."""
    findings = tuple(finding(code) for code in gpu.codes)
    if gpu.unknown:
        findings += (Finding("probe.unanswered", Severity.UNKNOWN, "it did not say", "", "", "", ""),)
    health, action = verdict(findings, in_hive=gpu.hive > 1)
    members = [f"0000:{0x10 + index:02x}:00.0" for index in range(gpu.hive)]
    hidden = HIDING & set(gpu.codes)
    facts = {
        "in_hive": gpu.hive > 1,
        "memory_mib": None if hidden else 294912,
        "xgmi": None if hidden else {"nodes": gpu.hive, "members": members if gpu.hive > 1 else None},
        **gpu.facts,
    }
    return ProbeReport(gpu.index, gpu.bdf, gpu.part.name, gpu.part.arch, health, action, findings, facts)


Effect = Callable[[list[FakeGpu]], "Mapping[int, bool | None] | GpumendError | None"]


@dataclass
class FakeMechanic:
    """`effects` by method: what it does to its targets; its answer is `gone`, None: True for all. Else nothing happens."""

    effects: dict[str, Effect] = field(default_factory=dict)
    seconds: float = 1.0
    done: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def carry_out(
        self, rung: Rung, targets: Sequence[Subject], reports: Mapping[int, ProbeReport], on_stage: OnStage
    ) -> Done:
        on_stage("send")
        self.done.append(rung.key)
        targets[0].clock.sleep(self.seconds)
        effect = self.effects.get(rung.method.name)
        answer = effect(list(targets)) if effect else None  # type: ignore[arg-type]
        if isinstance(answer, GpumendError):
            return Done(dict.fromkeys(rung.gpus), "", answer)
        return Done(dict.fromkeys(rung.gpus, True) if answer is None else answer)


def cures(*codes: str) -> Effect:
    """These findings go away (all of them, if none is named)."""

    def effect(targets: list[FakeGpu]) -> None:
        for gpu in targets:
            gpu.codes = [code for code in gpu.codes if codes and code not in codes]

    return effect


def breaks(*codes: str) -> Effect:
    """These findings are there instead of what was."""

    def effect(targets: list[FakeGpu]) -> None:
        for gpu in targets:
            gpu.codes = list(codes)

    return effect


def fails(targets: list[FakeGpu]) -> GpumendError:
    return GpumendError("resetting a fake", expected="it to work", seen="it did not")


def lies(targets: list[FakeGpu]) -> Mapping[int, bool | None]:
    return {gpu.index: False for gpu in targets}


@dataclass
class FreeWay:
    """Nobody is in the way, but of these methods."""

    blocked: frozenset[str] = frozenset()

    def check(self, subjects: Sequence[Subject], method: Method) -> None:
        if method.name in self.blocked:
            raise Refused(method.name, expected="nobody", seen="pid 42 python3", next_step="end it")

    def clear(self, subjects: Sequence[Subject], method: Method) -> None:
        self.check(subjects, method)


@dataclass
class Stage:
    """A climb with fakes. `evidence`: how often a bundle was asked for, and what had been done by then."""

    folder: Path
    gpus: list[FakeGpu]
    mechanic: FakeMechanic = field(default_factory=FakeMechanic)
    way: FreeWay = field(default_factory=FreeWay)
    evidence: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = VirtualClock()
        for gpu in self.gpus:
            gpu.clock = clock
        self.journal = Journal(self.folder / "resets.jsonl")
        self.means = Means(
            probe=lambda subjects: [report(gpu) for gpu in subjects],  # type: ignore[arg-type]
            mechanic=self.mechanic,
            around=self.around,
            way=self.way,
            evidence=self.bundle,
            journal=self.journal,
        )

    @staticmethod
    def around(subject: Subject, rung: Rung, group: Group) -> Situation:
        alone = rung.method.name in ("mode1", "link-reset") and group.in_hive
        return Situation("", group.in_hive, alone, group.complete)

    def bundle(self, subjects: Sequence[Subject], reports: Sequence[ProbeReport], action: str) -> str:
        self.evidence.append(len(self.mechanic.done))
        return "/bundle"

    def climb(self, *wanted: int, **request: Any) -> Result:
        chosen = [gpu for gpu in self.gpus if not wanted or gpu.index in wanted]
        reports = {gpu.index: report(gpu) for gpu in self.gpus}
        (group,) = group_up(chosen, self.gpus, reports)
        first = {one.index: reports[one.index] for one in group.everyone}
        return climb(group, Request(**request), self.means, first)


def alone(tmp_path: Path, *codes: str, **effects: Effect) -> Stage:
    """One GPU in no hive."""
    return Stage(tmp_path, [FakeGpu(0, list(codes))], FakeMechanic(_named(effects)))


def hive(tmp_path: Path, sick: Mapping[int, Sequence[str]], count: int = 4, **effects: Effect) -> Stage:
    """A hive; `sick`: findings by index."""
    gpus = [FakeGpu(index, list(sick.get(index, ())), hive=count) for index in range(count)]
    return Stage(tmp_path, gpus, FakeMechanic(_named(effects)))


def _named(effects: Mapping[str, Effect]) -> dict[str, Effect]:
    return {name.replace("_", "-"): effect for name, effect in effects.items()}
