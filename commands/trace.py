"""`trace`: what a driver did to a GPU's registers: record it, read it by name, compare two of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from base.errors import Exit, InvalidData, Refused, Undecided, UsageError
from commands.common import FILE, Group, Settings, common_options, emit, ends_in_order, gpu_head, settings_of
from render.text import Printer, Table, clean

if TYPE_CHECKING:
    from gpumend import Comparison, DecodedTrace, Folded, Gpu, TraceRow, TraceSeen

MOST_SHOWN = 200
MOST_VALUES_SHOWN = 4
_DISCOVERY = click.option(
    "--discovery",
    metavar="FILE",
    type=FILE,
    help="Discovery table that says where the registers lie; without it the one that the trace read, or a GPU's (--on, -g).",
)
_BLOCK = click.option(
    "--block",
    "blocks",
    metavar="IP",
    multiple=True,
    help="Only this block: GC, SDMA, MMHUB, NBIF, MP0 ...; repeatable.",
)
_LIMIT = click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(0),
    default=None,
    help=f"At most N rows; 0: all. Text shows {MOST_SHOWN} unless told.",
)
_STATES = {"different": "error", "values": "warning", "order": "warning", "only-a": "warning", "only-b": "warning"}


@click.group("trace", cls=Group, short_help="Register accesses of a driver: record, show, diff.")
def trace_group() -> None:
    """What a driver did to a GPU's registers, by name: record our own, show one, compare two.

    FILE is a recording of `trace record`, or lines `R|W|D offset value [xN] ; name` as a software GPU under another
    driver writes them; either may be gzip."""


def _open(settings: Settings, command: str, path: Path, discovery: Path | None) -> DecodedTrace:
    """A trace with its bases from --discovery, from the one GPU that was named, or from itself."""
    from gpumend import read_trace

    gpu = None
    if discovery is not None and (settings.on or settings.gpus):
        raise UsageError(f"running {command}", expected="--discovery or a GPU (--on, -g)", seen="both")
    if settings.on or settings.gpus:
        found = settings.find(command)
        if len(found) > 1:
            raise UsageError(f"running {command}", expected="one GPU", seen=f"{len(found)}", next_step="choose with -g")
        gpu = found[0]
    return read_trace(path, discovery=discovery, gpu=gpu)


def _limited(settings: Settings, limit: int | None, rows: Sequence[Any]) -> Sequence[Any]:
    if limit is None:
        limit = 0 if settings.as_json or settings.as_csv else MOST_SHOWN
    return rows[:limit] if limit else rows


# --- record


@trace_group.command("record", short_help="Boot a GPU through our driver and keep every access.")
@click.option(
    "-o", "--output", metavar="FILE", type=FILE, required=True, help="New file for the trace; NAME.gz is packed."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, touch nothing.")
@common_options
@click.pass_context
def record(context: click.Context, output: Path, yes: bool, dry_run: bool) -> int:
    """Boot one GPU (-g) through our own driver, write down every access of the boot, and close the GPU again.

    It acts on the GPU: on anything but a model it asks first. Exit 0: booted and recorded (--dry-run: would be); 1: the
    boot failed, the trace up to there is kept; 2: the trace is not whole; 3: refused (the file is there already, a driver
    is bound, nobody to ask); 69: no GPU, or its firmware is missing."""
    from gpumend import record_trace

    settings = settings_of(context)
    found = settings.find("trace record", acting=True)
    if len(found) > 1:
        raise UsageError("recording a boot", expected="one GPU", seen=f"{len(found)}", next_step="choose with -g")
    gpu = found[0]
    if not dry_run and not yes and not gpu.address.startswith("model:"):
        ask("booting", gpu)
    with ends_in_order():
        answer = record_trace(gpu, output, firmware=settings.firmware, dry_run=dry_run)
    row = gpu_head(gpu) | answer
    columns = ("gpu", "bdf", "part", "status", "accesses", "path")
    cells = [[row[name] for name in ("index", *columns[1:])]]

    def human(printer: Printer) -> None:
        printer.heading(f"GPU {gpu.index} {gpu.bdf} {gpu.part.name}: {answer['status']}")
        printer.line(f"  {answer['path']}")
        if not dry_run:
            printer.line(f"  found {answer['start_state']}; {answer['accesses']} accesses in {answer['seconds']:.3f} s")

    emit(settings, "trace record", body={"gpus": [row]}, table=Table(columns, cells), human=human)
    return Exit.OK


def ask(what: str, gpu: Gpu) -> None:
    """Ask whether to act on a GPU; Refused when nobody can be asked or the answer is no."""
    name = f"GPU {gpu.index} {gpu.bdf} {gpu.part.name} (now {gpu.info.driver or 'no driver'})"
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused(
            f"{what} {name}",
            expected="somebody to ask",
            seen="standard input is no terminal",
            next_step="--dry-run to see what would be done, --yes to go on without asking",
        )
    if not click.confirm(f"{what} {name} through our own driver. Go on?", err=True):
        raise Refused(f"{what} {name}", seen="the answer was no")


# --- show


@trace_group.command("show", short_help="A trace by register name, repeats folded, fields decoded.")
@click.argument("file", type=FILE)
@_BLOCK
@click.option("--writes", is_flag=True, help="Leave out reads.")
@_LIMIT
@_DISCOVERY
@common_options
@click.pass_context
def show(
    context: click.Context, file: Path, blocks: tuple[str, ...], writes: bool, limit: int | None, discovery: Path | None
) -> int:
    """Show a trace: how often each block was accessed, then every access with its register's name and fields.

    Accesses through an index pair show the register or the VRAM that they reached. What repeats is folded: `x8`, and
    instances as GC[0-7]. Exit 0: all read; 1: damaged, or no trace; lines that could not be read are named."""
    from gpumend import count_trace, fold_trace

    settings = settings_of(context)
    settings.command = "trace show"
    trace = _open(settings, "trace show", file, discovery)
    folded = fold_trace(trace, blocks=blocks, writes_only=writes)
    shown: Sequence[Folded] = _limited(settings, limit, folded)
    counts = count_trace(trace)
    columns = ("line", "access", "register", "value", "fields", "times", "repeats", "of_lines")
    rows = [(*_cells(item), item.times, item.repeats, item.length) for item in shown]

    def human(printer: Printer) -> None:
        _print_head(printer, trace)
        names = ("block", "instances", "registers", "reads", "writes")
        cells = [[getattr(row, name) for name in names] for row in counts]
        printer.table(Table(names, cells, right=frozenset(names[1:])), indent="  ")
        printer.line()
        for item in shown:
            _print_access(printer, item)
        if len(folded) > len(shown):
            printer.line(f"{len(folded) - len(shown)} more rows: --limit 0 shows all, --block narrows", style="dim")

    body = {
        "file": _head(trace),
        "blocks": [
            {
                "block": row.block,
                "instances": row.instances,
                "registers": row.registers,
                "reads": row.reads,
                "writes": row.writes,
            }
            for row in counts
        ],
        "rows": [_access_body(item) for item in shown],
        "not_shown": len(folded) - len(shown),
    }
    emit(settings, "trace show", body=body, table=Table(columns, rows), human=human)
    return Exit.OK if trace.whole else Exit.PROBLEM


def _head(trace: DecodedTrace) -> dict[str, Any]:
    return {
        "path": str(trace.path),
        "format": "recording" if trace.is_ours else "register lines",
        "part": trace.part.name if trace.part else None,
        "bases": trace.bases_from,
        "accesses": sum(event.times for event in trace.events if event.kind != "mark"),
        "index_accesses": trace.index_accesses,
        "cut_off": trace.cut,
        "damage": [{"line": item.line, "why": item.why} for item in trace.damage],
        "remarks": list(trace.remarks),
    }


def _print_head(printer: Printer, trace: DecodedTrace) -> None:
    head = _head(trace)
    what = f"{head['format']}, {head['part'] or 'part not told'}"
    printer.spans((str(trace.path), "bold"), (f": {what}; {head['accesses']} accesses", ""))
    printer.line(
        f"  and {trace.index_accesses} to index registers, folded away; bases: {trace.bases_from}", style="dim"
    )
    for remark in trace.remarks:
        printer.line(f"  {remark}", style="dim")
    _print_damage(printer, trace)


def _print_damage(printer: Printer, trace: DecodedTrace) -> None:
    for item in trace.damage:
        printer.spans(("  damaged", "red"), (f"  {trace.path}:{item.line}: {item.why}", ""))
    if trace.cut:
        printer.spans(("  cut off", "red"), ("  the recorder reached its size limit: what came after is not here", ""))


def _cells(item: Folded) -> tuple[object, ...]:
    event = item.event
    decoded = event.decoded
    value = None if event.value is None else f"{event.value:#010x}"
    name = clean(event.place.register) if event.kind == "mark" else item.name
    fields = f"failed: {event.failed}" if event.failed else _fields_text(decoded)
    return event.line, event.kind, name, value, fields


def _fields_text(register: object) -> str:
    return "" if register is None else str(register).partition("(")[2].rstrip(")")


def _print_access(printer: Printer, item: Folded) -> None:
    event = item.event
    if event.kind == "mark":
        printer.line(f"--- {event.place.register}", style="bold")
        return
    if item.repeats > 1:
        printer.line(f"         {item.repeats} times these {item.length}:", style="dim")
    indent = "  " if item.length == 0 or item.repeats > 1 else ""
    _, kind, name, value, fields = _cells(item)
    told = "" if value is None else f" {'=' if kind == 'read' else '<-'} {value}"
    times = f"   x{item.times}" if item.times > 1 else ""
    printer.spans(
        (f"{event.line:>7}  {indent}", "dim"),
        (f"{kind:<5} ", "yellow" if kind == "write" else ""),
        (str(name), "cyan"),
        (told + (f" ({fields})" if fields else ""), ""),
        (times, "dim"),
    )


def _access_body(item: Folded) -> dict[str, Any]:
    event = item.event
    decoded = event.decoded
    return {
        "line": event.line,
        "access": event.kind,
        "block": event.place.block,
        "instances": list(item.instances),
        "register": event.register,
        "offset": event.offset,
        "size": event.size,
        "value": event.value,
        "fields": None if decoded is None else decoded.fields(),
        "times": item.times,
        "repeats": item.repeats,
        "of_lines": item.length,
        "failed": event.failed,
    }


# --- diff


@trace_group.command("diff", short_help="Two traces: which registers were written otherwise.")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@_BLOCK
@click.option("--order", is_flag=True, help="The order in which a register got its values counts, too.")
@click.option("--reads", is_flag=True, help="Also name registers that only one of them reads.")
@click.option("--all", "show_same", is_flag=True, help="Show what is the same, too.")
@_LIMIT
@_DISCOVERY
@common_options
@click.pass_context
def diff(
    context: click.Context,
    a: Path,
    b: Path,
    blocks: tuple[str, ...],
    order: bool,
    reads: bool,
    show_same: bool,
    limit: int | None,
    discovery: Path | None,
) -> int:
    """Compare two traces by register name: the last value written, and the values on the way; instances that act alike
    stand in one row.

    Exit 0: the same; 1: different; 2: nothing to compare, or part of a trace could not be read and the rest is the same.
    Memory (VRAM, DMA buffers) is counted, not compared."""
    from gpumend import alike_rows, diff_traces

    settings = settings_of(context)
    settings.command = "trace diff"
    one, two = (_open_or_undecided(settings, path, discovery) for path in (a, b))
    answer = diff_traces(one, two, blocks=blocks, order=order, reads=reads)
    wanted = [row for row in answer.rows if show_same or row.status != "same"]
    places = {block: place for place, block in enumerate(answer.by_block())}
    wanted.sort(key=lambda row: places[row.block])
    shown: Sequence[TraceRow] = _limited(settings, limit, wanted)
    columns = ("register", "status", "a", "b", "a values", "b values", "fields", "a writes", "b writes")
    rows = [_diff_cells(row) for row in shown]

    def human(printer: Printer) -> None:
        for letter, trace in (("A", one), ("B", two)):
            printer.line(f"{letter}: {trace.path}  ({trace.part.name if trace.part else 'part not told'}; "
                         f"bases: {trace.bases_from})")  # fmt: skip
            _print_damage(printer, trace)
        if one.part and two.part and one.part != two.part:
            printer.line(f"two parts: {one.part.name} and {two.part.name}")
        _print_counts(printer, answer)
        for group in alike_rows(shown):
            _print_difference(printer, group)
        if len(wanted) > len(shown):
            printer.line(f"{len(wanted) - len(shown)} more rows: --limit 0 shows all, --block narrows", style="dim")

    body = {
        "a": _head(one),
        "b": _head(two),
        "same": answer.same and one.whole and two.whole,
        "common": answer.common,
        "blocks": {block: dict(counts) for block, counts in answer.by_block().items()},
        "rows": [_diff_body(row) for row in shown],
        "not_shown": len(wanted) - len(shown),
    }
    emit(settings, "trace diff", body=body, table=Table(columns, rows), human=human)
    if not answer.same:
        return Exit.PROBLEM
    return Exit.OK if one.whole and two.whole else Exit.UNKNOWN


def _open_or_undecided(settings: Settings, path: Path, discovery: Path | None) -> DecodedTrace:
    """A file that is no trace means that nothing was compared, not that a difference was found."""
    try:
        return _open(settings, "trace diff", path, discovery)
    except InvalidData as error:
        raise Undecided(
            error.doing, expected=error.expected, seen=error.seen, where=error.where, next_step=error.next_step
        ) from error


_WORDS = ("same", "different", "values", "order", "only-a", "only-b")


def _print_counts(printer: Printer, answer: Comparison) -> None:
    columns = ("block", *(word for word in _WORDS if word != "order" or any(row.status == word for row in answer.rows)))
    cells = [(block, *(counts[word] for word in columns[1:])) for block, counts in answer.by_block().items()]
    printer.table(Table(columns, cells, right=frozenset(columns[1:])), indent="  ")
    printer.spans(("the same", "green") if answer.same else ("different", "red"), (f": {_told(answer)}", ""))


def _told(answer: Comparison) -> str:
    alike = sum(row.status == "same" for row in answer.rows)
    return f"{answer.common} registers are written by both; {alike} of {len(answer.rows)} rows are the same"


def _print_difference(printer: Printer, group: Sequence[TraceRow]) -> None:
    row = group[0]
    more = f"  .. {group[-1].register} ({len(group)} registers)" if len(group) > 1 else ""
    printer.spans((f"  {row.status:<9}  ", _STATES.get(row.status, "green")), (row.name, "cyan"), (more, ""))
    for letter, seen in (("A", row.a), ("B", row.b)):
        if seen is None:
            continue
        printer.line(f"               {letter}  {_history(seen)}")
    if row.fields:
        printer.line(f"               {_field_words(row)}")


def _history(seen: TraceSeen) -> str:
    if not seen.writes:
        return f"only read, {_many(seen.reads, 'time')}"
    others = [value for value in seen.values if value != seen.final]
    words = [_hex(value) for value in others[:MOST_VALUES_SHOWN]]
    more = len(others) - len(words)
    if more or seen.more:
        words.append(f"{more} more" + (" at least" if seen.more else ""))
    before = f"  after {', '.join(words)}" if words else ""
    return f"{_hex(seen.final)}{before}  ({_many(seen.writes, 'write')})"


def _many(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _hex(value: int | None) -> str:
    return "a value not told" if value is None else f"{value:#010x}"


def _field_words(row: TraceRow) -> str:
    return ", ".join(f"{item.name} {_small(item.a)} -> {_small(item.b)}" for item in row.fields)


def _small(value: int | None) -> str:
    return "-" if value is None else f"{value}" if value < 10 else f"{value:#x}"


def _diff_cells(row: TraceRow) -> tuple[object, ...]:
    sides = (row.a, row.b)
    return (
        row.name,
        row.status,
        *("" if side is None or not side.writes else _hex(side.final) for side in sides),
        *("" if side is None else " ".join(map(_hex, side.values)) for side in sides),
        _field_words(row),
        *(0 if side is None else side.writes for side in sides),
    )


def _diff_body(row: TraceRow) -> dict[str, Any]:
    return {
        "block": row.block,
        "register": row.register,
        "instances": list(row.instances),
        "status": row.status,
        "a": _side(row.a),
        "b": _side(row.b),
        "fields": [{"name": item.name, "a": item.a, "b": item.b} for item in row.fields],
    }


def _side(seen: TraceSeen | None) -> dict[str, Any] | None:
    if seen is None:
        return None
    return {
        "reads": seen.reads,
        "writes": seen.writes,
        "final": seen.final,
        "values": list(seen.values),
        "more_values": seen.more,
    }
