"""Text that is safe to print, and tables as plain text, CSV or (on a terminal) rich.

Strings from the machine (sysfs, file names, logs, firmware) pass through `clean` before they reach a terminal: no control
character, no escape sequence, no direction override survives. rich is imported only when standard output is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

UNKNOWN = "unknown"
_STYLES: Mapping[str, str] = {
    "healthy": "green",
    "ok": "green",
    "valid": "green",
    "degraded": "yellow",
    "warning": "yellow",
    "unknown": "magenta",
    "hung": "bold red",
    "lost": "bold red",
    "error": "red",
    "fatal": "bold red",
    "problem": "red",
    "recovered": "green",
    "verified": "green",
    "partly": "yellow",
    "refused": "yellow",
    "interrupted": "yellow",
    "climbed": "yellow",
    "unverified": "magenta",
    "failed": "red",
    "worse": "bold red",
}


def clean(text: object) -> str:
    """`text` with everything that is not printable (control, format, surrogate, private) as `\\xNN` or `\\uNNNN`."""
    return "".join(char if char.isprintable() else _shown(ord(char)) for char in str(text))


def _shown(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def word(value: object) -> str:
    """A value for a cell: None is `unknown`, never 0 and never empty."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return clean(value)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names. `states` names the columns whose words are coloured on a terminal."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]
    states: frozenset[str] = field(default_factory=frozenset)
    right: frozenset[str] = field(default_factory=frozenset)


def csv_text(table: Table) -> str:
    """RFC 4180 with a header line; cells that a spreadsheet would run as a formula are quoted with an apostrophe."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([_no_formula(word(cell)) for cell in row])
    return out.getvalue()


def _no_formula(cell: str) -> str:
    return "'" + cell if cell[:1] in ("=", "+", "@") else cell


def plain_table(table: Table, indent: str = "") -> str:
    """Aligned columns, two blanks between, no line ever cut."""
    cells = [[word(cell) for cell in row] for row in table.rows]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(table.columns)]
    lines = []
    for row in [list(table.columns), *cells]:
        padded = [
            text.rjust(width) if name in table.right else text.ljust(width)
            for text, width, name in zip(row, widths, table.columns, strict=True)
        ]
        lines.append((indent + "  ".join(padded)).rstrip())
    return "\n".join(lines) + "\n"


class Printer:
    """Prints to one stream: rich when it is a terminal, plain text otherwise."""

    def __init__(self, out: TextIO | None = None, *, console: Any = None) -> None:
        self.out = out or sys.stdout
        self._console = console
        self.fancy = console is not None or self.out.isatty()

    @property
    def console(self) -> Any:
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self.out, highlight=False, soft_wrap=True)
        return self._console

    def line(self, text: str = "", style: str = "") -> None:
        """One line; `text` is cleaned here, newlines too: a name with a newline cannot forge a line of ours."""
        safe = clean(text)
        if not self.fancy:
            self.out.write(safe + "\n")
            return
        from rich.text import Text

        self.console.print(Text(safe, style=style))

    def heading(self, text: str) -> None:
        self.line(text, style="bold")

    def spans(self, *parts: tuple[str, str]) -> None:
        """One line made of (text, style) parts."""
        if not self.fancy:
            self.out.write("".join(clean(text) for text, _ in parts) + "\n")
            return
        from rich.text import Text

        joined = Text()
        for text, style in parts:
            joined.append(clean(text), style=style)
        self.console.print(joined)

    def labelled(self, label: str, text: str, indent: str = "") -> None:
        """A dim label and its text; on a terminal the text wraps under itself, in a pipe it is never broken."""
        if not self.fancy:
            self.out.write(f"{indent}{label:<9} {clean(text)}\n")
            return
        from rich.padding import Padding
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=9, style="dim")
        grid.add_column(overflow="fold")
        grid.add_row(label, Text(clean(text)))
        self.console.print(Padding(grid, (0, 0, 0, len(indent))), soft_wrap=False)

    def table(self, table: Table, indent: str = "") -> None:
        """Aligned columns; a line wider than the terminal runs on, no cell is ever cut or folded."""
        if not self.fancy:
            self.out.write(plain_table(table, indent))
            return
        header, *rows = plain_table(table, indent).splitlines()
        self.spans((header, "bold"))
        names = [index for index, name in enumerate(table.columns) if name in table.states]
        starts, cells = _columns(table, indent)
        for row, words in zip(rows, cells, strict=True):
            self.spans(*_coloured(row, [(starts[index], words[index]) for index in names]))


def _columns(table: Table, indent: str) -> tuple[list[int], list[list[str]]]:
    """Where each column starts in a plain table's lines, and its cells."""
    cells = [[word(cell) for cell in row] for row in table.rows]
    starts, at = [], len(indent)
    for index, name in enumerate(table.columns):
        starts.append(at)
        at += max([len(name), *(len(row[index]) for row in cells)]) + 2
    return starts, cells


def _coloured(row: str, words: list[tuple[int, str]]) -> list[tuple[str, str]]:
    """A line cut into (text, style) at the state words that stand in it at the given places."""
    parts, at = [], 0
    for start, text in words:
        parts += [(row[at:start], ""), (row[start : start + len(text)], style_of(text))]
        at = start + len(text)
    return [*parts, (row[at:], "")]


def style_of(state: str) -> str:
    """The colour of a health or severity word on a terminal."""
    return _STYLES.get(state, "")


def hex_view(good: bytes, bad: bytes, offset: int, *, lines: int = 4) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Two byte strings side by side from the line that holds `offset`: (label, [(byte text, differs), ...]) per row.

    16 bytes a row; a row of the good copy, then the row of the seen bytes. A byte beyond an end is `--`."""
    start = offset & ~0xF
    rows = []
    for at in range(start, start + 16 * lines, 16):
        if at >= max(len(good), len(bad)):
            break
        pairs = [(_byte(good, i), _byte(bad, i)) for i in range(at, at + 16)]
        rows.append((f"{at:#06x} good", [(a, a != b) for a, b in pairs]))
        rows.append(("       seen", [(b, a != b) for a, b in pairs]))
    return rows


def _byte(data: bytes, index: int) -> str:
    return f"{data[index]:02x}" if index < len(data) else "--"
