"""A user queue that hangs on every GPU, through /dev/kfd: a compute queue whose packet waits for a value that nobody writes,
or a copy queue with a packet that no engine knows. The next change of the GPU's queues finds it, and the driver has to
reset that queue alone; another queue of the process has to work before, meanwhile made anew, and afterwards.

    python3 -m tests.lab.guest.kfd_hang compute|sdma

One JSON line a GPU: {"node", "queue", "began", "made_s", "reset_event", "older", "newer", "destroyed"}; `began`: what
lies before the bad packet was done, `made_s`: how long the new queue took, `reset_event`: the driver told the process,
`older`, `newer`: the queue from before and the new one work afterwards, `destroyed`: all three could be taken away."""

from __future__ import annotations

import sys
import time

from tests.lab.guest import packets
from tests.lab.guest.kfd import GTT, PAGE, Memory, Process, Queue, Signal, aql_pm4
from tests.lab.guest.kfd_queues import CODE, FENCE, LIMIT_S, RING, SIGNALS, Work, pm4_works, reached
from tests.lab.guest.uapi import Node, nodes, tell

NEVER_PLACE = 0x40
UNKNOWN_PACKET = 0x7F  # an opcode that no copy engine has (vega10_sdma_pkt_open.h)


def hang_compute(queue: Queue, page: Memory) -> bool:
    """PM4 that writes and then waits for ever; True: the first part was done."""
    body = packets.pm4_write(page.va + FENCE, 1) + packets.pm4_wait_equal(page.va + NEVER_PLACE, packets.NEVER)
    body = packets.pm4_pad(body)
    page.memory[CODE : CODE + len(body)] = body
    queue.put(aql_pm4(packets.pm4_indirect(page.va + CODE, len(body)), Signal(page, SIGNALS, 1)))
    queue.ring_bell(packets=True)
    return reached(page, FENCE, 1)


def hang_sdma(queue: Queue, page: Memory) -> bool:
    queue.put(packets.sdma_fence(page.va + FENCE, 1) + packets.sdma_pad(packets.words(UNKNOWN_PACKET)))
    queue.ring_bell(packets=False)
    return reached(page, FENCE, 1)


def run(process: Process, node: Node, kind: str) -> None:
    reset = process.reset_event()
    older = Work(process, node, "older", process.aql_queue(node, RING), process.memory(node, PAGE, GTT))
    page = process.memory(node, PAGE, GTT)
    if kind == "compute":
        bad = process.aql_queue(node, RING)
        began = hang_compute(bad, page)
    else:
        bad = process.sdma_queue(node, RING)
        began = hang_sdma(bad, page)
    begin = time.monotonic()
    newer = Work(process, node, "newer", process.aql_queue(node, RING), process.memory(node, PAGE, GTT))
    made_s = round(time.monotonic() - begin, 1)
    told = process.wait(reset, LIMIT_S)
    works = [pm4_works(work, 0x7000 + number) for number, work in enumerate((older, newer))]
    for queue in (bad, newer.queue, older.queue):
        process.destroy(queue)
    tell(
        node=node.index,
        queue=kind,
        began=began,
        made_s=made_s,
        reset_event=told,
        older=works[0],
        newer=works[1],
        destroyed=True,
    )


def main() -> None:
    (kind,) = sys.argv[1:]
    gpus = nodes()
    process = Process(gpus)
    for node in gpus:
        run(process, node, kind)
    process.close()


if __name__ == "__main__":
    main()
