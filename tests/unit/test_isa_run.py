"""Waves on memory of bytes: control flow, LDS, lanes, narrow accesses, atomics, ids of groups, and what stops them."""

from __future__ import annotations

import struct
from collections import OrderedDict

import numpy as np
import pytest

from gpumodel.dispatch import Dispatch, Outcome, Size3
from gpumodel.isa import launch
from gpumodel.isa.native import drive, engine
from gpumodel.isa.run import MOST_STEPS
from tests import isa_code
from tests.native_ops import needs_compiler

PAGE = 4096
CODE, ARGUMENTS, OUT, IN = 0x1000, 0x3000, 0x10000, 0x20000
X, Y, Z = 1 << 7, 1 << 8, 1 << 9  # ids of the group in SGPRs

pytestmark = pytest.mark.parametrize("target", isa_code.TARGETS)


@pytest.fixture(
    params=[
        "interpreted",
        *(pytest.param(how, marks=needs_compiler) for how in ("compiled", "switched after 3", "switched after 9")),
    ],
    autouse=True,
)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it by the interpreter, by the host's own code, and by that after so many steps of the interpreter."""
    how, _, steps = request.param.partition(" after ")
    monkeypatch.setenv("GPUMEND_KERNELS", "" if steps else how)
    if steps:
        monkeypatch.setattr(engine, "_kernels", OrderedDict())
        monkeypatch.setattr(engine, "WORTH", 0)
        monkeypatch.setattr(engine, "WORTH_EACH", 0)
        monkeypatch.setattr(launch, "STEPS_AT_ONCE", int(steps))


class Fault(Exception):
    """No page there."""


class Memory:
    """Pages; others fault. `written`: what came back, in order."""

    def __init__(self, *pages: int) -> None:
        self.pages = {page: bytearray(PAGE) for page in pages}
        self.read_only: set[int] = set()
        self.written: list[tuple[int, int]] = []

    def _page(self, address: int, write: bool) -> bytearray:
        page = self.pages.get(address // PAGE)
        if page is None or (write and address // PAGE in self.read_only):
            raise Fault(f"{'write' if write else 'read'} of {address:#x}")
        return page

    def read(self, address: int, size: int) -> bytes:
        out = b""
        while size:
            offset = address % PAGE
            here = min(size, PAGE - offset)
            out += self._page(address, False)[offset : offset + here]
            address, size = address + here, size - here
        return out

    def write(self, address: int, data: bytes) -> None:
        self.written.append((address, len(data)))
        while data:
            offset = address % PAGE
            here = min(len(data), PAGE - offset)
            self._page(address, True)[offset : offset + here] = data[:here]
            address, data = address + here, data[here:]


class Bench:
    """A kernel with two arguments: where it writes, and where it reads."""

    def __init__(self, name: str, target: str, data: bytes = b"") -> None:
        self.memory = Memory(*(at // PAGE + page for at in (CODE, ARGUMENTS, OUT, IN) for page in range(8)))
        self.target = target
        self.memory.write(CODE, isa_code.code(name, target))
        self.memory.write(ARGUMENTS, struct.pack("<QQ", OUT, IN))
        self.memory.write(IN, data)
        self.memory.written.clear()
        self.told: list[str] = []

    def run(self, groups: Size3 = (1, 1, 1), size: Size3 = (64, 1, 1), **more: object) -> Dispatch:
        ids = X | (Y if groups[1] > 1 else 0) | (Z if groups[2] > 1 else 0)
        given = {"resources": (0, 2 << 1 | ids, 0), **more}
        one = Dispatch(0, 8, CODE, ARGUMENTS, (ARGUMENTS, 0), groups, size, self.memory, **given)  # type: ignore[arg-type]
        launch.run(one, self.target, self.told.append)
        return one

    def out(self, count: int, kind: str = "<u4") -> list[int]:
        values: list[int] = np.frombuffer(self.memory.read(OUT, count * np.dtype(kind).itemsize), kind).tolist()
        return values


@pytest.mark.parametrize("threads", [64, 256, 40])
def test_add_stores_only_where_its_mask_says(target: str, threads: int) -> None:
    values = np.arange(2048, dtype=np.float32)
    bench = Bench("add", target, values.tobytes())
    groups = 2048 // 64
    done = bench.run((groups, 1, 1), (threads, 1, 1))
    assert done.outcome is Outcome.DONE
    got = np.array(bench.out(2048, "<f4"))
    thread = np.arange(threads)
    reached = np.zeros(2048, bool)
    for group in range(groups):
        here = group * 64 + thread
        reached[here[here < 1000]] = True
    assert np.array_equal(got, np.where(reached, values + 1, 0))
    assert bench.told == []


def test_waves_that_go_round_differently_often_end_with_their_own_count(target: str) -> None:
    bench = Bench("rounds", target)
    bench.run((7, 1, 1))
    assert bench.out(7 * 64) == [group + 1 for group in range(7) for _ in range(64)]


def test_group_of_four_waves_sees_all_of_its_lds_behind_the_barrier(target: str) -> None:
    values = np.random.default_rng(1).integers(0, 1 << 32, 256, np.uint32)
    bench = Bench("reverse", target, values.tobytes())
    bench.run(size=(256, 1, 1), lds_bytes=1024)
    assert bench.out(256) == values[::-1].tolist()


def test_waves_told_apart_before_a_barrier_wait_for_each_other_group_by_group(target: str) -> None:
    bench = Bench("first_wave_writes", target)
    bench.run((3, 1, 1), (256, 1, 1), lds_bytes=256)
    assert bench.out(256) == [7 + thread % 64 for thread in range(256)]


def test_atomic_gives_every_thread_another_number(target: str) -> None:
    bench = Bench("count", target, struct.pack("<I", 100))
    bench.run((5, 1, 1))
    assert sorted(bench.out(5 * 64)) == list(range(100, 100 + 5 * 64))
    assert bench.memory.read(IN, 4) == struct.pack("<I", 100 + 5 * 64)


def test_lanes_reach_each_other_and_registers_hold_lanes_that_no_thread_has(target: str) -> None:
    bench = Bench("lanes", target)
    bench.run(size=(8, 1, 1))
    expected = [[0x1234, lane & ~3 | 3 - (lane & 3), 7 - lane, lane ^ 1] for lane in range(8)]
    assert bench.out(32) == [word for row in expected for word in row]


def test_ids_of_groups_and_threads_in_three_dimensions(target: str) -> None:
    bench = Bench("group_ids", target)
    bench.run((2, 3, 4), (4, 2, 2))
    rows = np.array(bench.out(2 * 3 * 4 * 4)).reshape(-1, 4).tolist()
    assert rows == [[x, y, z, 1 | 1 << 10 | 1 << 20] for z in range(4) for y in range(3) for x in range(2)]


def test_groups_at_the_edge_of_a_grid_are_smaller(target: str) -> None:
    bench = Bench("add", target, np.zeros(256, np.float32).tobytes())
    bench.run((3, 1, 1), (64, 1, 1), threads=(130, 1, 1))
    assert bench.out(192, "<f4") == [1.0] * 130 + [0.0] * 62


def test_every_group_is_run_by_one_of_the_xccs_that_share_a_grid(target: str) -> None:
    bench = Bench("add", target, np.zeros(2048, np.float32).tobytes())
    for place in range(3):
        before = np.array(bench.out(1000, "<f4"))
        bench.run((16, 1, 1), share=(place, 3))
        new = np.flatnonzero(np.array(bench.out(1000, "<f4")) - before) // 64
        assert set(new.tolist()) == {group for group in range(16) if group % 3 == place}


def test_narrow_accesses_extend_and_keep(target: str) -> None:
    words = [0x8001_7F80, 0x7FFF_FF01, 0x1234_80FF]
    bench = Bench("narrow", target, struct.pack("<3I", *words))
    bench.run(size=(3, 1, 1))
    data = bench.memory.read(OUT, 60)
    for number, word in enumerate(words):
        low = word & 0xFF
        half = word >> 16
        expected = struct.pack(
            "<IIIIBxH",
            low - 256 & 0xFFFFFFFF if low & 0x80 else low,
            word >> 8 & 0xFF,
            half - 0x10000 & 0xFFFFFFFF if half & 0x8000 else half,
            0xFFFF0000 | word & 0xFFFF,
            0xFF,
            word & 0xFFFF,
        )
        assert data[20 * number : 20 * number + 20] == expected


def test_bytes_and_halves_in_lds_make_the_dword_again(target: str) -> None:
    words = np.random.default_rng(2).integers(0, 1 << 32, 64, np.uint32)
    bench = Bench("narrow_lds", target, words.tobytes())
    assert bench.run(lds_bytes=512).outcome is Outcome.DONE
    rows = np.array(bench.out(64 * 8), np.uint64).reshape(64, 8)
    low, high = words & 0xFFFF, words >> 16
    joined = words & 0xFF | (high & 0xFF) << 8 | high << 16
    expected = (high, low << 16, 0 * low, 0 * low, high & 0xFF, high, joined, high << 16 | low)
    for column, values in enumerate(expected):
        assert rows[:, column].tolist() == values.tolist(), column


def test_narrow_loads_of_lds_extend_and_keep_the_other_half(target: str) -> None:
    words = np.array([0x8001_7F80, 0x7FFF_FF01, 0x1280_80FF, 0xFF00_0080, *range(60)], np.uint32)
    bench = Bench("narrow_lds_signed", target, words.tobytes())
    assert bench.run(lds_bytes=512).outcome is Outcome.DONE
    rows = np.array(bench.out(64 * 8), np.uint64).reshape(64, 8).tolist()
    for row, word in zip(rows, words.tolist(), strict=True):
        top = int.from_bytes([word >> 24], "little", signed=True)
        half = int.from_bytes(struct.pack("<H", word & 0xFFFF), "little", signed=True)
        assert row == [
            top & 0xFFFFFFFF,
            half & 0xFFFFFFFF,
            0xFFFF0000 | word >> 8 & 0xFF,
            (word >> 16 & 0xFF) << 16 | 0xFFFF,
            0xFFFF0000 | top & 0xFFFF,
            word >> 16 << 16 | 0xFFFF,
            0xFFFF0000 | word & 0xFFFF,
            word >> 16 & 0xFF,
        ]


def test_what_goes_into_lds_by_one_width_comes_out_by_another(target: str) -> None:
    words = np.random.default_rng(3).integers(0, 1 << 32, (64, 4), np.uint32)
    bench = Bench("wide_lds", target, words.tobytes())
    assert bench.run(lds_bytes=3072).outcome is Outcome.DONE
    rows = np.array(bench.out(64 * 16)).reshape(64, 16).tolist()
    flat = words.ravel().tolist()
    for lane, (row, (a, b, c, d)) in enumerate(zip(rows, words.tolist(), strict=True)):
        turned = [c, d, a, b]  # as it lies at 16 * lane, and from 2048 on
        assert row[:4] == [c, c, c, d]
        assert row[4:6] == [turned[3], turned[2]]
        assert row[6:8] == [a, turned[0]]
        assert row[8:12] == flat[4 * (63 - lane) : 4 * (64 - lane)]
        assert row[12:] == [a, b, c, d]


def test_scratch_of_a_lane_is_read_in_other_widths_than_it_was_written(target: str) -> None:
    words = np.random.default_rng(4).integers(0, 1 << 32, (128, 4), np.uint32)
    bench = Bench("wide_scratch", target, words.tobytes())
    assert bench.run(size=(128, 1, 1), scratch_bytes=40).outcome is Outcome.DONE
    rows = np.array(bench.out(128 * 8)).reshape(128, 8).tolist()
    for row, (a, b, c, d) in zip(rows, words.tolist(), strict=True):
        assert row == [b, c, d, a, c, d, a, b]


def test_lanes_leave_a_loop_one_by_one_and_the_wave_goes_on_with_all(target: str) -> None:
    bench = Bench("lanes_leave", target)
    assert bench.run((4, 1, 1)).outcome is Outcome.DONE
    assert bench.out(4 * 64) == [(lane % 8 + 1) * (group + 1) for group in range(4) for lane in range(64)]


def test_neighbours_of_written_bytes_are_not_written(target: str) -> None:
    bench = Bench("narrow", target, bytes(4))
    bench.run(size=(1, 1, 1))
    stored = {
        byte
        for address, size in bench.memory.written
        if size != 4 or address >= OUT
        for byte in range(address, address + size)
    }
    assert OUT + 17 not in stored
    assert {OUT + 16, OUT + 18, OUT + 19} <= stored


def test_sdwa_selects_bytes_and_words(target: str) -> None:
    words = [0x8123_4567, 0x3C00_FFEE]
    bench = Bench("sdwa", target, struct.pack("<2I", *words))
    bench.run(size=(2, 1, 1))
    rows = np.array(bench.out(8)).reshape(2, 4).tolist()
    for thread, (word, row) in enumerate(zip(words, rows, strict=True)):
        byte = word >> 24
        half = float(np.array([word >> 16], np.uint16).view(np.float16)[0])
        assert row == [
            (word >> 8 & 0xFF) + (word >> 16),
            ((word & 0xFF) << thread & 0xFFFF) << 16 | 0xFFFF,
            byte - 256 & 0xFFFFFFFF if byte & 0x80 else byte,
            struct.unpack("<I", struct.pack("<f", half))[0],
        ]


def test_scratch_is_of_each_lane_and_ends(target: str) -> None:
    bench = Bench("scratch", target)
    assert bench.run((2, 1, 1), scratch_bytes=32).outcome is Outcome.DONE
    assert bench.out(64) == [3 * lane for lane in range(64)]
    bench = Bench("scratch", target)
    assert bench.run(scratch_bytes=16).outcome is Outcome.FAULTED
    assert "scratch at 0x10, 4 bytes, of 0x10" in bench.told[0]


def test_flat_addresses_reach_lds_scratch_and_memory_lane_by_lane(target: str) -> None:
    words = np.random.default_rng(5).integers(0, 1 << 24, 128, np.uint32)
    bench = Bench("flat_places", target, words.tobytes())
    done = bench.run(size=(128, 1, 1), lds_bytes=512, scratch_bytes=32, apertures=(0x2000, 0x1000))
    assert done.outcome is Outcome.DONE, bench.told
    rows = np.array(bench.out(128 * 8)).reshape(128, 8).tolist()
    memory = np.frombuffer(bench.memory.read(IN, 512), "<u4").tolist()
    for thread, (row, word) in enumerate(zip(rows, words.tolist(), strict=True)):
        there = (word, thread + 7, 3 * thread, word)[thread % 4]
        in_scratch = thread % 4 == 2
        after = (there if in_scratch else there + thread + 7) & 0xFFFFFF | thread << 24
        before = 0 if in_scratch else there
        assert row == [thread + 7, 3 * thread, there, there & 0xFF, before, after, 0x2000 << 16, 0x1000 << 16]
        assert memory[thread] == (after if thread % 4 in (0, 3) else word)


def test_flat_address_beyond_what_was_given_faults(target: str) -> None:
    bench = Bench("flat_places", target, bytes(512))
    assert bench.run(scratch_bytes=32, apertures=(0x2000, 0x1000)).outcome is Outcome.FAULTED
    assert "LDS at 0x0, 4 bytes, of 0x0" in bench.told[0]


def test_flat_address_without_apertures_is_one_of_memory(target: str) -> None:
    bench = Bench("flat_places", target, bytes(512))
    with pytest.raises(Fault, match="of 0x0"):
        bench.run(lds_bytes=512, scratch_bytes=32)


def test_flat_atomic_of_scratch_is_not_guessed(target: str) -> None:
    bench = Bench("flat_atomic_of_scratch", target)
    assert bench.run(scratch_bytes=32, apertures=(0x2000, 0x1000)).outcome is Outcome.ILLEGAL
    assert "flat atomic of scratch" in bench.told[0]


def test_functions_are_called_and_return(target: str) -> None:
    bench = Bench("call", target)
    bench.run()
    assert bench.out(64) == [5 + lane for lane in range(64)]


def test_registers_that_m0_points_at_are_read_and_written_wave_by_wave(target: str) -> None:
    bench = Bench("indexed", target)
    bench.run((4, 1, 1))
    rows = np.array(bench.out(4 * 64 * 8)).reshape(4, 64, 8)
    lane = np.arange(64)
    for group in range(4):
        four = [100 * (number + 1) + lane for number in range(4)]
        following = (group + 1) % 4
        assert rows[group, :, 0].tolist() == four[group].tolist()
        assert rows[group, :, 1].tolist() == (100 * (lane % 4 + 1) + lane).tolist()
        assert set(rows[group, :, 2]) == {0xABCD1F00 & ~0xFF & ~0xF000 | group | 1 << 12}
        # the last loop left the index of lane 3 there, then came that of the group, with the mode of a destination
        assert set(rows[group, :, 3]) == {0xABCD0F00 & ~0xF000 | following | 2 << 12}
        four[group] = np.full(64, 7)
        four[following] = np.full(64, 8)
        assert np.array_equal(rows[group, :, 4:], np.stack(four, axis=1))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("indexed_branch", "s_branch while VGPRs are indexed"),
        ("indexed_beyond", "v_mov_b32 of v256, by M0"),
    ],
)
def test_indexing_that_is_not_sure_is_not_guessed(target: str, name: str, why: str) -> None:
    bench = Bench(name, target)
    assert bench.run().outcome is Outcome.ILLEGAL
    assert why in bench.told[0]


def test_clock_and_mode_are_read(target: str) -> None:
    bench = Bench("clock", target)
    bench.run(time=lambda: 0x1_2345_6789)
    assert bench.out(2) == [0x2345_6789, 0xF0]


def test_fault_names_its_address_and_leaves_the_registers(target: str) -> None:
    bench = Bench("bad_address", target)
    with pytest.raises(Fault, match="0x7f0000001000"):
        bench.run()


def test_state_of_a_wave_that_stopped_is_kept(target: str) -> None:
    bench = Bench("lds_overrun", target)
    done = bench.run(lds_bytes=512)
    assert done.outcome is Outcome.FAULTED
    assert done.state is not None
    assert (done.state.instruction, done.state.pc - CODE) == ("ds_write_b32", 8)
    assert done.state.exec == (1 << 64) - 1
    assert done.state.vgprs[0] == tuple(range(64))
    assert done.state.vgprs[1] == (0x20000,) * 64
    assert "LDS at 0x20000, 4 bytes, of 0x200" in bench.told[0]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("same_loop", "a loop without a way out"),
        ("counts_for_ever", "a loop without a way out"),
        ("waits_for_memory", "a loop that changes nothing"),
    ],
)
def test_loop_that_cannot_end_is_found_at_once(target: str, name: str, why: str) -> None:
    bench = Bench(name, target)
    done = bench.run((4, 1, 1))
    assert done.outcome is Outcome.RUNNING
    assert done.state is not None
    assert done.state.why == why


def test_loop_that_counts_ends_with_the_steps_of_a_model(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "MOST_STEPS", 5000)
    monkeypatch.setattr(drive, "MOST_STEPS", 5000)
    done = Bench("counting_loop", target).run()
    assert done.outcome is Outcome.RUNNING
    assert done.state is not None
    assert done.state.why == "more steps than a model does"


@needs_compiler
def test_kernel_that_takes_longer_than_the_interpreter_may_goes_on_compiled(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUMEND_KERNELS", "")
    rounds = MOST_STEPS  # of three instructions
    bench = Bench("counts_as_far_as_memory_says", target, struct.pack("<I", rounds))
    assert bench.run().outcome is Outcome.DONE
    assert bench.out(64) == [rounds] * 64


def test_wave_that_waits_for_another_lets_it_run(target: str) -> None:
    bench = Bench("waits_for_wave", target)
    assert bench.run(size=(128, 1, 1), lds_bytes=512).outcome is Outcome.DONE
    assert bench.out(128) == [0] * 64 + [1] * 64


def test_instruction_that_is_not_modelled_is_named(target: str) -> None:
    bench = Bench("trap", target)
    done = bench.run()
    assert done.outcome is Outcome.ILLEGAL
    assert bench.told == [f"program at {CODE:#x} of XCC 0: s_trap not interpreted: 020092bf at {CODE:#x} of a {target}"]


def test_page_that_can_only_be_read_faults_when_it_is_written(target: str) -> None:
    bench = Bench("add", target, bytes(4096))
    bench.memory.read_only.add(OUT // PAGE)
    with pytest.raises(Fault, match=f"write of {OUT:#x}"):
        bench.run()
