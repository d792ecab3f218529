"""One file of a bundle's folder, and reading it again as a stream: tar.gz, or tar.zst where zstandard is there.

The same folder gives the same bytes (for one version of the compressor): members in order of name behind the manifest, no
owner, no mode of its own, the time at which the bundle was begun. Reading is bounded in memory, size and ratio."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import io
import os
import secrets
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from base.errors import InvalidData, Unavailable, UsageError
from base.files import explain, open_regular
from evidence.safe import Folder
from evidence.ustar import Read
from evidence.writer import MANIFEST, cannot_write

SUFFIXES = (".tar.zst", ".tar.gz")
MIB = 1 << 20
MAX_PACKED_BYTES = 512 * MIB
MAX_UNPACKED_BYTES = 1024 * MIB
MAX_FILE_BYTES = 256 * MIB
MAX_RATIO = 500
_FREE_BYTES = 32 * MIB  # a ratio is not asked for below this
_CHUNK_BYTES = MIB
_WINDOW_BYTES = 128 * MIB
_SIP_BYTES = 1024
_HOW_TO_GET = "pip install zstandard (or gpumend[zstandard]); or name a file that ends in .tar.gz"


def suffix_of(target: Path) -> str:
    """`.tar.zst`, `.tar.gz`, or "" for what is to be a folder."""
    return next((suffix for suffix in SUFFIXES if target.name.endswith(suffix)), "")


def require_packer(target: Path) -> None:
    """Raise Unavailable now rather than after collecting, when the packer for that suffix is not installed."""
    if suffix_of(target) == ".tar.zst":
        _zstd()


def pack(folder: Path, target: Path, files: list[str], *, mtime: int = 0) -> str:
    """Write `folder`'s manifest and `files` as one archive, synced; returns the SHA-256 of the archive.

    Nothing is overwritten. Raises UsageError (another suffix), Refused, NotPermitted, Unavailable."""
    suffix = suffix_of(target)
    if not suffix:
        raise UsageError(f"packing {target}", expected=f"a name that ends in {' or '.join(SUFFIXES)}", seen=target.name)
    require_packer(target)
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot_write(error, target) from error
    try:
        with os.fdopen(handle, "w+b") as file:
            with (
                _packer(file, suffix) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
            ):
                _add_all(tar, folder, files, mtime, stem_of(target))
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        _put_in_place(new, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise cannot_write(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
    return digest


def _put_in_place(new: Path, target: Path) -> None:
    """A link, unlike a rename, never replaces what is there; file systems without links (vfat) need one all the same."""
    try:
        os.link(new, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        new.rename(target)


def stem_of(target: Path) -> str:
    """The folder inside the archive."""
    stem = target.name.removesuffix(suffix_of(target))
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in stem)
    return kept.lstrip(".")[:60] or "bundle"


def _add_all(tar: tarfile.TarFile, folder: Path, files: list[str], mtime: int, stem: str) -> None:
    with Folder(folder) as opened:
        for name in [MANIFEST, *sorted(files)]:
            data, more = opened.read(name, MAX_FILE_BYTES)
            if more:
                raise Unavailable(f"packing {name}", expected=f"at most {MAX_FILE_BYTES} bytes", seen="more")
            info = tarfile.TarInfo(f"{stem}/{name}")
            info.size, info.mtime, info.mode = len(data), mtime, 0o600
            tar.addfile(info, io.BytesIO(data))


@contextmanager
def _packer(file: BinaryIO, suffix: str) -> Iterator[Any]:
    if suffix == ".tar.gz":
        import gzip

        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed:
            yield packed
        return
    zstd = _zstd()
    if sys.version_info >= (3, 14):
        packed = zstd.ZstdFile(file, mode="wb", level=10)
    else:
        packed = zstd.ZstdCompressor(level=10, write_checksum=True).stream_writer(file, closefd=False)
    with packed:
        yield packed


def _zstd() -> Any:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "zstandard"
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Unavailable(
            "packing or unpacking .tar.zst",
            expected="Python 3.14 or later, or the Python package zstandard",
            seen=f"Python {sys.version_info[0]}.{sys.version_info[1]} without it",
            next_step=_HOW_TO_GET,
        ) from None


# ---------------------------------------------------------------- reading


class Unpacked:
    """The unpacked stream of an archive, as `ustar.members` wants it. `sha256` of the packed bytes once all was read."""

    def __init__(self, chunks: Iterator[bytes], where: str) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._where = where

    def read(self, size: int) -> bytes:
        parts = [self._buffer]
        have = len(self._buffer)
        while have < size and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            have += len(chunk)
        whole = b"".join(parts)
        self._buffer = whole[size:]
        return whole[:size]


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[Read, Any]]:
    """A function that reads the unpacked bytes, and the digest of the packed ones (whole when everything was read).

    Raises what `open_regular` raises, UsageError for another suffix, Unavailable without zstandard. Reading raises
    InvalidData for damage and beyond the limits."""
    doing = f"reading {path}"
    suffix = suffix_of(path)
    if not suffix:
        try:
            path.stat()
        except (OSError, ValueError) as error:
            raise explain(error, path, doing) from error
        expected = f"a bundle's folder, or a file that ends in {' or '.join(SUFFIXES)}"
        raise UsageError(doing, expected=expected, seen=path.name)
    require_packer(path)
    handle = open_regular(path, MAX_PACKED_BYTES, doing)
    digest = hashlib.sha256()
    with os.fdopen(handle, "rb") as file:
        packed = _Packed(file, digest)
        plain = _gunzip(packed, path) if suffix == ".tar.gz" else _unzstd(packed, path)
        yield Unpacked(_bounded(plain, packed, path), str(path)).read, digest


class _Packed:
    """Reads the file, hashes and counts what was read."""

    def __init__(self, file: BinaryIO, digest: Any) -> None:
        self._file, self._digest = file, digest
        self.total = 0

    def read(self, size: int = _CHUNK_BYTES) -> bytes:
        data = self._file.read(size if size >= 0 else _CHUNK_BYTES)
        self._digest.update(data)
        self.total += len(data)
        return data


def _bounded(plain: Iterator[bytes], packed: _Packed, path: Path) -> Iterator[bytes]:
    total = 0
    for chunk in plain:
        total += len(chunk)
        if total > MAX_UNPACKED_BYTES:
            raise damaged(path, f"at most {MAX_UNPACKED_BYTES} bytes unpacked", "more")
        if total > _FREE_BYTES and total > MAX_RATIO * packed.total:
            raise damaged(path, f"at most {MAX_RATIO} bytes from one", f"{total} bytes from {packed.total}: a bomb")
        yield chunk


def _gunzip(packed: _Packed, path: Path) -> Iterator[bytes]:
    """One gzip member, and nothing behind it."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        while not unpacker.eof:
            data = unpacker.unconsumed_tail or packed.read()
            if not data:
                raise damaged(path, "a whole archive", "it ends in the middle")
            chunk = unpacker.decompress(data, _CHUNK_BYTES)
            if chunk:
                yield chunk
    except zlib.error as error:
        raise damaged(path, "a gzip file", str(error)) from error
    if unpacker.unused_data or packed.read(1):
        raise damaged(path, "nothing behind the end of the archive", "more data")


def _unzstd(packed: _Packed, path: Path) -> Iterator[bytes]:
    """One zstd frame, and nothing behind it."""
    zstd = _zstd()
    if sys.version_info >= (3, 14):
        options = {zstd.DecompressionParameter.window_log_max: _WINDOW_BYTES.bit_length() - 1}
        yield from _zstd_of_python(zstd.ZstdDecompressor(options=options), zstd.ZstdError, packed, path)
        return
    yield from _zstd_of_package(zstd.ZstdDecompressor(max_window_size=_WINDOW_BYTES), zstd.ZstdError, packed, path)


def _zstd_of_package(zstd: Any, failure: type[Exception], packed: _Packed, path: Path) -> Iterator[bytes]:
    """The package gives all that its input makes at once: a block of four bytes can make 128 KiB, so it gets little."""
    unpacker = zstd.decompressobj()
    try:
        while not unpacker.eof:
            data = packed.read(_SIP_BYTES)
            if not data:
                raise damaged(path, "a whole archive", "it ends in the middle")
            chunk = unpacker.decompress(data)
            if chunk:
                yield chunk
    except failure as error:
        raise damaged(path, "a zstd file", str(error)) from error
    if unpacker.unused_data or packed.read(1):
        raise damaged(path, "nothing behind the end of the archive", "more data")


def _zstd_of_python(unpacker: Any, failure: type[Exception], packed: _Packed, path: Path) -> Iterator[bytes]:
    try:
        while not unpacker.eof:
            data = packed.read() if unpacker.needs_input else b""
            if unpacker.needs_input and not data:
                raise damaged(path, "a whole archive", "it ends in the middle")
            chunk = unpacker.decompress(data, _CHUNK_BYTES)
            if chunk:
                yield chunk
    except failure as error:
        raise damaged(path, "a zstd file", str(error)) from error
    if unpacker.unused_data or packed.read(1):
        raise damaged(path, "nothing behind the end of the archive", "more data")


def damaged(path: Path, expected: str, seen: str) -> InvalidData:
    return InvalidData(f"reading {path}", expected=expected, seen=seen, where=str(path), next_step="ask for it again")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
