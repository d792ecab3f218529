"""On a machine with an NVIDIA GPU and its driver: what the fact sheets say must hold, and looking must change nothing.

Skipped without /dev/nvidiactl. Nothing here sets, clears, boosts, causes a fault or resets; GPUs that nobody uses are not
opened. Not run on a board yet: `pytest -ra tests/hardware/nvidia`, as root to have the registers, too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpumend
from base.findings import Severity
from nvdriver import abi, bare, host, status, telemetry
from nvdriver.ask import ask_driver, ask_firmware
from nvdriver.parts import part_of
from nvdriver.rm import Card, Client, RmGpu, shared_page
from nvdriver.status import RmError
from pcibus.driverfiles import HostFiles
from pcibus.sysfs import SysfsTransport

pytestmark = pytest.mark.skipif(not Path(abi.CTL_NODE).exists(), reason="no NVIDIA driver on this machine")
FILES = HostFiles()
GENERATIONS = {
    "GH100": (0xC86F, 0xCBC0, 0xC8B5, 0xC661),
    "AD102": (0xC56F, 0xC9C0, 0xC7B5),
    "GB202": (0xCA6F, 0xCEC0, 0xCAB5),
}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client.open(FILES) as opened:
        yield opened


@pytest.fixture
def card(client: Client) -> Card:
    attached = client.attached()
    for one in client.cards():
        if one.gpu_id in attached and Path(one.node).exists():
            return one
    pytest.skip("no GPU is initialized: start nvidia-persistenced or a program on it")


@pytest.fixture
def gpu(client: Client, card: Card) -> Iterator[RmGpu]:
    with client.gpu(card) as opened:
        yield opened


def target_of(gpu: RmGpu, control: abi.Control) -> int:
    if control.command < 0x800000:
        return gpu.client.root
    return gpu.device if control.command < 0x20800000 else gpu.subdevice


def test_driver_version_of_proc_and_of_the_control_agree(client: Client) -> None:
    driver = host.driver(FILES)
    assert driver is not None and driver.version == client.version


def test_cards_are_those_of_the_pci_bus(client: Client) -> None:
    for card in client.cards():
        info = SysfsTransport(card.bdf).info()
        assert (info.vendor, info.device) == (card.vendor, card.device)


def test_class_list_has_the_classes_of_the_generation(gpu: RmGpu) -> None:
    part = part_of(gpu.card.vendor, gpu.card.device)
    if part is None or part.arch not in GENERATIONS:
        pytest.skip(f"no list of classes here for {gpu.card.device:#06x}")
    assert set(GENERATIONS[part.arch]) <= set(gpu.classes())


@pytest.mark.parametrize(
    "name", sorted({name for number in abi.BRANCHES for name in abi.branch_of(f"{number}.1", "").controls})
)
def test_control_takes_its_size_and_refuses_another(gpu: RmGpu, name: str) -> None:
    assert gpu.client.branch is not None
    control = gpu.client.branch.controls.get(name)
    if control is None:
        pytest.skip(f"branch {gpu.client.branch.number} has no {name}")
    target = target_of(gpu, control)
    with pytest.raises(RmError) as caught:
        gpu.client.control(target, name, bytearray(control.size + 4))
    assert caught.value.status == status.BAD_STRUCT
    params = bytearray(control.size)
    if name == "GPU_GET_ID_INFO_V2":
        params[:4] = gpu.card.gpu_id.to_bytes(4, "little")
    try:
        assert len(gpu.client.control(target, name, params)) == control.size
    except RmError as error:
        assert error.status == status.NOT_SUPPORTED, error  # this GPU has no such thing


def test_questions_of_the_probe_are_answered_and_plausible(card: Card) -> None:
    told = FILES.apart(lambda: ask_driver(FILES, card.bdf), 10, "asking the driver")
    assert not told.unanswered
    assert told.facts["recovery_action"] in range(5)
    assert told.facts["memory_mib"] > 1024 and told.facts["name"].startswith("NVIDIA")
    firmware = FILES.apart(lambda: ask_firmware(FILES, card.bdf), 10, "asking the firmware")
    assert not firmware.unanswered
    assert firmware.facts["reset_required"] is (told.facts["recovery_action"] == 1)


def test_telemetry_page_is_plausible_where_somebody_polls_it(gpu: RmGpu) -> None:
    assert gpu.client.branch is not None
    layout = telemetry.LAYOUTS.get(gpu.client.branch.number)
    if layout is None:
        pytest.skip(f"no layout of branch {gpu.client.branch.number}")
    with shared_page(gpu) as page:
        told = telemetry.read(page, layout)
    heat, power, clocks = told["temperature_c"]["gpu"], told["power_w"], told["clocks_mhz"]
    if heat is None and power is None and clocks is None:
        pytest.skip("nobody polls telemetry now (run nvidia-smi dmon beside it)")
    assert heat is None or 5 < heat < 110
    assert power is None or 1 < power < 1500
    assert clocks is None or 50 < clocks["graphics"] < 4000


def test_registers_of_boot_agree_with_the_driver(card: Card) -> None:
    if os.geteuid() != 0:
        pytest.skip("mapping BAR0 needs root")
    transport = SysfsTransport(card.bdf)
    seen = bare.look(lambda offset: transport.read32(bare.BAR, offset), alone=False)
    part = part_of(card.vendor, card.device)
    assert part is not None and seen.chip == part.arch
    assert seen.boot_done is True
    assert seen.wpr2 is not None  # an initialized GPU runs GSP
    assert seen.reset_required is False and seen.drain_and_reset is False
    assert not seen.refused


def test_probe_changes_nothing_that_it_reads_again() -> None:
    first, second = (gpumend.probe() for _ in range(2))
    assert [report.health for report in first] == [report.health for report in second]
    for one, two in zip(first, second, strict=True):
        wanted = ("recovery_action", "row_remap", "repair", "ecc", "nvlinks", "initialized")
        facts = [{name: report.facts.get("nvidia", {}).get(name) for name in wanted} for report in (one, two)]
        assert facts[0] == facts[1]
        assert not [item for item in one.findings if item.severity is Severity.FATAL]
