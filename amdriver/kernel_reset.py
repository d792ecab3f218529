"""Resetting a GPU through the kernel driver that is bound to it: amdgpu's own recovery, of the whole hive if it is in one.

Source: Linux v7.3 amdgpu_fence.c (gpu_recover_get: reading the file schedules the reset, waits for it, and shows what it
came to: 0, or a negative errno), amdgpu_debugfs.c; amdgpu_device.c (a line of the log for each GPU that was reset);
Documentation/ABI/testing/dev-kmsg (SEEK_END: behind the last record). The read is made in a child that can be killed: a
driver that hangs in its own reset holds its reader for ever."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from amdriver.discovery_locate import DEBUGFS_ROOT, debugfs_folders
from base.child import ChildTimeout, run_in_child
from base.errors import GpumendError, NotPermitted, Unavailable, UsageError, WaitTimeout
from base.files import read_bounded
from pcibus.sysfs import BDF

LIMIT_S: Final = 120.0
FILE: Final = "amdgpu_gpu_recover"
_ANSWER: Final = re.compile(r"-?\d{1,10}\Z")
_MOST_BYTES: Final = 4096
KMSG: Final = Path("/dev/kmsg")
_SUCCEEDED: Final = re.compile(rb"amdgpu ([0-9a-f]{4,8}:[0-9a-f:.]{7}): .*GPU reset\(\d+\) succeeded")
_RECORD_BYTES: Final = 8192
_MOST_RECORDS: Final = 100_000


class DriverStuck(WaitTimeout):
    """The driver did not come back from its own reset; `seen` says where its reader sits."""


def reset_by_driver(
    bdf: str, *, root: Path = Path(DEBUGFS_ROOT), limit_s: float = LIMIT_S, kmsg: Path = KMSG
) -> frozenset[str] | None:
    """Have the bound amdgpu reset its GPU (and its hive), and wait for the result.

    Addresses of all GPUs of which the kernel's log says meanwhile that their reset succeeded; None: it cannot be read.

    Raises Unavailable (no such file: another driver, no debugfs, or gpu_recovery=0), NotPermitted, DriverStuck, and
    GpumendError when the driver says that it failed."""
    doing = f"resetting {bdf} through amdgpu"
    if not BDF.match(bdf):
        raise UsageError(doing, expected="an address like 0000:c1:00.0 (small letters)", seen=bdf)
    file = _find(bdf, root, doing)
    shown = f"cat {file}"
    log = _Log(kmsg)
    try:
        _read_it(file, limit_s, doing, shown)
        return log.succeeded()
    finally:
        log.close()


def _read_it(file: Path, limit_s: float, doing: str, shown: str) -> None:
    outcome = run_in_child(partial(_read, file), limit_s, doing=doing, where=shown)
    if isinstance(outcome.error, ChildTimeout):
        raise DriverStuck(
            doing,
            expected=outcome.error.expected,
            seen=outcome.error.seen,
            where=shown,
            next_step="read dmesg; a driver that hangs in its own reset needs a reboot of the node",
        ) from outcome.error
    if outcome.error is not None:
        raise outcome.error
    answer = outcome.unwrap().strip()
    if not _ANSWER.match(answer):
        raise GpumendError(
            doing, expected="a number", seen=repr(answer[:80]), where=shown, next_step="read dmesg; gpumend probe"
        )
    if int(answer):
        raise GpumendError(
            doing,
            expected="0",
            seen=f"{answer} ({os.strerror(-int(answer))})" if int(answer) < 0 else answer,
            where=shown,
            next_step="read dmesg; gpumend probe",
        )


class _Log:
    """What the kernel says from now on."""

    def __init__(self, path: Path) -> None:
        self._handle = -1
        with suppress(OSError):
            self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            os.lseek(self._handle, 0, os.SEEK_END)

    def succeeded(self) -> frozenset[str] | None:
        if self._handle < 0:
            return None
        found = set()
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(self._handle, _RECORD_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.EPIPE:  # records that were overwritten: the next ones are there
                    return None
                continue
            if not record:
                break
            found |= {match[1].decode("ascii") for match in _SUCCEEDED.finditer(record)}
        return frozenset(found)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


def _find(bdf: str, root: Path, doing: str) -> Path:
    try:
        for folder in debugfs_folders(bdf, root):
            if (folder / FILE).exists():
                return folder / FILE
    except PermissionError as error:
        raise NotPermitted(
            doing,
            expected="root, to look into debugfs",
            seen=os.strerror(error.errno or errno.EACCES),
            where=str(root),
            next_step="run as root on the host",
        ) from error
    if not os.access(root.parent, os.X_OK | os.R_OK):
        raise NotPermitted(
            doing,
            expected="root, and debugfs mounted",
            seen="it cannot be looked into",
            where=str(root),
            next_step="run as root on the host; mount -t debugfs none /sys/kernel/debug",
        )
    raise Unavailable(
        doing,
        expected=f"the file {FILE} of the bound amdgpu",
        seen="none",
        where=str(root),
        next_step="is amdgpu bound, debugfs mounted, and gpu_recovery not 0?",
    )


def _read(file: Path) -> str:
    return read_bounded(file, _MOST_BYTES).decode("ascii", "replace")
