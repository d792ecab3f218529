"""Fill tinygrad's download cache with AMD's firmware from a local folder, so that tinygrad needs no network.

Run it with the interpreter that has tinygrad, before the process that opens the GPU:

    python tools/tinygrad_cache.py FOLDER --firmware .cache/firmware/amdgpu
    XDG_CACHE_HOME=FOLDER DEV=PCI+AMD REMOTE=127.0.0.1:6667 python ...

tinygrad asks for each file at an address pinned by commit, by a SHA-256 pinned too, and keeps it under the MD5 of the
address (`tinygrad/helpers.py` fetch_fw, fetch). Its own code stores the files here: only the opening of addresses
is replaced, in this process, by reading the folder. Files whose sum is not the pinned one are named, not stored."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

HASHES = "tinygrad.runtime.autogen.am.fw"


class LocalAnswer(io.BytesIO):
    """What urlopen gives for an address that answers."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.status = 200
        self.headers = {"content-length": str(len(data))}


def opener(folder: Path) -> Callable[..., LocalAnswer]:
    """In place of urlopen: the file of `folder` with the last name of the address."""

    def opened(request: urllib.request.Request, timeout: float | None = None) -> LocalAnswer:
        return LocalAnswer((folder / Path(request.full_url).name).read_bytes())

    return opened


def sort_out(folder: Path, hashes: Mapping[str, str]) -> tuple[list[str], list[str], list[str]]:
    """Names of the wanted files: as pinned, different, missing."""
    same: list[str] = []
    different: list[str] = []
    missing: list[str] = []
    for name, wanted in sorted(hashes.items()):
        path = folder / name
        if not path.is_file():
            missing.append(name)
            continue
        seen = hashlib.sha256(path.read_bytes()).hexdigest()
        (same if seen == wanted else different).append(name)
    return same, different, missing


def fill(cache: Path, folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Store what `folder` has as pinned below `cache`; names stored, different, missing. Call it once, in its own process."""
    if "tinygrad" in sys.modules:
        raise RuntimeError("tinygrad was imported before its cache folder was chosen")
    os.environ["XDG_CACHE_HOME"] = str(cache)
    helpers: Any = importlib.import_module("tinygrad.helpers")
    hashes: Mapping[str, str] = importlib.import_module(HASHES).hashes
    same, different, missing = sort_out(folder, hashes)
    before = urllib.request.urlopen
    urllib.request.urlopen = opener(folder)
    try:
        with redirect_stderr(io.StringIO()):  # a bar of progress for each file
            for name in same:
                helpers.fetch_fw("amdgpu", name, hashes[name])
    finally:
        urllib.request.urlopen = before
    return same, different, missing


def main() -> int:
    parser = argparse.ArgumentParser(description="Fill tinygrad's download cache from a folder of AMD firmware.")
    parser.add_argument("cache", type=Path, help="the XDG_CACHE_HOME that tinygrad will get")
    parser.add_argument("--firmware", type=Path, default=Path(".cache/firmware/amdgpu"))
    given = parser.parse_args()
    same, different, missing = fill(given.cache, given.firmware)
    print(f"stored {len(same)} files")
    for what, names in (("differs from the pinned sum", different), ("missing", missing)):
        for name in names:
            print(f"{what}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
