"""OpenGpu above a driver of byte arrays: order, fences, stuck engines, VRAM that the CPU does not reach, closing."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any, cast

import pytest

from amdriver import sdma_packets
from amdriver.device import Device
from amdriver.memory import BadAddress, Closed
from amdriver.opengpu import STAGING_BYTES, ForeignBuffer, NoSuchEngine, OpenGpu
from base.clock import VirtualClock
from base.errors import DeviceLost, Undecided, WaitTimeout

SPACE = 32 << 20
MC_BASE = 0x80_0000_0000
SIGNALS_AT = SPACE - 65536


class FakeBuffer:
    def __init__(self, gmc: FakeGmc, at: int, size: int, where: str) -> None:
        self.gmc, self.gpu_va, self.size, self.where = gmc, at, size, where
        self.extents = () if where == "host" else ((at, size),)
        self.freed = False
        self.peer: FakeBuffer | None = None

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.gmc.memory[self.gpu_va + offset : self.gpu_va + offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.gmc.memory[self.gpu_va + offset : self.gpu_va + offset + len(data)] = data

    def free(self) -> None:
        assert not self.freed
        self.freed = True
        self.gmc.live.remove(self)


class FakeGmc:
    def __init__(self) -> None:
        self.memory = bytearray(SPACE)
        self.live: list[FakeBuffer] = []
        self.copier: Any = None
        self.place = SimpleNamespace(node=0, nodes=1, mc_base=MC_BASE)
        self.next = 4096

    def alloc(self, size: int, *, where: str = "vram", owner: str = "", uncached: bool = False) -> FakeBuffer:
        made = FakeBuffer(self, self.next, size, where)
        self.next += -(-size // 4096) * 4096
        self.live.append(made)
        return made

    def map_peer(self, peer: FakeBuffer) -> FakeBuffer:
        made = FakeBuffer(self, peer.gpu_va, peer.size, "peer")
        made.peer = peer
        self.live.append(made)
        return made

    def faults(self) -> list[str]:
        return []


class FakeSignal:
    def __init__(self, sdma: FakeSdma) -> None:
        self.sdma, self.value, self.freed = sdma, 0, False

    def wait(self, value: int, timeout_s: float) -> int:
        self.sdma.waits.append(timeout_s)
        if self.sdma.lost:
            raise DeviceLost("waiting for a fence", seen="all ones")
        if self.value < value:
            raise WaitTimeout("waiting for a fence of SDMA 0", expected=f"{value}", seen=f"{self.value}")
        return self.value

    def free(self) -> None:
        self.freed = True


class FakeQueue:
    """Runs what is submitted at once, unless it is stuck."""

    def __init__(self, sdma: FakeSdma) -> None:
        self.sdma = sdma
        self.stuck = False
        self.pending: list[Any] = []
        self.submits = 0

    def add(self, packets: bytes) -> None:
        self.pending.append(packets)

    def fence(self, signal: FakeSignal, value: int) -> None:
        self.pending.append((signal, value))

    def submit(self) -> None:
        self.submits += 1
        pending, self.pending = self.pending, []
        if self.stuck:
            return
        for one in pending:
            if isinstance(one, tuple):
                one[0].value = one[1]
            else:
                self.run(one)

    def run(self, packets: bytes) -> None:
        memory = self.sdma.gmc.memory
        words = struct.unpack(f"<{len(packets) // 4}I", packets)
        at = 0
        while at < len(words):
            told = sdma_packets.decode(words[at:])
            if told.startswith("COPY_LINEAR"):
                src, dst = (low | high << 32 for low, high in (words[at + 3 : at + 5], words[at + 5 : at + 7]))
                src, dst = (one - MC_BASE if one >= MC_BASE else one for one in (src, dst))
                size = words[at + 1] + 1
                memory[dst : dst + size] = memory[src : src + size]
                at += 7
            elif told.startswith("TIMESTAMP"):
                address = words[at + 1] | words[at + 2] << 32
                self.sdma.ticks += 5
                struct.pack_into("<Q", memory, address, self.sdma.ticks)
                at += 3
            elif told.startswith("CONST_FILL"):
                start, size = words[at + 1] | words[at + 2] << 32, words[at + 4] + 1 & ~3 or 4
                memory[start : start + size] = words[at + 3].to_bytes(4, "little") * (size // 4)
                at += 5
            else:
                raise AssertionError(told)


class FakeSdma:
    def __init__(self, gmc: FakeGmc) -> None:
        self.gmc, self.ticks, self.lost = gmc, 1000, False
        self.waits: list[float] = []
        self.made: list[FakeSignal] = []
        self.queues = [FakeQueue(self) for _ in range(4)]
        self.signals = SimpleNamespace(new=self.signal)

    def signal(self) -> FakeSignal:
        self.made.append(FakeSignal(self))
        return self.made[-1]


class FakeDevice:
    def __init__(self, name: str = "fake") -> None:
        self.gmc = FakeGmc()
        self.sdma = FakeSdma(self.gmc)
        self.gpu = SimpleNamespace(name=name, part=SimpleNamespace(name="MI350X"), clock=VirtualClock())
        self.gfx = SimpleNamespace(xccs=(0, 1, 3))
        self.start_state, self.steps, self.closed = "cold", ["discovery"], 0

    def close(self) -> None:
        self.closed += 1


def opened(device: FakeDevice | None = None) -> tuple[OpenGpu, FakeDevice]:
    device = device or FakeDevice()
    return OpenGpu(cast(Device, device)), device


def test_opengpu_tells_what_it_is() -> None:
    gpu, _ = opened()
    assert (gpu.name, gpu.part, gpu.engines, gpu.xccs, gpu.node) == ("fake", "MI350X", 4, 3, (0, 1))
    assert (gpu.start_state, gpu.steps, repr(gpu)) == ("cold", ("discovery",), "<MI350X fake>")


def test_opengpu_read_waits_for_what_was_queued_on_any_engine() -> None:
    gpu, device = opened()
    one, two = gpu.alloc(100), gpu.alloc(100)
    one.write(b"\x42" * 100)
    gpu.copy(two, one, engine=2)
    assert not device.sdma.waits
    assert two.read() == b"\x42" * 100
    assert len(device.sdma.waits) == 1
    two.read()
    assert len(device.sdma.waits) == 1  # nothing new was queued


def test_opengpu_fence_counts_each_engine_for_itself() -> None:
    gpu, _ = opened()
    one, two = gpu.alloc(64), gpu.alloc(64)
    gpu.copy(two, one, engine=1)
    first = gpu.fence(engine=1)
    gpu.copy(two, one, engine=1)
    second = gpu.fence(engine=1)
    assert first.done and second.done
    assert gpu.fence(engine=3).done  # nothing was queued there


def test_opengpu_wait_grows_with_what_was_queued() -> None:
    gpu, device = opened()
    one, two = gpu.alloc(8 << 20), gpu.alloc(8 << 20)
    for _ in range(4):
        gpu.copy(two, one)
    gpu.synchronize()
    assert device.sdma.waits[-1] == pytest.approx(5.0 + 4 * (8 << 20) / 1e9)


def test_opengpu_stuck_engine_is_told_once_and_the_others_go_on() -> None:
    gpu, device = opened()
    one, two = gpu.alloc(64), gpu.alloc(64)
    device.sdma.queues[0].stuck = True
    gpu.copy(two, one)
    with pytest.raises(WaitTimeout):
        gpu.synchronize()
    gpu.synchronize()
    with pytest.raises(NoSuchEngine, match="queueing a copy") as caught:
        gpu.copy(two, one)
    assert caught.value.seen == "SDMA0 got stuck before"
    one.write(b"\x07" * 64)
    three = gpu.alloc(64)
    gpu.copy(three, one, engine=1)
    assert three.read() == b"\x07" * 64


def test_opengpu_buffer_that_a_stuck_engine_was_to_write_is_never_read_as_if_it_were_right() -> None:
    gpu, device = opened()
    one, two = gpu.alloc(64), gpu.alloc(64)
    device.sdma.queues[0].stuck = True
    gpu.copy(two, one)
    with pytest.raises(WaitTimeout):
        two.read()
    for _ in range(2):
        with pytest.raises(Undecided, match="reading a buffer") as caught:
            two.read()
    assert "got stuck before, with work for this buffer" in caught.value.seen
    assert one.read() == bytes(64)
    two.free()


def test_opengpu_peer_buffer_that_a_stuck_engine_was_to_write_is_not_certain_for_its_owner() -> None:
    gpu, device = opened()
    other, _ = opened(FakeDevice("other"))
    theirs = other.alloc(64)
    device.sdma.queues[0].stuck = True
    gpu.fill(gpu.map_peer(theirs), 1)
    with pytest.raises(WaitTimeout):
        gpu.synchronize()
    with pytest.raises(Undecided):
        theirs.read()


def test_opengpu_mapped_buffer_whose_owner_is_closed_is_refused() -> None:
    gpu, _ = opened()
    other, _ = opened(FakeDevice("other"))
    near = gpu.map_peer(other.alloc(64))
    other.close()
    with pytest.raises(Closed) as caught:
        gpu.copy(gpu.alloc(64), near)
    assert caught.value.seen == "its owner is closed"


def test_opengpu_engine_that_makes_no_room_is_stuck() -> None:
    gpu, device = opened()
    one, two = gpu.alloc(64), gpu.alloc(64)

    def full() -> None:
        raise WaitTimeout("waiting for SDMA 0 to read its ring")

    device.sdma.queues[0].submit = full  # type: ignore[method-assign]
    with pytest.raises(WaitTimeout):
        gpu.copy(two, one)
    with pytest.raises(NoSuchEngine):
        gpu.copy(two, one)
    with pytest.raises(Undecided):
        two.read()


def test_opengpu_fence_that_is_asked_with_a_short_wait_leaves_the_engine_alone() -> None:
    gpu, device = opened()
    one, two = gpu.alloc(64), gpu.alloc(64)
    device.sdma.queues[0].stuck = True
    gpu.copy(two, one)
    fence = gpu.fence()
    with pytest.raises(WaitTimeout):
        fence.wait(0.001)
    device.sdma.made[0].value = 1  # it was only slow
    fence.wait(0.001)
    assert two.read() == bytes(64)


def test_opengpu_write_of_an_array_counts_bytes_not_items() -> None:
    gpu, _ = opened()
    one = gpu.alloc(16)
    one.write(memoryview(bytes(range(16))).cast("I"))
    assert one.read() == bytes(range(16))
    with pytest.raises(BadAddress):
        one.write(memoryview(bytes(16)).cast("I"), 4)


def test_opengpu_timestamps_come_in_order() -> None:
    gpu, device = opened()
    live = len(device.gmc.live)
    assert gpu.timestamps(1, 3) == [1005, 1010, 1015]
    assert len(device.gmc.live) == live


def test_opengpu_carries_vram_that_bar0_does_not_show_in_pieces() -> None:
    gpu, device = opened()
    assert device.gmc.copier is gpu
    data = bytes(range(251)) * ((STAGING_BYTES + 100_000) // 251)
    gpu.write_vram(0x40_0000 * 4, data)
    assert gpu.read_vram(0x40_0000 * 4, len(data)) == data
    assert sum(queue.submits for queue in device.sdma.queues) >= 4


def test_opengpu_carries_by_another_engine_when_the_first_is_stuck() -> None:
    gpu, device = opened()
    device.sdma.queues[0].stuck = True
    with pytest.raises(WaitTimeout):
        gpu.write_vram(0x100_0000, b"abcd")
    gpu.write_vram(0x100_0000, b"abcd")
    assert gpu.read_vram(0x100_0000, 4) == b"abcd"
    assert device.sdma.queues[1].submits


def test_opengpu_foreign_buffer_is_refused() -> None:
    gpu, _ = opened()
    other, _ = opened(FakeDevice("other"))
    with pytest.raises(ForeignBuffer) as caught:
        gpu.copy(gpu.alloc(64), other.alloc(64))
    assert caught.value.seen == "a buffer of other"


def test_opengpu_close_frees_all_and_gives_up_the_copier() -> None:
    gpu, device = opened()
    kept = gpu.alloc(64)
    gpu.write_vram(0x100_0000, b"x")
    gpu.fill(kept, 1)
    gpu.close()
    gpu.close()
    assert (device.closed, device.gmc.live, device.gmc.copier) == (1, [], None)
    assert all(signal.freed for signal in device.sdma.made)
    with pytest.raises(Closed, match="reading a buffer"):
        kept.read()


def test_opengpu_close_of_a_stuck_gpu_does_all_and_then_raises() -> None:
    gpu, device = opened()
    device.sdma.queues[0].stuck = True
    gpu.fill(gpu.alloc(64), 1)
    with pytest.raises(WaitTimeout):
        gpu.close()
    assert (device.closed, device.gmc.live) == (1, [])


def test_opengpu_close_of_a_lost_gpu_raises_device_lost_first() -> None:
    gpu, device = opened()
    gpu.fill(gpu.alloc(64), 1)
    device.sdma.lost = True
    with pytest.raises(DeviceLost):
        gpu.close()
    assert device.closed == 1


def test_opengpu_close_that_is_interrupted_closes_the_device_all_the_same() -> None:
    gpu, device = opened()
    gpu.fill(gpu.alloc(64), 1)

    def interrupted(value: int, timeout_s: float) -> int:
        raise KeyboardInterrupt

    device.sdma.made[0].wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        gpu.close()
    assert (device.closed, gpu.is_open, device.gmc.copier) == (1, False, None)


def test_opengpu_error_of_the_body_is_the_news_and_that_of_closing_a_note() -> None:
    gpu, device = opened()
    with pytest.raises(ZeroDivisionError) as caught, gpu:
        gpu.fill(gpu.alloc(64), 1)
        device.sdma.lost = True
        raise ZeroDivisionError
    assert any("closing it failed too" in note for note in caught.value.__notes__)
