"""The error tree. Every error says what we were doing, what was expected, what was seen, where, and what to do next.

    GpumendError                 1   tried and failed
    ├── WaitTimeout              1   a bounded wait ran out
    ├── OutOfMemory              1   no room: in VRAM, among GPU addresses, or in the host's memory
    ├── InvalidData              1   bytes that are not what they claim to be
    ├── Undecided                2   could not tell
    ├── Refused                  3   unsafe, driver bound, held by a process
    │   └── ReadOnlyViolation    3   a read-only transport was asked to write
    ├── UsageError              64   wrong arguments
    ├── Unavailable             69   nothing there, or a file that is needed is missing
    │   └── DeviceLost          69   the device went away while we worked
    └── NotPermitted            77   names the capability or group that is missing

The exit code beside each is mapped here and nowhere else (DESIGN section 5); an interrupt is 130."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line; check and acting commands read 1 and 2 differently (DESIGN section 5)."""

    OK = 0
    PROBLEM = 1
    UNKNOWN = 2
    REFUSED = 3
    USAGE = 64
    UNAVAILABLE = 69
    DEFECT = 70  # of gpumend itself (sysexits.h EX_SOFTWARE); never of the GPU
    SYSTEM = 74  # the operating system refused in between, or the answer could not be written (EX_IOERR)
    NOT_PERMITTED = 77
    INTERRUPTED = 130
    NO_READER = 141  # whoever read our output went away: what a shell shows for SIGPIPE; the answer was not given


class GpumendError(Exception):
    """Base of all errors that gpumend raises on purpose. `doing` becomes the first line, without a full stop."""

    exit_code = Exit.PROBLEM

    def __init__(
        self,
        doing: str,
        *,
        expected: str = "",
        seen: str = "",
        where: str = "",
        next_step: str = "",
        verb: str = "failed",
    ) -> None:
        super().__init__(doing)
        self.doing = doing
        self.expected = expected
        self.seen = seen
        self.where = where
        self.next_step = next_step
        self.verb = verb

    def __str__(self) -> str:
        lines = [f"{self.doing} {self.verb}".rstrip()]
        rows = (("expected", self.expected), ("seen", self.seen), ("where", self.where), ("next", self.next_step))
        lines += [f"  {label:<9} {text}" for label, text in rows if text]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from a killable child to its parent; keyword-only arguments need help to do so.
        state = dict(self.__dict__)
        return (_rebuild, (type(self), self.doing, state))


def _rebuild(kind: type[GpumendError], doing: str, state: dict[str, object]) -> GpumendError:
    error = kind.__new__(kind)
    Exception.__init__(error, doing)
    error.__dict__.update(state)
    return error


class WaitTimeout(GpumendError):
    """A bounded wait ran out; `seen` carries the last value and every change on the way."""


class OutOfMemory(GpumendError):
    """No room: in VRAM, among GPU addresses, or in the host's memory. Nothing was allocated."""


class InvalidData(GpumendError):
    """A file or table that is not what it claims to be."""


class Undecided(GpumendError):
    """The question could not be answered; never to be taken as healthy."""

    exit_code = Exit.UNKNOWN


class Refused(GpumendError):
    """Not done because it would be unsafe; the holder or the rule is named."""

    exit_code = Exit.REFUSED

    def __init__(
        self,
        doing: str,
        *,
        expected: str = "",
        seen: str = "",
        where: str = "",
        next_step: str = "",
        verb: str = "refused",
    ) -> None:
        super().__init__(doing, expected=expected, seen=seen, where=where, next_step=next_step, verb=verb)


class ReadOnlyViolation(Refused):
    """A write was tried through the read-only transport. This is a defect of gpumend, never of the hardware."""


class UsageError(GpumendError):
    """Wrong arguments."""

    exit_code = Exit.USAGE


class Unavailable(GpumendError):
    """Nothing at that address, or a file that is needed is missing (named, with the package that holds it)."""

    exit_code = Exit.UNAVAILABLE


class DeviceLost(Unavailable):
    """The device went away while we were working."""


class NotPermitted(GpumendError):
    """Not allowed; says which capability or group is missing."""

    exit_code = Exit.NOT_PERMITTED
