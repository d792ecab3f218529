"""Bring AMD's firmware files into the git-ignored cache: `python tools/get_firmware.py [--update]`.

The files come from Debian's newest firmware-amd-graphics (base/debian.py). They land in .cache/firmware/amdgpu, the
package's version in .cache/firmware/VERSION. Without --update a filled cache is left as it is."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a script: make the checkout importable
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base import debian

PACKAGE = "firmware-amd-graphics"
TARGET = debian.CACHE / "firmware"
LICENCES = ("copyright", "copyright.gz")
Download = Callable[..., Path]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/get_firmware.py", description=__doc__)
    parser.add_argument("--update", action="store_true", help="ask the mirror whether there is a newer package")
    parser.add_argument("--suite", default=debian.SUITE, help="Debian suite (default: %(default)s)")
    told = parser.parse_args(arguments)
    try:
        version = fetch(TARGET, update=told.update, suite=told.suite)
    except debian.DebianError as error:
        print(f"get_firmware: {error}", file=sys.stderr)
        return 69
    print(f"{TARGET / 'amdgpu'}: {PACKAGE} {version}")
    return 0


def fetch(
    target: Path, *, update: bool = False, suite: str = debian.SUITE, download: Download = debian.download
) -> str:
    """Fill `target` and return the package's version. Raises debian.DebianError. An interrupted run leaves the old files."""
    here = installed(target)
    if here and not update:
        return here
    deb = download(PACKAGE, suite, newest=update)
    version = debian.version_of(deb)
    if version == here:
        return here
    _unpack(deb, target, version)
    return version


def installed(target: Path) -> str:
    """The package version that `target` holds, "" when it holds none or not all of it."""
    note = target / "VERSION"
    if not note.is_file() or not (target / "amdgpu").is_dir():
        return ""
    return note.read_text().strip()


def wanted(path: str) -> bool:
    """Whether a file of the package belongs into the cache: the amdgpu folder and the licence."""
    if path.startswith(f"usr/share/doc/{PACKAGE}/"):
        return Path(path).name in LICENCES
    return path.removeprefix("usr/").startswith("lib/firmware/amdgpu/")


def _unpack(deb: Path, target: Path, version: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    staging = target / "unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    debian.extract(deb, staging, wanted)
    folder = next((path for path in staging.rglob("amdgpu") if path.is_dir()), None)
    if folder is None or not any(folder.iterdir()):
        shutil.rmtree(staging, ignore_errors=True)
        raise debian.DebianError(f"{deb}: holds no lib/firmware/amdgpu folder")
    (target / "VERSION").unlink(missing_ok=True)  # from here on the cache is not whole until the note is back
    shutil.rmtree(target / "amdgpu", ignore_errors=True)
    folder.rename(target / "amdgpu")
    for licence in staging.rglob("copyright*"):
        licence.rename(target / licence.name)
    shutil.rmtree(staging, ignore_errors=True)
    (target / "VERSION").write_text(f"{version}\n")


if __name__ == "__main__":
    sys.exit(main())
