"""What holds for every vector instruction: types of results, operands left alone, operands that are the same in all lanes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpumodel.isa.mfma import mfma
from gpumodel.isa.op import Op
from gpumodel.isa.valu import valu
from tests.isa_operands import LANES, dtype, operands

TARGETS = ("gfx942", "gfx950")
_WAVES = 2
EVERY = [(target, name) for target in TARGETS for name in valu(target) if not name.startswith("v_cmpx_")]
# Moves between lanes, and what does nothing, are not arithmetic: gpumodel/isa/vector.py.
ELSEWHERE = {"v_nop", "v_clrexcp", "v_readlane_b32", "v_writelane_b32", "v_readfirstlane_b32", "v_swap_b32",
             "v_permlane16_swap_b32", "v_permlane32_swap_b32"}  # fmt: skip


def _run(op: Op, sources: list[Any]) -> Any:
    with np.errstate(all="ignore"):
        return op.run(*sources, **dict.fromkeys(op.wants, 0x5A))


def _parts(value: Any) -> list[Any]:
    return [part for item in value for part in _parts(item)] if isinstance(value, (tuple, list)) else [value]


def _words(op: Op) -> list[str]:
    found = []
    for word in [op.result] if isinstance(op.result, str) else op.result:
        count, _, kind = word.rpartition("x") if word[0].isdigit() else ("", "", word)
        found += [kind] * int(count or 1)
    return found


@pytest.mark.parametrize(("target", "name"), EVERY)
def test_instruction_results_have_their_types_and_operands_stay(target: str, name: str) -> None:
    op = valu(target)[name]
    sources = operands(op, _WAVES, 3)
    before = [part.copy() for part in _parts(sources)]

    got = _parts(_run(op, sources))

    assert [part.dtype for part in got] == [dtype(word) for word in _words(op)]
    assert all(part.shape == (_WAVES, LANES) for part in got)
    assert all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(_parts(sources), before, strict=True)
    )


@pytest.mark.parametrize(("target", "name"), [(t, n) for t, n in EVERY if "mbcnt" not in n])
def test_instruction_operand_of_one_lane_stands_for_all(target: str, name: str) -> None:
    op = valu(target)[name]
    for which in range(len(op.sources)):
        for seed in range(2):
            sources = operands(op, _WAVES, seed)
            one = sources[which]
            narrow = tuple(part[:1, :1] for part in one) if isinstance(one, tuple) else one[:1, :1]
            spread = (
                tuple(np.broadcast_to(x, (_WAVES, LANES)).copy() for x in narrow) if isinstance(one, tuple) else None
            )
            wide = np.broadcast_to(narrow, (_WAVES, LANES)).copy() if spread is None else spread

            got = _run(op, [*sources[:which], narrow, *sources[which + 1 :]])
            expected = _run(op, [*sources[:which], wide, *sources[which + 1 :]])

            for x, y in zip(_parts(got), _parts(expected), strict=True):
                assert np.array_equal(np.broadcast_to(x, y.shape), y, equal_nan=y.dtype.kind == "f")


def _census() -> set[str]:
    """Vector mnemonics of the kernels that were counted."""
    text = Path(__file__).parent.parent.joinpath("isa_census.txt").read_text()
    return set(re.findall(r"^v_\w+", text, re.MULTILINE))


def test_every_vector_instruction_of_the_census_is_computed() -> None:
    known = set().union(*(set(valu(target)) | set(mfma(target)) for target in TARGETS))

    missing = _census() - known - ELSEWHERE

    assert not missing
