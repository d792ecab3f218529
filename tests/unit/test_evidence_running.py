"""Collectors in children: what they hand over counts however they end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from base.clock import RealClock, VirtualClock
from base.errors import Refused
from evidence.parts import Collected, Collector, Out
from evidence.running import Ledger, run

LONG_S = 60.0


def run_all(*collectors: Collector, budget_s: float = LONG_S) -> list[Collected]:
    groups = run(collectors, RealClock(), time.monotonic() + budget_s)
    return [done for group in groups for done in group]


def made(work: Callable[[Out], None], limit_s: float = LONG_S, **more: object) -> Collector:
    return Collector("test", work, limit_s, **more)  # type: ignore[arg-type]


def text(done: Collected, name: str) -> bytes:
    return bytes(done.items[name].data)


def test_run_hands_over_what_a_child_collected() -> None:
    def work(out: Out) -> None:
        assert out.begin("one")
        out.add("a", b"first ")
        out.add("a", b"second")
        out.add("b", b"\x00", binary=True)
        out.secret("host", "turing")

    (done,) = run_all(made(work))
    assert (done.status, text(done, "a"), text(done, "b")) == ("ok", b"first second", b"\x00")
    assert done.items["b"].binary
    assert done.secrets == [("host", "turing")]


def test_run_keeps_what_came_before_a_child_got_stuck_and_names_where() -> None:
    def work(out: Out) -> None:
        out.begin("good")
        out.add("a", b"kept")
        out.begin("the file that blocks")
        time.sleep(3600)

    (done,) = run_all(made(work, 1.0))
    assert (done.status, text(done, "a")) == ("timed-out", b"kept")
    assert [row.what for row in done.unread] == ["the file that blocks"]
    assert "no answer within" in done.unread[0].why


def test_run_goes_on_without_what_it_stuck_at() -> None:
    def work(out: Out) -> None:
        for name in ("1", "bad 2", "3", "bad 4", "5"):
            if not out.begin(name):
                continue
            if "bad" in name:
                time.sleep(3600)
            out.add("a", name.encode())

    (done,) = run_all(made(work, 1.0, resumes=2))
    assert text(done, "a") == b"135"
    assert [row.what for row in done.unread] == ["bad 2", "bad 4"]
    (done,) = run_all(made(work, 1.0, resumes=1))
    assert text(done, "a") == b"13"


def test_run_survives_errors_and_signals() -> None:
    def raises(out: Out) -> None:
        out.add("a", b"kept")
        raise Refused("asking", seen="it said no")

    def dies(out: Out) -> None:
        out.add("a", b"kept")
        os.kill(os.getpid(), signal.SIGSEGV)

    def fine(out: Out) -> None:
        out.add("a", b"kept")

    done = run_all(made(raises), made(dies), made(fine))
    assert [item.status for item in done] == ["failed", "failed", "ok"]
    assert [text(item, "a") for item in done] == [b"kept"] * 3
    assert [row.why for row in done[0].unread] == [done[0].detail] == ["it said no"]
    assert "SIGSEGV" in done[1].detail


def test_run_cuts_what_has_no_room_and_says_so() -> None:
    def work(out: Out) -> None:
        out.add("a", b"x" * 60)
        out.add("a", b"y" * 60)

    for apart in (True, False):
        (done,) = run_all(made(work, room_bytes=100, apart=apart))
        assert text(done, "a") == b"x" * 60 + b"y" * 40
        assert (done.status, done.items["a"].cut) == ("partial", True)
        assert "cut after 100 bytes" in done.unread[0].why


def test_run_after_the_budget_skips() -> None:
    (done,) = run_all(made(lambda out: out.add("a", b"x")), budget_s=0)
    assert (done.status, done.items) == ("skipped", {})
    assert done.unread[0].why == "no time was left"


def test_run_here_is_timed_on_the_given_clock_and_not_by_the_wall() -> None:
    clock = VirtualClock()

    def work(out: Out) -> None:
        clock.sleep(2.5)
        out.add("a", b"x")

    (group,) = run([made(work, apart=False)], clock, time.monotonic() - 1)
    assert (group[0].status, group[0].seconds) == ("ok", 2.5)


def test_run_here_survives_errors() -> None:
    def work(out: Out) -> None:
        out.add("a", b"kept")
        raise ValueError("odd")

    (done,) = run_all(made(work, apart=False))
    assert (done.status, text(done, "a")) == ("failed", b"kept")
    assert "odd" in done.detail


def test_ledger_that_is_full_keeps_what_it_has() -> None:
    ledger = Ledger(1000)
    assert ledger.put(("add", "a", b"x" * 500))
    assert not ledger.put(("add", "b", bytes(1 << 20)))
    assert ledger.put(("unread", "b", "no room"))
    assert [record[1] for record in ledger.records()] == ["a", "b"]
    ledger.close()
