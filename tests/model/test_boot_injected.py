"""A GPU of the model behind a transport that fails, lies or is interrupted, from any access of a start or of a close on;
and one that gets a fault of the catalogue at any step of a start.

Whatever happens: a GpumendError (or the interrupt itself), in bounded virtual time, with the lock, the memory and the bus
master given back; and the next start takes the GPU, or refuses it with an action."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amdriver import firmware_set
from amdriver.device import STEPS, WRITE_STEPS, Device, StartState
from amdriver.ownership import Owned
from base.clock import VirtualClock
from base.errors import DeviceLost, GpumendError, NotPermitted
from base.findings import Action
from gpumodel import open_models
from gpumodel.device import ModelGpu
from gpumodel.faults import CATALOGUE, ActiveFault, Fault, ShowsAt
from tests.model.injected import ALL_ONES, COMMAND, Harm, Injected, dropped, flipping, lying, ones, raising, zeros

BUS_MASTER = 4
LONGEST_S = 310.0  # the bootloader may take 300 s for a component
LOST_S = 5.0  # a device that is gone is seen to be
SPECS = ("mi300x?state=cold", "mi350x?state=used")
PLACES = 4  # of each kind of harm
FOR_EVER = 1 << 60


class Interrupted(BaseException):
    """Stands for a KeyboardInterrupt, which a test must not swallow."""


HARMS: dict[str, tuple[Callable[[int], Harm], int]] = {
    "ones": (lambda _: ones, FOR_EVER),
    "zeros": (lambda _: zeros, FOR_EVER),
    "dropped": (lambda _: dropped, FOR_EVER),
    "interrupted": (lambda _: raising(lambda: Interrupted("by a signal")), 1),
    "interrupted-again": (lambda _: raising(lambda: Interrupted("by a signal")), FOR_EVER),
    "not-permitted": (lambda _: raising(lambda: NotPermitted("reading a BAR")), 1),
    "lost": (lambda _: raising(lambda: DeviceLost("reading a BAR")), FOR_EVER),
    "one-flip": (flipping, 1),
    "flips": (lambda seed: flipping(seed, one_in=20), FOR_EVER),
    "lies": (lambda seed: lying(seed, one_in=30), FOR_EVER),
}


_known: dict[str, firmware_set.FirmwareSet] = {}


@pytest.fixture(autouse=True)
def firmware_read_once(monkeypatch: pytest.MonkeyPatch, firmware_dir: Path) -> Iterator[None]:
    """Parsing it takes longer than a start."""
    load = firmware_set.load

    def remembered(part: Any, ip: Any, dirs: Any = None) -> firmware_set.FirmwareSet:
        if part.name not in _known:
            _known[part.name] = load(part, ip, [firmware_dir])
        return _known[part.name]

    monkeypatch.setattr(firmware_set, "load", remembered)
    yield


@dataclass
class Trial:
    device: Device
    transport: Injected
    clock: VirtualClock
    command: int
    error: BaseException | None = None

    def start_and_close(self, close_at: int | None = None) -> None:
        try:
            self.device.start()
            if close_at is not None:
                self.transport.at = self.transport.accesses + close_at
            self.device.close()
        except (GpumendError, Interrupted) as error:
            self.error = error

    def check_given_back(self, lost_s: float = LONGEST_S) -> None:
        device, transport = self.device, self.transport
        assert self.clock.now() < (lost_s if isinstance(self.error, DeviceLost) else LONGEST_S)
        assert not device.is_open
        assert transport.held == 0
        assert transport.inner.holder() is None
        assert transport.open_dma == []
        if "memory" in device.steps:
            assert device.gmc.live == ()
            assert device.gmc.vram.live == ()
        after = transport.inner.config_read(COMMAND, 2)
        assert after == 0xFFFF or after & BUS_MASTER <= self.command & BUS_MASTER
        assert str(self.error)  # every one of them can be shown

    def check_starts_again(self) -> None:
        """Whoever comes next finds out what happened: never a GPU that counts as clean and is not."""
        self.transport.harm = None
        before = self.clock.now()
        try:
            with Device.open(self.transport, self.clock, firmware_dirs=[]) as again:
                if isinstance(self.error, Exception) and self.device.steps[-1] in WRITE_STEPS:
                    assert again.start_state in (StartState.DIRTY, StartState.COLD)
        except GpumendError as error:
            assert error.next_step
        assert self.clock.now() - before < LONGEST_S


def trial(spec: str, harm: Harm | None, *, at: int, count: int = FOR_EVER) -> Trial:
    clock = VirtualClock()
    transport = Injected(open_models(spec, clock)[0], harm, at=at, count=count)
    command = transport.inner.config_read(COMMAND, 2)
    return Trial(Device(transport, clock, firmware_dirs=[]), transport, clock, command)


def measured(spec: str) -> tuple[int, int]:
    """How many accesses a start and a close take."""
    whole = trial(spec, None, at=0)
    whole.device.start()
    start = whole.transport.accesses
    whole.device.close()
    return start, whole.transport.accesses - start


@pytest.mark.long
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", HARMS)
def test_start_with_harm_from_any_access_on_ends_and_gives_everything_back(spec: str, name: str) -> None:
    make, count = HARMS[name]
    start, _ = measured(spec)
    dice = random.Random(name)
    for place in range(PLACES):
        one = trial(spec, make(place), at=dice.randrange(start), count=count)
        one.start_and_close()
        one.check_given_back()
        one.check_starts_again()


@pytest.mark.long
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", [name for name in HARMS if name not in ("one-flip", "flips", "lies")])
def test_close_with_harm_from_any_access_on_gives_everything_back(spec: str, name: str) -> None:
    make, count = HARMS[name]
    _, close = measured(spec)
    for place in range(PLACES):
        one = trial(spec, make(place), at=FOR_EVER, count=count)
        one.start_and_close(close_at=place * close // PLACES)
        one.check_given_back()
        one.check_starts_again()


AT_A_START = [name for name, fault in CATALOGUE.items() if fault.shows_at is not ShowsAt.RESET]


def default_of(fault: Fault, gpu: ModelGpu) -> ActiveFault:
    if fault.argument is None:
        return ActiveFault(fault)
    value = fault.argument.default
    return ActiveFault(fault, fault.argument.words(gpu.chip)[str(value)] if fault.argument.words else value)


@pytest.mark.long
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", AT_A_START)
def test_start_with_a_fault_that_begins_at_any_step_ends_and_gives_everything_back(spec: str, name: str) -> None:
    """Every sixth step for each fault, others for the next one and for the other GPU: all of them take turns."""
    for step in STEPS[(AT_A_START.index(name) + 3 * SPECS.index(spec)) % 6 :: 6]:
        one = trial(spec, None, at=0)
        gpu: ModelGpu = one.transport.inner.gpu  # type: ignore[attr-defined]

        def strike(now: str, step: str = step, gpu: ModelGpu = gpu) -> None:
            if now == step:
                default_of(CATALOGUE[name], gpu).apply(gpu)

        one.device._on_step = strike
        one.start_and_close()
        if step not in one.device.steps:
            continue
        one.check_given_back(lost_s=LOST_S)
        if not isinstance(one.error, GpumendError):
            continue
        told = one.error.__dict__
        assert one.error.next_step and told["step"] in (*STEPS, "close")
        writing = one.device.steps[-1] in WRITE_STEPS
        assert isinstance(one.error, DeviceLost) or not writing or isinstance(told["action"], Action)
        if name == "bar-dead":
            assert told["action"] is Action.RESTORE_CONFIG
        one.check_starts_again()


@pytest.mark.parametrize("step", ["discovery", "firmware", "start-state", *WRITE_STEPS])
def test_start_whose_listener_fails_gives_everything_back(step: str) -> None:
    spec = "mi300x?state=used" if step == "stop" else "mi300x?state=cold"
    one = trial(spec, None, at=0)

    def fail(name: str) -> None:
        if name == step:
            raise ZeroDivisionError

    one.device._on_step = fail
    with pytest.raises(ZeroDivisionError):
        one.device.start()
    one.error = NotPermitted("a listener failed")
    one.check_given_back()
    one.check_starts_again()


def test_owner_interrupted_while_it_takes_the_lock_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = open_models("mi300x")[0]
    with monkeypatch.context() as patch:
        patch.setattr("threading.Event.wait", lambda *_: _interrupt())
        with pytest.raises(Interrupted):
            Owned(transport)
    Owned(transport).release()


def test_injected_ones_reach_reads_of_every_width() -> None:
    transport = Injected(open_models("mi300x")[0], ones)
    assert transport.read32(5, 0) == ALL_ONES
    assert transport.read64(0, 0) == (1 << 64) - 1
    assert transport.read_block(0, 0, 8) == b"\xff" * 8


def _interrupt() -> None:
    raise Interrupted
