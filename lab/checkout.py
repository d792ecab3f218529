"""This checkout as the guest sees it: /gpumend, with byte code of the guest's Python.

What is copied lies in the cache and is compiled again only where it changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab import cpio, guesttree
from lab.parts import CHECKOUT
from lab.tree import Tree

PLACE = "gpumend"
SKIPPED = frozenset({"__pycache__", "build", "dist", "docs", "site-packages"})
LARGEST_BYTES = 4 << 20


def refresh(cache: Path, tree: Tree) -> Path:
    """An archive of the checkout as it is now."""
    mirror = cache / "checkout" / PLACE
    mirror.mkdir(parents=True, exist_ok=True)
    _mirror(CHECKOUT, mirror)
    guesttree.compile_in(tree, [mirror], strip=mirror.parent)
    archive = cache / "checkout.cpio"
    cpio.pack(archive, lambda out: out.tree(mirror, PLACE))
    return archive


def wanted(path: Path) -> bool:
    """No hidden files, nothing that tools leave behind, no large files."""
    if path.name.startswith(".") or path.name in SKIPPED or path.name.endswith(".egg-info"):
        return False
    return path.is_dir() or (path.is_file() and path.stat().st_size <= LARGEST_BYTES)


def _mirror(source: Path, target: Path) -> None:
    """Make `target` like `source`: copy what is new or changed, remove what is gone. Byte code stays beside its source."""
    there = {item.name: item for item in source.iterdir() if wanted(item)}
    for old in list(target.iterdir()):
        if old.name not in there and old.name != "__pycache__":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, item in there.items():
        copy = target / name
        if item.is_dir():
            copy.mkdir(exist_ok=True)
            _mirror(item, copy)
        elif not _same(item, copy):
            copy.unlink(missing_ok=True)  # a cache that was copied by hard links must not write through them
            shutil.copyfile(item, copy)
            times = item.stat()
            os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))


def _same(item: Path, copy: Path) -> bool:
    if not copy.is_file():
        return False
    one, other = item.stat(), copy.stat()
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
