"""What a check says: findings, the health word, the recovery action, and the reports made of them.

All are frozen: a report that was handed over cannot change afterwards. Words: DESIGN section 5 and docs/glossary.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class _Ranked(StrEnum):
    """A word list whose members compare by their place in it, not by their spelling."""

    @property
    def rank(self) -> int:
        return list(type(self)).index(self)


class Severity(_Ranked):
    """How much one finding matters, mildest first. `unknown`: a question that got no answer; never counted as good."""

    NOTE = "note"
    UNKNOWN = "unknown"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"


class Health(_Ranked):
    """The verdict on one GPU, best first; `unknown` outranks only `healthy`: a known defect says more than no answer."""

    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"
    HUNG = "hung"
    LOST = "lost"


class Action(_Ranked):
    """What brings the GPU back, mildest first; of several findings the graver action wins."""

    NONE = "none"
    RESTART_APP = "restart-app"
    RESTORE_CONFIG = "restore-config"
    QUEUE_RESET = "queue-reset"
    MODE2 = "mode2"
    MODE1 = "mode1"
    HIVE_RESET = "hive-reset"
    FLR = "flr"
    BUS_RESET = "bus-reset"
    DRIVER_REBIND = "driver-rebind"
    NODE_REBOOT = "node-reboot"
    POWER_CYCLE = "power-cycle"
    CONTACT_VENDOR = "contact-vendor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen and should not be (or that could not be seen), and what to do about it.

    `code` is stable and dotted (`amd.psp.bootloader`); `summary` fits 80 characters; `where` names register, table and
    byte range, or file; `next` is a command or an act. Empty strings mean: does not apply."""

    code: str
    severity: Severity
    summary: str
    expected: str = ""
    seen: str = ""
    where: str = ""
    next: str = ""

    def to_dict(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}


def graver(findings: tuple[Finding, ...] | list[Finding]) -> list[Finding]:
    """The same findings, gravest first, otherwise in the order in which they were found."""
    return sorted(findings, key=lambda finding: -finding.severity.rank)


def _no_facts() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe learned of one GPU. `facts` holds plain JSON values by name; a value that could not be read is None."""

    index: int
    bdf: str
    part: str
    arch: str
    health: Health
    action: Action
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=_no_facts)

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "bdf": self.bdf,
            "part": self.part,
            "arch": self.arch,
            "health": str(self.health),
            "action": str(self.action),
            "findings": [finding.to_dict() for finding in self.findings],
            "facts": dict(self.facts),
        }
