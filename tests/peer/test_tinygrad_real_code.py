"""Real code beneath tinygrad: kernels of our own that go wrong, and what its compiler makes, on our driver and on its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.tinygrad import DispatchFailed
from tests import isa_code
from tests.peer.backend_rig import Rig, installed, require_tinygrad
from tests.peer.model_elf import around
from tools import get_llvm

require_tinygrad()

BOTH = pytest.mark.parametrize(("part", "target"), [("mi300x", "gfx942"), ("mi350x", "gfx950")])
CHECKOUT = Path(__file__).resolve().parents[2]
BAD = ("bad_address", "same_loop", "lds_overrun", "illegal")
TOLD = {
    "bad_address": "0x7f0000001000",
    "same_loop": "hung",
    "lds_overrun": "memory violation by a wave of VMID 8",
    "illegal": "illegal instruction by a wave of VMID 8",
}
STOOD = {  # where in its code, and what TRAPSTS says
    "bad_address": (28, "memory violation"),
    "same_loop": (4, "runs or waits"),
    "lds_overrun": (8, "memory violation"),
    "illegal": (0, "illegal instruction"),
}
NUMBERS = 1000


def program(rig: Rig, device: Any, code: bytes, group_bytes: int = 0) -> Any:
    from tinygrad.device import TinyELF
    from tinygrad.helpers import Target

    lib = around(code, arguments=2, group_bytes=group_bytes)
    return device.runtime(TinyELF(lib=lib, name="real", target=Target(), signature=()))


@BOTH
def test_bad_kernels_a_hundred_in_a_row_are_told_and_the_next_one_is_right(
    part: str, target: str, firmware_dir: Path
) -> None:
    import struct

    numbers = struct.pack(f"<{NUMBERS}f", *range(NUMBERS))
    with installed(f"model:{part}", firmware_dir) as rig:
        device = rig.device()
        source, out = rig.filled(device, numbers), rig.filled(device, bytes(4 * NUMBERS))
        code = {name: b"\xff" * 8 if name == "illegal" else isa_code.code(name, target) for name in BAD}
        bad = {name: program(rig, device, code[name], 512 if name == "lds_overrun" else 0) for name in BAD}
        good = program(rig, device, isa_code.code("add", target))
        for number in range(100):
            name = BAD[number % len(BAD)]
            bad[name](out, source, global_size=(2, 1, 1), local_size=(64, 1, 1))
            with pytest.raises(DispatchFailed) as told:
                device.synchronize(timeout=2000)
            assert TOLD[name] in str(told.value)
            check_wave(told.value, name, code[name])
            device.allocator._copyin(out, memoryview(bytearray(4 * NUMBERS)))
            good(out, source, global_size=(16, 1, 1), local_size=(64, 1, 1))
            device.synchronize()
            assert rig.content(device, out, 4 * NUMBERS) == struct.pack(f"<{NUMBERS}f", *range(1, NUMBERS + 1))


def check_wave(error: DispatchFailed, name: str, code: bytes) -> None:
    """The registers of the wave, read before its queue was reset."""
    (wave,) = error.recovery.waves
    offset, text = STOOD[name]
    instruction = int.from_bytes(code[offset : offset + 8], "little")
    assert wave.code == (instruction & 0xFFFFFFFF, instruction >> 32)
    assert wave.pc & 0xFF == offset
    assert (wave.why, wave.vmid, wave.exec) == (text, 8, (1 << 64) - 1)
    assert [lanes[:3] for lanes in wave.vgprs[:1]] == [(0, 1, 2)]
    assert f"instruction {instruction & 0xFFFFFFFF:08x}" in str(error)
    assert f"v0   {0:08x} {1:08x} {2:08x}" in wave.registers()


SCRIPT = """
import sys
import runtime.tinygrad
runtime.tinygrad.install(sys.argv[1])
from tinygrad import Tensor
print((Tensor([1.0, 2.0], device="AMD") + 1).tolist())
a = Tensor([[float(i * j % 7) for i in range(33)] for j in range(17)], device="AMD")
wanted = [[sum(float(i * j % 7) * float(i * k % 7) for i in range(33)) for k in range(17)] for j in range(17)]
print((a @ a.T).tolist() == wanted)
print(a.half().sum(1).tolist() == [sum(float(i * j % 7) for i in range(33)) for j in range(17)])
(gpu,) = runtime.tinygrad._active.found()
print(gpu.transport.gpu.wrongs)
"""


@BOTH
def test_what_the_compiler_makes_of_tensors_runs_and_is_right(
    part: str, target: str, firmware_dir: Path, tmp_path: Path
) -> None:
    if not get_llvm.LIBRARY.exists():
        pytest.skip("no LLVM that knows both parts: make llvm")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "LLVM_PATH": str(get_llvm.LIBRARY),
        "DEV": "AMD:LLVM",
        "PYTHONPATH": str(CHECKOUT),
        "GPUMEND_FIRMWARE": str(firmware_dir),
        "CACHEDB": str(tmp_path / "cache.db"),
    }
    done = subprocess.run(
        [sys.executable, str(script), f"model:{part}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.splitlines() == ["[2.0, 3.0]", "True", "True", "[]"], done.stderr[-2000:]
