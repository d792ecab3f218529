"""Work on a modelled NVIDIA GPU through our driver: every generation and branch, every copy engine, and what goes wrong."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import pytest

from base.child import run_in_child
from base.clock import VirtualClock
from base.errors import (
    DeviceLost,
    GpumendError,
    NotPermitted,
    OutOfMemory,
    Refused,
    Unavailable,
    Undecided,
    UsageError,
    WaitTimeout,
)
from gpumodel import nvidia
from gpumodel.nvidia.gpu import NvTransport
from nvdriver import abi, pushbuffer
from nvdriver.channel import ENTRIES, PUSH_BYTES
from nvdriver.opengpu import open_gpu
from nvdriver.status import ChannelDead, RmError
from tests.model.nv_rig import Rig, data_of, opened

KIB, MIB = 1 << 10, 1 << 20
SIZES = (1, 2, 3, 4, 15, 16, 255, 4095, 4096, 4097, 64 * KIB, MIB + 5, (4 << 20) + 3)


def opening(spec: str, **machine: object) -> GpumendError:
    """The error of opening a GPU of a machine that was changed."""
    clock = VirtualClock()
    transport = nvidia.open_models(spec, clock)[0]
    for name, value in machine.items():
        setattr(transport.files.machine, name, value)
    with pytest.raises(GpumendError) as caught:
        open_gpu(transport.files, transport.gpu.bdf, clock, name=spec, part="H200")
    assert not transport.files._nodes and not transport.files._uvms and not transport.files.rm.clients
    assert caught.value.expected and caught.value.seen and caught.value.where and caught.value.next_step
    return caught.value


@pytest.mark.parametrize("driver", ["570.144", "580.105.08", "590.48.01"])
def test_what_uvm_refuses_is_an_error_in_each_branch(driver: str) -> None:
    with opened(f"h200?driver={driver}") as rig:
        bench = rig.gpu.bench
        with pytest.raises(RmError, match="NV_ERR_INVALID_ADDRESS"):
            bench.uvm.free(0x10_0000_0000 - 4096, 4096)
        with pytest.raises(RmError, match="NV_ERR_INVALID_CHANNEL"):
            bench.uvm.unregister_channel(bench.uuid, bench.gpu.client.root, 0xDEAD)


@pytest.mark.parametrize("part", [chip.name for chip in nvidia.parts()])
@pytest.mark.parametrize("driver", ["570.144", "580.105.08", "590.48.01"])
def test_gpu_of_each_generation_opens_through_each_branch_and_leaves_nothing(part: str, driver: str) -> None:
    with opened(f"{part}?driver={driver}") as rig:
        classes = rig.model.chip.classes
        found = rig.gpu.classes
        assert (found.channel, found.doorbell, found.compute, found.copy) == classes
        assert rig.gpu.engines == rig.model.chip.copy_engines
        buffer = rig.gpu.alloc(5000)
        buffer.write(data_of(5000))
        assert buffer.read() == data_of(5000)
    assert rig.nothing_left()
    assert not rig.files.rm.unknown and not rig.model.unknown
    assert "Xid" not in rig.files.kernel_log()


def test_copies_of_every_size_on_every_engine_are_exact_and_touch_nothing_else() -> None:
    with opened() as rig:
        gpu = rig.gpu
        source, target = gpu.alloc(8 * MIB), gpu.alloc(8 * MIB)
        source.write(data_of(8 * MIB))
        for number, size in enumerate(SIZES * 2):
            engine, of, to = number % gpu.engines, number * 7 % 64, number * 13 % 64
            gpu.fill(target, 0xEE, engine=engine)
            gpu.copy(target, source, size, dst_offset=to, src_offset=of, engine=engine)
            seen = target.read(0, size + 128)
            assert seen == bytes([0xEE]) * to + data_of(8 * MIB)[of : of + size] + bytes([0xEE]) * (128 - to)


@pytest.mark.parametrize(("of", "to"), [("host", "vram"), ("vram", "host"), ("host", "host")])
def test_copies_between_host_and_vram(of: str, to: str) -> None:
    with opened() as rig:
        source, target = rig.gpu.alloc(MIB, where=of), rig.gpu.alloc(MIB, where=to)
        source.write(data_of(MIB))
        rig.gpu.copy(target, source)
        assert target.read() == data_of(MIB)
        assert (source.where, target.where) == (of, to)


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 1000, 4099])
def test_fill_of_any_size_and_alignment_is_exact(offset: int, size: int) -> None:
    with opened() as rig:
        target = rig.gpu.alloc(8192)
        rig.gpu.fill(target, 0x11)
        rig.gpu.fill(target, 0xC3, size, offset=offset)
        assert target.read() == b"\x11" * offset + b"\xc3" * size + b"\x11" * (8192 - offset - size)


def test_vram_is_seen_through_bar1_as_the_engines_see_it() -> None:
    with opened() as rig:
        mapped, other = rig.gpu.alloc_mapped(MIB), rig.gpu.alloc(MIB)
        mapped.write(data_of(MIB))
        rig.gpu.copy(other, mapped)
        assert other.read() == data_of(MIB)
        rig.gpu.fill(mapped, 0x5A, engine=3)
        assert mapped.read() == b"\x5a" * MIB


def test_timestamps_never_go_back_and_tick_in_nanoseconds() -> None:
    with opened() as rig:
        first, before = rig.gpu.timer_ns(), rig.clock.now()
        for engine in range(rig.gpu.engines):
            stamps = rig.gpu.timestamps(engine, 16)
            assert stamps == sorted(stamps) and stamps[0] > first
            assert len(set(stamps)) == 16
        rig.clock.sleep(1.0)
        assert rig.gpu.timer_ns() - first == pytest.approx((rig.clock.now() - before) * 1e9, abs=64)


def test_ring_and_pushbuffer_wrap_many_times() -> None:
    with opened() as rig:
        a, b = rig.gpu.alloc(4096), rig.gpu.alloc(4096)
        last = ENTRIES + 100
        for number in range(last + 1):
            rig.gpu.fill(a, number & 0xFF, 64)
            rig.gpu.copy(b, a, 64, dst_offset=64 * (number % 64))
        assert b.read(64 * (last % 64), 64) == bytes([last & 0xFF]) * 64
        packet = pushbuffer.copy(b.gpu_va, a.gpu_va, 16)
        many = packet * (PUSH_BYTES // 3 // len(packet))
        channel = rig.gpu.channel(2)
        for _ in range(7):
            value = channel.submit(many)
        channel.wait(value)
        with pytest.raises(UsageError):
            channel.submit(many * 2)
        assert channel.submit(packet) == value + 1, "a refused submission takes no value"


def test_channel_waits_for_a_semaphore_that_the_host_or_another_channel_releases() -> None:
    with opened() as rig:
        gpu = rig.gpu
        a, b, gate = gpu.alloc(4096), gpu.alloc(4096), gpu.alloc(32, where="host")
        a.write(data_of(4096))
        gate.write(bytes(32))
        first, second = gpu.channel(0), gpu.channel(1)
        copied = first.submit(pushbuffer.acquire(gate.gpu_va, 5) + pushbuffer.copy(b.gpu_va, a.gpu_va, 4096))
        rig.clock.sleep(0.1)
        assert first.reached < copied
        with pytest.raises(WaitTimeout) as caught:
            first.wait(copied, 0.01)
        assert "CE0" in caught.value.where
        value = second.submit(pushbuffer.release(gate.gpu_va, 5))  # the other channel opens the gate
        second.wait(value)
        first.wait(copied)
        assert b.read() == data_of(4096)
        again = first.submit(pushbuffer.acquire(gate.gpu_va, 6))
        assert first.reached < again
        memory = gate.held("opening the gate")
        assert memory.cpu is not None
        memory.cpu[0:8] = struct.pack("<Q", 6)  # and the host
        first.wait(again)


def test_two_channels_of_one_engine_work_side_by_side() -> None:
    with opened() as rig:
        gpu = rig.gpu
        a, b, gates = gpu.alloc(MIB), gpu.alloc(MIB), gpu.alloc(64, where="host")
        gates.write(bytes(64))
        one, two = gpu.channel(4), gpu.new_channel(4)
        turns = []
        for turn in range(1, 9):  # each waits for the other's last step
            turns.append(
                one.submit(pushbuffer.acquire(gates.gpu_va + 16, turn - 1) + pushbuffer.release(gates.gpu_va, turn))
            )
            two.submit(pushbuffer.acquire(gates.gpu_va, turn) + pushbuffer.release(gates.gpu_va + 16, turn))
        one.wait(turns[-1])
        two.wait(two.sent)
        assert struct.unpack_from("<Q", gates.read(0, 8)) == struct.unpack_from("<Q", gates.read(16, 8)) == (8,)
        a.write(data_of(MIB))
        values = [
            channel.submit(pushbuffer.copy(b.gpu_va + at, a.gpu_va + at, MIB // 2))
            for channel, at in ((one, 0), (two, MIB // 2))
        ]
        one.wait(values[0])
        two.wait(values[1])
        assert b.read() == data_of(MIB)
        two.close()


def test_compute_channel_fences_beside_copies() -> None:
    with opened() as rig:
        channel = rig.gpu.channel(None)
        page = rig.gpu.alloc(64, where="host")
        page.write(bytes(64))
        value = channel.submit(
            pushbuffer.store32(page.gpu_va, 0x1234) + pushbuffer.interrupt() + pushbuffer.invalidate_caches()
        )
        channel.wait(value)
        assert struct.unpack_from("<I", page.read(0, 4)) == (0x1234,)
        assert channel.stamp_ns > 0


def test_channels_made_and_closed_many_times_leave_nothing() -> None:
    with opened() as rig:
        before, handles = rig.model.vram_used, len(next(iter(rig.files.rm.clients.values())).objects)
        nodes = set(rig.files._nodes)
        for number in range(200):
            channel = rig.gpu.new_channel(number % rig.gpu.engines if number % 3 else None)
            channel.close()
        assert len(rig.model.fifo.channels) == 1
        assert len(next(iter(rig.files.rm.clients.values())).objects) == handles
        assert rig.model.vram_used == before
        assert set(rig.files._nodes) == nodes and not rig.model.unknown


def test_memory_comes_back_and_an_impossible_amount_is_refused_by_name() -> None:
    with opened() as rig:
        free = rig.model.vram_free
        for _ in range(20):
            with rig.gpu.alloc(64 << 30):
                assert rig.model.vram_free == free - (64 << 30)
        assert rig.model.vram_free == free
        with pytest.raises(OutOfMemory) as caught:
            rig.gpu.alloc(200 << 30)
        assert "NV_ERR_NO_MEMORY" in caught.value.seen


# ---------------------------------------------------------------- what goes wrong


def _after_error(rig: Rig) -> None:
    """New channels work; memory is still what it was."""
    kept = rig.gpu.alloc(64)
    assert rig.gpu.recover() == ("CE0",)
    kept.write(data_of(64))
    assert kept.read() == data_of(64)


def test_page_fault_is_decoded_ends_one_channel_and_is_recovered_from() -> None:
    with opened() as rig:
        gpu = rig.gpu
        a = gpu.alloc(MIB)
        other = gpu.channel(1)
        dead = gpu.channel(0)
        value = dead.submit(pushbuffer.copy(a.gpu_va, 0x5_0000_0000, 4096))
        with pytest.raises(ChannelDead) as caught:
            dead.wait(value)
        assert caught.value.xid == 31
        assert "page fault at 0x500000000: no page directory" in caught.value.seen
        assert "a new channel works" in caught.value.next_step
        with pytest.raises(ChannelDead):
            dead.submit(b"")
        other.wait(other.submit(pushbuffer.fill(a.gpu_va, 1, 16)))  # another engine's channel goes on
        assert "): 31, pid=" in rig.files.kernel_log() and "0x5_00000000" in rig.files.kernel_log()
        _after_error(rig)


@pytest.mark.parametrize(
    ("methods", "number"),
    [
        (struct.pack("<II", pushbuffer.header(0, 0xF0, 1), 0), 32),  # no such host method
        (struct.pack("<I", 0xC0000000), 32),  # no such opcode
        (struct.pack("<I", pushbuffer.header(0, 0x20, 9)), 32),  # longer than its pushbuffer
        (struct.pack("<II", pushbuffer.header(2, 0x300, 1), 0), 32),  # nothing bound there
        (struct.pack("<II", pushbuffer.header(4, 0x00, 1), 0xC7B5), 32),  # a class of another generation
        (struct.pack("<II", pushbuffer.header(4, 0x7FC, 1), 0), 39),  # no such method of the copy engine
        (struct.pack("<II", pushbuffer.header(4, 0x300, 1), 0x1182), 39),  # a physical address
        (struct.pack("<II", pushbuffer.header(4, 0x300, 1), 0x002), 39),  # block linear
        (pushbuffer.release(0x10_0000_0004, 1), 32),  # not aligned
    ],
)
def test_bad_method_is_a_named_xid(methods: bytes, number: int) -> None:
    with opened() as rig:
        channel = rig.gpu.channel(0)
        with pytest.raises(ChannelDead) as caught:
            channel.wait(channel.submit(methods))
        assert caught.value.xid == number
        _after_error(rig)


def test_work_that_ends_in_an_xid_leaves_its_targets_in_doubt_until_they_are_written() -> None:
    with opened() as rig:
        gpu = rig.gpu
        a, b = gpu.alloc(4096), gpu.alloc(4096)
        a.write(data_of(4096))
        rig.model.fifo.next_error = 94
        gpu.copy(b, a)
        with pytest.raises(ChannelDead) as caught:
            gpu.synchronize()
        assert caught.value.xid == 94 and "Xid 94 (" in caught.value.seen
        gpu.recover()
        with pytest.raises(Undecided):
            b.read()
        assert a.read() == data_of(4096)
        gpu.copy(b, a)
        assert b.read() == data_of(4096)


def _work_until_it_fails(transport: NvTransport, clock: VirtualClock) -> None:
    with open_gpu(transport.files, transport.gpu.bdf, clock, name="h200", part="H200") as gpu:
        a = gpu.alloc(MIB)
        for number in range(20):
            gpu.fill(a, number)
            gpu.synchronize()


def test_gpu_that_is_lost_in_the_middle_is_a_lost_device_in_bounded_time() -> None:
    for fault in ("lost-after:6", "lost-after:0"):
        clock = VirtualClock()
        transport = nvidia.open_models(f"h200?fault={fault}", clock)[0]
        with pytest.raises(DeviceLost) as caught:
            _work_until_it_fails(transport, clock)
        assert "all ones" in caught.value.seen and int(caught.value.exit_code) == 69
        assert clock.now() < 30
        assert not transport.files._nodes and not transport.files._uvms
        assert not transport.files.rm.clients


def test_channels_that_hang_are_a_timeout_not_a_lost_gpu() -> None:
    with opened() as rig:
        a = rig.gpu.alloc(64)
        rig.model.fifo.hangs = True
        rig.gpu.fill(a, 1)
        with pytest.raises(WaitTimeout) as caught:
            rig.gpu.synchronize()
        assert not isinstance(caught.value, DeviceLost) and "value" in caught.value.seen
        rig.model.fifo.hangs = False
        rig.gpu.fill(a, 2)
        assert a.read() == b"\x02" * 64


def test_firmware_that_is_dead_costs_seconds_before_opening_and_a_status_afterwards() -> None:
    error = opening("h200?fault=gsp-dead")
    assert isinstance(error, WaitTimeout) and "firmware (GSP)" in error.doing
    with opened() as rig:
        rig.model.rm.gsp_alive = False
        before = rig.clock.now()
        with pytest.raises(RmError) as caught:
            rig.gpu.new_channel(1)
        assert "NV_ERR_TIMEOUT" in caught.value.seen
        assert rig.clock.now() - before < 46


def test_nodes_that_are_missing_denied_or_going_away_are_one_clear_message_each() -> None:
    none = opening("h200?driver=none")
    assert isinstance(none, Unavailable) and none.where == "/dev/nvidiactl" and "lsmod" in none.next_step
    for node in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"):
        missing = opening("h200", missing_nodes={node})
        assert isinstance(missing, Unavailable) and missing.where == node and "container" in missing.next_step
        denied = opening("h200", denied_nodes={node})
        assert isinstance(denied, NotPermitted) and denied.where == node and "ls -l" in denied.next_step
    leaving = opening("h200", unloading=True)
    assert isinstance(leaving, Unavailable) and "unloaded" in leaving.next_step
    assert int(leaving.exit_code) == 69


def test_branch_without_tables_is_refused_with_what_was_found() -> None:
    error = opening("h200?driver=535.129.03")
    assert isinstance(error, Refused) and error.seen == "535.129.03"


def test_buffers_that_are_freed_foreign_or_too_small_are_refused_before_anything_is_queued() -> None:
    with opened() as rig, opened() as stranger:
        gpu = rig.gpu
        a, b = gpu.alloc(100), gpu.alloc(100)
        sent = gpu.channel(0).sent
        for wrong in (
            lambda: gpu.copy(a, b, 101),
            lambda: gpu.copy(a, b, 0),
            lambda: gpu.copy(a, b, 50, dst_offset=60),
            lambda: gpu.copy(a, a, 50, dst_offset=20),
            lambda: gpu.copy(a, stranger.gpu.alloc(100)),
            lambda: gpu.copy(a, b, engine=10),
            lambda: gpu.copy(a, b, engine=-1),
            lambda: gpu.fill(a, 256),
            lambda: gpu.fill(a, -1),
            lambda: a.read(50, 51),
            lambda: a.write(b""),
            lambda: gpu.alloc(0),
            lambda: gpu.alloc(1, where="moon"),
        ):
            with pytest.raises(UsageError):
                wrong()
        a.free()
        for wrong in (a.free, a.read, lambda: gpu.fill(a, 1)):
            with pytest.raises(UsageError):
                wrong()
        assert gpu.channel(0).sent == sent
    with pytest.raises(UsageError):
        gpu.alloc(1)
    with pytest.raises(UsageError):
        b.read()


def test_gpu_that_its_driver_cannot_initialize_is_not_laid_to_a_container() -> None:
    error = opening("h200?fault=fallen-off-bus")
    assert isinstance(error, Unavailable) and "Input/output error" in error.seen
    assert "Xid 79" in error.next_step and "container" not in error.next_step


# ---------------------------------------------------------------- after the end


def test_what_is_closed_is_told_in_words_and_not_reached_by_an_old_number() -> None:
    with opened() as rig:
        gpu = rig.gpu
        buffer = gpu.alloc(4096)
        gpu.fill(buffer, 1)
        fence, other = gpu.fence(), gpu.new_channel(0)
        other.close()
        raw, client, uvm = gpu.raw, gpu.bench.gpu.client, gpu.bench.uvm
        closed: list[Callable[[], object]] = [lambda: other.submit(b""), lambda: other.wait(1), lambda: other.reached]
    closed += [lambda: fence.done, fence.wait, gpu.timer_ns, raw.compute_channel, lambda: gpu.channel(0)]
    for work in closed:
        with pytest.raises(UsageError, match="it is closed"):
            work()
    again = [rig.files.open(abi.CTL_NODE) for _ in range(3)]
    assert client.ctl not in again and uvm._handle not in again
    with pytest.raises(Unavailable):
        client.attached()
    with pytest.raises(Unavailable):
        uvm.free(0x1000, 0x1000)


def test_fence_of_a_channel_that_the_driver_ended_tells_why_after_a_recovery() -> None:
    with opened() as rig:
        buffer = rig.gpu.alloc(4096)
        rig.model.fifo.next_error = 31
        rig.gpu.fill(buffer, 1)
        fence = rig.gpu.fence()
        with pytest.raises(ChannelDead):
            fence.wait()
        assert rig.gpu.recover() == ("CE0",)
        with pytest.raises(ChannelDead, match="Xid 31"):
            _ = fence.done


def test_forked_process_can_neither_use_nor_close_what_its_parent_opened() -> None:
    with opened() as rig:
        buffer = rig.gpu.alloc(4096, where="host")
        buffer.write(bytes(4096))

        def child() -> tuple[str, int, bool]:
            try:
                buffer.read()
            except UsageError as error:
                seen = error.seen
            rig.gpu.close()
            return seen, len(rig.model.fifo.channels), rig.gpu.is_open

        seen, channels, is_open = run_in_child(child, 10, doing="using it in a child").unwrap()
        assert f"forked from it ({os.getpid()})" in seen and channels == 1 and not is_open
        rig.gpu.fill(buffer, 7)
        assert buffer.read() == b"\7" * 4096


def test_submission_that_found_no_room_does_not_count() -> None:
    """Else every later wait would be for work that was never sent."""
    with opened() as rig:
        channel = rig.gpu.channel(0)
        rig.model.fifo.hangs = True
        for _ in range(3 * ENTRIES):
            before = channel.sent
            try:
                channel.submit(pushbuffer.copy_release(channel._records.gpu_va + 64, 1))
            except WaitTimeout:
                break
        assert channel.sent == before
        rig.model.fifo.hangs = False
        rig.model.fifo.ring(channel._token)
        channel.wait(channel.sent)


def test_addresses_of_what_a_stuck_engine_may_still_write_are_given_to_nobody() -> None:
    with opened() as rig:
        buffer = rig.gpu.alloc(64 * KIB)
        address = buffer.gpu_va
        rig.model.fifo.hangs = True
        rig.gpu.fill(buffer, 1)
        buffer.free()
        rig.model.fifo.hangs = False
        assert rig.gpu.bench.memory.alloc(64 * KIB).gpu_va != address
        with pytest.raises(WaitTimeout):
            rig.gpu.close()
    assert rig.nothing_left()


def test_views_are_closed_though_the_driver_frees_nothing_any_more() -> None:
    """A view hangs on a file of the GPU's node: while one is open, the GPU is in use and cannot be unbound."""
    with opened() as rig:
        for _ in range(3):
            rig.gpu.alloc_mapped(4096)
        rig.gpu.bench.uvm._handle = -1  # every call fails
        with pytest.raises(Unavailable):
            rig.gpu.close()
    assert rig.nothing_left()
