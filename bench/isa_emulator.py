"""A process of the benchmark of the interpreter: tinygrad's emulator (its mock of gfx950) runs the same works; tells as JSON
the seconds of CPU time a wave instruction, warm. Its one argument: the git tree (tools/get_oracle.py)."""

from __future__ import annotations

import json
import statistics
import sys
import time
from types import SimpleNamespace
from typing import Any

ROUNDS = 5


class Watch:
    """Stands before the emulator's run_asm: keeps what it was last called with."""

    def __init__(self, emulator: Any) -> None:
        self._emulator, self._run = emulator, emulator.run_asm
        self.last: tuple[Any, ...] = ()
        emulator.run_asm = self

    def __call__(self, *arguments: Any) -> Any:
        self.last = arguments
        return self._run(*arguments)

    def instructions(self) -> int:
        """Wave instructions of the last dispatch, each a call of a compiled function."""
        counted = 0
        decode = self._emulator._decode_at

        def counting(*arguments: Any) -> Any:
            (program, runtime), instruction = decode(*arguments)

            def one(*buffers: Any) -> Any:
                nonlocal counted
                counted += 1
                return runtime.fxn(*buffers)

            return (program, SimpleNamespace(fxn=one)), instruction

        self._emulator._decode_at = counting
        try:
            self._run(*self.last)
        finally:
            self._emulator._decode_at = decode
        return counted

    def seconds(self) -> float:
        times = []
        for _ in range(ROUNDS):
            start = time.process_time()
            self._run(*self.last)
            times.append(time.process_time() - start)
        return statistics.median(times)


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    from test.mockgpu.amd import emu  # type: ignore[import-not-found, unused-ignore]
    from tinygrad import Device

    from bench.isa_works import works

    watch = Watch(emu)
    told = {}
    for name, work in works().items():
        work().realize()
        Device["AMD"].synchronize()
        told[name] = watch.seconds() / watch.instructions()
    print("told:" + json.dumps(told))


if __name__ == "__main__":
    main()
