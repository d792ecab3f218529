"""Where interrupts reach the driver, its waits end by them, the ring is read after each, and closing lets go of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amdriver.device import Device
from amdriver.opengpu import OpenGpu
from base.clock import VirtualClock
from base.errors import DeviceLost, GpumendError, Unavailable
from gpumodel import open_models
from pcibus.transport import Can

TICK_S = 1e-6
SDMA_TRAP = 224
COMPUTE_EOP = 181


class Interrupting:
    """A model's transport with what VFIO has besides: its message signalled interrupts can be waited for.

    As hardware does (RPTR_REARM), it sends one and then none until the read pointer was told by doorbell."""

    def __init__(self, inner: Any, clock: VirtualClock) -> None:
        self.inner = inner
        self.clock = clock
        self.can = inner.can | Can.INTERRUPTS
        self.acquired = 0
        self.sent = 0
        self.heard = 0
        self.waits = 0
        self.armed = True
        self.fails: GpumendError | None = None
        self.on = False
        self.times_on = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def acquire(self) -> None:
        assert not self.inner.gpu.ih.on_interrupt
        self.acquired += 1

    def write32(self, bar: int, offset: int, value: int) -> None:
        self.armed |= (bar, offset) == (2, 0x340 * 4)
        self.inner.write32(bar, offset, value)

    def enable_interrupts(self) -> None:
        if self.fails is not None:
            raise self.fails
        self.inner.gpu.ih.on_interrupt = self._interrupt
        self.on = True
        self.times_on += 1

    def disable_interrupts(self) -> None:
        self.inner.gpu.ih.on_interrupt = None
        self.on = False

    def wait_interrupt(self, timeout_s: float) -> bool:
        assert self.on
        self.waits += 1
        end = self.clock.now() + timeout_s
        while self.heard == self.sent and self.clock.now() < end:
            self.clock.sleep(TICK_S)
            self.inner.read32(5, 0)  # time of the model passes with accesses
        came, self.heard = self.sent - self.heard, self.sent
        return came > 0

    def _interrupt(self) -> None:
        self.sent += self.armed
        self.armed = False


@pytest.fixture
def reached() -> Interrupting:
    clock = VirtualClock()
    return Interrupting(open_models("mi300x?state=cold", clock)[0], clock)


def opened(reached: Interrupting, firmware_dir: Path) -> Device:
    return Device.open(reached, reached.clock, firmware_dirs=[firmware_dir])


def listens(device: Device) -> bool:
    return device.gpu.wait_interrupt is not None


def test_device_waits_by_interrupts_where_there_are_any(reached: Interrupting, firmware_dir: Path) -> None:
    device = opened(reached, firmware_dir)
    assert (reached.acquired, reached.on, device.notes) == (1, True, [])
    assert listens(device)
    queue = device.sdma.queues[0]
    for number in range(1, 4):
        signal = device.gfx.signals.new()
        waits, heard = reached.waits, reached.heard
        queue.fence(signal, number)
        queue.submit()
        signal.wait(number)
        assert reached.heard > heard, "each fence must come with an interrupt of its own"
        assert reached.waits - waits <= 8
        signal.free()
    traps = [one for one in device.ih.poll() if one.source == SDMA_TRAP]
    assert len(traps) >= 3, "what was read after an interrupt is still there for whoever polls"
    device.close()
    assert not reached.on and not listens(device)
    assert not reached.inner.gpu.wrongs


def test_device_sets_its_interrupts_up_again_after_mode2(reached: Interrupting, firmware_dir: Path) -> None:
    """The vector in config space is lost with the rest of it."""
    with opened(reached, firmware_dir) as device:
        device.mode2()
        assert (reached.times_on, reached.on, listens(device)) == (2, True, True)
        signal, heard = device.gfx.signals.new(), reached.heard
        queue = device.sdma.queues[0]
        queue.fence(signal, 7)
        queue.submit()
        signal.wait(7)
        assert reached.heard > heard


def test_device_without_a_vector_polls_and_says_so(reached: Interrupting, firmware_dir: Path) -> None:
    reached.fails = Unavailable("switching on interrupts", seen="MSI-X: no vector is free")
    with opened(reached, firmware_dir) as device:
        assert device.notes == ["waiting polls, since there are no interrupts: MSI-X: no vector is free"]
        assert not listens(device)


def test_device_lost_while_interrupts_are_switched_on_is_told(reached: Interrupting, firmware_dir: Path) -> None:
    reached.fails = DeviceLost("switching on interrupts")
    with pytest.raises(DeviceLost, match="switching on interrupts"):
        opened(reached, firmware_dir)


def test_device_start_that_fails_lets_go_of_its_interrupts(firmware_dir: Path) -> None:
    clock = VirtualClock()
    reached = Interrupting(open_models("mi300x?state=cold&fault=psp-ring-dead", clock)[0], clock)
    with pytest.raises(GpumendError):
        opened(reached, firmware_dir)
    assert reached.acquired == 1 and not reached.on and reached.inner.gpu.ih.on_interrupt is None


def test_selftest_counts_each_interrupt_once_where_waits_end_by_them(reached: Interrupting, firmware_dir: Path) -> None:
    """The waits of the test itself ask for interrupts, too."""
    with OpenGpu(opened(reached, firmware_dir)) as gpu:
        for xcc in range(gpu.xccs):
            gpu.interrupts()
            gpu.compute_trap(xcc)
            assert [entry.source for entry in gpu.interrupts()] == [COMPUTE_EOP]
