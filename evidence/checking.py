"""Is a bundle whole: every file that its manifest names, with that size and SHA-256, nothing else, and nothing odd.

Reads a folder or an archive, which may come from a stranger, without unpacking anything to disk. The hashes show damage and
loss; they do not show who wrote the bundle: whoever changes a file can change the manifest too. To tell that, compare
the SHA-256 of the archive with the one that its sender printed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from base.errors import GpumendError, InvalidData
from base.findings import Finding, Severity
from evidence.archive import MAX_FILE_BYTES, MAX_UNPACKED_BYTES, unpacked
from evidence.parts import reason
from evidence.safe import Folder, explained
from evidence.ustar import members
from evidence.writer import FORMAT, FORMAT_VERSION, MANIFEST

MAX_FILES = 10_000
MAX_MANIFEST_BYTES = 16 << 20
MAX_DEPTH = 8
MAX_FINDINGS = 50
_NAME = re.compile(r"[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*(?:/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)*\Z")
_HALF_WRITTEN = re.compile(r"\.manifest\.json\.[0-9a-f]{8}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_CHUNK_BYTES = 1 << 20


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found. `ok`: whole and complete. `sha256` of the archive, "" for a folder or one not read to its end.

    Findings: `bundle.*`, severity error for damage, unknown where it only ends too early (`complete` False)."""

    path: Path
    findings: tuple[Finding, ...]
    manifest: Mapping[str, Any] = field(default_factory=_nothing)
    files: int = 0
    bytes: int = 0
    sha256: str = ""

    @property
    def complete(self) -> bool:
        return self.manifest.get("complete") is True

    @property
    def ok(self) -> bool:
        return self.complete and not any(item.severity.rank >= Severity.UNKNOWN.rank for item in self.findings)


def check(path: Path) -> Checked:
    """Check a bundle's folder or archive. Damage is in the findings.

    Raises Unavailable (not there, or zstandard is needed), NotPermitted, UsageError (neither a folder nor an archive)."""
    checker = _Checker(path)
    try:
        if path.is_dir():
            checker.folder()
        else:
            checker.archive()
    except InvalidData as error:
        checker.found(
            "bundle.archive", Severity.ERROR, "the archive cannot be read to its end", error.expected, error.seen
        )
    return checker.result()


@dataclass(slots=True)
class _Seen:
    """One file as it is there."""

    size: int
    sha256: str


class _Checker:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: list[Finding] = []
        self.left_out = 0
        self.seen: dict[str, _Seen] = {}
        self.manifest: dict[str, Any] = {}
        self.raw_manifest: bytes | None = None
        self.sha256 = ""
        self.total = 0
        self._folded: set[str] = set()
        self._half_written = False

    def found(
        self, code: str, severity: Severity, summary: str, expected: str = "", seen: str = "", where: str = ""
    ) -> None:
        if len(self.findings) >= MAX_FINDINGS:
            self.left_out += 1
            return
        advice = "ask for it again, or use what is whole" if severity == Severity.ERROR else ""
        place = f"{where} in {self.path}" if where else str(self.path)
        self.findings.append(Finding(code, severity, summary, expected, seen[:300], place, advice))

    # ---------------------------------------------------------------- what is there

    def archive(self) -> None:
        tops: set[str] = set()
        with unpacked(self.path) as (read, digest):
            for member in members(read, where=str(self.path), most=MAX_FILES, most_bytes=MAX_FILE_BYTES):
                name = member.name.removesuffix("/") if member.is_folder else member.name
                top, _, rest = name.partition("/")
                tops.add(top)
                if not self._good_name(name) or member.is_folder or not self._good_place(rest, name):
                    continue
                self._file(rest, member.chunks)
            self.sha256 = digest.hexdigest()
        if len(tops) > 1:
            self.found(
                "bundle.name",
                Severity.ERROR,
                "the archive has more than one folder at its top",
                "one",
                ", ".join(sorted(tops)),
            )

    def folder(self) -> None:
        try:
            with Folder(self.path) as opened:
                self._walk(opened, "", 0)
        except GpumendError:
            raise
        except OSError as error:
            raise explained(error, self.path) from error

    def _walk(self, opened: Folder, below: str, depth: int) -> None:
        for name in opened.names():
            full = f"{below}{name}"
            if _HALF_WRITTEN.match(full):
                self._half_written = True
                continue
            if not self._good_name(full):
                continue
            if opened.is_folder(name):
                if depth >= MAX_DEPTH:
                    self.found(
                        "bundle.name", Severity.ERROR, "folders lie too deep", f"at most {MAX_DEPTH}", where=full
                    )
                    continue
                with Folder(self.path, full) as inner:
                    self._walk(inner, f"{full}/", depth + 1)
                continue
            if len(self.seen) >= MAX_FILES or self.total > MAX_UNPACKED_BYTES:
                raise InvalidData(
                    "reading the bundle",
                    expected=f"at most {MAX_FILES} files of {MAX_UNPACKED_BYTES} bytes together",
                    seen="more",
                    where=str(self.path),
                )
            self._from_disk(opened, name, full)

    def _from_disk(self, opened: Folder, name: str, full: str) -> None:
        try:
            handle = opened.open(name)
        except GpumendError as error:
            self.found("bundle.file", Severity.ERROR, "a file cannot be read", error.expected, reason(error), full)
            return
        try:
            if os.fstat(handle).st_size > MAX_FILE_BYTES:
                self.found("bundle.file", Severity.ERROR, "a file is too big", f"{MAX_FILE_BYTES} bytes", "more", full)
            elif self._good_place(full, full):
                self._file(full, iter(lambda: os.read(handle, _CHUNK_BYTES), b""))
        except OSError as error:
            self.found("bundle.file", Severity.ERROR, "a file cannot be read", "its bytes", reason(error), full)
        finally:
            os.close(handle)

    def _file(self, name: str, chunks: Iterable[bytes]) -> None:
        digest = hashlib.sha256()
        size = 0
        kept = bytearray()
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            if name == MANIFEST and size <= MAX_MANIFEST_BYTES:
                kept += chunk
        self.total += size
        if name == MANIFEST:
            self.raw_manifest = bytes(kept) if size <= MAX_MANIFEST_BYTES else b""
        else:
            self.seen[name] = _Seen(size, digest.hexdigest())

    def _good_name(self, name: str) -> bool:
        if len(name) <= 255 and _NAME.match(name):
            return True
        self.found(
            "bundle.name",
            Severity.ERROR,
            "a name that gpumend does not give",
            "letters, digits and . _ - + @",
            repr(name),
        )
        return False

    def _good_place(self, name: str, shown: str) -> bool:
        """Inside the one folder, and not there yet, whatever a file system makes of letters."""
        if not name:
            self.found("bundle.name", Severity.ERROR, "a file outside of the bundle's folder", seen=repr(shown))
            return False
        if name.lower() in self._folded:
            self.found("bundle.name", Severity.ERROR, "a name that is there twice", "each once", repr(shown))
            return False
        self._folded.add(name.lower())
        return True

    # ---------------------------------------------------------------- what should be there

    def result(self) -> Checked:
        listed = dict(self._listed())
        if self.manifest:
            self._compare(listed)
            self._judge_end()
        if self.left_out:
            self.findings.append(
                Finding(
                    "bundle.more", Severity.NOTE, f"{self.left_out} more findings are not listed", where=str(self.path)
                )
            )
        return Checked(
            self.path, tuple(self.findings), MappingProxyType(self.manifest), len(self.seen), self.total, self.sha256
        )

    def _listed(self) -> Iterator[tuple[str, _Seen]]:
        if self.raw_manifest is None:
            self.found("bundle.manifest", Severity.ERROR, "there is no manifest: not a bundle", MANIFEST, "none")
            return
        try:
            body = json.loads(self.raw_manifest)
            if not isinstance(body, dict) or body.get("format") != FORMAT:
                raise ValueError(f"no manifest of a {FORMAT}")
            if body.get("version") != FORMAT_VERSION:
                raise ValueError(f"version {body.get('version')!r} of the format; this gpumend knows {FORMAT_VERSION}")
            rows = [_row(entry) for entry in body["files"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self.found(
                "bundle.manifest", Severity.ERROR, "the manifest cannot be understood", seen=f"{error}", where=MANIFEST
            )
            return
        self.manifest = body
        yield from rows

    def _compare(self, listed: Mapping[str, _Seen]) -> None:
        count = len(self.manifest["files"])
        if len(listed) != count:
            self.found(
                "bundle.manifest", Severity.ERROR, "the manifest names a file twice", f"{count} names", f"{len(listed)}"
            )
        for name, wanted in listed.items():
            there = self.seen.get(name)
            if there is None:
                self.found("bundle.missing", Severity.ERROR, "a file is missing", f"{wanted.size} bytes", "none", name)
            elif there.size != wanted.size:
                self.found(
                    "bundle.hash", Severity.ERROR, "a file has another size", f"{wanted.size}", f"{there.size}", name
                )
            elif there.sha256 != wanted.sha256:
                self.found("bundle.hash", Severity.ERROR, "a file was changed", wanted.sha256, there.sha256, name)
        for name in sorted(self.seen.keys() - listed.keys()):
            if self.manifest.get("complete") is True:
                self.found("bundle.extra", Severity.ERROR, "a file that the manifest does not name", "none", name, name)
            else:
                self.found("bundle.unlisted", Severity.NOTE, "written, but the manifest did not come to it", seen=name)

    def _judge_end(self) -> None:
        if self.manifest.get("complete") is not True:
            done = self.manifest.get("collectors")
            steps = len(done) if isinstance(done, list) else 0
            self.found(
                "bundle.incomplete", Severity.UNKNOWN, "collecting did not come to its end", "complete: true",
                f"it came through {steps} steps; {len(self.seen)} files are there",
            )  # fmt: skip
        elif self._half_written:
            self.found("bundle.extra", Severity.ERROR, "a manifest that was not put in place", "none", "one")


def _row(entry: Any) -> tuple[str, _Seen]:
    name, size, digest = entry["name"], entry["size"], entry["sha256"]
    if not isinstance(name, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError("an entry of `files` without a name or a size")
    if not isinstance(digest, str) or not _SHA256.match(digest):
        raise ValueError(f"no SHA-256 of {name!r}")
    return name, _Seen(size, digest)
