"""What a self-test of a GPU tells: levels, checks, one report a GPU, findings made of what failed; the same for every vendor.

Source: DESIGN section 5 (exit codes of acting commands)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from base.errors import DeviceLost, Exit, GpumendError, InvalidData, Unavailable, UsageError
from base.findings import Finding, Severity

MIB: Final = 1 << 20


class Status(StrEnum):
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class DataWrong(InvalidData):
    """Memory does not hold what was moved there."""


class Stopped(GpumendError):
    """The run was interrupted: the rest is left out, what was begun is closed."""

    exit_code = Exit.INTERRUPTED


@dataclass(frozen=True, slots=True)
class Level:
    """How much a run moves. `most_bytes`: the largest copy; `engine_bytes`: the largest of each engine's own check."""

    name: str
    most_bytes: int
    engine_bytes: int
    peer_bytes: int
    stamps: int
    meeting_s: float  # how long one GPU waits for the others


LEVELS: Final[Mapping[str, Level]] = {
    "quick": Level("quick", most_bytes=4 * MIB, engine_bytes=MIB, peer_bytes=MIB // 4, stamps=16, meeting_s=120),
    "full": Level("full", most_bytes=1 << 30, engine_bytes=64 * MIB, peer_bytes=64 * MIB, stamps=1024, meeting_s=3600),
}
SMALLEST_LIMIT: Final = 64 << 10


def level_of(name: str, limit_bytes: int | None = None) -> Level:
    """A level by name, its sizes cut to `limit_bytes` a buffer. Raises UsageError for a name or limit that cannot be."""
    found = LEVELS.get(name)
    if found is None:
        raise UsageError("choosing the level of the self-test", expected=" or ".join(LEVELS), seen=repr(name))
    if limit_bytes is None:
        return found
    if limit_bytes < SMALLEST_LIMIT:
        raise UsageError(
            "bounding the self-test",
            expected=f"at least {SMALLEST_LIMIT} bytes of memory for a buffer",
            seen=f"{limit_bytes}",
            next_step="free memory, or test fewer GPUs at a time: -g",
        )
    cut = 1 << (limit_bytes.bit_length() - 1)
    sizes = {name: min(getattr(found, name), cut) for name in ("most_bytes", "engine_bytes", "peer_bytes")}
    return Level(found.name, **sizes, stamps=found.stamps, meeting_s=found.meeting_s)


@dataclass(frozen=True, slots=True)
class Check:
    """One named check on one engine. `seconds` is the GPU's clock (virtual on a model), `wall_s` what it took here.

    `applies` False: skipped because there is nothing to check, or because it was asked for; True and skipped, or not
    `verified`: the run cannot vouch for it (exit 2)."""

    name: str
    engine: str
    status: Status
    reason: str = ""
    bytes: int = 0
    seconds: float = 0.0
    wall_s: float = 0.0
    expected: str = ""
    seen: str = ""
    where: str = ""
    applies: bool = True
    verified: bool = True

    @property
    def in_doubt(self) -> bool:
        """Whether the run cannot vouch for it, though it did not fail."""
        return self.applies and (self.status is Status.SKIPPED or (self.status is Status.OK and not self.verified))

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "engine": self.engine,
            "status": str(self.status),
            "reason": self.reason,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 9),
            "wall_s": round(self.wall_s, 6),
            "expected": self.expected,
            "seen": self.seen,
            "where": self.where,
            "verified": self.verified and self.status is Status.OK,
        }


@dataclass(frozen=True, slots=True)
class SelftestReport:
    """One GPU's outcome. `error`: what ended it (it could not be opened, or it was lost); None where checks tell."""

    index: int
    bdf: str
    part: str
    arch: str
    start_state: str | None
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...] = ()
    error: GpumendError | None = None
    seconds: float = 0.0
    wall_s: float = 0.0
    steps: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 done and verified, 1 failed, 2 not verified; 3, 69, 77 and 130 as the error says."""
        if self.error is not None:
            return int(self.error.exit_code)
        if any(check.status is Status.FAILED for check in self.checks):
            return Exit.PROBLEM
        if not self.checks or any(check.in_doubt for check in self.checks):
            return Exit.UNKNOWN
        return Exit.OK

    @property
    def status(self) -> str:
        """`ok`, `failed`, `unverified`, `refused`, `unavailable`, `not permitted`, `interrupted`."""
        return _STATUS_WORDS.get(self.exit_code, "failed")

    @property
    def bytes(self) -> int:
        return sum(check.bytes for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "exit": self.exit_code,
            "start_state": self.start_state,
            "steps": list(self.steps),
            "bytes": self.bytes,
            "seconds": round(self.seconds, 9),
            "wall_s": round(self.wall_s, 6),
            "checks": [check.to_dict() for check in self.checks],
            "findings": [finding.to_dict() for finding in self.findings],
        }


_STATUS_WORDS: Final[Mapping[int, str]] = {
    Exit.OK: "ok",
    Exit.PROBLEM: "failed",
    Exit.UNKNOWN: "unverified",
    Exit.REFUSED: "refused",
    Exit.UNAVAILABLE: "unavailable",
    Exit.NOT_PERMITTED: "not permitted",
    Exit.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True, slots=True)
class SelftestProgress:
    """A check has begun or ended on a GPU: `done` of `total` so far (total is an estimate until the GPU is open)."""

    index: int
    bdf: str
    check: str
    engine: str
    done: int
    total: int


# ---------------------------------------------------------------- findings


def _gone(check: Check, error: GpumendError) -> str:
    """`lost`, or `unreachable` (its server is gone; while it is opened, that is what is told); "": it is still there."""
    if isinstance(error, DeviceLost):
        return "lost"
    return "unreachable" if isinstance(error, Unavailable) and check.name != "boot" else ""


def findings_of(
    failures: Sequence[tuple[Check, GpumendError]], prefix: str, summaries: Mapping[str, str]
) -> tuple[Finding, ...]:
    """One for each cause: engines that failed in the same way share one, which names them. `prefix`: of the codes;
    `summaries`: by check, and for `lost` and `unreachable`."""
    groups: dict[tuple[str, str, str], list[tuple[Check, GpumendError]]] = {}
    for check, error in failures:
        if isinstance(error, Stopped):
            continue
        kind = _gone(check, error) or type(error).__name__
        what = "" if isinstance(error, DataWrong) else error.expected
        groups.setdefault(("" if _gone(check, error) else check.name, kind, what), []).append((check, error))
    return tuple(_finding(members, prefix, summaries) for members in groups.values())


def _finding(members: list[tuple[Check, GpumendError]], prefix: str, summaries: Mapping[str, str]) -> Finding:
    check, error = members[0]
    gone = _gone(check, error)
    engines = list(dict.fromkeys(one.engine for one, _ in members if one.engine))
    where = ", ".join(engines[:16]) + (f" and {len(engines) - 16} more" if len(engines) > 16 else "")
    own = getattr(error, "finding_code", "")  # a sick GPU: what a probe would call it
    return Finding(
        f"{prefix}.{gone}" if gone else own or f"{prefix}.{check.name}",
        Severity.FATAL if gone else Severity.ERROR,
        summaries[gone or check.name],
        error.expected,
        f"{error.args[0]}: {one_line(error.seen)}" if error.seen else str(error.args[0]),
        "; ".join(part for part in (where, error.where) if part),
        error.next_step or "gpumend probe",
    )


def one_line(text: str) -> str:
    """What a stuck queue tells in lines, in one."""
    return "; ".join(line.strip() for line in text.splitlines())
