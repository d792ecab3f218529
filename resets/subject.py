"""One GPU as this room sees it: where it is, what it is, and on whose time. `gpumend.Gpu` is one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from amdriver.parts import Part
from base.clock import Clock
from pcibus.transport import Can, Transport


class Subject(Protocol):
    """`bdf` is its bus address; `address` what reaches it again (`--on`)."""

    @property
    def index(self) -> int: ...

    @property
    def address(self) -> str: ...

    @property
    def bdf(self) -> str: ...

    @property
    def transport(self) -> Transport: ...

    @property
    def part(self) -> Part: ...

    @property
    def clock(self) -> Clock: ...


def on_host(subject: Subject) -> bool:
    """Whether it sits on this machine's bus: then drivers, processes and other functions have to do with it."""
    return Can.HOST in subject.transport.can


def named(subjects: Iterable[Subject]) -> str:
    """`GPU 2 (0000:65:00.0), GPU 3 (0000:85:00.0)`"""
    return ", ".join(f"GPU {one.index} ({one.bdf})" for one in subjects)
