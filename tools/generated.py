"""What the generators share: putting files in place, and comparing the committed ones with the source."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.debian_source import Source

ROOT = Path(__file__).resolve().parent.parent
AMD = ROOT / "registers/amd"
DATA = ROOT / "registers/data"


class GenerateError(Exception):
    """The headers and what is asked of them do not fit together."""


def write(files: Mapping[Path, str]) -> int:
    """Put each file in place whole (others may be importing); returns how many changed."""
    changed = 0
    for path, text in files.items():
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(text)
        fresh.replace(path)
        changed += 1
    return changed


def differences(files: Mapping[Path, str], folder: Path, pattern: str) -> list[str]:
    """Which committed files are not what the source gives; `pattern` in `folder` may hold nothing else."""
    odd = []
    for path, text in files.items():
        if not path.exists():
            odd.append(f"{path.name}: missing")
        elif path.read_text() != text:
            odd.append(f"{path.name}: differs")
    odd += [f"{path.name}: nothing generates it" for path in sorted(folder.glob(pattern)) if path not in files]
    return odd


def recorded_version(data: Path = DATA) -> str:
    """The source that the committed files were made from: `linux-source-7.3 7.3.4-1~bpo13+1`, or ""."""
    index = data / "index.txt"
    if not index.exists():
        return ""
    for line in index.read_text().splitlines():
        if line.startswith("source "):
            return line.removeprefix("source ")
    return ""


def why_skip(source: Source | None, recorded: str) -> str:
    """Why the committed files cannot be compared with this source; "" when they can."""
    if source is None:
        return f"skipped: {recorded or 'the source'} is not in the cache (tools/debian_source.py brings it)"
    if f"{source.package} {source.version}" != recorded:
        return f"skipped: made from {recorded}, the cache holds {source.package} {source.version}"
    return ""


def check(
    source: Source | None,
    generate: Callable[[Source], Mapping[Path, str]],
    folder: Path,
    pattern: str,
    command: str,
) -> tuple[int, str]:
    """Exit code and what to say: 0 same or skipped, 1 different."""
    skip = why_skip(source, recorded_version())
    if skip or source is None:
        return 0, skip
    files = generate(source)
    odd = differences(files, folder, pattern)
    if odd:
        return 1, "\n".join([*odd, f"run {command}"])
    return 0, f"{len(files)} files are what {source} gives"
