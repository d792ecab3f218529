"""Who may import whom (DESIGN section 3, ARCHITECTURE.md): read from the source with ast, nothing is imported."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

GROUND = {"base", "pcibus", "registers", "firmware"}
DRIVERS = GROUND | {"amdriver", "nvdriver"}
PROBE = DRIVERS | {"probe"}

# room: what it may import, of ours (itself is always allowed)
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "pcibus": {"base"},
    "registers": {"base", "pcibus"},
    "firmware": {"base", "registers"},
    "gpumodel": GROUND,
    "amdriver": GROUND,
    "nvdriver": GROUND,
    "probe": DRIVERS,
    "evidence": PROBE,
    "resets": PROBE | {"evidence"},
    "repro": PROBE | {"evidence", "resets"},
    "gpumend": PROBE | {"evidence", "resets", "repro", "gpumodel"},
    "runtime": {"gpumend", "base"},
    "lab": {"gpumodel", "base"},
    "render": {"base"},
    "commands": {"gpumend", "runtime", "lab", "render", "base"},
    "cli": {"gpumend", "runtime", "lab", "render", "base", "commands"},
}
# gpumend.py ends in `if __name__ == "__main__"` and calls the command line; nothing else may look upwards
EXCEPTIONS = {("gpumend", "cli")}
OURS = set(MAY_IMPORT) | {"tools", "bench", "tests", "examples"}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    found = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]
    return found + [ROOT / f"{name}.py" for name in MAY_IMPORT if (ROOT / f"{name}.py").is_file()]


def imports_of(path: Path) -> set[str]:
    """Top-level names of every import in the file, wherever it stands; relative imports stay in the room."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_architecture_finds_the_rooms() -> None:
    assert {room_of(path) for path in sources()} >= {
        "base",
        "pcibus",
        "registers",
        "amdriver",
        "gpumodel",
        "probe",
        "evidence",
        "cli",
    }


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_architecture_imports_point_downwards(path: Path) -> None:
    room = room_of(path)
    wrong = {
        name
        for name in imports_of(path) & OURS
        if name != room and name not in MAY_IMPORT[room] and (room, name) not in EXCEPTIONS
    }
    assert not wrong, (
        f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}; {room} may import {sorted(MAY_IMPORT[room])}"
    )


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("gpumodel", {"amdriver", "nvdriver", "probe"}),
        ("amdriver", {"gpumodel"}),
        ("probe", {"gpumodel"}),
        ("evidence", {"gpumodel"}),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_architecture_model_and_drivers_never_meet(room: str, never: set[str]) -> None:
    """Also as text: nobody reaches the other side through importlib or a name in a string."""
    files = [path for path in sources() if room_of(path) == room]
    assert files
    for path in files:
        assert not imports_of(path) & never
        strings = {
            node.value.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & never, f"{path.relative_to(ROOT)} names {strings & never}"


def test_architecture_commands_are_loaded_from_commands_only() -> None:
    from commands.root import COMMANDS

    assert {module.split(".")[0] for module, _ in COMMANDS.values()} == {"commands"}


def test_architecture_one_gpu_word_per_room_at_the_root() -> None:
    """A package at the root that the table does not know would escape the rule."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(MAY_IMPORT) | {"tests", "tools", "bench"}, "add the new room to MAY_IMPORT"
