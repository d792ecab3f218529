"""AQL queues: packets, barriers, signals, several XCCs."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from gpumodel.dispatch import Code, Operation, program
from tests.engine_rig import Queue, Rig, pm4, release_mem, write_data

AQL = 2 << 25  # CP_HQD_PQ_CONTROL: the doorbell counts packets
HERE = 0x4000
KERNARG = 0x6000
SIGNALS = 0x7000
KERNEL = 0x40_0000
PROGRAM = KERNEL + 0x100
MAILBOX = 0xA000
IB = 0x30_0000
BARRIER = 1 << 8


class AqlQueue(Queue):
    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.rig.memory.data.write(self.slot(self.wptr), packet)
            self.wptr += 1
        assert self.rig.gpu.gfx.doorbell(self.doorbell, self.wptr - 1)
        self.rig.run()

    def slot(self, index: int) -> int:
        return self.base + index % (self.dwords // 16) * 64


def aql(**options: Any) -> tuple[Rig, AqlQueue]:
    rig = Rig()
    queue = AqlQueue(rig, control=AQL, **options)
    queue.open()
    return rig, queue


def signal(rig: Rig, number: int, value: int, *, mailbox: int = 0, event: int = 0) -> int:
    address = SIGNALS + 64 * number
    rig.memory.data.write(address, struct.pack("<qqQI", 1, value, mailbox, event))
    return address


def kernel(rig: Rig, *steps: Operation, properties: int = 1 << 3) -> None:
    """A kernel descriptor whose code lies 0x100 further on."""
    rig.memory.data.write(KERNEL, struct.pack("<IIIIq20xIIIHH4x", 0, 0, 0, 0, 0x100, 3, 1, 2, properties, 0))
    rig.memory.data.write(PROGRAM, program(*steps))


def dispatch(
    completion: int = 0, *, header: int = 2, grid: tuple[int, int, int] = (256, 1, 1), setup: int = 1
) -> bytes:
    sizes = (64, 1, 1)
    return struct.pack("<HHHHHHIIIIIQQQQ", header, setup, *sizes, 0, *grid, 16, 32, KERNEL, KERNARG, 0, completion)


def barrier(kind: int, completion: int, *waits: int) -> bytes:
    return struct.pack("<HHI5QQQ", kind, 0, 0, *(*waits, 0, 0, 0, 0, 0)[:5], 0, completion)


def value(rig: Rig, address: int) -> int:
    return rig.get64(address + 8)


def test_dispatch_runs_and_completes_its_signal() -> None:
    rig, queue = aql()
    kernel(rig, Operation(Code.STORE, HERE, 7))
    done = signal(rig, 0, 1, mailbox=MAILBOX, event=0x33)
    queue.send(dispatch(done))
    assert rig.get(HERE) == 7
    assert value(rig, done) == 0
    assert 0 < rig.get64(done + 32) <= rig.get64(done + 40)
    assert rig.get64(MAILBOX) == 0x33
    (sent,) = rig.interrupts.sent
    assert (sent.client, sent.source, sent.context[0], sent.ring_id) == (0x14, 181, 0x33, 4)
    assert rig.get(queue.slot(0)) & 0xFFFF == 1  # invalid again
    assert rig.get64(0x8000) == 1  # the read index, in packets


def test_dispatch_carries_descriptor_and_packet() -> None:
    rig, queue = aql(xcc=1)
    kernel(rig, properties=1 | 1 << 1 | 1 << 3 | 1 << 6)
    seen: list[Any] = []

    class Look:
        def run(self, one: object) -> None:
            seen.append(one)

    rig.gpu.gfx.dispatcher = Look()
    queue.send(dispatch(grid=(130, 3, 1)))
    (one,) = seen
    assert (one.xcc, one.program, one.kernarg, one.resources) == (1, PROGRAM, KERNARG, (1, 2, 3))
    assert (one.groups, one.group_size) == ((3, 3, 1), (64, 1, 1))
    assert (one.lds_bytes, one.scratch_bytes) == (32, 16)
    assert one.user_data == (0, 0, 0, 0, queue.base, 0, KERNARG, 0, 16)


def test_ring_wraps_and_read_index_goes_on() -> None:
    rig, queue = aql(dwords=64)
    kernel(rig, Operation(Code.ADD, HERE, 1))
    for _ in range(11):
        queue.send(dispatch())
    assert rig.get(HERE) == 11
    assert rig.get64(0x8000) == 11


def test_invalid_packet_is_waited_for() -> None:
    rig, queue = aql()
    kernel(rig, Operation(Code.STORE, HERE, 1))
    queue.send(dispatch(header=1))
    assert rig.get(HERE) == 0
    rig.put(queue.slot(0), 1 << 16 | 2)
    rig.run()
    assert rig.get(HERE) == 1


def test_barrier_and_needs_all_signals() -> None:
    rig, queue = aql()
    kernel(rig, Operation(Code.STORE, HERE, 1))
    first, second, done = signal(rig, 0, 1), signal(rig, 1, 0), signal(rig, 2, 5)
    queue.send(barrier(3, done, first, second), dispatch())
    assert (value(rig, done), rig.get(HERE)) == (5, 0)
    rig.memory.data.write(first + 8, bytes(8))
    rig.run()
    assert (value(rig, done), rig.get(HERE)) == (4, 1)


def test_barrier_or_needs_one_signal() -> None:
    rig, queue = aql()
    first, second, done = signal(rig, 0, 1), signal(rig, 1, 1), signal(rig, 2, 1)
    queue.send(barrier(5, done, first, second))
    assert value(rig, done) == 1
    rig.memory.data.write(second + 8, bytes(8))
    rig.run()
    assert value(rig, done) == 0


def test_barrier_without_signals_is_met() -> None:
    rig, queue = aql()
    one, other = signal(rig, 0, 1), signal(rig, 1, 1)
    queue.send(barrier(3, one), barrier(5, other))
    assert (value(rig, one), value(rig, other)) == (0, 0)


def test_vendor_packet_runs_pm4() -> None:
    rig, queue = aql()
    done = signal(rig, 0, 1)
    packets = (*write_data(HERE, 5), *release_mem(HERE + 8, 6))
    rig.put(IB, *packets)
    jump = pm4(0x3F, IB, 0, len(packets) | 1 << 23)
    queue.send(struct.pack("<HH4II", 0, 1, *jump, 10) + bytes(32) + struct.pack("<Q", done))
    assert (rig.get(HERE), rig.get(HERE + 8), value(rig, done)) == (5, 6, 0)


def test_vendor_packet_that_waits_goes_on_later() -> None:
    rig, queue = aql()
    done = signal(rig, 0, 1)
    packets = (*pm4(0x3C, 3 | 1 << 4, HERE, 0, 9, 0xFF, 4), *write_data(HERE + 4, 1))
    rig.put(IB, *packets)
    queue.send(
        struct.pack("<HH4II", 0, 1, *pm4(0x3F, IB, 0, len(packets) | 1 << 23), 10) + bytes(32) + struct.pack("<Q", done)
    )
    assert (rig.get(HERE + 4), value(rig, done), rig.get64(0x8000)) == (0, 1, 0)
    rig.put(HERE, 9)
    rig.run()
    assert (rig.get(HERE + 4), value(rig, done), rig.get64(0x8000)) == (1, 0, 1)


def test_endless_kernel_never_completes_and_holds_the_queue() -> None:
    rig, queue = aql()
    kernel(rig, Operation(Code.LOOP))
    done, after = signal(rig, 0, 1), signal(rig, 1, 1)
    queue.send(dispatch(done), barrier(3 | BARRIER, after))
    assert (value(rig, done), value(rig, after)) == (1, 1)
    assert rig.reg("GC[0].GRBM_STATUS") >> 31 == 1
    queue.set("SPI_COMPUTE_QUEUE_RESET", 1)
    rig.run()
    assert value(rig, after) == 0


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (struct.pack("<HH", 4, 0) + bytes(60), "AQL packet type 4"),
        (struct.pack("<HH", 0, 2) + bytes(60), "AQL packet type 0"),
        (dispatch(setup=0), "0 dimensions"),
        (dispatch(grid=(0, 1, 1)), "dispatch of grid (0, 1, 1)"),
    ],
)
def test_bad_packet_stops_the_queue(packet: bytes, text: str) -> None:
    rig, queue = aql()
    queue.send(packet)
    assert text in rig.gpu.wrongs[0]
    assert rig.interrupts.sent[0].source == 183
    assert rig.get64(0x8000) == 0


def test_page_fault_on_the_kernel_object_stops_the_queue() -> None:
    rig, queue = aql()
    rig.memory.forbidden.append(range(KERNEL, KERNEL + 64))
    queue.send(dispatch())
    assert "page fault" in rig.gpu.wrongs[0]


def test_other_xccs_of_the_partition_do_not_consume() -> None:
    rig, queue = aql(xcc=3)
    kernel(rig, Operation(Code.ADD, HERE, 1))
    queue.state.logic_xcc = 3
    queue.send(dispatch())
    assert rig.get(HERE) == 0


def preloaded(xcc: int, mqd: int, *, request: int = 1) -> tuple[Rig, AqlQueue]:
    """A queue on one XCC, started by its registers, whose MQD says that it is logical XCC `xcc`."""
    rig = Rig()
    rig.put(mqd + 39 * 4, xcc)
    queue = AqlQueue(rig, xcc=xcc, control=AQL)
    queue.set("CP_MQD_BASE_ADDR", mqd)
    queue.set("CP_HQD_PERSISTENT_STATE", 0x0BE05300 | request)
    return rig, queue


def test_queue_that_starts_by_registers_takes_its_logical_xcc_from_the_mqd() -> None:
    rig, queue = preloaded(3, 0x50_0000)
    assert queue.open().state.logic_xcc == 3
    assert ("GC[3]", 0, 5) in rig.memory.seen


def test_queue_that_starts_by_registers_without_preload_is_the_first_xcc() -> None:
    _, queue = preloaded(3, 0x50_0000, request=0)
    assert queue.open() and queue.state.logic_xcc == 0


def test_queue_whose_mqd_cannot_be_read_stops() -> None:
    rig, queue = preloaded(3, 0x50_0000)
    rig.memory.forbidden.append(range(0x50_0000, 0x50_1000))
    assert queue.open().state.state.name == "STOPPED"
    assert rig.gpu.wrongs == ["gfx: queue 1.0.0 of XCC 3: MQD at 0x500000: no page at 0x50009c"]
