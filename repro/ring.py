"""The last register accesses of a GPU, kept in memory until something goes wrong: a sink for `pcibus.trace.Trace`."""

from __future__ import annotations

from collections import deque

KEPT_LINES = 20_000
BLOCK_BYTES = 64  # blocks of memory stay a checksum


class RingSink:
    """Keeps the first line (what the recording is of) and the last `kept` ones."""

    def __init__(self, kept: int = KEPT_LINES) -> None:
        self._head = ""
        self._lines: deque[str] = deque(maxlen=kept)
        self._lost = 0

    def write(self, text: str, /) -> None:
        if not self._head:
            self._head = text
            return
        self._lost += len(self._lines) == self._lines.maxlen
        self._lines.append(text)

    def data(self) -> bytes:
        """All of it as a trace file; a mark tells how many accesses before it were not kept. b"" when nothing was
        accessed."""
        if not self._head:
            return b""
        mark = (
            f'{{"t":0.0,"op":"mark","text":"{self._lost} accesses before this were not kept"}}\n' if self._lost else ""
        )
        return "".join((self._head, mark, *self._lines)).encode()
