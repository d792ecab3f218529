"""Straight runs done together: bit for bit what the same instructions give one by one."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from gpumodel.dispatch import Dispatch
from gpumodel.isa import launch
from gpumodel.isa import run as isa_run
from gpumodel.isa.memory import WaveMemory
from gpumodel.isa.operands import DTYPES, bits_of
from gpumodel.isa.program import Program
from gpumodel.isa.run import Halted, Runner
from gpumodel.isa.valu import valu
from gpumodel.isa.waves import Waves
from tests import isa_code

PAGE = 4096
CODE, DATA = 0x1000, 0x10000
PAGES = 3
REGISTERS = 14  # of random numbers, from v4 on; v2 and v3 are an address
END = 0xBF810000
NOP = 0xBF800000
CORNERS = np.array(
    [0, 1, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00001, 0x7F800001, 0x3F800000, 0x007FFFFF], np.uint32
)

pytestmark = pytest.mark.parametrize("target", isa_code.TARGETS)


class Missing(Exception):
    """No page there."""


class Memory:
    """Code, and some pages of data."""

    def __init__(self, code: bytes, data: bytes) -> None:
        self.parts = {CODE: bytearray(code.ljust(PAGE, b"\0")), DATA: bytearray(data)}

    def _part(self, address: int, size: int) -> tuple[bytearray, int]:
        for start, part in self.parts.items():
            if start <= address and address + size <= start + len(part):
                return part, address - start
        raise Missing(f"{address:#x}")

    def read(self, address: int, size: int) -> bytes:
        part, at = self._part(address, size)
        return bytes(part[at : at + size])

    def write(self, address: int, data: bytes) -> None:
        part, at = self._part(address, len(data))
        part[at : at + len(data)] = data


def _random_instruction(random: np.random.Generator) -> list[int]:
    """VOP1, VOP2, VOP3P, MFMA, GLOBAL with random registers, as the manual lays them out."""
    place, a, b, c = (int(number) for number in random.integers(4, 4 + REGISTERS, 4))
    kind = int(random.integers(0, 12))
    if kind < 5:
        code = (0x01, 0x3B, 0x34, 0x15, 0x12)[kind]  # v_add_f32, v_fmac_f32, v_add_u32, v_xor_b32, v_lshlrev_b32
        return [
            code << 25 | place << 17 | b << 9 | (256 + a if random.random() < 0.8 else int(random.integers(128, 193)))
        ]
    if kind == 5:
        return [0x7E000200 | place << 17 | 256 + a]  # v_mov_b32
    if kind == 6:
        return [0x7E001400 | place << 17 | 256 + a]  # v_cvt_f16_f32
    if kind == 7:
        return [NOP]
    a, b, c, place = (min(number, REGISTERS) for number in (a, b, c, place))  # four registers each
    if kind < 10:  # v_pk_fma_f32, v_pk_mul_f32
        code, opsel, high, neg = (0x30, 0x31)[kind - 8], *(int(bits) for bits in random.integers(0, 8, 3))
        if kind == 9:  # no third source
            opsel, high, neg, c = opsel & 3, high | 4, neg & 3, -256
        first = 0xD3800000 | code << 16 | high >> 2 << 14 | opsel << 11 | place
        return [first, neg << 29 | (high & 3) << 27 | (256 + c) << 18 | (256 + b) << 9 | 256 + a]
    if kind == 10:  # v_mfma_f32_16x16x16_f16
        return [0xD3CD0000 | place, (256 + c if random.random() < 0.7 else 128) << 18 | (256 + b) << 9 | 256 + a]
    offset = int(random.integers(0, 500)) * 4
    if random.random() < 0.5:
        return [
            0xDC000000 | int(random.choice([23, 21, 18, 17])) << 18 | 2 << 14 | offset,
            place << 24 | 0x7F << 16 | 2,
        ]
    return [0xDC000000 | int(random.choice([29, 28, 26, 24])) << 18 | 2 << 14 | offset, 0x7F << 16 | a << 8 | 2]


def _program(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    words: list[int] = []
    while len(words) < 300:
        one = _random_instruction(random)
        words += one
        if random.random() < 0.6:  # runs of the same operation
            for _ in range(int(random.integers(1, 8))):
                same = _random_instruction(random)
                if same[0] >> 25 == one[0] >> 25:
                    words += same
    return struct.pack(f"<{len(words) + 1}I", *words, END)


def _run(target: str, code: bytes, few_on: bool, address: int = DATA) -> tuple[Waves, Memory, Program]:
    """Three waves with random registers; with `few_on` some lanes are off."""
    random = np.random.default_rng(7)
    memory = Memory(code, random.integers(0, 256, PAGES * PAGE, np.uint8).tobytes())
    one = Dispatch(0, 8, CODE, 0, (), (3, 1, 1), (64, 1, 1), memory)
    held = WaveMemory(memory)
    (batch,) = launch.batches(one)
    waves = launch.waves_of(one, batch, held)
    for number in range(4, 4 + REGISTERS + 4):
        shape = (3, 64) if number % 5 else (1, 1) if number % 10 else (3, 1)
        value = random.integers(0, 1 << 32, shape, np.uint32)
        waves.put_v(number, np.where(random.random(shape) < 0.1, random.choice(CORNERS, shape), value))
    waves.put_v(2, np.uint32(address) + 4 * np.arange(64, dtype=np.uint32)[None])
    if few_on:
        waves.set_mask(126, random.random((3, 64)) < 0.5)
    program = Program(target, held)
    Runner(program).run(waves)
    held.flush()
    return waves, memory, program


@pytest.mark.parametrize("few_on", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_random_programs_together_leave_what_they_leave_one_by_one(
    target: str, seed: int, few_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = _program(seed)
    together, memory, program = _run(target, code, few_on)
    assert sum(group is not None for group in program.groups.values()) > 3
    monkeypatch.setattr(isa_run, "MOST_LANES", 0)
    single, plain, _ = _run(target, code, few_on)
    for number in range(4 + REGISTERS + 4):
        assert np.array_equal(together.full(together.v(number)), single.full(single.v(number))), f"v{number}"
    assert memory.parts == plain.parts


def test_a_load_that_faults_in_a_run_stands_at_its_own_address(target: str) -> None:
    loads = [word for offset in (0, 256, 2048, 512) for word in (0xDC508000 | offset, 4 << 24 | 0x7F << 16 | 2)]
    code = struct.pack(f"<{len(loads) + 1}I", *loads, END)
    with pytest.raises(Halted) as halted:  # the last page ends between the second and the third
        _run(target, code, False, DATA + PAGES * PAGE - 1024)
    assert halted.value.waves.pc == CODE + 16
    assert isinstance(halted.value.cause, Missing)


def test_every_operation_gives_of_a_stack_what_it_gives_of_each(target: str) -> None:
    random = np.random.default_rng(3)
    seen = 0
    for name, op in valu(target).items():
        if not isinstance(op.result, str) or op.result not in DTYPES or bits_of(op.result) > 32:
            continue
        if any(kind not in DTYPES for kind in op.sources) or name.startswith("v_mbcnt"):
            continue
        sources = []
        for kind in op.sources:
            words = random.integers(0, 1 << 32, (4, 3, 16, 2), np.uint32)
            words[random.random(words.shape) < 0.2] = random.choice(CORNERS)
            sources.append(words.view(DTYPES[kind])[..., 0].copy())
        wanted = {"bitop3": 0xCA, "op_sel": 5}
        more = {want: wanted[want] for want in op.wants}
        with np.errstate(all="ignore"):
            stacked = op.run(*sources, **more)
            for place in range(4):
                alone = op.run(*(values[place] for values in sources), **more)
                assert np.array_equal(stacked[place].view(np.uint8), alone.view(np.uint8)), name
        seen += 1
    assert seen > 200
