"""Checking bundles that are whole, damaged, half written, or made by somebody who means harm."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

import evidence.archive
from base.errors import GpumendError, InvalidData, NotPermitted, Refused, Unavailable, UsageError
from base.findings import Severity
from evidence import check, pack
from evidence.redact import Redactor
from evidence.writer import Writer

FILES = {"kernel.log": b"hello\n" * 100, "gpu0/discovery.bin": bytes(range(256)) * 4, "report.md": b"# report\n"}
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = Writer(tmp_path / "whole", {"reason": "test"}, Redactor(on=False), total_bytes=1 << 20)
    for name, data in FILES.items():
        writer.add(name, data)
    writer.manifest(complete=True)
    writer.close()
    return tmp_path / "whole"


def codes(path: Path) -> set[str]:
    """Codes of all that is worse than a note."""
    return {item.code for item in check(path).findings if item.severity != Severity.NOTE}


def packed(folder: Path, suffix: str = ".tar.gz") -> Path:
    target = folder.with_name(f"b{suffix}")
    pack(folder, target, list(FILES))
    return target


def edited(folder: Path, edit: Edit) -> None:
    path = folder / "manifest.json"
    body = json.loads(path.read_text())
    edit(body)
    path.write_text(json.dumps(body))


# ---------------------------------------------------------------- whole


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_check_whole_bundle_is_ok(folder: Path, suffix: str) -> None:
    target = packed(folder, suffix)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    for path in (folder, target):
        checked = check(path)
        assert checked.ok
        assert checked.findings == ()
        assert checked.files == len(FILES)
    assert check(target).sha256 == digest
    assert (target.stat().st_mode & 0o777) == 0o600


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_pack_twice_gives_the_same_bytes_without_owner_or_time(folder: Path, suffix: str) -> None:
    one = packed(folder, suffix).read_bytes()
    again = folder.with_name("again") / f"b{suffix}"
    again.parent.mkdir()
    os.utime(folder / "kernel.log", (1, 1))
    pack(folder, again, list(reversed(FILES)))
    assert again.read_bytes() == one
    plain = (
        gzip.decompress(one) if suffix == ".tar.gz" else zstandard.ZstdDecompressor().decompressobj().decompress(one)
    )
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        rows = tar.getmembers()
    assert [row.name for row in rows] == ["b/manifest.json", *(f"b/{name}" for name in sorted(FILES))]
    assert {(row.uid, row.gid, row.uname, row.gname, row.mtime, row.mode) for row in rows} == {(0, 0, "", "", 0, 0o600)}


def test_pack_overwrites_nothing_and_takes_known_suffixes_only(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_text("mine")
    with pytest.raises(Refused, match="it is there"):
        pack(folder, tmp_path / "x.tar.gz", list(FILES))
    assert (tmp_path / "x.tar.gz").read_text() == "mine"
    with pytest.raises(UsageError, match=r"\.tar\.zst or \.tar\.gz"):
        pack(folder, tmp_path / "x.zip", list(FILES))
    with pytest.raises(Unavailable):
        pack(folder, tmp_path / "nowhere/x.tar.gz", list(FILES))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_pack_where_there_are_no_links_overwrites_nothing_either(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    pack(folder, tmp_path / "x.tar.gz", list(FILES))
    assert check(tmp_path / "x.tar.gz").ok
    with pytest.raises(Refused, match="it is there"):
        pack(folder, tmp_path / "x.tar.gz", list(FILES))


def test_pack_without_zstandard_names_the_package(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Unavailable) as caught:
        pack(folder, tmp_path / "x.tar.zst", list(FILES))
    assert "pip install zstandard" in caught.value.next_step
    assert ".tar.gz" in caught.value.next_step


# ---------------------------------------------------------------- damaged


def test_check_names_what_was_changed_lost_or_added(folder: Path) -> None:
    (folder / "kernel.log").write_bytes(b"hallo\n" * 100)
    (folder / "report.md").unlink()
    (folder / "gpu0/discovery.bin").write_bytes(b"short")
    (folder / "added").write_text("x")
    findings = {(item.code, item.where.partition(" in ")[0]) for item in check(folder).findings}
    assert findings == {
        ("bundle.hash", "kernel.log"), ("bundle.hash", "gpu0/discovery.bin"), ("bundle.missing", "report.md"),
        ("bundle.extra", "added"),
    }  # fmt: skip


def test_check_of_what_collecting_left_half_way_is_unknown_not_damaged(folder: Path) -> None:
    edited(folder, lambda body: body.update(complete=False, collectors=[{}, {}]))
    (folder / "newer.log").write_text("x")
    (folder / ".manifest.json.0a1b2c3d").write_text("{")
    checked = check(folder)
    assert not checked.ok
    assert {(item.code, item.severity) for item in checked.findings} == {
        ("bundle.incomplete", Severity.UNKNOWN),
        ("bundle.unlisted", Severity.NOTE),
    }


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: body.update(format="other"),
        lambda body: body.update(version=2),
        lambda body: body.update(files=None),
        lambda body: body.pop("files"),
        lambda body: body["files"].append({"name": "x"}),
        lambda body: body["files"].append({"name": 1, "size": 1, "sha256": "0" * 64}),
        lambda body: body["files"].append({"name": "x", "size": -1, "sha256": "0" * 64}),
        lambda body: body["files"].append({"name": "x", "size": True, "sha256": "0" * 64}),
        lambda body: body["files"].append({"name": "x", "size": 1, "sha256": "zz"}),
        lambda body: body["files"].append(body["files"][0]),
    ],
)
def test_check_of_an_odd_manifest_is_an_error(folder: Path, edit: Edit) -> None:
    edited(folder, edit)
    assert "bundle.manifest" in codes(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": "gpumend-bundle"}', "\udcff"])
def test_check_of_a_manifest_that_is_no_json_is_an_error(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert codes(folder) == {"bundle.manifest"}
    (folder / "manifest.json").unlink()
    assert codes(folder) == {"bundle.manifest"}


def test_check_of_a_folder_with_links_and_fifos_opens_none(folder: Path, tmp_path: Path) -> None:
    (folder / "kernel.log").unlink()
    (folder / "kernel.log").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    (folder / "elsewhere").symlink_to(tmp_path)
    findings = check(folder).findings
    assert {item.where.partition(" in ")[0] for item in findings if item.code == "bundle.file"} == {
        "kernel.log", "pipe", "elsewhere",
    }  # fmt: skip


def test_check_of_what_is_no_bundle_says_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UsageError, match=r"\.tar\.zst or \.tar\.gz"):
        check(tmp_path / "x.txt")
    with pytest.raises(Unavailable):
        check(tmp_path / "nothing.tar.gz")
    with pytest.raises(Unavailable):
        check(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.tar.gz")
    with pytest.raises(UsageError, match="FIFO"):
        check(tmp_path / "pipe.tar.gz")
    assert "bundle.manifest" in codes(tmp_path)


# ---------------------------------------------------------------- hostile archives


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name: str, data: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def manifest(**files: bytes) -> bytes:
    rows = [{"name": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for key, data in files.items()]
    return json.dumps({"format": "gpumend-bundle", "version": 1, "complete": True, "files": rows}).encode()


def written(tmp_path: Path, tar: bytes) -> Path:
    path = tmp_path / "evil.tar.gz"
    path.write_bytes(gzip.compress(tar, mtime=0))
    return path


MANIFEST = member("b/manifest.json", manifest())


@pytest.mark.parametrize(
    ("evil", "told"),
    [
        (member("../x", b"x"), "bundle.name"),
        (member("/etc/passwd", b"x"), "bundle.name"),
        (member("b/../../x", b"x"), "bundle.name"),
        (member("b/./x", b"x"), "bundle.name"),
        (member("b//x", b"x"), "bundle.name"),
        (member("b/.hidden", b"x"), "bundle.name"),
        (member("b/a\\b", b"x"), "bundle.name"),
        (member("b/new\nline", b"x"), "bundle.name"),
        (member("b/\x1b[31m", b"x"), "bundle.name"),
        (member("x", b"x"), "bundle.name"),
        (member("other/x", b"x"), "bundle.name"),
        (member("b/manifest.json", manifest()), "bundle.name"),
        (member("b/MANIFEST.json", manifest()), "bundle.name"),
        (member("b/x", type=tarfile.SYMTYPE, linkname="/etc/shadow"), "bundle.archive"),
        (member("b/x", type=tarfile.LNKTYPE, linkname="b/manifest.json"), "bundle.archive"),
        (member("b/x", type=tarfile.CHRTYPE), "bundle.archive"),
        (member("b/x", type=tarfile.FIFOTYPE), "bundle.archive"),
        (member("b/x", b"not listed"), "bundle.extra"),
    ],
    ids=lambda item: item if isinstance(item, str) else f"{item[0].name!r}-{item[0].type.decode()}",
)
def test_check_of_a_hostile_member_is_refused(tmp_path: Path, evil: tuple[tarfile.TarInfo, bytes], told: str) -> None:
    for order in ((MANIFEST, evil), (evil, MANIFEST)):
        checked = check(written(tmp_path, tar_of(*order)))
        assert not checked.ok
        assert told in {item.code for item in checked.findings}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.gz"], "nothing was unpacked"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_check_of_other_tar_formats_with_long_names_is_refused(tmp_path: Path, form: int) -> None:
    tar = tar_of(MANIFEST, member("b/" + "x" * 300, b"x"), form=form)
    assert "bundle.archive" in codes(written(tmp_path, tar))


def test_check_takes_folders_as_tar_adds_them(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "by-hand.tar.gz"
    with tarfile.open(target, "w:gz", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(folder, "whole")
    assert check(target).ok


def test_check_of_bombs_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence.archive, "_FREE_BYTES", 1 << 20)
    data = bytes(8 << 20)
    tar = tar_of(member("b/manifest.json", manifest(zeros=data)), member("b/zeros", data))
    path = written(tmp_path, tar)
    assert "bomb" in "".join(item.seen for item in check(path).findings)
    bomb = tmp_path / "evil.tar.zst"
    bomb.write_bytes(zstandard.ZstdCompressor(level=19).compress(tar))
    assert "bomb" in "".join(item.seen for item in check(bomb).findings)
    monkeypatch.setattr(evidence.archive, "MAX_RATIO", 1 << 30)
    assert check(path).ok
    assert check(bomb).ok
    monkeypatch.setattr(evidence.archive, "MAX_UNPACKED_BYTES", 1 << 20)
    assert codes(path) >= {"bundle.archive"}
    assert codes(bomb) >= {"bundle.archive"}


def test_check_of_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evidence.checking.MAX_FILES", 5)
    tar = tar_of(MANIFEST, *(member(f"b/{number}") for number in range(10)))
    assert "bundle.archive" in codes(written(tmp_path, tar))


def test_check_of_a_member_that_claims_a_huge_size_is_refused(tmp_path: Path) -> None:
    info, _ = member("b/huge")
    info.size = 1 << 32
    tar = tar_of(MANIFEST)[:1024] + info.tobuf(tarfile.USTAR_FORMAT)
    assert "bundle.archive" in codes(written(tmp_path, tar))


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_check_of_data_behind_the_end_is_refused(folder: Path, suffix: str) -> None:
    target = packed(folder, suffix)
    whole = target.read_bytes()
    for more in (b"x", whole, bytes(4096)):
        target.write_bytes(whole + more)
        assert not check(target).ok
    if suffix == ".tar.gz":
        target.write_bytes(gzip.compress(gzip.decompress(whole) + b"hidden" + bytes(506)))
        assert not check(target).ok


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_check_of_an_archive_cut_anywhere_is_never_ok(folder: Path, suffix: str) -> None:
    target = packed(folder, suffix)
    whole = target.read_bytes()
    for size in {0, 1, 9, 10, 17, *range(18, len(whole), 23), len(whole) - 4, len(whole) - 1}:
        target.write_bytes(whole[:size])
        assert not check(target).ok, size


def plain_bytes(packed_bytes: bytes, suffix: str) -> bytes:
    if suffix == ".tar.gz":
        return gzip.decompress(packed_bytes)
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed_bytes)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst"])
def test_check_of_an_archive_with_a_flipped_bit_never_hides_a_change(folder: Path, suffix: str) -> None:
    """Some bits of the packed form mean nothing (gzip's time, padding): then all that is inside is the same."""
    target = packed(folder, suffix)
    whole = target.read_bytes()
    inside = plain_bytes(whole, suffix)
    chance = random.Random(7)
    harmless = 0
    for _ in range(400):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        target.write_bytes(changed)
        if check(target).ok:
            harmless += 1
            assert plain_bytes(bytes(changed), suffix) == inside
    assert harmless < 100


def test_check_of_a_tar_with_changed_bytes_never_breaks_and_never_hides_a_change(folder: Path, tmp_path: Path) -> None:
    """Damage below the compression: whatever is still called whole has the same files."""
    plain = gzip.decompress(packed(folder).read_bytes())
    chance = random.Random(11)
    for _ in range(600):
        changed = bytearray(plain)
        for _ in range(chance.choice((1, 1, 2, 8))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path = written(tmp_path, bytes(changed))
        try:
            checked = check(path)
        except GpumendError as error:
            pytest.fail(f"raised {error!r}")
        if checked.ok:
            with tarfile.open(fileobj=io.BytesIO(bytes(changed))) as tar:
                rows = {row.name.partition("/")[2]: row for row in tar.getmembers()}
                for name, data in FILES.items():
                    file = tar.extractfile(rows[name])
                    assert file is not None
                    assert file.read() == data


def test_check_of_noise_never_breaks(tmp_path: Path) -> None:
    chance = random.Random(3)
    for number in range(200):
        noise = chance.randbytes(chance.choice((0, 1, 511, 512, 2000)))
        for suffix, data in ((".tar.gz", gzip.compress(noise)), (".tar.gz", noise), (".tar.zst", noise)):
            path = tmp_path / f"{number}{suffix}"
            path.write_bytes(data)
            assert not check(path).ok
            path.unlink()


def test_check_without_rights_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = packed(folder)

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(NotPermitted):
        check(target)


def test_ustar_errors_name_expected_and_seen(tmp_path: Path) -> None:
    from evidence.ustar import members

    with pytest.raises(InvalidData) as caught:
        next(members(lambda size: b"x" * size, where="w", most=1, most_bytes=1))
    assert caught.value.expected
    assert caught.value.seen
