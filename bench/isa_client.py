"""A process of the benchmark of the interpreter: tinygrad's kernels on a model through our driver; tells as JSON the seconds a
wave instruction (each dispatch repeated warm, without the queue around it), and the seconds of whole works."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import runtime.tinygrad
from bench.isa_works import works
from gpumodel.dispatch import Dispatch
from gpumodel.isa import launch
from gpumodel.isa.memory import WaveMemory
from gpumodel.isa.native import engine
from gpumodel.isa.native.drive import Driver
from gpumodel.isa.program import Program
from gpumodel.isa.run import Runner
from gpumodel.isa.waves import Waves

ROUNDS = 9
MOST_COLD = 500  # dispatches before a kernel is compiled, at most


class Count:
    """Wave instructions that were run, and the dispatch that was last."""

    def __init__(self) -> None:
        self.instructions = 0
        self.last: tuple[Dispatch, str, Callable[[str], None]] | None = None
        self._runner, self._driver, self._launch = Runner.run, Driver.run, launch.run

        def counted(runner: Runner, waves: Waves) -> None:
            before, count = runner.left, waves.count
            self._runner(runner, waves)
            self.instructions += (before - runner.left) * count

        def counted_natively(driver: Driver) -> int:
            done = self._driver(driver)
            self.instructions += done
            return done

        Runner.run = counted  # type: ignore[method-assign, assignment]
        Driver.run = counted_natively  # type: ignore[method-assign, assignment]
        launch.run = self._kept

    def _kept(self, dispatch: Dispatch, target: str, record: Callable[[str], None]) -> None:
        self.last = dispatch, target, record
        self._launch(dispatch, target, record)

    def again(self) -> float:
        """Seconds of CPU time for a wave instruction of the last dispatch, after as many as it takes to be compiled."""
        assert self.last is not None
        dispatch, target, _ = self.last
        program = Program(target, WaveMemory(dispatch.memory))
        for _ in range(MOST_COLD):
            if engine.settled(program, dispatch.program):
                break
            self._launch(*self.last)
        times = []
        for _ in range(ROUNDS):
            before, start = self.instructions, time.process_time()
            self._launch(*self.last)
            times.append((time.process_time() - start) / (self.instructions - before))
        return statistics.median(times)


def _training(random: Any) -> Callable[[], Any]:
    """A step of SGD on two layers (784 to 128 to 10), 64 pictures."""
    import numpy as np
    from tinygrad import Context, Tensor, nn

    nn_layers = [nn.Linear(784, 128), nn.Linear(128, 10)]
    optimizer = nn.optim.SGD([layer.weight for layer in nn_layers] + [layer.bias for layer in nn_layers], lr=0.01)
    pictures = Tensor(random.standard_normal((64, 784)).astype(np.float32)).realize()
    labels = Tensor(random.integers(0, 10, 64).astype(np.int32)).realize()

    def step() -> Any:
        with Context(TRAINING=1):
            optimizer.zero_grad()
            loss = nn_layers[1](nn_layers[0](pictures).relu()).sparse_categorical_crossentropy(labels)
            loss.backward()
            optimizer.step()
            return loss.item()

    return step


def _wall(work: Callable[[], Any]) -> float:
    """Seconds of wall time, warm: what is compiled was compiled before."""
    work()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    import numpy as np

    runtime.tinygrad.install(sys.argv[1])
    count = Count()
    from tinygrad import Device, Tensor

    random = np.random.default_rng(1)
    told = {}
    for name, work in works().items():
        work().realize()
        Device["AMD"].synchronize()
        told[name] = count.again()
    million, other = (
        Tensor(random.standard_normal(1 << 20).astype(np.float32), device="AMD").realize() for _ in range(2)
    )

    def add() -> None:
        (million + other).realize()
        Device["AMD"].synchronize()

    whole = {"add 2^20 f32": _wall(add), "a training step, 784-128-10, batch 64": _wall(_training(random))}
    print("told:" + json.dumps({"instruction": told, "whole": whole}))


if __name__ == "__main__":
    main()
