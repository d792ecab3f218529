"""Exported scripts: readable, clean, self-contained; they say what they would do, and refuse where they must."""

from __future__ import annotations

import ast
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

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
    "__future__", "argparse", "contextlib", "json", "mmap", "os", "pathlib", "platform", "re", "struct", "subprocess", "sys",
    "threading", "time", "typing",
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
    assert data["kernel_log"] == {name: text for name, text in patterns.items() if name != "reset-succeeded"}
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
