"""`repro bundle` and `repro check`: what the vendor will ask for, in one file; and whether such a file is whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from base.errors import Exit
from commands.common import code_of_findings, common_options, emit, settings_of
from render.reports import print_findings
from render.text import Printer, Table

if TYPE_CHECKING:
    from gpumend import Checked, Written

_SHOWN = 15


@click.group("repro", short_help="Evidence for the vendor: collect it, check it.")
def repro_group() -> None:
    """Collect what a vendor asks for about a sick GPU, and check such a bundle."""


@repro_group.command("bundle", short_help="Write down everything about the GPUs, for the vendor.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.tar.zst|FILE.tar.gz|DIR",
    help="Where to; without it a folder below ~/.local/state/gpumend/evidence. Nothing is overwritten.",
)
@click.option("--no-redact", is_flag=True, help="Keep host names, users, serials and addresses as they are.")
@click.option("--ras-counts", is_flag=True, help="Read amdgpu's RAS counters too: reading sets them back.")
@click.option("--problem", metavar="TEXT", default="", help="What is wrong, in your words: the report begins with it.")
@click.option("--incidence", metavar="TEXT", default="", help="How often it happens: '3 of 50', once, always.")
@common_options
@click.pass_context
def bundle_command(
    context: click.Context, output: Path | None, no_redact: bool, ras_counts: bool, problem: str, incidence: str
) -> int:
    """Collect evidence about the selected GPUs (-g), read-only, each question with a limit: 30 s at most, whatever hangs.

    \b
      report.md    in the field order of AMD's issue form
      the probe's findings, config space of the GPU and of the ports above it, discovery table, registers by name
      amdgpu's sysfs and debugfs files, core dumps, who holds the GPU
      the kernel's log, the journal of three boots, versions of kernel, driver, firmware files
      manifest.json with the SHA-256 of each file, and of everything that was not collected: why

    Host names, users, serial numbers and network addresses become pseudonyms, unless --no-redact. Without any GPU, as after
    one was lost, the bundle holds what the machine tells. Exit 0: written and read back whole. 1: not whole. 69: nothing
    at a named address (the bundle is written all the same)."""
    from gpumend import list_there, write_bundle

    settings = settings_of(context)
    settings.command = "repro bundle"
    found, missing = list_there(settings.on, settings.gpus)
    for error in missing:
        _say(f"{error.doing}: {error.seen or error.verb}; the bundle holds what the machine tells")
    if not found and not missing:
        _say("no supported GPU on this machine's PCI bus: the bundle holds what the machine tells")
    written = write_bundle(
        found,
        output,
        redact=not no_redact,
        ras_counts=ras_counts,
        problem=problem,
        incidence=incidence,
        settings={"on": settings.on, "gpus": settings.gpus, "redact": not no_redact, "ras_counts": ras_counts},
        firmware=settings.firmware,
        progress=_progress,
    )
    unread = [{"what": row.what, "why": row.why} for row in written.bundle.unread]
    body = {
        **_head(written.checked),
        "gpus": _gpus(written, found),
        "seconds": round(written.bundle.seconds, 3),
        "redaction": written.bundle.manifest["redaction"],
        "unread": unread,
    }
    table = Table(("what", "why"), [(row["what"], row["why"]) for row in unread])
    emit(settings, "repro bundle", body=body, table=table, human=lambda printer: _print_written(printer, written))
    if not written.ok:
        return Exit.PROBLEM
    return Exit.UNAVAILABLE if missing and settings.on else Exit.OK


def _progress(step: str) -> None:
    """Where it goes is told always: if the machine dies, that is where to look."""
    if step.startswith("into ") or (sys.stderr is not None and sys.stderr.isatty()):
        _say(f"collecting {step}")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _gpus(written: Written, found: list[Any]) -> list[dict[str, Any]]:
    """What the probe said of each, without its findings: those are in the bundle."""
    reports = {report.index: report for report in written.bundle.reports}
    names = ("index", "bdf", "part", "arch", "health", "action")
    told = [reports[gpu.index].to_dict() for gpu in found if gpu.index in reports]
    return [{name: report[name] for name in names} for report in told]


def _head(checked: Checked) -> dict[str, Any]:
    return {
        "path": str(checked.path),
        "ok": checked.ok,
        "complete": checked.complete,
        "files": checked.files,
        "bytes": checked.bytes,
        "sha256": checked.sha256 or None,
        "findings": [finding.to_dict() for finding in checked.findings],
    }


def _print_written(printer: Printer, written: Written) -> None:
    printer.line(str(written.path))
    printer.line(f"  {written.checked.files} files, {written.checked.bytes} bytes, in {written.bundle.seconds:.1f} s")
    if written.checked.sha256:
        printer.line(f"  SHA-256  {written.checked.sha256}")
    told = written.bundle.manifest["redaction"]
    rows = [f"{row['distinct']} {row['kind']} ({row['replaced']} places)" for row in told["redacted"]]
    printer.line(f"  redacted {', '.join(rows) or 'nothing'}" if told["on"] else "  redacted nothing: --no-redact")
    if told["on"] and not told["complete"]:
        printer.line("  some names of this machine could not be learned: look through the bundle before you send it")
    for row in written.bundle.unread[:_SHOWN]:
        printer.labelled("left out", f"{row.what}: {row.why}", "  ")
    if len(written.bundle.unread) > _SHOWN:
        printer.line(f"  and {len(written.bundle.unread) - _SHOWN} more: manifest.json")
    print_findings(printer, written.checked.findings)
    printer.spans(("  written and read back whole", "green") if written.ok else ("  NOT whole", "bold red"))


@repro_group.command("check", short_help="Is a bundle whole, and did its collecting come to its end.")
@click.argument("path", type=click.Path(path_type=Path))
@common_options
@click.pass_context
def check_command(context: click.Context, path: Path) -> int:
    """Read a bundle, folder or archive, and compare it with its manifest. Nothing is unpacked to disk.

    It may come from a stranger: sizes, ratio, names and kinds of members are limited. The hashes show damage, not who wrote
    it: for that compare the archive's SHA-256 with what its sender printed.
    Exit 0: whole. 1: damaged. 2: whole as far as it came, but collecting did not come to its end. 69: not there."""
    from gpumend import check_bundle

    settings = settings_of(context)
    settings.command = "repro check"
    checked = check_bundle(path)
    about = {name: checked.manifest.get(name) for name in ("tool", "started", "reason")}
    rows = [(item.code, item.severity, item.summary, item.expected, item.seen, item.where) for item in checked.findings]
    table = Table(("code", "severity", "summary", "expected", "seen", "where"), rows)
    body = {**_head(checked), "about": about}
    emit(settings, "repro check", body=body, table=table, human=lambda printer: _print_checked(printer, checked, about))
    return code_of_findings(checked.findings)


def _print_checked(printer: Printer, checked: Checked, about: dict[str, Any]) -> None:
    printer.line(str(checked.path))
    printer.line(
        f"  {checked.files} files, {checked.bytes} bytes; by {about['tool']}, {about['started']}, {about['reason']}"
    )
    if checked.sha256:
        printer.line(f"  SHA-256  {checked.sha256}")
    print_findings(printer, checked.findings)
    word = (
        "whole" if checked.ok else "not complete" if code_of_findings(checked.findings) == Exit.UNKNOWN else "damaged"
    )
    printer.spans(("  ", ""), (word, "green" if checked.ok else "bold red"))
