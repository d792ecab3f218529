"""Which state a GPU is in is told before anything is written; who may open it; what a sick one is refused with."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import cast

import pytest

from amdriver import device as device_module
from amdriver.device import MAGIC, Device, Sick, StartState
from amdriver.firmware_set import FirmwareSet
from amdriver.gmc import Gmc
from amdriver.ih import Ih
from amdriver.nbio import Nbio
from amdriver.ownership import Owned
from amdriver.psp import Psp
from amdriver.smu import Smu
from base.clock import VirtualClock
from base.errors import DeviceLost, GpumendError, Refused
from base.findings import Action
from tests import boot_fakes as fakes
from tests.boot_fakes import C35, C81, READY, FakeGmc, FakeTransport

REG6, REG7 = 0x30118, 0x3011C
IH_CNTL, IH_BASE_1 = 0x4480, 0x44B4
C33, RAS, LFB = 0x58184, 0x3878, 0xA55C
SMU_MESSAGE, SMU_RESPONSE, SMU_FLAGS = 0x58A08, 0x58A68, 0x03B10028


class Bench:
    """A device with its blocks made, just before the start state is judged."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.transport.registers |= {C33: READY, C35: READY, SMU_RESPONSE: 1}
        self.transport.smn[SMU_FLAGS] = 1
        self.clock = VirtualClock()
        self.device = Device(self.transport, self.clock)
        self.gmc = FakeGmc(self.transport)
        gpu = self.device.gpu = fakes.fake_gpu(self.transport, clock=self.clock)
        self.device.nbio = Nbio(gpu)
        self.device.gmc = cast(Gmc, self.gmc)
        self.device.ih = Ih(gpu, self.device.gmc)
        self.device.smu = Smu(gpu, self.device.gmc)
        self.device.psp = Psp(gpu, self.device.gmc, cast(FirmwareSet, None))

    def judge(self) -> StartState:
        self.device._judge()
        return self.device.start_state

    def written(self) -> list[tuple[int, int]]:
        index = (fakes.INDEX2, fakes.INDEX2_HI)
        return [(offset, value) for offset, value in self.transport.writes() if offset not in index]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("sos", "magic", "in_use", "faults", "state"),
    [
        (0, 0, 0, 0, StartState.COLD),
        (0, MAGIC, 0, 0, StartState.COLD),
        (0, MAGIC, 1, 0, StartState.DIRTY),
        (0, 0xA0000008, 1, 0, StartState.COLD),
        (1, MAGIC, 0, 0, StartState.CLEAN),
        (1, MAGIC, 1, 0, StartState.DIRTY),
        (1, MAGIC, 0, 1, StartState.DIRTY),
        (1, 0, 0, 0, StartState.DIRTY),
        (1, 0xA0000008, 0, 0, StartState.DIRTY),
    ],
)
def test_device_state_follows_secure_os_marks_and_faults(
    bench: Bench, sos: int, magic: int, in_use: int, faults: int, state: StartState
) -> None:
    bench.transport.registers |= {C81: sos, REG7: magic, REG6: in_use, IH_BASE_1: MAGIC}
    bench.gmc.latched = ["a fault"] * faults
    assert bench.judge() is state
    assert bench.written() == []
    assert str(state) == state.value


@pytest.mark.parametrize("change", [{IH_BASE_1: 0x1027100}, {IH_CNTL: 1}])
def test_device_that_amdgpu_had_since_our_close_is_dirty(bench: Bench, change: dict[int, int]) -> None:
    bench.transport.registers |= {C81: 1, REG7: MAGIC, REG6: 0, IH_BASE_1: MAGIC, **change}
    assert bench.judge() is StartState.DIRTY


def test_device_bootloader_silent_is_sick(bench: Bench) -> None:
    bench.transport.registers[C35] = 0
    with pytest.raises(Sick) as error:
        bench.judge()
    assert (error.value.finding_code, error.value.action) == ("amd.psp.bootloader", Action.BUS_RESET)
    assert "C2PMSG_35=0x00000000" in error.value.seen
    assert "gpumend reset --method bus-reset" in error.value.next_step
    assert bench.clock.now() < 3
    assert bench.written() == []


def test_device_boot_firmware_not_ready_is_sick(bench: Bench) -> None:
    bench.transport.registers[C33] = 0
    with pytest.raises(Sick, match="C2PMSG_33=0x00000000"):
        bench.judge()


def test_device_bootloader_that_gets_ready_in_time_is_waited_for(bench: Bench) -> None:
    bench.transport.on_read[C35] = lambda: READY if bench.clock.now() > 1 else 0
    assert bench.judge() is StartState.COLD


def test_device_interrupted_while_the_secure_os_started_waits_for_it(bench: Bench) -> None:
    bench.transport.registers |= {REG7: MAGIC, REG6: 1}
    bench.transport.on_read[C81] = lambda: int(bench.clock.now() > 0.05)
    assert bench.judge() is StartState.DIRTY
    assert bench.device._sos_alive
    assert bench.clock.now() < 0.13


def test_device_power_firmware_not_running_is_sick(bench: Bench) -> None:
    bench.transport.smn[SMU_FLAGS] = 0
    with pytest.raises(Sick) as error:
        bench.judge()
    assert (error.value.finding_code, error.value.action) == ("amd.smu.silent", Action.BUS_RESET)
    assert bench.written() == []


def test_device_message_that_hangs_in_the_mailbox_is_sick(bench: Bench) -> None:
    bench.transport.registers |= {SMU_RESPONSE: 0, SMU_MESSAGE: 9}
    with pytest.raises(Sick, match="an answer in C2PMSG_90"):
        bench.judge()
    assert 2 <= bench.clock.now() < 2.2
    assert bench.written() == []


def test_device_mailbox_that_was_never_used_is_not_sick(bench: Bench) -> None:
    bench.transport.registers[SMU_RESPONSE] = 0
    assert bench.judge() is StartState.COLD


@pytest.mark.parametrize(("control", "action"), [(0x00, Action.MODE1), (0x73, Action.HIVE_RESET)])
def test_device_fatal_error_is_sick_and_takes_the_hive_with_it(bench: Bench, control: int, action: Action) -> None:
    bench.transport.registers |= {RAS: 0b100, LFB: control}
    with pytest.raises(Sick) as error:
        bench.judge()
    assert (error.value.finding_code, error.value.action) == ("amd.ras.fatal", action)
    assert f"--method {action}" in error.value.next_step
    assert bench.written() == []


# ---------------------------------------------------------------- who may open it


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"driver": "amdgpu"}, "bound to amdgpu"),
        ({"device": 0x74B5}, "MI300X VF, a virtual function"),
        ({"device": 0x74A0}, "MI300A, an APU"),
        ({"sriov_vf": True}, "MI300X, a virtual function"),
        ({"device": 0x1234}, "PCI id 1002:1234"),
        ({"vendor": 0x10DE}, "PCI id 10de:74a1"),
    ],
)
def test_device_that_is_not_ours_to_start_is_refused_untouched(change: dict[str, object], seen: str) -> None:
    transport = FakeTransport()
    transport.told = replace(transport.told, **change)  # type: ignore[arg-type]
    with pytest.raises(Refused) as error:
        Device.open(transport, VirtualClock())
    assert error.value.exit_code == 3
    assert error.value.seen == seen
    assert transport.log == []


def test_device_bound_to_a_driver_says_how_to_unbind_it() -> None:
    transport = FakeTransport()
    transport.told = replace(transport.told, driver="amdgpu")
    with pytest.raises(Refused) as error:
        Device.open(transport, VirtualClock())
    assert error.value.next_step == "echo 0000:c1:00.0 > /sys/bus/pci/drivers/amdgpu/unbind"


def test_device_held_by_another_process_is_refused_with_the_holder() -> None:
    transport = FakeTransport()
    transport.held_by = "python3 (pid 77)"
    with pytest.raises(Refused, match=r"held by python3 \(pid 77\)"):
        Device.open(transport, VirtualClock())
    assert transport.log == []
    transport.held_by = None
    transport.lost = True
    with pytest.raises(DeviceLost):  # the lock was given back: now something else is in the way
        Device.open(transport, VirtualClock())


def test_device_lost_is_told_with_the_step() -> None:
    transport = FakeTransport()
    transport.lost = True
    with pytest.raises(DeviceLost) as error:
        Device.open(transport, VirtualClock())
    assert error.value.__dict__["step"] == "discovery"
    assert error.value.where == "fake, step discovery"
    assert transport.depth == 0


def test_device_without_a_discovery_table_is_sick() -> None:
    transport = FakeTransport()
    transport.registers |= {C33: READY, 0x378C: 196592}
    with pytest.raises(Sick) as error:
        Device.open(transport, VirtualClock())
    assert error.value.action is Action.MODE1
    assert error.value.finding_code == "amd.discovery.signature"
    assert "hive-reset" in error.value.next_step
    assert all(offset in (0x00, 0x18) for offset, _ in transport.writes())


def test_device_memory_decoding_is_switched_on_and_put_back_when_the_start_fails() -> None:
    transport = FakeTransport()
    transport.config[4] = 0x0000
    with pytest.raises(Sick):
        Device.open(transport, VirtualClock())
    assert [value for verb, _, _, value in transport.log if verb == "C"] == [0x0002, 0x0000]


def test_device_registers_that_read_all_ones_ask_for_the_configuration_to_be_restored() -> None:
    transport = FakeTransport()
    transport.on_read[C33] = lambda: 0xFFFFFFFF
    with pytest.raises(Sick) as error:
        Device.open(transport, VirtualClock())
    assert error.value.action is Action.RESTORE_CONFIG


def test_device_steps_are_told_before_they_are_done() -> None:
    transport = FakeTransport()
    seen: list[tuple[str, int]] = []
    with pytest.raises(GpumendError):
        Device.open(transport, VirtualClock(), on_step=lambda name: seen.append((name, len(transport.log))))
    assert seen == [("discovery", 0)]
    assert set(device_module.STEPS) >= {"discovery", "firmware", "start-state", "psp-ring", "marks"}


# ---------------------------------------------------------------- ownership


def test_owned_device_is_held_until_it_is_released() -> None:
    transport = FakeTransport()
    owned = Owned(transport)
    assert transport.depth == 1
    with owned.exclusive(), owned.exclusive():
        assert transport.depth == 1
    assert owned.holder() is None
    owned.release()
    owned.release()
    assert transport.depth == 0


def test_owned_device_opened_in_one_thread_is_used_and_released_in_another() -> None:
    transport = FakeTransport()
    made: list[Owned] = []
    thread = threading.Thread(target=lambda: made.append(Owned(transport)))
    thread.start()
    thread.join()
    with made[0].exclusive():
        assert made[0].read32(5, C35) == 0
    made[0].close()
    assert transport.depth == 0


def test_owned_device_is_not_opened_twice_in_one_process() -> None:
    transport = FakeTransport()
    owned = Owned(transport)
    with pytest.raises(Refused, match="open already, in this process"):
        Owned(transport)
    owned.release()
    Owned(transport).release()


def test_owned_device_passes_on_what_only_some_transports_have() -> None:
    transport = FakeTransport()
    owned = Owned(transport)
    try:
        assert owned.peek(0, 2) == b"\0\0"
        assert (owned.name, owned.config_size()) == ("fake", 4096)
        assert set(owned.bars()) == {0, 2, 5}
        with pytest.raises(AttributeError):
            _ = owned.no_such_thing
    finally:
        owned.release()
