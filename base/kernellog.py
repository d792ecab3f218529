"""The kernel's log as it stands now, `[seconds] text`, one record a line. Reading takes nothing out of it and never waits.
One line can be written into it, by those who act (a reset), not by those who look.

Source: Linux Documentation/ABI/testing/dev-kmsg (records, EPIPE where they were overwritten; a write is one record);
syslog(2) action 3."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import time
from pathlib import Path

from base.errors import GpumendError, NotPermitted, Unavailable

_KMSG = (1, 11)  # the device number of /dev/kmsg
_KMSG_RECORD_BYTES = 16 << 10
_SYSLOG_READ_ALL, _SYSLOG_SIZE = 3, 10
_NOTICE = 5


def read_log(dev: Path = Path("/dev"), limit_bytes: int = 4 << 20) -> bytes:
    """The log from `dev`/kmsg, else by syslog(2) where the machine's own /dev has none. Raises NotPermitted, Unavailable."""
    try:
        return read_kmsg(dev / "kmsg", limit_bytes)[0]
    except (GpumendError, OSError) as error:
        if dev == Path("/dev"):
            return read_syslog()
        if isinstance(error, GpumendError):
            raise
        kind = NotPermitted if isinstance(error, PermissionError) else Unavailable
        raise kind(
            "reading the kernel log",
            expected="the kernel's log",
            seen=os.strerror(error.errno or 0),
            where=str(dev / "kmsg"),
            next_step="run as root, or sysctl kernel.dmesg_restrict=0",
        ) from error


def read_kmsg(path: Path, limit_bytes: int) -> tuple[bytes, int]:
    """Every record that is there now. A plain file of that name (a test, a copy) is taken as it is."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode):
            data, more = _read_all(handle, limit_bytes)
            return data + b"\n" * more, 0
        if not stat.S_ISCHR(status.st_mode) or (os.major(status.st_rdev), os.minor(status.st_rdev)) != _KMSG:
            raise Unavailable(f"reading {path}", expected="the kernel's log", seen="another kind of file: not read")
        return _records(handle, limit_bytes)
    finally:
        os.close(handle)


def _records(handle: int, limit_bytes: int) -> tuple[bytes, int]:
    lines: list[bytes] = []
    total = lost = 0
    while total <= limit_bytes:
        try:
            record = os.read(handle, _KMSG_RECORD_BYTES)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            lost += 1
            continue
        if not record:
            break
        line = log_line(record)
        lines.append(line)
        total += len(line)
    return b"".join(lines), lost


def log_line(record: bytes) -> bytes:
    """`6,339,5140900,-;text` and its ` KEY=value` lines as `<6>[    5.140900] text`."""
    head, _, text = record.partition(b";")
    fields = head.split(b",")
    if len(fields) < 3 or not fields[0].isdigit() or not fields[2].isdigit():
        return record.rstrip(b"\n") + b"\n"
    body = text.rstrip(b"\n").replace(b"\n", b"\n    ")
    return b"<%d>[%12.6f] %s\n" % (int(fields[0]) & 7, int(fields[2]) / 1e6, body)


def read_syslog() -> bytes:
    """The log where there is no /dev/kmsg, as in many containers."""
    libc = ctypes.CDLL(None, use_errno=True)
    size = libc.klogctl(_SYSLOG_SIZE, None, 0)
    buffer = ctypes.create_string_buffer(max(size, 1 << 16))
    count = libc.klogctl(_SYSLOG_READ_ALL, buffer, len(buffer))
    if count < 0:
        number = ctypes.get_errno()
        kind = NotPermitted if number in (errno.EPERM, errno.EACCES) else Unavailable
        raise kind("reading the kernel log", expected="CAP_SYSLOG, or dmesg_restrict off", seen=os.strerror(number))
    return buffer.raw[:count]


def write_line(text: str, dev: Path = Path("/dev")) -> None:
    """One record at the end of the log, by `dev`/kmsg; into a plain file of that name (a test) as the log shows it.

    Raises NotPermitted, Unavailable."""
    path = dev / "kmsg"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            is_file = stat.S_ISREG(os.fstat(handle).st_mode)
            stamp = f"[{time.clock_gettime(time.CLOCK_MONOTONIC):12.6f}] " if is_file else f"<{_NOTICE}>"
            os.write(handle, f"{stamp}{text}\n".encode())
        finally:
            os.close(handle)
    except OSError as error:
        kind = NotPermitted if isinstance(error, PermissionError) else Unavailable
        raise kind(
            "writing a line into the kernel's log",
            expected="root, and the machine's own /dev",
            seen=os.strerror(error.errno or 0),
            where=str(path),
        ) from error


def _read_all(handle: int, limit_bytes: int) -> tuple[bytes, bool]:
    """At most `limit_bytes`, and whether there was more."""
    data = bytearray()
    while len(data) <= limit_bytes:
        chunk = os.read(handle, 1 << 20)
        if not chunk:
            break
        data += chunk
    return bytes(data[:limit_bytes]), len(data) > limit_bytes
