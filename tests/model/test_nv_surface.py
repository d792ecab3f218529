"""The ioctl surface of work on the modelled driver, reached by hand: what it refuses, and with which status, as the kernel
modules' source says (objects.py and uvm.py name the files); semaphores and fills that our driver does not use."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from base.clock import VirtualClock
from gpumodel.nvidia.chips import CHIPS
from gpumodel.nvidia.files import ModelFiles
from gpumodel.nvidia.machine import Machine
from gpumodel.nvidia.mappings import ModelMapping
from nvdriver import pushbuffer

OK = 0
BASE = 0x20_0000_0000
RING, PUSH, PAGE, DATA = BASE, BASE + 0x100000, BASE + 0x200000, BASE + 0x300000


@dataclass
class Hand:
    """A process that makes its calls by hand."""

    files: ModelFiles
    ctl: int = 0
    node: int = 0
    uvm: int = 0
    root: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    uuid: bytes = b""
    put: int = 0

    def alloc(self, parent: int, number: int, params: bytes = b"", handle: int = 0) -> tuple[int, int]:
        """(status, handle)"""
        data = bytearray(32)
        struct.pack_into("<IIIIQI", data, 0, self.root, parent, handle, number, 0, len(params))
        self.files.ioctl(self.ctl, 0xC020462B, data, {16: bytearray(params)} if params else {})
        return int(struct.unpack_from("<I", data, 28)[0]), int(struct.unpack_from("<I", data, 8)[0])

    def made(self, name: str, parent: int, number: int, params: bytes = b"") -> int:
        status, handle = self.alloc(parent, number, params)
        assert status == OK, f"{name}: {status:#x}"
        self.kept[name] = handle
        return handle

    def control(self, target: int, command: int, params: bytes) -> tuple[int, bytes]:
        data, memory = bytearray(32), bytearray(params)
        struct.pack_into("<IIIIQI", data, 0, self.root, target, command, 0, 0, len(params))
        self.files.ioctl(self.ctl, 0xC020462A, data, {16: memory})
        return int(struct.unpack_from("<I", data, 28)[0]), bytes(memory)

    def free(self, handle: int) -> int:
        data = bytearray(struct.pack("<IIII", self.root, 0, handle, 0))
        self.files.ioctl(self.ctl, 0xC0104629, data, {})
        return int(struct.unpack_from("<I", data, 12)[0])

    def call(self, number: int, data: bytes, status_at: int, file: int = 0) -> int:
        memory = bytearray(data)
        self.files.ioctl(file or self.uvm, number, memory, {})
        return int(struct.unpack_from("<I", memory, status_at)[0])

    def map(
        self, memory: int, size: int, *, ctl: bool, flags: int = 0, offset: int = 0
    ) -> tuple[int, ModelMapping | None]:
        other = self.files.open("/dev/nvidiactl" if ctl else "/dev/nvidia0")
        data = bytearray(56)
        struct.pack_into("<III", data, 0, self.root, self.kept["device"], memory)
        struct.pack_into("<QQ", data, 16, offset, size)
        struct.pack_into("<Ii", data, 44, flags, other)
        self.files.ioctl(self.ctl, 0xC038464E, data, {})
        status = struct.unpack_from("<I", data, 40)[0]
        return status, self.files.mmap(other, size, writable=True) if status == OK else None

    def at(self, name: str, base: int, size: int, *, vram: bool = False) -> ModelMapping:
        """Memory at an address of the GPU, and here."""
        number, attributes = (0x40, 3 << 27) if vram else (0x3E, 3 << 27 | 1 << 25)
        handle = self.made(name, self.kept["device"], number, memory_params(size, attributes))
        assert self.call(73, struct.pack("<QQQ", base, size, 0), 16) == OK
        assert self.call(33, map_params(self, base, size, handle), 9260) == OK
        status, mapped = self.map(handle, size, ctl=not vram)
        assert status == OK and mapped is not None
        return mapped


def memory_params(size: int, attributes: int, kind: int = 0, flags: int = 0, space: int = 0) -> bytes:
    params = bytearray(128)
    struct.pack_into("<III", params, 0, 1, kind, flags)
    struct.pack_into("<I", params, 24, attributes)
    struct.pack_into("<QQ", params, 64, size, 4096)
    struct.pack_into("<I", params, 108, space)
    return bytes(params)


def map_params(
    hand: Hand, base: int, length: int, memory: int, *, mapping: int = 1, count: int = 1, offset: int = 0
) -> bytes:
    data = bytearray(9264)
    struct.pack_into("<QQQ", data, 0, base, length, offset)
    struct.pack_into("<16sI", data, 24, hand.uuid, mapping)
    struct.pack_into("<QiII", data, 9240, count, hand.ctl, hand.root, memory)
    return bytes(data)


def channel_params(hand: Hand, **changes: int) -> bytes:
    values = {
        "error": hand.kept["notifier"], "ring": RING, "entries": 64, "share": 0, "space": 0, "userd": hand.kept["ring"],
        "userd_at": 512, "engine": 10, **changes,
    }  # fmt: skip
    params = bytearray(368)
    struct.pack_into("<I", params, 0, values["error"])
    struct.pack_into("<QIIII", params, 8, values["ring"], values["entries"], 0, values["share"], values["space"])
    struct.pack_into("<I", params, 32, values["userd"])
    struct.pack_into("<Q", params, 64, values["userd_at"])
    struct.pack_into("<I", params, 128, values["engine"])
    return bytes(params)


@pytest.fixture
def hand() -> Iterator[Hand]:
    """With a device, UVM, a VA space, memory for a channel, and the group of copy engine 1."""
    files = ModelFiles(Machine(CHIPS["h200"], 1, VirtualClock(), is_admin=False))
    one = Hand(files, files.open("/dev/nvidiactl"), files.open("/dev/nvidia0"), files.open("/dev/nvidia-uvm"))
    one.root = one.made("root", 0, 0x41)
    device = one.made("device", one.root, 0x80, bytes(56))
    one.made("subdevice", device, 0x2080, bytes(4))
    gpu = files.machine.gpus[0]
    one.uuid = gpu.chip.uuid(0)
    one.made("space", device, 0x90F1, struct.pack("<II", 0, 8).ljust(56, b"\0"))
    assert one.call(0x30000001, bytes(16), 8) == OK
    assert one.call(37, one.uuid.ljust(40, b"\0"), 36) == OK
    assert (
        one.call(25, struct.pack("<16siII", one.uuid, one.ctl, one.root, one.kept["space"]).ljust(32, b"\0"), 28) == OK
    )
    one.made("group", device, 0xA06C, struct.pack("<IIII4x", 0, 0, one.kept["space"], 10))
    one.at("ring", RING, 0x10000, vram=True)
    one.at("notifier", RING + 0x10000, 0x1000)
    yield one


@dataclass
class Work:
    """The channel of that fixture, ready for work."""

    hand: Hand
    ring: ModelMapping
    push: ModelMapping
    page: ModelMapping
    data: ModelMapping
    notifier: ModelMapping
    doorbell: ModelMapping
    token: int
    put: int = 0

    def send(self, methods: bytes, *, raw_entry: int | None = None) -> None:
        self.push[0 : len(methods)] = methods
        entry = PUSH | len(methods) // 4 << 42 if raw_entry is None else raw_entry
        self.ring[8 * self.put : 8 * self.put + 8] = struct.pack("<Q", entry)
        self.put = (self.put + 1) % 64
        self.ring.store32(512 + 0x8C, self.put)
        self.doorbell.store32(0x90, self.token)

    def word(self, offset: int = 0, size: int = 8) -> int:
        return int.from_bytes(self.page[offset : offset + size], "little")

    def error(self) -> int:
        """The notifier's number; 0: none."""
        info, _, status = struct.unpack_from("<IHH", self.notifier[0:16], 8)
        assert status in (0, 0xFFFF)
        return int(info)


@pytest.fixture
def work(hand: Hand) -> Work:
    channel = hand.made("channel", hand.kept["group"], 0xC86F, channel_params(hand))
    hand.made("engine", channel, 0xC8B5)
    push, page, data = (
        hand.at("push", PUSH, 0x10000),
        hand.at("page", PAGE, 0x1000),
        hand.at("data", DATA, 0x10000, vram=True),
    )
    assert hand.control(hand.kept["group"], 0xA06C0101, b"\1\0\0")[0] == OK
    status, token = hand.control(channel, 0xC36F0108, bytes(4))
    assert status == OK
    usermode = hand.made("usermode", hand.kept["subdevice"], 0xC661)
    (_, ring), (_, notifier), (_, doorbell) = (
        hand.map(hand.kept["ring"], 0x10000, ctl=False), hand.map(hand.kept["notifier"], 0x1000, ctl=True),
        hand.map(usermode, 0x10000, ctl=False),
    )  # fmt: skip
    assert ring is not None and notifier is not None and doorbell is not None
    made = Work(hand, ring, push, page, data, notifier, doorbell, int.from_bytes(token, "little"))
    made.send(pushbuffer.set_object(4, 0xC8B5))
    return made


# ---------------------------------------------------------------- objects


def test_memory_is_refused_as_the_driver_refuses_it(hand: Hand) -> None:
    device, any_pages, host = hand.kept["device"], 3 << 27, 1 << 25
    for expected, parent, number, params in (
        (0x1F, device, 0x40, memory_params(0, any_pages)),
        (0x1F, device, 0x40, memory_params(4096, any_pages | host)),  # video memory in the host
        (0x1F, device, 0x3E, memory_params(4096, any_pages)),  # and the other way round
        (0x1F, device, 0x40, memory_params(4096, any_pages, kind=18)),
        (0x1F, device, 0x40, memory_params(4096, any_pages, flags=0x80000)),  # virtual only
        (0x1F, device, 0x40, memory_params(4096, any_pages, space=hand.kept["space"])),
        (0x1F, device, 0x40, memory_params(4096, any_pages)[:-8]),
        (0x1F, device, 0x40, b""),
        (0x51, device, 0x40, memory_params(1 << 40, any_pages)),
        (0x36, hand.kept["subdevice"], 0x3E, memory_params(4096, any_pages | host)),  # below a device only
        (0x36, hand.root, 0x40, memory_params(4096, any_pages)),
        (0x57, 0xDEAD, 0x40, memory_params(4096, any_pages)),
    ):
        assert hand.alloc(parent, number, params)[0] == expected
    assert hand.alloc(hand.kept["subdevice"], 0x40, memory_params(4096, any_pages))[0] == OK


def test_channel_is_refused_as_the_driver_refuses_it(hand: Hand) -> None:
    group, device = hand.kept["group"], hand.kept["device"]
    share = hand.made("share", group, 0x9067, struct.pack("<III", hand.kept["space"], 0, 0))
    other = hand.made("other", device, 0xA06C, struct.pack("<IIII4x", 0, 0, hand.kept["space"], 11))
    for expected, parent, number, params in (
        (0x36, hand.kept["subdevice"], 0xC86F, channel_params(hand)),
        (0x22, group, 0xC96F, channel_params(hand)),  # Blackwell's
        (0x22, group, 0xC16F, channel_params(hand)),  # nobody's
        (0x1F, group, 0xC86F, channel_params(hand)[:-8]),
        (0x1F, group, 0xC86F, channel_params(hand, space=hand.kept["space"])),
        (0x1F, group, 0xC86F, channel_params(hand, share=share, space=hand.kept["space"])),
        (0x1F, group, 0xC86F, channel_params(hand, engine=11)),  # not the group's
        (0x36, other, 0xC86F, channel_params(hand, share=share, engine=11)),  # a share of another group
        (0x57, group, 0xC86F, channel_params(hand, share=0xDEAD)),
        (0x57, group, 0xC86F, channel_params(hand, userd=0xDEAD)),
        (0x57, group, 0xC86F, channel_params(hand, error=0xDEAD)),
        (0x1F, group, 0xC86F, channel_params(hand, entries=63)),
        (0x1F, group, 0xC86F, channel_params(hand, userd_at=100)),
        (0x1F, group, 0xC86F, channel_params(hand, userd_at=0x10000)),
        (0x56, device, 0xC86F, channel_params(hand)),  # not modelled
    ):
        assert hand.alloc(parent, number, params)[0] == expected, (hex(expected), hex(number))
    channel = hand.made("channel", group, 0xC56F, channel_params(hand))  # an older class is taken
    assert hand.alloc(group, 0xC86F, channel_params(hand, share=share))[0] == 0x1F  # all with a share, or none
    assert hand.alloc(channel, 0xCBC0)[0] == 0x22  # a copy engine has no compute class
    assert hand.alloc(channel, 0xC7B5)[0] == 0x22  # Ampere's copy class
    assert hand.alloc(group, 0xC8B5)[0] == 0x36
    assert hand.alloc(channel, 0xC8B5, bytes(12))[0] == 0x1F
    assert hand.alloc(channel, 0xC8B5, bytes(8))[0] == OK


def test_channel_groups_name_engines_that_are_there(hand: Hand) -> None:
    for engine, expected in ((0, 0x1F), (1, OK), (9, OK), (18, OK), (19, 0x1F), (0x34, 0x1F), (0x26, 0x1F)):
        assert hand.alloc(hand.kept["device"], 0xA06C, struct.pack("<IIII4x", 0, 0, 0, engine))[0] == expected
    assert hand.alloc(hand.kept["device"], 0xA06C, struct.pack("<IIII4x", 0, 0, 0xDEAD, 9))[0] == 0x57
    assert hand.alloc(hand.kept["group"], 0x9067, struct.pack("<III", 0xDEAD, 0, 0))[0] == 0x57
    assert hand.alloc(hand.kept["device"], 0x9067, struct.pack("<III", hand.kept["space"], 0, 0))[0] == 0x36


def test_graphics_channel_is_scheduled_only_after_uvm_knows_it(hand: Hand) -> None:
    group = hand.made("graphics", hand.kept["device"], 0xA06C, struct.pack("<IIII4x", 0, 0, 0, 1))
    share = hand.made("share", group, 0x9067, struct.pack("<III", hand.kept["space"], 1, 0))
    channel = hand.made("channel", group, 0xC86F, channel_params(hand, share=share, engine=1))
    assert hand.control(group, 0xA06C0101, b"\1\0\0")[0] == 0x40

    def register(base: int, length: int) -> int:
        ids = struct.pack("<16siII4x", hand.uuid, hand.ctl, hand.root, channel)
        return hand.call(27, (ids + struct.pack("<QQ", base, length)).ljust(56, b"\0"), 48)

    assert register(BASE, 0x1000) == 0x1E  # too small
    assert register(RING, 64 << 20) == 0x68  # in use
    assert register(BASE + (1 << 30) + 1, 64 << 20) == 0x1E
    assert register(BASE + (1 << 30), 64 << 20) == OK
    assert register(BASE + (2 << 30), 64 << 20) == 0x21  # a second time
    assert hand.control(group, 0xA06C0101, b"\1\0\0")[0] == OK
    assert hand.call(28, struct.pack("<16sII4x", hand.uuid, hand.root, channel), 24) == OK
    assert hand.call(28, struct.pack("<16sII4x", hand.uuid, hand.root, channel), 24) == 0x21


def test_branch_590_frees_a_range_by_its_base_and_a_channel_without_its_gpu(hand: Hand) -> None:
    """uvm_ioctl.h of 590.48.01, compiled: UVM_FREE_PARAMS 16 bytes, UVM_UNREGISTER_CHANNEL_PARAMS 12, rmStatus at 8."""
    there = BASE + (1 << 32)
    channel = hand.made("channel", hand.kept["group"], 0xC86F, channel_params(hand))
    ids = struct.pack("<16siII", hand.uuid, hand.ctl, hand.root, channel)
    assert hand.call(27, ids.ljust(56, b"\0"), 48) == OK
    assert hand.call(73, struct.pack("<QQQ", there, 0x1000, 0), 16) == OK
    hand.files.machine.driver = "590.48.01"
    for number, size in ((28, 28), (34, 24)):
        with pytest.raises(ValueError, match="takes"):
            hand.call(number, bytes(size), 8)
    assert hand.call(28, struct.pack("<III", hand.root, 0xDEAD, 0), 8) == 0x21
    assert hand.call(28, struct.pack("<III", hand.root, channel, 0), 8) == OK
    assert hand.call(34, struct.pack("<QQ", there + 0x1000, 0), 8) == 0x1E
    assert [hand.call(34, struct.pack("<QQ", there, 0), 8) for _ in range(2)] == [OK, 0x1E]


def test_controls_of_channels_want_their_class_and_size(hand: Hand) -> None:
    channel = hand.made("channel", hand.kept["group"], 0xC86F, channel_params(hand))
    for target, command, size, expected in (
        (hand.kept["group"], 0xA06C0101, 2, 0x3A),  # branch 570's
        (hand.kept["group"], 0xC36F0108, 4, 0x56),
        (channel, 0xA06C0101, 3, 0x56),
        (channel, 0xC36F0108, 8, 0x3A),
        (channel, 0xC36F0108, 4, OK),
        (channel, 0x906F0106, 100, 0x3A),
        (channel, 0x906F0106, 104, OK),
        (0xDEAD, 0xC36F0108, 4, 0x57),
    ):
        assert hand.control(target, command, bytes(size))[0] == expected


def test_free_takes_what_hangs_below(hand: Hand) -> None:
    channel = hand.made("channel", hand.kept["group"], 0xC86F, channel_params(hand))
    engine = hand.made("engine", channel, 0xC8B5)
    fifo = hand.files.machine.gpus[0].fifo
    assert len(fifo.channels) == 1
    assert hand.free(hand.kept["group"]) == OK
    assert [hand.free(one) for one in (engine, channel, hand.kept["group"])] == [0x57] * 3
    assert not fifo.channels


def test_mappings_want_the_right_file_range_and_right(hand: Hand) -> None:
    ring, notifier = hand.kept["ring"], hand.kept["notifier"]
    for memory, ctl in ((ring, True), (notifier, False)):  # VRAM through the GPU's node, host memory through nvidiactl
        with pytest.raises(OSError) as caught:
            hand.map(memory, 0x1000, ctl=ctl)
        assert caught.value.errno == errno.EINVAL
    assert hand.map(ring, 0x10001, ctl=False)[0] == 0x2E
    assert hand.map(ring, 0x1000, ctl=False, offset=0x10000)[0] == 0x20
    assert hand.map(ring, 0, ctl=False)[0] == 0x2E
    status, mapped = hand.map(ring, 0x1000, ctl=False, offset=0x1000)
    assert status == OK and mapped is not None
    mapped[0:4] = b"abcd"
    whole = hand.map(ring, 0x10000, ctl=False)[1]
    assert whole is not None and whole[0x1000:0x1004] == b"abcd"


# ---------------------------------------------------------------- UVM


def test_uvm_says_nothing_before_it_is_initialized_and_refuses_what_it_does_not_know(hand: Hand) -> None:
    fresh = hand.files.open("/dev/nvidia-uvm")
    assert hand.call(37, hand.uuid.ljust(40, b"\0"), 36, fresh) == 0x16
    assert hand.call(75, struct.pack("<iI", fresh, 0), 4, hand.files.open("/dev/nvidia-uvm")) == 0x1F
    assert hand.call(75, struct.pack("<iI", hand.uvm, 0), 4, fresh) == 0x10006
    assert hand.call(0x30000001, struct.pack("<QQ", 0x80, 0), 8, fresh) == 0x1F
    with pytest.raises(OSError) as caught:
        hand.files.ioctl(fresh, 9999, bytearray(16), {})
    assert caught.value.errno == errno.EINVAL


def test_uvm_ranges_and_mappings_are_checked(hand: Hand) -> None:
    memory, page = hand.kept["notifier"], 4096
    free = BASE + (4 << 30)
    for base, length, expected in (
        (0, page, 0x1E), (free + 1, page, 0x1E), (free, 100, 0x1E), (free, 0, 0x1E), (RING, page, 0x68), (free, page, OK),
    ):  # fmt: skip
        assert hand.call(73, struct.pack("<QQQ", base, length, 0), 16) == expected
    bad = Hand(hand.files, uuid=bytes(16), root=hand.root)
    for params, expected in (
        (map_params(hand, free + page, page, memory), 0x1E),  # no range there
        (map_params(hand, free, page, memory, count=0), 0x1F),
        (map_params(hand, free, page, memory, count=257), 0x1F),
        (map_params(hand, free, page, memory, mapping=9), 0x1F),
        (map_params(hand, free, page, memory, offset=page), 0x37),
        (map_params(hand, free, page, 0xDEAD), 0x57),
        (map_params(bad, free, page, memory), 0x26),
        (map_params(hand, free, page, memory), OK),
    ):
        assert hand.call(33, params, 9260) == expected
    unmap = struct.pack("<QQ16s", free, page, hand.uuid).ljust(40, b"\0")
    assert hand.call(66, unmap, 32) == OK
    assert hand.call(34, struct.pack("<QQQ", free, 2 * page, 0), 16) == 0x1E
    assert hand.call(34, struct.pack("<QQQ", free, page, 0), 16) == OK
    assert hand.call(38, bytes(20), 16) == 0x26
    assert hand.call(26, hand.uuid.ljust(20, b"\0"), 16) == OK
    assert hand.call(26, hand.uuid.ljust(20, b"\0"), 16) == 0x26
    assert hand.call(37, bytes(40), 36) == 0x12  # no GPU of that UUID


def test_uvm_takes_only_va_spaces_that_it_is_to_fill(hand: Hand) -> None:
    own = hand.made("own", hand.kept["device"], 0x90F1, bytes(56))
    assert hand.call(26, hand.uuid.ljust(20, b"\0"), 16) == OK
    ids = struct.pack("<16siII", hand.uuid, hand.ctl, hand.root, own).ljust(32, b"\0")
    assert hand.call(25, ids, 28) == 0x29
    assert hand.alloc(hand.kept["device"], 0x90F1, bytes(48))[0] == 0x1F  # branch 570's size


# ---------------------------------------------------------------- work


def execute(operation: int, value: int, *, wide: bool = True, at: int = PAGE, more: int = 0) -> bytes:
    return struct.pack(
        "<6I", 0x20050017, at & 0xFFFFFFFF, at >> 32, value & 0xFFFFFFFF, value >> 32, operation | wide << 24 | more
    )


@pytest.mark.parametrize(
    ("operation", "value", "too_little", "enough"),
    [
        (0, 5, 6, 5),  # equal
        (2, 5, 4, 9),  # strictly at least
        (3, 2, (1 << 64) - 1, 3),  # at least, circular
        (3, (1 << 64) - 2, (1 << 64) - 3, 1),  # wraps
        (4, 0b110, 0b001, 0b100),  # and
        (5, ~0b10 & (1 << 64) - 1, 0b10, 0),  # nor
    ],
)
def test_acquire_waits_for_its_condition(work: Work, operation: int, value: int, too_little: int, enough: int) -> None:
    work.page[0:8] = struct.pack("<Q", too_little)
    work.send(execute(operation, value) + execute(1, 77, at=PAGE + 16))
    assert work.word(16) == 0
    work.page[0:8] = struct.pack("<Q", enough)
    assert work.word(16) == 77
    assert work.error() == 0


@pytest.mark.parametrize(
    ("code", "signed", "now", "value", "expected"),
    [
        (0, True, 5, -2, -2), (0, False, 5, -2, 5), (1, True, 5, -2, 5), (1, False, 5, -2, -2), (2, True, 6, 3, 5),
        (3, True, 6, 3, 2), (4, True, 6, 3, 7), (5, True, -1, 3, 2), (6, True, 5, 5, 0), (6, True, 4, 5, 5), (7, True, 0, 5, 5),
        (7, True, 3, 5, 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wide", [True, False])
def test_reductions(work: Work, code: int, signed: bool, now: int, value: int, expected: int, wide: bool) -> None:
    size, mask = (8, (1 << 64) - 1) if wide else (4, (1 << 32) - 1)
    work.page[0:8] = (now & mask).to_bytes(8, "little")
    work.send(execute(6, value & mask, wide=wide, more=code << 27 | (not signed) << 31))
    assert work.word(0, size) == expected & mask


def test_release_writes_four_eight_or_sixteen_bytes(work: Work) -> None:
    for wide, stamp, size in ((False, False, 4), (True, False, 8), (True, True, 16), (False, True, 16)):
        work.page[0:32] = b"\xff" * 32
        work.send(execute(1, 0x1_0000_0003 if wide else 3, wide=wide, more=stamp << 25))
        assert work.word(0, 8) == (0x1_0000_0003 if wide else 3 | (0 if stamp else 0xFFFFFFFF << 32))
        assert work.page[size:32] == b"\xff" * (32 - size)
        assert not stamp or 0 < work.word(8) < 1 << 60


def test_ring_entries_of_control_and_immediate_methods(work: Work) -> None:
    work.send(b"", raw_entry=0)  # a NOP
    work.send(b"", raw_entry=4 << 32)  # extended base 0
    immediate = struct.pack("<I", 4 << 29 | 9 << 16 | 4 << 13 | 0x248 >> 2)  # the copy engine's semaphore payload, 9
    rest = struct.pack("<5I", 0x20028090, PAGE >> 32, PAGE & 0xFFFFFFFF, 0x200180C0, 0x14)
    work.send(immediate + rest + struct.pack("<2I", 7 << 29, 0xFFFFFFFF))  # what follows the end is not read
    assert (work.word(0), work.error()) == (9, 0)
    work.send(b"", raw_entry=1 << 32)  # the illegal one
    assert work.error() == 32


def test_non_incrementing_and_once_incrementing_methods(work: Work) -> None:
    once = struct.pack(
        "<4I", 5 << 29 | 3 << 16 | 4 << 13 | 0x244 >> 2, PAGE & 0xFFFFFFFF, 1, 2
    )  # address low, payload twice
    high = struct.pack("<2I", 0x20018090, PAGE >> 32)
    work.send(high + once + struct.pack("<3I", 3 << 29 | 2 << 16 | 4 << 13 | 0x300 >> 2, 0, 0x14))
    assert (work.word(0), work.error()) == (2, 0)


def test_copy_engine_lines_remaps_and_sixty_four_bit_payloads(work: Work) -> None:
    source = bytes(range(256)) * 16
    work.data[0:4096] = source

    def regs(**values: int) -> bytes:
        names = {
            "inh": 0x400, "inl": 0x404, "outh": 0x408, "outl": 0x40C, "pin": 0x410, "pout": 0x414, "len": 0x418, "count": 0x41C,
            "a": 0x700, "b": 0x704, "comp": 0x708, "launch": 0x300, "semh": 0x240, "seml": 0x244, "pay": 0x248, "payh": 0x24C,
        }  # fmt: skip
        return b"".join(
            struct.pack("<2I", pushbuffer.header(4, names[name], 1), value) for name, value in values.items()
        )

    where = {"inh": DATA >> 32, "inl": DATA & 0xFFFFFFFF, "outh": DATA >> 32, "outl": (DATA & 0xFFFFFFFF) + 0x4000}
    work.send(regs(**where, pin=64, pout=32, len=16, count=4, launch=0x382))
    assert work.data[0x4000:0x4080] == b"".join(source[64 * line : 64 * line + 16] + bytes(16) for line in range(4))
    # two components of two bytes: the source's second, and constant B
    word = 1 | 5 << 4 | 1 << 16 | 1 << 20 | 1 << 24
    work.send(regs(**where, len=3, b=0xBEEF, comp=word, launch=0x582))
    assert work.data[0x4000:0x400C] == b"\x02\x03\xef\xbe\x06\x07\xef\xbe\x0a\x0b\xef\xbe"
    # nothing is written where it says so
    work.send(regs(**where, len=1, a=0x11, comp=6 | 4 << 4 | 1 << 24, launch=0x582))
    assert work.data[0x4000:0x4002] == b"\x02\x11"
    work.send(regs(semh=PAGE >> 32, seml=PAGE & 0xFFFFFFFF, pay=5, payh=6, launch=0x0800000C))
    assert work.word(0) == 6 << 32 | 5
    assert work.error() == 0
    work.send(regs(launch=0x00080014))  # a reduction: refused here
    assert work.error() == 40  # copy engine 1


def test_read_only_mapping_may_be_read_and_not_written(work: Work) -> None:
    hand, at = work.hand, BASE + (5 << 30)
    assert hand.call(73, struct.pack("<QQQ", at, 0x10000, 0), 16) == OK
    assert hand.call(33, map_params(hand, at, 0x10000, hand.kept["data"], mapping=3), 9260) == OK
    work.data[0:4] = b"abcd"
    work.send(pushbuffer.copy(DATA + 64, at, 4))
    assert (work.data[64:68], work.error()) == (b"abcd", 0)
    work.send(pushbuffer.copy(at, DATA, 4))
    assert work.error() == 31
    status, told = hand.control(hand.kept["channel"], 0x906F0106, bytes(104))
    assert status == OK and struct.unpack_from("<III", told) == (at >> 32, at & 0xFFFFFFFF, 6)
    assert hand.control(hand.kept["channel"], 0x906F0106, bytes(104))[1][:12] == bytes(12), "it is told once"
    assert "FAULT_RO_VIOLATION ACCESS_TYPE_VIRT_WRITE" in hand.files.kernel_log()


def test_error_ends_every_channel_of_the_group_and_no_other(hand: Hand, work: Work) -> None:
    second = hand.made("second", hand.kept["group"], 0xC86F, channel_params(hand, userd_at=1024, ring=RING + 0x8000))
    fifo = hand.files.machine.gpus[0].fifo
    work.send(struct.pack("<I", 0xC0000000))
    assert work.error() == 32
    assert all(channel.dead for channel in fifo.channels.values()) and len(fifo.channels) == 2
    work.page[0:8] = bytes(8)
    work.send(execute(1, 1))
    assert work.word() == 0, "a dead channel does nothing"
    assert hand.free(second) == OK


def test_doorbell_of_a_stranger_and_of_a_channel_that_is_not_scheduled_is_not_heard(hand: Hand, work: Work) -> None:
    work.doorbell.store32(0x90, 0x7F0FFF)
    assert hand.control(hand.kept["group"], 0xA06C0101, b"\0\0\0")[0] == OK
    work.send(execute(1, 1))
    assert work.word() == 0
    assert hand.control(hand.kept["group"], 0xA06C0101, b"\1\0\0")[0] == OK
    work.doorbell.store32(0x90, work.token)
    assert work.word() == 1


def test_put_beyond_the_ring_is_an_error(work: Work) -> None:
    work.ring.store32(512 + 0x8C, 64)
    work.doorbell.store32(0x90, work.token)
    assert work.error() == 32
