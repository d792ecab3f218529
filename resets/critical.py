"""A step that was begun is finished: Ctrl-C and the like wait until it is over, so that no hive is left half reset.

The first signal is remembered and told of; a second one interrupts at once, and the journal knows how far it had come."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Asked:
    """Whether somebody asked us to stop, and by which signal."""

    signal_name: str = ""

    def __bool__(self) -> bool:
        return bool(self.signal_name)


@contextmanager
def finished(asked: Asked, say: Callable[[str], None]) -> Iterator[None]:
    """Within, a signal only sets `asked`. In a thread that gets no signals: nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def remember(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.signal_name = signal.Signals(number).name
        say("asked to stop: the step that was begun is finished first; once more leaves it half done")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    changed = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in changed:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])
