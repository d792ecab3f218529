"""The wire format of tinygrad's remote PCI protocol, and what gpumend adds to it.

A request is 33 bytes, then its payload; an answer is 17 bytes, then its data; little-endian. One socket, strict order.
Writes to memory are posted: they have no answer. An answer with status != 0 is a refusal: the first number is the length
of a UTF-8 message that follows, the second our exit code of it (stock clients ignore it).

Numbers 0 to 12 are tinygrad's. Those from 0xE0 are ours; stock clients never send them:

    HELLO         arg0 pid, arg1 length of the payload (the command's name), arg2 version
                  -> length of the JSON object {"session", "devices": [row]}, version
    INFO          -> length of the device's row: {"info", "bars", "config_size", "can"}
    LOCK, UNLOCK  -> nothing; LOCK is refused at once when somebody else has the lock
    HOLDER        -> 0 (nobody, or the asker), or the length of {"path", "pid", "command"}
    FREE_SYSMEM   bar: the handle -> nothing

RESET takes in arg0 which of RESETS is meant; stock clients leave it 0.

Source: tinygrad 0.14.0 runtime/support/system.py, class RemotePCIDevice (what a client sends and expects)."""

from __future__ import annotations

import struct
from enum import IntEnum

from base.errors import UsageError

REQUEST = struct.Struct("<BIIQQQ")  # command, device, bar or handle, three arguments
ANSWER = struct.Struct("<BQQ")  # status, two numbers
PAIR = struct.Struct("<II")  # PROBE's payload: (mask, device id)
PAGE_ADDRESS = struct.Struct("<Q")

STATUS_OK = 0
STATUS_REFUSED = 1
VERSION = 1
DEFAULT_PORT = 6667  # tinygrad's
PAGE_BYTES = 4096  # one bus address for each, whatever the pages of the server's machine
MAX_MESSAGE_BYTES = 4096  # of a refusal
MAX_JSON_BYTES = 1 << 20
MAX_COMMAND_BYTES = 256  # of a client's name
PIECE_BYTES = 1 << 20  # data goes to and from a device in pieces of this size at most


class Command(IntEnum):
    """What a request asks for."""

    PROBE = 0
    MAP_BAR = 1
    MAP_SYSMEM_FD = 2  # over a UNIX socket only
    CFG_READ = 3
    CFG_WRITE = 4
    RESET = 5
    MMIO_READ = 6
    MMIO_WRITE = 7
    MAP_SYSMEM = 8
    SYSMEM_READ = 9
    SYSMEM_WRITE = 10
    RESIZE_BAR = 11
    PING = 12
    HELLO = 0xE0
    INFO = 0xE1
    LOCK = 0xE2
    UNLOCK = 0xE3
    HOLDER = 0xE4
    FREE_SYSMEM = 0xE5


RESETS = ("flr", "bus", "rescan", "any")  # words of pcibus.transport.ResetSource
POSTED = frozenset((Command.MMIO_WRITE, Command.SYSMEM_WRITE))


def parse_endpoint(text: str) -> tuple[str, int]:
    """`127.0.0.1:6667` or `[::1]:6667` as host and port. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not (host and colon and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 1 << 16):
        raise UsageError(f"reading the address {text!r}", expected="HOST:PORT (127.0.0.1:6667)", seen=text)
    return host, int(port)


def joined(host: str, port: int) -> str:
    """Host and port as `parse_endpoint` reads them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
