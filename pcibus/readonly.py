"""The transport that a look is given: nothing is written but a few index registers, and those are put back.

Which registers may be written is the caller's list of (bar, byte offset): whoever reads through an index/data pair
knows the pair. DESIGN section 6 rule 2."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn

from base.errors import ReadOnlyViolation, Refused
from pcibus.lock import name_holder
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder, Transport


class ReadOnly:
    """A Transport whose writes raise ReadOnlyViolation, but for `index_registers` inside `exclusive()`.

    `exclusive()` is refused while a kernel driver is bound or somebody else holds the lock: both may use the same index
    registers. On leaving, every index register that was written gets back the value it had, last written first."""

    def __init__(self, transport: Transport, index_registers: frozenset[tuple[int, int]] = frozenset()) -> None:
        self.inner = transport
        self.index_registers = index_registers
        self.name = transport.name
        self.can = transport.can & ~(Can.CONFIG_WRITE | Can.DMA | Can.INTERRUPTS | Can.RESET | Can.DRIVER)
        self._depth = 0
        self._owner = 0
        self._saved: dict[tuple[int, int], int] = {}

    def info(self) -> FunctionInfo:
        return self.inner.info()

    def bars(self) -> Mapping[int, Bar]:
        return self.inner.bars()

    def config_size(self) -> int:
        return self.inner.config_size()

    def config_read(self, offset: int, size: int) -> int:
        return self.inner.config_read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        self._refuse(f"writing {value:#x} to config space", f"config+{offset:#x}")

    def read32(self, bar: int, offset: int) -> int:
        return self.inner.read32(bar, offset)

    def write32(self, bar: int, offset: int, value: int) -> None:
        key = (bar, offset)
        if key not in self.index_registers:
            self._refuse(f"writing {value:#x} to a register", f"BAR{bar}+{offset:#x}")
        if not self._depth or self._owner != threading.get_ident():
            self._refuse(f"writing {value:#x} to an index register without the lock", f"BAR{bar}+{offset:#x}")
        if key not in self._saved:
            self._saved[key] = self.inner.read32(bar, offset)
        self.inner.write32(bar, offset, value)

    def read64(self, bar: int, offset: int) -> int:
        return self.inner.read64(bar, offset)

    def write64(self, bar: int, offset: int, value: int) -> None:
        self._refuse(f"writing {value:#x} to a register", f"BAR{bar}+{offset:#x}")

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        return self.inner.read_block(bar, offset, size)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self._refuse(f"writing {len(data)} bytes", f"BAR{bar}+{offset:#x}")

    def reset(self, method: str) -> None:
        self._refuse(f"resetting it by {method}", self.name)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._exclusive()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if not self._depth or self._owner != threading.get_ident():
            self._check_alone()  # before the lock is touched: where a driver is bound, not even its file is made
        with self.inner.exclusive():
            self._owner = threading.get_ident()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    self._restore()

    def _check_alone(self) -> None:
        driver = "" if Can.VIA_DRIVER in self.can else self.inner.info().driver
        if driver or (driver is None and Can.HOST in self.can):
            raise Refused(
                "using index registers",
                expected="no kernel driver bound: it uses the same registers",
                seen=f"bound to {driver}" if driver else "the system does not say whether one is bound",
                where=self.name,
                next_step="ask the driver's own files, or unbind it first",
            )
        holder = self.inner.holder()
        if holder is not None:
            raise Refused(
                "using index registers",
                expected="nobody else drives this device",
                seen=f"held by {name_holder(holder)}",
                where=holder.path,
                next_step="end that process, or let it finish",
            )

    def _restore(self) -> None:
        """Put all back even if one write fails; the first failure is told."""
        failure: BaseException | None = None
        while self._saved:
            (bar, offset), value = self._saved.popitem()
            try:
                self.inner.write32(bar, offset, value)
            except BaseException as error:  # noqa: BLE001 - the others must be put back first
                failure = failure or error
        if failure is not None:
            raise failure

    def holder(self) -> LockHolder | None:
        return self.inner.holder()

    def alloc_dma(self, size: int) -> DmaBuffer:
        self._refuse(f"allocating {size} bytes for the device", "DMA")

    def close(self) -> None:
        self.inner.close()

    def _refuse(self, what: str, where: str) -> NoReturn:
        raise ReadOnlyViolation(
            what,
            expected="reads only: looking changes nothing",
            seen="a write",
            where=f"{where} on {self.name}",
            next_step="this is a defect of gpumend, not of the device: please report it",
        )
