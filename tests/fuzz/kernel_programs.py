"""Random kernels: trees of encoded instructions, loops and branches, that know of memory only what is theirs.

Each wave has REGION bytes of its own, from s[40:41] on: four pages that can be written, one that can be read, then none; and
all share pages to read, from s[42:43] on. So waves do not race, and how they are scheduled cannot be seen.

Registers: v0 to v23, a0 to a15, s8 to s39, VCC and M0 are for the instructions; v24 and up, s40 and up hold addresses, counters
and masks. Behind floating-point arithmetic a NaN becomes 1.0, as its payload is nobody's promise."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

from gpumodel.isa import vector
from gpumodel.isa.decode import Instruction, Row, UnknownEncoding, decode, format_of, rows
from gpumodel.isa.disassemble import operands_of
from gpumodel.isa.mfma import mfma
from gpumodel.isa.program import bind
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.valu import valu

VGPRS, AGPRS = 24, 16
SGPRS = range(8, 40)
MASKS = (106, 106, 8, 9, 10, 11, 12)  # pairs that compares write, few so that they meet
VCC, M0, EXEC = 106, 124, 126
REGION_SHIFT, OWN_PAGES = 15, 4
OWN, COMMON, EDGE, READ_ONLY, ENTRY, TEST, ALL = 40, 42, 56, 58, 62, 60, 64  # pairs of SGPRs
COUNTERS, SAVED, SCRAP = 44, 48, 54
WIDE, OFFSET, SHARED, SPARE = 24, 26, 27, 28  # VGPRs: an address; of a lane in its wave's region, in LDS
LANE_BYTES, LDS_BYTES, SCRATCH_BYTES = 16, 4096, 64
ARGUMENTS = 16  # bytes
_BRANCHES = ("branch", *(f"cbranch_{what}" for what in ("scc0", "scc1", "vccz", "vccnz", "execz", "execnz")))


@dataclass(frozen=True)
class Plain:
    """Instructions that stay together."""

    words: tuple[int, ...]


@dataclass(frozen=True)
class Loop:
    count: int
    counter: int
    body: tuple[Item, ...]


@dataclass(frozen=True)
class Skip:
    """A branch forward over the body."""

    condition: str
    body: tuple[Item, ...]


@dataclass(frozen=True)
class Across:
    """A branch over the first two parts, behind the first part one over the last two: it leads into the middle."""

    conditions: tuple[str, str]
    parts: tuple[tuple[Item, ...], tuple[Item, ...], tuple[Item, ...]]


@dataclass(frozen=True)
class Masked:
    """Fewer lanes, or none, or others, in the body: `save` and `restore` EXEC; `skips`: past the body where no lane is on."""

    save: tuple[int, ...]
    restore: tuple[int, ...]
    skips: bool
    body: tuple[Item, ...]


Item = Plain | Loop | Skip | Across | Masked


@dataclass(frozen=True)
class Kernel:
    """A program, and the grid that runs it. `data`: seed of the memory; `lanes`: of a work-group; `missing`: of the last.

    `at`: where its code begins in a page; `far`: the shared pages lie so many windows behind the waves' own; `edge`: the pages
    straddle two windows; `mapped`: memory that compiled code may use as it is; `slice`: jumps backwards until others get a
    turn; `together`: lanes of a batch; `end`: the last instruction."""

    target: str
    items: tuple[Item, ...]
    data: int = 2
    lanes: int = 64
    groups: int = 1
    at: int = 0
    far: int = 0
    edge: bool = False
    mapped: bool = False
    missing: int = 0
    slice: int = 1 << 14
    together: int = 1 << 13
    end: tuple[int, ...] = (0xBF810000,)  # s_endpgm

    @property
    def waves(self) -> int:
        return self.groups * self.waves_of_group

    @property
    def waves_of_group(self) -> int:
        return -(-self.lanes // 64)

    def code(self) -> list[int]:
        return [
            *_prologue(self.target, self.waves_of_group, bool(self.data & 1)),
            *_flat(self.target, self.items),
            *self.end,
        ]

    def listing(self) -> str:
        """Its instructions, but for those that prepare the registers."""
        words, lines, at = self.code(), [], len(_prologue(self.target, self.waves_of_group, bool(self.data & 1)))
        while at < len(words):
            one = decode(self.target, sum(word << 32 * place for place, word in enumerate(words[at : at + 4])))
            encoding = f"_{one.encoding}" if one.encoding else ""
            lines.append(f"{4 * at:5x}  {one.name}{encoding} {operands_of(one, 4 * at)}")
            at += one.size // 4
        settings = [
            f"{item.name} {getattr(self, item.name)}" for item in fields(self) if item.name not in ("items", "end")
        ]
        return "\n".join([", ".join(settings), *lines])


# ---- encodings


@lru_cache(maxsize=2)
def _by_name(target: str) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows(target):
        found.setdefault((row.name, row.encoding), []).append(row)
    return found


@lru_cache(maxsize=4096)
def _form(target: str, name: str, encoding: str, fields: frozenset[str]) -> Row:
    """That has those fields, and few others."""
    forms = [row for row in _by_name(target)[name, encoding] if fields <= {part.name for part in row.fields}]
    return min(forms, key=lambda row: len({part.name for part in row.fields}))


def _placed(row: Row, values: dict[str, int]) -> int:
    word = row.value
    for part in row.fields:
        bits = values.get(part.name, 0) >> part.first & (1 << part.width) - 1
        word |= bits << part.at
    return word


def _words(word: int, size: int) -> tuple[int, ...]:
    return tuple(word >> 32 * place & 0xFFFFFFFF for place in range(size // 4))


def make(target: str, name: str, encoding: str = "", literal: int | None = None, **values: int) -> tuple[int, ...]:
    """One instruction with these fields, 0 in the others."""
    row = _form(target, name, encoding, frozenset(values))
    words = _words(_placed(row, values), row.size)
    return words if literal is None else (*words, literal & 0xFFFFFFFF)


@lru_cache(maxsize=64)
def _prologue(target: str, waves_of_group: int, backwards: bool) -> tuple[int, ...]:
    def one(name: str, encoding: str = "", literal: int | None = None, **values: int) -> None:
        words.extend(make(target, name, encoding, literal, **values))

    words: list[int] = []
    one("s_mov_b64", src0=EXEC, sdst=ENTRY)
    one("s_load_dwordx4", sbase=0, sdst=OWN)
    one("v_lshrrev_b32", "e32", src0=128 + 6, src1=0, vdst=SPARE)
    one("v_readfirstlane_b32", src0=256 + SPARE, vdst=SCRAP)
    one("s_mul_i32", src0=2, src1=128 + waves_of_group, sdst=SCRAP + 1)
    one("s_add_i32", src0=SCRAP, src1=SCRAP + 1, sdst=SCRAP)
    one("s_lshl_b32", src0=SCRAP, src1=128 + REGION_SHIFT, sdst=SCRAP)
    one("s_add_u32", src0=OWN, src1=SCRAP, sdst=OWN)
    one("s_addc_u32", src0=OWN + 1, src1=128, sdst=OWN + 1)
    for pair, offset in ((EDGE, (OWN_PAGES << 12) - 0x210), (READ_ONLY, (OWN_PAGES + 1 << 12) - 0x1F8)):
        one("s_add_u32", literal=offset, src0=OWN, src1=255, sdst=pair)
        one("s_addc_u32", src0=OWN + 1, src1=128, sdst=pair + 1)
    one("s_load_dwordx16", sbase=OWN, sdst=8, offset=0x40)
    one("s_load_dwordx16", sbase=OWN, sdst=24, offset=0x80)
    one("v_lshlrev_b32", "e32", src0=128 + 4, src1=0, vdst=SHARED)
    one("v_and_b32", "e32", literal=63 * LANE_BYTES, src0=255, src1=SHARED, vdst=OFFSET)
    if backwards:
        one("v_sub_u32", "e32", literal=63 * LANE_BYTES, src0=255, src1=OFFSET, vdst=OFFSET)
    for first in range(0, VGPRS, 4):
        one("global_load_dwordx4", vaddr=SHARED, saddr=COMMON, vdst=first, offset=first * 0x80)
    one("v_or_b32", "e32", literal=0x1000, src0=255, src1=OFFSET, vdst=OFFSET)
    one("v_add_co_u32", "e32", src0=OWN, src1=OFFSET, vdst=WIDE)
    one("v_mov_b32", "e32", src0=OWN + 1, vdst=WIDE + 1)
    one("v_addc_co_u32", "e32", src0=128, src1=WIDE + 1, vdst=WIDE + 1)
    one("v_and_b32", "e32", literal=63 * LANE_BYTES, src0=255, src1=SHARED, vdst=SPARE)
    for number in range(AGPRS):
        one("v_accvgpr_write_b32", src0=256 + number, vdst=number)
    return tuple(words)


def _flat(target: str, items: Sequence[Item]) -> list[int]:
    words: list[int] = []
    for item in items:
        if isinstance(item, Plain):
            words += item.words
            continue
        if isinstance(item, Across):
            one, two, three = (_flat(target, part) for part in item.parts)
            inner = make(target, f"s_{item.conditions[1]}", simm16=len(two) + len(three))
            words += make(target, f"s_{item.conditions[0]}", simm16=len(one) + len(inner) + len(two))
            words += [*one, *inner, *two, *three]
            continue
        body = _flat(target, item.body)
        if isinstance(item, Loop):
            words += make(target, "s_movk_i32", sdst=item.counter, simm16=item.count)
            body += make(target, "s_addk_i32", sdst=item.counter, simm16=0xFFFF)
            body += make(target, "s_cmp_lg_u32", src0=item.counter, src1=128)
            words += [*body, *make(target, "s_cbranch_scc1", simm16=-len(body) - 1 & 0xFFFF)]
        elif isinstance(item, Skip):
            words += [*make(target, f"s_{item.condition}", simm16=len(body)), *body]
        else:
            jump = make(target, "s_cbranch_execz", simm16=len(body)) if item.skips else ()
            words += [*item.save, *jump, *body, *item.restore]
    return words


# ---- random instructions


@dataclass
class Maker:
    """Instructions out of random numbers. `apart`: several waves share LDS; `faults`: some accesses go where they may not;
    `partial`: lanes that the work-group does not have hold no addresses."""

    target: str
    rng: random.Random
    apart: bool = False
    faults: bool = True
    partial: bool = False
    _depth: int = 0
    _categories: dict[str, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._categories = _categories(self.target)

    # ---- operands

    def _vgpr(self, dwords: int) -> int:
        return self.rng.randrange(VGPRS + 1 - dwords)

    def _sgpr(self, dwords: int) -> int:
        """To be read."""
        rng = self.rng
        if rng.random() < 0.4:
            return rng.choice(MASKS)
        if rng.random() < 0.2:
            return rng.choice((VCC, EXEC) if dwords > 1 else (VCC, VCC + 1, EXEC, EXEC + 1, M0, 251, 252, 253))
        return rng.randrange(SGPRS.start, SGPRS.stop - dwords, 1 if dwords == 1 or rng.random() < 0.1 else 2)

    def _target_sgpr(self, dwords: int) -> int:
        """To be written."""
        rng = self.rng
        if rng.random() < 0.6:
            return rng.choice(MASKS)
        if dwords == 1 and rng.random() < 0.1:
            return M0
        return rng.randrange(SGPRS.start, SGPRS.stop - dwords)

    def _constant(self) -> int:
        choices: list[int] = [*range(128, 209), *range(240, 249), 128, 129, 193]
        return self.rng.choice(choices)

    def _any_source(self, dwords: int, literal: bool, width: int) -> int:
        rng = self.rng
        what = rng.random()
        if what < 0.65 and width >= 9:
            return 256 + self._vgpr(max(dwords, 2))
        if what < 0.82:
            return self._sgpr(dwords)
        return 255 if literal and what < 0.88 else self._constant()

    def _register_field(self, row: Row, name: str, kind: str, dwords: int, width: int) -> int:
        if kind == "s":
            if name in ("sdst", "vdst"):
                return self._target_sgpr(dwords)
            literal = row.size == 4 and format_of(row.value & 0xFFFFFFFF)[:3] == "SOP"
            return self._any_source(dwords, literal, 8)
        if kind == "a":
            number = self.rng.randrange(AGPRS + 1 - dwords)
            return number | (0x300 if width >= 10 else 0x100 if width == 9 else 0)
        if kind == "v":
            if width >= 10 and self.rng.random() < 0.3 and dwords <= AGPRS:
                return 0x300 | self.rng.randrange(AGPRS + 1 - dwords)
            number = self._vgpr(dwords)
            return number + 256 if width >= 9 and name.startswith("src") else number
        literal = row.size == 4 and not row.encoding.startswith("e64")
        if row.encoding == "sdwa":
            return self._vgpr(1) if self.rng.random() < 0.8 else 256 + min(self._sgpr(1), 127)
        return self._any_source(dwords, literal, width)

    def _values(self, row: Row) -> dict[str, int]:
        rng = self.rng
        kinds = {operand.name: operand for operand in row.operands}
        values: dict[str, int] = {}
        widths: dict[str, int] = {}
        for part in row.fields:
            widths[part.name] = max(widths.get(part.name, 0), part.first + part.width)
        plain = rng.random() < 0.5
        for name, width in widths.items():
            operand = kinds.get(name)
            if operand is not None and operand.kind != "i":
                values[name] = self._register_field(row, name, operand.kind, operand.dwords, width)
            elif name.endswith("_modifiers"):
                values[name] = 0 if plain else rng.getrandbits(width)
            elif name == "clamp":
                values[name] = int(rng.random() < 0.1)
            elif name == "dpp_ctrl":
                values[name] = rng.choice((rng.randrange(256), 0x101, 0x112, 0x123, 0x138, 0x13C, 0x140, 0x141, 0x142))
            elif name in ("row_mask", "bank_mask"):
                values[name] = 15 if rng.random() < 0.7 else rng.getrandbits(4)
            elif name.endswith("_sel"):
                values[name] = rng.randrange(7)
            elif name == "dst_unused":
                values[name] = rng.randrange(3)
            elif name in ("simm16", "imm", "bitop3", "bound_ctrl", "src2", "src1", "src0"):
                values[name] = rng.getrandbits(width)
            elif name == "sdst":
                values[name] = self._target_sgpr(2)
            elif name in ("op_sel", "op_sel_hi", "neg_lo", "neg_hi"):
                values[name] = 0 if plain else rng.getrandbits(width)
        if "sdst" in values and (row.name.startswith("v_") or (kinds.get("sdst") and kinds["sdst"].dwords == 2)):
            values["sdst"] = rng.choice(MASKS)
            if row.encoding == "sdwa":
                values["sdst"] = values["sdst"] | 0x80 if rng.random() < 0.5 else 0
        if "src2" in values and row.name.startswith(_CARRIES):
            values["src2"] = rng.choice(MASKS)
        if row.encoding == "sdwa" and _floats(self.target, row.name):
            values["dst_sel"] = rng.choice((4, 5, 6, 6))
        return values

    def _try(self, row: Row) -> tuple[int, ...] | None:
        """An instruction of that row with random fields; None: one that is not to be."""
        values = self._values(row)
        words = _words(_placed(row, values), row.size)
        word = sum(one << 32 * place for place, one in enumerate(words))
        instruction = decode(self.target, word)
        if instruction.size > row.size:
            words = (*words, self._number())
            word = sum(one << 32 * place for place, one in enumerate(words))
            instruction = decode(self.target, word)
        if (instruction.name, instruction.encoding) != (row.name, row.encoding):
            return None
        try:
            bind(self.target, word & (1 << 8 * instruction.size) - 1)
        except NotModelled:
            return None
        return words + self._without_nan(instruction)

    def _number(self) -> int:
        return self.rng.choice(
            (self.rng.getrandbits(32), 0x3F800000, 0xC2280000, 0x3C003C00, self.rng.getrandbits(6), 0xFFFFFFFF, 0)
        )

    def _without_nan(self, instruction: Instruction) -> tuple[int, ...]:
        """Instructions that make a number of what is none in its results."""
        words: tuple[int, ...] = ()
        for kind, first in _floats(self.target, instruction.name):
            place = vector.destination(instruction) + first
            held = place
            if place >= 256:
                held = SPARE + 2
                for number in range(2 if kind == "f64" else 1):
                    words += make(
                        self.target, "v_accvgpr_read_b32", src0=0x300 | place - 256 + number, vdst=held + number
                    )
            words += _clean(self.target, held, kind)
            if place >= 256:
                for number in range(2 if kind == "f64" else 1):
                    words += make(
                        self.target, "v_accvgpr_write_b32", src0=256 + held + number, vdst=place - 256 + number
                    )
        if words and instruction.name.startswith("v_mfma"):  # of all lanes, whatever EXEC says
            before = make(self.target, "s_mov_b64", src0=EXEC, sdst=ALL)
            before += make(self.target, "s_mov_b64", src0=193, sdst=EXEC)
            words = before + words + make(self.target, "s_mov_b64", src0=ALL, sdst=EXEC)
        return words

    # ---- pieces

    def _of(self, category: str) -> Plain:
        choices = self._categories[category]
        while True:
            words = self._try(self.rng.choice(choices))
            if words is not None:
                return Plain(words)

    def _saddr(self, store: bool) -> int:
        what = self.rng.random()
        if self.faults and what < 0.01:
            return READ_ONLY
        if what < 0.2 and (self.faults or not store):
            return EDGE
        return OWN if store or what < 0.6 else COMMON

    def _offset(self, lowest: int, highest: int, size: int) -> int:
        """Mostly a multiple of the size, or 4."""
        rng = self.rng
        unit = min(size, 4) if rng.random() < 0.85 else 1
        if rng.random() < 0.15:
            return rng.choice((lowest, highest - size)) // unit * unit
        return rng.randrange(lowest, highest - size + 1) // unit * unit

    def _memory(self) -> Plain:
        row = self.rng.choice(self._categories["memory"])
        store = "_store_" in row.name or "_atomic_" in row.name
        atomic = "_atomic_" in row.name
        values: dict[str, int] = {}
        names = {part.name for part in row.fields}
        dwords = {operand.name: operand.dwords for operand in row.operands}
        saddr = self._saddr(store)
        for name in ("vdst", "vdata"):
            if name in names:
                acc = self.rng.random() < 0.2 and any(p.name == name and p.first == 9 for p in row.fields)
                count = dwords.get(name, 1)
                values[name] = 0x200 | self.rng.randrange(AGPRS + 1 - count) if acc else self._vgpr(count)
        size = 4 * max(dwords.get("vdata", 1), dwords.get("vdst", 1))
        if "saddr" in names:
            values |= {"saddr": saddr, "vaddr": OFFSET if saddr in (OWN, COMMON) else SPARE}
        else:
            values["vaddr"] = WIDE
        first: tuple[int, ...] = ()
        if self.rng.random() < 0.25:  # an address among the registers that are used and written
            moved = self._vgpr(2)
            for number in range(1 if "saddr" in names else 2):
                first += make(self.target, "v_mov_b32", "e32", src0=256 + values["vaddr"] + number, vdst=moved + number)
            values["vaddr"] = moved
            for name in ("vdst", "vdata"):
                if name in values and not values[name] & 0x200:
                    most = VGPRS - dwords.get(name, 1)
                    values[name] = min(max(moved + self.rng.randrange(-3, 2), 0), most)
        offset = self._offset(0, 0xC00, size) if saddr in (EDGE, READ_ONLY) else self._offset(-0x1000, 0x1000, size)
        if saddr in (EDGE, READ_ONLY):
            offset = offset % 0x200 if self.rng.random() < 0.3 else 0 if store else offset % 16
        if atomic:
            offset &= -8
        words = _words(_placed(row, {**values, "offset": offset & 0x1FFF}), row.size)
        return Plain(first + words) if _known(self.target, words) else self._memory()

    def _scalar_memory(self) -> Plain:
        rng = self.rng
        dwords = rng.choice((1, 2, 4, 8, 16))
        name = f"s_load_dword{'x' + str(dwords) if dwords > 1 else ''}"
        offset = self._offset(0, 0x3000, 4 * dwords)
        if self.faults and rng.random() < 0.01:
            offset = (OWN_PAGES + 1 << 12) - 4
        sdst = rng.randrange(SGPRS.start, SGPRS.stop + 1 - dwords, min(dwords, 4))
        return Plain(make(self.target, name, sbase=rng.choice((OWN, COMMON)), sdst=sdst, offset=offset))

    def _local(self) -> Plain:
        row = self.rng.choice(self._categories["local"])
        names = {part.name for part in row.fields}
        dwords = {operand.name: operand.dwords for operand in row.operands}
        values: dict[str, int] = {
            name: self._vgpr(dwords.get(name, 1)) for name in ("vdst", "data0", "data1") if name in names
        }
        values["addr"] = SHARED
        size = 4 * max(dwords.values())
        if "offset0" in names:
            most = 1 if self.apart and "st64" in row.name else 2  # 64 elements further is what others have
            values |= {"offset0": self.rng.randrange(most), "offset1": self.rng.randrange(most)}
        elif self.apart:
            values["offset"] = self._offset(0, LANE_BYTES, min(size, LANE_BYTES))
        elif "permute" in row.name:
            values |= {"addr": self._vgpr(1), "offset": self.rng.randrange(256)}
        else:
            beyond = self.faults and self.rng.random() < 0.03
            values["offset"] = self._offset(0, LDS_BYTES if beyond else LDS_BYTES - 64 * LANE_BYTES, size)
        words = _words(_placed(row, values), row.size)
        return Plain(words) if _known(self.target, words) else self._local()

    def _exchange(self) -> Plain:
        """What other waves have written, between barriers."""
        barrier = make(self.target, "s_barrier")
        offset = self._offset(0, LDS_BYTES, 4) & -4
        words = make(
            self.target, "v_lshrrev_b32", "e32", src0=128 + self.rng.randrange(1, 9), src1=SHARED, vdst=SPARE + 1
        )
        words += make(self.target, "v_and_b32", "e32", literal=0xFFC, src0=255, src1=SPARE + 1, vdst=SPARE + 1)
        words += make(self.target, "ds_read_b32", addr=SPARE + 1, vdst=self._vgpr(1), offset=offset // 8 & -4)
        return Plain(barrier + words + barrier)

    def _masked(self, size: int) -> Masked:
        rng = self.rng
        saved = SAVED + 2 * self._depth
        source = rng.choice((*MASKS, self._sgpr(2), self._constant() if rng.random() < 0.3 else VCC))
        fewer = ("and", "andn2", "andn1")
        names = (
            fewer
            if self.partial and rng.random() < 0.8
            else (*fewer, "xor", "or", "orn1", "orn2", "nand", "nor", "xnor")
        )
        name = rng.choice(names)
        kind = "wrexec" if name == "andn1" and rng.random() < 0.5 else "saveexec"
        if kind == "wrexec":
            save = make(self.target, "s_mov_b64", src0=EXEC, sdst=saved)
            save += make(self.target, "s_andn1_wrexec_b64", src0=source, sdst=rng.choice((8, 10, 12)))
        else:
            save = make(self.target, f"s_{name}_saveexec_b64", src0=source, sdst=saved)
        if rng.random() < 0.5:
            restore = make(self.target, "s_or_b64", src0=EXEC, src1=saved, sdst=EXEC)
        else:
            restore = make(self.target, "s_mov_b64", src0=saved, sdst=EXEC)
        self._depth += 1
        body = self.items(size)
        self._depth -= 1
        return Masked(save, restore, rng.random() < 0.5, body)

    def _nested(self, size: int) -> Item:
        rng = self.rng
        what = rng.random()
        if what < 0.5:
            return self._masked(size)
        self._depth += 1
        if what < 0.6:
            one, two, three = (self.items(size // 3 + 1) for _ in range(3))
            self._depth -= 1
            return Across((rng.choice(_BRANCHES[1:]), rng.choice(_BRANCHES)), (one, two, three))
        body = self.items(size)
        self._depth -= 1
        if what < 0.75:
            return Skip(rng.choice(_BRANCHES), body)
        return Loop(rng.randrange(1, 5), COUNTERS + self._depth, body)

    def items(self, size: int) -> tuple[Item, ...]:
        """About so many instructions."""
        found: list[Item] = []
        while size > 0:
            what = self.rng.random()
            inner = self.rng.randrange(1, 12)
            if what < 0.1 and self._depth < 3:
                found.append(self._nested(min(size, inner)))
                size -= inner
                continue
            size -= 1
            if what < 0.13 and not self._depth:
                found.append(Plain(make(self.target, "s_mov_b64", src0=ENTRY, sdst=EXEC)))
            elif what < 0.15 and not self._depth:
                found.append(self._exchange())
            elif what < 0.25:
                found.append(self._memory())
            elif what < 0.28:
                found.append(self._scalar_memory())
            elif what < 0.33:
                found.append(self._local())
            else:
                found.append(self._of(self.rng.choices(*_CHOICES)[0]))
        return tuple(found)


def _known(target: str, words: tuple[int, ...]) -> bool:
    word = sum(one << 32 * place for place, one in enumerate(words))
    try:
        bind(target, word)
    except (NotModelled, UnknownEncoding):
        return False
    return True


def _clean(target: str, place: int, kind: str) -> tuple[int, ...]:
    """1.0 for what is no number in a register: f32, half (both halves may hold one), bf16, or f64 from there on."""
    words: tuple[int, ...] = ()

    def test(bits: int, at: int) -> None:
        nonlocal words
        words += make(target, f"v_cmp_u_f{bits}", "e64", sdst=TEST, src0=256 + at, src1=256 + at)
        for number in range(max(bits // 32, 1)):
            one, register = 242, place + number
            words += make(target, "v_cndmask_b32", "e64", vdst=register, src0=256 + register, src1=one, src2=TEST)

    def moved(name: str, by: int) -> None:
        nonlocal words
        words += make(target, name, "e32", src0=128 + by, src1=place, vdst=SPARE + 3)

    if kind in ("f32", "f64"):
        test(int(kind[1:]), place)
    elif kind == "f16":
        test(16, place)
        moved("v_lshrrev_b32", 16)
        test(16, SPARE + 3)
    else:
        test(32, place)
        moved("v_lshlrev_b32", 16)
        test(32, SPARE + 3)
    return words


@lru_cache(maxsize=4096)
def _floats(target: str, name: str) -> tuple[tuple[str, int], ...]:
    """Of each register of its result, from the destination on, whether floats are in it: (kind, place)."""
    op = valu(target).get(name)
    if op is None:
        matrix = mfma(target).get(name)
        if matrix is None or "_i32_" in name:
            return ()
        if "_f64_" in name:
            return tuple(("f64", place) for place in range(0, matrix.nd, 2))
        return tuple(("f32", place) for place in range(matrix.nd))
    results = [op.result] if isinstance(op.result, str) else list(op.result)
    found: list[tuple[str, int]] = []
    for kind in results:
        part = kind.removeprefix("2x")
        if part in ("f16", "bf16", "f32", "f64"):
            found.append((part, 0))
            if kind == "2xf32":
                found.append((part, 1))
    if name.startswith("v_fma_mix"):
        found = [("f32", 0)] if name == "v_fma_mix_f32" else [("f16", 0)]
    if (
        not found
        and (name.startswith("v_cvt_") and not name.endswith(("_u8_f32", "8_f32")))
        and "f16" in name.split("_f32")[0]
    ):
        found.append(("f16", 0))
    return tuple(found)


_CARRIES = ("v_addc_", "v_subb_", "v_subbrev_", "v_cndmask_")
_MASKED = (*_CARRIES, "v_add_co_", "v_sub_co_", "v_subrev_co_", "v_div_scale_", "v_div_fmas_", "v_mad_u64", "v_mad_i64")
_BETWEEN = ("v_readfirstlane_b32", "v_readlane_b32", "v_writelane_b32", "v_swap_b32", "v_permlane")
_DS_ATOMICS = ("_u32", "_u64", "_i32", "_i64", "cmpst_b32", "cmpst_rtn_b64", "xor_b32", "or_rtn_b64", "wrxchg_rtn_b32")
_NOT_SCALAR = (
    "s_setreg",
    "s_getreg",
    "s_movrel",
    "s_call",
    "s_setpc",
    "s_swappc",
    "s_rfe",
    "s_cbranch",
    "s_set_gpr_idx",
)
_CHOICES = (
    ("VOP1", "VOP2", "VOPC", "VOP3", "VOP3P", "sdwa", "dpp", "masks", "between", "scalar", "logic", "matrix"),
    (6, 14, 8, 14, 6, 8, 6, 12, 4, 14, 6, 2),
)


def _category(row: Row) -> str | None:
    kind, name = format_of(row.value & 0xFFFFFFFF), row.name
    if max((operand.dwords for operand in row.operands), default=0) > AGPRS:
        return None
    if kind in ("SOP1", "SOP2", "SOPC", "SOPK"):
        if name.startswith(_NOT_SCALAR) or "exec" in name:
            return None
        return "logic" if name.endswith("_b64") else "scalar"
    if kind == "MAI" or name.startswith(("v_mfma", "v_smfma", "v_accvgpr")):
        return None if name.startswith("v_smfma") else "matrix"
    if kind == "GLOBAL" or (kind == "FLAT" and "_atomic_" not in name):
        return None if "_lds_" in name or "f64" in name or name.endswith(("_f32", "f16")) else "memory"
    if kind == "DS":
        used = name.startswith(("ds_read", "ds_write", "ds_bpermute", "ds_permute")) or name.endswith(_DS_ATOMICS)
        return "local" if used and "addtid" not in name else None
    if not kind.startswith("VOP") or name in ("v_nop", "v_clrexcp"):
        return None
    if name.startswith(_BETWEEN):
        return "between" if row.encoding != "dpp" else None
    if row.encoding in ("sdwa", "dpp"):
        return row.encoding
    return "masks" if name.startswith(_MASKED) else kind


@lru_cache(maxsize=2)
def _categories(target: str) -> dict[str, list[Row]]:
    """Rows of which there is something that is modelled."""
    found: dict[str, list[Row]] = {}
    vectors = {*valu(target), *mfma(target), *vector.BETWEEN_LANES}
    for row in rows(target):
        category = _category(row)
        if category is not None and (row.name[:2] != "v_" or row.name in vectors):
            found.setdefault(category, []).append(row)
    return found


# ---- whole kernels


def kernel(target: str, seed: int, size: int | None = None) -> Kernel:
    """The random kernel of that number, of about `size` instructions."""
    rng = random.Random(seed)
    lanes = rng.choice((64, 64, 64, 256, 128, 1, 7, 8, 20, 33, 40, 100, 200))
    groups = rng.choice((1, 1, 1, 2, 3)) if lanes <= 128 else 1
    one = lanes <= 64 and groups == 1
    maker = Maker(target, rng, apart=lanes > 64, faults=one, partial=lanes % 64 != 0)
    items = maker.items(rng.randrange(8, 40) if size is None else size)
    trap = one and rng.random() < 0.2
    return Kernel(
        target,
        items,
        data=rng.getrandbits(32),
        lanes=lanes,
        groups=groups,
        at=rng.choice((0, 0, 0x100, 0xD04, 0xE80)),
        far=rng.choice((0, 0, 1, 64)),
        edge=rng.random() < 0.3,
        mapped=rng.random() < 0.3,
        missing=rng.randrange(lanes) if groups > 1 and rng.random() < 0.3 else 0,
        slice=rng.choice((1, 3, 1 << 14, 1 << 14)),
        together=rng.choice((64, 1 << 13, 1 << 13)),
        end=make(target, "s_trap", simm16=2) if trap else make(target, "s_endpgm"),
    )


def smaller(one: Kernel) -> list[Kernel]:
    """The same with something left out, the largest parts first."""
    found: list[Kernel] = []
    length = len(one.items)
    width = length // 2
    while width >= 2:
        for first in range(0, length, width):
            found.append(replace(one, items=one.items[:first] + one.items[first + width :]))
        width //= 2
    found += [replace(one, items=items) for items in _smaller_items(one.items)]
    for change in (
        {"groups": 1},
        {"lanes": min(one.lanes, 64)},
        {"far": 0},
        {"edge": False},
        {"mapped": False},
        {"at": 0},
    ):
        changed = replace(one, **change)
        if changed != one:
            found.append(changed)
    return found


def _smaller_items(items: tuple[Item, ...]) -> list[tuple[Item, ...]]:
    found: list[tuple[Item, ...]] = []
    for place, item in enumerate(items):
        before, after = items[:place], items[place + 1 :]
        found.append(before + after)
        if isinstance(item, Plain):
            continue
        if isinstance(item, Across):
            found += [before + part + after for part in item.parts]
            for number, part in enumerate(item.parts):
                for less in _smaller_items(part):
                    parts = (*item.parts[:number], less, *item.parts[number + 1 :])
                    found.append((*before, replace(item, parts=parts), *after))  # type: ignore[arg-type]
            continue
        found.append(before + item.body + after)
        if isinstance(item, Loop) and item.count > 1:
            found.append((*before, replace(item, count=1), *after))
        found += [(*before, replace(item, body=body), *after) for body in _smaller_items(item.body)]
    return found
