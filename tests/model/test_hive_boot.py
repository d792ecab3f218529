"""amdriver/hive.py on the software GPUs with AMD's own firmware: eight side by side, peers, one that does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from amdriver.hive import Hive
from amdriver.sdma import Sdma
from base.clock import VirtualClock
from base.errors import GpumendError
from gpumodel import open_models
from gpumodel.device import ModelTransport

MIB = 1 << 20


def opened(spec: str, folder: Path) -> tuple[Hive, VirtualClock, list[ModelTransport]]:
    clock = VirtualClock()
    transports = open_models(spec, clock)
    return Hive.open(transports, clock, firmware_dirs=[folder]), clock, transports


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_hive_of_eight_boots_in_the_virtual_time_of_one_and_a_quarter(part: str, firmware_dir: Path) -> None:
    times = []
    for count in (1, 8):
        hive, clock, _ = opened(f"{part}*{count}?state=cold", firmware_dir)
        times.append(clock.now())
        assert len(hive.devices) == count
        assert sorted(len(peers) for peers in hive.topology.values()) == ([8] * 8 if count == 8 else [])
        hive.close()
    assert times[1] <= 1.25 * times[0]


def test_hive_engines_copy_between_all_neighbours(firmware_dir: Path) -> None:
    hive, _, _ = opened("mi350x*4?state=cold", firmware_dir)
    with hive:
        buffers = [device.gmc.alloc(2 * MIB) for device in hive.devices]
        for number, buffer in enumerate(buffers):
            buffer.fill(number + 1)
        for number, device in enumerate(hive.devices):
            source = buffers[(number + 1) % 4]
            sdma: Sdma = device.sdma
            with device.gmc.map_peer(source) as near, device.gmc.alloc(2 * MIB) as target:
                queue = sdma.queues[0]
                queue.copy(target, near)
                done = sdma.signals.new()
                queue.fence(done, 1)
                queue.submit()
                done.wait(1)
                done.free()
                assert target.read() == source.read()
        for device in hive.devices:
            assert device.gmc.faults() == []


@pytest.mark.parametrize("fault", ["psp-ring-dead", "tlb-ack-missing"])
def test_hive_with_one_that_does_not_start_leaves_none_open(fault: str, firmware_dir: Path) -> None:
    clock = VirtualClock()
    transports = open_models(f"mi350x*4?state=cold&fault={fault}@2", clock)
    with pytest.raises(GpumendError) as caught:
        Hive.open(transports, clock, firmware_dirs=[firmware_dir])
    assert "#2" in caught.value.where
    assert clock.now() < 30
    assert [transport.holder() for transport in transports] == [None] * 4
