"""pcibus/vfio*.py on a fake kernel: what is refused and why, BARs, config space, memory behind the IOMMU, interrupts."""

from __future__ import annotations

import errno
import io
import mmap
import os
import resource
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import gpumend
from base.errors import DeviceLost, GpumendError, InvalidData, NotPermitted, Refused, Unavailable, UsageError
from pcibus import vfio_abi, vfio_memory
from pcibus.readonly import ReadOnly
from pcibus.trace import Trace
from pcibus.transport import Can, Transport
from pcibus.vfio import VfioTransport
from pcibus.vfio_memory import IovaSpace
from pcibus.vfio_open import resets_of
from tests.fakesys import FakeSys
from tests.unit.gmc_fake import FakeDma
from tests.unit.vfio_fake import (
    BAR5,
    BDF,
    DEVICE_FD,
    DEVICE_INFO,
    GROUP,
    IRQ_INFO,
    JOIN,
    MAP,
    MIB,
    PORT,
    REGION,
    SET_IOMMU,
    SET_IRQS,
    UNMAP,
    FakeKernel,
    machine,
)

GIB = 1 << 30
OPENED = ["vfio", "0x3b64", "0x3b65", str(GROUP), "0x3b67", "0x3b68", "0x3b66", "0x3b6a", "0x3b6b", "0x3b70", "0x3b6c"]


@pytest.fixture
def kernel() -> Iterator[FakeKernel]:
    made = FakeKernel()
    yield made
    made.finish()


@pytest.fixture
def fake(tmp_path: Path) -> FakeSys:
    return machine(tmp_path)


def reach(fake: FakeSys, kernel: FakeKernel, *, resets_allowed: bool = False) -> VfioTransport:
    return VfioTransport(
        BDF,
        root=fake.root,
        proc=fake.proc,
        lock_dir=fake.locks,
        dev=fake.root.parent / "vfio",
        kernel=kernel,
        resets_allowed=resets_allowed,
    )


@pytest.fixture
def device(fake: FakeSys, kernel: FakeKernel) -> Iterator[VfioTransport]:
    made = reach(fake, kernel)
    yield made
    made.close()


def refused(device: VfioTransport) -> GpumendError:
    with pytest.raises(GpumendError) as caught:
        device.acquire()
    assert device._handles is None
    return caught.value


def handles_open() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


# --- opening


def test_vfio_transport_is_a_transport_that_opens_nothing_by_itself(device: VfioTransport, kernel: FakeKernel) -> None:
    assert isinstance(device, Transport)
    assert device.name == f"vfio:{BDF}"
    assert device.info().driver == "vfio-pci" and set(device.bars()) == {0, 2, 5}
    assert device.config_read(0, 4) == 0x74A11002 and device.config_size() in (64, 4096)
    assert device.can & (Can.DMA | Can.INTERRUPTS | Can.HOST | Can.VIA_DRIVER)
    device.close()
    assert kernel.calls == []


def test_vfio_device_is_opened_once_in_the_kernels_order(device: VfioTransport, kernel: FakeKernel) -> None:
    device.acquire()
    device.acquire()
    assert [call for call in dict.fromkeys(kernel.calls) if call] == OPENED


def test_vfio_close_gives_every_handle_back_and_opening_again_works(fake: FakeSys, kernel: FakeKernel) -> None:
    before = handles_open()
    device = reach(fake, kernel)
    for _ in range(2):
        device.write32(5, 0, 7)
        device.enable_interrupts()
        device.alloc_dma(4096)
        device.close()
        device.close()
        assert handles_open() == before and not kernel.mapped and not kernel.vectors


@pytest.mark.parametrize("what", ["vfio", str(GROUP), JOIN, SET_IOMMU, DEVICE_FD, DEVICE_INFO, REGION])
def test_vfio_open_that_fails_leaves_nothing_open(fake: FakeSys, kernel: FakeKernel, what: int | str) -> None:
    before = handles_open()
    kernel.fails[what] = errno.EIO
    with pytest.raises(GpumendError):
        reach(fake, kernel).acquire()
    assert handles_open() == before


@pytest.mark.parametrize(("driver", "seen"), [("amdgpu", "bound to amdgpu"), ("", "no driver bound")])
def test_vfio_function_of_another_driver_is_refused_with_the_command(
    tmp_path: Path, kernel: FakeKernel, driver: str, seen: str
) -> None:
    error = refused(reach(machine(tmp_path, driver=driver), kernel))
    assert isinstance(error, Refused) and error.seen == seen
    assert error.next_step == f"modprobe vfio-pci; gpumend --on {BDF} bind vfio-pci"
    assert kernel.calls == []


def test_vfio_function_that_is_not_there_is_unavailable(tmp_path: Path, kernel: FakeKernel) -> None:
    error = refused(reach(FakeSys(tmp_path), kernel))
    assert isinstance(error, Unavailable) and error.expected == "a PCI function at that address"


def test_vfio_without_an_iommu_names_the_kernels_options(tmp_path: Path, kernel: FakeKernel) -> None:
    error = refused(reach(machine(tmp_path, iommu_group=None), kernel))
    assert isinstance(error, Unavailable) and error.seen == "it is in no IOMMU group"
    assert "amd_iommu=on" in error.next_step and "intel_iommu=on" in error.next_step


def test_vfio_not_loaded_is_unavailable(device: VfioTransport, fake: FakeSys) -> None:
    (fake.root.parent / "vfio/vfio").unlink()
    error = refused(device)
    assert isinstance(error, Unavailable) and "modprobe vfio_iommu_type1" in error.next_step


@pytest.mark.parametrize("what", ["vfio", str(GROUP)])
def test_vfio_file_that_may_not_be_opened_names_it_and_the_limit(
    device: VfioTransport, kernel: FakeKernel, what: str
) -> None:
    kernel.fails[what] = errno.EACCES
    error = refused(device)
    assert isinstance(error, NotPermitted)
    assert f"vfio/{what} (group " in error.expected and "chown $USER" in error.next_step
    assert "ulimit -l" in error.next_step


def test_vfio_group_in_use_names_the_process(device: VfioTransport, fake: FakeSys, kernel: FakeKernel) -> None:
    kernel.fails[str(GROUP)] = errno.EBUSY
    assert "does not name" in refused(device).seen
    fake.add_process(900, "qemu", fds=[f"/dev/vfio/{GROUP}"])
    error = refused(device)
    assert isinstance(error, Refused) and error.seen == "it is in use by qemu (pid 900)"


@pytest.mark.parametrize("noiommu", [False, True])
def test_vfio_group_without_a_file_is_unavailable(device: VfioTransport, fake: FakeSys, noiommu: bool) -> None:
    (fake.root.parent / "vfio" / str(GROUP)).unlink()
    if noiommu:
        (fake.root.parent / "vfio" / f"noiommu-{GROUP}").touch()
    error = refused(device)
    assert isinstance(error, Unavailable) and ("noiommu" in error.seen) is noiommu
    assert ("amd_iommu=on" if noiommu else "udev") in error.next_step


@pytest.mark.parametrize("late", [False, True])
def test_vfio_group_that_is_not_viable_names_the_other_members(
    device: VfioTransport, fake: FakeSys, kernel: FakeKernel, late: bool
) -> None:
    fake.add_device("0000:c1:00.2", below=PORT, driver="snd_hda_intel", iommu_group=GROUP)
    fake.add_device("0000:c1:00.3", below=PORT, driver="", iommu_group=GROUP)
    members = fake.root / "kernel/iommu_groups" / str(GROUP) / "devices"
    members.mkdir()
    for name in (BDF, PORT, "0000:c1:00.2", "0000:c1:00.3"):
        (members / name).symlink_to(fake.device(name).path)
    kernel.viable = late
    if late:
        kernel.fails[JOIN] = errno.EPERM
    error = refused(device)
    assert isinstance(error, Refused) and error.seen == "bound to drivers of the host: 0000:c1:00.2 (snd_hda_intel)"
    assert error.expected.startswith(f"all functions of IOMMU group {GROUP} bound to vfio-pci")


def test_vfio_group_that_is_not_viable_without_a_culprit_says_so(device: VfioTransport, kernel: FakeKernel) -> None:
    kernel.viable = False
    assert "nobody is to be seen" in refused(device).seen


def test_vfio_of_another_version_is_unavailable(device: VfioTransport, kernel: FakeKernel) -> None:
    kernel.version = 1
    error = refused(device)
    assert isinstance(error, Unavailable) and error.seen == "version 1, type 1 v2"


def test_vfio_iommu_without_interrupt_remapping_is_not_permitted(device: VfioTransport, kernel: FakeKernel) -> None:
    kernel.fails[SET_IOMMU] = errno.EPERM
    error = refused(device)
    assert isinstance(error, NotPermitted) and "allow_unsafe_interrupts=1" in error.next_step


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EAGAIN, Refused, "the kernel holds its lock"),
        (errno.EACCES, NotPermitted, "Permission denied"),
        (errno.ENODEV, Unavailable, "No such device"),
    ],
)
def test_vfio_device_that_is_not_given_is_a_typed_error(
    device: VfioTransport, kernel: FakeKernel, number: int, kind: type[GpumendError], words: str
) -> None:
    kernel.fails[DEVICE_FD] = number
    error = refused(device)
    assert type(error) is kind and words in error.seen


def test_vfio_device_that_is_no_pci_function_is_refused(device: VfioTransport, kernel: FakeKernel) -> None:
    kernel.device_flags = 4
    assert isinstance(refused(device), InvalidData)


# --- the resets that come with it


@pytest.mark.parametrize("methods", ["flr bus", "bus"])
def test_vfio_function_that_the_kernel_would_reset_is_refused(tmp_path: Path, kernel: FakeKernel, methods: str) -> None:
    fake = machine(tmp_path, reset_method=methods)
    error = refused(reach(fake, kernel))
    assert isinstance(error, Refused) and kernel.calls == []
    assert error.seen == f"the kernel would reset it: by {methods.split()[0]} when it is opened and when it is closed"
    assert error.next_step == f"echo > {fake.root}/bus/pci/devices/{BDF}/reset_method"


def alone(folder: Path, methods: str) -> FakeSys:
    """The machine without the NIC: now the GPU has its bus for itself."""
    fake = machine(folder, reset_method=methods)
    (fake.root / "bus/pci/devices/0000:c1:00.1").rename(folder / "nic")
    fake.device(BDF).path.parent.joinpath("0000:c1:00.1").rename(folder / "nic-folder")
    return fake


def test_vfio_function_alone_on_its_bus_is_refused_though_its_methods_are_off(
    tmp_path: Path, kernel: FakeKernel
) -> None:
    error = refused(reach(alone(tmp_path, ""), kernel))
    assert isinstance(error, Refused) and error.seen.endswith("by a reset of its bus when it is closed")
    assert error.next_step == f"unbind it and use the address {BDF}, or accept the resets: vfio:{BDF}?resets=allowed"


def test_vfio_refusal_tells_which_reset_an_empty_method_avoids(tmp_path: Path, kernel: FakeKernel) -> None:
    error = refused(reach(alone(tmp_path, "flr"), kernel))
    assert "if the former fails" in error.seen
    assert "reset_method avoids only the first of them; unbind it" in error.next_step


def test_vfio_resets_that_were_allowed_let_it_be_opened(tmp_path: Path, kernel: FakeKernel) -> None:
    device = reach(alone(tmp_path, "flr"), kernel, resets_allowed=True)
    device.acquire()
    assert device.name == f"vfio:{BDF}?resets=allowed" and f"{DEVICE_FD:#x}" in kernel.calls
    device.close()


@pytest.mark.parametrize(
    ("mate_driver", "expected"),
    [("vfio-pci", True), ("", False), ("mlx5_core", False)],
)
def test_vfio_bus_reset_threatens_only_when_the_whole_bus_is_vfios(
    tmp_path: Path, mate_driver: str, expected: bool
) -> None:
    fake = alone(tmp_path, "")
    fake.add_device("0000:c1:00.4", below=PORT, driver=mate_driver)
    assert resets_of(BDF, fake.root).bus is expected


def test_vfio_bus_reset_threatens_no_function_of_a_root_bus_and_no_vf(tmp_path: Path) -> None:
    fake = FakeSys(tmp_path)
    fake.add_device("0000:03:00.0", driver="vfio-pci", reset_method=None)
    assert not resets_of("0000:03:00.0", fake.root) and str(resets_of("0000:03:00.0", fake.root)) == "not at all"
    fake.add_device(PORT)
    fake.add_device(BDF, below=PORT, driver="vfio-pci", physfn="0000:03:00.0", reset_method=None)
    assert not resets_of(BDF, fake.root)


# --- config space


def test_vfio_config_space_goes_through_the_device_once_it_is_open(device: VfioTransport, kernel: FakeKernel) -> None:
    device.acquire()
    kernel.poke(7, 0x40, struct.pack("<I", 0x12345678))
    assert device.config_size() == 4096
    assert (device.config_read(0x40, 4), device.config_read(0x42, 2), device.config_read(0x43, 1)) == (
        0x12345678, 0x1234, 0x12,
    )  # fmt: skip
    device.config_write(0x42, 2, 0xBEEF)
    assert kernel.peek(7, 0x40, 4) == struct.pack("<I", 0xBEEF5678)


def test_vfio_config_write_opens_the_device(device: VfioTransport, kernel: FakeKernel, fake: FakeSys) -> None:
    device.config_write(0x3C, 1, 5)
    assert kernel.peek(7, 0x3C, 1) == b"\x05"
    assert (fake.device(BDF).path / "config").read_bytes()[0x3C] == 0


def test_vfio_config_access_is_checked(device: VfioTransport, kernel: FakeKernel) -> None:
    for offset, size in ((1, 2), (4096, 4), (0, 3), (-4, 4)):
        with pytest.raises(ValueError, match="config space"):
            device.config_write(offset, size, 0)
    assert kernel.calls == []
    device.acquire()
    os.ftruncate(kernel.file, (7 << 40) + 256)
    with pytest.raises(Unavailable, match="reading config space") as caught:
        device.config_read(256, 4)
    assert caught.value.seen == "0 bytes: config space has 4096"


# --- BARs


def test_vfio_bars_are_mapped_where_the_regions_lie(device: VfioTransport, kernel: FakeKernel) -> None:
    kernel.poke(5, 0x100, struct.pack("<Q", 0x1122334455667788))
    assert device.read32(5, 0x100) == 0x55667788
    assert device.read64(5, 0x100) == 0x1122334455667788
    device.write32(5, 0x104, 0xCAFE)
    device.write64(2, 0x10, 1 << 63)
    assert kernel.peek(5, 0x104, 4) == struct.pack("<I", 0xCAFE)
    assert kernel.peek(2, 0x10, 8) == struct.pack("<Q", 1 << 63)


def test_vfio_blocks_cross_windows_of_a_large_bar(device: VfioTransport, kernel: FakeKernel) -> None:
    data = os.urandom(3 * MIB)
    at = 2 * MIB - 8
    device.write_block(0, at, data)
    assert kernel.peek(0, at, len(data)) == data
    assert device.read_block(0, at, len(data)) == data
    assert device.read_block(0, 4, 0) == b""


def test_vfio_parts_that_may_not_be_mapped_are_reached_through_the_file(
    device: VfioTransport, kernel: FakeKernel
) -> None:
    """A table of MSI-X in the middle of the registers."""
    kernel.sparse[5] = ((0, 0x40000), (0x42000, BAR5 - 0x42000))
    data = os.urandom(0x4000)
    device.write_block(5, 0x3F000, data)
    assert kernel.peek(5, 0x3F000, len(data)) == data
    assert device.read_block(5, 0x3F000, len(data)) == data
    device.write32(5, 0x41FFC, 9)
    device.write64(5, 0x40008, 1 << 40)
    assert (device.read32(5, 0x41FFC), device.read64(5, 0x40008)) == (9, 1 << 40)
    mapped = {key[2]: type(window).__name__ for key, window in device._windows.items() if key[1]}
    assert mapped == {0: "MappedWindow", 0x40000: "FileWindow", 0x42000: "MappedWindow"}


def test_vfio_gap_at_the_end_and_regions_that_cannot_be_mapped_work_too(
    device: VfioTransport, kernel: FakeKernel
) -> None:
    kernel.sparse[5] = ((0x1000, 0x1000),)
    kernel.unmappable.add(2)
    for bar, offset in ((5, 0), (5, 0x1000), (5, BAR5 - 4), (2, 0x100)):
        device.write32(bar, offset, 0xA5A50000 | offset & 0xFFFF)
        assert kernel.peek(bar, offset, 4) == struct.pack("<I", 0xA5A50000 | offset & 0xFFFF)


def test_vfio_window_in_the_file_that_fails_is_a_typed_error(device: VfioTransport, kernel: FakeKernel) -> None:
    kernel.unmappable.add(5)
    device.acquire()
    os.ftruncate(kernel.file, 5 << 40)
    with pytest.raises(Unavailable, match="accessing BAR5"):
        device.read32(5, 0)


def test_vfio_access_with_memory_off_is_an_error_instead_of_the_end(device: VfioTransport) -> None:
    device.config_write(4, 2, 0x0400)
    with pytest.raises(Unavailable, match="accessing BAR5") as caught:
        device.read32(5, 0)
    assert "memory decoding" in caught.value.expected
    device.config_write(4, 2, 0x0402)
    assert device.read32(5, 0) == 0
    device.config_write(4, 1, 0)
    with pytest.raises(Unavailable, match="accessing BAR5"):
        device.read32(5, 0)


def test_vfio_first_access_with_memory_off_is_an_error_too(device: VfioTransport, kernel: FakeKernel) -> None:
    kernel.poke(7, 4, b"\0\0")
    with pytest.raises(Unavailable, match="accessing BAR5"):
        device.read32(5, 0)


def test_vfio_function_that_sleeps_is_woken_by_acquire_only(device: VfioTransport, fake: FakeSys) -> None:
    fake.device(BDF).set("power_state", "D3hot")
    with pytest.raises(GpumendError, match="not done"):
        device.read32(5, 0)
    assert device._handles is None
    device.acquire()
    assert device.read32(5, 0) == 0


def test_vfio_region_smaller_than_its_bar_is_unavailable(tmp_path: Path, kernel: FakeKernel) -> None:
    fake = machine(tmp_path)
    text = (fake.device(BDF).path / "resource").read_text()
    (fake.device(BDF).path / "resource").write_text(
        text.replace(f"{0xE000_0000 + BAR5 - 1:#018x}", f"{0xE0FFFFFF:#018x}")
    )
    device = reach(fake, kernel)
    with pytest.raises(Unavailable, match="accessing BAR5") as caught:
        device.read32(5, 0)
    assert caught.value.seen == f"{BAR5:#x} bytes"
    device.close()


def test_vfio_mapping_that_fails_is_unavailable(device: VfioTransport, kernel: FakeKernel) -> None:
    device.acquire()
    os.ftruncate(kernel.file, 0)
    with pytest.raises(Unavailable, match="mapping BAR5"):
        device.read32(5, 0)


def test_vfio_device_that_went_away_is_lost(device: VfioTransport, kernel: FakeKernel) -> None:
    device.acquire()
    kernel.fails[REGION] = errno.ENODEV
    with pytest.raises(DeviceLost):
        device.read32(5, 0)


# --- memory


@pytest.mark.parametrize(("size", "step"), [(1, 4096), (5000, 4096), (MIB, 2 * MIB), (5 * MIB, 2 * MIB)])
def test_vfio_memory_is_shared_with_the_device(device: VfioTransport, kernel: FakeKernel, size: int, step: int) -> None:
    buffer = device.alloc_dma(size)
    assert (buffer.size, buffer.page_size) == (size, step)
    assert len(buffer.bus_addr) == -(-size // step) and buffer.bus_addr[0] % step == 0
    assert list(buffer.bus_addr) == [buffer.bus_addr[0] + step * index for index in range(len(buffer.bus_addr))]
    assert buffer.read(0, size) == bytes(size)
    kernel.dma(buffer.bus_addr[-1], b"g")
    assert buffer.read((len(buffer.bus_addr) - 1) * step, 1) == b"g"
    buffer.write(size - 1, b"h")
    assert buffer.read(size - 1, 1) == b"h"
    buffer.close()
    buffer.close()
    assert kernel.mapped == {}
    with pytest.raises(ValueError, match="given back"):
        buffer.read(0, 1)


def test_vfio_memory_of_one_device_is_shared_with_another_at_its_own_addresses(
    device: VfioTransport, kernel: FakeKernel, fake: FakeSys
) -> None:
    buffer = device.alloc_dma(8192)
    other_kernel = FakeKernel()
    other_kernel.ranges = ((0x30_0000_0000, 0x3F_FFFF_FFFF),)  # another IOMMU, other addresses
    try:
        with closing(reach(fake, other_kernel)) as other:
            shared = other.share_dma(buffer)
            assert set(shared.bus_addr).isdisjoint(buffer.bus_addr)
            other_kernel.dma(shared.bus_addr[1], b"theirs")
            assert buffer.read(4096, 6) == b"theirs"
            shared.close()
            shared.close()
            assert other_kernel.mapped == {} and len(kernel.mapped) == 1
            assert buffer.read(4096, 6) == b"theirs", "it is the owner's still"
            left = other.share_dma(buffer)
            buffer.close()
            with pytest.raises(ValueError, match="given back"):
                other.share_dma(buffer)
        assert other_kernel.mapped == {}
        with pytest.raises(ValueError, match="given back"):
            left.read(0, 1)
    finally:
        other_kernel.finish()


def test_vfio_shares_no_memory_of_another_kind_and_leaves_nothing_when_it_fails(
    device: VfioTransport, kernel: FakeKernel
) -> None:
    with pytest.raises(UsageError, match="through VFIO, or neither"):
        device.share_dma(FakeDma(4096, 4096, (0x1000,)))
    buffer = device.alloc_dma(4096)
    kernel.fails[MAP] = errno.ENOSPC
    with pytest.raises(Unavailable, match="dma_entry_limit"):
        device.share_dma(buffer)
    del kernel.fails[MAP]
    assert device.share_dma(buffer).bus_addr[0] == buffer.bus_addr[0] + 4096, "what was taken for it was given back"
    assert buffer.read(0, 1) == b"\0"


def test_vfio_memory_out_of_range_is_refused(device: VfioTransport) -> None:
    buffer = device.alloc_dma(8192)
    for work in (partial(buffer.read, 8190, 4), partial(buffer.write, -1, b"x")):
        with pytest.raises(ValueError, match="outside"):
            work()
    for size in (0, -1):
        with pytest.raises(UsageError):
            device.alloc_dma(size)


def test_vfio_memory_takes_the_iommus_page_size(device: VfioTransport, kernel: FakeKernel) -> None:
    kernel.page_sizes = 0xFFFFFFFFFFFF0000
    assert device.alloc_dma(4096).page_size == 65536


def test_vfio_memory_that_is_left_is_taken_back_when_the_transport_closes(
    device: VfioTransport, kernel: FakeKernel
) -> None:
    buffer = device.alloc_dma(4096)
    device.close()
    assert not kernel.mapped
    buffer.close()
    with pytest.raises(ValueError, match="given back"):
        buffer.write(0, b"x")


def test_vfio_memory_avoids_what_the_iommu_excludes_and_the_bars_of_the_group(
    device: VfioTransport, fake: FakeSys, kernel: FakeKernel
) -> None:
    bar0 = 0x20_0000_0000
    kernel.ranges = ((0x10_0000, 0x10_0FFF), (bar0 - 4096, bar0 + 256 * MIB + 4095))
    places = [device.alloc_dma(4096).bus_addr[0] for _ in range(3)]
    assert places == [bar0 - 4096, bar0 + 256 * MIB, 0x10_0000]
    with pytest.raises(Unavailable, match="allocating") as caught:
        device.alloc_dma(4096)
    assert caught.value.expected == "0x1000 bytes of free IOVAs"
    assert len(kernel.mapped) == 3


def test_vfio_limit_of_locked_memory_is_named(device: VfioTransport, kernel: FakeKernel) -> None:
    device.acquire()
    before = handles_open()
    kernel.fails[MAP] = errno.ENOMEM
    with pytest.raises(NotPermitted) as caught:
        device.alloc_dma(4 * MIB)
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    assert "RLIMIT_MEMLOCK" in caught.value.expected and "4096 KiB" in caught.value.expected
    assert ("unlimited" if limit == resource.RLIM_INFINITY else f"{limit >> 10} KiB") in caught.value.seen
    assert "ulimit -l" in caught.value.next_step and handles_open() == before
    del kernel.fails[MAP]
    assert device.alloc_dma(4 * MIB).bus_addr[0] == 1 << 32  # the addresses are free again


def test_vfio_memory_that_is_short_is_told_from_the_limit(
    device: VfioTransport, fake: FakeSys, kernel: FakeKernel
) -> None:
    (fake.proc / "self/status").write_text("CapEff:\t0000000000004000\n")  # CAP_IPC_LOCK: no limit
    kernel.fails[MAP] = errno.ENOMEM
    with pytest.raises(Unavailable) as caught:
        device.alloc_dma(4096)
    assert caught.value.next_step == "free memory on this machine"
    kernel.fails[MAP] = errno.ENOSPC
    with pytest.raises(Unavailable) as caught:
        device.alloc_dma(4096)
    assert "dma_entry_limit" in caught.value.expected


def test_vfio_memory_that_cannot_be_mapped_here_is_unavailable(
    device: VfioTransport, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(size: int) -> None:
        raise OSError(errno.ENOMEM, "")

    monkeypatch.setattr("pcibus.vfio.map_anonymous", none)
    with pytest.raises(Unavailable):
        device.alloc_dma(4096)
    monkeypatch.undo()
    assert device.alloc_dma(4096).bus_addr == (1 << 32,)


def test_vfio_addresses_that_the_kernel_keeps_are_never_given_out_again(
    device: VfioTransport, kernel: FakeKernel
) -> None:
    buffer = device.alloc_dma(4096)
    kernel.fails[UNMAP] = errno.EINVAL
    with pytest.raises(Unavailable, match="taking 0x1000 bytes from"):
        buffer.close()
    assert device.alloc_dma(4096).bus_addr[0] == (1 << 32) + 4096


def test_iova_space_gives_aligned_addresses_and_merges_what_comes_back() -> None:
    space = IovaSpace([(0, 8 * MIB), (1 << 32, (1 << 32) + 4 * MIB)])
    first = space.take(4096, 4096)
    second = space.take(2 * MIB, 2 * MIB)
    assert (first, second) == (1 << 32, (1 << 32) + 2 * MIB)
    assert space.take(4 * MIB, 4096) == MIB  # none left above; the first MiB is never used
    assert space.take(4 * MIB, 4096) is None
    for start, size in ((1 << 32, 4096), ((1 << 32) + 2 * MIB, 2 * MIB)):
        space.give(start, size)
    assert space.take(4 * MIB, 2 * MIB) == 1 << 32


def test_iova_space_is_careful_where_the_kernel_tells_nothing() -> None:
    space = IovaSpace(None)
    given = [space.take(GIB, GIB) for _ in range(600)]
    told = [one for one in given if one is not None]
    assert len(told) == 508 + 2 and max(told) + GIB <= 1 << 39  # from 4 GiB to 2^39, then what is whole below
    assert not any(one < 0xFEF00000 and one + GIB > 0xFEE00000 for one in told)


def test_iova_space_stays_below_what_a_gpu_reaches() -> None:
    space = IovaSpace([((1 << 47) - 4096, 1 << 57)])
    assert space.take(4096, 4096) == (1 << 47) - 4096
    assert space.take(4096, 4096) is None


def test_vfio_small_memory_asks_for_no_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = mmap.mmap

    def spy(handle: int, size: int, flags: int) -> object:
        asked.append(flags)
        if flags & 0x40000:
            raise OSError(errno.ENOMEM, "no huge pages")
        return real(handle, size, flags=flags)

    monkeypatch.setattr("pcibus.vfio_memory.mmap.mmap", spy)
    assert len(vfio_memory.map_anonymous(4096)) == 4096 and not asked[0] & 0x40000
    assert len(vfio_memory.map_anonymous(2 * MIB)) == 2 * MIB
    assert [bool(flags & 0x40000) for flags in asked] == [False, True, False]


# --- interrupts


@pytest.mark.parametrize(("irqs", "kind"), [({1: 1, 2: 4}, 2), ({1: 1}, 1)])
def test_vfio_interrupts_come_by_msix_or_else_msi(
    device: VfioTransport, kernel: FakeKernel, irqs: dict[int, int], kind: int
) -> None:
    kernel.irqs = irqs
    device.enable_interrupts()
    device.enable_interrupts()
    assert list(kernel.vectors) == [kind]
    assert device.wait_interrupt(0) is False
    kernel.interrupt(3)
    assert device.wait_interrupt(10) is True
    assert device.wait_interrupt(0) is False
    device.disable_interrupts()
    device.disable_interrupts()
    assert not kernel.vectors


def test_vfio_interrupt_before_the_wait_is_not_missed_and_a_later_one_ends_it(
    device: VfioTransport, kernel: FakeKernel
) -> None:
    import threading

    device.enable_interrupts()
    timer = threading.Timer(0.05, kernel.interrupt)
    start = time.monotonic()
    timer.start()
    assert device.wait_interrupt(20)
    assert time.monotonic() - start < 10
    timer.join()


@pytest.mark.parametrize("limit", [1024, 0])  # by select, by poll
def test_vfio_wait_without_an_interrupt_is_bounded(
    device: VfioTransport, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("pcibus.vfio._SELECT_LIMIT", limit)
    device.enable_interrupts()
    start = time.monotonic()
    assert device.wait_interrupt(0.02) is False
    assert device.wait_interrupt(-1) is False
    assert 0.015 < time.monotonic() - start < 5


def test_vfio_poll_hears_interrupts_too(
    device: VfioTransport, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pcibus.vfio._SELECT_LIMIT", 0)
    device.enable_interrupts()
    kernel.interrupt()
    assert device.wait_interrupt(10)


def test_vfio_wait_without_interrupts_switched_on_is_a_defect_of_the_caller(device: VfioTransport) -> None:
    with pytest.raises(ValueError, match="enable_interrupts"):
        device.wait_interrupt(1)


@pytest.mark.parametrize("why", ["none", "spare", "refused"])
def test_vfio_function_without_vectors_is_unavailable_and_leaves_no_handle(
    device: VfioTransport, kernel: FakeKernel, why: str
) -> None:
    device.acquire()
    before = handles_open()
    if why == "none":
        kernel.irqs = {}
    elif why == "spare":
        kernel.spare_vectors = 1
    else:
        kernel.fails[IRQ_INFO] = errno.EINVAL
    with pytest.raises(Unavailable, match="switching on interrupts") as caught:
        device.enable_interrupts()
    words = {"none": "the function has none", "spare": "no vector is free", "refused": "Invalid argument"}[why]
    assert caught.value.seen == f"MSI-X: {words}; MSI: {words}"
    assert handles_open() == before


def test_vfio_interrupts_that_cannot_be_switched_off_are_told_once(device: VfioTransport, kernel: FakeKernel) -> None:
    device.enable_interrupts()
    kernel.fails[SET_IRQS] = errno.EIO
    with pytest.raises(Unavailable, match="switching off MSI-X"):
        device.disable_interrupts()
    device.disable_interrupts()


# --- behind wrappers, and by address


def test_vfio_read_only_use_of_index_registers_is_allowed_since_vfio_pci_keeps_others_out(
    device: VfioTransport,
) -> None:
    shielded = ReadOnly(device, frozenset({(5, 0)}))
    assert not shielded.can & (Can.INTERRUPTS | Can.DMA)
    with shielded.exclusive():
        shielded.write32(5, 0, 0x1234)
        assert device.read32(5, 0) == 0x1234
    assert device.read32(5, 0) == 0


def test_vfio_trace_opens_what_is_beneath_and_has_no_interrupts(device: VfioTransport) -> None:
    trace = Trace(device, io.StringIO())
    trace.acquire()
    assert device._handles is not None and Can.INTERRUPTS not in trace.can and Can.VIA_DRIVER in trace.can


def test_vfio_lock_is_the_one_of_all_drivers_of_the_gpu(device: VfioTransport, fake: FakeSys) -> None:
    with device.exclusive():
        assert (fake.locks / f"am_{BDF}.lock").exists()


@pytest.mark.parametrize("option", ["", "?resets=allowed"])
def test_vfio_address_gives_the_transport_and_opens_nothing(fake: FakeSys, option: str) -> None:
    (gpu,) = gpumend.list_gpus([f"vfio:c1:00.0{option}"], sys_root=fake.root)
    assert isinstance(gpu.transport, VfioTransport) and gpu.transport.name == f"vfio:{BDF}{option}"
    assert (gpu.address, gpu.bdf, gpu.part.name) == (f"vfio:c1:00.0{option}", BDF, "MI300X")
    assert gpu.transport._handles is None


@pytest.mark.parametrize("text", ["vfio:", "vfio:c1", "vfio:c1:00.0?", "vfio:c1:00.0?resets=yes", "vfio:c1:00.0?x&y"])
def test_vfio_address_that_is_none_is_a_usage_error(fake: FakeSys, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        gpumend.list_gpus([text], sys_root=fake.root)
    assert "vfio:0000:c1:00.0?resets=allowed" in caught.value.expected


def test_vfio_address_of_nothing_is_unavailable(fake: FakeSys) -> None:
    with pytest.raises(Unavailable):
        gpumend.list_gpus(["vfio:0000:77:00.0"], sys_root=fake.root)


# --- the binary forms


def test_vfio_requests_are_the_numbers_of_the_header() -> None:
    assert (vfio_abi.GET_API_VERSION, vfio_abi.DEVICE_SET_IRQS, vfio_abi.IOMMU_UNMAP_DMA) == (0x3B64, 0x3B6E, 0x3B72)


@pytest.mark.parametrize("first", [32, 8, 4000, 0])
def test_vfio_chain_that_is_broken_ends(first: int) -> None:
    """One that points to itself, into the head, beyond the end, nowhere: the whole region counts as one that can be mapped."""
    data = struct.pack("<IIIIQQ", 40, 15, 0, first, MIB, 0) + struct.pack("<HHI", 9, 1, 32)
    assert vfio_abi.region_of(data) == vfio_abi.Region(MIB, 0, ((0, MIB),))


def test_vfio_areas_that_claim_too_much_are_cut() -> None:
    body = struct.pack("<HHIII", 1, 1, 0, 1000, 0) + struct.pack("<QQ", 0, 4 * MIB)
    data = struct.pack("<IIIIQQ", 32 + len(body), 15, 0, 32, MIB, 0) + body
    assert vfio_abi.region_of(data).areas == ((0, MIB),)
    assert vfio_abi.region_of(data[:40]).areas == ()


def test_vfio_info_of_any_size_is_asked_twice_at_most(kernel: FakeKernel) -> None:
    class Greedy(FakeKernel):
        def ioctl(self, handle: int, request: int, argument: int | bytearray) -> int:
            assert isinstance(argument, bytearray)
            self.calls.append("asked")
            struct.pack_into("<I", argument, 0, len(argument) * 2)
            return 0

    greedy = Greedy()
    assert len(vfio_abi.ask(greedy, 0, DEVICE_INFO, vfio_abi.DEVICE_INFO)) == 48
    assert greedy.calls == ["asked", "asked"]
    greedy.finish()


def test_vfio_linux_kernel_is_asked_for_real(tmp_path: Path) -> None:
    linux = vfio_abi.LinuxKernel()
    (tmp_path / "file").touch()
    handle = linux.open(tmp_path / "file")
    try:
        with pytest.raises(OSError, match="Inappropriate ioctl"):
            linux.ioctl(handle, vfio_abi.GET_API_VERSION, 0)
        with pytest.raises(OSError, match="Inappropriate ioctl"):
            linux.ioctl(handle, vfio_abi.DEVICE_GET_INFO, bytearray(24))
    finally:
        os.close(handle)
