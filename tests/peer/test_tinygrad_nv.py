"""tinygrad with our driver beneath as its NV backend, on models in this process: memory, copies, signals, what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import gpumend
import runtime.tinygrad_nv as backend
from base.errors import Unavailable, UsageError
from gpumodel.nvidia.gpu import NvGpu
from tests.peer.backend_rig import require_tinygrad

require_tinygrad()

SIZES = (1, 3, 4, 4096, (1 << 20) + 0x3005, (8 << 20) + 1)


@contextmanager
def installed(spec: str) -> Iterator[backend.NvSession]:
    session = backend.install(spec)
    try:
        yield session
    finally:
        backend.uninstall()


def device_of(index: int = 0) -> Any:
    from tinygrad import Device

    return Device["NV" if index == 0 else f"NV:{index}"]


def model(session: backend.NvSession, index: int = 0) -> NvGpu:
    found: NvGpu = session.found()[index].transport.gpu  # type: ignore[attr-defined]
    return found


def filled(device: Any, data: bytes) -> Any:
    buffer = device.allocator.alloc(len(data))
    device.allocator._copyin(buffer, memoryview(bytearray(data)))
    return buffer


def content(device: Any, buffer: Any, size: int) -> bytes:
    out = bytearray(size)
    device.allocator._copyout(memoryview(out), buffer)
    return bytes(out)


@pytest.mark.parametrize(
    ("part", "arch"), [("h200", "sm_90"), ("b200", "sm_100"), ("rtx4090", "sm_89"), ("rtx5090", "sm_120")]
)
def test_device_opens_as_its_architecture_and_copies_every_size(part: str, arch: str) -> None:
    with installed(f"model:{part}*2") as session:
        device = device_of()
        assert (device.arch, device.count()) == (arch, 2)
        assert list(session.gpus) == [0], "the other GPU is opened when it is used"
        for size in SIZES:
            data = random.Random(size).randbytes(size)
            assert content(device, filled(device, data), size) == data
        assert not model(session).unknown and "Xid" not in session.found()[0].transport.files.kernel_log()  # type: ignore[attr-defined]


def test_tensors_go_to_the_gpu_to_another_and_back() -> None:
    with installed("model:h200*2"):
        from tinygrad import Tensor

        numbers = list(range(5000))
        first = Tensor(numbers, device="NV").realize()
        second = first.to("NV:1").realize()
        assert second.numpy().tolist() == numbers and first.numpy().tolist() == numbers


@pytest.mark.parametrize("engine", [0, 3, 9])
def test_every_copy_queue_copies_waits_and_stamps(engine: int) -> None:
    with installed("model:h200") as session:
        device = device_of()
        data = random.Random(engine).randbytes(9 << 20)
        source, target = filled(device, data), device.allocator.alloc(len(data))
        begin, end, gate = device.new_signal(), device.new_signal(), device.new_signal(value=0)
        queue = device.hw_copy_queue_t(queue_idx=engine).wait(device.timeline_signal, device.timeline_value - 1)
        queue.wait(gate, 7).timestamp(begin).copy(target, source, len(data)).timestamp(end)
        queue.signal(device.timeline_signal, device.next_timeline()).submit(device)
        session.gpus[0].clock.sleep(0.01)
        assert device.timeline_signal.value < device.timeline_value - 1, "it waits for the gate"
        gate.value = 7
        device.synchronize()
        assert content(device, target, len(data)) == data
        assert end.timestamp > begin.timestamp > 0


def test_compute_queue_signals_stores_stamps_and_orders_with_copies() -> None:
    with installed("model:h200"):
        device = device_of()
        data = random.Random(1).randbytes(4096)
        source, target = filled(device, data), device.allocator.alloc(4096)
        stamp = device.new_signal()
        value = device.next_timeline()
        copy = device.hw_copy_queue_t().wait(device.timeline_signal, value).copy(target, source, 4096)
        copy.signal(device.timeline_signal, device.next_timeline()).submit(device)
        queue = device.hw_compute_queue_t().wait(device.timeline_signal, value - 1).memory_barrier()
        queue.write(source.offset(0, 4), 0x61626364).timestamp(stamp).signal(device.timeline_signal, value).submit(
            device
        )
        device.synchronize()
        assert content(device, target, 4096) == b"dcba" + data[4:]
        assert stamp.timestamp > 0


def test_symbols_of_a_graph_are_put_in_when_it_is_submitted() -> None:
    with installed("model:h200"):
        from tinygrad.runtime.support.hcq import HCQBuffer
        from tinygrad.uop.ops import UOp

        device = device_of()
        data = random.Random(2).randbytes(8192)
        source, target = filled(device, data), filled(device, bytes(8192))
        at = UOp.variable("at", 0, 1 << 40)
        queue = device.hw_copy_queue_t().wait(device.timeline_signal, device.timeline_value - 1)
        queue.copy(target, HCQBuffer(at, 4096), 4096).signal(device.timeline_signal, UOp.variable("value", 0, 1 << 31))
        for offset in (0, 4096):
            queue.submit(device, {"at": source.va_addr + offset, "value": device.next_timeline()})
            device.synchronize()
            assert content(device, target, 4096) == data[offset : offset + 4096]


def copied(device: Any, target: Any, source: Any) -> None:
    queue = device.hw_copy_queue_t().copy(target, source, 4096)
    queue.signal(device.timeline_signal, device.next_timeline()).submit(device)


def test_xid_is_told_and_the_next_work_runs() -> None:
    with installed("model:h200") as session:
        device = device_of()
        data = random.Random(3).randbytes(4096)
        source, target = filled(device, data), device.allocator.alloc(4096)
        model(session).fifo.next_error = 94
        device.hw_copy_queue_t().copy(target, source, 4096).signal(
            device.timeline_signal, device.next_timeline()
        ).submit(device)
        with pytest.raises(gpumend.ChannelDead) as caught:
            device.synchronize()
        assert caught.value.xid == 94
        device.hw_copy_queue_t().copy(target, source, 4096).signal(
            device.timeline_signal, device.next_timeline()
        ).submit(device)
        device.synchronize()
        assert content(device, target, 4096) == data


def test_gpu_that_is_lost_makes_the_device_unusable_at_once() -> None:
    with installed("model:h200") as session:
        device = device_of()
        buffer = filled(device, bytes(64))
        model(session).fall_off()
        for _ in range(2):
            with pytest.raises(gpumend.DeviceLost):
                content(device, buffer, 64)


def test_kernel_is_refused_with_the_reason() -> None:
    with installed("model:h200"):
        from tinygrad.device import TinyELF
        from tinygrad.helpers import Target

        with pytest.raises(Unavailable) as caught:
            device_of().runtime(TinyELF(lib=b"", name="add", target=Target(), signature=()))
        assert "add" in caught.value.doing and "constant bank" in caught.value.seen


def test_memory_comes_back_and_an_impossible_amount_is_a_memory_error() -> None:
    with installed("model:h200") as session:
        device = device_of()
        before = model(session).vram_used
        buffer = device.allocator.alloc(1 << 30)
        device.allocator.free(buffer, 1 << 30)
        device.allocator.free_cache()
        assert model(session).vram_used == before
        with pytest.raises(MemoryError):
            device.allocator.alloc(1 << 40)
    assert not session.gpus


def test_install_twice_or_where_nothing_is() -> None:
    with installed("model:h200"), pytest.raises(UsageError):
        backend.install("model:h200")
    with installed("model:mi350x"), pytest.raises(Exception, match="an NVIDIA GPU"):
        device_of()
    from tinygrad.runtime import ops_nv

    assert ops_nv.NVDevice.__module__ == "tinygrad.runtime.ops_nv"
