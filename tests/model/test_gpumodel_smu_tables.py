"""Tables that the model's SMU writes: where, with what, and how they move with time."""

from __future__ import annotations

from ctypes import sizeof

import pytest

from gpumodel.chips import CHIPS
from registers.amd import structs_smu_13_0_6 as smu6
from registers.amd import structs_smu_13_0_12 as smu12
from tests.model.firmware_host import TABLE, Host, host, hosts

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
METRICS, STATIC, SYSTEM = 9, 0x59, 0x5C
Metrics = smu6.MetricsTableV0_t | smu12.MetricsTable_t


def ready(part: str) -> Host:
    gpu = host(part)
    gpu.table_at()
    return gpu


def metrics(gpu: Host) -> Metrics:
    gpu.ask(METRICS)
    kind = smu6.MetricsTableV0_t if gpu.gpu.chip.name == "mi300x" else smu12.MetricsTable_t
    return kind.from_buffer_copy(gpu.get(TABLE, sizeof(kind)))


def static(gpu: Host) -> smu12.StaticMetricsTable_t:
    gpu.ask(STATIC)
    return smu12.StaticMetricsTable_t.from_buffer_copy(gpu.get(TABLE, sizeof(smu12.StaticMetricsTable_t)))


@BOTH
def test_metrics_have_the_size_and_version_of_the_part_and_touch_nothing_behind(part: str) -> None:
    gpu = ready(part)
    size = {"mi300x": 2268, "mi350x": 1284}[part]
    gpu.put(TABLE, b"\xa5" * 4096)
    gpu.ask(METRICS)
    assert gpu.get(TABLE + size, 4096 - size) == b"\xa5" * (4096 - size)
    assert gpu.get(TABLE, 16) != b"\xff" * 16
    assert gpu.ask(8) == {"mi300x": 0x11, "mi350x": 0x15}[part]


def test_metrics_fields_lie_where_the_sheet_says() -> None:
    gpu = ready("mi300x")
    gpu.ask(METRICS)

    def word(offset: int) -> int:
        return int.from_bytes(gpu.get(TABLE + offset, 4), "little")

    assert word(0) > 0
    assert (word(0x2C), word(0x3FC), word(0x404)) == (750 << 10, 2100 << 10, 1200 << 10)
    assert (word(0x46C), word(0x470)) == (16, 32)
    assert word(0x57C) == gpu.gpu.serial & 0xFFFFFFFF


@pytest.mark.parametrize(("part", "messages"), [("mi300x", (METRICS,)), ("mi350x", (METRICS, STATIC, SYSTEM))])
def test_table_without_an_address_is_a_missing_prerequisite(part: str, messages: tuple[int, ...]) -> None:
    gpu = host(part)
    for number in messages:
        assert gpu.message(number)[0] == 0xFD
    gpu.ask(0xE, 0x1000)
    assert gpu.message(METRICS)[0] == 0xFD
    assert gpu.gpu.wrongs[0] == f"smu: message {METRICS:#x} (0x0): nobody told where the tables of the driver lie"


def test_table_address_is_forgotten_when_the_driver_goes() -> None:
    gpu = ready("mi350x")
    gpu.ask(0x34)
    assert gpu.message(METRICS)[0] == 0xFD


def test_table_at_an_address_that_is_nowhere_fails() -> None:
    gpu = host("mi350x")
    gpu.table_at(1 << 45)
    assert gpu.message(METRICS)[0] == 0xFF
    assert any("cannot be written" in wrong for wrong in gpu.gpu.wrongs)


def test_accumulation_starts_with_the_features_and_counts_milliseconds() -> None:
    gpu = host("mi300x?state=cold")
    gpu.table_at()
    assert metrics(gpu).AccumulationCounter == 0
    gpu.ask(5)
    gpu.clock.sleep(0.1)
    first = metrics(gpu).AccumulationCounter
    assert 100 <= first <= 102
    gpu.clock.sleep(1)
    assert 1000 <= metrics(gpu).AccumulationCounter - first <= 1002
    gpu.ask(6)
    assert metrics(gpu).AccumulationCounter == 0


@BOTH
def test_sensors_are_sensible_and_sums_grow_by_them(part: str) -> None:
    gpu = ready(part)
    before = metrics(gpu)
    gpu.clock.sleep(10)
    after = metrics(gpu)
    steps = after.AccumulationCounter - before.AccumulationCounter
    mean = (after.MaxHbmTemperatureAcc - before.MaxHbmTemperatureAcc) / steps / 1024
    assert 30 < mean < 50
    for table in (before, after):
        assert 30 < table.MaxSocketTemperature / 1024 < 60
        assert 30 < table.MaxVrTemperature / 1024 < 60
        assert 100 < table.SocketPower / 1024 < 250
    assert before.MaxSocketTemperature != after.MaxSocketTemperature
    joules = (after.SocketEnergyAcc - before.SocketEnergyAcc) / 65536
    assert 1300 < joules < 1900
    assert 10 <= (after.Timestamp - before.Timestamp) * 10e-9 < 10.1


@BOTH
def test_busy_xccs_raise_power_heat_and_clock(part: str) -> None:
    gpu = ready(part)
    idle = metrics(gpu)
    gpu.gpu.gfx.busy.update(range(8))
    gpu.clock.sleep(1)
    busy = metrics(gpu)
    assert abs(busy.SocketPower / 1024 - CHIPS[part].board.power_limit) < 3
    assert busy.MaxSocketTemperature > idle.MaxSocketTemperature + 20 * 1024
    assert (idle.GfxclkFrequency[0], busy.GfxclkFrequency[0]) == (132 << 10, CHIPS[part].board.gfx_clocks[1] << 10)
    assert (idle.SocketGfxBusy, busy.SocketGfxBusy) == (0, 100 << 10)
    assert (idle.GfxBusy[7], busy.GfxBusy[7]) == (0, 100 << 10)


@BOTH
def test_settings_show_in_the_metrics(part: str) -> None:
    gpu = ready(part)
    gpu.ask(0x18, 400)
    gpu.ask(0x13, 3 << 16 | 1200)
    gpu.ask(0x31, 1500)
    table = metrics(gpu)
    assert (table.SocketPowerLimit, table.UclkFrequency) == (400 << 10, 1200 << 10)
    assert table.GfxclkFrequencyLimit == 1500 << 10


@pytest.mark.parametrize(("fault", "link"), [("", (5, 16)), ("?fault=link-narrow:4", (5, 4))])
def test_link_is_the_one_of_config_space(fault: str, link: tuple[int, int]) -> None:
    gpu = ready(f"mi350x{fault}")
    table = metrics(gpu)
    assert (table.PCIeLinkSpeed, table.PCIeLinkWidth) == link


def test_mi350x_tells_every_die() -> None:
    table = metrics(ready("mi350x"))
    assert isinstance(table, smu12.MetricsTable_t)
    values = [*table.AidTemperature, *table.XcdTemperature, *table.HbmTemperature]
    assert all(30 < value / 1024 < 60 for value in values)
    assert len(set(values)) == 20


def test_static_metrics_tell_the_product_and_what_it_can() -> None:
    gpu = ready("mi350x")
    table = static(gpu)
    info = table.ProductInfo
    assert bytes(info.Name).rstrip(b"\0") == b"AMD Instinct MI350X"
    assert bytes(info.Serial).rstrip(b"\0") == f"{gpu.gpu.serial:016X}".encode()
    assert (table.MaxSocketPowerLimit, table.MaxGfxclkFrequency) == (1000 << 10, 2200 << 10)
    assert list(table.UclkFrequencyTable) == [clock << 10 for clock in (900, 1300, 1700, 2000)]
    assert list(table.FclkFrequencyTable) == [gpu.ask(0x17, 4 << 16 | index) << 10 for index in range(4)]
    assert (table.MaxXgmiWidth, table.MaxXgmiBitrate) == (16 << 10, 36 << 10)
    assert table.InputTelemetryVoltageInmV == 54000
    assert list(table.pldmVersion) == [0xFFFFFFFF] * 2
    assert (table.PPT1Min, table.PPT1Default, table.PPT1Max) == (500, 1100, 1200)
    numbers = {*table.PublicSerialNumber_AID, *table.PublicSerialNumber_XCD}
    assert len(numbers) == 12


def test_static_metrics_of_newer_mi300x_firmware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpumodel.smu.STATIC_TABLE_SINCE_6", 0x00557900)
    gpu = ready("mi300x")
    gpu.ask(STATIC)
    table = smu6.StaticMetricsTable_t.from_buffer_copy(gpu.get(TABLE, sizeof(smu6.StaticMetricsTable_t)))
    assert (table.InputTelemetryVoltageInmV, table.pldmVersion[0]) == (54000, 0xFFFFFFFF)


def test_system_metrics_tell_the_power_of_the_node_on_its_first_gpu_only() -> None:
    tables = []
    for gpu in hosts("mi350x*2"):
        gpu.table_at()
        gpu.ask(SYSTEM)
        data = gpu.get(TABLE, sizeof(smu12.SystemMetricsTable_t))
        tables.append(smu12.SystemMetricsTable_t.from_buffer_copy(data))
    first, second = tables
    assert (first.NodeIdentifier, second.NodeIdentifier) == (0, 1)
    assert 250 < first.NodePower / 1024 < 500
    assert second.NodePower == second.SystemPower[0] == 0
    assert first.SystemPower[0] > first.NodePower / 1024
    assert 25 < first.SystemTemperatures[0] < 45
    assert first.SystemTemperatures[31] == -1


def test_serial_numbers_differ_between_gpus() -> None:
    first, second = (static(gpu) for gpu in _with_tables(hosts("mi350x*2")))
    assert not {*first.PublicSerialNumber_AID} & {*second.PublicSerialNumber_AID}


def _with_tables(gpus: list[Host]) -> list[Host]:
    for gpu in gpus:
        gpu.table_at()
    return gpus
