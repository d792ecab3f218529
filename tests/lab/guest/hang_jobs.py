"""A job that never ends on every GPU: a compute job, or an SDMA job, that waits for a value that nobody writes. The
driver's job timeout has to find it and to reset the queue or the engine; later jobs have to run.

    python3 -m tests.lab.guest.hang_jobs compute|sdma

One JSON line a GPU: {"node", "render", "engine", "ended_s", "error", "reset", "guilty", "vram_lost", "neighbour",
"later"}; `error`: the fence's error (62 ETIME, 125 ECANCELED; 0 none), `neighbour`: a job of another ring that was sent
while this one hung is done, `later`: jobs of the hung ring that ran afterwards."""

from __future__ import annotations

import sys
import time

from tests.lab.guest import packets
from tests.lab.guest.drm import COMPUTE, DMA, GTT, PAGE, STATE_GUILTY, STATE_RESET, STATE_VRAM_LOST, Buffer, Device
from tests.lab.guest.uapi import Node, nodes, tell

LIMIT_S = 90.0  # the driver's own is 2 s; its dump of the state of a hive takes many in an emulated guest
FLAG_S = 5.0  # the driver counts a reset after it has ended the job
LATER = 4
ENGINES = {"compute": COMPUTE, "sdma": DMA}
NEVER_PLACE, MARK_PLACE = 0, 0x40


def hanging(engine: int, target: int) -> bytes:
    place = target + NEVER_PLACE
    if engine == COMPUTE:
        return packets.pm4_pad(packets.pm4_wait_equal(place, packets.NEVER))
    return packets.sdma_pad(packets.sdma_wait_equal(place, packets.NEVER))


def writing(engine: int, target: int, mark: int) -> bytes:
    if engine == COMPUTE:
        return packets.pm4_pad(packets.pm4_write(target + MARK_PLACE, mark))
    return packets.sdma_pad(packets.sdma_write(target + MARK_PLACE, mark))


def runs(device: Device, engine: int, ring: int, context: int, program: Buffer, target: Buffer, mark: int) -> bool:
    """Whether a job that writes a mark does so and ends."""
    job = device.submit(engine, program, writing(engine, target.va, mark), ring=ring, context=context)
    done = device.wait(job, LIMIT_S, context=context)
    return done and target.memory[MARK_PLACE : MARK_PLACE + 4] == packets.words(mark)


def flags_after_reset(device: Device, context: int) -> int:
    end = time.monotonic() + FLAG_S
    while not (flags := device.context_flags(context)) & STATE_RESET and time.monotonic() < end:
        time.sleep(0.05)
    return flags


def run(node: Node, name: str) -> None:
    engine = ENGINES[name]
    device = Device(node.render)
    bad, program, target, other = (device.buffer(PAGE, GTT) for _ in range(4))
    guilty = device.context
    job = device.submit(engine, bad, hanging(engine, target.va))
    begin = time.monotonic()
    neighbour = runs(device, COMPUTE, 1, device.new_context(), program, other, 0xBEEF)
    error = 0
    try:
        ended = device.wait(job, LIMIT_S)
    except OSError as failed:
        ended, error = True, failed.errno or 0
    ended_s = round(time.monotonic() - begin, 1)
    flags = flags_after_reset(device, guilty)
    fresh = device.new_context()
    later = sum(runs(device, engine, 0, fresh, program, target, 0x1000 + number) for number in range(LATER))
    tell(
        node=node.index,
        render=node.render,
        engine=name,
        ended_s=ended_s if ended else None,
        error=error,
        reset=bool(flags & STATE_RESET),
        guilty=bool(flags & STATE_GUILTY),
        vram_lost=bool(flags & STATE_VRAM_LOST),
        neighbour=neighbour,
        later=later,
    )
    device.close()


def main() -> None:
    (name,) = sys.argv[1:]
    for node in nodes():
        run(node, name)


if __name__ == "__main__":
    main()
