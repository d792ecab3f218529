"""The copy engine: copies and fills of real bytes, semaphores.

Source: open-gpu-doc classes/dma-copy/clc8b5.h (Hopper; the methods used here are the same from Turing to Blackwell). Not
modelled, and refused: block-linear layouts, physical addresses, semaphore reductions, conditional interrupts, encryption."""

from __future__ import annotations

from collections.abc import Callable

from gpumodel.nvidia.channel import Channel, ChannelError

SEMAPHORE_A, SEMAPHORE_B, PAYLOAD, PAYLOAD_UPPER = 0x240, 0x244, 0x248, 0x24C
LAUNCH_DMA = 0x300
IN_UPPER, IN_LOWER, OUT_UPPER, OUT_LOWER = 0x400, 0x404, 0x408, 0x40C
PITCH_IN, PITCH_OUT, LINE_LENGTH, LINE_COUNT = 0x410, 0x414, 0x418, 0x41C
CONST_A, CONST_B, COMPONENTS = 0x700, 0x704, 0x708
_KEPT = frozenset((
    0x100, 0x140, 0x21C, 0x220, 0x224, SEMAPHORE_A, SEMAPHORE_B, PAYLOAD, PAYLOAD_UPPER, 0x254, 0x258, 0x25C, 0x260, 0x264,
    IN_UPPER, IN_LOWER, OUT_UPPER, OUT_LOWER, PITCH_IN, PITCH_OUT, LINE_LENGTH, LINE_COUNT, CONST_A, CONST_B, COMPONENTS,
))  # fmt: skip
# ROBUST_CHANNEL_CE_ERROR (nverror.h): the Xid of each engine's own errors
XID_CE = (39, 40, 41, 70, 71, 72, 75, 76, 77, 85, *range(126, 136))
NO_WRITE, FROM_CONST_A, FROM_CONST_B = 6, 4, 5


class CopyEngine:
    """One channel's view of an engine. `moved(target, source, size)` is told of every copy, once it is done."""

    def __init__(self, channel: Channel, index: int, moved: Callable[[int, int | None, int], None]) -> None:
        self.channel = channel
        self.index = index
        self._moved = moved
        self._regs: dict[int, int] = {}

    def method(self, address: int, data: int) -> None:
        if address == LAUNCH_DMA:
            self._launch(data)
        elif address in _KEPT:
            self._regs[address] = data
        else:
            raise self._error(f"method {address:#06x}")

    def _error(self, text: str) -> ChannelError:
        return ChannelError(XID_CE[self.index], f"CE{self.index} {text}")

    def _reg(self, address: int) -> int:
        return self._regs.get(address, 0)

    def _launch(self, launch: int) -> None:
        transfer = launch & 3
        if transfer == 3 or launch >> 12 & 3 or launch >> 19 & 1:
            raise self._error(f"LAUNCH_DMA {launch:#010x}")
        if transfer:
            if launch >> 7 & 3 != 3:
                raise self._error(f"LAUNCH_DMA {launch:#010x}: a layout that is not pitch")
            self._transfer(launch)
        self._semaphore(launch)

    # ---- transfers

    def _transfer(self, launch: int) -> None:
        source = (self._reg(IN_UPPER) & 0x1FFFFFF) << 32 | self._reg(IN_LOWER)
        target = (self._reg(OUT_UPPER) & 0x1FFFFFF) << 32 | self._reg(OUT_LOWER)
        lines = self._reg(LINE_COUNT) if launch >> 9 & 1 else 1
        for line in range(lines):
            at, of = target + line * self._reg(PITCH_OUT), source + line * self._reg(PITCH_IN)
            if launch >> 10 & 1:
                self._remap(at, of, self._reg(LINE_LENGTH))
            else:
                self.channel.space.copy(at, of, self._reg(LINE_LENGTH))
                self._moved(at, of, self._reg(LINE_LENGTH))

    def _remap(self, target: int, source: int, elements: int) -> None:
        """Each element of the target is made of components of the source or of constants."""
        word = self._reg(COMPONENTS)
        size = (word >> 16 & 3) + 1
        chosen = [word >> 4 * place & 7 for place in range((word >> 24 & 3) + 1)]
        consts = {FROM_CONST_A: self._reg(CONST_A), FROM_CONST_B: self._reg(CONST_B)}
        if 7 in chosen:
            raise self._error(f"SET_REMAP_COMPONENTS {word:#010x}")
        stride = size * len(chosen)
        if all(one in consts for one in chosen):
            element = b"".join(consts[one].to_bytes(4, "little")[:size] for one in chosen)
            for piece in self.channel.space.pieces(target, stride * elements, writes=True):
                whole, rest = divmod(len(piece), stride)
                piece[:] = element * whole + element[:rest]
                element = element[rest:] + element[:rest]  # a piece may end within an element
            self._moved(target, None, stride * elements)
            return
        taken = (word >> 20 & 3) + 1
        data = self.channel.space.read(source, size * taken * elements)
        made = bytearray(self.channel.space.read(target, stride * elements))
        for number in range(elements):
            for place, one in enumerate(chosen):
                if one == NO_WRITE:
                    continue
                if one not in consts and one >= taken:
                    raise self._error(f"SET_REMAP_COMPONENTS {word:#010x}: component {one} of {taken}")
                first = size * (taken * number + one)
                part = consts[one].to_bytes(4, "little")[:size] if one in consts else data[first : first + size]
                at = stride * number + size * place
                made[at : at + size] = part
        self.channel.space.write(target, bytes(made))
        self._moved(target, source, stride * elements)

    def _semaphore(self, launch: int) -> None:
        kind, wide = launch >> 3 & 3, bool(launch >> 27 & 1)
        if kind == 0:
            return
        address = (self._reg(SEMAPHORE_A) & 0x1FFFFFF) << 32 | self._reg(SEMAPHORE_B)
        if kind == 3 or address % (16 if kind == 2 else 8 if wide else 4):
            raise self._error(f"semaphore of type {kind} at {address:#x}")
        payload = self._reg(PAYLOAD) | (self._reg(PAYLOAD_UPPER) << 32 if wide else 0)
        self.channel.release(address, payload, wide=wide, stamped=kind == 2)
