"""What must hold of work on an NVIDIA GPU, board or model: the bodies of the tests in `test_nv_work.py` (a board) and of
`tests/model/test_nv_bodies.py` (the model, so that they are known to work as code).

They take memory and channels of their own, change no setting, clear nothing and cause no error."""

from __future__ import annotations

import struct
from collections.abc import Callable

from nvdriver import pushbuffer, qmd
from nvdriver.opengpu import OpenNvGpu

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
EDGES = (
    1,
    2,
    3,
    4,
    5,
    15,
    16,
    17,
    63,
    64,
    65,
    255,
    256,
    4095,
    4096,
    4097,
    65535,
    65536,
    65537,
    2 * MIB - 1,
    2 * MIB,
    2 * MIB + 1,
)


def pattern(size: int, seed: int) -> bytes:
    """Bytes that repeat only after 4 MiB, made without a loop over them."""
    from base.patterns import Pattern

    block = Pattern(seed).part(0, min(size, 4 * MIB)).tobytes()
    return (block * (size // len(block) + 1))[:size]


def sizes(most: int) -> list[int]:
    """The edges, and powers of four up to `most`."""
    found = {size for size in EDGES if size <= most} | {most}
    power = MIB
    while power <= most:
        found.add(power)
        power *= 4
    return sorted(found)


def copies_on_each_engine(gpu: OpenNvGpu, most: int) -> None:
    """1 B to `most`, VRAM to VRAM, read back by another engine; what lies beside stays."""
    source, target = gpu.alloc(most + 256), gpu.alloc(most + 256)
    data = pattern(most + 256, 1)
    source.write(data)
    for engine in range(gpu.engines):
        for size in sizes(most if engine == 0 else min(most, 4 * MIB)):
            of, to = (size * 7 + engine) % 64, (size * 13 + 3 * engine) % 64
            gpu.fill(target, 0xE0 + engine % 16, size + 128, engine=engine)
            gpu.copy(target, source, size, dst_offset=to, src_offset=of, engine=engine)
            gpu.synchronize(engine=engine)
            background = bytes([0xE0 + engine % 16])
            wanted = background * to + data[of : of + size] + background * (128 - to)
            assert target.read(0, size + 128) == wanted, f"{gpu.engine_name(engine)}, {size} bytes"
    source.free()
    target.free()


def copies_between_host_and_vram(gpu: OpenNvGpu, most: int) -> None:
    host, back = gpu.alloc(most, where="host"), gpu.alloc(most, where="host")
    with gpu.alloc(most) as vram:
        data = pattern(most, 2)
        host.write(data)
        for engine in range(gpu.engines):
            back.write(bytes(64))
            gpu.copy(vram, host, engine=engine)
            gpu.copy(back, vram, engine=engine)
            assert back.read() == data, gpu.engine_name(engine)
    host.free()
    back.free()


def fills_of_every_alignment(gpu: OpenNvGpu) -> None:
    with gpu.alloc(8 * KIB) as target:
        for engine in range(gpu.engines):
            for offset in range(5):
                for size in (1, 2, 3, 4, 5, 7, 8, 9, 4096, 4099):
                    gpu.fill(target, 0x11, engine=engine)
                    gpu.fill(target, 0xC0 | engine % 16, size, offset=offset, engine=engine)
                    wanted = b"\x11" * offset + bytes([0xC0 | engine % 16]) * size + b"\x11" * (8192 - offset - size)
                    gpu.synchronize(engine=engine)
                    assert target.read() == wanted, (gpu.engine_name(engine), offset, size)


def bar1_shows_what_the_engines_see(gpu: OpenNvGpu) -> None:
    mapped, other = gpu.alloc_mapped(MIB), gpu.alloc(MIB)
    mapped.write(pattern(MIB, 3))
    gpu.copy(other, mapped)
    assert other.read() == pattern(MIB, 3)
    gpu.fill(mapped, 0x5A)
    assert mapped.read() == b"\x5a" * MIB
    mapped.free()
    other.free()


def semaphores_wait_and_release(gpu: OpenNvGpu) -> None:
    """Each engine waits for the host and for the next one; 64 bits and the time are written."""
    with gpu.alloc(64, where="host") as gate:
        for engine in range(gpu.engines):
            gate.write(bytes(64))
            channel = gpu.channel(engine)
            value = channel.submit(
                pushbuffer.acquire(gate.gpu_va, 1 << 40) + pushbuffer.release(gate.gpu_va + 16, (1 << 40) + 1)
            )
            assert channel.reached < value
            memory = gate.held("opening the gate").cpu
            assert memory is not None
            before = gpu.timer_ns()
            memory[0:8] = struct.pack("<Q", 1 << 40)
            channel.wait(value)
            released, stamp = struct.unpack("<QQ", gate.read(16, 16))
            assert released == (1 << 40) + 1
            assert before <= stamp <= gpu.timer_ns()


def timestamps_go_forwards(gpu: OpenNvGpu) -> None:
    for engine in range(gpu.engines):
        before = gpu.timer_ns()
        stamps = gpu.timestamps(engine, 256)
        order = [before, *stamps, gpu.timer_ns()]
        assert order == sorted(order), gpu.engine_name(engine)
    answer = struct.unpack("<Q", gpu.bench.gpu.control("TIMER_GET_TIME"))[0]
    assert abs(answer - gpu.timer_ns()) < 1_000_000_000, "the driver's clock and the page's are one"


def two_channels_take_turns(gpu: OpenNvGpu) -> None:
    with gpu.alloc(64, where="host") as gates:
        for engine in range(gpu.engines):
            gates.write(bytes(64))
            one, two = gpu.new_channel(engine), gpu.new_channel(engine)
            for turn in range(1, 33):
                mine = one.submit(
                    pushbuffer.acquire(gates.gpu_va + 16, turn - 1) + pushbuffer.release(gates.gpu_va, turn)
                )
                theirs = two.submit(
                    pushbuffer.acquire(gates.gpu_va, turn) + pushbuffer.release(gates.gpu_va + 16, turn)
                )
            one.wait(mine)
            two.wait(theirs)
            one.close()
            two.close()


def two_engines_copy_at_once(gpu: OpenNvGpu, size: int) -> None:
    if gpu.engines < 2:
        return
    source, target = gpu.alloc(2 * size), gpu.alloc(2 * size)
    source.write(pattern(2 * size, 5))
    gpu.fill(target, 0)
    gpu.synchronize()
    for engine in (0, 1):
        gpu.copy(target, source, size, dst_offset=engine * size, src_offset=engine * size, engine=engine)
    gpu.synchronize()
    assert target.read() == pattern(2 * size, 5)
    source.free()
    target.free()


def channels_come_and_go(gpu: OpenNvGpu, times: int, used: Callable[[], object]) -> None:
    """`used`: what must be the same afterwards (memory, descriptors)."""
    gpu.new_channel(0).close()
    gpu.new_channel(None).close()
    before = used()
    for number in range(times):
        channel = gpu.new_channel(None if number % 4 == 3 else number % gpu.engines)
        channel.wait(channel.submit(b""))
        channel.close()
    assert used() == before


def compute_channel_fences(gpu: OpenNvGpu) -> None:
    channel = gpu.channel(None)
    with gpu.alloc(64, where="host") as page:
        page.write(bytes(64))
        stores = b"".join(pushbuffer.store32(page.gpu_va + 4 * at, 0x1000 + at) for at in range(16))
        channel.wait(channel.submit(pushbuffer.invalidate_caches() + stores + pushbuffer.interrupt()))
        assert struct.unpack("<16I", page.read()) == tuple(range(0x1000, 0x1010))


def kernel_is_dispatched(gpu: OpenNvGpu, code: bytes, registers: int) -> None:
    """A QMD of a kernel without parameters; its semaphores are released when the grid is done. Hopper only."""
    channel = gpu.channel(None)
    with gpu.alloc(64 * KIB) as program, gpu.alloc(64 * KIB) as constants, gpu.alloc(4 * KIB, where="host") as page:
        program.write(code.ljust(8 * KIB, b"\0"))
        constants.write(bytes(4 * KIB))
        page.write(bytes(64))
        kernel = qmd.Kernel(program.gpu_va, registers=registers)
        launch = qmd.build(
            kernel, grid=(4, 2, 1), threads=(64, 1, 1), constants=((0, constants.gpu_va, 4 * KIB),),
            releases=((page.gpu_va, 0x1_2345_6789), (page.gpu_va + 16, 7)),
        )  # fmt: skip
        with gpu.alloc(4 * KIB, where="host") as queue:
            queue.write(launch)
            channel.wait(channel.submit(pushbuffer.invalidate_caches() + pushbuffer.dispatch(queue.gpu_va)))
            (first, stamp), (second, later) = struct.iter_unpack("<QQ", page.read(0, 32))
            assert (first, second) == (0x1_2345_6789, 7)
            assert 0 < stamp <= later <= gpu.timer_ns()
