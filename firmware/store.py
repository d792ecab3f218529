"""Find firmware files on this machine and read them, packed or not, within bounds.

Packed files: `.zst` and `.xz` as the kernel takes them (firmware_class). Sizes are limited before and after unpacking."""

from __future__ import annotations

import importlib
import io
import lzma
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base.errors import InvalidData, NotPermitted, Unavailable, UsageError
from base.files import MIB, explain, kind_word, read_bounded
from firmware.containers import parse
from firmware.model import FirmwareFile
from firmware.needed import PACKAGES

LIMIT_BYTES = 64 * MIB
UNPACKING_MEMORY_BYTES = 256 * MIB
MOST_STREAMS = 16  # xz writes one; a few when files were put behind each other
SUFFIXES = ("", ".zst", ".xz")
VARIABLE = "GPUMEND_FIRMWARE"
CACHE = Path(__file__).resolve().parent.parent / ".cache/firmware/amdgpu"  # filled by tools/get_firmware.py
# The kernel looks into `updates` first: there AMD's own driver packages put their files.
SYSTEM_DIRS = (Path("/lib/firmware/updates/amdgpu"), Path("/lib/firmware/amdgpu"))
HOW_TO_GET = f"install {PACKAGES}, or run `make firmware` in a checkout, or name a folder with --firmware DIR"


def search_dirs(explicit: str | None = None) -> list[Path]:
    """Folders to look into: the one named, else $GPUMEND_FIRMWARE, else the cache and the system's folders."""
    told = explicit or os.environ.get(VARIABLE)
    if told:
        return [Path(told)]
    return [CACHE, *SYSTEM_DIRS]


def find(name: str, dirs: Sequence[Path]) -> Path:
    """The file `name` (`psp_13_0_6_sos.bin`) or its packed form in the first folder that has it.

    Raises Unavailable naming the packages that hold it, NotPermitted when a folder may not be searched."""
    if Path(name).name != name:
        raise UsageError(f"looking for firmware {name!r}", expected="a file name without folders", seen=name)
    for folder in dirs:
        for suffix in SUFFIXES:
            path = folder / (name + suffix)
            if _exists(path):
                return path
    raise Unavailable(
        f"looking for firmware {name}",
        expected=f"{name}, {name}.zst or {name}.xz",
        seen="no such file",
        where=", ".join(str(folder) for folder in dirs) or "no folder",
        next_step=HOW_TO_GET,
    )


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError as error:
        raise explain(error, path, f"looking for firmware {path.name}") from error
    except (OSError, ValueError):
        return False
    return True


def load(name: str, dirs: Sequence[Path] | None = None) -> FirmwareFile:
    """Find, read and decode one file. `dirs` defaults to `search_dirs()`. Raises what `find` and `read` raise."""
    path = find(name, search_dirs() if dirs is None else dirs)
    return parse(read(path), path.name)


def read(path: Path) -> bytes:
    """The bytes of a firmware file, unpacked when its name ends in `.xz` or `.zst`; at most 64 MiB.

    Raises what `base.files.read_bounded` raises; InvalidData for a damaged archive; Unavailable when `.zst` needs a
    Python package that is not installed."""
    data = read_bounded(path, LIMIT_BYTES)
    if path.suffix == ".xz":
        return _unxz(data, path)
    if path.suffix == ".zst":
        return _unzstd(data, path)
    return data


def _unxz(data: bytes, path: Path) -> bytes:
    parts: list[bytes] = []
    left = LIMIT_BYTES
    try:
        for _ in range(MOST_STREAMS):
            if not data:
                return b"".join(parts)
            unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=UNPACKING_MEMORY_BYTES)
            parts.append(unpacker.decompress(data, max_length=left + 1))
            left -= len(parts[-1])
            if left < 0:
                raise _too_big(path)
            if not unpacker.eof:
                raise _damaged(path, "the archive ends early")
            data = unpacker.unused_data.lstrip(b"\0")  # padding between streams
    except lzma.LZMAError as error:
        raise _damaged(path, str(error)) from error
    # Each further stream copies what is left of the file: a file of nothing but tiny ones would cost minutes.
    raise _damaged(path, f"more than {MOST_STREAMS} streams in one file")


def _unzstd(data: bytes, path: Path) -> bytes:
    if sys.version_info >= (3, 14):
        stream, failure = _zstd_of_python(data)
    else:
        stream, failure = _zstd_of_package(data, path)
    try:
        plain: bytes = stream.read(LIMIT_BYTES + 1)
    except (failure, EOFError) as error:
        raise _damaged(path, str(error)) from error
    if len(plain) > LIMIT_BYTES:
        raise _too_big(path)
    if data and not plain:
        raise _damaged(path, "nothing in the archive")
    return plain


def _zstd_of_python(data: bytes) -> tuple[Any, type[Exception]]:
    zstd = importlib.import_module("compression.zstd")
    return zstd.ZstdFile(io.BytesIO(data)), zstd.ZstdError


def _zstd_of_package(data: bytes, path: Path) -> tuple[Any, type[Exception]]:
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise Unavailable(
            f"unpacking {path.name}",
            expected="Python 3.14 or later, or the Python package zstandard",
            seen=f"Python {sys.version_info[0]}.{sys.version_info[1]} without it",
            where=str(path),
            next_step="pip install zstandard (or gpumend[zstandard]); or zstd -d the file",
        ) from None
    unpacker = zstandard.ZstdDecompressor(max_window_size=UNPACKING_MEMORY_BYTES)
    return unpacker.stream_reader(data, read_across_frames=True), zstandard.ZstdError


def _damaged(path: Path, seen: str) -> InvalidData:
    return InvalidData(
        f"unpacking {path.name}",
        expected="a whole archive",
        seen=seen,
        where=str(path),
        next_step=f"reinstall {PACKAGES}",
    )


def _too_big(path: Path) -> InvalidData:
    return InvalidData(
        f"unpacking {path.name}",
        expected=f"at most {LIMIT_BYTES} bytes",
        seen=f"more than {LIMIT_BYTES} bytes",
        where=str(path),
    )


def list_folder(path: Path) -> list[str]:
    """Names in a folder, sorted. Raises Unavailable, NotPermitted or UsageError (not a folder)."""
    doing = f"listing {path}"
    try:
        return sorted(entry.name for entry in path.iterdir())
    except NotADirectoryError:
        kind = kind_word(path.stat().st_mode) or "a file"
        raise UsageError(doing, expected="a folder", seen=kind, where=str(path)) from None
    except PermissionError as error:
        raise NotPermitted(
            doing,
            expected="read permission on the folder",
            seen=os.strerror(error.errno or 0),
            where=str(path),
            next_step=f"ls -ld {path}",
        ) from error
    except (OSError, ValueError) as error:
        raise explain(error, path, doing) from error
