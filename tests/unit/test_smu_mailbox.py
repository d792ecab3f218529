"""SMU: one message, one answer, or why there is none; against a mailbox of a few lines."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from amdriver.smu import Smu, SmuBusy, SmuHung, SmuRefused, SmuSilent
from base.clock import VirtualClock
from base.errors import DeviceLost, UsageError, WaitTimeout
from tests import boot_fakes as fakes
from tests.boot_fakes import MI350X, FakeGmc, FakeTransport

MESSAGE, ARGUMENT, RESPONSE = 0x58A08, 0x58A48, 0x58A68
FLAGS = 0x03B10028


class Mailbox:
    """Answers each message with a code and a result; `work` may do more."""

    def __init__(self, *, mp1: tuple[int, int, int] = (13, 0, 6)) -> None:
        self.clock = VirtualClock()
        self.transport = FakeTransport(MI350X if mp1 == (13, 0, 12) else fakes.MI300X)
        self.transport.registers[RESPONSE] = 1
        self.transport.smn[FLAGS] = 1
        self.transport.on_write[MESSAGE] = self._run
        self.codes: list[int] = []  # answers, one each; then 1
        self.result = 0x00557900
        self.silent = False
        self.sent: list[tuple[int, int]] = []
        self.work: Callable[[int, int], None] = lambda number, argument: None
        self.gmc = FakeGmc(self.transport)
        gpu = fakes.fake_gpu(self.transport, fakes.ip_map(mp=mp1), self.clock)
        self.smu = Smu(gpu, self.gmc.as_gmc)
        self.smu.sw_init()

    def _run(self, number: int) -> None:
        argument = self.transport.registers[ARGUMENT]
        self.sent.append((number, argument))
        if self.silent:
            return
        code = self.codes.pop(0) if self.codes else 1
        self.transport.registers[RESPONSE] = code
        if code == 1:
            self.work(number, argument)
            self.transport.registers[ARGUMENT] = self.result


@pytest.fixture
def box() -> Mailbox:
    return Mailbox()


def test_smu_message_writes_the_number_last_and_gives_the_result(box: Mailbox) -> None:
    assert box.smu.message("GetSmuVersion", 5) == 0x00557900
    assert box.transport.writes() == [(RESPONSE, 0), (ARGUMENT, 5), (MESSAGE, 2)]


def test_smu_hw_init_asks_version_sets_table_enables_features(box: Mailbox) -> None:
    box.smu.hw_init()
    table = fakes.MC_BASE + (1 << 20)
    assert box.smu.version == 0x00557900
    assert box.sent == [(2, 0), (0xD, table >> 32), (0xE, table & 0xFFFFFFFF), (5, 0)]


def test_smu_hw_fini_announces_the_unload_and_memory_goes_back(box: Mailbox) -> None:
    box.smu.hw_fini()
    box.smu.sw_fini()
    box.smu.sw_fini()
    assert box.sent == [(0x34, 0)]
    assert box.gmc.live == []


@pytest.mark.parametrize(
    ("code", "words"), [(0xFF, "failed"), (0xFE, "unknown message"), (0xFD, "a prerequisite is missing")]
)
def test_smu_refusal_is_no_timeout(box: Mailbox, code: int, words: str) -> None:
    box.codes = [code]
    with pytest.raises(SmuRefused) as error:
        box.smu.message("ResetSDMA", 1)
    assert (error.value.message, error.value.code) == ("ResetSDMA", code)
    assert f"response {code:#x} ({words})" in str(error.value)
    assert box.clock.now() < 0.01
    assert box.smu.message("GetSmuVersion")  # and the mailbox works on


def test_smu_busy_for_a_while_is_tried_again(box: Mailbox) -> None:
    box.codes = [0xFC, 0xFC, 0xFC]
    assert box.smu.message("GetSmuVersion") == 0x00557900
    assert len(box.sent) == 4


def test_smu_busy_for_ever_ends_in_bounded_time(box: Mailbox) -> None:
    box.codes = [0xFC] * 100_000
    with pytest.raises(SmuBusy, match=r"SMU message GetSmuVersion \(0x0\)"):
        box.smu.message("GetSmuVersion")
    assert 2 <= box.clock.now() < 2.1
    assert len(box.sent) < 1000


def test_smu_silent_ends_after_the_kernels_limit_and_names_the_register(box: Mailbox) -> None:
    box.silent = True
    with pytest.raises(SmuSilent) as error:
        box.smu.message("GetMetricsTable")
    assert error.value.doing == "SMU message GetMetricsTable (0x0)"
    assert "MP1[0].MP1_SMN_C2PMSG_90 @ BAR5+0x58a68" in error.value.where
    assert "bus-reset" in error.value.next_step
    assert 2 <= box.clock.now() < 2.1


def test_smu_mailbox_with_somebodys_message_is_waited_for(box: Mailbox) -> None:
    box.transport.registers |= {RESPONSE: 0, MESSAGE: 3}
    with pytest.raises(SmuSilent, match="waiting for the SMU before GetSmuVersion"):
        box.smu.message("GetSmuVersion")
    assert box.sent == []


def test_smu_mailbox_never_used_needs_no_wait(box: Mailbox) -> None:
    box.transport.registers[RESPONSE] = 0
    assert box.smu.message("GetSmuVersion") == 0x00557900
    assert box.clock.now() < 0.01


@pytest.mark.parametrize("code", [2, 0xFB, 0xDEAD])
def test_smu_answer_that_is_none_counts_as_hung_from_then_on(box: Mailbox, code: int) -> None:
    box.codes = [code]
    with pytest.raises(SmuHung, match="which is none"):
        box.smu.message("GetSmuVersion")
    with pytest.raises(SmuHung, match="not sent"):
        box.smu.message("GetSmuVersion")
    assert len(box.sent) == 1


def test_smu_all_ones_from_a_lost_device_is_device_lost(box: Mailbox) -> None:
    box.work = lambda number, argument: None
    box.transport.on_write[MESSAGE] = lambda value: setattr(box.transport, "lost", True)
    with pytest.raises(DeviceLost):
        box.smu.message("GetSmuVersion")


def test_smu_firmware_not_running_is_told_before_a_message_is_sent(box: Mailbox) -> None:
    box.transport.smn[FLAGS] = 0
    with pytest.raises(SmuSilent, match="looking for the power firmware"):
        box.smu.hw_init()
    assert box.sent == []


def test_smu_message_that_this_version_lacks_is_a_usage_error() -> None:
    six, twelve = Mailbox(), Mailbox(mp1=(13, 0, 12))
    with pytest.raises(UsageError, match="'GetTimestamp'") as error:
        six.smu.message("GetTimestamp")
    assert error.value.expected == "a message that MP1 13.0.6 has"
    twelve.smu.message("GetTimestamp")
    assert twelve.sent == [(0x55, 0)]
    assert (six.smu.number("ResetVCN"), twelve.smu.number("ResetVCN")) == (0x5B, 0x5E)


def test_smu_argument_beyond_32_bits_is_refused_before_it_is_sent(box: Mailbox) -> None:
    with pytest.raises(UsageError, match="argument of 32 bits"):
        box.smu.message("GetPptLimit", 1 << 32)
    assert box.sent == []


def test_smu_features_are_64_bits(box: Mailbox) -> None:
    def work(number: int, argument: int) -> None:
        box.result = {0xC: 0x3FFF, 0xB: 0xFFFF_0001}[number]

    box.work = work
    assert box.smu.features() == 0x3FFF_FFFF_0001


def test_smu_metrics_are_read_when_the_smu_has_filled_them(box: Mailbox) -> None:
    filled = 0

    def work(number: int, argument: int) -> None:
        nonlocal filled
        filled += number == 9
        if filled == 3:
            box.transport.poke(1 << 20, struct.pack("<II", 77, 45 << 10))

    box.work = work
    told = box.smu.metrics()
    assert (told.AccumulationCounter, told.MaxSocketTemperature >> 10) == (77, 45)


def test_smu_metrics_never_filled_end_in_bounded_time(box: Mailbox) -> None:
    with pytest.raises(WaitTimeout, match="AccumulationCounter=0"):
        box.smu.metrics()
    assert box.clock.now() < 0.2


def test_smu_metrics_of_13_0_12_have_their_own_table() -> None:
    box = Mailbox(mp1=(13, 0, 12))
    box.work = lambda number, argument: box.transport.poke(1 << 20, struct.pack("<QI", 5, 50 << 10))
    assert box.smu.metrics().MaxSocketTemperature >> 10 == 50
