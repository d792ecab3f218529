"""Dispatches: what reaches the dispatcher, and what the model's own programs do to queue, status and interrupts."""

from __future__ import annotations

import pytest

from gpumodel.dispatch import FROM_KERNARG, FROM_KERNARG_B, Code, Dispatch, Operation, program
from tests.engine_rig import ME1_QUEUE0, Queue, Rig, dispatch, pm4, release_mem, write_data

HERE = 0x4000
SIGNAL = 0x5000
KERNARG = 0x6000
PROGRAM = 0x40_0000


def prepared(*steps: Operation) -> tuple[Rig, Queue]:
    """A queue, and such a program in memory."""
    rig = Rig()
    rig.memory.data.write(PROGRAM, program(*steps))
    return rig, Queue(rig).open()


class Collect:
    """A dispatcher that only looks."""

    def __init__(self) -> None:
        self.seen: list[Dispatch] = []

    def run(self, dispatch: Dispatch) -> None:
        self.seen.append(dispatch)


def test_dispatch_carries_what_the_registers_say() -> None:
    rig = Rig()
    rig.gpu.gfx.dispatcher = collect = Collect()
    queue = Queue(rig, xcc=2).open()
    queue.submit(
        pm4(0x76, 0x212, 0x11, 3 << 15),
        pm4(0x76, 0x240, *range(1, 17)),
        *dispatch(0x7F_1234_5600, kernarg=0x9_0000_1000, groups=(4, 5, 6)),
    )
    (seen,) = collect.seen
    assert (seen.xcc, seen.vmid, seen.program, seen.kernarg) == (2, 8, 0x7F_1234_5600, 0x9_0000_1000)
    assert (seen.groups, seen.group_size) == ((4, 5, 6), (64, 1, 1))
    assert seen.user_data == (0x1000, 9, *range(3, 17))
    assert (seen.resources, seen.lds_bytes) == ((0x11, 3 << 15, 0), 1536)


def test_dispatch_in_threads_is_rounded_up_to_groups() -> None:
    rig = Rig()
    rig.gpu.gfx.dispatcher = collect = Collect()
    packets = dispatch(PROGRAM)[:-1]
    Queue(rig).open().submit(*packets, pm4(0x15, 130, 2, 1, 1 | 1 << 5), pm4(0x15, 0, 2, 1, 1))
    assert [seen.groups for seen in collect.seen] == [(3, 2, 1)]


def test_dispatch_without_enable_bit_starts_nothing() -> None:
    rig, queue = prepared(Operation(Code.STORE, HERE, 1))
    queue.submit(*dispatch(PROGRAM)[:-1], pm4(0x15, 1, 1, 1, 0), write_data(SIGNAL, 2))
    assert (rig.get(HERE), rig.get(SIGNAL)) == (0, 2)
    assert "without COMPUTE_SHADER_EN starts nothing" in rig.gpu.wrongs[0]


def test_program_stores_adds_and_copies() -> None:
    rig, queue = prepared(
        Operation(Code.STORE, HERE, 0x1122334455667788, 8),
        Operation(Code.ADD, HERE, 0xFFFFFFFF),
        Operation(Code.COPY, HERE + 16, HERE, 8),
        Operation(Code.STORE | FROM_KERNARG, 8, 5),
        Operation(Code.COPY | FROM_KERNARG | FROM_KERNARG_B, 0, 8, 4),
        Operation(Code.END),
        Operation(Code.STORE, HERE, 0),
    )
    rig.put(KERNARG, HERE + 40, 0, HERE + 32, 0)
    queue.submit(*dispatch(PROGRAM, kernarg=KERNARG), release_mem(SIGNAL, 1))
    assert rig.get64(HERE) == rig.get64(HERE + 16) == 0x11223344_55667787
    assert (rig.get(HERE + 32), rig.get(HERE + 40)) == (5, 5)
    assert rig.get(SIGNAL) == 1
    assert ("GC[0]", 8, 8) in rig.memory.seen  # the hub of the XCC, the VMID of the queue, client TCP


def test_unknown_code_halts_the_waves_and_is_recorded() -> None:
    rig, queue = prepared()
    rig.put(PROGRAM, 0xFFFF_FFFF, 0)
    queue.submit(*dispatch(PROGRAM), release_mem(SIGNAL, 1))
    assert rig.get(SIGNAL) == 0
    why = f"0xffffffff begins no instruction of gfx950 (at {PROGRAM:#x})"
    assert rig.gpu.wrongs[0] == f"dispatch: program at {PROGRAM:#x} of XCC 0: {why}"
    assert "waves halted at an illegal instruction" in rig.gpu.wrongs[1]


def endless() -> tuple[Rig, Queue]:
    rig, queue = prepared(Operation(Code.STORE, HERE, 1), Operation(Code.LOOP))
    queue.submit(*dispatch(PROGRAM), write_data(HERE + 4, 2), release_mem(SIGNAL, 1), write_data(HERE + 8, 3))
    return rig, queue


def test_endless_loop_keeps_the_xcc_busy_and_its_pointer_still() -> None:
    rig, queue = endless()
    assert [rig.get(HERE + place) for place in (0, 4, 8)] == [1, 2, 0]
    assert rig.get(SIGNAL) == 0
    status = rig.reg("GC[0].GRBM_STATUS")
    assert status >> 31 & status >> 29 & status >> 22 & 1  # GUI_ACTIVE, CP_BUSY, SPI_BUSY
    assert rig.reg("GC[0].GRBM_STATUS2") == 3 << 28
    assert rig.reg("GC[0].CP_CPC_STATUS") >> 31 == rig.reg("GC[0].CP_CPF_STATUS") >> 31 == 1
    assert rig.reg("GC[0].SPI_CSQ_WF_ACTIVE_STATUS") == 1
    assert len({rig.reg("GC[0].CP_MEC1_INSTR_PNTR") for _ in range(4)}) == 1
    assert rig.reg("GC[1].GRBM_STATUS") == 0x3008
    assert queue.reg("CP_HQD_ACTIVE") == 1


def test_endless_loop_is_not_drained_but_reset() -> None:
    rig, queue = endless()
    queue.set("CP_HQD_DEQUEUE_REQUEST", 1)
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 1
    queue.set("CP_HQD_DEQUEUE_REQUEST", 2)
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 0
    assert rig.reg("GC[0].GRBM_STATUS") == 0x3008
    assert rig.reg("GC[0].SPI_CSQ_WF_ACTIVE_STATUS") == 0
    assert rig.get(SIGNAL) == 0


@pytest.mark.parametrize("how", ["spi", "sq-vmid", "sq-all"])
def test_killed_waves_let_the_queue_go_on(how: str) -> None:
    rig, queue = endless()
    if how == "spi":
        queue.set("SPI_COMPUTE_QUEUE_RESET", 1)
    else:
        rig.set("GC[0].SQ_CMD", 3 | 1 << 4 | (8 << 28 | 1 << 7 if how == "sq-vmid" else 0))
    rig.run()
    assert (rig.get(SIGNAL), rig.get(HERE + 8)) == (1, 3)
    assert rig.reg("GC[0].GRBM_STATUS") == 0x3008


def test_wave_reset_lets_a_pending_dequeue_take_effect() -> None:
    """kgd_gfx_v9_hqd_reset: "assume previous dequeue request issued will take affect after reset"."""
    rig, queue = endless()
    queue.set("CP_HQD_DEQUEUE_REQUEST", 1)
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 1
    queue.set("SPI_COMPUTE_QUEUE_RESET", 1)
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 0
    assert rig.get(SIGNAL) == 0  # what the waves would have ended with never came


def test_wave_kill_of_another_vmid_changes_nothing() -> None:
    rig, _ = endless()
    rig.set("GC[0].SQ_CMD", 3 | 1 << 4 | 1 << 7 | 9 << 28)
    rig.run()
    assert rig.get(SIGNAL) == 0


@pytest.mark.parametrize("bits", [0xF << 16, 1 << 16])
def test_pipe_reset_takes_the_queue_off(bits: int) -> None:
    rig, queue = endless()
    rig.set("GC[0].CP_MEC_CNTL", bits)
    rig.set("GC[0].CP_MEC_CNTL", 0)
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 0
    assert rig.reg("GC[0].GRBM_STATUS") == 0x3008


def test_reset_of_another_pipe_does_not() -> None:
    rig, queue = endless()
    rig.set("GC[0].CP_MEC_CNTL", 1 << 17)
    rig.set("GC[0].CP_MEC_CNTL", 0)
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 1


@pytest.mark.parametrize("bit", [0, 16, 17, 18])
def test_soft_reset_of_the_command_processor_takes_all_queues_off(bit: int) -> None:
    rig, queue = endless()
    rig.set("GC[0].GRBM_SOFT_RESET", 1 << bit)
    rig.run()
    assert queue.reg("CP_HQD_ACTIVE") == 0
    assert rig.gpu.gfx.queues == {}


def test_illegal_instruction_is_an_sq_interrupt_and_stops_the_queue() -> None:
    rig, queue = prepared(Operation(Code.ILLEGAL))
    queue.submit(*dispatch(PROGRAM), release_mem(SIGNAL, 1))
    (sent,) = rig.interrupts.sent
    assert (sent.client, sent.source, sent.vmid, sent.node) == (0x0A, 239, 8, 1)
    data = sent.context[0] & 0xFFF | sent.context[0] >> 16 & 0xF000 | sent.context[1] << 16 & 0xFF0000
    assert (sent.context[0] >> 26 & 3, data >> 20) == (2, 1)  # error encoding, illegal instruction
    assert "waves halted at an illegal instruction" in rig.gpu.wrongs[0]
    assert rig.get(SIGNAL) == 0
    assert rig.reg("GC[0].CP_STAT") == 1 << 31


@pytest.mark.parametrize("code", [Code.TOUCH, Code.STORE])
def test_memory_fault_of_a_wave_is_a_violation_and_stops_the_queue(code: Code) -> None:
    rig, queue = prepared(Operation(code, HERE, 1))
    rig.memory.forbidden.append(range(HERE, HERE + 4))
    queue.submit(*dispatch(PROGRAM), release_mem(SIGNAL, 1))
    assert f"memory violation of a wave: no page at {HERE:#x}" in rig.gpu.wrongs[0]
    assert "waves halted by a memory violation" in rig.gpu.wrongs[1]
    (sent,) = rig.interrupts.sent
    assert (sent.source, sent.context[1] >> 4) == (239, 2)
    assert rig.get(SIGNAL) == 0


def test_program_that_cannot_be_fetched_is_a_violation() -> None:
    rig, queue = prepared(Operation(Code.END))
    rig.memory.forbidden.append(range(PROGRAM, PROGRAM + 4))
    queue.submit(*dispatch(PROGRAM))
    assert "memory violation of a wave" in rig.gpu.wrongs[0]


def test_second_dispatch_waits_for_the_first() -> None:
    rig, queue = endless()
    rig.memory.data.write(PROGRAM + 0x1000, program(Operation(Code.STORE, HERE + 12, 7)))
    queue.set("SPI_COMPUTE_QUEUE_RESET", 1)
    rig.run()
    queue.submit(*dispatch(PROGRAM), *dispatch(PROGRAM + 0x1000))
    assert rig.get(HERE + 12) == 0
    with rig.selected(ME1_QUEUE0):
        rig.set("GC[0].SPI_COMPUTE_QUEUE_RESET", 1)
    rig.run()
    assert rig.get(HERE + 12) == 7
