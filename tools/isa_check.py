"""Are the vector instructions of the model what a second opinion has them be? And which instructions are modelled at all?

    .venv/bin/python tools/get_oracle.py             # tinygrad's git tree into .cache/oracle (or --tree DIR)
    .venv/bin/python tools/isa_check.py              # every vector instruction, random and corner operands
    .venv/bin/python tools/isa_check.py --write      # the same, and docs/isa-coverage.md
    .venv/bin/python tools/isa_check.py v_add v_mad  # only those

Exit 1 if one differs, 69 without the tree. Where the two differ for a reason, `EXPLAINED` says for which operands they may and
why; anywhere else they must agree to the bit (a NaN with any NaN), or to two units in the last place for what hardware
approximates."""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from base import debian
from gpumodel.isa.op import Array, Op
from gpumodel.isa.valu import valu
from tests.isa_operands import LANES, operands
from tools.isa_oracle import Emulator, NoOpinion

TREE = debian.CACHE / "oracle" / "tinygrad"
PAGE = Path(__file__).resolve().parent.parent / "docs/isa-coverage.md"
WAVES, SEED = 8, 7
TARGET = "gfx950"
_APPROXIMATE = re.compile(r"v_(rcp|rsq|sqrt|exp|log|sin|cos)_")

Allowed = Callable[..., Array]


def _everywhere(*sources: Any) -> Array:
    return np.ones((WAVES, LANES), bool)


def _floats(sources: Iterable[Any]) -> list[Array]:
    flat = [part for source in sources for part in (source if isinstance(source, tuple) else (source,))]
    return [part for part in flat if part.dtype.kind == "f"]


def _any(test: Callable[[Array], Array]) -> Allowed:
    return lambda *sources: np.logical_or.reduce([test(part) for part in _floats(sources)])


def _subnormal(value: Array) -> Array:
    return (value != 0) & (np.abs(value) < np.finfo(value.dtype).smallest_normal)


def _first(test: Callable[[Array], Array]) -> Allowed:
    return lambda *sources: test(sources[0])


def _odd(value: Array) -> Array:
    return ~np.isfinite(value) | (value == 0) | _subnormal(value)


def _beyond_f16(*sources: Array) -> Array:
    rounded = [source.astype(np.float16).astype(np.float32) for source in sources[:2]]
    return np.logical_or.reduce([r != s for r, s in zip(rounded, sources, strict=False)])


def _above_24_bits(*sources: Array) -> Array:
    return ((sources[0].view(np.uint32) | sources[1].view(np.uint32)) >> np.uint32(24)) != 0


def _out_of_i32(*sources: Array) -> Array:
    return ~(np.abs(sources[0].astype(np.float64)) < 2.0**31)


@dataclass(frozen=True)
class Explained:
    names: str  # a regular expression for the whole mnemonic
    reason: str
    allowed: Allowed = _everywhere


EXPLAINED = (
    Explained(
        r"v_(min|max|med3|pk_min|pk_max)_f16",
        "it knows neither signalling NaN nor the sign of zeros",
        _any(lambda x: np.isnan(x) | (x == 0)),
    ),
    Explained(r"v_(min|max)_f(32|64)|v_(min3|max3|med3)_f(16|32)", "it does not quiet signalling NaN", _any(np.isnan)),
    Explained(r"v_(pk_)?(minimum|maximum)3_f(16|32)", "it lets NaN lose: IEEE 754-2019 has them win", _any(np.isnan)),
    Explained(r"v_(mul|mul_hi|mad)_[iu]32_[iu]24", "it multiplies all 32 bits", _above_24_bits),
    Explained(r"v_mad_[iu]64_[iu]32", "it loses the carry"),
    Explained(r"v_mqsad_pk_u16_u8", "it masks by the other operand than the manual does"),
    Explained(r"v_frexp_(exp|mant)_.*", "it takes subnormals for normal numbers", _first(_odd)),
    Explained(
        r"v_rndne_.*",
        "it loses the sign of zero, and adds one half, which rounds",
        _first(lambda x: ~(np.abs(x) > 0.5) | (np.abs(x) > 2.0 ** (np.finfo(x.dtype).nmant - 1))),
    ),
    Explained(r"v_fract_.*", "it gives 1.0 for what is a hair below a whole number", _first(lambda x: ~(x > 0))),
    Explained(
        r"v_ldexp_.*",
        "its 2**n leaves the range before the product does",
        lambda *s: _odd(s[0]) | (np.abs(s[1].astype(np.int64)) > 14),
    ),
    Explained(r"v_fma[am]k_f32", "its constant is in the instruction, which the check does not vary"),
    Explained(r"v_fmac_f64", "it reads one register of the destination"),
    Explained(r"v_(mad|fma)_(legacy_)?f16|v_cvt_pkaccum_u8_f32", "it fuses, or does not run it"),
    Explained(r"v_div_scale_.*", "it follows the manual's text, the model what hardware does (division.py)"),
    Explained(r"v_div_(fmas|fixup)_.*", "it scales after rounding, and lets quotients that vanish be"),
    Explained(r"v_trig_preop_f64", "its 2**n leaves the range"),
    Explained(
        r"v_(rcp|rcp_iflag|rsq|sqrt|exp|log)_f32",
        "it keeps subnormals, which these do not know",
        _first(lambda x: ~(np.abs(x) < 2.0**125) | (np.abs(x) < 2.0**-125) | (np.abs(x + 126) < 25)),
    ),
    Explained(r"v_(sin|cos)_f(16|32)", "it multiplies by a rounded 2 pi"),
    Explained(r"v_(log|exp)_f16", "it computes in half precision"),
    Explained(
        r"v_cvt_(i32|u32|rpi_i32|flr_i32)_f(32|64)|v_cvt_pk_u8_f32",
        "it wraps, or gives what the host does, beyond the range and for NaN",
        _out_of_i32,
    ),
    Explained(r"v_cvt_(norm_)?[iu]16_f16", "it wraps beyond the range"),
    Explained(r"v_cvt_pknorm_.*", "it wraps beyond the range, and rounds halves up"),
    Explained(r"v_cvt_pk_[iu]16_[iu]32", "it cuts off where hardware saturates: Mesa's pack_uint_2x16"),
    Explained(r"v_cvt_off_f32_i4", "its table is empty"),
    Explained(r"v_cvt_pkrtz_f16_f32", "it rounds to nearest", _beyond_f16),
    Explained(r"v_cvt_pk_b?f16_f32", "another NaN", _any(np.isnan)),
    Explained(r"v_cvt_pk_[fb][fp]8_f32", "it flushes subnormals; another NaN", _any(lambda x: ~(np.abs(x) > 2.0**-6))),
    Explained(r"v_cvt_sr_bf16_f32", "it adds other bits of the random operand"),
    Explained(r"v_dot2_f32_bf16", "it takes the halves as integers"),
)


@dataclass(frozen=True)
class Outcome:
    """`kind`: "agrees", "explained", "no opinion" or "DIFFERS"."""

    kind: str
    text: str = ""


def _flat(value: Any) -> list[Any]:
    return [x for item in value for x in _flat(item)] if isinstance(value, (tuple, list)) else [value]


def _lane(value: Any, wave: int) -> Any:
    return tuple(_lane(part, wave) for part in value) if isinstance(value, tuple) else value[wave]


def _same(name: str, ours: Array, theirs: Array) -> Array:
    if ours.dtype.kind != "f":
        return np.asarray(ours == theirs)
    equal = (ours == theirs) & (np.signbit(ours) == np.signbit(theirs))
    if _APPROXIMATE.match(name):
        unit = np.spacing(np.abs(ours))
        equal |= np.abs(ours.astype(np.float64) - theirs.astype(np.float64)) <= 2 * unit.astype(np.float64)
    return np.asarray(equal | (np.isnan(ours) & np.isnan(theirs)))


def explanation(name: str) -> Explained | None:
    return next((e for e in EXPLAINED if re.fullmatch(e.names, name)), None)


def check(emulator: Emulator, name: str, op: Op) -> Outcome:
    """One instruction on WAVES * 64 operands."""
    wants = {key: {"op_sel": 8, "bitop3": 0x5A}[key] for key in op.wants}
    sources = operands(op, WAVES, SEED)
    with np.errstate(all="ignore"):
        ours = op.run(*sources, **wants)
        equal = np.ones((WAVES, LANES), bool)
        for wave in range(WAVES):
            mine = _lane(ours, wave)
            try:
                theirs = emulator.run(name, op, [_lane(source, wave) for source in sources], mine, wants)
            except NoOpinion as why:
                return Outcome("no opinion", str(why).splitlines()[0])
            for x, y in zip(_flat(mine), _flat(theirs), strict=True):
                equal[wave] &= _same(name, x, y)
        if equal.all():
            return Outcome("agrees")
        explained = explanation(name)
        if explained is not None and not (~equal & ~explained.allowed(*sources)).any():
            return Outcome("explained", explained.reason)
        if explained is not None:
            equal |= explained.allowed(*sources)
    wave, lane = np.argwhere(~equal)[0]
    return Outcome(
        "DIFFERS",
        f"in {(~equal).sum()} of {equal.size}, as for {_shown(sources, wave, lane)}: {_shown([ours], wave, lane)}",
    )


def _shown(values: list[Any], wave: int, lane: int) -> str:
    """Bits of a lane."""
    parts = [np.ascontiguousarray(part[wave, lane : lane + 1]) for part in _flat(values)]
    return ", ".join(hex(int(part.view(f"u{part.itemsize}")[0])) for part in parts)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of mnemonics; default: all")
    parser.add_argument("--tree", type=Path, default=TREE, help="tinygrad's git tree")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument(
        "--ran", type=Path, action="append", default=[], help="mnemonics that tests/peer/tinygrad_numbers.py ran"
    )
    arguments = parser.parse_args(argv)
    if not (arguments.tree / "test/mockgpu/amd/emu.py").exists():
        print(f"no tinygrad tree at {arguments.tree}: run tools/get_oracle.py", file=sys.stderr)
        return 69
    emulator = Emulator(arguments.tree)
    outcomes: dict[str, Outcome] = {}
    for name, op in valu(TARGET).items():
        wanted = not arguments.names or name.startswith(tuple(arguments.names))
        if wanted and not name.startswith("v_cmpx_"):  # the same arithmetic as v_cmp_
            outcomes[name] = check(emulator, name, op)
            if outcomes[name].kind == "DIFFERS":
                print(f"{name} differs {outcomes[name].text}")
    counts = Counter(outcome.kind for outcome in outcomes.values())
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("agrees", "explained", "no opinion", "DIFFERS")))
    if arguments.write:
        from tools.isa_coverage import page

        opinions = {name: (outcome.kind, outcome.text) for name, outcome in outcomes.items()}
        PAGE.write_text(page(opinions, set().union(*(set(path.read_text().split()) for path in arguments.ran))))
    return 1 if counts["DIFFERS"] else 0


if __name__ == "__main__":
    sys.exit(main())
