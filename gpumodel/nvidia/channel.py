"""A channel: its ring of GPFIFO entries, the pushbuffers that they name, the host's own methods, semaphores.

A channel runs until its ring is empty, it waits for a semaphore, or something is wrong with its work (ChannelError). Source:
clc86f.h (entries, USERD, methods; Blackwell's are the same), open-gpu-doc clc36f.h (headers of methods), clc76f.h
(SEM_EXECUTE). What no header tells is a guess, in docs/fidelity.md: which Xid follows a method that is none."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from gpumodel.nvidia.memory import AddressSpace, Backing

GP_GET, GP_PUT, USERD_BYTES = 0x88, 0x8C, 512
XID_PBDMA = 32  # ROBUST_CHANNEL_PBDMA_ERROR

SET_OBJECT, NON_STALL_INTERRUPT = 0x00, 0x20
SEM_ADDR_LO, SEM_ADDR_HI, SEM_PAYLOAD_LO, SEM_PAYLOAD_HI, SEM_EXECUTE = 0x5C, 0x60, 0x64, 0x68, 0x6C
# NOP, interrupt, MEM_OP_A to D, the semaphore's operands, WFI, YIELD: taken, without an effect of their own here
_KEPT = frozenset((0x08, 0x20, 0x28, 0x2C, 0x30, 0x34, 0x5C, 0x60, 0x64, 0x68, 0x78, 0x80))
_HOST_METHODS = 0x100  # below: the host's, from here on: the object's

INCREMENT, NO_INCREMENT, IMMEDIATE, INCREMENT_ONCE, END_OF_SEGMENT = 1, 3, 4, 5, 7


class ChannelError(Exception):
    """Work that the hardware refuses: the channel ends with this Xid."""

    def __init__(self, xid: int, text: str) -> None:
        super().__init__(text)
        self.xid = xid
        self.text = text


class Engine(Protocol):
    """What a subchannel is bound to."""

    def method(self, address: int, data: int) -> None: ...


class Surroundings(Protocol):
    """What a channel needs of its GPU."""

    def stamp_ns(self) -> int:
        """The GPU's timer now."""
        ...

    def engine(self, channel: Channel, number: int) -> Engine | None:
        """An engine object of class `number` on this channel; None: it has none."""
        ...


@dataclass(slots=True)
class Channel:
    """`bound`: UVM has mapped what its engine needs; `dead`: an error has ended it."""

    gpu: Surroundings
    space: AddressSpace
    group: int  # handle of its channel group
    runlist: int
    number: int
    engine_type: int
    ring: int
    entries: int
    userd: Backing
    userd_offset: int
    notifier: Backing | None
    privileged: bool
    classes: set[int] = field(default_factory=set)  # engine objects that it was given
    bound: bool = False
    scheduled: bool = False
    dead: bool = False
    fault: tuple[int, int] | None = None  # address and kind of its last page fault, until somebody asks
    _get: int = 0
    _base: int = 0
    _host: dict[int, int] = field(default_factory=dict)
    _objects: dict[int, Engine] = field(default_factory=dict)
    _work: Iterator[None] | None = None

    @property
    def token(self) -> int:
        """kernel_fifo_ga100.c kfifoGenerateWorkSubmitTokenHal: runlist 22:16, channel 11:0."""
        return self.runlist << 16 | self.number

    @property
    def is_waiting(self) -> bool:
        """Whether it stands at a semaphore."""
        return self._work is not None and not self.dead

    def stop(self) -> None:
        """For good: what it holds is let go."""
        self.dead = True
        self._objects.clear()
        self._work = None

    def run(self) -> None:
        """Go on until the ring is empty or a semaphore is not there yet. Raises ChannelError, PageFault."""
        if self.dead or not self.scheduled:
            return
        if self._work is None:
            self._work = self._entries()
        for _ in self._work:
            return  # it waits
        self._work = None

    # ---- the ring

    def _entries(self) -> Iterator[None]:
        while True:
            put = self._userd(GP_PUT)
            if put >= self.entries:
                raise ChannelError(XID_PBDMA, f"GPPUT {put:#x} of {self.entries:#x} entries")
            if self._get == put:
                return
            entry = struct.unpack("<Q", self.space.read(self.ring + 8 * self._get, 8))[0]
            yield from self._entry(entry)
            self._get = (self._get + 1) % self.entries
            struct.pack_into("<I", self.userd.view, self.userd_offset + GP_GET, self._get)

    def _userd(self, offset: int) -> int:
        return int(struct.unpack_from("<I", self.userd.view, self.userd_offset + offset)[0])

    def _entry(self, entry: int) -> Iterator[None]:
        low, high = entry & 0xFFFFFFFF, entry >> 32
        length = high >> 10 & 0x1FFFFF
        if length == 0:
            self._control(high & 0xFF, low)
            return
        address = self._base << 40 | (high & 0xFF) << 32 | low & ~3
        words = struct.unpack(f"<{length}I", self.space.read(address, 4 * length))
        yield from self._segment(words)

    def _control(self, opcode: int, operand: int) -> None:
        if opcode == 4:  # SET_PB_SEGMENT_EXTENDED_BASE
            self._base = operand >> 8 & 0x1FFFF
        elif opcode not in (0, 2, 3):  # NOP, CRC of ring and pushbuffer
            raise ChannelError(XID_PBDMA, f"GPFIFO control entry {opcode:#x}")

    # ---- a pushbuffer

    def _segment(self, words: tuple[int, ...]) -> Iterator[None]:
        at = 0
        while at < len(words):
            header = words[at]
            at += 1
            opcode, count = header >> 29, header >> 16 & 0x1FFF
            subchannel, address = header >> 13 & 7, (header & 0xFFF) << 2
            if opcode == IMMEDIATE:
                yield from self._method(subchannel, address, count)
                continue
            if opcode == END_OF_SEGMENT:
                return
            if header == 0:
                continue  # a NOP
            if opcode not in (INCREMENT, NO_INCREMENT, INCREMENT_ONCE) or at + count > len(words):
                raise ChannelError(XID_PBDMA, f"method header {header:#010x}")
            for place in range(count):
                step = place if opcode == INCREMENT else min(place, 1) if opcode == INCREMENT_ONCE else 0
                yield from self._method(subchannel, address + 4 * step, words[at + place])
            at += count

    def _method(self, subchannel: int, address: int, data: int) -> Iterator[None]:
        if address >= _HOST_METHODS:
            bound = self._objects.get(subchannel)
            if bound is None:
                raise ChannelError(XID_PBDMA, f"method {address:#06x} on subchannel {subchannel}, which has no object")
            bound.method(address, data)
        elif address == SET_OBJECT:
            self._bind(subchannel, data & 0xFFFF)
        elif address == SEM_EXECUTE:
            yield from self._semaphore(data)
        elif address in _KEPT:
            self._host[address] = data
        else:
            raise ChannelError(XID_PBDMA, f"host method {address:#06x}")

    def _bind(self, subchannel: int, number: int) -> None:
        engine = self.gpu.engine(self, number)
        if engine is None:
            raise ChannelError(XID_PBDMA, f"SET_OBJECT of class {number:#06x}")
        self._objects[subchannel] = engine

    # ---- semaphores

    def _semaphore(self, execute: int) -> Iterator[None]:
        wide, stamped = bool(execute >> 24 & 1), bool(execute >> 25 & 1)
        size = 8 if wide else 4
        address = (self._host.get(SEM_ADDR_HI, 0) & 0x1FFFFFF) << 32 | self._host.get(SEM_ADDR_LO, 0) & ~3
        payload = self._host.get(SEM_PAYLOAD_LO, 0) | (self._host.get(SEM_PAYLOAD_HI, 0) << 32 if wide else 0)
        operation = execute & 7
        if address % (16 if stamped and operation == 1 else size):
            raise ChannelError(XID_PBDMA, f"semaphore at {address:#x}")
        if operation == 1:
            self.release(address, payload, wide=wide, stamped=stamped)
        elif operation == 6:
            now = int.from_bytes(self.space.read(address, size), "little")
            value = _reduced(execute >> 27 & 0xF, now, payload, 8 * size, signed=not execute >> 31)
            self.space.write(address, value.to_bytes(size, "little"))
        elif operation in _ACQUIRES:
            is_there = _ACQUIRES[operation]
            while not is_there(int.from_bytes(self.space.read(address, size), "little"), payload, 8 * size):
                yield
        else:
            raise ChannelError(XID_PBDMA, f"SEM_EXECUTE {execute:#010x}")

    def release(self, address: int, payload: int, *, wide: bool, stamped: bool) -> None:
        """A record of 16 bytes with the time, or the payload alone (nvidia-rm.md section 5.5)."""
        if stamped:
            self.space.write(address, struct.pack("<QQ", payload, self.gpu.stamp_ns()))
        else:
            self.space.write(address, payload.to_bytes(8 if wide else 4, "little"))


def _circular(now: int, wanted: int, bits: int) -> bool:
    return (now - wanted) & (1 << bits) - 1 < 1 << bits - 1


_ACQUIRES: dict[int, Callable[[int, int, int], bool]] = {
    0: lambda now, wanted, bits: now == wanted,
    2: lambda now, wanted, bits: now >= wanted,
    3: _circular,
    4: lambda now, wanted, bits: bool(now & wanted),
    5: lambda now, wanted, bits: bool(~(now | wanted) & (1 << bits) - 1),
}


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _reduced(operation: int, now: int, payload: int, bits: int, *, signed: bool) -> int:
    """SEM_EXECUTE_REDUCTION: min, max, xor, and, or, add, inc (wraps at the payload), dec."""
    key: Callable[[int], int] = (lambda value: _signed(value, bits)) if signed else (lambda value: value)
    results: dict[int, Callable[[], int]] = {
        0: lambda: min(now, payload, key=key),
        1: lambda: max(now, payload, key=key),
        2: lambda: now ^ payload,
        3: lambda: now & payload,
        4: lambda: now | payload,
        5: lambda: now + payload,
        6: lambda: 0 if now >= payload else now + 1,
        7: lambda: payload if now == 0 or now > payload else now - 1,
    }
    if operation not in results:
        raise ChannelError(XID_PBDMA, f"semaphore reduction {operation}")
    return results[operation]() & (1 << bits) - 1
