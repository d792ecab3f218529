"""One GPU as whoever asks it or resets it sees it. `gpumend.Gpu` is one; resets/subject.py asks for more."""

from __future__ import annotations

from typing import Protocol

from amdriver.parts import Part
from base.clock import Clock
from pcibus.transport import Can, Transport


class Subject(Protocol):
    """What `gpumend.list_gpus` gives."""

    @property
    def index(self) -> int: ...

    @property
    def transport(self) -> Transport: ...

    @property
    def part(self) -> Part: ...

    @property
    def clock(self) -> Clock: ...


def on_host(subject: Subject) -> bool:
    """Whether it sits on this machine's bus: then /sys and the kernel's log tell of it, drivers, processes and other functions
    have to do with it, and a look can get stuck."""
    return Can.HOST in subject.transport.can
