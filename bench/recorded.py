"""A transport that gives recorded answers again: what the driver itself costs, with no model behind it.

`Recorder` passes everything on to a transport and writes down what it answered, in order; `Answers` gives the same
answers to a driver that asks the same questions, and drops what is written. Memory for DMA is recorded alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder, Transport


class Recorder:
    """Counts accesses as (kind, BAR); `answers` holds what was read."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.name, self.can = inner.name, inner.can
        self.answers: list[Any] = []
        self.counts: Counter[tuple[str, int]] = Counter()
        self.repeats = 0  # reads of the register that was read last: a poll that is not done yet
        self._last = (-1, -1)

    def _keep(self, answer: Any) -> Any:
        self.answers.append(answer)
        return answer

    def info(self) -> FunctionInfo:
        return self._keep(self.inner.info())  # type: ignore[no-any-return]

    def bars(self) -> Mapping[int, Bar]:
        return self._keep(self.inner.bars())  # type: ignore[no-any-return]

    def config_size(self) -> int:
        return self._keep(self.inner.config_size())  # type: ignore[no-any-return]

    def config_read(self, offset: int, size: int) -> int:
        return self._keep(self.inner.config_read(offset, size))  # type: ignore[no-any-return]

    def config_write(self, offset: int, size: int, value: int) -> None:
        self.inner.config_write(offset, size, value)

    def read32(self, bar: int, offset: int) -> int:
        self.counts["read", bar] += 1
        self.repeats += (bar, offset) == self._last
        self._last = bar, offset
        return self._keep(self.inner.read32(bar, offset))  # type: ignore[no-any-return]

    def write32(self, bar: int, offset: int, value: int) -> None:
        self.counts["write", bar] += 1
        self._last = (-1, -1)
        self.inner.write32(bar, offset, value)

    def read64(self, bar: int, offset: int) -> int:
        self.counts["read", bar] += 1
        return self._keep(self.inner.read64(bar, offset))  # type: ignore[no-any-return]

    def write64(self, bar: int, offset: int, value: int) -> None:
        self.counts["write", bar] += 1
        self.inner.write64(bar, offset, value)

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        self.counts["read-block", bar] += 1
        return self._keep(self.inner.read_block(bar, offset, size))  # type: ignore[no-any-return]

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self.counts["write-block", bar] += 1
        self.inner.write_block(bar, offset, data)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self.inner.exclusive():
            yield

    def holder(self) -> LockHolder | None:
        return self._keep(self.inner.holder())  # type: ignore[no-any-return]

    def alloc_dma(self, size: int) -> DmaBuffer:
        buffer = self.inner.alloc_dma(size)
        self._keep((buffer.size, buffer.page_size, buffer.bus_addr))
        return _RecordedBuffer(buffer, self.answers)

    def close(self) -> None:
        self.inner.close()


class _RecordedBuffer:
    def __init__(self, inner: DmaBuffer, answers: list[Any]) -> None:
        self._inner, self._answers = inner, answers
        self.size, self.page_size, self.bus_addr = inner.size, inner.page_size, inner.bus_addr

    def read(self, offset: int, size: int) -> bytes:
        self._answers.append(self._inner.read(offset, size))
        return self._answers[-1]  # type: ignore[no-any-return]

    def write(self, offset: int, data: bytes) -> None:
        self._inner.write(offset, data)

    def close(self) -> None:
        self._inner.close()


class Answers:
    """Gives the answers of a recording in their order, whatever is asked: for a driver that does the same again."""

    def __init__(self, recorder: Recorder) -> None:
        self.name = recorder.name
        self.can = recorder.can | Can.NOTHING
        self._next = iter(recorder.answers).__next__

    def info(self) -> Any:
        return self._next()

    def bars(self) -> Any:
        return self._next()

    def config_size(self) -> Any:
        return self._next()

    def config_read(self, offset: int, size: int) -> Any:
        return self._next()

    def config_write(self, offset: int, size: int, value: int) -> None:
        pass

    def read32(self, bar: int, offset: int) -> Any:
        return self._next()

    def write32(self, bar: int, offset: int, value: int) -> None:
        pass

    def read64(self, bar: int, offset: int) -> Any:
        return self._next()

    def write64(self, bar: int, offset: int, value: int) -> None:
        pass

    def read_block(self, bar: int, offset: int, size: int) -> Any:
        return self._next()

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        pass

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        yield

    def holder(self) -> Any:
        return self._next()

    def alloc_dma(self, size: int) -> Any:
        return _Answering(self._next(), self._next)

    def close(self) -> None:
        pass


class _Answering:
    def __init__(self, shape: tuple[int, int, tuple[int, ...]], answer: Any) -> None:
        self.size, self.page_size, self.bus_addr = shape
        self._next = answer

    def read(self, offset: int, size: int) -> Any:
        return self._next()

    def write(self, offset: int, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass
