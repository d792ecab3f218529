"""A kernel with VFIO for tests: one group, one device whose regions lie in a memory file, eventfds that are real.

It checks what it is asked as the kernel does (sizes of structures, order of calls) and knows nothing of the code under test."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

from tests.fakesys import MEM64_PREFETCH, FakeBar, FakeSys, config_space

BDF = "0000:c1:00.0"
PORT = "0000:c0:01.0"
GROUP = 40
MIB = 1 << 20
BAR0, BAR2, BAR5 = 256 * MIB, 2 * MIB, 512 << 10
BARS = {
    0: FakeBar(0x20_0000_0000, BAR0, MEM64_PREFETCH),
    2: FakeBar(0x60_0000_0000, BAR2, MEM64_PREFETCH),
    5: FakeBar(0xE000_0000, BAR5),
}
# As include/uapi/linux/vfio.h numbers them, from _IO(';', 100) on.
VERSION, EXTENSION, SET_IOMMU, STATUS, JOIN, DEVICE_FD, DEVICE_INFO, REGION, IRQ_INFO, SET_IRQS, IOMMU, MAP, UNMAP = (
    0x3B64, 0x3B65, 0x3B66, 0x3B67, 0x3B68, 0x3B6A, 0x3B6B, 0x3B6C, 0x3B6D, 0x3B6E, 0x3B70, 0x3B71, 0x3B72,
)  # fmt: skip
Ranges = tuple[tuple[int, int], ...]


def machine(folder: Path, **settings: object) -> FakeSys:
    """A GPU that is bound to vfio-pci, behind a port, with a NIC beside it so that no bus reset threatens."""
    made = FakeSys(folder)
    made.add_device(PORT, vendor=0x1022, device=0x14AB, class_code=0x060400, iommu_group=39, driver="pcieport")
    facts = {"driver": "vfio-pci", "reset_method": "", "iommu_group": GROUP} | settings
    made.add_device(BDF, below=PORT, bars=BARS, config=config_space(), **facts)  # type: ignore[arg-type]
    made.add_device("0000:c1:00.1", below=PORT, vendor=0x15B3, class_code=0x020000, driver="mlx5_core", iommu_group=41)
    dev = folder / "vfio"
    dev.mkdir()
    for name in ("vfio", str(GROUP)):
        (dev / name).touch()
    (made.proc / "self").mkdir()
    (made.proc / "self/status").write_text("CapEff:\t0000000000000000\n")
    return made


class FakeKernel:
    """`fails[what]` is raised instead of the call `what`: a path's name or a request's number."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails: dict[int | str, int] = {}
        self.version = 0
        self.viable = True
        self.ranges: Ranges | None = ((0, 0xFEDFFFFF), (0xFEF00000, (1 << 48) - 1))
        self.page_sizes = 0xFFFFFFFFFFFFF000
        self.sparse: dict[int, Ranges] = {}
        self.unmappable: set[int] = set()
        self.irqs = {1: 1, 2: 4}  # MSI, MSI-X: vectors
        self.spare_vectors = -1  # 0 or more: what SET_IRQS says when it has not enough
        self.device_flags = 2
        self.mapped: dict[int, tuple[int, int]] = {}  # IOVA: address, size
        self.vectors: dict[int, int] = {}  # kind of interrupt: eventfd
        self.on_device: Callable[[], None] = lambda: None
        self.state: dict[int, str] = {}
        self.file = os.memfd_create("device")
        os.ftruncate(self.file, 9 << 40)
        os.pwrite(self.file, config_space(), 7 << 40)

    def finish(self) -> None:
        os.close(self.file)

    # ---- what a test does to the device

    def poke(self, region: int, offset: int, data: bytes) -> None:
        os.pwrite(self.file, data, (region << 40) + offset)

    def peek(self, region: int, offset: int, size: int) -> bytes:
        return os.pread(self.file, size, (region << 40) + offset)

    def dma(self, address: int, data: bytes) -> None:
        """The device writes memory."""
        for iova, (there, size) in self.mapped.items():
            if iova <= address and address + len(data) <= iova + size:
                ctypes.memmove(there + address - iova, data, len(data))
                return
        raise AssertionError(f"IOMMU fault at {address:#x}")

    def interrupt(self, times: int = 1) -> None:
        (event,) = self.vectors.values()
        os.eventfd_write(event, times)

    # ---- the seam

    def open(self, path: Path) -> int:
        self.calls.append(path.name)
        self._fail(path.name)
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        handle = os.open(path, os.O_RDWR)
        self.state[handle] = "container" if path.name == "vfio" else "group"
        return handle

    def ioctl(self, handle: int, request: int, argument: int | bytearray) -> int:
        self.calls.append(f"{request:#x}")
        self._fail(request)
        if isinstance(argument, int):
            return self._number(request, argument)
        if request == DEVICE_FD:
            assert argument == BDF.encode() + b"\0" and "0x3b66" in self.calls
            self.on_device()
            return os.dup(self.file)
        if request == JOIN:
            assert self.state[handle] == "group" and self.state[int.from_bytes(argument, "little")] == "container"
            return 0
        (size,) = struct.unpack_from("<I", argument)
        assert size == len(argument), "argsz is the size of the buffer"
        answers: dict[int, Callable[[bytearray], int]] = {
            STATUS: self._status,
            DEVICE_INFO: self._device_info,
            REGION: self._region,
            IRQ_INFO: self._irq_info,
            SET_IRQS: self._set_irqs,
            IOMMU: self._iommu,
            MAP: self._map,
            UNMAP: self._unmap,
        }
        return answers[request](argument)

    def _fail(self, what: int | str) -> None:
        if what in self.fails:
            raise OSError(self.fails[what], os.strerror(self.fails[what]))

    def _number(self, request: int, argument: int) -> int:
        if request == VERSION:
            return self.version
        assert argument == 3, "type 1 v2"
        if request == EXTENSION:
            return 1
        assert request == SET_IOMMU and "0x3b68" in self.calls
        return 0

    def _status(self, data: bytearray) -> int:
        struct.pack_into("<I", data, 4, int(self.viable))
        return 0

    def _device_info(self, data: bytearray) -> int:
        struct.pack_into("<III", data, 4, self.device_flags, 9, 5)
        return 0

    def _region(self, data: bytearray) -> int:
        (index,) = struct.unpack_from("<I", data, 8)
        size = {0: BAR0, 2: BAR2, 5: BAR5, 7: 4096}.get(index, 0)
        mappable = index < 6 and index not in self.unmappable
        areas = self.sparse.get(index, ())
        # Two capabilities: one that nobody knows, then the areas.
        chain = struct.pack("<HHI", 3, 1, 40)
        chain += struct.pack("<HHIII", 1, 1, 0, len(areas), 0) + b"".join(struct.pack("<QQ", *one) for one in areas)
        struct.pack_into("<I", data, 4, 3 | mappable << 2 | bool(areas) << 3)
        struct.pack_into("<QQ", data, 16, size, index << 40)
        return self._chained(data, 12, 32, chain if areas else b"")

    def _iommu(self, data: bytearray) -> int:
        chain = b""
        if self.ranges is not None:
            chain = struct.pack("<HHIII", 1, 1, 0, len(self.ranges), 0)
            chain += b"".join(struct.pack("<QQ", *one) for one in self.ranges)
        struct.pack_into("<IQ", data, 4, 1 | bool(chain) << 1, self.page_sizes)
        return self._chained(data, 16, 24, chain)

    @staticmethod
    def _chained(data: bytearray, pointer_at: int, head: int, chain: bytes) -> int:
        """Capabilities, if there is room for them; else how much is needed."""
        if chain and len(data) >= head + len(chain):
            data[head : head + len(chain)] = chain
            struct.pack_into("<I", data, pointer_at, head)
        elif chain:
            struct.pack_into("<I", data, 0, head + len(chain))
        return 0

    def _irq_info(self, data: bytearray) -> int:
        (index,) = struct.unpack_from("<I", data, 8)
        count = self.irqs.get(index, 0)
        struct.pack_into("<IxxxxI", data, 4, 9 if count else 0, count)
        return 0

    def _set_irqs(self, data: bytearray) -> int:
        _, flags, index, start, count = struct.unpack_from("<5I", data)
        if flags == 0x21 and count == 0:
            assert index in self.vectors, "EINVAL: that kind is not on"
            del self.vectors[index]
            return 0
        assert (flags, start, count) == (0x24, 0, 1) and not self.vectors
        if self.spare_vectors >= 0:
            return self.spare_vectors
        (self.vectors[index],) = struct.unpack_from("<i", data, 20)
        return 0

    def _map(self, data: bytearray) -> int:
        _, flags, address, iova, size = struct.unpack("<IIQQQ", data)
        assert flags == 3 and not (address | iova | size) % 4096
        assert any(start <= iova and iova + size <= last + 1 for start, last in self.ranges or ((0, 1 << 39),))
        assert all(iova + size <= one or one + length <= iova for one, (_, length) in self.mapped.items())
        self.mapped[iova] = address, size
        return 0

    def _unmap(self, data: bytearray) -> int:
        _, flags, iova, size = struct.unpack("<IIQQ", data)
        assert flags == 0 and self.mapped[iova][1] == size
        del self.mapped[iova]
        return 0
