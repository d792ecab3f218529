"""Every fault of the catalogue that shows while a GPU is started, on both parts: a typed error in bounded time, that names
the step and the register, leaks nothing, and leaves a GPU whose next start knows what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amdriver.device import READ_STEPS, Device, Sick, StartState
from amdriver.psp import CommandRefused
from amdriver.smu import SmuBusy, SmuRefused
from base.clock import VirtualClock
from base.errors import DeviceLost, GpumendError, Refused, WaitTimeout
from gpumodel import open_models
from gpumodel.faults import CATALOGUE, ShowsAt

LONGEST_S = 320.0  # the bootloader may train memory for 300 s; everything else is far shorter

# fault: (start states to try, error, step, text that must be in the error)
AT_START: dict[str, tuple[type[GpumendError], str, str]] = {
    "psp-refuses:kdb": (GpumendError, "psp-bootloader", "C2PMSG_35"),
    "psp-refuses:sys-drv": (GpumendError, "psp-bootloader", "C2PMSG_35"),
    "psp-refuses:soc-drv": (GpumendError, "psp-bootloader", "C2PMSG_35"),
    "psp-refuses:intf-drv": (GpumendError, "psp-bootloader", "C2PMSG_35"),
    "psp-refuses:dbg-drv": (GpumendError, "psp-bootloader", "C2PMSG_35"),
    "psp-refuses:ras-drv": (GpumendError, "psp-bootloader", "C2PMSG_35"),
    "psp-refuses:sos": (GpumendError, "psp-sos", "C2PMSG_"),
    "psp-refuses:tmr": (CommandRefused, "psp-tmr", "SETUP_TMR"),
    "psp-refuses:sdma": (CommandRefused, "psp-firmware", "LOAD_IP_FW"),
    "psp-refuses:mec": (CommandRefused, "psp-firmware", "LOAD_IP_FW"),
    "psp-refuses:rlc-g": (CommandRefused, "psp-firmware", "LOAD_IP_FW"),
    "psp-refuses:ta": (CommandRefused, "psp-ta", "LOAD_TA"),
    "psp-ring-dead": (WaitTimeout, "psp-tmr", "fence"),
    "smu-refuses:EnableAllSmuFeatures": (SmuRefused, "smu", "EnableAllSmuFeatures"),
    "smu-busy": (SmuBusy, "smu", "C2PMSG_90"),
    "tlb-ack-missing": (WaitTimeout, "gmc", "ACK"),
    "rlc-stuck": (WaitTimeout, "gfx", "RLC_SAFE_MODE"),
    "kiq-dead": (WaitTimeout, "gfx", "SCRATCH_REG0"),
    "sdma-halted:3": (WaitTimeout, "sdma", "SDMA"),
    "lost-during:bootloader": (DeviceLost, "psp-bootloader", "config space"),
    "lost-during:sos": (DeviceLost, "psp-sos", "config space"),
    "lost-during:psp-ring": (DeviceLost, "psp-ring", "config space"),
    "lost-during:tmr": (DeviceLost, "psp-tmr", "config space"),
    "lost-during:firmware": (DeviceLost, "psp-firmware", "config space"),
    "lost-during:ta": (DeviceLost, "psp-ta", "config space"),
    "lost-during:smu": (DeviceLost, "smu", "config space"),
    "lost-during:gmc": (DeviceLost, "gmc", "config space"),
    "lost-during:rlc": (DeviceLost, "gfx", "config space"),
    "lost-during:kiq": (DeviceLost, "gfx", "config space"),
    "lost-during:sdma": (DeviceLost, "sdma", "config space"),
}
REFUSED_BEFORE = ("discovery-clobbered", "discovery-zeros", "discovery-ones", "discovery-bitflip", "bootloader-silent",
                  "needs-power-cycle", "smu-silent", "ras-fatal", "bar-dead")  # fmt: skip
LEFT_BEHIND = ("mec-hang:2", "sdma-hang:5", "page-fault", "xgmi-link-down", "aer-correctable", "link-narrow",
               "ih-overflow")  # fmt: skip
AT_A_RESET = tuple(
    name for name, fault in CATALOGUE.items() if fault.shows_at in (ShowsAt.RESET, ShowsAt.WORK)
)  # nothing to see before


def start(part: str, state: str, fault: str, firmware: Path) -> tuple[Device, Any, GpumendError | None, float]:
    """A start with a fault: the device, its transport, what it came to, and the virtual time that it took."""
    clock = VirtualClock()
    (transport,) = open_models(f"{part}?state={state}" + (f"&fault={fault}" if fault else ""), clock)
    device = Device(transport, clock, firmware_dirs=[firmware])
    try:
        device.start()
    except GpumendError as error:
        return device, transport, error, clock.now()
    return device, transport, None, clock.now()


def assert_nothing_left(device: Device, transport: Any) -> None:
    assert not device.is_open
    assert transport.holder() is None
    assert transport.gpu.hive.host_memory.in_use_bytes == 0
    if hasattr(device, "gmc"):
        assert device.gmc.live == ()
    assert transport.gpu.lost or not transport.gpu.config.bus_master


def stored(transport: Any) -> dict[int, int]:
    """Registers that hold another value than after reset; index registers are written by looking, and put back."""
    values: dict[int, int] = transport.gpu.registers.values
    return {address: value for address, value in values.items() if value or address > 0x20}


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
@pytest.mark.parametrize("fault", AT_START)
def test_start_with_fault_ends_with_a_typed_error(part: str, fault: str, firmware_dir: Path) -> None:
    kind, step, text = AT_START[fault]
    device, transport, error, took_s = start(part, "cold", fault, firmware_dir)
    assert error is not None, f"{fault} did not show"
    assert isinstance(error, kind), repr(error)
    assert error.__dict__["step"] == step
    assert text in str(error), str(error)
    assert error.next_step
    assert took_s < LONGEST_S
    assert_nothing_left(device, transport)


@pytest.mark.long
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
@pytest.mark.parametrize("fault", [name for name in AT_START if not name.startswith(("lost", "psp-refuses:kdb"))])
def test_start_after_the_fault_is_gone_knows_that_it_was_interrupted(part: str, fault: str, firmware_dir: Path) -> None:
    _, transport, error, _ = start(part, "cold", fault, firmware_dir)
    assert error is not None
    gpu = transport.gpu
    gpu.psp.refuses.clear()
    gpu.psp.ring_dead = False
    gpu.smu.refuses.clear()
    gpu.smu.busy = gpu.gmc.ack_missing = gpu.gfx.rlc_stuck = gpu.gfx.kiq_dead = False
    gpu.sdma.never_starts.clear()
    if AT_START[fault][1] in ("psp-bootloader", "psp-sos"):
        # The error stays in the mailbox until boot firmware runs again: the next start refuses, and says what helps.
        with pytest.raises(Sick) as caught:
            Device.open(transport, gpu.clock, firmware_dirs=[firmware_dir])
        assert (caught.value.finding_code, str(caught.value.action)) == ("amd.psp.bootloader", "bus-reset")
        return
    with Device.open(transport, gpu.clock, firmware_dirs=[firmware_dir]) as again:
        assert again.start_state is StartState.DIRTY
        target = again.gmc.alloc(4096)
        again.sdma.queues[0].fill(target, 0x600DF00D)
        again.sdma.queues[0].submit()
        again.sdma.queues[0].wait_idle()
        assert target.read() == bytes.fromhex("0df00d60") * 1024
        target.free()


@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
@pytest.mark.parametrize("fault", REFUSED_BEFORE)
def test_start_of_a_sick_gpu_is_refused_before_anything_is_written(part: str, fault: str, firmware_dir: Path) -> None:
    clock = VirtualClock()
    state = "cold" if fault in ("bootloader-silent", "needs-power-cycle") else "used"
    (transport,) = open_models(f"{part}?state={state}&fault={fault}", clock)
    device = Device(transport, clock, firmware_dirs=[firmware_dir])
    before = stored(transport)
    with pytest.raises(Refused) as caught:
        device.start()
    assert caught.value.__dict__["step"] in READ_STEPS
    assert caught.value.__dict__["action"]
    assert stored(transport) == before
    assert_nothing_left(device, transport)


@pytest.mark.parametrize("fault", LEFT_BEHIND)
@pytest.mark.parametrize("part", ["mi300x", "mi350x"])
def test_start_of_a_gpu_that_somebody_left_hanging_is_cured_or_refused(
    part: str, fault: str, firmware_dir: Path
) -> None:
    device, transport, error, took_s = start(part, "used", fault, firmware_dir)
    assert took_s < LONGEST_S
    if error is not None:
        assert error.__dict__["action"], str(error)
        assert error.__dict__["step"]
        assert_nothing_left(device, transport)
        return
    assert device.start_state is StartState.DIRTY
    device.close()
    assert_nothing_left(device, transport)


@pytest.mark.parametrize("fault", AT_A_RESET)
def test_start_of_a_gpu_whose_next_reset_will_fail_is_a_start_like_others(fault: str, firmware_dir: Path) -> None:
    device, transport, error, _ = start("mi350x", "used", fault, firmware_dir)
    assert error is None
    device.close()
    assert_nothing_left(device, transport)


def test_every_fault_of_the_catalogue_is_tried_at_a_start() -> None:
    tried = {fault.partition(":")[0] for fault in (*AT_START, *REFUSED_BEFORE, *LEFT_BEHIND, *AT_A_RESET)}
    assert tried | {"bus-lost"} == set(CATALOGUE)


def test_lost_gpu_is_told_as_lost(firmware_dir: Path) -> None:
    device, _, error, took_s = start("mi350x", "used", "bus-lost", firmware_dir)
    assert isinstance(error, DeviceLost)
    assert took_s < 1
    assert not device.is_open
