"""The vfio-user protocol on the wire: messages with file descriptors over a local socket, bounded in size and number.

Source: QEMU docs/interop/vfio-user.rst (message header, commands, flags); include/uapi/linux/vfio.h (flags of regions and
interrupts). Numbers are those of this machine: little-endian. Sizes in bytes."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct("<HHIII")  # id, command, size with header, flags, error
ACCESS = struct.Struct("<QII")  # offset, region, count
MULTI_COUNT = struct.Struct("<Q")
MULTI = struct.Struct("<QII8s")  # offset, region, count, data
MAP = struct.Struct("<IIQQQ")  # argsz, flags, file offset, address, size
UNMAP = struct.Struct("<IIQQ")  # argsz, flags, address, size
DEVICE_INFO = struct.Struct("<IIII")  # argsz, flags, regions, interrupts
REGION_INFO = struct.Struct("<IIIIQQ")  # argsz, flags, index, capability offset, size, offset
SPARSE = struct.Struct("<HHIIIQQ")  # id, version, next, areas, reserved, offset, size of the only area
IRQ_INFO = struct.Struct("<IIII")  # argsz, flags, index, count
IRQ_SET = struct.Struct("<IIIII")  # argsz, flags, index, start, count
DMA = struct.Struct("<QQ")  # address, count
VERSION = struct.Struct("<HH")  # major, minor

TYPE_BITS = 0xF
REQUEST, REPLY = 0, 1
NO_REPLY = 0x10
ERROR = 0x20

MOST_DATA = 1 << 20  # of one access: the protocol's default
MOST_FDS = 16  # in one message
MOST_MESSAGE = MOST_DATA + 4096
MOST_WAITING = 4 * MOST_MESSAGE  # answers that the other side does not fetch
_RECEIVE_BYTES = 64 << 10


class Command(IntEnum):
    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    GET_INFO = 4
    GET_REGION_INFO = 5
    GET_REGION_IO_FDS = 6
    GET_IRQ_INFO = 7
    SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    DEVICE_RESET = 13
    REGION_WRITE_MULTI = 15


class Message(NamedTuple):
    """One message. Whoever takes it owns its file descriptors."""

    id: int
    command: int
    flags: int
    error: int
    body: bytes
    fds: Sequence[int] = ()


class HungUp(Exception):
    """The other side went."""


class Garbage(Exception):
    """What came is no message; nothing that follows could be understood."""


class Channel:
    """One connected socket, never blocking. A message's descriptors are closed when nobody takes the message."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._buffer = bytearray()
        self._fds: list[int] = []  # of the message at the start of the buffer, which is not whole yet
        self._out: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._out_bytes = 0

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def in_the_middle(self) -> bool:
        """Part of a message has come."""
        return bool(self._buffer)

    @property
    def blocked(self) -> bool:
        """Answers wait for the other side to fetch them."""
        return bool(self._out)

    def receive(self) -> list[Message]:
        """The messages that one read completed. Raises HungUp, Garbage (a bad header, too many descriptors)."""
        try:
            data, ancillary, flags, _ = self.sock.recvmsg(
                _RECEIVE_BYTES, socket.CMSG_SPACE(MOST_FDS * 4), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise HungUp from error
        fds = _descriptors(ancillary)
        if not data or flags & socket.MSG_CTRUNC or len(fds) > MOST_FDS:
            close_all(fds)
            if not data:
                raise HungUp
            raise Garbage(f"more than {MOST_FDS} file descriptors in one message")
        self._buffer += data
        return self._split(fds)

    def _split(self, fds: list[int]) -> list[Message]:
        """Whole messages from the buffer. A read ends behind the bytes that descriptors came with, so they belong to the
        message that the last byte belongs to."""
        messages: list[Message] = []
        start = 0
        try:
            while len(self._buffer) - start >= HEADER.size:
                number, command, size, flags, error = HEADER.unpack_from(self._buffer, start)
                if not HEADER.size <= size <= MOST_MESSAGE:
                    raise Garbage(f"a message of {size} bytes; {HEADER.size} to {MOST_MESSAGE}")
                if len(self._buffer) - start < size:
                    break
                body = bytes(memoryview(self._buffer)[start + HEADER.size : start + size])
                messages.append(Message(number, command, flags, error, body, self._fds))
                self._fds = []
                start += size
        except Garbage:
            close_all(fds)
            discard(messages)
            raise
        del self._buffer[:start]
        if fds and messages and not self._buffer:
            fds = [*messages[-1].fds, *fds]
            messages[-1] = messages[-1]._replace(fds=fds)
        else:
            self._fds += fds
            fds = self._fds
        if len(fds) > MOST_FDS:
            discard(messages)
            raise Garbage(f"more than {MOST_FDS} file descriptors in one message")
        return messages

    def send(self, data: bytes, fds: Iterable[int] = ()) -> None:
        """Send what goes at once, keep the rest. Raises HungUp; also when too much is kept already."""
        self._out.append((data, tuple(fds)))
        self._out_bytes += len(data)
        self.flush()
        if self._out_bytes > MOST_WAITING:
            raise HungUp

    def flush(self) -> None:
        """Send what was kept, as far as it goes."""
        while self._out:
            data, fds = self._out[0]
            try:
                if fds:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                    sent = self.sock.sendmsg([data], rights)
                else:
                    sent = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise HungUp from error
            self._out_bytes -= sent
            self._out.popleft()
            if sent < len(data):
                self._out.appendleft((data[sent:], ()))

    def close(self) -> None:
        close_all(self._fds)
        self._fds = []
        self._out.clear()
        with suppress(OSError):
            self.sock.close()


def pack(number: int, command: int, body: bytes = b"", flags: int = REPLY, error: int = 0) -> bytes:
    return HEADER.pack(number, command, HEADER.size + len(body), flags, error) + body


def discard(messages: Iterable[Message]) -> None:
    """Close the descriptors of messages that nobody will take."""
    for message in messages:
        close_all(message.fds)


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        with suppress(OSError):
            os.close(fd)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) // found.itemsize * found.itemsize])
    return list(found)
