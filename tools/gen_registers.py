"""Register classes and tables from AMD's headers in the kernel source (tools/debian_source.py brings it).

    .venv/bin/python tools/gen_registers.py            # write registers/amd/*.py and registers/data/*.txt
    .venv/bin/python tools/gen_registers.py --check    # compare them with the source instead; 0 same, 1 different

Read: drivers/gpu/drm/amd/include/asic_reg/*/<header>_offset.h and <header>_sh_mask.h, tools/register_names.txt.
Written: for every header a module of typed classes for the names that the code uses, and a table of all its registers."""

from __future__ import annotations

import argparse
import fnmatch
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from registers.core import field_name
from tools import debian_source, gen_structs
from tools.debian_source import Source
from tools.generated import AMD, DATA, ROOT, GenerateError, check, write

COMMAND = ".venv/bin/python tools/gen_registers.py"
NAMES = ROOT / "tools/register_names.txt"
ASIC_REG = "include/asic_reg"
MIT_WORDS = "Permission is hereby granted, free of charge"

Fields = tuple[tuple[str, int, int], ...]  # (name, msb, lsb), lowest bit first


@dataclass(frozen=True, slots=True)
class Spec:
    """One header pair: folder of asic_reg, the IP's name for users, and which name prefix goes to which class."""

    header: str
    folder: str
    ip: str
    blocks: tuple[tuple[str, str], ...]  # (class, prefix of its registers)


HEADERS = (
    Spec("gc_9_4_3", "gc", "GC 9.4.3, 9.5.0", (("Gc", ""),)),
    Spec(
        "mp_13_0_6", "mp", "MP0, MP1 13.0.6, 13.0.12, 13.0.14", (("Mp0", "MP0_"), ("Mp1", "MP1_"), ("McaMp1", "MCMP1_"))
    ),
    Spec("nbio_7_9_0", "nbio", "NBIO 7.9.0", (("Nbio", ""),)),
    Spec("mmhub_1_8_0", "mmhub", "MMHUB 1.8.0, 1.8.1", (("Mmhub", ""),)),
    Spec("hdp_4_4_2", "hdp", "HDP 4.4.2, 4.4.5", (("Hdp", ""),)),
    Spec("osssys_4_4_2", "oss", "OSSSYS 4.4.2, 4.4.5", (("Osssys", ""),)),
    Spec("sdma_4_4_2", "sdma", "SDMA 4.4.2, 4.4.4, 4.4.5", (("Sdma", ""),)),
    Spec("umc_12_0_0", "umc", "UMC 12.0.0, 12.5.0", (("Umc", ""),)),
    Spec("xgmi_6_1_0", "xgmi", "XGMI 6.4.0, 6.4.1 (PCS error status)", (("Xgmi", ""),)),
    Spec("xgmi_4_0_0", "xgmi", "XGMI WAFL PCS error status", (("XgmiWafl", ""),)),
    Spec("smuio_13_0_3", "smuio", "SMUIO 13.0.3, 13.0.11", (("Smuio", ""),)),
    Spec("smuio_13_0_6", "smuio", "SMUIO 13.0.6", (("Smuio6", ""),)),
    Spec("thm_13_0_2", "thm", "THM 13.0.2", (("Thm", ""),)),
    Spec("athub_1_8_0", "athub", "ATHUB 1.8.0", (("Athub", ""),)),
    Spec("df_4_15", "df", "DF 4.15", (("Df", ""),)),
    Spec("vcn_5_0_0", "vcn", "VCN, JPEG 5.0.1", (("Vcn5", ""),)),
    Spec("vcn_4_0_3", "vcn", "VCN, JPEG 4.0.3", (("Vcn", ""),)),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A register of a header. `offset` None: only its bits are known. `seg` None: not in BAR5 (`space` says where)."""

    name: str
    offset: int | None
    seg: int | None
    space: str  # "" in BAR5; "cfg": byte in config space; "ix": behind an index pair; "smn": SMN byte; "?": no segment
    fields: Fields

    @property
    def is_wide(self) -> bool:
        return any(msb > 31 for _, msb, _ in self.fields)


@dataclass(slots=True)
class Header:
    spec: Spec
    files: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


# ---------------------------------------------------------------- reading

_DEFINE = re.compile(r"^#define\s+(\w+)\s+(0x[0-9a-fA-F]+|\d+)[UL]*\s*(?:/[/*].*)?$", re.M)
_PREFIX = re.compile(r"(reg|mm|smn|cfg|ix)(?=[A-Z])")


def read_offsets(text: str) -> list[tuple[str, int, int | None, str]]:
    """(name, offset, seg, space) of an _offset.h or _smn.h, in the header's order."""
    values = {name: int(number, 0) for name, number in _DEFINE.findall(text)}
    found = []
    for name, offset in values.items():
        match = _PREFIX.match(name)
        if match is None or name.endswith("_BASE_IDX"):
            continue
        prefix = match.group(1)
        seg = values.get(f"{name}_BASE_IDX")
        space = {"cfg": "cfg", "ix": "ix", "smn": "smn"}.get(prefix, "")
        if not space and seg is None:
            space = "?"  # nbio_7_9_0 forgot the BASE_IDX of one register
        found.append((name.removeprefix(prefix), offset, seg if not space else None, space))
    return found


def read_masks(text: str) -> dict[str, Fields]:
    """Register name to its fields, of an _sh_mask.h. Shift and mask must agree and be one run of bits."""
    shifts: dict[tuple[str, str], int] = {}
    masks: dict[tuple[str, str], int] = {}
    for name, number in _DEFINE.findall(text):
        register, separator, rest = name.partition("__")
        if not separator:
            continue
        if rest.endswith("__SHIFT"):
            shifts[register, rest.removesuffix("__SHIFT")] = int(number, 0)
        elif rest.endswith("_MASK"):
            masks[register, rest.removesuffix("_MASK")] = int(number, 0)
    if shifts.keys() != masks.keys():
        odd = sorted("__".join(key) for key in shifts.keys() ^ masks.keys())
        raise GenerateError(f"shift without mask or mask without shift: {', '.join(odd[:5])}")
    fields: dict[str, list[tuple[str, int, int]]] = {}
    for (register, name), lsb in shifts.items():
        mask = masks[register, name]
        msb = mask.bit_length() - 1
        if mask != (1 << (msb + 1)) - (1 << lsb):
            raise GenerateError(f"{register}.{name}: mask {mask:#x} is not one run of bits from {lsb}")
        fields.setdefault(register, []).append((name, msb, lsb))
    return {register: tuple(sorted(rows, key=lambda row: row[2])) for register, rows in fields.items()}


def read_header(spec: Spec, source: Source) -> Header:
    """All rows of one header pair: first those with an offset, then those of which only the bits are known."""
    folder = source.amd / ASIC_REG / spec.folder
    header = Header(spec)
    offsets: list[tuple[str, int, int | None, str]] = []
    masks: dict[str, Fields] = {}
    for ending in ("_offset.h", "_smn.h", "_sh_mask.h"):
        path = folder / f"{spec.header}{ending}"
        if not path.exists():
            continue
        text = path.read_text()
        if MIT_WORDS not in text:
            raise GenerateError(f"{path} does not carry the MIT notice: look before using it")
        header.files.append(str(path.relative_to(source.root)))
        if ending == "_sh_mask.h":
            masks = read_masks(text)
        else:
            offsets += read_offsets(text)
    if not header.files:
        raise GenerateError(f"{folder} has no header {spec.header}")
    header.rows = [Row(name, offset, seg, space, masks.get(name, ())) for name, offset, seg, space in offsets]
    named = {name for name, *_ in offsets}
    header.rows += [Row(name, None, None, "", rows) for name, rows in masks.items() if name not in named]
    return header


def read_names(text: str) -> dict[str, list[str]]:
    """[header] sections of register_names.txt: header to patterns."""
    names: dict[str, list[str]] = {}
    section: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith("["):
            section = names.setdefault(line.strip("[]"), [])
        elif section is None:
            raise GenerateError(f"register_names.txt line {number}: {line} stands before the first [header]")
        else:
            section.append(line)
    unknown = names.keys() - {spec.header for spec in HEADERS}
    if unknown:
        raise GenerateError(f"register_names.txt: no such header: {', '.join(sorted(unknown))}")
    return names


def pick(header: Header, patterns: Iterable[str]) -> list[Row]:
    """The rows that the patterns name, in the header's order. A pattern that names nothing is a mistake."""
    usable = [row for row in header.rows if row.space in ("", "smn")]
    chosen: set[str] = set()
    idle = []
    for pattern in patterns:
        found = {row.name for row in usable if fnmatch.fnmatchcase(row.name, pattern)}
        chosen |= found
        if not found:
            idle.append(pattern)
    if idle:
        raise GenerateError(f"register_names.txt [{header.spec.header}]: no such register: {', '.join(idle)}")
    return [row for row in usable if row.name in chosen]


# ---------------------------------------------------------------- classes

_SPLIT = re.compile(r"(\d+)")


def shared_name(names: list[str]) -> str:
    """`VM_CONTEXTn_CNTL` for VM_CONTEXT0_CNTL, VM_CONTEXT1_CNTL ...: digits that differ become n."""
    columns = list(zip(*(_SPLIT.split(name) for name in names), strict=True))
    return "".join(column[0] if len(set(column)) == 1 else "n" for column in columns)


def group_kinds(rows: list[Row]) -> dict[str, list[Row]]:
    """Class name to the registers that share it: equal fields, and names that differ in their numbers only."""
    families: dict[tuple[str, Fields], list[Row]] = {}
    for row in rows:
        families.setdefault((_SPLIT.sub("#", row.name), row.fields), []).append(row)
    kinds: dict[str, list[Row]] = {}
    for members in families.values():
        name = f"{shared_name([row.name for row in members])}_t"
        if name in kinds:
            name = f"{members[0].name}_t"
        if name in kinds:
            raise GenerateError(f"two classes would be called {name}")
        kinds[name] = members
    return kinds


def checked(names: Iterable[str], owner: str) -> dict[str, str]:
    """Header name to attribute name; they must stay unique."""
    attributes = {name: field_name(name) for name in names}
    if len(set(attributes.values())) != len(attributes):
        raise GenerateError(f"{owner}: two fields would have one name: {attributes}")
    return attributes


def class_text(name: str, row: Row) -> list[str]:
    attributes = checked((item[0] for item in row.fields), row.name)
    lines = [f"class {name}({'Register64' if row.is_wide else 'Register'}):", "    __slots__ = ()"]
    for raw, msb, lsb in row.fields:
        attribute = attributes[raw]
        value = f"bit({lsb})" if msb == lsb else f"bits({msb}, {lsb})"
        note = f"  # in the header: {raw}" if attribute != raw else ""
        lines.append(f"    {attribute} = {value}{note}")
    return [*lines, ""]


def module_text(header: Header, rows: list[Row], source: Source) -> str:
    """A module of registers/amd: one class for each kind of register, then the blocks."""
    kinds = group_kinds(rows)
    kind_of = {row.name: name for name, members in kinds.items() for row in members}
    body: list[str] = []
    for name, members in kinds.items():
        body += ["", *class_text(name, members[0])]
    for block, prefix in header.spec.blocks:
        body += block_text(block, prefix, rows, kind_of)
    used = [
        word
        for word in ("Register", "Register64", "RegisterBlock", "bit", "bits", "reg")
        if any(re.search(rf"\b{word}\b", line) for line in body)
    ]
    head = [
        f'"""{header.spec.ip}: the registers that the code uses (tools/register_names.txt). Generated, do not edit.',
        "",
        f"Source: {source}:",
        *(f"  {path}" for path in header.files),
        f"Made by: {COMMAND}",
        'AMD\'s headers are under the MIT licence: registers/data/NOTICE.md"""',
        "",
        f"from registers.core import {', '.join(used)}",
        "",
    ]
    return "\n".join([*head, *body]).rstrip("\n") + "\n"


def block_text(block: str, prefix: str, rows: list[Row], kind_of: Mapping[str, str]) -> list[str]:
    """The RegisterBlock of the registers that have an offset in BAR5, none where there are none."""
    members = [row for row in rows if row.name.startswith(prefix) and row.seg is not None]
    if not members:
        return []
    lines = ["", f"class {block}(RegisterBlock):"]
    for row in sorted(members, key=lambda row: (row.seg or 0, row.offset or 0)):
        lines.append(f"    {row.name} = reg({row.offset:#06x}, {kind_of[row.name]}, {row.seg})")
    return [*lines, ""]


# ---------------------------------------------------------------- tables


def bits_text(item: tuple[str, int, int]) -> str:
    name, msb, lsb = item
    return f"{name}:{msb}" if msb == lsb else f"{name}:{msb}-{lsb}"


def place_text(row: Row) -> str:
    """`1247.0` offset and segment in hex and decimal; `cfg+4`, `ix+3`, `smn+11af0210`; `?+101c2` and `?`: not known."""
    if row.offset is None:
        return "?"
    return f"{row.space}+{row.offset:x}" if row.space else f"{row.offset:x}.{row.seg}"


def table_text(header: Header, source: Source) -> str:
    """All registers of a header. `=` starts a list of fields; the registers under it, one a line, have these fields."""
    groups: dict[Fields, list[Row]] = {}
    for row in header.rows:
        groups.setdefault(row.fields, []).append(row)
    lines = [
        f"# {header.spec.header}: {header.spec.ip}. Generated by {COMMAND}; AMD's notice: NOTICE.md",
        f"# {source}",
    ]
    lines += [f"# {path}" for path in header.files]
    for fields, rows in groups.items():
        lines.append("=" + " ".join(bits_text(item) for item in fields))
        lines += [f"{row.name} {place_text(row)}" for row in rows]
    return "\n".join(lines) + "\n"


def index_text(headers: list[Header], source: Source) -> str:
    lines = [
        f"# The tables of this folder: header, registers, fields, IPs. Generated by {COMMAND}",
        f"source {source.package} {source.version}",
    ]
    for header in headers:
        count = sum(len(row.fields) for row in header.rows)
        lines.append(f"header {header.spec.header} {len(header.rows)} {count} {header.spec.ip}")
    lines += [f"missing {name} {why}" for name, why in MISSING]
    return "\n".join(lines) + "\n"


MISSING = (
    ("gc_9_5_0", "GC of MI350X: the kernel uses gc_9_4_3"),
    ("mp_13_0_12", "MP0 and MP1 of MI350X: the kernel uses mp_13_0_6"),
    ("mp_13_0_14", "MP0 and MP1 of MI325X: the kernel uses mp_13_0_6"),
    ("sdma_4_4_4", "SDMA of MI350X: the kernel uses sdma_4_4_2"),
    ("mmhub_1_8_1", "MMHUB of MI350X: the kernel uses mmhub_1_8_0"),
    ("umc_12_5_0", "UMC of MI350X: the kernel uses umc_12_0_0, which has four registers"),
    ("vcn_5_0_1", "VCN and JPEG of MI350X: the kernel uses vcn_5_0_0"),
    ("xgmi_6_4_0", "only the bits of one register are published (xgmi_6_1_0); SMN addresses: registers/amd_smn.py"),
    ("smuio_13_0_11", "SMUIO: the kernel uses smuio_13_0_3"),
    ("thm_13_0_6", "THM: the kernel reads temperatures from the SMU's metrics; thm_13_0_2 is the nearest header"),
)


def notice_text(source: Source, headers: list[Header]) -> str:
    """AMD's copyright lines and the MIT licence, as the headers carry them."""
    holders: dict[str, list[str]] = {}
    paths = [path for header in headers for path in header.files]
    paths += [f"{debian_source.AMD}/{path}" for spec in gen_structs.SPECS for path in spec.headers]
    for path in paths:
        text = (source.root / path).read_text()
        line = next((line for line in text.splitlines()[:12] if "Copyright" in line), "")
        if not line:
            raise GenerateError(f"{path} names no copyright holder: look before using it")
        holders.setdefault(re.sub(r"\s+", " ", line.strip(" */")), []).append(Path(path).name)
    first = (source.root / headers[0].files[0]).read_text()
    comment = first[: first.index("*/")]
    words = [line.strip().lstrip("*").strip() for line in comment.splitlines()]
    licence = "\n".join(words).strip("/* \n")
    licence = licence[licence.index(MIT_WORDS) :].strip()
    lines = [
        "# Notice",
        "",
        f"The tables of this folder and the modules of `registers/amd` come from headers of {source}:",
        "",
    ]
    lines += [f"- {holder}: {', '.join(f'`{name}`' for name in names)}" for holder, names in holders.items()]
    return "\n".join([*lines, "", "Their licence:", "", licence, ""])


# ---------------------------------------------------------------- all of it


def generate(source: Source) -> dict[Path, str]:
    """Every file that this program writes, path to text."""
    names = read_names(NAMES.read_text())
    headers = [read_header(spec, source) for spec in HEADERS]
    files: dict[Path, str] = {}
    modules: list[tuple[Header, list[Row]]] = []
    for header in headers:
        files[DATA / f"{header.spec.header}.txt"] = table_text(header, source)
        patterns = names.get(header.spec.header, [])
        if patterns:
            rows = pick(header, patterns)
            modules.append((header, rows))
            files[AMD / f"{header.spec.header}.py"] = module_text(header, rows, source)
    files[AMD / "__init__.py"] = package_text(modules)
    files[DATA / "index.txt"] = index_text(headers, source)
    files[DATA / "NOTICE.md"] = notice_text(source, headers)
    return files


def package_text(modules: list[tuple[Header, list[Row]]]) -> str:
    """The docstring of registers/amd: what is there."""
    lines = ['"""AMD\'s registers and structures, generated by tools/gen_registers.py and tools/gen_structs.py.', ""]
    for header, rows in modules:
        kinds = group_kinds(rows)
        kind_of = {row.name: name for name, members in kinds.items() for row in members}
        blocks = [name for name, prefix in header.spec.blocks if block_text(name, prefix, rows, kind_of)]
        lines.append(f"    {header.spec.header}: {', '.join(blocks or kinds)} ({len(rows)} registers)")
    lines += [f"    {spec.module}: {spec.title}" for spec in gen_structs.SPECS]
    lines += [
        "",
        'Each block is bound to one instance: `Gc(bus, bases, name="GC[0]")`. The kind of a register decodes a value without',
        "a bus: `GRBM_STATUS_t(0x80000000).GUI_ACTIVE`; registers that differ in a number only share one (VM_CONTEXTn_CNTL_t).",
        'What has no header: registers/amd_smn.py, registers/amd_fixed.py."""',
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Generate register classes and tables from the kernel's headers")
    parser.add_argument("--check", action="store_true", help="compare the committed files instead of writing them")
    options = parser.parse_args(arguments)
    source = debian_source.source()
    try:
        if options.check:
            code, words = check(source, generate, DATA, "*.txt", COMMAND)
            print(words)
            return code
        if source is None:
            print("gen_registers: the kernel source is not in the cache: run tools/debian_source.py", file=sys.stderr)
            return 69
        files = generate(source)
        changed = write(files)
    except GenerateError as error:
        print(f"gen_registers: {error}", file=sys.stderr)
        return 1
    print(f"{len(files)} files from {source}, {changed} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
