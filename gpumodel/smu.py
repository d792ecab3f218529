"""SMU (MP1): firmware flags, firmware version, and the mailbox with every message of its two tables.

Source: Linux v7.3 pm/swsmu/smu_cmn.c (protocol, response codes), smu_v13_0_6_ppt.c, smu_v13_0_12_ppt.c (which messages
it sends, with what, and from which firmware on), smu_v13_0_6_ppsmc.h, smu_v13_0_12_ppsmc.h; hardware/amd-bringup.md
section 7; research/amdgpu-on-model.md items 29 to 35, 58 to 64, 77. What a reset does: resets.py. Times in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gpumodel.chips import SDMAS, VCNS, Chip
from gpumodel.eeprom import REQUEST_BYTES, Eeprom
from gpumodel.faults import Reset
from gpumodel.gmc import PageFault
from gpumodel.registerfile import WORD, Entry, Layout
from gpumodel.resets import Fate
from gpumodel.smu_tables import Telemetry, levels
from registers.amd import structs_smu_13_0_6, structs_smu_13_0_12
from registers.amd.mp_13_0_6 import Mp1 as Regs

if TYPE_CHECKING:
    from gpumodel.device import ModelGpu

FIRMWARE_FLAGS = 0x03B10028  # SMN bytes: MP1_Public | smnMP1_FIRMWARE_FLAGS
PUB_SCRATCH0 = 0x03B10090  # SMN bytes: psp_v13_0.c regMP1_PUB_SCRATCH0
FIRMWARE_ALIVE = 1  # interrupts enabled

OK = 0x01
FAILED = 0xFF
UNKNOWN_COMMAND = 0xFE
BAD_PREREQUISITE = 0xFD
BUSY = 0xFC
ANSWER_AFTER_S = 100e-6  # guess: real answers take tens to hundreds of microseconds
TABLE_AFTER_S = 500e-6  # guess: with a table to write
DRIVER_IF_VERSION = 0x08042024  # guess: printed by the kernel driver, never checked (item 32)

ALL_LEVELS = 0xFF  # GetDpmFreqByIndex: answer the highest index
STATIC_TABLE_SINCE_6 = 0x00557F01
VCN_RESET_SINCE_6 = 0x00558200
LINK_RESET_IDS = (0, 1, 3)  # low nibble of the device id: smu_v13_0_6_is_link_reset_supported
_MODES = {1: Reset.MODE1, 2: Reset.MODE2, 4: Reset.LINK}  # SMU_RESET_MODE_*

# Features that only a package with processor cores has, and power saving that these boards leave off.
_FEATURES_OFF = frozenset(
    f"FEATURE_{name}"
    for name in (
        "DPM_CCLK",
        "CC6",
        "PC6",
        "CPPC",
        "CCD_PCC",
        "CCD_EDC",
        "DVO_CCLK",
        "GFXOFF",
        "CSTATE_BOOST",
        "CXL_QOS",
    )
)


class Rejected(Exception):
    """An answer other than OK."""

    def __init__(self, response: int, text: str) -> None:
        super().__init__(text)
        self.response = response


class NoAnswer(Exception):
    """The response register is left to whoever has the message in work."""


Handler = Callable[[int], int | None]  # argument; the answer in the argument register, None leaves it as it is


class Smu:
    """A mailbox of three registers: argument (82), message (66), response (90). `refuses`, `busy`: faults."""

    def __init__(self, gpu: ModelGpu) -> None:
        self._gpu = gpu
        self.silent = False
        self.refuses: set[int] = set()
        self.busy = False
        self.telemetry = Telemetry(gpu)
        self.eeprom = Eeprom()
        self.power_limit = 0
        self.gfx_range = (0, 0)
        self.soft_lowest: list[int] = []
        self._is_12 = gpu.chip.version("MP1") == (13, 0, 12)
        names = structs_smu_13_0_12 if self._is_12 else structs_smu_13_0_6
        self._features = sum(
            1 << bit.value
            for bit in names.FEATURE_LIST_e
            if bit.name not in _FEATURES_OFF and bit.name != "NUM_FEATURES"
        )
        self._metrics_version = names.SMU_METRICS_TABLE_VERSION
        table = self._common_messages() | (self._messages_12() if self._is_12 else self._messages_6())
        self._messages = {int(message): table[message.name] for message in names.Message if message.name in table}
        self._tables = {
            int(names.Message.GetMetricsTable),
            int(names.Message.GetStaticMetricsTable),
            *([int(structs_smu_13_0_12.Message.GetSystemMetricsTable)] if self._is_12 else []),
        }
        self._generation = 0
        self._answering = False
        self._recovering = False  # between mode2 and GfxDriverResetRecovery
        self._kept: dict[str, int] = {}
        self._enabled = 0
        self._fast_limit = 0
        self._soft_highest: list[int] = []
        self._clock_offset_s = 0.0

    def power_on(self) -> None:
        """The firmware runs since power-on; features are on only when a driver has been here."""
        gpu, board = self._gpu, self._gpu.chip.board
        self.silent = self.busy = self._answering = self._recovering = False
        self.refuses.clear()
        self._generation += 1
        self._kept.clear()
        self.power_limit = board.power_limit
        self._fast_limit = board.fast_power[1]
        self.gfx_range = board.gfx_clocks
        self.soft_lowest = [clocks[0] for clocks in levels(board)]
        self._soft_highest = [clocks[-1] for clocks in levels(board)]
        self._enabled = self._features if gpu.is_used else 0
        self._clock_offset_s = 0.0
        self.telemetry.power_on(gpu.is_used)

    def fall_silent(self) -> None:
        """The firmware stops: a message was taken and is never answered."""
        self.silent = True
        self._generation += 1
        self._gpu.registers.set("MP1[0].MP1_SMN_C2PMSG_90", 0)
        self._gpu.registers.set("MP1.FIRMWARE_FLAGS", 0)

    def firmware_up(self) -> None:
        """After a reset: the firmware runs and waits for its first message."""
        self.silent = False
        self._gpu.registers.set("MP1[0].MP1_SMN_C2PMSG_90", OK)
        self._gpu.registers.set("MP1.FIRMWARE_FLAGS", FIRMWARE_ALIVE)

    def message(self, entry: Entry, value: int) -> None:
        """A message number: the answer comes later."""
        gpu = self._gpu
        gpu.registers.store(entry, value)
        gpu.stage("smu")
        if self.silent or gpu.lost:
            return
        if self._answering:
            gpu.wrong("smu", f"message {value:#x} before the answer to the last one: ignored")
            return
        if gpu.registers.get("MP1[0].MP1_SMN_C2PMSG_90"):
            gpu.wrong("smu", f"message {value:#x} while the response of the last one still stands")
        self._answering = True
        argument = gpu.registers.get("MP1[0].MP1_SMN_C2PMSG_82")
        generation = self._generation

        def when_due() -> None:
            if generation == self._generation and not gpu.lost:
                self._answer(value, argument)

        gpu.hive.events.after(TABLE_AFTER_S if value in self._tables else ANSWER_AFTER_S, when_due)

    def _answer(self, message: int, argument: int) -> None:
        self._answering = False
        try:
            result = self._execute(message, argument)
            response = OK
        except NoAnswer:
            return
        except Rejected as rejected:
            result, response = None, rejected.response
            if str(rejected):
                self._gpu.wrong("smu", f"message {message:#x} ({argument:#x}): {rejected}")
        if result is not None:
            self._gpu.registers.set("MP1[0].MP1_SMN_C2PMSG_82", result & WORD)
        self._gpu.registers.set("MP1[0].MP1_SMN_C2PMSG_90", response)

    def _execute(self, message: int, argument: int) -> int | None:
        if self.busy:
            raise Rejected(BUSY, "")
        if message in self.refuses:
            raise Rejected(FAILED, "")
        handler = self._messages.get(message)
        if handler is None:
            self._gpu.registers.unknown[("smu-message", message)] += 1
            raise Rejected(UNKNOWN_COMMAND, "")
        return handler(argument)

    # What the messages do. Missing here, so unknown: HeavySBR, GetEccInfoTable and the sample log, whose answers no
    # source describes.

    def _common_messages(self) -> dict[str, Handler]:
        version = self._gpu.chip.pmfw_version
        return {
            "TestMessage": lambda argument: argument + 1,
            "GetSmuVersion": lambda argument: version,
            "GetDriverIfVersion": lambda argument: DRIVER_IF_VERSION,
            "EnableAllSmuFeatures": lambda argument: self._enable(True),
            "DisableAllSmuFeatures": lambda argument: self._enable(False),
            "RequestI2cTransaction": self._i2c,
            "GetMetricsVersion": lambda argument: self._metrics_version,
            "GetMetricsTable": lambda argument: self._write_table(self.telemetry.metrics),
            "GetEnabledSmuFeaturesLow": lambda argument: self._enabled & WORD,
            "GetEnabledSmuFeaturesHigh": lambda argument: self._enabled >> 32,
            "SetDriverDramAddrHigh": lambda argument: self._keep("table-high", argument),
            "SetDriverDramAddrLow": lambda argument: self._keep("table", argument),
            "SetToolsDramAddrHigh": lambda argument: self._keep("tools-high", argument),
            "SetToolsDramAddrLow": lambda argument: self._keep("tools", argument),
            "SetSystemVirtualDramAddrHigh": lambda argument: self._keep("virtual-high", argument),
            "SetSystemVirtualDramAddrLow": lambda argument: self._keep("virtual", argument),
            "SetSoftMinByFreq": lambda argument: self._soft(self.soft_lowest, argument),
            "SetSoftMaxByFreq": lambda argument: self._soft(self._soft_highest, argument),
            "GetMinDpmFreq": lambda argument: self._clocks(argument)[0],
            "GetMaxDpmFreq": lambda argument: self._clocks(argument)[-1],
            "GetDpmFreqByIndex": self._level,
            "SetPptLimit": self._set_power_limit,
            "GetPptLimit": lambda argument: self.power_limit,
            "DramLogSetDramAddrHigh": lambda argument: self._keep("log-high", argument),
            "DramLogSetDramAddrLow": lambda argument: self._keep("log", argument),
            "DramLogSetDramSize": lambda argument: self._keep("log-size", argument),
            "GetDebugData": lambda argument: 0,  # guess
            "SetNumBadHbmPagesRetired": lambda argument: self._keep("retired-pages", argument),
            "DFCstateControl": lambda argument: self._choice("df-cstate", argument, (0, 1)),
            "GetGmiPwrDnHyst": lambda argument: self._kept.get("hysteresis", 0),
            "SetGmiPwrDnHyst": lambda argument: self._keep("hysteresis", argument),
            "GmiPwrDnControl": lambda argument: self._choice("link-power-down", argument, (0, 1)),
            "EnterGfxoff": lambda argument: self._missing("GFXOFF is not enabled"),
            "ExitGfxoff": lambda argument: self._missing("GFXOFF is not enabled"),
            "EnableDeterminism": self._determinism,
            "DisableDeterminism": lambda argument: self._free_clocks(),
            "DumpSTBtoDram": lambda argument: self._dump_trace(),
            "STBtoDramLogSetDramAddrHigh": lambda argument: self._keep("trace-high", argument),
            "STBtoDramLogSetDramAddrLow": lambda argument: self._keep("trace", argument),
            "STBtoDramLogSetDramSize": lambda argument: self._keep("trace-size", argument),
            "SetSystemVirtualSTBtoDramAddrHigh": lambda argument: self._keep("trace-virtual-high", argument),
            "SetSystemVirtualSTBtoDramAddrLow": lambda argument: self._keep("trace-virtual", argument),
            "GfxDriverReset": self._reset_device,
            "GfxDriverResetRecovery": lambda argument: self._recovered(),
            "TriggerVFFLR": lambda argument: self._missing("there are no virtual functions"),
            "SetSoftMinGfxClk": lambda argument: self._soft_gfx(argument, self.gfx_range[1]),
            "SetSoftMaxGfxClk": lambda argument: self._soft_gfx(self.gfx_range[0], argument),
            "GetMinGfxDpmFreq": lambda argument: self._gpu.chip.board.gfx_clocks[0],
            "GetMaxGfxDpmFreq": lambda argument: self._gpu.chip.board.gfx_clocks[1],
            "PrepareForDriverUnload": lambda argument: self._unload(),
            "ReadThrottlerLimit": lambda argument: self._limit(argument, self._throttling()),
            "QueryValidMcaCount": lambda argument: len(self._gpu.ras.banks),
            "McaBankDumpDW": self._bank_dword,
            "GetCTFLimit": lambda argument: self._limit(argument, self._shutdown()),
            "ClearMcaOnRead": lambda argument: self._keep("clear-banks", argument),
            "QueryValidMcaCeCount": lambda argument: 0,
            "McaBankCeDumpDW": lambda argument: self._no_bank(),
            "SelectPLPDMode": lambda argument: self._choice("link-power-down", argument, (1, 2)),
            "RmaDueToBadPageThreshold": lambda argument: self._keep("to-be-replaced", 1),
            "SetThrottlingPolicy": lambda argument: self._choice("policy", argument, (0, 1, 2, 3)),
            "ResetSDMA": self._reset_sdma,
        }

    def _messages_6(self) -> dict[str, Handler]:
        """What only 13.0.6 has, and what its firmware has learnt lately."""
        version = self._gpu.chip.pmfw_version
        late: dict[str, Handler] = {}
        if version >= VCN_RESET_SINCE_6:
            late["ResetVCN"] = self._reset_vcn
        if version >= STATIC_TABLE_SINCE_6:
            late["GetStaticMetricsTable"] = lambda argument: self._write_table(self.telemetry.short_static_metrics)
        return late

    def _messages_12(self) -> dict[str, Handler]:
        return {
            **{
                name: self._keeping(name)
                for name in (
                    "SetPhaseDetectCSBWThreshold",
                    "SetPhaseDetectFreqHigh",
                    "SetPhaseDetectFreqLow",
                    "SetPhaseDetectDownHysterisis",
                    "SetPhaseDetectAlphaX1e6",
                    "SetPhaseDetectOnOff",
                    "UpdatePccWaitDecMaxStr",
                )
            },
            "GetPhaseDetectResidency": lambda argument: 0,
            "GetRasTableVersion": lambda argument: 0,  # guess: the board keeps no table of bad pages for the firmware
            "GetBadPageCount": lambda argument: 0,
            "GetBadPageMcaAddress": lambda argument: self._no_page(),
            "SetTimestamp": self._set_time,
            "SetTimestampHi": lambda argument: self._keep("time-high", argument),
            "GetTimestamp": lambda argument: int(self._gpu.clock.now() + self._clock_offset_s),
            "GetBadPageIpIdLoHi": lambda argument: self._no_page(),
            "EraseRasTable": lambda argument: 0,
            "GetStaticMetricsTable": lambda argument: self._write_table(self.telemetry.static_metrics),
            "ResetVfArbitersByIndex": lambda argument: self._missing("there are no virtual functions"),
            "GetSystemMetricsTable": lambda argument: self._write_table(self.telemetry.system_metrics),
            "GetSystemMetricsVersion": lambda argument: self._metrics_version,
            "ResetVCN": self._reset_vcn,
            "SetFastPptLimit": self._set_fast_limit,
            "GetFastPptLimit": lambda argument: self._fast_limit,
        }

    def _keep(self, name: str, value: int) -> None:
        self._kept[name] = value

    def _keeping(self, name: str) -> Handler:
        return lambda argument: self._keep(name, argument)

    def _choice(self, name: str, value: int, allowed: tuple[int, ...]) -> None:
        if value not in allowed:
            raise Rejected(FAILED, f"not one of {allowed}")
        self._kept[name] = value

    def _missing(self, text: str) -> int:
        raise Rejected(BAD_PREREQUISITE, text)

    def _enable(self, on: bool) -> None:
        self._enabled = self._features if on else 0
        self.telemetry.calculate(on)

    # Tables.

    def _table_address(self) -> int:
        if "table" not in self._kept or "table-high" not in self._kept:
            raise Rejected(BAD_PREREQUISITE, "nobody told where the tables of the driver lie")
        return self._kept["table-high"] << 32 | self._kept["table"]

    def _write_table(self, content: Callable[[], bytes]) -> None:
        address = self._table_address()
        try:
            self._gpu.gmc.mc_write(address, content())
        except PageFault as fault:
            raise Rejected(FAILED, f"the table at {address:#x} cannot be written: {fault}") from fault

    def _i2c(self, argument: int) -> None:
        """A transfer that stands where the tables of the driver lie; what was read goes back to the same place."""
        address = self._table_address()
        try:
            answer = self.eeprom.transfer(self._gpu.gmc.mc_read(address, REQUEST_BYTES))
            if answer is None:
                raise Rejected(FAILED, "nobody answers on the I2C bus")
            self._gpu.gmc.mc_write(address, answer)
        except PageFault as fault:
            raise Rejected(FAILED, f"the I2C request at {address:#x} cannot be reached: {fault}") from fault

    def _dump_trace(self) -> None:
        if not self._kept.get("trace-size"):
            raise Rejected(BAD_PREREQUISITE, "nobody told where the trace should go")

    def _unload(self) -> None:
        self._kept.clear()

    # Clocks and limits.

    def _clocks(self, argument: int) -> tuple[int, ...]:
        tables = levels(self._gpu.chip.board)
        number = argument >> 16
        if number >= len(tables):
            raise Rejected(FAILED, f"there is no clock {number}")
        return tables[number]

    def _level(self, argument: int) -> int:
        clocks, index = self._clocks(argument), argument & 0xFFFF
        if index == ALL_LEVELS:
            return len(clocks) - 1
        if index >= len(clocks):
            raise Rejected(FAILED, f"that clock has {len(clocks)} levels")
        return clocks[index]

    def _soft(self, limits: list[int], argument: int) -> None:
        """A wish: brought into the range of the clock."""
        clocks = self._clocks(argument)
        limits[argument >> 16] = min(max(argument & 0xFFFF, clocks[0]), clocks[-1])

    def _soft_gfx(self, low: int, high: int) -> None:
        smallest, largest = self._gpu.chip.board.gfx_clocks
        low, high = min(max(low, smallest), largest), min(max(high, smallest), largest)
        self.gfx_range = (min(low, high), high)

    def _determinism(self, clock: int) -> None:
        smallest, largest = self._gpu.chip.board.gfx_clocks
        if not smallest <= clock <= largest:
            raise Rejected(FAILED, f"graphics clocks are {smallest} to {largest} MHz")
        self.gfx_range = (smallest, clock)

    def _free_clocks(self) -> None:
        self.gfx_range = self._gpu.chip.board.gfx_clocks

    def _set_power_limit(self, watts: int) -> None:
        if not 0 < watts <= self._gpu.chip.board.power_limit:
            raise Rejected(FAILED, f"the limit is at most {self._gpu.chip.board.power_limit} W")
        self.power_limit = watts

    def _set_fast_limit(self, watts: int) -> None:
        smallest, _, largest = self._gpu.chip.board.fast_power
        if not smallest <= watts <= largest:
            raise Rejected(FAILED, f"the fast limit is {smallest} to {largest} W")
        self._fast_limit = watts

    def _throttling(self) -> dict[int, int]:
        """Degrees by PPSMC_THROTTLING_LIMIT_TYPE: socket, memory."""
        board = self._gpu.chip.board
        return {1: board.throttle_die, 2: board.throttle_memory}

    def _shutdown(self) -> dict[int, int]:
        """Degrees by PPSMC_*_THM_TYPE: base die, compute die, memory; there are no processor cores (2)."""
        board = self._gpu.chip.board
        return {1: board.shutdown_die, 3: board.shutdown_die, 4: board.shutdown_memory}

    def _limit(self, kind: int, limits: dict[int, int]) -> int:
        if kind not in limits:
            raise Rejected(FAILED, f"there is no limit {kind}")
        return limits[kind]

    # Errors, engines, time.

    def _bank_dword(self, argument: int) -> int:
        """Bank in the upper half, byte offset in the lower (mp1_v13_0_dump_valid_bank)."""
        value = self._gpu.ras.bank_dword(argument >> 16, argument & 0xFFFC)
        return self._no_bank() if value is None else value

    def _no_bank(self) -> int:
        raise Rejected(FAILED, "there is no error bank")

    def _no_page(self) -> int:
        raise Rejected(FAILED, "there is no bad page")

    def _reset_device(self, argument: int) -> None:
        """smu_v13_0_6_ppt.c: mode in the low half, bit 16 of mode1: after a fatal error."""
        kind = _MODES.get(argument & 0xFFFF)
        if kind is None or argument >> 17:
            raise Rejected(FAILED, f"no reset {argument:#x}")
        if kind is Reset.LINK and self._gpu.chip.device_id & 0xF not in LINK_RESET_IDS:
            raise Rejected(UNKNOWN_COMMAND, "this part has no link reset")
        if kind is not Reset.MODE2:
            self._gpu.resets.from_smu(kind, lambda: None)
            return
        self._gpu.resets.from_smu(kind, self._mode2_over)
        raise NoAnswer

    def _mode2_over(self) -> None:
        self._recovering = True
        self._gpu.registers.set("MP1[0].MP1_SMN_C2PMSG_90", OK)

    def _recovered(self) -> None:
        """The driver has reloaded the engines (aldebaran.c: the firmware needs the RLC alive to complete the reset)."""
        if not self._recovering:
            raise Rejected(BAD_PREREQUISITE, "no mode2 reset came before")
        if not self._gpu.gfx.rlc_runs():
            raise Rejected(BAD_PREREQUISITE, "the RLC of an XCC does not run")
        self._recovering = False

    def _reset_sdma(self, mask: int) -> None:
        if not 0 < mask < 1 << SDMAS:
            raise Rejected(FAILED, f"there are {SDMAS} engines")
        if self._gpu.resets.fate(Reset.SDMA_ENGINE) is Fate.HANGS:
            raise NoAnswer
        self._gpu.sdma.reset_engines(mask)

    def _reset_vcn(self, mask: int) -> None:
        """VCN and the JPEG cores of an AID: registers as after power-on, what is in work is dropped."""
        if not 0 < mask < 1 << VCNS:
            raise Rejected(FAILED, f"there are {VCNS} decoders")
        gpu = self._gpu
        chosen = {aid for aid in range(VCNS) if mask >> aid & 1}
        gpu.registers.forget(lambda entry: entry.owner in ("vcn", "jpeg") and entry.instance in chosen)
        for aid in chosen:
            gpu.vcn.engines[aid].reset()
            for core in gpu.jpeg.cores[aid]:
                core.reset()

    def _set_time(self, low: int) -> None:
        seconds = self._kept.get("time-high", 0) << 32 | low
        self._clock_offset_s = seconds - self._gpu.clock.now()


def declare(layout: Layout, chip: Chip) -> None:
    unit = layout.unit(Regs, "MP1[0]", chip.bases("MP1")[0], "smu")
    unit.active(Regs.MP1_SMN_C2PMSG_66, on_write=Smu.message)
    names = [n for n in Regs.REGISTERS if n.startswith("MP1_SMN_") and n != Regs.MP1_SMN_C2PMSG_66.name]
    unit.plain(names, {Regs.MP1_SMN_C2PMSG_90.name: OK})  # 1 after power-on (item 30)
    layout.add(Entry("MP1.FIRMWARE_FLAGS", FIRMWARE_FLAGS // 4, FIRMWARE_ALIVE, "smu", 0))
    layout.add(Entry("MP1.PUB_SCRATCH0", PUB_SCRATCH0 // 4, chip.pmfw_version, "smu", 0))
