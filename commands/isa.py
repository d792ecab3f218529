"""`isa`: the code of kernels, as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from base.errors import Exit
from commands.common import Group, common_options, emit, settings_of
from render.text import Printer, Table

TARGETS = ("gfx942", "gfx950")


@click.group("isa", cls=Group, short_help="Code of kernels: disassemble.")
def isa_group() -> None:
    """The instructions of MI300X (gfx942) and MI350X (gfx950)."""


@isa_group.command("disassemble", short_help="A code object, or raw code, as text.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", type=click.Choice(TARGETS), help="Whose instructions; a code object names its own.")
@common_options
@click.pass_context
def disassemble(context: click.Context, file: Path, target: str | None) -> int:
    """Print the instructions of FILE: an ELF code object for an AMD GPU, or code without any header (then name its --target).

    Exit 0: all is code; 1: some of it is no instruction of the target."""
    from gpumend import disassemble as read

    settings = settings_of(context)
    settings.command = "isa disassemble"
    found = read(file, target)
    unknown = sum(line.name is None for section in found.sections for line in section.lines)
    columns = ("section", "address", "code", "instruction")
    rows = [
        (section.name, f"{line.address:#x}", line.data.hex(), line.text)
        for section in found.sections
        for line in section.lines
    ]

    def human(printer: Printer) -> None:
        for section in found.sections:
            printer.heading(f"{section.name or 'code'}, {found.target}")
            for line in section.lines:
                if line.label is not None:
                    printer.line(f"{line.label}:")
                words = " ".join(
                    f"{int.from_bytes(line.data[at : at + 4], 'little'):08x}" for at in range(0, len(line.data), 4)
                )
                printer.spans((f"  {line.address:6x}  {words:<26}  ", "dim"), (line.text, "" if line.name else "red"))

    body: dict[str, Any] = {
        "path": str(file),
        "target": found.target,
        "unknown": unknown,
        "sections": [
            {
                "name": section.name,
                "address": section.address,
                "instructions": [
                    {
                        "address": line.address,
                        "code": line.data.hex(),
                        "name": line.name,
                        "operands": line.operands,
                        "label": line.label,
                    }
                    for line in section.lines
                ],
            }
            for section in found.sections
        ],
    }
    emit(settings, "isa disassemble", body=body, table=Table(columns, rows), human=human)
    return Exit.PROBLEM if unknown else Exit.OK
