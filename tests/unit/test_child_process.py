"""base/child.py: answers, errors, limits, deaths. These fork, so real time is spent: limits are kept small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

import base.child
from base.child import (
    ChildDied,
    ChildTimeout,
    describe_process,
    own_pids,
    run_in_child,
    run_many_in_children,
    stuck_children,
)
from base.errors import NotPermitted

FOREVER_S = 60.0


def test_child_value_comes_back_and_memory_does_not() -> None:
    seen: list[int] = []

    def work() -> dict[str, int]:
        seen.append(1)
        return {"pid": os.getpid()}

    answer = run_in_child(work, 10).unwrap()
    assert answer["pid"] != os.getpid()
    assert seen == []


def test_child_big_answer_comes_back_whole() -> None:
    assert run_in_child(lambda: b"ab" * 3_000_000, 20).unwrap() == b"ab" * 3_000_000


def test_child_own_error_comes_back_as_it_was() -> None:
    def work() -> None:
        raise NotPermitted("reading config", expected="root", where="config")

    error = run_in_child(work, 10).error
    assert isinstance(error, NotPermitted)
    assert (error.doing, error.expected, error.where) == ("reading config", "root", "config")


def test_child_error_that_cannot_be_pickled_comes_back_as_text() -> None:
    class Local(Exception):
        pass

    def work() -> None:
        raise Local("the reason")

    error = run_in_child(work, 10, doing="asking").error
    assert isinstance(error, ChildDied)
    assert error.seen == "Local: the reason"


def test_child_answer_that_cannot_be_pickled_is_said() -> None:
    error = run_in_child(lambda: threading.Lock(), 10, doing="asking").error
    assert isinstance(error, ChildDied)
    assert "an answer that can be sent" in error.expected and "lock" in error.seen


def test_child_answer_over_the_limit_is_refused() -> None:
    error = run_in_child(lambda: b"x" * 5000, 10, doing="asking", max_result_bytes=1000).error
    assert isinstance(error, ChildDied)
    assert error.expected == "an answer of at most 1000 bytes"
    assert error.seen.endswith("bytes") and int(error.seen.split()[0]) > 5000


def test_child_claiming_a_huge_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Liar(bytes):
        def __len__(self) -> int:
            return 1 << 40

    monkeypatch.setattr(base.child, "_answer", lambda work, child: Liar(b"x" * 64))
    start = time.monotonic()
    error = run_in_child(lambda: 0, 10, doing="asking").error
    assert isinstance(error, ChildDied)
    assert error.seen == f"{1 << 40} bytes"
    assert time.monotonic() - start < 9


def test_child_over_its_limit_is_killed_and_named() -> None:
    start = time.monotonic()
    error = run_in_child(
        lambda: time.sleep(FOREVER_S), 0.1, doing="asking GPU 3", where="0000:c1:00.0", next_step="wait"
    ).error
    assert time.monotonic() - start < 10
    assert isinstance(error, ChildTimeout)
    assert not error.stuck and error.pid > 0
    assert str(error) == (
        "asking GPU 3 failed\n  expected  done within 0.1 s\n"
        f"  seen      no answer; process {error.pid} was killed\n  where     0000:c1:00.0\n  next      wait"
    )
    with pytest.raises(ProcessLookupError):
        os.kill(error.pid, 0)


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGSEGV, signal.SIGKILL])
def test_child_ended_by_a_signal_is_said(number: signal.Signals) -> None:
    def work() -> None:
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)

    error = run_in_child(work, 10, doing="mapping").error
    assert isinstance(error, ChildDied)
    assert error.signal_name == number.name
    assert error.seen == f"process {error.pid} was ended by {number.name}"


def test_child_touching_a_truncated_mapping_dies_of_sigbus(tmp_path: Path) -> None:
    import mmap

    file = tmp_path / "resource5"
    file.write_bytes(bytes(8192))

    def work() -> int:
        with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 8192) as mapped:
            handle.truncate(0)
            return mapped[4096]

    error = run_in_child(work, 10).error
    assert isinstance(error, ChildDied) and error.signal_name == "SIGBUS"


def test_child_leaving_without_an_answer_is_said() -> None:
    error = run_in_child(lambda: os._exit(3), 10, doing="asking").error
    assert isinstance(error, ChildDied)
    assert error.seen == f"process {error.pid} ended with exit status 3 and no answer"


def test_child_many_run_side_by_side_and_keep_their_order() -> None:
    def work(number: int) -> int:
        if number == 2:
            time.sleep(FOREVER_S)
        if number == 3:
            raise ValueError("three")
        time.sleep(0.2)
        return number

    start = time.monotonic()
    outcomes = run_many_in_children([partial(work, n) for n in range(6)], 4.0, doing=["a", "b", "c"], where=["x"])
    assert time.monotonic() - start < 20
    assert [outcome.value for outcome in outcomes] == [0, 1, None, None, 4, 5]
    assert isinstance(outcomes[2].error, ChildTimeout) and outcomes[2].error.doing == "c"
    assert isinstance(outcomes[3].error, ValueError)


def test_child_many_of_nothing_is_nothing() -> None:
    assert run_many_in_children([], 1.0) == []


def test_child_from_threads_side_by_side_all_answer() -> None:
    answers: list[int] = []

    def thread(number: int) -> None:
        answers.append(run_in_child(lambda: number * number, 20).unwrap())

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(6)]
    for item in threads:
        item.start()
    for item in threads:
        item.join(30)
    assert sorted(answers) == [0, 1, 4, 9, 16, 25]


def test_child_that_cannot_be_killed_is_left_counted_and_reaped_later(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(base.child, "_kill", killed.append)  # a process in D state takes no signal: so does this one
    monkeypatch.setattr(base.child, "GRACE_S", 0.05)
    error = run_in_child(lambda: time.sleep(FOREVER_S), 0.05, doing="unbinding 0000:c1:00.0").error
    assert isinstance(error, ChildTimeout) and error.stuck
    assert error.pid in killed
    assert f"process {error.pid} cannot be killed and is left behind: " in error.seen
    (stuck,) = stuck_children()
    assert (stuck.pid, stuck.doing) == (error.pid, "unbinding 0000:c1:00.0")
    assert stuck.since_s >= 0 and stuck.state
    os.kill(error.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while stuck_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stuck_children() == []


def test_child_answer_of_a_child_that_does_not_leave_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def lingering(code: int) -> None:
        time.sleep(FOREVER_S)

    monkeypatch.setattr(os, "_exit", lingering)
    start = time.monotonic()
    assert run_in_child(lambda: 5, 10).unwrap() == 5
    assert time.monotonic() - start < 9
    deadline = time.monotonic() + 10  # where the machine is busy, the end of a killed process takes its time
    while stuck_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stuck_children() == []


def test_child_of_a_child_works() -> None:
    assert run_in_child(lambda: run_in_child(lambda: 7, 10).unwrap() + 1, 20).unwrap() == 8


def test_child_own_pids_are_this_process_and_those_it_came_from() -> None:
    assert own_pids() == {os.getpid()}
    here = os.getpid()
    pid, own, inner = run_in_child(lambda: (os.getpid(), own_pids(), run_in_child(own_pids, 10).unwrap()), 20).unwrap()
    assert own == {here, pid}
    assert own < inner and len(inner) == 3


def test_child_describe_process_reads_where_it_sits(tmp_path: Path) -> None:
    folder = tmp_path / "77"
    folder.mkdir()
    (folder / "stat").write_text("77 (a (strange) name) D 1 2 3")
    (folder / "wchan").write_text("pci_wait_cfg")
    (folder / "stack").write_text("[<0>] pci_wait_cfg+0x70/0xd0\n[<0>] pci_user_read_config_dword+0x8a/0x100\n")
    told = describe_process(77, tmp_path)
    assert told == "in uninterruptible sleep, in pci_wait_cfg; stack: pci_wait_cfg < pci_user_read_config_dword"
    (folder / "stack").unlink()
    (folder / "wchan").write_text("0")
    assert describe_process(77, tmp_path) == "in uninterruptible sleep"
    assert describe_process(78, tmp_path) == "gone"


INTERRUPTED = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from base.child import run_many_in_children
def work():
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(60)
def last():  # forked after the other: its parent only waits now
    time.sleep(0.3)
    os.kill(os.getppid(), signal.SIGINT)
    work()
try:
    run_many_in_children([work, last], 50)
except KeyboardInterrupt:
    os.write(1, b"interrupted\\n")
"""


def test_child_interrupt_ends_the_children_and_goes_on_to_the_caller() -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, root], capture_output=True, text=True, timeout=55, check=False
    )
    lines = done.stdout.split()
    assert len(lines) > 1 and lines[-1] == "interrupted", done.stderr
    for pid in map(int, lines[:-1]):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
