"""tools/get_firmware.py on packages made here: what lands in the cache, and when the mirror is asked."""

from __future__ import annotations

import io
import lzma
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from base import debian
from tools import get_firmware


def ar(members: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def package(folder: Path, version: str, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(f"./{name}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    folder.mkdir(exist_ok=True)
    path = folder / f"firmware-amd-graphics_{version}_all.deb"
    path.write_bytes(ar({"debian-binary": b"2.0\n", "data.tar.xz": lzma.compress(stream.getvalue())}))
    return path


class Mirror:
    """Stands for base.debian.download; counts how often it was asked."""

    def __init__(self, deb: Path) -> None:
        self.deb = deb
        self.asked: list[tuple[str, str, bool]] = []

    def __call__(self, name: str, suite: str, *, newest: bool) -> Path:
        self.asked.append((name, suite, newest))
        return self.deb


FILES = {
    "usr/lib/firmware/amdgpu/sdma_4_4_2.bin": b"new",
    "usr/lib/firmware/amdgpu/gc_9_4_3_mec.bin": b"mec",
    "usr/lib/firmware/radeon/other.bin": b"no",
    "usr/share/doc/firmware-amd-graphics/copyright": b"licence",
    "usr/share/doc/firmware-amd-graphics/changelog.Debian.gz": b"no",
}


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    links = {"usr/lib/firmware/amdgpu/gc_9_4_3_mec2.bin": "gc_9_4_3_mec.bin"}
    return Mirror(package(tmp_path / "debs", "20260916-1~bpo13+1", FILES, links))


def test_fetch_unpacks_the_amdgpu_folder_and_the_licence_only(tmp_path: Path, mirror: Mirror) -> None:
    target = tmp_path / "firmware"
    assert get_firmware.fetch(target, download=mirror) == "20260916-1~bpo13+1"
    assert sorted(path.name for path in target.iterdir()) == ["VERSION", "amdgpu", "copyright"]
    assert sorted(path.name for path in (target / "amdgpu").iterdir()) == [
        "gc_9_4_3_mec.bin",
        "gc_9_4_3_mec2.bin",
        "sdma_4_4_2.bin",
    ]
    assert (target / "amdgpu/gc_9_4_3_mec2.bin").read_bytes() == b"mec"
    assert (target / "VERSION").read_text() == "20260916-1~bpo13+1\n"
    assert mirror.asked == [("firmware-amd-graphics", "trixie-backports", False)]


def test_fetch_filled_cache_asks_nobody(tmp_path: Path, mirror: Mirror) -> None:
    get_firmware.fetch(tmp_path / "firmware", download=mirror)
    assert get_firmware.fetch(tmp_path / "firmware", download=mirror) == "20260916-1~bpo13+1"
    assert len(mirror.asked) == 1


def test_fetch_update_with_the_same_version_leaves_the_files(tmp_path: Path, mirror: Mirror) -> None:
    target = tmp_path / "firmware"
    get_firmware.fetch(target, download=mirror)
    (target / "amdgpu/mark").touch()
    assert get_firmware.fetch(target, update=True, download=mirror) == "20260916-1~bpo13+1"
    assert (target / "amdgpu/mark").exists()
    assert mirror.asked[-1][2] is True


def test_fetch_update_with_a_newer_version_replaces_the_files(tmp_path: Path, mirror: Mirror) -> None:
    target = tmp_path / "firmware"
    get_firmware.fetch(target, download=mirror)
    mirror.deb = package(tmp_path / "debs", "20270101-1", {"lib/firmware/amdgpu/a.bin": b"a"})
    assert get_firmware.fetch(target, update=True, download=mirror) == "20270101-1"
    assert [path.name for path in (target / "amdgpu").iterdir()] == ["a.bin"]
    assert get_firmware.installed(target) == "20270101-1"


def test_fetch_package_without_the_folder_keeps_the_old_files(tmp_path: Path, mirror: Mirror) -> None:
    target = tmp_path / "firmware"
    get_firmware.fetch(target, download=mirror)
    mirror.deb = package(tmp_path / "debs", "20270101-1", {"usr/lib/firmware/radeon/a.bin": b"a"})
    with pytest.raises(debian.DebianError, match="holds no lib/firmware/amdgpu folder"):
        get_firmware.fetch(target, update=True, download=mirror)
    assert get_firmware.installed(target) == "20260916-1~bpo13+1"
    assert not (target / "unpacking").exists()


def test_fetch_after_an_interrupted_run_fills_again(tmp_path: Path, mirror: Mirror) -> None:
    target = tmp_path / "firmware"
    get_firmware.fetch(target, download=mirror)
    (target / "VERSION").unlink()
    (target / "unpacking").mkdir()
    (target / "unpacking/half").touch()
    assert get_firmware.installed(target) == ""
    get_firmware.fetch(target, download=mirror)
    assert get_firmware.installed(target) == "20260916-1~bpo13+1"
    assert not (target / "unpacking").exists()


def test_main_tells_folder_and_version(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    get_firmware.fetch(tmp_path, download=mirror)
    monkeypatch.setattr(get_firmware, "AMD", replace(get_firmware.AMD, target=tmp_path))
    assert get_firmware.main([]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/amdgpu: firmware-amd-graphics 20260916-1~bpo13+1\n"


def test_nvidia_source_takes_the_gsp_firmware_of_some_chips_and_the_licence() -> None:
    wants = get_firmware.NVIDIA.wants
    assert wants("usr/lib/firmware/nvidia/gh100/gsp/fmc-570.144.bin")
    assert wants("usr/share/doc/firmware-nvidia-graphics/copyright")
    assert not wants("usr/lib/firmware/nvidia/tu102/gsp/booter_load-570.144.bin")
    assert not wants("usr/lib/firmware/nvidia/gh100/other.bin")
    assert not wants("usr/lib/firmware/amdgpu/sdma_4_4_2.bin")


def test_main_without_a_mirror_is_69_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*words: object, **more: object) -> str:
        raise debian.DebianError("no mirror here")

    monkeypatch.setattr(get_firmware, "fetch", fail)
    assert get_firmware.main(["--update"]) == 69
    assert "get_firmware: no mirror here" in capsys.readouterr().err
