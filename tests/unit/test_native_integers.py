"""Integer vector instructions compiled to the host's code, beside NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from gpumodel.isa.integer import INTEGER
from gpumodel.isa.native.integers import LOWERED
from gpumodel.isa.valu import valu
from tests.native_ops import Case, Lowered, cases, compare, needs_compiler

pytestmark = needs_compiler
CASES = cases(LOWERED, valu("gfx950"))
TABLES = [Case("v_bitop3_b32", INTEGER["v_bitop3_b32"], LOWERED["v_bitop3_b32"], {"bitop3": n}) for n in range(256)]
CORNERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x00FF00FF, 0x80018001, 0x12345678)


@pytest.fixture(scope="module")
def lowered() -> Lowered:
    return Lowered(CASES)


@pytest.mark.parametrize("key", [str(case) for case in CASES])
def test_lowered_integer_random_and_corner_operands_are_as_numpy_has_it(lowered: Lowered, key: str) -> None:
    assert compare(lowered, key) == (0, "")


def test_lowered_bitop3_every_truth_table_is_as_numpy_has_it() -> None:
    lowered = Lowered(TABLES)
    assert [compare(lowered, key, waves=1) for key in lowered.cases] == [(0, "")] * 256


def test_lowered_perm_every_selector_of_every_byte_is_as_numpy_has_it(lowered: Lowered) -> None:
    select = np.array([(n % 16 * 0x01010101 + n // 16 * 0x03020100) & 0x0F0F0F0F for n in range(64)], np.uint32)
    for high, low in zip(CORNERS, reversed(CORNERS), strict=True):
        sources = [np.full((1, 64), high, np.uint32), np.full((1, 64), low, np.uint32), select[None]]
        (seen,) = lowered.run("v_perm_b32", sources)
        assert seen.tolist() == INTEGER["v_perm_b32"].run(*sources).tolist()


@pytest.mark.parametrize("name", ["v_bfe_u32", "v_bfe_i32"])
def test_lowered_field_of_every_place_and_width_is_as_numpy_has_it(lowered: Lowered, name: str) -> None:
    first, width = (part.ravel()[None].astype(np.uint32) for part in np.meshgrid(np.arange(34), np.arange(36)))
    for value in CORNERS:
        sources = [np.full(first.shape, value, np.uint32).view("i4" if "i32" in name else "u4"), first, width]
        (seen,) = lowered.run(name, sources)
        assert seen.tolist() == INTEGER[name].run(*sources).tolist()


def test_lowered_integer_leaves_out_only_what_needs_its_lane() -> None:
    assert set(INTEGER) - set(LOWERED) == {"v_mbcnt_lo_u32_b32", "v_mbcnt_hi_u32_b32"}
