"""A recording of `trace.py` as a Transport: the same questions in the same order get the same answers.

Anything else is a mismatch, and both sides are shown. Files are bounded in size, line length and number of lines, and
checked as they are read: a recording may come from anywhere."""

from __future__ import annotations

import binascii
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import base.errors
from base.errors import GpumendError, InvalidData, UsageError
from base.files import explain
from pcibus.trace import MAX_TRACE_BYTES, SCHEMA
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder

MAX_LINE_BYTES = 4 << 20
_INT_MAX = (1 << 64) - 1
_ERRORS = {
    name: kind for name, kind in vars(base.errors).items() if isinstance(kind, type) and issubclass(kind, GpumendError)
}

_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\Z")


class ReplayMismatch(InvalidData):
    """The recording holds another access than the one asked for, or none any more."""


class Replay:
    """The transport of a recording. Opens the file and reads its first line at once; the rest as it is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = _Lines(path)
        head = _object(*next(self._lines, (1, b"")), path=path)
        if head.get("gpumend-trace") != SCHEMA:
            raise InvalidData(
                f"reading the recording {path}",
                expected=f'a first line with "gpumend-trace": {SCHEMA}',
                seen=repr(head.get("gpumend-trace")) if "gpumend-trace" in head else "another kind of file",
                where=f"{path}:1",
            )
        self.name = f"replay:{path}"
        try:
            self._info = info_of(head["info"])
            if not _BDF.match(self._info.bdf):
                raise ValueError(f"bdf {self._info.bdf[:40]!r}")
            self._bars = {bar.index: bar for bar in map(bar_of, _list(head["bars"]))}
            self._config_size = _int(head["config_size"])
            # A recording is not on this machine's bus, whatever was recorded.
            self.can = Can(_int(head["can"]) & sum(flag.value for flag in Can)) & ~(Can.HOST | Can.INTERRUPTS)
            self.recorded_name = _word(head["name"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidData(
                f"reading the recording {path}",
                expected="name, can, info, bars and config_size",
                seen=f"{type(error).__name__}: {error}",
                where=f"{path}:1",
            ) from error
        self._line = 1

    def info(self) -> FunctionInfo:
        return self._info

    def bars(self) -> Mapping[int, Bar]:
        return self._bars

    def config_size(self) -> int:
        return self._config_size

    def config_read(self, offset: int, size: int) -> int:
        return self._value(self._next("config_read", offset=offset, size=size), size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        self._next("config_write", offset=offset, size=size, value=value)

    def read32(self, bar: int, offset: int) -> int:
        return self._value(self._next("read32", bar=bar, offset=offset), 4)

    def write32(self, bar: int, offset: int, value: int) -> None:
        self._next("write32", bar=bar, offset=offset, value=value)

    def read64(self, bar: int, offset: int) -> int:
        return self._value(self._next("read64", bar=bar, offset=offset), 8)

    def write64(self, bar: int, offset: int, value: int) -> None:
        self._next("write64", bar=bar, offset=offset, value=value)

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        return self._data(self._next("read_block", bar=bar, offset=offset, size=size), size)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self._next("write_block", data=data, bar=bar, offset=offset)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._exclusive()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self._next("lock")
        try:
            yield
        except BaseException:
            if self._peek_is_unlock():
                self._next("unlock")
            raise
        self._next("unlock")

    def holder(self) -> LockHolder | None:
        row = self._next("holder")
        value = row.get("value")
        if value is None:
            return None
        try:
            pid = value["pid"]
            return LockHolder(_word(value["path"]), None if pid is None else _int(pid), _word(value["command"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._spoilt("a lock holder", repr(value)) from error

    def alloc_dma(self, size: int) -> DmaBuffer:
        row = self._next("alloc_dma", size=size)
        try:
            addresses = tuple(map(_int, _list(row["bus_addr"])))
            return _ReplayedBuffer(self, _int(row["buffer"]), size, _int(row["page_size"]), addresses)
        except (KeyError, TypeError, ValueError) as error:
            raise self._spoilt("a DMA buffer", f"{type(error).__name__}: {error}") from error

    def reset(self, method: str) -> None:
        self._next("reset", method=method)

    def close(self) -> None:
        self._lines.close()

    # --- reading

    _ahead: dict[str, Any] | None = None

    def _row(self) -> dict[str, Any] | None:
        """The row that is next, not yet consumed; None at the end."""
        while self._ahead is None:
            entry = next(self._lines, None)
            if entry is None:
                return None
            self._line = entry[0]
            row = _object(*entry, path=self.path)
            if row.get("op") != "mark":  # a step's name stands between accesses, it is none
                self._ahead = row
        return self._ahead

    def _peek_is_unlock(self) -> bool:
        row = self._row()
        return row is not None and row.get("op") == "unlock"

    def _next(self, op: str, *, data: bytes | None = None, **asked: Any) -> dict[str, Any]:
        """The recorded row, if it is this access; raises the error that was recorded with it."""
        row = self._row()
        ours = _shown(op, {**asked, **({} if data is None else {"data": data.hex()})})
        if row is None or row.get("op") == "truncated":
            what = "the end of the recording" if row is None else "the recording was cut off at its size limit"
            raise ReplayMismatch(f"replaying {self.path}", expected=what, seen=f"asked for {ours}", where=self._where())
        same = row.get("op") == op and all(row.get(key) == value for key, value in asked.items())
        if not same or (data is not None and not _same_data(row, data)):
            theirs = _shown(str(row.get("op")), {k: v for k, v in row.items() if k not in ("t", "op", "error")})
            raise ReplayMismatch(
                f"replaying {self.path}",
                expected=f"{theirs} (recorded)",
                seen=f"{ours} (asked)",
                where=self._where(),
                next_step="was it recorded with another version, or from a device in another state?",
            )
        self._ahead = None
        if "error" in row:
            raise self._recorded_error(row["error"])
        return row

    def _recorded_error(self, told: Any) -> GpumendError:
        if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
            return self._spoilt("an error", repr(told)[:80])
        kind = _ERRORS.get(told.get("kind", ""), GpumendError)
        rest = {key: told[key] for key in ("expected", "seen", "where", "next_step", "verb") if key in told}
        return kind(told.get("doing", "a recorded access"), **rest)

    def _value(self, row: dict[str, Any], size: int) -> int:
        try:
            value = _int(row["value"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._spoilt("a value", repr(row.get("value"))[:80]) from error
        if not 0 <= value < 1 << 8 * size:
            raise self._spoilt(f"a value of {size} bytes", f"{value:#x}"[:80])
        return value

    def _data(self, row: dict[str, Any], size: int) -> bytes:
        if "sha256" in row:
            raise ReplayMismatch(
                f"replaying {self.path}",
                expected=f"{size} bytes of data",
                seen="only their SHA-256: the block was over the recorder's limit",
                where=self._where(),
            )
        try:
            data = binascii.unhexlify(row["data"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._spoilt("data in hex", repr(row.get("data"))[:80]) from error
        if len(data) != size:
            raise self._spoilt(f"{size} bytes", f"{len(data)} bytes")
        return data

    def _spoilt(self, expected: str, seen: str) -> InvalidData:
        return InvalidData(f"replaying {self.path}", expected=expected, seen=seen, where=self._where())

    def _where(self) -> str:
        return f"{self.path}:{self._line}"


class _ReplayedBuffer:
    """A DMA buffer of a recording: reads and writes by the host, in order."""

    def __init__(self, replay: Replay, number: int, size: int, page_size: int, bus_addr: tuple[int, ...]) -> None:
        self._replay, self._number = replay, number
        self.size, self.page_size, self.bus_addr = size, page_size, bus_addr

    def read(self, offset: int, size: int) -> bytes:
        return self._replay._data(self._replay._next("dma_read", buffer=self._number, offset=offset, size=size), size)

    def write(self, offset: int, data: bytes) -> None:
        self._replay._next("dma_write", data=data, buffer=self._number, offset=offset)

    def close(self) -> None:
        self._replay._next("dma_close", buffer=self._number)


class _Lines:
    """The lines of the file with their numbers, read as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        doing = f"reading the recording {path}"
        try:
            kind = path.stat()
            if not stat.S_ISREG(kind.st_mode):
                raise UsageError(doing, expected="a regular file", seen="a folder, a pipe or a device", where=str(path))
            if kind.st_size > MAX_TRACE_BYTES:
                limit = f"at most {MAX_TRACE_BYTES} bytes"
                raise InvalidData(doing, expected=limit, seen=f"{kind.st_size} bytes", where=str(path))
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise explain(error, path, doing) from error
        self._file = os.fdopen(handle, "rb")
        self._number = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return self

    def __next__(self) -> tuple[int, bytes]:
        if self._file.closed:
            raise StopIteration
        try:
            line = self._file.readline(MAX_LINE_BYTES + 1)
        except OSError as error:
            raise explain(error, self._path, f"reading the recording {self._path}") from error
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidData(
                f"reading the recording {self._path}",
                expected=f"lines of at most {MAX_LINE_BYTES} bytes",
                seen="a longer one",
                where=f"{self._path}:{self._number}",
            )
        return self._number, line

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # not so when it could not be opened
            self._file.close()


def _object(number: int, line: bytes, *, path: Path) -> dict[str, Any]:
    doing = f"reading the recording {path}"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        seen = "an empty file" if not line else f"{type(error).__name__}: {str(error)[:80]}"
        raise InvalidData(doing, expected="a JSON object", seen=seen, where=f"{path}:{number}") from error
    if not isinstance(row, dict):
        raise InvalidData(doing, expected="a JSON object", seen=type(row).__name__, where=f"{path}:{number}")
    return row


def _same_data(row: dict[str, Any], data: bytes) -> bool:
    if "sha256" in row:
        return bool(row.get("size") == len(data) and row["sha256"] == hashlib.sha256(data).hexdigest())
    return bool(row.get("data") == data.hex())


def _shown(op: str, fields: Mapping[str, Any]) -> str:
    parts = []
    for key, value in fields.items():
        text = f"{value:#x}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        parts.append(f"{key}={text if len(text) <= 40 else text[:40] + '...'}")
    return f"{op}({', '.join(parts)})"


def _int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _INT_MAX:
        raise ValueError(f"{value!r:.40} is not an unsigned 64-bit number")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is not text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r:.40} is not a list")
    return value


def bar_of(row: Any) -> Bar:
    """A Bar from the plain JSON of asdict(). KeyError, TypeError or ValueError when it is none."""
    return Bar(
        _int(row["index"]),
        _int(row["address"]),
        _int(row["size"]),
        is_io=bool(row["is_io"]),
        is_64bit=bool(row["is_64bit"]),
        prefetchable=bool(row["prefetchable"]),
    )


def info_of(row: Any) -> FunctionInfo:
    """A FunctionInfo from the plain JSON of asdict(). KeyError, TypeError, ValueError or AttributeError when it is none."""

    def number(name: str) -> int | None:
        return None if row.get(name) is None else _int(row[name])

    def word(name: str) -> str | None:
        return None if row.get(name) is None else _word(row[name])

    methods = row.get("reset_methods")
    return FunctionInfo(
        _word(row["bdf"]),
        _int(row["vendor"]),
        _int(row["device"]),
        subsystem_vendor=number("subsystem_vendor"),
        subsystem_device=number("subsystem_device"),
        revision=number("revision"),
        class_code=number("class_code"),
        driver=word("driver"),
        power_state=word("power_state"),
        enabled=None if row.get("enabled") is None else bool(row["enabled"]),
        numa_node=number("numa_node"),
        iommu_group=number("iommu_group"),
        reset_methods=None if methods is None else tuple(map(_word, _list(methods))),
        upstream=word("upstream"),
        sriov_vf=bool(row.get("sriov_vf")),
    )
