"""`gpumend lab`: what reaches the guest, what comes back, and what is refused before anything is fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cli
from base.errors import Unavailable
from lab import guest, parts
from lab.guest import Done

Asked = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """The lab with a guest that is only played; what it was asked for."""
    seen: Asked = {"done": Done(0, b"", b"", 1.0)}

    class Played:
        def run(self, command: tuple[str, ...], *, limit_s: float, output: guest.Output) -> Done:
            seen.update(command=command, limit_s=limit_s)
            output(1, b"to stdout\n")
            output(2, "to stderr\u00e9\n".encode())
            done: Done = seen["done"]
            return done

    @contextmanager
    def boot(found: object, **settings: Any) -> Iterator[Played]:
        seen.update(settings)
        yield Played()

    def ready(kernel: str, say: object) -> str:
        seen["kernel"] = kernel
        return "parts"

    monkeypatch.setattr(parts, "ready", ready)
    monkeypatch.setattr(guest, "boot", boot)
    return seen


@pytest.mark.parametrize("code", [0, 1, 7, 127, 137])
def test_lab_run_ends_with_the_exit_code_of_the_command(
    asked: Asked, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    asked["done"] = Done(code, b"", b"", 1.0)
    assert cli.run(["lab", "run", "--", "gpumend", "probe"]) == code
    told = capsys.readouterr()
    assert (told.out, told.err) == ("to stdout\n", "to stderr\u00e9\n")


def test_lab_run_hands_everything_behind_the_command_to_the_command(asked: Asked) -> None:
    assert cli.run(["lab", "run", "--gpus", "mi350x*8", "gpumend", "probe", "--json", "-g", "2", "--gpus"]) == 0
    assert asked["command"] == ("gpumend", "probe", "--json", "-g", "2", "--gpus")
    assert asked["gpus"] == "mi350x*8"


def test_lab_run_hands_its_own_options_to_the_guest(asked: Asked, tmp_path: Path) -> None:
    words = [
        "--kernel",
        "6.12",
        "--timeout",
        "30",
        "--memory",
        "2048",
        "--append",
        "debug",
        "--iommu",
        "--keep",
        str(tmp_path),
    ]
    assert cli.run(["lab", "run", *words, "--", "true"]) == 0
    machine = asked["machine"]
    assert (machine.memory_mib, machine.append, machine.iommu) == (2048, "debug", True)
    assert (asked["kernel"], asked["limit_s"], asked["keep"]) == ("6.12", 30.0, tmp_path)
    assert asked["life_s"] > 30 + guest.BOOT_LIMIT_S


def test_lab_run_killed_at_its_limit_says_so(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    asked["done"] = Done(124, b"", b"", 30.0, timed_out=True)
    assert cli.run(["lab", "run", "--timeout", "30", "sleep", "60"]) == 124
    assert "lab: the command did not end within 30 s and was killed" in capsys.readouterr().err


def test_lab_run_keeps_as_many_accesses_as_asked(asked: Asked, tmp_path: Path) -> None:
    words = ["--gpus", "mi350x", "--keep", str(tmp_path), "--accesses", "600000"]
    assert cli.run(["lab", "run", *words, "--", "true"]) == 0
    assert asked["accesses"] == 600_000


@pytest.mark.parametrize("words", [["--gpus", "mi350x"], ["--keep", "somewhere"], []])
def test_lab_run_refuses_accesses_that_nobody_would_see(
    asked: Asked, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["lab", "run", *words, "--accesses", "10", "--", "true"]) == 64
    assert "--accesses with --keep and --gpus" in capsys.readouterr().err
    assert "command" not in asked


@pytest.mark.parametrize("words", [["--json"], ["--csv"], ["--on", "model:mi350x"], ["-g", "1"]])
def test_lab_run_with_an_option_of_the_command_in_front_is_refused(
    asked: Asked, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["lab", "run", *words, "--", "gpumend", "probe"]) == 64
    assert "behind `--`" in capsys.readouterr().err
    assert "command" not in asked


def test_lab_run_with_a_bad_model_is_refused_before_anything_is_fetched(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["lab", "run", "--gpus", "mi999x", "--", "true"]) == 64
    assert "mi999x" in capsys.readouterr().err
    assert "kernel" not in asked


def test_lab_run_without_a_command_is_a_usage_error(asked: Asked) -> None:
    assert cli.run(["lab", "run"]) == 64


def test_lab_run_whose_parts_cannot_be_had_ends_with_69(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ready(kernel: str, say: object) -> None:
        raise Unavailable("building the lab's parts", seen="no network")

    monkeypatch.setattr(parts, "ready", ready)
    assert cli.run(["lab", "run", "true"]) == 69
    assert "seen      no network" in capsys.readouterr().err


def test_lab_build_tells_what_was_built(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    suites: list[tuple[str, ...]] = []

    def build(wanted: tuple[str, ...], say: object) -> dict[str, dict[str, str]]:
        suites.append(tuple(wanted))
        return {"qemu": {"version": "1:11.1.3-1", "release": "11.1.3", "folder": "qemu-key"}}

    monkeypatch.setattr(parts, "build", build)
    assert cli.run(["lab", "build", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["parts"] == [{"part": "qemu", "version": "1:11.1.3-1", "release": "11.1.3", "folder": "qemu-key"}]
    assert cli.run(["lab", "build", "--kernel", "trixie"]) == 0
    assert suites == [parts.SUITES, ("trixie",)]


def test_lab_build_of_an_unknown_suite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["lab", "build", "--kernel", "sid"]) == 64
    assert "trixie or trixie-backports" in capsys.readouterr().err
