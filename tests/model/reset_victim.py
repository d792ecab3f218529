"""A process for the tests that kill it: resets a served hive, and sends itself a signal at a stage that was named.

    python -m tests.model.reset_victim remote:127.0.0.1:PORT METHOD [SIGNAL STAGE]

Prints each stage, then the outcome of every GPU and the exit code. STAGE `told:N`: after N members were told."""

from __future__ import annotations

import os
import signal
import sys

import gpumend
from amdriver.recovery import Target


class Watcher:
    """Tells each stage; at the one that was named it sends the signal to its own process."""

    def __init__(self, signal_name: str, stage: str) -> None:
        self.number = getattr(signal, signal_name, 0)
        self.at = stage

    def step(self, number: int, rung: object) -> None:
        pass

    def stage(self, name: str) -> None:
        print("stage", name, flush=True)
        if name == self.at:
            os.kill(os.getpid(), self.number)

    def judged(self, step: gpumend.ResetStep) -> None:
        print("step", step.method, step.status, step.why, flush=True)

    def say(self, text: str) -> None:
        print("said", text, flush=True)


def kill_after(told: int, number: int) -> None:
    """After so many members were told to reset: in the middle of what must not be left half done."""
    inner, count = Target.send_mode1, 0

    def send(target: Target, *, fatal: bool = False) -> float:
        nonlocal count
        sent_s = inner(target, fatal=fatal)
        count += 1
        if count == told:
            os.kill(os.getpid(), number)
        return sent_s

    setattr(Target, "send_mode1", send)  # noqa: B010 - told apart from an assignment by mypy


def main() -> None:
    address, method, *rest = sys.argv[1:]
    signal_name, stage = rest or ("", "")
    watcher = Watcher(signal_name, stage)
    if stage.startswith("told:"):
        kill_after(int(stage.removeprefix("told:")), watcher.number)
    everyone = gpumend.list_gpus([address])
    asked = gpumend.new_asked()
    report = gpumend.reset_gpus(everyone, everyone, gpumend.ResetOptions(method=method), watcher=watcher, asked=asked)
    for one in report.gpus:
        print("gpu", one.index, one.outcome, one.after.health, flush=True)
    print("finished", report.finished, flush=True)
    print("asked", asked.signal_name, flush=True)
    print("exit", report.exit_code, flush=True)


if __name__ == "__main__":
    main()
