"""Resets of an NVIDIA GPU on a machine made of files: what is written, what proves it, and the line in the kernel's log."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import gpumend
import pcibus.sysfs
from base.errors import Exit
from base.resets import Outcome, StepStatus
from tests.fakesys import FakeBar, FakeSys, config_space, patched, words

BDF, PORT = "0000:18:00.0", "0000:17:00.0"
MSI_CONTROL, MSIX_CONTROL = 0xA2, 0xC2
REGISTERS = patched(
    0x200000, {0x0: words(0x180000A1), 0xA00: words(0x180A1000), 0x200BC: words(0xFF), 0x1183A4: words(144384)}
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSys:
    """An H200 below a port, its boot done, no driver; a kernel log of one old Xid."""
    made = FakeSys(tmp_path / "machine")
    monkeypatch.setattr(gpumend, "SYS_ROOT", made.root)
    monkeypatch.setattr(gpumend, "PROC_ROOT", made.proc)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GPUMEND_ON", raising=False)
    port = config_space(vendor=0x1022, device=0x14AB, port_type=4, header_type=1)
    made.add_device(PORT, vendor=0x1022, device=0x14AB, class_code=0x060400, config=port)
    made.add_device(
        BDF, below=PORT, vendor=0x10DE, device=0x2335,
        config=config_space(vendor=0x10DE, device=0x2335, more={0x10: words(0xE0000000)}),
        bars={0: FakeBar(0xE0000000, len(REGISTERS), content=REGISTERS)},
        attributes={"reset": "", "reset_method": "flr bus"},
    )  # fmt: skip
    dev = made.root.parent / "dev"
    dev.mkdir(exist_ok=True)
    (dev / "kmsg").write_text(f"[    1.000000] NVRM: Xid (PCI:{BDF[:-2]}): 62, pid=1, x\n")
    return made


def config_file(machine: FakeSys) -> Path:
    return machine.root / "bus/pci/devices" / BDF / "config"


def without_bus_master(config: bytes) -> bytes:
    """As a reset leaves it: no DMA until a driver starts the GPU."""
    return config[:4] + bytes([config[4] & ~4]) + config[5:]


def log(machine: FakeSys) -> str:
    return (machine.root.parent / "dev/kmsg").read_text()


def reset(method: str) -> gpumend.ResetReport:
    found = gpumend.list_gpus()
    return gpumend.reset_gpus(found, found, gpumend.ResetOptions(method=method))


def resetting(machine: FakeSys, strikes: bool) -> Callable[[pcibus.sysfs.SysfsTransport, str], None]:
    """The kernel's reset: clears what it does not keep, or nothing."""

    def work(transport: pcibus.sysfs.SysfsTransport, method: str) -> None:
        if not strikes:
            return
        data = bytearray(config_file(machine).read_bytes())
        for offset, kept in ((MSI_CONTROL, ~0x0070), (MSIX_CONTROL, ~0x4000)):
            struct.pack_into("<H", data, offset, struct.unpack_from("<H", data, offset)[0] & kept)
        config_file(machine).write_bytes(data)

    return work


def test_reset_that_strikes_is_verified_and_a_line_in_the_log_ends_the_past(
    machine: FakeSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcibus.sysfs.SysfsTransport, "reset", resetting(machine, strikes=True))
    before = config_file(machine).read_bytes()
    report = reset("auto")
    assert [(step.method, step.status) for step in report.steps] == [("flr", StepStatus.VERIFIED)], report.gpus[
        0
    ].reason
    assert report.exit_code == Exit.OK
    assert log(machine).endswith(f"gpumend: {BDF} was started anew by flr\n")
    assert config_file(machine).read_bytes() == without_bus_master(before)


def test_reset_that_does_nothing_is_found_out_and_config_space_is_as_it_was(
    machine: FakeSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcibus.sysfs.SysfsTransport, "reset", resetting(machine, strikes=False))
    before = config_file(machine).read_bytes()
    report = reset("flr")
    (one,) = report.gpus
    assert one.outcome is Outcome.FAILED and "mark is still there" in one.reason
    assert "started anew" not in log(machine)
    assert config_file(machine).read_bytes() == without_bus_master(before)


@pytest.mark.parametrize("method", ["auto", "flr", "bus-reset", "restore-config", "remove-rescan", "driver-rebind"])
def test_gpu_in_use_is_refused_with_names_and_nothing_is_written(machine: FakeSys, method: str) -> None:
    machine.bind(BDF, "nvidia")
    folder = machine.proc / f"driver/nvidia/gpus/{BDF}"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Device Minor: \t 0\n")
    machine.add_process(812, "nvidia-persiste", fds=["/dev/nvidia0"])
    before, said = config_file(machine).read_bytes(), log(machine)
    report = reset(method)
    (one,) = report.gpus
    assert (one.outcome, report.exit_code, report.steps) == (Outcome.REFUSED, Exit.REFUSED, ())
    assert one.error is not None and "pid 812 nvidia-persiste" in one.reason
    assert "systemctl stop nvidia-persistenced" in one.error.next_step
    assert (config_file(machine).read_bytes(), log(machine)) == (before, said)


def test_gpu_without_flr_goes_to_the_bus(machine: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.root / "bus/pci/devices" / BDF / "reset_method").write_text("bus")
    monkeypatch.setattr(pcibus.sysfs.SysfsTransport, "reset", resetting(machine, strikes=True))
    assert [step.method for step in reset("auto").steps] == ["bus-reset"]


def test_bus_reset_that_hits_the_audio_function_is_refused_and_names_it(machine: FakeSys) -> None:
    audio = BDF[:-1] + "1"
    machine.add_device(audio, below=PORT, vendor=0x10DE, device=0x22BD, class_code=0x040300)
    (one,) = reset("bus-reset").gpus
    assert one.outcome is Outcome.REFUSED and audio in one.reason and "audio" in one.reason
