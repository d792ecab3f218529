"""What a command pays for: `--version` and `list` stay light (DESIGN section 7). A fresh interpreter each, output in a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"rich", "numpy", "yaml", "hypothesis", "ctypesgen"}


def modules_after(*arguments: str) -> set[str]:
    """Names in sys.modules after the command line ran."""
    code = (
        "import json, sys, cli; code = cli.run(sys.argv[1:]); "
        "print(json.dumps([int(code), sorted(sys.modules)]), file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    status, names = json.loads(ran.stderr.splitlines()[-1])
    assert status in (0, 2), ran.stderr
    return set(names)


def test_version_imports_neither_click_nor_rich() -> None:
    loaded = modules_after("--version")
    assert not loaded & (HEAVY | {"click", "dataclasses", "inspect", "gpumend"})


@pytest.mark.parametrize("arguments", [("list",), ("--on", "model:mi350x*8", "list"), ("list", "--csv")], ids=" ".join)
def test_list_in_a_pipe_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    loaded = modules_after(*arguments)
    assert "click" in loaded
    assert not loaded & (HEAVY | {"registers.tables", "probe", "firmware", "amdriver.discovery", "email", "http"})


def test_list_of_this_bus_imports_no_model() -> None:
    assert not any(name.startswith("gpumodel") for name in modules_after("list"))


def test_probe_of_a_model_imports_no_tables_and_no_numpy() -> None:
    loaded = modules_after("--on", "model:mi350x", "probe")
    assert not loaded & (HEAVY | {"registers.tables"})
