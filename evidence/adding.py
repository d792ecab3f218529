"""One more file in a bundle that is whole already: what only who resets may read, since it selects through index registers.

The file is synced before the manifest names it, and the manifest is replaced as a whole: whenever the machine dies, what the
manifest names is there. A file that it does not name yet is told by `check`, as any other stranger."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from base.errors import Unavailable
from base.files import read_bounded
from evidence.checking import MAX_MANIFEST_BYTES
from evidence.writer import MANIFEST, cannot_write, sync, write_synced

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def add(folder: Path, name: str, data: bytes, *, by: str) -> str:
    """Write a file of ours, which holds nothing to redact, and name it in the manifest as made by `by`. Its name: with a
    number behind it where there is such a file. Raises NotPermitted, Unavailable (no bundle there, disk full)."""
    manifest = _manifest(folder)
    stem, dot, ending = name.rpartition(".")
    taken = {entry["name"] for entry in manifest["files"]}
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{dot}{ending}"
    path = folder / name
    new = folder / f".{MANIFEST}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_synced(os.open(path, _FLAGS, 0o600), data)
        sync(path.parent)
        manifest["files"].append(
            {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "by": by, "cut": False, "redacted": 0}
        )  # fmt: skip
        write_synced(os.open(new, _FLAGS, 0o600), (json.dumps(manifest, indent=1) + "\n").encode())
        new.rename(folder / MANIFEST)
        sync(folder)
    except OSError as error:
        raise cannot_write(error, path) from error
    return name


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_bounded(folder / MANIFEST, MAX_MANIFEST_BYTES))
        if isinstance(found["files"], list):
            return dict(found)
        seen = "no list of files"
    except (ValueError, KeyError, TypeError) as error:
        seen = f"{type(error).__name__}: {error}"
    raise Unavailable(f"adding to {folder}", expected="a bundle with its manifest", seen=seen, where=str(folder))
