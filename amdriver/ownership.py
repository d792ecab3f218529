"""Owning a device for as long as it is open, whichever thread uses it and whichever closes it.

A transport's lock belongs to the thread that took it. A device is often opened in one thread (eight side by side) and used
in another; so a thread of its own holds the lock, and the users share a lock of this process.
Source: DESIGN section 6 rule 9; pcibus/lock.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from base.errors import Refused
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder, Transport


class Owned:
    """A transport whose device is ours: `exclusive` keeps threads of this process apart, nobody else can come.

    Accesses go straight to the transport beneath. `release` gives the device up; twice is as good as once."""

    def __init__(self, transport: Transport) -> None:
        """Take the device's lock. Raises Refused with the holder named, NotPermitted."""
        self.inner = transport
        self.name: str = transport.name
        self.can: Can = transport.can
        self._threads = threading.RLock()
        self.read32 = transport.read32
        self.write32 = transport.write32
        self.read64 = transport.read64
        self.write64 = transport.write64
        self.read_block = transport.read_block
        self.write_block = transport.write_block
        self.config_read = transport.config_read
        self.config_write = transport.config_write
        self._keeper = _Keeper(transport)

    def release(self) -> None:
        self._keeper.release()

    def info(self) -> FunctionInfo:
        return self.inner.info()

    def bars(self) -> Mapping[int, Bar]:
        return self.inner.bars()

    def config_size(self) -> int:
        return self.inner.config_size()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._threads:
            yield

    def holder(self) -> LockHolder | None:
        """Nobody but us."""
        return None

    def alloc_dma(self, size: int) -> DmaBuffer:
        return self.inner.alloc_dma(size)

    def close(self) -> None:
        """The transport belongs to whoever opened it; this gives up the device only."""
        self.release()

    def __getattr__(self, name: str) -> Any:
        """What only some transports have (interrupts)."""
        return getattr(self.inner, name)


_kept: set[int] = set()  # ids of the transports that are owned in this process; each is alive as long as its id is here
_kept_lock = threading.Lock()


class _Keeper:
    """A thread that holds the transport's lock until it is told to let go."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._taken = threading.Event()
        self._go = threading.Event()
        self._errors: list[BaseException] = []
        with _kept_lock:
            if id(transport) in _kept:
                raise Refused(
                    f"opening {transport.name}",
                    expected="nobody else drives this device",
                    seen="it is open already, in this process",
                    where=transport.name,
                    next_step="close it first, or use the device that is open",
                )
            _kept.add(id(transport))
        self._thread = threading.Thread(target=self._hold, name=f"owner of {transport.name}", daemon=True)
        try:
            self._thread.start()
            self._taken.wait()
        except BaseException:  # an interrupt: nobody would ever tell the thread to let go
            self._forget()
            raise
        if self._errors:
            self.release()
            raise self._errors[0]

    def _hold(self) -> None:
        try:
            with self._transport.exclusive():
                self._taken.set()
                self._go.wait()
        except BaseException as error:  # noqa: BLE001 - handed to whoever opens or closes
            self._errors.append(error)
        finally:
            self._taken.set()

    def release(self) -> None:
        self._go.set()
        self._thread.join()
        self._forget()

    def _forget(self) -> None:
        self._go.set()
        with _kept_lock:
            _kept.discard(id(self._transport))
