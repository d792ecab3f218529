"""The compute class: semaphores of its own, data inline in the pushbuffer, and dispatches by QMD.

No shader runs: a dispatch is checked (version, sizes, that what it names is mapped), kept in `dispatches`, and its
semaphores are released. Source: open-gpu-doc clcbc0.h (methods; those used here are the same from Turing to Blackwell),
clcbc0qmd.h (QMD V04_00 of Hopper; of other generations none is modelled), nvidia-rm.md section 6."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from gpumodel.nvidia.channel import Channel, ChannelError

HOPPER_COMPUTE = 0xCBC0
XID_GRAPHICS = 13  # ROBUST_CHANNEL_GR_EXCEPTION
REPORT_PAYLOAD_LO, REPORT_PAYLOAD_HI, REPORT_LO, REPORT_HI, REPORT_EXECUTE = 0x158, 0x15C, 0x160, 0x164, 0x168
LINE_LENGTH, LINE_COUNT, OUT_UPPER, OUT_LOWER, INLINE_LAUNCH, INLINE_DATA = 0x180, 0x184, 0x188, 0x18C, 0x1B0, 0x1B4
SEND_PCAS_A, SEND_SIGNALING_PCAS2_B = 0x2B4, 0x2C0
# NO_OPERATION, WAIT_FOR_IDLE, PM_TRIGGER, invalidation of caches, windows, local memory, and the operands of the others
_KEPT = frozenset((
    0x100, 0x110, 0x140, 0x144, REPORT_PAYLOAD_LO, REPORT_PAYLOAD_HI, REPORT_LO, REPORT_HI, LINE_LENGTH, LINE_COUNT,
    OUT_UPPER, OUT_LOWER, 0x190, 0x21C, 0x244, 0x298, 0x2A0, 0x2A4, SEND_PCAS_A, 0x2E4, 0x2E8, 0x2EC, 0x790, 0x794, 0x7B0,
    0x7B4, 0x1288, 0x1698,
))  # fmt: skip
_QMD_BYTES, _SASS_HOPPER = 384, 0x90
_MOST_THREADS, _MOST_SHARED = 1024, 227 << 10
_SCHEDULE = (2, 3, 9)  # PCAS_ACTION: schedule; invalidate, copy and schedule; prefetch and schedule


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What a QMD asked for. `constants`: (index, address, size) of the constant buffers that are valid."""

    grid: tuple[int, int, int]
    threads: tuple[int, int, int]
    program: int
    registers: int
    shared_bytes: int
    constants: tuple[tuple[int, int, int], ...]


class ComputeEngine:
    """One channel's compute object. `dispatched` is told of every dispatch."""

    def __init__(self, channel: Channel, number: int, dispatched: Callable[[Dispatch], None]) -> None:
        self.channel = channel
        self.number = number
        self._dispatched = dispatched
        self._regs: dict[int, int] = {}
        self._inline: list[int] = []
        self._inline_words = 0

    def method(self, address: int, data: int) -> None:
        if address == REPORT_EXECUTE:
            self._report(data)
        elif address == INLINE_LAUNCH:
            lines = self._reg(LINE_COUNT) * self._reg(LINE_LENGTH)
            if not data & 1 or not lines:
                raise self._error(f"LAUNCH_DMA {data:#010x} of {lines} bytes")
            self._inline, self._inline_words = [], -(-lines // 4)
        elif address == INLINE_DATA:
            self._inline_word(data)
        elif address == SEND_SIGNALING_PCAS2_B:
            self._pcas(data)
        elif address in _KEPT:
            self._regs[address] = data
        else:
            raise self._error(f"method {address:#06x}")

    def _error(self, text: str) -> ChannelError:
        return ChannelError(XID_GRAPHICS, f"Graphics Exception: class {self.number:#06x}: {text}")

    def _reg(self, address: int) -> int:
        return self._regs.get(address, 0)

    def _report(self, execute: int) -> None:
        """REPORT_SEMAPHORE_EXECUTE: operation 1:0, structure size 4:3 (four words, one, two), payload of 64 bits: 12."""
        if execute & 3:
            raise self._error(f"REPORT_SEMAPHORE_EXECUTE {execute:#010x}")
        address = (self._reg(REPORT_HI) & 0x1FFFFFF) << 32 | self._reg(REPORT_LO)
        payload = self._reg(REPORT_PAYLOAD_LO) | self._reg(REPORT_PAYLOAD_HI) << 32
        self._release(address, payload, execute >> 3 & 3, wide=bool(execute >> 12 & 1))

    def _release(self, address: int, payload: int, structure: int, *, wide: bool) -> None:
        if address % (16, 4, 8, 4)[structure] or structure == 3:
            raise self._error(f"semaphore at {address:#x}, structure {structure}")
        value = payload if wide else payload & 0xFFFFFFFF
        self.channel.release(address, value, wide=structure == 2, stamped=structure == 0)

    def _inline_word(self, data: int) -> None:
        if not self._inline_words:
            raise self._error("LOAD_INLINE_DATA without a launch")
        self._inline.append(data)
        if len(self._inline) < self._inline_words:
            return
        size = self._reg(LINE_COUNT) * self._reg(LINE_LENGTH)
        target = (self._reg(OUT_UPPER) & 0x1FFFFFF) << 32 | self._reg(OUT_LOWER)
        self.channel.space.write(target, struct.pack(f"<{len(self._inline)}I", *self._inline)[:size])
        self._inline_words = 0

    # ---- dispatches

    def _pcas(self, action: int) -> None:
        if action not in _SCHEDULE:
            raise self._error(f"SEND_SIGNALING_PCAS2_B {action:#x}")
        if self.number != HOPPER_COMPUTE:
            raise self._error("this model knows the QMD of Hopper only")
        self._run(self._reg(SEND_PCAS_A) << 8, depth=0)

    def _run(self, address: int, depth: int) -> None:
        word = int.from_bytes(self.channel.space.read(address, _QMD_BYTES), "little")

        def bits(high: int, low: int) -> int:
            return word >> low & (1 << high - low + 1) - 1

        dispatch = Dispatch(
            grid=(bits(1055, 1024), bits(1071, 1056), bits(1103, 1088)),
            threads=(bits(1167, 1152), bits(1183, 1168), bits(1199, 1184)),
            program=bits(1247, 1216) | bits(1272, 1248) << 32,
            registers=bits(1208, 1200),
            shared_bytes=bits(601, 584),
            constants=tuple(
                (index, (bits(1567 + 64 * index, 1536 + 64 * index) | bits(1586 + 64 * index, 1568 + 64 * index) << 32) << 6,
                 bits(1599 + 64 * index, 1587 + 64 * index) << 4)
                for index in range(8)
                if bits(416 + 4 * index, 416 + 4 * index)
            ),
        )  # fmt: skip
        version = bits(583, 580), bits(579, 576)
        if version != (4, 0):
            raise self._error(f"QMD of version {version[0]}.{version[1]} at {address:#x}")
        if bits(25, 23) not in (2, 3) or bits(543, 536) != _SASS_HOPPER:
            raise self._error(f"QMD type {bits(25, 23)}, SASS version {bits(543, 536):#x}")
        self._check(dispatch)
        self._dispatched(dispatch)
        for index in range(3):
            if bits(320 + 16 * index, 320 + 16 * index):
                at = 640 + 128 * index
                self._release(
                    bits(at + 31, at) | bits(at + 56, at + 32) << 32,
                    bits(at + 95, at + 64) | bits(at + 127, at + 96) << 32,
                    bits(322 + 16 * index, 321 + 16 * index),
                    wide=bool(bits(332 + 16 * index, 332 + 16 * index)),
                )
        if bits(368, 368):
            if bits(371, 369) != 1 or depth > 64:  # guess: how long a chain may be
                raise self._error(f"dependent QMD action {bits(371, 369)}")
            self._run(bits(479, 448) << 8, depth + 1)

    def _check(self, dispatch: Dispatch) -> None:
        x, y, z = dispatch.threads
        if not 0 < x * y * z <= _MOST_THREADS or not all(dispatch.grid):
            raise self._error(f"grid {dispatch.grid}, threads {dispatch.threads}")
        if dispatch.shared_bytes > _MOST_SHARED or dispatch.shared_bytes % 128:
            raise self._error(f"{dispatch.shared_bytes} bytes of shared memory")
        self.channel.space.read(dispatch.program, 16)  # one instruction; a page fault where there is none
        for _, address, size in dispatch.constants:
            self.channel.space.read(address, size)
