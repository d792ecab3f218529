"""PCI functions of another process or machine, over tinygrad's remote PCI protocol (pcibus/remote_protocol.py).

Made for gpumend's served models (gpumodel/remote_pci.py), which also tell identity, lock and holder. A server that knows
only tinygrad's commands works, too: identity comes from config space then, the lock is the file that tinygrad's client
takes on this machine, and memory for DMA is given back only when the connection ends.

One connection for each transport, made at its first access; it carries the lock and the memory for DMA, so a connection
that broke stays broken: Unavailable, until a new transport is opened. Writes to memory are posted: what was wrong with
one is told by the next access that has an answer. Every wait is bounded. Sizes in bytes."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from base.errors import Exit, GpumendError, NotPermitted, Refused, Unavailable, UsageError
from pcibus.lock import DeviceLock
from pcibus.remote_protocol import (
    ANSWER,
    MAX_COMMAND_BYTES,
    MAX_JSON_BYTES,
    MAX_MESSAGE_BYTES,
    PAGE_ADDRESS,
    PAGE_BYTES,
    PAIR,
    PIECE_BYTES,
    REQUEST,
    RESETS,
    STATUS_OK,
    VERSION,
    Command,
    joined,
    parse_endpoint,
)
from pcibus.replay import bar_of, info_of
from pcibus.transport import Bar, Can, DmaBuffer, FunctionInfo, LockHolder

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 5.0  # for each answer to begin, and for each piece of its data
THREAD_WAIT_S = 10.0
MAX_DEVICES = 256
_SOCKET_BYTES = 4 << 20
_JOINED_BYTES = 64 << 10  # of data that travel in one piece with their request; more is not copied for it
_STANDARD_BARS = 6
_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\Z")
_KINDS: dict[int, type[GpumendError]] = {
    Exit.REFUSED: Refused,
    Exit.USAGE: UsageError,
    Exit.NOT_PERMITTED: NotPermitted,
}
_START = "gpumend model serve --remote 127.0.0.1:6667 'mi350x*8'"


@dataclass(frozen=True, slots=True)
class _Device:
    """What is known of a device before it is asked anything; `session` "": the server speaks tinygrad's commands only."""

    index: int
    info: FunctionInfo
    bars: Mapping[int, Bar]
    config_size: int
    can: Can
    session: str


def open_remote(address: str, *, vendors: Sequence[int] = (0,)) -> list[RemoteTransport]:
    """The functions at `remote:HOST:PORT`, or the one of `remote:HOST:PORT#INDEX` (`remote:` may be left out).

    `vendors` is told to servers that list by vendor only (0: any, which not every server understands). Raises UsageError
    (no such address), Unavailable (nobody listens, no answer, another protocol, no such device)."""
    text, mark, index = address.removeprefix("remote:").partition("#")
    host, port = parse_endpoint(text)
    if mark and not (index.isascii() and index.isdigit() and len(index) < 6):
        raise UsageError(f"reading the address {address!r}", expected="#INDEX: a number from 0", seen=f"#{index}")
    devices = _list_devices(host, port, vendors)
    found = [device for device in devices if not mark or device.index == int(index)]
    if not found:
        known = ", ".join(str(device.index) for device in devices) or "none"
        raise Unavailable(f"opening {address}", expected=f"one of the devices there: {known}", seen=f"#{index}")
    return [RemoteTransport(host, port, device) for device in found]


def _list_devices(host: str, port: int, vendors: Sequence[int]) -> list[_Device]:
    link = _Link(host, port)
    try:
        told = link.hello()
        if told is not None:
            return _devices_of(told, link.name)
    finally:
        link.close()
    link = _Link(host, port)
    try:
        return _stock_devices(link, vendors)
    finally:
        link.close()


def _devices_of(told: Any, name: str) -> list[_Device]:
    with _trusting_nothing(name):
        session, rows = told["session"], told["devices"]
        if not isinstance(session, str) or not isinstance(rows, list) or not 0 < len(rows) <= MAX_DEVICES:
            raise ValueError("session or devices")
        return [_device_of(index, row, session) for index, row in enumerate(rows)]


def _device_of(index: int, row: Any, session: str) -> _Device:
    info = info_of(row["info"])
    if not _BDF.match(info.bdf):
        raise ValueError(f"bdf {info.bdf[:40]!r}")
    bars = {bar.index: bar for bar in map(bar_of, row["bars"])}
    # What the server's machine says of its processes and drivers is not this machine's: never HOST.
    can = Can(int(row["can"]) & sum(flag.value for flag in Can)) & ~(Can.HOST | Can.INTERRUPTS | Can.DRIVER)
    return _Device(index, info, MappingProxyType(bars), int(row["config_size"]), can, session)


@contextmanager
def _trusting_nothing(name: str) -> Iterator[None]:
    """What the server sent is decoded here; what it cannot be is Unavailable."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _not_ours(name, f"{type(error).__name__}: {error}") from error


def _not_ours(name: str, seen: str) -> Unavailable:
    return Unavailable(
        f"reading the answer of {name}",
        expected="gpumend's or tinygrad's remote PCI protocol",
        seen=" ".join(seen.split())[:200],
        where=name,
        next_step="is it another service that listens there?",
    )


# --- servers that know only tinygrad's commands


def _stock_devices(link: _Link, vendors: Sequence[int]) -> list[_Device]:
    found: dict[int, str] = {}
    for vendor in vendors:
        with suppress(_Answered):
            size, _ = link.ask(Command.PROBE, args=(0, PAIR.size, vendor), payload=PAIR.pack(0, 0))
            for line in link.text(size).splitlines():
                name, _, index = line.rpartition(":")
                with _trusting_nothing(link.name):
                    found.setdefault(int(index), name)
    if not found:
        raise Unavailable(f"looking for GPUs at {link.name}", expected="at least one", seen="none", where=link.name)
    return [_stock_device(link, index, name) for index, name in sorted(found.items())[:MAX_DEVICES]]


def _stock_device(link: _Link, index: int, name: str) -> _Device:
    def config(offset: int) -> int:
        try:
            return link.ask(Command.CFG_READ, index, args=(offset, 4))[0] & 0xFFFF_FFFF
        except _Answered:
            return 0

    ids, class_word, subsystem, extended = config(0), config(8), config(0x2C), config(0x100)
    info = FunctionInfo(
        bdf=name if _BDF.match(name) else f"0000:00:{index % 32:02x}.0",
        vendor=ids & 0xFFFF,
        device=ids >> 16,
        subsystem_vendor=subsystem & 0xFFFF,
        subsystem_device=subsystem >> 16,
        revision=class_word & 0xFF,
        class_code=class_word >> 8,
    )
    bars = {}
    for bar in range(_STANDARD_BARS):
        with suppress(_Answered):
            bus_address, size = link.ask(Command.MAP_BAR, index, bar=bar)
            if size:
                bars[bar] = Bar(bar, bus_address, size)
    can = Can.CONFIG_WRITE | Can.MMIO | Can.DMA | (Can.CONFIG_EXTENDED if extended else Can.NOTHING)
    return _Device(index, info, MappingProxyType(bars), 4096 if extended else 256, can, "")


# --- one connection


class _Answered(GpumendError):
    """The server answered with a refusal; the connection goes on."""

    code = 0


class _Link:
    """One connection, for one request at a time. Whatever breaks the order of requests and answers closes it for good."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.name = f"remote:{joined(host, port)}"
        self._sock: socket.socket | None = None
        self._broken = ""
        self._pid = os.getpid()

    def connect(self) -> None:
        try:
            sock = socket.create_connection((self.host, self.port), timeout=CONNECT_TIMEOUT_S)
        except (OSError, UnicodeError) as error:
            seen = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            raise Unavailable(
                f"connecting to {self.name}",
                expected="a server of GPUs that listens there",
                seen=seen.strip() or type(error).__name__,
                where=self.name,
                next_step=f"start one: {_START}",
            ) from error
        sock.settimeout(ANSWER_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # the system takes as much of it as it allows
            sock.setsockopt(socket.SOL_SOCKET, direction, _SOCKET_BYTES)
        self._sock = sock

    def hello(self) -> Any:
        """Say who we are; the server's answer, or None: it does not know the command."""
        name = _own_command().encode("utf-8", "replace")[:MAX_COMMAND_BYTES]
        try:
            size, version = self.ask(Command.HELLO, args=(os.getpid(), len(name), VERSION), payload=name)
        except _Answered as error:
            if error.code:  # only ours give a code: this one has a reason
                raise _typed(error, f"introducing ourselves to {self.name}", self.name) from error
            return None
        except _WentAway as error:
            if error.is_silent:
                raise
            return None  # a stock server that closes on what it does not know
        if version != VERSION:
            raise _not_ours(self.name, f"version {version}")
        return self.json(size)

    def ask(
        self, command: Command, device: int = 0, bar: int = 0, args: tuple[int, ...] = (), payload: bytes = b""
    ) -> tuple[int, int]:
        """Send a request and take the head of its answer. Raises _Answered, Unavailable."""
        self.post(command, device, bar, args, payload)
        return self.answer(command)

    def answer(self, command: Command) -> tuple[int, int]:
        """The head of the answer to the oldest request that has none yet."""
        status, first, second = ANSWER.unpack(self.data(ANSWER.size))
        if status == STATUS_OK:
            return first, second
        if first > MAX_MESSAGE_BYTES:
            raise self._break(_not_ours(self.name, f"a message of {first} bytes"))
        refused = _Answered(command.name, seen=self.text(first))
        refused.code = second if second in Exit.__members__.values() else 0
        raise refused

    def post(
        self,
        command: Command,
        device: int = 0,
        bar: int = 0,
        args: tuple[int, ...] = (),
        payload: bytes | memoryview = b"",
    ) -> None:
        """Send a request and expect no answer."""
        sock = self._socket()
        head = REQUEST.pack(command, device, bar, *(*args, 0, 0, 0)[:3])
        try:
            if len(payload) < _JOINED_BYTES:
                sock.sendall(head + bytes(payload))
            else:
                sock.sendall(head)
                sock.sendall(payload)
        except (BrokenPipeError, ConnectionError):
            self._last_words()
        except OSError as error:
            raise self._break(self._went(error)) from error

    def data(self, size: int) -> bytes:
        """The next `size` bytes."""
        chunks = self.chunks(size)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def chunks(self, size: int) -> list[bytes]:
        """The next `size` bytes as they come: putting large data together more than once costs more than its way."""
        sock = self._socket()
        chunks: list[bytes] = []
        while size:
            try:
                chunks.append(sock.recv(size))
            except OSError as error:
                raise self._break(self._went(error)) from error
            if not chunks[-1]:
                raise self._break(self._went(None))
            size -= len(chunks[-1])
        return chunks

    def text(self, size: int) -> str:
        if size > MAX_JSON_BYTES:
            raise self._break(_not_ours(self.name, f"{size} bytes of text"))
        return self.data(size).decode("utf-8", "replace")

    def json(self, size: int) -> Any:
        text = self.text(size)
        with _trusting_nothing(self.name):
            return json.loads(text)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            self._broken = self._broken or "it was closed here"

    def __del__(self) -> None:
        if getattr(self, "_sock", None) is not None:
            self.close()

    def _socket(self) -> socket.socket:
        if self._pid != os.getpid():  # a forked child: the parent's connection is not ours to talk on
            self._sock, self._broken, self._pid = (
                None,
                "it belongs to the process that we were forked from",
                os.getpid(),
            )
        if self._broken:
            raise self._gone(self._broken)
        if self._sock is None:
            self.connect()
        assert self._sock is not None, "connect gives a socket or raises"
        return self._sock

    def _last_words(self) -> None:
        """The server hung up; it may have said why before."""
        try:
            status, first, second = ANSWER.unpack(self.data(ANSWER.size))
            if status != STATUS_OK and first <= MAX_MESSAGE_BYTES:
                told = self.text(first)
                error = _Answered("an earlier write", seen=told)
                error.code = second
                self._break(error)
                raise error
        except Unavailable:
            pass
        raise self._break(self._went(None))

    def _went(self, error: OSError | None) -> _WentAway:
        if isinstance(error, TimeoutError):
            silent = self._gone(f"no answer within {ANSWER_TIMEOUT_S:g} s")
            silent.is_silent = True
            return silent
        return self._gone("the server closed the connection" if error is None else os.strerror(error.errno or 0))

    def _gone(self, seen: str) -> _WentAway:
        return _WentAway(
            f"talking to {self.name}",
            expected="a server that answers",
            seen=seen,
            where=self.name,
            next_step="is it still running? Its lock and DMA memory of ours went with the connection; open it again",
        )

    def _break(self, error: GpumendError) -> GpumendError:
        """No further request can be trusted on this connection."""
        self._broken = self._broken or error.seen
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        return error


class _WentAway(Unavailable):
    """The connection is no more. `is_silent`: it was there, and nothing came."""

    is_silent = False


def _own_command() -> str:
    return Path(sys.argv[0] if sys.argv and sys.argv[0] else "python3").name


def _typed(error: _Answered, doing: str, where: str) -> GpumendError:
    """A refusal of the server as the error that a local device would have raised."""
    kind = _KINDS.get(error.code, Unavailable)
    return kind(doing, expected="the server's consent", seen=error.seen, where=where)


# --- the transport


class RemoteTransport:
    """One function behind a server. May be used by several threads: requests go one after the other."""

    def __init__(self, host: str, port: int, device: _Device) -> None:
        self.name = f"remote:{joined(host, port)}#{device.index}"
        self.can = device.can
        self.device = device
        self._link = _Link(host, port)
        self._greeted = False
        self._requests = threading.RLock()
        self._owner = threading.RLock()
        self._depth = 0
        # tinygrad's client takes am_remote:HOST:PORT:NAME:INDEX.lock on this machine
        name = f"remote:{joined(host, port)}:{device.info.bdf}:{device.index}"
        self._file_lock = None if device.session else DeviceLock(name)

    def info(self) -> FunctionInfo:
        """Identity is remembered; of state only what the server tells now. A server that went says nothing of it."""
        if not self.device.session:
            return self.device.info
        try:
            with self._requests:
                size, _ = self._ask(Command.INFO)
                row = self._link.json(size)
            with _trusting_nothing(self.name):
                return info_of(row["info"])
        except Unavailable:
            return replace(self.device.info, driver=None, power_state=None, enabled=None)

    def bars(self) -> Mapping[int, Bar]:
        return self.device.bars

    def config_size(self) -> int:
        return self.device.config_size

    def config_read(self, offset: int, size: int) -> int:
        _check_config(offset, size)
        return self._ask(Command.CFG_READ, args=(offset, size))[0] & ((1 << 8 * size) - 1)

    def config_write(self, offset: int, size: int, value: int) -> None:
        _check_config(offset, size)
        self._ask(Command.CFG_WRITE, args=(offset, size, value & ((1 << 8 * size) - 1)))

    def read32(self, bar: int, offset: int) -> int:
        self._check(bar, offset, 4)
        return int.from_bytes(self._read(Command.MMIO_READ, bar, offset, 4), "little")

    def write32(self, bar: int, offset: int, value: int) -> None:
        self._check(bar, offset, 4)
        self._write(Command.MMIO_WRITE, bar, offset, (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    def read64(self, bar: int, offset: int) -> int:
        self._check(bar, offset, 8)
        return int.from_bytes(self._read(Command.MMIO_READ, bar, offset, 8), "little")

    def write64(self, bar: int, offset: int, value: int) -> None:
        self._check(bar, offset, 8)
        self._write(Command.MMIO_WRITE, bar, offset, (value & (1 << 64) - 1).to_bytes(8, "little"))

    def read_block(self, bar: int, offset: int, size: int) -> bytes:
        self._check(bar, offset, size)
        return self._read(Command.MMIO_READ, bar, offset, size)

    def write_block(self, bar: int, offset: int, data: bytes) -> None:
        self._check(bar, offset, len(data))
        self._write(Command.MMIO_WRITE, bar, offset, data)

    def exclusive(self) -> AbstractContextManager[None]:
        return self._file_lock.exclusive() if self._file_lock is not None else self._exclusive()

    def holder(self) -> LockHolder | None:
        if self._file_lock is not None:
            return self._file_lock.holder()
        with self._requests:
            size, _ = self._ask(Command.HOLDER)
            row = self._link.json(size) if size else None
        if row is None:
            return None
        with _trusting_nothing(self.name):
            pid = row["pid"]
            return LockHolder(str(row["path"]), None if pid is None else int(pid), str(row["command"]))

    def reset(self, method: str) -> None:
        self._ask(Command.RESET, args=(RESETS.index(method),))

    def alloc_dma(self, size: int) -> DmaBuffer:
        """Memory in the server's process, zeroed; it goes with this connection at the latest."""
        if size <= 0:
            raise ValueError(f"DMA buffer of {size} bytes")
        pages = -(-size // PAGE_BYTES)
        with self._requests:
            told, handle = self._ask(Command.MAP_SYSMEM, args=(size, 1))
            if told != pages * PAGE_ADDRESS.size:
                raise self._link._break(_not_ours(self.name, f"{told} bytes of addresses for {pages} pages"))
            addresses = struct.unpack(f"<{pages}Q", self._link.data(told))
        return _RemoteBuffer(self, handle, size, addresses)

    def close(self) -> None:
        """End the connection: the lock and the DMA memory go with it."""
        self._link.close()

    # --- requests

    def _greet(self) -> None:
        """The first request of a connection says who we are, and learns whether it is still the same server."""
        if self._greeted or not self.device.session:
            return
        told = self._link.hello()
        session = told.get("session") if isinstance(told, dict) else None
        if session != self.device.session:
            raise self._link._break(self._link._gone("another server took its place"))
        self._greeted = True

    def _ask(self, command: Command, bar: int = 0, args: tuple[int, ...] = (), payload: bytes = b"") -> tuple[int, int]:
        with self._requests:
            self._greet()
            try:
                return self._link.ask(command, self.device.index, bar, args, payload)
            except _Answered as error:
                raise _typed(error, _DOING.get(command, f"asking for {command.name}"), self.name) from error

    def _read(self, command: Command, bar: int, offset: int, size: int) -> bytes:
        if size <= PIECE_BYTES:
            with self._requests:
                self._ask(command, bar, (offset, size))
                return self._link.data(size)
        return self._read_pieces(command, bar, offset, size)

    def _read_pieces(self, command: Command, bar: int, offset: int, size: int) -> bytes:
        """Each piece is asked for before the one before has come. What was asked for is taken off the link, whatever it is."""
        pieces = [(offset + at, min(PIECE_BYTES, size - at)) for at in range(0, size, PIECE_BYTES)]
        chunks: list[bytes] = []
        refused: _Answered | None = None
        with self._requests:
            self._greet()
            self._link.post(command, self.device.index, bar, pieces[0])
            for number, (_, count) in enumerate(pieces):
                more = number + 1 < len(pieces) and refused is None
                if more:
                    self._link.post(command, self.device.index, bar, pieces[number + 1])
                try:
                    self._link.answer(command)
                    chunks += self._link.chunks(count)
                except _Answered as error:
                    refused = refused or error
                if not more:
                    break
        if refused is not None:
            raise _typed(refused, _DOING.get(command, f"asking for {command.name}"), self.name) from refused
        return b"".join(chunks)

    def _write(self, command: Command, bar: int, offset: int, data: bytes) -> None:
        with self._requests:
            self._greet()
            for at in range(0, len(data), PIECE_BYTES):
                piece = data if len(data) <= PIECE_BYTES else memoryview(data)[at : at + PIECE_BYTES]
                try:
                    self._link.post(command, self.device.index, bar, (offset + at, len(piece)), piece)
                except _Answered as error:
                    raise _typed(error, _DOING[command], self.name) from error

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if not self._owner.acquire(timeout=THREAD_WAIT_S):
            raise Refused(
                f"taking the lock of {self.name}",
                expected=f"the lock free within {THREAD_WAIT_S:g} s",
                seen="held by another thread of this process",
                where=self.name,
            )
        try:
            if not self._depth:
                self._ask(Command.LOCK)
            self._depth += 1
            try:
                yield
            except BaseException:
                with suppress(GpumendError):  # what happened inside is the news
                    self._leave()
                raise
            self._leave()
        finally:
            self._owner.release()

    def _leave(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._ask(Command.UNLOCK)

    def _check(self, bar: int, offset: int, size: int) -> None:
        found = self.device.bars.get(bar)
        if found is None:
            known = ", ".join(map(str, self.device.bars)) or "none"
            raise Unavailable(
                f"accessing BAR{bar} of {self.device.info.bdf}",
                expected=f"BAR {known}",
                seen=f"BAR{bar}",
                where=self.name,
            )
        if offset % 4 or size % 4:
            raise ValueError(f"BAR{bar}+{offset:#x}, {size} bytes: offset and size are multiples of 4")
        if not 0 <= offset <= offset + size <= found.size:
            raise Unavailable(
                f"accessing BAR{bar} of {self.device.info.bdf}",
                expected=f"an offset within its {found.size:#x} bytes",
                seen=f"{offset:#x}, {size} bytes",
                where=self.name,
            )


_DOING = {
    Command.LOCK: "taking the lock",
    Command.MAP_SYSMEM: "allocating memory that the device can reach",
    Command.MMIO_READ: "reading a BAR",
    Command.MMIO_WRITE: "writing a BAR",
    Command.CFG_READ: "reading config space",
    Command.CFG_WRITE: "writing config space",
    Command.SYSMEM_READ: "reading DMA memory",
    Command.SYSMEM_WRITE: "writing DMA memory",
    Command.FREE_SYSMEM: "giving DMA memory back",
    Command.RESET: "resetting the device",
}


class _RemoteBuffer:
    """A DmaBuffer whose bytes live in the server."""

    page_size = PAGE_BYTES

    def __init__(self, transport: RemoteTransport, handle: int, size: int, bus_addr: tuple[int, ...]) -> None:
        self._transport, self._handle = transport, handle
        self.size, self.bus_addr = size, bus_addr
        self._closed = False

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        return self._transport._read(Command.SYSMEM_READ, self._handle, offset, size)

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        self._transport._write(Command.SYSMEM_WRITE, self._handle, offset, data)

    def close(self) -> None:
        """Give it back; a server without a command for that keeps it until the connection ends."""
        if self._closed:
            return
        self._closed = True
        if self._transport.device.session:
            self._transport._ask(Command.FREE_SYSMEM, self._handle)

    def _check(self, offset: int, size: int) -> None:
        if self._closed:
            raise ValueError("DMA buffer that was given back")
        if not 0 <= offset <= offset + size <= self.size:
            raise ValueError(f"DMA buffer {offset:#x} + {size:#x} is outside of its {self.size:#x} bytes")


def _check_config(offset: int, size: int) -> None:
    if size not in (1, 2, 4) or offset % size or not 0 <= offset <= 4096 - size:
        raise ValueError(f"config space at {offset:#x}, {size} bytes: 1, 2 or 4 bytes, aligned, below 4096")
