"""A file while it is being decoded: its bytes, what is known so far, and the findings collected on the way."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from base.findings import Finding, Severity
from firmware.model import CommonHeader, Entry

REINSTALL = "reinstall firmware-amd-graphics (Debian) or linux-firmware (Ubuntu, Fedora); then gpumend firmware verify"


@dataclass(slots=True)
class Reading:
    """`strict`: the file belongs to a chip that gpumend drives, so every rule that its known versions keep is held
    against it; other chips' files are decoded, and only what would be read outside the file is an error."""

    name: str
    kind: str
    data: bytes
    strict: bool
    header: CommonHeader
    fields: Mapping[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.data)

    def u32(self, offset: int, count: int = 1) -> tuple[int, ...]:
        """`count` words at `offset`, which the caller has checked to lie inside the file."""
        return struct.unpack_from(f"<{count}I", self.data, offset)

    def error(self, code: str, summary: str, *, expected: str = "", seen: str = "", where: str = "") -> None:
        self._add(Severity.ERROR, code, summary, expected, seen, where)

    def strict_error(self, code: str, summary: str, *, expected: str = "", seen: str = "", where: str = "") -> None:
        """An error in a file of our chips, a note in others (where AMD's own old files break the rule)."""
        severity = Severity.ERROR if self.strict else Severity.NOTE
        self._add(severity, code, summary, expected, seen, where)

    def warning(self, code: str, summary: str, *, expected: str = "", seen: str = "", where: str = "") -> None:
        self._add(Severity.WARNING, code, summary, expected, seen, where)

    def note(self, code: str, summary: str, *, expected: str = "", seen: str = "", where: str = "") -> None:
        self._add(Severity.NOTE, code, summary, expected, seen, where)

    def _add(self, severity: Severity, code: str, summary: str, expected: str, seen: str, where: str) -> None:
        place = f"{self.name} {where}".strip()
        step = REINSTALL if severity.rank >= Severity.ERROR.rank else ""
        self.findings.append(Finding(f"amd.firmware.{code}", severity, summary, expected, seen, place, step))

    def whole(self, type_id: int, name: str) -> list[Entry]:
        """One entry: everything that the common header calls ucode."""
        header = self.header
        return [Entry(type_id, name, header.ucode_version, header.array_offset, header.ucode_bytes)]


def span(start: int, end: int) -> str:
    """A byte range as findings print it: `[0x20, 0x24)`."""
    return f"[{start:#x}, {end:#x})"
