"""Work that may stick in the kernel runs in a child that can be killed; one that cannot even be killed is left and named.

A child in D state ignores SIGKILL until the kernel lets go. It is never joined: it is counted, named by
`stuck_children()`, and reaped if it ever ends. Real time throughout: a kernel does not wait on a virtual clock.
Source: proc(5) (stat, wchan, stack), waitpid(2), setitimer(2), DESIGN section 6 rule 1."""

from __future__ import annotations

import faulthandler
import os
import pickle
import resource
import select
import signal
import struct
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from base.clock import Outcome
from base.errors import GpumendError, WaitTimeout

T = TypeVar("T")

MIB = 1 << 20
MAX_RESULT_BYTES = 64 * MIB
GRACE_S = 0.5  # how long a killed child may take to go before it counts as stuck
ORPHAN_S = 2.0  # a child whose parent died kills itself this long after its limit
_TICK_S = 0.05
_LENGTH = struct.Struct("<Q")
_CHUNK_BYTES = MIB
_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "in uninterruptible sleep",
    "Z": "a zombie",
    "T": "stopped",
    "t": "traced",
    "I": "idle",
    "X": "dead",
}


class ChildTimeout(WaitTimeout):
    """The work was not done in time. `stuck`: its process could not be killed either and is still there."""

    pid: int = 0
    stuck: bool = False


class ChildDied(GpumendError):
    """The process that did the work ended without an answer; `signal_name` is "" when no signal ended it."""

    pid: int = 0
    signal_name: str = ""


@dataclass(frozen=True, slots=True)
class StuckChild:
    """A child that SIGKILL did not end; `state` as /proc tells it now."""

    pid: int
    doing: str
    since_s: float
    state: str


_STUCK: dict[int, tuple[str, float]] = {}
_STUCK_LOCK = threading.Lock()
_FOREBEARS: list[int] = []  # in a child: the processes of ours that it was forked from


def run_in_child(
    work: Callable[[], T],
    limit_s: float,
    *,
    doing: str = "working in a child process",
    where: str = "",
    next_step: str = "",
    max_result_bytes: int = MAX_RESULT_BYTES,
) -> Outcome[T]:
    """Run `work` in a forked child for at most `limit_s` (plus GRACE_S to see it go); never raises what the work raised.

    The outcome's error is the work's own exception, ChildTimeout (killed, or stuck and left), or ChildDied (a signal
    such as SIGBUS ended it, the answer could not be sent). What the work changes in memory is lost with the child."""
    return run_many_in_children(
        [work],
        limit_s,
        doing=[doing],
        where=[where],
        next_step=next_step,
        max_result_bytes=max_result_bytes,
    )[0]


def run_many_in_children(
    works: Sequence[Callable[[], T]],
    limit_s: float,
    *,
    doing: Sequence[str] = (),
    where: Sequence[str] = (),
    next_step: str = "",
    max_result_bytes: int = MAX_RESULT_BYTES,
) -> list[Outcome[T]]:
    """Run all side by side, each in its own child forked by the calling thread; outcomes in the order given.

    `limit_s` is the limit of all together. An interrupt (Ctrl-C) kills the children, then goes on to the caller."""
    stuck_children()
    start = time.monotonic()
    children: list[_Child] = []
    try:
        for index, work in enumerate(works):
            child = _Child(
                doing=doing[index] if index < len(doing) else f"working in child process {index}",
                where=where[index] if index < len(where) else "",
                next_step=next_step,
                limit_s=limit_s,
                max_result_bytes=max_result_bytes,
            )
            child.start(work, siblings=children)
            children.append(child)
        _collect(children, start + limit_s)
    finally:
        _end_all(children)
    return [child.outcome() for child in children]


def stuck_children() -> list[StuckChild]:
    """Children that SIGKILL did not end and that are still there. Reaps those that went meanwhile; waits for none."""
    with _STUCK_LOCK:
        for pid in list(_STUCK):
            if _reap(pid) is not None:
                del _STUCK[pid]
        left = dict(_STUCK)
    now = time.monotonic()
    return [StuckChild(pid, doing, now - since, describe_process(pid)) for pid, (doing, since) in left.items()]


def own_pids() -> frozenset[int]:
    """This process, and in a child also those that it was forked from here: all of them are us."""
    return frozenset({os.getpid(), *_FOREBEARS})


def describe_process(pid: int, proc: Path = Path("/proc")) -> str:
    """Where a process is now: `in uninterruptible sleep, in pci_wait_cfg; stack: ...`; says so where that is hidden.

    Reads stat, wchan and stack only: cmdline and maps take a lock that a stuck process may hold."""
    stat = _proc_text(proc / str(pid) / "stat")
    if not stat:
        return "gone"
    letter = stat.rpartition(")")[2].split()[:1]
    state = _STATES.get(letter[0], f"in state {letter[0]}") if letter else "in an unknown state"
    wchan = _proc_text(proc / str(pid) / "wchan").strip()
    stack = _proc_text(proc / str(pid) / "stack")
    frames = [line.split()[-1].partition("+")[0] for line in stack.splitlines() if line.split()]
    told = f"{state}, in {wchan}" if wchan not in ("", "0") else state
    return f"{told}; stack: {' < '.join(frames[:6])}" if frames else told


@dataclass(slots=True, eq=False)
class _Child:
    """One forked child, seen from its parent."""

    doing: str
    where: str
    next_step: str
    limit_s: float
    max_result_bytes: int
    pid: int = 0
    read_fd: int = -1
    buffer: bytearray = field(default_factory=bytearray)
    answer: bytes | None = None
    status: int | None = None
    timed_out: bool = False
    too_big: int = 0
    stuck: str = ""

    def start(self, work: Callable[[], Any], siblings: Sequence[_Child]) -> None:
        self.read_fd, write_fd = os.pipe()
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns when other threads run. The child runs our code only and leaves by os._exit; a
                # lock that another thread held at the fork can stop it, but never past its limit.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.pid = os.fork()
            if self.pid == 0:
                _child_main(work, write_fd, [self.read_fd, *(s.read_fd for s in siblings)], self)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(write_fd)
        os.set_blocking(self.read_fd, False)

    @property
    def done(self) -> bool:
        return self.answer is not None or self.status is not None or self.too_big > 0

    def receive(self) -> None:
        """Take what has come through the pipe; the length in front tells when it is complete."""
        while not self.done:
            try:
                chunk = os.read(self.read_fd, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                self.reap()
                return
            self.buffer += chunk
            self._take_answer()

    def _take_answer(self) -> None:
        if len(self.buffer) < _LENGTH.size:
            return
        (size,) = _LENGTH.unpack_from(self.buffer)
        if size > self.max_result_bytes:
            self.too_big = size
        elif len(self.buffer) >= _LENGTH.size + size:
            self.answer = bytes(self.buffer[_LENGTH.size : _LENGTH.size + size])

    def reap(self) -> bool:
        """True when the child is gone; never waits."""
        if self.status is None:
            self.status = _reap(self.pid)
        return self.status is not None

    def close(self) -> None:
        if self.read_fd >= 0:
            os.close(self.read_fd)
            self.read_fd = -1

    def outcome(self) -> Outcome[Any]:
        if self.answer is not None:
            return _unpack(self.answer, self.doing, self.where)
        if self.too_big:
            return Outcome(
                error=self._died(
                    expected=f"an answer of at most {self.max_result_bytes} bytes", seen=f"{self.too_big} bytes"
                )
            )
        if self.timed_out:
            return Outcome(error=self._timeout())
        return Outcome(error=self._died(expected="an answer", seen=f"process {self.pid} {_ending(self.status)}"))

    def _timeout(self) -> ChildTimeout:
        seen = f"no answer; process {self.pid} was killed"
        if self.stuck:
            seen = f"no answer; process {self.pid} cannot be killed and is left behind: {self.stuck}"
        error = ChildTimeout(
            self.doing,
            expected=f"done within {self.limit_s:g} s",
            seen=seen,
            where=self.where,
            next_step=self.next_step,
        )
        error.pid, error.stuck = self.pid, bool(self.stuck)
        return error

    def _died(self, *, expected: str, seen: str) -> ChildDied:
        error = ChildDied(self.doing, expected=expected, seen=seen, where=self.where, next_step=self.next_step)
        error.pid = self.pid
        if self.status is not None and os.WIFSIGNALED(self.status):
            error.signal_name = _signal_name(os.WTERMSIG(self.status))
        return error


def _collect(children: Sequence[_Child], deadline: float) -> None:
    """Take answers until all are done or the time is up."""
    waiting = {child.read_fd: child for child in children}
    while waiting:
        left = deadline - time.monotonic()
        poller = select.poll()
        for handle in waiting:
            poller.register(handle, select.POLLIN)
        for handle, _ in poller.poll(max(0.0, min(_TICK_S, left)) * 1000):
            waiting[handle].receive()
        for child in waiting.values():
            # A forked sibling of another thread may hold the pipe open: the end of a child shows here, too.
            if not child.done and child.reap():
                child.status, gone = None, child.status
                child.receive()
                child.status = gone
        waiting = {handle: child for handle, child in waiting.items() if not child.done}
        if left <= 0:
            break
    for child in waiting.values():
        child.timed_out = True


def _end_all(children: Sequence[_Child]) -> None:
    """See every child go: at once when it answered, by SIGKILL when not; those that stay are registered, not joined."""
    for child in children:
        if child.answer is None and not child.reap():
            _kill(child.pid)
    asked_again = False
    deadline = time.monotonic() + GRACE_S
    left = [child for child in children if not child.reap()]
    while left and time.monotonic() < deadline:
        time.sleep(0.001)
        left = [child for child in left if not child.reap()]
        if left and not asked_again and time.monotonic() > deadline - GRACE_S / 2:
            asked_again = True
            for child in left:  # it answered, but does not leave by itself
                _kill(child.pid)
    for child in left:
        child.stuck = describe_process(child.pid)
        with _STUCK_LOCK:
            _STUCK[child.pid] = (child.doing, time.monotonic())
    for child in children:
        child.close()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _reap(pid: int) -> int | None:
    """The wait status of a child that ended; None while it is there. Somebody else reaped it: status 0."""
    try:
        gone, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return status if gone else None


def _ending(status: int | None) -> str:
    if status is None:
        return "is still there"
    if os.WIFSIGNALED(status):
        return f"was ended by {_signal_name(os.WTERMSIG(status))}"
    return f"ended with exit status {os.WEXITSTATUS(status)} and no answer"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _proc_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _unpack(answer: bytes, doing: str, where: str) -> Outcome[Any]:
    """What our own child sent; unpickling is safe because no one else can write to the pipe."""
    try:
        worked, value = pickle.loads(answer)
    except Exception as error:  # noqa: BLE001 - classes decide what their unpickling raises
        return Outcome(
            error=ChildDied(
                doing, expected="an answer that can be unpacked", seen=f"{type(error).__name__}: {error}", where=where
            )
        )
    return Outcome(value=value) if worked else Outcome(error=value)


# --- in the child


def _child_main(work: Callable[[], Any], write_fd: int, foreign_fds: Sequence[int], child: _Child) -> NoReturn:
    """Do the work, send the answer, leave without cleaning up: everything here is a copy of the parent's."""
    code = 1
    try:
        _FOREBEARS.append(os.getppid())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and decides
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, child.limit_s + ORPHAN_S)  # should the parent die before us
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()
        for handle in foreign_fds:
            os.close(handle)
        data = _answer(work, child)
        with os.fdopen(write_fd, "wb") as pipe:
            pipe.write(_LENGTH.pack(len(data)))
            pipe.write(data)
        code = 0
    finally:
        os._exit(code)


def _answer(work: Callable[[], Any], child: _Child) -> bytes:
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - travels to the parent, who decides
        return _packed_error(error, child)
    try:
        data = pickle.dumps((True, value), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - classes decide what their pickling raises
        seen = f"{type(value).__name__}: {error}"
        return _refusal(child, expected="an answer that can be sent to the parent", seen=seen)
    if len(data) > child.max_result_bytes:
        expected = f"an answer of at most {child.max_result_bytes} bytes"
        return _refusal(child, expected=expected, seen=f"{len(data)} bytes")
    return data


def _packed_error(error: BaseException, child: _Child) -> bytes:
    try:
        data = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)
    except Exception:  # noqa: BLE001 - an exception of unknown make; its text must do
        seen = f"{type(error).__name__}: {error}"
        return _refusal(child, expected="an answer", seen=seen[:2000])
    return data


def _refusal(child: _Child, *, expected: str, seen: str) -> bytes:
    error = ChildDied(child.doing, expected=expected, seen=seen, where=child.where, next_step=child.next_step)
    error.pid = os.getpid()
    return pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
