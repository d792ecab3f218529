"""The instructions of gfx942 and gfx950 as facts: gpumodel/isa/instructions.txt, out of LLVM's TableGen descriptions.

    .venv/bin/python tools/get_llvm.py --source
    .venv/bin/python tools/gen_isa.py                # 2 minutes, 4 GB of memory

One line an encoding: order, mask, value, target, name, fields, operands. See gpumodel/isa/decode.py for the reader.
A row is kept when the assembler's predicates of its record hold for the features of the processor."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools import get_llvm

OUTPUT = Path(__file__).resolve().parent.parent / "gpumodel/isa/instructions.txt"
COMMAND = "llvm-tblgen --dump-json -I include -I lib/Target/AMDGPU lib/Target/AMDGPU/AMDGPU.td"
TARGETS = ("gfx942", "gfx950")
NAMESPACES = ("GFX950", "GFX940", "GFX90A", "GFX9_DL", "GFX9", "GFX8")  # in the order in which the decoder tries them
KINDS = (  # by the name of an operand's class: what is encoded there
    (r"^(VGPR|VReg|VDst|VRegSrc|VGPROp|VINTRP|VISrc)", "v"),
    (r"^(AGPR|ADst|ARegSrc|AReg|AISrc)", "a"),
    (r"^AV", "v"),
    (r"^(VSrc|VCSrc|SDWASrc|VRegOrLds|VS_)", "x"),
    (r"^(SReg|SSrc|SCSrc|SDWAVopcDst|VOPDstS64|SGPR|TTMP)", "s"),
)
Record = dict[str, Any]


def dump(source: Path) -> dict[str, Any]:
    """All records. Raises CalledProcessError."""
    tblgen = get_llvm.tool("llvm-tblgen")
    if tblgen is None:
        raise FileNotFoundError("llvm-tblgen is not in the cache: tools/get_llvm.py --source")
    done = subprocess.run(
        [str(tblgen), *COMMAND.split()[1:]],
        cwd=source,
        env=get_llvm.environment(),
        capture_output=True,
        timeout=900,
        check=True,
    )
    records: dict[str, Any] = json.loads(done.stdout)
    return records


def features(records: dict[str, Any], target: str) -> set[str]:
    """The features of a processor with all that they imply."""
    (processor,) = (
        record for name in records["!instanceof"]["Processor"] if (record := records[name])["Name"] == target
    )
    found: set[str] = set()
    left = [entry["def"] for entry in processor["Features"]]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [entry["def"] for entry in records[name]["Implies"]]
    return found


def holds(condition: Any, has: set[str]) -> bool:
    """A condition over features: a definition, or a tree of all_of, any_of and not."""
    if condition["kind"] == "def":
        return condition["def"] in has
    parts = [holds(part, has) for part, _ in condition["args"]]
    operator = condition["operator"]["def"]
    if operator == "not":
        return not parts[0]
    return all(parts) if operator == "all_of" else any(parts)


def applies(records: dict[str, Any], record: Record, has: set[str]) -> bool:
    for entry in record["Predicates"]:
        condition = records[entry["def"]].get("AssemblerCondDag")
        if condition is not None and not holds(condition, has):
            return False
    return True


def bits(record: Record) -> tuple[int, int, str]:
    """Mask and value of what is fixed, and where the operands lie: `src0@0:9+vdst@17:8` (name@bit:width; `/n`: from bit n of
    the field on)."""
    mask = value = 0
    runs: list[list[Any]] = []  # name, bit of the instruction, bit of the field, width
    for place, bit in enumerate(record["Inst"]):
        if isinstance(bit, int):
            mask |= 1 << place
            value |= bit << place
        elif field := operand_bit(bit, bool(record.get("IsGFX9SpecificEncoding"))):
            name, index = field
            last = runs[-1] if runs else None
            if last and last[0] == name and place == last[1] + last[3] and index == last[2] + last[3]:
                last[3] += 1
            else:
                runs.append([name, place, index, 1])
    fields = "+".join(f"{n}@{at}:{width}{f'/{first}' if first else ''}" for n, at, first, width in runs)
    return mask, value, fields


def operand_bit(bit: Any, gfx9_form: bool) -> tuple[str, int] | None:
    """Which bit of which operand; None: any value will do. In SMEM the register with the offset is told by a condition."""
    if bit is None:
        return None
    if bit["kind"] == "varbit":
        return bit["var"], bit["index"]
    condition = re.match(r"!if\(!and\(IsGFX9SpecificEncoding, 1\), \{ (soffset)\{.*\?\)\{(\d)\}$", bit["printable"])
    if condition and gfx9_form:
        return condition[1], int(condition[2])
    return ("imm", 0) if bit["printable"] == "imm" else None


def size_of(record: Record) -> int:
    """Bytes without a literal: records with a literal in place of one have a field of 32 bits for it."""
    fixed = len(record["Inst"]) // 8
    if fixed > 8:
        return fixed
    return 8 if record["Size"] > 4 or any(bit is not None and bit != 0 for bit in record["Inst"][32:]) else 4


def operand(records: dict[str, Any], entry: Any, name: str) -> str:
    """`name=v2`: what is encoded (v VGPR, a AGPR, s scalar, x any source, i number) and how many dwords it has."""
    kind = entry["def"]
    record = records.get(kind, {})
    if kind.startswith("anonymous") and record.get("RegClass"):
        kind = record["RegClass"]["def"]
    for pattern, letter in KINDS:
        if re.match(pattern, kind):
            number = re.search(r"(\d+)", kind[2:])
            width = 64 if re.search(r"_v2[bf]32$", kind) else int(number[1]) if number else 32
            return f"{name}={letter}{max(1, width // 32)}"
    return f"{name}=i"


def operands(records: dict[str, Any], record: Record) -> str:
    """Those that the assembler's text names, in its order."""
    known = {
        name: operand(records, entry, name)
        for part in ("OutOperandList", "InOperandList")
        for entry, name in record[part]["args"]
        if name
    }
    named = re.findall(r"\$\{?(\w+)", record["AsmString"])
    return "+".join(known.get(name.removesuffix("_modifiers"), f"{name}=i") for name in named)


def rows(records: dict[str, Any]) -> list[str]:
    """The lines of the table, sorted."""
    has = {target: features(records, target) for target in TARGETS}
    lines: dict[str, int] = {}
    for name in records["!instanceof"]["Instruction"]:
        record = records[name]
        space = record.get("DecoderNamespace")
        if space not in NAMESPACES or record["isCodeGenOnly"] == 1 or record["isAsmParserOnly"] == 1:
            continue
        targets = sum(1 << place for place, target in enumerate(TARGETS) if applies(records, record, has[target]))
        if not targets:
            continue
        mask, value, fields = bits(record)
        mnemonic = re.match(r"[\w.]+", record["AsmString"])
        assert mnemonic, record["AsmString"]
        form = name.rpartition("_")[0] if name.endswith(("_vi", "_gfx9", "_gfx90a", "_gfx940", "_gfx950")) else name
        suffix = next((text for text in ("_e64", "_e32", "_sdwa", "_dpp") if text in form.lower()), "")
        word = mnemonic[0].removesuffix(suffix) + suffix
        facts = f"{mask:x} {value:x} {size_of(record)} {word} {fields or '-'} {operands(records, record) or '-'}"
        line = f"{NAMESPACES.index(space)} {facts}"
        lines[line] = lines.get(line, 0) | targets
    return sorted(f"{targets} {line}" for line, targets in lines.items())


def text(lines: list[str], version: str) -> str:
    head = (
        "# The instructions of gfx942 (target bit 0) and gfx950 (bit 1). Generated by tools/gen_isa.py, do not edit.\n"
        f"# Source: LLVM {version}, llvm/lib/Target/AMDGPU/*.td (Debian source package {get_llvm.SOURCE});\n"
        "# licence: Apache-2.0 WITH LLVM-exception, https://llvm.org/LICENSE.txt.\n"
        f"# Command: {COMMAND}\n"
        "# Facts: fixed bits, operand places, names. Columns: targets, order, mask, value, bytes, name, fields, operands.\n"
    )
    return head + "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Generate the table of instructions")
    parser.add_argument("--json", type=Path, help="records that llvm-tblgen dumped before")
    parser.add_argument("--check", action="store_true", help="only compare with what is committed")
    options = parser.parse_args(arguments)
    source = get_llvm.FOLDER / "source"
    try:
        version = (source / "VERSION").read_text().strip()
        records = json.loads(options.json.read_bytes()) if options.json else dump(source / "llvm")
    except (OSError, subprocess.SubprocessError) as error:
        print(f"gen_isa: {error}", file=sys.stderr)
        return 69
    made = text(rows(records), version)
    if options.check:
        return 0 if OUTPUT.read_text() == made else 1
    OUTPUT.write_text(made)
    print(f"{OUTPUT}: {made.count(chr(10)) - 5} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
