"""tinygrad's own builders for this family, run beside ours where tinygrad 0.14.0 is installed for this interpreter.

Only its packet and register code runs, on plain memory: no device of its is opened. `make bench` installs it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.harness import Row, compare

ROOT = Path(__file__).resolve().parent.parent
RING_BYTES = 1 << 20


@lru_cache(maxsize=1)
def at_hand() -> bool:
    """Is tinygrad installed for this interpreter?"""
    return importlib.util.find_spec("tinygrad") is not None


def told(module: str, arguments: list[str], environment: dict[str, str], limit_s: float) -> Any:
    """What a process of the benchmark tells: the JSON behind "told:" that it prints. Raises RuntimeError."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("told:")), None)
    if line is None:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return json.loads(line.removeprefix("told:"))


def side_by_side(row: Row, ours: Callable[[], object], theirs: Callable[[], object], ours_makes: int = 1) -> Row:
    """`row` with the peer's figure of this run in place of the recorded one; `ours_makes`: how many in one call."""
    pair = compare(row.work, theirs, ours, goal=row.goal)
    told = f"tinygrad in this run {pair.ours_s * 1e6:.2f} us: {pair.ratio * ours_makes:.0f}x ours"
    return replace(row, peer=told)


class _Queue:
    """The ring of a compute queue, as tinygrad fills it."""

    def __init__(self, fmt: str) -> None:
        hcq: Any = importlib.import_module("tinygrad.runtime.support.hcq")
        import ctypes

        self._memory = (ctypes.c_uint8 * RING_BYTES)()
        self.ring = hcq.MMIOInterface(ctypes.addressof(self._memory), RING_BYTES, fmt=fmt)
        self.put_value = 0

    def signal_doorbell(self, device: object, doorbell_value: int | None = None) -> None:
        """Nobody listens; and the ring never wraps here."""
        self.put_value = 0


class Peer:
    """A stand-in for tinygrad's device: eight XCCs of gfx942."""

    def __init__(self) -> None:
        self.ops: Any = importlib.import_module("tinygrad.runtime.ops_amd")
        amd: Any = importlib.import_module("tinygrad.runtime.support.amd")
        offsets: Any = importlib.import_module("tinygrad.runtime.autogen.am.vega_offsets")
        bases = {i: tuple(getattr(offsets, f"GC_BASE__INST{i}_SEG{s}", 0) for s in range(6)) for i in range(6)}
        self.device = SimpleNamespace(
            target=(9, 4, 2),
            sdma=amd.import_module("sdma", (4, 4, 2)),
            pm4=importlib.import_module("tinygrad.runtime.autogen.am.pm4_soc15"),
            soc=amd.import_soc((9, 4, 2)),
            gc=amd.AMDIP("gc", (9, 4, 3), bases=bases),
            nbio=None,
            xccs=8,
            sqtt_enabled=False,
            tmpring_size=0,
            scratch=SimpleNamespace(va_addr=0x5000_0000, size=8 << 20),
            is_am=lambda: True,
            compute_queue=_Queue("I"),
        )
        self.program = SimpleNamespace(
            dev=self.device,
            enable_private_segment_sgpr=0,
            enable_dispatch_ptr=0,
            prog_addr=0x7F00_0000_1000,
            aql_prog_addr=0x7F00_0000_1000,
            rsrc1=0x00AF_0000,
            rsrc2=0x90,
            rsrc3=0,
            wave32=False,
            private_segment_size=0,
            group_segment_size=0,
        )
        self.arguments = SimpleNamespace(buf=SimpleNamespace(va_addr=0x20_0000), bind_data=[])
        self.signal = SimpleNamespace(value_addr=0x10_0000, owner=None, is_timeline=False)

    def sdma_copy(self) -> None:
        """One copy packet, as a list of numbers."""
        buffers = SimpleNamespace(va_addr=0x80_0000_0000), SimpleNamespace(va_addr=0x90_0000_0000)
        self.ops.AMDCopyQueue(self.device).copy(*buffers, 0x1_0000)

    def pm4_dispatch(self) -> None:
        """One dispatch and its signal, in the ring."""
        queue = self.ops.AMDComputeQueue(self.device)
        queue.exec(self.program, self.arguments, (64, 4, 1), (256, 1, 1)).signal(self.signal, 77)
        queue.binded_device = None
        queue._submit(self.device)

    def aql_dispatch(self) -> None:
        """One dispatch packet, not yet in the ring."""
        queue = self.ops.AMDComputeAQLQueue(self.device)
        queue.exec(self.program, self.arguments, (16, 1, 1), (256, 1, 1))

    def register_update(self, fields: dict[str, tuple[int, int]], changes: dict[str, int]) -> Callable[[], None]:
        """A read-modify-write of one register of one dword of memory; fields as (lsb, msb)."""
        am: Any = importlib.import_module("tinygrad.runtime.support.am.amdev")

        class Memory:
            value = 0x1234_5678

            def rreg(self, address: int) -> int:
                return self.value

            def wreg(self, address: int, value: int) -> None:
                self.value = value

        register = am.AMRegister("register", 0x100, 0, fields, {0: (0x2000,)}, Memory())

        def update() -> None:
            register.update(**changes)

        return update
