"""`discovery`: the IP discovery table of a GPU or a file: show it, say what is wrong with it, compare, keep a good copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from base.errors import Exit, GpumendError, Undecided, UsageError
from base.findings import graver
from commands.common import FILE, Group, Settings, code_of_findings, common_options, emit, gpu_head, settings_of, worst
from render.reports import error_body, print_findings
from render.text import Printer, Table, clean, hex_view, style_of

if TYPE_CHECKING:
    from gpumend import Discovery, Gpu

_FILES = click.argument("files", metavar="[FILE]...", nargs=-1, type=FILE)


@click.group("discovery", cls=Group, short_help="The IP discovery table: show, validate, diff, save.")
def discovery_group() -> None:
    """The table that tells a driver which IP blocks a GPU has and where: from a GPU, or from files."""


def _label(item: Discovery) -> str:
    return item.name


def _sources(settings: Settings, command: str, files: Sequence[Path]) -> list[tuple[Gpu | None, Discovery]]:
    """The files, or without any the GPUs."""
    from gpumend import discovery_file, discovery_file_or_why, read_discoveries

    if files:
        settings.command = command
        if settings.gpus:
            raise UsageError(f"running {command}", expected="files, or GPUs (-g)", seen="both")
        if len(files) == 1:
            return [(None, discovery_file(files[0]))]
        return [(None, discovery_file_or_why(path)) for path in files]
    found = settings.find(command)
    answers = read_discoveries(found)
    refusals = [item.refusal for item in answers]
    if all(refusals) and refusals[0]:
        raise refusals[0]  # nothing at all could be read: 77
    return list(zip(found, answers, strict=True))


def _head(gpu: Gpu | None, item: Discovery) -> dict[str, Any]:
    head: dict[str, Any] = gpu_head(gpu) if gpu else {"file": item.name}
    return head | {"source": item.source, "size_bytes": len(item.blob), "sha256": item.sha256}


def _split(rows: list[tuple[Gpu | None, dict[str, Any]]]) -> dict[str, Any]:
    """GPUs under "gpus", files under "files"."""
    gpus = [body for gpu, body in rows if gpu]
    return {"gpus": gpus} if gpus else {"files": [body for _, body in rows]}


@discovery_group.command("validate", short_help="Check everything that can be checked, and say where it is wrong.")
@_FILES
@common_options
@click.pass_context
def validate(context: click.Context, files: tuple[Path, ...]) -> int:
    """Validate discovery tables strictly: bounds, signatures, every checksum, records, harvest, GC, VCN, MALL, NPS.

    From FILEs, or without any from the GPUs (compared with the saved good copy, if there is one).
    Exit 0: valid; 1: not, with the table and byte range; 2: one could not be read; 77: not permitted."""
    settings = settings_of(context)
    answers = _sources(settings, "discovery validate", files)
    columns = ("source", "valid", "code", "severity", "summary", "expected", "seen", "where", "next")
    rows: list[tuple[object, ...]] = []
    for _, item in answers:
        state = _state(item)
        found = item.findings or (None,)
        for finding in found:
            rest = tuple(finding.to_dict().values()) if finding else ("",) * 7
            rows.append((_label(item), state, *rest))

    def human(printer: Printer) -> None:
        for _, item in answers:
            _heading(printer, item)
            print_findings(printer, item.findings)

    body = _split(
        [
            (gpu, _head(gpu, item) | {"valid": item.ok, "findings": [found.to_dict() for found in item.findings]})
            for gpu, item in answers
        ]
    )
    emit(settings, "discovery validate", body=body, table=Table(columns, rows), human=human)
    return worst(code_of_findings(item.findings) for _, item in answers)


def _state(item: Discovery) -> str:
    return {Exit.OK: "valid", Exit.PROBLEM: "problem"}.get(Exit(code_of_findings(item.findings)), "unknown")


@discovery_group.command("show", short_help="What the table says: IPs, versions, bases, harvest.")
@_FILES
@common_options
@click.pass_context
def show(context: click.Context, files: tuple[Path, ...]) -> int:
    """Show what discovery tables say: IP blocks with versions and bases, harvest, GC configuration.

    A damaged table is shown as far as it can be decoded, and marked. Exit codes as of `discovery validate`."""
    settings = settings_of(context)
    answers = _sources(settings, "discovery show", files)
    columns = ("source", "die", "hw id", "ip", "instance", "version", "harvested", "bases (dwords)")
    told = [(item, item.to_dict()) for _, item in answers]
    rows = [(_label(item), *row) for item, shown in told for row in _ip_rows(shown)]

    def human(printer: Printer) -> None:
        for item, shown in told:
            _print_tables(printer, item, shown, columns[1:])

    body = _split([(gpu, _head(gpu, item) | item.to_dict()) for gpu, item in answers])
    emit(settings, "discovery show", body=body, table=Table(columns, rows), human=human)
    return worst(code_of_findings(item.findings) for _, item in answers)


def _ip_rows(shown: dict[str, Any]) -> list[tuple[object, ...]]:
    names = ("die", "hw_id", "name", "instance", "version", "harvested")
    return [(*(ip[name] for name in names), " ".join(f"{base:#x}" for base in ip["bases"])) for ip in shown["ips"]]


def _heading(printer: Printer, item: Discovery) -> None:
    state = _state(item)
    came = f"{len(item.blob)} bytes from {item.source}" if item.blob else "nothing was read"
    printer.spans((f"{_label(item)}: ", "bold"), (state, style_of(state)), (f"  ({came})", "dim"))


def _print_tables(printer: Printer, item: Discovery, shown: dict[str, Any], columns: tuple[str, ...]) -> None:
    _heading(printer, item)
    rows = _ip_rows(shown)
    if shown["tables"]:
        cells = [
            (table["name"], f"{table['offset']:#x}", table["size_bytes"], f"{table['checksum']:#06x}", _sum(table["computed"]))
            for table in shown["tables"]
        ]  # fmt: skip
        printer.table(Table(("table", "offset", "size", "checksum", "computed"), cells), indent="  ")
    if rows:
        note = "" if shown["trusted"] else " (decoded from a damaged table: do not rely on it)"
        printer.line(f"  {len(rows)} IP records{note}")
        printer.table(Table(columns, rows, right=frozenset({"hw id", "instance", "die"})), indent="  ")
    if shown["gc"]:
        printer.line("  GC " + ", ".join(f"{name} {value}" for name, value in shown["gc"].items()))
    if shown["nps"]:
        spans = ", ".join(f"{base:#x}..{limit:#x}" for base, limit in shown["nps"]["ranges"])
        printer.line(f"  NPS{shown['nps']['nps_type']}: {spans}")
    print_findings(printer, item.findings)


def _sum(value: int | None) -> str | None:
    return None if value is None else f"{value:#06x}"


@discovery_group.command("diff", short_help="Where two tables differ, as bytes and as meaning.")
@_FILES
@common_options
@click.pass_context
def diff(context: click.Context, files: tuple[Path, ...]) -> int:
    """Compare two tables, the good one first: two FILEs, a FILE and one GPU, two GPUs (-g 0,2), or one GPU with its saved copy.

    Exit 0: the same; 1: different, with a hex view of the first differences; 2: one could not be read."""
    from gpumend import diff_discovery

    settings = settings_of(context)
    good, bad = _pair(settings, files)
    for item in (good, bad):
        if not item.blob:
            worst_of = graver(list(item.findings))[0] if item.findings else None
            raise Undecided(
                f"comparing {good.name} with {bad.name}",
                expected=f"the table of {item.name}",
                seen=worst_of.summary if worst_of else "an empty file",
                where=worst_of.where if worst_of else item.name,
                next_step=worst_of.next if worst_of else "",
            )
    answer = diff_discovery(good.blob, bad.blob)
    columns = ("offset", "length", "tables", "good", "seen")
    rows = [
        (f"{part.offset:#x}", part.length, ", ".join(part.tables), _some(good.blob, part), _some(bad.blob, part))
        for part in answer.ranges
    ]

    def human(printer: Printer) -> None:
        printer.line(f"good: {_label(good)}")
        printer.line(f"seen: {_label(bad)}")
        if not good.ok:
            printer.line("the good one is itself not valid: gpumend discovery validate")
        print_difference(printer, good.blob, bad.blob)

    body = {
        "good": {"name": _label(good), "sha256": good.sha256, "size_bytes": len(good.blob)},
        "seen": {"name": _label(bad), "sha256": bad.sha256, "size_bytes": len(bad.blob)},
        "differing_bytes": answer.differing_bytes,
        "compared_bytes": answer.compared_bytes,
        "ranges": [
            {"offset": part.offset, "length": part.length, "tables": list(part.tables)} for part in answer.ranges
        ],
        "more_ranges": answer.more_ranges,
    }
    emit(settings, "discovery diff", body=body, table=Table(columns, rows), human=human)
    return Exit.OK if answer.same and good.ok else Exit.PROBLEM


def _some(blob: bytes, part: Any) -> str:
    data = blob[part.offset : part.offset + min(part.length, 16)]
    return data.hex(" ") + (" ..." if part.length > 16 else "")


def _pair(settings: Settings, files: Sequence[Path]) -> tuple[Discovery, Discovery]:
    from gpumend import discovery_file, read_discoveries, saved_discovery

    settings.command = "discovery diff"
    if len(files) > 2 or (len(files) == 2 and settings.gpus):
        seen = f"{len(files)} files" + (" and GPUs (-g)" if settings.gpus else "")
        raise UsageError("comparing discovery tables", expected="two tables", seen=seen)
    from_files = [discovery_file(path) for path in files]
    if len(files) == 2:
        return from_files[0], from_files[1]
    found = settings.find("discovery diff")
    wanted = 2 - len(files)
    if len(found) not in (1, wanted):
        raise UsageError(
            "comparing discovery tables",
            expected="two FILEs, a FILE and one GPU, two GPUs, or one GPU that has a saved copy",
            seen=f"{len(files)} files and {len(found)} GPUs",
            next_step="choose with -g: gpumend discovery diff -g 0,2",
        )
    if len(files) + len(found) == 1:
        return saved_discovery(found[0]), read_discoveries(found)[0]
    both = from_files + read_discoveries(found)
    return both[0], both[1]


def print_difference(printer: Printer, good: bytes, bad: bytes) -> None:
    """How many bytes differ, in which tables, and a hex view of the first of them; used by the demo too."""
    from gpumend import diff_discovery

    answer = diff_discovery(good, bad)
    if answer.same:
        printer.spans(("the same", "green"), (f": {answer.compared_bytes} bytes", ""))
        return
    printer.spans(("different", "red"), (f": {answer}", ""))
    for part in answer.ranges:
        printer.line(f"  {part.offset:#06x}..{part.offset + part.length - 1:#06x}  in {', '.join(part.tables)}")
    if answer.more_ranges:
        printer.line(f"  and {answer.more_ranges} more ranges")
    printer.line()
    for label, pairs in hex_view(good, bad, answer.ranges[0].offset):
        parts: list[tuple[str, str]] = [(f"  {label}  ", "dim")]
        for text, differs in pairs:
            parts.append((f"{text} ", "bold red" if differs else ""))
        if any(differs for _, differs in pairs):
            parts.append(("  *", "dim"))
        printer.spans(*parts)


@discovery_group.command("save", short_help="Keep a good copy of each GPU's table, to compare with later.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, write nothing.")
@common_options
@click.pass_context
def save(context: click.Context, dry_run: bool) -> int:
    """Keep each GPU's table, one file per GPU serial, so that `validate`, `probe` and `diff` can compare with it later.

    An invalid table is never kept. Exit 0: all kept (read back and compared); 1: one was not; 77: not permitted."""
    from gpumend import save_discovery

    settings = settings_of(context)
    rows: list[dict[str, Any]] = []
    codes: list[int] = []
    for gpu in settings.find("discovery save", acting=True):
        row = gpu_head(gpu) | {"path": None, "status": "", "error": None}
        try:
            path, status = save_discovery(gpu, dry_run=dry_run)
            row |= {"path": str(path), "status": status}
            codes.append(Exit.OK)
        except GpumendError as error:
            row |= {"status": "not saved", "error": error_body(error)}
            codes.append(error.exit_code if error.exit_code in (Exit.NOT_PERMITTED, Exit.UNAVAILABLE) else Exit.PROBLEM)
        rows.append(row)
    columns = ("gpu", "bdf", "part", "status", "path")
    table = Table(columns, [[row[name] for name in ("index", "bdf", "part", "status", "path")] for row in rows])

    def human(printer: Printer) -> None:
        for row in rows:
            printer.line(f"GPU {row['index']} {row['bdf']} {row['part']}: {row['status']} {clean(row['path'] or '')}")
            if row["error"]:
                for name in ("doing", "expected", "seen", "where", "next"):
                    if row["error"][name]:
                        printer.line(f"    {name:<9} {row['error'][name]}")

    emit(settings, "discovery save", body={"gpus": rows}, table=table, human=human)
    failed = {code for code in codes if code}
    return failed.pop() if len(failed) == 1 else Exit.PROBLEM if failed else Exit.OK
