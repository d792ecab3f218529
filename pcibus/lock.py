"""The lock that userspace drivers of one device agree on: `<prefix>_<bdf>.lock` in the temporary directory, by flock.

tinygrad's AM driver takes `am_<bdf>.lock` for as long as it runs, its NVIDIA driver `nv_<bdf>.lock`. Source: DESIGN
section 6 rule 9; Linux fs/locks.c (/proc/locks), Documentation/admin-guide/sysctl/fs.rst (protected_regular)."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from base.errors import GpumendError, NotPermitted, Refused, Unavailable
from pcibus.transport import LockHolder

THREAD_WAIT_S = 10.0
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # include/linux/proc_ns.h PROC_PID_INIT_INO
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAX_LOCKS_BYTES = 4 << 20


class DeviceLock:
    """One lock file. Creating the object touches nothing; the file stays behind after use (removing it would race)."""

    def __init__(self, bdf: str, *, prefix: str = "am", folder: Path | None = None, proc: Path = Path("/proc")) -> None:
        self.bdf = bdf
        self._folder = folder
        self._name = f"{prefix}_{bdf.lower()}.lock"
        self._proc = proc
        self._threads = threading.RLock()
        self._depth = 0
        self._handle = -1

    @functools.cached_property
    def path(self) -> Path:
        if self._folder is not None:
            return self._folder / self._name
        import tempfile  # slow to import, and a mere list needs no lock

        return Path(tempfile.gettempdir()) / self._name

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock; re-entrant in one thread, other threads of this object wait for at most THREAD_WAIT_S.

        Raises Refused (somebody holds it: named), NotPermitted (somebody else's file), Unavailable (no such folder)."""
        if not self._threads.acquire(timeout=THREAD_WAIT_S):
            raise Refused(
                f"taking the lock of {self.bdf}",
                expected=f"the lock free within {THREAD_WAIT_S:g} s",
                seen="held by another thread of this process",
                where=str(self.path),
            )
        try:
            if self._depth == 0:
                self._handle = self._take()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    os.close(self._handle)  # the kernel drops the lock with the last copy of the handle
                    self._handle = -1
        finally:
            self._threads.release()

    def holder(self) -> LockHolder | None:
        """Who else holds it; None: nobody, or this very object. Never creates the file and never blocks a taker if the
        system shows its locks; where it does not (a container), the lock is tried for a moment, shared."""
        if self._depth:
            return None
        try:
            handle = self._open_existing()
        except FileNotFoundError:
            return None
        try:
            known = self._listed_holder(os.fstat(handle))
            if known is not None or self._sees_all_processes():
                return known
            return None if _try_lock(handle, fcntl.LOCK_SH) else LockHolder(str(self.path))
        finally:
            os.close(handle)

    def _take(self) -> int:
        handle = self._open()
        try:
            if _try_lock(handle, fcntl.LOCK_EX):
                return handle
            holder = self._listed_holder(os.fstat(handle)) or LockHolder(str(self.path))
        except OSError as error:
            os.close(handle)
            raise self._explain(error) from error
        os.close(handle)
        raise Refused(
            f"taking the lock of {self.bdf}",
            expected="nobody else drives this device",
            seen=f"held by {name_holder(holder)}",
            where=str(self.path),
            next_step="end that process, or let it finish",
        )

    def _open(self) -> int:
        try:
            return self._open_existing()
        except FileNotFoundError:
            pass
        try:
            # Without O_EXCL the kernel may refuse somebody else's file in a sticky folder even to root.
            handle = os.open(self.path, _OPEN_FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return self._open_existing()
        except OSError as error:
            raise self._explain(error) from error
        os.fchmod(handle, 0o666)  # whatever the umask: other users' drivers must be able to take it
        return handle

    def _open_existing(self) -> int:
        """The file's handle; FileNotFoundError if there is none. Anything but a regular file is refused."""
        try:
            handle = os.open(self.path, _OPEN_FLAGS)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._explain(error) from error
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        raise NotPermitted(
            f"opening the lock of {self.bdf}", expected="a regular file", seen="something else", where=str(self.path)
        )

    def _explain(self, error: OSError) -> GpumendError:
        doing = f"opening the lock of {self.bdf}"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return Unavailable(
                doing, expected="the folder for locks", seen="no such folder", where=str(self.path.parent)
            )
        seen = "a symbolic link" if error.errno == errno.ELOOP else os.strerror(error.errno or 0)
        return NotPermitted(
            doing,
            expected="a lock file that this user may open",
            seen=seen,
            where=str(self.path),
            next_step="ask the file's owner to remove it or to make it readable, or run as root",
        )

    def _listed_holder(self, file: os.stat_result) -> LockHolder | None:
        """The holder as /proc/locks tells it, by device and inode."""
        try:
            with (self._proc / "locks").open("rb") as listing:
                text = listing.read(_MAX_LOCKS_BYTES).decode("ascii", "replace")
        except OSError:
            return None
        wanted = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        for line in text.splitlines():
            # 1: FLOCK  ADVISORY  WRITE 1234 08:02:131 0 EOF; a waiter has "->" after the number
            words = line.split()
            if len(words) < 6 or words[1] != "FLOCK" or words[5] != wanted:
                continue
            pid = int(words[4]) if words[4].isdigit() and words[4] != "0" else None
            return LockHolder(str(self.path), pid, self._command(pid))
        return None

    def _command(self, pid: int | None) -> str:
        if pid is None:
            return ""
        try:
            return (self._proc / str(pid) / "comm").read_text(errors="replace").rstrip("\n")
        except OSError:
            return ""

    def _sees_all_processes(self) -> bool:
        """/proc/locks hides locks of processes outside this PID namespace; only the first namespace sees all."""
        try:
            return (
                str((self._proc / "self/ns/pid").readlink()) == _INITIAL_PID_NAMESPACE
                and (self._proc / "locks").exists()
            )
        except OSError:
            return False


def name_holder(holder: LockHolder) -> str:
    """`python3 (pid 1234)`, or that the system does not say who."""
    if holder.pid is None:
        return "a process that the system does not name (another container?)"
    return f"{holder.command or 'a process'} (pid {holder.pid})"


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
