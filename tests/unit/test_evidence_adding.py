"""One more file in a bundle that was whole already."""

from __future__ import annotations

from pathlib import Path

import pytest

import evidence
from base.errors import Refused, Unavailable
from evidence import Limits


def bundle(tmp_path: Path) -> Path:
    return evidence.collect([], tmp_path / "bundle", limits=Limits(budget_s=0.0)).folder


def test_added_file_is_whole_and_named_in_the_manifest(tmp_path: Path) -> None:
    folder = bundle(tmp_path)
    before = evidence.check(folder)
    assert evidence.add(folder, "gpu0/waves.txt", b"one", by="reset") == "gpu0/waves.txt"
    after = evidence.check(folder)
    assert after.files == before.files + 1
    assert [finding.code for finding in after.findings] == [finding.code for finding in before.findings]
    assert (folder / "gpu0/waves.txt").read_bytes() == b"one"
    assert (folder / "gpu0/waves.txt").stat().st_mode & 0o777 == 0o600


def test_second_file_of_a_name_gets_a_number(tmp_path: Path) -> None:
    folder = bundle(tmp_path)
    evidence.add(folder, "gpu0/waves.txt", b"one", by="reset")
    assert evidence.add(folder, "gpu0/waves.txt", b"two", by="reset") == "gpu0/waves-2.txt"
    assert evidence.add(folder, "gpu0/waves.txt", b"three", by="reset") == "gpu0/waves-3.txt"
    assert (folder / "gpu0/waves.txt").read_bytes() == b"one"


def test_stranger_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    folder = bundle(tmp_path)
    (folder / "gpu0").mkdir()
    (folder / "gpu0/waves.txt").write_bytes(b"mine")
    with pytest.raises(Refused):
        evidence.add(folder, "gpu0/waves.txt", b"one", by="reset")
    assert (folder / "gpu0/waves.txt").read_bytes() == b"mine"


@pytest.mark.parametrize("manifest", [None, b"{", b"[]", b'{"files": 3}'])
def test_folder_without_a_manifest_gets_nothing(manifest: bytes | None, tmp_path: Path) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_bytes(manifest)
    with pytest.raises(Unavailable):
        evidence.add(tmp_path, "waves.txt", b"one", by="reset")
    assert not (tmp_path / "waves.txt").exists()
