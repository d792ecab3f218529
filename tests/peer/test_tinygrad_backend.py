"""tinygrad with our driver beneath, on models in this process: memory, copies, queues, signals, peers, graphs, profiling."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumodel.dispatch import Code, Operation
from tests.peer.backend_rig import Rig, copy, installed, payload, require_tinygrad, store

require_tinygrad()

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
SIZES = (1, 3, 4, 4096, (1 << 20) + 0x3005, (8 << 20) + 1)
KIB = 1024


@BOTH
def test_device_opens_as_its_architecture_and_knows_its_shape(part: str, firmware_dir: Path) -> None:
    with installed(f"model:{part}*2", firmware_dir) as rig:
        device = rig.device()
        wanted = {"mi300x": ("gfx942", 40, 64), "mi350x": ("gfx950", 36, 160)}[part]
        assert (device.arch, device.cu_cnt, device.iface.props["lds_size_in_kb"]) == wanted
        assert (device.xccs, device.count()) == (8, 2)
        assert list(rig.session.gpus) == [0], "the other GPU is brought up when it is used"


@BOTH
@pytest.mark.parametrize("staging", [True, False], ids=["staging", "straight"])
def test_copies_of_every_size_round_trip_and_lie_in_vram(part: str, staging: bool, firmware_dir: Path) -> None:
    with installed(f"model:{part}", firmware_dir, staging=staging) as rig:
        device = rig.device()
        for size in SIZES:
            data = payload(size, size)
            buffer = rig.filled(device, data)
            assert rig.content(device, buffer, size) == data
            assert buffer.meta.read(0, size) == data, "read through BAR0"
        assert (rig.model().wrongs, dict(rig.model().unknown_accesses)) == ([], {})


def test_tensors_go_to_the_gpu_to_another_and_back(firmware_dir: Path) -> None:
    with installed("model:mi300x*2", firmware_dir):
        from tinygrad import Tensor

        numbers = list(range(5000))
        first = Tensor(numbers, device="AMD").realize()
        second = first.to("AMD:1").realize()
        assert second.numpy().tolist() == numbers
        assert first.numpy().tolist() == numbers


@BOTH
@pytest.mark.parametrize("engine", [0, 5, 15])
def test_every_copy_queue_copies_waits_and_stamps(part: str, engine: int, firmware_dir: Path) -> None:
    with installed(f"model:{part}", firmware_dir) as rig:
        device = rig.device()
        data = payload(engine, 9 << 20)
        source, target = rig.filled(device, data), device.allocator.alloc(len(data))
        begin, end, gate = device.new_signal(), device.new_signal(), device.new_signal(value=0)
        queue = device.hw_copy_queue_t(queue_idx=engine).wait(device.timeline_signal, device.timeline_value - 1)
        queue.wait(gate, 7).timestamp(begin).copy(target, source, len(data)).timestamp(end)
        queue.signal(device.timeline_signal, device.next_timeline()).submit(device)
        device.iface.gpu.clock.sleep(0.01)
        assert device.timeline_signal.value < device.timeline_value - 1, "it waits for the gate"
        gate.value = 7
        device.synchronize()
        assert rig.content(device, target, len(data)) == data
        assert end.timestamp > begin.timestamp > 0


@BOTH
def test_compute_queue_runs_kernels_barriers_writes_and_stamps(part: str, firmware_dir: Path) -> None:
    with installed(f"model:{part}", firmware_dir) as rig:
        device = rig.device()
        data = payload(3, 4 * KIB)
        source, target = rig.filled(device, data), rig.filled(device, bytes(8 * KIB))
        move = rig.program(device, copy(4 * KIB), arguments=2)
        mark = rig.program(device, store(0x1122_3344_5566_7788))
        move(target, source)
        mark(target.offset(4 * KIB), global_size=(4, 2, 1), local_size=(64, 1, 1))
        assert move(target, source, wait=True) >= 0.0, "the model's kernels take no time"
        begin, end = device.new_signal(), device.new_signal()
        queue = device.hw_compute_queue_t().wait(device.timeline_signal, device.timeline_value - 1).timestamp(begin)
        queue.memory_barrier().write(target.offset(5 * KIB), 0xABCD)
        queue.write(target.offset(6 * KIB), 0x1_0000_0002, b64=True).timestamp(end)
        queue.signal(device.timeline_signal, device.next_timeline()).submit(device)
        seen = rig.content(device, target, 8 * KIB)
        assert end.timestamp >= begin.timestamp > 0
        assert seen[: 4 * KIB] == data
        assert seen[4 * KIB : 4 * KIB + 8] == (0x1122_3344_5566_7788).to_bytes(8, "little")
        assert seen[5 * KIB : 5 * KIB + 8] == (0xABCD).to_bytes(8, "little")
        assert seen[6 * KIB : 6 * KIB + 8] == (0x1_0000_0002).to_bytes(8, "little")
        assert (rig.model().wrongs, dict(rig.model().unknown_accesses)) == ([], {})


def test_thousands_of_launches_go_round_the_rings(firmware_dir: Path) -> None:
    """More than the ring, the memory for indirect buffers and the room for arguments hold at once."""
    with installed("model:mi300x", firmware_dir) as rig:
        device = rig.device()
        counter = rig.filled(device, bytes(8))
        add = rig.program(device, Operation(Code.ADD | 0x100, 0, 1))
        for _ in range(6000):
            add(counter)
        assert int.from_bytes(rig.content(device, counter, 8), "little") == 6000


@BOTH
def test_gpus_of_a_hive_exchange_data_and_wait_for_each_other(part: str, firmware_dir: Path) -> None:
    with installed(f"model:{part}*2", firmware_dir) as rig:
        first, second = rig.device(0), rig.device(1)
        data = payload(9, (3 << 20) + 5)
        source = rig.filled(first, data)
        target, back = second.allocator.alloc(len(data)), first.allocator.alloc(len(data))
        second.allocator._transfer(target, source, len(data), src_dev=first, dest_dev=second)
        first.allocator._transfer(back, target, len(data), src_dev=second, dest_dev=first)
        assert rig.content(second, target, len(data)) == data
        assert rig.content(first, back, len(data)) == data
        assert target.meta.read(0, len(data)) == data


@BOTH
def test_a_graph_of_copies_over_two_gpus_runs_again_and_again(part: str, firmware_dir: Path) -> None:
    with installed(f"model:{part}*2", firmware_dir):
        from tinygrad import Tensor, TinyJit

        def copies(start: Tensor) -> Tensor:
            there = start.to("AMD:1").realize()
            again = there.to("AMD").realize()
            return again.to("AMD:1").realize()

        chain = TinyJit(copies)
        for turn in range(5):
            numbers = [turn * 1000 + number for number in range(3000)]
            end = chain(Tensor(numbers, device="AMD").realize())
            assert end.numpy().tolist() == numbers


def test_closing_gives_everything_back(firmware_dir: Path) -> None:
    with installed("model:mi350x*2", firmware_dir) as rig:
        for index in (0, 1):
            rig.filled(rig.device(index), payload(index, 1 << 20))
        memory = rig.model().hive.host_memory
        devices = [gpu.device for gpu in rig.session.gpus.values()]
        assert memory.in_use_bytes > 0
    assert memory.in_use_bytes == 0
    assert [(device.is_open, device.left) for device in devices] == [(False, ()), (False, ())]


def test_memory_that_is_freed_is_used_again(firmware_dir: Path) -> None:
    with installed("model:mi300x?vram=16", firmware_dir) as rig:
        device = rig.device()
        free = device.iface.gpu.device.gmc.vram.free_bytes
        for _ in range(3):
            held = [device.allocator.alloc(5 << 30) for _ in range(2)]
            for one in held:
                device.allocator.free(one, 5 << 30)
            del held
        device.allocator.free_cache()
        assert device.iface.gpu.device.gmc.vram.free_bytes == free


def test_too_much_memory_is_a_memory_error_with_ours_inside(firmware_dir: Path) -> None:
    with installed("model:mi300x?vram=16", firmware_dir) as rig:
        device = rig.device()
        with pytest.raises(MemoryError) as told:
            device.allocator.alloc(17 << 30)
        assert "VRAM" in str(told.value.__cause__)


def test_profile_events_have_rising_times(firmware_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with installed("model:mi300x*2", firmware_dir, staging=True) as rig:
        from tinygrad.device import Compiled
        from tinygrad.helpers import PROFILE, Context, ProfileRangeEvent

        with Context(PROFILE=1):
            assert PROFILE
            device = rig.device()
            monkeypatch.setattr(Compiled, "profile_events", [])
            buffer = rig.filled(device, payload(1, 1 << 20))
            rig.program(device, store(5))(buffer)
            device.synchronize()
            device._at_profile_finalize()
            ranges = [one for one in Compiled.profile_events if isinstance(one, ProfileRangeEvent)]
            assert {one.device for one in ranges} == {"AMD", "AMD:SDMA:0"}
            assert all(one.en >= one.st > 0 for one in ranges), "the model's kernels take no time"


def test_install_rig_leaves_tinygrad_as_it_was(firmware_dir: Path) -> None:
    from tinygrad.runtime import ops_amd

    before = ops_amd.AMDDevice
    with installed("model:mi300x", firmware_dir) as rig:
        assert isinstance(rig, Rig)
        assert ops_amd.AMDDevice is not before
        assert issubclass(ops_amd.AMDDevice, before)
    assert ops_amd.AMDDevice is before
