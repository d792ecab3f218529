"""Reading traces from files: both formats, plain and packed; what is damaged, endless or no trace at all."""

from __future__ import annotations

import gzip
import json
import os
import stat
import time
from io import StringIO
from pathlib import Path

import pytest

import pcibus.tracefile as tracefile
from base.errors import GpumendError, InvalidData, Unavailable, UsageError
from pcibus.replay import Replay
from pcibus.trace import Trace
from pcibus.tracefile import Touch, TraceFile
from tests.unit.discovery_fake import FakeGpu
from tests.unit.trace_lines import C2PMSG_35, doorbell, read, saved, write

LINES = (read(C2PMSG_35, 0x80000000, 2, "MP00.MP0_SMN_C2PMSG_35"), write(0x38, 0x1011D030), doorbell(0x48, 0x100))


def touches(path: Path) -> list[Touch]:
    return list(TraceFile(path))


def recorded(tmp_path: Path, name: str = "own.jsonl") -> Path:
    sink = StringIO()
    gpu = FakeGpu(bar0=4096)
    trace = Trace(gpu, sink, block_limit_bytes=64)
    trace.mark("first step")
    trace.write32(5, 0x38, 0x123)
    trace.read32(5, 0x38)
    trace.read_block(0, 0, 64)
    trace.read_block(0, 0, 128)
    with trace.exclusive():
        pass
    path = tmp_path / name
    path.write_text(sink.getvalue())
    return path


def test_trace_file_register_lines_tell_direction_bar_value_times_and_name(tmp_path: Path) -> None:
    first, second, third = touches(saved(tmp_path, "a.trace", *LINES))
    assert first == Touch(1, "read", "bar", 5, C2PMSG_35, 4, 0x80000000, None, 2, "MP00.MP0_SMN_C2PMSG_35")
    assert second == Touch(2, "write", "bar", 5, 0x38, 4, 0x1011D030)
    assert (third.kind, third.bar, third.offset, third.value) == ("write", 2, 0x48, 0x100)


def test_trace_file_packed_gives_the_same_as_plain(tmp_path: Path) -> None:
    assert touches(saved(tmp_path, "a.gz", *LINES)) == touches(saved(tmp_path, "a.trace", *LINES))


def test_trace_file_of_ours_gives_accesses_blocks_and_marks(tmp_path: Path) -> None:
    trace = TraceFile(recorded(tmp_path))
    assert trace.is_ours
    assert trace.info is not None
    assert trace.info.device == 0x74A1
    assert trace.bars[0].size == 4096
    mark, first, second, small, big = trace
    assert (mark.kind, mark.name) == ("mark", "first step")
    assert (first.kind, first.offset, first.value) == ("write", 0x38, 0x123)
    assert (second.kind, second.value) == ("read", 0x123)
    assert small.data == bytes(64)
    assert (big.size, big.data) == (128, None)  # over the recorder's limit: its checksum only
    assert trace.damage == []


def test_trace_file_mark_is_passed_over_by_a_replay(tmp_path: Path) -> None:
    replay = Replay(recorded(tmp_path))
    replay.write32(5, 0x38, 0x123)
    assert replay.read32(5, 0x38) == 0x123


def test_trace_after_stop_records_nothing_more() -> None:
    sink = StringIO()
    trace = Trace(FakeGpu(), sink)
    trace.write32(5, 0x38, 1)
    trace.stop()
    trace.write32(5, 0x38, 2)
    assert trace.read32(5, 0x38) == 2
    assert [json.loads(line).get("value") for line in sink.getvalue().splitlines()] == [None, 1]


def test_trace_file_failed_access_says_so(tmp_path: Path) -> None:
    head = recorded(tmp_path).read_text().splitlines()[0]
    row = '{"t":0,"op":"read32","bar":5,"offset":56,"error":{"kind":"DeviceLost","doing":"x"}}'
    (touch,) = touches(saved(tmp_path, "b.jsonl", head, row))
    assert (touch.failed, touch.value) == ("DeviceLost", None)


def test_trace_file_cut_off_by_its_recorder_says_so(tmp_path: Path) -> None:
    head = recorded(tmp_path).read_text().splitlines()[0]
    trace = TraceFile(saved(tmp_path, "b.jsonl", head, '{"op":"truncated"}'))
    assert list(trace) == []
    assert trace.cut


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("X 0x0 0x0", "not `R|W|D offset value [xN] ; name`"),
        ("W 0x38 0x1ffffffff", "a register has 32 bits"),
        ("W 0x38 56", "not `R|W|D offset value [xN] ; name`"),
        ("W 0x38 0x1 x0", "not `R|W|D offset value [xN] ; name`"),
        ("W 0x38 0x1 ; \x1b[31m", "not `R|W|D offset value [xN] ; name`"),
        ("", "an empty line"),
    ],
)
def test_trace_file_damaged_register_line_is_named_and_passed_over(tmp_path: Path, line: str, why: str) -> None:
    trace = TraceFile(saved(tmp_path, "a.trace", LINES[0], line, LINES[1]))
    assert [touch.line for touch in trace] == [1, 3]
    assert [(item.line, item.why) for item in trace.damage] == [(2, why)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "no JSON: Expecting property name enclosed in double quotes"),
        ('{"t":0}', "no 'op'"),
        ('{"op":"jump"}', "no access is called 'jump'"),
        ('{"op":"write32","bar":5,"offset":-4,"value":0}', "-4 is not an unsigned 64-bit number"),
        ('{"op":"read_block","bar":0,"offset":0,"data":"zz"}', "Non-hexadecimal digit found"),
        ('{"op":"mark","text":7}', "7 is not text"),
        ("[" * 100_000, "maximum recursion depth exceeded"),
    ],
    ids=["no json", "no op", "unknown op", "negative", "no hex", "no text", "deep"],
)
def test_trace_file_damaged_recorded_line_is_named_and_passed_over(tmp_path: Path, line: str, why: str) -> None:
    head, *_, last = recorded(tmp_path).read_text().splitlines()
    trace = TraceFile(saved(tmp_path, "b.jsonl", head, line, last))
    list(trace)
    assert [item.line for item in trace.damage] == [2]
    assert trace.damage[0].why.startswith(why)


def test_trace_file_cut_in_the_middle_of_a_line_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.trace", *LINES)
    path.write_bytes(path.read_bytes()[:-40])
    trace = TraceFile(path)
    assert len(list(trace)) == 2
    assert [(item.line, item.why) for item in trace.damage] == [
        (3, "the line ends in the middle: the trace was cut off")
    ]


def test_trace_file_cut_gzip_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    lines = [write(0x38, number * 0x9E3779B1 & 0xFFFFFFFF) for number in range(5000)]
    whole = gzip.compress("\n".join(lines).encode())
    path.write_bytes(whole[: len(whole) // 2])
    trace = TraceFile(path)
    got = [touch.value for touch in trace]
    assert 500 < len(got) < 5000
    assert got == [number * 0x9E3779B1 & 0xFFFFFFFF for number in range(len(got))]
    assert [item.why for item in trace.damage] == ["the gzip stream ends in the middle: the trace was cut off"]
    assert trace.damage[0].line == len(got) + 1


def test_trace_file_gzip_with_a_wrong_checksum_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.gz", *LINES)
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(data)
    trace = TraceFile(path)
    list(trace)
    assert [item.why.startswith("the gzip stream is damaged") for item in trace.damage] == [True]


def test_trace_file_gzip_damaged_at_its_start_is_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(b"\x1f\x8b\x08" + bytes(range(64)))
    with pytest.raises(InvalidData) as caught:
        TraceFile(path)
    assert "gzip stream" in caught.value.seen


def test_trace_file_bomb_of_one_line_stops_at_the_line_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(64 << 20), 1))
    started = time.monotonic()
    with pytest.raises(InvalidData) as caught:
        TraceFile(path)
    assert caught.value.expected == f"lines of at most {4 << 20} bytes"
    assert time.monotonic() - started < 5


def test_trace_file_bomb_of_many_bytes_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracefile, "MAX_TRACE_BYTES", 100_000)
    path = saved(tmp_path, "bomb.gz", *[LINES[0]] * 10_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(InvalidData) as caught:
        touches(path)
    assert caught.value.expected == "at most 100000 bytes, unpacked"


def test_trace_file_of_too_many_lines_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracefile, "MAX_LINES", 10)
    assert len(touches(saved(tmp_path, "ok", *[LINES[0]] * 10))) == 10
    with pytest.raises(InvalidData) as caught:
        touches(saved(tmp_path, "more", *[LINES[0]] * 11))
    assert caught.value.expected == "at most 10 lines"


def test_trace_file_mostly_of_other_lines_is_refused_naming_the_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidData) as caught:
        touches(saved(tmp_path, "a", LINES[0], *["nonsense"] * 101))
    assert caught.value.expected == "at most 100 lines that cannot be read"
    assert "line 2" in caught.value.seen
    assert len(touches(saved(tmp_path, "b", LINES[0], *["nonsense"] * 100))) == 1


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"", "an empty file"),
        (b"\n\n", "an empty file"),
        (bytes(range(256)) * 8, "a line that starts with"),
        (b"hello\n", "a line that starts with b'hello"),
        (b'{"op":"read32"}\n', 'a first line that is none: "gpumend-trace" is None'),
        (b'{"gpumend-trace":1}\n', "a first line that is none: no 'info'"),
        (b'{"gpumend-trace":1,"info":[],"bars":[]}\n', "a first line that is none: "),
        (b"{}", "a first line that is none"),
        (b"{" * 100_000, "a first line that is none"),
    ],
    ids=["empty", "blank", "bytes", "text", "no head", "no info", "info a list", "nothing in it", "deep"],
)
def test_trace_file_that_is_none_is_refused(tmp_path: Path, data: bytes, seen: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(InvalidData) as caught:
        TraceFile(path)
    assert caught.value.seen.startswith(seen)
    assert caught.value.doing == f"reading the trace {path}"


def test_trace_file_random_bytes_never_do_more_than_refuse(tmp_path: Path) -> None:
    path = tmp_path / "x"
    refused = 0
    for seed in range(50):
        head = (b"", b"\x1f\x8b\x08\x00", b"R 0x0 0x0\n", b"{")[seed % 4]
        path.write_bytes(head + os.urandom(300))
        try:
            assert len(touches(path)) <= 1
        except GpumendError:
            refused += 1
    assert refused >= 30


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "absent"])
def test_trace_file_of_another_kind_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
        assert stat.S_ISCHR(path.stat().st_mode)
    with pytest.raises(Unavailable if kind == "absent" else UsageError):
        TraceFile(path)
