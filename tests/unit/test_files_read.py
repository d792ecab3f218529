"""Files named by a user: regular ones are read within a bound, everything else is refused with one clear error."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from base.errors import GpumendError, InvalidData, NotPermitted, Unavailable, UsageError
from base.files import explain, kind_word, read_bounded


def test_read_bounded_regular_file_gives_bytes(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(bytes(range(256)) * 20)
    assert read_bounded(path, 1 << 20) == path.read_bytes()


def test_read_bounded_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"x" * 100)
    assert len(read_bounded(path, 100)) == 100


def test_read_bounded_empty_file_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert read_bounded(path, 100) == b""


def test_read_bounded_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("real")
    assert read_bounded(tmp_path / "link", 100) == b"abc"


def test_read_bounded_one_byte_too_many_says_limit(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"x" * 101)
    with pytest.raises(InvalidData) as caught:
        read_bounded(path, 100)
    assert "at most 100 bytes" in str(caught.value)
    assert "101 bytes" in str(caught.value)


def test_read_bounded_size_that_stat_does_not_tell_is_still_limited() -> None:
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("no /proc on this machine")
    assert path.stat().st_size == 0
    assert b"Pid:" in read_bounded(path, 1 << 20)
    with pytest.raises(InvalidData, match="reading"):
        read_bounded(path, 10)


def test_read_bounded_sparse_huge_file_is_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InvalidData, match=str(1 << 40)):
        read_bounded(path, 1 << 20)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: path.mkdir(), "a directory"),
        (lambda path: os.mkfifo(path), "a FIFO (named pipe)"),
        (lambda path: path.symlink_to("/dev/zero"), "a character device"),
        (lambda path: path.symlink_to("/dev/null"), "a character device"),
    ],
    ids=["directory", "fifo", "zero", "null"],
)
def test_read_bounded_not_a_regular_file_is_named(tmp_path: Path, make, word: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(UsageError) as caught:
        read_bounded(path, 100)
    assert caught.value.exit_code == 64
    assert caught.value.seen == word
    assert caught.value.expected == "a regular file"


def test_read_bounded_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(UsageError, match="a socket"):
            read_bounded(path, 100)


def test_read_bounded_device_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object) -> int:
        raise AssertionError("a device was opened")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError):
        read_bounded(Path("/dev/null"), 100)


def test_read_bounded_swapped_for_a_fifo_after_the_check_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, trap = tmp_path / "good", tmp_path / "trap"
    good.write_bytes(b"x")
    os.mkfifo(trap)
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: real(trap, flags))
    with pytest.raises(UsageError, match="FIFO"):
        read_bounded(good, 100)


@pytest.mark.parametrize(
    ("code", "kind", "exit_code", "words"),
    [
        (errno.ENOENT, Unavailable, 69, "No such file"),
        (errno.ENOTDIR, Unavailable, 69, "Not a directory"),
        (errno.EACCES, NotPermitted, 77, "read permission on the file"),
        (errno.EPERM, NotPermitted, 77, "Operation not permitted"),
        (errno.ELOOP, UsageError, 64, "a path that leads to a file"),
        (errno.ENAMETOOLONG, UsageError, 64, "File name too long"),
        (errno.EIO, Unavailable, 69, "a readable file"),
    ],
)
def test_read_bounded_system_error_becomes_ours(
    code: int, kind: type[GpumendError], exit_code: int, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"x")

    def fail(*arguments: object) -> int:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(kind) as caught:
        read_bounded(path, 100)
    assert caught.value.exit_code == exit_code
    assert words in str(caught.value)
    assert str(path) in caught.value.where


def test_read_bounded_error_in_the_middle_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"x")

    def fail(*arguments: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(Unavailable, match="reading"):
        read_bounded(path, 100)


def test_read_bounded_missing_file_says_where(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        read_bounded(tmp_path / "nothing", 100)
    assert str(tmp_path / "nothing") in str(caught.value)
    assert "check the path" in str(caught.value)


def test_read_bounded_name_with_nul_is_a_wrong_argument() -> None:
    with pytest.raises(UsageError, match="a file name"):
        read_bounded(Path("a\0b"), 100)


def test_read_bounded_without_permission_is_77(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    path = tmp_path / "blob"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(NotPermitted):
        read_bounded(path, 100)


def test_kind_word_unknown_mode_is_not_regular() -> None:
    assert kind_word(0) == "not a regular file"
    assert kind_word(0o100644) == ""


def test_explain_error_without_number_keeps_its_text() -> None:
    assert "odd" in str(explain(OSError("odd"), Path("x"), "reading x"))
