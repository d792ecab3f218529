"""The file of a recording: never over another file, never in the way of what is recorded."""

from __future__ import annotations

import gzip
import os
import resource
import signal
from pathlib import Path

import pytest

import pcibus.tracesink as tracesink
from base.errors import NotPermitted, Refused, Unavailable, UsageError
from pcibus.tracesink import TraceSink, check_new


def test_sink_writes_text_as_it_comes(tmp_path: Path) -> None:
    sink = TraceSink(tmp_path / "a.jsonl")
    sink.write("one\n")
    sink.write("two\n")
    sink.finish()
    assert (tmp_path / "a.jsonl").read_bytes() == b"one\ntwo\n"


def test_sink_packs_by_name_and_the_same_text_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        sink = TraceSink(tmp_path / name)
        sink.write("one\n" * 1000)
        sink.finish()
    data = (tmp_path / "a.jsonl.gz").read_bytes()
    assert gzip.decompress(data) == b"one\n" * 1000
    assert data == (tmp_path / "b.jsonl.gz").read_bytes()


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_sink_never_touches_what_is_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "file":
        path.write_text("keep")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused) as caught:
        TraceSink(path)
    assert caught.value.seen == "there is one"
    assert not (tmp_path / "elsewhere").exists()


def test_sink_that_somebody_else_makes_first_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracesink, "check_new", lambda path: None)
    (tmp_path / "a").write_text("keep")
    with pytest.raises(Refused):
        TraceSink(tmp_path / "a")
    with pytest.raises(Unavailable):
        TraceSink(tmp_path / "no" / "a")
    assert (tmp_path / "a").read_text() == "keep"


def test_sink_without_its_folder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        check_new(tmp_path / "no" / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable):
        check_new(tmp_path / "file" / "a")
    with pytest.raises(UsageError):
        check_new(Path("a\0b"))


def test_sink_in_a_folder_that_may_not_be_written_is_not_permitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, whom nothing stops
    with pytest.raises(NotPermitted):
        check_new(tmp_path / "a")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_sink_on_a_full_disk_goes_on_and_tells_at_the_end(tmp_path: Path, name: str) -> None:
    """A limit on file sizes stands for the full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    quiet = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sink = TraceSink(tmp_path / name)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, before[1]))
    try:
        for number in range(20_000):
            sink.write(f"{number * 0x9E3779B97F4A7C15 % (1 << 64):x}\n")
        with pytest.raises(Unavailable) as caught:
            sink.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, quiet)
    assert caught.value.seen == "File too large"
    assert caught.value.doing == f"writing the trace {tmp_path / name}"
    assert (tmp_path / name).stat().st_size == 16384
