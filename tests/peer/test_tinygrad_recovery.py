"""Dispatches that go wrong on our tinygrad backend: an exception with the fault decoded, the next work runs, all else stays."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpumend
from gpumodel.dispatch import Code, Operation
from runtime.tinygrad import DispatchFailed
from tests.peer.backend_rig import UNMAPPED, Rig, copy, installed, payload, require_tinygrad

require_tinygrad()

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
BAD = {
    "write": Operation(Code.STORE, UNMAPPED, 1, 4),
    "read": Operation(Code.TOUCH, UNMAPPED),
    "endless": Operation(Code.LOOP),
    "illegal": Operation(Code.ILLEGAL),
}
KEPT = 64 << 10
RECOVERY_S = 0.1


class Watched:
    """A device with a buffer that must survive, a kernel that works, and one that does not."""

    def __init__(self, rig: Rig, bad: Operation, index: int = 0) -> None:
        self.rig, self.device = rig, rig.device(index)
        self.data = payload(index, KEPT)
        self.kept, self.target = rig.filled(self.device, self.data), rig.filled(self.device, bytes(KEPT))
        self.good = rig.program(self.device, copy(KEPT), arguments=2)
        self.bad = rig.program(self.device, bad)

    def work(self) -> None:
        """Good work, checked."""
        self.device.allocator._copyin(self.target, memoryview(bytearray(KEPT)))
        self.good(self.target, self.kept)
        assert self.rig.content(self.device, self.target, KEPT) == self.data
        assert self.rig.content(self.device, self.kept, KEPT) == self.data

    def fail(self) -> DispatchFailed:
        self.bad(self.target)
        with pytest.raises(DispatchFailed) as told:
            self.device.synchronize(timeout=2000)
        return told.value


@BOTH
@pytest.mark.parametrize("kind", ["write", "read"])
def test_page_fault_is_told_decoded_and_the_next_kernel_runs(part: str, kind: str, firmware_dir: Path) -> None:
    with installed(f"model:{part}", firmware_dir) as rig:
        one = Watched(rig, BAD[kind])
        one.work()
        before_s = one.device.iface.gpu.clock.now()
        error = one.fail()
        assert one.device.iface.gpu.clock.now() - before_s < RECOVERY_S, "from the launch to the exception"
        assert (error.fault.address, error.fault.vmid, error.fault.client_name) == (UNMAPPED & ~0xFFF, 8, "TCP")
        assert error.fault.write == (kind == "write")
        assert error.recovery.level == "queue"
        assert error.recovery.took_s < RECOVERY_S
        assert isinstance(error.__cause__, gpumend.KernelFault)
        assert f"{UNMAPPED & ~0xFFF:#x}" in str(error)
        one.work()


@BOTH
def test_illegal_instruction_is_told_and_found_before_the_time_is_up(part: str, firmware_dir: Path) -> None:
    with installed(f"model:{part}", firmware_dir) as rig:
        one = Watched(rig, BAD["illegal"])
        before_s = one.device.iface.gpu.clock.now()
        error = one.fail()
        assert one.device.iface.gpu.clock.now() - before_s < RECOVERY_S
        assert "illegal instruction by a wave of VMID 8" in str(error)
        assert error.fault is None
        one.work()


@BOTH
def test_endless_kernel_ends_when_the_time_is_up(part: str, firmware_dir: Path) -> None:
    with installed(f"model:{part}", firmware_dir) as rig:
        one = Watched(rig, BAD["endless"])
        before_s = one.device.iface.gpu.clock.now()
        error = one.fail()
        assert 2.0 <= one.device.iface.gpu.clock.now() - before_s < 2.0 + RECOVERY_S
        assert error.recovery.took_s < RECOVERY_S
        assert "hung" in str(error)
        one.work()


@BOTH
def test_good_and_bad_in_turn_a_hundred_times(part: str, firmware_dir: Path) -> None:
    """All kinds of bad ones; every good one right, memory does not grow, the other GPU is not touched."""
    with installed(f"model:{part}*2", firmware_dir) as rig:
        other, one = Watched(rig, BAD["write"], 1), Watched(rig, BAD["write"])
        kernels = [rig.program(one.device, bad) for bad in BAD.values()]
        other.work()
        touched = touches(rig, 1)
        taken = [turn(one, kernel) for kernel in kernels]
        gc.collect()
        tracemalloc.start()
        held = memory(rig)
        for number in range(100):
            taken.append(turn(one, kernels[number % len(kernels)]))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert max(taken) < RECOVERY_S
        assert memory(rig) == held
        assert grown < 2 << 20, f"{grown} bytes more after 100 recoveries"
        assert touched == []
        other.work()


def turn(one: Watched, bad: Any) -> float:
    """A bad kernel and a good one; how long the recovery took, in virtual seconds."""
    one.bad = bad
    took_s = one.fail().recovery.took_s
    one.work()
    return took_s


def touches(rig: Rig, index: int) -> list[str]:
    """From now on: every access to the BARs and config space of that GPU."""
    transport: Any = rig.session.found()[index].transport
    log: list[str] = []

    def watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            log.append(f"{name}{arguments[:2]}")
            return method(*arguments)

        return call

    for name in ("read32", "write32", "read64", "write64", "read_block", "write_block", "config_read", "config_write"):
        setattr(transport, name, watched(name, getattr(transport, name)))
    return log


def memory(rig: Rig) -> tuple[int, ...]:
    """What is allocated: of the host, of VRAM, of addresses."""
    device = rig.device().iface.gpu.device
    live = device.gmc.vram.free_bytes, device.gmc.addresses.free_bytes, len(device.gmc.live)
    return (rig.model().hive.host_memory.in_use_bytes, *live)


def test_copies_behind_a_bad_kernel_are_done_and_their_order_kept(firmware_dir: Path) -> None:
    with installed("model:mi300x", firmware_dir, staging=True) as rig:
        one = Watched(rig, BAD["endless"])
        later, more = payload(7, KEPT), payload(8, KEPT)
        one.bad(one.target)
        one.device.allocator._copyin(one.target, memoryview(bytearray(later)))
        one.good(one.target, one.kept)  # lost with the queue
        one.device.allocator._copyin(one.target, memoryview(bytearray(more)))
        with pytest.raises(DispatchFailed):
            one.device.synchronize(timeout=500)
        assert rig.content(one.device, one.target, KEPT) == more
        one.work()


def test_a_copy_to_nowhere_costs_its_engine_and_is_told(firmware_dir: Path) -> None:
    with installed("model:mi350x", firmware_dir) as rig:
        one = Watched(rig, BAD["endless"])

        class Nowhere:
            va_addr = UNMAPPED

        queue = one.device.hw_copy_queue_t().wait(one.device.timeline_signal, one.device.timeline_value - 1)
        queue.copy(Nowhere, one.kept, KEPT).signal(one.device.timeline_signal, one.device.next_timeline()).submit(
            one.device
        )
        with pytest.raises(DispatchFailed) as told:
            one.device.synchronize(timeout=500)
        assert told.value.fault.address == UNMAPPED & ~0xFFF
        assert told.value.recovery.lost == ("SDMA 0",)
        one.work()


def test_who_waits_for_another_gpu_learns_what_went_wrong_there(firmware_dir: Path) -> None:
    with installed("model:mi300x*2", firmware_dir) as rig:
        first, second = Watched(rig, BAD["endless"]), Watched(rig, BAD["endless"], 1)
        first.bad(first.target)
        second.device.allocator._transfer(second.target, first.kept, KEPT, src_dev=first.device, dest_dev=second.device)
        with pytest.raises(DispatchFailed) as told:
            second.device.synchronize(timeout=500)
        assert told.value.error.where.endswith("model:mi300x*2#0")
        second.device.synchronize()
        first.work()
        second.work()


def test_a_gpu_that_leaves_the_bus_is_told_each_time(firmware_dir: Path) -> None:
    with installed("model:mi350x*2", firmware_dir) as rig:
        one, other = Watched(rig, BAD["endless"]), Watched(rig, BAD["endless"], 1)
        one.bad(one.target)
        rig.model().lost = True
        for _ in range(2):
            with pytest.raises(gpumend.DeviceLost, match="0xffffffff"):
                one.device.synchronize(timeout=500)
        other.work()
        rig.model().lost = False
