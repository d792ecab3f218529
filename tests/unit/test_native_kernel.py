"""Compiled kernels do what the interpreter does: random ones (tests/fuzz has many more), and the corners one by one."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from gpumodel.dispatch import Dispatch, Outcome
from gpumodel.isa import launch
from gpumodel.isa.memory import PAGE
from gpumodel.isa.native import engine
from tests.fuzz.fuzz_kernels import CODE, Ending, Last, Memory, Missing, Tally, compare, judge
from tests.fuzz.kernel_programs import (
    EDGE,
    ENTRY,
    EXEC,
    OFFSET,
    OWN,
    SHARED,
    VCC,
    WIDE,
    Across,
    Item,
    Kernel,
    Loop,
    Plain,
    make,
)
from tests.isa_code import TARGETS
from tests.native_ops import needs_compiler

TARGET = "gfx942"

pytestmark = needs_compiler


def one(name: str, encoding: str = "", literal: int | None = None, **fields: int) -> Plain:
    return Plain(make(TARGET, name, encoding, literal, **fields))


def both(*items: Item, **settings: object) -> Ending:
    """What the interpreter and compiled code agree on."""
    kernel = Kernel(TARGET, items, **settings)  # type: ignore[arg-type]
    found, ended = compare(kernel)
    assert not found, "\n".join([*found, kernel.listing()])
    assert ended.compiled
    return ended


def wave(*items: Item, number: int = 0, **settings: object) -> Last:
    return both(*items, **settings).waves[number]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("part", range(4))
def test_random_kernels_do_the_same_both_ways(target: str, part: int) -> None:
    tally = Tally()
    for seed in (1, 2):
        judge(target, 1000 * part + seed, tally)
    assert tally.compiled == tally.cases == 2


# ---- scalars and the segment that is open


def test_scalar_that_an_open_segment_reads_is_not_written_before_it() -> None:
    last = wave(
        one("s_movk_i32", sdst=8, simm16=1),
        one("v_mov_b32", "e32", src0=8, vdst=1),
        one("s_movk_i32", sdst=8, simm16=2),
        one("v_mov_b32", "e32", src0=8, vdst=2),
        one("s_add_u32", src0=8, src1=8, sdst=8),
        one("v_mov_b32", "e32", src0=8, vdst=3),
    )
    assert [int(last.vgprs[index, 5]) for index in (1, 2, 3)] == [1, 2, 4]


def test_scalar_reads_what_an_open_segment_compares() -> None:
    last = wave(
        one("v_cmp_eq_u32", "e32", src0=256 + SHARED, src1=SHARED),
        one("s_mov_b64", src0=VCC, sdst=8),
        one("v_cmp_ne_u32", "e32", src0=256 + SHARED, src1=SHARED),
        one("s_not_b64", src0=VCC, sdst=10),
        lanes=20,
    )
    assert last.sgprs[8:12] == [0xFFFFF, 0, 0xFFFFFFFF, 0xFFFFFFFF]


@pytest.mark.parametrize("pairs", [(8, 9), (9, 8), (10, 10), (9, 11), (106, 8)])
def test_carry_goes_from_one_pair_to_another_that_may_share_a_register(pairs: tuple[int, int]) -> None:
    read, written = pairs
    last = wave(
        one("v_cmp_gt_u32", "e64", src0=128 + 40, src1=256 + 20, sdst=read),
        one("v_addc_co_u32", "e64", src0=256 + 1, src1=256 + 2, src2=read, vdst=3, sdst=written),
        one("v_cndmask_b32", "e64", src0=128, src1=129, src2=written, vdst=4),
        one("v_addc_co_u32", "e64", src0=256 + 1, src1=256 + 2, src2=written, vdst=5, sdst=read),
        data=6,
    )
    total = last.vgprs[1].astype(np.uint64) + last.vgprs[2]
    assert ((last.vgprs[4] == 1) == (total + (last.vgprs[3] - total.astype(np.uint32)) > 0xFFFFFFFF)).all()
    assert 0 < last.vgprs[4].sum() < 64


def test_registers_that_a_segment_wrote_keep_the_mask_of_their_time() -> None:
    last = wave(
        one("s_mov_b64", src0=128, sdst=8),
        one("v_mov_b32", "e32", src0=129, vdst=1),
        one("s_and_saveexec_b64", src0=8, sdst=10),
        one("v_mov_b32", "e32", src0=130, vdst=2),
        one("s_mov_b64", src0=10, sdst=EXEC),
        one("v_mov_b32", "e32", src0=130, vdst=3),
    )
    assert (last.vgprs[1] == 1).all()
    assert not (last.vgprs[2] == 2).any()
    assert (last.vgprs[3] == 2).all()


@pytest.mark.parametrize("lanes", [1, 7, 8, 33, 64])
def test_compare_that_turns_lanes_off_leaves_what_was_done_before(lanes: int) -> None:
    last = wave(
        one("v_mov_b32", "e32", src0=129, vdst=1),
        one("v_cmpx_gt_u32", "e64", src0=128 + 48, src1=256 + SHARED, sdst=8),
        one("v_mov_b32", "e32", src0=130, vdst=1),
        lanes=lanes,
    )
    there = np.arange(64) < lanes
    assert last.vgprs[1].tolist() == np.where(np.arange(64) < min(lanes, 3), 2, there).tolist()
    assert last.sgprs[EXEC] == last.sgprs[8] == (1 << min(lanes, 3)) - 1


@pytest.mark.parametrize("lanes", [1, 40])
@pytest.mark.parametrize("how", ["s_mov_b64", "s_or_saveexec_b64", "s_not_b64", "s_mov_b32"])
def test_lanes_that_the_group_does_not_have_can_be_turned_on(lanes: int, how: str) -> None:
    fields = {"src0": 193, "sdst": 8 if "saveexec" in how else EXEC + 1 if how == "s_mov_b32" else EXEC}
    if how == "s_not_b64":
        fields["src0"] = EXEC
    last = wave(
        one("v_mov_b32", "e32", src0=129, vdst=1),
        one(how, "", None, **fields),
        one("v_add_u32", "e32", src0=130, src1=1, vdst=1),
        one("v_cmp_ne_u32", "e32", src0=128, src1=1),
        lanes=lanes,
    )
    had = np.arange(64) < lanes
    on = ~had if how == "s_not_b64" else (had | (np.arange(64) >= 32)) if how == "s_mov_b32" else np.ones(64, bool)
    assert last.vgprs[1].tolist() == (had * 1 + on * 2).tolist()
    assert last.sgprs[VCC] | last.sgprs[VCC + 1] << 32 == sum(1 << lane for lane in np.flatnonzero(on).tolist())


def test_lane_that_is_read_or_written_need_not_be_one_of_the_group() -> None:
    last = wave(
        one("v_mov_b32", "e32", src0=129, vdst=1),
        one("v_writelane_b32", src0=128 + 9, src1=128 + 50, vdst=1),
        one("v_readlane_b32", src0=256 + 1, src1=128 + 50, vdst=8),
        one("v_readlane_b32", src0=256 + 1, src1=128 + 51, vdst=9),
        lanes=40,
    )
    assert last.sgprs[8:10] == [9, 0]


# ---- matrices


@pytest.mark.parametrize("place", [8, 10, 6])
def test_matrix_over_a_part_of_what_it_adds_to(place: int) -> None:
    halves = [one("v_cvt_f16_u16", "e32", src0=256 + SHARED, vdst=index) for index in range(2, 6)]
    floats = [one("v_cvt_f32_u32", "e32", src0=256 + SHARED, vdst=index) for index in range(8, 12)]
    matrix = one("v_mfma_f32_16x16x16_f16", src0=256 + 2, src1=256 + 4, src2=256 + 8, vdst=place)
    assert wave(*halves, *floats, matrix).vgprs[place, 0] > 1 << 30


def test_matrix_of_a_small_group_reads_zeros_of_lanes_that_are_not_there() -> None:
    last = wave(
        one("v_mov_b32", "e32", literal=0x3C003C00, src0=255, vdst=2),
        one("v_mov_b32", "e32", literal=0x3C003C00, src0=255, vdst=3),
        one("v_mfma_f32_16x16x16_f16", src0=256 + 2, src1=256 + 2, src2=128, vdst=4),
        lanes=16,
    )
    assert last.vgprs[4][:16].tolist() == [struct.unpack("<I", struct.pack("<f", 4.0))[0]] * 16


# ---- memory


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", ["global_store_dword", "global_store_dwordx2", "global_store_short"])
def test_misaligned_stores_leave_the_same_bytes(mapped: bool, name: str) -> None:
    both(one(name, vaddr=OFFSET, saddr=OWN, vdata=2, offset=3), mapped=mapped)


def test_page_that_an_access_missed_is_not_brought_for_another_instruction() -> None:
    """A load of a page that can only be read, then a store that compiled code leaves to the interpreter."""
    ended = both(
        one("global_load_dword", vaddr=OFFSET, saddr=EDGE, vdst=2, offset=-0x1000 & 0x1FFF),
        one("flat_store_dword", vaddr=WIDE, vdata=2),
        mapped=True,
    )
    assert ended.outcome == "DONE"


@pytest.mark.parametrize("far", [1, 64])
def test_windows_of_one_place_in_the_table_are_both_reached(far: int) -> None:
    body = (
        one("global_load_dword", vaddr=SHARED, saddr=42, vdst=2),
        one("global_load_dword", vaddr=OFFSET, saddr=OWN, vdst=3),
        one("v_add_u32", "e32", src0=256 + 2, src1=3, vdst=3),
        one("global_store_dword", vaddr=OFFSET, saddr=OWN, vdata=3),
        one("s_load_dword", sbase=42, sdst=8),
        one("s_load_dword", sbase=OWN, sdst=9, offset=0x1000),
    )
    first, second = (wave(Loop(count, 44, body), far=far) for count in (1, 2))
    assert first.vgprs[2].any()
    assert (second.vgprs[3] == first.vgprs[3] + first.vgprs[2]).all()
    assert first.sgprs[9] == first.vgprs[3][0]


def test_store_that_meets_a_read_only_page_faults_and_shows_its_registers() -> None:
    ended = both(
        one("v_mov_b32", "e32", src0=129, vdst=1),
        one("global_store_dword", vaddr=SHARED, saddr=EDGE, vdata=1, offset=0x210),
        one("v_mov_b32", "e32", src0=130, vdst=1),
    )
    assert ended.raised.startswith("write of ")
    assert ended.state is not None
    assert ended.state.vgprs[1] == (1,) * 64


def test_wave_that_stops_shows_what_it_did_just_before() -> None:
    ended = both(one("v_mov_b32", "e32", src0=131, vdst=1), end=make(TARGET, "s_trap", simm16=2), lanes=40)
    assert ended.outcome == "ILLEGAL"
    assert ended.state is not None
    assert ended.state.vgprs[1][:40] == (3,) * 40


# ---- code


def test_branch_into_the_middle_of_a_run() -> None:
    def add(register: int) -> Plain:
        return one("v_add_u32", "e32", src0=129, src1=register, vdst=register)

    parts = ((add(1), add(2)), (add(3), add(4)), (add(5), add(6)))
    for first in ("cbranch_scc0", "cbranch_scc1"):
        for second in ("branch", "cbranch_execz"):
            wave(one("s_cmp_eq_u32", src0=129, src1=129), Across((first, second), parts), lanes=33)


@pytest.mark.parametrize("slice_", [1, 1 << 14])
def test_loop_that_gives_others_a_turn_counts_as_it_should(slice_: int) -> None:
    body = (one("v_add_u32", "e32", src0=129, src1=1, vdst=1), one("s_addk_i32", sdst=8, simm16=3))
    start = (one("v_mov_b32", "e32", src0=128, vdst=1), one("s_movk_i32", sdst=8, simm16=0))
    for number, last in both(*start, Loop(100, 44, body), lanes=128, groups=2, slice=slice_).waves.items():
        assert (last.sgprs[8], set(last.vgprs[1].tolist())) == (300, {100}), number


def _ends_with_its_page(monkeypatch: pytest.MonkeyPatch, words: list[int]) -> tuple[Dispatch, Memory]:
    memory = Memory(False)
    code = struct.pack(f"<{len(words)}I", *words)
    memory.add(CODE, code.rjust(PAGE, b"\0"))
    memory.add(0x1000, bytes(PAGE))
    monkeypatch.setenv("GPUMEND_KERNELS", "compiled")
    return Dispatch(
        0, 8, CODE + PAGE - len(code), 0, (0x1000, 0), (1, 1, 1), (64, 1, 1), memory, resources=(0, 4, 0)
    ), memory


STORE = (
    *make(TARGET, "v_mov_b32", "e32", src0=129, vdst=1),
    *make(TARGET, "v_mov_b32", "e32", src0=128, vdst=2),
    *make(TARGET, "global_store_dword", vaddr=2, saddr=0, vdata=1),
)


def test_kernel_may_end_with_the_last_page(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatch, memory = _ends_with_its_page(monkeypatch, [*STORE, *make(TARGET, "s_endpgm")])
    launch.run(dispatch, TARGET, pytest.fail)
    assert memory.read(0x1000, 4) == b"\1\0\0\0"


def test_wave_that_runs_out_of_code_faults_where_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not before: what it has stored is there."""
    dispatch, memory = _ends_with_its_page(monkeypatch, list(STORE))
    with pytest.raises(Missing, match=f"read of {CODE + PAGE:#x}"):
        launch.run(dispatch, TARGET, pytest.fail)
    assert memory.read(0x1000, 4) == b"\1\0\0\0"
    assert dispatch.state is not None
    assert dispatch.state.pc == CODE + PAGE


def test_code_that_is_never_reached_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch that is always taken is the last instruction of its page."""
    end = [*make(TARGET, "s_endpgm"), *STORE, *make(TARGET, "s_cmp_eq_u32", src0=128, src1=128)]
    back = make(TARGET, "s_cbranch_scc1", simm16=-len(end) - 1 & 0xFFFF)
    dispatch, memory = _ends_with_its_page(monkeypatch, [*end, *back])
    dispatch.program += 4
    launch.run(dispatch, TARGET, pytest.fail)
    assert dispatch.outcome is Outcome.DONE
    assert memory.read(0x1000, 4) == b"\1\0\0\0"


@pytest.mark.parametrize("order", [(5, 6), (6, 5)])
def test_other_code_at_the_same_address_is_another_kernel(order: tuple[int, int]) -> None:
    for value in (*order, *order):
        assert wave(one("s_movk_i32", sdst=8, simm16=value), data=8).sgprs[8] == value


def test_entry_that_is_no_instruction_may_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    good = [*STORE, *make(TARGET, "s_endpgm")]
    told: list[str] = []
    dispatch, _ = _ends_with_its_page(monkeypatch, [0xFFFFFFFF] * len(good))
    launch.run(dispatch, TARGET, told.append)
    assert (dispatch.outcome, len(told)) == (Outcome.ILLEGAL, 1)
    dispatch, memory = _ends_with_its_page(monkeypatch, good)
    launch.run(dispatch, TARGET, pytest.fail)
    assert memory.read(0x1000, 4) == b"\1\0\0\0"


def test_same_code_for_another_target_is_another_kernel() -> None:
    """0x3F800000 as fp8 is 1.0 of one kind, or of another."""
    words = make("gfx942", "v_cvt_f32_fp8", "e32", src0=256 + 2, vdst=3)
    items = (one("v_mov_b32", "e32", literal=0x38, src0=255, vdst=2), Plain(words))
    seen = []
    for target in TARGETS:
        found, ended = compare(Kernel(target, items))
        assert not found
        seen.append(int(ended.waves[0].vgprs[3, 0]))
    assert seen == [0x3F000000, 0x3F800000]


@pytest.mark.parametrize("name", ["s_load_dwordx2", "s_load_dwordx16"])
def test_scalar_load_that_reaches_the_mask_or_beyond_the_last_register(name: str) -> None:
    ended = both(
        one(name, sbase=OWN, sdst=EXEC if name.endswith("x2") else 120, offset=0x40),
        one("v_mov_b32", "e32", src0=129, vdst=1),
        one("s_mov_b64", src0=ENTRY, sdst=EXEC),
        lanes=40,
    )
    assert ended.outcome == ("DONE" if name.endswith("x2") else "ILLEGAL")


def test_setting_that_is_neither_is_said_to_be_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUMEND_KERNELS", "fast")
    with pytest.warns(UserWarning, match="GPUMEND_KERNELS=fast is neither interpreted nor compiled"):
        assert engine.wanted() in ("", "interpreted")
