"""User queues on every GPU, through /dev/kfd: SDMA queues of each kind and an AQL queue, with doorbells and events.

    python3 -m tests.lab.guest.kfd_queues

One JSON line a piece of work: {"node", "queue", "what", "good", ...}. All queues of all GPUs live at the same time; each
new one makes the driver take the others of its GPU off and put them on again."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from gpumodel.dispatch import FROM_KERNARG, Code, Operation, program
from tests.lab.guest import packets
from tests.lab.guest.kfd import (
    AQL_BYTES,
    GTT,
    PAGE,
    SDMA,
    SDMA_ENGINE,
    SDMA_XGMI,
    VRAM,
    Memory,
    Process,
    Queue,
    Signal,
    aql_barrier_and,
    aql_dispatch,
    aql_pm4,
    kernel_descriptor,
)
from tests.lab.guest.uapi import Node, nodes, tell

LIMIT_S = 10.0
RING = PAGE
COPY = 0x2_0000
ROUNDS = 3  # each longer than half of a ring, so that it is gone round
GROUPS, GROUP_SIZE = 4, 64
DATA, FENCE, CODE, DESCRIPTOR, ARGUMENTS = 0, 0x80, 0x400, 0x800, 0xC00  # places in the page of a queue
SIGNALS = 0x100
SDMA_KINDS = {"sdma": SDMA, "sdma-xgmi": SDMA_XGMI, "sdma-last": SDMA_ENGINE}


@dataclass(slots=True)
class Work:
    """What one queue works with."""

    process: Process
    node: Node
    name: str
    queue: Queue
    page: Memory

    def tell(self, what: str, good: bool, **more: object) -> None:
        tell(node=self.node.index, queue=self.name, what=what, good=good, **more)


def reached(memory: Memory, offset: int, value: int) -> bool:
    """Whether a fence came."""
    end = time.monotonic() + LIMIT_S
    while memory.number(offset, 4) != value:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# --- SDMA


def copy(work: Work, source: Memory, target: Memory, what: str) -> None:
    """Copies, a fence, an event; the ring is filled up with NOPs, so that rounds go round its end."""
    for number in range(1, ROUNDS + 1):
        pattern = os.urandom(COPY)
        source.memory[:COPY] = pattern
        target.memory[: COPY + 8] = bytes(COPY + 8)
        event = work.process.event()
        body = packets.sdma_copy(target.va, source.va, COPY)
        body += packets.sdma_fence(work.page.va + FENCE, number)
        body += packets.sdma_fence(event.slot_va, event.number) + packets.sdma_trap(event.number)
        body += packets.words(0) * (RING * 5 // 8 // 4 - len(body) // 4)
        work.page.memory[FENCE : FENCE + 4] = bytes(4)
        work.queue.put(body)
        work.queue.ring_bell(packets=False)
        fence = reached(work.page, FENCE, number)
        event_came = work.process.wait(event, LIMIT_S)
        data = target.memory[: COPY + 8] == pattern + bytes(8)
        read = reached(work.queue.pointers, Queue.READ, work.queue.position)
        good = fence and event_came and data and read
        work.tell(what, good, fence=fence, event=event_came, data=data, read=read, position=work.queue.position)


# --- AQL


def pm4(work: Work, mark: int) -> None:
    work.tell("pm4", pm4_works(work, mark))


def pm4_works(work: Work, mark: int) -> bool:
    """Two packets: PM4 that writes, then a barrier that waits for it, then signals with an event."""
    event = work.process.event()
    body = packets.pm4_pad(packets.pm4_write(work.page.va + DATA, mark, ~mark))
    work.page.memory[CODE : CODE + len(body)] = body
    first, second = Signal(work.page, SIGNALS, 1), Signal(work.page, SIGNALS + 64, 1, event)
    work.queue.put(aql_pm4(packets.pm4_indirect(work.page.va + CODE, len(body)), first))
    work.queue.put(aql_barrier_and(second, first))
    work.queue.ring_bell(packets=True)
    came = work.process.wait(event, LIMIT_S)
    data = work.page.memory[DATA : DATA + 8] == packets.words(mark, ~mark)
    values, times = [first.value, second.value], second.times
    good = came and data and values == [0, 0] and 0 < times[0] <= times[1]
    if not good:
        work.tell("pm4 in detail", good, event=came, data=data, signals=values, times=times)
    return good


def dispatch(work: Work, mark: int) -> None:
    """A kernel of the model's own kind: it stores a value and adds to it, at an address that it is given."""
    event = work.process.event()
    steps = (Operation(Code.STORE | FROM_KERNARG, 0, mark, 4), Operation(Code.ADD | FROM_KERNARG, 0, 5))
    code = program(*steps, Operation(Code.END))
    work.page.memory[CODE : CODE + len(code)] = code
    work.page.memory[DESCRIPTOR : DESCRIPTOR + 64] = kernel_descriptor(CODE - DESCRIPTOR)
    work.page.memory[ARGUMENTS : ARGUMENTS + 8] = (work.page.va + DATA).to_bytes(8, "little")
    signal = Signal(work.page, SIGNALS + 128, 1, event)
    kernel, arguments = work.page.va + DESCRIPTOR, work.page.va + ARGUMENTS
    work.queue.put(aql_dispatch(kernel, arguments, signal, groups=GROUPS, size=GROUP_SIZE))
    work.queue.ring_bell(packets=True)
    came = work.process.wait(event, LIMIT_S)
    data = work.page.number(DATA, 4)
    work.tell("dispatch", came and data == mark + 5 and signal.value == 0, event=came, data=data)


def round_the_ring(work: Work) -> None:
    """More barriers than the ring has slots, in two parts; all count the same signal down."""
    half = RING // AQL_BYTES // 2 + 4
    for _ in range(2):
        signal = Signal(work.page, SIGNALS + 192, half)
        work.queue.put(aql_barrier_and(signal) * half)
        work.queue.ring_bell(packets=True)
        end = time.monotonic() + LIMIT_S
        while signal.value and time.monotonic() < end:
            time.sleep(0.01)
        work.tell("round", signal.value == 0, packets=half, left=signal.value)


def main() -> None:
    gpus = nodes()
    process = Process(gpus)
    compute = [
        Work(process, node, "aql", process.aql_queue(node, RING), process.memory(node, PAGE, GTT)) for node in gpus
    ]
    for work in compute:
        pm4(work, 0x51000 + work.node.index)
        dispatch(work, 0x52000 + work.node.index)
        round_the_ring(work)
    sources = [process.memory(node, COPY + PAGE, GTT) for node in gpus]
    targets = [process.memory(node, COPY + PAGE, VRAM, everywhere=True) for node in gpus]
    copiers: list[Work] = []
    for node in gpus:
        last = node.properties["num_sdma_engines"] + node.properties["num_sdma_xgmi_engines"] - 1
        for name, kind in SDMA_KINDS.items():
            queue = process.sdma_queue(node, RING, kind=kind, engine=last)
            work = Work(process, node, name, queue, process.memory(node, PAGE, GTT))
            copy(work, sources[node.index], targets[node.index], "copy")
            copiers.append(work)
    if len(gpus) > 1:  # over the links
        for work in copiers:
            if work.name == "sdma-xgmi":
                neighbour = targets[(work.node.index + 1) % len(gpus)]
                copy(work, sources[work.node.index], neighbour, "copy to the neighbour")
    for work in compute:  # the queues have been taken off and put on again since
        pm4(work, 0x62000 + work.node.index)
    for work in (*copiers, *compute):
        process.destroy(work.queue)
        work.tell("destroy", True)
    process.close()


if __name__ == "__main__":
    main()
