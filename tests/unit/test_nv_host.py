"""The driver's texts in /proc, the ids of the parts, and the machine's own driver files."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from pathlib import Path

import pytest

from base import kernellog
from base.errors import GpumendError, NotPermitted, Refused, Unavailable, WaitTimeout
from base.part import NVIDIA_VENDOR
from nvdriver import abi, host
from nvdriver.bare import CHIPS
from nvdriver.parts import PARTS, part_of
from pcibus.driverfiles import HostFiles, opened
from pcibus.holders import find_holders
from tests.fakesys import FakeSys

OPEN_VERSION = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.105.08  Release Build  (dvs@host)  Wed Oct 29
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
"""
CLOSED_VERSION = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8 12:41:17 UTC 2025
GCC version:  gcc version 13.3.0
"""
PAGE = """Model: \t\t NVIDIA H200
IRQ:   \t\t 64
GPU UUID: \t GPU-01234567-89ab-cdef-0123-456789abcdef
Video BIOS: \t ??.??.??.??.??
Bus Type: \t PCIe
Bus Location: \t 0000:c1:00.0
Device Minor: \t 3
GPU Firmware: \t 580.105.08
"""


def files(tmp_path: Path, **texts: str) -> HostFiles:
    for name, text in texts.items():
        place = {"version": "proc/driver/nvidia/version", "page": "proc/driver/nvidia/gpus/0000:c1:00.0/information",
                 "kmsg": "dev/kmsg"}[name]  # fmt: skip
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text)
    return HostFiles(tmp_path / "dev", tmp_path / "proc")


@pytest.mark.parametrize(
    ("text", "version", "branch", "is_open"),
    [(OPEN_VERSION, "580.105.08", 580, True), (CLOSED_VERSION, "550.163.01", 550, False), ("what?\n", "", None, False)],
    ids=["open", "closed", "garbage"],
)
def test_driver_version_is_read_from_its_text(
    tmp_path: Path, text: str, version: str, branch: int | None, is_open: bool
) -> None:
    driver = host.driver(files(tmp_path, version=text))
    assert driver is not None
    assert (driver.version, driver.branch, driver.is_open) == (version, branch, is_open)


def test_driver_that_is_not_loaded_is_none(tmp_path: Path) -> None:
    assert host.driver(files(tmp_path)) is None


def test_page_of_a_gpu_tells_what_it_knows_and_no_question_marks(tmp_path: Path) -> None:
    page = host.page(files(tmp_path, page=PAGE), "0000:c1:00.0")
    assert (page.model, page.minor, page.firmware, page.vbios) == ("NVIDIA H200", 3, "580.105.08", None)
    assert page.uuid == "GPU-01234567-89ab-cdef-0123-456789abcdef"
    with pytest.raises(Unavailable):
        host.page(files(tmp_path), "0000:c2:00.0")


@pytest.mark.parametrize("number", [570, 580, 590])
def test_branch_with_a_table_is_chosen(number: int) -> None:
    assert abi.branch_of(f"{number}.10.01", "here").number == number


@pytest.mark.parametrize("version", ["", "535.129.03", "600.10", "abc", "58.1", "5800.1.1"])
def test_branch_without_a_table_is_refused_with_what_was_found(version: str) -> None:
    with pytest.raises(Refused) as caught:
        abi.branch_of(version, "/proc/driver/nvidia/version")
    assert "570, 580, 590" in caught.value.expected
    assert caught.value.seen == (version or "no version")


def test_request_numbers_are_those_of_the_header() -> None:
    assert abi.request(abi.RM_CONTROL, 32) == 0xC020462A
    assert abi.request(abi.RM_ALLOC, 32) == 0xC020462B
    assert abi.request(abi.CARD_INFO, 64 * 72) == 0xD20046C8
    assert abi.request(abi.REGISTER_FD, 4) == 0xC00446C9


def test_parts_name_the_usual_gpus_and_only_known_chips() -> None:
    named = {part.name: (part.device, part.arch) for part in PARTS.values()}
    assert named["H200"] == (0x2335, "GH100")
    assert named["B200"] == (0x2901, "GB100")
    assert named["RTX 4090"] == (0x2684, "AD102")
    assert named["RTX 5090"] == (0x2B85, "GB202")
    assert {part.arch for part in PARTS.values()} <= set(CHIPS.values())
    assert all(part.vendor == NVIDIA_VENDOR and not part.may_join_hive for part in PARTS.values())
    assert part_of(0x1002, 0x2335) is None


def test_files_ioctl_fills_in_the_pointers_and_writes_back() -> None:
    """A real ioctl with a pointer in its structure: SIOCGIFCONF (netdevice(7)): int ifc_len; char *ifc_buf."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        data, memory = bytearray(16), bytearray(4096)
        struct.pack_into("<i", data, 0, len(memory))
        HostFiles().ioctl(one.fileno(), 0x8912, data, {8: memory})
    used = struct.unpack_from("<i", data)[0]
    assert 0 <= used < len(memory) and used % 40 == 0
    assert any(memory[:used]) == bool(used)
    assert not any(memory[used:])


def test_files_ioctl_that_the_kernel_refuses_raises_its_error() -> None:
    with Path(os.devnull).open("rb") as null, pytest.raises(OSError) as caught:
        HostFiles().ioctl(null.fileno(), 0xC020462A, bytearray(32), {16: bytearray(4)})
    assert caught.value.errno == errno.ENOTTY


def test_files_node_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        opened(files(tmp_path), "/dev/nvidiactl")
    assert "/dev/nvidiactl" in str(caught.value)


def test_files_apart_gives_up_after_its_limit_and_hands_on_errors() -> None:
    import time

    def sleeps() -> int:
        time.sleep(30)
        return 1

    def fails() -> int:
        raise Refused("asking", expected="a", seen="b")

    with pytest.raises(WaitTimeout):
        HostFiles().apart(sleeps, 0.1, "asking")
    with pytest.raises(Refused):
        HostFiles().apart(fails, 5.0, "asking")
    assert HostFiles().apart(os.getpid, 5.0, "asking") != os.getpid()


def test_kernel_log_of_a_plain_file_is_taken_as_it_is(tmp_path: Path) -> None:
    assert files(tmp_path, kmsg="[1.0] one\n").kernel_log() == "[1.0] one\n"


def test_kernel_log_that_is_not_there_or_not_allowed_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        kernellog.read_log(tmp_path)
    (tmp_path / "kmsg").write_text("x")
    (tmp_path / "kmsg").chmod(0)
    if os.geteuid() == 0:
        assert kernellog.read_log(tmp_path) == b"x"
        return
    with pytest.raises(NotPermitted) as caught:
        kernellog.read_log(tmp_path)
    assert isinstance(caught.value, GpumendError) and "dmesg_restrict" in caught.value.next_step


def test_holders_of_an_nvidia_node_are_found_by_the_drivers_minor(tmp_path: Path) -> None:
    sys = FakeSys(tmp_path)
    sys.add_device("0000:c1:00.0", vendor=0x10DE, device=0x2335)
    page = sys.proc / "driver/nvidia/gpus/0000:c1:00.0/information"
    page.parent.mkdir(parents=True)
    page.write_text(PAGE)
    sys.add_process(100, "python3", fds=["/dev/nvidiactl", "/dev/nvidia3", "/dev/nvidia-uvm"])
    sys.add_process(200, "other", fds=["/dev/nvidiactl", "/dev/nvidia4"])
    found = find_holders("0000:c1:00.0", root=sys.root, proc=sys.proc, ignore=frozenset())
    assert [(holder.pid, holder.what) for holder in found.holders] == [(100, ("/dev/nvidia3",))]


def test_log_line_is_written_at_its_end_and_an_absent_log_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "kmsg").write_bytes(b"[    1.000000] first\n")
    HostFiles(tmp_path).note("gpumend: a line")
    first, second = kernellog.read_log(tmp_path).decode().splitlines()
    assert first == "[    1.000000] first"
    assert re.fullmatch(r"\[ *\d+\.\d{6}\] gpumend: a line", second)
    (tmp_path / "kmsg").unlink()
    with pytest.raises(Unavailable, match="writing a line"):
        HostFiles(tmp_path).note("x")
    assert not (tmp_path / "kmsg").exists(), "a log that is not there is not made"
