"""Traces of a device's accesses read from files, in two formats, plain or gzip: one stream of `Touch`es.

    ours        what `trace.py` writes: JSON lines
                an access with "times" happened that often in a row
    register    one line an access, `R|W|D offset value [xN] ; name`: R and W a register (byte offset in BAR5), D a
                doorbell (byte offset in BAR2); neighbours that are the same are one line with xN

A trace may come from anywhere and may have been cut in the middle: size, line length and number of lines are bounded,
before and after unpacking. Lines that cannot be read are kept by number in `damage` and passed over, but a file whose
first line is none is no trace."""

from __future__ import annotations

import binascii
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from gzip import BadGzipFile, GzipFile
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from base.errors import GpumendError, InvalidData
from base.files import explain, open_regular
from pcibus.replay import MAX_LINE_BYTES, bar_of, info_of
from pcibus.trace import MAX_TRACE_BYTES, SCHEMA
from pcibus.transport import Bar, FunctionInfo

REGISTER_BAR: Final = 5
DOORBELL_BAR: Final = 2
MAX_LINES: Final = 2_000_000
MAX_DAMAGE: Final = 100  # more than this many lines that are none: the file is something else
_GZIP: Final = b"\x1f\x8b"
_U64: Final = (1 << 64) - 1

Kind = Literal["read", "write", "mark"]
Space = Literal["bar", "config", "dma", "none"]
_LINE = re.compile(
    rb"(?P<op>[RWD]) 0x(?P<offset>[0-9a-f]{1,16}) 0x(?P<value>[0-9a-f]{1,16})(?: x(?P<times>[1-9][0-9]{0,8}))?"
    rb"(?: ; (?P<name>[ -~]{0,200}))?\s*\Z"
)


class Touch(NamedTuple):
    """One access. `value` for up to 8 bytes, `data` for a block; both None when the trace does not tell (a block over
    the recorder's limit). `times`: so often in a row. `name`: what the trace calls it. `failed`: the error's name."""

    line: int
    kind: Kind
    space: Space
    bar: int
    offset: int
    size: int
    value: int | None = None
    data: bytes | None = None
    times: int = 1
    name: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that could not be read, and why."""

    line: int
    why: str


class TraceFile:
    """Opens a trace and tells its format at once; iterate it once for the accesses. `damage` is complete after that.

    Raises what opening a file can raise, and InvalidData for a file that is no trace or is over a limit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: list[Damage] = []
        self.cut = False  # the recorder's own size limit was reached
        self.info: FunctionInfo | None = None
        self.bars: dict[int, Bar] = {}
        self._lines = _Lines(path)
        first = self._first()
        self.is_ours = first.lstrip().startswith(b"{")
        if self.is_ours:
            self._head(first)
            self._held: bytes | None = None
        elif _LINE.match(first):
            self._held = first
        else:
            self.close()
            raise self._no_trace(f"a line that starts with {first[:24]!r}" if first else "an empty file")

    def __iter__(self) -> Iterator[Touch]:
        take = self._ours if self.is_ours else _register_line
        if self._held is not None:
            yield _register_line(self._lines.number, self._held)
        try:
            for number, line in self._lines:
                try:
                    touch = take(number, line)
                except (KeyError, TypeError, ValueError, RecursionError) as error:
                    self._damaged(number, _why(line, error))
                    continue
                if touch is not None:
                    yield touch
        except _Spoilt as error:
            self._damaged(self._lines.number + 1, str(error))
        finally:
            self.close()

    def close(self) -> None:
        self._lines.close()

    # --- the first line

    def _first(self) -> bytes:
        try:
            for _, line in self._lines:
                if line.strip():
                    return line
        except _Spoilt as error:
            self.close()
            raise self._no_trace(str(error)) from error
        except GpumendError:
            self.close()
            raise
        return b""

    def _head(self, first: bytes) -> None:
        try:
            head = json.loads(first)
            if head.get("gpumend-trace") != SCHEMA:
                raise ValueError(f'"gpumend-trace" is {head.get("gpumend-trace")!r:.40}')
            self.info = info_of(head["info"])
            self.bars = {bar.index: bar for bar in map(bar_of, head["bars"])}
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            self.close()
            raise self._no_trace(f"a first line that is none: {_why(first, error)}") from error

    def _no_trace(self, seen: str) -> InvalidData:
        return InvalidData(
            f"reading the trace {self.path}",
            expected="a recording of `gpumend trace record`, or lines `R|W|D offset value [xN] ; name` (either may be gzip)",
            seen=seen,
            where=f"{self.path}:{self._lines.number or 1}",
        )

    # --- the others

    def _damaged(self, number: int, why: str) -> None:
        self.damage.append(Damage(number, why))
        if len(self.damage) > MAX_DAMAGE:
            self.close()
            raise InvalidData(
                f"reading the trace {self.path}",
                expected=f"at most {MAX_DAMAGE} lines that cannot be read",
                seen=f"more; the first is line {self.damage[0].line}: {self.damage[0].why}",
                where=f"{self.path}:{number}",
            )

    def _ours(self, number: int, line: bytes) -> Touch | None:
        row = json.loads(line)
        op = row["op"]
        if op == "truncated":
            self.cut = True
            return None
        if op == "mark":
            return Touch(number, "mark", "none", 0, 0, 0, name=_word(row["text"]))
        if op == "reset":
            return Touch(number, "mark", "none", 0, 0, 0, name=f"reset by {_word(row['method'])[:20]}")
        failed = _word(row["error"]["kind"])[:80] if "error" in row else ""
        if op in ("read32", "write32", "read64", "write64"):
            value = None if failed and "value" not in row else _number(row["value"])
            size = 8 if op.endswith("64") else 4
            kind: Kind = "read" if op.startswith("read") else "write"
            place = (_number(row["bar"]), _number(row["offset"]))
            return Touch(number, kind, "bar", *place, size, value, times=_times(row), failed=failed)
        if op in ("read_block", "write_block"):
            kind = "read" if op == "read_block" else "write"
            data, size = _data(row)
            return Touch(
                number, kind, "bar", _number(row["bar"]), _number(row["offset"]), size, None, data, failed=failed
            )
        if op in ("config_read", "config_write"):
            value = None if failed and "value" not in row else _number(row["value"])
            kind = "read" if op == "config_read" else "write"
            place = (0, _number(row["offset"]))
            return Touch(number, kind, "config", *place, _number(row["size"]), value, times=_times(row), failed=failed)
        if op in ("dma_read", "dma_write"):
            kind = "read" if op == "dma_read" else "write"
            data, size = _data(row)
            return Touch(
                number, kind, "dma", _number(row["buffer"]), _number(row["offset"]), size, None, data, failed=failed
            )
        if op in ("lock", "unlock", "holder", "alloc_dma", "dma_close"):
            return None
        raise ValueError(f"no access is called {op!r:.40}")


def _register_line(number: int, line: bytes) -> Touch:
    match = _LINE.match(line)
    if match is None:
        raise ValueError("not `R|W|D offset value [xN] ; name`")
    op, offset, value = match["op"], int(match["offset"], 16), int(match["value"], 16)
    name = (match["name"] or b"").decode("ascii").strip()
    times = int(match["times"] or 1)
    if op == b"D":
        return Touch(
            number, "write", "bar", DOORBELL_BAR, offset, 8 if offset % 8 == 0 else 4, value, None, times, name
        )
    if value >> 32:
        raise ValueError("a register has 32 bits")
    return Touch(number, "read" if op == b"R" else "write", "bar", REGISTER_BAR, offset, 4, value, None, times, name)


def _data(row: dict[str, Any]) -> tuple[bytes | None, int]:
    """A block's bytes, if they were kept, and its size."""
    if "data" in row:
        data = binascii.unhexlify(row["data"])
        return data, len(data)
    return None, _number(row["size"])


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _U64:
        raise ValueError(f"{value!r:.40} is not an unsigned 64-bit number")
    return value


def _times(row: dict[str, Any]) -> int:
    """A ring of last accesses writes neighbours that are the same as one line."""
    times = _number(row.get("times", 1))
    if not times:
        raise ValueError("an access that happened 0 times")
    return times


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is not text")
    return value


def _why(line: bytes, error: Exception) -> str:
    if not line.strip():
        return "an empty line"
    if not line.endswith(b"\n"):
        return "the line ends in the middle: the trace was cut off"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error.msg}"
    if isinstance(error, KeyError):
        return f"no {error.args[0]!r:.40}"
    return f"{str(error)[:120] or type(error).__name__}"


class _Spoilt(Exception):
    """The packed stream is damaged; its text says how."""


class _Lines:
    """Lines with their numbers, unpacked on the way; `number` is that of the last one read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._doing = f"reading the trace {path}"
        self._raw = os.fdopen(open_regular(path, MAX_TRACE_BYTES, self._doing), "rb")
        self._stream: BufferedReader | GzipFile = self._raw
        try:
            packed = self._raw.peek(2)[:2] == _GZIP
        except OSError as error:
            self._raw.close()
            raise explain(error, path, self._doing) from error
        if packed:
            self._stream = GzipFile(fileobj=self._raw, mode="rb")
        self.number = 0
        self._left = MAX_TRACE_BYTES

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while line := self._next():
            self.number += 1
            self._left -= len(line)
            if len(line) > MAX_LINE_BYTES:
                raise self._too_much(f"lines of at most {MAX_LINE_BYTES} bytes", "a longer one")
            if self._left < 0:
                raise self._too_much(f"at most {MAX_TRACE_BYTES} bytes, unpacked", "more")
            if self.number > MAX_LINES:
                raise self._too_much(f"at most {MAX_LINES} lines", "more")
            yield self.number, line

    def _next(self) -> bytes:
        if self._stream.closed:
            return b""
        try:
            return self._stream.readline(MAX_LINE_BYTES + 1)
        except EOFError as error:
            raise _Spoilt("the gzip stream ends in the middle: the trace was cut off") from error
        except (BadGzipFile, zlib.error) as error:
            raise _Spoilt(f"the gzip stream is damaged: {error}") from error
        except OSError as error:
            raise explain(error, self._path, self._doing) from error

    def _too_much(self, expected: str, seen: str) -> InvalidData:
        self.close()
        return InvalidData(self._doing, expected=expected, seen=seen, where=f"{self._path}:{self.number}")

    def close(self) -> None:
        self._stream.close()
        self._raw.close()

    def __del__(self) -> None:
        if hasattr(self, "_raw"):  # not so when it could not be opened
            self.close()
