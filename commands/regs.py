"""`regs`: AMD's registers by name: read them, decode a value, find a name."""

from __future__ import annotations

import click

from base.errors import Exit, GpumendError, NotPermitted, UsageError
from commands.common import Group, common_options, emit, gpu_head, settings_of
from render.reports import error_body, error_lines
from render.text import Printer, Table

MOST_SHOWN = 400


@click.group("regs", cls=Group, short_help="Registers by name: read, decode, search.")
def regs_group() -> None:
    """AMD's registers by name, every field decoded; from the headers of the Linux kernel."""


@regs_group.command("read", short_help="Read registers of a GPU by name (globs).")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@common_options
@click.pass_context
def read(context: click.Context, names: tuple[str, ...]) -> int:
    """Read every register that matches NAME (a shell glob; 'GC[3].NAME' for one instance), decoded. Changes nothing.

    What a look may not read says why: semaphores, data ports, registers that lie in no BAR. Banked registers show the
    queue that is selected now. Exit 0: all read; 2: some not; 77: nothing, for want of privilege."""
    from gpumend import read_registers

    settings = settings_of(context)
    found = settings.find("regs read")
    outcomes = list(zip(found, read_registers(found, names), strict=True))
    columns = ("gpu", "register", "address", "value", "fields", "note")
    rows = [
        (
            f"{gpu.index} {gpu.bdf}",
            item.name,
            _address(item.address, item.aid),
            _value(item.value),
            _fields(item.value),
            item.note,
        )
        for gpu, outcome in outcomes
        for item in outcome.value or ()
    ]

    def human(printer: Printer) -> None:
        for gpu, outcome in outcomes:
            printer.heading(f"GPU {gpu.index} {gpu.bdf} {gpu.part.name}")
            for line in error_lines(outcome.error) if isinstance(outcome.error, GpumendError) else ():
                printer.line(f"  {line}")
            for item in outcome.value or ():
                value = "-" if item.value is None else str(item.value)
                note = f"   [{item.note}]" if item.note else ""
                printer.spans(("  ", ""), (item.name, "cyan"), (f" = {value}", ""), (note, "dim"))

    body = {
        "gpus": [
            {
                **gpu_head(gpu),
                "error": error_body(outcome.error) if isinstance(outcome.error, GpumendError) else None,
                "registers": [
                    {
                        "name": item.name,
                        "address": item.address,
                        "aid": item.aid,
                        "value": item.raw,
                        "fields": None if item.value is None else item.value.fields(),
                        "note": item.note,
                    }
                    for item in outcome.value or ()
                ],
            }
            for gpu, outcome in outcomes
        ]
    }
    emit(settings, "regs read", body=body, table=Table(columns, rows), human=human)
    all_read = all(
        outcome.error is None and all(item.raw is not None for item in outcome.unwrap()) for _, outcome in outcomes
    )
    if all(isinstance(outcome.error, NotPermitted) for _, outcome in outcomes):
        return Exit.NOT_PERMITTED
    return Exit.OK if all_read else Exit.UNKNOWN


def _address(address: int | None, aid: int) -> str | None:
    if address is None:
        return None
    return f"{address:#x}" + (f" of AID {aid}" if aid else "")


def _value(value: object) -> str | None:
    return None if value is None else f"{int(value):#010x}"  # type: ignore[call-overload]


def _fields(value: object) -> str:
    return "" if value is None else str(value).partition("(")[2].rstrip(")")


@regs_group.command("decode", short_help="Say what the bits of a value mean.")
@click.argument("name")
@click.argument("value")
@common_options
@click.pass_context
def decode(context: click.Context, name: str, value: str) -> int:
    """Decode VALUE (hex with 0x, or decimal) as register NAME: every field, those that are 0 too."""
    from gpumend import registers_named

    settings = settings_of(context)
    settings.command = "regs decode"
    number = _number(value)
    entries = registers_named(name)
    try:
        decoded = [(entry, entry.decode(number)) for entry in entries]
    except ValueError as error:
        raise UsageError(
            f"decoding {value} as {name}", expected="a value that fits the register", seen=str(error)
        ) from error
    columns = ("header", "register", "field", "bits", "value", "hex")
    rows = []
    for entry, register in decoded:
        numbers = register.fields()
        for field, msb, lsb in entry.fields:
            span = f"{msb}" if msb == lsb else f"{msb}:{lsb}"
            rows.append((entry.header, entry.name, field, span, numbers[field], f"{numbers[field]:#x}"))

    def human(printer: Printer) -> None:
        for entry, register in decoded:
            printer.heading(f"{entry.name} = {register}   ({entry.header}, {entry.place})")
            shown = [row[2:] for row in rows if row[:2] == (entry.header, entry.name)]
            if shown:
                printer.table(Table(columns[2:], shown, right=frozenset({"bits", "value", "hex"})), indent="  ")

    body = {
        "registers": [
            {
                "header": entry.header,
                "name": entry.name,
                "place": entry.place,
                "value": number,
                "fields": register.fields(),
            }
            for entry, register in decoded
        ]
    }
    emit(settings, "regs decode", body=body, table=Table(columns, rows), human=human)
    return Exit.OK


def _number(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= 0xFFFFFFFFFFFFFFFF:
        raise UsageError("reading the value", expected="a number: 0x83, 131 or 0b1000_0011", seen=text)
    return number


@regs_group.command("search", short_help="Find registers by name (globs).")
@click.argument("glob")
@click.option("--fields", "with_fields", is_flag=True, help="Show each register's fields with their bits.")
@common_options
@click.pass_context
def search(context: click.Context, glob: str, with_fields: bool) -> int:
    """Find registers whose name matches GLOB in all tables (case ignored). None does: exit 64, with names that come near."""
    from gpumend import register_tables, search_registers

    settings = settings_of(context)
    settings.command = "regs search"
    entries = search_registers(glob)
    columns = ("header", "register", "place", "fields")
    rows = [
        (entry.header, entry.name, entry.place, _layout(entry.fields) if with_fields else len(entry.fields))
        for entry in entries
    ]
    shown = rows if settings.as_json or settings.as_csv else rows[:MOST_SHOWN]
    table = Table(columns, shown, right=frozenset() if with_fields else frozenset({"fields"}))

    def human(printer: Printer) -> None:
        printer.table(table)
        more = f", {len(rows) - len(shown)} not shown" if len(rows) > len(shown) else ""
        count = "1 register" if len(rows) == 1 else f"{len(rows)} registers"
        printer.line(f"{count}{more}. Source: {register_tables()[0]}")
        for note in register_tables()[1]:
            printer.line(f"no table: {note}", style="dim")

    body = {
        "registers": [
            {
                "header": entry.header,
                "name": entry.name,
                "place": entry.place,
                "fields": [list(field) for field in entry.fields],
            }
            for entry in entries
        ]
    }
    emit(settings, "regs search", body=body, table=table, human=human)
    return Exit.OK


def _layout(fields: tuple[tuple[str, int, int], ...]) -> str:
    return ", ".join(f"{name} {msb}" if msb == lsb else f"{name} {msb}:{lsb}" for name, msb, lsb in fields) or "-"
