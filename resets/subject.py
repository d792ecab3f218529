"""One GPU as this room sees it: besides what it is and on whose time, where it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from evidence import subject
from evidence.subject import on_host as on_host


class Subject(subject.Subject, Protocol):
    """`bdf` is its bus address; `address` what reaches it again (`--on`)."""

    @property
    def address(self) -> str: ...

    @property
    def bdf(self) -> str: ...


def named(subjects: Iterable[Subject]) -> str:
    """`GPU 2 (0000:65:00.0), GPU 3 (0000:85:00.0)`"""
    return ", ".join(f"GPU {one.index} ({one.bdf})" for one in subjects)
