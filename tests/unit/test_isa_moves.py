"""Accumulation registers: what is moved there comes back, and leaves the vector registers alone."""

from __future__ import annotations

from typing import cast

import numpy as np

from gpumodel.isa import decode, program
from gpumodel.isa.context import Context
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
