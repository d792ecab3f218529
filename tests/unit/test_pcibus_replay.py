"""pcibus/trace.py and replay.py: what was recorded is what comes back, and anything else is shown from both sides."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pcibus.replay
from base.clock import VirtualClock
from base.errors import GpumendError, InvalidData, NotPermitted, Refused, Unavailable, UsageError
from pcibus.config import decode
from pcibus.replay import Replay, ReplayMismatch
from pcibus.sysfs import SysfsTransport
from pcibus.trace import Trace
from pcibus.tracefile import TraceFile
from pcibus.transport import Can, DmaBuffer, LockHolder, Transport
from tests.fakesys import IO_PORTS, FakeBar, FakeSys, config_space, words

BDF = "0000:c1:00.0"


class Memory:
    def __init__(self) -> None:
        self.size, self.page_size = 8192, 4096
        self.bus_addr: tuple[int, ...] = (0x10000, 0x22000)
        self.data = bytearray(8192)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data

    def close(self) -> None:
        pass


class WithDma(SysfsTransport):
    def alloc_dma(self, size: int) -> DmaBuffer:
        return Memory()

    def holder(self) -> LockHolder | None:
        return LockHolder("/tmp/am.lock", 5, "python3")


@pytest.fixture
def gpu(tmp_path: Path) -> WithDma:
    fake = FakeSys(tmp_path)
    bars = {5: FakeBar(0x1000, 8192, content=words(*range(100, 140))), 4: FakeBar(0x100, 16, IO_PORTS)}
    fake.add_device(BDF, config=config_space(), bars=bars)
    return WithDma(BDF, root=fake.root, lock_dir=fake.locks)


def everything(t: Transport) -> list[object]:
    """One of each access, with what came of it."""
    with t.exclusive():
        t.write32(5, 4, 7)
        t.write64(5, 8, 1 << 40)
    answers: list[object] = [t.read32(5, 4), t.read64(5, 8), t.read_block(5, 0, 64), t.config_read(0, 4)]
    t.config_write(4, 2, 0x402)
    t.write_block(5, 16, bytes(range(8)))
    try:
        t.read32(0, 0)
    except Unavailable as error:
        answers.append(str(error))
    memory = t.alloc_dma(8192)
    memory.write(4, b"abcd")
    answers += [memory.read(0, 8), memory.bus_addr, memory.size, memory.page_size, t.holder()]
    memory.close()
    return [*answers, t.info(), dict(t.bars()), t.config_size(), decode(t)]


def record(gpu: Transport, path: Path, work: Callable[[Transport], Any] = everything, **options: Any) -> Any:
    with path.open("w") as sink:
        return work(Trace(gpu, sink, VirtualClock(), **options))


def edited(path: Path, edit: Callable[[list[dict[str, Any]]], object]) -> Path:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    edit(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_replay_answers_as_the_device_did(gpu: WithDma, tmp_path: Path) -> None:
    path = tmp_path / "one.trace"
    told = record(gpu, path)
    replay = Replay(path)
    assert isinstance(replay, Transport)
    assert everything(replay) == told
    assert replay.name == f"replay:{path}" and replay.recorded_name == BDF
    assert replay.can == gpu.can & ~Can.HOST
    with pytest.raises(ReplayMismatch, match="the end of the recording"):
        replay.read32(5, 0)
    replay.close()


def test_trace_is_one_json_object_a_line_with_times(gpu: WithDma) -> None:
    sink, clock = io.StringIO(), VirtualClock(50.0)
    trace = Trace(gpu, sink, clock)
    trace.read32(5, 0)
    clock.sleep(1.5)
    trace.write32(5, 0, 9)
    head, first, second = map(json.loads, sink.getvalue().splitlines())
    assert (head["gpumend-trace"], head["name"], head["info"]["device"]) == (1, BDF, 0x74A1)
    assert first == {"t": 0.0, "op": "read32", "bar": 5, "offset": 0, "value": 100}
    assert second == {"t": 1.5, "op": "write32", "bar": 5, "offset": 0, "value": 9}
    trace.close()


def test_trace_lock_is_given_back_and_recorded_after_an_error(gpu: WithDma, tmp_path: Path) -> None:
    def work(t: Transport) -> None:
        with pytest.raises(KeyError), t.exclusive():
            raise KeyError
        with t.exclusive():
            pass

    path = tmp_path / "lock.trace"
    record(gpu, path, work)
    assert [json.loads(line).get("op") for line in path.read_text().splitlines()] == [None, *["lock", "unlock"] * 2]
    work(Replay(path))


def test_trace_foreign_exception_is_recorded_as_text(gpu: WithDma) -> None:
    sink = io.StringIO()
    with pytest.raises(ValueError, match="not aligned"):
        Trace(gpu, sink).read32(5, 2)
    assert json.loads(sink.getvalue().splitlines()[1])["error"]["doing"].startswith("ValueError: BAR5+0x2")


def test_trace_stops_at_its_limit_and_says_so(gpu: WithDma, tmp_path: Path) -> None:
    def work(t: Transport) -> list[int]:
        return [t.read32(5, 0) for _ in range(100)]

    path = tmp_path / "cut.trace"
    assert record(gpu, path, work, max_bytes=2000) == [100] * 100
    assert path.stat().st_size < 2100 and path.read_text().endswith('{"op":"truncated"}\n')
    with pytest.raises(ReplayMismatch, match="cut off at its size limit"):
        work(Replay(path))


def test_trace_big_blocks_are_hashed_and_still_compared(gpu: WithDma, tmp_path: Path) -> None:
    path = tmp_path / "hash.trace"
    record(gpu, path, lambda t: t.write_block(5, 0, bytes(64)), block_limit_bytes=16)
    Replay(path).write_block(5, 0, bytes(64))
    with pytest.raises(ReplayMismatch):
        Replay(path).write_block(5, 0, b"\1" * 64)
    record(gpu, path, lambda t: t.read_block(5, 0, 64), block_limit_bytes=16)
    with pytest.raises(ReplayMismatch, match="only their SHA-256"):
        Replay(path).read_block(5, 0, 64)


@pytest.mark.parametrize(
    ("ask", "ours"),
    [
        (lambda t: t.read32(5, 8), "read32(bar=0x5, offset=0x8) (asked)"),
        (lambda t: t.read64(5, 4), "read64(bar=0x5, offset=0x4) (asked)"),
        (lambda t: t.write32(5, 4, 1), "write32(bar=0x5, offset=0x4, value=0x1) (asked)"),
        (lambda t: t.write_block(5, 4, bytes(64)), f"write_block(bar=0x5, offset=0x4, data={'0' * 40}...) (asked)"),
        (lambda t: t.exclusive().__enter__(), "lock() (asked)"),
    ],
)
def test_replay_mismatch_shows_both_sides(
    gpu: WithDma, tmp_path: Path, ask: Callable[[Transport], object], ours: str
) -> None:
    path = tmp_path / "x.trace"
    record(gpu, path, lambda t: (t.read32(5, 0), t.read32(5, 4)))
    replay = Replay(path)
    assert replay.read32(5, 0) == 100
    with pytest.raises(ReplayMismatch) as caught:
        ask(replay)
    assert caught.value.expected == "read32(bar=0x5, offset=0x4, value=0x65) (recorded)"
    assert caught.value.seen == ours
    assert caught.value.where == f"{path}:3"
    assert replay.read32(5, 4) == 101  # a mismatch consumes nothing


def test_replay_write_of_another_value_is_a_mismatch(gpu: WithDma, tmp_path: Path) -> None:
    path = tmp_path / "x.trace"
    record(gpu, path, lambda t: t.write32(5, 0, 5))
    with pytest.raises(ReplayMismatch, match=r"value=0x5\) \(recorded"):
        Replay(path).write32(5, 0, 6)


def test_replay_recorded_error_is_raised_in_kind(gpu: WithDma, tmp_path: Path) -> None:
    path = tmp_path / "x.trace"

    def work(t: Transport) -> None:
        with pytest.raises(Unavailable):
            t.read32(0, 0)

    record(gpu, path, work)
    with pytest.raises(Unavailable) as caught:
        Replay(path).read32(0, 0)
    assert caught.value.seen == "BARs 4, 5"
    edited(path, lambda rows: rows[1]["error"].update(kind="Refused", verb="refused"))
    with pytest.raises(Refused, match="refused"):
        Replay(path).read32(0, 0)
    edited(path, lambda rows: rows[1]["error"].update(kind="NoSuchKind"))
    with pytest.raises(GpumendError) as plain:
        Replay(path).read32(0, 0)
    assert type(plain.value) is GpumendError
    edited(path, lambda rows: rows[1].update(error={"kind": 5}))
    with pytest.raises(InvalidData, match="an error"):
        Replay(path).read32(0, 0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"value": "x"}, "a value"),
        ({"value": -1}, "a value"),
        ({"value": True}, "a value"),
        ({"value": 1 << 64}, "a value"),
    ],
)
def test_replay_spoilt_value_is_invalid_data(
    gpu: WithDma, tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    path = tmp_path / "x.trace"
    record(gpu, path, lambda t: t.read32(5, 0))
    edited(path, lambda rows: rows[1].update(change))
    with pytest.raises(InvalidData) as caught:
        Replay(path).read32(5, 0)
    assert caught.value.expected == expected and caught.value.where == f"{path}:2"


@pytest.mark.parametrize(("data", "expected"), [("zz", "data in hex"), (5, "data in hex"), ("00", "8 bytes")])
def test_replay_spoilt_data_is_invalid_data(gpu: WithDma, tmp_path: Path, data: object, expected: str) -> None:
    path = tmp_path / "x.trace"
    record(gpu, path, lambda t: t.read_block(5, 0, 8))
    edited(path, lambda rows: rows[1].update(data=data))
    with pytest.raises(InvalidData) as caught:
        Replay(path).read_block(5, 0, 8)
    assert caught.value.expected == expected


def test_replay_spoilt_holder_and_buffer_are_invalid_data(gpu: WithDma, tmp_path: Path) -> None:
    path = tmp_path / "x.trace"
    record(gpu, path, lambda t: (t.holder(), t.alloc_dma(8192)))
    edited(path, lambda rows: (rows[1].update(value={"pid": 5}), rows[2].update(bus_addr=[-1])))
    replay = Replay(path)
    with pytest.raises(InvalidData, match="a lock holder"):
        replay.holder()
    with pytest.raises(InvalidData, match="a DMA buffer"):
        replay.alloc_dma(8192)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "an empty file"),
        (b"\x28\x21\x14\x07 binary \xff\xfe", "UnicodeDecodeError"),
        (b"not json\n", "JSONDecodeError"),
        (b"[1, 2]\n", "list"),
        (b"{}\n", "another kind of file"),
        (b'{"gpumend-trace": 2}\n', "2"),
        (b'{"gpumend-trace": 1}\n', "KeyError"),
        (b'{"gpumend-trace": 1, "info": 5, "bars": [], "config_size": 64, "can": 0, "name": "x"}\n', "AttributeError"),
        (b"[" * 200_000, "RecursionError"),
        (b'{"gpumend-trace": 1' + b"0" * 5000 + b"}", "ValueError"),
    ],
)
def test_replay_file_that_is_no_recording_is_invalid_data(tmp_path: Path, content: bytes, seen: str) -> None:
    path = tmp_path / "x.trace"
    path.write_bytes(content)
    with pytest.raises(InvalidData) as caught:
        Replay(path)
    assert seen in caught.value.seen and caught.value.where == f"{path}:1"


def test_replay_garbage_in_the_middle_names_the_line(gpu: WithDma, tmp_path: Path) -> None:
    path = tmp_path / "x.trace"
    record(gpu, path, lambda t: t.read32(5, 0))
    path.write_bytes(path.read_bytes() + b"\x00\x01\n")
    replay = Replay(path)
    replay.read32(5, 0)
    with pytest.raises(InvalidData) as caught:
        replay.read32(5, 0)
    assert caught.value.where == f"{path}:3"


def test_replay_limits_line_and_file(gpu: WithDma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.trace"
    record(gpu, path)
    monkeypatch.setattr(pcibus.replay, "MAX_LINE_BYTES", 100)
    with pytest.raises(InvalidData, match="a longer one"):
        Replay(path)
    monkeypatch.setattr(pcibus.replay, "MAX_TRACE_BYTES", 100)
    with pytest.raises(InvalidData, match="at most 100 bytes"):
        Replay(path)


def test_replay_of_what_is_no_file_is_said_without_hanging(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(UsageError, match="a regular file"):
            Replay(path)
    with pytest.raises(Unavailable):
        Replay(tmp_path / "missing")
    with pytest.raises(UsageError, match="a file name"):
        Replay(tmp_path / "nul\0byte")


def test_replay_of_an_unreadable_file_is_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.trace"
    path.write_text("{}")

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(NotPermitted):
        Replay(path)


def test_trace_of_a_sleeping_device_records_the_refusal(tmp_path: Path) -> None:
    fake = FakeSys(tmp_path)
    fake.add_device(BDF, power_state="D3cold")
    path = tmp_path / "x.trace"

    def work(t: Transport) -> str:
        with pytest.raises(GpumendError) as caught:
            t.config_read(0, 4)
        return str(caught.value)

    told = record(SysfsTransport(BDF, root=fake.root), path, work)
    replay = Replay(path)
    assert work(replay) == told and "D3cold" in told
    assert replay.info().power_state == "D3cold" and replay.config_size() == 0


def test_trace_keeps_a_reset_and_replay_gives_it_back(
    gpu: WithDma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gpu, "reset", asked.append, raising=False)
    path = tmp_path / "trace.jsonl"
    with path.open("w") as sink:
        trace = Trace(gpu, sink, VirtualClock())
        assert Can.RESET in trace.can
        trace.reset("bus")
    assert asked == ["bus"]
    assert [touch.name for touch in TraceFile(path)] == ["reset by bus"]
    replay = Replay(path)
    with pytest.raises(ReplayMismatch, match="bus"):
        replay.reset("flr")
    Replay(path).reset("bus")
