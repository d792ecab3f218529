"""A software GPU with one video engine set up as the kernel does it: vcn_v5_0_1.c, vcn_v4_0_3.c, jpeg_v5_0_1.c.

Register places in dwords from the engine's second base (segment 1), written down here from the kernel's headers."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.engine_rig import Rig, low_high

VCN_FIRMWARE = 13
RING = 0x40_0000
SHARED = 0x50_0000  # with the firmware
PARTS = ("mi300x", "mi350x")
# RB_BASE_LO, RB_SIZE, VCPU_CNTL, MASTINT_EN, NC0_64BIT_BAR_LOW, the bit of VCN_RB_ENABLE, first byte of the video window
_PLACES = {
    "mi300x": (0xEA, 0xEC, 0x196, 0xE1, 0x240, 1 << 0, 0x1FB00),
    "mi350x": (0x12A, 0x12C, 0x1D6, 0x121, 0x2CB, 1 << 2, 0x1FC00),
}
POWER, LMA_CTL, LMA_DATA, PAUSE, DB_CTRL, ENABLE, RPTR, WPTR, RRMT = (
    0x2,
    0x11,
    0x12,
    0x14,
    0x72,
    0x85,
    0xAC,
    0xAD,
    0x940,
)


@dataclass
class VideoRig:
    part: str = "mi350x"
    aid: int = 0
    dwords: int = 128  # of the ring
    firmware: bool = True
    wptr: int = 0

    def __post_init__(self) -> None:
        self.rig = Rig(self.part)
        self.gpu = self.rig.gpu
        loaded = self.gpu.psp.loaded
        (loaded.add if self.firmware else loaded.discard)(VCN_FIRMWARE)
        self.base_lo, self.size, self.vcpu, self.master, self.shared, self.enable, self.window = _PLACES[self.part]

    @property
    def base(self) -> int:
        return 0x7E00 + self.aid * 0x20000

    def read(self, place: int) -> int:
        return int(self.gpu.registers.read(self.base + place))

    def write(self, place: int, value: int) -> None:
        self.gpu.registers.write(self.base + place, value)

    # VCN.

    def number(self, place: int) -> int:
        """As SOC15_DPG_MODE_OFFSET makes it for a list."""
        at = (0x7E00 + place) * 4
        return (at - self.window) // 4 if at >= self.window else (at - 0x1F800 + 0x30000) // 4

    def list_of(self, *pairs: tuple[int, int], aid: int | None = None) -> bytes:
        rows = [(0xDEADBEEF, self.aid if aid is None else aid), *((self.number(at), value) for at, value in pairs)]
        return b"".join(struct.pack("<II", *row) for row in rows)

    def start_list(self, *more: tuple[int, int]) -> bytes:
        start = ((self.vcpu, 0x1FF00200), (self.shared, SHARED), (self.shared + 1, 0), (self.vcpu, 0x0FF00200))
        return self.list_of(*start, (self.master, 2), *more)

    def share(self, *, flags: int = 4, enabled: int = 1, mode: int = 0) -> None:
        """present_flag_0, sq.is_enabled, sq.queue_mode"""
        self.rig.put(SHARED, flags)
        self.rig.put(SHARED + 16, enabled | mode << 8)

    def start(self) -> VideoRig:
        self.share(mode=1)
        self.write(POWER, 1)
        self.write(POWER, 5)
        self.gpu.vcn.apply(self.start_list())
        self.write(PAUSE, 4)
        self.rig.run(1e-3)
        for place, value in (
            (self.base_lo, RING),
            (self.base_lo + 1, 0),
            (self.size, self.dwords),
            (ENABLE, 0),
            (RPTR, 0),
            (WPTR, 0),
            (ENABLE, self.enable),
            (DB_CTRL, self.doorbell << 2 | 1 << 30),
        ):
            self.write(place, value)
        self.share()
        return self

    @property
    def doorbell(self) -> int:
        return 0x370 + self.aid * (9 if self.part == "mi300x" else 11)

    def put(self, words: tuple[int, ...]) -> None:
        for word in words:
            self.rig.put(RING + self.wptr * 4, word)
            self.wptr = (self.wptr + 1) % self.dwords

    def submit(self, *commands: tuple[int, ...], seconds: float = 100e-6) -> None:
        for words in commands:
            self.put(words)
        assert self.gpu.vcn.doorbell(self.aid, self.doorbell, self.wptr)
        self.rig.run(seconds)


def fence(address: int, value: int) -> tuple[int, ...]:
    return (3, *low_high(address), value)


def register_write(place: int, value: int) -> tuple[int, ...]:
    return (0xB, place * 4, value)


def register_wait(place: int, value: int, mask: int = 0xFFFFFFFF) -> tuple[int, ...]:
    return (0xC, place * 4, mask, value)


def buffer(address: int, dwords: int, vmid: int = 0) -> tuple[int, ...]:
    return (2, vmid, *low_high(address), dwords)


def message_buffer(message: int) -> tuple[int, ...]:
    """amdgpu_vcn_dec_sw_send_msg."""
    high, low = message >> 32, message & 0xFFFFFFFF
    decode = (35 * 4 + 4 - 4, 1, 1, high, low, *(0,) * 30)
    info = (0x10, 0x30000001, 3, 39 * 4)
    rest = (*info, *decode)
    return (0x10, 0x30000002, sum(rest) & 0xFFFFFFFF, len(rest), *rest)
