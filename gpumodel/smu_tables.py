"""The SMU's view of the board: clock levels, and the tables that it writes into memory of the driver.

Source: Linux v7.3 pm/swsmu/smu13/smu_v13_0_6_ppt.c, smu_v13_0_12_ppt.c (which fields are read, and which of them as
fixed point with 10 fraction bits), smu13_driver_if_v13_0_6.h (clock numbers); hardware/amd-telemetry.md section 1;
research/amdgpu-on-model.md items 33, 72, 77. Watts, MHz, degrees Celsius; times in seconds."""

from __future__ import annotations

import math
from ctypes import Structure
from typing import TYPE_CHECKING

from gpumodel import pciconfig
from gpumodel.chips import XCCS, Board
from gpumodel.faults import THROTTLERS
from registers.amd import structs_smu_13_0_6, structs_smu_13_0_12

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

STEP_S = 1e-3  # guess: one accumulation
TIMESTAMP_S = 10e-9
ENERGY_J = 2**-16
EARLIER_S = 1000.0  # guess: how long a GPU that was used has been on
Q10 = 1024
UNUSED_TEMPERATURE = -1
NO_VERSION = 0xFFFFFFFF  # pldmVersion (item 33)
_BUSY_HEAT = 35.0  # guess: degrees between idle and full load
_SWING_S = 7.0  # guess: the sensors wander with this period
_NODE_POWER_LIMIT = 8
THROTTLE_PERIOD_S = 7e-3  # guess: fault throttle: so often, half of it throttled
THROTTLED_CLOCK = 0.6  # guess: share of the clocks that is left meanwhile


def q10(value: float) -> int:
    return round(value * Q10)


def levels(board: Board) -> tuple[tuple[int, ...], ...]:
    """Clock tables by clock number: VCLK, DCLK, SOCCLK, UCLK, FCLK, LCLK."""
    return (
        board.video_clocks,
        board.decoder_clocks,
        board.soc_clocks,
        board.memory_clocks,
        board.fabric_clocks,
        board.link_clocks,
    )


class Telemetry:
    """Sensors and sums of one GPU; they move with the clock. Sums start when the firmware begins to calculate."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self._since: float | None = None  # when it began to calculate
        self._on_since = 0.0
        self._seen = 0.0
        self._energy_j = 0.0
        self._sums: dict[str, float] = {}
        self.throttled_by = ""  # fault throttle: a word of faults.THROTTLERS
        self._throttled_since = 0.0

    def power_on(self, used: bool) -> None:
        now = self._gpu.clock.now()
        self._on_since = now - (EARLIER_S if used else 0.0)
        self._seen = self._on_since
        self._since = None
        self._energy_j = 0.0
        self._sums.clear()
        self.throttled_by = ""
        self._throttled_since = now
        if used:
            self._since = self._on_since

    def calculate(self, on: bool) -> None:
        if not on:
            self._since = None
        elif self._since is None:
            self._since = self._seen = self._gpu.clock.now()

    @property
    def load(self) -> float:
        """Share of the XCCs that work."""
        return len(self._gpu.gfx.busy) / XCCS

    @property
    def power(self) -> float:
        board = self._gpu.chip.board
        return board.idle_power + self.load * (board.power_limit - board.idle_power) + 2.0 * self._swing()

    def die(self, number: int = 0) -> float:
        return 41.0 + 0.5 * number + self.load * _BUSY_HEAT + self._swing(number)

    def memory(self, number: int = 0) -> float:
        return 36.0 + 0.5 * number + self.load * _BUSY_HEAT + self._swing(number)

    def regulator(self) -> float:
        return 44.0 + self.load * _BUSY_HEAT + self._swing()

    def _swing(self, number: int = 0) -> float:
        """Between -1 and 1."""
        return math.sin(self._gpu.clock.now() * 2 * math.pi / _SWING_S + number + self._gpu.index)

    def steps(self) -> int:
        """Accumulations so far."""
        return 0 if self._since is None else int((self._gpu.clock.now() - self._since) / STEP_S)

    def _advance(self) -> None:
        """Add what has passed since the last look to energy and sums."""
        now = self._gpu.clock.now()
        elapsed = max(now - self._seen, 0.0)
        self._seen = now
        self._energy_j += elapsed * self.power
        if self._since is None:
            return
        samples = {
            "die": self.die(),
            "memory": self.memory(),
            "regulator": self.regulator(),
            "busy": 100 * self.load,
            "clock": float(self.gfx_clock()),
        }
        for name, value in samples.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * elapsed / STEP_S

    def _sum(self, name: str) -> int:
        return q10(self._sums.get(name, 0.0))

    def _energy(self, share: float) -> int:
        return int(self._energy_j * share / ENERGY_J)

    def gfx_clock(self) -> int:
        low, high = self._gpu.smu.gfx_range
        return round((low + self.load * (high - low)) / self.slowness)

    @property
    def slowness(self) -> float:
        """How much longer work takes now than it should."""
        passed_s = (self._gpu.hive.events.time() - self._throttled_since) % THROTTLE_PERIOD_S
        return 1 / THROTTLED_CLOCK if self.throttled_by and passed_s < THROTTLE_PERIOD_S / 2 else 1.0

    def _throttled_steps(self) -> int:
        """Accumulation steps in which it throttled."""
        periods, rest_s = divmod(self._gpu.clock.now() - self._throttled_since, THROTTLE_PERIOD_S)
        return int((periods * THROTTLE_PERIOD_S / 2 + min(rest_s, THROTTLE_PERIOD_S / 2)) / STEP_S)

    def metrics(self) -> bytes:
        """MetricsTableV0_t of 13.0.6, or MetricsTable_t of 13.0.12."""
        self._advance()
        if self._gpu.chip.version("MP1") == (13, 0, 6):
            return bytes(self._metrics_6())
        return bytes(self._metrics_12())

    def _metrics_6(self) -> Structure:
        gpu, board = self._gpu, self._gpu.chip.board
        table = structs_smu_13_0_6.MetricsTableV0_t()
        self._common(table)
        table.MaxSocketPowerLimit = q10(board.power_limit)
        table.MaxGfxclkFrequency, table.MinGfxclkFrequency = q10(board.gfx_clocks[1]), q10(board.gfx_clocks[0])
        self._clock_tables(table)
        serials(table, gpu)
        return table

    def _metrics_12(self) -> Structure:
        table = structs_smu_13_0_12.MetricsTable_t()
        self._common(table)
        for number in range(4):
            table.AidTemperature[number] = q10(self.die(number) - 3)
        for number in range(8):
            table.XcdTemperature[number] = q10(self.die(number))
            table.HbmTemperature[number] = q10(self.memory(number))
        return table

    def _common(self, table: structs_smu_13_0_6.MetricsTableV0_t | structs_smu_13_0_12.MetricsTable_t) -> None:
        gpu, board, now = self._gpu, self._gpu.chip.board, self._gpu.clock.now()
        table.AccumulationCounter = self.steps()
        table.MaxSocketTemperature, table.MaxSocketTemperatureAcc = q10(self.die(3)), self._sum("die")
        table.MaxVrTemperature, table.MaxVrTemperatureAcc = q10(self.regulator()), self._sum("regulator")
        table.MaxHbmTemperature, table.MaxHbmTemperatureAcc = q10(self.memory(3)), self._sum("memory")
        table.SocketPowerLimit, table.SocketPower = q10(gpu.smu.power_limit), q10(self.power)
        table.Timestamp = int((now - self._on_since) / TIMESTAMP_S)
        table.SocketEnergyAcc = self._energy(1.0)
        table.XcdEnergyAcc, table.AidEnergyAcc, table.HbmEnergyAcc = map(self._energy, (0.5, 0.2, 0.2))
        if self.throttled_by:
            setattr(table, THROTTLERS[self.throttled_by], self._throttled_steps())
        self._clocks(table)
        table.XgmiWidth, table.XgmiBitrate = board.xgmi_lanes, board.xgmi_rate
        table.SocketGfxBusy, table.SocketGfxBusyAcc = q10(100 * self.load), self._sum("busy")
        table.MaxDramBandwidth = q10(board.memory_bandwidth)
        status = gpu.config.read(pciconfig.LINK_STATUS, 2)
        table.PCIeLinkSpeed, table.PCIeLinkWidth = status & 0xF, status >> 4 & 0x3F
        for xcc in range(XCCS):
            busy = 100 if xcc in gpu.gfx.busy else 0
            table.GfxBusy[xcc] = q10(busy)
            table.GfxBusyAcc[xcc] = self._sum("busy")

    def _clocks(self, table: structs_smu_13_0_6.MetricsTableV0_t | structs_smu_13_0_12.MetricsTable_t) -> None:
        """What runs now: graphics as loaded, the others at their lowest level, video off."""
        _, _, soc, memory, fabric, link = self._gpu.smu.soft_lowest
        table.GfxclkFrequencyLimit = q10(self._gpu.smu.gfx_range[1])
        table.UclkFrequency, table.FclkFrequency = q10(memory), q10(fabric)
        for number in range(4):
            table.SocclkFrequency[number], table.LclkFrequency[number] = q10(soc), q10(link)
        for xcc in range(XCCS):
            table.GfxclkFrequency[xcc] = q10(self.gfx_clock())
            table.GfxclkFrequencyAcc[xcc] = self._sum("clock")

    def _clock_tables(
        self, table: structs_smu_13_0_6.MetricsTableV0_t | structs_smu_13_0_12.StaticMetricsTable_t
    ) -> None:
        names = ("Vclk", "Dclk", "Socclk", "Uclk", "Fclk", "Lclk")
        for name, clocks in zip(names, levels(self._gpu.chip.board), strict=True):
            field = getattr(table, f"{name}FrequencyTable")
            for number, clock in enumerate(clocks):
                field[number] = q10(clock)

    def static_metrics(self) -> bytes:
        """StaticMetricsTable_t of 13.0.12: product, limits, clock tables, serial numbers."""
        gpu, board = self._gpu, self._gpu.chip.board
        table = structs_smu_13_0_12.StaticMetricsTable_t()
        info = table.ProductInfo
        texts = {
            "ModelNumber": f"102-{gpu.chip.device_id:04X}",  # guess: as every string but the name
            "Name": gpu.chip.product,
            "Serial": f"{gpu.serial:016X}",
            "ManufacturerName": "AMD",
            "FruId": f"OAM{gpu.index}",
        }
        for name, text in texts.items():
            field = getattr(info, name)
            data = text.encode()
            field[: len(data)] = data
        table.MaxSocketPowerLimit = q10(board.power_limit)
        table.MaxGfxclkFrequency, table.MinGfxclkFrequency = q10(board.gfx_clocks[1]), q10(board.gfx_clocks[0])
        self._clock_tables(table)
        serials(table, gpu)
        table.MaxXgmiWidth, table.MaxXgmiBitrate = q10(board.xgmi_lanes), q10(board.xgmi_rate)
        table.InputTelemetryVoltageInmV = board.input_millivolts
        table.pldmVersion[0] = table.pldmVersion[1] = NO_VERSION
        table.MaxNodePowerLimit = q10(_NODE_POWER_LIMIT * board.power_limit)
        table.PPT1Min, table.PPT1Default, table.PPT1Max = board.fast_power
        return bytes(table)

    def short_static_metrics(self) -> bytes:
        """StaticMetricsTable_t of 13.0.6."""
        table = structs_smu_13_0_6.StaticMetricsTable_t()
        table.InputTelemetryVoltageInmV = self._gpu.chip.board.input_millivolts
        table.pldmVersion[0] = table.pldmVersion[1] = NO_VERSION
        return bytes(table)

    def system_metrics(self) -> bytes:
        """SystemMetricsTable_t of 13.0.12: the tray; power of the node on its first GPU only."""
        self._advance()
        gpu, board = self._gpu, self._gpu.chip.board
        table = structs_smu_13_0_12.SystemMetricsTable_t()
        table.AccumulationCounter = self.steps()
        table.NodeIdentifier = gpu.index
        for field, count in ((table.SystemTemperatures, 23), (table.NodeTemperatures, 6), (table.VrTemperatures, 13)):
            for number in range(len(field)):
                field[number] = round(33 + self._swing(number)) if number < count else UNUSED_TEMPERATURE
        if gpu.index == 0:
            total = sum(other.smu.telemetry.power for other in gpu.hive.gpus)
            table.NodePowerLimit, table.NodePower = q10(_NODE_POWER_LIMIT * board.power_limit), q10(total)
            table.SystemPower[0], table.SystemPower[1] = round(total * 1.2), 2 * _NODE_POWER_LIMIT * board.power_limit
        return bytes(table)


def serials(
    table: structs_smu_13_0_6.MetricsTableV0_t | structs_smu_13_0_12.StaticMetricsTable_t, gpu: ModelGpu
) -> None:
    """One number for each die; that of AID 0 stands for the package."""
    for number in range(4):
        table.PublicSerialNumber_AID[number] = gpu.serial + number
    for number in range(8):
        table.PublicSerialNumber_XCD[number] = gpu.serial + 0x10 + number
