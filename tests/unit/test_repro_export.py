"""Exported scripts: readable, clean, self-contained; they say what they would do, and refuse where they must."""

from __future__ import annotations

import argparse
import ast
import json
import os
import runpy
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

import gpumend
from base.errors import Exit, Refused
from repro.export import MAX_LINES

ROOT = Path(__file__).resolve().parents[2]
EXPORTED = {
    "amdgpu-ras-disabled-oops": "driver", "flr-loop": "registers", "hive-reset-loop": "driver",
    "hive-reset-loop-userspace": "registers", "rebind-loop": "driver", "xgmi-retrain-loop": "registers",
}  # fmt: skip
STDLIB_OF_3_8 = {
    "__future__", "argparse", "contextlib", "fnmatch", "json", "mmap", "os", "pathlib", "platform", "re", "signal", "struct",
    "subprocess", "sys", "threading", "time", "traceback", "typing",
}  # fmt: skip
NEW_SINCE_3_8 = ("removeprefix", "removesuffix", "is_relative_to", "readlink", "math.lcm", "zoneinfo")


def text_of(name: str, *parameters: str) -> str:
    return gpumend.export_scenario(gpumend.read_scenario(name, parameters)).text


@pytest.fixture(params=list(EXPORTED))
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "f.py"
    path.write_text(text_of(str(request.param)))
    return path


def old_python() -> str | None:
    """A real Python 3.8, where this machine has one: what ast lets through is not yet what runs."""
    places = [*Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8"), *Path("/usr/bin").glob("python3.8")]
    return next((str(path) for path in places if os.access(path, os.X_OK)), None)


def call(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """In an empty environment, isolated: nothing of ours can be imported."""
    return subprocess.run(
        [sys.executable, "-I", str(path), *words], env={}, cwd=path.parent, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_export_every_scenario_that_needs_no_driver_of_ours() -> None:
    for name in gpumend.scenarios():
        scenario = gpumend.read_scenario(name)
        if name in EXPORTED:
            made = gpumend.export_scenario(scenario)
            assert (made.through, made.name) == (EXPORTED[name], f"{name}.py")
            continue
        with pytest.raises(Refused) as caught:
            gpumend.export_scenario(scenario)
        assert "driver of our own" in caught.value.seen
        assert name in caught.value.next_step


def test_export_is_short_old_enough_and_alone(script: Path) -> None:
    text = script.read_text()
    assert text.count("\n") < MAX_LINES
    assert "from __future__ import annotations" in text
    tree = ast.parse(text, feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= STDLIB_OF_3_8
    assert not [word for word in NEW_SINCE_3_8 if word in text]
    assert "# ---- section" not in text
    assert "@" not in text.replace("(at)", "").split('"""')[1], "every place of the text was filled"


def test_export_for_the_vendors_own_driver_is_under_500_lines() -> None:
    assert text_of("hive-reset-loop").count("\n") < 500


def test_export_is_clean_for_ruff(script: Path) -> None:
    words = ["check", "--no-cache", "--config", str(ROOT / "pyproject.toml"), "--target-version", "py38", str(script)]
    done = subprocess.run([sys.executable, "-m", "ruff", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_export_explains_itself_and_its_dry_run_changes_nothing(script: Path) -> None:
    done = call(script, "--help")
    assert done.returncode == 0
    for words in ("Counts as reproduced", "To put the machine back", "Exit: 0 not reproduced", "--dry-run", "--yes"):
        assert words in done.stdout
    done = call(script, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would do" in done.stdout
    assert "kernel: " in done.stdout
    assert [path.name for path in script.parent.iterdir()] == ["f.py"]


def test_export_runs_on_python_3_8(script: Path) -> None:
    python = old_python()
    if python is None:
        pytest.skip("no Python 3.8 on this machine: apt-get install python3.8, or pyenv install 3.8")
    for word, code in (("--help", 0), ("--dry-run", 0), ("--bogus", Exit.USAGE)):
        done = subprocess.run([python, "-I", str(script), word], env={}, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr


def test_export_refuses_wrong_arguments_and_a_machine_without_gpu(script: Path) -> None:
    assert call(script, "--bogus").returncode == Exit.USAGE
    done = call(script, "--yes", "--gpu", "0000:99:00.0")
    assert done.returncode == Exit.UNAVAILABLE
    assert "refused: no supported GPU at 0000:99:00.0" in done.stderr
    done = call(script, "--yes")
    assert done.returncode in (Exit.UNAVAILABLE, Exit.NOT_PERMITTED), "no GPU; or, not even root"
    assert "refused: " in done.stderr
    assert "Traceback" not in done.stderr


def test_export_takes_parameters_and_the_scenario_with_it() -> None:
    text = text_of("hive-reset-loop", "count=7", "limit=99")
    tree = ast.parse(text)
    assigned = next(node for node in tree.body if isinstance(node, ast.AnnAssign))
    assert assigned.value is not None
    data = ast.literal_eval(assigned.value)
    assert (data["count"], data["actions"][0]["duration_s"]) == (7, 99)
    patterns = gpumend.read_scenario("hive-reset-loop").kernel_log
    assert data["kernel_log"] == patterns
    assert data["proofs"] == ["reset-succeeded"], "that the driver says no error is no proof"
    assert (data["duration_s"], data["pause_s"]) == (86400, 0)
    assert json.loads(json.dumps(data)) == data


def test_export_cannot_be_broken_by_a_scenario_of_somebody_else(tmp_path: Path) -> None:
    evil = tmp_path / "evil.yaml"
    good = (ROOT / "repro/scenarios/flr-loop.yaml").read_text()
    words = """'\"\"\"\\nimport os; os.system("true") @NAME@ \\' # '"""
    lines = [f"put_back: {json.dumps(words)}" if line.startswith("put_back:") else line for line in good.splitlines()]
    evil.write_text("\n".join(lines) + "\n")
    text = text_of(str(evil))
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "system"]
    assert calls == []


class SlowGpu:
    """Registers of a GPU whose boot firmware is up some seconds after its reset; and the clock that these pass on."""

    def __init__(self, boot_s: float) -> None:
        self.boot_s, self.now_s, self.strike_s = boot_s, 0.0, 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def monotonic(self) -> float:
        return self.now_s

    def written(self, path: Path, *_: object) -> None:
        if path.name == "reset":
            self.strike_s = self.now_s

    def booted(self) -> bool:
        return self.now_s >= self.strike_s + self.boot_s

    def state(self) -> str:
        return "its registers"


@pytest.mark.parametrize(("boot_s", "comes_back"), [(0.0, True), (40.0, True), (900.0, False)])
def test_exported_reset_waits_for_the_boot_firmware(tmp_path: Path, boot_s: float, comes_back: bool) -> None:
    """A GPU that is looked at in the second after its reset is not yet one that did not come back."""
    path = tmp_path / "flr.py"
    path.write_text(text_of("flr-loop"))
    script = runpy.run_path(str(path), run_name="exported")
    names = script["pci_reset"].__globals__
    gpu = SlowGpu(boot_s)
    names |= {"time": gpu, "written": gpu.written, "present": lambda bdf: True, "Registers": lambda bdf: gpu}
    if comes_back:
        script["pci_reset"]("0000:c1:00.0", "flr", 600)
        assert gpu.booted()
        assert gpu.now_s < boot_s + 2
    else:
        with pytest.raises(script["Failed"], match="boot firmware silent 300 s after flr: its registers"):
            script["pci_reset"]("0000:c1:00.0", "flr", 600)


# --- its verdicts: each of these would be told otherwise by the run of the scenario itself

GPU = "0000:c1:00.0"
BOOT = ("amd.psp.bootloader", f"{GPU}: bootloader NOT READY (C2PMSG_33 = 0)")
TABLE = ("amd.discovery.signature", f"{GPU}: signature of the table 0x0, not 0x28211407")
LINK = ("amd.xgmi.link", f"{GPU}: XGMI link 3 is down (state 0x04)")


class Log:
    """The kernel's log, as far as it matches."""

    def __init__(self, *lines: tuple[str, str]) -> None:
        self.lines = list(lines)

    def take(self) -> list[tuple[str, str]]:
        return self.lines


class Nothing:
    """A timeline that nobody reads."""

    def add(self, kind: str, **told: object) -> None: ...


def loaded(name: str, tmp_path: Path, *looks: list[tuple[str, str]], **names: Any) -> dict[str, Any]:
    """The names of an exported script whose actions do nothing, and whose looks find these, the last for ever."""
    path = tmp_path / "loaded.py"
    path.write_text(text_of(name))
    left = [*looks] or [[]]

    def look_at(bdf: str) -> tuple[str, str]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return found[0] if found and found[0][0] != LINK[0] else ("", "all is well")

    def links_down(bdf: str) -> list[tuple[str, str]]:
        return [one for one in left[0] if one[0] == LINK[0]]

    script: dict[str, Any] = runpy.run_path(str(path), run_name="exported")["look"].__globals__
    given = {
        "look_at": look_at,
        "links_down": links_down,
        "present": lambda bdf: True,
        "decode_memory": lambda bdf: None,
    }
    script |= {"act": lambda action, bdfs: None, "DEVICES": tmp_path / "none", **given, **names}
    return script


def iterated(script: dict[str, Any], *lines: tuple[str, str]) -> str:
    return str(script["iterate"]([GPU], Log(*lines), Nothing())[0])


@pytest.mark.parametrize(
    ("name", "found", "word"),
    [
        ("hive-reset-loop-userspace", BOOT, "REPRODUCED"),
        ("hive-reset-loop-userspace", TABLE, "REPRODUCED"),
        ("xgmi-retrain-loop", LINK, "REPRODUCED"),
        ("xgmi-retrain-loop", BOOT, "FAIL"),
        ("xgmi-retrain-loop", TABLE, "FAIL"),
        ("hive-reset-loop", TABLE, "FAIL"),
        ("flr-loop", TABLE, "REPRODUCED"),
    ],
)
def test_export_reproduces_only_what_its_scenario_is_about(
    name: str, found: tuple[str, str], word: str, tmp_path: Path
) -> None:
    assert iterated(loaded(name, tmp_path, [found])) == word


def test_export_does_not_pass_what_nothing_proves(tmp_path: Path) -> None:
    """amdgpu shows 0 though no reset took place (gpu_recover_get, when it cannot wake the GPU or queue the work)."""
    script = loaded("hive-reset-loop", tmp_path)
    assert iterated(script) == "UNKNOWN"
    assert iterated(script, ("reset-succeeded", "GPU reset(1) succeeded!")) == "pass"


def test_export_refuses_a_gpu_that_is_sick_already(tmp_path: Path) -> None:
    script = loaded("hive-reset-loop-userspace", tmp_path, [BOOT])
    with pytest.raises(script["Refused"], match="not well before") as refused:
        script["look_before"]([GPU])
    assert refused.value.code == Exit.REFUSED


def test_export_does_not_count_a_link_that_was_down_before(tmp_path: Path) -> None:
    script = loaded("xgmi-retrain-loop", tmp_path, [LINK])
    script["look_before"]([GPU])
    assert iterated(script) == "pass"


def test_export_that_cannot_read_registers_does_not_begin(tmp_path: Path) -> None:
    def locked(bdf: str) -> None:
        raise PermissionError(1, "Operation not permitted", "resource5")

    script = loaded("flr-loop", tmp_path, look_at=locked)
    with pytest.raises(script["Refused"], match="cannot be read") as refused:
        script["look_before"]([GPU])
    assert refused.value.code == Exit.NOT_PERMITTED


@pytest.mark.parametrize("words", [["--count", "0"], ["--limit", "0"], ["--limit=-1"], ["--limit", "nan"]])
def test_export_refuses_counts_and_limits_that_would_say_nothing(script: Path, words: list[str]) -> None:
    assert call(script, "--dry-run", *words).returncode == Exit.USAGE


@pytest.mark.parametrize(("error", "code"), [(OSError(28, "No space left on device"), 74), (KeyError("x"), 70)])
def test_export_that_breaks_off_gives_no_verdict(
    error: Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own exit code for an error is 1: reproduced."""

    def broken(options: object) -> int:
        raise error

    monkeypatch.setattr(sys, "argv", ["f.py", "--yes"])
    assert loaded("flr-loop", tmp_path, run=broken)["main"]() == code


def test_export_whose_log_is_not_kept_any_more_stops(tmp_path: Path) -> None:
    class Dead:
        matches: ClassVar[list[Any]] = []

        def is_alive(self) -> bool:
            return False

    script = loaded("hive-reset-loop", tmp_path)
    with pytest.raises(script["Refused"], match="not kept any more"):
        script["KernelLog"].take(Dead())


def repeated(script: dict[str, Any], count: int) -> list[str]:
    options = argparse.Namespace(count=count, keep_going=True)
    return list(script["repeat"](options, [GPU], Log(), Nothing())[1])


def test_export_counts_on_only_from_gpus_that_are_as_before(tmp_path: Path) -> None:
    assert repeated(loaded("flr-loop", tmp_path, [BOOT]), 3) == ["REPRODUCED"]
    assert repeated(loaded("flr-loop", tmp_path, [BOOT], []), 3) == ["REPRODUCED", "pass", "pass"]


def test_export_ends_at_the_time_limit_of_its_scenario(tmp_path: Path) -> None:
    script = loaded("flr-loop", tmp_path)
    script["SCENARIO"]["duration_s"] = -1.0
    assert repeated(script, 3) == ["pass"]


def test_exported_reset_puts_the_kernels_way_back(tmp_path: Path) -> None:
    written: list[tuple[str, str]] = []
    (tmp_path / "none" / GPU).mkdir(parents=True)
    (tmp_path / "none" / GPU / "reset_method").write_text("flr bus\n")
    script = loaded("flr-loop", tmp_path, present=lambda bdf: False)
    script["written"] = lambda path, text, limit_s: written.append((path.name, text))
    script["pci_reset"](GPU, "flr", 600)
    assert written == [("reset_method", "flr"), ("reset", "1"), ("reset_method", "flr,bus")]


def test_exported_hive_reset_carries_every_member_to_the_end(tmp_path: Path) -> None:
    """One that does not answer, one that is gone, and an interrupt: all others are told, and get their config space back."""
    hive = ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"]
    told: list[str] = []
    restored: list[str] = []
    script = loaded("hive-reset-loop-userspace", tmp_path)

    def message(registers: Any, number: int, argument: int) -> None:
        if number != 3:
            return
        told.append(registers)
        if registers == hive[0]:
            os.kill(os.getpid(), signal.SIGINT)
            raise script["Failed"](f"{registers} says nothing")

    def config_write(bdf: str, rows: list[Any]) -> None:
        if len(rows) > 1:
            restored.append(bdf)
            if bdf == hive[1]:
                raise OSError(19, "No such device")

    script |= {"Registers": lambda bdf, writable: bdf, "smu_message": message, "config_write": config_write}
    script |= {"config_of": lambda bdf: [(4, b"\0\0")], "await_boot": lambda *words: None}
    with pytest.raises(KeyboardInterrupt):
        script["hive_reset"](hive, 1)
    assert told == restored == hive
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def files_of_gpu(
    root: Path, *, command: int = 2, boot: int = 0x80000000, size: int = 16, table: int = 0x28211407
) -> None:
    """A GPU as sysfs shows it: config space, BAR5, BAR0 with a discovery table at its place."""
    place = root / "none" / GPU
    place.mkdir(parents=True)
    (place / "config").write_bytes(struct.pack("<HHH", 0x1002, 0x75A0, command) + bytes(58))
    registers = bytearray(0x60000)
    for at in (0x61, 0x63):
        struct.pack_into("<I", registers, (0x16000 + at) * 4, boot)
    struct.pack_into("<I", registers, 0xDE3 * 4, size)
    (place / "resource5").write_bytes(registers)
    with (place / "resource0").open("wb") as file:
        file.truncate(16 << 20)
        file.seek((16 << 20) - 0x10000)
        file.write(struct.pack("<I", table))


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({}, ""),
        ({"command": 0}, "pci.memory-off"),
        ({"boot": 0xFFFFFFFF, "size": 0xFFFFFFFF}, "pci.bar-dead"),
        ({"boot": 0}, "amd.psp.bootloader"),
        ({"table": 0}, "amd.discovery.signature"),
        ({"table": 0, "size": 32}, ""),  # BAR0 does not show the place
    ],
)
def test_export_tells_apart_what_is_wrong_with_a_gpu(state: dict[str, int], code: str, tmp_path: Path) -> None:
    path = tmp_path / "f.py"
    path.write_text(text_of("flr-loop"))
    script: dict[str, Any] = runpy.run_path(str(path), run_name="exported")["look"].__globals__
    script["DEVICES"] = tmp_path / "none"
    files_of_gpu(tmp_path, **state)
    wrong, unsure, _ = script["look"]([GPU])
    assert ([one for one, _ in wrong], unsure) == ([code] if code else [], [])
    script["decode_memory"](GPU)
    assert (tmp_path / "none" / GPU / "config").read_bytes()[4] & 2


def test_export_tells_a_gpu_that_is_gone_and_one_that_sleeps(tmp_path: Path) -> None:
    path = tmp_path / "f.py"
    path.write_text(text_of("flr-loop"))
    script: dict[str, Any] = runpy.run_path(str(path), run_name="exported")["look"].__globals__
    script["DEVICES"] = tmp_path / "none"
    assert [code for code, _ in script["look"]([GPU])[0]] == ["pci.lost"]
    files_of_gpu(tmp_path)
    (tmp_path / "none" / GPU / "power_state").write_text("D3hot\n")
    wrong, (unsure,), _ = script["look"]([GPU])
    assert not wrong
    assert "asleep (D3hot)" in unsure
