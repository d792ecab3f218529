"""base/debian.py and tools/debian_source.py: the mirror, the archive format, and what is said when something is missing."""

from __future__ import annotations

import io
import lzma
import shutil
import tarfile
from pathlib import Path

import pytest

from base import debian
from base.debian import DebianError
from tools import debian_source


def tar_of(files: dict[str, bytes]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return plain.getvalue()


def deb_of(path: Path, member: str, data: bytes) -> Path:
    """A package as ar writes it: a 60-byte header before each part, parts padded to even length."""
    parts = b"!<arch>\n"
    for name, body in (("debian-binary", b"2.0\n"), (member, data)):
        parts += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode()
        parts += body + b"\n" * (len(body) % 2)
    path.write_bytes(parts)
    return path


@pytest.mark.parametrize(
    ("targets", "mirror"),
    [
        ("http://a/debian/ bookworm Debian\n", "http://a/debian/"),
        ("http://a/ubuntu/ noble Ubuntu\n", None),
        ("http://a/debian-security/ bookworm-security Debian\nhttp://b/deb/ bookworm Debian\n", "http://b/deb/"),
        ("http://a/debian bookworm $(ORIGIN)\n", "http://a/debian"),
        ("http://a/debian bookworm\n", "http://a/debian"),
        ("http://a/other bookworm\n", None),
        ("", None),
    ],
)
def test_pick_mirror_takes_debians_own_archive(targets: str, mirror: str | None) -> None:
    assert debian.pick_mirror(targets) == mirror


def test_mirror_told_by_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debian.MIRROR_VARIABLE, "http://mirror/debian")
    assert debian._mirror() == "http://mirror/debian"


def test_download_without_apt_says_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DebianError, match=r"no apt-get\. Fetch some-package_\*_all\.deb of trixie-backports"):
        debian.download("some-package", cache=tmp_path)


def test_download_without_debians_keys_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/apt-get")
    monkeypatch.setattr(debian, "KEYRINGS", (str(tmp_path / "none.gpg"),))
    with pytest.raises(DebianError, match="install the package debian-archive-keyring"):
        debian.download("some-package", cache=tmp_path)


def test_download_of_a_kept_package_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = tmp_path / "apt/archives"
    archives.mkdir(parents=True)
    kept = archives / "linux-source-7.3_1%3a7.3.4-1_all.deb"
    kept.write_bytes(b"")
    monkeypatch.setenv("PATH", "")
    assert debian.download("linux-source-7.3", cache=tmp_path, newest=False) == kept
    assert debian.version_of(kept) == "1:7.3.4-1"


@pytest.mark.parametrize("ending", ["xz", "zst", ""])
def test_extract_unpacks_wanted_files_of_each_compression(tmp_path: Path, ending: str) -> None:
    data = tar_of({"./usr/lib/a.bin": b"A", "./usr/lib/b.txt": b"B"})
    if ending == "xz":
        data = lzma.compress(data)
    elif ending == "zst":
        data = pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    deb = deb_of(tmp_path / "p_1_all.deb", f"data.tar.{ending}".rstrip("."), data)
    assert debian.extract(deb, tmp_path / "out", lambda path: path.endswith(".bin")) == 1
    assert (tmp_path / "out/usr/lib/a.bin").read_bytes() == b"A"
    assert not (tmp_path / "out/usr/lib/b.txt").exists()


def test_extract_of_a_file_that_is_no_package_says_so(tmp_path: Path) -> None:
    path = tmp_path / "p_1_all.deb"
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(DebianError, match="not a Debian package; delete it and fetch it again"):
        debian.extract(path, tmp_path / "out")


def test_extract_of_a_package_without_files_says_so(tmp_path: Path) -> None:
    deb = deb_of(tmp_path / "p_1_all.deb", "control.tar", tar_of({"control": b""}))
    with pytest.raises(DebianError, match=r"holds no data\.tar"):
        debian.extract(deb, tmp_path / "out")


def test_extract_of_unknown_compression_says_so(tmp_path: Path) -> None:
    deb = deb_of(tmp_path / "p_1_all.deb", "data.tar.lz9", b"")
    with pytest.raises(DebianError, match=r"data\.tar\.lz9: compression not known"):
        debian.extract(deb, tmp_path / "out")


def test_source_unpacked_from_a_package_is_found_with_its_version(tmp_path: Path) -> None:
    name = debian_source.PACKAGE
    inner = lzma.compress(tar_of({f"{name}/{debian_source.AMD}/a.h": b"x", f"{name}/drivers/net/b.c": b"y"}))
    data = tar_of({f"./usr/src/{name}.tar.xz": inner})
    deb = deb_of(tmp_path / f"{name}_7.3.4-1_all.deb", "data.tar", data)
    unpacked = debian_source.unpack(deb, tmp_path)
    assert debian_source.source(tmp_path) == unpacked
    assert str(unpacked) == f"Debian {name} 7.3.4-1"
    assert (unpacked.amd / "a.h").read_bytes() == b"x"
    assert not (unpacked.root / "drivers/net").exists()


def test_source_of_an_empty_cache_is_none(tmp_path: Path) -> None:
    assert debian_source.source(tmp_path) is None


def test_source_of_a_package_with_no_kernel_in_it_is_refused(tmp_path: Path) -> None:
    deb = deb_of(tmp_path / f"{debian_source.PACKAGE}_1_all.deb", "data.tar", tar_of({"./usr/readme": b""}))
    with pytest.raises(DebianError, match=r"no linux-source-7\.3\.tar\.xz with drivers/gpu/drm/amd inside"):
        debian_source.unpack(deb, tmp_path)
    assert debian_source.source(tmp_path) is None


def test_apt_without_apt_get_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DebianError, match="apt-get, and this machine has none"):
        debian.Apt(tmp_path).open(("trixie",))


def test_apt_names_the_suites_of_the_mirror_with_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = tmp_path / "keys.gpg"
    keyring.touch()
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(debian, "KEYRINGS", (str(keyring),))
    monkeypatch.setenv(debian.MIRROR_VARIABLE, "http://mirror/debian")
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(debian.Apt, "run", lambda self, *words, timeout_s: asked.append(words))
    debian.Apt(tmp_path).open(("trixie", "trixie-backports"), "main")
    lines = (tmp_path / "etc/sources.list").read_text().splitlines()
    rest = f"[arch=amd64 signed-by={keyring}] http://mirror/debian"
    assert lines == [f"deb {rest} trixie main", f"deb {rest} trixie-backports main"]
    assert asked == [("apt-get", "update", "-o", "APT::Update::Error-Mode=any")]


def test_unpack_keeps_absolute_links_that_extract_refuses(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("./usr/bin/tool")
        link.type, link.linkname = tarfile.SYMTYPE, "/usr/lib/tool"
        archive.addfile(link)
    deb = deb_of(tmp_path / "tool_1_all.deb", "data.tar", stream.getvalue())
    assert debian.unpack(deb, tmp_path / "root") == 1
    assert (tmp_path / "root/usr/bin/tool").readlink() == Path("/usr/lib/tool")
    with pytest.raises(tarfile.AbsoluteLinkError):
        debian.extract(deb, tmp_path / "out")
