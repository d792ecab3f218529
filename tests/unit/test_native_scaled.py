"""Matrix instructions of small formats, with scales and without, compiled to the host's code, beside NumPy's."""

from __future__ import annotations

import ctypes
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpumodel.isa.mfma import mfma
from gpumodel.isa.native.jit import Module
from gpumodel.isa.native.scaled import FORMATS, Form, lower
from tests.native_ops import needs_compiler

pytestmark = needs_compiler
Array = npt.NDArray[Any]
FORMS = [Form(m, a, b, None) for m, a, b in product((16, 32), range(5), range(5)) if a == b or (a + b) % 3 == 0]
FORMS += [Form(m, a, b, ((a + b) % 4, b % 4)) for m, a, b in product((16, 32), range(5), range(5))]


def _module(form: Form) -> Module:
    text, declared = lower(form)
    given = "ptr %v, i32 %a, i32 %b, i32 %c, i32 %d, ptr %sa, ptr %sb"
    caller = f"define void @run({given}) {{ call void @{form.name}({given}) ret void }}"
    return Module("\n".join([*sorted(declared), text, caller]))


def _run(form: Form, file: Array, places: tuple[int, ...], scales: tuple[Array, Array]) -> None:
    module = _module(form)
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    call = ctypes.CFUNCTYPE(None, pointer, *[number] * 4, pointer, pointer)(module.address("run"))
    call(file.ctypes.data, *places, *(one.ctypes.data for one in scales))


def _numpy(form: Form, file: Array, places: tuple[int, ...], scales: tuple[Array, Array]) -> Array:
    shape = form.shape
    start = "v_mfma_scale" if form.bytes else "v_mfma"
    op = mfma("gfx950")[f"{start}_f32_{shape.m}x{shape.n}x{shape.k}_f8f6f4"]
    a, b = (np.ascontiguousarray(file[place : place + 8, None]) for place in places[:2])
    c = file[places[2] : places[2] + op.nc, None] if places[2] >= 0 else np.zeros((op.nc, 1, 64), np.uint32)
    more: dict[str, int] = {}
    others: tuple[Array, ...] = ()
    if form.bytes:
        others = tuple(one[None] for one in scales)
        more = {
            "op_sel": sum((one & 1) << i for i, one in enumerate(form.bytes)),
            "op_sel_hi": sum((one >> 1) << i for i, one in enumerate(form.bytes)),
        }
    with np.errstate(all="ignore"):
        result: Array = op.run(a, b, c, *others, cbsz=form.left, blgp=form.right, **more)[:, 0]
    return result


def _file(seed: int) -> Array:
    """Codes of all formats; of those of eight bits few are NaN or infinite."""
    random = np.random.default_rng(seed)
    file = random.integers(0, 1 << 32, (64, 64), dtype=np.uint32)
    high = file & np.uint32(0x7C7C7C7C) == 0x7C7C7C7C
    file[:16] &= np.where(random.random((16, 64)) < 0.98, np.uint32(0xBFBFBFBF), np.uint32(0xFFFFFFFF))
    file[16:32] = (random.standard_normal((16, 64)) * 100).astype(np.float32).view(np.uint32)
    assert high.shape == file.shape
    return np.ascontiguousarray(file)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_matrix_of_small_formats_is_as_numpy_has_it(form: Form) -> None:
    file = _file(form.left + 5 * form.right)
    random = np.random.default_rng(form.m)
    scales = tuple(random.integers(0, 1 << 32, 64, dtype=np.uint32) for _ in range(2))
    scales = tuple(one & np.uint32(0x0F0F0F0F) | np.uint32(0x78787878) for one in scales)
    scales[0][5] = 0xFFFFFFFF
    assert len(scales) == 2
    places = (0, 8, 16, 32)
    expected = _numpy(form, file, places, scales)

    _run(form, file, places, scales)

    got, want = (one.view(np.float32) for one in (file[32 : 32 + len(expected)], np.ascontiguousarray(expected)))
    assert np.array_equal(np.isnan(got), np.isnan(want))
    assert not np.isnan(want).all()
    assert ((got.view(np.uint32) == want.view(np.uint32)) | np.isnan(want)).all()


def test_result_may_lie_where_the_operands_do_and_start_from_nothing() -> None:
    form = Form(16, FORMATS.index(FORMATS[4]), 2, (0, 3))
    file = _file(3)
    scales = (np.full(64, 0x7F, np.uint32), np.full(64, 0x80 << 24, np.uint32))
    places = (8, 10, -1, 9)
    expected = _numpy(form, file, places, scales)

    _run(form, file, places, scales)

    assert np.array_equal(file[9:13], expected)
