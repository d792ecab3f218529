"""Builds trees that look like /sys and /proc, for tests: the machine of your choice in a temporary folder.

    sys = FakeSys(tmp_path)
    gpu = sys.add_device("0000:c1:00.0", vendor=0x1002, device=0x74A1, config=config_space(...))
    sys.add_process(100, "python3", fds=["/dev/dri/renderD128"])
    SysfsTransport(gpu.bdf, root=sys.root, proc=sys.proc, lock_dir=sys.locks)

Layout as Linux makes it: the real folder of a function lies below its bridge in devices/pci0000:00, and
bus/pci/devices holds links. Files are plain files: nothing here acts."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MEM32 = 0x40200
MEM64_PREFETCH = 0x14220C
IO_PORTS = 0x40101


@dataclass(frozen=True, slots=True)
class FakeBar:
    """One BAR; `content` is the beginning of what its memory holds (the rest 0), `size` in bytes."""

    address: int
    size: int
    flags: int = MEM32
    content: bytes = b""


def patched(size: int, parts: Mapping[int, bytes]) -> bytes:
    """`size` zero bytes with `parts` put at their offsets."""
    data = bytearray(size)
    for offset, part in parts.items():
        data[offset : offset + len(part)] = part
    return bytes(data)


def words(*values: int) -> bytes:
    """Little-endian dwords."""
    return struct.pack(f"<{len(values)}I", *values)


def config_space(
    *,
    vendor: int = 0x1002,
    device: int = 0x74A1,
    command: int = 0x0406,
    class_code: int = 0x120000,
    revision: int = 0,
    power: int = 0,
    speed: int = 5,
    width: int = 16,
    max_speed: int = 5,
    max_width: int = 16,
    aspm: int = 0,
    flr: bool = True,
    port_type: int = 0,
    correctable: int = 0,
    uncorrectable: int = 0,
    fatal_mask: int = 0x00462030,
    masked: int = 0,
    correctable_masked: int = 0,
    header_log: Sequence[int] = (0, 0, 0, 0),
    serial: int = 0x0123456789ABCDEF,
    header_type: int = 0,
    size: int = 4096,
    more: Mapping[int, bytes] | None = None,
) -> bytes:
    """Config space of a PCI Express function: PM at 0x50, PCIe at 0x64, MSI at 0xA0, MSI-X at 0xC0, AER at 0x150,
    serial number at 0x200, resizable BAR 0 at 0x210. `more` overwrites bytes at the end."""
    express = patched(
        0x34,
        {
            0x00: words(0x10 | 0xA0 << 8 | (2 | port_type << 4) << 16),
            0x04: words(0x10008002 | 0 if flr else 0x00008002),
            0x0C: words(max_speed | max_width << 4 | 3 << 10 | 1 << 20),
            0x10: words(aspm | (speed | width << 4 | 1 << 13) << 16),
            0x2C: words(((1 << max_speed) - 1) << 1),
        },
    )
    parts = {
        0x00: struct.pack("<HHHH", vendor, device, command, 0x0010),
        0x08: words(revision | class_code << 8),
        0x0C: bytes((16, 0, header_type, 0)),
        0x10: words(0x0000000C, 0x20),
        0x18: b"" if header_type & 0x7F else words(0x0000000C, 0x60, 0, 0xE0000000),
        0x2C: struct.pack("<HH", vendor, 0x0C34),
        0x34: bytes((0x50,)),
        0x50: words(0x01 | 0x64 << 8 | 0x0603 << 16, power),
        0x64: express,
        0xA0: words(0x05 | 0xC0 << 8 | 0x0084 << 16),
        0xC0: words(0x11 | 0x00 << 8 | 0x8003 << 16),
        0x100: words(0x0B | 1 << 16 | 0x150 << 20),
        0x150: words(
            0x01 | 2 << 16 | 0x200 << 20, uncorrectable, masked, fatal_mask, correctable, correctable_masked, 0, *header_log
        ),
        0x200: words(0x03 | 1 << 16 | 0x210 << 20, serial & 0xFFFFFFFF, serial >> 32),
        0x210: words(0x15 | 1 << 16, 0x000FF000, 0 | 1 << 5 | 16 << 8),
    }  # fmt: skip
    data = bytearray(patched(4096, parts))
    for offset, part in (more or {}).items():
        data[offset : offset + len(part)] = part
    return bytes(data[:size])


@dataclass(frozen=True, slots=True)
class FakeDevice:
    """A function that was added; `path` is its real folder."""

    bdf: str
    path: Path

    def set(self, name: str, text: str) -> None:
        """Write an attribute, with the newline that sysfs adds."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


class FakeSys:
    """A fake /sys (`root`), /proc (`proc`) and folder for locks (`locks`) below one folder."""

    def __init__(self, folder: Path, *, pci: bool = True) -> None:
        self.root = folder / "sys"
        self.proc = folder / "proc"
        self.locks = folder / "locks"
        for path in (self.root, self.proc, self.locks):
            path.mkdir(parents=True)
        if pci:
            for name in ("devices", "drivers"):
                (self.root / "bus/pci" / name).mkdir(parents=True)
            (self.root / "bus/pci/drivers_probe").write_text("")

    def add_device(
        self,
        bdf: str,
        *,
        vendor: int = 0x1002,
        device: int = 0x74A1,
        class_code: int = 0x120000,
        subsystem: tuple[int, int] = (0x1002, 0x0C34),
        revision: int = 0,
        config: bytes | None = None,
        bars: Mapping[int, FakeBar] | None = None,
        driver: str = "",
        power_state: str | None = "D0",
        numa_node: int = 1,
        iommu_group: int | None = 40,
        reset_method: str | None = "flr bus",
        enable: str = "1",
        below: str = "",
        physfn: str = "",
        drm: Iterable[str] = (),
        attributes: Mapping[str, str] | None = None,
    ) -> FakeDevice:
        """Add one function; `below`: the bridge above it, added before. `attributes`: more files (`aer_dev_correctable`)."""
        above = self.device(below).path if below else self.root / "devices/pci0000:00"
        path = above / bdf
        path.mkdir(parents=True)
        (self.root / "bus/pci/devices" / bdf).symlink_to(path)
        made = FakeDevice(bdf, path)
        for name, number in (("vendor", vendor), ("device", device), ("subsystem_vendor", subsystem[0])):
            made.set(name, f"{number:#06x}")
        made.set("subsystem_device", f"{subsystem[1]:#06x}")
        made.set("class", f"{class_code:#08x}")
        made.set("revision", f"{revision:#04x}")
        made.set("numa_node", str(numa_node))
        made.set("enable", enable)
        made.set("driver_override", "(null)")
        if power_state is not None:
            made.set("power_state", power_state)
        if reset_method is not None:
            made.set("reset_method", reset_method)
        for name, text in (attributes or {}).items():
            made.set(name, text)
        if iommu_group is not None:
            group = self.root / "kernel/iommu_groups" / str(iommu_group)
            group.mkdir(parents=True, exist_ok=True)
            (path / "iommu_group").symlink_to(group)
        if physfn:
            (path / "physfn").symlink_to(self.device(physfn).path)
        (path / "config").write_bytes(config_space(vendor=vendor, device=device) if config is None else config)
        self._add_bars(path, bars or {})
        for name in drm:
            (path / "drm" / name).mkdir(parents=True)
        if driver:
            self.bind(bdf, driver)
        return made

    @staticmethod
    def _add_bars(path: Path, bars: Mapping[int, FakeBar]) -> None:
        lines = []
        for index in range(13):
            bar = bars.get(index)
            if bar is None:
                lines.append("0x0000000000000000 0x0000000000000000 0x0000000000000000")
                continue
            lines.append(f"{bar.address:#018x} {bar.address + bar.size - 1:#018x} {bar.flags:#018x}")
            with (path / f"resource{index}").open("wb") as file:
                file.write(bar.content)
                file.truncate(bar.size)  # sparse: a BAR of 192 GiB costs nothing
        (path / "resource").write_text("\n".join(lines) + "\n")

    def device(self, bdf: str) -> FakeDevice:
        return FakeDevice(bdf, (self.root / "bus/pci/devices" / bdf).resolve(strict=True))

    def add_driver(self, name: str) -> Path:
        folder = self.root / "bus/pci/drivers" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("bind", "unbind"):
            (folder / file).touch()
        return folder

    def bind(self, bdf: str, driver: str) -> None:
        (self.device(bdf).path / "driver").symlink_to(self.add_driver(driver))

    def add_process(
        self,
        pid: int,
        command: str = "python3",
        *,
        fds: Sequence[str] = (),
        maps: str = "",
        cgroup: str = "0::/user.slice/session-1.scope",
        state: str = "S",
    ) -> Path:
        """A process with open files (link targets) and mappings (text of `maps`)."""
        folder = self.proc / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(command + "\n")
        (folder / "cgroup").write_text(cgroup + "\n")
        (folder / "stat").write_text(f"{pid} ({command}) {state} 1 1 1 0 -1 4194304 0\n")
        (folder / "maps").write_text(maps)
        for number, target in enumerate(fds):
            (folder / "fd" / str(number)).symlink_to(target)
        return folder

    def add_kfd(self, gpu_ids: Mapping[int, tuple[str, int]]) -> None:
        """The compute driver's topology: {gpu id: (bdf, partition)}."""
        for index, (gpu_id, (bdf, partition)) in enumerate(gpu_ids.items(), start=1):
            domain, bus, rest = bdf.split(":")
            slot, function = rest.split(".")
            location = int(bus, 16) << 8 | int(slot, 16) << 3 | int(function) | partition
            node = self.root / f"class/kfd/kfd/topology/nodes/{index}"
            node.mkdir(parents=True)
            (node / "gpu_id").write_text(f"{gpu_id}\n")
            (node / "properties").write_text(f"simd_count 304\nlocation_id {location}\ndomain {int(domain, 16)}\n")

    def add_kfd_process(
        self, pid: int, *, queues: Mapping[int, int] | None = None, vram: Mapping[int, int] | None = None
    ) -> None:
        """A process as the compute driver lists it: queues {queue id: gpu id}, VRAM {gpu id: bytes}."""
        folder = self.root / f"class/kfd/kfd/proc/{pid}"
        (folder / "queues").mkdir(parents=True)
        for queue, gpu_id in (queues or {}).items():
            (folder / "queues" / str(queue)).mkdir()
            (folder / "queues" / str(queue) / "gpuid").write_text(f"{gpu_id}\n")
        for gpu_id, used in (vram or {}).items():
            (folder / f"vram_{gpu_id}").write_text(f"{used}\n")
