"""A program for tinygrad on our driver: operations whose results NumPy knows, in groups. One line of JSON for each group.

    LLVM_PATH=... python -m tests.peer.tinygrad_numbers 'model:mi350x*2' [--only GROUP] [--mnemonics FILE]

`--mnemonics`: the instructions that the groups ran, one a line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gpumodel.isa.program as interpreter
import runtime.tinygrad

Array = Any
DEVICE = "AMD"
PEERS = ("AMD", "AMD:1")
STEPS = 20

random = np.random.default_rng(0)
groups: dict[str, Callable[[], None]] = {}


def group(function: Callable[[], None]) -> Callable[[], None]:
    groups[function.__name__] = function
    return function


def on(values: Array) -> Any:
    from tinygrad import Tensor

    return Tensor(values, device=DEVICE)


def normal(*shape: int, dtype: Any = np.float32) -> Array:
    return random.standard_normal(shape).astype(dtype)


def close(got: Any, expected: Array, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(got.numpy(), expected, rtol=tolerance, atol=tolerance)


def equal(got: Any, expected: Array) -> None:
    np.testing.assert_array_equal(got.numpy(), expected)


@group
def elementwise() -> None:
    a, b = normal(37, 45), normal(37, 45)
    close((on(a) * 2 + on(b)) / (on(b).abs() + 1), (a * 2 + b) / (abs(b) + 1))
    close(on(a).exp(), np.exp(a))
    close((on(a).abs() + 0.1).log(), np.log(abs(a) + 0.1))
    close(on(a).sin(), np.sin(a))
    close((on(a) * 1e6).sin(), np.sin(a.astype(np.float32) * np.float32(1e6)), 1e-4)
    close(on(a).abs().sqrt(), np.sqrt(abs(a)))
    close(on(a).tanh(), np.tanh(a))
    close(on(a).sigmoid(), 1 / (1 + np.exp(-a)))
    equal((on(a) > 0).where(on(a), on(b)), np.where(a > 0, a, b))
    equal(on(a).round(), np.rint(a))
    equal((on(a) * 3).floor(), np.floor(a * 3))


@group
def integers() -> None:
    a, b = random.integers(-1000, 1000, 500).astype(np.int32), random.integers(1, 50, 500).astype(np.int32)
    equal(on(a) // on(b), a // b)
    equal(on(a) % on(b), a % b)
    equal(on(a) >> 2, a >> 2)
    kinds = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
    for kind in kinds:
        low = 0 if np.iinfo(kind).min == 0 else -9
        x, y = random.integers(low, 100, 300).astype(kind), random.integers(1, 9, 300).astype(kind)
        operations: tuple[Callable[[Any, Any], Any], ...] = (
            lambda p, q: p + q,
            lambda p, q: p * q,
            lambda p, q: p // q,
            lambda p, q: p % q,
            lambda p, q: p ^ q,
            lambda p, q: p < q,
            lambda p, q: p == q,
        )
        for operation in operations:
            equal(operation(on(x), on(y)), operation(x, y))
        equal(on(x).maximum(on(y)), np.maximum(x, y))


@group
def casts() -> None:
    from tinygrad import dtypes

    x = normal(400) * 50
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float16", "float64"):
        source = abs(x) if name[0] == "u" else x
        equal(on(source).cast(getattr(dtypes, name)), source.astype(name))
    close(on(x).cast(dtypes.bfloat16).float(), x, 2.0**-8)
    halves = (normal(300) * 50).astype(np.float16)
    for name in ("int16", "float32", "float64"):
        equal(on(halves).cast(getattr(dtypes, name)), halves.astype(name))


@group
def reduce() -> None:
    a = normal(64, 300)
    close(on(a).sum(), a.sum(), 1e-3)
    close(on(a).sum(1), a.sum(1), 1e-4)
    equal(on(a).max(0), a.max(0))
    close(on(a).mean(0), a.mean(0), 1e-4)
    close(on(a[:, :20]).prod(1), a[:, :20].prod(1), 1e-4)
    equal(on(a).argmax(1), a.argmax(1))
    close(on(a).cumsum(1), a.cumsum(1), 1e-3)
    close(on(a).var(1), a.var(1, ddof=1), 1e-3)


@group
def halves() -> None:
    a, b = normal(1000, dtype=np.float16), normal(1000, dtype=np.float16)
    equal(on(a) + on(b), a + b)
    equal(on(a) * on(b), a * b)
    equal(on(a).maximum(on(b)), np.maximum(a, b))
    equal(on(a) < on(b), a < b)
    close(on(a).exp(), np.exp(a.astype(np.float32)), 5e-3)
    close(on(a).abs().sqrt(), np.sqrt(abs(a)), 2e-3)


@group
def doubles() -> None:
    a, b = normal(500, dtype=np.float64), normal(500, dtype=np.float64)
    close(on(a) * on(b) + 1, a * b + 1, 1e-14)
    close(on(a) / on(b), a / b, 1e-12)
    close(on(a).exp(), np.exp(a), 1e-6)
    close(on(a).sin(), np.sin(a), 1e-6)
    close(on(a).abs().sqrt(), np.sqrt(abs(a)), 1e-7)
    equal(on(a * 1000).cast("int32"), (a * 1000).astype(np.int32))


@group
def matmul() -> None:
    for rows, columns, depth in ((16, 16, 16), (64, 64, 64), (33, 17, 29), (128, 128, 128)):
        a, b = normal(rows, depth), normal(depth, columns)
        close(on(a) @ on(b), a @ b, 1e-3)


@group
def matmul_tensor_cores() -> None:
    from tinygrad import dtypes

    for kind, tolerance in (("float16", 1e-2), ("bfloat16", 1e-2)):
        a, b = on(normal(64, 64)).cast(kind), on(normal(64, 64)).cast(kind)
        expected = a.float().numpy().astype(np.float64) @ b.float().numpy().astype(np.float64)
        close(a.matmul(b, dtype=dtypes.float32), expected, tolerance)
        close((a @ b).float(), expected, 0.1)


@group
def softmax() -> None:
    a = normal(10, 100)
    e = np.exp(a - a.max(1, keepdims=True))
    expected = e / e.sum(1, keepdims=True)
    close(on(a).softmax(1), expected)
    close(on(a).log_softmax(1), np.log(expected), 1e-4)
    close(on(a).layernorm(), (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-5), 1e-4)


@group
def convolution() -> None:
    x, weights = normal(2, 3, 12, 12), normal(5, 3, 3, 3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.zeros((2, 5, 12, 12))
    for i, j in np.ndindex(12, 12):
        expected[:, :, i, j] = np.einsum("nchw,ochw->no", padded[:, :, i : i + 3, j : j + 3], weights)
    close(on(x).conv2d(on(weights), padding=1), expected, 1e-4)
    equal(on(x).max_pool2d(), x.reshape(2, 3, 6, 2, 6, 2).max((3, 5)))


@group
def sort() -> None:
    a = normal(100)
    values, places = on(a).sort()
    equal(values, np.sort(a))
    equal(places, np.argsort(a, kind="stable"))
    equal(on(a).topk(5)[0], np.sort(a)[::-1][:5])


@group
def index() -> None:
    from tinygrad import Tensor

    a, rows = normal(20, 30), random.integers(0, 20, 15)
    equal(on(a)[on(rows.astype(np.int32))], a[rows])
    equal(on(a).pad(((1, 2), (3, 4))), np.pad(a, ((1, 2), (3, 4))))
    equal(on(a).T.contiguous(), a.T)
    equal(on(a)[::2, 5:25:3], a[::2, 5:25:3])
    equal(Tensor.cat(on(a), on(a), dim=1), np.concatenate([a, a], 1))


def _threefry(keys: tuple[int, int], counters: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32 of 20 rounds, by integers (Salmon et al., Parallel random numbers: as easy as 1, 2, 3)."""
    word = 0xFFFFFFFF
    schedule = (*keys, keys[0] ^ keys[1] ^ 0x1BD11BDA)
    x, y = (counters[0] + schedule[0]) & word, (counters[1] + schedule[1]) & word
    for i in range(20):
        turn = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8]
        x = (x + y) & word
        y = (y << turn | y >> 32 - turn) & word ^ x
        if i % 4 == 3:
            x = (x + schedule[(i // 4 + 1) % 3]) & word
            y = (y + schedule[(i // 4 + 2) % 3] + i // 4 + 1) & word
    return x, y


@group
def random_numbers() -> None:
    from tinygrad import Tensor

    keys, counters = random.integers(0, 2**32, 50, dtype=np.uint64), random.integers(0, 2**32, 50, dtype=np.uint64)
    wide_keys, wide_counters = keys << np.uint64(32) | keys[::-1], counters << np.uint64(32) | counters[::-1]
    got = on(wide_counters).threefry(on(wide_keys)).numpy()
    for key, counter, value in zip(wide_keys.tolist(), wide_counters.tolist(), got.tolist(), strict=True):
        x, y = _threefry((key & 0xFFFFFFFF, key >> 32), (counter & 0xFFFFFFFF, counter >> 32))
        assert value == x | y << 32
    Tensor.manual_seed(3)
    first = Tensor.rand(1000, device=DEVICE).numpy()
    Tensor.manual_seed(3)
    equal(Tensor.rand(1000, device=DEVICE), first)
    assert first.min() >= 0
    assert first.max() < 1
    assert 0.45 < first.mean() < 0.55
    normals = Tensor.randn(1000, device=DEVICE).numpy()
    assert abs(normals.mean()) < 0.15
    assert 0.9 < normals.std() < 1.1


@group
def jit() -> None:
    from tinygrad import TinyJit

    step: Any = TinyJit(lambda a, b: (a * b + 1).realize())
    for _ in range(5):
        a, b = normal(50), normal(50)
        close(step(on(a), on(b)), a * b + 1)


@group
def all_reduce() -> None:
    a = normal(8, 32)
    close(on(a).shard(PEERS, axis=0).sum(0), a.sum(0), 1e-4)
    close(on(a).shard(PEERS, axis=0) @ on(a.T.copy()).shard(PEERS, axis=None), a @ a.T, 1e-3)


def _losses_by_numpy(x: Array, labels: Array, first: Array, second: Array, rate: float) -> Iterator[float]:
    """Two layers, cross entropy, Adam: in float64."""
    weights = [first.astype(np.float64), second.astype(np.float64)]
    means, squares = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, STEPS + 1):
        hidden = np.maximum(x @ weights[0], 0)
        logits = hidden @ weights[1]
        e = np.exp(logits - logits.max(1, keepdims=True))
        chances = e / e.sum(1, keepdims=True)
        rows = np.arange(len(labels))
        yield float(-np.log(chances[rows, labels]).mean())
        chances[rows, labels] -= 1
        back = chances / len(labels)
        gradients = [x.T @ ((back @ weights[1].T) * (hidden > 0)), hidden.T @ back]
        for i, gradient in enumerate(gradients):
            means[i] = 0.9 * means[i] + 0.1 * gradient
            squares[i] = 0.999 * squares[i] + 0.001 * gradient**2
            moved = means[i] / (1 - 0.9**step) / (np.sqrt(squares[i] / (1 - 0.999**step)) + 1e-8)
            weights[i] = weights[i] - rate * moved


def _losses_on(device: str, x: Array, labels: Array, first: Array, second: Array, rate: float) -> list[float]:
    """The same by tinygrad, in float32."""
    from tinygrad import Tensor, nn
    from tinygrad.helpers import Context

    weights = [Tensor(w, device=device).is_param_(True) for w in (first, second)]
    optimizer = nn.optim.Adam(weights, lr=rate)
    tensor, wanted = Tensor(x, device=device), Tensor(labels.astype(np.int32), device=device)
    losses = []
    with Context(TRAINING=1):
        for _ in range(STEPS):
            optimizer.zero_grad()
            logits = (tensor @ weights[0]).relu() @ weights[1]
            loss = logits.sparse_categorical_crossentropy(wanted)
            loss.backward()
            losses.append(loss.item())  # before the weights move: it is computed when it is asked for
            optimizer.step()
    return losses


@group
def train() -> None:
    first, second, x = normal(20, 32) * np.float32(0.2), normal(32, 10) * np.float32(0.2), normal(64, 20)
    labels = random.integers(0, 10, 64)
    losses = _losses_on(DEVICE, x, labels, first, second, 0.01)
    np.testing.assert_allclose(losses, list(_losses_by_numpy(x, labels, first, second, 0.01)), rtol=2e-4)
    np.testing.assert_allclose(losses, _losses_on("CPU", x, labels, first, second, 0.01), rtol=2e-5)
    assert losses[-1] < losses[0] / 2


def _recording(seen: set[str]) -> None:
    """Have every instruction that waves come to told to `seen`."""
    bind = interpreter.bind

    def recorded(target: str, word: int) -> Any:
        step = bind(target, word)
        seen.add(step.instruction.name)
        return step

    interpreter.bind = recorded  # type: ignore[assignment]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--only", action="append", choices=sorted(groups))
    parser.add_argument("--mnemonics", type=Path)
    arguments = parser.parse_args()
    seen: set[str] = set()
    good: set[str] = set()
    if arguments.mnemonics:
        os.environ["GPUMEND_KERNELS"] = "interpreted"  # each instruction is seen
    _recording(seen)
    os.environ.setdefault("DEV", "CPU:LLVM")  # its CPU backend wants clang otherwise; this is LLVM_PATH's library
    runtime.tinygrad.install(arguments.address)
    failed = 0
    for name in arguments.only or groups:
        seen.clear()
        error, began = "", time.perf_counter()
        try:
            groups[name]()
            good |= seen
        except Exception as reason:  # noqa: BLE001 (whatever a group meets is its result)
            failed += 1
            error = f"{type(reason).__name__}: {reason}"
        took = round(time.perf_counter() - began, 2)
        print(json.dumps({"group": name, "error": error, "seconds": took}), flush=True)
    if arguments.mnemonics:
        arguments.mnemonics.write_text("\n".join(sorted(good)) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
