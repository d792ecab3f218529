"""Matrix instructions: elements put into lanes by the formulas of AMD's calculator, one by one, and the product by NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpumodel.isa import fp8
from gpumodel.isa.mfma import MfmaOp, mfma
from gpumodel.isa.op import Array

_NAME = re.compile(r"v_s?mfmac?_(?:scale_)?(\w\d+)_(\d+)x(\d+)x(\d+)(?:_(\d+)b)?_(\w+)")
_BITS = {
    "f64": 64,
    "f32": 32,
    "xf32": 32,
    "f16": 16,
    "bf16": 16,
    "i8": 8,
    "fp8": 8,
    "bf8": 8,
    "fp6": 6,
    "bf6": 6,
    "fp4": 4,
}
TARGETS = [
    (target, name)
    for target in ("gfx942", "gfx950")
    for name, op in mfma(target).items()
    if "f8f6f4" not in name and not op.sparse
]
SPARSE = [(target, name) for target in ("gfx942", "gfx950") for name, op in mfma(target).items() if op.sparse]


def _element(dim: int, depth: int, blocks: int, row: int, k: int, block: int, bits: int) -> tuple[int, int]:
    """Lane, and first bit in its registers, of an element of A or of B (whose rows are columns)."""
    holders = 64 // (dim * blocks)
    each = depth // holders
    group, place = divmod(k, each)
    if each > 16 and bits >= 8:
        run, inside = divmod(k, 16)
        group, place = run % holders, run // holders * 16 + inside
    return block * dim + group * dim * blocks + row, place * bits


def _result(m: int, n: int, row: int, column: int, block: int, wide: bool) -> tuple[int, int]:
    """Lane, and number of the value in it, of an element of C or D."""
    together = 1 if wide else 4
    rows = 64 // n
    side = -(-64 // (m * n // together))
    register = block * (m * n // 64) + row // (together * rows) * together + row % together
    return (block % side) * n + row // together % rows * side * n + column, register


def _codes(kind: str, values: Array, target: str) -> Array:
    """Values as the bits of an element, Python integers."""
    f32 = values.astype(np.float32)
    small = {
        "fp8": fp8.FP8_FNUZ if target == "gfx942" else fp8.FP8_OCP,
        "bf8": fp8.BF8_FNUZ if target == "gfx942" else fp8.BF8_OCP,
        "fp6": fp8.FP6,
        "bf6": fp8.BF6,
        "fp4": fp8.FP4,
    }
    encode: dict[str, Callable[[], Array]] = {
        "f64": lambda: values.astype(np.float64).view(np.uint64),
        "f32": lambda: f32.view(np.uint32),
        "xf32": lambda: f32.view(np.uint32),
        "f16": lambda: values.astype(np.float16).view(np.uint16),
        "bf16": lambda: f32.view(np.uint32) >> np.uint32(16),
        "i8": lambda: values.astype(np.int8).view(np.uint8),
    }
    codes = encode[kind]() if kind in encode else small[kind].encode(f32)
    return codes.astype(object)


def _spread(codes: Array, registers: int, bits: int, dim: int, depth: int, blocks: int) -> Array:
    """[waves][blocks][dim][K] codes to uint32[registers][waves][64]."""
    waves = codes.shape[0]
    words: Any = [[[0] * 64 for _ in range(waves)] for _ in range(registers)]
    for wave, block, row, k in np.ndindex(*codes.shape):
        lane, at = _element(dim, depth, blocks, row, k, block, bits)
        value = int(codes[wave, block, row, k]) << at % 32
        for i in range(3):
            if value >> 32 * i:
                words[at // 32 + i][wave][lane] |= value >> 32 * i & 0xFFFFFFFF
    return np.array(words, np.uint32)


class _Case:
    """Random operands of an instruction, in lanes and as matrices, for two waves."""

    def __init__(self, target: str, name: str, kinds: tuple[str, str] | None = None, seed: int = 1) -> None:
        match = _NAME.fullmatch(name)
        assert match is not None
        self.op: MfmaOp = mfma(target)[name]
        self.out = match[1]
        self.m, self.n, self.k, self.blocks = (int(match[i] or 1) for i in range(2, 6))
        types = match[6].split("_")
        self.kinds = kinds or (types[0], types[-1])
        self.random = np.random.default_rng(seed)
        self.a, left = self._operand(target, self.kinds[0], self.m, self.op.na)
        self.b, right = self._operand(target, self.kinds[1], self.n, self.op.nb)
        start = self.random.integers(-50, 50, (2, self.blocks, self.m, self.n)).astype(np.float64)
        self.left, self.right, self.start = left, right, start
        self.c = self._place(start)

    def _operand(self, target: str, kind: str, dim: int, registers: int) -> tuple[Array, Array]:
        largest = 128 if kind == "i8" else 4 if _BITS[kind] > 4 else 2
        values = self.random.integers(-largest, largest, (2, self.blocks, dim, self.k)).astype(np.float64)
        whole = registers * 64 * 32 // (_BITS[kind] * dim * self.blocks)  # half of K in A of a sparse one
        codes = _codes(kind, values[..., :whole], target)
        return _spread(codes, registers, _BITS[kind], dim, min(whole, self.k), self.blocks), values

    def _place(self, matrix: Array) -> Array:
        words = np.zeros((self.op.nc, 2, 64), np.uint32)
        wide = self.out == "f64"
        for wave, block, row, column in np.ndindex(*matrix.shape):
            lane, register = _result(self.m, self.n, row, column, block, wide)
            value = matrix[wave, block, row, column]
            if wide:
                words[2 * register : 2 * register + 2, wave, lane] = np.array([value]).view(np.uint32)
            else:
                dtype = np.int32 if self.out == "i32" else np.float32
                words[register, wave, lane] = np.array([value]).astype(dtype).view(np.uint32)[0]
        return words

    def expected(self, product: Array | None = None) -> Array:
        return self._place((self.left @ self.right.swapaxes(-1, -2) if product is None else product) + self.start)


@pytest.mark.parametrize(("target", "name"), TARGETS)
def test_matrix_instruction_every_element_in_its_lane(target: str, name: str) -> None:
    case = _Case(target, name)

    got = case.op.run(case.a, case.b, case.c)

    assert (case.op.nd, 2, 64) == got.shape
    assert np.array_equal(got, case.expected())


@pytest.mark.parametrize("name", ["v_mfma_f32_16x16x128_f8f6f4", "v_mfma_f32_32x32x64_f8f6f4"])
@pytest.mark.parametrize(("cbsz", "blgp"), [(0, 0), (1, 0), (0, 4), (4, 4), (2, 3), (3, 2), (4, 1)])
def test_f8f6f4_each_operand_has_its_own_format(name: str, cbsz: int, blgp: int) -> None:
    formats = ("fp8", "bf8", "fp6", "bf6", "fp4")
    case = _Case("gfx950", name, (formats[cbsz], formats[blgp]), seed=cbsz * 5 + blgp)

    got = case.op.run(case.a, case.b, case.c, cbsz=cbsz, blgp=blgp)

    assert np.array_equal(got, case.expected())


def test_f8f6f4_unknown_format_is_an_error() -> None:
    case = _Case("gfx950", "v_mfma_f32_16x16x128_f8f6f4", ("fp8", "fp8"))

    with pytest.raises(ValueError, match="matrix format 5 is none of 0 fp8"):
        case.op.run(case.a, case.b, case.c, cbsz=5, blgp=0)


@pytest.mark.parametrize("name", ["v_mfma_scale_f32_16x16x128_f8f6f4", "v_mfma_scale_f32_32x32x64_f8f6f4"])
@pytest.mark.parametrize(("kind", "code"), [("fp8", 0), ("fp4", 4)])
def test_scaled_every_32_elements_have_their_own_scale(name: str, kind: str, code: int) -> None:
    case = _Case("gfx950", name, (kind, kind))
    scales = []
    matrices = []
    for dim, matrix in ((case.m, case.left), (case.n, case.right)):
        powers = case.random.integers(-2, 3, (2, dim, case.k // 32))
        words = np.zeros((2, 64), np.uint32)
        for wave, row, part in np.ndindex(*powers.shape):
            # the lane that holds these 32 elements, if it holds them together; byte 2 of its register
            words[wave, part * dim + row] = 0x55005555 | int(powers[wave, row, part] + 127) << 16
        scales.append(words)
        matrices.append(matrix * np.repeat(2.0**powers, 32, axis=2)[:, None])

    got = case.op.run(case.a, case.b, case.c, *scales, cbsz=code, blgp=code, op_sel=0, op_sel_hi=3)

    assert np.array_equal(got, case.expected(matrices[0] @ matrices[1].swapaxes(-1, -2)))


def _indices(random: np.random.Generator, m: int, k: int, number: int) -> tuple[Array, Array]:
    """Which of four elements each of A is, int [waves][M][K / 2], and the registers that say so: the set of that number, and
    something else in the others."""
    pairs = np.array([(a, b) for a in range(4) for b in range(a + 1, 4)])
    places = pairs[random.integers(0, len(pairs), (2, m, k // 4))].reshape(2, m, k // 2)
    each = k * m // 64  # bits of a set
    words = random.integers(0, 2**32, (2, 64), dtype=np.uint32)
    for wave, row, place in np.ndindex(*places.shape):
        lane, at = _element(m, k // 2, 1, row, place, 0, 2)
        mask = 3 << each * number + at
        words[wave, lane] = int(words[wave, lane]) & ~mask | int(places[wave, row, place]) << each * number + at
    return places, words


@pytest.mark.parametrize(("cbsz", "abid"), [(0, 0), (0, 1), (0, 3), (2, 1)])
@pytest.mark.parametrize(("target", "name"), SPARSE)
def test_sparse_each_element_of_a_meets_the_one_that_its_index_names(
    target: str, name: str, cbsz: int, abid: int
) -> None:
    case = _Case(target, name)
    sets = 64 * 32 // (case.k * case.m)
    compact = case.left[..., : case.k // 2]
    codes = _codes(case.kinds[0], compact, target)
    a = _spread(codes, case.op.na, _BITS[case.kinds[0]], case.m, case.k // 2, 1)
    places, words = _indices(case.random, case.m, case.k, 0 if cbsz else abid % sets)
    dense = np.zeros((2, 1, case.m, case.k))
    where = 4 * (np.arange(case.k // 2) // 2) + places
    np.put_along_axis(dense, where[:, None], compact, axis=3)

    got = case.op.run(a, case.b, case.c, words, cbsz=cbsz, abid=abid)

    assert np.array_equal(got, case.expected(dense @ case.right.swapaxes(-1, -2)))


def test_sparse_what_no_index_names_is_not_multiplied() -> None:
    case = _Case("gfx942", "v_smfmac_f32_16x16x32_f16")
    b = np.full(case.b.shape, 0x3C00_7C00, np.uint32)  # infinities, and ones at odd places
    odd = np.full((2, 64), 0xDDDDDDDD, np.uint32)  # 1 and 3 of four

    got = case.op.run(np.full(case.a.shape, 0x3C00_3C00, np.uint32), b, np.zeros_like(case.c), odd)

    assert np.all(got.view(np.float32) == 16)


def test_scale_of_255_is_nan() -> None:
    case = _Case("gfx950", "v_mfma_scale_f32_16x16x128_f8f6f4", ("fp8", "fp8"))
    one, nan = np.full((2, 64), 127, np.uint32), np.full((2, 64), 127, np.uint32)
    nan[:, 3] = 255

    with np.errstate(all="ignore"):
        got = case.op.run(case.a, case.b, case.c, nan, one, cbsz=0, blgp=0, op_sel=0, op_sel_hi=0).view(np.float32)

    assert np.isnan(got[3, :, :16]).all()  # row 3 of the result lies in register 3 of the first 16 lanes
    assert not np.isnan(got[:3]).any()


def test_broadcast_one_block_of_a_is_used_for_others() -> None:
    case = _Case("gfx942", "v_mfma_f32_16x16x4_4b_f16")

    got = case.op.run(case.a, case.b, case.c, cbsz=1, abid=1)

    blocks = [1, 1, 3, 3]
    assert np.array_equal(got, case.expected(case.left[:, blocks] @ case.right.swapaxes(-1, -2)))


@pytest.mark.parametrize(
    ("blgp", "blocks"), [(1, [0, 1, 0, 1]), (2, [2, 3, 2, 3]), (3, [1, 2, 3, 0]), (6, [2, 2, 2, 2])]
)
def test_lane_groups_of_b_are_permuted(blgp: int, blocks: list[int]) -> None:
    case = _Case("gfx942", "v_mfma_f32_16x16x4_4b_f16")

    got = case.op.run(case.a, case.b, case.c, blgp=blgp)

    assert np.array_equal(got, case.expected(case.left @ case.right[:, blocks].swapaxes(-1, -2)))


def test_double_blgp_negates_operands() -> None:
    case = _Case("gfx942", "v_mfma_f64_16x16x4_f64")

    got = case.op.run(case.a, case.b, case.c, blgp=1)

    assert np.array_equal(got, case.expected(-(case.left @ case.right.swapaxes(-1, -2))))


def test_sums_are_rounded_once_and_subnormals_are_kept() -> None:
    case = _Case("gfx942", "v_mfma_f32_16x16x4_f32")
    tiny = np.full(case.a.shape, np.float32(2.0**-70).view(np.uint32), np.uint32)

    got = case.op.run(tiny, tiny, np.zeros_like(case.c)).view(np.float32)

    assert np.all(got == np.float32(4 * 2.0**-140))


def test_integer_sums_wrap_at_32_bits() -> None:
    case = _Case("gfx942", "v_mfma_i32_16x16x32_i8")
    most = np.full(case.c.shape, 0x7FFFFFFF, np.uint32)
    ones = np.full(case.a.shape, 0x01010101, np.uint32)

    got = case.op.run(ones, ones, most).view(np.int32)

    assert np.all(got == -(2**31) + 31)
