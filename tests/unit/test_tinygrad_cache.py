"""tools/tinygrad_cache.py, as far as it goes without tinygrad."""

from __future__ import annotations

import hashlib
import sys
import types
import urllib.request
from pathlib import Path

import pytest

from tools.tinygrad_cache import fill, opener, sort_out


def test_sort_out_names_what_is_pinned_different_and_missing(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"A")
    (tmp_path / "b.bin").write_bytes(b"B")
    pinned = hashlib.sha256(b"A").hexdigest()
    assert sort_out(tmp_path, {"c.bin": pinned, "b.bin": pinned, "a.bin": pinned}) == (["a.bin"], ["b.bin"], ["c.bin"])


def test_opener_answers_an_address_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"firmware")
    with opener(tmp_path)(urllib.request.Request("https://example.org/x/amdgpu/a.bin"), timeout=1) as answer:
        assert (answer.status, answer.headers["content-length"], answer.read()) == (200, "8", b"firmware")


def test_fill_after_tinygrad_was_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinygrad", types.ModuleType("tinygrad"))
    with pytest.raises(RuntimeError, match="imported before its cache folder was chosen"):
        fill(tmp_path, tmp_path)
