"""A transport that writes down every access, as JSON lines; `replay.py` reads them back.

First line: {"gpumend-trace": 1, "name", "can", "info", "bars", "config_size"}. Then one object per access, in order:
{"t", "op", ...}; `op` is the method's name. Values are integers, data is hex ("data") up to `block_limit_bytes`, beyond
that {"size", "sha256"}. An access that failed has "error" in place of its result. {"op": "reset", "method"} is one of the
operating system's resets, {"op": "mark", "text"} is no access: what comes next, in words. The format is this page's own."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Any, Protocol, cast

from base.clock import Clock, RealClock
from base.errors import GpumendError
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder, ResetSource, Transport

SCHEMA = 1
BLOCK_LIMIT_BYTES = 256 << 10
MAX_TRACE_BYTES = 1 << 30


class Sink(Protocol):
    """Where the lines go: an open text file, or what looks like one."""

    def write(self, text: str, /) -> object: ...


class Trace:
    """Passes everything on to `transport` and writes each access to `sink`, until `max_bytes` have been written.

    What comes after that goes through unrecorded; a last line says so. The sink belongs to the caller."""

    def __init__(
        self,
        transport: Transport,
        sink: Sink,
        clock: Clock | None = None,
        *,
        block_limit_bytes: int = BLOCK_LIMIT_BYTES,
        max_bytes: int = MAX_TRACE_BYTES,
    ) -> None:
        self.inner = transport
        self.name = transport.name
        self.can = transport.can & ~Can.INTERRUPTS  # a recording has none
        self._sink = sink
        self._clock = clock or RealClock()
        self._start = self._clock.now()
        self._block_limit = block_limit_bytes
        self._left = max_bytes
        self._lock = threading.Lock()
        self._headed = False
        self._stopped = False
        self._buffers = 0

    def info(self) -> FunctionInfo:
        self._head()
        return self.inner.info()

    def bars(self) -> Mapping[int, Bar]:
        self._head()
        return self.inner.bars()

    def config_size(self) -> int:
        self._head()
        return self.inner.config_size()

    def config_read(self, offset: int, size: int) -> int:
        with self._access("config_read", offset=offset, size=size) as row:
            row["value"] = value = self.inner.config_read(offset, size)
        return value

    def config_write(self, offset: int, size: int, value: int) -> None:
        with self._access("config_write", offset=offset, size=size, value=value):
            self.inner.config_write(offset, size, value)

    def read32(self, bar: int, offset: int) -> int:
        with self._access("read32", bar=bar, offset=offset) as row:
            row["value"] = value = self.inner.read32(bar, offset)
        return value

    def write32(self, bar: int, offset: int, value: int) -> None:
        with self._access("write32", bar=bar, offset=offset, value=value):
            self.inner.write32(bar, offset, value)

    def read64(self, bar: int, offset: int) -> int:
        with self._access("read64", bar=bar, offset=offset) as row:
            row["value"] = value = self.inner.read64(bar, offset)
        return value

    def write64(self, bar: int, offset: int, value: int) -> None:
        with self._access("write64", bar=bar, offset=offset, value=value):
            self.inner.write64(bar, offset, value)

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        with self._access("read_block", bar=bar, offset=offset, size=size) as row:
            data = self.inner.read_block(bar, offset, size)
            row.update(self.packed(data))
        return data

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        with self._access("write_block", bar=bar, offset=offset, **self.packed(data)):
            self.inner.write_block(bar, offset, data)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._exclusive()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        held = self.inner.exclusive()
        with self._access("lock"):
            held.__enter__()
        try:
            yield
        except BaseException as error:
            with self._access("unlock"):
                held.__exit__(type(error), error, error.__traceback__)
            raise
        with self._access("unlock"):
            held.__exit__(None, None, None)

    def holder(self) -> LockHolder | None:
        with self._access("holder") as row:
            holder = self.inner.holder()
            row["value"] = None if holder is None else asdict(holder)
        return holder

    def alloc_dma(self, size: int) -> DmaBuffer:
        with self._access("alloc_dma", size=size) as row:
            inner = self.inner.alloc_dma(size)
            self._buffers += 1
            buffer = _TracedBuffer(self, self._buffers, inner)
            row.update(buffer=self._buffers, page_size=inner.page_size, bus_addr=list(inner.bus_addr))
        return buffer

    def reset(self, method: str) -> None:
        with self._access("reset", method=method):
            cast("ResetSource", self.inner).reset(method)

    def acquire(self) -> None:
        """Opens the transport beneath, where that has to be asked for (VFIO); nothing of it is recorded."""
        getattr(self.inner, "acquire", lambda: None)()

    def close(self) -> None:
        self._head()
        self.inner.close()

    # --- writing

    def mark(self, text: str) -> None:
        """Write down what comes next (a step's name): a line of its own, no access."""
        self._head()
        self._write({"t": round(self._clock.now() - self._start, 6), "op": "mark", "text": text})

    def stop(self) -> None:
        """From here on everything goes through unrecorded; buffers that were allocated too. The sink may be closed."""
        with self._lock:
            self._stopped = True

    def packed(self, data: bytes) -> dict[str, Any]:
        """How a block stands in the recording."""
        if len(data) <= self._block_limit:
            return {"data": data.hex()}
        return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    @contextmanager
    def _access(self, op: str, **asked: Any) -> Iterator[dict[str, Any]]:
        """One access: the row is written when it is over, with its result or its error."""
        self._head()
        row: dict[str, Any] = {"t": round(self._clock.now() - self._start, 6), "op": op, **asked}
        try:
            yield row
        except GpumendError as error:
            row["error"] = _error_row(error)
            raise
        except Exception as error:
            row["error"] = {"kind": "Exception", "doing": f"{type(error).__name__}: {error}"}
            raise
        finally:
            self._write(row)

    def _head(self) -> None:
        if self._headed:
            return
        self._headed = True
        info = asdict(self.inner.info())
        try:
            bars = [asdict(bar) for bar in self.inner.bars().values()]
            config_size = self.inner.config_size()
        except GpumendError:  # a device asleep or gone: whoever asks will be told, the recording goes on
            bars, config_size = [], 0
        self._write(
            {
                "gpumend-trace": SCHEMA,
                "name": self.name,
                "can": self.can.value,
                "info": info,
                "bars": bars,
                "config_size": config_size,
            }
        )

    def _write(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, separators=(",", ":")) + "\n"
        with self._lock:
            if self._left <= 0 or self._stopped:
                return
            self._left -= len(line)
            if self._left <= 0:
                line = '{"op":"truncated"}\n'
            self._sink.write(line)


class _TracedBuffer:
    """A DMA buffer whose reads and writes by the host are written down; the device's own are not seen."""

    def __init__(self, trace: Trace, number: int, inner: DmaBuffer) -> None:
        self._trace, self._number, self._inner = trace, number, inner
        self.size, self.page_size, self.bus_addr = inner.size, inner.page_size, inner.bus_addr

    def read(self, offset: int, size: int) -> bytes:
        with self._trace._access("dma_read", buffer=self._number, offset=offset, size=size) as row:
            data = self._inner.read(offset, size)
            row.update(self._trace.packed(data))
        return data

    def write(self, offset: int, data: bytes) -> None:
        with self._trace._access("dma_write", buffer=self._number, offset=offset, **self._trace.packed(data)):
            self._inner.write(offset, data)

    def close(self) -> None:
        with self._trace._access("dma_close", buffer=self._number):
            self._inner.close()


def _error_row(error: GpumendError) -> dict[str, str]:
    return {
        "kind": type(error).__name__,
        "doing": error.doing,
        "expected": error.expected,
        "seen": error.seen,
        "where": error.where,
        "next_step": error.next_step,
        "verb": error.verb,
    }
