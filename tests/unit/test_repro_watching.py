"""The watcher's process: what it writes, what it matches, and that it goes when its time has come."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from repro.watching import NoWatch, Watch

ALL = frozenset({"kernel-log", "devcoredump", "uevents"})
WAIT_S = 20.0


class Machine:
    """A log that grows, and a folder of core dumps."""

    def __init__(self, root: Path) -> None:
        self.folder, self.sys, self.kmsg = root / "run", root / "sys", root / "kmsg"
        self.folder.mkdir()
        (self.sys / "class/devcoredump").mkdir(parents=True)
        self.kmsg.write_text("6,1,1000000,-;amdgpu: an old BUG: from before\n")

    def say(self, text: str) -> None:
        with self.kmsg.open("a") as file:
            file.write(text)

    def dump(self, name: str, data: str) -> Path:
        place = self.sys / "devices/virtual/devcoredump" / name
        place.mkdir(parents=True)
        (place / "data").write_text(data)
        (self.sys / "class/devcoredump" / name).symlink_to(place)
        return place


@pytest.fixture
def there(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def watch(there: Machine) -> Iterator[Watch]:
    made = Watch(there.folder, {"oops": "BUG: "}, ALL, there.sys, there.kmsg).start()
    yield made
    made.close()


def until(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.02)
    return False


def test_watch_keeps_the_log_from_before_and_matches_only_what_is_new(there: Machine, watch: Watch) -> None:
    assert "an old BUG: from before" in (there.folder / "kernel.log").read_text()
    assert not watch.look().matches
    there.say("3,2,2500000,-;BUG: kernel NULL pointer dereference\n6,3,2600000,-;something else\n")
    found = watch.look().matches
    assert found == (("oops", "[    2.500000] BUG: kernel NULL pointer dereference"),)
    assert not watch.look(), "each thing once"
    assert "something else" in (there.folder / "kernel.log").read_text()


def test_watch_catches_a_core_dump_while_nobody_asks(there: Machine, watch: Watch) -> None:
    place = there.dump("devcd1", "**** AMDGPU Device Coredump ****\n")
    kept = there.folder / "devcoredump/devcd1.txt"
    assert until(kept.exists)
    (there.sys / "class/devcoredump/devcd1").unlink()
    (place / "data").unlink()
    assert watch.look().dumps == ("devcd1.txt",)
    assert kept.read_text().startswith("**** AMDGPU")


def test_watch_follows_no_link_out_of_sys(there: Machine, watch: Watch, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data").write_text("secret")
    (there.sys / "class/devcoredump/devcd2").symlink_to(outside)
    inside = there.sys / "devices/virtual/devcoredump/devcd3"
    inside.mkdir(parents=True)
    (inside / "data").symlink_to(outside / "data")
    (there.sys / "class/devcoredump/devcd3").symlink_to(inside)
    there.dump("devcd4", "good")
    assert until(lambda: (there.folder / "devcoredump/devcd4.txt").exists())
    watch.look()
    assert [entry.name for entry in (there.folder / "devcoredump").iterdir()] == ["devcd4.txt"]


def test_watch_ends_its_process_and_leaves_none(there: Machine) -> None:
    made = Watch(there.folder, {}, ALL, there.sys, there.kmsg).start()
    pid = made._pid
    made.close()
    made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_watch_that_died_is_noted_and_not_waited_for(there: Machine, watch: Watch) -> None:
    os.kill(watch._pid, signal.SIGKILL)
    os.waitpid(watch._pid, 0)
    assert "watcher" in watch.look().blind
    assert "watcher" in watch.reason


def test_watch_without_a_log_goes_on(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.kmsg.unlink()
    made = Watch(machine.folder, {"oops": "BUG"}, ALL, machine.sys, machine.kmsg).start()
    seen = made.look()
    assert not seen
    assert "cannot be read" in seen.blind
    made.close()
    assert not (machine.folder / "kernel.log").exists()


def test_watch_that_answers_late_is_not_taken_for_having_seen_what_comes_then(
    there: Machine, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.watching.CATCH_UP_S", 0.0)
    os.kill(watch._pid, signal.SIGSTOP)
    assert "did not answer" in watch.look().blind
    os.kill(watch._pid, signal.SIGCONT)
    monkeypatch.setattr("repro.watching.CATCH_UP_S", WAIT_S)
    there.say("3,2,2500000,-;BUG: late\n")
    seen = watch.look()
    assert (seen.blind, [name for name, _ in seen.matches]) == ("", ["oops"])


def test_models_have_nothing_to_watch() -> None:
    none = NoWatch()
    assert not none.look()
    none.close()
