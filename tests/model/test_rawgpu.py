"""`gpu.raw`: memory without waits, rings that the caller fills, waits that tell what went wrong; without any tensor runtime."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import gpumend
from amdriver import sdma_packets
from amdriver.gmc import SLOT_BYTES
from amdriver.memory import BadAddress, Closed
from amdriver.opengpu import OpenGpu
from base.errors import UsageError, WaitTimeout
from gpumodel.dispatch import Code, Operation, program
from tests.model.recovery_rig import TARGET_VA

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
_DESCRIPTOR = struct.Struct("<IIIxxxxq20xIIIHH4x")


@contextmanager
def opened(spec: str, firmware_dir: Path, *, slots: bool = True) -> Iterator[list[OpenGpu]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                gpumend.open_found(one, firmware=firmware_dir, recover=True, slot=one.index if slots else None)
            )
            for one in gpumend.list_gpus([f"model:{spec}"])
        ]


def launch(raw: gpumend.Raw, *operations: Operation) -> tuple[gpumend.AqlQueue, gpumend.RawMemory]:
    """One workgroup of a program, and a fence behind it: 1 in the memory that is returned."""
    queue, signal = raw.compute_queue(), raw.alloc(4096, where="host", uncached=True)
    code = raw.alloc(4096, cpu=True)
    code.write(0, _DESCRIPTOR.pack(0, 0, 0, 256, 0, 0, 0, 0, 0).ljust(256, b"\0") + program(*operations))
    packets, indirect = raw.packets, raw.alloc(4096, where="host", uncached=True)
    words = packets.compute_fence.fill(signal.gpu_va, 1)
    indirect.write(0, struct.pack(f"<{len(words)}I", *words))
    first = packets.launch(code.gpu_va, signal.gpu_va, (64, 1, 1), (64, 1, 1), 0, 0)
    raw.submit(queue, bytes(first) + packets.indirect(indirect.gpu_va, len(words)))
    return queue, signal


@BOTH
def test_raw_memory_is_read_and_written_as_it_is(part: str, firmware_dir: Path) -> None:
    with opened(part, firmware_dir) as (gpu,):
        for memory in (gpu.raw.alloc(10_000), gpu.raw.alloc(10_000, cpu=True), gpu.raw.alloc(10_000, where="host")):
            memory.write(7, b"hello")
            assert memory.read(5, 9) == memory.read(5, 2) + b"hello" + memory.read(12, 2)
            with pytest.raises(BadAddress):
                memory.write(9_999, b"xx")
            memory.free()
            memory.free()
            with pytest.raises(Closed):
                memory.read(0, 1)
    with pytest.raises(Closed, match="closed before"):
        _ = gpu.raw


@BOTH
def test_raw_queue_runs_a_kernel_and_its_fence_is_waited_for(part: str, firmware_dir: Path) -> None:
    with opened(part, firmware_dir) as (gpu,):
        target = gpu.raw.alloc(4096, cpu=True)
        target.write(0, bytes(8))
        _, signal = launch(gpu.raw, Operation(Code.STORE, target.gpu_va, 0x1234, 8))
        assert gpu.raw.wait(signal, 0, 1, 1.0) == 1
        assert int.from_bytes(target.read(0, 8), "little") == 0x1234


@BOTH
@pytest.mark.parametrize(
    ("operation", "kind", "told"),
    [
        (Operation(Code.STORE, TARGET_VA, 1, 4), gpumend.KernelFault, f"{TARGET_VA & ~0xFFF:#x}"),
        (Operation(Code.ILLEGAL), gpumend.KernelHung, "illegal instruction by a wave of VMID 8"),
        (Operation(Code.LOOP), gpumend.KernelHung, "after"),
    ],
    ids=["fault", "illegal", "endless"],
)
def test_raw_wait_frees_what_is_stuck_and_tells_of_it(
    part: str, operation: Operation, kind: type[gpumend.KernelHung], told: str, firmware_dir: Path
) -> None:
    with opened(part, firmware_dir) as (gpu,):
        queue, signal = launch(gpu.raw, operation)
        with pytest.raises(kind) as error:
            gpu.raw.wait(signal, 0, 1, 0.5)
        assert told in str(error.value)
        assert (error.value.queue, error.value.recovery.level) == (str(queue), "queue")
        assert error.value.recovery.took_s < 0.1
        words = gpu.raw.packets.compute_fence.fill(signal.gpu_va, 9)
        indirect = gpu.raw.alloc(4096, where="host", uncached=True)
        indirect.write(0, struct.pack(f"<{len(words)}I", *words))
        gpu.raw.submit(queue, gpu.raw.packets.indirect(indirect.gpu_va, len(words)))
        assert gpu.raw.wait(signal, 0, 9, 0.5) == 9


def test_raw_wait_for_nobody_is_a_time_out_and_nothing_is_reset(firmware_dir: Path) -> None:
    with opened("mi350x", firmware_dir) as (gpu,):
        signal = gpu.raw.alloc(4096, where="host")
        signal.write(0, bytes(8))
        before = gpu.clock.now()
        with pytest.raises(WaitTimeout, match="at least 5") as late:
            gpu.raw.wait(signal, 0, 5, 0.5)
        assert not isinstance(late.value, gpumend.KernelHung)
        assert 0.5 <= gpu.clock.now() - before < 0.6


@BOTH
def test_memory_of_another_gpu_has_the_same_address_here(part: str, firmware_dir: Path) -> None:
    with opened(f"{part}*2", firmware_dir) as (one, two):
        theirs, shared = two.raw.alloc(1 << 20), two.raw.alloc(4096, where="host", uncached=True)
        near, near_shared = one.raw.map_other(theirs), one.raw.map_other(shared)
        assert (near.gpu_va, near_shared.gpu_va) == (theirs.gpu_va, shared.gpu_va)
        assert theirs.gpu_va // SLOT_BYTES == 1
        mine = one.raw.alloc(1 << 20)
        assert mine.gpu_va // SLOT_BYTES == 0
        mine.write(0, b"\x5a" * (1 << 20))
        shared.write(0, bytes(8))
        packets = sdma_packets.copy_linear(near.gpu_va, mine.gpu_va, 1 << 20)
        fence = one.raw.packets.fence.fill(near_shared.gpu_va, 3)
        one.raw.submit(one.raw.copy_queue(4), packets + struct.pack(f"<{len(fence)}I", *fence))
        assert two.raw.wait(shared, 0, 3, 1.0) == 3
        assert theirs.read(0, 1 << 20) == b"\x5a" * (1 << 20)
        theirs.free()
        assert near.freed, "what another GPU has mapped of it goes with it"


def test_memory_is_not_shared_without_slots(firmware_dir: Path) -> None:
    with opened("mi350x*2", firmware_dir, slots=False) as (one, two), pytest.raises(UsageError, match="slot"):
        one.raw.map_other(two.raw.alloc(4096))


@pytest.mark.parametrize("slot", [-1, 16])
def test_slot_that_does_not_exist_is_refused(slot: int, firmware_dir: Path) -> None:
    (found,) = gpumend.list_gpus(["model:mi350x"])
    with pytest.raises(UsageError, match="0 to 15"):
        gpumend.open_found(found, firmware=firmware_dir, slot=slot)


@BOTH
def test_shape_is_that_of_the_discovery_table(part: str, firmware_dir: Path) -> None:
    with opened(part, firmware_dir) as (gpu,):
        shape = gpu.raw.shape
        cus, lds, gc = {"mi300x": (40, 64, (9, 4, 3)), "mi350x": (36, 160, (9, 5, 0))}[part]
        assert (shape.xccs, shape.lds_kib, shape.gc) == (8, lds, gc)
        assert shape.shader_engines * shape.arrays_per_engine * shape.cus_per_array == cus


def test_scratch_of_an_aql_queue_stands_where_the_processor_looks(firmware_dir: Path) -> None:
    with opened("mi350x", firmware_dir) as (gpu,):
        queue = gpu.raw.compute_queue()
        queue.set_scratch(
            address=0x1234_5678_9000,
            lane_bytes=128,
            tmpring_size=0x1077,
            resource=(1, 2, 3, 4),
            cus=288,
            waves_per_cu=40,
        )
        descriptor = queue._memory.read(queue.ring_bytes + 256, 256)  # amd_queue_t
        assert struct.unpack_from("<II", descriptor, 72) == (287, 39)
        assert struct.unpack_from("<II4IQ", descriptor, 136) == (128, 0x1077, 1, 2, 3, 4, 0x1234_5678_9000)
        assert struct.unpack_from("<II", descriptor, 176) == (128, 10)
        assert queue.rptr_va == queue.address + queue.ring_bytes + 256 + 128
