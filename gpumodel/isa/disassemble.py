"""Code as text: out of an ELF code object, or bytes as they are.

Source: ELF64 as in the System V ABI; machine 224 and EF_AMDGPU_MACH in the flags: LLVM AMDGPU usage, "header". Operands are
written as LLVM writes them, modifiers that are not zero by the name of their field."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gpumodel.isa.decode import LITERAL, LONGEST, Instruction, Operand, UnknownEncoding, decode
from gpumodel.isa.operands import FLOATS, VGPR0

MACHINES = {0x4C: "gfx942", 0x4F: "gfx950"}  # EF_AMDGPU_MACH_AMDGCN_*
AMDGPU = 224
_EXECUTABLE, _NOBITS, _SYMTAB = 1 << 2, 8, 2
_FUNCTION = 2
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYM = struct.Struct("<IBBHQQ")
_NAMED = {102: "flat_scratch", 104: "xnack_mask", 106: "vcc", 124: "m0", 126: "exec"}
_HALVES = {
    102: "flat_scratch_lo",
    103: "flat_scratch_hi",
    104: "xnack_mask_lo",
    105: "xnack_mask_hi",
    106: "vcc_lo",
    107: "vcc_hi",
    124: "m0",
    126: "exec_lo",
    127: "exec_hi",
}
_VALUES = {
    235: "src_shared_base",
    236: "src_shared_limit",
    237: "src_private_base",
    238: "src_private_limit",
    239: "src_pops_exiting_wave_id",
    251: "src_vccz",
    252: "src_execz",
    253: "src_scc",
    254: "src_lds_direct",
}
_HIDDEN = frozenset(("clamp", "omod", "op_sel", "op_sel_hi", "neg_lo", "neg_hi"))
_SELECTS = ("BYTE_0", "BYTE_1", "BYTE_2", "BYTE_3", "WORD_0", "WORD_1", "DWORD")


class NotCode(Exception):
    """A file that is no code object, or one of something else. The text says what it is."""


@dataclass(frozen=True, slots=True)
class Section:
    """Code with its address; `names`: what begins where."""

    name: str
    address: int
    data: bytes
    names: dict[int, str]


@dataclass(frozen=True, slots=True)
class Line:
    """`name` None: no instruction begins there."""

    address: int
    data: bytes
    name: str | None
    operands: str
    label: str | None

    @property
    def text(self) -> str:
        return f"{self.name} {self.operands}".rstrip() if self.name else "no instruction"


def code_object(data: bytes) -> tuple[str | None, list[Section]]:
    """The target that the file names (None: none of ours, or raw bytes) and its code. Raises NotCode."""
    if not data.startswith(b"\x7fELF"):
        return None, [Section("", 0, data, {})]
    try:
        return _elf(data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise NotCode(f"an ELF file that is damaged: {error}") from error


def _elf(data: bytes) -> tuple[str | None, list[Section]]:
    header = _EHDR.unpack_from(data)
    machine, flags, table, size, count, strings = header[2], header[7], header[6], header[11], header[12], header[13]
    if data[4] != 2 or data[5] != 1 or machine != AMDGPU:
        raise NotCode(f"an ELF file for machine {machine}, not for an AMD GPU ({AMDGPU})")
    if count and size != _SHDR.size:
        raise NotCode(f"an ELF file with section headers of {size} bytes")
    headers = [_SHDR.unpack_from(data, table + number * size) for number in range(count)]
    sections = []
    for number, entry in enumerate(headers):
        name_at, kind, attributes, address, offset, length = entry[:6]
        if kind == _NOBITS or not attributes & _EXECUTABLE:
            continue
        if offset + length > len(data):
            raise NotCode(
                f"an ELF file whose section {number} ends at {offset + length:#x}, beyond its {len(data):#x} bytes"
            )
        names = _functions(data, headers, number, address)
        sections.append(
            Section(_text(data, headers[strings][4] + name_at), address, data[offset : offset + length], names)
        )
    if not sections:
        raise NotCode("an ELF file for an AMD GPU without code")
    return MACHINES.get(flags & 0xFF), sections


def _functions(data: bytes, headers: list[tuple[int, ...]], section: int, base: int) -> dict[int, str]:
    found = {}
    for entry in headers:
        if entry[1] != _SYMTAB:
            continue
        for at in range(entry[4], entry[4] + entry[5], _SYM.size):
            name, info, _, index, value, _ = _SYM.unpack_from(data, at)
            if index == section and (info & 15 == _FUNCTION or info >> 4) and name:
                found[value if value >= base else base + value] = _text(data, headers[entry[6]][4] + name)
    return found


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii")


def lines(target: str, section: Section) -> Iterator[Line]:
    """Every instruction in order; what is none is a line of its own, a dword long."""
    at = 0
    while at < len(section.data):
        address = section.address + at
        word = int.from_bytes(section.data[at : at + LONGEST], "little")
        label = section.names.get(address)
        try:
            instruction = decode(target, word)
        except UnknownEncoding:
            size, name, operands = 4, None, ""
        else:
            size, name, operands = instruction.size, full_name(instruction), operands_of(instruction, address)
        data = section.data[at : at + size]
        if len(data) < size:
            name, operands = None, ""
        yield Line(address, data, name, operands, label)
        at += size


def full_name(instruction: Instruction) -> str:
    return f"{instruction.name}_{instruction.encoding}" if instruction.encoding else instruction.name


def operands_of(instruction: Instruction, address: int) -> str:
    """As text. Branches name where they go."""
    if instruction.format == "SOPP":
        return _control(instruction, address)
    shown = []
    modifiers = []
    for operand in instruction.operands:
        name = operand.name
        if operand.kind != "i":
            shown.append(_operand(instruction, operand))
        elif name in ("imm", "simm16", "offset") and instruction.format in ("VOP2", "SOPK", "SMEM"):
            shown.append(f"{instruction.get(name):#x}")
        elif name not in _HIDDEN and instruction.get(name):
            modifiers.append(_modifier(instruction, name))
    names = {operand.name for operand in instruction.operands}
    if instruction.format in ("GLOBAL", "SCRATCH") and "saddr" not in names:
        shown.append("off")
    return " ".join((", ".join(shown), *modifiers, *_packed(instruction))).strip()


def _control(instruction: Instruction, address: int) -> str:
    value = instruction.get("simm16")
    if instruction.name.startswith(("s_branch", "s_cbranch")):
        distance = value - 0x10000 if value & 0x8000 else value
        return f"{address + instruction.size + 4 * distance:#x}"
    if instruction.name == "s_waitcnt":
        counts = (
            ("vmcnt", value & 15 | value >> 14 << 4, 63),
            ("expcnt", value >> 4 & 7, 7),
            ("lgkmcnt", value >> 8 & 15, 15),
        )
        return " ".join(f"{name}({count})" for name, count, most in counts if count != most)
    return f"{value}" if value or instruction.name == "s_nop" else ""


def _modifier(instruction: Instruction, name: str) -> str:
    value = instruction.get(name)
    if name.endswith("_sel"):
        return f"{name}:{_SELECTS[value] if value < len(_SELECTS) else value}"
    if name == "offset" and instruction.format in ("GLOBAL", "FLAT", "SCRATCH") and value >> 12:
        value -= 1 << 13
    if name == "cpol":
        names = ((1, "sc0"), (16, "sc1"), (2, "nt"))
        return " ".join(text for bit, text in names if value & bit)
    return f"{name}:{value}"


def _packed(instruction: Instruction) -> list[str]:
    """op_sel and the like, which the modifiers of each source hold; clamp and omod."""
    sources = [f"src{number}" for number in range(3) if instruction.has(f"src{number}")]
    bits = [instruction.get(f"{source}_modifiers") for source in sources]
    shown = []
    packed = instruction.format == "VOP3P"

    def listed(name: str, bit: int, usual: int) -> None:
        values = [value >> bit & 1 for value in bits]
        if any(value != usual for value in values):
            shown.append(f"{name}:[{','.join(map(str, values))}]")

    if instruction.format in ("VOP3", "VOP3P") and any(value & 4 for value in bits):
        listed("op_sel", 2, 0)
    if packed and any(f"{source}_modifiers" in instruction.fields for source in sources):
        listed("op_sel_hi", 3, 1)
        listed("neg_lo", 0, 0)
        listed("neg_hi", 1, 0)
    if instruction.get("clamp"):
        shown.append("clamp")
    if instruction.get("omod"):
        shown.append(("", "mul:2", "mul:4", "div:2")[instruction.get("omod")])
    return shown


def _operand(instruction: Instruction, operand: Operand) -> str:
    code = _code(instruction, operand)
    text = _register(code, operand) if code != LITERAL else f"{instruction.literal or 0:#x}"
    bits = instruction.get(f"{operand.name}_modifiers")
    if instruction.format == "VOP3P" or not bits & (1 | 2 | 16):
        return text
    if bits & 16:
        return f"sext({text})"
    text = f"|{text}|" if bits & 2 else text
    return f"-{text}" if bits & 1 else text


def _code(instruction: Instruction, operand: Operand) -> int:
    """Of nine bits; an accumulation register has 512 and more."""
    name = operand.name
    code = instruction.get(name)
    if operand.kind == "s":
        if name == "sdst" and instruction.encoding == "sdwa":
            return code & 0x7F if code & 0x80 else 106
        return code & 0x7F if name in ("sdst", "saddr", "sbase", "srsrc") else code
    if instruction.encoding == "sdwa" and name in ("src0", "src1"):
        return code ^ VGPR0
    if code & 0x200 or (operand.kind == "a" and (code >= VGPR0 or name == "vdst")):
        return 2 * VGPR0 | code & 0xFF
    if name.startswith("src") and not (name == "src1" and instruction.format in ("VOP2", "VOPC")):
        return code | (VGPR0 if instruction.encoding == "dpp" and name == "src0" else 0)
    return code & 0xFF | VGPR0 if operand.kind in ("v", "x") and name != "imm" else code


def _register(code: int, operand: Operand) -> str:
    count = operand.dwords
    if code >= VGPR0:
        letter = "a" if code >= 2 * VGPR0 else "v"
        return _range(letter, code & 0xFF, count)
    if code in _VALUES:
        return _VALUES[code]
    if code in FLOATS:
        return "0.15915494" if code == 248 else str(FLOATS[code])
    if 128 <= code <= 208:
        return str(code - 128 if code <= 192 else 192 - code)
    if code in _NAMED and count == 2:
        return _NAMED[code]
    if code in _HALVES:
        return _HALVES[code]
    if 108 <= code <= 123:
        return _range("ttmp", code - 108, count)
    return _range("s", code, count)


def _range(letter: str, first: int, count: int) -> str:
    return f"{letter}{first}" if count == 1 else f"{letter}[{first}:{first + count - 1}]"
