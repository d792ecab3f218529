"""The packet processor of compute queues, on plain memory."""

from __future__ import annotations

import pytest

from tests.engine_rig import (
    ME1_QUEUE0,
    Queue,
    Rig,
    low_high,
    pm4,
    release_mem,
    scratch,
    wait_memory,
    write_data,
)

HERE = 0x4000
SIGNAL = 0x5000
IB = 0x30_0000


def test_write_data_to_memory_and_read_pointer_report() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    queue.submit(write_data(HERE, 1, 2, 3))
    assert [rig.get(HERE + place) for place in (0, 4, 8, 12)] == [1, 2, 3, 0]
    assert queue.reg("CP_HQD_PQ_RPTR") == rig.get(0x8000) == 7
    assert queue.reg("CP_HQD_PQ_WPTR_LO") == 7
    assert {vmid for _, vmid, _ in rig.memory.seen} == {8}
    assert {hub for hub, _, _ in rig.memory.seen} == {"GC[0]"}


def test_read_pointer_is_not_reported_where_the_queue_says_so() -> None:
    rig = Rig()
    queue = Queue(rig, control=1 << 27).open()
    queue.submit(write_data(HERE, 1))
    assert (queue.reg("CP_HQD_PQ_RPTR"), rig.get(0x8000)) == (5, 0)


def test_write_data_one_address_keeps_the_last_value() -> None:
    rig = Rig()
    Queue(rig).open().submit(write_data(HERE, 1, 2, 3, control=5 << 8 | 1 << 16))
    assert (rig.get(HERE), rig.get(HERE + 4)) == (3, 0)


@pytest.mark.parametrize("xcc", [0, 3, 7])
def test_registers_in_packets_are_those_of_the_xcc(xcc: int) -> None:
    rig = Rig()
    queue = Queue(rig, xcc=xcc, doorbell=0x10 + 0x40 * xcc).open()
    queue.submit(scratch(0xDEADBEEF), write_data(0xC041, 5, 6, control=0))
    assert rig.reg(f"GC[{xcc}].SCRATCH_REG0") == 0xDEADBEEF
    assert (rig.reg(f"GC[{xcc}].SCRATCH_REG1"), rig.reg(f"GC[{xcc}].SCRATCH_REG2")) == (5, 6)
    assert rig.reg(f"GC[{(xcc + 1) % 8}].SCRATCH_REG1") == 0


@pytest.mark.parametrize("aid", range(4))
def test_registers_of_a_memory_hub_in_packets_are_those_of_its_aid(aid: int) -> None:
    """gfx_v9_4_3_normalize_xcc_reg_offset leaves them whole: the KIQ of XCC 0 flushes the hubs of all AIDs."""
    rig = Rig()
    name = "VM_CONTEXT5_PAGE_TABLE_BASE_ADDR_LO32"
    address = rig.gpu.registers.layout.address(f"MMHUB[{aid}].{name}")
    Queue(rig, xcc=3, doorbell=0xD0).open().submit(write_data(address, 0x5000 + aid, control=0))
    assert [rig.reg(f"MMHUB[{other}].{name}") for other in range(4)] == [
        0x5000 + aid if other == aid else 0 for other in range(4)
    ]


def test_set_config_register_starts_at_0x2000() -> None:
    rig = Rig()
    Queue(rig).open().submit(pm4(0x68, 0x22 + 0xE, 0x1234))  # GRBM_GFX_INDEX is no config register here: scratch space
    assert ("pm4-write", (0x2000 + 0x30) * 4) in rig.gpu.registers.unknown


def test_nops_of_all_kinds_are_skipped() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    queue.submit((0xFFFF1000,), (0x80000000,), pm4(0x10, *[7] * 20), (0xFFFF1000,) * 3, write_data(HERE, 9))
    assert rig.get(HERE) == 9
    assert rig.gpu.wrongs == []


def test_ring_wraps_in_the_middle_of_a_packet() -> None:
    rig = Rig()
    queue = Queue(rig, dwords=64).open()
    for number in range(40):
        queue.submit(write_data(HERE + 4 * number, number))
    assert [rig.get(HERE + 4 * number) for number in range(40)] == list(range(40))
    assert queue.reg("CP_HQD_PQ_RPTR") == 40 * 5 % 64


def test_ring_overrun_is_recorded() -> None:
    rig = Rig()
    queue = Queue(rig, dwords=64).open()
    queue.wptr = 100
    queue.submit((0x80000000,), run=False)
    assert "ring overrun, 101 dwords in a ring of 64" in rig.gpu.wrongs[0]


def test_packet_that_is_not_there_whole_is_waited_for() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    whole = write_data(HERE, 1, 2)
    queue.submit(write_data(SIGNAL, 7), whole[:3])
    assert (rig.get(HERE), rig.get(SIGNAL), queue.reg("CP_HQD_PQ_RPTR")) == (0, 7, 5)
    queue.submit(whole[3:])
    assert (rig.get(HERE), rig.get(HERE + 4)) == (1, 2)


def test_wait_reg_mem_stalls_until_memory_changes() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    queue.submit(wait_memory(SIGNAL, 5), write_data(HERE, 1))
    assert rig.get(HERE) == 0
    assert queue.reg("CP_HQD_PQ_RPTR") == 0
    assert rig.reg("GC[0].GRBM_STATUS") >> 29 & 1
    pointers = {rig.reg("GC[0].CP_MEC1_INSTR_PNTR") for _ in range(4)}
    assert len(pointers) == 4  # it polls: it moves
    rig.put(SIGNAL, 5)
    rig.run()
    assert rig.get(HERE) == 1
    assert rig.reg("GC[0].GRBM_STATUS") == 0x3008
    assert rig.reg("GC[0].CP_CPC_STATUS") == 0


@pytest.mark.parametrize(
    ("function", "value", "passes"),
    [
        (0, 99, True),
        (1, 4, True),
        (1, 5, False),
        (2, 5, True),
        (2, 6, False),
        (3, 5, True),
        (3, 6, False),
        (4, 6, True),
        (4, 5, False),
        (5, 5, True),
        (5, 4, False),
        (6, 6, True),
        (6, 5, False),
    ],
)
def test_wait_reg_mem_comparisons(function: int, value: int, passes: bool) -> None:
    rig = Rig()
    rig.put(SIGNAL, value)
    Queue(rig).open().submit(wait_memory(SIGNAL, 5, function=function), write_data(HERE, 1))
    assert rig.get(HERE) == int(passes)


def test_wait_reg_mem_writes_once_then_waits_for_another_register() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    queue.submit(pm4(0x3C, 3 | 1 << 6, 0xC041, 0xC042, 0x55, 0xFF, 0x20), write_data(HERE, 1))
    assert rig.reg("GC[0].SCRATCH_REG1") == 0x55
    assert rig.get(HERE) == 0
    rig.set("GC[0].SCRATCH_REG1", 0)
    rig.run()
    assert rig.reg("GC[0].SCRATCH_REG1") == 0  # not written again
    rig.set("GC[0].SCRATCH_REG2", 0x155)
    rig.run()
    assert rig.get(HERE) == 1


def test_wait_on_the_hdp_flush_registers_is_done_at_once() -> None:
    rig = Rig()
    Queue(rig).open().submit(pm4(0x3C, 3 | 1 << 6, 0xD20 + 0x106, 0xD20 + 0x107, 4, 4, 0x20), write_data(HERE, 1))
    assert rig.get(HERE) == 1


@pytest.mark.parametrize("wide", [0, 1])
@pytest.mark.parametrize("source", ["register", "memory", "immediate", "clock"])
def test_copy_data_from_everywhere(source: str, wide: int) -> None:
    rig = Rig()
    rig.set("GC[0].SCRATCH_REG1", 0x11)
    rig.set("GC[0].SCRATCH_REG2", 0x22)
    rig.put(SIGNAL, 0x33, 0x44)
    fields = {
        "register": (0, 0xC041, 0, 0x22_0000_0011),
        "memory": (1, SIGNAL, 0, 0x44_0000_0033),
        "immediate": (5, 0x55, 0x66, 0x66_0000_0055),
        "clock": (9, 0, 0, 1 << 20),
    }
    select, low, high, expected = fields[source]
    rig.clock.sleep(0.5)
    Queue(rig).open().submit(pm4(0x40, select | 5 << 8 | wide << 16, low, high, *low_high(HERE)))
    seen = rig.get64(HERE)
    if source == "clock":
        expected += 50_000_000
        assert expected <= seen <= expected + 20_000
    else:
        assert seen == (expected if wide else expected & 0xFFFFFFFF)


def test_copy_data_to_a_register() -> None:
    rig = Rig()
    Queue(rig).open().submit(pm4(0x40, 5 | 1 << 16, 0x77, 0x88, 0xC043, 0))
    assert (rig.reg("GC[0].SCRATCH_REG3"), rig.reg("GC[0].SCRATCH_REG4")) == (0x77, 0x88)


@pytest.mark.parametrize(
    ("data", "expected"), [(0, 0), (1, 0x2222_3333), (2, 0x1111_2222_3333)], ids=["none", "32", "64"]
)
def test_release_mem_data(data: int, expected: int) -> None:
    rig = Rig()
    Queue(rig).open().submit(release_mem(HERE, 0x1111_2222_3333, data=data))
    assert rig.get64(HERE) == expected
    assert rig.interrupts.sent == []


def test_release_mem_timestamps_grow() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    queue.submit(release_mem(HERE, 0, data=3))
    queue.submit(release_mem(HERE + 8, 0, data=3))
    first, second = rig.get64(HERE), rig.get64(HERE + 8)
    assert 0 < first < second
    assert second - first == pytest.approx(100e-6 * 100e6, abs=200)


@pytest.mark.parametrize(("xcc", "node"), [(0, 1), (1, 2), (5, 10)])
def test_release_mem_interrupt_names_queue_and_node(xcc: int, node: int) -> None:
    rig = Rig()
    queue = Queue(rig, xcc=xcc).open()
    queue.submit(release_mem(HERE, 1, interrupt=2, context=0xABC))
    (sent,) = rig.interrupts.sent
    assert (sent.client, sent.source, sent.ring_id, sent.node, sent.vmid) == (0x14, 181, 4, node, 8)
    assert sent.context[0] == 0xABC


def test_release_mem_interrupt_needs_its_enable_bit() -> None:
    rig = Rig()
    queue = Queue(rig).open()
    rig.set("GC[0].CP_ME1_PIPE0_INT_CNTL", 0)
    queue.submit(release_mem(HERE, 1, interrupt=2))
    assert rig.interrupts.sent == []
    with rig.selected(ME1_QUEUE0):
        rig.set("GC[0].CPC_INT_CNTL", 1 << 26)
    queue.submit(release_mem(HERE, 1, interrupt=2))
    assert len(rig.interrupts.sent) == 1


def test_indirect_buffers_nest_and_chain() -> None:
    rig = Rig()
    queue = Queue(rig, vmid=0).open()
    last = write_data(HERE + 8, 3)
    inner = write_data(HERE + 4, 2)
    outer = (
        *write_data(HERE, 1),
        *pm4(0x3F, IB + 0x1000, 0, len(inner) | 1 << 23 | 5 << 24),
        *write_data(HERE + 12, 4),
    )
    chain = pm4(0x3F, IB + 0x2000, 0, len(last) | 1 << 20 | 1 << 23 | 5 << 24)
    rig.put(IB, *outer, *chain, *write_data(HERE + 16, 9))
    rig.put(IB + 0x1000, *inner)
    rig.put(IB + 0x2000, *last)
    queue.submit(pm4(0x3F, IB, 0, len(outer) + 4 + 5 | 1 << 23 | 5 << 24), write_data(HERE + 20, 6))
    assert [rig.get(HERE + 4 * place) for place in range(6)] == [1, 2, 3, 4, 0, 6]
    assert {vmid for _, vmid, _ in rig.memory.seen} == {0, 5}
    assert queue.reg("CP_HQD_PQ_RPTR") == queue.wptr


def test_indirect_buffer_without_end_does_not_hold_the_model_up() -> None:
    rig = Rig()
    rig.put(IB, *write_data(HERE, 1), *pm4(0x3F, IB, 0, 9 | 1 << 20 | 1 << 23))
    queue = Queue(rig).open()
    queue.submit(pm4(0x3F, IB, 0, 9 | 1 << 23), write_data(SIGNAL, 1), run=False)
    rig.run(3e-6)
    assert (rig.get(HERE), rig.get(SIGNAL)) == (1, 0)
    queue.set("CP_HQD_ACTIVE", 0)
    rig.run(3e-6)
    assert rig.gpu.gfx.queues == {}


@pytest.mark.parametrize(("mask", "seen"), [(0b0001, 1), (0b1110, 0), (0b1000_0001, 1)])
def test_pred_exec_runs_on_the_xccs_of_its_mask(mask: int, seen: int) -> None:
    rig = Rig()
    packets = (*pm4(0x23, 5 | mask << 24), *write_data(HERE, 1), *write_data(SIGNAL, 2))
    rig.put(IB, *packets)
    Queue(rig).open().submit(pm4(0x3F, IB, 0, len(packets) | 1 << 23))
    assert (rig.get(HERE), rig.get(SIGNAL)) == (seen, 2)


def test_pred_exec_in_a_ring_selects_nothing_and_is_recorded() -> None:
    rig = Rig()
    Queue(rig).open().submit(pm4(0x23, 5 | 0b1110 << 24), write_data(HERE, 1), write_data(SIGNAL, 2))
    assert (rig.get(HERE), rig.get(SIGNAL)) == (1, 2)
    assert "PRED_EXEC in a ring" in rig.gpu.wrongs[0]


def test_dma_data_copies_and_fills() -> None:
    rig = Rig()
    rig.put(SIGNAL, *range(100, 110))
    queue = Queue(rig).open()
    queue.submit(pm4(0x50, 0, *low_high(SIGNAL), *low_high(HERE), 40))
    assert [rig.get(HERE + 4 * place) for place in range(11)] == [*range(100, 110), 0]
    queue.submit(pm4(0x50, 2 << 29, 0xA5A5A5A5, 0, *low_high(HERE), 8))
    assert [rig.get(HERE + 4 * place) for place in range(3)] == [0xA5A5A5A5, 0xA5A5A5A5, 102]


def test_acquire_mem_and_partial_flush_do_not_disturb() -> None:
    rig = Rig()
    Queue(rig).open().submit(
        pm4(0x58, 0x28C40000, 0xFFFFFFFF, 0xFF, 0, 0, 0xA), pm4(0x46, 7 | 4 << 8), write_data(HERE, 1)
    )
    assert rig.get(HERE) == 1
    assert rig.gpu.wrongs == []


BAD = {
    "opcode": (pm4(0x2D, 1, 2), "opcode 0x2d"),
    "type": ((0x40000000,), "packet type 1"),
    "short": (pm4(0x37, 5 << 8, 0), "2 dwords behind the header, 4 belong there"),
    "write-to": (write_data(HERE, 1, control=3 << 8), "WRITE_DATA to destination 3"),
    "wait": (pm4(0x3C, 7, 0, 0, 0, 0, 4), "WAIT_REG_MEM control 0x7"),
    "copy-from": (pm4(0x40, 3 | 5 << 8, 0, 0, 0, 0), "COPY_DATA from source 3"),
    "copy-to": (pm4(0x40, 5 | 3 << 8, 0, 0, 0, 0), "COPY_DATA to destination 3"),
    "release-index": (pm4(0x49, 0x14, 2 << 29, HERE, 0, 0, 0, 0), "RELEASE_MEM with event index 0"),
    "release-data": (pm4(0x49, 0x14 | 5 << 8, 7 << 29, HERE, 0, 0, 0, 0), "RELEASE_MEM with data 7"),
    "ib-invalid": (pm4(0x3F, IB, 0, 4), "INDIRECT_BUFFER without its valid bit"),
    "dma": (pm4(0x50, 1 << 29, 0, 0, 0, 0, 4), "DMA_DATA control 0x20000000"),
    "map-queues": (pm4(0xA2, 0, 0, 0, 0, 0, 0), "opcode 0xa2"),  # this queue is no scheduler
}


@pytest.mark.parametrize("name", BAD)
def test_bad_packet_stops_the_queue_with_an_interrupt_and_a_record(name: str) -> None:
    packet, text = BAD[name]
    rig = Rig()
    queue = Queue(rig).open()
    queue.submit(write_data(SIGNAL, 1), packet, write_data(HERE, 1))
    assert text in rig.gpu.wrongs[0]
    assert (rig.get(SIGNAL), rig.get(HERE)) == (1, 0)
    (sent,) = rig.interrupts.sent
    assert (sent.client, sent.source, sent.ring_id) == (0x14, 183, 4)
    assert queue.reg("CP_HQD_PQ_RPTR") == 5  # at the bad packet
    assert rig.reg("GC[0].CP_MEC_ME1_HEADER_DUMP") == packet[0]
    queue.submit(write_data(HERE, 1))
    assert rig.get(HERE) == 0


def test_indirect_buffers_nested_too_deep_stop_the_queue() -> None:
    rig = Rig()
    for level in range(4):
        rig.put(IB + 0x1000 * level, *pm4(0x3F, IB + 0x1000 * (level + 1), 0, 5 | 1 << 23), 0x80000000)
    Queue(rig).open().submit(pm4(0x3F, IB, 0, 5 | 1 << 23))
    assert "indirect buffers nested 3 deep" in rig.gpu.wrongs[0]


def test_packet_over_the_end_of_an_indirect_buffer_stops_the_queue() -> None:
    rig = Rig()
    rig.put(IB, *write_data(HERE, 1))
    Queue(rig).open().submit(pm4(0x3F, IB, 0, 4 | 1 << 23))
    assert "packet reaches over the end of its indirect buffer" in rig.gpu.wrongs[0]


def test_page_fault_of_a_packet_stops_the_queue() -> None:
    rig = Rig()
    rig.memory.forbidden.append(range(HERE, HERE + 4))
    queue = Queue(rig).open()
    queue.submit(write_data(HERE, 1), write_data(SIGNAL, 1))
    assert f"page fault: no page at {HERE:#x}" in rig.gpu.wrongs[0]
    assert rig.get(SIGNAL) == 0
    assert queue.reg("CP_HQD_PQ_RPTR") == 0
    assert rig.reg("GC[0].CP_STAT") == 1 << 31
