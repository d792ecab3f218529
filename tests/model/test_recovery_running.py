"""Recovery inside a running program: the fault is told decoded, the queue works again, all else has survived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gpumend
from amdriver import pm4
from amdriver.firmware_set import FirmwareSet
from amdriver.gfx import AnyQueue
from amdriver.opengpu import GpuBuffer, OpenGpu, WorkLost
from amdriver.opening import Target, open_gpu, open_gpus
from amdriver.ring import QueueStuck
from amdriver.running_recovery import Level, stuck_queues
from base.clock import VirtualClock
from base.errors import Undecided, UsageError
from gpumodel import open_models
from gpumodel.device import ModelGpu
from gpumodel.dispatch import Code, Operation
from gpumodel.faults import CATALOGUE
from tests.model.recovery_rig import TARGET_VA, launch, start_endless

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
PATTERN = bytes(range(256)) * 16


class Program:
    """A program with a buffer that must survive, one queue that goes wrong, and one that must not notice."""

    def __init__(self, gpu: OpenGpu, model: ModelGpu, clock: VirtualClock) -> None:
        self.gpu, self.model, self.clock = gpu, model, clock
        self.kept = gpu.alloc(len(PATTERN))
        self.kept.write(PATTERN)
        self.bad: AnyQueue = gpu.device.gfx.create_queue(0, "aql")
        self.other = gpu.device.gfx.create_queue(0)
        self.signal = gpu.device.gfx.signals.new()

    def wait_bad(self) -> None:
        """A fence behind what went wrong."""
        done = self.gpu.device.gfx.signals.new(1)
        self.bad.barrier(signal=done)  # type: ignore[union-attr]
        self.bad.submit()
        done.wait_at_most(0, 0.05)

    def use(self, queue: AnyQueue) -> None:
        """A queue takes work and does it."""
        if queue.kind == "aql":
            self.wait_bad()
            return
        value = self.signal.value + 1
        queue.fence(self.signal, value)  # type: ignore[union-attr]
        queue.submit()
        self.gpu.wait(self.signal, value, 0.05)

    def check_all(self) -> None:
        """Both queues, every SDMA engine, and what lay in VRAM."""
        self.use(self.bad)
        self.use(self.other)
        for engine in (0, 7, 15):
            with self.gpu.alloc(len(PATTERN)) as copy:
                self.gpu.copy(copy, self.kept, engine=engine)
                assert copy.read() == PATTERN
        assert self.kept.read() == PATTERN


@contextmanager
def program(spec: str, firmware_dir: Path, *, recovers: bool = False) -> Iterator[Program]:
    clock = VirtualClock()
    (transport,) = open_models(spec, clock)
    with open_gpu(transport, clock, firmware_dirs=[firmware_dir], recovers=recovers) as gpu:
        yield Program(gpu, transport.gpu, clock)


# ---- queue level


@BOTH
@pytest.mark.parametrize("code", [Code.STORE, Code.TOUCH])
def test_faulting_kernel_costs_its_queue_and_is_told_decoded(part: str, code: Code, firmware_dir: Path) -> None:
    with program(part, firmware_dir) as one:
        launch(one.gpu.device, one.bad, Operation(code, TARGET_VA, 1, 4))
        with pytest.raises(QueueStuck):
            one.wait_bad()
        made = one.gpu.recover()
        (fault,) = made.faults
        assert (fault.hub, fault.vmid, fault.address, fault.client_name) == ("GC[0]", 8, TARGET_VA & ~0xFFF, "TCP")
        assert fault.write == (code is Code.STORE)
        assert made.level is Level.QUEUE
        assert made.lost == (str(one.bad),)
        assert made.took_s < 0.1
        one.check_all()
        assert one.gpu.faults() == []


@BOTH
def test_endless_kernel_costs_its_queue_only(part: str, firmware_dir: Path) -> None:
    with program(part, firmware_dir) as one:
        start_endless(one.gpu.device, one.bad)
        before = one.other.wptr
        assert stuck_queues(one.gpu.device) == (one.bad,)
        made = one.gpu.recover()
        assert (made.level, made.lost, made.faults) == (Level.QUEUE, (str(one.bad),), ())
        assert made.took_s < 0.1
        assert one.other.wptr == before, "the other queue was not started anew"
        one.check_all()


def test_illegal_instruction_costs_its_queue_only(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir) as one:
        launch(one.gpu.device, one.bad, Operation(Code.ILLEGAL))
        assert one.gpu.recover().level is Level.QUEUE
        one.check_all()


def test_queue_that_waits_for_the_stuck_one_is_left_alone(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir) as one:
        start_endless(one.gpu.device, one.bad)
        start_endless(one.gpu.device, one.other)
        assert stuck_queues(one.gpu.device) == (one.bad,)
        made = one.gpu.recover()
        assert made.lost == (str(one.bad),)
        one.gpu.recover(one.other)
        one.check_all()


def test_queue_of_all_xccs_recovers(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir) as one:
        queue = one.gpu.device.gfx.create_queue()
        start_endless(one.gpu.device, queue)
        made = one.gpu.recover()
        assert (made.level, made.lost) == (Level.QUEUE, (str(queue),))
        one.use(queue)
        one.check_all()


def test_fault_without_a_queue_is_cleared(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir) as one:
        one.model.gmc.fault("MMHUB[1]", 0x0084_1031, TARGET_VA)
        made = one.gpu.recover()
        assert [fault.hub for fault in made.faults] == ["MMHUB[1]"]
        assert one.gpu.faults() == []
        one.check_all()


def test_nothing_stuck_means_nothing_done(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir) as one:
        made = gpumend.recover(one.gpu)
        assert (made.attempts, made.lost, made.level, str(made)) == ((), (), None, "nothing was stuck")


# ---- SDMA


@BOTH
def test_stuck_copy_engine_is_reset_and_what_it_was_to_write_is_uncertain(part: str, firmware_dir: Path) -> None:
    with program(part, firmware_dir) as one:
        target = one.gpu.alloc(len(PATTERN))
        CATALOGUE["sdma-hang"].apply(one.model, 3)
        one.gpu.copy(target, one.kept, engine=3)
        fence = one.gpu.fence(engine=3)
        with pytest.raises(QueueStuck):
            fence.wait()
        made = one.gpu.recover()
        assert (made.level, made.lost) == (Level.QUEUE, ("SDMA 3",))
        assert made.took_s < 0.1
        with pytest.raises(WorkLost):
            fence.wait()
        with pytest.raises(WorkLost):
            _ = fence.done
        with pytest.raises(Undecided):
            target.read()
        one.gpu.copy(target, one.kept, engine=3)
        later = one.gpu.fence(engine=3)
        later.wait()
        assert later.done
        assert target.read() == PATTERN
        one.check_all()


# ---- further levels


def test_hung_mec_is_reset_after_its_queue_did_not_help(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir) as one:
        far = one.gpu.device.gfx.create_queue(5)
        CATALOGUE["mec-hang"].apply(one.model, 0)
        one.other.fence(one.signal, 1)
        one.other.submit()
        made = one.gpu.recover()
        assert [(attempt.level, bool(attempt.error)) for attempt in made.attempts] == [
            (Level.QUEUE, True),
            (Level.MEC, False),
        ]
        assert set(made.lost) == {str(one.bad), str(one.other)}
        assert "CP_HQD_ACTIVE" in made.attempts[0].error
        one.use(far)
        one.check_all()


def test_mec_firmware_that_cannot_reset_queues_has_its_mec_reset(
    firmware_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program("mi300x", firmware_dir) as one:
        start_endless(one.gpu.device, one.bad)
        monkeypatch.setattr(FirmwareSet, "mec_version", property(lambda _: 154))
        made = one.gpu.recover()
        assert "MEC firmware 154" in made.attempts[0].error
        assert made.level is Level.MEC
        one.check_all()


@BOTH
@pytest.mark.parametrize("fault", ["reset-hangs", "reset-lies"])
def test_mode2_is_the_last_resort_and_keeps_vram(part: str, fault: str, firmware_dir: Path) -> None:
    with program(f"{part}?fault={fault}:queue,{fault}:mec", firmware_dir) as one:
        start_endless(one.gpu.device, one.bad)
        made = one.gpu.recover()
        assert made.level is Level.MODE2
        assert made.took_s < 1
        assert len(made.lost) == 2 + 16
        one.check_all()
        assert one.model.wrongs == []
        one.model.resets.hangs.clear()  # closing takes queues off, too


def test_limit_keeps_a_recovery_from_going_further(firmware_dir: Path) -> None:
    with program("mi350x?fault=reset-hangs:queue", firmware_dir) as one:
        start_endless(one.gpu.device, one.bad)
        with pytest.raises(gpumend.RecoveryFailed) as caught:
            gpumend.recover(one.gpu, limit="queue")
        assert "gpumend reset" in caught.value.next_step
        assert [attempt.level for attempt in caught.value.recovery.attempts] == [Level.QUEUE]
        assert one.gpu.recover(one.bad, limit=Level.MEC).level is Level.MEC
        with pytest.raises(ValueError, match="everything"):
            one.gpu.recover(limit="everything")
        one.model.resets.hangs.clear()  # closing takes queues off, too


# ---- by itself


def test_wait_recovers_where_that_was_asked_for(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir, recovers=True) as one:
        one.other.add(pm4.write_data(TARGET_VA, (1,)))
        one.other.fence(one.signal, 7)
        one.other.submit()
        with pytest.raises(gpumend.KernelFault) as caught:
            one.gpu.wait(one.signal, 7, 0.05)
        error = caught.value
        assert (error.address, error.vmid, error.client, error.write) == (TARGET_VA & ~0xFFF, 8, "CPC", True)
        assert error.queue == str(one.other)
        assert "recovered by a reset of level queue" in str(error)
        assert isinstance(error.__cause__, QueueStuck)
        one.signal.set(0)
        one.check_all()


def test_copy_recovers_where_that_was_asked_for(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir, recovers=True) as one:
        target = one.gpu.alloc(len(PATTERN))
        CATALOGUE["sdma-hang"].apply(one.model, 0)
        one.gpu.copy(target, one.kept)
        with pytest.raises(gpumend.KernelHung, match="SDMA 0") as caught:
            one.gpu.synchronize()
        assert not isinstance(caught.value, gpumend.KernelFault)
        one.gpu.synchronize()
        one.gpu.copy(target, one.kept)
        assert target.read() == PATTERN


def test_short_wait_does_not_count_as_stuck(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir, recovers=True) as one:
        CATALOGUE["sdma-hang"].apply(one.model, 0)
        one.gpu.fill(one.kept, 1)
        fence = one.gpu.fence()
        with pytest.raises(QueueStuck):
            fence.wait(0.001)
        assert not fence.done
        one.gpu.recover()


# ---- the others


def test_other_gpus_of_the_hive_are_not_touched(firmware_dir: Path) -> None:
    clock = VirtualClock()
    transports = open_models("mi350x*2", clock)
    targets = [Target(transport, clock) for transport in transports]
    with open_gpus(targets, firmware_dirs=[firmware_dir]) as gpus:
        theirs = gpus[1].alloc(len(PATTERN))
        theirs.write(PATTERN)
        near: GpuBuffer = gpus[0].map_peer(theirs)
        writes: list[int] = []
        watched(transports[1].gpu, writes)
        gpus[0].device.mode2()
        assert writes == []
        with gpus[0].alloc(len(PATTERN)) as mine:
            gpus[0].copy(mine, near)
            assert mine.read() == PATTERN


def watched(model: ModelGpu, writes: list[int]) -> None:
    """Counts the registers that somebody writes."""
    inner: Callable[..., object] = model.registers.write

    def write(address: int, value: int, *more: object) -> object:
        writes.append(address)
        return inner(address, value, *more)

    model.registers.write = write  # type: ignore[method-assign, assignment]


def test_wrong_engine_and_closed_gpu_are_refused(firmware_dir: Path) -> None:
    with program("mi350x", firmware_dir) as one:
        with pytest.raises(UsageError):
            one.gpu.recover(engine=16)
        gone = one.gpu.device.gfx.create_queue(1)
        one.gpu.device.gfx.destroy(gone)
        with pytest.raises(gpumend.RecoveryFailed):
            one.gpu.recover(gone, limit="queue")
