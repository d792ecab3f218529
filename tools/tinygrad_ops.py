"""tinygrad's own tests of operations (its git tree, test/backend/test_ops.py) on our driver and a model: how many groups pass?

    .venv/bin/python tools/tinygrad_ops.py mi300x mi350x --python PYTHON    # hours of CPU; writes docs/tensor-runtime.md
    .venv/bin/python tools/tinygrad_ops.py --from mi350x=ops.xml            # a report of pytest: --junitxml, or -v; of several
                                                                            # for a part, the later ones count

The tests compare with PyTorch, which gpumend does not need: PYTHON is an interpreter that has it, pytest, pytest-timeout, and
what gpumend needs; tinygrad's CPU backend wants clang (tools/get_llvm.py --clang). A group is one test method: an operation
with many shapes. --backward also has gradients checked."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools import get_llvm, get_oracle

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/tensor-runtime.md"
BEGIN, END = "<!-- tools/tinygrad_ops.py -->", "<!-- end -->"
TEST = "test/backend/test_ops.py"
GROUP_LIMIT_S = 300
ORDER = ("passed", "failed", "not run")

Results = dict[str, str]  # a group to one of ORDER


def run(part: str, tree: Path, python: str, backward: bool, only: str | None) -> Results:
    """All groups on one modelled part; a group that takes too long fails."""
    with tempfile.TemporaryDirectory() as scratch:
        # without the tinygrad that lies beside them: the installed one is tested
        shutil.copytree(tree / "test", Path(scratch) / "test")
        report = Path(scratch) / "report.xml"
        paths = (ROOT / "runtime/site", ROOT, scratch)
        environment = {
            **get_llvm.environment(),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "GPUMEND_ON": f"model:{part}",
            "LLVM_PATH": str(get_llvm.LIBRARY),
            "PARALLEL": "0",
            "FORWARD_ONLY": "0" if backward else "1",
        }
        command = [
            python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--timeout={GROUP_LIMIT_S}",
            f"--junitxml={report}",
        ]
        subprocess.run([*command, *(["-k", only] if only else []), TEST], cwd=scratch, env=environment, check=False)
        return read(report)


def read(report: Path) -> Results:
    """Groups of a JUnit report, or of what `pytest -v` printed; those that it did not come to have not run."""
    found: Results = {}
    if report.suffix != ".xml":
        for name, word in re.findall(r"::(test_\w+) (PASSED|FAILED|ERROR|SKIPPED)?", report.read_text()):
            found[name] = {"PASSED": "passed", "SKIPPED": "not run", "": "not run"}.get(word, "failed")
        return found
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        tags = {child.tag for child in case}
        failed = tags & {"failure", "error"}
        name, owner = case.get("name", "?"), case.get("classname", "").rpartition(".")[2]
        found[name if name not in found else f"{name} of {owner}"] = (
            "failed" if failed else "not run" if "skipped" in tags else "passed"
        )
    return found


def family(group: str) -> str:
    """test_add3 and test_add_large belong to add."""
    return re.sub(r"\d.*$", "", group.removeprefix("test_").split("_")[0]) or group


def table(results: dict[str, Results]) -> str:
    """Markdown: sums, then families that have something failed or not run."""
    lines = ["| part | groups | passed | failed | not run |", "|---|---|---|---|---|"]
    for part, groups in results.items():
        counts = Counter(groups.values())
        lines.append(f"| {part} | {len(groups)} | " + " | ".join(str(counts[kind]) for kind in ORDER) + " |")
    lines += ["", "Passed / failed / not run, by the first word of a group's name:", ""]
    families = sorted({family(group) for groups in results.values() for group in groups})
    lines += [f"| | {' | '.join(results)} |", "|---|" + "---|" * len(results)]
    for name in families:
        cells = []
        for groups in results.values():
            counts = Counter(kind for group, kind in groups.items() if family(group) == name)
            cells.append(" / ".join(str(counts[kind]) for kind in ORDER))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    bad = [f"{part}: {group}" for part, groups in results.items() for group, kind in groups.items() if kind == "failed"]
    lines += ["", "Failed: " + (", ".join(bad) or "none") + "."]
    return "\n".join(lines)


def write(text: str, page: Path = PAGE) -> None:
    """The table between its two marks."""
    before, mark, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{page.name} has no {BEGIN} ... {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["mi300x", "mi350x", []], help="models to run on")
    parser.add_argument("--from", dest="reports", action="append", default=[], metavar="PART=FILE")
    parser.add_argument("--tree", type=Path, default=get_oracle.TREE)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--only", help="pytest's -k")
    arguments = parser.parse_args(argv)
    results: dict[str, Results] = {}
    for part, _, path in (report.partition("=") for report in arguments.reports):
        results.setdefault(part, {}).update(read(Path(path)))
    if arguments.parts and not (arguments.tree / TEST).exists():
        print(f"no tinygrad tree at {arguments.tree}: run tools/get_oracle.py", file=sys.stderr)
        return 69
    for part in arguments.parts:
        results[part] = run(part, arguments.tree, arguments.python, arguments.backward, arguments.only)
    write(table(results))
    return 1 if any("failed" in groups.values() for groups in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
