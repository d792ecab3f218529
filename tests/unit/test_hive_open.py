"""amdriver/hive.py: opening side by side, what makes a hive, buffers on all of it, closing; devices are stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import amdriver.hive
from amdriver.gmc import NotInHive
from amdriver.hive import Hive
from amdriver.memory import OutOfAddresses
from base.clock import VirtualClock
from base.errors import GpumendError, InvalidData, UsageError, WaitTimeout
from tests.unit.gmc_fake import GIB, PAGE, Card, FakeCard, started

BOOT_S = 3.0


class StandIn:
    """A device whose memory is real, and that takes three seconds to start."""

    def __init__(self, transport: FakeCard, clock: VirtualClock) -> None:
        self.clock = clock
        _, self.gmc = started(transport.card)
        self.gpu = self.gmc.gpu
        self.xgmi: Session | None = None
        self.is_open = True
        self.close_fails: GpumendError | None = None

    def close(self) -> None:
        self.clock.sleep(1.0)
        self.is_open = False
        self.gmc.sw_fini()
        if self.close_fails is not None:
            raise self.close_fails


@dataclass
class Session:
    """The XGMI application of one GPU."""

    node_id: int
    hive_id: int = 77
    told: list[list[int]] = field(default_factory=list)

    def set_topology(self, node_ids: list[int]) -> None:
        self.told.append(list(node_ids))

    def topology(self, node_ids: list[int]) -> list[str]:
        return [f"sees {node_id}" for node_id in node_ids]


@dataclass
class Bench:
    """Transports, the devices that were made of them, and which of them refuse to start."""

    clock: VirtualClock
    made: dict[str, StandIn] = field(default_factory=dict)
    refuse: dict[str, BaseException] = field(default_factory=dict)
    prepare: Callable[[StandIn], None] = lambda device: None

    def device(
        self, transport: FakeCard, clock: VirtualClock, *, firmware_dirs: Any, on_step: Callable[[str], None]
    ) -> StandIn:
        assert clock is self.clock
        assert firmware_dirs is None
        on_step("discovery")
        clock.sleep(BOOT_S)
        if transport.name in self.refuse:
            raise self.refuse[transport.name]
        device = self.made[transport.name] = StandIn(transport, clock)
        self.prepare(device)
        return device

    def open(self, cards: list[Card]) -> Hive:
        return Hive.open([FakeCard(card) for card in cards], self.clock)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(VirtualClock())

    class Opener:
        open = staticmethod(made.device)

    monkeypatch.setattr(amdriver.hive, "Device", Opener)
    return made


def cards(count: int = 3, nodes: int = 8, **changes: Any) -> list[Card]:
    return [
        Card(**{"name": f"fake#{n}", "node": n, "max_region": nodes - 1, "segment": 16 * GIB, **changes})
        for n in range(count)
    ]


def test_hive_of_eight_takes_the_time_of_one(bench: Bench) -> None:
    with bench.open(cards(8)) as hive:
        assert bench.clock.now() == BOOT_S
        assert [device.gpu.name for device in hive.devices] == [f"fake#{n}" for n in range(8)]
    assert bench.clock.now() == BOOT_S + 1.0
    assert not any(device.is_open for device in bench.made.values())


def test_hive_steps_are_told_with_the_name_of_the_gpu(bench: Bench) -> None:
    steps: list[tuple[str, str]] = []
    with Hive.open([FakeCard(card) for card in cards(2)], bench.clock, on_step=lambda *step: steps.append(step)):
        assert steps == [("fake#0", "discovery"), ("fake#1", "discovery")]


def test_hive_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one GPU"):
        Hive.open([], VirtualClock())


def test_hive_with_one_that_does_not_start_closes_the_others(bench: Bench) -> None:
    bench.refuse = {"fake#1": WaitTimeout("starting it"), "fake#2": WaitTimeout("starting that")}
    with pytest.raises(WaitTimeout, match="starting it") as caught:
        bench.open(cards(3))
    assert [device.is_open for device in bench.made.values()] == [False]
    assert "and on another GPU: starting that failed" in caught.value.__notes__


@pytest.mark.parametrize(
    ("second", "error"),
    [
        (Card(name="other", node=0, max_region=7, segment=16 * GIB), InvalidData),
        (Card(name="other", node=1, max_region=3, segment=16 * GIB), NotInHive),
        (Card(name="other", node=1, max_region=7, segment=32 * GIB), NotInHive),
        (Card(name="other", node=1, max_region=7, segment=16 * GIB, fb_base=0x40_0000_0000), NotInHive),
        (Card(name="other"), NotInHive),
    ],
)
def test_hive_of_gpus_that_do_not_belong_together_is_refused(
    bench: Bench, second: Card, error: type[Exception]
) -> None:
    with pytest.raises(error, match="joining a hive failed"):
        bench.open([cards(1)[0], second])
    assert [device.is_open for device in bench.made.values()] == [False, False]


def test_hive_tells_every_application_of_every_node(bench: Bench) -> None:
    def session(device: StandIn) -> None:
        device.xgmi = Session(100 + device.gmc.place.node)

    bench.prepare = session
    with bench.open(cards(3)) as hive:
        for device in bench.made.values():
            assert device.xgmi is not None
            assert device.xgmi.told == [[100, 101, 102]]
        assert [str(one) for one in hive.topology[101]] == ["sees 100", "sees 101", "sees 102"]


def test_hive_without_applications_has_no_topology(bench: Bench) -> None:
    with bench.open(cards(2)) as hive:
        assert hive.topology == {}


def test_hive_maps_a_buffer_on_all_others(bench: Bench) -> None:
    with bench.open(cards(3)) as hive:
        buffer = hive.devices[1].gmc.alloc(PAGE)
        near = hive.map_everywhere(buffer)
        assert near[1] is buffer
        for device, one in zip(hive.devices, near, strict=True):
            found = device.gmc.tables.lookup(one.gpu_va)
            assert found is not None
            assert found.physical == 16 * GIB + buffer.extents[0][0]


def test_hive_map_everywhere_that_fails_unmaps_what_was_mapped(bench: Bench) -> None:
    with bench.open(cards(3)) as hive:
        buffer = hive.devices[1].gmc.alloc(PAGE)
        full = hive.devices[2].gmc.addresses
        while full.free_bytes:
            full.allocate(full.statistics().largest_free)
        with pytest.raises(OutOfAddresses):
            hive.map_everywhere(buffer)
        assert hive.devices[0].gmc.live == ()
        assert buffer.mapped_by == []


def test_hive_close_unmaps_peers_first_and_closes_all_though_one_fails(bench: Bench) -> None:
    hive = bench.open(cards(3))
    buffer = hive.devices[0].gmc.alloc(PAGE)
    hive.map_everywhere(buffer)
    bench.made["fake#1"].close_fails = WaitTimeout("stopping it")
    with pytest.raises(WaitTimeout, match="stopping it"):
        hive.close()
    assert buffer.mapped_by == []
    assert not any(device.is_open for device in bench.made.values())


def test_hive_error_inside_is_the_news_and_that_of_closing_its_note(bench: Bench) -> None:
    with pytest.raises(KeyError) as caught, bench.open(cards(2)):
        bench.made["fake#0"].close_fails = WaitTimeout("stopping it")
        raise KeyError("inside")
    assert any("closing failed too: stopping it failed" in note for note in caught.value.__notes__)
