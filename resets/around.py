"""What stands around a GPU: its driver, what else is behind the port above it, who holds it; as the system tells it now.

Source: Linux Documentation/ABI/testing/sysfs-bus-pci (folders of a bridge hold what is behind it); pcibus/holders.py.
A secondary bus reset hits every function behind the port, switches and all (PCI Express base specification, hot reset)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from base.errors import GpumendError
from pcibus.binding import driver_of
from pcibus.config import decode
from pcibus.holders import PATIENCE_S, Holder, Holders, find_holders
from pcibus.sysfs import SysfsTransport
from pcibus.transport import Can, DriverSource
from resets.grouping import Group
from resets.ladder import Rung
from resets.methods import Scope
from resets.safety import Situation
from resets.subject import Subject, on_host

_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]\Z")
_MOST_BEHIND = 256
ALONE_IN_A_HIVE = frozenset({"mode1", "link-reset"})


@dataclass(frozen=True, slots=True)
class Places:
    """Where the system's files are; tests have trees of their own."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")


def situation(subject: Subject, rung: Rung, group: Group, places: Places = Places()) -> Situation:
    """What the safety table asks for one GPU and one rung. On a model only the hive is there."""
    alone = rung.method.name in ALONE_IN_A_HIVE and group.in_hive
    try:
        info = subject.transport.info()
    except GpumendError:  # the system does not know the function any more
        return Situation("", group.in_hive, alone, group.complete)
    if not on_host(subject):
        return Situation(info.driver or "", group.in_hive, alone, group.complete, is_vf=info.sriov_vf)
    mine = {one.bdf for one in group.everyone if one.index in rung.gpus} | {subject.bdf}
    others = tuple(bdf for bdf in behind_port(subject.bdf, places.sys) if bdf not in mine)
    hit = others if rung.method.scope is Scope.BUS else ()
    driver = driver_of(subject.bdf, places.sys)
    switch = behind_switch(subject.bdf, places.sys)
    return Situation(driver, group.in_hive, alone, group.complete, hit, switch, info.sriov_vf)


def behind_port(bdf: str, root: Path = Path("/sys")) -> list[str]:
    """Every function behind the port above this one, itself among them; [] on a root bus or where it cannot be told."""
    try:
        port = (root / "bus/pci/devices" / bdf).resolve(strict=True).parent
    except OSError:
        return []
    if not _BDF.match(port.name):
        return []
    found: list[str] = []
    folders = [port]
    while folders and len(found) < _MOST_BEHIND:
        folder = folders.pop()
        try:
            inside = sorted(entry for entry in folder.iterdir() if _BDF.match(entry.name) and entry.is_dir())
        except OSError:
            continue
        found += [entry.name for entry in inside]
        folders += inside
    return sorted(found)


def behind_switch(bdf: str, root: Path = Path("/sys")) -> bool | None:
    """Whether the port above is a switch's; None where its config space cannot be read."""
    try:
        port = (root / "bus/pci/devices" / bdf).resolve(strict=True).parent.name
    except OSError:
        return None
    if not _BDF.match(port):
        return False
    try:
        kind = decode(SysfsTransport(port, root=root)).port_type
    except (GpumendError, OSError):
        return None
    return kind == "downstream port" if kind else None


@dataclass(frozen=True, slots=True)
class Held:
    """Who holds one GPU. `holders` None: a model without a kernel driver, nobody else can."""

    subject: Subject
    driver: str
    holders: Holders | None
    lock: str = ""

    @property
    def processes(self) -> tuple[Holder, ...]:
        """Those that are in the way: a process that only opened /dev/kfd counts while amdgpu is bound, whose reset ends it."""
        if self.holders is None:
            return ()
        return self.holders.holders if self.driver == "amdgpu" else self.holders.real


def held_by(subjects: Sequence[Subject], places: Places = Places()) -> list[Held]:
    """For each GPU its driver and who holds it or its lock. Bounded by find_holders; looks only."""
    found = []
    for subject in subjects:
        lock = _lock(subject)
        if not on_host(subject):
            theirs = cast(DriverSource, subject.transport).holders() if Can.DRIVER in subject.transport.can else None
            found.append(Held(subject, subject.transport.info().driver or "", theirs, lock))
            continue
        holders = find_holders(subject.bdf, root=places.sys, proc=places.proc, limit_s=PATIENCE_S)
        found.append(Held(subject, driver_of(subject.bdf, places.sys), holders, lock))
    return found


def _lock(subject: Subject) -> str:
    from pcibus.lock import name_holder

    holder = subject.transport.holder()
    return "" if holder is None else name_holder(holder)


def holder_words(held: Held, holder: Holder, places: Places = Places()) -> str:
    """`pid 42 python3 (docker 0123456789ab; /dev/dri/renderD128; a zombie)`"""
    state = process_state(holder.pid, places.proc) if on_host(held.subject) else "S"
    kept = {"D": "stuck in the kernel", "": "gone, but not for the driver"}
    more = [holder.container, *holder.what, kept.get(state, "")]
    return f"pid {holder.pid} {holder.command or '?'} ({'; '.join(part for part in more if part)})"


def process_state(pid: int, proc: Path = Path("/proc")) -> str:
    """The state letter of proc(5); "" when there is no such process."""
    try:
        words = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return words[0] if words else ""
