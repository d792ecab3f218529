"""Serves software GPUs over a socket, so that they live on while driver processes come, go and are killed.

The protocol is tinygrad's remote PCI protocol with a few commands of our own (pcibus/remote_protocol.py), so unmodified
tinygrad is a client, too. What holds for every client:

- Memory for DMA lives here and belongs to the connection that asked for it. When that connection ends, however it ends,
  the memory goes: the device then meets unmapped pages, as behind an IOMMU whose process died. Bus addresses are never
  given out a second time, so late DMA of a dead driver cannot reach its successor's memory.
- A device's lock belongs to a connection and ends with it. Our clients take it (LOCK); tinygrad's protocol has no lock,
  so a stock client has it from its first command that is more than a look (MAP_BAR) until it disconnects.
- The devices' own state stays: whoever comes next finds the GPU as the last one left it.
- What cannot be answered is refused with a reason. After a posted write that was wrong, an unknown command or half a
  request the connection is closed too, because nothing that follows could be understood.

All commands of all clients run one after the other. Sizes in bytes, times in seconds, on the real clock."""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from base.errors import Exit, GpumendError, NotPermitted, Refused, Unavailable, UsageError
from pcibus.lock import name_holder
from pcibus.remote_protocol import (
    ANSWER,
    MAX_COMMAND_BYTES,
    MAX_MESSAGE_BYTES,
    PAGE_ADDRESS,
    PAGE_BYTES,
    PAIR,
    PIECE_BYTES,
    POSTED,
    REQUEST,
    RESETS,
    STATUS_OK,
    STATUS_REFUSED,
    VERSION,
    Command,
    joined,
)
from pcibus.transport import DmaBuffer, LockHolder, Transport

VRAM_BAR = 0
# What a stock client may do without being taken for the one that drives the device.
LOOKS = frozenset((Command.PROBE, Command.PING, Command.CFG_READ, Command.MMIO_READ))
_RECEIVE_BYTES = 256 << 10
_ACCEPT_PAUSE_S = 0.2
_WORD = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may use up. `request_s`: for each request, and for each mebibyte of its payload, to arrive whole."""

    connections: int = 64
    buffers: int = 4096  # of one connection
    dma_bytes: int = 4 << 30  # of all connections together
    transfer_bytes: int = 1 << 30  # in one request
    probe_bytes: int = 8192
    request_s: float = 5.0
    linger_s: float = 0.5  # for a client to read why it is sent away


class _Ended(Exception):
    """The client went, or sent half a request; nobody is left to answer."""


class _SentAway(Exception):
    """The client is told why, then its connection is closed."""

    def __init__(self, message: str, code: int = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Request:
    command: int
    device: int
    bar: int
    arg0: int
    arg1: int
    arg2: int


@dataclass(slots=True)
class _Buffer:
    device: int
    memory: DmaBuffer
    counted_bytes: int


class ServedTransport(Transport, Protocol):
    """What can be served: it is reset step by step, since others are served in the pauses."""

    def reset_steps(self, method: str) -> Iterator[float]: ...


@dataclass(slots=True, eq=False)
class _Client:
    """One connection: who it is and what belongs to it."""

    sock: socket.socket
    peer: str
    pid: int | None = None
    command: str = ""
    is_stock: bool = True  # until it says HELLO
    locks: dict[int, ExitStack] = field(default_factory=dict)
    buffers: dict[int, _Buffer] = field(default_factory=dict)
    incoming: bytearray = field(default_factory=bytearray)

    def describe(self) -> str:
        if self.pid is None:
            return f"a client of tinygrad's protocol at {self.peer}"
        return f"{self.command or 'a process'} (pid {self.pid}, from {self.peer})"


class RemoteServer:
    """Serves `transports`, as devices 0, 1, ..., at a TCP address. `open` binds and starts; `close` ends everything.

    The transports belong to the caller and are not closed. `host` is a loopback address unless `allow_remote`: whoever
    can reach the port can do everything with these GPUs. `port` 0: any that is free; `port` tells it then."""

    def __init__(
        self,
        transports: Sequence[ServedTransport],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        allow_remote: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.transports = tuple(transports)
        self.host, self.port = host, port
        self.allow_remote = allow_remote
        self.limits = limits or Limits()
        self.session = secrets.token_hex(8)  # tells a restarted server from the old one
        self.defects: list[str] = []  # what a device raised that no client can cause on purpose; the first few
        self.dma_bytes = 0  # in use now
        self._listener: socket.socket | None = None
        self._clients: dict[_Client, threading.Thread] = {}
        self._holders: dict[int, _Client] = {}
        self._handles = itertools.count(1)
        self._devices = threading.RLock()  # one command at a time: the devices are not made for several threads
        self._state = threading.Lock()
        self._stop = threading.Event()
        self._acceptor: threading.Thread | None = None
        self._handlers: dict[int, Callable[[_Client, _Request], None]] = {
            Command.MAP_BAR: self._map_bar,
            Command.MAP_SYSMEM_FD: self._map_sysmem_fd,
            Command.CFG_READ: self._cfg_read,
            Command.CFG_WRITE: self._cfg_write,
            Command.RESET: self._reset,
            Command.MMIO_READ: self._mmio_read,
            Command.MMIO_WRITE: self._mmio_write,
            Command.MAP_SYSMEM: self._map_sysmem,
            Command.SYSMEM_READ: self._sysmem_read,
            Command.SYSMEM_WRITE: self._sysmem_write,
            Command.RESIZE_BAR: self._resize_bar,
            Command.INFO: self._info,
            Command.LOCK: self._lock,
            Command.UNLOCK: self._unlock,
            Command.HOLDER: self._holder,
            Command.FREE_SYSMEM: self._free_sysmem,
        }

    @property
    def address(self) -> str:
        """What --on takes: remote:127.0.0.1:6667."""
        return f"remote:{joined(self.host, self.port)}"

    # --- life

    def open(self) -> RemoteServer:
        """Bind, listen, and answer from threads. Raises Refused (not loopback), Unavailable, NotPermitted, UsageError."""
        family, address = self._resolve()
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(self.limits.connections)
        except OSError as error:
            listener.close()
            raise self._explain(error) from error
        listener.settimeout(_ACCEPT_PAUSE_S)
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), daemon=True, name="remote-accept")
        self._acceptor.start()
        return self

    def close(self) -> None:
        """End all connections; what belonged to them is given back. Waits a moment for their threads, no longer."""
        self._stop.set()
        if self._listener is not None:
            with suppress(OSError):  # wakes the acceptor at once on Linux; elsewhere it looks up by itself
                self._listener.shutdown(socket.SHUT_RDWR)
        if self._acceptor is not None:
            self._acceptor.join(timeout=2.0)
        if self._listener is not None:
            self._listener.close()
        with self._state:
            left = list(self._clients.items())
        for client, _ in left:
            with suppress(OSError):
                client.sock.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + 2.0
        for _, thread in left:
            thread.join(timeout=max(0.0, end - time.monotonic()))

    def wait(self) -> None:
        """Until `close`, or until an interrupt (Ctrl-C) is raised here."""
        while not self._stop.wait(0.5):
            pass

    def __enter__(self) -> RemoteServer:
        return self if self._listener is not None else self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        with self._state:
            return len(self._clients)

    def _resolve(self) -> tuple[int, Any]:
        doing = f"serving at {joined(self.host, self.port)}"
        try:
            found = socket.getaddrinfo(self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            raise UsageError(doing, expected="HOST:PORT of this machine", seen=str(error)) from error
        family, _, _, _, address = found[0]
        where = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if not where.is_loopback and not self.allow_remote:
            raise Refused(
                doing,
                expected="a loopback address: whoever can reach the port can do everything with these GPUs",
                seen=str(where),
                next_step="serve at 127.0.0.1 and reach it through ssh -L, or add --allow-remote",
            )
        return family, address

    def _explain(self, error: OSError) -> GpumendError:
        kind = NotPermitted if isinstance(error, PermissionError) else Unavailable
        return kind(
            f"serving at {joined(self.host, self.port)}",
            expected="a free port of this machine",
            seen=os.strerror(error.errno) if error.errno else str(error),
            next_step="name another port; port 0 takes any that is free",
        )

    # --- connections

    def _accept(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                sock, peer = listener.accept()
            except TimeoutError:
                continue
            except OSError:  # no file descriptors left, or the client went before it was served
                self._stop.wait(0.05)
                continue
            self.take(sock, joined(str(peer[0]), int(peer[1])))

    def take(self, sock: socket.socket, peer: str) -> None:
        """Serve a connected socket from a thread of its own; at most `limits.connections` at a time."""
        client = _Client(sock, peer)
        thread = threading.Thread(target=self._serve, args=(client,), daemon=True, name=f"remote {peer}")
        with self._state:
            full = len(self._clients) >= self.limits.connections
            if not full:
                self._clients[client] = thread
        if not full:
            thread.start()
            return
        self._send_away(client, _SentAway(f"{self.limits.connections} clients are served already", Exit.REFUSED))
        sock.close()

    def _serve(self, client: _Client) -> None:
        """One connection, from its first byte to its end. Nothing that a client does gets past here."""
        try:
            _tune(client.sock, self.limits.request_s)
            self._converse(client)
        except _SentAway as error:
            self._send_away(client, error)
        except _Ended:
            pass
        except Exception as error:  # noqa: BLE001 - a defect: told, counted, and the server lives on
            self._note_defect(error)
            self._send_away(client, _SentAway("the server has a defect", Exit.DEFECT))
        finally:
            self._forget(client)

    def _converse(self, client: _Client) -> None:
        first = True
        while not self._stop.is_set():
            self._await_byte(client, first)
            first = False
            request = _Request(*REQUEST.unpack(self._receive(client, REQUEST.size)))
            self._obey(client, request)

    def _obey(self, client: _Client, request: _Request) -> None:
        """One command. What was refused is answered, or ends the connection where no answer is expected."""
        if request.command == Command.PING:
            self._answer(client)
            return
        try:
            if request.command == Command.PROBE:
                self._probe(client, request)
            elif request.command == Command.HELLO:
                self._hello(client, request)
            else:
                self._on_device(client, request)
        except GpumendError as error:
            self._refuse(client, request, _told(error), error.exit_code)
        except ValueError as error:
            self._refuse(client, request, str(error), Exit.USAGE)
        except (_Ended, _SentAway):
            raise
        except Exception as error:  # noqa: BLE001 - of the device's model; the other clients must not suffer
            self._note_defect(error)
            text = f"the model has a defect: {type(error).__name__}: {error}"
            self._refuse(client, request, text, Exit.DEFECT)

    def _on_device(self, client: _Client, request: _Request) -> None:
        handler = self._handlers.get(request.command)
        if handler is None:
            raise _SentAway(f"unknown command {request.command}")
        if request.device >= len(self.transports):
            raise Unavailable(f"reaching device {request.device}", seen=f"there are {len(self.transports)}")
        if client.is_stock and request.command not in LOOKS and request.device not in client.locks:
            self._claim(client, request.device)
        handler(client, request)

    def _refuse(self, client: _Client, request: _Request, message: str, code: int) -> None:
        if request.command in POSTED:
            raise _SentAway(message, code)
        self._send(client, _refusal(message, code))

    def _send_away(self, client: _Client, error: _SentAway) -> None:
        """Say why, then wait until the client has had a chance to read it: a close with unread bytes would take it back."""
        with suppress(OSError):
            client.sock.settimeout(self.limits.linger_s)
            client.sock.sendall(_refusal(str(error), error.code))
            client.sock.shutdown(socket.SHUT_WR)
            end = time.monotonic() + self.limits.linger_s
            while time.monotonic() < end and client.sock.recv(_RECEIVE_BYTES):
                pass

    def _forget(self, client: _Client) -> None:
        """Give back what belonged to a connection, in the thread that took its locks."""
        with self._devices:
            for device in list(client.locks):
                self._release(client, device)
            for handle in list(client.buffers):
                self._free(client, handle)
        with suppress(OSError):
            client.sock.close()
        with self._state:
            self._clients.pop(client, None)

    def _note_defect(self, error: Exception) -> None:
        if len(self.defects) < 20:
            self.defects.append(f"{type(error).__name__}: {error}")

    # --- bytes

    def _await_byte(self, client: _Client, first: bool) -> None:
        """Idle until the next request begins; a newcomer must begin within the time for a request."""
        while not client.incoming:
            try:
                client.incoming += self._chunk(client)
            except TimeoutError:
                if first or self._stop.is_set():
                    raise _Ended from None

    def _chunk(self, client: _Client, most: int = _RECEIVE_BYTES) -> bytes:
        try:
            chunk = client.sock.recv(most)
        except TimeoutError:
            raise
        except OSError as error:
            raise _Ended from error
        if not chunk:
            raise _Ended
        return chunk

    def _receive(self, client: _Client, size: int) -> bytes:
        """Exactly `size` bytes, within the time for a request. What is large is put together once."""
        if len(client.incoming) >= size:
            data = bytes(memoryview(client.incoming)[:size])
            del client.incoming[:size]
            return data
        chunks, have = [bytes(client.incoming)], len(client.incoming)
        client.incoming.clear()
        end = time.monotonic() + self.limits.request_s
        while have < size:
            try:
                # What comes with a small request is likely the next one.
                chunks.append(self._chunk(client, max(size - have, _RECEIVE_BYTES if size < _RECEIVE_BYTES else 0)))
                have += len(chunks[-1])
            except TimeoutError:
                end = 0.0
            if have < size and time.monotonic() > end:
                raise _SentAway(f"half a request: {size} bytes did not come within {self.limits.request_s:g} s")
        data = b"".join(chunks)
        client.incoming += data[size:]
        return data[:size]

    def _send(self, client: _Client, data: bytes) -> None:
        try:
            client.sock.sendall(data)
        except OSError as error:  # gone, or it does not read its answers
            raise _Ended from error

    def _answer(self, client: _Client, first: int = 0, second: int = 0, data: bytes = b"") -> None:
        self._send(client, ANSWER.pack(STATUS_OK, first, second) + data)

    def _answer_json(self, client: _Client, body: object, second: int = 0) -> None:
        data = json.dumps(body, separators=(",", ":")).encode()
        self._answer(client, len(data), second, data)

    # --- who is there

    def _probe(self, client: _Client, request: _Request) -> None:
        """Lines `bdf:index` of the devices of a base class (0 any), vendor (0 any) and (id & mask) (no pairs: any)."""
        if request.arg1 > self.limits.probe_bytes or request.arg1 % PAIR.size:
            raise _SentAway(f"PROBE with {request.arg1} bytes of ids; pairs of u32, at most {self.limits.probe_bytes}")
        pairs = list(PAIR.iter_unpack(self._receive(client, request.arg1)))
        with self._devices:
            known = [transport.info() for transport in self.transports]
        lines = []
        for index, info in enumerate(known):
            base_class = (info.class_code or 0) >> 16
            if request.arg0 not in (0, base_class) or request.arg2 not in (0, info.vendor):
                continue
            if not pairs or any(info.device & mask == wanted for mask, wanted in pairs):
                lines.append(f"{info.bdf}:{index}")
        if not lines:  # an empty list would make a stock client trip over its own feet
            raise Unavailable("looking for devices", expected="one of that class, vendor and id", seen="none served")
        data = "\n".join(lines).encode()
        self._answer(client, len(data), 0, data)

    def _hello(self, client: _Client, request: _Request) -> None:
        if request.arg1 > MAX_COMMAND_BYTES:
            raise _SentAway(f"HELLO with {request.arg1} bytes of name; at most {MAX_COMMAND_BYTES}")
        name = self._receive(client, request.arg1).decode("utf-8", "replace")
        if request.arg2 != VERSION:
            raise _SentAway(f"version {request.arg2} of gpumend's commands; this server speaks {VERSION}")
        client.is_stock = False
        client.pid = request.arg0 & _WORD
        client.command = "".join(letter for letter in name if letter.isprintable())
        with self._devices:
            rows = [_row(transport) for transport in self.transports]
        self._answer_json(client, {"session": self.session, "devices": rows}, VERSION)

    def _info(self, client: _Client, request: _Request) -> None:
        with self._devices:
            row = _row(self.transports[request.device])
        self._answer_json(client, row)

    # --- locks

    def _claim(self, client: _Client, device: int) -> None:
        """The lock of a device for this connection, at once or Refused."""
        with self._devices:
            other = self._holders.get(device)
            transport = self.transports[device]
            if other is client:
                return
            if other is not None:
                raise _held(transport, other.describe())
            holder = transport.holder()
            if holder is not None:
                raise _held(transport, name_holder(holder))
            held = ExitStack()
            held.enter_context(transport.exclusive())
            client.locks[device] = held
            self._holders[device] = client

    def _release(self, client: _Client, device: int) -> None:
        with self._devices:
            held = client.locks.pop(device)
            del self._holders[device]
            held.close()

    def _lock(self, client: _Client, request: _Request) -> None:
        self._claim(client, request.device)
        self._answer(client)

    def _unlock(self, client: _Client, request: _Request) -> None:
        if request.device not in client.locks:
            raise ValueError(f"unlocking device {request.device}, which this connection has not locked")
        self._release(client, request.device)
        self._answer(client)

    def _holder(self, client: _Client, request: _Request) -> None:
        with self._devices:
            other = self._holders.get(request.device)
            holder = None if other is not None else self.transports[request.device].holder()
        if other is not None and other is not client:
            holder = LockHolder(self.address, other.pid, other.command or other.describe())
        if holder is None:
            self._answer(client)
        else:
            self._answer_json(client, asdict(holder))

    # --- config space, BARs

    def _map_bar(self, client: _Client, request: _Request) -> None:
        bar = self.transports[request.device].bars().get(request.bar)
        if bar is None:
            raise Unavailable(f"mapping BAR{request.bar} of device {request.device}", seen="it has no such BAR")
        self._answer(client, bar.address, bar.size)

    def _cfg_read(self, client: _Client, request: _Request) -> None:
        with self._devices:
            value = self.transports[request.device].config_read(request.arg0, request.arg1)
        self._answer(client, value)

    def _cfg_write(self, client: _Client, request: _Request) -> None:
        if request.arg1 in (1, 2, 4) and request.arg2 >> 8 * request.arg1:
            raise ValueError(f"{request.arg2:#x} does not fit into {request.arg1} bytes of config space")
        with self._devices:
            self.transports[request.device].config_write(request.arg0, request.arg1, request.arg2)
        self._answer(client)

    def _reset(self, client: _Client, request: _Request) -> None:
        """What sysfs `reset` does where FLR is the function's first method (0, what stock clients ask for), or another."""
        if request.arg0 >= len(RESETS):
            raise ValueError(f"there is no reset {request.arg0}")
        steps = self.transports[request.device].reset_steps(RESETS[request.arg0])
        while True:
            with self._devices:
                pause_s = next(steps, None)
            if pause_s is None:
                break
            self._stop.wait(pause_s)
        self._answer(client)

    def _resize_bar(self, client: _Client, request: _Request) -> None:
        """BARs have their full size from the start."""
        self._map_bar(client, request)

    def _mmio_read(self, client: _Client, request: _Request) -> None:
        transport = self.transports[request.device]
        self._check_bar(transport, request, writes=False)
        offset, size = request.arg0, request.arg1
        self._stream(client, size, lambda at, count: _bar_read(transport, request.bar, offset + at, count), offset)

    def _mmio_write(self, client: _Client, request: _Request) -> None:
        transport = self.transports[request.device]
        self._check_bar(transport, request, writes=True)
        for at, count in _pieces(request.arg0, request.arg1):
            data = self._receive(client, count)
            with self._devices:
                _bar_write(transport, request.bar, request.arg0 + at, data)

    def _check_bar(self, transport: Transport, request: _Request, *, writes: bool) -> None:
        """All of it lies in the BAR, before anything is read or written."""
        bar = transport.bars().get(request.bar)
        if bar is None:
            raise Unavailable(f"accessing BAR{request.bar}", expected="a BAR of the device", seen="none of that number")
        self._check_range(f"BAR{request.bar}", bar.size, request.arg0, request.arg1)
        loose = request.arg0 % 4 or request.arg1 % 4
        if loose and not (request.bar == VRAM_BAR or (bar.prefetchable and not writes)):
            raise ValueError(
                f"BAR{request.bar}+{request.arg0:#x}, {request.arg1} bytes: registers and doorbells are whole words of 4 bytes"
            )

    def _check_range(self, what: str, whole: int, offset: int, size: int) -> None:
        if size > self.limits.transfer_bytes:
            raise ValueError(f"{size} bytes in one request; at most {self.limits.transfer_bytes}")
        if offset + size > whole:
            raise Unavailable(
                f"accessing {what}", expected=f"within its {whole:#x} bytes", seen=f"{offset:#x}+{size:#x}"
            )

    def _stream(self, client: _Client, size: int, read: Callable[[int, int], bytes], offset: int) -> None:
        """An answer with data, piece by piece; when the device fails in the middle, only a close can tell."""
        head = ANSWER.pack(STATUS_OK, size, 0)
        if not size:
            self._send(client, head)
        for at, count in _pieces(offset, size):
            try:
                with self._devices:
                    data = read(at, count)
            except Exception as error:
                if at:
                    raise _Ended from error
                raise
            if head and len(data) < _RECEIVE_BYTES:
                data = head + data
            elif head:
                self._send(client, head)
            self._send(client, data)
            head = b""

    # --- memory for DMA

    def _map_sysmem(self, client: _Client, request: _Request) -> None:
        size = request.arg0
        pages = -(-size // PAGE_BYTES)
        if not size:
            raise ValueError("0 bytes of memory")
        with self._devices:
            if len(client.buffers) >= self.limits.buffers:
                raise Refused("allocating memory", seen=f"this connection has {self.limits.buffers} buffers already")
            if self.dma_bytes + pages * PAGE_BYTES > self.limits.dma_bytes:
                free = self.limits.dma_bytes - self.dma_bytes
                raise Refused(f"allocating {size} bytes of memory", seen=f"{free} bytes are left for all clients")
            memory = self.transports[request.device].alloc_dma(size)
            handle = next(self._handles) & _WORD
            client.buffers[handle] = _Buffer(request.device, memory, pages * PAGE_BYTES)
            self.dma_bytes += pages * PAGE_BYTES
        addresses = b"".join(PAGE_ADDRESS.pack(address) for address in itertools.islice(_page_addresses(memory), pages))
        self._answer(client, len(addresses), handle, addresses)

    def _map_sysmem_fd(self, client: _Client, request: _Request) -> None:
        raise Unavailable("sharing memory by file descriptor", seen="a TCP socket cannot carry one")

    def _sysmem_read(self, client: _Client, request: _Request) -> None:
        memory = self._memory(client, request)
        offset = request.arg0
        self._stream(client, request.arg1, lambda at, count: memory.read(offset + at, count), offset)

    def _sysmem_write(self, client: _Client, request: _Request) -> None:
        memory = self._memory(client, request)
        for at, count in _pieces(request.arg0, request.arg1):
            data = self._receive(client, count)
            with self._devices:
                memory.write(request.arg0 + at, data)

    def _free_sysmem(self, client: _Client, request: _Request) -> None:
        self._buffer(client, request)
        with self._devices:
            self._free(client, request.bar)
        self._answer(client)

    def _buffer(self, client: _Client, request: _Request) -> _Buffer:
        """Only what this connection got for this device: other connections' handles do not exist for it."""
        buffer = client.buffers.get(request.bar)
        if buffer is None or buffer.device != request.device:
            raise Unavailable(
                f"accessing memory {request.bar}",
                expected=f"a handle that this connection got for device {request.device}",
                seen="none of that number",
            )
        return buffer

    def _memory(self, client: _Client, request: _Request) -> DmaBuffer:
        memory = self._buffer(client, request).memory
        self._check_range(f"memory {request.bar}", memory.size, request.arg0, request.arg1)
        return memory

    def _free(self, client: _Client, handle: int) -> None:
        buffer = client.buffers.pop(handle)
        self.dma_bytes -= buffer.counted_bytes
        buffer.memory.close()


def _tune(sock: socket.socket, timeout_s: float) -> None:
    """Small answers go out at once; a peer whose machine vanished is noticed within a minute."""
    sock.settimeout(timeout_s)
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _row(transport: Transport) -> dict[str, object]:
    return {
        "info": asdict(transport.info()),
        "bars": [asdict(bar) for bar in transport.bars().values()],
        "config_size": transport.config_size(),
        "can": transport.can.value,
    }


def _told(error: GpumendError) -> str:
    """An error in one line."""
    parts = [f"{error.doing} {error.verb}".strip(), error.seen, error.expected and f"expected {error.expected}"]
    return "; ".join(part for part in parts if part)


def _refusal(message: str, code: int) -> bytes:
    data = message.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore").encode()
    return ANSWER.pack(STATUS_REFUSED, len(data), int(code)) + data


def _held(transport: Transport, who: str) -> Refused:
    return Refused(f"taking the lock of {transport.info().bdf}", seen=f"held by {who}")


def _pieces(offset: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, bytes) of the parts of a transfer; their edges lie on multiples of a piece, so on whole words."""
    at = 0
    while at < size:
        count = min(size - at, PIECE_BYTES - (offset + at) % PIECE_BYTES)
        yield at, count
        at += count


def _page_addresses(memory: DmaBuffer) -> Iterator[int]:
    """A bus address for each 4 KiB, whatever size the pages have."""
    for first in memory.bus_addr:
        yield from range(first, first + memory.page_size, PAGE_BYTES)


def _bar_read(transport: Transport, bar: int, offset: int, size: int) -> bytes:
    """The width of an access is its size where a device can tell the difference."""
    if size == 4 and offset % 4 == 0:
        return transport.read32(bar, offset).to_bytes(4, "little")
    if size == 8 and offset % 8 == 0:
        return transport.read64(bar, offset).to_bytes(8, "little")
    before = offset % 4
    whole = -(-(before + size) // 4) * 4
    return transport.read_block(bar, offset - before, whole)[before : before + size]


def _bar_write(transport: Transport, bar: int, offset: int, data: bytes) -> None:
    if len(data) == 4 and offset % 4 == 0:
        transport.write32(bar, offset, int.from_bytes(data, "little"))
    elif len(data) == 8 and offset % 8 == 0:
        transport.write64(bar, offset, int.from_bytes(data, "little"))
    elif offset % 4 == 0 and len(data) % 4 == 0:
        transport.write_block(bar, offset, data)
    else:  # odd bytes of memory: the words at both ends keep the rest of theirs
        before = offset % 4
        whole = -(-(before + len(data)) // 4) * 4
        words = bytearray(transport.read_block(bar, offset - before, whole))
        words[before : before + len(data)] = data
        transport.write_block(bar, offset - before, bytes(words))
