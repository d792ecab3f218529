"""pcibus/sysfs.py on fake trees: the scan, identity, BARs, config space, mappings, and what is refused and why."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pcibus.sysfs
from base.child import ChildTimeout, run_many_in_children
from base.errors import DeviceLost, InvalidData, NotPermitted, Refused, Unavailable, UsageError
from pcibus.config import decode, finding_of, is_lost
from pcibus.sysfs import (
    Asleep,
    MapRefused,
    SysfsTransport,
    aer_counters,
    lockdown,
    parse_resource,
    scan,
)
from pcibus.transport import Bar, Can, FunctionInfo, Transport
from tests.fakesys import IO_PORTS, MEM64_PREFETCH, FakeBar, FakeSys, config_space, words

BDF = "0000:c1:00.0"
PORT = "0000:c0:01.0"
GIB = 1 << 30


@pytest.fixture
def fake(tmp_path: Path) -> FakeSys:
    return FakeSys(tmp_path)


def transport(fake: FakeSys, bdf: str = BDF) -> SysfsTransport:
    return SysfsTransport(bdf, root=fake.root, proc=fake.proc, lock_dir=fake.locks)


# --- scan


def test_scan_finds_functions_by_address_with_their_facts(fake: FakeSys) -> None:
    fake.add_device(PORT, vendor=0x1022, device=0x14AB, class_code=0x060400)
    fake.add_device(BDF, below=PORT, driver="amdgpu", numa_node=-1, reset_method="flr bus", power_state="D3hot")
    fake.add_device("0000:05:00.0", vendor=0x1AF4, device=0x1041, class_code=0x020000)
    found = scan(fake.root)
    assert [info.bdf for info in found] == ["0000:05:00.0", PORT, BDF]
    assert found[2] == FunctionInfo(
        BDF,
        0x1002,
        0x74A1,
        subsystem_vendor=0x1002,
        subsystem_device=0x0C34,
        revision=0,
        class_code=0x120000,
        driver="amdgpu",
        power_state="D3hot",
        enabled=True,
        numa_node=None,
        iommu_group=40,
        reset_methods=("flr", "bus"),
        upstream=PORT,
        sriov_vf=False,
    )
    assert found[0] == FunctionInfo("0000:05:00.0", 0x1AF4, 0x1041, class_code=0x020000)


def test_scan_gives_all_facts_where_asked(fake: FakeSys) -> None:
    fake.add_device(BDF, class_code=0x020000, driver="mlx5_core")
    assert scan(fake.root)[0].driver is None
    assert scan(fake.root, lambda vendor, device, class_code: vendor == 0x1002)[0].driver == "mlx5_core"


def test_scan_of_an_empty_bus_finds_nothing(fake: FakeSys) -> None:
    assert scan(fake.root) == []


def test_scan_without_a_pci_bus_says_what_was_looked_for(tmp_path: Path) -> None:
    fake = FakeSys(tmp_path, pci=False)
    with pytest.raises(Unavailable) as caught:
        scan(fake.root)
    assert caught.value.where == str(fake.root / "bus/pci/devices")
    assert "No such file" in caught.value.seen and "sysfs" in caught.value.next_step


def test_scan_leaves_out_what_vanishes_and_what_is_no_address(fake: FakeSys) -> None:
    fake.add_device("0000:c1:00.0")
    gone = fake.add_device("0000:c2:00.0")
    (gone.path / "vendor").unlink()
    (fake.root / "bus/pci/devices/0000:c3:00.0").symlink_to(fake.root / "devices/nowhere")
    (fake.root / "bus/pci/devices/..weird").mkdir()
    fake.add_device("0000:c4:00.0").set("device", "not a number")
    assert [info.bdf for info in scan(fake.root)] == [BDF]


def test_scan_reads_no_config_space_and_no_fifo_stops_it(fake: FakeSys) -> None:
    device = fake.add_device(BDF)
    (device.path / "config").unlink()
    (device.path / "power_state").unlink()
    os.mkfifo(device.path / "power_state")
    (info,) = scan(fake.root)
    assert info.power_state is None


def test_scan_tells_a_virtual_function_and_its_missing_facts(fake: FakeSys) -> None:
    fake.add_device(BDF)
    fake.add_device("0000:c1:02.0", physfn=BDF, device=0x74B5, power_state=None, reset_method=None, iommu_group=None)
    vf = scan(fake.root)[1]
    assert vf.sriov_vf
    assert (vf.power_state, vf.reset_methods, vf.iommu_group, vf.driver) == (None, None, None, "")


def test_scan_keeps_strings_raw_for_the_renderer_to_escape(fake: FakeSys) -> None:
    fake.add_device(BDF, power_state="D0\x1b[31mred")
    assert scan(fake.root)[0].power_state == "D0\x1b[31mred"


# --- identity and BARs


def test_sysfs_constructor_touches_nothing() -> None:
    made = SysfsTransport(BDF, root=Path("/nonexistent"))
    assert made.name == BDF and Can.HOST in made.can and Can.MMIO in made.can and Can.DMA not in made.can
    made.close()
    assert isinstance(made, Transport)


@pytest.mark.parametrize("bad", ["c1:00.0", "0000:C1:00.0", "../../etc", "0000:c1:00.8", "0000:c1:00.0\n"])
def test_sysfs_address_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="bus address"):
        SysfsTransport(bad)


def test_sysfs_nothing_at_the_address_is_unavailable(fake: FakeSys) -> None:
    made = transport(fake)
    asks: list[Callable[[], object]] = [made.info, made.bars, made.config_size, lambda: made.config_read(0, 4)]
    for ask in asks:
        with pytest.raises(Unavailable) as caught:
            ask()
        assert type(caught.value) is Unavailable
        assert (caught.value.expected, caught.value.seen) == ("a PCI function at that address", "none")


def test_sysfs_device_pulled_out_while_working_is_lost(fake: FakeSys) -> None:
    device = fake.add_device(BDF, bars={5: FakeBar(0x1000_0000, 4096)})
    made = transport(fake)
    assert made.bars()[5].size == 4096
    (fake.root / "bus/pci/devices" / BDF).unlink()
    with pytest.raises(DeviceLost, match="went away"):
        made.read32(5, 0)
    with pytest.raises(DeviceLost):
        made.info()
    assert device.path.exists()


def test_sysfs_capability_decides_what_config_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    for may, flag in ((True, Can.CONFIG_EXTENDED), (False, Can.NOTHING)):
        monkeypatch.setattr(pcibus.sysfs, "_may_read_all_config", lambda may=may: may)
        assert SysfsTransport(BDF).can & Can.CONFIG_EXTENDED == flag


def test_sysfs_bars_from_resource(fake: FakeSys) -> None:
    fake.add_device(
        BDF,
        bars={
            0: FakeBar(0x20_0000_0000, 192 * GIB, MEM64_PREFETCH),
            2: FakeBar(0x60_0000_0000, 2 << 20, MEM64_PREFETCH),
            4: FakeBar(0x1000, 256, IO_PORTS),
            5: FakeBar(0xE000_0000, 512 << 10),
        },
    )
    bars = transport(fake).bars()
    assert bars[0] == Bar(0, 0x20_0000_0000, 192 * GIB, is_64bit=True, prefetchable=True)
    assert bars[4] == Bar(4, 0x1000, 256, is_io=True)
    assert bars[5] == Bar(5, 0xE000_0000, 512 << 10)
    assert sorted(bars) == [0, 2, 4, 5]


def test_sysfs_resource_without_address_or_with_bridge_windows_is_left_out() -> None:
    unset = "0x0000000000000000 0x000000000007ffff 0x0000000020040200"
    text = "\n".join([unset, *["0x0 0x0 0x0"] * 5, "0x1000 0x1fff 0x200", "0x1000 0x1fff 0x200"])
    assert parse_resource(text) == {}


@pytest.mark.parametrize("line", ["0x0 0x0", "0x0 zz 0x0", "", "\x1b[2J"])
def test_sysfs_resource_garbage_is_invalid_data(line: str) -> None:
    with pytest.raises(InvalidData, match="start, end and flags in hex") as caught:
        parse_resource("0x0 0x0 0x0\n" + line + "\n0x0 0x0 0x0", where="r")
    assert caught.value.where == "r:2"
    assert "\x1b" not in caught.value.seen


# --- config space


def test_sysfs_config_reads_little_endian_and_aligned(fake: FakeSys) -> None:
    fake.add_device(BDF, config=config_space())
    made = transport(fake)
    assert made.config_size() == 4096
    assert made.config_read(0, 4) == 0x74A11002
    assert (made.config_read(2, 2), made.config_read(1, 1)) == (0x74A1, 0x10)
    assert made.config_read(0x204, 4) == 0x89ABCDEF
    made.close()


@pytest.mark.parametrize(("offset", "size"), [(1, 4), (2, 4), (1, 2), (0, 3), (-4, 4), (4096, 4), (0, 8)])
def test_sysfs_config_access_that_cannot_be_is_our_defect(fake: FakeSys, offset: int, size: int) -> None:
    fake.add_device(BDF)
    with pytest.raises(ValueError, match="config space"):
        transport(fake).config_read(offset, size)


@pytest.mark.parametrize(("length", "size"), [(64, 64), (256, 256), (4096, 4096), (300, 256), (0, 0)])
def test_sysfs_config_size_is_what_can_be_read(fake: FakeSys, length: int, size: int) -> None:
    fake.add_device(BDF, config=config_space(size=length))
    assert transport(fake).config_size() == size


def test_sysfs_config_cut_by_the_kernel_counts_not_the_file_size(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_device(BDF, config=config_space())
    real = os.pread

    def unprivileged(handle: int, count: int, offset: int) -> bytes:  # as pci_read_config does without CAP_SYS_ADMIN
        return real(handle, max(0, min(count, 64 - offset)), offset)

    monkeypatch.setattr(os, "pread", unprivileged)
    made = transport(fake)
    assert made.config_size() == 64
    assert made.config_read(0x3C, 4) == 0
    with pytest.raises(NotPermitted, match="CAP_SYS_ADMIN") as caught:
        made.config_read(0x40, 4)
    assert caught.value.seen.startswith("0 bytes")


def test_sysfs_config_write_goes_to_the_file(fake: FakeSys) -> None:
    device = fake.add_device(BDF)
    made = transport(fake)
    made.config_write(4, 2, 0x0402)
    assert made.config_read(4, 2) == 0x0402
    made.close()
    assert (device.path / "config").read_bytes()[4:6] == b"\x02\x04"


def test_sysfs_config_refused_names_lockdown(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF)
    (fake.root / "kernel/security").mkdir(parents=True)
    (fake.root / "kernel/security/lockdown").write_text("none [integrity] confidentiality\n")
    fail(monkeypatch, "pwrite", errno.EPERM)
    with pytest.raises(NotPermitted, match="lockdown is integrity"):
        transport(fake).config_write(4, 2, 0)


def test_sysfs_config_on_a_readonly_mount_says_so(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF)
    fail(monkeypatch, "open", errno.EROFS, only=os.O_RDWR)
    with pytest.raises(NotPermitted, match="mounted read-only"):
        transport(fake).config_write(4, 2, 0)


def test_sysfs_config_that_errs_otherwise_is_unavailable(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF)
    fail(monkeypatch, "pread", errno.EIO)
    with pytest.raises(Unavailable, match="Input/output error"):
        transport(fake).config_read(0, 4)


def test_sysfs_config_of_a_device_that_left_is_lost(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF)
    made = transport(fake)
    made.config_read(0, 4)
    fail(monkeypatch, "pread", errno.ENODEV)
    with pytest.raises(DeviceLost, match="No such device"):
        made.config_read(0, 4)


def fail(monkeypatch: pytest.MonkeyPatch, name: str, number: int, only: int = 0) -> None:
    """Make an os function fail with an error number (`open`: when these flags are set)."""
    real = getattr(os, name)

    def failing(*args: Any, **kwargs: Any) -> Any:
        if name == "open" and not args[1] & only:
            return real(*args, **kwargs)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, failing)


# --- power


def test_sysfs_device_in_d3cold_is_left_asleep(fake: FakeSys) -> None:
    device = fake.add_device(BDF, power_state="D3cold", bars={5: FakeBar(0x1000, 4096)})
    made = transport(fake)
    asks: list[Callable[[], int]] = [lambda: made.config_read(0, 4), made.config_size, lambda: made.read32(5, 0)]
    for ask in asks:
        with pytest.raises(Asleep) as caught:
            ask()
        assert BDF in caught.value.seen and "D3cold" in caught.value.seen
        assert finding_of(caught.value).code == "pci.power"
    assert str(caught.value).splitlines()[0] == f"accessing BAR5 of {BDF} not done"
    assert made.info().power_state == "D3cold"
    device.set("power_state", "D0")
    assert made.read32(5, 0) == 0


def test_sysfs_device_in_d3hot_answers_config_but_not_mmio(fake: FakeSys) -> None:
    fake.add_device(BDF, power_state="D3hot", bars={5: FakeBar(0x1000, 4096)})
    made = transport(fake)
    assert made.config_read(0, 4) == 0x74A11002
    with pytest.raises(Asleep, match="D3hot"):
        made.read32(5, 0)


def test_sysfs_device_below_a_sleeping_port_is_left_asleep(fake: FakeSys) -> None:
    fake.add_device(PORT, class_code=0x060400, power_state="D3hot")
    fake.add_device(BDF, below=PORT)
    with pytest.raises(Asleep, match=f"its upstream port {PORT} is in D3hot"):
        transport(fake).config_read(0, 4)


def test_sysfs_device_that_falls_asleep_is_noticed(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    device = fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096, content=b"\x01")})
    made = transport(fake)
    assert made.read32(5, 0) == 1
    device.set("power_state", "D3hot")
    now[0] += 1.0
    with pytest.raises(Asleep):
        made.read32(5, 0)


def test_sysfs_kernel_that_tells_no_power_state_is_no_obstacle(fake: FakeSys) -> None:
    fake.add_device(BDF, power_state=None)
    assert transport(fake).config_read(0, 4) == 0x74A11002


# --- memory


def test_sysfs_mmio_reads_and_writes_words(fake: FakeSys) -> None:
    device = fake.add_device(BDF, bars={5: FakeBar(0x1000, 8192, content=struct.pack("<IIQ", 0x11223344, 5, 1 << 63))})
    made = transport(fake)
    assert (made.read32(5, 0), made.read32(5, 4), made.read64(5, 8)) == (0x11223344, 5, 1 << 63)
    made.write32(5, 4096, 0xDEADBEEF)
    made.write64(5, 4104, 0x0102030405060708)
    assert made.read32(5, 4096) == 0xDEADBEEF
    made.close()
    stored = (device.path / "resource5").read_bytes()
    assert stored[4096:4100] == b"\xef\xbe\xad\xde" and stored[4104:4112] == bytes(range(8, 0, -1))


def test_sysfs_mmio_value_too_big_is_our_defect(fake: FakeSys) -> None:
    fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096)})
    with pytest.raises(ValueError, match="format"):
        transport(fake).write32(5, 0, 1 << 32)


def test_sysfs_reading_needs_no_right_to_write(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096)})
    fail(monkeypatch, "open", errno.EACCES, only=os.O_RDWR)
    made = transport(fake)
    assert made.read32(5, 0) == 0
    with pytest.raises(MapRefused, match="run as root"):
        made.write32(5, 0, 1)


def test_sysfs_big_bar_is_mapped_in_windows(fake: FakeSys) -> None:
    device = fake.add_device(BDF, bars={0: FakeBar(0x20_0000_0000, 192 * GIB, MEM64_PREFETCH)})
    end = 192 * GIB - 65536
    with (device.path / "resource0").open("r+b") as file:
        file.seek(end)
        file.write(b"\x07\x14\x21\x28")
    made = transport(fake)
    assert made.read_block(0, end, 8) == b"\x07\x14\x21\x28" + bytes(4)
    for gib in range(40):  # more windows than are kept
        made.write32(0, gib * GIB, gib + 1)
    assert [made.read32(0, gib * GIB) for gib in range(40)] == list(range(1, 41))
    assert len(made._windows) == 16
    made.close()


def test_sysfs_block_across_windows_and_back(fake: FakeSys) -> None:
    fake.add_device(BDF, bars={0: FakeBar(0x20_0000_0000, 1 * GIB, MEM64_PREFETCH)})
    made = transport(fake)
    data = bytes(range(256)) * 64
    made.write_block(0, (2 << 20) - 4096, data)
    assert made.read_block(0, (2 << 20) - 4096, len(data)) == data
    assert made.read_block(0, 0, 0) == b""
    made.close()


@pytest.mark.parametrize(("offset", "size"), [(4094, 4), (2, 4), (4, 6), (0, -4)])
def test_sysfs_block_unaligned_is_our_defect(fake: FakeSys, offset: int, size: int) -> None:
    fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096)})
    with pytest.raises(ValueError, match="multiples of 4"):
        transport(fake).read_block(5, offset, size)


def test_sysfs_access_beyond_the_bar_is_unavailable(fake: FakeSys) -> None:
    fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096)})
    made = transport(fake)
    asks: list[Callable[[], object]] = [
        lambda: made.read32(5, 4096),
        lambda: made.read_block(5, 4092, 8),
        lambda: made.write32(5, -4, 0),
    ]
    for ask in asks:
        with pytest.raises(Unavailable, match="an offset below 0x1000"):
            ask()
    with pytest.raises(ValueError, match="not aligned"):
        made.read64(5, 4)


def test_sysfs_bar_that_is_missing_or_io_is_unavailable(fake: FakeSys) -> None:
    fake.add_device(BDF, bars={4: FakeBar(0x1000, 256, IO_PORTS)})
    made = transport(fake)
    with pytest.raises(Unavailable, match="BARs 4"):
        made.read32(5, 0)
    with pytest.raises(Unavailable, match="I/O ports"):
        made.read32(4, 0)


def refuse_mmap(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refusing(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(mmap, "mmap", refusing)


def test_sysfs_mmap_refused_by_lockdown_says_so(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096)})
    (fake.root / "kernel/security").mkdir(parents=True)
    (fake.root / "kernel/security/lockdown").write_text("none integrity [confidentiality]\n")
    refuse_mmap(monkeypatch, errno.EPERM)
    with pytest.raises(MapRefused, match="lockdown is confidentiality") as caught:
        transport(fake).read32(5, 0)
    finding = finding_of(caught.value)
    assert finding.code == "pci.mmap-refused" and "Secure Boot" in finding.next


def test_sysfs_mmap_refused_for_a_driver_names_it(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096)}, driver="amdgpu")
    refuse_mmap(monkeypatch, errno.EINVAL)
    with pytest.raises(MapRefused, match="bound driver: amdgpu") as caught:
        transport(fake).read32(5, 0)
    assert caught.value.next_step == "unbind amdgpu first"


def test_sysfs_mmap_refused_without_a_driver_names_strict_iomem(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096)})
    refuse_mmap(monkeypatch, errno.EINVAL)
    with pytest.raises(MapRefused, match="iomem=relaxed"):
        transport(fake).read32(5, 0)


def test_sysfs_resource_file_of_another_size_is_unavailable(fake: FakeSys) -> None:
    device = fake.add_device(BDF, bars={5: FakeBar(0x1000, 8192)})
    os.truncate(device.path / "resource5", 4096)
    with pytest.raises(Unavailable, match="a file of the BAR's size"):
        transport(fake).read32(5, 0)


def test_sysfs_resource_file_that_the_kernel_does_not_offer_is_said(fake: FakeSys) -> None:
    device = fake.add_device(BDF, bars={5: FakeBar(0x1000, 8192)})
    (device.path / "resource5").unlink()
    with pytest.raises(Unavailable, match="this kernel offers no such file") as caught:
        transport(fake).read32(5, 0)
    assert type(caught.value) is Unavailable and caught.value.expected == "the file resource5"


def test_sysfs_resource_without_permission_names_root(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096)})
    real = os.open

    def unprivileged(path: Any, flags: int, *rest: Any) -> int:
        if Path(path).name.startswith("resource5"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", unprivileged)
    with pytest.raises(MapRefused, match=r"root \(CAP_DAC_OVERRIDE\)") as caught:
        transport(fake).read32(5, 0)
    assert finding_of(caught.value).code == "pci.mmap-refused"


def test_sysfs_memory_for_a_device_that_is_not_there_is_unavailable(fake: FakeSys) -> None:
    with pytest.raises(Unavailable, match="allocating memory for the device") as caught:
        transport(fake).alloc_dma(4096)
    assert caught.value.expected == "a PCI function at that address"


def test_sysfs_declares_dma_only_where_memory_can_be_had(fake: FakeSys, tmp_path: Path) -> None:
    device = fake.add_device(BDF, iommu_group=None)
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text("CapEff:\t0000000000000000\n")
    assert Can.DMA not in SysfsTransport(BDF, root=fake.root, proc=tmp_path).can
    for without in (lambda made: made.alloc_dma(4096), SysfsTransport.acquire):
        with pytest.raises(NotPermitted, match="CAP_SYS_ADMIN"):
            without(SysfsTransport(BDF, root=fake.root, proc=tmp_path))
    (tmp_path / "self/status").write_text("CapEff:\t000001ffffffffff\n")
    assert Can.DMA in SysfsTransport(BDF, root=fake.root, proc=tmp_path).can
    SysfsTransport(BDF, root=fake.root, proc=tmp_path).acquire()
    (device.path / "iommu_group").mkdir()
    made = SysfsTransport(BDF, root=fake.root, proc=tmp_path)
    assert Can.DMA not in made.can
    with pytest.raises(Refused, match="IOMMU group"):
        made.acquire()


def test_sysfs_memory_decoding_off_is_read_not_repaired(fake: FakeSys) -> None:
    device = fake.add_device(BDF, config=config_space(command=0), enable="0", bars={5: FakeBar(0x1000, 4096)})
    made = transport(fake)
    assert made.info().enabled is False
    made.read32(5, 0)
    assert [finding.code for finding in decode(made).findings] == ["pci.memory-off"]
    assert (device.path / "config").read_bytes()[4:6] == b"\0\0"
    assert (device.path / "enable").read_text() == "0\n"


# --- the rest


def test_sysfs_lockdown_absent_is_unknown(fake: FakeSys) -> None:
    assert lockdown(fake.root) == ""


def test_sysfs_aer_counters_keep_what_is_not_zero(fake: FakeSys) -> None:
    fake.add_device(
        BDF,
        attributes={
            "aer_dev_correctable": "RxErr 0\nBadTLP 12\nBadDLLP 3\nTOTAL_ERR_COR 15",
            "aer_dev_nonfatal": "Undefined 0\nTOTAL_ERR_NONFATAL 0",
            "aer_dev_fatal": "DLP x\n\ndev_fatal_errs_bit[7] 2\nTOTAL_ERR_FATAL 2",
        },
    )
    fake.add_device("0000:c2:00.0")
    assert aer_counters(BDF, fake.root) == {
        "correctable": {"BadTLP": 12, "BadDLLP": 3},
        "nonfatal": {},
        "fatal": {"dev_fatal_errs_bit[7]": 2},
    }
    assert aer_counters("0000:c2:00.0", fake.root) is None


def first_dwords(transports: Sequence[SysfsTransport], limit_s: float) -> list[object]:
    """Config dword 0 of each, asked in children as commands do it: the value, or the error."""
    works = [partial(made.config_read, 0, 4) for made in transports]
    doing = [f"reading config space of {made.bdf}" for made in transports]
    where = [f"{made.path}/config" for made in transports]
    return [
        outcome.error or outcome.value for outcome in run_many_in_children(works, limit_s, doing=doing, where=where)
    ]


def test_sysfs_first_dwords_are_asked_in_children(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(BDF)
    fake.add_device("0000:c2:00.0", config=b"\xff" * 4096)
    made = [transport(fake), transport(fake, "0000:c2:00.0"), transport(fake, "0000:c3:00.0")]
    answers = first_dwords(made, 20)
    assert answers[:2] == [0x74A11002, 0xFFFFFFFF]
    assert isinstance(answers[2], Unavailable)
    assert is_lost(made[1])


def test_sysfs_config_blocked_by_a_reset_is_a_finding_not_a_hang(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_device(BDF)
    monkeypatch.setattr(os, "pread", lambda *_: time.sleep(60))
    (answer,) = first_dwords([transport(fake)], 0.2)
    assert isinstance(answer, ChildTimeout)
    finding = finding_of(answer)
    assert (finding.code, finding.where) == ("pci.config-blocked", f"{fake.root}/bus/pci/devices/{BDF}/config")
    assert "reset" in finding.summary and "wait" in finding.next


def test_sysfs_scan_on_this_machine_agrees_with_config_space() -> None:
    if not Path("/sys/bus/pci/devices").is_dir():
        pytest.skip("this machine has no PCI bus")
    for info in scan(details=lambda *_: True):
        made = SysfsTransport(info.bdf)
        (answer,) = first_dwords([made], 20)
        if not info.sriov_vf and isinstance(answer, int) and answer != 0xFFFFFFFF:
            assert answer == info.vendor | info.device << 16
        assert made.info().bdf == info.bdf


def test_sysfs_mapping_of_a_function_that_was_removed_is_not_used(
    fake: FakeSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux leaves it in place, and may give its addresses to another function."""
    device = fake.add_device(BDF, bars={5: FakeBar(0x1000, 4096, content=words(7))})
    made = transport(fake)
    assert made.read32(5, 0) == 7
    device.path.rename(fake.root / "removed")
    monkeypatch.setattr(pcibus.sysfs, "_POWER_CHECK_S", 0.0)
    made._awake_until = 0.0
    for access in (lambda: made.read32(5, 0), lambda: made.write32(5, 0, 1), lambda: made.config_read(0, 4)):
        with pytest.raises(DeviceLost, match="it went away"):
            access()
    made.close()
