"""Compute and SDMA jobs on every GPU, through its render node; each checks data and fences.

    python3 -m tests.lab.guest.drm_jobs

One JSON line a job: {"node", "render", "engine", "ring", "where", "sequence", "done", "fence", "data"}; `done`: the kernel
says so, `fence`: the GPU wrote the sequence number into the user fence, `data`: memory holds what the job should leave."""

from __future__ import annotations

import os

from tests.lab.guest import packets
from tests.lab.guest.drm import COMPUTE, DMA, GTT, PAGE, VRAM, Buffer, Device
from tests.lab.guest.uapi import Node, nodes, tell

LIMIT_S = 20.0
RINGS = {COMPUTE: 4, DMA: 2}  # amdgpu_ctx.c, amdgpu_ctx_num_entities
NAMES = {COMPUTE: "compute", DMA: "sdma"}
DOMAINS = {"gtt": GTT, "vram": VRAM}
LARGE = 0x40_0000  # two large pages
WRITTEN, COPIED = 0x23_4560, 0x30_0000  # offsets in the target: across a table of pages, and page aligned
COPY_SIZE = 0x1_2340  # pages, and a part of one
SOURCE_OFFSET = 0x40


def body(engine: int, target: int, source: int, mark: int) -> bytes:
    """An indirect buffer that writes eight bytes and copies many."""
    if engine == COMPUTE:
        return packets.pm4_pad(
            packets.pm4_write(target + WRITTEN, mark, ~mark)
            + packets.pm4_copy(target + COPIED, source + SOURCE_OFFSET, COPY_SIZE)
        )
    return packets.sdma_pad(
        packets.sdma_write(target + WRITTEN, mark, ~mark)
        + packets.sdma_copy(target + COPIED, source + SOURCE_OFFSET, COPY_SIZE)
        + packets.sdma_fill(target, mark, PAGE)
    )


def run(device: Device, node: Node, engine: int, ring: int, where: str, program: Buffer, buffers: list[Buffer]) -> None:
    """One job, told in one line; `buffers`: where from and where to."""
    source, target = buffers
    mark = 0x1000_0000 * engine + 0x100 * ring + node.index + 0x5A
    pattern = os.urandom(COPY_SIZE)
    source.memory[SOURCE_OFFSET : SOURCE_OFFSET + COPY_SIZE] = pattern
    target.memory[WRITTEN : WRITTEN + 8] = bytes(8)
    target.memory[COPIED : COPIED + COPY_SIZE + 8] = bytes(COPY_SIZE + 8)
    job = device.submit(engine, program, body(engine, target.va, source.va, mark), ring=ring)
    done = device.wait(job, LIMIT_S)
    fence = device.user_fence(job) == job.sequence
    data = (
        target.memory[WRITTEN : WRITTEN + 8] == packets.words(mark, ~mark)
        and target.memory[COPIED : COPIED + COPY_SIZE + 8] == pattern + bytes(8)
        and (engine == COMPUTE or target.memory[:PAGE] == packets.words(mark) * (PAGE // 4))
    )
    tell(
        node=node.index,
        render=node.render,
        engine=NAMES[engine],
        ring=ring,
        where=where,
        sequence=job.sequence,
        done=done,
        fence=fence,
        data=data,
    )


def main() -> None:
    for node in nodes():
        device = Device(node.render)
        program, source = device.buffer(PAGE, GTT), device.buffer(LARGE, GTT)
        for where, domain in DOMAINS.items():
            target = device.buffer(LARGE, domain)
            for engine, rings in RINGS.items():
                for ring in range(rings):
                    run(device, node, engine, ring, where, program, [source, target])
            device.free(target)
        device.close()


if __name__ == "__main__":
    main()
