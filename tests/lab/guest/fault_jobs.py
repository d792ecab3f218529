"""Work that uses an address which nobody mapped, on every GPU or on one; other work has to run before, and afterwards.

    python3 -m tests.lab.guest.fault_jobs compute|sdma|wave [GPU]

`compute` writes there by PM4, `sdma` copies from there, both in a job of a render node; `wave` is a kernel of the model's
own kind in a user queue, that reads there. One JSON line a GPU: {"node", "render", "what", "address", "told", "later"};
`told`: the process was told: by the error of the job's fence, or by a memory event with that address; `later`: work of
another context, or of another process, is done afterwards."""

from __future__ import annotations

import subprocess
import sys

from gpumodel.dispatch import Code, Operation, program
from tests.lab.guest import packets
from tests.lab.guest.drm import COMPUTE, DMA, Device
from tests.lab.guest.drm import GTT as DRM_GTT
from tests.lab.guest.hang_jobs import LIMIT_S, runs
from tests.lab.guest.kfd import GTT, PAGE, Process, Signal, aql_dispatch, kernel_descriptor
from tests.lab.guest.kfd_queues import CODE, DESCRIPTOR, RING, SIGNALS, Work, pm4_works
from tests.lab.guest.uapi import Node, nodes, tell

NOWHERE = 0x2B_CDEF_7000  # between what drm.py and kfd.py map
EVENT_LIMIT_S = 20.0
JOB_LIMIT_S = 180.0  # the dump of the driver on a busy machine
ENGINES = {"compute": COMPUTE, "sdma": DMA}


def faulting(name: str, target: int) -> bytes:
    if name == "compute":
        return packets.pm4_pad(packets.pm4_write(NOWHERE, 0xBAD))
    return packets.sdma_pad(packets.sdma_copy(target, NOWHERE, 64))


def job(node: Node, name: str) -> None:
    """In the ring of a render node."""
    device = Device(node.render)
    bad, good, target = (device.buffer(PAGE, DRM_GTT) for _ in range(3))
    sent = device.submit(ENGINES[name], bad, faulting(name, target.va))
    error = 0
    try:
        device.wait(sent, JOB_LIMIT_S)
    except OSError as failed:
        error = failed.errno or 0
    later = runs(device, ENGINES[name], 0, device.new_context(), good, target, 0xF00D)
    tell(node=node.index, render=node.render, what=name, address=NOWHERE, told=bool(error), later=later)
    device.close()


def wave(gpus: list[Node], node: Node) -> None:
    """In a user queue. Each GPU's is in a process of its own: the driver lets go of one that has closed its files later."""
    address = int(child("touch", node, "-1"))
    later = child("works", node, "no") == "yes"
    tell(node=node.index, render=node.render, what="wave", address=address, told=address == NOWHERE, later=later)


def child(what: str, node: Node, otherwise: str) -> str:
    """What this program says in another process."""
    command = [sys.executable, "-m", __spec__.name, what, str(node.index)]
    done = subprocess.run(command, check=False, timeout=LIMIT_S, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip() or otherwise


def touch(gpus: list[Node], node: Node) -> int:
    """The address of which this process is told when a wave of its queue reads from nowhere; -1: it is not told."""
    process = Process(gpus)
    event = process.memory_event()
    work = Work(process, node, "wave", process.aql_queue(node, RING), process.memory(node, PAGE, GTT))
    code = program(Operation(Code.TOUCH, NOWHERE), Operation(Code.END))
    work.page.memory[CODE : CODE + len(code)] = code
    work.page.memory[DESCRIPTOR : DESCRIPTOR + 64] = kernel_descriptor(CODE - DESCRIPTOR)
    signal = Signal(work.page, SIGNALS, 1)
    work.queue.put(aql_dispatch(work.page.va + DESCRIPTOR, work.page.va, signal, groups=1, size=64))
    work.queue.ring_bell(packets=True)
    address = process.fault_address(event, EVENT_LIMIT_S)
    process.close()
    return -1 if address is None else address


def works(gpus: list[Node], node: Node) -> bool:
    """Whether a user queue of this process works."""
    process = Process(gpus)
    work = Work(process, node, "later", process.aql_queue(node, RING), process.memory(node, PAGE, GTT))
    good = pm4_works(work, 0xF00D)
    process.destroy(work.queue)
    process.close()
    return good


def main() -> None:
    name, *more = sys.argv[1:]
    gpus = nodes()
    chosen = [gpus[int(place)] for place in more] or gpus
    for node in chosen:
        if name == "touch":
            print(touch(gpus, node))
        elif name == "works":
            print("yes" if works(gpus, node) else "no")
        elif name == "wave":
            wave(gpus, node)
        else:
            job(node, name)


if __name__ == "__main__":
    main()
