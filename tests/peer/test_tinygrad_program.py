"""Programs that know nothing of gpumend, run by `gpumend tinygrad` or with its folder in PYTHONPATH."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peer.backend_rig import require_tinygrad

require_tinygrad()

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from tinygrad import Device, Tensor
there = Tensor([1, 2, 3], device="AMD").realize()
print(sys.argv[1:], there.to("AMD:1").realize().tolist(), type(Device["AMD"]).__module__, __name__)
sys.exit(5)
"""
WANTED = "['one', '--two'] [1, 2, 3] runtime.tinygrad_device __main__\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def run(command: list[str], firmware_dir: Path | None, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GPUMEND_") and key != "PYTHONPATH"}
    if firmware_dir is not None:
        kept["GPUMEND_FIRMWARE"] = str(firmware_dir)
    return subprocess.run(
        [sys.executable, *command],
        env=kept | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_command_runs_a_program_and_ends_with_its_code(program: Path, firmware_dir: Path) -> None:
    done = run(["-m", "gpumend", "--on", "model:mi350x*2", "tinygrad", str(program), "one", "--two"], firmware_dir)
    assert (done.stdout, done.stderr, done.returncode) == (WANTED, "", 5)


def test_folder_in_the_path_does_the_same_for_any_program(program: Path, firmware_dir: Path) -> None:
    told = run(["-m", "gpumend", "tinygrad", "--path"], None)
    folder = Path(told.stdout.strip())
    assert (folder / "sitecustomize.py").is_file()
    done = run(
        [str(program), "one", "--two"],
        firmware_dir,
        PYTHONPATH=os.pathsep.join((str(folder), str(ROOT))),
        GPUMEND_ON="model:mi350x*2",
    )
    assert (done.stdout, done.stderr, done.returncode) == (WANTED, "", 5)


def test_folder_in_the_path_imports_nothing_before_it_is_needed(firmware_dir: Path) -> None:
    show = "import sys; print([name for name in ('gpumend', 'runtime', 'tinygrad', 'numpy') if name in sys.modules])"
    done = run(["-c", show], firmware_dir, PYTHONPATH=os.pathsep.join((str(ROOT / "runtime/site"), str(ROOT))))
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_another_sitecustomize_in_the_path_is_run_as_well(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the other one')")
    done = run(["-c", ""], None, PYTHONPATH=os.pathsep.join((str(ROOT / "runtime/site"), str(tmp_path))))
    assert (done.stdout, done.stderr) == ("the other one\n", "")


def test_command_pins_the_clocks_while_the_program_runs(tmp_path: Path, firmware_dir: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        "from tinygrad import Device\n"
        "gpu = Device['AMD'].iface.gpu\n"
        "print({round(one / 1024) for one in gpu.device.smu.metrics().GfxclkFrequency})\n"
    )
    done = run(["-m", "gpumend", "--on", "model:mi300x", "tinygrad", "--pin-clocks", "1200", str(path)], firmware_dir)
    assert (done.stdout, done.stderr, done.returncode) == ("{1200}\n", "", 0)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tinygrad"], 64, "A script is missing"),
        (["tinygrad", "/no/such/script.py"], 69, "no such file"),
        (["--on", "model:mi300x", "--on", "model:mi350x", "tinygrad", "x.py"], 64, "one address"),
        (["-g", "1", "tinygrad", "x.py"], 64, "DEV=:0,2+AMD"),
    ],
)
def test_command_that_is_wrong_says_so(arguments: list[str], code: int, told: str) -> None:
    done = run(["-m", "gpumend", *arguments], None)
    assert done.returncode == code
    assert told in done.stderr


def test_an_error_of_the_program_is_shown_as_python_shows_it(tmp_path: Path, firmware_dir: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text("def broken():\n    raise KeyError('mine')\nbroken()\n")
    done = run(["-m", "gpumend", "--on", "model:mi350x", "tinygrad", str(path)], firmware_dir)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "in broken" in done.stderr and "KeyError: 'mine'" in done.stderr


def test_an_error_of_ours_is_told_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text("from tinygrad import Device\nDevice['AMD']\n")
    done = run(["-m", "gpumend", "--firmware", str(tmp_path), "--on", "model:mi350x", "tinygrad", str(path)], None)
    assert done.returncode == 69
    assert "firmware-amd-graphics" in done.stderr and "Traceback" not in done.stderr


def test_dev_chooses_among_the_gpus(tmp_path: Path, firmware_dir: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text("from tinygrad import Device\nprint(Device['AMD'].count(), Device['AMD'].iface.gpu.name)\n")
    done = run(["-m", "gpumend", "--on", "model:mi300x*3", "tinygrad", str(path)], firmware_dir, DEV=":1,2+AMD")
    assert (done.stdout, done.stderr) == ("2 model:mi300x*3#1\n", "")
