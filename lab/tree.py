"""Packages unpacked into a folder, and programs run out of it with the folder's own loader and libraries."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from base.debian import DebianError, unpack

LOADER = "usr/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
MERGED = ("bin", "sbin", "lib", "lib64")  # links to the folders of that name in usr/
UNUSED = re.compile(r"usr/share/(doc|man|locale|info|lintian|bug|common-licenses|i18n|zoneinfo|bash-completion)/")
RUN_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Tree:
    """A root folder of unpacked packages."""

    root: Path

    def unpack(self, debs: Iterable[Path], wanted: Callable[[str], bool] = lambda path: True) -> None:
        """All files of these packages but their documentation."""
        self.root.mkdir(parents=True)
        for name in MERGED:
            (self.root / "usr" / name).mkdir(parents=True)
            (self.root / name).symlink_to(f"usr/{name}")
        for deb in debs:
            unpack(deb, self.root, lambda path: not UNUSED.match(path) and wanted(path))

    def command(self, program: str, arguments: Sequence[str]) -> list[str]:
        """How to run a program of the tree on this machine."""
        libraries = self.root / LIBRARIES
        return [str(self.root / LOADER), "--library-path", str(libraries), str(self.root / program), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of this machine's own search paths reaches a program of the tree."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return {**kept, "LC_ALL": "C.UTF-8", "QEMU_MODULE_DIR": str(self.root / LIBRARIES / "qemu")}


def run_in(tree: Tree, program: str, arguments: Sequence[str], *, static: bool = False, **environment: str) -> str:
    """Run a program of the tree to its end; what it printed. Raises DebianError when it fails.

    `static`: it has no use for a loader."""
    command = [str(tree.root / program), *arguments] if static else tree.command(program, arguments)
    try:
        done = subprocess.run(
            command,
            env={**tree.environment, **environment},
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DebianError(f"{program} of {tree.root} does not run: {error}") from error
    if done.returncode != 0:
        raise DebianError(f"{program} of {tree.root}: exit {done.returncode}\n{(done.stderr or done.stdout).strip()}")
    return done.stdout
