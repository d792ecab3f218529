"""docs/isa-coverage.md: which instructions of both parts are modelled, and what each was checked against."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from gpumodel.isa import decode, program
from gpumodel.isa.stop import NotModelled
from tests.unit import test_isa_scalar as scalar
from tests.unit.test_isa_integer import EXPECTED

ROOT = Path(__file__).resolve().parent.parent
CENSUS = ROOT / "tests/isa_census.txt"
_OWN_KERNELS = ROOT / "tests/isa_code.py"
# What tests/unit/test_isa_{integer,floats,matrix,scaled,moves}.py compute on their own: by Python's integers, fractions, NumPy.
_ARITHMETIC = re.compile(
    r"v_(add|sub|subrev|mul|fma|fmac|min|max|med3|ldexp|fract|trunc|ceil|floor|rndne|frexp_mant|cmp_class|div_scale|div_fmas|div_fixup"
    r"|rcp|rsq|sqrt|exp|log|sin|cos|trig_preop)_f(16|32|64)|v_frexp_exp_i(16|32)_f(16|32|64)|v_cmp_[a-z]+_[fiu](16|32|64)"
    r"|v_cvt_([iu]32_f(32|64)|[iu]16_f16|flr_i32_f32|f32_[iu]32|f16_[iu]16|f64_[iu]32|f64_f32|f32_f16|f32_f64|f16_f32|f32_ubyte\d"
    r"|off_f32_i4|pkrtz_f16_f32|pk_bf16_f32|pknorm_[iu]16_f32|f32_[fb][fp]8|pk_f32_[fb][fp]8|pk_[fb][fp]8_f32|sr_fp8_f32)"
    r"|v_pk_(add|mul|fma)_f(16|32)|v_pk_(max_f16|mad_u16|lshlrev_b16|min_i16|ashrrev_i16|mul_lo_u16)|v_(minimum|maximum)3_f32"
    r"|v_accvgpr_(read|write|mov)_b32|s_(movk|addk|mulk)_i32|s_bitcmp[01]_b32|s_(and|or|xor|andn2)_saveexec_b64"
    r"|v_fma_mix(lo|hi)?_f(16|32)|v_dot[248]c?_[iuf]32_\w+|v_bitop3_b(16|32)|v_mbcnt_\w+|v_mqsad_u32_u8|v_s?mfmac?_\w+"
    r"|v_cvt_scalef32_\w+|ds_read_b64_tr_b\d+"
)


def modelled(target: str) -> dict[str, bool]:
    """Every mnemonic of a target: is there an encoding of it that runs?"""
    found: dict[str, bool] = {}
    for row in decode.rows(target):
        if not found.get(row.name):
            found[row.name] = _runs(target, row.value) or _runs(target, row.value | _vgprs(row))
    return found


def _vgprs(row: decode.Row) -> int:
    """The bits that make VGPRs of sources that may be something else, too: some have to be."""
    return sum(256 >> field.first << field.at for field in row.fields if field.first + field.width == 9)


def _runs(target: str, word: int) -> bool:
    try:
        program.bind(target, word)
    except (NotModelled, decode.UnknownEncoding):
        return False
    return True


def arithmetic(name: str) -> bool:
    by_hand = (EXPECTED, scalar.TWO, scalar.WITH_SCC, scalar.ONE, scalar.COMPARE, scalar.WITH_CONSTANT)
    return any(name in table for table in by_hand) or _ARITHMETIC.fullmatch(name) is not None


def in_own_kernels() -> set[str]:
    """Mnemonics of the kernels in assembly whose results tests/unit/test_isa_run.py asserts."""
    words = re.findall(r"\b(?:s|v|ds|global|flat|scratch|buffer)_[a-z0-9_]+", _OWN_KERNELS.read_text())
    return {re.sub("_(e32|e64|sdwa|dpp)$", "", word) for word in words}


def census() -> list[str]:
    return [line.split()[0] for line in CENSUS.read_text().splitlines() if line and not line.startswith("#")]


def _list(names: Iterable[str]) -> str:
    """Mnemonics as a paragraph, lines of 120."""
    lines = [""]
    for name in sorted(names):
        if len(lines[-1]) + len(name) > 118:
            lines.append("")
        lines[-1] += f"`{name}` "
    return "\n".join(line.rstrip() for line in lines) or "none"


def page(opinions: dict[str, tuple[str, str]], run: set[str]) -> str:
    """`opinions`: what the second opinion said of an instruction, and why; `run`: those in kernels that NumPy confirmed."""

    run = run | in_own_kernels()

    def checked(name: str) -> bool:
        name = name.replace("v_cmpx_", "v_cmp_")
        agreed = opinions.get(name, ("", ""))[0] in ("agrees", "explained")
        return name in run or arithmetic(name) or (agreed and name.startswith("v_"))

    parts = [_HEAD]
    tables = {target: modelled(target) for target in decode.TARGETS}
    parts.append("| | checked | implemented only | stops with its name | all |\n|---|---|---|---|---|")
    for target, table in tables.items():
        done = {name for name, runs in table.items() if runs}
        good = {name for name in done if checked(name)}
        parts.append(f"| {target} | {len(good)} | {len(done - good)} | {len(table) - len(done)} | {len(table)} |")
    counted = census()
    known = {name for table in tables.values() for name, runs in table.items() if runs}
    good = {name for name in counted if name in known and checked(name)}
    parts.append(
        f"| census | {len(good)} | {len(set(counted) & known - good)} | {len(set(counted) - known)} | {len(counted)} |"
    )
    both = {name for name in known if not checked(name)}
    parts.append(f"\n## Implemented, not checked by itself\n\n{_list(both)}")
    missing = {name for table in tables.values() for name, runs in table.items() if not runs} - known
    parts.append(f"\n## Stops with its name\n\n{_list(missing)}")
    parts.append(
        "\n## Where the second opinion differs, and why\n\n| instruction | what the emulator does |\n|---|---|"
    )
    for name, (kind, why) in sorted(opinions.items()):
        if kind == "explained":
            parts.append(f"| `{name}` | {why} |")
    silent = [name for name, (kind, _) in opinions.items() if kind == "no opinion"]
    parts.append(f"\nIt does not run at all: {_list(silent)}")
    return "\n".join(parts) + "\n"


_HEAD = """# Instructions of gfx942 and gfx950 in the model

Generated by `make isa-check` (tools/isa_check.py --write); do not edit. Names are LLVM's, without the suffix of an encoding.
*Checked*: tinygrad's emulator agrees on 512 random and corner operands, or Python's integers, fractions and NumPy's matrix
products do, or it ran in kernels of ours whose results are asserted (tests/unit/test_isa_*.py), or in kernels of a compiler
whose results NumPy confirms (tests/peer).
*Stops with its name*: a kernel that comes to it is ended as illegal, never gives a wrong number. *Census*: what 4,393 kernels
of tinygrad use (tests/isa_census.txt).
"""
