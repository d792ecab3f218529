"""tinygrad's git tree into the git-ignored cache, for its emulator of instructions (tools/isa_check.py) and its tests of
operations (tools/tinygrad_ops.py). Neither is in the package; nothing of it is part of gpumend.

    .venv/bin/python tools/get_oracle.py    # 30 MB from github.com, one fixed commit; tinygrad is MIT licensed"""

from __future__ import annotations

import sys
import tarfile
import urllib.request
from io import BytesIO
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base import debian

COMMIT = "a9069c177a9da9cca18593edf55acd2e6073cca6"  # August 2026, shortly before 0.14.0
URL = f"https://codeload.github.com/tinygrad/tinygrad/tar.gz/{COMMIT}"
TREE = debian.CACHE / "oracle" / "tinygrad"
_KEPT = ("test/", "tinygrad/", "extra/hip_gpu_driver/")
LIMIT_S = 120


def fetch(target: Path = TREE) -> Path:
    """The tree, fetched if it is not there. Raises OSError when it cannot be reached."""
    if (target / "test/mockgpu/amd/emu.py").exists():
        return target
    with urllib.request.urlopen(URL, timeout=LIMIT_S) as answer:
        archive = BytesIO(answer.read())
    with tarfile.open(fileobj=archive, mode="r:gz") as packed:
        for member in packed.getmembers():
            member.name = member.name.partition("/")[2]  # the folder that the archive adds
            if member.isfile() and member.name.startswith(_KEPT):
                packed.extract(member, target, filter="data")
    return target


def main() -> int:
    try:
        print(fetch())
    except OSError as error:
        print(f"{URL}: {error}", file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())
