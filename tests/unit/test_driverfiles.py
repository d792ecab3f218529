"""Mappings of a kernel driver's files, as this machine makes them: on a file of this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcibus.driverfiles import HostFiles


def test_host_mapping_reads_stores_and_closes(tmp_path: Path) -> None:
    (tmp_path / "node").write_bytes(bytes(range(256)) * 33)
    files = HostFiles(dev=tmp_path)
    handle = files.open("/dev/node")
    mapped = files.mmap(handle, 8447, writable=True)
    assert mapped[250:260] == bytes([250, 251, 252, 253, 254, 255, 0, 1, 2, 3])
    mapped[0:4] = b"abcd"
    mapped.store32(8440, 0x11223344)
    mapped.close()
    files.close(handle)
    data = (tmp_path / "node").read_bytes()
    assert data[:5] == b"abcd\x04" and data[8440:8444] == b"\x44\x33\x22\x11"


def test_host_mapping_for_reading_takes_no_store(tmp_path: Path) -> None:
    (tmp_path / "node").write_bytes(bytes(4096))
    files = HostFiles(dev=tmp_path)
    handle = files.open("/dev/node")
    mapped = files.mmap(handle, 4096)
    with pytest.raises(TypeError):
        mapped[0:4] = b"abcd"
    with pytest.raises(TypeError):
        mapped.store32(0, 1)
    mapped.close()
    files.close(handle)
