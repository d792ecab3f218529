"""AMD's headers out of Debian's linux-source package, in the git-ignored cache.

    .venv/bin/python tools/debian_source.py            # fetch (about 160 MB) and unpack what the generators read

`source()` tells the generators where the tree lies and of which package version it is."""

from __future__ import annotations

import argparse
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base import debian

PACKAGE = "linux-source-7.3"
FOLDERS = ("drivers/gpu/drm/amd/", "drivers/pci/", "include/linux/", "include/uapi/")
AMD = "drivers/gpu/drm/amd"


@dataclass(frozen=True, slots=True)
class Source:
    """An unpacked kernel tree; `package` and `version` as Debian names them."""

    root: Path
    package: str
    version: str

    @property
    def amd(self) -> Path:
        return self.root / AMD

    def __str__(self) -> str:
        return f"Debian {self.package} {self.version}"


def source(cache: Path = debian.CACHE) -> Source | None:
    """The tree in the cache, or None when there is none or its version is not known."""
    note = cache / "linux" / "VERSION"
    root = cache / "linux" / PACKAGE
    if not note.exists() or not (root / AMD).is_dir():
        return None
    return Source(root, PACKAGE, note.read_text().strip())


def unpack(deb: Path, cache: Path = debian.CACHE) -> Source:
    """Unpack the folders that the generators read: the package holds one tar.xz of the whole kernel."""
    into = cache / "linux"
    into.mkdir(parents=True, exist_ok=True)
    note = into / "VERSION"
    note.unlink(missing_ok=True)
    prefixes = tuple(f"{PACKAGE}/{folder}" for folder in FOLDERS)
    count = 0
    with debian.data_stream(deb) as stream, tarfile.open(fileobj=stream, mode="r|") as outer:
        for member in outer:
            if not member.name.endswith(f"{PACKAGE}.tar.xz"):
                continue
            inner = outer.extractfile(member)
            if inner is None:
                raise debian.DebianError(f"{deb}: {member.name} is not a file")
            with debian.xz_stream(inner) as tree:
                count = debian.extract_tar(tree, into, lambda path: path.startswith(prefixes))
    if not count:
        raise debian.DebianError(f"{deb}: no {PACKAGE}.tar.xz with {AMD} inside")
    note.write_text(f"{debian.version_of(deb)}\n")
    return Source(into / PACKAGE, PACKAGE, debian.version_of(deb))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fetch and unpack the kernel headers that the generators read")
    parser.add_argument("--offline", action="store_true", help="unpack the package that was downloaded last")
    options = parser.parse_args(arguments)
    try:
        deb = debian.cached(PACKAGE) if options.offline else debian.download(PACKAGE)
        if deb is None:
            raise debian.DebianError(f"{PACKAGE} was not downloaded yet; run without --offline")
        kept = source()
        if kept and kept.version == debian.version_of(deb):
            print(f"{kept} is unpacked in {kept.root}")
            return 0
        print(f"{unpack(deb)} unpacked in {debian.CACHE / 'linux'}")
    except debian.DebianError as error:
        print(f"debian_source: {error}", file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())
