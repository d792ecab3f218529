"""Every register and field of AMD's headers for MI300X and MI350X, by name; the data behind `gpumend regs`.

Source: registers/data/*.txt, made by tools/gen_registers.py. A table is kept as the text it is and searched as text:
only the lines that match are taken apart, so one look-up costs a search, not a parse of 15,000 registers.

    =READ_TIMEOUT:7-0 REPORT_LAST_RDERR:31      a list of fields; the registers under it have these
    GRBM_CNTL 0.0                               offset in hex, segment
    PCIE_INDEX cfg+4                            a byte offset in config space (ix: behind an index pair; smn: SMN address)
    PCS_ERROR_STATUS ?                          only the bits are published (?+101c2: the segment is not)"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registers.core import Register, make_register

Space = Literal["mmio", "config", "indirect", "smn", "unknown"]
FieldRow = tuple[str, int, int]  # name, msb, lsb

DATA = Path(__file__).resolve().parent / "data"
_SPACES: dict[str, Space] = {"cfg": "config", "ix": "indirect", "smn": "smn", "?": "unknown"}
_BLOCK = re.compile(r"(?P<block>\w+)\[(?P<instance>\d+)\]\.(?P<name>.+)", re.ASCII)
_SUFFIX = re.compile(r"(?P<name>\w+)\[(?P<instance>\d+)\]", re.ASCII)
_SDMA = re.compile(r"SDMA(?P<instance>\d+)_(?P<name>\w+)", re.ASCII | re.IGNORECASE)
MOST_NEAR = 8


@dataclass(frozen=True, slots=True)
class HeaderInfo:
    """A table that is there, or (`registers` 0) an IP of these chips that has none: `note` says why."""

    name: str
    ip: str
    registers: int
    fields: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A register as its header gives it. `offset_dwords` and `seg` count from the bases of discovery.

    Outside BAR5 `offset_dwords` is None and `address` is what the header gives: a byte offset in config space, an index
    behind an index pair, an SMN byte address. `space` unknown: the header gives only the bits (`address` None), or an
    offset of a segment that it does not name. Fields: lowest bit first."""

    header: str
    name: str
    offset_dwords: int | None
    seg: int | None
    fields: tuple[FieldRow, ...]
    space: Space = "mmio"
    address: int | None = None

    @property
    def kind(self) -> type[Register]:
        return _kind(self.name, self.fields)

    def decode(self, value: int) -> Register:
        """The value with its fields by name; ValueError when it is wider than the register."""
        return self.kind(value)

    @property
    def place(self) -> str:
        """`segment 0 + 0x1247` or where else it lies, in words."""
        if self.offset_dwords is not None:
            return f"segment {self.seg} + {self.offset_dwords:#x}"
        if self.address is None:
            return "offset not published"
        words = {"config": "config space byte", "indirect": "index", "smn": "SMN", "unknown": "unnamed segment +"}
        return f"{words[self.space]} {self.address:#x}"


@functools.lru_cache(maxsize=4096)
def _kind(name: str, fields: tuple[FieldRow, ...]) -> type[Register]:
    """Made once: making a class costs more than reading the register that it decodes."""
    return make_register(name, {field: (msb, lsb) for field, msb, lsb in fields})


@functools.cache
def _index() -> tuple[str, tuple[HeaderInfo, ...]]:
    source = ""
    found = []
    for line in (DATA / "index.txt").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "source":
            source = rest
        elif word == "header":
            name, registers, fields, ip = rest.split(" ", 3)
            found.append(HeaderInfo(name, ip, int(registers), int(fields)))
        elif word == "missing":
            name, _, why = rest.partition(" ")
            found.append(HeaderInfo(name, "", 0, 0, why))
    return source, tuple(found)


def source() -> str:
    """What the tables were made from: `linux-source-7.3 7.3.4-1~bpo13+1`."""
    return _index()[0]


def headers() -> list[HeaderInfo]:
    """The tables, then the IPs without one."""
    return list(_index()[1])


def _names(header: str | None) -> list[str]:
    present = [info.name for info in headers() if info.registers]
    if header is None:
        return present
    if header not in present:
        raise KeyError(f"no register table {header}; there are {', '.join(present)}")
    return [header]


@functools.cache
def _text(header: str) -> str:
    return (DATA / f"{header}.txt").read_text()


def _entry(header: str, text: str, start: int) -> Entry:
    """Take apart the line at `start` and the list of fields above it."""
    end = text.find("\n", start)
    name, place = text[start:end].split(" ")
    above = text.rfind("\n=", 0, start) + 2
    fields = tuple(_field(word) for word in text[above : text.find("\n", above)].split())
    if place == "?":
        return Entry(header, name, None, None, fields, "unknown")
    space, plus, number = place.partition("+")
    if plus:
        return Entry(header, name, None, None, fields, _SPACES[space], int(number, 16))
    offset, _, seg = place.partition(".")
    return Entry(header, name, int(offset, 16), int(seg), fields)


def _field(word: str) -> FieldRow:
    name, _, span = word.rpartition(":")
    msb, _, lsb = span.partition("-")
    return name, int(msb), int(lsb or msb)


def _find(pattern: str, header: str | None) -> list[Entry]:
    """Entries whose name matches a regular expression (which must not match blanks or line ends)."""
    # (?!=) keeps off the lists of fields; a comment starts with # and a blank follows.
    expression = re.compile(rf"^(?!=){pattern}(?= \S+$)", re.MULTILINE | re.IGNORECASE)
    found = []
    for name in _names(header):
        text = _text(name)
        found += [_entry(name, text, match.start()) for match in expression.finditer(text)]
    return found


def _glob(glob: str) -> str:
    """A shell glob as an expression that stays within a word and takes linear time.

    What follows a star is matched at its first place and not tried again (an atomic group), but for the last part, which
    must reach the end: no glob of many stars can stall a search."""
    first, *rest = re.split(r"\*+", glob)
    if not rest:
        return _letters(first)
    *middle, last = rest
    return _letters(first) + "".join(rf"(?>\w*?{_letters(part)})" for part in middle) + rf"\w*{_letters(last)}"


def _letters(part: str) -> str:
    """A glob without stars: ? and [sets], all else literal."""
    words = []
    position = 0
    while position < len(part):
        letter = part[position]
        position += 1
        if letter == "?":
            words.append(r"\w")
        elif letter == "[" and (close := part.find("]", position + 1)) > 0:
            inner = part[position:close]
            negated = inner.startswith("!")
            letters = re.escape(inner[negated:]).replace(r"\-", "-")
            words.append(rf"(?=\w)[{'^' if negated else ''}{letters}]")
            position = close + 1
        else:
            words.append(re.escape(letter))
    return "".join(words)


def split_instance(name: str) -> tuple[str, int | None]:
    """Name and instance of `GRBM_STATUS[3]`, of `GC[3].GRBM_STATUS` (as errors print it) and of `SDMA3_STATUS_REG`
    (older headers had a copy for each engine). Without one the instance is None."""
    if match := _BLOCK.fullmatch(name) or _SUFFIX.fullmatch(name):
        return match["name"], int(match["instance"])
    if match := _SDMA.fullmatch(_bare(name)):
        return f"SDMA_{match['name']}", int(match["instance"])
    return name, None


def search(glob: str, header: str | None = None) -> list[Entry]:
    """Registers whose name matches a shell glob, case ignored, in the headers' order.

    The kernel's prefixes reg, mm, smn may stand before the name, an instance as in split_instance where the glob alone
    finds nothing. KeyError: no such header."""
    try:
        found = _find(_glob(_bare(glob)), header)
        if found:
            return found
        name, instance = split_instance(glob)
        return _find(_glob(_bare(name)), header) if instance is not None else []
    except re.error as error:
        raise ValueError(f"{glob!r} is not a glob: {error}") from None


def lookup(name: str, header: str | None = None) -> list[Entry]:
    """Registers of exactly this name (with or without instance), case ignored; one for each header that has it."""
    for word in (name, split_instance(name)[0]):
        if not re.fullmatch(r"\w+", word, re.ASCII):
            continue
        if found := _find(re.escape(_bare(word)), header):
            return found
    return []


def _bare(name: str) -> str:
    """regGRBM_STATUS and mmGRBM_STATUS, as the kernel writes them, are GRBM_STATUS."""
    match = re.match(r"(?:reg|mm|smn)(?=[A-Z])", name)
    return name[match.end() :] if match else name


def near(name: str, most: int = MOST_NEAR) -> list[str]:
    """Names that resemble `name`, best first: those that hold it, then those spelled alike. For "did you mean"."""
    wanted = _bare(name).upper()[:80]
    if not re.fullmatch(r"\w+", wanted, re.ASCII):
        return []
    close = [entry.name for entry in _find(rf"\w*{re.escape(wanted)}\w*", None)] if len(wanted) > 3 else []
    found = dict.fromkeys(sorted(close, key=lambda item: (len(item), item)))
    if len(found) < most:
        found.update(dict.fromkeys(_alike(wanted, most)))
    return list(found)[:most]


def _alike(wanted: str, most: int) -> list[str]:
    """difflib is slow (15,000 names take seconds): it sees the few hundred that share the most letter pairs."""
    import difflib

    pairs = {wanted[at : at + 2] for at in range(len(wanted) - 1)}
    ranked: list[tuple[int, str]] = []
    for name in _all_names():
        if abs(len(name) - len(wanted)) <= max(4, len(wanted) // 3):
            upper = name.upper()
            ranked.append((sum(pair in upper for pair in pairs), name))
    ranked.sort(key=lambda item: -item[0])
    by_upper = {name.upper(): name for _, name in ranked[:300]}
    return [by_upper[match] for match in difflib.get_close_matches(wanted, by_upper, n=most, cutoff=0.6)]


@functools.cache
def _all_names() -> tuple[str, ...]:
    expression = re.compile(r"^(?!=)(\w+) \S+$", re.MULTILINE)
    found: dict[str, None] = {}
    for header in _names(None):
        found.update(dict.fromkeys(expression.findall(_text(header))))
    return tuple(found)
