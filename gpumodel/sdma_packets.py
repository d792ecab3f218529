"""SDMA packets: how long each is, and what it does.

Source: Linux v7.3 amdgpu/vega10_sdma_pkt_open.h, sdma_v4_4_2.c, include/vega10_enum.h (atomics);
hardware/amd-bringup.md section 11; research/amdgpu-on-model.md items 45 to 47, 57. Sizes in bytes unless named dwords."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpumodel.chips import AID_STRIDE
from gpumodel.pm4 import BadPacket, compare
from gpumodel.ticks import HZ, ticks
from registers.amd.structs_sdma import Op, SubOp

if TYPE_CHECKING:
    from gpumodel.sdma_engine import Engine, Ring

COPY_SETUP_S = 1e-6  # guess
BYTES_PER_S = 50e9  # guess: one engine, any memory
MOST_COPY = 1 << 30  # the kernel and others put 30 bits of count in; the header's field has 22
CHUNK = 1 << 20  # the model moves no more at a time: what stays in the cache of the machine is fastest
AID_REGISTERS = AID_STRIDE - 1
POLL_FOR_EVER = 0xFFF
POLL_UNIT_S = 16 / HZ  # guess: the interval counts 16 clocks
INT_TRAP = 224
INT_POLL_TIMEOUT = 246
IB_ALIGNMENT = 32
_ATOMICS: dict[int, Callable[[int, int], int]] = {
    0x07: lambda old, new: new,
    0x0F: operator.add,
    0x10: operator.sub,
    0x12: min,
    0x14: max,
    0x15: operator.and_,
    0x16: operator.or_,
    0x17: operator.xor,
}
_COMPARE_SWAP = 0x08
_NO_RETURN = 0x40  # the same operations without a returned value
_WIDE = 0x20  # 64 bits

Words = Sequence[int]


@dataclass(frozen=True, slots=True)
class Timed:
    """Work on `size` bytes that takes a while; `act` does the first so many of them."""

    size: int
    act: Callable[[int], None]

    @property
    def seconds(self) -> float:
        return COPY_SETUP_S + self.size / BYTES_PER_S


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: look again."""

    why: str


Result = Timed | Wait | None


def length(words: Words) -> int:
    """Dwords of the packet that begins here; BadPacket when no packet begins so. Needs four dwords at most."""
    header = words[0]
    op, sub = header & 0xFF, header >> 8 & 0xFF
    if op == Op.NOP:
        return 1 + (header >> 16 & 0x3FFF)
    if op == Op.WRITE and sub == SubOp.WRITE_LINEAR:
        return 4 + (words[3] & 0xFFFFF) + 1 if len(words) > 3 else 5
    if op == Op.COPY and sub == SubOp.COPY_LINEAR:
        return 9 if header >> 27 & 1 else 7
    known = _LENGTHS.get((op, sub))
    if known is None:
        raise BadPacket(f"opcode {op}, sub-opcode {sub}")
    return known


_LENGTHS: dict[tuple[int, int], int] = {
    (Op.INDIRECT, 0): 6,
    (Op.FENCE, 0): 4,
    (Op.TRAP, 0): 2,
    (Op.POLL_REGMEM, 0): 6,
    (Op.COND_EXE, 0): 5,
    (Op.ATOMIC, 0): 8,
    (Op.CONST_FILL, 0): 5,
    (Op.PTEPDE, SubOp.PTEPDE_GEN): 10,
    (Op.TIMESTAMP, SubOp.TIMESTAMP_GET): 3,
    (Op.TIMESTAMP, SubOp.TIMESTAMP_GET_GLOBAL): 3,
    (Op.SRBM_WRITE, 0): 3,
}


class Executor:
    """Runs the packets of one ring."""

    def __init__(self, engine: Engine, ring: Ring) -> None:
        self._engine, self._ring, self._gpu = engine, ring, engine.gpu
        self._deadline: float | None = None
        self._handlers: dict[int, Callable[[Words], Result]] = {
            Op.NOP: self._nop,
            Op.COPY: self._copy,
            Op.WRITE: self._write,
            Op.INDIRECT: self._indirect,
            Op.FENCE: self._fence,
            Op.TRAP: self._trap,
            Op.POLL_REGMEM: self._poll,
            Op.COND_EXE: self._cond_exe,
            Op.ATOMIC: self._atomic,
            Op.CONST_FILL: self._fill,
            Op.PTEPDE: self._pte_pde,
            Op.TIMESTAMP: self._timestamp,
            Op.SRBM_WRITE: self._srbm_write,
        }

    def execute(self, words: Words) -> Result:
        """One whole packet."""
        return self._handlers[words[0] & 0xFF](words)

    def read(self, address: int, size: int) -> bytes:
        return self._engine.read(self._ring.vmid(), address, size)

    def write(self, address: int, data: bytes) -> None:
        self._engine.write(self._ring.vmid(), address, data)

    def _register(self, address: int) -> int:
        """Register numbers are local to the AID (item 57)."""
        return (address & AID_REGISTERS) + self._engine.aid * AID_STRIDE

    def _nop(self, words: Words) -> Result:
        return None

    def _copy(self, words: Words) -> Result:
        self._gpu.stage("copy")
        size = (words[1] & MOST_COPY - 1) + 1
        source = _pair(words, 3)
        targets = [_pair(words, at) for at in range(5, len(words), 2)]
        vmid = self._ring.vmid()

        def act(limit: int) -> None:
            for done in range(0, limit, CHUNK):
                data = self._engine.read(vmid, source + done, min(CHUNK, limit - done))
                for target in targets:
                    self._engine.write(vmid, target + done, data)

        return Timed(size, act)

    def _write(self, words: Words) -> Result:
        address = _pair(words, 1)
        if address & 3:
            raise BadPacket(f"WRITE to {address:#x}, not a multiple of 4")
        self.write(address, struct.pack(f"<{len(words) - 4}I", *words[4:]))
        return None

    def _indirect(self, words: Words) -> Result:
        base = _pair(words, 1)
        if not self._ring.ib_enabled:
            return Wait("INDIRECT while IB_CNTL has indirect buffers off")
        if base % IB_ALIGNMENT:
            raise BadPacket(f"indirect buffer at {base:#x}, not a multiple of {IB_ALIGNMENT}")
        if self._ring.inside_ib:
            raise BadPacket("INDIRECT inside an indirect buffer")
        if self._ring.packet_end_dwords % 8:
            raise BadPacket(f"INDIRECT ends at dword {self._ring.packet_end_dwords}, not on 8 dwords")
        vmid = self._ring.vmid() or words[0] >> 16 & 0xF
        self._ring.enter(base, words[3] & 0xFFFFF, vmid)
        return None

    def _fence(self, words: Words) -> Result:
        address = _pair(words, 1)
        if address & 3:
            raise BadPacket(f"FENCE at {address:#x}, not a multiple of 4")
        self.write(address, words[3].to_bytes(4, "little"))
        return None

    def _trap(self, words: Words) -> Result:
        self._engine.trap(self._ring, words[1] & 0x0FFFFFFF)
        return None

    def _poll(self, words: Words) -> Result:
        header = words[0]
        function = header >> 28 & 7
        if function == 7:
            raise BadPacket("POLL_REGMEM with function 7")
        if header >> 26 & 1:  # an HDP flush: the second address takes the request
            self._gpu.registers.write(words[2] >> 2, words[3], "sdma")
            return None
        address = _pair(words, 1)
        if header >> 31:
            value = int.from_bytes(self.read(address & ~3, 4), "little")
        else:
            value = self._gpu.registers.read(self._register(words[1] >> 2), "sdma")
        if compare(function, value & words[4], words[3]):
            self._deadline = None
            return None
        return self._poll_again(words, value & words[4])

    def _poll_again(self, words: Words, value: int) -> Result:
        retries = words[5] >> 16 & 0xFFF
        now = self._gpu.clock.now()
        if self._deadline is None:
            self._deadline = now + retries * ((words[5] & 0xFFFF) + 1) * POLL_UNIT_S
        if retries == POLL_FOR_EVER or now < self._deadline:
            return Wait(f"POLL_REGMEM: {value:#x} is not yet right against {words[3]:#x}")
        self._deadline = None
        self._gpu.wrong("sdma", f"engine {self._engine.index}: POLL_REGMEM gave up after {retries} tries")
        self._engine.interrupt(self._ring, INT_POLL_TIMEOUT, 0)
        return None

    def _cond_exe(self, words: Words) -> Result:
        value = int.from_bytes(self.read(_pair(words, 1) & ~3, 4), "little")
        if value != words[3]:
            self._ring.skip(words[4] & 0x3FFF)
        return None

    def _atomic(self, words: Words) -> Result:
        code = words[0] >> 25
        size = 8 if code & _WIDE else 4
        base = code & ~(_NO_RETURN | _WIDE)
        address, new, expected = (_pair(words, at) for at in (1, 3, 5))
        if base != _COMPARE_SWAP and base not in _ATOMICS:
            raise BadPacket(f"ATOMIC operation {code:#x}")
        mask = (1 << 8 * size) - 1
        old = int.from_bytes(self.read(address, size), "little")
        if base == _COMPARE_SWAP:
            if old != expected & mask:
                return Wait("ATOMIC compares again") if words[0] >> 16 & 1 else None
            result = new
        else:
            result = _ATOMICS[base](old, new & mask)
        self.write(address, (result & mask).to_bytes(size, "little"))
        return None

    def _fill(self, words: Words) -> Result:
        unit = {0: 1, 1: 2, 2: 4}.get(words[0] >> 30)
        if unit is None:
            raise BadPacket("CONST_FILL with size 3")
        size = (words[4] & MOST_COPY - 1) + 1
        address = _pair(words, 1)
        if address % unit or size % unit:
            raise BadPacket(f"CONST_FILL of {size} bytes at {address:#x} in units of {unit}")
        pattern = (words[3] & (1 << 8 * unit) - 1).to_bytes(unit, "little")
        vmid = self._ring.vmid()
        block = pattern * (min(size, CHUNK) // unit)

        def act(limit: int) -> None:
            for done in range(0, limit, CHUNK):
                self._engine.write(vmid, address + done, block[: limit - done])

        return Timed(size, act)

    def _pte_pde(self, words: Words) -> Result:
        address, flags, value, step = (_pair(words, at) for at in (1, 3, 5, 7))
        count = (words[9] & 0x7FFFF) + 1
        if address & 7:
            raise BadPacket(f"PTEPDE_GEN to {address:#x}, not a multiple of 8")
        vmid = self._ring.vmid()
        wrap = (1 << 64) - 1

        def act(limit: int) -> None:
            entries = [(value + place * step) & wrap | flags for place in range(limit // 8)]
            self._engine.write(vmid, address, struct.pack(f"<{len(entries)}Q", *entries))

        return Timed(8 * count, act)

    def _timestamp(self, words: Words) -> Result:
        self.write(_pair(words, 1) & ~7, ticks(self._gpu).to_bytes(8, "little"))
        return None

    def _srbm_write(self, words: Words) -> Result:
        if self._ring.vmid():
            raise BadPacket("SRBM_WRITE in a process's VMID")
        address = self._register(words[1] & 0x3FFFF)
        mask = sum(0xFF << 8 * byte for byte in range(4) if words[0] >> 28 + byte & 1)
        value = words[2]
        if mask != 0xFFFFFFFF:
            value = self._gpu.registers.read(address, "sdma") & ~mask | value & mask
        self._gpu.registers.write(address, value, "sdma")
        return None


def _pair(words: Words, at: int) -> int:
    return words[at + 1] << 32 | words[at]
