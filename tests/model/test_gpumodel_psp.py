"""The model's bootloader with AMD's own firmware: order, checks, the late sign of life, faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gpumodel.psp import SOS_ALIVE_S, BootError
from tests.model.firmware_host import BLOB, BOOT, MIB, PSP, READY, Files, Host, host, map_gart

BOTH = pytest.mark.parametrize("part", ["mi300x", "mi350x"])
SOS_VERSION = {"mi300x": 0x00360260, "mi350x": 0x0045002F}
KDB, SYS, SOS = 0x80000, 0x10000, 0x20000


@pytest.fixture(scope="module")
def mi300x(firmware_dir: Path) -> Files:
    return Files(firmware_dir, "mi300x")


def cold(part: str = "mi300x") -> Host:
    return host(f"{part}?state=cold")


@BOTH
def test_bootloader_takes_all_components_in_order_and_sos_comes_alive(firmware_dir: Path, part: str) -> None:
    gpu = cold(part)
    gpu.boot_all(Files(firmware_dir, part))
    assert gpu.read(PSP + 58) == SOS_VERSION[part]
    assert gpu.read(PSP + 64) == READY
    assert gpu.gpu.psp.alive
    assert gpu.gpu.wrongs == []
    assert not gpu.gpu.unknown_accesses


def test_bootloader_command_stays_in_its_register_until_it_is_done(mi300x: Files) -> None:
    gpu = cold()
    gpu.put(BLOB, mi300x.payload("sos", "KDB"))
    gpu.write(PSP + 36, gpu.mc(BLOB) >> 20)
    gpu.write(PSP + 35, KDB)
    assert gpu.read(PSP + 35) == KDB
    gpu.clock.sleep(0.01)
    assert gpu.read(PSP + 35) == READY


def test_sos_sign_of_life_is_absent_when_the_kernel_samples_and_changes_before_it_gives_up(mi300x: Files) -> None:
    gpu = cold()
    for name, command in BOOT[:-1]:
        gpu.boot(command, mi300x.payload("sos", name))
    gpu.put(BLOB, mi300x.payload("sos", "SOS"))
    gpu.write(PSP + 35, SOS)
    gpu.clock.sleep(0.02)
    assert gpu.read(PSP + 81) == 0
    gpu.clock.sleep(0.1)
    assert gpu.read(PSP + 81) != 0
    assert 0.02 < SOS_ALIVE_S < 0.12


def test_spl_step_with_the_key_database_is_accepted_after_it(mi300x: Files) -> None:
    gpu = cold()
    kdb = mi300x.payload("sos", "KDB")
    assert gpu.boot(KDB, kdb) == READY
    assert gpu.boot(0x10000000, kdb) == READY
    assert gpu.boot(SYS, mi300x.payload("sos", "SYS_DRV")) == READY


def test_memory_training_commands_change_nothing(mi300x: Files) -> None:
    gpu = cold()
    assert gpu.boot(0x100000, b"") == gpu.boot(0x200000, b"") == READY
    assert gpu.boot(KDB, mi300x.payload("sos", "KDB")) == READY


@pytest.mark.parametrize("missing", [name for name, _ in BOOT[:-1]])
def test_bootloader_component_left_out_the_next_one_is_refused(mi300x: Files, missing: str) -> None:
    gpu = cold()
    answers = [gpu.boot(command, mi300x.payload("sos", name)) for name, command in BOOT if name != missing]
    assert READY | BootError.ORDER in answers
    assert f"without {missing.lower().replace('_', '-')}" in gpu.gpu.wrongs[0]
    gpu.clock.sleep(1)
    assert gpu.read(PSP + 81) == 0


def test_bootloader_component_twice_is_refused_and_the_error_stays(mi300x: Files) -> None:
    gpu = cold()
    kdb = mi300x.payload("sos", "KDB")
    assert gpu.boot(KDB, kdb) == READY
    assert gpu.boot(KDB, kdb) == READY | BootError.ORDER
    assert gpu.boot(SYS, mi300x.payload("sos", "SYS_DRV")) == READY | BootError.ORDER
    assert gpu.gpu.wrongs == [
        "psp: kdb again or too late",
        "psp: bootloader command 0x10000 after one that failed (0x80000002): ignored",
    ]


@pytest.mark.parametrize("place", [0x14, 0x20, 0x60 - 1, 0x300, 0x25FF])
def test_bootloader_blob_with_a_changed_byte_is_refused(mi300x: Files, place: int) -> None:
    gpu = cold()
    data = bytearray(mi300x.payload("sos", "KDB"))
    data[place] ^= 0x40
    assert gpu.boot(KDB, bytes(data)) & 0x800000FF in (READY | BootError.SIGNATURE, READY | BootError.FORMAT)
    assert len(gpu.gpu.wrongs) == 1


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda data: b"", BootError.FORMAT, "no $PS1 at +0x10 but 00000000"),
        (lambda data: data[:0x10] + b"$PS2" + data[0x14:], BootError.FORMAT, "no $PS1 at +0x10 but 24505332"),
        (lambda data: data[:0x14] + bytes(4) + data[0x18:], BootError.FORMAT, "body 0x0 and total 0x2600 do not fit"),
        (lambda data: data[:0x30] + bytes(4) + data[0x34:], BootError.SIGNATURE, "it is not signed"),
        (
            lambda data: data[:0x14] + (2 * MIB).to_bytes(4, "little") + data[0x18:0x6C]
            + (2 * MIB + 0x300).to_bytes(4, "little") + data[0x70:],
            BootError.FORMAT,
            "its 0x200300 bytes are more than the 0x100000 given",
        ),
        (lambda data: data[:0x200] + bytes(1) + data[0x201:], BootError.SIGNATURE, "its signature does not match"),
    ],
)  # fmt: skip
def test_bootloader_damaged_blob_is_refused_with_the_reason(
    mi300x: Files, change: Callable[[bytes], bytes], error: BootError, text: str
) -> None:
    gpu = cold()
    assert gpu.boot(KDB, change(mi300x.payload("sos", "KDB"))) == READY | error
    assert text in gpu.gpu.wrongs[0]


def test_bootloader_other_component_than_the_command_names_is_refused(mi300x: Files) -> None:
    gpu = cold()
    assert gpu.boot(KDB, mi300x.payload("sos", "SYS_DRV")) == READY | BootError.KIND
    assert "it is SYS_DRV, not KDB" in gpu.gpu.wrongs[0]


def test_bootloader_keys_of_another_chip_are_refused(firmware_dir: Path) -> None:
    gpu = cold("mi350x")
    assert gpu.boot(KDB, Files(firmware_dir, "mi300x").payload("sos", "KDB")) == READY | BootError.SIGNATURE
    assert "signed for GC 9.4.3, this is 9.5.0" in gpu.gpu.wrongs[0]


def test_bootloader_system_driver_of_another_platform_is_refused(firmware_dir: Path) -> None:
    gpu = cold("mi350x")
    gpu.boot(KDB, Files(firmware_dir, "mi350x").payload("sos", "KDB"))
    assert gpu.boot(SYS, Files(firmware_dir, "mi300x").payload("sos", "SYS_DRV")) == READY | BootError.SIGNATURE
    assert "it is for GC 9.4.3 and 9.4.4, this is 9.5.0" in gpu.gpu.wrongs[0]


def test_bootloader_newer_version_than_known_passes_on_its_wrapper(mi300x: Files) -> None:
    gpu = cold()
    data = bytearray(mi300x.payload("sos", "KDB"))
    data[0x60:0x64] = (0x05003601).to_bytes(4, "little")
    data[0x200] ^= 1
    assert gpu.boot(KDB, bytes(data)) == READY


def test_bootloader_parts_of_two_releases_are_refused(mi300x: Files) -> None:
    gpu = cold()
    gpu.boot(KDB, mi300x.payload("sos", "KDB", "main"))
    gpu.boot(SYS, mi300x.payload("sos", "SYS_DRV", "main"))
    assert gpu.boot(0xB0000, mi300x.payload("sos", "SOC_DRV", "aux")) == READY | BootError.VERSION
    assert "soc-drv is 0x36024e, the parts before it 0x360260" in gpu.gpu.wrongs[0]


def test_bootloader_buffer_outside_of_memory_is_refused(mi300x: Files) -> None:
    gpu = cold()
    gpu.write(PSP + 36, (gpu.mc(0) + 16 * gpu.gpu.chip.vram_size) >> 20)
    gpu.write(PSP + 35, KDB)
    gpu.clock.sleep(0.1)
    assert gpu.read(PSP + 35) == READY | BootError.ADDRESS
    assert "cannot be read" in gpu.gpu.wrongs[-1]


def test_bootloader_reads_system_memory_behind_the_gart(mi300x: Files) -> None:
    """Item 14 and 21: the stock driver's loading buffer lies there."""
    gpu = cold()
    kdb = mi300x.payload("sos", "KDB")
    buffer = map_gart(gpu, 0x200)
    buffer.write(MIB, kdb)
    gpu.write(PSP + 36, 1)
    gpu.write(PSP + 35, KDB)
    gpu.clock.sleep(0.1)
    assert gpu.read(PSP + 35) == READY
    assert gpu.gpu.wrongs == []


def test_bootloader_without_bus_master_cannot_reach_system_memory(mi300x: Files) -> None:
    gpu = cold()
    map_gart(gpu, 0x200).write(MIB, mi300x.payload("sos", "KDB"))
    gpu.transport.config_write(4, 2, 2)
    gpu.write(PSP + 36, 1)
    gpu.write(PSP + 35, KDB)
    gpu.clock.sleep(0.1)
    assert gpu.read(PSP + 35) & 0xFF != 0


def test_bootloader_second_command_while_one_is_under_way_is_ignored(mi300x: Files) -> None:
    gpu = cold()
    gpu.put(BLOB, mi300x.payload("sos", "KDB"))
    gpu.write(PSP + 36, gpu.mc(BLOB) >> 20)
    gpu.write(PSP + 35, KDB)
    gpu.write(PSP + 35, SYS)
    gpu.clock.sleep(0.1)
    assert gpu.read(PSP + 35) == READY
    assert gpu.gpu.wrongs == ["psp: bootloader command 0x10000 while another is under way: ignored"]


def test_bootloader_command_with_the_secure_os_alive_is_not_answered() -> None:
    gpu = host("mi300x")
    gpu.write(PSP + 35, KDB)
    gpu.clock.sleep(1)
    assert gpu.read(PSP + 35) == KDB
    assert gpu.gpu.wrongs == ["psp: command 0x80000 for the bootloader, which does not run: not answered"]


def test_bootloader_silent_takes_no_command() -> None:
    gpu = host("mi300x?state=cold&fault=bootloader-silent")
    gpu.write(PSP + 35, KDB)
    gpu.clock.sleep(1)
    assert gpu.read(PSP + 35) == KDB


@pytest.mark.parametrize("component", ["kdb", "sys-drv", "soc-drv", "intf-drv", "dbg-drv", "ras-drv", "sos"])
def test_psp_refuses_a_component_error_byte_and_no_secure_os(mi300x: Files, component: str) -> None:
    gpu = cold()
    gpu.gpu.psp.refuses.add(component)
    answers = {name: gpu.boot(command, mi300x.payload("sos", name)) for name, command in BOOT}
    refused = component.upper().replace("-", "_")
    assert answers[refused] == READY | BootError.REFUSED
    gpu.clock.sleep(1)
    assert gpu.read(PSP + 81) == 0


@pytest.mark.parametrize(("stage", "command"), [("bootloader", KDB), ("sos", SOS)])
def test_device_lost_at_a_bootloader_stage_is_gone(stage: str, command: int) -> None:
    gpu = cold()
    gpu.gpu.lost_during = stage
    gpu.write(PSP + 35, command)
    assert gpu.read(PSP + 35) == 0xFFFFFFFF


def test_power_on_while_a_component_is_checked_forgets_it(mi300x: Files) -> None:
    gpu = cold()
    gpu.put(BLOB, bytes(0x100))
    gpu.write(PSP + 36, gpu.mc(BLOB) >> 20)
    gpu.write(PSP + 35, KDB)
    gpu.gpu.power_on()
    gpu.clock.sleep(1)
    assert gpu.read(PSP + 35) == READY
    assert gpu.gpu.wrongs == []


def test_mailbox_of_the_flash_and_status_registers_keep_what_they_say() -> None:
    gpu = cold()
    for number in (115, 116, 73):
        gpu.write(PSP + number, 0x1234 + number)
        assert gpu.read(PSP + number) == 0x1234 + number
    assert gpu.read(PSP + 92) & 0xFF == 0xBA
    assert gpu.read(PSP + 126) == 0
    assert gpu.read(PSP + 127) == 0x01067F7F
