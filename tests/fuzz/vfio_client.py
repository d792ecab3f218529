"""A vfio-user client, written from the protocol's description and sharing no line with gpumodel/vfio_*.py.

Source: QEMU docs/interop/vfio-user.rst. A message: id, command, size, flags, error, then data; descriptors as SCM_RIGHTS."""

from __future__ import annotations

import array
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, DEVICE_RESET, DIRTY_PAGES, WRITE_MULTI = range(9, 16)
CONFIG = 7
GREETING = b'{"capabilities":{"max_msg_fds":8,"max_data_xfer_size":1048576,"write_multiple":true}}\0'


class Closed(Exception):
    """The server hung up."""


class Told(Exception):
    """A refusal; the argument is the error number."""


def message(number: int, command: int, body: bytes = b"", flags: int = 0, error: int = 0) -> bytes:
    return struct.pack("<HHIII", number, command, 16 + len(body), flags, error) + body


class Client:
    """One connection to one GPU. Times out rather than hang. `serve` answers what the server asks: it gets the command,
    the address and the data or size, and gives data, None for a refusal, or "silent" for no answer."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout_s)
        self.sock.connect(str(path))
        self.serve: Callable[[int, int, int, bytes], bytes | str | None] = lambda *_: None
        self.served: list[tuple[int, int, int]] = []
        self._number = 0
        self._fds: list[int] = []
        self._buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    # ---- messages

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([data], rights)
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def post(self, command: int, body: bytes = b"", fds: Sequence[int] = (), flags: int = 0) -> int:
        """Send a command, wait for nothing; its id."""
        self._number = (self._number + 1) & 0xFFFF
        self.send(message(self._number, command, body, flags), fds)
        return self._number

    def ask(self, command: int, body: bytes = b"", fds: Sequence[int] = ()) -> bytes:
        """The data of the answer; raises Told when it is a refusal."""
        return self.answer(self.post(command, body, fds))

    def answer(self, number: int) -> bytes:
        """Serve what the server asks until the answer to a command comes."""
        while True:
            got, command, flags, error, body = self.receive()
            if flags & 0xF == 0:
                self._obey(got, command, body)
                continue
            assert got == number and flags & 1, (got, number, flags)
            if flags & 0x20:
                assert body == b"" and error, "a refusal has a number and nothing else"
                raise Told(error)
            return body

    def serve_until(self, done: Callable[[], bool], limit_s: float = 10.0) -> None:
        """Answer what the server asks until something has come true."""
        end = time.monotonic() + limit_s
        while not done():
            assert time.monotonic() < end, "did not come true"
            if self._buffer or select.select([self.sock], [], [], 0.01)[0]:
                got, command, flags, _, body = self.receive()
                assert flags & 0xF == 0, "nothing was asked"
                self._obey(got, command, body)

    def receive(self) -> tuple[int, int, int, int, bytes]:
        head = self._exactly(16)
        number, command, size, flags, error = struct.unpack("<HHIII", head)
        return number, command, flags, error, self._exactly(size - 16)

    def _obey(self, number: int, command: int, body: bytes) -> None:
        address, count = struct.unpack_from("<QQ", body)
        self.served.append((command, address, count))
        answer = self.serve(command, address, count, body[16:])
        if answer == "silent":
            return
        if answer is None:
            self.send(message(number, command, b"", 0x21, 14))
            return
        assert isinstance(answer, bytes)
        self.send(message(number, command, struct.pack("<QQ", address, count) + answer, 1))

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data, ancillary, _, _ = self.sock.recvmsg(1 << 16, socket.CMSG_SPACE(64))
            except ConnectionError as error:
                raise Closed from error
            for _, _, rights in ancillary:
                found = array.array("i")
                found.frombytes(rights)
                self._fds += found
            if not data:
                raise Closed
            self._buffer += data
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def is_closed(self, timeout_s: float = 5.0) -> bool:
        """Whether the server hangs up within the time."""
        self.sock.settimeout(timeout_s)
        try:
            while True:
                self.receive()
        except Closed:
            return True
        except TimeoutError:
            return False

    # ---- what a machine monitor does

    def greet(self, text: bytes = GREETING) -> bytes:
        return self.ask(VERSION, struct.pack("<HH", 0, 0) + text)

    def read(self, region: int, offset: int, size: int) -> bytes:
        body = self.ask(REGION_READ, struct.pack("<QII", offset, region, size))
        assert struct.unpack_from("<QII", body) == (offset, region, size)
        return body[16:]

    def write(self, region: int, offset: int, data: bytes) -> None:
        body = self.ask(REGION_WRITE, struct.pack("<QII", offset, region, len(data)) + data)
        assert struct.unpack("<QII", body) == (offset, region, len(data))

    def read32(self, offset: int, region: int = 5) -> int:
        return int.from_bytes(self.read(region, offset, 4), "little")

    def write32(self, offset: int, value: int, region: int = 5) -> None:
        self.write(region, offset, value.to_bytes(4, "little"))

    def config(self, offset: int, size: int, value: int | None = None) -> int:
        if value is None:
            return int.from_bytes(self.read(CONFIG, offset, size), "little")
        self.write(CONFIG, offset, value.to_bytes(size, "little"))
        return value

    def enumerate(self, bar0: int = 1 << 45, bar2: int = 1 << 46, bar5: int = 0xA000_0000) -> None:
        """What firmware and kernel of a guest do: addresses, memory decoding, bus master."""
        for place, address in ((0x10, bar0), (0x18, bar2), (0x24, bar5)):
            self.config(place, 4, address & 0xFFFFFFFF)
            if place != 0x24:
                self.config(place + 4, 4, address >> 32)
        self.config(4, 2, 6)

    def region(self, index: int, room: int = 32) -> tuple[int, int, int, int, bytes]:
        """argsz, flags, capability offset, size, capabilities."""
        body = self.ask(GET_REGION_INFO, struct.pack("<IIIIQQ", room, 0, index, 0, 0, 0))
        argsz, flags, found, capability, size, offset = struct.unpack_from("<IIIIQQ", body)
        assert (found, offset) == (index, 0)
        return argsz, flags, capability, size, body[32:]

    def take_fds(self) -> list[int]:
        fds, self._fds = self._fds, []
        return fds

    def map(self, address: int, size: int, fd: int = -1, offset: int = 0, flags: int = 3) -> None:
        body = struct.pack("<IIQQQ", 32, flags, offset, address, size)
        assert self.ask(DMA_MAP, body, [fd] if fd >= 0 else []) == b""

    def unmap(self, address: int, size: int, flags: int = 0) -> None:
        body = struct.pack("<IIQQ", 24, flags, address, size)
        assert self.ask(DMA_UNMAP, body) == body

    def irqs(self, index: int, start: int, count: int, flags: int, fds: Sequence[int] = (), data: bytes = b"") -> None:
        assert self.ask(SET_IRQS, struct.pack("<IIIII", 20, flags, index, start, count) + data, fds) == b""


def count_of(fd: int) -> int:
    """What an eventfd counted since it was last asked; 0 without waiting."""
    os.set_blocking(fd, False)
    with suppress(BlockingIOError):
        return os.eventfd_read(fd)
    return 0
