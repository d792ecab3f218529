"""What collecting is made of: places to look into, limits, collectors, and what they give.

A collector is a function that takes an `Out`, says what it is about to touch (`begin`), and hands over what it got (`add`)
or why it did not (`unread`). On hardware it runs in a child that can be killed, and what it handed over until then counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from base.errors import GpumendError

MIB = 1 << 20
MAX_REASON = 300  # characters

Status = Literal["ok", "partial", "timed-out", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Places:
    """Roots of the file systems to look into; tests put trees of their own here. `journalctl`: None, do not ask it."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    etc: Path = Path("/etc")
    opt: Path = Path("/opt")
    journalctl: Path | None = Path("/usr/bin/journalctl")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes. `budget_s`: for all collectors together; what would begin after it is skipped and listed."""

    budget_s: float = 22.0
    fast_s: float = 1.5  # identity, small files of the kernel
    hardware_s: float = 4.0  # config space, discovery table, registers
    driver_s: float = 2.0  # the bound driver's files, which a sick driver may never answer
    logs_s: float = 5.0
    attribute_bytes: int = 64 << 10
    log_bytes: int = 32 * MIB
    coredump_bytes: int = 32 * MIB
    coredumps: int = 4
    boots: int = 3
    total_bytes: int = 256 * MIB


@dataclass(frozen=True, slots=True)
class Unread:
    """One thing that was not collected, or not whole, and why."""

    what: str
    why: str


@dataclass(slots=True)
class Item:
    """One file of the bundle before redaction; `name` is relative to the bundle's folder. `cut`: it had more."""

    name: str
    data: bytearray
    binary: bool = False
    cut: bool = False


class Out(Protocol):
    """Where a collector puts what it gets."""

    def begin(self, what: str) -> bool:
        """About to touch `what`, which may never return. False: it was begun in an earlier run; leave it out."""
        ...

    def add(self, name: str, data: bytes, *, binary: bool = False, cut: bool = False) -> None:
        """Bytes of the file `name`; given again, they are appended."""
        ...

    def unread(self, what: str, why: str) -> None: ...

    def secret(self, kind: str, value: str) -> None:
        """Something that must not leave this machine (`host`, `user`, `serial`, `mac`), wherever it turns up."""
        ...


@dataclass(frozen=True, slots=True)
class Collector:
    """`gpu`: index of the GPU that it asks; None: the machine. `room_bytes`: the most that it may hand over.

    `apart`: run it in a child. `resumes`: how often it may go on after a kill, without what it stuck at."""

    name: str
    work: Callable[[Out], None]
    limit_s: float
    gpu: int | None = None
    room_bytes: int = 8 * MIB
    apart: bool = True
    resumes: int = 0

    @property
    def label(self) -> str:
        return self.name if self.gpu is None else f"{self.name} of GPU {self.gpu}"


@dataclass(slots=True)
class Collected:
    """What one collector came to. `seconds` on the clock that it ran on."""

    collector: Collector
    status: Status = "ok"
    detail: str = ""
    seconds: float = 0.0
    items: dict[str, Item] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)
    secrets: list[tuple[str, str]] = field(default_factory=list)

    def take(self, record: tuple[object, ...]) -> None:
        """One thing that a collector handed over: ("add", ...), ("unread", ...), ("secret", ...)."""
        match record:
            case ("add", str(name), bytes(data), bool(binary), bool(cut)):
                item = self.items.setdefault(name, Item(name, bytearray(), binary))
                item.data += data
                item.cut = item.cut or cut
            case ("unread", str(what), str(why)):
                self.unread.append(Unread(what, why))
            case ("secret", str(kind), str(value)):
                self.secrets.append((kind, value))


@contextmanager
def attempt(out: Out, what: str) -> Iterator[None]:
    """Whatever goes wrong within becomes a line in the list of what was not collected."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a transport or a file may raise anything; the rest still counts
        out.unread(what, reason(error))


def reason(error: BaseException) -> str:
    """Why, in one line."""
    if isinstance(error, GpumendError):
        text = error.seen or f"{error.doing} {error.verb}"
    elif isinstance(error, OSError) and error.errno:
        text = os.strerror(error.errno)
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:MAX_REASON]
