"""Making way: whoever drives or holds a GPU is named and refused, unless they may be unbound or ended.

Killing goes by pidfd, so that a number that was given to somebody else is never hit; each holder is looked for again just
before; PID 1, our own ancestors and container runtimes are never touched. Unbinding runs in a child that can be killed, and one
that is stuck in the kernel is reported, not waited for (pcibus/binding.py).
Of an NVIDIA GPU the daemons that hold it are named with the way to stop them, and it is not unbound while the driver keeps it
initialized though no process does: that write would never return (nvidia-resets.md section 3).
Source: pidfd_open(2), pidfd_send_signal(2), proc(5); DESIGN section 6 rule 1."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from base.clock import RealClock
from base.errors import GpumendError, Refused, WaitTimeout
from base.poll import poll
from nvdriver import usage
from pcibus.binding import unbind
from pcibus.driverfiles import DriverFiles
from pcibus.holders import PATIENCE_S, Holder, find_holders
from pcibus.transport import DriverSource
from resets.around import Held, Places, held_by, holder_words, process_state
from resets.methods import Doer, Method
from resets.subject import Subject, on_host

KEEPERS = frozenset({"", "vfio-pci", "pci-stub", "uio_pci_generic"})
NVIDIA_DRIVER = "nvidia"
TERM_S = 5.0  # for a process to end by itself
KILL_S = 2.0
LET_GO_S = 5.0  # for a driver to let go of what a process held when it ended
MOST_NAMED = 16
UNBIND_S = 60.0
# Ending one of these ends every container or job of the machine, not the one that holds the GPU.
RUNTIMES = (
    "containerd", "dockerd", "docker-proxy", "crio", "cri-o", "conmon", "runc", "crun", "podman", "kubelet", "systemd",
    "slurmd", "slurmstepd", "libvirtd", "lxc-start", "lxcfs", "init",
)  # fmt: skip


@dataclass(slots=True)
class Way:
    """What is allowed. `files`: of a GPU's kernel driver (NVIDIA); `said`: what was done, one line each."""

    unbind: bool = False
    kill_holders: bool = False
    places: Places = field(default_factory=Places)
    say: Callable[[str], None] = lambda text: None
    files: Callable[[Subject], DriverFiles | None] = lambda subject: None
    said: list[str] = field(default_factory=list)

    def check(self, subjects: Sequence[Subject], method: Method) -> list[Held]:
        """Refused, with everybody who is named, when `clear` would be; does nothing. Who holds them now."""
        held = held_by(subjects, self.places)
        self._check_locks(held, method)
        self._check_holders(held, method)
        if method.doer is not Doer.DRIVER:
            self._check_driver(held, method)
        self._check_kept(held, method)
        return held

    def clear(self, subjects: Sequence[Subject], method: Method) -> None:
        """Nobody is in the way when this returns. Refused, NotPermitted, BindStuck."""
        held = self.check(subjects, method)
        for one in held:
            for holder in one.processes:
                self._end(one, holder)
        if any(one.processes for one in held):
            self._await_nobody(subjects, method)
            self._check_kept(held_by(subjects, self.places), method)
        if method.doer is not Doer.DRIVER:
            for one in held:
                if one.driver not in KEEPERS:
                    self._unbind(one.subject)
                    self._tell(f"unbound {one.subject.bdf} from {one.driver}; gpumend bind {one.driver} gives it back")

    def _unbind(self, subject: Subject) -> None:
        if not on_host(subject):
            cast(DriverSource, subject.transport).unbind()
            return
        unbind(subject.bdf, root=self.places.sys, proc=self.places.proc, limit_s=UNBIND_S)

    def _tell(self, text: str) -> None:
        self.said.append(text)
        self.say(text)

    def _check_locks(self, held: Sequence[Held], method: Method) -> None:
        locked = [f"GPU {one.subject.index} ({one.subject.bdf}): {one.lock}" for one in held if one.lock]
        if locked:
            raise Refused(
                f"{method.name}", expected="nobody else has the lock of a GPU that it hits", seen="; ".join(locked),
                next_step="end that process, or let it finish",
            )  # fmt: skip

    def _check_holders(self, held: Sequence[Held], method: Method) -> None:
        processes = [(one, holder) for one in held for holder in one.processes]
        hidden = [one for one in held if one.holders is not None and not one.holders.complete]
        if hidden:
            gaps = sorted({gap for one in hidden if one.holders is not None for gap in one.holders.gaps})
            raise Refused(
                f"{method.name}", expected="to see every process that may hold the GPU", seen="; ".join(gaps),
                where=hidden[0].subject.bdf, next_step="run as root on the host, outside any container",
            )  # fmt: skip
        if processes and not self.kill_holders:
            told = "; ".join(
                f"GPU {one.subject.index} ({one.subject.bdf}): {holder_words(one, holder, self.places)}"
                for one, holder in processes[:MOST_NAMED]
            )
            raise Refused(
                f"{method.name}", expected="no process that holds a GPU that it hits",
                seen=told + (f"; and {len(processes) - MOST_NAMED} more" if len(processes) > MOST_NAMED else ""),
                next_step=f"{_stopped_by(processes)}, or let --kill-holders do it",
            )  # fmt: skip
        for one, holder in processes:
            self._check_killable(one, holder)

    def _check_killable(self, held: Held, holder: Holder) -> None:
        if not on_host(held.subject):
            return  # its numbers are not those of this machine's processes
        reason = untouchable(holder, self.places.proc)
        if not reason and process_state(holder.pid, self.places.proc) in ("", "Z"):
            reason = "it has ended, and the driver or its parent has not let it go"
        if reason:
            raise _cannot(held, holder, reason, self.places)

    def _check_kept(self, held: Sequence[Held], method: Method) -> None:
        """An NVIDIA driver that is to let go, and keeps the GPU running though no process does, would never let go."""
        for one in held:
            files = self.files(one.subject) if one.subject.part.is_nvidia else None
            if one.driver != NVIDIA_DRIVER or one.processes or files is None:
                continue
            if usage.is_initialized(files, one.subject.bdf):
                raise Refused(
                    f"{method.name}", expected="an NVIDIA GPU that its driver has stopped",
                    seen=f"GPU {one.subject.index} ({one.subject.bdf}): {usage.KEPT}", where=one.subject.bdf,
                    next_step=usage.KEPT_NEXT.format(bdf=one.subject.bdf),
                )  # fmt: skip

    def _check_driver(self, held: Sequence[Held], method: Method) -> None:
        bound = [one for one in held if one.driver not in KEEPERS]
        if bound and not self.unbind:
            told = "; ".join(f"GPU {one.subject.index} ({one.subject.bdf}): {one.driver}" for one in bound)
            raise Refused(
                f"{method.name}", expected="no kernel driver bound to a GPU that it hits", seen=told,
                next_step=usage.ORDER if any(one.driver == NVIDIA_DRIVER for one in bound)
                else "gpumend reset --unbind; or let the driver do it: gpumend reset --method kernel-recover",
            )  # fmt: skip
        for one in bound:
            if one.holders is None:
                raise Refused(
                    f"unbinding {one.subject.bdf}", expected="a GPU on this machine's bus", seen=one.subject.address
                )

    def _end(self, held: Held, holder: Holder) -> None:
        """End it, unless it has let go meanwhile: ended for another GPU that it held too, or with the job that it was of."""
        subject = held.subject
        if not on_host(subject):
            cast(DriverSource, subject.transport).end_holder(holder.pid)
            self._tell(f"ended pid {holder.pid} {holder.command}, which held {subject.bdf}")
            return
        try:
            handle = os.pidfd_open(holder.pid)
        except ProcessLookupError:
            return
        except OSError as error:
            raise _cannot(held, holder, os.strerror(error.errno or 0), self.places) from error
        try:
            # From here on the handle is that process and no other; is it still the one that holds the GPU?
            again = find_holders(subject.bdf, root=self.places.sys, proc=self.places.proc, limit_s=PATIENCE_S)
            if holder.pid not in {one.pid for one in again.holders}:
                return
            self._check_killable(held, holder)
            self._signal(held, holder, handle)
        finally:
            os.close(handle)

    def _await_nobody(self, subjects: Sequence[Subject], method: Method) -> None:
        """Drivers let go some time after a process has ended; and whoever started it may have started it anew."""

        def holding() -> list[str]:
            return [
                f"GPU {one.subject.index} ({one.subject.bdf}): {words}"
                for one in held_by(subjects, self.places)
                for words in (
                    *(holder_words(one, holder, self.places) for holder in one.processes),
                    *(one.holders.gaps if one.holders is not None and not one.holders.complete else ()),
                )
            ]

        try:
            poll(
                RealClock(), holding, lambda words: not words, doing="", expected="", timeout_s=LET_GO_S,
                first_pause_s=0.05, longest_pause_s=0.5,
            )  # fmt: skip
        except WaitTimeout as error:
            raise Refused(
                f"{method.name}", expected="no process that holds a GPU that it hits, after its holders were ended",
                seen="; ".join(holding()[:MOST_NAMED]) or error.seen,
                next_step="stop what starts them anew; if it has ended, only its parent or a reboot of the node lets it go",
            ) from error  # fmt: skip

    def _signal(self, held: Held, holder: Holder, handle: int) -> None:
        for number, wait_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return
            except OSError as error:
                raise _cannot(held, holder, os.strerror(error.errno or 0), self.places) from error
            if _ended(handle, wait_s):
                self._tell(f"ended pid {holder.pid} {holder.command}, which held {held.subject.bdf}")
                return
        raise _cannot(held, holder, "SIGKILL did not end it: it is stuck in the kernel", self.places)


def untouchable(holder: Holder, proc: Path = Path("/proc")) -> str:
    """Why this process must not be ended; "" if it may."""
    if holder.pid <= 1:
        return "it is the first process of the machine"
    if holder.pid in ancestors(proc):
        return "it is gpumend itself, or a process that started it"
    name = holder.command
    if name.startswith("containerd-shim") or name in RUNTIMES:
        return f"{name} runs every container or job of this machine"
    return ""


def ancestors(proc: Path = Path("/proc")) -> frozenset[int]:
    """This process and those that started it."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            words = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
            pid = int(words[1])
        except (OSError, ValueError, IndexError):
            break
    return frozenset(found)


def _ended(handle: int, wait_s: float) -> bool:
    """Whether the process behind a pidfd ends within the time; real time, since it is a process."""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(wait_s * 1000))


def _stopped_by(processes: Sequence[tuple[Held, Holder]]) -> str:
    """How they end: daemons by their own way, the others by themselves."""
    commands = [holder.command for _, holder in processes]
    told = usage.stop_words(commands)
    others = "end them" if not told else "end the others" if set(commands) - set(usage.STOPPED_BY) else ""
    return "; ".join(filter(None, (told, others)))


def _cannot(held: Held, holder: Holder, why: str, places: Places) -> GpumendError:
    return Refused(
        f"ending the process that holds {held.subject.bdf}", expected="a process that may be ended, and ends",
        seen=f"{holder_words(held, holder, places)}: {why}", where=held.subject.bdf,
        next_step="stop it by the means that started it; if it is stuck, only a reboot of the node ends it",
    )  # fmt: skip
