"""`firmware` (also `ucode`): what is in firmware files, whether they are whole, and which a GPU needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from base.errors import Exit
from commands.common import FILE, Group, common_options, emit, settings_of
from render.reports import print_findings
from render.text import Printer, Table, style_of


@click.group("firmware", cls=Group, short_help="Firmware files: show, verify, which a GPU needs.")
def firmware_group() -> None:
    """AMD's firmware files: what is in them, whether they are whole, which a GPU needs. Nothing is loaded anywhere.

    `show` and `verify` read NVIDIA's GSP firmware, too."""


@firmware_group.command("show", short_help="Header, entries and versions of one file.")
@click.argument("file", type=FILE)
@common_options
@click.pass_context
def show(context: click.Context, file: Path) -> int:
    """Decode one firmware file. Exit 0: well formed; 1: damaged, with the reasons."""
    from gpumend import firmware_file

    settings = settings_of(context)
    settings.command = "firmware show"
    decoded = firmware_file(file)
    columns = ("entry", "set", "type", "version", "offset", "size", "encrypted")
    rows = [
        (
            entry.name,
            entry.set or "-",
            entry.type_id,
            _hex(entry.version),
            f"{entry.file_offset:#x}",
            f"{entry.size:#x}",
            entry.wrapper.encrypted if entry.wrapper else "-",
        )
        for entry in decoded.entries
    ]
    table = Table(columns, rows, right=frozenset({"type", "offset", "size"}))

    def human(printer: Printer) -> None:
        printer.heading(f"{file}: {decoded.kind}, {decoded.size_bytes} bytes")
        header = decoded.header
        if header:
            version, ip = (".".join(map(str, pair)) for pair in (header.header_version, header.ip_version))
            printer.line(f"header {version}, IP {ip}, version {header.ucode_version:#010x}")
        if decoded.told_version:
            printer.line(f"version {decoded.told_version}")
        for name, value in () if header else decoded.fields.items():
            printer.line(f"{name.replace('_', ' ')}: {value:#x}")
        if decoded.crc:
            rule = f" (rule {decoded.crc.rule})" if decoded.crc.rule else ""
            printer.line(f"CRC-32 {decoded.crc.stored:#010x}: {decoded.crc.status}{rule}")
        printer.table(table)
        print_findings(printer, decoded.findings)

    emit(settings, "firmware show", body={"file": decoded.to_dict()}, table=table, human=human)
    return Exit.OK if decoded.ok else Exit.PROBLEM


def _hex(version: int | None) -> str | None:
    return None if version is None else f"{version:#010x}"


@firmware_group.command("verify", short_help="Check a folder (or file) of firmware.")
@click.argument("path", type=FILE, required=False)
@common_options
@click.pass_context
def verify(context: click.Context, path: Path | None) -> int:
    """Check every file that MI300X and MI350X need in a folder (default: where the driver looks), or one file; in a
    folder `nvidia` every file of GSP firmware.

    One line per file. Exit 0: all whole; 1: a file is damaged or missing; 2: one could not be read.
    "no CRC defined" is a note and changes nothing; files of other chips are counted, not examined."""
    from gpumend import firmware_verify

    settings = settings_of(context)
    settings.command = "firmware verify"
    report = firmware_verify(path, settings.firmware)
    columns = ("file", "kind", "version", "status", "note")
    rows = [(row.file, row.kind, row.version, row.status, row.note) for row in report.rows]
    table = Table(columns, rows, states=frozenset({"status"}))

    def human(printer: Printer) -> None:
        printer.heading(report.path)
        if rows:
            printer.table(table)
        print_findings(printer, report.findings)
        printer.line(f"{report.not_examined} other files not examined")
        bad = sum(row.status in ("problem", "missing") for row in report.rows)
        state = "valid" if report.ok and not report.undecided else "unknown" if report.ok else "problem"
        there = sum(row.status not in ("absent", "missing") for row in report.rows)
        words = {"valid": "all whole", "unknown": "not all could be judged", "problem": f"{bad or 1} with problems"}
        absent = sum(row.status == "absent" for row in report.rows)
        tail = f"; {absent} of other chips or guests are not here" if absent else ""
        printer.spans((state, style_of(state)), (f": {there} files, {words[state]}{tail}", ""))

    emit(settings, "firmware verify", body=report.to_dict(), table=table, human=human)
    if not report.ok:
        return Exit.PROBLEM
    return Exit.UNKNOWN if report.undecided else Exit.OK


@firmware_group.command("needed", short_help="Which files a part needs, and whether they are here.")
@click.argument("part", required=False)
@common_options
@click.pass_context
def needed(context: click.Context, part: str | None) -> int:
    """List the files that PART (mi300x, gfx950, 9.4.3) needs, in load order, and where each was found.

    Without PART: for the GPUs that --on names. Exit 0: all required files are there; 1: one is missing."""
    from gpumend import firmware_needed

    settings = settings_of(context)
    parts = [part] if part else list(dict.fromkeys(gpu.part.arch for gpu in settings.find("firmware needed")))
    settings.command = "firmware needed"
    answers: list[dict[str, Any]] = [row for name in parts for row in firmware_needed(name, settings.firmware)]
    columns = ("part", "order", "file", "ip", "found", "why")
    rows = [
        (row["part"], row["order"], row["file"], row["ip"], row["path"] or _absent(row), row["why"]) for row in answers
    ]
    table = Table(columns, rows, right=frozenset({"order"}))

    def human(printer: Printer) -> None:
        printer.table(table)
        if missing:
            printer.line(f"{len(missing)} missing; {missing[0]['next']}")

    missing = [row for row in answers if row["required"] and row["path"] is None]
    emit(settings, "firmware needed", body={"files": answers}, table=table, human=human)
    return Exit.PROBLEM if missing else Exit.OK


def _absent(row: dict[str, Any]) -> str:
    return "missing" if row["required"] else "absent (optional)"
