"""Firmware: decode and check the 22 files of MI300X and MI350X, against the checksum and the digest alone."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

from bench.harness import Row, compare
from firmware import store
from firmware.needed import ALL_NAMES
from firmware.verify import check


def rows() -> list[Row]:
    """One row; none when no firmware is at hand."""
    folder = next((path for path in store.search_dirs() if (path / "psp_13_0_6_sos.bin").exists()), None)
    return [] if folder is None else [_row(folder)]


def _row(folder: Path) -> Row:
    files = [(name, (folder / name).read_bytes()) for name in sorted(ALL_NAMES) if (folder / name).exists()]

    def ours() -> None:
        for name, data in files:
            check(data, name)

    def floor() -> None:
        for _, data in files:
            zlib.crc32(memoryview(data)[0x20:])
            hashlib.sha256(data).hexdigest()

    return compare(f"firmware: check {len(files)} files", ours, floor, goal="<= 2x CRC and SHA-256 alone")
