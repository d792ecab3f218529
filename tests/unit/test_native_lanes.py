"""What lanes have of each other, clamp, two accesses to LDS, atomics, and matrices with scales, in compiled kernels beside
interpreted ones: registers, masks, LDS and memory are the same afterwards, and nothing was left to the interpreter."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpumodel.dispatch import Dispatch, Outcome
from gpumodel.isa import decode, launch, program
from gpumodel.isa.native import engine
from tests import isa_code
from tests.native_ops import needs_compiler

pytestmark = needs_compiler
Array = npt.NDArray[Any]

PAGE = 4096
CODE, ARGUMENTS, OUT, IN = 0x1000, 0x3000, 0x10000, 0x20000
VGPR, SGPR, LANES = 256, 0, 64
ALL = (1 << LANES) - 1
SOME = 0xF0F3_5A01_FFFF_0FF7
BOTH = {"row_mask": 15, "bank_mask": 15}


class Memory:
    """One piece of bytes from the code on."""

    def __init__(self) -> None:
        self.bytes = bytearray(0x30000)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.bytes[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        self.bytes[address : address + len(data)] = data


def encoded(name: str, target: str, encoding: str = "", /, **fields: int) -> bytes:
    """An instruction by the fields of its row; what is not named is 0."""
    rows = (row for row in decode.rows(target) if row.name == name and row.encoding == encoding)
    row = next(row for row in rows if _has(row, fields))
    word = row.value
    for field in row.fields:
        word |= (fields.get(field.name, 0) >> field.first & (1 << field.width) - 1) << field.at
    assert decode.decode(target, word).name == name
    return word.to_bytes(row.size, "little")


def _has(row: decode.Row, fields: dict[str, int]) -> bool:
    return set(fields) <= {field.name for field in row.fields}


def _data(seed: int) -> bytes:
    """Registers v8 to v23 of each lane: small addresses of dwords, of pairs, numbers of lanes, any bits, floats."""
    random = np.random.default_rng(seed)
    words = random.integers(0, 1 << 32, (LANES, 16), dtype=np.uint32)
    words[:, 0] = 4 * random.integers(0, 240, LANES)
    words[:, 1] = 8 * random.integers(0, 24, LANES)  # often the same
    words[:, 2] = random.integers(0, 256, LANES)
    words[:, 4:8] = (random.standard_normal((LANES, 4)) * 8).astype(np.float32).view(np.uint32)
    words[:, 8:10] = random.choice(
        np.array([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x80007FFF], np.uint32), (LANES, 2)
    )
    words[::3, 10] = words[::3, 12]
    return words.tobytes()


def run(
    code: bytes, target: str, how: str, patch: pytest.MonkeyPatch, *, on: int = ALL, threads: int = LANES
) -> tuple[bytes, Outcome, list[str]]:
    """Memory behind the arguments after a kernel of these instructions; which of them the interpreter ran."""
    patch.setenv("GPUMEND_KERNELS", how)
    memory = Memory()
    whole = isa_code.code("tried_before", target) + code + isa_code.code("tried_behind", target)
    memory.write(CODE, whole)
    memory.write(ARGUMENTS, struct.pack("<QQ", OUT, IN))
    memory.write(IN, _data(1))
    memory.write(IN + 0x1000, struct.pack("<QQQQ", on, 0, 0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321))
    one = Dispatch(
        0,
        8,
        CODE,
        ARGUMENTS,
        (ARGUMENTS, 0),
        (1, 1, 1),
        (threads, 1, 1),
        memory,
        resources=(0, 2 << 1, 0),
        lds_bytes=1024,
    )
    left: list[str] = []
    if how == "compiled":
        step = program.Program.step

        first = CODE + len(isa_code.code("tried_before", target))

        def seen(self: program.Program, pc: int) -> program.Step:
            found = step(self, pc)
            tried = found.run is not None and first <= pc < first + len(code)
            return replace(found, run=lambda waves: noted(found, waves)) if tried else found

        def noted(found: program.Step, waves: Any) -> None:
            left.append(found.instruction.name)
            assert found.run is not None
            found.run(waves)

        patch.setattr(program.Program, "step", seen)
    launch.run(one, target, lambda text: None)
    if how == "compiled":
        patch.setattr(program.Program, "step", step)
        known = engine._kernels[target, CODE]
        assert known.kernel is not None, known.why_not
    return memory.read(OUT, 0x20000), one.outcome, left


def same(code: bytes, target: str, patch: pytest.MonkeyPatch, *, without: tuple[str, ...] = (), **more: int) -> Array:
    """The registers v8 to v31 of each lane, as both have them. `without`: what is left to the interpreter."""
    expected, outcome, _ = run(code, target, "interpreted", patch, **more)
    got, also, left = run(code, target, "compiled", patch, **more)
    assert outcome is also is Outcome.DONE
    assert left == list(without)
    words = np.frombuffer(got, np.uint32)
    wrong = np.flatnonzero(words != np.frombuffer(expected, np.uint32))
    assert wrong.tolist() == []
    return words[: 32 * LANES].reshape(LANES, 32)


CONTROLS = {
    "quad": 0x1B, "shl": 0x103, "shr": 0x11F, "ror": 0x125, "bcast": 0x157, "wave_shl": 0x130, "wave_rol": 0x134,
    "wave_shr": 0x138, "wave_ror": 0x13C, "mirror": 0x140, "half_mirror": 0x141, "bcast15": 0x142, "bcast31": 0x143,
}  # fmt: skip


@pytest.mark.parametrize("on", [ALL, SOME])
@pytest.mark.parametrize("bound", [0, 1])
@pytest.mark.parametrize("control", CONTROLS)
def test_dpp_moves(control: str, bound: int, on: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"dpp_ctrl": CONTROLS[control], "bound_ctrl": bound}
    code = b"".join(
        encoded("v_mov_b32", "gfx950", "dpp", vdst=vdst, src0=src0, **fields, row_mask=rows, bank_mask=banks)
        for vdst, src0, rows, banks in ((8, 9, 15, 15), (10, 11, 10, 15), (12, 13, 15, 6), (14, 14, 15, 15))
    )
    same(code, "gfx950", monkeypatch, on=on)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("v_add_f32", {"src1": 13, "src0_modifiers": 1}),
        ("v_add_f32", {"src1": 13, "src0_modifiers": 3, "src1_modifiers": 1}),
        ("v_add_u32", {"src1": 12}),
        ("v_fmac_f32", {"src1": 13}),
        ("v_max_u16", {"src1": 13}),
        ("v_cndmask_b32", {"src1": 13}),
        ("v_addc_co_u32", {"src1": 13}),
        ("v_cvt_f16_f32", {}),
    ],
)
@pytest.mark.parametrize("control", ["shr", "quad"])
@pytest.mark.parametrize("target", isa_code.TARGETS)
def test_dpp_of_operations(
    target: str, name: str, fields: dict[str, int], control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"vdst": 14, "src0": 12, "dpp_ctrl": CONTROLS[control], **BOTH, **fields}
    same(encoded(name, target, "dpp", **both), target, monkeypatch, on=SOME)


def test_dpp_that_reads_what_it_wrote_and_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a sum of a row is compiled."""
    code = b""
    for control in (0x111, 0x112, 0x114, 0x118, 0x142, 0x143):
        rows = 15 if control < 0x140 else 10 if control == 0x142 else 12
        code += encoded(
            "v_add_u32", "gfx950", "dpp", vdst=11, src0=11, src1=11, dpp_ctrl=control, row_mask=rows, bank_mask=15
        )
        code += encoded("v_xor_b32", "gfx950", "e32", vdst=12, src0=VGPR + 11, src1=12)
    same(code, "gfx950", monkeypatch)


@pytest.mark.parametrize("threads", [64, 40])
@pytest.mark.parametrize(("source", "start"), [(SGPR + 16, VGPR + 11), (VGPR + 11, 128 + 3), (193, 128)])
def test_mbcnt(source: int, start: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    code = encoded("v_mbcnt_lo_u32_b32", "gfx950", "e64", vdst=8, src0=source, src1=start)
    code += encoded("v_mbcnt_hi_u32_b32", "gfx950", "e64", vdst=9, src0=source, src1=VGPR + 8)
    rows = same(code, "gfx950", monkeypatch, on=(1 << threads) - 1, threads=threads)
    if source == 193:
        assert rows[:threads, 1].tolist() == list(range(threads))


@pytest.mark.parametrize("on", [ALL, SOME])
@pytest.mark.parametrize("name", ["ds_bpermute_b32", "ds_permute_b32"])
@pytest.mark.parametrize(("vdst", "data0"), [(13, 12), (12, 12), (10, 12)])
def test_lanes_that_name_each_other(name: str, vdst: int, data0: int, on: int, monkeypatch: pytest.MonkeyPatch) -> None:
    code = encoded(name, "gfx950", vdst=vdst, addr=10, data0=data0, offset=8)
    same(code, "gfx950", monkeypatch, on=on)


@pytest.mark.parametrize("on", [ALL, SOME])
@pytest.mark.parametrize("pattern", [0x801B, 0x041F, 0x7C1F, 0x0210, 0x2C0A])
def test_swizzle(pattern: int, on: int, monkeypatch: pytest.MonkeyPatch) -> None:
    code = encoded("ds_swizzle_b32", "gfx950", vdst=12, addr=12, offset=pattern)
    code += encoded("ds_swizzle_b32", "gfx950", vdst=13, addr=11, offset=pattern)
    same(code, "gfx950", monkeypatch, on=on)


@pytest.mark.parametrize("width", [16, 32])
def test_rows_are_swapped(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    code = encoded(f"v_permlane{width}_swap_b32", "gfx950", "e32", vdst=12, src0=VGPR + 13)
    same(code, "gfx950", monkeypatch)


SATURATING = [f"v_{what}_{kind}" for what in ("add", "sub") for kind in ("u32", "u16", "i32", "i16")]


@pytest.mark.parametrize("name", [*SATURATING, "v_subrev_u32", "v_subrev_u16"])
def test_integers_with_clamp(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = b"".join(
        encoded(name, "gfx950", "" if "_i" in name else "e64", vdst=vdst, src0=VGPR + a, src1=VGPR + b, clamp=1)
        for vdst, a, b in ((12, 16, 17), (13, 9, 17), (14, 11, 16))
    )
    same(code, "gfx950", monkeypatch)


@pytest.mark.parametrize("name", ["v_pk_add_u16", "v_pk_sub_u16", "v_pk_add_i16", "v_pk_sub_i16"])
def test_packed_integers_with_clamp(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modifiers = {"src0_modifiers": 8, "src1_modifiers": 8}
    code = encoded(name, "gfx950", vdst=12, src0=VGPR + 16, src1=VGPR + 17, clamp=1, **modifiers)
    code += encoded(name, "gfx950", vdst=13, src0=VGPR + 11, src1=VGPR + 17, clamp=1, **modifiers)
    same(code, "gfx950", monkeypatch)


@pytest.mark.parametrize("on", [ALL, SOME])
@pytest.mark.parametrize("name", ["ds_read2_b32", "ds_read2_b64", "ds_read2st64_b32"])
@pytest.mark.parametrize("vdst", [12, 9, 8, 7, 6])
def test_two_reads_of_lds(name: str, vdst: int, on: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when what is loaded first, or second, is the address."""
    code = encoded(name, "gfx950", vdst=vdst, addr=9, offset0=1, offset1=2)
    if vdst >= 10:
        code = encoded(name, "gfx950", vdst=vdst + 4, addr=9, offset0=3, offset1=0) + code
    code += b"".join(encoded("v_mov_b32", "gfx950", "e32", vdst=20 + n, src0=VGPR + 4 + n) for n in range(4))
    same(code, "gfx950", monkeypatch, on=on)


@pytest.mark.parametrize("name", ["ds_write2_b32", "ds_write2_b64", "ds_write2st64_b32"])
def test_two_writes_to_lds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = encoded(name, "gfx950", addr=9, data0=12, data1=14, offset0=2, offset1=1)
    same(code, "gfx950", monkeypatch, on=SOME)


def test_second_read_beyond_lds_stops_the_kernel_as_it_does_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    code = encoded("ds_read2_b32", "gfx950", vdst=12, addr=9, offset0=0, offset1=255)
    assert run(code, "gfx950", "compiled", monkeypatch)[1] is run(code, "gfx950", "interpreted", monkeypatch)[1]
    assert run(code, "gfx950", "compiled", monkeypatch)[1] is Outcome.FAULTED


WORDS = ("add", "sub", "smin", "umin", "smax", "umax", "and", "or", "xor", "inc", "dec", "swap", "cmpswap")
GLOBAL = [f"global_atomic_{what}{wide}" for what in WORDS for wide in ("", "_x2")]
GLOBAL += ["global_atomic_add_f32", "global_atomic_add_f64"]
SHARED = [
    *(f"{what}_u{bits}" for what in ("add", "sub", "rsub", "inc", "dec", "min", "max") for bits in (32, 64)),
    *(f"{what}_b{bits}" for what in ("and", "or", "xor") for bits in (32, 64)),
    *("min_i32", "max_i64", "add_f32", "add_f64"),
]


@pytest.mark.parametrize("on", [ALL, SOME])
@pytest.mark.parametrize("name", GLOBAL)
def test_atomics_of_memory(name: str, on: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without what was there; and again, as the first write to a page is the interpreter's."""
    row = [row for row in decode.rows("gfx950") if row.name == name]
    assert any(_has(one, {"vdst": 0, "saddr": 0}) for one in row)
    code = encoded(name, "gfx950", vdst=20, vaddr=9, vdata=16, saddr=6, offset=0x800)
    quiet = [one for one in row if _has(one, {"saddr": 0}) and not _has(one, {"vdst": 0})]
    if quiet:
        word = quiet[0].value
        for field in quiet[0].fields:
            value = {"vaddr": 8 if not name.endswith(("x2", "f64")) else 9, "vdata": 12, "saddr": 4, "offset": 0x400}
            word |= (value.get(field.name, 0) >> field.first & (1 << field.width) - 1) << field.at
        code += word.to_bytes(quiet[0].size, "little")
    same(code + code, "gfx950", monkeypatch, on=on, without=(name, name))


@pytest.mark.parametrize("name", [*SHARED, *(f"{one}_b{bits}" for one in ("wrxchg", "cmpst") for bits in (32, 64))])
def test_atomics_of_lds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    what, _, kind = name.rpartition("_")
    more = {"data1": 18} if what == "cmpst" else {}
    code = encoded(f"ds_{what}_rtn_{kind}", "gfx950", vdst=20, addr=9, data0=16, offset=8, **more)
    if what != "wrxchg":
        code += encoded(f"ds_{what}_{kind}", "gfx950", addr=9, data0=12, **more)
    same(code, "gfx950", monkeypatch, on=SOME)


@pytest.mark.parametrize("op_sel", [0, 4])
def test_scaled_matrix(op_sel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fp4; the lowest byte of v8 and v9 is no NaN, the next one of v8 is 0 to 3."""
    scales = {"scale_src0": VGPR + 8, "scale_src1": VGPR + 9, "src0_modifiers": op_sel}
    operands = {"vdst": 20, "src0": VGPR + 16, "src1": VGPR + 8, "src2": VGPR + 12}
    code = encoded("v_mfma_scale_f32_16x16x128_f8f6f4", "gfx950", cbsz=4, blgp=4, **operands, **scales)
    same(code, "gfx950", monkeypatch)


def test_matrix_of_small_formats_without_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    operands = {"vdst": 20, "src0": VGPR + 8, "src1": VGPR + 14, "src2": 128}
    code = encoded("v_mfma_f32_16x16x128_f8f6f4", "gfx950", cbsz=2, blgp=3, **operands)
    same(code, "gfx950", monkeypatch)


INTO_LDS = {"dword": 1, "dwordx3": 3, "dwordx4": 4, "ubyte": 1, "sshort": 1}


@pytest.mark.parametrize("on", [ALL, SOME])
@pytest.mark.parametrize("what", INTO_LDS)
def test_loads_into_lds(what: str, on: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the addresses of v8, to M0 and on: LDS holds it, and v20 to v23 of each lane around it."""
    name, dwords, offset = f"global_load_lds_{what}", INTO_LDS[what], 8
    code = (0xBEFC00FF | 0x20 << 32).to_bytes(8, "little")  # s_mov_b32 m0, 0x20
    if dwords * 4 * LANES > 1024 - 0x28:
        on &= (1 << 48) - 1  # LDS has room for so many
    code += encoded(name, "gfx950", vaddr=8, saddr=6, offset=offset)
    rows = same(code, "gfx950", monkeypatch, on=on, without=(name,))

    data = np.frombuffer(_data(1) + bytes(4096), np.uint8)
    words = np.frombuffer(_data(1), np.uint32).reshape(LANES, 16)
    lds = np.ascontiguousarray(words[:, 12:16]).reshape(-1).copy()
    kind = {"ubyte": "u1", "sshort": "i2"}.get(what, "u4")
    for lane in range(LANES):
        if on >> lane & 1:
            first = int(words[lane, 0]) + offset
            value = data[first : first + np.dtype(kind).itemsize * dwords].view(kind).astype(np.int64).astype(np.uint32)
            place = (0x20 + offset + 4 * dwords * lane) // 4
            lds[place : place + dwords] = value
    assert np.array_equal(rows[:, 16:20].reshape(-1), lds)


def resource(records: int, base: int = IN, stride: int = 0, m0: int = 0) -> bytes:
    """s[20:23]: a buffer of raw data."""
    given = (20, base), (21, stride << 16), (22, records), (23, 0x27000), (124, m0)
    return b"".join(
        (0xBE800000 | register << 16 | 0xFF | value << 32).to_bytes(8, "little") for register, value in given
    )


def buffered(name: str, *, lds: int = 0, soffset: int = 128, **fields: int) -> bytes:
    """With an offset in a VGPR if `vaddr` is named."""
    kind = 1 if "vaddr" in fields else 0
    rows = [row for row in decode.rows("gfx950") if row.name == name and row.value >> 12 & 3 == kind]
    row = next(row for row in rows if row.value >> 16 & 1 == lds)
    word = row.value
    for field in row.fields:
        value = {"srsrc": 20, "soffset": soffset, **fields}.get(field.name, 0)
        word |= (value >> field.first & (1 << field.width) - 1) << field.at
    return word.to_bytes(row.size, "little")


@pytest.mark.parametrize("on", [ALL, SOME])
@pytest.mark.parametrize("records", [100, 4096, 0])
def test_buffers(records: int, on: int, monkeypatch: pytest.MonkeyPatch) -> None:
    code = resource(records)
    for what, vdata in (("dword", 20), ("dwordx4", 12), ("ubyte", 21), ("sshort", 22)):
        code += buffered(f"buffer_load_{what}", vaddr=9, vdata=vdata, offset=4)
    code += buffered("buffer_load_dwordx2", vdata=16, soffset=128 + 8, offset=24)
    code += buffered("buffer_load_dword", vaddr=8, vdata=8)  # the offset is what is loaded
    code += resource(records, OUT + 0x8000)
    for what, vdata in (("dword", 12), ("dwordx2", 14), ("byte", 16), ("short", 17)):
        code += buffered(f"buffer_store_{what}", vaddr=9, vdata=vdata, soffset=128 + 16)
    code += buffered("buffer_store_dword", vaddr=9, vdata=13, soffset=128 + 32)
    first = ("buffer_store_dword",) if records else ()  # to a page is the interpreter's
    same(code, "gfx950", monkeypatch, on=on, without=first)


def test_halves_of_buffers_within_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    code = resource(4096) + buffered("buffer_load_short_d16_hi", vaddr=9, vdata=20)
    same(code + buffered("buffer_load_ubyte_d16", vaddr=9, vdata=21), "gfx950", monkeypatch, on=SOME)


@pytest.mark.parametrize(("records", "stride"), [(8, 16), (40, 8)])
def test_buffers_with_a_stride_and_halves_beyond_are_the_interpreters(
    records: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = resource(records, stride=stride) + buffered("buffer_load_dword", vaddr=9, vdata=20)
    code += resource(records) + buffered("buffer_load_short_d16", vaddr=9, vdata=16)
    same(code, "gfx950", monkeypatch, without=("buffer_load_dword", "buffer_load_short_d16"))


def test_buffer_loads_into_lds_write_zeros_beyond_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lane reads where v9 says; the buffer ends after 64 bytes."""
    code = resource(64, m0=0)
    code += buffered("buffer_load_dword", vaddr=9, lds=1)
    rows = same(code, "gfx950", monkeypatch, without=("buffer_load_dword",))
    words = np.frombuffer(_data(1), np.uint32)
    at = words.reshape(LANES, 16)[:, 1]
    expected = np.where(at + 4 <= 64, words[at // 4], 0)
    assert np.array_equal(rows[:16, 16:20].reshape(-1), expected)
    assert 0 < np.count_nonzero(at + 4 <= 64) < LANES
