"""Check a folder or one file: one row for each file that MI300X and MI350X need, or for each of NVIDIA's GSP firmware.

Rules: firmware/containers.py (format, checksum) and firmware/pinned.py (digest). Files of other chips are counted only."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from base.errors import GpumendError, InvalidData, Unavailable, UsageError
from base.files import explain
from base.findings import Finding, Severity
from firmware import nvidia, store
from firmware.containers import parse
from firmware.layouts import DISCOVERY, UNKNOWN, kind_of, plain_name
from firmware.model import CrcStatus, FirmwareFile
from firmware.needed import ALL_NAMES, CHIPS, Chip, NeededFile, needed
from firmware.pinned import NVIDIA_PINS, PINS
from firmware.reading import REINSTALL

MOST_FILES = 1000


class Status(StrEnum):
    """`missing`: needed and not there while other files of the chip are; `absent`: not there, and no problem (no file
    of that chip is, or only a guest asks for it); `unknown`: it is there and could not be read, or its name tells no
    kind of firmware."""

    OK = "ok"
    PROBLEM = "problem"
    MISSING = "missing"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class VerifyRow:
    """One file. `version` is text: the header's, else those of the entries; `note` says in words what matters.
    `pinned`: the digest is the known one (True), is another (False), or nobody knows one for that name (None)."""

    file: str
    kind: str
    version: str
    status: Status
    note: str
    sha256: str = ""
    pinned: bool | None = None
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "kind": self.kind,
            "version": self.version,
            "status": str(self.status),
            "note": self.note,
            "sha256": self.sha256,
            "pinned": self.pinned,
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """`findings`: about the folder as a whole. `ok`: no problem in any row or in the folder; `undecided`: something
    could not be read (exit code 2 when nothing else is wrong)."""

    path: str
    rows: tuple[VerifyRow, ...]
    not_examined: int
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        bad = (Status.PROBLEM, Status.MISSING)
        return not self.findings and not any(row.status in bad for row in self.rows)

    @property
    def undecided(self) -> bool:
        return any(row.status == Status.UNKNOWN for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "ok": self.ok,
            "undecided": self.undecided,
            "rows": [row.to_dict() for row in self.rows],
            "not_examined": self.not_examined,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def verify_path(path: str | Path) -> VerifyReport:
    """Check a folder of firmware files (or `/lib/firmware`, whose amdgpu folder is meant), or one file of any chip.

    Raises Unavailable, NotPermitted or UsageError when `path` itself cannot be read; damage gives rows, not errors."""
    path = Path(path)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise explain(error, path, f"verifying {path}") from error
    return _verify_folder(path) if is_folder else _verify_file(path)


def _verify_file(path: Path) -> VerifyReport:
    try:
        data = store.read(path)
    except InvalidData as error:
        return VerifyReport(str(path), (_unpack_failed(plain_name(path.name), error),), 0)
    return VerifyReport(str(path), (check(data, path.name),), 0)


def _verify_folder(path: Path) -> VerifyReport:
    names = store.list_folder(path)
    present = {plain_name(name) for name in names} & ALL_NAMES
    if not present and "amdgpu" in names and (path / "amdgpu").is_dir():
        return _verify_folder(path / "amdgpu")
    if not present and (found := _nvidia_files(path)):
        rows = _nvidia_rows(path, found)
        return VerifyReport(str(path), tuple(rows), len(names) if path.name == "gsp" else 0)
    others = sum(plain_name(name) not in ALL_NAMES for name in names)
    if not present:
        return VerifyReport(str(path), (), others, (_nothing(path, len(names)),))
    return VerifyReport(str(path), tuple(_rows(path, present)), others)


def _nvidia_files(path: Path) -> list[Path]:
    """GSP firmware in a folder `nvidia`, in that of a chip, or in its folder `gsp`; at most MOST_FILES."""
    patterns = ("*/gsp/*.bin*", "gsp/*.bin*", "*.bin*")
    found = next((hit for pattern in patterns if (hit := sorted(path.glob(pattern)))), [])
    return [file for file in found if nvidia.kind_of(file.name) != UNKNOWN][:MOST_FILES]


def _nvidia_rows(path: Path, files: list[Path]) -> Iterator[VerifyRow]:
    """Chips share files by links: each is read once."""
    known: dict[Path, VerifyRow] = {}
    for file in files:
        name, target = str(file.relative_to(path)), file.resolve()
        if target not in known:
            known[target] = _nvidia_row(file)
        row = known[target]
        yield replace(row, file=name)


def _nvidia_row(file: Path) -> VerifyRow:
    kind = nvidia.kind_of(file.name)
    try:
        return check(store.read(file), file.name)
    except InvalidData as error:
        return _unpack_failed(file.name, error)
    except Unavailable as error:
        if file.is_symlink():
            return VerifyRow(file.name, kind, "-", Status.MISSING, "a link that leads nowhere")
        return VerifyRow(file.name, kind, "-", Status.UNKNOWN, f"not read: {error.seen}")
    except GpumendError as error:
        return VerifyRow(file.name, kind, "-", Status.UNKNOWN, f"not read: {error.seen}; {error.expected} expected")


def _nothing(path: Path, count: int) -> Finding:
    return Finding(
        "amd.firmware.missing",
        Severity.ERROR,
        "the folder holds no firmware of MI300X or MI350X",
        "files such as psp_13_0_6_sos.bin or psp_13_0_12_sos.bin",
        f"{count} other names" if count else "an empty folder",
        str(path),
        store.HOW_TO_GET,
    )


def _rows(path: Path, present: set[str]) -> list[VerifyRow]:
    rows: dict[str, VerifyRow] = {}
    for chip in CHIPS:
        files = needed(chip.gc)
        there = any(_own(file.name) and file.name in present for file in files)
        for file in files:
            row = _row(path, file, chip, present, chip_there=there)
            known = rows.get(file.name)
            # A file that two chips share is missing when it is missing for one of them.
            if known is None or (known.status, row.status) == (Status.ABSENT, Status.MISSING):
                rows[file.name] = row
    return list(rows.values())


def _own(name: str) -> bool:
    """Whether a file belongs to one chip alone (VCN 4.0.3 is shared, so it does not tell which chip is meant)."""
    return sum(name in {file.name for file in needed(chip.gc)} for chip in CHIPS) == 1


def _row(path: Path, file: NeededFile, chip: Chip, present: set[str], *, chip_there: bool) -> VerifyRow:
    if file.name not in present:
        return _not_there(file, chip, chip_there=chip_there)
    try:
        return check(store.read(store.find(file.name, [path])), file.name)
    except InvalidData as error:
        return _unpack_failed(file.name, error)
    except Unavailable as error:
        if (path / file.name).is_symlink():
            return VerifyRow(file.name, file.kind, "-", Status.MISSING, "a link that leads nowhere")
        return _unreadable(file, error)
    except UsageError as error:
        note = f"{error.seen} where {error.expected} should be"
        return VerifyRow(file.name, file.kind, "-", Status.PROBLEM, note)
    except GpumendError as error:
        return _unreadable(file, error)


def _unreadable(file: NeededFile, error: GpumendError) -> VerifyRow:
    note = f"not read: {error.seen}; {error.expected} expected"
    return VerifyRow(file.name, file.kind, "-", Status.UNKNOWN, note)


def _not_there(file: NeededFile, chip: Chip, *, chip_there: bool) -> VerifyRow:
    if file.required and chip_there:
        note = f"GC {chip.gc} needs it; other files of that chip are here"
        return VerifyRow(file.name, file.kind, "-", Status.MISSING, note)
    note = "not there; only a virtualised GPU's guest asks for it" if file.guest else f"no file of GC {chip.gc} is here"
    return VerifyRow(file.name, file.kind, "-", Status.ABSENT, note)


def _unpack_failed(name: str, error: InvalidData) -> VerifyRow:
    what = "cannot be unpacked" if error.doing.startswith("unpacking") else "cannot be a firmware file"
    finding = Finding(
        "amd.firmware.size",
        Severity.ERROR,
        what,
        error.expected,
        error.seen,
        error.where,
        error.next_step,
    )
    return VerifyRow(name, kind_of(name), "-", Status.PROBLEM, f"{what}: {error.seen}", findings=(finding,))


def check(data: bytes, name: str) -> VerifyRow:
    """The row of one file whose bytes are at hand."""
    file = parse(data, name)
    digest = hashlib.sha256(data).hexdigest()
    pin = PINS.get(file.name)
    pinned = None if pin is None else digest.startswith(pin.sha256_16)
    if nvidia.kind_of(file.name) != UNKNOWN:
        pinned = digest[:16] in NVIDIA_PINS
    notes = [_verdict(file), _pin_note(file, pinned)]
    findings = file.findings
    changed = changed_copy(file, digest)
    if changed is not None:
        findings = (*findings, changed)
        notes = [f"{findings[-1].summary}: seen {findings[-1].seen}, expected {findings[-1].expected}"]
    status = _status(file, findings)
    note = "; ".join(note for note in notes if note)
    return VerifyRow(file.name, file.kind, version_text(file), status, note, digest, pinned, findings)


def changed_copy(file: FirmwareFile, digest: str) -> Finding | None:
    """A finding when a sound-looking file has size and stored checksum of a known one, and another SHA-256 (`digest`).

    A real other version has another checksum, and is no changed copy."""
    pin = PINS.get(file.name)
    if pin is None or digest.startswith(pin.sha256_16) or not file.ok or file.crc is None:
        return None
    if (file.size_bytes, file.crc.stored) != (pin.size_bytes, pin.crc32):
        return None
    return Finding(
        "amd.firmware.crc",
        Severity.ERROR,
        "a changed copy of a known file, where its checksum does not look",
        f"SHA-256 {pin.sha256_16}...",
        f"{digest[:16]}...",
        file.name,
        REINSTALL,
    )


def _status(file: FirmwareFile, findings: tuple[Finding, ...]) -> Status:
    if any(finding.severity.rank >= Severity.ERROR.rank for finding in findings):
        return Status.PROBLEM
    return Status.UNKNOWN if file.kind in (DISCOVERY, UNKNOWN) else Status.OK


def _verdict(file: FirmwareFile) -> str:
    bad = [finding for finding in file.findings if finding.severity.rank >= Severity.WARNING.rank]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        return f"{bad[0].summary}: seen {bad[0].seen}, expected {bad[0].expected}{more}"
    if file.crc is None:
        return "; ".join(finding.summary for finding in file.findings)
    words = {
        CrcStatus.VERIFIED: f"CRC verified (rule {file.crc.rule})",
        CrcStatus.NOT_DEFINED: "no CRC defined",
        CrcStatus.NOT_KNOWN: "CRC rule not known",
        CrcStatus.MISMATCH: "CRC does not match",
    }
    return words[file.crc.status]


def _pin_note(file: FirmwareFile, pinned: bool | None) -> str:
    if not file.ok or pinned is None:
        return ""
    if pinned:
        return "known file"
    return "newer or unknown (not pinned)"


def version_text(file: FirmwareFile) -> str:
    """The version as text: `0x00360260 (aux 0x0036024e)`, `0x000000c2`, `XGMI 0x20000014, RAS 0x1b36021b`."""
    if file.header is None:
        return file.told_version or "-"
    if file.version is None:
        return ", ".join(f"{entry.name} {_hex(entry.version)}" for entry in file.entries) or "-"
    aux = file.find("SOS", "aux")
    return _hex(file.version) + (f" (aux {_hex(aux.version)})" if aux else "")


def _hex(version: int | None) -> str:
    return "-" if version is None else f"{version:#010x}"
