"""Time as a parameter: real for hardware, virtual for models and tests.

`run_together` runs callables side by side. On the real clock they are plain threads. On the virtual clock they are
threads too, but only the one that holds the baton runs; it hands the baton on when it sleeps, and time jumps to the
earliest deadline. So ten seconds cost microseconds, and a run is the same each time. Times in seconds."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What one of several callables came to: a value, or the exception that it raised."""

    value: T | None = None
    error: BaseException | None = None

    def unwrap(self) -> T:
        """The value; raises the callable's own exception if there was one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Clock(Protocol):
    """What code that waits is given."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...

    def run_together(self, callables: Sequence[Callable[[], T]]) -> list[Outcome[T]]:
        """Run all side by side, wait for all; outcomes in the order given. Nothing is raised."""
        ...


def _outcome(work: Callable[[], T]) -> Outcome[T]:
    try:
        return Outcome(value=work())
    except BaseException as error:  # noqa: BLE001 - handed to the caller, who decides
        return Outcome(error=error)


class RealClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def run_together(self, callables: Sequence[Callable[[], T]]) -> list[Outcome[T]]:
        outcomes: list[Outcome[T]] = [Outcome(error=RuntimeError("did not run"))] * len(callables)

        def run(index: int) -> None:
            outcomes[index] = _outcome(callables[index])

        threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(callables))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes


class VirtualClock:
    """Time that passes only when somebody sleeps. Deterministic: ties go to whoever asked first."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._order = 0
        self._waiting: list[tuple[float, int, threading.Event]] = []

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        deadline = self._now + max(0.0, seconds)
        if not self._waiting:  # nobody else: time just jumps
            self._now = deadline
            return
        mine = self._enlist(deadline)
        self._pass_baton()
        mine.wait()

    def run_together(self, callables: Sequence[Callable[[], T]]) -> list[Outcome[T]]:
        if not callables:
            return []
        outcomes: list[Outcome[T]] = [Outcome(error=RuntimeError("did not run"))] * len(callables)
        left = len(callables)
        all_done = threading.Event()

        def run(index: int, my_turn: threading.Event) -> None:
            nonlocal left
            my_turn.wait()
            outcomes[index] = _outcome(callables[index])
            left -= 1
            if left == 0:
                self._enlist(self._now, all_done)
            self._pass_baton()

        for index in range(len(callables)):
            turn = self._enlist(self._now)
            threading.Thread(target=run, args=(index, turn), daemon=True).start()
        self._pass_baton()
        all_done.wait()
        return outcomes

    def _enlist(self, deadline: float, turn: threading.Event | None = None) -> threading.Event:
        turn = turn or threading.Event()
        self._order += 1
        heapq.heappush(self._waiting, (deadline, self._order, turn))
        return turn

    def _pass_baton(self) -> None:
        deadline, _, turn = heapq.heappop(self._waiting)
        self._now = max(self._now, deadline)
        turn.set()
