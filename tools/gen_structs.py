"""Structures, messages and packets from the kernel's C headers, as compact Python: registers/amd/structs_*.py.

    .venv/bin/python tools/gen_structs.py              # write them (needs gcc and ctypesgen: the extra `dev`)
    .venv/bin/python tools/gen_structs.py --check      # compare them with the source instead; 0 same or skipped, 1 different

ctypesgen parses the headers; a C compiler evaluates the constants and is asked for the size of every structure, the
offset of every member and the bits of every bit field. Where the Python structure differs nothing is written."""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools import debian_source
from tools.debian_source import Source
from tools.generated import AMD, GenerateError, check, write

COMMAND = ".venv/bin/python tools/gen_structs.py"

# What the kernel's own headers would bring. ctypesgen knows no stdint: it gets the typedefs.
SHIM = """
#ifdef CTYPESGEN
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef _Bool bool;
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
struct mutex { int unused; };
#define __packed __attribute__((packed))
#define __counted_by(count)
#define __printf(format, first)
#define DECLARE_FLEX_ARRAY(type, name) type name[0]
#define LITTLEENDIAN_CPU 1
"""


@dataclass(frozen=True, slots=True)
class Words:
    """Macros or enumerators that begin with `prefix`, as an IntEnum; only those that match `only`.

    `is_enum` False: the numbers repeat (each belongs to another word), so a number has no name of its own."""

    name: str
    prefix: str
    only: str = r"\w+"
    most: int | None = None
    is_enum: bool = True


@dataclass(frozen=True, slots=True)
class Spec:
    """One module: which headers, and what of them the project uses. Patterns are shell globs over C names."""

    module: str
    title: str
    headers: tuple[str, ...]
    structs: tuple[str, ...] = ()
    enums: tuple[str, ...] = ()
    words: tuple[Words, ...] = ()
    plain: tuple[str, ...] = ()  # constants that keep their names
    places: tuple[str, ...] = ()  # macros NAME(x) that put x in its bits: as NAME = (msb, lsb)
    packets: tuple[str, ...] = ()  # SDMA packets, by the name after SDMA_PKT_


PMFW = "pm/swsmu/inc/pmfw_if"
SPECS = (
    Spec(
        "structs_discovery",
        "The IP discovery binary",
        ("include/discovery.h",),
        structs=(
            "table_info",
            "binary_header",
            "binary_header_v2",
            "die_info",
            "ip_discovery_header",
            "ip",
            "ip_v3",
            "ip_v4",
            "die_header",
            "gpu_info_header",
            "gc_info_v*",
            "harvest_*",
            "mall_info_*",
            "vcn_*",
            "nps_*",
        ),
        enums=("table",),
        plain=("*_SIGNATURE", "*_TABLE_ID", "*_MAX_NUM_INSTANCES", "PSP_HEADER_SIZE"),
    ),
    Spec(
        "structs_psp",
        "PSP: ring frames, commands and responses",
        ("amdgpu/psp_gfx_if.h",),
        structs=("psp_gfx_*",),
        enums=("psp_gfx_*", "tee_error_code"),
        plain=("GFX_CMD_*_MASK", "GFX_FLAG_RESPONSE", "GFX_BUF_MAX_DESC", "PSP_GFX_CMD_BUF_VERSION", "PSP_ERR_*"),
    ),
    Spec(
        "structs_ta",
        "Trusted applications of the PSP: shared memory of XGMI and RAS",
        ("amdgpu/ta_xgmi_if.h", "amdgpu/ta_ras_if.h"),
        structs=("ta_xgmi_*", "xgmi_connected_port_num", "ta_ras_init_flags", "ta_ras_output_flags"),
        enums=("ta_command_xgmi", "ta_xgmi_status", "ras_command", "ta_ras_status"),
        plain=("EXTEND_PEER_LINK_INFO_CMD_FLAG", "RSP_ID_MASK"),
    ),
    Spec(
        "structs_ucode",
        "Headers of firmware files",
        ("amdgpu/amdgpu_ucode.h",),
        structs=(
            "common_firmware_header",
            "psp_fw*_bin_desc",
            "psp_firmware_header_*",
            "ta_firmware_header_*",
            "gfx_firmware_header_*",
            "rlc_firmware_header_*",
            "sdma_firmware_header_*",
            "smc_*",
            "gpu_info_firmware_*",
            "imu_firmware_header_*",
        ),
        enums=("psp_fw_type", "ta_fw_type"),
    ),
    Spec(
        "structs_mqd",
        "Memory queue descriptors of gfx9 and its SDMA",
        ("include/v9_structs.h",),
        structs=("v9_mqd", "v9_sdma_mqd", "v9_mqd_allocation"),
    ),
    Spec(
        "structs_smu_13_0_6",
        "SMU 13.0.6 (MI300X): messages, results, metrics",
        (f"{PMFW}/smu_v13_0_6_pmfw.h", f"{PMFW}/smu_v13_0_6_ppsmc.h"),
        structs=("*Metrics*", "*Table_t"),
        enums=("FEATURE_*",),
        words=(
            Words("Result", "PPSMC_Result_"),
            Words("Message", "PPSMC_MSG_"),
            Words("ResetType", "PPSMC_RESET_TYPE_"),
        ),
        plain=("SMU_METRICS_TABLE_VERSION",),
    ),
    Spec(
        "structs_smu_13_0_12",
        "SMU 13.0.12 (MI350X): messages, results, metrics",
        (f"{PMFW}/smu_v13_0_12_pmfw.h", f"{PMFW}/smu_v13_0_12_ppsmc.h"),
        structs=("*Metrics*", "*Table_t"),
        enums=("FEATURE_*",),
        words=(
            Words("Result", "PPSMC_Result_"),
            Words("Message", "PPSMC_MSG_"),
            Words("ResetType", "PPSMC_RESET_TYPE_"),
        ),
        plain=("SMU_METRICS_TABLE_VERSION",),
    ),
    Spec(
        "structs_ih",
        "Interrupt clients and sources",
        (
            "include/soc15_ih_clientid.h",
            "include/ivsrcid/gfx/irqsrcs_gfx_9_0.h",
            "include/ivsrcid/sdma0/irqsrcs_sdma0_4_0.h",
            "include/ivsrcid/vmc/irqsrcs_vmc_1_0.h",
            "include/ivsrcid/nbio/irqsrcs_nbif_7_4.h",
        ),
        words=(
            Words("Client", "SOC15_IH_CLIENTID_"),
            Words("GfxSource", "GFX_9_0__SRCID__"),
            Words("SdmaSource", "SDMA0_4_0__SRCID__"),
            Words("VmcSource", "VMC_1_0__SRCID__"),
            Words("NbifSource", "NBIF_7_4__SRCID__"),
        ),
    ),
    Spec(
        "structs_pm4",
        "PM4 packets of gfx9: opcodes, where their fields lie, the scheduler's packets",
        ("amdgpu/soc15d.h", "amdkfd/kfd_pm4_headers_ai.h"),
        structs=(
            "PM4_MES_TYPE_3_HEADER",
            "pm4_mes_set_resources",
            "pm4_mes_map_queues",
            "pm4_mes_unmap_queues",
            "pm4_mes_query_status",
            "pm4_mes_map_process",
            "pm4_mes_runlist",
            "pm4_mec_release_mem",
            "pm4_mec_write_data_mmio",
        ),
        words=(
            Words("Op", "PACKET3_", r"[A-Z0-9]+(_[A-Z0-9]+)*", 0xFF),
            Words("Value", "PACKET3_", r"\w+__\w+__\w+", is_enum=False),
        ),
        plain=(
            "PACKET_TYPE*",
            "PACKET3_SET_*_REG_START",
            "PACKET3_SET_*_REG_END",
            "EOP_*",
            "WR_CONFIRM",
            "WR_ONE_ADDR",
            "INDIRECT_BUFFER_VALID",
        ),
        places=(
            "WRITE_DATA_*",
            "WAIT_REG_MEM_*",
            "EVENT_*",
            "DATA_SEL",
            "INT_SEL",
            "DST_SEL",
            "PACKET3_*",
            "INDIRECT_BUFFER_*",
        ),
    ),
    Spec(
        "structs_sdma",
        "SDMA packets: opcodes, and which bits of which dword hold a field",
        ("amdgpu/vega10_sdma_pkt_open.h",),
        words=(Words("Op", "SDMA_OP_", r"(?!AQL)\w+"), Words("SubOp", "SDMA_SUBOP_", is_enum=False)),
        packets=(
            "NOP",
            "COPY_LINEAR",
            "WRITE_UNTILED",
            "INDIRECT",
            "FENCE",
            "TRAP",
            "POLL_REGMEM",
            "COND_EXE",
            "ATOMIC",
            "CONSTANT_FILL",
            "WRITE_INCR",
            "SRBM_WRITE",
            "TIMESTAMP_GET",
            "TIMESTAMP_GET_GLOBAL",
            "PTEPDE_RMW",
        ),
    ),
)


# ---------------------------------------------------------------- C


@dataclass(slots=True)
class Unit:
    """One set of headers, parsed and ready to be asked through a compiler."""

    spec: Spec
    source: Source
    folder: Path
    text: str = ""  # of all headers
    structs: dict[str, Any] = field(default_factory=dict)  # C name: ctypesgen's structure
    typedefs: dict[str, Any] = field(default_factory=dict)
    enums: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)

    @property
    def prelude(self) -> str:
        lines = [f'#include "{self.folder / "shim.h"}"']
        lines += [f'#include "{self.source.amd / header}"' for header in self.spec.headers]
        return "\n".join(lines) + "\n"

    def ask(self, body: list[str]) -> list[str]:
        """Compile a program of these statements against the headers, run it, return its lines."""
        program = self.folder / "ask.c"
        lines = ["#include <stdio.h>", "#include <string.h>", self.prelude, "int main(void) {", *body, "return 0; }"]
        program.write_text("\n".join(lines))
        binary = self.folder / "ask"
        include = [f"-I{self.source.amd / name}" for name in ("include", "amdgpu")]
        _run(["gcc", "-w", *include, "-o", str(binary), str(program)])
        return _run([str(binary)]).splitlines()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise GenerateError(f"{command[0]}: exit {done.returncode}\n{done.stderr[:2000]}")
    return done.stdout


def parse(spec: Spec, source: Source, folder: Path) -> Unit:
    """Read the headers with ctypesgen, and evaluate all constants with the compiler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # ctypesgen leaves files open
        from ctypesgen import options, parser

    unit = Unit(spec, source, folder)
    (folder / "shim.h").write_text(SHIM)
    lines = ['#include "shim.h"']
    for index, header in enumerate(spec.headers):
        # ctypesgen forgets the width of a bit field that has an enum's type.
        text = re.sub(r"\benum\s+\w+\s+(\w+)\s*:\s*(\d+)\s*;", r"uint32_t \1:\2;", (source.amd / header).read_text())
        (folder / f"header{index}.h").write_text(text)
        lines.append(f'#include "header{index}.h"')
    (folder / "all.h").write_text("\n".join([*lines, ""]))
    unit.text = "\n".join((source.amd / header).read_text() for header in spec.headers)
    settings = options.get_default_options()
    settings.all_headers = True
    settings.include_macros = False
    settings.include_search_paths = [str(source.amd / name) for name in ("include", "amdgpu")]
    # What it cannot parse is told by the structures that are then missing or of a wrong size.
    logging.getLogger("ctypesgen").setLevel(logging.CRITICAL)
    found = parser.parse([str(folder / "all.h")], settings)
    unit.typedefs = {item.name: item.ctype for item in found.typedefs}
    tags = {item.ctype.tag: item.name for item in found.typedefs if hasattr(item.ctype, "tag")}
    for item in found.structs:
        name = tags.get(item.tag, item.tag) if item.tag.startswith("anon_") else item.tag
        if not item.opaque:
            unit.structs[name] = item
    for item in found.enums:
        members = [name for name, _ in item.members]
        unit.enums[tags.get(item.tag, item.tag) if item.tag.startswith("anon_") else item.tag] = members
    unit.values = _values(unit)
    return unit


_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(?:[ \t]+(.*))?$", re.M)
_ARITHMETIC = re.compile(r"[\w\s()+\-*/<>|&~]+\Z")


def _values(unit: Unit) -> dict[str, int]:
    """Every enumerator, and every macro that is a whole number."""
    names = [name for members in unit.enums.values() for name in members]
    known = set(names)
    for name, body in _MACRO.findall(re.sub(r"\\\n", " ", unit.text)):
        body = re.sub(r"/\*.*?(\*/|$)|//.*", "", body).strip()
        words = re.findall(r"(?<![\w.])[A-Za-z_]\w*", body)
        if body and _ARITHMETIC.match(body) and all(word in known for word in words) and name not in known:
            names.append(name)
            known.add(name)
    lines = unit.ask([f'printf("{name} %lld\\n", (long long)({name}));' for name in names])
    return {name: int(number) for name, number in (line.split() for line in lines)}


# ---------------------------------------------------------------- structures

_SIMPLE = {
    ("char", True): "char", ("char", False): "u8", ("short", True): "i16", ("short", False): "u16",
    ("int", True): "i32", ("int", False): "u32", ("_Bool", True): "u8",
}  # fmt: skip
_TYPEDEFS = {
    "uint8_t": "u8", "uint16_t": "u16", "uint32_t": "u32", "uint64_t": "u64",
    "int8_t": "i8", "int16_t": "i16", "int32_t": "i32", "int64_t": "i64",
    "u8": "u8", "u16": "u16", "u32": "u32", "u64": "u64", "bool": "u8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    kind: str  # Python expression
    width: int | None = None  # of a bit field


@dataclass(frozen=True, slots=True)
class Layout:
    """A structure as it will be written. `c_type`: its name in C, "" for one without a name."""

    name: str
    base: str
    c_type: str
    members: tuple[Member, ...]
    anonymous: tuple[str, ...]


class Structures:
    """The chosen structures of a unit and those inside them, inner ones first."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.layouts: dict[str, Layout] = {}

    def evaluate_identifier(self, name: str) -> int:
        """ctypesgen asks for the constants in the length of an array."""
        return self.unit.values[name]

    def evaluate_sizeof(self, ctype: Any) -> int:
        c_type = ctype.name if type(ctype).__name__ == "CtypesTypedef" else f"{ctype.variety} {ctype.tag}"
        return int(self.unit.ask([f'printf("%zu\\n", sizeof({c_type}));'])[0])

    def add(self, name: str) -> None:
        if name in self.layouts:
            return
        item = self.unit.structs.get(name)
        if item is None:
            raise GenerateError(f"{self.unit.spec.module}: no structure {name}")
        by_typedef = item.tag.startswith("anon_")
        self._add(item, name, name if by_typedef else f"{item.variety} {name}")

    def _add(self, item: Any, name: str, c_type: str) -> None:
        members: list[Member] = []
        anonymous: list[str] = []
        for index, (inner, ctype) in enumerate(item.members):
            if inner is None:
                inner = f"u{index}"
                anonymous.append(inner)
            members.append(self._member(inner, ctype, f"{name}_{inner}"))
        self.layouts[name] = Layout(name, self._base(item), c_type, tuple(members), tuple(anonymous))

    @staticmethod
    def _base(item: Any) -> str:
        """The base class: aligned(4) beside packed means that members keep to 4 bytes."""
        if not item.attrib.get("packed"):
            return "Union" if item.variety == "union" else "Struct"
        if item.variety == "union":
            return "PackedUnion"
        aligned = item.attrib.get("aligned", [1])[-1]
        pack = aligned if isinstance(aligned, int) else aligned.evaluate(None)
        return {1: "Packed", 4: "Packed4"}[pack]

    def _member(self, name: str, ctype: Any, inner_name: str) -> Member:
        if type(ctype).__name__ == "CtypesBitfield":
            return Member(name, self._kind(ctype.base, inner_name), ctype.bitfield.evaluate(self))
        return Member(name, self._kind(ctype, inner_name))

    def _kind(self, ctype: Any, inner_name: str) -> str:
        """A ctypesgen type as an expression over registers.structs."""
        shape = type(ctype).__name__
        if shape == "CtypesTypedef":
            if ctype.name in _TYPEDEFS:
                return _TYPEDEFS[ctype.name]
            if ctype.name in self.unit.structs:
                self.add(ctype.name)
                return str(ctype.name)
            return self._kind(self.unit.typedefs[ctype.name], inner_name)
        if shape == "CtypesSimple":
            if ctype.name in _TYPEDEFS:
                return _TYPEDEFS[ctype.name]
            if ctype.longs:
                return "i64" if ctype.signed else "u64"
            return _SIMPLE[ctype.name, ctype.signed]
        if shape == "CtypesEnum":
            return "u32"
        if shape == "CtypesStruct":
            return self._struct(ctype, inner_name)
        if shape == "CtypesArray":
            # The length of a flexible array is counted elsewhere: here it takes no room.
            count = 0 if ctype.count is None else ctype.count.evaluate(self)
            base = self._kind(ctype.base, inner_name)
            return f"({base}) * {count}" if " " in base else f"{base} * {count}"
        raise GenerateError(f"{inner_name}: {shape} is no member of a structure that another processor reads")

    def _struct(self, ctype: Any, inner_name: str) -> str:
        if not ctype.anonymous:
            self.add(ctype.tag)
            return str(ctype.tag)
        if inner_name not in self.layouts:
            self._add(ctype, inner_name, "")
        return inner_name


def class_lines(layout: Layout) -> list[str]:
    """A class; four or more members of one plain type in a row are written as a list of names."""
    lines = [f"class {layout.name}({layout.base}):"]
    if layout.anonymous:
        lines.append(f"    _anonymous_ = {layout.anonymous!r}")
    lines.append("    _fields_ = [")
    members = list(layout.members)
    while members:
        run = _run_of(members)
        if len(run) >= 4:
            lines += _each_lines(run)
        else:
            run = members[:1]
            width = f", {run[0].width}" if run[0].width is not None else ""
            lines.append(f'        ("{run[0].name}", {run[0].kind}{width}),')
        members = members[len(run) :]
    return ["", "", *lines, "    ]"]


def _run_of(members: list[Member]) -> list[Member]:
    """The first members that are alike, none of them a bit field."""
    kind = members[0].kind
    count = 0
    while count < len(members) and members[count].kind == kind and members[count].width is None:
        count += 1
    return members[:count]


def _each_lines(run: list[Member]) -> list[str]:
    names = " ".join(member.name for member in run)
    if len(names) < 80:
        return [f'        *each({run[0].kind}, "{names}"),']
    wrapped = textwrap.wrap(names, 104, initial_indent=" " * 12, subsequent_indent=" " * 12)
    return [f'        *each({run[0].kind}, """', *wrapped, '        """),']


# ---------------------------------------------------------------- the compiler's word


def compare(unit: Unit, layouts: dict[str, Layout], classes: dict[str, Any]) -> int:
    """Ask the compiler for every size, offset and bit field; GenerateError where Python differs. Returns how many."""
    questions: list[str] = []
    ours: list[str] = []
    for layout in layouts.values():
        if not layout.c_type:
            continue
        kind = classes[layout.name]
        questions.append(f'printf("{layout.name} %zu\\n", sizeof({layout.c_type}));')
        ours.append(f"{layout.name} {classes['sizeof'](kind)}")
        for path, offset, size in _paths(kind):
            place = f"offsetof({layout.c_type}, {path})"
            # The compiler gives no size for an array whose length is counted elsewhere.
            length = f"sizeof((({layout.c_type} *)0)->{path})" if size else "(size_t)0"
            questions.append(f'printf("{layout.name}.{path} %zu %zu\\n", {place}, {length});')
            ours.append(f"{layout.name}.{path} {offset} {size}")
        for path in _bit_paths(kind):
            questions.append(_bits_question(layout, path))
            ours.append(f"{layout.name}.{path} {_bits_of(kind, path)}")
    told = unit.ask(questions)
    odd = [f"gcc: {theirs}; Python: {mine}" for theirs, mine in zip(told, ours, strict=True) if theirs != mine]
    if odd:
        raise GenerateError("\n".join(["structures differ from the compiler's:", *odd[:20]]))
    return len(told)


def _paths(kind: Any, prefix: str = "", base: int = 0) -> Iterator[tuple[str, int, int]]:
    """C paths of all members with a place of their own: those of unnamed structures have no name in front."""
    from registers.structs import sizeof

    hidden = getattr(kind, "_anonymous_", ())
    for name, member, *width in kind._fields_:
        if width:
            continue
        offset = base + getattr(kind, name).offset
        if name not in hidden:
            yield f"{prefix}{name}", offset, sizeof(member)
        if hasattr(member, "_fields_"):
            yield from _paths(member, prefix if name in hidden else f"{prefix}{name}.", offset)


def _bit_paths(kind: Any, prefix: str = "") -> Iterator[str]:
    hidden = getattr(kind, "_anonymous_", ())
    for name, member, *width in kind._fields_:
        if width:
            yield f"{prefix}{name}"
        elif hasattr(member, "_fields_"):
            yield from _bit_paths(member, prefix if name in hidden else f"{prefix}{name}.")


def _bits_question(layout: Layout, path: str) -> str:
    """C that sets one bit field to all ones in a zeroed structure and prints the bytes."""
    return (
        f"{{ {layout.c_type} it; unsigned char *at = (unsigned char *)&it; memset(&it, 0, sizeof(it)); it.{path} = -1; "
        f'printf("{layout.name}.{path} "); for (unsigned i = 0; i < sizeof(it); i++) if (at[i]) '
        f'printf("%u:%02x", i, at[i]); printf("\\n"); }}'
    )


def _bits_of(kind: Any, path: str) -> str:
    it = kind()
    inner = it
    *outer, last = path.split(".")
    for name in outer:
        inner = getattr(inner, name)
    setattr(inner, last, -1)
    return "".join(f"{index}:{byte:02x}" for index, byte in enumerate(bytes(it)) if byte)


# ---------------------------------------------------------------- words and packets


def enum_lines(name: str, members: list[tuple[str, int]]) -> list[str]:
    longest = max(number for _, number in members)
    shown = hex if longest > 9 else str
    return ["", "", f"class {name}(IntEnum):", *(f"    {word} = {shown(number)}" for word, number in members)]


def chosen_enums(unit: Unit) -> Iterator[list[str]]:
    """C enums by name, or by the name of a member for those that have none."""
    for pattern in unit.spec.enums:
        found = False
        for name, members in unit.enums.items():
            if fnmatch.fnmatchcase(name, pattern):
                found = True
                yield enum_lines(name, [(word, unit.values[word]) for word in members])
        if not found:
            raise GenerateError(f"{unit.spec.module}: no enum {pattern}")


def word_lines(unit: Unit, words: Words) -> list[str]:
    members = []
    for name, number in unit.values.items():
        short = name.removeprefix(words.prefix)
        if short == name or not re.fullmatch(words.only, short):
            continue
        if words.most is not None and not 0 <= number <= words.most:
            continue
        members.append((f"_{short}" if short[0].isdigit() else short, number))
    if not members:
        raise GenerateError(f"{unit.spec.module}: no macro begins with {words.prefix}")
    if words.is_enum:
        return enum_lines(words.name, members)
    return ["", "", f"class {words.name}:", *(f"    {word} = {number}" for word, number in members)]


def plain_lines(unit: Unit) -> list[str]:
    lines = []
    for pattern in unit.spec.plain:
        found = [name for name in unit.values if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise GenerateError(f"{unit.spec.module}: no constant {pattern}")
        lines += [f"{name} = {unit.values[name]:#x}" for name in found]
    return ["", *dict.fromkeys(lines)] if lines else []


def place_lines(unit: Unit) -> list[str]:
    """`class Place`: the bits of every field that a macro NAME(x) places; msb 31 where the macro does not cut x."""
    names = dict.fromkeys(re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)\(x\)", unit.text, re.M))
    wanted = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in unit.spec.places)]
    if not wanted:
        return []
    told = unit.ask([f'printf("{name} %x\\n", (unsigned)({name}(0xffffffffu)));' for name in wanted])
    lines = [
        "",
        "",
        "class Place:",
        '    """(msb, lsb) of a field in its dword; NAME__FIELD as in the header, without PACKET3_."""',
        "",
    ]
    for name, number in (line.split() for line in told):
        mask = int(number, 16)
        lsb = (mask & -mask).bit_length() - 1
        msb = mask.bit_length() - 1
        if not mask or mask != (1 << (msb + 1)) - (1 << lsb):
            raise GenerateError(f"{name}(~0) = {mask:#x} is not one run of bits")
        lines.append(f"    {name.removeprefix('PACKET3_')} = ({msb}, {lsb})")
    return lines


def packet_lines(unit: Unit) -> list[str]:
    """`PACKETS`: for each packet its fields as (name, dword, msb, lsb)."""
    if not unit.spec.packets:
        return []
    known = re.findall(r"\bSDMA_PKT_(\w+)_HEADER_op_offset\b", unit.text)
    lines = ["", "", "PACKETS: dict[str, tuple[tuple[str, int, int, int], ...]] = {"]
    for packet in unit.spec.packets:
        start = f"SDMA_PKT_{packet}_"
        others = tuple(f"SDMA_PKT_{name}_" for name in known if name.startswith(f"{packet}_"))
        ends = [
            name
            for name in unit.values
            if name.startswith(start) and name.endswith("_offset") and not name.startswith(others)
        ]
        if not ends:
            raise GenerateError(f"{unit.spec.module}: no packet {packet}")
        lines.append(f'    "{packet}": (')
        for name in ends:
            stem = name.removesuffix("_offset")
            lsb = unit.values[f"{stem}_shift"]
            width = unit.values[f"{stem}_mask"].bit_length()
            lines.append(f'        ("{stem.removeprefix(start)}", {unit.values[name]}, {lsb + width - 1}, {lsb}),')
        lines.append("    ),")
    return [*lines, "}"]


# ---------------------------------------------------------------- modules


def module_text(spec: Spec, source: Source, folder: Path) -> tuple[str, int]:
    """The module and how many answers of the compiler it was compared with."""
    unit = parse(spec, source, folder)
    structures = Structures(unit)
    for pattern in spec.structs:
        names = [name for name in unit.structs if fnmatch.fnmatchcase(name, pattern) and not name.startswith("anon_")]
        if not names:
            raise GenerateError(f"{spec.module}: no structure {pattern}")
        for name in names:
            structures.add(name)
    body = plain_lines(unit)
    for enum in chosen_enums(unit):
        body += enum
    for words in spec.words:
        body += word_lines(unit, words)
    body += place_lines(unit)
    body += packet_lines(unit)
    for layout in structures.layouts.values():
        body += class_lines(layout)
    text = "\n".join([*head_lines(spec, source, body), *body]) + "\n"
    namespace: dict[str, Any] = {}
    exec(compile("from registers.structs import sizeof\n" + text, spec.module, "exec"), namespace)
    return text, compare(unit, structures.layouts, namespace) if structures.layouts else 0


def head_lines(spec: Spec, source: Source, body: list[str]) -> list[str]:
    whole = "\n".join(body)
    names = ("Packed", "Packed4", "PackedUnion", "Struct", "Union", "char", "each", "i8", "i16", "i32", "i64")
    used = [name for name in (*names, "u8", "u16", "u32", "u64") if re.search(rf"(?<![\w\"]){name}\b(?!\")", whole)]
    lines = [
        f'"""{spec.title}. Generated, do not edit.',
        "",
        f"Source: {source}:",
        *(f"  {debian_source.AMD}/{header}" for header in spec.headers),
        f"Made by: {COMMAND} (sizes and offsets compared with a C compiler's)",
        'AMD\'s headers are under the MIT licence: registers/data/NOTICE.md"""',
        "",
    ]
    if "(IntEnum)" in whole:
        lines += ["from enum import IntEnum", ""]
    if spec.structs:
        lines += [f"from registers.structs import {', '.join(used)}"]
    return lines


def generate(source: Source) -> dict[Path, str]:
    files = {}
    for spec in SPECS:
        for header in spec.headers:
            if "Permission is hereby granted, free of charge" not in (source.amd / header).read_text():
                raise GenerateError(f"{header} does not carry the MIT notice: look before using it")
        with tempfile.TemporaryDirectory() as folder:
            files[AMD / f"{spec.module}.py"], _ = module_text(spec, source, Path(folder))
    return files


def lacking() -> str:
    """What this machine needs to run the generator, or ""."""
    if shutil.which("gcc") is None:
        return "gcc"
    # Looked for, not imported: ctypesgen leaves files open.
    return "" if importlib.util.find_spec("ctypesgen") else "ctypesgen (the extra `dev`)"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Generate structures, messages and packets from the kernel's headers")
    parser.add_argument("--check", action="store_true", help="compare the committed files instead of writing them")
    options = parser.parse_args(arguments)
    missing = lacking()
    source = debian_source.source()
    try:
        if options.check:
            code, told = (
                (0, f"skipped: needs {missing}") if missing else check(source, generate, AMD, "structs_*.py", COMMAND)
            )
            print(told)
            return code
        if missing or source is None:
            print(f"gen_structs: needs {missing or 'the kernel source: run tools/debian_source.py'}", file=sys.stderr)
            return 69
        files = generate(source)
        changed = write(files)
    except GenerateError as error:
        print(f"gen_structs: {error}", file=sys.stderr)
        return 1
    print(f"{len(files)} files from {source}, {changed} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
