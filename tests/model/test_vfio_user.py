"""Software GPUs over vfio-user, with a client of the tests' own in the place of QEMU."""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

import cli
from base.clock import RealClock
from base.errors import NotPermitted, Refused, Unavailable, UsageError
from gpumodel import open_models, vbios, vfio_user
from gpumodel.chips import CHIPS
from gpumodel.device import ModelGpu, ModelTransport
from gpumodel.vfio_dma import MOST_FILES, GuestMemory
from gpumodel.vfio_user import VfioUserServer
from gpumodel.vfio_wire import MOST_MESSAGE
from pcibus.tracefile import TraceFile
from tests.fuzz import vfio_client as vu
from tests.fuzz.vfio_client import Client, Told, count_of, message

ROOT = Path(__file__).resolve().parents[2]
PAGE = 4096
MEMSIZE = 0xDE3 * 4  # RCC_CONFIG_MEMSIZE, MiB
DOORBELLS = 2
REGISTERS = 5
EVENTFD_TRIGGER = 4 | 32
SEALS = 0x1 | 0x2 | 0x4  # no more seals, not shorter, not longer


class Served:
    """A server and the models behind it."""

    def __init__(self, folder: Path, spec: str, **options: object) -> None:
        self.transports: list[ModelTransport] = open_models(spec, RealClock())
        self.said: list[str] = []
        self.server = VfioUserServer(self.transports, folder, say=self.said.append, **options)  # type: ignore[arg-type]
        self.folder = folder
        self.stack = ExitStack()

    @property
    def gpus(self) -> list[ModelGpu]:
        return [one.gpu for one in self.transports]

    def client(self, gpu: int = 0) -> Client:
        """A greeted client of an enumerated GPU."""
        one = self.raw(gpu)
        one.greet()
        one.enumerate(
            bar0=(1 << 45) + gpu * (1 << 40), bar2=(1 << 46) + gpu * (1 << 30), bar5=0xA000_0000 + gpu * (1 << 24)
        )
        return one

    def raw(self, gpu: int = 0) -> Client:
        return self.stack.enter_context(Client(self.folder / f"gpu{gpu}.sock"))

    def later(self, work: Callable[[], object], delay_s: float = 0.0) -> None:
        """Something that the device does by itself, in the server's thread."""
        self.gpus[0].hive.events.after(delay_s, lambda: (work(), None)[1])
        self.server._wake()


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(spec: str = "mi350x", **options: object) -> Served:
            served = Served(tmp_path_factory.mktemp("v"), spec, **options)
            served.server.open()
            for one in served.transports:
                stack.callback(one.close)
            stack.callback(served.server.close)
            stack.callback(served.stack.close)
            return served

        yield start


def until(true: Callable[[], bool], limit_s: float = 5.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.002)


def refused(number: int) -> AbstractContextManager[object]:
    return pytest.raises(Told, match=f"^{number}$")


def descriptors_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def memory(size: int, sealed: bool = True) -> int:
    fd = os.memfd_create("guest", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


# ---- greeting, and what the device says that it is


def test_version_answer_offers_no_more_than_the_client(serve: Serve) -> None:
    served = serve()
    with served.raw() as client:
        body = client.greet()
        assert body[:4] == bytes(4) and body.endswith(b"\0")
        ours = json.loads(body[4:-1])["capabilities"]
        assert ours == {
            "max_msg_fds": 8,
            "max_data_xfer_size": 1 << 20,
            "max_dma_maps": 65535,
            "pgsizes": 4096,
            "write_multiple": True,
        }
    until(lambda: served.server.clients == 0)
    with served.raw() as client:
        assert "write_multiple" not in json.loads(client.greet(b"")[4:-1])["capabilities"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0",
        struct.pack("<HH", 1, 0),
        struct.pack("<HH", 0, 0) + b"{\0",
        struct.pack("<HH", 0, 0) + b"[]\0",
        struct.pack("<HH", 0, 0) + b"\xff\xfe\0",
        struct.pack("<HH", 0, 0) + b"[" * 60000,
        struct.pack("<HH", 0, 0) + b'{"capabilities": 7}\0',
        struct.pack("<HH", 0, 0) + b'{"capabilities": {"max_data_xfer_size": 0}}\0',
        struct.pack("<HH", 0, 0) + b'{"capabilities": {"max_data_xfer_size": "big"}}\0',
    ],
)
def test_version_wrong_is_refused_and_the_client_may_try_again(serve: Serve, body: bytes) -> None:
    client = serve().raw()
    with refused(errno.EINVAL):
        client.ask(vu.VERSION, body)
    client.greet()


def test_version_comes_first_and_once(serve: Serve) -> None:
    client = serve().raw()
    with refused(errno.EINVAL):
        client.ask(vu.GET_INFO, bytes(16))
    client.greet()
    client.ask(vu.GET_INFO, bytes(16))
    with refused(errno.EINVAL):
        client.greet()


def test_info_names_a_pci_device_with_reset(serve: Serve) -> None:
    client = serve().client()
    assert struct.unpack("<IIII", client.ask(vu.GET_INFO, bytes(16))) == (16, 3, 9, 5)
    sizes = {index: client.region(index)[3] for index in range(9)}
    assert sizes == {0: 512 << 30, 1: 0, 2: 2 << 20, 3: 0, 4: 0, 5: 2 << 20, 6: 0, 7: 4096, 8: 0}
    assert [client.region(index)[1] for index in (1, 2, 5, 7)] == [0, 3, 3, 3]
    irqs = [struct.unpack("<IIII", client.ask(vu.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, i, 0))) for i in range(5)]
    assert irqs == [(16, 7, 0, 1), (16, 9, 1, 1), (16, 9, 2, 4), (16, 0, 3, 0), (16, 0, 4, 0)]


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (vu.GET_INFO, bytes(15)),
        (vu.GET_REGION_INFO, bytes(31)),
        (vu.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, 9, 0, 0, 0)),
        (vu.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, 5, 0)),
        (vu.GET_IRQ_INFO, b""),
        (vu.REGION_READ, bytes(8)),
        (vu.DMA_MAP, bytes(31)),
        (vu.DMA_UNMAP, bytes(23)),
        (vu.SET_IRQS, bytes(19)),
        (vu.WRITE_MULTI, bytes(7)),
    ],
)
def test_message_too_short_or_beyond_the_device_is_refused(serve: Serve, command: int, body: bytes) -> None:
    client = serve().client()
    with refused(errno.EINVAL):
        client.ask(command, body)
    assert client.read32(MEMSIZE) == 288 << 10


@pytest.mark.parametrize("command", [0, vu.GET_REGION_IO_FDS, vu.DMA_READ, vu.DIRTY_PAGES, 16, 0xFFFF])
def test_command_that_is_not_known_is_refused(serve: Serve, command: int) -> None:
    client = serve().client()
    with refused(errno.EOPNOTSUPP):
        client.ask(command, bytes(64))
    assert client.config(0, 4) == 0x75A01002


# ---- config space


def test_config_starts_as_before_enumeration(serve: Serve) -> None:
    client = serve().raw()
    client.greet()
    assert client.config(0, 4) == 0x75A01002
    assert client.config(4, 2) == 0
    assert [client.config(place, 4) for place in (0x10, 0x14, 0x18, 0x1C, 0x24)] == [0xC, 0, 0xC, 0, 0]
    assert client.read32(MEMSIZE) == 0xFFFFFFFF, "nothing answers before memory decoding is on"
    whole = client.read(vu.CONFIG, 0, 4096)
    assert whole[:4] == bytes.fromhex("0210a075") and len(whole) == 4096
    assert whole[0x100:0x102] == b"\x0b\0"


def test_config_write_keeps_to_the_mask_whatever_its_shape(serve: Serve) -> None:
    client = serve().raw()
    client.greet()
    client.config(0, 4, 0x12345678)
    assert client.config(0, 4) == 0x75A01002
    client.write(vu.CONFIG, 0x10, b"\xff" * 8)
    assert client.read(vu.CONFIG, 0x10, 8) == (-(512 << 30) & (1 << 64) - 1 | 0xC).to_bytes(8, "little")
    client.write(vu.CONFIG, 3, b"\xff" * 3)
    assert client.read(vu.CONFIG, 2, 5) == bytes.fromhex("a075460510")


def test_bars_follow_what_the_guest_writes(serve: Serve) -> None:
    served = serve()
    client = served.client()
    assert {index: bar.address for index, bar in served.gpus[0].bars.items()} == {
        0: 1 << 45,
        2: 1 << 46,
        5: 0xA000_0000,
    }
    client.config(0x14, 4, 0x3000)
    assert served.transports[0].bars()[0].address == 0x3000 << 32


# ---- registers, doorbells, VRAM


def test_register_reads_and_writes_of_every_size(serve: Serve) -> None:
    served = serve()
    client = served.client()
    scratch = served.gpus[0].registers.layout.address("GC[0].SCRATCH_REG0") * 4
    client.write(REGISTERS, scratch, bytes(range(8)))
    assert client.read(REGISTERS, scratch, 8) == bytes(range(8))
    assert client.read32(scratch) == 0x03020100
    client.write(REGISTERS, scratch + 1, b"\xaa\xbb")
    assert client.read(REGISTERS, scratch, 4) == bytes.fromhex("00aabb03")
    assert client.read(REGISTERS, scratch + 3, 3) == bytes.fromhex("030405")


def test_register_write_that_wants_no_answer_gets_none(serve: Serve) -> None:
    served = serve()
    client = served.client()
    scratch = served.gpus[0].registers.layout.address("GC[0].SCRATCH_REG0") * 4
    for value in range(50):
        client.post(vu.REGION_WRITE, struct.pack("<QIII", scratch, REGISTERS, 4, value), flags=0x10)
    client.post(vu.REGION_WRITE, b"too short", flags=0x10)
    assert client.read32(scratch) == 49


def test_several_writes_in_one_message(serve: Serve) -> None:
    served = serve()
    client = served.client()
    scratch = served.gpus[0].registers.layout.address("GC[0].SCRATCH_REG0") * 4
    writes = [(scratch, REGISTERS, 4, b"\1\2\3\4"), (scratch + 4, REGISTERS, 4, b"abcd"), (64, 0, 8, b"12345678")]
    body = struct.pack("<Q", 3) + b"".join(struct.pack("<QII8s", *one) for one in writes)
    assert client.ask(vu.WRITE_MULTI, body) == struct.pack("<Q", 3)
    assert client.read(REGISTERS, scratch, 8) == b"\1\2\3\4abcd"
    assert client.read(0, 64, 8) == b"12345678"


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (1, (0, 5, 4)),
        (3, (0, 5, 4)),
        (1 << 60, (0, 5, 4)),
        (2, (2 << 20, 5, 4)),
        (2, (0, 5, 9)),
        (2, (0, 6, 4)),
    ],
)
def test_several_writes_with_a_wrong_one_are_refused_whole(
    serve: Serve, count: int, last: tuple[int, int, int]
) -> None:
    served = serve()
    client = served.client()
    scratch = served.gpus[0].registers.layout.address("GC[0].SCRATCH_REG0") * 4
    body = struct.pack("<Q", count) + struct.pack("<QII8s", scratch, 5, 4, b"\1\1\1\1")
    body += struct.pack("<QII8s", *last, b"")
    with refused(errno.EINVAL):
        client.ask(vu.WRITE_MULTI, body)
    assert client.read32(scratch) != 0x01010101


def test_doorbell_reaches_the_device_as_one_write(serve: Serve) -> None:
    served = serve()
    client = served.client()
    rung: list[tuple[int, int, int]] = []
    served.gpus[0].nbio.doorbell = lambda *told: rung.append(told)  # type: ignore[method-assign]
    client.write(DOORBELLS, 0x38, (1 << 40 | 7).to_bytes(8, "little"))
    client.write(DOORBELLS, 0x40, b"\x05\0\0\0")
    client.read32(MEMSIZE)
    assert rung == [(0x38, 1 << 40 | 7, 8), (0x40, 5, 4)]


@pytest.mark.parametrize(
    ("region", "offset", "size"),
    [
        (5, 2 << 20, 4),
        (5, (2 << 20) - 2, 4),
        (5, (1 << 64) - 4, 8),
        (5, 0, 0),
        (5, 0, 4097),
        (0, 512 << 30, 1),
        (0, 0, (1 << 20) + 1),
        (7, 4095, 2),
        (7, 0, 0xFFFFFFFF),
        (1, 0, 4),
        (8, 0, 4),
        (9, 0, 4),
        (0xFFFFFFFF, 0, 4),
    ],
)
def test_access_beyond_a_region_is_refused(serve: Serve, region: int, offset: int, size: int) -> None:
    client = serve().client()
    with refused(errno.EINVAL):
        client.ask(vu.REGION_READ, struct.pack("<QII", offset, region, size))
    with refused(errno.EINVAL):
        client.ask(vu.REGION_WRITE, struct.pack("<QII", offset, region, size) + bytes(min(size, 5000)))
    assert client.read32(MEMSIZE) == 288 << 10


def test_vram_is_shared_as_far_as_there_is_any(serve: Serve) -> None:
    served = serve()
    client = served.client()
    gpu = served.gpus[0]
    assert client.region(0) == (64, 15, 32, 512 << 30, b"")
    assert client.take_fds() == [], "without room for the capability there is no descriptor"
    needed, flags, capability, size, areas = client.region(0, 64)
    assert (needed, flags, capability, size) == (64, 15, 32, 512 << 30)
    assert struct.unpack("<HHIIIQQ", areas) == (1, 1, 0, 1, 0, 0, 288 << 30)
    (fd,) = client.take_fds()
    table = gpu.table_offset
    with mmap.mmap(fd, 288 << 30) as vram:
        assert vram[table : table + 4] == bytes.fromhex("07142128")
        vram[5 << 30 : (5 << 30) + 5] = b"guest"
        assert client.read(0, 5 << 30, 5) == b"guest"
        served.later(lambda: gpu.vram.write(7 << 30, b"device"))
        until(lambda: vram[7 << 30 : (7 << 30) + 6] == b"device")
        client.write(0, (5 << 30) + 1, b"UES")
        assert vram[5 << 30 : (5 << 30) + 5] == b"gUESt"
    for size in (0, 1 << 30, 300 << 30):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
    os.close(fd)


def test_vram_behind_its_end_reads_all_ones(serve: Serve) -> None:
    served = serve()
    client = served.client()
    end = 288 << 30
    client.write(0, end - 4, b"last" + b"lost")
    assert client.read(0, end - 4, 8) == b"last" + b"\xff" * 4
    assert client.read(0, end, 8) == b"\xff" * 8
    assert len(served.gpus[0].unknown_accesses) == 0


# ---- resets


def sick(serve: Serve) -> tuple[Served, Client]:
    served = serve("mi350x?fault=discovery-clobbered,link-narrow:8,mec-hang")
    client = served.raw()
    client.greet()
    return served, client


def table_of(client: Client, gpu: ModelGpu) -> bytes:
    return client.read(0, gpu.table_offset, 4)


def test_reset_before_enumeration_is_power_on_of_the_guest_and_heals_nothing(serve: Serve) -> None:
    served, client = sick(serve)
    client.config(0x6C, 2, 0x10)
    assert client.ask(vu.DEVICE_RESET) == b""
    assert client.config(0x6C, 2) == 0x2930
    client.enumerate()
    assert table_of(client, served.gpus[0]) != bytes.fromhex("07142128")
    assert served.gpus[0].is_used


@pytest.mark.parametrize("how", ["message", "byte", "word", "dword"])
def test_reset_of_the_function_or_bus_boots_the_firmware_again(serve: Serve, how: str) -> None:
    served, client = sick(serve)
    client.enumerate()
    gpu = served.gpus[0]
    scratch = gpu.registers.layout.address("GC[0].SCRATCH_REG0") * 4
    client.write32(scratch, 77)
    client.write(0, 0, b"data")
    client.region(0, 64)
    before = client.config(0x14, 4)
    if how == "message":
        assert client.ask(vu.DEVICE_RESET) == b""
    else:
        offset, size, value = {"byte": (0x6D, 1, 0x80), "word": (0x6C, 2, 0xA930), "dword": (0x6C, 4, 0xA930)}[how]
        client.config(offset, size, value)
    assert client.config(0, 4) == 0xFFFFFFFF
    until(lambda: client.config(0, 4) != 0xFFFFFFFF)
    assert client.config(0x6C, 2) == 0x2930
    assert client.config(4, 2) == 0 and client.config(0x14, 4) == before, "QEMU keeps the BARs"
    assert client.read32(scratch) == 0xFFFFFFFF
    client.enumerate()
    assert client.read32(scratch) == 0
    assert client.read(0, 0, 4) == bytes(4)
    until(lambda: table_of(client, gpu) == bytes.fromhex("07142128"))  # boot firmware takes its time
    assert client.config(0x76, 2) >> 4 & 0x3F == 8, "a narrow link stays narrow"
    assert [fault.fault.name for fault in gpu.faults] == ["link-narrow"]
    assert not gpu.is_used
    assert gpu.unknown_accesses == {}


def test_reset_gives_the_shared_memory_back(serve: Serve) -> None:
    served = serve()
    client = served.client()
    client.region(0, 64)
    (fd,) = client.take_fds()
    with mmap.mmap(fd, 288 << 30) as vram:
        vram[0 : 16 << 20] = b"x" * (16 << 20)
        assert served.gpus[0].vram.used() >= 16 << 20
        client.ask(vu.DEVICE_RESET)
        assert vram[0:4] == bytes(4)
        assert served.gpus[0].vram.used() < 1 << 20
    os.close(fd)


def test_lost_device_hears_the_bus_reset_only(serve: Serve) -> None:
    served = serve("mi350x?fault=lost-during:smu")
    client = served.client()
    gpu = served.gpus[0]
    served.later(lambda: gpu.stage("smu"))
    until(lambda: gpu.lost)
    client.config(0x6C, 2, 0xA930)
    assert client.config(0, 4) == 0xFFFFFFFF
    client.ask(vu.DEVICE_RESET)
    until(lambda: client.config(0, 4) == 0x75A01002)


# ---- memory of the guest


def test_device_reaches_mapped_memory_of_the_guest(serve: Serve) -> None:
    served = serve()
    client = served.client()
    gpu = served.gpus[0]
    fd = memory(1 << 20)
    with mmap.mmap(fd, 1 << 20) as ram:
        client.map(0x1_0000_0000, 1 << 19, fd, 0)
        client.map(0x1_0000_0000 + (1 << 19), 1 << 19, fd, 1 << 19)
        ram[(1 << 19) - 2 : (1 << 19) + 2] = b"abcd"
        edge = 0x1_0000_0000 + (1 << 19) - 2
        assert gpu.gmc.bus_read(edge, 4) == b"abcd"
        assert gpu.gmc.bus_write(edge, b"ABCD")
        assert ram[(1 << 19) - 2 : (1 << 19) + 2] == b"ABCD"
        client.unmap(0x1_0000_0000 + (1 << 19), 1 << 19)
        assert gpu.gmc.bus_read(edge, 4) is None
        assert not gpu.gmc.bus_write(edge, b"....")
        assert gpu.gmc.bus_read(edge, 2) == b"AB", "nothing was written"
    os.close(fd)


def test_bus_master_off_keeps_the_device_from_the_guest(serve: Serve) -> None:
    served = serve()
    client = served.client()
    fd = memory(PAGE)
    client.map(0x10000, PAGE, fd)
    assert served.gpus[0].gmc.bus_read(0x10000, 4) == bytes(4)
    client.config(4, 2, 2)
    assert served.gpus[0].gmc.bus_read(0x10000, 4) is None
    os.close(fd)


def test_many_pages_of_one_file_are_one_map_of_it_and_go_by_one_unmap(serve: Serve) -> None:
    served = serve()
    client = served.client()
    ours = served.server.devices[0].memory
    fd = memory(256 * PAGE)
    before = descriptors_open()
    for page in range(256):
        client.map(0x10_0000 + page * PAGE, PAGE, fd, (255 - page) * PAGE)
    assert (len(ours), ours.files) == (256, 1)
    assert descriptors_open() <= before + 2
    os.pwrite(fd, b"here", 100 * PAGE)
    assert served.gpus[0].gmc.bus_read(0x10_0000 + 155 * PAGE, 4) == b"here"
    client.unmap(0x10_0000 + PAGE, 200 * PAGE)
    assert len(ours) == 56
    client.unmap(0, 1 << 63)
    assert len(ours) == 0
    client.map(0x10_0000, PAGE, fd)
    client.unmap(0, 0, flags=2)
    assert len(ours) == 0
    os.close(fd)


def test_unmap_of_nothing_is_fine_and_of_a_half_is_refused(serve: Serve) -> None:
    client = serve().client()
    fd = memory(4 * PAGE)
    client.unmap(0x1000, PAGE)
    client.map(0x10000, 4 * PAGE, fd)
    for address, size in ((0x10000, PAGE), (0x11000, PAGE), (0x11000, 8 * PAGE), (0xF000, 2 * PAGE)):
        with refused(errno.EINVAL):
            client.unmap(address, size)
    with refused(errno.EOPNOTSUPP):
        client.unmap(0x10000, 4 * PAGE, flags=1)
    client.unmap(0x10000, 4 * PAGE)
    os.close(fd)


@pytest.mark.parametrize(
    ("address", "size", "offset", "flags", "number"),
    [
        (0x20000, 0, 0, 3, errno.EINVAL),
        (0x20001, PAGE, 0, 3, errno.EINVAL),
        (0x20000, 100, 0, 3, errno.EINVAL),
        (0x20000, PAGE, 4, 3, errno.EINVAL),
        (0x20000, 3 * PAGE, 0, 3, errno.EINVAL),
        (0x20000, PAGE, 2 * PAGE, 3, errno.EINVAL),
        (0x20000, PAGE, (1 << 64) - PAGE, 3, errno.EINVAL),
        ((1 << 64) - PAGE, 2 * PAGE, 0, 3, errno.EINVAL),
        (0x20000, PAGE, 0, 4, errno.EINVAL),
        (0x10000, PAGE, 0, 3, errno.EEXIST),
        (0xF000, 2 * PAGE, 0, 3, errno.EEXIST),
        (0x11000, 2 * PAGE, 0, 3, errno.EEXIST),
    ],
)
def test_map_wrong_is_refused(serve: Serve, address: int, size: int, offset: int, flags: int, number: int) -> None:
    served = serve()
    client = served.client()
    fd = memory(2 * PAGE)
    client.map(0x10000, 2 * PAGE, fd)
    with refused(number):
        client.map(address, size, fd, offset, flags)
    assert len(served.server.devices[0].memory) == 1
    os.close(fd)


def foreign(kind: str, folder: Path) -> int:
    if kind == "pipe":
        read, write = os.pipe()
        os.close(write)
        return read
    if kind == "socket":
        return socket.socket().detach()
    if kind == "eventfd":
        return os.eventfd(0)
    if kind == "device":
        return os.open("/dev/zero", os.O_RDWR)
    if kind == "process":
        return os.open("/proc/self/mem", os.O_RDWR)
    path = folder / "file"
    path.write_bytes(bytes(PAGE))
    how = {"folder": os.O_RDONLY, "path": os.O_PATH, "write-only": os.O_WRONLY, "read-only": os.O_RDONLY}[kind]
    return os.open(folder if kind == "folder" else path, how)


@pytest.mark.parametrize(
    "kind", ["pipe", "socket", "eventfd", "device", "process", "folder", "path", "write-only", "read-only"]
)
def test_map_of_a_foreign_descriptor_is_refused(serve: Serve, kind: str, tmp_path: Path) -> None:
    served = serve()
    client = served.client()
    fd = foreign(kind, tmp_path)
    with refused(errno.EACCES if kind == "read-only" else errno.EINVAL):
        client.map(0x10000, PAGE, fd)
    if kind == "read-only":
        client.map(0x10000, PAGE, fd, flags=1)
        assert served.gpus[0].gmc.bus_read(0x10000, 4) == bytes(4)
        assert not served.gpus[0].gmc.bus_write(0x10000, b"1234")
    os.close(fd)


def test_map_with_several_descriptors_is_refused_and_they_are_closed(serve: Serve) -> None:
    client = serve().client()
    fd = memory(PAGE)
    before = descriptors_open()
    with refused(errno.EINVAL):
        client.ask(vu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, PAGE), [fd, fd])
    with refused(errno.EINVAL):
        client.ask(vu.GET_INFO, bytes(16), [fd])
    assert descriptors_open() == before
    os.close(fd)


def test_file_that_becomes_shorter_is_unmapped_memory_not_a_crash(serve: Serve) -> None:
    served = serve()
    client = served.client()
    gmc = served.gpus[0].gmc
    fd = memory(4 * PAGE, sealed=False)
    client.map(0x10000, 4 * PAGE, fd)
    assert gmc.bus_write(0x10000 + PAGE, b"here")
    assert os.pread(fd, 4, PAGE) == b"here"
    os.ftruncate(fd, PAGE)
    assert gmc.bus_read(0x10000 + PAGE, 4) is None
    assert not gmc.bus_write(0x10000 + PAGE, b"more")
    assert os.fstat(fd).st_size == PAGE, "the device does not make files longer"
    assert gmc.bus_read(0x10000, 4) == bytes(4)
    os.close(fd)


def test_maps_and_files_are_bounded() -> None:
    guest = GuestMemory(vfio_user.VfioUserServer(open_models("mi350x", RealClock()), "/nowhere").devices[0])
    fds = [memory(PAGE) for _ in range(MOST_FILES + 1)]
    for place, fd in enumerate(fds[:-1]):
        guest.map(place * PAGE, PAGE, 3, fd)
    with pytest.raises(OSError, match="more than 64 files"):
        guest.map(1 << 30, PAGE, 3, fds[-1])
    guest.unmap(0, PAGE)
    guest.map(1 << 30, PAGE, 3, fds[-1])
    assert guest.files == MOST_FILES
    for place in range(len(guest), 65535):
        guest.map((1 << 40) + place * PAGE, PAGE, 3)
    with pytest.raises(OSError, match="more than 65535 maps"):
        guest.map(1 << 60, PAGE, 3)
    guest.clear()
    assert (len(guest), guest.files) == (0, 0)
    for fd in fds:
        os.close(fd)


# ---- memory that only the client can reach


def test_memory_without_a_file_is_asked_for_by_message(serve: Serve) -> None:
    served = serve()
    client = served.client()
    gmc = served.gpus[0].gmc
    kept: list[bytes] = []

    def answer(command: int, address: int, count: int, data: bytes) -> bytes:
        if command == vu.DMA_WRITE:
            kept.append(data)
            return b""
        return bytes(range(count))

    client.serve = answer
    client.map(0x5000_0000, 1 << 20)
    got: list[object] = []
    served.later(lambda: got.append(gmc.bus_read(0x5000_0010, 16)))
    # One at a time: the server holds the lock of its events while it waits for us, and `later` wants that lock.
    client.serve_until(lambda: len(got) == 1)
    served.later(lambda: got.append(gmc.bus_write(0x5000_0020, b"hello")))
    client.serve_until(lambda: len(got) == 2)
    assert got == [bytes(range(16)), True]
    assert kept == [b"hello"]
    assert client.served == [(vu.DMA_READ, 0x5000_0010, 16), (vu.DMA_WRITE, 0x5000_0020, 5)]


def test_memory_by_message_keeps_to_the_size_that_the_client_takes(serve: Serve) -> None:
    served = serve()
    client = served.raw()
    client.greet(b'{"capabilities":{"max_data_xfer_size":4096}}\0')
    client.enumerate()
    client.serve = lambda command, address, count, data: bytes(count)
    client.map(0, 1 << 20)
    got: list[bytes | None] = []
    served.later(lambda: got.append(served.gpus[0].gmc.bus_read(0, 10000)))
    client.serve_until(lambda: bool(got))
    assert got == [bytes(10000)]
    assert [count for _, _, count in client.served] == [4096, 4096, 1808]


def test_client_that_refuses_or_answers_nonsense_is_unmapped_memory(serve: Serve) -> None:
    served = serve()
    client = served.client()
    gmc = served.gpus[0].gmc
    client.map(0, 1 << 20)
    got: list[object] = []
    served.later(lambda: got.append(gmc.bus_read(0, 4)))
    served.later(lambda: got.append(gmc.bus_write(0, b"1234")))
    client.serve_until(lambda: len(got) == 2)
    client.serve = lambda command, address, count, data: bytes(count + 1)
    served.later(lambda: got.append(gmc.bus_read(0, 4)))
    client.serve_until(lambda: len(got) == 3)
    assert got == [None, False, None]
    assert client.read32(MEMSIZE) == 288 << 10


def test_client_that_does_not_answer_is_waited_for_a_bounded_time(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vfio_user, "DMA_WAIT_S", 0.05)
    served = serve()
    client = served.client()
    client.serve = lambda *_: "silent"
    client.map(0, 1 << 20)
    got: list[object] = []
    served.later(lambda: got.append(served.gpus[0].gmc.bus_read(0, 4)))
    client.serve_until(lambda: bool(got))
    assert got == [None]
    client.send(message(1, vu.DMA_READ, struct.pack("<QQ", 0, 4) + b"late", 1))
    assert client.read32(MEMSIZE) == 288 << 10, "a late answer is no offence"
    client.send(message(1, vu.DMA_READ, struct.pack("<QQ", 0, 4) + b"late", 1))
    assert client.is_closed(), "twice is"
    assert any("an answer that nobody asked for" in text for text in served.said)


def test_requests_that_come_while_the_device_waits_for_memory_are_answered_after(serve: Serve) -> None:
    served = serve()
    client = served.client()
    client.map(0, 1 << 20)
    got: list[object] = []
    served.later(lambda: got.append(served.gpus[0].gmc.bus_read(64, 4)))
    number, command, flags, _, _ = client.receive()
    assert (command, flags) == (vu.DMA_READ, 0)
    asked = [client.post(vu.REGION_READ, struct.pack("<QII", MEMSIZE, 5, 4)) for _ in range(20)]
    client.send(message(number, command, struct.pack("<QQ", 64, 4) + b"data", 1))
    assert [client.answer(one)[16:] for one in asked] == [(288 << 10).to_bytes(4, "little")] * 20
    assert got == [b"data"]


def test_client_that_goes_while_the_device_waits_for_memory(serve: Serve) -> None:
    served = serve()
    client = served.client()
    client.map(0, 1 << 20)
    got: list[object] = []
    served.later(lambda: got.append(served.gpus[0].gmc.bus_read(64, 4)))
    client.receive()
    client.close()
    until(lambda: got == [None])
    until(lambda: served.server.clients == 0)
    assert served.client().read32(MEMSIZE) == 288 << 10
    assert served.server.defects == []


def test_flood_while_the_device_waits_is_cut_off(serve: Serve) -> None:
    served = serve()
    client = served.client()
    client.map(0, 1 << 20)
    served.later(lambda: served.gpus[0].gmc.bus_read(64, 4))
    client.receive()
    with pytest.raises(OSError, match=r"[Bb]roken|reset"):
        while True:
            client.send(message(1, vu.REGION_WRITE, bytes(1 << 19), 0x10))
    assert any("more requests than are kept" in text for text in served.said)


# ---- peers


def test_peer_is_reached_through_the_addresses_that_the_guest_gave(serve: Serve) -> None:
    served = serve("mi350x*2")
    one, two = served.client(0), served.client(1)
    gmc = served.gpus[0].gmc
    theirs = (1 << 45) + (1 << 40)
    assert gmc.bus_read(theirs + 64, 4) is None, "what the client did not map is not there"
    one.map(theirs, 512 << 30)
    assert gmc.bus_write(theirs + 64, b"peer")
    assert two.read(0, 64, 4) == b"peer"
    assert one.served == []
    two.config(4, 2, 0)
    assert gmc.bus_read(theirs + 64, 4) is None, "a GPU that does not decode does not answer"


def test_memory_comes_before_a_bar_at_the_same_address(serve: Serve) -> None:
    served = serve("mi350x*2")
    one = served.client(0)
    served.client(1)
    fd = memory(PAGE)
    theirs = (1 << 45) + (1 << 40)
    one.map(theirs, PAGE, fd)
    assert served.gpus[0].gmc.bus_write(theirs, b"mine")
    assert os.pread(fd, 4, 0) == b"mine"
    assert served.gpus[1].vram.read(0, 4) == bytes(4)
    os.close(fd)


# ---- interrupts

MSIX_ON, MSI_ON, INTX = (0xC2, 0x8000), (0xA2, 0x0001), (4, 0x0006)


def armed(serve: Serve, index: int) -> tuple[Served, Client, int]:
    served = serve()
    client = served.client()
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    client.irqs(index, 0, 1, EVENTFD_TRIGGER, [fd])
    place, value = (INTX, MSI_ON, MSIX_ON)[index]
    client.config(place, 2, value)
    return served, client, fd


@pytest.mark.parametrize("index", [0, 1, 2])
def test_interrupt_arrives_although_the_guest_does_nothing(serve: Serve, index: int) -> None:
    served, _, fd = armed(serve, index)
    served.later(served.gpus[0].ih.on_interrupt or pytest.fail, delay_s=0.05)
    until(lambda: count_of(fd) == 1)
    os.close(fd)


def test_interrupt_ring_in_guest_memory_from_register_to_eventfd(serve: Serve) -> None:
    served, client, fd = armed(serve, 2)
    gpu = served.gpus[0]
    ram = memory(2 * PAGE)
    client.map(0x7000_0000, 2 * PAGE, ram)

    def put(name: str, value: int) -> None:
        client.write32(gpu.registers.layout.address(f"OSSSYS.{name}") * 4, value)

    put("IH_CHICKEN", 1 << 4)
    put("IH_RB_BASE", 0x7000_0000 >> 8)
    put("IH_RB_WPTR_ADDR_LO", 0x7000_1000)
    put("IH_RB_CNTL", 1 << 28 | 1 << 17 | 1 << 16 | 1 << 8 | 8 << 1 | 1)
    served.later(lambda: gpu.ih.send(0x14, 181, vmid=9), delay_s=0.02)
    until(lambda: count_of(fd) == 1)
    assert os.pread(ram, 4, 0) == (0x14 | 181 << 8 | 9 << 24).to_bytes(4, "little")
    assert os.pread(ram, 4, PAGE) == (32).to_bytes(4, "little")
    assert gpu.wrongs == []
    os.close(fd)
    os.close(ram)


def test_interrupt_that_is_off_goes_nowhere(serve: Serve) -> None:
    served, client, fd = armed(serve, 2)
    fire = served.server.devices[0].interrupts
    client.config(4, 2, 2)
    fire.fire()
    assert (count_of(fd), fire.lost) == (0, 1), "a message is a write to memory: bus master"
    client.config(4, 2, 6)
    client.config(*(MSIX_ON[0], 2, 0))
    fire.fire()
    assert (count_of(fd), fire.lost) == (0, 2), "MSI-X is off, nobody has INTx"
    client.config(4, 2, 0x406)
    fire.fire()
    assert fire.lost == 3
    os.close(fd)


def test_interrupt_waits_while_all_vectors_are_masked(serve: Serve) -> None:
    served, client, fd = armed(serve, 2)
    client.config(MSIX_ON[0], 2, 0xC000)
    for _ in range(3):
        served.server.devices[0].interrupts.fire()
    assert count_of(fd) == 0
    client.config(MSIX_ON[0], 2, 0x8000)
    assert count_of(fd) == 1
    os.close(fd)


def test_intx_masks_itself_until_the_client_has_served_it(serve: Serve) -> None:
    served, client, fd = armed(serve, 0)
    fire = served.server.devices[0].interrupts.fire
    for _ in range(3):
        fire()
    assert count_of(fd) == 1
    client.irqs(0, 0, 1, 1 | 16)
    assert count_of(fd) == 1, "what came meanwhile"
    client.irqs(0, 0, 1, 1 | 16)
    assert count_of(fd) == 0
    client.irqs(0, 0, 1, 1 | 8)
    fire()
    assert count_of(fd) == 0
    client.irqs(0, 0, 1, 2 | 16, data=b"\1")
    assert count_of(fd) == 1
    os.close(fd)


def test_interrupts_are_set_replaced_triggered_and_taken_away(serve: Serve) -> None:
    served, client, fd = armed(serve, 2)
    fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(4)]
    client.irqs(2, 0, 4, EVENTFD_TRIGGER, fds)
    served.server.devices[0].interrupts.fire()
    assert [count_of(fd), *map(count_of, fds)] == [0, 1, 0, 0, 0]
    client.irqs(2, 1, 2, 1 | 32)
    assert list(map(count_of, fds)) == [0, 1, 1, 0]
    client.irqs(2, 0, 4, 2 | 32, data=b"\1\0\0\1")
    assert list(map(count_of, fds)) == [1, 0, 0, 1]
    client.irqs(2, 3, 1, EVENTFD_TRIGGER)
    client.irqs(2, 0, 4, 1 | 32)
    assert list(map(count_of, fds)) == [1, 1, 1, 0]
    client.irqs(2, 0, 0, 1 | 32)
    client.irqs(2, 0, 4, 1 | 32)
    assert list(map(count_of, fds)) == [0, 0, 0, 0]
    for one in (fd, *fds):
        os.close(one)


@pytest.mark.parametrize(
    ("index", "start", "count", "flags", "descriptors", "number"),
    [
        (2, 0, 5, EVENTFD_TRIGGER, 5, errno.EINVAL),
        (2, 4, 1, EVENTFD_TRIGGER, 1, errno.EINVAL),
        (2, 0xFFFFFFFF, 1, EVENTFD_TRIGGER, 1, errno.EINVAL),
        (2, 0, 0xFFFFFFFF, 1 | 32, 0, errno.EINVAL),
        (2, 0, 2, EVENTFD_TRIGGER, 1, errno.EINVAL),
        (2, 0, 1, EVENTFD_TRIGGER | 1, 1, errno.EINVAL),
        (2, 0, 1, 4, 1, errno.EINVAL),
        (2, 0, 1, EVENTFD_TRIGGER | 64, 1, errno.EINVAL),
        (2, 0, 1, 1 | 32, 1, errno.EINVAL),
        (2, 0, 4, 2 | 32, 0, errno.EINVAL),
        (2, 0, 1, 1 | 8, 0, errno.EINVAL),
        (3, 0, 1, EVENTFD_TRIGGER, 1, errno.EINVAL),
        (5, 0, 1, EVENTFD_TRIGGER, 1, errno.EINVAL),
        (0, 0, 1, 4 | 16, 1, errno.EOPNOTSUPP),
    ],
)
def test_interrupts_wrong_are_refused(
    serve: Serve, index: int, start: int, count: int, flags: int, descriptors: int, number: int
) -> None:
    served = serve()
    client = served.client()
    fd = os.eventfd(0)
    before = descriptors_open()
    with refused(number):
        client.irqs(index, start, count, flags, [fd] * descriptors)
    assert descriptors_open() == before
    os.close(fd)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "read-only"])
def test_interrupt_by_a_foreign_descriptor_is_refused(serve: Serve, kind: str, tmp_path: Path) -> None:
    client = serve().client()
    fd = foreign(kind, tmp_path)
    with refused(errno.EINVAL):
        client.irqs(2, 0, 1, EVENTFD_TRIGGER, [fd])
    os.close(fd)


def test_eventfd_whose_counter_is_full_does_not_stop_the_server(serve: Serve) -> None:
    served, client, fd = armed(serve, 2)
    os.set_blocking(fd, True)
    os.eventfd_write(fd, (1 << 64) - 2)
    served.later(served.server.devices[0].interrupts.fire)
    assert client.read32(MEMSIZE) == 288 << 10
    assert count_of(fd) == (1 << 64) - 2
    os.close(fd)


# ---- bad clients


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<HHIII", 1, 9, 15, 0, 0),
        struct.pack("<HHIII", 1, 9, 0, 0, 0),
        struct.pack("<HHIII", 1, 9, 0xFFFFFFFF, 0, 0),
        struct.pack("<HHIII", 1, 9, MOST_MESSAGE + 1, 0, 0),
        message(1, vu.REGION_READ, bytes(16), 1),
        message(1, vu.REGION_READ, bytes(16), 2),
        b"\xff" * 64,
    ],
)
def test_garbage_ends_the_connection_and_leaves_a_trace(serve: Serve, data: bytes) -> None:
    served = serve()
    client = served.client()
    client.read32(MEMSIZE)
    client.send(data)
    assert client.is_closed()
    until(lambda: (served.folder / "gpu0.trace").exists() and len(served.said) == 2)
    assert "disconnected a client" in served.said[0]
    (touch,) = [one for one in TraceFile(served.folder / "gpu0.trace") if one.space == "bar"]
    assert (touch.kind, touch.offset, touch.value) == ("read", MEMSIZE, 288 << 10)
    assert served.client().read32(MEMSIZE) == 288 << 10


def test_half_message_waits_for_the_rest_and_harms_nobody(serve: Serve) -> None:
    served = serve("mi350x*2")
    one, two = served.client(0), served.client(1)
    data = message(9, vu.REGION_READ, struct.pack("<QII", MEMSIZE, 5, 4))
    for place in range(len(data)):
        one.send(data[place : place + 1])
        assert two.read32(MEMSIZE) == 288 << 10
    assert one.answer(9)[16:] == (288 << 10).to_bytes(4, "little")
    one.send(data[:20])
    one.close()
    until(lambda: served.server.clients == 1)
    assert "in the middle of a message" in served.said[0]
    assert served.client(0).read32(MEMSIZE) == 288 << 10


def test_descriptors_belong_to_the_message_that_they_came_with(serve: Serve) -> None:
    served = serve()
    client = served.client()
    ram = memory(PAGE)
    os.pwrite(ram, b"right", 0)
    first = message(1, vu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0x10000, PAGE))
    second = message(2, vu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0x20000, PAGE))
    client.send(first + second[:30], [ram])
    client.send(second[30:] + message(3, vu.GET_INFO, bytes(16)))
    for number in (1, 2, 3):
        client.answer(number)
    gmc = served.gpus[0].gmc
    assert gmc.bus_read(0x20000, 5) == b"right"
    client.unmap(0x20000, PAGE)
    client.send(message(4, vu.GET_INFO, bytes(16)) + second, [ram])
    client.answer(4)
    client.answer(2)
    assert gmc.bus_read(0x20000, 5) == b"right"
    os.close(ram)


def test_too_many_descriptors_end_the_connection_and_do_not_leak(serve: Serve) -> None:
    served = serve()
    fd = os.eventfd(0)
    for count in (17, 100):
        client = served.client()
        client.post(vu.GET_INFO, bytes(16), [fd] * count)
        assert client.is_closed()
        until(lambda: served.server.clients == 0)
    client = served.client()
    half = message(1, vu.GET_INFO, bytes(16))
    client.send(half[:8], [fd] * 10)
    client.send(half[8:20], [fd] * 10)
    assert client.is_closed()
    until(lambda: served.server.clients == 0)
    last = served.client()
    last.read32(MEMSIZE)
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert links.count("anon_inode:[eventfd]") == 1
    os.close(fd)


def test_client_that_goes_leaves_nothing_but_the_gpu(serve: Serve) -> None:
    served = serve()
    client = served.client()
    scratch = served.gpus[0].registers.layout.address("GC[0].SCRATCH_REG0") * 4
    before = descriptors_open()
    ram = memory(PAGE)
    irq = os.eventfd(0)
    client.map(0x10000, PAGE, ram)
    client.irqs(2, 0, 1, EVENTFD_TRIGGER, [irq])
    client.write32(scratch, 4711)
    os.close(ram)
    os.close(irq)
    client.close()
    until(lambda: served.server.clients == 0)
    device = served.server.devices[0]
    assert (len(device.memory), device.memory.files) == (0, 0)
    assert served.gpus[0].gmc.bus_read(0x10000, 4) is None
    assert descriptors_open() == before - 2, "both ends of the connection are gone, nothing else came"
    assert served.client().read32(scratch) == 4711


def test_second_client_of_a_gpu_is_turned_away(serve: Serve) -> None:
    served = serve()
    first = served.client()
    second = served.raw()
    assert second.is_closed()
    assert first.read32(MEMSIZE) == 288 << 10


def test_client_that_does_not_read_stops_only_itself(serve: Serve) -> None:
    served = serve("mi350x*2")
    one, two = served.client(0), served.client(1)
    asked = [one.post(vu.REGION_READ, struct.pack("<QII", place << 20, 0, 1 << 20)) for place in range(6)]
    for _ in range(20):
        assert two.read32(MEMSIZE) == 288 << 10
    assert served.server.devices[0].channel is not None and served.server.devices[0].channel.blocked
    assert [len(one.answer(number)) for number in asked] == [16 + (1 << 20)] * 6


def test_defect_of_the_model_is_an_error_and_a_trace(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    client = served.client()

    def breaks(*_: object) -> int:
        raise KeyError("broken")

    monkeypatch.setattr(served.gpus[0].registers, "read", breaks)
    with refused(errno.EIO):
        client.read32(MEMSIZE)
    monkeypatch.undo()
    assert client.read32(MEMSIZE) == 288 << 10
    assert served.server.defects == ["gpu0: KeyError: 'broken'"]
    until(lambda: (served.folder / "gpu0.trace").exists())
    served.later(breaks)
    until(lambda: len(served.server.defects) == 2)
    assert served.server.defects[1] == "work that was due: KeyError: 'broken'"
    assert client.read32(MEMSIZE) == 288 << 10


def test_trace_that_cannot_be_written_is_said(serve: Serve) -> None:
    served = serve()
    client = served.client()
    (served.folder / "gpu0.trace").mkdir()
    client.send(b"\xff" * 64)
    assert client.is_closed()
    until(lambda: any("the trace cannot be written" in text for text in served.said))


def test_trace_keeps_the_last_accesses_and_counts_repeats(serve: Serve) -> None:
    served = serve(kept=8)
    client = served.client()
    for place in range(30):
        client.read(REGISTERS, 0x1000 + 4 * place, 4)
    for _ in range(100):
        client.read32(MEMSIZE)
    client.config(0x0C, 1, 0x40)
    client.write(0, 0, bytes(range(200)))
    served.server.dump()
    until(lambda: (served.folder / "gpu0.trace").exists() and len(served.said) > 0)
    rows = [json.loads(line) for line in (served.folder / "gpu0.trace").read_text().splitlines()[1:]]
    rows = [row for row in rows if row["op"] != "mark"]
    assert len(rows) == 8
    assert rows[-3]["times"] == 100 and rows[-3]["value"] == 288 << 10
    assert rows[-2] | {"t": 0} == {"t": 0, "op": "config_write", "offset": 12, "size": 1, "value": 0x40}
    assert rows[-1]["data"] == bytes(range(64)).hex()
    touches = [touch for touch in TraceFile(served.folder / "gpu0.trace") if touch.kind != "mark"]
    assert [(touch.kind, touch.times) for touch in touches] == [("read", 1)] * 5 + [("read", 100)] + [("write", 1)] * 2


def test_trace_ends_with_what_the_model_says_of_its_driver(serve: Serve) -> None:
    served = serve()
    client = served.client()
    client.write32(0x40, 1, DOORBELLS)
    for _ in range(3):
        client.read32(0x1FFFFC)
    served.gpus[0].wrong("test", "made up")
    served.server.dump()
    until(lambda: len(served.said) > 0)
    marks = [touch.name for touch in TraceFile(served.folder / "gpu0.trace") if touch.kind == "mark"]
    assert "wrong use: test: made up" in marks
    assert "not modelled: mmio-read 0x1ffffc, 3 times" in marks


def test_trace_that_was_asked_for_is_written_before_the_end(serve: Serve) -> None:
    served = serve("mi350x*2")
    served.server.dump()
    served.server.close()
    assert sorted(path.name for path in served.folder.iterdir()) == ["gpu0.trace", "gpu1.trace"]


def test_trace_tells_long_looks_at_config_space_in_words(serve: Serve) -> None:
    served = serve()
    client = served.client()
    client.read(vu.CONFIG, 0, 16)
    served.server.dump()
    until(lambda: len(served.said) > 0)
    trace = TraceFile(served.folder / "gpu0.trace")
    last = list(trace)[-1]  # nothing is wrong or unknown
    assert (last.kind, last.name[:35]) == ("mark", "config space read at 0x0: 0210a0750")
    assert trace.damage == []


# ---- the server's place


def test_two_servers_in_one_folder_are_refused(serve: Serve) -> None:
    served = serve()
    with pytest.raises(Refused) as told:
        VfioUserServer(open_models("mi350x", RealClock()), served.folder).open()
    assert told.value.seen == "another server is there"
    assert served.client().read32(MEMSIZE) == 288 << 10


def test_socket_of_another_program_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "gpu1.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        with pytest.raises(Refused) as told:
            VfioUserServer(open_models("mi350x*2", RealClock()), tmp_path).open()
        assert told.value.where == str(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["gpu1.sock"]


def test_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "gpu0.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    server = VfioUserServer(open_models("mi350x", RealClock()), tmp_path)
    with server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Client(path) as client:
            client.greet()
    assert not path.exists()


def test_file_in_the_place_of_a_socket_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gpu0.sock").write_text("mine")
    with pytest.raises(Refused) as told:
        VfioUserServer(open_models("mi350x", RealClock()), tmp_path).open()
    assert told.value.seen == "something else"
    assert (tmp_path / "gpu0.sock").read_text() == "mine"


def test_folder_with_a_long_name_is_a_usage_error(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    with pytest.raises(UsageError) as told:
        VfioUserServer(open_models("mi350x", RealClock()), folder).open()
    assert "at most 107 bytes" in told.value.expected
    assert not folder.exists()


def test_folder_is_made_and_goes_when_it_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with VfioUserServer(open_models("mi350x", RealClock()), folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()
    with pytest.raises(Unavailable):
        VfioUserServer(open_models("mi350x", RealClock()), tmp_path / "no" / "such").open()
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable):
        VfioUserServer(open_models("mi350x", RealClock()), tmp_path / "file").open()


@pytest.mark.parametrize(("number", "kind"), [(errno.EACCES, NotPermitted), (errno.EROFS, Unavailable)])
def test_folder_where_no_socket_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def no(self: Path, mode: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "chmod", no)
    with pytest.raises(kind, match="a folder where sockets can be made"):
        VfioUserServer(open_models("mi350x", RealClock()), tmp_path).open()


def test_system_without_memory_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = open_models("mi350x", RealClock())
    monkeypatch.setattr(models[0].gpu.vram, "share", lambda: -1)
    with pytest.raises(Unavailable, match="memory files"):
        VfioUserServer(models, tmp_path).open()


def test_eight_gpus_have_a_socket_each(serve: Serve) -> None:
    served = serve("mi350x*8?fault=discovery-clobbered@2")
    assert sorted(path.name for path in served.folder.iterdir()) == [f"gpu{index}.sock" for index in range(8)]
    clients = [served.client(index) for index in range(8)]
    tables = [table_of(client, gpu) for client, gpu in zip(clients, served.gpus, strict=True)]
    assert [table == bytes.fromhex("07142128") for table in tables] == [index != 2 for index in range(8)]


def test_server_that_ends_hangs_up_and_gives_the_models_back(serve: Serve) -> None:
    served = serve()
    client = served.client()
    served.server.close()
    assert client.is_closed()
    gpu = served.gpus[0]
    assert gpu.bus_memory is gpu.hive.host_memory and gpu.ih.on_interrupt is None


# ---- the command


def start(folder: Path, *more: str, serve_more: tuple[str, ...] = ()) -> tuple[subprocess.Popen[str], str]:
    serve = ["model", "serve", "--vfio-user", str(folder), *serve_more, "mi350x*2"]
    command = [sys.executable, "-m", "gpumend", *more, *serve]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_command_serves_until_it_is_told_to_end(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "s"
    process, line = start(folder)
    assert line == f"serving mi350x*2 at {folder} (vfio-user)\n"
    with Client(folder / "gpu1.sock") as client:
        client.greet()
        client.enumerate()
        assert client.read32(MEMSIZE) == 288 << 10
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert not folder.exists()


def test_command_writes_traces_when_asked(tmp_path: Path) -> None:
    process, _ = start(tmp_path)
    process.send_signal(signal.SIGUSR1)
    until(lambda: (tmp_path / "gpu1.trace").exists())
    process.terminate()
    assert "the last accesses are in" in process.communicate(timeout=60)[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu0.trace", "gpu1.trace"]


def test_command_tells_its_folder_as_json(tmp_path: Path) -> None:
    process, text = start(tmp_path, "--json")
    assert process.stdout is not None
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, text
        text += line
    process.terminate()
    assert process.communicate(timeout=60) == ("", "")
    told = json.loads(text)
    assert (told["address"], told["served"]) == (f"vfio-user:{tmp_path}", 2)


def test_command_keeps_as_many_accesses_as_asked(tmp_path: Path) -> None:
    process, _ = start(tmp_path, serve_more=("--kept", "5"))
    with Client(tmp_path / "gpu0.sock") as client:
        client.greet()
        client.enumerate()
    process.send_signal(signal.SIGUSR1)
    until(lambda: (tmp_path / "gpu1.trace").exists())
    process.terminate()
    process.communicate(timeout=60)
    assert len((tmp_path / "gpu0.trace").read_text().splitlines()) == 1 + 5


@pytest.mark.parametrize(
    "more", [("--kept", "5"), ("--vfio-user", "x", "--kept", "0"), ("--vfio-user", "x", "--allow-remote")]
)
def test_command_with_options_that_do_not_fit_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert int(cli.run(["model", "serve", *more, "mi350x"])) == 64
    assert capsys.readouterr().err


def test_command_with_two_places_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = cli.run(["model", "serve", "--vfio-user", str(tmp_path), "--remote", "127.0.0.1:0", "mi350x"])
    assert int(code) == 64
    assert "--vfio-user, or --remote" in capsys.readouterr().err


def test_seeded_order_of_clients_does_not_matter(serve: Serve) -> None:
    served = serve("mi350x*4")
    rng = random.Random(5)
    clients = [served.client(index) for index in range(4)]
    scratch = served.gpus[0].registers.layout.address("GC[0].SCRATCH_REG0") * 4
    values = {index: client.read32(scratch) for index, client in enumerate(clients)}
    for _ in range(300):
        index = rng.randrange(4)
        if rng.random() < 0.5:
            values[index] = rng.randrange(1 << 32)
            clients[index].write32(scratch, values[index])
        else:
            assert clients[index].read32(scratch) == values[index]


# ---- the expansion ROM


def test_rom_is_a_region_that_is_read_and_not_written(serve: Serve) -> None:
    client = serve("mi300x?vbios=on").client()
    rom_region, readable = 6, 1
    answer = client.ask(vu.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, rom_region, 0, 0, 0))
    _, flags, _, _, size, _ = struct.unpack_from("<IIIIQQ", answer)
    assert (flags, size) == (readable, 8192)
    whole = client.ask(vu.REGION_READ, struct.pack("<QII", 0, rom_region, size))[16:]
    assert whole == vbios.image(CHIPS["mi300x"], 0x1002)
    for offset, count in ((size, 1), (size - 2, 4)):
        with refused(errno.EINVAL):
            client.ask(vu.REGION_READ, struct.pack("<QII", offset, rom_region, count))
    with refused(errno.EINVAL):
        client.ask(vu.REGION_WRITE, struct.pack("<QII", 0, rom_region, 4) + bytes(4))


def test_gpu_without_a_rom_has_an_empty_region(serve: Serve) -> None:
    client = serve("mi300x").client()
    answer = client.ask(vu.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, 6, 0, 0, 0))
    assert struct.unpack_from("<IIIIQQ", answer)[4] == 0
    with refused(errno.EINVAL):
        client.ask(vu.REGION_READ, struct.pack("<QII", 0, 6, 4))


# ---- what becomes of the GPUs while they are served


def test_change_switches_the_gpus_off_and_on_with_other_faults(serve: Serve) -> None:
    served = serve("mi350x*2")
    served.gpus[1].vram.write(0x1000, b"kept")
    served.server.change("mi350x*2?fault=mec-hang:3@1")
    until(lambda: "now model:mi350x*2?fault=mec-hang:3@1" in served.said)
    assert [sorted(gpu.gfx.hung) for gpu in served.gpus] == [[], [3]]
    assert served.gpus[1].vram.read(0x1000, 4) == bytes(4)


def test_change_with_a_plus_leaves_the_gpus_on(serve: Serve) -> None:
    served = serve("mi350x*2?fault=mec-hang:2@1")
    served.gpus[1].vram.write(0x1000, b"kept")
    served.server.change("+mi350x*2?fault=mec-hang:3@1")
    until(lambda: "now model:mi350x*2?fault=mec-hang:3@1" in served.said)
    assert [sorted(gpu.gfx.hung) for gpu in served.gpus] == [[], [2, 3]]
    assert served.gpus[1].vram.read(0x1000, 4) == b"kept"


@pytest.mark.parametrize("spec", ["mi300x*2", "+mi350x", "+mi350x*2?fault=nothing"])
def test_change_of_other_gpus_or_to_an_unknown_fault_is_refused(serve: Serve, spec: str) -> None:
    served = serve("mi350x*2")
    with pytest.raises(UsageError):
        served.server.change(spec)
