"""The last accesses of one device, kept in memory and written to a file when something went wrong.

The file is in the format of pcibus/trace.py: accesses, and marks for what is none (interrupts, resets, maps). The same
access several times in a row is one line with "times"."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from base.clock import Clock
from pcibus.trace import SCHEMA
from pcibus.transport import Transport

KEPT = 4096
CONFIG = -1  # in place of a BAR
_WIDTHS = (4, 8)
_CONFIG_WIDTHS = (1, 2, 4)
_Row = tuple[float, bool, int, int, bytes | str]  # seconds, is a write, BAR, offset, data; or a text


class AccessRing:
    """Notes accesses of `transport`; a line that repeats the one before only counts. `last_words`: what else is to be
    said at the end of a file."""

    def __init__(
        self, transport: Transport, clock: Clock, kept: int = KEPT, last_words: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self._transport = transport
        self._last_words = last_words
        self._clock = clock
        self._start = clock.now()
        self._rows: deque[_Row] = deque(maxlen=kept)
        self._last: tuple[bool, int, int, bytes] | None = None
        self._times: deque[int] = deque(maxlen=kept)

    def __len__(self) -> int:
        return len(self._rows)

    def note(self, write: bool, bar: int, offset: int, data: bytes) -> None:
        """An access, or the start of a long one."""
        row = (write, bar, offset, data)
        if row == self._last:
            self._times[-1] += 1
            return
        self._last = row
        self._rows.append((self._clock.now(), *row))
        self._times.append(1)

    def mark(self, text: str) -> None:
        """Something that is no access."""
        self._last = None
        self._rows.append((self._clock.now(), False, 0, 0, text))
        self._times.append(1)

    def recording(self) -> Recording:
        """What is kept now."""
        transport = self._transport
        head = {
            "gpumend-trace": SCHEMA,
            "name": transport.name,
            "can": transport.can.value,
            "info": asdict(transport.info()),
            "bars": [asdict(bar) for bar in transport.bars().values()],
            "config_size": transport.config_size(),
        }
        now = self._clock.now()
        rows = [*self._rows, *((now, False, 0, 0, text) for text in self._last_words())]
        times = [*self._times, *([1] * (len(rows) - len(self._times)))]
        return Recording(head, self._start, rows, times)


@dataclass(frozen=True, slots=True)
class Recording:
    """Accesses that no longer change, to be written by any thread."""

    head: dict[str, Any]
    start: float
    rows: list[_Row]
    times: list[int]

    def lines(self) -> Iterator[str]:
        """Oldest first."""
        yield json.dumps(self.head, separators=(",", ":")) + "\n"
        for (at, write, bar, offset, data), times in zip(self.rows, self.times, strict=True):
            row: dict[str, object] = {"t": round(at - self.start, 6)}
            if isinstance(data, str):
                row |= {"op": "mark", "text": data}
            else:
                row |= _access(write, bar, offset, data)
            if times > 1:
                row["times"] = times
            yield json.dumps(row, separators=(",", ":")) + "\n"

    def write(self, path: Path) -> None:
        """In place of an older one. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.writelines(self.lines())


def _access(write: bool, bar: int, offset: int, data: bytes) -> dict[str, object]:
    op = "write" if write else "read"
    value = int.from_bytes(data, "little")
    if bar == CONFIG and len(data) not in _CONFIG_WIDTHS:
        return {"op": "mark", "text": f"config space {op} at {offset:#x}: {data.hex()}"}
    if bar == CONFIG:
        return {"op": f"config_{op}", "offset": offset, "size": len(data), "value": value}
    if len(data) in _WIDTHS:
        return {"op": f"{op}{8 * len(data)}", "bar": bar, "offset": offset, "value": value}
    return {"op": f"{op}_block", "bar": bar, "offset": offset, "size": len(data), "data": data.hex()}
