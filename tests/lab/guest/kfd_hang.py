"""A user queue that never ends its work, on every GPU: the driver finds it when it wants to take it off, for another queue
of the process, and resets it; the other queues work.

    python3 -m tests.lab.guest.kfd_hang

One JSON line a GPU: {"node", "found_s", "told", "sdma", "compute"}; `found_s`: how long the new queue had to wait, `told`:
the process got its event, `sdma` and `compute`: the new queues work."""

from __future__ import annotations

import time

from tests.lab.guest import packets
from tests.lab.guest.kfd import GTT, PAGE, Process, Queue, Signal, aql_pm4
from tests.lab.guest.kfd_queues import CODE, DATA, FENCE, RING, SIGNALS, Work, reached
from tests.lab.guest.uapi import Node, nodes, tell

LIMIT_S = 20.0
NEVER_PLACE, MARK = 0x40, 0x7357


def send(work: Work, body: bytes) -> Signal:
    """A vendor packet that runs an indirect buffer."""
    work.page.memory[CODE : CODE + len(body)] = body
    signal = Signal(work.page, SIGNALS, 1)
    work.queue.put(aql_pm4(packets.pm4_indirect(work.page.va + CODE, len(body)), signal))
    work.queue.ring_bell(packets=True)
    return signal


def compute(process: Process, node: Node) -> bool:
    work = Work(process, node, "aql", process.aql_queue(node, RING), process.memory(node, PAGE, GTT))
    send(work, packets.pm4_pad(packets.pm4_write(work.page.va + DATA, MARK)))
    return reached(work.page, DATA, MARK)


def copies(process: Process, node: Node, queue: Queue) -> bool:
    page = process.memory(node, PAGE, GTT)
    queue.put(packets.sdma_pad(packets.sdma_fence(page.va + FENCE, MARK)))
    queue.ring_bell(packets=False)
    return reached(page, FENCE, MARK)


def run(process: Process, node: Node) -> None:
    told = process.reset_event()
    bad = Work(process, node, "aql", process.aql_queue(node, RING), process.memory(node, PAGE, GTT))
    send(bad, packets.pm4_pad(packets.pm4_wait_equal(bad.page.va + NEVER_PLACE, packets.NEVER)))
    time.sleep(0.2)  # until it is at it
    begin = time.monotonic()
    queue = process.sdma_queue(node, RING)
    found_s = round(time.monotonic() - begin, 1)
    was_told = process.wait(told, LIMIT_S)
    sdma = copies(process, node, queue)
    tell(node=node.index, found_s=found_s, told=was_told, sdma=sdma, compute=compute(process, node))


def main() -> None:
    gpus = nodes()
    process = Process(gpus)
    for node in gpus:
        run(process, node)
    process.close()


if __name__ == "__main__":
    main()
