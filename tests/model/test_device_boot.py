"""A GPU of the model is started, closed, interrupted and started again; with AMD's own firmware."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from amdriver import firmware_set
from amdriver.device import MAGIC, STEPS, WRITE_STEPS, Device, Sick, StartState
from amdriver.memory import DmaMemory
from amdriver.psp import BootloaderRefused, CommandRefused
from amdriver.ring import QueueStuck
from amdriver.smu import SmuBusy, SmuRefused, SmuSilent
from base.clock import VirtualClock
from base.errors import DeviceLost, GpumendError, Refused, Unavailable, WaitTimeout
from base.findings import Action
from gpumodel import open_models
from pcibus.transport import Transport

COLD_STEPS = [step for step in STEPS if step != "stop"]
REG5, REG6, REG7 = 0x30114, 0x30118, 0x3011C


class Bench:
    """One GPU of a model, and how often it was accessed."""

    def __init__(self, spec: str, firmware_dir: Path, index: int = 0) -> None:
        self.clock = VirtualClock()
        self.transports: Sequence[Transport] = open_models(spec, self.clock)
        self.transport = self.transports[index]
        self.firmware_dir = firmware_dir
        self.accesses: Counter[str] = Counter()
        self._last: tuple[object, ...] = ()

    def open(self, **more: Any) -> Device:
        return Device.open(self.transport, self.clock, firmware_dirs=[self.firmware_dir], **more)

    def register(self, offset: int) -> int:
        return self.transport.read32(5, offset)

    def count(self) -> None:
        """From now on: reads and writes of BARs. A poll counts once, as on a device that answers at once."""
        for name in ("read32", "read64", "read_block", "write32", "write64", "write_block"):
            setattr(self.transport, name, self._counted(getattr(self.transport, name), name.rstrip("0123456789")))

    def _counted(self, call: Any, name: str) -> Any:
        kind = name.partition("_")[0]

        def counted(*arguments: Any) -> Any:
            again = kind == "read" and self._last == (name, *arguments)
            self._last = (name, *arguments)
            self.accesses[kind] += not again
            return call(*arguments)

        return counted


@pytest.fixture
def cold(firmware_dir: Path) -> Bench:
    return Bench("mi300x?state=cold", firmware_dir)


def leaked(device: Device) -> tuple[object, ...]:
    return (*device.gmc.live, *device.gmc.vram.live)


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_boot_from_cold_takes_every_step_and_closes_clean(part: str, firmware_dir: Path) -> None:
    bench = Bench(f"{part}?state=cold", firmware_dir)
    before = bench.transport.config_read(4, 2)
    with bench.open() as device:
        assert device.start_state is StartState.COLD
        assert device.steps == COLD_STEPS
        assert (bench.register(REG6), bench.register(REG7)) == (1, MAGIC)
        assert bench.register(REG5) == device.firmware.crc
        assert bench.transport.config_read(4, 2) & 0x406 == 0x406
        assert device.smu.version
        assert device.notes == []
    assert bench.register(REG6) == 0
    assert bench.transport.config_read(4, 2) == before
    assert leaked(device) == ()
    assert device.left == ()
    device.close()  # once more changes nothing


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_boot_after_a_clean_close_keeps_the_firmware(part: str, firmware_dir: Path) -> None:
    bench = Bench(f"{part}?state=cold", firmware_dir)
    bench.open().close()
    with bench.open() as device:
        assert device.start_state is StartState.CLEAN
        assert device.reused_firmware
        assert "psp-bootloader" not in device.steps
        assert "stop" not in device.steps


def test_boot_after_a_clean_close_with_other_firmware_loads_it(cold: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cold.open().close()
    monkeypatch.setattr(firmware_set.FirmwareSet, "crc", 0x1234)
    with cold.open() as device:
        assert device.start_state is StartState.CLEAN
        assert not device.reused_firmware
        assert cold.register(REG5) == 0x1234


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_boot_of_a_gpu_that_another_driver_had_stops_everything_first(part: str, firmware_dir: Path) -> None:
    bench = Bench(f"{part}?state=used", firmware_dir)
    with bench.open() as device:
        assert device.start_state is StartState.DIRTY
        assert device.steps == [step for step in STEPS if step not in ("psp-bootloader", "psp-sos")]
        assert not device.reused_firmware
    with bench.open() as device:
        assert device.start_state is StartState.CLEAN


@pytest.mark.parametrize(
    ("part", "end"), [("mi300x", ": amdgpu would reset the GPU to load it"), ("mi350x", "the file has 0x00001234")]
)
def test_boot_over_another_secure_os_than_the_files_goes_on_and_says_so(
    part: str, end: str, firmware_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware_set.FirmwareSet, "sos_version", 0x1234)
    with Bench(f"{part}?state=used", firmware_dir).open() as device:
        (note,) = device.notes
        assert "the file has 0x00001234" in note
        assert note.endswith(end)


def test_boot_switches_off_sdma_rings_that_another_driver_left_on(firmware_dir: Path) -> None:
    bench = Bench("mi350x?state=used", firmware_dir)
    model: Any = bench.transport
    registers = model.gpu.registers
    controls = [f"SDMA[{engine}].SDMA_{ring}_RB_CNTL" for engine, ring in ((0, "PAGE"), (3, "RLC0"), (15, "RLC7"))]
    for control in controls:
        registers.set(control, 0x1017)
    with bench.open() as device:
        assert device.start_state is StartState.DIRTY
        assert [registers.get(control) for control in controls] == [0x1016] * 3


@pytest.mark.parametrize("spec", ["mi300x?state=cold", "mi350x?state=used", "mi350x*2?state=cold"])
def test_boot_and_close_do_nothing_that_the_model_calls_wrong(spec: str, firmware_dir: Path) -> None:
    bench = Bench(spec, firmware_dir)
    for _ in range(2):
        bench.open().close()
    gpu: Any = bench.transport
    assert gpu.gpu.wrongs == []
    assert dict(gpu.gpu.registers.unknown) == {}


def test_boot_names_what_its_users_had_not_freed(cold: Bench) -> None:
    device = cold.open()
    device.gmc.alloc(8192, owner="a careless user")
    device.close()
    assert device.left == ("buffer a careless user of 0x2000 bytes",)
    assert leaked(device) == ()


class Killed(BaseException):
    """Stands for a signal: nothing after it is run, as far as a test can do that in one process."""


@pytest.mark.parametrize("step", STEPS)
def test_boot_interrupted_at_any_step_frees_all_and_starts_again(step: str, firmware_dir: Path) -> None:
    state = "used" if step == "stop" else "cold"
    bench = Bench(f"mi300x?state={state}", firmware_dir)
    made: list[Device] = []

    def kill(name: str) -> None:
        if name == step:
            raise Killed

    device = Device(bench.transport, bench.clock, firmware_dirs=[firmware_dir], on_step=kill)
    made.append(device)
    with pytest.raises(Killed):
        device.start()
    if device.steps[-1] in WRITE_STEPS:
        assert leaked(device) == ()
    with bench.open() as again:
        wrote = step in WRITE_STEPS and step != "memory"
        assert again.start_state is (StartState.DIRTY if wrote or state == "used" else StartState.COLD)
    with bench.open() as third:
        assert third.start_state is StartState.CLEAN


def test_boot_of_a_gpu_whose_driver_was_killed_while_it_ran_is_dirty(cold: Bench) -> None:
    device = cold.open()
    device._give_up()  # all that the system does for a killed process: it drops the lock
    with cold.open() as again:
        assert again.start_state is StartState.DIRTY
        assert again.steps[3:5] == ["memory", "stop"]
    with cold.open() as third:
        assert third.start_state is StartState.CLEAN


class _Killer:
    """A clock that ends the process at the n-th pause of a step."""

    def __init__(self, clock: VirtualClock, step: str, pauses: int) -> None:
        self._clock = clock
        self._step = step
        self._left = -1
        self._pauses = pauses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    def on_step(self, name: str) -> None:
        self._left = self._pauses if name == self._step else -1

    def sleep(self, seconds: float) -> None:
        if self._left == 0:
            raise Killed
        self._left -= 1
        self._clock.sleep(seconds)


def killed_at(bench: Bench, step: str, pauses: int) -> None:
    clock: Any = _Killer(bench.clock, step, pauses)
    with pytest.raises(Killed):
        Device.open(bench.transport, clock, firmware_dirs=[bench.firmware_dir], on_step=clock.on_step)


def test_boot_interrupted_while_the_secure_os_starts_finds_it_running(cold: Bench) -> None:
    killed_at(cold, "psp-sos", 0)
    with cold.open() as again:
        assert again.start_state is StartState.DIRTY
        assert "psp-bootloader" not in again.steps


@pytest.mark.parametrize("pauses", [0, 3, 11, 17, 29, 37])
def test_boot_interrupted_among_the_components_goes_on_with_the_next(pauses: int, cold: Bench) -> None:
    killed_at(cold, "psp-bootloader", pauses)
    with cold.open() as again:
        assert again.start_state is StartState.DIRTY
        assert "psp-bootloader" in again.steps


def test_boot_interrupted_among_the_components_does_not_mix_firmware(
    cold: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(cold, "psp-bootloader", 11)
    monkeypatch.setattr(firmware_set.FirmwareSet, "crc", 0x1234)
    with pytest.raises(BootloaderRefused, match="left the bootloader half way") as error:
        cold.open()
    assert error.value.__dict__["action"] is Action.MODE1


def test_boot_costs_no_more_register_accesses_than_tinygrads(cold: Bench) -> None:
    cold.count()
    with cold.open():
        assert cold.accesses["read"] <= 241
        assert cold.accesses["write"] <= 1540


def test_boot_of_eight_side_by_side_takes_hardly_longer_than_one(firmware_dir: Path) -> None:
    one = Bench("mi300x?state=cold", firmware_dir)
    one.open().close()
    bench = Bench("mi300x*8?state=cold", firmware_dir)

    def boot(transport: Transport) -> Device:
        return Device.open(transport, bench.clock, firmware_dirs=[firmware_dir])

    outcomes = bench.clock.run_together([partial(boot, transport) for transport in bench.transports])
    devices = [outcome.unwrap() for outcome in outcomes]
    assert bench.clock.now() <= 1.25 * one.clock.now()
    assert len({device.xgmi.node_id for device in devices if device.xgmi}) == 8
    assert len({device.xgmi.hive_id for device in devices if device.xgmi}) == 1
    for device in devices:
        device.close()
        assert device.left == ()


def test_boot_opened_twice_is_refused(cold: Bench) -> None:
    with cold.open(), pytest.raises(Refused):
        cold.open()


def test_boot_without_firmware_names_the_files_and_touches_nothing(cold: Bench, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="firmware-amd-graphics") as error:
        Device.open(cold.transport, cold.clock, firmware_dirs=[tmp_path])
    assert "psp_13_0_6_sos.bin" in error.value.seen
    assert cold.register(REG7) == 0


def test_boot_with_a_feature_that_needs_newer_firmware_touches_nothing(cold: Bench) -> None:
    with cold.open(features=["queue-reset"]) as device:
        assert device.firmware.supports("queue-reset")
    bench = Bench("mi350x?state=cold", cold.firmware_dir)
    with pytest.raises(firmware_set.FirmwareTooOld):
        bench.open(features=["cleaner-shader"])
    assert bench.register(REG7) == 0


# ---------------------------------------------------------------- faults


SICK = [
    ("discovery-clobbered", "amd.discovery.signature", Action.MODE1),
    ("discovery-zeros", "amd.discovery.signature", Action.MODE1),
    ("discovery-ones", "amd.discovery.signature", Action.MODE1),
    ("discovery-bitflip", "amd.discovery.checksum", Action.MODE1),
    ("bar-dead", "amd.discovery.unreadable", Action.RESTORE_CONFIG),
    ("smu-silent", "amd.smu.silent", Action.BUS_RESET),
    ("ras-fatal", "amd.ras.fatal", Action.MODE1),
]


@pytest.mark.parametrize(
    ("state", "fault", "code", "action"),
    [
        *(("cold", *row) for row in SICK),
        *(("used", *row) for row in SICK),
        ("cold", "bootloader-silent", "amd.psp.bootloader", Action.BUS_RESET),
    ],
)
def test_boot_of_a_sick_gpu_is_refused_with_the_action(
    state: str, fault: str, code: str, action: Action, firmware_dir: Path
) -> None:
    bench = Bench(f"mi300x?state={state}&fault={fault}", firmware_dir)
    with pytest.raises(Sick) as error:
        bench.open()
    assert (error.value.finding_code, error.value.action) == (code, action)
    assert bench.clock.now() < 5


def test_boot_of_a_sick_member_of_a_hive_asks_for_a_reset_of_all(firmware_dir: Path) -> None:
    bench = Bench("mi300x*8?state=used&fault=ras-fatal@2", firmware_dir, index=2)
    with pytest.raises(Sick) as error:
        bench.open()
    assert error.value.action is Action.HIVE_RESET
    Device.open(bench.transports[3], bench.clock, firmware_dirs=[firmware_dir]).close()


def test_boot_that_fails_in_a_hive_asks_for_a_reset_of_all(firmware_dir: Path) -> None:
    bench = Bench("mi300x*2?state=used&fault=psp-refuses:tmr", firmware_dir)
    with pytest.raises(CommandRefused) as error:
        bench.open()
    assert error.value.__dict__["action"] is Action.HIVE_RESET
    assert "hive-reset" in error.value.next_step


def test_boot_of_a_lost_gpu_says_so(firmware_dir: Path) -> None:
    bench = Bench("mi300x?state=cold&fault=bus-lost", firmware_dir)
    with pytest.raises(DeviceLost):
        bench.open()


FAULTS = [
    ("psp-refuses:kdb", BootloaderRefused, "psp-bootloader"),
    ("psp-refuses:spl", None, ""),
    ("psp-refuses:sys-drv", BootloaderRefused, "psp-bootloader"),
    ("psp-refuses:soc-drv", BootloaderRefused, "psp-bootloader"),
    ("psp-refuses:intf-drv", BootloaderRefused, "psp-bootloader"),
    ("psp-refuses:dbg-drv", BootloaderRefused, "psp-bootloader"),
    ("psp-refuses:ras-drv", BootloaderRefused, "psp-bootloader"),
    ("psp-refuses:sos", BootloaderRefused, "psp-sos"),
    ("psp-refuses:tmr", CommandRefused, "psp-tmr"),
    ("psp-refuses:sdma", CommandRefused, "psp-firmware"),
    ("psp-refuses:mec", CommandRefused, "psp-firmware"),
    ("psp-refuses:mec-jt", CommandRefused, "psp-firmware"),
    ("psp-refuses:rlc-cntl", CommandRefused, "psp-firmware"),
    ("psp-refuses:rlc-gpm", CommandRefused, "psp-firmware"),
    ("psp-refuses:rlc-srm", CommandRefused, "psp-firmware"),
    ("psp-refuses:rlc-g", CommandRefused, "psp-firmware"),
    ("psp-refuses:reg-list", CommandRefused, "psp-firmware"),
    ("psp-refuses:ta", CommandRefused, "psp-ta"),
    ("psp-ring-dead", WaitTimeout, "psp-tmr"),
    ("smu-refuses:GetSmuVersion", SmuRefused, "smu"),
    ("smu-refuses:EnableAllSmuFeatures", SmuRefused, "smu"),
    ("smu-busy", SmuBusy, "smu"),
    ("tlb-ack-missing", WaitTimeout, "gmc"),
    ("rlc-stuck", WaitTimeout, "gfx"),
    ("kiq-dead", QueueStuck, "gfx"),
    ("sdma-halted", QueueStuck, "sdma"),
    ("sdma-halted:3", QueueStuck, "sdma"),
    ("ih-overflow", None, ""),
]


@pytest.mark.parametrize(("fault", "kind", "step"), FAULTS, ids=[fault for fault, _, _ in FAULTS])
def test_boot_with_a_fault_ends_in_bounded_time_and_leaks_nothing(
    fault: str, kind: type[GpumendError] | None, step: str, firmware_dir: Path
) -> None:
    bench = Bench(f"mi300x?state=cold&fault={fault}", firmware_dir)
    device = Device(bench.transport, bench.clock, firmware_dirs=[firmware_dir])
    if kind is None:
        device.start()
        device.close()
        return
    with pytest.raises(kind) as error:
        device.start()
    assert error.value.__dict__["step"] == step
    assert f"step {step}" in error.value.where
    assert error.value.next_step
    assert isinstance(error.value.__dict__["action"], Action)
    assert bench.clock.now() < 10
    assert leaked(device) == ()
    assert not bench.transport.config_read(4, 2) & 4, "the bus master is off"
    assert (bench.register(REG6), bench.register(REG7)) == (1, MAGIC)


STAGES = ("bootloader", "sos", "psp-ring", "tmr", "firmware", "ta", "smu", "gmc", "ih", "rlc", "kiq", "sdma")


@pytest.mark.parametrize("stage", STAGES)
def test_boot_of_a_gpu_that_is_lost_on_the_way_says_so(stage: str, firmware_dir: Path) -> None:
    bench = Bench(f"mi300x?state=cold&fault=lost-during:{stage}", firmware_dir)
    device = Device(bench.transport, bench.clock, firmware_dirs=[firmware_dir])
    with pytest.raises(DeviceLost) as error:
        device.start()
    assert error.value.__dict__["step"] in WRITE_STEPS
    assert leaked(device) == ()
    assert bench.clock.now() < 5, "nobody waits minutes for a device that is gone"
    with pytest.raises(DeviceLost):
        bench.open()


def test_boot_closes_the_memory_of_this_machine_too(cold: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[DmaMemory] = []
    original = DmaMemory.__init__

    def remember(self: DmaMemory, *arguments: Any, **more: Any) -> None:
        made.append(self)
        original(self, *arguments, **more)

    monkeypatch.setattr(DmaMemory, "__init__", remember)

    def stop(name: str) -> None:
        if name == "marks":
            raise Killed

    with pytest.raises(Killed):
        cold.open(on_step=stop)
    assert made
    for memory in made:
        with pytest.raises(GpumendError):
            memory.read(0, 4)


def test_boot_of_the_smu_that_falls_silent_later_asks_for_a_bus_reset(cold: Bench) -> None:
    device = cold.open()
    monkey = device.smu.regs.MP1_SMN_C2PMSG_90
    silent = type(monkey)(_Silent(monkey), monkey.address, monkey.kind, monkey.name)
    device.smu.regs.__dict__["MP1_SMN_C2PMSG_90"] = silent
    with pytest.raises(SmuSilent):
        device.close()
    assert cold.register(REG6) == 1
    with cold.open() as again:
        assert again.start_state is StartState.DIRTY


class _Silent:
    """A register bus on which nobody answers."""

    def __init__(self, like: Any) -> None:
        self._bus = like.bus

    def read(self, address: int) -> int:
        return 0

    def write(self, address: int, value: int) -> None:
        """Goes nowhere."""

    def where(self, address: int) -> str:
        return str(self._bus.where(address))
