"""Bring firmware files into the git-ignored cache: `python tools/get_firmware.py [--nvidia] [--update]`.

The files come from Debian's newest firmware-amd-graphics (base/debian.py). They land in .cache/firmware/amdgpu, the
package's version in .cache/firmware/VERSION. With --nvidia: from firmware-nvidia-graphics (104 MB), into
.cache/firmware-nvidia/nvidia, the GSP firmware of one chip of each family. Without --update a filled cache is left as it is."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):  # run as a script: make the checkout importable
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base import debian

LICENCES = ("copyright", "copyright.gz")
Download = Callable[..., Path]


@dataclass(frozen=True, slots=True)
class Source:
    """`folder` of lib/firmware in a package; `parts`: only these folders of it (all when empty)."""

    package: str
    folder: str
    target: Path
    parts: tuple[str, ...] = ()

    def wants(self, path: str) -> bool:
        """Whether a file of the package belongs into the cache: the folder and the licence."""
        if path.startswith(f"usr/share/doc/{self.package}/"):
            return Path(path).name in LICENCES
        below = path.removeprefix("usr/").removeprefix(f"lib/firmware/{self.folder}/")
        if below == path.removeprefix("usr/"):
            return False
        return not self.parts or below.startswith(self.parts)


AMD = Source("firmware-amd-graphics", "amdgpu", debian.CACHE / "firmware")
# The image of GSP-RM lies in ga102 and is shared by all but Turing and GA100.
_CHIPS = ("ga102", "ad102", "gh100", "gb100", "gb202")
NVIDIA = Source(
    "firmware-nvidia-graphics",
    "nvidia",
    debian.CACHE / "firmware-nvidia",
    tuple(f"{chip}/gsp/" for chip in _CHIPS),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/get_firmware.py", description=__doc__)
    parser.add_argument("--nvidia", action="store_true", help="NVIDIA's instead")
    parser.add_argument("--update", action="store_true", help="ask the mirror whether there is a newer package")
    parser.add_argument("--suite", default=debian.SUITE, help="Debian suite (default: %(default)s)")
    told = parser.parse_args(arguments)
    source = NVIDIA if told.nvidia else AMD
    try:
        version = fetch(source.target, source=source, update=told.update, suite=told.suite)
    except debian.DebianError as error:
        print(f"get_firmware: {error}", file=sys.stderr)
        return 69
    print(f"{source.target / source.folder}: {source.package} {version}")
    return 0


def fetch(
    target: Path,
    *,
    source: Source = AMD,
    update: bool = False,
    suite: str = debian.SUITE,
    download: Download = debian.download,
) -> str:
    """Fill `target` and return the package's version. Raises debian.DebianError. An interrupted run leaves the old files."""
    here = installed(target, source)
    if here and not update:
        return here
    deb = download(source.package, suite, newest=update)
    version = debian.version_of(deb)
    if version == here:
        return here
    _unpack(deb, target, version, source)
    return version


def installed(target: Path, source: Source = AMD) -> str:
    """The package version that `target` holds, "" when it holds none or not all of it."""
    note = target / "VERSION"
    if not note.is_file() or not (target / source.folder).is_dir():
        return ""
    return note.read_text().strip()


def _unpack(deb: Path, target: Path, version: str, source: Source) -> None:
    target.mkdir(parents=True, exist_ok=True)
    staging = target / "unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    debian.extract(deb, staging, source.wants)
    folder = next((path for path in staging.rglob(source.folder) if path.is_dir()), None)
    if folder is None or not any(folder.iterdir()):
        shutil.rmtree(staging, ignore_errors=True)
        raise debian.DebianError(f"{deb}: holds no lib/firmware/{source.folder} folder")
    (target / "VERSION").unlink(missing_ok=True)  # from here on the cache is not whole until the note is back
    shutil.rmtree(target / source.folder, ignore_errors=True)
    folder.rename(target / source.folder)
    for licence in staging.rglob("copyright*"):
        licence.rename(target / licence.name)
    shutil.rmtree(staging, ignore_errors=True)
    (target / "VERSION").write_text(f"{version}\n")


if __name__ == "__main__":
    sys.exit(main())
