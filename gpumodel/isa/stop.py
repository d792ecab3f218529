"""What ends a wave before its s_endpgm."""

from __future__ import annotations


class Stop(Exception):
    """A wave cannot go on. `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Illegal(Stop):
    """Bits that are no instruction."""


class NotModelled(Stop):
    """An instruction, or a form of one, that the model does not run: better no number than a wrong one."""


class Violation(Stop):
    """An access to LDS or scratch beyond what the waves were given."""
