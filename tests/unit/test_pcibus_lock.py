"""pcibus/lock.py: whose lock it is, and whose file."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import pcibus.lock
from base.child import run_in_child
from base.errors import NotPermitted, Refused, Unavailable
from pcibus.lock import DeviceLock, name_holder
from pcibus.transport import LockHolder

BDF = "0000:c1:00.0"


@pytest.fixture
def lock(tmp_path: Path) -> DeviceLock:
    return DeviceLock(BDF, folder=tmp_path)


@pytest.fixture
def rival(tmp_path: Path) -> Iterator[int]:
    """Another driver of this kind that holds the lock, as tinygrad takes it."""
    handle = os.open(tmp_path / f"am_{BDF}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield handle
    os.close(handle)


def test_lock_name_is_the_one_that_other_drivers_take() -> None:
    assert DeviceLock(BDF).path == Path(tempfile.gettempdir()) / "am_0000:c1:00.0.lock"
    assert DeviceLock(BDF.upper(), prefix="nv", folder=Path("/x")).path == Path("/x/nv_0000:c1:00.0.lock")


def test_lock_free_is_taken_and_given_back(lock: DeviceLock) -> None:
    assert not lock.path.exists()
    with lock.exclusive():
        assert lock.path.stat().st_mode & 0o777 == 0o666
        handle = os.open(lock.path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert lock.holder() is None  # nobody else
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_lock_is_reentrant_and_given_back_at_the_outermost(lock: DeviceLock, tmp_path: Path) -> None:
    other = DeviceLock(BDF, folder=tmp_path)
    with lock.exclusive():
        with lock.exclusive():
            pass
        with pytest.raises(Refused), other.exclusive():
            pass
    with other.exclusive():
        pass


def test_lock_is_given_back_after_an_error(lock: DeviceLock, tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock.exclusive():
        raise KeyError
    with DeviceLock(BDF, folder=tmp_path).exclusive():
        pass


def test_lock_held_by_another_names_the_holder(lock: DeviceLock, rival: int) -> None:
    with pytest.raises(Refused) as caught, lock.exclusive():
        pass
    assert str(os.getpid()) in caught.value.seen
    holder = lock.holder()
    assert holder is not None and holder.pid == os.getpid() and holder.command
    os.close(rival)
    assert lock.holder() is None
    os.open(lock.path, os.O_RDONLY)


def test_lock_held_by_another_process_is_refused_from_a_child(lock: DeviceLock, tmp_path: Path) -> None:
    def child() -> None:
        with DeviceLock(BDF, folder=tmp_path).exclusive():
            pass

    with lock.exclusive():
        error = run_in_child(child, 20).error
    assert isinstance(error, Refused) and f"(pid {os.getpid()})" in error.seen


def test_lock_asking_for_the_holder_makes_no_file(lock: DeviceLock) -> None:
    assert lock.holder() is None
    assert not lock.path.exists()


def test_lock_holder_that_the_system_does_not_name_is_somebody(tmp_path: Path, rival: int) -> None:
    hidden = DeviceLock(BDF, folder=tmp_path, proc=tmp_path / "noproc")  # as in a container
    assert hidden.holder() == LockHolder(str(hidden.path))
    with pytest.raises(Refused, match="a process that the system does not name"), hidden.exclusive():
        pass
    fcntl.flock(rival, fcntl.LOCK_UN)
    assert hidden.holder() is None


def test_lock_listing_is_matched_by_device_and_inode(lock: DeviceLock, tmp_path: Path) -> None:
    lock.path.touch()
    status = lock.path.stat()
    where = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    proc = tmp_path / "proc"
    (proc / "77").mkdir(parents=True)
    (proc / "77/comm").write_text("python3\x1b[1m\n")
    rows = [f"1: POSIX  ADVISORY  WRITE 5 {where} 0 EOF", "garbage", f"2: -> FLOCK  ADVISORY  WRITE 6 {where} 0 EOF"]
    (proc / "locks").write_text("\n".join([*rows, f"3: FLOCK  ADVISORY  WRITE 77 {where} 0 EOF", ""]))
    holder = DeviceLock(BDF, folder=tmp_path, proc=proc).holder()
    assert holder == LockHolder(str(lock.path), 77, "python3\x1b[1m")
    (proc / "locks").write_text(f"3: FLOCK  ADVISORY  WRITE 0 {where} 0 EOF\n")
    assert DeviceLock(BDF, folder=tmp_path, proc=proc).holder() == LockHolder(str(lock.path))


def test_lock_name_holder_says_what_is_known() -> None:
    assert name_holder(LockHolder("x", 5, "python3")) == "python3 (pid 5)"
    assert name_holder(LockHolder("x", 5)) == "a process (pid 5)"
    assert "does not name" in name_holder(LockHolder("x"))


def test_lock_that_is_a_symbolic_link_is_not_followed(lock: DeviceLock, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    lock.path.symlink_to(target)
    for ask in (lambda: lock.exclusive().__enter__(), lock.holder):
        with pytest.raises(NotPermitted, match="a symbolic link"):
            ask()
    assert not target.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_lock_that_is_no_file_is_refused(lock: DeviceLock, make: object) -> None:
    assert callable(make)
    make(lock.path)
    with pytest.raises(NotPermitted, match="a regular file"), lock.exclusive():
        pass


def test_lock_file_of_somebody_else_is_not_permitted(lock: DeviceLock, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(NotPermitted, match="Permission denied") as caught, lock.exclusive():
        pass
    assert caught.value.exit_code == 77 and caught.value.where == str(lock.path)


def test_lock_made_by_another_in_between_is_used(lock: DeviceLock, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open
    calls = []

    def racing(path: Path, flags: int, mode: int = 0o777) -> int:
        calls.append(flags & os.O_CREAT)
        if len(calls) == 2:
            os.close(real(path, os.O_CREAT | os.O_RDONLY, mode))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", racing)
    with lock.exclusive():
        pass
    assert calls == [0, os.O_CREAT, 0]


def test_lock_folder_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the folder for locks"), DeviceLock(BDF, folder=tmp_path / "no").exclusive():
        pass


def test_lock_of_a_busy_thread_is_refused_in_time(lock: DeviceLock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcibus.lock, "THREAD_WAIT_S", 0.05)
    taken, release = threading.Event(), threading.Event()

    def hog() -> None:
        with lock.exclusive():
            taken.set()
            release.wait(20)

    thread = threading.Thread(target=hog)
    thread.start()
    taken.wait(20)
    with pytest.raises(Refused, match="another thread"), lock.exclusive():
        pass
    release.set()
    thread.join(20)
