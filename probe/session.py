"""One GPU's probe while it runs: what was asked, what it said, what could not be asked and why.

A question is a function that takes the session and leaves facts and findings in it. `ask` keeps one bad question from
spoiling the others: whatever it raises becomes a line in the list of unanswered questions, which makes one finding
(`probe.unanswered`), never a healthy GPU. Two things end the probe early: the GPU left the bus, or its time is up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from amdriver.access import Access
from amdriver.ip_map import IpMap
from amdriver.parts import Part
from base.clock import Clock
from base.errors import DeviceLost, GpumendError
from base.findings import Finding, Severity
from pcibus.driverfiles import DriverFiles
from pcibus.transport import ALL_ONES, Can, FunctionInfo, Transport
from probe.bounded import OutOfTime
from probe.reason import reason_of
from probe.watch import Suspect
from registers.amd.gc_9_4_3 import Gc
from registers.core import Bound, Register

R = TypeVar("R", bound=Register)

UNANSWERED = "probe.unanswered"
TIMEOUT = "probe.timeout"
_SHOWN = 6


class Gone(Exception):
    """Config space reads all ones: the GPU is not on the bus any more."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """One question without an answer."""

    question: str
    reason: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What a probe is told from outside. `golden`: the saved good table of a serial number (or, without one, bus address).

    `borrowed`: the IP map of a whole GPU of the same part, for a second look at one whose own table cannot be read.
    `files`: the kernel driver's files and log, for GPUs that are asked through it (NVIDIA); None: none can be asked."""

    limit_s: float = 2.0
    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")
    golden: Callable[[str], bytes | None] | None = None
    borrowed: IpMap | None = None
    files: DriverFiles | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a probe stands: sent by a child before each question, so that a killed one has not lived in vain."""

    asking: str
    facts: Mapping[str, Any]
    findings: tuple[Finding, ...]
    unanswered: tuple[Unanswered, ...]
    table: bytes | None = None
    done: bool = False


@dataclass(slots=True)
class Session:
    """The running probe of one GPU. `address` reaches it again; `transport` is read-only and bounded in time."""

    address: str
    transport: Transport
    access: Access
    clock: Clock
    part: Part
    info: FunctionInfo
    settings: Settings
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    asking: str = "identity"
    on_progress: Callable[[Progress], None] | None = None
    ip_map: IpMap | None = None
    table: bytes | None = None  # this GPU's own valid discovery table
    gc0: Gc | None = None  # XCC 0 without a table: its base has proved itself (probe/xgmi.py)
    asked_xccs: frozenset[int] = frozenset()  # by an earlier look
    serial: str | None = None
    suspects: list[Suspect] = field(default_factory=list)
    deadline: float = float("inf")

    def resume(self, earlier: Progress) -> None:
        """Go on from what an earlier look at the same GPU learned: nothing of it is lost."""
        self.asking = earlier.asking
        self.facts = deepcopy(dict(earlier.facts))
        self.findings = list(earlier.findings)
        self.unanswered = list(earlier.unanswered)
        self.asked_xccs = frozenset(row["xcc"] for row in self.facts.get("gfx") or ())

    @property
    def on_host(self) -> bool:
        """The GPU sits on this machine's bus, so /sys and /proc say more about it."""
        return Can.HOST in self.transport.can

    def ask(self, question: str, work: Callable[[Session], None]) -> None:
        """Ask one question. Raises only Gone and OutOfTime."""
        self.asking = question
        if self.on_progress is not None:
            self.on_progress(self.progress())
        self.attempt(question, lambda: work(self))

    def attempt(self, question: str, work: Callable[[], None]) -> None:
        """Part of a question, with a name of its own in the list of unanswered ones. Raises only Gone and OutOfTime."""
        try:
            work()
        except (Gone, OutOfTime):
            raise
        except DeviceLost as error:
            raise Gone(str(error)) from error
        except GpumendError as error:
            self.skip(question, reason_of(error))
        except Exception as error:  # noqa: BLE001 - a transport may raise anything; the other questions still count
            self.skip(question, f"{type(error).__name__}: {error}")

    def progress(self, *, done: bool = False) -> Progress:
        return Progress(
            self.asking, dict(self.facts), tuple(self.findings), tuple(self.unanswered), self.table, done=done
        )

    def skip(self, question: str, reason: str) -> None:
        """Note a question that has no answer."""
        item = Unanswered(question, reason)
        if item not in self.unanswered:
            self.unanswered.append(item)

    def answered(self, *questions: str) -> None:
        """These questions got their answer in another way."""
        self.unanswered[:] = [item for item in self.unanswered if item.question not in questions]

    def is_open(self, question: str) -> bool:
        """Whether it is among those that have no answer."""
        return any(item.question == question for item in self.unanswered)

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)

    def has(self, code: str) -> bool:
        return any(finding.code == code for finding in self.findings)

    def value(self, register: Bound[R]) -> R | None:
        """The register's value; None when it alone reads all ones (noted as unanswered). Raises Gone."""
        value = register.read()
        if value.value != ALL_ONES:
            return value
        self.confirm_present()
        self.skip(register.name, f"{register.where} reads 0xffffffff while others answer")
        return None

    def confirm_present(self) -> None:
        """All ones is suspicious: ask config space before believing it. Raises Gone."""
        if self.transport.config_read(0, 4) == ALL_ONES:
            raise Gone("config space reads all ones")

    def place(self, what: str) -> str:
        """`what` with the GPU's address behind it."""
        return f"{what} on {self.info.bdf}"


def unanswered_finding(
    unanswered: list[Unanswered] | tuple[Unanswered, ...], where: str, *, explained: bool = False
) -> Finding:
    """All unanswered questions as one finding, grouped by reason: severity unknown, a note when an error explains it."""
    groups: dict[str, list[str]] = {}
    for item in unanswered:
        groups.setdefault(item.reason, []).append(item.question)
    told = [f"{_list(questions)} ({reason})" for reason, questions in groups.items()]
    count = len({item.question for item in unanswered})
    return Finding(
        UNANSWERED,
        Severity.NOTE if explained else Severity.UNKNOWN,
        f"{count} question{'s' if count != 1 else ''} could not be asked",
        expected="every question answered",
        seen="; ".join(told),
        where=where,
        next="remove the reason given, then probe again; until then nothing is known about these parts",
    )


def _list(questions: list[str]) -> str:
    names = list(dict.fromkeys(questions))
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def timeout_finding(asking: str, limit_s: float, where: str) -> Finding:
    """The probe's time ran out while this question was being asked."""
    return Finding(
        TIMEOUT,
        Severity.UNKNOWN,
        f"no answer within {limit_s:g} s while asking: {asking}"[:80],
        expected=f"every question answered within {limit_s:g} s",
        seen=f"the question without an answer: {asking}",
        where=where,
        next="probe again; if it stays so, look at the kernel log for this address before anything is reset",
    )
