"""A client of tinygrad's remote PCI protocol, written from its description and sharing no line with pcibus/remote.py.

Request `<BIIQQQ`: command, device, bar, three arguments; answer `<BQQ`: status, two numbers; status != 0: the first number
is the length of a message. Source: tinygrad 0.14.0 runtime/support/system.py, class RemotePCIDevice."""

from __future__ import annotations

import socket
import struct

PROBE, MAP_BAR, MAP_SYSMEM_FD, CFG_READ, CFG_WRITE, RESET, MMIO_READ, MMIO_WRITE = range(8)
MAP_SYSMEM, SYSMEM_READ, SYSMEM_WRITE, RESIZE_BAR, PING = range(8, 13)
HELLO, INFO, LOCK, UNLOCK, HOLDER, FREE_SYSMEM = range(0xE0, 0xE6)
POSTED = (MMIO_WRITE, SYSMEM_WRITE)


class WireRefused(Exception):
    """status != 0; `code` is the second number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class WireClosed(Exception):
    """The server hung up."""


def request(command: int, device: int = 0, bar: int = 0, *args: int) -> bytes:
    return struct.pack("<BIIQQQ", command, device, bar, *(*args, 0, 0, 0)[:3])


class Wire:
    """One connection. Times out rather than hang."""

    def __init__(self, port: int, timeout_s: float = 5.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                chunk = self.sock.recv(size - len(data))
            except ConnectionError as error:
                raise WireClosed from error
            if not chunk:
                raise WireClosed
            data += chunk
        return data

    def answer(self) -> tuple[int, int]:
        status, first, second = struct.unpack("<BQQ", self.exactly(17))
        if status:
            raise WireRefused(self.exactly(first).decode("utf-8"), second)
        return first, second

    def ask(self, command: int, device: int = 0, bar: int = 0, *args: int, payload: bytes = b"") -> tuple[int, int]:
        self.send(request(command, device, bar, *args) + payload)
        return self.answer()

    def probe(self, base_class: int, vendor: int, *pairs: tuple[int, int]) -> list[str]:
        payload = b"".join(struct.pack("<II", *pair) for pair in pairs)
        size, _ = self.ask(PROBE, 0, 0, base_class, len(payload), vendor, payload=payload)
        return self.exactly(size).decode().split("\n")

    def read(self, device: int, bar: int, offset: int, size: int, command: int = MMIO_READ) -> bytes:
        self.ask(command, device, bar, offset, size)
        return self.exactly(size)

    def write(self, device: int, bar: int, offset: int, data: bytes, command: int = MMIO_WRITE) -> None:
        self.send(request(command, device, bar, offset, len(data)) + data)

    def map_sysmem(self, device: int, size: int) -> tuple[int, list[int]]:
        length, handle = self.ask(MAP_SYSMEM, device, 0, size, 1)
        return handle, [address for (address,) in struct.iter_unpack("<Q", self.exactly(length))]

    def hello(self, pid: int, name: bytes = b"test") -> bytes:
        size, version = self.ask(HELLO, 0, 0, pid, len(name), 1, payload=name)
        assert version == 1
        return self.exactly(size)

    def closed(self) -> bool:
        """True when the server has hung up; reads and drops what was still to come."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True
