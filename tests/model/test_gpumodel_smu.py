"""The model's SMU mailbox: every message of both tables answers, or is refused with the code that fits."""

from __future__ import annotations

import pytest

from gpumodel.chips import CHIPS
from registers.amd import structs_smu_13_0_6, structs_smu_13_0_12
from tests.model.firmware_host import SMU, Host, host

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
TABLES = {"mi300x": structs_smu_13_0_6, "mi350x": structs_smu_13_0_12}
OK, FAILED, UNKNOWN, PREREQUISITE, BUSY = 1, 0xFF, 0xFE, 0xFD, 0xFC
VCLK, DCLK, SOCCLK, UCLK, FCLK, LCLK = range(6)

# What each message is answered on a used GPU after the driver told where its tables lie; argument and response.
ON_BOTH = {
    "TestMessage": (7, OK),
    "GetSmuVersion": (0, OK),
    "GfxDriverReset": (3, FAILED),  # no such mode; those that exist: test_gpumodel_resets
    "GetDriverIfVersion": (0, OK),
    "EnableAllSmuFeatures": (0, OK),
    "DisableAllSmuFeatures": (0, OK),
    "RequestI2cTransaction": (0, FAILED),  # an empty request: nobody has slave address 0
    "GetMetricsVersion": (0, OK),
    "GetMetricsTable": (0, OK),
    "GetEccInfoTable": (0, UNKNOWN),
    "GetEnabledSmuFeaturesLow": (0, OK),
    "GetEnabledSmuFeaturesHigh": (0, OK),
    "SetDriverDramAddrHigh": (0x80, OK),
    "SetDriverDramAddrLow": (0x104000, OK),
    "SetToolsDramAddrHigh": (0x80, OK),
    "SetToolsDramAddrLow": (0, OK),
    "SetSystemVirtualDramAddrHigh": (0, OK),
    "SetSystemVirtualDramAddrLow": (0, OK),
    "SetSoftMinByFreq": (UCLK << 16 | 1100, OK),
    "SetSoftMaxByFreq": (UCLK << 16 | 1300, OK),
    "GetMinDpmFreq": (UCLK << 16, OK),
    "GetMaxDpmFreq": (UCLK << 16, OK),
    "GetDpmFreqByIndex": (UCLK << 16, OK),
    "SetPptLimit": (600, OK),
    "GetPptLimit": (0, OK),
    "DramLogSetDramAddrHigh": (0, OK),
    "DramLogSetDramAddrLow": (0, OK),
    "DramLogSetDramSize": (0, OK),
    "GetDebugData": (0, OK),
    "HeavySBR": (0, UNKNOWN),  # a reset
    "SetNumBadHbmPagesRetired": (2, OK),
    "DFCstateControl": (1, OK),
    "GetGmiPwrDnHyst": (0, OK),
    "SetGmiPwrDnHyst": (3, OK),
    "GmiPwrDnControl": (0, OK),
    "EnterGfxoff": (0, PREREQUISITE),
    "ExitGfxoff": (0, PREREQUISITE),
    "EnableDeterminism": (1500, OK),
    "DisableDeterminism": (0, OK),
    "DumpSTBtoDram": (0, PREREQUISITE),
    "STBtoDramLogSetDramAddrHigh": (0, OK),
    "STBtoDramLogSetDramAddrLow": (0, OK),
    "STBtoDramLogSetDramSize": (0x1000, OK),
    "SetSystemVirtualSTBtoDramAddrHigh": (0, OK),
    "SetSystemVirtualSTBtoDramAddrLow": (0, OK),
    "GfxDriverResetRecovery": (0, PREREQUISITE),
    "TriggerVFFLR": (0, PREREQUISITE),
    "SetSoftMinGfxClk": (500, OK),
    "SetSoftMaxGfxClk": (1900, OK),
    "GetMinGfxDpmFreq": (0, OK),
    "GetMaxGfxDpmFreq": (0, OK),
    "PrepareForDriverUnload": (0, OK),
    "ReadThrottlerLimit": (1, OK),
    "QueryValidMcaCount": (0, OK),
    "McaBankDumpDW": (0, FAILED),
    "GetCTFLimit": (1, OK),
    "ClearMcaOnRead": (3, OK),
    "QueryValidMcaCeCount": (0, OK),
    "McaBankCeDumpDW": (0, FAILED),
    "SelectPLPDMode": (1, OK),
    "RmaDueToBadPageThreshold": (0, OK),
    "SetThrottlingPolicy": (3, OK),
    "ResetSDMA": (1, OK),
}
ON_MI300X = {
    # The firmware is older than these: 0x557F01 and 0x558200.
    "GetStaticMetricsTable": (0, UNKNOWN),
    "ResetVCN": (1, UNKNOWN),
}
ON_MI350X = {
    "PmLogReadSample": (0, UNKNOWN),
    "PmLogGetTableVersion": (0, UNKNOWN),
    "SetPhaseDetectCSBWThreshold": (1, OK),
    "SetPhaseDetectFreqHigh": (1, OK),
    "SetPhaseDetectFreqLow": (1, OK),
    "SetPhaseDetectDownHysterisis": (1, OK),
    "SetPhaseDetectAlphaX1e6": (1, OK),
    "SetPhaseDetectOnOff": (1, OK),
    "GetPhaseDetectResidency": (0, OK),
    "UpdatePccWaitDecMaxStr": (1, OK),
    "GetRasTableVersion": (0, OK),
    "GetBadPageCount": (0, OK),
    "GetBadPageMcaAddress": (0, FAILED),
    "SetTimestamp": (1, OK),
    "SetTimestampHi": (0, OK),
    "GetTimestamp": (0, OK),
    "GetBadPageIpIdLoHi": (0, FAILED),
    "EraseRasTable": (0, OK),
    "GetStaticMetricsTable": (0, OK),
    "ResetVfArbitersByIndex": (0, PREREQUISITE),
    "GetSystemMetricsTable": (0, OK),
    "GetSystemMetricsVersion": (0, OK),
    "ResetVCN": (1, OK),
    "SetFastPptLimit": (1100, OK),
    "GetFastPptLimit": (0, OK),
}
EXPECTED = {"mi300x": ON_BOTH | ON_MI300X, "mi350x": ON_BOTH | ON_MI350X}
ROWS = [(part, name) for part, table in EXPECTED.items() for name in table]


def ready(part: str = "mi350x") -> Host:
    gpu = host(part)
    gpu.table_at()
    return gpu


@BOTH
def test_message_rows_cover_the_whole_table(part: str) -> None:
    assert set(EXPECTED[part]) == {message.name for message in TABLES[part].Message}


@pytest.mark.parametrize(("part", "name"), ROWS)
def test_message_is_answered_with_its_code(part: str, name: str) -> None:
    argument, response = EXPECTED[part][name]
    gpu = ready(part)
    number = TABLES[part].Message[name].value
    assert gpu.message(number, argument)[0] == response
    assert gpu.gpu.unknown_accesses == ({("smu-message", number): 1} if response == UNKNOWN else {})


@BOTH
def test_message_beyond_the_table_is_unknown_and_its_argument_stays(part: str) -> None:
    gpu = host(part)
    assert gpu.message(0x77, 5) == (UNKNOWN, 5)


@BOTH
def test_boot_messages_of_the_kernel_are_answered_in_order(part: str) -> None:
    """research/amdgpu-on-model.md item 31, from a cold GPU."""
    gpu = host(f"{part}?state=cold")
    assert gpu.ask(4)
    assert gpu.ask(2) == CHIPS[part].pmfw_version
    assert (gpu.ask(0xB), gpu.ask(0xC)) == (0, 0)
    gpu.table_at()
    gpu.ask(0xF, 0x80)
    gpu.ask(0x10, 0x1000)
    gpu.ask(5)
    features = gpu.ask(0xC) << 32 | gpu.ask(0xB)
    names = TABLES[part].FEATURE_LIST_e
    for wanted in ("FEATURE_DATA_CALCULATION", "FEATURE_DPM_FCLK", "FEATURE_DPM_GFXCLK", "FEATURE_DPM_XGMI"):
        assert features >> names[wanted] & 1
    assert gpu.ask(0x33) > gpu.ask(0x32) > 0
    assert gpu.ask(0x17, 0x400FF) == 3
    assert (gpu.ask(0x38, 1), gpu.ask(0x38, 3), gpu.ask(0x38, 4)) == (115, 115, 110)
    assert (gpu.ask(0x35, 1), gpu.ask(0x35, 2)) == (100, 95)
    gpu.clock.sleep(0.01)
    gpu.ask(9)
    assert gpu.ask(0x36) == gpu.ask(0x3A) == 0
    gpu.ask(0x34)
    assert gpu.gpu.wrongs == []
    assert not gpu.gpu.unknown_accesses


def test_features_are_off_when_disabled_and_cpu_features_never_on() -> None:
    gpu = ready("mi300x")
    names = structs_smu_13_0_6.FEATURE_LIST_e
    features = gpu.ask(0xC) << 32 | gpu.ask(0xB)
    assert features >> names.FEATURE_PPT & 1
    assert not features >> names.FEATURE_CC6 & 1
    assert not features >> names.FEATURE_GFXOFF & 1
    gpu.ask(6)
    assert (gpu.ask(0xB), gpu.ask(0xC)) == (0, 0)


# Clocks.


@BOTH
@pytest.mark.parametrize("clock", range(6))
def test_clock_levels_rise_from_the_smallest_to_the_largest(part: str, clock: int) -> None:
    gpu = host(part)
    last = gpu.ask(0x17, clock << 16 | 0xFF)
    levels = [gpu.ask(0x17, clock << 16 | index) for index in range(last + 1)]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (gpu.ask(0x15, clock << 16), gpu.ask(0x16, clock << 16))
    assert gpu.message(0x17, clock << 16 | last + 1)[0] == FAILED


@pytest.mark.parametrize("number", [0x13, 0x14, 0x15, 0x16, 0x17])
def test_clock_that_does_not_exist_is_refused(number: int) -> None:
    gpu = host("mi350x")
    assert gpu.message(number, 6 << 16)[0] == FAILED
    assert gpu.gpu.wrongs == [f"smu: message {number:#x} (0x60000): there is no clock 6"]


def test_soft_limits_are_brought_into_the_range_of_the_clock() -> None:
    gpu = host("mi350x")
    gpu.ask(0x13, UCLK << 16 | 9)
    assert gpu.gpu.smu.soft_lowest[UCLK] == 900
    gpu.ask(0x13, UCLK << 16 | 1700)
    assert gpu.gpu.smu.soft_lowest[UCLK] == 1700
    gpu.ask(0x30, 500)
    gpu.ask(0x31, 9999)
    assert gpu.gpu.smu.gfx_range == (500, 2200)
    gpu.ask(0x31, 300)
    assert gpu.gpu.smu.gfx_range == (300, 300)


def test_determinism_caps_the_graphics_clock_until_it_is_off() -> None:
    gpu = host("mi300x")
    gpu.ask(0x26, 1700)
    assert gpu.gpu.smu.gfx_range == (132, 1700)
    assert gpu.message(0x26, 2500)[0] == FAILED
    gpu.ask(0x27)
    assert gpu.gpu.smu.gfx_range == (132, 2100)


# Limits and settings.


def test_power_limit_is_told_and_bounded() -> None:
    gpu = host("mi300x")
    assert gpu.ask(0x19) == 750
    gpu.ask(0x18, 500)
    assert gpu.ask(0x19) == 500
    for watts in (0, 751):
        assert gpu.message(0x18, watts)[0] == FAILED
    assert gpu.ask(0x19) == 500
    assert gpu.gpu.wrongs[0] == "smu: message 0x18 (0x0): the limit is at most 750 W"


def test_fast_power_limit_is_told_and_bounded() -> None:
    gpu = host("mi350x")
    assert gpu.ask(0x60) == 1100
    gpu.ask(0x5F, 900)
    assert gpu.ask(0x60) == 900
    assert gpu.message(0x5F, 1300)[0] == FAILED
    assert gpu.gpu.wrongs == ["smu: message 0x5f (0x514): the fast limit is 500 to 1200 W"]


@pytest.mark.parametrize(("number", "argument"), [(0x20, 2), (0x22 + 1, 2), (0x40, 0), (0x40, 3), (0x44, 4)])
def test_setting_outside_of_its_choices_is_refused(number: int, argument: int) -> None:
    gpu = host("mi350x")
    assert gpu.message(number, argument)[0] == FAILED
    assert "not one of (" in gpu.gpu.wrongs[0]


@pytest.mark.parametrize(("number", "argument"), [(0x38, 2), (0x38, 5), (0x35, 0), (0x35, 3)])
def test_temperature_limit_that_does_not_exist_is_refused(number: int, argument: int) -> None:
    gpu = host("mi300x")
    assert gpu.message(number, argument)[0] == FAILED
    assert gpu.gpu.wrongs == [f"smu: message {number:#x} ({argument:#x}): there is no limit {argument}"]


def test_hysteresis_and_time_are_remembered() -> None:
    gpu = host("mi350x")
    gpu.ask(0x22, 12)
    assert gpu.ask(0x21) == 12
    gpu.ask(0x53, 1_800_000_000)
    gpu.clock.sleep(5)
    assert gpu.ask(0x55) == 1_800_000_005


# Engines.


def test_sdma_reset_reaches_the_engines_of_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = host("mi350x")
    masks: list[int] = []
    monkeypatch.setattr(gpu.gpu.sdma, "reset_engines", masks.append)
    gpu.ask(0x4D, 1 << 5 | 1 << 15)
    assert masks == [1 << 5 | 1 << 15]
    assert gpu.message(0x4D, 0)[0] == gpu.message(0x4D, 1 << 16)[0] == FAILED
    assert gpu.gpu.wrongs[0] == "smu: message 0x4d (0x0): there are 16 engines"


def test_vcn_reset_of_a_decoder_that_does_not_exist_is_refused() -> None:
    gpu = host("mi350x")
    assert gpu.message(0x5E, 0x10)[0] == FAILED
    assert gpu.gpu.wrongs == ["smu: message 0x5e (0x10): there are 4 decoders"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0x24, "GFXOFF is not enabled"),
        (0x28, "nobody told where the trace should go"),
        (0x2E, "no mode2 reset came before"),
        (0x2F, "there are no virtual functions"),
        (0x37, "there is no error bank"),
        (0x51, "there is no bad page"),
    ],
)
def test_refusal_is_recorded_with_its_reason(number: int, text: str) -> None:
    gpu = host("mi350x")
    gpu.message(number, 0)
    assert gpu.gpu.wrongs == [f"smu: message {number:#x} (0x0): {text}"]


# The mailbox itself.


def test_message_before_the_last_answer_is_ignored_and_recorded() -> None:
    gpu = host("mi350x")
    gpu.write(SMU + 90, 0)
    gpu.write(SMU + 66, 2)
    gpu.write(SMU + 66, 4)
    gpu.clock.sleep(0.01)
    assert gpu.read(SMU + 82) == gpu.gpu.chip.pmfw_version
    assert gpu.gpu.wrongs == ["smu: message 0x4 before the answer to the last one: ignored"]


def test_message_over_a_standing_response_is_recorded() -> None:
    gpu = host("mi350x")
    gpu.write(SMU + 66, 2)
    assert gpu.read(SMU + 90) == 1
    assert gpu.gpu.wrongs == ["smu: message 0x2 while the response of the last one still stands"]


def test_smu_busy_answers_busy_to_everything() -> None:
    gpu = host("mi350x")
    gpu.gpu.smu.busy = True
    assert gpu.message(2)[0] == gpu.message(0x77)[0] == BUSY
    gpu.gpu.smu.busy = False
    assert gpu.message(2)[0] == OK


def test_smu_refuses_a_message_and_answers_the_others() -> None:
    gpu = host("mi350x")
    gpu.gpu.smu.refuses.add(0x5)
    assert gpu.message(5)[0] == FAILED
    assert gpu.message(2)[0] == OK


def test_smu_falls_silent_with_a_message_under_way() -> None:
    gpu = host("mi350x")
    gpu.write(SMU + 90, 0)
    gpu.write(SMU + 66, 2)
    gpu.gpu.smu.fall_silent()
    gpu.clock.sleep(10)
    assert gpu.read(SMU + 90) == 0


def test_device_lost_at_the_first_message_is_gone() -> None:
    gpu = host("mi350x")
    gpu.gpu.lost_during = "smu"
    gpu.write(SMU + 66, 2)
    assert gpu.read(SMU + 90) == 0xFFFFFFFF


def test_power_on_while_a_message_is_under_way_forgets_it() -> None:
    gpu = host("mi350x")
    gpu.write(SMU + 90, 0)
    gpu.write(SMU + 82, 7)
    gpu.write(SMU + 66, 1)
    gpu.gpu.power_on()
    gpu.clock.sleep(1)
    assert (gpu.read(SMU + 90), gpu.read(SMU + 82)) == (1, 0)
