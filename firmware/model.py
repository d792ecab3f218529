"""What a firmware file is, once read: frozen dataclasses. Made by `firmware.containers.parse`.

Source: Linux v7.3 amdgpu_ucode.h (header, entries); the wrapper is known from the files only. Offsets count from the
start of the file, in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from base.errors import InvalidData, UsageError
from base.findings import Finding, Severity

PMFW_FOR_MAIN_SET = 0x00557300  # 85.115.0; psp_v13_0.c: older power firmware needs the aux set of psp_13_0_6_sos


@dataclass(frozen=True, slots=True)
class Ps1Header:
    """The `$PS1` signature wrapper at the start of a payload (0x100 bytes). AMD does not document it: the fields are
    those that repeat in every file. Body and signature can only be verified by the PSP."""

    body_bytes: int
    encrypted: bool
    signed: bool
    compressed: bool
    uncompressed_bytes: int
    compressed_bytes: int
    version: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One payload of a file.

    `type_id`: in SOS and TA files their own type numbers; in SMU files the table's id; elsewhere the firmware type
    that the PSP's LOAD_IP_FW command takes (psp_gfx_if.h), or 0 when the part is not sent to the PSP.
    `version` is None when neither table nor header gives one. `set`: `main`, `aux`, or "" where there is one set."""

    type_id: int
    name: str
    version: int | None
    file_offset: int
    size: int
    wrapper: Ps1Header | None = None
    set: str = ""

    @property
    def end(self) -> int:
        return self.file_offset + self.size

    def to_dict(self) -> dict[str, Any]:
        wrapped = None
        if self.wrapper:
            wrapped = {name: getattr(self.wrapper, name) for name in Ps1Header.__dataclass_fields__}
        return {
            "type_id": self.type_id,
            "name": self.name,
            "set": self.set,
            "version": self.version,
            "file_offset": self.file_offset,
            "size": self.size,
            "wrapper": wrapped,
        }


@dataclass(frozen=True, slots=True)
class CommonHeader:
    """The first 32 bytes of every firmware file."""

    size_bytes: int
    header_bytes: int
    header_version: tuple[int, int]
    ip_version: tuple[int, int]
    ucode_version: int
    ucode_bytes: int
    array_offset: int
    crc32: int


class CrcStatus(StrEnum):
    """What the checksum field says. Which bytes it covers is known from the files only, never from a document."""

    VERIFIED = "verified"
    MISMATCH = "mismatch"
    NOT_DEFINED = "not defined"  # files of this kind carry a number that covers no range of the file
    NOT_KNOWN = "not known"  # neither rule fits, and nobody knows whether one should


@dataclass(frozen=True, slots=True)
class Crc:
    """`rule` A covers [0x20, end of file), B [array offset, end of file); "" when neither is known to hold. `sections`: each
    section of an FMC has one; the number is that of the first, or of one that does not match."""

    status: CrcStatus
    rule: str
    stored: int
    computed: int


def _none() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FirmwareFile:
    """One decoded file. `fields` are those of the header beyond the common ones, by the kernel's names; `told_version` is
    a version that the file has as text (NVIDIA's: 570.144).

    `findings` holds every departure from the format; `ok` means: none of them is an error."""

    name: str
    kind: str
    size_bytes: int
    header: CommonHeader | None = None
    fields: Mapping[str, int] = field(default_factory=_none)
    entries: tuple[Entry, ...] = ()
    crc: Crc | None = None
    findings: tuple[Finding, ...] = ()
    told_version: str = ""
    data: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        return not any(finding.severity.rank >= Severity.ERROR.rank for finding in self.findings)

    @property
    def version(self) -> int | None:
        """The header's ucode_version; None where it is 0 (TA and SMU files: look at the entries)."""
        return self.header.ucode_version or None if self.header else None

    def payload(self, entry: Entry) -> bytes:
        """The bytes of one of this file's entries. Raises InvalidData when the file has an error: such bytes are not
        for loading into a GPU."""
        if entry not in self.entries:
            raise ValueError(f"{entry.name} is not an entry of {self.name}")
        self.require_ok()
        return self.data[entry.file_offset : entry.end]

    def require_ok(self) -> None:
        """Raise InvalidData with the first error of the file, if there is one."""
        for finding in self.findings:
            if finding.severity.rank >= Severity.ERROR.rank:
                raise InvalidData(
                    f"using firmware {self.name} ({finding.summary})",
                    expected=finding.expected,
                    seen=finding.seen,
                    where=finding.where,
                    next_step=finding.next,
                    verb="refused",
                )

    def find(self, name: str, set: str | None = None) -> Entry | None:
        """The first entry of that name (and set, if given), or None."""
        return next((e for e in self.entries if e.name == name and set in (None, e.set)), None)

    def select(self, pmfw_version: int | None) -> tuple[Entry, ...]:
        """The one set of components of a SOS file that goes with the power firmware running on the GPU.

        psp_13_0_6_sos holds two sets, which must not be mixed: `main`, and `aux` for power firmware older than
        85.115.0 (MP1_PUB_SCRATCH0). Files with one set give it whole. Raises UsageError when the version decides and
        is None (not readable), or when this is not a SOS file; InvalidData when the file has an error."""
        if self.kind != "sos":
            raise UsageError(
                f"choosing a component set of {self.name}", expected="a SOS file", seen=f"kind {self.kind}"
            )
        self.require_ok()
        if self.header is None or self.header.header_version != (2, 1):
            return tuple(entry for entry in self.entries if entry.set != "aux")
        if pmfw_version is None:
            raise UsageError(
                f"choosing a component set of {self.name}",
                expected="the version of the running power firmware (MP1_PUB_SCRATCH0)",
                seen="not known",
            )
        wanted = "aux" if pmfw_version < PMFW_FOR_MAIN_SET else "main"
        return tuple(entry for entry in self.entries if entry.set == wanted)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the file's bytes are left out."""
        header = None
        if self.header:
            header = {name: getattr(self.header, name) for name in CommonHeader.__dataclass_fields__}
            header["header_version"] = list(self.header.header_version)
            header["ip_version"] = list(self.header.ip_version)
        crc = None
        if self.crc:
            crc = {name: getattr(self.crc, name) for name in Crc.__dataclass_fields__}
            crc["status"] = str(self.crc.status)
        return {
            "file": self.name,
            "kind": self.kind,
            "size_bytes": self.size_bytes,
            "header": header,
            "told_version": self.told_version,
            "fields": dict(self.fields),
            "entries": [entry.to_dict() for entry in self.entries],
            "crc": crc,
            "ok": self.ok,
            "findings": [finding.to_dict() for finding in self.findings],
        }
