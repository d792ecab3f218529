"""lab/agent.py, run here instead of in a guest: requests, exit codes, limits."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.agent import Agent


class Port:
    """The outside's end of the port."""

    def __init__(self) -> None:
        there, self._requests = os.pipe()
        self._answers, back = os.pipe()
        agent = Agent(os.fdopen(there, "rb"), os.fdopen(back, "wb"))
        self.requests = os.fdopen(self._requests, "wb")
        self.answers = os.fdopen(self._answers, "rb")
        self.agent = agent
        self.thread = threading.Thread(target=agent.serve)
        self.thread.start()
        assert self.answer()["up"] > 0

    def send(self, **request: Any) -> None:
        self.requests.write(json.dumps(request).encode() + b"\n")
        self.requests.flush()

    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.answers.readline())
        return answer

    def run(self, *command: str, limit_s: float = 20.0, **more: Any) -> tuple[dict[str, Any], bytes, bytes]:
        """The last answer, and what came on both streams."""
        self.send(run=list(command), limit_s=limit_s, **more)
        said = {1: b"", 2: b""}
        while True:
            answer = self.answer()
            if "stream" not in answer:
                return answer, said[1], said[2]
            said[answer["stream"]] += base64.b64decode(answer["data"])

    def close(self) -> None:
        self.requests.close()
        self.thread.join(10)
        for stream in (self.answers, self.agent.requests, self.agent.answers):
            stream.close()


@pytest.fixture
def port() -> Iterator[Port]:
    opened = Port()
    yield opened
    opened.close()


def test_agent_run_keeps_streams_apart_and_passes_the_exit_code_on(port: Port) -> None:
    assert port.run("sh", "-c", "echo out; echo err >&2; exit 7") == ({"exit": 7}, b"out\n", b"err\n")


def test_agent_run_gives_the_environment_of_the_request(port: Port) -> None:
    assert port.run("sh", "-c", "echo $WORD", env={"WORD": "lab"})[1] == b"lab\n"


def test_agent_run_of_output_larger_than_a_pipe_loses_nothing(port: Port) -> None:
    answer, out, _ = port.run(sys.executable, "-c", "import sys; sys.stdout.write('0123456789' * 100_000)")
    assert answer == {"exit": 0}
    assert out == b"0123456789" * 100_000


def test_agent_run_of_a_command_that_is_not_there_ends_with_127(port: Port) -> None:
    answer, _, err = port.run("no-such-command")
    assert (answer, err) == ({"exit": 127}, b"no-such-command: No such file or directory\n")


def test_agent_run_of_a_file_that_is_no_program_ends_with_126(port: Port, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert port.run(str(tmp_path / "data"))[0] == {"exit": 126}


def test_agent_run_killed_by_a_signal_ends_as_in_a_shell(port: Port) -> None:
    assert port.run("sh", "-c", "kill -TERM $$")[0] == {"exit": 143}


def test_agent_run_past_its_limit_is_killed_and_says_so(port: Port) -> None:
    answer, out, _ = port.run("sh", "-c", "echo begun; sleep 60", limit_s=0.3)
    assert (answer, out) == ({"exit": 124, "timed_out": True}, b"begun\n")


def test_agent_run_does_not_wait_for_what_a_command_left_running(port: Port) -> None:
    answer, out, _ = port.run("sh", "-c", "sleep 5 & echo $!", limit_s=4)
    os.kill(int(out), 9)
    assert answer == {"exit": 0}


def test_agent_write_and_read_a_file_with_its_folders(port: Port, tmp_path: Path) -> None:
    path = tmp_path / "a/b/file"
    port.send(write=str(path), data=base64.b64encode(b"\0\xff").decode(), mode=0o700)
    assert port.answer() == {"done": True}
    assert path.stat().st_mode & 0o777 == 0o700
    port.send(read=str(path))
    assert base64.b64decode(port.answer()["data"]) == b"\0\xff"


def test_agent_read_of_a_missing_file_answers_with_the_error(port: Port, tmp_path: Path) -> None:
    port.send(read=str(tmp_path / "none"))
    assert port.answer()["error"].startswith("FileNotFoundError: ")


def test_agent_request_that_it_does_not_know_is_answered(port: Port) -> None:
    port.send(dance=1)
    assert port.answer() == {"error": "no such request: ['dance']"}


def test_agent_end_is_confirmed_and_ends_it(port: Port) -> None:
    port.send(end=True)
    assert "ended" in port.answer()
    port.thread.join(5)
    assert not port.thread.is_alive()
