"""Matrix instructions: D = A * B + C on tiles that are spread over the 64 lanes of a wave; for all waves at once.

An operand is uint32[registers][waves][64]. Lane l of A holds row l % M of its block and a run of elements along K, B alike
with columns; C and D hold four rows of a column in four registers, the next rows in other lanes.
Sums are taken in float64 and rounded once: in which order hardware adds is not public, so results are to be compared with
tolerance. Subnormals are kept.
Source: AMD matrix instruction calculator (layouts of CDNA3); AMD CDNA3 and CDNA4 instruction set architecture manuals,
section 7 (restated). Of CDNA4 alone: runs of 16 along K where a lane has more than 16 elements of a byte, and scales of
32 elements. Sparse ones (v_smfmac): the calculator, and MLIR's amdgpu.sparse_mfma for cbsz and abid; those that only CDNA4
has are left out, as what is said of where their elements lie differs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from gpumodel.isa.fp8 import BF6, BF8_FNUZ, BF8_OCP, FP4, FP6, FP8_FNUZ, FP8_OCP, Small
from gpumodel.isa.op import Array, u32
from gpumodel.isa.packed import bf16_to_f32

LANES = 64
RUN = 16  # elements along K that stay together in a lane
BLOCK = 32  # elements along K that share a scale


@dataclass(frozen=True, slots=True)
class Element:
    """What a register of A or B holds: `decode` makes float64 of codes, uint32."""

    bits: int
    decode: Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Shape:
    m: int
    n: int
    k: int
    blocks: int


@dataclass(frozen=True)
class MfmaOp:
    """`run(a, b, c[, scale_a, scale_b], **{name: int for name in wants})` gives D, uint32[nd][waves][64].

    `na`, `nb`, `nc`, `nd`: registers of each operand. Scaled: two more operands uint32[waves][64], of which op_sel and
    op_sel_hi choose a byte; a float constant stands for its exponent field. Sparse: one more, the indices."""

    run: Callable[..., Array]
    na: int
    nb: int
    nc: int
    nd: int
    scaled: bool = False
    sparse: bool = False
    wants: tuple[str, ...] = field(default=("cbsz", "abid", "blgp"))


# --- elements ---


def _unpack(registers: Array, bits: int) -> Array:
    """uint32[n][waves][64] to codes [waves][64][elements], packed from the lowest bit on, across registers if need be."""
    words = np.moveaxis(registers, 0, -1)
    count = 32 * registers.shape[0] // bits
    if bits == 32:
        return words
    if bits in (8, 16):
        parts = np.ascontiguousarray(words).view(f"u{bits // 8}")
        return u32(parts)
    mask = np.uint32((1 << bits) - 1)
    codes = np.empty((*words.shape[:-1], count), np.uint32)
    for i in range(count):
        word, shift = divmod(i * bits, 32)
        code = words[..., word] >> np.uint32(shift)
        if shift + bits > 32:
            code |= words[..., word + 1] << np.uint32(32 - shift)
        codes[..., i] = code & mask
    return codes


def _unpack_f64(registers: Array) -> Array:
    words = np.ascontiguousarray(np.moveaxis(registers, 0, -1))
    return words.view(np.float64)


def _f32(codes: Array) -> Array:
    return codes.view(np.float32).astype(np.float64)


def _xf32(codes: Array) -> Array:
    """float32 with 10 bits of fraction."""  # guess: rounded to nearest even; the manual says reduced precision
    rounded = (codes + np.uint32(0xFFF) + ((codes >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    return _f32(np.where(np.isfinite(codes.view(np.float32)), rounded, codes))


def _f16(codes: Array) -> Array:
    return codes.astype(np.uint16).view(np.float16).astype(np.float64)


def _bf16(codes: Array) -> Array:
    return bf16_to_f32(codes).astype(np.float64)


def _i8(codes: Array) -> Array:
    return codes.astype(np.uint8).view(np.int8).astype(np.float64)


def _small(kind: Small) -> Element:
    values = kind.values.astype(np.float64)
    return Element(1 + kind.exponent + kind.fraction, lambda codes: values[codes])


_F64 = Element(64, _unpack_f64)
_PLAIN = {
    "f32": Element(32, _f32),
    "xf32": Element(32, _xf32),
    "f16": Element(16, _f16),
    "bf16": Element(16, _bf16),
    "i8": Element(8, _i8),
    "f64": _F64,
}
_OCP = [_small(kind) for kind in (FP8_OCP, BF8_OCP, FP6, BF6, FP4)]  # by the format code of cbsz and blgp
_FNUZ = [_small(kind) for kind in (FP8_FNUZ, BF8_FNUZ)]


# --- where elements lie ---


def _matrix(registers: Array, element: Element, size: int, shape: Shape) -> Array:
    """A (size = M) or the transpose of B (size = N): float64[waves][blocks][size][K]."""
    values = element.decode(registers if element is _F64 else _unpack(registers, element.bits))
    groups = LANES // (size * shape.blocks)  # lanes of one block that hold a row
    waves, each = values.shape[0], shape.k // groups
    run = RUN if each > RUN and element.bits >= 8 else each
    lanes = values[..., :each].reshape(waves, groups, shape.blocks, size, each // run, run)
    return lanes.transpose(0, 2, 3, 4, 1, 5).reshape(waves, shape.blocks, size, shape.k)


@dataclass(frozen=True, slots=True)
class Tiles:
    """How C and D lie: blocks = outer * side (side by side in the lanes), rows = high * groups * together."""

    outer: int
    side: int
    high: int
    groups: int
    together: int  # rows in registers that follow each other
    n: int

    @classmethod
    def of(cls, shape: Shape, wide: bool) -> Tiles:
        together = 1 if wide else 4
        groups = min(shape.m // together, LANES // shape.n)
        side = LANES // (groups * shape.n)
        return cls(shape.blocks // side, side, shape.m // (together * groups), groups, together, shape.n)

    def load(self, words: Array) -> Array:
        """[registers][waves][64] to [waves][blocks][M][N]."""
        waves = words.shape[1]
        parts = words.reshape(self.outer, self.high, self.together, waves, self.groups, self.side, self.n)
        rows = self.high * self.groups * self.together
        return parts.transpose(3, 0, 5, 1, 4, 2, 6).reshape(waves, self.outer * self.side, rows, self.n)

    def store(self, tiles: Array) -> Array:
        waves = tiles.shape[0]
        parts = tiles.reshape(waves, self.outer, self.side, self.high, self.groups, self.together, self.n)
        return parts.transpose(1, 3, 5, 0, 4, 2, 6).reshape(-1, waves, LANES)


# --- modifiers of A and B ---


def _broadcast_blocks(a: Array, cbsz: int, abid: int) -> Array:
    """Block `abid` of each 2**cbsz blocks of A is used for all of them."""
    if cbsz == 0:
        return a
    blocks = np.arange(a.shape[1])
    return a[:, (blocks >> cbsz << cbsz) + abid % (1 << cbsz)]


def _permuted_lanes(registers: Array, blgp: int) -> Array:
    """Lanes of B: 1, 2 one half to both; 3 turned by 16 lanes; 4 to 7 one quarter to all."""
    if blgp == 0:
        return registers
    lanes = np.arange(LANES)
    if blgp < 3:
        source = lanes % 32 + 32 * (blgp - 1)
    elif blgp == 3:
        source = (lanes + 16) % LANES
    else:
        source = lanes % 16 + 16 * (blgp - 4)
    return registers[..., source]


# --- the operations ---


def _plain(shape: Shape, a_element: Element, b_element: Element, integer: bool) -> Callable[..., Array]:
    tiles = Tiles.of(shape, wide=False)

    def run(a: Array, b: Array, c: Array, *, cbsz: int = 0, abid: int = 0, blgp: int = 0) -> Array:
        left = _broadcast_blocks(_matrix(a, a_element, shape.m, shape), cbsz, abid)
        right = _matrix(_permuted_lanes(b, blgp), b_element, shape.n, shape)
        product = left @ right.swapaxes(-1, -2)
        if integer:  # exact in float64
            return u32(tiles.store(product.astype(np.int64) + tiles.load(c.view(np.int32))))
        total = product + tiles.load(c.view(np.float32))
        return tiles.store(total.astype(np.float32)).view(np.uint32)

    return run


def _double(shape: Shape) -> Callable[..., Array]:
    """float64 operands take two registers; blgp negates A, B and C."""
    tiles = Tiles.of(shape, wide=True)

    def run(a: Array, b: Array, c: Array, *, cbsz: int = 0, abid: int = 0, blgp: int = 0) -> Array:
        left = _broadcast_blocks(_matrix(a, _F64, shape.m, shape), cbsz, abid)
        right = _matrix(b, _F64, shape.n, shape)
        start = tiles.load(np.moveaxis(_unpack_f64(c), -1, 0))
        left, right, start = (-x if blgp >> i & 1 else x for i, x in enumerate((left, right, start)))
        total = tiles.store(left @ right.swapaxes(-1, -2) + start)
        words = np.ascontiguousarray(total).view(np.uint32).reshape(*total.shape, 2)
        return words.transpose(0, 3, 1, 2).reshape(-1, *total.shape[1:])

    return run


def _scales(words: Array, byte: int, size: int, shape: Shape) -> Array:
    """Powers of two [waves][size][K / 32] of E8M0 codes; 255 is NaN."""
    codes = (words >> np.uint32(8 * byte)) & np.uint32(0xFF)
    powers = np.where(codes == 255, np.nan, np.ldexp(1.0, codes.astype(np.int32) - 127))
    return powers.reshape(-1, shape.k // BLOCK, size).swapaxes(1, 2)


def _scaled(shape: Shape, with_scales: bool) -> Callable[..., Array]:
    """cbsz and blgp name the formats of A and B: fp8, bf8, fp6, bf6, fp4. Every 32 elements along K have their own scale."""
    tiles = Tiles.of(shape, wide=False)
    parts = shape.k // BLOCK

    def read(registers: Array, code: int, size: int) -> Array:
        if code >= len(_OCP):
            raise ValueError(f"matrix format {code} is none of 0 fp8, 1 bf8, 2 fp6, 3 bf6, 4 fp4")
        return _matrix(registers[: _OCP[code].bits], _OCP[code], size, shape)[:, 0]

    def blocks(matrix: Array) -> Array:
        return matrix.reshape(*matrix.shape[:2], parts, BLOCK).swapaxes(1, 2)

    def run(
        a: Array,
        b: Array,
        c: Array,
        *scales: Array,
        cbsz: int,
        blgp: int,
        op_sel: int = 0,
        op_sel_hi: int = 0,
        abid: int = 1,
    ) -> Array:
        left, right = read(a, cbsz, shape.m), read(b, blgp, shape.n)
        if not (with_scales and abid & 1):
            product = left @ right.swapaxes(-1, -2)
        else:
            byte_a, byte_b = ((op_sel >> i & 1) | (op_sel_hi >> i & 1) << 1 for i in range(2))
            scale_a = _scales(scales[0], byte_a, shape.m, shape)
            scale_b = _scales(scales[1], byte_b, shape.n, shape)
            dots = blocks(left) @ blocks(right).swapaxes(-1, -2)  # [waves][K / 32][M][N]
            factors = scale_a.swapaxes(1, 2)[..., :, None] * scale_b.swapaxes(1, 2)[..., None, :]
            product = (dots * factors).sum(axis=1)
        total = product[:, None] + tiles.load(c.view(np.float32))
        return tiles.store(total.astype(np.float32)).view(np.uint32)

    return run


def _sparse(shape: Shape, a_element: Element, b_element: Element, integer: bool) -> Callable[..., Array]:
    """Of four elements along K, A has two: two bits each of the index say which. Those of a lane belong to those of B in the
    lanes that hold the same part of K, so that where that part lies in K makes no difference."""
    tiles = Tiles.of(shape, wide=False)
    groups = LANES // shape.m
    each = shape.k // groups  # elements of B in a lane
    sets = 32 // each  # of indices in a register
    four = 4 * (np.arange(each // 2) // 2)

    def run(a: Array, b: Array, c: Array, index: Array, *, cbsz: int = 0, abid: int = 0) -> Array:
        waves = a.shape[1]
        left = a_element.decode(_unpack(a, a_element.bits)).reshape(waves, groups, shape.m, each // 2)
        right = b_element.decode(_unpack(b, b_element.bits)).reshape(waves, groups, shape.n, each)
        first = 0 if cbsz else each * (abid % sets)
        bits = (first + 2 * np.arange(each // 2)).astype(np.uint32)
        chosen = four + (index[..., None] >> bits & np.uint32(3)).astype(np.int64)
        chosen = chosen.reshape(waves, groups, shape.m, 1, each // 2)
        product = np.zeros((waves, shape.m, shape.n))
        for group in range(groups):
            picked = np.take_along_axis(right[:, group, None], chosen[:, group], axis=3)  # [waves][M][N][elements of A]
            product += (left[:, group, :, None] * picked).sum(axis=3)
        if integer:
            return u32(tiles.store(product[:, None].astype(np.int64) + tiles.load(c.view(np.int32))))
        total = product[:, None] + tiles.load(c.view(np.float32))
        return tiles.store(total.astype(np.float32)).view(np.uint32)

    return run


_NAME = re.compile(
    r"v_s?mfmac?_(?P<out>f32|i32|f64)_(?P<m>\d+)x(?P<n>\d+)x(?P<k>\d+)(?:_(?P<blocks>\d+)b)?_(?P<types>\w+)"
)
_COMMON = """
    v_mfma_f32_32x32x1_2b_f32 v_mfma_f32_16x16x1_4b_f32 v_mfma_f32_4x4x1_16b_f32 v_mfma_f32_32x32x2_f32 v_mfma_f32_16x16x4_f32
    v_mfma_f32_32x32x4_2b_f16 v_mfma_f32_16x16x4_4b_f16 v_mfma_f32_4x4x4_16b_f16 v_mfma_f32_32x32x8_f16 v_mfma_f32_16x16x16_f16
    v_mfma_f32_32x32x4_2b_bf16 v_mfma_f32_16x16x4_4b_bf16 v_mfma_f32_4x4x4_16b_bf16 v_mfma_f32_32x32x8_bf16
    v_mfma_f32_16x16x16_bf16 v_mfma_i32_32x32x4_2b_i8 v_mfma_i32_16x16x4_4b_i8 v_mfma_i32_4x4x4_16b_i8 v_mfma_i32_32x32x16_i8
    v_mfma_i32_16x16x32_i8 v_mfma_f64_16x16x4_f64 v_mfma_f64_4x4x4_4b_f64
"""
_FP8 = [
    f"v_mfma_f32_{shape}_{a}_{b}" for shape in ("16x16x32", "32x32x16") for a in ("fp8", "bf8") for b in ("fp8", "bf8")
]
_SPARSE = [
    *(f"v_smfmac_f32_{shape}_{kind}" for shape in ("16x16x32", "32x32x16") for kind in ("f16", "bf16")),
    *(f"v_smfmac_i32_{shape}_i8" for shape in ("16x16x64", "32x32x32")),
]
_SPARSE_FP8 = [
    f"v_smfmac_f32_{shape}_{a}_{b}"
    for shape in ("16x16x64", "32x32x32")
    for a in ("fp8", "bf8")
    for b in ("fp8", "bf8")
]
_ONLY_GFX942 = "v_mfma_f32_16x16x8_xf32 v_mfma_f32_32x32x4_xf32"
_ONLY_GFX950 = """
    v_mfma_f32_16x16x32_f16 v_mfma_f32_32x32x16_f16 v_mfma_f32_16x16x32_bf16 v_mfma_f32_32x32x16_bf16
    v_mfma_i32_16x16x64_i8 v_mfma_i32_32x32x32_i8
"""


def described(name: str) -> tuple[Shape, str, list[str]]:
    """What a name says: the shape, the type of results, the type of A and B or of each."""
    match = _NAME.fullmatch(name)
    assert match is not None, name
    shape = Shape(int(match["m"]), int(match["n"]), int(match["k"]), int(match["blocks"] or 1))
    return shape, match["out"], match["types"].split("_")


def _operation(name: str, small: list[Element]) -> MfmaOp:
    shape, out, kinds = described(name)
    by_name = {**_PLAIN, "fp8": small[0], "bf8": small[1]}
    left, right = by_name[kinds[0]], by_name[kinds[-1]]
    size = left.bits * shape.m * shape.k * shape.blocks // (32 * LANES)
    results = shape.m * shape.n * shape.blocks // LANES * (2 if out == "f64" else 1)
    if name.startswith("v_smfmac"):
        sparse = _sparse(shape, left, right, out == "i32")
        return MfmaOp(sparse, size // 2, size, results, results, sparse=True, wants=("cbsz", "abid"))
    run: Any = _double(shape) if out == "f64" else _plain(shape, left, right, out == "i32")
    return MfmaOp(run, size, size, results, results)


def _f8f6f4() -> dict[str, MfmaOp]:
    table = {}
    for shape in (Shape(16, 16, 128, 1), Shape(32, 32, 64, 1)):
        name, results = f"f32_{shape.m}x{shape.n}x{shape.k}_f8f6f4", shape.m * shape.n // LANES
        table[f"v_mfma_{name}"] = MfmaOp(_scaled(shape, False), 8, 8, results, results, wants=("cbsz", "blgp"))
        wants = ("cbsz", "blgp", "op_sel", "op_sel_hi")
        table[f"v_mfma_scale_{name}"] = MfmaOp(_scaled(shape, True), 8, 8, results, results, scaled=True, wants=wants)
    return table


MFMA: dict[str, MfmaOp] = {name: _operation(name, _OCP) for name in [*_COMMON.split(), *_SPARSE]}
MFMA_GFX942: dict[str, MfmaOp] = {
    name: _operation(name, _FNUZ) for name in [*_FP8, *_SPARSE_FP8, *_ONLY_GFX942.split()]
}
MFMA_GFX950: dict[str, MfmaOp] = {
    **{name: _operation(name, _OCP) for name in [*_FP8, *_SPARSE_FP8, *_ONLY_GFX950.split()]},
    **_f8f6f4(),
}


@lru_cache(maxsize=2)
def mfma(target: str) -> dict[str, MfmaOp]:
    """The table of "gfx942" or "gfx950"; KeyError for another."""
    return {**MFMA, **{"gfx942": MFMA_GFX942, "gfx950": MFMA_GFX950}[target]}
