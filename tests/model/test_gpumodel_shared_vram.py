"""VRAM that others map, too, and VRAM that a reset clears."""

from __future__ import annotations

import mmap
import os

import pytest

from gpumodel.memory import CHUNK, Vram

SIZE = 64 << 20


def test_share_shows_what_others_wrote_and_keeps_its_size() -> None:
    vram = Vram(SIZE)
    assert vram.read(5 * CHUNK, 4) == bytes(4)
    fd = vram.share()
    assert vram.share() == fd
    with mmap.mmap(fd, SIZE) as theirs:
        theirs[5 * CHUNK : 5 * CHUNK + 5] = b"their"
        theirs[7 * CHUNK - 2 : 7 * CHUNK + 2] = b"edge"
        assert vram.read(5 * CHUNK, 5) == b"their"
        assert vram.read(7 * CHUNK - 2, 4) == b"edge"
        assert vram.read(5 * CHUNK, 3 * CHUNK)[2 * CHUNK - 2 : 2 * CHUNK + 2] == b"edge"
        vram.write(9 * CHUNK, b"ours")
        assert theirs[9 * CHUNK : 9 * CHUNK + 4] == b"ours"
        theirs[5 * CHUNK : 5 * CHUNK + 5] = b"again"
        assert vram.read(5 * CHUNK, 5) == b"again"
    for size in (0, SIZE - 1, SIZE + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    vram.close()


def test_share_reading_holes_takes_no_memory() -> None:
    vram = Vram(SIZE)
    vram.share()
    for chunk in range(SIZE // CHUNK):
        vram.read(chunk * CHUNK, 4096)
    assert vram.used() == 0
    vram.close()


@pytest.mark.parametrize("how", ["map", "file", "pages"])
def test_clear_reads_zeros_and_gives_memory_back(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_map(*_: object) -> None:
        raise OSError("no room")

    if how == "file":
        monkeypatch.setattr(mmap, "mmap", no_map)
    if how == "pages":
        monkeypatch.delattr(os, "memfd_create")
    vram = Vram(SIZE)
    for place in (0, 3 * CHUNK + 100, SIZE - 8):
        vram.write(place, b"12345678")
    vram.clear()
    for place in (0, 3 * CHUNK + 100, SIZE - 8):
        assert vram.read(place, 8) == bytes(8)
    if how != "file":  # zeros that were written are memory, too
        assert vram.used() == 0
    vram.write(0, b"after")
    assert vram.read(0, 5) == b"after"
    vram.close()


def test_share_without_memory_files_has_nothing_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    vram = Vram(SIZE)
    assert vram.share() == -1
