"""What moves values between registers, lanes and LDS, instruction by instruction."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from gpumodel.isa import decode, program
from gpumodel.isa.context import Context
from gpumodel.isa.local import LocalMemory
from gpumodel.isa.memory import WaveMemory
from gpumodel.isa.stop import NotModelled
from gpumodel.isa.waves import Waves

WAVES, LANES = 3, 64
TARGET = "gfx950"


def _run(waves: Waves, name: str, vdst: int, source: int) -> None:
    """One instruction whose source field holds a register of either file, as the row of the table has it."""
    row = next(row for row in decode.rows(TARGET) if row.name == name)
    word = row.value
    for field in row.fields:
        value = vdst if field.name == "vdst" else source | 0x100 if field.name == "src0" else 0
        word |= (value >> field.first & (1 << field.width) - 1) << field.at
    step = program.bind(TARGET, word)
    assert step.run is not None
    step.run(waves)


def test_accumulation_registers_are_written_moved_and_read() -> None:
    waves = Waves(cast(Context, None), WAVES, LANES, np.arange(WAVES), np.arange(WAVES), np.ones((WAVES, LANES), bool))
    values = np.arange(WAVES * LANES, dtype=np.uint32).reshape(WAVES, LANES)
    waves.set_v(5, values)
    waves.set_v(7, values + np.uint32(1000))

    _run(waves, "v_accvgpr_write_b32", vdst=7, source=5)
    _run(waves, "v_accvgpr_mov_b32", vdst=9, source=7)
    _run(waves, "v_accvgpr_read_b32", vdst=8, source=9)

    assert np.array_equal(waves.v(256 + 7), values)
    assert np.array_equal(waves.v(256 + 9), values)
    assert np.array_equal(waves.v(8), values)
    assert np.array_equal(waves.v(7), values + np.uint32(1000))


def _word(name: str, **values: int) -> int:
    """An instruction with those fields."""
    row = next(row for row in decode.rows(TARGET) if row.name == name)
    word = row.value
    for field in row.fields:
        word |= (values.get(field.name, 0) >> field.first & (1 << field.width) - 1) << field.at
    return word


def _with_lds(data: bytes) -> Waves:
    lds = LocalMemory("LDS", 1, len(data))
    lds.store_small(
        np.zeros(len(data), np.int64), np.arange(len(data)), np.frombuffer(data, np.uint8).astype(np.uint32), 1
    )
    none = cast(WaveMemory, None)
    context = Context(none, lds, LocalMemory("scratch", 1, 0), lambda: 0)
    one = np.zeros(1, np.int64)
    return Waves(context, 1, LANES, one, one, np.ones((1, LANES), bool))


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_transposed_read_gives_each_of_16_lanes_a_column(bits: int) -> None:
    rows = 64 // bits
    values = np.random.default_rng(bits).integers(0, 1 << bits, (4, rows, 16))  # a tile for each 16 lanes
    packed = [sum(int(x) << bits * i for i, x in enumerate(row)) for tile in values for row in tile]
    data = b"".join(number.to_bytes(2 * bits, "little") for number in packed)
    waves = _with_lds(data)
    lane = np.arange(LANES)
    # the lanes of a tile follow its memory, eight bytes each; the offset of the instruction stands for the first of them
    waves.set_v(1, (8 * lane - 8).astype(np.uint32).reshape(1, -1))
    step = program.bind(TARGET, _word(f"ds_read_b64_tr_b{bits}", vdst=2, addr=1, offset=8))
    assert step.run is not None

    step.run(waves)

    got = waves.v64(2)[0].tolist()
    column = [values[one // 16, :, one % 16] for one in range(LANES)]
    assert got == [sum(int(x) << bits * i for i, x in enumerate(each)) for each in column]


def test_transposed_read_with_a_lane_off_is_not_guessed() -> None:
    waves = _with_lds(bytes(512))
    waves.set_mask(126, np.arange(LANES).reshape(1, -1) != 5)
    step = program.bind(TARGET, _word("ds_read_b64_tr_b16", vdst=2, addr=1))
    assert step.run is not None
    with pytest.raises(NotModelled, match="lanes that are off"):
        step.run(waves)
