"""What a software GPU still has to do: work that is due at a time. Nothing runs by itself; every access runs what is due.

So a model needs no thread: on a virtual clock a poll moves time on and its next read finds the work done, on the real
clock the same. Times in seconds of the given clock."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable

from base.clock import Clock

LOOK_S = 1e-6  # guess: how soon somebody who waits looks again
LOOK_MOST_S = 1e-3


class Patience:
    """How long somebody who waits for a value does something else: an eighth of what he has waited for it, at most 1 ms.

    Hardware looks all the time. A model that did so would do nothing else while a queue hangs, on the real clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = 0.0
        self._what: object = None

    def next_look_s(self, what: object) -> float:
        """Until the next look; `what` is waited for, and something else starts anew."""
        now = self._clock.now()
        if what != self._what:
            self._what, self._since = what, now
        return min(max(LOOK_S, (now - self._since) / 8), LOOK_MOST_S)


class Events:
    """Work by due time; work due at the same time runs in the order in which it was asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._lock = threading.RLock()
        self._running = False
        self._due = 0.0  # when the work that runs now was due
        self._now = 0.0  # while work runs, time stands: on the real clock, work that looks again soon would never end

    def after(self, delay_s: float, work: Callable[[], None], *, follow: bool = False) -> None:
        """Run `work` once `delay_s` have passed and somebody looks.

        `follow`: asked for by work, the time counts from when that was due, not from when somebody looked: a chain of
        packets takes as long as they take. Not for work that asks for itself again and again."""
        with self._lock:
            self._order += 1
            now = self._now if self._running else self._clock.now()
            start = self._due if follow and self._running else now
            heapq.heappush(self._queue, (start + delay_s, self._order, work))

    def time(self) -> float:
        """When what happens now was due: nobody may have looked for a while."""
        return self._due if self._running else self._clock.now()

    def run_due(self) -> None:
        """Run all that is due now. Work that asks for more work without delay has it run in the same call."""
        if not self._queue or self._queue[0][0] > self._clock.now():
            return
        with self._lock:
            if self._running:  # work itself reads memory and registers
                return
            self._running = True
            self._now = self._clock.now()
            try:
                while self._queue and self._queue[0][0] <= self._now:
                    self._due, _, work = heapq.heappop(self._queue)
                    work()
            finally:
                self._running = False

    def next_due(self) -> float | None:
        """When the next work is due; None: there is none."""
        return self._queue[0][0] if self._queue else None

    def __len__(self) -> int:
        return len(self._queue)
